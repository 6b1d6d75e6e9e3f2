//! The counters of distinct values in the rows that were seen in the last minutes.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    dynamodb::{Client, DynamoDbError, Item, Query, text},
    metrics::{
        catalogue::{
            Catalogue,
            definition::{Recent, Source},
        },
        expiry::{expiry_of, has_expired},
        findings::Malformed,
        ordered::Ordered,
        period::{Span, parse_instant},
    },
    query::plan::range_of,
    realtime::snapshot::{COUNTED_TTL, Counter},
    store::realtime_state::Quality,
};

/// The counters, and what was found while they were computed.
#[derive(Default)]
pub(super) struct RecentCounters {
    pub(super) counters: Vec<Counter>,
    /// Why other counters are absent.
    pub(super) problems: Vec<String>,
    pub(super) quality: Quality,
}

/// A source of recent rows could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {error}")]
pub(super) struct SourceError {
    name: String,
    error: DynamoDbError,
}

/// One counter while rows are read.
struct RecentCount<'catalogue> {
    recent: &'catalogue Recent,
    span: Span,
    seen: HashSet<String>,
    readable: u64,
    malformed: u64,
}

impl<'catalogue> RecentCount<'catalogue> {
    fn new(recent: &'catalogue Recent, at: DateTime<Utc>) -> Self {
        let span = span_of(recent.minutes, at);
        Self { recent, span, seen: HashSet::new(), readable: 0, malformed: 0 }
    }

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

    /// Adds the counter to `found`, or why there is none: there are rows, and all are malformed.
    fn finish(self, at: DateTime<Utc>, found: &mut RecentCounters) {
        let Self { recent: Recent { name, source, value, time, minutes }, malformed, .. } = self;
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
            "counter `{name}`: every item of source `{source}` that can have been seen in the last \
             {minutes} minutes is malformed: `{time}` must be an RFC 3339 date-time with a time zone, `{value}` a string"
        );
        found.problems.push(format!("{reason} ({malformed} items)"));
        found.quality.unreadable.insert(name.clone(), reason);
    }
}

/// The last `minutes` before `at`.
fn span_of(minutes: u32, at: DateTime<Utc>) -> Span {
    Span::until(at - TimeDelta::minutes(minutes.into()), at)
}

/// Counts what was seen in the last minutes before `at`: one query for each partition of each
/// source, of the hours in which the rows can have been seen.
pub(super) async fn count_recent(
    client: &Client,
    table: &str,
    catalogue: &Catalogue,
    at: DateTime<Utc>,
) -> Result<RecentCounters, SourceError> {
    let all = &catalogue.realtime().recent;
    let names: BTreeSet<&String> = all.iter().map(|recent| &recent.source).ordered_set();
    let mut found = RecentCounters::default();
    for name in names {
        let wanted: Vec<&Recent> = all.iter().filter(|recent| recent.source == *name).collect();
        let Some(source) = catalogue.source(name) else { continue };
        let Some(queries) = queries(table, source, &wanted, catalogue.ttl(), at) else { continue };
        let mut counts: Vec<RecentCount<'_>> =
            wanted.iter().map(|recent| RecentCount::new(recent, at)).collect();
        for query in queries {
            client
                .query_pages(&query, |rows| {
                    for row in rows {
                        for count in &mut counts {
                            count.add(&row, catalogue.ttl());
                        }
                    }
                })
                .await
                .map_err(|error| SourceError { name: name.clone(), error })?;
        }
        for count in counts {
            count.finish(at, &mut found);
        }
    }
    Ok(found)
}

/// The queries of the rows of `source` that `wanted` counts; `None` if its sort key does not begin
/// with a time, which the build rejects.
fn queries(
    table: &str,
    source: &Source,
    wanted: &[&Recent],
    ttl: Option<&str>,
    at: DateTime<Utc>,
) -> Option<Vec<Query>> {
    let format = source.sort_key_time.as_ref()?.format;
    let longest = wanted.iter().map(|recent| recent.minutes).max().unwrap_or_default();
    let attributes: BTreeSet<&str> = wanted
        .iter()
        .flat_map(|recent| [recent.value.as_str(), recent.time.as_str()])
        .chain(ttl)
        .ordered_set();
    let [partition_key, sort_key] = &source.keys;
    let query = |partition: &String| Query {
        table: table.to_owned(),
        index: source.index.clone(),
        partition_key: partition_key.clone(),
        sort_key: sort_key.clone(),
        partition: partition.clone(),
        range: Some(range_of(span_of(longest, at), format)),
        projection: attributes.iter().map(|attribute| (*attribute).to_owned()).collect(),
        descending: false,
    };
    Some(source.partitions.iter().map(query).collect())
}
