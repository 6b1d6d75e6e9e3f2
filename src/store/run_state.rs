//! What is known of a granularity between runs: how far it has come, what is to be refreshed, how
//! its last run went. One item each, `ANALYTICS_STATE` / `{granularity}`; that of the hours is also
//! their lease.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{
        AttributeValue, Client, Error, Item, MappingError, UpdateItem, key, number, string,
        to_attribute,
    },
    metrics::{
        findings::{Malformed, SourceFindings},
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
    },
    store::{
        ledger::Status,
        marks::{Mark, entry},
    },
};

/// How many of the periods that are known to be incomplete are named.
pub const MAXIMUM_HOLES: usize = 20;

/// A mark is taken away only when whoever set it cannot be writing any more: an invocation of a
/// Worker by a cron event or a queue ends after 15 minutes.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#wall-time-limits-by-invocation-type).
pub const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(15);

/// How far behind the index may be that answers are read from; mostly it is less than a second.
const INDEX_LAG: TimeDelta = TimeDelta::minutes(1);

/// What is known of one granularity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What the last run left.
    pub progress: Progress,
    /// Periods whose finer records have changed since they were made, each with when it was marked
    /// and by which run: `{start}#{instant}#{run}`.
    pub marks: BTreeSet<String>,
    /// Marked periods that were refreshed since, each with when its refresh began to read:
    /// `{start}#{instant}`. A mark outlives that, see [`SETTLED_AFTER`], and an unchanged record keeps
    /// its `calculatedAt`.
    pub refreshes: BTreeSet<String>,
    /// How often existing records were about to change.
    pub cache_version: u64,
    /// Until when they may still be changing; milliseconds since 1970.
    pub unsettled_until: i64,
    /// Runs that may have left marks in the coarser granularities, each with when it said so:
    /// `{instant}#{run}`. Only hours have it.
    pub marked_by: BTreeSet<String>,
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
    /// The types that are complete beyond the watermark, each with the start of the last period up to
    /// which it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub complete_by_type: BTreeMap<String, String>,
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

impl State {
    /// The periods that are marked as stale, earliest first.
    #[must_use]
    pub fn stale(&self, granularity: Granularity) -> BTreeSet<Period> {
        self.marks
            .iter()
            .filter_map(|mark| Mark::parse(mark))
            .map(|mark| Period::containing(granularity, mark.start))
            .ordered_set()
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

    /// The same periods, each with when the first change was marked that no refresh has.
    #[must_use]
    pub fn stale_from(&self, granularity: Granularity) -> BTreeMap<Period, DateTime<Utc>> {
        let refreshed = latest(&self.refreshes, granularity);
        let mut stale: BTreeMap<Period, DateTime<Utc>> = BTreeMap::new();
        for mark in self.marks.iter().filter_map(|mark| Mark::parse(mark)) {
            let period = Period::containing(granularity, mark.start);
            if refreshed.get(&period).is_none_or(|refreshed| *refreshed <= mark.at) {
                let first = stale.entry(period).or_insert(mark.at);
                *first = mark.at.min(*first);
            }
        }
        stale
    }

    /// The periods that a refresh which begins at `now` is worth: those that were not refreshed since
    /// they were marked, and those whose marks it can remove.
    #[must_use]
    pub fn to_refresh(&self, granularity: Granularity, now: DateTime<Utc>) -> BTreeSet<Period> {
        let stale = self.stale_since(granularity);
        let mut marked = self.stale(granularity);
        marked.retain(|period| stale.contains_key(period) || self.is_settled(*period, now));
        marked
    }

    fn marks_of(&self, period: Period) -> impl Iterator<Item = (&String, Mark<'_>)> {
        let marks = self.marks.iter().filter_map(|mark| Some((mark, Mark::parse(mark)?)));
        marks.filter(move |(_, mark)| mark.start == period.start())
    }

    /// The marks of `period` that a refresh which begins at `now` can remove: their runs have ended.
    pub fn settled_marks(
        &self,
        period: Period,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &String> {
        let marks = self.marks_of(period);
        marks.filter(move |(_, mark)| mark.at + SETTLED_AFTER <= now).map(|(entry, _)| entry)
    }

    /// Whether a refresh that begins at `now` can remove every mark of `period`.
    fn is_settled(&self, period: Period, now: DateTime<Utc>) -> bool {
        self.marks_of(period).count() == self.settled_marks(period, now).count()
    }

    /// What a refresh of `period` that began to read `at` removes from the state, besides the run's
    /// `own` mark, and whether a mark stays.
    #[must_use]
    pub fn settle(&self, period: Period, at: DateTime<Utc>, own: Option<&str>) -> (Settled, bool) {
        let mut marks: Vec<String> = self.settled_marks(period, at).cloned().collect();
        let own = own.map(str::to_owned);
        let stays = self
            .marks_of(period)
            .any(|(mark, _)| !marks.contains(mark) && own.as_ref().is_none_or(|own| own != mark));
        if let Some(own) = own.filter(|own| !marks.contains(own)) {
            marks.push(own);
        }
        let mut refreshes = Vec::new();
        if !stays {
            let of_period = |entry: &&String| {
                Mark::parse(entry).is_some_and(|mark| mark.start == period.start())
            };
            refreshes.extend(self.refreshes.iter().filter(of_period).cloned());
        }
        (Settled { marks, refreshes }, stays)
    }

    /// The refreshes whose period has no mark any more.
    #[must_use]
    pub fn orphaned_refreshes(&self) -> Vec<String> {
        let marked: BTreeSet<DateTime<Utc>> =
            self.marks.iter().filter_map(|mark| Some(Mark::parse(mark)?.start)).ordered_set();
        let is_orphaned = |entry: &&String| {
            Mark::parse(entry).is_some_and(|refresh| !marked.contains(&refresh.start))
        };
        self.refreshes.iter().filter(is_orphaned).cloned().collect()
    }
}

/// The periods in `entries`, which are `{start}#{instant}` and more, each with its latest instant.
fn latest(entries: &BTreeSet<String>, granularity: Granularity) -> BTreeMap<Period, DateTime<Utc>> {
    let mut latest = BTreeMap::new();
    for mark in entries.iter().filter_map(|entry| Mark::parse(entry)) {
        let period = Period::containing(granularity, mark.start);
        let last = latest.entry(period).or_insert(mark.at);
        *last = mark.at.max(*last);
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
    pub fn to_attribute(&self) -> Result<AttributeValue, MappingError> {
        to_attribute(self)
    }
}

/// Adds `marks` of stale periods: what those are computed from is about to change. Responses that were
/// cached before do not say so, and are not used again.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn mark_stale(
    client: &Client,
    table: &str,
    granularity: Granularity,
    marks: Vec<String>,
) -> Result<(), Error> {
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

/// Says in the hours' state that a run may leave marks in the coarser granularities.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn announce(client: &Client, table: &str, announcement: &str) -> Result<(), Error> {
    let update = UpdateItem::new(
        table,
        state_key(Granularity::Hourly),
        "ADD markedBy :entry",
        // Without a state of the hours there is no time of ours, and nothing to be refreshed by them.
        Some("attribute_exists(runState)"),
        [(":entry", AttributeValue::Ss(vec![announcement.to_owned()]))],
    );
    match client.send(&update).await {
        Err(error) if !error.is_condition_failure() => Err(error),
        _ => Ok(()),
    }
}

/// Removes announcements of runs that left no mark, or whose marks are removed.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn withdraw(
    client: &Client,
    table: &str,
    announcements: Vec<String>,
) -> Result<(), Error> {
    if announcements.is_empty() {
        return Ok(());
    }
    let values = [(":entries", AttributeValue::Ss(announcements))];
    let key = state_key(Granularity::Hourly);
    let update = UpdateItem::new(table, key, "DELETE markedBy :entries", None, values);
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
    let entries = refreshed.iter().map(|(period, at)| entry(*period, *at, None)).collect();
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
    let mut values = vec![(":progress", progress), (":entity", string("AnalyticsState"))];
    let removal = settled.removal(&mut values);
    let expression = format!("SET runState = :progress, EntityType = :entity {removal}");
    let update = UpdateItem::new(table, state_key(granularity), expression.trim(), None, values);
    client.send(&update).await.map(|_| ())
}

/// Removes what is `settled` from the state of `granularity`.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn remove_settled(
    client: &Client,
    table: &str,
    granularity: Granularity,
    settled: Settled,
) -> Result<(), Error> {
    if settled.marks.is_empty() && settled.refreshes.is_empty() {
        return Ok(());
    }
    let mut values = Vec::new();
    let removal = settled.removal(&mut values);
    let update = UpdateItem::new(table, state_key(granularity), &removal, None, values);
    client.send(&update).await.map(|_| ())
}

impl Settled {
    /// Removes also what `other` says.
    pub fn add(&mut self, other: Self) {
        self.marks.extend(other.marks);
        self.refreshes.extend(other.refreshes);
    }

    /// The clause that removes it, with its values added to `values`; empty if there is nothing.
    fn removal(self, values: &mut Vec<(&str, AttributeValue)>) -> String {
        let mut removed = Vec::new();
        for (attribute, placeholder, entries) in
            [("staleMarks", ":marks", self.marks), ("refreshes", ":refreshes", self.refreshes)]
        {
            if !entries.is_empty() {
                removed.push(format!("{attribute} {placeholder}"));
                values.push((placeholder, AttributeValue::Ss(entries)));
            }
        }
        if removed.is_empty() { String::new() } else { format!("DELETE {}", removed.join(", ")) }
    }
}
