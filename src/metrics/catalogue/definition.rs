//! What the catalogue says: sources and metrics as data.
//!
//! Shared by the build script, which reads and checks `metrics.toml`, and the crate, which embeds
//! the result; it depends on nothing but serde.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Everything `metrics.toml` says, in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    /// The attribute with the epoch second at which DynamoDB may delete an item, if the table has one.
    pub ttl: Option<String>,
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
pub struct Realtime {
    /// The metrics that are counted since midnight and in the last 24 hours.
    pub flows: Vec<String>,
    /// The metrics that the dashboard shows first.
    pub headlines: Vec<String>,
    /// What was seen in the last minutes.
    pub recent: Vec<Recent>,
}

/// Distinct values in the rows that were seen in the last minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKeyTime {
    /// The attribute that holds the same time.
    pub attribute: String,
    /// How the sort key writes it.
    pub format: SortKeyFormat,
}

/// How a sort key writes the time it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortKeyFormat {
    /// `2026-03-01T23:59:59.999Z`
    Instant,
    /// `2026-03-01T23`
    Hour,
}

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// The type it belongs to.
    pub type_name: String,
    /// Its name in records and in the API.
    pub name: String,
    /// What is computed, from which rows.
    pub measure: Measure,
    /// How a coarser period comes from finer ones.
    pub rollup: Rollup,
    /// The attribute that the platform overwrites in place, so that the table no longer knows its
    /// earlier values: what is computed from it cannot be told of a past period.
    pub moves: Option<String>,
}

/// What is computed, from which rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// The number of rows.
    Count {
        /// The rows.
        rows: Rows,
        /// Counts by group instead of one count.
        by: Option<Grouping>,
    },
    /// The number of distinct values.
    CountDistinct {
        /// The rows.
        rows: Rows,
        /// The attribute that holds the values.
        attribute: String,
    },
    /// The sum of the values.
    Sum {
        /// The rows.
        rows: Rows,
        /// What of a row is added up.
        value: Value,
    },
    /// The mean of the values; absent where there are none.
    Avg {
        /// The rows.
        rows: Rows,
        /// What of a row the mean is of.
        value: Value,
    },
    /// The targets with most rows.
    Top {
        /// The rows, from one source for each share.
        rows: Rows,
        /// The attributes that name a target.
        key: Vec<String>,
        /// The position in `key` of the attribute that orders targets with the same total.
        tie: usize,
        /// How many targets the metric lists.
        limit: usize,
    },
    /// How many left: the stock before, plus the arrivals, minus the stock now, never below zero;
    /// absent where there is no period before.
    Departures {
        /// The metric that says how many there are.
        stock: String,
        /// The metric that says how many came.
        arrivals: String,
    },
}

/// The rows that a measure counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The sources, by the name of their share in the result; a single source's share has no name.
    pub sources: BTreeMap<String, String>,
    /// Which rows count: every condition must hold.
    pub conditions: BTreeMap<String, Condition>,
    /// Which instants count.
    pub window: Window,
    /// The attributes that hold the row's time; the first that is there counts. None for `now`.
    pub time: Vec<String>,
    /// What to do with a row that lacks the time or the value.
    pub absent: Absent,
}

/// What of a row is computed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// The attribute's number.
    Attribute(String),
    /// An amount of money in the attribute, a decimal string or a number, in whole cents.
    Money(String),
    /// What a table says of the attribute's value, in whole cents.
    Lookup {
        /// The table's name.
        table: String,
        /// The attribute.
        attribute: String,
    },
}

impl Value {
    /// The attribute that it is read from.
    #[must_use]
    pub fn attribute(&self) -> &str {
        match self {
            Self::Attribute(attribute)
            | Self::Money(attribute)
            | Self::Lookup { attribute, .. } => attribute,
        }
    }
}

/// A value that an attribute is compared with, in conditions and in groups alike.
///
/// `true`, `"true"` and `"TRUE"` are one truth: an attribute may hold a truth as a boolean, as
/// `"true"` or `"false"` in any case, or as 1 or 0. Every other string, also `"1"`, is a text, and is
/// compared with strings only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Literal {
    /// A truth, however it is stored.
    Truth(bool),
    /// A string.
    Text(String),
}

impl Literal {
    /// What a string in `metrics.toml` means.
    ///
    /// ```
    /// # use edge_analytics::metrics::catalogue::definition::Literal;
    /// assert_eq!(Literal::of_text("TRUE"), Literal::Truth(true));
    /// assert_eq!(Literal::of_text("1"), Literal::Text("1".to_owned()));
    /// ```
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        if text.eq_ignore_ascii_case("true") {
            Self::Truth(true)
        } else if text.eq_ignore_ascii_case("false") {
            Self::Truth(false)
        } else {
            Self::Text(text.to_owned())
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => truth.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// What must hold for an attribute of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The attribute has this value.
    Is(Literal),
    /// Anything but this value; also where the attribute is absent.
    Not(Literal),
    /// One of these strings.
    AnyOf(Vec<String>),
    /// The attribute is there and is no empty string.
    Present,
    /// The time in the attribute is after the period's end; also where it is absent.
    AfterPeriod,
}

/// Counts by group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// The attribute whose value decides.
    pub attribute: String,
    /// The groups: name in the result, value of the attribute; all of them are truths, or all are
    /// texts. Other values are not counted.
    pub groups: BTreeMap<String, Literal>,
}

/// Which instants count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
pub enum Absent {
    /// It is malformed: left out, counted and reported.
    #[default]
    Malformed,
    /// It does not concern this metric.
    Skip,
}

/// How a coarser period's value comes from finer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Measure {
    /// Its name in `metrics.toml`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count { .. } => "count",
            Self::CountDistinct { .. } => "count_distinct",
            Self::Sum { .. } => "sum",
            Self::Avg { .. } => "avg",
            Self::Top { .. } => "top",
            Self::Departures { .. } => "departures",
        }
    }

    /// The rows it counts; `departures` has none of its own.
    #[must_use]
    pub fn rows(&self) -> Option<&Rows> {
        match self {
            Self::Count { rows, .. }
            | Self::CountDistinct { rows, .. }
            | Self::Sum { rows, .. }
            | Self::Avg { rows, .. }
            | Self::Top { rows, .. } => Some(rows),
            Self::Departures { .. } => None,
        }
    }

    fn rows_mut(&mut self) -> Option<&mut Rows> {
        match self {
            Self::Count { rows, .. }
            | Self::CountDistinct { rows, .. }
            | Self::Sum { rows, .. }
            | Self::Avg { rows, .. }
            | Self::Top { rows, .. } => Some(rows),
            Self::Departures { .. } => None,
        }
    }
}

impl Metric {
    /// What the table can still tell of a past period. It follows from the window, unless an
    /// attribute is overwritten in place (`moves`).
    #[must_use]
    pub fn past(&self) -> Past {
        match self.window() {
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
        self.conditions().is_some_and(|conditions| !conditions.is_empty()) || self.by().is_some()
    }

    /// Whether its value is one number, not a number for each group or a list.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.by().is_none() && !matches!(self.measure, Measure::Top { .. })
    }

    /// The rows it counts; `None` for `departures`, which follow from other metrics.
    #[must_use]
    pub fn rows(&self) -> Option<&Rows> {
        self.measure.rows()
    }

    /// Which instants count; `None` for `departures`.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.rows().map(|rows| rows.window)
    }

    /// The attributes that hold a row's time.
    #[must_use]
    pub fn time(&self) -> &[String] {
        self.rows().map_or(&[], |rows| &rows.time)
    }

    /// The conditions on its rows, by attribute.
    #[must_use]
    pub fn conditions(&self) -> Option<&BTreeMap<String, Condition>> {
        self.rows().map(|rows| &rows.conditions)
    }

    /// How its rows are grouped, if they are.
    #[must_use]
    pub fn by(&self) -> Option<&Grouping> {
        match &self.measure {
            Measure::Count { by, .. } => by.as_ref(),
            _ => None,
        }
    }

    /// For `departures`: the names of the stock and of the arrivals.
    #[must_use]
    pub fn departures(&self) -> Option<(&str, &str)> {
        match &self.measure {
            Measure::Departures { stock, arrivals } => Some((stock, arrivals)),
            _ => None,
        }
    }

    /// The sources it reads, by the name of their share; a single source's share has no name.
    pub fn source_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.rows().into_iter().flat_map(|rows| &rows.sources);
        sources.map(|(share, source)| (share.as_str(), source.as_str()))
    }

    /// The attributes of a row that it is computed from.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let (value, key): (Option<&str>, &[String]) = match &self.measure {
            Measure::Count { by, .. } => (by.as_ref().map(|by| by.attribute.as_str()), &[]),
            Measure::CountDistinct { attribute, .. } => (Some(attribute), &[]),
            Measure::Sum { value, .. } | Measure::Avg { value, .. } => {
                (Some(value.attribute()), &[])
            }
            Measure::Top { key, .. } => (None, key),
            Measure::Departures { .. } => (None, &[]),
        };
        let rows = self.rows().into_iter();
        rows.flat_map(|rows| rows.conditions.keys().chain(&rows.time))
            .chain(key)
            .map(String::as_str)
            .chain(value)
    }

    /// The same metric over another window.
    #[must_use]
    pub fn with_window(&self, window: Window) -> Self {
        let mut metric = self.clone();
        if let Some(rows) = metric.measure.rows_mut() {
            rows.window = window;
        }
        metric
    }
}
