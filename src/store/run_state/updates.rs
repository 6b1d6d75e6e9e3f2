//! The writes of the run state: marks, announcements, refreshes, progress.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    dynamodb::{AttributeValue, Client, DynamoDbError, MappingError, UpdateItem, number, string},
    metrics::period::{Granularity, Period},
    store::marks::entry,
};

use super::{Progress, SETTLED_AFTER, state_key};

/// How far behind the index may be that responses are read from; mostly it is less than a second.
const INDEX_LAG: TimeDelta = TimeDelta::minutes(1);

/// Adds `marks` of stale periods: what those are computed from is about to change. Responses that were
/// cached before do not show that, and are not used again.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn mark_stale(
    client: &Client,
    table: &str,
    granularity: Granularity,
    marks: Vec<String>,
) -> Result<(), DynamoDbError> {
    let update = UpdateItem::new(
        table,
        state_key(granularity),
        "ADD staleMarks :marks, cacheVersion :one SET EntityType = :entity",
        None,
        [
            (":marks", AttributeValue::Ss(marks)),
            (":one", number(&1)),
            (":entity", string("AnalyticsState")),
        ],
    );
    client.send(&update).await.map(|_| ())
}

/// Announces in the state of the hours that a run may leave marks in the coarser granularities.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn announce(
    client: &Client,
    table: &str,
    announcement: &str,
) -> Result<(), DynamoDbError> {
    let update = UpdateItem::new(
        table,
        state_key(Granularity::Hourly),
        "ADD markedBy :entry",
        // Without a state of the hours no hour was counted, and hourly runs have nothing to refresh.
        Some("attribute_exists(runState)"),
        [(":entry", AttributeValue::Ss(vec![announcement.to_owned()]))],
    );
    match client.send(&update).await {
        Err(error) if !error.is_condition_failure() => Err(error),
        _ => Ok(()),
    }
}

/// Removes announcements of runs that left no mark, or whose marks are removed.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn withdraw(
    client: &Client,
    table: &str,
    announcements: Vec<String>,
) -> Result<(), DynamoDbError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let values = [(":entries", AttributeValue::Ss(announcements))];
    let key = state_key(Granularity::Hourly);
    let update = UpdateItem::new(table, key, "DELETE markedBy :entries", None, values);
    client.send(&update).await.map(|_| ())
}

/// Announces that existing records of `granularity` are about to change: responses that were cached
/// before are not used again, and none is cached until the writer must have ended.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn unsettle(
    client: &Client,
    table: &str,
    granularity: Granularity,
    now: DateTime<Utc>,
) -> Result<(), DynamoDbError> {
    // The index that responses are read from is a moment behind.
    let until = now + SETTLED_AFTER + INDEX_LAG;
    let update = UpdateItem::new(
        table,
        state_key(granularity),
        "ADD cacheVersion :one SET unsettledUntil = :until, EntityType = :entity",
        None,
        [
            (":one", number(&1)),
            (":until", number(&until.timestamp_millis())),
            (":entity", string("AnalyticsState")),
        ],
    );
    client.send(&update).await.map(|_| ())
}

/// Notes that marked periods were refreshed from what was stored at these instants.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn note_refreshed(
    client: &Client,
    table: &str,
    refreshed: &[(Period, DateTime<Utc>)],
) -> Result<(), DynamoDbError> {
    let Some((first, _)) = refreshed.first() else { return Ok(()) };
    let entries = refreshed.iter().map(|(period, at)| entry(*period, *at, None)).collect();
    let update = UpdateItem::new(
        table,
        state_key(first.granularity()),
        "ADD refreshes :refreshes SET EntityType = :entity",
        None,
        [(":refreshes", AttributeValue::Ss(entries)), (":entity", string("AnalyticsState"))],
    );
    client.send(&update).await.map(|_| ())
}

/// What a run removes from the state.
#[derive(Debug, Default)]
pub struct Settled {
    /// Marks.
    pub marks: Vec<String>,
    /// Refreshes.
    pub refreshes: Vec<String>,
}

/// The state of a run could not be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateWriteError {
    /// It cannot be mapped.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// DynamoDB failed.
    #[error(transparent)]
    DynamoDb(#[from] DynamoDbError),
}

/// Writes the progress of a run without a lease, and removes what is `settled`.
///
/// # Errors
///
/// [`StateWriteError`].
pub async fn write_progress(
    client: &Client,
    table: &str,
    granularity: Granularity,
    progress: &Progress,
    settled: Settled,
) -> Result<(), StateWriteError> {
    let progress = progress.to_attribute()?;
    let mut values = vec![(":progress", progress), (":entity", string("AnalyticsState"))];
    let removal = settled.removal(&mut values);
    let expression = format!("SET runState = :progress, EntityType = :entity {removal}");
    let update = UpdateItem::new(table, state_key(granularity), expression.trim(), None, values);
    client.send(&update).await?;
    Ok(())
}

/// Removes what is `settled` from the state of `granularity`.
///
/// # Errors
///
/// When DynamoDB cannot be asked.
pub async fn remove_settled(
    client: &Client,
    table: &str,
    granularity: Granularity,
    settled: Settled,
) -> Result<(), DynamoDbError> {
    if settled.marks.is_empty() && settled.refreshes.is_empty() {
        return Ok(());
    }
    let mut values = Vec::new();
    let removal = settled.removal(&mut values);
    let update = UpdateItem::new(table, state_key(granularity), &removal, None, values);
    client.send(&update).await.map(|_| ())
}

impl Settled {
    /// Removes also what `other` removes.
    pub fn add(&mut self, other: Self) {
        self.marks.extend(other.marks);
        self.refreshes.extend(other.refreshes);
    }

    /// The clause that removes it, whose values are added to `values`; empty if there is nothing.
    fn removal(self, values: &mut Vec<(&str, AttributeValue)>) -> String {
        let mut removed = Vec::new();
        for (attribute, placeholder, entries) in
            [("staleMarks", ":marks", self.marks), ("refreshes", ":refreshes", self.refreshes)]
        {
            if !entries.is_empty() {
                removed.push(format!("{attribute} {placeholder}"));
                values.push((placeholder, AttributeValue::Ss(entries)));
            }
        }
        if removed.is_empty() { String::new() } else { format!("DELETE {}", removed.join(", ")) }
    }
}
