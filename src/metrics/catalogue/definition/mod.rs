//! The content of the catalogue: sources and metrics as data.
//!
//! The build script, which reads and checks `metrics.toml`, and the crate, which embeds the result,
//! share these types. They depend on nothing but serde.

mod measure;
mod metric;
mod rows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use measure::{Grouping, MAXIMUM_TARGETS, Measure, RowValue};
pub use metric::{Metric, Past, Rollup};
pub use rows::{Absent, Condition, Literal, Rows, Window};

/// The name that stands for all types together in the API, so that no type can have it.
pub const ALL_TYPES: &str = "all";

/// The whole content of `metrics.toml`, in its order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    /// The attribute that DynamoDB's time to live uses, in epoch seconds; `None` if the table has
    /// none.
    pub ttl: Option<String>,
    /// The metric types, in the order in which the API lists them.
    pub types: Vec<String>,
    /// Tables of amounts by the value of an attribute, such as prices by plan.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
    /// The sources, by name.
    pub sources: BTreeMap<String, Source>,
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// The realtime counters, besides the totals.
    pub realtime: Realtime,
}

/// The realtime counters that `[realtime]` lists. Every metric with `rollup = "last"` is a counter
/// as well.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Realtime {
    /// Metrics that are counted since midnight and in the last 24 hours.
    pub flows: Vec<String>,
    /// Metrics that the dashboard shows first.
    pub headlines: Vec<String>,
    /// Counters of what was seen in the last minutes.
    pub recent: Vec<Recent>,
}

/// A counter of distinct values in the rows that were seen in the last minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recent {
    /// The name of the counter.
    pub name: String,
    /// The source. Its sort key begins with the hour in which a row was seen.
    pub source: String,
    /// The attribute whose distinct values are counted.
    pub value: String,
    /// The attribute with the time at which a row was last seen.
    pub time: String,
    /// How many minutes count, from 1 to 1440.
    pub minutes: u32,
}

/// A set of rows: partitions of the table or of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The index; `None` means the table itself.
    pub index: Option<String>,
    /// The attributes with the partition key and the sort key there.
    pub keys: [String; 2],
    /// The partitions, in the order in which an item moves through them.
    pub partitions: Vec<String>,
    /// The attribute that is different in every item. Required with several partitions, so that an
    /// item that moves while they are read is counted once.
    pub identity: Option<String>,
    /// The time that the sort key begins with, if it begins with one.
    pub sort_key_time: Option<SortKeyTime>,
}

/// The time that a sort key begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKeyTime {
    /// The attribute that holds the same time.
    pub attribute: String,
    /// The format of the time in the sort key.
    pub format: SortKeyFormat,
}

/// The format of the time that a sort key begins with. It is in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortKeyFormat {
    /// `2026-03-01T23:59:59.999Z`, with seconds or any fraction of them.
    Instant,
    /// `2026-03-01T23`.
    Hour,
}
