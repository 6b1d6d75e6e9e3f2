//! `GET /metrics`: the stored records of a range, the missing periods, and a summary. The response is
//! made while the records are read (`series`), and is limited in records and bytes. A larger range is
//! read page by page (`paging`).

use std::{
    collections::{BTreeMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

use axum::{
    Extension,
    body::Body,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::join;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::{
    dynamodb::{Item, Read},
    host::SharedBackground,
    metrics::{
        catalogue::Catalogue,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        record::Record,
    },
    store::{
        record::{query_of_all_types, query_of_type},
        run_state::{State as RunState, state_key},
    },
};

use super::{
    App, CACHE_STATUS, RequestId,
    admission::Permit,
    authentication::Administrator,
    caching::{BYPASS, HIT, MISS, Slot},
    chunks::{Chunks, body},
    error::ApiError,
    json_body_response,
    paging::{RequestedPage, cursor_at},
    parameters::{Parameters, echo},
    range::{ALL_TYPES, RequestedRange},
    running,
    series::{Collected, Collection, MAXIMUM_RECORDS},
};

/// The most periods in the range of one request.
const MAXIMUM_METRICS_PERIODS: usize = 5000;

/// How many records are read at once. An item takes several times the memory of its text.
const RECORDS_AT_ONCE: usize = 500;

/// A response with at most this many records is small; any number of them is made at once.
const SMALL_RESPONSE: usize = 1000;

/// The checked parameters.
pub struct MetricsRequest {
    /// One type; `None` means all types.
    pub metric_type: Option<String>,
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// The periods that start in the range, newest first. With a cursor: those from the newest period
    /// of its page on.
    pub periods: Vec<Period>,
    /// Only these metrics.
    pub only: Option<HashSet<String>>,
    /// Whether the running period is included.
    current: bool,
    /// The page; `None` for the whole range.
    pub page: Option<RequestedPage>,
}

/// Answers `GET /metrics`.
pub async fn metrics(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    Extension(background): Extension<SharedBackground>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut request = MetricsRequest::parse(query.as_deref().unwrap_or(""), &app.catalogue)?;
    let now = app.host.now();
    // A period past retention is neither shown nor missing, whether DynamoDB has deleted it or not.
    let retention = app.settings.options.retention;
    request.periods.retain(|period| !retention.has_ended(*period, now));
    let (collected, permit, slot) = match find(&app, &request, &request_id, now).await? {
        Found::Cached(body) => return Ok(response_with(body, HIT)),
        Found::Read { collected, permit, slot } => (collected, permit, slot),
    };
    let mut text = Chunks::default();
    text.text("{\"success\":true,\"data\":{\"metricType\":");
    text.json(&request.metric_type.as_deref().unwrap_or(ALL_TYPES))?;
    text.text(",\"granularity\":");
    text.json(&request.granularity.name())?;
    text.text(",\"startDate\":");
    text.json(&format_instant(request.start))?;
    text.text(",\"endDate\":");
    text.json(&format_instant(request.end))?;
    text.append(collected.text);
    text.text("}}");
    let chunks = text.into_bytes();
    let status = match slot {
        Some(slot) if collected.is_whole => {
            slot.put(&app, chunks.clone(), &request_id, &background);
            MISS
        }
        _ => BYPASS,
    };
    Ok(response_with(body(chunks, permit), status))
}

fn response_with(body: Body, cache_status: HeaderValue) -> Response {
    let mut response = json_body_response(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_STATUS, cache_status);
    response
}

impl MetricsRequest {
    /// The query in one form, however it was written, without the page.
    fn canonical_query(&self) -> String {
        let only = self.only.iter().flatten().map(String::as_str).ordered_vec();
        format!(
            "{} {} {} {} {}{}{}",
            self.metric_type.as_deref().unwrap_or(ALL_TYPES),
            self.granularity,
            format_instant(self.start),
            format_instant(self.end),
            if self.current { "current " } else { "" },
            if self.only.is_some() { "only " } else { "" },
            only.join(","),
        )
    }

    fn parse(query: &str, catalogue: &Catalogue) -> Result<Self, ApiError> {
        let known = [
            "metricType",
            "granularity",
            "startDate",
            "endDate",
            "metrics",
            "current",
            "limit",
            "cursor",
        ];
        let parameters = Parameters::parse(query, &known)?;
        let range = RequestedRange::parse(&parameters, catalogue, MAXIMUM_METRICS_PERIODS)?;
        let only = parameters
            .optional("metrics")
            .map(|names| metric_names(names, range.metric_type.as_deref(), catalogue))
            .transpose()?;
        let current = parameters.optional_flag("current")?;
        let RequestedRange { metric_type, granularity, start, end, mut periods } = range;
        periods.reverse();
        let types = if metric_type.is_some() { 1 } else { catalogue.types().len() };
        let mut request =
            Self { metric_type, granularity, start, end, periods, only, current, page: None };
        let canonical = request.canonical_query();
        request.page = RequestedPage::parse(&parameters, types, &canonical, &request.periods)?;
        if let Some(newest) = request.page.as_ref().and_then(|page| page.newest) {
            request.periods.retain(|period| *period <= newest);
        }
        Ok(request)
    }

    /// The most records in the response.
    pub fn most_records(&self) -> usize {
        self.page.as_ref().map_or(MAXIMUM_RECORDS, |page| page.limit)
    }

    /// The cursor of the page whose newest period is `newest`.
    pub fn cursor_at(&self, newest: Period) -> String {
        cursor_at(newest, &self.canonical_query())
    }

    /// What identifies the response in the cache: the query, and the page.
    fn cache_query(&self) -> String {
        let page =
            self.page.as_ref().map_or_else(String::new, |RequestedPage { limit, newest }| {
                let newest =
                    newest.map_or_else(String::new, |newest| format_instant(newest.start()));
                format!("page {limit} {newest} ")
            });
        format!("{page}{}", self.canonical_query())
    }

    /// The most records that the response can have if there are `types` types.
    fn expected_records(&self, types: usize) -> usize {
        let types = if self.metric_type.is_some() { 1 } else { types };
        (self.periods.len() * types).min(self.most_records())
    }
}

/// The names in the parameter `metrics`. Each must be a metric of the type.
fn metric_names(
    names: &str,
    metric_type: Option<&str>,
    catalogue: &Catalogue,
) -> Result<HashSet<String>, ApiError> {
    let of_type = |name: &str| {
        catalogue.metric(name).is_some_and(|metric| {
            metric_type.is_none_or(|metric_type| metric.type_name == metric_type)
        })
    };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let unknown: Vec<String> =
        names.iter().filter(|name| !of_type(name)).take(20).map(|name| echo(name)).collect();
    if unknown.is_empty() {
        return Ok(names.into_iter().map(str::to_owned).collect());
    }
    let known: Vec<&str> = catalogue
        .metrics()
        .iter()
        .filter(|metric| of_type(&metric.name))
        .map(|metric| metric.name.as_str())
        .collect();
    Err(ApiError::bad_request(
        format!("Unknown metrics: {}", unknown.join(", ")),
        format!("Use metrics of this type, separated by commas: {}", known.join(", ")),
        json!({ "parameter": "metrics", "unknown": unknown }),
    ))
}

/// A response: from the cache, or made from records.
enum Found {
    Cached(Body),
    Read { collected: Collected, permit: Option<Permit>, slot: Option<Slot> },
}

/// Finds the cached response, or reads the records of the range.
async fn find(
    app: &App,
    request: &MetricsRequest,
    request_id: &RequestId,
    now: DateTime<Utc>,
) -> Result<Found, ApiError> {
    let Some(newest) = request.periods.first() else {
        let collected =
            Collection::new(request, &app.catalogue, BTreeMap::new()).finish(None, now)?;
        return Ok(Found::Read { collected, permit: None, slot: None });
    };
    // The running period (`current=true`) changes with every request, so a response with it is not
    // cached.
    let is_cacheable = newest.end() < now && !request.current;
    // Before the records: a record becomes text as soon as it is read, with its stale mark.
    let RunStates { begin, own } = read_states(app, request.granularity, request_id).await?;
    let stale = own.as_ref().map(|own| own.stale_since(request.granularity)).unwrap_or_default();
    let cache_query = request.cache_query();
    let slot = own
        .filter(|_| is_cacheable)
        .and_then(|own| Slot::of(app, &cache_query, &request.periods, &own, now));
    if let Some(slot) = &slot
        && let Some(body) = slot.get(app, request_id).await
    {
        return Ok(Found::Cached(body));
    }
    let permit = admit(app, request).await?;
    let mut collection = Collection::new(request, &app.catalogue, stale);
    if request.current && request.periods.iter().any(|period| period.contains(now)) {
        let only = request.metric_type.as_deref();
        let known =
            running::running_records(app, request.granularity, only, now, request_id).await?;
        collection.take_running(known)?;
    }
    let collected = read(app, collection, request, request_id).await?.finish(begin, now)?;
    Ok(Found::Read { collected, permit, slot })
}

/// Waits for a permit if the response may be large.
async fn admit(app: &App, request: &MetricsRequest) -> Result<Option<Permit>, ApiError> {
    if request.expected_records(app.catalogue.types().len()) <= SMALL_RESPONSE {
        return Ok(None);
    }
    app.memory.admission.wait(app.host.as_ref()).await.map(Some)
}

/// Reads the records in the range, until the response is full. A record that cannot be read is logged
/// and left out, so its period is missing.
async fn read<'run>(
    app: &'run App,
    mut collection: Collection<'run>,
    request: &'run MetricsRequest,
    request_id: &RequestId,
) -> Result<Collection<'run>, ApiError> {
    let (Some(newest), Some(oldest)) = (request.periods.first(), request.periods.last()) else {
        return Ok(collection);
    };
    let table = &app.settings.table;
    let (first, last) = (oldest.start(), newest.start());
    let query = match &request.metric_type {
        Some(name) => query_of_type(table, name, request.granularity, first, last),
        None => query_of_all_types(table, request.granularity, first, last),
    };
    // One period more than the page holds, to know whether there is a next page.
    let types = app.catalogue.types().len();
    let enough = request.most_records().saturating_add(types).min(RECORDS_AT_ONCE);
    let mut failure = None;
    let mut take = |item| match Record::from_item(item) {
        Ok(record) => collection.take(record),
        Err(error) => {
            app.log_problem(request_id, "unreadable_record", &error);
            Ok(ControlFlow::Continue(()))
        }
    };
    app.client
        .query_until(&query, u32::try_from(enough).unwrap_or(u32::MAX), |items| {
            for item in items {
                match take(item) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => return ControlFlow::Break(()),
                    Err(error) => {
                        failure = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
    failure.map_or(Ok(collection), Err)
}

/// What a request needs of the run states.
struct RunStates {
    /// The start of the first counted hour.
    begin: Option<DateTime<Utc>>,
    /// The run state of the requested granularity.
    own: Option<RunState>,
}

/// Reads the run states that the request needs. If one is damaged the request fails, because it is
/// unknown what is missing or stale.
async fn read_states(
    app: &App,
    granularity: Granularity,
    request_id: &RequestId,
) -> Result<RunStates, ApiError> {
    let understood = |item: Option<Item>| {
        RunState::from_item(item).map(Some).map_err(|error| {
            app.log_problem(request_id, "unreadable_state", &error);
            ApiError::damaged_state(&error)
        })
    };
    // Consistently, so that a mark that was set before a change is seen.
    let get = async |granularity| {
        let key = state_key(granularity);
        let item = app.client.get(&app.settings.table, key, Read::Consistent).await?;
        understood(item)
    };
    if granularity == Granularity::Hourly {
        let own = get(Granularity::Hourly).await?;
        return Ok(RunStates { begin: own.as_ref().and_then(|own| own.progress.begin()), own });
    }
    let (hours, own) = join!(get(Granularity::Hourly), get(granularity));
    Ok(RunStates { begin: hours?.and_then(|hours| hours.progress.begin()), own: own? })
}
