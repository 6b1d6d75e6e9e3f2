//! Signing a request with AWS Signature Version 4.
//!
//! Source: [AWS API request signing](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html);
//! checked with the test vectors that AWS publishes with `aws-sigv4`.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as sign_http},
    sign::v4,
};
use chrono::{DateTime, Utc};

/// An AWS access key. Its `Debug` output contains no part of it.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Credentials {
    /// Credentials from their parts. Only temporary credentials have a session token.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token,
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A request could not be signed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("signing failed: {0}; check AWS_REGION and DYNAMODB_ENDPOINT")]
pub struct SigningError(String);

/// Signs `request` for `service` in `region` as of `time`, adding `x-amz-date`, `authorization`
/// and, for temporary credentials, `x-amz-security-token`.
///
/// # Errors
///
/// When the URI or a header cannot be signed.
pub fn sign(
    request: &mut http::Request<String>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    time: DateTime<Utc>,
) -> Result<(), SigningError> {
    let failed = |error: &dyn std::fmt::Display| SigningError(error.to_string());
    let identity = AwsCredentials::new(
        &credentials.access_key_id,
        &credentials.secret_access_key,
        credentials.session_token.clone(),
        None,
        "edge-analytics",
    )
    .into();
    let seconds = u64::try_from(time.timestamp()).map_err(|error| failed(&error))?;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error))?
        .into();
    let mut headers = Vec::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        headers.push((name.as_str(), value.to_str().map_err(|error| failed(&error))?));
    }
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers.into_iter(),
        SignableBody::Bytes(request.body().as_bytes()),
    )
    .map_err(|error| failed(&error))?;
    let (instructions, _signature) =
        sign_http(signable, &parameters).map_err(|error| failed(&error))?.into_parts();
    instructions.apply_to_request_http1x(request);
    Ok(())
}
