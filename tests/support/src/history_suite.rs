//! The whole life of a platform under scheduled runs that are missing, repeated, late, out of order
//! and failing: after every run each record that it touched, and at the end every record of all, has
//! to be what the model says.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Datelike, TimeDelta, TimeZone, Timelike, Utc, Weekday};
use edge_analytics::{
    dynamodb::{AttributeValue, Client, Query, Read, RetryPolicy, Usage},
    host::Host,
    metrics::{
        period::{Granularity, Period, format_instant},
        record::Record,
    },
    run::{Engine, Report},
    store::{ledger::Status, record::record_key},
};
use sample_platform::{Change, Counts, Item, Key as ItemKey, Random, history};

use super::{
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::TYPES,
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    model::{Expected, Harm, Key, Model, Run},
    oracle,
    reckoning::{Fact, count_hour, difference, metrics},
};

/// USD for a million read and a million write units.
const PRICES: [f64; 2] = [0.125, 0.625];

/// Deliveries are further apart than a lease of an interrupted run lasts.
const GAP: TimeDelta = TimeDelta::minutes(2);

/// What fails gives up soon; what is throttled now and then comes through.
const POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    cap: Duration::from_millis(3),
    attempt_timeout: Duration::from_secs(10),
    deadline: Duration::from_millis(250),
};

/// A partition that can be refused, and the types (by their index in [`TYPES`]) that then fail or
/// may fail.
const REFUSALS: [(&str, &[usize]); 8] = [
    // What plans bring in is read together with the users.
    ("USER_USERNAME", &[0, 5]),
    ("VISITOR", &[0]),
    ("MEDIA", &[1]),
    ("ALBUM", &[2]),
    ("INTERACTION#bookmark", &[3]),
    ("VIEW_COUNT#hourly", &[3]),
    ("I2VJOB_STATUS#COMPLETED", &[4]),
    ("ORDERS_BY_STATUS#completed", &[5]),
];

/// How many of 1,000 events fare badly, each in one way.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub missing: u64,
    pub late: u64,
    pub repeated: u64,
    pub killed: u64,
    pub refused: u64,
    pub throttled: u64,
    /// Spans of hours or days in which no event comes at all.
    pub outages: u64,
    /// The hourly runs after midnight, those that count hours of a day that has been made, are killed
    /// one request later each.
    pub killed_after_midnight: bool,
    /// No hourly event comes: what there is of the hours is left to the others.
    pub without_hourly: bool,
}

impl Trouble {
    /// No trouble at all.
    pub const NONE: Self = Self {
        missing: 0,
        late: 0,
        repeated: 0,
        killed: 0,
        refused: 0,
        throttled: 0,
        outages: 0,
        killed_after_midnight: false,
        without_hourly: false,
    };
}

/// A platform and what happens to the runs on it.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// Everything that is ever created, also in the time before the first event.
    pub counts: Counts,
    /// A full hour.
    pub first_event: DateTime<Utc>,
    /// Until then there is trouble.
    pub troubled_until: DateTime<Utc>,
    /// The last event; by then everything has to be backfilled.
    pub end: DateTime<Utc>,
    pub trouble: Trouble,
}

impl Scenario {
    /// Seventy days in which hours, days, weeks and months end, the last two on the same day.
    pub fn seventy_days() -> Self {
        let first_event = Utc.with_ymd_and_hms(2026, 3, 22, 18, 0, 0).unwrap();
        Self {
            seed: 70,
            counts: Counts {
                users: 230,
                media: 700,
                albums: 160,
                interactions: 1100,
                comments: 250,
                visitor_hours: 1000,
                orders: 170,
                jobs: 500,
            },
            first_event,
            troubled_until: first_event + TimeDelta::days(70),
            end: Utc.with_ymd_and_hms(2026, 6, 1, 0, 15, 0).unwrap(),
            trouble: Trouble {
                missing: 60,
                late: 30,
                repeated: 30,
                killed: 30,
                refused: 30,
                throttled: 20,
                outages: 5,
                ..Trouble::NONE
            },
        }
    }

    /// Nights on a busy platform in which runs die at every request they make.
    pub fn deadly_nights() -> Self {
        let first_event = Utc.with_ymd_and_hms(2026, 5, 16, 20, 0, 0).unwrap();
        let end = Utc.with_ymd_and_hms(2026, 6, 1, 0, 15, 0).unwrap();
        Self {
            seed: 16,
            counts: Counts {
                users: 100,
                media: 400,
                albums: 60,
                interactions: 700,
                comments: 100,
                visitor_hours: 700,
                orders: 200,
                jobs: 1500,
            },
            first_event,
            troubled_until: end - TimeDelta::hours(2),
            end,
            trouble: Trouble { killed_after_midnight: true, ..Trouble::NONE },
        }
    }

    /// Two weeks in which hourly events do not come and half of the daily ones neither.
    pub fn without_hourly_events() -> Self {
        let first_event = Utc.with_ymd_and_hms(2026, 5, 18, 7, 0, 0).unwrap();
        let end = Utc.with_ymd_and_hms(2026, 6, 1, 0, 15, 0).unwrap();
        Self {
            seed: 14,
            counts: Counts {
                users: 100,
                media: 200,
                albums: 60,
                interactions: 300,
                comments: 60,
                visitor_hours: 400,
                orders: 100,
                jobs: 300,
            },
            first_event,
            troubled_until: end - TimeDelta::minutes(15),
            end,
            trouble: Trouble { missing: 500, without_hourly: true, ..Trouble::NONE },
        }
    }
}

/// How an event fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// Everything after so many requests fails, in this way.
    Killed(i64, Fault),
    /// An index into [`REFUSALS`].
    Refused(usize),
    Throttled,
}

/// An event that reaches the Worker.
#[derive(Debug, Clone, Copy)]
struct Delivery {
    granularity: Granularity,
    scheduled: DateTime<Utc>,
    at: DateTime<Utc>,
    fate: Fate,
}

/// The events of the crons in `wrangler.toml` from `first` to `last`, in order.
fn events(first: DateTime<Utc>, last: DateTime<Utc>) -> Vec<(Granularity, DateTime<Utc>)> {
    let mut events = Vec::new();
    let mut hour = first;
    while hour <= last {
        events.push((Granularity::Hourly, hour));
        if hour.hour() == 0 {
            events.push((Granularity::Daily, hour + TimeDelta::minutes(5)));
            if hour.weekday() == Weekday::Mon {
                events.push((Granularity::Weekly, hour + TimeDelta::minutes(10)));
            }
            if hour.day() == 1 {
                events.push((Granularity::Monthly, hour + TimeDelta::minutes(15)));
            }
        }
        hour += TimeDelta::hours(1);
    }
    events.retain(|(_, at)| *at <= last);
    events
}

/// What becomes of the events: in the order in which they are delivered.
fn deliveries(scenario: &Scenario) -> Vec<Delivery> {
    let mut random = Random::new(scenario.seed, 100);
    let troubled = scenario.troubled_until - scenario.first_event;
    let outages: Vec<_> = (0..scenario.trouble.outages)
        .map(|_| {
            let from = scenario.first_event + random.span(troubled);
            let longest = random.weighted(&[(60, 6), (30, 30), (10, 60)]);
            (from, from + random.span(TimeDelta::hours(longest).min(troubled / 2)))
        })
        .collect();
    let mut deliveries = Vec::new();
    let mut nightly_requests = 0..;
    for (number, (granularity, scheduled)) in
        events(scenario.first_event, scenario.end).into_iter().enumerate()
    {
        let at = scheduled + TimeDelta::seconds(1) + random.span(TimeDelta::seconds(80));
        let mut deliver = |at, fate| {
            deliveries.push(Delivery { granularity, scheduled, at, fate });
        };
        // The first one says when our time begins.
        if number == 0 || scheduled >= scenario.troubled_until {
            deliver(at, Fate::Fine);
            continue;
        }
        if outages.iter().any(|(from, to)| (*from..=*to).contains(&scheduled)) {
            continue;
        }
        if scenario.trouble.without_hourly && granularity == Granularity::Hourly {
            continue;
        }
        let after_midnight =
            granularity == Granularity::Hourly && (1..=3).contains(&scheduled.hour());
        if scenario.trouble.killed_after_midnight && after_midnight {
            let requests = nightly_requests.next().unwrap();
            deliver(at, Fate::Killed(requests, Fault::AccessDenied));
            continue;
        }
        let Trouble { missing, late, repeated, killed, refused, throttled, .. } = scenario.trouble;
        let bad = missing + late + repeated + killed + refused + throttled;
        let fate = random.weighted(&[
            (missing, "missing"),
            (late, "late"),
            (repeated, "repeated"),
            (killed, "killed"),
            (refused, "refused"),
            (throttled, "throttled"),
            (1000_u64.saturating_sub(bad), "fine"),
        ]);
        let longest = match granularity {
            Granularity::Hourly => TimeDelta::hours(6),
            _ => TimeDelta::hours(40),
        };
        let later = at + TimeDelta::minutes(10) + random.span(longest);
        match fate {
            "missing" => {}
            "late" => deliver(later, Fate::Fine),
            "repeated" => {
                deliver(at, Fate::Fine);
                let again = random.pick(&[at + TimeDelta::minutes(3), later]);
                deliver(again, Fate::Fine);
            }
            "killed" => {
                let how = random.pick(&[Fault::AccessDenied, Fault::AccessDenied, Fault::Dropped]);
                let requests = random.below(45);
                deliver(at, Fate::Killed(i64::try_from(requests).unwrap(), how));
                if random.chance(50) {
                    deliver(at + TimeDelta::minutes(4), Fate::Fine);
                }
            }
            "refused" => deliver(at, Fate::Refused(random.index(REFUSALS.len()))),
            "throttled" => deliver(at, Fate::Throttled),
            _ => deliver(at, Fate::Fine),
        }
    }
    // What would come when the trouble is over does not.
    deliveries.retain(|delivery| {
        delivery.scheduled >= scenario.troubled_until || delivery.at < scenario.troubled_until
    });
    deliveries.sort_by_key(|delivery| delivery.at);
    for next in 1..deliveries.len() {
        deliveries[next].at = deliveries[next].at.max(deliveries[next - 1].at + GAP);
    }
    deliveries
}

/// What the proxy does at the moment.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Pass,
    Kill { left: i64, how: Fault },
    Refuse(&'static str),
    Throttle,
}

fn rule(mode: &Mutex<Mode>, seen: &Seen) -> Fault {
    match &mut *mode.lock().unwrap() {
        Mode::Kill { left, how } => {
            *left -= 1;
            if *left < 0 { *how } else { Fault::None }
        }
        Mode::Refuse(partition) if seen.queries(partition) => Fault::AccessDenied,
        Mode::Throttle if seen.number % 5 == 2 => Fault::Throttled,
        Mode::Pass | Mode::Refuse(_) | Mode::Throttle => Fault::None,
    }
}

/// The platform as it stands.
struct Platform {
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    items: BTreeMap<ItemKey, Item>,
    facts: BTreeMap<ItemKey, Fact>,
}

impl Platform {
    /// What changes until `now`: what is there then, by key.
    fn advance(&mut self, now: DateTime<Utc>) -> BTreeMap<ItemKey, Option<Item>> {
        let mut changed = BTreeMap::new();
        while let Some(change) = self.changes.next_if(|change| change.at <= now) {
            changed.insert(change.key, change.item);
        }
        for (key, item) in &changed {
            match item.as_ref().and_then(Fact::of) {
                Some(fact) => self.facts.insert(key.clone(), fact),
                None => self.facts.remove(key),
            };
            match item {
                Some(item) => self.items.insert(key.clone(), item.clone()),
                None => self.items.remove(key),
            };
        }
        changed
    }
}

/// What the runs of one granularity came to.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    runs: u64,
    requests: u64,
    read_units: f64,
    write_units: f64,
}

impl Spent {
    fn add(&mut self, usage: &Usage) {
        self.runs += 1;
        self.requests += usage.requests;
        self.read_units += usage.read_units;
        self.write_units += usage.write_units;
    }

    fn dollars(&self) -> f64 {
        (self.read_units * PRICES[0] + self.write_units * PRICES[1]) / 1e6
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} runs, {} requests, {:.1} read units, {:.1} write units, {:.4} USD",
            self.runs,
            self.requests,
            self.read_units,
            self.write_units,
            self.dollars()
        )
    }
}

/// The seventy days, the same on every DynamoDB.
pub async fn seventy_days_leave_nothing_wrong(backend: Backend) {
    play(backend, Scenario::seventy_days()).await;
}

/// A run is interrupted at any request while it changes hours of a stored day: the day
/// is refreshed.
pub async fn deadly_nights_leave_nothing_wrong(backend: Backend) {
    play(backend, Scenario::deadly_nights()).await;
}

/// Days that daily runs have to make from nothing.
pub async fn days_without_hourly_events_leave_nothing_wrong(backend: Backend) {
    play(backend, Scenario::without_hourly_events()).await;
}

/// A scenario under way.
struct Drive {
    scenario: Scenario,
    table: TestTable,
    client: Client,
    host: Arc<TestHost>,
    mode: Arc<Mutex<Mode>>,
    direct: Engine,
    through_proxy: Engine,
    platform: Platform,
    model: Model,
    spent: BTreeMap<Granularity, Spent>,
    fates: BTreeMap<&'static str, u64>,
    /// How many absent records had their reason in the ledger.
    explained: u64,
}

/// Plays a scenario on a DynamoDB and says in one line what the runs came to.
///
/// # Panics
///
/// When a record is not what it has to be.
pub async fn play(backend: Backend, scenario: Scenario) {
    // First of all, to reproduce a failure.
    println!("{scenario:?}");
    let before = (scenario.end - scenario.first_event).min(TimeDelta::days(20));
    let generated = history(
        &scenario.counts,
        scenario.seed,
        scenario.first_event - before,
        scenario.end + TimeDelta::hours(1),
    );
    let mut platform = Platform {
        changes: generated.into_iter().peekable(),
        items: BTreeMap::new(),
        facts: BTreeMap::new(),
    };
    platform.advance(scenario.first_event - TimeDelta::hours(1));
    let items: Vec<Item> = platform.items.values().cloned().collect();
    let table = TestTable::with(backend, &items).await;

    let host = TestHost::at(scenario.first_event);
    let mode = Arc::new(Mutex::new(Mode::Pass));
    let ruled = mode.clone();
    let proxy = FaultProxy::start(&table.endpoint, move |seen| rule(&ruled, seen)).await;
    let engine = |endpoint: &str, policy| {
        let client = Client::with_policy(connection(endpoint), host.clone(), policy);
        let catalogue = gallery();
        Engine::new(client, host.clone(), table.name.clone(), catalogue)
    };
    let direct = engine(&table.endpoint, RetryPolicy::default());
    let through_proxy = engine(&proxy.endpoint, POLICY);
    let client = table.client();
    let deliveries = deliveries(&scenario);
    let mut drive = Drive {
        scenario,
        table,
        client,
        host,
        mode,
        direct,
        through_proxy,
        platform,
        model: Model::default(),
        spent: BTreeMap::new(),
        fates: BTreeMap::new(),
        explained: 0,
    };
    for (number, delivery) in deliveries.iter().enumerate() {
        if delivery.scheduled == drive.scenario.troubled_until {
            drive.check_all("before the last catch-up").await;
        }
        drive.deliver(number, delivery).await;
    }
    drive.model.assert_whole();
    drive.check_all("at the end").await;
    drive.say(deliveries.len());
}

impl Drive {
    async fn deliver(&mut self, number: usize, delivery: &Delivery) {
        let changed = self.platform.advance(delivery.at);
        self.table.apply(&self.client, changed).await;
        self.host.set(delivery.at);
        let (mode, name) = match delivery.fate {
            Fate::Fine => (Mode::Pass, "fine"),
            Fate::Killed(left, how) => (Mode::Kill { left, how }, "killed"),
            Fate::Refused(which) => (Mode::Refuse(REFUSALS[which].0), "refused"),
            Fate::Throttled => (Mode::Throttle, "throttled"),
        };
        *self.fates.entry(name).or_default() += 1;
        *self.mode.lock().unwrap() = mode;
        let engine = if delivery.fate == Fate::Fine { &self.direct } else { &self.through_proxy };
        let report = engine.run(delivery.granularity, delivery.scheduled).await;
        *self.mode.lock().unwrap() = Mode::Pass;
        self.spent.entry(delivery.granularity).or_default().add(&report.usage);

        let context = format!("{number}: {delivery:?} of {:?}, {report:?}", self.scenario);
        let harm = match delivery.fate {
            Fate::Fine => {
                assert_eq!(report.status, Status::Complete, "{context}");
                Harm::None
            }
            Fate::Refused(which) => Harm::Types(REFUSALS[which].1.to_vec()),
            Fate::Throttled if report.status == Status::Complete => Harm::None,
            // It may have been over before its end came.
            Fate::Throttled | Fate::Killed(..) => Harm::Killed,
        };
        let period = Period::containing(delivery.granularity, delivery.scheduled).previous();
        let run = Run { period, begun: delivery.at, ended: self.host.now(), harm };
        if number.is_multiple_of(16) {
            self.compare_with_oracle(period.end());
        }
        // Each from what is found of the finer ones.
        let expected = self.model.hours(&run, &self.platform.facts.values());
        self.settle(&run, &expected, &context).await;
        let expected = self.model.days(&run);
        self.settle(&run, &expected, &context).await;
        let expected = self.model.weeks_and_months(&run);
        self.settle(&run, &expected, &context).await;
        self.model.finish(&run);
        if delivery.fate == Fate::Fine {
            // Whatever an earlier run left, one that comes through refreshes.
            let stale = self.model.left_stale();
            assert!(stale.is_empty(), "{stale:?} after {context}");
        }
        if let Harm::Types(types) = &run.harm {
            self.ask_for_reasons(&run, types, &report, &context).await;
        }
    }

    async fn settle(&mut self, run: &Run, expected: &[Expected], context: &str) {
        if expected.is_empty() {
            return;
        }
        let keys =
            expected.iter().map(|expected| record_key(TYPES[expected.key.0], expected.key.1));
        let items = self
            .client
            .batch_get(&self.table.name, keys.collect(), Read::Consistent)
            .await
            .unwrap();
        let found = by_key(items);
        for expected in expected {
            if let Err(why) = self.model.settle(expected, found.get(&expected.key), run) {
                panic!("{why}\nafter {context}");
            }
        }
    }

    /// The reckoning itself, now and then, against the slow and obvious computation.
    fn compare_with_oracle(&self, end: DateTime<Utc>) {
        let hour = Period::containing(Granularity::Hourly, end).start();
        let items: Vec<Item> = self.platform.items.values().cloned().collect();
        let expected = oracle::expected_hour(&items, hour, None);
        for (values, name) in count_hour(self.platform.facts.values(), hour).iter().zip(TYPES) {
            let difference = difference(&metrics(values), &expected[name]);
            assert_eq!(difference, None, "{name} of {hour}: the reckoning is wrong");
        }
    }

    /// What a refusal left absent has its reason in the report and in the ledger.
    async fn ask_for_reasons(
        &mut self,
        run: &Run,
        types: &[usize],
        report: &Report,
        context: &str,
    ) {
        for metric_type in types {
            if !self.model.is_absent((*metric_type, run.period)) {
                continue;
            }
            let name = TYPES[*metric_type];
            assert!(report.period.types_failed.contains_key(name), "{name}: {context}");
            assert!(
                reason_in_ledger(&self.client, &self.table.name, run.period, name).await,
                "no reason for the absent {name} in the ledger: {context}"
            );
            self.explained += 1;
        }
    }

    /// Every record that is stored, and no others.
    async fn check_all(&mut self, when: &str) {
        let found = by_key(self.table.records().await);
        let differences = self.model.differences(&found);
        assert!(
            differences.is_empty(),
            "{when}, {} of {} records are wrong in {:?}:\n{}",
            differences.len(),
            self.model.record_count(),
            self.scenario,
            differences.join("\n")
        );
        self.model.tally.compared += found.len() as u64;
    }

    fn say(&self, deliveries: usize) {
        let mut total = Spent::default();
        let mut each = Vec::new();
        for (granularity, spent) in &self.spent {
            each.push(format!("{granularity}: {spent}"));
            total.runs += spent.runs;
            total.requests += spent.requests;
            total.read_units += spent.read_units;
            total.write_units += spent.write_units;
        }
        println!(
            "seed {}: {} items at the end, {deliveries} runs {:?}; {total}; {}; {} records, {:?}, \
             {} absences explained by the ledger",
            self.scenario.seed,
            self.platform.items.len(),
            self.fates,
            each.join("; "),
            self.model.record_count(),
            self.model.tally,
            self.explained,
        );
    }
}

fn by_key(items: Vec<edge_analytics::dynamodb::Item>) -> HashMap<Key, Record> {
    items
        .into_iter()
        .map(|item| {
            let record = Record::from_item(item).unwrap();
            let metric_type = TYPES.iter().position(|name| *name == record.metric_type).unwrap();
            ((metric_type, record.period), record)
        })
        .collect()
}

/// Whether the ledger says why the record of `metric_type` in `period` is absent.
///
/// THE ONE PLACE that knows the ledger's layout: an entry covers the time from its `timestamp` to
/// its `endTimestamp`, and has the type in its map `typesFailed` or the status `failed`.
async fn reason_in_ledger(client: &Client, table: &str, period: Period, metric_type: &str) -> bool {
    let query = Query {
        table: table.to_owned(),
        index: None,
        partition_key: "PK".to_owned(),
        sort_key: "SK".to_owned(),
        partition: "ANALYTICS_RUN".to_owned(),
        range: None,
        projection: Vec::new(),
        descending: true,
    };
    let entries = client.query(&query).await.unwrap();
    let (first, last) = (format_instant(period.start()), format_instant(period.end()));
    let text = |value: Option<&AttributeValue>| match value {
        Some(AttributeValue::S(text)) => text.clone(),
        _ => String::new(),
    };
    entries.iter().any(|entry| {
        let from = text(entry.get("timestamp"));
        let to = text(entry.get("endTimestamp"));
        let names = match entry.get("typesFailed") {
            Some(AttributeValue::M(types)) => types.contains_key(metric_type),
            _ => false,
        };
        from <= last && first <= to && (names || text(entry.get("status")) == "failed")
    })
}
