//! The project's own commands, run as `cargo xtask <command>`: set-up, development, build, tests, and
//! the checks that a change must pass before it is merged.

mod browser;
mod ci;
mod crons;
mod dashboard;
mod dev;
mod dynamodb_local;
mod embedded_dynamodb;
mod error;
mod existing_dynamodb;
mod history;
mod package;
mod processes;
mod progress;
mod project;
mod schedule;
mod setup;
mod steps;
mod suites;
mod test;
mod test_output;
mod traffic;
mod worker;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::{
    error::{Error, Result},
    package::Recipe,
    processes::Signals,
    project::Project,
    setup::{Needs, set_up},
    steps::Steps,
};

/// The project's own commands. Each installs what it needs.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the Worker on this machine, with an embedded DynamoDB that holds a sample platform and its
    /// history
    Dev(dev::Options),
    /// Build the package that is deployed and print its size
    Build {
        /// Cargo features to enable
        #[arg(long, value_delimiter = ',')]
        features: Vec<String>,
        /// Folder of the package
        #[arg(long, value_name = "FOLDER", default_value = "pkg")]
        out_dir: PathBuf,
    },
    /// Open the dashboard in Chromium: run its tests, take screenshots, or measure it
    Browser(browser::Options),
    /// Run every test, or one suite: native, WebAssembly, dashboard, DynamoDB Local, end to end,
    /// Chromium
    Test(test::Options),
    /// Check format, lints, tests and size
    Ci(test::Skips),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Runtime::new()
        .map_err(|error| Error::System { what: "threads", reason: error.to_string() })
        .and_then(|runtime| {
            let result = runtime.block_on(run(arguments.command));
            // Do not wait for a chunk of an import that is still being written.
            runtime.shutdown_timeout(Duration::from_secs(1));
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(command: Command) -> Result<()> {
    let mut signals = Signals::listen()?;
    let project = Project::locate()?;
    match command {
        Command::Dev(options) => Box::pin(dev::run(&project, &options, &mut signals)).await,
        Command::Build { features, out_dir } => {
            let work = async {
                let tools = set_up(&project, Needs::default()).await?;
                dashboard::build(&project).await?;
                let package =
                    package::build(&project, &tools, &Recipe { out_dir, features }).await?;
                println!("{}: {}", package.folder.display(), package.size());
                Ok(())
            };
            signals.interrupt(work).await
        }
        Command::Browser(options) => browser::run(&project, &options, &mut signals).await,
        Command::Test(options) => {
            let work = async {
                let tools = set_up(&project, options.needs()).await?;
                let mut steps = Steps::default();
                let result = test::run(&project, &tools, &options, &mut steps).await;
                steps.print_summary();
                result
            };
            signals.interrupt(work).await
        }
        Command::Ci(skips) => {
            let work = async {
                let tools = set_up(&project, ci::needs(&skips)).await?;
                let mut steps = Steps::default();
                let result = ci::run(&project, &tools, &skips, &mut steps).await;
                steps.print_summary();
                result
            };
            signals.interrupt(work).await
        }
    }
}
