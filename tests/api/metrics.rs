//! `GET /metrics`: data points and summaries against the independent computation.

use edge_analytics::host::Severity;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{HOURS, history, instant},
    engine_suite::TYPES,
};

use crate::common::{
    all_hours, api_over, assert_series, hour_of_users, keys, range, record, texts, timestamps,
};

#[tokio::test]
async fn every_type_is_answered_exactly() {
    let api = history().api();
    for metric_type in TYPES {
        let data = api.data(all_hours(metric_type)).await;
        assert_eq!(
            keys(&data),
            [
                "dataPoints",
                "endDate",
                "granularity",
                "metricType",
                "missing",
                "startDate",
                "summary"
            ]
        );
        assert_eq!(data["metricType"], metric_type);
        assert_eq!(data["granularity"], "hourly");
        assert_eq!(data["startDate"], "2026-05-31T19:00:00.000Z");
        assert_eq!(data["endDate"], "2026-06-01T02:00:00.000Z");
        assert_series(&data, metric_type);
    }
}

#[tokio::test]
async fn all_types_are_answered_exactly_at_once() {
    let data = history().api().data(all_hours("all")).await;
    assert_eq!(
        keys(&data),
        [
            "allMetrics",
            "combinedSummary",
            "endDate",
            "granularity",
            "metricType",
            "missing",
            "startDate"
        ]
    );
    assert_eq!(data["metricType"], "all");
    assert_eq!(data["missing"], json!([]));
    let types = ["users", "media", "albums", "interactions", "generations", "storage", "business"];
    assert_eq!(
        data["combinedSummary"],
        json!({"totalDataPoints": HOURS as usize * TYPES.len(), "metricTypes": types})
    );
    let all = data["allMetrics"].as_array().unwrap();
    let names: Vec<_> = all.iter().map(|series| series["metricType"].as_str().unwrap()).collect();
    assert_eq!(names, types);
    for series in all {
        assert_eq!(keys(series), ["dataPoints", "metricType", "missing", "summary"]);
        match series["metricType"].as_str().unwrap() {
            "storage" => assert_eq!(series["dataPoints"], json!([])),
            metric_type => assert_series(series, metric_type),
        }
    }
}

#[tokio::test]
async fn a_type_without_records_has_no_points_and_none_missing() {
    let data = history().api().data(all_hours("storage")).await;
    assert_eq!(data["dataPoints"], json!([]));
    assert_eq!(data["missing"], json!([]));
    assert_eq!(
        data["summary"],
        json!({"totalDataPoints": 0, "averages": {}, "totals": {}, "trends": {}})
    );
}

#[tokio::test]
async fn whole_responses() {
    let metrics = |total: &str, new: &str, revenue: &str| {
        (
            json!({"totalUsers": {"N": total}, "newUsers": {"N": new}, "visitors": {"N": "4"}}),
            json!({"newRevenue": {"N": revenue}, "totalRevenue": {"N": "29.99"}}),
        )
    };
    let (older_users, older_business) = metrics("100", "3", "0.1");
    let (newer_users, newer_business) = metrics("106", "6", "0.2");
    let hours = [
        ("2026-06-01T01:00:00", "2026-06-01T01:59:59", older_users, older_business),
        ("2026-06-01T02:00:00", "2026-06-01T02:59:59", newer_users, newer_business),
    ];
    let items: Vec<Item> = hours
        .iter()
        .flat_map(|(start, last, users, business)| {
            [("users", users), ("business", business)]
                .map(|(name, metrics)| record(name, "hourly", start, last, metrics))
        })
        .collect();
    let (_table, api, _host) = api_over(&items, "2026-06-01T04:00:00Z").await;
    let users = api
        .metrics(range("users", "hourly", "2026-06-01T00:00:00Z", "2026-06-01T05:00:00%2B01:00"))
        .await;
    assert_eq!(users.header("content-type"), Some("application/json; charset=utf-8"));
    insta::assert_snapshot!("metrics_of_a_type", users.shown(&[]));
    let summary = &users.json()["data"]["summary"];
    assert_eq!(summary["averages"], json!({"totalUsers": 103, "newUsers": 4.5, "visitors": 4}));
    // Distinct counts cannot be added up.
    assert_eq!(summary["totals"], json!({"totalUsers": 106, "newUsers": 9}));
    let all = range("all", "hourly", "2026-06-01T00:00:00Z", "2026-06-01T03:00:00Z");
    let all = api.metrics(format!("{all}&metrics=totalUsers,newUsers,newRevenue")).await;
    insta::assert_snapshot!("metrics_of_all_types", all.shown(&[]));
    let business =
        api.data(range("business", "hourly", "2026-06-01T01:00:00Z", "2026-06-01T02:00:00Z")).await;
    assert_eq!(
        business["summary"],
        json!({
            "totalDataPoints": 2,
            // 0.1 + 0.2 in decimal.
            "averages": {"newRevenue": 0.15, "totalRevenue": 29.99},
            "totals": {"newRevenue": 0.3, "totalRevenue": 29.99},
            "trends": {"newRevenue": "up", "totalRevenue": "stable"},
        })
    );
}

#[tokio::test]
async fn missing_names_the_complete_periods_without_a_record_and_no_others() {
    let items: Vec<Item> = [0, 1, 3, 5].map(|hour| hour_of_users(hour, hour)).to_vec();
    let (_table, api, host) = api_over(&items, "2026-06-01T06:59:59.999Z").await;
    let day = range("users", "hourly", "2026-06-01", "2026-06-02");
    let data = api.data(&day).await;
    assert_eq!(
        timestamps(&data),
        [
            "2026-06-01T05:00:00.000Z",
            "2026-06-01T03:00:00.000Z",
            "2026-06-01T01:00:00.000Z",
            "2026-06-01T00:00:00.000Z"
        ]
    );
    let holes = ["2026-06-01T04:00:00.000Z", "2026-06-01T02:00:00.000Z"];
    assert_eq!(texts(&data["missing"]), holes);

    // One millisecond later the hour 06 is complete.
    host.set(instant("2026-06-01T07:00:00Z"));
    let data = api.data(&day).await;
    assert_eq!(texts(&data["missing"]), [&["2026-06-01T06:00:00.000Z"][..], &holes].concat());
}

#[tokio::test]
async fn with_all_each_type_has_its_own_holes() {
    let albums = |hour: u32| {
        let (start, last) =
            (format!("2026-06-01T{hour:02}:00:00"), format!("2026-06-01T{hour:02}:59:59"));
        record("albums", "hourly", &start, &last, &json!({"newAlbums": {"N": "1"}}))
    };
    let items = [hour_of_users(0, 1), hour_of_users(1, 1), albums(0), albums(2)];
    let (_table, api, _host) = api_over(&items, "2026-06-01T03:00:00Z").await;
    let data = api.data(range("all", "hourly", "2026-06-01", "2026-06-01T02:00:00Z")).await;
    let missing = |metric_type: &str| {
        let all = data["allMetrics"].as_array().unwrap();
        let series = all.iter().find(|series| series["metricType"] == metric_type).unwrap();
        texts(&series["missing"])
    };
    assert_eq!(missing("users"), ["2026-06-01T02:00:00.000Z"]);
    assert_eq!(missing("albums"), ["2026-06-01T01:00:00.000Z"]);
    let all = ["2026-06-01T02:00:00.000Z", "2026-06-01T01:00:00.000Z", "2026-06-01T00:00:00.000Z"];
    assert_eq!(missing("media"), all);
    assert!(missing("storage").is_empty());
    assert_eq!(texts(&data["missing"]), all);
    assert_eq!(data["combinedSummary"]["totalDataPoints"], 4);
}

#[tokio::test]
async fn days_weeks_and_months_are_periods_of_their_own() {
    let metrics = json!({"newUsers": {"N": "2"}});
    let items = [
        record("users", "daily", "2026-12-31T00:00:00", "2026-12-31T23:59:59", &metrics),
        record("users", "weekly", "2026-12-28T00:00:00", "2027-01-03T23:59:59", &metrics),
        record("users", "monthly", "2026-12-01T00:00:00", "2026-12-31T23:59:59", &metrics),
    ];
    let (_table, api, _host) = api_over(&items, "2027-02-03T12:00:00Z").await;
    for (granularity, start, end, there, last, missing) in [
        (
            "daily",
            "2026-12-30",
            "2027-01-01",
            "2026-12-31T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            vec!["2027-01-01T00:00:00.000Z", "2026-12-30T00:00:00.000Z"],
        ),
        (
            "weekly",
            "2026-12-15",
            "2027-01-10",
            "2026-12-28T00:00:00.000Z",
            "2027-01-03T23:59:59.999Z",
            vec!["2027-01-04T00:00:00.000Z", "2026-12-21T00:00:00.000Z"],
        ),
        (
            // From the 31st, over a February that is not over yet.
            "monthly",
            "2026-10-31",
            "2027-03-01",
            "2026-12-01T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            vec!["2027-01-01T00:00:00.000Z", "2026-11-01T00:00:00.000Z"],
        ),
    ] {
        for metric_type in ["users", "all"] {
            let data = api.data(range(metric_type, granularity, start, end)).await;
            let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
            assert_eq!(timestamps(series), [there], "{granularity}");
            assert_eq!(series["dataPoints"][0]["endTimestamp"], last, "{granularity}");
            assert_eq!(texts(&series["missing"]), missing, "{granularity}");
        }
    }
}

#[tokio::test]
async fn both_ends_of_the_range_are_inclusive() {
    let api = history().api();
    let hour = |number: u32| format!("2026-06-01T0{number}:00:00.000Z");
    for (start, end, expected) in [
        ("2026-06-01T00:00:00Z", "2026-06-01T02:00:00Z", vec![hour(2), hour(1), hour(0)]),
        ("2026-06-01T00:00:00.001Z", "2026-06-01T02:00:00Z", vec![hour(2), hour(1)]),
        ("2026-06-01T00:00:00Z", "2026-06-01T01:59:59.999Z", vec![hour(1), hour(0)]),
        ("2026-06-01", "2026-06-01T00:00:00.001Z", vec![hour(0)]),
        ("2026-05-31T23:59:59.999Z", "2026-06-01", vec![hour(0)]),
        ("2026-06-01T00:00:00.001Z", "2026-06-01T00:59:59.999Z", vec![]),
    ] {
        let data = api.data(range("users", "hourly", start, end)).await;
        assert_eq!(timestamps(&data), expected, "{start} to {end}");
        let data = api.data(range("all", "hourly", start, end)).await;
        assert_eq!(timestamps(&data["allMetrics"][0]), expected, "{start} to {end}, all");
    }
}

#[tokio::test]
async fn only_the_named_metrics_are_answered() {
    let api = history().api();
    let everything = api.data(all_hours("users")).await;
    let data = api.data(format!("{}&metrics=newUsers,%20visitors", all_hours("users"))).await;
    let points = data["dataPoints"].as_array().unwrap();
    assert_eq!(points.len(), HOURS as usize);
    for (point, whole) in points.iter().zip(everything["dataPoints"].as_array().unwrap()) {
        assert_eq!(keys(&point["metrics"]), ["newUsers", "visitors"]);
        assert_eq!(point["metrics"]["newUsers"], whole["metrics"]["newUsers"]);
        assert_eq!(point["timestamp"], whole["timestamp"]);
    }
    assert_eq!(keys(&data["summary"]["averages"]), ["newUsers", "visitors"]);
    assert_eq!(keys(&data["summary"]["totals"]), ["newUsers"]);

    // With `all`, the metrics of any type can be named.
    let data = api.data(format!("{}&metrics=newUsers,MRR", all_hours("all"))).await;
    for series in data["allMetrics"].as_array().unwrap() {
        let expected: &[&str] = match series["metricType"].as_str().unwrap() {
            "users" => &["newUsers"],
            "business" => &["MRR"],
            _ => &[],
        };
        for point in series["dataPoints"].as_array().unwrap() {
            assert_eq!(keys(&point["metrics"]), expected);
        }
        assert_eq!(keys(&series["summary"]["averages"]), expected);
    }
}

#[tokio::test]
async fn a_damaged_record_shows_as_missing() {
    let undamaged = hour_of_users(0, 10);
    let damage = |hour: u32, name: &str, value: Option<Value>| {
        let mut item = hour_of_users(hour, 10);
        match value {
            Some(value) => item.insert(name.to_owned(), value),
            None => item.remove(name),
        };
        item
    };
    let items = [
        undamaged,
        damage(1, "metrics", Some(json!({"S": "not a map"}))),
        damage(2, "metrics", None),
        damage(3, "calculatedAt", Some(json!({"S": "yesterday"}))),
        damage(4, "timestamp", Some(json!({"N": "5"}))),
        damage(5, "granularity", Some(json!({"S": "secondly"}))),
        damage(6, "version", Some(json!({"N": "99"}))),
        // An older version is no damage.
        damage(7, "version", Some(json!({"N": "0"}))),
    ];
    let (_table, api, host) = api_over(&items, "2026-06-01T08:00:00Z").await;
    for metric_type in ["users", "all"] {
        let before = host.lines().len();
        let answer =
            api.metrics(range(metric_type, "hourly", "2026-06-01", "2026-06-01T07:00:00Z")).await;
        let data = &answer.json()["data"];
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { data };
        assert_eq!(
            timestamps(series),
            ["2026-06-01T07:00:00.000Z", "2026-06-01T00:00:00.000Z"],
            "{metric_type}"
        );
        let damaged: Vec<_> =
            (1..=6).rev().map(|hour| format!("2026-06-01T0{hour}:00:00.000Z")).collect();
        assert_eq!(texts(&series["missing"]), damaged, "{metric_type}");
        assert_eq!(series["summary"]["averages"]["totalUsers"], 10);

        // The operator learns of it, under the request's id.
        let lines = host.lines().split_off(before);
        let unreadable: Vec<_> =
            lines.iter().filter(|(_, line)| line["event"] == "unreadable_record").collect();
        assert_eq!(unreadable.len(), 6, "{lines:?}");
        let id = answer.assert_common_headers();
        for (severity, line) in unreadable {
            assert_eq!(*severity, Severity::Error);
            assert_eq!(line["requestId"], id);
        }
    }
}
