//! The ledger entries of a run: its own, one for each batch of a backfill or refresh, one for each
//! slice of a recalculation, and one for a run that died with the lease.
//!
//! What a batch consumed is in its own entry only, so that all entries of a run add up to what the
//! run consumed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{PutItem, Usage},
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
    },
    settings::Prices,
    store::{
        lease::DeadHolder,
        ledger::{Entry, Status, Trigger},
    },
};

use super::{
    context::Context,
    problem::{EntryError, RunProblem},
    report::{PeriodReport, RunSummary, status_of},
    slice::{SliceAttempt, SliceResult},
};

/// Where a run stood when it started a batch.
pub(super) struct BatchStart {
    pub(super) at: DateTime<Utc>,
    used: Usage,
    entered: Usage,
}

impl Context<'_> {
    /// Starts a batch that gets an entry of its own.
    pub(super) fn start_batch(&self) -> BatchStart {
        let used = self.client.meter().total();
        BatchStart { at: self.now(), used, entered: self.entered.get() }
    }

    /// What the run consumed that is in no entry yet.
    fn not_entered(&self) -> Usage {
        self.client.meter().total().since(&self.entered.get())
    }

    /// The head of an entry of this run that ends now.
    fn head(&self, trigger: Trigger, attempt: u32, started: DateTime<Utc>) -> EntryHead<'_> {
        EntryHead {
            run_id: &self.run_id,
            trigger,
            attempt,
            started,
            finished: self.now(),
            usage: Usage::default(),
            job_id: None,
        }
    }

    /// Enters a scheduled run.
    pub(super) async fn enter_scheduled(&self, summary: &RunSummary) -> Result<(), RunProblem> {
        let head = self.head(Trigger::Cron, summary.attempt, self.begun);
        let head = EntryHead { usage: self.not_entered(), ..head };
        let Some(mut entry) = head.entry(&[&summary.own], &self.options.prices) else {
            return Ok(());
        };
        entry.status = summary.status;
        entry.left = summary.left;
        entry.malformed.clone_from(&summary.malformed);
        entry.problems.extend(summary.problem_texts());
        for hour in &summary.trailing {
            for (name, why) in &hour.types_failed {
                entry.problems.push(format!("{name} of {}: {why}", hour.timestamp));
            }
        }
        self.enter(&entry, self.begun).await
    }

    /// Enters a batch of a backfill or refresh that was for `periods`. What batches within it
    /// consumed is in their entries.
    pub(super) async fn enter_backfilled(
        &self,
        start: &BatchStart,
        periods: &[PeriodReport],
    ) -> Result<(), RunProblem> {
        let within = self.entered.get().since(&start.entered);
        let usage = self.client.meter().total().since(&start.used).since(&within);
        self.entered.set(self.entered.get().plus(&usage));
        let head = EntryHead { usage, ..self.head(Trigger::CatchUp, 1, start.at) };
        let periods: Vec<&PeriodReport> = periods.iter().collect();
        match head.entry(&periods, &self.options.prices) {
            Some(entry) => self.enter(&entry, start.at).await,
            None => Ok(()),
        }
    }

    /// Enters an attempt at a slice: what its periods came to, or why it did not have the lease.
    pub(super) async fn enter_slice(
        &self,
        attempt: &SliceAttempt<'_>,
        result: &SliceResult,
    ) -> Result<(), RunProblem> {
        let head = self.head(Trigger::Recalculate, attempt.number, self.begun);
        let job_id = Some(attempt.job.job_id.clone());
        let head = EntryHead { usage: self.not_entered(), job_id, ..head };
        let nothing_done: Vec<PeriodReport> = match (&result.held, attempt.slice.periods.first()) {
            (Some(_), _) => attempt.slice.periods.iter().copied().map(PeriodReport::new).collect(),
            (None, Some(first)) if result.periods.is_empty() => {
                let mut report = PeriodReport::new(*first);
                if let Some(why) = result.problems.first() {
                    report.fail(self.types.iter().copied(), why);
                }
                vec![report]
            }
            _ => Vec::new(),
        };
        let periods: Vec<&PeriodReport> = result.periods.iter().chain(&nothing_done).collect();
        let Some(mut entry) = head.entry(&periods, &self.options.prices) else { return Ok(()) };
        if let Some(held) = &result.held {
            entry.status = Status::Held;
            entry.problems.push(held.to_string());
        }
        entry.problems.extend(result.problems.iter().map(ToString::to_string));
        // The slice is done: trying again would find the same items.
        entry.problems.extend(result.unreadable.values().map(ToString::to_string));
        if entry.status == Status::Complete && !result.unreadable.is_empty() {
            entry.status = Status::Partial;
        }
        entry.malformed.clone_from(&result.malformed);
        self.enter(&entry, self.begun).await
    }

    /// Enters a run that never ended, as its lease shows.
    pub(super) async fn enter_dead(&self, dead: &DeadHolder) -> Result<(), RunProblem> {
        let mut words = dead.task.split(' ');
        let trigger = match words.next() {
            Some("recalculate") => Trigger::Recalculate,
            Some("catch-up") => Trigger::CatchUp,
            _ => Trigger::Cron,
        };
        let granularity = words.next().and_then(Granularity::from_name);
        let start = words.next().and_then(parse_instant);
        let (Some(granularity), Some(start)) = (granularity, start) else { return Ok(()) };
        let mut period = PeriodReport::new(Period::containing(granularity, start));
        let why = "the run ended without releasing its lease";
        period.fail(self.catalogue.recorded_types(), &why);
        let started = parse_instant(&dead.since).unwrap_or(self.begun);
        let head = EntryHead {
            run_id: &dead.holder,
            finished: self.begun,
            ..self.head(trigger, dead.attempt, started)
        };
        let Some(mut entry) = head.entry(&[&period], &self.options.prices) else { return Ok(()) };
        entry.problems.push(format!(
            "{why}: the runtime ended it, or it lost its connection. What it consumed is unknown. \
             Found by run {}",
            self.run_id
        ));
        self.enter(&entry, started).await
    }

    async fn enter(&self, entry: &Entry, started: DateTime<Utc>) -> Result<(), RunProblem> {
        let item = entry.to_item(started).map_err(EntryError::from)?;
        let sent = self.client.send(&PutItem::new(self.table, item)).await;
        sent.map_err(EntryError::from)?;
        Ok(())
    }
}

/// What a ledger entry says of its run. The rest of it follows from the periods.
struct EntryHead<'run> {
    run_id: &'run str,
    trigger: Trigger,
    attempt: u32,
    started: DateTime<Utc>,
    finished: DateTime<Utc>,
    usage: Usage,
    job_id: Option<String>,
}

impl EntryHead<'_> {
    /// The entry of work that was for `periods`, the first of which counts where only one is named.
    /// `None` without a period.
    fn entry(&self, periods: &[&PeriodReport], prices: &Prices) -> Option<Entry> {
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
