//! The ledger as tests read it.

use edge_analytics::store::ledger::Entry;

use super::database::TestTable;

/// All entries, oldest first.
pub async fn entries(table: &TestTable) -> Vec<Entry> {
    let items = table.partition(None, "ANALYTICS_RUN").await;
    items.into_iter().map(|item| Entry::from_item(item).unwrap()).collect()
}
