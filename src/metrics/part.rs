//! What a record keeps besides its metrics, so that coarser periods can be made from it: sketches,
//! the parts of a mean, the tail of a ranking.
//!
//! Stored in one binary attribute, `parts`: the JSON object of all parts by metric name, compressed
//! as a [zlib](https://www.rfc-editor.org/rfc/rfc1950) stream.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::metrics::{ranking::Ranking, sketch::Distinct};

/// zlib's usual balance of size and time.
const COMPRESSION_LEVEL: u8 = 6;

/// A record is at most 400 KB; what unpacks to more than this was not written by us.
const MAXIMUM_UNPACKED_BYTES: usize = 8 * 1024 * 1024;

/// What one metric keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A set of distinct values.
    Distinct {
        /// Its sketch in DataSketches' binary format, as base64.
        hll: String,
    },
    /// The parts of a mean.
    Average {
        /// The exact sum, as a decimal.
        sum: String,
        /// The number of values.
        count: u64,
    },
    /// The targets of a ranking.
    Targets(Ranking),
    /// In records of older builds, which recomputed stocks later: the stock as the period's own run
    /// found it; `None` where only a later calculation has been there.
    Stock(Option<String>),
}

/// All parts of a record, by metric name.
pub type Parts = BTreeMap<String, Part>;

/// A record's parts could not be packed or unpacked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record's parts are damaged: {0}")]
pub struct PartError(String);

impl PartError {
    /// A part from which nothing can be made, for this reason.
    #[must_use]
    pub fn new(cause: &impl ToString) -> Self {
        Self(cause.to_string())
    }
}

impl Part {
    /// The part that keeps a set of distinct values.
    #[must_use]
    pub fn distinct(set: &Distinct) -> Self {
        Self::Distinct { hll: STANDARD.encode(set.to_bytes()) }
    }

    /// The part that keeps a mean.
    #[must_use]
    pub fn average(sum: Decimal, count: u64) -> Self {
        Self::Average { sum: sum.normalize().to_string(), count }
    }

    /// The set in it, if it keeps one.
    ///
    /// # Errors
    ///
    /// When the bytes are no set.
    pub fn as_distinct(&self) -> Result<Option<Distinct>, PartError> {
        let Self::Distinct { hll } = self else { return Ok(None) };
        let bytes = STANDARD.decode(hll).map_err(|error| PartError(error.to_string()))?;
        let set = Distinct::from_bytes(&bytes).map_err(|error| PartError(error.to_string()))?;
        Ok(Some(set))
    }
}

/// Packs parts for storage.
///
/// # Errors
///
/// When they cannot be written as JSON.
pub fn pack(parts: &Parts) -> Result<Vec<u8>, PartError> {
    let json = serde_json::to_vec(parts).map_err(|error| PartError(error.to_string()))?;
    Ok(compress_to_vec_zlib(&json, COMPRESSION_LEVEL))
}

/// Unpacks stored parts.
///
/// # Errors
///
/// When the bytes are not what [`pack`] writes.
pub fn unpack(bytes: &[u8]) -> Result<Parts, PartError> {
    let json = decompress_to_vec_zlib_with_limit(bytes, MAXIMUM_UNPACKED_BYTES)
        .map_err(|error| PartError(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| PartError(error.to_string()))
}
