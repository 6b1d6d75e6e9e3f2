//! `GET /dashboard`.

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{metrics::period::Granularity, settings::Settings, store::ledger::Status};
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, instant, stamp, variable},
    engine_suite::engine_at,
    fault_proxy::{Fault, FaultProxy, Seen},
    oracle,
    realtime::{assert_counters, counters_in},
};

use crate::common::{DASHBOARD, World, metric};

/// The headlines, and how each is looked at: its type, and whether it is a stock, adds up over hours,
/// or is known of whole days.
const HEADLINES: [(&str, &str, char); 15] = [
    ("users", "totalUsers", 's'),
    ("users", "newUsers", 'f'),
    ("users", "activeUsers", 'd'),
    ("users", "visitors", 'd'),
    ("media", "totalMedia", 's'),
    ("media", "newMedia", 'f'),
    ("albums", "totalAlbums", 's'),
    ("interactions", "totalLikes", 's'),
    ("interactions", "newViews", 'f'),
    ("generations", "totalGenerations", 's'),
    ("generations", "newGenerations", 'f'),
    ("generations", "averageGenerationTime", 'd'),
    ("business", "MRR", 's'),
    ("business", "newRevenue", 'f'),
    ("business", "totalRevenue", 's'),
];

/// A platform of which 52 hours and two days were counted, seen at 02:20.
async fn dashboard_world() -> (World, Value) {
    let mut world =
        World::since(instant("2026-06-01T02:00:00Z"), 53, |endpoint| async { endpoint }).await;
    let engine = engine_at(&world.table.endpoint, &world.table.name, world.host.clone());
    for day in ["2026-05-31T00:05:00Z", "2026-06-01T00:05:00Z"] {
        let report = engine.run(Granularity::Daily, instant(day)).await;
        assert_ne!(report.status, Status::Failed, "{report:?}");
    }
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    let data = world.data(DASHBOARD).await;
    (world, data)
}

/// Numbers by value.
#[track_caller]
fn assert_number(actual: &Value, expected: Option<f64>, context: &str) {
    let same = match (actual.as_f64(), expected) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-6,
        (None, None) => actual.is_null(),
        _ => false,
    };
    assert!(same, "{context} is {actual}, expected {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_what_the_platform_came_to() {
    let (world, data) = dashboard_world().await;
    let names: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["counters", "generatedAt", "headlines", "source", "stale"]);
    assert_eq!(data["generatedAt"], "2026-06-01T02:20:00.000Z");
    assert_eq!((&data["source"], &data["stale"]), (&json!("kv"), &json!(false)));
    let expected = world.expected();
    assert_counters(&counters_in(&data), &expected, "the counters");

    let items = &world.items;
    let number = |from: DateTime<Utc>, to: DateTime<Utc>, metric_type: &str, name: &str| {
        oracle::expected_period(items, from, to, None)[metric_type].get(name)?.as_f64()
    };
    let headlines = data["headlines"].as_array().unwrap();
    assert_eq!(headlines.len(), HEADLINES.len());
    let hours = |count: i64| TimeDelta::hours(count);
    let two = instant("2026-06-01T02:00:00Z");
    let midnight = instant("2026-06-01T00:00:00Z");
    for ((metric_type, name, kind), headline) in HEADLINES.into_iter().zip(headlines) {
        assert_eq!(
            (&headline["metricType"], &headline["metric"]),
            (&json!(metric_type), &json!(name))
        );
        let found = |from, to| number(from, to, metric_type, name);
        let (value, as_of, before, compared_to) = match kind {
            's' => {
                let (value, as_of) = &expected[name];
                let compared_to = two - hours(24);
                let before = found(compared_to - hours(1), compared_to);
                (value.as_f64(), as_of.clone(), before, compared_to)
            }
            'f' => {
                let (value, before) =
                    (found(two - hours(24), two), found(two - hours(48), two - hours(24)));
                (value, stamp(two), before, two - hours(24))
            }
            _ => {
                let value = found(midnight - hours(24), midnight);
                let before = found(midnight - hours(48), midnight - hours(24));
                (value, stamp(midnight), before, midnight - hours(24))
            }
        };
        // What the table no longer holds cannot be computed afterwards: the records' own values are shown.
        let forgets = ["activeUsers", "MRR"].contains(&name);
        assert_eq!(headline["asOf"], json!(as_of), "{name}");
        if !forgets {
            assert_number(&headline["value"], value, name);
            let (value, before) = (value.unwrap(), before.unwrap());
            let change = &headline["change"];
            assert_eq!(change["comparedTo"], json!(stamp(compared_to)), "{name}");
            assert_number(&change["absolute"], Some(value - before), name);
            let percent = (before != 0.0).then(|| (value - before) / before * 100.0);
            match percent {
                None => assert!(change["percent"].is_null(), "{name}: {change}"),
                Some(percent) => {
                    let shown = change["percent"].as_f64().unwrap();
                    assert!((shown - percent).abs() <= 0.005_001, "{name}: {shown}, {percent}");
                }
            }
        }
        let points = |field: &str| headline[field].as_array().unwrap().clone();
        let day = points("last24Hours");
        assert_eq!(day.len(), 24, "{name}");
        for (index, point) in (0..).zip(&day) {
            let start = two - hours(24 - index);
            assert_eq!(point["timestamp"], json!(stamp(start)), "{name}");
            if !forgets {
                let context = format!("{name} at {start}");
                assert_number(&point["value"], found(start, start + hours(1)), &context);
            }
        }
        let month = points("last30Days");
        assert_eq!(month.len(), 30, "{name}");
        assert_eq!(month[0]["timestamp"], "2026-05-02T00:00:00.000Z", "{name}");
        assert_eq!(month[29]["timestamp"], "2026-05-31T00:00:00.000Z", "{name}");
        assert_eq!(month[26]["value"], Value::Null, "{name} of a day that was not counted");
        if !forgets {
            assert_number(&month[29]["value"], found(midnight - hours(24), midnight), name);
        }
    }
}

/// Hours go on being counted while no tick comes: a stock is the later of counter and record.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_is_the_later_of_counter_and_record() {
    let (mut world, _) = dashboard_world().await;
    let stocks = HEADLINES.into_iter().filter(|(.., kind)| *kind == 's');
    let headline = |data: &Value, name: &str| {
        let headlines = data["headlines"].as_array().unwrap();
        headlines.iter().find(|headline| headline["metric"] == name).unwrap().clone()
    };
    world.count_hour(instant("2026-06-01T03:00:00Z")).await;
    let data = world.data(DASHBOARD).await;
    let hour = oracle::expected_hour(&world.then, instant("2026-06-01T02:00:00Z"), None);
    for (metric_type, name, _) in stocks.clone() {
        let headline = headline(&data, name);
        assert_eq!(headline["asOf"], "2026-06-01T03:00:00.000Z", "{name}");
        assert_number(&headline["value"], hour[metric_type][name].as_f64(), name);
        let change = &headline["change"];
        assert_eq!(change["comparedTo"], "2026-05-31T03:00:00.000Z", "{name}");
        // The counters below are as the tick left them.
        assert_ne!(metric(&data, name)["lastUpdated"], "2026-06-01T03:00:00.000Z", "{name}");
    }
    world.surroundings.background.join().await;
    world.go_on_to(instant("2026-06-01T03:05:00Z")).await;
    world.tick().await;
    let data = world.data(DASHBOARD).await;
    let expected = world.expected();
    for (_, name, _) in stocks {
        let headline = headline(&data, name);
        let (value, as_of) = &expected[name];
        assert_eq!(headline["asOf"], json!(as_of), "{name}");
        assert_number(&headline["value"], value.as_f64(), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_hour_affects_only_the_values_that_need_it() {
    let (world, before) = dashboard_world().await;
    world.delete("media", instant("2026-05-31T11:00:00Z")).await;
    let data = world.data(DASHBOARD).await;
    let headline = |data: &Value, name: &str| {
        let headlines = data["headlines"].as_array().unwrap();
        headlines.iter().find(|headline| headline["metric"] == name).unwrap().clone()
    };
    let new_media = headline(&data, "newMedia");
    assert_eq!(
        new_media["last24Hours"][9],
        json!({"timestamp": "2026-05-31T11:00:00.000Z", "value": null})
    );
    assert_eq!(
        (&new_media["value"], &new_media["asOf"], &new_media["change"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    // A stock needs only now and then.
    assert_eq!(headline(&data, "totalMedia")["value"], headline(&before, "totalMedia")["value"]);
    assert_eq!(
        headline(&data, "totalAlbums")["change"],
        headline(&before, "totalAlbums")["change"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_nothing_past_retention_and_takes_three_requests() {
    let (world, _) = dashboard_world().await;
    let proxy = FaultProxy::start(&world.table.endpoint, |_: &Seen| Fault::None).await;
    let settings = Settings::read(|name| match name {
        "RETENTION_HOURLY_DAYS" | "RETENTION_DAILY_DAYS" => Some("1".to_owned()),
        _ => variable(name, &proxy.endpoint, &world.table.name),
    });
    let host = world.host.clone();
    let api = Api::with_surroundings(settings.unwrap(), host, IMPATIENT, &world.surroundings);
    let answer = api.get(DASHBOARD).await;
    let data = answer.json()["data"].clone();
    let requests = proxy.seen();
    let mut operations: Vec<&str> =
        requests.iter().map(|(operation, _)| operation.as_str()).collect();
    operations.sort_unstable();
    // The hours, the days, and the days that are stale.
    assert_eq!(operations, ["GetItem", "Query", "Query"], "{requests:?}");
    let media = &data["headlines"][4];
    // 24 hours before 02:20: the hour from 02:00 to 03:00 is kept to 03:00 today.
    assert_eq!(media["last24Hours"][0]["timestamp"], "2026-05-31T02:00:00.000Z");
    assert!(media["last24Hours"][0]["value"].is_number());
    assert_eq!(media["change"], Value::Null, "what it would be compared with is past retention");
    assert!(media["last30Days"][29]["value"].is_number());
    assert_eq!(media["last30Days"][28]["value"], Value::Null);
}
