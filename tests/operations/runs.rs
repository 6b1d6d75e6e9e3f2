//! `GET /runs`: pages, filters and what is listed.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use edge_analytics::{
    dynamodb::{AttributeValue, text},
    metrics::period::Granularity,
    run::Report,
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, StandingHost, instant, stamp},
    database::{Backend, TestTable},
    engine_suite::{end, engine, engine_at, platform},
    fault_proxy::{Fault, FaultProxy},
    host::TestHost,
};

use crate::{
    common::{RECALCULATE, RUNS, data},
    jobs::{range, recalculate},
    ledger::{Known, LATER, LEDGER_TABLE, entry, expected, ledger_api, names, pages},
};

#[tokio::test]
async fn a_run_is_listed_whole() {
    let recalculation = {
        let mut item = entry("b", "daily", "partial", "2026-06-01T01:00:00.000Z");
        item.insert("trigger".to_owned(), json!({"S": "recalculate"}));
        item.insert("jobId".to_owned(), json!({"S": "job"}));
        item
    };
    let items = [entry("a", "hourly", "complete", "2026-06-01T01:00:00.000Z"), recalculation];
    let table = TestTable::with(Backend::Dynoxide, &items).await;
    let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
    insta::assert_snapshot!("runs", api.get(RUNS).await.shown(&[]));
}

#[tokio::test]
async fn an_empty_ledger_is_no_error() {
    let table = TestTable::with(Backend::Dynoxide, &[]).await;
    let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
    assert_eq!(data(&api, RUNS).await, json!({"runs": [], "nextCursor": null}));
    for query in ["to=0000-01-01", "to=1969-01-01", "from=9999-12-31", "from=0000-01-01"] {
        let found = data(&api, &format!("{RUNS}?{query}")).await;
        assert_eq!(found["runs"], json!([]), "{query}");
    }
}

#[tokio::test]
async fn a_page_has_fifty_runs_by_default() {
    let api = ledger_api();
    let all = expected(|_| true);
    let found = data(&api, RUNS).await;
    assert_eq!(names(&found), all[..50]);
    assert!(found["nextCursor"].is_string());
    for (limit, sizes) in [
        ("1", vec![1; 150]),
        ("7", [vec![7; 21], vec![3]].concat()),
        ("50", vec![50, 50, 50]),
        ("75", vec![75, 75]),
        ("100", vec![100, 50]),
    ] {
        let pages = pages(&api, &format!("limit={limit}")).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "{limit}");
        // Every run exactly once, in order, also of those that started in the same millisecond.
        assert_eq!(pages.concat(), all, "{limit}");
    }
}

#[tokio::test]
async fn filters_select_and_combine() {
    let api = ledger_api();
    let (from, to) = ("2026-06-01T00:10:00.000Z", "2026-06-01T00:40:00.000Z");
    for granularity in [None, Some("hourly"), Some("daily"), Some("weekly"), Some("monthly")] {
        for status in [None, Some("complete"), Some("partial"), Some("failed"), Some("held")] {
            for is_ranged in [false, true] {
                let mut query = "limit=4".to_owned();
                for (name, value) in [("granularity", granularity), ("status", status)] {
                    query.extend(value.map(|value| format!("&{name}={value}")));
                }
                if is_ranged {
                    query = format!("{query}&from={from}&to={to}");
                }
                let all = expected(|(started, _, one, how)| {
                    granularity.is_none_or(|granularity| granularity == *one)
                        && status.is_none_or(|status| status == *how)
                        && (!is_ranged || (from..to).contains(&started.as_str()))
                });
                let pages = pages(&api, &query).await;
                assert_eq!(pages.concat(), all, "{query}");
                // No page is empty where there is something, and none ends early.
                assert_eq!(pages.len(), all.len().div_ceil(4).max(1), "{query}");
            }
        }
    }
}

#[tokio::test]
async fn from_is_included_and_to_is_not() {
    let api = ledger_api();
    let at = |minute: u32| {
        expected(move |known| known.0 == format!("2026-06-01T00:{minute:02}:00.000Z"))
    };
    for (range, all) in [
        ("from=2026-06-01T00:05:00Z&to=2026-06-01T00:06:00Z", at(5)),
        ("from=2026-06-01T00:05:00.001Z&to=2026-06-01T00:06:00.001Z", at(6)),
        ("from=2026-06-01T02:05%2B02:00&to=2026-06-01T02:07%2B02:00", [at(6), at(5)].concat()),
        ("to=2026-06-01T00:02:00Z", [at(1), at(0)].concat()),
        ("from=2026-06-01T00:49:00Z", at(49)),
        ("from=2026-06-02", vec![]),
    ] {
        assert_eq!(names(&data(&api, &format!("{RUNS}?{range}")).await), all, "{range}");
    }
}

#[tokio::test]
async fn new_runs_shift_no_page() {
    let entries: Vec<Item> = (0..6)
        .map(|minute| {
            entry(
                &format!("old-{minute}"),
                "hourly",
                "complete",
                &format!("2026-06-01T00:0{minute}:00.000Z"),
            )
        })
        .collect();
    for filter in
        ["", "&granularity=hourly", "&status=complete", "&granularity=hourly&status=complete"]
    {
        let table = TestTable::with(Backend::Dynoxide, &entries).await;
        let api = Api::new(&table.endpoint, &table.name, StandingHost::at(instant(LATER)));
        let first = data(&api, &format!("{RUNS}?limit=3{filter}")).await;
        assert_eq!(names(&first), ["old-5", "old-4", "old-3"]);
        table.put(&[entry("new", "hourly", "complete", "2026-06-01T00:06:00.000Z")]).await;
        let cursor = first["nextCursor"].as_str().unwrap();
        // The page size may be another one.
        let second = data(&api, &format!("{RUNS}?limit=5{filter}&cursor={cursor}")).await;
        assert_eq!(names(&second), ["old-2", "old-1", "old-0"]);
        assert_eq!(second["nextCursor"], Value::Null);
        // The run that the cursor stands at may be gone by then.
        let gone = edge_analytics::dynamodb::key(
            "ANALYTICS_RUN",
            "2026-06-01T00:03:00.000Z#old-3#hourly#2026-06-01T00:00:00.000Z",
        );
        let delete = edge_analytics::dynamodb::WriteRequest::DeleteRequest { key: gone };
        table.client().batch_write(&table.name, vec![delete]).await.unwrap();
        let again = data(&api, &format!("{RUNS}?limit=3{filter}&cursor={cursor}")).await;
        assert_eq!(names(&again), ["old-2", "old-1", "old-0"]);
    }
}

/// A page is read in one request that brings no more than the page and what tells whether to go on.
#[tokio::test]
async fn no_more_is_read_than_a_page() {
    let proxy = FaultProxy::start(&LEDGER_TABLE.endpoint, |_| Fault::None).await;
    let host = StandingHost::at(instant(LATER));
    let api = Api::new(&proxy.endpoint, &LEDGER_TABLE.name, host);
    let mut asked = 0;
    for (filter, index) in [
        ("", Value::Null),
        ("&granularity=hourly", json!("GSI1")),
        ("&status=complete", json!("GSI2")),
    ] {
        let first = data(&api, &format!("{RUNS}?limit=10{filter}")).await;
        let cursor = first["nextCursor"].as_str().unwrap();
        data(&api, &format!("{RUNS}?limit=10{filter}&cursor={cursor}")).await;
        let seen = proxy.seen().split_off(asked);
        let limits: Vec<_> = seen.iter().map(|(_, body)| body["Limit"].as_u64().unwrap()).collect();
        assert_eq!(limits, [11, 12], "{filter}");
        for (operation, body) in seen {
            assert_eq!((operation.as_str(), &body["IndexName"]), ("Query", &index), "{filter}");
        }
        asked = proxy.seen().len();
    }
    // Both at once: the runs of the status are looked through, many a request.
    let query = "granularity=monthly&status=partial";
    let all = expected(|(_, _, one, how)| *one == "monthly" && *how == "partial");
    assert_eq!(names(&data(&api, &format!("{RUNS}?{query}")).await), all);
    let seen = proxy.seen().split_off(asked);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].1["IndexName"], "GSI2");
    // What is refused is not asked for.
    assert_eq!(api.get(format!("{RUNS}?limit=0")).await.status.as_u16(), 400);
    assert_eq!(proxy.seen().len(), asked + 1);
}

/// Where DynamoDB cannot select by both, a request looks at 2,000 runs and gives a cursor.
#[tokio::test]
async fn a_search_is_bounded_and_goes_on() {
    let mut entries: Vec<Item> = (0..2100)
        .map(|number| {
            let started = stamp(instant("2026-06-01T00:00:00Z") + TimeDelta::minutes(number));
            entry(&format!("{number:04}"), "hourly", "held", &started)
        })
        .collect();
    entries.push(entry("needle", "daily", "held", "2026-05-31T00:00:00.000Z"));
    let table = TestTable::with(Backend::Dynoxide, &entries).await;
    let proxy = FaultProxy::start(&table.endpoint, |_| Fault::None).await;
    let api = Api::new(&proxy.endpoint, &table.name, StandingHost::at(instant(LATER)));
    let pages = pages(&api, "granularity=daily&status=held").await;
    assert_eq!(pages, [vec![], vec!["needle".to_owned()]]);
    assert!(proxy.seen().len() <= 2000 / 250 + 2 + 1, "{} requests", proxy.seen().len());
}

/// What is past its 90 days is not shown, though DynamoDB has not deleted it yet.
#[tokio::test]
async fn runs_past_their_retention_are_not_shown_though_they_are_still_there() {
    let host = StandingHost::at(instant(LATER));
    let api = Api::new(&LEDGER_TABLE.endpoint, &LEDGER_TABLE.name, host.clone());
    let all = format!("{RUNS}?limit=100");
    let first = data(&api, &format!("{all}&from=2026-01-01")).await;
    let cursor = first["nextCursor"].as_str().unwrap().to_owned();
    let days = TimeDelta::days(90);
    for (now, oldest) in [
        (instant("2026-06-01T00:20:00Z") + days - TimeDelta::milliseconds(1), 20),
        (instant("2026-06-01T00:20:00Z") + days, 21),
        (instant("2026-06-01T00:49:00Z") + days, 50),
    ] {
        host.set(now);
        let oldest = stamp(instant("2026-06-01T00:00:00Z") + TimeDelta::minutes(oldest));
        let kept = |known: &Known| known.0 >= oldest;
        let whole = expected(kept);
        for query in ["", "&from=0000-01-01", "&from=2026-06-01T00:00:30Z&to=2026-06-02"] {
            assert_eq!(pages(&api, &format!("limit=100{query}")).await.concat(), whole, "{query}");
        }
        for (filter, granularity, status) in [
            ("granularity=hourly", Some("hourly"), None),
            ("status=partial", None, Some("partial")),
            ("granularity=hourly&status=partial", Some("hourly"), Some("partial")),
        ] {
            let all = expected(|known| {
                kept(known)
                    && granularity.is_none_or(|granularity| granularity == known.2)
                    && status.is_none_or(|status| status == known.3)
            });
            assert_eq!(pages(&api, &format!("limit=9&{filter}")).await.concat(), all, "{filter}");
        }
        // A range that was over before, and one that is by now.
        for query in ["to=2026-06-01T00:10:00Z", "from=2026-05-01&to=2026-06-01T00:20:00Z"] {
            let found = data(&api, &format!("{RUNS}?{query}")).await;
            assert_eq!(found, json!({"runs": [], "nextCursor": null}), "{query}");
        }
        // A page of before goes on as far as there is something: it stands behind a hundred runs.
        let rest = data(&api, &format!("{all}&from=2026-01-01&cursor={cursor}")).await;
        assert_eq!(names(&rest), whole.get(100..).unwrap_or_default());
        assert_eq!(rest["nextCursor"], Value::Null);
    }
}

/// An entry and a job are shown until the time to live that they were given, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_of_runs_and_jobs_ends_with_their_time_to_live() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = StandingHost::at(end());
    let engine = engine_at(&table.endpoint, &table.name, host.clone());
    engine.run(Granularity::Hourly, end()).await;
    let api = Api::new(&table.endpoint, &table.name, host.clone());
    let hour = range("hourly", end() - TimeDelta::hours(1), end());
    let job = recalculate(&api, &hour).await;
    let job = format!("{RECALCULATE}/{}", job["jobId"].as_str().unwrap());
    let of = async |partition: &str| {
        let ttl = |item: &edge_analytics::dynamodb::Item| match &item["ttl"] {
            AttributeValue::N(seconds) => seconds.parse::<i64>().unwrap(),
            other => panic!("{other:?}"),
        };
        let items = table.partition(None, partition).await;
        // The list of unfinished jobs is not one of them: it is edited in place and stays.
        let own = items.iter().filter(|item| text(item, "SK") != Some("unfinished"));
        own.map(ttl).collect::<BTreeSet<_>>()
    };
    let expiry = end() + TimeDelta::days(90);
    let seconds = BTreeSet::from([expiry.timestamp()]);
    assert_eq!((of("ANALYTICS_RUN").await, of("ANALYTICS_JOB").await), (seconds.clone(), seconds));

    host.set(expiry - TimeDelta::milliseconds(1));
    assert_eq!(data(&api, RUNS).await["runs"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(&job).await.status.as_u16(), 200);
    host.set(expiry);
    assert_eq!(data(&api, RUNS).await["runs"], json!([]));
    assert_eq!(api.get(&job).await.error(404), "Unknown recalculation");
}

/// The entries of real runs are listed as the runs reported them.
#[tokio::test(flavor = "multi_thread")]
async fn entries_of_the_engine_are_listed() {
    let table = TestTable::with(Backend::Dynoxide, &platform(20)).await;
    let host = TestHost::at(end());
    let engine = engine(&table, host.clone());
    let mut reports: Vec<Report> = Vec::new();
    for ago in [1, 0] {
        host.set(end() - TimeDelta::hours(ago) + TimeDelta::seconds(2));
        reports.push(engine.run(Granularity::Hourly, end() - TimeDelta::hours(ago)).await);
    }
    let api = Api::new(&table.endpoint, &table.name, host);
    let found = data(&api, &format!("{RUNS}?granularity=hourly&status=complete")).await;
    let runs = found["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for (run, report) in runs.iter().zip(reports.iter().rev()) {
        assert_eq!(run["runId"], report.run_id);
        assert_eq!(run["timestamp"], report.period.timestamp);
        assert_eq!(run["typesWritten"], json!(report.period.types_written));
        assert_eq!(run["malformed"], json!(report.malformed));
        // All but the request that wrote the entry itself.
        assert_eq!(run["requests"], report.usage.requests - 1);
    }
}
