//! Sketches of distinct values: sets that can be counted and merged without keeping the values.
//!
//! A sketch is an Apache `DataSketches` [HyperLogLog](https://datasketches.apache.org/docs/HLL/HllSketches.html)
//! of the kind `HLL_4` with 2^14 buckets: sparse while it is small, about 8 KiB when full. Values are hashed
//! as their UTF-8 bytes, as that library does in its other languages, so that those can read and merge
//! the sketches. A sparse sketch keeps 32 bits of the hash of each value, so its count is exact unless two
//! values share them. Longer hashes would make small counts more certain, but would reveal which addresses
//! they are of.
//!
//! The count of a full sketch has a relative standard error of at most 1 %.

use datasketches::{
    hash::value::raw_bytes,
    hll::{HllSketch, HllType, HllUnion},
};

/// The base-two logarithm of the number of buckets.
const PRECISION: u8 = 14;

/// The upper bound of an estimate: 2^53, above which doubles do not have all integers.
const MAXIMUM_ESTIMATE: f64 = 9_007_199_254_740_992.0;

/// A set of strings that can be counted and merged, but not listed.
///
/// ```
/// # use edge_analytics::metrics::sketch::Distinct;
/// let monday = Distinct::of(["192.0.2.1", "192.0.2.2"])?;
/// let tuesday = Distinct::of(["192.0.2.2", "192.0.2.3", "192.0.2.2"])?;
/// // Counts cannot be added, because the days share a value.
/// assert_eq!(Distinct::merged(&[monday.clone(), tuesday])?.count(), 3);
///
/// assert_eq!(Distinct::from_bytes(&monday.to_bytes())?.count(), 2);
/// assert!(Distinct::from_bytes(&[1, 2, 3]).is_err());
/// assert_eq!(Distinct::merged(&[])?.count(), 0);
/// # Ok::<(), edge_analytics::metrics::sketch::SketchError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Distinct(HllSketch);

/// A sketch could not be created or read, which happens only if it is damaged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a sketch of distinct values is damaged: {0}")]
pub struct SketchError(String);

impl Distinct {
    /// The set of `values`.
    ///
    /// # Errors
    ///
    /// When the library rejects its parameters.
    pub fn of<'value>(values: impl IntoIterator<Item = &'value str>) -> Result<Self, SketchError> {
        let mut sketch = HllSketch::new(PRECISION, HllType::Hll4)
            .map_err(|error| SketchError(error.to_string()))?;
        for value in values {
            sketch.update(raw_bytes::from_str(value));
        }
        Ok(Self(sketch))
    }

    /// The union of `sets`; empty if there are none.
    ///
    /// # Errors
    ///
    /// When the library rejects its parameters, or a damaged sketch makes the estimate impossible.
    pub fn merged(sets: &[Self]) -> Result<Self, SketchError> {
        let mut union = HllUnion::new(PRECISION).map_err(|error| SketchError(error.to_string()))?;
        for set in sets {
            union.update(&set.0);
        }
        Self::counted(union.to_sketch(HllType::Hll4))
    }

    /// The set, if its estimate is possible: that of a damaged sketch can be any number.
    fn counted(sketch: HllSketch) -> Result<Self, SketchError> {
        let estimate = sketch.estimate();
        if (0.0..MAXIMUM_ESTIMATE).contains(&estimate) {
            Ok(Self(sketch))
        } else {
            Err(SketchError(format!("its estimate is {estimate}")))
        }
    }

    /// The estimated number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sketch exists only if its estimate is positive and below 2^53"
        )]
        let estimate = self.0.estimate().round() as u64;
        estimate
    }

    /// The sketch in the documented binary format of the library.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// The sketch in bytes that [`Self::to_bytes`] returned.
    ///
    /// # Errors
    ///
    /// When the bytes are not a sketch of this precision.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SketchError> {
        check_header(bytes)?;
        let sketch =
            HllSketch::deserialize(bytes).map_err(|error| SketchError(error.to_string()))?;
        Self::counted(sketch)
    }
}

/// Rejects headers that the library accepts and then computes out of range with: all sketches have
/// one precision, and registers are at most 63, of which up to 15 are stored relative to the
/// smallest.
///
/// Source: [`PreambleUtil`](https://github.com/apache/datasketches-java/blob/master/src/main/java/org/apache/datasketches/hll/PreambleUtil.java).
fn check_header(bytes: &[u8]) -> Result<(), SketchError> {
    const ARRAY_MODE: u8 = 2;
    const GREATEST_MINIMUM: u8 = 63 - 15;
    let [_, _, _, precision, _, _, state, mode, ..] = bytes else {
        return Err(SketchError("its header is incomplete".to_owned()));
    };
    if *precision != PRECISION {
        return Err(SketchError(format!("its precision is {precision}, not {PRECISION}")));
    }
    if mode & 3 == ARRAY_MODE && *state > GREATEST_MINIMUM {
        return Err(SketchError(format!("its smallest register is {state}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_of(name: &str, range: std::ops::Range<u32>) -> Distinct {
        let values: Vec<String> = range.map(|index| format!("{name}-{index}")).collect();
        Distinct::of(values.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn a_set_survives_being_written_and_read() {
        for size in [0, 1, 700, 20_000] {
            let before = set_of("value", 0..size);
            assert_eq!(Distinct::from_bytes(&before.to_bytes()).unwrap().count(), before.count());
        }
    }

    /// Sets of 1 to 999 values, each merged from three overlapping parts. A value is lost only
    /// where two share 32 bits of their hash, which is rare: none of these sets loses one.
    #[test]
    fn below_a_thousand_merged_counts_are_exact_but_for_collisions() {
        let mut sets = 0;
        let mut wrong = 0;
        for size in (1..1000).step_by(7) {
            let name = format!("set-{size}");
            let parts = [
                set_of(&name, 0..size / 2 + 1),
                set_of(&name, size / 3..size),
                set_of(&name, 0..1),
            ];
            let count = Distinct::merged(&parts).unwrap().count();
            assert!(u64::from(size).abs_diff(count) <= 1, "{count} of {size}");
            sets += 1;
            wrong += u32::from(count != u64::from(size));
        }
        println!("{wrong} of {sets} sets are off by one");
        assert!(wrong * 100 <= sets, "{wrong} of {sets}");
    }

    /// Sets of 30,000 values that are merged from 24 overlapping parts, as a day is from its hours.
    /// The values differ by the set's number, so that the result is the same at every run.
    #[test]
    fn merged_counts_have_at_most_one_per_cent_relative_standard_error() {
        const SETS: u32 = 60;
        let mut squares = 0.0;
        for number in 0..SETS {
            let name = format!("set-{number}-value");
            let parts: Vec<Distinct> =
                (0..24).map(|part| set_of(&name, part * 1200..(part + 2) * 1200)).collect();
            let merged = Distinct::merged(&parts).unwrap();
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
        assert!(set.to_bytes().len() < 64);
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        assert!(Distinct::from_bytes(&[1, 2, 3]).is_err());
    }

    /// Every byte of sketches of every kind (a list, a set, registers) changed, and the end cut
    /// off: an error or a set that can be counted and merged, never a panic.
    #[test]
    fn damage_anywhere_is_an_error_or_a_set() {
        for size in [0, 3, 700, 20_000] {
            let whole = set_of("value", 0..size);
            let bytes = whole.to_bytes();
            let step = bytes.len().div_ceil(256);
            let places = (0..bytes.len().min(64)).chain((64..bytes.len()).step_by(step));
            for place in places {
                for mask in [0x01, 0x80, 0xff] {
                    let mut damaged = bytes.clone();
                    damaged[place] ^= mask;
                    use_set(&damaged, &whole);
                }
                use_set(&bytes[..place], &whole);
            }
        }
    }

    fn use_set(bytes: &[u8], other: &Distinct) {
        if let Ok(set) = Distinct::from_bytes(bytes) {
            let _ = set.count();
            if let Ok(merged) = Distinct::merged(&[set, other.clone()]) {
                assert!(merged.count() < 1 << 53);
            }
        }
    }
}
