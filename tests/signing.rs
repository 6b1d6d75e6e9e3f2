//! Signing is held to AWS's published vectors, on the host; `tests/wasm.rs` does it on wasm.
//!
//! Run with `cargo test --test signing`.

// On wasm only tests/wasm.rs runs.
#![cfg(not(target_arch = "wasm32"))]

#[path = "support/signing_vectors.rs"]
mod signing_vectors;

#[test]
fn signatures_are_those_of_awss_vectors() {
    signing_vectors::check();
}
