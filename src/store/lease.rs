//! The lease of the hours: at most one run at a time counts from the platform's items.
//!
//! It is part of the hours' state item: taken by a conditional write, which also answers the state;
//! renewed while the run works; given back at its end together with what the run leaves. A holder
//! that died is replaced when its lease runs out. A holder that comes back late does no harm: it
//! begins no write after its lease has run out ([`Fence`]), its state is not taken, and every record
//! is written on the condition that it still is what the run read.
//!
//! A scheduled hourly run has priority, because its values can be observed at no other time. While
//! it waits, it requests the lease (`leaseWantedBy`, `leaseWantedAt`): any other holder releases it
//! within seconds, and no other run takes it before.

use std::{
    collections::HashMap,
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
    dynamodb::{AttributeValue, Client, Error, Item, Read, UpdateItem, number, string},
    host::SharedHost,
    metrics::period::{Granularity, format_instant, parse_instant},
    store::{
        run_state::{State, state_key},
        stored_state::{StateError, read_attribute},
    },
};

/// How long a lease holds without being renewed: several times the longest wait of one request, so
/// that a slow run keeps it, short enough that a repeated event finds a dead one free.
pub const LEASE: Duration = Duration::from_secs(90);

/// How long before its end a lease no longer allows a write to begin: the longest a write takes with
/// all its attempts, and some more.
const MARGIN: Duration = Duration::from_secs(40);

/// How often a waiting run looks whether the lease is free.
const POLL: Duration = Duration::from_secs(5);

/// The same for a scheduled hourly run: with every second, more of its hour is past.
const POLL_SCHEDULED: Duration = Duration::from_secs(1);

/// How often a holder that gives way looks for a request. It costs a read unit each time, 1,800 an
/// hour of recalculation.
const CHECK: Duration = Duration::from_secs(2);

/// How long a request for the lease counts. The run that waits repeats it; one of a run that died
/// holds up nobody for longer.
const REQUEST: Duration = Duration::from_mins(1);

/// When a lease expires that was given back.
const GIVEN_BACK: i64 = 0;

/// When a lease expires that was released for a scheduled run, in the middle of the work: writes
/// that were sent may still arrive.
const GAVE_WAY: i64 = -1;

/// What the task of an hour's own run begins with; the hour's start follows.
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
    /// The holder before, if it is known and never gave its lease back.
    pub dead: Option<DeadHolder>,
    /// Whether writes of the holder before may still arrive: it may have died, or it gave way.
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
    /// Another run.
    Held(Stored),
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
    /// A scheduled hourly run requests it.
    #[error("a scheduled hourly run requested the lease")]
    Wanted,
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
#[derive(Debug, Default)]
pub struct Stored {
    holder: String,
    expires_at: i64,
    task: String,
    since: String,
    attempt: u32,
    wanted_at: i64,
}

/// Whether the lease in the hours' state item can be understood.
///
/// # Errors
///
/// [`StateError`] that names the attribute that cannot.
pub fn check_lease(item: &Item) -> Result<(), StateError> {
    Stored::from_item(Some(item)).map(|_| ())
}

impl Stored {
    fn from_item(item: Option<&Item>) -> Result<Self, StateError> {
        const TEXT: &str = "must be a string";
        const NUMBER: &str = "must be a whole number";
        let Some(item) = item else { return Ok(Self::default()) };
        let hours = Granularity::Hourly;
        let stored = Self {
            holder: read_attribute(hours, item, "leaseHolder", TEXT)?,
            expires_at: read_attribute(hours, item, "leaseExpiresAt", NUMBER)?,
            task: read_attribute(hours, item, "leaseTask", TEXT)?,
            since: read_attribute(hours, item, "leaseSince", TEXT)?,
            attempt: read_attribute(hours, item, "leaseAttempt", NUMBER)?,
            wanted_at: read_attribute(hours, item, "leaseWantedAt", NUMBER)?,
        };
        Ok(stored)
    }

    /// Whether a scheduled hourly run waits for the lease.
    fn is_wanted(&self, now: DateTime<Utc>) -> bool {
        self.wanted_at >= stale_request(now)
    }

    fn is_free(&self, is_scheduled: bool, now: DateTime<Utc>) -> bool {
        self.expires_at < now.timestamp_millis() && (is_scheduled || !self.is_wanted(now))
    }
}

/// Before when a request no longer counts.
fn stale_request(now: DateTime<Utc>) -> i64 {
    (now - REQUEST).timestamp_millis()
}

/// Whether the task is an hour's own run.
fn is_scheduled(task: &str) -> bool {
    task.starts_with(HOUR_BY_CRON)
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
        const FREE: &str = "(attribute_not_exists(PK) OR attribute_exists(runState)) AND \
                            (attribute_not_exists(leaseExpiresAt) OR leaseExpiresAt < :now)";
        const UNWANTED: &str = "(attribute_not_exists(leaseWantedAt) OR leaseWantedAt < :stale)";
        let is_scheduled = is_scheduled(task);
        let free = if is_scheduled { FREE.to_owned() } else { format!("{FREE} AND {UNWANTED}") };
        let attempts = [
            (":one", format!("{free} AND (attribute_not_exists(leaseTask) OR leaseTask <> :task)")),
            ("leaseAttempt + :one", format!("{free} AND leaseTask = :task")),
        ];
        // Our time begins with the first hour that was ever begun, also if its run died. A state that
        // has lost that is damaged, and must not begin anew by itself.
        let first = task.strip_prefix(HOUR_BY_CRON).map(|start| {
            let begin = HashMap::from([("begin".to_owned(), string(start))]);
            (", runState = if_not_exists(runState, :first)", (":first", AttributeValue::M(begin)))
        });
        for (attempt, condition) in &attempts {
            let now = host.now();
            let expires_at = expiry(now);
            let (begins, first) = first.clone().unzip();
            let begins = begins.unwrap_or_default();
            let expired_request = (":stale", number(&stale_request(now)));
            let update = UpdateItem::new(
                table,
                state_key(Granularity::Hourly),
                &format!(
                    "SET leaseHolder = :holder, leaseExpiresAt = :expiry, leaseTask = :task, \
                     leaseSince = :since, EntityType = :entity, leaseAttempt = {attempt}{begins} \
                     REMOVE leaseWantedBy, leaseWantedAt"
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
                .chain(first)
                .chain((!is_scheduled).then_some(expired_request)),
            )
            .answering_what_was();
            match client.send(&update).await {
                Err(error) if error.is_condition_failure() => {}
                Err(error) => return Err(error.into()),
                Ok(answer) => {
                    let (was, mut state) = match understand(answer.attributes, now) {
                        Ok(understood) => understood,
                        Err(damaged) => return Err(reject(client, table, holder, damaged).await),
                    };
                    let repeated = was.task == task;
                    let is_after_dead = was.expires_at != GIVEN_BACK;
                    let dead = (was.expires_at > GIVEN_BACK).then_some(DeadHolder {
                        holder: was.holder,
                        task: was.task,
                        since: was.since,
                        attempt: was.attempt.max(1),
                    });
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
                        gives_way: !is_scheduled,
                        attempt: if repeated { was.attempt.saturating_add(1) } else { 1 },
                        state,
                        is_after_dead,
                        dead,
                    })));
                }
            }
        }
        let item = client.get(table, state_key(Granularity::Hourly), Read::Consistent).await?;
        let held = Stored::from_item(item.as_ref())?;
        let state = State::from_item(item)?.not_after(Granularity::Hourly, host.now())?;
        if held.holder != holder || held.expires_at <= GIVEN_BACK {
            return Ok(Acquired::Held(held));
        }
        // It is ours: the answer was lost, and with it who had it before.
        Ok(Acquired::Taken(Box::new(Self {
            client,
            fence: Fence::until(host.clone(), held.expires_at),
            host,
            table,
            holder: holder.to_owned(),
            gives_way: !is_scheduled,
            attempt: held.attempt,
            state,
            is_after_dead: true,
            dead: None,
        })))
    }

    /// Takes the lease, waiting for other runs. One that is not renewed runs out by itself; one that
    /// is renewed belongs to a run that ends within a few leases, or gives way to a scheduled hourly
    /// run. `None` when another run is already doing the same `task`, if that `may_be_held`.
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
        let is_scheduled = is_scheduled(task);
        let poll = if is_scheduled { POLL_SCHEDULED } else { POLL };
        let deadline = host.now() + LEASE * 4;
        let mut request_at = host.now();
        let mut acquired = Self::acquire(client, host.clone(), table, task, holder).await?;
        loop {
            let held = match acquired {
                Acquired::Taken(lease) => return Ok(Some(lease)),
                Acquired::Held(held) => held,
            };
            let now = host.now();
            if may_be_held && held.task == task {
                return Ok(None);
            }
            if now >= deadline {
                return Err(LeaseError::Busy(held.task));
            }
            if is_scheduled && now >= request_at {
                request(client, table, holder, now).await?;
                request_at = now + REQUEST / 3;
            }
            host.sleep(poll).await;
            // Cheaper than trying to take it, which is two writes.
            let item = client.get(table, state_key(Granularity::Hourly), Read::Consistent).await?;
            let held = Stored::from_item(item.as_ref())?;
            acquired = if held.is_free(is_scheduled, host.now()) {
                Self::acquire(client, host.clone(), table, task, holder).await?
            } else {
                Acquired::Held(held)
            };
        }
    }

    /// What writers ask whether they may still write.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Renews the lease for as long as it is polled; ends only when it is lost, or requested by a
    /// scheduled hourly run if it gives way.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`], always.
    pub async fn keep(&self) -> Result<Infallible, LeaseLost> {
        // A look that takes longer must not delay the renewal.
        let looking = self.client.with_patience(CHECK);
        let mut renewed_at = self.host.now();
        loop {
            self.host.sleep(if self.gives_way { CHECK } else { LEASE / 3 }).await;
            let now = self.host.now();
            let item = if self.gives_way && now < renewed_at + LEASE / 3 {
                let key = state_key(Granularity::Hourly);
                // Whether the lease is lost is for the renewal to say.
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
            let is_wanted = |item| Stored::from_item(Some(item)).is_ok_and(|it| it.is_wanted(now));
            if self.gives_way && item.as_ref().is_some_and(is_wanted) {
                return Err(LeaseLost::Wanted);
            }
        }
    }

    /// Does `work` while it keeps the lease. When that is lost or requested, the work is stopped
    /// where it is.
    pub async fn hold<T>(&self, work: impl Future<Output = T>) -> Ended<T> {
        match select(pin!(work), pin!(self.keep())).await {
            Either::Left((outcome, _)) => Ended::Done(outcome),
            Either::Right((Err(LeaseLost::Wanted), _)) => Ended::Wanted,
            Either::Right((Err(lost), _)) => Ended::Lost(lost),
            Either::Right((Ok(never), _)) => match never {},
        }
    }

    /// Gives the lease back, with what the run leaves, and whether it may have left marks in coarser
    /// granularities.
    ///
    /// # Errors
    ///
    /// [`LeaseLost::TakenOver`] when it is another run's, whose state then stands, or
    /// [`LeaseLost::Unreachable`] when DynamoDB cannot be asked; the lease then runs out by itself.
    pub async fn release(
        self,
        progress: AttributeValue,
        announcement: Option<String>,
    ) -> Result<(), LeaseLost> {
        let mut expression = "SET leaseExpiresAt = :expiry, runState = :progress".to_owned();
        let mut values = vec![(":expiry", number(&GIVEN_BACK)), (":progress", progress)];
        if let Some(announcement) = announcement {
            expression.push_str(" ADD markedBy :announcement");
            values.push((":announcement", AttributeValue::Ss(vec![announcement])));
        }
        self.end(&expression, values).await
    }

    /// Releases the lease for the scheduled hourly run that requested it, and leaves the state as it
    /// was. What was being written may still arrive: the next holder writes every record anew, as
    /// after one that died.
    ///
    /// # Errors
    ///
    /// As [`Lease::release`].
    pub async fn give_way(self) -> Result<(), LeaseLost> {
        self.end("SET leaseExpiresAt = :expiry", [(":expiry", number(&GAVE_WAY))]).await
    }

    async fn end<'name>(
        self,
        expression: &str,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Result<(), LeaseLost> {
        match self.update(expression, values).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_condition_failure() => Err(LeaseLost::TakenOver),
            Err(error) => Err(LeaseLost::Unreachable(error)),
        }
    }

    /// Changes the state item if the lease still is this run's; returns it as it is then.
    async fn update<'name>(
        &self,
        expression: &str,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Result<Option<Item>, Error> {
        update_held(self.client, self.table, &self.holder, expression, values).await
    }
}

/// The lease and the state as they were before the lease was taken.
fn understand(attributes: Option<Item>, now: DateTime<Utc>) -> Result<(Stored, State), StateError> {
    // Before there was an item, nothing is answered, or its key alone.
    let is_of_key = |name: &String| name == "PK" || name == "SK";
    let item = attributes.filter(|item| !item.keys().all(is_of_key));
    let was = Stored::from_item(item.as_ref())?;
    let state = State::from_item(item)?.not_after(Granularity::Hourly, now)?;
    Ok((was, state))
}

/// Releases the lease that was taken of a damaged state, for the run that comes when that is mended.
/// Where that fails, the lease runs out.
async fn reject(client: &Client, table: &str, holder: &str, damaged: StateError) -> LeaseError {
    let values = [(":expiry", number(&GAVE_WAY))];
    let released = update_held(client, table, holder, "SET leaseExpiresAt = :expiry", values).await;
    match released {
        Err(error) if !error.is_condition_failure() => error.into(),
        _ => damaged.into(),
    }
}

/// Changes the state item if `holder` has the lease; returns it as it is then.
async fn update_held<'name>(
    client: &Client,
    table: &str,
    holder: &str,
    expression: &str,
    values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
) -> Result<Option<Item>, Error> {
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

/// Requests the lease for the scheduled hourly run `holder`, if it still is held.
async fn request(
    client: &Client,
    table: &str,
    holder: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let at = number(&now.timestamp_millis());
    let update = UpdateItem::new(
        table,
        state_key(Granularity::Hourly),
        "SET leaseWantedBy = :holder, leaseWantedAt = :at",
        Some("leaseExpiresAt >= :at"),
        [(":holder", string(holder)), (":at", at)],
    );
    match client.send(&update).await {
        Err(error) if !error.is_condition_failure() => Err(error),
        // Done, or the lease is free by now.
        _ => Ok(()),
    }
}
