//! `GET /runs`: requests that are rejected, and a ledger that cannot be read.

use axum::body::Body;
use edge_analytics::host::Severity;
use http::Request;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{
        Api, HEALTH_TOKEN, IMPATIENT, StandingHost, changed_cursor, damaged_cursors, get, instant,
        with_token,
    },
    database::{Backend, TestTable},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::{
    common::{RUNS, bearer, data},
    ledger::{LATER, LEDGER_TABLE, entry, ledger_api, names, pages},
};

#[tokio::test]
async fn an_unreadable_run_is_logged_and_left_out() {
    let mut entries: Vec<Item> = (0..6)
        .map(|minute| {
            entry(
                &minute.to_string(),
                "hourly",
                "complete",
                &format!("2026-06-01T00:0{minute}:00.000Z"),
            )
        })
        .collect();
    entries[1].insert("status".to_owned(), json!({"S": "asleep"}));
    entries[3].remove("typesFailed");
    entries[5].insert("attempt".to_owned(), json!({"S": "many"}));
    let table = TestTable::with(Backend::Dynoxide, &entries).await;
    let host = StandingHost::at(instant(LATER));
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    for filter in ["", "&granularity=hourly", "&status=complete"] {
        assert_eq!(
            pages(&api, &format!("limit=1{filter}")).await,
            [["4"], ["2"], ["0"]],
            "{filter}"
        );
    }
    let before = host.lines().len();
    let answer = api.get(RUNS).await;
    assert_eq!(names(&answer.json()["data"]), ["4", "2", "0"]);
    let lines = host.lines().split_off(before);
    let unreadable: Vec<_> =
        lines.iter().filter(|(_, line)| line["event"] == "unreadable_entry").collect();
    assert_eq!(unreadable.len(), 3, "{lines:?}");
    for (severity, line) in unreadable {
        assert_eq!(*severity, Severity::Error);
        assert_eq!(line["requestId"], answer.assert_common_headers());
    }
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let api = ledger_api();
    for (query, error, parameter) in [
        (
            "granularity=yearly",
            "Invalid granularity. Must be one of: hourly, daily, weekly, monthly",
            "granularity",
        ),
        (
            "granularity=",
            "Invalid granularity. Must be one of: hourly, daily, weekly, monthly",
            "granularity",
        ),
        ("status=ok", "Invalid status. Must be one of: complete, partial, failed, held", "status"),
        ("limit=0", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        ("limit=101", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        ("limit=%2B5", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        ("limit=-1", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        ("limit=1e1", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        ("limit=", "Invalid limit. Must be a whole number from 1 to 100", "limit"),
        (
            "limit=99999999999999999999",
            "Invalid limit. Must be a whole number from 1 to 100",
            "limit",
        ),
        ("from=yesterday", "Invalid from format. Use ISO 8601 format", "from"),
        ("to=2026-06-01T00:00:00", "Invalid to format. Use ISO 8601 format", "to"),
        ("to=", "Invalid to format. Use ISO 8601 format", "to"),
        ("page=2", "Unknown parameter: page", "page"),
        ("limit=1&limit=2", "limit is repeated", "limit"),
        ("cursor=a&cursor=b", "cursor is repeated", "cursor"),
    ] {
        let answer = api.get(format!("{RUNS}?{query}")).await;
        assert_eq!(answer.error(400), error, "{query}");
        assert_eq!(answer.json()["details"]["parameter"], parameter, "{query}");
    }
    for query in ["from=2026-06-02&to=2026-06-01", "from=2026-06-01&to=2026-06-01"] {
        let answer = api.get(format!("{RUNS}?{query}")).await;
        assert_eq!(answer.error(400), "from must be before to", "{query}");
        assert_eq!(answer.json()["details"]["from"].as_str().map(str::len), Some(24));
    }
}

#[tokio::test]
async fn a_cursor_that_is_damaged_or_of_another_query_is_rejected() {
    let api = ledger_api();
    let query = "status=complete&granularity=hourly&from=2026-06-01&to=2026-06-02";
    let cursor = data(&api, &format!("{RUNS}?{query}&limit=2")).await["nextCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = async |query: &str, cursor: &str, error: &str| {
        let answer = api.get(format!("{RUNS}?{query}&cursor={cursor}")).await;
        assert_eq!(answer.error(400), error, "{query} {cursor}");
        assert_eq!(answer.json()["details"], json!({"parameter": "cursor"}));
    };
    for other in [
        "limit=2",
        "status=partial&granularity=hourly&from=2026-06-01&to=2026-06-02",
        "status=complete&granularity=daily&from=2026-06-01&to=2026-06-02",
        "status=complete&from=2026-06-01&to=2026-06-02",
        "granularity=hourly&from=2026-06-01&to=2026-06-02",
        "status=complete&granularity=hourly&from=2026-05-01&to=2026-06-02",
        "status=complete&granularity=hourly&from=2026-06-01",
        "status=complete&granularity=hourly&to=2026-06-02",
    ] {
        refused(other, cursor, "cursor belongs to another query").await;
    }
    let written = |change: &dyn Fn(&mut Value)| changed_cursor(cursor, change);
    let others = [
        written(&|cursor| cursor["k"] = json!(5)),
        written(&|cursor| cursor["k"] = json!("")),
        written(&|cursor| cursor["k"] = json!("2026-06-01T00:10:00.000Z#\u{1f600}")),
        written(&|cursor| cursor["q"]["s"] = json!("asleep")),
    ];
    for damaged in damaged_cursors(cursor).into_iter().chain(others) {
        refused(query, &damaged, "Invalid cursor").await;
    }
    // Places outside of the range, which no page of it can have ended at.
    for outside in ["2026-05-31T23:59:59.999Z#x", "2026-06-02T00:00:00.000Z#x", "#", "~#"] {
        let cursor = written(&|cursor| cursor["k"] = json!(outside));
        refused(query, &cursor, "cursor belongs to another query").await;
    }
}

#[tokio::test]
async fn runs_are_for_administrators() {
    let api = ledger_api();
    for request in [get(RUNS), bearer(RUNS, HEALTH_TOKEN), bearer(RUNS, "wrong")] {
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.error(401), "Authentication required");
        assert!(answer.header("www-authenticate").is_some());
    }
    let post = with_token(Request::post(RUNS)).body(Body::empty()).unwrap();
    assert_eq!(api.send(post).await.error(405), "Method not allowed");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_an_error_and_not_an_empty_page() {
    for (fault, status, error) in [
        (Fault::Throttled, 503, "Database unavailable"),
        (Fault::Dropped, 503, "Database unavailable"),
        (Fault::AccessDenied, 500, "Database error"),
    ] {
        let proxy = FaultProxy::start(&LEDGER_TABLE.endpoint, move |_| fault).await;
        let host = TestHost::at(instant(LATER));
        let api = Api::with_policy(&proxy.endpoint, &LEDGER_TABLE.name, host, IMPATIENT);
        assert_eq!(api.get(RUNS).await.error(status), error, "{fault:?}");
    }
}
