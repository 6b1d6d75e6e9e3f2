//! Runs that are cut off: after every number of requests DynamoDB is gone for a run, and the next
//! run leaves the table right.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{RetryPolicy, WriteRequest},
    metrics::period::{Granularity, Period, format_instant},
    run::Report,
    settings::Options,
    store::{ledger::Status, record::record_key},
};
use sample_platform::Item;
use support::{
    database::{Backend, TestTable},
    engine_suite::platform,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    timeline::{
        ADDED, Truth, all_items, assert_records, assert_settled, at, day, engine_with, every_hour,
        from_to, hour, medium, observed_or_late, on_time, run_at, state, stored_types, watermark,
        without,
    },
};

/// A run that is cut off gives up soon.
const IMPATIENT: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    cap: Duration::from_millis(4),
    attempt_timeout: Duration::from_secs(5),
    deadline: Duration::from_millis(30),
};

/// A run that was cut off.
struct Killed {
    table: TestTable,
    /// After how many requests.
    after: usize,
    granularity: Granularity,
    event: DateTime<Utc>,
}

impl Killed {
    /// The same event again, when every lease of the interrupted run has expired, and still in time.
    async fn repeat(&self) -> Report {
        let now = self.event + TimeDelta::minutes(4);
        let report =
            run_at(&self.table, Options::default(), self.granularity, self.event, now).await;
        assert!(report.is_healthy(), "{}: {report:?}", self.when("repeated"));
        report
    }

    /// Another event, on time.
    async fn next(&self, granularity: Granularity, event: &str) -> Report {
        let report = on_time(&self.table, granularity, event).await;
        assert!(report.is_healthy(), "{}: {report:?}", self.when(event));
        report
    }

    /// A later event that has requests for what was left behind, not for the many hours of its own
    /// period, of which nothing was counted.
    async fn next_for_what_is_left(&self, granularity: Granularity, event: &str) {
        let mut options = Options::default();
        options.budget.requests = 60;
        let event = at(event);
        let now = event + TimeDelta::seconds(1);
        let report = run_at(&self.table, options, granularity, event, now).await;
        // Short of its own hours, and says so; nothing else is wrong.
        assert_eq!(report.status, Status::Partial, "{}: {report:?}", self.when("a later event"));
        let failures = report.periods().map(|period| period.types_failed.len()).sum::<usize>();
        assert_eq!((failures, report.problems.len()), (0, 0), "{report:?}");
        assert_eq!(report.left, 1, "{}: {report:?}", self.when("a later event"));
    }

    /// The hour after the one that was cut off is right. `deletedUsers` follows from the stored users of
    /// both hours.
    async fn assert_next_hour(&self, truth: &Truth, there: &[&str], next: Period, when: &str) {
        let mut wanted = truth.expected(next);
        if !there.contains(&"users") {
            wanted = without(wanted, &["deletedUsers"]);
        }
        assert_records(&self.table, next, &wanted, when).await;
        assert_settled(&self.table, Granularity::Hourly, next, when).await;
    }

    fn when(&self, what: &str) -> String {
        format!("cut off after {} requests, then {what}", self.after)
    }
}

/// Runs the event on a copy of `snapshot` cut off after each number of requests, and hands over
/// what is left, until a run gets through.
async fn cut_off_everywhere(
    snapshot: &[Item],
    granularity: Granularity,
    event: &str,
    check: impl AsyncFn(Killed),
) {
    let event = at(event);
    for after in 0.. {
        let table = TestTable::with(Backend::Dynoxide, snapshot).await;
        let proxy = FaultProxy::start(&table.endpoint, move |seen| {
            if seen.number >= after { Fault::Dropped } else { Fault::None }
        })
        .await;
        let host = TestHost::at(event + TimeDelta::seconds(1));
        let engine = engine_with(&proxy.endpoint, &table, host, IMPATIENT, Options::default());
        let report = engine.run(granularity, event).await;
        let is_whole = proxy.seen().len() <= after;
        // A run that lost a request says so.
        assert_eq!(report.is_healthy(), is_whole, "cut off after {after}: {report:?}");
        check(Killed { table, after, granularity, event }).await;
        if is_whole {
            println!("the {granularity} run of {event} takes {after} requests");
            return;
        }
    }
}

/// The hours that the platform of these tests has: the tests only look at a few of the last.
async fn table(items: &[Item]) -> TestTable {
    TestTable::with(Backend::Dynoxide, items).await
}

/// Hours that were all counted in time up to 01:00; the run of 02:00 is cut off.
async fn counted_until_two(items: &[Item]) -> Vec<Item> {
    let table = table(items).await;
    every_hour(&table, "2026-06-01T00:00", "2026-06-01T02:00").await;
    all_items(&table).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hourly_run_is_repeated() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let snapshot = counted_until_two(&items).await;
    cut_off_everywhere(&snapshot, Granularity::Hourly, "2026-06-01T03:00", async |killed| {
        killed.repeat().await;
        let when = killed.when("repeated");
        for at in from_to(hour("2026-06-01T00:00"), hour("2026-06-01T03:00")) {
            assert_records(&killed.table, at, &truth.expected(at), &when).await;
        }
        let own = hour("2026-06-01T02:00");
        assert_settled(&killed.table, Granularity::Hourly, own, &when).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hourly_run_is_followed_by_the_next() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let snapshot = counted_until_two(&items).await;
    cut_off_everywhere(&snapshot, Granularity::Hourly, "2026-06-01T03:00", async |killed| {
        let (own, next) = (hour("2026-06-01T02:00"), hour("2026-06-01T03:00"));
        let there = stored_types(&killed.table, own).await;
        killed.next(Granularity::Hourly, "2026-06-01T04:00").await;
        let when = killed.when("the next one");
        let wanted = observed_or_late(&truth.expected(own), &truth.late(own), &there);
        assert_records(&killed.table, own, &wanted, &when).await;
        killed.assert_next_hour(&truth, &there, next, &when).await;
    })
    .await;
}

/// The very first run: what it began is finished by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_is_followed_by_the_next() {
    let items = platform(12);
    let truth = Truth::of(&items);
    cut_off_everywhere(&items, Granularity::Hourly, "2026-06-01T03:00", async |killed| {
        let (own, next) = (hour("2026-06-01T02:00"), hour("2026-06-01T03:00"));
        let there = stored_types(&killed.table, own).await;
        killed.next(Granularity::Hourly, "2026-06-01T04:00").await;
        let when = killed.when("the next one");
        if killed.after > 0 {
            // How many were there before the first hour is unknown.
            let first = without(truth.expected(own), &["deletedUsers"]);
            let wanted = observed_or_late(&first, &truth.late(own), &there);
            assert_records(&killed.table, own, &wanted, &when).await;
        } else {
            assert!(stored_types(&killed.table, own).await.is_empty(), "{when}");
        }
        killed.assert_next_hour(&truth, &there, next, &when).await;
    })
    .await;
}

/// A run that fills five hours that were missed, some of them as its trailing hours.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_backfills() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let snapshot = {
        let table = table(&items).await;
        every_hour(&table, "2026-05-31T20:00", "2026-05-31T21:00").await;
        all_items(&table).await
    };
    let missed = from_to(hour("2026-05-31T21:00"), hour("2026-06-01T02:00"));
    let (own, next) = (hour("2026-06-01T02:00"), hour("2026-06-01T03:00"));
    for repeats in [true, false] {
        cut_off_everywhere(&snapshot, Granularity::Hourly, "2026-06-01T03:00", async |killed| {
            let mut there = stored_types(&killed.table, own).await;
            if repeats {
                killed.repeat().await;
                there = support::engine_suite::TYPES.to_vec();
            } else {
                killed.next(Granularity::Hourly, "2026-06-01T04:00").await;
            }
            let when = killed.when(if repeats { "repeated" } else { "the next one" });
            for missed in &missed {
                assert_records(&killed.table, *missed, &truth.late(*missed), &when).await;
            }
            // How many were there before is not known where the hour before was made late.
            let first = without(truth.expected(own), &["deletedUsers"]);
            let wanted = observed_or_late(&first, &truth.late(own), &there);
            assert_records(&killed.table, own, &wanted, &when).await;
            let mut last = own;
            if !repeats {
                let mut wanted = truth.expected(next);
                if !there.contains(&"users") {
                    wanted = without(wanted, &["deletedUsers"]);
                }
                assert_records(&killed.table, next, &wanted, &when).await;
                last = next;
            }
            assert_settled(&killed.table, Granularity::Hourly, last, &when).await;
        })
        .await;
    }
}

/// A run that finds late items in each of its trailing hours, the oldest of them in a day that was
/// made already: also the hour that the next run would not look at any more is right in the end, and
/// so is its day.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_trailing_hours_change() {
    let before = platform(12);
    let late_items = [
        medium("late-1", "2026-05-31T23:30"),
        medium("late-2", "2026-06-01T00:30"),
        medium("late-3", "2026-06-01T01:30"),
    ];
    let mut items = before.clone();
    items.extend(late_items.iter().cloned());
    let (then, truth) = (Truth::of(&before), Truth::of(&items));
    let snapshot = {
        let table = table(&before).await;
        every_hour(&table, "2026-05-31T00:00", "2026-06-01T00:00").await;
        on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
        every_hour(&table, "2026-06-01T01:00", "2026-06-01T02:00").await;
        table.put(&late_items).await;
        all_items(&table).await
    };
    // Only the flow gets what came late.
    let kept = |at: Period| {
        let mut kept = then.expected(at);
        let came = truth.expected(at)["media"]["newMedia"].clone();
        kept.get_mut("media").unwrap().insert("newMedia".to_owned(), came);
        kept
    };
    let (own, next) = (hour("2026-06-01T02:00"), hour("2026-06-01T03:00"));
    for repeats in [true, false] {
        cut_off_everywhere(&snapshot, Granularity::Hourly, "2026-06-01T03:00", async |killed| {
            let there = stored_types(&killed.table, own).await;
            let last = if repeats {
                killed.repeat().await;
                own
            } else {
                killed.next(Granularity::Hourly, "2026-06-01T04:00").await;
                next
            };
            let when = killed.when(if repeats { "repeated" } else { "the next one" });
            for at in from_to(hour("2026-05-31T22:00"), own) {
                assert_records(&killed.table, at, &kept(at), &when).await;
            }
            if repeats {
                assert_records(&killed.table, own, &truth.expected(own), &when).await;
            } else {
                let wanted = observed_or_late(&truth.expected(own), &truth.late(own), &there);
                assert_records(&killed.table, own, &wanted, &when).await;
            }
            assert_settled(&killed.table, Granularity::Hourly, last, &when).await;
            // The day that these hours had been made into is refreshed by the same run; only the marks
            // of a run that may still be writing stay.
            let changed = day("2026-05-31");
            assert_records(&killed.table, changed, &kept(changed), &when).await;
            let state_of_days = state(&killed.table, Granularity::Daily).await;
            assert_eq!(state_of_days.stale_since(Granularity::Daily), BTreeMap::new(), "{when}");
            if !repeats {
                assert!(state_of_days.marks.is_empty(), "{when}: {state_of_days:?}");
                let hours = state(&killed.table, Granularity::Hourly).await;
                assert!(hours.marked_by.is_empty(), "{when}: {hours:?}");
            }
            killed.next_for_what_is_left(Granularity::Daily, "2026-06-02T00:05").await;
            assert_records(&killed.table, changed, &kept(changed), &when).await;
            let state = state(&killed.table, Granularity::Daily).await;
            assert!(state.marks.is_empty(), "{when}: {state:?}");
        })
        .await;
    }
}

/// A daily run before the run of the last hour, with another record missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_daily_run_with_hours_missing() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let (hole, last) = (hour("2026-05-31T10:00"), hour("2026-05-31T23:00"));
    let snapshot = {
        let table = table(&items).await;
        every_hour(&table, "2026-05-31T00:00", "2026-05-31T23:00").await;
        let delete = WriteRequest::DeleteRequest { key: record_key("media", hole) };
        table.client().batch_write(&table.name, vec![delete]).await.unwrap();
        all_items(&table).await
    };
    let own = day("2026-05-31");
    for repeats in [true, false] {
        cut_off_everywhere(&snapshot, Granularity::Daily, "2026-06-01T00:05", async |killed| {
            let there = if repeats {
                killed.repeat().await;
                support::engine_suite::TYPES.to_vec()
            } else {
                let there = stored_types(&killed.table, last).await;
                killed.next(Granularity::Hourly, "2026-06-01T01:00").await;
                killed.next_for_what_is_left(Granularity::Daily, "2026-06-02T00:05").await;
                there
            };
            let when = killed.when(if repeats { "repeated" } else { "the next ones" });
            let of_hole = observed_or_late(&truth.late(hole), &truth.expected(hole), &["media"]);
            assert_records(&killed.table, hole, &of_hole, &when).await;
            let wanted = observed_or_late(&truth.expected(last), &truth.late(last), &there);
            assert_records(&killed.table, last, &wanted, &when).await;
            let wanted = observed_or_late(&truth.expected(own), &truth.late(own), &there);
            assert_records(&killed.table, own, &wanted, &when).await;
            let reached = watermark(&killed.table, Granularity::Daily).await;
            assert_eq!(reached, Some(format_instant(own.start())), "{when}");
        })
        .await;
    }
}

/// A daily run that refreshes the day before its own, which is marked as stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_daily_run_with_a_stale_mark() {
    let before = platform(12);
    let late_item = [medium("late", "2026-05-31T23:30")];
    let mut items = before.clone();
    items.extend(late_item.iter().cloned());
    let (then, truth) = (Truth::of(&before), Truth::of(&items));
    let snapshot = {
        let table = table(&before).await;
        every_hour(&table, "2026-05-31T00:00", "2026-06-01T00:00").await;
        on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
        table.put(&late_item).await;
        // Without requests for a refresh.
        let mut options = Options::default();
        options.budget.requests = 1;
        for hours in 1..=24 {
            let event = at("2026-06-01T00:00") + TimeDelta::hours(hours);
            let report = run_at(&table, options, Granularity::Hourly, event, event).await;
            assert!(report.is_healthy(), "{report:?}");
        }
        assert!(!state(&table, Granularity::Daily).await.marks.is_empty());
        all_items(&table).await
    };
    let (refreshed, own) = (day("2026-05-31"), day("2026-06-01"));
    let mut of_refreshed = then.expected(refreshed);
    let came = truth.expected(refreshed)["media"]["newMedia"].clone();
    of_refreshed.get_mut("media").unwrap().insert("newMedia".to_owned(), came);
    for repeats in [true, false] {
        cut_off_everywhere(&snapshot, Granularity::Daily, "2026-06-02T00:05", async |killed| {
            if repeats {
                killed.repeat().await;
            } else {
                killed.next_for_what_is_left(Granularity::Daily, "2026-06-03T00:05").await;
            }
            let when = killed.when(if repeats { "repeated" } else { "the next one" });
            assert_records(&killed.table, refreshed, &of_refreshed, &when).await;
            assert_records(&killed.table, own, &truth.expected(own), &when).await;
            let reached = watermark(&killed.table, Granularity::Daily).await;
            assert_eq!(reached, Some(format_instant(own.start())), "{when}");
            let state = state(&killed.table, Granularity::Daily).await;
            assert!(state.marks.is_empty(), "{when}: {state:?}");
        })
        .await;
    }
}

/// A table whose hours since `first` were made late, and whose days but the last.
async fn last_day_missing(items: &[Item], first: &str) -> Vec<Item> {
    let table = table(items).await;
    on_time(&table, Granularity::Hourly, first).await;
    on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
    on_time(&table, Granularity::Daily, "2026-05-31T00:05").await;
    assert!(stored_types(&table, day("2026-05-30")).await.len() > 5);
    assert!(stored_types(&table, day("2026-05-31")).await.is_empty());
    all_items(&table).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weekly_run_with_a_day_missing() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let snapshot = last_day_missing(&items, "2026-05-25T01:00").await;
    let own = Period::containing(Granularity::Weekly, at("2026-05-25T00:00"));
    // The last hour was observed, those before were not.
    let wanted = without(truth.expected(own), &ADDED);
    for repeats in [true, false] {
        cut_off_everywhere(&snapshot, Granularity::Weekly, "2026-06-01T00:10", async |killed| {
            if repeats {
                killed.repeat().await;
            } else {
                killed.next_for_what_is_left(Granularity::Weekly, "2026-06-08T00:10").await;
            }
            let when = killed.when(if repeats { "repeated" } else { "the next one" });
            assert_records(&killed.table, own, &wanted, &when).await;
            let reached = watermark(&killed.table, Granularity::Weekly).await;
            assert_eq!(reached, Some(format_instant(own.start())), "{when}");
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monthly_run_with_a_day_missing() {
    let items = platform(12);
    let truth = Truth::of(&items);
    let snapshot = last_day_missing(&items, "2026-05-03T01:00").await;
    let own = Period::containing(Granularity::Monthly, at("2026-05-01T00:00"));
    cut_off_everywhere(&snapshot, Granularity::Monthly, "2026-06-01T00:15", async |killed| {
        killed.repeat().await;
        let when = killed.when("repeated");
        // The first two days are before our time: what needs every day is absent.
        let short = ["new", "visitors", "mostEngaged", "successful", "failed", "average"];
        let mut wanted = without(truth.expected(own), &ADDED);
        for metrics in wanted.values_mut() {
            metrics.retain(|name, _| !short.iter().any(|short| name.starts_with(short)));
        }
        assert_records(&killed.table, own, &wanted, &when).await;
        assert_settled(&killed.table, Granularity::Monthly, own, &when).await;
        let progress = state(&killed.table, Granularity::Monthly).await.progress;
        assert_eq!(progress.latest, Some(format_instant(own.start())), "{when}");
    })
    .await;
}
