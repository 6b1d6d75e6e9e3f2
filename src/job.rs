//! Recalculation jobs: what one is for, into which slices it is cut, how far it is.
//!
//! A job is an item `ANALYTICS_JOB` / `{jobId}`; beside it, `ANALYTICS_JOB` / `latest#{request}`
//! names the latest job of the same request, so that asking again finds the running one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    dynamodb::{Item, from_item, key, number, string, to_item},
    host::BoxFuture,
    period::{Granularity, Period, format_instant, parse_instant},
    retention::{RUNS_AND_JOBS, Retention},
    rollup::{finer_periods, made_into},
};

/// The most periods that one request may recalculate.
pub const MAXIMUM_PERIODS: usize = 2000;

/// How many periods are rolled up in one slice: each reads up to 31 finer records a type.
const ROLLED_UP_AT_ONCE: usize = 10;

/// A job that has not moved for so long is dead; its request can be made again.
const DEAD_AFTER: TimeDelta = TimeDelta::hours(1);

/// The most reasons of failed slices that a job names.
const MAXIMUM_REASONS: usize = 20;

/// The longest body of a message, in bytes; ours have fewer than 40.
const MAXIMUM_BODY: usize = 64;

const PARTITION: &str = "ANALYTICS_JOB";

/// What is asked for: the periods of one granularity from the first to the last, of one type or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRequest {
    /// The type; `None` means all.
    pub metric_type: Option<String>,
    /// The granularity's name.
    pub granularity: String,
    /// The range as it was asked for.
    pub start_date: String,
    /// Its end.
    pub end_date: String,
    /// The start of the first period.
    pub first: String,
    /// The start of the last one.
    pub last: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its name.
    pub job_id: String,
    /// What it is for.
    pub request: JobRequest,
    /// How many periods were asked for.
    pub periods: usize,
    /// How many of them are recalculated.
    pub done: usize,
    /// How many could not be.
    pub failed: usize,
    /// Why, of the first failures.
    pub reasons: Vec<String>,
    /// Why the current slice failed at its last attempt.
    #[serde(default)]
    pub last_reason: Option<String>,
    /// How many attempts at the current slice have failed.
    #[serde(default)]
    pub failed_attempts: u32,
    /// The slice that is to be done next.
    pub next_slice: usize,
    /// When it was asked for.
    pub started_at: String,
    /// When it last moved.
    pub moved_at: String,
    /// When it was finished.
    #[serde(default)]
    pub finished_at: Option<String>,
    /// Where our time began when it was asked for.
    pub begin: String,
    /// The retention by which it was cut into slices, in days: hourly, daily, weekly, monthly.
    pub retention: [u32; 4],
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// No slice is done yet.
    Queued,
    /// Some are.
    Running,
    /// Every period is recalculated.
    Complete,
    /// It has ended, and some could not be.
    Failed,
}

/// A bounded part of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// How its periods are made.
    pub work: Work,
    /// Its periods, all of one granularity, in order.
    pub periods: Vec<Period>,
}

/// How the periods of a slice are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Counted from the platform's items.
    Count,
    /// Rolled up from their finer records.
    RollUp,
}

/// What the queue carries: the slice of a job that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The job.
    pub job_id: String,
    /// Which of its slices, from 0.
    pub slice: usize,
}

impl Message {
    /// As the queue carries it: `{jobId}#{slice}`.
    #[must_use]
    pub fn to_body(&self) -> String {
        format!("{}#{}", self.job_id, self.slice)
    }

    /// Reads a body; `None` if it is none of ours.
    #[must_use]
    pub fn from_body(body: &str) -> Option<Self> {
        if body.len() > MAXIMUM_BODY {
            return None;
        }
        let (job_id, slice) = body.split_once('#')?;
        Some(Self { job_id: job_id.to_owned(), slice: slice.parse().ok()? })
    }
}

/// Where messages are put, to come back to [`crate::run::Engine::recalculate`] one by one.
pub trait JobQueue: Send + Sync {
    /// Puts a message into the queue; an error says why it could not be.
    fn send(&self, message: Message) -> BoxFuture<'static, Result<(), String>>;
}

/// A job could not be mapped.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a recalculation job cannot be mapped: {0}")]
pub struct JobError(String);

impl JobRequest {
    /// What tells this request from others: the type, and the periods of the whole range, however it
    /// was written. Which of them are there to be recalculated changes as time goes by; asking again
    /// an hour later is the same request.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self { metric_type, granularity, start_date, end_date, .. } = self;
        let range = || {
            let granularity = self.granularity().ok()?;
            let (start, end) = (parse_instant(start_date)?, parse_instant(end_date)?);
            let first = Period::starting_at_or_after(granularity, start);
            let last = Period::containing(granularity, end);
            Some((format_instant(first.start()), format_instant(last.start())))
        };
        // Our own instants can be read; whatever else is there is compared as it is.
        let (first, last) = range().unwrap_or_else(|| (start_date.clone(), end_date.clone()));
        let text = format!("{metric_type:?} {granularity} {first} {last}");
        let mut fingerprint = String::new();
        for byte in Sha256::digest(text.as_bytes()).iter().take(8) {
            // Writing to a string cannot fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        fingerprint
    }

    fn granularity(&self) -> Result<Granularity, JobError> {
        Granularity::from_name(&self.granularity)
            .ok_or_else(|| JobError("unknown granularity".to_owned()))
    }
}

impl Job {
    /// A new job of `request` for `periods`, as of `now`.
    #[must_use]
    pub fn new(
        random: u128,
        request: JobRequest,
        periods: usize,
        begin: DateTime<Utc>,
        retention: Retention,
        now: DateTime<Utc>,
    ) -> Self {
        let Retention { hourly, daily, weekly, monthly } = retention;
        Self {
            job_id: format!("{random:032x}"),
            request,
            periods,
            done: 0,
            failed: 0,
            reasons: Vec::new(),
            last_reason: None,
            failed_attempts: 0,
            next_slice: 0,
            started_at: format_instant(now),
            moved_at: format_instant(now),
            finished_at: None,
            begin: format_instant(begin),
            retention: [hourly, daily, weekly, monthly],
        }
    }

    /// The message for its next slice.
    #[must_use]
    pub fn message(&self) -> Message {
        Message { job_id: self.job_id.clone(), slice: self.next_slice }
    }

    /// How far it is.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        match (&self.finished_at, self.failed, self.next_slice) {
            (Some(_), 0, _) => JobStatus::Complete,
            (Some(_), ..) => JobStatus::Failed,
            (None, _, 0) => JobStatus::Queued,
            (None, ..) => JobStatus::Running,
        }
    }

    /// Whether it is under way at `now`: neither finished nor dead.
    #[must_use]
    pub fn is_under_way(&self, now: DateTime<Utc>) -> bool {
        let moved = parse_instant(&self.moved_at);
        self.finished_at.is_none() && moved.is_some_and(|moved| now - moved < DEAD_AFTER)
    }

    /// By what its periods are made.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn plan(&self) -> Result<Plan, JobError> {
        let [hourly, daily, weekly, monthly] = self.retention;
        Ok(Plan {
            begin: instant(&self.begin)?,
            as_of: instant(&self.started_at)?,
            retention: Retention { hourly, daily, weekly, monthly },
        })
    }

    /// Its slices, in the order in which they are to be done: always the same for one job.
    ///
    /// # Errors
    ///
    /// When the stored job is damaged.
    pub fn slices(&self) -> Result<Vec<Slice>, JobError> {
        let plan = self.plan()?;
        let granularity = self.request.granularity()?;
        let first = Period::containing(granularity, instant(&self.request.first)?);
        let last = Period::containing(granularity, instant(&self.request.last)?);
        let asked: Vec<Period> = std::iter::successors(Some(first), |period| Some(period.next()))
            .take_while(|period| *period <= last)
            .take(MAXIMUM_PERIODS)
            .collect();
        Ok(plan.slices(&asked))
    }

    /// How many periods of the slice were asked for; the others are made for their sake.
    #[must_use]
    pub fn asked_for(&self, slice: &Slice) -> usize {
        let asked = slice
            .periods
            .iter()
            .filter(|period| period.granularity().name() == self.request.granularity)
            .map(|period| format_instant(period.start()))
            .filter(|start| (&self.request.first..=&self.request.last).contains(&start));
        asked.count()
    }

    /// Notes that a slice could not be done.
    pub fn note_failure(&mut self, periods: usize, reason: String) {
        self.failed += periods;
        if self.reasons.len() < MAXIMUM_REASONS {
            self.reasons.push(reason);
        }
    }

    /// As an item.
    ///
    /// # Errors
    ///
    /// When it cannot be mapped.
    pub fn to_item(&self) -> Result<Item, JobError> {
        let mut attributes =
            to_item(self).map_err(|error| JobError(error.to_string()))?.into_inner();
        let ttl = (instant(&self.started_at)? + RUNS_AND_JOBS).timestamp();
        attributes.extend(job_key(&self.job_id).into_inner());
        attributes.insert("EntityType".to_owned(), string("AnalyticsJob"));
        attributes.insert("ttl".to_owned(), number(&ttl));
        Ok(Item::from(attributes))
    }

    /// Reads a stored job.
    ///
    /// # Errors
    ///
    /// When the item is none.
    pub fn from_item(item: Item) -> Result<Self, JobError> {
        from_item(item).map_err(|error| JobError(error.to_string()))
    }
}

fn instant(text: &str) -> Result<DateTime<Utc>, JobError> {
    parse_instant(text).ok_or_else(|| JobError("an instant is malformed".to_owned()))
}

/// The key of a job.
#[must_use]
pub fn job_key(job_id: &str) -> Item {
    key(PARTITION, job_id)
}

/// The key of what names the latest job of a request.
#[must_use]
pub fn latest_key(request: &JobRequest) -> Item {
    key(PARTITION, format!("latest#{}", request.fingerprint()))
}

/// Decides how periods are made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where our time begins.
    pub begin: DateTime<Utc>,
    /// When the job was asked for.
    pub as_of: DateTime<Utc>,
    /// How long records are kept.
    pub retention: Retention,
}

impl Plan {
    /// Whether a record of `period` ought to be there: it is over, of our time, and within retention.
    #[must_use]
    pub fn is_ours(&self, period: Period) -> bool {
        period.end() < self.as_of
            && period.end() >= self.begin
            && !self.retention.has_ended(period, self.as_of)
    }

    /// The finer periods from which `period` is rolled up; `None` where they are past retention, so
    /// that the period itself is counted.
    fn finer(&self, period: Period) -> Option<Vec<Period>> {
        let ours: Vec<Period> =
            finer_periods(period).into_iter().filter(|finer| finer.end() >= self.begin).collect();
        let there = ours.iter().all(|finer| !self.retention.has_ended(*finer, self.as_of));
        (!ours.is_empty() && there).then_some(ours)
    }

    /// The periods that are made for `asked`, by granularity: the finer ones below them, they
    /// themselves, and the coarser ones above, which are refreshed.
    #[must_use]
    pub fn made(&self, asked: &[Period]) -> BTreeMap<Granularity, BTreeSet<Period>> {
        let mut made: BTreeMap<Granularity, BTreeSet<Period>> = BTreeMap::new();
        let mut below: Vec<Period> = asked.to_vec();
        while let Some(period) = below.pop() {
            if made.entry(period.granularity()).or_default().insert(period) {
                below.extend(self.finer(period).into_iter().flatten());
            }
        }
        let mut above: Vec<Period> = asked.to_vec();
        while let Some(period) = above.pop() {
            for coarser in made_into(period.granularity()) {
                let coarser = Period::containing(*coarser, period.start());
                if self.is_ours(coarser) {
                    made.entry(coarser.granularity()).or_default().insert(coarser);
                    above.push(coarser);
                }
            }
        }
        made
    }

    fn slices(&self, asked: &[Period]) -> Vec<Slice> {
        let mut slices = Vec::new();
        for periods in self.made(asked).into_values() {
            let (rolled_up, counted): (Vec<Period>, Vec<Period>) =
                periods.into_iter().partition(|period| self.finer(*period).is_some());
            let mut cut = |work, periods: Vec<Period>, at_once| {
                slices.extend(
                    periods.chunks(at_once).map(|some| Slice { work, periods: some.to_vec() }),
                );
            };
            let at_once = counted.first().map_or(1, |period| counted_at_once(period.granularity()));
            cut(Work::Count, counted, at_once);
            cut(Work::RollUp, rolled_up, ROLLED_UP_AT_ONCE);
        }
        slices
    }
}

/// How many periods are counted from the platform's items in one slice. They share their passes, and
/// what they have to keep in memory, such as the distinct visitors of each, grows with their time.
fn counted_at_once(granularity: Granularity) -> usize {
    match granularity {
        Granularity::Hourly => 48,
        Granularity::Daily => 2,
        Granularity::Weekly | Granularity::Monthly => 1,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at(month: u32, day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap()
    }

    fn plan() -> Plan {
        Plan { begin: at(1, 1, 0), as_of: at(6, 10, 12), retention: Retention::default() }
    }

    fn shape(slices: &[Slice]) -> Vec<(Work, &'static str, usize)> {
        slices
            .iter()
            .map(|slice| (slice.work, slice.periods[0].granularity().name(), slice.periods.len()))
            .collect()
    }

    #[test]
    fn hours_are_counted_and_what_lies_above_is_refreshed() {
        let first = Period::containing(Granularity::Hourly, at(5, 30, 0));
        let hours: Vec<Period> =
            std::iter::successors(Some(first), |hour| Some(hour.next())).take(72).collect();
        assert_eq!(
            shape(&plan().slices(&hours)),
            [
                (Work::Count, "hourly", 48),
                (Work::Count, "hourly", 24),
                (Work::RollUp, "daily", 3),
                // The week of 25 to 31 May is over, and that of 1 June, with the last hour's.
                (Work::RollUp, "weekly", 2),
                // May is over, June is not.
                (Work::RollUp, "monthly", 1),
            ]
        );
    }

    #[test]
    fn a_day_within_the_hours_retention_is_made_from_its_hours() {
        let day = Period::containing(Granularity::Daily, at(6, 9, 0));
        assert_eq!(
            shape(&plan().slices(&[day])),
            [(Work::Count, "hourly", 24), (Work::RollUp, "daily", 1)]
        );
    }

    #[test]
    fn a_day_past_the_hours_retention_is_counted_itself() {
        let day = Period::containing(Granularity::Daily, at(3, 9, 0));
        assert_eq!(
            shape(&plan().slices(&[day])),
            [(Work::Count, "daily", 1), (Work::RollUp, "weekly", 1), (Work::RollUp, "monthly", 1)]
        );
    }

    #[test]
    fn what_is_counted_at_once_covers_little_time() {
        let first = Period::containing(Granularity::Daily, at(3, 2, 0));
        let days: Vec<Period> =
            std::iter::successors(Some(first), |day| Some(day.next())).take(5).collect();
        let counted: Vec<usize> = plan()
            .slices(&days)
            .iter()
            .filter(|slice| slice.work == Work::Count)
            .map(|slice| slice.periods.len())
            .collect();
        assert_eq!(counted, [2, 2, 1]);
    }

    #[test]
    fn a_message_survives_the_queue() {
        let message = Message { job_id: "5f".repeat(16), slice: 12 };
        assert_eq!(Message::from_body(&message.to_body()), Some(message));
        for body in ["", "5f5f", "5f5f#", "5f5f#-1", &format!("{}#1", "5".repeat(99))] {
            assert_eq!(Message::from_body(body), None, "{body}");
        }
    }

    #[test]
    fn a_job_survives_being_written_and_read() {
        let request = JobRequest {
            metric_type: None,
            granularity: "daily".to_owned(),
            start_date: "2026-06-08T00:00:00.000Z".to_owned(),
            end_date: "2026-06-09T00:00:00.000Z".to_owned(),
            first: "2026-06-08T00:00:00.000Z".to_owned(),
            last: "2026-06-09T00:00:00.000Z".to_owned(),
        };
        let job = Job::new(7, request, 2, at(1, 1, 0), Retention::default(), at(6, 10, 12));
        assert_eq!(job.status(), JobStatus::Queued);
        let slices = job.slices().unwrap();
        assert_eq!(shape(&slices), [(Work::Count, "hourly", 48), (Work::RollUp, "daily", 2)]);
        assert_eq!(slices.iter().map(|slice| job.asked_for(slice)).sum::<usize>(), 2);
        assert_eq!(Job::from_item(job.to_item().unwrap()).unwrap(), job);
    }
}
