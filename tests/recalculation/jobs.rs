//! Jobs: accepted, followed, ended, previewed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use edge_analytics::{
    metrics::period::{Granularity, Period},
    run::Next,
    store::{job::Message, ledger::Trigger},
};
use http::{StatusCode, header};
use serde_json::json;
use support::{
    engine_suite::{assert_same, end, stored_in},
    fault_proxy::{Fault, FaultProxy},
    oracle,
};

use crate::common::{MASKED, RECALCULATE, World, everything, first_message, range};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_accepted_followed_and_ends() {
    let world = World::new().await;
    let answer = world.post(&everything("hourly")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let job = answer.json()["data"].clone();
    let id = job["jobId"].as_str().unwrap();
    let location = answer.headers.get(header::LOCATION).unwrap().to_str().unwrap();
    assert_eq!(location, format!("{RECALCULATE}/{id}"));
    insta::assert_snapshot!("job_accepted", answer.shown(&MASKED));
    // Only hours since the beginning that are over.
    assert_eq!(job["periods"], 75);
    assert_eq!(job["startedAt"], world.follow(&job).await["startedAt"]);

    // The same again while it runs is the running one.
    assert!(world.queue.deliver_one(&world.engine).await);
    let again = world.post(&everything("hourly")).await;
    insta::assert_snapshot!("job_running", again.shown(&MASKED));
    assert_eq!(again.json()["data"]["jobId"], job["jobId"]);
    assert_eq!(world.queue.waiting(), 1);

    // Another slice of hours, the days, the week, the month.
    assert_eq!(world.queue.deliver_all(&world.engine).await, 4);
    let ended = world.api.get(location).await;
    insta::assert_snapshot!("job_complete", ended.shown(&MASKED));
    // Afterwards it is another one.
    assert_ne!(world.start(&everything("hourly")).await["jobId"], job["jobId"]);
}

/// A slice that keeps failing is noted with its reason, the others are done.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_fails_is_given_up_and_the_others_are_done() {
    let (world, broken) = World::without_media().await;
    let before = world.all_records().await;
    let job = world.start(&everything("hourly")).await;
    // The first slice is attempted four times, later each time, and given up.
    for delay in [0, 5, 10, 20] {
        assert_eq!(world.queue.delay(), Some(Duration::from_secs(delay)));
        assert!(world.queue.deliver_one(&world.engine).await);
    }
    let half = world.follow(&job).await;
    assert_eq!((&half["failed"], &half["done"]), (&json!(48), &json!(0)), "{half}");
    let reason = half["reasons"][0].as_str().unwrap();
    assert!(reason.contains("AccessDeniedException") && reason.contains("media"), "{reason}");
    broken.store(false, Ordering::SeqCst);
    world.queue.deliver_all(&world.engine).await;
    let ended = world.follow(&job).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!((&ended["done"], &ended["failed"]), (&json!(27), &json!(48)));
    // What could not be computed is as it was.
    let first =
        before.keys().find(|(granularity, _, name)| granularity == "hourly" && name == "media");
    assert_eq!(world.all_records().await[first.unwrap()], before[first.unwrap()]);

    // Every attempt is in the ledger, with the job's name and its number.
    let entries = support::ledger::entries(&world.table).await;
    let slices: Vec<_> =
        entries.iter().filter(|entry| entry.trigger == Trigger::Recalculate).collect();
    assert!(slices.iter().all(|entry| entry.job_id.as_deref() == job["jobId"].as_str()));
    let attempts: Vec<u32> = slices.iter().map(|entry| entry.attempt).collect();
    assert_eq!(attempts[..5], [1, 2, 3, 4, 1]);
    assert!(slices[0].types_failed["media"].contains("AccessDeniedException"));
    assert!(slices[0].usage.requests > 10 && slices[0].estimated_cost_usd > 0.0);
}

/// A message that was delivered too often fails the slice it was sent for, not the one that is due by
/// now.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_slice_of_a_dead_letter_is_given_up() {
    let world = World::new().await;
    let job = world.start(&everything("hourly")).await;
    assert!(world.queue.deliver_one(&world.engine).await);
    let message = first_message(&job);
    let due = Message { slice: 1, ..message.clone() };
    for next in [world.engine.give_up(&message).await, world.engine.recalculate(&message).await] {
        assert_eq!(next, Next::Send(due.clone(), Duration::ZERO));
    }
    let now = world.follow(&job).await;
    assert_eq!((&now["done"], &now["failed"]), (&json!(48), &json!(0)), "{now}");
    world.queue.deliver_all(&world.engine).await;
    let ended = world.follow(&job).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(75)), "{ended}");
}

/// A job that makes an hour for a day's sake gives no value that only the hour's scheduled run can observe, though
/// it is asked for in the hour after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_gives_no_value_that_only_a_scheduled_run_can_observe() {
    let (world, broken) = World::without_media().await;
    let day = Period::containing(Granularity::Daily, end());
    let midnight = day.next().start();
    world.host.set(midnight + TimeDelta::minutes(10));
    let asked = range("all", "daily", day.start(), day.start() + TimeDelta::hours(1));
    let job = world.start(&asked).await;
    // The slice of its hours is given up; the day's makes what it lacks.
    for _ in 0..4 {
        assert!(world.queue.deliver_one(&world.engine).await);
    }
    broken.store(false, Ordering::SeqCst);
    world.queue.deliver_all(&world.engine).await;
    assert_eq!(world.follow(&job).await["status"], "failed");
    let hour = Period::containing(Granularity::Hourly, midnight - TimeDelta::hours(1));
    let media = stored_in(&world.table, "media", hour).await.unwrap();
    let expected = oracle::expected_period(&world.items, hour.start(), midnight, None);
    let mut expected = expected["media"].clone();
    assert!(expected.remove("mediaByStatus").is_some());
    assert_same(&media.metrics, &expected, "media of the last hour");
}

/// When the answer to moving the job is lost, the next slice is still asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_does_not_end_a_job() {
    let lost = Arc::new(AtomicBool::new(false));
    let rule = lost.clone();
    let world = World::behind(|endpoint| async move {
        let proxy = FaultProxy::start(&endpoint, move |seen| {
            let moves = seen.operation == "PutItem"
                && seen.body["Item"]["PK"]["S"] == "ANALYTICS_JOB"
                && seen.body["Item"]["nextSlice"]["N"] == "1";
            if moves && !rule.swap(true, Ordering::SeqCst) {
                Fault::AnswerLost
            } else {
                Fault::None
            }
        })
        .await;
        proxy.endpoint
    })
    .await;
    let job = world.start(&everything("hourly")).await;
    assert_eq!(world.queue.deliver_all(&world.engine).await, 5);
    assert!(lost.load(Ordering::SeqCst), "no answer was lost");
    let ended = world.follow(&job).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(75)), "{ended}");
}

/// A message that is delivered twice does no harm: each period is counted once.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_twice_moves_the_job_once() {
    let world = World::new().await;
    let job = world.start(&everything("hourly")).await;
    let message = first_message(&job);
    let (one, other) =
        tokio::join!(world.engine.recalculate(&message), world.engine.recalculate(&message));
    let sent = [one, other].iter().filter(|next| matches!(next, Next::Send(..))).count();
    // Both did the first slice, or the second found it done and did the next.
    let now = world.follow(&job).await;
    assert!(sent == 1 && now["done"] == 48 || sent == 2 && now["done"] == 75, "{sent} {now}");
    world.queue.deliver_all(&world.engine).await;
    let ended = world.follow(&job).await;
    assert_eq!((&ended["status"], &ended["done"]), (&json!("complete"), &json!(75)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_would_be_done_and_starts_nothing() {
    let world = World::new().await;
    let uri = format!("{RECALCULATE}?preview=true");
    let answer = world.post_to(&uri, &everything("hourly")).await;
    // 29, 30 and 31 May; the week from 25 May; May.
    insta::assert_snapshot!("job_preview", answer.shown(&[]));
    assert_eq!(world.queue.waiting(), 0);
}
