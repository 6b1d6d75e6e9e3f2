//! How far each type is complete. A type that fails for weeks must not cost more than itself: the
//! others are complete up to now, and only what it lacks is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
    },
    store::run_state::Progress,
};

use super::report::PeriodReport;

/// The types that periods lack or may lack.
pub(super) type Lacking<'name> = BTreeMap<Period, BTreeSet<&'name str>>;

impl Progress {
    /// The period up to which all records of the type are complete. For a type that the run state does
    /// not name, it is the watermark of all types.
    #[must_use]
    pub fn watermark_of(&self, name: &str, granularity: Granularity) -> Option<Period> {
        match self.complete_by_type.get(name) {
            Some(start) => Some(Period::containing(granularity, parse_instant(start)?)),
            None => self.watermark(granularity),
        }
    }

    /// For each period from `first` to before `end` the types that may lack a record.
    pub(super) fn unknown<'name>(
        &self,
        types: &BTreeSet<&'name str>,
        first: Period,
        end: Period,
    ) -> Lacking<'name> {
        let mut lacking = Lacking::new();
        for name in types {
            let from = self.watermark_of(name, end.granularity()).map_or(first, Period::next);
            for period in periods_between(from, end) {
                lacking.entry(period).or_default().insert(*name);
            }
        }
        lacking
    }

    /// Notes how far each of `types` is complete after the run of `own`, where `first` contains the
    /// first counted hour. The watermark of all types is the earliest.
    pub(super) fn note_complete(
        &mut self,
        types: &BTreeSet<&str>,
        first: Period,
        own: Period,
        lacking: &Lacking<'_>,
    ) {
        let mut reached = BTreeMap::new();
        for name in types {
            let hole = lacking.iter().find(|(_, names)| names.contains(name));
            let now = hole.map_or(own, |(period, _)| period.previous());
            let now = (now >= first).then_some(now);
            reached.insert(*name, now.max(self.watermark_of(name, own.granularity())));
        }
        let least = reached.values().min().copied().flatten();
        let start = |period: Period| format_instant(period.start());
        self.watermark = least.map(start);
        self.complete_by_type = reached
            .into_iter()
            .filter(|(_, reached)| *reached > least)
            .filter_map(|(name, reached)| Some((name.to_owned(), start(reached?))))
            .ordered_map();
    }
}

/// The periods from `first` to before `end`.
pub(super) fn periods_between(first: Period, end: Period) -> impl Iterator<Item = Period> {
    std::iter::successors(Some(first), |period| Some(period.next()))
        .take_while(move |period| *period < end)
}

/// Keeps the types of each period for which `is_kept`, and no period without a type.
pub(super) fn keep(lacking: &mut Lacking<'_>, is_kept: impl Fn(Period, &str) -> bool) {
    lacking.retain(|period, names| {
        names.retain(|name| is_kept(*period, name));
        !names.is_empty()
    });
}

/// Removes from `lacking` what the period's report says was computed of `types`.
pub(super) fn note_computed(
    lacking: &mut Lacking<'_>,
    types: &BTreeSet<&str>,
    report: &PeriodReport,
) {
    if let Some(names) = lacking.get_mut(&report.period) {
        names.retain(|name| !types.contains(name) || report.lacks(name));
        if names.is_empty() {
            lacking.remove(&report.period);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(number: u32) -> Period {
        let start = format!("2026-05-31T{number:02}:00:00Z");
        Period::containing(Granularity::Hourly, start.parse().unwrap())
    }

    fn start(number: u32) -> String {
        format!("2026-05-31T{number:02}:00:00.000Z")
    }

    #[test]
    fn the_watermark_is_the_least_and_what_is_ahead_is_named() {
        let types = BTreeSet::from(["albums", "media", "users"]);
        let mut progress = Progress { watermark: Some(start(3)), ..Progress::default() };
        let unknown = progress.unknown(&types, hour(0), hour(6));
        assert_eq!(unknown.keys().copied().collect::<Vec<_>>(), [hour(4), hour(5)]);
        assert!(unknown.values().all(|names| *names == types));

        let lacking = Lacking::from([(hour(5), BTreeSet::from(["media"]))]);
        progress.note_complete(&types, hour(0), hour(6), &lacking);
        assert_eq!(progress.watermark, Some(start(4)));
        let ahead =
            BTreeMap::from([("albums".to_owned(), start(6)), ("users".to_owned(), start(6))]);
        assert_eq!(progress.complete_by_type, ahead);
        let unknown = progress.unknown(&types, hour(0), hour(8));
        assert_eq!(unknown[&hour(5)], BTreeSet::from(["media"]));
        assert_eq!(unknown[&hour(6)], BTreeSet::from(["media"]));
        assert_eq!(unknown[&hour(7)], types);

        // A type that was removed from the catalogue does not hold the watermark back.
        let types = BTreeSet::from(["albums", "users"]);
        progress.note_complete(&types, hour(0), hour(7), &Lacking::new());
        assert_eq!(progress.watermark, Some(start(7)));
        assert!(progress.complete_by_type.is_empty());
    }

    #[test]
    fn a_type_that_never_had_a_record_is_unknown_from_the_first_hour() {
        let types = BTreeSet::from(["media", "users"]);
        let mut progress = Progress::default();
        let lacking = Lacking::from([(hour(2), BTreeSet::from(["media"]))]);
        progress.note_complete(&types, hour(2), hour(2), &lacking);
        assert_eq!(progress.watermark, None);
        let unknown = progress.unknown(&types, hour(2), hour(4));
        assert_eq!(unknown[&hour(2)], BTreeSet::from(["media"]));
        assert_eq!(unknown[&hour(3)], types);
    }
}
