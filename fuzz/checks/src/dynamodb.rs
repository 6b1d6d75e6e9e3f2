//! What DynamoDB answers to each operation, right or wrong, over HTTP.

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse};
use crc::{CRC_32_ISO_HDLC, Crc};
use edge_analytics::{
    dynamodb::{
        Client, Connection, Credentials, DescribeTable, DynamoDbError, ErrorKind, Item, PutItem,
        Query, Read, RetryPolicy, TransactWriteItems, UpdateItem, WriteRequest, key, string,
    },
    host::NativeHost,
    metrics::{record::Record, retention::Retention},
};
use http::StatusCode;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;

use crate::RUNTIME;

const TABLE: &str = "platform";

/// Part of the credentials, which must not show in an error.
const SECRET: &str = "the-secret-of-the-access-key";

/// Fails at the first failed attempt.
const NO_RETRIES: RetryPolicy = RetryPolicy {
    base: Duration::ZERO,
    cap: Duration::ZERO,
    attempt_timeout: Duration::from_secs(10),
    deadline: Duration::ZERO,
};

/// A response of the server.
#[derive(Clone)]
struct Response {
    status: StatusCode,
    checksum: Option<u32>,
    body: Vec<u8>,
}

/// A server that sends one response, and then an end to whatever was begun.
struct Server {
    next: Arc<Mutex<Option<Response>>>,
    client: Client,
}

static SERVER: LazyLock<Mutex<Server>> =
    LazyLock::new(|| Mutex::new(RUNTIME.block_on(Server::start())));

impl Server {
    async fn start() -> Self {
        let next = Arc::new(Mutex::new(None));
        let router = Router::new().fallback(respond).with_state(Arc::clone(&next));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async { axum::serve(listener, router).await });
        let connection = Connection {
            region: "us-east-1".to_owned(),
            endpoint,
            credentials: Credentials::new("example", SECRET, None),
        };
        Self { next, client: Client::with_policy(connection, Arc::new(NativeHost), NO_RETRIES) }
    }
}

async fn respond(State(next): State<Arc<Mutex<Option<Response>>>>) -> impl IntoResponse {
    let end = r#"{"Items":[],"Count":0,"Responses":{"platform":[]},"UnprocessedKeys":{},
        "Attributes":{},"UnprocessedItems":{},"ConsumedCapacity":null}"#;
    let end = Response { status: StatusCode::OK, checksum: None, body: end.into() };
    let Response { status, checksum, body } =
        next.lock().expect("no panic in the server").take().unwrap_or(end);
    let mut headers = HeaderMap::new();
    if let Some(checksum) = checksum {
        headers.insert("x-amz-crc32", checksum.into());
    }
    (status, headers, body)
}

/// The first byte chooses the operation, the second the status, the third the checksum; the rest is the
/// body of the response.
pub fn dynamodb_response(data: &[u8]) {
    let [operation, status, checksum, body @ ..] = data else { return };
    let status = [200, 200, 200, 200, 400, 413, 500, 503][usize::from(*status) % 8];
    let right = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(body);
    let checksum = [Some(right), Some(right), None, Some(!right)][usize::from(*checksum) % 4];
    let response = Response {
        status: StatusCode::from_u16(status).expect("a status"),
        checksum,
        body: body.to_vec(),
    };
    let is_damaged = checksum == Some(!right);
    let server = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *server.next.lock().expect("no panic in the server") = Some(response);
    let result = RUNTIME.block_on(send(&server.client, *operation));
    // An operation that has to be repeated may have left it.
    server.next.lock().expect("no panic in the server").take();
    drop(server);
    match result {
        Ok(items) => {
            assert!(status == 200 && !is_damaged);
            // Members that are not read may hold any bytes.
            assert!(body.trim_ascii_start().starts_with(b"{"));
            assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok());
            items.into_iter().for_each(read_record);
        }
        Err(error) => check_error(&error, status, is_damaged),
    }
}

/// Sends the operation; returns the items of the response.
async fn send(client: &Client, operation: u8) -> Result<Vec<Item>, DynamoDbError> {
    let key = || key("ANALYTICS#users#hourly", "2026-03-01T10:00:00.000Z");
    let update = || UpdateItem::new(TABLE, key(), "SET a = :a", None, [(":a", string("a"))]);
    match operation % 8 {
        0 => client.query(&query()).await,
        1 => Ok(client.get(TABLE, key(), Read::Consistent).await?.into_iter().collect()),
        2 => client.send(&PutItem::new(TABLE, key())).await.map(|_| Vec::new()),
        3 => Ok(client.send(&update()).await?.attributes.into_iter().collect()),
        4 => client.batch_get(TABLE, vec![key()], Read::Eventual).await,
        5 => {
            let put = WriteRequest::PutRequest { item: key() };
            client.batch_write(TABLE, vec![put]).await.map(|()| Vec::new())
        }
        6 => {
            let items = vec![PutItem::new(TABLE, key()).into()];
            client.send(&TransactWriteItems::new(items, 1)).await.map(|_| Vec::new())
        }
        _ => {
            let describe = DescribeTable { table_name: TABLE.to_owned() };
            client.send(&describe).await.map(|_| Vec::new())
        }
    }
}

fn query() -> Query {
    Query {
        table: TABLE.to_owned(),
        index: None,
        partition_key: "PK".to_owned(),
        sort_key: "SK".to_owned(),
        partition: "ANALYTICS#users#hourly".to_owned(),
        range: None,
        projection: Vec::new(),
        descending: false,
    }
}

/// An error names the operation and the table, and says what kind of response it was.
fn check_error(error: &DynamoDbError, status: u16, is_damaged: bool) {
    let text = error.to_string();
    assert!(text.contains(error.operation) && error.target.contains(TABLE), "{text}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(text.chars().count() < 1000, "{text}");
    match &error.kind {
        ErrorKind::Damaged { .. } => assert!(is_damaged, "{text}"),
        ErrorKind::Service { status: found, .. } => assert!(status != 200 && *found == status),
        ErrorKind::MalformedResponse(_) | ErrorKind::Unprocessed(_) => assert_eq!(status, 200),
        other => panic!("{other:?}"),
    }
}

/// A record that can be read is the same after it was written and read again.
fn read_record(item: Item) {
    let Ok(record) = Record::from_item(item) else { return };
    let retention = Retention::default();
    let read = |record: &Record| {
        let item = record.to_item(&retention).expect("a record that was read can be written");
        Record::from_item(item).expect("what was written can be read")
    };
    // Written times have milliseconds, so the first round may lose digits.
    let written = read(&record);
    assert_eq!(read(&written), written);
    assert_eq!((written.period, written.metrics), (record.period, record.metrics));
}
