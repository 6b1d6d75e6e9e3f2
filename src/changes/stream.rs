//! What is read of a change stream: shards, iterators and records.
//!
//! Source: [DynamoDB Streams API Reference](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html).

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::{
    dynamodb::{AttributeValue, DynamoDbError, Item, text},
    host::BoxFuture,
};

/// The partition keys of our own items begin with this. Where they are in the platform's table, they
/// come back through its stream.
const OWN_PARTITIONS: &str = "ANALYTICS";

/// The change stream of one table.
pub trait ChangeStream: Send + Sync {
    /// One page of the table's current stream and its shards, those after the shard `after`.
    fn describe(&self, after: Option<String>) -> BoxFuture<'_, Result<Listing, StreamError>>;

    /// An iterator for `shard`: after the record with the sequence number `after`, or from the oldest
    /// record.
    fn iterator(
        &self,
        shard: String,
        after: Option<String>,
    ) -> BoxFuture<'_, Result<String, StreamError>>;

    /// The records at `iterator`.
    fn records(&self, iterator: String) -> BoxFuture<'_, Result<Page, StreamError>>;
}

/// One page of a stream's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The stream's ARN. A stream that was disabled and enabled again is another stream.
    pub stream: String,
    /// Whether the table still writes to it.
    pub is_enabled: bool,
    /// Shards, in no order. A listing can lack shards, also some that an earlier one had.
    pub shards: Vec<Shard>,
    /// The shard after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// A shard of a stream: a part of its records. It closes after some hours and has one child then, or
/// two where the table's partition was split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its identifier.
    pub id: String,
    /// The shard that it continues; that one may no longer be listed.
    pub parent: Option<String>,
}

/// What one call of `GetRecords` returned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The records; there can be none although later pages have some.
    pub records: Vec<StreamRecord>,
    /// Where the next page begins; `None` where the shard is closed and has been read to its end.
    pub next: Option<String>,
}

/// One change of one item.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRecord {
    /// The item's key.
    pub keys: Item,
    /// The item before; `None` where it was inserted.
    pub old: Option<Item>,
    /// The item after; `None` where it was removed.
    pub new: Option<Item>,
    /// Its place in the shard.
    pub sequence_number: String,
    /// When the table changed (`ApproximateCreationDateTime`). AWS rounds it down to the second.
    pub committed: DateTime<Utc>,
}

impl StreamRecord {
    /// Whether the item is one of ours, which no metric counts.
    #[must_use]
    pub fn is_own(&self) -> bool {
        text(&self.keys, "PK").is_some_and(|partition| partition.starts_with(OWN_PARTITIONS))
    }
}

/// A call to a stream failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// The records behind the position are older than 24 hours and were removed.
    #[error("the change stream no longer has the records behind the position")]
    Trimmed,
    /// The shard or the stream does not exist any more.
    #[error("the shard of the change stream does not exist any more")]
    NotFound,
    /// The iterator is older than 15 minutes.
    #[error("the iterator of the shard has expired")]
    ExpiredIterator,
    /// Anything else.
    #[error(transparent)]
    Failed(#[from] DynamoDbError),
}

/// Tells items apart in the memory of a hand-off: 128 bits of the SHA-256 of the item's key. Two of a
/// billion items share them with a probability of one in 10^20.
///
/// ```
/// # use edge_analytics::{changes::stream::key_hash, dynamodb::key};
/// assert_eq!(key_hash(&key("USER#1", "METADATA")), key_hash(&key("USER#1", "METADATA")));
/// assert_ne!(key_hash(&key("a", "bc")), key_hash(&key("ab", "c")));
/// ```
#[must_use]
pub fn key_hash(keys: &Item) -> u128 {
    let mut names: Vec<&String> = keys.keys().collect();
    names.sort_unstable();
    let mut hash = Sha256::new();
    for name in names {
        let (kind, value): (u8, &[u8]) = match &keys[name] {
            AttributeValue::S(text) => (b'S', text.as_bytes()),
            AttributeValue::N(number) => (b'N', number.as_bytes()),
            AttributeValue::B(bytes) => (b'B', bytes),
            // DynamoDB has no key of another type.
            _ => (b'?', &[]),
        };
        for part in [name.as_bytes(), &[kind], value] {
            // With its length, so that no two keys are the same bytes.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(bytes)
}
