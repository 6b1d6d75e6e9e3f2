//! The ledger as tests read it.

use edge_analytics::{dynamodb::Query, store::ledger::Entry};

use super::database::TestTable;

/// All entries, oldest first.
pub async fn entries(table: &TestTable) -> Vec<Entry> {
    let query = Query {
        table: table.name.clone(),
        index: None,
        partition_key: "PK".to_owned(),
        sort_key: "SK".to_owned(),
        partition: "ANALYTICS_RUN".to_owned(),
        range: None,
        projection: Vec::new(),
        descending: false,
    };
    let items = table.client().query(&query).await.unwrap();
    items.into_iter().map(|item| Entry::from_item(item).unwrap()).collect()
}
