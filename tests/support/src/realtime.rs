//! What the realtime counters stand on in tests: a store that is behind like Workers KV, work after
//! the answer that can be waited for, a cache in memory. And what the counters have to be, from the
//! independent computation.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::{Body, Bytes};
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    host::{Background, BoxFuture, CacheError, KvError, ResponseCache},
    realtime::SnapshotStore,
};
use futures_util::stream;
use sample_platform::Item;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{api::stamp, oracle};

/// A store of snapshots. Like Workers KV it need not show what was put.
#[derive(Clone, Default)]
pub struct TestSnapshots(Arc<Mutex<Snapshots>>);

#[derive(Default)]
struct Snapshots {
    visible: Option<String>,
    /// All that was put.
    puts: Vec<String>,
    lags: bool,
    is_down: bool,
}

impl TestSnapshots {
    /// From now on what is put is not seen, or is seen again at once, with the last of it.
    pub fn lag(&self, lags: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.lags = lags;
        if !lags {
            inner.visible = inner.puts.last().cloned().or(inner.visible.take());
        }
    }

    /// From now on it does not answer, or answers again.
    pub fn break_down(&self, is_down: bool) {
        self.0.lock().unwrap().is_down = is_down;
    }

    /// Shows this, independent of what was written.
    pub fn show(&self, snapshot: Option<String>) {
        self.0.lock().unwrap().visible = snapshot;
    }

    /// How often something was put.
    pub fn puts(&self) -> usize {
        self.0.lock().unwrap().puts.len()
    }

    /// The last snapshot that was put.
    pub fn last(&self) -> Value {
        let inner = self.0.lock().unwrap();
        serde_json::from_str(inner.puts.last().expect("nothing was put")).unwrap()
    }
}

impl SnapshotStore for TestSnapshots {
    fn get(&self) -> BoxFuture<'static, Result<Option<String>, KvError>> {
        let inner = self.0.lock().unwrap();
        let answer = if inner.is_down {
            Err(KvError::Read("down".to_owned()))
        } else {
            Ok(inner.visible.clone())
        };
        Box::pin(async move { answer })
    }

    fn put(&self, snapshot: String) -> BoxFuture<'static, Result<(), KvError>> {
        let mut inner = self.0.lock().unwrap();
        if inner.is_down {
            return Box::pin(async { Err(KvError::Write("down".to_owned())) });
        }
        inner.puts.push(snapshot.clone());
        if !inner.lags {
            inner.visible = Some(snapshot);
        }
        Box::pin(async { Ok(()) })
    }
}

/// Work that goes on after the answer.
#[derive(Clone, Default)]
pub struct TestBackground(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Background for TestBackground {
    fn run(&self, work: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().push(tokio::spawn(work));
    }
}

impl TestBackground {
    /// Waits until nothing is left to do; says how many pieces of work that were.
    pub async fn join(&self) -> usize {
        let mut count = 0;
        loop {
            let Some(work) = self.0.lock().unwrap().pop() else { return count };
            work.await.unwrap();
            count += 1;
        }
    }
}

/// A cache in memory.
#[derive(Clone, Default)]
pub struct TestCache(Arc<Mutex<HashMap<String, Kept>>>);

/// A response's chunks, and for how long they are kept.
type Kept = (Vec<Bytes>, Duration);

impl TestCache {
    /// The keys, with how long each answer is kept.
    pub fn kept(&self) -> BTreeMap<String, Duration> {
        let kept = self.0.lock().unwrap();
        kept.iter().map(|(key, (_, lifetime))| (key.clone(), *lifetime)).collect()
    }
}

impl ResponseCache for TestCache {
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Body>, CacheError>> {
        let found = self.0.lock().unwrap().get(key).map(|(answer, _)| answer.clone());
        // As it comes from the edge: a stream of chunks whose length is not known before.
        let body = found.map(|answer| {
            Body::from_stream(stream::iter(answer.into_iter().map(Ok::<_, Infallible>)))
        });
        Box::pin(async move { Ok(body) })
    }

    fn put(
        &self,
        key: &str,
        answer: Vec<Bytes>,
        lifetime: Duration,
    ) -> BoxFuture<'static, Result<(), CacheError>> {
        self.0.lock().unwrap().insert(key.to_owned(), (answer, lifetime));
        Box::pin(async { Ok(()) })
    }
}

/// What surrounds the API besides the table.
#[derive(Clone, Default)]
pub struct Surroundings {
    pub snapshots: TestSnapshots,
    pub background: TestBackground,
    pub cache: TestCache,
}

/// Every counter's value and what it is as of.
pub type Counters = BTreeMap<String, (Value, String)>;

/// Totals that are brought up to now, by type.
const COUNTED: [(&str, &[&str]); 4] = [
    ("media", &["totalMedia"]),
    ("albums", &["totalAlbums"]),
    ("interactions", &["totalLikes", "totalBookmarks", "totalComments"]),
    ("generations", &["totalGenerations"]),
];

/// Totals that only the hourly run finds, by type.
const CARRIED: [(&str, &[&str]); 5] = [
    ("users", &["totalUsers"]),
    ("media", &["publicMedia", "privateMedia", "mediaByStatus"]),
    ("albums", &["publicAlbums", "privateAlbums"]),
    ("interactions", &["totalViews"]),
    ("business", &["MRR", "totalRevenue"]),
];

/// What is new, as of now and as of the last hour.
const NEW_BY_NOW: [(&str, &str); 7] = [
    ("media", "newMedia"),
    ("albums", "newAlbums"),
    ("interactions", "newLikes"),
    ("interactions", "newBookmarks"),
    ("interactions", "newComments"),
    ("interactions", "newViews"),
    ("generations", "newGenerations"),
];
const NEW_BY_THE_HOUR: [(&str, &str); 2] = [("users", "newUsers"), ("business", "newRevenue")];

/// What the counters have to be at `at`: `items` is the table as it stands, `then` as it stood when
/// the last hour was counted, which ended at `counted_until`.
pub fn expected_counters(
    items: &[Item],
    at: DateTime<Utc>,
    then: &[Item],
    counted_until: DateTime<Utc>,
) -> Counters {
    let mut counters = Counters::new();
    let mut add = |name: String, value: &Value, as_of: DateTime<Utc>| {
        assert!(counters.insert(name, (value.clone(), stamp(as_of))).is_none());
    };
    let day = TimeDelta::hours(24);
    let midnight = |at: DateTime<Utc>| at.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let last_day = oracle::expected_period(items, at - day, at, None);
    let today = oracle::expected_period(items, midnight(at), at, None);
    for (metric_type, names) in COUNTED {
        for name in names {
            add((*name).to_owned(), &last_day[metric_type][*name], at);
        }
    }
    for (metric_type, name) in NEW_BY_NOW {
        add(format!("{name}Today"), &today[metric_type][name], at);
        add(format!("{name}Last24Hours"), &last_day[metric_type][name], at);
    }
    let last_hour = oracle::expected_period(then, counted_until - day, counted_until, None);
    let today_end = counted_until.max(midnight(at));
    let today = oracle::expected_period(then, midnight(at), today_end, None);
    for (metric_type, names) in CARRIED {
        for name in names {
            add((*name).to_owned(), &last_hour[metric_type][*name], counted_until);
        }
    }
    for (metric_type, name) in NEW_BY_THE_HOUR {
        add(format!("{name}Today"), &today[metric_type][name], today_end);
        add(format!("{name}Last24Hours"), &last_hour[metric_type][name], counted_until);
    }
    for minutes in [5, 30] {
        let since = at - TimeDelta::minutes(minutes);
        let seen: BTreeSet<&str> = items
            .iter()
            .filter(|item| item.get("PK").is_some_and(|key| key["S"] == "VISITOR"))
            .filter(|item| {
                let last = item["lastSeen"]["S"].as_str().unwrap();
                let last: DateTime<Utc> = last.parse().unwrap();
                since <= last && last < at
            })
            .map(|item| item["clientIP"]["S"].as_str().unwrap())
            .collect();
        add(format!("visitorsLast{minutes}Minutes"), &json!(seen.len()), at);
    }
    counters
}

/// The counters in an answer or a snapshot.
pub fn counters_in(data: &Value) -> Counters {
    let counters = data["counters"].as_array().unwrap();
    let found: Counters = counters
        .iter()
        .map(|counter| {
            let name = counter["metricKey"].as_str().unwrap().to_owned();
            let as_of = counter["lastUpdated"].as_str().unwrap().to_owned();
            (name, (counter["value"].clone(), as_of))
        })
        .collect();
    assert_eq!(found.len(), counters.len(), "a counter is there twice");
    found
}

/// Compares counters; numbers by value.
#[track_caller]
pub fn assert_counters(actual: &Counters, expected: &Counters, context: &str) {
    let names = |counters: &Counters| counters.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(actual), names(expected), "{context}: which counters are there");
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(name, (value, as_of))| {
            let (found, found_as_of) = &actual[*name];
            let same = match (found.as_f64(), value.as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() < 1e-9,
                _ => found == value,
            };
            !same || found_as_of != as_of
        })
        .map(|(name, expected)| format!("{name} is {:?}, expected {expected:?}", actual[name]))
        .collect();
    assert!(wrong.is_empty(), "{context}: {wrong:#?}");
}
