//! Which values of a stored record stay, case by case. The expected values are written by hand.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeZone, Utc};
use serde_json::{Value as Json, json};

use super::*;
use crate::metrics::{catalogue::fixture, period::Granularity, ranking::Ranking};

/// Every kind of metric once.
const METRICS: &str = r#"
    [[metrics]]
    type = "things"
    name = "stock"
    source = "posts"
    measure = "count"
    window = "to_date"
    time = ["createdAt"]
    rollup = "last"
    [[metrics]]
    type = "things"
    name = "conditionalStock"
    source = "posts"
    measure = "count"
    where = { shown = true }
    window = "to_date"
    time = ["createdAt"]
    rollup = "last"
    [[metrics]]
    type = "things"
    name = "flow"
    source = "posts"
    measure = "count"
    window = "period"
    time = ["createdAt"]
    rollup = "sum"
    [[metrics]]
    type = "things"
    name = "conditionalFlow"
    source = "posts"
    measure = "count"
    where = { shown = true }
    window = "period"
    time = ["createdAt"]
    rollup = "sum"
    [[metrics]]
    type = "things"
    name = "distinct"
    source = "posts"
    measure = "count_distinct"
    value = "author"
    window = "period"
    time = ["createdAt"]
    rollup = "merge"
    [[metrics]]
    type = "things"
    name = "mean"
    source = "posts"
    measure = "avg"
    value = "length"
    window = "period"
    time = ["createdAt"]
    rollup = "weighted"
    [[metrics]]
    type = "things"
    name = "now"
    source = "posts"
    measure = "count"
    window = "now"
    rollup = "last"
    [[metrics]]
    type = "things"
    name = "moving"
    source = "posts"
    measure = "count_distinct"
    value = "author"
    window = "period"
    time = ["lastSeen"]
    moves = "lastSeen"
    rollup = "merge"
"#;

/// Noon of 1 March 2026.
fn hour() -> Period {
    Period::containing(Granularity::Hourly, Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap())
}

/// A few minutes, a day and three days after the hour.
fn soon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 13, 0, 5).unwrap()
}

fn next_day() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 13, 0, 5).unwrap()
}

fn settled() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 4, 13, 0, 5).unwrap()
}

fn record(metrics: &Json, at: DateTime<Utc>) -> Record {
    Record {
        metric_type: "things".to_owned(),
        period: hour(),
        metrics: metrics.as_object().unwrap().clone(),
        parts: BTreeMap::new(),
        calculated_at: at,
        coverage: None,
        reconstructed: BTreeMap::new(),
        made_by: Maker::Items.into(),
    }
}

fn marked(mut record: Record, marks: &[(&str, Reconstruction)]) -> Record {
    record.reconstructed = marks.iter().map(|(name, mark)| ((*name).to_owned(), *mark)).collect();
    record
}

fn merged(fresh: &Record, stored: Option<&Record>, occasion: Occasion) -> Record {
    merge(&fixture(METRICS), fresh, stored, occasion).unwrap()
}

/// One metric of the merged record: its value and its mark.
fn said(record: &Record, name: &str) -> (Json, Option<Reconstruction>) {
    let value = record.metrics.get(name).cloned().unwrap_or(Json::Null);
    (value, record.reconstructed.get(name).copied())
}

const BOUND: Option<Reconstruction> = Some(Reconstruction::LowerBound);
const ESTIMATE: Option<Reconstruction> = Some(Reconstruction::Estimate);

#[test]
fn a_run_in_time_observes_all_of_an_absent_record() {
    let fresh = record(&json!({"stock": 7, "flow": 2, "now": 3, "moving": 1}), soon());
    let merged = merged(&fresh, None, Occasion::Scheduled);
    assert_eq!(merged, fresh);
}

#[test]
fn a_later_run_fills_absent_values_and_marks_them() {
    let fresh = record(
        &json!({
            "stock": 7, "conditionalStock": 6, "flow": 2, "conditionalFlow": 1, "mean": 4.5,
            "now": 3, "moving": 1,
        }),
        next_day(),
    );
    for occasion in [Occasion::Recalculation, Occasion::Overwrite] {
        let merged = merged(&fresh, None, occasion);
        for (name, value, mark) in [
            ("stock", json!(7), BOUND),
            ("conditionalStock", json!(6), ESTIMATE),
            ("flow", json!(2), BOUND),
            ("conditionalFlow", json!(1), ESTIMATE),
            ("mean", json!(4.5), ESTIMATE),
            // What the table has forgotten stays absent.
            ("now", Json::Null, None),
            ("moving", Json::Null, None),
        ] {
            assert_eq!(said(&merged, name), (value, mark), "{occasion:?} {name}");
        }
    }
}

/// The stored value, the value counted later, and the one that stays: a day after the hour, three
/// days after it, and with `overwrite`.
#[test]
fn observed_values_stay_and_flows_get_late_arriving_data() {
    let cases: [(&str, i64, i64, i64, i64, i64); 10] = [
        ("stock", 7, 5, 7, 7, 5),
        ("stock", 7, 9, 7, 7, 9),
        ("conditionalStock", 7, 5, 7, 7, 5),
        ("flow", 3, 2, 3, 3, 2),
        ("flow", 3, 4, 4, 4, 4),
        ("conditionalFlow", 3, 2, 2, 3, 2),
        ("conditionalFlow", 3, 4, 4, 4, 4),
        ("now", 3, 4, 3, 3, 3),
        ("moving", 3, 4, 3, 3, 3),
        ("moving", 3, 2, 3, 3, 3),
    ];
    for (name, before, now, unsettled, later, overwritten) in cases {
        let stored = record(&json!({ name: before }), soon());
        for (at, occasion, expected) in [
            (next_day(), Occasion::Recalculation, unsettled),
            (settled(), Occasion::Recalculation, later),
            (settled(), Occasion::Overwrite, overwritten),
        ] {
            let merged = merged(&record(&json!({ name: now }), at), Some(&stored), occasion);
            let (value, mark) = said(&merged, name);
            assert_eq!(value, json!(expected), "{name} {before} {now} {occasion:?} at {at}");
            // Only values that a request replaced are marked; late-arriving data is observed.
            let replaced = occasion == Occasion::Overwrite && expected != before;
            assert_eq!(mark.is_some(), replaced, "{name} {before} {now} {occasion:?}");
        }
    }
}

#[test]
fn a_mark_stays_until_a_run_in_time_observes() {
    let stored = record(&json!({"stock": 5, "flow": 2}), soon());
    let stored = marked(
        stored,
        &[("stock", Reconstruction::LowerBound), ("flow", Reconstruction::LowerBound)],
    );
    let fresh = record(&json!({"stock": 6, "flow": 3}), next_day());
    let later = merged(&fresh, Some(&stored), Occasion::Recalculation);
    assert_eq!(said(&later, "stock"), (json!(5), BOUND));
    assert_eq!(said(&later, "flow"), (json!(3), BOUND));
    let observed = merged(&fresh, Some(&stored), Occasion::Scheduled);
    assert_eq!(said(&observed, "stock"), (json!(6), None));
    assert_eq!(said(&observed, "flow"), (json!(3), None));
}

#[test]
fn a_value_that_cannot_be_recomputed_stays() {
    let stored = record(&json!({"stock": 5, "flow": 2, "now": 1}), soon());
    for occasion in [Occasion::Scheduled, Occasion::Recalculation, Occasion::Overwrite] {
        let merged = merged(&record(&json!({}), settled()), Some(&stored), occasion);
        assert_eq!(merged.metrics, stored.metrics, "{occasion:?}");
        assert!(merged.reconstructed.is_empty(), "{occasion:?}");
    }
}

#[test]
fn a_second_run_in_time_keeps_the_first_stock() {
    let stored = record(&json!({"stock": 5, "now": 1, "flow": 2}), soon());
    let fresh = record(&json!({"stock": 6, "now": 2, "flow": 3, "conditionalStock": 4}), soon());
    let merged = merged(&fresh, Some(&stored), Occasion::Scheduled);
    let expected = json!({"stock": 5, "now": 1, "flow": 3, "conditionalStock": 4});
    assert_eq!(Json::Object(merged.metrics.clone()), expected);
    assert!(merged.reconstructed.is_empty());
}

#[test]
fn distinct_values_that_expired_and_that_arrived_late_are_united() {
    let with = |values: &[&str], at| {
        let set = Distinct::of(values.iter().copied()).unwrap();
        let mut record = record(&json!({"distinct": values.len()}), at);
        record.parts.insert("distinct".to_owned(), Part::distinct(&set));
        record
    };
    for (before, now, expected) in [
        (&["a", "b"][..], &["b", "c"][..], 3),
        (&["a", "b"], &["b"], 2),
        (&["a"], &["a", "b", "c"], 3),
        (&["a", "b"], &[], 2),
    ] {
        let stored = with(before, soon());
        let once = merged(&with(now, settled()), Some(&stored), Occasion::Recalculation);
        assert_eq!(said(&once, "distinct"), (json!(expected), None), "{before:?} {now:?}");
        let part = once.parts["distinct"].as_distinct().unwrap().unwrap();
        assert_eq!(part.count(), expected);
        let twice = merged(&with(now, settled()), Some(&once), Occasion::Recalculation);
        assert_eq!(twice.metrics, once.metrics);
        assert_eq!(twice.parts, once.parts);
    }
}

#[test]
fn the_mean_of_more_values_stays() {
    let with = |mean: f64, count: u64| {
        let mut record = record(&json!({ "mean": mean }), settled());
        record.parts.insert("mean".to_owned(), Part::average(Decimal::from(10), count));
        record
    };
    let stored = with(5.0, 2);
    for (mean, count, expected) in [(10.0, 1, 5.0), (2.5, 4, 2.5), (9.0, 2, 5.0)] {
        let merged = merged(&with(mean, count), Some(&stored), Occasion::Recalculation);
        assert_eq!(said(&merged, "mean"), (json!(expected), None), "{count}");
    }
}

#[test]
fn a_metric_that_is_not_in_the_catalogue_is_kept_with_its_mark() {
    let stored = record(&json!({"ofAnotherBuild": 9, "stock": 1}), soon());
    let stored = marked(stored, &[("ofAnotherBuild", Reconstruction::Estimate)]);
    let merged =
        merged(&record(&json!({"stock": 2}), settled()), Some(&stored), Occasion::Overwrite);
    assert_eq!(said(&merged, "ofAnotherBuild"), (json!(9), ESTIMATE));
    assert_eq!(said(&merged, "stock"), (json!(2), BOUND));
}

#[test]
fn a_rolled_up_record_keeps_values_that_its_finer_records_lack() {
    let stored = record(&json!({"stock": 1, "flow": 2}), soon());
    let stored = marked(stored, &[("flow", Reconstruction::LowerBound)]);
    let fresh =
        marked(record(&json!({"stock": 3}), settled()), &[("stock", Reconstruction::Estimate)]);
    let merged = merged(&fresh, Some(&stored), Occasion::Rollup);
    assert_eq!(said(&merged, "stock"), (json!(3), ESTIMATE));
    assert_eq!(said(&merged, "flow"), (json!(2), BOUND));
}

/// A value that was kept when the others were recomputed keeps its maker, in both directions.
#[test]
fn a_kept_value_keeps_its_maker() {
    let made =
        |metrics: &Json, maker: Maker| Record { made_by: maker.into(), ..record(metrics, soon()) };
    let stored = made(&json!({"stock": 1, "flow": 2}), Maker::Rollup);
    let counted = made(&json!({"stock": 3, "flow": 5}), Maker::Items);
    let merged_up = merged(&counted, Some(&stored), Occasion::Recalculation);
    assert_eq!(merged_up.made_by.maker, Maker::Items);
    assert_eq!(merged_up.made_by.others, BTreeSet::from(["stock".to_owned()]));

    let rolled_up = made(&json!({"stock": 3}), Maker::Rollup);
    let merged = merged(&rolled_up, Some(&merged_up), Occasion::Rollup);
    assert_eq!(merged.made_by.maker, Maker::Rollup);
    assert_eq!(merged.made_by.others, BTreeSet::from(["flow".to_owned()]));
}

#[test]
fn a_ranking_of_more_rows_stays() {
    let ranking = |total: u64| json!([{"targetId": "a", "total": total}]);
    for (before, counted, observes, expected) in [
        (5, 4, false, (ranking(5), None)),
        (5, 6, false, (ranking(6), ESTIMATE)),
        (5, 4, true, (ranking(4), None)),
    ] {
        let stored = record(&json!({ "top": ranking(before) }), soon());
        let mut fresh = record(&json!({}), settled());
        fresh.parts.insert("top".to_owned(), Part::Targets(Ranking::default()));
        settle_ranking(&mut fresh, "top", ranking(counted), Some(&stored), observes);
        assert_eq!(said(&fresh, "top"), expected, "{before} {counted} {observes}");
    }
}

/// The marks of the metrics of a day follow from those of its hours: for a stock that of the last
/// hour, otherwise the weakest of all hours, even if that hour has no value.
#[test]
fn a_day_has_the_weakest_mark_of_its_hours() {
    let catalogue = fixture(METRICS);
    let hours: Vec<Record> = (0..24)
        .map(|number| {
            let mut hour = record(&json!({"stock": 5, "flow": 1, "conditionalFlow": 2}), soon());
            hour.parts.insert("mean".to_owned(), Part::average(Decimal::from(number), 1));
            let marks: &[(&str, Reconstruction)] = match number {
                3 => &[
                    ("stock", Reconstruction::LowerBound),
                    ("flow", Reconstruction::LowerBound),
                    ("conditionalFlow", Reconstruction::LowerBound),
                    ("mean", Reconstruction::Estimate),
                ],
                4 => &[("conditionalFlow", Reconstruction::Estimate)],
                _ => &[],
            };
            marked(hour, marks)
        })
        .collect();
    let marks_of = |hours: &[Option<&Record>]| {
        crate::metrics::rollup::roll_up(&catalogue, "things", hours).unwrap().unwrap().reconstructed
    };
    let day: Vec<_> = hours.iter().map(Some).collect();
    let expected = [
        ("conditionalFlow", Reconstruction::Estimate),
        ("flow", Reconstruction::LowerBound),
        ("mean", Reconstruction::Estimate),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, mark)| (name.to_owned(), mark)).into();
    assert_eq!(marks_of(&day), expected);

    // Up to the fourth hour only: a value that would be too small is absent, and so is its mark.
    let short: Vec<_> = (0..4).map(|_| None).chain(hours[..4].iter().map(Some)).collect();
    let expected = BTreeMap::from([("stock".to_owned(), Reconstruction::LowerBound)]);
    assert_eq!(marks_of(&short), expected);
}
