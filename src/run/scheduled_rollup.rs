//! The scheduled run of a day, week or month.
//!
//! It refreshes what earlier runs left stale, computes the periods since its watermark that are not
//! complete, oldest first, then its own, and refreshes what is computed from those. How one period is
//! computed is in `coarser`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    metrics::{
        maker::Makers,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        rollup::coarser_than,
    },
    store::{
        ledger::Status,
        run_state::{Progress, Settled, State, write_progress},
        stored_state::StateError,
    },
};

use super::{
    coarser::{CoarserPeriods, ComputedPeriod},
    completeness::{Lacking, keep, note_computed},
    context::Context,
    problem::RunProblem,
    refreshing::{COARSER, Refreshed, RefreshedPeriods, StalePeriods, read_states},
    report::{PeriodReport, RunSummary},
    retention::apply_retention,
};

/// One scheduled rollup, and what came of it so far.
struct ScheduledRollup<'run> {
    context: &'run Context<'run>,
    own: Period,
    makers: Makers,
    progress: Progress,
    stale: StalePeriods<'run>,
    coarser: CoarserPeriods<'run>,
    /// The types that periods lack or may lack.
    lacking: Lacking<'run>,
    /// Stale periods of the granularity that are recomputed with the others.
    to_refresh: BTreeSet<Period>,
    /// Periods that include all that is stored.
    refreshed: RefreshedPeriods,
    /// Periods that were refreshed or backfilled, and what went wrong.
    done: Refreshed,
}

/// Does the work of the event of a day, week or month.
pub(super) async fn run_rollup(context: &Context<'_>, own: Period) -> RunSummary {
    let granularity = own.granularity();
    let (hours, states) = match read_run_states(context, granularity).await {
        Ok(states) => states,
        Err(problem) => return RunSummary::failed(context.catalogue, own, &problem),
    };
    // Before the first counted hour there is nothing to compute.
    let begin = hours.progress.begin();
    let makers = context.makers(begin.unwrap_or(context.scheduled));
    let (stale, problems) = StalePeriods::new(context, makers, states);
    let progress = stale.state(granularity).progress;
    let attempt = if progress.latest == Some(format_instant(own.start())) {
        progress.attempt.saturating_add(1)
    } else {
        1
    };
    if begin.is_none_or(|begin| begin > own.end()) {
        let nothing = RunSummary::new(PeriodReport::new(own), Status::Complete);
        return RunSummary { attempt, problems, ..nothing };
    }
    let rollup = ScheduledRollup {
        context,
        own,
        makers,
        progress,
        stale,
        coarser: CoarserPeriods::new(context, makers),
        lacking: Lacking::new(),
        to_refresh: BTreeSet::new(),
        refreshed: RefreshedPeriods::new(),
        done: Refreshed { reports: Vec::new(), problems },
    };
    rollup.run(attempt, hours.marked_by).await
}

/// The state of the hours, and those of the other granularities. That of `granularity` must be
/// understood.
async fn read_run_states(
    context: &Context<'_>,
    granularity: Granularity,
) -> Result<(State, Vec<(Granularity, Result<State, StateError>)>), RunProblem> {
    let mut read = read_states(context, &Granularity::ALL).await?;
    for (of, state) in &read {
        if let Err(error) = state
            && [Granularity::Hourly, granularity].contains(of)
        {
            return Err(error.clone().into());
        }
    }
    let hours = read.remove(0).1?;
    Ok((hours, read))
}

impl<'run> ScheduledRollup<'run> {
    async fn run(mut self, attempt: u32, marked_by: BTreeSet<String>) -> RunSummary {
        let granularity = self.own.granularity();
        // What earlier runs left costs little, and its time is up.
        self.stale.refresh(&COARSER, &mut self.done).await;
        let report = self.compute_all().await;
        let status = report.status();
        let mut summary = RunSummary { attempt, ..RunSummary::new(report, status) };
        summary.note_in(&mut self.progress, self.context.begun);
        self.leave_state(granularity).await;
        // What this run has changed.
        let above: Vec<Granularity> = coarser_than(granularity).collect();
        self.stale.refresh(&above, &mut self.done).await;
        let withdrawn = self.stale.withdraw_announcements(marked_by).await;
        self.done.problems.extend(withdrawn.err());
        // Last, because it may take more than what is left of the run.
        if granularity == Granularity::Daily {
            self.apply_retention().await;
        }
        summary.left = self.lacking.len();
        summary.stale = self.stale.into_left();
        summary.backfilled = self.done.reports;
        summary.problems = self.done.problems;
        summary
    }

    /// Computes what the granularity lacks and what is stale of it, oldest first, then the own period,
    /// whose report is returned. Types that failed in an earlier run are tried for the own period
    /// first: if they still fail, older periods are left to a later run.
    async fn compute_all(&mut self) -> PeriodReport {
        let (context, own) = (self.context, self.own);
        let types = &context.types;
        let first = Period::containing(own.granularity(), self.makers.begin);
        let has_failed = |name: &&str| self.stale.has_failed(name);
        let (suspect, sound): (BTreeSet<&str>, BTreeSet<&str>) =
            types.iter().copied().partition(has_failed);
        self.to_refresh = self.stale.due(own.granularity());
        self.lacking = self.progress.unknown(types, first, own);
        self.leave_out_what_is_past_retention();

        let earlier = self.earlier(&sound, types);
        self.compute_earlier(earlier).await;
        // What failed for earlier periods is tried for this one, whose time is now.
        self.coarser.failing.clear();
        let at = context.now();
        let is_stale = self.to_refresh.contains(&own);
        let computed = self.coarser.compute(types.clone(), own, is_stale).await;
        self.lacking.insert(own, types.clone());
        let report = self.note(types, computed, at);
        self.stale.note_unwritten(std::slice::from_ref(&report));
        let works: BTreeSet<&str> =
            suspect.into_iter().filter(|name| !report.lacks(name)).ordered_set();
        self.to_refresh.clear();
        let earlier = self.earlier(&works, &works);
        self.compute_earlier(earlier).await;

        self.progress.note_complete(types, first, own, &self.lacking);
        self.progress.note_holes(self.lacking.keys().copied(), self.lacking.len());
        report
    }

    fn leave_out_what_is_past_retention(&mut self) {
        let Makers { as_of, retention, .. } = self.makers;
        let has_ended = |period: &Period| retention.has_ended(*period, as_of);
        self.lacking.retain(|period, _| !has_ended(period));
        let now = self.context.now();
        let ended = self.to_refresh.iter().copied().filter(has_ended);
        self.refreshed.extend(ended.map(|period| (period, now)));
        self.to_refresh.retain(|period| !has_ended(period));
    }

    /// What is to be computed before the own period: of `types` where they may be lacking, of `all`
    /// where it is stale.
    fn earlier(&self, types: &BTreeSet<&'run str>, all: &BTreeSet<&'run str>) -> Lacking<'run> {
        let mut earlier = self.lacking.clone();
        keep(&mut earlier, |_, name| types.contains(name));
        earlier.extend(self.to_refresh.iter().map(|period| (*period, all.clone())));
        earlier.retain(|period, _| *period < self.own);
        earlier
    }

    /// Computes the given types of earlier periods, as far as the budget allows.
    async fn compute_earlier(&mut self, periods: Lacking<'run>) {
        let context = self.context;
        for (period, types) in periods {
            if !context.has_budget() {
                return;
            }
            let start = context.start_batch();
            let is_stale = self.to_refresh.contains(&period);
            let computed = self.coarser.compute(types.clone(), period, is_stale).await;
            let report = self.note(&types, computed, start.at);
            let reports = std::slice::from_ref(&report);
            let entered = context.enter_backfilled(&start, reports).await;
            self.done.problems.extend(entered.err());
            self.stale.note_unwritten(reports);
            self.done.reports.push(report);
        }
    }

    /// Notes what came of computing `types` of a period, whose reading began `at` that time.
    fn note(
        &mut self,
        types: &BTreeSet<&str>,
        computed: ComputedPeriod,
        at: DateTime<Utc>,
    ) -> PeriodReport {
        let ComputedPeriod { report, is_refreshed, finer, problems } = computed;
        self.stale.note_unwritten(&finer);
        self.done.reports.extend(finer);
        self.done.problems.extend(problems);
        note_computed(&mut self.lacking, types, &report);
        if is_refreshed && !self.stale.is_left_within(report.period) {
            self.refreshed.push((report.period, at));
            self.stale.note_refreshed(report.period);
        }
        report
    }

    /// Writes the run state, without the marks of what was refreshed.
    async fn leave_state(&mut self, granularity: Granularity) {
        let (mut settled, noted) = self.stale.settle(granularity, &self.refreshed);
        settled.refreshes.extend(self.stale.state(granularity).orphaned_refreshes());
        settled.refreshes = settled.refreshes.into_iter().ordered_vec();
        settled.refreshes.dedup();
        // Those whose mark stays, because another run may still be writing.
        self.done.problems.extend(self.stale.write_refreshed(&noted).await.err());
        let removed = settled.marks.clone();
        if self.write_progress(settled).await {
            self.stale.forget(granularity, &removed);
        }
    }

    async fn apply_retention(&mut self) {
        let applied = apply_retention(self.context, self.progress.retention.as_deref()).await;
        self.done.problems.extend(applied.problems);
        if applied.applied.is_some() {
            self.progress.retention = applied.applied;
            self.write_progress(Settled::default()).await;
        }
    }

    /// Writes what the run leaves and removes what is settled; whether that succeeded.
    async fn write_progress(&mut self, settled: Settled) -> bool {
        let Context { client, table, .. } = self.context;
        let granularity = self.own.granularity();
        let written = write_progress(client, table, granularity, &self.progress, settled).await;
        let is_written = written.is_ok();
        self.done.problems.extend(written.err().map(RunProblem::from));
        is_written
    }
}
