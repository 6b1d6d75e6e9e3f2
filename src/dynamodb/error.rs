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
        /// Why a transaction was cancelled; `None` where it was not, or where no reason is named.
        cancellation: Option<Cancellation>,
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
    /// An answer whose bytes do not have the checksum that DynamoDB sent with it.
    #[error(
        "the answer was damaged on its way: its {length} bytes do not have the checksum in \
         x-amz-crc32; check what lies between the Worker and DYNAMODB_ENDPOINT"
    )]
    Damaged {
        /// How many bytes were received.
        length: usize,
    },
    /// Part of a batch was still unprocessed when the deadline came.
    #[error("{0} entries of the batch were still unprocessed at the deadline")]
    Unprocessed(usize),
    /// The request could not be written or signed.
    #[error("the request could not be made ({0})")]
    InvalidRequest(String),
}

/// Why a transaction was cancelled.
///
/// Source: [`TransactWriteItems`, errors](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html#API_TransactWriteItems_Errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// At least one condition did not hold: the same transaction fails again.
    ConditionFailed,
    /// Only another request on the same items or a lack of capacity: the same transaction can succeed.
    Contention,
    /// Anything else, such as an item that is too large: the same transaction fails again.
    Refused,
}

impl Cancellation {
    /// What the codes of all `CancellationReasons` come to; `None` where none of them is a reason.
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
                Some(_) => Self::Refused,
            };
            if cancellation != Some(Self::Refused) {
                cancellation = Some(reason);
            }
        }
        cancellation
    }
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
            Self::Service { code, status, cancellation, .. } => {
                *status >= 500
                    || *status == 429
                    || RETRYABLE_CODES.contains(&code.as_str())
                    || *cancellation == Some(Cancellation::Contention)
            }
            // An answer may have been cut off on its way.
            Self::Connection(_)
            | Self::Timeout(_)
            | Self::Unprocessed(_)
            | Self::MalformedResponse(_)
            | Self::Damaged { .. } => true,
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

    /// Whether a transaction was cancelled because a condition did not hold. What it was based on has
    /// changed: read again before the next one.
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
