//! Taking the lease, and waiting for it.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{AttributeValue, Client, DynamoDbError, Item, Read, UpdateItem, number, string},
    host::SharedHost,
    metrics::period::{Granularity, format_instant, parse_instant},
    store::{
        run_state::{State, state_key},
        stored_state::StateError,
    },
};

use super::{
    DeadHolder, Fence, GAVE_WAY, HOUR_BY_CRON, LEASE_TERM, Lease, LeaseError, RELEASED, REQUEST,
    attributes::{LeaseAttributes, oldest_request},
    expiry, update_held,
};

/// How often a waiting run looks whether the lease is free.
const POLL: Duration = Duration::from_secs(5);

/// The same for a scheduled hourly run: with every second, more of its hour is past.
const POLL_SCHEDULED: Duration = Duration::from_secs(1);

/// Who has the lease.
enum LeaseAttempt<'client> {
    /// This run.
    Taken(Box<Lease<'client>>),
    /// Another run.
    Held(LeaseAttributes),
}

/// A run that asks for the lease to do a task.
struct Applicant<'client> {
    client: &'client Client,
    host: SharedHost,
    table: &'client str,
    task: &'client str,
    holder: &'client str,
}

impl<'client> Lease<'client> {
    /// Takes the lease for `holder` to do `task`, such as an hour's start, and waits for other runs.
    /// A lease that is not renewed expires; one that is renewed belongs to a run that ends within a few
    /// terms, or gives way to a scheduled hourly run. `None` when another run is already doing the
    /// same `task`, if that `may_be_held`.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked, the state cannot be read, or others held it for too long.
    pub async fn wait_for(
        client: &'client Client,
        host: SharedHost,
        table: &'client str,
        task: &'client str,
        holder: &'client str,
        may_be_held: bool,
    ) -> Result<Option<Box<Self>>, LeaseError> {
        let applicant = Applicant { client, host, table, task, holder };
        applicant.wait(may_be_held).await
    }
}

impl<'client> Applicant<'client> {
    /// Whether the task is the scheduled run of an hour.
    fn is_scheduled(&self) -> bool {
        self.task.starts_with(HOUR_BY_CRON)
    }

    async fn wait(&self, may_be_held: bool) -> Result<Option<Box<Lease<'client>>>, LeaseError> {
        let is_scheduled = self.is_scheduled();
        let poll = if is_scheduled { POLL_SCHEDULED } else { POLL };
        let deadline = self.host.now() + LEASE_TERM * 4;
        let mut request_at = self.host.now();
        let mut attempt = self.acquire().await?;
        loop {
            let held = match attempt {
                LeaseAttempt::Taken(lease) => return Ok(Some(lease)),
                LeaseAttempt::Held(held) => held,
            };
            let now = self.host.now();
            if may_be_held && held.task == self.task {
                return Ok(None);
            }
            if now >= deadline {
                return Err(LeaseError::Busy(held.task));
            }
            if is_scheduled && now >= request_at {
                self.request(now).await?;
                request_at = now + REQUEST / 3;
            }
            self.host.sleep(poll).await;
            // Cheaper than trying to take it, which is two writes.
            let item = self.read().await?;
            let held = LeaseAttributes::from_item(item.as_ref())?;
            attempt = if held.is_free(is_scheduled, self.host.now()) {
                self.acquire().await?
            } else {
                LeaseAttempt::Held(held)
            };
        }
    }

    async fn read(&self) -> Result<Option<Item>, DynamoDbError> {
        self.client.get(self.table, state_key(Granularity::Hourly), Read::Consistent).await
    }

    /// Takes the lease if it is free.
    async fn acquire(&self) -> Result<LeaseAttempt<'client>, LeaseError> {
        const FREE: &str = "(attribute_not_exists(PK) OR attribute_exists(runState)) AND \
                            (attribute_not_exists(leaseExpiresAt) OR leaseExpiresAt < :now)";
        const UNWANTED: &str = "(attribute_not_exists(leaseWantedAt) OR leaseWantedAt < :stale)";
        let free =
            if self.is_scheduled() { FREE.to_owned() } else { format!("{FREE} AND {UNWANTED}") };
        for (attempt, condition) in [
            (":one", format!("{free} AND (attribute_not_exists(leaseTask) OR leaseTask <> :task)")),
            ("leaseAttempt + :one", format!("{free} AND leaseTask = :task")),
        ] {
            let now = self.host.now();
            match self.client.send(&self.update(attempt, &condition, now)).await {
                Err(error) if error.is_condition_failure() => {}
                Err(error) => return Err(error.into()),
                Ok(answer) => {
                    return match understand(answer.attributes, now) {
                        Ok((was, state)) => Ok(self.taken(was, state, now)),
                        Err(damaged) => Err(self.reject(damaged).await),
                    };
                }
            }
        }
        let item = self.read().await?;
        let held = LeaseAttributes::from_item(item.as_ref())?;
        let state = State::from_item(item)?.not_after(Granularity::Hourly, self.host.now())?;
        if held.holder != self.holder || held.expires_at <= RELEASED {
            return Ok(LeaseAttempt::Held(held));
        }
        // This run has it: the response was lost, and with it the holder before.
        let lease = self.lease(held.expires_at, held.attempt, state);
        Ok(LeaseAttempt::Taken(Box::new(Lease { is_after_dead: true, ..lease })))
    }

    /// The update that takes the lease and answers what was there before.
    fn update(&self, attempt: &str, condition: &str, now: DateTime<Utc>) -> UpdateItem {
        // The first counted hour is the first that a scheduled run ever started, also if that run
        // died. A state that has lost it is damaged, and must not start anew by itself.
        let first = self.task.strip_prefix(HOUR_BY_CRON).map(|start| {
            let begin = HashMap::from([("begin".to_owned(), string(start))]);
            (", runState = if_not_exists(runState, :first)", (":first", AttributeValue::M(begin)))
        });
        let (begins, first) = first.unzip();
        let begins = begins.unwrap_or_default();
        let expired_request = (":stale", number(&oldest_request(now)));
        UpdateItem::new(
            self.table,
            state_key(Granularity::Hourly),
            &format!(
                "SET leaseHolder = :holder, leaseExpiresAt = :expiry, leaseTask = :task, \
                 leaseSince = :since, EntityType = :entity, leaseAttempt = {attempt}{begins} \
                 REMOVE leaseWantedBy, leaseWantedAt"
            ),
            Some(condition),
            [
                (":holder", string(self.holder)),
                (":expiry", number(&expiry(now))),
                (":task", string(self.task)),
                (":since", string(format_instant(now))),
                (":entity", string("AnalyticsState")),
                (":one", number(&1)),
                (":now", number(&now.timestamp_millis())),
            ]
            .into_iter()
            .chain(first)
            .chain((!self.is_scheduled()).then_some(expired_request)),
        )
        .returning_old_item()
    }

    /// The lease that was taken at `now`, of the state and the lease as they were before.
    fn taken(
        &self,
        was: LeaseAttributes,
        mut state: State,
        now: DateTime<Utc>,
    ) -> LeaseAttempt<'client> {
        let attempt = if was.task == self.task { was.attempt.saturating_add(1) } else { 1 };
        let is_after_dead = was.expires_at != RELEASED;
        let dead = (was.expires_at > RELEASED).then_some(DeadHolder {
            holder: was.holder,
            task: was.task,
            since: was.since,
            attempt: was.attempt.max(1),
        });
        // The event of that hour was processed, though its run could not say so.
        let hour = dead.as_ref().and_then(|dead| dead.task.strip_prefix(HOUR_BY_CRON));
        if let Some(start) = hour.and_then(parse_instant) {
            state.progress.note_latest(start);
        }
        let lease = self.lease(expiry(now), attempt, state);
        LeaseAttempt::Taken(Box::new(Lease { dead, is_after_dead, ..lease }))
    }

    /// The lease of this run until `expires_at`, after a holder that released it.
    fn lease(&self, expires_at: i64, attempt: u32, state: State) -> Lease<'client> {
        Lease {
            client: self.client,
            fence: Fence::until(self.host.clone(), expires_at),
            host: self.host.clone(),
            table: self.table,
            holder: self.holder.to_owned(),
            gives_way: !self.is_scheduled(),
            attempt,
            state,
            is_after_dead: false,
            dead: None,
        }
    }

    /// Releases the lease that was taken of a damaged state, for the run that comes when that is
    /// mended. If that fails, the lease expires.
    async fn reject(&self, damaged: StateError) -> LeaseError {
        const EXPRESSION: &str = "SET leaseExpiresAt = :expiry";
        let values = [(":expiry", number(&GAVE_WAY))];
        match update_held(self.client, self.table, self.holder, EXPRESSION, values).await {
            Err(error) if !error.is_condition_failure() => error.into(),
            _ => damaged.into(),
        }
    }

    /// Requests the lease for a scheduled hourly run, if it still is held.
    async fn request(&self, now: DateTime<Utc>) -> Result<(), DynamoDbError> {
        let at = number(&now.timestamp_millis());
        let update = UpdateItem::new(
            self.table,
            state_key(Granularity::Hourly),
            "SET leaseWantedBy = :holder, leaseWantedAt = :at",
            Some("leaseExpiresAt >= :at"),
            [(":holder", string(self.holder)), (":at", at)],
        );
        match self.client.send(&update).await {
            Err(error) if !error.is_condition_failure() => Err(error),
            // Done, or the lease is free by now.
            _ => Ok(()),
        }
    }
}

/// The lease and the state as they were before the lease was taken.
fn understand(
    attributes: Option<Item>,
    now: DateTime<Utc>,
) -> Result<(LeaseAttributes, State), StateError> {
    // Before there was an item, nothing is answered, or its key alone.
    let is_of_key = |name: &String| name == "PK" || name == "SK";
    let item = attributes.filter(|item| !item.keys().all(is_of_key));
    let was = LeaseAttributes::from_item(item.as_ref())?;
    let state = State::from_item(item)?.not_after(Granularity::Hourly, now)?;
    Ok((was, state))
}
