//! `cargo xtask dev`: the whole product on this machine. It starts a DynamoDB that holds a sample platform
//! with its history, and the Worker; it generates activity and sends cron events while it runs.

mod due_events;
mod plan;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use clap::Args;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{
    crons::{Crons, TICK},
    dashboard,
    error::{Error, Result},
    package::{Recipe, build},
    processes::Signals,
    project::Project,
    setup::{Needs, set_up},
    traffic::Traffic,
    worker::{Settings, Worker, check_port},
};

use due_events::{count_missing_hours, send_due_events};
use plan::{Plan, Source};

/// The hours that the printed `curl` lines ask for.
const SHOWN_HOURS: u32 = 24;

/// The options of `cargo xtask dev`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Delete the stored sample platform and generate it again
    #[arg(long, conflicts_with = "endpoint")]
    fresh: bool,

    /// The port of the Worker
    #[arg(long, default_value_t = 8787, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Users of the sample platform; the number of other items follows from it [default: 120]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    users: Option<u32>,

    /// Days of sample history; each takes a second or two to generate [default: 60]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: Option<u32>,

    /// Seed of the sample platform: the same seed generates the same platform [default: 1]
    #[arg(long)]
    seed: Option<u64>,

    /// How many of the last hours are left to the Worker's cron handler at the start. It computes them
    /// late, so their values are marked as reconstructed [default: 0, and 3 with --endpoint]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=720))]
    hours: Option<u32>,

    /// Do not generate activity on the sample platform
    #[arg(long)]
    no_activity: bool,

    /// Use the DynamoDB at this URL, such as DynamoDB Local or AWS, instead of an embedded one. No
    /// activity is generated, and no cron events are sent besides those of --hours
    #[arg(long, value_name = "URL", requires = "table")]
    endpoint: Option<String>,

    /// The table there. If it does not exist and the URL is local, it is created and filled with a
    /// sample platform without history
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    table: Option<String>,
}

/// Runs until it is stopped.
pub async fn run(project: &Project, options: &Options, signals: &mut Signals) -> Result<()> {
    let mut running = Box::pin(signals.interrupt(Running::start(project, options))).await?;
    let background = running.background(options).await?;
    running.print_introduction(options);
    let result = tokio::select! {
        error = running.worker.ended() => Err(error),
        _ = signals.next() => Ok(()),
        error = background => Err(error),
    };
    eprintln!("\nstopping ...");
    running.stop().await;
    eprintln!("stopped");
    result
}

/// Everything that runs, in the order in which it must stop.
struct Running {
    worker: Worker,
    source: Source,
    token: String,
    folder: PathBuf,
    _lock: File,
}

impl Running {
    async fn start(project: &Project, options: &Options) -> Result<Self> {
        // Report a wrong option before the steps that take minutes.
        check_port(options.port)?;
        let folder = project.dev_folder();
        let lock = lock(&folder)?;
        let plan = Plan::make(&folder, options).await?;

        let tools = set_up(project, Needs::default()).await?;
        dashboard::build(project).await?;
        build(project, &tools, &Recipe::release()).await?;

        let mut source = plan.carry_out(&folder, options.hours.unwrap_or(0)).await?;
        let token = random_token()?;
        let mut settings = source.settings.clone();
        settings.extend(own_settings(&token, options.port));
        let worker = Worker::start(project, &tools, options.port, &settings, &token).await?;
        if let Some((database, stored)) = &mut source.embedded {
            let hours = options.hours.unwrap_or(0);
            send_due_events(&worker, database, stored, &folder, hours).await?;
            // Computes the realtime counters, which would otherwise be missing for up to five minutes.
            worker.cron_sender().send_cron(TICK, Utc::now()).await?;
        } else {
            let hours = options.hours.unwrap_or(3);
            count_missing_hours(&worker, current_hour(), hours).await?;
        }
        Ok(Self { worker, source, token, folder, _lock: lock })
    }

    /// Sends cron events and generates activity until it is dropped.
    async fn background(&self, options: &Options) -> Result<impl Future<Output = Error> + use<>> {
        let (crons, traffic) = match &self.source.embedded {
            Some((database, stored)) => {
                let crons = Crons::new(self.worker.cron_sender(), *stored, self.folder.clone());
                let traffic = if options.no_activity {
                    None
                } else {
                    Some(Traffic::on(database, stored.sample.seed).await?)
                };
                (Some(crons), traffic)
            }
            None => (None, None),
        };
        Ok(async move {
            tokio::join!(
                async {
                    match crons {
                        Some(crons) => crons.run().await,
                        None => std::future::pending().await,
                    }
                },
                async {
                    match traffic {
                        Some(traffic) => traffic.run().await,
                        None => std::future::pending().await,
                    }
                }
            )
            .0
        })
    }

    fn print_introduction(&self, options: &Options) {
        let curl = |metric_type: &str, more: &str| {
            format!(
                "  curl -s -H 'Authorization: Bearer {}' '{}{more}'",
                self.token,
                self.worker.metrics_path(metric_type, current_hour(), SHOWN_HOURS)
            )
        };
        let background = match (&self.source.embedded, options.no_activity) {
            (Some(_), false) => {
                "Activity is generated every few seconds. Cron events are sent at their scheduled \
                 times.\n"
            }
            (Some(_), true) => "Cron events are sent at their scheduled times.\n",
            (None, _) => "",
        };
        println!(
            "\n\
             dashboard    {dashboard}\n\
             \x20            Open it and sign in: paste the admin token into the field\n\
             admin token  {token}\n\
             \n\
             API          {api}\n\
             DynamoDB     {endpoint}, table {table}\n\
             log          {log}\n\
             \n\
             Metrics of users in the last {SHOWN_HOURS} hours:\n\
             {users}\n\
             Metrics of all types:\n\
             {all}\n\
             Two metrics of interactions:\n\
             {some}\n\
             \n\
             {background}Press Ctrl-C to stop everything.",
            dashboard = self.worker.dashboard(),
            api = self.worker.api(),
            endpoint = self.source.setting("DYNAMODB_ENDPOINT"),
            table = self.source.setting("DYNAMODB_TABLE"),
            token = self.token,
            log = self.worker.log().display(),
            users = curl("users", ""),
            all = curl("all", ""),
            some = curl("interactions", "&metrics=newLikes,newViews"),
        );
    }

    async fn stop(self) {
        self.worker.stop();
        if let Some((database, _)) = self.source.embedded {
            database.stop().await;
        }
    }
}

/// The start of the current hour, where the data of a sample ends.
pub fn current_hour() -> DateTime<Utc> {
    let now = Utc::now();
    // Truncation fails only for instants centuries away.
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now)
}

/// The Worker's settings besides those of its table.
fn own_settings(token: &str, port: u16) -> Settings {
    let hash = HEXLOWER.encode(&Sha256::digest(token));
    vec![
        ("API_TOKENS", format!("dev:{hash}")),
        ("ALLOWED_ORIGINS", format!("http://127.0.0.1:{port},http://localhost:{port}")),
    ]
}

/// A random token; the Worker gets only its hash.
fn random_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::System { what: "random bytes", reason: error.to_string() })?;
    Ok(HEXLOWER.encode(&bytes))
}

/// Keeps two runs from using one folder.
fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::file("create the folder", folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::file("write", &path))?;
    file.try_lock().map_err(|_| Error::AlreadyRunning)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_gets_only_the_hash_of_the_token() {
        let settings = own_settings("secret", 8787);
        assert_eq!(
            settings[0].1,
            "dev:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        );
        assert!(settings.iter().all(|(_, value)| !value.contains("secret")));
    }
}
