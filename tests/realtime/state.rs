//! The state of refreshing.

use chrono::TimeDelta;
use edge_analytics::{
    host::Severity,
    realtime::{RefreshOutcome, RefreshTrigger},
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::StandingHost,
    database::{Backend, TestTable},
    engine_suite::{end, platform},
    realtime::Surroundings,
};

use crate::common::refresh_at;

const STATE_ATTRIBUTES: [&str; 6] =
    ["leaseHolder", "leaseExpiresAt", "writtenAt", "writesOf", "writes", "refreshedAt"];

/// States that cannot be read, or say what cannot be.
fn damaged_states() -> Vec<Value> {
    let beyond = (end() + TimeDelta::days(3650)).timestamp_millis().to_string();
    vec![
        json!({"leaseExpiresAt": {"S": "soon"}}),
        json!({"leaseHolder": {"N": "5"}, "leaseExpiresAt": {"N": "0"}}),
        json!({"writtenAt": {"M": {"at": {"N": "1"}}}, "leaseHolder": {"S": "somebody"}}),
        json!({"writes": {"N": "-1"}}),
        json!({"writes": {"N": "99999999999999999999"}, "writesOf": {"S": "2026-06-01"}}),
        json!({"writesOf": {"NULL": true}}),
        json!({"refreshedAt": {"BOOL": true}}),
        // Readable, but they would stop every refresh for ten years, or overflow.
        json!({"leaseExpiresAt": {"N": beyond}, "leaseHolder": {"S": "somebody"}}),
        json!({"writtenAt": {"N": beyond}}),
        json!({"writtenAt": {"N": i64::MIN.to_string()}}),
        json!({"refreshedAt": {"N": beyond}}),
    ]
}

fn state_item(attributes: &Value) -> Item {
    let mut item = attributes.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({"S": "ANALYTICS_STATE"}));
    item.insert("SK".to_owned(), json!({"S": "realtime"}));
    item
}

async fn stored_state(table: &TestTable) -> Value {
    let key = edge_analytics::dynamodb::key("ANALYTICS_STATE", "realtime");
    let item = table
        .client()
        .get(&table.name, key, edge_analytics::dynamodb::Read::Consistent)
        .await
        .unwrap()
        .unwrap();
    serde_json::to_value(item).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_replaced_and_logged_once() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    for damaged in damaged_states() {
        table.put(&[state_item(&damaged)]).await;
        let host = StandingHost::at(end());
        let surroundings = Surroundings::default();
        let refresh = async || {
            refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Tick)
                .await
        };
        assert!(matches!(refresh().await, RefreshOutcome::Counted(_)), "{damaged}");
        assert_eq!(surroundings.snapshots.puts(), 1, "{damaged}");
        let state = stored_state(&table).await;
        for name in STATE_ATTRIBUTES {
            let kind = if ["leaseHolder", "writesOf"].contains(&name) { "S" } else { "N" };
            assert!(state[name][kind].is_string(), "{damaged}: {name} is {}", state[name]);
        }
        let written = end().timestamp_millis().to_string();
        assert_eq!(
            (&state["writtenAt"]["N"], &state["refreshedAt"]["N"], &state["writes"]["N"]),
            (&json!(written), &json!(written), &json!("1")),
            "{damaged}"
        );
        // The error names the item. Afterwards there is none.
        host.set(end() + TimeDelta::minutes(5));
        assert!(matches!(refresh().await, RefreshOutcome::Counted(_)), "{damaged}");
        let named: Vec<_> = host
            .lines()
            .into_iter()
            .filter(|(_, line)| line["problems"].to_string().contains("ANALYTICS_STATE / realtime"))
            .collect();
        assert_eq!(named.len(), 1, "{damaged}: {named:?}");
        assert_eq!(named[0].0, Severity::Error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_simultaneous_replacements_of_a_damaged_state_one_counts() {
    let mut items = platform(20);
    items.push(state_item(&json!({"writtenAt": {"S": "yesterday"}})));
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refreshes = (0..6).map(|_| {
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Tick)
    });
    let outcomes = futures_util::future::join_all(refreshes).await;
    let counted =
        outcomes.iter().filter(|outcome| matches!(outcome, RefreshOutcome::Counted(_))).count();
    assert_eq!(counted, 1, "{outcomes:?}");
    assert_eq!(surroundings.snapshots.puts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_could_not_be_stored_is_not_refreshed() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let surroundings = Surroundings::default();
    let refresh = async |minutes: i64| {
        host.set(end() + TimeDelta::minutes(minutes));
        refresh_at(&table.endpoint, &table.name, &host, &surroundings, RefreshTrigger::Tick).await;
        stored_state(&table).await
    };
    let millis =
        |minutes: i64| json!((end() + TimeDelta::minutes(minutes)).timestamp_millis().to_string());
    refresh(0).await;
    surroundings.snapshots.break_down(true);
    let state = refresh(5).await;
    assert_eq!(
        (&state["writtenAt"]["N"], &state["refreshedAt"]["N"]),
        (&millis(5), &millis(0)),
        "{state}"
    );
    surroundings.snapshots.break_down(false);
    assert_eq!(refresh(10).await["refreshedAt"]["N"], millis(10));
}
