//! Tools that `cargo install` builds, in a folder outside the checkout.

use std::{
    fs::{self, File},
    path::Path,
};

use tokio::process::Command;

use crate::{
    error::{Error, Result},
    processes::run_quietly,
    progress::Activity,
    project::Project,
};

/// A tool that `cargo install` builds.
pub struct CargoTool<'a> {
    /// The crate.
    pub name: &'static str,
    /// Its version.
    pub version: &'a str,
    /// The programs that it installs.
    pub programs: &'static [&'static str],
    /// Whether its own lock file can be used.
    pub locked: bool,
}

impl CargoTool<'_> {
    fn is_installed(&self, project: &Project) -> bool {
        let programs = project.tool(self.name, self.version).join("bin");
        self.programs.iter().all(|program| programs.join(program).is_file())
    }
}

/// Installs those of the tools that are missing.
pub async fn cargo_tools(project: &Project, wanted: &[CargoTool<'_>]) -> Result<()> {
    if wanted.iter().all(|tool| tool.is_installed(project)) {
        return Ok(());
    }
    let _lock = lock_cache(project).await?;
    let build = project.cache().join("build");
    for tool in wanted.iter().filter(|tool| !tool.is_installed(project)) {
        cargo_install(project, tool, &build).await?;
    }
    // Hundreds of megabytes, which only the next installation would use.
    fs::remove_dir_all(&build).map_err(Error::file("remove the folder", &build))
}

async fn cargo_install(project: &Project, tool: &CargoTool<'_>, build: &Path) -> Result<()> {
    let finished = project.tool(tool.name, tool.version);
    let unfinished = project.tool(tool.name, "unfinished");
    for leftover in [&finished, &unfinished] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(Error::file("remove the folder", leftover))?;
        }
    }

    let doing = format!("installing {} {}", tool.name, tool.version);
    let activity = Activity::start(&doing, "2 to 4 minutes on 2 cores, once");
    let mut command = Command::new("cargo");
    // Outside the checkout and without the caller's flags and target folder: the project's
    // configuration is not meant for these tools.
    command.current_dir(project.cache());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(belongs_to_a_build) {
            command.env_remove(name);
        }
    }
    command
        .args(["install", tool.name, "--version", tool.version, "--root"])
        .arg(&unfinished)
        .args(tool.locked.then_some("--locked"))
        // They run for seconds, so that half the build time matters more than fast code.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", build);
    run_quietly(&doing, &mut command, &activity).await?;

    // Only a finished installation gets the name that the next run looks for.
    fs::rename(&unfinished, &finished).map_err(Error::file("name the folder", &finished))?;
    activity.finish("done");
    Ok(())
}

/// Whether an environment variable configures a build, as opposed to cargo's own home, network and
/// registries.
fn belongs_to_a_build(name: &str) -> bool {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
    ];
    const OTHERS: [&str; 6] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
    ];
    OTHERS.contains(&name)
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// Prevents two commands from installing into the same folder at once.
async fn lock_cache(project: &Project) -> Result<File> {
    fs::create_dir_all(project.cache())
        .map_err(Error::file("create the folder", project.cache()))?;
    let path = project.cache().join("lock");
    let file = File::create(&path).map_err(Error::file("write", &path))?;
    if file.try_lock().is_err() {
        let activity = Activity::start(
            "waiting for another cargo xtask that installs tools",
            "up to 5 minutes",
        );
        while file.try_lock().is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        activity.finish("done");
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installing_keeps_the_registries_and_drops_the_build_settings() {
        for kept in ["CARGO_HOME", "CARGO_REGISTRIES_MIRROR_INDEX", "PATH", "RUSTUP_TOOLCHAIN"] {
            assert!(!belongs_to_a_build(kept), "{kept}");
        }
        for dropped in ["CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            assert!(belongs_to_a_build(dropped), "{dropped}");
        }
    }
}
