//! The Worker end to end: the built package in the real Workers runtime (`wrangler dev`), over a
//! real DynamoDB, asked over HTTP.
//!
//! Run with `cargo xtask test`, which builds the packages and sets these variables:
//!
//! * `EDGE_ANALYTICS_PKG`: folder of the released package.
//! * `EDGE_ANALYTICS_FAULT_PKG`: folder of the package with the Cargo feature `fault-injection`.
//! * `EDGE_ANALYTICS_NODE`, `EDGE_ANALYTICS_WRANGLER`: node, and wrangler's JavaScript entry.
//! * `EDGE_ANALYTICS_DYNAMODB_LOCAL`: URL of DynamoDB Local; without it, dynoxide in this process.
//!
//! The tests share one Worker and one table, and go one after the other. What a Worker printed
//! during a test that fails is shown with the failure.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod worker;

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, Period};
use http::Method;
use sample_platform::{Accounts, Item, accounts};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use support::{
    database::{Backend, DYNAMODB_LOCAL, TestTable},
    engine_suite::{TYPES, assert_same, end, platform, platform_until},
    oracle,
    realtime::{assert_counters, counters_in, expected_counters},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};
use worker::{Answer, Tools, Variables, Worker, path_from};

const API: &str = "/api/admin/analytics/metrics";
const RECALCULATE: &str = "/api/admin/analytics/recalculate";
const REALTIME: &str = "/api/admin/analytics/realtime";
const HEALTH_TOKEN: &str = "health-token-of-the-end-to-end-tests-77d0";
const TOKEN: &str = "token-of-the-end-to-end-tests-c41f0a7be2";
const SECRET_KEY: &str = "SecretKeyOfTheEndToEndTests93d1c0";
const ALLOWED_ORIGIN: &str = "https://admin.example.com";

/// The seed of `engine_suite::platform`.
const SEED: u64 = 7;

/// Few enough that DynamoDB Local has them in seconds.
const USERS: u32 = 60;

/// What the table forgets.
const CURRENT_ONLY: [&str; 5] =
    ["activeUsers", "deletedUsers", "mediaByStatus", "totalViews", "MRR"];

/// How many hours before the platform's end are counted before the first test.
const HOURS: i64 = 24;

/// What the tests share, or why it could not be set up.
static SHARED: LazyLock<Result<Shared, String>> = LazyLock::new(Shared::set_up);

/// One test at a time: they send events and measure.
static TURN: Mutex<()> = Mutex::new(());

/// A Worker whose table holds a platform and the records of its last hours.
struct Shared {
    runtime: Runtime,
    tools: Tools,
    fault_package: PathBuf,
    package: PathBuf,
    backend: Backend,
    table: TestTable,
    items: Vec<Item>,
    variables: Variables,
    worker: Worker,
    accounts: Accounts,
}

impl Shared {
    fn set_up() -> Result<Self, String> {
        let tools = Tools::from_environment()?;
        let package = path_from("EDGE_ANALYTICS_PKG")?;
        let fault_package = path_from("EDGE_ANALYTICS_FAULT_PKG")?;
        let backend = match std::env::var_os(DYNAMODB_LOCAL) {
            Some(_) => Backend::DynamoDbLocal,
            None => Backend::Dynoxide,
        };
        // Its own, because it has to outlive the tests: dynoxide runs in it.
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let start = async move {
            let items = platform(USERS);
            let table = TestTable::with(backend, &items).await;
            let variables = variables(&table);
            let worker = Worker::start(&tools, &package, &variables).await;
            for hour in hours() {
                worker.aggregate(hour).await;
            }
            (tools, package, table, items, variables, worker)
        };
        // Whatever goes wrong becomes every test's message.
        let (tools, package, table, items, variables, worker) =
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(start))).map_err(|panic| {
                panic.downcast::<String>().map_or_else(
                    |_| "the first failed test says why the Worker is not there".to_owned(),
                    |message| *message,
                )
            })?;
        let accounts = accounts(SEED);
        Ok(Self {
            runtime,
            tools,
            fault_package,
            package,
            backend,
            table,
            items,
            variables,
            worker,
            accounts,
        })
    }

    /// The variables with one of them changed or left out.
    fn variables_with(&self, name: &str, value: Option<&str>) -> Variables {
        let mut variables = self.variables.clone();
        variables.retain(|(other, _)| *other != name || value.is_some());
        for (other, changed) in &mut variables {
            if let (true, Some(value)) = (*other == name, value) {
                value.clone_into(changed);
            }
        }
        variables
    }

    /// Fails if anything that `worker` or wrangler printed holds a secret.
    fn assert_no_secret_in_the_log_of(&self, worker: &Worker) {
        let log = worker.log();
        for (what, secret) in [
            ("the AWS secret key", SECRET_KEY),
            ("the API token", TOKEN),
            ("the administrator's session id", &self.accounts.administrator.session_id),
            ("the ordinary user's session id", &self.accounts.ordinary_session_id),
            ("the expired session id", &self.accounts.expired_session_id),
            ("the deactivated administrator's session id", &self.accounts.deactivated_session_id),
        ] {
            // The line is not repeated: the test's own output is a log, too.
            assert!(!log.contains(secret), "wrangler's output holds {what}");
        }
    }
}

/// Does a test when its turn has come. Nothing secret may be in the log when it is over.
fn end_to_end(test: impl AsyncFnOnce(&Shared)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let shared = match &*SHARED {
        Ok(shared) => shared,
        Err(problem) => panic!("{problem}"),
    };
    let _log = shared.worker.show_log_on_failure();
    shared.runtime.block_on(test(shared));
    shared.assert_no_secret_in_the_log_of(&shared.worker);
}

/// All that the Worker is configured with, as wrangler.toml names it.
fn variables(table: &TestTable) -> Variables {
    let digest = |token: &str| -> String {
        let bytes = Sha256::digest(token);
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        hex.concat()
    };
    vec![
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "example".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("DYNAMODB_TABLE", table.name.clone()),
        ("DYNAMODB_ENDPOINT", table.endpoint.clone()),
        ("API_TOKENS", format!("tests:{}", digest(TOKEN))),
        ("ALLOWED_ORIGINS", format!("{ALLOWED_ORIGIN},http://localhost:3000")),
        ("HEALTH_TOKEN", digest(HEALTH_TOKEN)),
        // The hours of the tests are of a fixed time, which goes by.
        ("RETENTION_HOURLY_DAYS", "0".to_owned()),
    ]
}

/// The hours that are counted before the first test, oldest first.
fn hours() -> impl DoubleEndedIterator<Item = DateTime<Utc>> + Clone {
    (1..=HOURS).rev().map(|ago| end() - TimeDelta::hours(ago))
}

/// An instant as the contract writes it.
fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The path and query that ask for the hours from `first` to `last`, both included.
fn metrics_path(metric_type: &str, first: DateTime<Utc>, last: DateTime<Utc>) -> String {
    let last = last + TimeDelta::minutes(1);
    format!(
        "{API}?metricType={metric_type}&granularity=hourly&startDate={}&endDate={}",
        instant(first),
        instant(last)
    )
}

/// All hours that were counted before the first test.
fn day_path(metric_type: &str) -> String {
    metrics_path(metric_type, end() - TimeDelta::hours(HOURS), end() - TimeDelta::hours(1))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Asks as the bearer of the API token.
async fn get(worker: &Worker, path_and_query: &str) -> Answer {
    let authorization = bearer(TOKEN);
    worker.send(Method::GET, path_and_query, &[("authorization", &authorization)]).await
}

/// The `data` of an answer that has to be a success.
async fn data(worker: &Worker, path_and_query: &str) -> Value {
    let answer = get(worker, path_and_query).await;
    assert_eq!(answer.status, 200, "{path_and_query}: {answer:?}");
    assert_common_headers(&answer, path_and_query);
    let mut body = answer.json();
    assert_eq!(body["success"], true, "{path_and_query}");
    body["data"].take()
}

/// What every answer has.
fn assert_common_headers(answer: &Answer, context: &str) {
    assert_eq!(answer.header("cache-control"), "private, no-store", "{context}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}");
    let id = answer.header("x-request-id");
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id, "{context}: the request id is {id:?}");
}

/// An error with this status, in the shape that all errors have; answers its `error` text.
fn assert_error(answer: &Answer, status: u16, context: &str) -> String {
    assert_eq!(answer.status, status, "{context}: {answer:?}");
    assert_common_headers(answer, context);
    assert!(answer.header("content-type").starts_with("application/json"), "{context}");
    let body = answer.json();
    assert_eq!(body["success"], false, "{context}: {body}");
    for name in ["error", "message"] {
        let text = body[name].as_str().unwrap_or("");
        assert!(!text.is_empty(), "{context}: no {name} in {body}");
    }
    body["error"].as_str().unwrap().to_owned()
}

/// The stored hour equals the independent computation, for every type. Its event came after later
/// ones, so what only its own time could tell is absent.
async fn assert_late_hour_is_right(shared: &Shared, hour: DateTime<Utc>, context: &str) {
    let expected = oracle::expected_hour(&shared.items, hour, None);
    for metric_type in TYPES {
        let data = data(&shared.worker, &metrics_path(metric_type, hour, hour)).await;
        assert_eq!(data["dataPoints"].as_array().unwrap().len(), 1, "{context}: {data}");
        let context = format!("{context}: {hour} {metric_type}");
        let mut expected = expected[metric_type].clone();
        expected.retain(|metric, _| !CURRENT_ONLY.contains(&metric.as_str()));
        assert_same(metrics_of(&data["dataPoints"][0]), &expected, &context);
    }
}

fn metrics_of(point: &Value) -> &Map<String, Value> {
    point["metrics"].as_object().unwrap_or_else(|| panic!("no metrics in {point}"))
}

/// Prints to the terminal, which the test harness would only do for a failed test.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}

#[test]
fn every_metric_of_every_hour_over_http_equals_the_independent_computation() {
    end_to_end(async |shared| {
        // The sample's hours lie months back, so every event came late: what only its time could tell
        // is absent, and the rest is marked.
        let mut expected = Vec::new();
        for hour in hours() {
            let mut of_hour = oracle::expected_hour(&shared.items, hour, None);
            for metrics in of_hour.values_mut() {
                metrics.retain(|metric, _| !CURRENT_ONLY.contains(&metric.as_str()));
            }
            expected.push((hour, of_hour));
        }
        // Newest first, as the answers are.
        expected.reverse();

        let all = data(&shared.worker, &day_path("all")).await;
        assert_eq!(all["missing"], json!([]));
        let count = expected.len() * TYPES.len();
        assert_eq!(all["combinedSummary"]["totalDataPoints"], json!(count));
        for metric_type in TYPES {
            let one = data(&shared.worker, &day_path(metric_type)).await;
            assert_eq!(one["metricType"], metric_type);
            assert_eq!(one["granularity"], "hourly");
            assert_eq!(one["missing"], json!([]), "{metric_type}");
            assert_eq!(one["summary"]["totalDataPoints"], json!(expected.len()));
            let points = one["dataPoints"].as_array().unwrap();
            assert_eq!(points.len(), expected.len(), "{metric_type}");
            for (point, (hour, expected)) in points.iter().zip(&expected) {
                let context = format!("{hour} {metric_type}");
                assert_eq!(point["timestamp"], instant(*hour), "{context}");
                let last = *hour + TimeDelta::hours(1) - TimeDelta::milliseconds(1);
                assert_eq!(point["endTimestamp"], instant(last), "{context}");
                assert!(
                    point["calculatedAt"].as_str().unwrap().parse::<DateTime<Utc>>().is_ok(),
                    "{context}"
                );
                assert_same(metrics_of(point), &expected[metric_type], &context);
                for metric in metrics_of(point).keys() {
                    let mark = point["reconstructed"][metric].as_str();
                    let is_marked = matches!(mark, Some("lowerBound" | "estimate"));
                    assert!(is_marked, "{context}: {metric} is {mark:?}");
                }
            }
            let series = all["allMetrics"].as_array().unwrap();
            let series = series.iter().find(|series| series["metricType"] == metric_type).unwrap();
            for part in ["dataPoints", "summary", "missing"] {
                assert_eq!(series[part], one[part], "{part} of {metric_type} in all");
            }
        }
    });
}

#[test]
fn an_hour_that_was_never_counted_is_named_as_missing() {
    end_to_end(async |shared| {
        let first = end() - TimeDelta::hours(HOURS);
        let before = first - TimeDelta::hours(1);
        // The hour after the last one ought to be there; the one before the first ought not.
        let data = data(&shared.worker, &metrics_path("users", before, end())).await;
        assert_eq!(data["missing"], json!([instant(end())]));
        let points = data["dataPoints"].as_array().unwrap();
        assert_eq!(points.len(), usize::try_from(HOURS).unwrap(), "{points:?}");
    });
}

#[test]
fn an_api_token_lets_its_bearer_in_and_nothing_like_it_does() {
    end_to_end(async |shared| {
        let path = day_path("users");
        for (scheme, status) in
            [("Bearer", 200), ("bearer", 200), ("Basic", 401), ("Token", 401), ("", 401)]
        {
            let authorization = format!("{scheme} {TOKEN}");
            let headers = [("authorization", authorization.as_str())];
            let answer = shared.worker.send(Method::GET, &path, &headers).await;
            assert_eq!(answer.status, status, "scheme {scheme:?}: {answer:?}");
        }
        let longer = format!("Bearer {TOKEN}x");
        let shorter = bearer(&TOKEN[1..]);
        let endless = bearer(&"x".repeat(4000));
        let cookie = format!("user_session={TOKEN}");
        for headers in [
            &[][..],
            &[("authorization", longer.as_str())],
            &[("authorization", shorter.as_str())],
            &[("authorization", endless.as_str())],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            // A token is no session.
            &[("cookie", cookie.as_str())],
        ] {
            let answer = shared.worker.send(Method::GET, &path, headers).await;
            let context = format!("{headers:?}");
            assert_error(&answer, 401, &context);
            assert!(answer.header("www-authenticate").starts_with("Bearer "), "{context}");
        }
    });
}

#[test]
fn a_session_of_the_platform_lets_active_administrators_in() {
    end_to_end(async |shared| {
        let path = day_path("users");
        let accounts = &shared.accounts;
        // Twice: the second answer comes from the memory of sessions.
        for round in ["first", "second"] {
            for (who, session, status) in [
                ("an administrator", accounts.administrator.session_id.as_str(), 200),
                ("an ordinary user", &accounts.ordinary_session_id, 403),
                ("an expired session", &accounts.expired_session_id, 401),
                ("a deactivated administrator", &accounts.deactivated_session_id, 401),
                ("an unknown session", "00000000-0000-4000-8000-000000000000", 401),
                ("an impossible session", "%00%ff#METADATA", 401),
            ] {
                let cookie = format!("theme=dark; user_session={session}; lang=en");
                let authorization = bearer(session);
                for header in
                    [("cookie", cookie.as_str()), ("authorization", authorization.as_str())]
                {
                    let answer = shared.worker.send(Method::GET, &path, &[header]).await;
                    let context = format!("{who} by {}, {round} time", header.0);
                    if status == 200 {
                        assert_eq!(answer.status, 200, "{context}: {answer:?}");
                        assert_common_headers(&answer, &context);
                    } else {
                        assert_error(&answer, status, &context);
                        let asks = answer.header("www-authenticate").starts_with("Bearer ");
                        assert_eq!(asks, status == 401, "{context}");
                    }
                }
            }
        }
    });
}

#[test]
fn only_allowed_origins_may_read_answers() {
    end_to_end(async |shared| {
        let path = day_path("users");
        let authorization = bearer(TOKEN);
        for (origin, allowed) in [
            (ALLOWED_ORIGIN, true),
            ("http://localhost:3000", true),
            ("https://elsewhere.example.com", false),
            ("https://admin.example.com.elsewhere.example", false),
            ("http://admin.example.com", false),
            ("null", false),
        ] {
            let expected = if allowed { origin } else { "" };
            let preflight = [
                ("origin", origin),
                ("access-control-request-method", "GET"),
                ("access-control-request-headers", "authorization"),
            ];
            let answer = shared.worker.send(Method::OPTIONS, &path, &preflight).await;
            assert_eq!(answer.status, 200, "{origin}: {answer:?}");
            assert_common_headers(&answer, origin);
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
            if allowed {
                assert_eq!(answer.header("access-control-allow-credentials"), "true");
                let methods = answer.header("access-control-allow-methods").to_owned();
                assert!(methods.contains("GET"), "{methods}");
                let headers = answer.header("access-control-allow-headers").to_lowercase();
                assert!(headers.contains("authorization"), "{headers}");
            }
            assert!(answer.header("vary").to_lowercase().contains("origin"), "{answer:?}");

            let request = [("origin", origin), ("authorization", authorization.as_str())];
            let answer = shared.worker.send(Method::GET, &path, &request).await;
            assert_eq!(answer.status, 200, "{origin}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
            if allowed {
                let exposed = answer.header("access-control-expose-headers").to_lowercase();
                assert!(exposed.contains("x-request-id"), "{exposed}");
            }
            // An error can be read by those who may read, too.
            let answer = shared.worker.send(Method::GET, &path, &request[..1]).await;
            assert_error(&answer, 401, origin);
            assert_eq!(answer.header("access-control-allow-origin"), expected, "{answer:?}");
        }
    });
}

/// A query with one parameter given as `text`.
fn query_with(parameter: &str, text: &str) -> String {
    let usual = [
        ("metricType", "users"),
        ("granularity", "hourly"),
        ("startDate", "2026-05-31"),
        ("endDate", "2026-06-01"),
    ];
    let mut query: Vec<String> = usual
        .iter()
        .filter(|(name, _)| *name != parameter)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    query.push(text.to_owned());
    query.join("&")
}

const NO_TYPE: &str =
    "Invalid metricType. Must be one of: users, media, albums, interactions, generations";
const NO_GRANULARITY: &str = "Invalid granularity. Must be one of: hourly, daily, weekly, monthly";
const NO_START: &str = "Invalid startDate format. Use ISO 8601 format";
const NO_END: &str = "Invalid endDate format. Use ISO 8601 format";
const NO_RANGE: &str = "startDate must be before endDate";
const UNKNOWN: &str = "Unknown parameter: ";
const LONG_RANGE: &str = "Range too large";
const LONG_QUERY: &str = "Query string too long";

/// Bad input: the parameter that is replaced in a good query, by what, and how the `error` begins.
const BAD_INPUT: &[(&str, &str, &str)] = &[
    ("metricType", "", "metricType is required"),
    ("granularity", "", "granularity is required"),
    ("startDate", "", "startDate is required"),
    ("endDate", "", "endDate is required"),
    ("metricType", "metricType=", "metricType is required"),
    ("metricType", "metricType", "metricType is required"),
    ("granularity", "granularity=", "granularity is required"),
    ("startDate", "startDate=", "startDate is required"),
    ("endDate", "endDate=", "endDate is required"),
    ("", "metricType=users", "metricType is repeated"),
    ("", "endDate=2026-06-02", "endDate is repeated"),
    ("", "metrics=newUsers&metrics=newUsers", "metrics is repeated"),
    ("", "page=10", UNKNOWN),
    ("", "metrictype=users", UNKNOWN),
    ("", "%00=1", UNKNOWN),
    ("", "%ff=1", UNKNOWN),
    ("", "=", UNKNOWN),
    ("metricType", "metricType[]=users", UNKNOWN),
    ("metricType", "metricType[name]=users", UNKNOWN),
    ("metricType", "metricType=Users", NO_TYPE),
    ("metricType", "metricType=users%00", NO_TYPE),
    ("metricType", "metricType=%ff%fe", NO_TYPE),
    ("metricType", "metricType=%c3%28", NO_TYPE),
    ("metricType", "metricType=%e2%82%ac%f0%9f%92%a9", NO_TYPE),
    ("metricType", "metricType=users%0d%0aX-Injected:%20yes", NO_TYPE),
    ("metricType", "metricType=%01%02%1b%5b31m%7f", NO_TYPE),
    ("metricType", "metricType=%", NO_TYPE),
    ("metricType", "metricType=%zz", NO_TYPE),
    ("metricType", "metricType=users%23hourly", NO_TYPE),
    ("metricType", "metricType=__proto__", NO_TYPE),
    ("metricType", "metricType=%7B%22S%22:%22users%22%7D", NO_TYPE),
    ("metricType", "metricType=1", NO_TYPE),
    ("metricType", "metricType=null", NO_TYPE),
    ("granularity", "granularity=yearly", NO_GRANULARITY),
    ("granularity", "granularity=60", NO_GRANULARITY),
    ("granularity", "granularity=true", NO_GRANULARITY),
    ("granularity", "granularity=hourly%0a", NO_GRANULARITY),
    ("startDate", "startDate=2026-02-30", NO_START),
    ("startDate", "startDate=yesterday", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00", NO_START),
    ("startDate", "startDate=2026-05-31%2010:00:00Z", NO_START),
    ("startDate", "startDate=1780185600000", NO_START),
    ("startDate", "startDate=-1", NO_START),
    ("startDate", "startDate=1e3", NO_START),
    ("startDate", "startDate=2026-05-31%00", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00%ff", NO_START),
    ("startDate", "startDate=-0001-01-01", NO_START),
    ("startDate", "startDate=10000-01-01", NO_START),
    ("startDate", "startDate=2026-05-31T24:30:00Z", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00%2B99:99", NO_START),
    ("endDate", "endDate=2026-06-31", NO_END),
    ("endDate", "endDate=tomorrow", NO_END),
    ("endDate", "endDate=%c2%b2026-06-01", NO_END),
    ("endDate", "endDate=99999-01-01", NO_END),
    ("startDate", "startDate=2026-06-01", NO_RANGE),
    ("startDate", "startDate=2026-06-01T02:00:00%2B02:00", NO_RANGE),
    ("startDate", "startDate=9999-12-31T23:59:59.999Z", NO_RANGE),
    ("endDate", "endDate=2026-05-30", NO_RANGE),
    ("endDate", "endDate=0000-01-01", NO_RANGE),
    ("startDate", "startDate=0000-01-01", LONG_RANGE),
    ("endDate", "endDate=9999-12-31T23:59:59.999Z", LONG_RANGE),
    ("", "metrics=nonsense", "Unknown metrics: nonsense"),
    ("", "metrics=newUsers,nonsense,other", "Unknown metrics: nonsense, other"),
    ("", "metrics=newMedia", "Unknown metrics: newMedia"),
    ("", "metrics=", "Unknown metrics: "),
    ("", "metrics=%00", "Unknown metrics: "),
    ("", "metrics=newUsers,,", "Unknown metrics: "),
];

/// The same, long.
fn long_bad_input() -> Vec<(&'static str, String, &'static str)> {
    let long_value = "x".repeat(7000);
    vec![
        ("metricType", format!("metricType={long_value}"), NO_TYPE),
        ("startDate", format!("startDate={long_value}"), NO_START),
        ("", format!("metrics={}", "a,".repeat(3000)), "Unknown metrics: "),
        ("", format!("{long_value}=1"), UNKNOWN),
        ("metricType", format!("metricType={}", "x".repeat(16 * 1024)), LONG_QUERY),
        ("", "a=1&".repeat(4 * 1024), LONG_QUERY),
        ("", format!("metrics={}", "%00".repeat(5461)), LONG_QUERY),
    ]
}

#[test]
fn bad_input_is_answered_with_400_and_what_is_wrong() {
    let long = long_bad_input();
    let long = long.iter().map(|(parameter, text, error)| (*parameter, text.as_str(), *error));
    let table = BAD_INPUT.iter().copied().chain(long);
    end_to_end(async |shared| {
        for (parameter, text, expected) in table {
            let query = query_with(parameter, text);
            let shown: String = query.chars().take(200).collect();
            let answer = get(&shared.worker, &format!("{API}?{query}")).await;
            let error = assert_error(&answer, 400, &shown);
            assert!(error.starts_with(expected), "{shown}: {error}, expected {expected}");
            assert!(answer.headers.get("x-injected").is_none(), "{shown}");
            assert!(answer.body.len() < 4096, "{shown}: an answer of {}", answer.body.len());
            let has_control = answer.body.bytes().any(|byte| byte.is_ascii_control());
            assert!(!has_control && !answer.body.contains("\\u0000"), "{shown}: {}", answer.body);
        }
        for query in ["", "?", "?&&&", "?#"] {
            let answer = get(&shared.worker, &format!("{API}{query}")).await;
            assert_eq!(assert_error(&answer, 400, query), "metricType is required", "{query:?}");
        }
        // Whoever may not ask learns nothing about the input.
        let answer = shared.worker.send(Method::GET, &format!("{API}?%00"), &[]).await;
        assert_error(&answer, 401, "bad input without credentials");
        // And what is unusual but right is answered.
        for (parameter, text) in [
            ("startDate", "startDate=2026-05-31T02:00:00%2B02:00"),
            ("startDate", "startDate=2026-05-31T02:00:00+02:00"),
            ("startDate", "startDate=2026-05-30T19:30:00-04:30"),
            ("startDate", "start%44ate=2026-05-31"),
        ] {
            let query = query_with(parameter, text);
            let data = data(&shared.worker, &format!("{API}?{query}")).await;
            assert_eq!(data["startDate"], "2026-05-31T00:00:00.000Z", "{query}");
        }
        let query = query_with("", "metrics=newUsers,totalUsers");
        let data = data(&shared.worker, &format!("{API}?{query}")).await;
        let names: Vec<&String> = metrics_of(&data["dataPoints"][0]).keys().collect();
        assert_eq!(names, ["newUsers", "totalUsers"]);
    });
}

/// Bytes that no client library sends. The runtime may refuse them itself, so only its survival
/// and the class of the answer are looked at.
#[test]
fn raw_control_characters_on_the_wire_do_no_harm() {
    end_to_end(async |shared| {
        for raw in [&b"\x01"[..], b"\x07", b"\x1b[31m", b"\x7f", b"\xff\xfe", b"\xc3\x28"] {
            let mut request = format!("GET {API}?metricType=").into_bytes();
            request.extend_from_slice(raw);
            request.extend_from_slice(
                format!(
                    "&granularity=hourly HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                     Authorization: Bearer {TOKEN}\r\n\r\n"
                )
                .as_bytes(),
            );
            let mut stream = TcpStream::connect(("127.0.0.1", shared.worker.port())).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let mut answer = Vec::new();
            // It may also close the connection without a word.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
            assert!(refused, "{raw:?}: {answer}");
        }
        data(&shared.worker, &day_path("users")).await;
    });
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_apart() {
    end_to_end(async |shared| {
        for path in [
            "/api/admin/analytics",
            "/api/admin/analytics/",
            "/api/admin/analytics/metrics/",
            "/api/admin/analytics/metrics/users",
            "/api/admin/analytics/metrics%00",
            "/api/admin/analytics/%ff",
            "/API/admin/analytics/metrics",
            "//api/admin/analytics/metrics",
            "/api/admin/analytics/metric%1b%5b31m",
            // Not in the released package.
            "/fault/panic",
        ] {
            let answer = get(&shared.worker, path).await;
            assert_eq!(assert_error(&answer, 404, path), "Not found");
        }
        let authorization = bearer(TOKEN);
        let headers = [("authorization", authorization.as_str())];
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = shared.worker.send(method.clone(), &day_path("users"), &headers).await;
            assert_eq!(assert_error(&answer, 405, method.as_str()), "Method not allowed");
            let allow = answer.header("allow");
            let methods: Vec<&str> = allow.split(',').map(str::trim).collect();
            assert!(methods.contains(&"GET") && !methods.contains(&method.as_str()), "{allow}");
        }
        let answer = shared.worker.send(Method::HEAD, &day_path("users"), &headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    });
}

#[test]
fn fifty_requests_at_once_are_all_answered_alike() {
    end_to_end(async |shared| {
        let path = day_path("all");
        let requests = (0..50).map(|_| get(&shared.worker, &path));
        let answers = futures_util::future::join_all(requests).await;
        let mut ids: Vec<&str> = Vec::new();
        for answer in &answers {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_common_headers(answer, "one of fifty");
            assert!(answer.body == answers[0].body, "two of fifty answers differ");
            ids.push(answer.header("x-request-id"));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50, "distinct request ids");
        assert_eq!(answers[0].json()["data"]["missing"], json!([]));
    });
}

#[test]
fn a_run_leaves_one_structured_line_in_the_log() {
    end_to_end(async |shared| {
        let hour = end() - TimeDelta::days(6);
        shared.worker.aggregate(hour).await;
        let of_hour = |line: &Value| line["event"] == "run" && line["timestamp"] == instant(hour);
        let lines = shared.worker.wait_for_events("the run's line", 1, of_hour).await;
        let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
        assert_eq!(line["status"], "complete", "{line}");
        assert_eq!(line["granularity"], "hourly", "{line}");
        assert_eq!(line["runId"].as_str().map(str::len), Some(32), "{line}");
        let mut types = TYPES.to_vec();
        types.sort_unstable();
        assert_eq!(line["typesWritten"], json!(types), "{line}");
        assert_eq!(line["typesFailed"], json!({}), "{line}");
        assert!(line["estimatedCostUsd"].as_f64().is_some_and(|cost| cost > 0.0), "{line}");
        for name in ["requests", "pages", "readUnits", "writeUnits"] {
            assert!(line[name].as_f64().is_some_and(|number| number > 0.0), "{name} in {line}");
        }
        assert!(line["milliseconds"].as_i64().is_some_and(|number| number >= 0), "{line}");
        let malformed = line["malformed"].as_object().unwrap();
        assert!(malformed.contains_key("totalUsers"), "{line}");
        assert_late_hour_is_right(shared, hour, "after the run").await;
    });
}

#[test]
fn a_request_leaves_one_structured_line_in_the_log() {
    end_to_end(async |shared| {
        let good = get(&shared.worker, &day_path("users")).await;
        let bad = get(&shared.worker, "/nowhere%1b%5b31m").await;
        for (answer, path) in [(&good, API), (&bad, "/nowhere%1b%5b31m")] {
            let id = answer.header("x-request-id");
            let of_request = |line: &Value| line["requestId"] == id;
            let lines = shared.worker.wait_for_events("the request's line", 1, of_request).await;
            let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
            assert_eq!(line["event"], "request", "{line}");
            assert_eq!(line["method"], "GET", "{line}");
            assert_eq!(line["path"], path, "{line}");
            assert_eq!(line["status"], json!(answer.status), "{line}");
            assert!(line["milliseconds"].is_i64(), "{line}");
        }
    });
}

#[test]
fn repeated_and_simultaneous_events_leave_the_records_right() {
    end_to_end(async |shared| {
        let hour = end() - TimeDelta::days(5);
        let of_hour = |line: &Value| line["event"] == "run" && line["timestamp"] == instant(hour);
        let worker = &shared.worker;
        tokio::join!(worker.aggregate(hour), worker.aggregate(hour));
        let lines = worker.wait_for_events("the lines of two runs", 2, of_hour).await;
        let mut statuses: Vec<&str> =
            lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
        statuses.sort_unstable();
        // Whether one finds the other at work is a matter of milliseconds.
        let expected = [["complete", "held"], ["complete", "complete"]];
        assert!(expected.iter().any(|expected| statuses == *expected), "{statuses:?}");
        assert_late_hour_is_right(shared, hour, "after two events at once").await;

        for _ in 0..2 {
            worker.aggregate(hour).await;
        }
        let lines = worker.wait_for_events("the lines of repeated runs", 4, of_hour).await;
        for line in &lines[2..] {
            assert_eq!(line["status"], "complete", "{line}");
        }
        assert_late_hour_is_right(shared, hour, "after repeated events").await;
    });
}

/// Posts a recalculation of these hours and follows it to its end.
async fn recalculate(
    worker: &Worker,
    metric_type: &str,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> Value {
    let body = json!({
        "metricType": metric_type, "granularity": "hourly",
        "startDate": instant(first), "endDate": instant(last + TimeDelta::minutes(1)),
    });
    let authorization = bearer(TOKEN);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = worker.post(RECALCULATE, &headers, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_common_headers(&answer, RECALCULATE);
    let location = answer.header("location").to_owned();
    let begun = Instant::now();
    loop {
        let job = data(worker, &location).await;
        if job["finishedAt"].is_string() {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "the job does not end: {job}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_recalculation_goes_through_the_queue_to_its_end() {
    end_to_end(async |shared| {
        let worker = &shared.worker;
        let first = end() - TimeDelta::hours(HOURS);
        let before = data(worker, &day_path("media")).await;
        let job = recalculate(worker, "media", first, end() - TimeDelta::hours(1)).await;
        assert_eq!(
            (&job["status"], &job["periods"], &job["done"]),
            (&json!("complete"), &json!(HOURS), &json!(HOURS)),
            "{job}"
        );
        let after = data(worker, &day_path("media")).await;
        for (old, new) in before["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .zip(after["dataPoints"].as_array().unwrap())
        {
            assert_eq!(new["metrics"], old["metrics"], "{new}");
            assert!(new["calculatedAt"].as_str() > old["calculatedAt"].as_str(), "{new} {old}");
        }
        let runs = data(worker, "/api/admin/analytics/runs?limit=100").await;
        let runs = runs["runs"].as_array().unwrap();
        let of_job: Vec<_> = runs.iter().filter(|run| run["jobId"] == job["jobId"]).collect();
        assert!(
            of_job.iter().any(|run| run["trigger"] == "recalculate" && run["periods"] == HOURS),
            "{runs:?}"
        );
        assert!(runs.iter().any(|run| run["trigger"] == "cron"), "{runs:?}");
    });
}

/// A job whose slices fail comes back from the dead-letter queue and is shown as failed.
#[test]
fn a_recalculation_that_cannot_be_done_ends_as_failed() {
    end_to_end(async |shared| {
        // A type that holds a record of a newer version cannot be overwritten.
        let hour = end() - TimeDelta::hours(2);
        let key = edge_analytics::store::record::record_key(
            "albums",
            edge_analytics::metrics::period::Period::containing(
                edge_analytics::metrics::period::Granularity::Hourly,
                hour,
            ),
        );
        let client = shared.table.client();
        let item = client
            .get(&shared.table.name, key, edge_analytics::dynamodb::Read::Consistent)
            .await
            .unwrap()
            .unwrap();
        let original = serde_json::to_value(&item).unwrap();
        let mut newer = original.clone();
        newer["version"] = json!({"N": "99"});
        shared.table.put(&[newer.as_object().unwrap().clone()]).await;
        let job = recalculate(&shared.worker, "albums", hour, hour).await;
        shared.table.put(&[original.as_object().unwrap().clone()]).await;
        assert_eq!(
            (&job["status"], &job["failed"], &job["done"]),
            (&json!("failed"), &json!(1), &json!(0)),
            "{job}"
        );
        let reason = job["reasons"][0].as_str().unwrap();
        assert!(reason.contains("version 99"), "{reason}");
    });
}

/// The hours of these tests are long past, so that the Worker is far behind and says so.
#[test]
fn health_tells_that_the_runs_are_behind() {
    end_to_end(async |shared| {
        let answer = get(&shared.worker, "/api/admin/analytics/health").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        let body = answer.json();
        assert_eq!(
            (&body["error"], &body["details"]["status"]),
            (&json!("failing"), &json!("failing"))
        );
        let none = shared.worker.send(Method::GET, "/api/admin/analytics/health", &[]).await;
        assert_eq!(none.status, 401);
        let authorization = bearer(HEALTH_TOKEN);
        let headers = [("authorization", authorization.as_str())];
        let watched =
            shared.worker.send(Method::GET, "/api/admin/analytics/health", &headers).await;
        assert_eq!(watched.status, 503);
        let metrics = shared.worker.send(Method::GET, &day_path("users"), &headers).await;
        assert_eq!(metrics.status, 401, "the health token opens nothing else");
    });
}

/// The dashboard is there, from this origin alone; what is no file of it is the Worker's.
#[test]
fn the_dashboard_is_served_with_a_strict_policy() {
    end_to_end(async |shared| {
        let page = shared.worker.send(Method::GET, "/", &[]).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        let script = page.body.split('"').find(|part| part.starts_with("/assets/")).unwrap();
        let script = shared.worker.send(Method::GET, script, &[]).await;
        assert_eq!(script.status, 200);
        assert!(script.header("cache-control").contains("immutable"), "{script:?}");
    });
}

/// A day is rolled up by its own cron event.
#[test]
fn a_daily_event_makes_the_day_of_its_hours() {
    end_to_end(async |shared| {
        // The platform's end is 03:00, so the day before has 21 hours of ours.
        let midnight = end() - TimeDelta::hours(3);
        let due = (midnight + TimeDelta::minutes(5)).timestamp_millis();
        let path = format!("/cdn-cgi/handler/scheduled?cron=5+0+*+*+*&time={due}");
        assert_eq!(shared.worker.send(Method::GET, &path, &[]).await.status, 200);
        let day = midnight - TimeDelta::days(1);
        let path = format!(
            "{API}?metricType=media&granularity=daily&startDate={}&endDate={}",
            instant(day),
            instant(day + TimeDelta::minutes(1))
        );
        let daily = data(&shared.worker, &path).await;
        let point = &daily["dataPoints"][0];
        assert_eq!(point["coverage"], json!({"present": 21, "expected": 24}), "{daily}");
        let hours = data(&shared.worker, &day_path("media")).await;
        let last = hours["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .find(|hour| hour["timestamp"] == instant(midnight - TimeDelta::hours(1)))
            .unwrap();
        assert_eq!(point["metrics"]["totalMedia"], last["metrics"]["totalMedia"]);
        // Short by three hours, so absent.
        assert_eq!(point["metrics"].get("newMedia"), None);
    });
}

#[test]
fn a_misconfigured_worker_names_the_variable_and_goes_on() {
    const MALFORMED: &str = "tests:neither-a-digest-nor-anything";
    end_to_end(async |shared| {
        for (variable, value, state) in
            [("DYNAMODB_TABLE", None, "missing"), ("API_TOKENS", Some(MALFORMED), "malformed")]
        {
            let variables = shared.variables_with(variable, value);
            let worker = Worker::start(&shared.tools, &shared.package, &variables).await;
            let _log = worker.show_log_on_failure();
            // Before a cron event and after it.
            for round in ["before", "after"] {
                let context = format!("{variable}, {round} a cron event");
                for (method, path) in
                    [(Method::GET, day_path("users")), (Method::POST, "/api/".into())]
                {
                    let answer = worker.send(method, &path, &[]).await;
                    let error = assert_error(&answer, 500, &context);
                    assert_eq!(error, "misconfigured", "{context}");
                    let body = answer.json();
                    let message = body["message"].as_str().unwrap();
                    let named = format!("{variable} is {state}");
                    assert!(message.contains(&named), "{context}: {message}");
                    assert_eq!(body["details"]["variables"], json!([variable]), "{context}");
                    assert!(!answer.body.contains(MALFORMED), "{context}");
                    let id = answer.header("x-request-id");
                    let of_request = |line: &Value| line["requestId"] == id;
                    let lines = worker.wait_for_events("the request's line", 1, of_request).await;
                    let cause = lines[0]["cause"].as_str().unwrap_or("");
                    assert!(cause.contains(&named), "{context}: {}", lines[0]);
                }
                worker.aggregate(end() - TimeDelta::hours(1)).await;
            }
            let of_run = |line: &Value| line["event"] == "run";
            for line in worker.wait_for_events("the lines of the runs", 2, of_run).await {
                assert_eq!(line["status"], "failed", "{line}");
                assert!(line["problems"].to_string().contains(variable), "{line}");
            }
            let log = worker.log();
            assert!(!log.contains("neither-a-digest"), "the value of {variable} is in the log");
            assert!(!log.to_lowercase().contains("panic"), "{variable}: a panic in the log");
            shared.assert_no_secret_in_the_log_of(&worker);
        }
    });
}

#[test]
fn a_panic_in_one_request_does_not_poison_the_next() {
    // Each takes ten seconds: so long a request that was taken down waits for the timer of its own
    // that keeps the runtime from noticing.
    const ROUNDS: usize = 3;
    end_to_end(async |shared| {
        let worker = Worker::start(&shared.tools, &shared.fault_package, &shared.variables).await;
        let _log = worker.show_log_on_failure();
        let path = day_path("users");
        let expected = get(&worker, &path).await;
        assert_eq!(expected.status, 200, "{expected:?}");
        let is_panic = |line: &Value| line["event"] == "panic";
        let mut taken_down = 0;
        for round in 1..=ROUNDS {
            // On their own.
            let failed = get(&worker, "/fault/panic").await;
            assert!(failed.status >= 500, "round {round}: {failed:?}");
            let next = get(&worker, &path).await;
            assert_eq!(next.status, 200, "round {round}, right after the panic: {next:?}");
            assert!(next.body == expected.body, "round {round}: another answer than before");

            // And with others in flight: those it takes down are answered with an error, none
            // with a wrong body, and the one right after it succeeds while they end.
            let others = futures_util::future::join_all((0..8).map(|_| get(&worker, &path)));
            let (others, (failed, next)) = tokio::join!(others, async {
                (get(&worker, "/fault/panic").await, get(&worker, &path).await)
            });
            assert!(failed.status >= 500, "round {round}: {failed:?}");
            let after = futures_util::future::join_all((0..8).map(|_| get(&worker, &path))).await;
            for next in [&next].into_iter().chain(&after) {
                assert_eq!(next.status, 200, "round {round}, after the panic: {next:?}");
                assert!(next.body == expected.body, "round {round}: another answer than before");
            }
            for other in &others {
                let right = other.status == 200 && other.body == expected.body;
                assert!(right || other.status >= 500, "round {round}: {other:?}");
                taken_down += usize::from(!right);
            }
        }
        tell(&format!(
            "{ROUNDS} panics beside 8 requests each: {taken_down} of {} failed with it, none after it",
            8 * ROUNDS
        ));
        let panics = worker.wait_for_events("the panics", 2 * ROUNDS, is_panic).await;
        assert_eq!(panics.len(), 2 * ROUNDS);
        for line in panics {
            assert!(line["message"].as_str().unwrap().contains("a panic on purpose"), "{line}");
        }
        // A cron event works as before, too.
        let hour = end() - TimeDelta::days(4);
        worker.aggregate(hour).await;
        assert_late_hour_is_right(shared, hour, "after panics").await;
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}

/// The realtime counters come from Workers KV, where the tick of the cron has put them.
#[test]
fn the_realtime_counters_come_from_workers_kv() {
    /// What was counted before the tick; who came and bought in the 24 hours before is not known then.
    /// What only the last hour's time can tell is known in the first ten minutes of an hour alone.
    const COUNTED: i64 = 2;
    let unknown = ["newUsers", "newRevenue", "mediaByStatus", "totalViews", "MRR"];
    let is_unknown = |name: &str| unknown.iter().any(|metric| name.starts_with(metric));
    end_to_end(async |shared| {
        // A platform that lives now: the tick goes by the clock.
        let end = this_hour();
        let items = platform_until(USERS, SEED, end);
        let table = TestTable::with(shared.backend, &items).await;
        let worker = Worker::start(&shared.tools, &shared.package, &variables(&table)).await;
        let _log = worker.show_log_on_failure();
        for ago in (1..=COUNTED).rev() {
            worker.aggregate(end - TimeDelta::hours(ago)).await;
        }
        let now = DateTime::<Utc>::from(std::time::SystemTime::now()).timestamp_millis();
        let tick = format!("/cdn-cgi/handler/scheduled?cron=*/5+*+*+*+*&time={now}");
        assert_eq!(worker.send(Method::GET, &tick, &[]).await.status, 200);
        let begun = Instant::now();
        // What was written may show a moment later.
        let realtime = loop {
            let realtime = data(&worker, REALTIME).await;
            assert_eq!(realtime["source"], "kv", "{realtime}");
            if realtime["lastUpdated"].is_string() {
                break realtime;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{realtime}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let at = realtime["lastUpdated"].as_str().unwrap().parse().unwrap();
        let mut expected = expected_counters(&items, at, &items, end);
        expected.retain(|name, _| !is_unknown(name));
        let mut counters = counters_in(&realtime);
        counters.retain(|name, _| !is_unknown(name));
        assert_counters(&counters, &expected, "from KV");
        // It says something: of what was there, and of what happened in the last day.
        for name in ["totalUsers", "totalMedia", "totalRevenue", "newLikesLast24Hours"] {
            assert!(counters[name].0.as_f64().unwrap() > 0.0, "{name}: {counters:?}");
        }
        let line = |line: &Value| line["event"] == "realtime" && line["occasion"] == "tick";
        let lines = worker.wait_for_events("the tick's line", 1, line).await;
        assert_eq!(lines[0]["status"], "complete", "{lines:?}");
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}

/// The full hour that began last.
fn this_hour() -> DateTime<Utc> {
    let now = DateTime::<Utc>::from(std::time::SystemTime::now());
    Period::containing(Granularity::Hourly, now).start()
}

/// A complete answer is kept at the edge; asked for again it is the same, and sooner there.
#[test]
fn complete_answers_are_kept_at_the_edge() {
    const RANGES: usize = 100;
    end_to_end(async |shared| {
        // A table of its own: after a recalculation nothing is kept for a while.
        let items = platform(USERS);
        let table = TestTable::with(shared.backend, &items).await;
        let worker = Worker::start(&shared.tools, &shared.package, &variables(&table)).await;
        for hour in hours() {
            worker.aggregate(hour).await;
        }
        let (mut misses, mut hits) = (Vec::new(), Vec::new());
        for number in 1..=i64::try_from(RANGES).unwrap() {
            // Another question each, of nearly the same 23 hours.
            let first = end() - TimeDelta::hours(HOURS) + TimeDelta::seconds(number);
            let path = metrics_path("users", first, end() - TimeDelta::hours(1));
            let begun = Instant::now();
            let miss = get(&worker, &path).await;
            misses.push(begun.elapsed());
            assert_eq!((miss.status, miss.header("x-cache")), (200, "miss"), "{miss:?}");
            let waiting = Instant::now();
            let hit = loop {
                let begun = Instant::now();
                let again = get(&worker, &path).await;
                if again.header("x-cache") == "hit" {
                    hits.push(begun.elapsed());
                    break again;
                }
                // It is kept after the answer has been sent.
                assert!(waiting.elapsed() < Duration::from_secs(30), "{again:?}");
            };
            assert_eq!(hit.body, miss.body);
            assert_eq!(hit.header("cache-control"), "private, no-store");
        }
        misses.sort_unstable();
        hits.sort_unstable();
        let median = |times: &[Duration]| times[RANGES / 2].as_secs_f64() * 1000.0;
        tell(&format!(
            "GET /metrics of 23 hourly points in wrangler dev: median {:.1} ms from the edge cache, \
             {:.1} ms without",
            median(&hits),
            median(&misses)
        ));
        let nobody = worker.send(Method::GET, &day_path("users"), &[]).await;
        assert_eq!(nobody.status, 401, "the cache comes after authentication");
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}

/// Nothing is asserted: it depends on the machine.
#[test]
fn how_long_a_warm_request_takes() {
    const WARM_UP: usize = 20;
    const REQUESTS: usize = 200;
    end_to_end(async |shared| {
        let path = day_path("users");
        let mut times = Vec::new();
        for number in 0..WARM_UP + REQUESTS {
            let begun = Instant::now();
            let answer = get(&shared.worker, &path).await;
            let time = begun.elapsed();
            assert_eq!(answer.status, 200, "{answer:?}");
            if number >= WARM_UP {
                times.push(time);
            }
        }
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        tell(&format!(
            "a warm GET /metrics of {HOURS} hourly points in wrangler dev, on {}: median {:.1} ms, \
             95th percentile {:.1} ms ({REQUESTS} requests one after the other)",
            match shared.backend {
                Backend::DynamoDbLocal => "DynamoDB Local",
                Backend::Dynoxide => "dynoxide",
            },
            milliseconds(times[REQUESTS / 2]),
            milliseconds(times[REQUESTS * 95 / 100]),
        ));
    });
}
