//! Makers: whether a record is counted from items, rolled up, or kept. Only this module decides it.
//!
//! | maker | what it makes |
//! |---|---|
//! | items ([`Maker::Items`]) | every hour; a day, week or month whose finer records are past retention; within a rolled-up record, a ranking that is not certain after merging |
//! | rollup ([`Maker::Rollup`]) | every other day, from its hours; every other week and month, from its days |
//! | none ([`Decision::Keep`]) | a record that could only be counted from items again, is complete, and is neither requested nor stale |
//!
//! Scheduled runs, refreshes and recalculations use its decisions. A record has the maker that
//! computed it ([`MadeBy`]).

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::metrics::{
    catalogue::definition::{Metric, Past},
    part::Part,
    period::{Granularity, Period},
    record::{Coverage, Record},
    retention::Retention,
    rollup::finer_periods,
};

/// How a value is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Counted from the platform's items.
    Items,
    /// Rolled up from the records of finer periods.
    Rollup,
}

impl Maker {
    /// Its name in records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Items => "items",
            Self::Rollup => "rollup",
        }
    }

    /// The maker with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Items, Self::Rollup].into_iter().find(|maker| maker.name() == name)
    }

    /// The maker of a stored record that does not name one. Older builds did not name it; a record
    /// that they counted from items has no coverage.
    #[must_use]
    pub fn unnamed(coverage: Option<Coverage>) -> Self {
        if coverage.is_some() { Self::Rollup } else { Self::Items }
    }

    /// Whether a record of `granularity` must name this maker. Most need not: hours are counted, other
    /// periods are rolled up, and an item is written by the kilobyte.
    #[must_use]
    pub fn is_named(self, granularity: Granularity, coverage: Option<Coverage>) -> bool {
        let usual = if granularity == Granularity::Hourly { Self::Items } else { Self::Rollup };
        self != usual || self != Self::unnamed(coverage)
    }
}

/// The makers of a record and of its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeBy {
    /// The maker of all metrics but these.
    pub maker: Maker,
    /// The metrics of the other maker: a ranking that was counted for a rolled-up record, or a
    /// value that was kept when the others were recomputed.
    pub others: BTreeSet<String>,
}

impl From<Maker> for MadeBy {
    fn from(maker: Maker) -> Self {
        Self { maker, others: BTreeSet::new() }
    }
}

impl MadeBy {
    /// The maker of one metric.
    #[must_use]
    pub fn maker_of(&self, metric: &str) -> Maker {
        match (self.maker, self.others.contains(metric)) {
            (maker, false) => maker,
            (Maker::Items, true) => Maker::Rollup,
            (Maker::Rollup, true) => Maker::Items,
        }
    }

    /// Notes the maker of the metric.
    pub fn note(&mut self, metric: &str, maker: Maker) {
        if maker == self.maker {
            self.others.remove(metric);
        } else {
            self.others.insert(metric.to_owned());
        }
    }

    /// The same for a record that has these metrics: if the other maker made all of them, it is the
    /// record's maker.
    #[must_use]
    pub(crate) fn of_metrics<'name>(
        self,
        mut metrics: impl Iterator<Item = &'name String>,
    ) -> Self {
        match self.others.first().map(|name| self.maker_of(name)) {
            Some(other) if metrics.all(|name| self.others.contains(name)) => other.into(),
            _ => self,
        }
    }
}

/// What a run does with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This maker computes it.
    Make(Maker),
    /// The stored record stays.
    Keep,
}

/// The facts that decide which maker applies.
#[derive(Debug, Clone, Copy)]
pub struct Makers {
    /// The start of the first counted hour.
    pub begin: DateTime<Utc>,
    /// The instant of the decision, such as the scheduled time of a run.
    pub as_of: DateTime<Utc>,
    /// How long records are kept.
    pub retention: Retention,
}

impl Makers {
    /// Whether `period` can have a record: it has ended, not before the first counted hour, and is within
    /// retention.
    #[must_use]
    pub fn can_have_record(&self, period: Period) -> bool {
        period.end() < self.as_of
            && period.end() >= self.begin
            && !self.retention.has_ended(period, self.as_of)
    }

    /// The maker of the records of `period`.
    ///
    /// A period is rolled up while the records of all its finer periods since the first counted
    /// hour are within retention. A missing one is computed first.
    #[must_use]
    pub fn of_period(&self, period: Period) -> Maker {
        let is_gone = |finer: &Period| self.retention.has_ended(*finer, self.as_of);
        if period.granularity() == Granularity::Hourly || self.finer(period).iter().any(is_gone) {
            Maker::Items
        } else {
            Maker::Rollup
        }
    }

    /// What a run does with the record of one type in `period`, if this record is `stored`. It
    /// `is_requested` if a recalculation requested it or it is stale.
    #[must_use]
    pub fn of_record(
        &self,
        period: Period,
        stored: Option<&Record>,
        is_requested: bool,
    ) -> Decision {
        let maker = self.of_period(period);
        let is_counted_again = maker == Maker::Items && period.granularity() != Granularity::Hourly;
        if is_counted_again && !is_requested && self.is_complete(period, stored) {
            Decision::Keep
        } else {
            Decision::Make(maker)
        }
    }

    fn is_complete(&self, period: Period, stored: Option<&Record>) -> bool {
        let finer = self.finer(period).len();
        stored.is_some_and(|record| record.coverage.is_none_or(|of| of.present >= finer))
    }

    /// The finer periods of `period` that have records: those since the first counted hour.
    #[must_use]
    pub fn finer(&self, period: Period) -> Vec<Period> {
        let mut finer = finer_periods(period);
        finer.retain(|finer| finer.end() >= self.begin);
        finer
    }
}

/// The maker of one metric of a rolled-up record: a ranking that is not certain, because its parts
/// have dropped targets, must be counted from items.
#[must_use]
pub(crate) fn of_metric(metric: &Metric, rolled_up: &Record) -> Maker {
    let part = rolled_up.parts.get(&metric.name);
    let is_open = metric.past() != Past::Nothing
        && !rolled_up.metrics.contains_key(&metric.name)
        && matches!(part, Some(Part::Targets(ranking)) if ranking.cutoff > 0);
    if is_open { Maker::Items } else { Maker::Rollup }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn makers() -> Makers {
        Makers {
            begin: instant("2026-03-02T05:00:00Z"),
            as_of: instant("2026-04-10T05:05:00Z"),
            retention: Retention { hourly: 30, daily: 365, weekly: 730, monthly: 0 },
        }
    }

    fn period(granularity: Granularity, start: &str) -> Period {
        Period::containing(granularity, instant(start))
    }

    fn record(period: Period, coverage: Option<Coverage>) -> Record {
        Record {
            metric_type: "users".to_owned(),
            period,
            metrics: serde_json::Map::new(),
            parts: BTreeMap::new(),
            calculated_at: period.end(),
            coverage,
            reconstructed: BTreeMap::new(),
            made_by: Maker::Items.into(),
        }
    }

    #[test]
    fn a_period_is_rolled_up_while_its_finer_records_are_within_retention() {
        for (granularity, start, maker) in [
            (Granularity::Hourly, "2026-04-09T23:00:00Z", Maker::Items),
            (Granularity::Daily, "2026-04-09T00:00:00Z", Maker::Rollup),
            // Its hours are past their 30 days.
            (Granularity::Daily, "2026-03-10T00:00:00Z", Maker::Items),
            // Its first hour is, its last is not.
            (Granularity::Daily, "2026-03-11T00:00:00Z", Maker::Items),
            (Granularity::Daily, "2026-03-12T00:00:00Z", Maker::Rollup),
            // Its days are there for a year.
            (Granularity::Weekly, "2026-03-09T00:00:00Z", Maker::Rollup),
            (Granularity::Monthly, "2026-03-01T00:00:00Z", Maker::Rollup),
            // Before the first counted hour there is nothing to be past retention.
            (Granularity::Daily, "2026-02-01T00:00:00Z", Maker::Rollup),
        ] {
            let period = period(granularity, start);
            assert_eq!(makers().of_period(period), maker, "{granularity} {start}");
        }
    }

    #[test]
    fn only_a_complete_record_that_is_not_requested_is_kept() {
        let old = period(Granularity::Daily, "2026-03-10T00:00:00Z");
        let recent = period(Granularity::Daily, "2026-04-09T00:00:00Z");
        let whole = Some(Coverage { present: 24, expected: 24 });
        let short = Some(Coverage { present: 23, expected: 24 });
        let make = Decision::Make;
        for (period, coverage, is_requested, expected) in [
            (old, Some(whole), false, Decision::Keep),
            (old, Some(None), false, Decision::Keep),
            (old, Some(short), false, make(Maker::Items)),
            (old, Some(whole), true, make(Maker::Items)),
            (old, None, false, make(Maker::Items)),
            (recent, Some(whole), false, make(Maker::Rollup)),
            (recent, None, true, make(Maker::Rollup)),
        ] {
            let stored = coverage.map(|coverage| record(period, coverage));
            let decision = makers().of_record(period, stored.as_ref(), is_requested);
            assert_eq!(decision, expected, "{period:?} {coverage:?} {is_requested}");
        }
        // Of the first day, 19 hours are since the first counted hour.
        let first = period(Granularity::Daily, "2026-03-02T00:00:00Z");
        assert_eq!(makers().finer(first).len(), 19);
        let stored = record(first, Some(Coverage { present: 19, expected: 24 }));
        assert_eq!(makers().of_record(first, Some(&stored), false), Decision::Keep);
    }

    #[test]
    fn a_record_names_the_metrics_of_the_other_maker() {
        let mut made_by = MadeBy::from(Maker::Rollup);
        made_by.note("mostEngaged", Maker::Items);
        made_by.note("newLikes", Maker::Rollup);
        assert_eq!(made_by.others, BTreeSet::from(["mostEngaged".to_owned()]));
        assert_eq!(made_by.maker_of("mostEngaged"), Maker::Items);
        assert_eq!(made_by.maker_of("newLikes"), Maker::Rollup);
        let names = ["mostEngaged".to_owned(), "newLikes".to_owned()];
        assert_eq!(made_by.clone().of_metrics(names.iter()), made_by);
        let only = made_by.clone().of_metrics(names[..1].iter());
        assert_eq!(only, Maker::Items.into());
        made_by.note("mostEngaged", Maker::Rollup);
        assert_eq!(made_by, Maker::Rollup.into());
    }
}
