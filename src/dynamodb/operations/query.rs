//! `Query`: the items of one partition, page by page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_dynamo::{AttributeValue, Item};

use super::Operation;
use crate::dynamodb::{
    expression::{KeyRange, NamedAttributes},
    string,
};

/// Reads the items of one partition of a table or an index, in the order of the sort key.
///
/// Source: [Query](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html).
#[derive(Debug, Clone)]
pub struct Query {
    /// The table.
    pub table: String,
    /// The index; `None` means the table itself.
    pub index: Option<String>,
    /// The name of the partition key's attribute there.
    pub partition_key: String,
    /// The name of the sort key's attribute there.
    pub sort_key: String,
    /// The partition to read.
    pub partition: String,
    /// The sort keys to read; `None` means all.
    pub range: Option<KeyRange>,
    /// The attributes to return; empty means all. A projection saves bytes, not capacity units.
    pub projection: Vec<String>,
    /// Read from the greatest sort key to the least.
    pub descending: bool,
}

/// One page of a query, which is what one `Query` request reads.
pub(in crate::dynamodb) struct QueryPage<'query> {
    pub(in crate::dynamodb) query: &'query Query,
    pub(in crate::dynamodb) exclusive_start_key: Option<Item>,
    /// The most items to read on this page.
    pub(in crate::dynamodb) limit: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::dynamodb) struct QueryPageResponse {
    pub(in crate::dynamodb) items: Vec<Item>,
    count: usize,
    pub(in crate::dynamodb) last_evaluated_key: Option<Item>,
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
        struct QueryBody<'body> {
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
        values.insert(":partition", string(&self.query.partition));
        if let Some(range) = &self.query.range {
            condition = format!(
                "{condition} AND {} BETWEEN :from AND :to",
                names.placeholder(&self.query.sort_key)
            );
            values.insert(":from", string(&range.from));
            values.insert(":to", string(&range.to));
        }
        let projection = (!self.query.projection.is_empty())
            .then(|| names.projection(self.query.projection.iter().map(String::as_str)));
        serde_json::to_string(&QueryBody {
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
