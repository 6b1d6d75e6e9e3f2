//! The scheduled run of a day, week or month: what it makes, refreshes and leaves for the next one.
//!
//! It refreshes what earlier runs left stale, makes the periods since its watermark that are not
//! complete, oldest first, then its own, and refreshes what is made from those. How one period is made
//! is in `rolling`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        rollup::coarser_than,
    },
    store::{
        ledger::Status,
        run_state::{Progress, Settled, State, note_refreshed, write_progress},
    },
};

use super::{
    Engine, Report, Run,
    completeness::{Lacking, keep, note_made},
    refreshing::{COARSER, States, forget, settle, understood},
    rolling::Made,
};

/// What a run of one granularity has to make besides its own period.
struct Pending<'run> {
    lacking: Lacking<'run>,
    stale: BTreeSet<Period>,
    /// What was made from all there is, each with when its reading began.
    made: Vec<(Period, DateTime<Utc>)>,
}

impl<'run> Pending<'run> {
    /// Takes out what need not be made any more.
    fn end(&mut self, has_ended: impl Fn(Period) -> bool, now: DateTime<Utc>) {
        self.lacking.retain(|period, _| !has_ended(*period));
        self.made
            .extend(self.stale.iter().filter(|period| has_ended(**period)).map(|of| (*of, now)));
        self.stale.retain(|period| !has_ended(*period));
    }

    /// What is to be made before `own`: of `types` where they may be lacking, of `all` where it is
    /// stale.
    fn before(
        &self,
        own: Period,
        types: &BTreeSet<&'run str>,
        all: &BTreeSet<&'run str>,
    ) -> Lacking<'run> {
        let mut before = self.lacking.clone();
        keep(&mut before, |_, name| types.contains(name));
        before.extend(self.stale.iter().map(|period| (*period, all.clone())));
        before.retain(|period, _| *period < own);
        before
    }

    /// Notes what came of making `types` of a period from what was stored `at` that time.
    fn note(
        &mut self,
        types: &BTreeSet<&str>,
        result: &Made,
        at: DateTime<Utc>,
        report: &mut Report,
    ) {
        let period = result.report.period;
        note_made(&mut self.lacking, types, &result.report);
        if result.refreshed && !report.is_stale_within(period) {
            self.made.push((period, at));
            report.note_stale(period, false);
        }
    }
}

impl Engine {
    pub(super) async fn run_rollup(&self, run: &Run<'_>, own: Period, report: &mut Report) {
        let granularity = own.granularity();
        let (hours, mut states) = match self.read_states(run, granularity, report).await {
            Ok(states) => states,
            Err(why) => return self.fail_all(report, &why),
        };
        let mut progress =
            states.get(&granularity).map(|state| state.progress.clone()).unwrap_or_default();
        report.attempt = if progress.latest == Some(format_instant(own.start())) {
            progress.attempt.saturating_add(1)
        } else {
            1
        };
        // Before the first hour was counted there is nothing to make.
        let Some(begin) = hours.progress.begin().filter(|begin| *begin <= own.end()) else {
            report.status = Status::Complete;
            return;
        };
        // What earlier runs left costs little, and its time is up.
        self.refresh(run, &COARSER, &mut states, begin, report).await;
        let state = states.get(&granularity).cloned().unwrap_or_default();
        let made = self.make_all(run, own, (&states, &mut progress), begin, report).await;
        Self::note_run(&mut progress, run, report);
        let (mut settled, refreshed) = settle(run, &state, &made, report);
        settled.refreshes.extend(state.orphaned_refreshes());
        settled.refreshes.sort_unstable();
        settled.refreshes.dedup();
        // Whose mark stays, because a writer from before it may still be running.
        self.write_refreshed(run, &refreshed, report).await;
        let removed = settled.marks.clone();
        if self.write_progress(run, granularity, &progress, settled, report).await {
            forget(run, &mut states, granularity, &removed);
        }
        // What this run has changed.
        let coarser: Vec<Granularity> = coarser_than(granularity).collect();
        self.refresh(run, &coarser, &mut states, begin, report).await;
        self.withdraw_announcements(run, &states, hours.marked_by, report).await;
        // Last, because it may take more than what is left of the run.
        if granularity == Granularity::Daily
            && self.apply_retention(run, &mut progress, report).await
        {
            self.write_progress(run, granularity, &progress, Settled::default(), report).await;
        }
    }

    /// Makes what the granularity lacks and what is stale of it, oldest first, then the run's own
    /// period. Types that failed in an earlier run are tried for the own period first: where they still
    /// fail, older periods are left alone. Returns the periods that were made from all there is, each
    /// with when its reading began.
    async fn make_all(
        &self,
        run: &Run<'_>,
        own: Period,
        (states, progress): (&States, &mut Progress),
        begin: DateTime<Utc>,
        report: &mut Report,
    ) -> Vec<(Period, DateTime<Utc>)> {
        let granularity = own.granularity();
        let first = Period::containing(granularity, begin);
        let has_failed = |name: &&str| {
            let mut states = states.values().map(|state| &state.progress);
            states.any(|progress| progress.failing_types.contains_key(*name))
        };
        let (suspect, sound): (BTreeSet<&str>, BTreeSet<&str>) =
            run.types.iter().copied().partition(has_failed);
        let mut stale = states
            .get(&granularity)
            .map(|state| state.to_refresh(granularity, self.host.now()))
            .unwrap_or_default();
        stale.extend(run.marks.of_granularity(granularity).into_keys());
        let mut pending =
            Pending { lacking: progress.unknown(&run.types, first, own), stale, made: Vec::new() };
        // What is past retention need not be made any more.
        let retention = self.options.retention;
        pending.end(|period| retention.has_ended(period, run.scheduled), self.host.now());

        let before = pending.before(own, &sound, &run.types);
        self.make_pending(run, before, &mut pending, begin, report).await;
        // Whatever failed for earlier periods is tried for this one, whose time is now.
        report.failing.clear();
        let at = self.host.now();
        let result = self.make(run, own, pending.stale.contains(&own), begin, report).await;
        pending.lacking.insert(own, run.types.clone());
        pending.note(&run.types, &result, at, report);
        report.status = result.report.status();
        report.period = result.report;
        let works = suspect.into_iter().filter(|name| !report.period.lacks(name)).ordered_set();
        pending.stale.clear();
        let before = pending.before(own, &works, &works);
        self.make_pending(run, before, &mut pending, begin, report).await;

        let Pending { lacking, made, .. } = pending;
        progress.note_complete(&run.types, first, own, &lacking);
        report.left = lacking.len();
        progress.note_holes(lacking.keys().copied(), lacking.len());
        made
    }

    /// Makes the given types of earlier periods, as far as the budget allows.
    async fn make_pending<'run>(
        &'run self,
        run: &Run<'run>,
        periods: Lacking<'run>,
        pending: &mut Pending<'run>,
        begin: DateTime<Utc>,
        report: &mut Report,
    ) {
        for (period, types) in periods {
            if !self.has_budget(run) {
                return;
            }
            let beginning = self.begin_piece(run, report);
            let at = self.host.now();
            let of_types = run.for_types(types);
            let is_stale = pending.stale.contains(&period);
            let result = self.make(&of_types, period, is_stale, begin, report).await;
            pending.note(&of_types.types, &result, at, report);
            let periods = std::slice::from_ref(&result.report);
            self.enter_caught_up(run, &beginning, periods, report).await;
            report.caught_up.push(result.report);
        }
    }

    /// Notes that marked periods were refreshed.
    pub(super) async fn write_refreshed(
        &self,
        run: &Run<'_>,
        refreshed: &[(Period, DateTime<Utc>)],
        report: &mut Report,
    ) {
        if let Err(error) = note_refreshed(run.client, &self.table, refreshed).await {
            report.problems.push(format!("the refreshed periods could not be noted: {error}"));
        }
    }

    /// Writes what the run leaves and removes what is settled; whether that succeeded.
    async fn write_progress(
        &self,
        run: &Run<'_>,
        granularity: Granularity,
        progress: &Progress,
        settled: Settled,
        report: &mut Report,
    ) -> bool {
        let written = match progress.to_attribute() {
            Ok(progress) => write_progress(run.client, &self.table, granularity, progress, settled)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = &written {
            report.problems.push(format!("the state of the runs could not be written: {why}"));
        }
        written.is_ok()
    }

    /// The state of the hours, and those of the coarser granularities. That of `granularity` must be
    /// understood; of another one that is not, the report says so.
    async fn read_states(
        &self,
        run: &Run<'_>,
        granularity: Granularity,
        report: &mut Report,
    ) -> Result<(State, States), String> {
        let mut read = self.read_state_items(run, &Granularity::ALL).await?;
        for (of, state) in &read {
            if let Err(why) = state
                && [Granularity::Hourly, granularity].contains(of)
            {
                return Err(why.clone());
            }
        }
        let hours = read.remove(0).1?;
        Ok((hours, understood(read, report)))
    }
}
