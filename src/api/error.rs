//! Errors of the API: one type that knows its status, its stable text and what to do about it.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};

use crate::{
    dynamodb::DynamoDbError, host::RandomnessError, settings::Misconfigured,
    store::stored_state::StateError,
};

use super::json_response;

const NOT_FOUND: &str = "The paths of the API start with /api/admin/analytics; see docs/api.md";

const UNKNOWN_JOB: &str =
    "Use the jobId from the response to POST /recalculate; a job is kept for 90 days";

const UNSUPPORTED_MEDIA_TYPE: &str =
    "Send the fields as a JSON object with the header Content-Type: application/json";

const IN_THE_LOG: &str = "The reason is in the log of the Worker, under the id of this request";

/// Why a request was not answered with data.
#[derive(Debug, Clone)]
pub enum ApiError {
    /// The request is invalid.
    BadRequest {
        /// The stable text.
        error: String,
        /// What to do about it.
        message: String,
        /// The parameter, and what else helps.
        details: Json,
    },
    /// No credentials, or none that are valid.
    Unauthorized,
    /// A valid user who is not an administrator.
    Forbidden,
    /// There is nothing at this path.
    NotFound,
    /// There is no recalculation with this id.
    UnknownJob,
    /// The `Content-Type` of the body is not JSON.
    UnsupportedMediaType,
    /// The body is too large.
    BodyTooLarge {
        /// The limit in bytes.
        maximum: usize,
    },
    /// A service other than DynamoDB failed, or all permits are taken. With the cause for the log.
    Unavailable(String),
    /// The path does not support this method.
    MethodNotAllowed,
    /// Variables, secrets or bindings are missing or malformed.
    Misconfigured(Misconfigured),
    /// The runs do not keep up, or their state cannot be read.
    Failing {
        /// Why.
        message: String,
        /// The health of the runs.
        details: Json,
        /// The cause for the log, if the response does not have it.
        cause: Option<String>,
    },
    /// DynamoDB failed.
    Database(DynamoDbError),
    /// Any other failure that the operator has to fix. With the cause for the log.
    Internal(String),
}

/// The cause of a failed request, for the log.
#[derive(Debug, Clone)]
pub struct Cause(pub String);

impl ApiError {
    /// A wrong request, with what it concerns in `details`.
    pub fn bad_request(
        error: impl Into<String>,
        message: impl Into<String>,
        details: Json,
    ) -> Self {
        Self::BadRequest { error: error.into(), message: message.into(), details }
    }

    /// That the run state is damaged, with what to do about it.
    #[must_use]
    pub fn damaged_state(error: &StateError) -> Self {
        Self::Failing { message: error.to_string(), details: Json::Null, cause: None }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownJob => StatusCode::NOT_FOUND,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable(_) | Self::Failing { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Database(error) if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured(_) | Self::Database(_) | Self::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// The stable text, what to do about it, and details.
    fn texts(&self) -> (&str, Cow<'_, str>, Option<Json>) {
        match self {
            Self::BadRequest { error, message, details } => {
                (error, message.into(), Some(details.clone()))
            }
            Self::Unauthorized => (
                "Authentication required",
                "Send an API token or the id of an administrator's session as a bearer token, or \
                 sign in on the platform"
                    .into(),
                None,
            ),
            Self::Forbidden => (
                "Administrator required",
                "Sign in as a user with the role admin, or use an API token".into(),
                None,
            ),
            Self::NotFound => ("Not found", NOT_FOUND.into(), None),
            Self::UnknownJob => ("Unknown recalculation", UNKNOWN_JOB.into(), None),
            Self::UnsupportedMediaType => {
                ("Content-Type must be application/json", UNSUPPORTED_MEDIA_TYPE.into(), None)
            }
            Self::BodyTooLarge { maximum } => (
                "Request body too large",
                format!("Send at most {maximum} bytes").into(),
                Some(json!({ "maximumBytes": maximum })),
            ),
            Self::Unavailable(_) => ("Service unavailable", "Try again in a moment".into(), None),
            Self::MethodNotAllowed => {
                ("Method not allowed", "Use a method that the Allow header lists".into(), None)
            }
            Self::Misconfigured(problems) => {
                let variables: Vec<_> = problems.0.iter().map(|problem| problem.variable).collect();
                let details = json!({ "variables": variables });
                ("misconfigured", problems.to_string().into(), Some(details))
            }
            Self::Failing { message, details, .. } => {
                ("failing", message.into(), Some(details.clone()))
            }
            Self::Database(error) => {
                let (text, message) = database_texts(error);
                (text, message.into(), error.code().map(|code| json!({ "code": code })))
            }
            Self::Internal(_) => ("Internal error", IN_THE_LOG.into(), None),
        }
    }

    /// What the log says, for errors that are not the caller's.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Misconfigured(problems) => Some(Cause(format!("misconfigured: {problems}"))),
            Self::Database(error) => Some(Cause(error.to_string())),
            Self::Internal(cause) | Self::Unavailable(cause) => Some(Cause(cause.clone())),
            Self::Failing { cause, .. } => cause.clone().map(Cause),
            _ => None,
        }
    }
}

/// The stable text of a failure of DynamoDB and what to do about it. AWS's own text is only in the log:
/// it names users and tables.
fn database_texts(error: &DynamoDbError) -> (&'static str, &'static str) {
    if error.is_retryable() {
        (
            "Database unavailable",
            "DynamoDB could not be reached or is overloaded; try again in a moment",
        )
    } else {
        (
            "Database error",
            "DynamoDB rejected the request; the reason is in the log of the Worker, under the id \
             of this request",
        )
    }
}

impl From<DynamoDbError> for ApiError {
    fn from(error: DynamoDbError) -> Self {
        Self::Database(error)
    }
}

impl From<RandomnessError> for ApiError {
    fn from(error: RandomnessError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (error, message, details) = self.texts();
        let body = json!({
            "success": false, "error": error, "message": message, "details": details,
        });
        let mut response = json_response(self.status(), &body);
        let headers = response.headers_mut();
        match &self {
            Self::Unauthorized => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"edge-analytics\""),
                );
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::Database(error) if error.is_retryable() => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        if let Some(cause) = self.cause() {
            response.extensions_mut().insert(cause);
        }
        response
    }
}
