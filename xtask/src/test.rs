//! `cargo xtask test`: every suite of tests, or one of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::process::Command;

use crate::{
    browser, dashboard,
    dynamodb_local::DynamoDbLocal,
    error::Result,
    package::{Package, Recipe, build},
    processes,
    project::Project,
    setup::{Needs, Tools, WASM_TARGET},
    steps::Steps,
    suites::Suites,
    test_output::{CargoOutput, NodeOutput, Rerun},
};

/// What may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Skippable {
    /// The tests against AWS's DynamoDB Local, which needs Java
    DynamodbLocal,
}

/// Which tests are left out.
#[derive(Debug, Clone, Default, Args)]
pub struct Skips {
    /// Leave something out; the summary says so
    #[arg(long, value_enum)]
    skip: Vec<Skippable>,
}

/// A suite that runs on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// `cargo test --workspace`: needs nothing but Rust
    Native,
    /// Tests compiled to WebAssembly, in Node
    Wasm,
    /// Types, style and unit tests of the dashboard
    Dashboard,
    /// Tests against AWS's DynamoDB Local
    DynamodbLocal,
    /// The package in `wrangler dev`
    EndToEnd,
    /// The dashboard in Chromium
    Chromium,
}

/// Which tests run.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    skips: Skips,

    /// Run only this suite
    #[arg(long, value_enum, value_name = "SUITE")]
    only: Option<Only>,

    /// With --only, which of its tests: for suites in Rust what a test binary accepts, such as
    /// `NAME --exact`; for the dashboard what node accepts, such as `--test-name-pattern=zoom`
    #[arg(last = true, requires = "only")]
    filter: Vec<String>,
}

impl Skips {
    fn dynamodb_local(&self) -> bool {
        self.skip.contains(&Skippable::DynamodbLocal)
    }

    /// What these tests need from the machine.
    pub fn needs(&self) -> Needs {
        Needs { java: !self.dynamodb_local(), ..browser::needs() }
    }
}

impl Options {
    /// What these tests need from the machine.
    pub fn needs(&self) -> Needs {
        let all = self.skips.needs();
        match self.only {
            None => all,
            Some(Only::Native | Only::Wasm | Only::Dashboard) => Needs::default(),
            Some(Only::DynamodbLocal | Only::EndToEnd) => Needs { chromium: false, ..all },
            Some(Only::Chromium) => browser::needs(),
        }
    }
}

/// Runs what `options` say.
pub async fn run(
    project: &Project,
    tools: &Tools,
    options: &Options,
    steps: &mut Steps,
) -> Result<()> {
    let tests = Tests { project, tools, skips: &options.skips, filter: &options.filter };
    match options.only {
        None => tests.all(steps).await.map(drop),
        Some(Only::Native) => tests.native(steps).await,
        Some(Only::Wasm) => tests.wasm(steps).await,
        Some(Only::Dashboard) => tests.dashboard(steps).await,
        Some(Only::DynamodbLocal) => tests.dynamodb_local(steps).await.map(drop),
        Some(Only::EndToEnd) => {
            let server = if options.skips.dynamodb_local() {
                None
            } else {
                Some(DynamoDbLocal::start(project).await?)
            };
            tests.end_to_end(steps, server.as_ref()).await.map(drop)
        }
        Some(Only::Chromium) => {
            let built = async {
                dashboard::build(project).await?;
                build(project, tools, &Recipe::release()).await
            };
            steps.step("building the package", built).await?;
            tests.chromium(steps).await
        }
    }
}

/// Runs all tests that are not left out; returns the package that they tested.
pub async fn run_all(
    project: &Project,
    tools: &Tools,
    skips: &Skips,
    steps: &mut Steps,
) -> Result<Package> {
    Tests { project, tools, skips, filter: &[] }.all(steps).await
}

/// The suites with what they need.
struct Tests<'a> {
    project: &'a Project,
    tools: &'a Tools,
    skips: &'a Skips,
    filter: &'a [String],
}

impl Tests<'_> {
    async fn all(&self, steps: &mut Steps) -> Result<Package> {
        self.native(steps).await?;
        self.wasm(steps).await?;
        self.dashboard(steps).await?;
        let dynamodb_local = self.dynamodb_local(steps).await?;
        let package = self.end_to_end(steps, dynamodb_local.as_ref()).await?;
        self.chromium(steps).await?;
        Ok(package)
    }

    async fn native(&self, steps: &mut Steps) -> Result<()> {
        let command = self.project.command("cargo");
        // Every failure in one run, also where it takes an hour to come by another.
        let arguments = ["test", "--workspace", "--no-fail-fast"];
        let work = self.cargo_test(command, &arguments, Rerun::Cargo, steps.suites());
        steps.step("native tests", work).await
    }

    /// What `wasm-pack test --node` does, for one test target: wasm-pack itself compiles every test
    /// of the crate to WebAssembly, and the others start servers.
    async fn wasm(&self, steps: &mut Steps) -> Result<()> {
        let mut command = self.project.command("cargo");
        command
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &self.tools.wasm_test_runner)
            .env("WASM_BINDGEN_TEST_ONLY_NODE", "1");
        let arguments = ["test", "--target", WASM_TARGET, "--test", "wasm"];
        let rerun = Rerun::Xtask("cargo xtask test --only wasm");
        let work = self.cargo_test(command, &arguments, rerun, steps.suites());
        steps.step("WebAssembly tests in Node", work).await
    }

    async fn dashboard(&self, steps: &mut Steps) -> Result<()> {
        if self.filter.is_empty() {
            steps.step("types and style of the dashboard", dashboard::check(self.project)).await?;
        }
        let command = dashboard::test_command(self.project, self.filter);
        let rerun = "cargo xtask test --only dashboard";
        let work = node_test("www/tests", command, rerun, steps.suites());
        steps.step("unit tests of the dashboard", work).await
    }

    /// `None` if it is left out.
    async fn dynamodb_local(&self, steps: &mut Steps) -> Result<Option<DynamoDbLocal>> {
        let name = "tests against DynamoDB Local";
        if self.skips.dynamodb_local() {
            steps.skip(name, "by --skip dynamodb-local");
            return Ok(None);
        }
        let suites = steps.suites();
        let work = async {
            let server = DynamoDbLocal::start(self.project).await?;
            let mut command = self.project.command("cargo");
            command.env("EDGE_ANALYTICS_DYNAMODB_LOCAL", server.endpoint());
            let rerun = Rerun::Xtask("cargo xtask test --only dynamodb-local");
            let arguments = ["test", "--test", "dynamodb_local"];
            self.cargo_test(command, &arguments, rerun, suites).await?;
            Ok(Some(server))
        };
        steps.step(name, work).await
    }

    async fn end_to_end(
        &self,
        steps: &mut Steps,
        dynamodb_local: Option<&DynamoDbLocal>,
    ) -> Result<Package> {
        let (name, rerun) = match dynamodb_local {
            Some(_) => (
                "end-to-end tests in wrangler dev, on DynamoDB Local",
                "cargo xtask test --only end-to-end",
            ),
            None => (
                "end-to-end tests in wrangler dev, on the embedded DynamoDB",
                "cargo xtask test --only end-to-end --skip dynamodb-local",
            ),
        };
        let suites = steps.suites();
        let work = async {
            dashboard::build(self.project).await?;
            let package = build(self.project, self.tools, &Recipe::release()).await?;
            // Panics on request, which the released package must not.
            let with_faults = Recipe {
                out_dir: PathBuf::from("target/fault-injection-pkg"),
                features: vec!["fault-injection".to_owned()],
            };
            let with_faults = build(self.project, self.tools, &with_faults).await?;
            let command = self.end_to_end_command(&package, &with_faults, dynamodb_local);
            let arguments = ["test", "--test", "end_to_end"];
            self.cargo_test(command, &arguments, Rerun::Xtask(rerun), suites).await?;
            Ok(package)
        };
        steps.step(name, work).await
    }

    fn end_to_end_command(
        &self,
        package: &Package,
        with_faults: &Package,
        dynamodb_local: Option<&DynamoDbLocal>,
    ) -> Command {
        let mut command = self.project.command("cargo");
        command
            .env("EDGE_ANALYTICS_PKG", &package.folder)
            .env("EDGE_ANALYTICS_FAULT_PKG", &with_faults.folder)
            .env("EDGE_ANALYTICS_NODE", &self.tools.node)
            .env("EDGE_ANALYTICS_WRANGLER", &self.tools.wrangler)
            // One from the caller's environment would take the place of the embedded DynamoDB.
            .env_remove("EDGE_ANALYTICS_DYNAMODB_LOCAL");
        if let Some(server) = dynamodb_local {
            command.env("EDGE_ANALYTICS_DYNAMODB_LOCAL", server.endpoint());
        }
        command
    }

    async fn chromium(&self, steps: &mut Steps) -> Result<()> {
        let suites = steps.suites();
        let work = browser::test(self.project, self.tools, self.filter, &suites);
        steps.step("the dashboard in Chromium", Box::pin(work)).await
    }

    async fn cargo_test(
        &self,
        mut command: Command,
        arguments: &[&str],
        rerun: Rerun,
        suites: Suites,
    ) -> Result<()> {
        command.args(arguments);
        if !self.filter.is_empty() {
            command.arg("--").args(self.filter);
        }
        let line = shown(&command);
        let mut output = CargoOutput::new(rerun);
        let result =
            processes::run_and_read(&format!("`{line}`"), command, |line| output.read(line)).await;
        suites.extend(output.finish());
        result
    }
}

/// Runs `command`, which is `node --test`, and adds its tests as one suite; `rerun` with a filter runs
/// chosen ones.
pub async fn node_test(
    name: &str,
    command: Command,
    rerun: &'static str,
    suites: Suites,
) -> Result<()> {
    let line = shown(&command);
    let mut output = NodeOutput::new(name, rerun);
    let result =
        processes::run_and_read(&format!("`{line}`"), command, |line| output.read(line)).await;
    suites.extend(output.finish());
    result
}

/// Prints the command and returns the line.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let program = command.get_program().to_string_lossy();
    let mut line = program.rsplit('/').next().unwrap_or(&program).to_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    eprintln!("$ {line}");
    line
}

/// Runs `command`, shown as `line`, its output passed through.
pub async fn show_and_run(line: &str, command: &mut Command) -> Result<()> {
    eprintln!("$ {line}");
    processes::run(&format!("`{line}`"), command).await
}
