//! `GET /runs`: the ledger of the runs, newest first, page by page.

use std::{ops::ControlFlow, sync::Arc};

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    dynamodb::{Item, text},
    metrics::{
        period::{Granularity, format_instant},
        retention::RUNS_AND_JOBS,
    },
    store::ledger::{Entry, Status, query},
};

use super::{
    App, RequestId,
    authentication::Administrator,
    error::ApiError,
    json_response,
    paging::invalid_cursor,
    parameters::{Parameters, one_of},
};

/// How many entries a page has without `limit`.
const DEFAULT_LIMIT: u32 = 50;

/// The most entries of a page: 100 entries of a few kilobytes are a small response.
const MAXIMUM_LIMIT: u32 = 100;

/// How many entries one request examines if DynamoDB cannot select those that match: more than a month
/// of hourly runs, in a few queries. A page that ends here has a cursor.
const MAXIMUM_EXAMINED: usize = 2000;

/// How many entries a query returns if not all of them match.
const EXAMINED_AT_ONCE: u32 = 250;

/// The longest cursor that is decoded. Valid ones have about 200 characters.
const MAXIMUM_RUNS_CURSOR: usize = 1000;

/// Greater than the sort key of every entry.
const END_OF_TIME: &str = "9999-12-31T23:59:59.999Z~";

/// What selects entries. A cursor holds it too, so that it is rejected with another filter.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunsFilter {
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    granularity: Option<String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    from: Option<DateTime<Utc>>,
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    to: Option<DateTime<Utc>>,
}

/// Where a page ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunsCursor {
    /// The sort key of the last entry that was examined. Entries that are written later sort before it.
    #[serde(rename = "k")]
    after: String,
    #[serde(rename = "q")]
    filter: RunsFilter,
}

/// The checked parameters.
struct RunsRequest {
    filter: RunsFilter,
    granularity: Option<Granularity>,
    limit: usize,
    after: Option<String>,
}

/// The entries of a page, and where the next page starts.
struct RunsPage {
    runs: Vec<Entry>,
    next: Option<String>,
}

/// Answers `GET /runs`.
pub async fn runs(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let request = RunsRequest::parse(query.as_deref().unwrap_or(""))?;
    let page = read(&app, &request, &request_id).await?;
    let next = page.next.map(|after| RunsCursor { after, filter: request.filter }.encode());
    let data = json!({ "runs": page.runs, "nextCursor": next.transpose()? });
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

impl RunsRequest {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let known = ["granularity", "from", "to", "status", "limit", "cursor"];
        let parameters = Parameters::parse(query, &known)?;
        let granularity = parameters.optional("granularity").map(|name| {
            Granularity::from_name(name).ok_or_else(|| {
                one_of("granularity", name, &Granularity::ALL.map(Granularity::name))
            })
        });
        let granularity = granularity.transpose()?;
        let status = parameters.optional("status").map(|name| {
            Status::from_name(name)
                .ok_or_else(|| one_of("status", name, &Status::ALL.map(Status::name)))
        });
        let (from, to) = (parameters.optional_instant("from")?, parameters.optional_instant("to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(ApiError::bad_request(
                "from must be before to",
                "Swap the values of from and to, or choose a later one for to",
                json!({ "from": format_instant(from), "to": format_instant(to) }),
            ));
        }
        let filter = RunsFilter {
            granularity: granularity.map(|granularity| granularity.name().to_owned()),
            status: status.transpose()?,
            from,
            to,
        };
        let limit = parameters.optional_number("limit", 1, MAXIMUM_LIMIT)?;
        let after = parameters
            .optional("cursor")
            .map(|cursor| RunsCursor::decode(cursor)?.fitting(&filter))
            .transpose()?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT) as usize;
        Ok(Self { filter, granularity, limit, after })
    }
}

impl RunsCursor {
    fn encode(&self) -> Result<String, ApiError> {
        let json =
            serde_json::to_vec(self).map_err(|error| ApiError::Internal(error.to_string()))?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    fn decode(text: &str) -> Result<Self, ApiError> {
        let decode = || -> Option<Self> {
            if text.len() > MAXIMUM_RUNS_CURSOR {
                return None;
            }
            let cursor: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let is_key = cursor.after.bytes().all(|byte| byte.is_ascii_graphic());
            (is_key && cursor.after.contains('#')).then_some(cursor)
        };
        decode().ok_or_else(|| {
            invalid_cursor(
                "Invalid cursor",
                "Use nextCursor of the previous page unchanged, or remove cursor to start at the \
                 newest run",
            )
        })
    }

    /// Where the page starts, if the cursor was made with this filter.
    fn fitting(self, filter: &RunsFilter) -> Result<String, ApiError> {
        let until = filter.to.map_or_else(|| END_OF_TIME.to_owned(), format_instant);
        let from = filter.from.map_or_else(String::new, format_instant);
        let is_inside = (from..until).contains(&self.after);
        if self.filter == *filter && is_inside {
            return Ok(self.after);
        }
        Err(invalid_cursor(
            "cursor belongs to another query",
            "Use the same granularity, status, from and to as for the previous page, or remove \
             cursor",
        ))
    }
}

/// Reads entries until the page is full and there is one more, to know whether there is a next page.
async fn read(
    app: &App,
    request: &RunsRequest,
    request_id: &RequestId,
) -> Result<RunsPage, ApiError> {
    let RunsRequest { filter, granularity, limit, after } = request;
    // An entry from 90 days ago or earlier is past retention, whether DynamoDB has deleted it or not.
    let kept = app.host.now() - RUNS_AND_JOBS + TimeDelta::milliseconds(1);
    let from = filter.from.map_or(kept, |from| from.max(kept));
    let to = || filter.to.map_or_else(|| END_OF_TIME.to_owned(), format_instant);
    let until = after.clone().unwrap_or_else(to);
    // The whole range, or the rest of it from the cursor on, may be past retention.
    if until <= format_instant(from) {
        return Ok(RunsPage { runs: Vec::new(), next: None });
    }
    let query = query(&app.settings.table, *granularity, filter.status, from, until);
    // The query selects by granularity or by status, not by both.
    let selects_all = granularity.is_none() || filter.status.is_none();
    let page_size = if selects_all {
        // One more to know whether there is a next page, and the entry of the cursor, which the range
        // includes.
        u32::try_from(*limit).unwrap_or(MAXIMUM_LIMIT) + 1 + u32::from(after.is_some())
    } else {
        EXAMINED_AT_ONCE
    };
    let mut page = RunsPage { runs: Vec::new(), next: None };
    let mut last: Option<String> = None;
    let mut examined = 0;
    app.client
        .query_until(&query, page_size, |items| {
            for item in items {
                let key = text(&item, "SK").unwrap_or_default().to_owned();
                if Some(&key) == after.as_ref() {
                    continue;
                }
                let entry = readable(app, item, request_id).filter(|entry| {
                    granularity.is_none_or(|granularity| entry.granularity == granularity.name())
                });
                let is_full = entry.is_some() && page.runs.len() == *limit;
                if is_full || examined == MAXIMUM_EXAMINED {
                    page.next = last.take();
                    return ControlFlow::Break(());
                }
                examined += 1;
                last = Some(key);
                page.runs.extend(entry);
            }
            ControlFlow::Continue(())
        })
        .await?;
    Ok(page)
}

/// The entry. An entry that cannot be read is logged and left out.
fn readable(app: &App, item: Item, request_id: &RequestId) -> Option<Entry> {
    Entry::from_item(item)
        .map_err(|error| app.log_problem(request_id, "unreadable_entry", &error))
        .ok()
}
