//! Recalculation, through the API and the queue.
//!
//! Run with `cargo test --test recalculation`, or one file of it with `cargo test --test recalculation common`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod caching;
mod common;
mod jobs;
mod outages;
mod priority;
mod requests;
mod values;
