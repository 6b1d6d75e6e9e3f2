//! `GET /session`.

use axum::body::Body;
use http::StatusCode;
use serde_json::json;
use support::{
    api::{Answer, Api, HEALTH_TOKEN, IMPATIENT, ORIGIN, TOKEN, get, history, known_accounts},
    engine_suite::end,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

const SESSION: &str = "/api/admin/analytics/session";

/// Asks for the session with this header.
async fn session_with(api: &Api, name: &str, value: &str) -> Answer {
    api.send(get(SESSION).header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_session_shows_whether_the_caller_is_signed_in_and_never_why_not() {
    let accounts = known_accounts();
    let cookie = |session: &str| ("Cookie", format!("user_session={session}"));
    let bearer = |credential: &str| ("Authorization", format!("Bearer {credential}"));
    let administrator = &accounts.administrator.session_id;
    for ((name, value), method) in [
        (bearer(TOKEN), Some("token")),
        (cookie(administrator), Some("session")),
        (bearer(administrator), Some("session")),
        (("Accept", "application/json".to_owned()), None),
        (bearer("wrong"), None),
        (bearer(HEALTH_TOKEN), None),
        (("Authorization", format!("Basic {TOKEN}")), None),
        (cookie(TOKEN), None),
        (cookie(&accounts.expired_session_id), None),
        (cookie(&accounts.deactivated_session_id), None),
        (cookie(&accounts.ordinary_session_id), None),
        (cookie("5e5510f0-0000-4000-8000-000000000000"), None),
    ] {
        let api = history().api();
        // Twice: what was looked up and what is remembered answer the same.
        for _ in 0..2 {
            let answer = session_with(&api, name, &value).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
            answer.assert_common_headers();
            assert_eq!(answer.header("www-authenticate"), None);
            assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
            let expected = json!({
                "success": true, "data": {"signedIn": method.is_some(), "method": method},
            });
            assert_eq!(answer.json(), expected, "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn the_session_is_answered_to_the_configured_origin_only() {
    let api = history().api();
    let answer = session_with(&api, "Origin", ORIGIN).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let answer = session_with(&api, "Origin", "https://example.org").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    let answer = api.get(format!("{SESSION}?token=1")).await;
    assert_eq!(answer.error(400), "Unknown parameter: token");
}

/// A failed lookup does not mean that the caller is not signed in.
#[tokio::test]
async fn a_session_that_cannot_be_looked_up_is_unknown_and_not_signed_out() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::Throttled).await;
    let table = &history().table.name;
    let api = Api::with_policy(&proxy.endpoint, table, TestHost::at(end()), IMPATIENT);
    let session = known_accounts().administrator.session_id;
    let answer = session_with(&api, "Cookie", &format!("user_session={session}")).await;
    assert_eq!(answer.error(503), "Database unavailable");
    // A token needs no database, and neither does nothing at all.
    let answer = session_with(&api, "Authorization", &format!("Bearer {TOKEN}")).await;
    assert_eq!(answer.json()["data"]["signedIn"], true);
    let answer = session_with(&api, "Accept", "application/json").await;
    assert_eq!(answer.json()["data"]["signedIn"], false);
}
