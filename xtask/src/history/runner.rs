//! Scheduled runs at simulated times.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    host::{BoxFuture, Host, NativeHost, RandomnessError, Severity},
    metrics::catalogue::Catalogue,
    run::Engine,
    store::ledger::Status,
};

use crate::{
    embedded_dynamodb::{EmbeddedDynamoDb, TABLE},
    error::{Error, Result},
    schedule::Event,
};

/// How long after its scheduled time an event arrives.
const LATENESS: TimeDelta = TimeDelta::seconds(2);

/// How often a run is tried.
const ATTEMPTS: u32 = 3;

/// Runs the engine at simulated times.
pub struct Runner {
    host: Arc<SimulatedHost>,
    engine: Engine,
}

impl Runner {
    /// Runs on `database`.
    pub fn new(database: &EmbeddedDynamoDb) -> Result<Self> {
        let host = Arc::new(SimulatedHost::default());
        let catalogue = Catalogue::embedded()
            .map_err(|error| Error::History { problem: format!("metrics.toml: {error}") })?;
        let client = database.client(host.clone());
        let engine = Engine::new(client, host.clone(), TABLE.to_owned(), catalogue);
        Ok(Self { host, engine })
    }

    /// Does the scheduled run of `event`, at its time.
    pub async fn run(&self, event: Event) -> Result<()> {
        let mut problem = String::new();
        // If the machine was suspended meanwhile, the run has lost its lease; the next attempt
        // succeeds.
        for _ in 0..ATTEMPTS {
            self.host.set(event.at + LATENESS);
            let report = self.engine.run(event.granularity, event.at).await;
            if report.status == Status::Complete && report.problems.is_empty() {
                return Ok(());
            }
            problem = serde_json::json!(report).to_string();
        }
        let Event { granularity, at } = event;
        Err(Error::History { problem: format!("the {granularity} run of {at} failed: {problem}") })
    }
}

/// A native host with a simulated clock, which runs on from the time that was set.
#[derive(Debug, Default)]
struct SimulatedHost {
    ahead: Mutex<TimeDelta>,
}

impl SimulatedHost {
    fn set(&self, now: DateTime<Utc>) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = now - NativeHost.now();
    }
}

impl Host for SimulatedHost {
    fn now(&self) -> DateTime<Utc> {
        NativeHost.now() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        NativeHost.sleep(duration)
    }

    fn random(&self) -> std::result::Result<u128, RandomnessError> {
        NativeHost.random()
    }

    fn log(&self, _severity: Severity, _line: &serde_json::Value) {
        // The report says what failed.
    }
}
