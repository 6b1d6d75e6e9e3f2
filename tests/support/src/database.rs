//! The platform's table in a real DynamoDB: dynoxide in this process, or AWS's DynamoDB
//! Local where `EDGE_ANALYTICS_DYNAMODB_LOCAL` says.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use dynoxide::{Database, ImportOptions, server};
use edge_analytics::{
    dynamodb::{Client, Connection, CreateTable, Credentials, Query, WriteRequest, key},
    host::{NativeHost, SharedHost},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use sample_platform::{Item, Key, table_definition};
use tokio::net::TcpListener;

/// The variable that holds DynamoDB Local's URL; `cargo xtask test` starts one and sets it.
pub const DYNAMODB_LOCAL: &str = "EDGE_ANALYTICS_DYNAMODB_LOCAL";

static TABLES: AtomicU32 = AtomicU32::new(0);

/// Which DynamoDB a test runs on.
#[derive(Debug, Clone, Copy)]
pub enum Backend {
    Dynoxide,
    DynamoDbLocal,
}

/// The platform's table in a running DynamoDB.
pub struct TestTable {
    pub endpoint: String,
    pub name: String,
}

impl TestTable {
    /// A new table that holds `items`.
    pub async fn with(backend: Backend, items: &[Item]) -> Self {
        match backend {
            Backend::Dynoxide => Self::on_dynoxide(items).await,
            Backend::DynamoDbLocal => Self::on_dynamodb_local(items).await,
        }
    }

    async fn on_dynoxide(items: &[Item]) -> Self {
        let name = "platform".to_owned();
        let database = Database::memory().unwrap();
        let definition = serde_json::from_value(table_definition(&name, false)).unwrap();
        database.create_table(definition).unwrap();
        let table = name.clone();
        let items: Vec<_> =
            items.iter().map(|item| serde_json::from_value(item.clone().into()).unwrap()).collect();
        let importer = database.clone();
        tokio::task::spawn_blocking(move || {
            importer.enable_bulk_loading().unwrap();
            importer.import_items(&table, items, ImportOptions::default()).unwrap();
            importer.disable_bulk_loading().unwrap();
        })
        .await
        .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(server::serve_on(listener, database));
        Self { endpoint, name }
    }

    async fn on_dynamodb_local(items: &[Item]) -> Self {
        let endpoint = std::env::var(DYNAMODB_LOCAL).unwrap_or_else(|_| {
            panic!(
                "{DYNAMODB_LOCAL} is not set: run `cargo xtask test`, which starts DynamoDB Local"
            )
        });
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        let name = format!("platform-{}-{number}", std::process::id());
        let table = Self { endpoint, name };
        let client = table.client();
        let definition = table_definition(&table.name, false);
        client.send(&CreateTable { definition }).await.unwrap();
        table.put(items).await;
        table
    }

    /// Writes `items` through the API.
    pub async fn put(&self, items: &[Item]) {
        let client = self.client();
        let entries: Vec<WriteRequest> = items
            .iter()
            .map(|item| WriteRequest::PutRequest {
                item: serde_json::from_value(item.clone().into()).unwrap(),
            })
            .collect();
        stream::iter(entries.chunks(25))
            .map(|chunk| client.batch_write(&self.name, chunk.to_vec()))
            .buffer_unordered(8)
            .try_collect::<Vec<()>>()
            .await
            .unwrap();
    }

    /// All stored records of metrics.
    pub async fn records(&self) -> Vec<edge_analytics::dynamodb::Item> {
        self.partition(Some("GSI1"), "ANALYTICS").await
    }

    /// All items of a partition of the table or of an index, in the order of the sort key.
    pub async fn partition(
        &self,
        index: Option<&str>,
        partition: &str,
    ) -> Vec<edge_analytics::dynamodb::Item> {
        let prefix = index.unwrap_or_default();
        let query = Query {
            table: self.name.clone(),
            index: index.map(str::to_owned),
            partition_key: format!("{prefix}PK"),
            sort_key: format!("{prefix}SK"),
            partition: partition.to_owned(),
            range: None,
            projection: Vec::new(),
            descending: false,
        };
        self.client().query(&query).await.unwrap()
    }

    /// Brings the items at these keys to what they are now: `None` is deleted.
    pub async fn apply(&self, client: &Client, changed: BTreeMap<Key, Option<Item>>) {
        let write = |((partition, sort), item): (Key, Option<Item>)| match item {
            Some(item) => {
                WriteRequest::PutRequest { item: serde_json::from_value(item.into()).unwrap() }
            }
            None => WriteRequest::DeleteRequest { key: key(partition, sort) },
        };
        client.batch_write(&self.name, changed.into_iter().map(write).collect()).await.unwrap();
    }

    /// Deletes the items at `keys`, at most 25.
    pub async fn delete(&self, keys: Vec<edge_analytics::dynamodb::Item>) {
        let deletes = keys.into_iter().map(|key| WriteRequest::DeleteRequest { key });
        self.client().batch_write(&self.name, deletes.collect()).await.unwrap();
    }

    pub fn client(&self) -> Client {
        self.client_with(Arc::new(NativeHost))
    }

    pub fn client_with(&self, host: SharedHost) -> Client {
        Client::new(connection(&self.endpoint), host)
    }
}

/// A connection to a DynamoDB that does not look at credentials.
pub fn connection(endpoint: &str) -> Connection {
    Connection {
        region: "eu-central-1".to_owned(),
        endpoint: endpoint.to_owned(),
        credentials: Credentials::new("example", "example", None),
    }
}
