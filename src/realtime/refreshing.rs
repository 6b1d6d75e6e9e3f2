//! Refreshing the snapshot: counting, storing, and one log line.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    SnapshotStore,
    counting::{CountedSnapshot, count},
    refresh_lease::{Permission, RefreshLease, RefreshTrigger},
    snapshot::Snapshot,
};
use crate::{
    dynamodb::{Client, DynamoDbError},
    host::{KvError, Severity, SharedHost},
    metrics::{
        catalogue::{Catalogue, definition::Rollup},
        ordered::Ordered,
    },
    store::realtime_state::Quality,
};

/// How a refresh ended.
#[derive(Debug, Clone)]
pub enum RefreshOutcome {
    /// The counters were computed.
    Counted(Snapshot),
    /// Another refresh is running.
    Held,
    /// The last refresh is too recent, or the writes of the day are used up.
    NotDue,
}

/// Computes the counters and stores their snapshot.
pub struct Refresher<'app> {
    /// The client of the platform's table.
    pub client: Client,
    /// Time, randomness, log.
    pub host: SharedHost,
    /// The platform's table.
    pub table: &'app str,
    /// The catalogue of metrics.
    pub catalogue: &'app Catalogue,
    /// The store of the snapshot.
    pub store: &'app dyn SnapshotStore,
}

/// What became of the write of the snapshot.
pub(super) enum SnapshotWrite {
    /// It was not tried: the lease does not allow it, or there is no snapshot.
    Skipped,
    /// Counting took longer than the lease allows writing.
    TooLate,
    /// The snapshot was stored.
    Stored { at: DateTime<Utc> },
    /// The store failed. It may have stored the snapshot nevertheless.
    Failed { at: DateTime<Utc>, error: KvError },
}

impl SnapshotWrite {
    /// When the store was written to, or may have been.
    pub(super) fn attempted_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Skipped | Self::TooLate => None,
            Self::Stored { at } | Self::Failed { at, .. } => Some(*at),
        }
    }

    fn problem(&self) -> Option<String> {
        match self {
            Self::Skipped | Self::Stored { .. } => None,
            Self::TooLate => Some(
                "counting took longer than the lease, so the snapshot was not stored".to_owned(),
            ),
            Self::Failed { error, .. } => Some(format!("the snapshot was not stored: {error}")),
        }
    }
}

/// A refresh that has ended, for its log line.
struct EndedRefresh {
    outcome: Result<RefreshOutcome, DynamoDbError>,
    problems: Vec<String>,
    quality: Quality,
}

impl Refresher<'_> {
    /// Computes the counters and stores them, unless another refresh is running or none is due.
    /// Writes one log line.
    ///
    /// # Errors
    ///
    /// When DynamoDB fails.
    pub async fn refresh(&self, trigger: RefreshTrigger) -> Result<RefreshOutcome, DynamoDbError> {
        let begun = self.host.now();
        let EndedRefresh { outcome, mut problems, quality } = self.try_refresh(trigger).await;
        let status = match &outcome {
            Ok(RefreshOutcome::Counted(_)) if problems.is_empty() => "complete",
            Ok(RefreshOutcome::Counted(_)) => "partial",
            Ok(RefreshOutcome::Held) => "held",
            Ok(RefreshOutcome::NotDue) => "not due",
            Err(error) => {
                problems.push(error.to_string());
                "failed"
            }
        };
        let usage = self.client.meter().total();
        let malformed: BTreeMap<&String, u64> =
            quality.malformed.iter().map(|(name, rows)| (name, rows.malformed)).ordered_map();
        let line = json!({
            "event": "realtime", "malformed": malformed, "occasion": trigger.name(),
            "status": status, "problems": problems,
            "requests": usage.requests, "pages": usage.pages,
            "readUnits": usage.read_units, "writeUnits": usage.write_units,
            "milliseconds": (self.host.now() - begun).num_milliseconds(),
        });
        let severity = if problems.is_empty() { Severity::Info } else { Severity::Error };
        self.host.log(severity, &line);
        outcome
    }

    async fn try_refresh(&self, trigger: RefreshTrigger) -> EndedRefresh {
        let (permission, mut problems) = self.acquire(trigger).await;
        let lease = match permission {
            Ok(Permission::Leased(lease)) => Some(lease),
            Ok(Permission::Unleased) => None,
            Ok(Permission::Skipped(outcome)) => {
                return EndedRefresh {
                    outcome: Ok(outcome),
                    problems,
                    quality: Quality::default(),
                };
            }
            Err(error) => {
                return EndedRefresh { outcome: Err(error), problems, quality: Quality::default() };
            }
        };
        let (snapshot, quality) = match self.count().await {
            Ok(counted) => {
                problems.extend(counted.problems);
                (Ok(counted.snapshot), Some(counted.quality))
            }
            Err(error) => (Err(error), None),
        };
        if let Some(lease) = lease {
            let write = match &snapshot {
                Ok(snapshot) => self.write(&lease, snapshot).await,
                Err(_) => SnapshotWrite::Skipped,
            };
            problems.extend(write.problem());
            problems.extend(self.release(&lease, &write, quality.as_ref()).await);
        }
        let outcome = snapshot.map(RefreshOutcome::Counted);
        EndedRefresh { outcome, problems, quality: quality.unwrap_or_default() }
    }

    async fn count(&self) -> Result<CountedSnapshot, DynamoDbError> {
        let at = self.host.now();
        let mut counted = count(&self.client, self.table, self.catalogue, at).await?;
        if let Err(error) = self.carry(&mut counted.snapshot).await {
            let problem = format!("totals of the stored snapshot were not carried over: {error}");
            counted.problems.push(problem);
        }
        Ok(counted)
    }

    /// Carries over totals without a record from the stored snapshot: their values are still right
    /// for the instant that they are as of. [`Snapshot::within`] removes them when the retention of
    /// their records ends.
    async fn carry(&self, snapshot: &mut Snapshot) -> Result<(), KvError> {
        let missing: Vec<&str> = self
            .catalogue
            .metrics()
            .iter()
            .filter(|metric| metric.rollup == Rollup::Last)
            .map(|metric| metric.name.as_str())
            .filter(|name| snapshot.counter(name).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let stored = self.store.get().await?;
        let stored = stored.as_deref().and_then(Snapshot::parse);
        let counters = stored.into_iter().flat_map(|stored| stored.counters);
        let carried = counters.filter(|counter| missing.contains(&counter.metric_key.as_str()));
        snapshot.counters.extend(carried);
        Ok(())
    }

    /// Stores the snapshot while the lease allows it.
    async fn write(&self, lease: &RefreshLease, snapshot: &Snapshot) -> SnapshotWrite {
        let Some(until) = lease.writes_until else { return SnapshotWrite::Skipped };
        if self.host.now() >= until {
            return SnapshotWrite::TooLate;
        }
        let written = match serde_json::to_string(snapshot) {
            Ok(text) => self.store.put(text).await,
            Err(error) => Err(KvError::Write(error.to_string())),
        };
        let at = self.host.now();
        match written {
            Ok(()) => SnapshotWrite::Stored { at },
            Err(error) => SnapshotWrite::Failed { at, error },
        }
    }
}
