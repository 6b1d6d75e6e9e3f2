//! Run state: what a granularity keeps between runs. It is one item each, `ANALYTICS_STATE` /
//! `{granularity}`; that of the hours also holds their lease.
//!
//! `progress` is what a run leaves for the next one, `updates` are the writes.

mod progress;
mod updates;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    dynamodb::{Item, key},
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period},
    },
    store::marks::Mark,
};

pub use progress::{MAXIMUM_HOLES, Progress, emptied};
pub use updates::{
    Settled, StateWriteError, announce, mark_stale, note_refreshed, remove_settled, unsettle,
    withdraw, write_progress,
};

/// A mark is removed only when the run that set it must have ended: an invocation of a Worker by a cron
/// event or a queue ends after 15 minutes.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#wall-time-limits-by-invocation-type).
pub const SETTLED_AFTER: TimeDelta = TimeDelta::minutes(15);

/// The run state of one granularity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What the last run noted.
    pub progress: Progress,
    /// Stale periods, each with when it was marked and by which run: `{start}#{instant}#{run}`.
    pub marks: BTreeSet<String>,
    /// Marked periods that were refreshed since, each with when its refresh began to read:
    /// `{start}#{instant}`. A mark outlives that, see [`SETTLED_AFTER`], and an unchanged record keeps
    /// its `calculatedAt`.
    pub refreshes: BTreeSet<String>,
    /// How often existing records were about to change.
    pub cache_version: u64,
    /// Until when they may still be changing; milliseconds since 1970.
    pub unsettled_until: i64,
    /// Runs that may have left marks in the coarser granularities, each with when it announced that:
    /// `{instant}#{run}`. Only hours have it.
    pub marked_by: BTreeSet<String>,
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

    /// The periods that were marked since their last refresh, each with when that was last. A record
    /// that was computed after that already includes the change.
    #[must_use]
    pub fn stale_since(&self, granularity: Granularity) -> BTreeMap<Period, DateTime<Utc>> {
        let refreshed = latest(&self.refreshes, granularity);
        let mut stale = latest(&self.marks, granularity);
        stale.retain(|period, at| refreshed.get(period).is_none_or(|refreshed| refreshed <= at));
        stale
    }

    /// The same periods, each with when the first change was marked that no refresh includes.
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

    /// The periods that are worth a refresh which starts at `now`: those that were not refreshed since
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

    /// The marks of `period` that a refresh which starts at `now` can remove: their runs have ended.
    pub fn settled_marks(
        &self,
        period: Period,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &String> {
        let marks = self.marks_of(period);
        marks.filter(move |(_, mark)| mark.at + SETTLED_AFTER <= now).map(|(entry, _)| entry)
    }

    /// Whether a refresh that starts at `now` can remove every mark of `period`.
    fn is_settled(&self, period: Period, now: DateTime<Utc>) -> bool {
        self.marks_of(period).count() == self.settled_marks(period, now).count()
    }

    /// What a refresh of `period` that started to read `at` removes from the state, the run's `own`
    /// mark included, and whether a mark stays.
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

    /// The refreshes whose period no longer has a mark.
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
