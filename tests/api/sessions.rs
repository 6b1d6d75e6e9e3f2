//! Sessions of the platform: how they are sent and stored, and what looking one up costs.

use axum::body::Body;
use http::{HeaderValue, Request, StatusCode};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{API_TOKENS, Api, HEALTH_TOKEN, METRICS, StandingHost, TOKEN, get, instant},
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
};

/// What the clock shows: 1,780,315,200 seconds since 1970.
const NOON: &str = "2026-06-01T12:00:00Z";

/// The id of a session, as the platform makes them.
const SESSION: &str = "5e5510f0-1111-4222-8333-444455556666";

fn user(is_active: &Value) -> Item {
    let item = json!({
        "PK": {"S": "USER#admin"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "User"},
        "userId": {"S": "admin"}, "role": {"S": "admin"}, "isActive": is_active,
    });
    item.as_object().unwrap().clone()
}

fn session(id: &str, expires_at: &Value) -> Item {
    let item = json!({
        "PK": {"S": format!("SESSION#{id}")}, "SK": {"S": "METADATA"},
        "EntityType": {"S": "UserSession"},
        "userId": {"S": "admin"}, "expiresAt": expires_at,
    });
    item.as_object().unwrap().clone()
}

/// The API on a table with these items, behind a proxy that counts, at [`NOON`].
async fn api_over(items: &[Item]) -> (Api, FaultProxy) {
    let table = TestTable::with(Backend::Dynoxide, items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let api = Api::new(&proxy.endpoint, &table.name, StandingHost::at(instant(NOON)));
    (api, proxy)
}

/// The API on a table with an active administrator's session.
async fn signed_in() -> (Api, FaultProxy) {
    let later = json!({"S": "2099-01-01T00:00:00.000Z"});
    api_over(&[user(&json!({"BOOL": true})), session(SESSION, &later)]).await
}

/// A request for an hour of users with these headers.
fn asking(headers: &[(&str, &[u8])]) -> Request<Body> {
    let query = "metricType=users&granularity=hourly&startDate=2026-05-01&endDate=2026-05-02";
    let mut request = get(format!("{METRICS}?{query}")).body(Body::empty()).unwrap();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    request
}

async fn status_of(api: &Api, headers: &[(&str, &str)]) -> StatusCode {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    api.send(asking(&headers)).await.status
}

/// The keys of the items that were looked up to know who calls.
fn look_ups(proxy: &FaultProxy) -> Vec<String> {
    let partition = |(operation, body): (String, Value)| {
        let partition = body["Key"]["PK"]["S"].as_str()?.to_owned();
        (operation == "GetItem" && !partition.starts_with("ANALYTICS")).then_some(partition)
    };
    proxy.seen().into_iter().filter_map(partition).collect()
}

#[tokio::test]
async fn a_cookies_value_may_be_in_double_quotes() {
    for (cookie, status) in [
        (format!("user_session=\"{SESSION}\""), 200),
        (format!("theme=\"dark\"; user_session=\"{SESSION}\"; language=de"), 200),
        (format!("user_session={SESSION}"), 200),
        (format!("user_session=\"{SESSION}"), 401),
        (format!("user_session={SESSION}\""), 401),
        (format!("user_session=\"\"{SESSION}\"\""), 401),
        (format!("user_session='{SESSION}'"), 401),
        ("user_session=\"\"".to_owned(), 401),
        ("user_session=\"".to_owned(), 401),
        // The quotes around another cookie hide nothing.
        (format!("theme=\"a; user_session={SESSION}\""), 401),
    ] {
        let (api, _proxy) = signed_in().await;
        assert_eq!(status_of(&api, &[("cookie", &cookie)]).await.as_u16(), status, "{cookie}");
    }
}

#[tokio::test]
async fn a_cookie_may_be_in_any_of_several_headers() {
    let (api, _proxy) = signed_in().await;
    let session = format!("user_session={SESSION}");
    for headers in [
        [("cookie", "theme=dark"), ("cookie", session.as_str())],
        [("cookie", session.as_str()), ("cookie", "theme=dark")],
        [("cookie", ""), ("cookie", session.as_str())],
    ] {
        assert_eq!(status_of(&api, &headers).await, StatusCode::OK, "{headers:?}");
    }
    // What is no text in another header is not ours to judge.
    let headers: [(&str, &[u8]); 2] =
        [("cookie", b"name=\xff\xfe"), ("cookie", session.as_bytes())];
    assert_eq!(api.send(asking(&headers)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_cookie_counts_beside_an_authorization_of_another_scheme() {
    let session = format!("user_session={SESSION}");
    for (authorization, status) in [
        ("Basic dGVzdHM6YS10b2tlbi1mb3ItdGVzdHM=", 200),
        ("Digest username=\"somebody\"", 200),
        ("Negotiate", 200),
        ("", 200),
        // A bearer token is meant for us, and a bad one is refused.
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer not-a-token", 401),
        ("bearer not-a-token-but-long-enough-for-a-session", 401),
        ("Bearer 5e5510f0-0000-4000-8000-000000000000", 401),
    ] {
        let (api, proxy) = signed_in().await;
        let headers = [("authorization", authorization), ("cookie", session.as_str())];
        assert_eq!(status_of(&api, &headers).await.as_u16(), status, "{authorization}");
        let used_the_cookie = look_ups(&proxy).contains(&format!("SESSION#{SESSION}"));
        assert_eq!(used_the_cookie, status == 200, "{authorization}");
    }
    let (api, proxy) = signed_in().await;
    // Whatever is in another scheme is no credential of ours.
    let basic = format!("Basic {SESSION}");
    assert_eq!(status_of(&api, &[("authorization", &basic)]).await.as_u16(), 401);
    assert_eq!(look_ups(&proxy), [""; 0]);
    // The bearer token goes before the cookie, also behind another scheme.
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", "Basic dGVzdHM6"),
        ("authorization", bearer.as_str()),
        ("cookie", session.as_str()),
    ];
    assert_eq!(status_of(&api, &headers).await, StatusCode::OK);
    assert_eq!(look_ups(&proxy), [""; 0]);
    // What is no text in another scheme is not ours to judge either.
    let headers: [(&str, &[u8]); 2] =
        [("authorization", b"Basic \xff"), ("cookie", session.as_bytes())];
    assert_eq!(api.send(asking(&headers)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_expiry_is_a_date_or_a_number_of_seconds_or_milliseconds() {
    for (expires_at, status) in [
        (json!({"S": "2026-06-01T12:00:00.001Z"}), 200),
        (json!({"S": "2026-06-01T14:00:00.001+02:00"}), 200),
        (json!({"S": "2026-06-01T12:00:00.000Z"}), 401),
        (json!({"S": "2026-06-01T14:00:00+02:00"}), 401),
        (json!({"N": "1780315201"}), 200),
        (json!({"N": "1780315200"}), 401),
        (json!({"N": "1780315200.001"}), 200),
        (json!({"S": "1780315201"}), 200),
        (json!({"S": "1780315200"}), 401),
        (json!({"N": "1780315200001"}), 200),
        (json!({"N": "1780315200000"}), 401),
        (json!({"S": "1780315200001"}), 200),
        (json!({"S": "1780315200000"}), 401),
        // The year 5138 in seconds; a moment of 1973 in milliseconds.
        (json!({"N": "99999999999"}), 200),
        (json!({"N": "100000000000"}), 401),
        (json!({"N": "0"}), 401),
        (json!({"N": "-1780315201"}), 401),
        // No instant that there is.
        (json!({"N": "1e125"}), 401),
        (json!({"N": "-1e125"}), 401),
        (json!({"N": "1e-130"}), 401),
        (json!({"N": "79228162514264337593543950335"}), 401),
        (json!({"N": "9223372036854775807"}), 401),
        (json!({"S": "some day"}), 401),
        (json!({"S": ""}), 401),
        (json!({"S": "2099-01-01"}), 401),
        (json!({"S": "+262143-01-01T00:00:00Z"}), 401),
        (json!({"BOOL": true}), 401),
        (json!({"NULL": true}), 401),
    ] {
        let (api, _proxy) =
            api_over(&[user(&json!({"BOOL": true})), session(SESSION, &expires_at)]).await;
        let cookie = format!("user_session={SESSION}");
        let found = status_of(&api, &[("cookie", &cookie)]).await.as_u16();
        assert_eq!(found, status, "{expires_at}");
    }
}

#[tokio::test]
async fn a_user_is_active_by_a_boolean_a_word_or_a_number() {
    for (is_active, status) in [
        (json!({"BOOL": true}), 200),
        (json!({"BOOL": false}), 401),
        (json!({"S": "true"}), 200),
        (json!({"S": "false"}), 401),
        (json!({"N": "1"}), 200),
        (json!({"N": "0"}), 401),
        // What cannot be parsed is rejected.
        (json!({"N": "2"}), 401),
        (json!({"N": "-1"}), 401),
        (json!({"S": "yes"}), 401),
        (json!({"S": ""}), 401),
        (json!({"NULL": true}), 401),
        (json!({"M": {}}), 401),
    ] {
        let later = json!({"N": "4070908800"});
        let (api, _proxy) = api_over(&[user(&is_active), session(SESSION, &later)]).await;
        let cookie = format!("user_session={SESSION}");
        let found = status_of(&api, &[("cookie", &cookie)]).await.as_u16();
        assert_eq!(found, status, "{is_active}");
    }
}

#[tokio::test]
async fn only_a_bearer_that_looks_like_a_session_is_looked_up() {
    let twenty = "A1b2C3d4E5f6G7h8I9-_";
    let longest = "x".repeat(128);
    let digest = API_TOKENS.split_once(':').unwrap().1;
    for bearer in [
        "guess",
        &twenty[1..],
        &format!("{longest}x"),
        "a-token-with-a-dot.in-it",
        "a-token-with-a-plus+in-it",
        "a-token-with-padding-at-its-end=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
        "5e5510f0-1111-4222-8333-444455556666#METADATA",
        // As API tokens are made, and as their digests are written.
        &"0123456789abcdef".repeat(4),
        &"0123456789ABCDEF".repeat(4),
        digest,
        // The health token opens the health check only.
        &HEALTH_TOKEN[..19],
    ] {
        let (api, proxy) = signed_in().await;
        let authorization = format!("Bearer {bearer}");
        let status = status_of(&api, &[("authorization", &authorization)]).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bearer}");
        assert_eq!(proxy.seen(), [], "{bearer}");
    }
    let almost_a_token = format!("{}g", "0123456789abcdef".repeat(4).split_at(63).0);
    for bearer in [twenty, &longest, &almost_a_token, &"0123456789abcdef".repeat(2), SESSION] {
        let later = json!({"N": "4070908800"});
        let (api, proxy) = api_over(&[user(&json!({"BOOL": true})), session(bearer, &later)]).await;
        let authorization = format!("Bearer {bearer}");
        let status = status_of(&api, &[("authorization", &authorization)]).await;
        assert_eq!(status, StatusCode::OK, "{bearer}");
        assert_eq!(look_ups(&proxy), [format!("SESSION#{bearer}"), "USER#admin".to_owned()]);
    }
}
