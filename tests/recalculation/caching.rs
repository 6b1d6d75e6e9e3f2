//! Cached responses and recalculations.

use std::time::Duration;

use axum::body::Body;
use chrono::TimeDelta;
use http::StatusCode;
use serde_json::{Value, json};
use support::{
    api::{Api, METRICS, get, instant},
    engine_suite::end,
};

use crate::common::{World, range};

/// `GET /metrics` through the cache and without one, which must say the same; what the cache did.
pub async fn asked(world: &World, query: &str) -> (String, Value) {
    let uri = format!("{METRICS}?{query}");
    let answer = world.api.get(&uri).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.assert_common_headers();
    let table = &world.table;
    let uncached = Api::new(&table.endpoint, &table.name, world.host.clone()).get(&uri).await;
    assert_eq!(answer.json(), uncached.json(), "{query}");
    world.surroundings.background.join().await;
    (answer.header("x-cache").unwrap().to_owned(), answer.json()["data"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_response_is_never_older_than_a_recalculation() {
    let world = World::new().await;
    let hours = "metricType=media&granularity=hourly&startDate=2026-05-30&endDate=2026-05-31";
    let days = "metricType=all&granularity=daily&startDate=2026-05-30&endDate=2026-05-31";
    let month = "metricType=media&granularity=monthly&startDate=2026-05-01&endDate=2026-05-31";
    let cached = async |query: &str| asked(&world, query).await.0;
    // What was rolled up a moment ago may still be changing.
    world.host.set(end() + TimeDelta::minutes(40));
    for query in [hours, days, month] {
        assert_eq!(cached(query).await, "miss", "{query}");
        assert_eq!(cached(query).await, "hit", "{query}");
    }
    // The same question in other words, and none that differs.
    let other_words = "endDate=2026-05-31T02:00:00%2B02:00&granularity=hourly&startDate=2026-05-30&metricType=media";
    assert_eq!(cached(other_words).await, "hit");
    for other in [
        &format!("{hours}&metrics=newMedia"),
        &hours.replace("media", "albums"),
        &hours.replace("05-31", "05-31T01:00:00Z"),
    ] {
        assert_eq!(cached(other).await, "miss", "{other}");
    }
    // What is not over, or not whole, is not kept.
    for open in
        [hours.replace("05-31", "06-02"), days.replace("05-30", "05-20").replace("05-31", "06-01")]
    {
        for _ in 0..2 {
            assert_eq!(cached(&open).await, "bypass", "{open}");
        }
    }

    // A medium that showed late, in an hour of the 30th.
    let before = asked(&world, hours).await.1;
    let late = json!({
        "PK": {"S": "MEDIA#late"}, "SK": {"S": "METADATA"}, "EntityType": {"S": "Media"},
        "GSI4PK": {"S": "MEDIA"}, "GSI4SK": {"S": "2026-05-30T10:30:00.000Z#late"},
        "createdAt": {"S": "2026-05-30T10:30:00.000Z"}, "isPublic": {"S": "true"},
    });
    world.table.put(&[late.as_object().unwrap().clone()]).await;
    assert_eq!(cached(hours).await, "hit");
    let day = instant("2026-05-30T00:00:00Z");
    world.start(&range("media", "hourly", day, day + TimeDelta::hours(23))).await;
    let total = |data: &Value| data["summary"]["totals"]["newMedia"].as_i64().unwrap();
    let mut slices = 0;
    // After every slice, whatever it touched: the answer is as without a cache.
    while world.queue.deliver_one(&world.engine).await {
        slices += 1;
        for query in [hours, days, month] {
            asked(&world, query).await;
        }
        assert_eq!(total(&asked(&world, hours).await.1), total(&before) + 1, "{slices}");
    }
    assert!(slices >= 3, "hours, a day, a month");
    for query in [hours, days] {
        assert_eq!(cached(query).await, "bypass", "just changed: {query}");
    }
    // What was refreshed is not stale, also where it says the same as before.
    for query in [hours, days, month] {
        let (_, data) = asked(&world, query).await;
        assert!(!data.to_string().contains("\"stale\""), "{query}: {data}");
    }
    // The month is as of its last day, which was not asked for and says the same.
    assert_eq!(cached(month).await, "hit");
    world.host.set(end() + TimeDelta::minutes(70));
    for query in [hours, days] {
        assert_eq!(cached(query).await, "miss", "{query}");
        assert_eq!(cached(query).await, "hit", "{query}");
    }
    assert_eq!(total(&asked(&world, hours).await.1), total(&before) + 1);

    // A cached response requires authentication, and no key or lifetime is too long.
    let uri = format!("{METRICS}?{hours}");
    assert_eq!(world.api.send(get(&uri).body(Body::empty()).unwrap()).await.status, 401);
    for (key, lifetime) in world.surroundings.cache.kept() {
        assert!(key.len() == "metrics/".len() + 43, "{key}");
        assert!(lifetime <= Duration::from_hours(24), "{lifetime:?}");
    }
}
