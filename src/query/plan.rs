//! Planning: the fewest passes that serve the metrics of a run.
//!
//! Metrics that read the same partitions share one pass, with a projection of the attributes that
//! they need. A pass that serves only flows reads key ranges, if the sort key begins with their
//! time. A pass that serves a stock reads the whole partitions.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use crate::{
    dynamodb::{KeyRange, Query},
    metrics::key_range::key_range,
    metrics::{
        catalogue::{
            Catalogue,
            definition::{Metric, SortKeyFormat, Source, Window},
        },
        fold::Fold,
        ordered::Ordered,
        period::Span,
    },
};

/// A gap between spans that is shorter than this is read too: its rows cost less than the request
/// of a second key range.
const BRIDGED_GAP: TimeDelta = TimeDelta::hours(6);

/// One planned read of a source, and the folds of its rows.
#[derive(Debug, Clone)]
pub struct Pass<'catalogue> {
    /// The names of the sources, for reports. Several sources can have the same partitions.
    pub sources: BTreeSet<&'catalogue str>,
    /// The queries, in the order of the partitions.
    pub queries: Vec<Query>,
    /// The attribute that is different in every item, if items move between the partitions.
    pub identity: Option<&'catalogue str>,
    /// The folds of the metrics.
    pub folds: Vec<Fold<'catalogue>>,
}

/// Plans the passes over `table` that compute `metrics` for `spans`.
#[must_use]
pub fn plan<'catalogue>(
    catalogue: &'catalogue Catalogue,
    metrics: impl IntoIterator<Item = &'catalogue Metric>,
    spans: &[Span],
    table: &str,
) -> Vec<Pass<'catalogue>> {
    // By partitions, not by the name of the source: two sources can have the same partitions.
    let mut readers: BTreeMap<_, Vec<(&str, &Source, &str, &Metric)>> = BTreeMap::new();
    for metric in metrics {
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
            let (_, source, ..) = *readers.first()?;
            let folds = readers
                .iter()
                .map(|(_, source, share, metric)| {
                    Fold::new(catalogue, metric, share, Some(source), spans)
                })
                .collect();
            let metrics: Vec<&Metric> = readers.iter().map(|(.., metric)| *metric).collect();
            Some(Pass {
                sources: readers.iter().map(|(name, ..)| *name).ordered_set(),
                queries: queries(source, &metrics, spans, table, catalogue.ttl()),
                identity: source.identity.as_deref(),
                folds,
            })
        })
        .collect()
}

fn queries(
    source: &Source,
    metrics: &[&Metric],
    spans: &[Span],
    table: &str,
    ttl: Option<&str>,
) -> Vec<Query> {
    let attributes: BTreeSet<&str> = metrics
        .iter()
        .flat_map(|metric| metric.attributes())
        // The sort key places an item whose time is malformed.
        .chain(source.sort_key_time.as_ref().map(|_| source.keys[1].as_str()))
        .chain(source.identity.as_deref())
        .chain(ttl)
        .ordered_set();
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

/// Whether the rows of `metric` for any span can be read from `source` as a key range.
#[must_use]
pub fn is_key_range(source: &Source, metric: &Metric) -> bool {
    metric.window() == Some(Window::Period)
        && source
            .sort_key_time
            .as_ref()
            .is_some_and(|time| metric.time() == [time.attribute.as_str()])
}

/// The key ranges that have the rows of the spans; one `None` if the whole partition must be read.
///
/// A stock reads its partition without an upper bound: beyond it are only the rows of the running
/// hour, and items whose malformed time sorts after every date, which are then reported.
fn key_ranges(source: &Source, metrics: &[&Metric], spans: &[Span]) -> Vec<Option<KeyRange>> {
    let Some(time) = &source.sort_key_time else { return vec![None] };
    if !metrics.iter().all(|metric| is_key_range(source, metric)) {
        return vec![None];
    }
    let spans = spans.iter().copied().filter(|span| !span.is_empty()).ordered_vec();
    let mut joined: Vec<Span> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start < last.next() + BRIDGED_GAP => {
                last.end = last.end.max(span.end);
            }
            _ => joined.push(span),
        }
    }
    joined.into_iter().map(|span| Some(range_of(span, time.format))).collect()
}

/// The range of sort keys that begin with a time in the span.
#[must_use]
pub fn range_of(span: Span, format: SortKeyFormat) -> KeyRange {
    let (from, to) = key_range(span, format);
    KeyRange { from, to }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;
    use crate::metrics::{
        catalogue::gallery,
        period::{Granularity, Period},
    };

    fn hour() -> Period {
        let instant = Utc.with_ymd_and_hms(2026, 3, 1, 10, 30, 0).unwrap();
        Period::containing(Granularity::Hourly, instant)
    }

    #[test]
    fn no_partition_is_read_twice() {
        let catalogue = gallery();
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
        let catalogue = gallery();
        let passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
        let users = passes.iter().find(|pass| pass.sources.contains("users")).unwrap();
        let names: Vec<_> = users.folds.iter().map(|fold| fold.metric().name.as_str()).collect();
        // deletedUsers follows from totalUsers and newUsers.
        assert_eq!(names, ["totalUsers", "newUsers", "activeUsers", "MRR"]);
    }

    #[test]
    fn flows_are_read_as_key_ranges() {
        let catalogue = gallery();
        let spans = [hour().previous().into(), hour().into()];
        let passes = plan(&catalogue, catalogue.metrics(), &spans, "platform");
        let range = |source: &str| {
            let pass = passes.iter().find(|pass| pass.sources.contains(source)).unwrap();
            pass.queries[0].range.clone()
        };
        let visitors = range("visitors").unwrap();
        assert_eq!(
            (visitors.from.as_str(), visitors.to.as_str()),
            ("2026-03-01T09", "2026-03-01T10~")
        );
        let views = range("hourly_views").unwrap();
        assert_eq!(views.from, "2026-03-01T09:00:00");
        assert_eq!(views.to, "2026-03-01T10:59:60~");
        assert_eq!(range("media"), None);
    }

    #[test]
    fn new_items_alone_are_a_key_range() {
        let catalogue = gallery();
        let metrics = catalogue.metrics().iter().filter(|metric| metric.name.starts_with("newL"));
        let passes = plan(&catalogue, metrics, &[hour().into()], "platform");
        assert_eq!(passes.len(), 1);
        assert!(passes[0].queries[0].range.is_some());
    }

    #[test]
    fn distant_spans_are_read_as_separate_key_ranges() {
        let catalogue = gallery();
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
                range("2026-03-01T10:20:00", "2026-03-01T12:59:60~"),
                range("2026-03-02T10:00:00", "2026-03-02T10:19:60~"),
            ]
        );
    }

    /// Every way to write the instant as a sort key may: in UTC, with a `T`.
    fn spellings(at: chrono::DateTime<Utc>) -> impl Iterator<Item = String> {
        let second = at.format("%Y-%m-%dT%H:%M:%S").to_string();
        let fraction = at.format("%.9f").to_string();
        let fractions: Vec<String> = [0, 2, 3, 4, 7, 10]
            .map(|length| if length == 0 { String::new() } else { fraction[..length].to_owned() })
            .into();
        let zones = ["Z", "z", "+00:00", "-00:00"];
        let suffixes = ["", "#0f3a", "~", "/x"];
        fractions.into_iter().flat_map(move |fraction| {
            let second = second.clone();
            zones.into_iter().flat_map(move |zone| {
                let text = format!("{second}{fraction}{zone}");
                suffixes.map(|suffix| format!("{text}{suffix}"))
            })
        })
    }

    // Not on wasm, which proptest does not support.
    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        /// Every time in the span is in the range, and the range is at most a second longer at each
        /// end.
        #[test]
        fn a_range_holds_every_spelling_of_every_instant_of_its_span(
            start in 1_772_000_000_000_i64..1_773_000_000_000,
            length in 1_i64..8_000_000,
            position in 0.0..1.0_f64,
            nanoseconds in 0_i64..1_000_000,
        ) {
            let at = |milliseconds: i64| chrono::DateTime::from_timestamp_millis(milliseconds).unwrap();
            let span = Span::until(at(start), at(start + length));
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a position in the span")]
            let within = at(start + (length as f64 * position) as i64) + TimeDelta::nanoseconds(nanoseconds);
            proptest::prop_assert!(span.contains(within));
            let (from, to) = key_range(span, SortKeyFormat::Instant);
            for key in spellings(within) {
                proptest::prop_assert!(from <= key && key <= to, "{from} <= {key} <= {to}");
            }
            for outside in [span.start - TimeDelta::seconds(1), span.next() + TimeDelta::seconds(1)] {
                for key in spellings(outside) {
                    proptest::prop_assert!(key < from || key > to, "{key} in {from}..{to}");
                }
            }
        }
    }

    #[test]
    fn a_leap_second_is_in_the_range_of_its_minute() {
        let at = |text: &str| text.parse().unwrap();
        let span = Span::until(at("2016-12-31T23:00:00Z"), at("2017-01-01T00:00:00Z"));
        let (from, to) = key_range(span, SortKeyFormat::Instant);
        let leap = "2016-12-31T23:59:60.5Z";
        assert!(span.contains(crate::metrics::period::parse_instant(leap).unwrap()));
        assert!(from.as_str() <= leap && leap <= to.as_str());
    }

    #[test]
    fn a_pass_asks_for_no_more_attributes_than_its_metrics_need() {
        let catalogue = gallery();
        let passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
        let media = passes.iter().find(|pass| pass.sources.contains("media")).unwrap();
        let expected = ["GSI4SK", "createdAt", "isPublic", "status", "ttl"];
        assert_eq!(media.queries[0].projection, expected);
    }
}
