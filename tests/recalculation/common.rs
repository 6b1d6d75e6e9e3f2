//! A platform whose hours were counted, and jobs over it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, Client, Read, RetryPolicy},
    host::Host,
    metrics::{
        period::{Granularity, Period, format_instant},
        record::Record,
    },
    run::Engine,
    settings::Settings,
    store::{
        job::Message,
        jobs::{Revived, revive_jobs},
    },
};
use http::{Method, Request, StatusCode, header};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Answer, Api, variable, with_token},
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::{TYPES, end, platform, stored_in},
    fault_proxy::{Fault, FaultProxy, Seen},
    host::TestHost,
    queue::TestQueue,
    realtime::Surroundings,
};

pub const RECALCULATE: &str = "/api/admin/analytics/recalculate";

/// What differs from run to run in a job.
pub const MASKED: [&str; 3] = ["jobId", "startedAt", "finishedAt"];

/// Gives up soon: some of these tests let DynamoDB fail for good.
const POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    cap: Duration::from_millis(5),
    attempt_timeout: Duration::from_secs(5),
    deadline: Duration::from_millis(200),
};

/// A platform of which the hours of some days and the days were counted, the API over it, its queue
/// and the engine that consumes it.
pub struct World {
    pub table: TestTable,
    pub items: Vec<Item>,
    pub host: Arc<TestHost>,
    pub queue: TestQueue,
    /// What the API and the engine talk to.
    pub endpoint: String,
    pub api: Api,
    pub engine: Engine,
    pub surroundings: Surroundings,
}

/// The first hour of all.
pub fn begin() -> DateTime<Utc> {
    end() - TimeDelta::hours(3 + 3 * 24)
}

impl World {
    /// Three days and three hours, counted by their own events.
    pub async fn new() -> Self {
        Self::behind(|endpoint| async { endpoint }).await
    }

    /// The same, with the API and the consumer behind what `proxy` answers.
    pub async fn behind<Proxied: Future<Output = String>>(
        proxy: impl FnOnce(String) -> Proxied,
    ) -> Self {
        let items = platform(40);
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = TestHost::at(end() + TimeDelta::minutes(20));
        let direct = Self::engine(&table.endpoint, &table.name, &host);
        let mut at = begin();
        while at < end() {
            at += TimeDelta::hours(1);
            host.set(at + TimeDelta::seconds(5));
            direct.run(Granularity::Hourly, at).await;
            if at.time() == chrono::NaiveTime::MIN {
                direct.run(Granularity::Daily, at + TimeDelta::minutes(5)).await;
            }
        }
        let midnight = end() - TimeDelta::hours(3);
        direct.run(Granularity::Weekly, midnight + TimeDelta::minutes(10)).await;
        direct.run(Granularity::Monthly, midnight + TimeDelta::minutes(15)).await;
        host.set(end() + TimeDelta::minutes(20));
        let endpoint = proxy(table.endpoint.clone()).await;
        let queue = TestQueue::default();
        let surroundings = Surroundings::default();
        let settings = Settings::read(|name| variable(name, &endpoint, &table.name)).unwrap();
        let api = Api::with_queue(settings, host.clone(), POLICY, &surroundings, queue.clone());
        let engine = Self::engine(&endpoint, &table.name, &host);
        Self { table, items, host, queue, endpoint, api, engine, surroundings }
    }

    /// The same, in which media cannot be read for as long as what is returned is true.
    pub async fn without_media() -> (Self, Arc<AtomicBool>) {
        let broken = Arc::new(AtomicBool::new(true));
        let rule = broken.clone();
        let world = Self::behind(|endpoint| async move {
            let proxy = FaultProxy::start(&endpoint, move |seen| {
                if rule.load(Ordering::SeqCst) && seen.queries("MEDIA") {
                    Fault::AccessDenied
                } else {
                    Fault::None
                }
            })
            .await;
            proxy.endpoint
        })
        .await;
        (world, broken)
    }

    pub fn engine(endpoint: &str, table: &str, host: &Arc<TestHost>) -> Engine {
        let client = Client::with_policy(connection(endpoint), host.clone(), POLICY);
        Engine::new(client, host.clone(), table.to_owned(), gallery())
    }

    pub async fn post(&self, body: &Value) -> Answer {
        self.post_to(RECALCULATE, body).await
    }

    pub async fn post_to(&self, uri: &str, body: &Value) -> Answer {
        let request = with_token(Request::builder().method(Method::POST).uri(uri))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.api.send(request).await
    }

    /// Starts a job that must be accepted.
    pub async fn start(&self, body: &Value) -> Value {
        let answer = self.post(body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        answer.json()["data"].clone()
    }

    pub async fn follow(&self, job: &Value) -> Value {
        let id = job["jobId"].as_str().unwrap();
        let answer = self.api.get(format!("{RECALCULATE}/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["data"].clone()
    }

    pub async fn all_records(&self) -> BTreeMap<(String, String, String), Record> {
        let mut records = BTreeMap::new();
        for granularity in Granularity::ALL {
            let mut period = Period::containing(granularity, begin());
            while period.end() < end() {
                for name in TYPES {
                    if let Some(record) = stored_in(&self.table, name, period).await {
                        let at = format_instant(period.start());
                        records.insert((granularity.to_string(), at, name.to_owned()), record);
                    }
                }
                period = period.next();
            }
        }
        records
    }
}

pub fn range(
    metric_type: &str,
    granularity: &str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Value {
    json!({
        "metricType": metric_type, "granularity": granularity,
        "startDate": format_instant(start), "endDate": format_instant(end),
    })
}

/// The message that a new job is started with.
pub fn first_message(job: &Value) -> Message {
    Message { job_id: job["jobId"].as_str().unwrap().to_owned(), slice: 0, attempt: 0 }
}

/// Everything that ever was.
pub fn everything(granularity: &str) -> Value {
    range("all", granularity, begin() - TimeDelta::days(40), end() + TimeDelta::days(2))
}

impl World {
    /// A world in which `fault` decides on every request of the API and the consumer for as long as
    /// what is returned is true.
    pub async fn with_fault(
        fault: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
    ) -> (Self, Arc<AtomicBool>) {
        let active = Arc::new(AtomicBool::new(false));
        let rule = active.clone();
        let world = Self::behind(|endpoint| async move {
            let proxy = FaultProxy::start(&endpoint, move |seen| {
                if rule.load(Ordering::SeqCst) { fault(seen) } else { Fault::None }
            })
            .await;
            proxy.endpoint
        })
        .await;
        (world, active)
    }

    pub fn pass(&self, time: TimeDelta) {
        self.host.set(self.host.now() + time);
    }

    /// What the tick does for recalculations.
    pub async fn tick(&self) -> Revived {
        let client = self.table.client_with(self.host.clone());
        revive_jobs(&client, &self.table.name, &self.queue, self.host.now()).await
    }

    pub async fn dismiss(&self, id: &str) -> Answer {
        let uri = format!("{RECALCULATE}/{id}");
        let request = with_token(Request::builder().method(Method::DELETE).uri(uri));
        self.api.send(request.body(Body::empty()).unwrap()).await
    }

    /// How many jobs the table names as unfinished.
    pub async fn unfinished(&self) -> usize {
        let key = edge_analytics::store::job::unfinished_key();
        let client = self.table.client();
        let item = client.get(&self.table.name, key, Read::Consistent).await.unwrap().unwrap();
        match item.get("unfinishedJobs") {
            Some(AttributeValue::Ss(jobs)) => jobs.len(),
            None => 0,
            other => panic!("{other:?}"),
        }
    }
}
