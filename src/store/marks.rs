//! Marks of stale periods: when a run sets them, and when they are removed.
//!
//! A run marks the coarser periods of a record before it changes the record, as
//! `{start}#{instant}#{run}` in the state item of their granularity; marks from before there was an
//! owner have no `#{run}`. A run removes its own marks when it has refreshed the period after its last
//! write. Marks of others are removed by a refresh that begins when their run must have ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    dynamodb::{Client, DynamoDbError},
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
        rollup::coarser_than,
    },
    store::run_state::{announce, mark_stale},
};

/// One entry of `staleMarks` or `refreshes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark<'entry> {
    /// The start of the period.
    pub start: DateTime<Utc>,
    /// When it was marked, or when its refresh began to read.
    pub at: DateTime<Utc>,
    /// The run that marked it, if it says so.
    pub owner: Option<&'entry str>,
}

impl<'entry> Mark<'entry> {
    /// Reads `{start}#{instant}` or `{start}#{instant}#{run}`.
    #[must_use]
    pub fn parse(entry: &'entry str) -> Option<Self> {
        let mut parts = entry.splitn(3, '#');
        let start = parts.next().and_then(parse_instant)?;
        let at = parts.next().and_then(parse_instant)?;
        Some(Self { start, at, owner: parts.next() })
    }
}

/// The entry for a period that was marked `at` by a run, or refreshed then.
#[must_use]
pub fn entry(period: Period, at: DateTime<Utc>, owner: Option<&str>) -> String {
    let (start, at) = (format_instant(period.start()), format_instant(at));
    match owner {
        Some(owner) => format!("{start}#{at}#{owner}"),
        None => format!("{start}#{at}"),
    }
}

/// The marks that one run has set and not removed yet.
#[derive(Debug, Clone)]
pub(crate) struct OwnMarks {
    run_id: String,
    /// Coarser periods whose scheduled run was due at this time are also marked for new records.
    due_at: Option<DateTime<Utc>>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    marks: BTreeMap<Period, String>,
    /// Periods that the run computes after what it computes now.
    computing: BTreeSet<Period>,
    /// The run's entry in `markedBy` of the state of the hours.
    announcement: Option<String>,
    /// The run's lease announces it: a run that takes over from a dead holder looks for marks.
    is_announced_by_lease: bool,
    /// Writes were stopped in the middle: they may still arrive.
    is_interrupted: bool,
    /// Why marks could not be set.
    failures: Vec<DynamoDbError>,
}

impl OwnMarks {
    /// The marks of a run that marks only what becomes stale by its changes of stored records.
    pub(crate) fn of(run_id: &str) -> Self {
        Self { run_id: run_id.to_owned(), due_at: None, kept: Arc::default() }
    }

    /// The marks of a scheduled run. By its new records, coarser periods that were due before it also
    /// become stale.
    pub(crate) fn of_scheduled(run_id: &str, scheduled: DateTime<Utc>) -> Self {
        Self { due_at: Some(scheduled), ..Self::of(run_id) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic cannot leave it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the run announces its marks when it releases the lease that it holds.
    pub(crate) fn announced_by_lease(&self, is_announced: bool) {
        self.kept().is_announced_by_lease = is_announced;
    }

    /// What is announced of this run in the state of the hours when the lease is released; `None` if it
    /// has left no marks.
    pub(crate) fn announcement(&self, now: DateTime<Utc>) -> Option<String> {
        let mut kept = self.kept();
        if kept.marks.is_empty() {
            return None;
        }
        kept.announcement = Some(announcement(now, &self.run_id));
        kept.announcement.clone()
    }

    /// What was announced of this run in the state of the hours, once all its marks are removed.
    pub(crate) fn settled_announcement(&self) -> Option<String> {
        let mut kept = self.kept();
        if kept.marks.is_empty() { kept.announcement.take() } else { None }
    }

    /// Notes that writes were stopped in the middle, so that no mark of this run can be removed.
    pub(crate) fn interrupt(&self) {
        self.kept().is_interrupted = true;
    }

    /// Whether writes of the run were stopped in the middle.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.kept().is_interrupted
    }

    /// Notes whether the run is about to compute `period`.
    pub(crate) fn computing(&self, period: Period, is_computed: bool) {
        let mut kept = self.kept();
        if is_computed {
            kept.computing.insert(period);
        } else {
            kept.computing.remove(&period);
        }
    }

    /// The coarser periods that become stale by a new record of `period`: those that were due before
    /// this run and that it does not compute anyway.
    pub(crate) fn due_above(&self, period: Period) -> Vec<Period> {
        let Some(due_at) = self.due_at else { return Vec::new() };
        let kept = self.kept();
        coarser_than(period.granularity())
            .map(|coarser| Period::containing(coarser, period.start()))
            .filter(|above| event_of(*above) <= due_at && !kept.computing.contains(above))
            .collect()
    }

    /// Why marks could not be set, since the last call.
    pub(crate) fn failures(&self) -> Vec<DynamoDbError> {
        std::mem::take(&mut self.kept().failures)
    }

    /// Marks the periods, except for those that this run has marked already.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked.
    pub(crate) async fn set(
        &self,
        client: &Client,
        table: &str,
        periods: BTreeSet<Period>,
        now: DateTime<Utc>,
    ) -> Result<(), DynamoDbError> {
        let set = self.try_to_set(client, table, periods, now).await;
        if let Err(error) = &set {
            self.kept().failures.push(error.clone());
        }
        set
    }

    async fn try_to_set(
        &self,
        client: &Client,
        table: &str,
        periods: BTreeSet<Period>,
        now: DateTime<Utc>,
    ) -> Result<(), DynamoDbError> {
        let mut new: BTreeMap<Granularity, BTreeSet<Period>> = BTreeMap::new();
        let is_to_be_announced = {
            let kept = self.kept();
            for period in periods {
                if !kept.marks.contains_key(&period) {
                    new.entry(period.granularity()).or_default().insert(period);
                }
            }
            !new.is_empty() && !kept.is_announced_by_lease && kept.announcement.is_none()
        };
        if is_to_be_announced {
            let announcement = announcement(now, &self.run_id);
            announce(client, table, &announcement).await?;
            self.kept().announcement = Some(announcement);
        }
        for (granularity, periods) in new {
            let marks: BTreeMap<Period, String> = periods
                .into_iter()
                .map(|period| (period, entry(period, now, Some(&self.run_id))))
                .ordered_map();
            mark_stale(client, table, granularity, marks.values().cloned().collect()).await?;
            self.kept().marks.extend(marks);
        }
        Ok(())
    }

    /// The periods of `granularity` that this run has marked, each with its mark.
    pub(crate) fn of_granularity(&self, granularity: Granularity) -> BTreeMap<Period, String> {
        let kept = self.kept();
        let marks = kept.marks.iter().filter(|(period, _)| period.granularity() == granularity);
        marks.map(|(period, mark)| (*period, mark.clone())).ordered_map()
    }

    /// Whether the run has left no mark.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept().marks.is_empty()
    }

    /// Notes that this run's marks of `granularity` among `removed` are removed. A day and its week
    /// can have the same mark.
    pub(crate) fn forget(&self, granularity: Granularity, removed: &[String]) {
        self.kept()
            .marks
            .retain(|period, mark| period.granularity() != granularity || !removed.contains(mark));
    }
}

fn announcement(now: DateTime<Utc>, run_id: &str) -> String {
    format!("{}#{run_id}", format_instant(now))
}

/// The scheduled time of the run of a period; see the crons in `wrangler.toml`.
fn event_of(period: Period) -> DateTime<Utc> {
    let minutes = match period.granularity() {
        Granularity::Hourly => 0,
        Granularity::Daily => 5,
        Granularity::Weekly => 10,
        Granularity::Monthly => 15,
    };
    period.next().start() + TimeDelta::minutes(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_mark_is_read_with_and_without_its_owner() {
        let (start, at) = (instant("2026-05-31T00:00:00Z"), instant("2026-06-01T01:00:07Z"));
        for (text, owner) in [
            ("2026-05-31T00:00:00.000Z#2026-06-01T01:00:07.000Z", None),
            ("2026-05-31T00:00:00.000Z#2026-06-01T01:00:07.000Z#0a1b", Some("0a1b")),
        ] {
            assert_eq!(Mark::parse(text), Some(Mark { start, at, owner }));
            let period = Period::containing(Granularity::Daily, start);
            assert_eq!(entry(period, at, owner), text);
        }
        for damaged in ["", "2026-05-31T00:00:00.000Z", "2026-05-31#2026-06-01", "#"] {
            assert_eq!(Mark::parse(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_new_record_makes_stale_what_was_due_and_is_not_computed_anyway() {
        let hour = Period::containing(Granularity::Hourly, instant("2026-05-31T23:00:00Z"));
        let day = Period::containing(Granularity::Daily, hour.start());
        for (scheduled, due) in [
            ("2026-06-01T00:00:00Z", vec![]),
            ("2026-06-01T00:05:00Z", vec![Granularity::Daily]),
            ("2026-06-01T00:10:00Z", vec![Granularity::Daily, Granularity::Weekly]),
            (
                "2026-06-01T01:00:00Z",
                vec![Granularity::Daily, Granularity::Weekly, Granularity::Monthly],
            ),
        ] {
            let marks = OwnMarks::of_scheduled("run", instant(scheduled));
            let found: Vec<Granularity> =
                marks.due_above(hour).into_iter().map(Period::granularity).collect();
            assert_eq!(found, due, "{scheduled}");
            marks.computing(day, true);
            assert!(!marks.due_above(hour).contains(&day), "{scheduled}");
        }
        assert_eq!(OwnMarks::of("job").due_above(hour), []);
    }
}
