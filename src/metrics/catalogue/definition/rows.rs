//! Which rows a measure counts.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The rows that a measure counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The sources, by the name of their share in a ranking. The share of a single source has an
    /// empty name.
    pub sources: BTreeMap<String, String>,
    /// The conditions that a row must meet, all of them, by attribute.
    pub conditions: BTreeMap<String, Condition>,
    /// Which times count.
    pub window: Window,
    /// The attributes with the time of a row; the first that is present counts. Empty for
    /// [`Window::Now`].
    pub time: Vec<String>,
    /// What happens to a row without the time or the value.
    pub absent: Absent,
}

/// A condition on an attribute of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// The attribute has this value. An absent attribute does not meet it.
    Is(Literal),
    /// The attribute has another value, or is absent.
    Not(Literal),
    /// The attribute is one of these strings.
    AnyOf(Vec<String>),
    /// The attribute is present and is not an empty string.
    Present,
    /// The time in the attribute is after the end of the period, or the attribute is absent.
    AfterPeriod,
}

/// A value with which an attribute is compared, in conditions and in groups.
///
/// A boolean is compared with booleans, with `"true"` or `"false"` in any case, and with 1 or 0. A
/// string, including `"1"`, is compared with strings only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Literal {
    /// A boolean, in whatever form it is stored.
    Boolean(bool),
    /// A string.
    Text(String),
}

impl Literal {
    /// The meaning of a string in `metrics.toml`.
    ///
    /// ```
    /// # use edge_analytics::metrics::catalogue::definition::Literal;
    /// assert_eq!(Literal::of_text("TRUE"), Literal::Boolean(true));
    /// assert_eq!(Literal::of_text("1"), Literal::Text("1".to_owned()));
    /// ```
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        if text.eq_ignore_ascii_case("true") {
            Self::Boolean(true)
        } else if text.eq_ignore_ascii_case("false") {
            Self::Boolean(false)
        } else {
            Self::Text(text.to_owned())
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(boolean) => boolean.fmt(formatter),
            Self::Text(text) => formatter.write_str(text),
        }
    }
}

/// Which times of rows count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// Those in the period: the metric is a flow.
    Period,
    /// Those up to the end of the period: the metric is a stock.
    ToDate,
    /// All: the metric is a stock of the rows as they are when they are read.
    Now,
}

/// What happens to a row without the time or the value that a metric needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absent {
    /// It is malformed: left out, counted and reported.
    #[default]
    Malformed,
    /// It does not concern the metric.
    Skip,
}
