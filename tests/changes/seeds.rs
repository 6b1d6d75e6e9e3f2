//! Worlds at random, and how many of them came out how.

use crate::{
    random::{Random, mix},
    world::{SECOND, Settings},
};

/// How many seeds are run: `count`, times the number in the environment variable `SEEDS`.
pub fn seeds(count: u64) -> u64 {
    let factor = std::env::var("SEEDS").map_or(1, |factor| factor.parse().expect("SEEDS"));
    count * factor
}

/// Settings within what a reader has to bear. Nothing is removed from the stream.
pub fn settings(seed: u64) -> Settings {
    let mut random = Random::new(mix(seed ^ 0x5e77_1395));
    let publication_lag = random.time(30) * SECOND;
    Settings {
        items: 30 + random.below(60),
        partitions: 1 + random.below(3),
        write_within: 300 + random.time(1200),
        publication_lag,
        listing_lag: random.time(30) * SECOND,
        index_lag: 0,
        is_in_commit_order: random.chance(50),
        roll_within: (40 + random.time(260)) * SECOND,
        splits: random.below(30),
        empty_pages: random.below(70),
        expired_iterators: random.below(6),
        failed_calls: random.below(4),
        unlisted: 0,
        own_writes: random.below(30),
        ..Settings::default()
    }
}

/// How the worlds of some seeds came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub worlds: u32,
    pub exact: u32,
    /// A gap or a breach was noticed, so the sums were thrown away.
    pub noticed: u32,
    pub wrong: u32,
    pub writes: u64,
    pub calls: u64,
    /// Shards closed.
    pub rolls: u64,
}

impl Figures {
    pub fn print(&self, what: &str) {
        println!("{what}: {self:?}");
    }
}
