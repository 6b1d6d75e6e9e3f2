//! Backfilling hours that are missing, oldest first, one bounded batch after the other.

use std::collections::BTreeSet;

use crate::{
    metrics::{
        ordered::Ordered,
        period::{Period, Span},
        provenance::Occasion,
    },
    query::plan::plan,
    store::record_writer::Writer,
};

use super::{
    completeness::{Lacking, keep, note_computed},
    context::Context,
    counting::count,
    problem::RunProblem,
    report::PeriodReport,
    storing::read_stored,
};

/// How many hours are looked up and counted together: the writes of a batch stay far below what a run
/// may send, and many hours share the passes over the platform's items.
const HOURS_AT_ONCE: usize = 48;

/// The requests that a batch makes besides passes and writes.
const OVERHEAD: u64 = 8;

/// Missing hours, and what came of computing them. It keeps this itself because its work can be
/// stopped at any time: the lease may be lost or requested.
pub(super) struct HourBackfill<'run> {
    context: &'run Context<'run>,
    /// What is still missing.
    pub(super) lacking: Lacking<'run>,
    /// Types that could not be computed for any hour of a batch: what fails for all of these fails for
    /// the others, which are left to the next run.
    pub(super) failing: BTreeSet<String>,
    /// The hours that were counted.
    pub(super) reports: Vec<PeriodReport>,
    pub(super) problems: Vec<RunProblem>,
}

impl<'run> HourBackfill<'run> {
    pub(super) fn new(
        context: &'run Context<'run>,
        lacking: Lacking<'run>,
        failing: BTreeSet<String>,
    ) -> Self {
        Self { context, lacking, failing, reports: Vec::new(), problems: Vec::new() }
    }

    /// Computes what is missing, oldest first, as far as the budget allows. `passes` is how many
    /// requests reading the platform's items has taken in this run, 0 if it has not. Types that
    /// already fail in this run are neither looked up nor tried.
    pub(super) async fn run(
        &mut self,
        writer: &Writer<'_>,
        occasion: &dyn Fn(Period) -> Occasion,
        passes: u64,
    ) {
        let hours: Vec<Period> = self.wanted().keys().copied().collect();
        let mut rest = hours.as_slice();
        let mut passes = passes.max(self.fewest_requests(rest));
        while !rest.is_empty() && self.context.has_budget() {
            let affordable = self.affordable(rest, passes);
            let batch;
            (batch, rest) = rest.split_at(rest.len().min(HOURS_AT_ONCE).min(affordable.max(1)));
            if self.types_of(batch).is_empty() {
                continue;
            }
            let pages = self.context.client.meter().total().pages;
            match self.compute(writer, occasion, batch, affordable > 0).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(problem) => {
                    self.problems.push(problem);
                    break;
                }
            }
            passes = passes.max(self.context.client.meter().total().pages - pages);
        }
    }

    /// Computes one batch of hours, if the run `is_affordable`; false if there was something to do
    /// and it is not.
    async fn compute(
        &mut self,
        writer: &Writer<'_>,
        occasion: &dyn Fn(Period) -> Occasion,
        batch: &[Period],
        is_affordable: bool,
    ) -> Result<bool, RunProblem> {
        let context = self.context;
        let start = context.start_batch();
        let types = self.types_of(batch);
        let stored = read_stored(context, &batch.iter().copied().ordered_set(), &types).await?;
        keep(&mut self.lacking, |hour, name| !stored.contains_key(&(name.to_owned(), hour)));
        let wanted = self.wanted();
        let types = self.types_of(batch);
        if types.is_empty() {
            return Ok(true);
        }
        if !is_affordable {
            return Ok(false);
        }
        let hours: Vec<_> = batch
            .iter()
            .filter(|hour| wanted.contains_key(hour))
            .map(|hour| (*hour, occasion(*hour)))
            .collect();
        let counted = count(context, writer, &hours, &types, start.at).await?;
        let entered = context.enter_backfilled(&start, &counted.periods).await;
        self.problems.extend(entered.err());
        for period in &counted.periods {
            note_computed(&mut self.lacking, &types, period);
        }
        let failing = types.iter().filter(|name| {
            counted.periods.iter().all(|period| period.types_failed.contains_key(**name))
        });
        self.failing.extend(failing.map(|name| (*name).to_owned()));
        self.reports.extend(counted.periods);
        Ok(true)
    }

    /// How many of the hours the run's requests are enough for.
    fn affordable(&self, hours: &[Period], passes: u64) -> usize {
        let used = self.context.client.meter().total().requests + passes + OVERHEAD;
        let spare = self.context.options.budget.requests.saturating_sub(used);
        usize::try_from(spare).unwrap_or(usize::MAX) / self.types_of(hours).len().max(1)
    }

    /// The requests that reading the platform's items for `hours` takes at least: a page a pass.
    fn fewest_requests(&self, hours: &[Period]) -> u64 {
        let Context { catalogue, table, .. } = self.context;
        let spans: Vec<Span> = hours.iter().copied().map(Span::from).collect();
        let passes = plan(catalogue, catalogue.metrics(), &spans, table);
        u64::try_from(passes.len()).unwrap_or(u64::MAX)
    }

    /// What is missing, except for the types that fail.
    fn wanted(&self) -> Lacking<'run> {
        let mut wanted = self.lacking.clone();
        keep(&mut wanted, |_, name| !self.failing.contains(name));
        wanted
    }

    /// All types that `hours` lack, except for those that fail.
    fn types_of(&self, hours: &[Period]) -> BTreeSet<&'run str> {
        let names = hours.iter().filter_map(|hour| self.lacking.get(hour)).flatten().copied();
        names.filter(|name| !self.failing.contains(*name)).ordered_set()
    }
}
