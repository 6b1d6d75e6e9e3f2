//! What a run did: one structured log line.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    dynamodb::Usage,
    period::{Period, format_instant},
    record::Coverage,
};

use super::writing::WriteOutcome;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every type of the period was written.
    Complete,
    /// Some types could not be computed.
    Partial,
    /// None could.
    Failed,
    /// Another run is working on the same period; nothing was done.
    Held,
}

/// What became of the records of one period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodReport {
    /// The period's start.
    pub timestamp: String,
    /// Types whose record was written.
    pub types_written: Vec<String>,
    /// Types whose record already says the same.
    pub types_unchanged: Vec<String>,
    /// Types whose record comes from a newer calculation.
    pub types_superseded: Vec<String>,
    /// Types that could not be computed or written, and why.
    pub types_failed: BTreeMap<String, String>,
    /// For a coarser period: how many of its finer periods' records were there, by type, where some
    /// were not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub short: BTreeMap<String, Coverage>,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Always `run`.
    pub event: &'static str,
    /// The run's own name, in every line that belongs to it.
    pub run_id: String,
    /// The granularity.
    pub granularity: &'static str,
    /// How it ended.
    pub status: Status,
    /// The period the run is for.
    #[serde(flatten)]
    pub period: PeriodReport,
    /// The periods before it, calculated again for items that showed late.
    pub recalculated: Vec<PeriodReport>,
    /// Items that were left out of a metric because an attribute was malformed, by metric.
    pub malformed: BTreeMap<String, u64>,
    /// What went wrong besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What it consumed.
    #[serde(flatten)]
    pub usage: Usage,
    /// How long it took.
    pub milliseconds: i64,
}

impl PeriodReport {
    /// A report on `period` to which nothing has happened yet.
    #[must_use]
    pub fn new(period: Period) -> Self {
        Self { timestamp: format_instant(period.start()), ..Self::default() }
    }

    /// Notes what became of the record of one type.
    pub(super) fn note(&mut self, type_name: String, result: Result<WriteOutcome, String>) {
        match result {
            Ok(WriteOutcome::Stored) => self.types_written.push(type_name),
            Ok(WriteOutcome::Unchanged) => self.types_unchanged.push(type_name),
            Ok(WriteOutcome::Superseded) => self.types_superseded.push(type_name),
            Err(why) => {
                self.types_failed.insert(type_name, why);
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.types_written.sort_unstable();
        self.types_unchanged.sort_unstable();
        self.types_superseded.sort_unstable();
    }
}
