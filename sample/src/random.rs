//! Seeded randomness in whole numbers, so that no machine's floating point can change a platform.

use chrono::TimeDelta;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of random choices.
pub struct Random(ChaCha8Rng);

impl Random {
    /// Streams of one seed are independent of each other: drawing more from one leaves the others
    /// as they are.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        source.set_stream(stream);
        Self(source)
    }

    /// A number in `0..limit`; 0 if `limit` is 0. The bias of the remainder is of no account here.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.next_u64() % limit.max(1)
    }

    /// A span of whole milliseconds, at most `longest`.
    pub fn span(&mut self, longest: TimeDelta) -> TimeDelta {
        let limit = longest.num_milliseconds().unsigned_abs() + 1;
        // Below what came from an i64, hence never too large for one.
        TimeDelta::milliseconds(i64::try_from(self.below(limit)).unwrap_or(0))
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index into `length` things (0 if there are none), all equally likely.
    pub fn index(&mut self, length: usize) -> usize {
        // Below `length`, hence never too large for a usize.
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// An index into `length` things: the smaller, the likelier, by far. This is what popularity
    /// looks like.
    pub fn skewed_index(&mut self, length: usize) -> usize {
        let mut limit = length;
        for _ in 0..3 {
            limit = self.index(limit) + 1;
        }
        limit - 1
    }

    /// One of `choices`, all equally likely.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    /// One of `choices`, each with its weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let mut left = self.below(choices.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left -= weight;
        }
        unreachable!("what is drawn lies below the sum of the weights")
    }

    /// An identifier in the form of a UUID.
    pub fn id(&mut self) -> String {
        let (high, low) = (self.0.next_u64(), self.0.next_u64());
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}
