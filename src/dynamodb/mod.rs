//! A DynamoDB client: the low-level HTTP API, signed with `SigV4`. The same code runs in a Worker
//! and natively.
//!
//! Source: [DynamoDB API Reference](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/),
//! [low-level API](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.LowLevelAPI.html).

mod client;
mod error;
mod expression;
mod mapping;
mod operations;
mod region;
mod signing;
mod table_name;
mod usage;

pub use client::{Client, Connection, RetryPolicy};
pub use error::{Cancellation, DynamoDbError, ErrorKind};
pub use expression::{KeyRange, NamedAttributes};
pub use mapping::{MappingError, from_item, to_attribute, to_item};
pub use operations::{
    BatchGetItem, BatchWriteItem, CreateTable, DescribeTable, GetItem, Operation, PutItem, Query,
    Read, TransactWriteItems, TransactionItem, UpdateItem, WriteRequest,
};
pub use region::{is_region, regional_endpoint};
pub use serde_dynamo::{AttributeValue, Item};
pub use signing::{Credentials, SigningError, sign};
pub use table_name::TableName;
pub use usage::{Usage, UsageMeter};

/// A string attribute.
#[must_use]
pub fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
#[must_use]
pub fn number(value: &impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The string in an item's attribute; `None` if the attribute is absent or not a string.
#[must_use]
pub fn text<'item>(item: &'item Item, attribute: &str) -> Option<&'item str> {
    match item.get(attribute) {
        Some(AttributeValue::S(value)) => Some(value),
        _ => None,
    }
}

/// A table key: partition key `PK` and sort key `SK`.
#[must_use]
pub fn key(partition: impl Into<String>, sort: impl Into<String>) -> Item {
    Item::from(std::collections::HashMap::from([
        ("PK".to_owned(), string(partition)),
        ("SK".to_owned(), string(sort)),
    ]))
}
