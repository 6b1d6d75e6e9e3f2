//! What reading showed of the items themselves: how many are malformed, how many a source has.

use serde::{Deserialize, Serialize};

/// How many rows of a metric were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Malformed {
    /// The rows that concern the metric in its spans, the malformed ones among them.
    pub rows: u64,
    /// Those that are malformed.
    pub malformed: u64,
}

/// What was read of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFindings {
    /// The items that were read.
    pub rows: u64,
    /// Whether its partitions were read whole, not only the key ranges of some spans.
    pub is_whole: bool,
}
