//! What the surroundings hand in: the time, waiting, randomness and a place for log lines.
//!
//! Nothing else in the crate has a clock, a timer or a generator of its own, so the same code runs
//! in the Workers runtime, in native tests and under a simulated clock.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use chrono::{DateTime, Utc};

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod workers;

#[cfg(not(target_arch = "wasm32"))]
pub use native::NativeHost;
#[cfg(target_arch = "wasm32")]
pub use workers::{WorkersBackground, WorkersCache, WorkersHost};

/// A boxed future that can move between threads, as axum's handlers must.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// Something went wrong that somebody should look at.
    Error,
}

/// The surroundings of the code: a Worker, a native process, or a test.
pub trait Host: Send + Sync {
    /// The current time, to the millisecond.
    fn now(&self) -> DateTime<Utc>;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// 128 bits nobody can guess.
    ///
    /// # Errors
    ///
    /// When the platform's generator fails.
    fn random(&self) -> Result<u128, RandomnessError>;

    /// Writes one structured line to the log. The caller keeps secrets out of it.
    fn log(&self, severity: Severity, line: &serde_json::Value);
}

/// Work that goes on after the answer.
pub trait Background: Send + Sync {
    /// Sees to it that `work` is done, and returns at once.
    fn run(&self, work: BoxFuture<'static, ()>);
}

/// The edge cache for responses. What is put may be there later, or not.
pub trait ResponseCache: Send + Sync {
    /// The answer that was put under `key`, as a stream: it is passed on as it arrives, whatever its
    /// size.
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Body>, String>>;

    /// Keeps an answer, given in chunks, for at most `lifetime`.
    fn put(
        &self,
        key: &str,
        answer: Vec<Bytes>,
        lifetime: Duration,
    ) -> BoxFuture<'static, Result<(), String>>;
}

/// A host that several parts share.
pub type SharedHost = Arc<dyn Host>;

/// The platform's random number generator failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the platform's random number generator failed: {0}")]
pub struct RandomnessError(String);

fn random_bits() -> Result<u128, RandomnessError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| RandomnessError(error.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}
