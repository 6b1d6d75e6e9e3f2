//! Wrong requests over HTTP.

use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::{API, TOKEN, assert_error, data, day_path, end_to_end, get, metrics_of};

/// A query with one parameter given as `text`.
fn query_with(parameter: &str, text: &str) -> String {
    let usual = [
        ("metricType", "users"),
        ("granularity", "hourly"),
        ("startDate", "2026-05-31"),
        ("endDate", "2026-06-01"),
    ];
    let mut query: Vec<String> = usual
        .iter()
        .filter(|(name, _)| *name != parameter)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    query.push(text.to_owned());
    query.join("&")
}

const NO_TYPE: &str =
    "Invalid metricType. Must be one of: users, media, albums, interactions, generations";

const NO_GRANULARITY: &str = "Invalid granularity. Must be one of: hourly, daily, weekly, monthly";

const NO_START: &str = "Invalid startDate format. Use ISO 8601 format";

const NO_END: &str = "Invalid endDate format. Use ISO 8601 format";

const NO_RANGE: &str = "startDate must be before endDate";

const UNKNOWN: &str = "Unknown parameter: ";

const LONG_RANGE: &str = "Range too large";

const LONG_QUERY: &str = "Query string too long";

/// Bad input: the parameter that is replaced in a good query, by what, and how the `error` begins.
const BAD_INPUT: &[(&str, &str, &str)] = &[
    ("metricType", "", "metricType is required"),
    ("granularity", "", "granularity is required"),
    ("startDate", "", "startDate is required"),
    ("endDate", "", "endDate is required"),
    ("metricType", "metricType=", "metricType is required"),
    ("metricType", "metricType", "metricType is required"),
    ("granularity", "granularity=", "granularity is required"),
    ("startDate", "startDate=", "startDate is required"),
    ("endDate", "endDate=", "endDate is required"),
    ("", "metricType=users", "metricType is repeated"),
    ("", "endDate=2026-06-02", "endDate is repeated"),
    ("", "metrics=newUsers&metrics=newUsers", "metrics is repeated"),
    ("", "page=10", UNKNOWN),
    ("", "metrictype=users", UNKNOWN),
    ("", "%00=1", UNKNOWN),
    ("", "%ff=1", UNKNOWN),
    ("", "=", UNKNOWN),
    ("metricType", "metricType[]=users", UNKNOWN),
    ("metricType", "metricType[name]=users", UNKNOWN),
    ("metricType", "metricType=Users", NO_TYPE),
    ("metricType", "metricType=users%00", NO_TYPE),
    ("metricType", "metricType=%ff%fe", NO_TYPE),
    ("metricType", "metricType=%c3%28", NO_TYPE),
    ("metricType", "metricType=%e2%82%ac%f0%9f%92%a9", NO_TYPE),
    ("metricType", "metricType=users%0d%0aX-Injected:%20yes", NO_TYPE),
    ("metricType", "metricType=%01%02%1b%5b31m%7f", NO_TYPE),
    ("metricType", "metricType=%", NO_TYPE),
    ("metricType", "metricType=%zz", NO_TYPE),
    ("metricType", "metricType=users%23hourly", NO_TYPE),
    ("metricType", "metricType=__proto__", NO_TYPE),
    ("metricType", "metricType=%7B%22S%22:%22users%22%7D", NO_TYPE),
    ("metricType", "metricType=1", NO_TYPE),
    ("metricType", "metricType=null", NO_TYPE),
    ("granularity", "granularity=yearly", NO_GRANULARITY),
    ("granularity", "granularity=60", NO_GRANULARITY),
    ("granularity", "granularity=true", NO_GRANULARITY),
    ("granularity", "granularity=hourly%0a", NO_GRANULARITY),
    ("startDate", "startDate=2026-02-30", NO_START),
    ("startDate", "startDate=yesterday", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00", NO_START),
    ("startDate", "startDate=2026-05-31%2010:00:00Z", NO_START),
    ("startDate", "startDate=1780185600000", NO_START),
    ("startDate", "startDate=-1", NO_START),
    ("startDate", "startDate=1e3", NO_START),
    ("startDate", "startDate=2026-05-31%00", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00%ff", NO_START),
    ("startDate", "startDate=-0001-01-01", NO_START),
    ("startDate", "startDate=10000-01-01", NO_START),
    ("startDate", "startDate=2026-05-31T24:30:00Z", NO_START),
    ("startDate", "startDate=2026-05-31T10:00:00%2B99:99", NO_START),
    ("endDate", "endDate=2026-06-31", NO_END),
    ("endDate", "endDate=tomorrow", NO_END),
    ("endDate", "endDate=%c2%b2026-06-01", NO_END),
    ("endDate", "endDate=99999-01-01", NO_END),
    ("startDate", "startDate=2026-06-01", NO_RANGE),
    ("startDate", "startDate=2026-06-01T02:00:00%2B02:00", NO_RANGE),
    ("startDate", "startDate=9999-12-31T23:59:59.999Z", NO_RANGE),
    ("endDate", "endDate=2026-05-30", NO_RANGE),
    ("endDate", "endDate=0000-01-01", NO_RANGE),
    ("startDate", "startDate=0000-01-01", LONG_RANGE),
    ("endDate", "endDate=9999-12-31T23:59:59.999Z", LONG_RANGE),
    ("", "metrics=nonsense", "Unknown metrics: nonsense"),
    ("", "metrics=newUsers,nonsense,other", "Unknown metrics: nonsense, other"),
    ("", "metrics=newMedia", "Unknown metrics: newMedia"),
    ("", "metrics=", "Unknown metrics: "),
    ("", "metrics=%00", "Unknown metrics: "),
    ("", "metrics=newUsers,,", "Unknown metrics: "),
];

/// The same, long.
fn long_bad_input() -> Vec<(&'static str, String, &'static str)> {
    let long_value = "x".repeat(7000);
    vec![
        ("metricType", format!("metricType={long_value}"), NO_TYPE),
        ("startDate", format!("startDate={long_value}"), NO_START),
        ("", format!("metrics={}", "a,".repeat(3000)), "Unknown metrics: "),
        ("", format!("{long_value}=1"), UNKNOWN),
        ("metricType", format!("metricType={}", "x".repeat(16 * 1024)), LONG_QUERY),
        ("", "a=1&".repeat(4 * 1024), LONG_QUERY),
        ("", format!("metrics={}", "%00".repeat(5461)), LONG_QUERY),
    ]
}

#[test]
fn bad_input_is_answered_with_400_and_what_is_wrong() {
    let long = long_bad_input();
    let long = long.iter().map(|(parameter, text, error)| (*parameter, text.as_str(), *error));
    let table = BAD_INPUT.iter().copied().chain(long);
    end_to_end(async |shared| {
        for (parameter, text, expected) in table {
            let query = query_with(parameter, text);
            let shown: String = query.chars().take(200).collect();
            let answer = get(&shared.worker, &format!("{API}?{query}")).await;
            let error = assert_error(&answer, 400, &shown);
            assert!(error.starts_with(expected), "{shown}: {error}, expected {expected}");
            assert!(answer.headers.get("x-injected").is_none(), "{shown}");
            assert!(answer.body.len() < 4096, "{shown}: an answer of {}", answer.body.len());
            let has_control = answer.body.bytes().any(|byte| byte.is_ascii_control());
            assert!(!has_control && !answer.body.contains("\\u0000"), "{shown}: {}", answer.body);
        }
        for query in ["", "?", "?&&&", "?#"] {
            let answer = get(&shared.worker, &format!("{API}{query}")).await;
            assert_eq!(assert_error(&answer, 400, query), "metricType is required", "{query:?}");
        }
        // Without credentials, nothing about the input is disclosed.
        let answer = shared.worker.send(Method::GET, &format!("{API}?%00"), &[]).await;
        assert_error(&answer, 401, "bad input without credentials");
        // And what is unusual but right is answered.
        for (parameter, text) in [
            ("startDate", "startDate=2026-05-31T02:00:00%2B02:00"),
            ("startDate", "startDate=2026-05-31T02:00:00+02:00"),
            ("startDate", "startDate=2026-05-30T19:30:00-04:30"),
            ("startDate", "start%44ate=2026-05-31"),
        ] {
            let query = query_with(parameter, text);
            let data = data(&shared.worker, &format!("{API}?{query}")).await;
            assert_eq!(data["startDate"], "2026-05-31T00:00:00.000Z", "{query}");
        }
        let query = query_with("", "metrics=newUsers,totalUsers");
        let data = data(&shared.worker, &format!("{API}?{query}")).await;
        let names: Vec<&String> = metrics_of(&data["dataPoints"][0]).keys().collect();
        assert_eq!(names, ["newUsers", "totalUsers"]);
    });
}

/// Bytes that no client library sends. The runtime may refuse them itself, so only its survival
/// and the class of the answer are looked at.
#[test]
fn raw_control_characters_on_the_wire_do_no_harm() {
    end_to_end(async |shared| {
        for raw in [&b"\x01"[..], b"\x07", b"\x1b[31m", b"\x7f", b"\xff\xfe", b"\xc3\x28"] {
            let mut request = format!("GET {API}?metricType=").into_bytes();
            request.extend_from_slice(raw);
            request.extend_from_slice(
                format!(
                    "&granularity=hourly HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                     Authorization: Bearer {TOKEN}\r\n\r\n"
                )
                .as_bytes(),
            );
            let mut stream = TcpStream::connect(("127.0.0.1", shared.worker.port())).await.unwrap();
            stream.write_all(&request).await.unwrap();
            let mut answer = Vec::new();
            // It may also close the connection without a word.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 400");
            assert!(refused, "{raw:?}: {answer}");
        }
        data(&shared.worker, &day_path("users")).await;
    });
}
