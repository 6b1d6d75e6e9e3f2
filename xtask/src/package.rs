//! The package in `pkg/`: the WebAssembly with the JavaScript around it, as Cloudflare runs it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    error::{Error, Result},
    processes::run_quietly,
    progress::Activity,
    project::Project,
    setup::Tools,
};

/// What to build.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Where to put it; relative to the root of the checkout.
    pub out_dir: PathBuf,
    /// Cargo features to build it with.
    pub features: Vec<String>,
}

impl Recipe {
    /// What is released.
    pub fn release() -> Self {
        Self { out_dir: PathBuf::from("pkg"), features: Vec::new() }
    }
}

/// A package that has been built.
#[derive(Debug)]
pub struct Package {
    /// Its folder.
    pub folder: PathBuf,
    /// Bytes of WebAssembly.
    pub raw: u64,
    /// Bytes of it after gzip, which is what Cloudflare limits and transfers.
    pub gzipped: u64,
}

/// Builds a package with `worker-build`, optimised for release.
pub async fn build(project: &Project, tools: &Tools, recipe: &Recipe) -> Result<Package> {
    let folder = project.root().join(&recipe.out_dir);
    let doing = format!("building {}", recipe.out_dir.display());
    let activity = Activity::start(&doing, "about a minute when much has changed");
    let mut command = project.command(&tools.worker_build);
    command
        .env("PATH", tools.search_path(project))
        // Everything it would otherwise download.
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("WASM_OPT_BIN", &tools.wasm_opt)
        .env("ESBUILD_BIN", &tools.esbuild)
        .args(["--release", "--out-dir"])
        .arg(&folder);
    if !recipe.features.is_empty() {
        command.args(["--features", &recipe.features.join(",")]);
    }
    run_quietly(&doing, &mut command, &activity).await?;

    let package = measure(folder)?;
    activity.finish(&package.size());
    Ok(package)
}

impl Package {
    /// Its size, for people.
    pub fn size(&self) -> String {
        format!("WebAssembly of {} bytes, {} bytes gzipped", self.raw, self.gzipped)
    }
}

fn measure(folder: PathBuf) -> Result<Package> {
    let path = folder.join("index_bg.wasm");
    let wasm = fs::read(&path).map_err(Error::file("read", &path))?;
    let gzipped = gzip_size(&wasm, &path)?;
    Ok(Package { folder, raw: wasm.len() as u64, gzipped })
}

fn gzip_size(bytes: &[u8], path: &Path) -> Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map(|compressed| compressed.len() as u64)
        .map_err(Error::file("compress", path))
}
