//! `POST /recalculate`: the same request twice.

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::settings::Settings;
use http::Request;
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, StandingHost, instant, stamp, variable, with_token},
    database::{Backend, TestTable},
};

use crate::common::{RECALCULATE, begin};

pub fn range(granularity: &str, start: DateTime<Utc>, end: DateTime<Utc>) -> Value {
    json!({
        "metricType": "all", "granularity": granularity,
        "startDate": stamp(start), "endDate": stamp(end),
    })
}

/// Starts a job that must be accepted.
pub async fn recalculate(api: &Api, body: &Value) -> Value {
    let request = with_token(Request::post(RECALCULATE)).header("Content-Type", "application/json");
    let answer = api.send(request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.text());
    answer.json()["data"].clone()
}

/// Which hours of a range are over and within retention is another question every hour; the request
/// is the same.
#[tokio::test]
async fn the_same_range_an_hour_later_is_the_running_job() {
    let table = TestTable::with(Backend::Dynoxide, &[begin("2026-01-01T00:00:00.000Z")]).await;
    let settings = Settings::read(|name| match name {
        "RETENTION_HOURLY_DAYS" => Some("10".to_owned()),
        name => variable(name, &table.endpoint, &table.name),
    });
    let host = StandingHost::at(instant("2026-06-01T10:58:00Z"));
    let api = Api::with_settings(settings.unwrap(), host.clone(), IMPATIENT);
    // From before retention to tomorrow.
    let (start, tomorrow) = (instant("2026-05-02T00:00:00Z"), instant("2026-06-02T00:00:00Z"));
    let first = recalculate(&api, &range("hourly", start, tomorrow)).await;
    // The hours that end after 05-22T10:58 and before 10:58 today.
    assert_eq!(first["periods"], 10 * 24);
    host.set(instant("2026-06-01T11:01:00Z"));
    let same = recalculate(&api, &range("hourly", start, tomorrow)).await;
    assert_eq!(same, first);
    // However it is written: these are the same hours.
    let (earlier, later) = (start - TimeDelta::minutes(1), tomorrow + TimeDelta::minutes(1));
    assert_eq!(recalculate(&api, &range("hourly", earlier, later)).await, first);
    // Others are not.
    let hour = TimeDelta::hours(1);
    for other in [
        range("hourly", start + hour, tomorrow),
        range("hourly", start, tomorrow + hour),
        range("daily", start, tomorrow),
    ] {
        assert_ne!(recalculate(&api, &other).await["jobId"], first["jobId"], "{other}");
    }
    // It counts as abandoned six hours after its last progress.
    host.set(instant("2026-06-01T16:58:00Z"));
    let next = recalculate(&api, &range("hourly", start, tomorrow)).await;
    assert_ne!(next["jobId"], first["jobId"]);
}
