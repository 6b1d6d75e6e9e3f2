//! Outages, lost messages, abandoned and dismissed jobs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use chrono::TimeDelta;
use edge_analytics::{
    host::Host,
    run::Next,
    store::{job::Message, jobs::Revived, ledger::Trigger},
};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use support::{
    api::ORIGIN,
    fault_proxy::{Fault, Seen},
};

use crate::common::{MASKED, RECALCULATE, World, everything, first_message};

/// DynamoDB is out of reach for more than an hour, altogether or where media are read: no attempt
/// counts, and the job goes on afterwards as if nothing had happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_an_outage_of_an_hour() {
    let altogether = |_: &Seen| Fault::Dropped;
    let media = |seen: &Seen| {
        if seen.queries("MEDIA") { Fault::Throttled } else { Fault::None }
    };
    let worlds = [World::with_fault(altogether).await, World::with_fault(media).await];
    for (world, outage) in worlds {
        let job = world.start(&everything("hourly")).await;
        assert!(world.queue.deliver_one(&world.engine).await);
        outage.store(true, Ordering::SeqCst);
        let begun = world.host.now();
        let mut attempts = 0;
        while world.host.now() - begun < TimeDelta::minutes(75) {
            assert!(world.queue.deliver_later(&world.engine, &world.host).await);
            assert_eq!(world.queue.waiting(), 1, "one message for the next attempt");
            attempts += 1;
        }
        assert!((8..16).contains(&attempts), "{attempts} attempts in 75 minutes");
        outage.store(false, Ordering::SeqCst);
        assert!(world.queue.delay().unwrap() <= Duration::from_mins(15));
        world.queue.deliver_all(&world.engine).await;
        let ended = world.follow(&job).await;
        assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(75)), "{ended}");
        assert_eq!((&ended["failed"], &ended["reasons"]), (&json!(0), &json!([])), "{ended}");
    }
}

/// What an outage looks like from outside: the job says why it does not go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_reports_why_its_last_attempt_failed() {
    let (world, _) = World::without_media().await;
    let job = world.start(&everything("hourly")).await;
    assert_eq!(job["lastReason"], Value::Null);
    assert!(world.queue.deliver_one(&world.engine).await);
    let now = world.follow(&job).await;
    assert_eq!(now["status"], "queued", "{now}");
    assert!(now["lastReason"].as_str().unwrap().contains("AccessDeniedException"), "{now}");
}

/// A job whose message was lost is found by the tick, which sends it again, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_message_is_sent_again() {
    let world = World::new().await;
    let job = world.start(&everything("hourly")).await;
    let id = job["jobId"].as_str().unwrap().to_owned();
    assert!(world.queue.deliver_one(&world.engine).await);
    assert!(world.queue.take().is_some(), "the message that is lost");
    for minutes in [5, 35] {
        world.pass(TimeDelta::minutes(minutes));
        assert_eq!(world.tick().await, Revived::default());
    }
    world.pass(TimeDelta::minutes(5));
    // A queue that fails now is tried again with the next tick.
    world.queue.refuse(true);
    let refused = world.tick().await;
    assert!(refused.problems[0].contains("could not enqueue"), "{refused:?}");
    world.queue.refuse(false);
    assert_eq!(world.tick().await.sent, [id]);
    assert_eq!(world.tick().await, Revived::default());
    assert_eq!(world.queue.waiting(), 1);
    world.queue.deliver_all(&world.engine).await;
    let ended = world.follow(&job).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(75)), "{ended}");
    // A job that has ended is no longer looked at.
    assert_eq!(world.unfinished().await, 1);
    assert_eq!(world.tick().await, Revived::default());
    assert_eq!(world.unfinished().await, 0);
}

/// A job that makes no progress for six hours ends as failed, by the first request or run that reads it.
#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_job_ends_as_failed() {
    let world = World::new().await;
    let mut dead: Vec<Value> = Vec::new();
    for granularity in ["hourly", "daily", "weekly", "monthly"] {
        dead.push(world.start(&everything(granularity)).await);
    }
    let lost: Vec<Message> = std::iter::from_fn(|| world.queue.take()).collect();
    world.pass(TimeDelta::minutes(6 * 60 - 1));
    for job in &dead {
        assert_eq!(world.follow(job).await["status"], "queued");
    }
    world.pass(TimeDelta::minutes(2));
    // Seen by GET, by the same request, by its own message, by the tick.
    assert_eq!(world.follow(&dead[0]).await["status"], "failed");
    let again = world.start(&everything("daily")).await;
    assert_ne!(again["jobId"], dead[1]["jobId"]);
    assert_eq!(world.engine.recalculate(&lost[2]).await, Next::Nothing);
    assert_eq!(world.tick().await.ended, [dead[3]["jobId"].as_str().unwrap()]);
    for job in &dead {
        let ended = world.follow(job).await;
        assert_eq!(
            (&ended["status"], &ended["done"], &ended["failed"]),
            (&json!("failed"), &json!(0), &job["periods"]),
            "{ended}"
        );
        assert!(ended["reasons"][0].as_str().unwrap().contains("6 hours"), "{ended}");
    }
    // Its message does nothing any more.
    for message in &lost {
        assert_eq!(world.engine.recalculate(message).await, Next::Nothing);
    }
    assert_eq!(world.queue.waiting(), 1, "only that of the new job");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_dismissed() {
    let world = World::new().await;
    let job = world.start(&everything("hourly")).await;
    let id = job["jobId"].as_str().unwrap();
    assert!(world.queue.deliver_one(&world.engine).await);
    let before = world.all_records().await;
    // Twice is once.
    for _ in 0..2 {
        let answer = world.dismiss(id).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        insta::allow_duplicates! {
            insta::assert_snapshot!("job_dismissed", answer.shown(&MASKED));
        }
        assert_eq!(answer.json()["data"], world.follow(&job).await);
    }
    // Its message does nothing, and the same request is another job.
    assert_eq!(world.queue.deliver_all(&world.engine).await, 1);
    assert_eq!(world.all_records().await, before);
    let other = world.start(&everything("hourly")).await;
    assert_ne!(other["jobId"], job["jobId"]);
    // One that is complete stays so.
    world.queue.deliver_all(&world.engine).await;
    let complete = world.dismiss(other["jobId"].as_str().unwrap()).await.json()["data"].clone();
    assert_eq!((&complete["status"], &complete["done"]), (&json!("complete"), &json!(75)));
    for unknown in ["0123", "unfinished", &"0".repeat(32)] {
        assert_eq!(world.dismiss(unknown).await.status, StatusCode::NOT_FOUND, "{unknown}");
    }
    let request = |method| Request::builder().method(method).uri(format!("{RECALCULATE}/{id}"));
    let stranger = request(Method::DELETE).body(Body::empty()).unwrap();
    assert_eq!(world.api.send(stranger).await.status, StatusCode::UNAUTHORIZED);
    let preflight = request(Method::OPTIONS)
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "DELETE")
        .body(Body::empty())
        .unwrap();
    let answer = world.api.send(preflight).await;
    assert!(answer.header("access-control-allow-methods").unwrap().contains("DELETE"));
}

/// A job that is dismissed while one of its slices is done does not come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_ends_after_its_job_was_dismissed_changes_nothing() {
    let moves = Arc::new(AtomicBool::new(false));
    let seen_moving = moves.clone();
    let (world, slow) = World::with_fault(move |seen| {
        let is_move = seen.operation == "PutItem"
            && seen.body["Item"]["PK"]["S"] == "ANALYTICS_JOB"
            && seen.body["Item"]["nextSlice"]["N"] == "1";
        if !is_move {
            return Fault::None;
        }
        seen_moving.store(true, Ordering::SeqCst);
        Fault::Slow(Duration::from_secs(1))
    })
    .await;
    let job = world.start(&everything("hourly")).await;
    slow.store(true, Ordering::SeqCst);
    let dismissal = async {
        while !moves.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.dismiss(job["jobId"].as_str().unwrap()).await.json()["data"].clone()
    };
    let message = first_message(&job);
    let (next, dismissed) = tokio::join!(world.engine.recalculate(&message), dismissal);
    assert_eq!(next, Next::Nothing);
    assert_eq!((&dismissed["status"], &dismissed["failed"]), (&json!("failed"), &json!(75)));
    assert_eq!(world.follow(&job).await, dismissed);
}

/// A slice whose deliveries were ended from outside may be too large for one invocation: it is cut
/// into halves, down to single periods, which are given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_never_answered_is_halved() {
    let world = World::new().await;
    let job = world.start(&everything("hourly")).await;
    assert!(world.queue.deliver_dead(&world.engine).await);
    assert_eq!(world.queue.waiting(), 1);
    // 24, 24, 24 and 3 hours, the days, the week, the month, of which the week is given up.
    for _ in 0..5 {
        assert!(world.queue.deliver_one(&world.engine).await);
    }
    assert!(world.queue.deliver_dead(&world.engine).await);
    assert_eq!(world.queue.deliver_all(&world.engine).await, 1);
    let ended = world.follow(&job).await;
    assert_eq!(
        (&ended["status"], &ended["done"], &ended["failed"]),
        (&json!("failed"), &json!(75), &json!(0)),
        "{ended}"
    );
    let reason = ended["reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("weekly 2026-05-25") && reason.contains("was ended several times"));
    let periods: Vec<usize> = support::ledger::entries(&world.table)
        .await
        .iter()
        .filter(|entry| entry.trigger == Trigger::Recalculate)
        .map(|entry| entry.periods)
        .collect();
    assert_eq!(periods, [24, 24, 24, 3, 3, 1]);
}
