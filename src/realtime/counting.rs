//! Making the counters: from the hourly records of the last day and, by key range, what lies between
//! them and now. No partition is read whole.
//!
//! A flow in a span of time is the sum of the records of the full hours in it and of what key ranges
//! find in the rest: the running hour, the part of an hour at the other end, hours whose record is
//! missing. Where the items cannot be read by key range, only full hours are added up, and the counter
//! is as of the last one. A total is the latest record's; one that nothing but the creation of items
//! makes grow is brought up to now by what came since. What is deleted shows at the next hourly run.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::join;
use serde_json::{Map, Value as Json};

use crate::store::realtime_state::Quality;
use crate::{
    dynamodb::{Client, Error, Item, Query, text},
    metrics::{
        amount::Amount,
        catalogue::{
            Catalogue,
            definition::{Measure, Metric, Past, Recent, Rollup, Window},
        },
        expiry::{expiry_of, has_expired},
        findings::Malformed,
        ordered::Ordered,
        period::{Granularity, Period, Span, parse_instant},
        record::Record,
    },
    query::{
        plan::{is_key_range, plan, range_of},
        reading::{Findings, read},
    },
    store::record::query_of_all_types,
};

use super::{CARRIED_TTL, COUNTED_TTL, Counter, Snapshot};

/// How far back records are looked for: the last 24 full hours, also when the hourly run is three
/// hours late.
const HOURS: i64 = 27;

/// What counting came to.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The counters that are certain.
    pub snapshot: Snapshot,
    /// Why others are absent or older than they could be.
    pub problems: Vec<String>,
    /// What was found wrong with the items that were read.
    pub quality: Quality,
}

/// The metrics of the last hours by type and hour.
type Records = HashMap<(String, Period), Map<String, Json>>;

/// What the counters are made from.
struct Ground<'run> {
    catalogue: &'run Catalogue,
    at: DateTime<Utc>,
    /// The start of the hour that is running.
    running: DateTime<Utc>,
    records: Records,
    /// The hours that are read by key range: the plan's spans from [`MISSING`] on.
    missing: Vec<Period>,
    findings: Findings,
}

/// The place among the plan's spans of the running hour's part, and of the part of an hour at the
/// other end of the last 24 hours.
const RUNNING: usize = 0;
const TAIL: usize = 1;
const MISSING: usize = 2;

/// Counts everything as of `at`: what happened before that instant.
///
/// # Errors
///
/// When the records cannot be read. What else fails leaves single counters out.
pub async fn count(
    client: &Client,
    table: &str,
    catalogue: &Catalogue,
    at: DateTime<Utc>,
) -> Result<Counted, Error> {
    let running_hour = Period::containing(Granularity::Hourly, at);
    let running = running_hour.start();
    let last = running_hour.previous().start();
    let query =
        query_of_all_types(table, Granularity::Hourly, running - TimeDelta::hours(HOURS), last);
    let (items, recent) = join!(client.query(&query), count_recent(client, table, catalogue, at));
    let mut problems = Vec::new();
    let mut records = Records::new();
    for item in items? {
        match Record::from_item(item) {
            Ok(Record { metric_type, period, metrics, .. }) => {
                records.insert((metric_type, period), metrics);
            }
            Err(error) => problems.push(error.to_string()),
        }
    }

    let flows: Vec<&Metric> =
        catalogue.realtime().flows.iter().filter_map(|name| catalogue.metric(name)).collect();
    // What came since the record, of each total of which that is what changed since.
    let arrivals: Vec<Metric> = catalogue
        .metrics()
        .iter()
        .filter(|metric| grows_by_arrivals(metric))
        .map(|metric| metric.with_window(Window::Period))
        .filter(|metric| is_readable(catalogue, metric))
        .collect();
    let readable: Vec<&Metric> = flows
        .iter()
        .copied()
        .filter(|metric| is_readable(catalogue, metric))
        .chain(&arrivals)
        .collect();

    let mut ground = Ground {
        catalogue,
        at,
        running,
        records,
        missing: Vec::new(),
        findings: Findings::default(),
    };
    let missing: BTreeSet<Period> =
        readable.iter().flat_map(|metric| ground.missing_hours(metric)).ordered_set();
    let first_full = ground.first_full_hour();
    let mut spans =
        vec![Span::until(running, at), Span::until(at - TimeDelta::hours(24), first_full.start())];
    ground.missing.extend(missing);
    spans.extend(ground.missing.iter().copied().map(Span::from));
    let passes = plan(catalogue, readable, &spans, table);
    ground.findings = read(client, passes).await;
    problems.extend(ground.findings.failures.iter().map(|(name, why)| format!("{name}: {why}")));
    problems.extend(ground.findings.unreadable.values().map(ToString::to_string));
    let mut quality = Quality {
        malformed: std::mem::take(&mut ground.findings.malformed),
        unreadable: std::mem::take(&mut ground.findings.unreadable)
            .into_iter()
            .map(|(name, why)| (name, why.reason))
            .ordered_map(),
    };

    let mut counters: Vec<Counter> = catalogue
        .metrics()
        .iter()
        .filter(|metric| metric.rollup == Rollup::Last)
        .filter_map(|metric| ground.total(metric, arrivals.iter().any(|of| of.name == metric.name)))
        .collect();
    for metric in flows {
        counters.extend(ground.flow(metric));
    }
    match recent {
        Ok(recent) => {
            counters.extend(recent.counters);
            problems.extend(recent.problems);
            quality.malformed.extend(recent.quality.malformed);
            quality.unreadable.extend(recent.quality.unreadable);
        }
        Err(why) => problems.push(why),
    }
    Ok(Counted { snapshot: Snapshot::new(at, counters), problems, quality })
}

/// Whether a total changes by what is created alone, but for what is deleted: it counts every item,
/// by when it was created. An item that has to meet conditions, or whose value is added up, can
/// enter, leave or change long after that, which only a full pass sees.
fn grows_by_arrivals(metric: &Metric) -> bool {
    metric.rollup == Rollup::Last
        && metric.past() == Past::Survivors
        && !metric.is_conditional()
        && matches!(metric.measure, Measure::Count { .. })
}

/// Whether the metric's items of any span can be read by key range.
fn is_readable(catalogue: &Catalogue, metric: &Metric) -> bool {
    let mut sources = metric.source_names().map(|(_, name)| catalogue.source(name)).peekable();
    sources.peek().is_some()
        && sources.all(|source| source.is_some_and(|source| is_key_range(source, metric)))
}

impl Ground<'_> {
    /// The first full hour of the last 24 hours.
    fn first_full_hour(&self) -> Period {
        Period::starting_at_or_after(Granularity::Hourly, self.at - TimeDelta::hours(24))
    }

    /// The full hours from `start` up to the running one.
    fn hours_since(&self, start: Period) -> impl Iterator<Item = Period> + use<> {
        hours(start, self.running)
    }

    /// What the record of an hour says of the metric.
    fn recorded(&self, metric: &Metric, hour: Period) -> Option<&Json> {
        self.records.get(&(metric.type_name.clone(), hour))?.get(&metric.name)
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

    /// The full hours that have to be read by key range because no record has them.
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

    /// What key ranges found in one of the plan's spans.
    fn found(&self, metric: &Metric, span: usize) -> Option<Amount> {
        let outcome = self.findings.outcomes.get(&metric.name)?.get(span)?;
        Amount::from_json(outcome.value.as_ref()?)
    }

    /// What a full hour came to, by its record or by key range.
    fn in_hour(&self, metric: &Metric, hour: Period) -> Option<Amount> {
        match self.recorded(metric, hour) {
            Some(value) => Amount::from_json(value),
            None => self.found_in_hour(metric, hour),
        }
    }

    /// What key ranges found in a full hour.
    fn found_in_hour(&self, metric: &Metric, hour: Period) -> Option<Amount> {
        let index = self.missing.iter().position(|missing| *missing == hour)?;
        self.found(metric, MISSING + index)
    }

    /// The sum over full hours; `None` where one of them is unknown.
    fn over(&self, metric: &Metric, start: Period, end: DateTime<Utc>) -> Option<Amount> {
        let mut hours = hours(start, end);
        hours.try_fold(Amount::zero_of(metric), |sum, hour| sum.plus(&self.in_hour(metric, hour)?))
    }

    /// The earliest hour from `start` to before `end` that has a record of the metric.
    fn earliest(&self, metric: &Metric, start: Period, end: DateTime<Utc>) -> Option<Period> {
        hours(start, end).find(|hour| self.recorded(metric, *hour).is_some())
    }

    /// A total: brought up to now if it can be, else as the latest record has it.
    fn total(&self, metric: &Metric, grows: bool) -> Option<Counter> {
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
        Some(counter.made_from(Some(latest)))
    }

    /// What is new today and in the last 24 hours.
    fn flow(&self, metric: &Metric) -> Vec<Counter> {
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
            // Everything before this is counted; of a day that has just begun that is nothing.
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
            Some(counter.made_from(self.earliest(metric, first, end)))
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

/// What counting recent rows came to.
#[derive(Default)]
struct RecentCounts {
    counters: Vec<Counter>,
    problems: Vec<String>,
    quality: Quality,
}

/// One of the counters of recent rows while they are read.
struct RecentCount<'catalogue> {
    recent: &'catalogue Recent,
    span: Span,
    seen: HashSet<String>,
    readable: u64,
    malformed: u64,
}

impl RecentCount<'_> {
    fn add(&mut self, row: &Item, ttl: Option<&str>) {
        let time = text(row, &self.recent.time).and_then(parse_instant);
        let (Some(time), Some(value)) = (time, text(row, &self.recent.value)) else {
            self.malformed += 1;
            return;
        };
        self.readable += 1;
        let expiry = ttl.and_then(|attribute| expiry_of(row, attribute));
        if self.span.contains(time)
            && expiry.is_none_or(|expiry| !has_expired(expiry, time))
            && !self.seen.contains(value)
        {
            self.seen.insert(value.to_owned());
        }
    }

    /// Adds the counter to what was found, or why there is none: there were rows and none could be
    /// read.
    fn finish(self, at: DateTime<Utc>, found: &mut RecentCounts) {
        let Self { recent: Recent { name, source, value, time, .. }, malformed, .. } = self;
        if malformed > 0 {
            let rows = self.readable + malformed;
            found.quality.malformed.insert(name.clone(), Malformed { rows, malformed });
        }
        if malformed == 0 || self.readable > 0 {
            let counter = Counter::new(name.clone(), self.seen.len().into(), at, COUNTED_TTL);
            found.counters.push(counter);
            return;
        }
        let reason = format!(
            "counter `{name}`: every item of source `{source}` that can have been seen then is \
             malformed: `{time}` must be an RFC 3339 date-time with a time zone, `{value}` a string"
        );
        found.problems.push(format!("{reason} ({malformed} items)"));
        found.quality.unreadable.insert(name.clone(), reason);
    }
}

/// Who was seen in the last minutes: one query a partition of each source, of the hours in which they
/// can have been seen.
async fn count_recent(
    client: &Client,
    table: &str,
    catalogue: &Catalogue,
    at: DateTime<Utc>,
) -> Result<RecentCounts, String> {
    let all = &catalogue.realtime().recent;
    let names: BTreeSet<&String> = all.iter().map(|recent| &recent.source).ordered_set();
    let mut found = RecentCounts::default();
    for name in names {
        let wanted: Vec<&Recent> = all.iter().filter(|recent| recent.source == *name).collect();
        let Some(source) = catalogue.source(name) else { continue };
        let Some(time) = &source.sort_key_time else { continue };
        let span = |minutes: u32| Span::until(at - TimeDelta::minutes(minutes.into()), at);
        let longest = wanted.iter().map(|recent| recent.minutes).max().unwrap_or_default();
        let attributes: BTreeSet<&str> = wanted
            .iter()
            .flat_map(|recent| [recent.value.as_str(), recent.time.as_str()])
            .chain(catalogue.ttl())
            .ordered_set();
        let count = |recent| RecentCount {
            recent,
            span: span(recent.minutes),
            seen: HashSet::new(),
            readable: 0,
            malformed: 0,
        };
        let mut counts: Vec<RecentCount<'_>> = wanted.iter().copied().map(count).collect();
        let [partition_key, sort_key] = &source.keys;
        for partition in &source.partitions {
            let query = Query {
                table: table.to_owned(),
                index: source.index.clone(),
                partition_key: partition_key.clone(),
                sort_key: sort_key.clone(),
                partition: partition.clone(),
                range: Some(range_of(span(longest), time.format)),
                projection: attributes.iter().map(|attribute| (*attribute).to_owned()).collect(),
                descending: false,
            };
            client
                .query_pages(&query, |rows| {
                    for row in rows {
                        for count in &mut counts {
                            count.add(&row, catalogue.ttl());
                        }
                    }
                })
                .await
                .map_err(|error| format!("{name}: {error}"))?;
        }
        for count in counts {
            count.finish(at, &mut found);
        }
    }
    Ok(found)
}
