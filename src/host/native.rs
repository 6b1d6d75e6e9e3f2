//! The host of a native process: the system's clock, tokio's timer, log lines on standard error.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{BoxFuture, Host, RandomnessError, Severity, random_bits};

/// The host of a native process. Needs a running tokio runtime for [`Host::sleep`].
#[derive(Debug, Clone, Copy, Default)]
pub struct NativeHost;

impl Host for NativeHost {
    fn now(&self) -> DateTime<Utc> {
        std::time::SystemTime::now().into()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> Result<u128, RandomnessError> {
        random_bits()
    }

    fn log(&self, _severity: Severity, line: &serde_json::Value) {
        eprintln!("{line}");
    }
}
