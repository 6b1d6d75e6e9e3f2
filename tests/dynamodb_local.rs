//! The engine on AWS's DynamoDB Local: the same suite as on dynoxide.
//!
//! Run with `cargo xtask test`, which starts DynamoDB Local and says where it is.

// On wasm only tests/wasm.rs runs.
#![cfg(not(target_arch = "wasm32"))]

mod support;

use support::{database::Backend, engine_suite, history_suite};

engine_suite!(Backend::DynamoDbLocal);
rollup_suite!(Backend::DynamoDbLocal);
catch_up_suite!(Backend::DynamoDbLocal);
source_suite!(Backend::DynamoDbLocal);

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_every_hour_is_exact() {
    engine_suite::every_metric_of_every_hour(Backend::DynamoDbLocal, 150, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seventy_days_of_trouble_leave_nothing_wrong() {
    history_suite::seventy_days_leave_nothing_wrong(Backend::DynamoDbLocal).await;
}
