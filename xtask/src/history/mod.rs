//! Sample history: 60 days of changes applied to the embedded DynamoDB, with every scheduled run at its
//! time in between, so that each record holds what was true at that time.

mod runner;
mod sample;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, Period};
use sample_platform::Change;

use crate::{
    embedded_dynamodb::{self, EmbeddedDynamoDb},
    error::{Error, Result},
    progress::{Activity, elapsed},
    schedule::events_between,
};

use runner::Runner;
use sample::MARKER;
pub use sample::{Sample, StoredHistory};

/// Deletes what `folder` holds: the sample, its records, and what a Worker on it cached.
pub fn delete(folder: &Path) -> Result<()> {
    // The marker goes first: without it the rest is not used. `sample.json` is what earlier versions
    // called it.
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

/// A DynamoDB on `folder` that holds `sample` with its history: stored by an earlier call, or generated
/// now. The events of the last `hours` hours are left to the Worker, and so their changes
/// ([`StoredHistory::pending_changes`]) are not in the table yet.
pub async fn prepare(
    folder: &Path,
    sample: Sample,
    hours: u32,
) -> Result<(EmbeddedDynamoDb, StoredHistory)> {
    if let Some(stored) = StoredHistory::read(folder).filter(|stored| stored.sample == sample) {
        eprintln!("sample platform: {sample}, stored by an earlier run");
        return Ok((EmbeddedDynamoDb::start(folder).await?, stored));
    }
    delete(folder)?;
    let activity = Activity::start(
        &format!(
            "generating {} days of sample history for {} users (seed {})",
            sample.days, sample.users, sample.seed
        ),
        "a second or two for each day",
    );
    let database = EmbeddedDynamoDb::start(folder).await?;
    database.set_bulk_loading(true)?;
    let hour = Period::containing(Granularity::Hourly, sample.end).start();
    let reached = (hour - TimeDelta::hours(i64::from(hours))).max(sample.begin());
    let outcome = Replay::new(&database, sample)?.run_until(reached, &activity).await?;
    database.set_bulk_loading(false)?;
    let stored = StoredHistory { sample, reached };
    stored.write(folder)?;
    activity.finish(&outcome);
    Ok((database, stored))
}

/// Does the scheduled runs of a platform whose items do not change: those of every day, week and month
/// of the `days` before today, and of every hour of the last `hourly_days` and today. The hours before
/// that are computed by their days' runs.
pub async fn count(
    database: &EmbeddedDynamoDb,
    end: DateTime<Utc>,
    days: u32,
    hourly_days: u32,
) -> Result<()> {
    let today = Period::containing(Granularity::Daily, end).start();
    let first = today - TimeDelta::days(days.into());
    let hourly_from = today - TimeDelta::days(hourly_days.into());
    let activity = Activity::start(&format!("counting the last {days} days"), "up to two minutes");
    let runner = Runner::new(database)?;
    let events = events_between(first, end);
    let first_hour = events.iter().find(|event| event.granularity == Granularity::Hourly).copied();
    for event in events {
        let is_hourly = event.granularity == Granularity::Hourly;
        if !is_hourly || event.at > hourly_from || Some(event) == first_hour {
            runner.run(event).await?;
        }
    }
    activity.finish("done");
    Ok(())
}

/// Applies a sample's changes and does its scheduled runs, in the order of their times.
struct Replay<'database> {
    database: &'database EmbeddedDynamoDb,
    changes: std::iter::Peekable<std::vec::IntoIter<Change>>,
    begin: DateTime<Utc>,
    runner: Runner,
}

impl<'database> Replay<'database> {
    fn new(database: &'database EmbeddedDynamoDb, sample: Sample) -> Result<Self> {
        let changes = sample.changes().into_iter().peekable();
        let runner = Runner::new(database)?;
        Ok(Self { database, changes, begin: sample.begin(), runner })
    }

    async fn run_until(mut self, end: DateTime<Utc>, activity: &Activity) -> Result<String> {
        let events = events_between(self.begin, end);
        let started = Instant::now();
        let mut applied = 0;
        for (number, event) in events.iter().enumerate() {
            applied += self.apply_until(event.at).await?;
            self.runner.run(*event).await?;
            if number > 0 && number.is_multiple_of(10) {
                activity.note(&progress(number, events.len(), started.elapsed(), event.at));
            }
        }
        Ok(format!("{applied} changes and {} scheduled runs", events.len()))
    }

    /// Brings the table to its state at `now`; returns how many changes that took.
    async fn apply_until(&mut self, now: DateTime<Utc>) -> Result<usize> {
        let changes: Vec<Change> =
            std::iter::from_fn(|| self.changes.next_if(|change| change.at <= now)).collect();
        let count = changes.len();
        self.database.apply(changes).await?;
        Ok(count)
    }
}

/// How much of `total` is done, and how long the rest takes.
fn progress(done: usize, total: usize, taken: Duration, at: DateTime<Utc>) -> String {
    let [done, total] = [done, total].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let left = (taken / done.max(1)).saturating_mul(total.saturating_sub(done));
    let percent = u64::from(done) * 100 / u64::from(total.max(1));
    format!("{percent} %, {} left, at {}", elapsed(left), at.format("%F"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edge_analytics::{
        dynamodb::{Query, text},
        host::NativeHost,
    };

    use crate::embedded_dynamodb::TABLE;

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
    async fn a_history_has_every_period_but_the_last_hours_and_is_generated_once() {
        let folder = folder("whole-history");
        let (database, stored) = prepare(&folder, sample(), 2).await.unwrap();
        assert_eq!(stored.reached, "2026-06-02T01:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let hours = records(&database, "ANALYTICS#users#hourly").await;
        assert_eq!(hours.len(), 49);
        assert_eq!(hours.last().unwrap(), "2026-06-02T00:00:00.000Z");
        assert_eq!(records(&database, "ANALYTICS#users#daily").await.len(), 2);
        assert_eq!(records(&database, "ANALYTICS#users#monthly").await.len(), 1);
        database.stop().await;

        assert_eq!(StoredHistory::read(&folder), Some(stored));
        let pending = stored.pending_changes();
        assert!(pending.iter().all(|change| change.at > stored.reached));
        let before = fs::metadata(folder.join(MARKER)).unwrap().modified().unwrap();
        let (database, again) = prepare(&folder, sample(), 2).await.unwrap();
        assert_eq!(again, stored);
        assert_eq!(fs::metadata(folder.join(MARKER)).unwrap().modified().unwrap(), before);
        database.stop().await;
        fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_platform_without_changes_has_every_day_and_hour() {
        let folder = folder("still-history");
        let database = EmbeddedDynamoDb::start(&folder).await.unwrap();
        let end = "2026-06-02T03:00:00Z".parse().unwrap();
        let sample = sample_platform::Shape { users: 60, days: 20, seed: 1, end };
        database.import(sample_platform::generate(&sample)).await.unwrap();
        count(&database, end, 4, 1).await.unwrap();
        let days = records(&database, "ANALYTICS#users#daily").await;
        assert_eq!(days.len(), 4);
        assert_eq!(days[0], "2026-05-29T00:00:00.000Z");
        // The hours before the last day were computed by their days' runs.
        assert_eq!(records(&database, "ANALYTICS#users#hourly").await.len(), 4 * 24 + 3);
        database.stop().await;
        fs::remove_dir_all(&folder).unwrap();
    }

    /// What the tests in Chromium do before they start must not depend on when they run.
    #[tokio::test(flavor = "multi_thread")]
    async fn counting_succeeds_at_the_edges_of_days_weeks_and_months() {
        let folder = folder("edge-history");
        for end in ["2026-06-01T00:00:00Z", "2026-06-07T23:00:00Z"] {
            let end = end.parse().unwrap();
            let database = EmbeddedDynamoDb::start(&folder).await.unwrap();
            let sample = sample_platform::Shape { users: 40, days: 12, seed: 1, end };
            database.import(sample_platform::generate(&sample)).await.unwrap();
            count(&database, end, 3, 1).await.unwrap();
            database.stop().await;
            delete(&folder).unwrap();
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_database_without_the_marker_is_not_used() {
        let folder = folder("half-history");
        fs::write(folder.join("dynamodb.sqlite"), "half").unwrap();
        assert_eq!(StoredHistory::read(&folder), None);
        fs::write(folder.join(MARKER), "{\"users\": 2").unwrap();
        assert_eq!(StoredHistory::read(&folder), None);
        delete(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn progress_says_how_long_the_rest_takes() {
        let at = "2026-06-02T03:20:00Z".parse().unwrap();
        let text = progress(25, 100, Duration::from_secs(20), at);
        assert_eq!(text, "25 %, 1 min 0 s left, at 2026-06-02");
    }
}
