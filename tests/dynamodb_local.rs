//! The engine on AWS's DynamoDB Local: the same suite as on dynoxide.
//!
//! Run with `cargo xtask test`, which starts DynamoDB Local and says where it is.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

use chrono::TimeDelta;
use edge_analytics::{dynamodb::TableName, metrics::period::Granularity, store::ledger::Status};
use support::{
    database::{Backend, TestTable},
    engine_suite::{self, TYPES, assert_same, end, engine_at, platform, stored},
    history_suite,
    host::TestHost,
    oracle,
};

support::engine_suite!(Backend::DynamoDbLocal);
support::rollup_suite!(Backend::DynamoDbLocal);
support::backfill_suite!(Backend::DynamoDbLocal);
support::source_suite!(Backend::DynamoDbLocal);

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_every_hour_is_exact() {
    engine_suite::every_metric_of_every_hour(Backend::DynamoDbLocal, 150, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seventy_days_of_trouble_leave_nothing_wrong() {
    history_suite::seventy_days_leave_nothing_wrong(Backend::DynamoDbLocal).await;
}

/// An hour over a table that is named by its ARN: every kind of request takes it, and a batch of reads
/// is answered under the table's name.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_be_named_by_its_arn() {
    let items = platform(40);
    let table = TestTable::with(Backend::DynamoDbLocal, &items).await;
    let arn = format!("arn:aws:dynamodb:eu-central-1:000000000000:table/{}", table.name);
    assert!(TableName::parse(&arn).is_some(), "{arn}");
    let host = TestHost::new();
    let engine = engine_at(&table.endpoint, &arn, host.clone());
    for event in [end() - TimeDelta::hours(1), end()] {
        host.set(event + TimeDelta::seconds(5));
        let report = engine.run(Granularity::Hourly, event).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    let hour = end() - TimeDelta::hours(1);
    let expected = oracle::expected_hour(&items, hour, None);
    for metric_type in TYPES {
        let mut record = stored(&table, metric_type, hour).await.unwrap();
        // There is an hour before, of the same table.
        record.metrics.remove("deletedUsers");
        assert_same(&record.metrics, &expected[metric_type], metric_type);
    }
}
