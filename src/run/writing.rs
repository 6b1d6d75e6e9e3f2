//! Writing a record: what is kept of the stored one, and the conditions under which it is replaced.

use serde_json::{Map, Value};

use crate::{
    catalogue::{Catalogue, definition::Past},
    dynamodb::{Client, Error, PutItem, Read, string},
    host::SharedHost,
    part::Part,
    period::format_instant,
    record::{Coverage, Record, RecordError, record_key},
    retention::Retention,
};

use super::{
    lease::{Fence, LeaseLost},
    marks::OwnMarks,
    state::unsettle,
};

/// How often a record that changes under our hands is read again before we give up.
const MAXIMUM_CONFLICTS: u32 = 5;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was written.
    Stored,
    /// The stored one already says the same.
    Unchanged,
    /// The stored one comes from a newer calculation.
    Superseded,
}

/// Why a record is calculated, which decides on metrics whose past the table has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// By the period's own event: what was never stored is stored.
    Scheduled,
    /// Later: what was never stored stays absent, and a record that says the same is left alone.
    Recalculation,
    /// From finer records: what they no longer tell is kept as stored, and a record that says the
    /// same is left alone.
    Rollup,
}

/// A record could not be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// DynamoDB failed.
    #[error(transparent)]
    DynamoDb(#[from] Error),
    /// The stored record or the new one is not what it should be.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The run may not write any more.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    /// The record kept changing.
    #[error("the stored record changed {MAXIMUM_CONFLICTS} times while it was being written")]
    Conflicts,
}

/// Writes records of one run.
pub(super) struct Writer<'run> {
    pub(super) client: &'run Client,
    pub(super) host: SharedHost,
    pub(super) table: &'run str,
    pub(super) catalogue: &'run Catalogue,
    pub(super) retention: Retention,
    /// Of a run under a lease.
    pub(super) fence: Option<Fence>,
    /// The marks that the run sets.
    pub(super) marks: &'run OwnMarks,
    /// Also write what says the same, with the new time of calculation: because somebody asked, or
    /// after a dead holder, so that it finds everything changed should it come back.
    pub(super) rewrites: bool,
}

impl Writer<'_> {
    /// What of `fresh` is to be written over `stored`; `None` if nothing is.
    pub(super) fn changed(
        &self,
        fresh: &Record,
        stored: Option<&Record>,
        occasion: Occasion,
    ) -> Result<Record, WriteOutcome> {
        if stored.is_some_and(|stored| stored.calculated_at > fresh.calculated_at) {
            return Err(WriteOutcome::Superseded);
        }
        let merged = merge(self.catalogue, fresh, stored, occasion);
        let always = self.rewrites || occasion == Occasion::Scheduled;
        if !always && says_the_same(&merged, stored) {
            return Err(WriteOutcome::Unchanged);
        }
        Ok(merged)
    }

    /// Writes `fresh` over `stored`, the record as it was read before, unless a newer calculation
    /// has been there. A record that has changed since is read and merged again: nothing that
    /// another run stored is lost.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub(super) async fn write(
        &self,
        fresh: &Record,
        mut stored: Option<Record>,
        occasion: Occasion,
    ) -> Result<WriteOutcome, WriteError> {
        for _ in 0..MAXIMUM_CONFLICTS {
            let merged = match self.changed(fresh, stored.as_ref(), occasion) {
                Ok(merged) => merged,
                Err(outcome) => return Ok(outcome),
            };
            if let Some(fence) = &self.fence {
                fence.check()?;
            }
            match self.client.send(&self.put_over(&merged, stored.as_ref())?).await {
                Ok(_) => return Ok(WriteOutcome::Stored),
                Err(error) if error.is_condition_failure() => {}
                Err(error) => return Err(error.into()),
            }
            let key = record_key(&fresh.metric_type, fresh.period);
            let found = self.client.get(self.table, key, Read::Consistent).await?;
            stored = found.map(Record::from_item).transpose()?;
            // Our own write, of which only the answer was lost.
            if stored.as_ref() == Some(&merged) {
                return Ok(WriteOutcome::Stored);
            }
            let granularity = fresh.period.granularity();
            unsettle(self.client, self.table, granularity, self.host.now()).await?;
        }
        Err(WriteError::Conflicts)
    }

    /// Writes `record` if the stored one still is what was read.
    ///
    /// # Errors
    ///
    /// When the record cannot be written as an item.
    pub(super) fn put_over(
        &self,
        record: &Record,
        stored: Option<&Record>,
    ) -> Result<PutItem, RecordError> {
        let put = PutItem::new(self.table, record.to_item(&self.retention)?);
        Ok(match stored {
            None => put.only_if("attribute_not_exists(PK)", []),
            Some(stored) => {
                let seen = string(format_instant(stored.calculated_at));
                put.only_if("calculatedAt = :seen", [(":seen", seen)])
            }
        })
    }
}

/// Whether `record` says what is stored already.
fn says_the_same(record: &Record, stored: Option<&Record>) -> bool {
    stored.is_some_and(|stored| {
        stored.metrics == record.metrics
            && stored.parts == record.parts
            && stored.coverage == record.coverage
    })
}

/// The record to store: `exact` metrics as they are now; of the others the stored value, because
/// the table has moved on since; metrics that this build does not know as they are stored.
fn merge(
    catalogue: &Catalogue,
    fresh: &Record,
    stored: Option<&Record>,
    occasion: Occasion,
) -> Record {
    if occasion == Occasion::Rollup {
        return merge_rollup(fresh, stored);
    }
    let mut merged = fresh.clone();
    for metric in catalogue.of_type(&fresh.metric_type) {
        if metric.past() != Past::Nothing {
            continue;
        }
        let name = &metric.name;
        let stored_value = stored.and_then(|stored| stored.metrics.get(name));
        let stored_part = stored.and_then(|stored| stored.parts.get(name));
        let kept_value = match occasion {
            Occasion::Scheduled => stored_value.or(fresh.metrics.get(name)),
            Occasion::Recalculation | Occasion::Rollup => stored_value,
        };
        let kept_part = match (stored_part, fresh.parts.get(name)) {
            (Some(Part::Stock(None)) | None, Some(Part::Stock(stock))) => {
                let stock = stock.clone().filter(|_| occasion == Occasion::Scheduled);
                Some(Part::Stock(stock))
            }
            (Some(part), _) => Some(part.clone()),
            (None, part) => {
                part.filter(|_| kept_value.is_some() && stored_value.is_none()).cloned()
            }
        };
        replace(&mut merged.metrics, name, kept_value.cloned());
        match kept_part {
            Some(part) => merged.parts.insert(name.clone(), part),
            None => merged.parts.remove(name),
        };
    }
    for (name, value) in stored.iter().flat_map(|stored| &stored.metrics) {
        if catalogue.metric(name).is_none() {
            merged.metrics.insert(name.clone(), value.clone());
        }
    }
    merged
}

/// A rolled-up record over the stored one: finer records may have reached the end of their
/// retention, and what was made from them before is still right. What has a part was made from all
/// of them: there an absent value is the answer.
fn merge_rollup(fresh: &Record, stored: Option<&Record>) -> Record {
    let mut merged = fresh.clone();
    let Some(stored) = stored else { return merged };
    for (name, value) in &stored.metrics {
        if !fresh.parts.contains_key(name) {
            merged.metrics.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    for (name, part) in &stored.parts {
        merged.parts.entry(name.clone()).or_insert_with(|| part.clone());
    }
    let present = |coverage: Option<Coverage>| coverage.map_or(0, |coverage| coverage.present);
    if present(stored.coverage) > present(merged.coverage) {
        merged.coverage = stored.coverage;
    }
    merged
}

fn replace(metrics: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => metrics.insert(name.to_owned(), value),
        None => metrics.remove(name),
    };
}
