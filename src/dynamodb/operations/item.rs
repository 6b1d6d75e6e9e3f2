//! Operations on one item: `GetItem`, `PutItem`, `UpdateItem`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_dynamo::{AttributeValue, Item};

use super::{EmptyResponse, Operation, Read, is_empty_map, named_values};

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
    pub(in crate::dynamodb) item: Option<Item>,
}

operation!(GetItem, GetItemResponse, writes: false, target: |request| request.table_name.clone(),
    known_by_capacity: |response| response.item.is_none());

/// Writes one item, replacing the stored one, if a condition holds.
///
/// Source: [`PutItem`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_PutItem.html).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutItem {
    pub(super) table_name: String,
    pub(super) item: Item,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) condition_expression: Option<String>,
    #[serde(skip_serializing_if = "is_empty_map")]
    pub(super) expression_attribute_values: BTreeMap<String, AttributeValue>,
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

    /// The same write, only if `condition` holds, with `values` for its placeholders.
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

operation!(PutItem, EmptyResponse, writes: true, target: |request| request.table_name.clone(),
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
    /// Applies `update` to the item of `table` at `key` if `condition` holds. The response has the
    /// item after the update.
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

    /// Makes the response have the item before the update, or none if there was none.
    #[must_use]
    pub fn returning_old_item(mut self) -> Self {
        self.return_values = "ALL_OLD";
        self
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateItemResponse {
    /// The item after the update, or before it.
    pub attributes: Option<Item>,
}

operation!(UpdateItem, UpdateItemResponse, writes: true,
target: |request| request.table_name.clone(),
// With `ALL_OLD` there are none if there was no item.
lacks: |request, response| {
    (request.return_values == "ALL_NEW" && response.attributes.is_none())
        .then_some("Attributes is missing")
},
known_by_capacity: |response| response.attributes.is_none());
