//! A proxy in front of DynamoDB that injects faults: the one place where something is not real.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The header with the answer's CRC-32.
const CHECKSUM: &str = "x-amz-crc32";

/// A checksum that no answer has but by a great coincidence.
const CHECKSUM_OF_OTHER_BYTES: &str = "305419896";

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    None,
    /// DynamoDB says that it is throttled.
    Throttled,
    /// DynamoDB says that it has failed.
    ServerError,
    /// DynamoDB refuses, for good.
    AccessDenied,
    /// The connection breaks before an answer.
    Dropped,
    /// It goes through, but the connection breaks before the answer.
    AnswerLost,
    /// The answer comes, after this time.
    Slow(Duration),
    /// The answer is cut off JSON, without a checksum.
    MalformedJson,
    /// The answer is an empty page with a key to go on from, which the next request brings.
    EmptyPage,
    /// This answer instead: a status and a body.
    Answer(u16, &'static str),
    /// The answer comes with its dates ten years too early, which is valid JSON of the same length, and
    /// with DynamoDB's checksum.
    Damaged,
    /// The answer comes whole, with this as its checksum.
    Checksum(&'static str),
    /// The answer comes as a runtime hands it out that decoded it: its `content-encoding` is still
    /// there, and the checksum is that of the compressed bytes.
    Decoded,
    /// The answer comes as behind a proxy that decoded it: no `content-encoding`, no length, and the
    /// checksum is that of the compressed bytes.
    Reframed,
}

/// A request as the rules see it.
pub struct Seen {
    /// Counted from 0.
    pub number: usize,
    /// The operation, for example `Query`.
    pub operation: String,
    pub body: Value,
}

impl Seen {
    /// Whether the request is a query of `partition`.
    pub fn queries(&self, partition: &str) -> bool {
        self.operation == "Query"
            && self.body["ExpressionAttributeValues"][":partition"]["S"] == partition
    }
}

type Rule = Box<dyn Fn(&Seen) -> Fault + Send + Sync>;

/// A running proxy.
pub struct FaultProxy {
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    http: reqwest::Client,
    rule: Rule,
    count: AtomicUsize,
    seen: Mutex<Vec<(String, Value)>>,
}

impl FaultProxy {
    /// A proxy in front of `upstream` in which `rule` decides on every request.
    pub async fn start(
        upstream: &str,
        rule: impl Fn(&Seen) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            http: reqwest::Client::new(),
            rule: Box::new(rule),
            count: AtomicUsize::new(0),
            seen: Mutex::new(Vec::new()),
        });
        let serving = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(state.clone(), request));
                    // A service that fails closes the connection: that is the dropped one.
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { endpoint, state }
    }

    /// The requests so far: operation and body.
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.state.seen.lock().unwrap().clone()
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let broken = || std::io::Error::other("broken on purpose");
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| broken())?.to_bytes();
    let target = parts.headers.get("x-amz-target").unwrap().to_str().unwrap();
    let seen = Seen {
        number: state.count.fetch_add(1, Ordering::SeqCst),
        operation: target.rsplit('.').next().unwrap().to_owned(),
        body: serde_json::from_slice(&body).unwrap(),
    };
    state.seen.lock().unwrap().push((seen.operation.clone(), seen.body.clone()));
    let fault = (state.rule)(&seen);
    match fault {
        Fault::Throttled => return Ok(error(400, "ThrottlingException")),
        Fault::ServerError => return Ok(error(500, "InternalServerError")),
        Fault::AccessDenied => return Ok(error(400, "AccessDeniedException")),
        Fault::Dropped => return Err(broken()),
        Fault::EmptyPage => {
            let start = seen.body.get("ExclusiveStartKey");
            assert!(start.is_none(), "only a first page can be made empty");
            let page = json!({ "Items": [], "Count": 0, "ScannedCount": 0,
                "LastEvaluatedKey": first_key(&state, &parts.headers, &seen.body).await });
            return Ok(Response::new(Full::from(page.to_string())));
        }
        Fault::Answer(status, body) => {
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            return Ok(response);
        }
        Fault::Slow(duration) => tokio::time::sleep(duration).await,
        Fault::None
        | Fault::AnswerLost
        | Fault::MalformedJson
        | Fault::Damaged
        | Fault::Checksum(_)
        | Fault::Decoded
        | Fault::Reframed => {}
    }
    let response = forward(&state, &parts.headers, body).await;
    let status = response.status();
    let checksum = response.headers().get(CHECKSUM).cloned().expect("DynamoDB sends a checksum");
    let body = response.bytes().await.map_err(|_| broken())?;
    let body = match fault {
        Fault::AnswerLost => return Err(broken()),
        Fault::MalformedJson => body.slice(..body.len() / 2),
        Fault::Damaged => damaged(&body),
        _ => body,
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CHECKSUM, checksum);
    match fault {
        Fault::MalformedJson => {
            headers.remove(CHECKSUM);
        }
        Fault::Checksum(checksum) => {
            headers.insert(CHECKSUM, HeaderValue::from_static(checksum));
        }
        Fault::Decoded => {
            headers.insert(CHECKSUM, HeaderValue::from_static(CHECKSUM_OF_OTHER_BYTES));
            headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        }
        Fault::Reframed => {
            headers.insert(CHECKSUM, HeaderValue::from_static(CHECKSUM_OF_OTHER_BYTES));
            headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        }
        _ => {}
    }
    Ok(response)
}

/// The answer with every date of 2026 in 2016.
fn damaged(body: &Bytes) -> Bytes {
    let whole = std::str::from_utf8(body).unwrap();
    let damaged = whole.replace(r#"{"S":"2026-"#, r#"{"S":"2016-"#);
    assert_ne!(damaged, whole, "there is a date to damage");
    Bytes::from(damaged)
}

async fn forward(state: &State, headers: &http::HeaderMap, body: Bytes) -> reqwest::Response {
    let mut headers = headers.clone();
    headers.remove("host");
    headers.remove("content-length");
    state.http.post(&state.upstream).headers(headers).body(body).send().await.unwrap()
}

/// A key that lies before every item of the queried partition, so that nothing is skipped.
async fn first_key(state: &State, headers: &http::HeaderMap, body: &Value) -> Value {
    // The key of an item right at the range's beginning: a limit of one and no items before it.
    let mut probe = body.clone();
    probe["Limit"] = json!(1);
    if let Some(probe) = probe.as_object_mut() {
        probe.remove("ProjectionExpression");
        let names = probe["ExpressionAttributeNames"].as_object_mut().unwrap();
        let used = body["KeyConditionExpression"].as_str().unwrap();
        names.retain(|placeholder, _| used.contains(placeholder.as_str()));
    }
    let probe = Bytes::from(probe.to_string());
    let response = forward(state, headers, probe).await;
    let response: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let mut key = response["LastEvaluatedKey"].clone();
    // Its sort keys, made the least there are, point before the item.
    for (name, value) in key.as_object_mut().expect("the partition holds at least two items") {
        if name.ends_with("SK") {
            *value = json!({ "S": " " });
        }
    }
    key
}

fn error(status: u16, code: &str) -> Response<Full<Bytes>> {
    let body = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": "injected"
    });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}
