//! The checkout, the folder of tools outside it, and the versions in Cargo.lock.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use cargo_lock::Lockfile;
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    error::{Error, Result},
    processes::ask,
};

/// The checkout and the cache of tools.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    cache: PathBuf,
}

impl Project {
    /// The project that this program was built from.
    pub fn locate() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_owned();
        Ok(Self { root, cache: cache_folder()? })
    }

    /// The root of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of installed tools, outside the checkout.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of one version of a tool that cargo installs.
    pub fn tool(&self, name: &str, version: &str) -> PathBuf {
        self.cache.join("tools").join(format!("{name}-{version}"))
    }

    /// The folder that `dev` keeps between runs.
    pub fn dev_folder(&self) -> PathBuf {
        self.root.join(".edge-analytics/dev")
    }

    /// A file or folder of the npm packages.
    pub fn node_modules(&self, path: &str) -> PathBuf {
        self.root.join("node_modules").join(path)
    }

    /// The folder of the dashboard, which has npm packages of its own.
    pub fn dashboard(&self) -> PathBuf {
        self.root.join("www")
    }

    /// The version of `crate_name` in Cargo.lock.
    pub fn locked_version(&self, crate_name: &str) -> Result<String> {
        let lock = Lockfile::load(self.root.join("Cargo.lock"))
            .map_err(|error| Error::Lock { problem: format!("cannot be read ({error})") })?;
        lock.packages
            .iter()
            .find(|package| package.name.as_str() == crate_name)
            .map(|package| package.version.to_string())
            .ok_or_else(|| Error::Lock {
                problem: format!("does not name the crate `{crate_name}`"),
            })
    }

    /// Where cargo puts what it builds.
    pub async fn target_folder(&self) -> Result<PathBuf> {
        #[derive(Deserialize)]
        struct Metadata {
            target_directory: PathBuf,
        }

        let unknown = || Error::Missing {
            what: "the target folder in the output of `cargo metadata`".to_owned(),
            advice: "Run `cargo metadata` in the root of the checkout to see why".to_owned(),
        };
        let mut command = self.command("cargo");
        let text = ask(command.args(["metadata", "--no-deps", "--format-version", "1"]))
            .await
            .ok_or_else(unknown)?;
        serde_json::from_str::<Metadata>(&text)
            .map(|metadata| metadata.target_directory)
            .map_err(|_| unknown())
    }

    /// A command that runs in the root of the checkout, with the programs of the npm packages, such as
    /// their Node, first in its PATH.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", search_path(self.node_modules(".bin")));
        command
    }
}

/// The PATH with `first` before its other folders.
fn search_path(first: PathBuf) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first).chain(std::env::split_paths(&inherited));
    // Joining fails only for a folder with a colon in its name; the inherited PATH still works.
    std::env::join_paths(folders).unwrap_or(inherited)
}

fn cache_folder() -> Result<PathBuf> {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(own) = folder("EDGE_ANALYTICS_CACHE") {
        return std::path::absolute(&own).map_err(Error::file("find the folder", Path::new(&own)));
    }
    folder("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|caches| caches.join("edge-analytics"))
        .ok_or_else(|| Error::Missing {
            what: "a home directory to keep tools in".to_owned(),
            advice: "Set EDGE_ANALYTICS_CACHE to a folder that may hold 100 MB".to_owned(),
        })
}
