//! Thirty-one days of a platform that changes all the time, with every run on time: what is stored
//! then is what was true at each period's end, by a model that knows the platform's whole history and
//! never looks at the table. It stays so after everything was recalculated twice. What was missed or
//! late is absent or marked; what is overwritten is what the table says today.
//!
//! Run with `cargo test --test truth -- --nocapture` to follow it.

// On wasm only tests/wasm.rs runs.
#![cfg(not(target_arch = "wasm32"))]

mod support;

#[path = "support/life.rs"]
mod life;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    iter::successors,
    sync::Arc,
};

use axum::body::Body;
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc, Weekday};
use edge_analytics::{
    api::{App, IsolateMemory, SessionMemory, router},
    catalogue::Catalogue,
    dynamodb::{Client, Query, WriteRequest, key},
    period::{Granularity, Period, format_instant},
    record::{Coverage, Record},
    run::{Engine, Status},
    settings::Settings,
};
use http::{Method, Request, StatusCode, header};
use life::{Change, Life};
use sample_platform::Item;
use serde_json::json;
use support::{
    api::{Api, variable, with_token},
    database::{Backend, TestTable, connection},
    engine_suite::TYPES,
    host::TestHost,
    provenance::{Counting, Marked, Marks, count_over, roll_up_marked},
    queue::TestQueue,
    realtime::Surroundings,
    reckoning::{METRICS, Past, USERS, Value, Values, count_hour, difference, metrics},
    timeline::at,
};

type Instant = DateTime<Utc>;

/// How long after an hour's end the last of the runs that count it again begins.
const LAST_LOOK: TimeDelta = TimeDelta::hours(3);

/// How long after its scheduled time a run begins.
const DELAY: TimeDelta = TimeDelta::seconds(1);

/// What every record has to be, by the index of its type and its period.
type Expected = BTreeMap<(usize, Granularity, Instant), (Marked, Option<Coverage>)>;

fn hour(start: Instant) -> Period {
    Period::containing(Granularity::Hourly, start)
}

fn hours(first: Instant, end: Instant) -> impl Iterator<Item = Instant> {
    successors(Some(first), |hour| Some(*hour + TimeDelta::hours(1)))
        .take_while(move |at| *at < end)
}

fn finer(period: Period) -> Vec<Period> {
    let finer = match period.granularity() {
        Granularity::Hourly => return Vec::new(),
        Granularity::Daily => Granularity::Hourly,
        Granularity::Weekly | Granularity::Monthly => Granularity::Daily,
    };
    successors(Some(Period::containing(finer, period.start())), |finer| Some(finer.next()))
        .take_while(|finer| finer.start() <= period.end())
        .collect()
}

// ---------------------------------------------------------------------------------------------
// The platform, its table, its runs

struct World {
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    table: TestTable,
    client: Client,
    host: Arc<TestHost>,
    engine: Engine,
    api: Api,
    queue: TestQueue,
}

impl World {
    /// The table as it is at `begin`.
    async fn new(changes: Vec<Change>, begin: Instant) -> Self {
        let mut changes = changes.into_iter().peekable();
        let mut items = BTreeMap::new();
        while let Some(change) = changes.next_if(|change| change.at <= begin) {
            match change.item {
                Some(item) => items.insert(change.key, item),
                None => items.remove(&change.key),
            };
        }
        let items: Vec<Item> = items.into_values().collect();
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = TestHost::at(begin);
        let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
        let client = Client::new(connection(&table.endpoint), host.clone());
        let engine = Engine::new(
            client.clone(),
            host.clone(),
            table.name.clone(),
            Catalogue::embedded().unwrap(),
        )
        .with_options(settings.options);
        let queue = TestQueue::default();
        let surroundings = Surroundings::default();
        let api = Api(router(App {
            client,
            settings,
            catalogue: Catalogue::embedded().unwrap(),
            host: host.clone(),
            sessions: SessionMemory::default(),
            queue: Arc::new(queue.clone()),
            snapshots: Arc::new(surroundings.snapshots.clone()),
            background: Arc::new(surroundings.background.clone()),
            cache: Arc::new(surroundings.cache.clone()),
            memory: IsolateMemory::default(),
        }));
        let client = table.client();
        Self { changes, table, client, host, engine, api, queue }
    }

    /// Lets time pass until `now`.
    async fn advance(&mut self, now: Instant) {
        let mut changed = BTreeMap::new();
        while let Some(change) = self.changes.next_if(|change| change.at <= now) {
            changed.insert(change.key, change.item);
        }
        let requests: Vec<WriteRequest> = changed
            .into_iter()
            .map(|((pk, sk), item)| match item {
                Some(item) => {
                    WriteRequest::PutRequest { item: serde_json::from_value(item.into()).unwrap() }
                }
                None => WriteRequest::DeleteRequest { key: key(pk, sk) },
            })
            .collect();
        self.client.batch_write(&self.table.name, requests).await.unwrap();
        self.host.set(now);
    }

    /// An event of this time is processed at `now`.
    async fn run(&mut self, granularity: Granularity, event: Instant, now: Instant) {
        self.advance(now).await;
        let report = self.engine.run(granularity, event).await;
        assert_eq!(report.status, Status::Complete, "{granularity} {event}: {report:?}");
    }

    /// The events of the coarser granularities after midnight, on time.
    async fn run_coarser(&mut self, midnight: Instant) {
        let mut due = vec![(Granularity::Daily, 5)];
        if midnight.weekday() == Weekday::Mon {
            due.push((Granularity::Weekly, 10));
        }
        if midnight.day() == 1 {
            due.push((Granularity::Monthly, 15));
        }
        for (granularity, minutes) in due {
            let event = midnight + TimeDelta::minutes(minutes);
            self.run(granularity, event, event + DELAY).await;
        }
    }

    /// Recalculates the periods that start from `first` to before `end`, to the end of the job.
    async fn recalculate(
        &self,
        granularity: Granularity,
        (first, end): (Instant, Instant),
        overwrite: bool,
    ) {
        let mut body = json!({
            "metricType": "all", "granularity": granularity.to_string(),
            "startDate": format_instant(first),
            "endDate": format_instant(end - TimeDelta::milliseconds(1)),
        });
        if overwrite {
            body["overwrite"] = json!(true);
        }
        let uri = "/api/admin/analytics/recalculate";
        let request = with_token(Request::builder().method(Method::POST).uri(uri))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.api.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let job = answer.json()["data"].clone();
        self.queue.deliver_all(&self.engine).await;
        let id = job["jobId"].as_str().unwrap();
        let job = self.api.get(format!("{uri}/{id}")).await.json()["data"].clone();
        assert_eq!(job["status"], "complete", "{job}");
        assert!(job["done"].as_u64().unwrap() > 0, "{job}");
    }

    /// Every record that is stored.
    async fn records(&self) -> HashMap<(usize, Granularity, Instant), Record> {
        let query = Query {
            table: self.table.name.clone(),
            index: Some("GSI1".to_owned()),
            partition_key: "GSI1PK".to_owned(),
            sort_key: "GSI1SK".to_owned(),
            partition: "ANALYTICS".to_owned(),
            range: None,
            projection: Vec::new(),
            descending: false,
        };
        let items = self.client.query(&query).await.unwrap();
        let record = |item| {
            let record = Record::from_item(item).unwrap();
            let metric_type = TYPES.iter().position(|name| *name == record.metric_type).unwrap();
            ((metric_type, record.period.granularity(), record.period.start()), record)
        };
        items.into_iter().map(record).collect()
    }

    /// Asserts that what is stored is what is expected, and nothing besides.
    async fn check(&self, expected: &Expected, when: &str) {
        let found = self.records().await;
        let keys: BTreeSet<_> = expected.keys().chain(found.keys()).copied().collect();
        let wrong: Vec<String> = keys
            .into_iter()
            .filter_map(|key| {
                let (metric_type, granularity, start) = key;
                let difference = compare(expected.get(&key), found.get(&key))?;
                Some(format!("{} of {granularity} {start}: {difference}", TYPES[metric_type]))
            })
            .collect();
        let (count, all) = (wrong.len(), expected.len());
        let said = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "{when}: {count} of {all} records are wrong:\n{said}");
        println!("{when}: {all} records are right");
    }
}

/// How a record differs from what it has to be, or nothing.
fn compare(
    expected: Option<&(Marked, Option<Coverage>)>,
    found: Option<&Record>,
) -> Option<String> {
    let (expected, found) = match (expected, found) {
        (None, None) => return None,
        (Some(_), None) => return Some("there is no record".to_owned()),
        (None, Some(found)) => return Some(format!("there is a record: {:?}", found.metrics)),
        (Some(expected), Some(found)) => (expected, found),
    };
    let (marked, coverage) = expected;
    let mut wrong: Vec<String> =
        difference(&found.metrics, &metrics(&marked.values)).into_iter().collect();
    for metric in METRICS.iter().copied().flatten() {
        let (is, ought) = (found.reconstructed.get(metric.name), marked.marks.get(metric.name));
        // A mean over nothing has no value that a mark could be about.
        if is != ought && (is.is_some() || found.metrics.contains_key(metric.name)) {
            wrong.push(format!("{} is marked {is:?}, expected {ought:?}", metric.name));
        }
    }
    if found.coverage != *coverage {
        wrong.push(format!("coverage is {:?}, expected {coverage:?}", found.coverage));
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

// ---------------------------------------------------------------------------------------------
// What was true

/// What was true of the hours from `begin` to before `end`, as far as runs look: the last one was
/// scheduled for `last_event`.
fn truth(life: &Life, begin: Instant, end: Instant, last_event: Instant) -> Expected {
    let mut expected = Expected::new();
    for start in hours(begin, end) {
        let before = (start > begin).then(|| users_at(life, start - TimeDelta::hours(1)));
        for (metric_type, values) in
            true_hour(life, start, before, last_event).into_iter().enumerate()
        {
            let marked = Marked { values, marks: Marks::new() };
            expected.insert((metric_type, Granularity::Hourly, start), (marked, None));
        }
    }
    expected
}

/// `totalUsers` at the end of the hour that begins at `start`.
fn users_at(life: &Life, start: Instant) -> i64 {
    let values = count_hour(life.at(hour(start).end()), start);
    let Value::Count(total) = values[USERS]["totalUsers"] else { unreachable!("a count") };
    total
}

/// What was true of the hour that begins at `start`.
fn true_hour(
    life: &Life,
    start: Instant,
    users_before: Option<i64>,
    last_event: Instant,
) -> [Values; TYPES.len()] {
    let end = hour(start).end();
    let look = (start + TimeDelta::hours(1) + LAST_LOOK).min(last_event) + DELAY;
    // Stocks, and what only this time can tell: as they were when the hour ended.
    let mut then = count_hour(life.at(end), start);
    // Flows: all that happened, also what was undone afterwards; under a condition, as it was in the
    // end.
    let happened = count_hour(life.happened(end, look), start);
    let settled = count_hour(life.at(look), start);
    if let Some(before) = users_before {
        let [Value::Count(total), Value::Count(new)] =
            ["totalUsers", "newUsers"].map(|name| then[USERS][name].clone())
        else {
            unreachable!("counts")
        };
        then[USERS].insert("deletedUsers", Value::Count((before + new - total).max(0)));
    }
    for (metric_type, metrics) in METRICS.iter().enumerate() {
        for metric in *metrics {
            let flow = match metric.past {
                Past::Survivors | Past::Forgotten => continue,
                Past::Flow => &happened,
                Past::ConditionalFlow => &settled,
            };
            // View counts are incremented in place and never fall.
            let flow = if metric.name == "newViews" { &settled } else { flow };
            then[metric_type].insert(metric.name, flow[metric_type][metric.name].clone());
        }
    }
    then
}

/// Asserts that the history puts the rules to the test: in many hours something comes late, and in
/// many something is undone before runs stop to count them.
fn assert_eventful(life: &Life, begin: Instant, end: Instant) {
    let (mut late, mut undone, mut ended) = (0, 0, 0);
    for start in hours(begin, end) {
        let hour_end = hour(start).end();
        let look = start + TimeDelta::hours(1) + LAST_LOOK + DELAY;
        let then = count_hour(life.at(hour_end), start);
        let happened = count_hour(life.happened(hour_end, look), start);
        let settled = count_hour(life.at(look), start);
        let differs = |past, one: &[Values], other: &[Values]| {
            let metrics = METRICS.iter().zip(one.iter().zip(other));
            let mut metrics = metrics
                .flat_map(|(metrics, values)| metrics.iter().map(move |metric| (metric, values)));
            metrics.any(|(metric, (one, other))| {
                metric.past == past && one[metric.name].size() != other[metric.name].size()
            })
        };
        late += usize::from(differs(Past::Flow, &then, &happened));
        undone += usize::from(differs(Past::Flow, &happened, &settled));
        ended += usize::from(differs(Past::ConditionalFlow, &then, &settled));
    }
    println!("late in {late} hours, undone in {undone}, ended or paid later in {ended}");
    assert!(late > 50 && undone > 50 && ended > 50, "{late}, {undone}, {ended}");
}

/// Adds every coarser period that `runs` has made by `now`: from hours, not from days.
fn add_coarser(expected: &mut Expected, begin: Instant, now: Instant) {
    for granularity in [Granularity::Daily, Granularity::Weekly, Granularity::Monthly] {
        let first = Period::containing(granularity, begin);
        for period in successors(Some(first), |period| Some(period.next())) {
            if period.end() > now {
                break;
            }
            for metric_type in 0..TYPES.len() {
                let of_hours: Vec<Option<&Marked>> = hours(period.start(), period.next().start())
                    .map(|hour| expected.get(&(metric_type, Granularity::Hourly, hour)))
                    .map(|hour| hour.map(|(marked, _)| marked))
                    .collect();
                let marked = roll_up_marked(metric_type, &of_hours);
                let finer = finer(period);
                let coverage = Coverage {
                    present: finer.iter().filter(|finer| finer.end() >= begin).count(),
                    expected: finer.len(),
                };
                expected
                    .insert((metric_type, granularity, period.start()), (marked, Some(coverage)));
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------

/// The month of May 2026, with one hour before it so that its first departures can be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_month_on_time_is_true_and_stays_so() {
    let (begin, end) = (at("2026-04-30T23:00"), at("2026-06-01T00:00"));
    let last_event = end + TimeDelta::hours(4);
    let later = end + TimeDelta::days(3);
    let life = Life::new(31, begin - TimeDelta::days(15), later + TimeDelta::days(1), 90);
    println!("{} things", life.len());
    assert_eventful(&life, begin, last_event);
    let mut world = World::new(life.changes(), begin).await;
    for start in hours(begin, last_event) {
        let event = start + TimeDelta::hours(1);
        world.run(Granularity::Hourly, event, event + DELAY).await;
        if event.hour() == 0 {
            world.run_coarser(event).await;
        }
        // The first days at once, so that a fault shows early.
        if event.hour() == 4 && event < begin + TimeDelta::days(3) {
            let mut expected = truth(&life, begin, event, event);
            add_coarser(&mut expected, begin, event);
            world.check(&expected, &format!("at {event}")).await;
        }
    }
    let mut expected = truth(&life, begin, last_event, last_event);
    add_coarser(&mut expected, begin, last_event);
    world.check(&expected, "after a month on time").await;

    // Three days later, when much of it has been deleted, hidden or deactivated.
    world.advance(later).await;
    for time in ["once", "twice"] {
        for granularity in Granularity::ALL {
            let first = Period::containing(granularity, begin).start();
            world.recalculate(granularity, (first, end), false).await;
        }
        world.check(&expected, &format!("recalculated {time}")).await;
    }

    // Overwritten: what the table says today, marked where it differs.
    world.recalculate(Granularity::Hourly, (begin, end), true).await;
    let mut overwritten = Expected::new();
    for ((metric_type, granularity, start), (before, _)) in &expected {
        if *granularity != Granularity::Hourly {
            continue;
        }
        let marked = if *start < end {
            let today = &count_hour(life.at(later), *start)[*metric_type];
            count_over(*metric_type, Some(before), today, Counting::Overwrite)
        } else {
            before.clone()
        };
        overwritten.insert((*metric_type, *granularity, *start), (marked, None));
    }
    add_coarser(&mut overwritten, begin, last_event);
    let marks = overwritten.values().filter(|(marked, _)| !marked.marks.is_empty()).count();
    assert!(marks > 500, "only {marks} records differ today: the comparison means little");
    world.check(&overwritten, "overwritten").await;
    // What is stored now stays as anything else does.
    world.recalculate(Granularity::Hourly, (begin, end), false).await;
    world.check(&overwritten, "recalculated after that").await;
}

/// A weekend in which hourly events are missing, late and out of order.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_or_late_is_absent_or_marked() {
    // A Friday; the week ends on 4 May.
    let begin = at("2026-05-01T00:00");
    let last = at("2026-05-04T04:00");
    let life = Life::new(4, begin - TimeDelta::days(5), last + TimeDelta::days(4), 40);
    let mut world = World::new(life.changes(), begin).await;
    let late = at("2026-05-02T20:00");
    let behind = at("2026-05-03T06:00");
    let missed: BTreeSet<Instant> = hours(at("2026-05-02T10:00"), at("2026-05-02T15:00"))
        .chain([at("2026-05-03T00:00"), behind])
        .collect();
    for start in hours(begin, last) {
        let event = start + TimeDelta::hours(1);
        if !missed.contains(&event) {
            let delay = if event == late { TimeDelta::minutes(50) } else { TimeDelta::zero() };
            world.run(Granularity::Hourly, event, event + delay + DELAY).await;
        }
        if event == behind + TimeDelta::hours(1) {
            world.run(Granularity::Hourly, behind, event + TimeDelta::minutes(3)).await;
        }
        if event.hour() == 0 {
            world.run_coarser(event).await;
        }
    }
    let mut expected = Expected::new();
    for start in hours(begin, last) {
        for (metric_type, marked) in looked_at(&life, &expected, begin, start) {
            expected.insert((metric_type, Granularity::Hourly, start), (marked, None));
        }
    }
    add_coarser(&mut expected, begin, last);
    assert_absent_and_marked(&expected);
    world.check(&expected, "with events missing, late and out of order").await;

    // Four days later a recalculation finds nothing that the runs did not.
    world.advance(last + TimeDelta::days(3)).await;
    world.recalculate(Granularity::Hourly, (begin, at("2026-05-04T00:00")), false).await;
    world.check(&expected, "and recalculated").await;
}

/// When each hour of that weekend was counted, and how: first by its own event on time and by the
/// three after it, unless one of these did not come when it should have.
fn looks(start: Instant) -> Vec<(Instant, Counting)> {
    use Counting::{BeforeItSettled, OnTime};
    let on_time = |event: &str| (at(event) + DELAY, OnTime);
    let later = |event: &str| (at(event) + DELAY, BeforeItSettled);
    let event = |hours: i64| start + TimeDelta::hours(1 + hours) + DELAY;
    let usual = || {
        let own = (event(0), OnTime);
        [own].into_iter().chain((1..=3).map(|hours| (event(hours), BeforeItSettled)))
    };
    // Those of the usual ones that came.
    let usual_until = |end: &str| usual().filter(|(look, _)| *look < at(end)).collect::<Vec<_>>();
    let usual_from = |end: &str| usual().filter(|(look, _)| *look > at(end)).collect::<Vec<_>>();
    let and = |mut looks: Vec<_>, more: Vec<(Instant, Counting)>| {
        looks.extend(more);
        looks.sort_unstable_by_key(|(look, _)| *look);
        looks
    };
    match format_instant(start)[..13].as_ref() {
        // The run at 15:00 is the first one after 09:00: it counts again what those between were to.
        "2026-05-02T06" | "2026-05-02T07" | "2026-05-02T08" => {
            and(usual_until("2026-05-02T09:30"), vec![later("2026-05-02T15:00")])
        }
        // It finds these missing.
        "2026-05-02T09" | "2026-05-02T10" => vec![later("2026-05-02T15:00")],
        "2026-05-02T11" | "2026-05-02T12" | "2026-05-02T13" => usual_from("2026-05-02T14:30"),
        // Their own event is late, or that of an hour by which they are counted again.
        "2026-05-02T16" | "2026-05-02T17" | "2026-05-02T18" => usual()
            .map(|(look, how)| {
                (
                    if look == at("2026-05-02T20:00") + DELAY {
                        look + TimeDelta::minutes(50)
                    } else {
                        look
                    },
                    how,
                )
            })
            .collect(),
        "2026-05-02T19" => and(usual_from("2026-05-02T20:30"), vec![later("2026-05-02T20:50")]),
        // The daily run counts this one on time.
        "2026-05-02T23" => and(usual_from("2026-05-03T00:30"), vec![on_time("2026-05-03T00:05")]),
        // The run at 01:00 counts again what that of midnight was to.
        "2026-05-02T20" | "2026-05-02T21" | "2026-05-02T22" => usual()
            .filter(|(look, _)| *look != at("2026-05-03T00:00") + DELAY)
            .chain((start == at("2026-05-02T20:00")).then(|| later("2026-05-03T01:00")))
            .collect(),
        // Its own event comes after the next hour's, which has found it missing.
        "2026-05-03T05" => {
            and(usual_from("2026-05-03T06:30"), vec![(at("2026-05-03T07:03"), BeforeItSettled)])
        }
        // That event counts these again too; the run at 07:00 counts again what that of 06:00 was to.
        "2026-05-03T02" => and(
            usual_until("2026-05-03T05:30"),
            vec![later("2026-05-03T07:00"), (at("2026-05-03T07:03"), BeforeItSettled)],
        ),
        "2026-05-03T03" | "2026-05-03T04" => and(
            usual().filter(|(look, _)| *look != at("2026-05-03T06:00") + DELAY).collect(),
            vec![(at("2026-05-03T07:03"), BeforeItSettled)],
        ),
        _ => usual().collect(),
    }
}

/// The records of an hour after all its countings, from what was true at each of them.
fn looked_at(
    life: &Life,
    expected: &Expected,
    begin: Instant,
    start: Instant,
) -> Vec<(usize, Marked)> {
    let last = at("2026-05-04T04:00") + DELAY;
    let mut stored: Vec<Option<Marked>> = vec![None; TYPES.len()];
    for (look, counting) in looks(start).into_iter().filter(|(look, _)| *look <= last) {
        let mut fresh = count_hour(life.at(look), start);
        let before = expected.get(&(USERS, Granularity::Hourly, start - TimeDelta::hours(1)));
        let before = before.filter(|(marked, _)| !marked.marks.contains_key("totalUsers"));
        if let Some((before, _)) = before.filter(|_| start > begin) {
            let number = |values: &Values, name: &str| match values[name] {
                Value::Count(count) => count,
                _ => unreachable!("a count"),
            };
            let left = number(&before.values, "totalUsers") + number(&fresh[USERS], "newUsers")
                - number(&fresh[USERS], "totalUsers");
            fresh[USERS].insert("deletedUsers", Value::Count(left.max(0)));
        }
        for (metric_type, fresh) in fresh.iter().enumerate() {
            let before = stored[metric_type].as_ref();
            stored[metric_type] = Some(count_over(metric_type, before, fresh, counting));
        }
    }
    stored.into_iter().map(Option::unwrap).enumerate().collect()
}

/// The expectation itself, in literal terms, for what matters most.
fn assert_absent_and_marked(expected: &Expected) {
    let hour = |name: &str, start: &str| {
        let metric_type = TYPES.iter().position(|each| *each == name).unwrap();
        &expected[&(metric_type, Granularity::Hourly, at(start))].0
    };
    let day = |date: &str| &expected[&(USERS, Granularity::Daily, at(&format!("{date}T00:00")))].0;
    for start in ["2026-05-02T09:00", "2026-05-02T13:00", "2026-05-02T19:00", "2026-05-03T05:00"] {
        let users = hour("users", start);
        let names =
            |values: &BTreeMap<&'static str, Value>| values.keys().copied().collect::<Vec<_>>();
        assert_eq!(names(&users.values), ["newUsers", "totalUsers", "visitors"], "{start}");
        let marks = users.marks.iter().map(|(name, mark)| (*name, format!("{mark:?}")));
        let marks: Vec<_> = marks.collect();
        let estimate = || "Estimate".to_owned();
        let ought = [
            ("newUsers", estimate()),
            ("totalUsers", estimate()),
            ("visitors", "LowerBound".to_owned()),
        ];
        assert_eq!(marks, ought, "{start}");
    }
    // The hour after a missed one is observed, but not who left in it.
    for start in ["2026-05-02T14:00", "2026-05-02T20:00"] {
        let users = hour("users", start);
        assert!(users.marks.is_empty() && users.values.contains_key("activeUsers"), "{start}");
        assert!(!users.values.contains_key("deletedUsers"), "{start}");
    }
    // What the daily run observed is as good as any.
    assert!(hour("users", "2026-05-02T23:00").marks.is_empty());
    assert!(hour("users", "2026-05-02T23:00").values.contains_key("deletedUsers"));
    assert!(!day("2026-05-02").values.contains_key("activeUsers"));
    let marks: Vec<_> = day("2026-05-02").marks.keys().copied().collect();
    assert_eq!(marks, ["newUsers", "visitors"]);
}

// ---------------------------------------------------------------------------------------------
// What comes later than the runs look

/// An item as it is from `shown` on.
fn put(shown: &str, (pk, sk): (&str, &str), item: &serde_json::Value) -> Change {
    let mut item = item.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({ "S": pk }));
    item.insert("SK".to_owned(), json!({ "S": sk }));
    Change { item: Some(item), ..delete(shown, (pk, sk)) }
}

fn delete(at_time: &str, (pk, sk): (&str, &str)) -> Change {
    Change { at: at(at_time), key: (pk.to_owned(), sk.to_owned()), item: None }
}

fn user(id: &str, created: &str, active: bool) -> serde_json::Value {
    json!({
        "EntityType": {"S": "User"}, "userId": {"S": id}, "isActive": {"BOOL": active},
        "GSI3PK": {"S": "USER_USERNAME"}, "GSI3SK": {"S": id}, "plan": {"S": "free"},
        "createdAt": {"S": format_instant(at(created))},
    })
}

fn job(created: &str, status: &str, seconds: Option<u32>) -> serde_json::Value {
    let created = format_instant(at(created));
    let mut job = json!({
        "EntityType": {"S": "I2VJob"}, "status": {"S": status}, "createdAt": {"S": created},
        "GSI3PK": {"S": format!("I2VJOB_STATUS#{status}")}, "GSI3SK": {"S": created},
    });
    if let Some(seconds) = seconds {
        job["executionTime"] = json!({ "N": seconds.to_string() });
    }
    job
}

fn order(status: &str) -> serde_json::Value {
    json!({
        "EntityType": {"S": "Order"}, "status": {"S": status}, "amount": {"S": "10.00"},
        "GSI2PK": {"S": format!("ORDERS_BY_STATUS#{status}")},
        "GSI2SK": {"S": "2026-05-05T09:00:00.000Z#order"},
        "createdAt": {"S": "2026-05-05T09:00:00.000Z"},
        "completedAt": {"S": "2026-05-05T10:50:00.000Z"},
    })
}

/// All that happens in one hour, from 10:00 to 11:00 on 5 May, and what becomes of it.
fn one_hour() -> Vec<Change> {
    let metadata = |id: &'static str| (id, "METADATA");
    let like = json!({
        "EntityType": {"S": "UserInteraction"}, "interactionType": {"S": "like"},
        "GSI3PK": {"S": "INTERACTION#like"}, "GSI3SK": {"S": "2026-05-05T10:40:00.000Z"},
        "targetType": {"S": "media"}, "targetId": {"S": "lake"},
        "createdAt": {"S": "2026-05-05T10:40:00.000Z"},
    });
    let like_key = ("USER#first", "INTERACTION#like#lake");
    let second = |active| user("second", "2026-05-05T10:10", active);
    vec![
        put("2026-05-01T10:00", metadata("USER#first"), &user("first", "2026-05-01T10:00", true)),
        put("2026-05-05T10:10", metadata("USER#second"), &second(true)),
        put("2026-05-05T10:20", metadata("I2VJOB#a"), &job("2026-05-05T10:20", "IN_QUEUE", None)),
        put("2026-05-05T10:30", metadata("I2VJOB#b"), &job("2026-05-05T10:30", "IN_QUEUE", None)),
        put("2026-05-05T10:40", like_key, &like),
        put("2026-05-05T10:45", metadata("I2VJOB#c"), &job("2026-05-05T10:45", "IN_QUEUE", None)),
        // While runs still look at the hour: a job ends and is deleted.
        put(
            "2026-05-05T11:10",
            metadata("I2VJOB#c"),
            &job("2026-05-05T10:45", "COMPLETED", Some(9)),
        ),
        delete("2026-05-05T12:30", metadata("I2VJOB#c")),
        // Afterwards, and before it settles.
        put("2026-05-05T15:00", metadata("ORDER#order"), &order("completed")),
        put(
            "2026-05-05T16:00",
            metadata("I2VJOB#a"),
            &job("2026-05-05T10:20", "COMPLETED", Some(40)),
        ),
        delete("2026-05-05T16:30", like_key),
        put("2026-05-05T18:00", metadata("USER#second"), &second(false)),
        // When it has settled.
        put(
            "2026-05-07T22:30",
            metadata("I2VJOB#b"),
            &job("2026-05-05T10:30", "COMPLETED", Some(60)),
        ),
        put("2026-05-08T08:00", metadata("USER#second"), &second(true)),
    ]
}

/// What comes later than the runs look is told by a recalculation as far as it can be: flows grow,
/// what was observed stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_than_runs_look_is_told_by_a_recalculation() {
    let start = at("2026-05-05T10:00");
    let mut world = World::new(one_hour(), at("2026-05-05T09:30")).await;
    for hours in [0, 1, 2, 3, 4, 5, 6, 7] {
        let event = start + TimeDelta::hours(hours);
        world.run(Granularity::Hourly, event, event + DELAY).await;
    }
    let names = [
        "totalUsers",
        "newUsers",
        "deletedUsers",
        "totalLikes",
        "newLikes",
        "totalGenerations",
        "newGenerations",
        "successfulGenerations",
        "averageGenerationTime",
        "totalRevenue",
        "newRevenue",
    ];
    let stored = async |world: &World| {
        let records = world.records().await;
        let (mut values, mut marks) = (serde_json::Map::new(), serde_json::Map::new());
        for metric_type in 0..TYPES.len() {
            let record = &records[&(metric_type, Granularity::Hourly, start)];
            values.extend(record.metrics.clone());
            for (name, mark) in &record.reconstructed {
                marks.insert(name.clone(), serde_json::to_value(mark).unwrap());
            }
        }
        values.retain(|name, _| names.contains(&name.as_str()));
        (json!(values), json!(marks))
    };
    let ran = json!({
        "totalUsers": 2, "newUsers": 1, "deletedUsers": 0, "totalLikes": 1, "newLikes": 1,
        "totalGenerations": 3, "newGenerations": 3, "successfulGenerations": 0,
        "totalRevenue": 0, "newRevenue": 0,
    });
    assert_eq!(stored(&world).await, (ran.clone(), json!({})), "what the runs have seen");

    // A day later, before the hour has settled: conditional flows are as they are now.
    let range = (start, start + TimeDelta::hours(1));
    world.advance(at("2026-05-06T12:00")).await;
    world.recalculate(Granularity::Hourly, range, false).await;
    let mut expected = ran;
    expected["newUsers"] = json!(0);
    expected["successfulGenerations"] = json!(1);
    expected["averageGenerationTime"] = json!(40);
    expected["newRevenue"] = json!(10);
    assert_eq!(stored(&world).await, (expected.clone(), json!({})), "before it has settled");

    // When it has settled, they only grow.
    world.advance(at("2026-05-08T12:00")).await;
    world.recalculate(Granularity::Hourly, range, false).await;
    expected["newUsers"] = json!(1);
    expected["successfulGenerations"] = json!(2);
    expected["averageGenerationTime"] = json!(50);
    assert_eq!(stored(&world).await, (expected.clone(), json!({})), "when it has settled");

    // Overwritten: what is left, marked where it is not what was stored.
    world.recalculate(Granularity::Hourly, range, true).await;
    for (name, value) in [
        ("totalLikes", 0),
        ("newLikes", 0),
        ("totalGenerations", 2),
        ("newGenerations", 2),
        ("totalRevenue", 10),
    ] {
        expected[name] = json!(value);
    }
    let marks = json!({
        "totalLikes": "lowerBound", "newLikes": "lowerBound", "mostEngaged": "estimate",
        "totalGenerations": "lowerBound", "newGenerations": "lowerBound",
        "totalRevenue": "estimate",
    });
    assert_eq!(stored(&world).await, (expected, marks), "overwritten");
}
