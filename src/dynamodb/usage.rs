//! Usage of DynamoDB: requests, pages and capacity units.
//!
//! Source: [`ConsumedCapacity`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ConsumedCapacity.html).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// The usage of a client, or a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// HTTP requests sent, including retries.
    pub requests: u64,
    /// Pages of query results received.
    pub pages: u64,
    /// Read capacity units that DynamoDB reported.
    pub read_units: f64,
    /// Write capacity units that DynamoDB reported.
    pub write_units: f64,
}

impl Usage {
    /// The usage since `earlier`, an earlier total of the same meter.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            pages: self.pages - earlier.pages,
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            pages: self.pages + other.pages,
            read_units: self.read_units + other.read_units,
            write_units: self.write_units + other.write_units,
        }
    }
}

/// Sums usage; clones share one sum.
#[derive(Debug, Clone, Default)]
pub struct UsageMeter {
    usage: Arc<Mutex<Usage>>,
    unavailable: Arc<AtomicU64>,
}

impl UsageMeter {
    /// The sum so far.
    #[must_use]
    pub fn total(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of operations that failed after all attempts because DynamoDB was overloaded or
    /// unreachable. They can succeed later.
    #[must_use]
    pub fn unavailable(&self) -> u64 {
        self.unavailable.load(Ordering::Relaxed)
    }

    pub(super) fn note_unavailable(&self) {
        self.unavailable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add(&self, change: impl FnOnce(&mut Usage)) {
        change(&mut self.usage.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The `ConsumedCapacity` of one table in a response.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct ConsumedCapacity {
    #[serde(default, rename = "CapacityUnits")]
    total: f64,
    #[serde(rename = "ReadCapacityUnits")]
    read: Option<f64>,
    #[serde(rename = "WriteCapacityUnits")]
    write: Option<f64>,
}

/// Responses to batches and transactions have a list, others one entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum ConsumedCapacities {
    One(ConsumedCapacity),
    Many(Vec<ConsumedCapacity>),
}

impl ConsumedCapacities {
    /// Adds these units to `usage`. DynamoDB distinguishes read and write units only for
    /// transactions; for other operations `operation_writes` does.
    pub(super) fn add_to(&self, usage: &mut Usage, operation_writes: bool) {
        let entries = match self {
            Self::One(entry) => std::slice::from_ref(entry),
            Self::Many(entries) => entries,
        };
        for entry in entries {
            match (entry.read, entry.write) {
                (None, None) if operation_writes => usage.write_units += entry.total,
                (None, None) => usage.read_units += entry.total,
                (read, write) => {
                    usage.read_units += read.unwrap_or(0.0);
                    usage.write_units += write.unwrap_or(0.0);
                }
            }
        }
    }
}
