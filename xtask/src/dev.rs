//! `cargo xtask dev`: the whole thing on this machine. A DynamoDB with a sample platform, the
//! Worker beside it, the sample's recent hours aggregated, and the lines to try it with.

use std::{
    fs::{self, File},
    path::Path,
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use clap::Args;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{
    embedded_dynamodb::{EmbeddedDynamoDb, StoredSample, TABLE, delete_sample},
    error::{Error, Result},
    existing_dynamodb::{Table, Target},
    package::{Recipe, build},
    processes::Signals,
    progress::Activity,
    project::Project,
    setup::{Needs, set_up},
    worker::{Settings, Worker, check_port},
};

/// The hours that the printed `curl` lines ask for.
const SHOWN_HOURS: u32 = 24;

/// How `dev` runs.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Delete what earlier runs stored and start over
    #[arg(long, conflicts_with = "endpoint")]
    fresh: bool,

    /// The port of the Worker
    #[arg(long, default_value_t = 8787, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,

    /// Users of the sample platform; everything else grows with them [default: 500]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    users: Option<u32>,

    /// Age of the sample platform in days [default: 30]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: Option<u32>,

    /// What the sample platform is drawn from: the same seed, the same platform [default: 1]
    #[arg(long)]
    seed: Option<u64>,

    /// How many recent hours to aggregate, 0 for none
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=720))]
    hours: u32,

    /// Use the DynamoDB at this URL, such as DynamoDB Local or AWS, instead of an embedded one
    #[arg(long, value_name = "URL", requires = "table")]
    endpoint: Option<String>,

    /// The table there; made and filled with the sample if it is absent and the URL is local
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    table: Option<String>,
}

/// Runs until somebody stops it.
pub async fn run(project: &Project, options: &Options, signals: &mut Signals) -> Result<()> {
    let mut running = signals.interrupt(Running::start(project, options)).await?;
    running.introduce();
    let result = tokio::select! {
        error = running.worker.ended() => Err(error),
        _ = signals.next() => Ok(()),
    };
    eprintln!("\nstopping ...");
    running.stop().await;
    eprintln!("stopped; no process is left");
    result
}

/// Everything that runs, in the order in which it has to end.
struct Running {
    worker: Worker,
    source: Source,
    token: String,
    _lock: File,
}

/// The DynamoDB behind the Worker, and the hour at which its data ends.
struct Source {
    embedded: Option<EmbeddedDynamoDb>,
    settings: Settings,
    end: DateTime<Utc>,
}

impl Running {
    async fn start(project: &Project, options: &Options) -> Result<Self> {
        // What can be wrong already is said before minutes have passed.
        check_port(options.port)?;
        let folder = project.dev_folder();
        let lock = lock(&folder)?;
        let plan = Plan::make(&folder, options).await?;

        let tools = set_up(project, Needs::default()).await?;
        build(project, &tools, &Recipe::release()).await?;

        let mut source = plan.carry_out(&folder).await?;
        let token = random_token()?;
        source.settings.extend(own_settings(&token, options.port));
        let worker = Worker::start(project, &tools, options.port, &source.settings, &token).await?;
        aggregate(&worker, source.end, options.hours).await?;
        Ok(Self { worker, source, token, _lock: lock })
    }

    fn introduce(&self) {
        let curl = |metric_type: &str, more: &str| {
            format!(
                "  curl -s -H 'Authorization: Bearer {}' '{}{more}'",
                self.token,
                self.worker.metrics_path(metric_type, self.source.end, SHOWN_HOURS)
            )
        };
        println!(
            "\n\
             API          {api}\n\
             DynamoDB     {endpoint}, table {table}\n\
             admin token  {token}\n\
             log          {log}\n\
             \n\
             The users of the last {SHOWN_HOURS} hours:\n\
             {users}\n\
             All types:\n\
             {all}\n\
             Two metrics of the interactions:\n\
             {some}\n\
             \n\
             Ctrl-C stops everything.",
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
        if let Some(embedded) = self.source.embedded {
            embedded.stop().await;
        }
    }
}

/// Where the data will come from, decided before anything takes long.
enum Plan {
    Embedded(StoredSample),
    Existing { target: Target, table: String, import: Option<StoredSample> },
}

impl Plan {
    async fn make(folder: &Path, options: &Options) -> Result<Self> {
        let (Some(endpoint), Some(table)) = (&options.endpoint, &options.table) else {
            if options.fresh {
                delete_sample(folder)?;
                let state = folder.join("state");
                if state.exists() {
                    fs::remove_dir_all(&state).map_err(Error::file("delete", &state))?;
                }
            }
            return choose_sample(StoredSample::read(folder), options).map(Self::Embedded);
        };
        let target = Target::from_environment(endpoint)?;
        let import = match target.look_for(table, folder).await? {
            Table::Found => {
                eprintln!(
                    "table `{table}` is there: nothing is imported; the Worker reads it and writes \
                     its records into it"
                );
                None
            }
            Table::Absent => Some(asked_sample(options)),
        };
        Ok(Self::Existing { target, table: table.clone(), import })
    }

    async fn carry_out(self, folder: &Path) -> Result<Source> {
        match self {
            Self::Embedded(sample) => {
                let embedded = EmbeddedDynamoDb::start(folder, sample).await?;
                let settings = vec![
                    ("AWS_REGION", "us-east-1".to_owned()),
                    ("AWS_ACCESS_KEY_ID", "local".to_owned()),
                    ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
                    ("DYNAMODB_TABLE", TABLE.to_owned()),
                    ("DYNAMODB_ENDPOINT", embedded.endpoint()),
                ];
                Ok(Source { embedded: Some(embedded), settings, end: sample.end })
            }
            Self::Existing { target, table, import } => {
                if let Some(sample) = import {
                    target.import(&table, sample.into(), folder).await?;
                }
                let mut settings = vec![
                    ("AWS_REGION", target.region),
                    ("AWS_ACCESS_KEY_ID", target.access_key_id),
                    ("AWS_SECRET_ACCESS_KEY", target.secret_access_key),
                    ("DYNAMODB_TABLE", table),
                    ("DYNAMODB_ENDPOINT", target.endpoint),
                ];
                settings.extend(target.session_token.map(|token| ("AWS_SESSION_TOKEN", token)));
                Ok(Source { embedded: None, settings, end: current_hour() })
            }
        }
    }
}

impl Source {
    fn setting(&self, wanted: &str) -> &str {
        self.settings.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
    }
}

/// The sample to use: the stored one, unless something else was asked for.
fn choose_sample(stored: Option<StoredSample>, options: &Options) -> Result<StoredSample> {
    let Some(stored) = stored else {
        return Ok(asked_sample(options));
    };
    let asked = StoredSample {
        users: options.users.unwrap_or(stored.users),
        days: options.days.unwrap_or(stored.days),
        seed: options.seed.unwrap_or(stored.seed),
        end: stored.end,
    };
    if asked != stored {
        return Err(Error::OtherSample { stored: stored.to_string(), asked: asked.to_string() });
    }
    let age = Utc::now() - stored.end;
    if age > TimeDelta::days(1) {
        eprintln!(
            "the stored sample ends {} days ago, at {}; --fresh makes one that ends now",
            age.num_days(),
            stored.end.format("%F %H:%M UTC")
        );
    }
    Ok(stored)
}

fn asked_sample(options: &Options) -> StoredSample {
    StoredSample {
        users: options.users.unwrap_or(500),
        days: options.days.unwrap_or(30),
        seed: options.seed.unwrap_or(1),
        end: current_hour(),
    }
}

fn current_hour() -> DateTime<Utc> {
    let now = Utc::now();
    // Only an instant centuries away cannot be cut to an hour.
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now)
}

/// What the Worker is told besides where its data is.
fn own_settings(token: &str, port: u16) -> Settings {
    let hash = HEXLOWER.encode(&Sha256::digest(token));
    vec![
        ("API_TOKENS", format!("dev:{hash}")),
        ("ALLOWED_ORIGINS", format!("http://127.0.0.1:{port},http://localhost:{port}")),
    ]
}

/// Has the Worker aggregate those of the last `count` hours that it has no records of.
async fn aggregate(worker: &Worker, end: DateTime<Utc>, count: u32) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let missing = worker.missing_hours(end, count).await?;
    if missing.is_empty() {
        eprintln!("the last {count} hours have been aggregated earlier");
        return Ok(());
    }
    let activity = Activity::start(
        &format!("aggregating {} of the last {count} hours", missing.len()),
        "about a second each",
    );
    for (number, hour) in missing.iter().enumerate() {
        activity.note(&format!(
            "{} of {}: {}",
            number + 1,
            missing.len(),
            hour.format("%F %H:%M UTC")
        ));
        worker.aggregate(*hour).await?;
    }
    let left = worker.missing_hours(end, count).await?;
    if left.is_empty() {
        activity.finish("done");
    } else {
        activity.finish(&format!(
            "{} hours are still incomplete, see {}",
            left.len(),
            worker.log().display()
        ));
    }
    Ok(())
}

/// A token that nobody can guess; the Worker gets only its hash.
fn random_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::System { what: "random bytes", reason: error.to_string() })?;
    Ok(HEXLOWER.encode(&bytes))
}

/// Keeps two runs from using one folder.
fn lock(folder: &Path) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::file("make the folder", folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::file("write", &path))?;
    file.try_lock().map_err(|_| Error::AlreadyRunning)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Options {
        Arguments::parse_from([&["dev"], arguments].concat()).options
    }

    fn stored() -> StoredSample {
        StoredSample { users: 200, days: 10, seed: 7, end: current_hour() }
    }

    #[test]
    fn what_is_stored_is_used_when_nothing_else_is_asked_for() {
        assert_eq!(choose_sample(Some(stored()), &options(&[])).unwrap(), stored());
        assert_eq!(choose_sample(Some(stored()), &options(&["--users", "200"])).unwrap(), stored());
    }

    #[test]
    fn another_shape_than_the_stored_one_is_refused_with_the_way_out() {
        let error = choose_sample(Some(stored()), &options(&["--users", "300"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("200 users, 10 days and seed 7"), "{text}");
        assert!(text.contains("300 users") && text.contains("--fresh"), "{text}");
    }

    #[test]
    fn the_worker_learns_the_hash_of_the_token_only() {
        let settings = own_settings("secret", 8787);
        assert_eq!(
            settings[0].1,
            "dev:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        );
        assert!(settings.iter().all(|(_, value)| !value.contains("secret")));
    }
}
