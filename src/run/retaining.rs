//! Applying a change of retention to the records there are.
//!
//! The days' state notes under which retention the records' `ttl` was last right. When the
//! configuration says something else, the daily run looks at every record of the granularities that
//! differ and changes the `ttl` where it is another one, as far as its budget goes; the next run goes
//! on.

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use crate::{
    dynamodb::{AttributeValue, Error, Item, UpdateItem, key, number, text},
    metrics::period::{Granularity, Period, parse_instant},
    store::{record::query_of_expiries, run_state::Progress},
};

use super::{Engine, Report, Run};
use crate::query::reading::MAXIMUM_CONCURRENCY;

/// A record whose `ttl` is to be changed: its key, and the new one.
struct Change {
    key: Item,
    expiry: Option<DateTime<Utc>>,
}

impl Engine {
    /// Makes the `ttl` of existing records what the configuration says; whether `progress` now says
    /// that all of them are.
    pub(super) async fn apply_retention(
        &self,
        run: &Run<'_>,
        progress: &mut Progress,
        report: &mut Report,
    ) -> bool {
        let retention = self.options.retention;
        let wanted = retention.to_string();
        // The first daily run has not applied any: it looks at all there is, which is little.
        let applied = progress.retention.clone().unwrap_or_default();
        if applied == wanted {
            return false;
        }
        let before: Vec<&str> = applied.split('/').collect();
        let mut all_done = true;
        for (index, granularity) in Granularity::ALL.into_iter().enumerate() {
            let days = retention.days(granularity).to_string();
            if before.get(index) == Some(&days.as_str()) {
                continue;
            }
            match self.change_expiries(run, granularity).await {
                Ok(done) => all_done &= done,
                Err(error) => {
                    all_done = false;
                    report.problems.push(format!(
                        "the retention of {granularity} records could not be changed: {error}"
                    ));
                }
            }
        }
        if all_done {
            progress.retention = Some(wanted);
        }
        all_done
    }

    /// Changes the `ttl` of the records of `granularity` where it is another one; whether all were
    /// changed.
    async fn change_expiries(
        &self,
        run: &Run<'_>,
        granularity: Granularity,
    ) -> Result<bool, Error> {
        if !self.has_budget(run) {
            return Ok(false);
        }
        let mut changes = Vec::new();
        let query = query_of_expiries(&self.table, granularity);
        run.client
            .query_pages(&query, |records| {
                changes
                    .extend(records.iter().filter_map(|record| self.change(record, granularity)));
            })
            .await?;
        for some in changes.chunks(100) {
            if !self.has_budget(run) {
                return Ok(false);
            }
            let mut results = stream::iter(some)
                .map(|change| self.change_expiry(run, change))
                .buffer_unordered(MAXIMUM_CONCURRENCY);
            while let Some(result) = results.next().await {
                result?;
            }
        }
        Ok(true)
    }

    fn change(&self, record: &Item, granularity: Granularity) -> Option<Change> {
        let start = text(record, "timestamp").and_then(parse_instant)?;
        let period = Period::containing(granularity, start);
        let expiry = self.options.retention.expiry(period);
        let wanted = expiry.map(|expiry| expiry.timestamp().to_string());
        let is = match record.get("ttl") {
            Some(AttributeValue::N(ttl)) => Some(ttl.clone()),
            _ => None,
        };
        let (partition, sort) = (text(record, "PK")?, text(record, "SK")?);
        (is != wanted).then(|| Change { key: key(partition, sort), expiry })
    }

    async fn change_expiry(&self, run: &Run<'_>, change: &Change) -> Result<(), Error> {
        let (expression, values) = match change.expiry {
            Some(expiry) => ("SET #ttl = :expiry", vec![(":expiry", number(&expiry.timestamp()))]),
            None => ("REMOVE #ttl", Vec::new()),
        };
        // A record that is gone by now stays gone.
        let condition = Some("attribute_exists(PK)");
        let update =
            UpdateItem::new(&self.table, change.key.clone(), expression, condition, values)
                .naming("#ttl", "ttl");
        match run.client.send(&update).await {
            Err(error) if !error.is_condition_failure() => Err(error),
            _ => Ok(()),
        }
    }
}
