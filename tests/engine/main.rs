//! Scheduled runs on dynoxide, in this process: what they count and cost, what happens when they are
//! cut off or meet, and the run state between them.
//!
//! Run with `cargo test --test engine`, or one file of it with `cargo test --test engine exactness`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod exactness;
mod extremes;
mod kills;
mod leases;
mod run_state;
