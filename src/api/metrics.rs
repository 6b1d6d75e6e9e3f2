//! `GET /metrics`: the stored records of a range, with what is missing and a summary. The answer is
//! made while the records are read (`series`), and is bounded by records and bytes; a larger range is
//! read page by page (`paging`).

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
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
    host::{Severity, SharedBackground},
    metrics::{
        catalogue::Catalogue,
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
    range::{ALL_TYPES, Range},
    running,
    series::{Collected, Collection, MAXIMUM_RECORDS},
};

/// The most periods a request may range over.
const MAXIMUM_METRICS_PERIODS: usize = 5000;

/// How many records are read at once. Items take several times the memory of their text.
const RECORDS_AT_ONCE: usize = 500;

/// Up to this many records an answer is small, and any number of such answers is made at once.
const SMALL_ANSWER: usize = 1000;

/// What is asked for, checked.
pub struct MetricsRequest {
    /// One type, or all of them.
    pub metric_type: Option<String>,
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// The periods whose start lies in the range or, of a page, from its newest period on, newest
    /// first.
    pub periods: Vec<Period>,
    /// Only these metrics.
    pub only: Option<HashSet<String>>,
    /// Whether the period that is still running is asked for too.
    current: bool,
    /// Which part of the range is asked for, if not all of it.
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
    // What is past retention is neither shown nor missing, whether DynamoDB has deleted it or not.
    let retention = app.settings.options.retention;
    request.periods.retain(|period| !retention.has_ended(*period, now));
    let (collected, permit, slot) = match find(&app, &request, &request_id, now).await? {
        Found::Kept(body) => return Ok(answer(body, HIT)),
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
    Ok(answer(body(chunks, permit), status))
}

fn answer(body: Body, cache_status: HeaderValue) -> Response {
    let mut response = json_body_response(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_STATUS, cache_status);
    response
}

impl MetricsRequest {
    /// What is asked for, the same for all ways of asking for it, and for all its pages.
    fn canonical(&self) -> String {
        let mut only: Vec<&str> = self.only.iter().flatten().map(String::as_str).collect();
        only.sort_unstable();
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
        let range = Range::parse(&parameters, catalogue, MAXIMUM_METRICS_PERIODS)?;
        let only = parameters
            .optional("metrics")
            .map(|names| metric_names(names, range.metric_type.as_deref(), catalogue))
            .transpose()?;
        let current = parameters.optional_flag("current")?;
        let Range { metric_type, granularity, start, end, mut periods } = range;
        periods.reverse();
        let types = if metric_type.is_some() { 1 } else { catalogue.types().len() };
        let mut request =
            Self { metric_type, granularity, start, end, periods, only, current, page: None };
        let question = request.canonical();
        request.page = RequestedPage::parse(&parameters, types, &question, &request.periods)?;
        if let Some(newest) = request.page.as_ref().and_then(|page| page.newest) {
            request.periods.retain(|period| *period <= newest);
        }
        Ok(request)
    }

    /// The most records that the answer may have.
    pub fn most_records(&self) -> usize {
        self.page.as_ref().map_or(MAXIMUM_RECORDS, |page| page.limit)
    }

    /// The cursor of the page whose newest period is `newest`.
    pub fn cursor_at(&self, newest: Period) -> String {
        cursor_at(newest, &self.canonical())
    }

    /// What the cache knows the answer by: of a page also which one it is.
    fn cache_question(&self) -> String {
        let page =
            self.page.as_ref().map_or_else(String::new, |RequestedPage { limit, newest }| {
                let newest =
                    newest.map_or_else(String::new, |newest| format_instant(newest.start()));
                format!("page {limit} {newest} ")
            });
        format!("{page}{}", self.canonical())
    }

    /// How many records there can be, at most, in an answer of `types` types.
    fn expected_records(&self, types: usize) -> usize {
        let types = if self.metric_type.is_some() { 1 } else { types };
        (self.periods.len() * types).min(self.most_records())
    }
}

/// The names in the parameter `metrics`, all of which must be metrics of the type.
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
        format!("Name metrics of this type, separated by commas: {}", known.join(", ")),
        json!({ "parameter": "metrics", "unknown": unknown }),
    ))
}

/// What a request finds: the answer as it was kept, or one that was read.
enum Found {
    Kept(Body),
    Read { collected: Collected, permit: Option<Permit>, slot: Option<Slot> },
}

/// The records in the range and how far counting has come, or the answer that was kept.
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
    // What is known of the running period (`current=true`) changes with every request, so an answer
    // with it is neither kept nor looked for. The place where it is added is `read`.
    let may_be_kept = newest.end() < now && !request.current;
    // First, because a record becomes text as soon as it is read, and a stale one is marked in it.
    let RunStates { begin, own } = read_states(app, request.granularity, request_id).await?;
    let stale = own.as_ref().map(|own| own.stale_since(request.granularity)).unwrap_or_default();
    let question = request.cache_question();
    let slot = own
        .filter(|_| may_be_kept)
        .and_then(|own| Slot::of(app, &question, &request.periods, &own, now));
    if let Some(slot) = &slot
        && let Some(body) = slot.get(app, request_id).await
    {
        return Ok(Found::Kept(body));
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

/// A permit to make the answer, where it may be large.
async fn admit(app: &App, request: &MetricsRequest) -> Result<Option<Permit>, ApiError> {
    if request.expected_records(app.catalogue.types().len()) <= SMALL_ANSWER {
        return Ok(None);
    }
    app.memory.admission.wait(app.host.as_ref()).await.map(Some)
}

/// Reads the records in the range, until the answer is full. A record that cannot be read is left
/// out, so that its period shows as missing, and is logged.
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
    // One period more than the page holds, which tells that it is full.
    let types = app.catalogue.types().len();
    let enough = request.most_records().saturating_add(types).min(RECORDS_AT_ONCE);
    let mut failure = None;
    let mut take = |item| match Record::from_item(item) {
        Ok(record) => collection.take(record),
        Err(error) => {
            unreadable(app, request_id, "unreadable_record", &error);
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

/// What the states of the runs tell a request.
struct RunStates {
    /// Where the time of the hours begins.
    begin: Option<DateTime<Utc>>,
    /// The state of the granularity that is asked for.
    own: Option<RunState>,
}

/// The states that the request needs. One that is damaged fails the request: nobody knows what is
/// missing or stale.
async fn read_states(
    app: &App,
    granularity: Granularity,
    request_id: &RequestId,
) -> Result<RunStates, ApiError> {
    let understood = |item: Option<Item>| {
        RunState::from_item(item).map(Some).map_err(|error| {
            unreadable(app, request_id, "unreadable_state", &error);
            ApiError::damaged_state(&error)
        })
    };
    // Consistently: a change that was announced before must be seen.
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

fn unreadable(app: &App, request_id: &RequestId, event: &str, reason: &dyn Display) {
    let line = json!({ "event": event, "requestId": request_id.0, "reason": reason.to_string() });
    app.host.log(Severity::Error, &line);
}
