//! Data points that are stale, and the running period.

use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::RetryPolicy,
    metrics::period::Granularity,
    settings::{Options, Settings},
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, StandingHost, instant, variable},
    database::{Backend, TestTable},
    engine_suite::platform,
    realtime::Surroundings,
    timeline::{medium, on_time, run_at},
};

use crate::common::range;

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

/// What is known of the running hour, day, week and month, against a plain count of the items.
#[tokio::test]
async fn the_running_period_is_as_of_its_last_counted_hour() {
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
        // It is returned only on request.
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
