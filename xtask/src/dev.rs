//! `cargo xtask dev`: the whole thing on this machine. A DynamoDB with a sample platform and its
//! past, the Worker beside it, activity that goes on, and what to open and to try.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use chrono::{DateTime, DurationRound, SubsecRound, TimeDelta, Utc};
use clap::Args;
use data_encoding::HEXLOWER;
use edge_analytics::metrics::period::Granularity;
use sample_platform::Change;
use sha2::{Digest, Sha256};

use crate::{
    crons::{Crons, TICK},
    dashboard,
    embedded_dynamodb::EmbeddedDynamoDb,
    error::{Error, Result},
    existing_dynamodb::{Table, Target},
    history::{self, Sample, Stored},
    package::{Recipe, build},
    processes::Signals,
    progress::Activity,
    project::Project,
    schedule::{Event, due},
    setup::{Needs, set_up},
    traffic::Traffic,
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

    /// Users of the sample platform; everything else grows with them [default: 120]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    users: Option<u32>,

    /// Days of the sample platform's past; more take longer to make [default: 60]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: Option<u32>,

    /// What the sample platform is drawn from: the same seed, the same platform [default: 1]
    #[arg(long)]
    seed: Option<u64>,

    /// How many of the last hours the Worker's own cron handler counts at the start. It does so late,
    /// and marks them [default: 0, and 3 with --endpoint]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=720))]
    hours: Option<u32>,

    /// Leave the sample platform as it is: nobody comes, nothing happens
    #[arg(long)]
    no_activity: bool,

    /// Use the DynamoDB at this URL, such as DynamoDB Local or AWS, instead of an embedded one;
    /// without activity, and without cron events besides those of --hours
    #[arg(long, value_name = "URL", requires = "table")]
    endpoint: Option<String>,

    /// The table there; made and filled with a sample without a past if it is absent and the URL is
    /// local
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    table: Option<String>,
}

/// Runs until somebody stops it.
pub async fn run(project: &Project, options: &Options, signals: &mut Signals) -> Result<()> {
    let mut running = Box::pin(signals.interrupt(Running::start(project, options))).await?;
    let background = running.background(options).await?;
    running.introduce(options);
    let result = tokio::select! {
        error = running.worker.ended() => Err(error),
        _ = signals.next() => Ok(()),
        error = background => Err(error),
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
    folder: PathBuf,
    _lock: File,
}

/// The DynamoDB behind the Worker.
struct Source {
    embedded: Option<(EmbeddedDynamoDb, Stored)>,
    settings: Settings,
}

impl Running {
    async fn start(project: &Project, options: &Options) -> Result<Self> {
        // What can be wrong already is said before minutes have passed.
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
        match &mut source.embedded {
            Some((database, stored)) => {
                let hours = options.hours.unwrap_or(0);
                bring_up_to_date(&worker, database, stored, &folder, hours).await?;
                // Whoever opens the dashboard now sees the counters; the clock's first tick may be
                // five minutes away.
                worker.cron_sender().fire(TICK, Utc::now()).await?;
            }
            None => aggregate(&worker, current_hour(), options.hours.unwrap_or(3)).await?,
        }
        Ok(Self { worker, source, token, folder, _lock: lock })
    }

    /// What goes on from here on, until it is dropped.
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
                        Some(crons) => crons.fire().await,
                        None => std::future::pending().await,
                    }
                },
                async {
                    match traffic {
                        Some(traffic) => traffic.flow().await,
                        None => std::future::pending().await,
                    }
                }
            )
            .0
        })
    }

    fn introduce(&self, options: &Options) {
        let curl = |metric_type: &str, more: &str| {
            format!(
                "  curl -s -H 'Authorization: Bearer {}' '{}{more}'",
                self.token,
                self.worker.metrics_path(metric_type, current_hour(), SHOWN_HOURS)
            )
        };
        let goes_on = match (&self.source.embedded, options.no_activity) {
            (Some(_), false) => {
                "Visitors come, like, upload and order every few seconds, and cron events come at \
                 their times.\n"
            }
            (Some(_), true) => "Cron events come at their times.\n",
            (None, _) => "",
        };
        println!(
            "\n\
             dashboard    {dashboard}\n\
             \x20            Open it and sign in with the admin token: paste it into the field\n\
             admin token  {token}\n\
             \n\
             API          {api}\n\
             DynamoDB     {endpoint}, table {table}\n\
             log          {log}\n\
             \n\
             The users of the last {SHOWN_HOURS} hours:\n\
             {users}\n\
             All types:\n\
             {all}\n\
             Two metrics of the interactions:\n\
             {some}\n\
             \n\
             {goes_on}Ctrl-C stops everything.",
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

/// Where the data will come from, decided before anything takes long.
enum Plan {
    Embedded(Sample),
    Existing { target: Target, table: String, import: Option<Sample> },
}

impl Plan {
    async fn make(folder: &Path, options: &Options) -> Result<Self> {
        let (Some(endpoint), Some(table)) = (&options.endpoint, &options.table) else {
            if options.fresh {
                history::delete(folder)?;
            }
            return choose_sample(Stored::read(folder), options).map(Self::Embedded);
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

    async fn carry_out(self, folder: &Path, hours: u32) -> Result<Source> {
        match self {
            Self::Embedded(sample) => {
                let (database, stored) = history::prepare(folder, sample, hours).await?;
                Ok(Source { settings: database.settings(), embedded: Some((database, stored)) })
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
                Ok(Source { embedded: None, settings })
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
fn choose_sample(stored: Option<Stored>, options: &Options) -> Result<Sample> {
    let Some(Stored { sample: stored, .. }) = stored else {
        return Ok(asked_sample(options));
    };
    let asked = Sample {
        users: options.users.unwrap_or(stored.users),
        days: options.days.unwrap_or(stored.days),
        seed: options.seed.unwrap_or(stored.seed),
        end: stored.end,
    };
    if asked != stored {
        return Err(Error::OtherSample { stored: stored.to_string(), asked: asked.to_string() });
    }
    Ok(stored)
}

fn asked_sample(options: &Options) -> Sample {
    Sample {
        users: options.users.unwrap_or(120),
        days: options.days.unwrap_or(60),
        seed: options.seed.unwrap_or(1),
        end: Utc::now().trunc_subsecs(0),
    }
}

/// The full hour at which a platform that is seen now ends.
pub fn current_hour() -> DateTime<Utc> {
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

/// Sends the Worker the cron events that have become due since the history ended, or since `dev`
/// stopped; the platform stands at each as it did then, as far as its told life goes.
async fn bring_up_to_date(
    worker: &Worker,
    database: &EmbeddedDynamoDb,
    stored: &mut Stored,
    folder: &Path,
    hours: u32,
) -> Result<()> {
    let now = Utc::now();
    let events = due(stored.reached, now, hours);
    if events.is_empty() && stored.reached >= stored.sample.end {
        eprintln!("cron events: none has become due since the last time");
        return Ok(());
    }
    let mut untold = stored.untold().into_iter().peekable();
    let activity = Activity::start(
        &format!("sending the Worker the cron events that are due, {}", events.len()),
        "a second or two each",
    );
    let sender = worker.cron_sender();
    for (number, event) in events.iter().enumerate() {
        let Event { granularity, at } = event;
        activity.note(&format!("{} of {}: {granularity}, {at}", number + 1, events.len()));
        if *granularity == Granularity::Hourly {
            let until: Vec<Change> =
                std::iter::from_fn(|| untold.next_if(|change| change.at <= *at)).collect();
            database.play(until).await?;
        }
        sender.send(*event).await?;
    }
    database.play(untold.collect()).await?;
    *stored = Stored { reached: now, ..*stored };
    stored.write(folder)?;
    let missing = worker.missing_hours(current_hour(), SHOWN_HOURS).await?.len();
    activity.finish(&match missing {
        0 => "done".to_owned(),
        missing => format!(
            "of the last {SHOWN_HOURS} hours {missing} are incomplete, see {}",
            worker.log().display()
        ),
    });
    Ok(())
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
        let at = *hour + TimeDelta::hours(1);
        worker.cron_sender().send(Event { granularity: Granularity::Hourly, at }).await?;
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

    fn sample() -> Sample {
        Sample { users: 200, days: 10, seed: 7, end: current_hour() }
    }

    fn choose(arguments: &[&str]) -> Result<Sample> {
        let stored = Stored { sample: sample(), reached: current_hour() };
        choose_sample(Some(stored), &options(arguments))
    }

    #[test]
    fn what_is_stored_is_used_when_nothing_else_is_asked_for() {
        assert_eq!(choose(&[]).unwrap(), sample());
        assert_eq!(choose(&["--users", "200"]).unwrap(), sample());
    }

    #[test]
    fn another_shape_than_the_stored_one_is_refused_with_the_way_out() {
        let text = choose(&["--users", "300"]).unwrap_err().to_string();
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
