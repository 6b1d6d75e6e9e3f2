//! The API as tests call it: its router over a real table, answers taken apart, and a platform
//! whose hours have been counted.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Extension, Router, body::Body};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    api::{App, IsolateMemory, SessionMemory, router},
    dynamodb::{Client, RetryPolicy},
    host::{BoxFuture, Host, NativeHost, RandomnessError, Severity, SharedBackground, SharedHost},
    metrics::period::Granularity,
    settings::Settings,
    store::ledger::Status,
};
use http::{HeaderMap, Request, StatusCode, request::Builder};
use http_body_util::BodyExt;
use sample_platform::{Accounts, Item, accounts};
use serde_json::Value;
use tower::ServiceExt;

use super::{
    catalogue::gallery,
    database::{Backend, TestTable},
    engine_suite::{end, engine, platform},
    host::TestHost,
    queue::TestQueue,
    realtime::Surroundings,
};

/// The endpoint under test.
pub const METRICS: &str = "/api/admin/analytics/metrics";

/// An API token, and its entry in `API_TOKENS`.
pub const TOKEN: &str = "a-token-for-tests";
pub const API_TOKENS: &str =
    "tests:9237b94c86ee59b8e51197999c04d4570522a9bfb16047aa5b59613faefa515d";

/// The token that opens `GET /health`, and its digest as in `HEALTH_TOKEN`.
pub const HEALTH_TOKEN: &str = "a-health-token-for-tests";
pub const HEALTH_TOKEN_DIGEST: &str =
    "4d62485a5962590be1549bedbea1fb04272bbeda6d47ccd8666e6bb8a10afbe4";

/// The web origin that may call with credentials.
pub const ORIGIN: &str = "https://admin.example.com";

/// The secret of the AWS access key, which must not show anywhere.
pub const AWS_SECRET: &str = "the-secret-of-the-access-key";

/// A policy that gives up at once, for tests in which DynamoDB never recovers.
pub const IMPATIENT: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    cap: Duration::from_millis(2),
    attempt_timeout: Duration::from_secs(10),
    deadline: Duration::from_millis(20),
};

/// The configuration of the Worker under test.
pub fn variable(name: &str, endpoint: &str, table: &str) -> Option<String> {
    let value = match name {
        "AWS_REGION" => "eu-central-1",
        "AWS_ACCESS_KEY_ID" => "example",
        "AWS_SECRET_ACCESS_KEY" => AWS_SECRET,
        "DYNAMODB_ENDPOINT" => endpoint,
        "DYNAMODB_TABLE" => table,
        "API_TOKENS" => API_TOKENS,
        "ALLOWED_ORIGINS" => ORIGIN,
        "HEALTH_TOKEN" => HEALTH_TOKEN_DIGEST,
        // The tests' records are of any time; those about retention set it themselves.
        "RETENTION_HOURLY_DAYS" | "RETENTION_DAILY_DAYS" | "RETENTION_WEEKLY_DAYS" => "0",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The API over a table.
#[derive(Clone)]
pub struct Api(pub Router);

impl Api {
    pub fn new(endpoint: &str, table: &str, host: SharedHost) -> Self {
        Self::with_policy(endpoint, table, host, RetryPolicy::default())
    }

    pub fn with_policy(endpoint: &str, table: &str, host: SharedHost, policy: RetryPolicy) -> Self {
        let settings = Settings::read(|name| variable(name, endpoint, table)).unwrap();
        Self::with_settings(settings, host, policy)
    }

    pub fn with_settings(settings: Settings, host: SharedHost, policy: RetryPolicy) -> Self {
        Self::with_surroundings(settings, host, policy, &Surroundings::default())
    }

    pub fn with_surroundings(
        settings: Settings,
        host: SharedHost,
        policy: RetryPolicy,
        surroundings: &Surroundings,
    ) -> Self {
        Self::with_queue(settings, host, policy, surroundings, TestQueue::default())
    }

    pub fn with_queue(
        settings: Settings,
        host: SharedHost,
        policy: RetryPolicy,
        surroundings: &Surroundings,
        queue: TestQueue,
    ) -> Self {
        let Surroundings { snapshots, background, cache } = surroundings.clone();
        let background: SharedBackground = Arc::new(background);
        let router = router(App {
            client: Client::with_policy(settings.connection.clone(), host.clone(), policy),
            settings,
            catalogue: gallery(),
            host,
            sessions: SessionMemory::default(),
            queue: Arc::new(queue),
            snapshots: Arc::new(snapshots),
            cache: Arc::new(cache),
            memory: IsolateMemory::default(),
        });
        Self(router.layer(Extension(background)))
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.0.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// `GET` with the API token.
    pub async fn get(&self, uri: impl AsRef<str>) -> Answer {
        self.send(with_token(get(uri)).body(Body::empty()).unwrap()).await
    }

    /// `GET /metrics` with the API token and this query string.
    pub async fn metrics(&self, query: impl AsRef<str>) -> Answer {
        self.get(format!("{METRICS}?{}", query.as_ref())).await
    }

    /// The `data` of a request that must succeed.
    pub async fn data(&self, query: impl AsRef<str>) -> Value {
        let answer = self.metrics(&query).await;
        assert_eq!(answer.status, StatusCode::OK, "{}: {}", query.as_ref(), answer.text());
        let body = answer.json();
        assert_eq!(body["success"], true, "{body}");
        body["data"].clone()
    }
}

pub fn get(uri: impl AsRef<str>) -> Builder {
    Request::get(uri.as_ref())
}

pub fn with_token(request: Builder) -> Builder {
    request.header("Authorization", format!("Bearer {TOKEN}"))
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    /// The header's value; `None` if there is none.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The response as a snapshot shows it: status, the headers that say something about it, and body.
    /// `masked` are the fields whose values differ from run to run.
    pub fn shown(&self, masked: &[&str]) -> String {
        let mut lines = vec![self.status.to_string()];
        for name in ["allow", "location", "retry-after", "www-authenticate", "x-cache"] {
            if let Some(value) = self.header(name) {
                let value = match value.rsplit_once('/') {
                    Some((path, _)) if name == "location" => format!("{path}/[id]"),
                    _ => value.to_owned(),
                };
                lines.push(format!("{name}: {value}"));
            }
        }
        let mut body = self.json();
        mask(&mut body, masked);
        lines.extend([String::new(), serde_json::to_string_pretty(&body).unwrap()]);
        lines.join("\n")
    }

    /// Asserts that it is an error of this status in the documented shape, with the headers that
    /// every answer has; answers its `error`.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json; charset=utf-8"));
        self.assert_common_headers();
        let body = self.json();
        let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["details", "error", "message", "success"], "{body}");
        assert_eq!(body["success"], false, "{body}");
        assert!(!body["message"].as_str().unwrap().is_empty(), "{body}");
        let error = body["error"].as_str().unwrap();
        assert!(!error.is_empty(), "{body}");
        error.to_owned()
    }

    /// Asserts the headers that every answer has; answers the request's id.
    #[track_caller]
    pub fn assert_common_headers(&self) -> String {
        assert_eq!(self.header("cache-control"), Some("private, no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        let id = self.header("x-request-id").expect("the request's id");
        assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        id.to_owned()
    }
}

/// Replaces the values of these fields, wherever they are.
fn mask(value: &mut Value, masked: &[&str]) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if masked.contains(&name.as_str()) && !value.is_null() {
                    *value = Value::from(format!("[{name}]"));
                } else {
                    mask(value, masked);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, masked)),
        _ => {}
    }
}

/// A host whose clock stands still until it is set, for what depends on the exact millisecond.
pub struct StandingHost {
    now: Mutex<DateTime<Utc>>,
    log: TestHost,
}

impl StandingHost {
    pub fn at(now: DateTime<Utc>) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(now), log: TestHost::default() })
    }

    pub fn set(&self, now: DateTime<Utc>) {
        *self.now.lock().unwrap() = now;
    }

    /// The log so far.
    pub fn lines(&self) -> Vec<(Severity, Value)> {
        self.log.lines()
    }
}

impl Host for StandingHost {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        NativeHost.sleep(duration)
    }

    fn random(&self) -> Result<u128, RandomnessError> {
        NativeHost.random()
    }

    fn log(&self, severity: Severity, line: &Value) {
        self.log.log(severity, line);
    }
}

/// A platform whose last hours were counted by the engine. Tests only read it.
pub struct History {
    pub table: TestTable,
    pub items: Vec<Item>,
    /// The start of the first hour that was counted.
    pub first: DateTime<Utc>,
    /// When counting began and when it was done.
    pub counted: (DateTime<Utc>, DateTime<Utc>),
}

/// How many hours [`History`] has, up to [`end`].
pub const HOURS: u32 = 8;

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    // On a runtime of its own that lives as long as the process: the server inside serves every
    // test, and a test's runtime ends with the test.
    let build = || {
        let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
        runtime.block_on(count_the_hours())
    };
    std::thread::spawn(build).join().unwrap()
});

/// The counted platform, made once a process.
pub fn history() -> &'static History {
    &HISTORY
}

async fn count_the_hours() -> History {
    let items = platform(60);
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let first = end() - TimeDelta::hours(i64::from(HOURS));
    let host = TestHost::at(first + TimeDelta::hours(1));
    let begun = host.now();
    let engine = engine(&table, host.clone());
    for number in 1..=HOURS {
        let event = first + TimeDelta::hours(i64::from(number));
        host.set(event + TimeDelta::seconds(5));
        let report = engine.run(Granularity::Hourly, event).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    let done = host.now();
    History { table, items, first, counted: (begun, done) }
}

impl History {
    /// The API over it, at a moment of the hour after the last one.
    pub fn api(&self) -> Api {
        self.api_with(TestHost::at(end() + TimeDelta::minutes(20)))
    }

    pub fn api_with(&self, host: SharedHost) -> Api {
        Api::new(&self.table.endpoint, &self.table.name, host)
    }

    /// The API over it, through another endpoint such as a proxy's.
    pub fn api_through(&self, endpoint: &str) -> Api {
        Api::new(endpoint, &self.table.name, TestHost::at(end() + TimeDelta::minutes(20)))
    }

    /// The starts of the counted hours, oldest first.
    pub fn hours(&self) -> Vec<DateTime<Utc>> {
        (0..HOURS).map(|number| self.first + TimeDelta::hours(i64::from(number))).collect()
    }
}

/// Cursors that are damaged, whatever the endpoint: truncated, extended, of another form.
pub fn damaged_cursors(cursor: &str) -> Vec<String> {
    let truncated = (0..cursor.len()).map(|end| cursor[..end].to_owned());
    let others = [
        "%00".to_owned(),
        "a".repeat(2000),
        format!("{cursor}="),
        format!("{cursor}AAAA"),
        URL_SAFE_NO_PAD.encode("{}"),
        URL_SAFE_NO_PAD.encode("null"),
        URL_SAFE_NO_PAD.encode([0xff, 0xfe]),
        changed_cursor(cursor, |cursor| cursor["more"] = Value::from(1)),
    ];
    truncated.chain(others).collect()
}

/// The cursor with one change of its content.
pub fn changed_cursor(cursor: &str, change: impl Fn(&mut Value)) -> String {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).unwrap();
    let mut content: Value = serde_json::from_slice(&decoded).unwrap();
    change(&mut content);
    URL_SAFE_NO_PAD.encode(content.to_string())
}

/// The accounts of the platform in [`History`].
pub fn known_accounts() -> Accounts {
    accounts(7)
}

/// An instant as the API writes it.
pub fn stamp(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An instant of a test, in RFC 3339.
pub fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
