//! What is known between runs: stale days, weeks and months are refreshed at once, a type that fails
//! costs no more than itself, and damage is named.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::RetryPolicy,
    metrics::period::{Granularity, Period, format_instant},
    run::{Engine, Report},
    settings::Options,
    store::ledger::Status,
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, METRICS, StandingHost},
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    timeline::{all_items, at, engine_with, medium, records, state},
};

const HEALTH: &str = "/api/admin/analytics/health";

/// Records of all of May are kept, also by the last day of it.
fn options() -> Options {
    let mut options = Options::default();
    options.retention.hourly = 40;
    options
}

async fn run(table: &TestTable, options: Options, granularity: Granularity, event: &str) -> Report {
    let event = at(event);
    let host = TestHost::at(event + TimeDelta::seconds(1));
    let policy = RetryPolicy::default();
    let report =
        engine_with(&table.endpoint, table, host, policy, options).run(granularity, event).await;
    assert!(report.is_healthy(), "{report:?}");
    report
}

/// A generation that was asked for at 23:50 of a Sunday, the last of May.
fn job(status: &str) -> Item {
    let created = "2026-05-31T23:50:00.000Z";
    let mut item = json!({
        "PK": {"S": "I2VJOB#late"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "I2VJob"},
        "GSI3PK": {"S": format!("I2VJOB_STATUS#{status}")},
        "GSI3SK": {"S": format!("{created}#late")},
        "status": {"S": status}, "createdAt": {"S": created}, "submittedAt": {"S": created},
    });
    if status == "COMPLETED" {
        item["completedAt"] = json!({"S": "2026-06-01T00:20:00.000Z"});
        item["executionTime"] = json!({"N": "30"});
    }
    item.as_object().unwrap().clone()
}

/// An order of the same Sunday that was completed half a minute before midnight.
fn order() -> Item {
    let item = json!({
        "PK": {"S": "ORDER#late"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "Order"},
        "GSI2PK": {"S": "ORDERS_BY_STATUS#completed"},
        "GSI2SK": {"S": "2026-05-31T23:58:00.000Z#late"},
        "createdAt": {"S": "2026-05-31T23:58:00.000Z"}, "status": {"S": "completed"},
        "completedAt": {"S": "2026-05-31T23:59:30.000Z"},
        "amount": {"S": "10.00"}, "currency": {"S": "USD"},
    });
    item.as_object().unwrap().clone()
}

/// May is over and made at every granularity; the job is still in progress.
async fn after_midnight() -> TestTable {
    let table = TestTable::with(Backend::Dynoxide, &[job("IN_PROGRESS")]).await;
    run(&table, options(), Granularity::Hourly, "2026-05-01T01:00").await;
    run(&table, options(), Granularity::Hourly, "2026-06-01T00:00").await;
    run(&table, options(), Granularity::Daily, "2026-06-01T00:05").await;
    run(&table, options(), Granularity::Weekly, "2026-06-01T00:10").await;
    run(&table, options(), Granularity::Monthly, "2026-06-01T00:15").await;
    table
}

fn api_at(table: &TestTable, now: &str) -> Api {
    Api::new(&table.endpoint, &table.name, StandingHost::at(at(now)))
}

/// The job's and the order's day, week and month as `GET /metrics` shows them: successful and new
/// generations, new revenue, and whether the points are stale.
async fn shown(
    table: &TestTable,
    now: &str,
) -> Vec<(&'static str, Value, Value, Value, [bool; 2])> {
    let api = api_at(table, now);
    let mut found = Vec::new();
    for (granularity, start) in
        [("daily", "2026-05-31"), ("weekly", "2026-05-25"), ("monthly", "2026-05-01")]
    {
        let point = async |metric_type: &str| {
            let data = api
                .data(format!(
                    "metricType={metric_type}&granularity={granularity}&startDate={start}\
                     &endDate=2026-05-31T12:00:00Z"
                ))
                .await;
            let points = data["dataPoints"].as_array().unwrap();
            assert_eq!((points.len(), &data["missing"]), (1, &json!([])), "{data}");
            assert_eq!(points[0]["timestamp"], format!("{start}T00:00:00.000Z"));
            points[0].clone()
        };
        let (generations, business) = (point("generations").await, point("business").await);
        let stale = [&generations, &business].map(|point| point["stale"] == true);
        let metric = |point: &Value, name: &str| point["metrics"][name].clone();
        found.push((
            granularity,
            metric(&generations, "newGenerations"),
            metric(&generations, "successfulGenerations"),
            metric(&business, "newRevenue"),
            stale,
        ));
    }
    found
}

fn all(
    new: u32,
    successful: u32,
    revenue: u32,
    stale: [bool; 2],
) -> Vec<(&'static str, Value, Value, Value, [bool; 2])> {
    ["daily", "weekly", "monthly"]
        .map(|granularity| (granularity, json!(new), json!(successful), json!(revenue), stale))
        .to_vec()
}

async fn health_sentences(table: &TestTable, now: &str) -> Vec<String> {
    let answer = api_at(table, now).get(HEALTH).await.json();
    let data = answer.get("data").unwrap_or(&answer["details"]);
    let reasons = data["reasons"].as_array().unwrap().iter();
    reasons.map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect()
}

/// A job that completes and an order that is written after midnight are in their hour, day, week and
/// month after the run of 01:00. A run without a late change costs what it always did.
#[tokio::test(flavor = "multi_thread")]
async fn data_after_midnight_reaches_every_granularity() {
    let table = after_midnight().await;
    assert_eq!(shown(&table, "2026-06-01T00:16").await, all(1, 0, 0, [false, false]));
    // At 00:20 and at 00:25.
    table.put(&[job("COMPLETED"), order()]).await;
    let snapshot = all_items(&table).await;

    let report = run(&table, options(), Granularity::Hourly, "2026-06-01T01:00").await;
    let hour = Period::containing(Granularity::Hourly, at("2026-05-31T23:00"));
    let of_hour = records(&table, &[hour]).await;
    let generations = &of_hour[&("generations".to_owned(), hour)].metrics;
    assert_eq!(generations["successfulGenerations"], 1);
    assert_eq!(generations["averageGenerationTime"], 30);
    assert_eq!(of_hour[&("business".to_owned(), hour)].metrics["newRevenue"], 10);
    assert_eq!(shown(&table, "2026-06-01T01:02").await, all(1, 1, 10, [false, false]));
    for granularity in Granularity::ALL {
        let state = state(&table, granularity).await;
        assert!(state.marks.is_empty() && state.marked_by.is_empty(), "{state:?}");
        assert!(state.refreshes.is_empty(), "{state:?}");
    }
    assert_eq!(health_sentences(&table, "2026-06-01T01:02").await, Vec::<String>::new());

    // A run takes 26 requests: see `a_run_makes_no_request_too_many`. Here two changed records are
    // written, after one request that says so, and three marks; a day is read in 2 requests, a week
    // in 1, a month in 2, each announces its change and is written in one transaction; three entries
    // of the ledger, three removals of marks, and one of the announcement.
    assert_eq!(
        report.usage.requests,
        26 + 2 + 1 + 3 + (2 + 1 + 2) + 3 * 2 + 3 + 3 + 1,
        "{report:?}"
    );
    let next = run(&table, options(), Granularity::Hourly, "2026-06-01T02:00").await;
    assert_eq!(next.usage.requests, 26, "{next:?}");

    // With a budget of almost nothing the points say that they are stale, and the next run of any
    // granularity clears that.
    for next in [Granularity::Hourly, Granularity::Daily] {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let mut poor = options();
        poor.budget.requests = 1;
        let report = run(&table, poor, Granularity::Hourly, "2026-06-01T01:00").await;
        assert_eq!(report.stale.len(), 3, "{report:?}");
        // 23 requests for the refresh fewer, and nothing to be removed.
        assert_eq!(report.usage.requests, 26 + 2 + 1 + 3, "{report:?}");
        assert_eq!(shown(&table, "2026-06-01T01:02").await, all(1, 0, 0, [true, true]));
        assert_eq!(health_sentences(&table, "2026-06-01T02:00").await, Vec::<String>::new());
        let late = health_sentences(&table, "2026-06-01T02:01").await;
        assert_eq!(late.len(), 3, "{late:?}");
        assert!(
            late[0].starts_with(
                "2026-05-31T00:00:00.000Z has been stale for 1 hour: a finer record changed at \
                 2026-06-01T01:00:0"
            ),
            "{late:?}"
        );
        let (event, now) = match next {
            Granularity::Hourly => ("2026-06-01T02:00", "2026-06-01T02:02"),
            _ => ("2026-06-02T00:05", "2026-06-02T00:07"),
        };
        let mut options = options();
        options.budget.requests = 60;
        let event = at(event);
        let host = TestHost::at(event + TimeDelta::seconds(1));
        let policy = RetryPolicy::default();
        engine_with(&table.endpoint, &table, host, policy, options).run(next, event).await;
        assert_eq!(shown(&table, now).await, all(1, 1, 10, [false, false]), "{next}");
        for granularity in Granularity::ALL {
            let state = state(&table, granularity).await;
            assert!(state.marks.is_empty() && state.marked_by.is_empty(), "{next}: {state:?}");
        }
    }
}

/// A run of the same engine through a proxy in which one type can fail.
struct Failing {
    table: TestTable,
    host: Arc<TestHost>,
    engine: Engine,
    fails: Arc<AtomicBool>,
}

impl Failing {
    async fn with(items: &[Item]) -> Self {
        let table = TestTable::with(Backend::Dynoxide, items).await;
        let fails = Arc::new(AtomicBool::new(false));
        let is_failing = fails.clone();
        let proxy = FaultProxy::start(&table.endpoint, move |seen| {
            let hit = is_failing.load(Ordering::SeqCst) && seen.queries("MEDIA");
            if hit { Fault::AccessDenied } else { Fault::None }
        })
        .await;
        let host = TestHost::new();
        let policy = RetryPolicy::default();
        let engine = engine_with(&proxy.endpoint, &table, host.clone(), policy, options());
        Self { table, host, engine, fails }
    }

    async fn run(&self, granularity: Granularity, event: DateTime<Utc>) -> Report {
        self.host.set(event + TimeDelta::seconds(1));
        self.engine.run(granularity, event).await
    }

    /// A metric of media in each period that has a record.
    async fn media(&self, periods: &[Period], metric: &str) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for some in periods.chunks(15) {
            for ((name, period), record) in records(&self.table, some).await {
                if name == "media" {
                    let value = record.metrics.get(metric).cloned().unwrap_or(Value::Null);
                    found.insert(format_instant(period.start()), value);
                }
            }
        }
        found
    }
}

/// One type fails for 325 hours: the last of them costs what the second did, and so does the last
/// day. When it works again, every hour and every day is filled.
#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_fails_for_weeks_affects_no_other() {
    let items = [medium("one", "2026-05-03T10:30"), medium("two", "2026-05-09T08:15")];
    let world = Failing::with(&items).await;
    let begin = at("2026-05-01T00:00");
    let first = world.run(Granularity::Hourly, begin + TimeDelta::hours(1)).await;
    assert!(first.is_healthy(), "{first:?}");
    world.fails.store(true, Ordering::SeqCst);
    let (mut hours, mut days) = (Vec::new(), Vec::new());
    for number in 1..=325 {
        let event = begin + TimeDelta::hours(number + 1);
        let report = world.run(Granularity::Hourly, event).await;
        assert_eq!(report.status, Status::Partial, "{report:?}");
        assert_eq!(report.left, usize::try_from(number).unwrap());
        hours.push((report.usage.requests, report.usage.read_units));
        if event.format("%H").to_string() == "00" {
            let report = world.run(Granularity::Daily, event + TimeDelta::minutes(5)).await;
            assert_eq!(report.left, days.len() + 1, "{report:?}");
            days.push((report.usage.requests, report.usage.read_units));
        }
    }
    let (second, last) = (hours[1], hours[324]);
    assert_eq!(last.0, second.0, "{hours:?}");
    assert!((last.1 - second.1).abs() <= 8.0, "{hours:?}");
    assert_eq!(days.len(), 13);
    let (third, last) = (days[2], days[12]);
    assert_eq!(last.0, third.0, "{days:?}");
    assert!((last.1 - third.1).abs() <= 8.0, "{days:?}");

    world.fails.store(false, Ordering::SeqCst);
    let event = begin + TimeDelta::hours(327);
    let report = world.run(Granularity::Hourly, event).await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    let end = Period::containing(Granularity::Hourly, event);
    let all: Vec<Period> =
        std::iter::successors(Some(Period::containing(Granularity::Hourly, begin)), |hour| {
            Some(hour.next())
        })
        .take_while(|hour| *hour < end)
        .collect();
    assert_eq!(all.len(), 327);
    let new = world.media(&all, "newMedia").await;
    let total = world.media(&all, "totalMedia").await;
    assert_eq!((new.len(), total.len()), (327, 327));
    for hour in &all {
        let start = format_instant(hour.start());
        let arrived = ["2026-05-03T10:00:00.000Z", "2026-05-09T08:00:00.000Z"];
        let expected = u32::from(arrived.contains(&start.as_str()));
        assert_eq!(new[&start], expected, "{start}");
        let expected = arrived.iter().filter(|at| **at <= start.as_str()).count();
        assert_eq!(total[&start], expected, "{start}");
    }
    // The days were due, so the same run has made them. The next daily run finds them complete.
    let daily = world.run(Granularity::Daily, at("2026-05-15T00:05")).await;
    assert_eq!(daily.status, Status::Complete, "{daily:?}");
    assert_eq!(daily.left, 0, "{daily:?}");
    let dates: Vec<Period> = (1..=14)
        .map(|date| Period::containing(Granularity::Daily, at(&format!("2026-05-{date:02}T00:00"))))
        .collect();
    let new: Vec<Value> = world.media(&dates, "newMedia").await.into_values().collect();
    assert_eq!(new, [0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0].map(|count| json!(count)));
}

/// One way to damage a state item.
struct Damage {
    granularity: Granularity,
    /// The attribute, or one in the map `runState`.
    attribute: &'static str,
    /// Instead of what is there; `null` removes it.
    value: Value,
}

fn damages() -> Vec<Damage> {
    let mut damages = Vec::new();
    let instants = || {
        [
            "yesterday",
            "0000-01-01T00:00:00.000Z",
            "9999-01-01T00:00:00.000Z",
            "2027-01-01T00:00:00.000Z",
        ]
        .map(|text| json!({"S": text}))
        .into_iter()
        .chain([json!({"N": "5"}), json!({"BOOL": true})])
    };
    for attribute in
        ["runState.begin", "runState.watermark", "runState.latest", "runState.recalculateFrom"]
    {
        for value in instants() {
            damages.push(Damage { granularity: Granularity::Hourly, attribute, value });
        }
    }
    for attribute in ["runState.watermark", "runState.latest"] {
        for value in instants() {
            damages.push(Damage { granularity: Granularity::Daily, attribute, value });
        }
    }
    let entries = [
        json!({"S": "2026-05-31T00:00:00.000Z#2026-06-01T00:00:00.000Z"}),
        json!({"SS": ["2026-05-31T00:00:00.000Z"]}),
        json!({"SS": ["9999-05-31T00:00:00.000Z#2026-06-01T00:00:00.000Z"]}),
        json!({"SS": ["2026-05-31T00:00:00.000Z#0000-06-01T00:00:00.000Z"]}),
    ];
    for attribute in ["staleMarks", "refreshes"] {
        for value in entries.clone() {
            damages.push(Damage { granularity: Granularity::Daily, attribute, value });
        }
    }
    for (granularity, attribute, value) in [
        (Granularity::Hourly, "runState", Value::Null),
        (Granularity::Hourly, "runState", json!({"S": "{}"})),
        (Granularity::Daily, "runState", json!({"L": []})),
        (Granularity::Hourly, "runState.completeByType", json!({"M": {"media": {"S": "soon"}}})),
        (Granularity::Hourly, "runState.attempt", json!({"N": "-1"})),
        (Granularity::Hourly, "runState.holes", json!({"L": [{"S": "12"}]})),
        (Granularity::Hourly, "markedBy", json!({"SS": ["somebody"]})),
        (Granularity::Hourly, "cacheVersion", json!({"S": "many"})),
        (Granularity::Daily, "unsettledUntil", json!({"S": "later"})),
        (Granularity::Hourly, "leaseExpiresAt", json!({"S": "soon"})),
        (Granularity::Hourly, "leaseTask", json!({"N": "1"})),
        (Granularity::Hourly, "leaseAttempt", json!({"S": "first"})),
    ] {
        damages.push(Damage { granularity, attribute, value });
    }
    damages
}

/// Damaged run state fails the run with a sentence that names the item and the attribute and says what
/// to do; nothing is counted or overwritten. Health and the API say the same.
#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_nothing_is_overwritten() {
    let snapshot = {
        let table = TestTable::with(Backend::Dynoxide, &[medium("one", "2026-05-31T22:10")]).await;
        run(&table, options(), Granularity::Hourly, "2026-05-31T23:00").await;
        run(&table, options(), Granularity::Hourly, "2026-06-01T00:00").await;
        run(&table, options(), Granularity::Daily, "2026-06-01T00:05").await;
        all_items(&table).await
    };
    let of_records = |items: Vec<Item>| -> BTreeMap<String, Item> {
        let key = |item: &Item| format!("{} {}", item["PK"]["S"], item["SK"]["S"]);
        let is_kept = |item: &Item| !item["PK"]["S"].as_str().unwrap().starts_with("ANALYTICS_RUN");
        items.into_iter().filter(is_kept).map(|item| (key(&item), item)).collect()
    };
    for Damage { granularity, attribute, value } in damages() {
        let what = format!("{granularity} {attribute} {value}");
        let mut items = snapshot.clone();
        let is_it = |item: &&mut Item| {
            item["PK"]["S"] == "ANALYTICS_STATE" && item["SK"]["S"] == granularity.name()
        };
        let item = items.iter_mut().find(is_it).unwrap();
        let into = match attribute.split_once('.') {
            Some((map, _)) => item.get_mut(map).unwrap()["M"].as_object_mut().unwrap(),
            None => item,
        };
        let name = attribute.split('.').next_back().unwrap();
        if value.is_null() {
            into.remove(name);
        } else {
            into.insert(name.to_owned(), value);
        }
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let (event, now) = match granularity {
            Granularity::Hourly => (at("2026-06-01T01:00"), "2026-06-01T01:01"),
            _ => (at("2026-06-02T00:05"), "2026-06-02T00:06"),
        };
        let named = |sentence: &str| {
            let begins =
                format!("run state item ANALYTICS_STATE / {granularity}: attribute `{attribute}");
            let is_named = sentence.contains(&begins);
            is_named && (sentence.contains("Delete the") || sentence.contains("Replace it"))
        };
        // Before the run, which replaces a lease without a holder.
        let health = health_sentences(&table, now).await;
        assert!(health.iter().any(|sentence| named(sentence)), "{what}: {health:?}");
        let is_of_future = what.contains("2027-");
        if !attribute.starts_with("lease") && !is_of_future {
            let query = format!(
                "{METRICS}?metricType=media&granularity={granularity}&startDate=2026-05-31\
                 &endDate=2026-06-01"
            );
            let answer = api_at(&table, now).get(query).await;
            assert_eq!(answer.status.as_u16(), 503, "{what}");
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(named(&message), "{what}: {message}");
        }

        let before = of_records(all_items(&table).await);
        let host = TestHost::at(event + TimeDelta::seconds(1));
        let policy = RetryPolicy::default();
        let engine = engine_with(&table.endpoint, &table, host, policy, options());
        let report = engine.run(granularity, event).await;
        assert_eq!(report.status, Status::Failed, "{what}: {report:?}");
        let why = report.period.types_failed.values().next().unwrap();
        assert!(named(why), "{what}: {why}");
        let mut after = of_records(all_items(&table).await);
        let mut before = before;
        // The failed run had the lease, or tried to.
        for items in [&mut before, &mut after] {
            let state = items.get_mut("\"ANALYTICS_STATE\" \"hourly\"").unwrap();
            state.retain(|name, _| !name.starts_with("lease"));
        }
        assert_eq!(before, after, "{what}");
    }
}

/// A state from before completeness was noted by type, and marks without an owner, are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_an_older_version_is_read() {
    let table = after_midnight().await;
    table.put(&[job("COMPLETED"), order()]).await;
    let mut poor = options();
    poor.budget.requests = 1;
    run(&table, poor, Granularity::Hourly, "2026-06-01T01:00").await;
    let mut states: Vec<Item> = all_items(&table)
        .await
        .into_iter()
        .filter(|item| item["PK"]["S"] == "ANALYTICS_STATE")
        .collect();
    for state in &mut states {
        state.remove("markedBy");
        state["runState"]["M"].as_object_mut().unwrap().remove("completeByType");
        if let Some(marks) = state.get_mut("staleMarks") {
            for mark in marks["SS"].as_array_mut().unwrap() {
                let old: Vec<&str> = mark.as_str().unwrap().splitn(3, '#').take(2).collect();
                *mark = json!(old.join("#"));
            }
        }
    }
    table.put(&states).await;
    assert_eq!(shown(&table, "2026-06-01T01:02").await, all(1, 0, 0, [true, true]));
    // An hourly run cannot know of them; that of the days can.
    let hourly = run(&table, options(), Granularity::Hourly, "2026-06-01T02:00").await;
    assert_eq!(hourly.usage.requests, 26, "{hourly:?}");
    run(&table, options(), Granularity::Daily, "2026-06-02T00:05").await;
    assert_eq!(shown(&table, "2026-06-02T00:07").await, all(1, 1, 10, [false, false]));
    for granularity in Granularity::ALL {
        assert!(state(&table, granularity).await.marks.is_empty(), "{granularity}");
    }
}
