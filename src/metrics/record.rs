//! A record: all metrics of one type in one period, and the provenance of their values.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{maker::MadeBy, part::Parts, period::Period};

/// One record: all metrics of one type in one period.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The metric type.
    pub metric_type: String,
    /// The period.
    pub period: Period,
    /// The values by metric. An absent metric has no entry.
    pub metrics: Map<String, Json>,
    /// The parts by metric, which the rollup to coarser periods needs besides the values.
    pub parts: Parts,
    /// When it was computed: the instant at which reading began.
    pub calculated_at: DateTime<Utc>,
    /// How many of its finer periods it was rolled up from; `None` if it was counted from items.
    pub coverage: Option<Coverage>,
    /// The metrics whose values are reconstructed: computed later, from a table that no longer has
    /// what was deleted or changed since. All other values are observed.
    pub reconstructed: Reconstructed,
    /// How it was computed. Records that differ only in this are the same.
    pub made_by: MadeBy,
}

/// The metrics whose values are reconstructed, each with its mark.
pub type Reconstructed = BTreeMap<String, Reconstruction>;

/// The mark of a reconstructed value. Of two marks, the greater one claims less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reconstruction {
    /// A count without a condition: too small by what was deleted, never too large.
    LowerBound,
    /// A condition or an attribute may have changed since: it may be too small or too large.
    Estimate,
}

/// How many finer periods a record was rolled up from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The number of finer periods with a record.
    pub present: usize,
    /// The number of finer periods in the period.
    pub expected: usize,
}
