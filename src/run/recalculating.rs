//! Recalculation: doing the slices of a job one at a time.
//!
//! A message names a job and its next slice; the slice is done, the job moves on, the next message is
//! sent. A crash repeats one slice: the job moves only if it still is where the slice began, and doing
//! a slice twice changes nothing but `calculatedAt`. A slice that fails is attempted again later, by
//! a message of its own; one that keeps failing is given up and noted, and the job goes on. While
//! DynamoDB is unavailable, attempts are not counted.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{Client, Read},
    host::{Severity, SharedHost},
    metrics::{
        ordered::Ordered,
        period::{Period, format_instant},
        provenance::Occasion,
    },
    store::{
        job::{Job, JobError, MAXIMUM_SLICE_ATTEMPTS, Message, Slice, Work},
        jobs::{StartError, move_job, read_job, read_live_job},
        lease::{Ended, Lease, LeaseError},
        ledger::{Status, Trigger},
        marks::OwnMarks,
        record_writer::Writer,
        run_state::{State, state_key},
    },
};

use super::{Engine, PeriodReport, Report, Run, report::Piece};

/// How long a slice waits that gave way to a scheduled hourly run, which takes seconds.
const AFTER_GIVING_WAY: Duration = Duration::from_secs(30);

/// What is to be done after a message, which itself is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the job is finished, or another consumer is at it.
    Nothing,
    /// Send this message, to be delivered after this delay.
    Send(Message, Duration),
}

/// What came of a slice.
enum Outcome {
    Done,
    /// It gave way to a scheduled hourly run, or could not take the lease, for this reason.
    Held(String),
    Failed {
        why: String,
        /// DynamoDB was overloaded or unreachable.
        is_outage: bool,
    },
}

/// A slice that is being done.
struct Attempt<'run> {
    job: &'run Job,
    slice: &'run Slice,
    /// From 1.
    number: u32,
}

impl Engine {
    /// Does the message's slice, if its job still is there.
    pub async fn recalculate(&self, message: &Message) -> Next {
        let started = self.host.now();
        let client = self.client.with_own_meter();
        let job = match read_live_job(&client, &self.table, &message.job_id, started).await {
            Ok(Some(job)) => job,
            Ok(None) => return self.drop_message(message, "there is no such job"),
            Err(error) => return self.after_error(message, &error),
        };
        if let Some(next) = overtaken(&job, message) {
            return next;
        }
        let slices = match job.slices() {
            Ok(slices) => slices,
            Err(error) => return self.drop_message(message, &error.to_string()),
        };
        let Some(slice) = slices.get(job.next_slice) else {
            return self.advance(&client, job, message, 0, slices.len()).await;
        };
        let attempt = Attempt { job: &job, slice, number: message.attempt.saturating_add(1) };
        let outcome = match self.attempt(&client, &attempt, started).await {
            Ok(outcome) => outcome,
            Err(error) => return self.drop_message(message, &error.to_string()),
        };
        self.log_attempt(&attempt, &outcome, &client, started);
        match outcome {
            Outcome::Done => {
                let asked = job.asked_for(slice);
                self.advance(&client, job, message, asked, slices.len()).await
            }
            Outcome::Held(_) => self.hold_back(&client, job, message).await,
            Outcome::Failed { why, is_outage } => {
                self.fail(&client, job, message, &slices, &why, is_outage).await
            }
        }
    }

    /// Takes the message's slice back, if its job still is there: its deliveries were ended from
    /// outside, or could not be answered, too often. A slice of several periods may have been too
    /// much for one invocation and is halved, a single period is given up.
    pub async fn give_up(&self, message: &Message) -> Next {
        let client = self.client.with_own_meter();
        let now = self.host.now();
        let mut job = match read_live_job(&client, &self.table, &message.job_id, now).await {
            Ok(Some(job)) => job,
            Ok(None) => return self.drop_message(message, "there is no such job"),
            Err(error) => return self.after_error(message, &error),
        };
        if let Some(next) = overtaken(&job, message) {
            return next;
        }
        let seen = job.next_slice;
        let slices = match job.slices() {
            Ok(slices) => slices,
            Err(error) => return self.drop_message(message, &error.to_string()),
        };
        match job.halve(now) {
            Ok(true) => return self.store_moved(&client, job, seen, message).await,
            Ok(false) => {}
            Err(error) => return self.drop_message(message, &error.to_string()),
        }
        let why = job.last_reason.take();
        let why =
            why.unwrap_or_else(|| "the slice was ended from outside, several times".to_owned());
        self.give_slice_up(&client, job, message, &slices, &why).await
    }

    /// Makes one attempt at a slice, and enters it in the ledger.
    async fn attempt(
        &self,
        client: &Client,
        attempt: &Attempt<'_>,
        started: DateTime<Utc>,
    ) -> Result<Outcome, JobError> {
        let Attempt { job, slice, .. } = attempt;
        let Some(first) = slice.periods.first().copied() else { return Ok(Outcome::Done) };
        let plan = job.plan()?;
        let run_id = match self.host.random() {
            Ok(random) => format!("{random:032x}"),
            Err(error) => {
                return Ok(Outcome::Failed { why: error.to_string(), is_outage: false });
            }
        };
        let types: std::collections::BTreeSet<&str> = match &job.request.metric_type {
            Some(only) => self.types().into_iter().filter(|name| name == only).ordered_set(),
            None => self.types(),
        };
        if types.is_empty() {
            let why = "the metric type is no longer in the catalogue".to_owned();
            return Ok(Outcome::Failed { why, is_outage: false });
        }
        let mut report = Report::new(run_id.clone(), first);
        let marks = OwnMarks::of(&run_id);
        let run = Run {
            client,
            id: run_id,
            scheduled: plan.as_of,
            begun: started,
            types,
            // What was asked for says when it was recalculated, also where it is the same.
            rewrites: job.asked_for(slice) > 0,
            is_event: false,
            marks,
        };
        let reports = match slice.work {
            Work::Count => self.count_slice(&run, attempt, &mut report).await,
            Work::RollUp => Ok(self.roll_slice_up(&run, slice, plan.begin, &mut report).await),
        };
        let outcome = match &reports {
            Err(held) => Outcome::Held(held.clone()),
            Ok(reports) => match first_failure(reports, &report) {
                None => Outcome::Done,
                Some(why) => Outcome::Failed { why, is_outage: client.meter().unavailable() > 0 },
            },
        };
        self.enter_slice(&run, attempt, reports, &mut report).await;
        Ok(outcome)
    }

    /// What follows a slice that failed.
    async fn fail(
        &self,
        client: &Client,
        mut job: Job,
        message: &Message,
        slices: &[Slice],
        why: &str,
        is_outage: bool,
    ) -> Next {
        job.note_attempt(why, is_outage, self.host.now());
        if job.failed_attempts >= MAXIMUM_SLICE_ATTEMPTS {
            return self.give_slice_up(client, job, message, slices, why).await;
        }
        // Whether it can be noted or not: the message of the next attempt does not depend on it.
        if let Err(error) = move_job(client, &self.table, &job, job.next_slice).await {
            log_problem(&self.host, message, &format!("the job could not be stored: {error}"));
        }
        self.after_failure(message)
    }

    /// What follows a slice that did not have the lease to its end.
    async fn hold_back(&self, client: &Client, mut job: Job, message: &Message) -> Next {
        let seen = job.next_slice;
        if let Err(error) = job.note_way_given(self.host.now()) {
            return self.drop_message(message, &error.to_string());
        }
        if let Err(error) = move_job(client, &self.table, &job, seen).await {
            log_problem(&self.host, message, &format!("the job could not be stored: {error}"));
        }
        Next::Send(message.clone(), AFTER_GIVING_WAY)
    }

    /// Gives the current slice up and goes on with the next one.
    async fn give_slice_up(
        &self,
        client: &Client,
        mut job: Job,
        message: &Message,
        slices: &[Slice],
        why: &str,
    ) -> Next {
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
        job.give_up(asked, slices.len(), &reason, self.host.now());
        self.store_moved(client, job, seen, message).await
    }

    /// Moves the job on behind a slice that is done.
    async fn advance(
        &self,
        client: &Client,
        mut job: Job,
        message: &Message,
        asked: usize,
        slices: usize,
    ) -> Next {
        let seen = job.next_slice;
        job.advance(asked, slices, self.host.now());
        self.store_moved(client, job, seen, message).await
    }

    /// Stores a job that has moved from the slice `seen`, and asks for the slice that is due.
    async fn store_moved(&self, client: &Client, job: Job, seen: usize, message: &Message) -> Next {
        let due = Next::Send(job.message(), Duration::ZERO);
        match move_job(client, &self.table, &job, seen).await {
            Ok(()) if job.finished_at.is_some() => Next::Nothing,
            Ok(()) => due,
            Err(StartError::DynamoDb(error)) if error.is_condition_failure() => {
                match read_job(client, &self.table, &job.job_id).await {
                    // Our own write, of which only the answer was lost.
                    Ok(Some(stored)) if stored == job && job.finished_at.is_none() => due,
                    Ok(_) => Next::Nothing,
                    Err(error) => self.after_error(message, &error),
                }
            }
            Err(error) => self.after_error(message, &error),
        }
    }

    /// Counts the slice's periods under the lease of the hours; an error says why it was not held.
    async fn count_slice(
        &self,
        run: &Run<'_>,
        attempt: &Attempt<'_>,
        report: &mut Report,
    ) -> Result<Vec<PeriodReport>, String> {
        let slice = attempt.slice;
        let start = format_instant(report.period.period.start());
        let task = format!("recalculate {} {start}", report.period.granularity);
        let host = self.host.clone();
        let lease = Lease::wait_for(run.client, host, &self.table, &task, &run.id, false).await;
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ok(Vec::new()),
            Err(busy @ LeaseError::Busy(_)) => return Err(busy.to_string()),
            Err(error) => {
                report.problems.push(error.to_string());
                return Ok(Vec::new());
            }
        };
        if let Some(dead) = &lease.dead {
            self.enter_dead(run, dead, report).await;
        }
        let under_lease = self.writer_under(run, &lease);
        let writer = Writer { rewrites: under_lease.rewrites || run.rewrites, ..under_lease };
        let occasion = if attempt.job.request.overwrite {
            Occasion::Overwrite
        } else {
            Occasion::Recalculation
        };
        let wanted: Vec<_> = slice.periods.iter().map(|period| (*period, occasion)).collect();
        let work = self.count(&writer, &wanted, &run.types, self.host.now());
        let counted = match lease.hold(work).await {
            Ended::Done(counted) => counted,
            Ended::Lost(lost) => Err(lost.to_string()),
            Ended::Wanted => {
                // One that cannot be released runs out by itself.
                let released = lease.give_way().await;
                report.problems.extend(released.err().map(|lost| lost.to_string()));
                return Err("gave way to a scheduled hourly run".to_owned());
            }
        };
        let progress = lease.state.progress.clone();
        self.give_back(*lease, &progress, report).await;
        match counted {
            Ok(counted) => {
                report.malformed = counted
                    .malformed
                    .into_iter()
                    .map(|(name, of)| (name, of.malformed))
                    .ordered_map();
                report.unreadable = counted.unreadable;
                Ok(counted.periods)
            }
            Err(why) => {
                report.problems.push(why);
                Ok(Vec::new())
            }
        }
    }

    async fn roll_slice_up(
        &self,
        run: &Run<'_>,
        slice: &Slice,
        begin: DateTime<Utc>,
        report: &mut Report,
    ) -> Vec<PeriodReport> {
        let mut reports = Vec::new();
        let mut refreshed = Vec::new();
        for period in &slice.periods {
            let at = self.host.now();
            let made = self.make(run, *period, true, begin, report).await.report;
            if made.types_failed.is_empty() {
                refreshed.push((*period, at));
            }
            reports.push(made);
        }
        match self.marked(run, &refreshed).await {
            Ok(marked) => {
                refreshed.retain(|(period, _)| marked.contains(period));
                self.write_refreshed(run, &refreshed, report).await;
            }
            Err(why) => report.problems.push(why),
        }
        reports
    }

    /// The periods of the granularity of `refreshed` that are marked as stale.
    async fn marked(
        &self,
        run: &Run<'_>,
        refreshed: &[(Period, DateTime<Utc>)],
    ) -> Result<BTreeSet<Period>, String> {
        let Some((first, _)) = refreshed.first() else { return Ok(BTreeSet::new()) };
        let granularity = first.granularity();
        let failed = |error: &dyn std::fmt::Display| {
            format!("the state of the {granularity} runs could not be read: {error}")
        };
        let read = run.client.get(&self.table, state_key(granularity), Read::Consistent).await;
        let state = State::from_item(read.map_err(|error| failed(&error))?);
        Ok(state.map_err(|error| failed(&error))?.stale(granularity))
    }

    /// Enters an attempt at a slice in the ledger: what its periods came to, or why it did not have
    /// the lease.
    async fn enter_slice(
        &self,
        run: &Run<'_>,
        attempt: &Attempt<'_>,
        outcome: Result<Vec<PeriodReport>, String>,
        report: &mut Report,
    ) {
        let piece = Piece {
            run_id: &run.id,
            trigger: Trigger::Recalculate,
            attempt: attempt.number,
            started: run.begun,
            finished: self.host.now(),
            usage: run.client.meter().total().since(&report.entered),
            job_id: Some(attempt.job.job_id.clone()),
        };
        let (mut reports, held) = match outcome {
            Ok(reports) => (reports, None),
            Err(held) => {
                let periods = attempt.slice.periods.iter();
                (periods.map(|period| PeriodReport::new(*period)).collect(), Some(held))
            }
        };
        if reports.is_empty() {
            let mut nothing_done = report.period.clone();
            if let Some(why) = report.problems.first() {
                nothing_done.fail(run.types.iter().copied(), why);
            }
            reports.push(nothing_done);
        }
        let periods: Vec<&PeriodReport> = reports.iter().collect();
        if let Some(mut entry) = piece.entry(&periods, &self.options.prices) {
            if let Some(held) = held {
                entry.status = Status::Held;
                entry.problems.push(held);
            }
            entry.problems.extend(report.problems.iter().cloned());
            // The slice is done: trying again would find the same items.
            entry.problems.extend(report.unreadable.values().map(ToString::to_string));
            if entry.status == Status::Complete && !report.unreadable.is_empty() {
                entry.status = Status::Partial;
            }
            entry.malformed.clone_from(&report.malformed);
            self.enter(run, &entry, run.begun, report).await;
        }
    }

    fn log_attempt(
        &self,
        attempt: &Attempt<'_>,
        outcome: &Outcome,
        client: &Client,
        begun: DateTime<Utc>,
    ) {
        let (severity, status, why) = match outcome {
            Outcome::Done => (Severity::Info, "complete", None),
            Outcome::Held(why) => (Severity::Info, "held", Some(why)),
            Outcome::Failed { why, .. } => (Severity::Error, "failed", Some(why)),
        };
        let Attempt { job, slice, number } = attempt;
        let usage = client.meter().total();
        let line = serde_json::json!({
            "event": "recalculation", "jobId": job.job_id, "slice": job.next_slice,
            "attempt": number, "periods": slice.periods.len(), "status": status, "problem": why,
            "requests": usage.requests, "pages": usage.pages,
            "readUnits": usage.read_units, "writeUnits": usage.write_units,
            "milliseconds": (self.host.now() - begun).num_milliseconds(),
        });
        self.host.log(severity, &line);
    }

    fn drop_message(&self, message: &Message, why: &str) -> Next {
        log_problem(&self.host, message, &format!("the message was dropped: {why}"));
        Next::Nothing
    }

    /// What follows when the job could not be read or stored: another attempt, unless it is damaged.
    fn after_error(&self, message: &Message, error: &StartError) -> Next {
        match error {
            StartError::Job(error) => self.drop_message(message, &error.to_string()),
            StartError::DynamoDb(_) | StartError::Conflicts => {
                log_problem(&self.host, message, &error.to_string());
                self.after_failure(message)
            }
        }
    }

    fn after_failure(&self, message: &Message) -> Next {
        match message.after_failure() {
            Some((next, delay)) => Next::Send(next, delay),
            None => self.drop_message(message, "too many attempts failed"),
        }
    }
}

/// What is to be done when the job is no longer where the message was sent for: nothing if it is
/// finished, else its slice of now has a message, with deliveries of its own.
fn overtaken(job: &Job, message: &Message) -> Option<Next> {
    match &job.finished_at {
        Some(_) => Some(Next::Nothing),
        None => {
            (job.next_slice != message.slice).then(|| Next::Send(job.message(), Duration::ZERO))
        }
    }
}

fn log_problem(host: &SharedHost, message: &Message, problem: &str) {
    let line = serde_json::json!({
        "event": "recalculation", "jobId": message.job_id, "problem": problem,
    });
    host.log(Severity::Error, &line);
}

/// Why the slice has to be done again.
fn first_failure(reports: &[PeriodReport], report: &Report) -> Option<String> {
    let of_type = reports.iter().find_map(|report| {
        let (name, why) = report.types_failed.first_key_value()?;
        Some(format!("{name} of {}: {why}", report.timestamp))
    });
    of_type.or_else(|| report.problems.first().cloned())
}
