//! When DynamoDB does not answer, and when the Worker is misconfigured.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use edge_analytics::{
    api::{ApiError, out_of_service},
    dynamodb::RetryPolicy,
    host::Severity,
    settings::Settings,
};
use http::{Request, StatusCode};
use serde_json::json;
use support::{
    api::{
        AWS_SECRET, Api, IMPATIENT, METRICS, TOKEN, history, known_accounts, variable, with_token,
    },
    database::{Backend, TestTable},
    engine_suite::end,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::{
    authentication::cookie,
    common::{all_hours, assert_series, large_hours, range},
};

#[tokio::test]
async fn a_session_that_cannot_be_looked_up_is_a_503_and_never_a_401() {
    let session = known_accounts().administrator.session_id;
    for fault in [Fault::Dropped, Fault::Throttled, Fault::ServerError] {
        for partition in ["SESSION#", "USER#"] {
            let is_down = Arc::new(AtomicBool::new(true));
            let down = is_down.clone();
            let proxy = FaultProxy::start(&history().table.endpoint, move |seen| {
                let key = seen.body["Key"]["PK"]["S"].as_str().unwrap_or("");
                let hit = down.load(Ordering::SeqCst) && key.starts_with(partition);
                if hit { fault } else { Fault::None }
            })
            .await;
            let host = TestHost::at(end());
            let table = &history().table.name;
            let api = Api::with_policy(&proxy.endpoint, table, host, IMPATIENT);
            let answer = api.send(cookie(&session)).await;
            assert_eq!(answer.error(503), "Database unavailable", "{fault:?} {partition}");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            assert_eq!(answer.header("www-authenticate"), None);
            // The failure is not remembered.
            is_down.store(false, Ordering::SeqCst);
            assert_eq!(api.send(cookie(&session)).await.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn a_lookup_that_is_denied_is_a_500_and_never_a_401() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| {
        if seen.operation == "GetItem" { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let answer = history().api_through(&proxy.endpoint).send(cookie("any-session")).await;
    assert_eq!(answer.error(500), "Database error");
}

#[tokio::test]
async fn a_database_that_is_down_or_throttled_is_a_503_that_says_when_to_come_back() {
    let nobody = "http://127.0.0.1:9";
    let short = RetryPolicy { attempt_timeout: Duration::from_millis(20), ..IMPATIENT };
    let slow = Fault::Slow(Duration::from_mins(1));
    for (fault, policy) in [
        (Some(Fault::Throttled), IMPATIENT),
        (Some(Fault::ServerError), IMPATIENT),
        (Some(Fault::Dropped), IMPATIENT),
        (Some(Fault::AnswerLost), IMPATIENT),
        // It may have been cut off on its way.
        (Some(Fault::MalformedJson), IMPATIENT),
        (Some(slow), short),
        (None, IMPATIENT),
    ] {
        let proxy =
            FaultProxy::start(&history().table.endpoint, move |_| fault.unwrap_or(Fault::None))
                .await;
        let endpoint = if fault.is_some() { &proxy.endpoint } else { nobody };
        let host = TestHost::at(end());
        let api = Api::with_policy(endpoint, &history().table.name, host.clone(), policy);
        for metric_type in ["users", "all"] {
            let answer = api.metrics(all_hours(metric_type)).await;
            assert_eq!(answer.error(503), "Database unavailable", "{fault:?}");
            assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
            let text = answer.text();
            assert!(!text.contains("injected") && !text.contains("127.0.0.1"), "{text}");
            // The operator finds the cause under the request's id.
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!(severity, Severity::Error);
            assert_eq!(line["requestId"], answer.assert_common_headers());
            assert_eq!(line["status"], 503);
            assert!(line["cause"].as_str().unwrap().starts_with("GetItem on platform"), "{line}");
            assert!(!line.to_string().contains("127.0.0.1"), "{line}");
        }
    }
}

#[tokio::test]
async fn an_error_of_aws_is_a_500_without_its_message() {
    let denied = |_: &_| Fault::AccessDenied;
    let proxy = FaultProxy::start(&history().table.endpoint, denied).await;
    let host = TestHost::at(end());
    let api = Api::with_policy(&proxy.endpoint, &history().table.name, host.clone(), IMPATIENT);
    let answer = api.metrics(all_hours("users")).await;
    assert_eq!(answer.error(500), "Database error");
    assert_eq!(answer.header("retry-after"), None);
    assert!(!answer.text().contains("injected"), "{}", answer.text());
    // It is not tried again: that cannot help.
    assert_eq!(proxy.seen().len(), 1);
    let (severity, line) = host.lines().pop().unwrap();
    assert_eq!(severity, Severity::Error);
    assert_eq!(line["requestId"], answer.assert_common_headers());
    assert_eq!(line["status"], 500);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("AccessDeniedException"), "{cause}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_500_in_the_error_shape() {
    let host = TestHost::at(end());
    let api = Api::with_policy(&history().table.endpoint, "no-such-table", host.clone(), IMPATIENT);
    let answer = api.metrics(all_hours("users")).await;
    assert_eq!(answer.error(500), "Database error");
    assert_eq!(answer.json()["details"]["code"], "ResourceNotFoundException");
}

#[tokio::test]
async fn a_page_that_fails_half_way_fails_the_whole_answer() {
    let table = TestTable::with(Backend::Dynoxide, &large_hours()).await;
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.body.get("ExclusiveStartKey").is_some() { Fault::Throttled } else { Fault::None }
    })
    .await;
    let api = Api::with_policy(&proxy.endpoint, &table.name, TestHost::at(end()), IMPATIENT);
    // The points of the first page alone would look like an answer.
    let answer = api.metrics(range("users", "hourly", "2026-06-01", "2026-06-02")).await;
    assert_eq!(answer.error(503), "Database unavailable");
}

#[tokio::test]
async fn transient_faults_are_not_visible() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| match seen.number {
        0 => Fault::Throttled,
        1 => Fault::Dropped,
        2 => Fault::ServerError,
        _ => Fault::None,
    })
    .await;
    let data = history().api_through(&proxy.endpoint).data(all_hours("users")).await;
    assert_series(&data, "users");
    assert_eq!(proxy.seen().len(), 3 + 2);
}

#[tokio::test]
async fn a_misconfigured_worker_names_the_variable_and_not_its_value() {
    for (name, value) in [
        ("AWS_REGION", None),
        ("AWS_ACCESS_KEY_ID", None),
        ("AWS_SECRET_ACCESS_KEY", None),
        ("AWS_SECRET_ACCESS_KEY", Some("hidden value")),
        ("AWS_SESSION_TOKEN", Some("hidden value")),
        ("DYNAMODB_TABLE", None),
        ("DYNAMODB_TABLE", Some("hidden/value")),
        ("DYNAMODB_ENDPOINT", Some("http://user:hidden@localhost:8000")),
        ("API_TOKENS", None),
        ("API_TOKENS", Some("hidden:value")),
        ("ALLOWED_ORIGINS", Some("https://admin.example.com/hidden")),
    ] {
        let problems = Settings::read(|variable_name| {
            if variable_name == name {
                value.map(str::to_owned)
            } else {
                variable(variable_name, "http://localhost:8000", "platform")
            }
        })
        .unwrap_err();
        let host = TestHost::at(end());
        let api = Api(out_of_service(ApiError::Misconfigured(problems), host.clone()));
        for (method, path) in [("GET", METRICS), ("POST", METRICS), ("GET", "/nowhere")] {
            let request = with_token(Request::builder().method(method).uri(path));
            let answer = api.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.error(500), "misconfigured", "{name}");
            let body = answer.json();
            assert_eq!(body["details"], json!({"variables": [name]}));
            assert!(body["message"].as_str().unwrap().contains(name), "{body}");
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!(severity, Severity::Error);
            assert_eq!(line["requestId"], answer.assert_common_headers());
            assert!(line["cause"].as_str().unwrap().contains(name), "{line}");
            for text in [answer.text(), format!("{:?}", answer.headers), line.to_string()] {
                assert!(!text.contains("hidden"), "{text}");
                assert!(!text.contains(AWS_SECRET), "{text}");
                assert!(!text.contains(TOKEN), "{text}");
            }
        }
    }
}
