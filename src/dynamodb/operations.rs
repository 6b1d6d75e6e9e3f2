//! The operations we use, as typed requests and responses.
//!
//! Source: [DynamoDB API Reference, operations](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_dynamo::{AttributeValue, Item};

use super::{
    expression::{KeyRange, NamedAttributes},
    table_name::short_name,
};

/// One operation of the API: how it is called and what it answers.
pub trait Operation {
    /// Its name in `X-Amz-Target`.
    const NAME: &'static str;
    /// Whether the capacity it consumes is write capacity.
    const WRITES: bool;
    /// What it answers.
    type Response: DeserializeOwned + Send;

    /// The table, and the index where there is one, for error messages.
    fn target(&self) -> String;

    /// The request's body.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as JSON.
    fn body(&self) -> Result<String, serde_json::Error>;

    /// What is wrong with a response that can be read but is not whole; `None` if it is. A member
    /// that is always there fails to be read where it is missing.
    fn lacks(&self, _response: &Self::Response) -> Option<&'static str> {
        None
    }

    /// Whether `ConsumedCapacity`, which we always ask for, is all that tells this response from an
    /// empty object.
    fn is_known_by_capacity(&self, _response: &Self::Response) -> bool {
        false
    }
}

fn is_empty_map<K, V>(map: &BTreeMap<K, V>) -> bool {
    map.is_empty()
}

/// Reads the items of one partition of a table or an index, in the order of the sort key.
///
/// Source: [Query](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html).
#[derive(Debug, Clone)]
pub struct Query {
    /// The table.
    pub table: String,
    /// The index, or the table itself.
    pub index: Option<String>,
    /// The name of the partition key's attribute there.
    pub partition_key: String,
    /// The name of the sort key's attribute there.
    pub sort_key: String,
    /// The partition to read.
    pub partition: String,
    /// The sort keys to read; absent means all.
    pub range: Option<KeyRange>,
    /// The attributes to return; empty means all. Projection saves bytes, not capacity units.
    pub projection: Vec<String>,
    /// Read from the greatest sort key to the least.
    pub descending: bool,
}

/// A query at one page: what `Query` is on the wire.
pub(super) struct QueryPage<'query> {
    pub(super) query: &'query Query,
    pub(super) exclusive_start_key: Option<Item>,
    /// The most items to read on this page.
    pub(super) limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueryPageResponse {
    pub(super) items: Vec<Item>,
    count: usize,
    pub(super) last_evaluated_key: Option<Item>,
}

impl Operation for QueryPage<'_> {
    const NAME: &'static str = "Query";
    const WRITES: bool = false;
    type Response = QueryPageResponse;

    fn lacks(&self, response: &QueryPageResponse) -> Option<&'static str> {
        (response.count != response.items.len()).then_some("Count is not the number of Items")
    }

    fn target(&self) -> String {
        match &self.query.index {
            Some(index) => format!("{}/{index}", self.query.table),
            None => self.query.table.clone(),
        }
    }

    fn body(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'body> {
            table_name: &'body str,
            #[serde(skip_serializing_if = "Option::is_none")]
            index_name: Option<&'body str>,
            key_condition_expression: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            projection_expression: Option<String>,
            expression_attribute_names: BTreeMap<String, String>,
            expression_attribute_values: BTreeMap<&'static str, AttributeValue>,
            scan_index_forward: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            exclusive_start_key: Option<&'body Item>,
            #[serde(skip_serializing_if = "Option::is_none")]
            limit: Option<u32>,
            return_consumed_capacity: &'static str,
        }

        let mut names = NamedAttributes::default();
        let mut values = BTreeMap::new();
        let mut condition =
            format!("{} = :partition", names.placeholder(&self.query.partition_key));
        values.insert(":partition", super::string(&self.query.partition));
        if let Some(range) = &self.query.range {
            condition = format!(
                "{condition} AND {} BETWEEN :from AND :to",
                names.placeholder(&self.query.sort_key)
            );
            values.insert(":from", super::string(&range.from));
            values.insert(":to", super::string(&range.to));
        }
        let projection = (!self.query.projection.is_empty())
            .then(|| names.projection(self.query.projection.iter().map(String::as_str)));
        serde_json::to_string(&Body {
            table_name: &self.query.table,
            index_name: self.query.index.as_deref(),
            key_condition_expression: condition,
            projection_expression: projection,
            expression_attribute_names: names.into_names(),
            expression_attribute_values: values,
            scan_index_forward: !self.query.descending,
            exclusive_start_key: self.exclusive_start_key.as_ref(),
            limit: self.limit,
            return_consumed_capacity: "TOTAL",
        })
    }
}

/// Whether a read sees every write that was answered before it (twice the price), or may be a
/// moment behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Sees every write that was answered before.
    Consistent,
    /// May be a moment behind.
    Eventual,
}

/// Implements [`Operation`] for a request that is its own body.
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

/// Reads one item by its key.
///
/// Source: [`GetItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_GetItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItem {
    table_name: String,
    key: Item,
    consistent_read: bool,
    return_consumed_capacity: &'static str,
}

impl GetItem {
    /// Reads the item of `table` at `key`.
    #[must_use]
    pub fn new(table: &str, key: Item, read: Read) -> Self {
        Self {
            table_name: table.to_owned(),
            key,
            consistent_read: read == Read::Consistent,
            return_consumed_capacity: "TOTAL",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetItemResponse {
    pub(super) item: Option<Item>,
}

operation!(GetItem, GetItemResponse, writes: false, target: |request| request.table_name.clone(),
    known_by_capacity: |response| response.item.is_none());

/// Writes one item, whole, if a condition holds.
///
/// Source: [`PutItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutItem {
    table_name: String,
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition_expression: Option<String>,
    #[serde(skip_serializing_if = "is_empty_map")]
    expression_attribute_values: BTreeMap<String, AttributeValue>,
    return_consumed_capacity: &'static str,
}

impl PutItem {
    /// Writes `item` into `table`.
    #[must_use]
    pub fn new(table: &str, item: Item) -> Self {
        Self {
            table_name: table.to_owned(),
            item,
            condition_expression: None,
            expression_attribute_values: BTreeMap::new(),
            return_consumed_capacity: "TOTAL",
        }
    }

    /// Writes only if `condition` holds, with `values` for its placeholders.
    #[must_use]
    pub fn only_if<'name>(
        mut self,
        condition: &str,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Self {
        self.condition_expression = Some(condition.to_owned());
        self.expression_attribute_values = named_values(values);
        self
    }
}

fn named_values<'name>(
    values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
) -> BTreeMap<String, AttributeValue> {
    // Item by item: `collect` would sort first, with code for this type alone.
    let mut named = BTreeMap::new();
    named.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    named
}

/// An answer that holds nothing we need.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

operation!(PutItem, Nothing, writes: true, target: |request| request.table_name.clone(),
    known_by_capacity: |_| true);

/// Changes attributes of one item, if a condition holds.
///
/// Source: [`UpdateItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItem {
    table_name: String,
    key: Item,
    update_expression: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition_expression: Option<String>,
    #[serde(skip_serializing_if = "is_empty_map")]
    expression_attribute_names: BTreeMap<&'static str, &'static str>,
    #[serde(skip_serializing_if = "is_empty_map")]
    expression_attribute_values: BTreeMap<String, AttributeValue>,
    return_values: &'static str,
    return_consumed_capacity: &'static str,
}

impl UpdateItem {
    /// Applies `update` to the item of `table` at `key` if `condition` holds. Answers the item as it
    /// is then.
    #[must_use]
    pub fn new<'name>(
        table: &str,
        key: Item,
        update: &str,
        condition: Option<&str>,
        values: impl IntoIterator<Item = (&'name str, AttributeValue)>,
    ) -> Self {
        Self {
            table_name: table.to_owned(),
            key,
            update_expression: update.to_owned(),
            condition_expression: condition.map(str::to_owned),
            expression_attribute_names: BTreeMap::new(),
            expression_attribute_values: named_values(values),
            return_values: "ALL_NEW",
            return_consumed_capacity: "TOTAL",
        }
    }

    /// Lets `placeholder` stand for the attribute `name`, which is a reserved word.
    #[must_use]
    pub fn naming(mut self, placeholder: &'static str, name: &'static str) -> Self {
        self.expression_attribute_names.insert(placeholder, name);
        self
    }

    /// Answers the item as it was before, and nothing where there was none.
    #[must_use]
    pub fn answering_what_was(mut self) -> Self {
        self.return_values = "ALL_OLD";
        self
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItemResponse {
    /// The item as it is now, or as it was.
    pub attributes: Option<Item>,
}

operation!(UpdateItem, UpdateItemResponse, writes: true,
target: |request| request.table_name.clone(),
// There is none where nothing was: that of `ALL_OLD`.
lacks: |request, response| {
    (request.return_values == "ALL_NEW" && response.attributes.is_none())
        .then_some("Attributes is missing")
},
known_by_capacity: |response| response.attributes.is_none());

/// Reads up to 100 items by their keys. Sent by [`super::Client::batch_get`].
///
/// Source: [`BatchGetItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItem {
    pub(super) request_items: HashMap<String, KeysAndAttributes>,
    return_consumed_capacity: &'static str,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeysAndAttributes {
    pub(super) keys: Vec<Item>,
    #[serde(default)]
    pub(super) consistent_read: bool,
}

impl BatchGetItem {
    /// The most keys one request may name.
    pub const MAXIMUM_KEYS: usize = 100;

    pub(super) fn new(request_items: HashMap<String, KeysAndAttributes>) -> Self {
        Self { request_items, return_consumed_capacity: "TOTAL" }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchGetItemResponse {
    pub(super) responses: HashMap<String, Vec<Item>>,
    #[serde(default)]
    pub(super) unprocessed_keys: HashMap<String, KeysAndAttributes>,
}

operation!(BatchGetItem, BatchGetItemResponse, writes: false,
target: |request| request.request_items.keys().cloned().collect(),
lacks: |request, response| {
    let is_whole = request.request_items.iter().all(|(table, wanted)| {
        let left =
            named(&response.unprocessed_keys, table).map_or(0, |left| left.keys.len());
        match named(&response.responses, table) {
            Some(items) => items.len() + left <= wanted.keys.len(),
            None => left == wanted.keys.len(),
        }
    });
    (!is_whole).then_some("Responses does not have the table, or more than was asked for")
});

/// What the answer has under the table. AWS leaves open whether a table that was asked for by its ARN
/// is answered under that or under its name.
fn named<'answer, T>(answer: &'answer HashMap<String, T>, table: &str) -> Option<&'answer T> {
    answer.get(table).or_else(|| answer.get(short_name(table)))
}

/// One entry of a batch of writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum WriteRequest {
    /// Writes an item, whole.
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

/// Writes up to 25 items without conditions. Sent by [`super::Client::batch_write`].
///
/// Source: [`BatchWriteItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItem {
    pub(super) request_items: HashMap<String, Vec<WriteRequest>>,
    return_consumed_capacity: &'static str,
}

impl BatchWriteItem {
    /// The most entries one request may hold.
    pub const MAXIMUM_ENTRIES: usize = 25;

    pub(super) fn new(request_items: HashMap<String, Vec<WriteRequest>>) -> Self {
        Self { request_items, return_consumed_capacity: "TOTAL" }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BatchWriteItemResponse {
    #[serde(default)]
    pub(super) unprocessed_items: HashMap<String, Vec<WriteRequest>>,
}

operation!(BatchWriteItem, BatchWriteItemResponse, writes: true,
    target: |request| request.request_items.keys().cloned().collect(),
    known_by_capacity: |response| response.unprocessed_items.is_empty());

/// One action of a transaction.
#[derive(Debug, Clone, Serialize)]
pub enum TransactionItem {
    /// Writes an item, whole, if its condition holds.
    Put(TransactionPut),
}

/// A put inside a transaction.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactionPut {
    table_name: String,
    item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition_expression: Option<String>,
    #[serde(skip_serializing_if = "is_empty_map")]
    expression_attribute_values: BTreeMap<String, AttributeValue>,
}

impl From<PutItem> for TransactionItem {
    fn from(put: PutItem) -> Self {
        Self::Put(TransactionPut {
            table_name: put.table_name,
            item: put.item,
            condition_expression: put.condition_expression,
            expression_attribute_values: put.expression_attribute_values,
        })
    }
}

/// Writes up to 100 items, all or none, at twice the price.
///
/// Source: [`TransactWriteItems`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactWriteItems {
    transact_items: Vec<TransactionItem>,
    client_request_token: String,
    return_consumed_capacity: &'static str,
}

impl TransactWriteItems {
    /// A transaction of `items`. A repetition with the same `token` within ten minutes changes
    /// nothing, so that a lost answer can be asked for again.
    #[must_use]
    pub fn new(items: Vec<TransactionItem>, token: u128) -> Self {
        Self {
            transact_items: items,
            client_request_token: format!("{token:032x}"),
            return_consumed_capacity: "TOTAL",
        }
    }
}

operation!(TransactWriteItems, Nothing, writes: true, target: |request| {
    request
        .transact_items
        .first()
        .map(|TransactionItem::Put(put)| put.table_name.clone())
        .unwrap_or_default()
}, known_by_capacity: |_| true);

/// Describes a table: its status, its keys, its item count (up to six hours old).
///
/// Source: [`DescribeTable`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTable {
    /// The table.
    pub table_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeTableResponse {
    /// What DynamoDB says of the table.
    pub table: TableDescription,
}

/// What DynamoDB says of a table; only what we look at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TableDescription {
    /// `ACTIVE` when it can be used.
    pub table_status: String,
    /// Its global secondary indexes.
    #[serde(default)]
    pub global_secondary_indexes: Vec<IndexDescription>,
}

/// One global secondary index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IndexDescription {
    /// Its name.
    pub index_name: String,
}

operation!(DescribeTable, DescribeTableResponse, writes: false, target: |request| request.table_name.clone());

/// Creates a table, described in plain JSON; for development and tests.
///
/// Source: [`CreateTable`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateTable.html).
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct CreateTable {
    /// The request's body.
    pub definition: serde_json::Value,
}

/// What was created.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateTableResponse {
    /// The table's description, which is there in every answer.
    pub table_description: serde::de::IgnoredAny,
}

operation!(CreateTable, CreateTableResponse, writes: true,
    target: |request| request.definition["TableName"].as_str().unwrap_or_default().to_owned());
