//! `GET /session`: whether the caller is signed in. A page calls it when it opens, because it cannot
//! read the session cookie, and a 401 would be an error in the console of the browser.

use axum::{extract::RawQuery, response::Response};
use http::StatusCode;
use serde_json::json;

use super::{
    authentication::Administrator, error::ApiError, json_response, parameters::Parameters,
};

/// Answers `GET /session`. The response does not say why the caller is not signed in.
///
/// # Errors
///
/// When there is a parameter, or DynamoDB fails: it is then unknown whether the caller is signed in.
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
