//! The edge cache for responses.

use edge_analytics::{dynamodb::RetryPolicy, settings::Settings};
use sample_platform::Item;
use serde_json::json;
use support::{
    api::{Api, StandingHost, instant, variable},
    database::{Backend, TestTable},
    realtime::{Surroundings, TestCache},
};

use crate::{
    bad_input::assert_rejected,
    common::{hour_of_users, range},
};

/// The API over complete hours, with a cache.
async fn cached_api() -> (TestTable, Api, TestCache) {
    let mut items: Vec<Item> = (0..10).map(|hour| hour_of_users(hour, 10 + hour)).collect();
    let state = json!({
        "PK": {"S": "ANALYTICS_STATE"}, "SK": {"S": "hourly"},
        "EntityType": {"S": "AnalyticsState"},
        "runState": {"M": {
            "begin": {"S": "2026-06-01T00:00:00.000Z"},
            "watermark": {"S": "2026-06-01T09:00:00.000Z"},
        }},
    });
    items.push(state.as_object().unwrap().clone());
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let surroundings = Surroundings::default();
    let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
    let host = StandingHost::at(instant("2026-06-01T10:00:00Z"));
    let api = Api::with_surroundings(settings, host, RetryPolicy::default(), &surroundings);
    let background = surroundings.background.clone();
    background.join().await;
    (table, api, surroundings.cache)
}

#[tokio::test]
async fn a_cache_hit_is_streamed_and_equals_the_miss() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let miss = api.metrics(&query).await;
    assert_eq!(miss.header("x-cache"), Some("miss"));
    assert_eq!(miss.header("content-length"), Some(miss.body.len().to_string().as_str()));
    assert_eq!(cache.kept().len(), 1);
    let hit = api.metrics(&query).await;
    assert_eq!(hit.header("x-cache"), Some("hit"));
    // The length of a streamed response is unknown.
    assert_eq!(hit.header("content-length"), None);
    assert_eq!(hit.header("content-type"), miss.header("content-type"));
    assert_eq!(hit.body, miss.body);
    hit.assert_common_headers();
}

#[tokio::test]
async fn every_page_is_cached_under_its_own_key() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let mut kept = 0;
    for limit in ["", "&limit=10", "&limit=4", "&limit=3"] {
        let mut cursor = String::new();
        loop {
            let query = format!("{query}{limit}{cursor}");
            let miss = api.metrics(&query).await;
            assert_eq!(miss.header("x-cache"), Some("miss"), "{query}");
            kept += 1;
            assert_eq!(cache.kept().len(), kept, "{query}");
            let hit = api.metrics(&query).await;
            assert_eq!(hit.header("x-cache"), Some("hit"));
            assert_eq!(hit.body, miss.body);
            match miss.json()["data"]["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
    }
    // Whole; one page; 4, 4 and 2; 3, 3, 3 and 1.
    assert_eq!(kept, 1 + 1 + 3 + 4);
}

#[tokio::test]
async fn a_response_with_the_running_period_is_not_cached() {
    let (_table, api, cache) = cached_api().await;
    let query = range("users", "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    for _ in 0..2 {
        let answer = api.metrics(format!("{query}&current=true")).await;
        assert_eq!(answer.header("x-cache"), Some("bypass"));
    }
    assert!(cache.kept().is_empty());
    assert_eq!(api.metrics(format!("{query}&current=false")).await.header("x-cache"), Some("miss"));
    assert_eq!(api.metrics(&query).await.header("x-cache"), Some("hit"));
    for wrong in ["", "1", "yes", "TRUE"] {
        let query = format!("{query}&current={wrong}");
        let answer = api.metrics(&query).await;
        assert_rejected(&answer, "Invalid current. Must be one of: true, false", &query);
    }
}
