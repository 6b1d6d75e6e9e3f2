//! One attempt at a slice of a recalculation: counting its periods under the lease of the hours, or
//! rolling them up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Read,
    metrics::{fold::Unreadable, period::format_instant, provenance::Occasion},
    store::{
        job::{Job, Slice, Work},
        lease::{Ended, Lease, LeaseError},
        record_writer::Writer,
        run_state::{State, state_key},
    },
};

use super::{
    coarser::{CoarserPeriods, ComputedPeriod},
    context::Context,
    counting::{CountedPeriods, count},
    problem::{ReadError, RunProblem},
    refreshing::{RefreshedPeriods, write_refreshed},
    report::PeriodReport,
};

/// A slice that is being recalculated.
pub(super) struct SliceAttempt<'job> {
    pub(super) job: &'job Job,
    pub(super) slice: &'job Slice,
    /// From 1.
    pub(super) number: u32,
}

/// Why a slice did not have the lease to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLease {
    #[error(transparent)]
    Busy(LeaseError),
    #[error("gave way to a scheduled hourly run")]
    GaveWay,
}

/// What an attempt at a slice came to.
#[derive(Default)]
pub(super) struct SliceResult {
    pub(super) periods: Vec<PeriodReport>,
    pub(super) held: Option<NoLease>,
    pub(super) malformed: BTreeMap<String, u64>,
    pub(super) unreadable: BTreeMap<String, Unreadable>,
    pub(super) problems: Vec<RunProblem>,
}

impl SliceResult {
    /// Why the slice has to be done again.
    pub(super) fn first_failure(&self) -> Option<String> {
        let of_type = self.periods.iter().find_map(|report| {
            let (name, why) = report.types_failed.first_key_value()?;
            Some(format!("{name} of {}: {why}", report.timestamp))
        });
        of_type.or_else(|| self.problems.first().map(ToString::to_string))
    }
}

/// One attempt at a slice, and what came of it so far.
pub(super) struct SliceRun<'run> {
    context: &'run Context<'run>,
    attempt: &'run SliceAttempt<'run>,
    result: SliceResult,
}

impl<'run> SliceRun<'run> {
    pub(super) fn new(context: &'run Context<'run>, attempt: &'run SliceAttempt<'run>) -> Self {
        Self { context, attempt, result: SliceResult::default() }
    }

    /// Recalculates the periods of the slice, where `begin` is the start of the first counted hour.
    pub(super) async fn run(mut self, begin: DateTime<Utc>) -> SliceResult {
        match self.attempt.slice.work {
            Work::Count => self.count().await,
            Work::RollUp => self.roll_up(begin).await,
        }
        self.result
    }

    /// Counts the periods under the lease of the hours.
    async fn count(&mut self) {
        let context = self.context;
        let Some(first) = self.attempt.slice.periods.first() else { return };
        let (granularity, start) = (first.granularity(), format_instant(first.start()));
        let task = format!("recalculate {granularity} {start}");
        let (host, run_id) = (context.host.clone(), &context.run_id);
        let lease =
            Lease::wait_for(context.client, host, context.table, &task, run_id, false).await;
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return,
            Err(busy @ LeaseError::Busy(_)) => {
                self.result.held = Some(NoLease::Busy(busy));
                return;
            }
            Err(error) => return self.result.problems.push(error.into()),
        };
        if let Some(dead) = &lease.dead {
            self.result.problems.extend(context.enter_dead(dead).await.err());
        }
        let counted = match lease.hold(self.count_under(&lease)).await {
            Ended::Done(counted) => counted.map_err(RunProblem::from),
            Ended::Lost(lost) => Err(lost.into()),
            Ended::Wanted => {
                // One that cannot be released expires by itself.
                let released = lease.give_way().await;
                self.result.problems.extend(released.err().map(RunProblem::from));
                self.result.held = Some(NoLease::GaveWay);
                return;
            }
        };
        let progress = lease.state.progress.clone();
        // The run has left no marks that are not announced.
        let released = lease.release(&progress, None).await;
        self.result.problems.extend(released.err().map(RunProblem::from));
        match counted {
            Ok(counted) => {
                self.result.malformed = counted.malformed_items();
                self.result.unreadable = counted.unreadable;
                self.result.periods = counted.periods;
            }
            Err(problem) => self.result.problems.push(problem),
        }
    }

    async fn count_under(&self, lease: &Lease<'_>) -> Result<CountedPeriods, ReadError> {
        let SliceAttempt { job, slice, .. } = self.attempt;
        let context = self.context;
        let under_lease = context.writer_under(lease);
        let writer = Writer { rewrites: under_lease.rewrites || context.rewrites, ..under_lease };
        let occasion =
            if job.request.overwrite { Occasion::Overwrite } else { Occasion::Recalculation };
        let wanted: Vec<_> = slice.periods.iter().map(|period| (*period, occasion)).collect();
        count(context, &writer, &wanted, &context.types, context.now()).await
    }

    /// Computes the periods from their finer records.
    async fn roll_up(&mut self, begin: DateTime<Utc>) {
        let context = self.context;
        let mut coarser = CoarserPeriods::new(context, context.makers(begin));
        let mut refreshed = RefreshedPeriods::new();
        for period in &self.attempt.slice.periods {
            let at = context.now();
            let computed = coarser.compute(context.types.clone(), *period, true).await;
            let ComputedPeriod { report, problems, .. } = computed;
            if report.types_failed.is_empty() {
                refreshed.push((*period, at));
            }
            self.result.problems.extend(problems);
            self.result.periods.push(report);
        }
        let noted = note_refreshed_marks(context, refreshed).await;
        self.result.problems.extend(noted.err());
    }
}

/// Notes the refreshed periods of one granularity that are marked as stale.
async fn note_refreshed_marks(
    context: &Context<'_>,
    mut refreshed: RefreshedPeriods,
) -> Result<(), RunProblem> {
    let Some((first, _)) = refreshed.first() else { return Ok(()) };
    let granularity = first.granularity();
    let read = context.client.get(context.table, state_key(granularity), Read::Consistent).await;
    let item = read.map_err(|error| RunProblem::StateOf(granularity, error))?;
    let state = State::from_item(item);
    let state = state.map_err(|error| RunProblem::DamagedStateOf(granularity, error))?;
    let marked = state.stale(granularity);
    refreshed.retain(|(period, _)| marked.contains(period));
    write_refreshed(context, &refreshed).await
}
