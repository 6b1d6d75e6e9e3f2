//! Cron events, recalculations through the queue, and health.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};
use support::engine_suite::end;

use crate::{
    common::{
        HEALTH_TOKEN, HOURS, RECALCULATE, TOKEN, assert_common_headers, assert_late_hour_is_right,
        bearer, data, day_path, end_to_end, get, instant,
    },
    worker::Worker,
};

#[test]
fn repeated_and_simultaneous_events_leave_the_records_right() {
    end_to_end(async |shared| {
        let hour = end() - TimeDelta::days(5);
        let of_hour = |line: &Value| line["event"] == "run" && line["timestamp"] == instant(hour);
        let worker = &shared.worker;
        tokio::join!(worker.aggregate(hour), worker.aggregate(hour));
        let lines = worker.wait_for_events("the lines of two runs", 2, of_hour).await;
        let mut statuses: Vec<&str> =
            lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
        statuses.sort_unstable();
        // Whether one finds the other at work is a matter of milliseconds.
        let expected = [["complete", "held"], ["complete", "complete"]];
        assert!(expected.iter().any(|expected| statuses == *expected), "{statuses:?}");
        assert_late_hour_is_right(shared, hour, "after two events at once").await;

        for _ in 0..2 {
            worker.aggregate(hour).await;
        }
        let lines = worker.wait_for_events("the lines of repeated runs", 4, of_hour).await;
        for line in &lines[2..] {
            assert_eq!(line["status"], "complete", "{line}");
        }
        assert_late_hour_is_right(shared, hour, "after repeated events").await;
    });
}

/// Posts a recalculation of these hours and follows it to its end.
async fn recalculate(
    worker: &Worker,
    metric_type: &str,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> Value {
    let body = json!({
        "metricType": metric_type, "granularity": "hourly",
        "startDate": instant(first), "endDate": instant(last + TimeDelta::minutes(1)),
    });
    let authorization = bearer(TOKEN);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let answer = worker.post(RECALCULATE, &headers, &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_common_headers(&answer, RECALCULATE);
    let location = answer.header("location").to_owned();
    let begun = Instant::now();
    loop {
        let job = data(worker, &location).await;
        if job["finishedAt"].is_string() {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "the job does not end: {job}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_recalculation_goes_through_the_queue_to_its_end() {
    end_to_end(async |shared| {
        let worker = &shared.worker;
        let first = end() - TimeDelta::hours(HOURS);
        let before = data(worker, &day_path("media")).await;
        let job = recalculate(worker, "media", first, end() - TimeDelta::hours(1)).await;
        assert_eq!(
            (&job["status"], &job["periods"], &job["done"]),
            (&json!("complete"), &json!(HOURS), &json!(HOURS)),
            "{job}"
        );
        let after = data(worker, &day_path("media")).await;
        for (old, new) in before["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .zip(after["dataPoints"].as_array().unwrap())
        {
            assert_eq!(new["metrics"], old["metrics"], "{new}");
            assert!(new["calculatedAt"].as_str() > old["calculatedAt"].as_str(), "{new} {old}");
        }
        let runs = data(worker, "/api/admin/analytics/runs?limit=100").await;
        let runs = runs["runs"].as_array().unwrap();
        let of_job: Vec<_> = runs.iter().filter(|run| run["jobId"] == job["jobId"]).collect();
        assert!(
            of_job.iter().any(|run| run["trigger"] == "recalculate" && run["periods"] == HOURS),
            "{runs:?}"
        );
        assert!(runs.iter().any(|run| run["trigger"] == "cron"), "{runs:?}");
    });
}

/// A job whose slices fail comes back from the dead-letter queue and is shown as failed.
#[test]
fn a_recalculation_that_cannot_be_done_ends_as_failed() {
    end_to_end(async |shared| {
        // A type that holds a record of a newer version cannot be overwritten.
        let hour = end() - TimeDelta::hours(2);
        let key = edge_analytics::store::record::record_key(
            "albums",
            edge_analytics::metrics::period::Period::containing(
                edge_analytics::metrics::period::Granularity::Hourly,
                hour,
            ),
        );
        let client = shared.table.client();
        let item = client
            .get(&shared.table.name, key, edge_analytics::dynamodb::Read::Consistent)
            .await
            .unwrap()
            .unwrap();
        let original = serde_json::to_value(&item).unwrap();
        let mut newer = original.clone();
        newer["version"] = json!({"N": "99"});
        shared.table.put(&[newer.as_object().unwrap().clone()]).await;
        let job = recalculate(&shared.worker, "albums", hour, hour).await;
        shared.table.put(&[original.as_object().unwrap().clone()]).await;
        assert_eq!(
            (&job["status"], &job["failed"], &job["done"]),
            (&json!("failed"), &json!(1), &json!(0)),
            "{job}"
        );
        let reason = job["reasons"][0].as_str().unwrap();
        assert!(reason.contains("version 99"), "{reason}");
    });
}

/// The hours of these tests are long past, so that the Worker is far behind and says so.
#[test]
fn health_reports_that_the_runs_are_behind() {
    end_to_end(async |shared| {
        let answer = get(&shared.worker, "/api/admin/analytics/health").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        let body = answer.json();
        assert_eq!(
            (&body["error"], &body["details"]["status"]),
            (&json!("failing"), &json!("failing"))
        );
        let none = shared.worker.send(Method::GET, "/api/admin/analytics/health", &[]).await;
        assert_eq!(none.status, 401);
        let authorization = bearer(HEALTH_TOKEN);
        let headers = [("authorization", authorization.as_str())];
        let watched =
            shared.worker.send(Method::GET, "/api/admin/analytics/health", &headers).await;
        assert_eq!(watched.status, 503);
        let metrics = shared.worker.send(Method::GET, &day_path("users"), &headers).await;
        assert_eq!(metrics.status, 401, "the health token opens nothing else");
    });
}
