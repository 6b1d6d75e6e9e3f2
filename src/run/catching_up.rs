//! Catch-up: filling hours that are missing, oldest first, a bounded piece at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    period::{Period, Span},
    plan::plan,
};

use super::{
    Engine, Report, Run,
    writing::{Occasion, Writer},
};

/// How many hours are looked at and counted together: a piece's writes stay far below what a run may
/// send, and the passes over the platform's items are shared by many hours.
pub(super) const HOURS_AT_ONCE: usize = 48;

/// The requests that a piece makes besides passes and writes.
const OVERHEAD: u64 = 8;

impl Engine {
    /// Makes what is missing of `hours`, which are in order, as far as the budget allows; `passes` is
    /// how many requests reading the platform's items has taken this run, 0 if it has not. Returns
    /// the hours that are complete.
    pub(super) async fn fill(
        &self,
        run: &Run<'_>,
        writer: &Writer<'_>,
        hours: &[Period],
        occasion: impl Fn(Period) -> Occasion,
        passes: u64,
        report: &mut Report,
    ) -> Result<BTreeSet<Period>, String> {
        let types = &run.types;
        let mut complete = BTreeSet::new();
        let mut rest = hours;
        let mut passes = passes.max(self.fewest_requests(hours));
        while !rest.is_empty() && self.has_budget(run) {
            let used = run.client.meter().total().requests + passes + OVERHEAD;
            let spare = self.options.budget.requests.saturating_sub(used);
            let affordable = usize::try_from(spare).unwrap_or(usize::MAX) / types.len().max(1);
            let piece;
            (piece, rest) = rest.split_at(rest.len().min(HOURS_AT_ONCE).min(affordable.max(1)));
            let beginning = self.begin_piece(run, report);
            let stored = self
                .read_stored(run.client, &piece.iter().copied().collect(), types)
                .await
                .map_err(|error| format!("the stored records could not be read: {error}"))?;
            let mut missing: BTreeMap<Period, BTreeSet<&str>> = BTreeMap::new();
            for hour in piece {
                for name in types {
                    if !stored.contains_key(&((*name).to_owned(), *hour)) {
                        missing.entry(*hour).or_default().insert(name);
                    }
                }
            }
            complete.extend(piece.iter().copied().filter(|hour| !missing.contains_key(hour)));
            let fails = |name: &&str| report.failing.contains(*name);
            let lacking: BTreeSet<&str> =
                missing.values().flatten().copied().filter(|name| !fails(name)).collect();
            if lacking.is_empty() {
                continue;
            }
            if affordable == 0 {
                break;
            }
            let can_be_whole: BTreeSet<Period> = missing
                .iter()
                .filter(|(_, names)| !names.iter().any(fails))
                .map(|(hour, _)| *hour)
                .collect();
            let wanted: Vec<_> = missing
                .iter()
                .filter(|(_, names)| !names.is_disjoint(&lacking))
                .map(|(hour, _)| (*hour, occasion(*hour)))
                .collect();
            let pages = run.client.meter().total().pages;
            let counted = match self.count(writer, &wanted, &lacking, beginning.at).await {
                Ok(counted) => counted,
                Err(why) => {
                    report.problems.push(why);
                    break;
                }
            };
            passes = passes.max(run.client.meter().total().pages - pages);
            self.enter_caught_up(run, &beginning, &counted.periods, report).await;
            let failing = lacking.iter().filter(|name| {
                counted.periods.iter().all(|period| period.types_failed.contains_key(**name))
            });
            report.failing.extend(failing.map(|name| (*name).to_owned()));
            report.caught_up.extend(counted.periods);
            complete.extend(can_be_whole.difference(&counted.holes));
        }
        Ok(complete)
    }

    /// The requests that reading the platform's items for `hours` takes at least: a page a pass.
    fn fewest_requests(&self, hours: &[Period]) -> u64 {
        let spans: Vec<Span> = hours.iter().copied().map(Span::from).collect();
        let passes = plan(&self.catalogue, self.catalogue.metrics(), &spans, &self.table);
        u64::try_from(passes.len()).unwrap_or(u64::MAX)
    }
}
