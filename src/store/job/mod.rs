//! Recalculation jobs: what one is for, into which slices it is cut, how far it is.
//!
//! Its request is in `request`, its slices in `slices`, its messages in `message`, its items in `item`.
//! Storing jobs and moving them on is in [`super::jobs`].

mod item;
mod message;
mod request;
mod slices;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use item::{JobError, job_key, latest_key, unfinished_key};
use item::{instant, shortened};
pub use message::{JobQueue, Message, QueueError};
pub use request::{JobRequest, MAXIMUM_JOB_PERIODS};
pub use slices::{Slice, SliceGroup, Work, computed_for};

use crate::metrics::{
    maker::Makers,
    period::{format_instant, parse_instant},
    retention::Retention,
};

/// A job that has not moved for so long is dead: it ends as failed. Longer than an outage of an hour
/// with the delays of its messages, short enough that an administrator sees it the same day.
pub const DEAD_AFTER: TimeDelta = TimeDelta::hours(6);

/// Without an attempt for so long, the message of a job is lost. An attempt lasts at most 15 minutes,
/// and the delay before it 15 more.
const STUCK_AFTER: TimeDelta = TimeDelta::minutes(45);

/// After so many failed attempts a slice is given up. Attempts that failed because DynamoDB was
/// unavailable are not counted.
pub const MAXIMUM_SLICE_ATTEMPTS: u32 = 4;

/// A slice that gave way to a scheduled run so many times is halved.
const HALVED_AFTER: u32 = 2;

/// The most reasons of failed slices in a job.
const MAXIMUM_JOB_REASONS: usize = 20;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id, `jobId` in the API.
    pub job_id: String,
    /// The request.
    pub request: JobRequest,
    /// How many periods were requested.
    pub periods: usize,
    /// How many of them were recalculated.
    pub done: usize,
    /// How many of them could not be recalculated.
    pub failed: usize,
    /// The reasons of the first failures.
    pub reasons: Vec<String>,
    /// Whether it ended without all slices done.
    #[serde(default)]
    pub is_incomplete: bool,
    /// Why the last attempt at the current slice failed.
    #[serde(default)]
    pub last_reason: Option<String>,
    /// How many attempts at the current slice have failed.
    #[serde(default)]
    pub failed_attempts: u32,
    /// How often the current slice gave way to a scheduled run.
    #[serde(default)]
    pub gave_way: u32,
    /// The current slice: the one that is done next.
    pub next_slice: usize,
    /// How it is cut into slices. Empty in a job that an older build stored.
    #[serde(default)]
    pub slice_groups: Vec<SliceGroup>,
    /// When it was requested.
    pub started_at: String,
    /// When it last moved: a slice was done, given up or cut.
    pub moved_at: String,
    /// When a message of it was last processed or sent again.
    #[serde(default)]
    pub attempted_at: Option<String>,
    /// When it finished.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// The start of the first counted hour, as of the request.
    pub begin: String,
    /// The retention by which it was cut into slices, in days: hourly, daily, weekly, monthly.
    pub retention: [u32; 4],
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// No slice is done yet.
    Queued,
    /// Some slices are done.
    Running,
    /// It has finished, and every period was recalculated.
    Complete,
    /// It has finished, and some periods were not recalculated.
    Failed,
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
        let makers = Makers { begin, as_of: now, retention };
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
            slice_groups: slices::groups(&makers, &asked),
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

    /// Its status.
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

    /// Whether it is unfinished and its message counts as lost.
    #[must_use]
    pub fn is_stuck(&self, now: DateTime<Utc>) -> bool {
        let seen = [Some(&self.moved_at), self.attempted_at.as_ref()];
        let last = seen.into_iter().flatten().filter_map(|at| parse_instant(at)).max();
        let is_old = |last: DateTime<Utc>| now.signed_duration_since(last) >= STUCK_AFTER;
        self.finished_at.is_none() && last.is_none_or(is_old)
    }

    /// What decides how its periods are computed.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn makers(&self) -> Result<Makers, JobError> {
        let [hourly, daily, weekly, monthly] = self.retention;
        Ok(Makers {
            begin: instant(&self.begin)?,
            as_of: instant(&self.started_at)?,
            retention: Retention { hourly, daily, weekly, monthly },
        })
    }

    /// Its slices, in the order in which they are done.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn slices(&self) -> Result<Vec<Slice>, JobError> {
        slices::slices_of(&self.groups()?)
    }

    /// The stored groups. For a job of an older build, the groups that it would have now.
    fn groups(&self) -> Result<Vec<SliceGroup>, JobError> {
        if self.slice_groups.is_empty() {
            return Ok(slices::groups(&self.makers()?, &self.request.asked()?));
        }
        Ok(self.slice_groups.clone())
    }

    /// How many periods of the slice were requested. The others are finer or coarser periods that belong
    /// to requested ones.
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

    /// Moves to the next one of `slices` slices. The current one was done, with `asked` requested periods.
    pub fn advance(&mut self, asked: usize, slices: usize, now: DateTime<Utc>) {
        let open = self.periods.saturating_sub(self.failed);
        self.done = self.done.saturating_add(asked).min(open);
        self.step(slices, now);
    }

    /// Moves to the next one of `slices` slices. The current one could not be done for this reason.
    pub fn give_up(&mut self, asked: usize, slices: usize, reason: &str, now: DateTime<Utc>) {
        let open = self.periods.saturating_sub(self.done);
        self.failed = self.failed.saturating_add(asked).min(open);
        // Also if the slice has no requested period: a finer or coarser one was not computed.
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

    /// Records that an attempt at the current slice failed. It counts toward
    /// [`MAXIMUM_SLICE_ATTEMPTS`] unless DynamoDB was unavailable.
    pub fn note_attempt(&mut self, reason: &str, is_outage: bool, now: DateTime<Utc>) {
        self.last_reason = Some(shortened(reason));
        self.failed_attempts = self.failed_attempts.saturating_add(u32::from(!is_outage));
        self.attempted_at = Some(format_instant(now));
    }

    /// Records that the current slice gave way to a scheduled run, which is not an attempt. A slice that
    /// gave way twice is halved.
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

    /// Halves the current slice and those of its group after it. Returns `false` if it is a single
    /// period.
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

    /// Records that its message was sent again.
    pub fn note_revived(&mut self, now: DateTime<Utc>) {
        self.attempted_at = Some(format_instant(now));
    }

    /// Ends it for this reason. What is not done has failed.
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
        if self.reasons.len() < MAXIMUM_JOB_REASONS {
            self.reasons.push(shortened(reason));
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
