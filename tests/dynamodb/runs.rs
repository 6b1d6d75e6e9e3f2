//! Runs when DynamoDB fails: a record is right or it is absent, and the run reports it.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::{ErrorKind, WriteRequest},
    host::Severity,
    metrics::{
        period::{Granularity, Period, parse_instant},
        record::Coverage,
    },
    run::Engine,
    store::{ledger::Status, record::record_key},
};
use support::{
    catalogue::gallery,
    database::{Backend, TestTable},
    engine_suite::{InTime, TYPES, assert_same, end, platform, stored, stored_in},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    ledger::entries,
    oracle,
};

use crate::common::{
    assert_right_or_absent, client_through, hour, media_query, names_partition, run_with,
};

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_retried_and_every_record_is_right() {
    let items = platform(40);
    for fault in [
        Fault::Throttled,
        Fault::ServerError,
        Fault::Dropped,
        Fault::AnswerLost,
        Fault::Slow(Duration::from_millis(100)),
    ] {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        // Every third request, of every kind.
        let (report, ..) =
            run_with(&table, move |seen| if seen.number % 3 == 0 { fault } else { Fault::None })
                .await;
        assert_eq!(report.status, Status::Complete, "{fault:?}: {report:?}");
        assert_right_or_absent(&table, &items, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_times_out_is_requested_again() {
    let items = platform(40);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let slow = AtomicUsize::new(0);
    let (report, _, proxy) = run_with(&table, move |seen| {
        let first = seen.queries("MEDIA") && slow.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Fault::Slow(Duration::from_secs(3)) } else { Fault::None }
    })
    .await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    assert_right_or_absent(&table, &items, &[]).await;
    let asked = proxy.seen().iter().filter(|(_, body)| names_partition(body, "MEDIA")).count();
    assert_eq!(asked, 2);
}

/// The same of everything at once, as a proxy that answers `{}` to all does it: nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn empty_objects_for_everything_store_nothing() {
    let table = TestTable::with(Backend::Dynoxide, &platform(40)).await;
    let (report, ..) = run_with(&table, |_| Fault::Answer(200, "{}")).await;
    assert_eq!(report.status, Status::Failed, "{report:?}");
    assert!(report.period.types_written.is_empty(), "{report:?}");
    assert_right_or_absent(&table, &[], &TYPES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_stays_wrong_leaves_its_type_absent() {
    let items = platform(40);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (report, ..) =
        run_with(&table, |seen| if seen.queries("MEDIA") { Fault::Damaged } else { Fault::None })
            .await;
    let failed: Vec<_> = report.period.types_failed.keys().map(String::as_str).collect();
    assert_eq!(failed, ["media"], "{report:?}");
    let why = &report.period.types_failed["media"];
    assert!(why.contains("x-amz-crc32") && why.contains("platform/GSI4"), "{why}");
    assert_right_or_absent(&table, &items, &["media"]).await;

    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::Checksum("0")).await;
    let client = client_through(&proxy, TestHost::new());
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Damaged { length } if length > 100), "{error}");
    assert!(error.attempts > 3 && error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_for_good_leaves_its_type_absent_and_the_others_right() {
    let items = platform(40);
    for (fault, says) in [
        (Fault::Throttled, "ThrottlingException"),
        (Fault::ServerError, "InternalServerError"),
        (Fault::Dropped, "connection failed"),
        (Fault::Slow(Duration::from_secs(10)), "no response within"),
        (Fault::MalformedJson, "could not be parsed"),
        (Fault::AccessDenied, "AccessDeniedException"),
    ] {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let (report, host, _) = run_with(&table, move |seen| {
            if seen.queries("INTERACTION#bookmark") { fault } else { Fault::None }
        })
        .await;
        assert_eq!(report.status, Status::Partial, "{fault:?}: {report:?}");
        let why = &report.period.types_failed["interactions"];
        assert!(why.contains(says) && why.contains("platform/GSI3"), "{why}");
        assert_eq!(report.period.types_written.len(), TYPES.len() - 1);
        assert_right_or_absent(&table, &items, &["interactions"]).await;
        // The run's line says so, as an error.
        let lines = host.lines();
        let (severity, line) = lines.last().unwrap();
        assert_eq!(*severity, Severity::Error);
        assert_eq!(line["typesFailed"]["interactions"], why.as_str());
        assert_eq!(line["status"], "partial");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_partition_of_a_pass_fails_every_type_that_needs_it_and_no_other() {
    let items = platform(40);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (report, ..) = run_with(&table, |seen| {
        if seen.queries("USER_USERNAME") { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    // MRR is folded from the users' pass.
    assert_right_or_absent(&table, &items, &["users", "business"]).await;
    let failed: Vec<_> = report.period.types_failed.keys().map(String::as_str).collect();
    assert_eq!(failed, ["business", "users"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_the_stored_records_cannot_be_read() {
    let items = platform(20);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (report, ..) = run_with(&table, |seen| {
        if seen.operation == "BatchGetItem" { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    assert_eq!(report.status, Status::Failed);
    assert_eq!(report.period.types_failed.len(), TYPES.len());
    assert_right_or_absent(&table, &items, &TYPES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_reported_and_the_next_run_is_complete() {
    let items = platform(40);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (report, ..) = run_with(&table, |_| Fault::Dropped).await;
    assert_eq!(report.status, Status::Failed);
    assert!(report.period.types_failed["users"].contains("lease could not be taken"), "{report:?}");
    assert_right_or_absent(&table, &items, &TYPES).await;
    let (report, ..) = run_with(&table, |_| Fault::None).await;
    assert_eq!(report.status, Status::Complete);
    assert_right_or_absent(&table, &items, &[]).await;
}

/// Whatever a run was doing when DynamoDB went away: each record is right or absent, and the same
/// event, once the lease has run out, makes the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_off_at_any_request_leaves_nothing_wrong() {
    let items = platform(12);
    let expected = oracle::expected_hour(&items, hour(), None);
    let whole = {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        run_with(&table, |_| Fault::None).await.0.usage.requests
    };
    for last in 0..usize::try_from(whole).unwrap() {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        run_with(
            &table,
            move |seen| {
                if seen.number >= last { Fault::AccessDenied } else { Fault::None }
            },
        )
        .await;
        for metric_type in TYPES {
            if let Some(record) = stored(&table, metric_type, hour()).await {
                assert_same(&record.metrics, &expected[metric_type], metric_type);
            }
        }
        // The lease of the interrupted run has expired.
        let host = TestHost::at(end() + TimeDelta::minutes(3));
        let catalogue = gallery();
        let client = table.client_with(host.clone());
        let engine = Engine::new(client, host, table.name.clone(), catalogue);
        assert_eq!(engine.run(Granularity::Hourly, end()).await.status, Status::Complete);
        assert_right_or_absent(&table, &items, &[]).await;
    }
}

/// A day that lacks an hour which cannot be made: no sum over the hole, the stocks of its end are
/// there, and the record says how much it covers.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_a_hole_has_no_sums() {
    let items = platform(30);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let midnight = parse_instant("2026-05-21T00:00:00.000Z").unwrap();
    let direct = InTime::on(&table);
    for hours in (0..24).rev() {
        direct.run(Granularity::Hourly, midnight - TimeDelta::hours(hours)).await;
    }
    let hour = Period::containing(Granularity::Hourly, midnight - TimeDelta::hours(10));
    let delete = WriteRequest::DeleteRequest { key: record_key("media", hour) };
    table.client().batch_write(&table.name, vec![delete]).await.unwrap();

    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.queries("MEDIA") { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let host = TestHost::at(midnight + TimeDelta::minutes(5));
    let client = client_through(&proxy, host.clone());
    let catalogue = gallery();
    let engine = Engine::new(client, host, table.name.clone(), catalogue);
    let report = engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    let healed = &report.caught_up[0];
    assert_eq!(healed.period, hour);
    assert!(healed.types_failed["media"].contains("AccessDenied"), "{report:?}");
    assert_eq!(report.left, 1, "the day waits for its hour: {report:?}");
    let coverage = Coverage { present: 23, expected: 24 };
    assert_eq!(report.period.short["media"], coverage);
    assert_eq!(report.status, Status::Partial);
    let entered = entries(&table).await;
    let own = entered.iter().find(|entry| entry.granularity == "daily").unwrap();
    assert_eq!(own.status, Status::Partial);
    let said = own
        .problems
        .iter()
        .any(|problem| problem.contains("media of") && problem.contains("23 of 24"));
    assert!(said, "{own:?}");

    let day = Period::containing(Granularity::Daily, midnight - TimeDelta::hours(1));
    let expected = oracle::expected_period(&items, day.start(), midnight, None);
    let media = stored_in(&table, "media", day).await.unwrap();
    assert_eq!(media.coverage, Some(coverage));
    let mut short = expected["media"].clone();
    short.remove("newMedia");
    assert_same(&media.metrics, &short, "media");
    let albums = stored_in(&table, "albums", day).await.unwrap();
    assert_same(&albums.metrics, &expected["albums"], "albums");

    // Once the source answers again, the next daily run heals the hour and completes the day.
    let report = direct.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    assert_eq!((report.left, report.attempt), (0, 2), "{report:?}");
    let media = stored_in(&table, "media", day).await.unwrap();
    assert_same(&media.metrics, &expected["media"], "media, healed");
}
