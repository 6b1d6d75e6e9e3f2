//! Retention: how long records are kept after the end of their period, and ledger entries and jobs
//! after their start.

use std::fmt;

use chrono::{DateTime, Days, TimeDelta, Utc};

use crate::metrics::period::{Granularity, Period};

/// The longest retention that can be configured, in days.
pub const MAXIMUM_DAYS: u32 = 36_500;

/// How long ledger entries and jobs are kept after their start, which is also their `ttl`. DynamoDB
/// deletes an item up to days after its `ttl`, so older ones must not be shown.
pub const RUNS_AND_JOBS: TimeDelta = TimeDelta::days(90);

/// How many days records are kept after the end of their period, by granularity; 0 keeps them for
/// ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of hourly records.
    pub hourly: u32,
    /// Of daily records.
    pub daily: u32,
    /// Of weekly records.
    pub weekly: u32,
    /// Of monthly records.
    pub monthly: u32,
}

impl Default for Retention {
    /// 30 days, one year, two years, and for ever.
    fn default() -> Self {
        Self { hourly: 30, daily: 365, weekly: 2 * 365, monthly: 0 }
    }
}

impl Retention {
    /// How many days records of `granularity` are kept; 0 keeps them for ever.
    #[must_use]
    pub fn days(&self, granularity: Granularity) -> u32 {
        match granularity {
            Granularity::Hourly => self.hourly,
            Granularity::Daily => self.daily,
            Granularity::Weekly => self.weekly,
            Granularity::Monthly => self.monthly,
        }
    }

    /// When the retention of the record of `period` ends; `None` if it never does.
    #[must_use]
    pub fn expiry(&self, period: Period) -> Option<DateTime<Utc>> {
        let days = self.days(period.granularity());
        (days > 0).then(|| period.next().start() + Days::new(u64::from(days)))
    }

    /// Whether the retention of the record of `period` has ended at `now`, so that it must not be
    /// shown.
    #[must_use]
    pub fn has_ended(&self, period: Period, now: DateTime<Utc>) -> bool {
        self.expiry(period).is_some_and(|expiry| expiry <= now)
    }
}

/// `30/365/730/0`, as the run state stores the retention that was applied last.
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
