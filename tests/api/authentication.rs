//! API tokens and sessions.

use std::sync::Arc;

use axum::body::Body;
use chrono::TimeDelta;
use edge_analytics::dynamodb::{WriteRequest, key};
use http::{HeaderValue, Request, StatusCode};
use sample_platform::Item;
use serde_json::json;
use support::{
    api::{
        API_TOKENS, Answer, Api, METRICS, StandingHost, TOKEN, get, history, instant,
        known_accounts,
    },
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
};

use crate::common::{an_hour_of_users, api_over};

/// A request for an hour of users with this header.
fn asking(name: &str, value: impl AsRef<[u8]>) -> Request<Body> {
    let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
    get(format!("{METRICS}?{}", an_hour_of_users()))
        .header(name, value)
        .body(Body::empty())
        .unwrap()
}

pub fn bearer(credential: &str) -> Request<Body> {
    asking("Authorization", format!("Bearer {credential}"))
}

pub fn cookie(session: &str) -> Request<Body> {
    asking("Cookie", format!("user_session={session}"))
}

#[track_caller]
fn assert_unauthorized(answer: &Answer, context: &str) {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{context}: {}", answer.text());
    assert_eq!(answer.error(401), "Authentication required", "{context}");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer"), "{challenge}");
}

#[tokio::test]
async fn an_api_token_is_accepted_without_a_lookup() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = api.send(asking("Authorization", format!("{scheme} {TOKEN}"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}");
    }
    assert!(reads(&proxy).is_empty());
}

#[tokio::test]
async fn invalid_credentials_are_rejected() {
    let api = history().api();
    let digest = API_TOKENS.split_once(':').unwrap().1;
    let accounts = known_accounts();
    let session = &accounts.administrator.session_id;
    let without = get(format!("{METRICS}?{}", an_hour_of_users())).body(Body::empty()).unwrap();
    assert_unauthorized(&api.send(without).await, "nothing");
    for value in [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        TOKEN,
        &format!("Bearer{TOKEN}"),
        &format!("Basic {TOKEN}"),
        "Basic dGVzdHM6YS10b2tlbi1mb3ItdGVzdHM=",
        &format!("Token {TOKEN}"),
        &format!("Bearer Bearer {TOKEN}"),
        &format!("Bearer {TOKEN} {TOKEN}"),
        &format!("Bearer {TOKEN},"),
        &format!("Bearer \"{TOKEN}\""),
        &format!("Bearer {TOKEN}x"),
        &format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        &format!("Bearer {}", TOKEN.to_uppercase()),
        // What is stored opens nothing.
        &format!("Bearer {digest}"),
        &format!("Bearer {API_TOKENS}"),
        "Bearer tests",
        "Bearer no-such-session",
        &format!("Bearer {session}x"),
        &format!("Basic {session}"),
    ] {
        assert_unauthorized(&api.send(asking("Authorization", value)).await, value);
    }
    for value in [
        "",
        "user_session",
        "user_session=",
        "user_session=no-such-session",
        &format!("session={session}"),
        &format!("USER_SESSION={session}"),
        &format!("not_user_session={session}"),
        &format!("{session}=user_session"),
        // A token belongs into the header.
        &format!("user_session={TOKEN}"),
    ] {
        assert_unauthorized(&api.send(asking("Cookie", value)).await, value);
    }
}

#[tokio::test]
async fn implausible_credentials_are_rejected_without_looking_them_up() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    for credential in [
        "x".repeat(513).into_bytes(),
        "x".repeat(16 * 1024).into_bytes(),
        "sessi\u{f6}n".into(),
        b"\xff\xfe".to_vec(),
        b"a\tb".to_vec(),
        b"a b".to_vec(),
    ] {
        for (name, prefix) in [("Authorization", "Bearer "), ("Cookie", "user_session=")] {
            let value = [prefix.as_bytes(), &credential].concat();
            let answer = api.send(asking(name, value)).await;
            assert_unauthorized(&answer, &format!("{name} {:?}", credential.first_chunk::<8>()));
        }
    }
    assert_eq!(proxy.seen(), []);
}

#[tokio::test]
async fn an_administrators_session_is_accepted_as_cookie_and_as_bearer() {
    let session = known_accounts().administrator.session_id;
    let cookie = |value: String| asking("Cookie", value);
    let another_cookie_header = {
        let mut request = asking("Cookie", "theme=dark");
        let value = HeaderValue::from_str(&format!("user_session={session}")).unwrap();
        request.headers_mut().append("Cookie", value);
        request
    };
    for request in [
        bearer(&session),
        cookie(format!("user_session={session}")),
        cookie(format!("theme=dark; user_session={session}; language=de")),
        cookie(format!("theme=dark;user_session={session}")),
        cookie(format!("not_user_session=x; user_session={session}")),
        // Another application's cookie is not ours to judge.
        cookie(format!("name=J\u{f6}rg; broken; user_session={session}")),
        another_cookie_header,
    ] {
        // An API of its own each, so that none is remembered.
        let headers = format!("{:?}", request.headers());
        let answer = history().api().send(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{headers}");
        assert_eq!(answer.json()["data"]["dataPoints"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn sessions_that_are_not_valid_are_rejected_and_ordinary_users_are_forbidden() {
    let accounts = known_accounts();
    for request in [bearer, cookie] {
        let api = history().api();
        // Twice: what was looked up and what is remembered answer the same.
        for _ in 0..2 {
            let answer = api.send(request(&accounts.expired_session_id)).await;
            assert_unauthorized(&answer, "expired");
            let answer = api.send(request(&accounts.deactivated_session_id)).await;
            assert_unauthorized(&answer, "of a deactivated administrator");
            let answer = api.send(request("5e5510f0-0000-4000-8000-000000000000")).await;
            assert_unauthorized(&answer, "unknown");
            let answer = api.send(request(&accounts.ordinary_session_id)).await;
            assert_eq!(answer.error(403), "Administrator required");
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
}

fn user(id: &str, role: &str, is_active: bool) -> Item {
    let item = json!({
        "PK": {"S": format!("USER#{id}")}, "SK": {"S": "METADATA"}, "EntityType": {"S": "User"},
        "userId": {"S": id}, "role": {"S": role}, "isActive": {"BOOL": is_active},
    });
    item.as_object().unwrap().clone()
}

pub fn session(id: &str, user: &str, expires_at: &str) -> Item {
    let item = json!({
        "PK": {"S": format!("SESSION#{id}")}, "SK": {"S": "METADATA"},
        "EntityType": {"S": "UserSession"},
        "userId": {"S": user}, "expiresAt": {"S": expires_at},
    });
    item.as_object().unwrap().clone()
}

const NOON: &str = "2026-06-01T12:00:00Z";

#[tokio::test]
async fn only_active_users_with_the_role_admin_are_accepted() {
    let later = "2099-01-01T00:00:00.000Z";
    let mut without_role = user("without-role", "", true);
    without_role.remove("role");
    let mut active_by_text = user("by-text", "admin", true);
    active_by_text.insert("isActive".to_owned(), json!({"S": "true"}));
    let items = [
        user("admin", "admin", true),
        user("moderator", "moderator", true),
        user("capital", "ADMIN", true),
        without_role,
        active_by_text,
        session("of-admin", "admin", later),
        session("of-moderator", "moderator", later),
        session("of-capital", "capital", later),
        session("of-without-role", "without-role", later),
        session("of-by-text", "by-text", later),
        session("of-nobody", "nobody", later),
        session("unreadable", "admin", "some day"),
        session("exactly-now", "admin", "2026-06-01T12:00:00.000Z"),
        session("a-moment-left", "admin", "2026-06-01T12:00:00.001Z"),
    ];
    let (_table, api, _host) = api_over(&items, NOON).await;
    for (session, status) in [
        ("of-admin", 200),
        ("a-moment-left", 200),
        ("of-moderator", 403),
        ("of-capital", 403),
        ("of-without-role", 403),
        ("of-by-text", 200),
        ("of-nobody", 401),
        ("unreadable", 401),
        ("exactly-now", 401),
    ] {
        assert_eq!(api.send(cookie(session)).await.status.as_u16(), status, "{session}");
    }
}

/// An administrator with a session, on a table of its own behind a proxy that counts.
async fn signed_in(expires_at: &str) -> (TestTable, FaultProxy, Api, Arc<StandingHost>) {
    let items = [user("admin", "admin", true), session("mine", "admin", expires_at)];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant(NOON));
    let api = Api::new(&proxy.endpoint, &table.name, host.clone());
    (table, proxy, api, host)
}

/// The items that were looked up to know who calls.
fn reads(proxy: &FaultProxy) -> Vec<String> {
    let seen = proxy.seen();
    let reads = seen.iter().filter(|(operation, _)| operation == "GetItem");
    reads
        .map(|(_, body)| body["Key"]["PK"]["S"].as_str().unwrap().to_owned())
        .filter(|partition| partition != "ANALYTICS_STATE")
        .collect()
}

#[tokio::test]
async fn a_session_is_looked_up_with_get_item_and_remembered_for_a_minute() {
    let (_table, proxy, api, host) = signed_in("2099-01-01T00:00:00.000Z").await;
    let look_up = ["SESSION#mine", "USER#admin"].map(str::to_owned);
    for milliseconds in [0, 1, 30_000, 59_999] {
        host.set(instant(NOON) + TimeDelta::milliseconds(milliseconds));
        assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
        assert_eq!(reads(&proxy), look_up, "after {milliseconds} ms");
    }
    host.set(instant(NOON) + TimeDelta::seconds(60));
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    assert_eq!(reads(&proxy), [look_up.clone(), look_up].concat());
    assert!(
        proxy.seen().iter().all(|(operation, _)| ["GetItem", "Query"].contains(&&**operation)),
        "nothing else is asked for"
    );
}

#[tokio::test]
async fn a_session_that_expires_within_the_minute_is_rejected_at_once() {
    let (_table, proxy, api, host) = signed_in("2026-06-01T12:00:10.000Z").await;
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    host.set(instant("2026-06-01T12:00:09.999Z"));
    assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
    host.set(instant("2026-06-01T12:00:10.000Z"));
    assert_unauthorized(&api.send(cookie("mine")).await, "expired");
    assert_eq!(reads(&proxy).len(), 2, "what is remembered is enough to refuse");
}

#[tokio::test]
async fn the_end_of_a_session_takes_effect_within_a_minute() {
    let revoke = WriteRequest::DeleteRequest { key: key("SESSION#mine", "METADATA") };
    let put = |item: Item| WriteRequest::PutRequest {
        item: serde_json::from_value(item.into()).unwrap(),
    };
    for (change, status) in [
        (revoke, 401),
        (put(user("admin", "admin", false)), 401),
        (put(user("admin", "user", true)), 403),
    ] {
        let (table, _proxy, api, host) = signed_in("2099-01-01T00:00:00.000Z").await;
        assert_eq!(api.send(cookie("mine")).await.status, StatusCode::OK);
        table.client().batch_write(&table.name, vec![change]).await.unwrap();
        host.set(instant(NOON) + TimeDelta::seconds(60));
        assert_eq!(api.send(cookie("mine")).await.status.as_u16(), status);
    }
}

#[tokio::test]
async fn sessions_are_not_mixed_up() {
    let later = "2099-01-01T00:00:00.000Z";
    let items = [
        user("admin", "admin", true),
        user("other", "user", true),
        session("one", "admin", later),
        session("two", "other", later),
    ];
    let (_table, api, _host) = api_over(&items, NOON).await;
    for _ in 0..2 {
        assert_eq!(api.send(cookie("one")).await.status, StatusCode::OK);
        assert_eq!(api.send(cookie("two")).await.status, StatusCode::FORBIDDEN);
        assert_eq!(api.send(cookie("three")).await.status, StatusCode::UNAUTHORIZED);
    }
}
