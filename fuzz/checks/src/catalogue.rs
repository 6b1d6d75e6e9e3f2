//! `metrics.toml`.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    metrics::{catalogue::Catalogue, period::Span},
    query::plan::plan,
};
use support::catalogue::read;

/// The text of a catalogue.
pub fn catalogue(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match read(text) {
        Ok(catalogue) => use_catalogue(&catalogue),
        Err(mistake) => {
            let (line, reason) = mistake
                .strip_prefix("line ")
                .and_then(|rest| rest.split_once(": "))
                .unwrap_or_else(|| panic!("no line: {mistake}"));
            let line: usize = line.parse().unwrap_or_else(|_| panic!("no line: {mistake}"));
            assert!((1..=text.lines().count() + 1).contains(&line), "{mistake}");
            assert!(!reason.is_empty());
        }
    }
}

/// Does with an accepted catalogue what a run does first.
fn use_catalogue(catalogue: &Catalogue) {
    let names: BTreeSet<&str> =
        catalogue.metrics().iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names.len(), catalogue.metrics().len(), "two metrics of one name");
    for metric in catalogue.metrics() {
        assert!(catalogue.types().contains(&metric.type_name));
        assert_eq!(catalogue.metric(&metric.name).map(|found| &found.name), Some(&metric.name));
        for (_, source) in metric.source_names() {
            assert!(catalogue.source(source).is_some(), "{source}");
        }
    }
    let end: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().unwrap();
    let hour = Span::until(end - TimeDelta::hours(1), end);
    let passes = plan(catalogue, catalogue.metrics(), &[hour], "platform");
    for query in passes.iter().flat_map(|pass| &pass.queries) {
        assert!(!query.partition.is_empty() && !query.partition_key.is_empty(), "{query:?}");
        if let Some(range) = &query.range {
            assert!(range.from <= range.to, "{query:?}");
        }
    }
}
