//! The run of an hour: under the lease it counts its own hour and again the trailing ones, then
//! fills hours that were missed since the watermark.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

use crate::{
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        provenance::Occasion,
    },
    store::{
        lease::{HOUR_BY_CRON, LEASE, Lease, LeaseLost},
        ledger::Status,
        record_writer::Writer,
        run_state::Progress,
    },
};

use super::{
    Engine, PeriodReport, Report, Run, completeness::Lacking, counting::Counted, periods_between,
};

impl Engine {
    pub(super) async fn run_hour(&self, run: &Run<'_>, period: Period, report: &mut Report) {
        let task = format!("{HOUR_BY_CRON}{}", format_instant(period.start()));
        let host = self.host.clone();
        let lease = Lease::wait_for(run.client, host, &self.table, &task, &run.id, true).await;
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                report.status = Status::Held;
                return;
            }
            Err(error) => return self.fail_all(report, &error.to_string()),
        };
        report.attempt = lease.attempt;
        if let Some(dead) = &lease.dead {
            self.enter_dead(run, dead, report).await;
        }
        // Who takes over from a run that dies with the lease looks for its marks.
        run.marks.announced_by_lease(true);
        let done = {
            let work = Box::pin(self.count_and_fill(run, &lease, period, report));
            match select(work, Box::pin(lease.keep())).await {
                Either::Left((progress, _)) => Ok(progress),
                Either::Right((Err(lost), _)) => Err(lost),
                Either::Right((Ok(never), _)) => match never {},
            }
        };
        match done {
            // Whatever was not written by now is the other run's.
            Err(lost) => self.fail_all(report, &lost.to_string()),
            Ok(mut progress) => {
                Self::note_run(&mut progress, run, report);
                let (is_after_dead, marked_by) =
                    (lease.is_after_dead, lease.state.marked_by.clone());
                let begin = progress.begin();
                let announcement = run.marks.announcement(self.host.now());
                self.release(*lease, &progress, announcement, report).await;
                run.marks.announced_by_lease(false);
                // Rolling up needs no lease.
                let left_by_others = (is_after_dead || !marked_by.is_empty()).then_some(marked_by);
                if let Some(begin) = begin {
                    self.refresh_above_hours(run, left_by_others, begin, report).await;
                }
            }
        }
    }

    /// Gives the lease back with what the run leaves, which has left no marks that nobody knows of.
    pub(super) async fn give_back(
        &self,
        lease: Lease<'_>,
        progress: &Progress,
        report: &mut Report,
    ) {
        self.release(lease, progress, None, report).await;
    }

    async fn release(
        &self,
        lease: Lease<'_>,
        progress: &Progress,
        announcement: Option<String>,
        report: &mut Report,
    ) {
        let released = match progress.to_attribute() {
            Ok(progress) => {
                lease.release(progress, announcement).await.map_err(|lost| match lost {
                    LeaseLost::TakenOver | LeaseLost::RanOut | LeaseLost::Wanted => {
                        lost.to_string()
                    }
                    LeaseLost::Unreachable(error) => format!(
                        "the lease could not be given back and runs out in {} s: {error}",
                        LEASE.as_secs()
                    ),
                })
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = released {
            report.problems.push(why);
        }
    }

    /// A writer under `lease`.
    pub(super) fn writer_under<'run>(
        &'run self,
        run: &'run Run<'run>,
        lease: &Lease<'_>,
    ) -> Writer<'run> {
        Writer { fence: Some(lease.fence()), rewrites: lease.is_after_dead, ..self.writer(run) }
    }

    /// The hours that the run of `own` calculates again, latest first: those before it, and those
    /// that earlier runs ought to have calculated again when they were missed or failed.
    fn trailing(&self, own: Period, progress: &Progress, begin: DateTime<Utc>) -> Vec<Period> {
        let count = self.options.trailing_hours;
        let mut trailing: Vec<Period> =
            std::iter::successors(Some(own.previous()), |hour| Some(hour.previous()))
                .take(count)
                .collect();
        if let Some(due) = progress.recalculation_due()
            && !self.has_failing_type(progress)
        {
            let earliest = trailing.last().copied().unwrap_or(own);
            let mut owed: Vec<Period> = periods_between(due, earliest).take(count).collect();
            owed.reverse();
            trailing.extend(owed);
        }
        let retention = self.options.retention;
        trailing.retain(|hour| {
            hour.start() >= begin && !retention.has_ended(*hour, own.next().start())
        });
        trailing
    }

    /// Whether a type failed in the last run. What earlier runs owe is then left to the run after the
    /// one in which it works again: counting far hours again with every run would cost more the longer
    /// it fails.
    fn has_failing_type(&self, progress: &Progress) -> bool {
        self.types().iter().any(|name| progress.failing_types.contains_key(*name))
    }

    /// Notes from where on hours are to be calculated again by the next run, after that of `own` did
    /// so or, for some type, could not.
    fn note_recalculated(&self, own: Period, succeeded: bool, progress: &mut Progress) {
        let before = |hour: Period| {
            let mut hours = std::iter::successors(Some(hour), |hour| Some(hour.previous()));
            hours.nth(self.options.trailing_hours).unwrap_or(hour)
        };
        let due = progress.recalculation_due();
        let due = if succeeded {
            due.map_or(before(own.next()), |due| due.max(before(own.next())))
        } else {
            due.map_or(before(own), |due| due.min(before(own)))
        };
        progress.recalculate_from = Some(format_instant(due.start()));
    }

    async fn count_and_fill(
        &self,
        run: &Run<'_>,
        lease: &Lease<'_>,
        own: Period,
        report: &mut Report,
    ) -> Progress {
        let mut progress = lease.state.progress.clone();
        let begin = match progress.begin() {
            // The hour before the first one, by an event that came late.
            Some(begin) if own.next().start() != begin => begin,
            _ => own.start(),
        };
        progress.begin = Some(format_instant(begin));
        let writer = self.writer_under(run, lease);

        // The hour's own event observes, unless the table has moved on.
        let is_in_time = self.options.is_in_time(own, self.host.now());
        let occasion = if progress.is_in_order(own) && is_in_time {
            Occasion::Scheduled
        } else {
            Occasion::Recalculation
        };
        let trailing = self.trailing(own, &progress, begin);
        let hours: Vec<(Period, Occasion)> = [(own, occasion)]
            .into_iter()
            .chain(trailing.iter().map(|hour| (*hour, Occasion::Recalculation)))
            .collect();
        let hour_of_begin = Period::containing(Granularity::Hourly, begin);
        // From the watermarks on; what is past retention by now need not be made.
        let mut lacking = progress.unknown(&run.types, hour_of_begin, own);
        lacking.retain(|hour, _| !self.options.retention.has_ended(*hour, run.scheduled));
        if own.start() >= begin {
            lacking.insert(own, run.types.clone());
        }
        // Under the lease, not when the run began to wait for it: whoever had it before is older.
        match self.count(&writer, &hours, &run.types, self.host.now()).await {
            Err(why) => {
                self.note_recalculated(own, false, &mut progress);
                self.fail_all(report, &why);
            }
            Ok(counted) => {
                let passes = run.client.meter().total().pages;
                for period in &counted.periods {
                    note_counted(&mut lacking, period, &counted.holes, &run.types);
                }
                self.note_counted(own, counted, &mut progress, report);
                let mut older = lacking.clone();
                older.retain(|hour, _| !hours.iter().any(|(counted, _)| counted == hour));
                if report.status != Status::Failed && !older.is_empty() {
                    lacking.retain(|hour, _| !older.contains_key(hour));
                    // What fails for the run's own hour fails for older ones.
                    report.failing.extend(report.period.types_failed.keys().cloned());
                    let late = |_| Occasion::Recalculation;
                    let filled = self.fill(run, &writer, &mut older, late, passes, report).await;
                    report.problems.extend(filled.err());
                    lacking.extend(older);
                }
            }
        }
        progress.note_complete(&run.types, hour_of_begin, own, &lacking);
        report.left = lacking.len();
        progress.note_holes(lacking.keys().copied(), lacking.len());
        progress
    }

    /// Notes what counting the run's own hour and the trailing ones came to.
    fn note_counted(
        &self,
        own: Period,
        mut counted: Counted,
        progress: &mut Progress,
        report: &mut Report,
    ) {
        let counts = counted.malformed.iter();
        report.malformed = counts.map(|(name, rows)| (name.clone(), rows.malformed)).ordered_map();
        report.problems.extend(counted.unreadable.values().map(ToString::to_string));
        report.problems.extend(progress.note_sources(&counted.sources));
        progress.malformed = counted.malformed;
        report.unreadable = counted.unreadable;
        report.period = counted.periods.remove(0);
        report.recalculated = counted.periods;
        let failed = report.recalculated.iter().any(|hour| !hour.types_failed.is_empty());
        let is_all_that_is_owed = !self.has_failing_type(progress);
        self.note_recalculated(own, !failed && is_all_that_is_owed, progress);
        report.status = match report.period.status() {
            Status::Complete if !report.unreadable.is_empty() => Status::Partial,
            status => status,
        };
    }
}

/// Notes what an hour lacks after it was counted for all `types`. Of an hour without holes each type
/// has a record, also one that could not be counted again.
fn note_counted<'name>(
    lacking: &mut Lacking<'name>,
    counted: &PeriodReport,
    holes: &BTreeSet<Period>,
    types: &BTreeSet<&'name str>,
) {
    let failed = types.iter().copied().filter(|name| counted.types_failed.contains_key(*name));
    let failed: BTreeSet<&str> = failed.ordered_set();
    if holes.contains(&counted.period) && !failed.is_empty() {
        lacking.insert(counted.period, failed);
    } else {
        lacking.remove(&counted.period);
    }
}
