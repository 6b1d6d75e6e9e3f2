//! The dashboard in Chromium: its tests, screenshots and measurements, against the built Worker on a
//! sample platform whose data ends now.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::SecondsFormat;
use clap::{Args, ValueEnum};
use sample_platform::{Shape, accounts, generate};

use crate::{
    dashboard,
    dev::current_hour,
    embedded_dynamodb::{EmbeddedDynamoDb, TABLE},
    error::{Error, Result},
    history,
    package::{Recipe, build},
    processes::Signals,
    project::Project,
    setup::{Needs, Tools, chromium, set_up},
    suites::Suites,
    test::{node_test, show_and_run},
};

/// Days of data: more than any work counts.
const DAYS: u32 = 60;

/// How many whole days, and today, have a scheduled run for every hour. The hours of earlier days are
/// computed by their days' runs.
const LIVE_DAYS: u32 = 9;

const SEED: u64 = 1;

/// The files of the tests; options for node come before them.
const TESTS: &str = "e2e/*.test.ts";

/// What to do in the browser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Run the tests
    #[default]
    Tests,
    /// Take screenshots of every page in both themes, wide and narrow
    Screenshots,
    /// Measure when the overview is painted and how many bytes it loads
    Measurements,
}

impl Work {
    /// The script of `www/package.json` that does it.
    fn script(self) -> &'static str {
        match self {
            Self::Tests => "e2e",
            Self::Screenshots => "screenshots",
            Self::Measurements => "measure",
        }
    }

    /// How many whole days have records: enough to compare weeks, or to fill a chart.
    fn days_counted(self) -> u32 {
        match self {
            Self::Tests => 16,
            Self::Screenshots | Self::Measurements => 36,
        }
    }

    /// Users of the sample. The tests need few, so that their hours are counted quickly.
    fn users(self) -> u32 {
        match self {
            Self::Tests => 400,
            Self::Screenshots | Self::Measurements => 2_000,
        }
    }
}

/// What to do in the browser, and with which package.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What to do
    #[arg(value_enum, default_value_t)]
    work: Work,

    /// Use the package and the dashboard that were built last
    #[arg(long)]
    no_build: bool,

    /// Arguments for the script, after `--`, such as `--test-name-pattern=zoom`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Runs `cargo xtask browser`.
pub async fn run(project: &Project, options: &Options, signals: &mut Signals) -> Result<()> {
    let work = async {
        let tools = set_up(project, needs()).await?;
        if !options.no_build {
            dashboard::build(project).await?;
            build(project, &tools, &Recipe::release()).await?;
        }
        let suites = Suites::default();
        in_chromium(project, &tools, options.work, &options.arguments, &suites).await
    };
    signals.interrupt(work).await
}

/// Runs the tests, all or those that `filter` chooses, against the package and the dashboard that are
/// built.
pub async fn test(
    project: &Project,
    tools: &Tools,
    filter: &[String],
    suites: &Suites,
) -> Result<()> {
    in_chromium(project, tools, Work::Tests, filter, suites).await
}

/// What this needs from the machine.
pub fn needs() -> Needs {
    Needs { chromium: true, ..Needs::default() }
}

async fn in_chromium(
    project: &Project,
    tools: &Tools,
    work: Work,
    arguments: &[String],
    suites: &Suites,
) -> Result<()> {
    let chromium = chromium().await?;
    let folder = Folder::make(project)?;
    let sample = Shape { users: work.users(), days: DAYS, seed: SEED, end: current_hour() };
    let dynamodb = EmbeddedDynamoDb::start(&folder.0).await?;
    dynamodb.import(generate(&sample)).await?;
    Box::pin(history::count(&dynamodb, sample.end, work.days_counted(), LIVE_DAYS)).await?;
    let accounts = accounts(SEED);

    let mut command = project.command("npm");
    command
        .current_dir(project.dashboard())
        .args(["run", "--silent", work.script(), "--"])
        .args(arguments)
        .args((work == Work::Tests).then_some(TESTS))
        .env("EDGE_ANALYTICS_CHROMIUM", chromium)
        .env("EDGE_ANALYTICS_NODE", &tools.node)
        .env("EDGE_ANALYTICS_WRANGLER", &tools.wrangler)
        .env("EDGE_ANALYTICS_FOLDER", &folder.0)
        .env("EDGE_ANALYTICS_DYNAMODB", dynamodb.endpoint())
        .env("EDGE_ANALYTICS_TABLE", TABLE)
        .env("EDGE_ANALYTICS_END", sample.end.to_rfc3339_opts(SecondsFormat::Millis, true))
        .env("EDGE_ANALYTICS_ADMIN_SESSION", accounts.administrator.session_id)
        .env("EDGE_ANALYTICS_ORDINARY_SESSION", accounts.ordinary_session_id)
        .env("EDGE_ANALYTICS_EXPIRED_SESSION", accounts.expired_session_id);
    let result = match work {
        Work::Tests => {
            let rerun = "cargo xtask test --only chromium";
            node_test("www/e2e", command, rerun, suites.clone()).await
        }
        Work::Screenshots | Work::Measurements => {
            let line = format!("npm run {} (in www)", work.script());
            show_and_run(&line, &mut command).await
        }
    };
    dynamodb.stop().await;
    result
}

/// A folder for one run, deleted at its end: two may run at once.
struct Folder(PathBuf);

impl Folder {
    fn make(project: &Project) -> Result<Self> {
        let name = format!(".edge-analytics/browser-{}", std::process::id());
        let path = project.root().join(Path::new(&name));
        fs::create_dir_all(&path).map_err(Error::file("create the folder", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Files that are left over do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
