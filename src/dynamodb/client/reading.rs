//! Reading items by their keys and the pages of queries.

use std::ops::ControlFlow;

use serde_dynamo::Item;

use super::Client;
use crate::dynamodb::{
    error::DynamoDbError,
    operations::{GetItem, Query, QueryPage, Read},
};

impl Client {
    /// Reads one item by its key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`].
    pub async fn get(
        &self,
        table: &str,
        key: Item,
        read: Read,
    ) -> Result<Option<Item>, DynamoDbError> {
        Ok(self.send(&GetItem::new(table, key, read)).await?.item)
    }

    /// Reads every page of `query` and calls `on_page` with each. An empty page is not the last one
    /// if it has a key to continue from.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`]; `on_page` was called with the pages before it.
    pub async fn query_pages(
        &self,
        query: &Query,
        mut on_page: impl FnMut(Vec<Item>) + Send,
    ) -> Result<(), DynamoDbError> {
        self.pages(query, None, |page| {
            on_page(page);
            ControlFlow::Continue(())
        })
        .await
    }

    /// Reads pages of at most `page_size` items of `query` and calls `on_page` with each, until
    /// that returns `Break`. Later pages are not read.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::query_pages`].
    pub async fn query_until(
        &self,
        query: &Query,
        page_size: u32,
        on_page: impl FnMut(Vec<Item>) -> ControlFlow<()> + Send,
    ) -> Result<(), DynamoDbError> {
        self.pages(query, Some(page_size), on_page).await
    }

    async fn pages(
        &self,
        query: &Query,
        limit: Option<u32>,
        mut on_page: impl FnMut(Vec<Item>) -> ControlFlow<()> + Send,
    ) -> Result<(), DynamoDbError> {
        let mut page = QueryPage { query, exclusive_start_key: None, limit };
        loop {
            let response = self.send(&page).await?;
            self.meter.add(|usage| usage.pages += 1);
            let is_enough = on_page(response.items).is_break();
            // An empty key cannot be continued from.
            page.exclusive_start_key = response.last_evaluated_key.filter(|key| !key.is_empty());
            if is_enough || page.exclusive_start_key.is_none() {
                return Ok(());
            }
        }
    }

    /// The first item of `query`, if there is one, with a request for one item.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`].
    pub async fn first(&self, query: &Query) -> Result<Option<Item>, DynamoDbError> {
        let page = QueryPage { query, exclusive_start_key: None, limit: Some(1) };
        let response = self.send(&page).await?;
        self.meter.add(|usage| usage.pages += 1);
        Ok(response.items.into_iter().next())
    }

    /// All items of `query`.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`].
    pub async fn query(&self, query: &Query) -> Result<Vec<Item>, DynamoDbError> {
        let mut items = Vec::new();
        self.query_pages(query, |page| items.extend(page)).await?;
        Ok(items)
    }
}
