//! The hours that a day lacks: they are computed before it, under the lease of the hours.

use std::collections::BTreeSet;

use crate::{
    metrics::{
        period::{Granularity, Period, format_instant},
        provenance::Occasion,
    },
    store::lease::{Ended, Lease},
};

use super::{
    backfill::HourBackfill,
    completeness::Lacking,
    context::Context,
    problem::{MAXIMUM_TURNS, RunProblem},
};

/// Computes missing hours under their lease, and continues after every scheduled hourly run to which
/// it gives way.
pub(super) async fn backfill_hours<'run>(
    context: &'run Context<'run>,
    missing: Lacking<'run>,
    failing: BTreeSet<String>,
) -> HourBackfill<'run> {
    let mut backfill = HourBackfill::new(context, missing, failing);
    for _ in 0..MAXIMUM_TURNS {
        if !backfill_until_requested(context, &mut backfill).await {
            return backfill;
        }
    }
    backfill.problems.push(RunProblem::GaveWay);
    backfill
}

/// Computes missing hours under their lease until they are computed or a scheduled hourly run
/// requests it: true if it gave way. The scheduled run of the last hour may still be at work: it is
/// waited for, or the lease is taken over from it.
async fn backfill_until_requested(context: &Context<'_>, backfill: &mut HourBackfill<'_>) -> bool {
    let Some(last) = backfill.lacking.keys().next_back().copied() else { return false };
    let task = format!("catch-up hourly {}", format_instant(last.start()));
    let host = context.host.clone();
    let lease =
        Lease::wait_for(context.client, host, context.table, &task, &context.run_id, false).await;
    let lease = match lease {
        Ok(Some(lease)) => lease,
        Ok(None) => return false,
        Err(error) => {
            backfill.problems.push(error.into());
            return false;
        }
    };
    if let Some(dead) = &lease.dead {
        backfill.problems.extend(context.enter_dead(dead).await.err());
    }
    let is_observed = |hour| is_observed(context, &lease, hour);
    let occasion = |hour| {
        if is_observed(hour) { Occasion::Scheduled } else { Occasion::Recalculation }
    };
    let writer = context.writer_under(&lease);
    match lease.hold(backfill.run(&writer, &occasion, 0)).await {
        Ended::Done(()) => {}
        Ended::Lost(error) => {
            context.marks.interrupt();
            backfill.problems.push(error.into());
        }
        Ended::Wanted => {
            context.marks.interrupt();
            backfill.problems.extend(lease.give_way().await.err().map(RunProblem::from));
            return true;
        }
    }
    let mut progress = lease.state.progress.clone();
    if is_observed(last) {
        progress.latest = Some(format_instant(last.start()));
    }
    let released = lease.release(&progress, None).await;
    backfill.problems.extend(released.err().map(RunProblem::from));
    false
}

/// Whether this run counts the hour as its scheduled run would have: it is the hour that ended just
/// before the run's event, no run of a later hour was processed, and it is in time.
fn is_observed(context: &Context<'_>, lease: &Lease<'_>, hour: Period) -> bool {
    let current = Period::containing(Granularity::Hourly, context.scheduled).previous();
    context.is_scheduled
        && hour == current
        && lease.state.progress.is_in_order(hour)
        && context.options.is_in_time(hour, context.now())
}
