//! A client and a run behind a proxy that injects faults.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{Client, Query, RetryPolicy},
    metrics::period::Granularity,
    run::{Engine, Report},
};
use serde_json::Value;
use support::{
    catalogue::gallery,
    database::{TestTable, connection},
    engine_suite::{TYPES, assert_same, end, stored},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    oracle,
};

/// Short waits, so that the tests are quick; the same shape as the default.
pub const POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(5),
    cap: Duration::from_millis(40),
    attempt_timeout: Duration::from_millis(1500),
    deadline: Duration::from_secs(4),
};

pub fn hour() -> DateTime<Utc> {
    end() - TimeDelta::hours(1)
}

pub fn client_through(proxy: &FaultProxy, host: Arc<TestHost>) -> Client {
    Client::with_policy(connection(&proxy.endpoint), host, POLICY)
}

/// Runs the hour through a proxy with `rule`.
pub async fn run_with(
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
pub async fn assert_right_or_absent(
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

pub fn names_partition(body: &Value, partition: &str) -> bool {
    body["ExpressionAttributeValues"][":partition"]["S"] == partition
}

pub fn media_query(table: &TestTable) -> Query {
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
