//! The realtime counters: totals as of now, flows of today and of the last 24 hours, and what was
//! seen in the last minutes. They are stored as one snapshot in a store that is fast to read and
//! eventually consistent (Workers KV), and are computed from the hourly records and the items since
//! then.
//!
//! `counting` computes the counters, `refreshing` stores them, `refresh_lease` decides when and by
//! whom.

mod counting;
mod refresh_lease;
mod refreshing;
mod snapshot;

use crate::host::{BoxFuture, KvError};

pub use counting::{CountedSnapshot, count};
pub use refresh_lease::{
    DAILY_WRITES, FRESH_DISTANCE, REFRESH_DISTANCE, REQUESTED_DAILY_WRITES, RefreshTrigger,
};
pub use refreshing::{RefreshOutcome, Refresher};
pub use snapshot::{CARRIED_TTL, COUNTED_TTL, Counter, Snapshot};

/// The store of the snapshot. It is eventually consistent: a read may return an earlier snapshot
/// for a minute after a write.
pub trait SnapshotStore: Send + Sync {
    /// The stored snapshot; `None` if there is none.
    fn get(&self) -> BoxFuture<'static, Result<Option<String>, KvError>>;

    /// Replaces the snapshot. Must not be called more than once a second.
    fn put(&self, snapshot: String) -> BoxFuture<'static, Result<(), KvError>>;
}
