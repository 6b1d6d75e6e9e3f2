//! A platform's table through time: runs at their hours, what they store, and what is expected.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{Client, Read, RetryPolicy},
    host::SharedHost,
    metrics::{
        period::{Granularity, Period, format_instant, parse_instant},
        record::Record,
    },
    run::{Engine, Report},
    settings::Options,
    store::{
        ledger::{self, Entry},
        record::record_key,
        run_state::{State, state_key},
    },
};
use sample_platform::Item;
use serde_json::{Map, Value, json};

use super::{
    catalogue::gallery,
    database::{TestTable, connection},
    engine_suite::{TYPES, assert_same},
    host::TestHost,
    oracle,
};

/// Metrics whose past values the table does not hold and that a coarser period takes from its last hour.
pub const LAST: [&str; 3] = ["mediaByStatus", "totalViews", "MRR"];

/// Metrics whose past values the table does not hold and that a coarser period needs from every hour.
pub const ADDED: [&str; 2] = ["activeUsers", "deletedUsers"];

/// The instant in a text such as `2026-06-01T03:00`.
pub fn at(text: &str) -> DateTime<Utc> {
    parse_instant(&format!("{text}:00.000Z")).unwrap()
}

/// The hour that starts there.
pub fn hour(start: &str) -> Period {
    Period::containing(Granularity::Hourly, at(start))
}

/// The day that starts there.
pub fn day(date: &str) -> Period {
    Period::containing(Granularity::Daily, at(&format!("{date}T00:00")))
}

/// The periods from `first` to before `end`.
pub fn from_to(first: Period, end: Period) -> Vec<Period> {
    std::iter::successors(Some(first), |period| Some(period.next()))
        .take_while(|period| *period < end)
        .collect()
}

/// An engine whose requests go to `endpoint`.
pub fn engine_with(
    endpoint: &str,
    table: &TestTable,
    host: SharedHost,
    policy: RetryPolicy,
    options: Options,
) -> Engine {
    let client = Client::with_policy(connection(endpoint), host.clone(), policy);
    let catalogue = gallery();
    Engine::new(client, host, table.name.clone(), catalogue).with_options(options)
}

/// Runs an event when the clock shows `now`.
pub async fn run_at(
    table: &TestTable,
    options: Options,
    granularity: Granularity,
    event: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Report {
    let host = TestHost::at(now);
    engine_with(&table.endpoint, table, host, RetryPolicy::default(), options)
        .run(granularity, event)
        .await
}

/// Runs an event on time: the clock shows the event's time and a second.
pub async fn on_time(table: &TestTable, granularity: Granularity, event: &str) -> Report {
    let event = at(event);
    let now = event + TimeDelta::seconds(1);
    run_at(table, Options::default(), granularity, event, now).await
}

/// Runs the hourly events from `first` to `last`, all on time and all healthy.
pub async fn every_hour(table: &TestTable, first: &str, last: &str) {
    let mut event = at(first);
    while event <= at(last) {
        let now = event + TimeDelta::seconds(1);
        let report = run_at(table, Options::default(), Granularity::Hourly, event, now).await;
        assert!(report.is_healthy(), "{event}: {report:?}");
        event += TimeDelta::hours(1);
    }
}

/// What a granularity's state item says.
pub async fn state(table: &TestTable, granularity: Granularity) -> State {
    let key = state_key(granularity);
    let item = table.client().get(&table.name, key, Read::Consistent).await.unwrap();
    State::from_item(item).unwrap()
}

/// The start of the last period up to which all is complete.
pub async fn watermark(table: &TestTable, granularity: Granularity) -> Option<String> {
    state(table, granularity).await.progress.watermark
}

/// All entries of the ledger, oldest first.
pub async fn entries(table: &TestTable) -> Vec<Entry> {
    let query = ledger::query(&table.name, None, None, DateTime::UNIX_EPOCH, "~".to_owned());
    let items = table.client().query(&query).await.unwrap();
    items.into_iter().rev().map(|item| Entry::from_item(item).unwrap()).collect()
}

/// Every item of the table, for a copy of it.
pub async fn all_items(table: &TestTable) -> Vec<Item> {
    let http = reqwest::Client::new();
    let mut items = Vec::new();
    let mut request = json!({ "TableName": table.name });
    loop {
        let response = http
            .post(&table.endpoint)
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", "DynamoDB_20120810.Scan")
            .header("x-amz-date", "20260601T000000Z")
            // It has to be there; the embedded DynamoDB does not check it.
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=example/20260601/eu-central-1/dynamodb/aws4_request, \
                 SignedHeaders=host, Signature=00",
            )
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        let page: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let found = page["Items"].as_array().unwrap_or_else(|| panic!("{page}"));
        items.extend(found.iter().map(|item| item.as_object().unwrap().clone()));
        match page.get("LastEvaluatedKey") {
            Some(key) if !key.is_null() => request["ExclusiveStartKey"] = key.clone(),
            _ => return items,
        }
    }
}

/// A medium that appears in the indexes from now on, with a creation time of its own.
pub fn medium(id: &str, created: &str) -> Item {
    let created = format_instant(at(created));
    let item = json!({
        "PK": {"S": format!("MEDIA#{id}")}, "SK": {"S": "METADATA"}, "EntityType": {"S": "Media"},
        "GSI4PK": {"S": "MEDIA"}, "GSI4SK": {"S": format!("{created}#{id}")},
        "id": {"S": id}, "createdAt": {"S": created}, "isPublic": {"S": "true"},
        "status": {"S": "uploaded"},
    });
    item.as_object().unwrap().clone()
}

/// The expected metrics by type.
pub type Expected = BTreeMap<&'static str, Map<String, Value>>;

/// How many users the computation counts at the end of the hour before `period`.
fn users_before(items: &[Item], period: Period) -> Option<i64> {
    let before = period.start() - TimeDelta::hours(1);
    oracle::expected_hour(items, before, None)["users"].get("totalUsers").and_then(Value::as_i64)
}

/// All metrics of `period` on a table that stands still, where no user leaves.
pub fn expected(items: &[Item], period: Period) -> Expected {
    let before = users_before(items, period);
    let mut expected =
        oracle::expected_period(items, period.start(), period.next().start(), before);
    if let Some(users) = expected.get_mut("users") {
        users.insert("deletedUsers".to_owned(), json!(0));
    }
    expected
}

/// The same without `metrics`.
pub fn without(mut expected: Expected, metrics: &[&str]) -> Expected {
    for name in metrics {
        for metrics in expected.values_mut() {
            metrics.remove(*name);
        }
    }
    expected
}

/// What a period's records hold that was made after its time: nothing that the table no longer holds.
pub fn late(items: &[Item], period: Period) -> Expected {
    without(without(expected(items, period), &LAST), &ADDED)
}

/// The computation over one platform, each period computed once.
pub struct Truth {
    items: Vec<Item>,
    known: Mutex<HashMap<Period, Expected>>,
}

impl Truth {
    pub fn of(items: &[Item]) -> Self {
        Self { items: items.to_vec(), known: Mutex::default() }
    }

    /// As [`expected`].
    pub fn expected(&self, period: Period) -> Expected {
        let mut known = self.known.lock().unwrap();
        known.entry(period).or_insert_with(|| expected(&self.items, period)).clone()
    }

    /// As [`late`].
    pub fn late(&self, period: Period) -> Expected {
        without(without(self.expected(period), &LAST), &ADDED)
    }
}

/// For each type the metrics of `observed` if it was observed, else those of `late`.
pub fn observed_or_late(observed: &Expected, late: &Expected, types: &[&str]) -> Expected {
    let mut expected = late.clone();
    for (name, metrics) in observed {
        if types.contains(name) {
            expected.insert(*name, metrics.clone());
        }
    }
    expected
}

/// The records of all types in some periods.
pub async fn records(table: &TestTable, periods: &[Period]) -> HashMap<(String, Period), Record> {
    let keys = periods
        .iter()
        .flat_map(|period| TYPES.map(|metric_type| record_key(metric_type, *period)))
        .collect();
    let items = table.client().batch_get(&table.name, keys, Read::Consistent).await.unwrap();
    items
        .into_iter()
        .map(|item| Record::from_item(item).unwrap())
        .map(|record| ((record.metric_type.clone(), record.period), record))
        .collect()
}

/// Asserts that every type's record of `period` holds exactly what is expected.
pub async fn assert_records(table: &TestTable, period: Period, expected: &Expected, when: &str) {
    let records = records(table, &[period]).await;
    for metric_type in TYPES {
        let context = format!(
            "{when}: {metric_type} of the {} {}",
            period.granularity(),
            format_instant(period.start())
        );
        let record = records.get(&(metric_type.to_owned(), period));
        let record = record.unwrap_or_else(|| panic!("{context} is absent"));
        assert_same(&record.metrics, &expected[metric_type], &context);
    }
}

/// The types that have a record of `period`.
pub async fn stored_types(table: &TestTable, period: Period) -> Vec<&'static str> {
    let records = records(table, &[period]).await;
    let is_there = |name: &&str| records.contains_key(&((*name).to_owned(), period));
    TYPES.into_iter().filter(is_there).collect()
}

/// Asserts that the runs of `granularity` know of nothing to do: all is complete up to `watermark`.
pub async fn assert_settled(
    table: &TestTable,
    granularity: Granularity,
    watermark: Period,
    when: &str,
) {
    let state = state(table, granularity).await;
    let watermark = format_instant(watermark.start());
    assert_eq!(state.progress.watermark, Some(watermark), "{when}: the watermark of {granularity}");
    assert!(state.progress.holes.is_empty(), "{when}: holes: {state:?}");
    assert_eq!(state.progress.left, 0, "{when}: {state:?}");
}

/// Shares a host between an engine and its test.
pub fn shared(host: &Arc<TestHost>) -> SharedHost {
    host.clone()
}
