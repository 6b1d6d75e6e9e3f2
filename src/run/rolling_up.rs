//! Rolling one day, week or month up from its finer records: two reading requests and one writing
//! request for all types of a day.
//!
//! No lease is needed: the records are written in one transaction, each on the condition that it
//! still is what was read, so of two runs at once the second finds everything stored.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{DynamoDbError, TransactWriteItems},
    metrics::{
        maker::{Maker, of_metric},
        ordered::Ordered,
        period::Period,
        provenance::{Occasion, settle_ranking},
        record::Record,
        rollup::{finer_periods, roll_up},
    },
    query::{plan::plan, reading::read},
    store::{
        record::RecordError,
        record_writer::{RecordChange, WriteOutcome},
    },
};

use super::{
    completeness::Lacking,
    context::Context,
    problem::{ReadError, TypeError},
    report::PeriodReport,
    storing::{StoredRecords, mark_coarser, read_stored, store},
};

/// How often the transaction is repeated when its records change at the same time, before they are
/// written one by one.
const MAXIMUM_CANCELLATIONS: u32 = 4;

/// A period, and what is stored of it and of its finer periods.
pub(super) struct PeriodRollup<'run> {
    context: &'run Context<'run>,
    types: BTreeSet<&'run str>,
    period: Period,
    finer: Vec<Period>,
    stored: StoredRecords,
    /// When reading began, which is the record's `calculatedAt`: what changes later is not in it.
    read_at: DateTime<Utc>,
}

impl<'run> PeriodRollup<'run> {
    /// Reads the stored records of `types` in `period` and in its finer periods.
    pub(super) async fn read(
        context: &'run Context<'run>,
        types: BTreeSet<&'run str>,
        period: Period,
    ) -> Result<Self, ReadError> {
        let finer = finer_periods(period);
        let read_at = context.now();
        let periods = finer.iter().copied().chain([period]).ordered_set();
        let stored = read_stored(context, &periods, &types).await?;
        Ok(Self { context, types, period, finer, stored, read_at })
    }

    fn is_stored(&self, name: &str, period: Period) -> bool {
        self.stored.contains_key(&(name.to_owned(), period))
    }

    /// The types of which no finer period has a record.
    pub(super) fn absent(&self) -> BTreeSet<&'run str> {
        let is_absent = |name: &&str| !self.finer.iter().any(|at| self.is_stored(name, *at));
        self.types.iter().copied().filter(is_absent).ordered_set()
    }

    /// Leaves the types out of which no finer period has a record; whether any is left.
    pub(super) fn leave_absent_out(&mut self) -> bool {
        let absent = self.absent();
        self.types.retain(|name| !absent.contains(name));
        !self.types.is_empty()
    }

    /// What the given finer periods lack, except for types that are `failing`.
    pub(super) fn missing(&self, finer: &[Period], failing: &BTreeSet<String>) -> Lacking<'run> {
        let mut missing = Lacking::new();
        for at in finer {
            let names: BTreeSet<&str> = self
                .types
                .iter()
                .copied()
                .filter(|name| !failing.contains(*name) && !self.is_stored(name, *at))
                .ordered_set();
            if !names.is_empty() {
                missing.insert(*at, names);
            }
        }
        missing
    }

    /// Rolls all types up and writes them, in one transaction if possible.
    pub(super) async fn write(mut self) -> PeriodReport {
        let mut cancellations = 0;
        loop {
            let mut report = PeriodReport::new(self.period);
            let records = self.roll_up(&mut report).await;
            match self.write_at_once(&records).await {
                Ok(outcomes) => {
                    for (name, outcome) in outcomes {
                        report.note(name, Ok(outcome));
                    }
                    return report.sorted();
                }
                // Another run has written since: its records are read and rolled up again.
                Err(TransactionError::DynamoDb(error))
                    if error.is_cancelled_transaction()
                        && cancellations < MAXIMUM_CANCELLATIONS =>
                {
                    cancellations += 1;
                    let (context, types) = (self.context, self.types.clone());
                    if let Ok(again) = Self::read(context, types, self.period).await {
                        self = again;
                        continue;
                    }
                }
                Err(_) => {}
            }
            // A record may be too large, for example: one by one shows which, and writes the others.
            let records = records.into_iter().map(|record| (record, Occasion::Rollup)).collect();
            for written in store(&self.context.writer(), records, &self.stored).await {
                report.note(written.type_name, written.result);
            }
            return report.sorted();
        }
    }

    /// The records of all types from the finer ones; what cannot be rolled up is noted in the report.
    async fn roll_up(&self, report: &mut PeriodReport) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.types.len());
        for name in self.types.iter().copied() {
            let mut record = match self.roll_type_up(name) {
                Ok(record) => record,
                Err(error) => {
                    report.note(name.to_owned(), Err(error));
                    continue;
                }
            };
            if let Some(coverage) = record.coverage
                && coverage.present < coverage.expected
            {
                report.short.insert(name.to_owned(), coverage);
            }
            match self.settle_rankings(&mut record).await {
                Ok(()) => records.push(record),
                Err(error) => report.note(name.to_owned(), Err(error)),
            }
        }
        records
    }

    /// The record of one type from the finer records.
    fn roll_type_up(&self, name: &str) -> Result<Record, TypeError> {
        let mut records = Vec::with_capacity(self.finer.len());
        for at in &self.finer {
            match self.stored.get(&(name.to_owned(), *at)) {
                None => records.push(None),
                Some(Ok(record)) => records.push(Some(record)),
                Some(Err(error)) => return Err(error.clone().into()),
            }
        }
        let rolled_up = roll_up(self.context.catalogue, name, &records)?;
        let rolled_up = rolled_up.ok_or(TypeError::NothingFiner)?;
        Ok(Record {
            metric_type: name.to_owned(),
            period: self.period,
            metrics: rolled_up.metrics,
            parts: rolled_up.parts,
            calculated_at: self.read_at,
            coverage: Some(rolled_up.coverage),
            reconstructed: rolled_up.reconstructed,
            made_by: Maker::Rollup.into(),
        })
    }

    /// Counts rankings from the platform's items if the kept parts do not say which targets are best. If
    /// that is late, a stored ranking of more rows stays: rows were deleted since.
    async fn settle_rankings(&self, record: &mut Record) -> Result<(), TypeError> {
        let context = self.context;
        let open: Vec<_> = context
            .catalogue
            .of_type(&record.metric_type)
            .filter(|metric| of_metric(metric, record) == Maker::Items)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let passes = plan(context.catalogue, open, &[record.period.into()], context.table);
        let findings = read(context.client, passes).await;
        if let Some(why) = findings.failures.into_values().next() {
            return Err(TypeError::Items(why));
        }
        let stored = self.stored.get(&(record.metric_type.clone(), record.period));
        let stored = stored.and_then(|stored| stored.as_ref().ok());
        let observes = context.options.is_in_time(record.period, record.calculated_at);
        for (name, outcomes) in findings.outcomes {
            for value in outcomes.into_iter().filter_map(|outcome| outcome.value) {
                settle_ranking(record, &name, value, stored, observes);
            }
        }
        Ok(())
    }

    /// Writes all records in one transaction, except those that are unchanged.
    async fn write_at_once(
        &self,
        records: &[Record],
    ) -> Result<Vec<(String, WriteOutcome)>, TransactionError> {
        let writer = self.context.writer();
        let mut outcomes = Vec::new();
        let mut puts = Vec::new();
        let mut changing = Vec::new();
        let mut new = Vec::new();
        for fresh in records {
            let name = fresh.metric_type.clone();
            let before = self.stored.get(&(name.clone(), fresh.period)).cloned().transpose()?;
            match writer.changed(fresh, before.as_ref(), Occasion::Rollup)? {
                RecordChange::Nothing(outcome) => outcomes.push((name, outcome)),
                RecordChange::Write(merged) => {
                    puts.push(writer.put_over(&merged, before.as_ref())?.into());
                    outcomes.push((name, WriteOutcome::Stored));
                    let ours = if before.is_some() { &mut changing } else { &mut new };
                    ours.push((fresh.clone(), Occasion::Rollup));
                }
            }
        }
        if !puts.is_empty() {
            mark_coarser(&writer, &changing, &new, &self.stored).await?;
            let random = self.context.host.random();
            let token = random.map_err(|_| TransactionError::Randomness)?;
            writer.client.send(&TransactWriteItems::new(puts, token)).await?;
        }
        Ok(outcomes)
    }
}

/// Why records could not be written at once. Writing them one by one says more.
#[derive(Debug, thiserror::Error)]
enum TransactionError {
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("no randomness for the transaction's token")]
    Randomness,
}
