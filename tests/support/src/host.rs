//! A host for tests: the native one, with a clock that can be set and a log that is kept.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::host::{BoxFuture, Host, NativeHost, RandomnessError, Severity};
use serde_json::Value;

#[derive(Default)]
pub struct TestHost {
    ahead: Mutex<TimeDelta>,
    log: Mutex<Vec<(Severity, Value)>>,
}

impl TestHost {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A host whose clock shows `now` and goes on from there.
    pub fn at(now: DateTime<Utc>) -> Arc<Self> {
        let host = Self::new();
        host.set(now);
        host
    }

    /// Sets the clock.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.ahead.lock().unwrap() = now - NativeHost.now();
    }

    /// The log so far.
    pub fn lines(&self) -> Vec<(Severity, Value)> {
        self.log.lock().unwrap().clone()
    }
}

impl Host for TestHost {
    fn now(&self) -> DateTime<Utc> {
        // To the millisecond, as the Workers runtime has it.
        let now = NativeHost.now() + *self.ahead.lock().unwrap();
        DateTime::from_timestamp_millis(now.timestamp_millis()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        NativeHost.sleep(duration)
    }

    fn random(&self) -> Result<u128, RandomnessError> {
        NativeHost.random()
    }

    fn log(&self, severity: Severity, line: &Value) {
        self.log.lock().unwrap().push((severity, line.clone()));
    }
}
