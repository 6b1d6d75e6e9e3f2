//! The host of a Worker: the runtime's clock and timer, log lines on the console.

use std::time::Duration;

use axum::body::{Body, Bytes};
use chrono::{DateTime, Utc};
use futures_util::stream;
use send_wrapper::SendWrapper;

use super::{
    Background, BoxFuture, CacheError, Host, RandomnessError, ResponseCache, Severity, random_bits,
};

/// The origin of the URLs that are the keys of the edge cache. `.invalid` never resolves
/// ([RFC 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.4)), so no request from outside has
/// such a URL.
const CACHE_ORIGIN: &str = "https://edge-analytics.invalid";

/// The host of a Worker. As in every Worker, its clock advances only with input and output.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkersHost;

impl Host for WorkersHost {
    fn now(&self) -> DateTime<Utc> {
        let milliseconds = worker::Date::now().as_millis();
        i64::try_from(milliseconds)
            .ok()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(SendWrapper::new(async move {
            worker::Delay::from(duration).await;
        }))
    }

    fn random(&self) -> Result<u128, RandomnessError> {
        random_bits()
    }

    fn log(&self, severity: Severity, line: &serde_json::Value) {
        let line = line.to_string();
        match severity {
            Severity::Info => worker::console_log!("{line}"),
            Severity::Error => worker::console_error!("{line}"),
        }
    }
}

/// Work after the response. The runtime allows it 30 seconds.
#[derive(Debug)]
pub struct WorkersBackground(pub worker::Context);

impl Background for WorkersBackground {
    fn run(&self, work: BoxFuture<'static, ()>) {
        self.0.wait_until(work);
    }
}

/// The Cache API: the cache of the data centre in which the request runs.
///
/// Source: [Cache API](https://developers.cloudflare.com/workers/runtime-apis/cache/).
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkersCache;

impl ResponseCache for WorkersCache {
    fn get(&self, key: &str) -> BoxFuture<'static, Result<Option<Body>, CacheError>> {
        let url = format!("{CACHE_ORIGIN}/{key}");
        Box::pin(SendWrapper::new(async move {
            let failed = |error: worker::Error| CacheError::Read(error.to_string());
            let found = worker::Cache::default().get(url, true).await.map_err(failed)?;
            let Some(response) = found else { return Ok(None) };
            let response = worker::HttpResponse::try_from(response).map_err(failed)?;
            Ok(Some(Body::new(response.into_body())))
        }))
    }

    fn put(
        &self,
        key: &str,
        response: Vec<Bytes>,
        lifetime: Duration,
    ) -> BoxFuture<'static, Result<(), CacheError>> {
        let url = format!("{CACHE_ORIGIN}/{key}");
        Box::pin(SendWrapper::new(async move {
            let put = async move {
                let headers = worker::Headers::new();
                headers.set("Cache-Control", &format!("max-age={}", lifetime.as_secs()))?;
                // In chunks, so that the whole text is not copied in memory.
                let chunks = response.into_iter().map(Ok::<_, worker::Error>);
                let response = worker::Response::from_stream(stream::iter(chunks))?;
                worker::Cache::default().put(url, response.with_headers(headers)).await
            };
            put.await.map_err(|error| CacheError::Write(error.to_string()))
        }))
    }
}
