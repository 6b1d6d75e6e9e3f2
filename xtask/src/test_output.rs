//! Reads what `cargo test` and `node --test` print: which suites ran, what passed, what failed.
//!
//! Both have machine-readable formats, but cargo's is not stable and node's replaces the text that
//! people read.

use std::time::Duration;

use crate::suites::Suite;

/// How a test that failed is run alone.
#[derive(Debug, Clone, Copy)]
pub enum Rerun {
    /// `cargo test` with the arguments that it suggests.
    Cargo,
    /// A command that needs what `cargo xtask test` starts; the name and `--exact` follow it.
    Xtask(&'static str),
}

/// Reads the output of `cargo test`, line by line.
#[derive(Debug)]
pub struct CargoOutput {
    rerun: Rerun,
    suites: Vec<Suite>,
    /// Whether the last of the suites has printed its result.
    is_complete: bool,
    /// The names in the list of failures that is being read.
    failures: Option<Vec<String>>,
    /// Those of the last complete list.
    failed: Vec<String>,
}

impl CargoOutput {
    /// Nothing read yet.
    pub fn new(rerun: Rerun) -> Self {
        Self { rerun, suites: Vec::new(), is_complete: true, failures: None, failed: Vec::new() }
    }

    /// Reads one line.
    pub fn read(&mut self, line: &str) {
        let line = &without_colours(line);
        if let Some(name) = suite_name(line) {
            self.begin(name);
        } else if let Some(time) = compile_time(line) {
            let name = "compilation".to_owned();
            self.suites.push(Suite { name, time: Some(time), ..Suite::default() });
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.end(result);
        } else if line == "failures:" {
            // The first list has each test's output, which can hold anything; the second has names.
            self.failures = Some(Vec::new());
        } else if let Some(hint) = rerun_hint(line) {
            self.add_reruns(hint);
        } else if let Some(failures) = &mut self.failures
            && let Some(name) = line.strip_prefix("    ")
        {
            failures.push(name.to_owned());
        }
    }

    /// The suites that were read; those without tests are left out.
    pub fn finish(mut self) -> Vec<Suite> {
        let ran = |suite: &Suite| {
            suite.passed + suite.ignored > 0
                || !suite.reruns.is_empty()
                || suite.name == "compilation"
        };
        self.suites.retain(ran);
        self.suites
    }

    fn begin(&mut self, name: String) {
        self.suites.push(Suite { name, ..Suite::default() });
        self.is_complete = false;
        self.failed.clear();
    }

    fn end(&mut self, result: &str) {
        self.is_complete = true;
        self.failed.extend(self.failures.take().unwrap_or_default());
        let Some(suite) = self.suites.last_mut() else { return };
        // `ok. 1 passed; 0 failed; 1 ignored; …; finished in 0.21s`. Examples in the documentation
        // have one such line for each way in which they were compiled.
        let count = |what: &str| {
            let words: Vec<&str> = result.split([' ', ';']).collect();
            let found = words.windows(2).find(|pair| pair[1] == what);
            found.and_then(|pair| pair[0].parse::<u32>().ok()).unwrap_or_default()
        };
        suite.passed += count("passed");
        suite.ignored += count("ignored");
        let time = result.rsplit_once("finished in ").and_then(|(_, time)| duration(time));
        suite.time = time.map(|time| suite.time.unwrap_or_default() + time);
        if let Rerun::Xtask(_) = self.rerun {
            self.add_reruns("");
        }
    }

    /// Adds a command for each test that failed; `arguments` choose the binary.
    fn add_reruns(&mut self, arguments: &str) {
        let Some(suite) = self.suites.last_mut() else { return };
        let command = match self.rerun {
            Rerun::Cargo => format!("cargo test {arguments}"),
            Rerun::Xtask(command) => command.to_owned(),
        };
        if !self.is_complete && suite.reruns.is_empty() {
            // It crashed; which test did is not known.
            suite.reruns.push(command);
        } else {
            let failed = self.failed.drain(..);
            let rerun = |name: String| format!("{command} -- {} --exact", quoted(&name));
            suite.reruns.extend(failed.map(rerun));
        }
    }
}

/// Reads the output of `node --test`.
#[derive(Debug)]
pub struct NodeOutput {
    command: &'static str,
    suite: Suite,
    lists_failures: bool,
}

impl NodeOutput {
    /// Nothing read yet of the suite `name`; `command` runs chosen tests of it.
    pub fn new(name: &str, command: &'static str) -> Self {
        let suite = Suite { name: name.to_owned(), ..Suite::default() };
        Self { command, suite, lists_failures: false }
    }

    /// Reads one line.
    pub fn read(&mut self, line: &str) {
        let line = &without_colours(line);
        if let Some((what, value)) = line.strip_prefix("ℹ ").and_then(|line| line.split_once(' '))
        {
            let count = || value.parse().unwrap_or_default();
            match what {
                "pass" => self.suite.passed = count(),
                "skipped" | "todo" => self.suite.ignored += count(),
                "duration_ms" => {
                    let seconds = value.parse::<f64>().map(|milliseconds| milliseconds / 1000.0);
                    self.suite.time =
                        seconds.ok().and_then(|time| Duration::try_from_secs_f64(time).ok());
                }
                _ => {}
            }
        } else if line == "✖ failing tests:" {
            self.lists_failures = true;
        } else if self.lists_failures
            && let Some((name, _)) = line.strip_prefix("✖ ").and_then(|name| name.rsplit_once(" ("))
        {
            let pattern = format!("--test-name-pattern={}", literal_pattern(name));
            self.suite.reruns.push(format!("{} -- {}", self.command, quoted(&pattern)));
        }
    }

    /// The suite that was read.
    pub fn finish(self) -> Vec<Suite> {
        vec![self.suite]
    }
}

/// The suite that starts with this line: `     Running tests/api/main.rs (target/debug/deps/api-9fa7c3163a7dea38)`.
fn suite_name(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("examples in the documentation of {}", name.replace('_', "-")));
    }
    let (path, executable) =
        line.strip_prefix("     Running ")?.strip_suffix(')')?.split_once(" (")?;
    if path.strip_prefix("unittests ").is_none() {
        let name = path.strip_suffix("/main.rs").or_else(|| path.strip_suffix(".rs"));
        return Some(name.unwrap_or(path).to_owned());
    }
    let file = executable.rsplit('/').next().unwrap_or(executable);
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(format!("unit tests of {}", name.replace('_', "-")))
}

/// How long compiling took: ``    Finished `test` profile [unoptimized] target(s) in 3m 02s``.
fn compile_time(line: &str) -> Option<Duration> {
    let (_, time) = line.strip_prefix("    Finished ")?.rsplit_once(" target(s) in ")?;
    duration(time)
}

/// A duration as cargo and the test harness write it: `0.56s`, `3m 02s`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for part in text.split(' ') {
        let (number, factor) = match (part.strip_suffix('s'), part.strip_suffix('m')) {
            (Some(seconds), _) => (seconds, 1),
            (None, minutes) => (minutes?, 60),
        };
        total += Duration::try_from_secs_f64(number.parse().ok()?).ok()? * factor;
    }
    Some(total)
}

/// The arguments that cargo suggests: ``error: test failed, to rerun pass `-p xtask --lib` ``.
fn rerun_hint(line: &str) -> Option<&str> {
    let failed = line
        .strip_prefix("error: test failed")
        .or_else(|| line.strip_prefix("error: doctest failed"));
    failed?.strip_prefix(", to rerun pass `")?.strip_suffix('`')
}

/// The text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "_-:/.=".contains(character);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A regular expression that matches `text` as it is.
fn literal_pattern(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        if r"\^$.|?*+()[]{}/".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// The line without the escape sequences that colour it.
fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_cargo(rerun: Rerun, text: &str) -> Vec<Suite> {
        let mut output = CargoOutput::new(rerun);
        text.lines().for_each(|line| output.read(line));
        output.finish()
    }

    fn suite(name: &str, passed: u32, ignored: u32, milliseconds: u64, reruns: &[&str]) -> Suite {
        Suite {
            name: name.to_owned(),
            passed,
            ignored,
            time: Some(Duration::from_millis(milliseconds)),
            reruns: reruns.iter().map(|rerun| (*rerun).to_owned()).collect(),
        }
    }

    #[test]
    fn what_cargo_printed_for_failing_crashing_and_passing_binaries() {
        let suites = read_cargo(Rerun::Cargo, include_str!("../testdata/cargo.txt"));
        assert_eq!(
            suites,
            [
                suite("compilation", 0, 0, 560, &[]),
                suite(
                    "unit tests of probe",
                    1,
                    1,
                    210,
                    &[
                        "cargo test --lib -- tests::does_not_panic --exact",
                        "cargo test --lib -- tests::fails --exact",
                    ]
                ),
                suite("tests/api", 1, 0, 90, &["cargo test --test api -- refuses --exact"]),
                Suite { time: None, ..suite("tests/crash", 0, 0, 0, &["cargo test --test crash"]) },
                suite("tests/good", 1, 0, 0, &[]),
                suite(
                    "examples in the documentation of probe",
                    1,
                    0,
                    80,
                    &["cargo test --doc -- 'src/lib.rs - three (line 5)' --exact"]
                ),
            ]
        );
    }

    #[test]
    fn a_suite_that_needs_servers_is_repeated_through_xtask() {
        let command = "cargo xtask test --only end-to-end";
        let text = include_str!("../testdata/cargo.txt");
        let suites = read_cargo(Rerun::Xtask(command), text);
        let api = suites.iter().find(|suite| suite.name == "tests/api").unwrap();
        assert_eq!(api.reruns, [format!("{command} -- refuses --exact")]);
        let crash = suites.iter().find(|suite| suite.name == "tests/crash").unwrap();
        assert_eq!(crash.reruns, [command]);
    }

    #[test]
    fn colours_are_ignored() {
        let text = "\x1b[1m\x1b[92m    Finished\x1b[0m `test` profile [unoptimized] target(s) in 3m 02s\n\
                    \x1b[1m\x1b[92m     Running\x1b[0m tests/good.rs (target/debug/deps/good-9a)\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; finished in 61.50s";
        assert_eq!(
            read_cargo(Rerun::Cargo, text),
            [suite("compilation", 0, 0, 182_000, &[]), suite("tests/good", 2, 0, 61_500, &[]),]
        );
    }

    #[test]
    fn what_node_printed_for_failing_and_skipped_tests() {
        let command = "cargo xtask test --only dashboard";
        let mut output = NodeOutput::new("www/tests", command);
        include_str!("../testdata/node.txt").lines().for_each(|line| output.read(line));
        let [suite] = output.finish().try_into().unwrap();
        assert_eq!((suite.passed, suite.ignored), (1, 2));
        assert_eq!(suite.time.unwrap().as_millis(), 96);
        assert_eq!(
            suite.reruns,
            [
                format!(r#"{command} -- '--test-name-pattern=a sum is "wrong" \(by 1\)'"#),
                format!("{command} -- '--test-name-pattern=inner fails'"),
            ]
        );
    }
}
