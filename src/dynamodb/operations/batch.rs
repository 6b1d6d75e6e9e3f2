//! Operations on many items: `BatchGetItem`, `BatchWriteItem`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_dynamo::Item;

use super::Operation;
use crate::dynamodb::table_name::short_name;

/// Reads up to 100 items by their keys. Sent by [`crate::dynamodb::Client::batch_get`].
///
/// Source: [`BatchGetItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItem {
    pub(in crate::dynamodb) request_items: HashMap<String, KeysAndAttributes>,
    return_consumed_capacity: &'static str,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeysAndAttributes {
    pub(in crate::dynamodb) keys: Vec<Item>,
    #[serde(default)]
    pub(in crate::dynamodb) consistent_read: bool,
}

impl BatchGetItem {
    /// The most keys one request may name.
    pub const MAXIMUM_KEYS: usize = 100;

    pub(in crate::dynamodb) fn new(request_items: HashMap<String, KeysAndAttributes>) -> Self {
        Self { request_items, return_consumed_capacity: "TOTAL" }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItemResponse {
    pub(in crate::dynamodb) responses: HashMap<String, Vec<Item>>,
    #[serde(default)]
    pub(in crate::dynamodb) unprocessed_keys: HashMap<String, KeysAndAttributes>,
}

operation!(BatchGetItem, BatchGetItemResponse, writes: false,
target: |request| request.request_items.keys().cloned().collect(),
lacks: |request, response| {
    let is_whole = request.request_items.iter().all(|(table, wanted)| {
        let left =
            entry_of(&response.unprocessed_keys, table).map_or(0, |left| left.keys.len());
        match entry_of(&response.responses, table) {
            Some(items) => items.len() + left <= wanted.keys.len(),
            None => left == wanted.keys.len(),
        }
    });
    let mut tables = response.responses.keys().chain(response.unprocessed_keys.keys());
    let is_requested = tables.all(|table| is_requested(&request.request_items, table));
    (!is_whole || !is_requested)
        .then_some("Responses lacks the table, or has more items than requested")
});

/// The entry of the table in a response. AWS does not document whether a table that was requested
/// by its ARN is listed under the ARN or under its name.
fn entry_of<'map, T>(entries: &'map HashMap<String, T>, table: &str) -> Option<&'map T> {
    entries.get(table).or_else(|| entries.get(short_name(table)))
}

/// Whether a table in a response was requested, by its name or its ARN. Entries that are left would be
/// sent to any other table again.
fn is_requested<T>(request: &HashMap<String, T>, table: &str) -> bool {
    request.keys().any(|requested| requested == table || short_name(requested) == table)
}

/// One entry of a batch of writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum WriteRequest {
    /// Writes an item, replacing the stored one.
    PutRequest {
        /// The item.
        #[serde(rename = "Item")]
        item: Item,
    },
    /// Deletes the item at a key.
    DeleteRequest {
        /// The key.
        #[serde(rename = "Key")]
        key: Item,
    },
}

/// Writes up to 25 items without conditions. Sent by [`crate::dynamodb::Client::batch_write`].
///
/// Source: [`BatchWriteItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItem {
    pub(in crate::dynamodb) request_items: HashMap<String, Vec<WriteRequest>>,
    return_consumed_capacity: &'static str,
}

impl BatchWriteItem {
    /// The most entries one request may hold.
    pub const MAXIMUM_ENTRIES: usize = 25;

    pub(in crate::dynamodb) fn new(request_items: HashMap<String, Vec<WriteRequest>>) -> Self {
        Self { request_items, return_consumed_capacity: "TOTAL" }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItemResponse {
    #[serde(default)]
    pub(in crate::dynamodb) unprocessed_items: HashMap<String, Vec<WriteRequest>>,
}

operation!(BatchWriteItem, BatchWriteItemResponse, writes: true,
    target: |request| request.request_items.keys().cloned().collect(),
    lacks: |request, response| {
        let mut tables = response.unprocessed_items.keys();
        let is_requested = tables.all(|table| is_requested(&request.request_items, table));
        (!is_requested).then_some("UnprocessedItems has a table that was not requested")
    },
    known_by_capacity: |response| response.unprocessed_items.is_empty());
