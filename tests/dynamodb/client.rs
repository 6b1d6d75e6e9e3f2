//! The client: what is retried, what is not, and what each operation requires of a response.

use std::sync::atomic::{AtomicUsize, Ordering};

use edge_analytics::{
    dynamodb::{
        Client, DynamoDbError, ErrorKind, PutItem, Read, TransactWriteItems, UpdateItem,
        WriteRequest, key, string,
    },
    store::ledger::Status,
};
use serde_json::Value;
use support::{
    database::{Backend, TestTable, connection},
    engine_suite::platform,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::{
    common::{
        POLICY, assert_right_or_absent, client_through, media_query, names_partition, run_with,
    },
    writes::note,
};

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
async fn transient_faults_and_truncated_responses_are_retried() {
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
async fn a_response_that_stays_truncated_gives_no_zero() {
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

/// Damage that is still JSON shows only in the checksum: without it, the media of the hour are zero.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_with_a_wrong_checksum_is_requested_again() {
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

/// An error with a damaged body could be taken for one that is not worth another attempt.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_with_a_wrong_checksum_is_requested_again() {
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
async fn a_response_that_was_decoded_in_transit_is_accepted() {
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
async fn call(name: &str, client: &Client, table: &str) -> Result<(), DynamoDbError> {
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
async fn a_closed_port_is_a_connection_failure_without_the_url() {
    let host = TestHost::new();
    let connection = connection("http://127.0.0.1:1");
    let client = Client::with_policy(connection, host, POLICY);
    let table = TestTable { endpoint: String::new(), name: "platform".to_owned() };
    let error = client.query(&media_query(&table)).await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Connection(_)), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
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
