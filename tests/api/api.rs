//! The admin API, whole, through its public seam: the router over a real DynamoDB (dynoxide, in
//! this process). Expected values come from an independent computation over the same items
//! (`support/oracle.rs`) or are written out by hand.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    api::{ApiError, out_of_service},
    dynamodb::{RetryPolicy, WriteRequest, key},
    host::Severity,
    metrics::period::Granularity,
    settings::{Options, Settings},
};
use http::{HeaderValue, Method, Request, StatusCode};
use proptest::{prelude::*, test_runner::TestRunner};
use sample_platform::Item;
use serde_json::{Map, Value, json};
use support::{
    api::{
        API_TOKENS, AWS_SECRET, Answer, Api, HEALTH_TOKEN, HOURS, IMPATIENT, METRICS, ORIGIN,
        StandingHost, TOKEN, changed_cursor, damaged_cursors, get, history, instant,
        known_accounts, stamp, variable, with_token,
    },
    database::{Backend, TestTable},
    engine_suite::platform,
    engine_suite::{TYPES, assert_same, end},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    oracle,
    realtime::{Surroundings, TestCache},
    timeline::{medium, on_time, run_at},
};

// ---------------------------------------------------------------------------------------------
// What is asked for and what is expected

fn range(metric_type: &str, granularity: &str, start: &str, end: &str) -> String {
    format!("metricType={metric_type}&granularity={granularity}&startDate={start}&endDate={end}")
}

/// A request that is right but for what a test adds to it.
fn an_hour_of_users() -> String {
    range("users", "hourly", "2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")
}

/// All counted hours of a type.
fn all_hours(metric_type: &str) -> String {
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

/// The contract's metrics whose rollup is `sum`, and those whose rollup is `last`.
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

/// The summary of points from the newest to the oldest, by the contract's section 5.
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

fn keys(value: &Value) -> Vec<&str> {
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
fn assert_series(series: &Value, metric_type: &str) {
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

fn timestamps(series: &Value) -> Vec<&str> {
    let points = series["dataPoints"].as_array().unwrap();
    points.iter().map(|point| point["timestamp"].as_str().unwrap()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

// ---------------------------------------------------------------------------------------------
// Records written by hand

/// A stored record, as the contract's section 4 describes it.
fn record(metric_type: &str, granularity: &str, start: &str, last: &str, metrics: &Value) -> Item {
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

fn hour_of_users(hour: u32, total: u32) -> Item {
    record(
        "users",
        "hourly",
        &format!("2026-06-01T{hour:02}:00:00"),
        &format!("2026-06-01T{hour:02}:59:59"),
        &json!({"totalUsers": {"N": total.to_string()}}),
    )
}

/// Ten hours, each with 300 KB that the API does not even ask for: four are more than a page of 1 MB.
fn large_hours() -> Vec<Item> {
    let large = |hour| {
        let mut item = hour_of_users(hour, hour);
        item.insert("parts".to_owned(), json!({"B": "AAAA".repeat(75_000)}));
        item
    };
    (0..10).map(large).collect()
}

/// A table with these items, and the API over it at a moment at which the clock stands.
async fn api_over(items: &[Item], now: &str) -> (TestTable, Api, Arc<StandingHost>) {
    let table = TestTable::with(Backend::Dynoxide, items).await;
    let host = StandingHost::at(instant(now));
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    (table, api, host)
}

// ---------------------------------------------------------------------------------------------
// GET /metrics

#[tokio::test]
async fn every_type_is_answered_exactly() {
    let api = history().api();
    for metric_type in TYPES {
        let data = api.data(all_hours(metric_type)).await;
        assert_eq!(
            keys(&data),
            [
                "dataPoints",
                "endDate",
                "granularity",
                "metricType",
                "missing",
                "startDate",
                "summary"
            ]
        );
        assert_eq!(data["metricType"], metric_type);
        assert_eq!(data["granularity"], "hourly");
        assert_eq!(data["startDate"], "2026-05-31T19:00:00.000Z");
        assert_eq!(data["endDate"], "2026-06-01T02:00:00.000Z");
        assert_series(&data, metric_type);
    }
}

#[tokio::test]
async fn all_types_are_answered_exactly_at_once() {
    let data = history().api().data(all_hours("all")).await;
    assert_eq!(
        keys(&data),
        [
            "allMetrics",
            "combinedSummary",
            "endDate",
            "granularity",
            "metricType",
            "missing",
            "startDate"
        ]
    );
    assert_eq!(data["metricType"], "all");
    assert_eq!(data["missing"], json!([]));
    let types = ["users", "media", "albums", "interactions", "generations", "storage", "business"];
    assert_eq!(
        data["combinedSummary"],
        json!({"totalDataPoints": HOURS as usize * TYPES.len(), "metricTypes": types})
    );
    let all = data["allMetrics"].as_array().unwrap();
    let names: Vec<_> = all.iter().map(|series| series["metricType"].as_str().unwrap()).collect();
    assert_eq!(names, types);
    for series in all {
        assert_eq!(keys(series), ["dataPoints", "metricType", "missing", "summary"]);
        match series["metricType"].as_str().unwrap() {
            "storage" => assert_eq!(series["dataPoints"], json!([])),
            metric_type => assert_series(series, metric_type),
        }
    }
}

#[tokio::test]
async fn a_type_that_nothing_is_recorded_of_yet_has_no_points_and_no_holes() {
    let data = history().api().data(all_hours("storage")).await;
    assert_eq!(data["dataPoints"], json!([]));
    assert_eq!(data["missing"], json!([]));
    assert_eq!(
        data["summary"],
        json!({"totalDataPoints": 0, "averages": {}, "totals": {}, "trends": {}})
    );
}

#[tokio::test]
async fn one_query_answers_one_type_and_one_query_on_gsi1_answers_all() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);

    api.data(all_hours("media")).await;
    let seen = queries_beside_the_state(&proxy, 0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let body = &seen[0];
    assert_eq!(body.get("IndexName"), None);
    assert_eq!(body["ExpressionAttributeValues"][":partition"]["S"], "ANALYTICS#media#hourly");

    let data = api.data(all_hours("all")).await;
    assert_eq!(data["combinedSummary"]["totalDataPoints"], 48);
    let seen = queries_beside_the_state(&proxy, 2);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let body = &seen[0];
    assert_eq!(body["IndexName"], "GSI1");
    assert_eq!(body["ExpressionAttributeValues"][":partition"]["S"], "ANALYTICS");

    // Nothing is read for a range in which no period starts.
    let between = range("media", "hourly", "2026-06-01T01:10:00Z", "2026-06-01T01:50:00Z");
    let data = api.data(between).await;
    assert_eq!((&data["dataPoints"], &data["missing"]), (&json!([]), &json!([])));
    assert_eq!(proxy.seen().len(), 4);
}

/// The queries since the request number `first`, which are all that was asked for besides the hours'
/// state, once.
fn queries_beside_the_state(proxy: &FaultProxy, first: usize) -> Vec<Value> {
    let seen = proxy.seen().split_off(first);
    let (gets, queries): (Vec<_>, Vec<_>) =
        seen.into_iter().partition(|(operation, _)| operation == "GetItem");
    assert_eq!(gets.len(), 1, "{gets:?}");
    assert_eq!(gets[0].1["Key"], json!({"PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"}}));
    assert!(queries.iter().all(|(operation, _)| operation == "Query"), "{queries:?}");
    queries.into_iter().map(|(_, body)| body).collect()
}

#[tokio::test]
async fn a_whole_answer_is_as_the_contract_says() {
    let metrics = |total: &str, new: &str, revenue: &str| {
        (
            json!({"totalUsers": {"N": total}, "newUsers": {"N": new}, "visitors": {"N": "4"}}),
            json!({"newRevenue": {"N": revenue}, "totalRevenue": {"N": "29.99"}}),
        )
    };
    let (older_users, older_business) = metrics("100", "3", "0.1");
    let (newer_users, newer_business) = metrics("106", "6", "0.2");
    let hours = [
        ("2026-06-01T01:00:00", "2026-06-01T01:59:59", older_users, older_business),
        ("2026-06-01T02:00:00", "2026-06-01T02:59:59", newer_users, newer_business),
    ];
    let items: Vec<Item> = hours
        .iter()
        .flat_map(|(start, last, users, business)| {
            [("users", users), ("business", business)]
                .map(|(name, metrics)| record(name, "hourly", start, last, metrics))
        })
        .collect();
    let (_table, api, _host) = api_over(&items, "2026-06-01T04:00:00Z").await;
    let users = api
        .metrics(range("users", "hourly", "2026-06-01T00:00:00Z", "2026-06-01T05:00:00%2B01:00"))
        .await;
    assert_eq!(users.header("content-type"), Some("application/json; charset=utf-8"));
    insta::assert_snapshot!("metrics_of_a_type", users.shown(&[]));
    let summary = &users.json()["data"]["summary"];
    assert_eq!(summary["averages"], json!({"totalUsers": 103, "newUsers": 4.5, "visitors": 4}));
    // Distinct counts cannot be added up.
    assert_eq!(summary["totals"], json!({"totalUsers": 106, "newUsers": 9}));
    let all = range("all", "hourly", "2026-06-01T00:00:00Z", "2026-06-01T03:00:00Z");
    let all = api.metrics(format!("{all}&metrics=totalUsers,newUsers,newRevenue")).await;
    insta::assert_snapshot!("metrics_of_all_types", all.shown(&[]));
    let business =
        api.data(range("business", "hourly", "2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")).await;
    assert_eq!(
        business["summary"],
        json!({
            "totalDataPoints": 2,
            // 0.1 + 0.2 in decimal.
            "averages": {"newRevenue": 0.15, "totalRevenue": 29.99},
            "totals": {"newRevenue": 0.3, "totalRevenue": 29.99},
            "trends": {"newRevenue": "up", "totalRevenue": "stable"},
        })
    );
}

#[tokio::test]
async fn missing_names_the_complete_periods_without_a_record_and_no_others() {
    let items: Vec<Item> = [0, 1, 3, 5].map(|hour| hour_of_users(hour, hour)).to_vec();
    let (_table, api, host) = api_over(&items, "2026-06-01T06:59:59.999Z").await;
    let day = range("users", "hourly", "2026-06-01", "2026-06-02");
    let data = api.data(&day).await;
    assert_eq!(
        timestamps(&data),
        [
            "2026-06-01T05:00:00.000Z",
            "2026-06-01T03:00:00.000Z",
            "2026-06-01T01:00:00.000Z",
            "2026-06-01T00:00:00.000Z"
        ]
    );
    let holes = ["2026-06-01T04:00:00.000Z", "2026-06-01T02:00:00.000Z"];
    assert_eq!(texts(&data["missing"]), holes);

    // One millisecond later the hour 06 is complete.
    host.set(instant("2026-06-01T07:00:00Z"));
    let data = api.data(&day).await;
    assert_eq!(texts(&data["missing"]), [&["2026-06-01T06:00:00.000Z"][..], &holes].concat());
}

#[tokio::test]
async fn with_all_each_type_has_its_own_holes() {
    let albums = |hour: u32| {
        let (start, last) =
            (format!("2026-06-01T{hour:02}:00:00"), format!("2026-06-01T{hour:02}:59:59"));
        record("albums", "hourly", &start, &last, &json!({"newAlbums": {"N": "1"}}))
    };
    let items = [hour_of_users(0, 1), hour_of_users(1, 1), albums(0), albums(2)];
    let (_table, api, _host) = api_over(&items, "2026-06-01T03:00:00Z").await;
    let data = api.data(range("all", "hourly", "2026-06-01", "2026-06-01T02:00:00Z")).await;
    let missing = |metric_type: &str| {
        let all = data["allMetrics"].as_array().unwrap();
        let series = all.iter().find(|series| series["metricType"] == metric_type).unwrap();
        texts(&series["missing"])
    };
    assert_eq!(missing("users"), ["2026-06-01T02:00:00.000Z"]);
    assert_eq!(missing("albums"), ["2026-06-01T01:00:00.000Z"]);
    let all = ["2026-06-01T02:00:00.000Z", "2026-06-01T01:00:00.000Z", "2026-06-01T00:00:00.000Z"];
    assert_eq!(missing("media"), all);
    assert!(missing("storage").is_empty());
    assert_eq!(texts(&data["missing"]), all);
    assert_eq!(data["combinedSummary"]["totalDataPoints"], 4);
}

#[tokio::test]
async fn days_weeks_and_months_are_periods_of_their_own() {
    let metrics = json!({"newUsers": {"N": "2"}});
    let items = [
        record("users", "daily", "2026-12-31T00:00:00", "2026-12-31T23:59:59", &metrics),
        record("users", "weekly", "2026-12-28T00:00:00", "2027-01-03T23:59:59", &metrics),
        record("users", "monthly", "2026-12-01T00:00:00", "2026-12-31T23:59:59", &metrics),
    ];
    let (_table, api, _host) = api_over(&items, "2027-02-03T12:00:00Z").await;
    for (granularity, start, end, there, last, missing) in [
        (
            "daily",
            "2026-12-30",
            "2027-01-01",
            "2026-12-31T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            vec!["2027-01-01T00:00:00.000Z", "2026-12-30T00:00:00.000Z"],
        ),
        (
            "weekly",
            "2026-12-15",
            "2027-01-10",
            "2026-12-28T00:00:00.000Z",
            "2027-01-03T23:59:59.999Z",
            vec!["2027-01-04T00:00:00.000Z", "2026-12-21T00:00:00.000Z"],
        ),
        (
            // From the 31st, over a February that is not over yet.
            "monthly",
            "2026-10-31",
            "2027-03-01",
            "2026-12-01T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            vec!["2027-01-01T00:00:00.000Z", "2026-11-01T00:00:00.000Z"],
        ),
    ] {
        for metric_type in ["users", "all"] {
            let data = api.data(range(metric_type, granularity, start, end)).await;
            let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
            assert_eq!(timestamps(series), [there], "{granularity}");
            assert_eq!(series["dataPoints"][0]["endTimestamp"], last, "{granularity}");
            assert_eq!(texts(&series["missing"]), missing, "{granularity}");
        }
    }
}

#[tokio::test]
async fn both_ends_of_the_range_are_inclusive() {
    let api = history().api();
    let hour = |number: u32| format!("2026-06-01T0{number}:00:00.000Z");
    for (start, end, expected) in [
        ("2026-06-01T00:00:00Z", "2026-06-01T02:00:00Z", vec![hour(2), hour(1), hour(0)]),
        ("2026-06-01T00:00:00.001Z", "2026-06-01T02:00:00Z", vec![hour(2), hour(1)]),
        ("2026-06-01T00:00:00Z", "2026-06-01T01:59:59.999Z", vec![hour(1), hour(0)]),
        ("2026-06-01", "2026-06-01T00:00:00.001Z", vec![hour(0)]),
        ("2026-05-31T23:59:59.999Z", "2026-06-01", vec![hour(0)]),
        ("2026-06-01T00:00:00.001Z", "2026-06-01T00:59:59.999Z", vec![]),
    ] {
        let data = api.data(range("users", "hourly", start, end)).await;
        assert_eq!(timestamps(&data), expected, "{start} to {end}");
        let data = api.data(range("all", "hourly", start, end)).await;
        assert_eq!(timestamps(&data["allMetrics"][0]), expected, "{start} to {end}, all");
    }
}

#[tokio::test]
async fn only_the_named_metrics_are_answered() {
    let api = history().api();
    let everything = api.data(all_hours("users")).await;
    let data = api.data(format!("{}&metrics=newUsers,%20visitors", all_hours("users"))).await;
    let points = data["dataPoints"].as_array().unwrap();
    assert_eq!(points.len(), HOURS as usize);
    for (point, whole) in points.iter().zip(everything["dataPoints"].as_array().unwrap()) {
        assert_eq!(keys(&point["metrics"]), ["newUsers", "visitors"]);
        assert_eq!(point["metrics"]["newUsers"], whole["metrics"]["newUsers"]);
        assert_eq!(point["timestamp"], whole["timestamp"]);
    }
    assert_eq!(keys(&data["summary"]["averages"]), ["newUsers", "visitors"]);
    assert_eq!(keys(&data["summary"]["totals"]), ["newUsers"]);

    // With `all`, the metrics of any type can be named.
    let data = api.data(format!("{}&metrics=newUsers,MRR", all_hours("all"))).await;
    for series in data["allMetrics"].as_array().unwrap() {
        let expected: &[&str] = match series["metricType"].as_str().unwrap() {
            "users" => &["newUsers"],
            "business" => &["MRR"],
            _ => &[],
        };
        for point in series["dataPoints"].as_array().unwrap() {
            assert_eq!(keys(&point["metrics"]), expected);
        }
        assert_eq!(keys(&series["summary"]["averages"]), expected);
    }
}

#[tokio::test]
async fn every_page_of_a_query_is_read() {
    let table = TestTable::with(Backend::Dynoxide, &large_hours()).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant("2026-06-01T10:00:00Z"));
    let api = Api::new(&proxy.endpoint, &table.name, host);
    let mut before = 0;
    for metric_type in ["users", "all"] {
        let day = range(metric_type, "hourly", "2026-06-01", "2026-06-02");
        let data = api.data(&day).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        assert_eq!(timestamps(series).len(), 10, "{metric_type}");
        assert_eq!(series["missing"], json!([]));
        assert_eq!(series["summary"]["averages"]["totalUsers"], 4.5);
        let pages = proxy.seen().len() - before;
        assert!(pages >= 3, "{metric_type}: {pages} pages");
        before = proxy.seen().len();
    }
}

#[tokio::test]
async fn an_empty_page_is_not_the_end() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| {
        let is_first = seen.operation == "Query" && seen.body.get("ExclusiveStartKey").is_none();
        if is_first { Fault::EmptyPage } else { Fault::None }
    })
    .await;
    // The proxy's key points before the oldest item, so it fits a query that reads upwards; one
    // that reads downwards goes on from it to nothing. What counts here is that it does go on.
    let _ = history().api_through(&proxy.endpoint).metrics(all_hours("users")).await;
    let continued =
        proxy.seen().iter().filter(|(_, body)| body.get("ExclusiveStartKey").is_some()).count();
    assert_eq!(continued, 1);
}

#[tokio::test]
async fn a_damaged_record_shows_as_missing() {
    let undamaged = hour_of_users(0, 10);
    let damage = |hour: u32, name: &str, value: Option<Value>| {
        let mut item = hour_of_users(hour, 10);
        match value {
            Some(value) => item.insert(name.to_owned(), value),
            None => item.remove(name),
        };
        item
    };
    let items = [
        undamaged,
        damage(1, "metrics", Some(json!({"S": "not a map"}))),
        damage(2, "metrics", None),
        damage(3, "calculatedAt", Some(json!({"S": "yesterday"}))),
        damage(4, "timestamp", Some(json!({"N": "5"}))),
        damage(5, "granularity", Some(json!({"S": "secondly"}))),
        damage(6, "version", Some(json!({"N": "99"}))),
        // An older version is no damage.
        damage(7, "version", Some(json!({"N": "0"}))),
    ];
    let (_table, api, host) = api_over(&items, "2026-06-01T08:00:00Z").await;
    for metric_type in ["users", "all"] {
        let before = host.lines().len();
        let answer =
            api.metrics(range(metric_type, "hourly", "2026-06-01", "2026-06-01T07:00:00Z")).await;
        let data = &answer.json()["data"];
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { data };
        assert_eq!(
            timestamps(series),
            ["2026-06-01T07:00:00.000Z", "2026-06-01T00:00:00.000Z"],
            "{metric_type}"
        );
        let damaged: Vec<_> =
            (1..=6).rev().map(|hour| format!("2026-06-01T0{hour}:00:00.000Z")).collect();
        assert_eq!(texts(&series["missing"]), damaged, "{metric_type}");
        assert_eq!(series["summary"]["averages"]["totalUsers"], 10);

        // The operator learns of it, under the request's id.
        let lines = host.lines().split_off(before);
        let unreadable: Vec<_> =
            lines.iter().filter(|(_, line)| line["event"] == "unreadable_record").collect();
        assert_eq!(unreadable.len(), 6, "{lines:?}");
        let id = answer.assert_common_headers();
        for (severity, line) in unreadable {
            assert_eq!(*severity, Severity::Error);
            assert_eq!(line["requestId"], id);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Pages

/// Two types in ten hours with holes: users at 0, 1, 4, 5, 9, media at 1, 2, 5.
fn hours_with_holes() -> Vec<Item> {
    let hour = |metric_type: &str, hour: u32, name: &str| {
        record(
            metric_type,
            "hourly",
            &format!("2026-06-01T{hour:02}:00:00"),
            &format!("2026-06-01T{hour:02}:59:59"),
            &json!({name: {"N": hour.to_string()}}),
        )
    };
    let users = [0, 1, 4, 5, 9].map(|at| hour("users", at, "totalUsers"));
    let media = [1, 2, 5].map(|at| hour("media", at, "totalMedia"));
    users.into_iter().chain(media).collect()
}

/// All pages of a query.
async fn pages(api: &Api, query: &str) -> Vec<Value> {
    let mut pages = vec![api.data(query).await];
    while let Some(cursor) = pages[pages.len() - 1]["nextCursor"].as_str() {
        let page = api.data(format!("{query}&cursor={cursor}")).await;
        assert!(pages.len() < 100, "it does not end");
        pages.push(page);
    }
    for page in &pages[..pages.len() - 1] {
        assert!(page["nextCursor"].is_string(), "{page}");
    }
    assert_eq!(pages[pages.len() - 1]["nextCursor"], Value::Null);
    pages
}

/// The series of a type on a page.
fn series_of<'page>(page: &'page Value, metric_type: &str) -> &'page Value {
    match page["allMetrics"].as_array() {
        Some(all) => all.iter().find(|one| one["metricType"] == metric_type).unwrap(),
        None => page,
    }
}

#[tokio::test]
async fn pages_together_are_the_whole_answer() {
    let (_table, holes, _) = api_over(&hours_with_holes(), "2026-06-01T10:00:00Z").await;
    let ten_hours =
        |metric_type: &str| range(metric_type, "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let counted = history().api();
    for (api, query, types, limits) in [
        (&holes, ten_hours("users"), &["users"][..], &[1, 2, 3, 5, 5000][..]),
        (&holes, ten_hours("all"), &["users", "media", "business"][..], &[7, 8, 5000][..]),
        (&counted, all_hours("media"), &["media"][..], &[1, 3, 8][..]),
        (&counted, all_hours("all"), &TYPES[..], &[7, 11, 12, 20, 47, 48][..]),
    ] {
        let whole = api.data(&query).await;
        assert!(whole.get("nextCursor").is_none(), "{whole}");
        for limit in limits {
            let query = format!("{query}&limit={limit}");
            let pages = pages(api, &query).await;
            for metric_type in types {
                for list in ["dataPoints", "missing"] {
                    let joined: Vec<&Value> = pages
                        .iter()
                        .flat_map(|page| series_of(page, metric_type)[list].as_array().unwrap())
                        .collect();
                    let expected = series_of(&whole, metric_type)[list].as_array().unwrap();
                    let expected: Vec<&Value> = expected.iter().collect();
                    assert_eq!(joined, expected, "{query}: {metric_type} {list}");
                }
                for page in &pages {
                    let series = series_of(page, metric_type);
                    let points = series["dataPoints"].as_array().unwrap().len();
                    assert_eq!(series["summary"]["totalDataPoints"], points, "{query}");
                }
            }
            let union: Vec<&str> = pages.iter().flat_map(|page| texts(&page["missing"])).collect();
            assert_eq!(union, texts(&whole["missing"]), "{query}");
            for page in &pages {
                let points = match page["combinedSummary"]["totalDataPoints"].as_u64() {
                    Some(points) => points,
                    None => page["summary"]["totalDataPoints"].as_u64().unwrap(),
                };
                assert!(points <= *limit, "{query}: {points} points");
            }
        }
    }
}

#[tokio::test]
async fn a_page_holds_whole_periods_and_as_many_as_fit() {
    let api = history().api();
    let sizes = async |limit: u32| {
        let pages = pages(&api, &format!("{}&limit={limit}", all_hours("all"))).await;
        let size = |page: &Value| page["combinedSummary"]["totalDataPoints"].as_u64().unwrap();
        pages.iter().map(size).collect::<Vec<_>>()
    };
    // Eight hours of six types.
    assert_eq!(sizes(7).await, [6; 8]);
    assert_eq!(sizes(12).await, [12; 4]);
    assert_eq!(sizes(23).await, [18, 18, 12]);
    assert_eq!(sizes(47).await, [42, 6]);
    assert_eq!(sizes(48).await, [48]);
}

#[tokio::test]
async fn no_more_is_read_than_a_page_needs() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    let data = api.data(format!("{}&limit=3", all_hours("media"))).await;
    let seen = queries_beside_the_state(&proxy, 0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0]["Limit"].as_u64().unwrap() <= 10, "{seen:?}");
    // The next page is read from where it begins.
    let before = proxy.seen().len();
    let cursor = data["nextCursor"].as_str().unwrap();
    api.data(format!("{}&limit=3&cursor={cursor}", all_hours("media"))).await;
    let seen = queries_beside_the_state(&proxy, before);
    let next = stamp(history().hours()[HOURS as usize - 4]);
    assert!(seen[0]["ExpressionAttributeValues"].to_string().contains(&next), "{seen:?}");
}

#[tokio::test]
async fn a_limit_that_is_no_number_in_range_is_refused() {
    let api = history().api();
    for (metric_type, least, wrong) in [
        ("media", 1, &["", "0", "5001", "-1", "+5", "1.5", "many", "99999999999999999999"][..]),
        ("all", 7, &["0", "1", "6", "5001"][..]),
    ] {
        for limit in wrong {
            let limit = limit.replace('+', "%2B");
            let query = format!("{}&limit={limit}", all_hours(metric_type));
            let error = format!("Invalid limit. Must be a whole number from {least} to 5000");
            let answer = api.metrics(&query).await;
            assert_refused(&answer, &error, &query);
            assert_eq!(answer.json()["details"]["parameter"], "limit", "{query}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_is_damaged_forged_or_of_another_query_is_refused() {
    let api = history().api();
    let hours = history().hours();
    let query = all_hours("media");
    let cursor = api.data(format!("{query}&limit=2")).await["nextCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = async |query: &str, cursor: &str, error: &str| {
        let query = format!("{query}&cursor={cursor}");
        let answer = api.metrics(&query).await;
        assert_refused(&answer, error, &query);
        assert_eq!(answer.json()["details"], json!({"parameter": "cursor"}), "{query}");
    };
    // `limit` may change, and the question may be asked in other words.
    let first = stamp(hours[0]).replace(".000Z", "%2B00:00");
    let same = range("media", "hourly", &first, &stamp(hours[hours.len() - 1]));
    for query in [query.clone(), format!("{query}&limit=5"), same] {
        let page = api.data(format!("{query}&cursor={cursor}")).await;
        let newest = stamp(hours[hours.len() - 3]);
        assert_eq!(page["dataPoints"][0]["timestamp"], newest, "{query}");
    }
    let last = stamp(hours[hours.len() - 1]);
    for other in [
        all_hours("users"),
        all_hours("all"),
        range("media", "daily", &stamp(hours[0]), &last),
        range("media", "hourly", &stamp(hours[1]), &last),
        range("media", "hourly", &stamp(hours[0]), &stamp(hours[hours.len() - 2])),
        format!("{query}&metrics=newMedia"),
        format!("{query}&current=true"),
    ] {
        refused(&other, cursor, "cursor belongs to another query").await;
    }
    let written = |change: &dyn Fn(&mut Value)| changed_cursor(cursor, change);
    let others =
        [written(&|cursor| cursor["n"] = json!(5)), written(&|cursor| cursor["q"] = json!(null))];
    for damaged in damaged_cursors(cursor).into_iter().chain(others) {
        refused(&query, &damaged, "Invalid cursor").await;
    }
    let outside = [
        stamp(hours[0] - TimeDelta::hours(1)),
        stamp(hours[hours.len() - 1] + TimeDelta::hours(1)),
        stamp(hours[1] + TimeDelta::milliseconds(1)),
        "yesterday".to_owned(),
        String::new(),
    ];
    for newest in outside {
        let forged = written(&|cursor| cursor["n"] = json!(newest));
        refused(&query, &forged, "cursor belongs to another query").await;
    }
    let forged = written(&|cursor| cursor["q"] = json!("AAAAAAAAAAAAAAAAAAAAAA"));
    refused(&query, &forged, "cursor belongs to another query").await;
}

// ---------------------------------------------------------------------------------------------
// Stale data points

/// The data points of a response, each with its start, `newMedia` and whether it is stale.
fn media_points(answer: &Value) -> Vec<(String, Option<u64>, bool)> {
    let point = |point: &Value| {
        let stale = point.get("stale").is_some_and(|stale| stale == &json!(true));
        let new = point["metrics"]["newMedia"].as_u64();
        (point["timestamp"].as_str().unwrap().to_owned(), new, stale)
    };
    answer["data"]["dataPoints"].as_array().unwrap().iter().map(point).collect()
}

/// An item that arrives late changes an hour of a day, a week and a month that are rolled up already.
/// Until they are refreshed their data points say so, also where a response from before is cached. A
/// run without a budget leaves them to the next one.
#[tokio::test]
async fn what_a_late_item_changed_is_marked_until_it_is_refreshed() {
    let table = TestTable::with(Backend::Dynoxide, &platform(12)).await;
    on_time(&table, Granularity::Hourly, "2026-05-25T01:00").await;
    on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
    on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
    on_time(&table, Granularity::Weekly, "2026-06-01T00:10").await;
    on_time(&table, Granularity::Monthly, "2026-06-01T00:15").await;

    let surroundings = Surroundings::default();
    let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
    let host = StandingHost::at(instant("2026-06-01T00:50:00Z"));
    let policy = RetryPolicy::default();
    let api = Api::with_surroundings(settings, host.clone(), policy, &surroundings);
    let queries = [("daily", "2026-05-31"), ("weekly", "2026-05-25"), ("monthly", "2026-05-01")];
    let ask = async |(granularity, start): (&str, &str)| {
        let answer = api.metrics(range("media", granularity, start, "2026-05-31T12:00:00Z")).await;
        let cached = answer.header("x-cache").unwrap().to_owned();
        (media_points(&answer.json()), cached)
    };
    let mut before = Vec::new();
    for query in queries {
        let (points, cached) = ask(query).await;
        assert_eq!((points.len(), points[0].2, cached.as_str()), (1, false, "miss"), "{query:?}");
        assert_eq!(ask(query).await, (points.clone(), "hit".to_owned()), "{query:?}");
        before.push(points);
    }
    // The first days of May are before the first hour, so nothing is added up over the month.
    let known: Vec<bool> = before.iter().map(|points| points[0].1.is_some()).collect();
    assert_eq!(known, [true, true, false]);

    table.put(&[medium("late", "2026-05-31T23:30")]).await;
    // A run that has no budget for the refresh.
    let mut options = Options::default();
    options.budget.requests = 1;
    let event = instant("2026-06-01T01:00:00Z");
    let report = run_at(&table, options, Granularity::Hourly, event, event).await;
    assert_eq!(report.stale.len(), 3, "{report:?}");
    host.set(instant("2026-06-01T01:30:00Z"));
    for (query, before) in queries.into_iter().zip(&before) {
        let (start, new, _) = before[0].clone();
        // Twice: what is stale is not cached either.
        for _ in 0..2 {
            let expected = (vec![(start.clone(), new, true)], "bypass".to_owned());
            assert_eq!(ask(query).await, expected, "{query:?}");
        }
    }

    on_time(&table, Granularity::Hourly, "2026-06-01T02:00").await;
    host.set(instant("2026-06-01T02:30:00Z"));
    for (query, before) in queries.into_iter().zip(&before) {
        let (start, new, _) = before[0].clone();
        let expected = [(start, new.map(|new| new + 1), false)];
        assert_eq!(ask(query).await.0, expected, "{query:?}");
    }
}

// ---------------------------------------------------------------------------------------------
// The running period

/// What is known of the running hour, day, week and month, against a plain count of the items.
#[tokio::test]
async fn the_running_period_says_what_it_is_as_of() {
    let created = [
        "2026-05-25T08:10",
        "2026-05-31T23:30",
        "2026-06-01T00:15",
        "2026-06-01T00:45",
        "2026-06-01T01:05",
        "2026-06-01T01:20",
    ];
    let items: Vec<Item> =
        created.iter().enumerate().map(|(at, time)| medium(&format!("m{at}"), time)).collect();
    let table = TestTable::with(Backend::Dynoxide, &items[..1]).await;
    // Each item is there when its hour is counted.
    let mut written = 1;
    for event in 0..=7 * 24 + 1_i64 {
        let event = instant("2026-05-25T01:00:00Z") + TimeDelta::hours(event - 1);
        let hour = event.format("%Y-%m-%dT%H:00").to_string();
        let until = event.format("%Y-%m-%dT%H:%M").to_string();
        let now = created.iter().take_while(|time| **time < until.as_str()).count();
        if now > written {
            table.put(&items[written..now]).await;
            written = now;
        }
        on_time(&table, Granularity::Hourly, &hour).await;
        if hour.ends_with("T00:00") && hour.as_str() > "2026-05-25T12" {
            on_time(&table, Granularity::Daily, &hour.replace("T00:00", "T00:05")).await;
        }
    }
    table.put(&items[written..]).await;

    let host = StandingHost::at(instant("2026-06-01T01:30:00Z"));
    let api = Api::new(&table.endpoint, &table.name, host);
    let point = async |granularity: &str, start: &str| {
        let query = range("media", granularity, start, "2026-06-02");
        let answer = api.metrics(format!("{query}&current=true")).await;
        assert_eq!(answer.header("x-cache"), Some("bypass"));
        let data = answer.json()["data"].clone();
        // It is the newest, is not missing, and no summary has it.
        assert_eq!(data["missing"], json!([]), "{granularity}");
        let points = data["dataPoints"].as_array().unwrap().clone();
        assert_eq!(data["summary"]["totalDataPoints"], points.len() - 1, "{granularity}");
        assert!(points[1..].iter().all(|point| point.get("complete").is_none()), "{granularity}");
        // Nobody gets it who did not ask for it.
        let plain = api.metrics(&query).await.json();
        assert_eq!(plain["data"]["dataPoints"], json!(points[1..]), "{granularity}");
        let point = &points[0];
        assert_eq!(point["complete"], false, "{granularity}");
        (
            point["timestamp"].as_str().unwrap().to_owned(),
            point["asOf"].as_str().unwrap().to_owned(),
            point["metrics"]["newMedia"].clone(),
            point["metrics"]["totalMedia"].clone(),
        )
    };
    let expected = |start: &str, as_of: &str, new: Value, total: Value| {
        (format!("{start}:00:00.000Z"), as_of.to_owned(), new, total)
    };
    // 01:05 and 01:20, by key range; how many there are is not read.
    assert_eq!(
        point("hourly", "2026-06-01").await,
        expected("2026-06-01T01", "2026-06-01T01:30:00.000Z", json!(2), Value::Null)
    );
    let until = "2026-06-01T01:00:00.000Z";
    for (granularity, start, asked) in [
        ("daily", "2026-06-01T00", "2026-05-26"),
        ("weekly", "2026-06-01T00", "2026-05-26"),
        ("monthly", "2026-06-01T00", "2026-05-26"),
    ] {
        // 00:15 and 00:45 of four items that were there by then.
        assert_eq!(
            point(granularity, asked).await,
            expected(start, until, json!(2), json!(4)),
            "{granularity}"
        );
    }
}

// ---------------------------------------------------------------------------------------------
// The edge cache for responses

/// The API over complete hours, with a cache.
async fn cached_api() -> (TestTable, Api, TestCache) {
    let mut items: Vec<Item> = (0..10).map(|hour| hour_of_users(hour, 10 + hour)).collect();
    let state = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"},
        "EntityType": {"S": "AnalyticsState"},
        "runState": {"M": {
            "begin": {"S": "2026-06-01T00:00:00.000Z"},
            "watermark": {"S": "2026-06-01T09:00:00.000Z"},
        }},
    });
    items.push(state.as_object().unwrap().clone());
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let surroundings = Surroundings::default();
    let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
    let host = StandingHost::at(instant("2026-06-01T10:00:00Z"));
    let api = Api::with_surroundings(settings, host, RetryPolicy::default(), &surroundings);
    let background = surroundings.background.clone();
    background.join().await;
    (table, api, surroundings.cache)
}

#[tokio::test]
async fn a_hit_is_streamed_and_says_the_same() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let miss = api.metrics(&query).await;
    assert_eq!(miss.header("x-cache"), Some("miss"));
    assert_eq!(miss.header("content-length"), Some(miss.body.len().to_string().as_str()));
    assert_eq!(cache.kept().len(), 1);
    let hit = api.metrics(&query).await;
    assert_eq!(hit.header("x-cache"), Some("hit"));
    // Its length is known to nobody who passes it on as it comes.
    assert_eq!(hit.header("content-length"), None);
    assert_eq!(hit.header("content-type"), miss.header("content-type"));
    assert_eq!(hit.body, miss.body);
    hit.assert_common_headers();
}

#[tokio::test]
async fn every_page_is_kept_under_a_name_of_its_own() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let mut kept = 0;
    for limit in ["", "&limit=10", "&limit=4", "&limit=3"] {
        let mut cursor = String::new();
        loop {
            let query = format!("{query}{limit}{cursor}");
            let miss = api.metrics(&query).await;
            assert_eq!(miss.header("x-cache"), Some("miss"), "{query}");
            kept += 1;
            assert_eq!(cache.kept().len(), kept, "{query}");
            let hit = api.metrics(&query).await;
            assert_eq!(hit.header("x-cache"), Some("hit"));
            assert_eq!(hit.body, miss.body);
            match miss.json()["data"]["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    // Whole; one page; 4, 4 and 2; 3, 3, 3 and 1.
    assert_eq!(kept, 1 + 1 + 3 + 4);
}

#[tokio::test]
async fn an_answer_with_the_running_period_is_not_kept() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    for _ in 0..2 {
        let answer = api.metrics(format!("{query}&current=true")).await;
        assert_eq!(answer.header("x-cache"), Some("bypass"));
    }
    assert!(cache.kept().is_empty());
    assert_eq!(api.metrics(format!("{query}&current=false")).await.header("x-cache"), Some("miss"));
    assert_eq!(api.metrics(&query).await.header("x-cache"), Some("hit"));
    for wrong in ["", "1", "yes", "TRUE"] {
        let query = format!("{query}&current={wrong}");
        let answer = api.metrics(&query).await;
        assert_refused(&answer, "Invalid current. Must be one of: true, false", &query);
    }
}

// ---------------------------------------------------------------------------------------------
// Bad input

const TYPE_ERROR: &str = "Invalid metricType. Must be one of: users, media, albums, interactions, \
                          generations, storage, business, all";
const GRANULARITY_ERROR: &str =
    "Invalid granularity. Must be one of: hourly, daily, weekly, monthly";
const START_ERROR: &str = "Invalid startDate format. Use ISO 8601 format";
const END_ERROR: &str = "Invalid endDate format. Use ISO 8601 format";
const ORDER_ERROR: &str = "startDate must be before endDate";

#[track_caller]
fn assert_refused(answer: &Answer, error: &str, query: &str) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text());
    assert_eq!(answer.error(400), error, "{query}");
}

#[tokio::test]
async fn absent_and_empty_parameters_are_named() {
    let api = history().api();
    let given = [
        ("metricType", "users"),
        ("granularity", "hourly"),
        ("startDate", "2026-06-01"),
        ("endDate", "2026-06-02"),
    ];
    for (name, _) in given {
        let query = |empty: Option<String>| {
            let others = given.iter().filter(|(other, _)| *other != name);
            let others = others.map(|(other, value)| format!("{other}={value}"));
            others.chain(empty).collect::<Vec<_>>().join("&")
        };
        for empty in [None, Some(format!("{name}=")), Some(name.to_owned())] {
            let query = query(empty);
            let answer = api.metrics(&query).await;
            assert_refused(&answer, &format!("{name} is required"), &query);
            assert_eq!(answer.json()["details"]["parameter"], name);
        }
    }
    for uri in [METRICS.to_owned(), format!("{METRICS}?"), format!("{METRICS}?&&&")] {
        assert_refused(&api.get(&uri).await, "metricType is required", &uri);
    }
    // An empty `metrics` names no metric.
    let query = format!("{}&metrics=", an_hour_of_users());
    assert_eq!(api.metrics(&query).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn repeated_and_unknown_parameters_are_named() {
    let api = history().api();
    let hour = an_hour_of_users();
    for (addition, error) in [
        ("metricType=users", "metricType is repeated"),
        ("metricType=media", "metricType is repeated"),
        ("granularity=hourly", "granularity is repeated"),
        ("startDate=2026-06-01", "startDate is repeated"),
        ("endDate=", "endDate is repeated"),
        ("metrics=newUsers&metrics=visitors", "metrics is repeated"),
        ("metric%54ype=users", "metricType is repeated"),
        ("page=5", "Unknown parameter: page"),
        ("metrictype=users", "Unknown parameter: metrictype"),
        ("metricType[]=users", "Unknown parameter: metricType[]"),
        ("metricType%5B%5D=users", "Unknown parameter: metricType[]"),
        ("startDate[gt]=2026-06-01", "Unknown parameter: startDate[gt]"),
        ("=users", "Unknown parameter: "),
    ] {
        let query = format!("{hour}&{addition}");
        assert_refused(&api.metrics(&query).await, error, &query);
    }
}

#[tokio::test]
async fn unknown_types_granularities_and_metrics_are_refused_with_what_there_is() {
    let api = history().api();
    let with = |metric_type: &str, granularity: &str, more: &str| {
        range(metric_type, granularity, "2026-06-01", "2026-06-02") + more
    };
    for (query, error) in [
        (with("unicorns", "hourly", ""), TYPE_ERROR),
        (with("Users", "hourly", ""), TYPE_ERROR),
        (with("users,media", "hourly", ""), TYPE_ERROR),
        (with("5", "hourly", ""), TYPE_ERROR),
        (with("null", "hourly", ""), TYPE_ERROR),
        (with("%5B%22users%22%5D", "hourly", ""), TYPE_ERROR),
        (with("users%23daily", "hourly", ""), TYPE_ERROR),
        (with("users", "secondly", ""), GRANULARITY_ERROR),
        (with("users", "HOURLY", ""), GRANULARITY_ERROR),
        (with("users", "3600", ""), GRANULARITY_ERROR),
        (with("users", "hourly", "&metrics=unicorns"), "Unknown metrics: unicorns"),
        (with("users", "hourly", "&metrics=newUsers,a,b"), "Unknown metrics: a, b"),
        (with("all", "hourly", "&metrics=newUsers,a"), "Unknown metrics: a"),
        // A metric of another type.
        (with("users", "hourly", "&metrics=newUsers,newMedia"), "Unknown metrics: newMedia"),
        (with("users", "hourly", "&metrics=NEWUSERS"), "Unknown metrics: NEWUSERS"),
    ] {
        assert_refused(&api.metrics(&query).await, error, &query);
    }
    let answer = api.metrics(with("users", "hourly", "&metrics=newMedia,x")).await;
    let body = answer.json();
    assert_eq!(body["details"], json!({"parameter": "metrics", "unknown": ["newMedia", "x"]}));
    // The answer says which there are, and only those of the type.
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("totalUsers, newUsers, activeUsers, deletedUsers, visitors"));
    assert!(!message.contains("totalMedia"), "{message}");
}

#[tokio::test]
async fn what_is_no_date_is_refused() {
    let api = history().api();
    for date in [
        "yesterday",
        "2026-02-30",
        "2025-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-06-00",
        "2026-6-1",
        "20260601",
        "2026-06",
        "2026",
        "1780272000",
        "1780272000000",
        "-1",
        "NaN",
        "null",
        // Without a zone it is no instant.
        "2026-06-01T00:00:00",
        "2026-06-01T00:00:00.000",
        "2026-06-01%2000:00:00Z",
        "2026-06-01T24:00:01Z",
        "2026-06-01T00:60:00Z",
        "2026-06-01T00:00:00%2B99:00",
        "2026-06-01T00:00:00%2B02",
        "2026-06-01T00:00:00Z%00",
        "2026-06-01%0A",
        "%202026-06-01",
        "%EF%BC%92026-06-01",
        "2026-06-01T00:00:00Europe/Berlin",
        "10000-01-01",
        "%2B10000-01-01",
        "-0001-01-01",
        // Instants outside the years that the contract's timestamps can write.
        "9999-12-31T23:30:00-05:00",
        "0000-01-01T00:30:00%2B05:00",
    ] {
        let query = range("users", "hourly", date, "2026-06-01T01:00:00Z");
        let answer = api.metrics(&query).await;
        assert_refused(&answer, START_ERROR, &query);
        assert_eq!(answer.json()["details"]["parameter"], "startDate");
        let query = range("users", "hourly", "2026-06-01T00:00:00Z", date);
        assert_refused(&api.metrics(&query).await, END_ERROR, &query);
    }
}

#[tokio::test]
async fn an_offset_means_what_it_says() {
    let api = history().api();
    for start in [
        "2026-06-01T02:00:00%2B02:00",
        // Unencoded, as people paste it.
        "2026-06-01T02:00:00+02:00",
        "2026-05-31T19:00:00-05:00",
        "2026-06-01T05:30:00.000%2B05:30",
        "2026-06-01T00:00:00%2B00:00",
        "2026-06-01T00:00:00Z",
        "2026-06-01",
    ] {
        let data = api.data(range("users", "hourly", start, "2026-06-01T03:00:00%2B02:00")).await;
        assert_eq!(data["startDate"], "2026-06-01T00:00:00.000Z", "{start}");
        assert_eq!(data["endDate"], "2026-06-01T01:00:00.000Z");
        assert_eq!(
            timestamps(&data),
            ["2026-06-01T01:00:00.000Z", "2026-06-01T00:00:00.000Z"],
            "{start}"
        );
    }
}

#[tokio::test]
async fn the_start_must_lie_before_the_end() {
    let api = history().api();
    for (start, end) in [
        ("2026-06-01", "2026-06-01"),
        ("2026-06-01", "2026-05-31"),
        ("2026-06-01T00:00:00.001Z", "2026-06-01"),
        // The same instant, and an earlier one that reads as a later one.
        ("2026-06-01T02:00:00%2B02:00", "2026-06-01T00:00:00Z"),
        ("2026-06-01T01:00:00Z", "2026-06-01T02:00:00%2B02:00"),
        ("9999-12-31", "0000-01-01"),
    ] {
        let query = range("users", "hourly", start, end);
        assert_refused(&api.metrics(&query).await, ORDER_ERROR, &query);
    }
}

#[tokio::test]
async fn the_first_and_the_last_year_are_years() {
    let api = history().api();
    for metric_type in ["users", "all"] {
        for (granularity, start, end) in [
            ("hourly", "0000-01-01", "0000-01-02"),
            ("daily", "0000-01-01", "0001-01-01"),
            ("weekly", "0000-01-01", "0001-01-01"),
            ("monthly", "0000-01-01", "0001-01-01"),
            ("hourly", "9999-12-31", "9999-12-31T23:59:59.999Z"),
            ("daily", "9999-01-01", "9999-12-31T23:59:59.999Z"),
            ("weekly", "9999-12-30", "9999-12-31"),
            ("monthly", "9999-12-01", "9999-12-31"),
        ] {
            let data = api.data(range(metric_type, granularity, start, end)).await;
            let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
            assert_eq!(series["dataPoints"], json!([]), "{granularity} {start}");
            if start.starts_with('9') {
                assert_eq!(data["missing"], json!([]), "{granularity} {start}");
            }
        }
        let query = range(metric_type, "monthly", "0000-01-01", "9999-12-31");
        assert_refused(&api.metrics(&query).await, "Range too large", &query);
    }
}

#[tokio::test]
async fn more_than_five_thousand_periods_are_refused_with_the_range_that_would_do() {
    let api = history().api();
    for (granularity, start, latest, beyond) in [
        ("hourly", "2026-01-01", "2026-07-28T07:00:00.000Z", "2026-07-28T08:00:00Z"),
        ("daily", "2026-01-01", "2039-09-09T00:00:00.000Z", "2039-09-10"),
        // From a Thursday: the first week starts on the 5th.
        ("weekly", "2026-01-01", "2121-10-27T00:00:00.000Z", "2121-11-03"),
        ("monthly", "2026-01-01", "2442-08-01T00:00:00.000Z", "2442-09-01"),
    ] {
        for metric_type in ["users", "all"] {
            for end in [beyond, "9999-12-31"] {
                let query = range(metric_type, granularity, start, end);
                let answer = api.metrics(&query).await;
                assert_refused(&answer, "Range too large", &query);
                let body = answer.json();
                assert_eq!(
                    body["details"],
                    json!({"maximumPeriods": 5000, "latestEndDate": latest})
                );
                assert!(body["message"].as_str().unwrap().contains(latest), "{body}");
            }
            let data = api.data(range(metric_type, granularity, start, latest)).await;
            assert_eq!(data["endDate"], latest);
        }
    }
}

#[tokio::test]
async fn a_very_long_query_string_is_refused() {
    let api = history().api();
    let hour = an_hour_of_users();
    for query in [
        format!("{hour}&metrics={}", "a".repeat(16 * 1024)),
        format!("{hour}&metrics={}", "a,".repeat(8 * 1024)),
        format!("{hour}&{}", "x".repeat(16 * 1024)),
        "&".repeat(16 * 1024),
        "%00".repeat(5_500),
    ] {
        let answer = api.metrics(&query).await;
        assert_refused(&answer, "Query string too long", &query[..100]);
        assert!(answer.body.len() < 1024);
    }
    // What is just short enough to be looked at does not come back whole either.
    for query in [
        format!("{hour}&metrics={}", "a".repeat(7_000)),
        format!("{hour}&metrics={}", "a,".repeat(3_500)),
        format!("{hour}&{}=1", "x".repeat(7_000)),
        range(&"u".repeat(7_000), "hourly", "2026-06-01", "2026-06-02"),
        range("users", "hourly", &"2".repeat(7_000), "2026-06-02"),
    ] {
        let answer = api.metrics(&query).await;
        answer.error(400);
        assert!(answer.body.len() < 4096, "{} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn control_characters_and_broken_encodings_are_refused() {
    let api = history().api();
    for value in [
        "users%00",
        "%00",
        "us%0Aers",
        "%0D%0ASet-Cookie:a=b",
        "%1B[31m",
        "%7F",
        "%C2%85",
        "%",
        "%Z",
        "%ZZ",
        "users%",
        "users%2",
        "%FF%FE",
        "%C3%28",
        "%ED%A0%80",
        "%F0%9F%A6%84",
        "%F4%90%80%80",
        "%E2%80%AE",
        "u\u{fc}sers",
    ] {
        let query = range(value, "hourly", "2026-06-01", "2026-06-02");
        let answer = api.metrics(&query).await;
        assert_refused(&answer, TYPE_ERROR, &query);
        let text = answer.json().to_string() + &format!("{:?}", answer.headers);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        for query in [
            format!("{}&{value}=1", an_hour_of_users()),
            format!("{}&metrics={value}", an_hour_of_users()),
            range("users", value, "2026-06-01", "2026-06-02"),
            range("users", "hourly", value, "2026-06-02"),
        ] {
            let answer = api.metrics(&query).await;
            answer.error(400);
            assert!(!answer.json()["error"].as_str().unwrap().chars().any(char::is_control));
        }
    }
}

#[tokio::test]
async fn who_may_not_see_the_figures_learns_nothing_about_the_input() {
    let api = history().api();
    let answer =
        api.send(get(format!("{METRICS}?metricType=unicorns")).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.error(401), "Authentication required");
}

/// A parameter's value: right, nearly right, or anything.
fn any_value() -> impl Strategy<Value = String> {
    let date = (0..=9999_i32, 0..=13_u32, 0..=32_u32, 0..=24_u32, -24..=24_i32).prop_map(
        |(year, month, day, hour, offset)| {
            let sign = if offset < 0 { '-' } else { '+' };
            let offset = offset.abs();
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00{sign}{offset:02}:00")
        },
    );
    let edge = proptest::sample::select(vec![
        "users",
        "all",
        "storage",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "2026-06-01",
        "0000-01-01",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T20:00:00-23:59",
        "0000-01-01T00:00:00+23:59",
        "newUsers",
        "newUsers,MRR",
        ",",
        "",
    ])
    .prop_map(str::to_owned);
    prop_oneof![3 => edge, 3 => date, 1 => any::<String>()]
}

/// Every octet percent-encoded.
fn percent_encoded(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| text + &format!("%{octet:02X}"))
}

/// A query string of known and unknown parameters.
fn parameters() -> impl Strategy<Value = String> {
    let known = ["metricType", "granularity", "startDate", "endDate"];
    let type_and_granularity = (
        proptest::sample::select(vec!["users", "business", "storage", "all"]),
        proptest::sample::select(vec!["hourly", "daily", "weekly", "monthly"]),
    );
    let encode = |pairs: Vec<(String, String)>| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    let plausible = (type_and_granularity, any_value(), any_value()).prop_map(
        move |((metric_type, granularity), start, end)| {
            let values = [metric_type, granularity, &start, &end];
            encode(known.into_iter().zip(values).map(|(n, v)| (n.into(), v.into())).collect())
        },
    );
    let name = prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => Just("metrics".to_owned()),
        1 => any::<String>(),
    ];
    let pairs = proptest::collection::vec((name, any_value()), 0..7).prop_map(encode);
    let octets =
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|octets| percent_encoded(&octets));
    let raw = "[!$%&'()*+,\\-./0-9:;<=>?@A-Z\\[\\]^_a-z{|}~]{0,200}";
    prop_oneof![3 => plausible, 3 => pairs, 1 => octets, 1 => raw]
}

/// Whatever the query string, the answer is data or an error of the caller's, in its shape.
#[test]
fn no_query_string_makes_the_api_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let api = history().api();
    let test = |query: String| {
        // What is no URI never reaches the API.
        let Ok(request) = with_token(get(format!("{METRICS}?{query}"))).body(Body::empty()) else {
            return Ok(());
        };
        let answer = runtime.block_on(api.send(request));
        if answer.status == StatusCode::OK {
            let body = answer.json();
            prop_assert_eq!(keys(&body), ["data", "success"]);
            prop_assert_eq!(&body["success"], true);
            answer.assert_common_headers();
        } else {
            prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text());
            answer.error(400);
        }
        Ok(())
    };
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() };
    TestRunner::new(config).run(&parameters(), test).unwrap();
}

/// Every range of a few months is answered, in any year and with any offset, and every complete
/// period in it is either a data point or missing.
#[test]
fn every_reasonable_range_is_answered_and_accounts_for_every_period() {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = end() + TimeDelta::minutes(20);
    let host = StandingHost::at(now);
    let api = history().api_with(host);
    // Each granularity with its periods' length and the start of one of them.
    let granularities = [("hourly", HOUR, 0), ("daily", DAY, 0), ("weekly", 7 * DAY, 4 * DAY)];
    let anywhere = instant("0000-01-03T00:00:00Z").timestamp_millis()
        ..instant("9999-06-01T00:00:00Z").timestamp_millis();
    let around_now = (now - TimeDelta::days(30)).timestamp_millis()
        ..(now + TimeDelta::days(2)).timestamp_millis();
    let to_the_hour = |start: i64| start.div_euclid(HOUR) * HOUR;
    let start = prop_oneof![anywhere, around_now.clone(), around_now.prop_map(to_the_hour),];
    let span = prop_oneof![1..200 * DAY, (1..200_i64).prop_map(|days| days * DAY)];
    let granularity = proptest::sample::select(granularities.to_vec());
    let metric_type = proptest::sample::select(vec!["users", "all"]);
    let case = (metric_type, granularity, start, span, -23..=23_i32);
    let test = |(metric_type, (granularity, length, origin), start, span, offset): (
        &str,
        (&str, i64, i64),
        i64,
        i64,
        i32,
    )| {
        let zone = chrono::FixedOffset::east_opt(offset * 3600).unwrap();
        let text = |milliseconds: i64| {
            let instant = DateTime::from_timestamp_millis(milliseconds).unwrap();
            instant.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
        };
        let query = range(metric_type, granularity, &text(start), &text(start + span));
        let data = runtime.block_on(api.data(&query));
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let first = (start - origin).div_euclid(length)
            + i64::from((start - origin).rem_euclid(length) != 0);
        let last = (start + span - origin).div_euclid(length);
        let last_complete = (now.timestamp_millis() - origin).div_euclid(length) - 1;
        // Nothing is missing before the period in which counting began.
        let begin = (history().first.timestamp_millis() - origin).div_euclid(length);
        let expected = (last.min(last_complete) - first.max(begin) + 1).max(0);
        let there = timestamps(series).len() + texts(&series["missing"]).len();
        prop_assert_eq!(i64::try_from(there).unwrap(), expected, "{}", query);
        Ok(())
    };
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    TestRunner::new(config).run(&case, test).unwrap();
}

// ---------------------------------------------------------------------------------------------
// Paths, methods, headers, log

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let api = history().api();
    for path in [
        "/",
        "/api",
        "/api/admin/analytics",
        "/api/admin/analytics/",
        "/api/admin/analytics/metrics/",
        "/api/admin/analytics/metrics/users",
        "/api/admin/analytics/Metrics",
        "//api/admin/analytics/metrics",
        "/api/admin/analytics/%6Detrics/..",
        "/api/admin/analytics/metrics%00",
        "/favicon.ico",
        "/%FF%FE",
    ] {
        for method in [Method::GET, Method::POST, Method::HEAD] {
            for credentials in [true, false] {
                let mut request = Request::builder().method(method.clone()).uri(path);
                if credentials {
                    request = with_token(request);
                }
                let answer = api.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
                if method == Method::HEAD {
                    answer.assert_common_headers();
                } else {
                    assert_eq!(answer.error(404), "Not found", "{method} {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed() {
    let api = history().api();
    let methods = ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"];
    for method in methods {
        let request = with_token(Request::builder().method(method).uri(METRICS));
        let answer = api.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.error(405), "Method not allowed", "{method}");
        let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
        for name in &mut allowed {
            *name = name.trim();
        }
        assert!(allowed.contains(&"GET") && allowed.contains(&"HEAD"), "{allowed:?}");
        assert!(!allowed.contains(&method), "{allowed:?}");
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let api = history().api();
    let uri = format!("{METRICS}?{}", an_hour_of_users());
    let request = with_token(Request::head(&uri)).body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(answer.body.is_empty());
    answer.assert_common_headers();

    let answer = api.send(Request::head(&uri).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").is_some());
    assert!(answer.body.is_empty());
}

fn cross_origin_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(http::HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

fn preflight(origin: &str) -> Request<Body> {
    Request::options(METRICS)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "authorization")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn an_allowed_origin_may_call_with_credentials() {
    let api = history().api();
    let answer = api.send(preflight(ORIGIN)).await;
    assert!(answer.status.is_success(), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let listed = |name: &str, entry: &str| {
        let list = answer.header(name).unwrap().to_ascii_lowercase();
        list.split(',').any(|listed| listed.trim() == entry)
    };
    assert!(listed("access-control-allow-methods", "get"));
    assert!(listed("access-control-allow-headers", "authorization"));
    assert!(listed("vary", "origin"));
    answer.assert_common_headers();

    // The request itself, also one that fails: the page has to be able to read why.
    for (uri, status) in [
        (format!("{METRICS}?{}", an_hour_of_users()), 200),
        (METRICS.to_owned(), 400),
        ("/nowhere".to_owned(), 404),
    ] {
        let request = with_token(get(&uri)).header("Origin", ORIGIN).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{uri}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{uri}");
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some("x-request-id,location,x-cache")
        );
        assert!(answer.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
    }
}

#[tokio::test]
async fn other_origins_get_no_cross_origin_header() {
    let api = history().api();
    for origin in [
        "https://elsewhere.example.com",
        "http://admin.example.com",
        "https://admin.example.com:8443",
        "https://admin.example.com.elsewhere.example",
        "https://elsewhere.example?https://admin.example.com",
        "https://admin.example.com/",
        "HTTPS://ADMIN.EXAMPLE.COM",
        "null",
        "*",
        "",
    ] {
        let answer = api.send(preflight(origin)).await;
        assert_eq!(cross_origin_headers(&answer), [""; 0], "preflight from {origin}");
        answer.assert_common_headers();
        let uri = format!("{METRICS}?{}", an_hour_of_users());
        let request = with_token(get(uri)).header("Origin", origin).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(cross_origin_headers(&answer), [""; 0], "request from {origin}");
    }
    // The same without any origin, and where none is configured.
    let answer = api.metrics(an_hour_of_users()).await;
    assert_eq!(cross_origin_headers(&answer), [""; 0]);
    let table = &history().table;
    let settings = Settings::read(|name| {
        (name != "ALLOWED_ORIGINS").then(|| variable(name, &table.endpoint, &table.name)).flatten()
    });
    let closed = Api::with_settings(settings.unwrap(), TestHost::new(), RetryPolicy::default());
    assert_eq!(cross_origin_headers(&closed.send(preflight(ORIGIN)).await), [""; 0]);
}

#[tokio::test]
async fn every_answer_has_an_id_that_its_log_line_has_too() {
    let host = TestHost::at(end());
    let api = history().api_with(host.clone());
    let hour = format!("{METRICS}?{}", an_hour_of_users());
    let request = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    let empty = Body::empty;
    let requests = [
        (with_token(get(&hour)).body(empty()), "GET", METRICS, 200),
        (with_token(get(METRICS)).body(empty()), "GET", METRICS, 400),
        (get(&hour).body(empty()), "GET", METRICS, 401),
        (get("/nowhere?a=b").body(empty()), "GET", "/nowhere", 404),
        (request("PUT", METRICS).body(empty()), "PUT", METRICS, 405),
        (with_token(request("HEAD", &hour)).body(empty()), "HEAD", METRICS, 200),
        (Ok(preflight(ORIGIN)), "OPTIONS", METRICS, 200),
        (Ok(preflight("https://elsewhere.example.com")), "OPTIONS", METRICS, 200),
        // Nobody else chooses the id.
        (get("/").header("X-Request-Id", "chosen").body(empty()), "GET", "/", 404),
    ];
    let mut ids = HashSet::new();
    for (request, method, path, status) in requests {
        let before = host.lines().len();
        let answer = api.send(request.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        let id = answer.assert_common_headers();
        assert_ne!(id, "chosen");
        let lines = host.lines().split_off(before);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (severity, line) = &lines[0];
        assert_eq!(*severity, Severity::Info);
        assert_eq!(line["event"], "request");
        assert_eq!(line["requestId"], id);
        assert_eq!(line["method"], method);
        assert_eq!(line["path"], path);
        assert_eq!(line["status"], status);
        assert!(line["milliseconds"].is_u64(), "{line}");
        assert!(ids.insert(id), "an id came twice");
    }
}

#[tokio::test]
async fn the_log_holds_no_credential_and_no_query_string() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let proxy = FaultProxy::start(&history().table.endpoint, move |_| {
        if is_broken.load(Ordering::SeqCst) { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let host = TestHost::at(end());
    let table = &history().table.name;
    let api = Api::with_policy(&proxy.endpoint, table, host.clone(), IMPATIENT);
    let accounts = known_accounts();
    let credentials = [
        TOKEN,
        "a-wrong-token",
        &accounts.administrator.session_id,
        &accounts.ordinary_session_id,
        &accounts.expired_session_id,
        &accounts.deactivated_session_id,
    ];
    let queries = [
        an_hour_of_users(),
        "secretParameter=1".to_owned(),
        range("secretType", "hourly", "2026-06-01", "2026-06-02"),
        format!("{}&metrics=secretMetric", an_hour_of_users()),
    ];
    let mut statuses = HashSet::new();
    for down in [false, true] {
        broken.store(down, Ordering::SeqCst);
        for credential in credentials {
            for query in &queries {
                for path in [METRICS, "/nowhere"] {
                    for (name, value) in [
                        ("Authorization", format!("Bearer {credential}")),
                        ("Authorization", format!("Basic {credential}")),
                        ("Cookie", format!("theme=secretTheme; user_session={credential}")),
                    ] {
                        let request = get(format!("{path}?{query}")).header(name, value);
                        let answer = api.send(request.body(Body::empty()).unwrap()).await;
                        statuses.insert(answer.status.as_u16());
                        let text = answer.text();
                        assert!(!text.contains(credential), "{text}");
                    }
                }
            }
        }
    }
    let expected = [200, 400, 401, 403, 404, 500].into();
    assert_eq!(statuses, expected, "the test means to see every kind of answer");
    let log = format!("{:?}", host.lines());
    let entry_digest = API_TOKENS.split_once(':').unwrap().1;
    let hidden = ["secret", "metricType", "granularity", "2026-06-02", "theme", "user_session"];
    for hidden in hidden.iter().chain(&credentials).chain(&[AWS_SECRET, entry_digest]) {
        assert!(!log.contains(hidden), "the log holds {hidden}");
    }
}

// ---------------------------------------------------------------------------------------------
// Authentication

/// A request for an hour of users with this header.
fn asking(name: &str, value: impl AsRef<[u8]>) -> Request<Body> {
    let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
    get(format!("{METRICS}?{}", an_hour_of_users()))
        .header(name, value)
        .body(Body::empty())
        .unwrap()
}

fn bearer(credential: &str) -> Request<Body> {
    asking("Authorization", format!("Bearer {credential}"))
}

fn cookie(session: &str) -> Request<Body> {
    asking("Cookie", format!("user_session={session}"))
}

#[track_caller]
fn assert_unauthorized(answer: &Answer, context: &str) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{context}: {}", answer.text());
    assert_eq!(answer.error(401), "Authentication required", "{context}");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
}

#[tokio::test]
async fn an_api_token_opens_and_nothing_is_looked_up() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = api.send(asking("Authorization", format!("{scheme} {TOKEN}"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}");
    }
    assert!(reads(&proxy).is_empty());
}

#[tokio::test]
async fn what_is_no_valid_credential_is_refused() {
    let api = history().api();
    let digest = API_TOKENS.split_once(':').unwrap().1;
    let accounts = known_accounts();
    let session = &accounts.administrator.session_id;
    let without = get(format!("{METRICS}?{}", an_hour_of_users())).body(Body::empty()).unwrap();
    assert_unauthorized(&api.send(without).await, "nothing");
    for value in [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        TOKEN,
        &format!("Bearer{TOKEN}"),
        &format!("Basic {TOKEN}"),
        "Basic dGVzdHM6YS10b2tlbi1mb3ItdGVzdHM=",
        &format!("Token {TOKEN}"),
        &format!("Bearer Bearer {TOKEN}"),
        &format!("Bearer {TOKEN} {TOKEN}"),
        &format!("Bearer {TOKEN},"),
        &format!("Bearer \"{TOKEN}\""),
        &format!("Bearer {TOKEN}x"),
        &format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        &format!("Bearer {}", TOKEN.to_uppercase()),
        // What is stored opens nothing.
        &format!("Bearer {digest}"),
        &format!("Bearer {API_TOKENS}"),
        "Bearer tests",
        "Bearer no-such-session",
        &format!("Bearer {session}x"),
        &format!("Basic {session}"),
    ] {
        assert_unauthorized(&api.send(asking("Authorization", value)).await, value);
    }
    for value in [
        "",
        "user_session",
        "user_session=",
        "user_session=no-such-session",
        &format!("session={session}"),
        &format!("USER_SESSION={session}"),
        &format!("not_user_session={session}"),
        &format!("{session}=user_session"),
        // A token belongs into the header.
        &format!("user_session={TOKEN}"),
    ] {
        assert_unauthorized(&api.send(asking("Cookie", value)).await, value);
    }
}

#[tokio::test]
async fn implausible_credentials_are_refused_without_looking_them_up() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    for credential in [
        "x".repeat(513).into_bytes(),
        "x".repeat(16 * 1024).into_bytes(),
        "sessi\u{f6}n".into(),
        b"\xff\xfe".to_vec(),
        b"a\tb".to_vec(),
        b"a b".to_vec(),
    ] {
        for (name, prefix) in [("Authorization", "Bearer "), ("Cookie", "user_session=")] {
            let value = [prefix.as_bytes(), &credential].concat();
            let answer = api.send(asking(name, value)).await;
            assert_unauthorized(&answer, &format!("{name} {:?}", credential.first_chunk::<8>()));
        }
    }
    assert_eq!(proxy.seen(), []);
}

#[tokio::test]
async fn an_administrators_session_opens_as_cookie_and_as_bearer() {
    let session = known_accounts().administrator.session_id;
    let cookie = |value: String| asking("Cookie", value);
    let another_cookie_header = {
        let mut request = asking("Cookie", "theme=dark");
        let value = HeaderValue::from_str(&format!("user_session={session}")).unwrap();
        request.headers_mut().append("Cookie", value);
        request
    };
    for request in [
        bearer(&session),
        cookie(format!("user_session={session}")),
        cookie(format!("theme=dark; user_session={session}; language=de")),
        cookie(format!("theme=dark;user_session={session}")),
        cookie(format!("not_user_session=x; user_session={session}")),
        // Another application's cookie is not ours to judge.
        cookie(format!("name=J\u{f6}rg; broken; user_session={session}")),
        another_cookie_header,
    ] {
        // An API of its own each, so that none is remembered.
        let headers = format!("{:?}", request.headers());
        let answer = history().api().send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers}");
        assert_eq!(answer.json()["data"]["dataPoints"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn sessions_that_are_not_valid_are_refused_and_ordinary_users_are_forbidden() {
    let accounts = known_accounts();
    for request in [bearer, cookie] {
        let api = history().api();
        // Twice: what was looked up and what is remembered answer the same.
        for _ in 0..2 {
            let answer = api.send(request(&accounts.expired_session_id)).await;
            assert_unauthorized(&answer, "expired");
            let answer = api.send(request(&accounts.deactivated_session_id)).await;
            assert_unauthorized(&answer, "of a deactivated administrator");
            let answer = api.send(request("5e5510f0-0000-4000-8000-000000000000")).await;
            assert_unauthorized(&answer, "unknown");
            let answer = api.send(request(&accounts.ordinary_session_id)).await;
            assert_eq!(answer.error(403), "Administrator required");
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
}

fn user(id: &str, role: &str, is_active: bool) -> Item {
    let item = json!({
        "PK": {"S": format!("USER#{id}")}, "SK": {"S": "METADATA"}, "EntityType": {"S": "User"},
        "userId": {"S": id}, "role": {"S": role}, "isActive": {"BOOL": is_active},
    });
    item.as_object().unwrap().clone()
}

fn session(id: &str, user: &str, expires_at: &str) -> Item {
    let item = json!({
        "PK": {"S": format!("SESSION#{id}")}, "SK": {"S": "METADATA"},
        "EntityType": {"S": "UserSession"},
        "userId": {"S": user}, "expiresAt": {"S": expires_at},
    });
    item.as_object().unwrap().clone()
}

const NOON: &str = "2026-06-01T12:00:00Z";

#[tokio::test]
async fn only_an_active_users_role_admin_opens() {
    let later = "2099-01-01T00:00:00.000Z";
    let mut without_role = user("without-role", "", true);
    without_role.remove("role");
    let mut active_by_text = user("by-text", "admin", true);
    active_by_text.insert("isActive".to_owned(), json!({"S": "true"}));
    let items = [
        user("admin", "admin", true),
        user("moderator", "moderator", true),
        user("capital", "ADMIN", true),
        without_role,
        active_by_text,
        session("of-admin", "admin", later),
        session("of-moderator", "moderator", later),
        session("of-capital", "capital", later),
        session("of-without-role", "without-role", later),
        session("of-by-text", "by-text", later),
        session("of-nobody", "nobody", later),
        session("unreadable", "admin", "some day"),
        session("exactly-now", "admin", "2026-06-01T12:00:00.000Z"),
        session("a-moment-left", "admin", "2026-06-01T12:00:00.001Z"),
    ];
    let (_table, api, _host) = api_over(&items, NOON).await;
    for (session, status) in [
        ("of-admin", 200),
        ("a-moment-left", 200),
        ("of-moderator", 403),
        ("of-capital", 403),
        ("of-without-role", 403),
        ("of-by-text", 200),
        ("of-nobody", 401),
        ("unreadable", 401),
        ("exactly-now", 401),
    ] {
        assert_eq!(api.send(cookie(session)).await.status.as_u16(), status, "{session}");
    }
}

/// An administrator with a session, on a table of its own behind a proxy that counts.
async fn signed_in(expires_at: &str) -> (TestTable, FaultProxy, Api, Arc<StandingHost>) {
    let items = [user("admin", "admin", true), session("mine", "admin", expires_at)];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant(NOON));
    let api = Api::new(&proxy.endpoint, &table.name, host.clone());
    (table, proxy, api, host)
}

/// The items that were looked up to know who calls.
fn reads(proxy: &FaultProxy) -> Vec<String> {
    let seen = proxy.seen();
    let reads = seen.iter().filter(|(operation, _)| operation == "GetItem");
    reads
        .map(|(_, body)| body["Key"]["PK"]["S"].as_str().unwrap().to_owned())
        .filter(|partition| partition != "ANALYTICS_STATE")
        .collect()
}

#[tokio::test]
async fn a_session_is_looked_up_with_get_item_and_remembered_for_a_minute() {
    let (_table, proxy, api, host) = signed_in("2099-01-01T00:00:00.000Z").await;
    let look_up = ["SESSION#mine", "USER#admin"].map(str::to_owned);
    for milliseconds in [0, 1, 30_000, 59_999] {
        host.set(instant(NOON) + TimeDelta::milliseconds(milliseconds));
        assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
        assert_eq!(reads(&proxy), look_up, "after {milliseconds} ms");
    }
    host.set(instant(NOON) + TimeDelta::seconds(60));
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    assert_eq!(reads(&proxy), [look_up.clone(), look_up].concat());
    assert!(
        proxy.seen().iter().all(|(operation, _)| ["GetItem", "Query"].contains(&&**operation)),
        "nothing else is asked for"
    );
}

#[tokio::test]
async fn a_session_that_expires_within_the_minute_is_refused_at_once() {
    let (_table, proxy, api, host) = signed_in("2026-06-01T12:00:10.000Z").await;
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    host.set(instant("2026-06-01T12:00:09.999Z"));
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    host.set(instant("2026-06-01T12:00:10.000Z"));
    assert_unauthorized(&api.send(cookie("mine")).await, "expired");
    assert_eq!(reads(&proxy).len(), 2, "what is remembered is enough to refuse");
}

#[tokio::test]
async fn what_ends_a_session_takes_effect_within_a_minute() {
    let revoke = WriteRequest::DeleteRequest { key: key("SESSION#mine", "METADATA") };
    let put = |item: Item| WriteRequest::PutRequest {
        item: serde_json::from_value(item.into()).unwrap(),
    };
    for (change, status) in [
        (revoke, 401),
        (put(user("admin", "admin", false)), 401),
        (put(user("admin", "user", true)), 403),
    ] {
        let (table, _proxy, api, host) = signed_in("2099-01-01T00:00:00.000Z").await;
        assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
        table.client().batch_write(&table.name, vec![change]).await.unwrap();
        host.set(instant(NOON) + TimeDelta::seconds(60));
        assert_eq!(api.send(cookie("mine")).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn one_session_never_answers_for_another() {
    let later = "2099-01-01T00:00:00.000Z";
    let items = [
        user("admin", "admin", true),
        user("other", "user", true),
        session("one", "admin", later),
        session("two", "other", later),
    ];
    let (_table, api, _host) = api_over(&items, NOON).await;
    for _ in 0..2 {
        assert_eq!(api.send(cookie("one")).await.status, StatusCode::OK);
        assert_eq!(api.send(cookie("two")).await.status, StatusCode::FORBIDDEN);
        assert_eq!(api.send(cookie("three")).await.status, StatusCode::UNAUTHORIZED);
    }
}

// ---------------------------------------------------------------------------------------------
// GET /session

const SESSION: &str = "/api/admin/analytics/session";

/// Asks for the session with this header.
async fn session_with(api: &Api, name: &str, value: &str) -> Answer {
    api.send(get(SESSION).header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_session_says_whether_the_caller_is_signed_in_and_never_why_not() {
    let accounts = known_accounts();
    let cookie = |session: &str| ("Cookie", format!("user_session={session}"));
    let bearer = |credential: &str| ("Authorization", format!("Bearer {credential}"));
    let administrator = &accounts.administrator.session_id;
    for ((name, value), method) in [
        (bearer(TOKEN), Some("token")),
        (cookie(administrator), Some("session")),
        (bearer(administrator), Some("session")),
        (("Accept", "application/json".to_owned()), None),
        (bearer("wrong"), None),
        (bearer(HEALTH_TOKEN), None),
        (("Authorization", format!("Basic {TOKEN}")), None),
        (cookie(TOKEN), None),
        (cookie(&accounts.expired_session_id), None),
        (cookie(&accounts.deactivated_session_id), None),
        (cookie(&accounts.ordinary_session_id), None),
        (cookie("5e5510f0-0000-4000-8000-000000000000"), None),
    ] {
        let api = history().api();
        // Twice: what was looked up and what is remembered answer the same.
        for _ in 0..2 {
            let answer = session_with(&api, name, &value).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
            answer.assert_common_headers();
            assert_eq!(answer.header("www-authenticate"), None);
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            let expected = json!({
                "success": true, "data": {"signedIn": method.is_some(), "method": method},
            });
            assert_eq!(answer.json(), expected, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn the_session_is_answered_to_the_configured_origin_only() {
    let api = history().api();
    let answer = session_with(&api, "Origin", ORIGIN).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let answer = session_with(&api, "Origin", "https://example.org").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = api.get(format!("{SESSION}?token=1")).await;
    assert_eq!(answer.error(400), "Unknown parameter: token");
}

/// That nobody could be asked does not mean that the caller is not signed in.
#[tokio::test]
async fn a_session_that_cannot_be_looked_up_is_unknown_and_not_signed_out() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::Throttled).await;
    let table = &history().table.name;
    let api = Api::with_policy(&proxy.endpoint, table, TestHost::at(end()), IMPATIENT);
    let session = known_accounts().administrator.session_id;
    let answer = session_with(&api, "Cookie", &format!("user_session={session}")).await;
    assert_eq!(answer.error(503), "Database unavailable");
    // A token needs no database, and neither does nothing at all.
    let answer = session_with(&api, "Authorization", &format!("Bearer {TOKEN}")).await;
    assert_eq!(answer.json()["data"]["signedIn"], true);
    let answer = session_with(&api, "Accept", "application/json").await;
    assert_eq!(answer.json()["data"]["signedIn"], false);
}

// ---------------------------------------------------------------------------------------------
// When DynamoDB does not answer

#[tokio::test]
async fn a_session_that_cannot_be_looked_up_is_a_503_and_never_a_401() {
    let session = known_accounts().administrator.session_id;
    for fault in [Fault::Dropped, Fault::Throttled, Fault::ServerError] {
        for partition in ["SESSION#", "USER#"] {
            let is_down = Arc::new(AtomicBool::new(true));
            let down = is_down.clone();
            let proxy = FaultProxy::start(&history().table.endpoint, move |seen| {
                let key = seen.body["Key"]["PK"]["S"].as_str().unwrap_or("");
                let hit = down.load(Ordering::SeqCst) && key.starts_with(partition);
                if hit { fault } else { Fault::None }
            })
            .await;
            let host = TestHost::at(end());
            let table = &history().table.name;
            let api = Api::with_policy(&proxy.endpoint, table, host, IMPATIENT);
            let answer = api.send(cookie(&session)).await;
            assert_eq!(answer.error(503), "Database unavailable", "{fault:?} {partition}");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            assert_eq!(answer.header("www-authenticate"), None);
            // The failure is not remembered.
            is_down.store(false, Ordering::SeqCst);
            assert_eq!(api.send(cookie(&session)).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_lookup_that_is_denied_is_a_500_and_never_a_401() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| {
        if seen.operation == "GetItem" { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let answer = history().api_through(&proxy.endpoint).send(cookie("any-session")).await;
    assert_eq!(answer.error(500), "Database error");
}

#[tokio::test]
async fn a_database_that_is_down_or_throttled_is_a_503_that_says_when_to_come_back() {
    let nobody = "http://127.0.0.1:9";
    let short = RetryPolicy { attempt_timeout: Duration::from_millis(20), ..IMPATIENT };
    let slow = Fault::Slow(Duration::from_mins(1));
    for (fault, policy) in [
        (Some(Fault::Throttled), IMPATIENT),
        (Some(Fault::ServerError), IMPATIENT),
        (Some(Fault::Dropped), IMPATIENT),
        (Some(Fault::AnswerLost), IMPATIENT),
        // It may have been cut off on its way.
        (Some(Fault::MalformedJson), IMPATIENT),
        (Some(slow), short),
        (None, IMPATIENT),
    ] {
        let proxy =
            FaultProxy::start(&history().table.endpoint, move |_| fault.unwrap_or(Fault::None))
                .await;
        let endpoint = if fault.is_some() { &proxy.endpoint } else { nobody };
        let host = TestHost::at(end());
        let api = Api::with_policy(endpoint, &history().table.name, host.clone(), policy);
        for metric_type in ["users", "all"] {
            let answer = api.metrics(all_hours(metric_type)).await;
            assert_eq!(answer.error(503), "Database unavailable", "{fault:?}");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            let text = answer.text();
            assert!(!text.contains("injected") && !text.contains("127.0.0.1"), "{text}");
            // The operator finds the cause under the request's id.
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!(severity, Severity::Error);
            assert_eq!(line["requestId"], answer.assert_common_headers());
            assert_eq!(line["status"], 503);
            assert!(line["cause"].as_str().unwrap().starts_with("GetItem on platform"), "{line}");
            assert!(!line.to_string().contains("127.0.0.1"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_aws_is_a_500_without_its_message() {
    let denied = |_: &_| Fault::AccessDenied;
    let proxy = FaultProxy::start(&history().table.endpoint, denied).await;
    let host = TestHost::at(end());
    let api = Api::with_policy(&proxy.endpoint, &history().table.name, host.clone(), IMPATIENT);
    let answer = api.metrics(all_hours("users")).await;
    assert_eq!(answer.error(500), "Database error");
    assert_eq!(answer.header("retry-after"), None);
    assert!(!answer.text().contains("injected"), "{}", answer.text());
    // It is not tried again: that cannot help.
    assert_eq!(proxy.seen().len(), 1);
    let (severity, line) = host.lines().pop().unwrap();
    assert_eq!(severity, Severity::Error);
    assert_eq!(line["requestId"], answer.assert_common_headers());
    assert_eq!(line["status"], 500);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("AccessDeniedException"), "{cause}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_500_in_the_error_shape() {
    let host = TestHost::at(end());
    let api = Api::with_policy(&history().table.endpoint, "no-such-table", host.clone(), IMPATIENT);
    let answer = api.metrics(all_hours("users")).await;
    assert_eq!(answer.error(500), "Database error");
    assert_eq!(answer.json()["details"]["code"], "ResourceNotFoundException");
}

#[tokio::test]
async fn a_page_that_fails_half_way_fails_the_whole_answer() {
    let table = TestTable::with(Backend::Dynoxide, &large_hours()).await;
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.body.get("ExclusiveStartKey").is_some() { Fault::Throttled } else { Fault::None }
    })
    .await;
    let api = Api::with_policy(&proxy.endpoint, &table.name, TestHost::at(end()), IMPATIENT);
    // The points of the first page alone would look like an answer.
    let answer = api.metrics(range("users", "hourly", "2026-06-01", "2026-06-02")).await;
    assert_eq!(answer.error(503), "Database unavailable");
}

#[tokio::test]
async fn a_hiccup_of_the_database_is_not_seen() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| match seen.number {
        0 => Fault::Throttled,
        1 => Fault::Dropped,
        2 => Fault::ServerError,
        _ => Fault::None,
    })
    .await;
    let data = history().api_through(&proxy.endpoint).data(all_hours("users")).await;
    assert_series(&data, "users");
    assert_eq!(proxy.seen().len(), 3 + 2);
}

// ---------------------------------------------------------------------------------------------
// Misconfiguration

#[tokio::test]
async fn a_misconfigured_worker_names_the_variable_and_not_its_value() {
    for (name, value) in [
        ("AWS_REGION", None),
        ("AWS_ACCESS_KEY_ID", None),
        ("AWS_SECRET_ACCESS_KEY", None),
        ("AWS_SECRET_ACCESS_KEY", Some("hidden value")),
        ("AWS_SESSION_TOKEN", Some("hidden value")),
        ("DYNAMODB_TABLE", None),
        ("DYNAMODB_TABLE", Some("hidden/value")),
        ("DYNAMODB_ENDPOINT", Some("http://user:hidden@localhost:8000")),
        ("API_TOKENS", None),
        ("API_TOKENS", Some("hidden:value")),
        ("ALLOWED_ORIGINS", Some("https://admin.example.com/hidden")),
    ] {
        let problems = Settings::read(|variable_name| {
            if variable_name == name {
                value.map(str::to_owned)
            } else {
                variable(variable_name, "http://localhost:8000", "platform")
            }
        })
        .unwrap_err();
        let host = TestHost::at(end());
        let api = Api(out_of_service(ApiError::Misconfigured(problems), host.clone()));
        for (method, path) in [("GET", METRICS), ("POST", METRICS), ("GET", "/nowhere")] {
            let request = with_token(Request::builder().method(method).uri(path));
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.error(500), "misconfigured", "{name}");
            let body = answer.json();
            assert_eq!(body["details"], json!({"variables": [name]}));
            assert!(body["message"].as_str().unwrap().contains(name), "{body}");
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!(severity, Severity::Error);
            assert_eq!(line["requestId"], answer.assert_common_headers());
            assert!(line["cause"].as_str().unwrap().contains(name), "{line}");
            for text in [answer.text(), format!("{:?}", answer.headers), line.to_string()] {
                assert!(!text.contains("hidden"), "{text}");
                assert!(!text.contains(AWS_SECRET), "{text}");
                assert!(!text.contains(TOKEN), "{text}");
            }
        }
    }
}
