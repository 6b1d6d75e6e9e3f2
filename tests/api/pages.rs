//! Pages of `GET /metrics`: limits and cursors.

use chrono::TimeDelta;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, HOURS, StandingHost, changed_cursor, damaged_cursors, history, instant, stamp},
    database::{Backend, TestTable},
    engine_suite::TYPES,
    fault_proxy::{Fault, FaultProxy},
};

use crate::{
    bad_input::assert_rejected,
    common::{
        all_hours, api_over, large_hours, queries_beside_the_state, range, record, texts,
        timestamps,
    },
};

#[tokio::test]
async fn one_query_answers_one_type_and_one_query_on_gsi1_answers_all() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);

    api.data(all_hours("media")).await;
    let seen = queries_beside_the_state(&proxy, 0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let body = &seen[0];
    assert_eq!(body.get("IndexName"), None);
    assert_eq!(body["ExpressionAttributeValues"][":partition"]["S"], "ANALYTICS#media#hourly");

    let data = api.data(all_hours("all")).await;
    assert_eq!(data["combinedSummary"]["totalDataPoints"], 48);
    let seen = queries_beside_the_state(&proxy, 2);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let body = &seen[0];
    assert_eq!(body["IndexName"], "GSI1");
    assert_eq!(body["ExpressionAttributeValues"][":partition"]["S"], "ANALYTICS");

    // Nothing is read for a range in which no period starts.
    let between = range("media", "hourly", "2026-06-01T01:10:00Z", "2026-06-01T01:50:00Z");
    let data = api.data(between).await;
    assert_eq!((&data["dataPoints"], &data["missing"]), (&json!([]), &json!([])));
    assert_eq!(proxy.seen().len(), 4);
}

#[tokio::test]
async fn every_page_of_a_query_is_read() {
    let table = TestTable::with(Backend::Dynoxide, &large_hours()).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant("2026-06-01T10:00:00Z"));
    let api = Api::new(&proxy.endpoint, &table.name, host);
    let mut before = 0;
    for metric_type in ["users", "all"] {
        let day = range(metric_type, "hourly", "2026-06-01", "2026-06-02");
        let data = api.data(&day).await;
        let series = if metric_type == "all" { &data["allMetrics"][0] } else { &data };
        assert_eq!(timestamps(series).len(), 10, "{metric_type}");
        assert_eq!(series["missing"], json!([]));
        assert_eq!(series["summary"]["averages"]["totalUsers"], 4.5);
        let pages = proxy.seen().len() - before;
        assert!(pages >= 3, "{metric_type}: {pages} pages");
        before = proxy.seen().len();
    }
}

#[tokio::test]
async fn an_empty_page_is_not_the_end() {
    let proxy = FaultProxy::start(&history().table.endpoint, |seen| {
        let is_first = seen.operation == "Query" && seen.body.get("ExclusiveStartKey").is_none();
        if is_first { Fault::EmptyPage } else { Fault::None }
    })
    .await;
    // The proxy's key points before the oldest item, so it fits a query that reads upwards; one
    // that reads downwards goes on from it to nothing. What counts here is that it does go on.
    let _ = history().api_through(&proxy.endpoint).metrics(all_hours("users")).await;
    let continued =
        proxy.seen().iter().filter(|(_, body)| body.get("ExclusiveStartKey").is_some()).count();
    assert_eq!(continued, 1);
}

/// Two types in ten hours with holes: users at 0, 1, 4, 5, 9, media at 1, 2, 5.
fn hours_with_holes() -> Vec<Item> {
    let hour = |metric_type: &str, hour: u32, name: &str| {
        record(
            metric_type,
            "hourly",
            &format!("2026-06-01T{hour:02}:00:00"),
            &format!("2026-06-01T{hour:02}:59:59"),
            &json!({name: {"N": hour.to_string()}}),
        )
    };
    let users = [0, 1, 4, 5, 9].map(|at| hour("users", at, "totalUsers"));
    let media = [1, 2, 5].map(|at| hour("media", at, "totalMedia"));
    users.into_iter().chain(media).collect()
}

/// All pages of a query.
async fn pages(api: &Api, query: &str) -> Vec<Value> {
    let mut pages = vec![api.data(query).await];
    while let Some(cursor) = pages[pages.len() - 1]["nextCursor"].as_str() {
        let page = api.data(format!("{query}&cursor={cursor}")).await;
        assert!(pages.len() < 100, "it does not end");
        pages.push(page);
    }
    for page in &pages[..pages.len() - 1] {
        assert!(page["nextCursor"].is_string(), "{page}");
    }
    assert_eq!(pages[pages.len() - 1]["nextCursor"], Value::Null);
    pages
}

/// The series of a type on a page.
fn series_of<'page>(page: &'page Value, metric_type: &str) -> &'page Value {
    match page["allMetrics"].as_array() {
        Some(all) => all.iter().find(|one| one["metricType"] == metric_type).unwrap(),
        None => page,
    }
}

#[tokio::test]
async fn pages_together_are_the_whole_answer() {
    let (_table, holes, _) = api_over(&hours_with_holes(), "2026-06-01T10:00:00Z").await;
    let ten_hours =
        |metric_type: &str| range(metric_type, "hourly", "2026-06-01", "2026-06-01T09:00:00Z");
    let counted = history().api();
    for (api, query, types, limits) in [
        (&holes, ten_hours("users"), &["users"][..], &[1, 2, 3, 5, 5000][..]),
        (&holes, ten_hours("all"), &["users", "media", "business"][..], &[7, 8, 5000][..]),
        (&counted, all_hours("media"), &["media"][..], &[1, 3, 8][..]),
        (&counted, all_hours("all"), &TYPES[..], &[7, 11, 12, 20, 47, 48][..]),
    ] {
        let whole = api.data(&query).await;
        assert!(whole.get("nextCursor").is_none(), "{whole}");
        for limit in limits {
            let query = format!("{query}&limit={limit}");
            let pages = pages(api, &query).await;
            for metric_type in types {
                for list in ["dataPoints", "missing"] {
                    let joined: Vec<&Value> = pages
                        .iter()
                        .flat_map(|page| series_of(page, metric_type)[list].as_array().unwrap())
                        .collect();
                    let expected = series_of(&whole, metric_type)[list].as_array().unwrap();
                    let expected: Vec<&Value> = expected.iter().collect();
                    assert_eq!(joined, expected, "{query}: {metric_type} {list}");
                }
                for page in &pages {
                    let series = series_of(page, metric_type);
                    let points = series["dataPoints"].as_array().unwrap().len();
                    assert_eq!(series["summary"]["totalDataPoints"], points, "{query}");
                }
            }
            let union: Vec<&str> = pages.iter().flat_map(|page| texts(&page["missing"])).collect();
            assert_eq!(union, texts(&whole["missing"]), "{query}");
            for page in &pages {
                let points = match page["combinedSummary"]["totalDataPoints"].as_u64() {
                    Some(points) => points,
                    None => page["summary"]["totalDataPoints"].as_u64().unwrap(),
                };
                assert!(points <= *limit, "{query}: {points} points");
            }
        }
    }
}

#[tokio::test]
async fn a_page_holds_whole_periods_and_as_many_as_fit() {
    let api = history().api();
    let sizes = async |limit: u32| {
        let pages = pages(&api, &format!("{}&limit={limit}", all_hours("all"))).await;
        let size = |page: &Value| page["combinedSummary"]["totalDataPoints"].as_u64().unwrap();
        pages.iter().map(size).collect::<Vec<_>>()
    };
    // Eight hours of six types.
    assert_eq!(sizes(7).await, [6; 8]);
    assert_eq!(sizes(12).await, [12; 4]);
    assert_eq!(sizes(23).await, [18, 18, 12]);
    assert_eq!(sizes(47).await, [42, 6]);
    assert_eq!(sizes(48).await, [48]);
}

#[tokio::test]
async fn no_more_is_read_than_a_page_needs() {
    let proxy = FaultProxy::start(&history().table.endpoint, |_| Fault::None).await;
    let api = history().api_through(&proxy.endpoint);
    let data = api.data(format!("{}&limit=3", all_hours("media"))).await;
    let seen = queries_beside_the_state(&proxy, 0);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0]["Limit"].as_u64().unwrap() <= 10, "{seen:?}");
    // The next page is read from where it begins.
    let before = proxy.seen().len();
    let cursor = data["nextCursor"].as_str().unwrap();
    api.data(format!("{}&limit=3&cursor={cursor}", all_hours("media"))).await;
    let seen = queries_beside_the_state(&proxy, before);
    let next = stamp(history().hours()[HOURS as usize - 4]);
    assert!(seen[0]["ExpressionAttributeValues"].to_string().contains(&next), "{seen:?}");
}

#[tokio::test]
async fn a_limit_out_of_range_is_rejected() {
    let api = history().api();
    for (metric_type, least, wrong) in [
        ("media", 1, &["", "0", "5001", "-1", "+5", "1.5", "many", "99999999999999999999"][..]),
        ("all", 7, &["0", "1", "6", "5001"][..]),
    ] {
        for limit in wrong {
            let limit = limit.replace('+', "%2B");
            let query = format!("{}&limit={limit}", all_hours(metric_type));
            let error = format!("Invalid limit. Must be a whole number from {least} to 5000");
            let answer = api.metrics(&query).await;
            assert_rejected(&answer, &error, &query);
            assert_eq!(answer.json()["details"]["parameter"], "limit", "{query}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_is_damaged_forged_or_of_another_query_is_rejected() {
    let api = history().api();
    let hours = history().hours();
    let query = all_hours("media");
    let cursor = api.data(format!("{query}&limit=2")).await["nextCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = async |query: &str, cursor: &str, error: &str| {
        let query = format!("{query}&cursor={cursor}");
        let answer = api.metrics(&query).await;
        assert_rejected(&answer, error, &query);
        assert_eq!(answer.json()["details"], json!({"parameter": "cursor"}), "{query}");
    };
    // `limit` may change, and the question may be asked in other words.
    let first = stamp(hours[0]).replace(".000Z", "%2B00:00");
    let same = range("media", "hourly", &first, &stamp(hours[hours.len() - 1]));
    for query in [query.clone(), format!("{query}&limit=5"), same] {
        let page = api.data(format!("{query}&cursor={cursor}")).await;
        let newest = stamp(hours[hours.len() - 3]);
        assert_eq!(page["dataPoints"][0]["timestamp"], newest, "{query}");
    }
    let last = stamp(hours[hours.len() - 1]);
    for other in [
        all_hours("users"),
        all_hours("all"),
        range("media", "daily", &stamp(hours[0]), &last),
        range("media", "hourly", &stamp(hours[1]), &last),
        range("media", "hourly", &stamp(hours[0]), &stamp(hours[hours.len() - 2])),
        format!("{query}&metrics=newMedia"),
        format!("{query}&current=true"),
    ] {
        refused(&other, cursor, "cursor belongs to another query").await;
    }
    let written = |change: &dyn Fn(&mut Value)| changed_cursor(cursor, change);
    let others =
        [written(&|cursor| cursor["n"] = json!(5)), written(&|cursor| cursor["q"] = json!(null))];
    for damaged in damaged_cursors(cursor).into_iter().chain(others) {
        refused(&query, &damaged, "Invalid cursor").await;
    }
    let outside = [
        stamp(hours[0] - TimeDelta::hours(1)),
        stamp(hours[hours.len() - 1] + TimeDelta::hours(1)),
        stamp(hours[1] + TimeDelta::milliseconds(1)),
        "yesterday".to_owned(),
        String::new(),
    ];
    for newest in outside {
        let forged = written(&|cursor| cursor["n"] = json!(newest));
        refused(&query, &forged, "cursor belongs to another query").await;
    }
    let forged = written(&|cursor| cursor["q"] = json!("AAAAAAAAAAAAAAAAAAAAAA"));
    refused(&query, &forged, "cursor belongs to another query").await;
}
