//! The texts in the source: string literals that are sentences or parts of one, outside of tests,
//! comments and attributes, except `#[error("…")]`.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Whether a literal is a text for a reader: three words or more, of which two are not placeholders.
/// Expressions for DynamoDB, with their `:names`, are not.
pub fn is_text(literal: &str) -> bool {
    let words: Vec<&str> = literal.split_whitespace().collect();
    let is_word = |word: &&&str| {
        word.bytes().all(|byte| byte.is_ascii_alphabetic() || b",.;:`'()".contains(&byte))
    };
    let is_expression = words.iter().any(|word| word.starts_with([':', '#']));
    words.len() >= 3 && words.iter().filter(is_word).count() >= 2 && !is_expression
}

/// A text, with its placeholders as they are in the source.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The file, from the root of the repository.
    pub file: String,
    /// The literal, in one line.
    pub template: String,
}

/// The source files in order of their paths, without those of tests.
pub fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    paths.push(root.join("build.rs"));
    paths.sort();
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .filter(|(name, _)| !name.contains("test"))
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// All texts of all files.
pub fn texts() -> Vec<Text> {
    let mut texts = Vec::new();
    for (file, content) in files() {
        for literal in literals(&content) {
            if is_text(&literal) {
                texts.push(Text { file: file.clone(), template: literal.trim().to_owned() });
            }
        }
    }
    texts
}

/// The string literals of a file that count.
fn literals(content: &str) -> Vec<String> {
    let mut scan = Scan { rest: content, found: Vec::new() };
    while !scan.rest.is_empty() {
        scan.step(true);
    }
    scan.found
}

struct Scan<'content> {
    rest: &'content str,
    found: Vec<String>,
}

impl Scan<'_> {
    /// Passes over one token; `counts` says whether a literal is kept.
    fn step(&mut self, counts: bool) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("#[error(") {
            self.skip(1);
        } else if rest.starts_with("#[cfg(test)]") || rest.starts_with("#[cfg(all(test") {
            self.attribute();
            self.item();
        } else if rest.starts_with("#[") || rest.starts_with("#![") {
            self.attribute();
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            let (literal, behind) = raw.split_once("\"#").unwrap();
            self.keep(literal, counts);
            self.rest = behind;
        } else if rest.starts_with('"') {
            let end = end_of_literal(rest);
            self.keep(&rest[1..end], counts);
            self.rest = &rest[end + 1..];
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            self.skip(if rest.starts_with("'\"'") { 3 } else { 4 });
        } else {
            self.skip(1);
        }
    }

    fn skip(&mut self, characters: usize) {
        let end = self.rest.char_indices().nth(characters).map_or(self.rest.len(), |(at, _)| at);
        self.rest = &self.rest[end..];
    }

    /// Passes over an attribute.
    fn attribute(&mut self) {
        self.until(b'[', b']');
    }

    /// Passes over the item behind an attribute: up to its `;` or its closing brace.
    fn item(&mut self) {
        while !self.rest.starts_with(['{', ';']) && !self.rest.is_empty() {
            self.step(false);
        }
        if self.rest.starts_with('{') {
            self.until(b'{', b'}');
        }
    }

    /// Passes over what the next `open` opens.
    fn until(&mut self, open: u8, close: u8) {
        let mut depth = 0;
        while let Some(next) = self.rest.bytes().next() {
            self.step_inside();
            depth += i32::from(next == open) - i32::from(next == close);
            if depth == 0 && next == close {
                return;
            }
        }
    }

    /// One token of what is passed over. Attributes in it are plain text.
    fn step_inside(&mut self) {
        if self.rest.starts_with('#') {
            self.skip(1);
        } else {
            self.step(false);
        }
    }

    fn keep(&mut self, literal: &str, counts: bool) {
        if counts {
            self.found.push(unescaped(literal));
        }
    }
}

/// Where the literal ends that `rest` begins with.
fn end_of_literal(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// The literal as it is read, in one line.
fn unescaped(literal: &str) -> String {
    let mut lines = literal.split("\\\n").enumerate();
    let joined: String =
        lines.by_ref().map(|(at, line)| if at == 0 { line } else { line.trim_start() }).collect();
    joined.replace("\\\"", "\"").replace("\\n", " ")
}

/// The text of the call's first argument, if it is a literal or a `format!` of one.
pub fn first_argument(call: &str) -> Option<String> {
    let call = call.trim_start();
    let call = call.strip_prefix("format!(").unwrap_or(call).trim_start();
    call.starts_with('"').then(|| unescaped(&call[1..end_of_literal(call)]))
}

/// Whether `text` can be what `template` with its placeholders became.
pub fn matches(template: &str, text: &str) -> bool {
    let mut rest = text;
    template.split('{').enumerate().all(|(at, part)| {
        let fixed =
            if at == 0 { part } else { part.split_once('}').map_or(part, |(_, rest)| rest) };
        rest.find(fixed).map(|found| rest = &rest[found + fixed.len()..]).is_some()
    })
}

#[test]
fn the_scan_reads_literals_and_nothing_else() {
    let content = r##"
        //! A comment with "three quoted words".
        #[allow(dead_code, reason = "not a text at all")]
        #[error("the state {0} is not known; \
                 delete it")]
        fn one(text: &str) -> char { "a \"quoted\" word here"; '"' }
        const TWO: &str = r#"raw text with "quotes" in it"#;
        #[cfg(test)]
        mod tests { fn three() { "text of a test }"; } }
        #[cfg(test)]
        mod more;
        fn four<'a>() { "set to {value} now" }
    "##;
    assert_eq!(
        literals(content),
        [
            "the state {0} is not known; delete it",
            "a \"quoted\" word here",
            "raw text with \"quotes\" in it",
            "set to {value} now",
        ]
    );
    assert!(matches("{name} must be {what}", "400 metricType must be a string"));
    assert!(!matches("{name} must be {what}", "metricType is required"));
}
