//! Fresh values on request, authentication, outages and retention.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use edge_analytics::{realtime::Snapshot, settings::Settings};
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, StandingHost, TOKEN, get, instant, variable},
    database::{Backend, TestTable},
    engine_suite::end,
    realtime::{assert_counters, counters_in},
};

use crate::{
    common::{DASHBOARD, REALTIME, REQUESTS, World, metric},
    endpoint::counts,
};

#[tokio::test(flavor = "multi_thread")]
async fn fresh_figures_are_counted_when_asked_for() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    // Also where they are not written.
    for (at, puts) in [("2026-06-01T02:20:05Z", 1), ("2026-06-01T02:20:30Z", 2)] {
        world.go_on_to(instant(at)).await;
        let data = world.data(&format!("{REALTIME}?fresh=true")).await;
        assert_eq!((&data["source"], &data["refreshing"]), (&json!("dynamodb"), &json!(false)));
        assert_counters(&counters_in(&data), &world.expected(), at);
        assert_eq!(world.surroundings.snapshots.puts(), puts);
    }
    let answer = world.api.get(format!("{REALTIME}?fresh=yes")).await;
    assert_eq!(answer.error(400), "Invalid fresh. Must be one of: true, false");
    let answer = world.api.get(format!("{REALTIME}?frsh=true")).await;
    answer.error(400);
}

/// However many ask for fresh figures, an isolate counts once in ten seconds; the figures say how old
/// they are.
#[tokio::test(flavor = "multi_thread")]
async fn fresh_figures_are_counted_once_in_ten_seconds() {
    let (mut world, proxy, fails) = World::behind_proxy(|_| true).await;
    let begun = instant("2026-06-01T02:20:00Z");
    world.go_on_to(begun).await;
    let expected = world.expected();
    let fresh = format!("{REALTIME}?fresh=true");
    // Eight at once, of which one counts.
    let requests = (0..8).map(|_| world.data(&fresh));
    for data in futures_util::future::join_all(requests).await {
        assert_eq!((&data["source"], &data["refreshing"]), (&json!("dynamodb"), &json!(false)));
        assert_counters(&counters_in(&data), &expected, "at once");
    }
    assert_eq!((counts(proxy), proxy.seen().len()), (1, REQUESTS));
    for second in [1, 5, 9] {
        world.go_on_to(begun + TimeDelta::seconds(second)).await;
        let data = world.data(&fresh).await;
        assert_eq!(data["lastUpdated"], "2026-06-01T02:20:00.000Z", "{second}");
        assert_eq!(metric(&data, "totalMedia")["ageSeconds"], second);
        assert_counters(&counters_in(&data), &expected, "within ten seconds");
    }
    assert_eq!(proxy.seen().len(), REQUESTS);
    world.go_on_to(begun + TimeDelta::seconds(10)).await;
    let data = world.data(&fresh).await;
    assert_eq!(data["lastUpdated"], "2026-06-01T02:20:10.000Z");
    assert_counters(&counters_in(&data), &world.expected(), "ten seconds later");
    assert_eq!((counts(proxy), proxy.seen().len()), (2, 2 * REQUESTS));
    // One that fails leaves the turn to the next one.
    world.go_on_to(begun + TimeDelta::seconds(20)).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(world.api.get(&fresh).await.error(500), "Database error");
    fails.store(false, Ordering::SeqCst);
    let before = counts(proxy);
    let data = world.data(&fresh).await;
    assert_counters(&counters_in(&data), &world.expected(), "after a failure");
    assert_eq!(counts(proxy), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counters_are_for_administrators() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let api = Api::new(&table.endpoint, &table.name, StandingHost::at(end()));
    for uri in [REALTIME, DASHBOARD] {
        let answer = api.send(get(uri).body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.error(401), "Authentication required");
        assert!(!answer.text().contains(TOKEN));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dynamodb_the_snapshot_is_still_answered() {
    let (mut world, _, fails) = World::behind_proxy(|_| true).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    fails.store(true, Ordering::SeqCst);
    world.host.set(instant("2026-06-01T02:40:00Z"));
    let data = world.data(REALTIME).await;
    assert_eq!((&data["stale"], &data["refreshing"]), (&json!(true), &json!(true)));
    world.surroundings.background.join().await;
    assert_eq!(world.refreshes().pop().unwrap()["status"], "failed");
    for uri in [&format!("{REALTIME}?fresh=true"), DASHBOARD] {
        assert_eq!(world.api.get(uri).await.error(500), "Database error");
    }
}

/// Hours are kept for a day, and none was counted after midnight: what comes from the last one is
/// shown until a day after it, independent of the run that counted it.
#[tokio::test(flavor = "multi_thread")]
async fn no_counter_outlives_the_retention_of_its_records() {
    let world = World::at(instant("2026-06-01T00:00:00Z")).await;
    let settings = Settings::read(|name| match name {
        "RETENTION_HOURLY_DAYS" => Some("1".to_owned()),
        _ => variable(name, &world.endpoint, &world.table.name),
    });
    let host = world.host.clone();
    let keeping = Api::with_surroundings(settings.unwrap(), host, IMPATIENT, &world.surroundings);
    let shown = async |api: &Api, uri: &str| {
        let answer = api.get(uri).await;
        assert_eq!(answer.status.as_u16(), 200, "{uri}: {}", answer.text());
        counters_in(&answer.json()["data"]).into_keys().collect::<Vec<String>>()
    };
    let all: Vec<String> = world.expected().into_keys().collect();
    let without = |excluded: &dyn Fn(&str) -> bool| {
        all.iter().filter(|name| !excluded(name)).cloned().collect::<Vec<String>>()
    };
    let is_total = |name: &str| !name.starts_with("new") && !name.starts_with("visitors");
    let is_day = |name: &str| name.ends_with("Last24Hours");
    // Known of full hours only: from 00:00 yesterday. The others' first full hour began at 01:00.
    let is_of_hours = |name: &str| name.starts_with("newUsers") || name.starts_with("newRevenue");
    let is_day_of_hours = |name: &str| is_day(name) && is_of_hours(name);
    // One snapshot; what is written after it is not seen.
    world.host.set(instant("2026-06-01T00:20:00Z"));
    world.tick().await;
    world.surroundings.snapshots.lag(true);
    for (at, expected) in [
        ("2026-06-01T00:59:59.999Z", all.clone()),
        ("2026-06-01T01:00:00.000Z", without(&is_day_of_hours)),
        ("2026-06-01T01:59:59.999Z", without(&is_day_of_hours)),
        ("2026-06-01T02:00:00.000Z", without(&is_day)),
        ("2026-06-01T23:59:59.999Z", without(&is_day)),
        ("2026-06-02T00:00:00.000Z", without(&|name| is_day(name) || is_total(name))),
    ] {
        world.host.set(instant(at));
        assert_eq!(shown(&keeping, REALTIME).await, expected, "{at}");
        world.surroundings.background.join().await;
        assert_eq!(shown(&world.api, REALTIME).await, all, "kept for ever, {at}");
        world.surroundings.background.join().await;
    }
    // Counted now, from records that are still there.
    let since = without(&|name| is_day_of_hours(name) || is_total(name));
    let kept = without(&is_day_of_hours);
    let fresh = format!("{REALTIME}?fresh=true");
    world.host.set(instant("2026-06-02T00:10:00Z"));
    assert_eq!(shown(&keeping, &fresh).await, since);
    assert_eq!(shown(&world.api, &fresh).await, kept);
    world.surroundings.snapshots.break_down(true);
    for uri in [REALTIME, DASHBOARD] {
        assert_eq!(shown(&keeping, uri).await, since);
        assert_eq!(shown(&world.api, uri).await, kept);
    }
    let data = keeping.get(DASHBOARD).await.json()["data"].clone();
    let headlines = data["headlines"].as_array().unwrap();
    assert!(headlines.iter().all(|headline| headline["value"] == Value::Null), "{data}");
    // Carried from the snapshot before, when no record is looked at any more.
    world.surroundings.snapshots.break_down(false);
    world.surroundings.snapshots.lag(false);
    world.host.set(instant("2026-06-02T04:00:00Z"));
    world.tick().await;
    let since = without(&|name| is_of_hours(name) || is_total(name));
    assert_eq!(shown(&keeping, REALTIME).await, since);
    assert_eq!(shown(&world.api, REALTIME).await, without(&is_of_hours));
}

#[test]
fn a_snapshot_of_another_version_is_none() {
    let of_version = |version: u32| {
        let text = r#"{"version":VERSION,"refreshedAt":"2026-06-01T02:40:00.000Z","counters":[]}"#;
        Snapshot::parse(&text.replace("VERSION", &version.to_string()))
    };
    assert!(of_version(2).is_some());
    assert_eq!((of_version(1), of_version(3)), (None, None));
}
