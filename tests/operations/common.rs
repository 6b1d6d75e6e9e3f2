//! Paths and requests that the tests of operations share.

use axum::body::Body;
use chrono::{DateTime, Utc};
use sample_platform::Item;
use serde_json::{Value, json};
use support::api::{Answer, Api, HEALTH_TOKEN, get, instant};

use crate::health_states::state;

pub const RUNS: &str = "/api/admin/analytics/runs";

pub const RECALCULATE: &str = "/api/admin/analytics/recalculate";

pub const HEALTH: &str = "/api/admin/analytics/health";

/// The `data` of a request that must succeed.
pub async fn data(api: &Api, uri: &str) -> Value {
    let answer = api.get(uri).await;
    assert_eq!(answer.status.as_u16(), 200, "{uri}: {}", answer.text());
    answer.assert_common_headers();
    let body = answer.json();
    assert_eq!(body["success"], true, "{body}");
    body["data"].clone()
}

pub fn bearer(uri: &str, token: &str) -> http::request::Builder {
    get(uri).header("Authorization", format!("Bearer {token}"))
}

pub async fn ask(api: &Api, token: &str) -> Answer {
    api.send(bearer(HEALTH, token).body(Body::empty()).unwrap()).await
}

/// The health, however it is.
pub async fn health(api: &Api) -> Value {
    let answer = ask(api, HEALTH_TOKEN).await;
    answer.assert_common_headers();
    let body = answer.json();
    if answer.status.as_u16() == 200 {
        assert_eq!(body["success"], true, "{body}");
        return body["data"].clone();
    }
    assert_eq!(answer.error(503), "failing");
    assert_eq!(body["details"]["status"], "failing", "{body}");
    for reason in body["details"]["reasons"].as_array().unwrap() {
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(reason["reason"].as_str().unwrap()), "{body}");
    }
    body["details"].clone()
}

pub fn reasons(health: &Value) -> Vec<(&str, Option<&str>, &str)> {
    let reasons = health["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|one| {
            (
                one["severity"].as_str().unwrap(),
                one["granularity"].as_str(),
                one["reason"].as_str().unwrap(),
            )
        })
        .collect()
}

pub fn standing<'health>(health: &'health Value, granularity: &str) -> &'health Value {
    let all = health["granularities"].as_array().unwrap();
    all.iter().find(|one| one["granularity"] == granularity).unwrap()
}

/// Noon of the Wednesday on which the platforms of these tests are counted first.
pub fn noon() -> DateTime<Utc> {
    instant("2026-05-20T12:00:00Z")
}

pub fn begin(at: &str) -> Item {
    state("hourly", &json!({"begin": {"S": at}}), &[])
}
