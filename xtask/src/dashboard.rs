//! The dashboard in `www/`: building the static assets that the Worker serves, checks, unit tests.

use std::{fs, path::PathBuf};

use tokio::process::Command;

use crate::{
    error::{Error, Result},
    package::gzip_size,
    processes::run_quietly,
    progress::Activity,
    project::Project,
    test::show_and_run,
};

/// How many gzipped bytes of JavaScript the dashboard may load.
const SIZE_BUDGET: u64 = 70_000;

fn npm(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command("npm");
    command.current_dir(project.dashboard()).args(arguments);
    command
}

/// Builds the dashboard; returns the folder with its files.
pub async fn build(project: &Project) -> Result<PathBuf> {
    let doing = "building the dashboard";
    let activity = Activity::start(doing, "a few seconds");
    run_quietly(doing, &mut npm(project, &["run", "--silent", "build"]), &activity).await?;
    let size = javascript_size(project)?;
    activity.finish(&format!("{size} bytes of JavaScript, gzipped"));
    Ok(project.dashboard().join("dist"))
}

/// Checks types and style.
pub async fn check(project: &Project) -> Result<()> {
    let mut command = npm(project, &["run", "--silent", "check"]);
    show_and_run("npm run check (in www)", &mut command).await
}

/// Runs the tests that need no browser: all, or those that `filter` chooses.
pub fn test_command(project: &Project, filter: &[String]) -> Command {
    let mut command = project.command("node");
    // Not the script of `package.json`: options after the names of files are not for node.
    command.current_dir(project.dashboard()).arg("--test").args(filter).arg("tests/*.test.ts");
    command
}

/// Fails if the dashboard loads more JavaScript than its budget.
pub fn check_size(project: &Project) -> Result<()> {
    let actual = javascript_size(project)?;
    eprintln!("the dashboard's JavaScript: {actual} bytes gzipped; the budget is {SIZE_BUDGET}");
    if actual > SIZE_BUDGET {
        return Err(Error::TooLarge { actual, budget: SIZE_BUDGET });
    }
    Ok(())
}

fn javascript_size(project: &Project) -> Result<u64> {
    let folder = project.dashboard().join("dist/assets");
    let mut size = 0;
    for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
        let path = entry.map_err(Error::file("read", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "js") {
            let script = fs::read(&path).map_err(Error::file("read", &path))?;
            size += gzip_size(&script, &path)?;
        }
    }
    Ok(size)
}
