//! The entry points of the Worker: requests, cron events, queue messages.

mod bindings;
mod isolate;
mod recalculation;

use std::{rc::Rc, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use chrono::DateTime;
use tower_service::Service;
use worker::{Context, Env, HttpRequest, MessageBatch, ScheduleContext, ScheduledEvent, event};

use isolate::Isolate;

use crate::{
    api,
    host::{Host, Severity, SharedBackground, SharedHost, WorkersBackground, WorkersHost},
    metrics::period::Granularity,
    realtime::{RefreshTrigger, Refresher},
};

#[event(start)]
fn start() {
    // Without this hook a panic is logged as `unreachable`, without its reason.
    std::panic::set_hook(Box::new(|panic| {
        worker::console_error!(
            "{}",
            serde_json::json!({
                "event": "panic", "message": panic.to_string(),
            })
        );
    }));
}

/// A request to the API.
#[event(fetch)]
async fn fetch(
    request: HttpRequest,
    env: Env,
    context: Context,
) -> worker::Result<http::Response<Body>> {
    let mut router = match Isolate::of(&env) {
        Ok(isolate) => isolate.router.clone(),
        Err(error) => api::out_of_service(error.into(), Arc::new(WorkersHost)),
    };
    let mut request = request.map(Body::new);
    let background: SharedBackground = Arc::new(WorkersBackground(context));
    request.extensions_mut().insert(background);
    Ok(router.call(request).await.into_response())
}

/// A cron event: a scheduled run, or a refresh of the realtime counters.
#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let cron = event.cron();
    let isolate = match Isolate::of(&env) {
        Ok(isolate) => isolate,
        Err(error) => return log_failure("run", &error.to_string()),
    };
    if cron == isolate.settings.realtime_cron {
        recalculation::revive(&isolate).await;
        return refresh_counters(isolate).await;
    }
    // The event's scheduled time, never the clock's: a late event does the same work.
    #[allow(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    let Some(time) = DateTime::from_timestamp_millis(event.schedule() as i64) else {
        return log_failure("run", "the event's scheduled time is out of range");
    };
    let Some(granularity) = Granularity::from_cron(&cron) else {
        let problem = format!(
            "the cron expression {cron} starts no scheduled run and is not REALTIME_CRON; make the \
             crons in wrangler.toml and REALTIME_CRON agree"
        );
        return log_failure("run", &problem);
    };
    isolate.engine.run(granularity, time).await;
}

/// Messages of the queue of recalculations, or of its dead-letter queue.
#[event(queue)]
async fn queue(batch: MessageBatch<()>, env: Env, _context: Context) -> worker::Result<()> {
    recalculation::process(&batch, Isolate::of(&env)).await;
    Ok(())
}

/// Refreshes the realtime counters.
async fn refresh_counters(isolate: Rc<Isolate>) {
    let host: SharedHost = Arc::new(WorkersHost);
    let refresher = Refresher {
        client: isolate.client.with_own_meter(),
        host,
        table: &isolate.settings.table,
        catalogue: &isolate.catalogue,
        store: &isolate.snapshots,
    };
    // It logs its result. After a failure the next event is the next attempt.
    let _ = refresher.refresh(RefreshTrigger::Tick).await;
}

/// Logs that an event could not be processed.
fn log_failure(event: &str, problem: &str) {
    let line = serde_json::json!({ "event": event, "status": "failed", "problems": [problem] });
    WorkersHost.log(Severity::Error, &line);
}
