//! What a job is for.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{JobError, instant};
use crate::metrics::period::{Granularity, Period, format_instant, parse_instant};

/// The most periods that one request may recalculate.
pub const MAXIMUM_JOB_PERIODS: usize = 2000;

/// A request for a recalculation: the periods of one granularity from the first to the last, of one
/// type or of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRequest {
    /// The type; `None` means all types.
    pub metric_type: Option<String>,
    /// The granularity's name.
    pub granularity: String,
    /// The start of the range that was requested.
    pub start_date: String,
    /// The end of the range that was requested.
    pub end_date: String,
    /// The start of the first period in the range that can have a record.
    pub first: String,
    /// The start of the last such period.
    pub last: String,
    /// Whether a value that is computed now replaces a stored one that was observed. It is then marked
    /// as reconstructed.
    #[serde(default)]
    pub overwrite: bool,
}

impl JobRequest {
    /// Identifies the request: its type, whether it overwrites, and the periods of its whole range,
    /// however the range was written. Which of them have a record to be recalculated changes with
    /// time; asking again an hour later is the same request.
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
        // Instants that cannot be read are compared as text.
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
    pub(super) fn asked(&self) -> Result<Vec<Period>, JobError> {
        let granularity = self.granularity()?;
        let first = Period::containing(granularity, instant(&self.first)?);
        let last = Period::containing(granularity, instant(&self.last)?);
        Ok(std::iter::successors(Some(first), |period| Some(period.next()))
            .take_while(|period| *period <= last)
            .take(MAXIMUM_JOB_PERIODS)
            .collect())
    }
}
