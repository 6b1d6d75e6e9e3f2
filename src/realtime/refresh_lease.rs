//! The lease of a refresh: one refresh at a time in the whole world, not too often, and within the
//! writes that Workers KV includes in a day.
//!
//! Workers KV is eventually consistent, so this is decided by an item of the table,
//! `ANALYTICS_STATE` / `realtime`: who holds the lease and until when, when the snapshot was last
//! written, how often on that day, and when a write last succeeded. The item changes by conditional
//! writes: of two refreshes that read the same item, one fails. A damaged item is replaced.

use chrono::{DateTime, TimeDelta, Utc};

use super::refreshing::{RefreshOutcome, Refresher, SnapshotWrite};
use crate::{
    dynamodb::{
        AttributeValue, DynamoDbError, Item, Read, UpdateItem, number, string, to_attribute,
    },
    metrics::period::format_instant,
    store::realtime_state::{ATTRIBUTES, Quality, RealtimeState, state_key},
};

/// The duration of the lease.
const REFRESH_LEASE: TimeDelta = TimeDelta::seconds(30);

/// How long before the end of the lease the snapshot is no longer written, so that two writes are
/// never within one second, in which Workers KV accepts one.
const SNAPSHOT_WRITE_MARGIN: TimeDelta = TimeDelta::seconds(5);

/// The time between writes, except for requests for fresh figures.
pub const REFRESH_DISTANCE: TimeDelta = TimeDelta::seconds(60);

/// The time after a write in which fresh figures that are requested are not written.
pub const FRESH_DISTANCE: TimeDelta = TimeDelta::seconds(10);

/// The most writes in a day. The free plan includes 1,000; a cron event every 5 minutes makes 288.
/// Source: [Workers KV limits](https://developers.cloudflare.com/kv/platform/limits/).
pub const DAILY_WRITES: u32 = 950;

/// The number of writes in a day after which only cron events write. With 288 for the events, 600
/// is less than [`DAILY_WRITES`], so that requests never use up the writes of the events.
pub const REQUESTED_DAILY_WRITES: u32 = 600;

/// Why a refresh starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshTrigger {
    /// A cron event.
    Tick,
    /// A request found the snapshot expired or missing.
    Stale,
    /// A request for fresh figures.
    Fresh,
}

impl RefreshTrigger {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Stale => "stale",
            Self::Fresh => "fresh",
        }
    }

    /// The time between writes, and the number of writes in a day.
    fn limits(self) -> (TimeDelta, u32) {
        match self {
            Self::Tick => (REFRESH_DISTANCE, DAILY_WRITES),
            Self::Stale => (REFRESH_DISTANCE, REQUESTED_DAILY_WRITES),
            Self::Fresh => (FRESH_DISTANCE, REQUESTED_DAILY_WRITES),
        }
    }
}

/// A lease that is held.
pub(super) struct RefreshLease {
    holder: String,
    /// Until when the snapshot may be written; `None` if it may not be written.
    pub(super) writes_until: Option<DateTime<Utc>>,
}

/// Whether a refresh may count.
pub(super) enum Permission {
    /// Under a lease.
    Leased(RefreshLease),
    /// Without a lease, because the writes of the day for requests are used up: nothing is written,
    /// and no cron event must find the lease held by such a request.
    Unleased,
    /// No.
    Skipped(RefreshOutcome),
}

/// What the state allows.
enum Due {
    Lease { may_write: bool, writes_today: u32 },
    Unleased,
    Skipped(RefreshOutcome),
}

/// The state item as it was read.
struct KnownState {
    state: RealtimeState,
    /// The item, if it is damaged. It is replaced unless it has changed, and the day's number of
    /// writes is lost.
    damaged: Option<Item>,
}

impl KnownState {
    /// Whether a refresh for `trigger` is due at `now`.
    fn due(&self, trigger: RefreshTrigger, now: DateTime<Utc>) -> Due {
        let state = &self.state;
        if state.lease_expires_at > now.timestamp_millis() {
            return Due::Skipped(RefreshOutcome::Held);
        }
        let writes_today = if state.writes_of == day_of(now) { state.writes } else { 0 };
        let (distance, most) = trigger.limits();
        let since = now.timestamp_millis() - state.written_at;
        let may_write = since >= distance.num_milliseconds() && writes_today < most;
        // Fresh figures that are requested are counted in any case.
        if !may_write && trigger != RefreshTrigger::Fresh {
            return Due::Skipped(RefreshOutcome::NotDue);
        }
        if writes_today >= most { Due::Unleased } else { Due::Lease { may_write, writes_today } }
    }

    /// The condition that the item has not changed since it was read, and the values in it.
    fn unchanged(&self) -> (String, Vec<(String, AttributeValue)>) {
        if let Some(item) = &self.damaged {
            return same_attributes(item);
        }
        match &self.state.lease_holder {
            Some(holder) => {
                ("leaseHolder = :seen".to_owned(), vec![(":seen".to_owned(), string(holder))])
            }
            None => ("attribute_not_exists(leaseHolder)".to_owned(), Vec::new()),
        }
    }

    /// The update with which `holder` takes the lease at `now`.
    fn taking(
        &self,
        table: &str,
        holder: &str,
        may_write: bool,
        writes_today: u32,
        now: DateTime<Utc>,
    ) -> UpdateItem {
        let millis = now.timestamp_millis();
        let written_at = if may_write { millis } else { self.state.written_at };
        let (unchanged, seen) = self.unchanged();
        let mut values = vec![
            (":holder", string(holder)),
            (":expiry", number(&(now + REFRESH_LEASE).timestamp_millis())),
            (":entity", string("AnalyticsState")),
            (":written", number(&written_at)),
            (":today", string(day_of(now))),
            (":writes", number(&(writes_today + u32::from(may_write)))),
            (":refreshed", number(&self.state.refreshed_at.unwrap_or(millis))),
        ];
        values.extend(seen.iter().map(|(name, value)| (name.as_str(), value.clone())));
        UpdateItem::new(
            table,
            state_key(),
            "SET leaseHolder = :holder, leaseExpiresAt = :expiry, EntityType = :entity, \
             writtenAt = :written, writesOf = :today, writes = :writes, refreshedAt = :refreshed",
            // The holder's own lease is free for it: the response to a first attempt may be lost.
            Some(&format!("({unchanged}) OR leaseHolder = :holder")),
            values,
        )
    }
}

/// The date in UTC, such as `2026-03-01`.
fn day_of(instant: DateTime<Utc>) -> String {
    let mut day = format_instant(instant);
    day.truncate("2026-03-01".len());
    day
}

/// The condition that the item has the attributes of `item`, and the values in it.
fn same_attributes(item: &Item) -> (String, Vec<(String, AttributeValue)>) {
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
    /// Takes the lease if a refresh is due. The second of the pair are problems on the way.
    pub(super) async fn acquire(
        &self,
        trigger: RefreshTrigger,
    ) -> (Result<Permission, DynamoDbError>, Vec<String>) {
        let item = match self.client.get(self.table, state_key(), Read::Consistent).await {
            Ok(item) => item,
            Err(error) => return (Err(error), Vec::new()),
        };
        let now = self.host.now();
        let mut problems = Vec::new();
        let known = match RealtimeState::from_item(item.clone(), now) {
            Ok(state) => KnownState { state, damaged: None },
            Err(error) => {
                problems.push(format!("{error}. It is replaced"));
                KnownState { state: RealtimeState::default(), damaged: item }
            }
        };
        let (may_write, writes_today) = match known.due(trigger, now) {
            Due::Lease { may_write, writes_today } => (may_write, writes_today),
            Due::Unleased => return (Ok(Permission::Unleased), problems),
            Due::Skipped(outcome) => return (Ok(Permission::Skipped(outcome)), problems),
        };
        let holder = match self.host.random() {
            Ok(random) => format!("{random:032x}"),
            Err(error) => {
                problems.push(error.to_string());
                return (Ok(Permission::Skipped(RefreshOutcome::NotDue)), problems);
            }
        };
        let update = known.taking(self.table, &holder, may_write, writes_today, now);
        let permission = match self.client.send(&update).await {
            Ok(_) => {
                let writes_until = may_write.then_some(now + REFRESH_LEASE - SNAPSHOT_WRITE_MARGIN);
                Ok(Permission::Leased(RefreshLease { holder, writes_until }))
            }
            Err(error) if error.is_condition_failure() => {
                Ok(Permission::Skipped(RefreshOutcome::Held))
            }
            Err(error) => Err(error),
        };
        (permission, problems)
    }

    /// Releases the lease and stores when the snapshot was written and which items are malformed. A
    /// lease that cannot be released expires. Returns the problems on the way.
    pub(super) async fn release(
        &self,
        lease: &RefreshLease,
        write: &SnapshotWrite,
        quality: Option<&Quality>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let mut update = "SET leaseExpiresAt = :free".to_owned();
        let mut values = vec![(":free", number(&0)), (":holder", string(&lease.holder))];
        match quality.map(to_attribute).transpose() {
            Ok(Some(quality)) => {
                update.push_str(", quality = :quality");
                values.push((":quality", quality));
            }
            Ok(None) => {}
            Err(error) => {
                problems.push(format!("the shares of malformed items were not stored: {error}"));
            }
        }
        if let Some(at) = write.attempted_at() {
            update.push_str(", writtenAt = :written");
            if matches!(write, SnapshotWrite::Stored { .. }) {
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
                let until = format_instant(self.host.now() + REFRESH_LEASE);
                problems.push(format!(
                    "the lease could not be released and expires by {until}: {error}"
                ));
            }
        }
        problems
    }
}
