//! No silent zero: malformed items and values of a wrong type.

use std::collections::BTreeMap;

use edge_analytics::{metrics::period::Granularity, store::ledger::Status};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, StandingHost, instant},
    database::{Backend, TestTable},
    timeline::{medium, on_time},
};

use crate::{
    common::{HEALTH, data, health, noon, reasons},
    health_states::realtime_state,
};

/// The reasons that health gives, each with its severity.
async fn stated(api: &Api) -> Vec<(String, String)> {
    let health = api.get(HEALTH).await.json();
    let data = health.get("data").unwrap_or(&health["details"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let reasons = data["reasons"].as_array().unwrap().iter();
    reasons.map(|reason| (text(&reason["severity"]), text(&reason["reason"]))).collect()
}

/// A source of which no item can be understood gives no value, and says why; one that had items and
/// has none now is named.
#[tokio::test]
async fn a_source_that_cannot_be_understood_or_is_emptied_is_named() {
    let mut wrong = medium("m1", "2026-06-01T00:10");
    wrong["createdAt"] = json!({"N": "1780272600000"});
    let table = TestTable::with(Backend::Dynoxide, &[wrong.clone()]).await;
    let api_at = |now: &str| Api::new(&table.endpoint, &table.name, StandingHost::at(instant(now)));
    let stored = async || {
        let query = "metricType=media&granularity=hourly&startDate=2026-06-01&endDate=2026-06-02";
        let data = api_at("2026-06-01T05:30:00Z").metrics(query).await.json();
        data["data"]["dataPoints"][0]["metrics"].clone()
    };
    let report = on_time(&table, Granularity::Hourly, "2026-06-01T01:00").await;
    assert_eq!(report.status, Status::Partial, "{report:?}");
    assert!(report.unreadable["totalMedia"].reason.contains("`createdAt`"), "{report:?}");
    assert!(stored().await.get("totalMedia").is_none(), "{}", stored().await);
    let health = stated(&api_at("2026-06-01T01:05:00Z")).await;
    let named = health.iter().find(|(_, reason)| reason.contains("totalMedia")).unwrap();
    assert_eq!(named.0, "degraded");
    let data = api_at("2026-06-01T01:05:00Z").get(HEALTH).await.json();
    let share = &data["data"]["granularities"][0]["malformedPercent"]["totalMedia"];
    assert_eq!(share, &json!(100.0));

    // Mended: the value is there, and nothing is wrong any more.
    table.put(&[medium("m1", "2026-06-01T01:10")]).await;
    let report = on_time(&table, Granularity::Hourly, "2026-06-01T02:00").await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    assert_eq!(stored().await["totalMedia"], 1);
    assert_eq!(stated(&api_at("2026-06-01T02:05:00Z")).await, []);

    // Emptied.
    let key = edge_analytics::dynamodb::key("MEDIA#m1", "METADATA");
    let delete = edge_analytics::dynamodb::WriteRequest::DeleteRequest { key };
    table.client().batch_write(&table.name, vec![delete]).await.unwrap();
    let report = on_time(&table, Granularity::Hourly, "2026-06-01T03:00").await;
    let expected = "source `media` had items before and has none now; check its `index` and \
                    `partitions` in metrics.toml against the table";
    assert_eq!(report.problems, [expected]);
    let health = stated(&api_at("2026-06-01T03:05:00Z")).await;
    assert_eq!(health, [("degraded".to_owned(), expected.to_owned())]);
}

/// A realtime counter of which every item is malformed is absent; the state has the counts, the log
/// line too, and health the reason and the share.
#[tokio::test]
async fn a_counter_of_malformed_items_is_absent_and_named() {
    const REALTIME: &str = "/api/admin/analytics/realtime?fresh=true";
    let wrong = |name: &str, at: &str| {
        let mut item = medium(name, at);
        item["createdAt"] = json!({"S": "soon"});
        item
    };
    let items = [wrong("m1", "2026-06-01T00:10"), wrong("m2", "2026-06-01T00:11")];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(instant("2026-06-01T00:30:00Z"));
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let counters = async || {
        let counters = data(&api, REALTIME).await["counters"].clone();
        let counters = counters.as_array().unwrap().iter();
        let value = |counter: &Value| {
            (counter["metricKey"].as_str().unwrap().to_owned(), counter["value"].clone())
        };
        counters.map(value).collect::<BTreeMap<String, Value>>()
    };
    let found = counters().await;
    assert!(!found.contains_key("newMediaToday"), "{found:?}");
    assert!(!found.contains_key("newMediaLast24Hours"), "{found:?}");
    assert_eq!(found["newAlbumsToday"], 0);
    let line = || {
        let mut lines = host.lines().into_iter().map(|(_, line)| line);
        lines.rfind(|line| line["event"] == "realtime").unwrap()
    };
    assert_eq!(line()["malformed"], json!({"newMedia": 2, "totalMedia": 2}));
    assert_eq!(line()["status"], "partial");
    assert!(line()["problems"].to_string().contains("(2 items)"), "{}", line());

    let health = async || data(&api, HEALTH).await;
    let found = health().await;
    let reason = "a realtime counter has no current value: metric `newMedia`: every item of source \
                  `media` that can lie in 2026-06-01T00:00:00.000Z to 2026-06-01T00:29:59.999Z is \
                  malformed: `createdAt` must be an RFC 3339 date-time with a time zone, such as \
                  2026-03-01T12:00:00.000Z; found another string";
    assert!(reasons(&found).contains(&("degraded", None, reason)), "{found}");
    let shares = json!({"newMedia": 100.0, "totalMedia": 100.0});
    assert_eq!(found["realtimeMalformedPercent"], shares);
    assert!(!found.to_string().contains("items)"), "{found}");

    // One that can be read: the others are exceptions.
    table.put(&[medium("m3", "2026-06-01T00:29")]).await;
    host.set(instant("2026-06-01T00:31:00Z"));
    assert_eq!(counters().await["newMediaToday"], 1);
    assert_eq!(line()["malformed"], json!({"newMedia": 2, "totalMedia": 2}));
    let found = health().await;
    assert_eq!(reasons(&found), [("degraded", None, "no hour has been counted yet")]);
    let shares = json!({"newMedia": 66.7, "totalMedia": 66.7});
    assert_eq!(found["realtimeMalformedPercent"], shares);
}

/// That part of the state can be damaged as well.
#[tokio::test]
async fn a_damaged_quality_of_the_counters_is_named() {
    for damaged in [
        json!({"S": "swordfish"}),
        json!({"M": {"malformed": {"S": "swordfish"}}}),
        json!({"M": {"malformed": {"M": {"newMedia": {"N": "5"}}}}}),
        json!({"M": {"unreadable": {"L": []}}}),
    ] {
        let item = realtime_state(&json!({"quality": damaged}));
        let table = TestTable::with(Backend::Dynoxide, &[item]).await;
        let host = StandingHost::at(noon());
        let api = Api::new(&table.endpoint, &table.name, host.clone());
        let found = health(&api).await;
        let reason = "the state of the realtime counters is damaged; the next refresh replaces it";
        assert!(reasons(&found).contains(&("degraded", None, reason)), "{damaged}: {found}");
        assert!(!found.to_string().contains("swordfish"), "{found}");
        assert!(host.lines().iter().any(|(_, line)| line["event"] == "unreadable_state"));
        // The next refresh replaces it.
        data(&api, "/api/admin/analytics/realtime?fresh=true").await;
        let found = health(&api).await;
        assert_eq!(reasons(&found), [("degraded", None, "no hour has been counted yet")]);
    }
}

/// A user of the shipped catalogue.
fn user(id: &str, created: &str, is_active: &Value) -> Item {
    let user = json!({
        "PK": {"S": format!("USER#{id}")}, "SK": {"S": "METADATA"}, "EntityType": {"S": "User"},
        "GSI3PK": {"S": "USER_USERNAME"}, "GSI3SK": {"S": id}, "userId": {"S": id},
        "createdAt": {"S": created}, "isActive": is_active,
    });
    user.as_object().unwrap().clone()
}

/// The metrics of a type's record of the hour that starts there on 2026-06-01.
async fn metrics_of(table: &TestTable, metric_type: &str, hour: &str) -> Value {
    let api =
        Api::new(&table.endpoint, &table.name, StandingHost::at(instant("2026-06-01T23:00:00Z")));
    let query = format!(
        "metricType={metric_type}&granularity=hourly&startDate=2026-06-01T{hour}:00Z\
         &endDate=2026-06-01T{hour}:01Z"
    );
    api.data(query).await["dataPoints"][0]["metrics"].clone()
}

/// A user who signed up in the last half millisecond of an hour is new in it and one of its total;
/// no user has left.
#[tokio::test]
async fn an_instant_finer_than_a_millisecond_invents_no_departure() {
    let old = user("u0", "2026-05-01T09:00:00.000Z", &json!({"BOOL": true}));
    let table = TestTable::with(Backend::Dynoxide, &[old]).await;
    on_time(&table, Granularity::Hourly, "2026-06-01T11:00").await;
    let last = user("u1", "2026-06-01T11:59:59.999500Z", &json!({"BOOL": true}));
    table.put(&[last]).await;
    for event in ["2026-06-01T12:00", "2026-06-01T13:00"] {
        let report = on_time(&table, Granularity::Hourly, event).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    for (hour, total, new) in [("11:00", 2, 1), ("12:00", 2, 0)] {
        let found = metrics_of(&table, "users", hour).await;
        assert_eq!(
            (&found["totalUsers"], &found["newUsers"], &found["deletedUsers"]),
            (&json!(total), &json!(new), &json!(0)),
            "{hour}: {found}"
        );
    }
}

/// Booleans in the shipped catalogue, in the forms in which applications store them.
#[tokio::test]
async fn a_truth_is_counted_however_it_is_written_and_never_as_its_opposite() {
    let yes = [
        json!({"BOOL": true}),
        json!({"S": "true"}),
        json!({"S": "True"}),
        json!({"N": "1"}),
        json!({"S": "1"}),
    ];
    let no = [json!({"BOOL": false}), json!({"S": "FALSE"}), json!({"N": "0"})];
    let neither = [json!({"S": "yes"}), json!({"N": "2"}), json!({"L": []}), json!({"S": ""})];
    let created = "2026-06-01T10:30:00.000Z";
    let values: Vec<&Value> = yes.iter().chain(&no).chain(&neither).collect();
    let mut items = Vec::new();
    for (number, value) in values.iter().enumerate() {
        items.push(user(&format!("u{number}"), created, value));
        let mut medium = medium(&format!("m{number}"), "2026-06-01T10:30");
        medium.insert("isPublic".to_owned(), (*value).clone());
        items.push(medium);
    }
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let report = on_time(&table, Granularity::Hourly, "2026-06-01T11:00").await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let users = metrics_of(&table, "users", "10:00").await;
    assert_eq!((&users["totalUsers"], &users["newUsers"]), (&json!(5), &json!(5)), "{users}");
    let media = metrics_of(&table, "media", "10:00").await;
    // Without a condition all of them are media.
    assert_eq!(
        (&media["publicMedia"], &media["privateMedia"], &media["totalMedia"]),
        (&json!(5), &json!(3), &json!(12)),
        "{media}"
    );
    for name in ["totalUsers", "newUsers", "publicMedia", "privateMedia"] {
        assert_eq!(report.malformed[name], 4, "{name}");
    }
}
