//! What can go wrong in a run, as values. Their text reaches the report and the ledger at the end.

use crate::{
    dynamodb::DynamoDbError,
    host::RandomnessError,
    metrics::{period::Granularity, rollup::RollupError},
    store::{
        lease::{LeaseError, LeaseLost, ReleaseError},
        ledger::LedgerError,
        record::RecordError,
        record_writer::WriteError,
        run_state::{StateWriteError, emptied},
        stored_state::StateError,
    },
};

/// The stored records could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the stored records could not be read: {0}")]
pub(super) struct ReadError(#[from] DynamoDbError);

/// How often a backfill of hours takes their lease again after it gave way. Scheduled hourly runs come
/// once an hour, so a second time is rare already.
pub(super) const MAXIMUM_TURNS: u32 = 3;

/// An entry of the ledger could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryError {
    #[error(transparent)]
    Mapping(#[from] LedgerError),
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
}

/// Why the record of one type was not computed or not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum TypeError {
    /// The platform's items could not be read or computed with.
    #[error("{0}")]
    Items(String),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Write(Box<WriteError>),
    #[error(transparent)]
    Rollup(#[from] RollupError),
    #[error("none of its finer periods has a record")]
    NothingFiner,
    #[error("its coarser periods could not be marked as stale: {0}")]
    Mark(Box<DynamoDbError>),
}

impl From<WriteError> for TypeError {
    fn from(error: WriteError) -> Self {
        Self::Write(Box::new(error))
    }
}

/// What else went wrong in a run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunProblem {
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    LeaseLost(#[from] LeaseLost),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(
        "the missing hours are left to the next run: scheduled hourly runs requested the lease \
         {MAXIMUM_TURNS} times"
    )]
    GaveWay,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the run state could not be read: {0}")]
    States(DynamoDbError),
    #[error("the {0} run state could not be read: {1}")]
    StateOf(Granularity, DynamoDbError),
    #[error("the {0} run state could not be read: {1}")]
    DamagedStateOf(Granularity, StateError),
    #[error(transparent)]
    DamagedState(#[from] StateError),
    #[error("the run state could not be written: {0}")]
    StateWrite(#[from] StateWriteError),
    #[error("{}", emptied(.0))]
    EmptiedSource(String),
    #[error("coarser periods could not be marked as stale: {0}")]
    Mark(DynamoDbError),
    #[error("the refreshed periods could not be noted in the run state: {0}")]
    NoteRefreshed(DynamoDbError),
    #[error("the marks of refreshed {0} periods could not be removed: {1}")]
    RemoveMarks(Granularity, DynamoDbError),
    #[error("`markedBy` in the run state could not be updated: {0}")]
    Withdraw(DynamoDbError),
    #[error("the `ttl` of {0} records could not be changed to the new retention: {1}")]
    Retention(Granularity, DynamoDbError),
    #[error("the ledger entry could not be written: {0}")]
    Entry(#[from] EntryError),
}
