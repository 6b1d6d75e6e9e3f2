//! What the integration tests share: real tables, a host that records its log, an independent
//! computation of the metrics, faults.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "code of tests: it panics where a test fails, and its names say what there is"
)]

pub mod api;
pub mod backfill_suite;
pub mod backlog;
pub mod catalogue;
pub mod database;
pub mod engine_suite;
pub mod fault_proxy;
pub mod history_suite;
pub mod host;
pub mod ledger;
pub mod model;
pub mod oracle;
pub mod provenance;
pub mod queue;
pub mod realtime;
pub mod reckoning;
pub mod rollup_suite;
pub mod source_suite;
pub mod timeline;

#[cfg(test)]
mod oracle_tests;
