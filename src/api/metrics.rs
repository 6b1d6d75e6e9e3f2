//! `GET /metrics`: the stored records of a range, with what is missing and a summary.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Display,
    sync::Arc,
};

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use futures_util::join;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    catalogue::Catalogue,
    dynamodb::{Item, Read},
    host::Severity,
    period::{Granularity, Period, format_instant},
    record::{Coverage, Record, query_of_all_types, query_of_type},
    run::{State as RunState, state_key},
    summary::{Summary, summarise},
};

use super::{
    App, CACHE_STATUS, RequestId,
    authentication::Administrator,
    caching::{BYPASS, HIT, MISS, Slot},
    error::ApiError,
    parameters::{Parameters, echo},
    range::{ALL, Range},
    text_response,
};

/// The most periods a request may range over.
const MAXIMUM_PERIODS: usize = 5000;

/// What is asked for, checked.
struct Request {
    /// One type, or all of them.
    metric_type: Option<String>,
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// The periods whose start lies in the range, newest first.
    periods: Vec<Period>,
    /// Only these metrics.
    only: Option<HashSet<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataPoint {
    timestamp: String,
    end_timestamp: String,
    metrics: Map<String, Json>,
    calculated_at: String,
    /// Where finer periods were missing: how many were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
}

/// What is stored that belongs to a request.
#[derive(Default)]
struct Stored {
    /// Newest first.
    records: Vec<Record>,
    /// Where the time of the hours begins; before that nothing is missing.
    begin: Option<DateTime<Utc>>,
}

/// The points of one type.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    metric_type: String,
    data_points: Vec<DataPoint>,
    /// Starts of periods that ought to have a record and have none.
    missing: Vec<String>,
    summary: Summary,
}

/// Answers `GET /metrics`.
pub async fn metrics(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut request = Request::parse(query.as_deref().unwrap_or(""), &app.catalogue)?;
    let now = app.host.now();
    // What is past retention is neither shown nor missing, whether DynamoDB has deleted it or not.
    let retention = app.settings.options.retention;
    request.periods.retain(|period| !retention.has_ended(*period, now));
    let (records, begin, slot) = match find(&app, &request, &request_id, now).await? {
        Found::Kept(answer) => {
            let mut response = text_response(StatusCode::OK, answer);
            response.headers_mut().insert(CACHE_STATUS, HIT);
            return Ok(response);
        }
        Found::Stored(Stored { records, begin }, slot) => (records, begin, slot),
    };
    // Before the first hour was counted, and before their end, periods are not due.
    let due: Vec<Period> = request
        .periods
        .iter()
        .copied()
        .filter(|period| period.end() < now && begin.is_none_or(|begin| period.end() >= begin))
        .collect();
    let series = |name: &str, records: Vec<Record>| {
        Series::new(name, records, &request, &due, &app.catalogue)
    };
    let mut data = json!({
        "granularity": request.granularity.name(),
        "startDate": format_instant(request.start),
        "endDate": format_instant(request.end),
    });
    if let Some(name) = &request.metric_type {
        let Series { metric_type, data_points, missing, summary } = series(name, records);
        data["metricType"] = json!(metric_type);
        data["dataPoints"] = json!(data_points);
        data["missing"] = json!(missing);
        data["summary"] = json!(summary);
    } else {
        let mut by_type: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in records {
            by_type.entry(record.metric_type.clone()).or_default().push(record);
        }
        let types = app.catalogue.types();
        let all: Vec<Series> = types
            .iter()
            .map(|name| series(name, by_type.remove(name).unwrap_or_default()))
            .collect();
        let mut missing: Vec<&String> = all.iter().flat_map(|one| &one.missing).collect();
        missing.sort_unstable_by(|one, other| other.cmp(one));
        missing.dedup();
        let points: usize = all.iter().map(|one| one.data_points.len()).sum();
        data["metricType"] = json!(ALL);
        data["missing"] = json!(missing);
        data["combinedSummary"] = json!({ "totalDataPoints": points, "metricTypes": types });
        data["allMetrics"] = json!(all);
    }
    let is_whole = data["missing"].as_array().is_some_and(Vec::is_empty);
    let answer = json!({ "success": true, "data": data }).to_string();
    let status = match slot {
        Some(slot) if is_whole => {
            slot.put(&app, answer.clone(), &request_id);
            MISS
        }
        _ => BYPASS,
    };
    let mut response = text_response(StatusCode::OK, answer);
    response.headers_mut().insert(CACHE_STATUS, status);
    Ok(response)
}

impl Request {
    /// What is asked for, the same for all ways of asking for it.
    fn canonical(&self) -> String {
        let mut only: Vec<&str> = self.only.iter().flatten().map(String::as_str).collect();
        only.sort_unstable();
        format!(
            "{} {} {} {} {}{}",
            self.metric_type.as_deref().unwrap_or(ALL),
            self.granularity,
            format_instant(self.start),
            format_instant(self.end),
            if self.only.is_some() { "only " } else { "" },
            only.join(","),
        )
    }

    fn parse(query: &str, catalogue: &Catalogue) -> Result<Self, ApiError> {
        let known = ["metricType", "granularity", "startDate", "endDate", "metrics"];
        let parameters = Parameters::parse(query, &known)?;
        let range = Range::parse(&parameters, catalogue, MAXIMUM_PERIODS)?;
        let only = parameters
            .optional("metrics")
            .map(|names| metric_names(names, range.metric_type.as_deref(), catalogue))
            .transpose()?;
        let Range { metric_type, granularity, start, end, mut periods } = range;
        periods.reverse();
        Ok(Self { metric_type, granularity, start, end, periods, only })
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

/// What a request finds: the answer as it was kept, or what it is to be made from.
enum Found {
    Kept(String),
    Stored(Stored, Option<Slot>),
}

/// The records in the range and how far counting has come. Where the answer may have been kept, the
/// states are asked for first, else both at once.
async fn find(
    app: &App,
    request: &Request,
    request_id: &RequestId,
    now: DateTime<Utc>,
) -> Result<Found, ApiError> {
    let (Some(newest), Some(oldest)) = (request.periods.first(), request.periods.last()) else {
        return Ok(Found::Stored(Stored::default(), None));
    };
    let table = &app.settings.table;
    let (first, last) = (oldest.start(), newest.start());
    let query = match &request.metric_type {
        Some(name) => query_of_type(table, name, request.granularity, first, last),
        None => query_of_all_types(table, request.granularity, first, last),
    };
    let states = read_states(app, request.granularity, request_id);
    if newest.end() >= now {
        let (items, states) = join!(app.client.query(&query), states);
        let begin = states?.begin;
        return Ok(Found::Stored(Stored { records: read(app, items?, request_id), begin }, None));
    }
    let States { begin, own } = states.await?;
    let question = request.canonical();
    let slot = own.and_then(|own| Slot::of(app, &question, &request.periods, &own, now));
    if let Some(slot) = &slot
        && let Some(answer) = slot.get(app, request_id).await
    {
        return Ok(Found::Kept(answer));
    }
    let items = app.client.query(&query).await?;
    Ok(Found::Stored(Stored { records: read(app, items, request_id), begin }, slot))
}

/// The records in `items`. One that cannot be read is left out, so that its period shows as missing,
/// and is logged.
fn read(app: &App, items: Vec<Item>, request_id: &RequestId) -> Vec<Record> {
    let read = |item| {
        Record::from_item(item)
            .map_err(|error| unreadable(app, request_id, "unreadable_record", &error))
            .ok()
    };
    items.into_iter().filter_map(read).collect()
}

/// What the states of the runs tell a request.
struct States {
    /// Where the time of the hours begins.
    begin: Option<DateTime<Utc>>,
    /// The state of the granularity that is asked for.
    own: Option<RunState>,
}

/// The states that the request needs; one that cannot be read is logged.
async fn read_states(
    app: &App,
    granularity: Granularity,
    request_id: &RequestId,
) -> Result<States, ApiError> {
    let understood = |item: Option<Item>| {
        RunState::from_item(item)
            .map_err(|error| unreadable(app, request_id, "unreadable_state", &error))
            .ok()
    };
    // Consistently: a change that was announced before must be seen.
    let get = async |granularity| {
        let key = state_key(granularity);
        let item = app.client.get(&app.settings.table, key, Read::Consistent).await?;
        Ok::<_, ApiError>(understood(item))
    };
    if granularity == Granularity::Hourly {
        let own = get(Granularity::Hourly).await?;
        return Ok(States { begin: own.as_ref().and_then(|own| own.progress.begin()), own });
    }
    let (hours, own) = join!(get(Granularity::Hourly), get(granularity));
    Ok(States { begin: hours?.and_then(|hours| hours.progress.begin()), own: own? })
}

fn unreadable(app: &App, request_id: &RequestId, event: &str, reason: &dyn Display) {
    let line = json!({ "event": event, "requestId": request_id.0, "reason": reason.to_string() });
    app.host.log(Severity::Error, &line);
}

impl Series {
    /// The series of one type, of which the periods `due` ought to have a record.
    fn new(
        name: &str,
        records: Vec<Record>,
        request: &Request,
        due: &[Period],
        catalogue: &Catalogue,
    ) -> Self {
        let there: HashSet<Period> = records.iter().map(|record| record.period).collect();
        // A type that nothing is recorded of has no holes.
        let is_recorded = catalogue.of_type(name).next().is_some();
        let missing = due
            .iter()
            .filter(|period| is_recorded && !there.contains(period))
            .map(|period| format_instant(period.start()))
            .collect();
        let data_points: Vec<DataPoint> = records
            .into_iter()
            .map(|mut record| {
                if let Some(only) = &request.only {
                    record.metrics.retain(|name, _| only.contains(name));
                }
                DataPoint {
                    timestamp: format_instant(record.period.start()),
                    end_timestamp: format_instant(record.period.end()),
                    metrics: record.metrics,
                    calculated_at: format_instant(record.calculated_at),
                    coverage: record
                        .coverage
                        .filter(|Coverage { present, expected }| present < expected),
                }
            })
            .collect();
        let points: Vec<_> = data_points.iter().map(|point| &point.metrics).collect();
        let summary = summarise(catalogue, &points);
        Self { metric_type: name.to_owned(), data_points, missing, summary }
    }
}
