//! Realtime counters in Workers KV, the edge cache, and the time of a warm request.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, Period};
use http::Method;
use serde_json::Value;
use support::{
    database::{Backend, TestTable},
    engine_suite::{end, platform, platform_until},
    realtime::{assert_counters, counters_in, expected_counters},
};

use crate::{
    common::{
        HOURS, REALTIME, SEED, USERS, data, day_path, end_to_end, get, hours, metrics_path, note,
        variables,
    },
    worker::Worker,
};

/// The realtime counters come from Workers KV, where the tick of the cron has put them.
#[test]
fn the_realtime_counters_come_from_workers_kv() {
    /// What was counted before the tick; who came and bought in the 24 hours before is not known then.
    /// What only the last hour's time can tell is known in the first ten minutes of an hour alone.
    const COUNTED: i64 = 2;
    let unknown = ["newUsers", "newRevenue", "mediaByStatus", "totalViews", "MRR"];
    let is_unknown = |name: &str| unknown.iter().any(|metric| name.starts_with(metric));
    end_to_end(async |shared| {
        // A platform that lives now: the tick goes by the clock.
        let end = this_hour();
        let items = platform_until(USERS, SEED, end);
        let table = TestTable::with(shared.backend, &items).await;
        let worker = Worker::start(&shared.tools, &shared.package, &variables(&table)).await;
        let _log = worker.show_log_on_failure();
        for ago in (1..=COUNTED).rev() {
            worker.aggregate(end - TimeDelta::hours(ago)).await;
        }
        let now = DateTime::<Utc>::from(std::time::SystemTime::now()).timestamp_millis();
        let tick = format!("/cdn-cgi/handler/scheduled?cron=*/5+*+*+*+*&time={now}");
        assert_eq!(worker.send(Method::GET, &tick, &[]).await.status, 200);
        let begun = Instant::now();
        // What was written may show a moment later.
        let realtime = loop {
            let realtime = data(&worker, REALTIME).await;
            assert_eq!(realtime["source"], "kv", "{realtime}");
            if realtime["lastUpdated"].is_string() {
                break realtime;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{realtime}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let at = realtime["lastUpdated"].as_str().unwrap().parse().unwrap();
        let mut expected = expected_counters(&items, at, &items, end);
        expected.retain(|name, _| !is_unknown(name));
        let mut counters = counters_in(&realtime);
        counters.retain(|name, _| !is_unknown(name));
        assert_counters(&counters, &expected, "from KV");
        // It says something: of what was there, and of what happened in the last day.
        for name in ["totalUsers", "totalMedia", "totalRevenue", "newLikesLast24Hours"] {
            assert!(counters[name].0.as_f64().unwrap() > 0.0, "{name}: {counters:?}");
        }
        let line = |line: &Value| line["event"] == "realtime" && line["occasion"] == "tick";
        let lines = worker.wait_for_events("the tick's line", 1, line).await;
        assert_eq!(lines[0]["status"], "complete", "{lines:?}");
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}

/// The full hour that began last.
fn this_hour() -> DateTime<Utc> {
    let now = DateTime::<Utc>::from(std::time::SystemTime::now());
    Period::containing(Granularity::Hourly, now).start()
}

/// A complete answer is kept at the edge; asked for again it is the same, and sooner there.
#[test]
fn complete_responses_are_cached_at_the_edge() {
    const RANGES: usize = 100;
    end_to_end(async |shared| {
        // A table of its own: after a recalculation nothing is kept for a while.
        let items = platform(USERS);
        let table = TestTable::with(shared.backend, &items).await;
        let worker = Worker::start(&shared.tools, &shared.package, &variables(&table)).await;
        for hour in hours() {
            worker.aggregate(hour).await;
        }
        let (mut misses, mut hits) = (Vec::new(), Vec::new());
        for number in 1..=i64::try_from(RANGES).unwrap() {
            // Another question each, of nearly the same 23 hours.
            let first = end() - TimeDelta::hours(HOURS) + TimeDelta::seconds(number);
            let path = metrics_path("users", first, end() - TimeDelta::hours(1));
            let begun = Instant::now();
            let miss = get(&worker, &path).await;
            misses.push(begun.elapsed());
            assert_eq!((miss.status, miss.header("x-cache")), (200, "miss"), "{miss:?}");
            let waiting = Instant::now();
            let hit = loop {
                let begun = Instant::now();
                let again = get(&worker, &path).await;
                if again.header("x-cache") == "hit" {
                    hits.push(begun.elapsed());
                    break again;
                }
                // It is kept after the answer has been sent.
                assert!(waiting.elapsed() < Duration::from_secs(30), "{again:?}");
            };
            assert_eq!(hit.body, miss.body);
            assert_eq!(hit.header("cache-control"), "private, no-store");
        }
        misses.sort_unstable();
        hits.sort_unstable();
        let median = |times: &[Duration]| times[RANGES / 2].as_secs_f64() * 1000.0;
        note(&format!(
            "GET /metrics of 23 hourly points in wrangler dev: median {:.1} ms from the edge cache, \
             {:.1} ms without",
            median(&hits),
            median(&misses)
        ));
        let nobody = worker.send(Method::GET, &day_path("users"), &[]).await;
        assert_eq!(nobody.status, 401, "the cache comes after authentication");
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}

/// Nothing is asserted: it depends on the machine.
#[test]
fn how_long_a_warm_request_takes() {
    const WARM_UP: usize = 20;
    const REQUESTS: usize = 200;
    end_to_end(async |shared| {
        let path = day_path("users");
        let mut times = Vec::new();
        for number in 0..WARM_UP + REQUESTS {
            let begun = Instant::now();
            let answer = get(&shared.worker, &path).await;
            let time = begun.elapsed();
            assert_eq!(answer.status, 200, "{answer:?}");
            if number >= WARM_UP {
                times.push(time);
            }
        }
        times.sort_unstable();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        note(&format!(
            "a warm GET /metrics of {HOURS} hourly points in wrangler dev, on {}: median {:.1} ms, \
             95th percentile {:.1} ms ({REQUESTS} requests one after the other)",
            match shared.backend {
                Backend::DynamoDbLocal => "DynamoDB Local",
                Backend::Dynoxide => "dynoxide",
            },
            milliseconds(times[REQUESTS / 2]),
            milliseconds(times[REQUESTS * 95 / 100]),
        ));
    });
}
