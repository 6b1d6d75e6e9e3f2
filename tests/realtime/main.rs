//! The realtime counters and the dashboard.
//!
//! Run with `cargo test --test realtime`, or one file of it with `cargo test --test realtime realtime`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod realtime;
