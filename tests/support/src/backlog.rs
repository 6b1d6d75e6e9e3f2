//! Which hours still wait to be counted again, because the runs that were to do so were missing,
//! killed or refused: everything that it can be.

use std::{collections::BTreeSet, iter::successors};

use edge_analytics::metrics::period::Period;

use super::model::{Harm, Observes, Run, TRAILING_HOURS, back};

/// What hourly runs leave to the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    /// The first hour that still waits for its last counting.
    first: Option<Period>,
    /// A type failed. What waits then waits until one run has come through, so that a type that fails
    /// for long does not make runs dearer.
    is_failing: bool,
}

/// What may wait, one of these.
pub struct Backlog(BTreeSet<Waiting>);

impl Default for Backlog {
    fn default() -> Self {
        Self([Waiting::default()].into())
    }
}

impl Backlog {
    /// The hours that a run for `own` counts again besides those before it, for each of what may
    /// wait: the first hours of it, as many as it counts again anyway.
    pub fn owed(&self, own: Period) -> Vec<BTreeSet<Period>> {
        let owed = |waiting: &Waiting| {
            let earliest = back(own).nth(TRAILING_HOURS - 1).filter(|_| !waiting.is_failing);
            let (Some(first), Some(earliest)) = (waiting.first, earliest) else {
                return BTreeSet::new();
            };
            successors(Some(first), |hour| Some(hour.next()))
                .take_while(|hour| *hour < earliest)
                .take(TRAILING_HOURS)
                .collect()
        };
        self.0.iter().map(owed).collect()
    }

    /// Notes what waits after `run`: the hours that the next run counts again in any case, or, where
    /// this one failed to, those that it was to count.
    pub fn note(&mut self, run: &Run, in_order: Observes, counts_again: bool) {
        let own = run.period;
        let earliest = back(own).nth(TRAILING_HOURS - 1);
        let next = back(own.next()).nth(TRAILING_HOURS - 1);
        // An event from before says nothing about what fails now.
        let (updates, keeps) = (in_order != Observes::No, in_order != Observes::Yes);
        for waiting in std::mem::take(&mut self.0) {
            let Waiting { first, is_failing } = waiting;
            let failed = first.map_or(earliest, |first| Some(first).min(earliest));
            let succeeded = if is_failing { failed } else { first.max(next) };
            let mut leave = |first, is_failing| self.0.insert(Waiting { first, is_failing });
            let fails = matches!(&run.harm, Harm::Types(types) if !types.is_empty());
            if run.harm == Harm::Killed {
                for first in [succeeded, failed] {
                    leave(first, false);
                    leave(first, true);
                }
                leave(waiting.first, waiting.is_failing);
                continue;
            }
            let first = if fails && counts_again { failed } else { succeeded };
            if updates {
                leave(first, fails);
            }
            if keeps {
                leave(first, is_failing);
            }
        }
    }
}
