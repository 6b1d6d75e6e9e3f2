//! What a run notes for the next one: how far its granularity is complete, and how the run ended.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{AttributeValue, MappingError, to_attribute},
    metrics::{
        findings::{Malformed, SourceFindings},
        period::{Granularity, Period, format_instant, parse_instant},
    },
    store::ledger::Status,
};

/// How many of the periods that are known to be incomplete are named.
pub const MAXIMUM_HOLES: usize = 20;

/// What a run notes for the next one: `runState` of the state item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The start of the first counted hour. Only hours have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// The start of the last period up to which all records are complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// The types that are complete beyond the watermark, each with the start of the last period up to
    /// which it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub complete_by_type: BTreeMap<String, String>,
    /// The start of the latest period whose scheduled run was processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// Which attempt at the latest period that was.
    pub attempt: u32,
    /// The start of the first hour that trailing runs still have to recompute. Only hours have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recalculate_from: Option<String>,
    /// When the last run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_at: Option<String>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<Status>,
    /// When the last run started that wrote every type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<String>,
    /// The types that the last run could not compute, and metrics of which no item could be read, each
    /// with the reason.
    pub failing_types: BTreeMap<String, String>,
    /// Items that the last run left out because they are malformed, by metric. Only hours have it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed: BTreeMap<String, Malformed>,
    /// The sources in which items were found. Only hours have it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sources_with_items: BTreeSet<String>,
    /// Those of them that were empty at the last run.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub emptied_sources: BTreeSet<String>,
    /// Starts of periods that are known to be incomplete, the first of them.
    pub holes: Vec<String>,
    /// How many periods may be incomplete.
    pub left: usize,
    /// The retention that was last applied to existing records. Only days have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<String>,
}

/// The problem that a source had items before and has none now.
#[must_use]
pub fn emptied(source: &str) -> String {
    format!(
        "source `{source}` had items before and has none now; check its `index` and `partitions` in \
         metrics.toml against the table"
    )
}

impl Progress {
    /// The start of the first counted hour.
    #[must_use]
    pub fn begin(&self) -> Option<DateTime<Utc>> {
        self.begin.as_deref().and_then(parse_instant)
    }

    /// The period up to which all types are complete.
    #[must_use]
    pub fn watermark(&self, granularity: Granularity) -> Option<Period> {
        let start = self.watermark.as_deref().and_then(parse_instant)?;
        Some(Period::containing(granularity, start))
    }

    /// The first hour that is to be recomputed.
    #[must_use]
    pub fn recalculation_due(&self) -> Option<Period> {
        let start = self.recalculate_from.as_deref().and_then(parse_instant)?;
        Some(Period::containing(Granularity::Hourly, start))
    }

    /// Whether no scheduled run of a later period than `period` was processed.
    #[must_use]
    pub fn is_in_order(&self, period: Period) -> bool {
        let latest = self.latest.as_deref().and_then(parse_instant);
        latest.is_none_or(|latest| period.start() >= latest)
    }

    /// Notes that the scheduled run of the period that starts at `start` was processed, if it is the
    /// latest.
    pub fn note_latest(&mut self, start: DateTime<Utc>) {
        let latest = self.latest.as_deref().and_then(parse_instant);
        if latest.is_none_or(|latest| start > latest) {
            self.latest = Some(format_instant(start));
        }
    }

    /// Notes in which of `sources` items were found; returns those that had items before and have none
    /// now. What is read by key range may be empty in a quiet hour.
    pub fn note_sources(&mut self, sources: &BTreeMap<String, SourceFindings>) -> Vec<String> {
        let mut emptied = Vec::new();
        for (name, found) in sources.iter().filter(|(_, found)| found.is_whole) {
            if found.rows > 0 {
                self.emptied_sources.remove(name);
                self.sources_with_items.insert(name.clone());
            } else if self.sources_with_items.contains(name) {
                self.emptied_sources.insert(name.clone());
                emptied.push(name.clone());
            }
        }
        emptied
    }

    /// Notes which periods are known to be incomplete, and that so many may be.
    pub fn note_holes(&mut self, holes: impl IntoIterator<Item = Period>, left: usize) {
        let holes = holes.into_iter().take(MAXIMUM_HOLES);
        self.holes = holes.map(|period| format_instant(period.start())).collect();
        self.left = left;
    }

    /// As an attribute.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped.
    pub fn to_attribute(&self) -> Result<AttributeValue, MappingError> {
        to_attribute(self)
    }
}
