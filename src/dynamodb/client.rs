//! Sending operations: one HTTP request an attempt, retries inside a deadline, every page of a
//! query, every entry of a batch, and the consumed capacity added up.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use crc::{CRC_32_ISO_HDLC, Crc};
use futures_util::future::{Either, select};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_dynamo::Item;

use super::{
    error::{Cancellation, Error, ErrorKind},
    operations::{
        BatchGetItem, BatchWriteItem, GetItem, KeysAndAttributes, Operation, Query, QueryPage,
        Read, WriteRequest,
    },
    signing::{Credentials, sign},
    table_name::short_name,
    usage::{ConsumedCapacities, UsageMeter},
};
use crate::host::{BoxFuture, SharedHost};

/// Where DynamoDB is and who asks.
#[derive(Debug, Clone)]
pub struct Connection {
    /// AWS's region, for example `eu-central-1`; part of the signature.
    pub region: String,
    /// The endpoint's URL.
    pub endpoint: String,
    /// The access key.
    pub credentials: Credentials,
}

/// How long to try and how long to wait in between: exponential backoff with full jitter, as in
/// [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The bound of the first wait; it doubles with every attempt.
    pub base: Duration,
    /// The greatest bound of a wait.
    pub cap: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// When to give up, from the first attempt.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    /// 50 ms doubling up to 5 s, 10 s an attempt, 30 s in all: a throttled index recovers within
    /// seconds, and an admin's request does not hang for minutes.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(50),
            cap: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
        }
    }
}

/// The longest text of AWS's that an error keeps.
const MAXIMUM_MESSAGE_CHARACTERS: usize = 300;

/// A client of one DynamoDB endpoint. Clones share the connection pool and the usage meter.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    connection: Arc<Connection>,
    host: SharedHost,
    policy: RetryPolicy,
    meter: UsageMeter,
}

struct RawResponse {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// The CRC-32 of the body as DynamoDB sent it, in decimal.
const CHECKSUM: &str = "x-amz-crc32";

const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

impl RawResponse {
    /// Whether the body is not the one that DynamoDB computed the checksum of.
    fn is_damaged(&self) -> bool {
        let Some(checksum) = self.headers.get(CHECKSUM) else { return false };
        let checksum = checksum.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
        self.is_as_sent() && checksum != Some(CRC_32.checksum(&self.body))
    }

    /// Whether the body's bytes are those that were on the wire, which are the ones with the checksum.
    ///
    /// A Worker's `fetch` asks for compressed answers by itself, decodes them, and leaves
    /// `content-encoding` as it was: the compressed bytes cannot be had. Should a proxy take that
    /// header away where it decodes, the length no longer agrees or is gone. DynamoDB always sends the
    /// length; without it nothing is known, and a good answer must not be refused.
    fn is_as_sent(&self) -> bool {
        let is_encoded = self
            .headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
        let length = self.headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok());
        !is_encoded && length.and_then(|text| text.trim().parse().ok()) == Some(self.body.len())
    }
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

    /// The same client, giving up after `patience` if that is sooner than it would.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        let policy = RetryPolicy {
            attempt_timeout: self.policy.attempt_timeout.min(patience),
            deadline: self.policy.deadline.min(patience),
            ..self.policy
        };
        Self { policy, ..self.clone() }
    }

    /// What this client and its clones have consumed.
    #[must_use]
    pub fn meter(&self) -> &UsageMeter {
        &self.meter
    }

    /// Sends one operation; retries what can be retried until the deadline.
    ///
    /// # Errors
    ///
    /// [`Error`] with the last attempt's failure.
    pub async fn send<O: Operation + Sync>(&self, operation: &O) -> Result<O::Response, Error> {
        self.send_until(operation, self.host.now() + self.policy.deadline).await
    }

    async fn send_until<O: Operation + Sync>(
        &self,
        operation: &O,
        deadline: DateTime<Utc>,
    ) -> Result<O::Response, Error> {
        let failed = |kind, attempts| Error {
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

    /// Waits before attempt number `attempts + 1`; false if the deadline would have passed.
    async fn back_off(&self, attempts: u32, deadline: DateTime<Utc>) -> bool {
        let bound = self
            .policy
            .base
            .saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX))
            .min(self.policy.cap);
        // Without randomness the wait is the whole bound: slower, never wrong.
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
        let answer = self.exchange(request);
        let timer = self.host.sleep(self.policy.attempt_timeout);
        let response = match select(answer, timer).await {
            Either::Left((response, _)) => response?,
            Either::Right(((), _)) => {
                return Err(ErrorKind::Timeout(self.policy.attempt_timeout.as_millis()));
            }
        };
        if response.is_damaged() {
            return Err(ErrorKind::Damaged { length: response.body.len() });
        }
        if !(200..300).contains(&response.status) {
            return Err(service_error(&response));
        }
        let malformed = |error: serde_json::Error| ErrorKind::MalformedResponse(error.to_string());
        let consumed: Consumed = serde_json::from_slice(&response.body).map_err(malformed)?;
        let is_metered = consumed.consumed_capacity.is_some();
        if let Some(capacity) = consumed.consumed_capacity {
            self.meter.add(|usage| capacity.add_to(usage, O::WRITES));
        }
        let response = serde_json::from_slice(&response.body).map_err(malformed)?;
        let lacks_capacity = !is_metered && operation.is_known_by_capacity(&response);
        let lack = lacks_capacity.then_some("ConsumedCapacity is missing");
        match lack.or_else(|| operation.lacks(&response)) {
            None => Ok(response),
            Some(what) => Err(ErrorKind::MalformedResponse(what.to_owned())),
        }
    }

    fn signed_request(
        &self,
        operation: &str,
        body: &str,
    ) -> Result<http::Request<String>, ErrorKind> {
        let invalid = |error: http::Error| ErrorKind::InvalidRequest(error.to_string());
        let mut request = http::Request::post(&self.connection.endpoint)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .body(body.to_owned())
            .map_err(invalid)?;
        let Connection { credentials, region, .. } = self.connection.as_ref();
        sign(&mut request, credentials, region, "dynamodb", self.host.now())?;
        Ok(request)
    }

    /// One HTTP exchange, whole.
    fn exchange(
        &self,
        request: http::Request<String>,
    ) -> BoxFuture<'static, Result<RawResponse, ErrorKind>> {
        let http = self.http.clone();
        let exchange = async move {
            // The URL goes out of the error, lest an endpoint with credentials in it reach a log.
            let broken = |error: reqwest::Error| {
                ErrorKind::Connection(innermost_cause(&error.without_url()))
            };
            let (parts, body) = request.into_parts();
            let response = http
                .request(parts.method, parts.uri.to_string())
                .headers(parts.headers)
                .body(body)
                .send()
                .await
                .map_err(broken)?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = response.bytes().await.map_err(broken)?.to_vec();
            Ok(RawResponse { status, headers, body })
        };
        #[cfg(target_arch = "wasm32")]
        let exchange = send_wrapper::SendWrapper::new(exchange);
        Box::pin(exchange)
    }

    /// Reads one item by its key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`].
    pub async fn get(&self, table: &str, key: Item, read: Read) -> Result<Option<Item>, Error> {
        Ok(self.send(&GetItem::new(table, key, read)).await?.item)
    }

    /// Reads every page of `query`, also behind an empty page, and hands each to `on_page`.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`]; pages that came before it have been handed over.
    pub async fn query_pages(
        &self,
        query: &Query,
        mut on_page: impl FnMut(Vec<Item>) + Send,
    ) -> Result<(), Error> {
        self.pages(query, None, |page| {
            on_page(page);
            ControlFlow::Continue(())
        })
        .await
    }

    /// Reads pages of at most `page_size` items of `query` and hands each to `on_page`, until that
    /// has seen enough. What lies behind it is not read.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::query_pages`].
    pub async fn query_until(
        &self,
        query: &Query,
        page_size: u32,
        on_page: impl FnMut(Vec<Item>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        self.pages(query, Some(page_size), on_page).await
    }

    async fn pages(
        &self,
        query: &Query,
        limit: Option<u32>,
        mut on_page: impl FnMut(Vec<Item>) -> ControlFlow<()> + Send,
    ) -> Result<(), Error> {
        let mut page = QueryPage { query, exclusive_start_key: None, limit };
        loop {
            let response = self.send(&page).await?;
            self.meter.add(|usage| usage.pages += 1);
            let enough = on_page(response.items).is_break();
            // An empty key is no place to go on from.
            page.exclusive_start_key = response.last_evaluated_key.filter(|key| !key.is_empty());
            if enough || page.exclusive_start_key.is_none() {
                return Ok(());
            }
        }
    }

    /// The first item of `query`, if there is one, in one small request.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`].
    pub async fn first(&self, query: &Query) -> Result<Option<Item>, Error> {
        let page = QueryPage { query, exclusive_start_key: None, limit: Some(1) };
        let response = self.send(&page).await?;
        self.meter.add(|usage| usage.pages += 1);
        Ok(response.items.into_iter().next())
    }

    /// All items of `query`.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`].
    pub async fn query(&self, query: &Query) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        self.query_pages(query, |page| items.extend(page)).await?;
        Ok(items)
    }

    /// Reads the items at `keys`, any number of them; those that do not exist are left out, and
    /// the order is DynamoDB's.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`], or [`ErrorKind::Unprocessed`].
    pub async fn batch_get(
        &self,
        table: &str,
        keys: Vec<Item>,
        read: Read,
    ) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BatchGetItem::MAXIMUM_KEYS) {
            let wanted = KeysAndAttributes {
                keys: chunk.to_vec(),
                consistent_read: read == Read::Consistent,
            };
            let mut request = BatchGetItem::new(HashMap::from([(table.to_owned(), wanted)]));
            let deadline = self.host.now() + self.policy.deadline;
            let mut attempts = 0;
            loop {
                attempts += 1;
                let response = self.send_until(&request, deadline).await?;
                items.extend(response.responses.into_values().flatten());
                let left = response.unprocessed_keys.values().map(|keys| keys.keys.len()).sum();
                if left == 0 {
                    break;
                }
                request = BatchGetItem::new(response.unprocessed_keys);
                if !self.back_off(attempts, deadline).await {
                    self.note_failure(&ErrorKind::Unprocessed(left));
                    return Err(unprocessed(&request, left, attempts));
                }
            }
        }
        Ok(items)
    }

    /// Writes `entries`, any number of them, without conditions.
    ///
    /// # Errors
    ///
    /// [`Error`] as for [`Client::send`], or [`ErrorKind::Unprocessed`]; entries before it are
    /// written.
    pub async fn batch_write(&self, table: &str, entries: Vec<WriteRequest>) -> Result<(), Error> {
        for chunk in entries.chunks(BatchWriteItem::MAXIMUM_ENTRIES) {
            let mut request =
                BatchWriteItem::new(HashMap::from([(table.to_owned(), chunk.to_vec())]));
            let deadline = self.host.now() + self.policy.deadline;
            let mut attempts = 0;
            loop {
                attempts += 1;
                let response = self.send_until(&request, deadline).await?;
                let left = response.unprocessed_items.values().map(Vec::len).sum();
                if left == 0 {
                    break;
                }
                request = BatchWriteItem::new(response.unprocessed_items);
                if !self.back_off(attempts, deadline).await {
                    self.note_failure(&ErrorKind::Unprocessed(left));
                    return Err(unprocessed(&request, left, attempts));
                }
            }
        }
        Ok(())
    }
}

/// What an operation is on, for error messages: without the account and the region of an ARN.
fn target_of<O: Operation>(operation: &O) -> String {
    short_name(&operation.target()).to_owned()
}

fn unprocessed<O: Operation>(request: &O, left: usize, attempts: u32) -> Error {
    Error {
        operation: O::NAME,
        target: target_of(request),
        attempts,
        kind: ErrorKind::Unprocessed(left),
    }
}

fn service_error(response: &RawResponse) -> ErrorKind {
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
        #[serde(default, rename = "CancellationReasons")]
        reasons: Vec<Reason>,
    }

    #[derive(Deserialize)]
    struct Reason {
        #[serde(rename = "Code")]
        code: Option<String>,
    }

    let status = response.status;
    // An answer that is not DynamoDB's (a proxy's page, say) has a status and nothing else.
    let body = serde_json::from_slice(&response.body).unwrap_or(Body::default());
    let code = body.code.map_or_else(
        || format!("HTTP{status}"),
        |code| code.rsplit('#').next().unwrap_or(&code).to_owned(),
    );
    let message = body.message.unwrap_or_default();
    let cancellation = Cancellation::of(body.reasons.iter().map(|reason| reason.code.as_deref()));
    ErrorKind::Service {
        code,
        status,
        message: message.chars().take(MAXIMUM_MESSAGE_CHARACTERS).collect(),
        cancellation,
    }
}

fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().take(MAXIMUM_MESSAGE_CHARACTERS).collect()
}
