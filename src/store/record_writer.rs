//! Writing a record: which stored values stay, and the conditions under which a stored record is
//! replaced.

use crate::{
    dynamodb::{Client, DynamoDbError, PutItem, Read, string},
    host::SharedHost,
    metrics::{
        catalogue::Catalogue,
        period::format_instant,
        provenance::{Occasion, merge},
        record::Record,
        retention::Retention,
    },
    store::{
        lease::{Fence, LeaseLost},
        marks::OwnMarks,
        record::{RecordError, record_key},
        run_state::unsettle,
    },
};

/// How often a record that another run changes meanwhile is read again before the write fails.
const MAXIMUM_CONFLICTS: u32 = 5;

/// What became of the write of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was written.
    Stored,
    /// The stored record is the same.
    Unchanged,
    /// The stored record was computed later.
    Superseded,
}

/// The write that a record needs.
#[allow(clippy::large_enum_variant, reason = "it is matched at once")]
pub(crate) enum RecordChange {
    /// None, for this reason.
    Nothing(WriteOutcome),
    /// This record must be written.
    Write(Record),
}

/// A record could not be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// DynamoDB failed.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
    /// The stored record or the new one is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The run has lost its lease, so it must not write.
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    /// The record kept changing.
    #[error("the stored record changed {MAXIMUM_CONFLICTS} times while it was being written")]
    Conflicts,
}

/// Writes records of one run.
pub(crate) struct Writer<'run> {
    pub(crate) client: &'run Client,
    pub(crate) host: SharedHost,
    pub(crate) table: &'run str,
    pub(crate) catalogue: &'run Catalogue,
    pub(crate) retention: Retention,
    /// The fence of a run under a lease.
    pub(crate) fence: Option<Fence>,
    /// The marks that the run sets.
    pub(crate) marks: &'run OwnMarks,
    /// Also write unchanged records, with the new time of calculation: because a request asked for
    /// it, or after a dead holder, whose conditional writes then fail if it continues.
    pub(crate) rewrites: bool,
}

impl Writer<'_> {
    /// The write of `fresh` that `stored` needs.
    ///
    /// # Errors
    ///
    /// When the stored record is damaged.
    pub(crate) fn changed(
        &self,
        fresh: &Record,
        stored: Option<&Record>,
        occasion: Occasion,
    ) -> Result<RecordChange, RecordError> {
        if stored.is_some_and(|stored| stored.calculated_at > fresh.calculated_at) {
            return Ok(RecordChange::Nothing(WriteOutcome::Superseded));
        }
        let merged = merge(self.catalogue, fresh, stored, occasion)?;
        let always = self.rewrites || occasion == Occasion::Scheduled;
        if !always && says_the_same(&merged, stored) {
            return Ok(RecordChange::Nothing(WriteOutcome::Unchanged));
        }
        Ok(RecordChange::Write(merged))
    }

    /// Writes `fresh` over `stored`, the record as it was read before, unless it was computed later
    /// than `fresh`. If the record has changed since, it is read and merged again, so that nothing
    /// that another run stored is lost.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub(crate) async fn write(
        &self,
        fresh: &Record,
        mut stored: Option<Record>,
        occasion: Occasion,
    ) -> Result<WriteOutcome, WriteError> {
        for _ in 0..MAXIMUM_CONFLICTS {
            let merged = match self.changed(fresh, stored.as_ref(), occasion)? {
                RecordChange::Write(merged) => merged,
                RecordChange::Nothing(outcome) => return Ok(outcome),
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
            // This is our own write, whose response was lost.
            if stored.as_ref() == Some(&merged) {
                return Ok(WriteOutcome::Stored);
            }
            let granularity = fresh.period.granularity();
            unsettle(self.client, self.table, granularity, self.host.now()).await?;
        }
        Err(WriteError::Conflicts)
    }

    /// The request that writes `record` if the stored one has not changed since it was read.
    ///
    /// # Errors
    ///
    /// When the record cannot be written as an item.
    pub(crate) fn put_over(
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

/// Whether `record` is the same as the stored one, except for the time of calculation.
fn says_the_same(record: &Record, stored: Option<&Record>) -> bool {
    stored.is_some_and(|stored| {
        stored.metrics == record.metrics
            && stored.parts == record.parts
            && stored.reconstructed == record.reconstructed
            && stored.coverage == record.coverage
    })
}
