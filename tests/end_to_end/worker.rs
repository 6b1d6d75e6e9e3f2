//! A built package in the real Workers runtime: `wrangler dev`, asked over HTTP, with everything
//! it prints kept.

use std::{
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method};
use serde_json::Value;

/// How long `wrangler dev` may take to answer; it needs a few seconds.
const START_LIMIT: Duration = Duration::from_mins(2);

/// How long an answer may take; most take milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

/// How long a line may take from the Worker to the log.
const LOG_LIMIT: Duration = Duration::from_secs(30);

/// How much of the log a failed start shows.
const SHOWN_LINES: usize = 60;

/// Runs wrangler and ends it, with all that it started, and the temporary folder.
const KEEPER: &str = include_str!("keep.sh");

static WORKERS: AtomicU32 = AtomicU32::new(0);

/// What the tests need from `cargo xtask test`.
pub struct Tools {
    node: PathBuf,
    wrangler: PathBuf,
}

impl Tools {
    pub fn from_environment() -> Result<Self, String> {
        Ok(Self {
            node: path_from("EDGE_ANALYTICS_NODE")?,
            wrangler: path_from("EDGE_ANALYTICS_WRANGLER")?,
        })
    }
}

/// The path that an environment variable holds.
pub fn path_from(variable: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os(variable).map(PathBuf::from).ok_or_else(|| {
        format!("{variable} is not set: run `cargo xtask test`, which builds and sets all it needs")
    })?;
    if !path.exists() {
        return Err(format!(
            "{variable} names {}, which is not there: run `cargo xtask test`, which makes it",
            path.display()
        ));
    }
    Ok(path)
}

/// Variables of a Worker, as `wrangler dev --var` takes them.
pub type Variables = Vec<(&'static str, String)>;

/// A running `wrangler dev`.
pub struct Worker {
    keeper: Child,
    log: PathBuf,
    port: u16,
    http: reqwest::Client,
}

/// What the Worker answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl Worker {
    /// Starts the package in the folder `package` with `variables` and waits until it answers.
    pub async fn start(tools: &Tools, package: &Path, variables: &Variables) -> Self {
        let number = WORKERS.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("end-to-end-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("wrangler.log");
        let output = File::create(&log).unwrap();
        // Without it wrangler would read the developer's own .dev.vars or .env.
        let no_variables = folder.join("no-variables.env");
        fs::write(&no_variables, "").unwrap();
        let port = free_port();

        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&folder);
        command.arg(&tools.node).arg(&tools.wrangler).arg("dev");
        command.arg("--config").arg(configuration(package, &folder));
        command.arg("--env-file").arg(&no_variables);
        command.arg("--persist-to").arg(folder.join("state"));
        command.args(["--ip", "127.0.0.1", "--port", &port.to_string(), "--inspector-port", "0"]);
        for (name, value) in variables {
            command.args(["--var", &format!("{name}:{value}")]);
        }
        let keeper = command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("WRANGLER_SEND_METRICS", "false")
            // Its own log, which it would keep in the home directory.
            .env("WRANGLER_LOG_PATH", folder.join("wrangler-logs"))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().timeout(ANSWER_LIMIT).build().unwrap();
        let worker = Self { keeper, log, port, http };
        worker.wait_until_it_answers().await;
        worker
    }

    async fn wait_until_it_answers(&self) {
        let begun = Instant::now();
        let url = self.url("/api/");
        loop {
            // Whatever it answers, it is the Worker that does.
            if let Ok(answer) = self.http.get(&url).send().await
                && answer.headers().contains_key("x-request-id")
            {
                return;
            }
            let ended = self.log().contains("wrangler ended with status");
            if ended || begun.elapsed() > START_LIMIT {
                let what = if ended { "ended by itself" } else { "does not answer" };
                panic!("wrangler dev {what}; the end of its output:\n{}", self.end_of_log(0));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn url(&self, path_and_query: &str) -> String {
        format!("http://127.0.0.1:{}{path_and_query}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a request; any answer is an answer.
    pub async fn send(
        &self,
        method: Method,
        path_and_query: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.http.request(method, self.url(path_and_query));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = self.http.post(self.url(path)).body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::answer(request).await
    }

    async fn answer(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8(response.bytes().await.unwrap().to_vec()).unwrap();
        Answer { status, headers, body }
    }

    /// Sends the cron event that works on the hour beginning at `hour`, and waits for its end.
    pub async fn aggregate(&self, hour: DateTime<Utc>) {
        let due = (hour + TimeDelta::hours(1)).timestamp_millis();
        let path = format!("/cdn-cgi/handler/scheduled?cron=0+*+*+*+*&time={due}");
        let answer = self.send(Method::GET, &path, &[]).await;
        assert_eq!(answer.status, 200, "the cron event of {hour}: {answer:?}");
    }

    /// Everything that wrangler and the Worker have printed so far.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        File::open(&self.log).unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The structured lines so far. Wrangler writes its own marks around those that are errors.
    pub fn events(&self) -> Vec<Value> {
        let first_object = |line: &str| {
            let object = line.get(line.find('{')?..)?;
            serde_json::Deserializer::from_str(object).into_iter().next()?.ok()
        };
        self.log().lines().filter_map(first_object).collect()
    }

    /// The structured lines that are `wanted`, as soon as there are `count`; `what` they are.
    pub async fn wait_for_events(
        &self,
        what: &str,
        count: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let found: Vec<Value> = self.events().into_iter().filter(&wanted).collect();
            if found.len() >= count {
                return found;
            }
            assert!(
                begun.elapsed() < LOG_LIMIT,
                "{} of {count} lines in the log: {what}",
                found.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Shows, if the test fails, what was printed from now on.
    pub fn show_log_on_failure(&self) -> impl Drop {
        LogOnFailure { worker: self, from: self.log().len() }
    }

    fn end_of_log(&self, from: usize) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.get(from..).unwrap_or(&log).lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

struct LogOnFailure<'worker> {
    worker: &'worker Worker,
    from: usize,
}

impl Drop for LogOnFailure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("wrangler's output in this test:\n{}", self.worker.end_of_log(self.from));
        }
    }
}

/// The checked-in wrangler.toml for the package that it names, for another one a copy.
fn configuration(package: &Path, folder: &Path) -> PathBuf {
    const MAIN: &str = "main = \"pkg/index.js\"";
    const ASSETS: &str = "directory = \"www/dist\"";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = root.join("wrangler.toml");
    if package.canonicalize().unwrap() == root.join("pkg") {
        return checked_in;
    }
    let text = fs::read_to_string(&checked_in).unwrap();
    assert!(text.contains(MAIN), "wrangler.toml has no line {MAIN}");
    let copy = folder.join("wrangler.toml");
    let main = format!("main = '{}'", package.join("index.js").display());
    assert!(text.contains(ASSETS), "wrangler.toml has no line {ASSETS}");
    let assets = format!("directory = '{}'", root.join("www/dist").display());
    fs::write(&copy, text.replace(MAIN, &main).replace(ASSETS, &assets)).unwrap();
    copy
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
