//! Activity while `dev` runs: visits, likes, uploads, orders and more, one every few seconds, written
//! through DynamoDB's API as a platform would.

mod items;
mod script;

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{Client, DynamoDbError, Item, PutItem, Query, UpdateItem, text},
    host::NativeHost,
};
use sample_platform::Random;

use crate::{
    embedded_dynamodb::{EmbeddedDynamoDb, TABLE},
    error::{Error, Result},
};

use script::Script;

/// The longest pause between two activities; the average is half of it.
const PAUSE: TimeDelta = TimeDelta::seconds(8);

/// The ids of items that activity refers to.
#[derive(Debug, Default)]
struct Known {
    users: Vec<String>,
    media: Vec<String>,
    albums: Vec<String>,
}

/// One write through the API.
#[derive(Debug, Clone)]
enum Write {
    Put(Item),
    Update(UpdateItem),
}

/// The activity on one table.
pub struct Traffic {
    client: Client,
    script: Script,
}

impl Traffic {
    /// Activity on the platform in `database`.
    pub async fn on(database: &EmbeddedDynamoDb, seed: u64) -> Result<Self> {
        let client = database.client(Arc::new(NativeHost));
        let known = Known {
            users: partitions(&client, 3, "USER_USERNAME", "USER#").await?,
            media: partitions(&client, 4, "MEDIA", "MEDIA#").await?,
            albums: partitions(&client, 1, "ALBUM", "ALBUM#").await?,
        };
        // Different in every run, so that no id is generated twice.
        let random = Random::new(seed, Utc::now().timestamp().unsigned_abs());
        Ok(Self { client, script: Script::new(random, known) })
    }

    /// Writes activity until it is dropped. Only the first error is printed: activity is not what `dev`
    /// is for.
    pub async fn run(mut self) -> Error {
        let mut has_failed = false;
        loop {
            let pause = self.script.pause(PAUSE).to_std().unwrap_or_default();
            tokio::time::sleep(pause.max(Duration::from_millis(300))).await;
            for write in self.script.next(Utc::now()) {
                if let Err(error) = self.write(write).await
                    && !has_failed
                {
                    has_failed = true;
                    eprintln!("an activity on the sample platform could not be written: {error}");
                }
            }
        }
    }

    async fn write(&self, write: Write) -> std::result::Result<(), DynamoDbError> {
        match write {
            Write::Put(item) => self.client.send(&PutItem::new(TABLE, item)).await.map(|_| ()),
            Write::Update(update) => match self.client.send(&update).await {
                // The item was deleted meanwhile.
                Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(()),
                other => other.map(|_| ()),
            },
        }
    }
}

/// The ids of the items in a partition of an index: what follows `prefix` in their partition keys.
async fn partitions(
    client: &Client,
    index: u8,
    partition: &str,
    prefix: &str,
) -> Result<Vec<String>> {
    let query = Query {
        table: TABLE.to_owned(),
        index: Some(format!("GSI{index}")),
        partition_key: format!("GSI{index}PK"),
        sort_key: format!("GSI{index}SK"),
        partition: partition.to_owned(),
        range: None,
        projection: vec!["PK".to_owned()],
        descending: false,
    };
    let items = client.query(&query).await.map_err(|error| Error::Embedded {
        doing: "list the items of the sample platform",
        reason: error.to_string(),
    })?;
    let ids = items.iter().filter_map(|item| text(item, "PK")?.strip_prefix(prefix));
    Ok(ids.map(str::to_owned).collect())
}
