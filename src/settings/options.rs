//! Options of runs: retention, trailing hours, lateness, budget, prices.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::variables::{VariableReader, is_made_of, whole_number};
use crate::{
    dynamodb::Usage,
    metrics::{
        period::Period,
        retention::{MAXIMUM_DAYS, Retention},
    },
};

/// The options of runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How long records are kept.
    pub retention: Retention,
    /// How many hours before its own a scheduled hourly run recomputes for late-arriving data: items
    /// reach an index late, and jobs finish later.
    pub trailing_hours: usize,
    /// How long after the end of its hour a scheduled run may start to count and still observe the
    /// hour. Later the table has changed: a level as of the end of the hour is absent, and what else
    /// is counted is marked as reconstructed.
    pub maximum_lateness: Duration,
    /// How much a run may spend on backfill and refresh.
    pub budget: Budget,
    /// What DynamoDB's capacity costs.
    pub prices: Prices,
}

/// A run that has used up one of these stops starting new batches of backfill and refresh, and leaves
/// the rest to the next run. Its own period does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Requests to DynamoDB in the whole run.
    pub requests: u64,
    /// Time since the start of the run.
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
    /// Whether a run that starts to count at `at` observes `hour`.
    #[must_use]
    pub fn is_in_time(&self, hour: Period, at: DateTime<Utc>) -> bool {
        let lateness = at.signed_duration_since(hour.next().start());
        // Before the end of the hour it is not late.
        lateness.to_std().is_ok_and(|lateness| lateness <= self.maximum_lateness)
            || lateness < TimeDelta::zero()
    }
}

impl Default for Options {
    /// Three trailing hours; a run is late after ten minutes; half of the 10,000 subrequests and a
    /// third of the 15 minutes that a cron event of a Worker has; on-demand prices of us-east-1.
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

/// The options in the variables. One that is not set has its default.
pub(super) fn read_options<Lookup: Fn(&str) -> Option<String>>(
    reader: &mut VariableReader<Lookup>,
) -> Options {
    let defaults = Options::default();
    let retention = read_retention(reader, defaults.retention);
    let mut number = |variable, expected, maximum: u64, default: u64| {
        reader.optional(variable, expected, |text| whole_number(text, maximum)).unwrap_or(default)
    };
    let trailing_hours = number(
        "TRAILING_HOURS",
        "a whole number of hours from 0 to 48, such as 3",
        48,
        defaults.trailing_hours as u64,
    );
    let maximum_lateness = number(
        "MAXIMUM_LATENESS",
        "a whole number of minutes from 0 to 59, such as 10",
        59,
        defaults.maximum_lateness.as_secs() / 60,
    );
    let requests = number(
        "CATCH_UP_REQUESTS",
        "a whole number of requests from 0 to 10000, such as 5000",
        10_000,
        defaults.budget.requests,
    );
    let seconds = number(
        "CATCH_UP_SECONDS",
        "a whole number of seconds from 0 to 800, such as 300",
        800,
        defaults.budget.time.as_secs(),
    );
    let mut price = |variable, default| {
        let expected = "the price of a million units in USD, such as 0.125";
        reader.optional(variable, expected, parse_price).unwrap_or(default)
    };
    Options {
        retention,
        trailing_hours: usize::try_from(trailing_hours).unwrap_or(defaults.trailing_hours),
        maximum_lateness: Duration::from_secs(60 * maximum_lateness),
        budget: Budget { requests, time: Duration::from_secs(seconds) },
        prices: Prices {
            read: price("READ_UNITS_PRICE", defaults.prices.read),
            write: price("WRITE_UNITS_PRICE", defaults.prices.write),
        },
    }
}

fn read_retention<Lookup: Fn(&str) -> Option<String>>(
    reader: &mut VariableReader<Lookup>,
    defaults: Retention,
) -> Retention {
    let mut days = |variable, default: u32| {
        let expected =
            "a whole number of days from 1 to 36500, such as 30, or to 0 to keep records forever";
        let days = reader
            .optional(variable, expected, |text| whole_number(text, u64::from(MAXIMUM_DAYS)))
            .unwrap_or_else(|| u64::from(default));
        u32::try_from(days).unwrap_or(default)
    };
    Retention {
        hourly: days("RETENTION_HOURLY_DAYS", defaults.hourly),
        daily: days("RETENTION_DAILY_DAYS", defaults.daily),
        weekly: days("RETENTION_WEEKLY_DAYS", defaults.weekly),
        monthly: days("RETENTION_MONTHLY_DAYS", defaults.monthly),
    }
}

fn parse_price(text: &str) -> Option<f64> {
    let is_plain = is_made_of(text, 16, |byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok())?.filter(|price: &f64| price.is_finite())
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
