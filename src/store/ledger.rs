//! The ledger: one entry for every run, batch of a backfill and slice of a recalculation. It says what
//! it was for, how it ended and what it cost.
//!
//! An entry is an item of the partition `ANALYTICS_RUN`, sorted by when the run started; `GSI1`
//! lists the entries of one granularity, `GSI2` those of one status.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{Item, KeyRange, Query, Usage, from_item, to_item},
    metrics::{
        period::{Granularity, format_instant},
        retention::RUNS_AND_JOBS,
    },
};

/// The most problems that an entry keeps; an item is at most 400 KB.
const MAXIMUM_PROBLEMS: usize = 50;

/// The partition of all entries.
const LEDGER_PARTITION: &str = "ANALYTICS_RUN";

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The cron event of the period.
    Cron,
    /// A backfill or refresh: a later run found the period missing or stale.
    CatchUp,
    /// A recalculation that an administrator requested.
    Recalculate,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every type of the period was written.
    Complete,
    /// Some types could not be computed.
    Partial,
    /// None could.
    Failed,
    /// Another run works on the same period, or has the lease; nothing was done.
    Held,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Complete, Self::Partial, Self::Failed, Self::Held];

    /// Its name in entries and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Held => "held",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The id of the run, as in its log line.
    pub run_id: String,
    /// The granularity of the periods.
    pub granularity: String,
    /// What started it.
    pub trigger: Trigger,
    /// Which attempt at this work it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// The start of its first period.
    pub timestamp: String,
    /// The last millisecond of its last period.
    pub end_timestamp: String,
    /// How many periods it was for.
    pub periods: usize,
    /// Types of which a record was written.
    pub types_written: Vec<String>,
    /// Types whose records are unchanged.
    pub types_unchanged: Vec<String>,
    /// Types whose stored records come from a newer calculation.
    pub types_superseded: Vec<String>,
    /// Types that could not be computed or written, and why.
    pub types_failed: BTreeMap<String, String>,
    /// Other errors.
    pub problems: Vec<String>,
    /// Items left out of a metric because an attribute was malformed, by metric.
    pub malformed: BTreeMap<String, u64>,
    /// How many periods may still be missing; the next run computes them.
    pub left: usize,
    /// When it started.
    pub started_at: String,
    /// When it was finished.
    pub finished_at: String,
    /// How long it took.
    pub milliseconds: i64,
    /// What it consumed, without this entry.
    #[serde(flatten)]
    pub usage: Usage,
    /// What that costs, in USD.
    pub estimated_cost_usd: f64,
    /// The job that it is a slice of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

/// An entry as an item.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerItem {
    #[serde(rename = "PK")]
    partition: String,
    #[serde(rename = "SK")]
    sort: String,
    #[serde(rename = "GSI1PK")]
    by_granularity_partition: String,
    #[serde(rename = "GSI1SK")]
    by_granularity_sort: String,
    #[serde(rename = "GSI2PK")]
    by_status_partition: String,
    #[serde(rename = "GSI2SK")]
    by_status_sort: String,
    #[serde(rename = "EntityType")]
    entity_type: String,
    ttl: i64,
    #[serde(flatten)]
    entry: Entry,
}

/// An entry could not be written as an item or read from one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a ledger entry could not be converted to or from an item: {0}")]
pub struct LedgerError(String);

impl Entry {
    /// Where the entry sorts: by its start; several entries of one run by what they are for.
    #[must_use]
    pub fn sort_key(&self) -> String {
        let Self { started_at, run_id, granularity, timestamp, .. } = self;
        format!("{started_at}#{run_id}#{granularity}#{timestamp}")
    }

    /// The entry as an item of a run that started at `started`.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped.
    pub fn to_item(&self, started: DateTime<Utc>) -> Result<Item, LedgerError> {
        let mut entry = self.clone();
        entry.problems.truncate(MAXIMUM_PROBLEMS);
        let sort = self.sort_key();
        let stored = LedgerItem {
            partition: LEDGER_PARTITION.to_owned(),
            sort: sort.clone(),
            by_granularity_partition: format!("{LEDGER_PARTITION}#{}", self.granularity),
            by_granularity_sort: sort.clone(),
            by_status_partition: format!("{LEDGER_PARTITION}_STATUS#{}", self.status.name()),
            by_status_sort: sort,
            entity_type: "AnalyticsRun".to_owned(),
            ttl: (started + RUNS_AND_JOBS).timestamp(),
            entry,
        };
        to_item(&stored).map_err(|error| LedgerError(error.to_string()))
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    ///
    /// When the item is not an entry.
    pub fn from_item(item: Item) -> Result<Self, LedgerError> {
        let stored: LedgerItem = from_item(item).map_err(|error| LedgerError(error.to_string()))?;
        Ok(stored.entry)
    }
}

/// Reads the entries of runs that started from `from` to before `until`, newest first, where
/// possible of one status or granularity only. `until` is a sort key, such as that of an entry
/// already read, or an instant.
#[must_use]
pub fn query(
    table: &str,
    granularity: Option<Granularity>,
    status: Option<Status>,
    from: DateTime<Utc>,
    until: String,
) -> Query {
    let (index, prefix, partition) = match (granularity, status) {
        (_, Some(status)) => {
            (Some("GSI2"), "GSI2", format!("{LEDGER_PARTITION}_STATUS#{}", status.name()))
        }
        (Some(granularity), None) => {
            (Some("GSI1"), "GSI1", format!("{LEDGER_PARTITION}#{granularity}"))
        }
        (None, None) => (None, "", LEDGER_PARTITION.to_owned()),
    };
    Query {
        table: table.to_owned(),
        index: index.map(str::to_owned),
        partition_key: format!("{prefix}PK"),
        sort_key: format!("{prefix}SK"),
        partition,
        range: Some(KeyRange { from: format_instant(from), to: until }),
        projection: Vec::new(),
        descending: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_being_written_and_read() {
        let started = DateTime::from_timestamp_millis(1_780_000_000_000).unwrap();
        let entry = Entry {
            run_id: "7f".to_owned(),
            granularity: "hourly".to_owned(),
            trigger: Trigger::CatchUp,
            attempt: 2,
            status: Status::Partial,
            timestamp: "2026-06-01T02:00:00.000Z".to_owned(),
            end_timestamp: "2026-06-01T02:59:59.999Z".to_owned(),
            periods: 1,
            types_written: vec!["users".to_owned()],
            types_unchanged: Vec::new(),
            types_superseded: Vec::new(),
            types_failed: BTreeMap::from([("media".to_owned(), "throttled".to_owned())]),
            problems: Vec::new(),
            malformed: BTreeMap::from([("totalUsers".to_owned(), 2)]),
            left: 3,
            started_at: format_instant(started),
            finished_at: format_instant(started),
            milliseconds: 12,
            usage: Usage { requests: 7, pages: 2, read_units: 1.5, write_units: 3.0 },
            estimated_cost_usd: 0.000_002,
            job_id: None,
        };
        let item = entry.to_item(started).unwrap();
        assert_eq!(crate::dynamodb::text(&item, "GSI2PK"), Some("ANALYTICS_RUN_STATUS#partial"));
        assert_eq!(Entry::from_item(item).unwrap(), entry);
    }
}
