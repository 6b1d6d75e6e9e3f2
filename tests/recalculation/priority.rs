//! Scheduled runs come before slices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::{Client, RetryPolicy, UpdateItem, number, string},
    host::Host,
    metrics::period::{Granularity, Period},
    run::Engine,
    store::ledger::{Status, Trigger},
};
use serde_json::{Value, json};
use support::{
    catalogue::gallery,
    database::connection,
    engine_suite::{end, stored_in},
    fault_proxy::Fault,
};

use crate::common::{World, begin, everything, range};

/// A slice that is being counted yields to the scheduled run of an hour within seconds, which is
/// no failure; after the second time it is halved, and the job goes on between the hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_yields_to_a_scheduled_run() {
    let reads = Arc::new(AtomicUsize::new(0));
    let counter = reads.clone();
    // For as long as it is slow, a slice would not end within a minute.
    let (world, slow) = World::with_fault(move |seen| {
        if !seen.queries("MEDIA") {
            return Fault::None;
        }
        counter.fetch_add(1, Ordering::SeqCst);
        Fault::Slow(Duration::from_mins(1))
    })
    .await;
    let patient = Client::with_policy(
        connection(&world.endpoint),
        world.host.clone(),
        RetryPolicy { attempt_timeout: Duration::from_mins(2), ..RetryPolicy::default() },
    );
    let catalogue = gallery();
    let consumer = Engine::new(patient, world.host.clone(), world.table.name.clone(), catalogue);
    let scheduled = World::engine(&world.table.endpoint, &world.table.name, &world.host);
    let mut job = Value::Null;
    for number in 1..=2 {
        let event = end() + TimeDelta::hours(number);
        world.host.set(event + TimeDelta::seconds(1));
        if number == 1 {
            job = world.start(&everything("hourly")).await;
        }
        slow.store(true, Ordering::SeqCst);
        let seen = reads.load(Ordering::SeqCst);
        let hour = async {
            while reads.load(Ordering::SeqCst) == seen {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let begun = std::time::Instant::now();
            let report = scheduled.run(Granularity::Hourly, event).await;
            (report, begun.elapsed())
        };
        let (delivered, (report, took)) = tokio::join!(world.queue.deliver_one(&consumer), hour);
        slow.store(false, Ordering::SeqCst);
        assert!(delivered);
        assert_eq!(report.status, Status::Complete, "{report:?}");
        assert!(took < Duration::from_secs(10), "the scheduled run took {took:?}");
        // What only its own scheduled run can observe is there.
        let own = Period::containing(Granularity::Hourly, event).previous();
        let users = stored_in(&world.table, "users", own).await.unwrap();
        assert!(users.metrics.contains_key("activeUsers"), "{users:?}");
        let now = world.follow(&job).await;
        assert_eq!((&now["status"], &now["lastReason"]), (&json!("queued"), &Value::Null), "{now}");
        assert_eq!(world.queue.delay(), Some(Duration::from_secs(30)));
    }
    // 76 hours in slices of 24, the days, the week, the month.
    assert_eq!(world.queue.deliver_all(&world.engine).await, 7);
    let ended = world.follow(&job).await;
    assert_eq!(
        (&ended["status"], &ended["done"], &ended["failed"], &ended["reasons"]),
        (&json!("complete"), &json!(76), &json!(0), &json!([])),
        "{ended}"
    );
    let entries = support::ledger::entries(&world.table).await;
    let of_job = entries.iter().filter(|entry| entry.trigger == Trigger::Recalculate);
    let statuses: Vec<Status> = of_job.clone().map(|entry| entry.status).collect();
    assert_eq!(statuses[..2], [Status::Held, Status::Held]);
    assert!(statuses[2..].iter().all(|status| *status == Status::Complete), "{statuses:?}");
    for held in of_job.take(2) {
        assert!(held.problems[0].contains("gave way"), "{held:?}");
        assert!(held.usage.requests > 0 && held.types_failed.is_empty(), "{held:?}");
        assert_eq!(held.attempt, 1);
    }
    assert!(entries.iter().all(|entry| entry.status != Status::Failed), "{entries:?}");
}

/// A request for the lease by an interrupted run delays no other for longer than a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_request_for_the_lease_is_ignored() {
    let world = World::new().await;
    let request = async |seconds_ago: i64| {
        let at = (world.host.now() - TimeDelta::seconds(seconds_ago)).timestamp_millis();
        let update = UpdateItem::new(
            &world.table.name,
            edge_analytics::store::run_state::state_key(Granularity::Hourly),
            "SET leaseWantedBy = :run, leaseWantedAt = :at",
            None,
            [(":run", string("dead")), (":at", number(&at))],
        );
        world.table.client().send(&update).await.unwrap();
    };
    let hours = range("users", "hourly", begin(), begin() + TimeDelta::hours(2));
    for (seconds_ago, at_least) in [(61, 0), (57, 2)] {
        request(seconds_ago).await;
        let job = world.start(&hours).await;
        let begun = std::time::Instant::now();
        assert!(world.queue.deliver_one(&world.engine).await);
        assert_eq!(world.follow(&job).await["done"], 3);
        assert!(begun.elapsed() >= Duration::from_secs(at_least), "{:?}", begun.elapsed());
        world.queue.deliver_all(&world.engine).await;
    }
}
