//! `POST /recalculate`, `GET` and `DELETE /recalculate/{jobId}`: start a recalculation, read its state,
//! end it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Path, RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::{
    dynamodb::Read,
    metrics::{
        maker::Makers,
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
        retention::RUNS_AND_JOBS,
    },
    store::{
        job::{Job, JobRequest, JobStatus, MAXIMUM_JOB_PERIODS, QueueError, computed_for},
        jobs::{JobStoreError, end_job, read_live_job, start_job},
        run_state::{State as RunState, state_key},
    },
};

use super::{
    App, BASE_PATH,
    authentication::Administrator,
    error::ApiError,
    json_response,
    parameters::Parameters,
    range::{ALL_TYPES, RANGE_PARAMETERS, RequestedRange},
};

/// The largest body that is read.
const MAXIMUM_BODY_BYTES: usize = 64 * 1024;

/// A job as a response shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobResponse {
    job_id: String,
    status: JobStatus,
    metric_type: String,
    granularity: String,
    start_date: String,
    end_date: String,
    periods: usize,
    done: usize,
    failed: usize,
    overwrite: bool,
    reasons: Vec<String>,
    last_reason: Option<String>,
    started_at: String,
    finished_at: Option<String>,
}

impl From<Job> for JobResponse {
    fn from(job: Job) -> Self {
        Self {
            status: job.status(),
            job_id: job.job_id,
            overwrite: job.request.overwrite,
            metric_type: job.request.metric_type.unwrap_or_else(|| ALL_TYPES.to_owned()),
            granularity: job.request.granularity,
            start_date: job.request.start_date,
            end_date: job.request.end_date,
            periods: job.periods,
            done: job.done,
            failed: job.failed,
            reasons: job.reasons,
            last_reason: job.last_reason.filter(|_| job.finished_at.is_none()),
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}

impl From<JobStoreError> for ApiError {
    fn from(error: JobStoreError) -> Self {
        match error {
            JobStoreError::DynamoDb(error) => Self::Database(error),
            JobStoreError::Job(error) => Self::Internal(error.to_string()),
            JobStoreError::Conflicts => Self::Unavailable(error.to_string()),
        }
    }
}

/// The checked body of a request for a recalculation.
struct RecalculationBody {
    range: RequestedRange,
    overwrite: bool,
}

impl RecalculationBody {
    async fn read(headers: &HeaderMap, body: Body, app: &App) -> Result<Self, ApiError> {
        // Other origins cannot send this type with a cookie without a preflight request.
        if !is_json(headers) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let body = to_bytes(body, MAXIMUM_BODY_BYTES)
            .await
            .map_err(|_| ApiError::BodyTooLarge { maximum: MAXIMUM_BODY_BYTES })?;
        let parameters = Parameters::from_json(&body, &RANGE_PARAMETERS, &["overwrite"])?;
        let overwrite = parameters.optional_flag("overwrite")?;
        let range = RequestedRange::parse(&parameters, &app.catalogue, MAXIMUM_JOB_PERIODS)?;
        Ok(Self { range, overwrite })
    }

    /// The request of a job for the periods from `first` to `last`.
    fn job_request(&self, first: Period, last: Period) -> JobRequest {
        JobRequest {
            metric_type: self.range.metric_type.clone(),
            granularity: self.range.granularity.name().to_owned(),
            start_date: format_instant(self.range.start),
            end_date: format_instant(self.range.end),
            first: format_instant(first.start()),
            last: format_instant(last.start()),
            overwrite: self.overwrite,
        }
    }
}

/// Answers `POST /recalculate`: 202 with a job, or with the running job of the same request. With
/// `preview=true`: 200 with what would be recalculated.
pub async fn start(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let query = Parameters::parse(query.as_deref().unwrap_or(""), &["preview"])?;
    let is_preview = query.optional_flag("preview")?;
    let body = RecalculationBody::read(&headers, body, &app).await?;
    let range = &body.range;
    let now = app.host.now();
    let begin = begin(&app).await?;
    let retention = app.settings.options.retention;
    let makers = begin.map(|begin| Makers { begin, as_of: now, retention });
    let is_recorded = |name: &str| app.catalogue.of_type(name).next().is_some();
    let is_recorded_type = range.metric_type.as_deref().is_none_or(is_recorded);
    let has_record =
        |period: &&Period| makers.is_some_and(|makers| makers.can_have_record(**period));
    let periods: Vec<Period> =
        range.periods.iter().filter(has_record).filter(|_| is_recorded_type).copied().collect();
    if is_preview {
        let preview = preview(range, makers, &periods);
        return Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": preview })));
    }
    let (Some(first), Some(last), Some(begin)) = (periods.first(), periods.last(), begin) else {
        return Err(nothing_to_recalculate(range, begin));
    };
    let request = body.job_request(*first, *last);
    let job = Job::new(app.host.random()?, request, periods.len(), begin, retention, now);
    let token = app.host.random()?;
    let (job, is_new) = start_job(&app.client, &app.settings.table, job, token, now).await?;
    if is_new && let Err(error) = app.queue.send(job.message(), Duration::ZERO).await {
        return Err(withdraw(&app, &job.job_id, &error).await);
    }
    let location = format!("{BASE_PATH}/recalculate/{}", job.job_id);
    let job = json!({ "success": true, "data": JobResponse::from(job) });
    let mut response = json_response(StatusCode::ACCEPTED, &job);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Answers `GET /recalculate/{jobId}`. A job without progress for six hours is ended first.
pub async fn follow(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Path(job_id): Path<String>,
) -> Result<Response, ApiError> {
    let now = app.host.now();
    let job = if is_id(&job_id) {
        read_live_job(&app.client, &app.settings.table, &job_id, now).await?
    } else {
        None
    };
    view(job, now)
}

/// Answers `DELETE /recalculate/{jobId}`: ends a job that has not finished. A finished one is returned
/// unchanged.
pub async fn dismiss(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Path(job_id): Path<String>,
) -> Result<Response, ApiError> {
    let now = app.host.now();
    let reason = "dismissed by an administrator";
    let job = if is_id(&job_id) {
        end_job(&app.client, &app.settings.table, &job_id, reason, now).await?
    } else {
        None
    };
    view(job, now)
}

/// Whether it has the form of a `jobId`. The other items of the partition do not.
fn is_id(job_id: &str) -> bool {
    job_id.len() == 32 && job_id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn view(job: Option<Job>, now: DateTime<Utc>) -> Result<Response, ApiError> {
    let job = job.filter(|job| is_kept(job, now)).ok_or(ApiError::UnknownJob)?;
    let body = json!({ "success": true, "data": JobResponse::from(job) });
    Ok(json_response(StatusCode::OK, &body))
}

/// Whether the job is within retention. DynamoDB may not have deleted it yet.
fn is_kept(job: &Job, now: DateTime<Utc>) -> bool {
    let age = |started: DateTime<Utc>| now.signed_duration_since(started);
    parse_instant(&job.started_at).is_none_or(|started| age(started) < RUNS_AND_JOBS)
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("application/json")
    })
}

/// Reads the start of the first counted hour; `None` before the first run.
async fn begin(app: &App) -> Result<Option<DateTime<Utc>>, ApiError> {
    let key = state_key(Granularity::Hourly);
    let item = app.client.get(&app.settings.table, key, Read::Eventual).await?;
    let state = RunState::from_item(item).map_err(|error| ApiError::damaged_state(&error))?;
    Ok(state.progress.begin())
}

fn preview(range: &RequestedRange, makers: Option<Makers>, periods: &[Period]) -> Json {
    let mut refreshed: BTreeMap<&str, usize> = Granularity::ALL
        .into_iter()
        .filter(|granularity| *granularity > range.granularity)
        .map(|granularity| (granularity.name(), 0))
        .ordered_map();
    let computed = makers.map(|makers| computed_for(&makers, periods)).unwrap_or_default();
    for (granularity, computed) in computed {
        if let Some(count) = refreshed.get_mut(granularity.name()) {
            *count = computed.len();
        }
    }
    let start = |period: Option<&Period>| period.map(|period| format_instant(period.start()));
    json!({
        "metricType": range.metric_type.as_deref().unwrap_or(ALL_TYPES),
        "granularity": range.granularity.name(),
        "periods": periods.len(),
        "first": start(periods.first()),
        "last": start(periods.last()),
        "refreshed": refreshed,
    })
}

fn nothing_to_recalculate(range: &RequestedRange, begin: Option<DateTime<Utc>>) -> ApiError {
    let begin = begin.map(format_instant);
    let from = begin.as_deref().unwrap_or("the first scheduled run, which has not started yet");
    ApiError::bad_request(
        "Nothing to recalculate",
        format!(
            "Choose a recorded type, and a range with {} periods that have ended and are within \
             retention; records start with {from}",
            range.granularity
        ),
        json!({ "begin": begin }),
    )
}

/// Ends a job whose message could not be enqueued. Otherwise the same request would return it as running.
async fn withdraw(app: &App, job_id: &str, error: &QueueError) -> ApiError {
    let why = error.to_string();
    match end_job(&app.client, &app.settings.table, job_id, &why, app.host.now()).await {
        Ok(_) => ApiError::Unavailable(why),
        Err(error) => ApiError::Unavailable(format!("{why}; could not end the job: {error}")),
    }
}
