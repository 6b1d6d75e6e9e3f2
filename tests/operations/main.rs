//! The API for operators: runs, health, and metrics at the edges of time.
//!
//! Run with `cargo test --test operations`, or one file of it with `cargo test --test operations operations`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod operations;
