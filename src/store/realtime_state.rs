//! The state item of the realtime counters, `ANALYTICS_STATE` / `realtime`: its key and shape.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{Item, from_item, key},
    metrics::findings::Malformed,
};

/// What is wrong with the items that the counters are made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Quality {
    /// Items that were left out because they are malformed, by metric or counter.
    pub malformed: BTreeMap<String, Malformed>,
    /// Metrics and counters of which no item could be read in a part of the time that they are for,
    /// and why, without saying how many items there are.
    pub unreadable: BTreeMap<String, String>,
}

/// The sort key of the state item.
pub const STATE_NAME: &str = "realtime";

/// The state item's key.
#[must_use]
pub fn state_key() -> Item {
    key("ANALYTICS_STATE", STATE_NAME)
}

/// The item's attributes. Instants are milliseconds since 1970.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RealtimeState {
    pub(crate) lease_holder: Option<String>,
    pub(crate) lease_expires_at: i64,
    /// When a snapshot was last written, or was about to be.
    pub(crate) written_at: i64,
    pub(crate) writes_of: String,
    pub(crate) writes: u32,
    /// When a snapshot was last written successfully; when refreshing began, before the first one.
    pub(crate) refreshed_at: Option<i64>,
}

/// The names of all of [`RealtimeState`]'s attributes.
pub(crate) const ATTRIBUTES: [&str; 6] =
    ["leaseHolder", "leaseExpiresAt", "writtenAt", "writesOf", "writes", "refreshedAt"];

/// How far in the future a stored instant may lie: more than any lease, and than clocks are apart.
/// One that lies later would stop every refresh until then.
const FUTURE: TimeDelta = TimeDelta::minutes(10);

/// The item cannot be read, or says what cannot be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state of the realtime counters (ANALYTICS_STATE / realtime) cannot be read: {0}")]
pub struct RealtimeStateError(String);

impl RealtimeState {
    /// Reads the item; without one, nothing was refreshed yet.
    pub(crate) fn from_item(
        item: Option<Item>,
        now: DateTime<Utc>,
    ) -> Result<Self, RealtimeStateError> {
        let stored: Option<Self> = item
            .map(from_item)
            .transpose()
            .map_err(|error| RealtimeStateError(error.to_string()))?;
        let stored = stored.unwrap_or_default();
        let latest = (now + FUTURE).timestamp_millis();
        let refreshed_at = stored.refreshed_at.unwrap_or_default();
        for (name, instant) in [
            ("leaseExpiresAt", stored.lease_expires_at),
            ("writtenAt", stored.written_at),
            ("refreshedAt", refreshed_at),
        ] {
            if !(0..=latest).contains(&instant) {
                return Err(RealtimeStateError(format!(
                    "{name} is {instant}, which lies in the future or before 1970"
                )));
            }
        }
        Ok(stored)
    }
}

/// When the snapshot was last refreshed, by the state item as it was read at `now`; `None` before the
/// first refresh.
///
/// # Errors
///
/// When the item is damaged. The next refresh replaces it.
pub fn refreshed_at(
    item: Option<Item>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, RealtimeStateError> {
    let stored = RealtimeState::from_item(item, now)?;
    let millis = stored.refreshed_at.or((stored.written_at > 0).then_some(stored.written_at));
    Ok(millis.and_then(DateTime::from_timestamp_millis))
}

/// What is wrong with the items that the last refresh counted, by the state item; nothing before the
/// first one.
///
/// # Errors
///
/// When that part of the item is damaged. The next refresh replaces it.
pub fn quality(item: Option<Item>) -> Result<Quality, RealtimeStateError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct QualityAttribute {
        quality: Quality,
    }
    let part: Option<QualityAttribute> =
        item.map(from_item).transpose().map_err(|error| RealtimeStateError(error.to_string()))?;
    Ok(part.unwrap_or_default().quality)
}
