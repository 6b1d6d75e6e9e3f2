//! Recalculation: starting a job, and doing its slices one at a time.
//!
//! A message names a job and its next slice; the slice is done, the job moves on, the next message is
//! sent. A crash repeats one slice: the job moves only if it still is where the slice began, and doing
//! a slice twice changes nothing but `calculatedAt`. A slice that keeps failing is given up and noted, and the job
//! goes on.

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

use crate::{
    dynamodb::{Client, Error, Item, PutItem, Read, TransactWriteItems, number, string, text},
    host::{Severity, SharedHost},
    job::{Job, JobError, Message, Slice, Work, job_key, latest_key},
    ledger::Trigger,
    period::format_instant,
};

use super::{
    Engine, PeriodReport, Report, Run,
    lease::Lease,
    report::Piece,
    writing::{Occasion, Writer},
};

/// What is to be done after a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the job is finished, or another consumer is at it.
    Nothing,
    /// Send this message: there is another slice.
    Send(Message),
    /// The slice failed: deliver the message again, for this reason.
    TryAgain(String),
}

/// A job could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// DynamoDB failed.
    #[error(transparent)]
    DynamoDb(#[from] Error),
    /// The job cannot be mapped.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Stores `job` and makes it the latest of its request, unless one of the same request is under way,
/// which is then returned with `false`.
///
/// # Errors
///
/// [`StartError`].
pub async fn start_job(
    client: &Client,
    table: &str,
    job: Job,
    token: u128,
    now: DateTime<Utc>,
) -> Result<(Job, bool), StartError> {
    let latest = latest_key(&job.request);
    let item = job.to_item()?;
    let mut attempts = 0;
    loop {
        let known = client.get(table, latest.clone(), Read::Consistent).await?;
        let known = known.as_ref().and_then(|item| text(item, "jobId")).map(str::to_owned);
        if let Some(job_id) = &known
            && let Some(running) = read_job(client, table, job_id).await?
            && running.is_under_way(now)
        {
            return Ok((running, false));
        }
        let put_job = PutItem::new(table, item.clone()).only_if("attribute_not_exists(PK)", []);
        let mut pointer = latest.clone().into_inner();
        pointer.insert("jobId".to_owned(), string(&job.job_id));
        pointer.insert("EntityType".to_owned(), string("AnalyticsJobRequest"));
        if let Some(ttl) = item.get("ttl") {
            pointer.insert("ttl".to_owned(), ttl.clone());
        }
        let put_latest = PutItem::new(table, Item::from(pointer));
        let put_latest = match known {
            None => put_latest.only_if("attribute_not_exists(PK)", []),
            Some(known) => put_latest.only_if("jobId = :known", [(":known", string(known))]),
        };
        let puts = vec![put_job.into(), put_latest.into()];
        match client.send(&TransactWriteItems::new(puts, token.wrapping_add(attempts))).await {
            Ok(_) => return Ok((job, true)),
            // Somebody else has asked for the same at the same time.
            Err(error) if error.is_cancelled_transaction() && attempts < 3 => attempts += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a job; `None` if there is none of this name.
///
/// # Errors
///
/// [`StartError`].
pub async fn read_job(
    client: &Client,
    table: &str,
    job_id: &str,
) -> Result<Option<Job>, StartError> {
    let item = client.get(table, job_key(job_id), Read::Consistent).await?;
    Ok(item.map(Job::from_item).transpose()?)
}

/// Stores a job that has moved, if it still is at the slice `seen` and not finished.
///
/// # Errors
///
/// [`StartError`]; a condition failure means that somebody else has moved it.
pub async fn move_job(
    client: &Client,
    table: &str,
    job: &Job,
    seen: usize,
) -> Result<(), StartError> {
    let put = PutItem::new(table, job.to_item()?).only_if(
        "nextSlice = :seen AND (attribute_not_exists(finishedAt) OR attribute_type(finishedAt, :null))",
        [(":seen", number(&seen)), (":null", string("NULL"))],
    );
    client.send(&put).await?;
    Ok(())
}

impl Engine {
    /// Does the message's slice, if its job still is there.
    pub async fn recalculate(&self, message: &Message) -> Next {
        let started = self.host.now();
        let client = self.client.with_own_meter();
        let job = match read_job(&client, &self.table, &message.job_id).await {
            Ok(Some(job)) => job,
            Ok(None) => return self.drop_message(message, "there is no such job"),
            Err(error) => return self.try_again(message, error.to_string()),
        };
        if let Some(next) = overtaken(&job, message) {
            return next;
        }
        let planned = job.plan().and_then(|plan| Ok((plan, job.slices()?)));
        let (plan, slices) = match planned {
            Ok(planned) => planned,
            Err(error) => return self.drop_message(message, &error.to_string()),
        };
        let Some(slice) = slices.get(job.next_slice) else {
            return self.advance(&client, job, None, slices.len()).await;
        };
        let Some(first) = slice.periods.first().copied() else {
            return self.advance(&client, job, Some(slice), slices.len()).await;
        };
        let run_id = match self.host.random() {
            Ok(random) => format!("{random:032x}"),
            Err(error) => return self.try_again(message, error.to_string()),
        };
        let mut report = Report::new(run_id.clone(), first);
        let types = match &job.request.metric_type {
            Some(only) => self.types().into_iter().filter(|name| name == only).collect(),
            None => self.types(),
        };
        let run = Run {
            client: &client,
            id: run_id,
            scheduled: plan.as_of,
            begun: started,
            types,
            // What was asked for says when it was recalculated, also where it is the same.
            rewrites: job.asked_for(slice) > 0,
            is_event: false,
        };
        let reports = match slice.work {
            Work::Count => self.count_slice(&run, slice, &mut report).await,
            Work::RollUp => self.roll_slice_up(&run, slice, plan.begin, &mut report).await,
        };
        let why = first_failure(&reports, &report);
        self.enter_slice(&run, &job, &reports, &mut report).await;
        self.log_slice(&job, slice, why.as_deref(), &client, started);
        match why {
            None => self.advance(&client, job, Some(slice), slices.len()).await,
            Some(why) => {
                let seen = job.next_slice;
                let moved_at = format_instant(self.host.now());
                let failed_attempts = job.failed_attempts + 1;
                let job = Job { last_reason: Some(why.clone()), failed_attempts, moved_at, ..job };
                if let Err(error) = move_job(&client, &self.table, &job, seen).await {
                    return Next::TryAgain(format!(
                        "{why}; and the job could not be noted: {error}"
                    ));
                }
                Next::TryAgain(why)
            }
        }
    }

    /// Gives the message's slice up, if its job still is there: it was delivered too often.
    pub async fn give_up(&self, message: &Message) -> Next {
        let client = self.client.with_own_meter();
        let mut job = match read_job(&client, &self.table, &message.job_id).await {
            Ok(Some(job)) => job,
            Ok(None) => return self.drop_message(message, "there is no such job"),
            Err(error) => return self.try_again(message, error.to_string()),
        };
        if let Some(next) = overtaken(&job, message) {
            return next;
        }
        let slices = match job.slices() {
            Ok(slices) => slices,
            Err(error) => return self.drop_message(message, &error.to_string()),
        };
        let seen = job.next_slice;
        let asked = slices.get(seen).map_or(0, |slice| job.asked_for(slice));
        let why = job.last_reason.take();
        let why =
            why.unwrap_or_else(|| "the slice was ended from outside, several times".to_owned());
        let of = slices.get(seen).and_then(|slice| slice.periods.first().zip(slice.periods.last()));
        let reason = match of {
            Some((first, last)) => format!(
                "{} {} to {}: {why}",
                first.granularity(),
                format_instant(first.start()),
                format_instant(last.start())
            ),
            None => why,
        };
        job.note_failure(asked, reason);
        if asked == 0 {
            // What was asked for is done, but what lies above or below is not: that is a failure too.
            job.failed = job.failed.max(1).min(job.periods);
            job.done = job.done.min(job.periods - job.failed);
        }
        self.step(&client, job, seen, slices.len()).await
    }

    async fn advance(
        &self,
        client: &Client,
        mut job: Job,
        slice: Option<&Slice>,
        slices: usize,
    ) -> Next {
        let seen = job.next_slice;
        let asked = slice.map_or(0, |slice| job.asked_for(slice));
        job.done = (job.done + asked).min(job.periods - job.failed.min(job.periods));
        self.step(client, job, seen, slices).await
    }

    /// Moves the job from the slice `seen` to the next one.
    async fn step(&self, client: &Client, mut job: Job, seen: usize, slices: usize) -> Next {
        let now = format_instant(self.host.now());
        job.next_slice = (seen + 1).min(slices);
        job.last_reason = None;
        job.failed_attempts = 0;
        job.moved_at.clone_from(&now);
        if job.next_slice == slices {
            job.finished_at = Some(now);
        }
        let message = job.message();
        match move_job(client, &self.table, &job, seen).await {
            Ok(()) if job.finished_at.is_some() => Next::Nothing,
            Ok(()) => Next::Send(message),
            Err(StartError::DynamoDb(error)) if error.is_condition_failure() => {
                match read_job(client, &self.table, &job.job_id).await {
                    // Our own write, of which only the answer was lost.
                    Ok(Some(stored)) if stored == job && job.finished_at.is_none() => {
                        Next::Send(message)
                    }
                    Ok(_) => Next::Nothing,
                    Err(error) => self.try_again(&message, error.to_string()),
                }
            }
            Err(error) => self.try_again(&message, error.to_string()),
        }
    }

    /// Counts the slice's periods under the lease of the hours.
    async fn count_slice(
        &self,
        run: &Run<'_>,
        slice: &Slice,
        report: &mut Report,
    ) -> Vec<PeriodReport> {
        let Some(first) = slice.periods.first() else { return Vec::new() };
        let start = format_instant(first.start());
        let task = format!("recalculate {} {start}", first.granularity());
        let host = self.host.clone();
        let lease = Lease::wait_for(run.client, host, &self.table, &task, &run.id, false).await;
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return Vec::new(),
            Err(error) => {
                report.problems.push(error.to_string());
                return Vec::new();
            }
        };
        if let Some(dead) = &lease.dead {
            self.enter_dead(run, dead, report).await;
        }
        let under_lease = self.writer_under(run, &lease);
        let writer = Writer { rewrites: under_lease.rewrites || run.rewrites, ..under_lease };
        let wanted: Vec<_> =
            slice.periods.iter().map(|period| (*period, Occasion::Recalculation)).collect();
        let counted = {
            let work = Box::pin(self.count(&writer, &wanted, &run.types, self.host.now()));
            match select(work, Box::pin(lease.keep())).await {
                Either::Left((counted, _)) => counted,
                Either::Right((Err(lost), _)) => Err(lost.to_string()),
                Either::Right((Ok(never), _)) => match never {},
            }
        };
        let progress = lease.state.progress.clone();
        self.give_back(*lease, &progress, report).await;
        match counted {
            Ok(counted) => counted.periods,
            Err(why) => {
                report.problems.push(why);
                Vec::new()
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
        for period in &slice.periods {
            reports.push(self.make(run, *period, true, begin, report).await.report);
        }
        reports
    }

    async fn enter_slice(
        &self,
        run: &Run<'_>,
        job: &Job,
        reports: &[PeriodReport],
        report: &mut Report,
    ) {
        let piece = Piece {
            run_id: &run.id,
            trigger: Trigger::Recalculate,
            attempt: job.failed_attempts + 1,
            started: run.begun,
            finished: self.host.now(),
            usage: run.client.meter().total().since(&report.entered),
            job_id: Some(job.job_id.clone()),
        };
        let mut nothing_done = report.period.clone();
        if let Some(why) = report.problems.first() {
            nothing_done.fail(run.types.iter().copied(), why);
        }
        let mut periods: Vec<&PeriodReport> = reports.iter().collect();
        if periods.is_empty() {
            periods.push(&nothing_done);
        }
        if let Some(mut entry) = piece.entry(&periods, &self.options.prices) {
            entry.problems.extend(report.problems.iter().cloned());
            self.enter(run, &entry, run.begun, report).await;
        }
    }

    fn log_slice(
        &self,
        job: &Job,
        slice: &Slice,
        why: Option<&str>,
        client: &Client,
        begun: DateTime<Utc>,
    ) {
        let severity = if why.is_none() { Severity::Info } else { Severity::Error };
        let usage = client.meter().total();
        let line = serde_json::json!({
            "event": "recalculation", "jobId": job.job_id, "slice": job.next_slice,
            "attempt": job.failed_attempts + 1, "periods": slice.periods.len(), "problem": why,
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

    fn try_again(&self, message: &Message, why: String) -> Next {
        log_problem(&self.host, message, &why);
        Next::TryAgain(why)
    }
}

/// What is to be done when the job is no longer where the message was sent for: nothing if it is
/// finished, else its slice of now has a message, with deliveries of its own.
fn overtaken(job: &Job, message: &Message) -> Option<Next> {
    match &job.finished_at {
        Some(_) => Some(Next::Nothing),
        None => (job.next_slice != message.slice).then(|| Next::Send(job.message())),
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
