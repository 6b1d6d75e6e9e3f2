//! The edge cache for responses of `GET /metrics`.
//!
//! A response is cached only if nothing but a recalculation or a refresh can change it. A cache at the
//! edge cannot be emptied everywhere at once, so nothing is ever removed from it. Instead the key has a
//! version, which every writer increments before it changes an existing record, in the state item that
//! a request reads anyway. While records may be changing, the cache is not used. So a hit equals what
//! a miss would return.

use std::{sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::{host::SharedBackground, metrics::period::Period, store::run_state::State as RunState};

use super::{App, RequestId};

/// The longest time for which a response is cached.
const MAXIMUM_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// The place of a response in the cache.
pub struct Slot {
    key: String,
    lifetime: Duration,
}

/// The values of `X-Cache`.
pub const HIT: HeaderValue = HeaderValue::from_static("hit");
pub const MISS: HeaderValue = HeaderValue::from_static("miss");
pub const BYPASS: HeaderValue = HeaderValue::from_static("bypass");

impl Slot {
    /// The place of the response to `query`, whose `periods` are newest first. `None` if the response
    /// may still change without a recalculation or a refresh.
    pub fn of(
        app: &App,
        query: &str,
        periods: &[Period],
        state: &RunState,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let (newest, oldest) = (periods.first()?, periods.last()?);
        let complete = state.progress.watermark(newest.granularity())?;
        let is_settled = state.unsettled_until <= now.timestamp_millis();
        if !is_settled || complete < *newest || newest.end() >= now {
            return None;
        }
        // Once the oldest period is past retention, the response is a different one.
        let retention = app.settings.options.retention;
        let expiry = retention.expiry(*oldest).map_or(MAXIMUM_LIFETIME, |expiry| expiry - now);
        let lifetime = expiry.min(MAXIMUM_LIFETIME).to_std().ok()?;
        let mut hasher = Sha256::new();
        for part in [
            env!("CARGO_PKG_VERSION"),
            env!("CATALOGUE_FINGERPRINT"),
            &app.settings.connection.endpoint,
            &app.settings.table,
            &retention.to_string(),
            &oldest.start().to_string(),
            &state.cache_version.to_string(),
            query,
        ] {
            hasher.update(part);
            hasher.update([0]);
        }
        let digest = URL_SAFE_NO_PAD.encode(hasher.finalize());
        Some(Self { key: format!("metrics/{digest}"), lifetime })
    }

    /// The cached response, as a stream. `None` also if the cache fails.
    pub async fn get(&self, app: &App, request_id: &RequestId) -> Option<Body> {
        app.cache.get(&self.key).await.unwrap_or_else(|error| {
            app.log_problem(request_id, "cache_unavailable", &error);
            None
        })
    }

    /// Caches the response, after it has been sent.
    pub fn put(
        self,
        app: &Arc<App>,
        response: Vec<Bytes>,
        request_id: &RequestId,
        background: &SharedBackground,
    ) {
        let put = app.cache.put(&self.key, response, self.lifetime);
        let (cache_app, request_id) = (app.clone(), request_id.clone());
        background.run(Box::pin(async move {
            if let Err(error) = put.await {
                cache_app.log_problem(&request_id, "cache_unavailable", &error);
            }
        }));
    }
}
