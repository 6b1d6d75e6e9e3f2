//! Requests that are rejected.

use axum::body::Body;
use chrono::TimeDelta;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use support::api::{TOKEN, get, with_token};

use crate::common::{RECALCULATE, World, begin, everything, range};

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_answered_by_name() {
    let world = World::new().await;
    let good = everything("hourly");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(name);
        body
    };
    for (body, error) in [
        (without("metricType"), "metricType is required"),
        (without("granularity"), "granularity is required"),
        (without("startDate"), "startDate is required"),
        (without("endDate"), "endDate is required"),
        (with("startDate", json!("yesterday")), "Invalid startDate format. Use ISO 8601 format"),
        (with("startDate", json!("2026-08-01")), "startDate must be before endDate"),
        (
            with("granularity", json!("yearly")),
            "Invalid granularity. Must be one of: hourly, daily, weekly, monthly",
        ),
        (with("metricType", json!(7)), "metricType must be a string"),
        (with("metricType", json!(true)), "metricType must be a string"),
        (with("force", json!("yes")), "Unknown field: force"),
        (with("startDate", json!("2020-01-01")), "Range too large"),
        (with("metricType", json!("storage")), "Nothing to recalculate"),
        (
            range("users", "hourly", begin() - TimeDelta::hours(9), begin() - TimeDelta::hours(2)),
            "Nothing to recalculate",
        ),
        (json!([1, 2]), "Invalid JSON body"),
        (json!("text"), "Invalid JSON body"),
    ] {
        let answer = world.post(&body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"], error, "{body}");
        assert_eq!(answer.json()["success"], false);
    }
    let send = |body: Vec<u8>, content_type: &'static str| {
        let request = with_token(Request::builder().method(Method::POST).uri(RECALCULATE))
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .unwrap();
        world.api.send(request)
    };
    let repeated = br#"{"metricType": "all", "metricType": "users"}"#.to_vec();
    assert_eq!(send(repeated, "application/json").await.json()["error"], "metricType is repeated");
    let cut = send(b"{".to_vec(), "application/json; charset=utf-8").await;
    assert_eq!(
        (cut.status, &cut.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("Invalid JSON body"))
    );
    let deep = send("[".repeat(60_000).into_bytes(), "application/json").await;
    assert_eq!(deep.status, StatusCode::BAD_REQUEST);
    let large = send(vec![b' '; 64 * 1024 + 1], "application/json").await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    // What a form on another site could send with the cookie.
    let form = send(good.to_string().into_bytes(), "text/plain").await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let stranger = Request::builder()
        .method(Method::POST)
        .uri(RECALCULATE)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(good.to_string()))
        .unwrap();
    assert_eq!(world.api.send(stranger).await.status, StatusCode::UNAUTHORIZED);
    for id in ["0123", "latest%23abc", &"0".repeat(32), &"x".repeat(500)] {
        let answer = world.api.get(format!("{RECALCULATE}/{id}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
    }
    let stranger =
        world.api.send(get(format!("{RECALCULATE}/0")).body(Body::empty()).unwrap()).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.queue.waiting(), 0);
    assert!(!TOKEN.is_empty());
}

/// A full queue is reported, and the request can be repeated at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_reported() {
    let world = World::new().await;
    world.queue.refuse(true);
    let answer = world.post(&everything("daily")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.headers.contains_key(header::RETRY_AFTER));
    world.queue.refuse(false);
    let job = world.start(&everything("daily")).await;
    assert_eq!((&job["status"], world.queue.waiting()), (&json!("queued"), 1));
}
