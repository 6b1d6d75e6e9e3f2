//! What callers of the API send: query strings, and in them cursors and dates. Checked through the
//! router, over the support crate's counted platform.

use std::sync::LazyLock;

use axum::body::Body;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::RetryPolicy,
    metrics::period::{format_instant, parse_instant},
    settings::Settings,
};
use form_urlencoded::byte_serialize;
use http::{Request, Uri};
use serde_json::Value;
use support::{
    api::{Answer, Api, METRICS, StandingHost, history, variable, with_token},
    engine_suite::end,
    realtime::Surroundings,
};

use crate::{RUNTIME, stored::check_periods};

/// The endpoints that take parameters, and two that take none.
const ENDPOINTS: [&str; 5] = ["metrics", "runs", "realtime", "dashboard", "health"];

/// Answers to wrong requests are shorter than this, however long the request was.
const MAXIMUM_ERROR_BYTES: usize = 4096;

static API: LazyLock<Api> = LazyLock::new(|| api(&Surroundings::default(), now()));

/// A cursor of [`PAGED`] and the response to it.
static SECOND_PAGE: LazyLock<(String, Value)> = LazyLock::new(|| {
    let first = get(&API, &PAGED).json();
    let cursor = first["data"]["nextCursor"].as_str().expect("a second page").to_owned();
    let second = get(&API, &format!("{}&cursor={cursor}", *PAGED)).json();
    (cursor, second["data"].clone())
});

/// The counted hours, in pages of three.
static PAGED: LazyLock<String> = LazyLock::new(|| {
    let hours = history().hours();
    let dates = [hours[0], end()].map(format_instant);
    format!(
        "{METRICS}?metricType=users&granularity=hourly&startDate={}&endDate={}&limit=3",
        dates[0], dates[1]
    )
});

fn now() -> DateTime<Utc> {
    end() + TimeDelta::minutes(20)
}

/// The API over the counted platform.
fn api(surroundings: &Surroundings, now: DateTime<Utc>) -> Api {
    let table = &history().table;
    let read = |name: &str| variable(name, &table.endpoint, &table.name);
    let settings = Settings::read(read).expect("valid settings");
    Api::with_surroundings(settings, StandingHost::at(now), RetryPolicy::default(), surroundings)
}

fn get(api: &Api, uri: &str) -> Answer {
    RUNTIME.block_on(api.get(uri))
}

/// A query string. The first byte chooses the endpoint.
pub fn query_string(data: &[u8]) {
    let Some((endpoint, query)) = data.split_first() else { return };
    let Ok(query) = str::from_utf8(query) else { return };
    let endpoint = ENDPOINTS[usize::from(*endpoint) % ENDPOINTS.len()];
    // What is not a URI does not reach the Worker.
    let uri = format!("/api/admin/analytics/{endpoint}?{query}");
    let Ok(uri) = uri.parse::<Uri>() else { return };
    let request = with_token(Request::get(uri)).body(Body::empty()).expect("a request");
    let answer = RUNTIME.block_on(API.send(request));
    if answer.status == 400 {
        check_rejection(&answer);
        return;
    }
    // Health says with 503 that the platform of the tests has no daily runs.
    assert!(answer.status == 200 || (answer.status == 503 && endpoint == "health"));
    let data = &answer.json()["data"];
    if endpoint == "metrics" {
        let dates = ["startDate", "endDate"]
            .map(|name| parse_instant(data[name].as_str().unwrap()).unwrap());
        assert!(dates[0] < dates[1], "{data}");
        let points = data["dataPoints"].as_array().map_or(0, Vec::len);
        assert!(points <= 5000, "{points}");
    }
}

/// A rejected request is answered in the API's shape, shortly, and with the name of what is wrong.
fn check_rejection(answer: &Answer) {
    let error = answer.error(400);
    assert!(answer.body.len() <= MAXIMUM_ERROR_BYTES, "{} bytes", answer.body.len());
    let body = answer.json();
    let message = body["message"].as_str().unwrap();
    for text in [&error, message] {
        assert!(!text.chars().any(char::is_control), "{body}");
    }
    let details = body["details"].as_object().unwrap_or_else(|| panic!("no details: {body}"));
    if let Some(parameter) = details.get("parameter").and_then(Value::as_str) {
        assert!(error.contains(parameter), "{body}");
    } else {
        let known = ["startDate", "from", "maximumPeriods", "maximumRecords", "bytes"];
        assert!(known.iter().any(|name| details.contains_key(*name)), "{body}");
    }
}

/// A cursor of `GET /metrics`.
pub fn cursor(data: &[u8]) {
    let text: String = match data.strip_prefix(b"=") {
        // The cursor of a page with some of its characters replaced: position and character by turns.
        Some(edits) => {
            let mut cursor = SECOND_PAGE.0.clone().into_bytes();
            for edit in edits.chunks_exact(2) {
                let position = usize::from(edit[0]) % cursor.len();
                cursor[position] = edit[1];
            }
            byte_serialize(&cursor).collect()
        }
        None => byte_serialize(data).collect(),
    };
    let answer = get(&API, &format!("{}&cursor={text}", *PAGED));
    if answer.status == 400 {
        check_rejection(&answer);
        assert_eq!(answer.json()["details"]["parameter"], "cursor");
        return;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let data = answer.json()["data"].clone();
    let newest = |data: &Value| data["dataPoints"][0]["timestamp"].as_str().map(str::to_owned);
    // It is of this query, so that only its period can differ from that of the cursor above.
    let (_, second) = &*SECOND_PAGE;
    if newest(&data) == newest(second) {
        assert_eq!(&data, second);
    }
    let first = format_instant(history().hours()[0]);
    assert!(newest(&data).is_none_or(|newest| newest >= first), "{data}");
}

/// A date or date-time, as the API and stored items have them.
pub fn date(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // An offset can move an instant out of the years that RFC 3339 can write.
    if let Some(instant) =
        parse_instant(text).filter(|instant| (0..=9999).contains(&instant.year()))
    {
        let written = format_instant(instant);
        let again = parse_instant(&written).unwrap_or_else(|| panic!("{text}: {written}"));
        assert_eq!(again.timestamp_millis(), instant.timestamp_millis(), "{text}");
        check_periods(instant);
    }

    // With one instant as both ends of the range the API says how it reads it, and reads nothing else.
    let encoded: String = byte_serialize(data).collect();
    let query = format!("metricType=all&granularity=daily&startDate={encoded}&endDate={encoded}");
    let answer = get(&API, &format!("{METRICS}?{query}"));
    check_rejection(&answer);
    let body = answer.json();
    let details = &body["details"];
    let Some(read) = details["endDate"].as_str() else {
        assert_eq!(details["parameter"], "startDate", "{body}");
        return;
    };
    assert_eq!(details["startDate"], details["endDate"]);
    let read = parse_instant(read).expect("an instant of the API");
    check_periods(read);
    let day: NaiveDate = text[..10].parse().expect("an accepted date begins with a day");
    let offset = read.naive_utc() - day.and_time(chrono::NaiveTime::MIN);
    assert!(offset.abs() <= TimeDelta::days(2), "{text} is read as {read}");
}

/// `GET /realtime` with this text as the stored snapshot.
pub fn realtime(snapshot: &str, now: DateTime<Utc>) {
    let surroundings = Surroundings::default();
    surroundings.snapshots.show(Some(snapshot.to_owned()));
    let answer = get(&api(&surroundings, now), "/api/admin/analytics/realtime");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["data"]["counters"].is_array());
}
