//! Periods: hours, days, ISO weeks and months, always in UTC.
//!
//! ```
//! # use chrono::{DateTime, Utc};
//! # use edge_analytics::metrics::period::{Granularity, Period, Span, format_instant, parse_instant};
//! let at = |text: &str| parse_instant(text).unwrap();
//!
//! // A week belongs to no year: this one begins in 2024. A period ends with its last millisecond.
//! let week = Period::containing(Granularity::Weekly, at("2025-01-01T12:00:00Z"));
//! assert_eq!(format_instant(week.start()), "2024-12-30T00:00:00.000Z");
//! assert_eq!(format_instant(week.end()), "2025-01-05T23:59:59.999Z");
//!
//! // The month after January is February, whatever its length.
//! let january = Period::containing(Granularity::Monthly, at("2026-01-31T23:59:59.999Z"));
//! assert_eq!(format_instant(january.next().end()), "2026-02-28T23:59:59.999Z");
//!
//! // A time that is finer than a millisecond belongs to its millisecond. Other zones are converted.
//! let hour = Span::from(Period::containing(Granularity::Hourly, at("2026-03-01T11:00:00Z")));
//! assert!(hour.contains(at("2026-03-01T11:59:59.999500Z")));
//! assert!(hour.contains(at("2026-03-01T13:00:00+02:00")));
//! assert!(!hour.contains(at("2026-03-01T12:00:00Z")));
//!
//! // A time without a zone does not identify an instant.
//! assert_eq!(parse_instant("2026-03-01T12:00:00"), None);
//! ```

use std::fmt;

use chrono::{
    DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc,
};

/// The length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// A full hour.
    Hourly,
    /// A day, from 00:00.
    Daily,
    /// An ISO week, from Monday 00:00.
    Weekly,
    /// A month, from the 1st, 00:00.
    Monthly,
}

impl Granularity {
    /// Every granularity, finest first.
    pub const ALL: [Self; 4] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly];

    /// Its name in records and in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The granularity with this name; `None` if there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|granularity| granularity.name() == name)
    }

    /// The granularity of the runs that a cron expression in `wrangler.toml` starts; `None` for
    /// another expression. An event without an expression, which is triggered by hand, is hourly.
    #[must_use]
    pub fn from_cron(expression: &str) -> Option<Self> {
        match expression {
            "0 * * * *" | "" => Some(Self::Hourly),
            "5 0 * * *" => Some(Self::Daily),
            "10 0 * * MON" => Some(Self::Weekly),
            "15 0 1 * *" => Some(Self::Monthly),
            _ => None,
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One period: all instants from its start to its last millisecond, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    granularity: Granularity,
    start: DateTime<Utc>,
}

impl Period {
    /// The period that contains `instant`.
    #[must_use]
    pub fn containing(granularity: Granularity, instant: DateTime<Utc>) -> Self {
        let day = instant.date_naive();
        let start = match granularity {
            Granularity::Hourly => {
                let into_the_hour = instant.timestamp_millis().rem_euclid(3_600_000);
                let start = instant.timestamp_millis() - into_the_hour;
                return Self {
                    granularity,
                    start: DateTime::from_timestamp_millis(start).unwrap_or(instant),
                };
            }
            Granularity::Daily => day,
            Granularity::Weekly => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
            Granularity::Monthly => day.with_day(1).unwrap_or(day),
        };
        Self { granularity, start: midnight(start) }
    }

    /// The first period that starts at or after `instant`.
    #[must_use]
    pub fn starting_at_or_after(granularity: Granularity, instant: DateTime<Utc>) -> Self {
        let period = Self::containing(granularity, instant);
        if period.start == instant { period } else { period.next() }
    }

    /// Its granularity.
    #[must_use]
    pub fn granularity(self) -> Granularity {
        self.granularity
    }

    /// Its first instant: the record's `timestamp`.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        self.start
    }

    /// Its last millisecond: the record's `endTimestamp`.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        self.next().start - TimeDelta::milliseconds(1)
    }

    /// Whether it contains `instant`.
    #[must_use]
    pub fn contains(self, instant: DateTime<Utc>) -> bool {
        self.start <= instant && instant < self.next().start
    }

    /// The period after it.
    #[must_use]
    pub fn next(self) -> Self {
        let start = match self.granularity {
            Granularity::Hourly => self.start + TimeDelta::hours(1),
            Granularity::Daily => self.start + Days::new(1),
            Granularity::Weekly => self.start + Days::new(7),
            Granularity::Monthly => self.start + Months::new(1),
        };
        Self { start, ..self }
    }

    /// The number of periods from `earlier`, which must have the same granularity, to this one;
    /// negative if this one is earlier.
    #[must_use]
    pub fn periods_after(self, earlier: Self) -> i64 {
        let between = self.start - earlier.start;
        match self.granularity {
            Granularity::Hourly => between.num_hours(),
            Granularity::Daily => between.num_days(),
            Granularity::Weekly => between.num_weeks(),
            Granularity::Monthly => {
                let months =
                    |day: DateTime<Utc>| i64::from(day.year()) * 12 + i64::from(day.month0());
                months(self.start) - months(earlier.start)
            }
        }
    }

    /// The period before it.
    #[must_use]
    pub fn previous(self) -> Self {
        Self::containing(self.granularity, self.start - TimeDelta::milliseconds(1))
    }
}

/// A span of time from its first to its last millisecond, both included: a period, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first millisecond.
    pub start: DateTime<Utc>,
    /// The last millisecond. A span that ends before it starts is empty.
    pub end: DateTime<Utc>,
}

impl Span {
    /// All instants from `start` to before `end`.
    #[must_use]
    pub fn until(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self { start, end: end - TimeDelta::milliseconds(1) }
    }

    /// Whether it contains `instant`. A time that is finer than a millisecond belongs to its
    /// millisecond.
    #[must_use]
    pub fn contains(self, instant: DateTime<Utc>) -> bool {
        self.start <= instant && self.reaches(instant)
    }

    /// Whether `instant` is not after its end. A time that is finer than a millisecond belongs to
    /// its millisecond.
    #[must_use]
    pub fn reaches(self, instant: DateTime<Utc>) -> bool {
        instant < self.next()
    }

    /// Whether it contains no instant.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end < self.start
    }

    /// The first millisecond after it.
    #[must_use]
    pub fn next(self) -> DateTime<Utc> {
        self.end + TimeDelta::milliseconds(1)
    }
}

impl From<Period> for Span {
    fn from(period: Period) -> Self {
        Self { start: period.start(), end: period.end() }
    }
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    Utc.from_utc_datetime(&day.and_time(NaiveTime::MIN))
}

/// The instant as records and the API have it: in UTC, with milliseconds and `Z`, such as
/// `2026-03-01T23:59:59.000Z`. The order of such strings is that of their instants.
#[must_use]
pub fn format_instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Parses an instant in RFC 3339: a date, a time and a zone. `None` if it is anything else.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    // A leap second (`23:59:60`) is read as the last moment of its minute: chrono orders it before the
    // next minute, but its milliseconds since 1970 are those of the next minute.
    let nanosecond = instant.timestamp_subsec_nanos().min(999_999_999);
    DateTime::from_timestamp(instant.timestamp(), nanosecond)
}
