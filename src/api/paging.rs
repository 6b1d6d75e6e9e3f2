//! Pages of `GET /metrics`: how many records a page has, and where the next one starts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::metrics::period::{Period, format_instant, parse_instant};

use super::{error::ApiError, parameters::Parameters, series::MAXIMUM_RECORDS};

/// The longest cursor that is decoded. Valid ones have about 90 characters.
const MAXIMUM_METRICS_CURSOR: usize = 200;

/// How many bytes of the digest of its query a cursor holds. The digest detects mistakes. It protects
/// nothing, because a cursor only names a period inside the requested range.
const DIGEST_BYTES: usize = 16;

/// The page that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedPage {
    /// The most records on it.
    pub limit: usize,
    /// Its newest period; `None` for the first page.
    pub newest: Option<Period>,
}

/// Where a page starts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricsCursor {
    /// The start of its newest period.
    #[serde(rename = "n")]
    newest: String,
    /// The digest of its query.
    #[serde(rename = "q")]
    query: String,
}

impl RequestedPage {
    /// The page that `limit` and `cursor` ask for; `None` without both. A page holds whole periods, each
    /// with up to `types` records. `periods` are those of the whole range.
    ///
    /// # Errors
    ///
    /// When one of them is invalid; the error names it.
    pub fn parse(
        parameters: &Parameters,
        types: usize,
        query: &str,
        periods: &[Period],
    ) -> Result<Option<Self>, ApiError> {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let limit = parameters.optional_number("limit", number(types), number(MAXIMUM_RECORDS))?;
        let newest = parameters
            .optional("cursor")
            .map(|cursor| MetricsCursor::decode(cursor)?.newest_of(query, periods))
            .transpose()?;
        if limit.is_none() && newest.is_none() {
            return Ok(None);
        }
        let limit = limit.map_or(MAXIMUM_RECORDS, |limit| limit as usize);
        Ok(Some(Self { limit, newest }))
    }
}

/// The cursor of the page of `query` whose newest period is `newest`.
pub fn cursor_at(newest: Period, query: &str) -> String {
    let newest = format_instant(newest.start());
    let cursor = json!({ "n": newest, "q": digest(query) });
    URL_SAFE_NO_PAD.encode(cursor.to_string())
}

impl MetricsCursor {
    fn decode(text: &str) -> Result<Self, ApiError> {
        let decode = || -> Option<Self> {
            let is_plausible = text.len() <= MAXIMUM_METRICS_CURSOR;
            let json = is_plausible.then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
            serde_json::from_slice(&json).ok()
        };
        decode().ok_or_else(|| {
            invalid_cursor(
                "Invalid cursor",
                "Use nextCursor of the previous page unchanged, or remove cursor to start at the \
                 newest period",
            )
        })
    }

    /// The period that it names, if it was made for `query`.
    fn newest_of(self, query: &str, periods: &[Period]) -> Result<Period, ApiError> {
        let start = parse_instant(&self.newest);
        let found = periods
            .iter()
            .find(|period| Some(period.start()) == start)
            .filter(|_| self.query == digest(query));
        found.copied().ok_or_else(|| {
            invalid_cursor(
                "cursor belongs to another query",
                "Use the same metricType, granularity, startDate, endDate, metrics and current as \
                 for the previous page, or remove cursor",
            )
        })
    }
}

fn digest(query: &str) -> String {
    let digest = Sha256::digest(query);
    URL_SAFE_NO_PAD.encode(&digest[..DIGEST_BYTES])
}

/// The error for a cursor that cannot be used.
pub fn invalid_cursor(error: &str, message: &str) -> ApiError {
    ApiError::bad_request(error, message, json!({ "parameter": "cursor" }))
}
