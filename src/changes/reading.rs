//! One reading of a change stream: every shard from its position to the present, parents before
//! children.
//!
//! A busy shard has no last record, and an empty page proves nothing. So a shard counts as read up to the
//! present at the first record that is newer than the start of the reading, or after
//! [`EMPTY_PAGES`] empty pages in a row.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    changes::{
        positions::{Gap, Positions},
        stream::{ChangeStream, Listing, Page, Shard, StreamError, StreamRecord},
    },
    host::BoxFuture,
};

/// How many empty pages in a row show that a shard has nothing more. Others cross an empty shard within
/// five calls.
pub const EMPTY_PAGES: u32 = 5;

/// How often the shards are listed again for a child that is not listed yet. With the two seconds that
/// a caller waits each time that is half a minute.
pub const MAXIMUM_LISTINGS: u32 = 15;

/// How often in a row an iterator that has expired is replaced.
const MAXIMUM_EXPIRED: u32 = 3;

/// The most calls that are under way at once: a Worker has six connections.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections).
const MAXIMUM_CONCURRENT_SHARDS: usize = 6;

/// What is done with a record. It must not fail: what went wrong is kept until the reading has ended.
pub type OnRecord<'handler> = dyn FnMut(&StreamRecord) + Send + 'handler;

/// How far a reading has come.
#[derive(Debug, Clone)]
pub enum Reached {
    /// Every shard has been read up to the start of the reading.
    Present,
    /// A shard is not listed yet that must be there. Wait two seconds and proceed.
    AwaitingShards,
    /// A child of a shard was not listed within the patience. What was read is right, but not all of it.
    Incomplete,
    /// The calls of the budget are used up. The next reading goes on from here.
    OutOfBudget,
    /// A call failed. The next reading goes on from here.
    Interrupted(StreamError),
}

/// The stream could not be read at all.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadingError {
    /// The sums cannot be brought up to date any more.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The shards could not be listed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pages of records and iterators that were asked for.
    pub calls: u32,
    /// The records that were handed on.
    pub records: u64,
    /// The records of our own items, which were skipped.
    pub own_records: u64,
    /// Shards that were begun or read to their end.
    pub shard_changes: u64,
}

impl Tally {
    /// Whether the positions have to be stored. Our own records alone are no reason: storing the
    /// positions would write the next one.
    #[must_use]
    pub fn has_changed_state(&self) -> bool {
        self.records > 0 || self.shard_changes > 0
    }
}

/// One reading, from its start on.
#[derive(Debug)]
pub struct Reading<'positions> {
    positions: &'positions mut Positions,
    started: DateTime<Utc>,
    maximum_calls: u32,
    listings: u32,
    /// The shards that this reading has read up to the present.
    present: BTreeSet<String>,
    tally: Tally,
}

/// Where a shard is being read.
struct Cursor {
    shard: String,
    iterator: Option<String>,
    empty: u32,
    expired: u32,
}

/// Why reading the shards ended.
enum End {
    /// Every shard that could be read has been read.
    Done,
    OutOfBudget,
    Interrupted(StreamError),
}

impl<'positions> Reading<'positions> {
    /// Starts a reading at `now`, with at most `maximum_calls` for iterators and records.
    ///
    /// # Errors
    ///
    /// [`Gap`] when the positions are too old.
    pub fn start(
        positions: &'positions mut Positions,
        now: DateTime<Utc>,
        maximum_calls: u32,
    ) -> Result<Self, Gap> {
        positions.prepare(now)?;
        Ok(Self {
            positions,
            started: now,
            maximum_calls,
            listings: 0,
            present: BTreeSet::new(),
            tally: Tally::default(),
        })
    }

    /// When it started. After [`Reached::Present`], every change that was committed before is read,
    /// but for those that the stream had not published then.
    #[must_use]
    pub fn started(&self) -> DateTime<Utc> {
        self.started
    }

    /// What it has read so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Reads on and hands every record to `on_record`, each after those of its parents.
    ///
    /// # Errors
    ///
    /// [`ReadingError`]. Then the positions and everything that was computed from the records since they
    /// were stored must be thrown away.
    pub async fn proceed(
        &mut self,
        stream: &dyn ChangeStream,
        on_record: &mut OnRecord<'_>,
    ) -> Result<Reached, ReadingError> {
        loop {
            let listed = self.list(stream).await?;
            let mut has_read = false;
            let unresolved = loop {
                let unresolved = self.positions.admit(&listed)?;
                let open = self.positions.open().filter(|shard| !self.is_present(shard, &listed));
                let ready: Vec<String> = open.cloned().collect();
                if ready.is_empty() {
                    break unresolved;
                }
                has_read = true;
                match self.read_shards(stream, ready, on_record).await? {
                    End::Done => {}
                    End::OutOfBudget => return Ok(Reached::OutOfBudget),
                    End::Interrupted(error) => return Ok(Reached::Interrupted(error)),
                }
            };
            let is_awaited = |shard: &String| !self.present.contains(shard);
            if unresolved.unknown.is_none() && !unresolved.childless.iter().any(is_awaited) {
                return Ok(Reached::Present);
            }
            // The list was made before the reading, so it is not waited for the first time.
            if has_read {
                continue;
            }
            self.listings += 1;
            return match unresolved.unknown {
                _ if self.listings < MAXIMUM_LISTINGS => Ok(Reached::AwaitingShards),
                Some(shard) => Err(Gap::UnknownShard { shard }.into()),
                None => Ok(Reached::Incomplete),
            };
        }
    }

    /// Whether the shard need not be read: this reading has read it, or its parent, up to the present.
    /// Without that, a reading would follow a busy table from child to child.
    fn is_present(&self, shard: &String, listed: &BTreeMap<String, Shard>) -> bool {
        let parent = listed.get(shard).and_then(|shard| shard.parent.as_ref());
        self.present.contains(shard) || parent.is_some_and(|parent| self.present.contains(parent))
    }

    /// All shards of the stream.
    async fn list(
        &self,
        stream: &dyn ChangeStream,
    ) -> Result<BTreeMap<String, Shard>, ReadingError> {
        let (found, shards) = list_shards(stream).await?;
        if found.stream != self.positions.stream() {
            return Err(Gap::Replaced { found: found.stream }.into());
        }
        if !found.is_enabled {
            return Err(Gap::Disabled.into());
        }
        Ok(shards)
    }

    /// Reads each of `shards` up to the present or to its end.
    async fn read_shards(
        &mut self,
        stream: &dyn ChangeStream,
        shards: Vec<String>,
        on_record: &mut OnRecord<'_>,
    ) -> Result<End, Gap> {
        let cursor = |shard| Cursor { shard, iterator: None, empty: 0, expired: 0 };
        let mut waiting: VecDeque<Cursor> = shards.into_iter().map(cursor).collect();
        let mut reading = FuturesUnordered::new();
        loop {
            while reading.len() < MAXIMUM_CONCURRENT_SHARDS
                && let Some(cursor) = waiting.pop_front()
            {
                self.tally.calls += 1 + u32::from(cursor.iterator.is_none());
                if self.tally.calls > self.maximum_calls {
                    return Ok(End::OutOfBudget);
                }
                let after = self.positions.after(&cursor.shard);
                reading.push(read_page(stream, cursor, after));
            }
            let Some((mut cursor, page)) = reading.next().await else { return Ok(End::Done) };
            match page {
                Ok(page) => waiting.extend(self.take(cursor, page, on_record)),
                Err(StreamError::ExpiredIterator) if cursor.expired < MAXIMUM_EXPIRED => {
                    cursor.expired += 1;
                    cursor.iterator = None;
                    waiting.push_back(cursor);
                }
                Err(StreamError::Trimmed) => return Err(Gap::Trimmed { shard: cursor.shard }),
                Err(StreamError::NotFound) => return Err(Gap::NotFound { shard: cursor.shard }),
                Err(error) => return Ok(End::Interrupted(error)),
            }
        }
    }

    /// Hands on the records of a page and moves the position behind them; where the shard is to be read
    /// on, if it is.
    fn take(
        &mut self,
        mut cursor: Cursor,
        page: Page,
        on_record: &mut OnRecord<'_>,
    ) -> Option<Cursor> {
        let positions = &mut *self.positions;
        if positions.after(&cursor.shard).is_none() && !page.records.is_empty() {
            self.tally.shard_changes += 1;
        }
        let mut is_present = false;
        for record in &page.records {
            if record.is_own() {
                self.tally.own_records += 1;
            } else {
                self.tally.records += 1;
                on_record(record);
            }
            positions.note_record(&cursor.shard, &record.sequence_number, record.committed);
            is_present |= record.committed > self.started;
        }
        cursor.empty = if page.records.is_empty() { cursor.empty + 1 } else { 0 };
        cursor.expired = 0;
        if page.next.is_none() {
            positions.note_end(&cursor.shard, self.started);
            self.tally.shard_changes += 1;
            if is_present {
                self.present.insert(cursor.shard);
            }
            return None;
        }
        if is_present || cursor.empty == EMPTY_PAGES {
            positions.note_present(&cursor.shard, self.started);
            self.present.insert(cursor.shard);
            return None;
        }
        cursor.iterator = page.next;
        Some(cursor)
    }
}

/// The stream, and all its shards by identifier.
///
/// # Errors
///
/// [`StreamError`] of the call.
pub async fn list_shards(
    stream: &dyn ChangeStream,
) -> Result<(Listing, BTreeMap<String, Shard>), StreamError> {
    let mut shards = BTreeMap::new();
    let mut after = None;
    loop {
        let mut listing = stream.describe(after).await?;
        let page = std::mem::take(&mut listing.shards);
        shards.extend(page.into_iter().map(|shard| (shard.id.clone(), shard)));
        after = listing.next.take();
        if after.is_none() {
            return Ok((listing, shards));
        }
    }
}

/// Reads the page at the cursor, from an iterator behind `after` where it has none.
fn read_page(
    stream: &dyn ChangeStream,
    mut cursor: Cursor,
    after: Option<String>,
) -> BoxFuture<'_, (Cursor, Result<Page, StreamError>)> {
    Box::pin(async move {
        let iterator = match cursor.iterator.take() {
            Some(iterator) => Ok(iterator),
            None => stream.iterator(cursor.shard.clone(), after).await,
        };
        let page = match iterator {
            Ok(iterator) => stream.records(iterator).await,
            Err(error) => Err(error),
        };
        (cursor, page)
    })
}
