//! What a run did: one structured log line, and entries of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    dynamodb::Usage,
    metrics::{
        fold::Unreadable,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        record::Coverage,
        rollup::made_from,
    },
    settings::Prices,
    store::{
        ledger::{Entry, Status, Trigger},
        record_writer::WriteOutcome,
    },
};

/// What became of the records of one period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeriodReport {
    /// The period.
    #[serde(skip)]
    pub period: Period,
    /// Its granularity.
    pub granularity: &'static str,
    /// Its start.
    pub timestamp: String,
    /// Types whose record was written.
    pub types_written: Vec<String>,
    /// Types whose record already says the same.
    pub types_unchanged: Vec<String>,
    /// Types whose record comes from a newer calculation.
    pub types_superseded: Vec<String>,
    /// Types that could not be computed or written, and why.
    pub types_failed: BTreeMap<String, String>,
    /// For a coarser period: how many of its finer periods' records were there, by type, where some
    /// of our time were not. What would be short by that is absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub short: BTreeMap<String, Coverage>,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Always `run`.
    pub event: &'static str,
    /// The run's own name, in every line that belongs to it.
    pub run_id: String,
    /// Which attempt at its period this is, from 1.
    pub attempt: u32,
    /// How it ended, for the period it is for.
    pub status: Status,
    /// The period the run is for.
    #[serde(flatten)]
    pub period: PeriodReport,
    /// Of a run of an hour: the hours before it, calculated again for what shows late.
    pub recalculated: Vec<PeriodReport>,
    /// Periods that were missing or stale and were made.
    pub caught_up: Vec<PeriodReport>,
    /// How many periods may still be missing, for the next run.
    pub left: usize,
    /// The periods that are left stale, for the next run of any granularity; the log says how many.
    #[serde(serialize_with = "count", skip_serializing_if = "BTreeSet::is_empty")]
    pub stale: BTreeSet<Period>,
    /// Items that were left out of a metric because an attribute was malformed, by metric.
    pub malformed: BTreeMap<String, u64>,
    /// Metrics without a value in some periods because no item in them could be read, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, Unreadable>,
    /// What went wrong besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What it consumed.
    #[serde(flatten)]
    pub usage: Usage,
    /// What of that is in entries of the ledger already.
    #[serde(skip)]
    pub entered: Usage,
    /// Types that could not be made for any hour of a piece of a catch-up: what fails for all of
    /// these fails for the others, which are left to the next run.
    #[serde(skip)]
    pub failing: BTreeSet<String>,
    /// What it costs, in USD.
    pub estimated_cost_usd: f64,
    /// How long it took.
    pub milliseconds: i64,
}

impl PeriodReport {
    /// A report on `period` to which nothing has happened yet.
    #[must_use]
    pub fn new(period: Period) -> Self {
        Self {
            period,
            granularity: period.granularity().name(),
            timestamp: format_instant(period.start()),
            types_written: Vec::new(),
            types_unchanged: Vec::new(),
            types_superseded: Vec::new(),
            types_failed: BTreeMap::new(),
            short: BTreeMap::new(),
        }
    }

    /// How making the period ended.
    #[must_use]
    pub fn status(&self) -> Status {
        let nothing = self.types_written.is_empty() && self.types_unchanged.is_empty();
        status_of(self.types_failed.is_empty(), self.short.is_empty(), nothing)
    }

    /// Why metrics are absent though nothing failed here, in words.
    fn shortages(&self) -> impl Iterator<Item = String> {
        let finer = made_from(self.period.granularity()).map_or("finer", Granularity::name);
        self.short.iter().map(move |(name, Coverage { present, expected })| {
            format!(
                "{name} of {}: {present} of {expected} {finer} records were there, so what would \
                 be short is absent",
                self.timestamp
            )
        })
    }

    /// Whether the period still lacks the type, or what the type's record should have.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.types_failed.contains_key(name) || self.short.contains_key(name)
    }

    /// Notes what became of the record of one type.
    pub(super) fn note(&mut self, type_name: String, result: Result<WriteOutcome, String>) {
        match result {
            Ok(WriteOutcome::Stored) => self.types_written.push(type_name),
            Ok(WriteOutcome::Unchanged) => self.types_unchanged.push(type_name),
            Ok(WriteOutcome::Superseded) => self.types_superseded.push(type_name),
            Err(why) => {
                self.types_failed.insert(type_name, why);
            }
        }
    }

    /// Notes `why` for each of `types` that is not settled.
    pub(super) fn fail<'name>(&mut self, types: impl IntoIterator<Item = &'name str>, why: &str) {
        for name in types {
            let settled = [&self.types_written, &self.types_unchanged, &self.types_superseded];
            if !settled.iter().any(|types| types.iter().any(|settled| settled == name)) {
                self.types_failed.entry(name.to_owned()).or_insert_with(|| why.to_owned());
            }
        }
    }

    pub(super) fn sort(&mut self) {
        self.types_written.sort_unstable();
        self.types_unchanged.sort_unstable();
        self.types_superseded.sort_unstable();
    }
}

impl Report {
    /// A report of the run `run_id` for `period` that has done nothing yet.
    pub(super) fn new(run_id: String, period: Period) -> Self {
        Self {
            event: "run",
            run_id,
            attempt: 1,
            status: Status::Failed,
            period: PeriodReport::new(period),
            recalculated: Vec::new(),
            caught_up: Vec::new(),
            left: 0,
            stale: BTreeSet::new(),
            malformed: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            problems: Vec::new(),
            usage: Usage::default(),
            entered: Usage::default(),
            failing: BTreeSet::new(),
            estimated_cost_usd: 0.0,
            milliseconds: 0,
        }
    }

    /// All periods that it worked on.
    pub fn periods(&self) -> impl Iterator<Item = &PeriodReport> {
        self.caught_up.iter().chain(&self.recalculated).chain([&self.period])
    }

    /// Notes whether `period` is left stale.
    pub(super) fn note_stale(&mut self, period: Period, is_left: bool) {
        if is_left {
            self.stale.insert(period);
        } else {
            self.stale.remove(&period);
        }
    }

    /// Whether a finer period in `period` is left stale, so that `period` cannot be refreshed yet.
    pub(super) fn is_stale_within(&self, period: Period) -> bool {
        self.stale.iter().any(|finer| {
            finer.granularity() < period.granularity() && period.contains(finer.start())
        })
    }

    /// Whether everything it set out to do was done.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        matches!(self.status, Status::Complete | Status::Held)
            && self.problems.is_empty()
            && self.periods().all(|period| period.types_failed.is_empty())
    }
}

fn count<S: serde::Serializer>(
    periods: &BTreeSet<Period>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    periods.len().serialize(serializer)
}

fn status_of(nothing_failed: bool, is_whole: bool, nothing_written: bool) -> Status {
    match (nothing_failed, is_whole, nothing_written) {
        (true, true, _) => Status::Complete,
        (false, _, true) => Status::Failed,
        _ => Status::Partial,
    }
}

/// A piece of a run that has an entry of its own in the ledger.
pub(super) struct Piece<'run> {
    pub(super) run_id: &'run str,
    pub(super) trigger: Trigger,
    pub(super) attempt: u32,
    pub(super) started: DateTime<Utc>,
    pub(super) finished: DateTime<Utc>,
    pub(super) usage: Usage,
    pub(super) job_id: Option<String>,
}

impl Piece<'_> {
    /// The piece's entry: it was for `periods`, the first of which counts where only one is named.
    pub(super) fn entry(&self, periods: &[&PeriodReport], prices: &Prices) -> Option<Entry> {
        let first = periods.iter().min_by_key(|report| report.period)?;
        let last = periods.iter().max_by_key(|report| report.period)?;
        let union = |types: fn(&PeriodReport) -> &Vec<String>| -> Vec<String> {
            let all: BTreeSet<&String> =
                periods.iter().flat_map(|report| types(report)).ordered_set();
            all.into_iter().cloned().collect()
        };
        let types_written = union(|report| &report.types_written);
        let types_unchanged = union(|report| &report.types_unchanged);
        let mut types_failed = BTreeMap::new();
        for (name, why) in periods.iter().flat_map(|report| &report.types_failed) {
            types_failed.entry(name.clone()).or_insert_with(|| why.clone());
        }
        let nothing = types_written.is_empty() && types_unchanged.is_empty();
        let is_whole = periods.iter().all(|report| report.short.is_empty());
        let status = status_of(types_failed.is_empty(), is_whole, nothing);
        let problems = periods.iter().flat_map(|report| report.shortages()).collect();
        Some(Entry {
            run_id: self.run_id.to_owned(),
            granularity: first.granularity.to_owned(),
            trigger: self.trigger,
            attempt: self.attempt,
            status,
            timestamp: first.timestamp.clone(),
            end_timestamp: format_instant(last.period.end()),
            periods: periods.len(),
            types_written,
            types_unchanged,
            types_superseded: union(|report| &report.types_superseded),
            types_failed,
            problems,
            malformed: BTreeMap::new(),
            left: 0,
            started_at: format_instant(self.started),
            finished_at: format_instant(self.finished),
            milliseconds: (self.finished - self.started).num_milliseconds(),
            usage: self.usage,
            estimated_cost_usd: prices.of(&self.usage),
            job_id: self.job_id.clone(),
        })
    }
}
