//! The change engine against a simulated stream: shards that roll and split, changes that are published
//! late, empty pages, lists that lack shards, iterators that expire, records that are removed, calls
//! that fail, runs that are cut off or at work twice, streams that are replaced.
//!
//! Everything follows from a seed: there is no clock and no other randomness. A failure names its seed.
//!
//! Run with `cargo test --test changes -- --nocapture` for the figures; with `SEEDS=10` in the
//! environment for ten times as many worlds.

// On wasm only tests/wasm.rs runs.
#![cfg(not(target_arch = "wasm32"))]

mod engine;
mod gaps;
mod hand_off;
mod item;
mod kills;
mod lineage;
mod random;
mod seeds;
mod stream;
mod world;
mod wrong_ways;
