//! The DynamoDB that `dev` and `browser` start: dynoxide inside this process, with its data in a file and
//! the platform's table in it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use dynoxide::{Database, ImportOptions, server};
use edge_analytics::{
    dynamodb::{Client, Connection, Credentials},
    host::SharedHost,
};
use sample_platform::{Change, Item, Key, table_definition};
use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    error::{Error, Result},
    worker::Settings,
};

/// The name of the platform's table.
pub const TABLE: &str = "platform";

/// The file of the database.
const FILE: &str = "dynamodb.sqlite";

/// It accepts any credentials.
const CREDENTIALS: &str = "local";

/// It accepts any region.
const REGION: &str = "us-east-1";

/// A running DynamoDB.
pub struct EmbeddedDynamoDb {
    database: Database,
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<std::result::Result<(), String>>,
}

impl EmbeddedDynamoDb {
    /// Opens the database in `folder` and serves it on a free port of the loopback interface. A new
    /// database has an empty table.
    pub async fn start(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let is_new = !path.exists();
        let database = Database::new(&path.to_string_lossy())
            .map_err(|error| failed("open its file", error))?;
        if is_new {
            let definition = serde_json::from_value(table_definition(TABLE, false))
                .map_err(|error| failed("read the definition of the table", error))?;
            database.create_table(definition).map_err(|error| failed("create the table", error))?;
        }
        let unavailable = |error: std::io::Error| Error::System {
            what: "a port on the loopback interface",
            reason: error.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unavailable)?;
        let address = listener.local_addr().map_err(unavailable)?;
        let (shutdown, stopped) = oneshot::channel();
        let server = tokio::spawn(server::serve_with_shutdown(listener, database.clone(), async {
            // An error means that the sender was dropped, which also stops the server.
            let _ = stopped.await;
        }));
        Ok(Self { database, address, shutdown, server })
    }

    /// The Worker's settings for it.
    pub fn settings(&self) -> Settings {
        vec![
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", CREDENTIALS.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", CREDENTIALS.to_owned()),
            ("DYNAMODB_TABLE", TABLE.to_owned()),
            ("DYNAMODB_ENDPOINT", self.endpoint()),
        ]
    }

    /// A client with the clock of `host`.
    pub fn client(&self, host: SharedHost) -> Client {
        let connection = Connection {
            region: REGION.to_owned(),
            endpoint: self.endpoint(),
            credentials: Credentials::new(CREDENTIALS, CREDENTIALS, None),
        };
        Client::new(connection, host)
    }

    /// Turns bulk loading on or off: faster writes that a power cut can damage, for data that is
    /// generated again if writing it is interrupted.
    pub fn set_bulk_loading(&self, on: bool) -> Result<()> {
        let result = if on {
            self.database.enable_bulk_loading()
        } else {
            self.database.disable_bulk_loading()
        };
        result.map_err(|error| failed("change to bulk loading", error))
    }

    /// Applies `changes`, in order, in one transaction and without the API.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || write(&database, changes))
            .await
            .map_err(|error| failed("finish a write", error))?
    }

    /// Imports `items` into the empty table without the API.
    pub async fn import(&self, items: Vec<Item>) -> Result<()> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || import(&database, items))
            .await
            .map_err(|error| failed("finish a write", error))?
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving and closes the database.
    pub async fn stop(self) {
        let _ = self.shutdown.send(());
        // A request that does not end must not delay this; SQLite's log keeps the data safe.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.server).await;
    }
}

/// Deletes the database in `folder`.
pub fn delete(folder: &Path) -> Result<()> {
    for end in ["", "-wal", "-shm"] {
        let path = folder.join(format!("{FILE}{end}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("delete", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn write(database: &Database, changes: Vec<Change>) -> Result<()> {
    let last: BTreeMap<Key, Option<Item>> =
        changes.into_iter().map(|change| (change.key, change.item)).collect();
    let mut items = Vec::new();
    for ((pk, sk), item) in last {
        if let Some(item) = item {
            items.push(item);
            continue;
        }
        let request = json!({"TableName": TABLE, "Key": {"PK": {"S": pk}, "SK": {"S": sk}}});
        let request = serde_json::from_value(request)
            .map_err(|error| failed("read a key of the sample", error))?;
        database.delete_item(request).map_err(|error| failed("delete an item", error))?;
    }
    import(database, items)
}

fn import(database: &Database, items: Vec<Item>) -> Result<()> {
    let items = items
        .into_iter()
        .map(|item| serde_json::from_value(item.into()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| failed("read an item of the sample", error))?;
    database
        .import_items(TABLE, items, ImportOptions::default())
        .map_err(|error| failed("import the sample", error))?;
    Ok(())
}

fn failed(doing: &'static str, reason: impl fmt::Display) -> Error {
    Error::Embedded { doing, reason: reason.to_string() }
}
