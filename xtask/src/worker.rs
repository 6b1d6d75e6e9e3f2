//! The Worker in `wrangler dev`: starting it, calling its API, sending it cron events.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    processes::{ProcessGroup, tail},
    progress::Activity,
    project::Project,
    schedule::Event,
    setup::Tools,
};

/// How long `wrangler dev` may take to answer; it usually takes a few seconds.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How long one scheduled run may take.
const RUN_LIMIT: Duration = Duration::from_mins(5);

/// The Worker's configuration, with the names of wrangler.toml.
pub type Settings = Vec<(&'static str, String)>;

/// A running `wrangler dev`.
#[derive(Debug)]
pub struct Worker {
    process: ProcessGroup,
    log: PathBuf,
    port: u16,
    token: String,
    http: reqwest::Client,
    // The last field: the file is removed after the process that reads it has ended.
    _settings: SettingsFile,
}

/// Fails if another program listens on `port`.
pub fn check_port(port: u16) -> Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|_| Error::PortInUse { port })
}

impl Worker {
    /// Starts the package in `pkg/` with `settings` and waits until its API answers to `token`.
    pub async fn start(
        project: &Project,
        tools: &Tools,
        port: u16,
        settings: &Settings,
        token: &str,
    ) -> Result<Self> {
        let folder = project.dev_folder();
        let settings = SettingsFile::write(folder.join("worker.env"), settings)?;
        let log = folder.join("wrangler.log");
        let output = File::create(&log).map_err(Error::file("write", &log))?;
        let errors = output.try_clone().map_err(Error::file("write", &log))?;
        let process = ProcessGroup::start(
            project
                .command(&tools.node)
                .arg(&tools.wrangler)
                .arg("dev")
                .arg("--env-file")
                .arg(&settings.path)
                .arg("--persist-to")
                .arg(folder.join("state"))
                .args(["--ip", "127.0.0.1", "--port", &port.to_string()])
                // A free port: two checkouts may run at once.
                .args(["--inspector-port", "0"])
                .arg("--show-interactive-dev-session=false")
                // No questions, no telemetry.
                .env("CI", "1")
                .env("WRANGLER_SEND_METRICS", "false")
                // Its own log would otherwise go into the home directory.
                .env("WRANGLER_LOG_PATH", folder.join("wrangler-logs"))
                .stdout(output)
                .stderr(errors),
        )?;
        let mut worker = Self {
            process,
            log,
            port,
            token: token.to_owned(),
            http: reqwest::Client::new(),
            _settings: settings,
        };
        worker.wait_until_it_answers().await?;
        Ok(worker)
    }

    /// The address of the dashboard.
    pub fn dashboard(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// The address of the API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}/api/admin/analytics", self.port)
    }

    /// The file with everything that wrangler and the Worker print.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until wrangler ends unexpectedly.
    pub async fn ended(&mut self) -> Error {
        match self.process.wait().await {
            Ok(status) => self.gone(&status.to_string()),
            Err(error) => error,
        }
    }

    /// Ends wrangler and every process that it started.
    pub fn stop(mut self) {
        self.process.stop();
    }

    /// The hours among the `count` before `end` whose records are missing, oldest first.
    pub async fn missing_hours(
        &self,
        end: DateTime<Utc>,
        count: u32,
    ) -> Result<Vec<DateTime<Utc>>> {
        let (status, body) = self
            .get(&self.metrics_path("all", end, count))
            .await
            .map_err(|error| self.silent(&error))?;
        let data = body.get("data").filter(|_| status == 200).ok_or_else(|| Error::Worker {
            doing: "list the missing hours",
            status,
            message: message(&body),
        })?;
        let mut missing = Vec::new();
        collect_missing(data, false, &mut missing);
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// The sender of its cron events.
    pub fn cron_sender(&self) -> CronSender {
        CronSender { http: self.http.clone(), port: self.port, log: self.log.clone() }
    }

    /// The path and query that ask for `count` hourly points before `end`.
    pub fn metrics_path(&self, metric_type: &str, end: DateTime<Utc>, count: u32) -> String {
        let hours = |count| {
            (end - TimeDelta::hours(i64::from(count))).to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        format!(
            "{}/metrics?metricType={metric_type}&granularity=hourly&startDate={}&endDate={}",
            self.api(),
            hours(count),
            // The range includes both ends, and the last hour to show is the one before `end`.
            (end - TimeDelta::milliseconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true),
        )
    }

    async fn get(&self, url: &str) -> reqwest::Result<(u16, Value)> {
        let response = self
            .http
            .get(url)
            .bearer_auth(&self.token)
            .timeout(Duration::from_mins(1))
            .send()
            .await?;
        let status = response.status().as_u16();
        // A body that is not JSON is not the Worker's; the status says what happened.
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
        Ok((status, body))
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let activity = Activity::start("starting the Worker in wrangler dev", "about 10 seconds");
        let started = Instant::now();
        let url = self.metrics_path("users", Utc::now(), 1);
        loop {
            tokio::select! {
                error = self.ended() => return Err(error),
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
            match self.get(&url).await {
                Ok((200, _)) => break,
                Ok((status, body)) => {
                    return Err(Error::Worker {
                        doing: "serve metrics",
                        status,
                        message: format!("{}; see {}", message(&body), self.log.display()),
                    });
                }
                Err(_) if started.elapsed() < START_LIMIT => {}
                Err(error) => return Err(self.silent(&error)),
            }
        }
        activity.finish("ready");
        Ok(())
    }

    fn gone(&self, status: &str) -> Error {
        Error::Server {
            server: "wrangler dev",
            problem: format!(
                "ended unexpectedly ({status}). The last lines of {}:\n{}",
                self.log.display(),
                tail(&self.log, 30)
            ),
        }
    }

    fn silent(&self, error: &reqwest::Error) -> Error {
        silent(&self.log, error)
    }
}

/// Sends cron events to the Worker; wrangler does not.
#[derive(Debug, Clone)]
pub struct CronSender {
    http: reqwest::Client,
    port: u16,
    log: PathBuf,
}

impl CronSender {
    /// Sends `event` and waits until its run has ended.
    pub async fn send(&self, event: Event) -> Result<()> {
        self.send_cron(event.cron(), event.at).await
    }

    /// Sends the event of the expression `cron` at `at` and waits until its run has ended.
    pub async fn send_cron(&self, cron: &str, at: DateTime<Utc>) -> Result<()> {
        let response = self
            .http
            .get(format!("http://127.0.0.1:{}/cdn-cgi/handler/scheduled", self.port))
            .query(&[("cron", cron), ("time", &at.timestamp_millis().to_string())])
            .timeout(RUN_LIMIT)
            .send()
            .await
            .map_err(|error| silent(&self.log, &error))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(Error::Worker {
            doing: "handle a cron event",
            status: response.status().as_u16(),
            message: format!("see {}", self.log.display()),
        })
    }
}

fn silent(log: &Path, error: &reqwest::Error) -> Error {
    Error::Server {
        server: "wrangler dev",
        problem: format!(
            "does not answer ({error}). The last lines of {}:\n{}",
            log.display(),
            tail(log, 30)
        ),
    }
}

/// The Worker's settings, in a file that only its owner can read and that is deleted after use: every
/// user of the machine can see the arguments of a process.
#[derive(Debug)]
struct SettingsFile {
    path: PathBuf,
}

impl SettingsFile {
    fn write(path: PathBuf, settings: &Settings) -> Result<Self> {
        // A file left by a killed run may have other permissions.
        let _ = fs::remove_file(&path);
        let mut text = String::new();
        for (name, value) in settings {
            // Within single quotes all other characters stand for themselves.
            if value.contains(['\'', '\n', '\r']) {
                return Err(Error::Variable {
                    name,
                    problem: "contains a quote or a line break. Remove it".to_owned(),
                });
            }
            text.push_str(name);
            text.push_str("='");
            text.push_str(value);
            text.push_str("'\n");
        }
        let file = Self { path };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file.path)
            .and_then(|mut open| open.write_all(text.as_bytes()))
            .map_err(Error::file("write", &file.path))?;
        Ok(file)
    }
}

impl Drop for SettingsFile {
    fn drop(&mut self) {
        // After a failure here, the next run deletes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn message(body: &Value) -> String {
    let text = |name| body.get(name).and_then(Value::as_str);
    match (text("error"), text("message")) {
        (Some(error), Some(message)) => format!("{error}: {message}"),
        (Some(error), None) => error.to_owned(),
        _ => "no explanation".to_owned(),
    }
}

/// Every instant below a key `missing`: the response has one list for one type, and a list for each type
/// for `all`.
fn collect_missing(value: &Value, inside: bool, found: &mut Vec<DateTime<Utc>>) {
    match value {
        Value::String(text) if inside => {
            found.extend(text.parse::<DateTime<Utc>>().ok());
        }
        Value::Array(values) => {
            for value in values {
                collect_missing(value, inside, found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                collect_missing(value, inside || name == "missing", found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_hours_are_found_anywhere_in_the_response() {
        let data = json!({
            "startDate": "2026-03-01T00:00:00.000Z",
            "missing": ["2026-03-01T02:00:00.000Z"],
            "allMetrics": [{"missing": [{"timestamp": "2026-03-01T01:00:00.000Z"}]}],
        });
        let mut missing = Vec::new();
        collect_missing(&data, false, &mut missing);
        missing.sort_unstable();
        assert_eq!(
            missing,
            ["2026-03-01T01:00:00Z", "2026-03-01T02:00:00Z"]
                .map(|text| text.parse::<DateTime<Utc>>().unwrap())
        );
    }

    #[test]
    fn settings_are_readable_by_their_owner_only_and_are_deleted() {
        use std::os::unix::fs::PermissionsExt;

        let path = std::env::temp_dir().join(format!("settings-test-{}.env", std::process::id()));
        let settings = vec![("AWS_REGION", "eu-central-1".to_owned())];
        let file = SettingsFile::write(path.clone(), &settings).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "AWS_REGION='eu-central-1'\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_value_that_would_break_the_file_is_rejected_by_name() {
        let settings = vec![("AWS_SECRET_ACCESS_KEY", "a'b".to_owned())];
        let path = std::env::temp_dir().join("never-written.env");
        let error = SettingsFile::write(path, &settings).unwrap_err().to_string();
        assert!(error.contains("AWS_SECRET_ACCESS_KEY") && !error.contains("a'b"));
    }
}
