//! `GET /metrics`: the stored records of a range, with what is missing and a summary.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::{
    catalogue::Catalogue,
    host::Severity,
    period::{Granularity, Period, format_instant},
    record::{Record, query_of_all_types, query_of_type},
    summary::{Summary, summarise},
};

use super::{
    App, RequestId,
    authentication::Administrator,
    error::ApiError,
    json_response,
    parameters::{Parameters, echo},
};

/// The most periods a request may range over.
const MAXIMUM_PERIODS: usize = 5000;

/// Every type at once.
const ALL: &str = "all";

/// What is asked for, checked.
struct Request {
    /// One type, or all of them.
    metric_type: Option<String>,
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// The periods whose start lies in the range.
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
    let request = Request::parse(query.as_deref().unwrap_or(""), &app.catalogue)?;
    let records = read(&app, &request, &request_id).await?;
    let series = |name: &str, records: Vec<Record>| {
        Series::new(name, records, &request, &app.catalogue, app.host.now())
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
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

impl Request {
    fn parse(query: &str, catalogue: &Catalogue) -> Result<Self, ApiError> {
        let known = ["metricType", "granularity", "startDate", "endDate", "metrics"];
        let parameters = Parameters::parse(query, &known)?;
        let metric_type = parameters.required("metricType")?;
        let granularity = parameters.required("granularity")?;
        parameters.required("startDate")?;
        parameters.required("endDate")?;

        let types: Vec<&str> = catalogue.types().iter().map(String::as_str).chain([ALL]).collect();
        if !types.contains(&metric_type) {
            return Err(one_of("metricType", metric_type, &types));
        }
        let metric_type = (metric_type != ALL).then(|| metric_type.to_owned());
        let granularity = Granularity::from_name(granularity).ok_or_else(|| {
            one_of("granularity", granularity, &Granularity::ALL.map(Granularity::name))
        })?;
        let start = parameters.required_instant("startDate")?;
        let end = parameters.required_instant("endDate")?;
        if start >= end {
            return Err(ApiError::bad_request(
                "startDate must be before endDate",
                "Exchange the dates, or move endDate to a later time",
                json!({ "startDate": format_instant(start), "endDate": format_instant(end) }),
            ));
        }
        let only = parameters
            .optional("metrics")
            .map(|names| metric_names(names, metric_type.as_deref(), catalogue))
            .transpose()?;
        let periods = periods_in(granularity, start, end)?;
        Ok(Self { metric_type, granularity, start, end, periods, only })
    }
}

fn one_of(parameter: &str, value: &str, allowed: &[&str]) -> ApiError {
    let allowed = allowed.join(", ");
    ApiError::bad_request(
        format!("Invalid {parameter}. Must be one of: {allowed}"),
        format!("Set {parameter} to one of {allowed}"),
        json!({ "parameter": parameter, "value": echo(value) }),
    )
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

/// The periods that start in the range.
fn periods_in(
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Vec<Period>, ApiError> {
    let first = Period::starting_at_or_after(granularity, start);
    let mut periods: Vec<Period> = std::iter::successors(Some(first), |period| Some(period.next()))
        .take_while(|period| period.start() <= end)
        .take(MAXIMUM_PERIODS + 1)
        .collect();
    if let Some(beyond) = periods.get(MAXIMUM_PERIODS) {
        let last = periods[MAXIMUM_PERIODS - 1].start();
        let coarser = Granularity::ALL.iter().find(|coarser| **coarser > granularity);
        let or = coarser.map_or_else(String::new, |coarser| {
            format!(", or the granularity {coarser} for a longer range")
        });
        return Err(ApiError::bad_request(
            "Range too large",
            format!(
                "A request may range over {MAXIMUM_PERIODS} periods; with this startDate use an \
                 endDate before {}, at most {}{or}",
                format_instant(beyond.start()),
                format_instant(last),
            ),
            json!({ "maximumPeriods": MAXIMUM_PERIODS, "latestEndDate": format_instant(last) }),
        ));
    }
    periods.reverse();
    Ok(periods)
}

/// The records in the range, newest first. One that cannot be read is left out, so that its period
/// shows as missing, and is logged.
async fn read(
    app: &App,
    request: &Request,
    request_id: &RequestId,
) -> Result<Vec<Record>, ApiError> {
    let (Some(last), Some(first)) = (request.periods.first(), request.periods.last()) else {
        return Ok(Vec::new());
    };
    let table = &app.settings.table;
    let (first, last) = (first.start(), last.start());
    let query = match &request.metric_type {
        Some(name) => query_of_type(table, name, request.granularity, first, last),
        None => query_of_all_types(table, request.granularity, first, last),
    };
    let items = app.client.query(&query).await?;
    Ok(items
        .into_iter()
        .filter_map(|item| match Record::from_item(item) {
            Ok(record) => Some(record),
            Err(error) => {
                let line = json!({
                    "event": "unreadable_record",
                    "requestId": request_id.0,
                    "reason": error.to_string(),
                });
                app.host.log(Severity::Error, &line);
                None
            }
        })
        .collect())
}

impl Series {
    fn new(
        name: &str,
        records: Vec<Record>,
        request: &Request,
        catalogue: &Catalogue,
        now: DateTime<Utc>,
    ) -> Self {
        let there: HashSet<Period> = records.iter().map(|record| record.period).collect();
        // A type that nothing is recorded of has no holes.
        let is_recorded = catalogue.of_type(name).next().is_some();
        let missing = request
            .periods
            .iter()
            .filter(|period| is_recorded && period.end() < now && !there.contains(period))
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
                }
            })
            .collect();
        let points: Vec<_> = data_points.iter().map(|point| &point.metrics).collect();
        let summary = summarise(catalogue, &points);
        Self { metric_type: name.to_owned(), data_points, missing, summary }
    }
}
