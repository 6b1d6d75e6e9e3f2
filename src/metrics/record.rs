//! A record: all metrics of one type in one period, and what is known of its values.

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
    /// The metrics; one that is absent has no entry.
    pub metrics: Map<String, Json>,
    /// What coarser periods need besides.
    pub parts: Parts,
    /// When it was calculated: when the reading began.
    pub calculated_at: DateTime<Utc>,
    /// How many of the finer periods it is made from; an hour is made from the table.
    pub coverage: Option<Coverage>,
    /// The metrics whose values were computed later, from a table that has forgotten what was deleted
    /// or changed since; all others were observed.
    pub reconstructed: Reconstructed,
    /// Which maker made it. Two records that differ in nothing else say the same.
    pub made_by: MadeBy,
}

/// Metrics whose values were reconstructed, each with what the value is.
pub type Reconstructed = BTreeMap<String, Reconstruction>;

/// What a reconstructed value is. Of two, the greater is the weaker claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reconstruction {
    /// A count without a condition: short of what was deleted, never too large.
    LowerBound,
    /// A condition or an attribute may have changed since: it may be too small or too large.
    Estimate,
}

/// How many of the finer periods' records a record is made from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Those that were there.
    pub present: usize,
    /// Those that the period has.
    pub expected: usize,
}
