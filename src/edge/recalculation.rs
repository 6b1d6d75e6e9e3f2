//! The queue of recalculations: its messages, and the jobs whose message was lost.

use std::{rc::Rc, time::Duration};

use worker::{MessageBatch, MessageExt, QueueRetryOptions, QueueRetryOptionsBuilder, RawMessage};

use super::{
    bindings::WorkersQueue,
    isolate::{Isolate, SetupError},
    log_failure,
};
use crate::{
    host::{Host, Severity, WorkersHost},
    run::Next,
    store::{
        job::{JobQueue, Message, QueueError},
        jobs::revive_jobs,
    },
};

/// The dead-letter queue: messages that were delivered too often.
const DEAD_LETTER_QUEUE: &str = "edge-analytics-recalculation-failed";

/// The delay of a message that could not be processed because the queue or the configuration fails.
/// With `max_retries` in wrangler.toml, 5, it outlasts an outage of an hour.
const RETRY_DELAY_SECONDS: u32 = 15 * 60;

/// The pauses before further attempts to enqueue a message.
const ENQUEUE_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Processes a batch of the queue, or of its dead-letter queue.
pub async fn process(batch: &MessageBatch<()>, isolate: Result<Rc<Isolate>, SetupError>) {
    let isolate = match isolate {
        Ok(isolate) => isolate,
        Err(error) => {
            log_failure("recalculation", &error.to_string());
            return batch.retry_all_with_options(&later());
        }
    };
    let is_dead_letter = batch.queue() == DEAD_LETTER_QUEUE;
    for message in batch.raw_iter() {
        process_message(&isolate, &message, is_dead_letter).await;
    }
}

async fn process_message(isolate: &Isolate, message: &RawMessage, is_dead_letter: bool) {
    let due = message.body().as_string();
    let Some(due) = due.as_deref().and_then(Message::from_body) else {
        log_failure(
            "recalculation",
            "a message of the queue does not name a slice and was dropped",
        );
        return message.ack();
    };
    let next = if is_dead_letter {
        isolate.engine.give_up(&due).await
    } else {
        isolate.engine.recalculate(&due).await
    };
    match next {
        Next::Nothing => message.ack(),
        Next::Send(next, delay) => match enqueue(&isolate.queue, &next, delay).await {
            Ok(()) => message.ack(),
            // The result of the slice is stored, so another delivery of the message continues after
            // it.
            Err(error) => {
                log_failure("recalculation", &error.to_string());
                message.retry_with_options(&later());
            }
        },
    }
}

/// Enqueues a message, in up to three attempts.
async fn enqueue(
    queue: &WorkersQueue,
    message: &Message,
    delay: Duration,
) -> Result<(), QueueError> {
    for pause in ENQUEUE_PAUSES {
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

/// Sends lost messages of recalculations again, and ends dead jobs.
pub async fn revive(isolate: &Isolate) {
    let Isolate { client, settings, queue, .. } = isolate;
    let revived = revive_jobs(client, &settings.table, queue, WorkersHost.now()).await;
    if revived.is_nothing() {
        return;
    }
    let severity = if revived.problems.is_empty() { Severity::Info } else { Severity::Error };
    let line = serde_json::json!({
        "event": "recalculation", "sentAgain": revived.sent, "ended": revived.ended,
        "problems": revived.problems,
    });
    WorkersHost.log(severity, &line);
}
