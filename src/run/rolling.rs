//! Rolling up a day, week or month from its finer records: two reading requests and one writing
//! request for all types of a day.
//!
//! A finer period that is missing is made first. No lease is needed: the records are written in one
//! transaction, each on the condition that it still is what was read, so that of two runs at once
//! the second finds everything said.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;

use crate::{
    dynamodb::{Client, Error, TransactWriteItems, text},
    period::{Granularity, Period, parse_instant},
    record::{Record, RecordError, query_before, query_first},
    rollup::{finer_periods, roll_up},
};

use super::{
    Engine, PeriodReport, Report, StoredRecords,
    lease::{LEASE, Lease},
    status,
    writing::{Occasion, WriteOutcome, merge, put_over, says_the_same},
};

/// How long to wait before asking again whether a run that has a missing hour has made it.
const POLL: Duration = Duration::from_secs(5);

impl Engine {
    /// Makes the records of `period`, after what is missing of its finer periods.
    pub(super) async fn roll_up(
        &self,
        client: &Client,
        period: Period,
        begun: DateTime<Utc>,
        report: &mut Report,
    ) {
        let holder = report.run_id.clone();
        match self.make(client, period, begun, &holder).await {
            Err(why) => self.fail_all(report, &why),
            Ok(mut made) => {
                if let Some(own) = made.pop() {
                    report.period = own;
                }
                report.recalculated = made;
                report.status = status(&report.period);
            }
        }
    }

    /// Makes the records of `period`. The reports are those of the finer periods that had to be
    /// made, then its own.
    fn make<'run>(
        &'run self,
        client: &'run Client,
        period: Period,
        begun: DateTime<Utc>,
        holder: &'run str,
    ) -> LocalBoxFuture<'run, Result<Vec<PeriodReport>, String>> {
        Box::pin(async move {
            let finer = finer_periods(period);
            let mut reports = Vec::new();
            let mut stored = self.read_with(client, &finer, period).await?;
            let missing = self.missing(client, &finer, &stored).await?;
            if !missing.is_empty() {
                reports.extend(self.heal(client, &missing, begun, holder).await?);
                stored = self.read_with(client, &finer, period).await?;
            }
            reports.push(self.write_rolled_up(client, period, begun, &finer, &stored).await);
            Ok(reports)
        })
    }

    async fn read_with(
        &self,
        client: &Client,
        finer: &[Period],
        period: Period,
    ) -> Result<StoredRecords, String> {
        let periods: Vec<Period> = finer.iter().copied().chain([period]).collect();
        self.read_stored(client, &periods)
            .await
            .map_err(|error| format!("the stored records could not be read: {error}"))
    }

    /// The finer periods that lack a record and ought to have one. What lies before the first record
    /// of all is before our time.
    async fn missing(
        &self,
        client: &Client,
        finer: &[Period],
        stored: &StoredRecords,
    ) -> Result<Vec<Period>, String> {
        let is_there = |period: Period, name: &str| stored.contains_key(&(name.to_owned(), period));
        let lacks =
            |period: Period| self.catalogue.recorded_types().any(|name| !is_there(period, name));
        let is_empty =
            |period: Period| !self.catalogue.recorded_types().any(|name| is_there(period, name));
        let begin = match finer.first().copied() {
            Some(first) if is_empty(first) => self.begin(client, first).await?,
            _ => None,
        };
        let ours = |period: &Period| begin.is_none_or(|begin| period.end() >= begin);
        Ok(finer.iter().copied().filter(|period| ours(period) && lacks(*period)).collect())
    }

    /// When our time began, if that was not before `first`.
    async fn begin(&self, client: &Client, first: Period) -> Result<Option<DateTime<Utc>>, String> {
        let failed = |error: Error| format!("the first record could not be looked for: {error}");
        let before = query_before(&self.table, first.granularity(), first.start());
        if client.first(&before).await.map_err(failed)?.is_some() {
            return Ok(None);
        }
        let hours = query_first(&self.table, Granularity::Hourly);
        let found = client.first(&hours).await.map_err(failed)?;
        let begin = found.as_ref().and_then(|record| text(record, "timestamp"));
        // Without any record there is nothing to heal.
        Ok(Some(begin.and_then(parse_instant).unwrap_or(DateTime::<Utc>::MAX_UTC)))
    }

    /// Makes finer periods that are missing: hours from the table, days from their hours.
    async fn heal(
        &self,
        client: &Client,
        missing: &[Period],
        begun: DateTime<Utc>,
        holder: &str,
    ) -> Result<Vec<PeriodReport>, String> {
        let Some(last) = missing.last().copied() else { return Ok(Vec::new()) };
        if last.granularity() != Granularity::Hourly {
            let mut reports = Vec::new();
            for period in missing {
                reports.extend(self.make(client, *period, begun, holder).await?);
            }
            return Ok(reports);
        }
        // The last hour's own run may still be at work: wait for it, or take over from it.
        let lease = self.wait_for_lease(client, last, holder).await?;
        let stored = self
            .read_stored(client, missing)
            .await
            .map_err(|error| format!("the stored records could not be read: {error}"))?;
        let still_missing: Vec<(Period, Occasion)> = missing
            .iter()
            .filter(|period| {
                let mut types = self.catalogue.recorded_types();
                types.any(|name| !stored.contains_key(&(name.to_owned(), **period)))
            })
            .map(|period| (*period, Occasion::Recalculation))
            .collect();
        let counted = if still_missing.is_empty() {
            Ok(Vec::new())
        } else {
            // The time of reading is now, not that of the run that waited.
            let now = self.host.now();
            self.count(client, &still_missing, now).await.map(|counted| counted.periods)
        };
        lease
            .release()
            .await
            .map_err(|error| format!("the lease could not be given back: {error}"))?;
        counted
    }

    async fn wait_for_lease<'run>(
        &'run self,
        client: &'run Client,
        hour: Period,
        holder: &str,
    ) -> Result<Lease<'run>, String> {
        // A lease that is not renewed runs out by itself; one that is renewed belongs to a run that
        // ends within a few leases.
        let deadline = self.host.now() + LEASE * 4;
        loop {
            let host = self.host.clone();
            let lease = Lease::acquire(client, host, &self.table, hour, holder.to_owned());
            match lease.await {
                Ok(Some(lease)) => return Ok(lease),
                Err(error) => return Err(format!("the lease could not be taken: {error}")),
                Ok(None) if self.host.now() >= deadline => {
                    return Err("another run has been working on a missing hour".to_owned());
                }
                Ok(None) => self.host.sleep(POLL).await,
            }
        }
    }

    /// Rolls all types up and writes them, in one transaction where possible.
    async fn write_rolled_up(
        &self,
        client: &Client,
        period: Period,
        calculated_at: DateTime<Utc>,
        finer: &[Period],
        stored: &StoredRecords,
    ) -> PeriodReport {
        let mut report = PeriodReport::new(period);
        let mut records = Vec::new();
        for name in self.catalogue.recorded_types() {
            match self.rolled_up(name, period, calculated_at, finer, stored) {
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
        if let Ok(outcomes) = self.write_at_once(client, &records, stored).await {
            for (name, outcome) in outcomes {
                report.note(name, Ok(outcome));
            }
            report.sort();
            return report;
        }
        // Somebody else has written since, or a record is too large: one by one tells which.
        let records = records.into_iter().map(|record| (record, Occasion::Rollup)).collect();
        let mut reports = HashMap::from([(period, report)]);
        self.store(client, records, stored, &mut reports).await;
        reports.remove(&period).unwrap_or_else(|| PeriodReport::new(period))
    }

    /// The record of one type from the finer records; `None` if there are none.
    fn rolled_up(
        &self,
        name: &str,
        period: Period,
        calculated_at: DateTime<Utc>,
        finer: &[Period],
        stored: &StoredRecords,
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
            calculated_at,
            coverage: Some(rolled_up.coverage),
        }))
    }

    /// Writes all records in one transaction; those that say nothing new are left alone.
    async fn write_at_once(
        &self,
        client: &Client,
        records: &[Record],
        stored: &StoredRecords,
    ) -> Result<Vec<(String, WriteOutcome)>, WriteAllError> {
        let mut outcomes = Vec::new();
        let mut puts = Vec::new();
        for fresh in records {
            let name = fresh.metric_type.clone();
            let before = stored.get(&(name.clone(), fresh.period)).cloned().transpose()?;
            let merged = merge(&self.catalogue, fresh, before.as_ref(), Occasion::Rollup);
            if before.as_ref().is_some_and(|before| before.calculated_at > fresh.calculated_at) {
                outcomes.push((name, WriteOutcome::Superseded));
            } else if says_the_same(&merged, before.as_ref()) {
                outcomes.push((name, WriteOutcome::Unchanged));
            } else {
                puts.push(put_over(&self.table, &merged, before.as_ref())?.into());
                outcomes.push((name, WriteOutcome::Stored));
            }
        }
        if !puts.is_empty() {
            let token = self.host.random().map_err(|_| WriteAllError::Randomness)?;
            client.send(&TransactWriteItems::new(puts, token)).await?;
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
