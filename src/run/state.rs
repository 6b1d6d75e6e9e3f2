//! What is known of a granularity between runs: how far it has come, what is to be refreshed, how
//! its last run went. One item each, `ANALYTICS_STATE` / `{granularity}`; that of the hours is also
//! their lease.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{
        AttributeValue, Client, Error, Item, UpdateItem, from_item, key, number, string,
        to_attribute,
    },
    ledger::Status,
    period::{Granularity, Period, format_instant, parse_instant},
};

use super::reading::{Malformed, SourceFindings};

/// How many of the periods that are known to be incomplete are named.
pub const MAXIMUM_HOLES: usize = 20;

/// A mark is taken away only when whoever set it cannot be writing any more: an invocation of a
/// Worker by a cron event or a queue ends after 15 minutes.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#wall-time-limits-by-invocation-type).
const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(15);

/// How far behind the index may be that answers are read from; mostly it is less than a second.
const INDEX_LAG: TimeDelta = TimeDelta::minutes(1);

/// What is known of one granularity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What the last run left.
    pub progress: Progress,
    /// Periods whose finer records have changed since they were made, each with when it was marked:
    /// `{start}#{instant}`.
    pub marks: BTreeSet<String>,
    /// Marked periods that were refreshed since, each with when its refresh began to read:
    /// `{start}#{instant}`. A mark outlives that, see [`SETTLED_AFTER`], and an unchanged record keeps
    /// its `calculatedAt`.
    pub refreshes: BTreeSet<String>,
    /// How often existing records were about to change.
    pub cache_version: u64,
    /// Until when they may still be changing; milliseconds since 1970.
    pub unsettled_until: i64,
}

/// What a run leaves for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// The start of the first hour that was ever counted by its own event: where our time begins.
    /// Only hours have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin: Option<String>,
    /// The start of the last period up to which all records are complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<String>,
    /// The start of the latest period whose own event has been here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
    /// Which attempt at the latest period that was.
    pub attempt: u32,
    /// The start of the first hour that has not been calculated again by every run after it that
    /// ought to. Only hours have it.
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
    /// The types that the last run could not compute, and single metrics of which no item could be
    /// understood, and why.
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

/// The item's attributes that are ours; a lease has more.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stored {
    run_state: Progress,
    stale_marks: Vec<String>,
    refreshes: Vec<String>,
    cache_version: u64,
    unsettled_until: i64,
}

/// That a source had items and has none now.
#[must_use]
pub fn emptied(source: &str) -> String {
    format!(
        "source `{source}` had items before and has none now; check its `index` and `partitions` in \
         metrics.toml against the table"
    )
}

/// The state item of `granularity`.
#[must_use]
pub fn state_key(granularity: Granularity) -> Item {
    key("ANALYTICS_STATE", granularity.name())
}

/// The state cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state of the runs (ANALYTICS_STATE) cannot be read: {0}")]
pub struct StateError(String);

impl StateError {
    pub(super) fn new(cause: &impl ToString) -> Self {
        Self(cause.to_string())
    }
}

impl State {
    /// Reads the item; without one, nothing has run yet.
    ///
    /// # Errors
    ///
    /// When the item is not what we write.
    pub fn from_item(item: Option<Item>) -> Result<Self, StateError> {
        let Some(item) = item else { return Ok(Self::default()) };
        let stored: Stored = from_item(item).map_err(|error| StateError(error.to_string()))?;
        Ok(Self {
            progress: stored.run_state,
            marks: stored.stale_marks.into_iter().collect(),
            refreshes: stored.refreshes.into_iter().collect(),
            cache_version: stored.cache_version,
            unsettled_until: stored.unsettled_until,
        })
    }

    /// The periods that are marked as stale, earliest first.
    #[must_use]
    pub fn stale(&self, granularity: Granularity) -> BTreeSet<Period> {
        self.marks
            .iter()
            .filter_map(|mark| parse_instant(mark.split_once('#')?.0))
            .map(|start| Period::containing(granularity, start))
            .collect()
    }

    /// The periods whose finer records have changed since the last refresh, each with when that was
    /// marked last. A record that was computed after that has the change already.
    #[must_use]
    pub fn stale_since(&self, granularity: Granularity) -> BTreeMap<Period, DateTime<Utc>> {
        let refreshed = latest(&self.refreshes, granularity);
        let mut stale = latest(&self.marks, granularity);
        stale.retain(|period, at| refreshed.get(period).is_none_or(|refreshed| refreshed <= at));
        stale
    }

    /// The refreshes of `period` that can be forgotten at `now`, because all its marks are removed.
    pub fn settled_refreshes(
        &self,
        period: Period,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &String> {
        let start = format!("{}#", format_instant(period.start()));
        let is_settled = self.is_settled(period, now);
        self.refreshes.iter().filter(move |of| is_settled && of.starts_with(&start))
    }

    /// Whether every mark of `period` can be taken away at `now`.
    #[must_use]
    pub fn is_settled(&self, period: Period, now: DateTime<Utc>) -> bool {
        let start = format!("{}#", format_instant(period.start()));
        let marks = self.marks.iter().filter(|mark| mark.starts_with(&start));
        marks.count() == self.settled_marks(period, now).count()
    }

    /// The marks of `period` that can be taken away at `now`, once it has been made again from what
    /// is there after the state was read.
    pub fn settled_marks(
        &self,
        period: Period,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &String> {
        let start = format_instant(period.start());
        self.marks.iter().filter(move |mark| {
            mark.split_once('#').is_some_and(|(of, at)| {
                of == start && parse_instant(at).is_some_and(|at| at + SETTLED_AFTER <= now)
            })
        })
    }
}

/// The periods in `entries`, which are `{start}#{instant}`, each with its latest instant.
fn latest(entries: &BTreeSet<String>, granularity: Granularity) -> BTreeMap<Period, DateTime<Utc>> {
    let mut latest = BTreeMap::new();
    for (start, at) in entries.iter().filter_map(|entry| entry.split_once('#')) {
        let (Some(start), Some(at)) = (parse_instant(start), parse_instant(at)) else { continue };
        let last = latest.entry(Period::containing(granularity, start)).or_insert(at);
        *last = at.max(*last);
    }
    latest
}

impl Progress {
    /// Where our time begins.
    #[must_use]
    pub fn begin(&self) -> Option<DateTime<Utc>> {
        self.begin.as_deref().and_then(parse_instant)
    }

    /// The period up to which all is complete.
    #[must_use]
    pub fn watermark(&self, granularity: Granularity) -> Option<Period> {
        let start = self.watermark.as_deref().and_then(parse_instant)?;
        Some(Period::containing(granularity, start))
    }

    /// The first hour that is to be calculated again.
    #[must_use]
    pub fn recalculation_due(&self) -> Option<Period> {
        let start = self.recalculate_from.as_deref().and_then(parse_instant)?;
        Some(Period::containing(Granularity::Hourly, start))
    }

    /// Whether no later period's own event has been here than that of `period`.
    #[must_use]
    pub fn is_in_order(&self, period: Period) -> bool {
        let latest = self.latest.as_deref().and_then(parse_instant);
        latest.is_none_or(|latest| period.start() >= latest)
    }

    /// Notes that the own event of the period that starts at `start` has been here, if it is the
    /// latest.
    pub fn note_latest(&mut self, start: DateTime<Utc>) {
        let latest = self.latest.as_deref().and_then(parse_instant);
        if latest.is_none_or(|latest| start > latest) {
            self.latest = Some(format_instant(start));
        }
    }

    /// Notes in which of `sources` items were found; returns what is wrong: those that had items before
    /// and have none now. What is read by key range may be empty in a quiet hour.
    pub fn note_sources(&mut self, sources: &BTreeMap<String, SourceFindings>) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, found) in sources.iter().filter(|(_, found)| found.is_whole) {
            if found.rows > 0 {
                self.emptied_sources.remove(name);
                self.sources_with_items.insert(name.clone());
            } else if self.sources_with_items.contains(name) {
                self.emptied_sources.insert(name.clone());
                problems.push(emptied(name));
            }
        }
        problems
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
    pub fn to_attribute(&self) -> Result<AttributeValue, StateError> {
        to_attribute(self).map_err(|error| StateError(error.to_string()))
    }
}

/// Marks the periods as stale: what they are computed from is about to change. Responses that were
/// cached before do not say so, and are not used again.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn mark_stale(
    client: &Client,
    table: &str,
    granularity: Granularity,
    periods: &BTreeSet<Period>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let at = format_instant(now);
    let marks =
        periods.iter().map(|period| format!("{}#{at}", format_instant(period.start()))).collect();
    let update = UpdateItem::new(
        table,
        state_key(granularity),
        "ADD staleMarks :marks, cacheVersion :one SET EntityType = :entity",
        None,
        [
            (":marks", AttributeValue::Ss(marks)),
            (":one", number(&1)),
            (":entity", string("AnalyticsState")),
        ],
    );
    client.send(&update).await.map(|_| ())
}

/// Says that existing records of `granularity` are about to change: answers made from them before are
/// not to be used again, and until the writer has certainly ended none is to be kept.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn unsettle(
    client: &Client,
    table: &str,
    granularity: Granularity,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    // The index that answers are read from is a moment behind.
    let until = now + SETTLED_AFTER + INDEX_LAG;
    let update = UpdateItem::new(
        table,
        state_key(granularity),
        "ADD cacheVersion :one SET unsettledUntil = :until, EntityType = :entity",
        None,
        [
            (":one", number(&1)),
            (":until", number(&until.timestamp_millis())),
            (":entity", string("AnalyticsState")),
        ],
    );
    client.send(&update).await.map(|_| ())
}

/// Notes that marked periods were refreshed from what was stored at these instants.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn note_refreshed(
    client: &Client,
    table: &str,
    refreshed: &[(Period, DateTime<Utc>)],
) -> Result<(), Error> {
    let Some((first, _)) = refreshed.first() else { return Ok(()) };
    let entry = |(period, at): &(Period, DateTime<Utc>)| {
        format!("{}#{}", format_instant(period.start()), format_instant(*at))
    };
    let entries = refreshed.iter().map(entry).collect();
    let update = UpdateItem::new(
        table,
        state_key(first.granularity()),
        "ADD refreshes :refreshes SET EntityType = :entity",
        None,
        [(":refreshes", AttributeValue::Ss(entries)), (":entity", string("AnalyticsState"))],
    );
    client.send(&update).await.map(|_| ())
}

/// What a run removes from the state.
#[derive(Debug, Default)]
pub struct Settled {
    /// Marks.
    pub marks: Vec<String>,
    /// Refreshes.
    pub refreshes: Vec<String>,
}

/// Writes what a run without a lease leaves, and removes what is `settled`.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn write_progress(
    client: &Client,
    table: &str,
    granularity: Granularity,
    progress: AttributeValue,
    settled: Settled,
) -> Result<(), Error> {
    let mut expression = "SET runState = :progress, EntityType = :entity".to_owned();
    let mut values = vec![(":progress", progress), (":entity", string("AnalyticsState"))];
    let mut removed = Vec::new();
    for (attribute, placeholder, entries) in
        [("staleMarks", ":marks", settled.marks), ("refreshes", ":refreshes", settled.refreshes)]
    {
        if !entries.is_empty() {
            removed.push(format!("{attribute} {placeholder}"));
            values.push((placeholder, AttributeValue::Ss(entries)));
        }
    }
    if !removed.is_empty() {
        expression.push_str(" DELETE ");
        expression.push_str(&removed.join(", "));
    }
    let update = UpdateItem::new(table, state_key(granularity), &expression, None, values);
    client.send(&update).await.map(|_| ())
}
