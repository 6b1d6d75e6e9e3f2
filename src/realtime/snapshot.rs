//! The snapshot of all counters, as it is stored.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::metrics::{
    period::{Granularity, Period, format_instant, parse_instant},
    retention::Retention,
};

/// The time to live of a counter that every refresh computes: two refreshes, which are due every 5
/// minutes.
pub const COUNTED_TTL: TimeDelta = TimeDelta::minutes(10);

/// The time to live of a counter that is computed from hourly records alone.
pub const CARRIED_TTL: TimeDelta = TimeDelta::hours(2);

/// The version of the snapshot's format. Version 1 does not have the earliest record that a counter
/// is computed from, so its retention is not known.
const SNAPSHOT_VERSION: u32 = 2;

/// One counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// The name: that of a metric, for a flow with the time that it is counted for.
    pub metric_key: String,
    /// The value as of `last_updated`.
    pub value: Json,
    /// The instant that the value is as of: what happened before it is included.
    pub last_updated: String,
    /// The seconds after `last_updated` for which the value is current.
    pub ttl: i64,
    /// The start of the earliest hour whose record is included; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earliest_hour: Option<String>,
}

impl Counter {
    pub(super) fn new(
        metric_key: String,
        value: Json,
        as_of: DateTime<Utc>,
        ttl: TimeDelta,
    ) -> Self {
        let last_updated = format_instant(as_of);
        Self { metric_key, value, last_updated, ttl: ttl.num_seconds(), earliest_hour: None }
    }

    /// The same counter, computed from records of which that of `hour` is the earliest.
    pub(super) fn with_earliest_hour(self, hour: Option<Period>) -> Self {
        Self { earliest_hour: hour.map(|hour| format_instant(hour.start())), ..self }
    }

    /// Whether the retention of a record that is included has ended at `now`, so that the counter
    /// must not be shown either.
    fn has_ended(&self, retention: &Retention, now: DateTime<Utc>) -> bool {
        self.earliest_hour.as_deref().is_some_and(|start| {
            parse_instant(start)
                .map(|start| Period::containing(Granularity::Hourly, start))
                .is_none_or(|hour| retention.has_ended(hour, now))
        })
    }

    /// The instant that the value is as of; `None` if it is damaged.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        parse_instant(&self.last_updated)
    }

    /// The age of the value at `now`.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        age(&self.last_updated, now)
    }
}

/// All counters of one refresh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    version: u32,
    /// The instant of the refresh.
    pub refreshed_at: String,
    /// The counters, in the order of the catalogue.
    pub counters: Vec<Counter>,
}

impl Snapshot {
    pub(super) fn new(refreshed_at: DateTime<Utc>, counters: Vec<Counter>) -> Self {
        let refreshed_at = format_instant(refreshed_at);
        Self { version: SNAPSHOT_VERSION, refreshed_at, counters }
    }

    /// Parses a stored snapshot; `None` if it is damaged or has another version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // By way of a JSON value, as items are mapped, because the package has the code for that
        // anyway.
        let value: Json = serde_json::from_str(text).ok()?;
        serde_json::from_value(value).ok().filter(|read: &Self| read.version == SNAPSHOT_VERSION)
    }

    /// The snapshot without the counters whose retention has ended at `now`.
    #[must_use]
    pub fn within(mut self, retention: &Retention, now: DateTime<Utc>) -> Self {
        self.counters.retain(|counter| !counter.has_ended(retention, now));
        self
    }

    /// Whether a refresh is due at `now`.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        age(&self.refreshed_at, now) > COUNTED_TTL
    }

    /// The counter of this name.
    #[must_use]
    pub fn counter(&self, metric_key: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.metric_key == metric_key)
    }
}

/// The age of an instant at `now`, not below 0; the greatest age if it is damaged.
fn age(instant: &str, now: DateTime<Utc>) -> TimeDelta {
    parse_instant(instant).map_or(TimeDelta::MAX, |instant| (now - instant).max(TimeDelta::zero()))
}
