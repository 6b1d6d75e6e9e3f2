//! Batches and transactions.

use edge_analytics::dynamodb::{
    Cancellation, DynamoDbError, ErrorKind, Item, PutItem, Read, TransactWriteItems, WriteRequest,
    key, string,
};
use serde_json::Value;
use support::{
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::common::client_through;

pub fn note(number: usize) -> Item {
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
) -> (Result<(), DynamoDbError>, TestTable, Vec<Value>) {
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

/// The same transaction would be cancelled again: the caller decides what to do.
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
