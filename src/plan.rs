//! Planning a run: the fewest passes that serve its metrics.
//!
//! Metrics that read the same partition share one pass, with a projection of just the attributes
//! they need. A pass that only serves metrics of the spans themselves is read as key ranges where
//! the sort key begins with the metric's time; a pass that serves a total to date reads the partition.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::{
    catalogue::{
        Catalogue,
        definition::{Measure, Metric, SortKeyFormat, Source, Window},
    },
    dynamodb::{KeyRange, Query},
    fold::Fold,
    period::{Span, format_instant},
};

/// A gap between spans that is shorter than this is read along: its rows cost less than the request
/// that a second range takes.
const BRIDGED: TimeDelta = TimeDelta::hours(6);

/// The rows of one source, read once, and the folds they feed.
#[derive(Debug, Clone)]
pub struct Pass<'catalogue> {
    /// The source's name, for reports.
    pub source: &'catalogue str,
    /// The queries of each partition, in the order in which they are to be read.
    pub queries: Vec<Query>,
    /// The attribute that tells items apart, where they move between the partitions.
    pub identity: Option<&'catalogue str>,
    /// What the rows are folded into.
    pub folds: Vec<Fold<'catalogue>>,
}

/// Plans the passes that compute `metrics` of `spans` from `table`.
#[must_use]
pub fn plan<'catalogue>(
    catalogue: &'catalogue Catalogue,
    metrics: impl IntoIterator<Item = &'catalogue Metric>,
    spans: &[Span],
    table: &str,
) -> Vec<Pass<'catalogue>> {
    // By where the rows lie, not by the source's name: two names may mean the same partitions.
    let mut readers: BTreeMap<_, Vec<(&str, &Source, &str, &Metric)>> = BTreeMap::new();
    for metric in metrics {
        if metric.measure == Measure::Departures {
            continue;
        }
        for (share, name) in metric.source_names() {
            if let Some(source) = catalogue.source(name) {
                let place = (&source.index, &source.partitions);
                readers.entry(place).or_default().push((name, source, share, metric));
            }
        }
    }
    readers
        .into_values()
        .filter_map(|readers| {
            let (name, source, ..) = *readers.first()?;
            let folds = readers
                .iter()
                .map(|(_, _, share, metric)| Fold::new(catalogue, metric, share, spans))
                .collect();
            let metrics: Vec<&Metric> = readers.iter().map(|(.., metric)| *metric).collect();
            Some(Pass {
                source: name,
                queries: queries(source, &metrics, spans, table),
                identity: source.identity.as_deref(),
                folds,
            })
        })
        .collect()
}

fn queries(source: &Source, metrics: &[&Metric], spans: &[Span], table: &str) -> Vec<Query> {
    let attributes: BTreeSet<&str> = metrics
        .iter()
        .flat_map(|metric| Fold::attributes(metric))
        .chain(source.identity.as_deref())
        .collect();
    let ranges = key_ranges(source, metrics, spans);
    let [partition_key, sort_key] = &source.keys;
    let query = |partition: &String, range: &Option<KeyRange>| Query {
        table: table.to_owned(),
        index: source.index.clone(),
        partition_key: partition_key.clone(),
        sort_key: sort_key.clone(),
        partition: partition.clone(),
        range: range.clone(),
        projection: attributes.iter().map(|attribute| (*attribute).to_owned()).collect(),
        descending: false,
    };
    let partitions = source.partitions.iter();
    partitions
        .flat_map(|partition| ranges.iter().map(move |range| (partition, range)))
        .map(|(partition, range)| query(partition, range))
        .collect()
}

/// Whether rows of `metric` of any span can be read from `source` as a key range.
#[must_use]
pub fn is_key_range(source: &Source, metric: &Metric) -> bool {
    metric.window == Some(Window::Period)
        && source
            .sort_key_time
            .as_ref()
            .is_some_and(|time| metric.time == [time.attribute.as_str()])
}

/// The sort keys that can hold rows of the spans; one `None` where only the whole partition does.
///
/// A total to date reads its partition without an upper bound: what lies beyond is at most the
/// hour that has just begun, and items whose malformed time sorts behind every date are seen and
/// reported.
fn key_ranges(source: &Source, metrics: &[&Metric], spans: &[Span]) -> Vec<Option<KeyRange>> {
    let Some(time) = &source.sort_key_time else { return vec![None] };
    if !metrics.iter().all(|metric| is_key_range(source, metric)) {
        return vec![None];
    }
    let mut spans: Vec<Span> = spans.iter().copied().filter(|span| !span.is_empty()).collect();
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start < last.next() + BRIDGED => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    joined.into_iter().map(|span| Some(key_range(span, time.format))).collect()
}

/// The sort keys that begin with a time in the span.
#[must_use]
pub fn key_range(span: Span, format: SortKeyFormat) -> KeyRange {
    let write = |instant| {
        let mut text = format_instant(instant);
        if format == SortKeyFormat::Hour {
            text.truncate("2026-03-01T23".len());
        }
        text
    };
    // `~` sorts behind the `#` that may follow the time.
    KeyRange { from: write(span.start), to: format!("{}~", write(span.end)) }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::period::{Granularity, Period};

    fn hour() -> Period {
        let instant = Utc.with_ymd_and_hms(2026, 3, 1, 10, 30, 0).unwrap();
        Period::containing(Granularity::Hourly, instant)
    }

    #[test]
    fn no_partition_is_read_twice() {
        let catalogue = Catalogue::embedded().unwrap();
        let passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
        let mut places: Vec<_> = passes
            .iter()
            .flat_map(|pass| &pass.queries)
            .map(|query| (query.index.clone(), query.partition.clone()))
            .collect();
        let queries = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), queries);
        // users, visitors, media, albums, three interactions, two view counts, orders, six of jobs
        assert_eq!(queries, 16);
    }

    #[test]
    fn one_pass_over_the_users_serves_their_four_metrics_and_mrr() {
        let catalogue = Catalogue::embedded().unwrap();
        let passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
        let users = passes.iter().find(|pass| pass.source == "users").unwrap();
        let names: Vec<_> = users.folds.iter().map(|fold| fold.metric().name.as_str()).collect();
        // deletedUsers follows from totalUsers and newUsers.
        assert_eq!(names, ["totalUsers", "newUsers", "activeUsers", "MRR"]);
    }

    #[test]
    fn what_only_concerns_the_hour_is_read_as_a_key_range() {
        let catalogue = Catalogue::embedded().unwrap();
        let spans = [hour().previous().into(), hour().into()];
        let passes = plan(&catalogue, catalogue.metrics(), &spans, "platform");
        let range = |source: &str| {
            let pass = passes.iter().find(|pass| pass.source == source).unwrap();
            pass.queries[0].range.clone()
        };
        let visitors = range("visitors").unwrap();
        assert_eq!(
            (visitors.from.as_str(), visitors.to.as_str()),
            ("2026-03-01T09", "2026-03-01T10~")
        );
        let views = range("hourly_views").unwrap();
        assert_eq!(views.from, "2026-03-01T09:00:00.000Z");
        assert_eq!(views.to, "2026-03-01T10:59:59.999Z~");
        assert_eq!(range("media"), None);
    }

    #[test]
    fn new_items_alone_are_a_key_range() {
        let catalogue = Catalogue::embedded().unwrap();
        let metrics = catalogue.metrics().iter().filter(|metric| metric.name.starts_with("newL"));
        let passes = plan(&catalogue, metrics, &[hour().into()], "platform");
        assert_eq!(passes.len(), 1);
        assert!(passes[0].queries[0].range.is_some());
    }

    #[test]
    fn what_lies_far_apart_is_read_apart() {
        let catalogue = Catalogue::embedded().unwrap();
        let at = |text: &str| text.parse().unwrap();
        let now = at("2026-03-02T10:20:00Z");
        let spans = [
            Span::until(hour().start() + TimeDelta::hours(24), now),
            Span::until(at("2026-03-01T10:20:00Z"), at("2026-03-01T11:00:00Z")),
            // An hour that is missing in between, near the last, and nothing.
            hour().next().next().into(),
            Span::until(now, now),
        ];
        let metrics = catalogue.metrics().iter().filter(|metric| metric.name == "newLikes");
        let passes = plan(&catalogue, metrics, &spans, "platform");
        let ranges: Vec<_> =
            passes[0].queries.iter().map(|query| query.range.clone().unwrap()).collect();
        let range = |from: &str, to: &str| KeyRange { from: from.to_owned(), to: to.to_owned() };
        assert_eq!(
            ranges,
            [
                range("2026-03-01T10:20:00.000Z", "2026-03-01T12:59:59.999Z~"),
                range("2026-03-02T10:00:00.000Z", "2026-03-02T10:19:59.999Z~"),
            ]
        );
    }

    #[test]
    fn a_pass_asks_for_no_more_attributes_than_its_metrics_need() {
        let catalogue = Catalogue::embedded().unwrap();
        let passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
        let media = passes.iter().find(|pass| pass.source == "media").unwrap();
        assert_eq!(media.queries[0].projection, ["createdAt", "isPublic", "status"]);
    }
}
