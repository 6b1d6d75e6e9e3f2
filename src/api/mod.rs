//! The admin API: one router that lists every route, and what all responses have in common.
//!
//! Its contract is `docs/api.md`.

mod admission;
mod authentication;
mod caching;
mod chunks;
mod counted;
mod dashboard;
mod error;
mod health;
mod metrics;
mod paging;
mod parameters;
mod range;
mod realtime;
mod recalculate;
mod running;
mod runs;
mod series;
mod session;
mod waiting;

use std::{fmt::Display, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state, map_response},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Value as Json, json};
use tower_http::cors::CorsLayer;

use crate::{
    dynamodb::Client,
    host::{ResponseCache, Severity, SharedHost},
    metrics::catalogue::Catalogue,
    realtime::SnapshotStore,
    settings::Settings,
    store::job::JobQueue,
};

use admission::Admission;
pub use authentication::SessionMemory;
use counted::CountedMemory;
pub use error::ApiError;
use error::Cause;

/// The path below which all routes are.
pub const BASE_PATH: &str = "/api/admin/analytics";

/// The header with the id of the request, which is also in every log line of the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header that says whether the response is from the edge cache: `hit`, `miss`, or `bypass` if it
/// may still change and is not cached.
const CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache");

/// How long a browser may cache the response to a preflight request, in seconds.
const PREFLIGHT_SECONDS: u64 = 600;

/// What handlers work with.
pub struct App {
    /// The configuration.
    pub settings: Settings,
    /// The client of the platform's table.
    pub client: Client,
    /// The catalogue of metrics.
    pub catalogue: Catalogue,
    /// Time, randomness, log.
    pub host: SharedHost,
    /// Sessions looked up in the last minute.
    pub sessions: SessionMemory,
    /// The queue of recalculations.
    pub queue: Arc<dyn JobQueue>,
    /// The store of the realtime counters.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// The edge cache for responses.
    pub cache: Arc<dyn ResponseCache>,
    /// What the isolate keeps between requests, except for the sessions.
    pub memory: IsolateMemory,
}

impl App {
    /// Logs a problem that does not fail the request.
    fn log_problem(&self, request_id: &RequestId, event: &str, reason: &dyn Display) {
        let line =
            json!({ "event": event, "requestId": request_id.0, "reason": reason.to_string() });
        self.host.log(Severity::Error, &line);
    }
}

/// What an isolate keeps between requests: the permits for large responses, and the realtime counters
/// that it counted itself. Clones share it.
#[derive(Clone, Default)]
pub struct IsolateMemory {
    admission: Admission,
    counted: CountedMemory,
}

/// The API. Each request must have in its extensions the
/// [`SharedBackground`](crate::host::SharedBackground) that runs its work after the response.
pub fn router(app: App) -> Router {
    let app = Arc::new(app);
    let router = Router::new()
        .route(&format!("{BASE_PATH}/metrics"), get(metrics::metrics))
        .route(&format!("{BASE_PATH}/realtime"), get(realtime::realtime))
        .route(&format!("{BASE_PATH}/dashboard"), get(dashboard::dashboard))
        .route(&format!("{BASE_PATH}/recalculate"), post(recalculate::start))
        .route(
            &format!("{BASE_PATH}/recalculate/{{jobId}}"),
            get(recalculate::follow).delete(recalculate::dismiss),
        )
        .route(&format!("{BASE_PATH}/runs"), get(runs::runs))
        .route(&format!("{BASE_PATH}/health"), get(health::health))
        .route(&format!("{BASE_PATH}/session"), get(session::session))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    #[cfg(feature = "fault-injection")]
    let router = router.route("/fault/panic", get(panic));
    router
        .layer(cross_origin(&app.settings.allowed_origins))
        .layer(map_response(withhold_from_other_origins))
        .layer(from_fn_with_state(app.host.clone(), finish))
        .with_state(app)
}

/// Answers every request with `error`: the Worker cannot process any, because it is misconfigured.
pub fn out_of_service(error: ApiError, host: SharedHost) -> Router {
    Router::new().fallback(async move || error.clone()).layer(from_fn_with_state(host, finish))
}

#[cfg(feature = "fault-injection")]
#[allow(clippy::unused_async, clippy::panic, reason = "the fault that a test asks for")]
async fn panic() -> StatusCode {
    panic!("a panic on purpose")
}

/// Allows cross-origin requests with credentials from the configured origins only.
fn cross_origin(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> =
        origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([REQUEST_ID, header::LOCATION, CACHE_STATUS])
        .max_age(std::time::Duration::from_secs(PREFLIGHT_SECONDS))
}

/// Removes the other CORS headers for origins that are not configured: the layer leaves out only the
/// origin.
async fn withhold_from_other_origins(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        for name in [
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            header::ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
    }
    response
}

/// The id of a request, for its log lines.
#[derive(Debug, Clone)]
struct RequestId(String);

/// Adds the headers that all responses have, and logs the request.
async fn finish(State(host): State<SharedHost>, mut request: Request, next: Next) -> Response {
    let started = host.now();
    let method = request.method().clone();
    let path = parameters::echo(request.uri().path());
    let request_id = match host.random() {
        Ok(random) => format!("{random:032x}"),
        Err(error) => return ApiError::from(error).into_response(),
    };
    request.extensions_mut().insert(RequestId(request_id.clone()));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let mut line = json!({
        "event": "request",
        "requestId": request_id,
        "method": method.as_str(),
        "path": path,
        "status": response.status().as_u16(),
        "milliseconds": (host.now() - started).num_milliseconds(),
    });
    let mut severity = Severity::Info;
    if let Some(Cause(cause)) = response.extensions().get() {
        line["cause"] = json!(cause);
        severity = Severity::Error;
    }
    host.log(severity, &line);
    response
}

fn json_response(status: StatusCode, body: &Json) -> Response {
    json_body_response(status, Body::from(body.to_string()))
}

/// A response whose body is JSON already.
fn json_body_response(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
