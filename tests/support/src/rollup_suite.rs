//! Rollups, the same tests on every DynamoDB: days, weeks and months against the independent
//! computation over the same items.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use edge_analytics::{
    dynamodb::{Read, WriteRequest},
    metrics::{
        period::{Granularity, Period},
        record::Coverage,
    },
    store::{ledger::Status, record::record_key},
};
use sample_platform::Item;
use serde_json::{Map, Value, json};

use super::{
    database::{Backend, TestTable},
    engine_suite::{InTime, TYPES, assert_same, engine, held_lease, platform, stored_in},
    host::TestHost,
    oracle,
};

fn day(day: u32) -> Period {
    let instant = Utc.with_ymd_and_hms(2026, 5, day, 12, 0, 0).unwrap();
    Period::containing(Granularity::Daily, instant)
}

/// Counts every hour from `first` to before `next`, in order.
async fn count_hours(table: &TestTable, first: DateTime<Utc>, next: DateTime<Utc>) {
    let engine = InTime::on(table);
    let mut at = first;
    while at < next {
        at += TimeDelta::hours(1);
        let report = engine.run(Granularity::Hourly, at).await;
        assert_eq!(report.status, Status::Complete, "{at}: {report:?}");
    }
}

/// Compares the period's records with the computation; `change` says what is different because the
/// metric's past is gone.
async fn assert_period(
    table: &TestTable,
    items: &[Item],
    period: Period,
    change: impl Fn(&str, &mut Map<String, Value>),
) {
    // On a table that stands still no user leaves.
    let mut expected = oracle::expected_period(items, period.start(), period.next().start(), None);
    for metric_type in TYPES {
        let expected = expected.get_mut(metric_type).unwrap();
        change(metric_type, expected);
        let record = stored_in(table, metric_type, period).await;
        let record = record.unwrap_or_else(|| panic!("{metric_type} of {period:?} is absent"));
        let context = format!("{metric_type} of {} {period:?}", period.granularity());
        assert_same(&record.metrics, expected, &context);
    }
}

fn nobody_left(metric_type: &str, metrics: &mut Map<String, Value>) {
    if metric_type == "users" {
        metrics.insert("deletedUsers".to_owned(), json!(0));
    }
}

/// Days from hours and a week from days equal the computation over the whole period; a second run
/// says the same; the cost of a day is exact.
pub async fn days_and_weeks_are_what_they_would_be_if_counted_at_once(backend: Backend) {
    let items = platform(50);
    let table = TestTable::with(backend, &items).await;
    let first = day(25);
    // The hour before, so that also the first hour of the week knows who was there before.
    let midnight = Utc.with_ymd_and_hms(2026, 6, 1, 0, 0, 0).unwrap();
    count_hours(&table, first.start() - TimeDelta::hours(1), midnight).await;
    // All of the week's hours are there by then.
    let engine = engine(&table, TestHost::at(midnight + TimeDelta::minutes(5)));
    for number in 25..=31 {
        let event = day(number).next().start() + TimeDelta::minutes(5);
        let report = engine.run(Granularity::Daily, event).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
        assert!(report.period.short.is_empty(), "{report:?}");
        if number > 25 {
            // The states, 150 records in two batches, six written in one transaction; then the
            // state and the ledger's entry.
            assert_eq!(report.usage.requests, 3 + 1 + 2, "{report:?}");
            assert!(report.caught_up.is_empty(), "{report:?}");
        }
        assert_period(&table, &items, day(number), nobody_left).await;
    }
    let report = engine.run(Granularity::Weekly, midnight + TimeDelta::minutes(10)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    // The week before, of which one hour is ours.
    assert_eq!(report.caught_up.len(), 1, "{report:?}");
    let week = Period::containing(Granularity::Weekly, first.start());
    assert_period(&table, &items, week, nobody_left).await;
    let users = stored_in(&table, "users", week).await.unwrap();
    assert_eq!(users.coverage, Some(Coverage { present: 7, expected: 7 }));

    let again = engine.run(Granularity::Weekly, midnight + TimeDelta::minutes(10)).await;
    assert_eq!(again.status, Status::Complete);
    assert_eq!(again.period.types_unchanged.len(), TYPES.len(), "{again:?}");
    assert_eq!(stored_in(&table, "users", week).await.unwrap(), users);
}

/// A month of which nothing but the first and the last hour was ever counted: the days and hours
/// that are missing are made first, and what the table no longer holds stays absent.
pub async fn a_month_of_holes_heals(backend: Backend) {
    let items = platform(30);
    let table = TestTable::with(backend, &items).await;
    let first = day(1).start();
    count_hours(&table, first, first + TimeDelta::hours(1)).await;
    let midnight = Utc.with_ymd_and_hms(2026, 6, 1, 0, 0, 0).unwrap();
    count_hours(&table, midnight - TimeDelta::hours(1), midnight).await;
    let engine = InTime::on(&table);
    let report = engine.run(Granularity::Monthly, midnight + TimeDelta::minutes(15)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let month = Period::containing(Granularity::Monthly, first);
    assert_period(&table, &items, month, |metric_type, metrics| {
        // It is unknown who was active in the hours that were counted later.
        if metric_type == "users" {
            metrics.remove("activeUsers");
        }
    })
    .await;
    let media = stored_in(&table, "media", month).await.unwrap();
    assert_eq!(media.coverage, Some(Coverage { present: 31, expected: 31 }));
}

/// At the first start there is no past to heal: the first day is written from what there is, with
/// only the metrics that are not short.
pub async fn the_first_day_has_only_what_is_not_short(backend: Backend) {
    let items = platform(30);
    let table = TestTable::with(backend, &items).await;
    let midnight = day(20).next().start();
    count_hours(&table, midnight - TimeDelta::hours(3), midnight).await;
    let engine = InTime::on(&table);
    let report = engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    assert!(report.caught_up.is_empty() && report.left == 0, "{report:?}");
    assert_period(&table, &items, day(20), |_, metrics| {
        let sums =
            ["new", "visitors", "activeUsers", "mostEngaged", "successful", "failed", "average"];
        let is_short = |name: &String| sums.iter().any(|sum| name.starts_with(sum));
        let short: Vec<String> = metrics.keys().filter(|name| is_short(name)).cloned().collect();
        for name in short {
            metrics.remove(&name);
        }
    })
    .await;
    let coverage = Coverage { present: 3, expected: 24 };
    assert_eq!(stored_in(&table, "media", day(20)).await.unwrap().coverage, Some(coverage));
    // Nothing of our time is lacking.
    assert!(report.period.short.is_empty(), "{report:?}");
}

/// A missing hour that another run is working on is waited for; when that run was interrupted, its hour is
/// made.
pub async fn an_hour_under_an_expired_lease_is_taken_over(backend: Backend) {
    let items = platform(30);
    let table = TestTable::with(backend, &items).await;
    let midnight = day(20).next().start();
    count_hours(&table, day(20).start(), midnight - TimeDelta::hours(1)).await;
    let host = TestHost::at(midnight + TimeDelta::minutes(5));
    // The same attributes, so that the rest of the state stays.
    let expires_at = edge_analytics::host::Host::now(host.as_ref()) + TimeDelta::seconds(3);
    hold_lease(&table, "2026-05-20T23:00:00.000Z", expires_at).await;
    let engine = engine(&table, host);
    let report = engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    assert_eq!(report.caught_up.len(), 1);
    assert_eq!(report.caught_up[0].timestamp, "2026-05-20T23:00:00.000Z");
    // The hour that has just ended is computed as if by its scheduled run: nothing is lost.
    assert_period(&table, &items, day(20), |metric_type, metrics| {
        if metric_type == "users" {
            // Its first hour had no predecessor to compare with.
            metrics.remove("deletedUsers");
        }
    })
    .await;
}

/// Stores a lease of the hours that another run holds for the run of `hour`.
async fn hold_lease(table: &TestTable, hour: &str, expires_at: DateTime<Utc>) {
    let key = || edge_analytics::store::run_state::state_key(Granularity::Hourly);
    let client = table.client();
    let state = client.get(&table.name, key(), Read::Consistent).await.unwrap().unwrap();
    let mut state = serde_json::to_value(&state).unwrap();
    for (name, value) in held_lease(hour, expires_at) {
        if name.starts_with("lease") {
            state[name] = value;
        }
    }
    table.put(&[state.as_object().unwrap().clone()]).await;
}

/// Two daily runs at once leave one set of right records.
pub async fn two_daily_runs_at_once_agree(backend: Backend) {
    let items = platform(30);
    let table = TestTable::with(backend, &items).await;
    let midnight = day(20).next().start();
    count_hours(&table, day(20).start(), midnight).await;
    // One hour is gone for one type.
    let hour = Period::containing(Granularity::Hourly, midnight - TimeDelta::hours(5));
    let delete = WriteRequest::DeleteRequest { key: record_key("media", hour) };
    table.client().batch_write(&table.name, vec![delete]).await.unwrap();
    let event = midnight + TimeDelta::minutes(5);
    let (one, other) = (InTime::on(&table), InTime::on(&table));
    let (one, other) =
        tokio::join!(one.run(Granularity::Daily, event), other.run(Granularity::Daily, event));
    for report in [&one, &other] {
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    assert_period(&table, &items, day(20), |_, _| {}).await;
}

/// Generates a `#[tokio::test]` for every test of the suite on one DynamoDB.
#[macro_export]
macro_rules! rollup_suite {
    ($backend:expr) => {
        $crate::rollup_suite! { $backend;
            days_and_weeks_are_what_they_would_be_if_counted_at_once,
            a_month_of_holes_heals,
            the_first_day_has_only_what_is_not_short,
            an_hour_under_an_expired_lease_is_taken_over,
            two_daily_runs_at_once_agree,
        }
    };
    ($backend:expr; $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::rollup_suite::$test($backend).await;
            }
        )*
    };
}
