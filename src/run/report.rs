//! What a run did: for one period, for a scheduled run, and as its log line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    dynamodb::Usage,
    metrics::{
        catalogue::Catalogue,
        fold::Unreadable,
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        record::Coverage,
        rollup::finer_granularity,
    },
    settings::Prices,
    store::{ledger::Status, record_writer::WriteOutcome, run_state::Progress},
};

use super::problem::{RunProblem, TypeError};

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
    /// Types whose record is unchanged.
    pub types_unchanged: Vec<String>,
    /// Types whose stored record comes from a newer calculation.
    pub types_superseded: Vec<String>,
    /// Types that could not be computed or written, and why.
    pub types_failed: BTreeMap<String, String>,
    /// For a coarser period: how many of its finer periods had a record, by type, if some since the
    /// first counted hour had none. A metric that would be short by that is absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub short: BTreeMap<String, Coverage>,
}

impl PeriodReport {
    /// A report on `period` for which nothing was done yet.
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

    /// How computing the period ended.
    #[must_use]
    pub fn status(&self) -> Status {
        let nothing = self.types_written.is_empty() && self.types_unchanged.is_empty();
        status_of(self.types_failed.is_empty(), self.short.is_empty(), nothing)
    }

    /// Why metrics are absent although nothing failed, in words.
    pub(super) fn shortages(&self) -> impl Iterator<Item = String> {
        let finer = finer_granularity(self.period.granularity()).map_or("finer", Granularity::name);
        self.short.iter().map(move |(name, Coverage { present, expected })| {
            format!(
                "{name} of {}: {present} of {expected} {finer} records exist; metrics that need all of \
                 them are absent",
                self.timestamp
            )
        })
    }

    /// Whether the period still lacks the type, or metrics of the type.
    pub(super) fn lacks(&self, name: &str) -> bool {
        self.types_failed.contains_key(name) || self.short.contains_key(name)
    }

    /// Notes what became of the record of one type.
    pub(super) fn note(&mut self, type_name: String, result: Result<WriteOutcome, TypeError>) {
        match result {
            Ok(WriteOutcome::Stored) => self.types_written.push(type_name),
            Ok(WriteOutcome::Unchanged) => self.types_unchanged.push(type_name),
            Ok(WriteOutcome::Superseded) => self.types_superseded.push(type_name),
            Err(why) => {
                self.types_failed.insert(type_name, why.to_string());
            }
        }
    }

    /// Notes `why` for each of `types` that is not settled.
    pub(super) fn fail<'name>(
        &mut self,
        types: impl IntoIterator<Item = &'name str>,
        why: &dyn Display,
    ) {
        for name in types {
            let settled = [&self.types_written, &self.types_unchanged, &self.types_superseded];
            if !settled.iter().any(|types| types.iter().any(|settled| settled == name)) {
                self.types_failed.entry(name.to_owned()).or_insert_with(|| why.to_string());
            }
        }
    }

    /// The same with its types in order: their records are written at the same time.
    pub(super) fn sorted(mut self) -> Self {
        self.types_written = self.types_written.into_iter().ordered_vec();
        self.types_unchanged = self.types_unchanged.into_iter().ordered_vec();
        self.types_superseded = self.types_superseded.into_iter().ordered_vec();
        self
    }
}

/// What a scheduled run came to: its report, its ledger entry and its run state are composed from it.
pub(super) struct RunSummary {
    pub(super) attempt: u32,
    pub(super) status: Status,
    pub(super) own: PeriodReport,
    pub(super) trailing: Vec<PeriodReport>,
    /// Periods that were backfilled or refreshed.
    pub(super) backfilled: Vec<PeriodReport>,
    pub(super) left: usize,
    pub(super) stale: BTreeSet<Period>,
    pub(super) malformed: BTreeMap<String, u64>,
    pub(super) unreadable: BTreeMap<String, Unreadable>,
    pub(super) problems: Vec<RunProblem>,
}

impl RunSummary {
    /// Of a run that did nothing yet for its period.
    pub(super) fn new(own: PeriodReport, status: Status) -> Self {
        Self {
            attempt: 1,
            status,
            own,
            trailing: Vec::new(),
            backfilled: Vec::new(),
            left: 0,
            stale: BTreeSet::new(),
            malformed: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Of a run that could not start.
    pub(super) fn failed(catalogue: &Catalogue, own: Period, why: &dyn Display) -> Self {
        let mut summary = Self::new(PeriodReport::new(own), Status::Failed);
        summary.fail(catalogue, why);
        summary
    }

    /// Every type of the own period that is not settled failed.
    pub(super) fn fail(&mut self, catalogue: &Catalogue, why: &dyn Display) {
        self.own.fail(catalogue.recorded_types(), why);
        self.status = self.own.status();
    }

    /// The problems in words: metrics without a readable item, then all others.
    pub(super) fn problem_texts(&self) -> Vec<String> {
        let unreadable = self.unreadable.values().map(ToString::to_string);
        unreadable.chain(self.problems.iter().map(ToString::to_string)).collect()
    }

    /// Notes in `progress` that the scheduled run of the period was processed, and how it ended. A
    /// replayed event of an earlier period says nothing about the present.
    pub(super) fn note_in(&self, progress: &mut Progress, begun: DateTime<Utc>) {
        let period = self.own.period;
        if !progress.is_in_order(period) {
            return;
        }
        progress.attempt = self.attempt;
        progress.latest = Some(format_instant(period.start()));
        let at = format_instant(begun);
        progress.last_status = Some(self.status);
        if self.status == Status::Complete {
            progress.last_success_at = Some(at.clone());
        }
        progress.last_run_at = Some(at);
        progress.failing_types.clone_from(&self.own.types_failed);
        // What is stored is shown by health, which does not say how many items there are.
        let reasons = self.unreadable.iter().map(|(name, why)| (name.clone(), why.reason.clone()));
        progress.failing_types.extend(reasons);
    }
}

/// What a scheduled run did: its log line.
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
    /// Of an hourly run: the trailing hours, recomputed for late-arriving data.
    pub recalculated: Vec<PeriodReport>,
    /// Periods that were missing or stale and were computed.
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
    /// Other errors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What it consumed.
    #[serde(flatten)]
    pub usage: Usage,
    /// What it costs, in USD.
    pub estimated_cost_usd: f64,
    /// How long it took.
    pub milliseconds: i64,
}

impl Report {
    /// The report of the run `run_id`, which consumed `usage`.
    pub(super) fn new(
        run_id: String,
        summary: RunSummary,
        usage: Usage,
        prices: &Prices,
        milliseconds: i64,
    ) -> Self {
        let problems = summary.problem_texts();
        Self {
            event: "run",
            run_id,
            attempt: summary.attempt,
            status: summary.status,
            period: summary.own,
            recalculated: summary.trailing,
            caught_up: summary.backfilled,
            left: summary.left,
            stale: summary.stale,
            malformed: summary.malformed,
            unreadable: summary.unreadable,
            problems,
            usage,
            estimated_cost_usd: prices.of(&usage),
            milliseconds,
        }
    }

    /// All periods that it worked on.
    pub fn periods(&self) -> impl Iterator<Item = &PeriodReport> {
        self.caught_up.iter().chain(&self.recalculated).chain([&self.period])
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

/// How the work for some types ended.
pub(super) fn status_of(nothing_failed: bool, is_whole: bool, nothing_written: bool) -> Status {
    match (nothing_failed, is_whole, nothing_written) {
        (true, true, _) => Status::Complete,
        (false, _, true) => Status::Failed,
        _ => Status::Partial,
    }
}
