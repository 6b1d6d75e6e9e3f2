//! The admin API, through its router over a real DynamoDB (dynoxide, in this process).
//!
//! Run with `cargo test --test api`, or one file of it with `cargo test --test api api`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod api;
mod sessions;
