//! The operations that this crate uses, as typed requests and responses, one file for each kind.
//!
//! Source: [DynamoDB API Reference, operations](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html).

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_dynamo::AttributeValue;

/// One operation of the API: its request and the type of its response.
pub trait Operation {
    /// Its name in `X-Amz-Target`.
    const NAME: &'static str;
    /// Whether it consumes write capacity; otherwise it consumes read capacity.
    const WRITES: bool;
    /// The type of the response.
    type Response: DeserializeOwned + Send;

    /// The table, and the index if there is one (`table/index`), for error messages.
    fn target(&self) -> String;

    /// The request's body.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as JSON.
    fn body(&self) -> Result<String, serde_json::Error>;

    /// What is missing from a response that deserialized; `None` if it is complete. A required
    /// member that is absent fails to deserialize, so it needs no check here.
    fn lacks(&self, _response: &Self::Response) -> Option<&'static str> {
        None
    }

    /// Whether only `ConsumedCapacity` distinguishes this response from an empty object. It is
    /// always requested, so its absence then means that the response is not DynamoDB's.
    fn is_known_by_capacity(&self, _response: &Self::Response) -> bool {
        false
    }
}

/// The consistency of a read.
///
/// Source: [Read consistency](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Strongly consistent: returns every write that was acknowledged before. Costs twice as much.
    Consistent,
    /// Eventually consistent: may not return a recent write yet.
    Eventual,
}

/// A response of which only `ConsumedCapacity` is used.
#[derive(Debug, Deserialize)]
pub struct EmptyResponse {}

fn is_empty_map<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.is_empty()
}

fn named_values<'name>(
    values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
) -> BTreeMap<String, AttributeValue> {
    // Not `collect`, which would sort first, with sorting code for this type alone.
    let mut named = BTreeMap::new();
    named.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    named
}

/// Implements [`Operation`] for a request that serializes to its own body.
macro_rules! operation {
    ($request:ident, $response:ty, writes: $writes:literal, target: $target:expr
     $(, lacks: $lacks:expr)? $(, known_by_capacity: $known_by_capacity:expr)?) => {
        impl Operation for $request {
            const NAME: &'static str = stringify!($request);
            const WRITES: bool = $writes;
            type Response = $response;

            fn target(&self) -> String {
                let target: fn(&Self) -> String = $target;
                target(self)
            }

            fn body(&self) -> Result<String, serde_json::Error> {
                serde_json::to_string(self)
            }

            $(fn lacks(&self, response: &$response) -> Option<&'static str> {
                let lacks: fn(&Self, &$response) -> Option<&'static str> = $lacks;
                lacks(self, response)
            })?

            $(fn is_known_by_capacity(&self, response: &$response) -> bool {
                let is_known: fn(&$response) -> bool = $known_by_capacity;
                is_known(response)
            })?
        }
    };
}

// After the macro, which they use.
mod batch;
mod item;
mod query;
mod table;
mod transaction;

pub(super) use batch::KeysAndAttributes;
pub use batch::{BatchGetItem, BatchWriteItem, WriteRequest};
pub use item::{GetItem, PutItem, UpdateItem};
pub use query::Query;
pub(super) use query::QueryPage;
pub use table::{CreateTable, DescribeTable};
pub use transaction::{TransactWriteItems, TransactionItem};
