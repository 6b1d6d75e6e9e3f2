//! Operations on a table: `DescribeTable`, `CreateTable`.

use serde::{Deserialize, Serialize};

use super::Operation;

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
    /// The description of the table.
    pub table: TableDescription,
}

/// The description of a table; only the members that are used.
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

/// The response to [`CreateTable`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateTableResponse {
    /// The description of the table, which every response has.
    pub table_description: serde::de::IgnoredAny,
}

operation!(CreateTable, CreateTableResponse, writes: true,
    target: |request| request.definition["TableName"].as_str().unwrap_or_default().to_owned());
