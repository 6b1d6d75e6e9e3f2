//! The realtime counters and the dashboard: every figure against the independent computation while
//! the platform goes on, what happens when the store lags or fails, how often refreshes run and what
//! they cost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{Client, UpdateItem, WriteRequest, number, string},
    host::{Severity, SharedHost},
    metrics::period::{Granularity, Period},
    realtime::{
        DAILY_WRITES, REQUESTED_DAILY_WRITES, RefreshOutcome as Outcome,
        RefreshTrigger as Occasion, Refresher, Snapshot,
    },
    settings::Settings,
    store::ledger::Status,
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, StandingHost, TOKEN, get, instant, stamp, variable},
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::{TYPES, end, engine_at, platform},
    fault_proxy::{Fault, FaultProxy, Seen},
    oracle,
    realtime::{Surroundings, assert_counters, counters_in, expected_counters},
};

const REALTIME: &str = "/api/admin/analytics/realtime";
const DASHBOARD: &str = "/api/admin/analytics/dashboard";

/// The requests of a refresh at any minute of an hour: the lease taken in two and given back, the
/// records of the last day, the visitors, and of each of twelve partitions the running hour and the
/// part of an hour at the other end of the last 24.
const REQUESTS: usize = 3 + 1 + 1 + 12 * 2;

// ---------------------------------------------------------------------------------------------
// A platform that goes on

/// A platform of which the last hours were counted, in which time goes on: what happens later is not
/// there before.
struct World {
    table: TestTable,
    /// Everything that will ever be there.
    all: Vec<Item>,
    /// What is there now.
    items: Vec<Item>,
    /// What was there when the last hour was counted, and when that ended.
    then: Vec<Item>,
    counted_until: DateTime<Utc>,
    host: Arc<StandingHost>,
    endpoint: String,
    surroundings: Surroundings,
    api: Api,
}

/// When something happens, by its time or by its sort keys; what has neither has always been there.
fn moment(item: &Item) -> DateTime<Utc> {
    let read = |name: &str| item.get(name)?["S"].as_str()?.parse::<DateTime<Utc>>().ok();
    let views = item["PK"]["S"].as_str().is_some_and(|key| key.starts_with("VIEW_COUNT#"));
    let at = if views { read("SK") } else { read("createdAt").or_else(|| read("timestamp")) };
    let by_key = |name: &str| {
        let minute = item.get(name)?["S"].as_str()?.get(..16)?;
        format!("{minute}:00Z").parse::<DateTime<Utc>>().ok()
    };
    at.or_else(|| ["GSI1SK", "GSI3SK", "GSI4SK"].into_iter().find_map(by_key))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// The item as it is at `now`: counters grow through their hour, visitors are seen again.
fn as_of(item: &Item, now: DateTime<Utc>) -> Item {
    let mut item = item.clone();
    let just_now = now - TimeDelta::milliseconds(1);
    let key = item["PK"]["S"].as_str().unwrap().to_owned();
    if key == "VISITOR" {
        let seen: DateTime<Utc> = item["lastSeen"]["S"].as_str().unwrap().parse().unwrap();
        item.insert("lastSeen".to_owned(), json!({ "S": stamp(seen.min(just_now)) }));
    } else if key == "VIEW_COUNT#hourly" && just_now - moment(&item) < TimeDelta::hours(1) {
        // A malformed one stays as it is.
        if let Some(last) = item["newViews"]["N"].as_str() {
            let minutes = (just_now - moment(&item)).num_minutes();
            let views = (last.parse::<i64>().unwrap() * minutes / 60).to_string();
            item.insert("newViews".to_owned(), json!({ "N": views }));
        }
    }
    item
}

impl World {
    /// A day and three hours that were counted, up to `start`.
    async fn at(start: DateTime<Utc>) -> Self {
        Self::behind(start, |endpoint| async { endpoint }).await
    }

    /// The same, with all that is asked in real time behind what `proxy` answers.
    async fn behind<Proxied: Future<Output = String>>(
        start: DateTime<Utc>,
        proxy: impl FnOnce(String) -> Proxied,
    ) -> Self {
        Self::since(start, 27, proxy).await
    }

    /// The same, of which so many hours were counted.
    async fn since<Proxied: Future<Output = String>>(
        start: DateTime<Utc>,
        hours: i64,
        proxy: impl FnOnce(String) -> Proxied,
    ) -> Self {
        let all = platform(60);
        let first =
            Period::containing(Granularity::Hourly, start).start() - TimeDelta::hours(hours);
        let items: Vec<Item> =
            all.iter().filter(|item| moment(item) < first).map(|item| as_of(item, first)).collect();
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = StandingHost::at(first);
        let endpoint = proxy(table.endpoint.clone()).await;
        let surroundings = Surroundings::default();
        let settings = Settings::read(|name| variable(name, &endpoint, &table.name)).unwrap();
        let api = Api::with_surroundings(settings, host.clone(), IMPATIENT, &surroundings);
        let then = items.clone();
        let mut world = Self {
            table,
            all,
            items,
            then,
            counted_until: first,
            host,
            endpoint,
            surroundings,
            api,
        };
        let mut hour = first + TimeDelta::hours(1);
        while hour <= start {
            world.count_hour(hour).await;
            hour += TimeDelta::hours(1);
        }
        world.go_on_to(start.max(world.now())).await;
        world
    }

    fn now(&self) -> DateTime<Utc> {
        edge_analytics::host::Host::now(self.host.as_ref())
    }

    /// Time goes on, and what happens before `to` happens.
    async fn go_on_to(&mut self, to: DateTime<Utc>) {
        let known: std::collections::HashMap<(String, String), usize> =
            self.items.iter().enumerate().map(|(index, item)| (key_of(item), index)).collect();
        let mut changed = Vec::new();
        for item in self.all.iter().filter(|item| moment(item) < to) {
            let item = as_of(item, to);
            match known.get(&key_of(&item)) {
                Some(index) if self.items[*index] == item => {}
                Some(index) => {
                    self.items[*index].clone_from(&item);
                    changed.push(item);
                }
                None => {
                    self.items.push(item.clone());
                    changed.push(item);
                }
            }
        }
        self.table.put(&changed).await;
        self.host.set(to);
    }

    /// The event of the hour that ended at `hour`, five seconds late.
    async fn count_hour(&mut self, hour: DateTime<Utc>) {
        self.go_on_to(hour + TimeDelta::seconds(5)).await;
        let engine = engine_at(&self.table.endpoint, &self.table.name, self.host.clone());
        let report = engine.run(Granularity::Hourly, hour).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
        self.then.clone_from(&self.items);
        self.counted_until = hour;
    }

    /// A refresh, as the cron event asks for it.
    async fn tick(&self) -> Outcome {
        self.refresh(Occasion::Tick).await
    }

    async fn refresh(&self, occasion: Occasion) -> Outcome {
        refresh_at(&self.endpoint, &self.table.name, &self.host, &self.surroundings, occasion).await
    }

    fn expected(&self) -> support::realtime::Counters {
        expected_counters(&self.items, self.now(), &self.then, self.counted_until)
    }

    /// The `data` of a request that must succeed.
    async fn data(&self, uri: &str) -> Value {
        let answer = self.api.get(uri).await;
        assert_eq!(answer.status.as_u16(), 200, "{uri}: {}", answer.text());
        answer.assert_common_headers();
        answer.json()["data"].clone()
    }

    async fn delete(&self, metric_type: &str, hour: DateTime<Utc>) {
        let hour = Period::containing(Granularity::Hourly, hour);
        let key = edge_analytics::store::record::record_key(metric_type, hour);
        let delete = vec![WriteRequest::DeleteRequest { key }];
        self.table.client().batch_write(&self.table.name, delete).await.unwrap();
    }

    /// The log's lines of refreshes.
    fn refreshes(&self) -> Vec<Value> {
        let lines = self.host.lines().into_iter().map(|(_, line)| line);
        lines.filter(|line| line["event"] == "realtime").collect()
    }
}

async fn refresh_at(
    endpoint: &str,
    table: &str,
    host: &Arc<StandingHost>,
    surroundings: &Surroundings,
    occasion: Occasion,
) -> Outcome {
    let catalogue = gallery();
    let shared: SharedHost = host.clone();
    let refresher = Refresher {
        client: Client::with_policy(connection(endpoint), shared.clone(), IMPATIENT),
        host: shared,
        table,
        catalogue: &catalogue,
        store: &surroundings.snapshots,
    };
    refresher.refresh(occasion).await.unwrap()
}

fn key_of(item: &Item) -> (String, String) {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("PK"), part("SK"))
}

fn metric<'answer>(data: &'answer Value, name: &str) -> &'answer Value {
    let mut counters = data["counters"].as_array().unwrap().iter();
    counters
        .find(|counter| counter["metricKey"] == name)
        .unwrap_or_else(|| panic!("{name} in {data}"))
}

// ---------------------------------------------------------------------------------------------
// The figures

#[tokio::test(flavor = "multi_thread")]
async fn every_counter_is_right_at_every_tick_while_the_platform_goes_on() {
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
        let Outcome::Counted(snapshot) = world.refresh(Occasion::Fresh).await else {
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
    // The comparison means something only where the platform moves. Nobody buys a plan meanwhile.
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
async fn what_was_hidden_since_the_hour_shows_at_the_next_hour_and_not_before() {
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
async fn a_missing_hour_is_counted_where_that_can_be_done() {
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
async fn before_the_first_hour_there_is_what_can_be_counted() {
    let items = platform(60);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Tick).await;
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
async fn a_partition_that_cannot_be_read_costs_its_counters_and_no_others() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let rule = move |seen: &Seen| {
            let fails = failing.load(Ordering::SeqCst) && seen.queries("MEDIA");
            if fails { Fault::AccessDenied } else { Fault::None }
        };
        let proxy = Box::leak(Box::new(FaultProxy::start(&endpoint, rule).await));
        proxy.endpoint.clone()
    })
    .await;
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

// ---------------------------------------------------------------------------------------------
// What it costs

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_makes_so_many_requests_and_reads_no_whole_partition() {
    let proxy: Arc<std::sync::Mutex<Option<&'static FaultProxy>>> = Arc::default();
    let keep = proxy.clone();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let started = FaultProxy::start(&endpoint, |_: &Seen| Fault::None).await;
        let started: &'static FaultProxy = Box::leak(Box::new(started));
        *keep.lock().unwrap() = Some(started);
        started.endpoint.clone()
    })
    .await;
    let proxy = proxy.lock().unwrap().unwrap();
    let mut seen = 0;
    for (at, requests) in [
        ("2026-06-01T02:20:00.000Z", REQUESTS),
        ("2026-06-01T02:59:59.999Z", REQUESTS),
        // The hour that has just ended is still to be counted: it is the only part to be read.
        ("2026-06-01T03:00:00.000Z", REQUESTS - 12),
    ] {
        world.go_on_to(instant(at)).await;
        world.refresh(Occasion::Fresh).await;
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
        (matches!(outcome, Outcome::Counted(_)), surroundings.snapshots.puts() - before)
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
    assert_eq!(refresh(minute(1), Occasion::Fresh).await, (true, 1));
    assert_eq!(refresh(minute(2), Occasion::Stale).await, (true, 1));
    // Enough was asked for today: it is still counted and answered, but not written, and leaves the
    // state alone, so that no tick finds it taken.
    let state = async || {
        let key = edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime");
        let read = edge_analytics::dynamodb::Read::Consistent;
        table.client().get(&table.name, key, read).await.unwrap().unwrap().into_inner()
    };
    let before = state().await;
    assert_eq!(refresh(minute(3), Occasion::Fresh).await, (true, 0));
    assert_eq!(state().await, before);
    assert_eq!(refresh(minute(4), Occasion::Stale).await, (false, 0));
    assert_eq!(refresh(minute(5), Occasion::Tick).await, (true, 1));
    assert_eq!(refresh(minute(10), Occasion::Tick).await, (true, 1));
    wrote(DAILY_WRITES - 1).await;
    assert_eq!(refresh(minute(15), Occasion::Tick).await, (true, 1));
    assert_eq!(refresh(minute(20), Occasion::Tick).await, (false, 0));
    // The next day begins anew.
    assert_eq!(refresh(day + TimeDelta::hours(24), Occasion::Fresh).await, (true, 1));
}

// ---------------------------------------------------------------------------------------------
// One at a time

#[tokio::test(flavor = "multi_thread")]
async fn of_refreshes_at_once_one_counts() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refresh = || async {
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Stale).await
    };
    let outcomes = tokio::join!(refresh(), refresh(), refresh(), refresh(), refresh());
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3, outcomes.4];
    let counted = outcomes.iter().filter(|one| matches!(one, Outcome::Counted(_))).count();
    assert_eq!((counted, surroundings.snapshots.puts()), (1, 1), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_died_is_replaced_when_its_lease_runs_out() {
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
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Tick).await
    };
    assert!(matches!(refresh().await, Outcome::Held));
    host.set(expires);
    assert!(matches!(refresh().await, Outcome::Counted(_)));
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
    assert_eq!(refresh(0, Occasion::Tick).await, 1);
    assert_eq!(refresh(9, Occasion::Fresh).await, 1);
    assert_eq!(refresh(10, Occasion::Fresh).await, 2);
    assert_eq!(refresh(65, Occasion::Stale).await, 2);
    assert_eq!(refresh(69, Occasion::Tick).await, 2);
    assert_eq!(refresh(70, Occasion::Stale).await, 3);
}

// ---------------------------------------------------------------------------------------------
// GET /realtime

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
fn counts(proxy: &FaultProxy) -> usize {
    let is_count = |(operation, body): &(String, Value)| {
        operation == "Query" && body["ExpressionAttributeValues"][":partition"]["S"] == "ANALYTICS"
    };
    proxy.seen().iter().filter(|seen| is_count(seen)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_fails_an_isolate_counts_once_a_minute() {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let proxy = FaultProxy::start(&endpoint, |_| Fault::None).await;
        let endpoint = proxy.endpoint.clone();
        sender.send(proxy).unwrap();
        endpoint
    })
    .await;
    let proxy = receiver.recv().await.unwrap();
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
    assert_eq!(counts(&proxy), 1);
    for second in 1..50 {
        world.host.set(begun + TimeDelta::seconds(second));
        let data = world.data(REALTIME).await;
        assert_eq!(data["lastUpdated"], "2026-06-01T02:20:00.000Z");
        assert_counters(&counters_in(&data), &expected, "within the minute");
        assert_eq!(metric(&data, "totalMedia")["ageSeconds"], second);
    }
    assert_eq!(counts(&proxy), 1);
    world.go_on_to(begun + TimeDelta::seconds(60)).await;
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &world.expected(), "a minute later");
    assert_eq!(counts(&proxy), 2);
    // Counted for whoever asked for fresh figures: the others have them too.
    world.go_on_to(begun + TimeDelta::seconds(125)).await;
    world.data(&format!("{REALTIME}?fresh=true")).await;
    world.data(REALTIME).await;
    assert_eq!(counts(&proxy), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_fails_leaves_the_turn_to_the_next_request() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let rule = move |_: &Seen| {
            if failing.load(Ordering::SeqCst) { Fault::AccessDenied } else { Fault::None }
        };
        let proxy = Box::leak(Box::new(FaultProxy::start(&endpoint, rule).await));
        proxy.endpoint.clone()
    })
    .await;
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.surroundings.snapshots.break_down(true);
    fails.store(true, Ordering::SeqCst);
    assert_eq!(world.api.get(REALTIME).await.error(500), "Database error");
    fails.store(false, Ordering::SeqCst);
    let data = world.data(REALTIME).await;
    assert_counters(&counters_in(&data), &world.expected(), "the next one");
}

// ---------------------------------------------------------------------------------------------
// The state of refreshing

const STATE_ATTRIBUTES: [&str; 6] =
    ["leaseHolder", "leaseExpiresAt", "writtenAt", "writesOf", "writes", "refreshedAt"];

/// States that cannot be read, or say what cannot be.
fn damaged_states() -> Vec<Value> {
    let beyond = (end() + TimeDelta::days(3650)).timestamp_millis().to_string();
    vec![
        json!({"leaseExpiresAt": {"S": "soon"}}),
        json!({"leaseHolder": {"N": "5"}, "leaseExpiresAt": {"N": "0"}}),
        json!({"writtenAt": {"M": {"at": {"N": "1"}}}, "leaseHolder": {"S": "somebody"}}),
        json!({"writes": {"N": "-1"}}),
        json!({"writes": {"N": "99999999999999999999"}, "writesOf": {"S": "2026-06-01"}}),
        json!({"writesOf": {"NULL": true}}),
        json!({"refreshedAt": {"BOOL": true}}),
        // Readable, but they would stop every refresh for ten years, or overflow.
        json!({"leaseExpiresAt": {"N": beyond}, "leaseHolder": {"S": "somebody"}}),
        json!({"writtenAt": {"N": beyond}}),
        json!({"writtenAt": {"N": i64::MIN.to_string()}}),
        json!({"refreshedAt": {"N": beyond}}),
    ]
}

fn state_item(attributes: &Value) -> Item {
    let mut item = attributes.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({"S": "ANALYTICS_STATE"}));
    item.insert("SK".to_owned(), json!({"S": "realtime"}));
    item
}

async fn stored_state(table: &TestTable) -> Value {
    let key = edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime");
    let item = table
        .client()
        .get(&table.name, key, edge_analytics::dynamodb::Read::Consistent)
        .await
        .unwrap()
        .unwrap();
    serde_json::to_value(item).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_replaced_and_logged_once() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    for damaged in damaged_states() {
        table.put(&[state_item(&damaged)]).await;
        let host = StandingHost::at(end());
        let surroundings = Surroundings::default();
        let refresh = async || {
            refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Tick).await
        };
        assert!(matches!(refresh().await, Outcome::Counted(_)), "{damaged}");
        assert_eq!(surroundings.snapshots.puts(), 1, "{damaged}");
        let state = stored_state(&table).await;
        for name in STATE_ATTRIBUTES {
            let kind = if ["leaseHolder", "writesOf"].contains(&name) { "S" } else { "N" };
            assert!(state[name][kind].is_string(), "{damaged}: {name} is {}", state[name]);
        }
        let written = end().timestamp_millis().to_string();
        assert_eq!(
            (&state["writtenAt"]["N"], &state["refreshedAt"]["N"], &state["writes"]["N"]),
            (&json!(written), &json!(written), &json!("1")),
            "{damaged}"
        );
        // The error names the item. Afterwards there is none.
        host.set(end() + TimeDelta::minutes(5));
        assert!(matches!(refresh().await, Outcome::Counted(_)), "{damaged}");
        let named: Vec<_> = host
            .lines()
            .into_iter()
            .filter(|(_, line)| line["problems"].to_string().contains("ANALYTICS_STATE / realtime"))
            .collect();
        assert_eq!(named.len(), 1, "{damaged}: {named:?}");
        assert_eq!(named[0].0, Severity::Error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_replace_a_damaged_state_at_once_one_counts() {
    let mut items = platform(20);
    items.push(state_item(&json!({"writtenAt": {"S": "yesterday"}})));
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refreshes = (0..6)
        .map(|_| refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Tick));
    let outcomes = futures_util::future::join_all(refreshes).await;
    let counted = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Counted(_))).count();
    assert_eq!(counted, 1, "{outcomes:?}");
    assert_eq!(surroundings.snapshots.puts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_could_not_be_stored_is_not_refreshed() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refresh = async |minutes: i64| {
        host.set(end() + TimeDelta::minutes(minutes));
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, Occasion::Tick).await;
        stored_state(&table).await
    };
    let millis =
        |minutes: i64| json!((end() + TimeDelta::minutes(minutes)).timestamp_millis().to_string());
    refresh(0).await;
    surroundings.snapshots.break_down(true);
    let state = refresh(5).await;
    assert_eq!(
        (&state["writtenAt"]["N"], &state["refreshedAt"]["N"]),
        (&millis(5), &millis(0)),
        "{state}"
    );
    surroundings.snapshots.break_down(false);
    assert_eq!(refresh(10).await["refreshedAt"]["N"], millis(10));
}

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
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let rule = move |_: &Seen| {
            if failing.load(Ordering::SeqCst) { Fault::AccessDenied } else { Fault::None }
        };
        let proxy = FaultProxy::start(&endpoint, rule).await;
        let endpoint = proxy.endpoint.clone();
        sender.send(proxy).unwrap();
        endpoint
    })
    .await;
    let proxy = receiver.recv().await.unwrap();
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
    assert_eq!((counts(&proxy), proxy.seen().len()), (1, REQUESTS));
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
    assert_eq!((counts(&proxy), proxy.seen().len()), (2, 2 * REQUESTS));
    // One that fails leaves the turn to the next one.
    world.go_on_to(begun + TimeDelta::seconds(20)).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(world.api.get(&fresh).await.error(500), "Database error");
    fails.store(false, Ordering::SeqCst);
    let before = counts(&proxy);
    let data = world.data(&fresh).await;
    assert_counters(&counters_in(&data), &world.expected(), "after a failure");
    assert_eq!(counts(&proxy), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_the_counters() {
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
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let mut world = World::behind(instant("2026-06-01T02:00:00Z"), async move |endpoint| {
        let rule = move |_: &Seen| {
            // A refusal: the clock stands still, so nothing would ever give up trying again.
            if failing.load(Ordering::SeqCst) { Fault::AccessDenied } else { Fault::None }
        };
        let proxy = Box::leak(Box::new(FaultProxy::start(&endpoint, rule).await));
        proxy.endpoint.clone()
    })
    .await;
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
/// shown until a day after it, whoever counted it when.
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

// ---------------------------------------------------------------------------------------------
// GET /dashboard

/// The headlines, and how each is looked at: its type, and whether it is a stock, adds up over hours,
/// or is known of whole days.
const HEADLINES: [(&str, &str, char); 15] = [
    ("users", "totalUsers", 's'),
    ("users", "newUsers", 'f'),
    ("users", "activeUsers", 'd'),
    ("users", "visitors", 'd'),
    ("media", "totalMedia", 's'),
    ("media", "newMedia", 'f'),
    ("albums", "totalAlbums", 's'),
    ("interactions", "totalLikes", 's'),
    ("interactions", "newViews", 'f'),
    ("generations", "totalGenerations", 's'),
    ("generations", "newGenerations", 'f'),
    ("generations", "averageGenerationTime", 'd'),
    ("business", "MRR", 's'),
    ("business", "newRevenue", 'f'),
    ("business", "totalRevenue", 's'),
];

/// A platform of which 52 hours and two days were counted, seen at 02:20.
async fn dashboard_world() -> (World, Value) {
    let mut world =
        World::since(instant("2026-06-01T02:00:00Z"), 53, |endpoint| async { endpoint }).await;
    let engine = engine_at(&world.table.endpoint, &world.table.name, world.host.clone());
    for day in ["2026-05-31T00:05:00Z", "2026-06-01T00:05:00Z"] {
        let report = engine.run(Granularity::Daily, instant(day)).await;
        assert_ne!(report.status, Status::Failed, "{report:?}");
    }
    world.go_on_to(instant("2026-06-01T02:20:00Z")).await;
    world.tick().await;
    let data = world.data(DASHBOARD).await;
    (world, data)
}

/// Numbers by value.
#[track_caller]
fn assert_number(actual: &Value, expected: Option<f64>, context: &str) {
    let same = match (actual.as_f64(), expected) {
        (Some(one), Some(other)) => (one - other).abs() < 1e-6,
        (None, None) => actual.is_null(),
        _ => false,
    };
    assert!(same, "{context} is {actual}, expected {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_what_the_platform_came_to() {
    let (world, data) = dashboard_world().await;
    let names: Vec<_> = data.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["counters", "generatedAt", "headlines", "source", "stale"]);
    assert_eq!(data["generatedAt"], "2026-06-01T02:20:00.000Z");
    assert_eq!((&data["source"], &data["stale"]), (&json!("kv"), &json!(false)));
    let expected = world.expected();
    assert_counters(&counters_in(&data), &expected, "the counters");

    let items = &world.items;
    let number = |from: DateTime<Utc>, to: DateTime<Utc>, metric_type: &str, name: &str| {
        oracle::expected_period(items, from, to, None)[metric_type].get(name)?.as_f64()
    };
    let headlines = data["headlines"].as_array().unwrap();
    assert_eq!(headlines.len(), HEADLINES.len());
    let hours = |count: i64| TimeDelta::hours(count);
    let two = instant("2026-06-01T02:00:00Z");
    let midnight = instant("2026-06-01T00:00:00Z");
    for ((metric_type, name, kind), headline) in HEADLINES.into_iter().zip(headlines) {
        assert_eq!(
            (&headline["metricType"], &headline["metric"]),
            (&json!(metric_type), &json!(name))
        );
        let found = |from, to| number(from, to, metric_type, name);
        let (value, as_of, before, compared_to) = match kind {
            's' => {
                let (value, as_of) = &expected[name];
                let compared_to = two - hours(24);
                let before = found(compared_to - hours(1), compared_to);
                (value.as_f64(), as_of.clone(), before, compared_to)
            }
            'f' => {
                let (value, before) =
                    (found(two - hours(24), two), found(two - hours(48), two - hours(24)));
                (value, stamp(two), before, two - hours(24))
            }
            _ => {
                let value = found(midnight - hours(24), midnight);
                let before = found(midnight - hours(48), midnight - hours(24));
                (value, stamp(midnight), before, midnight - hours(24))
            }
        };
        // What the table forgets cannot be computed afterwards: the records' own values are shown.
        let forgets = ["activeUsers", "MRR"].contains(&name);
        assert_eq!(headline["asOf"], json!(as_of), "{name}");
        if !forgets {
            assert_number(&headline["value"], value, name);
            let (value, before) = (value.unwrap(), before.unwrap());
            let change = &headline["change"];
            assert_eq!(change["comparedTo"], json!(stamp(compared_to)), "{name}");
            assert_number(&change["absolute"], Some(value - before), name);
            let percent = (before != 0.0).then(|| (value - before) / before * 100.0);
            match percent {
                None => assert!(change["percent"].is_null(), "{name}: {change}"),
                Some(percent) => {
                    let shown = change["percent"].as_f64().unwrap();
                    assert!((shown - percent).abs() <= 0.005_001, "{name}: {shown}, {percent}");
                }
            }
        }
        let points = |field: &str| headline[field].as_array().unwrap().clone();
        let day = points("last24Hours");
        assert_eq!(day.len(), 24, "{name}");
        for (index, point) in (0..).zip(&day) {
            let start = two - hours(24 - index);
            assert_eq!(point["timestamp"], json!(stamp(start)), "{name}");
            if !forgets {
                let context = format!("{name} at {start}");
                assert_number(&point["value"], found(start, start + hours(1)), &context);
            }
        }
        let month = points("last30Days");
        assert_eq!(month.len(), 30, "{name}");
        assert_eq!(month[0]["timestamp"], "2026-05-02T00:00:00.000Z", "{name}");
        assert_eq!(month[29]["timestamp"], "2026-05-31T00:00:00.000Z", "{name}");
        assert_eq!(month[26]["value"], Value::Null, "{name} of a day that was not counted");
        if !forgets {
            assert_number(&month[29]["value"], found(midnight - hours(24), midnight), name);
        }
    }
}

/// Hours go on being counted while no tick comes: a stock is the later of counter and record.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_is_the_later_of_counter_and_record() {
    let (mut world, _) = dashboard_world().await;
    let stocks = HEADLINES.into_iter().filter(|(.., kind)| *kind == 's');
    let headline = |data: &Value, name: &str| {
        let headlines = data["headlines"].as_array().unwrap();
        headlines.iter().find(|headline| headline["metric"] == name).unwrap().clone()
    };
    world.count_hour(instant("2026-06-01T03:00:00Z")).await;
    let data = world.data(DASHBOARD).await;
    let hour = oracle::expected_hour(&world.then, instant("2026-06-01T02:00:00Z"), None);
    for (metric_type, name, _) in stocks.clone() {
        let headline = headline(&data, name);
        assert_eq!(headline["asOf"], "2026-06-01T03:00:00.000Z", "{name}");
        assert_number(&headline["value"], hour[metric_type][name].as_f64(), name);
        let change = &headline["change"];
        assert_eq!(change["comparedTo"], "2026-05-31T03:00:00.000Z", "{name}");
        // The counters below are as the tick left them.
        assert_ne!(metric(&data, name)["lastUpdated"], "2026-06-01T03:00:00.000Z", "{name}");
    }
    world.surroundings.background.join().await;
    world.go_on_to(instant("2026-06-01T03:05:00Z")).await;
    world.tick().await;
    let data = world.data(DASHBOARD).await;
    let expected = world.expected();
    for (_, name, _) in stocks {
        let headline = headline(&data, name);
        let (value, as_of) = &expected[name];
        assert_eq!(headline["asOf"], json!(as_of), "{name}");
        assert_number(&headline["value"], value.as_f64(), name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_a_hole_and_costs_what_needs_it() {
    let (world, before) = dashboard_world().await;
    world.delete("media", instant("2026-05-31T11:00:00Z")).await;
    let data = world.data(DASHBOARD).await;
    let headline = |data: &Value, name: &str| {
        let headlines = data["headlines"].as_array().unwrap();
        headlines.iter().find(|headline| headline["metric"] == name).unwrap().clone()
    };
    let new_media = headline(&data, "newMedia");
    assert_eq!(
        new_media["last24Hours"][9],
        json!({"timestamp": "2026-05-31T11:00:00.000Z", "value": null})
    );
    assert_eq!(
        (&new_media["value"], &new_media["asOf"], &new_media["change"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    // A stock needs only now and then.
    assert_eq!(headline(&data, "totalMedia")["value"], headline(&before, "totalMedia")["value"]);
    assert_eq!(
        headline(&data, "totalAlbums")["change"],
        headline(&before, "totalAlbums")["change"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_nothing_past_retention_and_takes_three_requests() {
    let (world, _) = dashboard_world().await;
    let proxy = FaultProxy::start(&world.table.endpoint, |_: &Seen| Fault::None).await;
    let settings = Settings::read(|name| match name {
        "RETENTION_HOURLY_DAYS" | "RETENTION_DAILY_DAYS" => Some("1".to_owned()),
        _ => variable(name, &proxy.endpoint, &world.table.name),
    });
    let host = world.host.clone();
    let api = Api::with_surroundings(settings.unwrap(), host, IMPATIENT, &world.surroundings);
    let answer = api.get(DASHBOARD).await;
    let data = answer.json()["data"].clone();
    let requests = proxy.seen();
    let mut operations: Vec<&str> =
        requests.iter().map(|(operation, _)| operation.as_str()).collect();
    operations.sort_unstable();
    // The hours, the days, and the days that are stale.
    assert_eq!(operations, ["GetItem", "Query", "Query"], "{requests:?}");
    let media = &data["headlines"][4];
    // 24 hours before 02:20: the hour from 02:00 to 03:00 is kept to 03:00 today.
    assert_eq!(media["last24Hours"][0]["timestamp"], "2026-05-31T02:00:00.000Z");
    assert!(media["last24Hours"][0]["value"].is_number());
    assert_eq!(media["change"], Value::Null, "what it would be compared with is past retention");
    assert!(media["last30Days"][29]["value"].is_number());
    assert_eq!(media["last30Days"][28]["value"], Value::Null);
}
