//! The realtime counters and the dashboard.
//!
//! Run with `cargo test --test realtime`, or one file of it with `cargo test --test realtime cost`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod common;
mod cost;
mod dashboard;
mod endpoint;
mod figures;
mod fresh;
mod state;
