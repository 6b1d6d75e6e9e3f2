//! Stored values at the ends of what DynamoDB and dates can hold: no panic and no wrapped number. A
//! value is right, or it is absent and reported.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::WriteRequest,
    metrics::{
        part::{Part, Parts},
        period::{Granularity, Period},
        ranking::Ranking,
        record::Record,
        retention::Retention,
    },
    run::Report,
    store::record::record_key,
};
use http::StatusCode;
use rust_decimal::Decimal;
use sample_platform::Item;
use serde_json::{Map, Value, json};
use support::{
    api::Api,
    database::{Backend, TestTable},
    engine_suite::{TYPES, end, engine, stored, stored_in},
    host::TestHost,
};

/// What becomes of a number that is added to small ones.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    /// It is added.
    Added,
    /// It is out of the range of 96-bit decimals, so its item is left out and reported.
    Malformed,
    /// The sum is out of range or not exact, so there is none.
    TooLarge,
}

use Expected::{Added, Malformed, TooLarge};

/// Numbers as DynamoDB stores them; what becomes of the sums of whole numbers, and of cents.
const NUMBERS: [(&str, Expected, Expected); 14] = [
    ("0", Added, Added),
    ("-1", Added, Added),
    ("9223372036854775807", Added, Added),
    ("18446744073709551615", Added, Added),
    ("-18446744073709551616", Added, Added),
    ("7.9e28", Added, TooLarge),
    ("-7.9e28", Added, TooLarge),
    ("79228162514264337593543950335", TooLarge, TooLarge),
    ("79228162514264337593543950336", Malformed, Malformed),
    ("12345678901234567890123456789012345678", Malformed, Malformed),
    ("1e125", Malformed, Malformed),
    ("-1e125", Malformed, Malformed),
    ("9.9999999999999999999999999999999999999e125", Malformed, Malformed),
    // To the 28 places of a decimal this is zero.
    ("1e-130", Added, Added),
];

/// Dates of media: whether one is in the totals, or malformed.
const DATES: [(&str, bool, bool); 9] = [
    ("0000-01-01T00:00:00.000Z", true, false),
    ("0000-01-01T00:00:00.000+23:59", true, false),
    ("1969-12-31T23:59:59.999Z", true, false),
    ("9999-12-31T23:59:59.999Z", false, false),
    ("9999-12-31T23:59:59.999-23:59", false, false),
    ("+262143-01-01T00:00:00.000Z", false, true),
    ("262143-01-01T00:00:00.000Z", false, true),
    ("-0001-01-01T00:00:00.000Z", false, true),
    ("2026-02-30T00:00:00.000Z", false, true),
];

fn item(attributes: &Value) -> Item {
    attributes.as_object().unwrap().clone()
}

fn in_hour(minute: u32) -> String {
    format!("2026-06-01T02:{minute:02}:00.000Z")
}

fn generation(id: &str, minute: u32, seconds: &str) -> Item {
    let created = in_hour(minute);
    item(&json!({
        "PK": {"S": format!("I2VJOB#{id}")}, "SK": {"S": "METADATA"},
        "GSI3PK": {"S": "I2VJOB_STATUS#COMPLETED"}, "GSI3SK": {"S": format!("{created}#{id}")},
        "EntityType": {"S": "I2VJob"}, "status": {"S": "COMPLETED"},
        "createdAt": {"S": created}, "executionTime": {"N": seconds},
    }))
}

fn order(id: &str, minute: u32, amount: &Value) -> Item {
    let created = in_hour(minute);
    item(&json!({
        "PK": {"S": format!("ORDER#{id}")}, "SK": {"S": "METADATA"},
        "GSI2PK": {"S": "ORDERS_BY_STATUS#completed"}, "GSI2SK": {"S": format!("{created}#{id}")},
        "EntityType": {"S": "Order"}, "status": {"S": "completed"},
        "createdAt": {"S": created}, "completedAt": {"S": created}, "amount": amount,
    }))
}

fn views(granularity: &str, start: &str, count: &str) -> Item {
    item(&json!({
        "PK": {"S": format!("VIEW_COUNT#{granularity}")}, "SK": {"S": start},
        "EntityType": {"S": "ViewCount"}, "newViews": {"N": count},
    }))
}

fn medium(id: &str, created: &str, size: &str, ttl: Option<&str>) -> Item {
    let mut medium = item(&json!({
        "PK": {"S": format!("MEDIA#{id}")}, "SK": {"S": "METADATA"},
        "GSI4PK": {"S": "MEDIA"}, "GSI4SK": {"S": format!("{created}#{id}")},
        "EntityType": {"S": "Media"}, "id": {"S": id}, "createdAt": {"S": created},
        "isPublic": {"S": "true"}, "status": {"S": "uploaded"}, "size": {"N": size},
    }));
    if let Some(ttl) = ttl {
        medium.insert("ttl".to_owned(), json!({"N": ttl}));
    }
    medium
}

fn subscriber(id: &str, is_active: &Value, plan_end: &str) -> Item {
    item(&json!({
        "PK": {"S": format!("USER#{id}")}, "SK": {"S": "METADATA"},
        "GSI3PK": {"S": "USER_USERNAME"}, "GSI3SK": {"S": id},
        "EntityType": {"S": "User"}, "userId": {"S": id}, "isActive": is_active,
        "createdAt": {"S": "2026-05-01T00:00:00.000Z"}, "plan": {"S": "starter"},
        "subscriptionStatus": {"S": "active"}, "subscriptionId": {"S": "subscription"},
        "planEndDate": {"S": plan_end},
    }))
}

/// A platform of which every metric is known: two generations of 10 and 20 seconds, orders of 10.00
/// and 5.50, 7 and 100 views, one medium, one subscriber.
fn small_platform() -> Vec<Item> {
    vec![
        generation("one", 1, "10"),
        generation("two", 2, "20"),
        order("one", 1, &json!({"S": "10.00"})),
        order("two", 2, &json!({"N": "5.5"})),
        views("hourly", "2026-06-01T02:00:00.000Z", "7"),
        views("monthly", "2026-05-01T00:00:00.000Z", "100"),
        medium("one", "2026-05-01T00:00:00.000Z", "1000", None),
        subscriber("one", &json!({"BOOL": true}), "2026-07-01T00:00:00.000Z"),
    ]
}

fn hour() -> DateTime<Utc> {
    end() - TimeDelta::hours(1)
}

/// Asserts a metric's value; `None` is that it is absent.
#[track_caller]
fn assert_metric(
    records: &BTreeMap<&str, Record>,
    metric_type: &str,
    metric: &str,
    expected: Option<f64>,
    context: &str,
) {
    let found = records.get(metric_type).and_then(|record| record.metrics.get(metric));
    let found = found.map(|value| value.as_f64().unwrap());
    let is_same = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * 1e-12,
        (None, None) => true,
        _ => false,
    };
    assert!(is_same, "{context}: {metric} is {found:?}, expected {expected:?}");
}

/// Runs the hour and the day over `items`; the hour's records and report. Every answer of the API
/// over them succeeds.
async fn counted(items: &[Item]) -> (BTreeMap<&'static str, Record>, Report) {
    let table = TestTable::with(Backend::Dynoxide, items).await;
    let host = TestHost::at(end());
    let engine = engine(&table, host.clone());
    let report = engine.run(Granularity::Hourly, end()).await;
    let mut records = BTreeMap::new();
    for metric_type in TYPES {
        if let Some(record) = stored(&table, metric_type, hour()).await {
            records.insert(metric_type, record);
        }
    }
    let midnight = end() + TimeDelta::hours(21);
    host.set(midnight + TimeDelta::minutes(5));
    engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    assert_answers(&table, midnight + TimeDelta::minutes(10)).await;
    (records, report)
}

/// Whatever is stored, every question about it is answered.
async fn assert_answers(table: &TestTable, now: DateTime<Utc>) {
    let api = Api::new(&table.endpoint, &table.name, TestHost::at(now));
    for granularity in ["hourly", "daily", "weekly", "monthly"] {
        for current in ["false", "true"] {
            let answer = api
                .metrics(format!(
                    "metricType=all&granularity={granularity}&startDate=2026-05-31&\
                     endDate=2026-06-03&current={current}"
                ))
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{granularity}: {}", answer.text());
        }
    }
    for path in ["dashboard", "realtime", "realtime?fresh=true"] {
        let answer = api.get(format!("/api/admin/analytics/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_added_or_its_item_is_reported_or_there_is_no_sum() {
    for (number, whole, cents) in NUMBERS {
        let mut items = small_platform();
        items.extend([
            generation("extreme", 3, number),
            order("extreme", 3, &json!({"N": number})),
            views("hourly", "2026-06-01T02:30:00.000Z", number),
            views("monthly", "2026-04-01T00:00:00.000Z", number),
            medium("extreme", "2026-05-02T00:00:00.000Z", number, Some(number)),
        ]);
        let (records, report) = counted(&items).await;
        let value: f64 = number.parse().unwrap();
        let sum = |expected, base: f64| match expected {
            Added => Some(base + value),
            Malformed => Some(base),
            TooLarge => None,
        };
        let mean = match whole {
            Added => Some((30.0 + value) / 3.0),
            Malformed => Some(15.0),
            TooLarge => None,
        };
        assert_metric(&records, "generations", "averageGenerationTime", mean, number);
        let generations = (whole != TooLarge).then_some(3.0);
        assert_metric(&records, "generations", "newGenerations", generations, number);
        for name in ["newRevenue", "totalRevenue"] {
            assert_metric(&records, "business", name, sum(cents, 15.5), number);
        }
        assert_metric(&records, "interactions", "newViews", sum(whole, 7.0), number);
        assert_metric(&records, "interactions", "totalViews", sum(whole, 100.0), number);
        // None of them is a second at which an item expired in the last five years.
        assert_metric(&records, "media", "totalMedia", Some(2.0), number);
        for (metric, expected) in [
            ("averageGenerationTime", whole),
            ("newViews", whole),
            ("totalViews", whole),
            ("newRevenue", cents),
            ("totalRevenue", cents),
        ] {
            let malformed = report.malformed.get(metric).copied().map(|of| json!(of));
            let is_reported = malformed.is_some();
            assert_eq!(is_reported, expected == Malformed, "{number}: {metric} {malformed:?}");
        }
        for (metric_type, expected) in
            [("generations", whole), ("interactions", whole), ("business", cents)]
        {
            let why = report.period.types_failed.get(metric_type);
            assert_eq!(why.is_some(), expected == TooLarge, "{number}: {metric_type} {why:?}");
            assert!(why.is_none_or(|why| why.contains("too large to be exact")), "{why:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_written_as_a_string_is_the_same() {
    for (amount, revenue) in [
        ("18446744073709551615.49", Some(15.5 + 18_446_744_073_709_551_615.0)),
        ("-18446744073709551616", Some(15.5 - 18_446_744_073_709_551_616.0)),
        ("79228162514264337593543950335", None),
        ("-79228162514264337593543950335", None),
        ("79228162514264337593543950336", Some(15.5)),
        ("1e125", Some(15.5)),
        ("-0.00000000000000000000000000000000000001", Some(15.5)),
    ] {
        let mut items = small_platform();
        items.push(order("extreme", 3, &json!({"S": amount})));
        let (records, _) = counted(&items).await;
        assert_metric(&records, "business", "newRevenue", revenue, amount);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_at_the_ends_of_time_is_understood_or_reported() {
    for (date, is_past, is_malformed) in DATES {
        let mut items = small_platform();
        items.extend([
            medium("extreme", date, "1", None),
            subscriber("extreme", &json!({"BOOL": true}), date),
            views("hourly", date, "3"),
            views("monthly", date, "3"),
        ]);
        let (records, report) = counted(&items).await;
        let media = if is_past { 2.0 } else { 1.0 };
        assert_metric(&records, "media", "totalMedia", Some(media), date);
        // One medium can be read, and one that cannot may be of this hour. The day that
        // February does not have is another one all the same.
        let new = (!is_malformed || date.starts_with("2026-02")).then_some(0.0);
        assert_metric(&records, "media", "newMedia", new, date);
        // A plan that ends in the year 9999 goes on, one that ended in the year 0 does not.
        let subscribers = if is_past || is_malformed { 1.0 } else { 2.0 };
        assert_metric(&records, "business", "MRR", Some(9.0 * subscribers), date);
        let total_views = if is_past { 103.0 } else { 100.0 };
        assert_metric(&records, "interactions", "totalViews", Some(total_views), date);
        assert_metric(&records, "interactions", "newViews", Some(7.0), date);
        for metric in ["totalMedia", "MRR", "totalViews"] {
            let reported = report.malformed.contains_key(metric);
            assert_eq!(reported, is_malformed, "{date}: {metric} {:?}", report.malformed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truth_out_of_range_is_reported() {
    for number in ["2", "-1", "1e125", "-1e125", "18446744073709551615", "1e-130"] {
        let mut items = small_platform();
        items.push(subscriber("extreme", &json!({"N": number}), "2026-07-01T00:00:00.000Z"));
        let (records, report) = counted(&items).await;
        assert_metric(&records, "users", "totalUsers", Some(1.0), number);
        assert!(report.malformed.contains_key("totalUsers"), "{number}: {:?}", report.malformed);
    }
}

/// The 24 hours of 1 June, counted from the small platform.
struct Day {
    table: TestTable,
    start: DateTime<Utc>,
    hours: Vec<Record>,
}

impl Day {
    async fn counted() -> Self {
        let table = TestTable::with(Backend::Dynoxide, &small_platform()).await;
        let start = end() - TimeDelta::hours(3);
        let engine = engine(&table, TestHost::at(start + TimeDelta::hours(24)));
        let mut hours = Vec::new();
        for number in 0..24 {
            let hour = start + TimeDelta::hours(number);
            engine.run(Granularity::Hourly, hour + TimeDelta::hours(1)).await;
            for metric_type in TYPES {
                hours.push(stored(&table, metric_type, hour).await.unwrap());
            }
        }
        Self { table, start, hours }
    }

    /// Stores what `change` makes of every hour's record (values for metrics that are there, and
    /// parts), rolls the day up, and returns its records.
    async fn rolled_up(
        &self,
        change: impl Fn(&mut Item, &mut Parts),
    ) -> BTreeMap<&'static str, Record> {
        let table = &self.table;
        let day = Period::containing(Granularity::Daily, self.start);
        let forget =
            TYPES.map(|name| WriteRequest::DeleteRequest { key: record_key(name, day) }).to_vec();
        table.client().batch_write(&table.name, forget).await.unwrap();
        let changed: Vec<Item> =
            self.hours.iter().map(|record| changed(record.clone(), &change)).collect();
        table.put(&changed).await;
        let midnight = self.start + TimeDelta::hours(24);
        let daily = midnight + TimeDelta::minutes(5);
        let report = engine(table, TestHost::at(daily)).run(Granularity::Daily, daily).await;
        let mut records = BTreeMap::new();
        for metric_type in TYPES {
            if let Some(record) = stored_in(table, metric_type, day).await {
                records.insert(metric_type, record);
            } else {
                assert!(report.period.types_failed.contains_key(metric_type), "{report:?}");
            }
        }
        assert_answers(table, midnight + TimeDelta::minutes(10)).await;
        records
    }
}

fn changed(mut record: Record, change: impl Fn(&mut Item, &mut Parts)) -> Item {
    let mut metrics = Item::new();
    change(&mut metrics, &mut record.parts);
    let written = record.to_item(&Retention::default()).unwrap();
    let mut written = item(&serde_json::to_value(written).unwrap());
    for (name, value) in written["metrics"]["M"].as_object_mut().unwrap() {
        if let Some(other) = metrics.remove(name) {
            *value = other;
        }
    }
    written
}

/// Stored numbers of every size in every hour of a day: the day's sum is right or absent.
#[tokio::test(flavor = "multi_thread")]
async fn a_sum_of_stored_numbers_is_right_or_absent() {
    let day = Day::counted().await;
    for (number, sum) in [
        ("9223372036854775807", Some(221_360_928_884_514_619_368.0)),
        ("18446744073709551615", Some(442_721_857_769_029_238_760.0)),
        ("-18446744073709551616", Some(-442_721_857_769_029_238_784.0)),
        ("3e27", Some(7.2e28)),
        ("7.9e28", None),
        ("-7.9e28", None),
        ("1e125", None),
        ("-1e125", None),
        ("1e-130", None),
    ] {
        let records = day
            .rolled_up(|metrics, _| {
                for name in ["newUsers", "newMedia", "newLikes", "newGenerations", "newRevenue"] {
                    metrics.insert(name.to_owned(), json!({"N": number}));
                }
            })
            .await;
        for (metric_type, metric) in [
            ("users", "newUsers"),
            ("media", "newMedia"),
            ("interactions", "newLikes"),
            ("generations", "newGenerations"),
            ("business", "newRevenue"),
        ] {
            assert_metric(&records, metric_type, metric, sum, number);
        }
        assert_metric(&records, "albums", "newAlbums", Some(0.0), number);
    }
}

/// Parts that count more than there can be: the day's mean is right or absent, and the ranking is right.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_every_size_are_merged_or_their_metric_is_absent() {
    let day = Day::counted().await;
    let average = |sum: &str, count: u64| Part::Average { sum: sum.to_owned(), count };
    let max = Decimal::MAX.to_string();
    for (part, mean) in [
        (average("60", 2), Some(30.0)),
        (average("-60", 2), Some(-30.0)),
        (average("0", u64::MAX), None),
        (average(&max, 1), None),
        (average(&format!("-{max}"), 1), None),
        (average("1e125", 1), None),
        (average("many", 1), None),
        (average("3301173438094347399730997930.6", 1), None),
        (average("3000000000000000000000000000", 1), Some(3e27)),
        (average("18446744073709551600", u64::MAX / 24), Some(24.0)),
        (average("1", 0), None),
    ] {
        let context = format!("{part:?}");
        let records = day
            .rolled_up(|_, parts| {
                if let Some(stored) = parts.get_mut("averageGenerationTime") {
                    *stored = part.clone();
                }
            })
            .await;
        assert_metric(&records, "generations", "averageGenerationTime", mean, &context);
        assert_metric(&records, "generations", "newGenerations", Some(2.0), &context);
    }
    for (likes, cutoff, total) in [
        (1, 0, Some(24)),
        (u64::MAX / 24, 0, Some(u64::MAX / 24 * 24)),
        (u64::MAX / 24 + 1, 0, None),
        (u64::MAX, 0, None),
        (1, u64::MAX, None),
    ] {
        let key = vec!["media".to_owned(), "one".to_owned()];
        let shares = BTreeMap::from([("likes".to_owned(), likes)]);
        let ranking = Ranking { targets: vec![(key, shares)], cutoff, tie: usize::MAX };
        let records = day
            .rolled_up(|_, parts| {
                if let Some(stored) = parts.get_mut("mostEngaged") {
                    *stored = Part::Targets(ranking.clone());
                }
            })
            .await;
        let found = records["interactions"].metrics.get("mostEngaged");
        let expected = match total {
            Some(total) => json!([{ "targetType": "media", "targetId": "one", "likes": total,
                "bookmarks": 0, "comments": 0, "total": total }]),
            // A ranking that is not certain is counted from the items, of which there are none.
            None => json!([]),
        };
        assert_eq!(found, Some(&expected), "{likes} {cutoff}");
    }
}

/// A sketch that cannot be read fails its type for the day, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sketch_fails_its_type() {
    let day = Day::counted().await;
    for hll in ["", "AAAA", "not base64", &"/".repeat(400)] {
        let records = day
            .rolled_up(|_, parts| {
                if let Some(stored) = parts.get_mut("visitors") {
                    *stored = Part::Distinct { hll: hll.to_owned() };
                }
            })
            .await;
        assert!(!records.contains_key("users"), "{hll:?}: {records:?}");
        assert_eq!(records.len(), TYPES.len() - 1, "{hll:?}");
    }
}

/// State that counts as far as its numbers go does not stop the next run.
#[tokio::test(flavor = "multi_thread")]
async fn counters_at_their_greatest_do_not_stop_a_run() {
    let Day { table, start, .. } = Day::counted().await;
    let midnight = start + TimeDelta::hours(24);
    let daily = midnight + TimeDelta::minutes(5);
    let state: Map<String, Value> = item(&json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "daily"},
        "runState": {"M": {
            "latest": {"S": start.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()},
            "attempt": {"N": u32::MAX.to_string()},
        }},
        "unsettledUntil": {"N": i64::MAX.to_string()},
    }));
    table.put(&[state]).await;
    let report = engine(&table, TestHost::at(daily)).run(Granularity::Daily, daily).await;
    assert_eq!(report.attempt, u32::MAX, "{report:?}");
    assert_eq!(report.period.types_written.len(), TYPES.len(), "{report:?}");
    assert_answers(&table, daily + TimeDelta::minutes(5)).await;
}

/// Ranges at the ends of what four digits write: answered, or refused by the parameter's name.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_at_the_ends_of_time_is_answered() {
    let table = TestTable::with(Backend::Dynoxide, &small_platform()).await;
    let host = TestHost::at(end());
    engine(&table, host.clone()).run(Granularity::Hourly, end()).await;
    let api = Api::new(&table.endpoint, &table.name, host);
    for (from, to, status) in [
        ("0000-01-01", "0000-01-08", 200),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.001Z", 200),
        ("9999-12-31", "9999-12-31T23:59:59.999Z", 200),
        ("9999-12-31T23:00:00Z", "9999-12-31T23:59:59.999999999Z", 200),
        ("0000-01-01", "9999-12-31", 400),
        ("0000-01-01T00:00:00%2B00:01", "0000-01-08", 400),
        ("9999-12-31", "9999-12-31T23:59:59-00:01", 400),
        ("%2B262142-01-01T00:00:00Z", "%2B262142-12-31T00:00:00Z", 400),
    ] {
        for granularity in ["hourly", "daily", "weekly", "monthly"] {
            for current in ["false", "true"] {
                let answer = api
                    .metrics(format!(
                        "metricType=all&granularity={granularity}&startDate={from}&\
                         endDate={to}&current={current}"
                    ))
                    .await;
                let found = answer.status.as_u16();
                assert_eq!(found, status, "{from} {to} {granularity}: {}", answer.text());
            }
        }
        // A list of runs has no limit of its range.
        let answer = api.get(format!("/api/admin/analytics/runs?from={from}&to={to}")).await;
        let expected = if (from, to) == ("0000-01-01", "9999-12-31") { 200 } else { status };
        assert_eq!(answer.status.as_u16(), expected, "{from} {to}: {}", answer.text());
    }
}
