//! The layers of `src/`: which folder may use which. An import against the arrows fails here.
//!
//! Run with `cargo test --test layers`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each folder with those that it may use.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("metrics", &[]),
    ("host", &[]),
    ("dynamodb", &["host"]),
    ("settings", &["dynamodb", "metrics"]),
    ("store", &["dynamodb", "host", "metrics"]),
    ("query", &["dynamodb", "host", "metrics"]),
    ("changes", &["dynamodb", "host", "metrics"]),
    ("platform", &["dynamodb", "host", "metrics"]),
    ("run", &["dynamodb", "host", "metrics", "query", "settings", "store"]),
    ("realtime", &["dynamodb", "host", "metrics", "query", "settings", "store"]),
    ("monitor", &["dynamodb", "host", "metrics", "query", "settings", "store"]),
    (
        "api",
        &[
            "dynamodb", "host", "metrics", "monitor", "platform", "query", "realtime", "run",
            "settings", "store",
        ],
    ),
    (
        "edge",
        &[
            "api", "dynamodb", "host", "metrics", "monitor", "platform", "query", "realtime",
            "run", "settings", "store",
        ],
    ),
];

/// The folders that `text` names behind `crate::`.
fn used(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> =
        text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect();
    let code = code.join("\n");
    let name = |text: &str| -> String {
        let text = text.trim_start();
        text.chars().take_while(|at| at.is_ascii_alphanumeric() || *at == '_').collect()
    };
    let mut used = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        // Not `edge_crate::`.
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + found.len()..];
        if !rest.starts_with('{') {
            used.insert(name(rest));
            continue;
        }
        let mut depth = 0;
        for (at, character) in rest.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && (at == 0 || character == ',') {
                used.insert(name(&rest[at + 1..]));
            }
        }
    }
    used.remove("");
    used
}

/// Whether an import of the file reaches the root of the crate by `super::`, where [`used`] does not see
/// it. Indented lines are those of modules inside the file.
fn leaves_through_super(inside: &Path, text: &str) -> bool {
    let is_folder = inside.file_name().is_some_and(|name| name == "mod.rs");
    let depth = inside.iter().count() - usize::from(is_folder);
    text.lines()
        .filter(|line| !line.starts_with(' ') && !line.starts_with("//"))
        .any(|line| line.matches("super::").count() >= depth)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_import_follows_the_arrows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = BTreeSet::new();
    let mut against = Vec::new();
    for path in files(&source) {
        let inside = path.strip_prefix(&source).unwrap();
        let folder = inside.iter().next().unwrap().to_str().unwrap();
        if folder == "lib.rs" {
            continue;
        }
        folders.insert(folder.to_owned());
        let allowed = ALLOWED.iter().find(|(name, _)| *name == folder);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{folder} has no layer"));
        let text = fs::read_to_string(&path).unwrap();
        if leaves_through_super(inside, &text) {
            against.push(format!("{} uses super:: for crate::", inside.display()));
        }
        for used in used(&text) {
            if used != folder && !allowed.contains(&used.as_str()) {
                against.push(format!("{} uses {used}", inside.display()));
            }
        }
    }
    assert!(against.is_empty(), "{against:#?}");
    let known: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, known);
}

#[test]
fn the_domain_uses_no_http_and_no_workers_runtime() {
    let domain = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics");
    for path in files(&domain) {
        let text = fs::read_to_string(&path).unwrap();
        for foreign in ["reqwest", "axum", "worker::", "aws_sigv4", "http::"] {
            assert!(!text.contains(foreign), "{} names {foreign}", path.display());
        }
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    for (text, expected) in [
        ("use crate::run::Engine;", vec!["run"]),
        ("use crate::{api, metrics::{period::Span, row}, store};", vec!["api", "metrics", "store"]),
        ("use crate::{\n    host::{A, B},\n    query,\n};", vec!["host", "query"]),
        ("let x = crate::edge::call();", vec!["edge"]),
        ("// use crate::api;", vec![]),
        ("use other_crate::api;", vec![]),
    ] {
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(used(text), expected, "{text}");
    }
}

#[test]
fn super_is_no_way_out_of_a_folder() {
    for (file, text, expected) in [
        ("run/mod.rs", "use super::api;", true),
        ("run/hourly.rs", "use super::super::api;", true),
        ("run/hourly.rs", "use super::report::Report;", false),
        ("store/job/slices.rs", "use super::super::ledger;", false),
        ("run/mod.rs", "mod tests {\n    use super::*;\n}", false),
    ] {
        assert_eq!(leaves_through_super(Path::new(file), text), expected, "{file}: {text}");
    }
}
