//! A DynamoDB that runs already, DynamoDB Local or AWS, as `dev --endpoint` names it.

use std::{fs, net::IpAddr, path::Path, sync::Arc, time::Duration};

use edge_analytics::{
    dynamodb::{
        Client, Connection, CreateTable, Credentials, DescribeTable, DynamoDbError, ErrorKind,
        RetryPolicy, WriteRequest,
    },
    host::NativeHost,
};
use reqwest::Url;
use sample_platform::{Item, Shape, generate, table_definition};

use crate::{
    error::{Error, Result},
    progress::Activity,
};

/// The file that names a table whose import is not complete.
const UNFINISHED: &str = "unfinished-import";

/// How many items the client gets at once; it sends requests of 25.
const CHUNK: usize = 500;

/// How long to wait for a wrong address.
const CHECK_POLICY: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(100),
    cap: Duration::from_secs(1),
    attempt_timeout: Duration::from_secs(5),
    deadline: Duration::from_secs(5),
};

/// Its address and the credentials for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its URL.
    pub endpoint: String,
    /// The region in signatures.
    pub region: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret of the access key.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
    is_local: bool,
}

/// Whether a table exists.
#[derive(Debug, PartialEq, Eq)]
pub enum Table {
    /// It exists, and is used as it is.
    Found,
    /// It does not exist, and may be created.
    Absent,
}

impl Target {
    /// The target at `endpoint`, with the caller's AWS credentials.
    pub fn from_environment(endpoint: &str) -> Result<Self> {
        Self::new(endpoint, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn new(endpoint: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let is_local = is_local(endpoint)?;
        let required = |name: &'static str, local: &str| match variable(name) {
            Some(value) => Ok(value),
            // A local DynamoDB accepts any key.
            None if is_local => Ok(local.to_owned()),
            None => Err(Error::Variable {
                name,
                problem: format!("is not set. Set it: {endpoint} requires it"),
            }),
        };
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: required("AWS_REGION", "us-east-1")?,
            access_key_id: required("AWS_ACCESS_KEY_ID", "local")?,
            secret_access_key: required("AWS_SECRET_ACCESS_KEY", "local")?,
            session_token: variable("AWS_SESSION_TOKEN"),
            is_local,
        })
    }

    /// Whether `table` exists. It is an error if it does not and must not be created.
    pub async fn look_for(&self, table: &str, folder: &Path) -> Result<Table> {
        let description =
            self.client(CHECK_POLICY).send(&DescribeTable { table_name: table.to_owned() }).await;
        match description {
            Ok(_) => {
                let begun = fs::read_to_string(folder.join(UNFINISHED));
                if begun.is_ok_and(|name| name == self.name(table)) {
                    return Err(self.problem(format!(
                        "an earlier import into `{table}` was interrupted, so the table is incomplete. \
                         Delete the table, or choose another name with --table"
                    )));
                }
                Ok(Table::Found)
            }
            Err(error) if error.code() == Some("ResourceNotFoundException") => {
                if self.is_local {
                    Ok(Table::Absent)
                } else {
                    Err(self.problem(format!(
                        "the table `{table}` does not exist, and tables are created only at loopback \
                         addresses. Check --table and AWS_REGION ({})",
                        self.region
                    )))
                }
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Creates `table` and imports the sample of `shape`. Until that is complete, a file in `folder` names
    /// the table.
    pub async fn import(&self, table: &str, shape: Shape, folder: &Path) -> Result<()> {
        let begun = folder.join(UNFINISHED);
        fs::write(&begun, self.name(table)).map_err(Error::file("write", &begun))?;
        let client = self.client(RetryPolicy::default());
        let definition = table_definition(table, true);
        client.send(&CreateTable { definition }).await.map_err(|error| self.failed(&error))?;

        let activity = Activity::start(
            &format!("writing a sample platform of {} users into `{table}`", shape.users),
            "a minute or two for each 1000 users",
        );
        let items = generate(&shape);
        for (number, chunk) in items.chunks(CHUNK).enumerate() {
            activity.note(&format!("{} of {} items", number * CHUNK, items.len()));
            let entries = chunk.iter().map(|item| self.put(item)).collect::<Result<_>>()?;
            client.batch_write(table, entries).await.map_err(|error| self.failed(&error))?;
        }
        fs::remove_file(&begun).map_err(Error::file("delete", &begun))?;
        activity.finish(&format!("{} items", items.len()));
        Ok(())
    }

    fn name(&self, table: &str) -> String {
        format!("{} {table}", self.endpoint)
    }

    fn put(&self, item: &Item) -> Result<WriteRequest> {
        serde_json::from_value(serde_json::json!({"PutRequest": {"Item": item}})).map_err(|error| {
            self.problem(format!("an item of the sample cannot be read ({error})"))
        })
    }

    fn client(&self, policy: RetryPolicy) -> Client {
        let connection = Connection {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            credentials: Credentials::new(
                &self.access_key_id,
                &self.secret_access_key,
                self.session_token.clone(),
            ),
        };
        Client::with_policy(connection, Arc::new(NativeHost), policy)
    }

    fn failed(&self, error: &DynamoDbError) -> Error {
        self.problem(match &error.kind {
            ErrorKind::Connection(reason) => format!(
                "DynamoDB does not answer ({reason}). Check that it runs and that --endpoint is right"
            ),
            ErrorKind::Timeout(milliseconds) => {
                format!("DynamoDB did not answer within {milliseconds} ms. Check --endpoint")
            }
            ErrorKind::Service { .. } => {
                format!("{error}. Check the AWS_* variables, --table and the permissions of the key")
            }
            _ => format!("{error}. Check that --endpoint is the URL of a DynamoDB"),
        })
    }

    fn problem(&self, problem: String) -> Error {
        Error::Endpoint { endpoint: self.endpoint.clone(), problem }
    }
}

/// Whether `endpoint` is on this machine.
fn is_local(endpoint: &str) -> Result<bool> {
    let problem = || Error::Endpoint {
        endpoint: endpoint.to_owned(),
        problem:
            "not the URL of a DynamoDB. Set --endpoint to a URL such as http://127.0.0.1:8000 \
                  or https://dynamodb.eu-central-1.amazonaws.com"
                .to_owned(),
    };
    let url = Url::parse(endpoint).map_err(|_| problem())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(problem());
    }
    let host = url.host_str().ok_or_else(problem)?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    Ok(host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_local() {
        for local in ["http://127.0.0.1:8000", "http://localhost:8001/", "http://[::1]:8000"] {
            assert!(is_local(local).unwrap(), "{local}");
        }
        for remote in ["https://dynamodb.eu-central-1.amazonaws.com", "http://10.0.0.8:8000"] {
            assert!(!is_local(remote).unwrap(), "{remote}");
        }
        for wrong in ["127.0.0.1:8000", "ftp://127.0.0.1", "table"] {
            assert!(is_local(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_local_target_needs_no_credentials_and_a_remote_one_names_missing_ones() {
        let local = Target::new("http://127.0.0.1:8000", |_| None).unwrap();
        assert_eq!(local.region, "us-east-1");
        let error = Target::new("https://dynamodb.eu-central-1.amazonaws.com", |name| {
            (name == "AWS_REGION").then(|| "eu-central-1".to_owned())
        })
        .unwrap_err();
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
