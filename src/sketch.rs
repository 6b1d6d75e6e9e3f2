//! Counting distinct values so that counts of several periods can be merged without keeping the
//! values.
//!
//! Up to [`MAXIMUM_EXACT`] values a count is exact: it keeps a 64-bit hash of each (two of a
//! thousand values share one with a probability of 3 in 10^14). Beyond that it is an Apache
//! DataSketches [HyperLogLog](https://datasketches.apache.org/docs/HLL/HllSketches.html) of the
//! `HLL_4` kind with 2^14 buckets: sparse while it is small, about 8 KiB when full. Its values are
//! hashed as their UTF-8 bytes, as that library does it in its other languages, so that those read
//! and merge our sketches.

use std::collections::BTreeSet;

use datasketches::{
    hash::value::raw_bytes,
    hll::{HllSketch, HllType, HllUnion},
};
use sha2::{Digest, Sha256};

/// The base-two logarithm of the number of buckets.
const PRECISION: u8 = 14;

/// Up to this many values a count is exact: 8 bytes each, as much as the sketch that is kept besides.
pub const MAXIMUM_EXACT: usize = 1024;

/// A set of values, as far as is needed to count and to merge it.
#[derive(Debug, Clone)]
pub struct Distinct {
    /// The values' hashes, while there are few.
    hashes: Option<BTreeSet<u64>>,
    sketch: HllSketch,
}

/// A sketch could not be made or read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the sketch of distinct values failed: {0}")]
pub struct SketchError(String);

impl SketchError {
    fn new(error: &impl ToString) -> Self {
        Self(error.to_string())
    }
}

impl Distinct {
    /// The set of `values`.
    ///
    /// # Errors
    ///
    /// When the library refuses its parameters.
    pub fn of<'value>(values: impl IntoIterator<Item = &'value str>) -> Result<Self, SketchError> {
        let mut sketch =
            HllSketch::new(PRECISION, HllType::Hll4).map_err(|error| SketchError::new(&error))?;
        let mut hashes = Some(BTreeSet::new());
        for value in values {
            sketch.update(raw_bytes::from_str(value));
            if let Some(set) = &mut hashes {
                set.insert(hash(value));
            }
            hashes = hashes.filter(|set| set.len() <= MAXIMUM_EXACT);
        }
        Ok(Self { hashes, sketch })
    }

    /// All of `sets` in one.
    ///
    /// # Errors
    ///
    /// When the library refuses its parameters.
    pub fn merged(sets: &[Self]) -> Result<Self, SketchError> {
        let mut union = HllUnion::new(PRECISION).map_err(|error| SketchError::new(&error))?;
        for set in sets {
            union.update(&set.sketch);
        }
        let hashes: Option<Vec<_>> = sets.iter().map(|set| set.hashes.as_ref()).collect();
        let hashes = hashes
            .map(|hashes| hashes.into_iter().flatten().copied().collect::<BTreeSet<u64>>())
            .filter(|hashes| hashes.len() <= MAXIMUM_EXACT);
        Ok(Self { hashes, sketch: union.to_sketch(HllType::Hll4) })
    }

    /// The number of values: exact while there are few, else the sketch's estimate.
    #[must_use]
    pub fn count(&self) -> u64 {
        if let Some(hashes) = &self.hashes {
            return u64::try_from(hashes.len()).unwrap_or(u64::MAX);
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate is a number of values: positive and far below 2^53"
        )]
        let estimate = self.sketch.estimate().round() as u64;
        estimate
    }

    /// The sketch in the library's documented binary format.
    #[must_use]
    pub fn sketch_bytes(&self) -> Vec<u8> {
        self.sketch.serialize()
    }

    /// The hashes, eight bytes each, least first; empty where there are too many.
    #[must_use]
    pub fn hash_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flatten().flat_map(|hash| hash.to_be_bytes()).collect()
    }

    /// Reads what [`Self::sketch_bytes`] and [`Self::hash_bytes`] wrote; `hashes` is `None` where
    /// there were too many.
    ///
    /// # Errors
    ///
    /// When the bytes are not what they wrote.
    pub fn from_bytes(sketch: &[u8], hashes: Option<&[u8]>) -> Result<Self, SketchError> {
        let sketch = HllSketch::deserialize(sketch).map_err(|error| SketchError::new(&error))?;
        let hashes = hashes.map(|bytes| {
            let (chunks, rest) = bytes.as_chunks::<8>();
            let set = chunks.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect();
            rest.is_empty().then_some(set)
        });
        match hashes {
            Some(None) => Err(SketchError::new(&"hashes are of eight bytes each")),
            Some(hashes) => Ok(Self { hashes, sketch }),
            None => Ok(Self { hashes: None, sketch }),
        }
    }

    /// Whether the count is exact.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.hashes.is_some()
    }
}

fn hash(value: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(value.as_bytes()).into();
    digest.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(range: std::ops::Range<usize>) -> Vec<String> {
        range.map(|number| format!("value-{number}")).collect()
    }

    fn set(range: std::ops::Range<usize>) -> Distinct {
        Distinct::of(values(range).iter().map(String::as_str)).unwrap()
    }

    fn stored_and_read(set: &Distinct) -> Distinct {
        let hashes = set.hash_bytes();
        let hashes = set.is_exact().then_some(hashes.as_slice());
        Distinct::from_bytes(&set.sketch_bytes(), hashes).unwrap()
    }

    #[test]
    fn a_set_survives_being_written_and_read() {
        for size in [0, 1, 700, MAXIMUM_EXACT, MAXIMUM_EXACT + 1, 20_000] {
            let before = set(0..size);
            let after = stored_and_read(&before);
            assert_eq!(after.count(), before.count());
            assert_eq!(after.is_exact(), size <= MAXIMUM_EXACT);
        }
    }

    #[test]
    fn below_a_thousand_every_merged_count_is_exact() {
        // Overlapping sets whose union has exactly this many values.
        for size in (1..1000).step_by(37).chain([999, 1000]) {
            let parts = [set(0..size / 2 + 1), set(size / 3..size), set(0..1)];
            assert_eq!(Distinct::merged(&parts).unwrap().count(), u64::try_from(size).unwrap());
        }
    }

    /// Sets of 30,000 values that are merged from 24 overlapping parts, as a day is from its hours.
    /// The values differ by the set's number, so that the result is the same at every run.
    #[test]
    fn merged_counts_have_at_most_one_per_cent_relative_standard_error() {
        const SETS: u32 = 60;
        let mut squares = 0.0;
        for number in 0..SETS {
            let value = |index: u32| format!("set-{number}-value-{index}");
            let parts: Vec<Distinct> = (0..24)
                .map(|part| {
                    let values: Vec<String> = (part * 1200..(part + 2) * 1200).map(value).collect();
                    Distinct::of(values.iter().map(String::as_str)).unwrap()
                })
                .collect();
            let merged = Distinct::merged(&parts).unwrap();
            assert!(!merged.is_exact());
            let counted = f64::from(u32::try_from(merged.count()).unwrap());
            squares += (counted / 30_000.0 - 1.0).powi(2);
        }
        let error = (squares / f64::from(SETS)).sqrt();
        println!("relative standard error over {SETS} sets: {:.2} %", error * 100.0);
        assert!(error <= 0.01, "{error}");
    }

    #[test]
    fn a_small_set_is_small() {
        let set = Distinct::of(["192.0.2.1", "192.0.2.2"]).unwrap();
        assert!(set.sketch_bytes().len() + set.hash_bytes().len() < 64);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        assert!(Distinct::from_bytes(&[1, 2, 3], None).is_err());
        let sound = set(0..3);
        assert!(Distinct::from_bytes(&sound.sketch_bytes(), Some(&[1, 2, 3])).is_err());
    }
}
