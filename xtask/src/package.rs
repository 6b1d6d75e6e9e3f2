//! The package in `pkg/`: the WebAssembly with the JavaScript around it, as Cloudflare runs it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    processes::run_quietly,
    progress::Activity,
    project::Project,
    setup::{Tools, WASM_TARGET},
};

/// The WebAssembly's name in a package.
const WASM: &str = "index_bg.wasm";

/// What to build.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The folder of the package, relative to the root of the checkout.
    pub out_dir: PathBuf,
    /// Cargo features to build it with.
    pub features: Vec<String>,
}

impl Recipe {
    /// The package that is deployed.
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

/// `worker-build` keeps the names of functions, which are a tenth of the package. A panic names its file
/// and line without them.
const STRIP: [&str; 2] = ["--strip-debug", "--strip-producers"];

/// Builds a package with `worker-build`, optimised for release. A package that was built from the same
/// WebAssembly with the same tools is not built again, because optimising takes most of the time.
pub async fn build(project: &Project, tools: &Tools, recipe: &Recipe) -> Result<Package> {
    let folder = project.root().join(&recipe.out_dir);
    let doing = format!("building {}", recipe.out_dir.display());
    let activity = Activity::start(
        &doing,
        "3 minutes the first time, a minute after a change, otherwise seconds",
    );

    let compiled = compile(project, recipe, &doing, &activity).await?;
    let origin = origin(project, tools, &compiled)?;
    let stamp = folder.join(".built-from");
    let is_built = folder.join(WASM).is_file();
    if is_built && fs::read_to_string(&stamp).is_ok_and(|earlier| earlier == origin) {
        let package = measure(folder)?;
        activity.finish(&format!("unchanged, {}", package.size()));
        return Ok(package);
    }

    // An interrupted build must not be taken for the one before it.
    if stamp.exists() {
        fs::remove_file(&stamp).map_err(Error::file("delete", &stamp))?;
    }
    let mut command = project.command(&tools.worker_build);
    command
        // Tools that it would otherwise download.
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("WASM_OPT_BIN", &tools.wasm_opt)
        .env("ESBUILD_BIN", &tools.esbuild)
        .args(["--release", "--out-dir"])
        .arg(&folder)
        .args(feature_arguments(recipe));
    run_quietly(&doing, &mut command, &activity).await?;
    let wasm = folder.join(WASM);
    let mut strip = project.command(&tools.wasm_opt);
    strip.args(STRIP).arg(&wasm).arg("-o").arg(&wasm);
    run_quietly(&doing, &mut strip, &activity).await?;
    fs::write(&stamp, origin).map_err(Error::file("write", &stamp))?;

    let package = measure(folder)?;
    activity.finish(&package.size());
    Ok(package)
}

/// Compiles the Worker as `worker-build` does afterwards; returns rustc's output.
async fn compile(
    project: &Project,
    recipe: &Recipe,
    doing: &str,
    activity: &Activity,
) -> Result<PathBuf> {
    let mut command = project.command("cargo");
    command
        .args(["build", "--lib", "--release", "--target", WASM_TARGET])
        .args(feature_arguments(recipe))
        // What worker-build sets; the macros of wasm-bindgen read it.
        .env("WASM_BINDGEN_USE_JS_SYS", "1");
    run_quietly(doing, &mut command, activity).await?;
    Ok(project.target_folder().await?.join(WASM_TARGET).join("release/edge_analytics.wasm"))
}

fn feature_arguments(recipe: &Recipe) -> Vec<String> {
    if recipe.features.is_empty() {
        return Vec::new();
    }
    vec!["--features".to_owned(), recipe.features.join(",")]
}

/// A hash of what a package is built from: the compiled WebAssembly and the versions of the tools.
fn origin(project: &Project, tools: &Tools, compiled: &Path) -> Result<String> {
    let npm_lock = project.root().join("package-lock.json");
    let mut hash = Sha256::new();
    for path in [compiled, &npm_lock] {
        hash.update(fs::read(path).map_err(Error::file("read", path))?);
    }
    hash.update(STRIP.concat());
    // Their paths contain their versions.
    for path in [&tools.worker_build, &tools.wasm_bindgen] {
        hash.update(path.as_os_str().as_encoded_bytes());
    }
    Ok(HEXLOWER.encode(&hash.finalize()))
}

impl Package {
    /// Its size, for people.
    pub fn size(&self) -> String {
        format!("WebAssembly of {} bytes, {} bytes gzipped", self.raw, self.gzipped)
    }
}

fn measure(folder: PathBuf) -> Result<Package> {
    let path = folder.join(WASM);
    let wasm = fs::read(&path).map_err(Error::file("read", &path))?;
    let gzipped = gzip_size(&wasm, &path)?;
    Ok(Package { folder, raw: wasm.len() as u64, gzipped })
}

/// The gzipped size of `bytes`, the content of the file at `path`.
pub fn gzip_size(bytes: &[u8], path: &Path) -> Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .map(|compressed| compressed.len() as u64)
        .map_err(Error::file("compress", path))
}
