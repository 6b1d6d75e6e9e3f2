//! The running period so far (`current=true` of `GET /metrics`): an hour from the items that can be
//! read by key range, a day from its hours so far, a week or a month from its days and the hours of
//! today. Nothing of it is stored.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Map;

use crate::{
    metrics::{
        catalogue::Catalogue,
        maker::Maker,
        period::{Granularity, Period, Span},
        record::Record,
        rollup::{finer_periods, roll_up},
    },
    query::{
        plan::{is_key_range, plan},
        reading::read,
    },
    store::record::record_key,
};

use super::{App, RequestId, error::ApiError};

/// A record of the running period.
pub struct RunningRecord {
    /// The record, which is not stored.
    pub record: Record,
    /// Everything before this instant is in it.
    pub as_of: DateTime<Utc>,
}

/// The records of the running period of `granularity` at `now`, of `metric_type` or of all types. A type
/// without any value yet has no record.
///
/// # Errors
///
/// When DynamoDB fails.
pub async fn running_records(
    app: &App,
    granularity: Granularity,
    metric_type: Option<&str>,
    now: DateTime<Utc>,
    request_id: &RequestId,
) -> Result<Vec<RunningRecord>, ApiError> {
    let types: Vec<&str> = app
        .catalogue
        .recorded_types()
        .filter(|name| metric_type.is_none_or(|only| only == *name))
        .collect();
    let running = Period::containing(granularity, now);
    if granularity == Granularity::Hourly {
        return Ok(running_hour(app, running, &types, now, request_id).await);
    }
    let today = Period::containing(Granularity::Daily, now);
    let over = |finer: &Period| finer.end() < now;
    let hours: Vec<Period> = finer_periods(today).into_iter().filter(over).collect();
    let days: Vec<Period> = match granularity {
        Granularity::Weekly | Granularity::Monthly => {
            finer_periods(running).into_iter().filter(over).collect()
        }
        Granularity::Hourly | Granularity::Daily => Vec::new(),
    };
    let stored = stored(app, &types, hours.iter().chain(&days), request_id).await?;
    let of_type = |name: &str| -> Result<Option<RunningRecord>, ApiError> {
        let records = |periods: &[Period]| -> Vec<Option<&Record>> {
            periods.iter().map(|at| stored.get(&(name.to_owned(), *at))).collect()
        };
        let so_far = rolled_up(&app.catalogue, name, today, &records(&hours), now)?;
        if granularity == Granularity::Daily {
            return Ok(so_far);
        }
        let mut finer = records(&days);
        finer.extend(so_far.iter().map(|today| Some(&today.record)));
        let whole = rolled_up(&app.catalogue, name, running, &finer, now)?;
        let as_of = so_far.as_ref().map(|today| today.as_of);
        Ok(whole.map(|whole| RunningRecord { as_of: as_of.unwrap_or(whole.as_of), ..whole }))
    };
    let mut found = Vec::new();
    for name in types {
        found.extend(of_type(name)?);
    }
    Ok(found)
}

/// The flows of the running hour whose items can be read by key range, as of `now`. A flow that cannot be
/// read is absent, and logged.
async fn running_hour(
    app: &App,
    hour: Period,
    types: &[&str],
    now: DateTime<Utc>,
    request_id: &RequestId,
) -> Vec<RunningRecord> {
    let catalogue = &app.catalogue;
    let readable: Vec<_> = catalogue
        .metrics()
        .iter()
        .filter(|metric| types.contains(&metric.type_name.as_str()))
        .filter(|metric| {
            let mut sources = metric.source_names().peekable();
            sources.peek().is_some()
                && sources.all(|(_, name)| {
                    catalogue.source(name).is_some_and(|source| is_key_range(source, metric))
                })
        })
        .collect();
    let spans = [Span::until(hour.start(), now)];
    let passes = plan(catalogue, readable.iter().copied(), &spans, &app.settings.table);
    let mut findings = read(&app.client, passes).await;
    for (name, why) in &findings.failures {
        let reason = format!("{name} of the running hour: {why}");
        app.log_problem(request_id, "running_period", &reason);
    }
    let mut by_type: BTreeMap<&str, Map<String, serde_json::Value>> = BTreeMap::new();
    for metric in readable {
        let outcomes = findings.outcomes.remove(&metric.name).into_iter().flatten();
        for value in outcomes.filter_map(|outcome| outcome.value) {
            by_type.entry(&metric.type_name).or_default().insert(metric.name.clone(), value);
        }
    }
    by_type
        .into_iter()
        .map(|(name, metrics)| RunningRecord {
            record: Record { metrics, ..empty(name, hour, now) },
            as_of: now,
        })
        .collect()
}

/// Reads the records of `types` in `periods`. A record that cannot be read is logged and left out.
async fn stored(
    app: &App,
    types: &[&str],
    periods: impl Iterator<Item = &Period> + Clone,
    request_id: &RequestId,
) -> Result<HashMap<(String, Period), Record>, ApiError> {
    let keys = types
        .iter()
        .flat_map(|name| periods.clone().map(|period| record_key(name, *period)))
        .collect();
    let read = crate::dynamodb::Read::Eventual;
    let items = app.client.batch_get(&app.settings.table, keys, read).await?;
    let mut records = HashMap::with_capacity(items.len());
    for item in items {
        match Record::from_item(item) {
            Ok(record) => {
                records.insert((record.metric_type.clone(), record.period), record);
            }
            Err(error) => app.log_problem(request_id, "running_period", &error),
        }
    }
    Ok(records)
}

/// Rolls up the finer records so far. The last ones may not be there yet; any other that is missing
/// counts as missing.
fn rolled_up(
    catalogue: &Catalogue,
    name: &str,
    period: Period,
    finer: &[Option<&Record>],
    now: DateTime<Utc>,
) -> Result<Option<RunningRecord>, ApiError> {
    let Some(last) = finer.iter().rposition(Option::is_some) else { return Ok(None) };
    let so_far = &finer[..=last];
    let as_of = so_far.last().copied().flatten().map(|record| record.period.next().start());
    let rolled_up =
        roll_up(catalogue, name, so_far).map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(rolled_up.zip(as_of).map(|(rolled_up, as_of)| {
        let record = Record {
            metrics: rolled_up.metrics,
            parts: rolled_up.parts,
            coverage: Some(rolled_up.coverage),
            ..empty(name, period, now)
        };
        RunningRecord { record, as_of }
    }))
}

fn empty(metric_type: &str, period: Period, calculated_at: DateTime<Utc>) -> Record {
    Record {
        metric_type: metric_type.to_owned(),
        period,
        metrics: Map::new(),
        parts: BTreeMap::new(),
        calculated_at,
        coverage: None,
        reconstructed: BTreeMap::new(),
        made_by: Maker::Items.into(),
    }
}
