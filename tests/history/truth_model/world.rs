//! A platform's table, its runs and its recalculations, and the comparison of what they store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use axum::body::Body;
use chrono::{Datelike, TimeDelta, Weekday};
use edge_analytics::{
    dynamodb::{Client, RetryPolicy},
    metrics::{
        period::{Granularity, format_instant},
        record::{Coverage, Record},
    },
    run::Engine,
    settings::Settings,
    store::ledger::Status,
};
use http::{Method, Request, StatusCode, header};
use sample_platform::Item;
use serde_json::json;

use super::{
    expected::{DELAY, Expected, Instant},
    life::Change,
};
use support::{
    api::{Api, variable, with_token},
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::TYPES,
    host::TestHost,
    provenance::{Marked, compare_marked},
    queue::TestQueue,
    realtime::Surroundings,
};

pub struct World {
    pub changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    pub table: TestTable,
    pub client: Client,
    pub host: Arc<TestHost>,
    pub engine: Engine,
    pub api: Api,
    pub queue: TestQueue,
}

impl World {
    /// The table as it is at `begin`.
    pub async fn new(changes: Vec<Change>, begin: Instant) -> Self {
        let mut changes = changes.into_iter().peekable();
        let mut items = BTreeMap::new();
        while let Some(change) = changes.next_if(|change| change.at <= begin) {
            match change.item {
                Some(item) => items.insert(change.key, item),
                None => items.remove(&change.key),
            };
        }
        let items: Vec<Item> = items.into_values().collect();
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = TestHost::at(begin);
        let settings = Settings::read(|name| variable(name, &table.endpoint, &table.name)).unwrap();
        let client = Client::new(connection(&table.endpoint), host.clone());
        let engine = Engine::new(client.clone(), host.clone(), table.name.clone(), gallery())
            .with_options(settings.options);
        let queue = TestQueue::default();
        let api = Api::with_queue(
            settings,
            host.clone(),
            RetryPolicy::default(),
            &Surroundings::default(),
            queue.clone(),
        );
        let client = table.client();
        Self { changes, table, client, host, engine, api, queue }
    }

    /// Lets time pass until `now`.
    pub async fn advance(&mut self, now: Instant) {
        let mut changed = BTreeMap::new();
        while let Some(change) = self.changes.next_if(|change| change.at <= now) {
            changed.insert(change.key, change.item);
        }
        self.table.apply(&self.client, changed).await;
        self.host.set(now);
    }

    /// An event of this time is processed at `now`.
    pub async fn run(&mut self, granularity: Granularity, event: Instant, now: Instant) {
        self.advance(now).await;
        let report = self.engine.run(granularity, event).await;
        assert_eq!(report.status, Status::Complete, "{granularity} {event}: {report:?}");
    }

    /// The events of the coarser granularities after midnight, on time.
    pub async fn run_coarser(&mut self, midnight: Instant) {
        let mut due = vec![(Granularity::Daily, 5)];
        if midnight.weekday() == Weekday::Mon {
            due.push((Granularity::Weekly, 10));
        }
        if midnight.day() == 1 {
            due.push((Granularity::Monthly, 15));
        }
        for (granularity, minutes) in due {
            let event = midnight + TimeDelta::minutes(minutes);
            self.run(granularity, event, event + DELAY).await;
        }
    }

    /// Recalculates the periods that start from `first` to before `end`, to the end of the job.
    pub async fn recalculate(
        &self,
        granularity: Granularity,
        (first, end): (Instant, Instant),
        overwrite: bool,
    ) {
        let mut body = json!({
            "metricType": "all", "granularity": granularity.to_string(),
            "startDate": format_instant(first),
            "endDate": format_instant(end - TimeDelta::milliseconds(1)),
        });
        if overwrite {
            body["overwrite"] = json!(true);
        }
        let uri = "/api/admin/analytics/recalculate";
        let request = with_token(Request::builder().method(Method::POST).uri(uri))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let answer = self.api.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let job = answer.json()["data"].clone();
        self.queue.deliver_all(&self.engine).await;
        let id = job["jobId"].as_str().unwrap();
        let job = self.api.get(format!("{uri}/{id}")).await.json()["data"].clone();
        assert_eq!(job["status"], "complete", "{job}");
        assert!(job["done"].as_u64().unwrap() > 0, "{job}");
    }

    /// Every record that is stored.
    pub async fn records(&self) -> HashMap<(usize, Granularity, Instant), Record> {
        let items = self.table.records().await;
        let record = |item| {
            let record = Record::from_item(item).unwrap();
            let metric_type = TYPES.iter().position(|name| *name == record.metric_type).unwrap();
            ((metric_type, record.period.granularity(), record.period.start()), record)
        };
        items.into_iter().map(record).collect()
    }

    /// Asserts that what is stored is what is expected, and nothing else.
    pub async fn check(&self, expected: &Expected, when: &str) {
        let found = self.records().await;
        let keys: BTreeSet<_> = expected.keys().chain(found.keys()).copied().collect();
        let wrong: Vec<String> = keys
            .into_iter()
            .filter_map(|key| {
                let (metric_type, granularity, start) = key;
                let difference = compare(expected.get(&key), found.get(&key))?;
                Some(format!("{} of {granularity} {start}: {difference}", TYPES[metric_type]))
            })
            .collect();
        let (count, all) = (wrong.len(), expected.len());
        let said = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
        assert!(wrong.is_empty(), "{when}: {count} of {all} records are wrong:\n{said}");
        println!("{when}: {all} records are right");
    }
}

/// How a record differs from what it has to be, or nothing.
fn compare(
    expected: Option<&(Marked, Option<Coverage>)>,
    found: Option<&Record>,
) -> Option<String> {
    let (expected, found) = match (expected, found) {
        (None, None) => return None,
        (Some(_), None) => return Some("there is no record".to_owned()),
        (None, Some(found)) => return Some(format!("there is a record: {:?}", found.metrics)),
        (Some(expected), Some(found)) => (expected, found),
    };
    let (marked, coverage) = expected;
    let mut wrong: Vec<String> = compare_marked(found, marked).into_iter().collect();
    if found.coverage != *coverage {
        wrong.push(format!("coverage is {:?}, expected {coverage:?}", found.coverage));
    }
    (!wrong.is_empty()).then(|| wrong.join("; "))
}
