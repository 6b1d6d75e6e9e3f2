//! Folding rows into metrics: one row at a time, for several spans of time at once.
//!
//! A fold computes one metric from the rows of one pass; the folds of a metric that is read in
//! several passes are merged, then finished.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::{
    catalogue::{
        Catalogue,
        definition::{Absent, Condition, Measure, Metric, Value, Window},
    },
    dynamodb::{AttributeValue, Item, text},
    numbers,
    part::Part,
    period::{Span, parse_instant},
    ranking::{Ranking, Shares},
    sketch::{Distinct, SketchError},
};

/// What a metric came to in one span.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The value; absent where the metric has none for this span.
    pub value: Option<Json>,
    /// What a coarser period needs besides the value.
    pub part: Option<Part>,
}

/// A metric could not be computed from the rows.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FoldError {
    /// The sum left the range of 96-bit decimals.
    #[error("the sum of {metric} is too large to be exact")]
    Overflow {
        /// The metric.
        metric: String,
    },
    /// The sketch of distinct values failed.
    #[error(transparent)]
    Sketch(#[from] SketchError),
}

/// The state of one metric, one span.
#[derive(Debug, Clone)]
enum Accumulator {
    Count(u64),
    CountBy(BTreeMap<String, u64>),
    Distinct(HashSet<String>),
    Sum {
        sum: Decimal,
        count: u64,
        overflown: bool,
    },
    /// Rows of each target, by share.
    Top(HashMap<Vec<String>, Shares>),
}

/// One metric over the rows of one pass.
#[derive(Debug, Clone)]
pub struct Fold<'catalogue> {
    catalogue: &'catalogue Catalogue,
    metric: &'catalogue Metric,
    /// For `top`: which share the rows of this pass count for.
    share: &'catalogue str,
    spans: Vec<(Span, Accumulator)>,
    malformed: u64,
}

/// Why a row gives nothing.
enum Reject {
    /// It does not concern the metric.
    Skip,
    /// An attribute is not what it should be.
    Malformed,
}

impl<'catalogue> Fold<'catalogue> {
    /// A fold of `metric` for `spans`, which may overlap, before the first row.
    #[must_use]
    pub fn new(
        catalogue: &'catalogue Catalogue,
        metric: &'catalogue Metric,
        share: &'catalogue str,
        spans: &[Span],
    ) -> Self {
        let start = || match (metric.measure, &metric.by) {
            (Measure::Count, Some(by)) => {
                Accumulator::CountBy(by.groups.keys().map(|name| (name.clone(), 0)).collect())
            }
            (Measure::Count | Measure::Departures, _) => Accumulator::Count(0),
            (Measure::CountDistinct, _) => Accumulator::Distinct(HashSet::new()),
            (Measure::Sum | Measure::Avg, _) => {
                Accumulator::Sum { sum: Decimal::ZERO, count: 0, overflown: false }
            }
            (Measure::Top, _) => Accumulator::Top(HashMap::new()),
        };
        let spans = spans.iter().map(|span| (*span, start())).collect();
        Self { catalogue, metric, share, spans, malformed: 0 }
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> &'catalogue Metric {
        self.metric
    }

    /// How many rows were left out because an attribute was malformed.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The attributes that a fold of `metric` looks at.
    pub fn attributes(metric: &Metric) -> impl Iterator<Item = &str> {
        let value = metric.value.iter().map(|value| match value {
            Value::Attribute(attribute)
            | Value::Money { money: attribute }
            | Value::Lookup { attribute, .. } => attribute.as_str(),
        });
        metric
            .conditions
            .keys()
            .chain(&metric.time)
            .chain(&metric.key)
            .chain(metric.by.iter().map(|by| &by.attribute))
            .map(String::as_str)
            .chain(value)
    }

    /// Takes in one row.
    pub fn add(&mut self, row: &Item) {
        if let Err(Reject::Malformed) = self.try_add(row) {
            self.malformed += 1;
        }
    }

    fn try_add(&mut self, row: &Item) -> Result<(), Reject> {
        let metric = self.metric;
        if !metric.conditions.iter().all(|(name, condition)| holds(condition, row.get(name))) {
            return Err(Reject::Skip);
        }
        // What is compared with the span's end differs by span; here it is only read.
        let mut after = None;
        for (attribute, condition) in &metric.conditions {
            if matches!(condition, Condition::AfterPeriod { .. }) {
                after = present_instant(row, attribute)?;
            }
        }
        let time = match metric.window {
            Some(Window::Period | Window::ToDate) => Some(self.time_of(row)?),
            Some(Window::Now) | None => None,
        };
        for index in 0..self.spans.len() {
            let span = self.spans[index].0;
            let counts = match (metric.window, time) {
                (Some(Window::Period), Some(time)) => span.contains(time),
                (Some(Window::ToDate), Some(time)) => time <= span.end,
                _ => true,
            };
            if counts && after.is_none_or(|after| after > span.end) {
                self.accumulate(index, row)?;
            }
        }
        Ok(())
    }

    fn absent(&self) -> Reject {
        match self.metric.absent {
            Absent::Malformed => Reject::Malformed,
            Absent::Skip => Reject::Skip,
        }
    }

    /// The row's time: the first of the metric's time attributes that is there.
    fn time_of(&self, row: &Item) -> Result<DateTime<Utc>, Reject> {
        for attribute in &self.metric.time {
            if let Some(time) = present_instant(row, attribute)? {
                return Ok(time);
            }
        }
        Err(self.absent())
    }

    fn accumulate(&mut self, index: usize, row: &Item) -> Result<(), Reject> {
        let metric = self.metric;
        match &mut self.spans[index].1 {
            Accumulator::Count(count) => *count += 1,
            Accumulator::CountBy(counts) => {
                let by = metric.by.as_ref().ok_or(Reject::Skip)?;
                let value = text(row, &by.attribute).ok_or(Reject::Skip)?;
                let group = by.groups.iter().find(|(_, wanted)| *wanted == value);
                let (name, _) = group.ok_or(Reject::Skip)?;
                *counts.entry(name.clone()).or_default() += 1;
            }
            Accumulator::Distinct(values) => {
                let Some(Value::Attribute(attribute)) = &metric.value else {
                    return Err(Reject::Malformed);
                };
                let value = text(row, attribute).ok_or(Reject::Malformed)?;
                if !values.contains(value) {
                    values.insert(value.to_owned());
                }
            }
            Accumulator::Sum { .. } => {
                let value = self.value_of(row)?;
                if let Accumulator::Sum { sum, count, overflown } = &mut self.spans[index].1 {
                    match sum.checked_add(value) {
                        Some(total) => *sum = total,
                        None => *overflown = true,
                    }
                    *count += 1;
                }
            }
            Accumulator::Top(targets) => {
                let key: Option<Vec<String>> = metric
                    .key
                    .iter()
                    .map(|attribute| text(row, attribute).map(str::to_owned))
                    .collect();
                let shares = targets.entry(key.ok_or(Reject::Malformed)?).or_default();
                *shares.entry(self.share.to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }

    /// The number the row adds.
    fn value_of(&self, row: &Item) -> Result<Decimal, Reject> {
        let value = self.metric.value.as_ref().ok_or(Reject::Malformed)?;
        let number = match value {
            Value::Attribute(attribute) => match present(row, attribute) {
                None => return Err(self.absent()),
                Some(AttributeValue::N(number)) => numbers::parse_number(number),
                Some(_) => None,
            },
            Value::Money { money } => match present(row, money) {
                None => return Err(self.absent()),
                Some(AttributeValue::S(amount)) => numbers::parse_decimal(amount),
                Some(AttributeValue::N(amount)) => numbers::parse_number(amount),
                Some(_) => None,
            }
            .map(numbers::in_whole_cents),
            Value::Lookup { table, attribute } => text(row, attribute)
                .and_then(|key| self.catalogue.table_value(table, key))
                .and_then(numbers::parse_decimal)
                .map(numbers::in_whole_cents),
        };
        number.ok_or(Reject::Malformed)
    }

    /// Adds what another pass found of the same metric and spans.
    pub fn merge(&mut self, other: Self) {
        self.malformed += other.malformed;
        for ((_, mine), (_, theirs)) in self.spans.iter_mut().zip(other.spans) {
            mine.merge(theirs);
        }
    }

    /// What the metric came to in each span, in the order in which they were given.
    ///
    /// # Errors
    ///
    /// [`FoldError`] when it cannot be exact.
    pub fn finish(self) -> Result<Vec<Outcome>, FoldError> {
        let metric = self.metric;
        self.spans.into_iter().map(|(_, accumulator)| accumulator.finish(metric)).collect()
    }
}

impl Accumulator {
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(mine), Self::Count(theirs)) => *mine += theirs,
            (Self::CountBy(mine), Self::CountBy(theirs)) => add_counts(mine, theirs),
            (Self::Distinct(mine), Self::Distinct(theirs)) => mine.extend(theirs),
            (
                Self::Sum { sum, count, overflown },
                Self::Sum { sum: other, count: others, overflown: too },
            ) => {
                match sum.checked_add(other) {
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
            // Folds of one metric have one kind of state.
            _ => {}
        }
    }

    fn finish(self, metric: &Metric) -> Result<Outcome, FoldError> {
        Ok(match self {
            Self::Count(count) => Outcome { value: Some(count.into()), part: None },
            Self::CountBy(counts) => {
                let counts: Map<String, Json> =
                    counts.into_iter().map(|(name, count)| (name, count.into())).collect();
                Outcome { value: Some(Json::Object(counts)), part: None }
            }
            Self::Distinct(values) => {
                // Sorted, so that the same values always make the same bytes.
                let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
                values.sort_unstable();
                let set = Distinct::of(values.iter().copied())?;
                Outcome { value: Some(values.len().into()), part: Some(Part::distinct(&set)) }
            }
            Self::Sum { overflown: true, .. } => {
                return Err(FoldError::Overflow { metric: metric.name.clone() });
            }
            Self::Sum { sum, count, .. } if metric.measure == Measure::Avg => {
                let mean = sum.checked_div(Decimal::from(count));
                Outcome { value: mean.map(numbers::to_json), part: Some(Part::average(sum, count)) }
            }
            Self::Sum { sum, .. } => Outcome { value: Some(numbers::to_json(sum)), part: None },
            Self::Top(targets) => {
                let tie = metric.key.iter().position(|name| Some(name) == metric.ties.as_ref());
                let mut ranking = Ranking::of(targets, tie.unwrap_or_default());
                // Of one span everything is known, also of what a record has no room for.
                let value = list_targets(metric, &ranking);
                ranking.drop_the_tail();
                Outcome { value, part: Some(Part::Targets(ranking)) }
            }
        })
    }
}

fn add_counts(mine: &mut BTreeMap<String, u64>, theirs: BTreeMap<String, u64>) {
    for (name, count) in theirs {
        *mine.entry(name).or_default() += count;
    }
}

/// The targets that the metric lists, each with its key, its rows by share and their total; `None`
/// where it is not certain which they are.
#[must_use]
pub fn list_targets(metric: &Metric, ranking: &Ranking) -> Option<Json> {
    let share_names: Vec<&String> = metric.sources.iter().flat_map(BTreeMap::keys).collect();
    let entry = |(key, shares): &(Vec<String>, Shares)| {
        let names = metric.key.iter().cloned().zip(key.iter().map(|part| Json::from(part.clone())));
        let counts = share_names.iter().map(|name| {
            ((*name).clone(), Json::from(shares.get(*name).copied().unwrap_or_default()))
        });
        let total = ("total".to_owned(), Json::from(shares.values().sum::<u64>()));
        Json::Object(names.chain(counts).chain([total]).collect())
    };
    let best = ranking.best(metric.limit.unwrap_or_default())?;
    Some(Json::Array(best.iter().map(entry).collect()))
}

/// The attribute, unless it is absent or null.
fn present<'row>(row: &'row Item, attribute: &str) -> Option<&'row AttributeValue> {
    row.get(attribute).filter(|value| !matches!(value, AttributeValue::Null(_)))
}

/// The instant in the attribute, or `None` where it is absent.
fn present_instant(row: &Item, attribute: &str) -> Result<Option<DateTime<Utc>>, Reject> {
    match present(row, attribute) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => parse_instant(text).map(Some).ok_or(Reject::Malformed),
        Some(_) => Err(Reject::Malformed),
    }
}

fn holds(condition: &Condition, attribute: Option<&AttributeValue>) -> bool {
    let text = match attribute {
        Some(AttributeValue::S(text)) => Some(text.as_str()),
        _ => None,
    };
    match condition {
        Condition::Is(wanted) => {
            matches!(attribute, Some(AttributeValue::Bool(is)) if is == wanted)
        }
        Condition::Equals(wanted) => text == Some(wanted),
        Condition::Not { not } => text != Some(not),
        Condition::AnyOf { any_of } => {
            text.is_some_and(|text| any_of.iter().any(|wanted| wanted == text))
        }
        Condition::Present { present } => {
            let there = !matches!(attribute, None | Some(AttributeValue::Null(_)))
                && text.is_none_or(|text| !text.is_empty());
            there == *present
        }
        // Compared with each span's end by the caller.
        Condition::AfterPeriod { .. } => true,
    }
}
