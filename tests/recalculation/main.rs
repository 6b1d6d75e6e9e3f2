//! Recalculation, through the API and the queue.
//!
//! Run with `cargo test --test recalculation`, or one file of it with `cargo test --test recalculation recalculation`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod recalculation;
