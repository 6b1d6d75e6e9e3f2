//! Computing the counters from the hourly records of the last day and, by key range, from the items
//! since then. No partition is read whole.
//!
//! A flow over a span of time is the sum of the records of the full hours in it and of what key
//! ranges find in the rest: the running hour, the part of an hour at the other end, hours without a
//! record. If the items cannot be read by key range, only full hours are summed, and the counter is
//! as of the last one. A total is that of the latest record. If it can grow only by new items, the
//! items since then are added, and it is as of now. Deletions appear in it with the next hourly
//! run.

mod inputs;
mod recent;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::join;
use serde_json::{Map, Value as Json};

use self::{
    inputs::CounterInputs,
    recent::{RecentCounters, count_recent},
};
use super::snapshot::{Counter, Snapshot};
use crate::{
    dynamodb::{Client, DynamoDbError},
    metrics::{
        catalogue::{
            Catalogue,
            definition::{Measure, Metric, Past, Rollup, Window},
        },
        ordered::Ordered,
        period::{Granularity, Period},
        record::Record,
    },
    query::{plan::is_key_range, reading::Findings},
    store::{realtime_state::Quality, record::query_of_all_types},
};

/// How many hours back records are read: the last 24 full hours, even if the hourly run is three
/// hours late.
const HOURS: i64 = 27;

/// The counters, and what was found while they were computed.
#[derive(Debug, Clone)]
pub struct CountedSnapshot {
    /// The counters whose values are certain.
    pub snapshot: Snapshot,
    /// Why other counters are absent, or older than they could be.
    pub problems: Vec<String>,
    /// The malformed items that were left out.
    pub quality: Quality,
}

/// The metrics of the records of the last hours, by type and hour.
type HourlyMetrics = HashMap<(String, Period), Map<String, Json>>;

/// Computes all counters as of `at`: of what happened before that instant.
///
/// # Errors
///
/// When the records cannot be read. Any other failure leaves out single counters.
pub async fn count(
    client: &Client,
    table: &str,
    catalogue: &Catalogue,
    at: DateTime<Utc>,
) -> Result<CountedSnapshot, DynamoDbError> {
    let (records, recent) =
        join!(read_hours(client, table, at), count_recent(client, table, catalogue, at));
    let (metrics, mut problems) = records?;
    let flows: Vec<&Metric> =
        catalogue.realtime().flows.iter().filter_map(|name| catalogue.metric(name)).collect();
    let arrivals = arrivals(catalogue);
    let readable = flows.iter().copied().filter(|metric| is_readable(catalogue, metric));
    let mut inputs = CounterInputs::new(catalogue, at, metrics);
    inputs.read_items(client, table, readable.chain(&arrivals).collect()).await;
    let findings = inputs.findings();
    problems.extend(findings.failures.iter().map(|(name, why)| format!("{name}: {why}")));
    problems.extend(findings.unreadable.values().map(ToString::to_string));
    let mut quality = quality_of(findings);

    let totals = catalogue.metrics().iter().filter(|metric| metric.rollup == Rollup::Last);
    let mut counters: Vec<Counter> = totals
        .filter_map(|metric| inputs.total(metric, arrivals.iter().any(|of| of.name == metric.name)))
        .collect();
    counters.extend(flows.into_iter().flat_map(|metric| inputs.flow(metric)));
    match recent {
        Ok(RecentCounters { counters: recent, problems: more, quality: of_recent }) => {
            counters.extend(recent);
            problems.extend(more);
            quality.malformed.extend(of_recent.malformed);
            quality.unreadable.extend(of_recent.unreadable);
        }
        Err(error) => problems.push(error.to_string()),
    }
    Ok(CountedSnapshot { snapshot: Snapshot::new(at, counters), problems, quality })
}

/// Reads the records of the last hours. The second of the pair are the records that cannot be read.
async fn read_hours(
    client: &Client,
    table: &str,
    at: DateTime<Utc>,
) -> Result<(HourlyMetrics, Vec<String>), DynamoDbError> {
    let running = Period::containing(Granularity::Hourly, at);
    let (first, last) = (running.start() - TimeDelta::hours(HOURS), running.previous().start());
    let query = query_of_all_types(table, Granularity::Hourly, first, last);
    let (mut metrics, mut damaged) = (HourlyMetrics::new(), Vec::new());
    for item in client.query(&query).await? {
        match Record::from_item(item) {
            Ok(record) => {
                metrics.insert((record.metric_type, record.period), record.metrics);
            }
            Err(error) => damaged.push(error.to_string()),
        }
    }
    Ok((metrics, damaged))
}

/// The totals that grow only by new items and whose new items can be read by key range, each as the
/// flow of its new items.
fn arrivals(catalogue: &Catalogue) -> Vec<Metric> {
    catalogue
        .metrics()
        .iter()
        .filter(|metric| grows_by_arrivals(metric))
        .map(|metric| metric.with_window(Window::Period))
        .filter(|metric| is_readable(catalogue, metric))
        .collect()
}

/// Whether a total changes only by created and deleted items: it counts every item, by the time of
/// its creation. An item that must meet conditions, or whose value is summed, can enter, leave or
/// change long after that, which only a pass over the whole partition sees.
fn grows_by_arrivals(metric: &Metric) -> bool {
    metric.rollup == Rollup::Last
        && metric.past() == Past::Survivors
        && !metric.is_conditional()
        && matches!(metric.measure, Measure::Count { .. })
}

/// Whether the items of the metric in any span can be read by key range.
fn is_readable(catalogue: &Catalogue, metric: &Metric) -> bool {
    let mut sources = metric.source_names().map(|(_, name)| catalogue.source(name)).peekable();
    sources.peek().is_some()
        && sources.all(|source| source.is_some_and(|source| is_key_range(source, metric)))
}

fn quality_of(findings: &Findings) -> Quality {
    let unreadable = findings.unreadable.iter();
    Quality {
        malformed: findings.malformed.clone(),
        unreadable: unreadable.map(|(name, why)| (name.clone(), why.reason.clone())).ordered_map(),
    }
}
