//! What can go wrong in a call to DynamoDB, and whether trying again can help.
//!
//! Source: [Error handling with DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).

use super::signing::SigningError;

/// A call to DynamoDB failed. Never holds credentials, keys of items or the endpoint's URL.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} on {target} failed{}: {kind}", attempts_text(*.attempts))]
pub struct Error {
    /// The operation's name, for example `Query`.
    pub operation: &'static str,
    /// The table, and the index where there is one: `table` or `table/index`.
    pub target: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What happened, at the last attempt.
    pub kind: ErrorKind,
}

fn attempts_text(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

/// What happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ErrorKind {
    /// DynamoDB answered with an error.
    #[error("{code} (HTTP {status}): {message}")]
    Service {
        /// AWS's code, for example `ThrottlingException`.
        code: String,
        /// The HTTP status.
        status: u16,
        /// AWS's text, cut to a bounded length.
        message: String,
        /// Whether one of the reasons of a cancelled transaction is a condition that did not hold or
        /// another transaction on the same items.
        /// Source: [`CancellationReason`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CancellationReason.html).
        is_conflict: bool,
    },
    /// No connection, or it broke.
    #[error("the connection failed ({0}); check DYNAMODB_ENDPOINT and the network")]
    Connection(String),
    /// No answer in time.
    #[error("no answer within {0} ms")]
    Timeout(u128),
    /// An answer that is not what the API promises.
    #[error("the answer was not understood ({0})")]
    MalformedResponse(String),
    /// Part of a batch was still unprocessed when the deadline came.
    #[error("{0} entries of the batch were still unprocessed at the deadline")]
    Unprocessed(usize),
    /// The request could not be written or signed.
    #[error("the request could not be made ({0})")]
    InvalidRequest(String),
}

/// AWS's codes for which another attempt can succeed, beyond every HTTP 5xx and 429.
const RETRYABLE_CODES: [&str; 9] = [
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionInProgressException",
    "TransactionConflictException",
    "ReplicatedWriteConflictException",
    "LimitExceededException",
];

impl ErrorKind {
    /// Whether another attempt can succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Service { code, status, .. } => {
                *status >= 500 || *status == 429 || RETRYABLE_CODES.contains(&code.as_str())
            }
            // An answer may have been cut off on its way.
            Self::Connection(_)
            | Self::Timeout(_)
            | Self::Unprocessed(_)
            | Self::MalformedResponse(_) => true,
            Self::InvalidRequest(_) => false,
        }
    }
}

impl Error {
    /// AWS's error code, if DynamoDB answered with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.kind {
            ErrorKind::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether calling again later can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// Whether the operation's condition did not hold.
    #[must_use]
    pub fn is_condition_failure(&self) -> bool {
        self.code() == Some("ConditionalCheckFailedException")
    }

    /// Whether a transaction was given up because a condition did not hold or another one was at work
    /// on the same items.
    #[must_use]
    pub fn is_cancelled_transaction(&self) -> bool {
        match &self.kind {
            ErrorKind::Service { code, is_conflict, .. } => {
                code == "TransactionCanceledException" && *is_conflict
            }
            _ => false,
        }
    }
}

impl From<SigningError> for ErrorKind {
    fn from(error: SigningError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}
