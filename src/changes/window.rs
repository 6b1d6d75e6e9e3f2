//! The hand-off in one window: the first sums, from a read of all rows while the platform writes.
//!
//! A read takes time, so its rows are of no common instant, and each may or may not have the changes
//! that were made meanwhile. So: note the positions; read the rows; wait for what the stream publishes
//! late; read the stream. Then drop every row whose key occurs in that window of changes, and take its
//! last new image instead.
//!
//! A key that does not occur had one state during the whole window, and every read returned that state.
//! A key that does occur has the state of its last new image, whatever the reads returned: the old row,
//! the new one, both or none. So the sum is exact at the end of the window.
//!
//! It holds as long as the stream publishes a change within `publication_lag`, and no read is staler
//! than `read_lag`.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

/// What is assumed of the table and its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lags {
    /// How much later a change can be in the stream, and its shard be listed.
    pub publication_lag: TimeDelta,
    /// How stale a row can be that a read returns: nothing with consistent reads, an hour with those
    /// of an index.
    pub read_lag: TimeDelta,
}

impl Default for Lags {
    /// A minute, and reads of an index.
    fn default() -> Self {
        Self { publication_lag: TimeDelta::seconds(60), read_lag: TimeDelta::hours(1) }
    }
}

/// It is too early for the next step of a hand-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hand-off must wait until {until}")]
pub struct TooEarly {
    /// When it can be done.
    pub until: DateTime<Utc>,
}

/// A hand-off in one window. `C` is what an image contributes.
#[derive(Debug)]
pub struct OneWindow<C> {
    lags: Lags,
    noted: DateTime<Utc>,
    /// By item and source, so that a row that is returned twice is one.
    rows: HashMap<(u128, usize), C>,
    /// What the last new image contributes; `None` where the item was removed.
    changed: HashMap<u128, Option<C>>,
}

impl<C> OneWindow<C> {
    /// A hand-off whose positions were noted at `noted`.
    #[must_use]
    pub fn new(noted: DateTime<Utc>, lags: Lags) -> Self {
        Self { lags, noted, rows: HashMap::new(), changed: HashMap::new() }
    }

    /// Whether rows can be read at `now`: what a stale read returns must not be older than the
    /// positions.
    ///
    /// # Errors
    ///
    /// [`TooEarly`] if not.
    pub fn check_read(&self, now: DateTime<Utc>) -> Result<(), TooEarly> {
        check(now, self.noted + self.lags.read_lag)
    }

    /// Takes in a row: the item, the source that it was read from, and what it contributes there.
    pub fn row(&mut self, item: u128, source: usize, contribution: C) {
        // What has changed is known better.
        if !self.changed.contains_key(&item) {
            self.rows.insert((item, source), contribution);
        }
    }

    /// Takes in a change since the positions: what the new image contributes in all sources together.
    pub fn change(&mut self, item: u128, new: Option<C>) {
        self.changed.insert(item, new);
    }

    /// How many rows and changed items are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.changed.len()
    }

    /// Whether nothing is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the items contribute at the end of the window. The rows were read until `read_ended`, and
    /// the stream has been read up to `present`.
    ///
    /// # Errors
    ///
    /// [`TooEarly`] when the stream may not have published everything then.
    pub fn finish(
        self,
        read_ended: DateTime<Utc>,
        present: DateTime<Utc>,
    ) -> Result<(impl Iterator<Item = C>, Watch), TooEarly> {
        check(present, read_ended + self.lags.publication_lag)?;
        let Self { rows, changed, .. } = self;
        let changed_items: std::collections::HashSet<u128> = changed.keys().copied().collect();
        let rows = rows
            .into_iter()
            .filter(move |((item, _), _)| !changed_items.contains(item))
            .map(|(_, contribution)| contribution);
        Ok((rows.chain(changed.into_values().flatten()), Watch { read_ended }))
    }
}

pub(super) fn check(now: DateTime<Utc>, until: DateTime<Utc>) -> Result<(), TooEarly> {
    if now < until { Err(TooEarly { until }) } else { Ok(()) }
}

/// Notices that the stream published a change later than assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Watch {
    pub(super) read_ended: DateTime<Utc>,
}

impl Watch {
    /// Whether a change that came behind the window was committed before the rows had been read. Then
    /// it may be in the rows and counts twice: throw the sums away and begin again, with twice the
    /// `publication_lag`.
    #[must_use]
    pub fn is_breached_by(&self, committed: DateTime<Utc>) -> bool {
        committed <= self.read_ended
    }
}
