//! What has to hold for any input of each parser of outside data: it does not panic, what it accepts
//! survives being written and read again, what it rejects is named, and its bounds hold.
//!
//! One function for each parser. libFuzzer calls them with inputs that it searches for
//! (`fuzz/fuzz_targets`); `tests/inputs.rs` calls them with seeds and mutations of them, on stable.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    reason = "code of tests: it panics where a check fails, and the names are those of the parsers"
)]

mod api;
mod catalogue;
mod dynamodb;
mod stored;

use std::sync::LazyLock;

use tokio::runtime::Runtime;

pub use api::{cursor, date, query_string};
pub use catalogue::catalogue;
pub use dynamodb::dynamodb_response;
pub use stored::{parts, queue_message, snapshot};

/// Runs what is asynchronous. It lives as long as the process, as the servers on it do.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime for the checks"));
