//! The Worker's bindings: the queue of recalculations, and the snapshot in Workers KV.

use std::time::Duration;

use send_wrapper::SendWrapper;

use crate::{
    host::{BoxFuture, KvError},
    realtime::SnapshotStore,
    store::job::{JobQueue, Message, QueueError},
};

/// The producer's binding of the queue of recalculations.
pub const QUEUE_BINDING: &str = "RECALCULATION";

/// The binding of the Workers KV namespace that holds the realtime counters.
pub const CACHE_BINDING: &str = "CACHE";

/// The key of the snapshot in Workers KV.
const SNAPSHOT_KEY: &str = "realtime";

/// A Cloudflare Queue. A message's body is text.
#[derive(Debug, Clone)]
pub struct WorkersQueue(pub worker::Queue);

impl JobQueue for WorkersQueue {
    fn send(
        &self,
        message: Message,
        delay: Duration,
    ) -> BoxFuture<'static, Result<(), QueueError>> {
        let queue = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            let message = worker::RawMessageBuilder::new(message.to_body().into())
                .delay_seconds(u32::try_from(delay.as_secs()).unwrap_or(u32::MAX))
                .build_with_content_type(worker::QueueContentType::Text);
            queue.send_raw(message).await.map_err(|error| QueueError(error.to_string()))
        }))
    }
}

/// The snapshot in Workers KV.
#[derive(Debug, Clone)]
pub struct WorkersSnapshots(pub worker::kv::KvStore);

impl SnapshotStore for WorkersSnapshots {
    fn get(&self) -> BoxFuture<'static, Result<Option<String>, KvError>> {
        let namespace = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            let found = namespace.get(SNAPSHOT_KEY).text().await;
            found.map_err(|error| KvError::Read(error.to_string()))
        }))
    }

    fn put(&self, snapshot: String) -> BoxFuture<'static, Result<(), KvError>> {
        let namespace = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            let failed = |error: worker::kv::KvError| KvError::Write(error.to_string());
            let put = namespace.put(SNAPSHOT_KEY, snapshot).map_err(failed)?;
            put.execute().await.map_err(failed)
        }))
    }
}
