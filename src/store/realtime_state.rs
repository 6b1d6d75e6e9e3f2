//! The state of the realtime counters: the item `ANALYTICS_STATE` / `realtime`.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    dynamodb::{Item, from_item, key},
    metrics::findings::Malformed,
};

/// The malformed items that the last refresh of the counters left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Quality {
    /// The number of malformed items, by metric or counter.
    pub malformed: BTreeMap<String, Malformed>,
    /// The metrics and counters without a value for a part of their time because all items in it
    /// are malformed, each with a sentence that does not have the number of items.
    pub unreadable: BTreeMap<String, String>,
}

/// The sort key of the state item.
pub const STATE_NAME: &str = "realtime";

/// The key of the state item.
#[must_use]
pub fn state_key() -> Item {
    key("ANALYTICS_STATE", STATE_NAME)
}

/// The attributes of the item. Instants are in milliseconds since 1970.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RealtimeState {
    pub(crate) lease_holder: Option<String>,
    pub(crate) lease_expires_at: i64,
    /// When a snapshot was last written, or may have been.
    pub(crate) written_at: i64,
    pub(crate) writes_of: String,
    pub(crate) writes: u32,
    /// When a snapshot was last written successfully; before that, when the first refresh started.
    pub(crate) refreshed_at: Option<i64>,
}

/// The names of all attributes of [`RealtimeState`].
pub(crate) const ATTRIBUTES: [&str; 6] =
    ["leaseHolder", "leaseExpiresAt", "writtenAt", "writesOf", "writes", "refreshedAt"];

/// How far in the future a stored instant may lie: more than the lease and the difference of
/// clocks. A later one would stop every refresh until then.
const FUTURE: TimeDelta = TimeDelta::minutes(10);

/// The item is damaged: it cannot be read, or has an impossible value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state of the realtime counters (ANALYTICS_STATE / realtime) is damaged: {0}")]
pub struct RealtimeStateError(String);

impl RealtimeState {
    /// Reads the item. Without an item, there was no refresh yet.
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
                    "`{name}` is {instant}, which is in the future or before 1970"
                )));
            }
        }
        Ok(stored)
    }
}

/// When the snapshot was last refreshed, from the state item as it was read at `now`; `None` before
/// the first refresh.
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

/// The malformed items that the last refresh left out, from the state item; none before the first
/// refresh.
///
/// # Errors
///
/// When this attribute of the item is damaged. The next refresh replaces it.
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
