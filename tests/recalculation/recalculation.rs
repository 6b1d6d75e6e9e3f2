//! Recalculating the past through the API and the queue: what is asked for, what becomes of it, and
//! what must not change.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, Client, Read, RetryPolicy, UpdateItem, number, string},
    host::Host,
    metrics::{
        maker::Maker,
        period::{Granularity, Period, format_instant},
        record::{Reconstruction, Record},
    },
    run::{Engine, Next},
    settings::Settings,
    store::{
        job::Message,
        jobs::{Revived, revive_jobs},
        ledger::{Status, Trigger},
        record::record_key,
    },
};
use http::{Method, Request, StatusCode, header};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Answer, Api, METRICS, ORIGIN, TOKEN, get, instant, variable, with_token},
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::{TYPES, assert_same, end, platform, stored_in},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    oracle,
    queue::TestQueue,
    realtime::Surroundings,
};

const RECALCULATE: &str = "/api/admin/analytics/recalculate";

/// What differs from run to run in a job.
const MASKED: [&str; 3] = ["jobId", "startedAt", "finishedAt"];

/// Gives up soon: some of these tests let DynamoDB fail for good.
const POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    cap: Duration::from_millis(5),
    attempt_timeout: Duration::from_secs(5),
    deadline: Duration::from_millis(200),
};

/// A platform of which the hours of some days and the days were counted, the API over it, its queue
/// and the engine that consumes it.
struct World {
    table: TestTable,
    items: Vec<Item>,
    host: Arc<TestHost>,
    queue: TestQueue,
    /// What the API and the engine talk to.
    endpoint: String,
    api: Api,
    engine: Engine,
    surroundings: Surroundings,
}

/// The first hour of all.
fn begin() -> DateTime<Utc> {
    end() - TimeDelta::hours(3 + 3 * 24)
}

impl World {
    /// Three days and three hours, counted by their own events.
    async fn new() -> Self {
        Self::behind(|endpoint| async { endpoint }).await
    }

    /// The same, with the API and the consumer behind what `proxy` answers.
    async fn behind<Proxied: Future<Output = String>>(
        proxy: impl FnOnce(String) -> Proxied,
    ) -> Self {
        let items = platform(40);
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = TestHost::at(end() + TimeDelta::minutes(20));
        let direct = Self::engine(&table.endpoint, &table.name, &host);
        let mut at = begin();
        while at < end() {
            at += TimeDelta::hours(1);
            host.set(at + TimeDelta::seconds(5));
            direct.run(Granularity::Hourly, at).await;
            if at.time() == chrono::NaiveTime::MIN {
                direct.run(Granularity::Daily, at + TimeDelta::minutes(5)).await;
            }
        }
        let midnight = end() - TimeDelta::hours(3);
        direct.run(Granularity::Weekly, midnight + TimeDelta::minutes(10)).await;
        direct.run(Granularity::Monthly, midnight + TimeDelta::minutes(15)).await;
        host.set(end() + TimeDelta::minutes(20));
        let endpoint = proxy(table.endpoint.clone()).await;
        let queue = TestQueue::default();
        let surroundings = Surroundings::default();
        let settings = Settings::read(|name| variable(name, &endpoint, &table.name)).unwrap();
        let api = Api::with_queue(settings, host.clone(), POLICY, &surroundings, queue.clone());
        let engine = Self::engine(&endpoint, &table.name, &host);
        Self { table, items, host, queue, endpoint, api, engine, surroundings }
    }

    /// The same, in which media cannot be read for as long as what is returned is true.
    async fn without_media() -> (Self, Arc<AtomicBool>) {
        let broken = Arc::new(AtomicBool::new(true));
        let rule = broken.clone();
        let world = Self::behind(|endpoint| async move {
            let proxy = FaultProxy::start(&endpoint, move |seen| {
                if rule.load(Ordering::SeqCst) && seen.queries("MEDIA") {
                    Fault::AccessDenied
                } else {
                    Fault::None
                }
            })
            .await;
            proxy.endpoint
        })
        .await;
        (world, broken)
    }

    fn engine(endpoint: &str, table: &str, host: &Arc<TestHost>) -> Engine {
        let client = Client::with_policy(connection(endpoint), host.clone(), POLICY);
        Engine::new(client, host.clone(), table.to_owned(), gallery())
    }

    async fn post(&self, body: &Value) -> Answer {
        self.post_to(RECALCULATE, body).await
    }

    async fn post_to(&self, uri: &str, body: &Value) -> Answer {
        let request = with_token(Request::builder().method(Method::POST).uri(uri))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.api.send(request).await
    }

    /// Starts a job that must be accepted.
    async fn start(&self, body: &Value) -> Value {
        let answer = self.post(body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["data"].clone()
    }

    async fn follow(&self, job: &Value) -> Value {
        let id = job["jobId"].as_str().unwrap();
        let answer = self.api.get(format!("{RECALCULATE}/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["data"].clone()
    }

    async fn all_records(&self) -> BTreeMap<(String, String, String), Record> {
        let mut records = BTreeMap::new();
        for granularity in Granularity::ALL {
            let mut period = Period::containing(granularity, begin());
            while period.end() < end() {
                for name in TYPES {
                    if let Some(record) = stored_in(&self.table, name, period).await {
                        let at = format_instant(period.start());
                        records.insert((granularity.to_string(), at, name.to_owned()), record);
                    }
                }
                period = period.next();
            }
        }
        records
    }
}

fn range(metric_type: &str, granularity: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> Value {
    json!({
        "metricType": metric_type, "granularity": granularity,
        "startDate": format_instant(start), "endDate": format_instant(end),
    })
}

/// The message that a new job is started with.
fn first_message(job: &Value) -> Message {
    Message { job_id: job["jobId"].as_str().unwrap().to_owned(), slice: 0, attempt: 0 }
}

/// Everything that ever was.
fn everything(granularity: &str) -> Value {
    range("all", granularity, begin() - TimeDelta::days(40), end() + TimeDelta::days(2))
}

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

/// The metrics that only their own time can tell, or that follow from such ones.
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
    let mut told = oracle::expected_period(items, hour.start(), hour.next().start(), None);
    let told = told.remove("users").unwrap()["newUsers"].as_u64().unwrap();
    let stored = before.metrics["newUsers"].as_u64().unwrap();
    if now - hour.end() < TimeDelta::hours(48) { told } else { told.max(stored) }
}

/// All of the past is recalculated after the platform has changed: it does not become today's.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_stays_what_it_was() {
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
                let mut told =
                    oracle::expected_period(&items, hour.start(), hour.next().start(), None);
                let told = told.remove("users").unwrap()["newUsers"].clone();
                fell += usize::from(told == sum && old.metrics["newUsers"] != sum);
                stayed += usize::from(told != sum);
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

/// Whoever asks for it gets what the table says today, and sees that it is that.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_overwritten_on_request_and_marked() {
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
async fn a_slice_says_what_it_could_not_read() {
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

/// An event that comes 50 minutes late does not tell what only its time could tell.
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

/// A job that makes an hour for a day's sake tells nothing that only the hour's own event can, though
/// it is asked for in the hour after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_never_tells_what_only_an_event_can() {
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
async fn a_lost_answer_does_not_end_a_job() {
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

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_by_name() {
    let world = World::new().await;
    let good = everything("hourly");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    for (body, error) in [
        (without("metricType"), "metricType is required"),
        (without("granularity"), "granularity is required"),
        (without("startDate"), "startDate is required"),
        (without("endDate"), "endDate is required"),
        (with("startDate", json!("yesterday")), "Invalid startDate format. Use ISO 8601 format"),
        (with("startDate", json!("2026-08-01")), "startDate must be before endDate"),
        (
            with("granularity", json!("yearly")),
            "Invalid granularity. Must be one of: hourly, daily, weekly, monthly",
        ),
        (with("metricType", json!(7)), "metricType must be a string"),
        (with("metricType", json!(true)), "metricType must be a string"),
        (with("force", json!("yes")), "Unknown field: force"),
        (with("startDate", json!("2020-01-01")), "Range too large"),
        (with("metricType", json!("storage")), "Nothing to recalculate"),
        (
            range("users", "hourly", begin() - TimeDelta::hours(9), begin() - TimeDelta::hours(2)),
            "Nothing to recalculate",
        ),
        (json!([1, 2]), "Invalid JSON body"),
        (json!("text"), "Invalid JSON body"),
    ] {
        let answer = world.post(&body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"], error, "{body}");
        assert_eq!(answer.json()["success"], false);
    }
    let send = |body: Vec<u8>, content_type: &'static str| {
        let request = with_token(Request::builder().method(Method::POST).uri(RECALCULATE))
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap();
        world.api.send(request)
    };
    let repeated = br#"{"metricType": "all", "metricType": "users"}"#.to_vec();
    assert_eq!(send(repeated, "application/json").await.json()["error"], "metricType is repeated");
    let cut = send(b"{".to_vec(), "application/json; charset=utf-8").await;
    assert_eq!(
        (cut.status, &cut.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("Invalid JSON body"))
    );
    let deep = send("[".repeat(60_000).into_bytes(), "application/json").await;
    assert_eq!(deep.status, StatusCode::BAD_REQUEST);
    let large = send(vec![b' '; 64 * 1024 + 1], "application/json").await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    // What a form on another site could send with the cookie.
    let form = send(good.to_string().into_bytes(), "text/plain").await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stranger = Request::builder()
        .method(Method::POST)
        .uri(RECALCULATE)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(good.to_string()))
        .unwrap();
    assert_eq!(world.api.send(stranger).await.status, StatusCode::UNAUTHORIZED);
    for id in ["0123", "latest%23abc", &"0".repeat(32), &"x".repeat(500)] {
        let answer = world.api.get(format!("{RECALCULATE}/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
    let stranger =
        world.api.send(get(format!("{RECALCULATE}/0")).body(Body::empty()).unwrap()).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.queue.waiting(), 0);
    assert!(!TOKEN.is_empty());
}

/// A queue that takes no message is said, and the request can be made again at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_is_said() {
    let world = World::new().await;
    world.queue.refuse(true);
    let answer = world.post(&everything("daily")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    world.queue.refuse(false);
    let job = world.start(&everything("daily")).await;
    assert_eq!((&job["status"], world.queue.waiting()), (&json!("queued"), 1));
}

// ---------------------------------------------------------------------------------------------
// Outages, lost messages, dead and dismissed jobs

impl World {
    /// A world in which `fault` decides on every request of the API and the consumer for as long as
    /// what is returned is true.
    async fn with_fault(
        fault: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
    ) -> (Self, Arc<AtomicBool>) {
        let active = Arc::new(AtomicBool::new(false));
        let rule = active.clone();
        let world = Self::behind(|endpoint| async move {
            let proxy = FaultProxy::start(&endpoint, move |seen| {
                if rule.load(Ordering::SeqCst) { fault(seen) } else { Fault::None }
            })
            .await;
            proxy.endpoint
        })
        .await;
        (world, active)
    }

    fn pass(&self, time: TimeDelta) {
        self.host.set(self.host.now() + time);
    }

    /// What the tick does for recalculations.
    async fn tick(&self) -> Revived {
        let client = self.table.client_with(self.host.clone());
        revive_jobs(&client, &self.table.name, &self.queue, self.host.now()).await
    }

    async fn dismiss(&self, id: &str) -> Answer {
        let uri = format!("{RECALCULATE}/{id}");
        let request = with_token(Request::builder().method(Method::DELETE).uri(uri));
        self.api.send(request.body(Body::empty()).unwrap()).await
    }

    /// How many jobs the table names as unfinished.
    async fn unfinished(&self) -> usize {
        let key = edge_analytics::store::job::unfinished_key();
        let client = self.table.client();
        let item = client.get(&self.table.name, key, Read::Consistent).await.unwrap().unwrap();
        match item.get("unfinishedJobs") {
            Some(AttributeValue::Ss(jobs)) => jobs.len(),
            None => 0,
            other => panic!("{other:?}"),
        }
    }
}

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
async fn a_job_says_why_its_last_attempt_failed() {
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

/// A job that makes no progress for six hours ends as failed, whoever sees it first.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_ends_as_failed() {
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

// ---------------------------------------------------------------------------------------------
// Scheduled runs come first

/// A slice that is being counted gives way to the scheduled run of an hour within seconds, which is
/// no failure; after the second time it is halved, and the job goes on between the hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_gives_way_to_a_scheduled_run() {
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
        // What only its own time can tell is there.
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

/// A request for the lease by a run that died holds nobody up for longer than a minute.
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

// ---------------------------------------------------------------------------------------------
// Answers that are kept

/// `GET /metrics` through the cache and without one, which must say the same; what the cache did.
async fn asked(world: &World, query: &str) -> (String, Value) {
    let uri = format!("{METRICS}?{query}");
    let answer = world.api.get(&uri).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.assert_common_headers();
    let table = &world.table;
    let uncached = Api::new(&table.endpoint, &table.name, world.host.clone()).get(&uri).await;
    assert_eq!(answer.json(), uncached.json(), "{query}");
    world.surroundings.background.join().await;
    (answer.header("x-cache").unwrap().to_owned(), answer.json()["data"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_answer_is_never_older_than_a_recalculation() {
    let world = World::new().await;
    let hours = "metricType=media&granularity=hourly&startDate=2026-05-30&endDate=2026-05-31";
    let days = "metricType=all&granularity=daily&startDate=2026-05-30&endDate=2026-05-31";
    let month = "metricType=media&granularity=monthly&startDate=2026-05-01&endDate=2026-05-31";
    let cached = async |query: &str| asked(&world, query).await.0;
    // What was rolled up a moment ago may still be changing.
    world.host.set(end() + TimeDelta::minutes(40));
    for query in [hours, days, month] {
        assert_eq!(cached(query).await, "miss", "{query}");
        assert_eq!(cached(query).await, "hit", "{query}");
    }
    // The same question in other words, and none that differs.
    let other_words = "endDate=2026-05-31T02:00:00%2B02:00&granularity=hourly&startDate=2026-05-30&metricType=media";
    assert_eq!(cached(other_words).await, "hit");
    for other in [
        &format!("{hours}&metrics=newMedia"),
        &hours.replace("media", "albums"),
        &hours.replace("05-31", "05-31T01:00:00Z"),
    ] {
        assert_eq!(cached(other).await, "miss", "{other}");
    }
    // What is not over, or not whole, is not kept.
    for open in
        [hours.replace("05-31", "06-02"), days.replace("05-30", "05-20").replace("05-31", "06-01")]
    {
        for _ in 0..2 {
            assert_eq!(cached(&open).await, "bypass", "{open}");
        }
    }

    // A medium that showed late, in an hour of the 30th.
    let before = asked(&world, hours).await.1;
    let late = json!({
        "PK": {"S": "MEDIA#late"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "Media"},
        "GSI4PK": {"S": "MEDIA"}, "GSI4SK": {"S": "2026-05-30T10:30:00.000Z#late"},
        "createdAt": {"S": "2026-05-30T10:30:00.000Z"}, "isPublic": {"S": "true"},
    });
    world.table.put(&[late.as_object().unwrap().clone()]).await;
    assert_eq!(cached(hours).await, "hit");
    let day = instant("2026-05-30T00:00:00Z");
    world.start(&range("media", "hourly", day, day + TimeDelta::hours(23))).await;
    let total = |data: &Value| data["summary"]["totals"]["newMedia"].as_i64().unwrap();
    let mut slices = 0;
    // After every slice, whatever it touched: the answer is as without a cache.
    while world.queue.deliver_one(&world.engine).await {
        slices += 1;
        for query in [hours, days, month] {
            asked(&world, query).await;
        }
        assert_eq!(total(&asked(&world, hours).await.1), total(&before) + 1, "{slices}");
    }
    assert!(slices >= 3, "hours, a day, a month");
    for query in [hours, days] {
        assert_eq!(cached(query).await, "bypass", "just changed: {query}");
    }
    // What was refreshed is not stale, also where it says the same as before.
    for query in [hours, days, month] {
        let (_, data) = asked(&world, query).await;
        assert!(!data.to_string().contains("\"stale\""), "{query}: {data}");
    }
    // The month is as of its last day, which was not asked for and says the same.
    assert_eq!(cached(month).await, "hit");
    world.host.set(end() + TimeDelta::minutes(70));
    for query in [hours, days] {
        assert_eq!(cached(query).await, "miss", "{query}");
        assert_eq!(cached(query).await, "hit", "{query}");
    }
    assert_eq!(total(&asked(&world, hours).await.1), total(&before) + 1);

    // Nobody sees a kept answer without being let in, and no key or lifetime is too long.
    let uri = format!("{METRICS}?{hours}");
    assert_eq!(world.api.send(get(&uri).body(Body::empty()).unwrap()).await.status, 401);
    for (key, lifetime) in world.surroundings.cache.kept() {
        assert!(key.len() == "metrics/".len() + 43, "{key}");
        assert!(lifetime <= Duration::from_hours(24), "{lifetime:?}");
    }
}
