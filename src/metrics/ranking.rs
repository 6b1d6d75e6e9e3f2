//! Rankings that can be merged: the targets with most rows, and what is known of those left out.
//!
//! A record has room for so many targets. What is dropped is remembered by its greatest total, so
//! that after merging we can tell whether a target that is listed could have been overtaken by one
//! that was dropped: a ranking that is not certain is absent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Serialize};

/// How many targets a record keeps. A period in which no more are engaged loses nothing, so that its
/// coarser periods rank exactly; where more are, the merged ranking is not certain and is absent.
pub const MAXIMUM_TARGETS: usize = 1000;

/// Rows of one target, by share (`likes`, `bookmarks`, …).
pub type Shares = BTreeMap<String, u64>;

/// Targets with their rows, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    /// The targets that are kept: their key's attributes and their rows.
    pub targets: Vec<(Vec<String>, Shares)>,
    /// No target that was dropped has more rows than this; 0 when none was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cutoff: u64,
    /// The position in the key of the attribute that orders equal totals.
    #[serde(default)]
    pub tie: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The rows of a target.
#[must_use]
pub fn total(shares: &Shares) -> u64 {
    shares.values().fold(0, |sum, rows| sum.saturating_add(*rows))
}

impl Ranking {
    /// Ranks `targets`; equal totals are ordered by the key's attribute at `tie`.
    #[must_use]
    pub fn of(targets: HashMap<Vec<String>, Shares>, tie: usize) -> Self {
        let mut ranking = Self { targets: targets.into_iter().collect(), cutoff: 0, tie };
        ranking.sort();
        ranking
    }

    fn sort(&mut self) {
        let tie = self.tie;
        self.targets.sort_by_cached_key(|(key, shares)| {
            (Reverse(total(shares)), key.get(tie).cloned(), key.clone())
        });
    }

    /// Drops what a record has no room for, and remembers the greatest total that is dropped.
    pub fn drop_the_tail(&mut self) {
        if let Some((_, dropped)) = self.targets.get(MAXIMUM_TARGETS) {
            self.cutoff = self.cutoff.max(total(dropped));
        }
        self.targets.truncate(MAXIMUM_TARGETS);
    }

    /// Adds the rows of another period.
    pub fn merge(&mut self, other: &Self) {
        let mut targets: HashMap<Vec<String>, Shares> = self.targets.drain(..).collect();
        for (key, shares) in &other.targets {
            let mine = targets.entry(key.clone()).or_default();
            for (share, rows) in shares {
                let sum = mine.entry(share.clone()).or_default();
                // What is stored can be anything; rows that cannot be counted rank nobody.
                match sum.checked_add(*rows) {
                    Some(more) => *sum = more,
                    None => self.cutoff = u64::MAX,
                }
            }
        }
        self.targets = targets.into_iter().collect();
        // A target may have been dropped from both.
        self.cutoff = self.cutoff.saturating_add(other.cutoff);
        self.sort();
    }

    /// The best `limit` targets, if it is certain which they are and what rows they have: no target
    /// that was dropped somewhere can be among them, and none of them was dropped anywhere.
    #[must_use]
    pub fn best(&self, limit: usize) -> Option<&[(Vec<String>, Shares)]> {
        let best = &self.targets[..limit.min(self.targets.len())];
        (self.cutoff == 0).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(likes: u64) -> Shares {
        Shares::from([("likes".to_owned(), likes)])
    }

    fn key(number: u64) -> Vec<String> {
        vec!["media".to_owned(), format!("{number:06}")]
    }

    /// A period's ranking as a record keeps it.
    fn kept(rows: impl IntoIterator<Item = (u64, u64)>) -> Ranking {
        let targets = rows.into_iter().map(|(number, likes)| (key(number), shares(likes)));
        let mut ranking = Ranking::of(targets.collect(), 1);
        ranking.drop_the_tail();
        ranking
    }

    /// A small generator, so that the truth can be computed beside it.
    fn hour(seed: u64, targets: u64) -> Vec<(u64, u64)> {
        (0..targets)
            .map(|number| {
                (number, (number * 7919 + seed * 104_729) % 97 * u64::from(number % 5 == 0) + 1)
            })
            .collect()
    }

    #[test]
    fn a_day_of_hours_ranks_as_if_counted_at_once() {
        let hours: Vec<_> = (0..24).map(|seed| hour(seed, 600)).collect();
        let mut truth: BTreeMap<u64, u64> = BTreeMap::new();
        for (number, likes) in hours.iter().flatten() {
            *truth.entry(*number).or_default() += likes;
        }
        let mut truth: Vec<_> = truth.into_iter().collect();
        truth.sort_by_key(|(number, likes)| (Reverse(*likes), *number));

        let mut day = Ranking { tie: 1, ..Ranking::default() };
        for hour in hours {
            day.merge(&kept(hour));
        }
        let best: Vec<_> = day.best(10).unwrap().to_vec();
        let expected: Vec<_> =
            truth[..10].iter().map(|(number, likes)| (key(*number), shares(*likes))).collect();
        assert_eq!(best, expected);
    }

    #[test]
    fn equal_totals_are_ordered_by_the_tie() {
        let ranking = kept([(3, 5), (1, 5), (2, 9)]);
        let numbers: Vec<_> =
            ranking.best(10).unwrap().iter().map(|(key, _)| key[1].as_str()).collect();
        assert_eq!(numbers, ["000002", "000001", "000003"]);
    }

    #[test]
    fn a_ranking_that_is_not_certain_is_absent() {
        // More targets than a record keeps, all nearly equal: the day's best may be among the dropped.
        let mut day = kept(hour(1, 1500));
        assert!(day.cutoff > 0);
        day.merge(&kept(hour(2, 1500)));
        assert!(day.best(10).is_none());
    }

    #[test]
    fn rows_beyond_every_count_rank_nobody() {
        let mut ranking = kept([(1, u64::MAX)]);
        ranking.merge(&kept([(1, 1)]));
        assert!(ranking.best(10).is_none());
    }

    #[test]
    fn what_is_dropped_is_remembered_by_its_greatest_total() {
        let size = u64::try_from(MAXIMUM_TARGETS).unwrap();
        let ranking = kept((0..size + 2).map(|number| (number, size + 2 - number)));
        assert_eq!(ranking.targets.len(), MAXIMUM_TARGETS);
        assert_eq!(ranking.cutoff, 2);
    }
}
