//! From a change of an item to deltas: by how much which metric's sum changes in which hour.
//!
//! An image of an item contributes to a metric nothing, or a value at a time, as a row does in
//! [`crate::metrics::fold`]. A change takes away what the old image contributed and adds what the new one
//! contributes:
//!
//! | window | old image | new image |
//! |---|---|---|
//! | `to_date`, `now` | leaves when the table changed | arrives at its time if the item is new or the change has set its time; otherwise when the table changed |
//! | `period`, modified or inserted | leaves at its time | arrives at its time |
//! | `period`, removed | leaves at its time if its hour is not over; otherwise it has happened | |
//!
//! The value of a stock at the end of an hour is the sum of all deltas up to it, that of a flow the sum of
//! the deltas in it. What ends at a known time, by an `after_period` condition or by its time to live,
//! leaves at that time by itself; an earlier change takes this back.

mod timed;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{
    catalogue::{
        Catalogue,
        definition::{Measure, Metric, Rows, Source, Window},
    },
    fold::contribution::Contribution,
    row::present,
};

use timed::{Timed, timed};

/// An hour, by its number since 1970.
pub type Hour = i64;

/// The hour that `instant` lies in. A leap second belongs to the minute that it ends.
///
/// ```
/// # use edge_analytics::metrics::delta::hour_of;
/// assert_eq!(hour_of("1970-01-02T00:59:59.9995Z".parse().unwrap()), 24);
/// assert_eq!(hour_of("1970-01-02T01:00:00Z".parse().unwrap()), 25);
/// ```
#[must_use]
pub fn hour_of(instant: DateTime<Utc>) -> Hour {
    instant.timestamp().div_euclid(3600)
}

/// A change of one item.
#[derive(Debug, Clone, Copy)]
pub struct Change<'item> {
    /// The item before; `None` where it was inserted.
    pub old: Option<&'item Item>,
    /// The item after; `None` where it was removed.
    pub new: Option<&'item Item>,
    /// When the table changed.
    pub committed: DateTime<Utc>,
}

/// The sum of a metric changes in an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta<'catalogue> {
    /// The metric.
    pub metric: &'catalogue Metric,
    /// The hour.
    pub hour: Hour,
    /// What changes.
    pub part: DeltaPart<'catalogue>,
    /// By how many items; negative where they leave.
    pub count: i64,
    /// By which amount; zero for a measure that only counts.
    pub sum: Decimal,
}

/// What of a metric changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaPart<'catalogue> {
    /// Its number, or its mean.
    Whole,
    /// The number of a group.
    Group(&'catalogue str),
    /// How many items have this value of those that are counted once.
    Value(String),
    /// A ranking: it is to be made again from the rows of the hour.
    Ranking,
}

/// The deltas of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deltas<'catalogue> {
    /// The deltas, none of which is zero.
    pub deltas: Vec<Delta<'catalogue>>,
    /// The metrics for which the item became malformed (1), or no longer is (-1).
    pub malformed: BTreeMap<&'catalogue str, i64>,
}

impl Deltas<'_> {
    /// The deltas that take these back.
    #[must_use]
    pub fn negated(mut self) -> Self {
        for delta in &mut self.deltas {
            delta.count = -delta.count;
            delta.sum = -delta.sum;
        }
        for by in self.malformed.values_mut() {
            *by = -*by;
        }
        self
    }
}

/// A metric and a source that it reads.
#[derive(Debug, Clone, Copy)]
struct Reader<'catalogue> {
    metric: &'catalogue Metric,
    rows: &'catalogue Rows,
    source: &'catalogue Source,
    source_name: &'catalogue str,
}

/// Makes the deltas of changes for some metrics.
#[derive(Debug, Clone)]
pub struct DeltaMaker<'catalogue> {
    catalogue: &'catalogue Catalogue,
    readers: Vec<Reader<'catalogue>>,
}

/// The partition of the source in which the image lies: its position in the list, or `None` where the
/// image is not in the source. An index has an item that has both of its key attributes.
#[must_use]
pub fn partition_of(source: &Source, image: &Item) -> Option<usize> {
    let [partition_key, sort_key] = &source.keys;
    let Some(AttributeValue::S(partition)) = image.get(partition_key) else { return None };
    image.get(sort_key)?;
    source.partitions.iter().position(|one| one == partition)
}

impl<'catalogue> DeltaMaker<'catalogue> {
    /// A maker for `metrics` of the catalogue. Departures have no deltas: they follow from others.
    #[must_use]
    pub fn new(
        catalogue: &'catalogue Catalogue,
        metrics: impl IntoIterator<Item = &'catalogue Metric>,
    ) -> Self {
        let mut readers = Vec::new();
        for metric in metrics {
            let Some(rows) = metric.rows() else { continue };
            for (_, source_name) in metric.source_names() {
                if let Some(source) = catalogue.source(source_name) {
                    readers.push(Reader { metric, rows, source, source_name });
                }
            }
        }
        Self { catalogue, readers }
    }

    /// The deltas of a change.
    #[must_use]
    pub fn of(&self, change: &Change<'_>) -> Deltas<'catalogue> {
        let mut found = Deltas::default();
        if change.old != change.new {
            for reader in &self.readers {
                self.add(reader, change, &mut found);
            }
        }
        found
    }

    /// The deltas by which a row that was read from the source at `read` enters the sums: as if the item
    /// had been there since its time.
    #[must_use]
    pub fn of_row(&self, source: &str, row: &Item, read: DateTime<Utc>) -> Deltas<'catalogue> {
        let mut found = Deltas::default();
        let change = Change { old: None, new: Some(row), committed: read };
        for reader in self.readers.iter().filter(|reader| reader.source_name == source) {
            self.add(reader, &change, &mut found);
        }
        found
    }

    fn add(
        &self,
        reader: &Reader<'catalogue>,
        change: &Change<'_>,
        found: &mut Deltas<'catalogue>,
    ) {
        let mut malformed = 0;
        let mut sides = [(change.old, -1), (change.new, 1)].map(|(image, sign)| {
            let image = image.filter(|image| partition_of(reader.source, image).is_some())?;
            let found = timed(self.catalogue, reader.metric, reader.rows, image, change.committed);
            found.unwrap_or_else(|_| {
                malformed += sign;
                None
            })
        });
        let (old, new) = (sides[0].take(), sides[1].take());
        if malformed != 0 {
            *found.malformed.entry(&reader.metric.name).or_default() += malformed;
        }
        if old != new {
            let mut steps = Steps { metric: reader.metric, deltas: Vec::new() };
            match reader.rows.window {
                Window::Period => steps.flow(old.as_ref(), new.as_ref(), change),
                Window::ToDate | Window::Now => {
                    steps.stock(reader.rows, old.as_ref(), new.as_ref(), change);
                }
            }
            found.deltas.extend(steps.deltas);
        }
    }
}

/// The deltas of one metric, of which none is zero.
struct Steps<'catalogue> {
    metric: &'catalogue Metric,
    deltas: Vec<Delta<'catalogue>>,
}

impl<'catalogue> Steps<'catalogue> {
    fn flow(&mut self, old: Option<&Timed<'_>>, new: Option<&Timed<'_>>, change: &Change<'_>) {
        let is_distinct = matches!(self.metric.measure, Measure::CountDistinct { .. });
        let now = hour_of(change.committed);
        if let Some((old, hour)) = old.and_then(|old| Some((old, hour_of(old.at?)))) {
            // Who was seen in an hour was seen, also if they are seen again later.
            let stays = now > hour && (change.new.is_none() || is_distinct);
            let is_same = is_distinct
                && new
                    .is_some_and(|new| new.at.map(hour_of) == Some(hour) && new.value == old.value);
            if is_same {
                return;
            }
            if !stays {
                self.push(&old.value, hour, -1);
            }
        }
        if let Some((new, at)) = new.and_then(|new| Some((new, new.at?))) {
            self.push(&new.value, hour_of(at), 1);
        }
    }

    fn stock(
        &mut self,
        rows: &'catalogue Rows,
        old: Option<&Timed<'_>>,
        new: Option<&Timed<'_>>,
        change: &Change<'_>,
    ) {
        let now = hour_of(change.committed);
        if let Some(old) = old {
            self.level(old, old.at.map_or(now, hour_of).max(now), -1);
        }
        let Some(new) = new else { return };
        let from = match new.at {
            None => now,
            Some(at) => {
                let is_set_now = old.is_none() && sets_time(rows, change);
                if is_set_now { hour_of(at) } else { hour_of(at).max(now) }
            }
        };
        self.level(new, from, 1);
    }

    /// The value counts from an hour on, until it leaves by itself.
    fn level(&mut self, timed: &Timed<'_>, from: Hour, sign: i64) {
        let until = timed.until.map(hour_of);
        if until.is_some_and(|until| until <= from) {
            return;
        }
        self.push(&timed.value, from, sign);
        if let Some(until) = until {
            self.push(&timed.value, until, -sign);
        }
    }

    fn push(&mut self, value: &Contribution<'_>, hour: Hour, sign: i64) {
        let metric = self.metric;
        let (part, sum) = match value {
            Contribution::Nothing => return,
            Contribution::Row => (DeltaPart::Whole, Decimal::ZERO),
            Contribution::Group(name) => match group_name(metric, name) {
                Some(name) => (DeltaPart::Group(name), Decimal::ZERO),
                None => return,
            },
            Contribution::Value(value) => (DeltaPart::Value((*value).to_owned()), Decimal::ZERO),
            Contribution::Amount(amount) => {
                (DeltaPart::Whole, if sign < 0 { -*amount } else { *amount })
            }
            Contribution::Target(_) => (DeltaPart::Ranking, Decimal::ZERO),
        };
        let same = self.deltas.iter_mut().find(|one| one.hour == hour && one.part == part);
        match same {
            // What arrives and leaves in the same hour.
            Some(delta) if part != DeltaPart::Ranking => {
                delta.count += sign;
                delta.sum += sum;
                self.deltas.retain(|delta| delta.count != 0 || !delta.sum.is_zero());
            }
            Some(_) => {}
            None => self.deltas.push(Delta { metric, hour, part, count: sign, sum }),
        }
    }
}

/// Whether the item is new, or the change has set the attribute that holds its time. A time that is
/// another one because an attribute was removed was not set.
fn sets_time(rows: &Rows, change: &Change<'_>) -> bool {
    let (Some(old), Some(new)) = (change.old, change.new) else { return true };
    let attribute = rows.time.iter().find(|attribute| present(new, attribute).is_some());
    attribute.is_some_and(|attribute| present(old, attribute) != present(new, attribute))
}

/// The group's name as the catalogue has it.
fn group_name<'catalogue>(metric: &'catalogue Metric, name: &str) -> Option<&'catalogue str> {
    metric.by()?.groups.get_key_value(name).map(|(name, _)| name.as_str())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
