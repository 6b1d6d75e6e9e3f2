//! Weeks and months of a platform under scheduled runs: what is stored equals an independent
//! computation, or is absent for a reason.
//!
//! Separate from `engine`: these tests keep every core busy for minutes, and those about leases
//! depend on real time.
//!
//! Run with `cargo test --test history`, or one file of it with `cargo test --test history seventy_days`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod seventy_days;
mod truth;
mod truth_model;
