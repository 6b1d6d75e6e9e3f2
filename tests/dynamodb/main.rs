//! The DynamoDB client and the runs over it when DynamoDB fails.
//!
//! Run with `cargo test --test dynamodb`, or one file of it with `cargo test --test dynamodb common`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod client;
mod common;
mod runs;
mod writes;
