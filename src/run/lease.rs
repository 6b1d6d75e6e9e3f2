//! Leases: at most one run works on a period at a time.
//!
//! A lease is an item, taken by a conditional write, renewed while the run works, given back at its
//! end. A holder that died is replaced when its lease runs out. A holder that comes back late does
//! no harm: every record is written on the condition that it still is what the run read.

use std::{convert::Infallible, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    dynamodb::{Client, Error, Item, PutItem, UpdateItem, key, number, string},
    host::SharedHost,
    period::{Period, format_instant},
};

/// How long a lease holds without being renewed: several times the longest wait of one request, so
/// that a slow run keeps it, short enough that a repeated event finds a dead one free.
pub const LEASE: Duration = Duration::from_secs(90);

/// How long DynamoDB keeps the item of a lease after it has run out.
const KEPT_SECONDS: i64 = 24 * 60 * 60;

/// A lease that this run holds.
pub struct Lease<'client> {
    client: &'client Client,
    host: SharedHost,
    table: &'client str,
    period: Period,
    holder: String,
}

/// Another run has taken the lease over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LeaseLost {
    /// It ran out and another run took it.
    #[error("another run took the lease over")]
    TakenOver,
    /// It could not be renewed.
    #[error("the lease could not be renewed: {0}")]
    Unreachable(Error),
}

fn lease_key(period: Period) -> Item {
    key(format!("ANALYTICS_LEASE#{}", period.granularity()), format_instant(period.start()))
}

fn expiry(now: DateTime<Utc>) -> i64 {
    (now + LEASE).timestamp_millis()
}

impl<'client> Lease<'client> {
    /// Takes the lease of `period` for `holder`; `None` if another run holds it.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked.
    pub async fn acquire(
        client: &'client Client,
        host: SharedHost,
        table: &'client str,
        period: Period,
        holder: String,
    ) -> Result<Option<Self>, Error> {
        let now = host.now();
        let mut item = lease_key(period).into_inner();
        item.insert("EntityType".to_owned(), string("AnalyticsLease"));
        item.insert("holder".to_owned(), string(&holder));
        item.insert("expiresAt".to_owned(), number(&expiry(now)));
        item.insert("ttl".to_owned(), number(&(now.timestamp() + KEPT_SECONDS)));
        // The holder's own lease counts as free: the answer to a first attempt may have been lost.
        let put = PutItem::new(table, Item::from(item)).only_if(
            "attribute_not_exists(PK) OR expiresAt < :now OR holder = :holder",
            [(":now", number(&now.timestamp_millis())), (":holder", string(&holder))],
        );
        match client.send(&put).await {
            Ok(_) => Ok(Some(Self { client, host, table, period, holder })),
            Err(error) if error.is_condition_failure() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease for as long as it is polled; ends only when it is lost.
    pub async fn keep(&self) -> Result<Infallible, LeaseLost> {
        loop {
            self.host.sleep(LEASE / 3).await;
            match self.set_expiry(expiry(self.host.now())).await {
                Ok(()) => {}
                Err(error) if error.is_condition_failure() => return Err(LeaseLost::TakenOver),
                Err(error) => return Err(LeaseLost::Unreachable(error)),
            }
        }
    }

    /// Gives the lease back.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked; the lease then runs out by itself. A lease that another run
    /// has taken over is no error.
    pub async fn release(self) -> Result<(), Error> {
        match self.set_expiry(0).await {
            Err(error) if !error.is_condition_failure() => Err(error),
            _ => Ok(()),
        }
    }

    async fn set_expiry(&self, milliseconds: i64) -> Result<(), Error> {
        let update = UpdateItem::new(
            self.table,
            lease_key(self.period),
            "SET expiresAt = :expiry",
            Some("holder = :holder"),
            [(":expiry", number(&milliseconds)), (":holder", string(&self.holder))],
        );
        self.client.send(&update).await.map(|_| ())
    }
}
