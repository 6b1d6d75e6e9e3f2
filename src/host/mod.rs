//! What the runtime provides: clock, timer, randomness, log, work after a response, edge cache.
//!
//! No other code has a clock, a timer or a generator of its own, so the same code runs in the Workers
//! runtime, in native tests and under a simulated clock.

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

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// An operator should look at it.
    Error,
}

/// The runtime: a Worker, a native process, or a test.
pub trait Host: Send + Sync {
    /// The current time, to the millisecond.
    fn now(&self) -> DateTime<Utc>;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// 128 random bits that cannot be guessed.
    ///
    /// # Errors
    ///
    /// When the random number generator of the runtime fails.
    fn random(&self) -> Result<u128, RandomnessError>;

    /// Writes one structured line to the log. `line` must not contain secrets.
    fn log(&self, severity: Severity, line: &serde_json::Value);
}

/// Work that goes on after the response. It belongs to one request.
pub trait Background: Send + Sync {
    /// Starts `work` and returns at once.
    fn run(&self, work: BoxFuture<'static, ()>);
}

/// The edge cache for responses. A response that was put can be gone at any time.
pub trait ResponseCache: Send + Sync {
    /// The response that was put under `key`, as a stream: it is passed on as it arrives, whatever its
    /// size.
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Body>, CacheError>>;

    /// Keeps a response, given in chunks, for at most `lifetime`.
    fn put(
        &self,
        key: &str,
        response: Vec<Bytes>,
        lifetime: Duration,
    ) -> BoxFuture<'static, Result<(), CacheError>>;
}

/// The edge cache for responses failed. A request is then answered without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// A read failed, with the reason of the runtime.
    #[error("could not read from the edge cache: {0}")]
    Read(String),
    /// A write failed, with the reason of the runtime.
    #[error("could not write to the edge cache: {0}")]
    Write(String),
}

/// Workers KV failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// A read failed, with the reason of the runtime.
    #[error("could not read from Workers KV: {0}")]
    Read(String),
    /// A write failed, with the reason of the runtime.
    #[error("could not write to Workers KV: {0}")]
    Write(String),
}

/// A shared host.
pub type SharedHost = Arc<dyn Host>;

/// The [`Background`] of one request.
pub type SharedBackground = Arc<dyn Background>;

/// The random number generator of the runtime failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the random number generator of the runtime failed: {0}")]
pub struct RandomnessError(String);

fn random_bits() -> Result<u128, RandomnessError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| RandomnessError(error.to_string()))?;
    Ok(u128::from_le_bytes(bytes))
}
