//! The values of metrics at an hour's end, from the balance.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Balance, BalanceError, amount::CellSum, is_kept};
use crate::metrics::{
    catalogue::definition::{Measure, Metric, Window},
    delta::Hour,
    fold::MetricOutcome,
    numbers,
    part::Part,
    sketch::Distinct,
};

/// The values that a metric has seen in an hour: a sketch of them, and how many items had one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SeenValues {
    /// How many items had a value. That is how many values there are where each item has its own.
    items: i64,
    /// The sketch in DataSketches' binary format, as base64.
    hll: String,
    /// The values that are not in the sketch yet. They are never stored.
    #[serde(skip)]
    new: BTreeSet<String>,
}

impl SeenValues {
    /// Adds a value that some items more have. One that none has any more stays in the sketch.
    pub(super) fn add(&mut self, value: &str, items: i64) {
        self.items += items;
        if items > 0 {
            self.new.insert(value.to_owned());
        }
    }

    /// All values.
    fn sketch(&self) -> Result<Distinct, BalanceError> {
        let new = Distinct::of(self.new.iter().map(String::as_str))?;
        if self.hll.is_empty() {
            return Ok(new);
        }
        let damaged = |error: base64::DecodeError| BalanceError::Damaged(error.to_string());
        let known = Distinct::from_bytes(&STANDARD.decode(&self.hll).map_err(damaged)?)?;
        Ok(if self.new.is_empty() { known } else { Distinct::merged(&[known, new])? })
    }

    /// Takes the new values into the sketch.
    pub(super) fn compact(&mut self) -> Result<(), BalanceError> {
        if !self.new.is_empty() || self.hll.is_empty() {
            self.hll = STANDARD.encode(self.sketch()?.to_bytes());
            self.new.clear();
        }
        Ok(())
    }
}

/// A sum that is below zero, which only a fault can make. A reconciliation mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegativeSum {
    /// The metric, and the group where it has groups.
    pub metric: String,
    /// The first hour.
    pub hour: Hour,
}

impl Balance {
    /// The metric at the end of an hour, or in it; `None` where the balance does not know it: the hour is
    /// settled, lies before the first one, or the metric is not kept from changes.
    ///
    /// # Errors
    ///
    /// [`BalanceError`] when a sum cannot be exact or a sketch is damaged.
    pub fn value(
        &self,
        metric: &Metric,
        hour: Hour,
    ) -> Result<Option<MetricOutcome>, BalanceError> {
        let is_flow = metric.window() == Some(Window::Period);
        let first = if is_flow { self.unsettled } else { self.unsettled - 1 };
        if !is_kept(metric) || hour < first || is_flow && hour < self.begin() {
            return Ok(None);
        }
        let amount = |group: Option<&str>| {
            let sum = if is_flow {
                Some(self.flows.get(&hour).map(|cells| cells.get(&metric.name, group)))
            } else {
                self.stock(&metric.name, group, hour).map(Some)
            };
            let overflow = || BalanceError::Overflow { metric: metric.name.clone() };
            sum.map(Option::unwrap_or_default).ok_or_else(overflow)
        };
        let (value, part) = match &metric.measure {
            Measure::Count { by: None, .. } => (Some(amount(None)?.count.into()), None),
            Measure::Count { by: Some(by), .. } => {
                let mut groups = Map::new();
                for name in by.groups.keys() {
                    groups.insert(name.clone(), amount(Some(name))?.count.into());
                }
                (Some(Json::Object(groups)), None)
            }
            Measure::Sum { .. } => (Some(numbers::to_json(amount(None)?.sum)), None),
            Measure::Avg { .. } => mean(amount(None)?),
            Measure::CountDistinct { .. } => {
                let seen = self.seen.get(&hour).and_then(|seen| seen.get(&metric.name));
                let set = seen.cloned().unwrap_or_default().sketch()?;
                (Some(set.count().into()), Some(Part::distinct(&set)))
            }
            Measure::Top { .. } | Measure::Departures { .. } => return Ok(None),
        };
        Ok(Some(MetricOutcome { value, part }))
    }

    /// How many items had a value in the hour: for `count_distinct` over values of which each item has
    /// its own, the exact count.
    #[must_use]
    pub fn items_with_value(&self, metric: &Metric, hour: Hour) -> i64 {
        let seen = self.seen.get(&hour).and_then(|seen| seen.get(&metric.name));
        seen.map_or(0, |seen| seen.items)
    }

    /// A stock at the end of an hour.
    fn stock(&self, metric: &str, group: Option<&str>, hour: Hour) -> Option<CellSum> {
        let mut deltas = self.stocks.range(..=hour).map(|(_, cells)| cells.get(metric, group));
        let settled = self.settled_stocks.get(metric, group);
        deltas.try_fold(settled, CellSum::plus)
    }

    /// The sums that are below zero though they count items.
    #[must_use]
    pub fn negative_sums(&self) -> Vec<NegativeSum> {
        let mut found = BTreeMap::new();
        let mut sums: BTreeMap<&String, i64> = BTreeMap::new();
        let settled = std::iter::once((self.unsettled - 1, &self.settled_stocks));
        for (hour, cells) in settled.chain(self.stocks.iter().map(|(hour, cells)| (*hour, cells))) {
            for (metric, amount) in cells.iter() {
                let sum = sums.entry(metric).or_default();
                *sum = sum.saturating_add(amount.count);
                if *sum < 0 {
                    found.entry(metric.clone()).or_insert(hour);
                }
            }
        }
        for (hour, cells) in &self.flows {
            for (metric, _) in cells.iter().filter(|(_, amount)| amount.count < 0) {
                found.entry(metric.clone()).or_insert(*hour);
            }
        }
        found.into_iter().map(|(metric, hour)| NegativeSum { metric, hour }).collect()
    }

    /// Takes the values of this run into the sketches.
    pub(super) fn compact(&mut self) -> Result<(), BalanceError> {
        self.seen.values_mut().flat_map(BTreeMap::values_mut).try_for_each(SeenValues::compact)
    }
}

fn mean(amount: CellSum) -> (Option<Json>, Option<Part>) {
    let mean = amount.sum.checked_div(Decimal::from(amount.count));
    let count = u64::try_from(amount.count).unwrap_or_default();
    (mean.map(numbers::to_json), Some(Part::average(amount.sum, count)))
}
