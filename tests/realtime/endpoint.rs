//! `GET /realtime`.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use serde_json::{Value, json};
use support::{
    api::instant,
    fault_proxy::FaultProxy,
    realtime::{assert_counters, counters_in},
};

use crate::common::{DASHBOARD, REALTIME, World, metric};

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_is_answered_with_the_age_of_each_counter() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    let expected = world.expected();
    world.host.set(instant("2026-06-01T02:30:00Z"));
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &expected, "as stored");
    let head = |data: &Value| {
        let mut head = data.as_object().unwrap().clone();
        head.remove("counters");
        Value::Object(head)
    };
    let refreshed = json!({
        "source": "kv", "refreshing": false, "stale": false,
        "lastUpdated": "2026-06-01T02:20:00.000Z",
    });
    assert_eq!(head(&data), refreshed);
    let media = metric(&data, "totalMedia");
    assert_eq!(
        (&media["ttl"], &media["ageSeconds"], &media["stale"]),
        (&json!(600), &json!(600), &json!(false))
    );
    let users = metric(&data, "totalUsers");
    assert_eq!(
        (&users["ttl"], &users["ageSeconds"], &users["stale"]),
        (&json!(7200), &json!(1800), &json!(false))
    );
    assert_eq!(world.surroundings.background.join().await, 0);
    // Everything a counter has, and nothing else.
    let names: Vec<_> = media.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["ageSeconds", "lastUpdated", "metricKey", "stale", "ttl", "value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_snapshot_is_answered_and_refreshed_afterwards() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    let before = counters_in(&world.surroundings.snapshots.last());
    world.go_on_to(instant("2026-06-01T02:30:01Z")).await;
    let data = world.data(REALTIME).await;
    assert_eq!((&data["stale"], &data["refreshing"]), (&json!(true), &json!(true)));
    assert_counters(&counters_in(&data), &before, "what was there");
    assert_eq!(metric(&data, "newMediaToday")["stale"], true);
    assert_eq!(metric(&data, "totalUsers")["stale"], false);
    assert_eq!(world.surroundings.background.join().await, 1);
    let data = world.data(REALTIME).await;
    assert_eq!((&data["stale"], &data["refreshing"]), (&json!(false), &json!(false)));
    assert_counters(&counters_in(&data), &world.expected(), "refreshed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_snapshot_there_is_nothing_yet_and_a_refresh_runs() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.surroundings.snapshots.show(None);
    let data = world.data(REALTIME).await;
    let nothing = json!({
        "source": "kv", "refreshing": true, "stale": true, "lastUpdated": null, "counters": [],
    });
    assert_eq!(data, nothing);
    assert_eq!(world.surroundings.background.join().await, 1);
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &world.expected(), "refreshed");
    // Many who ask at once, and a store that does not show what was written: one refresh.
    world.surroundings.snapshots.show(None);
    world.surroundings.snapshots.lag(true);
    world.go_on_to(world.now() + TimeDelta::minutes(2)).await;
    let before = world.surroundings.snapshots.puts();
    for _ in 0..8 {
        world.data(REALTIME).await;
    }
    assert_eq!(world.surroundings.background.join().await, 8);
    assert_eq!(world.surroundings.snapshots.puts(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_figures_come_from_dynamodb() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.surroundings.snapshots.break_down(true);
    for uri in [REALTIME, DASHBOARD] {
        let data = world.data(uri).await;
        assert_eq!((&data["source"], &data["stale"]), (&json!("dynamodb"), &json!(false)));
        assert_counters(&counters_in(&data), &world.expected(), uri);
    }
    assert_eq!(world.surroundings.background.join().await, 0);
    let lines = world.host.lines();
    assert!(lines.iter().any(|(_, line)| line["event"] == "snapshot_unavailable"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_counted_anew_and_replaced() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    let puts = || world.surroundings.snapshots.puts();
    let of_another_version =
        r#"{"version":1,"refreshedAt":"2026-06-01T02:20:00.000Z","counters":[]}"#;
    let mut expected_puts = puts();
    for damaged in ["", "{}", "damaged", "[1]", of_another_version] {
        world.go_on_to(world.now() + TimeDelta::minutes(2)).await;
        world.surroundings.snapshots.show(Some(damaged.to_owned()));
        let data = world.data(REALTIME).await;
        assert_eq!(
            (&data["source"], &data["stale"], &data["refreshing"]),
            (&json!("dynamodb"), &json!(false), &json!(false)),
            "{damaged}"
        );
        assert_counters(&counters_in(&data), &world.expected(), damaged);
        expected_puts += 1;
        assert_eq!(world.surroundings.snapshots.puts(), expected_puts, "{damaged}");
        let data = world.data(REALTIME).await;
        assert_eq!(data["source"], "kv", "{damaged}");
        assert_counters(&counters_in(&data), &world.expected(), damaged);
    }
    // Right after a write the store may still show what was there before, so nothing is written.
    world.surroundings.snapshots.show(Some("damaged".to_owned()));
    world.go_on_to(world.now() + TimeDelta::seconds(59)).await;
    assert_eq!(world.data(REALTIME).await["source"], "dynamodb");
    assert_eq!(world.surroundings.snapshots.puts(), expected_puts);
    world.go_on_to(world.now() + TimeDelta::seconds(60)).await;
    assert_eq!(world.data(REALTIME).await["source"], "dynamodb");
    assert_eq!(world.surroundings.snapshots.puts(), expected_puts + 1);
    assert_eq!(world.data(REALTIME).await["source"], "kv");
}

/// How many of the requests read an hour's records, as every count does once.
pub fn counts(proxy: &FaultProxy) -> usize {
    let is_count = |(operation, body): &(String, Value)| {
        operation == "Query" && body["ExpressionAttributeValues"][":partition"]["S"] == "ANALYTICS"
    };
    proxy.seen().iter().filter(|seen| is_count(seen)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_fails_an_isolate_counts_once_a_minute() {
    let (mut world, proxy, _) = World::behind_proxy(|_| false).await;
    let begun = instant("2026-06-01T02:20:00Z");
    world.go_on_to(begun).await;
    world.surroundings.snapshots.break_down(true);
    let expected = world.expected();
    // Eight at once, of which one counts.
    let polls = (0..8).map(|_| world.data(REALTIME));
    for data in futures_util::future::join_all(polls).await {
        assert_eq!(data["source"], "dynamodb");
        assert_counters(&counters_in(&data), &expected, "at once");
    }
    assert_eq!(counts(proxy), 1);
    for second in 1..50 {
        world.host.set(begun + TimeDelta::seconds(second));
        let data = world.data(REALTIME).await;
        assert_eq!(data["lastUpdated"], "2026-06-01T02:20:00.000Z");
        assert_counters(&counters_in(&data), &expected, "within the minute");
        assert_eq!(metric(&data, "totalMedia")["ageSeconds"], second);
    }
    assert_eq!(counts(proxy), 1);
    world.go_on_to(begun + TimeDelta::seconds(60)).await;
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &world.expected(), "a minute later");
    assert_eq!(counts(proxy), 2);
    // Counted for the request for fresh values; other requests get them too.
    world.go_on_to(begun + TimeDelta::seconds(125)).await;
    world.data(&format!("{REALTIME}?fresh=true")).await;
    world.data(REALTIME).await;
    assert_eq!(counts(proxy), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_fails_leaves_the_turn_to_the_next_request() {
    let (mut world, _, fails) = World::behind_proxy(|_| true).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.surroundings.snapshots.break_down(true);
    fails.store(true, Ordering::SeqCst);
    assert_eq!(world.api.get(REALTIME).await.error(500), "Database error");
    fails.store(false, Ordering::SeqCst);
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &world.expected(), "the next one");
}
