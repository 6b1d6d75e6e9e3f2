//! Refreshing stale days, weeks and months: after a run changed what they are made from, and where an
//! earlier run left marks.
//!
//! A refresh rolls up what is there. It makes no missing finer period, so it costs a bounded number of
//! requests a period, and it needs no lease. What a run has no budget for stays marked for the next
//! run of any granularity.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Read,
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period},
        rollup::finer_periods,
    },
    store::run_state::{SETTLED_AFTER, Settled, State, remove_settled, state_key, withdraw},
};

use super::{Engine, PeriodReport, Report, Run};

/// The granularities that can be stale, in the order in which they are refreshed.
pub(super) const COARSER: [Granularity; 3] =
    [Granularity::Daily, Granularity::Weekly, Granularity::Monthly];

/// States by granularity.
pub(super) type States = BTreeMap<Granularity, State>;

impl Engine {
    /// Refreshes what an hourly run made stale, and what earlier runs left if the hours' state says
    /// that some may have: `left_by_others` are those entries.
    pub(super) async fn refresh_above_hours(
        &self,
        run: &Run<'_>,
        left_by_others: Option<BTreeSet<String>>,
        begin: DateTime<Utc>,
        report: &mut Report,
    ) {
        let mut states = States::new();
        if left_by_others.is_some() {
            states = match self.read_state_items(run, &COARSER).await {
                Ok(read) => understood(read, report),
                Err(why) => {
                    report.problems.push(why);
                    return;
                }
            };
        }
        self.refresh(run, &COARSER, &mut states, begin, report).await;
        self.withdraw_announcements(run, &states, left_by_others.unwrap_or_default(), report).await;
    }

    /// The states of `granularities`, each as far as it can be understood.
    pub(super) async fn read_state_items(
        &self,
        run: &Run<'_>,
        granularities: &[Granularity],
    ) -> Result<Vec<(Granularity, Result<State, String>)>, String> {
        let keys = granularities.iter().copied().map(state_key).collect();
        let items = run
            .client
            .batch_get(&self.table, keys, Read::Consistent)
            .await
            .map_err(|error| format!("the state of the runs could not be read: {error}"))?;
        let now = self.host.now();
        let state_of = |granularity: Granularity| {
            let key = state_key(granularity);
            let item = items.iter().find(|item| item.get("SK") == key.get("SK")).cloned();
            let state = State::from_item(item).and_then(|state| state.not_after(granularity, now));
            (granularity, state.map_err(|error| error.to_string()))
        };
        Ok(granularities.iter().copied().map(state_of).collect())
    }

    /// Refreshes the stale periods of `granularities`, finest first and oldest first, as far as the
    /// budget allows. `states` has those states that were read; what is removed from the items is
    /// removed from them.
    pub(super) async fn refresh(
        &self,
        run: &Run<'_>,
        granularities: &[Granularity],
        states: &mut States,
        begin: DateTime<Utc>,
        report: &mut Report,
    ) {
        report.problems.extend(run.marks.failures());
        for granularity in granularities.iter().copied() {
            let state = states.get(&granularity).cloned().unwrap_or_default();
            let mut due = state.to_refresh(granularity, self.host.now());
            due.extend(run.marks.of_granularity(granularity).into_keys());
            if due.is_empty() {
                continue;
            }
            let beginning = self.begin_piece(run, report);
            let mut refreshed = Vec::new();
            let mut reports = Vec::new();
            for period in due {
                report.note_stale(period, true);
                if !self.has_budget(run) || report.is_stale_within(period) {
                    continue;
                }
                let at = self.host.now();
                let is_made = match self.refresh_one(run, period, begin).await {
                    Ok(made) => {
                        let is_made = made.types_failed.is_empty();
                        reports.push(made);
                        is_made
                    }
                    Err(Unrefreshed::NotNeeded) => true,
                    Err(Unrefreshed::Left) => false,
                    Err(Unrefreshed::Failed(why)) => {
                        report.problems.push(why);
                        false
                    }
                };
                if is_made {
                    refreshed.push((period, at));
                    report.note_stale(period, false);
                }
            }
            if !reports.is_empty() {
                self.enter_caught_up(run, &beginning, &reports, report).await;
                report.caught_up.extend(reports);
            }
            let (settled, noted) = settle(run, &state, &refreshed, report);
            self.write_refreshed(run, &noted, report).await;
            let removed = settled.marks.clone();
            match remove_settled(run.client, &self.table, granularity, settled).await {
                Ok(()) => forget(run, states, granularity, &removed),
                Err(error) => report.problems.push(format!(
                    "the marks of refreshed {granularity} periods could not be removed: {error}"
                )),
            }
        }
    }

    /// Removes from the hours' state what says that runs may have left marks, if they have left none:
    /// this run, and those of `left_by_others` that must have ended if no mark is left at all.
    pub(super) async fn withdraw_announcements(
        &self,
        run: &Run<'_>,
        states: &States,
        left_by_others: BTreeSet<String>,
        report: &mut Report,
    ) {
        let mut withdrawn: Vec<String> = run.marks.settled_announcement().into_iter().collect();
        let none_is_left = COARSER
            .iter()
            .all(|granularity| states.get(granularity).is_some_and(|state| state.marks.is_empty()));
        if none_is_left && run.marks.is_empty() {
            let has_ended = |entry: &String| {
                let at = entry
                    .split_once('#')
                    .and_then(|(at, _)| crate::metrics::period::parse_instant(at));
                at.is_some_and(|at| at + SETTLED_AFTER <= run.begun)
            };
            withdrawn.extend(left_by_others.into_iter().filter(has_ended));
        }
        if let Err(error) = withdraw(run.client, &self.table, withdrawn).await {
            let why = format!("that no stale periods are left could not be noted: {error}");
            report.problems.push(why);
        }
    }

    /// Rolls `period` up from the finer records that are there.
    async fn refresh_one(
        &self,
        run: &Run<'_>,
        period: Period,
        begin: DateTime<Utc>,
    ) -> Result<PeriodReport, Unrefreshed> {
        let retention = self.options.retention;
        if period.end() < begin || retention.has_ended(period, run.scheduled) {
            return Err(Unrefreshed::NotNeeded);
        }
        let finer = finer_periods(period);
        let ours = || finer.iter().filter(|finer| finer.end() >= begin);
        // It is counted from the platform's items, which only its own run does.
        if ours().any(|finer| retention.has_ended(*finer, run.scheduled)) {
            return Err(Unrefreshed::Left);
        }
        let read_at = self.host.now();
        let stored = self.read_with(run, &finer, period).await.map_err(Unrefreshed::Failed)?;
        let is_there = |name: &&str| {
            finer.iter().any(|finer| stored.contains_key(&((*name).to_owned(), *finer)))
        };
        let types: BTreeSet<&str> = run.types.iter().copied().filter(is_there).ordered_set();
        if types.is_empty() {
            return Err(Unrefreshed::NotNeeded);
        }
        let run = run.for_types(types);
        let writer = self.writer(&run);
        let mut made =
            self.write_rolled_up(&run, &writer, (period, &finer), (stored, read_at)).await;
        made.short.retain(|_, coverage| coverage.present < ours().count());
        Ok(made)
    }
}

/// Why a period was not refreshed.
enum Unrefreshed {
    /// It is past retention, or there is nothing to make it from.
    NotNeeded,
    /// Only its own run can.
    Left,
    /// The stored records could not be read.
    Failed(String),
}

/// Forgets marks that are removed from the item of `granularity`.
pub(super) fn forget(
    run: &Run<'_>,
    states: &mut States,
    granularity: Granularity,
    removed: &[String],
) {
    if let Some(state) = states.get_mut(&granularity) {
        state.marks.retain(|mark| !removed.contains(mark));
    }
    run.marks.forget(granularity, removed);
}

/// The states that can be understood; of the others the report says why.
pub(super) fn understood(
    read: Vec<(Granularity, Result<State, String>)>,
    report: &mut Report,
) -> States {
    let mut states = States::new();
    for (granularity, state) in read {
        match state {
            Ok(state) => {
                states.insert(granularity, state);
            }
            Err(why) => report.problems.push(why),
        }
    }
    states
}

/// What is removed from the state after periods were refreshed, each from what was stored at the
/// instant; and which refreshes are noted because a mark stays.
pub(super) fn settle(
    run: &Run<'_>,
    state: &State,
    refreshed: &[(Period, DateTime<Utc>)],
    report: &Report,
) -> (Settled, Vec<(Period, DateTime<Utc>)>) {
    let mut settled = Settled::default();
    let mut noted = Vec::new();
    for (period, at) in refreshed {
        let own = run.marks.of_granularity(period.granularity()).remove(period);
        // Its own mark stays while a write may still arrive that failed or was stopped.
        let may_change = run.marks.is_interrupted()
            || report.periods().any(|finer| {
                finer.period.granularity() < period.granularity()
                    && period.contains(finer.period.start())
                    && !finer.types_failed.is_empty()
            });
        let removable = own.as_deref().filter(|_| !may_change);
        let (removed, stays) = state.settle(*period, *at, removable);
        settled.add(removed);
        if stays || (own.is_some() && may_change) {
            noted.push((*period, *at));
        }
    }
    (settled, noted)
}
