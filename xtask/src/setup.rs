//! Getting what the commands need, once. A second run finds everything there and says so in a
//! line.
//!
//! Rust's tools come from crates.io, everything else from npm: the prebuilt binaries that
//! worker-build would fetch by itself are passed to it instead, so that package registries are all
//! that has to be reachable.

use std::{
    fs::{self, File},
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

/// The target that Workers run.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// The oldest Java that runs DynamoDB Local 3.
const JAVA_VERSION: u32 = 17;

/// What a command asks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Java, for DynamoDB Local.
    pub java: bool,
    /// rustfmt and clippy.
    pub lints: bool,
    /// Chromium, for the dashboard.
    pub chromium: bool,
}

/// The tools, each at the version that fits this checkout.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Builds the package.
    pub worker_build: PathBuf,
    /// Turns rustc's output into a module with JavaScript around it.
    pub wasm_bindgen: PathBuf,
    /// Runs tests that were compiled to WebAssembly.
    pub wasm_test_runner: PathBuf,
    /// Makes the WebAssembly smaller.
    pub wasm_opt: PathBuf,
    /// Bundles the JavaScript around it.
    pub esbuild: PathBuf,
    /// The Node that everything of npm runs on.
    pub node: PathBuf,
    /// Wrangler's entry point, a script for [`Tools::node`].
    pub wrangler: PathBuf,
}

/// Checks and installs everything that `needs` asks for.
pub async fn set_up(project: &Project, needs: Needs) -> Result<Tools> {
    rust_target(project).await?;
    if needs.lints {
        rust_component(project, "rustfmt", "fmt").await?;
        rust_component(project, "clippy", "clippy").await?;
    }
    if needs.java {
        java().await?;
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
    npm_packages(project).await?;
    dashboard_packages(project).await?;

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
    let there: Vec<String> =
        wanted.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    eprintln!("tools: {WASM_TARGET}, {}, npm packages: all there", there.join(", "));
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

/// A tool that `cargo install` builds.
struct CargoTool<'a> {
    name: &'static str,
    version: &'a str,
    programs: &'static [&'static str],
    locked: bool,
}

impl CargoTool<'_> {
    fn is_installed(&self, project: &Project) -> bool {
        let programs = project.tool(self.name, self.version).join("bin");
        self.programs.iter().all(|program| programs.join(program).is_file())
    }
}

async fn cargo_tools(project: &Project, wanted: &[CargoTool<'_>]) -> Result<()> {
    if wanted.iter().all(|tool| tool.is_installed(project)) {
        return Ok(());
    }
    let _lock = lock_cache(project).await?;
    let build = project.cache().join("build");
    for tool in wanted.iter().filter(|tool| !tool.is_installed(project)) {
        cargo_install(project, tool, &build).await?;
    }
    // Hundreds of megabytes that only installing the next tool would have used.
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
    // Outside the checkout and without what cargo was told for the project: neither its
    // configuration nor the caller's flags and target folder are meant for these tools.
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
        // Built once and run for seconds: half the time to build matters more than fast code.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_TARGET_DIR", build);
    run_quietly(&doing, &mut command, &activity).await?;

    // Only a finished install gets the name that the next run looks for.
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

/// Keeps two commands from installing into the same folder at once.
async fn lock_cache(project: &Project) -> Result<File> {
    fs::create_dir_all(project.cache()).map_err(Error::file("make the folder", project.cache()))?;
    let path = project.cache().join("lock");
    let file = File::create(&path).map_err(Error::file("write", &path))?;
    if file.try_lock().is_err() {
        let activity = Activity::start(
            "waiting for another cargo xtask to finish its installs",
            "up to 5 minutes",
        );
        while file.try_lock().is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        activity.finish("done");
    }
    Ok(file)
}

async fn npm_packages(project: &Project) -> Result<()> {
    let Some(installing) = Installing::of(project.root())? else { return Ok(()) };
    if ask(Command::new("npm").arg("--version")).await.is_none() {
        system_packages(
            "npm, which installs wrangler,",
            &["nodejs", "npm"],
            "Install Node 20 or newer with npm",
        )
        .await?;
    }
    // Not `Project::command`: npm is about to replace the very Node that this would run it on.
    let activity =
        installing.run(Command::new("npm"), "the npm packages", "about a minute").await?;
    if !project.node_modules("node/bin/node").exists() {
        return Err(Error::Missing {
            what: "node_modules/node/bin/node".to_owned(),
            advice: "npm did not run the packages' install scripts; allow them with \
                     `npm config set ignore-scripts false`, delete node_modules and try again"
                .to_owned(),
        });
    }
    installing.finish(activity)
}

/// The packages from which the dashboard is built.
async fn dashboard_packages(project: &Project) -> Result<()> {
    let Some(installing) = Installing::of(&project.dashboard())? else { return Ok(()) };
    let npm = project.command("npm");
    let activity = installing.run(npm, "the dashboard's npm packages", "half a minute").await?;
    installing.finish(activity)
}

/// npm packages of a folder that are not what its lock file says.
struct Installing {
    folder: PathBuf,
    hash: String,
}

impl Installing {
    /// `None` if everything is there.
    fn of(folder: &Path) -> Result<Option<Self>> {
        let lock = folder.join("package-lock.json");
        let content = fs::read(&lock).map_err(Error::file("read", &lock))?;
        let hash = HEXLOWER.encode(&Sha256::digest(content));
        let installing = Self { folder: folder.to_owned(), hash };
        let installed = fs::read_to_string(installing.marker());
        Ok(installed.map_or(true, |installed| installed != installing.hash).then_some(installing))
    }

    /// Inside `node_modules`, so that deleting the folder also deletes the claim that it is complete.
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

async fn java() -> Result<()> {
    if java_version().await.is_some_and(|version| version >= JAVA_VERSION) {
        return Ok(());
    }
    let advice = format!(
        "Install a Java of version {JAVA_VERSION} or newer, or leave those tests out with \
         --skip dynamodb-local"
    );
    // The distribution's current one: 17 on Debian 12, newer on later ones.
    system_packages(
        &format!("Java {JAVA_VERSION} or newer, which DynamoDB Local runs on,"),
        &["default-jre-headless"],
        &advice,
    )
    .await?;
    match java_version().await {
        Some(version) if version >= JAVA_VERSION => Ok(()),
        _ => Err(Error::Missing { what: format!("Java {JAVA_VERSION} or newer"), advice }),
    }
}

/// The Chromium that is there, or that of the distribution. Playwright's own builds come from no
/// package registry.
pub async fn chromium() -> Result<PathBuf> {
    const ADVICE: &str = "Install Chromium or Chrome so that one of `chromium`, \
                          `chromium-browser`, `google-chrome-stable` and `google-chrome` is on \
                          the PATH";
    if let Some(program) = find_chromium().await {
        return Ok(program);
    }
    let what = "Chromium, in which the dashboard is tested,";
    system_packages(what, &["chromium"], ADVICE).await?;
    find_chromium()
        .await
        .ok_or_else(|| Error::Missing { what: what.to_owned(), advice: ADVICE.to_owned() })
}

async fn find_chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"] {
        for folder in std::env::split_paths(&path) {
            let program = folder.join(name);
            // Some distributions have a program of this name that only says where to get it.
            if program.is_file() && ask(Command::new(&program).arg("--version")).await.is_some() {
                return Some(program);
            }
        }
    }
    None
}

async fn java_version() -> Option<u32> {
    parse_java_version(&ask(Command::new("java").arg("-version")).await?)
}

/// The major version in the output of `java -version`: `openjdk version "17.0.15" 2025-04-15`.
fn parse_java_version(output: &str) -> Option<u32> {
    let version = output.split('"').nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

/// Installs packages of a Debian-like system, if we may; says how to otherwise.
async fn system_packages(what: &str, packages: &[&str], otherwise: &str) -> Result<()> {
    let has_apt = ask(Command::new("apt-get").arg("--version")).await.is_some();
    let list = packages.join(" ");
    if !has_apt || !rustix::process::geteuid().is_root() {
        let advice = if has_apt {
            format!("{otherwise}. As root: apt-get update && apt-get install -y {list}")
        } else {
            otherwise.to_owned()
        };
        return Err(Error::Missing { what: what.to_owned(), advice });
    }
    let doing = format!("installing {list} with apt-get");
    let activity = Activity::start(&doing, "about a minute");
    let mut update = Command::new("apt-get");
    run_quietly(&doing, update.arg("update"), &activity).await?;
    let mut install = Command::new("apt-get");
    install
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    run_quietly(&doing, &mut install, &activity).await?;
    activity.finish("done");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions_old_and_new() {
        let parse = |version: &str| parse_java_version(&format!("openjdk version \"{version}\""));
        assert_eq!(parse("17.0.15"), Some(17));
        assert_eq!(parse("21-ea"), Some(21));
        // Java 8 called itself 1.8: too old, which is all that matters.
        assert_eq!(parse("1.8.0_302"), Some(1));
        assert_eq!(parse_java_version("not found"), None);
    }

    #[test]
    fn installs_keep_the_registries_and_lose_the_build() {
        for kept in ["CARGO_HOME", "CARGO_REGISTRIES_MIRROR_INDEX", "PATH", "RUSTUP_TOOLCHAIN"] {
            assert!(!belongs_to_a_build(kept), "{kept}");
        }
        for lost in ["CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            assert!(belongs_to_a_build(lost), "{lost}");
        }
    }
}
