//! The items of jobs.
//!
//! A job is the item `ANALYTICS_JOB` / `{jobId}`. Beside it, `ANALYTICS_JOB` / `latest#{fingerprint}`
//! names the latest job of the same request, so that asking again finds the running one, and
//! `ANALYTICS_JOB` / `unfinished` names all jobs that have not finished.

use chrono::{DateTime, Utc};

use super::{Job, JobRequest};
use crate::{
    dynamodb::{Item, from_item, key, number, string, to_item},
    metrics::{period::parse_instant, retention::RUNS_AND_JOBS},
};

const JOB_PARTITION: &str = "ANALYTICS_JOB";

/// The longest reason that a job stores: the job is one item, and read with every slice.
const MAXIMUM_REASON_CHARACTERS: usize = 500;

/// A stored job is damaged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobError {
    /// The item does not have the attributes of a job.
    #[error("the item of a recalculation job cannot be read: {0}")]
    Mapping(String),
    /// An instant of it cannot be parsed.
    #[error(
        "a recalculation job has {0:?} where an instant such as 2026-03-01T00:00:00.000Z is expected"
    )]
    Instant(String),
    /// Its granularity does not exist.
    #[error("a recalculation job has a granularity other than hourly, daily, weekly and monthly")]
    Granularity,
    /// It has more periods than a request can have.
    #[error("a recalculation job has more periods than a request can have")]
    TooManyPeriods,
}

impl Job {
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
    /// When the item is not a job.
    pub fn from_item(item: Item) -> Result<Self, JobError> {
        let mut job: Self =
            from_item(item).map_err(|error| JobError::Mapping(error.to_string()))?;
        // Older builds could record more failures than there are periods.
        job.done = job.done.min(job.periods);
        job.failed = job.failed.min(job.periods.saturating_sub(job.done));
        Ok(job)
    }
}

/// A reason as a job stores it.
pub(super) fn shortened(reason: &str) -> String {
    reason.chars().take(MAXIMUM_REASON_CHARACTERS).collect()
}

/// An instant that a job stores as text.
pub(super) fn instant(text: &str) -> Result<DateTime<Utc>, JobError> {
    parse_instant(text).ok_or_else(|| JobError::Instant(shortened(text)))
}

/// The key of a job.
#[must_use]
pub fn job_key(job_id: &str) -> Item {
    key(JOB_PARTITION, job_id)
}

/// The key of the item that names the latest job of a request.
#[must_use]
pub fn latest_key(request: &JobRequest) -> Item {
    key(JOB_PARTITION, format!("latest#{}", request.fingerprint()))
}

/// The key of the item that names all jobs that have not finished.
#[must_use]
pub fn unfinished_key() -> Item {
    key(JOB_PARTITION, "unfinished")
}
