//! The state of one metric in one span while rows are added, and its value at the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::{FoldError, MetricOutcome, contribution::Contribution};
use crate::metrics::{
    catalogue::definition::{Measure, Metric},
    numbers,
    ordered::Ordered,
    part::Part,
    ranking::{Ranking, Shares, list_targets},
    sketch::Distinct,
};

/// The state of one metric in one span.
#[derive(Debug, Clone)]
pub(super) enum Accumulator {
    Count(u64),
    CountBy(BTreeMap<String, u64>),
    Distinct(HashSet<String>),
    Sum {
        sum: Decimal,
        count: u64,
        overflown: bool,
    },
    /// The rows of each target, by share.
    Top(HashMap<Vec<String>, Shares>),
}

impl Accumulator {
    /// The state before the first row.
    pub(super) fn new(metric: &Metric) -> Self {
        match &metric.measure {
            Measure::Count { by: Some(by), .. } => {
                Self::CountBy(by.groups.keys().map(|name| (name.clone(), 0)).ordered_map())
            }
            Measure::Count { .. } | Measure::Departures { .. } => Self::Count(0),
            Measure::CountDistinct { .. } => Self::Distinct(HashSet::new()),
            Measure::Sum { .. } | Measure::Avg { .. } => {
                Self::Sum { sum: Decimal::ZERO, count: 0, overflown: false }
            }
            Measure::Top { .. } => Self::Top(HashMap::new()),
        }
    }

    /// Adds the contribution of one row. `share` is that of the source that the row comes from.
    pub(super) fn add(&mut self, contribution: &Contribution<'_>, share: &str) {
        match (self, contribution) {
            (Self::Count(count), Contribution::Row) => *count += 1,
            (Self::CountBy(counts), Contribution::Group(name)) => {
                *counts.entry((*name).to_owned()).or_default() += 1;
            }
            (Self::Distinct(values), Contribution::Value(value)) if !values.contains(*value) => {
                values.insert((*value).to_owned());
            }
            (Self::Sum { sum, count, overflown }, Contribution::Amount(amount)) => {
                match numbers::add(*sum, *amount) {
                    Some(total) => *sum = total,
                    None => *overflown = true,
                }
                *count += 1;
            }
            (Self::Top(targets), Contribution::Target(key)) => {
                let key = key.iter().map(|part| (*part).to_owned()).collect();
                let shares = targets.entry(key).or_default();
                *shares.entry(share.to_owned()).or_default() += 1;
            }
            // A value that is in the set already. Other pairs do not occur: a measure has one kind
            // of contribution.
            _ => {}
        }
    }

    /// Adds the state of the same metric and span in another pass.
    pub(super) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(mine), Self::Count(theirs)) => *mine += theirs,
            (Self::CountBy(mine), Self::CountBy(theirs)) => add_counts(mine, theirs),
            (Self::Distinct(mine), Self::Distinct(theirs)) => mine.extend(theirs),
            (
                Self::Sum { sum, count, overflown },
                Self::Sum { sum: other, count: others, overflown: too },
            ) => {
                match numbers::add(*sum, other) {
                    Some(total) => *sum = total,
                    None => *overflown = true,
                }
                *count += others;
                *overflown |= too;
            }
            (Self::Top(mine), Self::Top(theirs)) => {
                for (target, shares) in theirs {
                    add_counts(mine.entry(target).or_default(), shares);
                }
            }
            // Does not occur: folds of one metric have the same kind of state.
            _ => {}
        }
    }

    /// The value, and what coarser periods need.
    ///
    /// # Errors
    ///
    /// [`FoldError`] when the value cannot be exact.
    pub(super) fn finish(self, metric: &Metric) -> Result<MetricOutcome, FoldError> {
        Ok(match self {
            Self::Count(count) => MetricOutcome { value: Some(count.into()), part: None },
            Self::CountBy(counts) => {
                let mut object = Map::new();
                object.extend(counts.into_iter().map(|(name, count)| (name, count.into())));
                MetricOutcome { value: Some(Json::Object(object)), part: None }
            }
            Self::Distinct(values) => {
                // Sorted, so that the same values always give the same bytes.
                let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
                values.sort_unstable();
                let set = Distinct::of(values.iter().copied())?;
                MetricOutcome { value: Some(values.len().into()), part: Some(Part::distinct(&set)) }
            }
            Self::Sum { overflown: true, .. } => {
                return Err(FoldError::Overflow { metric: metric.name.clone() });
            }
            Self::Sum { sum, count, .. } if matches!(metric.measure, Measure::Avg { .. }) => {
                let mean = sum.checked_div(Decimal::from(count));
                MetricOutcome {
                    value: mean.map(numbers::to_json),
                    part: Some(Part::average(sum, count)),
                }
            }
            Self::Sum { sum, .. } => {
                MetricOutcome { value: Some(numbers::to_json(sum)), part: None }
            }
            Self::Top(targets) => {
                let Measure::Top { tie, .. } = metric.measure else {
                    return Ok(MetricOutcome::default());
                };
                let mut ranking = Ranking::of(targets, tie);
                // From the whole ranking, before it is shortened for the record.
                let value = list_targets(metric, &ranking);
                ranking.drop_the_tail();
                MetricOutcome { value, part: Some(Part::Targets(ranking)) }
            }
        })
    }
}

fn add_counts(mine: &mut BTreeMap<String, u64>, theirs: BTreeMap<String, u64>) {
    for (name, count) in theirs {
        *mine.entry(name).or_default() += count;
    }
}
