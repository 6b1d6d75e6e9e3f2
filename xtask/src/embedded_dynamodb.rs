//! The DynamoDB that `dev` starts: dynoxide inside this process, its data in a file, the sample
//! platform in its one table.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use chrono::{DateTime, Utc};
use dynoxide::{Database, ImportOptions, server};
use sample_platform::{Shape, generate, table_definition};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    error::{Error, Result},
    progress::Activity,
};

/// Items imported in one transaction: enough to be fast, few enough to show progress and to stop
/// soon when asked to.
const CHUNK: usize = 2_000;

/// The name of the table that holds the sample.
pub const TABLE: &str = "platform";

/// The shape of the sample that a folder holds. Written when all of it is there, so an import that
/// was interrupted does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSample {
    /// Users in the table.
    pub users: u32,
    /// Days that the platform is old.
    pub days: u32,
    /// What its randomness came from.
    pub seed: u64,
    /// The full hour at which it was seen.
    pub end: DateTime<Utc>,
}

impl fmt::Display for StoredSample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, days, seed, .. } = self;
        write!(formatter, "{users} users, {days} days and seed {seed}")
    }
}

impl From<StoredSample> for Shape {
    fn from(sample: StoredSample) -> Self {
        Self { users: sample.users, days: sample.days, seed: sample.seed, end: sample.end }
    }
}

impl StoredSample {
    /// The sample that `folder` holds, if it holds a whole one.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join("sample.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("sample.json");
        fs::write(&path, serde_json::json!(self).to_string()).map_err(Error::file("write", &path))
    }
}

/// A running DynamoDB.
#[derive(Debug)]
pub struct EmbeddedDynamoDb {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<std::result::Result<(), String>>,
}

impl EmbeddedDynamoDb {
    /// Opens the database in `folder`, makes sure that it holds `sample`, and serves it on a free
    /// port of the loopback interface.
    pub async fn start(folder: &Path, sample: StoredSample) -> Result<Self> {
        let database = if StoredSample::read(folder) == Some(sample) {
            eprintln!("sample platform: {sample}, stored earlier");
            open(&folder.join("dynamodb.sqlite"))?
        } else {
            import(folder, sample).await?
        };
        let refused = |error: std::io::Error| Error::System {
            what: "a port on the loopback interface",
            reason: error.to_string(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (shutdown, stopped) = oneshot::channel();
        let server = tokio::spawn(server::serve_with_shutdown(listener, database, async {
            // A sender that is gone means the same as one that sends.
            let _ = stopped.await;
        }));
        Ok(Self { address, shutdown, server })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving and closes the database.
    pub async fn stop(self) {
        let _ = self.shutdown.send(());
        // A request that never ends must not keep us; SQLite's log survives that.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.server).await;
    }
}

/// Deletes whatever `folder` holds of an earlier sample.
pub fn delete_sample(folder: &Path) -> Result<()> {
    // The claim that the sample is whole goes first.
    for name in ["sample.json", "dynamodb.sqlite", "dynamodb.sqlite-wal", "dynamodb.sqlite-shm"] {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("delete", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn import(folder: &Path, sample: StoredSample) -> Result<Database> {
    delete_sample(folder)?;
    let activity = Activity::start(
        &format!("importing a sample platform of {sample}"),
        "some seconds for each thousand users",
    );
    let definition = serde_json::from_value(table_definition(TABLE, false))
        .map_err(|error| refused("understand the table's definition", error))?;
    let database = open(&folder.join("dynamodb.sqlite"))?;
    database.create_table(definition).map_err(|error| refused("create the table", error))?;
    database.enable_bulk_loading().map_err(|error| refused("prepare for the import", error))?;

    let items = blocking(move || Ok(generate(&sample.into()))).await?;
    let total = items.len();
    for (number, chunk) in items.chunks(CHUNK).enumerate() {
        activity.note(&format!("{} of {total} items", number * CHUNK));
        let (database, chunk) = (database.clone(), chunk.to_vec());
        blocking(move || import_chunk(&database, chunk)).await?;
    }

    database.disable_bulk_loading().map_err(|error| refused("finish the import", error))?;
    sample.write(folder)?;
    activity.finish(&format!("{total} items"));
    Ok(database)
}

fn import_chunk(database: &Database, chunk: Vec<sample_platform::Item>) -> Result<()> {
    let items = chunk
        .into_iter()
        .map(|item| serde_json::from_value(item.into()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| refused("understand an item of the sample", error))?;
    database
        .import_items(TABLE, items, ImportOptions::default())
        .map_err(|error| refused("import the sample", error))?;
    Ok(())
}

fn open(path: &Path) -> Result<Database> {
    Database::new(&path.to_string_lossy()).map_err(|error| refused("open its file", error))
}

/// Keeps long computations off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| refused("work", error))?
}

fn refused(doing: &'static str, reason: impl fmt::Display) -> Error {
    Error::Embedded { doing, reason: reason.to_string() }
}
