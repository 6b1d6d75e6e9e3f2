//! Waiting for another request of the same isolate.

use std::time::Duration;

use crate::host::Host;

/// How often a waiting request polls. It has a timer of its own: in the Workers runtime a request must
/// not be woken by another one.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How often it polls before it gives up: for ten seconds.
const MAXIMUM_POLLS: u32 = 200;

/// Polls until there is a value; `None` after ten seconds without one.
pub async fn wait_for<T>(host: &dyn Host, poll: impl Fn() -> Option<T>) -> Option<T> {
    for _ in 0..MAXIMUM_POLLS {
        if let Some(value) = poll() {
            return Some(value);
        }
        host.sleep(POLL_INTERVAL).await;
    }
    None
}
