//! The sample's past: sixty days of a platform's life, played into the embedded DynamoDB while the
//! engine runs at its times, so that every record says what was true at its own time.

use std::{
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use edge_analytics::{
    host::{BoxFuture, Host, NativeHost, RandomnessError, Severity},
    metrics::{
        catalogue::Catalogue,
        period::{Granularity, Period},
    },
    run::Engine,
    store::ledger::Status,
};
use sample_platform::{Change, Counts, Shape, generate_counts, history};
use serde::{Deserialize, Serialize};

use crate::{
    embedded_dynamodb::{self, EmbeddedDynamoDb, TABLE},
    error::{Error, Result},
    progress::{Activity, elapsed},
    schedule::{Event, events_between},
};

/// The file that says that a folder holds a whole history.
const MARKER: &str = "history.json";

/// How long the platform has existed when its first hour is counted: a page that begins with nothing
/// looks like a mistake.
const YOUTH: TimeDelta = TimeDelta::days(30);

/// How long after its scheduled time an event comes.
const LATENESS: TimeDelta = TimeDelta::seconds(2);

/// How often a run is tried.
const ATTEMPTS: u32 = 3;

/// A sample platform and its past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Users who ever sign up.
    pub users: u32,
    /// Days of records.
    pub days: u32,
    /// What its randomness came from.
    pub seed: u64,
    /// When it was asked for: where its told life ends.
    pub end: DateTime<Utc>,
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, days, seed, .. } = self;
        write!(formatter, "{users} users, {days} days and seed {seed}")
    }
}

impl From<Sample> for Shape {
    fn from(sample: Sample) -> Self {
        Self { users: sample.users, days: sample.days, seed: sample.seed, end: sample.end }
    }
}

impl Sample {
    /// The midnight at which the first hour begins that is counted.
    fn begin(&self) -> DateTime<Utc> {
        let today = self.end.date_naive().and_time(NaiveTime::MIN).and_utc();
        today - TimeDelta::days(i64::from(self.days))
    }

    /// More visits and likes a user than the usual platform has: hours are to have something to show
    /// while the totals, which every hour reads whole, stay small.
    fn counts(&self) -> Counts {
        let hours = (self.days + 30) * 24;
        Counts {
            media: self.users * 3,
            interactions: self.users * 12,
            comments: self.users * 3,
            visitor_hours: hours * (2 + self.users / 12),
            orders: self.users,
            ..Counts::for_users(self.users)
        }
    }

    /// Everything that happens, in order.
    fn changes(&self) -> Vec<Change> {
        let birth = self.begin() - YOUTH;
        let mut changes = history(&self.counts(), self.seed, birth, self.end);
        // Those whom documentation and tests sign in as; the rest of that platform is not needed.
        let nobody = Counts { users: 3, ..Counts::for_users(0) };
        let known = generate_counts(&nobody, self.days, self.seed, self.end).into_iter();
        let accounts = known.filter_map(|item| {
            let text = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
            let key = (text("PK"), text("SK"));
            let is_account = key.0.starts_with("USER#") || key.0.starts_with("SESSION#");
            is_account.then_some(Change { at: birth, key, item: Some(item) })
        });
        changes.splice(0..0, accounts);
        changes
    }
}

/// What a folder holds: a sample, and how far its cron events have come. Written when the history is
/// whole, so one that was interrupted does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The sample.
    #[serde(flatten)]
    pub sample: Sample,
    /// Events up to this time have been sent.
    pub reached: DateTime<Utc>,
}

impl Stored {
    /// What `folder` holds, if it holds a whole history.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(MARKER)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Notes it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (path, new) = (folder.join(MARKER), folder.join("history.json.new"));
        fs::write(&new, serde_json::json!(self).to_string()).map_err(Error::file("write", &new))?;
        fs::rename(&new, &path).map_err(Error::file("write", &path))
    }

    /// What of the told life is not in the table yet, in order: where the history was prepared and
    /// the hours after it were not.
    pub fn untold(&self) -> Vec<Change> {
        if self.reached >= self.sample.end {
            return Vec::new();
        }
        let mut changes = self.sample.changes();
        changes.retain(|change| change.at > self.reached);
        changes
    }
}

/// Deletes what `folder` holds: the sample, its records, and what a Worker on it cached.
pub fn delete(folder: &Path) -> Result<()> {
    // The claim that it is whole goes first; `sample.json` is what earlier versions made of it.
    for name in [MARKER, "sample.json"] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("delete", &path)(error));
            }
            _ => {}
        }
    }
    embedded_dynamodb::delete(folder)?;
    let state = folder.join("state");
    if state.exists() {
        fs::remove_dir_all(&state).map_err(Error::file("delete", &state))?;
    }
    Ok(())
}

/// A DynamoDB on `folder` that holds `sample` with its past: stored earlier, or made now. The last
/// `hours` hours are left to whoever has a Worker: their changes ([`Stored::untold`]) are not in the
/// table yet, and their events have not been.
pub async fn prepare(
    folder: &Path,
    sample: Sample,
    hours: u32,
) -> Result<(EmbeddedDynamoDb, Stored)> {
    if let Some(stored) = Stored::read(folder).filter(|stored| stored.sample == sample) {
        eprintln!("sample platform: {sample}, stored earlier");
        return Ok((EmbeddedDynamoDb::start(folder).await?, stored));
    }
    delete(folder)?;
    let activity = Activity::start(
        &format!("generating the history of a sample platform of {sample} and counting each hour"),
        "a second or two a day",
    );
    let database = EmbeddedDynamoDb::start(folder).await?;
    database.hurry(true)?;
    let hour = Period::containing(Granularity::Hourly, sample.end).start();
    let reached = (hour - TimeDelta::hours(i64::from(hours))).max(sample.begin());
    let outcome = Player::new(&database, sample)?.play_until(reached, &activity).await?;
    database.hurry(false)?;
    let stored = Stored { sample, reached };
    stored.write(folder)?;
    activity.finish(&outcome);
    Ok((database, stored))
}

/// Counts the past of a platform that stands still: of the `days` before today each day, week and month,
/// and hour by hour the last `live` days and today, all in time; the hours before are made by their days.
pub async fn count(
    database: &EmbeddedDynamoDb,
    end: DateTime<Utc>,
    days: u32,
    live: u32,
) -> Result<()> {
    let today = Period::containing(Granularity::Daily, end).start();
    let first = today - TimeDelta::days(days.into());
    let live = today - TimeDelta::days(live.into());
    let activity = Activity::start(&format!("counting the last {days} days"), "up to two minutes");
    let counter = Counter::new(database)?;
    let events = events_between(first, end);
    let begins = events.iter().find(|event| event.granularity == Granularity::Hourly).copied();
    for event in events {
        if Some(event) == begins || event.granularity != Granularity::Hourly || event.at > live {
            counter.run(event).await?;
        }
    }
    activity.finish("counted");
    Ok(())
}

/// A life that is being played.
struct Player<'database> {
    database: &'database EmbeddedDynamoDb,
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    begin: DateTime<Utc>,
    counter: Counter,
}

/// What counts the past at its own time.
struct Counter {
    host: Arc<SimulatedHost>,
    engine: Engine,
}

impl<'database> Player<'database> {
    fn new(database: &'database EmbeddedDynamoDb, sample: Sample) -> Result<Self> {
        let changes = sample.changes().into_iter().peekable();
        let counter = Counter::new(database)?;
        Ok(Self { database, changes, begin: sample.begin(), counter })
    }

    async fn play_until(mut self, end: DateTime<Utc>, activity: &Activity) -> Result<String> {
        let events = events_between(self.begin, end);
        let started = Instant::now();
        let mut played = 0;
        for (number, event) in events.iter().enumerate() {
            played += self.play(event.at).await?;
            self.counter.run(*event).await?;
            if number > 0 && number.is_multiple_of(10) {
                activity.note(&how_far(number, events.len(), started.elapsed(), event.at));
            }
        }
        Ok(format!("{played} changes and {} runs", events.len()))
    }

    /// Brings the table to where it stood at `now`.
    async fn play(&mut self, now: DateTime<Utc>) -> Result<usize> {
        let changes: Vec<Change> =
            std::iter::from_fn(|| self.changes.next_if(|change| change.at <= now)).collect();
        let count = changes.len();
        self.database.play(changes).await?;
        Ok(count)
    }
}

impl Counter {
    fn new(database: &EmbeddedDynamoDb) -> Result<Self> {
        let host = Arc::new(SimulatedHost::default());
        let catalogue = Catalogue::embedded()
            .map_err(|error| Error::History { problem: format!("metrics.toml: {error}") })?;
        let client = database.client(host.clone());
        let engine = Engine::new(client, host.clone(), TABLE.to_owned(), catalogue);
        Ok(Self { host, engine })
    }

    /// Has the engine do the work of `event`, at its time.
    async fn run(&self, event: Event) -> Result<()> {
        let mut problem = String::new();
        // A machine that was suspended meanwhile costs a run its lease; the next attempt is right.
        for _ in 0..ATTEMPTS {
            self.host.set(event.at + LATENESS);
            let report = self.engine.run(event.granularity, event.at).await;
            if report.status == Status::Complete && report.problems.is_empty() {
                return Ok(());
            }
            problem = serde_json::json!(report).to_string();
        }
        let Event { granularity, at } = event;
        Err(Error::History { problem: format!("the {granularity} run of {at} failed: {problem}") })
    }
}

/// How far something has come that has `total` parts.
fn how_far(done: usize, total: usize, taken: Duration, at: DateTime<Utc>) -> String {
    let [done, total] = [done, total].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let left = (taken / done.max(1)).saturating_mul(total.saturating_sub(done));
    let percent = u64::from(done) * 100 / u64::from(total.max(1));
    format!("{percent} %, {} left, at {}", elapsed(left), at.format("%F"))
}

/// A native host at another time.
#[derive(Debug, Default)]
struct SimulatedHost {
    ahead: Mutex<TimeDelta>,
}

impl SimulatedHost {
    fn set(&self, now: DateTime<Utc>) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = now - NativeHost.now();
    }
}

impl Host for SimulatedHost {
    fn now(&self) -> DateTime<Utc> {
        NativeHost.now() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        NativeHost.sleep(duration)
    }

    fn random(&self) -> std::result::Result<u128, RandomnessError> {
        NativeHost.random()
    }

    fn log(&self, _severity: Severity, _line: &serde_json::Value) {
        // What matters of a run is in its report.
    }
}

#[cfg(test)]
mod tests {
    use edge_analytics::dynamodb::{Query, text};

    use super::*;

    fn sample() -> Sample {
        let end = "2026-06-02T03:20:00Z".parse().unwrap();
        Sample { users: 4, days: 2, seed: 1, end }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    async fn records(database: &EmbeddedDynamoDb, partition: &str) -> Vec<String> {
        let query = Query {
            table: TABLE.to_owned(),
            index: None,
            partition_key: "PK".to_owned(),
            sort_key: "SK".to_owned(),
            partition: partition.to_owned(),
            range: None,
            projection: Vec::new(),
            descending: false,
        };
        let items = database.client(Arc::new(NativeHost)).query(&query).await.unwrap();
        items.iter().filter_map(|item| text(item, "timestamp")).map(str::to_owned).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_past_has_every_hour_and_day_but_those_left_and_is_made_once() {
        let folder = folder("whole-history");
        let (database, stored) = prepare(&folder, sample(), 2).await.unwrap();
        assert_eq!(stored.reached, "2026-06-02T01:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let hours = records(&database, "ANALYTICS#users#hourly").await;
        assert_eq!(hours.len(), 49);
        assert_eq!(hours.last().unwrap(), "2026-06-02T00:00:00.000Z");
        assert_eq!(records(&database, "ANALYTICS#users#daily").await.len(), 2);
        assert_eq!(records(&database, "ANALYTICS#users#monthly").await.len(), 1);
        database.stop().await;

        assert_eq!(Stored::read(&folder), Some(stored));
        let untold = stored.untold();
        assert!(untold.iter().all(|change| change.at > stored.reached));
        let before = fs::metadata(folder.join(MARKER)).unwrap().modified().unwrap();
        let (database, again) = prepare(&folder, sample(), 2).await.unwrap();
        assert_eq!(again, stored);
        assert_eq!(fs::metadata(folder.join(MARKER)).unwrap().modified().unwrap(), before);
        database.stop().await;
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_platform_that_stands_still_has_every_day_and_the_last_hours() {
        let folder = folder("still-history");
        let database = EmbeddedDynamoDb::start(&folder).await.unwrap();
        let end = "2026-06-02T03:00:00Z".parse().unwrap();
        let sample = sample_platform::Shape { users: 60, days: 20, seed: 1, end };
        database.import(sample_platform::generate(&sample)).await.unwrap();
        count(&database, end, 4, 1).await.unwrap();
        let days = records(&database, "ANALYTICS#users#daily").await;
        assert_eq!(days.len(), 4);
        assert_eq!(days[0], "2026-05-29T00:00:00.000Z");
        // The hours before the last day were made for their days.
        assert_eq!(records(&database, "ANALYTICS#users#hourly").await.len(), 4 * 24 + 3);
        database.stop().await;
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_database_without_the_marker_is_no_history() {
        let folder = folder("half-history");
        fs::write(folder.join("dynamodb.sqlite"), "half").unwrap();
        assert_eq!(Stored::read(&folder), None);
        fs::write(folder.join(MARKER), "{\"users\": 2").unwrap();
        assert_eq!(Stored::read(&folder), None);
        delete(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_has_been_told_is_not_told_again() {
        let sample = sample();
        let stored = Stored { sample, reached: sample.end };
        assert!(stored.untold().is_empty());
        let earlier = Stored { reached: sample.end - TimeDelta::hours(3), ..stored };
        assert!(earlier.untold().iter().all(|change| change.at > earlier.reached));
        assert!(Stored { reached: sample.begin(), ..stored }.untold().len() > 50);
    }

    #[test]
    fn how_far_it_has_come_says_what_is_left() {
        let at = "2026-06-02T03:20:00Z".parse().unwrap();
        let text = how_far(25, 100, Duration::from_secs(20), at);
        assert_eq!(text, "25 %, 1 min 0 s left, at 2026-06-02");
    }
}
