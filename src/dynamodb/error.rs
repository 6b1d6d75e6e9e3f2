//! Errors of calls to DynamoDB, and whether a retry can succeed.
//!
//! Source: [DynamoDbError handling with DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html).

use super::signing::SigningError;

/// A call to DynamoDB failed. Never contains credentials, keys of items or the URL of the endpoint.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} on {target} failed{}: {kind}", attempts_text(*.attempts))]
pub struct DynamoDbError {
    /// The operation's name, for example `Query`.
    pub operation: &'static str,
    /// The table, and the index if there is one: `table` or `table/index`.
    pub target: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The failure of the last attempt.
    pub kind: ErrorKind,
}

fn attempts_text(attempts: u32) -> String {
    if attempts > 1 { format!(" after {attempts} attempts") } else { String::new() }
}

/// The failure of one attempt, or of a batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ErrorKind {
    /// DynamoDB responded with an error.
    #[error("{code} (HTTP {status}): {message}")]
    Service {
        /// AWS's code, for example `ThrottlingException`.
        code: String,
        /// The HTTP status.
        status: u16,
        /// The text of AWS, shortened.
        message: String,
        /// Why a transaction was cancelled; `None` if it was not, or if no reason is given.
        cancellation: Option<Cancellation>,
    },
    /// There is no connection, or it broke.
    #[error("the connection failed ({0}); check DYNAMODB_ENDPOINT and the network")]
    Connection(String),
    /// There was no response in time; the value is the limit in milliseconds.
    #[error("no response within {0} ms")]
    Timeout(u128),
    /// The response does not have the form that the API documents.
    #[error(
        "the response could not be parsed ({0}); check that DYNAMODB_ENDPOINT is an endpoint of \
         DynamoDB"
    )]
    MalformedResponse(String),
    /// The body of the response does not match the checksum in its headers.
    #[error(
        "the response was damaged in transit: its {length} bytes do not match the checksum in \
         x-amz-crc32; check the proxies between the Worker and DYNAMODB_ENDPOINT"
    )]
    Damaged {
        /// The number of bytes received.
        length: usize,
    },
    /// So many entries of a batch were still unprocessed at the deadline.
    #[error("{0} entries of the batch were still unprocessed at the deadline")]
    Unprocessed(usize),
    /// The request could not be serialized or signed.
    #[error("the request could not be created ({0})")]
    InvalidRequest(String),
}

/// Why a transaction was cancelled.
///
/// Source: [`TransactWriteItems`, errors](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// At least one condition did not hold. The same transaction fails again.
    ConditionFailed,
    /// Only conflicts with other requests or a lack of capacity. The same transaction can succeed
    /// later.
    Contention,
    /// Anything else, such as an item that is too large. The same transaction fails again.
    Rejected,
}

impl Cancellation {
    /// Combines the codes of all `CancellationReasons`; `None` if none of them is a reason.
    pub(super) fn of<'code>(codes: impl IntoIterator<Item = Option<&'code str>>) -> Option<Self> {
        let mut cancellation = None;
        for code in codes {
            let reason = match code {
                // The reason of an action that did not cancel the transaction.
                None | Some("None") => continue,
                Some("ConditionalCheckFailed") => return Some(Self::ConditionFailed),
                Some(
                    "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded",
                ) => Self::Contention,
                Some(_) => Self::Rejected,
            };
            if cancellation != Some(Self::Rejected) {
                cancellation = Some(reason);
            }
        }
        cancellation
    }
}

/// The error codes for which a retry can succeed, besides every HTTP status 429 and 5xx.
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
    /// Whether a retry can succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Service { code, status, cancellation, .. } => {
                *status >= 500
                    || *status == 429
                    || RETRYABLE_CODES.contains(&code.as_str())
                    || *cancellation == Some(Cancellation::Contention)
            }
            // Also a malformed response: it may have been truncated in transit.
            Self::Connection(_)
            | Self::Timeout(_)
            | Self::Unprocessed(_)
            | Self::MalformedResponse(_)
            | Self::Damaged { .. } => true,
            Self::InvalidRequest(_) => false,
        }
    }
}

impl DynamoDbError {
    /// The error code of DynamoDB's response; `None` for any other failure.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.kind {
            ErrorKind::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the same call can succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// Whether the operation's condition did not hold.
    #[must_use]
    pub fn is_condition_failure(&self) -> bool {
        self.code() == Some("ConditionalCheckFailedException")
    }

    /// Whether a transaction was cancelled because a condition did not hold: an item has changed
    /// since it was read, and must be read again first.
    #[must_use]
    pub fn is_cancelled_transaction(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Service { cancellation: Some(Cancellation::ConditionFailed), .. }
        )
    }
}

impl From<SigningError> for ErrorKind {
    fn from(error: SigningError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}
