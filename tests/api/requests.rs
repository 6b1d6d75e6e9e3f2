//! Paths, methods, headers, origins and the log.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::body::Body;
use edge_analytics::{dynamodb::RetryPolicy, host::Severity, settings::Settings};
use http::{Method, Request, StatusCode};
use support::{
    api::{
        API_TOKENS, AWS_SECRET, Answer, Api, IMPATIENT, METRICS, ORIGIN, TOKEN, get, history,
        known_accounts, variable, with_token,
    },
    engine_suite::end,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::common::{an_hour_of_users, range};

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let api = history().api();
    for path in [
        "/",
        "/api",
        "/api/admin/analytics",
        "/api/admin/analytics/",
        "/api/admin/analytics/metrics/",
        "/api/admin/analytics/metrics/users",
        "/api/admin/analytics/Metrics",
        "//api/admin/analytics/metrics",
        "/api/admin/analytics/%6Detrics/..",
        "/api/admin/analytics/metrics%00",
        "/favicon.ico",
        "/%FF%FE",
    ] {
        for method in [Method::GET, Method::POST, Method::HEAD] {
            for credentials in [true, false] {
                let mut request = Request::builder().method(method.clone()).uri(path);
                if credentials {
                    request = with_token(request);
                }
                let answer = api.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
                if method == Method::HEAD {
                    answer.assert_common_headers();
                } else {
                    assert_eq!(answer.error(404), "Not found", "{method} {path}");
                }
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_rejected_with_those_that_are_allowed() {
    let api = history().api();
    let methods = ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"];
    for method in methods {
        let request = with_token(Request::builder().method(method).uri(METRICS));
        let answer = api.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(answer.error(405), "Method not allowed", "{method}");
        let mut allowed: Vec<_> = answer.header("allow").unwrap().split(',').collect();
        for name in &mut allowed {
            *name = name.trim();
        }
        assert!(allowed.contains(&"GET") && allowed.contains(&"HEAD"), "{allowed:?}");
        assert!(!allowed.contains(&method), "{allowed:?}");
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let api = history().api();
    let uri = format!("{METRICS}?{}", an_hour_of_users());
    let request = with_token(Request::head(&uri)).body(Body::empty()).unwrap();
    let answer = api.send(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(answer.body.is_empty());
    answer.assert_common_headers();

    let answer = api.send(Request::head(&uri).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").is_some());
    assert!(answer.body.is_empty());
}

fn cross_origin_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(http::HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

fn preflight(origin: &str) -> Request<Body> {
    Request::options(METRICS)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "authorization")
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn an_allowed_origin_may_call_with_credentials() {
    let api = history().api();
    let answer = api.send(preflight(ORIGIN)).await;
    assert!(answer.status.is_success(), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    let listed = |name: &str, entry: &str| {
        let list = answer.header(name).unwrap().to_ascii_lowercase();
        list.split(',').any(|listed| listed.trim() == entry)
    };
    assert!(listed("access-control-allow-methods", "get"));
    assert!(listed("access-control-allow-headers", "authorization"));
    assert!(listed("vary", "origin"));
    answer.assert_common_headers();

    // The request itself, also one that fails: the page has to be able to read why.
    for (uri, status) in [
        (format!("{METRICS}?{}", an_hour_of_users()), 200),
        (METRICS.to_owned(), 400),
        ("/nowhere".to_owned(), 404),
    ] {
        let request = with_token(get(&uri)).header("Origin", ORIGIN).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{uri}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{uri}");
        assert_eq!(
            answer.header("access-control-expose-headers"),
            Some("x-request-id,location,x-cache")
        );
        assert!(answer.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
    }
}

#[tokio::test]
async fn other_origins_get_no_cross_origin_header() {
    let api = history().api();
    for origin in [
        "https://elsewhere.example.com",
        "http://admin.example.com",
        "https://admin.example.com:8443",
        "https://admin.example.com.elsewhere.example",
        "https://elsewhere.example?https://admin.example.com",
        "https://admin.example.com/",
        "HTTPS://ADMIN.EXAMPLE.COM",
        "null",
        "*",
        "",
    ] {
        let answer = api.send(preflight(origin)).await;
        assert_eq!(cross_origin_headers(&answer), [""; 0], "preflight from {origin}");
        answer.assert_common_headers();
        let uri = format!("{METRICS}?{}", an_hour_of_users());
        let request = with_token(get(uri)).header("Origin", origin).body(Body::empty()).unwrap();
        let answer = api.send(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(cross_origin_headers(&answer), [""; 0], "request from {origin}");
    }
    // The same without any origin, and where none is configured.
    let answer = api.metrics(an_hour_of_users()).await;
    assert_eq!(cross_origin_headers(&answer), [""; 0]);
    let table = &history().table;
    let settings = Settings::read(|name| {
        (name != "ALLOWED_ORIGINS").then(|| variable(name, &table.endpoint, &table.name)).flatten()
    });
    let closed = Api::with_settings(settings.unwrap(), TestHost::new(), RetryPolicy::default());
    assert_eq!(cross_origin_headers(&closed.send(preflight(ORIGIN)).await), [""; 0]);
}

#[tokio::test]
async fn every_answer_has_an_id_that_its_log_line_has_too() {
    let host = TestHost::at(end());
    let api = history().api_with(host.clone());
    let hour = format!("{METRICS}?{}", an_hour_of_users());
    let request = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    let empty = Body::empty;
    let requests = [
        (with_token(get(&hour)).body(empty()), "GET", METRICS, 200),
        (with_token(get(METRICS)).body(empty()), "GET", METRICS, 400),
        (get(&hour).body(empty()), "GET", METRICS, 401),
        (get("/nowhere?a=b").body(empty()), "GET", "/nowhere", 404),
        (request("PUT", METRICS).body(empty()), "PUT", METRICS, 405),
        (with_token(request("HEAD", &hour)).body(empty()), "HEAD", METRICS, 200),
        (Ok(preflight(ORIGIN)), "OPTIONS", METRICS, 200),
        (Ok(preflight("https://elsewhere.example.com")), "OPTIONS", METRICS, 200),
        // A caller cannot choose the id.
        (get("/").header("X-Request-Id", "chosen").body(empty()), "GET", "/", 404),
    ];
    let mut ids = HashSet::new();
    for (request, method, path, status) in requests {
        let before = host.lines().len();
        let answer = api.send(request.unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        let id = answer.assert_common_headers();
        assert_ne!(id, "chosen");
        let lines = host.lines().split_off(before);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (severity, line) = &lines[0];
        assert_eq!(*severity, Severity::Info);
        assert_eq!(line["event"], "request");
        assert_eq!(line["requestId"], id);
        assert_eq!(line["method"], method);
        assert_eq!(line["path"], path);
        assert_eq!(line["status"], status);
        assert!(line["milliseconds"].is_u64(), "{line}");
        assert!(ids.insert(id), "an id came twice");
    }
}

#[tokio::test]
async fn the_log_holds_no_credential_and_no_query_string() {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let proxy = FaultProxy::start(&history().table.endpoint, move |_| {
        if is_broken.load(Ordering::SeqCst) { Fault::AccessDenied } else { Fault::None }
    })
    .await;
    let host = TestHost::at(end());
    let table = &history().table.name;
    let api = Api::with_policy(&proxy.endpoint, table, host.clone(), IMPATIENT);
    let accounts = known_accounts();
    let credentials = [
        TOKEN,
        "a-wrong-token",
        &accounts.administrator.session_id,
        &accounts.ordinary_session_id,
        &accounts.expired_session_id,
        &accounts.deactivated_session_id,
    ];
    let queries = [
        an_hour_of_users(),
        "secretParameter=1".to_owned(),
        range("secretType", "hourly", "2026-06-01", "2026-06-02"),
        format!("{}&metrics=secretMetric", an_hour_of_users()),
    ];
    let mut statuses = HashSet::new();
    for down in [false, true] {
        broken.store(down, Ordering::SeqCst);
        for credential in credentials {
            for query in &queries {
                for path in [METRICS, "/nowhere"] {
                    for (name, value) in [
                        ("Authorization", format!("Bearer {credential}")),
                        ("Authorization", format!("Basic {credential}")),
                        ("Cookie", format!("theme=secretTheme; user_session={credential}")),
                    ] {
                        let request = get(format!("{path}?{query}")).header(name, value);
                        let answer = api.send(request.body(Body::empty()).unwrap()).await;
                        statuses.insert(answer.status.as_u16());
                        let text = answer.text();
                        assert!(!text.contains(credential), "{text}");
                    }
                }
            }
        }
    }
    let expected = [200, 400, 401, 403, 404, 500].into();
    assert_eq!(statuses, expected, "the test means to see every kind of answer");
    let log = format!("{:?}", host.lines());
    let entry_digest = API_TOKENS.split_once(':').unwrap().1;
    let hidden = ["secret", "metricType", "granularity", "2026-06-02", "theme", "user_session"];
    for hidden in hidden.iter().chain(&credentials).chain(&[AWS_SECRET, entry_digest]) {
        assert!(!log.contains(hidden), "the log holds {hidden}");
    }
}
