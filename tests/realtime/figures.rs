//! Every counter against the independent computation.

use std::sync::atomic::Ordering;

use edge_analytics::{
    metrics::period::{Granularity, Period},
    realtime::{RefreshOutcome, RefreshTrigger},
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{StandingHost, instant},
    database::{Backend, TestTable},
    engine_suite::{TYPES, end, platform},
    oracle,
    realtime::{Surroundings, assert_counters, counters_in, expected_counters},
};

use crate::common::{World, key_of, moment, refresh_at};

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_is_right_at_every_refresh_while_the_platform_changes() {
    let mut world = World::at(instant("2026-05-31T22:00:00Z")).await;
    let mut moved = std::collections::BTreeMap::<String, Vec<Value>>::new();
    // None: the event of the hour that has just ended.
    for step in [
        Some("2026-05-31T22:41:07.003Z"),
        Some("2026-05-31T22:59:59.999Z"),
        Some("2026-05-31T23:00:00.000Z"),
        Some("2026-05-31T23:00:00.001Z"),
        None,
        Some("2026-05-31T23:59:59.999Z"),
        Some("2026-06-01T00:00:00.000Z"),
        Some("2026-06-01T00:00:03.500Z"),
        None,
        Some("2026-06-01T00:00:30.000Z"),
        Some("2026-06-01T00:17:30.000Z"),
        Some("2026-06-01T01:00:00.000Z"),
        None,
        Some("2026-06-01T01:05:00.000Z"),
        Some("2026-06-01T02:00:02.000Z"),
        // The event of that hour is missing.
        Some("2026-06-01T02:59:59.999Z"),
        Some("2026-06-01T03:00:00.000Z"),
    ] {
        let Some(at) = step else {
            let hour = Period::containing(Granularity::Hourly, world.now()).start();
            world.count_hour(hour).await;
            continue;
        };
        world.go_on_to(instant(at)).await;
        // What was stored before does not matter.
        let RefreshOutcome::Counted(snapshot) = world.refresh(RefreshTrigger::Fresh).await else {
            panic!("{at} was not refreshed");
        };
        let counted = counters_in(&serde_json::to_value(&snapshot).unwrap());
        assert_counters(&counted, &world.expected(), at);
        for (name, (value, _)) in counted {
            let values = moved.entry(name).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    // The comparison means something only where the platform moves. No user buys a plan in that time.
    assert_ne!(moved.remove("MRR").unwrap(), [json!(0)]);
    let idle: Vec<_> = moved.iter().filter(|(_, values)| values.len() < 2).collect();
    assert!(idle.is_empty(), "these never changed: {idle:?}");
    let problems: Vec<_> =
        world.refreshes().into_iter().filter(|line| line["problems"] != json!([])).collect();
    assert!(problems.is_empty(), "{problems:?}");
}

/// What changes in an item that has been counted is not known before the next full pass, and no
/// counter claims it is.
#[tokio::test(flavor = "multi_thread")]
async fn hidden_items_leave_the_counters_at_the_next_hour() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:10:00Z")).await;
    // A medium and an album that are days old are hidden, and shown.
    let old = instant("2026-05-28T00:00:00Z");
    let mut flipped = Vec::new();
    for (entity, from, to) in [
        ("Media", "true", "false"),
        ("Media", "false", "true"),
        ("Media", "true", "false"),
        ("Album", "true", "false"),
    ] {
        let is_wanted = |item: &&mut Item| {
            item.get("EntityType").is_some_and(|one| one["S"] == entity)
                && item.get("isPublic").is_some_and(|one| one["S"] == from)
                && (instant("2026-05-01T00:00:00Z")..old).contains(&moment(item))
                && !flipped.contains(&key_of(item))
        };
        let item = world.items.iter_mut().find(is_wanted).unwrap();
        item.insert("isPublic".to_owned(), json!({ "S": to }));
        flipped.push(key_of(item));
        let item = item.clone();
        // It stays like that.
        let later = world.all.iter_mut().find(|other| key_of(other) == key_of(&item)).unwrap();
        later.clone_from(&item);
        world.table.put(&[item]).await;
    }
    world.go_on_to(instant("2026-06-01T02:15:00Z")).await;
    world.tick().await;
    let before = counters_in(&world.surroundings.snapshots.last());
    assert_counters(&before, &world.expected(), "before the next hour");
    assert_eq!(before["publicMedia"].1, "2026-06-01T02:00:00.000Z");
    assert_eq!(before["publicAlbums"].1, "2026-06-01T02:00:00.000Z");
    assert_eq!(before["totalMedia"].1, "2026-06-01T02:15:00.000Z");

    world.count_hour(instant("2026-06-01T03:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T03:05:00Z")).await;
    world.tick().await;
    let after = counters_in(&world.surroundings.snapshots.last());
    assert_counters(&after, &world.expected(), "after it");
    assert_ne!(after["publicMedia"].0, before["publicMedia"].0);
    assert_eq!(after["publicMedia"].1, "2026-06-01T03:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_hour_is_counted_where_possible() {
    let mut world = World::at(instant("2026-06-01T02:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    let expected = world.expected();
    let hole = instant("2026-05-31T11:00:00Z");
    for metric_type in TYPES {
        world.delete(metric_type, hole).await;
    }
    world.tick().await;
    let mut expected_now = expected.clone();
    // The day is not known to them any more; today is, for the hole is before midnight.
    assert!(expected_now.remove("newUsersLast24Hours").is_some());
    assert!(expected_now.remove("newRevenueLast24Hours").is_some());
    let counted = counters_in(&world.surroundings.snapshots.last());
    assert_counters(&counted, &expected_now, "with a hole");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_hour_countable_values_are_shown() {
    let items = platform(60);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Tick).await;
    let counted = counters_in(&surroundings.snapshots.last());
    let mut expected = expected_counters(&items, end(), &items, end());
    expected.retain(|name, _| {
        let is_new =
            name.starts_with("new") && !name.contains("Users") && !name.contains("Revenue");
        is_new || name.starts_with("visitorsLast")
    });
    assert_counters(&counted, &expected, "without records");
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_outlive_their_records() {
    let mut world = World::at(instant("2026-06-01T00:00:00Z")).await;
    world.go_on_to(instant("2026-06-01T00:10:00Z")).await;
    world.tick().await;
    let before = counters_in(&world.surroundings.snapshots.last());
    // No hour is counted for days.
    world.host.set(instant("2026-06-03T00:00:00Z"));
    world.tick().await;
    let after = counters_in(&world.surroundings.snapshots.last());
    for name in ["totalUsers", "MRR", "totalMedia", "mediaByStatus"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert!(!after.contains_key("newUsersLast24Hours"));
    assert_eq!(after["newMediaToday"].0, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_partition_affects_only_its_counters() {
    let (mut world, _, fails) = World::behind_proxy(|seen| seen.queries("MEDIA")).await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    fails.store(true, Ordering::SeqCst);
    world.tick().await;
    let mut expected = world.expected();
    expected.remove("newMediaToday");
    expected.remove("newMediaLast24Hours");
    let hour = oracle::expected_hour(&world.then, instant("2026-06-01T01:00:00Z"), None);
    // Carried from the record, and as old as that.
    let carried = (hour["media"]["totalMedia"].clone(), "2026-06-01T02:00:00.000Z".to_owned());
    expected.insert("totalMedia".to_owned(), carried);
    let counted = counters_in(&world.surroundings.snapshots.last());
    assert_counters(&counted, &expected, "without media");
    let line = world.refreshes().pop().unwrap();
    assert_eq!(line["status"], "partial", "{line}");
    assert!(line["problems"][0].as_str().unwrap().contains("AccessDenied"), "{line}");
}
