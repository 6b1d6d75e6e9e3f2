//! What a recalculation stores, and what it must not change.

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    metrics::{
        maker::Maker,
        period::{Granularity, Period, format_instant},
        record::{Reconstruction, Record},
    },
    store::{
        ledger::{Status, Trigger},
        record::record_key,
    },
};
use sample_platform::Item;
use serde_json::json;
use support::{
    engine_suite::{TYPES, assert_same, end, stored_in},
    oracle,
};

use crate::common::{World, everything, range};

/// The metrics that only the scheduled run of their period can observe, or that follow from such ones.
const ONLY_ITS_TIME: [&str; 5] =
    ["activeUsers", "deletedUsers", "mediaByStatus", "totalViews", "MRR"];

/// Counts without a condition: later they can only be short of what was deleted.
const UNCONDITIONAL_COUNTS: [&str; 13] = [
    "visitors",
    "totalMedia",
    "newMedia",
    "totalAlbums",
    "newAlbums",
    "totalLikes",
    "totalBookmarks",
    "totalComments",
    "newLikes",
    "newBookmarks",
    "newComments",
    "totalGenerations",
    "newGenerations",
];

/// Since the platform was counted, users left and came back to be active, media changed their status
/// and visibility.
async fn change_the_platform(world: &World) -> Vec<Item> {
    let mut items = world.items.clone();
    let mut changed = Vec::new();
    for item in &mut items {
        let entity = item.get("EntityType").and_then(|entity| entity["S"].as_str()).unwrap_or("");
        match entity {
            "User" => {
                item.insert("lastActive".to_owned(), json!({"S": format_instant(end())}));
                if item["userId"]["S"].as_str().unwrap().ends_with(['1', '3', '5', '7', '9']) {
                    item.insert("isActive".to_owned(), json!({"BOOL": false}));
                }
                item.insert("plan".to_owned(), json!({"S": "pro"}));
            }
            "Media" => {
                item.insert("status".to_owned(), json!({"S": "failed"}));
                item.insert("isPublic".to_owned(), json!({"S": "false"}));
            }
            _ => continue,
        }
        changed.push(item.clone());
    }
    world.table.put(&changed).await;
    items
}

/// What a stored `newUsers` of `hour` becomes: while the hour settles, what the table says; later, the
/// larger value.
fn new_users(before: &Record, items: &[Item], now: DateTime<Utc>) -> u64 {
    let hour = before.period;
    let mut counted = oracle::expected_period(items, hour.start(), hour.next().start(), None);
    let counted = counted.remove("users").unwrap()["newUsers"].as_u64().unwrap();
    let stored = before.metrics["newUsers"].as_u64().unwrap();
    if now - hour.end() < TimeDelta::hours(48) { counted } else { counted.max(stored) }
}

/// All periods are recalculated after the platform has changed: observed values stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_recalculation_keeps_observed_values() {
    let world = World::new().await;
    let before = world.all_records().await;
    let items = change_the_platform(&world).await;
    let now = end() + TimeDelta::hours(1);
    for granularity in ["hourly", "daily", "weekly", "monthly"] {
        world.host.set(now);
        let job = world.start(&everything(granularity)).await;
        world.queue.deliver_all(&world.engine).await;
        let job = world.follow(&job).await;
        assert_eq!(job["status"], "complete", "{job}");
    }
    let after = world.all_records().await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let mut fell = 0;
    let mut stayed = 0;
    for (key, record) in &after {
        let old = &before[key];
        let mut expected = old.metrics.clone();
        // Only this flow has a condition that changed; a coarser one is the sum of its hours.
        if expected.contains_key("newUsers") {
            let of_hours = before.values().filter(|of| {
                of.metric_type == "users"
                    && of.period.granularity() == Granularity::Hourly
                    && record.period.contains(of.period.start())
            });
            let sum: u64 = of_hours.map(|hour| new_users(hour, &items, now)).sum();
            expected.insert("newUsers".to_owned(), sum.into());
            if record.period.granularity() == Granularity::Hourly {
                let hour = record.period;
                let mut counted =
                    oracle::expected_period(&items, hour.start(), hour.next().start(), None);
                let counted = counted.remove("users").unwrap()["newUsers"].clone();
                fell += usize::from(counted == sum && old.metrics["newUsers"] != sum);
                stayed += usize::from(counted != sum);
            }
        }
        assert_same(&record.metrics, &expected, &format!("{key:?}"));
        assert!(record.reconstructed.is_empty(), "{key:?}: {:?}", record.reconstructed);
        assert!(record.calculated_at > old.calculated_at || key.0 != "hourly", "{key:?}");
    }
    assert!(fell > 0 && stayed > 0, "{fell} hours followed the table, {stayed} were settled");

    // Once more: nothing but the time of calculation.
    let job = world.start(&everything("hourly")).await;
    world.host.set(end() + TimeDelta::hours(1) + TimeDelta::minutes(30));
    world.queue.deliver_all(&world.engine).await;
    assert_eq!(world.follow(&job).await["status"], "complete");
    for (key, record) in world.all_records().await {
        let mut first = after[&key].clone();
        assert!(record.calculated_at >= first.calculated_at, "{key:?}");
        first.calculated_at = record.calculated_at;
        assert_eq!(record, first, "{key:?}");
    }
}

/// With `overwrite`, stored values are replaced by what the table holds today, and are marked.
#[tokio::test(flavor = "multi_thread")]
async fn observed_values_are_overwritten_on_request_and_marked() {
    let world = World::new().await;
    let before = world.all_records().await;
    let items = change_the_platform(&world).await;
    for granularity in ["hourly", "daily", "weekly", "monthly"] {
        world.host.set(end() + TimeDelta::hours(1));
        let mut body = everything(granularity);
        body["overwrite"] = json!(true);
        let job = world.start(&body).await;
        assert_eq!(job["overwrite"], json!(true));
        world.queue.deliver_all(&world.engine).await;
        let job = world.follow(&job).await;
        assert_eq!(job["status"], "complete", "{job}");
    }
    let after = world.all_records().await;
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let mut marked = 0;
    for (key, record) in &after {
        let (granularity, at, name) = key;
        let context = format!("{granularity} {at} {name}");
        let old = &before[key];
        for metric in ONLY_ITS_TIME {
            assert_eq!(record.metrics.get(metric), old.metrics.get(metric), "{context} {metric}");
        }
        let period = record.period;
        let mut expected =
            oracle::expected_period(&items, period.start(), period.next().start(), None);
        let mut expected = expected.remove(name.as_str()).unwrap();
        // Of the first day, week and month only what is not short.
        let is_short = record.coverage.is_some_and(|coverage| coverage.present < coverage.expected);
        expected.retain(|metric, _| {
            !ONLY_ITS_TIME.contains(&metric.as_str())
                && (!is_short || record.metrics.contains_key(metric))
        });
        let mut actual = record.metrics.clone();
        actual.retain(|metric, _| !ONLY_ITS_TIME.contains(&metric.as_str()));
        assert_same(&actual, &expected, &context);
        // An hour says of each value that was replaced what it is now.
        if granularity == "hourly" {
            for (metric, value) in &record.metrics {
                let mark = record.reconstructed.get(metric).copied();
                let is_replaced = old.metrics.get(metric) != Some(value);
                let expected = match UNCONDITIONAL_COUNTS.contains(&metric.as_str()) {
                    _ if !is_replaced => None,
                    true => Some(Reconstruction::LowerBound),
                    false => Some(Reconstruction::Estimate),
                };
                assert_eq!(mark, expected, "{context} {metric}");
            }
        }
        marked += record.reconstructed.len();
    }
    assert!(marked > 100, "only {marked} values are marked: the comparison means little");
}

/// An hour that was never counted: what the table still tells is filled in and marked, the rest stays
/// absent, and its day says what it is made from.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_absent_is_filled_and_marked() {
    let world = World::new().await;
    let hour = Period::containing(Granularity::Hourly, end() - TimeDelta::hours(30));
    let before = stored_in(&world.table, "users", hour).await.unwrap();
    let keys: Vec<_> = TYPES.iter().map(|name| record_key(name, hour)).collect();
    world.table.delete(keys).await;
    let job = world.start(&range("all", "hourly", hour.start(), hour.end())).await;
    world.queue.deliver_all(&world.engine).await;
    assert_eq!(world.follow(&job).await["status"], "complete");
    for name in TYPES {
        let record = stored_in(&world.table, name, hour).await.unwrap();
        let mut expected =
            oracle::expected_period(&world.items, hour.start(), hour.next().start(), None);
        let mut expected = expected.remove(name).unwrap();
        expected.retain(|metric, _| !ONLY_ITS_TIME.contains(&metric.as_str()));
        assert_same(&record.metrics, &expected, name);
        for metric in record.metrics.keys() {
            let expected = if UNCONDITIONAL_COUNTS.contains(&metric.as_str()) {
                Reconstruction::LowerBound
            } else {
                Reconstruction::Estimate
            };
            assert_eq!(record.reconstructed.get(metric), Some(&expected), "{metric}");
        }
    }
    assert!(before.metrics.contains_key("activeUsers"));
    // The day has what all of its hours have, and says which of that is not observed.
    let day = Period::containing(Granularity::Daily, hour.start());
    let record = stored_in(&world.table, "users", day).await.unwrap();
    let marks: Vec<_> =
        record.reconstructed.iter().map(|(name, mark)| (name.as_str(), *mark)).collect();
    assert_eq!(
        marks,
        [("newUsers", Reconstruction::Estimate), ("visitors", Reconstruction::LowerBound)]
    );
}

/// Where no item can be read, nothing is replaced by zeros, and the slice's entry says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_reports_what_it_could_not_read() {
    let world = World::new().await;
    let hour = Period::containing(Granularity::Hourly, end() - TimeDelta::hours(30));
    let before = stored_in(&world.table, "albums", hour).await.unwrap();
    let albums: Vec<Item> = world
        .items
        .iter()
        .filter(|item| item.get("EntityType").is_some_and(|entity| entity["S"] == "Album"))
        .cloned()
        .map(|mut album| {
            album.insert("createdAt".to_owned(), json!({"BOOL": true}));
            album
        })
        .collect();
    assert!(albums.len() > 3);
    world.table.put(&albums).await;
    let mut body = range("albums", "hourly", hour.start(), hour.end());
    body["overwrite"] = json!(true);
    let job = world.start(&body).await;
    world.queue.deliver_all(&world.engine).await;
    assert_eq!(world.follow(&job).await["status"], "complete");
    let after = stored_in(&world.table, "albums", hour).await.unwrap();
    assert_eq!(after.metrics, before.metrics);
    let entries = support::ledger::entries(&world.table).await;
    let of_slice = |entry: &&edge_analytics::store::ledger::Entry| {
        entry.trigger == Trigger::Recalculate && entry.granularity == "hourly"
    };
    let entry = entries.iter().find(of_slice).unwrap();
    assert_eq!(entry.status, Status::Partial, "{entry:?}");
    assert!(entry.problems.iter().any(|why| why.contains("`totalAlbums`")), "{entry:?}");
    assert!(entry.malformed["totalAlbums"] > 3, "{entry:?}");
}

/// An event that comes 50 minutes late observes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_late_does_not_observe() {
    let world = World::new().await;
    let hour = Period::containing(Granularity::Hourly, end());
    for (minutes, observes) in [(50, false), (11, false), (9, true)] {
        let hour = match minutes {
            50 => hour,
            11 => hour.next(),
            _ => hour.next().next(),
        };
        let scheduled = hour.next().start();
        world.host.set(scheduled + TimeDelta::minutes(minutes));
        let report = world.engine.run(Granularity::Hourly, scheduled).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
        let users = stored_in(&world.table, "users", hour).await.unwrap();
        let is_there = |metric: &str| users.metrics.contains_key(metric);
        assert_eq!(is_there("activeUsers"), observes, "{minutes} minutes");
        assert!(is_there("totalUsers") && is_there("newUsers"), "{minutes} minutes");
        assert_eq!(users.reconstructed.is_empty(), observes, "{minutes} minutes");
        // The stock before it was not observed: who left since is not known.
        assert!(!is_there("deletedUsers"), "{minutes} minutes");
        let business = stored_in(&world.table, "business", hour).await.unwrap();
        assert_eq!(business.metrics.contains_key("MRR"), observes, "{minutes} minutes");
    }
}

/// Days whose hours are past retention are counted from the platform's items; the hours are not
/// brought back.
#[tokio::test(flavor = "multi_thread")]
async fn days_past_the_retention_of_their_hours_are_counted() {
    let world = World::new().await;
    let day = Period::containing(Granularity::Daily, end() - TimeDelta::days(2));
    let before = stored_in(&world.table, "users", day).await.unwrap();
    world.host.set(end() + TimeDelta::days(60));
    let job = world.start(&range("users", "daily", day.start(), day.end())).await;
    assert_eq!(job["periods"], 1);
    world.queue.deliver_all(&world.engine).await;
    let ended = world.follow(&job).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(1)), "{ended}");
    let after = stored_in(&world.table, "users", day).await.unwrap();
    assert!(after.calculated_at > before.calculated_at);
    assert_eq!(after.metrics, before.metrics);
    assert_eq!(after.made_by, Maker::Rollup.into(), "every value was kept");
    let other = stored_in(&world.table, "media", day).await.unwrap();
    assert!(other.calculated_at < after.calculated_at, "only one type was asked for");
}
