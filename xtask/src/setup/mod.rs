//! Installs what the commands need, once. If everything is installed, that is one line of output.
//!
//! Rust's tools come from crates.io, everything else from npm: worker-build gets the paths of the
//! binaries that it would otherwise download, so that only package registries must be reachable.

mod cargo_tools;
mod npm;
mod system;

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    processes::{ask, run_quietly},
    progress::Activity,
    project::Project,
};

use cargo_tools::{CargoTool, cargo_tools};
pub use system::chromium;

/// The target that Workers run.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What a command needs from the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Java, for DynamoDB Local.
    pub java: bool,
    /// rustfmt and clippy.
    pub lints: bool,
    /// Chromium, for the dashboard.
    pub chromium: bool,
}

/// The tools, each in the version that fits this checkout.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Builds the package.
    pub worker_build: PathBuf,
    /// Generates the JavaScript around rustc's output.
    pub wasm_bindgen: PathBuf,
    /// Runs tests that were compiled to WebAssembly.
    pub wasm_test_runner: PathBuf,
    /// Optimises the WebAssembly.
    pub wasm_opt: PathBuf,
    /// Bundles the JavaScript around it.
    pub esbuild: PathBuf,
    /// The Node that runs the npm packages.
    pub node: PathBuf,
    /// Wrangler's entry point, a script for [`Tools::node`].
    pub wrangler: PathBuf,
}

/// Checks for everything that `needs` names, and installs what is missing.
pub async fn set_up(project: &Project, needs: Needs) -> Result<Tools> {
    rust_target(project).await?;
    if needs.lints {
        rust_component(project, "rustfmt", "fmt").await?;
        rust_component(project, "clippy", "clippy").await?;
    }
    if needs.java {
        system::java().await?;
    }
    if needs.chromium {
        chromium().await?;
    }

    let worker = project.locked_version("worker")?;
    let wasm_bindgen = project.locked_version("wasm-bindgen")?;
    let wanted = [
        CargoTool {
            name: "worker-build",
            version: &worker,
            programs: &["worker-build"],
            locked: true,
        },
        CargoTool {
            name: "wasm-bindgen-cli",
            version: &wasm_bindgen,
            programs: &["wasm-bindgen", "wasm-bindgen-test-runner"],
            // Its lock file names a crate that was withdrawn from the registry.
            locked: false,
        },
    ];
    cargo_tools(project, &wanted).await?;
    npm::packages(project).await?;
    npm::dashboard_packages(project).await?;

    let program = |tool: &CargoTool<'_>, number: usize| {
        project.tool(tool.name, tool.version).join("bin").join(tool.programs[number])
    };
    let tools = Tools {
        worker_build: program(&wanted[0], 0),
        wasm_bindgen: program(&wanted[1], 0),
        wasm_test_runner: program(&wanted[1], 1),
        wasm_opt: project.node_modules(".bin/wasm-opt"),
        esbuild: project.node_modules(".bin/esbuild"),
        node: project.node_modules("node/bin/node"),
        wrangler: project.node_modules("wrangler/bin/wrangler.js"),
    };
    let installed: Vec<String> =
        wanted.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    eprintln!("tools: {WASM_TARGET}, {}, npm packages: installed", installed.join(", "));
    Ok(tools)
}

async fn rust_target(project: &Project) -> Result<()> {
    let library =
        ask(project.command("rustc").args(["--print", "target-libdir", "--target", WASM_TARGET]))
            .await;
    if library.is_some_and(|folder| Path::new(&folder).is_dir()) {
        return Ok(());
    }
    let advice = "Install it with `rustup target add wasm32-unknown-unknown`; for a Rust that did \
                  not come from rustup see docs/toolchain.md";
    rustup(
        project,
        &["target", "add", WASM_TARGET],
        &format!("Rust's standard library for {WASM_TARGET}"),
        advice,
    )
    .await
}

async fn rust_component(project: &Project, component: &str, subcommand: &str) -> Result<()> {
    if ask(project.command("cargo").args([subcommand, "--version"])).await.is_some() {
        return Ok(());
    }
    rustup(
        project,
        &["component", "add", component],
        component,
        "Install it the way your Rust was installed",
    )
    .await
}

async fn rustup(project: &Project, arguments: &[&str], what: &str, advice: &str) -> Result<()> {
    if ask(project.command("rustup").arg("--version")).await.is_none() {
        return Err(Error::Missing { what: what.to_owned(), advice: advice.to_owned() });
    }
    let doing = format!("installing {what}");
    let activity = Activity::start(&doing, "a few seconds");
    run_quietly(&doing, project.command("rustup").args(arguments), &activity).await?;
    activity.finish("done");
    Ok(())
}
