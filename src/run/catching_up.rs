//! Catch-up: filling hours that are missing, oldest first, a bounded piece at a time.

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
    Engine, Report, Run,
    completeness::{Lacking, keep, note_made},
};

/// How many hours are looked at and counted together: a piece's writes stay far below what a run may
/// send, and the passes over the platform's items are shared by many hours.
pub(super) const HOURS_AT_ONCE: usize = 48;

/// The requests that a piece makes besides passes and writes.
const OVERHEAD: u64 = 8;

impl Engine {
    /// Makes what is missing of `lacking`, oldest first, as far as the budget allows, and removes from
    /// it what is there; `passes` is how many requests reading the platform's items has taken this
    /// run, 0 if it has not. Types that fail in this run already are neither looked for nor tried.
    pub(super) async fn fill(
        &self,
        run: &Run<'_>,
        writer: &Writer<'_>,
        lacking: &mut Lacking<'_>,
        occasion: impl Fn(Period) -> Occasion,
        passes: u64,
        report: &mut Report,
    ) -> Result<(), String> {
        let wanted = without(lacking, &report.failing);
        let hours: Vec<Period> = wanted.keys().copied().collect();
        let mut rest = hours.as_slice();
        let mut passes = passes.max(self.fewest_requests(rest));
        while !rest.is_empty() && self.has_budget(run) {
            let wanted = without(lacking, &report.failing);
            let names = union(&wanted, rest);
            let used = run.client.meter().total().requests + passes + OVERHEAD;
            let spare = self.options.budget.requests.saturating_sub(used);
            let affordable = usize::try_from(spare).unwrap_or(usize::MAX) / names.len().max(1);
            let piece;
            (piece, rest) = rest.split_at(rest.len().min(HOURS_AT_ONCE).min(affordable.max(1)));
            let names = union(&wanted, piece);
            if names.is_empty() {
                continue;
            }
            let beginning = self.begin_piece(run, report);
            let stored = self
                .read_stored(run.client, &piece.iter().copied().ordered_set(), &names)
                .await
                .map_err(|error| format!("the stored records could not be read: {error}"))?;
            keep(lacking, |hour, name| !stored.contains_key(&(name.to_owned(), hour)));
            let wanted = without(lacking, &report.failing);
            let names = union(&wanted, piece);
            if names.is_empty() {
                continue;
            }
            if affordable == 0 {
                break;
            }
            let at: Vec<_> = piece
                .iter()
                .filter(|hour| wanted.contains_key(hour))
                .map(|hour| (*hour, occasion(*hour)))
                .collect();
            let pages = run.client.meter().total().pages;
            let counted = match self.count(writer, &at, &names, beginning.at).await {
                Ok(counted) => counted,
                Err(why) => {
                    report.problems.push(why);
                    break;
                }
            };
            passes = passes.max(run.client.meter().total().pages - pages);
            self.enter_caught_up(run, &beginning, &counted.periods, report).await;
            for period in &counted.periods {
                note_made(lacking, &names, period);
            }
            let failing = names.iter().filter(|name| {
                counted.periods.iter().all(|period| period.types_failed.contains_key(**name))
            });
            report.failing.extend(failing.map(|name| (*name).to_owned()));
            report.caught_up.extend(counted.periods);
        }
        Ok(())
    }

    /// The requests that reading the platform's items for `hours` takes at least: a page a pass.
    fn fewest_requests(&self, hours: &[Period]) -> u64 {
        let spans: Vec<Span> = hours.iter().copied().map(Span::from).collect();
        let passes = plan(&self.catalogue, self.catalogue.metrics(), &spans, &self.table);
        u64::try_from(passes.len()).unwrap_or(u64::MAX)
    }
}

/// What is lacking but for the types that fail.
fn without<'name>(lacking: &Lacking<'name>, failing: &BTreeSet<String>) -> Lacking<'name> {
    let mut wanted = lacking.clone();
    keep(&mut wanted, |_, name| !failing.contains(name));
    wanted
}

/// All types that `hours` lack.
fn union<'name>(lacking: &Lacking<'name>, hours: &[Period]) -> BTreeSet<&'name str> {
    hours.iter().filter_map(|hour| lacking.get(hour)).flatten().copied().ordered_set()
}
