//! Parts of a record: what the rollup to coarser periods needs and readers do not, such as
//! sketches, the sum and count of a mean, and the tail of a ranking.
//!
//! They are stored in one binary attribute, `parts`: the JSON object of all parts by metric name, compressed
//! as a [zlib](https://www.rfc-editor.org/rfc/rfc1950) stream.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::metrics::{ranking::Ranking, sketch::Distinct};

/// The default level of zlib.
pub(crate) const COMPRESSION_LEVEL: u8 = 6;

/// An item has at most 400 KB. Parts that unpack to more than this are damaged.
const MAXIMUM_UNPACKED_BYTES: usize = 8 * 1024 * 1024;

/// The part of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// A set of distinct values.
    Distinct {
        /// The sketch in the binary format of `DataSketches`, as base64.
        hll: String,
    },
    /// The sum and count of a mean.
    Average {
        /// The exact sum, as a decimal.
        sum: String,
        /// The number of values.
        count: u64,
    },
    /// The targets of a ranking.
    Targets(Ranking),
    /// In records of older builds: the stock that the scheduled run of the period found; `None` if
    /// only a later run computed it. Not written any more.
    Stock(Option<String>),
}

/// All parts of a record, by metric name.
pub type Parts = BTreeMap<String, Part>;

/// A record's parts could not be packed or unpacked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("attribute `parts` of a record is damaged: {0}")]
pub struct PartError(String);

impl PartError {
    /// The error of a part that is damaged for this reason.
    #[must_use]
    pub fn new(cause: &impl ToString) -> Self {
        Self(cause.to_string())
    }
}

impl Part {
    /// The part of a set of distinct values.
    #[must_use]
    pub fn distinct(set: &Distinct) -> Self {
        Self::Distinct { hll: STANDARD.encode(set.to_bytes()) }
    }

    /// The part of a mean of `count` values with this sum.
    #[must_use]
    pub fn average(sum: Decimal, count: u64) -> Self {
        Self::Average { sum: sum.normalize().to_string(), count }
    }

    /// The set of distinct values; `None` for a part of another kind.
    ///
    /// # Errors
    ///
    /// When the sketch is damaged.
    pub fn as_distinct(&self) -> Result<Option<Distinct>, PartError> {
        let Self::Distinct { hll } = self else { return Ok(None) };
        let bytes = STANDARD.decode(hll).map_err(|error| PartError(error.to_string()))?;
        let set = Distinct::from_bytes(&bytes).map_err(|error| PartError(error.to_string()))?;
        Ok(Some(set))
    }
}

/// Packs parts into the binary attribute.
///
/// # Errors
///
/// When they cannot be written as JSON.
pub fn pack(parts: &Parts) -> Result<Vec<u8>, PartError> {
    let json = serde_json::to_vec(parts).map_err(|error| PartError(error.to_string()))?;
    Ok(compress_to_vec_zlib(&json, COMPRESSION_LEVEL))
}

/// Unpacks the parts in the binary attribute.
///
/// # Errors
///
/// When the bytes are not what [`pack`] writes.
pub fn unpack(bytes: &[u8]) -> Result<Parts, PartError> {
    let json = decompress_to_vec_zlib_with_limit(bytes, MAXIMUM_UNPACKED_BYTES)
        .map_err(|error| PartError(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| PartError(error.to_string()))
}
