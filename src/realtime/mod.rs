//! The realtime counters: what the totals are now, what is new today and in the last 24 hours, who
//! was there in the last minutes. One snapshot of all of them, kept in a store that is quick to read
//! and may be a minute behind (Workers KV), made from the hourly records and what came since.
//!
//! How the counters are made is in `counting`, who may make them and when in `refreshing`.

mod counting;
mod refreshing;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    host::{BoxFuture, KvError},
    metrics::{
        period::{Granularity, Period, format_instant, parse_instant},
        retention::Retention,
    },
};

pub use counting::{Counted, count};
pub use refreshing::{
    DAILY_WRITES, FRESH_DISTANCE, Occasion, Outcome, REFRESH_DISTANCE, REQUESTED_DAILY_WRITES,
    Refresher,
};

/// How long a counter holds that every refresh makes anew: two ticks of five minutes.
pub const COUNTED_TTL: TimeDelta = TimeDelta::minutes(10);

/// How long a counter holds that comes from the hourly records alone: two hours.
pub const CARRIED_TTL: TimeDelta = TimeDelta::hours(2);

/// The version of the snapshot that we write and read. Of a counter in version 1 nobody knows how
/// old the records are that it was made from.
const SNAPSHOT_VERSION: u32 = 2;

/// One counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// Its name: a metric's, perhaps with the time it is counted for.
    pub metric_key: String,
    /// The value, as of `last_updated`.
    pub value: Json,
    /// What the value is as of: everything before this instant is in it.
    pub last_updated: String,
    /// For how many seconds after that it is no stale value.
    pub ttl: i64,
    /// The start of the earliest hour whose record is in it; absent where it is made from none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    earliest_hour: Option<String>,
}

impl Counter {
    fn new(metric_key: String, value: Json, as_of: DateTime<Utc>, ttl: TimeDelta) -> Self {
        let last_updated = format_instant(as_of);
        Self { metric_key, value, last_updated, ttl: ttl.num_seconds(), earliest_hour: None }
    }

    /// The same counter, made from records of which `hour` is the earliest.
    fn made_from(self, hour: Option<Period>) -> Self {
        Self { earliest_hour: hour.map(|hour| format_instant(hour.start())), ..self }
    }

    /// Whether a record that it is made from is past retention at `now`, so that it must not be
    /// shown either.
    fn has_ended(&self, retention: &Retention, now: DateTime<Utc>) -> bool {
        self.earliest_hour.as_deref().is_some_and(|start| {
            parse_instant(start)
                .map(|start| Period::containing(Granularity::Hourly, start))
                .is_none_or(|hour| retention.has_ended(hour, now))
        })
    }

    /// What the value is as of.
    #[must_use]
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        parse_instant(&self.last_updated)
    }

    /// How old the value is at `now`.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> TimeDelta {
        age(&self.last_updated, now)
    }
}

/// All counters as of one refresh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    version: u32,
    /// When the counters were made.
    pub refreshed_at: String,
    /// The counters, in the order of the catalogue.
    pub counters: Vec<Counter>,
}

impl Snapshot {
    fn new(refreshed_at: DateTime<Utc>, counters: Vec<Counter>) -> Self {
        let refreshed_at = format_instant(refreshed_at);
        Self { version: SNAPSHOT_VERSION, refreshed_at, counters }
    }

    /// Reads a stored snapshot; `None` if it is none of this version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // By way of a JSON value, as items are mapped: the code for that is there already.
        let value: Json = serde_json::from_str(text).ok()?;
        serde_json::from_value(value).ok().filter(|read: &Self| read.version == SNAPSHOT_VERSION)
    }

    /// The snapshot without what is past retention at `now`.
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

/// What cannot be read as an instant is as old as can be.
fn age(instant: &str, now: DateTime<Utc>) -> TimeDelta {
    parse_instant(instant).map_or(TimeDelta::MAX, |instant| (now - instant).max(TimeDelta::zero()))
}

/// Where the snapshot is kept. It may be a minute behind: what was put need not be there yet.
pub trait SnapshotStore: Send + Sync {
    /// The snapshot as it was put; `None` if there is none.
    fn get(&self) -> BoxFuture<'static, Result<Option<String>, KvError>>;

    /// Replaces the snapshot. At most once a second.
    fn put(&self, snapshot: String) -> BoxFuture<'static, Result<(), KvError>>;
}
