//! How much memory `GET /metrics` takes for a range of 5,000 hours of all types: a Worker has 128 MB
//! for all requests of an isolate. Measured exactly, by counting what the thread that serves the
//! requests allocates and frees; the database runs on other threads.
//!
//! Run with `cargo test --test memory -- --nocapture` to see the figures.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use http::StatusCode;
use http_body_util::BodyExt;
use sample_platform::Item;
use serde_json::{Map, Value, json};
use support::{
    api::{Api, METRICS, StandingHost, get, instant, stamp, with_token},
    database::{Backend, TestTable},
};
use tower::ServiceExt;

/// Counts what each thread has allocated and not freed.
struct Counting;

thread_local! {
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = NOW.try_with(|now| {
        now.set(now.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while the content is copied.
        count(signed(size));
        // SAFETY: the caller's.
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-signed(layout.size()));
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The highest number of bytes that `work` had allocated at once on this thread, besides what was
/// there before.
async fn peak_of<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = work.await;
    (result, usize::try_from(PEAK.get() - before).unwrap())
}

const HOURS: i64 = 5000;

fn first_hour() -> DateTime<Utc> {
    instant("2026-01-01T00:00:00Z")
}

fn hour(number: i64) -> DateTime<Utc> {
    first_hour() + TimeDelta::hours(number)
}

/// The types that have records, each with the metrics that stand in the catalogue.
const TYPES: [(&str, &[&str]); 6] = [
    ("users", &["totalUsers", "newUsers", "activeUsers", "deletedUsers", "visitors"]),
    ("media", &["totalMedia", "publicMedia", "privateMedia", "newMedia"]),
    ("albums", &["totalAlbums", "publicAlbums", "privateAlbums", "newAlbums"]),
    (
        "interactions",
        &[
            "totalLikes",
            "totalBookmarks",
            "totalComments",
            "newLikes",
            "newBookmarks",
            "newComments",
            "newViews",
            "totalViews",
        ],
    ),
    (
        "generations",
        &[
            "totalGenerations",
            "newGenerations",
            "successfulGenerations",
            "failedGenerations",
            "averageGenerationTime",
        ],
    ),
    ("business", &["MRR", "totalRevenue", "newRevenue"]),
];

/// The record of an hour; every metric is the number of the hour.
fn record(metric_type: &str, names: &[&str], number: i64) -> Item {
    let start = stamp(hour(number));
    let end = stamp(hour(number + 1) - TimeDelta::milliseconds(1));
    let mut metrics: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"N": number.to_string()}))).collect();
    if metric_type == "interactions" {
        let target = |rank: i64| {
            json!({"M": {
                "targetType": {"S": "media"},
                "targetId": {"S": format!("5f0c7a52-8d8e-4f38-9c4e-{number:06}{rank:06}")},
                "likes": {"N": "3"}, "bookmarks": {"N": "2"}, "comments": {"N": "1"},
                "total": {"N": "6"},
            }})
        };
        let targets: Vec<Value> = (0..10).map(target).collect();
        metrics.insert("mostEngaged".to_owned(), json!({"L": targets}));
    }
    let item = json!({
        "PK": {"S": format!("ANALYTICS#{metric_type}#hourly")}, "SK": {"S": start},
        "GSI1PK": {"S": "ANALYTICS"},
        "GSI1SK": {"S": format!("hourly#{start}#{metric_type}")},
        "GSI2PK": {"S": format!("ANALYTICS_TYPE#{metric_type}")}, "GSI2SK": {"S": start},
        "EntityType": {"S": "Analytics"},
        "metricType": {"S": metric_type}, "granularity": {"S": "hourly"},
        "timestamp": {"S": start}, "endTimestamp": {"S": end},
        "metrics": {"M": metrics}, "calculatedAt": {"S": "2026-08-01T00:00:00.000Z"},
        "version": {"N": "1"},
    });
    item.as_object().unwrap().clone()
}

fn records() -> Vec<Item> {
    let of_type = |(metric_type, names): &(&str, &[&str])| -> Vec<Item> {
        (0..HOURS).map(|number| record(metric_type, names, number)).collect()
    };
    TYPES.iter().flat_map(of_type).collect()
}

fn all_types(first: i64, last: i64) -> String {
    let (first, last) = (stamp(hour(first)), stamp(hour(last)));
    format!("metricType=all&granularity=hourly&startDate={first}&endDate={last}")
}

/// Asks, and reads the body as a client does: piece by piece, without keeping it. Answers the
/// status and the length.
async fn asked(api: &Api, query: &str) -> (StatusCode, usize) {
    let request = with_token(get(format!("{METRICS}?{query}"))).body(Body::empty()).unwrap();
    let response = api.0.clone().oneshot(request).await.unwrap();
    let (status, mut body) = (response.status(), response.into_body());
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        // Other requests are served at the same time.
        tokio::task::yield_now().await;
    }
    (status, length)
}

/// What the requests that are served at once may take: two answers of 10 MB at most, a page of items
/// each, and what is waiting.
const MOST_AT_ONCE: usize = 40_000_000;

/// What one may take.
const MOST_ALONE: usize = 20_000_000;

#[test]
fn large_ranges_take_little_memory() {
    // The database on threads of its own.
    let database = tokio::runtime::Runtime::new().unwrap();
    let table = database.block_on(async { TestTable::with(Backend::Dynoxide, &records()).await });
    let host = StandingHost::at(hour(HOURS) + TimeDelta::minutes(20));
    // The requests on this thread alone.
    let requests = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    requests.block_on(async {
        let api = Api::new(&table.endpoint, &table.name, host);
        one_answer_holds_5000_records(&api).await;
        every_page_takes_little(&api).await;
        at_once_they_take_little_more(&api).await;
    });
}

/// 833 hours of six types are 4,998 records, one hour more are 5,004.
async fn one_answer_holds_5000_records(api: &Api) {
    let answer = api.metrics(all_types(0, HOURS - 1)).await;
    assert_eq!(answer.error(400), "Range too large");
    let earliest = stamp(hour(HOURS - 833));
    assert_eq!(
        answer.json()["details"],
        json!({
            "maximumRecords": 5000, "maximumBytes": 10_000_000, "earliestStartDate": earliest,
        })
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&earliest) && message.contains("granularity daily"), "{message}");
    assert_eq!(api.metrics(all_types(HOURS - 834, HOURS - 1)).await.error(400), "Range too large");
    let data = api.data(all_types(HOURS - 833, HOURS - 1)).await;
    assert_eq!(data["combinedSummary"]["totalDataPoints"], 4998);
    // One type fits whole.
    let query = all_types(0, HOURS - 1).replace("metricType=all", "metricType=interactions");
    let data = api.data(&query).await;
    assert_eq!(data["dataPoints"].as_array().unwrap().len(), 5000);
    // The sum of the numbers from 0 to 4,999, and their mean.
    let summary = &data["summary"];
    assert_eq!(summary["totals"]["newLikes"], 12_497_500);
    assert_eq!(summary["averages"]["newLikes"], 2499.5);
    assert_eq!(summary["totals"]["totalLikes"], 4999);
}

async fn every_page_takes_little(api: &Api) {
    let query = format!("{}&limit=5000", all_types(0, HOURS - 1));
    let (mut cursor, mut points, mut expected) = (String::new(), 0, HOURS - 1);
    loop {
        let query = format!("{query}{cursor}");
        let ((status, _), peak) = peak_of(asked(api, &query)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(peak < MOST_ALONE, "{peak} bytes for a page");
        println!("a page of 5,000 records: {peak} bytes at most");
        let page = api.data(&query).await;
        points += page["combinedSummary"]["totalDataPoints"].as_u64().unwrap();
        for series in page["allMetrics"].as_array().unwrap() {
            let points = series["dataPoints"].as_array().unwrap();
            for (point, number) in points.iter().zip((0..=expected).rev()) {
                assert_eq!(point["timestamp"], stamp(hour(number)));
                for (name, value) in point["metrics"].as_object().unwrap() {
                    assert!(name == "mostEngaged" || *value == number, "{number}: {point}");
                }
            }
        }
        expected -= 833;
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(points, 30_000);
}

async fn at_once_they_take_little_more(api: &Api) {
    let page = format!("{}&limit=5000", all_types(0, HOURS - 1));
    let refused = all_types(0, HOURS - 1);
    for (query, status) in [(page, StatusCode::OK), (refused, StatusCode::BAD_REQUEST)] {
        let (_, alone) = peak_of(asked(api, &query)).await;
        let (answers, peak) = peak_of(join_all((0..4).map(|_| asked(api, &query)))).await;
        println!("{status}: {alone} bytes at most alone, {peak} for four at once");
        for (found, length) in answers {
            assert_eq!(found, status);
            assert!(length > 100);
        }
        assert!(alone < MOST_ALONE, "{alone} bytes alone");
        assert!(peak < MOST_AT_ONCE, "{peak} bytes for four at once");
        // Two are made at once; the others wait.
        assert!(peak < 3 * alone, "{peak} bytes for four at once, {alone} alone");
    }
}
