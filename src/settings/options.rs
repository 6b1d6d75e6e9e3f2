//! What an operator decides about runs: retention, how far back to look, how much to spend.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    dynamodb::Usage,
    metrics::{period::Period, retention::Retention},
};

/// What an operator decides about runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How long records are kept.
    pub retention: Retention,
    /// How many hours before its own a run calculates again, because items show late in an index
    /// and jobs finish later.
    pub trailing_hours: usize,
    /// How long after its hour a scheduled run may begin to count and still observe the hour. Later,
    /// the table has moved on: what only the hour's own time could tell is absent, and what else is
    /// counted is marked as reconstructed.
    pub maximum_lateness: Duration,
    /// When a run leaves the rest of a catch-up to the next one.
    pub budget: Budget,
    /// What DynamoDB's capacity costs.
    pub prices: Prices,
}

/// A run that has used up one of these begins no further piece of a catch-up. Its own period does
/// not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests to DynamoDB in the whole run.
    pub requests: u64,
    /// Time since the run began.
    pub time: Duration,
}

/// Prices of capacity units in USD per million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Read request units.
    pub read: f64,
    /// Write request units.
    pub write: f64,
}

impl Options {
    /// Whether a run that begins to count at `at` observes `hour`.
    #[must_use]
    pub fn is_in_time(&self, hour: Period, at: DateTime<Utc>) -> bool {
        let lateness = at.signed_duration_since(hour.next().start());
        // Before the end of the hour it is not late.
        lateness.to_std().is_ok_and(|lateness| lateness <= self.maximum_lateness)
            || lateness < TimeDelta::zero()
    }
}

impl Default for Options {
    /// Three trailing hours; a run is late after ten minutes; half of the 10,000 subrequests and a third of the 15 minutes that a
    /// Worker's cron event has; on-demand prices of us-east-1.
    ///
    /// Sources: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/),
    /// [DynamoDB on-demand pricing](https://aws.amazon.com/dynamodb/pricing/on-demand/).
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            trailing_hours: 3,
            maximum_lateness: Duration::from_mins(10),
            budget: Budget { requests: 5000, time: Duration::from_mins(5) },
            prices: Prices { read: 0.125, write: 0.625 },
        }
    }
}

impl Prices {
    /// What `usage` costs, in USD, rounded to a billionth.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> f64 {
        let millionths = usage.read_units * self.read + usage.write_units * self.write;
        (millionths * 1000.0).round() / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_units_cost_their_price() {
        let usage = Usage { read_units: 1e6, write_units: 2e6, ..Usage::default() };
        let cost = Options::default().prices.of(&usage);
        assert!((cost - 1.375).abs() < 1e-9, "{cost}");
    }
}
