//! The API for operators: runs, health, and metrics at the edges of time.
//!
//! Run with `cargo test --test operations`, or one file of it with `cargo test --test operations data_quality`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod common;
mod data_quality;
mod health;
mod health_states;
mod jobs;
mod ledger;
mod retention;
mod runs;
mod runs_rejections;
