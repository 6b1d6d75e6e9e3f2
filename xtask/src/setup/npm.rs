//! npm packages, as the lock files list them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::{
    error::{Error, Result},
    processes::{ask, run_quietly},
    progress::Activity,
    project::Project,
};

use super::system::system_packages;

/// Installs the packages that build and run the Worker.
pub async fn packages(project: &Project) -> Result<()> {
    let Some(installing) = Installing::of(project.root())? else { return Ok(()) };
    if ask(Command::new("npm").arg("--version")).await.is_none() {
        system_packages(
            "npm, which installs wrangler,",
            &["nodejs", "npm"],
            "Install Node 20 or newer with npm",
        )
        .await?;
    }
    // Not `Project::command`, which runs npm on the Node that npm is about to replace.
    let activity =
        installing.run(Command::new("npm"), "the npm packages", "about a minute").await?;
    if !project.node_modules("node/bin/node").exists() {
        return Err(Error::Missing {
            what: "node_modules/node/bin/node".to_owned(),
            advice: "npm did not run the packages' install scripts. Allow them with \
                     `npm config set ignore-scripts false`, delete node_modules and try again"
                .to_owned(),
        });
    }
    installing.finish(activity)
}

/// Installs the packages that build the dashboard.
pub async fn dashboard_packages(project: &Project) -> Result<()> {
    let Some(installing) = Installing::of(&project.dashboard())? else { return Ok(()) };
    let npm = project.command("npm");
    let activity = installing.run(npm, "the dashboard's npm packages", "half a minute").await?;
    installing.finish(activity)
}

/// The npm packages of a folder that differ from its lock file.
struct Installing {
    folder: PathBuf,
    hash: String,
}

impl Installing {
    /// `None` if they are installed.
    fn of(folder: &Path) -> Result<Option<Self>> {
        let lock = folder.join("package-lock.json");
        let content = fs::read(&lock).map_err(Error::file("read", &lock))?;
        let hash = HEXLOWER.encode(&Sha256::digest(content));
        let installing = Self { folder: folder.to_owned(), hash };
        let installed = fs::read_to_string(installing.marker());
        Ok(installed.map_or(true, |installed| installed != installing.hash).then_some(installing))
    }

    /// Inside `node_modules`, so that it is deleted with the packages.
    fn marker(&self) -> PathBuf {
        self.folder.join("node_modules/.edge-analytics-lock-hash")
    }

    async fn run(&self, mut npm: Command, what: &str, duration: &str) -> Result<Activity> {
        let doing = format!("installing {what}");
        let activity = Activity::start(&doing, duration);
        run_quietly(&doing, npm.current_dir(&self.folder).arg("ci"), &activity).await?;
        Ok(activity)
    }

    fn finish(&self, activity: Activity) -> Result<()> {
        let marker = self.marker();
        fs::write(&marker, &self.hash).map_err(Error::file("write", &marker))?;
        activity.finish("done");
        Ok(())
    }
}
