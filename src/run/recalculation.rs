//! Recalculation: processing the slices of a job one at a time.
//!
//! A message names a job and its next slice; the slice is done, the job moves on, the next message is
//! sent. A crash repeats one slice: the job moves only if it still is where the slice began, and doing
//! a slice twice changes nothing but `calculatedAt`. A slice that fails is attempted again later, by
//! a message of its own; one that keeps failing is given up and noted, and the job continues. While
//! DynamoDB is unavailable, attempts are not counted.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Client,
    host::Severity,
    metrics::{ordered::Ordered, period::format_instant},
    store::{
        job::{Job, JobError, MAXIMUM_SLICE_ATTEMPTS, Message, Slice},
        jobs::{JobStoreError, move_job, read_job, read_live_job},
        marks::OwnMarks,
    },
};

use super::{
    Engine,
    slice::{NoLease, SliceAttempt, SliceRun},
};

/// How long a slice waits that gave way to a scheduled hourly run, which takes seconds.
const AFTER_GIVING_WAY: Duration = Duration::from_secs(30);

/// What is to be done after a message, which itself is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the job is finished, or another consumer works on it.
    Nothing,
    /// Send this message, to be delivered after this delay.
    Send(Message, Duration),
}

/// What came of a slice.
enum SliceOutcome {
    Done,
    /// It did not have the lease to its end.
    Held(NoLease),
    Failed {
        why: String,
        /// DynamoDB was overloaded or unreachable.
        is_outage: bool,
    },
}

/// A message that is being processed.
pub(super) struct Delivery<'run> {
    engine: &'run Engine,
    /// Its meter counts this message alone.
    client: Client,
    message: &'run Message,
    started: DateTime<Utc>,
}

impl<'run> Delivery<'run> {
    pub(super) fn new(engine: &'run Engine, message: &'run Message) -> Self {
        let client = engine.client.with_own_meter();
        Self { engine, client, message, started: engine.host.now() }
    }

    /// Does the message's slice, if its job still exists.
    pub(super) async fn process(&self) -> Next {
        let (job, slices) = match self.read_job().await {
            Ok(found) => found,
            Err(next) => return next,
        };
        let Some(slice) = slices.get(job.next_slice) else {
            return self.advance(job, 0, slices.len()).await;
        };
        let number = self.message.attempt.saturating_add(1);
        let attempt = SliceAttempt { job: &job, slice, number };
        let outcome = match self.attempt(&attempt).await {
            Ok(outcome) => outcome,
            Err(error) => return self.drop_message(&error),
        };
        self.log_attempt(&attempt, &outcome);
        match outcome {
            SliceOutcome::Done => {
                let asked = job.asked_for(slice);
                self.advance(job, asked, slices.len()).await
            }
            SliceOutcome::Held(_) => self.hold_back(job).await,
            SliceOutcome::Failed { why, is_outage } => {
                self.fail(job, &slices, &why, is_outage).await
            }
        }
    }

    /// Takes the message's slice back, if its job still exists: too many of its deliveries were ended by
    /// the runtime or could not be acknowledged. A slice of several periods may have been too much for
    /// one invocation and is halved, a single period is given up.
    pub(super) async fn give_up(&self) -> Next {
        let (mut job, slices) = match self.read_job().await {
            Ok(found) => found,
            Err(next) => return next,
        };
        let seen = job.next_slice;
        match job.halve(self.started) {
            Ok(true) => return self.store_moved(job, seen).await,
            Ok(false) => {}
            Err(error) => return self.drop_message(&error),
        }
        let why = job.last_reason.take();
        let why = why.unwrap_or_else(|| {
            "its invocation was ended several times, for example after 15 minutes".to_owned()
        });
        self.give_slice_up(job, &slices, &why).await
    }

    /// The job of the message and its slices, or what follows if the message's slice is not its next.
    async fn read_job(&self) -> Result<(Job, Vec<Slice>), Next> {
        let Self { engine, client, message, started } = self;
        let job = match read_live_job(client, &engine.table, &message.job_id, *started).await {
            Ok(Some(job)) => job,
            Ok(None) => return Err(self.drop_message(&"the job does not exist")),
            Err(error) => return Err(self.after_error(&error)),
        };
        if let Some(next) = overtaken(&job, message) {
            return Err(next);
        }
        match job.slices() {
            Ok(slices) => Ok((job, slices)),
            Err(error) => Err(self.drop_message(&error)),
        }
    }

    /// Makes one attempt at a slice.
    async fn attempt(&self, attempt: &SliceAttempt<'_>) -> Result<SliceOutcome, JobError> {
        let SliceAttempt { job, slice, .. } = attempt;
        if slice.periods.is_empty() {
            return Ok(SliceOutcome::Done);
        }
        let makers = job.makers()?;
        let failed =
            |why: &dyn Display| Ok(SliceOutcome::Failed { why: why.to_string(), is_outage: false });
        let run_id = match self.engine.host.random() {
            Ok(random) => format!("{random:032x}"),
            Err(error) => return failed(&error),
        };
        let requested = job.request.metric_type.as_deref();
        let all = self.engine.catalogue.recorded_types();
        let types: BTreeSet<&str> =
            all.filter(|name| requested.is_none_or(|only| *name == only)).ordered_set();
        if types.is_empty() {
            return failed(&"the metric type is no longer in the catalogue");
        }
        let mut context = self.engine.context(&self.client, run_id, makers.as_of, self.started);
        context.is_scheduled = false;
        context.types = types;
        // What was requested shows when it was recalculated, also if it is unchanged.
        context.rewrites = job.asked_for(slice) > 0;
        context.marks = OwnMarks::of(&context.run_id);
        let result = SliceRun::new(&context, attempt).run(makers.begin).await;
        let failure = result.first_failure();
        // The slice is done all the same.
        if let Err(problem) = context.enter_slice(attempt, &result).await {
            self.log_problem(&problem.to_string());
        }
        Ok(match (result.held, failure) {
            (Some(held), _) => SliceOutcome::Held(held),
            (None, Some(why)) => {
                let is_outage = self.client.meter().unavailable() > 0;
                SliceOutcome::Failed { why, is_outage }
            }
            (None, None) => SliceOutcome::Done,
        })
    }

    /// What follows a slice that failed.
    async fn fail(&self, mut job: Job, slices: &[Slice], why: &str, is_outage: bool) -> Next {
        job.note_attempt(why, is_outage, self.engine.host.now());
        if job.failed_attempts >= MAXIMUM_SLICE_ATTEMPTS {
            return self.give_slice_up(job, slices, why).await;
        }
        // Whether it can be noted or not: the message of the next attempt does not depend on it.
        let moved = move_job(&self.client, &self.engine.table, &job, job.next_slice).await;
        self.log_not_stored(moved);
        self.after_failure()
    }

    /// What follows a slice that did not have the lease to its end.
    async fn hold_back(&self, mut job: Job) -> Next {
        let seen = job.next_slice;
        if let Err(error) = job.note_way_given(self.engine.host.now()) {
            return self.drop_message(&error);
        }
        let moved = move_job(&self.client, &self.engine.table, &job, seen).await;
        self.log_not_stored(moved);
        Next::Send(self.message.clone(), AFTER_GIVING_WAY)
    }

    /// Gives the current slice up and continues with the next one.
    async fn give_slice_up(&self, mut job: Job, slices: &[Slice], why: &str) -> Next {
        let seen = job.next_slice;
        let slice = slices.get(seen);
        let asked = slice.map_or(0, |slice| job.asked_for(slice));
        let of = slice.and_then(|slice| slice.periods.first().zip(slice.periods.last()));
        let reason = match of {
            Some((first, last)) => format!(
                "{} {} to {}: {why}",
                first.granularity(),
                format_instant(first.start()),
                format_instant(last.start())
            ),
            None => why.to_owned(),
        };
        job.give_up(asked, slices.len(), &reason, self.engine.host.now());
        self.store_moved(job, seen).await
    }

    /// Moves the job on behind a slice that is done.
    async fn advance(&self, mut job: Job, asked: usize, slices: usize) -> Next {
        let seen = job.next_slice;
        job.advance(asked, slices, self.engine.host.now());
        self.store_moved(job, seen).await
    }

    /// Stores a job that has moved from the slice `seen`, and asks for the slice that is due.
    async fn store_moved(&self, job: Job, seen: usize) -> Next {
        let (client, table) = (&self.client, &self.engine.table);
        let due = Next::Send(job.message(), Duration::ZERO);
        match move_job(client, table, &job, seen).await {
            Ok(()) if job.finished_at.is_some() => Next::Nothing,
            Ok(()) => due,
            Err(JobStoreError::DynamoDb(error)) if error.is_condition_failure() => {
                match read_job(client, table, &job.job_id).await {
                    // Our own write, of which only the answer was lost.
                    Ok(Some(stored)) if stored == job && job.finished_at.is_none() => due,
                    Ok(_) => Next::Nothing,
                    Err(error) => self.after_error(&error),
                }
            }
            Err(error) => self.after_error(&error),
        }
    }

    fn log_attempt(&self, attempt: &SliceAttempt<'_>, outcome: &SliceOutcome) {
        let (severity, status, why) = match outcome {
            SliceOutcome::Done => (Severity::Info, "complete", None),
            SliceOutcome::Held(why) => (Severity::Info, "held", Some(why.to_string())),
            SliceOutcome::Failed { why, .. } => (Severity::Error, "failed", Some(why.clone())),
        };
        let SliceAttempt { job, slice, number } = attempt;
        let usage = self.client.meter().total();
        let host = &self.engine.host;
        let line = serde_json::json!({
            "event": "recalculation", "jobId": job.job_id, "slice": job.next_slice,
            "attempt": number, "periods": slice.periods.len(), "status": status, "problem": why,
            "requests": usage.requests, "pages": usage.pages,
            "readUnits": usage.read_units, "writeUnits": usage.write_units,
            "milliseconds": (host.now() - self.started).num_milliseconds(),
        });
        host.log(severity, &line);
    }

    fn log_problem(&self, problem: &str) {
        let line = serde_json::json!({
            "event": "recalculation", "jobId": self.message.job_id, "problem": problem,
        });
        self.engine.host.log(Severity::Error, &line);
    }

    fn log_not_stored(&self, moved: Result<(), JobStoreError>) {
        if let Err(error) = moved {
            self.log_problem(&format!("the job could not be stored: {error}"));
        }
    }

    fn drop_message(&self, why: &dyn Display) -> Next {
        self.log_problem(&format!("the message was dropped: {why}"));
        Next::Nothing
    }

    /// What follows when the job could not be read or stored: another attempt, unless it is damaged.
    fn after_error(&self, error: &JobStoreError) -> Next {
        match error {
            JobStoreError::Job(error) => self.drop_message(error),
            JobStoreError::DynamoDb(_) | JobStoreError::Conflicts => {
                self.log_problem(&error.to_string());
                self.after_failure()
            }
        }
    }

    fn after_failure(&self) -> Next {
        match self.message.after_failure() {
            Some((next, delay)) => Next::Send(next, delay),
            None => self.drop_message(&"too many attempts failed"),
        }
    }
}

/// What is to be done when the job is no longer where the message was sent for: nothing if it is
/// finished, else its current slice has a message, with deliveries of its own.
fn overtaken(job: &Job, message: &Message) -> Option<Next> {
    match &job.finished_at {
        Some(_) => Some(Next::Nothing),
        None => {
            (job.next_slice != message.slice).then(|| Next::Send(job.message(), Duration::ZERO))
        }
    }
}
