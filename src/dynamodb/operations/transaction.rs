//! `TransactWriteItems`: several items, all or none.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_dynamo::{AttributeValue, Item};

use super::{EmptyResponse, Operation, PutItem, is_empty_map};

/// One action of a transaction.
#[derive(Debug, Clone, Serialize)]
pub enum TransactionItem {
    /// Writes an item, replacing the stored one, if its condition holds.
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

/// Writes up to 100 items, all or none, at twice the price of single writes.
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
    /// A transaction of `items`. Sent again with the same `token` within ten minutes it changes
    /// nothing, so that it can be retried when its response was lost.
    #[must_use]
    pub fn new(items: Vec<TransactionItem>, token: u128) -> Self {
        Self {
            transact_items: items,
            client_request_token: format!("{token:032x}"),
            return_consumed_capacity: "TOTAL",
        }
    }
}

operation!(TransactWriteItems, EmptyResponse, writes: true, target: |request| {
    request
        .transact_items
        .first()
        .map(|TransactionItem::Put(put)| put.table_name.clone())
        .unwrap_or_default()
}, known_by_capacity: |_| true);
