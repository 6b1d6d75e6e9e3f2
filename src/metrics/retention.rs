//! Retention: how long records are kept after their period's end, and runs and jobs after their
//! start.
//!
//! Source: the platform's contract, section 2.

use std::fmt;

use chrono::{DateTime, Days, TimeDelta, Utc};

use crate::metrics::period::{Granularity, Period};

/// The longest retention that can be configured, in days: a hundred years.
pub const MAXIMUM_DAYS: u32 = 36_500;

/// How long the ledger's entries and recalculation jobs are kept after their start; their `ttl` says
/// the same. DynamoDB deletes days later, so what is older must not be shown.
pub const RUNS_AND_JOBS: TimeDelta = TimeDelta::days(90);

/// Days that records are kept after their period's end, by granularity; 0 keeps them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Hours.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

impl Default for Retention {
    /// 30 days, one year, two years, for ever.
    fn default() -> Self {
        Self { hourly: 30, daily: 365, weekly: 2 * 365, monthly: 0 }
    }
}

impl Retention {
    /// The days that records of `granularity` are kept; 0 is for ever.
    #[must_use]
    pub fn days(&self, granularity: Granularity) -> u32 {
        match granularity {
            Granularity::Hourly => self.hourly,
            Granularity::Daily => self.daily,
            Granularity::Weekly => self.weekly,
            Granularity::Monthly => self.monthly,
        }
    }

    /// When the record of `period` may be deleted; `None` means never.
    #[must_use]
    pub fn expiry(&self, period: Period) -> Option<DateTime<Utc>> {
        let days = self.days(period.granularity());
        (days > 0).then(|| period.next().start() + Days::new(u64::from(days)))
    }

    /// Whether the record of `period` may be deleted at `now`, and so must not be shown.
    #[must_use]
    pub fn has_ended(&self, period: Period, now: DateTime<Utc>) -> bool {
        self.expiry(period).is_some_and(|expiry| expiry <= now)
    }
}

/// As the state item notes which retention was last applied: `30/365/730/0`.
impl fmt::Display for Retention {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hourly, daily, weekly, monthly } = self;
        write!(formatter, "{hourly}/{daily}/{weekly}/{monthly}")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_record_is_kept_for_so_many_days_after_its_period() {
        let instant = Utc.with_ymd_and_hms(2026, 6, 1, 2, 0, 0).unwrap();
        let retention = Retention::default();
        let hour = Period::containing(Granularity::Hourly, instant);
        let expiry = Utc.with_ymd_and_hms(2026, 7, 1, 3, 0, 0).unwrap();
        assert_eq!(retention.expiry(hour), Some(expiry));
        assert!(retention.has_ended(hour, expiry));
        assert!(!retention.has_ended(hour, expiry - chrono::TimeDelta::milliseconds(1)));
        let month = Period::containing(Granularity::Monthly, instant);
        assert_eq!(retention.expiry(month), None);
    }
}
