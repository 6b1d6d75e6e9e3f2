//! The scheduled run of an hour: under the lease it counts its own hour and recomputes the trailing
//! ones, then backfills hours that were missed since the watermark. After it has released the lease,
//! it refreshes the days, weeks and months above.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    metrics::{
        fold::Unreadable,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        provenance::Occasion,
    },
    store::{
        lease::{Ended, HOUR_BY_CRON, Lease, LeaseLost},
        ledger::Status,
        record_writer::Writer,
        run_state::Progress,
    },
};

use super::{
    backfill::HourBackfill,
    completeness::{Lacking, periods_between},
    context::Context,
    counting::{CountedPeriods, count},
    problem::RunProblem,
    refreshing::refresh_above_hours,
    report::{PeriodReport, RunSummary},
};

/// What the run does under the lease, and what came of it so far: it is stopped where it is when the
/// lease is lost.
struct ScheduledHour<'run> {
    context: &'run Context<'run>,
    own: Period,
    /// The start of the first counted hour.
    begin: DateTime<Utc>,
    progress: Progress,
    /// The types that hours up to the own one lack or may lack.
    lacking: Lacking<'run>,
    report: PeriodReport,
    trailing: Vec<PeriodReport>,
    malformed: BTreeMap<String, u64>,
    unreadable: BTreeMap<String, Unreadable>,
    backfill: Option<HourBackfill<'run>>,
    problems: Vec<RunProblem>,
}

/// Does the work of the hour's event.
pub(super) async fn run_hour(context: &Context<'_>, own: Period) -> RunSummary {
    let task = format!("{HOUR_BY_CRON}{}", format_instant(own.start()));
    let host = context.host.clone();
    let lease =
        Lease::wait_for(context.client, host, context.table, &task, &context.run_id, true).await;
    let lease = match lease {
        Ok(Some(lease)) => lease,
        Ok(None) => return RunSummary::new(PeriodReport::new(own), Status::Held),
        Err(error) => return RunSummary::failed(context.catalogue, own, &error),
    };
    let mut hour = ScheduledHour::new(context, own, lease.state.progress.clone());
    if let Some(dead) = &lease.dead {
        hour.problems.extend(context.enter_dead(dead).await.err());
    }
    // The run that takes over from one that died with the lease looks for its marks.
    context.marks.announced_by_lease(true);
    let ended = lease.hold(Box::pin(hour.count_and_backfill(&lease))).await;
    let (mut summary, progress) = hour.finish(lease.attempt);
    match ended {
        Ended::Done(()) => release_and_refresh(context, *lease, progress, &mut summary).await,
        // Whatever was not written by now is written by the other run.
        Ended::Lost(lost) => summary.fail(context.catalogue, &lost),
        Ended::Wanted => summary.fail(context.catalogue, &LeaseLost::Wanted),
    }
    summary
}

/// Releases the lease together with the run state, then refreshes what became stale.
async fn release_and_refresh(
    context: &Context<'_>,
    lease: Lease<'_>,
    mut progress: Progress,
    summary: &mut RunSummary,
) {
    summary.note_in(&mut progress, context.begun);
    let (is_after_dead, marked_by) = (lease.is_after_dead, lease.state.marked_by.clone());
    let announcement = context.marks.announcement(context.now());
    let released = lease.release(&progress, announcement).await;
    summary.problems.extend(released.err().map(RunProblem::from));
    context.marks.announced_by_lease(false);
    // Rolling up needs no lease.
    let Some(begin) = progress.begin() else { return };
    let left_by_others = (is_after_dead || !marked_by.is_empty()).then_some(marked_by);
    let counted =
        [std::slice::from_ref(&summary.own), &summary.trailing[..], &summary.backfilled[..]];
    let makers = context.makers(begin);
    let (refreshed, left) = refresh_above_hours(context, makers, left_by_others, &counted).await;
    summary.backfilled.extend(refreshed.reports);
    summary.problems.extend(refreshed.problems);
    summary.stale = left;
}

impl<'run> ScheduledHour<'run> {
    fn new(context: &'run Context<'run>, own: Period, mut progress: Progress) -> Self {
        let begin = match progress.begin() {
            // The hour before the first one, by an event that came late.
            Some(begin) if own.next().start() != begin => begin,
            _ => own.start(),
        };
        progress.begin = Some(format_instant(begin));
        // From the watermarks on; what is past retention by now need not be computed.
        let first = Period::containing(Granularity::Hourly, begin);
        let mut lacking = progress.unknown(&context.types, first, own);
        lacking.retain(|hour, _| !context.options.retention.has_ended(*hour, context.scheduled));
        if own.start() >= begin {
            lacking.insert(own, context.types.clone());
        }
        Self {
            context,
            own,
            begin,
            progress,
            lacking,
            report: PeriodReport::new(own),
            trailing: Vec::new(),
            malformed: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            backfill: None,
            problems: Vec::new(),
        }
    }

    async fn count_and_backfill(&mut self, lease: &Lease<'_>) {
        let context = self.context;
        let writer = context.writer_under(lease);
        let hours = self.hours();
        // Under the lease, not when the run began to wait for it: the holder before is older.
        match count(context, &writer, &hours, &context.types, context.now()).await {
            Err(error) => {
                self.note_recalculated(false);
                self.report.fail(context.catalogue.recorded_types(), &error);
            }
            Ok(counted) => {
                self.note_counted(counted);
                if self.report.status() != Status::Failed {
                    self.backfill(&writer, &hours).await;
                }
            }
        }
    }

    /// The hours that are counted together, each with what its calculation may replace: the own one,
    /// then the trailing ones.
    fn hours(&self) -> Vec<(Period, Occasion)> {
        // The scheduled run of an hour observes it, unless the table has moved on.
        let is_in_time = self.context.options.is_in_time(self.own, self.context.now());
        let occasion = if self.progress.is_in_order(self.own) && is_in_time {
            Occasion::Scheduled
        } else {
            Occasion::Recalculation
        };
        let trailing = self.trailing_hours().into_iter();
        let trailing = trailing.map(|hour| (hour, Occasion::Recalculation));
        [(self.own, occasion)].into_iter().chain(trailing).collect()
    }

    /// The hours that the run recomputes, latest first: those before its own, and those that earlier
    /// runs did not recompute because they were missed or failed.
    fn trailing_hours(&self) -> Vec<Period> {
        let options = &self.context.options;
        let count = options.trailing_hours;
        let mut trailing: Vec<Period> =
            std::iter::successors(Some(self.own.previous()), |hour| Some(hour.previous()))
                .take(count)
                .collect();
        if let Some(due) = self.progress.recalculation_due()
            && !self.has_failing_type()
        {
            let earliest = trailing.last().copied().unwrap_or(self.own);
            let mut owed: Vec<Period> = periods_between(due, earliest).take(count).collect();
            owed.reverse();
            trailing.extend(owed);
        }
        trailing.retain(|hour| {
            let is_kept = !options.retention.has_ended(*hour, self.own.next().start());
            hour.start() >= self.begin && is_kept
        });
        trailing
    }

    /// Whether a type failed in the last run. What earlier runs left is then recomputed by the run
    /// after the one in which it works again: recomputing more hours with every run would cost more
    /// the longer it fails.
    fn has_failing_type(&self) -> bool {
        let failing = &self.progress.failing_types;
        self.context.types.iter().any(|name| failing.contains_key(*name))
    }

    /// Notes from which hour on the next run recomputes, after this one did so or, for some type,
    /// could not.
    fn note_recalculated(&mut self, succeeded: bool) {
        let before = |hour: Period| {
            let mut hours = std::iter::successors(Some(hour), |hour| Some(hour.previous()));
            hours.nth(self.context.options.trailing_hours).unwrap_or(hour)
        };
        let due = self.progress.recalculation_due();
        let due = if succeeded {
            let next = before(self.own.next());
            due.map_or(next, |due| due.max(next))
        } else {
            let same = before(self.own);
            due.map_or(same, |due| due.min(same))
        };
        self.progress.recalculate_from = Some(format_instant(due.start()));
    }

    /// Notes what counting the own hour and the trailing ones came to.
    fn note_counted(&mut self, mut counted: CountedPeriods) {
        for hour in &counted.periods {
            self.note_lacking(hour, &counted.holes);
        }
        let emptied = self.progress.note_sources(&counted.sources);
        self.problems.extend(emptied.into_iter().map(RunProblem::EmptiedSource));
        self.malformed = counted.malformed_items();
        self.progress.malformed = counted.malformed;
        self.unreadable = counted.unreadable;
        self.report = counted.periods.remove(0);
        self.trailing = counted.periods;
        let failed = self.trailing.iter().any(|hour| !hour.types_failed.is_empty());
        self.note_recalculated(!failed && !self.has_failing_type());
    }

    /// Notes what an hour lacks after it was counted for all types. Of an hour without holes each type
    /// has a record, also one that could not be recomputed.
    fn note_lacking(&mut self, counted: &PeriodReport, holes: &BTreeSet<Period>) {
        let types = self.context.types.iter().copied();
        let failed = types.filter(|name| counted.types_failed.contains_key(*name));
        let failed: BTreeSet<&str> = failed.ordered_set();
        if holes.contains(&counted.period) && !failed.is_empty() {
            self.lacking.insert(counted.period, failed);
        } else {
            self.lacking.remove(&counted.period);
        }
    }

    /// Backfills the hours before those that were `counted`.
    async fn backfill(&mut self, writer: &Writer<'_>, counted: &[(Period, Occasion)]) {
        let mut older = self.lacking.clone();
        older.retain(|hour, _| !counted.iter().any(|(counted, _)| counted == hour));
        if older.is_empty() {
            return;
        }
        self.lacking.retain(|hour, _| !older.contains_key(hour));
        // What fails for the own hour fails for older ones.
        let failing = self.report.types_failed.keys().cloned().ordered_set();
        let passes = self.context.client.meter().total().pages;
        let backfill = self.backfill.insert(HourBackfill::new(self.context, older, failing));
        backfill.run(writer, &|_| Occasion::Recalculation, passes).await;
    }

    /// What the run came to, and the run state that it leaves.
    fn finish(mut self, attempt: u32) -> (RunSummary, Progress) {
        let mut backfilled = Vec::new();
        if let Some(backfill) = self.backfill {
            self.lacking.extend(backfill.lacking);
            self.problems.extend(backfill.problems);
            backfilled = backfill.reports;
        }
        let first = Period::containing(Granularity::Hourly, self.begin);
        let (types, lacking) = (&self.context.types, &self.lacking);
        self.progress.note_complete(types, first, self.own, lacking);
        self.progress.note_holes(lacking.keys().copied(), lacking.len());
        let status = match self.report.status() {
            Status::Complete if !self.unreadable.is_empty() => Status::Partial,
            status => status,
        };
        let summary = RunSummary {
            attempt,
            trailing: self.trailing,
            backfilled,
            left: lacking.len(),
            malformed: self.malformed,
            unreadable: self.unreadable,
            problems: self.problems,
            ..RunSummary::new(self.report, status)
        };
        (summary, self.progress)
    }
}
