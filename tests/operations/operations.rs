//! What operators ask: how the runs went (`GET /runs`), whether they keep up (`GET /health`), and
//! what `GET /metrics` shows at the edges of time, through the router over a real DynamoDB
//! (dynoxide, in this process).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, text},
    host::Severity,
    metrics::period::Granularity,
    run::Report,
    settings::Settings,
    store::ledger::Status,
};
use http::Request;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{
        Answer, Api, HEALTH_TOKEN, IMPATIENT, METRICS, StandingHost, TOKEN, changed_cursor,
        damaged_cursors, get, instant, stamp, variable, with_token,
    },
    database::{Backend, TestTable},
    engine_suite::{TYPES, end, engine, engine_at, platform},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    timeline::{medium, on_time},
};

const RUNS: &str = "/api/admin/analytics/runs";
const RECALCULATE: &str = "/api/admin/analytics/recalculate";
const HEALTH: &str = "/api/admin/analytics/health";

// ---------------------------------------------------------------------------------------------
// A ledger written by hand

/// An entry as it is stored.
fn entry(run: &str, granularity: &str, status: &str, started: &str) -> Item {
    let sort = format!("{started}#{run}#{granularity}#2026-06-01T00:00:00.000Z");
    let failed =
        if status == "complete" { json!({}) } else { json!({"media": {"S": "throttled"}}) };
    let item = json!({
        "PK": {"S": "ANALYTICS_RUN"}, "SK": {"S": sort},
        "GSI1PK": {"S": format!("ANALYTICS_RUN#{granularity}")}, "GSI1SK": {"S": sort},
        "GSI2PK": {"S": format!("ANALYTICS_RUN_STATUS#{status}")}, "GSI2SK": {"S": sort},
        "EntityType": {"S": "AnalyticsRun"}, "ttl": {"N": "1999999999"},
        "runId": {"S": run}, "granularity": {"S": granularity}, "trigger": {"S": "cron"},
        "attempt": {"N": "1"}, "status": {"S": status},
        "timestamp": {"S": "2026-06-01T00:00:00.000Z"},
        "endTimestamp": {"S": "2026-06-01T00:59:59.999Z"}, "periods": {"N": "1"},
        "typesWritten": {"L": [{"S": "users"}]}, "typesUnchanged": {"L": []},
        "typesSuperseded": {"L": []}, "typesFailed": {"M": failed}, "problems": {"L": []},
        "malformed": {"M": {"totalUsers": {"N": "2"}}}, "left": {"N": "0"},
        "startedAt": {"S": started}, "finishedAt": {"S": "2026-06-01T02:00:00.000Z"},
        "milliseconds": {"N": "120"}, "requests": {"N": "26"}, "pages": {"N": "16"},
        "readUnits": {"N": "12.5"}, "writeUnits": {"N": "18"},
        "estimatedCostUsd": {"N": "0.0000128125"},
    });
    item.as_object().unwrap().clone()
}

/// What the ledger of the tests holds of an entry: when it started, its run, granularity, status.
type Known = (String, String, &'static str, &'static str);

/// How many runs the ledger of the tests has.
const LEDGER: u32 = 150;

/// 150 runs, always three at the same millisecond, of all granularities and statuses.
fn known() -> Vec<Known> {
    let first = instant("2026-06-01T00:00:00Z");
    (0..LEDGER)
        .map(|number| {
            let started = stamp(first + TimeDelta::minutes(i64::from(number / 3)));
            let granularity =
                ["hourly", "hourly", "daily", "weekly", "monthly"][number as usize % 5];
            let status =
                ["complete", "complete", "partial", "failed", "held", "complete", "partial"]
                    [number as usize % 7];
            // Names whose order is not that of the numbers.
            (started, format!("{:04x}", number * 40_503 % 65_536), granularity, status)
        })
        .collect()
}

/// Runs that match, newest first, by name.
fn expected(matches: impl Fn(&Known) -> bool) -> Vec<String> {
    let mut known: Vec<Known> = known().into_iter().filter(matches).collect();
    known.sort_by(|one, other| (&other.0, &other.1).cmp(&(&one.0, &one.1)));
    known.into_iter().map(|(_, run, ..)| run).collect()
}

static LEDGER_TABLE: LazyLock<TestTable> = LazyLock::new(|| {
    // On a runtime that lives as long as the process, as the server inside serves every test.
    let build = || {
        let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
        let entries: Vec<Item> = known()
            .iter()
            .map(|(started, run, granularity, status)| entry(run, granularity, status, started))
            .collect();
        runtime.block_on(TestTable::with(Backend::Dynoxide, &entries))
    };
    std::thread::spawn(build).join().unwrap()
});

const LATER: &str = "2026-06-02T00:00:00Z";

fn ledger_api() -> Api {
    Api::new(&LEDGER_TABLE.endpoint, &LEDGER_TABLE.name, StandingHost::at(instant(LATER)))
}

/// The `data` of a request that must succeed.
async fn data(api: &Api, uri: &str) -> Value {
    let answer = api.get(uri).await;
    assert_eq!(answer.status.as_u16(), 200, "{uri}: {}", answer.text());
    answer.assert_common_headers();
    let body = answer.json();
    assert_eq!(body["success"], true, "{body}");
    body["data"].clone()
}

fn names(data: &Value) -> Vec<String> {
    let runs = data["runs"].as_array().unwrap();
    runs.iter().map(|run| run["runId"].as_str().unwrap().to_owned()).collect()
}

/// All pages of a query, each with the names on it.
async fn pages(api: &Api, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let data = data(api, &format!("{RUNS}?{query}{cursor}")).await;
        pages.push(names(&data));
        match &data["nextCursor"] {
            Value::Null => return pages,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
        assert!(pages.len() < 200, "{query} never ends");
    }
}

// ---------------------------------------------------------------------------------------------
// GET /runs

#[tokio::test]
async fn a_run_is_as_the_contract_says() {
    let recalculation = {
        let mut item = entry("b", "daily", "partial", "2026-06-01T01:00:00.000Z");
        item.insert("trigger".to_owned(), json!({"S": "recalculate"}));
        item.insert("jobId".to_owned(), json!({"S": "job"}));
        item
    };
    let items = [entry("a", "hourly", "complete", "2026-06-01T01:00:00.000Z"), recalculation];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
    insta::assert_snapshot!("runs", api.get(RUNS).await.shown(&[]));
}

#[tokio::test]
async fn an_empty_ledger_is_no_error() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
    assert_eq!(data(&api, RUNS).await, json!({"runs": [], "nextCursor": null}));
    for query in ["to=0000-01-01", "to=1969-01-01", "from=9999-12-31", "from=0000-01-01"] {
        let found = data(&api, &format!("{RUNS}?{query}")).await;
        assert_eq!(found["runs"], json!([]), "{query}");
    }
}

#[tokio::test]
async fn fifty_runs_are_a_page_unless_it_is_said() {
    let api = ledger_api();
    let all = expected(|_| true);
    let found = data(&api, RUNS).await;
    assert_eq!(names(&found), all[..50]);
    assert!(found["nextCursor"].is_string());
    for (limit, sizes) in [
        ("1", vec![1; 150]),
        ("7", [vec![7; 21], vec![3]].concat()),
        ("50", vec![50, 50, 50]),
        ("75", vec![75, 75]),
        ("100", vec![100, 50]),
    ] {
        let pages = pages(&api, &format!("limit={limit}")).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{limit}");
        // Every run exactly once, in order, also of those that started in the same millisecond.
        assert_eq!(pages.concat(), all, "{limit}");
    }
}

#[tokio::test]
async fn filters_select_and_combine() {
    let api = ledger_api();
    let (from, to) = ("2026-06-01T00:10:00.000Z", "2026-06-01T00:40:00.000Z");
    for granularity in [None, Some("hourly"), Some("daily"), Some("weekly"), Some("monthly")] {
        for status in [None, Some("complete"), Some("partial"), Some("failed"), Some("held")] {
            for is_ranged in [false, true] {
                let mut query = "limit=4".to_owned();
                for (name, value) in [("granularity", granularity), ("status", status)] {
                    query.extend(value.map(|value| format!("&{name}={value}")));
                }
                if is_ranged {
                    query = format!("{query}&from={from}&to={to}");
                }
                let all = expected(|(started, _, one, how)| {
                    granularity.is_none_or(|granularity| granularity == *one)
                        && status.is_none_or(|status| status == *how)
                        && (!is_ranged || (from..to).contains(&started.as_str()))
                });
                let pages = pages(&api, &query).await;
                assert_eq!(pages.concat(), all, "{query}");
                // No page is empty where there is something, and none ends early.
                assert_eq!(pages.len(), all.len().div_ceil(4).max(1), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn from_is_included_and_to_is_not() {
    let api = ledger_api();
    let at = |minute: u32| {
        expected(move |known| known.0 == format!("2026-06-01T00:{minute:02}:00.000Z"))
    };
    for (range, all) in [
        ("from=2026-06-01T00:05:00Z&to=2026-06-01T00:06:00Z", at(5)),
        ("from=2026-06-01T00:05:00.001Z&to=2026-06-01T00:06:00.001Z", at(6)),
        ("from=2026-06-01T02:05%2B02:00&to=2026-06-01T02:07%2B02:00", [at(6), at(5)].concat()),
        ("to=2026-06-01T00:02:00Z", [at(1), at(0)].concat()),
        ("from=2026-06-01T00:49:00Z", at(49)),
        ("from=2026-06-02", vec![]),
    ] {
        assert_eq!(names(&data(&api, &format!("{RUNS}?{range}")).await), all, "{range}");
    }
}

#[tokio::test]
async fn runs_that_arrive_meanwhile_shift_no_page() {
    let entries: Vec<Item> = (0..6)
        .map(|minute| {
            entry(
                &format!("old-{minute}"),
                "hourly",
                "complete",
                &format!("2026-06-01T00:0{minute}:00.000Z"),
            )
        })
        .collect();
    for filter in
        ["", "&granularity=hourly", "&status=complete", "&granularity=hourly&status=complete"]
    {
        let table = TestTable::with(Backend::Dynoxide, &entries).await;
        let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
        let first = data(&api, &format!("{RUNS}?limit=3{filter}")).await;
        assert_eq!(names(&first), ["old-5", "old-4", "old-3"]);
        table.put(&[entry("new", "hourly", "complete", "2026-06-01T00:06:00.000Z")]).await;
        let cursor = first["nextCursor"].as_str().unwrap();
        // The page size may be another one.
        let second = data(&api, &format!("{RUNS}?limit=5{filter}&cursor={cursor}")).await;
        assert_eq!(names(&second), ["old-2", "old-1", "old-0"]);
        assert_eq!(second["nextCursor"], Value::Null);
        // The run that the cursor stands at may be gone by then.
        let gone = edge_analytics::dynamodb::key(
            "ANALYTICS_RUN",
            "2026-06-01T00:03:00.000Z#old-3#hourly#2026-06-01T00:00:00.000Z",
        );
        let delete = edge_analytics::dynamodb::WriteRequest::DeleteRequest { key: gone };
        table.client().batch_write(&table.name, vec![delete]).await.unwrap();
        let again = data(&api, &format!("{RUNS}?limit=3{filter}&cursor={cursor}")).await;
        assert_eq!(names(&again), ["old-2", "old-1", "old-0"]);
    }
}

/// A page is read in one request that brings no more than the page and what tells whether to go on.
#[tokio::test]
async fn no_more_is_read_than_a_page() {
    let proxy = FaultProxy::start(&LEDGER_TABLE.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant(LATER));
    let api = Api::new(&proxy.endpoint, &LEDGER_TABLE.name, host);
    let mut asked = 0;
    for (filter, index) in [
        ("", Value::Null),
        ("&granularity=hourly", json!("GSI1")),
        ("&status=complete", json!("GSI2")),
    ] {
        let first = data(&api, &format!("{RUNS}?limit=10{filter}")).await;
        let cursor = first["nextCursor"].as_str().unwrap();
        data(&api, &format!("{RUNS}?limit=10{filter}&cursor={cursor}")).await;
        let seen = proxy.seen().split_off(asked);
        let limits: Vec<_> = seen.iter().map(|(_, body)| body["Limit"].as_u64().unwrap()).collect();
        assert_eq!(limits, [11, 12], "{filter}");
        for (operation, body) in seen {
            assert_eq!((operation.as_str(), &body["IndexName"]), ("Query", &index), "{filter}");
        }
        asked = proxy.seen().len();
    }
    // Both at once: the runs of the status are looked through, many a request.
    let query = "granularity=monthly&status=partial";
    let all = expected(|(_, _, one, how)| *one == "monthly" && *how == "partial");
    assert_eq!(names(&data(&api, &format!("{RUNS}?{query}")).await), all);
    let seen = proxy.seen().split_off(asked);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1["IndexName"], "GSI2");
    // What is refused is not asked for.
    assert_eq!(api.get(format!("{RUNS}?limit=0")).await.status.as_u16(), 400);
    assert_eq!(proxy.seen().len(), asked + 1);
}

/// Where DynamoDB cannot select by both, a request looks at 2,000 runs and gives a cursor.
#[tokio::test]
async fn a_search_is_bounded_and_goes_on() {
    let mut entries: Vec<Item> = (0..2100)
        .map(|number| {
            let started = stamp(instant("2026-06-01T00:00:00Z") + TimeDelta::minutes(number));
            entry(&format!("{number:04}"), "hourly", "held", &started)
        })
        .collect();
    entries.push(entry("needle", "daily", "held", "2026-05-31T00:00:00.000Z"));
    let table = TestTable::with(Backend::Dynoxide, &entries).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let api = Api::new(&proxy.endpoint, &table.name, StandingHost::at(instant(LATER)));
    let pages = pages(&api, "granularity=daily&status=held").await;
    assert_eq!(pages, [vec![], vec!["needle".to_owned()]]);
    assert!(proxy.seen().len() <= 2000 / 250 + 2 + 1, "{} requests", proxy.seen().len());
}

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
async fn a_cursor_that_is_damaged_or_of_another_query_is_refused() {
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

/// What is past its 90 days is not shown, though DynamoDB has not deleted it yet.
#[tokio::test]
async fn runs_past_their_retention_are_not_shown_though_they_are_still_there() {
    let host = StandingHost::at(instant(LATER));
    let api = Api::new(&LEDGER_TABLE.endpoint, &LEDGER_TABLE.name, host.clone());
    let all = format!("{RUNS}?limit=100");
    let first = data(&api, &format!("{all}&from=2026-01-01")).await;
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();
    let days = TimeDelta::days(90);
    for (now, oldest) in [
        (instant("2026-06-01T00:20:00Z") + days - TimeDelta::milliseconds(1), 20),
        (instant("2026-06-01T00:20:00Z") + days, 21),
        (instant("2026-06-01T00:49:00Z") + days, 50),
    ] {
        host.set(now);
        let oldest = stamp(instant("2026-06-01T00:00:00Z") + TimeDelta::minutes(oldest));
        let kept = |known: &Known| known.0 >= oldest;
        let whole = expected(kept);
        for query in ["", "&from=0000-01-01", "&from=2026-06-01T00:00:30Z&to=2026-06-02"] {
            assert_eq!(pages(&api, &format!("limit=100{query}")).await.concat(), whole, "{query}");
        }
        for (filter, granularity, status) in [
            ("granularity=hourly", Some("hourly"), None),
            ("status=partial", None, Some("partial")),
            ("granularity=hourly&status=partial", Some("hourly"), Some("partial")),
        ] {
            let all = expected(|known| {
                kept(known)
                    && granularity.is_none_or(|granularity| granularity == known.2)
                    && status.is_none_or(|status| status == known.3)
            });
            assert_eq!(pages(&api, &format!("limit=9&{filter}")).await.concat(), all, "{filter}");
        }
        // A range that was over before, and one that is by now.
        for query in ["to=2026-06-01T00:10:00Z", "from=2026-05-01&to=2026-06-01T00:20:00Z"] {
            let found = data(&api, &format!("{RUNS}?{query}")).await;
            assert_eq!(found, json!({"runs": [], "nextCursor": null}), "{query}");
        }
        // A page of before goes on as far as there is something: it stands behind a hundred runs.
        let rest = data(&api, &format!("{all}&from=2026-01-01&cursor={cursor}")).await;
        assert_eq!(names(&rest), whole.get(100..).unwrap_or_default());
        assert_eq!(rest["nextCursor"], Value::Null);
    }
}

/// An entry and a job are shown until the time to live that they were given, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_runs_and_jobs_ends_with_their_time_to_live() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let engine = engine_at(&table.endpoint, &table.name, host.clone());
    engine.run(Granularity::Hourly, end()).await;
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let hour = range("hourly", end() - TimeDelta::hours(1), end());
    let job = recalculate(&api, &hour).await;
    let job = format!("{RECALCULATE}/{}", job["jobId"].as_str().unwrap());
    let of = async |partition: &str| {
        let ttl = |item: &edge_analytics::dynamodb::Item| match &item["ttl"] {
            AttributeValue::N(seconds) => seconds.parse::<i64>().unwrap(),
            other => panic!("{other:?}"),
        };
        let items = table.partition(None, partition).await;
        // The list of unfinished jobs is not one of them: it is edited in place and stays.
        let own = items.iter().filter(|item| text(item, "SK") != Some("unfinished"));
        own.map(ttl).collect::<BTreeSet<_>>()
    };
    let expiry = end() + TimeDelta::days(90);
    let seconds = BTreeSet::from([expiry.timestamp()]);
    assert_eq!((of("ANALYTICS_RUN").await, of("ANALYTICS_JOB").await), (seconds.clone(), seconds));

    host.set(expiry - TimeDelta::milliseconds(1));
    assert_eq!(data(&api, RUNS).await["runs"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(&job).await.status.as_u16(), 200);
    host.set(expiry);
    assert_eq!(data(&api, RUNS).await["runs"], json!([]));
    assert_eq!(api.get(&job).await.error(404), "Unknown recalculation");
}

/// The entries of real runs are listed as the runs reported them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_enters_is_listed() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = TestHost::at(end());
    let engine = engine(&table, host.clone());
    let mut reports: Vec<Report> = Vec::new();
    for ago in [1, 0] {
        host.set(end() - TimeDelta::hours(ago) + TimeDelta::seconds(2));
        reports.push(engine.run(Granularity::Hourly, end() - TimeDelta::hours(ago)).await);
    }
    let api = Api::new(&table.endpoint, &table.name, host);
    let found = data(&api, &format!("{RUNS}?granularity=hourly&status=complete")).await;
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for (run, report) in runs.iter().zip(reports.iter().rev()) {
        assert_eq!(run["runId"], report.run_id);
        assert_eq!(run["timestamp"], report.period.timestamp);
        assert_eq!(run["typesWritten"], json!(report.period.types_written));
        assert_eq!(run["malformed"], json!(report.malformed));
        // All but the request that wrote the entry itself.
        assert_eq!(run["requests"], report.usage.requests - 1);
    }
}

// ---------------------------------------------------------------------------------------------
// POST /recalculate

fn range(granularity: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> Value {
    json!({
        "metricType": "all", "granularity": granularity,
        "startDate": stamp(start), "endDate": stamp(end),
    })
}

/// Starts a job that must be accepted.
async fn recalculate(api: &Api, body: &Value) -> Value {
    let request = with_token(Request::post(RECALCULATE)).header("Content-Type", "application/json");
    let answer = api.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.text());
    answer.json()["data"].clone()
}

/// Which hours of a range are over and within retention is another question every hour; the request
/// is the same.
#[tokio::test]
async fn the_same_range_an_hour_later_is_the_running_job() {
    let table = TestTable::with(Backend::Dynoxide, &[begin("2026-01-01T00:00:00.000Z")]).await;
    let settings = Settings::read(|name| match name {
        "RETENTION_HOURLY_DAYS" => Some("10".to_owned()),
        name => variable(name, &table.endpoint, &table.name),
    });
    let host = StandingHost::at(instant("2026-06-01T10:58:00Z"));
    let api = Api::with_settings(settings.unwrap(), host.clone(), IMPATIENT);
    // From before retention to tomorrow.
    let (start, tomorrow) = (instant("2026-05-02T00:00:00Z"), instant("2026-06-02T00:00:00Z"));
    let first = recalculate(&api, &range("hourly", start, tomorrow)).await;
    // The hours that end after 05-22T10:58 and before 10:58 today.
    assert_eq!(first["periods"], 10 * 24);
    host.set(instant("2026-06-01T11:01:00Z"));
    let same = recalculate(&api, &range("hourly", start, tomorrow)).await;
    assert_eq!(same, first);
    // However it is written: these are the same hours.
    let (earlier, later) = (start - TimeDelta::minutes(1), tomorrow + TimeDelta::minutes(1));
    assert_eq!(recalculate(&api, &range("hourly", earlier, later)).await, first);
    // Others are not.
    let hour = TimeDelta::hours(1);
    for other in [
        range("hourly", start + hour, tomorrow),
        range("hourly", start, tomorrow + hour),
        range("daily", start, tomorrow),
    ] {
        assert_ne!(recalculate(&api, &other).await["jobId"], first["jobId"], "{other}");
    }
    // It counts as dead six hours after it last moved.
    host.set(instant("2026-06-01T16:58:00Z"));
    let next = recalculate(&api, &range("hourly", start, tomorrow)).await;
    assert_ne!(next["jobId"], first["jobId"]);
}

// ---------------------------------------------------------------------------------------------
// GET /health

fn bearer(uri: &str, token: &str) -> http::request::Builder {
    get(uri).header("Authorization", format!("Bearer {token}"))
}

async fn ask(api: &Api, token: &str) -> Answer {
    api.send(bearer(HEALTH, token).body(Body::empty()).unwrap()).await
}

/// The health, however it is.
async fn health(api: &Api) -> Value {
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

fn reasons(health: &Value) -> Vec<(&str, Option<&str>, &str)> {
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

fn standing<'health>(health: &'health Value, granularity: &str) -> &'health Value {
    let all = health["granularities"].as_array().unwrap();
    all.iter().find(|one| one["granularity"] == granularity).unwrap()
}

/// Noon of the Wednesday on which the platforms of these tests are counted first.
fn noon() -> DateTime<Utc> {
    instant("2026-05-20T12:00:00Z")
}

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

/// States as runs leave them, written by hand.
fn state(granularity: &str, state: &Value, marks: &[&str]) -> Item {
    let mut item = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": granularity},
        "EntityType": {"S": "AnalyticsState"}, "runState": {"M": state},
    });
    if !marks.is_empty() {
        item["staleMarks"] = json!({"SS": marks});
    }
    item.as_object().unwrap().clone()
}

#[tokio::test]
async fn what_the_states_say_is_answered_whole() {
    let holes: Vec<Value> = (0..30)
        .map(|hour| json!({"S": stamp(instant("2026-05-19T00:00:00Z") + TimeDelta::hours(hour))}))
        .collect();
    let items = [
        state(
            "hourly",
            &json!({
                "begin": {"S": "2026-05-01T00:00:00.000Z"},
                "watermark": {"S": "2026-05-20T11:00:00.000Z"},
                "lastRunAt": {"S": "2026-05-20T12:00:00.500Z"}, "lastStatus": {"S": "complete"},
                "lastSuccessAt": {"S": "2026-05-20T12:00:00.500Z"},
                "holes": {"L": holes}, "left": {"N": "30"},
            }),
            &[],
        ),
        state(
            "daily",
            &json!({
                "watermark": {"S": "2026-05-17T00:00:00.000Z"},
                "lastRunAt": {"S": "2026-05-18T00:05:00.000Z"}, "lastStatus": {"S": "partial"},
                "failingTypes": {"M": {"users": {
                    "S": "refused: arn:aws:iam::123456789012:user/worker is not authorized"}}},
            }),
            &[
                "2026-05-16T00:00:00.000Z#2026-05-20T11:00:00.000Z",
                "2026-05-16T00:00:00.000Z#2026-05-20T11:30:00.000Z",
                "2026-05-17T00:00:00.000Z#2026-05-20T11:00:00.000Z",
            ],
        ),
        state("weekly", &json!({"watermark": {"S": "2026-05-11T00:00:00.000Z"}}), &[]),
    ];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(noon() + TimeDelta::minutes(30));
    let api = Api::new(&proxy.endpoint, &table.name, host);
    insta::assert_snapshot!("health_failing", ask(&api, HEALTH_TOKEN).await.shown(&[]));

    // All of it in one request.
    let seen = proxy.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].0, "BatchGetItem");
    let keys = seen[0].1["RequestItems"]["platform"]["Keys"].as_array().unwrap();
    assert_eq!(keys.len(), 5);
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_failing_and_its_content_stays_in_the_log() {
    let items = [state("weekly", &json!({"left": {"S": "swordfish"}}), &[])];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let host = StandingHost::at(noon());
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let found = health(&api).await;
    assert_eq!(
        reasons(&found)[0],
        (
            "failing",
            Some("weekly"),
            "run state item ANALYTICS_STATE / weekly: attribute `runState.left` has an invalid \
             type or value. Delete the item: the next weekly run then checks every period since the \
             first counted hour; stored records are kept"
        )
    );
    assert!(!found.to_string().contains("swordfish"), "{found}");
    let lines = host.lines();
    assert!(lines.iter().any(|(_, line)| line["event"] == "unreadable_state"), "{lines:?}");
}

/// The state of refreshing the realtime counters, written by hand.
fn realtime_state(attributes: &Value) -> Item {
    let mut item = attributes.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({"S": "ANALYTICS_STATE"}));
    item.insert("SK".to_owned(), json!({"S": "realtime"}));
    item
}

#[tokio::test]
async fn the_state_of_the_counters_is_part_of_health() {
    let millis = |at: DateTime<Utc>| json!({"N": at.timestamp_millis().to_string()});
    let since = |minutes: i64| millis(noon() - TimeDelta::minutes(minutes));
    let old = "the realtime counters were last refreshed at 2026-05-20T10:59:00.000Z, but are due \
               every 5 minutes; check the cron trigger that REALTIME_CRON names";
    let damaged = "the state of the realtime counters is damaged; the next refresh replaces it";
    for (attributes, expected) in [
        (json!({"refreshedAt": since(60), "writtenAt": since(0)}), None),
        (json!({"refreshedAt": since(61), "writtenAt": since(0)}), Some(old)),
        // Written before `refreshedAt` was.
        (json!({"writtenAt": since(60)}), None),
        (json!({"writtenAt": since(61)}), Some(old)),
        // Before the first refresh.
        (json!({"leaseExpiresAt": since(0)}), None),
        (json!({"writtenAt": {"S": "swordfish"}}), Some(damaged)),
        (json!({"writtenAt": millis(noon() + TimeDelta::hours(1))}), Some(damaged)),
    ] {
        let table = TestTable::with(Backend::Dynoxide, &[realtime_state(&attributes)]).await;
        let host = StandingHost::at(noon());
        let api = Api::new(&table.endpoint, &table.name, host.clone());
        let found = health(&api).await;
        let mut reasons = reasons(&found);
        assert_eq!(reasons.remove(0), ("degraded", None, "no hour has been counted yet"));
        let expected: Vec<_> = expected.iter().map(|reason| ("degraded", None, *reason)).collect();
        assert_eq!(reasons, expected, "{attributes}");
        let is_logged = host.lines().iter().any(|(severity, line)| {
            *severity == Severity::Error
                && line["event"] == "unreadable_state"
                && line["reason"].as_str().unwrap().contains("ANALYTICS_STATE / realtime")
        });
        assert_eq!(is_logged, expected.iter().any(|(.., reason)| *reason == damaged));
        assert!(!found.to_string().contains("swordfish"), "{found}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_asked_is_failing() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    for (fault, snapshot, cause) in [
        (Fault::Throttled, "health_with_dynamodb_throttled", "ThrottlingException"),
        (Fault::Dropped, "health_without_dynamodb", "connection failed"),
        (Fault::AccessDenied, "health_with_access_denied", "AccessDeniedException"),
    ] {
        let proxy = FaultProxy::start(&table.endpoint, move |_| fault).await;
        let host = TestHost::at(noon());
        let api = Api::with_policy(&proxy.endpoint, &table.name, host.clone(), IMPATIENT);
        for token in [HEALTH_TOKEN, TOKEN] {
            let answer = ask(&api, token).await;
            assert_eq!(answer.error(503), "failing", "{fault:?}");
            insta::allow_duplicates! {
                insta::assert_snapshot!(snapshot, answer.shown(&["checkedAt"]));
            }
            assert!(!answer.text().contains("injected"), "{}", answer.text());
            let (severity, line) = host.lines().pop().unwrap();
            assert_eq!((severity, &line["status"]), (Severity::Error, &json!(503)));
            assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
        }
    }
}

/// A monitor gives up after ten seconds or so.
#[tokio::test]
async fn a_database_that_does_not_answer_is_not_waited_for() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::Slow(Duration::from_mins(5))).await;
    let api = Api::new(&proxy.endpoint, &table.name, TestHost::at(noon()));
    let answer = tokio::time::timeout(Duration::from_secs(10), ask(&api, HEALTH_TOKEN)).await;
    assert_eq!(answer.unwrap().error(503), "failing");
}

#[tokio::test]
async fn the_health_token_opens_health_and_nothing_else() {
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
    // Nobody was looked up for it.
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
    // Shares tell nothing of how many there are.
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

// ---------------------------------------------------------------------------------------------
// GET /metrics at the edges of time

fn record(granularity: &str, start: &str, last: &str) -> Item {
    let start = format!("{start}.000Z");
    let item = json!({
        "PK": {"S": format!("ANALYTICS#users#{granularity}")}, "SK": {"S": start},
        "GSI1PK": {"S": "ANALYTICS"}, "GSI1SK": {"S": format!("{granularity}#{start}#users")},
        "EntityType": {"S": "Analytics"}, "metricType": {"S": "users"},
        "granularity": {"S": granularity}, "timestamp": {"S": start},
        "endTimestamp": {"S": format!("{last}.999Z")},
        "metrics": {"M": {"newUsers": {"N": "1"}}},
        "calculatedAt": {"S": "2026-06-02T00:00:00.000Z"}, "version": {"N": "1"},
    });
    item.as_object().unwrap().clone()
}

fn day_of_users(day: u32) -> Item {
    record("daily", &format!("2026-05-{day:02}T00:00:00"), &format!("2026-05-{day:02}T23:59:59"))
}

fn begin(at: &str) -> Item {
    state("hourly", &json!({"begin": {"S": at}}), &[])
}

/// An API with this retention of days.
fn api_keeping(days: &'static str, endpoint: &str, now: &str) -> (Api, Arc<StandingHost>) {
    let settings = Settings::read(|name| match name {
        "RETENTION_DAILY_DAYS" => Some(days.to_owned()),
        name => variable(name, endpoint, "platform"),
    });
    let host = StandingHost::at(instant(now));
    (Api::with_settings(settings.unwrap(), host.clone(), IMPATIENT), host)
}

/// The days of users that there are and that are missing, of one type and of all.
async fn days(api: &Api, start: &str, end: &str) -> (Vec<String>, Vec<String>) {
    let mut found = Vec::new();
    for metric_type in ["users", "all"] {
        let query =
            format!("metricType={metric_type}&granularity=daily&startDate={start}&endDate={end}");
        let data = api.data(query).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let day =
            |at: &Value| at.as_str().unwrap()["2026-05-".len().."2026-05-01".len()].to_owned();
        let points = series["dataPoints"].as_array().unwrap();
        assert_eq!(series["summary"]["totalDataPoints"], points.len());
        found.push((
            points.iter().map(|point| day(&point["timestamp"])).collect(),
            series["missing"].as_array().unwrap().iter().map(day).collect(),
        ));
    }
    assert_eq!(found[0], found[1]);
    found.remove(0)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_record_past_its_retention_is_not_shown_though_it_is_still_there() {
    let items: Vec<Item> = [2, 3, 5, 6].map(day_of_users).to_vec();
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    // Ten days after the end of the 2nd.
    let (api, host) = api_keeping("10", &proxy.endpoint, "2026-05-12T23:59:59.999Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03", "02"]), texts(&["04"])));
    host.set(instant("2026-05-13T00:00:00Z"));
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03"]), texts(&["04"])));

    // What cannot be shown is not read either; where nothing can, nothing is asked.
    let before = proxy.seen().len();
    let found = days(&api, "2026-05-01", "2026-05-04").await;
    assert_eq!(found, (texts(&["03"]), texts(&["04"])));
    let queries: Vec<Value> = proxy
        .seen()
        .split_off(before)
        .into_iter()
        .filter(|(operation, _)| operation == "Query")
        .map(|(_, body)| body["ExpressionAttributeValues"][":from"]["S"].clone())
        .collect();
    assert_eq!(queries, ["2026-05-03T00:00:00.000Z", "daily#2026-05-03T00:00:00.000Z"]);
    let before = proxy.seen().len();
    host.set(instant("2026-06-30T00:00:00Z"));
    assert_eq!(days(&api, "2026-05-01", "2026-05-06").await, (vec![], vec![]));
    assert_eq!(proxy.seen().len(), before);

    // Kept for ever, everything is shown.
    let (api, _) = api_keeping("0", &table.endpoint, "2036-05-13T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["06", "05", "03", "02"]), texts(&["04", "01"])));
}

#[tokio::test]
async fn nothing_is_missing_from_before_the_first_hour() {
    // A record from before may be there nevertheless: somebody recalculated it.
    let items: Vec<Item> =
        [day_of_users(2), day_of_users(5), begin("2026-05-03T23:00:00.000Z")].into();
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-07T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    // The 3rd holds the first hour.
    assert_eq!(found, (texts(&["05", "02"]), texts(&["06", "04", "03"])));
    table.put(&[begin("2026-05-04T00:00:00.000Z")]).await;
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["05", "02"]), texts(&["06", "04"])));
}

#[tokio::test]
async fn a_state_without_a_begin_changes_nothing() {
    let table =
        TestTable::with(Backend::Dynoxide, &[day_of_users(2), state("hourly", &json!({}), &[])])
            .await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-04T00:00:00Z");
    let found = days(&api, "2026-05-01", "2026-05-06").await;
    assert_eq!(found, (texts(&["02"]), texts(&["03", "01"])));
}

/// A state that cannot be asked for fails the answer: a hole must not look like none.
#[tokio::test]
async fn without_the_state_there_is_no_answer() {
    let table = TestTable::with(Backend::Dynoxide, &[day_of_users(2)]).await;
    let proxy = FaultProxy::start(&table.endpoint, |seen| {
        if seen.operation == "GetItem" { Fault::Throttled } else { Fault::None }
    })
    .await;
    let api = Api::with_policy(&proxy.endpoint, &table.name, TestHost::at(noon()), IMPATIENT);
    let query = "metricType=users&granularity=daily&startDate=2026-05-01&endDate=2026-05-03";
    assert_eq!(api.metrics(query).await.error(503), "Database unavailable");
}

#[tokio::test]
async fn a_short_point_says_how_much_it_covers() {
    let covering = |day: u32, present: u32, expected: u32| {
        let mut item = day_of_users(day);
        let coverage = json!({"M": {
            "present": {"N": present.to_string()}, "expected": {"N": expected.to_string()}}});
        item.insert("coverage".to_owned(), coverage);
        item
    };
    let items = [covering(2, 24, 24), covering(3, 23, 24), day_of_users(4)];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let (api, _) = api_keeping("0", &table.endpoint, "2026-05-05T00:00:00Z");
    for metric_type in ["users", "all"] {
        let query = format!(
            "metricType={metric_type}&granularity=daily&startDate=2026-05-02&endDate=2026-05-04"
        );
        let data = api.data(query).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let coverages: Vec<_> = series["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| point.get("coverage").cloned())
            .collect();
        assert_eq!(
            coverages,
            [None, Some(json!({"present": 23, "expected": 24})), None],
            "{metric_type}"
        );
    }
}

/// A day rolled up from the hours since the first, by the engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_day_that_counting_began_on_is_short_and_not_missing() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let midnight = instant("2026-05-21T00:00:00Z");
    let host = TestHost::at(midnight);
    let engine = engine(&table, host.clone());
    for ago in (0..3).rev() {
        engine.run(Granularity::Hourly, midnight - TimeDelta::hours(ago)).await;
    }
    engine.run(Granularity::Daily, midnight + TimeDelta::minutes(5)).await;
    host.set(midnight + TimeDelta::hours(2));
    let api = Api::new(&table.endpoint, &table.name, host);
    let data =
        api.data("metricType=all&granularity=daily&startDate=2026-05-01&endDate=2026-05-21").await;
    assert_eq!(data["missing"], json!([]));
    for series in data["allMetrics"].as_array().unwrap() {
        let name = series["metricType"].as_str().unwrap();
        let points = series["dataPoints"].as_array().unwrap();
        assert_eq!(points.len(), usize::from(TYPES.contains(&name)), "{name}");
        for point in points {
            assert_eq!(point["timestamp"], "2026-05-20T00:00:00.000Z");
            assert_eq!(point["coverage"], json!({"present": 3, "expected": 24}), "{name}");
        }
    }
}

// ---------------------------------------------------------------------------------------------
// No silent zero

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
/// nobody has left.
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

/// Truths in the shipped catalogue, as applications write them.
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
