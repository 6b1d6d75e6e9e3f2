//! Wrong queries: what is rejected, and the error.

use axum::body::Body;
use http::StatusCode;
use serde_json::json;
use support::api::{Answer, METRICS, get, history};

use crate::common::{an_hour_of_users, range, timestamps};

const TYPE_ERROR: &str = "Invalid metricType. Must be one of: users, media, albums, interactions, \
                          generations, storage, business, all";

const GRANULARITY_ERROR: &str =
    "Invalid granularity. Must be one of: hourly, daily, weekly, monthly";

const START_ERROR: &str = "Invalid startDate format. Use ISO 8601 format";

const END_ERROR: &str = "Invalid endDate format. Use ISO 8601 format";

const ORDER_ERROR: &str = "startDate must be before endDate";

#[track_caller]
pub fn assert_rejected(answer: &Answer, error: &str, query: &str) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text());
    assert_eq!(answer.error(400), error, "{query}");
}

#[tokio::test]
async fn absent_and_empty_parameters_are_named() {
    let api = history().api();
    let given = [
        ("metricType", "users"),
        ("granularity", "hourly"),
        ("startDate", "2026-06-01"),
        ("endDate", "2026-06-02"),
    ];
    for (name, _) in given {
        let query = |empty: Option<String>| {
            let others = given.iter().filter(|(other, _)| *other != name);
            let others = others.map(|(other, value)| format!("{other}={value}"));
            others.chain(empty).collect::<Vec<_>>().join("&")
        };
        for empty in [None, Some(format!("{name}=")), Some(name.to_owned())] {
            let query = query(empty);
            let answer = api.metrics(&query).await;
            assert_rejected(&answer, &format!("{name} is required"), &query);
            assert_eq!(answer.json()["details"]["parameter"], name);
        }
    }
    for uri in [METRICS.to_owned(), format!("{METRICS}?"), format!("{METRICS}?&&&")] {
        assert_rejected(&api.get(&uri).await, "metricType is required", &uri);
    }
    // An empty `metrics` names no metric.
    let query = format!("{}&metrics=", an_hour_of_users());
    assert_eq!(api.metrics(&query).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn repeated_and_unknown_parameters_are_named() {
    let api = history().api();
    let hour = an_hour_of_users();
    for (addition, error) in [
        ("metricType=users", "metricType is repeated"),
        ("metricType=media", "metricType is repeated"),
        ("granularity=hourly", "granularity is repeated"),
        ("startDate=2026-06-01", "startDate is repeated"),
        ("endDate=", "endDate is repeated"),
        ("metrics=newUsers&metrics=visitors", "metrics is repeated"),
        ("metric%54ype=users", "metricType is repeated"),
        ("page=5", "Unknown parameter: page"),
        ("metrictype=users", "Unknown parameter: metrictype"),
        ("metricType[]=users", "Unknown parameter: metricType[]"),
        ("metricType%5B%5D=users", "Unknown parameter: metricType[]"),
        ("startDate[gt]=2026-06-01", "Unknown parameter: startDate[gt]"),
        ("=users", "Unknown parameter: "),
    ] {
        let query = format!("{hour}&{addition}");
        assert_rejected(&api.metrics(&query).await, error, &query);
    }
}

#[tokio::test]
async fn unknown_types_granularities_and_metrics_are_rejected_with_what_there_is() {
    let api = history().api();
    let with = |metric_type: &str, granularity: &str, more: &str| {
        range(metric_type, granularity, "2026-06-01", "2026-06-02") + more
    };
    for (query, error) in [
        (with("unicorns", "hourly", ""), TYPE_ERROR),
        (with("Users", "hourly", ""), TYPE_ERROR),
        (with("users,media", "hourly", ""), TYPE_ERROR),
        (with("5", "hourly", ""), TYPE_ERROR),
        (with("null", "hourly", ""), TYPE_ERROR),
        (with("%5B%22users%22%5D", "hourly", ""), TYPE_ERROR),
        (with("users%23daily", "hourly", ""), TYPE_ERROR),
        (with("users", "secondly", ""), GRANULARITY_ERROR),
        (with("users", "HOURLY", ""), GRANULARITY_ERROR),
        (with("users", "3600", ""), GRANULARITY_ERROR),
        (with("users", "hourly", "&metrics=unicorns"), "Unknown metrics: unicorns"),
        (with("users", "hourly", "&metrics=newUsers,a,b"), "Unknown metrics: a, b"),
        (with("all", "hourly", "&metrics=newUsers,a"), "Unknown metrics: a"),
        // A metric of another type.
        (with("users", "hourly", "&metrics=newUsers,newMedia"), "Unknown metrics: newMedia"),
        (with("users", "hourly", "&metrics=NEWUSERS"), "Unknown metrics: NEWUSERS"),
    ] {
        assert_rejected(&api.metrics(&query).await, error, &query);
    }
    let answer = api.metrics(with("users", "hourly", "&metrics=newMedia,x")).await;
    let body = answer.json();
    assert_eq!(body["details"], json!({"parameter": "metrics", "unknown": ["newMedia", "x"]}));
    // The answer says which there are, and only those of the type.
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("totalUsers, newUsers, activeUsers, deletedUsers, visitors"));
    assert!(!message.contains("totalMedia"), "{message}");
}

#[tokio::test]
async fn malformed_dates_are_rejected() {
    let api = history().api();
    for date in [
        "yesterday",
        "2026-02-30",
        "2025-02-29",
        "2026-13-01",
        "2026-00-10",
        "2026-06-00",
        "2026-6-1",
        "20260601",
        "2026-06",
        "2026",
        "1780272000",
        "1780272000000",
        "-1",
        "NaN",
        "null",
        // Without a zone it is no instant.
        "2026-06-01T00:00:00",
        "2026-06-01T00:00:00.000",
        "2026-06-01%2000:00:00Z",
        "2026-06-01T24:00:01Z",
        "2026-06-01T00:60:00Z",
        "2026-06-01T00:00:00%2B99:00",
        "2026-06-01T00:00:00%2B02",
        "2026-06-01T00:00:00Z%00",
        "2026-06-01%0A",
        "%202026-06-01",
        "%EF%BC%92026-06-01",
        "2026-06-01T00:00:00Europe/Berlin",
        "10000-01-01",
        "%2B10000-01-01",
        "-0001-01-01",
        // Instants outside the years that timestamps can express.
        "9999-12-31T23:30:00-05:00",
        "0000-01-01T00:30:00%2B05:00",
    ] {
        let query = range("users", "hourly", date, "2026-06-01T01:00:00Z");
        let answer = api.metrics(&query).await;
        assert_rejected(&answer, START_ERROR, &query);
        assert_eq!(answer.json()["details"]["parameter"], "startDate");
        let query = range("users", "hourly", "2026-06-01T00:00:00Z", date);
        assert_rejected(&api.metrics(&query).await, END_ERROR, &query);
    }
}

#[tokio::test]
async fn offsets_are_respected() {
    let api = history().api();
    for start in [
        "2026-06-01T02:00:00%2B02:00",
        // Unencoded, as people paste it.
        "2026-06-01T02:00:00+02:00",
        "2026-05-31T19:00:00-05:00",
        "2026-06-01T05:30:00.000%2B05:30",
        "2026-06-01T00:00:00%2B00:00",
        "2026-06-01T00:00:00Z",
        "2026-06-01",
    ] {
        let data = api.data(range("users", "hourly", start, "2026-06-01T03:00:00%2B02:00")).await;
        assert_eq!(data["startDate"], "2026-06-01T00:00:00.000Z", "{start}");
        assert_eq!(data["endDate"], "2026-06-01T01:00:00.000Z");
        assert_eq!(
            timestamps(&data),
            ["2026-06-01T01:00:00.000Z", "2026-06-01T00:00:00.000Z"],
            "{start}"
        );
    }
}

#[tokio::test]
async fn the_start_must_lie_before_the_end() {
    let api = history().api();
    for (start, end) in [
        ("2026-06-01", "2026-06-01"),
        ("2026-06-01", "2026-05-31"),
        ("2026-06-01T00:00:00.001Z", "2026-06-01"),
        // The same instant, and an earlier one that reads as a later one.
        ("2026-06-01T02:00:00%2B02:00", "2026-06-01T00:00:00Z"),
        ("2026-06-01T01:00:00Z", "2026-06-01T02:00:00%2B02:00"),
        ("9999-12-31", "0000-01-01"),
    ] {
        let query = range("users", "hourly", start, end);
        assert_rejected(&api.metrics(&query).await, ORDER_ERROR, &query);
    }
}

#[tokio::test]
async fn the_first_and_the_last_year_are_years() {
    let api = history().api();
    for metric_type in ["users", "all"] {
        for (granularity, start, end) in [
            ("hourly", "0000-01-01", "0000-01-02"),
            ("daily", "0000-01-01", "0001-01-01"),
            ("weekly", "0000-01-01", "0001-01-01"),
            ("monthly", "0000-01-01", "0001-01-01"),
            ("hourly", "9999-12-31", "9999-12-31T23:59:59.999Z"),
            ("daily", "9999-01-01", "9999-12-31T23:59:59.999Z"),
            ("weekly", "9999-12-30", "9999-12-31"),
            ("monthly", "9999-12-01", "9999-12-31"),
        ] {
            let data = api.data(range(metric_type, granularity, start, end)).await;
            let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
            assert_eq!(series["dataPoints"], json!([]), "{granularity} {start}");
            if start.starts_with('9') {
                assert_eq!(data["missing"], json!([]), "{granularity} {start}");
            }
        }
        let query = range(metric_type, "monthly", "0000-01-01", "9999-12-31");
        assert_rejected(&api.metrics(&query).await, "Range too large", &query);
    }
}

#[tokio::test]
async fn more_than_five_thousand_periods_are_rejected_with_the_range_that_would_do() {
    let api = history().api();
    for (granularity, start, latest, beyond) in [
        ("hourly", "2026-01-01", "2026-07-28T07:00:00.000Z", "2026-07-28T08:00:00Z"),
        ("daily", "2026-01-01", "2039-09-09T00:00:00.000Z", "2039-09-10"),
        // From a Thursday: the first week starts on the 5th.
        ("weekly", "2026-01-01", "2121-10-27T00:00:00.000Z", "2121-11-03"),
        ("monthly", "2026-01-01", "2442-08-01T00:00:00.000Z", "2442-09-01"),
    ] {
        for metric_type in ["users", "all"] {
            for end in [beyond, "9999-12-31"] {
                let query = range(metric_type, granularity, start, end);
                let answer = api.metrics(&query).await;
                assert_rejected(&answer, "Range too large", &query);
                let body = answer.json();
                assert_eq!(
                    body["details"],
                    json!({"maximumPeriods": 5000, "latestEndDate": latest})
                );
                assert!(body["message"].as_str().unwrap().contains(latest), "{body}");
            }
            let data = api.data(range(metric_type, granularity, start, latest)).await;
            assert_eq!(data["endDate"], latest);
        }
    }
}

#[tokio::test]
async fn a_very_long_query_string_is_rejected() {
    let api = history().api();
    let hour = an_hour_of_users();
    for query in [
        format!("{hour}&metrics={}", "a".repeat(16 * 1024)),
        format!("{hour}&metrics={}", "a,".repeat(8 * 1024)),
        format!("{hour}&{}", "x".repeat(16 * 1024)),
        "&".repeat(16 * 1024),
        "%00".repeat(5_500),
    ] {
        let answer = api.metrics(&query).await;
        assert_rejected(&answer, "Query string too long", &query[..100]);
        assert!(answer.body.len() < 1024);
    }
    // What is just short enough to be looked at does not come back whole either.
    for query in [
        format!("{hour}&metrics={}", "a".repeat(7_000)),
        format!("{hour}&metrics={}", "a,".repeat(3_500)),
        format!("{hour}&{}=1", "x".repeat(7_000)),
        range(&"u".repeat(7_000), "hourly", "2026-06-01", "2026-06-02"),
        range("users", "hourly", &"2".repeat(7_000), "2026-06-02"),
    ] {
        let answer = api.metrics(&query).await;
        answer.error(400);
        assert!(answer.body.len() < 4096, "{} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn control_characters_and_broken_encodings_are_rejected() {
    let api = history().api();
    for value in [
        "users%00",
        "%00",
        "us%0Aers",
        "%0D%0ASet-Cookie:a=b",
        "%1B[31m",
        "%7F",
        "%C2%85",
        "%",
        "%Z",
        "%ZZ",
        "users%",
        "users%2",
        "%FF%FE",
        "%C3%28",
        "%ED%A0%80",
        "%F0%9F%A6%84",
        "%F4%90%80%80",
        "%E2%80%AE",
        "u\u{fc}sers",
    ] {
        let query = range(value, "hourly", "2026-06-01", "2026-06-02");
        let answer = api.metrics(&query).await;
        assert_rejected(&answer, TYPE_ERROR, &query);
        let text = answer.json().to_string() + &format!("{:?}", answer.headers);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        for query in [
            format!("{}&{value}=1", an_hour_of_users()),
            format!("{}&metrics={value}", an_hour_of_users()),
            range("users", value, "2026-06-01", "2026-06-02"),
            range("users", "hourly", value, "2026-06-02"),
        ] {
            let answer = api.metrics(&query).await;
            answer.error(400);
            assert!(!answer.json()["error"].as_str().unwrap().chars().any(char::is_control));
        }
    }
}

#[tokio::test]
async fn an_unauthorized_caller_learns_nothing_about_the_input() {
    let api = history().api();
    let answer =
        api.send(get(format!("{METRICS}?metricType=unicorns")).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.error(401), "Authentication required");
}
