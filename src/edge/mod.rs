//! The Worker's entry points: what the runtime calls, and nothing else.

mod bindings;

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{body::Body, response::IntoResponse};
use chrono::DateTime;
use tower_service::Service;
use worker::{
    Context, Env, HttpRequest, MessageBatch, MessageExt, QueueRetryOptions,
    QueueRetryOptionsBuilder, ScheduleContext, ScheduledEvent, event,
};

use bindings::{WorkersQueue, WorkersSnapshots};

use crate::{
    api::{self, ApiError, App, IsolateMemory, SessionMemory},
    dynamodb::Client,
    host::{Host, Severity, SharedHost, WorkersBackground, WorkersCache, WorkersHost},
    metrics::{catalogue::Catalogue, period::Granularity},
    realtime::{Occasion, Refresher},
    run::{Engine, Next},
    settings::{Misconfigured, Problem, Settings},
    store::{
        job::{JobQueue, Message},
        jobs::revive_jobs,
    },
};

/// The producer's binding of the queue of recalculations.
const QUEUE_BINDING: &str = "RECALCULATION";

/// The binding of the Workers KV namespace that holds the realtime counters.
const CACHE_BINDING: &str = "CACHE";

/// The name of the queue to which messages go that were delivered too often.
const DEAD_LETTER_QUEUE: &str = "edge-analytics-recalculation-failed";

/// How long a message waits that could not be worked on because the queue or the configuration
/// fails. With `max_retries` in wrangler.toml, 5, it outlasts an outage of an hour.
const RETRY_DELAY_SECONDS: u32 = 15 * 60;

/// How long to wait before each further attempt to put a message into the queue.
const SEND_AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// How long a request of the API tries to reach DynamoDB: somebody is waiting.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// Kept for as long as the isolate lives.
static SESSIONS: LazyLock<SessionMemory> = LazyLock::new(SessionMemory::default);

/// Kept for as long as the isolate lives.
static MEMORY: LazyLock<IsolateMemory> = LazyLock::new(IsolateMemory::default);

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
    context: Context,
) -> worker::Result<http::Response<Body>> {
    let host: SharedHost = Arc::new(WorkersHost);
    let internal = |cause: String| Ok(ApiError::Internal(cause).into_response());
    let bindings = (env.queue(QUEUE_BINDING), env.kv(CACHE_BINDING));
    let mut router = match (settings(&env), Catalogue::embedded(), bindings) {
        (Err(problems), ..) => api::misconfigured(problems, host),
        (_, Err(error), _) => return internal(error.to_string()),
        (.., (Err(error), _) | (_, Err(error))) => return internal(error.to_string()),
        (Ok(settings), Ok(catalogue), (Ok(queue), Ok(namespace))) => api::router(App {
            client: Client::new(settings.connection.clone(), host.clone())
                .with_patience(READER_PATIENCE),
            settings,
            catalogue,
            host,
            sessions: SESSIONS.clone(),
            queue: Arc::new(WorkersQueue(queue)),
            snapshots: Arc::new(WorkersSnapshots(namespace)),
            background: Arc::new(WorkersBackground(context)),
            cache: Arc::new(WorkersCache),
            memory: MEMORY.clone(),
        }),
    };
    Ok(router.call(request.map(Body::new)).await.into_response())
}

#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let cron = event.cron();
    let fail = |cause: String| fail("run", &cause);
    let (engine, settings) = match engine(&env) {
        Ok(engine) => engine,
        Err(cause) => return fail(cause),
    };
    if cron == settings.realtime_cron {
        return tick(&env, settings).await;
    }
    // The event's own time, never the clock's: a late event does the same work.
    #[allow(clippy::cast_possible_truncation, reason = "whole milliseconds, far below 2^53")]
    let Some(time) = DateTime::from_timestamp_millis(event.schedule() as i64) else {
        return fail("the event's scheduled time is out of range".to_owned());
    };
    let Some(granularity) = Granularity::from_cron(&cron) else {
        return fail(format!(
            "no run belongs to the cron expression {cron}, and REALTIME_CRON is another one; see \
             wrangler.toml"
        ));
    };
    engine.run(granularity, time).await;
}

/// Looks after the recalculations and refreshes the realtime counters. It logs what it did.
async fn tick(env: &Env, settings: Settings) {
    revive(env, &settings).await;
    let (catalogue, namespace) = match (Catalogue::embedded(), env.kv(CACHE_BINDING)) {
        (Ok(catalogue), Ok(namespace)) => (catalogue, namespace),
        (Err(error), _) => return fail("realtime", &error.to_string()),
        (_, Err(error)) => return fail("realtime", &error.to_string()),
    };
    let host: SharedHost = Arc::new(WorkersHost);
    let refresher = Refresher {
        client: Client::new(settings.connection, host.clone()),
        host,
        table: &settings.table,
        catalogue: &catalogue,
        store: &WorkersSnapshots(namespace),
    };
    // It has logged what went wrong; the next tick is the next attempt.
    let _ = refresher.refresh(Occasion::Tick).await;
}

/// Sends the messages of recalculations that were lost again, and ends dead ones.
async fn revive(env: &Env, settings: &Settings) {
    let queue = match env.queue(QUEUE_BINDING) {
        Ok(queue) => WorkersQueue(queue),
        Err(error) => return fail("recalculation", &error.to_string()),
    };
    let host: SharedHost = Arc::new(WorkersHost);
    let client = Client::new(settings.connection.clone(), host.clone());
    let revived = revive_jobs(&client, &settings.table, &queue, host.now()).await;
    if revived.is_nothing() {
        return;
    }
    let severity = if revived.problems.is_empty() { Severity::Info } else { Severity::Error };
    let line = serde_json::json!({
        "event": "recalculation", "sentAgain": revived.sent, "ended": revived.ended,
        "problems": revived.problems,
    });
    host.log(severity, &line);
}

/// A slice of a recalculation that is due, or one that was delivered too often.
#[event(queue)]
async fn queue(batch: MessageBatch<()>, env: Env, _context: Context) -> worker::Result<()> {
    let engine = match engine(&env) {
        Ok((engine, _)) => engine,
        Err(cause) => {
            fail("recalculation", &cause);
            batch.retry_all_with_options(&later());
            return Ok(());
        }
    };
    let queue = WorkersQueue(env.queue(QUEUE_BINDING)?);
    let is_dead_letter = batch.queue() == DEAD_LETTER_QUEUE;
    for message in batch.raw_iter() {
        let due = message.body().as_string();
        let Some(due) = due.as_deref().and_then(Message::from_body) else {
            fail("recalculation", "a message of the queue names no slice and was dropped");
            message.ack();
            continue;
        };
        let next = if is_dead_letter {
            engine.give_up(&due).await
        } else {
            engine.recalculate(&due).await
        };
        match next {
            Next::Nothing => message.ack(),
            Next::Send(next, delay) => match send(&queue, &next, delay).await {
                Ok(()) => message.ack(),
                // What the slice came to is stored; delivered again, the message asks for what is
                // due then.
                Err(cause) => {
                    fail("recalculation", &format!("could not enqueue a message: {cause}"));
                    message.retry_with_options(&later());
                }
            },
        }
    }
    Ok(())
}

/// Puts a message into the queue, at the third attempt if need be.
async fn send(queue: &WorkersQueue, message: &Message, delay: Duration) -> Result<(), String> {
    for pause in SEND_AGAIN_AFTER {
        match queue.send(message.clone(), delay).await {
            Ok(()) => return Ok(()),
            Err(_) => WorkersHost.sleep(pause).await,
        }
    }
    queue.send(message.clone(), delay).await
}

/// Another delivery of the same message, some time later.
fn later() -> QueueRetryOptions {
    QueueRetryOptionsBuilder::new().with_delay_seconds(RETRY_DELAY_SECONDS).build()
}

/// Logs that an event could not be worked on.
fn fail(event: &str, cause: &str) {
    let line = serde_json::json!({ "event": event, "status": "failed", "problems": [cause] });
    WorkersHost.log(Severity::Error, &line);
}

/// The engine as the environment configures it and the settings, or why it cannot be made.
fn engine(env: &Env) -> Result<(Engine, Settings), String> {
    let settings = settings(env).map_err(|problems| format!("misconfigured: {problems}"))?;
    let catalogue = Catalogue::embedded().map_err(|error| error.to_string())?;
    let host: SharedHost = Arc::new(WorkersHost);
    let client = Client::new(settings.connection.clone(), host.clone());
    let engine = Engine::new(client, host, settings.table.clone(), catalogue);
    Ok((engine.with_options(settings.options), settings))
}

/// The settings in the Worker's environment.
fn settings(env: &Env) -> Result<Settings, Misconfigured> {
    let settings = Settings::read(|variable| env.var(variable).ok().map(|value| value.to_string()));
    let mut missing = Vec::new();
    let mut expect = |variable, is_there: bool, expected| {
        if !is_there {
            missing.push(Problem { variable, is_missing: true, expected });
        }
    };
    expect(
        CACHE_BINDING,
        env.kv(CACHE_BINDING).is_ok(),
        "a Workers KV namespace, bound in wrangler.toml",
    );
    let queue = env.queue(QUEUE_BINDING).is_ok();
    expect(QUEUE_BINDING, queue, "a Cloudflare Queue, bound as a producer in wrangler.toml");
    match settings {
        Ok(settings) if missing.is_empty() => Ok(settings),
        settings => {
            let mut problems = settings.err().map_or_else(Vec::new, |problems| problems.0);
            problems.extend(missing);
            Err(Misconfigured(problems))
        }
    }
}
