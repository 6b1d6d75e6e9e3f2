//! Every message that a catalogue author, an operator or an API user can meet, in one snapshot,
//! `snapshots/messages__every_message.snap`, so that all of them can be read in one place.
//!
//! Each part begins with messages as they are met, rendered by what renders them. Then follow all
//! texts in the source, file by file: a new or changed text fails the test until it is reviewed.
//!
//! Run with `cargo test --test messages`; after a review with `INSTA_UPDATE=always`.

// On wasm only tests/wasm runs.
#![cfg(not(target_arch = "wasm32"))]

mod api;
mod catalogue;
mod settings;
mod source;

use source::{Text, texts};

/// The texts of the files whose path starts with one of `folders`, file by file.
fn all_texts(texts: &[Text], is_in: impl Fn(&str) -> bool) -> String {
    let mut listed = Vec::new();
    let mut file = "";
    for text in texts.iter().filter(|text| is_in(&text.file)) {
        if text.file != file {
            file = &text.file;
            listed.push(format!("\n{file}"));
        }
        listed.push(format!("    {}", text.template));
    }
    listed.join("\n") + "\n"
}

fn is_of_authors(file: &str) -> bool {
    file.starts_with("src/metrics/catalogue/") || file == "build.rs"
}

fn is_of_users(file: &str) -> bool {
    file.starts_with("src/api/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message() {
    let texts = texts();
    let met = api::met().await.to_owned();
    let all = [
        "CATALOGUE AUTHORS: errors of `cargo build` for metrics.toml\n".to_owned(),
        catalogue::met(),
        "All texts in the source\n".to_owned() + &all_texts(&texts, is_of_authors),
        "OPERATORS: settings, DynamoDB, runs, health, log\n".to_owned(),
        settings::met(),
        "All texts in the source\n".to_owned()
            + &all_texts(&texts, |file| !is_of_authors(file) && !is_of_users(file)),
        "API USERS: responses with an error\n".to_owned(),
        met,
        "All texts in the source\n".to_owned() + &all_texts(&texts, is_of_users),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

/// The scan misses no error text: each `#[error("…")]` that a plain search finds is listed.
#[test]
fn the_scan_finds_every_error_text() {
    let texts = texts();
    let mut found = 0;
    for (file, content) in source::files() {
        for (at, _) in content.match_indices("#[error(\"") {
            let rest = &content[at + "#[error(\"".len()..];
            let text = &rest[..rest.find('"').unwrap()];
            // A text that only passes another one on has no words of its own.
            if source::is_text(text) {
                let is_listed = texts.iter().any(|one| one.file == file && one.template == text);
                assert!(is_listed, "{file}: {text}");
                found += 1;
            }
        }
    }
    assert!(found > 15, "only {found} error texts");
}

/// Every stable error text of the API is met by a request of this test.
#[tokio::test(flavor = "multi_thread")]
async fn every_error_of_the_api_is_met() {
    let met = api::met().await;
    let mut constructors = 0;
    for (file, content) in source::files().into_iter().filter(|(file, _)| is_of_users(file)) {
        for (at, _) in content.match_indices("bad_request(") {
            let Some(template) = source::first_argument(&content[at + "bad_request(".len()..])
            else {
                continue;
            };
            constructors += 1;
            let is_met = met.lines().any(|line| source::matches(&template, line));
            assert!(is_met, "{file}: no request of this test is answered with: {template}");
        }
    }
    assert!(constructors > 12, "only {constructors} constructors");
    for text in api::STABLE_TEXTS {
        assert!(met.lines().any(|line| line.ends_with(text)), "{text}");
    }
}
