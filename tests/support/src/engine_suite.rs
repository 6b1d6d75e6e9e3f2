//! The engine's tests, the same on every DynamoDB: expected values come from the independent
//! computation over the same items.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, Read},
    host::{Host, SharedHost},
    metrics::{
        period::{Granularity, Period},
        record::Record,
    },
    run::{Engine, Report},
    store::{ledger::Status, record::record_key},
};
use sample_platform::{Item, Shape, generate};
use serde_json::{Map, Value, json};

use super::{
    catalogue::gallery,
    database::{Backend, TestTable},
    host::TestHost,
    oracle,
};

pub const TYPES: [&str; 6] =
    ["users", "media", "albums", "interactions", "generations", "business"];

/// The full hour at which the platforms of the tests are looked at: a Monday and the first of a
/// month, so that every edge lies in the hours before it.
pub fn end() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 6, 1, 3, 0, 0).unwrap()
}

/// A platform in which no malformed item is alone at its time: where every item is malformed there is
/// no value, of which `source_suite` has the tests.
pub fn platform(users: u32) -> Vec<Item> {
    platform_until(users, 7, end())
}

/// The same with another end.
pub fn platform_until(users: u32, seed: u64, end: DateTime<Utc>) -> Vec<Item> {
    let mut items = generate(&Shape { users, days: 40, seed, end });
    let companions: Vec<Item> = items.iter().filter_map(companion).collect();
    items.extend(companions);
    items.extend((0..3).map(first_order));
    items
}

/// An item that can be read, where a malformed one has its time in its sort key alone.
fn companion(malformed: &Item) -> Option<Item> {
    let text = |name: &str| malformed.get(name)?["S"].as_str();
    let (time, key) = match text("EntityType") {
        None if text("PK") == Some("VISITOR") => ("timestamp", "SK"),
        Some("Media") => ("createdAt", "GSI4SK"),
        Some("Album") => ("createdAt", "GSI1SK"),
        Some("UserInteraction" | "Comment" | "I2VJob") => ("createdAt", "GSI3SK"),
        _ => return None,
    };
    if text(time)?.parse::<DateTime<Utc>>().is_ok() {
        return None;
    }
    let begin = text(key)?.get(..13)?;
    // Of an instant the key has the minute; of a visitor the hour.
    let minute = text(key)?.get(13..16).filter(|rest| rest.starts_with(':')).unwrap_or(":30");
    let created = format!("{begin}{minute}:59.000Z");
    created.parse::<DateTime<Utc>>().ok()?;
    let mut companion = malformed.clone();
    let mut set = |name: &str, value: String| {
        companion.insert(name.to_owned(), json!({ "S": value }));
    };
    set(time, created.clone());
    if key == "SK" {
        set("SK", format!("{begin}#198.51.100.254"));
        set("clientIP", "198.51.100.254".to_owned());
    } else {
        set("PK", format!("{}-companion", text("PK")?));
        set(key, format!("{created}#companion"));
    }
    Some(companion)
}

/// One of the first orders of all, which can be read.
fn first_order(number: u32) -> Item {
    let created = format!("2026-04-23T04:0{number}:00.000Z");
    let order = json!({
        "PK": {"S": format!("ORDER#first-{number}")}, "SK": {"S": "METADATA"},
        "GSI2PK": {"S": "ORDERS_BY_STATUS#completed"},
        "GSI2SK": {"S": format!("{created}#first-{number}")},
        "EntityType": {"S": "Order"}, "status": {"S": "completed"}, "amount": {"S": "10.00"},
        "currency": {"S": "USD"}, "createdAt": {"S": created}, "completedAt": {"S": created},
    });
    order.as_object().unwrap().clone()
}

/// The hours' state while another run holds the lease for the run of `hour`.
pub fn held_lease(hour: &str, expires_at: DateTime<Utc>) -> Item {
    let lease = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"},
        "leaseHolder": {"S": "somebody"},
        "leaseTask": {"S": format!("cron hourly {hour}")},
        "leaseSince": {"S": "2026-06-01T03:00:00.000Z"},
        "leaseAttempt": {"N": "1"},
        "leaseExpiresAt": {"N": expires_at.timestamp_millis().to_string()},
        "runState": {"M": {"begin": {"S": hour}}},
    });
    lease.as_object().unwrap().clone()
}

pub fn engine(table: &TestTable, host: SharedHost) -> Engine {
    engine_at(&table.endpoint, &table.name, host)
}

pub fn engine_at(endpoint: &str, table: &str, host: SharedHost) -> Engine {
    let connection = super::database::connection(endpoint);
    let client = edge_analytics::dynamodb::Client::new(connection, host.clone());
    Engine::new(client, host, table.to_owned(), gallery())
}

/// An engine whose clock shows a few seconds after an event's time when the event comes.
pub struct InTime {
    engine: Engine,
    host: Arc<TestHost>,
}

impl InTime {
    pub fn on(table: &TestTable) -> Self {
        let host = TestHost::new();
        Self { engine: engine(table, host.clone()), host }
    }

    pub async fn run(&self, granularity: Granularity, event: DateTime<Utc>) -> Report {
        // A repeated event comes after the first one.
        let now = self.host.now();
        if now < event || now > event + TimeDelta::minutes(5) {
            self.host.set(event + TimeDelta::seconds(5));
        }
        self.engine.run(granularity, event).await
    }
}

/// The stored record's metrics, with whether the record has every documented attribute.
pub async fn stored(table: &TestTable, metric_type: &str, hour: DateTime<Utc>) -> Option<Record> {
    stored_in(table, metric_type, Period::containing(Granularity::Hourly, hour)).await
}

/// The stored record of one type in any period.
pub async fn stored_in(table: &TestTable, metric_type: &str, period: Period) -> Option<Record> {
    let key = record_key(metric_type, period);
    let item = table.client().get(&table.name, key, Read::Consistent).await.unwrap()?;
    Some(Record::from_item(item).unwrap())
}

/// Compares numbers by value and everything else exactly.
pub fn assert_same(actual: &Map<String, Value>, expected: &Map<String, Value>, context: &str) {
    let names = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(actual), names(expected), "{context}: which metrics are there");
    for (name, expected) in expected {
        let actual = &actual[name];
        let same = match (actual.as_f64(), expected.as_f64()) {
            // Sums are exact; only a mean may differ in the last digit of a double.
            (Some(a), Some(e)) => (a - e).abs() <= e.abs() * 1e-12,
            _ => actual == expected,
        };
        assert!(same, "{context}: {name} is {actual}, expected {expected}");
    }
}

/// Runs every hour of the last `hours` in order and compares every metric of every type.
pub async fn every_metric_of_every_hour(backend: Backend, users: u32, hours: i64) {
    let items = platform(users);
    let table = TestTable::with(backend, &items).await;
    let engine = InTime::on(&table);
    let first = end() - TimeDelta::hours(hours);
    let mut previous_total = None;
    let mut not_zero: BTreeMap<String, bool> = BTreeMap::new();
    for number in 0..hours {
        let hour = first + TimeDelta::hours(number);
        let report = engine.run(Granularity::Hourly, hour + TimeDelta::hours(1)).await;
        assert_eq!(report.status, Status::Complete, "{hour}: {report:?}");
        assert_eq!(report.period.types_written.len(), TYPES.len());

        let expected = oracle::expected_hour(&items, hour, previous_total);
        for metric_type in TYPES {
            let record = stored(&table, metric_type, hour).await.unwrap();
            let context = format!("{hour} {metric_type}");
            assert_same(&record.metrics, &expected[metric_type], &context);
            for (name, value) in &record.metrics {
                let empty = [json!(0), json!([])].contains(value);
                *not_zero.entry(name.clone()).or_default() |= !empty;
            }
        }
        previous_total = expected["users"].get("totalUsers").and_then(Value::as_i64);
    }
    // The comparison means something only where the platform moves. On a table that stands still
    // no user leaves: the previous total is that of the same table.
    let idle: Vec<_> =
        not_zero.iter().filter(|(name, moves)| !**moves && *name != "deletedUsers").collect();
    assert!(idle.is_empty(), "these were nothing in every hour: {idle:?}");
}

/// An hour calculated late, when the platform has grown on, is as of its own end; what only its own
/// scheduled run can observe is absent.
pub async fn a_late_hour_is_as_of_its_end(backend: Backend) {
    let items = platform(60);
    let table = TestTable::with(backend, &items).await;
    let engine = engine(&table, TestHost::new());
    let hour = end() - TimeDelta::days(9) - TimeDelta::hours(5);
    let report = engine.run(Granularity::Hourly, hour + TimeDelta::hours(1)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let expected = oracle::expected_hour(&items, hour, None);
    for metric_type in TYPES {
        let record = stored(&table, metric_type, hour).await.unwrap();
        let mut expected = expected[metric_type].clone();
        for metric in ["activeUsers", "mediaByStatus", "totalViews", "MRR"] {
            expected.remove(metric);
        }
        assert_same(&record.metrics, &expected, metric_type);
        for metric in expected.keys() {
            assert!(record.reconstructed.contains_key(metric), "{metric} is not marked");
        }
    }
}

/// The records have the documented attributes and no personal datum.
pub async fn records_have_the_documented_attributes(backend: Backend) {
    let items = platform(40);
    let table = TestTable::with(backend, &items).await;
    let hour = Utc.with_ymd_and_hms(2026, 6, 1, 2, 0, 0).unwrap();
    InTime::on(&table).run(Granularity::Hourly, hour + TimeDelta::hours(1)).await;
    let records = table.records().await;
    assert_eq!(records.len(), TYPES.len());
    let s = |text: &str| Some(AttributeValue::S(text.to_owned()));
    for metric_type in TYPES {
        let record = records
            .iter()
            .find(|record| {
                record.get("SK").cloned() == s("2026-06-01T02:00:00.000Z")
                    && record.get("metricType").cloned() == s(metric_type)
            })
            .unwrap();
        let attribute = |name: &str| record.get(name).cloned();
        assert_eq!(attribute("PK"), s(&format!("ANALYTICS#{metric_type}#hourly")));
        assert_eq!(
            attribute("GSI1SK"),
            s(&format!("hourly#2026-06-01T02:00:00.000Z#{metric_type}"))
        );
        assert_eq!(attribute("GSI2PK"), s(&format!("ANALYTICS_TYPE#{metric_type}")));
        assert_eq!(attribute("GSI2SK"), s("2026-06-01T02:00:00.000Z"));
        assert_eq!(attribute("EntityType"), s("Analytics"));
        assert_eq!(attribute("granularity"), s("hourly"));
        assert_eq!(attribute("timestamp"), s("2026-06-01T02:00:00.000Z"));
        assert_eq!(attribute("endTimestamp"), s("2026-06-01T02:59:59.999Z"));
        assert_eq!(attribute("version"), Some(AttributeValue::N("1".to_owned())));
        // 2026-07-01T03:00:00Z: thirty days after the hour's end.
        assert_eq!(attribute("ttl"), Some(AttributeValue::N("1782874800".to_owned())));
        assert!(matches!(attribute("metrics"), Some(AttributeValue::M(_))));
        assert!(attribute("calculatedAt").is_some());
    }
    let text = serde_json::to_string(&records).unwrap();
    let mut checked = 0;
    for item in &items {
        for name in ["userId", "clientIP", "email"] {
            if let Some(value) = item.get(name).and_then(|value| value["S"].as_str()) {
                assert!(!text.contains(value), "a record holds {name} {value}");
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "only {checked} personal data to look for");
}

/// Items that reach an index after their hour was counted are in its flows one run later; its stocks
/// stay as they were observed.
pub async fn late_arriving_items_are_counted(backend: Backend) {
    let items = platform(60);
    let hour = end() - TimeDelta::hours(2);
    let in_hour = |item: &Item| {
        let created = item.get("createdAt").and_then(|at| at["S"].as_str()).unwrap_or("");
        let entity = item.get("EntityType").and_then(|entity| entity["S"].as_str());
        entity == Some("Media") && created.starts_with("2026-06-01T01")
    };
    let late: Vec<Item> = items.iter().filter(|item| in_hour(item)).take(1).cloned().collect();
    assert_eq!(late.len(), 1, "the platform has no medium in the hour");
    let early: Vec<Item> = items.iter().filter(|item| !late.contains(item)).cloned().collect();
    let table = TestTable::with(backend, &early).await;
    let engine = InTime::on(&table);

    engine.run(Granularity::Hourly, hour + TimeDelta::hours(1)).await;
    let first = stored(&table, "media", hour).await.unwrap();
    assert_eq!(first.metrics["newMedia"], expected_media(&early, hour)["newMedia"]);
    table.put(&late).await;
    let report = engine.run(Granularity::Hourly, hour + TimeDelta::hours(2)).await;
    assert_eq!(report.recalculated[0].types_written, ["media"], "{report:?}");
    let second = stored(&table, "media", hour).await.unwrap();
    // Of what existed then, what was observed stays.
    let mut expected = first.metrics.clone();
    expected.insert("newMedia".to_owned(), expected_media(&items, hour)["newMedia"].clone());
    assert_same(&second.metrics, &expected, "after the late item");
    assert_ne!(first.metrics["newMedia"], second.metrics["newMedia"]);
}

fn expected_media(items: &[Item], hour: DateTime<Utc>) -> Map<String, Value> {
    oracle::expected_hour(items, hour, None)["media"].clone()
}

/// Two runs of the same hour at once: one counts, the other is skipped, and the records are right.
pub async fn two_runs_of_an_hour_are_kept_apart(backend: Backend) {
    let items = platform(60);
    let table = TestTable::with(backend, &items).await;
    let event = end();
    let hour = event - TimeDelta::hours(1);
    let (one, other) = (InTime::on(&table), InTime::on(&table));
    let (one, other) =
        tokio::join!(one.run(Granularity::Hourly, event), other.run(Granularity::Hourly, event));
    let mut statuses = [one.status, other.status];
    statuses.sort_by_key(|status| *status == Status::Held);
    assert_eq!(statuses, [Status::Complete, Status::Held]);
    let expected = oracle::expected_hour(&items, hour, None);
    for metric_type in TYPES {
        let record = stored(&table, metric_type, hour).await.unwrap();
        assert_same(&record.metrics, &expected[metric_type], metric_type);
    }
    // The lease was given back: the same event can be run again at once.
    let again = InTime::on(&table).run(Granularity::Hourly, event).await;
    assert_eq!(again.status, Status::Complete);
}

/// An interrupted holder blocks others only until its lease expires.
pub async fn an_expired_lease_is_taken_over(backend: Backend) {
    let table = TestTable::with(backend, &platform(20)).await;
    let event = end();
    let host = TestHost::new();
    let lease = held_lease(
        "2026-06-01T02:00:00.000Z",
        edge_analytics::host::Host::now(host.as_ref()) + TimeDelta::seconds(60),
    );
    table.put(&[lease]).await;
    let engine = engine(&table, host.clone());
    assert_eq!(engine.run(Granularity::Hourly, event).await.status, Status::Held);
    host.set(edge_analytics::host::Host::now(host.as_ref()) + TimeDelta::seconds(61));
    assert_eq!(engine.run(Granularity::Hourly, event).await.status, Status::Complete);
}

/// A calculation that began earlier never replaces one that began later.
pub async fn an_older_calculation_never_replaces_a_newer_one(backend: Backend) {
    let items = platform(40);
    let table = TestTable::with(backend, &items).await;
    let event = end();
    let hour = event - TimeDelta::hours(1);
    let now = end() + TimeDelta::days(1);
    let newer = engine(&table, TestHost::at(now)).run(Granularity::Hourly, event).await;
    assert_eq!(newer.status, Status::Complete);
    let before = stored(&table, "media", hour).await.unwrap();
    let late = json!({
        "PK": {"S": "MEDIA#late"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "Media"},
        "GSI4PK": {"S": "MEDIA"}, "GSI4SK": {"S": "2026-06-01T02:30:00.000Z#late"},
        "createdAt": {"S": "2026-06-01T02:30:00.000Z"}, "isPublic": {"S": "true"},
    });
    table.put(&[late.as_object().unwrap().clone()]).await;
    let older = engine(&table, TestHost::at(now - TimeDelta::seconds(5)))
        .run(Granularity::Hourly, event)
        .await;
    // Its clock is behind, so its lease is free but its calculation is the older one.
    assert_eq!(older.period.types_superseded.len(), TYPES.len(), "{older:?}");
    assert_eq!(stored(&table, "media", hour).await.unwrap(), before);
    let newest = engine(&table, TestHost::at(now + TimeDelta::seconds(5)))
        .run(Granularity::Hourly, event)
        .await;
    assert_eq!(newest.status, Status::Complete);
    let after = stored(&table, "media", hour).await.unwrap();
    assert_eq!(
        after.metrics["newMedia"].as_i64().unwrap(),
        before.metrics["newMedia"].as_i64().unwrap() + 1
    );
}

/// Values that the table no longer holds are kept as stored when an event is repeated.
pub async fn a_repeated_event_keeps_observed_values(backend: Backend) {
    let items = platform(60);
    let table = TestTable::with(backend, &items).await;
    let engine = InTime::on(&table);
    let hour = end() - TimeDelta::hours(1);
    engine.run(Granularity::Hourly, end()).await;
    let before = stored(&table, "users", hour).await.unwrap();
    assert!(before.metrics["activeUsers"].as_i64().unwrap() > 0);
    // Everybody moves on.
    let moved: Vec<Item> = items
        .iter()
        .filter(|item| item.get("EntityType").is_some_and(|entity| entity["S"] == "User"))
        .cloned()
        .map(|mut user| {
            user.insert("lastActive".to_owned(), json!({"S": "2026-06-01T03:10:00.000Z"}));
            user
        })
        .collect();
    table.put(&moved).await;
    engine.run(Granularity::Hourly, end()).await;
    let after = stored(&table, "users", hour).await.unwrap();
    assert_eq!(after.metrics, before.metrics);
    assert_eq!(after.parts, before.parts);
    assert!(after.calculated_at > before.calculated_at);
}

/// People who left are counted in the hour in which they left.
pub async fn departures_are_counted(backend: Backend) {
    let items = platform(80);
    let table = TestTable::with(backend, &items).await;
    let engine = InTime::on(&table);
    engine.run(Granularity::Hourly, end() - TimeDelta::hours(1)).await;
    let first_hour = end() - TimeDelta::hours(2);
    let first = stored(&table, "users", first_hour).await.unwrap();
    assert!(!first.metrics.contains_key("deletedUsers"), "there is no hour before the first");
    // Three well-formed users leave.
    let leavers: Vec<Item> = items
        .iter()
        .filter(|item| {
            item.get("EntityType").is_some_and(|entity| entity["S"] == "User")
                && item["isActive"]["BOOL"] == true
                && item["createdAt"]["S"].as_str().is_some_and(|at| at.starts_with("2026-05-1"))
        })
        .take(3)
        .cloned()
        .map(|mut user| {
            user.insert("isActive".to_owned(), json!({"BOOL": false}));
            user
        })
        .collect();
    assert_eq!(leavers.len(), 3);
    table.put(&leavers).await;
    engine.run(Granularity::Hourly, end()).await;
    let second = stored(&table, "users", end() - TimeDelta::hours(1)).await.unwrap();
    assert_eq!(second.metrics["deletedUsers"], json!(3));
}

/// Malformed items are left out of their metric, counted and reported; the rest is right.
pub async fn malformed_items_are_reported(backend: Backend) {
    let items = platform(60);
    let table = TestTable::with(backend, &items).await;
    let report: Report = InTime::on(&table).run(Granularity::Hourly, end()).await;
    for metric in [
        "totalUsers",
        "activeUsers",
        "MRR",
        "totalMedia",
        "totalAlbums",
        "totalLikes",
        "totalGenerations",
        "totalRevenue",
    ] {
        assert!(report.malformed.contains_key(metric), "{metric} in {:?}", report.malformed);
    }
}

/// A run makes one request a partition, one for the stored records, one a record, two for its lease,
/// one for the ledger and nothing else; the hours before cost nothing more where nothing came late.
pub async fn a_run_makes_no_request_too_many(backend: Backend) {
    let table = TestTable::with(backend, &platform(40)).await;
    let engine = InTime::on(&table);
    let types = u64::try_from(TYPES.len()).unwrap();
    // Eleven sources, the generations in six partitions; every one fits on one page.
    let partitions = 16;
    let first = engine.run(Granularity::Hourly, end() - TimeDelta::hours(1)).await;
    assert_eq!(first.usage.pages, partitions);
    assert_eq!(first.usage.requests, 2 + 1 + partitions + types + 1);
    let second = engine.run(Granularity::Hourly, end()).await;
    assert_eq!(second.usage.pages, partitions);
    assert_eq!(second.usage.requests, 2 + 1 + partitions + types + 1);
    let before = &second.recalculated[0];
    assert_eq!((before.types_unchanged.len(), before.types_written.len()), (TYPES.len(), 0));
}

/// Generates a `#[tokio::test]` for every test of the suite on one DynamoDB.
#[macro_export]
macro_rules! engine_suite {
    ($backend:expr) => {
        $crate::engine_suite! { $backend;
            a_late_hour_is_as_of_its_end,
            records_have_the_documented_attributes,
            late_arriving_items_are_counted,
            two_runs_of_an_hour_are_kept_apart,
            an_expired_lease_is_taken_over,
            an_older_calculation_never_replaces_a_newer_one,
            a_repeated_event_keeps_observed_values,
            departures_are_counted,
            malformed_items_are_reported,
            a_run_makes_no_request_too_many,
        }
    };
    ($backend:expr; $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::engine_suite::$test($backend).await;
            }
        )*
    };
}
