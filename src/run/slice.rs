//! One attempt at a slice of a recalculation: counting its periods under the lease of the hours, or
//! rolling them up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::Read,
    metrics::{
        fold::Unreadable,
        period::{Period, format_instant},
        provenance::Occasion,
    },
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
    counting::count,
    problem::RunProblem,
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

/// Recalculates the periods of a slice, where `begin` is the start of the first counted hour.
pub(super) async fn run_slice(
    context: &Context<'_>,
    attempt: &SliceAttempt<'_>,
    begin: DateTime<Utc>,
) -> SliceResult {
    let mut result = SliceResult::default();
    match attempt.slice.work {
        Work::Count => count_slice(context, attempt, &mut result).await,
        Work::RollUp => roll_slice_up(context, attempt.slice, begin, &mut result).await,
    }
    result
}

/// Counts the slice's periods under the lease of the hours.
async fn count_slice(context: &Context<'_>, attempt: &SliceAttempt<'_>, result: &mut SliceResult) {
    let Some(first) = attempt.slice.periods.first() else { return };
    let (granularity, start) = (first.granularity(), format_instant(first.start()));
    let task = format!("recalculate {granularity} {start}");
    let host = context.host.clone();
    let lease =
        Lease::wait_for(context.client, host, context.table, &task, &context.run_id, false).await;
    let lease = match lease {
        Ok(Some(lease)) => lease,
        Ok(None) => return,
        Err(busy @ LeaseError::Busy(_)) => {
            result.held = Some(NoLease::Busy(busy));
            return;
        }
        Err(error) => return result.problems.push(error.into()),
    };
    if let Some(dead) = &lease.dead {
        result.problems.extend(context.enter_dead(dead).await.err());
    }
    let under_lease = context.writer_under(&lease);
    let writer = Writer { rewrites: under_lease.rewrites || context.rewrites, ..under_lease };
    let occasion =
        if attempt.job.request.overwrite { Occasion::Overwrite } else { Occasion::Recalculation };
    let wanted: Vec<_> = attempt.slice.periods.iter().map(|period| (*period, occasion)).collect();
    let work = count(context, &writer, &wanted, &context.types, context.now());
    let counted = match lease.hold(work).await {
        Ended::Done(counted) => counted.map_err(RunProblem::from),
        Ended::Lost(lost) => Err(lost.into()),
        Ended::Wanted => {
            // One that cannot be released expires by itself.
            let released = lease.give_way().await;
            result.problems.extend(released.err().map(RunProblem::from));
            result.held = Some(NoLease::GaveWay);
            return;
        }
    };
    let progress = lease.state.progress.clone();
    // The run has left no marks that are not announced.
    let released = lease.release(&progress, None).await;
    result.problems.extend(released.err().map(RunProblem::from));
    match counted {
        Ok(counted) => {
            result.malformed = counted.malformed_items();
            result.unreadable = counted.unreadable;
            result.periods = counted.periods;
        }
        Err(problem) => result.problems.push(problem),
    }
}

/// Computes the slice's periods from their finer records.
async fn roll_slice_up(
    context: &Context<'_>,
    slice: &Slice,
    begin: DateTime<Utc>,
    result: &mut SliceResult,
) {
    let mut coarser = CoarserPeriods::new(context, context.makers(begin));
    let mut refreshed = RefreshedPeriods::new();
    for period in &slice.periods {
        let at = context.now();
        let computed = coarser.compute(context.types.clone(), *period, true).await;
        let ComputedPeriod { report, problems, .. } = computed;
        if report.types_failed.is_empty() {
            refreshed.push((*period, at));
        }
        result.problems.extend(problems);
        result.periods.push(report);
    }
    match marked(context, &refreshed).await {
        Ok(marked) => {
            refreshed.retain(|(period, _)| marked.contains(period));
            result.problems.extend(write_refreshed(context, &refreshed).await.err());
        }
        Err(problem) => result.problems.push(problem),
    }
}

/// The periods of the granularity of `refreshed` that are marked as stale.
async fn marked(
    context: &Context<'_>,
    refreshed: &[(Period, DateTime<Utc>)],
) -> Result<BTreeSet<Period>, RunProblem> {
    let Some((first, _)) = refreshed.first() else { return Ok(BTreeSet::new()) };
    let granularity = first.granularity();
    let read = context.client.get(context.table, state_key(granularity), Read::Consistent).await;
    let item = read.map_err(|error| RunProblem::StateOf(granularity, error))?;
    let state = State::from_item(item);
    let state = state.map_err(|error| RunProblem::DamagedStateOf(granularity, error))?;
    Ok(state.stale(granularity))
}
