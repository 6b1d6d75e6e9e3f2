//! Refreshing stale days, weeks and months: after a run changed what they are computed from, and
//! where an earlier run left marks.
//!
//! A refresh rolls up what is stored. It computes no missing finer period, so it costs a bounded
//! number of requests a period, and it needs no lease. What a run has no budget for stays marked for
//! the next run of any granularity.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Read,
    metrics::{
        maker::{Maker, Makers},
        period::{Granularity, Period, parse_instant},
    },
    store::{
        run_state::{
            SETTLED_AFTER, Settled, State, note_refreshed, remove_settled, state_key, withdraw,
        },
        stored_state::StateError,
    },
};

use super::{
    context::Context,
    problem::{ReadError, RunProblem},
    report::PeriodReport,
    rolling_up::PeriodRollup,
};

/// The granularities that can be stale, in the order in which they are refreshed.
pub(super) const COARSER: [Granularity; 3] =
    [Granularity::Daily, Granularity::Weekly, Granularity::Monthly];

/// Periods that were computed from all that was stored, each with when reading began.
pub(super) type RefreshedPeriods = Vec<(Period, DateTime<Utc>)>;

/// What came of a refresh.
#[derive(Default)]
pub(super) struct Refreshed {
    pub(super) reports: Vec<PeriodReport>,
    pub(super) problems: Vec<RunProblem>,
}

/// Which periods are stale in a run, by the run states and by its own marks.
pub(super) struct StalePeriods<'run> {
    context: &'run Context<'run>,
    makers: Makers,
    /// The run states that were read. What is removed from the items is removed from them.
    states: BTreeMap<Granularity, State>,
    /// The periods that are left stale.
    left: BTreeSet<Period>,
    /// The periods of which this run could not write a record: the write may still arrive.
    unwritten: BTreeSet<Period>,
}

/// Why a period was not refreshed.
enum NotRefreshed {
    /// It is past retention, or there is nothing to compute it from.
    NotNeeded,
    /// Only its scheduled run can: it is counted from the platform's items.
    Left,
    Failed(ReadError),
}

/// The run states of `granularities`, each as far as it can be understood.
pub(super) async fn read_states(
    context: &Context<'_>,
    granularities: &[Granularity],
) -> Result<Vec<(Granularity, Result<State, StateError>)>, RunProblem> {
    let keys = granularities.iter().copied().map(state_key).collect();
    let read = context.client.batch_get(context.table, keys, Read::Consistent).await;
    let items = read.map_err(RunProblem::States)?;
    let now = context.now();
    let state_of = |granularity: Granularity| {
        let key = state_key(granularity);
        let item = items.iter().find(|item| item.get("SK") == key.get("SK")).cloned();
        let state = State::from_item(item).and_then(|state| state.not_after(granularity, now));
        (granularity, state)
    };
    Ok(granularities.iter().copied().map(state_of).collect())
}

/// Refreshes what became stale by an hourly run, and what earlier runs left if the state of the hours
/// says that they may have: `left_by_others` are those entries. Returns also what is left stale.
pub(super) async fn refresh_above_hours(
    context: &Context<'_>,
    makers: Makers,
    left_by_others: Option<BTreeSet<String>>,
    counted: &[&[PeriodReport]],
) -> (Refreshed, BTreeSet<Period>) {
    let mut states = Vec::new();
    if left_by_others.is_some() {
        states = match read_states(context, &COARSER).await {
            Ok(states) => states,
            Err(problem) => {
                let refreshed = Refreshed { reports: Vec::new(), problems: vec![problem] };
                return (refreshed, BTreeSet::new());
            }
        };
    }
    let (mut stale, problems) = StalePeriods::new(context, makers, states);
    for reports in counted {
        stale.note_unwritten(reports);
    }
    let mut refreshed = Refreshed { reports: Vec::new(), problems };
    stale.refresh(&COARSER, &mut refreshed).await;
    let withdrawn = stale.withdraw_announcements(left_by_others.unwrap_or_default()).await;
    refreshed.problems.extend(withdrawn.err());
    (refreshed, stale.left)
}

impl<'run> StalePeriods<'run> {
    /// From the states that can be understood; of the others the problems say why.
    pub(super) fn new(
        context: &'run Context<'run>,
        makers: Makers,
        read: Vec<(Granularity, Result<State, StateError>)>,
    ) -> (Self, Vec<RunProblem>) {
        let (mut states, mut problems) = (BTreeMap::new(), Vec::new());
        for (granularity, state) in read {
            match state {
                Ok(state) => {
                    states.insert(granularity, state);
                }
                Err(error) => problems.push(error.into()),
            }
        }
        let (left, unwritten) = (BTreeSet::new(), BTreeSet::new());
        (Self { context, makers, states, left, unwritten }, problems)
    }

    /// The run state of `granularity`; without one, nothing has run yet.
    pub(super) fn state(&self, granularity: Granularity) -> State {
        self.states.get(&granularity).cloned().unwrap_or_default()
    }

    /// Whether the type failed in the last run of any granularity.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.states.values().any(|state| state.progress.failing_types.contains_key(name))
    }

    /// The periods of `granularity` that are worth a refresh now.
    pub(super) fn due(&self, granularity: Granularity) -> BTreeSet<Period> {
        let state = self.states.get(&granularity);
        let mut due = state
            .map(|state| state.to_refresh(granularity, self.context.now()))
            .unwrap_or_default();
        due.extend(self.context.marks.of_granularity(granularity).into_keys());
        due
    }

    /// Notes of which periods a record could not be written.
    pub(super) fn note_unwritten(&mut self, reports: &[PeriodReport]) {
        let failed = reports.iter().filter(|report| !report.types_failed.is_empty());
        self.unwritten.extend(failed.map(|report| report.period));
    }

    /// Notes that `period` is no longer stale.
    pub(super) fn note_refreshed(&mut self, period: Period) {
        self.left.remove(&period);
    }

    /// Whether a finer period in `period` is left stale, so that `period` cannot be refreshed yet.
    pub(super) fn is_left_within(&self, period: Period) -> bool {
        is_any_within(&self.left, period)
    }

    /// The periods that are left stale.
    pub(super) fn into_left(self) -> BTreeSet<Period> {
        self.left
    }

    /// Refreshes the stale periods of `granularities`, finest first and oldest first, as far as the
    /// budget allows.
    pub(super) async fn refresh(&mut self, granularities: &[Granularity], done: &mut Refreshed) {
        let failures = self.context.marks.failures();
        done.problems.extend(failures.into_iter().map(RunProblem::Mark));
        for granularity in granularities.iter().copied() {
            let due = self.due(granularity);
            if due.is_empty() {
                continue;
            }
            let refreshed = self.refresh_all(due, done).await;
            let (settled, noted) = self.settle(granularity, &refreshed);
            done.problems.extend(self.write_refreshed(&noted).await.err());
            let removed = settled.marks.clone();
            let Context { client, table, .. } = self.context;
            match remove_settled(client, table, granularity, settled).await {
                Ok(()) => self.forget(granularity, &removed),
                Err(error) => done.problems.push(RunProblem::RemoveMarks(granularity, error)),
            }
        }
    }

    /// Refreshes the periods that are `due`, all of one granularity.
    async fn refresh_all(
        &mut self,
        due: BTreeSet<Period>,
        done: &mut Refreshed,
    ) -> RefreshedPeriods {
        let context = self.context;
        let start = context.start_batch();
        let mut refreshed = RefreshedPeriods::new();
        let mut reports = Vec::new();
        for period in due {
            self.left.insert(period);
            if !context.has_budget() || self.is_left_within(period) {
                continue;
            }
            let at = context.now();
            let is_refreshed = match self.refresh_one(period).await {
                Ok(report) => {
                    let is_written = report.types_failed.is_empty();
                    reports.push(report);
                    is_written
                }
                Err(NotRefreshed::NotNeeded) => true,
                Err(NotRefreshed::Left) => false,
                Err(NotRefreshed::Failed(error)) => {
                    done.problems.push(error.into());
                    false
                }
            };
            if is_refreshed {
                refreshed.push((period, at));
                self.note_refreshed(period);
            }
        }
        if !reports.is_empty() {
            done.problems.extend(context.enter_backfilled(&start, &reports).await.err());
            self.note_unwritten(&reports);
            done.reports.extend(reports);
        }
        refreshed
    }

    /// Rolls `period` up from the finer records that are stored.
    async fn refresh_one(&self, period: Period) -> Result<PeriodReport, NotRefreshed> {
        let (context, makers) = (self.context, self.makers);
        if period.end() < makers.begin || makers.retention.has_ended(period, makers.as_of) {
            return Err(NotRefreshed::NotNeeded);
        }
        if makers.of_period(period) == Maker::Items {
            return Err(NotRefreshed::Left);
        }
        let rollup = PeriodRollup::read(context, context.types.clone(), period).await;
        let mut rollup = rollup.map_err(NotRefreshed::Failed)?;
        if !rollup.leave_absent_out() {
            return Err(NotRefreshed::NotNeeded);
        }
        let mut report = rollup.write().await;
        let finer = makers.finer(period).len();
        report.short.retain(|_, coverage| coverage.present < finer);
        Ok(report)
    }

    /// What is removed from the state of `granularity` after periods of it were refreshed, and which
    /// refreshes are noted because a mark stays.
    pub(super) fn settle(
        &self,
        granularity: Granularity,
        refreshed: &[(Period, DateTime<Utc>)],
    ) -> (Settled, RefreshedPeriods) {
        let state = self.state(granularity);
        let marks = &self.context.marks;
        let own_marks = marks.of_granularity(granularity);
        let mut settled = Settled::default();
        let mut noted = RefreshedPeriods::new();
        for (period, at) in refreshed {
            let own = own_marks.get(period);
            // Its own mark stays while a write may still arrive that failed or was stopped.
            let may_change = marks.is_interrupted() || is_any_within(&self.unwritten, *period);
            let removable = own.map(String::as_str).filter(|_| !may_change);
            let (removed, stays) = state.settle(*period, *at, removable);
            settled.add(removed);
            if stays || (own.is_some() && may_change) {
                noted.push((*period, *at));
            }
        }
        (settled, noted)
    }

    /// Notes in the run state that marked periods were refreshed.
    pub(super) async fn write_refreshed(
        &self,
        refreshed: &[(Period, DateTime<Utc>)],
    ) -> Result<(), RunProblem> {
        write_refreshed(self.context, refreshed).await
    }

    /// Forgets marks that are removed from the item of `granularity`.
    pub(super) fn forget(&mut self, granularity: Granularity, removed: &[String]) {
        if let Some(state) = self.states.get_mut(&granularity) {
            state.marks.retain(|mark| !removed.contains(mark));
        }
        self.context.marks.forget(granularity, removed);
    }

    /// Removes from the state of the hours what says that runs may have left marks, if they have left
    /// none: this run, and those of `left_by_others` that must have ended if no mark is left at all.
    pub(super) async fn withdraw_announcements(
        &self,
        left_by_others: BTreeSet<String>,
    ) -> Result<(), RunProblem> {
        let context = self.context;
        let mut withdrawn: Vec<String> = context.marks.settled_announcement().into_iter().collect();
        let is_unmarked =
            |of: &Granularity| self.states.get(of).is_some_and(|state| state.marks.is_empty());
        if COARSER.iter().all(is_unmarked) && context.marks.is_empty() {
            let has_ended = |entry: &String| {
                let at = entry.split_once('#').and_then(|(at, _)| parse_instant(at));
                at.is_some_and(|at| at + SETTLED_AFTER <= context.begun)
            };
            withdrawn.extend(left_by_others.into_iter().filter(has_ended));
        }
        withdraw(context.client, context.table, withdrawn).await.map_err(RunProblem::Withdraw)
    }
}

/// Notes in the run state that marked periods were refreshed.
pub(super) async fn write_refreshed(
    context: &Context<'_>,
    refreshed: &[(Period, DateTime<Utc>)],
) -> Result<(), RunProblem> {
    let noted = note_refreshed(context.client, context.table, refreshed).await;
    noted.map_err(RunProblem::NoteRefreshed)
}

/// Whether any of `periods` is finer than `period` and lies in it.
fn is_any_within(periods: &BTreeSet<Period>, period: Period) -> bool {
    periods
        .iter()
        .any(|finer| finer.granularity() < period.granularity() && period.contains(finer.start()))
}
