//! What the tests of the API share: queries, expected series and records written by hand.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use sample_platform::Item;
use serde_json::{Map, Value, json};
use support::{
    api::{Api, StandingHost, history, instant, stamp},
    database::{Backend, TestTable},
    engine_suite::assert_same,
    fault_proxy::FaultProxy,
    oracle,
};

pub fn range(metric_type: &str, granularity: &str, start: &str, end: &str) -> String {
    format!("metricType={metric_type}&granularity={granularity}&startDate={start}&endDate={end}")
}

/// A request that is right but for what a test adds to it.
pub fn an_hour_of_users() -> String {
    range("users", "hourly", "2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")
}

/// All counted hours of a type.
pub fn all_hours(metric_type: &str) -> String {
    let hours = history().hours();
    range(metric_type, "hourly", &stamp(hours[0]), &stamp(hours[hours.len() - 1]))
}

/// The metrics of an hour by type.
type ByType = BTreeMap<&'static str, oracle::Metrics>;

/// The metrics of every counted hour, oldest first, computed independently.
fn expected_hours() -> Vec<(DateTime<Utc>, ByType)> {
    let mut previous_total = None;
    history()
        .hours()
        .into_iter()
        .map(|hour| {
            let expected = oracle::expected_hour(&history().items, hour, previous_total);
            previous_total = expected["users"]["totalUsers"].as_i64();
            (hour, expected)
        })
        .collect()
}

/// The metrics whose rollup is `sum`, and those whose rollup is `last`.
const SUMS: [&str; 12] = [
    "newUsers",
    "deletedUsers",
    "newMedia",
    "newAlbums",
    "newLikes",
    "newBookmarks",
    "newComments",
    "newViews",
    "newGenerations",
    "successfulGenerations",
    "failedGenerations",
    "newRevenue",
];

const LASTS: [&str; 15] = [
    "totalUsers",
    "totalMedia",
    "publicMedia",
    "privateMedia",
    "mediaByStatus",
    "totalAlbums",
    "publicAlbums",
    "privateAlbums",
    "totalLikes",
    "totalBookmarks",
    "totalComments",
    "totalViews",
    "totalGenerations",
    "MRR",
    "totalRevenue",
];

/// The summary of points from the newest to the oldest, as documented in docs/api.md.
fn expected_summary(points: &[Map<String, Value>]) -> (usize, [Map<String, Value>; 3]) {
    let names: HashSet<&String> = points.iter().flat_map(Map::keys).collect();
    let (mut averages, mut totals, mut trends) = (Map::new(), Map::new(), Map::new());
    for name in names {
        let values: Vec<&Value> = points.iter().filter_map(|point| point.get(name)).collect();
        if LASTS.contains(&name.as_str()) {
            totals.insert(name.clone(), values[0].clone());
        }
        let Some(numbers): Option<Vec<f64>> = values.iter().map(|value| value.as_f64()).collect()
        else {
            continue;
        };
        let count = u32::try_from(numbers.len()).unwrap();
        let sum: f64 = numbers.iter().sum();
        averages.insert(name.clone(), json!(sum / f64::from(count)));
        if SUMS.contains(&name.as_str()) {
            // Money has two decimals, everything else that is added up has none.
            totals.insert(name.clone(), json!((sum * 100.0).round() / 100.0));
        }
        let (latest, earliest) = (numbers[0], numbers[numbers.len() - 1]);
        let trend = if latest * 100.0 > earliest * 105.0 {
            "up"
        } else if latest * 100.0 < earliest * 95.0 {
            "down"
        } else {
            "stable"
        };
        trends.insert(name.clone(), json!(trend));
    }
    (points.len(), [averages, totals, trends])
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}"))
}

pub fn keys(value: &Value) -> Vec<&str> {
    object(value).keys().map(String::as_str).collect()
}

fn assert_summary(summary: &Value, points: &[Map<String, Value>], context: &str) {
    assert_eq!(keys(summary), ["averages", "totalDataPoints", "totals", "trends"], "{context}");
    let (count, [averages, totals, trends]) = expected_summary(points);
    assert_eq!(summary["totalDataPoints"], count, "{context}");
    assert_same(object(&summary["averages"]), &averages, &format!("{context} averages"));
    assert_same(object(&summary["totals"]), &totals, &format!("{context} totals"));
    assert_same(object(&summary["trends"]), &trends, &format!("{context} trends"));
}

/// Compares a series of the whole history with the independent computation.
pub fn assert_series(series: &Value, metric_type: &str) {
    let mut expected: Vec<_> = expected_hours()
        .into_iter()
        .map(|(hour, mut by_type)| (hour, by_type.remove(metric_type).unwrap()))
        .collect();
    expected.reverse();
    let points = series["dataPoints"].as_array().unwrap();
    assert_eq!(points.len(), expected.len(), "{metric_type}");
    for (point, (hour, metrics)) in points.iter().zip(&expected) {
        let context = format!("{hour} {metric_type}");
        assert_eq!(
            keys(point),
            ["calculatedAt", "endTimestamp", "metrics", "timestamp"],
            "{context}"
        );
        assert_eq!(point["timestamp"], stamp(*hour), "{context}");
        let last = *hour + TimeDelta::hours(1) - TimeDelta::milliseconds(1);
        assert_eq!(point["endTimestamp"], stamp(last), "{context}");
        assert_same(object(&point["metrics"]), metrics, &context);
        let (begun, done) = history().counted;
        let calculated = point["calculatedAt"].as_str().unwrap();
        assert!(
            (stamp(begun)..=stamp(done)).contains(&calculated.to_owned()),
            "{context}: {calculated}"
        );
    }
    let metrics: Vec<_> = expected.into_iter().map(|(_, metrics)| metrics).collect();
    assert_summary(&series["summary"], &metrics, metric_type);
    assert_eq!(series["missing"], json!([]), "{metric_type}");
}

pub fn timestamps(series: &Value) -> Vec<&str> {
    let points = series["dataPoints"].as_array().unwrap();
    points.iter().map(|point| point["timestamp"].as_str().unwrap()).collect()
}

pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// A stored record, as documented in docs/reference.md.
pub fn record(
    metric_type: &str,
    granularity: &str,
    start: &str,
    last: &str,
    metrics: &Value,
) -> Item {
    let start = format!("{start}.000Z");
    let item = json!({
        "PK": {"S": format!("ANALYTICS#{metric_type}#{granularity}")}, "SK": {"S": start},
        "GSI1PK": {"S": "ANALYTICS"},
        "GSI1SK": {"S": format!("{granularity}#{start}#{metric_type}")},
        "GSI2PK": {"S": format!("ANALYTICS_TYPE#{metric_type}")}, "GSI2SK": {"S": start},
        "EntityType": {"S": "Analytics"},
        "metricType": {"S": metric_type}, "granularity": {"S": granularity},
        "timestamp": {"S": start}, "endTimestamp": {"S": format!("{last}.999Z")},
        "metrics": {"M": metrics}, "calculatedAt": {"S": "2026-06-02T00:00:00.000Z"},
        "version": {"N": "1"},
    });
    item.as_object().unwrap().clone()
}

pub fn hour_of_users(hour: u32, total: u32) -> Item {
    record(
        "users",
        "hourly",
        &format!("2026-06-01T{hour:02}:00:00"),
        &format!("2026-06-01T{hour:02}:59:59"),
        &json!({"totalUsers": {"N": total.to_string()}}),
    )
}

/// Ten hours, each with 300 KB that the API does not even ask for: four are more than a page of 1 MB.
pub fn large_hours() -> Vec<Item> {
    let large = |hour| {
        let mut item = hour_of_users(hour, hour);
        item.insert("parts".to_owned(), json!({"B": "AAAA".repeat(75_000)}));
        item
    };
    (0..10).map(large).collect()
}

/// A table with these items, and the API over it at a moment at which the clock stands.
pub async fn api_over(items: &[Item], now: &str) -> (TestTable, Api, Arc<StandingHost>) {
    let table = TestTable::with(Backend::Dynoxide, items).await;
    let host = StandingHost::at(instant(now));
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    (table, api, host)
}

/// The queries since the request number `first`, which are all that was asked for besides the hours'
/// state, once.
pub fn queries_beside_the_state(proxy: &FaultProxy, first: usize) -> Vec<Value> {
    let seen = proxy.seen().split_off(first);
    let (gets, queries): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|(operation, _)| operation == "GetItem");
    assert_eq!(gets.len(), 1, "{gets:?}");
    assert_eq!(gets[0].1["Key"], json!({"PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"}}));
    assert!(queries.iter().all(|(operation, _)| operation == "Query"), "{queries:?}");
    queries.into_iter().map(|(_, body)| body).collect()
}
