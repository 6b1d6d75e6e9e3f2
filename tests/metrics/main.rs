//! The domain, without a database.
//!
//! Run with `cargo test --test metrics`, or one file of it with `cargo test --test metrics periods`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod periods;
mod shipped_catalogue;
