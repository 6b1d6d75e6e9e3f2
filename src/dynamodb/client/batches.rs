//! Batches of any number of entries, in requests of the size that DynamoDB accepts. A request is
//! sent again with its unprocessed entries until there are none.

use std::collections::HashMap;

use serde_dynamo::Item;

use super::{Client, target_of};
use crate::dynamodb::{
    error::{DynamoDbError, ErrorKind},
    operations::{BatchGetItem, BatchWriteItem, KeysAndAttributes, Operation, Read, WriteRequest},
};

impl Client {
    /// Reads the items at `keys`, any number of them. Items that do not exist are left out; the
    /// order is not that of `keys`.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`], or [`ErrorKind::Unprocessed`].
    pub async fn batch_get(
        &self,
        table: &str,
        keys: Vec<Item>,
        read: Read,
    ) -> Result<Vec<Item>, DynamoDbError> {
        let mut items = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(BatchGetItem::MAXIMUM_KEYS) {
            let wanted = KeysAndAttributes {
                keys: chunk.to_vec(),
                consistent_read: read == Read::Consistent,
            };
            let mut request = BatchGetItem::new(HashMap::from([(table.to_owned(), wanted)]));
            let deadline = self.host.now() + self.policy.deadline;
            let mut attempts = 0;
            loop {
                attempts += 1;
                let response = self.send_until(&request, deadline).await?;
                items.extend(response.responses.into_values().flatten());
                let left = response.unprocessed_keys.values().map(|keys| keys.keys.len()).sum();
                if left == 0 {
                    break;
                }
                request = BatchGetItem::new(response.unprocessed_keys);
                if !self.back_off(attempts, deadline).await {
                    self.note_failure(&ErrorKind::Unprocessed(left));
                    return Err(unprocessed(&request, left, attempts));
                }
            }
        }
        Ok(items)
    }

    /// Writes `entries`, any number of them, without conditions.
    ///
    /// # Errors
    ///
    /// [`DynamoDbError`] as for [`Client::send`], or [`ErrorKind::Unprocessed`]; some of the
    /// entries may be written.
    pub async fn batch_write(
        &self,
        table: &str,
        entries: Vec<WriteRequest>,
    ) -> Result<(), DynamoDbError> {
        for chunk in entries.chunks(BatchWriteItem::MAXIMUM_ENTRIES) {
            let mut request =
                BatchWriteItem::new(HashMap::from([(table.to_owned(), chunk.to_vec())]));
            let deadline = self.host.now() + self.policy.deadline;
            let mut attempts = 0;
            loop {
                attempts += 1;
                let response = self.send_until(&request, deadline).await?;
                let left = response.unprocessed_items.values().map(Vec::len).sum();
                if left == 0 {
                    break;
                }
                request = BatchWriteItem::new(response.unprocessed_items);
                if !self.back_off(attempts, deadline).await {
                    self.note_failure(&ErrorKind::Unprocessed(left));
                    return Err(unprocessed(&request, left, attempts));
                }
            }
        }
        Ok(())
    }
}

fn unprocessed<O: Operation>(request: &O, left: usize, attempts: u32) -> DynamoDbError {
    DynamoDbError {
        operation: O::NAME,
        target: target_of(request),
        attempts,
        kind: ErrorKind::Unprocessed(left),
    }
}
