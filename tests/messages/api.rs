//! Responses with an error, as API users meet them.

use axum::body::Body;
use edge_analytics::{
    api::{ApiError, out_of_service},
    dynamodb::RetryPolicy,
    settings::Settings,
};
use http::{Request, request::Builder};
use sample_platform::Item;
use serde_json::json;
use support::{
    api::{Answer, Api, IMPATIENT, history, known_accounts, variable, with_token},
    database::{Backend, TestTable},
    engine_suite::end,
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
    queue::TestQueue,
    realtime::Surroundings,
};
use tokio::sync::OnceCell;

/// The stable texts that do not depend on the request.
pub const STABLE_TEXTS: [&str; 13] = [
    "Authentication required",
    "Administrator required",
    "Not found",
    "Unknown recalculation",
    "Content-Type must be application/json",
    "Request body too large",
    "Service unavailable",
    "Method not allowed",
    "misconfigured",
    "failing",
    "Database unavailable",
    "Database error",
    "Invalid cursor",
];

const HOUR: &str = "metricType=users&granularity=hourly&startDate=2026-06-01T01:00:00Z\
                    &endDate=2026-06-01T02:00:00Z";

/// Queries of `GET` that are wrong.
const QUERIES: [&str; 21] = [
    "metrics?granularity=hourly&startDate=2026-06-01&endDate=2026-06-02",
    "metrics?metricType=users&startDate=2026-06-01&endDate=2026-06-02",
    "metrics?metricType=users&granularity=hourly&endDate=2026-06-02",
    "metrics?metricType=users&granularity=hourly&startDate=2026-06-01",
    "metrics?metricType=unicorns&granularity=hourly&startDate=2026-06-01&endDate=2026-06-02",
    "metrics?metricType=users&granularity=yearly&startDate=2026-06-01&endDate=2026-06-02",
    "metrics?metricType=users&granularity=hourly&startDate=today&endDate=2026-06-02",
    "metrics?metricType=users&granularity=hourly&startDate=2026-06-01&endDate=today",
    "metrics?metricType=users&granularity=hourly&startDate=2026-06-02&endDate=2026-06-01",
    "metrics?metricType=users&granularity=hourly&startDate=2016-06-01&endDate=2026-06-02",
    "metrics?{hour}&metrics=newUsers,unicorns",
    "metrics?{hour}&limit=0",
    "metrics?{hour}&current=yes",
    "metrics?{hour}&cursor=damaged",
    "metrics?{hour}&cursor={cursor}",
    "metrics?{hour}&page=2",
    "metrics?{hour}&metricType=users",
    "metrics?{long}",
    "runs?status=ok",
    "runs?from=2026-06-02&to=2026-06-01",
    "health?verbose=1",
];

/// Bodies of `POST /recalculate` that are wrong.
const BODIES: [&str; 6] = [
    "[1, 2]",
    "{\"metricType\": 7}",
    "{\"force\": true}",
    "{\"overwrite\": \"yes\"}",
    "{\"metricType\": \"users\", \"metricType\": \"media\"}",
    "{\"metricType\": \"storage\", \"granularity\": \"hourly\", \"startDate\": \"2026-06-01\", \
     \"endDate\": \"2026-06-02\"}",
];

fn path(rest: &str) -> String {
    format!("/api/admin/analytics/{rest}")
}

/// What a snapshot shows of a response.
fn shown(request: &str, answer: &Answer) -> String {
    let body = answer.json();
    let request: String = request.chars().take(150).collect();
    format!(
        "    {request}\n        {} {}\n        {}\n        details: {}\n",
        answer.status.as_u16(),
        body["error"].as_str().unwrap(),
        body["message"].as_str().unwrap(),
        body["details"],
    )
}

/// A cursor of another query.
async fn other_cursor(api: &Api) -> String {
    let other = "metricType=media&granularity=hourly&startDate=2026-06-01&endDate=2026-06-02";
    let data = api.data(format!("{other}&limit=1")).await;
    data["nextCursor"].as_str().unwrap().to_owned()
}

async fn send(api: &Api, builder: Builder, body: &str) -> Answer {
    api.send(builder.body(Body::from(body.to_owned())).unwrap()).await
}

static MET: OnceCell<String> = OnceCell::const_new();

/// All of them, once for all tests: one of them is about a job that is not started twice.
pub async fn met() -> &'static str {
    MET.get_or_init(ask_for_all).await
}

async fn ask_for_all() -> String {
    let api = history().api();
    let mut met = String::from("As met\n\n");
    let cursor = other_cursor(&api).await;
    for query in QUERIES {
        let uri = query
            .replace("{hour}", HOUR)
            .replace("{cursor}", &cursor)
            .replace("{long}", &"x".repeat(16 * 1024));
        let asked = query.replace("{long}", "xxxxx… (16 KiB)");
        met += &shown(&format!("GET /{asked}"), &api.get(path(&uri)).await);
    }
    met += &recalculations(&api).await;
    met += &strangers(&api).await;
    met += &outages().await;
    met += &misconfigured().await;
    met
}

async fn recalculations(api: &Api) -> String {
    let post = || with_token(Request::post(path("recalculate")));
    let as_json = || post().header("Content-Type", "application/json");
    let mut met = String::new();
    for body in BODIES {
        met += &shown(&format!("POST /recalculate {body}"), &send(api, as_json(), body).await);
    }
    met += &shown("POST /recalculate without Content-Type", &send(api, post(), "{}").await);
    let large = " ".repeat(64 * 1024 + 1);
    met += &shown("POST /recalculate with 65537 bytes", &send(api, as_json(), &large).await);
    met += &shown("GET /recalculate/0123", &api.get(path("recalculate/0123")).await);

    let queue = TestQueue::default();
    queue.refuse(true);
    let table = &history().table;
    let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
    let host = TestHost::at(end());
    let policy = RetryPolicy::default();
    let full = Api::with_queue(settings, host, policy, &Surroundings::default(), queue);
    let body = json!({
        "metricType": "users", "granularity": "hourly",
        "startDate": "2026-06-01T00:00:00Z", "endDate": "2026-06-01T01:00:00Z",
    });
    let answer = send(&full, as_json(), &body.to_string()).await;
    met + &shown("POST /recalculate while the queue takes no message", &answer)
}

/// Who may not ask, and what does not exist.
async fn strangers(api: &Api) -> String {
    let uri = path(&format!("metrics?{HOUR}"));
    let session = known_accounts().ordinary_session_id;
    let user = Request::get(&uri).header("Cookie", format!("user_session={session}"));
    let mut met =
        shown("GET /metrics without credentials", &send(api, Request::get(&uri), "").await);
    met += &shown("GET /metrics as a user who is no administrator", &send(api, user, "").await);
    met += &shown("GET /nowhere", &api.get(path("nowhere")).await);
    let put = with_token(Request::put(&uri));
    met + &shown("PUT /metrics", &send(api, put, "").await)
}

/// What DynamoDB or what is stored in it can do to a request.
async fn outages() -> String {
    let mut met = String::new();
    for (fault, name) in [(Fault::Throttled, "throttles"), (Fault::AccessDenied, "denies access")] {
        let proxy = FaultProxy::start(&history().table.endpoint, move |_| fault).await;
        let name_of_table = &history().table.name;
        let api = Api::with_policy(&proxy.endpoint, name_of_table, TestHost::at(end()), IMPATIENT);
        let answer = api.get(path(&format!("metrics?{HOUR}"))).await;
        met += &shown(&format!("GET /metrics while DynamoDB {name}"), &answer);
    }
    let damaged = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"},
        "EntityType": {"S": "AnalyticsState"}, "runState": {"S": "damaged"},
    });
    let damaged: Item = damaged.as_object().unwrap().clone();
    let table = TestTable::with(Backend::Dynoxide, &[damaged]).await;
    let api = Api::new(&table.endpoint, &table.name, TestHost::at(end()));
    let answer = api.get(path(&format!("metrics?{HOUR}"))).await;
    met + &shown("GET /metrics while the run state is damaged", &answer)
}

async fn misconfigured() -> String {
    let read = |name: &str| {
        (name != "API_TOKENS")
            .then(|| variable(name, "http://localhost:8000", "platform"))
            .flatten()
    };
    let problems = Settings::read(read).unwrap_err();
    let api = Api(out_of_service(ApiError::Misconfigured(problems), TestHost::at(end())));
    shown("GET /metrics without the variable API_TOKENS", &api.get(path("metrics")).await)
}
