//! `GET /session`: whether the caller is signed in, for a page that opens. It cannot read the
//! session's cookie, and a 401 would be an error in the browser's console.

use axum::{extract::RawQuery, response::Response};
use http::StatusCode;
use serde_json::json;

use super::{
    authentication::Administrator, error::ApiError, json_response, parameters::Parameters,
};

/// Answers `GET /session`. Why a caller is not signed in is not said.
///
/// # Errors
///
/// When a parameter is given, or DynamoDB cannot be asked about the session: whether the caller is
/// signed in is then unknown.
pub async fn session(
    caller: Result<Administrator, ApiError>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Parameters::parse(query.as_deref().unwrap_or(""), &[])?;
    let method = match caller {
        Ok(Administrator::Token(_)) => Some("token"),
        Ok(Administrator::User) => Some("session"),
        Err(ApiError::Unauthorized | ApiError::Forbidden) => None,
        Err(error) => return Err(error),
    };
    let data = json!({ "signedIn": method.is_some(), "method": method });
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}
