//! Refreshing the snapshot: one at a time in the whole world, not too often, and within the writes
//! that Workers KV gives away in a day.
//!
//! KV cannot tell what was just written, so all of this is decided in an item of the table,
//! `ANALYTICS_STATE` / `realtime`: who is refreshing and until when, when the snapshot was last
//! written, how often today, when that last succeeded, and what is wrong with the items. It changes by
//! conditional writes: of two that read the same item one finds it changed. A damaged item is replaced.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::{
    dynamodb::{
        AttributeValue, Client, Error, Item, Read, UpdateItem, number, string, to_attribute,
    },
    host::{KvError, Severity, SharedHost},
    metrics::{
        catalogue::{Catalogue, definition::Rollup},
        ordered::Ordered,
        period::format_instant,
    },
};

use super::{Snapshot, SnapshotStore, count};
use crate::store::realtime_state::{ATTRIBUTES, Quality, RealtimeState, state_key};

/// How long a refresh may take before another one may begin.
const LEASE: TimeDelta = TimeDelta::seconds(30);

/// How long before its end a lease no longer allows the snapshot to be written, so that two writes
/// are never within the second in which KV takes one.
const MARGIN: TimeDelta = TimeDelta::seconds(5);

/// How long after a write the snapshot is fresh enough for everybody who did not ask for a fresh one.
pub const REFRESH_DISTANCE: TimeDelta = TimeDelta::seconds(60);

/// How long after a write a fresh snapshot that was asked for is not written.
pub const FRESH_DISTANCE: TimeDelta = TimeDelta::seconds(10);

/// How many writes a day may have. The free plan has 1,000; a tick every five minutes takes 288.
/// Source: [Workers KV limits](https://developers.cloudflare.com/kv/platform/limits/).
pub const DAILY_WRITES: u32 = 950;

/// After how many writes of a day only ticks still write: 600 and 288 are less than
/// [`DAILY_WRITES`], so whatever is asked for, no tick lacks its write.
pub const REQUESTED_DAILY_WRITES: u32 = 600;

/// Why a refresh is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The cron event.
    Tick,
    /// A request found the snapshot expired or missing.
    Stale,
    /// A request asked for fresh figures.
    Fresh,
}

/// What became of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The counters were made.
    Counted(Snapshot),
    /// Another refresh is under way.
    Held,
    /// The last one is too recent, or the day's writes are used up.
    NotDue,
}

/// Makes the snapshot and puts it into the store.
pub struct Refresher<'app> {
    /// The client of the platform's table.
    pub client: Client,
    /// Time, randomness, log.
    pub host: SharedHost,
    /// The platform's table.
    pub table: &'app str,
    /// The catalogue of metrics.
    pub catalogue: &'app Catalogue,
    /// Where the snapshot is kept.
    pub store: &'app dyn SnapshotStore,
}

/// A lease that was taken.
struct Lease {
    holder: String,
    /// Until when the snapshot may be written; `None` where it may not.
    writes_until: Option<DateTime<Utc>>,
}

/// An attempt to store the snapshot.
struct Written {
    at: DateTime<Utc>,
    succeeded: bool,
}

enum Acquired {
    Taken(Lease),
    /// Nothing more is written today for those who ask: there is nothing to keep apart, and no tick
    /// must find the lease taken for it.
    NotNeeded,
    Not(Outcome),
}

/// The condition that the item still has the attributes that were read, with the values that it
/// names.
fn unchanged(item: &Item) -> (String, Vec<(String, AttributeValue)>) {
    let mut values = Vec::new();
    let conditions: Vec<String> = ATTRIBUTES
        .iter()
        .enumerate()
        .map(|(index, name)| match item.get(*name) {
            Some(value) => {
                let placeholder = format!(":seen{index}");
                let condition = format!("{name} = {placeholder}");
                values.push((placeholder, value.clone()));
                condition
            }
            None => format!("attribute_not_exists({name})"),
        })
        .collect();
    (conditions.join(" AND "), values)
}

impl Refresher<'_> {
    /// Makes the counters and stores them, unless somebody else is at it or it is too soon. Logs one
    /// line that says what was done.
    ///
    /// # Errors
    ///
    /// When DynamoDB cannot be asked.
    pub async fn refresh(&self, occasion: Occasion) -> Result<Outcome, Error> {
        let begun = self.host.now();
        let (mut problems, mut quality) = (Vec::new(), Quality::default());
        let outcome = self.try_refresh(occasion, &mut problems, &mut quality).await;
        let status = match &outcome {
            Ok(Outcome::Counted(_)) if problems.is_empty() => "complete",
            Ok(Outcome::Counted(_)) => "partial",
            Ok(Outcome::Held) => "held",
            Ok(Outcome::NotDue) => "not due",
            Err(error) => {
                problems.push(error.to_string());
                "failed"
            }
        };
        let usage = self.client.meter().total();
        let occasion = match occasion {
            Occasion::Tick => "tick",
            Occasion::Stale => "stale",
            Occasion::Fresh => "fresh",
        };
        let malformed: BTreeMap<&String, u64> =
            quality.malformed.iter().map(|(name, rows)| (name, rows.malformed)).ordered_map();
        let line = json!({
            "event": "realtime", "malformed": malformed, "occasion": occasion,
            "status": status, "problems": problems,
            "requests": usage.requests, "pages": usage.pages,
            "readUnits": usage.read_units, "writeUnits": usage.write_units,
            "milliseconds": (self.host.now() - begun).num_milliseconds(),
        });
        let severity = if problems.is_empty() { Severity::Info } else { Severity::Error };
        self.host.log(severity, &line);
        outcome
    }

    async fn try_refresh(
        &self,
        occasion: Occasion,
        problems: &mut Vec<String>,
        quality: &mut Quality,
    ) -> Result<Outcome, Error> {
        let lease = match self.acquire(occasion, problems).await? {
            Acquired::Taken(lease) => lease,
            Acquired::NotNeeded => {
                return self.count(problems, quality).await.map(Outcome::Counted);
            }
            Acquired::Not(outcome) => return Ok(outcome),
        };
        let counted = self.count(problems, quality).await;
        let mut written = None;
        if let Ok(snapshot) = &counted {
            written = self.write(&lease, snapshot, problems).await;
        }
        let quality = counted.is_ok().then_some(&*quality);
        self.release(&lease, written, quality, problems).await;
        counted.map(Outcome::Counted)
    }

    async fn count(
        &self,
        problems: &mut Vec<String>,
        quality: &mut Quality,
    ) -> Result<Snapshot, Error> {
        let at = self.host.now();
        let mut counted = count(&self.client, self.table, self.catalogue, at).await?;
        problems.append(&mut counted.problems);
        *quality = counted.quality;
        let mut snapshot = counted.snapshot;
        self.carry(&mut snapshot, problems).await;
        Ok(snapshot)
    }

    /// Keeps totals of which there is no record any more as the stored snapshot has them: they are
    /// as right as they were, and say when that was. Where they are answered it is seen to that none
    /// outlives the retention of its record ([`Snapshot::within`]).
    async fn carry(&self, snapshot: &mut Snapshot, problems: &mut Vec<String>) {
        let missing: Vec<&str> = self
            .catalogue
            .metrics()
            .iter()
            .filter(|metric| metric.rollup == Rollup::Last)
            .map(|metric| metric.name.as_str())
            .filter(|name| snapshot.counter(name).is_none())
            .collect();
        if missing.is_empty() {
            return;
        }
        match self.store.get().await {
            Ok(stored) => {
                let stored = stored.as_deref().and_then(Snapshot::parse);
                let counters = stored.into_iter().flat_map(|stored| stored.counters);
                snapshot.counters.extend(
                    counters.filter(|counter| missing.contains(&counter.metric_key.as_str())),
                );
            }
            Err(why) => problems.push(format!("the stored snapshot could not be read: {why}")),
        }
    }

    /// Stores the snapshot while the lease allows it; says when that was, and whether it succeeded.
    async fn write(
        &self,
        lease: &Lease,
        snapshot: &Snapshot,
        problems: &mut Vec<String>,
    ) -> Option<Written> {
        let until = lease.writes_until?;
        if self.host.now() >= until {
            problems.push("counting took too long; the snapshot was not stored".to_owned());
            return None;
        }
        let written = match serde_json::to_string(snapshot) {
            Ok(text) => self.store.put(text).await,
            Err(error) => Err(KvError::Write(error.to_string())),
        };
        let succeeded = written.is_ok();
        if let Err(why) = written {
            problems.push(format!("the snapshot could not be stored: {why}"));
        }
        // Also one that failed may have been a write.
        Some(Written { at: self.host.now(), succeeded })
    }

    async fn acquire(
        &self,
        occasion: Occasion,
        problems: &mut Vec<String>,
    ) -> Result<Acquired, Error> {
        let item = self.client.get(self.table, state_key(), Read::Consistent).await?;
        let now = self.host.now();
        // A damaged item is replaced by a fresh state if it has not changed meanwhile. The day's
        // count of writes is lost with it.
        let (stored, damaged) = match RealtimeState::from_item(item.clone(), now) {
            Ok(stored) => (stored, None),
            Err(error) => {
                problems.push(format!("{error}; it is replaced"));
                (RealtimeState::default(), item)
            }
        };
        if stored.lease_expires_at > now.timestamp_millis() {
            return Ok(Acquired::Not(Outcome::Held));
        }
        let mut today = format_instant(now);
        today.truncate("2026-03-01".len());
        let writes = if stored.writes_of == today { stored.writes } else { 0 };
        let (distance, most) = match occasion {
            Occasion::Tick => (REFRESH_DISTANCE, DAILY_WRITES),
            Occasion::Stale => (REFRESH_DISTANCE, REQUESTED_DAILY_WRITES),
            Occasion::Fresh => (FRESH_DISTANCE, REQUESTED_DAILY_WRITES),
        };
        let since = now.timestamp_millis() - stored.written_at;
        let may_write = since >= distance.num_milliseconds() && writes < most;
        // Fresh figures that were asked for are made in any case.
        if !may_write && occasion != Occasion::Fresh {
            return Ok(Acquired::Not(Outcome::NotDue));
        }
        if writes >= most {
            return Ok(Acquired::NotNeeded);
        }
        let holder = match self.host.random() {
            Ok(random) => format!("{random:032x}"),
            Err(error) => {
                problems.push(error.to_string());
                return Ok(Acquired::Not(Outcome::NotDue));
            }
        };
        let written_at = if may_write { now.timestamp_millis() } else { stored.written_at };
        let (seen, seen_values) = if let Some(item) = &damaged {
            unchanged(item)
        } else if let Some(holder) = &stored.lease_holder {
            ("leaseHolder = :seen".to_owned(), vec![(":seen".to_owned(), string(holder))])
        } else {
            ("attribute_not_exists(leaseHolder)".to_owned(), Vec::new())
        };
        let mut values = vec![
            (":holder", string(&holder)),
            (":expiry", number(&(now + LEASE).timestamp_millis())),
            (":entity", string("AnalyticsState")),
            (":written", number(&written_at)),
            (":today", string(today)),
            (":writes", number(&(writes + u32::from(may_write)))),
            (":refreshed", number(&stored.refreshed_at.unwrap_or(now.timestamp_millis()))),
        ];
        values.extend(seen_values.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let update = UpdateItem::new(
            self.table,
            state_key(),
            "SET leaseHolder = :holder, leaseExpiresAt = :expiry, EntityType = :entity, \
             writtenAt = :written, writesOf = :today, writes = :writes, refreshedAt = :refreshed",
            // A holder's own lease counts as free: the answer to a first attempt may have been lost.
            Some(&format!("({seen}) OR leaseHolder = :holder")),
            values,
        );
        match self.client.send(&update).await {
            Ok(_) => {
                let writes_until = may_write.then_some(now + LEASE - MARGIN);
                Ok(Acquired::Taken(Lease { holder, writes_until }))
            }
            Err(error) if error.is_condition_failure() => Ok(Acquired::Not(Outcome::Held)),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, with what is wrong with the items that were counted; one that cannot be
    /// given back runs out.
    async fn release(
        &self,
        lease: &Lease,
        written: Option<Written>,
        quality: Option<&Quality>,
        problems: &mut Vec<String>,
    ) {
        let mut update = "SET leaseExpiresAt = :free".to_owned();
        let mut values = vec![(":free", number(&0)), (":holder", string(&lease.holder))];
        match quality.map(to_attribute).transpose() {
            Ok(Some(quality)) => {
                update.push_str(", quality = :quality");
                values.push((":quality", quality));
            }
            Ok(None) => {}
            Err(error) => problems.push(format!("what is malformed cannot be stored: {error}")),
        }
        if let Some(Written { at, succeeded }) = written {
            update.push_str(", writtenAt = :written");
            if succeeded {
                update.push_str(", refreshedAt = :written");
            }
            values.push((":written", number(&at.timestamp_millis())));
        }
        let holds = Some("leaseHolder = :holder");
        let update = UpdateItem::new(self.table, state_key(), &update, holds, values);
        match self.client.send(&update).await {
            Ok(_) => {}
            Err(error) if error.is_condition_failure() => {}
            Err(error) => {
                let until = format_instant(self.host.now() + LEASE);
                problems.push(format!("the lease runs out by itself, before {until}: {error}"));
            }
        }
    }
}
