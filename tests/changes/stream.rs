//! The simulated stream as its API shows it.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use chrono::{DateTime, Utc};
use edge_analytics::{
    changes::{
        reading::EMPTY_PAGES,
        stream::{ChangeStream, Listing, Page, Shard, StreamError, StreamRecord},
    },
    dynamodb::{DynamoDbError, ErrorKind},
    host::BoxFuture,
};

use crate::{
    item::{keys, own_keys},
    world::{Logged, SECOND, Settings, World, shard_id, shard_index},
};

/// An iterator is valid for 15 minutes.
const ITERATOR_LIFETIME: i64 = 900 * SECOND;

/// How many shards a page lists; small, so that there are several.
const SHARDS_A_PAGE: usize = 5;

pub fn instant(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap()
}

pub struct Stream {
    world: Mutex<World>,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    /// After so many calls the run is cut off.
    killed_after: Option<u32>,
    /// By shard: pages in a row that were empty although there were records.
    empty: BTreeMap<usize, u32>,
    calls: u32,
}

impl Stream {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let world = Mutex::new(World::new(seed, settings));
        Self { world, faults: Mutex::new(Faults::default()) }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn now(&self) -> DateTime<Utc> {
        instant(self.world().now)
    }

    pub fn pass(&self, milliseconds: i64) {
        self.world().pass(milliseconds);
    }

    /// Cuts the next run off after so many calls, or not.
    pub fn kill_after(&self, calls: Option<u32>) {
        self.faults.lock().unwrap().killed_after = calls;
    }

    pub fn calls(&self) -> u32 {
        self.faults.lock().unwrap().calls
    }

    /// A call: it takes its time, and can fail.
    fn call(&self) -> Result<(), StreamError> {
        let mut faults = self.faults.lock().unwrap();
        faults.calls += 1;
        if let Some(left) = &mut faults.killed_after {
            if *left == 0 {
                return Err(failure("Killed"));
            }
            *left -= 1;
        }
        let mut world = self.world();
        let duration = world.random.time(400);
        world.pass(duration);
        let failed = world.settings.failed_calls;
        if world.random.below(1000) < failed { Err(failure("ThrottlingException")) } else { Ok(()) }
    }

    fn list(&self, after: Option<&str>) -> Listing {
        let mut world = self.world();
        let stream = world.stream;
        let mut shards = Vec::new();
        let mut next = None;
        for index in after.map_or(0, |after| shard_index(after) + 1)..world.shards.len() {
            if !is_listed(&mut world, index) {
                continue;
            }
            if shards.len() == SHARDS_A_PAGE {
                next = shards.last().map(|shard: &Shard| shard.id.clone());
                break;
            }
            let parent = world.shards[index].parent.map(|parent| shard_id(stream, parent));
            shards.push(Shard { id: shard_id(stream, index), parent });
        }
        Listing { stream: format!("stream/{stream}"), is_enabled: world.is_enabled, shards, next }
    }

    fn position(&self, shard: &str, after: Option<&str>) -> Result<String, StreamError> {
        let world = self.world();
        let Some(found) = world.shards.get(shard_index(shard)) else {
            return Err(StreamError::NotFound);
        };
        let oldest = world.now - world.settings.retention;
        if found.closed.is_some_and(|closed| closed < oldest) {
            return Err(StreamError::NotFound);
        }
        let trimmed = found.log.partition_point(|logged| logged.published < oldest);
        let index = match after {
            None => trimmed,
            Some(sequence) => {
                let sequence: u64 = sequence.parse().unwrap();
                let index = found.log.partition_point(|logged| logged.sequence <= sequence);
                if index < trimmed {
                    return Err(StreamError::Trimmed);
                }
                index
            }
        };
        Ok(format!("{shard}/{index}/{}", world.now))
    }

    fn page(&self, iterator: &str) -> Result<Page, StreamError> {
        let parts: Vec<&str> = iterator.split('/').collect();
        let (shard, index): (&str, usize) = (parts[0], parts[1].parse().unwrap());
        let since: i64 = parts[2].parse().unwrap();
        let mut world = self.world();
        let expired = world.settings.expired_iterators;
        if world.now > since + ITERATOR_LIFETIME || world.random.chance(expired) {
            return Err(StreamError::ExpiredIterator);
        }
        let (empty, limit) =
            (world.settings.empty_pages, usize::try_from(1 + world.random.below(50)).unwrap());
        let is_empty = world.random.chance(empty);
        let found = &world.shards[shard_index(shard)];
        if found
            .log
            .get(index)
            .is_some_and(|at| at.published < world.now - world.settings.retention)
        {
            return Err(StreamError::Trimmed);
        }
        let mut faults = self.faults.lock().unwrap();
        let empty_pages = faults.empty.entry(shard_index(shard)).or_default();
        if index < found.log.len() && is_empty && *empty_pages < EMPTY_PAGES - 1 {
            *empty_pages += 1;
            return Ok(Page { records: Vec::new(), next: Some(iterator.to_owned()) });
        }
        *empty_pages = 0;
        let end = found.log.len().min(index + limit);
        let records = found.log[index..end].iter().map(record).collect();
        let is_end = found.closed.is_some() && end == found.log.len();
        let next = (!is_end).then(|| format!("{shard}/{end}/{}", world.now));
        Ok(Page { records, next })
    }
}

fn is_listed(world: &mut World, index: usize) -> bool {
    let (closed, born) = (world.shards[index].closed, world.shards[index].born);
    let is_new = world.shards[index].parent.is_some() && {
        let lag = world.random.time(world.settings.listing_lag + 1);
        world.now < born + lag
    };
    let Some(closed) = closed else { return !is_new };
    let unlisted = world.settings.unlisted;
    if closed + world.settings.retention < world.now {
        // Shards that are gone can still be listed for a while.
        let is_recent = closed + world.settings.retention * 5 / 4 > world.now;
        return is_recent && world.random.chance(unlisted);
    }
    !is_new && !world.random.chance(unlisted)
}

fn record(logged: &Logged) -> StreamRecord {
    let Logged { change, sequence, .. } = logged;
    let image = |image: Option<crate::item::Image>| {
        image.map(|image| image.to_item(change.item.unwrap_or_default()))
    };
    StreamRecord {
        keys: change.item.map_or_else(own_keys, keys),
        old: image(change.old),
        new: image(change.new),
        sequence_number: format!("{sequence:021}"),
        // As AWS does, rounded down to the second.
        committed: instant(change.committed / SECOND * SECOND),
    }
}

fn failure(code: &str) -> StreamError {
    StreamError::Failed(DynamoDbError {
        operation: "GetRecords",
        target: "platform".to_owned(),
        attempts: 1,
        kind: ErrorKind::Service {
            code: code.to_owned(),
            status: 400,
            message: String::new(),
            cancellation: None,
        },
    })
}

impl ChangeStream for Stream {
    fn describe(&self, after: Option<String>) -> BoxFuture<'_, Result<Listing, StreamError>> {
        Box::pin(async move {
            self.turns().await;
            self.call()?;
            Ok(self.list(after.as_deref()))
        })
    }

    fn iterator(
        &self,
        shard: String,
        after: Option<String>,
    ) -> BoxFuture<'_, Result<String, StreamError>> {
        Box::pin(async move {
            self.turns().await;
            self.call()?;
            self.position(&shard, after.as_deref())
        })
    }

    fn records(&self, iterator: String) -> BoxFuture<'_, Result<Page, StreamError>> {
        Box::pin(async move {
            self.turns().await;
            self.call()?;
            self.page(&iterator)
        })
    }
}

impl Stream {
    /// Some turns in which other calls come first.
    fn turns(&self) -> Turns {
        Turns(self.world().random.below(4))
    }
}

struct Turns(u64);

impl Future for Turns {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Runs a future of the simulation, which never waits for anything outside.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
