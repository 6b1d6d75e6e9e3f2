//! Two runs on one table: the holder of the lease writes, a former holder does not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::RetryPolicy,
    metrics::period::{Granularity, Period},
    run::Report,
    settings::Options,
    store::ledger::{Entry, Status},
};
use sample_platform::Item;
use support::{
    database::{Backend, TestTable},
    engine_suite::{held_lease, platform},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    timeline::{
        ADDED, Expected, all_items, assert_records, assert_settled, at, day, engine_with, entries,
        every_hour, expected, from_to, hour, late, medium, on_time, records, state, stored_types,
        without,
    },
};

const ROUNDS: u64 = 25;

/// Up to so many milliseconds before a request, from a seed: the rounds differ, a round does not.
fn jitter(seed: u64) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    let state = AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    move |_| {
        // xorshift64: https://www.jstatsoft.org/article/view/v008i14
        let mut next = state.load(Ordering::Relaxed);
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.store(next, Ordering::Relaxed);
        Fault::Slow(Duration::from_millis(next % 8))
    }
}

/// One of two runs: its event, and by how many seconds it comes later than the event's time.
#[derive(Clone, Copy)]
struct Event(Granularity, &'static str, i64);

/// Runs both events at once, each behind its own proxy.
async fn both(table: &TestTable, round: u64, events: [Event; 2]) -> [Report; 2] {
    let run = async |index: u64, Event(granularity, event, later): Event| {
        let proxy = FaultProxy::start(&table.endpoint, jitter(round * 2 + index)).await;
        let host = TestHost::at(at(event) + TimeDelta::seconds(later));
        let policy = RetryPolicy::default();
        let engine = engine_with(&proxy.endpoint, table, host, policy, Options::default());
        engine.run(granularity, at(event)).await
    };
    let (one, other) = tokio::join!(run(0, events[0]), run(1, events[1]));
    [one, other]
}

async fn snapshot(items: &[Item], prepare: impl AsyncFn(&TestTable)) -> Vec<Item> {
    let table = TestTable::with(Backend::Dynoxide, items).await;
    prepare(&table).await;
    all_items(&table).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hour_twice() {
    let items = platform(12);
    let snapshot = snapshot(&items, async |table| {
        every_hour(table, "2026-06-01T01:00", "2026-06-01T02:00").await;
    })
    .await;
    let own = hour("2026-06-01T02:00");
    for round in 0..ROUNDS {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let event = Event(Granularity::Hourly, "2026-06-01T03:00", 1);
        let reports = both(&table, round, [event, event]).await;
        let when = format!("round {round}: {reports:?}");
        let mut statuses = reports.each_ref().map(|report| report.status);
        statuses.sort_by_key(|status| *status == Status::Held);
        assert_eq!(statuses, [Status::Complete, Status::Held], "{when}");
        assert_records(&table, own, &expected(&items, own), &when).await;
        assert_settled(&table, Granularity::Hourly, own, &when).await;
        let ledger = entries(&table).await;
        assert!(ledger.iter().all(|entry| entry.status != Status::Failed), "{ledger:?}");
        assert_eq!(ledger.len(), 2 + 2, "{ledger:?}");
    }
}

/// Two hours at once, in either order: the later one may be first, and then the earlier one is counted
/// late.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_and_the_next() {
    let items = platform(12);
    let snapshot = snapshot(&items, async |table| {
        every_hour(table, "2026-06-01T01:00", "2026-06-01T01:00").await;
    })
    .await;
    let (first, second) = (hour("2026-06-01T01:00"), hour("2026-06-01T02:00"));
    // The second one waits a second before it looks again: few rounds, all of them at once.
    let rounds = (0..6).map(async |round| {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let events = [
            Event(Granularity::Hourly, "2026-06-01T02:00", 3601),
            Event(Granularity::Hourly, "2026-06-01T03:00", 1),
        ];
        let reports = both(&table, round, events).await;
        let when = format!("round {round}: {reports:?}");
        assert!(reports.iter().all(Report::is_healthy), "{when}");
        let in_order = records(&table, &[first]).await[&("business".to_owned(), first)]
            .metrics
            .contains_key("MRR");
        let (of_first, of_second) = if in_order {
            (expected(&items, first), expected(&items, second))
        } else {
            let unknown = without(expected(&items, second), &["deletedUsers"]);
            (late(&items, first), unknown)
        };
        assert_records(&table, first, &of_first, &when).await;
        assert_records(&table, second, &of_second, &when).await;
        assert_settled(&table, Granularity::Hourly, second, &when).await;
    });
    futures_util::future::join_all(rounds).await;
}

/// The last hour of a day and the day, which needs it.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_hour_and_its_day() {
    let items = platform(12);
    let snapshot = snapshot(&items, async |table| {
        every_hour(table, "2026-05-31T00:00", "2026-05-31T23:00").await;
    })
    .await;
    let (last, own) = (hour("2026-05-31T23:00"), day("2026-05-31"));
    let rounds = (0..6).map(async |round| {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let events = [
            Event(Granularity::Hourly, "2026-06-01T00:00", 301),
            Event(Granularity::Daily, "2026-06-01T00:05", 1),
        ];
        let reports = both(&table, round, events).await;
        let when = format!("round {round}: {reports:?}");
        assert!(reports.iter().all(Report::is_healthy), "{when}");
        assert_records(&table, last, &expected(&items, last), &when).await;
        assert_records(&table, own, &expected(&items, own), &when).await;
        assert_settled(&table, Granularity::Hourly, last, &when).await;
        assert_settled(&table, Granularity::Daily, own, &when).await;
    });
    futures_util::future::join_all(rounds).await;
}

/// The hours of two days, counted late but for the last, and no day made.
async fn two_days_of_hours(items: &[Item]) -> Vec<Item> {
    snapshot(items, async |table| {
        on_time(table, Granularity::Hourly, "2026-05-30T01:00").await;
        on_time(table, Granularity::Hourly, "2026-06-01T00:00").await;
    })
    .await
}

/// What the records of a period hold of which only the last hour was observed, if it was.
fn rolled_up(items: &[Item], period: Period, observes_last_hour: bool) -> Expected {
    if observes_last_hour { without(expected(items, period), &ADDED) } else { late(items, period) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_day_twice() {
    let items = platform(12);
    let snapshot = two_days_of_hours(&items).await;
    for round in 0..ROUNDS {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let event = Event(Granularity::Daily, "2026-06-01T00:05", 1);
        let reports = both(&table, round, [event, event]).await;
        let when = format!("round {round}: {reports:?}");
        assert!(reports.iter().all(Report::is_healthy), "{when}");
        for (date, is_told) in [("2026-05-30", false), ("2026-05-31", true)] {
            let period = day(date);
            assert_records(&table, period, &rolled_up(&items, period, is_told), &when).await;
        }
        assert_settled(&table, Granularity::Daily, day("2026-05-31"), &when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_and_its_week() {
    let items = platform(12);
    let snapshot = two_days_of_hours(&items).await;
    let week = Period::containing(Granularity::Weekly, at("2026-05-30T00:00"));
    // Five of its days are before our time: what needs all of them is absent.
    let short = ["new", "visitors", "mostEngaged", "successful", "failed", "average"];
    let mut of_week = rolled_up(&items, week, true);
    for metrics in of_week.values_mut() {
        metrics.retain(|name, _| !short.iter().any(|short| name.starts_with(short)));
    }
    for round in 0..ROUNDS {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let events = [
            Event(Granularity::Daily, "2026-06-01T00:05", 301),
            Event(Granularity::Weekly, "2026-06-01T00:10", 1),
        ];
        let reports = both(&table, round, events).await;
        let when = format!("round {round}: {reports:?}");
        assert!(reports.iter().all(Report::is_healthy), "{when}");
        let own = day("2026-05-31");
        assert_records(&table, own, &rolled_up(&items, own, true), &when).await;
        assert_records(&table, week, &of_week, &when).await;
        assert_settled(&table, Granularity::Weekly, week, &when).await;
    }
}

/// A day that makes its missing hours yields to the scheduled run of the last one, and is whole
/// all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_daily_run_yields_to_a_scheduled_hourly_run() {
    let items = platform(12);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    on_time(&table, Granularity::Hourly, "2026-05-31T01:00").await;
    let is_slow = Arc::new(AtomicBool::new(true));
    let reads = Arc::new(AtomicU64::new(0));
    let (slow, counter) = (is_slow.clone(), reads.clone());
    let proxy = FaultProxy::start(&table.endpoint, move |seen| {
        if seen.queries("MEDIA") && slow.load(Ordering::SeqCst) {
            counter.fetch_add(1, Ordering::SeqCst);
            return Fault::Slow(Duration::from_mins(1));
        }
        Fault::None
    })
    .await;
    let policy = RetryPolicy { attempt_timeout: Duration::from_mins(2), ..RetryPolicy::default() };
    let now = at("2026-06-01T00:05") + TimeDelta::seconds(1);
    let options = Options::default();
    let of_day = engine_with(&proxy.endpoint, &table, TestHost::at(now), policy, options);
    let of_hour = engine_with(&table.endpoint, &table, TestHost::at(now), policy, options);
    let hourly = async {
        while reads.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let begun = std::time::Instant::now();
        let report = of_hour.run(Granularity::Hourly, at("2026-06-01T00:00")).await;
        is_slow.store(false, Ordering::SeqCst);
        (report, begun.elapsed())
    };
    let (daily, (report, took)) =
        tokio::join!(of_day.run(Granularity::Daily, at("2026-06-01T00:05")), hourly);
    assert!(report.is_healthy(), "{report:?}");
    assert!(took < Duration::from_secs(15), "the scheduled run took {took:?}");
    assert!(daily.is_healthy(), "{daily:?}");
    let own = day("2026-05-31");
    assert_settled(&table, Granularity::Daily, own, "after it gave way").await;
    let found = records(&table, &[own]).await;
    let expected = expected(&items, own);
    for metric in ["newMedia", "totalMedia"] {
        let media = &found[&("media".to_owned(), own)].metrics;
        assert_eq!(media[metric], expected["media"][metric], "{metric}");
    }
}

/// A gate for the writes of records: they wait until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A rule that holds every write of a record back for as long as the gate is closed.
    fn rule(&self, hold: Duration) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
        let gate = self.clone();
        move |seen| {
            if writes_a_record(&seen.operation, &seen.body) && !gate.0.load(Ordering::SeqCst) {
                Fault::Slow(hold)
            } else {
                Fault::None
            }
        }
    }
}

fn writes_a_record(operation: &str, body: &serde_json::Value) -> bool {
    operation == "PutItem" && body["Item"]["EntityType"]["S"] == "Analytics"
}

/// A holder whose writes are held back until another run has taken its lease over, has found the
/// table changed, and has finished: what arrives late replaces nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_holder_replaces_nothing() {
    let before = platform(12);
    let snapshot = snapshot(&before, async |table| {
        every_hour(table, "2026-05-31T22:00", "2026-06-01T02:00").await;
        // The trailing hours change too, so that the holder writes over what is there.
        table
            .put(&[medium("late-1", "2026-06-01T00:30"), medium("late-2", "2026-06-01T01:30")])
            .await;
    })
    .await;
    let mut items = before.clone();
    let came = [
        medium("late-1", "2026-06-01T00:30"),
        medium("late-2", "2026-06-01T01:30"),
        medium("late-3", "2026-06-01T01:40"),
        medium("late-4", "2026-06-01T02:40"),
    ];
    items.extend(came.iter().cloned());
    let event = at("2026-06-01T03:00");
    let hours = from_to(hour("2026-06-01T00:00"), hour("2026-06-01T04:00"));
    for other_event in ["2026-06-01T03:00", "2026-06-01T04:00"] {
        let table = TestTable::with(Backend::Dynoxide, &snapshot).await;
        let gate = Gate::default();
        let proxy = FaultProxy::start(&table.endpoint, gate.rule(Duration::from_secs(3))).await;
        let started = event + TimeDelta::seconds(1);
        let policy = RetryPolicy::default();
        let late_engine =
            engine_with(&proxy.endpoint, &table, TestHost::at(started), policy, Options::default());
        let takes_over = async {
            while !proxy.seen().iter().any(|(operation, body)| writes_a_record(operation, body)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            gate.0.store(true, Ordering::SeqCst);
            table.put(&came).await;
            let now = at(other_event).max(started + TimeDelta::seconds(91));
            let host = TestHost::at(now);
            let other = engine_with(&table.endpoint, &table, host, policy, Options::default());
            let other = other.run(Granularity::Hourly, at(other_event)).await;
            assert!(other.is_healthy(), "{other:?}");
            let written = records(&table, &hours).await;
            (written, state(&table, Granularity::Hourly).await)
        };
        let (report, (written, left)) =
            tokio::join!(late_engine.run(Granularity::Hourly, event), takes_over);
        let superseded: usize = report.periods().map(|period| period.types_superseded.len()).sum();
        assert!(superseded > 0, "{report:?}");
        assert!(
            report.problems.iter().any(|problem| problem.contains("took over the lease")),
            "{report:?}"
        );
        let after = records(&table, &hours).await;
        for (key, record) in &written {
            assert_eq!(&after[key], record, "{other_event}: replaced by the late holder");
        }
        assert_eq!(after.len(), written.len(), "{other_event}");
        // It may say that answers are not to be kept for a while, as nothing it sends does harm.
        let now = state(&table, Granularity::Hourly).await;
        assert_eq!((now.progress, now.marks), (left.progress, left.marks));
        // And they are right.
        for at in &hours[..2] {
            let media = &after[&("media".to_owned(), *at)].metrics;
            assert_eq!(media["newMedia"], expected(&items, *at)["media"]["newMedia"], "{at:?}");
        }
        // The ledger has the run as failed, and then how it ended.
        let its_own = |entry: &Entry| entry.run_id == report.run_id;
        let ledger: Vec<_> = entries(&table).await.into_iter().filter(its_own).collect();
        let says = |entry: &Entry| !entry.problems.is_empty();
        assert!(!ledger.is_empty() && ledger.iter().all(says), "{ledger:?}");
    }
}

/// A run that waited for the lease counts what it finds when it has it: what a holder that began
/// later, and was interrupted, sends afterwards does not replace it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waited_for_the_lease_is_the_newer() {
    let items = platform(12);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let event = at("2026-06-01T03:00");
    let began = event + TimeDelta::seconds(1);
    // Another task has the lease, for four more seconds.
    let held = held_lease("2026-06-01T01:00:00.000Z", began + TimeDelta::seconds(4));
    table.put(&[held]).await;
    let clock = TestHost::at(began);
    let policy = RetryPolicy::default();
    let waiting = engine_with(&table.endpoint, &table, clock.clone(), policy, Options::default());
    let comes_in = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        table.put(&[medium("meanwhile", "2026-06-01T02:30")]).await;
        edge_analytics::host::Host::now(clock.as_ref())
    };
    let (report, changed) = tokio::join!(waiting.run(Granularity::Hourly, event), comes_in);
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let own = hour("2026-06-01T02:00");
    for record in records(&table, &[own]).await.values() {
        assert!(
            record.calculated_at > changed,
            "read after {changed}, but calculated at {}",
            record.calculated_at
        );
    }
}

/// A holder whose own clock says that its lease has run out sends no write at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_past_its_lease_does_not_write() {
    let items = platform(12);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let event = at("2026-06-01T03:00");
    let host = TestHost::at(event + TimeDelta::seconds(1));
    // While the partitions are read, the time of the lease passes.
    let clock = host.clone();
    let proxy = FaultProxy::start(&table.endpoint, move |seen| {
        if seen.queries("MEDIA") {
            clock.set(event + TimeDelta::seconds(92));
        }
        Fault::None
    })
    .await;
    let policy = RetryPolicy::default();
    let engine = engine_with(&proxy.endpoint, &table, host, policy, Options::default());
    let report = engine.run(Granularity::Hourly, event).await;
    assert_eq!(report.status, Status::Failed);
    let why = &report.period.types_failed["media"];
    assert!(why.contains("the lease expired"), "{report:?}");
    let writes =
        proxy.seen().iter().filter(|(operation, body)| writes_a_record(operation, body)).count();
    assert_eq!(writes, 0);
    assert!(stored_types(&table, hour("2026-06-01T02:00")).await.is_empty());
}

/// A request for the lease whose answer is lost is asked again: the run knows that it is its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_is_not_an_expired_lease() {
    let items = platform(12);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let event = at("2026-06-01T03:00");
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.number == 0 { Fault::AnswerLost } else { Fault::None }
    })
    .await;
    let host = TestHost::at(event + TimeDelta::seconds(1));
    let policy = RetryPolicy::default();
    let engine = engine_with(&proxy.endpoint, &table, host, policy, Options::default());
    let report = engine.run(Granularity::Hourly, event).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(report.attempt, 1);
    let ledger = entries(&table).await;
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!((ledger[0].attempt, ledger[0].status), (1, Status::Complete));
    let again = on_time(&table, Granularity::Hourly, "2026-06-01T03:00").await;
    assert_eq!(again.attempt, 2);
}
