//! The balance as it is stored: JSON, compressed as a zlib stream, as the parts of records are.

use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use serde::Deserialize;

use super::{Balance, BalanceError};
use crate::metrics::part::COMPRESSION_LEVEL;

/// The version of the format. Another one is not read.
pub(super) const VERSION: u32 = 1;

/// An item of DynamoDB has at most 400 KB, of which the rest leaves room to act.
const MAXIMUM_BALANCE_BYTES: usize = 300 * 1024;

/// What unpacks to more than this was not written by us.
const MAXIMUM_UNPACKED_BALANCE_BYTES: usize = 32 * 1024 * 1024;

impl Balance {
    /// Packs the balance for storage.
    ///
    /// # Errors
    ///
    /// [`BalanceError::TooLarge`] when it nears the limit of an item.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, BalanceError> {
        self.compact()?;
        let damaged = |error: serde_json::Error| BalanceError::Damaged(error.to_string());
        let json = serde_json::to_vec(self).map_err(damaged)?;
        let bytes = compress_to_vec_zlib(&json, COMPRESSION_LEVEL);
        if bytes.len() > MAXIMUM_BALANCE_BYTES {
            return Err(BalanceError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Unpacks a stored balance.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Version`] and [`BalanceError::Damaged`]: sums that are not understood whole are
    /// not understood at all.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BalanceError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }

        let json = decompress_to_vec_zlib_with_limit(bytes, MAXIMUM_UNPACKED_BALANCE_BYTES)
            .map_err(|error| BalanceError::Damaged(error.to_string()))?;
        let damaged = |error: serde_json::Error| BalanceError::Damaged(error.to_string());
        let Version { version: found } = serde_json::from_slice(&json).map_err(damaged)?;
        if found != VERSION {
            return Err(BalanceError::Version { found, expected: VERSION });
        }
        serde_json::from_slice(&json).map_err(damaged)
    }
}
