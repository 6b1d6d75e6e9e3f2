//! Rankings that can be merged: the targets with the most rows, and the greatest total of those
//! that were dropped.
//!
//! A record keeps at most [`MAXIMUM_TARGETS`] targets. The greatest total of the dropped ones is
//! kept as the `cutoff`. If it is not 0, a target that was dropped may belong to the best ones
//! after a merge, so the merged ranking is not certain, and is absent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::metrics::catalogue::definition::{MAXIMUM_TARGETS, Measure, Metric};

/// The number of rows of one target by share (`likes`, `bookmarks`, …).
pub type Shares = BTreeMap<String, u64>;

/// Targets with their rows, the target with the most rows first.
///
/// ```
/// # use std::collections::{BTreeMap, HashMap};
/// # use edge_analytics::metrics::ranking::Ranking;
/// let ranking = |targets: &[(&str, u64)]| {
///     let target = |(name, likes): &(&str, u64)| {
///         (vec![(*name).to_owned()], BTreeMap::from([("likes".to_owned(), *likes)]))
///     };
///     Ranking::of(targets.iter().map(target).collect::<HashMap<_, _>>(), 0)
/// };
/// let mut day = ranking(&[("b", 2), ("a", 2), ("c", 1)]);
/// day.merge(&ranking(&[("c", 3)]));
/// let names: Vec<&str> = day.best(2).unwrap().iter().map(|(key, _)| key[0].as_str()).collect();
/// // Equal totals are ordered by the key.
/// assert_eq!(names, ["c", "a"]);
///
/// // An hour that dropped targets makes the ranking uncertain: there is none.
/// let mut busy = ranking(&[("d", 9)]);
/// busy.cutoff = 1;
/// day.merge(&busy);
/// assert_eq!(day.best(2), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranking {
    /// The targets that are kept: the values of the key's attributes, and the rows.
    pub targets: Vec<(Vec<String>, Shares)>,
    /// No target that was dropped has more rows than this; 0 if none was dropped.
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

/// The number of rows of a target, of all shares; at most `u64::MAX`.
#[must_use]
pub fn total(shares: &Shares) -> u64 {
    shares.values().fold(0, |sum, rows| sum.saturating_add(*rows))
}

impl Ranking {
    /// Ranks `targets`. Equal totals are ordered by the attribute at position `tie` of the key,
    /// then by the whole key.
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

    /// Drops all but the best [`MAXIMUM_TARGETS`] targets, and keeps the greatest total of the
    /// dropped ones as the cutoff.
    pub fn drop_the_tail(&mut self) {
        let limit = MAXIMUM_TARGETS as usize;
        if let Some((_, dropped)) = self.targets.get(limit) {
            self.cutoff = self.cutoff.max(total(dropped));
        }
        self.targets.truncate(limit);
    }

    /// Adds the rows of another period.
    pub fn merge(&mut self, other: &Self) {
        let mut targets: HashMap<Vec<String>, Shares> = self.targets.drain(..).collect();
        for (key, shares) in &other.targets {
            let mine = targets.entry(key.clone()).or_default();
            for (share, rows) in shares {
                let sum = mine.entry(share.clone()).or_default();
                // Only a damaged record has such numbers. They make the ranking uncertain.
                match sum.checked_add(*rows) {
                    Some(more) => *sum = more,
                    None => self.cutoff = u64::MAX,
                }
            }
        }
        self.targets = targets.into_iter().collect();
        // One target may have been dropped from both.
        self.cutoff = self.cutoff.saturating_add(other.cutoff);
        self.sort();
    }

    /// The best `limit` targets, or all if there are fewer. `None` if targets were dropped
    /// somewhere, so that it is not certain which are the best and how many rows they have.
    #[must_use]
    pub fn best(&self, limit: usize) -> Option<&[(Vec<String>, Shares)]> {
        let best = &self.targets[..limit.min(self.targets.len())];
        (self.cutoff == 0).then_some(best)
    }
}

/// The value of a `top` metric: a list of the best targets, each with the attributes of its key,
/// its rows by share and their `total`. `None` if the ranking is not certain, or the metric has
/// another measure.
#[must_use]
pub fn list_targets(metric: &Metric, ranking: &Ranking) -> Option<Json> {
    let Measure::Top { rows, key: names, limit, .. } = &metric.measure else { return None };
    let entry = |(key, shares): &(Vec<String>, Shares)| {
        let names = names.iter().cloned().zip(key.iter().map(|part| Json::from(part.clone())));
        let counts = rows
            .sources
            .keys()
            .map(|name| (name.clone(), Json::from(shares.get(name).copied().unwrap_or_default())));
        let total = ("total".to_owned(), Json::from(total(shares)));
        Json::Object(names.chain(counts).chain([total]).collect())
    };
    let best = ranking.best(*limit)?;
    Some(Json::Array(best.iter().map(entry).collect()))
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

    /// The ranking of a period as a record keeps it.
    fn kept(rows: impl IntoIterator<Item = (u64, u64)>) -> Ranking {
        let targets = rows.into_iter().map(|(number, likes)| (key(number), shares(likes)));
        let mut ranking = Ranking::of(targets.collect(), 1);
        ranking.drop_the_tail();
        ranking
    }

    /// Generated rows, from which the expected ranking is computed independently.
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
        // More targets than a record keeps, all nearly equal: the day's best may be among the
        // dropped.
        let mut day = kept(hour(1, 1500));
        assert!(day.cutoff > 0);
        day.merge(&kept(hour(2, 1500)));
        assert!(day.best(10).is_none());
    }

    #[test]
    fn impossible_numbers_of_rows_make_a_ranking_uncertain() {
        let mut ranking = kept([(1, u64::MAX)]);
        ranking.merge(&kept([(1, 1)]));
        assert!(ranking.best(10).is_none());
    }

    #[test]
    fn dropped_targets_are_kept_as_their_greatest_total() {
        let size = u64::from(MAXIMUM_TARGETS);
        let ranking = kept((0..size + 2).map(|number| (number, size + 2 - number)));
        assert_eq!(ranking.targets.len(), MAXIMUM_TARGETS as usize);
        assert_eq!(ranking.cutoff, 2);
    }
}
