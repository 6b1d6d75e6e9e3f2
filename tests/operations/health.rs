//! `GET /health` while runs go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::body::Body;
use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::AttributeValue, metrics::period::Granularity, settings::Settings,
    store::ledger::Status,
};
use serde_json::{Value, json};
use support::{
    api::{Api, HEALTH_TOKEN, IMPATIENT, METRICS, StandingHost, TOKEN, get, instant, variable},
    database::{Backend, TestTable},
    engine_suite::{end, engine, engine_at, platform},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::common::{HEALTH, RUNS, ask, bearer, health, noon, reasons, standing};

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_runs() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = TestHost::at(noon());
    let engine = engine(&table, host.clone());
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let found = health(&api).await;
    assert_eq!(found["status"], "degraded");
    assert_eq!(reasons(&found), [("degraded", None, "no hour has been counted yet")]);
    for granularity in ["hourly", "daily", "weekly", "monthly"] {
        assert_eq!(
            standing(&found, granularity),
            &json!({
                "granularity": granularity, "lastRunAt": null, "lastSuccessAt": null,
                "lastStatus": null, "watermark": null, "lag": 0, "holes": [],
                "failingTypes": {}, "stale": 0,
            })
        );
    }

    // Two hours are counted, each by its event.
    for hours in [0, 1] {
        host.set(noon() + TimeDelta::hours(hours));
        let report = engine.run(Granularity::Hourly, noon() + TimeDelta::hours(hours)).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    let found = health(&api).await;
    assert_eq!((&found["status"], &found["reasons"]), (&json!("ok"), &json!([])));
    let hourly = standing(&found, "hourly");
    assert_eq!(hourly["watermark"], "2026-05-20T12:00:00.000Z");
    assert_eq!((&hourly["lag"], &hourly["lastStatus"]), (&json!(0), &json!("complete")));
    assert!(hourly["lastRunAt"].as_str().unwrap().starts_with("2026-05-20T13:00:0"), "{hourly}");
    assert_eq!(hourly["lastRunAt"], hourly["lastSuccessAt"]);
    assert!(found["checkedAt"].as_str().unwrap().starts_with("2026-05-20T13:00:0"), "{found}");

    // Events stay away.
    let behind = |periods: &str| {
        format!("{periods} behind: all records are complete up to 2026-05-20T12:00:00.000Z")
    };
    for (minutes, status, lag, sentence) in [
        (14, "ok", 0, None),
        (60 + 14, "ok", 0, None),
        (60 + 15, "degraded", 1, Some(behind("1 period"))),
        (120 + 15, "degraded", 2, Some(behind("2 periods"))),
        (180 + 15, "failing", 3, Some(behind("3 periods"))),
    ] {
        host.set(noon() + TimeDelta::hours(1) + TimeDelta::minutes(minutes));
        let found = health(&api).await;
        assert_eq!(found["status"], status, "{minutes}: {found}");
        assert_eq!(standing(&found, "hourly")["lag"], lag, "{minutes}");
        let expected: Vec<_> =
            sentence.iter().map(|text| (status, Some("hourly"), text.as_str())).collect();
        assert_eq!(reasons(&found), expected, "{minutes}");
    }

    // The next event makes up for all of them.
    host.set(noon() + TimeDelta::hours(5));
    engine.run(Granularity::Hourly, noon() + TimeDelta::hours(5)).await;
    assert_eq!(health(&api).await["status"], "ok");

    // The day of the first hour is due at 01:00; two days behind are failing.
    let midnight = instant("2026-05-21T00:00:00Z");
    let mut at = noon() + TimeDelta::hours(6);
    while at <= midnight + TimeDelta::hours(1) {
        host.set(at);
        engine.run(Granularity::Hourly, at).await;
        at += TimeDelta::hours(1);
    }
    let found = health(&api).await;
    assert_eq!(
        reasons(&found),
        [("degraded", Some("daily"), "1 period behind: no period is complete yet")]
    );
    engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    let found = health(&api).await;
    assert_eq!(found["status"], "ok", "{found}");
    assert_eq!(standing(&found, "daily")["watermark"], "2026-05-20T00:00:00.000Z");
}

/// A type that cannot be made degrades, all of them fail, and neither tells what only the operator
/// may know.
#[tokio::test(flavor = "multi_thread")]
async fn failing_types_are_named() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = TestHost::at(noon());
    let (media, states) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (is_media, is_states) = (media.clone(), states.clone());
    let proxy = FaultProxy::start(&table.endpoint, move |seen| {
        let hit = (is_media.load(Ordering::SeqCst) && seen.queries("MEDIA"))
            || (is_states.load(Ordering::SeqCst) && seen.operation == "BatchGetItem");
        if hit { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let engine = engine_at(&proxy.endpoint, &table.name, host.clone());
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let report = engine.run(Granularity::Hourly, noon()).await;
    assert_eq!(report.status, Status::Partial, "{report:?}");
    let found = health(&api).await;
    assert_eq!(found["status"], "degraded", "{found}");
    let hourly = standing(&found, "hourly");
    assert_eq!(hourly["lastStatus"], "partial");
    assert_eq!(hourly["lastSuccessAt"], Value::Null);
    assert_eq!(hourly["holes"], json!(["2026-05-20T11:00:00.000Z"]));
    let failing = hourly["failingTypes"].as_object().unwrap();
    assert_eq!(failing.keys().collect::<Vec<_>>(), ["media"]);
    let why = failing["media"].as_str().unwrap();
    assert!(why.contains("AccessDeniedException"), "{why}");
    let expected = format!("the last run could not compute media: {why}");
    assert!(reasons(&found).contains(&("degraded", Some("hourly"), &expected)), "{found}");

    // The stored records cannot be read: nothing can be made.
    states.store(true, Ordering::SeqCst);
    let report = engine.run(Granularity::Hourly, noon()).await;
    assert_eq!(report.status, Status::Failed, "{report:?}");
    let found = health(&api).await;
    assert_eq!(found["status"], "failing", "{found}");
    let (severity, granularity, text) = reasons(&found)[0];
    assert_eq!((severity, granularity), ("failing", Some("hourly")));
    assert!(text.starts_with("the last run could not compute any type: "), "{text}");

    for broken in [media, states] {
        broken.store(false, Ordering::SeqCst);
    }
    engine.run(Granularity::Hourly, noon()).await;
    assert_eq!(health(&api).await["status"], "ok");
}

#[tokio::test]
async fn the_health_token_is_valid_for_health_only() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(noon());
    let api = Api::new(&proxy.endpoint, &table.name, host.clone());
    for token in [HEALTH_TOKEN, TOKEN] {
        let answer = ask(&api, token).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!("health_before_the_first_hour", answer.shown(&[]));
        }
    }
    // Nothing was looked up for it.
    assert!(proxy.seen().iter().all(|(operation, _)| operation == "BatchGetItem"));

    let metrics = format!(
        "{METRICS}?metricType=users&granularity=daily&startDate=2026-05-01&endDate=2026-05-02"
    );
    for uri in [metrics.as_str(), RUNS] {
        let answer = api.send(bearer(uri, HEALTH_TOKEN).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.error(401), "Authentication required", "{uri}");
    }
    let cookie = |token: &str| get(HEALTH).header("Cookie", format!("user_session={token}"));
    for request in [
        get(HEALTH),
        bearer(HEALTH, "wrong"),
        bearer(HEALTH, &format!("{HEALTH_TOKEN}x")),
        bearer(HEALTH, support::api::HEALTH_TOKEN_DIGEST),
        cookie(HEALTH_TOKEN),
    ] {
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.error(401), "Authentication required");
        assert!(answer.header("www-authenticate").is_some());
    }
    let query = bearer(&format!("{HEALTH}?verbose=1"), HEALTH_TOKEN).body(Body::empty()).unwrap();
    assert_eq!(api.send(query).await.error(400), "Unknown parameter: verbose");
    // Where no token is configured none opens.
    let settings = Settings::read(|name| {
        let is_token = name == "HEALTH_TOKEN";
        if is_token { None } else { variable(name, &table.endpoint, &table.name) }
    });
    let closed = Api::with_settings(settings.unwrap(), host, IMPATIENT);
    assert_eq!(ask(&closed, HEALTH_TOKEN).await.error(401), "Authentication required");
    assert_eq!(ask(&closed, TOKEN).await.status.as_u16(), 200);
}

/// Everything stored of a platform's figures.
async fn stored_figures(table: &TestTable) -> BTreeMap<String, BTreeSet<String>> {
    let mut figures: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in table.records().await {
        let Some(AttributeValue::M(metrics)) = record.get("metrics") else { panic!("{record:?}") };
        for (name, value) in metrics {
            if let AttributeValue::N(value) = value {
                figures.entry(name.clone()).or_default().insert(value.clone());
            }
        }
    }
    figures
}

#[tokio::test(flavor = "multi_thread")]
async fn health_holds_no_figure_of_the_platform() {
    let table = TestTable::with(Backend::Dynoxide, &platform(150)).await;
    let host = TestHost::at(end());
    let report = engine(&table, host.clone()).run(Granularity::Hourly, end()).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let api = Api::new(&table.endpoint, &table.name, host);
    let mut found = health(&api).await;
    // Shares disclose no counts.
    let hours = found["granularities"][0].as_object_mut().unwrap();
    let shares = hours.remove("malformedPercent").unwrap();
    for (name, share) in shares.as_object().unwrap() {
        let share = share.as_f64().unwrap();
        assert!(share > 0.0 && share < 100.0, "{name}: {share}");
        assert!((share * 10.0 - (share * 10.0).round()).abs() < 1e-9, "{name}: {share}");
    }
    // Every number in the answer is one of the two that it may have; the rest are times and names.
    for standing in found["granularities"].as_array().unwrap() {
        for (name, value) in standing.as_object().unwrap() {
            assert_eq!(value.is_number(), ["lag", "stale"].contains(&&**name), "{name}: {value}");
        }
        assert_eq!((&standing["lag"], &standing["stale"]), (&json!(0), &json!(0)));
    }
    let text = found.to_string();
    let figures = stored_figures(&table).await;
    assert!(figures.len() > 20, "{figures:?}");
    for (name, values) in figures {
        assert!(!text.contains(&name), "{name} in {text}");
        // Short numbers are part of any time.
        for value in values.iter().filter(|value| value.len() > 4) {
            assert!(!text.contains(value), "{name} {value} in {text}");
        }
    }
}
