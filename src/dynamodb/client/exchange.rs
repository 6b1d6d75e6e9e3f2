//! One signed HTTP request to DynamoDB, and the checks of its response before it is deserialized.

use crc::{CRC_32_ISO_HDLC, Crc};
use http::{HeaderMap, header};
use serde::Deserialize;

use super::{Client, Connection};
use crate::{
    dynamodb::{
        error::{Cancellation, ErrorKind},
        signing::sign,
    },
    host::BoxFuture,
};

/// The length to which an error shortens a text of AWS or of the HTTP client.
const MAXIMUM_MESSAGE_CHARACTERS: usize = 300;

/// The header with the CRC-32 of the body as it was sent, in decimal.
const CHECKSUM: &str = "x-amz-crc32";

const CRC_32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// An HTTP response with its whole body.
pub(super) struct RawResponse {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl RawResponse {
    /// The body of a successful response.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Damaged`] if its checksum differs, [`ErrorKind::Service`] if the status is not
    /// 2xx.
    pub(super) fn success(&self) -> Result<&[u8], ErrorKind> {
        if self.is_damaged() {
            return Err(ErrorKind::Damaged { length: self.body.len() });
        }
        if !(200..300).contains(&self.status) {
            return Err(service_error(self));
        }
        Ok(&self.body)
    }

    /// Whether the body differs from the one that DynamoDB computed the checksum of.
    fn is_damaged(&self) -> bool {
        let Some(checksum) = self.headers.get(CHECKSUM) else { return false };
        let checksum = checksum.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
        self.is_as_sent() && checksum != Some(CRC_32.checksum(&self.body))
    }

    /// Whether the body has the bytes that were transferred, to which the checksum applies.
    ///
    /// A Worker's `fetch` requests compressed responses by itself, decodes them, and leaves
    /// `content-encoding` in place: the compressed bytes are not available. If a proxy decodes a
    /// response and removes that header, the length differs or is missing. DynamoDB always sends
    /// the length; without it the checksum is not compared, so that no intact response is rejected.
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
    pub(super) fn signed_request(
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

    /// Sends the request and reads the whole response.
    pub(super) fn exchange(
        &self,
        request: http::Request<String>,
    ) -> BoxFuture<'static, Result<RawResponse, ErrorKind>> {
        let http = self.http.clone();
        let exchange = async move {
            // Without the URL: an endpoint may contain credentials, which must not be logged.
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
}

fn service_error(response: &RawResponse) -> ErrorKind {
    #[derive(Default, Deserialize)]
    struct ErrorBody {
        #[serde(rename = "__type")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
        #[serde(default, rename = "CancellationReasons")]
        reasons: Vec<CancellationReason>,
    }

    #[derive(Deserialize)]
    struct CancellationReason {
        #[serde(rename = "Code")]
        code: Option<String>,
    }

    let status = response.status;
    // A response that is not DynamoDB's, such as a proxy's error page, has only its status.
    let body = serde_json::from_slice(&response.body).unwrap_or(ErrorBody::default());
    let code = body.code.map_or_else(
        || format!("HTTP{status}"),
        |code| shortened(code.rsplit('#').next().unwrap_or(&code)),
    );
    let message = body.message.unwrap_or_default();
    let cancellation = Cancellation::of(body.reasons.iter().map(|reason| reason.code.as_deref()));
    ErrorKind::Service { code, status, message: shortened(&message), cancellation }
}

fn innermost_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    shortened(&cause.to_string())
}

/// The text in the length that an error may have, whatever the response contained.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MAXIMUM_MESSAGE_CHARACTERS).collect()
}
