//! The attributes of the lease in the state item of the hours.

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Item,
    metrics::period::Granularity,
    store::stored_state::{StateError, read_attribute},
};

use super::REQUEST;

/// The attributes of the lease.
#[derive(Debug, Default)]
pub(super) struct LeaseAttributes {
    pub(super) holder: String,
    pub(super) expires_at: i64,
    pub(super) task: String,
    pub(super) since: String,
    pub(super) attempt: u32,
    wanted_at: i64,
}

/// Whether the lease in the hours' state item can be understood.
///
/// # Errors
///
/// [`StateError`] that names the attribute that cannot.
pub fn check_lease(item: &Item) -> Result<(), StateError> {
    LeaseAttributes::from_item(Some(item)).map(|_| ())
}

impl LeaseAttributes {
    pub(super) fn from_item(item: Option<&Item>) -> Result<Self, StateError> {
        const TEXT: &str = "must be a string";
        const NUMBER: &str = "must be a whole number";
        let Some(item) = item else { return Ok(Self::default()) };
        let hours = Granularity::Hourly;
        Ok(Self {
            holder: read_attribute(hours, item, "leaseHolder", TEXT)?,
            expires_at: read_attribute(hours, item, "leaseExpiresAt", NUMBER)?,
            task: read_attribute(hours, item, "leaseTask", TEXT)?,
            since: read_attribute(hours, item, "leaseSince", TEXT)?,
            attempt: read_attribute(hours, item, "leaseAttempt", NUMBER)?,
            wanted_at: read_attribute(hours, item, "leaseWantedAt", NUMBER)?,
        })
    }

    /// Whether a scheduled hourly run waits for the lease.
    pub(super) fn is_wanted(&self, now: DateTime<Utc>) -> bool {
        self.wanted_at >= oldest_request(now)
    }

    /// Whether a run can take the lease, of an hour if it `is_scheduled`.
    pub(super) fn is_free(&self, is_scheduled: bool, now: DateTime<Utc>) -> bool {
        self.expires_at < now.timestamp_millis() && (is_scheduled || !self.is_wanted(now))
    }
}

/// A request from before this no longer counts.
pub(super) fn oldest_request(now: DateTime<Utc>) -> i64 {
    (now - REQUEST).timestamp_millis()
}
