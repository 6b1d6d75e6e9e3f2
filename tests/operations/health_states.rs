//! `GET /health` over run states written by hand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::host::Severity;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, HEALTH_TOKEN, IMPATIENT, StandingHost, TOKEN, instant, stamp},
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::common::{ask, health, noon, reasons};

/// States as runs leave them, written by hand.
pub fn state(granularity: &str, state: &Value, marks: &[&str]) -> Item {
    let mut item = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": granularity},
        "EntityType": {"S": "AnalyticsState"}, "runState": {"M": state},
    });
    if !marks.is_empty() {
        item["staleMarks"] = json!({"SS": marks});
    }
    item.as_object().unwrap().clone()
}

#[tokio::test]
async fn health_follows_from_the_run_states() {
    let holes: Vec<Value> = (0..30)
        .map(|hour| json!({"S": stamp(instant("2026-05-19T00:00:00Z") + TimeDelta::hours(hour))}))
        .collect();
    let items = [
        state(
            "hourly",
            &json!({
                "begin": {"S": "2026-05-01T00:00:00.000Z"},
                "watermark": {"S": "2026-05-20T11:00:00.000Z"},
                "lastRunAt": {"S": "2026-05-20T12:00:00.500Z"}, "lastStatus": {"S": "complete"},
                "lastSuccessAt": {"S": "2026-05-20T12:00:00.500Z"},
                "holes": {"L": holes}, "left": {"N": "30"},
            }),
            &[],
        ),
        state(
            "daily",
            &json!({
                "watermark": {"S": "2026-05-17T00:00:00.000Z"},
                "lastRunAt": {"S": "2026-05-18T00:05:00.000Z"}, "lastStatus": {"S": "partial"},
                "failingTypes": {"M": {"users": {
                    "S": "refused: arn:aws:iam::123456789012:user/worker is not authorized"}}},
            }),
            &[
                "2026-05-16T00:00:00.000Z#2026-05-20T11:00:00.000Z",
                "2026-05-16T00:00:00.000Z#2026-05-20T11:30:00.000Z",
                "2026-05-17T00:00:00.000Z#2026-05-20T11:00:00.000Z",
            ],
        ),
        state("weekly", &json!({"watermark": {"S": "2026-05-11T00:00:00.000Z"}}), &[]),
    ];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(noon() + TimeDelta::minutes(30));
    let api = Api::new(&proxy.endpoint, &table.name, host);
    insta::assert_snapshot!("health_failing", ask(&api, HEALTH_TOKEN).await.shown(&[]));

    // All of it in one request.
    let seen = proxy.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].0, "BatchGetItem");
    let keys = seen[0].1["RequestItems"]["platform"]["Keys"].as_array().unwrap();
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_failing_and_its_content_stays_in_the_log() {
    let items = [state("weekly", &json!({"left": {"S": "swordfish"}}), &[])];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(noon());
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let found = health(&api).await;
    assert_eq!(
        reasons(&found)[0],
        (
            "failing",
            Some("weekly"),
            "run state item ANALYTICS_STATE / weekly: attribute `runState.left` has an invalid \
             type or value. Delete the item: the next weekly run then checks every period since the \
             first counted hour; stored records are kept"
        )
    );
    assert!(!found.to_string().contains("swordfish"), "{found}");
    let lines = host.lines();
    assert!(lines.iter().any(|(_, line)| line["event"] == "unreadable_state"), "{lines:?}");
}

/// The state of refreshing the realtime counters, written by hand.
pub fn realtime_state(attributes: &Value) -> Item {
    let mut item = attributes.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({"S": "ANALYTICS_STATE"}));
    item.insert("SK".to_owned(), json!({"S": "realtime"}));
    item
}

#[tokio::test]
async fn the_state_of_the_counters_is_part_of_health() {
    let millis = |at: DateTime<Utc>| json!({"N": at.timestamp_millis().to_string()});
    let since = |minutes: i64| millis(noon() - TimeDelta::minutes(minutes));
    let old = "the realtime counters were last refreshed at 2026-05-20T10:59:00.000Z, but are due \
               every 5 minutes; check the cron trigger that REALTIME_CRON names";
    let damaged = "the state of the realtime counters is damaged; the next refresh replaces it";
    for (attributes, expected) in [
        (json!({"refreshedAt": since(60), "writtenAt": since(0)}), None),
        (json!({"refreshedAt": since(61), "writtenAt": since(0)}), Some(old)),
        // Written before `refreshedAt` was.
        (json!({"writtenAt": since(60)}), None),
        (json!({"writtenAt": since(61)}), Some(old)),
        // Before the first refresh.
        (json!({"leaseExpiresAt": since(0)}), None),
        (json!({"writtenAt": {"S": "swordfish"}}), Some(damaged)),
        (json!({"writtenAt": millis(noon() + TimeDelta::hours(1))}), Some(damaged)),
    ] {
        let table = TestTable::with(Backend::Dynoxide, &[realtime_state(&attributes)]).await;
        let host = StandingHost::at(noon());
        let api = Api::new(&table.endpoint, &table.name, host.clone());
        let found = health(&api).await;
        let mut reasons = reasons(&found);
        assert_eq!(reasons.remove(0), ("degraded", None, "no hour has been counted yet"));
        let expected: Vec<_> = expected.iter().map(|reason| ("degraded", None, *reason)).collect();
        assert_eq!(reasons, expected, "{attributes}");
        let is_logged = host.lines().iter().any(|(severity, line)| {
            *severity == Severity::Error
                && line["event"] == "unreadable_state"
                && line["reason"].as_str().unwrap().contains("ANALYTICS_STATE / realtime")
        });
        assert_eq!(is_logged, expected.iter().any(|(.., reason)| *reason == damaged));
        assert!(!found.to_string().contains("swordfish"), "{found}");
    }
}

#[tokio::test]
async fn health_without_dynamodb_is_failing() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    for (fault, snapshot, cause) in [
        (Fault::Throttled, "health_with_dynamodb_throttled", "ThrottlingException"),
        (Fault::Dropped, "health_without_dynamodb", "connection failed"),
        (Fault::AccessDenied, "health_with_access_denied", "AccessDeniedException"),
    ] {
        let proxy = FaultProxy::start(&table.endpoint, move |_| fault).await;
        let host = TestHost::at(noon());
        let api = Api::with_policy(&proxy.endpoint, &table.name, host.clone(), IMPATIENT);
        for token in [HEALTH_TOKEN, TOKEN] {
            let answer = ask(&api, token).await;
            assert_eq!(answer.error(503), "failing", "{fault:?}");
            insta::allow_duplicates! {
                insta::assert_snapshot!(snapshot, answer.shown(&["checkedAt"]));
            }
            assert!(!answer.text().contains("injected"), "{}", answer.text());
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!((severity, &line["status"]), (Severity::Error, &json!(503)));
            assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
        }
    }
}

/// A monitor gives up after ten seconds or so.
#[tokio::test]
async fn health_does_not_wait_for_dynamodb() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::Slow(Duration::from_mins(5))).await;
    let api = Api::new(&proxy.endpoint, &table.name, TestHost::at(noon()));
    let answer = tokio::time::timeout(Duration::from_secs(10), ask(&api, HEALTH_TOKEN)).await;
    assert_eq!(answer.unwrap().error(503), "failing");
}
