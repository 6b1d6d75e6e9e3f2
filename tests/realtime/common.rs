//! Paths, costs and the platform that changes while the counters are refreshed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{Client, WriteRequest},
    host::SharedHost,
    metrics::period::{Granularity, Period},
    realtime::{RefreshOutcome, RefreshTrigger, Refresher},
    settings::Settings,
    store::ledger::Status,
};
use sample_platform::Item;
use serde_json::{Value, json};
use support::{
    api::{Api, IMPATIENT, StandingHost, instant, stamp, variable},
    catalogue::gallery,
    database::{Backend, TestTable, connection},
    engine_suite::{engine_at, platform},
    fault_proxy::{Fault, FaultProxy, Seen},
    realtime::{Surroundings, expected_counters},
};

pub const REALTIME: &str = "/api/admin/analytics/realtime";

pub const DASHBOARD: &str = "/api/admin/analytics/dashboard";

/// The requests of a refresh at any minute of an hour: the lease taken in two and given back, the
/// records of the last day, the visitors, and of each of twelve partitions the running hour and the
/// part of an hour at the other end of the last 24.
pub const REQUESTS: usize = 3 + 1 + 1 + 12 * 2;

/// A platform of which the last hours were counted, in which time goes on: what happens later is not
/// there before.
pub struct World {
    pub table: TestTable,
    /// Everything that will ever be there.
    pub all: Vec<Item>,
    /// What is there now.
    pub items: Vec<Item>,
    /// What was there when the last hour was counted, and when that ended.
    pub then: Vec<Item>,
    pub counted_until: DateTime<Utc>,
    pub host: Arc<StandingHost>,
    pub endpoint: String,
    pub surroundings: Surroundings,
    pub api: Api,
}

/// When something happens, by its time or by its sort keys; what has neither has always been there.
pub fn moment(item: &Item) -> DateTime<Utc> {
    let read = |name: &str| item.get(name)?["S"].as_str()?.parse::<DateTime<Utc>>().ok();
    let views = item["PK"]["S"].as_str().is_some_and(|key| key.starts_with("VIEW_COUNT#"));
    let at = if views { read("SK") } else { read("createdAt").or_else(|| read("timestamp")) };
    let by_key = |name: &str| {
        let minute = item.get(name)?["S"].as_str()?.get(..16)?;
        format!("{minute}:00Z").parse::<DateTime<Utc>>().ok()
    };
    at.or_else(|| ["GSI1SK", "GSI3SK", "GSI4SK"].into_iter().find_map(by_key))
        .unwrap_or(DateTime::UNIX_EPOCH)
}

/// The item as it is at `now`: counters grow through their hour, visitors are seen again.
pub fn as_of(item: &Item, now: DateTime<Utc>) -> Item {
    let mut item = item.clone();
    let just_now = now - TimeDelta::milliseconds(1);
    let key = item["PK"]["S"].as_str().unwrap().to_owned();
    if key == "VISITOR" {
        let seen: DateTime<Utc> = item["lastSeen"]["S"].as_str().unwrap().parse().unwrap();
        item.insert("lastSeen".to_owned(), json!({ "S": stamp(seen.min(just_now)) }));
    } else if key == "VIEW_COUNT#hourly" && just_now - moment(&item) < TimeDelta::hours(1) {
        // A malformed one stays as it is.
        if let Some(last) = item["newViews"]["N"].as_str() {
            let minutes = (just_now - moment(&item)).num_minutes();
            let views = (last.parse::<i64>().unwrap() * minutes / 60).to_string();
            item.insert("newViews".to_owned(), json!({ "N": views }));
        }
    }
    item
}

impl World {
    /// A day and three hours that were counted, up to `start`.
    pub async fn at(start: DateTime<Utc>) -> Self {
        Self::since(start, 27, |endpoint| async { endpoint }).await
    }

    /// The platform behind a proxy, counted until 02:00. While the switch is on, the proxy rejects the
    /// requests for which `is_rejected` holds: the clock stands still, so retries of a request that gets
    /// no response would not end.
    pub async fn behind_proxy(
        is_rejected: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> (Self, &'static FaultProxy, Arc<AtomicBool>) {
        let switch = Arc::new(AtomicBool::new(false));
        let is_on = switch.clone();
        let rule = move |seen: &Seen| {
            let rejects = is_on.load(Ordering::SeqCst) && is_rejected(seen);
            if rejects { Fault::AccessDenied } else { Fault::None }
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let world = Self::since(instant("2026-06-01T02:00:00Z"), 27, async move |endpoint| {
            let proxy: &'static FaultProxy =
                Box::leak(Box::new(FaultProxy::start(&endpoint, rule).await));
            sender.send(proxy).unwrap_or_else(|_| panic!("the receiver is gone"));
            proxy.endpoint.clone()
        })
        .await;
        (world, receiver.await.unwrap(), switch)
    }

    /// A platform of which so many hours were counted until `start`, behind what `proxy` starts.
    pub async fn since<Proxied: Future<Output = String>>(
        start: DateTime<Utc>,
        hours: i64,
        proxy: impl FnOnce(String) -> Proxied,
    ) -> Self {
        let all = platform(60);
        let first =
            Period::containing(Granularity::Hourly, start).start() - TimeDelta::hours(hours);
        let items: Vec<Item> =
            all.iter().filter(|item| moment(item) < first).map(|item| as_of(item, first)).collect();
        let table = TestTable::with(Backend::Dynoxide, &items).await;
        let host = StandingHost::at(first);
        let endpoint = proxy(table.endpoint.clone()).await;
        let surroundings = Surroundings::default();
        let settings = Settings::read(|name| variable(name, &endpoint, &table.name)).unwrap();
        let api = Api::with_surroundings(settings, host.clone(), IMPATIENT, &surroundings);
        let then = items.clone();
        let mut world = Self {
            table,
            all,
            items,
            then,
            counted_until: first,
            host,
            endpoint,
            surroundings,
            api,
        };
        let mut hour = first + TimeDelta::hours(1);
        while hour <= start {
            world.count_hour(hour).await;
            hour += TimeDelta::hours(1);
        }
        world.go_on_to(start.max(world.now())).await;
        world
    }

    pub fn now(&self) -> DateTime<Utc> {
        edge_analytics::host::Host::now(self.host.as_ref())
    }

    /// Time goes on, and what happens before `to` happens.
    pub async fn go_on_to(&mut self, to: DateTime<Utc>) {
        let known: std::collections::HashMap<(String, String), usize> =
            self.items.iter().enumerate().map(|(index, item)| (key_of(item), index)).collect();
        let mut changed = Vec::new();
        for item in self.all.iter().filter(|item| moment(item) < to) {
            let item = as_of(item, to);
            match known.get(&key_of(&item)) {
                Some(index) if self.items[*index] == item => {}
                Some(index) => {
                    self.items[*index].clone_from(&item);
                    changed.push(item);
                }
                None => {
                    self.items.push(item.clone());
                    changed.push(item);
                }
            }
        }
        self.table.put(&changed).await;
        self.host.set(to);
    }

    /// The event of the hour that ended at `hour`, five seconds late.
    pub async fn count_hour(&mut self, hour: DateTime<Utc>) {
        self.go_on_to(hour + TimeDelta::seconds(5)).await;
        let engine = engine_at(&self.table.endpoint, &self.table.name, self.host.clone());
        let report = engine.run(Granularity::Hourly, hour).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
        self.then.clone_from(&self.items);
        self.counted_until = hour;
    }

    /// A refresh, as the cron event asks for it.
    pub async fn tick(&self) -> RefreshOutcome {
        self.refresh(RefreshTrigger::Tick).await
    }

    pub async fn refresh(&self, occasion: RefreshTrigger) -> RefreshOutcome {
        refresh_at(&self.endpoint, &self.table.name, &self.host, &self.surroundings, occasion).await
    }

    pub fn expected(&self) -> support::realtime::Counters {
        expected_counters(&self.items, self.now(), &self.then, self.counted_until)
    }

    /// The `data` of a request that must succeed.
    pub async fn data(&self, uri: &str) -> Value {
        let answer = self.api.get(uri).await;
        assert_eq!(answer.status.as_u16(), 200, "{uri}: {}", answer.text());
        answer.assert_common_headers();
        answer.json()["data"].clone()
    }

    pub async fn delete(&self, metric_type: &str, hour: DateTime<Utc>) {
        let hour = Period::containing(Granularity::Hourly, hour);
        let key = edge_analytics::store::record::record_key(metric_type, hour);
        let delete = vec![WriteRequest::DeleteRequest { key }];
        self.table.client().batch_write(&self.table.name, delete).await.unwrap();
    }

    /// The log's lines of refreshes.
    pub fn refreshes(&self) -> Vec<Value> {
        let lines = self.host.lines().into_iter().map(|(_, line)| line);
        lines.filter(|line| line["event"] == "realtime").collect()
    }
}

pub async fn refresh_at(
    endpoint: &str,
    table: &str,
    host: &Arc<StandingHost>,
    surroundings: &Surroundings,
    occasion: RefreshTrigger,
) -> RefreshOutcome {
    let catalogue = gallery();
    let shared: SharedHost = host.clone();
    let refresher = Refresher {
        client: Client::with_policy(connection(endpoint), shared.clone(), IMPATIENT),
        host: shared,
        table,
        catalogue: &catalogue,
        store: &surroundings.snapshots,
    };
    refresher.refresh(occasion).await.unwrap()
}

pub fn key_of(item: &Item) -> (String, String) {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("PK"), part("SK"))
}

pub fn metric<'answer>(data: &'answer Value, name: &str) -> &'answer Value {
    let mut counters = data["counters"].as_array().unwrap().iter();
    counters
        .find(|counter| counter["metricKey"] == name)
        .unwrap_or_else(|| panic!("{name} in {data}"))
}
