//! Queries that are generated: no query makes the API fail.

use axum::body::Body;
use chrono::{DateTime, TimeDelta};
use http::StatusCode;
use proptest::{prelude::*, test_runner::TestRunner};
use support::{
    api::{METRICS, StandingHost, get, history, instant, with_token},
    engine_suite::end,
};

use crate::common::{keys, range, texts, timestamps};

/// A parameter's value: right, nearly right, or anything.
fn any_value() -> impl Strategy<Value = String> {
    let date = (0..=9999_i32, 0..=13_u32, 0..=32_u32, 0..=24_u32, -24..=24_i32).prop_map(
        |(year, month, day, hour, offset)| {
            let sign = if offset < 0 { '-' } else { '+' };
            let offset = offset.abs();
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00{sign}{offset:02}:00")
        },
    );
    let edge = proptest::sample::select(vec![
        "users",
        "all",
        "storage",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "2026-06-01",
        "0000-01-01",
        "9999-12-31T23:59:59.999Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T20:00:00-23:59",
        "0000-01-01T00:00:00+23:59",
        "newUsers",
        "newUsers,MRR",
        ",",
        "",
    ])
    .prop_map(str::to_owned);
    prop_oneof![3 => edge, 3 => date, 1 => any::<String>()]
}

/// Every octet percent-encoded.
fn percent_encoded(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| text + &format!("%{octet:02X}"))
}

/// A query string of known and unknown parameters.
fn parameters() -> impl Strategy<Value = String> {
    let known = ["metricType", "granularity", "startDate", "endDate"];
    let type_and_granularity = (
        proptest::sample::select(vec!["users", "business", "storage", "all"]),
        proptest::sample::select(vec!["hourly", "daily", "weekly", "monthly"]),
    );
    let encode = |pairs: Vec<(String, String)>| {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    let plausible = (type_and_granularity, any_value(), any_value()).prop_map(
        move |((metric_type, granularity), start, end)| {
            let values = [metric_type, granularity, &start, &end];
            encode(known.into_iter().zip(values).map(|(n, v)| (n.into(), v.into())).collect())
        },
    );
    let name = prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => Just("metrics".to_owned()),
        1 => any::<String>(),
    ];
    let pairs = proptest::collection::vec((name, any_value()), 0..7).prop_map(encode);
    let octets =
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|octets| percent_encoded(&octets));
    let raw = "[!$%&'()*+,\\-./0-9:;<=>?@A-Z\\[\\]^_a-z{|}~]{0,200}";
    prop_oneof![3 => plausible, 3 => pairs, 1 => octets, 1 => raw]
}

/// Whatever the query string, the answer is data or an error of the caller's, in its shape.
#[test]
fn no_query_string_makes_the_api_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let api = history().api();
    let test = |query: String| {
        // What is no URI never reaches the API.
        let Ok(request) = with_token(get(format!("{METRICS}?{query}"))).body(Body::empty()) else {
            return Ok(());
        };
        let answer = runtime.block_on(api.send(request));
        if answer.status == StatusCode::OK {
            let body = answer.json();
            prop_assert_eq!(keys(&body), ["data", "success"]);
            prop_assert_eq!(&body["success"], true);
            answer.assert_common_headers();
        } else {
            prop_assert!(answer.status.as_u16() < 500, "{}: {}", answer.status, answer.text());
            answer.error(400);
        }
        Ok(())
    };
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() };
    TestRunner::new(config).run(&parameters(), test).unwrap();
}

/// Every range of a few months is answered, in any year and with any offset, and every complete
/// period in it is either a data point or missing.
#[test]
fn every_reasonable_range_is_answered_and_accounts_for_every_period() {
    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = end() + TimeDelta::minutes(20);
    let host = StandingHost::at(now);
    let api = history().api_with(host);
    // Each granularity with its periods' length and the start of one of them.
    let granularities = [("hourly", HOUR, 0), ("daily", DAY, 0), ("weekly", 7 * DAY, 4 * DAY)];
    let anywhere = instant("0000-01-03T00:00:00Z").timestamp_millis()
        ..instant("9999-06-01T00:00:00Z").timestamp_millis();
    let around_now = (now - TimeDelta::days(30)).timestamp_millis()
        ..(now + TimeDelta::days(2)).timestamp_millis();
    let to_the_hour = |start: i64| start.div_euclid(HOUR) * HOUR;
    let start = prop_oneof![anywhere, around_now.clone(), around_now.prop_map(to_the_hour),];
    let span = prop_oneof![1..200 * DAY, (1..200_i64).prop_map(|days| days * DAY)];
    let granularity = proptest::sample::select(granularities.to_vec());
    let metric_type = proptest::sample::select(vec!["users", "all"]);
    let case = (metric_type, granularity, start, span, -23..=23_i32);
    let test = |(metric_type, (granularity, length, origin), start, span, offset): (
        &str,
        (&str, i64, i64),
        i64,
        i64,
        i32,
    )| {
        let zone = chrono::FixedOffset::east_opt(offset * 3600).unwrap();
        let text = |milliseconds: i64| {
            let instant = DateTime::from_timestamp_millis(milliseconds).unwrap();
            instant.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
        };
        let query = range(metric_type, granularity, &text(start), &text(start + span));
        let data = runtime.block_on(api.data(&query));
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        let first = (start - origin).div_euclid(length)
            + i64::from((start - origin).rem_euclid(length) != 0);
        let last = (start + span - origin).div_euclid(length);
        let last_complete = (now.timestamp_millis() - origin).div_euclid(length) - 1;
        // Nothing is missing before the period in which counting began.
        let begin = (history().first.timestamp_millis() - origin).div_euclid(length);
        let expected = (last.min(last_complete) - first.max(begin) + 1).max(0);
        let there = timestamps(series).len() + texts(&series["missing"]).len();
        prop_assert_eq!(i64::try_from(there).unwrap(), expected, "{}", query);
        Ok(())
    };
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    TestRunner::new(config).run(&case, test).unwrap();
}
