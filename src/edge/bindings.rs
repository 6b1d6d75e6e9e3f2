//! The Worker's bindings: the queue of recalculations, the snapshot in Workers KV.

use std::time::Duration;

use send_wrapper::SendWrapper;

use crate::{
    host::BoxFuture,
    realtime::SnapshotStore,
    store::job::{JobQueue, Message},
};

/// The key of the snapshot in Workers KV.
const SNAPSHOT_KEY: &str = "realtime";

/// A Cloudflare Queue. A message's body is text.
#[derive(Debug, Clone)]
pub struct WorkersQueue(pub worker::Queue);

impl JobQueue for WorkersQueue {
    fn send(&self, message: Message, delay: Duration) -> BoxFuture<'static, Result<(), String>> {
        let queue = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            let message = worker::RawMessageBuilder::new(message.to_body().into())
                .delay_seconds(u32::try_from(delay.as_secs()).unwrap_or(u32::MAX))
                .build_with_content_type(worker::QueueContentType::Text);
            queue.send_raw(message).await.map_err(|error| error.to_string())
        }))
    }
}

/// The snapshot in Workers KV.
#[derive(Debug, Clone)]
pub struct WorkersSnapshots(pub worker::kv::KvStore);

impl SnapshotStore for WorkersSnapshots {
    fn get(&self) -> BoxFuture<'static, Result<Option<String>, String>> {
        let namespace = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            namespace.get(SNAPSHOT_KEY).text().await.map_err(|error| error.to_string())
        }))
    }

    fn put(&self, snapshot: String) -> BoxFuture<'static, Result<(), String>> {
        let namespace = self.0.clone();
        Box::pin(SendWrapper::new(async move {
            let put = namespace.put(SNAPSHOT_KEY, snapshot).map_err(|error| error.to_string())?;
            put.execute().await.map_err(|error| error.to_string())
        }))
    }
}
