//! Applying a change of retention to the records that are stored.
//!
//! The state of the days notes under which retention the `ttl` of the records was last right. If the
//! configuration says something else, the daily run looks at every record of the granularities that
//! differ and changes the `ttl` where it is another one, as far as its budget goes; the next run
//! continues.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use crate::{
    dynamodb::{AttributeValue, DynamoDbError, Item, UpdateItem, key, number, text},
    metrics::{
        period::{Granularity, Period, parse_instant},
        retention::Retention,
    },
    query::reading::MAXIMUM_CONCURRENCY,
    store::record::query_of_expiries,
};

use super::{context::Context, problem::RunProblem};

/// A record whose `ttl` is to be changed: its key, and the new one.
struct ExpiryChange {
    key: Item,
    expiry: Option<DateTime<Utc>>,
}

/// What came of applying the retention.
#[derive(Default)]
pub(super) struct AppliedRetention {
    /// The retention that now holds for all records, if it is another one than before.
    pub(super) applied: Option<String>,
    pub(super) problems: Vec<RunProblem>,
}

/// Sets the `ttl` of existing records to what the configuration says, if that was last `applied`
/// otherwise.
pub(super) async fn apply_retention(
    context: &Context<'_>,
    applied: Option<&str>,
) -> AppliedRetention {
    let retention = context.options.retention;
    let wanted = retention.to_string();
    // The first daily run has not applied any: it looks at all records, which are few.
    let applied = applied.unwrap_or_default();
    let mut result = AppliedRetention::default();
    if applied == wanted {
        return result;
    }
    let before: Vec<&str> = applied.split('/').collect();
    let mut all_done = true;
    for (index, granularity) in Granularity::ALL.into_iter().enumerate() {
        let days = retention.days(granularity).to_string();
        if before.get(index) == Some(&days.as_str()) {
            continue;
        }
        match change_expiries(context, granularity).await {
            Ok(done) => all_done &= done,
            Err(error) => {
                all_done = false;
                result.problems.push(RunProblem::Retention(granularity, error));
            }
        }
    }
    result.applied = all_done.then_some(wanted);
    result
}

/// Changes the `ttl` of the records of `granularity` where it is another one; whether all were
/// changed.
async fn change_expiries(
    context: &Context<'_>,
    granularity: Granularity,
) -> Result<bool, DynamoDbError> {
    if !context.has_budget() {
        return Ok(false);
    }
    let retention = context.options.retention;
    let mut changes = Vec::new();
    let query = query_of_expiries(context.table, granularity);
    context
        .client
        .query_pages(&query, |records| {
            let of = |record| change(record, granularity, retention);
            changes.extend(records.iter().filter_map(of));
        })
        .await?;
    for some in changes.chunks(100) {
        if !context.has_budget() {
            return Ok(false);
        }
        let mut results = stream::iter(some)
            .map(|change| change_expiry(context, change))
            .buffer_unordered(MAXIMUM_CONCURRENCY);
        while let Some(result) = results.next().await {
            result?;
        }
    }
    Ok(true)
}

/// How the record's `ttl` is to be changed; `None` if it is right.
fn change(record: &Item, granularity: Granularity, retention: Retention) -> Option<ExpiryChange> {
    let start = text(record, "timestamp").and_then(parse_instant)?;
    let expiry = retention.expiry(Period::containing(granularity, start));
    let wanted = expiry.map(|expiry| expiry.timestamp().to_string());
    let is = match record.get("ttl") {
        Some(AttributeValue::N(ttl)) => Some(ttl.clone()),
        _ => None,
    };
    let (partition, sort) = (text(record, "PK")?, text(record, "SK")?);
    (is != wanted).then(|| ExpiryChange { key: key(partition, sort), expiry })
}

async fn change_expiry(context: &Context<'_>, change: &ExpiryChange) -> Result<(), DynamoDbError> {
    let (expression, values) = match change.expiry {
        Some(expiry) => ("SET #ttl = :expiry", vec![(":expiry", number(&expiry.timestamp()))]),
        None => ("REMOVE #ttl", Vec::new()),
    };
    // A record that is gone by now stays gone.
    let condition = Some("attribute_exists(PK)");
    let update = UpdateItem::new(context.table, change.key.clone(), expression, condition, values)
        .naming("#ttl", "ttl");
    match context.client.send(&update).await {
        Err(error) if !error.is_condition_failure() => Err(error),
        _ => Ok(()),
    }
}
