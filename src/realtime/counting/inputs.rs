//! What the counters are computed from, and the counters of totals and flows.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;

use super::{HOURS, HourlyMetrics, is_readable};
use crate::{
    dynamodb::Client,
    metrics::{
        amount::Amount,
        catalogue::{
            Catalogue,
            definition::{Metric, Rollup},
        },
        ordered::Ordered,
        period::{Granularity, Period, Span},
    },
    query::{
        plan::plan,
        reading::{Findings, read},
    },
    realtime::snapshot::{CARRIED_TTL, COUNTED_TTL, Counter},
};

/// The position among the plan's spans of the part of the running hour.
const RUNNING: usize = 0;

/// The position of the part of an hour at the beginning of the last 24 hours.
const TAIL: usize = 1;

/// The position of the first of the missing hours.
const MISSING: usize = 2;

/// What the counters are computed from.
pub(super) struct CounterInputs<'run> {
    catalogue: &'run Catalogue,
    at: DateTime<Utc>,
    /// The start of the running hour.
    running: DateTime<Utc>,
    recorded: HourlyMetrics,
    /// The full hours that are read by key range, in the order of the plan's spans from [`MISSING`]
    /// on.
    missing: Vec<Period>,
    findings: Findings,
}

impl<'run> CounterInputs<'run> {
    /// The inputs as of `at` before any item is read: the metrics of the hourly records.
    pub(super) fn new(
        catalogue: &'run Catalogue,
        at: DateTime<Utc>,
        recorded: HourlyMetrics,
    ) -> Self {
        let running = Period::containing(Granularity::Hourly, at).start();
        let (missing, findings) = (Vec::new(), Findings::default());
        Self { catalogue, at, running, recorded, missing, findings }
    }

    /// Reads the items of `readable` metrics, by key range, of the parts of hours at both ends of
    /// the last 24 hours and of the full hours that no record has.
    pub(super) async fn read_items(
        &mut self,
        client: &Client,
        table: &str,
        readable: Vec<&Metric>,
    ) {
        let missing: BTreeSet<Period> =
            readable.iter().flat_map(|metric| self.missing_hours(metric)).ordered_set();
        let tail = Span::until(self.at - TimeDelta::hours(24), self.first_full_hour().start());
        let mut spans = vec![Span::until(self.running, self.at), tail];
        self.missing.extend(missing);
        spans.extend(self.missing.iter().copied().map(Span::from));
        self.findings = read(client, plan(self.catalogue, readable, &spans, table)).await;
    }

    /// What was found in the items.
    pub(super) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The first full hour of the last 24 hours.
    fn first_full_hour(&self) -> Period {
        Period::starting_at_or_after(Granularity::Hourly, self.at - TimeDelta::hours(24))
    }

    /// The full hours from `start` to the running hour, which is excluded.
    fn hours_since(&self, start: Period) -> impl Iterator<Item = Period> + use<> {
        hours(start, self.running)
    }

    /// The value of the metric in the record of an hour.
    fn recorded(&self, metric: &Metric, hour: Period) -> Option<&Json> {
        self.recorded.get(&(metric.type_name.clone(), hour))?.get(&metric.name)
    }

    /// The latest hour whose record has the metric.
    fn latest(&self, metric: &Metric) -> Option<Period> {
        let mut hour = Period::containing(Granularity::Hourly, self.running);
        for _ in 0..HOURS {
            hour = hour.previous();
            if self.recorded(metric, hour).is_some() {
                return Some(hour);
            }
        }
        None
    }

    /// The full hours that must be read by key range because no record has them.
    fn missing_hours(&self, metric: &Metric) -> Vec<Period> {
        if metric.rollup == Rollup::Last {
            return self
                .latest(metric)
                .map_or_else(Vec::new, |latest| self.hours_since(latest.next()).collect());
        }
        self.hours_since(self.first_full_hour())
            .filter(|hour| self.recorded(metric, *hour).is_none())
            .collect()
    }

    /// The amount of the metric that key ranges found in one of the plan's spans.
    fn found(&self, metric: &Metric, span: usize) -> Option<Amount> {
        let outcome = self.findings.outcomes.get(&metric.name)?.get(span)?;
        Amount::from_json(outcome.value.as_ref()?)
    }

    /// The amount of the metric in a full hour, from its record or by key range.
    fn in_hour(&self, metric: &Metric, hour: Period) -> Option<Amount> {
        match self.recorded(metric, hour) {
            Some(value) => Amount::from_json(value),
            None => self.found_in_hour(metric, hour),
        }
    }

    /// The amount of the metric that key ranges found in a full hour.
    fn found_in_hour(&self, metric: &Metric, hour: Period) -> Option<Amount> {
        let index = self.missing.iter().position(|missing| *missing == hour)?;
        self.found(metric, MISSING + index)
    }

    /// The sum over full hours; `None` if the amount of one of them is not known.
    fn over(&self, metric: &Metric, start: Period, end: DateTime<Utc>) -> Option<Amount> {
        let mut hours = hours(start, end);
        hours.try_fold(Amount::zero_of(metric), |sum, hour| sum.plus(&self.in_hour(metric, hour)?))
    }

    /// The earliest hour from `start` to before `end` whose record has the metric.
    fn earliest(&self, metric: &Metric, start: Period, end: DateTime<Utc>) -> Option<Period> {
        hours(start, end).find(|hour| self.recorded(metric, *hour).is_some())
    }

    /// The counter of a total: as of now if it `grows` only by new items and those are known,
    /// otherwise as of the latest record.
    pub(super) fn total(&self, metric: &Metric, grows: bool) -> Option<Counter> {
        let latest = self.latest(metric)?;
        let stored = self.recorded(metric, latest)?;
        let up_to_now = || {
            let hours = self.hours_since(latest.next());
            let mut since = self.found(metric, RUNNING)?;
            for hour in hours {
                since = since.plus(&self.found_in_hour(metric, hour)?)?;
            }
            Amount::from_json(stored)?.plus(&since).map(|total| total.to_json())
        };
        let name = metric.name.clone();
        let counter = match grows.then(up_to_now).flatten() {
            Some(value) => Counter::new(name, value, self.at, COUNTED_TTL),
            None => Counter::new(name, stored.clone(), latest.next().start(), CARRIED_TTL),
        };
        Some(counter.with_earliest_hour(Some(latest)))
    }

    /// The counters of a flow: since midnight, and in the last 24 hours.
    pub(super) fn flow(&self, metric: &Metric) -> Vec<Counter> {
        let midnight = Period::containing(Granularity::Daily, self.at).start();
        let today = Period::containing(Granularity::Hourly, midnight);
        let (since_midnight, last_day, as_of, ttl, first, end);
        if is_readable(self.catalogue, metric) {
            let running = self.found(metric, RUNNING);
            let plus = |one: Option<Amount>, other: Option<Amount>| one?.plus(other.as_ref()?);
            since_midnight = plus(self.over(metric, today, self.running), running.clone());
            (first, end) = (self.first_full_hour(), self.running);
            let full = self.over(metric, first, end);
            last_day = plus(plus(full, running), self.found(metric, TAIL));
            as_of = (self.at, self.at);
            ttl = COUNTED_TTL;
        } else {
            let Some(latest) = self.latest(metric) else { return Vec::new() };
            // Full hours up to this instant are summed; of a day that has just begun there are
            // none.
            end = latest.next().start();
            since_midnight = self.over(metric, today, end);
            first = Period::containing(Granularity::Hourly, end - TimeDelta::hours(24));
            last_day = self.over(metric, first, end);
            as_of = (end.max(midnight), end);
            ttl = CARRIED_TTL;
        }
        let counter = |time: &str, value: Option<Amount>, as_of, first| {
            let name = format!("{}{time}", metric.name);
            let counter = Counter::new(name, value?.to_json(), as_of, ttl);
            Some(counter.with_earliest_hour(self.earliest(metric, first, end)))
        };
        [
            counter("Today", since_midnight, as_of.0, today),
            counter("Last24Hours", last_day, as_of.1, first),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The hours from `first` to before `end`.
fn hours(first: Period, end: DateTime<Utc>) -> impl Iterator<Item = Period> {
    std::iter::successors(Some(first), |hour| Some(hour.next()))
        .take_while(move |hour| hour.start() < end)
}
