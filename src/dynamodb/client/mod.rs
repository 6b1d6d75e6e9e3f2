//! Sending operations: one signed HTTP request for each attempt, retries until a deadline, and the
//! sum of the consumed capacity.
//!
//! `exchange` makes one HTTP request and checks its response, `reading` reads items and pages of
//! queries, `batches` sends batches until nothing is unprocessed.

mod batches;
mod exchange;
mod reading;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use serde::Deserialize;

use super::{
    error::{DynamoDbError, ErrorKind},
    operations::Operation,
    signing::Credentials,
    table_name::short_name,
    usage::{ConsumedCapacities, UsageMeter},
};
use crate::host::SharedHost;

/// The endpoint of DynamoDB and the credentials for it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The AWS region, such as `eu-central-1`, which is part of the signature.
    pub region: String,
    /// The endpoint's URL.
    pub endpoint: String,
    /// The access key.
    pub credentials: Credentials,
}

/// Time limits of an operation and the waits between its attempts: exponential backoff with full jitter,
/// see [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The upper bound of the first wait; it doubles with each attempt.
    pub base: Duration,
    /// The greatest upper bound of a wait.
    pub cap: Duration,
    /// The time limit of one attempt.
    pub attempt_timeout: Duration,
    /// The time limit of all attempts together, from the start of the first.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// Waits from 50 ms up to 5 s, 10 s for an attempt, 30 s in all: a throttled index recovers
    /// within seconds, and an admin's request does not hang for minutes.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
        }
    }
}

/// A client of one DynamoDB endpoint. Clones share the connection pool and the usage meter.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    connection: Arc<Connection>,
    host: SharedHost,
    policy: RetryPolicy,
    meter: UsageMeter,
}

impl Client {
    /// A client with the default retry policy.
    #[must_use]
    pub fn new(connection: Connection, host: SharedHost) -> Self {
        Self::with_policy(connection, host, RetryPolicy::default())
    }

    /// A client with a retry policy of its own.
    #[must_use]
    pub fn with_policy(connection: Connection, host: SharedHost, policy: RetryPolicy) -> Self {
        Self {
            http: reqwest::Client::new(),
            connection: Arc::new(connection),
            host,
            policy,
            meter: UsageMeter::default(),
        }
    }

    /// The same client with a usage meter of its own, starting at zero.
    #[must_use]
    pub fn with_own_meter(&self) -> Self {
        Self { meter: UsageMeter::default(), ..self.clone() }
    }

    /// The same client, with attempts and a deadline of at most `patience`.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let policy = RetryPolicy {
            attempt_timeout: self.policy.attempt_timeout.min(patience),
            deadline: self.policy.deadline.min(patience),
            ..self.policy
        };
        Self { policy, ..self.clone() }
    }

    /// The usage of this client and its clones.
    #[must_use]
    pub fn meter(&self) -> &UsageMeter {
        &self.meter
    }

    /// Sends one operation. Retries until the deadline what can succeed later.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] with the failure of the last attempt.
    pub async fn send<O: Operation + Sync>(
        &self,
        operation: &O,
    ) -> Result<O::Response, DynamoDbError> {
        self.send_until(operation, self.host.now() + self.policy.deadline).await
    }

    async fn send_until<O: Operation + Sync>(
        &self,
        operation: &O,
        deadline: DateTime<Utc>,
    ) -> Result<O::Response, DynamoDbError> {
        let failed = |kind, attempts| DynamoDbError {
            operation: O::NAME,
            target: target_of(operation),
            attempts,
            kind,
        };
        let body = operation
            .body()
            .map_err(|error| failed(ErrorKind::InvalidRequest(error.to_string()), 0))?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let kind = match self.attempt(operation, &body).await {
                Ok(response) => return Ok(response),
                Err(kind) => kind,
            };
            if !kind.is_retryable() || !self.back_off(attempts, deadline).await {
                self.note_failure(&kind);
                return Err(failed(kind, attempts));
            }
        }
    }

    fn note_failure(&self, kind: &ErrorKind) {
        if kind.is_retryable() {
            self.meter.note_unavailable();
        }
    }

    /// Waits before attempt `attempts + 1`; false, without a wait, if the deadline would pass.
    async fn back_off(&self, attempts: u32, deadline: DateTime<Utc>) -> bool {
        let bound = self
            .policy
            .base
            .saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX))
            .min(self.policy.cap);
        // Without randomness the wait is the whole bound, which is slower but correct.
        let milliseconds = bound.as_millis();
        let wait = self.host.random().map_or(milliseconds, |random| random % (milliseconds + 1));
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX));
        if self.host.now() + wait >= deadline {
            return false;
        }
        self.host.sleep(wait).await;
        true
    }

    async fn attempt<O: Operation>(
        &self,
        operation: &O,
        body: &str,
    ) -> Result<O::Response, ErrorKind> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Consumed {
            consumed_capacity: Option<ConsumedCapacities>,
        }

        self.meter.add(|usage| usage.requests += 1);
        let request = self.signed_request(O::NAME, body)?;
        let exchange = self.exchange(request);
        let timer = self.host.sleep(self.policy.attempt_timeout);
        let response = match select(exchange, timer).await {
            Either::Left((response, _)) => response?,
            Either::Right(((), _)) => {
                return Err(ErrorKind::Timeout(self.policy.attempt_timeout.as_millis()));
            }
        };
        let body = response.success()?;
        // The text can quote any part of the response.
        let malformed = |error: serde_json::Error| {
            ErrorKind::MalformedResponse(exchange::shortened(&error.to_string()))
        };
        let consumed: Consumed = serde_json::from_slice(body).map_err(malformed)?;
        let is_metered = consumed.consumed_capacity.is_some();
        if let Some(capacity) = consumed.consumed_capacity {
            self.meter.add(|usage| capacity.add_to(usage, O::WRITES));
        }
        let response = serde_json::from_slice(body).map_err(malformed)?;
        let lacks_capacity = !is_metered && operation.is_known_by_capacity(&response);
        let lack = lacks_capacity.then_some("ConsumedCapacity is missing");
        match lack.or_else(|| operation.lacks(&response)) {
            None => Ok(response),
            Some(what) => Err(ErrorKind::MalformedResponse(what.to_owned())),
        }
    }
}

/// The target of an operation for error messages: without the account and the region of an ARN.
fn target_of<O: Operation>(operation: &O) -> String {
    short_name(&operation.target()).to_owned()
}
