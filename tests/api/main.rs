//! The admin API, through its router over a real DynamoDB (dynoxide, in this process).
//!
//! Run with `cargo test --test api`, or one file of it with `cargo test --test api bad_input`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod authentication;
mod bad_input;
mod caching;
mod common;
mod freshness;
mod generated_input;
mod metrics;
mod outages;
mod pages;
mod requests;
mod session_endpoint;
mod sessions;
