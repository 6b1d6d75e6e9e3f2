//! `GET /realtime`: the current counters, from the snapshot that is refreshed every five minutes.

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
    host::SharedBackground,
    realtime::{
        FRESH_DISTANCE, REFRESH_DISTANCE, RefreshOutcome, RefreshTrigger, Refresher, Snapshot,
        count,
    },
};

use super::{
    App, RequestId, authentication::Administrator, counted::Turn, error::ApiError, json_response,
    parameters::Parameters,
};

/// The event of log lines that say why the stored snapshot was not used.
const UNAVAILABLE: &str = "snapshot_unavailable";

/// The counters, and their source.
pub struct RealtimeCounters {
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
    Extension(background): Extension<SharedBackground>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref().unwrap_or(""), &["fresh"])?;
    let is_fresh = parameters.optional_flag("fresh")?;
    let counters = current_counters(&app, is_fresh, &request_id, &background).await?;
    let data = counters.to_json(app.host.now());
    Ok(json_response(StatusCode::OK, &json!({ "success": true, "data": data })))
}

/// The counters from the store. From DynamoDB if `is_fresh`, or if the store has no snapshot that can be
/// read.
pub async fn current_counters(
    app: &Arc<App>,
    is_fresh: bool,
    request_id: &RequestId,
    background: &SharedBackground,
) -> Result<RealtimeCounters, ApiError> {
    let mut refreshing = false;
    if is_fresh {
        match fresh(app).await? {
            Fresh::Counted(counters) => return Ok(counters),
            Fresh::Held => refreshing = true,
            Fresh::NotDue => {}
        }
    }
    let stored = match app.snapshots.get().await {
        Ok(stored) => stored,
        Err(error) => {
            app.log_problem(request_id, UNAVAILABLE, &error);
            return counted(app, SnapshotFault::Unreadable, request_id).await;
        }
    };
    let snapshot = match stored.as_deref().map(Snapshot::parse) {
        None => None,
        Some(Some(snapshot)) => Some(snapshot),
        Some(None) => {
            app.log_problem(
                request_id,
                UNAVAILABLE,
                &"the stored snapshot is damaged, or its version is not supported",
            );
            return counted(app, SnapshotFault::Damaged, request_id).await;
        }
    };
    let now = app.host.now();
    if !refreshing && snapshot.as_ref().is_none_or(|snapshot| snapshot.is_stale(now)) {
        refreshing = true;
        let app = app.clone();
        // It logs its result.
        background.run(Box::pin(async move {
            let _ = refresher(&app).refresh(RefreshTrigger::Stale).await;
        }));
    }
    Ok(RealtimeCounters::of(app, "kv", refreshing, snapshot))
}

/// The result of a request for fresh counters.
enum Fresh {
    /// Counted for this request, or by the same isolate less than [`FRESH_DISTANCE`] ago.
    Counted(RealtimeCounters),
    /// Another refresh is running.
    Held,
    /// The last refresh was too recent.
    NotDue,
}

async fn fresh(app: &Arc<App>) -> Result<Fresh, ApiError> {
    let counted_now =
        |snapshot| Fresh::Counted(RealtimeCounters::of(app, "dynamodb", false, Some(snapshot)));
    let turn = match app.memory.counted.turn(app.host.as_ref(), FRESH_DISTANCE).await {
        Ok(Turn::Reuse(snapshot)) => return Ok(counted_now(snapshot)),
        Ok(Turn::Count(turn)) => turn,
        // Another request has been counting for long; the response is the stored snapshot.
        Err(_) => return Ok(Fresh::Held),
    };
    let started = app.host.now();
    Ok(match refresher(app).refresh(RefreshTrigger::Fresh).await? {
        RefreshOutcome::Counted(snapshot) => {
            turn.done(&snapshot, started);
            counted_now(snapshot)
        }
        RefreshOutcome::Held => Fresh::Held,
        RefreshOutcome::NotDue => Fresh::NotDue,
    })
}

/// Why the stored snapshot cannot be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SnapshotFault {
    /// The store cannot be read.
    Unreadable,
    /// What is stored is not a snapshot of this version. It can be replaced.
    Damaged,
}

/// The counters, counted once for all requests of the isolate within a minute. A damaged snapshot is
/// replaced, unless a snapshot was written less than a minute ago: it may not be visible yet.
async fn counted(
    app: &Arc<App>,
    fault: SnapshotFault,
    request_id: &RequestId,
) -> Result<RealtimeCounters, ApiError> {
    let turn = match app.memory.counted.turn(app.host.as_ref(), REFRESH_DISTANCE).await? {
        Turn::Reuse(snapshot) => {
            return Ok(RealtimeCounters::of(app, "dynamodb", false, Some(snapshot)));
        }
        Turn::Count(turn) => turn,
    };
    let started = app.host.now();
    let replaced = match fault {
        SnapshotFault::Damaged => match refresher(app).refresh(RefreshTrigger::Stale).await? {
            RefreshOutcome::Counted(snapshot) => Some(snapshot),
            RefreshOutcome::Held | RefreshOutcome::NotDue => None,
        },
        SnapshotFault::Unreadable => None,
    };
    let snapshot = if let Some(snapshot) = replaced {
        snapshot
    } else {
        let counted = count(&app.client, &app.settings.table, &app.catalogue, started).await?;
        for problem in &counted.problems {
            app.log_problem(request_id, UNAVAILABLE, problem);
        }
        counted.snapshot
    };
    turn.done(&snapshot, started);
    Ok(RealtimeCounters::of(app, "dynamodb", false, Some(snapshot)))
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

impl RealtimeCounters {
    /// Removes counters that include records past retention, whenever they were counted.
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
