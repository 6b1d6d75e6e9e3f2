//! `cargo xtask ci`: the checks that a change must pass before it is merged.

use crate::{
    dashboard,
    error::{Error, Result},
    package::Package,
    project::Project,
    setup::{Needs, Tools, WASM_TARGET},
    steps::Steps,
    test::{self, Skips, show_and_run},
};

/// Gzipped bytes that the WebAssembly may have. Cloudflare allows 3 MB on its free plan; the limit here
/// is for start-up time, which grows with size: a Worker of this size starts in the time of a TLS
/// handshake.
const SIZE_BUDGET: u64 = 805_000;

/// What the checks need from the machine.
pub fn needs(skips: &Skips) -> Needs {
    Needs { lints: true, ..skips.needs() }
}

/// Runs format, lint, tests and size as `steps`.
pub async fn run(project: &Project, tools: &Tools, skips: &Skips, steps: &mut Steps) -> Result<()> {
    cargo(project, steps, "format", &["fmt", "--all", "--check"]).await?;
    let pedantic = ["--", "-D", "warnings", "-W", "clippy::pedantic"];
    cargo(
        project,
        steps,
        "lint",
        &[&["clippy", "--workspace", "--all-targets"], &pedantic[..]].concat(),
    )
    .await?;
    // `--all-targets` leaves out tests that only `cargo xtask test` runs.
    cargo(
        project,
        steps,
        "lint of all integration tests",
        &[&["clippy", "--workspace", "--test", "*"], &pedantic[..]].concat(),
    )
    .await?;
    cargo(
        project,
        steps,
        "lint for WebAssembly",
        &[&["clippy", "--package", "edge-analytics", "--target", WASM_TARGET], &pedantic[..]]
            .concat(),
    )
    .await?;

    eprintln!("\nThe tests, as `cargo xtask test` runs them:");
    let package = test::run_all(project, tools, skips, steps).await?;
    let sizes = async {
        check_size(&package)?;
        dashboard::check_size(project)
    };
    steps.step("size", sizes).await
}

async fn cargo(project: &Project, steps: &mut Steps, name: &str, arguments: &[&str]) -> Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    let mut command = project.command("cargo");
    command.args(arguments);
    steps.step(name, show_and_run(&line, &mut command)).await
}

fn check_size(package: &Package) -> Result<()> {
    eprintln!("{}; the budget is {SIZE_BUDGET} gzipped", package.size());
    if package.gzipped > SIZE_BUDGET {
        return Err(Error::TooLarge { actual: package.gzipped, budget: SIZE_BUDGET });
    }
    Ok(())
}
