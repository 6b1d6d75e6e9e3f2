//! `GET /realtime`: the current counters, from the snapshot that every tick refreshes.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value as Json, json};

use crate::{
    host::Severity,
    realtime::{Occasion, Outcome, Refresher, Snapshot, count},
};

use super::{
    App, RequestId, authentication::Administrator, error::ApiError, json_response,
    parameters::Parameters,
};

/// The counters and where they come from.
pub struct Figures {
    source: &'static str,
    refreshing: bool,
    /// `None` before the first refresh.
    pub snapshot: Option<Snapshot>,
}

/// Answers `GET /realtime`.
pub async fn realtime(
    _administrator: Administrator,
    State(app): State<Arc<App>>,
    Extension(request_id): Extension<RequestId>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or(""), &["fresh"])?;
    let is_fresh = parameters.optional_flag("fresh")?;
    let figures = figures(&app, is_fresh, &request_id).await?;
    let data = figures.to_json(app.host.now());
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

/// The figures from the store; from DynamoDB where the store does not answer or `is_fresh`.
pub async fn figures(
    app: &Arc<App>,
    is_fresh: bool,
    request_id: &RequestId,
) -> Result<Figures, ApiError> {
    let mut refreshing = false;
    if is_fresh {
        match refresher(app).refresh(Occasion::Fresh).await? {
            Outcome::Counted(snapshot) => {
                return Ok(Figures::of(app, "dynamodb", false, Some(snapshot)));
            }
            Outcome::Held => refreshing = true,
            Outcome::NotDue => {}
        }
    }
    let log = |reason: &str| {
        let line = json!({
            "event": "snapshot_unavailable", "requestId": request_id.0, "reason": reason,
        });
        app.host.log(Severity::Error, &line);
    };
    let stored = match app.snapshots.get().await {
        Ok(stored) => stored,
        Err(why) => {
            log(&why);
            let now = app.host.now();
            let counted = count(&app.client, &app.settings.table, &app.catalogue, now).await?;
            for problem in &counted.problems {
                log(problem);
            }
            return Ok(Figures::of(app, "dynamodb", false, Some(counted.snapshot)));
        }
    };
    let snapshot = stored.as_deref().and_then(|text| {
        let snapshot = Snapshot::parse(text);
        if snapshot.is_none() {
            log("the stored snapshot is of another version, or damaged");
        }
        snapshot
    });
    let now = app.host.now();
    if !refreshing && snapshot.as_ref().is_none_or(|snapshot| snapshot.is_stale(now)) {
        refreshing = true;
        let app = app.clone();
        // It logs what it did and what went wrong.
        app.clone().background.run(Box::pin(async move {
            let _ = refresher(&app).refresh(Occasion::Stale).await;
        }));
    }
    Ok(Figures::of(app, "kv", refreshing, snapshot))
}

fn refresher(app: &App) -> Refresher<'_> {
    Refresher {
        client: app.client.with_own_meter(),
        host: app.host.clone(),
        table: &app.settings.table,
        catalogue: &app.catalogue,
        store: app.snapshots.as_ref(),
    }
}

impl Figures {
    /// Without what is past retention, whenever it was counted.
    fn of(app: &App, source: &'static str, refreshing: bool, snapshot: Option<Snapshot>) -> Self {
        let retention = &app.settings.options.retention;
        let snapshot = snapshot.map(|snapshot| snapshot.within(retention, app.host.now()));
        Self { source, refreshing, snapshot }
    }

    /// The counters with their age.
    pub fn to_json(&self, now: DateTime<Utc>) -> Json {
        let snapshot = self.snapshot.as_ref();
        let counters = snapshot.map_or(&[][..], |snapshot| &snapshot.counters);
        let counters: Vec<Json> = counters
            .iter()
            .map(|counter| {
                let age = counter.age(now).num_seconds();
                json!({
                    "metricKey": counter.metric_key,
                    "value": counter.value,
                    "lastUpdated": counter.last_updated,
                    "ttl": counter.ttl,
                    "ageSeconds": age,
                    "stale": age > counter.ttl,
                })
            })
            .collect();
        json!({
            "source": self.source,
            "refreshing": self.refreshing,
            "lastUpdated": snapshot.map(|snapshot| &snapshot.refreshed_at),
            "stale": snapshot.is_none_or(|snapshot| snapshot.is_stale(now)),
            "counters": counters,
        })
    }
}
