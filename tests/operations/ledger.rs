//! A ledger written by hand.

use std::sync::LazyLock;

use chrono::TimeDelta;
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, StandingHost, instant, stamp},
    database::{Backend, TestTable},
};

use crate::common::{RUNS, data};

/// An entry as it is stored.
pub fn entry(run: &str, granularity: &str, status: &str, started: &str) -> Item {
    let sort = format!("{started}#{run}#{granularity}#2026-06-01T00:00:00.000Z");
    let failed =
        if status == "complete" { json!({}) } else { json!({"media": {"S": "throttled"}}) };
    let item = json!({
        "PK": {"S": "ANALYTICS_RUN"}, "SK": {"S": sort},
        "GSI1PK": {"S": format!("ANALYTICS_RUN#{granularity}")}, "GSI1SK": {"S": sort},
        "GSI2PK": {"S": format!("ANALYTICS_RUN_STATUS#{status}")}, "GSI2SK": {"S": sort},
        "EntityType": {"S": "AnalyticsRun"}, "ttl": {"N": "1999999999"},
        "runId": {"S": run}, "granularity": {"S": granularity}, "trigger": {"S": "cron"},
        "attempt": {"N": "1"}, "status": {"S": status},
        "timestamp": {"S": "2026-06-01T00:00:00.000Z"},
        "endTimestamp": {"S": "2026-06-01T00:59:59.999Z"}, "periods": {"N": "1"},
        "typesWritten": {"L": [{"S": "users"}]}, "typesUnchanged": {"L": []},
        "typesSuperseded": {"L": []}, "typesFailed": {"M": failed}, "problems": {"L": []},
        "malformed": {"M": {"totalUsers": {"N": "2"}}}, "left": {"N": "0"},
        "startedAt": {"S": started}, "finishedAt": {"S": "2026-06-01T02:00:00.000Z"},
        "milliseconds": {"N": "120"}, "requests": {"N": "26"}, "pages": {"N": "16"},
        "readUnits": {"N": "12.5"}, "writeUnits": {"N": "18"},
        "estimatedCostUsd": {"N": "0.0000128125"},
    });
    item.as_object().unwrap().clone()
}

/// What the ledger of the tests holds of an entry: when it started, its run, granularity, status.
pub type Known = (String, String, &'static str, &'static str);

/// How many runs the ledger of the tests has.
const LEDGER: u32 = 150;

/// 150 runs, always three at the same millisecond, of all granularities and statuses.
pub fn known() -> Vec<Known> {
    let first = instant("2026-06-01T00:00:00Z");
    (0..LEDGER)
        .map(|number| {
            let started = stamp(first + TimeDelta::minutes(i64::from(number / 3)));
            let granularity =
                ["hourly", "hourly", "daily", "weekly", "monthly"][number as usize % 5];
            let status =
                ["complete", "complete", "partial", "failed", "held", "complete", "partial"]
                    [number as usize % 7];
            // Names whose order is not that of the numbers.
            (started, format!("{:04x}", number * 40_503 % 65_536), granularity, status)
        })
        .collect()
}

/// Runs that match, newest first, by name.
pub fn expected(matches: impl Fn(&Known) -> bool) -> Vec<String> {
    let mut known: Vec<Known> = known().into_iter().filter(matches).collect();
    known.sort_by(|one, other| (&other.0, &other.1).cmp(&(&one.0, &one.1)));
    known.into_iter().map(|(_, run, ..)| run).collect()
}

pub static LEDGER_TABLE: LazyLock<TestTable> = LazyLock::new(|| {
    // On a runtime that lives as long as the process, as the server inside serves every test.
    let build = || {
        let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
        let entries: Vec<Item> = known()
            .iter()
            .map(|(started, run, granularity, status)| entry(run, granularity, status, started))
            .collect();
        runtime.block_on(TestTable::with(Backend::Dynoxide, &entries))
    };
    std::thread::spawn(build).join().unwrap()
});

pub const LATER: &str = "2026-06-02T00:00:00Z";

pub fn ledger_api() -> Api {
    Api::new(&LEDGER_TABLE.endpoint, &LEDGER_TABLE.name, StandingHost::at(instant(LATER)))
}

pub fn names(data: &Value) -> Vec<String> {
    let runs = data["runs"].as_array().unwrap();
    runs.iter().map(|run| run["runId"].as_str().unwrap().to_owned()).collect()
}

/// All pages of a query, each with the names on it.
pub async fn pages(api: &Api, query: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let data = data(api, &format!("{RUNS}?{query}{cursor}")).await;
        pages.push(names(&data));
        match &data["nextCursor"] {
            Value::Null => return pages,
            next => cursor = format!("&cursor={}", next.as_str().unwrap()),
        }
        assert!(pages.len() < 200, "{query} never ends");
    }
}
