//! The host of a Worker: the runtime's clock and timer, log lines on the console.

use std::time::Duration;

use chrono::{DateTime, Utc};
use send_wrapper::SendWrapper;

use super::{BoxFuture, Host, RandomnessError, Severity, random_bits};

/// The host of a Worker. Its clock stands still between two input or output operations, as the
/// Workers runtime's does.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkersHost;

impl Host for WorkersHost {
    fn now(&self) -> DateTime<Utc> {
        let milliseconds = worker::Date::now().as_millis();
        i64::try_from(milliseconds)
            .ok()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SendWrapper::new(async move {
            worker::Delay::from(duration).await;
        }))
    }

    fn random(&self) -> Result<u128, RandomnessError> {
        random_bits()
    }

    fn log(&self, severity: Severity, line: &serde_json::Value) {
        let line = line.to_string();
        match severity {
            Severity::Info => worker::console_log!("{line}"),
            Severity::Error => worker::console_error!("{line}"),
        }
    }
}
