//! The domain: what a metric is, over which periods it is computed, how rows become values, how finer
//! values become coarser ones, and which value stays.
//!
//! It knows the form of a DynamoDB item (`serde_dynamo`), and nothing of requests, storage or Workers.

pub mod amount;
pub mod catalogue;
pub mod delta;
pub mod expiry;
pub mod findings;
pub mod fold;
pub mod key_range;
pub mod maker;
pub mod numbers;
pub(crate) mod ordered;
pub mod part;
pub mod period;
pub(crate) mod provenance;
pub mod ranking;
pub mod record;
pub mod retention;
pub mod rollup;
pub(crate) mod row;
pub mod sketch;
pub mod summary;
