//! Metrics over HTTP, missing hours, and days.

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::json;
use support::{
    engine_suite::{TYPES, assert_same, end},
    oracle,
};

use crate::common::{
    API, CURRENT_ONLY, HOURS, data, day_path, end_to_end, hours, instant, metrics_of, metrics_path,
};

#[test]
fn every_metric_of_every_hour_over_http_equals_the_independent_computation() {
    end_to_end(async |shared| {
        // The sample's hours lie months back, so every event came late: what only its time could tell
        // is absent, and the rest is marked.
        let mut expected = Vec::new();
        for hour in hours() {
            let mut of_hour = oracle::expected_hour(&shared.items, hour, None);
            for metrics in of_hour.values_mut() {
                metrics.retain(|metric, _| !CURRENT_ONLY.contains(&metric.as_str()));
            }
            expected.push((hour, of_hour));
        }
        // Newest first, as the answers are.
        expected.reverse();

        let all = data(&shared.worker, &day_path("all")).await;
        assert_eq!(all["missing"], json!([]));
        let count = expected.len() * TYPES.len();
        assert_eq!(all["combinedSummary"]["totalDataPoints"], json!(count));
        for metric_type in TYPES {
            let one = data(&shared.worker, &day_path(metric_type)).await;
            assert_eq!(one["metricType"], metric_type);
            assert_eq!(one["granularity"], "hourly");
            assert_eq!(one["missing"], json!([]), "{metric_type}");
            assert_eq!(one["summary"]["totalDataPoints"], json!(expected.len()));
            let points = one["dataPoints"].as_array().unwrap();
            assert_eq!(points.len(), expected.len(), "{metric_type}");
            for (point, (hour, expected)) in points.iter().zip(&expected) {
                let context = format!("{hour} {metric_type}");
                assert_eq!(point["timestamp"], instant(*hour), "{context}");
                let last = *hour + TimeDelta::hours(1) - TimeDelta::milliseconds(1);
                assert_eq!(point["endTimestamp"], instant(last), "{context}");
                assert!(
                    point["calculatedAt"].as_str().unwrap().parse::<DateTime<Utc>>().is_ok(),
                    "{context}"
                );
                assert_same(metrics_of(point), &expected[metric_type], &context);
                for metric in metrics_of(point).keys() {
                    let mark = point["reconstructed"][metric].as_str();
                    let is_marked = matches!(mark, Some("lowerBound" | "estimate"));
                    assert!(is_marked, "{context}: {metric} is {mark:?}");
                }
            }
            let series = all["allMetrics"].as_array().unwrap();
            let series = series.iter().find(|series| series["metricType"] == metric_type).unwrap();
            for part in ["dataPoints", "summary", "missing"] {
                assert_eq!(series[part], one[part], "{part} of {metric_type} in all");
            }
        }
    });
}

#[test]
fn an_hour_that_was_never_counted_is_named_as_missing() {
    end_to_end(async |shared| {
        let first = end() - TimeDelta::hours(HOURS);
        let before = first - TimeDelta::hours(1);
        // The hour after the last one is expected; the one before the first is not.
        let data = data(&shared.worker, &metrics_path("users", before, end())).await;
        assert_eq!(data["missing"], json!([instant(end())]));
        let points = data["dataPoints"].as_array().unwrap();
        assert_eq!(points.len(), usize::try_from(HOURS).unwrap(), "{points:?}");
    });
}

/// A day is rolled up by its own cron event.
#[test]
fn a_daily_event_rolls_up_its_hours() {
    end_to_end(async |shared| {
        // The platform's end is 03:00, so the day before has 21 hours of ours.
        let midnight = end() - TimeDelta::hours(3);
        let due = (midnight + TimeDelta::minutes(5)).timestamp_millis();
        let path = format!("/cdn-cgi/handler/scheduled?cron=5+0+*+*+*&time={due}");
        assert_eq!(shared.worker.send(Method::GET, &path, &[]).await.status, 200);
        let day = midnight - TimeDelta::days(1);
        let path = format!(
            "{API}?metricType=media&granularity=daily&startDate={}&endDate={}",
            instant(day),
            instant(day + TimeDelta::minutes(1))
        );
        let daily = data(&shared.worker, &path).await;
        let point = &daily["dataPoints"][0];
        assert_eq!(point["coverage"], json!({"present": 21, "expected": 24}), "{daily}");
        let hours = data(&shared.worker, &day_path("media")).await;
        let last = hours["dataPoints"]
            .as_array()
            .unwrap()
            .iter()
            .find(|hour| hour["timestamp"] == instant(midnight - TimeDelta::hours(1)))
            .unwrap();
        assert_eq!(point["metrics"]["totalMedia"], last["metrics"]["totalMedia"]);
        // Short by three hours, so absent.
        assert_eq!(point["metrics"].get("newMedia"), None);
    });
}
