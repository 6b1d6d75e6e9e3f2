//! `cargo xtask test`: every test there is, from nothing.

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
};

/// What may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Skippable {
    /// The tests against AWS's DynamoDB Local, which needs Java
    DynamodbLocal,
}

/// Which tests run.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Leave something out; the result says so
    #[arg(long, value_enum)]
    skip: Vec<Skippable>,
}

impl Options {
    fn with_dynamodb_local(&self) -> bool {
        !self.skip.contains(&Skippable::DynamodbLocal)
    }

    /// What these tests ask of the machine.
    pub fn needs(&self) -> Needs {
        Needs { java: self.with_dynamodb_local(), ..browser::needs() }
    }
}

/// Runs the tests as `steps`; returns the package that they tested.
pub async fn run(
    project: &Project,
    tools: &Tools,
    options: &Options,
    steps: &mut Steps,
) -> Result<Package> {
    let mut native = project.command("cargo");
    native.args(["test", "--workspace"]);
    steps
        .step(
            "unit, property and engine tests",
            show_and_run("cargo test --workspace", &mut native),
        )
        .await?;

    steps.step("WebAssembly tests in Node", wasm_tests(project, tools)).await?;
    dashboard::check_and_test(project, steps).await?;

    let dynamodb_local = if options.with_dynamodb_local() {
        let server = steps
            .step("tests against DynamoDB Local", async {
                let server = DynamoDbLocal::start(project).await?;
                let mut command = project.command("cargo");
                command
                    .args(["test", "--test", "dynamodb_local"])
                    .env("EDGE_ANALYTICS_DYNAMODB_LOCAL", server.endpoint());
                show_and_run("cargo test --test dynamodb_local", &mut command).await?;
                Ok(server)
            })
            .await?;
        Some(server)
    } else {
        steps.skip("tests against DynamoDB Local", "by --skip dynamodb-local");
        None
    };

    let name = match dynamodb_local {
        Some(_) => "end-to-end tests in wrangler dev, on DynamoDB Local",
        None => "end-to-end tests in wrangler dev, on the embedded DynamoDB",
    };
    let package = steps.step(name, end_to_end(project, tools, dynamodb_local.as_ref())).await?;
    steps.step("the dashboard in Chromium", browser::test(project, tools)).await?;
    Ok(package)
}

/// What `wasm-pack test --node` does, for one test target: wasm-pack itself compiles every test of
/// the crate to WebAssembly, and the others start servers.
async fn wasm_tests(project: &Project, tools: &Tools) -> Result<()> {
    let mut command = project.command("cargo");
    command
        .args(["test", "--target", WASM_TARGET, "--test", "wasm"])
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &tools.wasm_test_runner)
        .env("WASM_BINDGEN_TEST_ONLY_NODE", "1");
    show_and_run(&format!("cargo test --target {WASM_TARGET} --test wasm"), &mut command).await
}

async fn end_to_end(
    project: &Project,
    tools: &Tools,
    dynamodb_local: Option<&DynamoDbLocal>,
) -> Result<Package> {
    dashboard::build(project).await?;
    let package = build(project, tools, &Recipe::release()).await?;
    // Panics on request, which the released package must not.
    let with_faults = Recipe {
        out_dir: PathBuf::from("target/fault-injection-pkg"),
        features: vec!["fault-injection".to_owned()],
    };
    let with_faults = build(project, tools, &with_faults).await?;

    let mut command = project.command("cargo");
    command
        .args(["test", "--test", "end_to_end"])
        .env("EDGE_ANALYTICS_PKG", &package.folder)
        .env("EDGE_ANALYTICS_FAULT_PKG", &with_faults.folder)
        .env("EDGE_ANALYTICS_NODE", &tools.node)
        .env("EDGE_ANALYTICS_WRANGLER", &tools.wrangler)
        // Whatever the caller had: these tests run on what this command says.
        .env_remove("EDGE_ANALYTICS_DYNAMODB_LOCAL");
    if let Some(server) = dynamodb_local {
        command.env("EDGE_ANALYTICS_DYNAMODB_LOCAL", server.endpoint());
    }
    show_and_run("cargo test --test end_to_end", &mut command).await?;
    Ok(package)
}

/// Runs `command`, shown as `line`, its output passed through.
pub async fn show_and_run(line: &str, command: &mut Command) -> Result<()> {
    eprintln!("$ {line}");
    processes::run(&format!("`{line}`"), command).await
}
