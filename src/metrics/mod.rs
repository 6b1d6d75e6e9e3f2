//! The domain: the catalogue of metrics, periods, folding rows into values, rollups, and which of
//! two values stays in a record.
//!
//! It uses the types of a DynamoDB item (`serde_dynamo`), but no requests, no storage and no
//! Workers. It has no clock and no randomness: both are passed in.

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
pub mod provenance;
pub mod ranking;
pub mod record;
pub mod retention;
pub mod rollup;
pub(crate) mod row;
pub mod sketch;
pub mod summary;
