//! The lease of the hours: at most one run at a time counts from the platform's items.
//!
//! It is part of the state item of the hours. It is taken by a conditional write, which also returns
//! the run state, is renewed while the run works, and is released at its end together with the new run
//! state. A holder that died is replaced when its lease expires. If it continues after that, it does no
//! harm: it starts no write after its lease has expired ([`Fence`]), cannot write the run state, and
//! every record is written on the condition that it still is what the run read.
//!
//! A scheduled hourly run has priority, because its values can be observed at no other time. While
//! it waits, it requests the lease (`leaseWantedBy`, `leaseWantedAt`): any other holder releases it
//! within seconds, and no other run takes it before.

mod acquiring;
mod attributes;

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};

use crate::{
    dynamodb::{
        AttributeValue, Client, DynamoDbError, Item, MappingError, Read, UpdateItem, number, string,
    },
    host::SharedHost,
    metrics::period::Granularity,
    store::{
        run_state::{Progress, State, state_key},
        stored_state::StateError,
    },
};

use attributes::LeaseAttributes;
pub use attributes::check_lease;

/// How long a lease is held without being renewed: several times the longest wait for one request, so
/// that a slow run keeps it, and short enough that a repeated event can take it over from a dead run.
pub const LEASE_TERM: Duration = Duration::from_secs(90);

/// How long before its end a lease no longer allows a write to start: more than the longest time that
/// a write takes with all its attempts.
const LAST_WRITE_MARGIN: Duration = Duration::from_secs(40);

/// How often a holder that gives way looks for a request. It costs a read unit each time, 1,800 an
/// hour of recalculation.
const CHECK: Duration = Duration::from_secs(2);

/// How long a request for the lease counts. The run that waits repeats it, so a request of a run that
/// died expires.
const REQUEST: Duration = Duration::from_mins(1);

/// The expiry of a lease that was released at the end of a run.
const RELEASED: i64 = 0;

/// The expiry of a lease that was released for a scheduled run, in the middle of the work: writes that
/// were sent may still arrive.
const GAVE_WAY: i64 = -1;

/// The start of the task of a scheduled hourly run; the hour's start follows.
pub const HOUR_BY_CRON: &str = "cron hourly ";

/// A lease that this run holds.
pub struct Lease<'client> {
    client: &'client Client,
    host: SharedHost,
    table: &'client str,
    holder: String,
    fence: Fence,
    /// Whether it is released when a scheduled hourly run requests it.
    gives_way: bool,
    /// Which attempt at its task this is, from 1.
    pub attempt: u32,
    /// The hours' state when the lease was taken.
    pub state: State,
    /// The holder before, if it is known and did not release the lease.
    pub dead: Option<DeadHolder>,
    /// Whether writes of the holder before may still arrive: it may have died, or it gave way.
    pub is_after_dead: bool,
}

/// A run that ended without releasing its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadHolder {
    /// The id of its run.
    pub holder: String,
    /// What it was doing.
    pub task: String,
    /// When it took the lease, as written.
    pub since: String,
    /// Which attempt at its task it was, from 1.
    pub attempt: u32,
}

/// How work under a lease ended.
pub enum Ended<T> {
    /// It is done, with this outcome.
    Done(T),
    /// It was stopped because a scheduled hourly run requested the lease, which is to be released
    /// by [`Lease::give_way`].
    Wanted,
    /// It was stopped because the lease is lost.
    Lost(LeaseLost),
}

/// The lease could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// DynamoDB failed.
    #[error("the lease could not be taken: {0}")]
    DynamoDb(#[from] DynamoDbError),
    /// The state in it cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Other runs held it for too long.
    #[error("another run (`{0}`) still holds the lease of the hours")]
    Busy(String),
}

/// This run no longer has the lease.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseLost {
    /// It expired and another run took it.
    #[error("another run took over the lease")]
    TakenOver,
    /// It expired before it could be renewed.
    #[error("the lease expired before this was written")]
    Expired,
    /// It could not be renewed.
    #[error("the lease could not be renewed: {0}")]
    Unreachable(DynamoDbError),
    /// A scheduled hourly run requests it.
    #[error("a scheduled hourly run requested the lease")]
    Wanted,
}

/// The lease could not be released.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReleaseError {
    /// What the run leaves cannot be mapped.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// It expired and another run took it.
    #[error("another run took over the lease")]
    TakenOver,
    /// DynamoDB failed.
    #[error("the lease could not be released and expires in {seconds} s: {0}", seconds = LEASE_TERM.as_secs())]
    Unreachable(DynamoDbError),
}

/// Says whether a run may still write.
#[derive(Clone)]
pub struct Fence {
    host: SharedHost,
    /// When the lease expires, in milliseconds of the Unix epoch.
    until: Arc<AtomicI64>,
}

impl Fence {
    fn until(host: SharedHost, expires_at: i64) -> Self {
        Self { host, until: Arc::new(AtomicI64::new(expires_at)) }
    }

    /// Whether a write may start.
    ///
    /// # Errors
    ///
    /// [`LeaseLost::Expired`].
    pub fn check(&self) -> Result<(), LeaseLost> {
        let until = self.until.load(Ordering::Relaxed);
        if (self.host.now() + LAST_WRITE_MARGIN).timestamp_millis() < until {
            Ok(())
        } else {
            Err(LeaseLost::Expired)
        }
    }
}

fn expiry(now: DateTime<Utc>) -> i64 {
    (now + LEASE_TERM).timestamp_millis()
}

impl Lease<'_> {
    /// The fence that writers check before each write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Renews the lease for as long as it is polled; ends only when it is lost, or requested by a
    /// scheduled hourly run if it gives way.
    async fn keep(&self) -> Result<Infallible, LeaseLost> {
        // A slow read must not delay the renewal.
        let looking = self.client.with_patience(CHECK);
        let mut renewed_at = self.host.now();
        loop {
            self.host.sleep(if self.gives_way { CHECK } else { LEASE_TERM / 3 }).await;
            let now = self.host.now();
            let item = if self.gives_way && now < renewed_at + LEASE_TERM / 3 {
                let key = state_key(Granularity::Hourly);
                // If this fails, the next renewal shows whether the lease is lost.
                looking.get(self.table, key, Read::Consistent).await.ok().flatten()
            } else {
                let expires_at = expiry(now);
                let values = [(":expiry", number(&expires_at))];
                match self.update("SET leaseExpiresAt = :expiry", values).await {
                    Ok(item) => {
                        self.fence.until.store(expires_at, Ordering::Relaxed);
                        renewed_at = now;
                        item
                    }
                    Err(error) if error.is_condition_failure() => return Err(LeaseLost::TakenOver),
                    Err(error) => return Err(LeaseLost::Unreachable(error)),
                }
            };
            let is_wanted =
                |item| LeaseAttributes::from_item(Some(item)).is_ok_and(|it| it.is_wanted(now));
            if self.gives_way && item.as_ref().is_some_and(is_wanted) {
                return Err(LeaseLost::Wanted);
            }
        }
    }

    /// Does `work` while it keeps the lease. If the lease is lost or requested, the work is stopped
    /// where it is.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Ended<T> {
        match select(pin!(work), pin!(self.keep())).await {
            Either::Left((outcome, _)) => Ended::Done(outcome),
            Either::Right((Err(LeaseLost::Wanted), _)) => Ended::Wanted,
            Either::Right((Err(lost), _)) => Ended::Lost(lost),
            Either::Right((Ok(never), _)) => match never {},
        }
    }

    /// Releases the lease together with the new run state, and announces marks that the run may have
    /// left in coarser granularities.
    ///
    /// # Errors
    ///
    /// [`ReleaseError`]; the lease then expires by itself, or another run has it, whose state stays.
    pub async fn release(
        self,
        progress: &Progress,
        announcement: Option<String>,
    ) -> Result<(), ReleaseError> {
        let progress = progress.to_attribute()?;
        let mut expression = "SET leaseExpiresAt = :expiry, runState = :progress".to_owned();
        let mut values = vec![(":expiry", number(&RELEASED)), (":progress", progress)];
        if let Some(announcement) = announcement {
            expression.push_str(" ADD markedBy :announcement");
            values.push((":announcement", AttributeValue::Ss(vec![announcement])));
        }
        match self.update(&expression, values).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_condition_failure() => Err(ReleaseError::TakenOver),
            Err(error) => Err(ReleaseError::Unreachable(error)),
        }
    }

    /// Releases the lease for the scheduled hourly run that requested it, and leaves the run state
    /// unchanged. What was being written may still arrive, so the next holder rewrites every record, as
    /// after a holder that died.
    ///
    /// # Errors
    ///
    /// [`LeaseLost::TakenOver`] or [`LeaseLost::Unreachable`]; the lease then expires by itself.
    pub async fn give_way(self) -> Result<(), LeaseLost> {
        match self.update("SET leaseExpiresAt = :expiry", [(":expiry", number(&GAVE_WAY))]).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_condition_failure() => Err(LeaseLost::TakenOver),
            Err(error) => Err(LeaseLost::Unreachable(error)),
        }
    }

    /// Changes the state item if this run still has the lease; returns it as it is then.
    async fn update<'name>(
        &self,
        expression: &str,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Result<Option<Item>, DynamoDbError> {
        update_held(self.client, self.table, &self.holder, expression, values).await
    }
}

/// Changes the state item if `holder` has the lease; returns it as it is then.
async fn update_held<'name>(
    client: &Client,
    table: &str,
    holder: &str,
    expression: &str,
    values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
) -> Result<Option<Item>, DynamoDbError> {
    let holder = [(":holder", string(holder))];
    let update = UpdateItem::new(
        table,
        state_key(Granularity::Hourly),
        expression,
        Some("leaseHolder = :holder"),
        values.into_iter().chain(holder),
    );
    Ok(client.send(&update).await?.attributes)
}
