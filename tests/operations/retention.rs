//! `GET /metrics` at the edges of time: retention, the first counted hour, coverage.

use std::sync::Arc;

use chrono::TimeDelta;
use edge_analytics::{metrics::period::Granularity, settings::Settings};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, StandingHost, instant, variable},
    database::{Backend, TestTable},
    engine_suite::{TYPES, engine, platform},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::{
    common::{begin, noon},
    health_states::state,
};

pub fn record(granularity: &str, start: &str, last: &str) -> Item {
    let start = format!("{start}.000Z");
    let item = json!({
        "PK": {"S": format!("ANALYTICS#users#{granularity}")}, "SK": {"S": start},
        "GSI1PK": {"S": "ANALYTICS"}, "GSI1SK": {"S": format!("{granularity}#{start}#users")},
        "EntityType": {"S": "Analytics"}, "metricType": {"S": "users"},
        "granularity": {"S": granularity}, "timestamp": {"S": start},
        "endTimestamp": {"S": format!("{last}.999Z")},
        "metrics": {"M": {"newUsers": {"N": "1"}}},
        "calculatedAt": {"S": "2026-06-02T00:00:00.000Z"}, "version": {"N": "1"},
    });
    item.as_object().unwrap().clone()
}

fn day_of_users(day: u32) -> Item {
    record("daily", &format!("2026-05-{day:02}T00:00:00"), &format!("2026-05-{day:02}T23:59:59"))
}

/// An API with this retention of days.
fn api_keeping(days: &'static str, endpoint: &str, now: &str) -> (Api, Arc<StandingHost>) {
    let settings = Settings::read(|name| match name {
        "RETENTION_DAILY_DAYS" => Some(days.to_owned()),
        name => variable(name, endpoint, "platform"),
    });
    let host = StandingHost::at(instant(now));
    (Api::with_settings(settings.unwrap(), host.clone(), IMPATIENT), host)
}

/// The days of users that there are and that are missing, of one type and of all.
pub async fn days(api: &Api, start: &str, end: &str) -> (Vec<String>, Vec<String>) {
    let mut found = Vec::new();
    for metric_type in ["users", "all"] {
        let query =
            format!("metricType={metric_type}&granularity=daily&startDate={start}&endDate={end}");
        let data = api.data(query).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let day =
            |at: &Value| at.as_str().unwrap()["2026-05-".len().."2026-05-01".len()].to_owned();
        let points = series["dataPoints"].as_array().unwrap();
        assert_eq!(series["summary"]["totalDataPoints"], points.len());
        found.push((
            points.iter().map(|point| day(&point["timestamp"])).collect(),
            series["missing"].as_array().unwrap().iter().map(day).collect(),
        ));
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_record_past_its_retention_is_not_shown_though_it_is_still_there() {
    let items: Vec<Item> = [2, 3, 5, 6].map(day_of_users).to_vec();
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    // Ten days after the end of the 2nd.
    let (api, host) = api_keeping("10", &proxy.endpoint, "2026-05-12T23:59:59.999Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03", "02"]), texts(&["04"])));
    host.set(instant("2026-05-13T00:00:00Z"));
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03"]), texts(&["04"])));

    // What cannot be shown is not read either; where nothing can, nothing is asked.
    let before = proxy.seen().len();
    let found = days(&api, "2026-05-01", "2026-05-04").await;
    assert_eq!(found, (texts(&["03"]), texts(&["04"])));
    let queries: Vec<Value> = proxy
        .seen()
        .split_off(before)
        .into_iter()
        .filter(|(operation, _)| operation == "Query")
        .map(|(_, body)| body["ExpressionAttributeValues"][":from"]["S"].clone())
        .collect();
    assert_eq!(queries, ["2026-05-03T00:00:00.000Z", "daily#2026-05-03T00:00:00.000Z"]);
    let before = proxy.seen().len();
    host.set(instant("2026-06-30T00:00:00Z"));
    assert_eq!(days(&api, "2026-05-01", "2026-05-06").await, (vec![], vec![]));
    assert_eq!(proxy.seen().len(), before);

    // Kept for ever, everything is shown.
    let (api, _) = api_keeping("0", &table.endpoint, "2036-05-13T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03", "02"]), texts(&["04", "01"])));
}

#[tokio::test]
async fn nothing_is_missing_from_before_the_first_hour() {
    // A record from before may be there nevertheless: it was recalculated.
    let items: Vec<Item> =
        [day_of_users(2), day_of_users(5), begin("2026-05-03T23:00:00.000Z")].into();
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-07T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    // The 3rd holds the first hour.
    assert_eq!(found, (texts(&["05", "02"]), texts(&["06", "04", "03"])));
    table.put(&[begin("2026-05-04T00:00:00.000Z")]).await;
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["05", "02"]), texts(&["06", "04"])));
}

#[tokio::test]
async fn a_state_without_a_begin_changes_nothing() {
    let table =
        TestTable::with(Backend::Dynoxide, &[day_of_users(2), state("hourly", &json!({}), &[])])
            .await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-04T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["02"]), texts(&["03", "01"])));
}

/// A state that cannot be asked for fails the answer: a hole must not look like none.
#[tokio::test]
async fn without_the_state_there_is_no_answer() {
    let table = TestTable::with(Backend::Dynoxide, &[day_of_users(2)]).await;
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.operation == "GetItem" { Fault::Throttled } else { Fault::None }
    })
    .await;
    let api = Api::with_policy(&proxy.endpoint, &table.name, TestHost::at(noon()), IMPATIENT);
    let query = "metricType=users&granularity=daily&startDate=2026-05-01&endDate=2026-05-03";
    assert_eq!(api.metrics(query).await.error(503), "Database unavailable");
}

#[tokio::test]
async fn a_short_point_says_how_much_it_covers() {
    let covering = |day: u32, present: u32, expected: u32| {
        let mut item = day_of_users(day);
        let coverage = json!({"M": {
            "present": {"N": present.to_string()}, "expected": {"N": expected.to_string()}}});
        item.insert("coverage".to_owned(), coverage);
        item
    };
    let items = [covering(2, 24, 24), covering(3, 23, 24), day_of_users(4)];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-05T00:00:00Z");
    for metric_type in ["users", "all"] {
        let query = format!(
            "metricType={metric_type}&granularity=daily&startDate=2026-05-02&endDate=2026-05-04"
        );
        let data = api.data(query).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let coverages: Vec<_> = series["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point.get("coverage").cloned())
            .collect();
        assert_eq!(
            coverages,
            [None, Some(json!({"present": 23, "expected": 24})), None],
            "{metric_type}"
        );
    }
}

/// A day rolled up from the hours since the first, by the engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_day_that_counting_began_on_is_short_and_not_missing() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let midnight = instant("2026-05-21T00:00:00Z");
    let host = TestHost::at(midnight);
    let engine = engine(&table, host.clone());
    for ago in (0..3).rev() {
        engine.run(Granularity::Hourly, midnight - TimeDelta::hours(ago)).await;
    }
    engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    host.set(midnight + TimeDelta::hours(2));
    let api = Api::new(&table.endpoint, &table.name, host);
    let data =
        api.data("metricType=all&granularity=daily&startDate=2026-05-01&endDate=2026-05-21").await;
    assert_eq!(data["missing"], json!([]));
    for series in data["allMetrics"].as_array().unwrap() {
        let name = series["metricType"].as_str().unwrap();
        let points = series["dataPoints"].as_array().unwrap();
        assert_eq!(points.len(), usize::from(TYPES.contains(&name)), "{name}");
        for point in points {
            assert_eq!(point["timestamp"], "2026-05-20T00:00:00.000Z");
            assert_eq!(point["coverage"], json!({"present": 3, "expected": 24}), "{name}");
        }
    }
}
