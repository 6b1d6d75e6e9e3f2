//! The Worker's entry points: what the runtime calls, and nothing else.

use std::sync::{Arc, LazyLock};

use axum::{body::Body, response::IntoResponse};
use chrono::DateTime;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, ScheduleContext, ScheduledEvent, event};

use crate::{
    api::{self, ApiError, App, SessionMemory},
    catalogue::Catalogue,
    dynamodb::Client,
    host::{Host, Severity, SharedHost, WorkersHost},
    period::Granularity,
    run::Engine,
    settings::{Misconfigured, Problem, Settings},
};

/// Kept for as long as the isolate lives.
static SESSIONS: LazyLock<SessionMemory> = LazyLock::new(SessionMemory::default);

#[event(start)]
fn start() {
    // Without this a panic says only `unreachable`.
    std::panic::set_hook(Box::new(|panic| {
        worker::console_error!(
            "{}",
            serde_json::json!({
                "event": "panic", "message": panic.to_string(),
            })
        );
    }));
}

#[event(fetch)]
async fn fetch(
    request: HttpRequest,
    env: Env,
    _context: Context,
) -> worker::Result<http::Response<Body>> {
    let host: SharedHost = Arc::new(WorkersHost);
    let mut router = match (settings(&env), Catalogue::embedded()) {
        (Err(problems), _) => api::misconfigured(problems, host),
        (_, Err(error)) => return Ok(ApiError::Internal(error.to_string()).into_response()),
        (Ok(settings), Ok(catalogue)) => api::router(App {
            client: Client::new(settings.connection.clone(), host.clone()),
            settings,
            catalogue,
            host,
            sessions: SESSIONS.clone(),
        }),
    };
    Ok(router.call(request.map(Body::new)).await.into_response())
}

#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let host: SharedHost = Arc::new(WorkersHost);
    let fail = |cause: String| {
        let line = serde_json::json!({ "event": "run", "status": "failed", "problems": [cause] });
        WorkersHost.log(Severity::Error, &line);
    };
    let (settings, catalogue) = match (settings(&env), Catalogue::embedded()) {
        (Err(problems), _) => return fail(format!("misconfigured: {problems}")),
        (_, Err(error)) => return fail(error.to_string()),
        (Ok(settings), Ok(catalogue)) => (settings, catalogue),
    };
    // The event's own time, never the clock's: a late event does the same work.
    #[allow(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    let Some(time) = DateTime::from_timestamp_millis(event.schedule() as i64) else {
        return fail("the event's scheduled time is out of range".to_owned());
    };
    let cron = event.cron();
    let Some(granularity) = Granularity::from_cron(&cron) else {
        return fail(format!("no run belongs to the cron expression {cron}; see wrangler.toml"));
    };
    let client = Client::new(settings.connection, host.clone());
    Engine::new(client, host, settings.table, catalogue).run(granularity, time).await;
}

/// The settings in the Worker's environment.
fn settings(env: &Env) -> Result<Settings, Misconfigured> {
    let settings = Settings::read(|variable| env.var(variable).ok().map(|value| value.to_string()));
    let cache = env.kv("CACHE").is_ok();
    match settings {
        Ok(settings) if cache => Ok(settings),
        settings => {
            let mut problems = settings.err().map_or_else(Vec::new, |problems| problems.0);
            if !cache {
                let expected = "a Workers KV namespace, bound in wrangler.toml";
                problems.push(Problem { variable: "CACHE", is_missing: true, expected });
            }
            Err(Misconfigured(problems))
        }
    }
}
