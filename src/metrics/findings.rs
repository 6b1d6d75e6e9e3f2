//! Findings about the items that were read: how many are malformed, and how many a source has.

use serde::{Deserialize, Serialize};

/// The rows that were left out of a metric because they are malformed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// The number of rows that concern the metric in its spans, including malformed ones.
    pub rows: u64,
    /// The number of malformed rows.
    pub malformed: u64,
}

/// How much of a source was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFindings {
    /// The number of items that were read.
    pub rows: u64,
    /// Whether its partitions were read whole; otherwise only the key ranges of some spans were.
    pub is_whole: bool,
}
