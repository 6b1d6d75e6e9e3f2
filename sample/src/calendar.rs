//! When things happen: growth, daily and weekly rhythm, and the edges of periods.

use chrono::{
    DateTime, Datelike, Months, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Timelike, Utc,
    Weekday,
};

use crate::random::Random;

/// How busy each hour of a day is (UTC), in percent.
const HOURS: [u64; 24] = [
    45, 35, 25, 18, 12, 10, 12, 18, 28, 38, 45, 50, 55, 58, 60, 62, 66, 72, 80, 90, 100, 98, 85, 65,
];

/// How busy each day of a week is, Monday first, in percent.
const WEEKDAYS: [u64; 7] = [62, 60, 62, 66, 80, 100, 95];

/// How busy the first day is compared with the last, in percent.
const FIRST_DAY: u64 = 25;

/// The time a platform has existed, to the millisecond, both ends inclusive.
#[derive(Clone, Copy)]
pub struct Life {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Life {
    pub fn new(days: u32, end: DateTime<Utc>) -> Self {
        let end = end - TimeDelta::nanoseconds(i64::from(end.timestamp_subsec_nanos() % 1_000_000));
        Self { start: end - TimeDelta::days(i64::from(days)), end }
    }

    /// How busy the platform is at an instant, out of 1,000,000.
    pub fn activity(&self, at: DateTime<Utc>) -> u64 {
        let (age, whole) = (at - self.start, self.end - self.start);
        let growth = FIRST_DAY
            + (100 - FIRST_DAY) * age.num_seconds().unsigned_abs()
                / whole.num_seconds().unsigned_abs().max(1);
        growth * HOURS[at.hour() as usize] * WEEKDAYS[at.weekday().num_days_from_monday() as usize]
    }

    /// An instant at which something may well have happened.
    pub fn moment(&self, random: &mut Random) -> DateTime<Utc> {
        loop {
            let at = self.start + random.span(self.end - self.start);
            if random.below(1_000_000) < self.activity(at) {
                return at;
            }
        }
    }

    /// An instant within the last two days.
    pub fn recent_moment(&self, random: &mut Random) -> DateTime<Utc> {
        let from = self.start.max(self.end - TimeDelta::days(2));
        from + random.span(self.end - from)
    }

    /// The first and last milliseconds of periods that meet within this life: the last hours, days,
    /// weeks and months, one of each kind before the second of any, so that a few are a fair choice.
    pub fn edges(&self) -> Vec<DateTime<Utc>> {
        let today = self.end.date_naive();
        let mut starts = Vec::new();
        for back in 0..6_u8 {
            starts.push(hour_of(self.end) - TimeDelta::hours(back.into()));
            if back < 3 {
                starts.push(midnight(today - TimeDelta::days(back.into())));
                starts.push(week_of(self.end) - TimeDelta::weeks(back.into()));
                starts.push(month_of(self.end) - Months::new(back.into()));
            }
        }
        let mut edges = Vec::new();
        for start in starts {
            if start > self.start && !edges.contains(&start) {
                edges.push(start);
                edges.push(start - TimeDelta::milliseconds(1));
            }
        }
        edges
    }
}

/// A timestamp as the platform writes it: `2026-03-01T23:59:59.999Z`.
pub fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The start of the hour an instant lies in.
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::milliseconds(at.timestamp_millis().rem_euclid(3_600_000))
}

/// The start of the day an instant lies in.
pub fn day_of(at: DateTime<Utc>) -> DateTime<Utc> {
    midnight(at.date_naive())
}

/// The start of the ISO week an instant lies in.
pub fn week_of(at: DateTime<Utc>) -> DateTime<Utc> {
    midnight(at.date_naive().week(Weekday::Mon).first_day())
}

/// The start of the month an instant lies in.
pub fn month_of(at: DateTime<Utc>) -> DateTime<Utc> {
    midnight(at.date_naive() - TimeDelta::days(i64::from(at.day0())))
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}
