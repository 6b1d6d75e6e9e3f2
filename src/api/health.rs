//! `GET /health`: whether the runs keep up. A monitor may call it every minute.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::json;

use crate::store::realtime_state;
use crate::{
    dynamodb::{DynamoDbError, Item, Read, text},
    host::Severity,
    metrics::period::Granularity,
    monitor::health::{Health, Level, judge, judge_counters},
    store::{
        lease::check_lease,
        run_state::{State as RunState, state_key},
        stored_state::StateError,
    },
};

use super::{
    App, RequestId, authentication::HealthReader, error::ApiError, json_response,
    parameters::Parameters,
};

/// How long calls to DynamoDB are retried. The last attempt may start just before the end of this time
/// and take as long. Monitors time out after about ten seconds; a response that says that DynamoDB
/// cannot be reached is more useful than a timeout.
const PATIENCE: Duration = Duration::from_secs(4);

/// Answers `GET /health`.
pub async fn health(
    _reader: HealthReader,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    Parameters::parse(query.as_deref().unwrap_or(""), &[])?;
    let mut keys = Granularity::ALL.map(state_key).to_vec();
    keys.push(realtime_state::state_key());
    let client = app.client.with_patience(PATIENCE);
    let found = client.batch_get(&app.settings.table, keys, Read::Eventual).await;
    let now = app.host.now();
    let (health, cause) = match found {
        Ok(items) => {
            let health = judge(&states(&app, &items, &request_id, now), now);
            (with_counters(health, &app, &items, &request_id, now), None)
        }
        Err(error) => (Health::unknown(unreachable(&error), now), Some(error.to_string())),
    };
    if health.status == Level::Failing {
        let message = health.sentence();
        return Err(ApiError::Failing { message, details: json!(health), cause });
    }
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": health })))
}

/// The run state of every granularity. A state that cannot be read is logged.
fn states(
    app: &App,
    items: &[Item],
    request_id: &RequestId,
    now: DateTime<Utc>,
) -> [(Granularity, Result<RunState, StateError>); 4] {
    Granularity::ALL.map(|granularity| {
        let is_it = |item: &&Item| text(item, "SK") == Some(granularity.name());
        let item = items.iter().find(is_it);
        let lease = item.filter(|_| granularity == Granularity::Hourly).map_or(Ok(()), check_lease);
        let state = lease
            .and_then(|()| RunState::from_item(item.cloned()))
            .and_then(|state| state.not_after(granularity, now));
        if let Err(error) = &state {
            let line = json!({
                "event": "unreadable_state",
                "requestId": request_id.0,
                "granularity": granularity.name(),
                "reason": error.to_string(),
            });
            app.host.log(Severity::Error, &line);
        }
        (granularity, state)
    })
}

/// Adds the health of the realtime counters. A state that cannot be read is logged.
fn with_counters(
    health: Health,
    app: &App,
    items: &[Item],
    request_id: &RequestId,
    now: DateTime<Utc>,
) -> Health {
    let is_it = |item: &&Item| text(item, "SK") == Some(realtime_state::STATE_NAME);
    let item = items.iter().find(is_it);
    let quality = realtime_state::quality(item.cloned());
    let refreshed = match &quality {
        Ok(_) => realtime_state::refreshed_at(item.cloned(), now),
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = &refreshed {
        app.log_problem(request_id, "unreadable_state", error);
    }
    let health = health.with(judge_counters(&refreshed, now));
    match &quality {
        Ok(quality) => health.with_quality(quality),
        Err(_) => health,
    }
}

/// Why the health is unknown. AWS's own text is left out, because it names users and tables.
fn unreachable(error: &DynamoDbError) -> String {
    let code = error.code().map_or_else(String::new, |code| format!(" ({code})"));
    if error.is_retryable() {
        format!("DynamoDB could not be reached or is overloaded{code}")
    } else {
        format!("DynamoDB rejected the read of the run states{code}")
    }
}
