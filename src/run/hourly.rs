//! The run of an hour: under the lease it counts its own hour and again the trailing ones, then
//! fills hours that were missed since the watermark.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

use crate::period::{Granularity, Period, format_instant};

use super::{
    Engine, Progress, Report, Run, Status,
    lease::{HOUR_BY_CRON, LEASE, Lease, LeaseLost},
    periods_between,
    writing::{Occasion, Writer},
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
                self.give_back(*lease, &progress, report).await;
            }
        }
    }

    /// Gives the lease back with what the run leaves.
    pub(super) async fn give_back(
        &self,
        lease: Lease<'_>,
        progress: &Progress,
        report: &mut Report,
    ) {
        let released = match progress.to_attribute() {
            Ok(progress) => lease.release(progress).await.map_err(|lost| match lost {
                LeaseLost::TakenOver | LeaseLost::RanOut | LeaseLost::Wanted => lost.to_string(),
                LeaseLost::Unreachable(error) => format!(
                    "the lease could not be given back and runs out in {} s: {error}",
                    LEASE.as_secs()
                ),
            }),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = released {
            report.problems.push(why);
        }
    }

    /// A writer under `lease`.
    pub(super) fn writer_under<'run>(
        &'run self,
        run: &Run<'run>,
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
        if let Some(due) = progress.recalculation_due() {
            let earliest = trailing.last().copied().unwrap_or(own);
            let mut owed: Vec<Period> = periods_between(due, earliest).take(count).collect();
            owed.reverse();
            trailing.extend(owed);
        }
        trailing.retain(|hour| hour.start() >= begin);
        trailing
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
        let mut complete = BTreeSet::new();
        let mut holes = BTreeSet::new();
        let mut passes = 0;
        // Under the lease, not when the run began to wait for it: whoever had it before is older.
        match self.count(&writer, &hours, &self.types(), self.host.now()).await {
            Err(why) => {
                self.note_recalculated(own, false, &mut progress);
                self.fail_all(report, &why);
            }
            Ok(mut counted) => {
                passes = run.client.meter().total().pages;
                let counts = counted.malformed.iter();
                report.malformed =
                    counts.map(|(name, rows)| (name.clone(), rows.malformed)).collect();
                report.problems.extend(counted.unreadable.values().cloned());
                report.problems.extend(progress.note_sources(&counted.sources));
                progress.malformed = counted.malformed;
                report.unreadable = counted.unreadable;
                report.period = counted.periods.remove(0);
                report.recalculated = counted.periods;
                let failed = report.recalculated.iter().any(|hour| !hour.types_failed.is_empty());
                self.note_recalculated(own, !failed, &mut progress);
                report.status = match report.period.status() {
                    Status::Complete if !report.unreadable.is_empty() => Status::Partial,
                    status => status,
                };
                complete.extend(
                    hours
                        .iter()
                        .map(|(hour, _)| *hour)
                        .filter(|hour| !counted.holes.contains(hour)),
                );
                holes = counted.holes;
            }
        }

        // From the watermark on; what is past retention by now need not be made.
        let watermark = progress.watermark(Granularity::Hourly);
        let retention = self.options.retention;
        let unknown_from =
            watermark.map_or_else(|| Period::containing(Granularity::Hourly, begin), Period::next);
        let unknown: Vec<Period> = periods_between(unknown_from, own)
            .filter(|hour| !retention.has_ended(*hour, run.scheduled))
            .collect();
        let older: Vec<Period> = unknown
            .iter()
            .copied()
            .filter(|hour| !hours.iter().any(|(counted, _)| counted == hour))
            .collect();
        if report.status != Status::Failed && !older.is_empty() {
            let late = |_| Occasion::Recalculation;
            match self.fill(run, &writer, &older, late, passes, report).await {
                Ok(filled) => complete.extend(filled),
                Err(why) => report.problems.push(why),
            }
        }
        let left: BTreeSet<Period> = unknown
            .into_iter()
            .chain((own.start() >= begin).then_some(own))
            .filter(|hour| !complete.contains(hour))
            .chain(holes)
            .collect();
        // Up to before the first that is not known to be complete.
        let reached = match left.first() {
            Some(hole) => hole.previous(),
            None => own,
        };
        if watermark.is_none_or(|watermark| watermark < reached) && reached.start() >= begin {
            progress.watermark = Some(format_instant(reached.start()));
        }
        report.left = left.len();
        progress.note_holes(left.iter().copied(), left.len());
        progress
    }
}
