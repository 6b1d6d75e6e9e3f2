//! What a metric computes: each measure with the fields that it has in `metrics.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rows::{Literal, Rows};

/// The most targets that a record keeps of a ranking, so the most that a metric can list.
///
/// A period with no more targets loses none, so that its coarser periods rank exactly. If more are
/// dropped, the ranking of a coarser period is not certain, and is absent.
pub const MAXIMUM_TARGETS: u32 = 1000;

/// What a metric computes, from which rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// The number of rows.
    Count {
        /// The rows.
        rows: Rows,
        /// How the rows are grouped; `None` is one count of all.
        by: Option<Grouping>,
    },
    /// The number of distinct values.
    CountDistinct {
        /// The rows.
        rows: Rows,
        /// The attribute with the value, a string.
        attribute: String,
    },
    /// The sum of the values; 0 if there are none.
    Sum {
        /// The rows.
        rows: Rows,
        /// The value of a row.
        value: RowValue,
    },
    /// The mean of the values; absent if there are none.
    Avg {
        /// The rows.
        rows: Rows,
        /// The value of a row.
        value: RowValue,
    },
    /// The targets with the most rows.
    Top {
        /// The rows, from one source for each share.
        rows: Rows,
        /// The attributes that identify a target.
        key: Vec<String>,
        /// The position in `key` of the attribute that orders targets with equal totals.
        tie: usize,
        /// How many targets are listed, at most [`MAXIMUM_TARGETS`].
        limit: usize,
    },
    /// How many left: the stock before, plus the arrivals, minus the stock now, never below 0.
    /// Absent if there is no period before.
    Departures {
        /// The name of the metric with the stock.
        stock: String,
        /// The name of the metric with the arrivals.
        arrivals: String,
    },
}

/// Counts by group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// The attribute that decides on the group.
    pub attribute: String,
    /// The groups: the name in the result and the value of the attribute. All values are booleans,
    /// or all are strings. A row with another value is in no group.
    pub groups: BTreeMap<String, Literal>,
}

/// The value of a row that is summed or averaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowValue {
    /// The number in the attribute.
    Number(String),
    /// The amount of money in the attribute, a decimal string or a number, in whole cents.
    Money(String),
    /// The amount that a table has for the string in the attribute, in whole cents.
    Lookup {
        /// The name of the table.
        table: String,
        /// The attribute.
        attribute: String,
    },
}

impl RowValue {
    /// The attribute that it is read from.
    #[must_use]
    pub fn attribute(&self) -> &str {
        match self {
            Self::Number(attribute) | Self::Money(attribute) | Self::Lookup { attribute, .. } => {
                attribute
            }
        }
    }
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

    /// The rows that it counts; `None` for `departures`, which follow from other metrics.
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

    pub(super) fn rows_mut(&mut self) -> Option<&mut Rows> {
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
