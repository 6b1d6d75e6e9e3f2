//! The lease of the hours: at most one run at a time counts from the platform's items.
//!
//! It is part of the hours' state item: taken by a conditional write, which also answers the state;
//! renewed while the run works; given back at its end together with what the run leaves. A holder
//! that died is replaced when its lease runs out. A holder that comes back late does no harm: it
//! begins no write after its lease has run out ([`Fence`]), its state is not taken, and every record
//! is written on the condition that it still is what the run read.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    dynamodb::{AttributeValue, Client, Error, Read, UpdateItem, from_item, number, string},
    host::SharedHost,
    period::{Granularity, format_instant, parse_instant},
};

use super::state::{State, StateError, state_key};

/// How long a lease holds without being renewed: several times the longest wait of one request, so
/// that a slow run keeps it, short enough that a repeated event finds a dead one free.
pub const LEASE: Duration = Duration::from_secs(90);

/// How long before its end a lease no longer allows a write to begin: the longest a write takes with
/// all its attempts, and some more.
const MARGIN: Duration = Duration::from_secs(40);

/// How long to wait before asking again for a lease that another run holds.
const POLL: Duration = Duration::from_secs(5);

/// What the task of an hour's own run begins with; the hour's start follows.
pub const HOUR_BY_CRON: &str = "cron hourly ";

/// A lease that this run holds.
pub struct Lease<'client> {
    client: &'client Client,
    host: SharedHost,
    table: &'client str,
    holder: String,
    fence: Fence,
    /// Which attempt at its task this is, from 1.
    pub attempt: u32,
    /// The hours' state when the lease was taken.
    pub state: State,
    /// The holder before, if it is known and never gave its lease back.
    pub dead: Option<DeadHolder>,
    /// Whether there may be such a holder, which could come back.
    pub is_after_dead: bool,
}

/// A run that ended without giving its lease back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadHolder {
    /// Its run's name.
    pub holder: String,
    /// What it was doing.
    pub task: String,
    /// When it took the lease, as written.
    pub since: String,
    /// Which attempt at its task it was, from 1.
    pub attempt: u32,
}

/// Who has the lease.
pub enum Acquired<'client> {
    /// This run.
    Taken(Box<Lease<'client>>),
    /// Another run, which is doing this.
    Held(String),
}

/// The lease could not be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseError {
    /// DynamoDB failed.
    #[error("the lease could not be taken: {0}")]
    DynamoDb(#[from] Error),
    /// The state in it cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// Others have held it for too long.
    #[error("another run ({0}) has held the lease of the hours")]
    Busy(String),
}

/// The lease is no longer this run's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseLost {
    /// It ran out and another run took it.
    #[error("another run took the lease over")]
    TakenOver,
    /// It ran out before it could be renewed.
    #[error("the lease ran out before this was written")]
    RanOut,
    /// It could not be renewed.
    #[error("the lease could not be renewed: {0}")]
    Unreachable(Error),
}

/// Tells a writer whether its run may still write.
#[derive(Clone)]
pub struct Fence {
    host: SharedHost,
    /// When the lease runs out, in milliseconds of the Unix epoch.
    until: Arc<AtomicI64>,
}

impl Fence {
    fn until(host: SharedHost, expires_at: i64) -> Self {
        Self { host, until: Arc::new(AtomicI64::new(expires_at)) }
    }

    /// Whether a write may begin.
    ///
    /// # Errors
    ///
    /// [`LeaseLost::RanOut`].
    pub fn check(&self) -> Result<(), LeaseLost> {
        let until = self.until.load(Ordering::Relaxed);
        if (self.host.now() + MARGIN).timestamp_millis() < until {
            Ok(())
        } else {
            Err(LeaseLost::RanOut)
        }
    }
}

/// The lease's attributes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stored {
    #[serde(rename = "leaseHolder")]
    holder: String,
    #[serde(rename = "leaseExpiresAt")]
    expires_at: i64,
    #[serde(rename = "leaseTask")]
    task: String,
    #[serde(rename = "leaseSince")]
    since: String,
    #[serde(rename = "leaseAttempt")]
    attempt: u32,
}

fn expiry(now: DateTime<Utc>) -> i64 {
    (now + LEASE).timestamp_millis()
}

impl<'client> Lease<'client> {
    /// Takes the lease for `holder` to do `task`, such as an hour's start.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked or the state cannot be read.
    pub async fn acquire(
        client: &'client Client,
        host: SharedHost,
        table: &'client str,
        task: &str,
        holder: &str,
    ) -> Result<Acquired<'client>, LeaseError> {
        const FREE: &str = "(attribute_not_exists(leaseExpiresAt) OR leaseExpiresAt < :now)";
        let attempts = [
            (":one", format!("{FREE} AND (attribute_not_exists(leaseTask) OR leaseTask <> :task)")),
            ("leaseAttempt + :one", format!("{FREE} AND leaseTask = :task")),
        ];
        // Our time begins with the first hour that was ever begun, also if its run died.
        let first = task.strip_prefix(HOUR_BY_CRON).map(|start| {
            let begin = HashMap::from([("begin".to_owned(), string(start))]);
            (", runState = if_not_exists(runState, :first)", (":first", AttributeValue::M(begin)))
        });
        for (attempt, condition) in &attempts {
            let now = host.now();
            let expires_at = expiry(now);
            let (begins, first) = first.clone().unzip();
            let begins = begins.unwrap_or_default();
            let update = UpdateItem::new(
                table,
                state_key(Granularity::Hourly),
                &format!(
                    "SET leaseHolder = :holder, leaseExpiresAt = :expiry, leaseTask = :task, \
                     leaseSince = :since, EntityType = :entity, leaseAttempt = {attempt}{begins}"
                ),
                Some(condition),
                [
                    (":holder", string(holder)),
                    (":expiry", number(&expires_at)),
                    (":task", string(task)),
                    (":since", string(format_instant(now))),
                    (":entity", string("AnalyticsState")),
                    (":one", number(&1)),
                    (":now", number(&now.timestamp_millis())),
                ]
                .into_iter()
                .chain(first),
            )
            .answering_what_was();
            match client.send(&update).await {
                Err(error) if error.is_condition_failure() => {}
                Err(error) => return Err(error.into()),
                Ok(answer) => {
                    let was: Stored = answer
                        .attributes
                        .clone()
                        .map(from_item)
                        .transpose()
                        .map_err(|error| StateError::new(&error))?
                        .unwrap_or_default();
                    let repeated = was.task == task;
                    let dead = (was.expires_at > 0).then_some(DeadHolder {
                        holder: was.holder,
                        task: was.task,
                        since: was.since,
                        attempt: was.attempt.max(1),
                    });
                    let mut state = State::from_item(answer.attributes)?;
                    // The event of that hour has been here, though its run could not say so.
                    let hour = dead.as_ref().and_then(|dead| dead.task.strip_prefix(HOUR_BY_CRON));
                    if let Some(start) = hour.and_then(parse_instant) {
                        state.progress.note_latest(start);
                    }
                    return Ok(Acquired::Taken(Box::new(Self {
                        client,
                        fence: Fence::until(host.clone(), expires_at),
                        host,
                        table,
                        holder: holder.to_owned(),
                        attempt: if repeated { was.attempt + 1 } else { 1 },
                        state,
                        is_after_dead: dead.is_some(),
                        dead,
                    })));
                }
            }
        }
        let item = client.get(table, state_key(Granularity::Hourly), Read::Consistent).await?;
        let held: Stored = item
            .clone()
            .map(from_item)
            .transpose()
            .map_err(|error| StateError::new(&error))?
            .unwrap_or_default();
        if held.holder != holder || held.expires_at == 0 {
            return Ok(Acquired::Held(held.task));
        }
        // It is ours: the answer was lost, and with it who had it before.
        Ok(Acquired::Taken(Box::new(Self {
            client,
            fence: Fence::until(host.clone(), held.expires_at),
            host,
            table,
            holder: holder.to_owned(),
            attempt: held.attempt,
            state: State::from_item(item)?,
            is_after_dead: true,
            dead: None,
        })))
    }

    /// Takes the lease, waiting for other runs. One that is not renewed runs out by itself; one that
    /// is renewed belongs to a run that ends within a few leases. `None` when another run is already
    /// doing the same `task`, if that `may_be_held`.
    ///
    /// # Errors
    ///
    /// As [`Lease::acquire`], or [`LeaseError::Busy`].
    pub async fn wait_for(
        client: &'client Client,
        host: SharedHost,
        table: &'client str,
        task: &str,
        holder: &str,
        may_be_held: bool,
    ) -> Result<Option<Box<Self>>, LeaseError> {
        let deadline = host.now() + LEASE * 4;
        loop {
            match Self::acquire(client, host.clone(), table, task, holder).await? {
                Acquired::Taken(lease) => return Ok(Some(lease)),
                Acquired::Held(other) if may_be_held && other == task => return Ok(None),
                Acquired::Held(other) if host.now() >= deadline => {
                    return Err(LeaseError::Busy(other));
                }
                Acquired::Held(_) => host.sleep(POLL).await,
            }
        }
    }

    /// What writers ask whether they may still write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Renews the lease for as long as it is polled; ends only when it is lost.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`], always.
    pub async fn keep(&self) -> Result<Infallible, LeaseLost> {
        loop {
            self.host.sleep(LEASE / 3).await;
            let expires_at = expiry(self.host.now());
            let values = [(":expiry", number(&expires_at))];
            match self.update("SET leaseExpiresAt = :expiry", values).await {
                Ok(()) => self.fence.until.store(expires_at, Ordering::Relaxed),
                Err(error) if error.is_condition_failure() => return Err(LeaseLost::TakenOver),
                Err(error) => return Err(LeaseLost::Unreachable(error)),
            }
        }
    }

    /// Gives the lease back, with what the run leaves.
    ///
    /// # Errors
    ///
    /// [`LeaseLost::TakenOver`] when it is another run's, whose state then stands, or
    /// [`LeaseLost::Unreachable`] when DynamoDB cannot be asked; the lease then runs out by itself.
    pub async fn release(self, progress: AttributeValue) -> Result<(), LeaseLost> {
        let values = [(":expiry", number(&0)), (":progress", progress)];
        match self.update("SET leaseExpiresAt = :expiry, runState = :progress", values).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_condition_failure() => Err(LeaseLost::TakenOver),
            Err(error) => Err(LeaseLost::Unreachable(error)),
        }
    }

    async fn update<'name>(
        &self,
        expression: &str,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Result<(), Error> {
        let holder = [(":holder", string(&self.holder))];
        let update = UpdateItem::new(
            self.table,
            state_key(Granularity::Hourly),
            expression,
            Some("leaseHolder = :holder"),
            values.into_iter().chain(holder),
        );
        self.client.send(&update).await.map(|_| ())
    }
}
