//! Faults of DynamoDB, injected by a proxy in front of a real one: a record is right or it is
//! absent, and the run says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{
        Cancellation, Client, Error, ErrorKind, Item, PutItem, Query, Read, RetryPolicy,
        TransactWriteItems, UpdateItem, WriteRequest, key, string,
    },
    host::Severity,
    metrics::{
        period::{Granularity, Period, parse_instant},
        record::Coverage,
    },
    run::{Engine, Report},
    store::{ledger::Status, record::record_key},
};
use serde_json::Value;
use support::{
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::{InTime, TYPES, assert_same, end, platform, stored, stored_in},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    ledger::entries,
    oracle,
};

/// Short waits, so that the tests are quick; the same shape as the default.
const POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(5),
    cap: Duration::from_millis(40),
    attempt_timeout: Duration::from_millis(1500),
    deadline: Duration::from_secs(4),
};

fn hour() -> DateTime<Utc> {
    end() - TimeDelta::hours(1)
}

fn client_through(proxy: &FaultProxy, host: Arc<TestHost>) -> Client {
    Client::with_policy(connection(&proxy.endpoint), host, POLICY)
}

/// Runs the hour through a proxy with `rule`.
async fn run_with(
    table: &TestTable,
    rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
) -> (Report, Arc<TestHost>, FaultProxy) {
    let proxy = FaultProxy::start(&table.endpoint, rule).await;
    let host = TestHost::at(end() + TimeDelta::seconds(5));
    let client = client_through(&proxy, host.clone());
    let catalogue = gallery();
    let engine = Engine::new(client, host.clone(), table.name.clone(), catalogue);
    (engine.run(Granularity::Hourly, end()).await, host, proxy)
}

/// Asserts that each type's record is right or, if it is named in `absent`, not there.
async fn assert_right_or_absent(
    table: &TestTable,
    items: &[sample_platform::Item],
    absent: &[&str],
) {
    let expected = oracle::expected_hour(items, hour(), None);
    for metric_type in TYPES {
        let record = stored(table, metric_type, hour()).await;
        if absent.contains(&metric_type) {
            assert!(record.is_none(), "{metric_type} is there: {record:?}");
        } else {
            let record = record.unwrap_or_else(|| panic!("{metric_type} is absent"));
            assert_same(&record.metrics, &expected[metric_type], metric_type);
        }
    }
}

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
async fn a_page_that_comes_too_late_is_asked_for_again() {
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

/// Errors that pass, and answers that are not whole.
const TRANSIENT: [(u16, &str); 9] = [
    (400, r#"{"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"}"#),
    (400, r#"{"__type": "com.amazonaws.dynamodb.v20120810#ReplicatedWriteConflictException"}"#),
    (400, r#"{"__type": "com.amazonaws.dynamodb.v20120810#LimitExceededException"}"#),
    (429, "slow down"),
    (200, ""),
    (200, "{}"),
    (200, r#"{"Items": []}"#),
    (200, r#"{"Items": [], "Count": 3}"#),
    (200, r#"{"Count": 0, "ScannedCount": 0}"#),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_or_is_not_whole_is_asked_for_again() {
    let items = platform(40);
    for (status, body) in TRANSIENT {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let bad = AtomicUsize::new(0);
        let (report, _, proxy) = run_with(&table, move |seen| {
            let first = seen.queries("MEDIA") && bad.fetch_add(1, Ordering::SeqCst) == 0;
            if first { Fault::Answer(status, body) } else { Fault::None }
        })
        .await;
        assert_eq!(report.status, Status::Complete, "{status} {body}: {report:?}");
        assert_right_or_absent(&table, &items, &[]).await;
        let asked = proxy.seen().iter().filter(|(_, body)| names_partition(body, "MEDIA")).count();
        assert_eq!(asked, 2, "{status} {body}");
    }
}

/// An answer that never is whole gives no zero: its type is absent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_never_whole_is_no_zero() {
    let items = platform(40);
    for (status, body) in TRANSIENT.into_iter().filter(|(status, _)| *status == 200) {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let (report, ..) = run_with(&table, move |seen| {
            if seen.queries("USER_USERNAME") { Fault::Answer(status, body) } else { Fault::None }
        })
        .await;
        let failed: Vec<_> = report.period.types_failed.keys().map(String::as_str).collect();
        assert_eq!(failed, ["business", "users"], "{body}: {report:?}");
        assert!(report.period.types_failed["users"].contains("could not be parsed"), "{report:?}");
        assert_right_or_absent(&table, &items, &["users", "business"]).await;
    }
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

/// Damage that is still JSON shows only in the checksum: without it, the media of the hour are zero.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_its_checksum_is_asked_for_again() {
    let items = platform(40);
    for fault in [Fault::Damaged, Fault::Checksum("1"), Fault::Checksum("none")] {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let asked = AtomicUsize::new(0);
        let (report, _, proxy) = run_with(&table, move |seen| {
            let first = seen.queries("MEDIA") && asked.fetch_add(1, Ordering::SeqCst) == 0;
            if first { fault } else { Fault::None }
        })
        .await;
        assert_eq!(report.status, Status::Complete, "{fault:?}: {report:?}");
        assert_right_or_absent(&table, &items, &[]).await;
        let asked = proxy.seen().iter().filter(|(_, body)| names_partition(body, "MEDIA")).count();
        assert_eq!(asked, 2, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_has_its_checksum_leaves_its_type_absent() {
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

/// An error with a damaged body could be taken for one that is not worth another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_without_its_checksum_is_asked_for_again() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.number == 0 { Fault::Checksum("0") } else { Fault::None }
    })
    .await;
    let client = client_through(&proxy, TestHost::new());
    let missing = TestTable { endpoint: String::new(), name: "no-such-table".to_owned() };
    let error = client.query(&media_query(&missing)).await.unwrap_err();
    assert_eq!((error.code(), error.attempts), (Some("ResourceNotFoundException"), 2), "{error}");
}

/// What a runtime or a proxy decoded has another checksum than what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_decoded_on_its_way_is_not_refused() {
    let items = platform(40);
    for fault in [Fault::Decoded, Fault::Reframed] {
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let (report, _, proxy) = run_with(&table, move |_| fault).await;
        assert_eq!(report.status, Status::Complete, "{fault:?}: {report:?}");
        assert_right_or_absent(&table, &items, &[]).await;
        let asked = proxy.seen().iter().filter(|(_, body)| names_partition(body, "MEDIA")).count();
        assert_eq!(asked, 1, "{fault:?}");
    }
}

/// One call of each kind, on a table where it succeeds.
async fn call(name: &str, client: &Client, table: &str) -> Result<(), Error> {
    let put = PutItem::new(table, note(1));
    let update = UpdateItem::new(
        table,
        key("NOTE#2", "METADATA"),
        "SET remark = :remark",
        None,
        [(":remark", string("text"))],
    );
    match name {
        "GetItem" => client.get(table, key("NOTE#1", "METADATA"), Read::Eventual).await.map(drop),
        "PutItem" => client.send(&put).await.map(drop),
        "UpdateItem" => client.send(&update).await.map(drop),
        "UpdateItem, answering what was" => {
            client.send(&update.returning_old_item()).await.map(drop)
        }
        "BatchGetItem" => {
            client.batch_get(table, vec![key("NOTE#1", "METADATA")], Read::Eventual).await.map(drop)
        }
        "BatchWriteItem" => {
            client.batch_write(table, vec![WriteRequest::PutRequest { item: note(3) }]).await
        }
        "TransactWriteItems" => {
            client.send(&TransactWriteItems::new(vec![put.into()], 7)).await.map(drop)
        }
        _ => panic!("{name}"),
    }
}

/// An empty object says neither that there is no item nor that a write took place.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_object_answers_no_operation() {
    for name in [
        "GetItem",
        "PutItem",
        "UpdateItem",
        "UpdateItem, answering what was",
        "BatchGetItem",
        "BatchWriteItem",
        "TransactWriteItems",
    ] {
        let table = TestTable::with(Backend::Dynoxide, &[]).await;
        let proxy = FaultProxy::start(&table.endpoint, |_| Fault::Answer(200, "{}")).await;
        let client = client_through(&proxy, TestHost::new());
        let error = call(name, &client, &table.name).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::MalformedResponse(_)), "{name}: {error}");
        assert!(error.attempts > 3, "{name}: {error}");

        let proxy = FaultProxy::start(&table.endpoint, |seen| {
            if seen.number == 0 { Fault::Answer(200, "{}") } else { Fault::None }
        })
        .await;
        let client = client_through(&proxy, TestHost::new());
        call(name, &client, &table.name).await.unwrap();
        assert_eq!(proxy.seen().len(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_last_key_ends_a_query() {
    let table = TestTable::with(Backend::Dynoxide, &platform(40)).await;
    let (report, _, proxy) = run_with(&table, |seen| {
        let empty = r#"{"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": {}}"#;
        if seen.queries("VIEW_COUNT#hourly") { Fault::Answer(200, empty) } else { Fault::None }
    })
    .await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let asked = proxy.seen().into_iter();
    let asked = asked.filter(|(_, body)| names_partition(body, "VIEW_COUNT#hourly")).count();
    assert_eq!(asked, 1);
}

fn names_partition(body: &Value, partition: &str) -> bool {
    body["ExpressionAttributeValues"][":partition"]["S"] == partition
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
async fn a_database_that_is_down_is_said_and_the_next_run_is_whole() {
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
async fn a_run_that_dies_at_any_request_leaves_nothing_wrong() {
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
        // The dead run's lease has expired.
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

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_is_not_the_last_one() {
    let items = platform(40);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (report, _, proxy) = run_with(&table, |seen| {
        let is_first = seen.body.get("ExclusiveStartKey").is_none();
        if seen.queries("MEDIA") && is_first { Fault::EmptyPage } else { Fault::None }
    })
    .await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let pages = proxy.seen().iter().filter(|(_, body)| names_partition(body, "MEDIA")).count();
    assert!(pages >= 2, "{pages} requests for media");
    assert_right_or_absent(&table, &items, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_cannot_pass_are_not_retried() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::AccessDenied).await;
    let client = client_through(&proxy, TestHost::new());
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));
    assert_eq!((error.operation, error.attempts), ("Query", 1));
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("platform/GSI4"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_end_at_the_deadline_and_the_error_says_how_many_there_were() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::Throttled).await;
    let client = client_through(&proxy, TestHost::new());
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(error.attempts > 3, "{error}");
    assert_eq!(proxy.seen().len(), usize::try_from(error.attempts).unwrap());
    assert_eq!(client.meter().total().requests, u64::from(error.attempts));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listening_is_a_connection_failure_without_the_url() {
    let host = TestHost::new();
    let connection = connection("http://127.0.0.1:1");
    let client = Client::with_policy(connection, host, POLICY);
    let table = TestTable { endpoint: String::new(), name: "platform".to_owned() };
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Connection(_)), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
}

fn media_query(table: &TestTable) -> Query {
    Query {
        table: table.name.clone(),
        index: Some("GSI4".to_owned()),
        partition_key: "GSI4PK".to_owned(),
        sort_key: "GSI4SK".to_owned(),
        partition: "MEDIA".to_owned(),
        range: None,
        projection: Vec::new(),
        descending: false,
    }
}

/// A table that is named by its ARN is asked for by it, and can be answered by either.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_can_be_named_by_its_arn() {
    const ARN: &str = "arn:aws:dynamodb:eu-central-1:111122223333:table/platform";
    const ITEM: &str = r#"{"PK": {"S": "NOTE#1"}, "SK": {"S": "METADATA"}}"#;
    const BY_ARN: &str = concat!(
        r#"{"Responses": {"arn:aws:dynamodb:eu-central-1:111122223333:table/platform": ["#,
        r#"{"PK": {"S": "NOTE#1"}, "SK": {"S": "METADATA"}}]}}"#
    );
    const BY_NAME: &str = concat!(
        r#"{"Responses": {"platform": ["#,
        r#"{"PK": {"S": "NOTE#1"}, "SK": {"S": "METADATA"}}]}}"#
    );
    for answer in [BY_ARN, BY_NAME] {
        let proxy = FaultProxy::start("", move |_| Fault::Answer(200, answer)).await;
        let client = client_through(&proxy, TestHost::new());
        let keys = vec![key("NOTE#1", "METADATA")];
        let items = client.batch_get(ARN, keys, Read::Eventual).await.unwrap();
        assert_eq!(
            serde_json::to_value(items).unwrap(),
            serde_json::json!([serde_json::from_str::<Value>(ITEM).unwrap()])
        );
        let asked = &proxy.seen()[0].1["RequestItems"];
        assert_eq!(asked.as_object().unwrap().keys().collect::<Vec<_>>(), [ARN]);
    }
    let proxy = FaultProxy::start("", |_| Fault::AccessDenied).await;
    let client = client_through(&proxy, TestHost::new());
    let table = TestTable { endpoint: String::new(), name: ARN.to_owned() };
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert_eq!(proxy.seen()[0].1["TableName"], ARN);
    assert!(error.to_string().starts_with("Query on platform/GSI4 failed"), "{error}");
    assert!(!error.to_string().contains("111122223333"), "{error}");
}

fn note(number: usize) -> Item {
    let mut item = key(format!("NOTE#{number}"), "METADATA");
    item.inner_mut().insert("text".to_owned(), string("a".repeat(100)));
    item
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_any_size_are_written_and_read_whole() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let client = table.client();
    let entries = (0..260).map(|number| WriteRequest::PutRequest { item: note(number) }).collect();
    client.batch_write(&table.name, entries).await.unwrap();
    let keys = (0..300).map(|number| key(format!("NOTE#{number}"), "METADATA")).collect();
    let items = client.batch_get(&table.name, keys, Read::Consistent).await;
    assert_eq!(items.unwrap().len(), 260);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_written_whole_or_not_at_all() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let client = table.client();
    let new =
        |number| PutItem::new(&table.name, note(number)).only_if("attribute_not_exists(PK)", []);
    let first = TransactWriteItems::new(vec![new(1).into(), new(2).into()], 1);
    client.send(&first).await.unwrap();
    // Two items of at most 1 KB, at twice the price.
    assert!((client.meter().total().write_units - 4.0).abs() < f64::EPSILON);
    let second = TransactWriteItems::new(vec![new(3).into(), new(2).into()], 2);
    let error = client.send(&second).await.unwrap_err();
    assert_eq!(error.code(), Some("TransactionCanceledException"));
    assert!(error.is_cancelled_transaction() && error.attempts == 1, "{error}");
    let third = client.get(&table.name, key("NOTE#3", "METADATA"), Read::Consistent).await.unwrap();
    assert!(third.is_none());
}

/// Sends a transaction of two items that is cancelled `times` times for these reasons.
async fn cancelled(
    times: usize,
    answer: &'static str,
) -> (Result<(), Error>, TestTable, Vec<Value>) {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, move |seen| {
        if seen.number < times { Fault::Answer(400, answer) } else { Fault::None }
    })
    .await;
    let client = client_through(&proxy, TestHost::new());
    let new = |number| PutItem::new(&table.name, note(number)).into();
    let sent = client.send(&TransactWriteItems::new(vec![new(1), new(2)], 5)).await.map(drop);
    let bodies = proxy.seen().into_iter().map(|(_, body)| body).collect();
    (sent, table, bodies)
}

/// A cancelled transaction as DynamoDB answers it, with the codes of its reasons.
macro_rules! cancelled_for {
    ($($code:literal),+) => {
        concat!(
            r#"{"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException","#,
            r#" "Message": "Transaction cancelled, please refer cancellation reasons for specific"#,
            r#" reasons [None]", "CancellationReasons": [{"Code": "None"}"#,
            $(r#", {"Code": ""#, $code, r#"", "Message": "why"}"#,)+
            "]}"
        )
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_cancelled_by_contention_is_sent_again_with_its_token() {
    for answer in [
        cancelled_for!("TransactionConflict"),
        cancelled_for!("ThrottlingError"),
        cancelled_for!("ProvisionedThroughputExceeded"),
        cancelled_for!("TransactionConflict", "ThrottlingError"),
    ] {
        let (sent, table, bodies) = cancelled(2, answer).await;
        sent.unwrap();
        assert_eq!(bodies.len(), 3, "{answer}");
        assert!(bodies.iter().all(|body| body == &bodies[0]), "{answer}");
        assert_eq!(bodies[0]["ClientRequestToken"], "00000000000000000000000000000005");
        for number in [1, 2] {
            let key = key(format!("NOTE#{number}"), "METADATA");
            let found = table.client().get(&table.name, key, Read::Consistent).await.unwrap();
            assert!(found.is_some(), "{answer}: {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contention_that_lasts_ends_at_the_deadline() {
    let (sent, _, bodies) = cancelled(usize::MAX, cancelled_for!("TransactionConflict")).await;
    let error = sent.unwrap_err();
    assert!(error.is_retryable() && !error.is_cancelled_transaction(), "{error}");
    assert!(error.attempts > 3, "{error}");
    assert_eq!(bodies.len(), usize::try_from(error.attempts).unwrap());
}

/// The same transaction would be cancelled again: only whoever sent it knows what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_cancelled_for_another_reason_is_not_sent_again() {
    for (answer, cancellation) in [
        (cancelled_for!("ConditionalCheckFailed"), Some(Cancellation::ConditionFailed)),
        (
            cancelled_for!("TransactionConflict", "ConditionalCheckFailed"),
            Some(Cancellation::ConditionFailed),
        ),
        (
            cancelled_for!("ConditionalCheckFailed", "ThrottlingError"),
            Some(Cancellation::ConditionFailed),
        ),
        (cancelled_for!("ValidationError"), Some(Cancellation::Rejected)),
        (cancelled_for!("ItemCollectionSizeLimitExceeded"), Some(Cancellation::Rejected)),
        (cancelled_for!("TransactionConflict", "ValidationError"), Some(Cancellation::Rejected)),
        (cancelled_for!("ValidationError", "TransactionConflict"), Some(Cancellation::Rejected)),
        // The text alone is no reason.
        (r#"{"__type": "TransactionCanceledException", "Message": "[TransactionConflict]"}"#, None),
    ] {
        let (sent, _, bodies) = cancelled(1, answer).await;
        let error = sent.unwrap_err();
        assert_eq!((error.attempts, bodies.len()), (1, 1), "{answer}");
        assert!(!error.is_retryable(), "{answer}");
        let is_condition = cancellation == Some(Cancellation::ConditionFailed);
        assert_eq!(error.is_cancelled_transaction(), is_condition, "{answer}");
        let ErrorKind::Service { cancellation: found, .. } = error.kind else { panic!("{error}") };
        assert_eq!(found, cancellation, "{answer}");
    }
}
