//! Computing days, weeks and months, each after the finer periods that it lacks, by the maker that
//! [`crate::metrics::maker`] names: rolled up, counted from the platform's items, or kept.

use std::{collections::BTreeSet, fmt::Display};

use futures_util::future::LocalBoxFuture;

use crate::metrics::{
    maker::{Decision, Maker, Makers},
    ordered::Ordered,
    period::{Granularity, Period},
    provenance::Occasion,
    record::Record,
};

use super::{
    completeness::Lacking, context::Context, counting::count, hours::backfill_hours,
    problem::RunProblem, report::PeriodReport, rolling_up::PeriodRollup, storing::read_stored,
};

/// What came of computing one period.
pub(super) struct ComputedPeriod {
    pub(super) report: PeriodReport,
    /// It now includes all that is stored of its finer periods.
    pub(super) is_refreshed: bool,
    /// Finer periods that were missing and were computed before it.
    pub(super) finer: Vec<PeriodReport>,
    pub(super) problems: Vec<RunProblem>,
}

impl ComputedPeriod {
    fn failed(period: Period, types: &BTreeSet<&str>, why: &dyn Display) -> Self {
        let mut report = PeriodReport::new(period);
        report.fail(types.iter().copied(), why);
        Self { report, is_refreshed: false, finer: Vec::new(), problems: Vec::new() }
    }
}

/// Finer periods that were computed for a coarser one.
#[derive(Default)]
struct FinerPeriods {
    reports: Vec<PeriodReport>,
    problems: Vec<RunProblem>,
}

/// Computes coarser periods, one after the other.
pub(super) struct CoarserPeriods<'run> {
    context: &'run Context<'run>,
    makers: Makers,
    /// Types that failed for a period of this run. They are not tried for others.
    pub(super) failing: BTreeSet<String>,
}

impl<'run> CoarserPeriods<'run> {
    pub(super) fn new(context: &'run Context<'run>, makers: Makers) -> Self {
        Self { context, makers, failing: BTreeSet::new() }
    }

    /// Computes the records of `types` in `period`. What a finer period lacks and cannot be computed
    /// is a problem; the record then has what is not short. If the period is counted from the
    /// platform's items, a complete record stays unless it `is_requested`.
    pub(super) fn compute<'call>(
        &'call mut self,
        types: BTreeSet<&'run str>,
        period: Period,
        is_requested: bool,
    ) -> LocalBoxFuture<'call, ComputedPeriod> {
        // Boxed, because a month computes its days in the same way.
        Box::pin(async move {
            match self.makers.of_period(period) {
                Maker::Items => self.count(&types, period, is_requested).await,
                Maker::Rollup => self.roll_up(types, period).await,
            }
        })
    }

    /// Rolls the period up, after what its finer periods lack.
    async fn roll_up(&mut self, types: BTreeSet<&'run str>, period: Period) -> ComputedPeriod {
        let context = self.context;
        let mut rollup = match PeriodRollup::read(context, types.clone(), period).await {
            Ok(rollup) => rollup,
            Err(error) => return ComputedPeriod::failed(period, &types, &error),
        };
        let finer = self.makers.finer(period);
        let missing = rollup.missing(&finer, &self.failing);
        let mut backfilled = FinerPeriods::default();
        if !missing.is_empty() {
            // What is computed now need not mark this period, which is computed next.
            context.marks.computing(period, true);
            backfilled = self.backfill(missing).await;
            context.marks.computing(period, false);
            rollup = match PeriodRollup::read(context, types.clone(), period).await {
                Ok(rollup) => rollup,
                Err(error) => {
                    let FinerPeriods { reports: finer, problems } = backfilled;
                    let failed = ComputedPeriod::failed(period, &types, &error);
                    return ComputedPeriod { finer, problems, ..failed };
                }
            };
        }
        let absent = rollup.absent();
        let mut report = rollup.write().await;
        // What lies before the first counted hour is not missing.
        report.short.retain(|_, coverage| coverage.present < finer.len());
        let is_refreshed = report.types_failed.keys().all(|name| absent.contains(name.as_str()));
        let FinerPeriods { reports: finer, problems } = backfilled;
        ComputedPeriod { report, is_refreshed, finer, problems }
    }

    /// Counts from the platform's items what the period itself lacks, or all of it if it
    /// `is_requested`. A type that fails for other periods of this run is left to the next one.
    async fn count(
        &mut self,
        types: &BTreeSet<&'run str>,
        period: Period,
        is_requested: bool,
    ) -> ComputedPeriod {
        let context = self.context;
        let stored = match read_stored(context, &[period].into_iter().ordered_set(), types).await {
            Ok(stored) => stored,
            Err(error) => return ComputedPeriod::failed(period, types, &error),
        };
        let is_requested = is_requested || context.rewrites;
        let is_kept = |name: &&str| {
            let stored = stored.get(&((*name).to_owned(), period));
            let record: Option<&Record> = stored.and_then(|stored| stored.as_ref().ok());
            self.makers.of_record(period, record, is_requested) == Decision::Keep
        };
        let (kept, wanted): (BTreeSet<&str>, BTreeSet<&str>) =
            types.iter().copied().partition(is_kept);
        let (failing, wanted): (BTreeSet<&str>, BTreeSet<&str>) =
            wanted.into_iter().partition(|name| self.failing.contains(*name));
        let mut report = PeriodReport::new(period);
        if !wanted.is_empty() {
            let writer = context.writer();
            let at = [(period, Occasion::Recalculation)];
            match count(context, &writer, &at, &wanted, context.now()).await {
                Ok(counted) => report = counted.periods.into_iter().next().unwrap_or(report),
                Err(error) => report.fail(wanted, &error),
            }
        }
        self.failing.extend(report.types_failed.keys().cloned());
        let why = "skipped, because it failed for another period of this run; the next run tries it again";
        report.fail(failing, &why);
        report.types_unchanged.extend(kept.into_iter().map(str::to_owned));
        let report = report.sorted();
        ComputedPeriod {
            is_refreshed: report.types_failed.is_empty(),
            report,
            finer: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Computes finer periods that are missing: hours from the platform's items, days from their
    /// hours.
    async fn backfill(&mut self, missing: Lacking<'run>) -> FinerPeriods {
        let mut computed = FinerPeriods::default();
        let first = missing.keys().next();
        if first.is_some_and(|first| first.granularity() == Granularity::Hourly) {
            let failing = std::mem::take(&mut self.failing);
            let hours = backfill_hours(self.context, missing, failing).await;
            self.failing = hours.failing;
            return FinerPeriods { reports: hours.reports, problems: hours.problems };
        }
        for (day, types) in missing {
            if !self.context.has_budget() {
                break;
            }
            // What failed for a day before this one is left to the next run.
            let types: BTreeSet<&str> =
                types.into_iter().filter(|name| !self.failing.contains(*name)).ordered_set();
            if types.is_empty() {
                continue;
            }
            let start = self.context.start_batch();
            let ComputedPeriod { report, finer, problems, .. } =
                self.compute(types, day, false).await;
            let entered = self.context.enter_backfilled(&start, std::slice::from_ref(&report));
            computed.reports.extend(finer);
            computed.problems.extend(problems);
            computed.problems.extend(entered.await.err());
            computed.reports.push(report);
        }
        computed
    }
}
