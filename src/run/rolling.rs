//! Rolling up days, weeks and months from their finer records: two reading requests and one writing
//! request for all types of a day.
//!
//! A finer period that is missing is made before it: hours from the platform's items, under their
//! lease; days from their hours. Where the finer records are past retention, the period itself is
//! counted from the platform's items. No lease is needed for the rest: the records are written in one transaction, each on the condition that it still is what was
//! read, so that of two runs at once the second finds everything said.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;

use crate::{
    dynamodb::{Error, TransactWriteItems},
    metrics::{
        maker::{Maker, of_metric},
        ordered::Ordered,
        period::{Granularity, Period, format_instant},
        provenance::{Occasion, settle_ranking},
        record::Record,
        rollup::{finer_periods, roll_up},
    },
    query::{plan::plan, reading::read},
    store::{
        lease::{Ended, Lease},
        record::RecordError,
        record_writer::{Change, WriteOutcome, Writer},
    },
};

use super::{Engine, PeriodReport, Report, Run, completeness::Lacking, counting::StoredRecords};

/// How often a period whose records change under our hands is made again before they are written one
/// by one.
const MAXIMUM_CONFLICTS: u32 = 4;

/// How often a run takes the lease of the hours again after it gave way. Scheduled hourly runs come
/// once an hour, so a second time is rare already.
const MAXIMUM_TURNS: u32 = 3;

/// How a period was made.
pub(super) struct Made {
    pub(super) report: PeriodReport,
    /// All that there is was rolled up and written.
    pub(super) refreshed: bool,
}

impl Made {
    fn failed(run: &Run<'_>, period: Period, why: &str) -> Self {
        let mut report = PeriodReport::new(period);
        report.fail(run.types.iter().copied(), why);
        Self { report, refreshed: false }
    }
}

impl Engine {
    /// Makes the records of `period`, after what is missing of its finer periods since `begin`. What
    /// cannot be made of those is noted as a problem; the record then has what is not short. Where
    /// the finer records are past retention, what there is stays unless it `is_stale`.
    pub(super) fn make<'run>(
        &'run self,
        run: &'run Run<'run>,
        period: Period,
        is_stale: bool,
        begin: DateTime<Utc>,
        report: &'run mut Report,
    ) -> LocalBoxFuture<'run, Made> {
        Box::pin(async move {
            let finer = finer_periods(period);
            let ours: Vec<Period> =
                finer.iter().copied().filter(|finer| finer.end() >= begin).collect();
            let retention = self.options.retention;
            if ours.iter().any(|finer| retention.has_ended(*finer, run.scheduled)) {
                return self.count_itself(run, (period, ours.len()), is_stale, report).await;
            }
            let failed = |why: String| Made::failed(run, period, &why);
            // A record's `calculatedAt` is when reading began: what changes later is not in it.
            let mut read_at = self.host.now();
            let mut stored = match self.read_with(run, &finer, period).await {
                Ok(stored) => stored,
                Err(why) => return failed(why),
            };
            let mut missing = Lacking::new();
            for finer in &ours {
                let names = run.types.iter().copied().filter(|name| {
                    !report.failing.contains(*name)
                        && !stored.contains_key(&((*name).to_owned(), *finer))
                });
                let names: BTreeSet<&str> = names.ordered_set();
                if !names.is_empty() {
                    missing.insert(*finer, names);
                }
            }
            if !missing.is_empty() {
                // What is made now need not mark this period, which is made next.
                run.marks.making(period, true);
                self.heal(run, missing, begin, report).await;
                run.marks.making(period, false);
                read_at = self.host.now();
                stored = match self.read_with(run, &finer, period).await {
                    Ok(stored) => stored,
                    Err(why) => return failed(why),
                };
            }
            let is_there = |name: &str| {
                finer.iter().any(|finer| stored.contains_key(&(name.to_owned(), *finer)))
            };
            let absent: BTreeSet<&str> =
                run.types.iter().copied().filter(|name| !is_there(name)).ordered_set();
            let writer = self.writer(run);
            let mut report =
                self.write_rolled_up(run, &writer, (period, &finer), (stored, read_at)).await;
            // What lies before our time is not lacking.
            report.short.retain(|_, coverage| coverage.present < ours.len());
            let refreshed = report.types_failed.keys().all(|name| absent.contains(name.as_str()));
            Made { report, refreshed }
        })
    }

    /// Counts from the platform's items what the period itself lacks, which has so many finer ones of
    /// our time, or all of it if it `is_stale` or was asked for. What fails for other periods of this
    /// run is left to the next one.
    async fn count_itself(
        &self,
        run: &Run<'_>,
        (period, finer): (Period, usize),
        is_stale: bool,
        report: &mut Report,
    ) -> Made {
        let stored = match self.read_with(run, &[], period).await {
            Ok(stored) => stored,
            Err(why) => return Made::failed(run, period, &why),
        };
        let is_whole = |name: &&str| {
            let stored = stored.get(&((*name).to_owned(), period));
            let record = stored.and_then(|stored| stored.as_ref().ok());
            let coverage = record.map(|record| record.coverage);
            coverage.is_some_and(|of| of.is_none_or(|coverage| coverage.present >= finer))
        };
        let is_wanted = |name: &&str| is_stale || run.rewrites || !is_whole(name);
        let (failing, wanted): (BTreeSet<&str>, BTreeSet<&str>) = run
            .types
            .iter()
            .copied()
            .filter(is_wanted)
            .partition(|name| report.failing.contains(*name));
        let mut made = PeriodReport::new(period);
        if !wanted.is_empty() {
            let writer = self.writer(run);
            let at = [(period, Occasion::Recalculation)];
            match self.count(&writer, &at, &wanted, self.host.now()).await {
                Ok(counted) => made = counted.periods.into_iter().next().unwrap_or(made),
                Err(why) => made.fail(wanted, &why),
            }
        }
        report.failing.extend(made.types_failed.keys().cloned());
        made.fail(
            failing,
            "it fails for other periods of this run too, and is left to the next one",
        );
        made.types_unchanged.extend(
            run.types.iter().filter(|name| !is_wanted(name)).map(|name| (*name).to_owned()),
        );
        made.sort();
        Made { refreshed: made.types_failed.is_empty(), report: made }
    }

    pub(super) async fn read_with(
        &self,
        run: &Run<'_>,
        finer: &[Period],
        period: Period,
    ) -> Result<StoredRecords, String> {
        let periods: BTreeSet<Period> = finer.iter().copied().chain([period]).ordered_set();
        self.read_stored(run.client, &periods, &run.types)
            .await
            .map_err(|error| format!("the stored records could not be read: {error}"))
    }

    /// Makes finer periods that are missing: hours from the table, days from their hours.
    async fn heal(
        &self,
        run: &Run<'_>,
        missing: Lacking<'_>,
        begin: DateTime<Utc>,
        report: &mut Report,
    ) {
        let Some(last) = missing.keys().next_back() else { return };
        if last.granularity() == Granularity::Hourly {
            return self.heal_hours(run, missing, report).await;
        }
        for (period, types) in missing {
            if !self.has_budget(run) {
                return;
            }
            // What failed for a day before this one is left to the next run.
            let types =
                types.into_iter().filter(|name| !report.failing.contains(*name)).ordered_set();
            let run = &run.for_types(types);
            if run.types.is_empty() {
                continue;
            }
            let beginning = self.begin_piece(run, report);
            let made = self.make(run, period, false, begin, report).await;
            let periods = std::slice::from_ref(&made.report);
            self.enter_caught_up(run, &beginning, periods, report).await;
            report.caught_up.push(made.report);
        }
    }

    /// Makes missing hours under their lease, and goes on after every scheduled hourly run to which
    /// it gives way.
    async fn heal_hours(&self, run: &Run<'_>, mut missing: Lacking<'_>, report: &mut Report) {
        for _ in 0..MAXIMUM_TURNS {
            if !self.heal_until_wanted(run, &mut missing, report).await {
                return;
            }
        }
        report.problems.push(format!(
            "the missing hours are left to the next run: scheduled hourly runs requested the lease \
             {MAXIMUM_TURNS} times"
        ));
    }

    /// Makes missing hours under their lease, unless a scheduled hourly run requests it: true if it
    /// gave way. The last hour's own run may still be at work: it is waited for, or taken over from.
    async fn heal_until_wanted(
        &self,
        run: &Run<'_>,
        missing: &mut Lacking<'_>,
        report: &mut Report,
    ) -> bool {
        let Some(last) = missing.keys().next_back().copied() else { return false };
        let task = format!("catch-up hourly {}", format_instant(last.start()));
        let host = self.host.clone();
        let lease = Lease::wait_for(run.client, host, &self.table, &task, &run.id, false).await;
        let lease = match lease {
            Ok(Some(lease)) => lease,
            Ok(None) => return false,
            Err(error) => {
                report.problems.push(error.to_string());
                return false;
            }
        };
        if let Some(dead) = &lease.dead {
            self.enter_dead(run, dead, report).await;
        }
        let mut progress = lease.state.progress.clone();
        // The hour that ended just before this event is told as its own event would, if no later
        // one has been here.
        let current = Period::containing(Granularity::Hourly, run.scheduled).previous();
        let is_current = |hour| {
            run.is_event
                && hour == current
                && lease.state.progress.is_in_order(hour)
                && self.options.is_in_time(hour, self.host.now())
        };
        let occasion = |hour| {
            if is_current(hour) { Occasion::Scheduled } else { Occasion::Recalculation }
        };
        let problem = {
            let writer = self.writer_under(run, &lease);
            match lease.hold(self.fill(run, &writer, missing, occasion, 0, report)).await {
                Ended::Done(Ok(())) => None,
                Ended::Done(Err(why)) => Some(why),
                Ended::Lost(why) => {
                    run.marks.interrupt();
                    Some(why.to_string())
                }
                Ended::Wanted => {
                    run.marks.interrupt();
                    let released = lease.give_way().await;
                    report.problems.extend(released.err().map(|lost| lost.to_string()));
                    return true;
                }
            }
        };
        report.problems.extend(problem);
        if is_current(last) {
            progress.latest = Some(format_instant(last.start()));
        }
        self.give_back(*lease, &progress, report).await;
        false
    }

    /// Rolls all types up and writes them, in one transaction where possible.
    pub(super) async fn write_rolled_up(
        &self,
        run: &Run<'_>,
        writer: &Writer<'_>,
        (period, finer): (Period, &[Period]),
        (mut stored, mut read_at): (StoredRecords, DateTime<Utc>),
    ) -> PeriodReport {
        let mut conflicts = 0;
        loop {
            let mut report = PeriodReport::new(period);
            let records =
                self.roll_all_up(run, writer, finer, (&stored, read_at), &mut report).await;
            match self.write_at_once(writer, &records, &stored).await {
                Ok(outcomes) => {
                    for (name, outcome) in outcomes {
                        report.note(name, Ok(outcome));
                    }
                    report.sort();
                    return report;
                }
                // Somebody else has written since: what they wrote is the new ground.
                Err(WriteAllError::DynamoDb(error))
                    if error.is_cancelled_transaction() && conflicts < MAXIMUM_CONFLICTS =>
                {
                    conflicts += 1;
                    let periods = finer.iter().copied().chain([period]).ordered_set();
                    let again_at = self.host.now();
                    let again = self.read_stored(writer.client, &periods, &run.types).await;
                    if let Ok(again) = again {
                        (stored, read_at) = (again, again_at);
                        continue;
                    }
                }
                Err(_) => {}
            }
            // A record may be too large, say: one by one tells which, and writes the others.
            let records = records.into_iter().map(|record| (record, Occasion::Rollup)).collect();
            let mut reports = HashMap::from([(period, report)]);
            self.store(writer, records, &stored, &mut reports).await;
            return reports.remove(&period).unwrap_or_else(|| PeriodReport::new(period));
        }
    }

    /// The records of all types from the finer ones; what cannot be made is noted in the report.
    async fn roll_all_up(
        &self,
        run: &Run<'_>,
        writer: &Writer<'_>,
        finer: &[Period],
        (stored, read_at): (&StoredRecords, DateTime<Utc>),
        report: &mut PeriodReport,
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for name in run.types.iter().copied() {
            match self.rolled_up(name, report.period, finer, (stored, read_at)) {
                Err(why) => report.note(name.to_owned(), Err(why)),
                Ok(None) => {
                    let why = "none of its finer periods has a record".to_owned();
                    report.note(name.to_owned(), Err(why));
                }
                Ok(Some(record)) => {
                    if let Some(coverage) = record.coverage
                        && coverage.present < coverage.expected
                    {
                        report.short.insert(name.to_owned(), coverage);
                    }
                    records.push(record);
                }
            }
        }
        let mut settled = Vec::with_capacity(records.len());
        for mut record in records {
            let key = (record.metric_type.clone(), record.period);
            let before = stored.get(&key).and_then(|before| before.as_ref().ok());
            match self.settle_rankings(writer, &mut record, before).await {
                Ok(()) => settled.push(record),
                Err(why) => report.note(record.metric_type, Err(why)),
            }
        }
        settled
    }

    /// Counts rankings from the platform's items where the kept parts leave open who is best. Later
    /// than the period's own time, a stored ranking of more rows stays: rows were deleted since.
    async fn settle_rankings(
        &self,
        writer: &Writer<'_>,
        record: &mut Record,
        stored: Option<&Record>,
    ) -> Result<(), String> {
        let open: Vec<_> = self
            .catalogue
            .of_type(&record.metric_type)
            .filter(|metric| of_metric(metric, record) == Maker::Items)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let passes = plan(&self.catalogue, open, &[record.period.into()], &self.table);
        let findings = read(writer.client, passes).await;
        if let Some(why) = findings.failures.into_values().next() {
            return Err(why);
        }
        let observes = self.options.is_in_time(record.period, record.calculated_at);
        for (name, outcomes) in findings.outcomes {
            for value in outcomes.into_iter().filter_map(|outcome| outcome.value) {
                settle_ranking(record, &name, value, stored, observes);
            }
        }
        Ok(())
    }

    /// The record of one type from the finer records; `None` if there are none.
    fn rolled_up(
        &self,
        name: &str,
        period: Period,
        finer: &[Period],
        (stored, read_at): (&StoredRecords, DateTime<Utc>),
    ) -> Result<Option<Record>, String> {
        let mut records = Vec::with_capacity(finer.len());
        for at in finer {
            match stored.get(&(name.to_owned(), *at)) {
                None => records.push(None),
                Some(Ok(record)) => records.push(Some(record)),
                Some(Err(error)) => return Err(error.to_string()),
            }
        }
        let rolled_up =
            roll_up(&self.catalogue, name, &records).map_err(|error| error.to_string())?;
        Ok(rolled_up.map(|rolled_up| Record {
            metric_type: name.to_owned(),
            period,
            metrics: rolled_up.metrics,
            parts: rolled_up.parts,
            calculated_at: read_at,
            coverage: Some(rolled_up.coverage),
            reconstructed: rolled_up.reconstructed,
            made_by: Maker::Rollup.into(),
        }))
    }

    /// Writes all records in one transaction; those that say nothing new are left alone.
    async fn write_at_once(
        &self,
        writer: &Writer<'_>,
        records: &[Record],
        stored: &StoredRecords,
    ) -> Result<Vec<(String, WriteOutcome)>, WriteAllError> {
        let mut outcomes = Vec::new();
        let mut puts = Vec::new();
        let mut changing = Vec::new();
        let mut new = Vec::new();
        for fresh in records {
            let name = fresh.metric_type.clone();
            let before = stored.get(&(name.clone(), fresh.period)).cloned().transpose()?;
            match writer.changed(fresh, before.as_ref(), Occasion::Rollup)? {
                Change::Nothing(outcome) => outcomes.push((name, outcome)),
                Change::Write(merged) => {
                    puts.push(writer.put_over(&merged, before.as_ref())?.into());
                    outcomes.push((name, WriteOutcome::Stored));
                    let ours = if before.is_some() { &mut changing } else { &mut new };
                    ours.push((fresh.clone(), Occasion::Rollup));
                }
            }
        }
        if !puts.is_empty() {
            self.mark_coarser(writer, &changing, &new, stored).await?;
            let token = self.host.random().map_err(|_| WriteAllError::Randomness)?;
            writer.client.send(&TransactWriteItems::new(puts, token)).await?;
        }
        Ok(outcomes)
    }
}

/// Why records could not be written at once. Writing them one by one says more.
#[derive(Debug, thiserror::Error)]
enum WriteAllError {
    #[error(transparent)]
    DynamoDb(#[from] Error),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("no randomness for the transaction's token")]
    Randomness,
}
