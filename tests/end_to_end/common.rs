//! The Worker and the table that the tests share, and requests to it.

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use sample_platform::{Accounts, Item, accounts};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use support::{
    database::{Backend, DYNAMODB_LOCAL, TestTable},
    engine_suite::{TYPES, assert_same, end, platform},
    oracle,
};
use tokio::runtime::Runtime;

use crate::worker::{Answer, Tools, Variables, Worker, path_from};

pub const API: &str = "/api/admin/analytics/metrics";

pub const RECALCULATE: &str = "/api/admin/analytics/recalculate";

pub const REALTIME: &str = "/api/admin/analytics/realtime";

pub const HEALTH_TOKEN: &str = "health-token-of-the-end-to-end-tests-77d0";

pub const TOKEN: &str = "token-of-the-end-to-end-tests-c41f0a7be2";

const SECRET_KEY: &str = "SecretKeyOfTheEndToEndTests93d1c0";

pub const ALLOWED_ORIGIN: &str = "https://admin.example.com";

/// The seed of `engine_suite::platform`.
pub const SEED: u64 = 7;

/// Few enough that DynamoDB Local has them in seconds.
pub const USERS: u32 = 60;

/// Metrics whose past values the table does not hold.
pub const CURRENT_ONLY: [&str; 5] =
    ["activeUsers", "deletedUsers", "mediaByStatus", "totalViews", "MRR"];

/// How many hours before the platform's end are counted before the first test.
pub const HOURS: i64 = 24;

/// What the tests share, or why it could not be set up.
static SHARED: LazyLock<Result<Shared, String>> = LazyLock::new(Shared::set_up);

/// One test at a time: they send events and measure.
static TURN: Mutex<()> = Mutex::new(());

/// A Worker whose table holds a platform and the records of its last hours.
pub struct Shared {
    pub runtime: Runtime,
    pub tools: Tools,
    pub fault_package: PathBuf,
    pub package: PathBuf,
    pub backend: Backend,
    pub table: TestTable,
    pub items: Vec<Item>,
    pub variables: Variables,
    pub worker: Worker,
    pub accounts: Accounts,
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
    pub fn variables_with(&self, name: &str, value: Option<&str>) -> Variables {
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
    pub fn assert_no_secret_in_the_log_of(&self, worker: &Worker) {
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
pub fn end_to_end(test: impl AsyncFnOnce(&Shared)) {
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
pub fn variables(table: &TestTable) -> Variables {
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
pub fn hours() -> impl DoubleEndedIterator<Item = DateTime<Utc>> + Clone {
    (1..=HOURS).rev().map(|ago| end() - TimeDelta::hours(ago))
}

/// An instant as the API writes it.
pub fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The path and query that ask for the hours from `first` to `last`, both included.
pub fn metrics_path(metric_type: &str, first: DateTime<Utc>, last: DateTime<Utc>) -> String {
    let last = last + TimeDelta::minutes(1);
    format!(
        "{API}?metricType={metric_type}&granularity=hourly&startDate={}&endDate={}",
        instant(first),
        instant(last)
    )
}

/// All hours that were counted before the first test.
pub fn day_path(metric_type: &str) -> String {
    metrics_path(metric_type, end() - TimeDelta::hours(HOURS), end() - TimeDelta::hours(1))
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Asks as the bearer of the API token.
pub async fn get(worker: &Worker, path_and_query: &str) -> Answer {
    let authorization = bearer(TOKEN);
    worker.send(Method::GET, path_and_query, &[("authorization", &authorization)]).await
}

/// The `data` of an answer that has to be a success.
pub async fn data(worker: &Worker, path_and_query: &str) -> Value {
    let answer = get(worker, path_and_query).await;
    assert_eq!(answer.status, 200, "{path_and_query}: {answer:?}");
    assert_common_headers(&answer, path_and_query);
    let mut body = answer.json();
    assert_eq!(body["success"], true, "{path_and_query}");
    body["data"].take()
}

/// What every answer has.
pub fn assert_common_headers(answer: &Answer, context: &str) {
    assert_eq!(answer.header("cache-control"), "private, no-store", "{context}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{context}");
    let id = answer.header("x-request-id");
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id, "{context}: the request id is {id:?}");
}

/// An error with this status, in the shape that all errors have; answers its `error` text.
pub fn assert_error(answer: &Answer, status: u16, context: &str) -> String {
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
/// ones, so what only its own scheduled run can observe is absent.
pub async fn assert_late_hour_is_right(shared: &Shared, hour: DateTime<Utc>, context: &str) {
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

pub fn metrics_of(point: &Value) -> &Map<String, Value> {
    point["metrics"].as_object().unwrap_or_else(|| panic!("no metrics in {point}"))
}

/// Prints to the terminal, which the test harness would only do for a failed test.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "\n{text}");
}
