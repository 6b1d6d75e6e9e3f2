//! The Worker end to end: the built package in the real Workers runtime (`wrangler dev`), over a
//! real DynamoDB, asked over HTTP.
//!
//! Run with `cargo xtask test`, which builds the packages and sets these variables:
//!
//! * `EDGE_ANALYTICS_PKG`: folder of the released package.
//! * `EDGE_ANALYTICS_FAULT_PKG`: folder of the package with the Cargo feature `fault-injection`.
//! * `EDGE_ANALYTICS_NODE`, `EDGE_ANALYTICS_WRANGLER`: node, and wrangler's JavaScript entry.
//! * `EDGE_ANALYTICS_DYNAMODB_LOCAL`: URL of DynamoDB Local; without it, dynoxide in this process.
//!
//! The tests share one Worker and one table, and go one after the other. What a Worker printed
//! during a test that fails is shown with the failure.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod access;
mod bad_input;
mod caches;
mod common;
mod metrics;
mod requests;
mod runs;
mod worker;
