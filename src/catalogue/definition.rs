//! What the catalogue says: sources and metrics as data.
//!
//! Shared by the build script, which reads and checks `metrics.toml`, and the crate, which embeds
//! the result; it depends on nothing but serde.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything `metrics.toml` says, in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    /// The metric types, in the order in which the API lists them.
    pub types: Vec<String>,
    /// Tables of values by attribute value, such as prices by plan.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
    /// Where rows are read, by name.
    pub sources: BTreeMap<String, Source>,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// What is counted between the hours.
    pub realtime: Realtime,
}

/// What is counted between the hours, besides the totals.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// The metrics that are counted since midnight and in the last 24 hours.
    pub flows: Vec<String>,
    /// The metrics that the dashboard shows first.
    pub headlines: Vec<String>,
    /// What was seen in the last minutes.
    #[serde(default)]
    pub recent: Vec<Recent>,
}

/// Distinct values in the rows that were seen in the last minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recent {
    /// The counter's name.
    pub name: String,
    /// The source, whose rows lie under the hour in which they were seen.
    pub source: String,
    /// The attribute whose distinct values are counted.
    pub value: String,
    /// The attribute that says when the row was last seen.
    pub time: String,
    /// How many minutes.
    pub minutes: u32,
}

/// A set of rows: partitions of the table or of an index.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The index; absent means the table itself.
    pub index: Option<String>,
    /// The attributes that hold the partition key and the sort key there.
    pub keys: [String; 2],
    /// The partitions, in the order in which an item moves through them.
    pub partitions: Vec<String>,
    /// The attribute that tells items apart; needed when items move between the partitions.
    pub identity: Option<String>,
    /// The time that the sort key begins with.
    pub sort_key_time: Option<SortKeyTime>,
}

/// The time that a sort key begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortKeyTime {
    /// The attribute that holds the same time.
    pub attribute: String,
    /// How the sort key writes it.
    pub format: SortKeyFormat,
}

/// How a sort key writes the time it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortKeyFormat {
    /// `2026-03-01T23:59:59.999Z`
    Instant,
    /// `2026-03-01T23`
    Hour,
}

/// One metric.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The type it belongs to.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its name in records and in the API.
    pub name: String,
    /// The source its rows come from.
    pub source: Option<String>,
    /// For `top`: the sources its rows come from, by the name of their share in the result.
    pub sources: Option<BTreeMap<String, String>>,
    /// What is computed.
    pub measure: Measure,
    /// What of a row is computed with.
    pub value: Option<Value>,
    /// Which rows count: every condition must hold.
    #[serde(rename = "where", default)]
    pub conditions: BTreeMap<String, Condition>,
    /// For `count`: counts by group instead of one count.
    pub by: Option<Grouping>,
    /// For `top`: the attributes that name a target.
    #[serde(default)]
    pub key: Vec<String>,
    /// For `top`: the attribute of the key that orders targets with the same total.
    pub ties: Option<String>,
    /// For `top`: how many targets the metric lists.
    pub limit: Option<usize>,
    /// For `departures`: the metric that says how many there are.
    pub stock: Option<String>,
    /// For `departures`: the metric that says how many came.
    pub arrivals: Option<String>,
    /// Which instants count; not for `departures`.
    pub window: Option<Window>,
    /// The attributes that hold the row's time; the first that is there counts.
    #[serde(default)]
    pub time: Vec<String>,
    /// What to do with a row that lacks the time or the value.
    #[serde(default)]
    pub absent: Absent,
    /// How a coarser period comes from finer ones.
    pub rollup: Rollup,
    /// The attribute that the platform overwrites in place, so that the table no longer knows its
    /// earlier values: what is computed from it cannot be told of a past period.
    pub moves: Option<String>,
}

/// What is computed from the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The number of rows.
    Count,
    /// The number of distinct values.
    CountDistinct,
    /// The sum of the values.
    Sum,
    /// The mean of the values; absent where there are none.
    Avg,
    /// The targets with most rows.
    Top,
    /// How many left: the stock before, plus the arrivals, minus the stock now, never below zero;
    /// absent where there is no period before.
    Departures,
}

/// What of a row is computed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// The attribute's value.
    Attribute(String),
    /// An amount of money in the attribute, a decimal string or a number, in whole cents.
    Money {
        /// The attribute.
        money: String,
    },
    /// What a table says of the attribute's value, in whole cents.
    Lookup {
        /// The table's name.
        table: String,
        /// The attribute.
        attribute: String,
    },
}

/// What must hold for an attribute of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// The boolean has this value.
    Is(bool),
    /// The string has this value.
    Equals(String),
    /// Anything but this string; also where the attribute is absent.
    Not {
        /// The string.
        not: String,
    },
    /// One of these strings.
    AnyOf {
        /// The strings.
        any_of: Vec<String>,
    },
    /// The attribute is there and is no empty string.
    Present {
        /// Always `true`.
        present: bool,
    },
    /// The time in the attribute is after the period's end; also where it is absent.
    AfterPeriod {
        /// Always `true`.
        after_period: bool,
    },
}

/// Counts by group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grouping {
    /// The attribute whose value decides.
    pub attribute: String,
    /// The groups: name in the result, value of the attribute. Other values are not counted.
    pub groups: BTreeMap<String, String>,
}

/// Which instants count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Those in the period.
    Period,
    /// Those up to the period's end.
    ToDate,
    /// The rows as they are when they are read, whatever their time.
    Now,
}

/// What to do with a row that lacks the time or the value a metric needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// It is malformed: left out, counted and reported.
    #[default]
    Malformed,
    /// It does not concern this metric.
    Skip,
}

/// How a coarser period's value comes from finer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollup {
    /// Their sum.
    Sum,
    /// The last one's value.
    Last,
    /// Their sketches or lists merged.
    Merge,
    /// The sum of their parts over the sum of their counts.
    Weighted,
}

/// What the table as it stands can still tell of a past period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Of what happened in the period, that which still exists.
    Flow,
    /// Of what existed at the period's end, that which still exists, as it is now.
    Survivors,
    /// Nothing: the attribute has been overwritten since.
    Nothing,
}

impl Metric {
    /// What the table can still tell of a past period. It follows from the window, unless an
    /// attribute is overwritten in place (`moves`).
    #[must_use]
    pub fn past(&self) -> Past {
        match self.window {
            _ if self.moves.is_some() => Past::Nothing,
            Some(Window::Period) => Past::Flow,
            Some(Window::ToDate) => Past::Survivors,
            Some(Window::Now) | None => Past::Nothing,
        }
    }

    /// Whether the metric has a condition: rows can start or stop to count without being created or
    /// deleted. Without one, a count of a past period can only fall, by deletion.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        !self.conditions.is_empty() || self.by.is_some()
    }

    /// The sources it reads, by the name of their share; a single source's share has no name.
    pub fn source_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let single = self.source.iter().map(|source| ("", source.as_str()));
        let several =
            self.sources.iter().flatten().map(|(share, source)| (share.as_str(), source.as_str()));
        single.chain(several)
    }
}
