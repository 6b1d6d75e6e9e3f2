//! How the periods of a job are cut into slices.
//!
//! The slices are stored with the job, so a deployment in the middle of a job changes nothing. There can
//! be thousands of slices; they are stored as groups of consecutive periods, each with how many of its
//! periods make a slice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{JobError, instant};
use crate::metrics::{
    maker::{Maker, Makers},
    period::{Granularity, Period, format_instant},
    rollup::coarser_granularities,
};

/// How many periods are rolled up in one slice: each reads up to 31 finer records a type.
const ROLLED_UP_AT_ONCE: usize = 10;

/// The most periods in one group. A job of all hours of a hundred years has fewer.
const MAXIMUM_GROUP: usize = 1_000_000;

/// A bounded part of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// How its periods are computed.
    pub work: Work,
    /// Its periods, all of one granularity, in order.
    pub periods: Vec<Period>,
}

/// How the periods of a slice are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Counted from the platform's items.
    Count,
    /// Rolled up from their finer records.
    RollUp,
}

/// Consecutive periods that are cut into slices of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceGroup {
    work: Work,
    granularity: String,
    first: String,
    count: usize,
    at_once: usize,
}

impl SliceGroup {
    fn new(work: Work, first: Period, count: usize, at_once: usize) -> Self {
        Self {
            work,
            granularity: first.granularity().name().to_owned(),
            first: format_instant(first.start()),
            count,
            at_once,
        }
    }

    fn at_once(&self) -> usize {
        self.at_once.max(1)
    }

    /// How many slices it is cut into.
    pub(super) fn slices_len(&self) -> usize {
        self.count.div_ceil(self.at_once())
    }

    fn periods(&self) -> Result<Vec<Period>, JobError> {
        let granularity = Granularity::from_name(&self.granularity).ok_or(JobError::Granularity)?;
        if self.count > MAXIMUM_GROUP {
            return Err(JobError::TooManyPeriods);
        }
        let first = Period::containing(granularity, instant(&self.first)?);
        let periods = std::iter::successors(Some(first), |period| Some(period.next()));
        Ok(periods.take(self.count).collect())
    }

    fn slices(&self) -> Result<Vec<Slice>, JobError> {
        let periods = self.periods()?;
        let slices = periods.chunks(self.at_once());
        Ok(slices.map(|periods| Slice { work: self.work, periods: periods.to_vec() }).collect())
    }
}

/// All slices of `groups`, in order.
pub(super) fn slices_of(groups: &[SliceGroup]) -> Result<Vec<Slice>, JobError> {
    let slices: Vec<Vec<Slice>> =
        groups.iter().map(SliceGroup::slices).collect::<Result<_, _>>()?;
    Ok(slices.into_iter().flatten().collect())
}

/// The same periods, with slice `from` and the slices after it in its group cut into slices half as
/// large. `None` if that slice is a single period.
pub(super) fn halved(
    groups: &[SliceGroup],
    from: usize,
) -> Result<Option<Vec<SliceGroup>>, JobError> {
    let mut before = 0_usize;
    for (index, group) in groups.iter().enumerate() {
        let slices = group.slices_len();
        let Some(done) = from.checked_sub(before).filter(|done| *done < slices) else {
            // A stored group can have any size.
            before = before.saturating_add(slices);
            continue;
        };
        let mut periods = group.periods()?;
        let done = done.saturating_mul(group.at_once()).min(periods.len());
        let rest = periods.split_off(done);
        let Some(first) = rest.first().filter(|_| group.at_once().min(rest.len()) > 1) else {
            return Ok(None);
        };
        let at_once = group.at_once().min(rest.len()).div_ceil(2);
        let mut cut = groups[..index].to_vec();
        if done > 0 {
            cut.push(SliceGroup { count: done, ..group.clone() });
        }
        cut.push(SliceGroup::new(group.work, *first, rest.len(), at_once));
        cut.extend_from_slice(&groups[index + 1..]);
        return Ok(Some(cut));
    }
    Ok(None)
}

/// The finer periods from which `period` is rolled up. `None` if they are past retention, so that the
/// period itself is counted.
fn finer(makers: &Makers, period: Period) -> Option<Vec<Period>> {
    let is_rolled_up = makers.of_period(period) == Maker::Rollup;
    Some(makers.finer(period)).filter(|finer| is_rolled_up && !finer.is_empty())
}

/// The periods that are computed for `asked`, by granularity: their finer periods, they themselves,
/// and the coarser ones above, which are refreshed.
#[must_use]
pub fn computed_for(makers: &Makers, asked: &[Period]) -> BTreeMap<Granularity, BTreeSet<Period>> {
    let mut computed: BTreeMap<Granularity, BTreeSet<Period>> = BTreeMap::new();
    let mut below: Vec<Period> = asked.to_vec();
    while let Some(period) = below.pop() {
        if computed.entry(period.granularity()).or_default().insert(period) {
            below.extend(finer(makers, period).into_iter().flatten());
        }
    }
    let mut above: Vec<Period> = asked.to_vec();
    while let Some(period) = above.pop() {
        for coarser in coarser_granularities(period.granularity()) {
            let coarser = Period::containing(*coarser, period.start());
            if makers.can_have_record(coarser) {
                computed.entry(coarser.granularity()).or_default().insert(coarser);
                above.push(coarser);
            }
        }
    }
    computed
}

/// What is computed for `asked`, in the order in which it is done.
pub(super) fn groups(makers: &Makers, asked: &[Period]) -> Vec<SliceGroup> {
    let mut groups = Vec::new();
    for (granularity, periods) in computed_for(makers, asked) {
        let (rolled_up, counted): (Vec<Period>, Vec<Period>) =
            periods.into_iter().partition(|period| finer(makers, *period).is_some());
        groups.extend(consecutive(Work::Count, &counted, counted_at_once(granularity)));
        groups.extend(consecutive(Work::RollUp, &rolled_up, ROLLED_UP_AT_ONCE));
    }
    groups
}

/// Groups of `periods`, which are in order. A new group starts after a gap.
fn consecutive(work: Work, periods: &[Period], at_once: usize) -> Vec<SliceGroup> {
    periods
        .chunk_by(|before, after| before.next() == *after)
        .filter_map(|run| Some(SliceGroup::new(work, *run.first()?, run.len(), at_once)))
        .collect()
}

/// How many periods are counted from the platform's items in one slice. They share their passes. What
/// they keep in memory, such as the distinct visitors of each, grows with the time that they span.
fn counted_at_once(granularity: Granularity) -> usize {
    match granularity {
        Granularity::Hourly => 48,
        Granularity::Daily => 2,
        Granularity::Weekly | Granularity::Monthly => 1,
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeZone, Utc};

    use super::*;
    use crate::metrics::retention::Retention;

    fn at(month: u32, day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap()
    }

    fn makers() -> Makers {
        Makers { begin: at(1, 1, 0), as_of: at(6, 10, 12), retention: Retention::default() }
    }

    fn from(granularity: Granularity, start: DateTime<Utc>, count: usize) -> Vec<Period> {
        let first = Period::containing(granularity, start);
        std::iter::successors(Some(first), |period| Some(period.next())).take(count).collect()
    }

    fn shape(groups: &[SliceGroup]) -> Vec<(Work, &'static str, usize)> {
        slices_of(groups)
            .unwrap()
            .iter()
            .map(|slice| (slice.work, slice.periods[0].granularity().name(), slice.periods.len()))
            .collect()
    }

    #[test]
    fn hours_are_counted_and_what_lies_above_is_refreshed() {
        let hours = from(Granularity::Hourly, at(5, 30, 0), 72);
        assert_eq!(
            shape(&groups(&makers(), &hours)),
            [
                (Work::Count, "hourly", 48),
                (Work::Count, "hourly", 24),
                (Work::RollUp, "daily", 3),
                // The week of 25 to 31 May is over, and that of 1 June, with the last hour's.
                (Work::RollUp, "weekly", 2),
                // May is over, June is not.
                (Work::RollUp, "monthly", 1),
            ]
        );
    }

    #[test]
    fn a_day_within_the_retention_of_hours_is_rolled_up_from_them() {
        let day = from(Granularity::Daily, at(6, 9, 0), 1);
        assert_eq!(
            shape(&groups(&makers(), &day)),
            [(Work::Count, "hourly", 24), (Work::RollUp, "daily", 1)]
        );
    }

    #[test]
    fn a_day_past_the_retention_of_hours_is_counted_itself() {
        let day = from(Granularity::Daily, at(3, 9, 0), 1);
        assert_eq!(
            shape(&groups(&makers(), &day)),
            [(Work::Count, "daily", 1), (Work::RollUp, "weekly", 1), (Work::RollUp, "monthly", 1)]
        );
    }

    #[test]
    fn what_is_counted_at_once_covers_little_time() {
        let groups = groups(&makers(), &from(Granularity::Daily, at(3, 2, 0), 5));
        let counted: Vec<usize> = shape(&groups)
            .iter()
            .filter(|(work, ..)| *work == Work::Count)
            .map(|(.., periods)| *periods)
            .collect();
        assert_eq!(counted, [2, 2, 1]);
    }

    #[test]
    fn a_group_ends_at_a_gap() {
        let mut hours = from(Granularity::Hourly, at(6, 1, 0), 3);
        hours.extend(from(Granularity::Hourly, at(6, 1, 5), 2));
        let groups = consecutive(Work::Count, &hours, 48);
        let again: Vec<Period> =
            slices_of(&groups).unwrap().into_iter().flat_map(|slice| slice.periods).collect();
        assert_eq!((groups.len(), again), (2, hours));
    }

    #[test]
    fn slices_are_halved_from_one_on() {
        let hours = from(Granularity::Hourly, at(5, 30, 0), 120);
        let groups = groups(&makers(), &hours);
        let all = |groups: &[SliceGroup]| -> Vec<Period> {
            slices_of(groups).unwrap().into_iter().flat_map(|slice| slice.periods).collect()
        };
        let sizes = |groups: &[SliceGroup]| -> Vec<usize> {
            shape(groups).iter().map(|(.., periods)| *periods).collect()
        };
        assert_eq!(sizes(&groups), [48, 48, 24, 5, 2, 1]);
        let once = halved(&groups, 1).unwrap().unwrap();
        assert_eq!(sizes(&once), [48, 24, 24, 24, 5, 2, 1]);
        let twice = halved(&once, 3).unwrap().unwrap();
        assert_eq!(sizes(&twice), [48, 24, 24, 12, 12, 5, 2, 1]);
        let odd = halved(&twice, 5).unwrap().unwrap();
        assert_eq!(sizes(&odd), [48, 24, 24, 12, 12, 3, 2, 2, 1]);
        assert_eq!(all(&odd), all(&groups));
        // One period cannot be halved, nor is there anything behind the last slice.
        for from in [8, 9, 1000] {
            assert_eq!(halved(&odd, from).unwrap(), None, "{from}");
        }
    }

    #[test]
    fn a_damaged_group_is_an_error() {
        let hour = Period::containing(Granularity::Hourly, at(6, 1, 0));
        let good = SliceGroup::new(Work::Count, hour, 3, 2);
        for damaged in [
            SliceGroup { granularity: "yearly".to_owned(), ..good.clone() },
            SliceGroup { first: "yesterday".to_owned(), ..good.clone() },
            SliceGroup { count: usize::MAX, ..good.clone() },
        ] {
            assert!(slices_of(std::slice::from_ref(&damaged)).is_err(), "{damaged:?}");
        }
        let none_at_once = SliceGroup { at_once: 0, ..good };
        assert_eq!(slices_of(&[none_at_once]).unwrap().len(), 3);
    }
}
