//! What comes from the operating system: Java and Chromium.

use std::path::PathBuf;

use tokio::process::Command;

use crate::{
    error::{Error, Result},
    processes::{ask, run_quietly},
    progress::Activity,
};

/// The oldest Java that runs DynamoDB Local 3.
const JAVA_VERSION: u32 = 17;

/// Checks for Java, and installs it where that is possible.
pub async fn java() -> Result<()> {
    if java_version().await.is_some_and(|version| version >= JAVA_VERSION) {
        return Ok(());
    }
    let advice = format!(
        "Install Java {JAVA_VERSION} or newer, or leave those tests out with --skip dynamodb-local"
    );
    // The distribution's current version: 17 on Debian 12, newer on later releases.
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

/// The installed Chromium, or that of the distribution. Playwright's own builds come from no package
/// registry.
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
            // Some distributions have a program of this name that only prints where to get it.
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

/// Installs packages of a Debian-like system as root; otherwise the error is the advice `otherwise`.
pub async fn system_packages(what: &str, packages: &[&str], otherwise: &str) -> Result<()> {
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
}
