//! A metric: its name, its measure, its rollup, and what follows from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    measure::{Grouping, Measure},
    rows::{Condition, Rows, Window},
};

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// The type that it belongs to.
    pub type_name: String,
    /// Its name in records and in the API.
    pub name: String,
    /// What is computed, from which rows.
    pub measure: Measure,
    /// How the value of a coarser period follows from those of finer periods.
    pub rollup: Rollup,
    /// The attribute that the application overwrites in place. The table no longer has its earlier
    /// values, so the metric cannot be computed for a past period.
    pub moves: Option<String>,
}

/// How the value of a coarser period follows from those of the finer periods in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rollup {
    /// Their sum.
    Sum,
    /// The value of the last one.
    Last,
    /// Their sketches or rankings, merged.
    Merge,
    /// The mean of all their values: the sum of their sums, divided by the sum of their counts.
    Weighted,
}

/// What can be computed for a past period from the table as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// A flow: of what happened in the period, what still exists.
    Flow,
    /// A stock: of what existed at the end of the period, what still exists, as it is now.
    Survivors,
    /// Nothing: the attribute has been overwritten since.
    Nothing,
}

impl Metric {
    /// What can be computed for a past period from the table as it is now. It follows from the
    /// window, unless an attribute is overwritten in place (`moves`).
    #[must_use]
    pub fn past(&self) -> Past {
        match self.window() {
            _ if self.moves.is_some() => Past::Nothing,
            Some(Window::Period) => Past::Flow,
            Some(Window::ToDate) => Past::Survivors,
            Some(Window::Now) | None => Past::Nothing,
        }
    }

    /// Whether the metric has a condition or groups, so that a row can start or stop to count
    /// without being created or deleted. Without one, a count of a past period can only fall, by
    /// deletion.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        self.conditions().is_some_and(|conditions| !conditions.is_empty()) || self.by().is_some()
    }

    /// Whether its value is one number, not a number for each group or a ranking.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.by().is_none() && !matches!(self.measure, Measure::Top { .. })
    }

    /// The rows that it counts; `None` for `departures`, which follow from other metrics.
    #[must_use]
    pub fn rows(&self) -> Option<&Rows> {
        self.measure.rows()
    }

    /// Which times count; `None` for `departures`.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        self.rows().map(|rows| rows.window)
    }

    /// The attributes with the time of a row.
    #[must_use]
    pub fn time(&self) -> &[String] {
        self.rows().map_or(&[], |rows| &rows.time)
    }

    /// The conditions on its rows, by attribute; `None` for `departures`.
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

    /// The names of the stock and of the arrivals; `None` unless the measure is `departures`.
    #[must_use]
    pub fn departures(&self) -> Option<(&str, &str)> {
        match &self.measure {
            Measure::Departures { stock, arrivals } => Some((stock, arrivals)),
            _ => None,
        }
    }

    /// Its sources as pairs of the name of the share, which is empty for a single source, and the
    /// name of the source.
    pub fn source_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let sources = self.rows().into_iter().flat_map(|rows| &rows.sources);
        sources.map(|(share, source)| (share.as_str(), source.as_str()))
    }

    /// The attributes of a row that it is computed from. An attribute can occur more than once.
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
