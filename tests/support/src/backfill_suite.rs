//! What was missed, the same tests on every DynamoDB: hours, days and weeks that are filled later,
//! what the ledger says of it, and changes of retention.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, RetryPolicy},
    metrics::{
        maker::Maker,
        period::{Granularity, Period, format_instant},
        retention::Retention,
    },
    run::Report,
    settings::{Budget, Options},
    store::{
        ledger::{Entry, Status, Trigger},
        record::query_of_expiries,
    },
};
use sample_platform::Item;
use serde_json::{Value, json};

use super::{
    database::{Backend, TestTable},
    engine_suite::{TYPES, assert_same, platform},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    timeline::{
        ADDED, Expected, assert_records, assert_settled, at, day, engine_with, entries, every_hour,
        expected, from_to, hour, late, medium, observed_or_late, on_time, records, run_at, state,
        stored_types, without,
    },
};

/// Runs the event on time behind a proxy.
async fn through(
    table: &TestTable,
    options: Options,
    granularity: Granularity,
    event: &str,
    rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
) -> (Report, FaultProxy) {
    let proxy = FaultProxy::start(&table.endpoint, rule).await;
    let host = TestHost::at(at(event) + TimeDelta::seconds(1));
    let engine = engine_with(&proxy.endpoint, table, host, RetryPolicy::default(), options);
    (engine.run(granularity, at(event)).await, proxy)
}

/// How many requests of an operation the proxy has seen.
fn count(proxy: &FaultProxy, wanted: &str) -> usize {
    proxy.seen().iter().filter(|(operation, _)| operation == wanted).count()
}

/// The entries of one run, which must add up to what its report says, but for the last of them.
async fn entries_of(table: &TestTable, report: &Report) -> Vec<Entry> {
    let of_run = |entry: &Entry| entry.run_id == report.run_id;
    let entries: Vec<Entry> = entries(table).await.into_iter().filter(of_run).collect();
    let requests: u64 = entries.iter().map(|entry| entry.usage.requests).sum();
    assert_eq!(requests, report.usage.requests - 1, "{entries:?}\n{report:?}");
    let pages: u64 = entries.iter().map(|entry| entry.usage.pages).sum();
    assert_eq!(pages, report.usage.pages, "{entries:?}");
    let read: f64 = entries.iter().map(|entry| entry.usage.read_units).sum();
    assert!((read - report.usage.read_units).abs() < 1e-6, "{entries:?}\n{report:?}");
    entries
}

/// The records of a period of which only the last hour was observed.
fn with_last_hour_observed(items: &[Item], period: Period) -> Expected {
    without(expected(items, period), &ADDED)
}

/// Without what needs every finer period, some of which are before our time.
fn short(mut expected: Expected) -> Expected {
    let added = ["new", "visitors", "activeUsers", "deletedUsers", "mostEngaged"];
    let added = added.iter().chain(&["successful", "failed", "average"]);
    let added: Vec<&&str> = added.collect();
    for metrics in expected.values_mut() {
        metrics.retain(|name, _| !added.iter().any(|added| name.starts_with(**added)));
    }
    expected
}

/// Two hours in time, then nothing for two days.
async fn down_for_two_days(backend: Backend, items: &[Item]) -> TestTable {
    let table = TestTable::with(backend, items).await;
    every_hour(&table, "2026-05-29T22:00", "2026-05-29T23:00").await;
    table
}

/// The hours that were missed, up to the last one of May.
fn missed_hours() -> Vec<Period> {
    from_to(hour("2026-05-29T23:00"), hour("2026-05-31T23:00"))
}

/// After two days the next hourly run fills the hours, the next daily run the days, the next weekly
/// run its week; nothing is made from before the first start.
pub async fn two_days_are_backfilled(backend: Backend) {
    let items = platform(20);
    let table = down_for_two_days(backend, &items).await;
    let hourly = on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
    assert!(hourly.is_healthy() && hourly.left == 0, "{hourly:?}");
    let missed = missed_hours();
    assert_eq!(missed.len(), 48);
    for missed in &missed {
        assert_records(&table, *missed, &late(&items, *missed), "backfilled").await;
    }
    // The last of them as trailing hours, the others oldest first; then the days that were due.
    let caught_up: Vec<Period> = hourly.caught_up.iter().map(|report| report.period).collect();
    assert_eq!(caught_up[..45], missed[..45]);
    assert_eq!(caught_up[45..], [day("2026-05-29"), day("2026-05-30")]);
    assert_records(&table, day("2026-05-29"), &short(late(&items, day("2026-05-29"))), "").await;
    assert_records(&table, day("2026-05-30"), &late(&items, day("2026-05-30")), "").await;
    let last = hour("2026-05-31T23:00");
    let expected_records = without(expected(&items, last), &["deletedUsers"]);
    assert_records(&table, last, &expected_records, "the run's own hour").await;
    assert_settled(&table, Granularity::Hourly, last, "after the hourly run").await;
    assert!(stored_types(&table, hour("2026-05-29T20:00")).await.is_empty());
    let ledger = entries_of(&table, &hourly).await;
    let caught_up: usize = ledger
        .iter()
        .filter(|entry| entry.trigger == Trigger::CatchUp)
        .map(|entry| entry.periods)
        .sum();
    assert_eq!((ledger.len(), caught_up), (3, 45 + 2), "{ledger:?}");
    let daily = state(&table, Granularity::Daily).await;
    assert!(daily.marks.is_empty() && daily.refreshes.is_empty(), "{daily:?}");
    assert!(state(&table, Granularity::Hourly).await.marked_by.is_empty());

    let daily = on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
    assert!(daily.is_healthy() && daily.left == 0, "{daily:?}");
    let days: Vec<&str> = daily.caught_up.iter().map(|report| &report.timestamp[..10]).collect();
    assert_eq!(days, ["2026-05-29", "2026-05-30"]);
    assert_records(&table, day("2026-05-29"), &short(late(&items, day("2026-05-29"))), "").await;
    assert_records(&table, day("2026-05-30"), &late(&items, day("2026-05-30")), "").await;
    assert_records(
        &table,
        day("2026-05-31"),
        &with_last_hour_observed(&items, day("2026-05-31")),
        "",
    )
    .await;
    assert_settled(&table, Granularity::Daily, day("2026-05-31"), "after the daily run").await;
    assert_eq!(entries_of(&table, &daily).await.len(), 3);

    let weekly = on_time(&table, Granularity::Weekly, "2026-06-01T00:10").await;
    assert!(weekly.is_healthy() && weekly.left == 0, "{weekly:?}");
    let week = Period::containing(Granularity::Weekly, at("2026-05-29T00:00"));
    assert_records(&table, week, &short(expected(&items, week)), "").await;
    assert_eq!(entries_of(&table, &weekly).await.len(), 1);
}

/// A weekly run that has to make the days and their hours enters each once.
pub async fn an_empty_week_is_rolled_up(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-05-25T01:00", "2026-05-25T01:00").await;
    let weekly = on_time(&table, Granularity::Weekly, "2026-06-01T00:10").await;
    assert!(weekly.is_healthy() && weekly.left == 0, "{weekly:?}");
    let week = Period::containing(Granularity::Weekly, at("2026-05-29T00:00"));
    // Ten minutes and a second after the week's last hour nothing is observed any more.
    assert_records(&table, week, &late(&items, week), "").await;
    let ledger = entries_of(&table, &weekly).await;
    let of = |name: &str| ledger.iter().filter(|entry| entry.granularity == name).count();
    assert_eq!((of("hourly"), of("daily"), of("weekly")), (7, 7, 1), "{ledger:?}");
}

/// With a small budget a run fills a part, says what is left, and the next ones go on.
pub async fn a_small_budget_is_kept(backend: Backend) {
    let items = platform(12);
    let table = down_for_two_days(backend, &items).await;
    let mut options = Options::default();
    options.budget = Budget { requests: 120, ..options.budget };
    let (event, missed) = (at("2026-06-01T00:00"), missed_hours());
    let mut left = missed.len();
    let mut runs = 0;
    while left > 0 {
        runs += 1;
        assert!(runs < 20, "{left} are left after {runs} runs");
        let now = event + TimeDelta::minutes(runs);
        let report = run_at(&table, options, Granularity::Hourly, event, now).await;
        assert!(report.is_healthy(), "{report:?}");
        assert_eq!(i64::from(report.attempt), runs);
        // A piece that was begun is finished; the lease and the ledger come on top.
        assert!(report.usage.requests <= 120 + 12, "{report:?}");
        entries_of(&table, &report).await;
        let there = records(&table, &missed).await;
        let is_missing = |hour: &&Period| {
            TYPES.iter().any(|name| !there.contains_key(&((*name).to_owned(), **hour)))
        };
        let missing: Vec<&Period> = missed.iter().filter(is_missing).collect();
        assert_eq!(report.left, missing.len(), "{report:?}");
        assert!(report.left < left, "no progress: {report:?}");
        let state = state(&table, Granularity::Hourly).await;
        if let Some(first) = missing.first() {
            let before = Some(format_instant(first.previous().start()));
            assert_eq!(state.progress.watermark, before);
        }
        left = report.left;
    }
    assert!(runs > 2, "{runs} runs");
    for missed in &missed {
        assert_records(&table, *missed, &late(&items, *missed), "backfilled").await;
    }
    assert_settled(&table, Granularity::Hourly, hour("2026-05-31T23:00"), "in the end").await;

    // The days likewise, down to one a run.
    options.budget.requests = 1;
    let event = at("2026-06-01T00:05");
    for (run, left) in [(1, 2), (2, 2)] {
        let now = event + TimeDelta::minutes(run);
        let report = run_at(&table, options, Granularity::Daily, event, now).await;
        assert_eq!(report.left, left, "{report:?}");
    }
    options.budget.requests = 1000;
    let now = event + TimeDelta::minutes(5);
    let report = run_at(&table, options, Granularity::Daily, event, now).await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    assert_eq!(report.attempt, 3);
}

/// A type that cannot be read for hours leaves holes of that type alone; they heal when it can.
pub async fn a_failed_type_is_recomputed_later(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-05-31T01:00", "2026-05-31T02:00").await;
    let fails = |seen: &Seen| if seen.queries("MEDIA") { Fault::AccessDenied } else { Fault::None };
    let failing = from_to(hour("2026-05-31T02:00"), hour("2026-05-31T12:00"));
    let mut requests = Vec::new();
    for own in &failing {
        let event = own.next().start().format("%Y-%m-%dT%H:%M").to_string();
        let (report, _) =
            through(&table, Options::default(), Granularity::Hourly, &event, fails).await;
        assert_eq!(report.status, Status::Partial, "{report:?}");
        let failed: Vec<&str> = report.period.types_failed.keys().map(String::as_str).collect();
        assert_eq!(failed, ["media"]);
        requests.push(report.usage.requests);
        let entry = entries_of(&table, &report)
            .await
            .into_iter()
            .find(|entry| entry.trigger == Trigger::Cron);
        let entry = entry.unwrap();
        assert_eq!(entry.status, Status::Partial);
        assert!(entry.types_failed["media"].contains("AccessDenied"), "{entry:?}");
        let known = state(&table, Granularity::Hourly).await.progress;
        assert_eq!(known.watermark.as_deref(), Some("2026-05-31T01:00:00.000Z"));
        assert!(known.failing_types["media"].contains("AccessDenied"), "{known:?}");
    }
    // What fails is not asked for again for older hours, however many there are.
    assert_eq!(requests[9], requests[1], "{requests:?}");
    for own in &failing {
        let there = stored_types(&table, *own).await;
        assert_eq!(there.len(), TYPES.len() - 1, "{there:?}");
        assert!(!there.contains(&"media"));
    }
    let (report, proxy) =
        through(&table, Options::default(), Granularity::Hourly, "2026-05-31T13:00", |_| {
            Fault::None
        })
        .await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    // The sixteen partitions of a run, and the media once more for the older holes.
    assert_eq!(count(&proxy, "Query"), 16 + 1);
    for own in &failing {
        let healed = observed_or_late(&late(&items, *own), &expected(&items, *own), &["media"]);
        assert_records(&table, *own, &healed, "healed").await;
    }
    assert_settled(&table, Granularity::Hourly, hour("2026-05-31T12:00"), "healed").await;
    // What was owed since the type failed first is counted again by the run after that, once.
    let trailing = |hours: &[u32]| -> Vec<String> {
        hours.iter().map(|hour| format!("2026-05-31T{hour:02}:00:00.000Z")).collect()
    };
    for (event, expected) in [
        ("2026-05-31T14:00", trailing(&[12, 11, 10, 1, 0])),
        ("2026-05-31T15:00", trailing(&[13, 12, 11])),
    ] {
        let report = on_time(&table, Granularity::Hourly, event).await;
        let found: Vec<String> =
            report.recalculated.iter().map(|period| period.timestamp.clone()).collect();
        assert_eq!(found, expected, "{event}");
    }
}

/// A type that cannot be read keeps no other type from being backfilled, however much was missed.
pub async fn a_failing_type_delays_no_other(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-05-28T01:00", "2026-05-28T01:00").await;
    let event = "2026-06-01T00:00";
    let (report, proxy) = through(&table, Options::default(), Granularity::Hourly, event, |seen| {
        if seen.queries("MEDIA") { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let missed = from_to(hour("2026-05-28T01:00"), hour("2026-05-31T23:00"));
    assert_eq!(report.left, missed.len() + 1, "{report:?}");
    let there = records(&table, &missed).await;
    for missed in &missed {
        for name in TYPES {
            let is_there = there.contains_key(&(name.to_owned(), *missed));
            assert_eq!(is_there, name != "media", "{name} of {missed:?}");
        }
    }
    // Once for the run's own hours.
    assert_eq!(proxy.seen().iter().filter(|(_, body)| is_of_media(body)).count(), 1);
    let known = state(&table, Granularity::Hourly).await.progress;
    assert_eq!(known.watermark.as_deref(), Some("2026-05-28T00:00:00.000Z"));
    entries_of(&table, &report).await;
}

/// A day that cannot be completed is tried again by every daily run, and costs no more the longer it
/// lasts than that.
pub async fn a_day_that_fails_is_retried(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-05-25T01:00", "2026-05-25T01:00").await;
    let fails = |seen: &Seen| if seen.queries("MEDIA") { Fault::AccessDenied } else { Fault::None };
    let mut asked = Vec::new();
    for date in 26..=31 {
        let event = format!("2026-05-{date}T00:05");
        let (report, proxy) =
            through(&table, Options::default(), Granularity::Daily, &event, fails).await;
        assert_eq!(report.left, date - 25, "{report:?}");
        asked.push(proxy.seen().iter().filter(|(_, body)| is_of_media(body)).count());
        entries_of(&table, &report).await;
    }
    assert!(asked.iter().all(|asked| *asked <= 2), "{asked:?}");
    let report = on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    for date in 25..=30 {
        let period = day(&format!("2026-05-{date}"));
        // Media were counted late, the others by the event after the day.
        let of_day = observed_or_late(
            &late(&items, period),
            &with_last_hour_observed(&items, period),
            &["media"],
        );
        assert_records(&table, period, &of_day, "healed").await;
    }
}

/// A day whose hours are past retention is counted once, for the types that it lacks: what is there
/// stays as it was made, however long another type fails.
pub async fn hours_past_their_retention_are_not_recomputed(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    let mut options = Options::default();
    options.retention.hourly = 2;
    every_hour(&table, "2026-05-25T01:00", "2026-05-25T01:00").await;
    let fails = |seen: &Seen| if seen.queries("MEDIA") { Fault::AccessDenied } else { Fault::None };
    let first = day("2026-05-25");
    let of_first = ("albums".to_owned(), first);
    let mut made = None;
    for date in 26..=31 {
        let event = format!("2026-05-{date}T00:05");
        let (report, proxy) = through(&table, options, Granularity::Daily, &event, fails).await;
        assert_eq!(report.left, date - 25, "{report:?}");
        let asked = proxy.seen().iter().filter(|(_, body)| is_of_media(body)).count();
        assert!(asked <= 2, "{asked} on {date}");
        let albums = records(&table, &[first]).await[&of_first].clone();
        let before = made.replace(albums.clone());
        assert!(before.is_none_or(|before| before == albums), "{albums:?}");
    }
    let now = at("2026-06-01T00:06");
    let report = run_at(&table, options, Granularity::Daily, at("2026-06-01T00:05"), now).await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    for date in 25..=30 {
        let period = day(&format!("2026-05-{date}"));
        let media = &records(&table, &[period]).await[&("media".to_owned(), period)];
        assert_same(&media.metrics, &late(&items, period)["media"], &format!("media of {date}"));
        // Of the last day all hours are within retention.
        let maker = if date < 30 { Maker::Items } else { Maker::Rollup };
        assert_eq!(media.made_by, maker.into(), "media of {date}");
    }
    assert_eq!(Some(&records(&table, &[first]).await[&of_first]), made.as_ref());
}

/// With no more requests than the Workers free plan has, a daily run makes as many of its hours as
/// it can, and not one request more.
pub async fn the_fewest_requests_suffice_for_a_day(backend: Backend) {
    let items = platform(12);
    let table = down_for_two_days(backend, &items).await;
    let mut options = Options::default();
    options.budget.requests = 45;
    let event = at("2026-05-31T00:05");
    let mut there = 0;
    for run in 1..=3 {
        let now = event + TimeDelta::minutes(run);
        let report = run_at(&table, options, Granularity::Daily, event, now).await;
        assert!(report.usage.requests <= 50, "{report:?}");
        assert!(report.problems.is_empty(), "{report:?}");
        let hours = records(&table, &missed_hours()).await.len() / TYPES.len();
        assert!(hours > there, "run {run}: {report:?}");
        there = hours;
    }
}

fn is_of_media(body: &Value) -> bool {
    body["ExpressionAttributeValues"][":partition"]["S"] == "MEDIA"
}

/// An hour whose event comes after the next one's is counted late; a repeated event changes nothing.
pub async fn events_out_of_order(backend: Backend) {
    let items = platform(20);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-06-01T00:00", "2026-06-01T00:00").await;
    let (first, second) = (hour("2026-06-01T00:00"), hour("2026-06-01T01:00"));
    let report = on_time(&table, Granularity::Hourly, "2026-06-01T02:00").await;
    assert!(report.is_healthy(), "{report:?}");
    let now = at("2026-06-01T02:01");
    let options = Options::default();
    let report = run_at(&table, options, Granularity::Hourly, at("2026-06-01T01:00"), now).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_records(&table, first, &late(&items, first), "out of order").await;
    let expected_records = without(expected(&items, second), &["deletedUsers"]);
    assert_records(&table, second, &expected_records, "before its predecessor").await;
    for attempt in 2..4 {
        let now = at("2026-06-01T02:00") + TimeDelta::minutes(10 * i64::from(attempt));
        let report =
            run_at(&table, options, Granularity::Hourly, at("2026-06-01T02:00"), now).await;
        assert!(report.is_healthy(), "{report:?}");
        assert_records(&table, second, &expected_records, "repeated").await;
        assert_records(&table, first, &late(&items, first), "repeated").await;
        let ledger = entries_of(&table, &report).await;
        assert_eq!((ledger.len(), ledger[0].trigger), (1, Trigger::Cron));
    }
    assert_settled(&table, Granularity::Hourly, second, "in the end").await;
}

/// An hour of a day, week and month that were made changes: they are refreshed in the same run, or, if
/// that has no budget for it, by the next run of any granularity.
pub async fn a_late_change_reaches_every_granularity(backend: Backend) {
    let before = platform(12);
    let came = medium("late", "2026-05-31T23:30");
    let mut items = before.clone();
    items.push(came.clone());
    let changed = day("2026-05-31");
    let week = Period::containing(Granularity::Weekly, changed.start());
    let month = Period::containing(Granularity::Monthly, changed.start());
    let above = [changed, week, month];
    let (then, now) = (
        [changed, week].map(|of| expected(&before, of)["media"]["newMedia"].clone()),
        [changed, week].map(|of| expected(&items, of)["media"]["newMedia"].clone()),
    );
    assert!(then[0] != now[0] && then[1] != now[1]);
    for (budget, next) in [
        (5000, Granularity::Hourly),
        (1, Granularity::Hourly),
        (1, Granularity::Daily),
        (1, Granularity::Weekly),
        (1, Granularity::Monthly),
    ] {
        let table = TestTable::with(backend, &before).await;
        on_time(&table, Granularity::Hourly, "2026-05-25T01:00").await;
        on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
        on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
        on_time(&table, Granularity::Weekly, "2026-06-01T00:10").await;
        on_time(&table, Granularity::Monthly, "2026-06-01T00:15").await;
        table.put(std::slice::from_ref(&came)).await;
        // The month has no sum: its first days are before the first hour.
        let assert_new = async |expected: &[Value; 2]| {
            let records = records(&table, &[changed, week]).await;
            for (period, expected) in [changed, week].into_iter().zip(expected) {
                let new = &records[&("media".to_owned(), period)].metrics["newMedia"];
                assert_eq!(new, expected, "{period:?} with {budget}, {next}");
            }
        };
        let mut options = Options::default();
        options.budget.requests = budget;
        let (event, now_is) = (at("2026-06-01T01:00"), at("2026-06-01T01:01"));
        let report = run_at(&table, options, Granularity::Hourly, event, now_is).await;
        assert!(report.is_healthy(), "{report:?}");
        assert_eq!(report.recalculated[0].types_written, ["media"], "{report:?}");
        if budget == 1 {
            assert_eq!(report.stale, BTreeSet::from(above), "{report:?}");
            assert_new(&then).await;
            for period in above {
                let stale = state(&table, period.granularity()).await;
                assert_eq!(stale.stale(period.granularity()), BTreeSet::from([period]));
            }
            assert_eq!(state(&table, Granularity::Hourly).await.marked_by.len(), 1);
            // Of its own period, which is not made of anything yet, no more than this is of interest.
            options.budget.requests = 45;
            let event = at(match next {
                Granularity::Hourly => "2026-06-01T02:00",
                Granularity::Daily => "2026-06-02T00:05",
                Granularity::Weekly => "2026-06-08T00:10",
                // A later one would come when the day's hours are past retention.
                Granularity::Monthly => "2026-06-01T00:15",
            });
            let now_is = event.max(at("2026-06-01T02:00")) + TimeDelta::seconds(1);
            run_at(&table, options, next, event, now_is).await;
        }
        assert_new(&now).await;
        for granularity in Granularity::ALL {
            let state = state(&table, granularity).await;
            assert!(state.marks.is_empty() && state.refreshes.is_empty(), "{next}: {state:?}");
            assert!(state.marked_by.is_empty(), "{next}: {state:?}");
        }
    }
}

/// The daily run comes before the last hour's: it counts the hour in time, and the scheduled run of the hour,
/// when it comes, changes nothing.
pub async fn a_daily_run_before_the_last_hours(backend: Backend) {
    let items = platform(20);
    let table = TestTable::with(backend, &items).await;
    every_hour(&table, "2026-05-31T00:00", "2026-05-31T23:00").await;
    let (last, own) = (hour("2026-05-31T23:00"), day("2026-05-31"));
    let daily = on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
    assert!(daily.is_healthy() && daily.left == 0, "{daily:?}");
    // Also the day before, of which one hour is ours.
    assert_eq!(daily.caught_up.len(), 2);
    let ledger = entries_of(&table, &daily).await;
    assert_eq!(ledger.len(), 3);
    assert!(ledger.iter().any(|entry| {
        entry.trigger == Trigger::CatchUp && entry.timestamp == "2026-05-31T23:00:00.000Z"
    }));
    for when in ["the daily run was first", "the scheduled run of the hour came"] {
        assert_records(&table, last, &expected(&items, last), when).await;
        assert_records(&table, own, &expected(&items, own), when).await;
        let now = at("2026-06-01T00:20");
        let options = Options::default();
        let event = at("2026-06-01T00:00");
        let report = run_at(&table, options, Granularity::Hourly, event, now).await;
        assert!(report.is_healthy(), "{report:?}");
    }
    assert_settled(&table, Granularity::Hourly, last, "in the end").await;
}

/// An interrupted run is in the ledger, entered by the next run.
pub async fn an_interrupted_run_is_in_the_ledger(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    let impatient = RetryPolicy {
        base: std::time::Duration::from_millis(1),
        deadline: std::time::Duration::from_millis(30),
        ..RetryPolicy::default()
    };
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.number > 10 { Fault::Dropped } else { Fault::None }
    })
    .await;
    let event = at("2026-06-01T03:00");
    let host = TestHost::at(event + TimeDelta::seconds(1));
    let engine = engine_with(&proxy.endpoint, &table, host, impatient, Options::default());
    let dead = engine.run(Granularity::Hourly, event).await;
    assert_eq!(dead.status, Status::Failed);
    assert!(entries(&table).await.is_empty());
    let now = event + TimeDelta::minutes(2);
    let report = run_at(&table, Options::default(), Granularity::Hourly, event, now).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(report.attempt, 2);
    entries_of(&table, &report).await;
    let ledger = entries(&table).await;
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    let (first, second) = (&ledger[0], &ledger[1]);
    assert_eq!((&first.run_id, first.status), (&dead.run_id, Status::Failed));
    assert_eq!((first.trigger, first.attempt), (Trigger::Cron, 1));
    assert_eq!(first.types_failed.len(), TYPES.len());
    assert_eq!(first.timestamp, "2026-06-01T02:00:00.000Z");
    assert_eq!((second.status, second.attempt), (Status::Complete, 2));
}

/// `ttl` and `calculatedAt` of every record of a granularity.
async fn expiries(
    table: &TestTable,
    granularity: Granularity,
) -> Vec<(DateTime<Utc>, Option<String>, Value)> {
    let mut query = query_of_expiries(&table.name, granularity);
    query.projection.push("calculatedAt".to_owned());
    let items = table.client().query(&query).await.unwrap();
    items
        .into_iter()
        .map(|item| {
            let ttl = match item.get("ttl") {
                Some(AttributeValue::N(ttl)) => Some(ttl.clone()),
                None => None,
                other => panic!("{other:?}"),
            };
            let item = serde_json::to_value(&item).unwrap();
            let start = item["timestamp"]["S"].as_str().unwrap().parse().unwrap();
            (start, ttl, item["calculatedAt"].clone())
        })
        .collect()
}

/// A change of retention reaches every record by the next daily run, and nothing but their `ttl`;
/// with a small budget by the next ones.
pub async fn a_change_of_retention_is_applied(backend: Backend) {
    let items = platform(12);
    let table = TestTable::with(backend, &items).await;
    on_time(&table, Granularity::Hourly, "2026-05-30T21:00").await;
    on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
    on_time(&table, Granularity::Daily, "2026-06-01T00:05").await;
    on_time(&table, Granularity::Weekly, "2026-06-01T00:10").await;
    on_time(&table, Granularity::Monthly, "2026-06-01T00:15").await;
    let days_after = |next: DateTime<Utc>, days: i64| {
        (days > 0).then(|| (next + TimeDelta::days(days)).timestamp().to_string())
    };
    let check = async |retention: [i64; 4]| {
        let mut differing = 0;
        for (granularity, days) in Granularity::ALL.into_iter().zip(retention) {
            for (start, ttl, _) in expiries(&table, granularity).await {
                let next = Period::containing(granularity, start).next().start();
                differing += usize::from(ttl != days_after(next, days));
            }
        }
        differing
    };
    assert_eq!(check([30, 365, 730, 0]).await, 0);
    let mut before = Vec::new();
    for granularity in Granularity::ALL {
        before.push(expiries(&table, granularity).await);
    }
    let sizes: Vec<usize> = before.iter().map(Vec::len).collect();
    assert_eq!(sizes, [28 * 6, 2 * 6, 6, 6]);

    // Longer, none, as it was, some: everything but the weeks is changed.
    let mut options = Options {
        retention: Retention { hourly: 60, daily: 0, weekly: 730, monthly: 3650 },
        ..Options::default()
    };
    let is_change = |(operation, body): &(String, Value)| {
        operation == "UpdateItem"
            && body["Key"]["PK"]["S"].as_str().is_some_and(|key| key.starts_with("ANALYTICS#"))
    };
    let event = "2026-06-01T00:05";
    let (report, proxy) =
        through(&table, options, Granularity::Daily, event, |_| Fault::None).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(proxy.seen().iter().filter(|seen| is_change(seen)).count(), 28 * 6 + 2 * 6 + 6);
    assert_eq!(check([60, 0, 730, 3650]).await, 0);
    for (granularity, before) in Granularity::ALL.into_iter().zip(&before) {
        let after = expiries(&table, granularity).await;
        let calculated = |all: &[(DateTime<Utc>, Option<String>, Value)]| -> Vec<Value> {
            all.iter().map(|(_, _, at)| at.clone()).collect()
        };
        assert_eq!(calculated(&after), calculated(before), "{granularity}");
    }
    // Applied once.
    let (report, proxy) =
        through(&table, options, Granularity::Daily, event, |_| Fault::None).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(proxy.seen().iter().filter(|seen| is_change(seen)).count(), 0);
    assert!(report.usage.requests < 10, "{report:?}");

    // Piece by piece.
    options.retention = Retention { hourly: 20, daily: 100, weekly: 200, monthly: 0 };
    options.budget.requests = 60;
    let mut differing = check([20, 100, 200, 0]).await;
    let mut runs = 0;
    while differing > 0 {
        runs += 1;
        let (report, proxy) =
            through(&table, options, Granularity::Daily, event, |_| Fault::None).await;
        assert!(report.is_healthy(), "{report:?}");
        let changes = proxy.seen().iter().filter(|seen| is_change(seen)).count();
        let still = check([20, 100, 200, 0]).await;
        assert_eq!(differing - still, changes, "each change is of a record that differs");
        assert!(still < differing && runs < 10, "{still} after {runs} runs");
        assert!(report.usage.requests <= 60 + 110, "{report:?}");
        differing = still;
    }
    assert!(runs > 1);
}

fn like(target: &str, user: u32, created: &str) -> Item {
    let created = format_instant(at(created));
    let item = json!({
        "PK": {"S": format!("USER#fan-{user}")},
        "SK": {"S": format!("INTERACTION#like#{target}")},
        "EntityType": {"S": "UserInteraction"},
        "GSI1PK": {"S": format!("INTERACTION#like#{target}")},
        "GSI1SK": {"S": format!("fan-{user}")},
        "GSI3PK": {"S": "INTERACTION#like"}, "GSI3SK": {"S": created},
        "interactionType": {"S": "like"}, "targetType": {"S": "media"},
        "targetId": {"S": target}, "createdAt": {"S": created},
    });
    item.as_object().unwrap().clone()
}

/// More targets in two hours than a record keeps: the day's best, which no hour's record has, are
/// counted from the platform's items; where that fails the day is marked and recomputed.
pub async fn the_ranking_of_a_day_is_exact(backend: Backend) {
    let mut items = platform(12);
    for (prefix, user, created) in [("a", 1, "2026-05-31T10:30"), ("b", 2, "2026-05-31T11:30")] {
        let fillers = (0..1_005).map(|number| format!("{prefix}-{number:04}"));
        let best = (0..10).map(|number| format!("z-{number}"));
        items.extend(fillers.chain(best).map(|target| like(&target, user, created)));
    }
    // More for the best than for any other of the platform's.
    for user in 3..9 {
        let best = (0..10).map(|number| like(&format!("z-{number}"), user, "2026-05-31T12:30"));
        items.extend(best);
    }
    let table = TestTable::with(backend, &items).await;
    on_time(&table, Granularity::Hourly, "2026-05-31T01:00").await;
    on_time(&table, Granularity::Hourly, "2026-06-01T00:00").await;
    let own = day("2026-05-31");
    let of_day = with_last_hour_observed(&items, own);
    let best = of_day["interactions"]["mostEngaged"].as_array().unwrap();
    assert!(best.iter().all(|best| best["targetId"].as_str().unwrap().starts_with("z-")));
    let event = "2026-06-01T00:05";
    let (report, _) = through(&table, Options::default(), Granularity::Daily, event, |seen| {
        if seen.queries("INTERACTION#like") { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    assert!(!report.is_healthy() && report.left == 1, "{report:?}");
    assert!(report.period.types_failed["interactions"].contains("AccessDenied"), "{report:?}");
    let now = at(event) + TimeDelta::minutes(1);
    let report = run_at(&table, Options::default(), Granularity::Daily, at(event), now).await;
    assert!(report.is_healthy() && report.left == 0, "{report:?}");
    assert_records(&table, own, &of_day, "counted").await;
    let hour_with_many = hour("2026-05-31T10:00");
    let many = late(&items, hour_with_many);
    assert_records(&table, hour_with_many, &many, "an hour").await;
}

/// Generates a `#[tokio::test]` for every test of the suite on one DynamoDB.
#[macro_export]
macro_rules! backfill_suite {
    ($backend:expr) => {
        $crate::backfill_suite! { $backend;
            two_days_are_backfilled,
            an_empty_week_is_rolled_up,
            a_small_budget_is_kept,
            a_failed_type_is_recomputed_later,
            a_failing_type_delays_no_other,
            a_day_that_fails_is_retried,
            hours_past_their_retention_are_not_recomputed,
            the_fewest_requests_suffice_for_a_day,
            events_out_of_order,
            a_late_change_reaches_every_granularity,
            a_daily_run_before_the_last_hours,
            an_interrupted_run_is_in_the_ledger,
            a_change_of_retention_is_applied,
            the_ranking_of_a_day_is_exact,
        }
    };
    ($backend:expr; $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::backfill_suite::$test($backend).await;
            }
        )*
    };
}
