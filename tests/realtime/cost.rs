//! What refreshes cost, and that one at a time counts.

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{UpdateItem, number, string},
    realtime::{DAILY_WRITES, REQUESTED_DAILY_WRITES, RefreshOutcome, RefreshTrigger},
};
use serde_json::json;
use support::{
    api::{StandingHost, instant},
    database::{Backend, TestTable},
    engine_suite::{end, platform},
    realtime::Surroundings,
};

use crate::common::{REQUESTS, World, refresh_at};

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_has_an_exact_cost_and_reads_no_whole_partition() {
    let (mut world, proxy, _) = World::behind_proxy(|_| false).await;
    let mut seen = 0;
    for (at, requests) in [
        ("2026-06-01T02:20:00.000Z", REQUESTS),
        ("2026-06-01T02:59:59.999Z", REQUESTS),
        // The hour that has just ended is still to be counted: it is the only part to be read.
        ("2026-06-01T03:00:00.000Z", REQUESTS - 12),
    ] {
        world.go_on_to(instant(at)).await;
        world.refresh(RefreshTrigger::Fresh).await;
        let all = proxy.seen();
        assert_eq!(all.len() - seen, requests, "{at}");
        for (operation, body) in &all[seen..] {
            if operation == "Query" {
                let condition = body["KeyConditionExpression"].as_str().unwrap();
                assert!(condition.contains("BETWEEN"), "{body}");
            }
        }
        seen = all.len();
        let line = world.refreshes().pop().unwrap();
        assert_eq!(line["requests"], json!(requests));
        println!("a refresh at {at}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writes_of_a_day_stay_within_the_free_plan() {
    // Whatever is asked for, every tick of every five minutes is written, and no more than KV takes.
    let ticks = 24 * 60 / 5;
    assert!(REQUESTED_DAILY_WRITES + ticks <= DAILY_WRITES && DAILY_WRITES < 1000);

    // An empty platform: only who may write is looked at.
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let day = instant("2026-06-01T00:00:00Z");
    let host = StandingHost::at(day);
    let surroundings = Surroundings::default();
    let refresh = async |at: DateTime<Utc>, occasion| {
        host.set(at);
        let before = surroundings.snapshots.puts();
        let outcome =
            refresh_at(&table.endpoint, &table.name, &host, &surroundings, occasion).await;
        (matches!(outcome, RefreshOutcome::Counted(_)), surroundings.snapshots.puts() - before)
    };
    let wrote = async |writes: u32| {
        let update = UpdateItem::new(
            &table.name,
            edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime"),
            "SET writesOf = :day, writes = :writes",
            None,
            [(":day", string("2026-06-01")), (":writes", number(&writes))],
        );
        table.client().send(&update).await.unwrap();
    };
    let minute = |minutes: i64| day + TimeDelta::minutes(minutes);
    wrote(REQUESTED_DAILY_WRITES - 2).await;
    assert_eq!(refresh(minute(1), RefreshTrigger::Fresh).await, (true, 1));
    assert_eq!(refresh(minute(2), RefreshTrigger::Stale).await, (true, 1));
    // Enough was asked for today: it is still counted and answered, but not written, and leaves the
    // state alone, so that no tick finds it taken.
    let state = async || {
        let key = edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime");
        let read = edge_analytics::dynamodb::Read::Consistent;
        table.client().get(&table.name, key, read).await.unwrap().unwrap().into_inner()
    };
    let before = state().await;
    assert_eq!(refresh(minute(3), RefreshTrigger::Fresh).await, (true, 0));
    assert_eq!(state().await, before);
    assert_eq!(refresh(minute(4), RefreshTrigger::Stale).await, (false, 0));
    assert_eq!(refresh(minute(5), RefreshTrigger::Tick).await, (true, 1));
    assert_eq!(refresh(minute(10), RefreshTrigger::Tick).await, (true, 1));
    wrote(DAILY_WRITES - 1).await;
    assert_eq!(refresh(minute(15), RefreshTrigger::Tick).await, (true, 1));
    assert_eq!(refresh(minute(20), RefreshTrigger::Tick).await, (false, 0));
    // The next day begins anew.
    assert_eq!(refresh(day + TimeDelta::hours(24), RefreshTrigger::Fresh).await, (true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_simultaneous_refreshes_one_counts() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refresh = || async {
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Stale).await
    };
    let outcomes = tokio::join!(refresh(), refresh(), refresh(), refresh(), refresh());
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3, outcomes.4];
    let counted = outcomes.iter().filter(|one| matches!(one, RefreshOutcome::Counted(_))).count();
    assert_eq!((counted, surroundings.snapshots.puts()), (1, 1), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_refresh_is_replaced_when_its_lease_expires() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let expires = end() + TimeDelta::seconds(30);
    let update = UpdateItem::new(
        &table.name,
        edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime"),
        "SET leaseHolder = :holder, leaseExpiresAt = :expires",
        None,
        [(":holder", string("somebody")), (":expires", number(&expires.timestamp_millis()))],
    );
    table.client().send(&update).await.unwrap();
    let refresh = async || {
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Tick).await
    };
    assert!(matches!(refresh().await, RefreshOutcome::Held));
    host.set(expires);
    assert!(matches!(refresh().await, RefreshOutcome::Counted(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_not_written_twice_within_a_minute_unless_asked_for() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    // Nothing depends on seeing what was written.
    surroundings.snapshots.lag(true);
    let refresh = async |seconds: i64, occasion| {
        host.set(end() + TimeDelta::seconds(seconds));
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, occasion).await;
        surroundings.snapshots.puts()
    };
    assert_eq!(refresh(0, RefreshTrigger::Tick).await, 1);
    assert_eq!(refresh(9, RefreshTrigger::Fresh).await, 1);
    assert_eq!(refresh(10, RefreshTrigger::Fresh).await, 2);
    assert_eq!(refresh(65, RefreshTrigger::Stale).await, 2);
    assert_eq!(refresh(69, RefreshTrigger::Tick).await, 2);
    assert_eq!(refresh(70, RefreshTrigger::Stale).await, 3);
}
