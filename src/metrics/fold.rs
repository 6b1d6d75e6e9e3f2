//! Folding rows into metrics: one row at a time, for several spans of time at once.
//!
//! A fold computes one metric from the rows of one pass; the folds of a metric that is read in
//! several passes are merged, then finished.
//!
//! A row whose attributes cannot be read is left out and counted. Where that is every row that can
//! lie in a span, the metric has no value there: a zero would look like a fact. `readable` says which
//! spans these are.

mod readable;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{
    catalogue::{
        Catalogue,
        definition::{Measure, Metric, Rows, Source, Value, Window},
    },
    expiry::{expiry_of, has_expired},
    numbers,
    ordered::Ordered,
    part::Part,
    period::Span,
    ranking::{Ranking, Shares, total},
    row::{Expected, Fault, Reject, absent, conditions, group_of, present, text_of, time_of},
    sketch::{Distinct, SketchError},
};

use readable::Evidence;
pub use readable::Unreadable;

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

/// What one row adds.
enum Contribution<'row> {
    /// Nothing: it has no group.
    Nothing,
    Row,
    Group(&'row str),
    Value(&'row str),
    Amount(Decimal),
    Target(Vec<&'row str>),
}

/// One metric over the rows of one pass.
#[derive(Debug, Clone)]
pub struct Fold<'catalogue> {
    catalogue: &'catalogue Catalogue,
    metric: &'catalogue Metric,
    /// For `top`: which share the rows of this pass count for.
    share: &'catalogue str,
    spans: Vec<Span>,
    /// What was found in each of the spans.
    accumulators: Vec<Accumulator>,
    rows: u64,
    malformed: u64,
    /// What the rows of this pass show; those of another pass are judged there.
    evidence: Evidence<'catalogue>,
}

impl<'catalogue> Fold<'catalogue> {
    /// A fold of `metric` over the rows of `source` for `spans`, which may overlap, before the first
    /// row.
    #[must_use]
    pub fn new(
        catalogue: &'catalogue Catalogue,
        metric: &'catalogue Metric,
        share: &'catalogue str,
        source: Option<&'catalogue Source>,
        spans: &[Span],
    ) -> Self {
        let start = || match &metric.measure {
            Measure::Count { by: Some(by), .. } => {
                Accumulator::CountBy(by.groups.keys().map(|name| (name.clone(), 0)).ordered_map())
            }
            Measure::Count { .. } | Measure::Departures { .. } => Accumulator::Count(0),
            Measure::CountDistinct { .. } => Accumulator::Distinct(HashSet::new()),
            Measure::Sum { .. } | Measure::Avg { .. } => {
                Accumulator::Sum { sum: Decimal::ZERO, count: 0, overflown: false }
            }
            Measure::Top { .. } => Accumulator::Top(HashMap::new()),
        };
        Self {
            catalogue,
            metric,
            share,
            spans: spans.to_vec(),
            accumulators: spans.iter().map(|_| start()).collect(),
            rows: 0,
            malformed: 0,
            evidence: Evidence::new(metric, source, spans),
        }
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> &'catalogue Metric {
        self.metric
    }

    /// How many rows concern the metric in its spans: those that count and those that are malformed.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many rows were left out because an attribute was malformed.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Of which spans the rows of this pass, which were read from `source`, say nothing, and why.
    /// `is_whole`: its partitions were read whole, not only the key ranges of some spans. `None`
    /// where a row of each span could be read, or where there was none.
    #[must_use]
    pub fn unreadable(&self, source: &str, is_whole: bool) -> Option<Unreadable> {
        self.evidence.unreadable(self.metric, source, &self.spans, is_whole)
    }

    /// The attributes that a fold of `metric` looks at.
    pub fn attributes(metric: &Metric) -> impl Iterator<Item = &str> {
        metric.attributes()
    }

    /// Takes in one row.
    pub fn add(&mut self, row: &Item) {
        let Some(rows) = self.metric.rows() else { return };
        self.evidence.note_row();
        let time = match rows.window {
            Window::Period | Window::ToDate => time_of(rows, row).map(Some),
            Window::Now => Ok(None),
        };
        match (conditions(rows, row), time) {
            (Err(_), Ok(time)) => self.pass_over(rows, time),
            // Its time may be absent, so nothing is wrong with it.
            (_, Err(Reject::Skip)) => self.evidence.note_readable(std::iter::empty()),
            (Err(_), Err(Reject::Malformed(_))) => {}
            (Ok(_), Err(Reject::Malformed(fault))) => {
                self.rows += 1;
                self.malformed += 1;
                let spans = self.spans.iter().copied();
                self.evidence.note_malformed_time(fault, row, rows.window, spans);
            }
            (Ok((after, fault)), Ok(time)) => self.add_timed(rows, row, time, after, fault),
        }
    }

    /// Takes in a row whose time can be read, and that meets the conditions until `after`; `fault`
    /// where one of them could not be compared.
    fn add_timed(
        &mut self,
        rows: &'catalogue Rows,
        row: &Item,
        time: Option<DateTime<Utc>>,
        after: Option<DateTime<Utc>>,
        fault: Option<Fault<'catalogue>>,
    ) {
        let expiry = self.catalogue.ttl().and_then(|attribute| expiry_of(row, attribute));
        let counts_in = |span: &Span| {
            // What happened has happened, even if it has expired since; a level has what exists.
            let at = time.filter(|_| rows.window == Window::Period).unwrap_or(span.end);
            lies_in(rows, time, *span)
                && expiry.is_none_or(|expiry| !has_expired(expiry, at))
                && after.is_none_or(|after| !span.reaches(after))
        };
        let contribution =
            fault.map_or_else(|| self.contribution(rows, row), |one| Err(one.into()));
        let counts = self.spans.iter().any(counts_in);
        match contribution {
            Ok(contribution) => {
                self.rows += u64::from(counts);
                for (span, accumulator) in self.spans.iter().zip(&mut self.accumulators) {
                    if counts_in(span) {
                        accumulator.add(&contribution, self.share);
                    }
                }
                self.pass_over(rows, time);
            }
            Err(Reject::Skip) => self.pass_over(rows, time),
            // Of other periods nobody asked.
            Err(Reject::Malformed(_)) if !counts => {}
            Err(Reject::Malformed(fault)) => {
                self.rows += 1;
                self.malformed += 1;
                self.evidence.note_malformed(fault, self.spans.iter().map(counts_in));
            }
        }
    }

    /// Notes a row that can be read, whether it counts or not: it shows that the rows of its spans
    /// can be.
    fn pass_over(&mut self, rows: &Rows, time: Option<DateTime<Utc>>) {
        let spans = self.spans.iter();
        self.evidence.note_readable(spans.map(|span| lies_in(rows, time, *span)));
    }

    /// What the row adds to the metric.
    fn contribution<'row>(
        &self,
        rows: &'catalogue Rows,
        row: &'row Item,
    ) -> Result<Contribution<'row>, Reject<'catalogue>>
    where
        'catalogue: 'row,
    {
        Ok(match &self.metric.measure {
            Measure::Count { by: None, .. } => Contribution::Row,
            Measure::Count { by: Some(by), .. } => {
                group_of(by, row)?.map_or(Contribution::Nothing, Contribution::Group)
            }
            Measure::CountDistinct { attribute, .. } => Contribution::Value(
                text_of(row, attribute)?.ok_or_else(|| absent(rows, attribute, Expected::Text))?,
            ),
            Measure::Sum { value, .. } | Measure::Avg { value, .. } => {
                Contribution::Amount(self.amount_of(rows, value, row)?)
            }
            Measure::Top { key, .. } => {
                let part = |attribute: &'catalogue String| {
                    let missing = || Reject::Malformed(Fault::absent(attribute, Expected::Text));
                    text_of(row, attribute)?.ok_or_else(missing)
                };
                Contribution::Target(key.iter().map(part).collect::<Result<_, _>>()?)
            }
            Measure::Departures { .. } => return Err(Reject::Skip),
        })
    }

    /// The number the row adds.
    fn amount_of(
        &self,
        rows: &'catalogue Rows,
        value: &'catalogue Value,
        row: &Item,
    ) -> Result<Decimal, Reject<'catalogue>> {
        let attribute = value.attribute();
        let expected = match value {
            Value::Attribute(_) => Expected::Number,
            Value::Money(_) => Expected::Money,
            Value::Lookup { table, .. } => Expected::KeyOf(table),
        };
        let found = present(row, attribute).ok_or_else(|| absent(rows, attribute, expected))?;
        let number = match (value, found) {
            (Value::Attribute(_), AttributeValue::N(number)) => numbers::parse_number(number),
            (Value::Money(_), AttributeValue::S(amount)) => numbers::parse_decimal(amount),
            (Value::Money(_), AttributeValue::N(amount)) => numbers::parse_number(amount),
            (Value::Lookup { table, .. }, AttributeValue::S(key)) => {
                self.catalogue.table_value(table, key).and_then(numbers::parse_decimal)
            }
            _ => None,
        };
        let number = match value {
            Value::Attribute(_) => number,
            Value::Money(_) | Value::Lookup { .. } => number.map(numbers::in_whole_cents),
        };
        number.ok_or_else(|| Fault::new(attribute, expected, found).into())
    }

    /// Adds what another pass found of the same metric and spans.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.malformed += other.malformed;
        for (mine, theirs) in self.accumulators.iter_mut().zip(other.accumulators) {
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
        self.accumulators.into_iter().map(|accumulator| accumulator.finish(metric)).collect()
    }
}

/// Whether a row of this time lies in the span.
fn lies_in(rows: &Rows, time: Option<DateTime<Utc>>, span: Span) -> bool {
    match (rows.window, time) {
        (Window::Period, Some(time)) => span.contains(time),
        (Window::ToDate, Some(time)) => span.reaches(time),
        _ => true,
    }
}

impl Accumulator {
    fn add(&mut self, contribution: &Contribution<'_>, share: &str) {
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
            // A value that is known; and a measure has one kind of contribution.
            _ => {}
        }
    }

    fn merge(&mut self, other: Self) {
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
            Self::Sum { sum, count, .. } if matches!(metric.measure, Measure::Avg { .. }) => {
                let mean = sum.checked_div(Decimal::from(count));
                Outcome { value: mean.map(numbers::to_json), part: Some(Part::average(sum, count)) }
            }
            Self::Sum { sum, .. } => Outcome { value: Some(numbers::to_json(sum)), part: None },
            Self::Top(targets) => {
                let Measure::Top { tie, .. } = metric.measure else {
                    return Ok(Outcome::default());
                };
                let mut ranking = Ranking::of(targets, tie);
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

#[cfg(all(test, not(target_arch = "wasm32")))]
mod readable_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
