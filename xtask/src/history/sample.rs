//! The sample platform that `dev` generates, and what its folder remembers of it.

use std::{fmt, fs, path::Path};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use sample_platform::{Change, Counts, Shape, generate_counts, history};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The file in a folder that holds a complete history.
pub const MARKER: &str = "history.json";

/// The age of the platform when its first counted hour begins: totals that start at zero look like a
/// mistake.
const AGE_AT_BEGIN: TimeDelta = TimeDelta::days(30);

/// A sample platform with its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Users who ever sign up.
    pub users: u32,
    /// Days that have records.
    pub days: u32,
    /// The seed of its random numbers.
    pub seed: u64,
    /// When it was requested, which is where its generated changes end.
    pub end: DateTime<Utc>,
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, days, seed, .. } = self;
        write!(formatter, "{users} users, {days} days and seed {seed}")
    }
}

impl From<Sample> for Shape {
    fn from(sample: Sample) -> Self {
        Self { users: sample.users, days: sample.days, seed: sample.seed, end: sample.end }
    }
}

impl Sample {
    /// The midnight at which the first counted hour begins.
    pub fn begin(&self) -> DateTime<Utc> {
        let today = self.end.date_naive().and_time(NaiveTime::MIN).and_utc();
        today - TimeDelta::days(i64::from(self.days))
    }

    /// More visits and likes for each user than other samples have: every hour shows values, while the
    /// totals, which every hourly run reads, stay small.
    fn counts(&self) -> Counts {
        let hours = (self.days + 30) * 24;
        Counts {
            media: self.users * 3,
            interactions: self.users * 12,
            comments: self.users * 3,
            visitor_hours: hours * (2 + self.users / 12),
            orders: self.users,
            ..Counts::for_users(self.users)
        }
    }

    /// Every change of the platform's items, in order.
    pub fn changes(&self) -> Vec<Change> {
        let founded = self.begin() - AGE_AT_BEGIN;
        let mut changes = history(&self.counts(), self.seed, founded, self.end);
        // The accounts with which documentation and tests sign in. They belong to another sample
        // platform, whose other items are left out.
        let smallest = Counts { users: 3, ..Counts::for_users(0) };
        let known = generate_counts(&smallest, self.days, self.seed, self.end).into_iter();
        let accounts = known.filter_map(|item| {
            let text = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
            let key = (text("PK"), text("SK"));
            let is_account = key.0.starts_with("USER#") || key.0.starts_with("SESSION#");
            is_account.then_some(Change { at: founded, key, item: Some(item) })
        });
        changes.splice(0..0, accounts);
        changes
    }
}

/// What a folder holds: a sample, and the time up to which its cron events were sent. It is written when
/// the history is complete, so that an interrupted one is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHistory {
    /// The sample.
    #[serde(flatten)]
    pub sample: Sample,
    /// Events up to this time have been sent.
    pub reached: DateTime<Utc>,
}

impl StoredHistory {
    /// What `folder` holds; `None` without a complete history.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(MARKER)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (path, new) = (folder.join(MARKER), folder.join("history.json.new"));
        fs::write(&new, serde_json::json!(self).to_string()).map_err(Error::file("write", &new))?;
        fs::rename(&new, &path).map_err(Error::file("write", &path))
    }

    /// The generated changes that are not in the table yet, in order: those of the last hours, where
    /// their events are left to the Worker.
    pub fn pending_changes(&self) -> Vec<Change> {
        if self.reached >= self.sample.end {
            return Vec::new();
        }
        let mut changes = self.sample.changes();
        changes.retain(|change| change.at > self.reached);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_changes_are_those_after_the_last_event() {
        let end = "2026-06-02T03:20:00Z".parse().unwrap();
        let sample = Sample { users: 4, days: 2, seed: 1, end };
        let stored = StoredHistory { sample, reached: sample.end };
        assert!(stored.pending_changes().is_empty());
        let earlier = StoredHistory { reached: sample.end - TimeDelta::hours(3), ..stored };
        assert!(earlier.pending_changes().iter().all(|change| change.at > earlier.reached));
        let begun = StoredHistory { reached: sample.begin(), ..stored };
        assert!(begun.pending_changes().len() > 50);
    }
}
