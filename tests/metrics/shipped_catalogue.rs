//! The shipped `metrics.toml`: what this build embeds. All other tests use a catalogue of their own
//! (`tests/fixtures/metrics.toml`), so that an edit of the shipped one is reviewed here and nowhere else.

use std::collections::BTreeSet;

use edge_analytics::metrics::catalogue::{Catalogue, definition::Rollup};

/// Every metric by type, with its rollup. A change here changes what the API answers.
#[test]
fn the_metrics_are_those_that_were_reviewed() {
    let catalogue = Catalogue::embedded().unwrap();
    let mut listed = Vec::new();
    for name in catalogue.types() {
        listed.push(name.clone());
        for metric in catalogue.of_type(name) {
            let rollup = match metric.rollup {
                Rollup::Sum => "sum",
                Rollup::Last => "last",
                Rollup::Merge => "merge",
                Rollup::Weighted => "weighted",
            };
            let measure = metric.measure.name();
            listed.push(format!("    {:<22} {measure:<14} {rollup}", metric.name));
        }
    }
    insta::assert_snapshot!(listed.join("\n"));
}

/// What the realtime counters and the dashboard name is in the catalogue.
#[test]
fn the_realtime_counters_are_of_its_metrics_and_sources() {
    let catalogue = Catalogue::embedded().unwrap();
    let realtime = catalogue.realtime();
    for name in realtime.flows.iter().chain(&realtime.headlines) {
        assert!(catalogue.metric(name).is_some(), "{name}");
    }
    for recent in &realtime.recent {
        assert!(catalogue.source(&recent.source).is_some(), "{}", recent.source);
    }
}

/// Each source is read by a metric or a realtime counter: one that is not read is left over.
#[test]
fn every_source_is_read() {
    let catalogue = Catalogue::embedded().unwrap();
    let read: BTreeSet<&str> = catalogue
        .metrics()
        .iter()
        .flat_map(|metric| metric.source_names().map(|(_, source)| source))
        .chain(catalogue.realtime().recent.iter().map(|recent| recent.source.as_str()))
        .collect();
    let text = include_str!("../../metrics.toml");
    let declared: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("[sources.")?.strip_suffix(']')).collect();
    assert_eq!(declared, read);
}
