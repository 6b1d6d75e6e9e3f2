//! The oracle that engine results are compared with: whether it makes sense of a generated
//! platform.

use chrono::{DateTime, TimeDelta, Utc};
use sample_platform::{Shape, generate};
use serde_json::Value;

use crate::oracle::{Metrics, expected_hour};

fn whole(metrics: &Metrics, name: &str) -> i64 {
    metrics[name].as_i64().unwrap_or_else(|| panic!("{name} is {}", metrics[name]))
}

#[test]
fn what_is_new_in_each_hour_adds_up_to_the_totals() {
    let end: DateTime<Utc> = "2026-03-03T15:20:00Z".parse().unwrap();
    let items = generate(&Shape { users: 60, days: 3, seed: 7, end });
    let first: DateTime<Utc> = "2026-02-28T15:00:00Z".parse().unwrap();
    let hours: Vec<_> = (0..=72)
        .map(|hour| expected_hour(&items, first + TimeDelta::hours(hour), Some(0)))
        .collect();
    let last = hours.last().unwrap();

    for (kind, new, total) in [
        ("users", "newUsers", "totalUsers"),
        ("media", "newMedia", "totalMedia"),
        ("albums", "newAlbums", "totalAlbums"),
        ("interactions", "newLikes", "totalLikes"),
        ("interactions", "newBookmarks", "totalBookmarks"),
        ("interactions", "newComments", "totalComments"),
        ("interactions", "newViews", "totalViews"),
        ("generations", "newGenerations", "totalGenerations"),
    ] {
        let sum: i64 = hours.iter().map(|hour| whole(&hour[kind], new)).sum();
        assert_eq!(sum, whole(&last[kind], total), "{new}");
        assert!(sum > 0, "{new}");
    }

    let cents = |metrics: &Metrics, name: &str| (metrics[name].as_f64().unwrap() * 100.0).round();
    let sum: f64 = hours.iter().map(|hour| cents(&hour["business"], "newRevenue")).sum();
    assert!((sum - cents(&last["business"], "totalRevenue")).abs() < 0.5);
    assert!(whole(&last["business"], "MRR") > 0);

    let media = &last["media"];
    assert_eq!(
        whole(media, "publicMedia") + whole(media, "privateMedia"),
        whole(media, "totalMedia")
    );
    let active: i64 = hours.iter().map(|hour| whole(&hour["users"], "activeUsers")).sum();
    assert!(active > 0 && active < 60, "each user is active last in one hour, if in any: {active}");
    assert!(hours.iter().any(|hour| hour["generations"].contains_key("averageGenerationTime")));

    // Rankings are worth the name: full ones, with a clear first, and with ties.
    let rankings: Vec<&Vec<Value>> =
        hours.iter().map(|hour| hour["interactions"]["mostEngaged"].as_array().unwrap()).collect();
    let totals = |ranking: &[Value]| -> Vec<i64> {
        ranking.iter().map(|it| it["total"].as_i64().unwrap()).collect()
    };
    assert!(
        rankings
            .iter()
            .map(|ranking| totals(ranking))
            .any(|it| it.len() == 10 && it[0] > it[1] && it[8] == it[9])
    );
}
