//! Recalculation jobs: what one is for, into which slices it is cut, how far it is.
//!
//! A job is an item `ANALYTICS_JOB` / `{jobId}`; beside it, `ANALYTICS_JOB` / `latest#{request}`
//! names the latest job of the same request, so that asking again finds the running one, and
//! `ANALYTICS_JOB` / `unfinished` names all that have not finished.

mod message;
mod slices;

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use message::{JobQueue, Message, QueueError};
pub use slices::{Plan, Slice, SliceGroup, Work};

use crate::{
    dynamodb::{Item, from_item, key, number, string, to_item},
    metrics::{
        period::{Granularity, Period, format_instant, parse_instant},
        retention::{RUNS_AND_JOBS, Retention},
    },
};

/// The most periods that one request may recalculate.
pub const MAXIMUM_PERIODS: usize = 2000;

/// A job that has not moved for so long is dead: it ends as failed. Longer than an outage of an hour
/// with the delays of its messages, short enough that an administrator learns of it the same day.
pub const DEAD_AFTER: TimeDelta = TimeDelta::hours(6);

/// Without a sign of life for so long, the message of a job is lost. An attempt lasts at most 15
/// minutes, and the delay before it 15 more.
const STUCK_AFTER: TimeDelta = TimeDelta::minutes(45);

/// After so many failed attempts a slice is given up. Attempts that DynamoDB's unavailability ended
/// are not counted.
pub const MAXIMUM_ATTEMPTS: u32 = 4;

/// After so many times in which a slice gave way to a scheduled run, it is halved.
const HALVED_AFTER: u32 = 2;

/// The most reasons of failed slices that a job names.
const MAXIMUM_REASONS: usize = 20;

/// The longest reason, in characters: the job is one item, and read with every slice.
const MAXIMUM_REASON: usize = 500;

const PARTITION: &str = "ANALYTICS_JOB";

/// What is asked for: the periods of one granularity from the first to the last, of one type or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRequest {
    /// The type; `None` means all.
    pub metric_type: Option<String>,
    /// The granularity's name.
    pub granularity: String,
    /// The range as it was asked for.
    pub start_date: String,
    /// Its end.
    pub end_date: String,
    /// The start of the first period.
    pub first: String,
    /// The start of the last one.
    pub last: String,
    /// Whatever the table can still tell replaces what is stored, and is marked as reconstructed.
    #[serde(default)]
    pub overwrite: bool,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub job_id: String,
    /// What it is for.
    pub request: JobRequest,
    /// How many periods were asked for.
    pub periods: usize,
    /// How many of them are recalculated.
    pub done: usize,
    /// How many could not be.
    pub failed: usize,
    /// Why, of the first failures.
    pub reasons: Vec<String>,
    /// It has ended, though not every slice was done.
    #[serde(default)]
    pub is_incomplete: bool,
    /// Why the current slice failed at its last attempt.
    #[serde(default)]
    pub last_reason: Option<String>,
    /// How many attempts at the current slice have failed.
    #[serde(default)]
    pub failed_attempts: u32,
    /// How often the current slice gave way to a scheduled run.
    #[serde(default)]
    pub gave_way: u32,
    /// The slice that is to be done next.
    pub next_slice: usize,
    /// How it is cut into slices; empty in a job that an older build stored.
    #[serde(default)]
    pub slice_groups: Vec<SliceGroup>,
    /// When it was asked for.
    pub started_at: String,
    /// When it last moved: a slice was done, given up or cut.
    pub moved_at: String,
    /// When a message of it was last worked on or sent again.
    #[serde(default)]
    pub attempted_at: Option<String>,
    /// When it was finished.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Where our time began when it was asked for.
    pub begin: String,
    /// The retention by which it was cut into slices, in days: hourly, daily, weekly, monthly.
    pub retention: [u32; 4],
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// No slice is done yet.
    Queued,
    /// Some are.
    Running,
    /// Every period is recalculated.
    Complete,
    /// It has ended, and some could not be.
    Failed,
}

/// A job could not be mapped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobError {
    /// The item does not have a job's attributes.
    #[error("a recalculation job cannot be mapped: {0}")]
    Mapping(String),
    /// One of its instants cannot be read.
    #[error("a recalculation job holds {0:?} where an instant is expected")]
    Instant(String),
    /// Its granularity is none.
    #[error("a recalculation job has an unknown granularity")]
    Granularity,
    /// It has more periods than any request can ask for.
    #[error("a recalculation job has too many periods")]
    TooManyPeriods,
}

impl JobRequest {
    /// What tells this request from others: the type, whether it overwrites, and the periods of the whole range, however it
    /// was written. Which of them are there to be recalculated changes as time goes by; asking again
    /// an hour later is the same request.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self { metric_type, granularity, start_date, end_date, .. } = self;
        let range = || {
            let granularity = self.granularity().ok()?;
            let (start, end) = (parse_instant(start_date)?, parse_instant(end_date)?);
            let first = Period::starting_at_or_after(granularity, start);
            let last = Period::containing(granularity, end);
            Some((format_instant(first.start()), format_instant(last.start())))
        };
        // Our own instants can be read; whatever else is there is compared as it is.
        let (first, last) = range().unwrap_or_else(|| (start_date.clone(), end_date.clone()));
        let mut text = format!("{metric_type:?} {granularity} {first} {last}");
        if self.overwrite {
            text.push_str(" overwrite");
        }
        let mut fingerprint = String::new();
        for byte in Sha256::digest(text.as_bytes()).iter().take(8) {
            // Writing to a string cannot fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        fingerprint
    }

    fn granularity(&self) -> Result<Granularity, JobError> {
        Granularity::from_name(&self.granularity).ok_or(JobError::Granularity)
    }

    /// The periods from the first to the last.
    fn asked(&self) -> Result<Vec<Period>, JobError> {
        let granularity = self.granularity()?;
        let first = Period::containing(granularity, instant(&self.first)?);
        let last = Period::containing(granularity, instant(&self.last)?);
        Ok(std::iter::successors(Some(first), |period| Some(period.next()))
            .take_while(|period| *period <= last)
            .take(MAXIMUM_PERIODS)
            .collect())
    }
}

impl Job {
    /// A new job of `request` for `periods`, as of `now`.
    #[must_use]
    pub fn new(
        random: u128,
        request: JobRequest,
        periods: usize,
        begin: DateTime<Utc>,
        retention: Retention,
        now: DateTime<Utc>,
    ) -> Self {
        let Retention { hourly, daily, weekly, monthly } = retention;
        let plan = Plan { begin, as_of: now, retention };
        // A request that cannot be read is reported when the slices are asked for.
        let asked = request.asked().unwrap_or_default();
        Self {
            job_id: format!("{random:032x}"),
            request,
            periods,
            done: 0,
            failed: 0,
            reasons: Vec::new(),
            is_incomplete: false,
            last_reason: None,
            failed_attempts: 0,
            gave_way: 0,
            next_slice: 0,
            slice_groups: plan.groups(&asked),
            started_at: format_instant(now),
            moved_at: format_instant(now),
            attempted_at: None,
            finished_at: None,
            begin: format_instant(begin),
            retention: [hourly, daily, weekly, monthly],
        }
    }

    /// The message for its next slice.
    #[must_use]
    pub fn message(&self) -> Message {
        Message { job_id: self.job_id.clone(), slice: self.next_slice, attempt: 0 }
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match (&self.finished_at, self.failed > 0 || self.is_incomplete, self.next_slice) {
            (Some(_), false, _) => JobStatus::Complete,
            (Some(_), ..) => JobStatus::Failed,
            (None, _, 0) => JobStatus::Queued,
            (None, ..) => JobStatus::Running,
        }
    }

    /// Whether it is unfinished and has not moved for [`DEAD_AFTER`].
    #[must_use]
    pub fn is_dead(&self, now: DateTime<Utc>) -> bool {
        let is_old = |moved: DateTime<Utc>| now.signed_duration_since(moved) >= DEAD_AFTER;
        self.finished_at.is_none() && parse_instant(&self.moved_at).is_none_or(is_old)
    }

    /// Whether it is unfinished and its message seems to be lost.
    #[must_use]
    pub fn is_stuck(&self, now: DateTime<Utc>) -> bool {
        let seen = [Some(&self.moved_at), self.attempted_at.as_ref()];
        let last = seen.into_iter().flatten().filter_map(|at| parse_instant(at)).max();
        let is_old = |last: DateTime<Utc>| now.signed_duration_since(last) >= STUCK_AFTER;
        self.finished_at.is_none() && last.is_none_or(is_old)
    }

    /// By what its periods are made.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn plan(&self) -> Result<Plan, JobError> {
        let [hourly, daily, weekly, monthly] = self.retention;
        Ok(Plan {
            begin: instant(&self.begin)?,
            as_of: instant(&self.started_at)?,
            retention: Retention { hourly, daily, weekly, monthly },
        })
    }

    /// Its slices, in the order in which they are to be done.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn slices(&self) -> Result<Vec<Slice>, JobError> {
        slices::slices_of(&self.groups()?)
    }

    /// The stored groups, or those that an older build would have made.
    fn groups(&self) -> Result<Vec<SliceGroup>, JobError> {
        if self.slice_groups.is_empty() {
            return Ok(self.plan()?.groups(&self.request.asked()?));
        }
        Ok(self.slice_groups.clone())
    }

    /// How many periods of the slice were asked for; the others are made for their sake.
    #[must_use]
    pub fn asked_for(&self, slice: &Slice) -> usize {
        let asked = slice
            .periods
            .iter()
            .filter(|period| period.granularity().name() == self.request.granularity)
            .map(|period| format_instant(period.start()))
            .filter(|start| (&self.request.first..=&self.request.last).contains(&start));
        asked.count()
    }

    /// Moves on behind the current one of `slices` slices, which was done with so many `asked` for.
    pub fn advance(&mut self, asked: usize, slices: usize, now: DateTime<Utc>) {
        let open = self.periods.saturating_sub(self.failed);
        self.done = self.done.saturating_add(asked).min(open);
        self.step(slices, now);
    }

    /// Moves on behind the current one of `slices` slices, which could not be done for this reason.
    pub fn give_up(&mut self, asked: usize, slices: usize, reason: &str, now: DateTime<Utc>) {
        let open = self.periods.saturating_sub(self.done);
        self.failed = self.failed.saturating_add(asked).min(open);
        // What was asked for may be done, and what lies above or below it not.
        self.is_incomplete = true;
        self.add_reason(reason);
        self.step(slices, now);
    }

    fn step(&mut self, slices: usize, now: DateTime<Utc>) {
        self.next_slice = self.next_slice.saturating_add(1).min(slices);
        self.last_reason = None;
        self.failed_attempts = 0;
        self.gave_way = 0;
        self.moved_at = format_instant(now);
        self.attempted_at = Some(format_instant(now));
        if self.next_slice == slices {
            self.finished_at = Some(format_instant(now));
        }
    }

    /// Notes that an attempt at the current slice failed. It counts against [`MAXIMUM_ATTEMPTS`]
    /// unless DynamoDB was unavailable.
    pub fn note_attempt(&mut self, reason: &str, is_outage: bool, now: DateTime<Utc>) {
        self.last_reason = Some(shortened(reason));
        self.failed_attempts = self.failed_attempts.saturating_add(u32::from(!is_outage));
        self.attempted_at = Some(format_instant(now));
    }

    /// Notes that the current slice gave way to a scheduled run: no attempt. One that does so again
    /// is halved.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn note_way_given(&mut self, now: DateTime<Utc>) -> Result<(), JobError> {
        self.gave_way = self.gave_way.saturating_add(1);
        self.attempted_at = Some(format_instant(now));
        if self.gave_way >= HALVED_AFTER {
            self.halve(now)?;
        }
        Ok(())
    }

    /// Cuts the current slice, and those of its kind after it, into halves. False where it is a
    /// single period.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn halve(&mut self, now: DateTime<Utc>) -> Result<bool, JobError> {
        self.gave_way = 0;
        let Some(halved) = slices::halved(&self.groups()?, self.next_slice)? else {
            return Ok(false);
        };
        self.slice_groups = halved;
        self.failed_attempts = 0;
        self.moved_at = format_instant(now);
        Ok(true)
    }

    /// Notes that its message was sent again.
    pub fn note_revived(&mut self, now: DateTime<Utc>) {
        self.attempted_at = Some(format_instant(now));
    }

    /// Ends it, unfinished, for this reason: what is not done has failed.
    pub fn end(&mut self, reason: &str, now: DateTime<Utc>) {
        self.failed = self.periods.saturating_sub(self.done);
        self.is_incomplete = true;
        self.add_reason(reason);
        self.finished_at = Some(format_instant(now));
    }

    /// Ends it because it is dead.
    pub fn end_dead(&mut self, now: DateTime<Utc>) {
        let hours = DEAD_AFTER.num_hours();
        let reason = match &self.last_reason {
            Some(last) => format!(
                "the job made no progress for {hours} hours; its last attempt failed: {last}"
            ),
            None => format!("the job made no progress for {hours} hours"),
        };
        self.end(&reason, now);
    }

    fn add_reason(&mut self, reason: &str) {
        if self.reasons.len() < MAXIMUM_REASONS {
            self.reasons.push(shortened(reason));
        }
    }

    /// As an item.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped.
    pub fn to_item(&self) -> Result<Item, JobError> {
        let mut attributes =
            to_item(self).map_err(|error| JobError::Mapping(error.to_string()))?.into_inner();
        let expiry = instant(&self.started_at)?.checked_add_signed(RUNS_AND_JOBS);
        let ttl = expiry.ok_or_else(|| JobError::Instant(shortened(&self.started_at)))?.timestamp();
        attributes.extend(job_key(&self.job_id).into_inner());
        attributes.insert("EntityType".to_owned(), string("AnalyticsJob"));
        attributes.insert("ttl".to_owned(), number(&ttl));
        Ok(Item::from(attributes))
    }

    /// Reads a stored job.
    ///
    /// # Errors
    ///
    /// When the item is none.
    pub fn from_item(item: Item) -> Result<Self, JobError> {
        let mut job: Self =
            from_item(item).map_err(|error| JobError::Mapping(error.to_string()))?;
        // Older builds could note more failures than there are periods.
        job.done = job.done.min(job.periods);
        job.failed = job.failed.min(job.periods.saturating_sub(job.done));
        Ok(job)
    }
}

fn shortened(reason: &str) -> String {
    reason.chars().take(MAXIMUM_REASON).collect()
}

fn instant(text: &str) -> Result<DateTime<Utc>, JobError> {
    parse_instant(text).ok_or_else(|| JobError::Instant(shortened(text)))
}

/// The key of a job.
#[must_use]
pub fn job_key(job_id: &str) -> Item {
    key(PARTITION, job_id)
}

/// The key of what names the latest job of a request.
#[must_use]
pub fn latest_key(request: &JobRequest) -> Item {
    key(PARTITION, format!("latest#{}", request.fingerprint()))
}

/// The key of what names all jobs that have not finished.
#[must_use]
pub fn unfinished_key() -> Item {
    key(PARTITION, "unfinished")
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
