//! What ran: by step and by suite how many tests passed and how long they took, and the line that
//! repeats each test that failed.

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::progress::elapsed;

/// The tests of one binary or one script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suite {
    /// What is tested.
    pub name: String,
    /// How many tests passed.
    pub passed: u32,
    /// How many tests were left out.
    pub ignored: u32,
    /// How long it took; `None` if it did not say.
    pub time: Option<Duration>,
    /// For each test that failed, a command that runs it alone.
    pub reruns: Vec<String>,
}

/// The suites that have run. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Suites(Arc<Mutex<Vec<Suite>>>);

impl Suites {
    /// Adds suites that have run.
    pub fn extend(&self, suites: impl IntoIterator<Item = Suite>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(suites);
    }

    /// Takes out what was added.
    pub fn take(&self) -> Vec<Suite> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded, after this time.
    Passed(Duration),
    /// It failed, after this time.
    Failed(Duration),
    /// It was left out, for this reason.
    Skipped(&'static str),
}

/// A step with the suites that it ran.
#[derive(Debug)]
pub struct StepResult {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its suites.
    pub suites: Vec<Suite>,
}

/// One line of the table.
struct Row {
    outcome: &'static str,
    name: String,
    tests: String,
    time: String,
}

/// A table of all steps with their suites, and the commands that repeat what failed.
pub fn summary(steps: &[StepResult]) -> String {
    let mut rows =
        vec![Row { outcome: "", name: String::new(), tests: "tests".into(), time: "time".into() }];
    rows.extend(steps.iter().flat_map(rows_of));
    let suites = || steps.iter().flat_map(|step| &step.suites);
    let total: u32 = suites().map(|suite| suite.passed).sum();
    let times = steps.iter().map(|step| match step.outcome {
        Outcome::Passed(time) | Outcome::Failed(time) => time,
        Outcome::Skipped(_) => Duration::ZERO,
    });
    rows.push(Row {
        outcome: "total",
        name: String::new(),
        tests: if total == 0 { String::new() } else { format!("{total} passed") },
        time: elapsed(times.sum()),
    });
    let mut text = table(&rows);
    let mut reruns = suites().flat_map(|suite| &suite.reruns).peekable();
    if reruns.peek().is_some() {
        text.push_str("\nThe tests that failed, each with the command that runs it alone:\n");
        for rerun in reruns {
            let _ = writeln!(text, "  {rerun}");
        }
    }
    text
}

fn rows_of(step: &StepResult) -> Vec<Row> {
    let (outcome, time) = match step.outcome {
        Outcome::Passed(time) => ("passed", elapsed(time)),
        Outcome::Failed(time) => ("FAILED", elapsed(time)),
        Outcome::Skipped(reason) => ("skipped", reason.to_owned()),
    };
    let mut rows = vec![Row { outcome, name: step.name.clone(), tests: String::new(), time }];
    rows.extend(step.suites.iter().map(|suite| Row {
        outcome: "",
        name: format!("  {}", suite.name),
        tests: tests(suite),
        time: suite.time.map(elapsed).unwrap_or_default(),
    }));
    rows
}

fn tests(suite: &Suite) -> String {
    let counts = [
        (suite.passed, "passed"),
        (u32::try_from(suite.reruns.len()).unwrap_or(u32::MAX), "FAILED"),
        (suite.ignored, "ignored"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    counts.join(", ")
}

/// The rows with their columns under each other.
fn table(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max().unwrap_or_default()
    };
    let (names, tests) = (width(|row| &row.name), width(|row| &row.tests));
    let mut text = String::new();
    for Row { outcome, name, tests: count, time } in rows {
        let line = format!("  {outcome:<8} {name:<names$}  {count:<tests$}  {time}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lists_suites_under_their_steps_and_commands_for_failures() {
        let suite = |name: &str, passed, reruns: &[&str]| Suite {
            name: name.to_owned(),
            passed,
            ignored: 0,
            time: Some(Duration::from_secs(3)),
            reruns: reruns.iter().map(|rerun| (*rerun).to_owned()).collect(),
        };
        let steps = [
            StepResult {
                name: "format".to_owned(),
                outcome: Outcome::Passed(Duration::from_millis(20)),
                suites: Vec::new(),
            },
            StepResult {
                name: "native tests".to_owned(),
                outcome: Outcome::Failed(Duration::from_secs(65)),
                suites: vec![
                    suite("tests/api", 130, &[]),
                    suite("tests/runs", 7, &["cargo test --test runs -- lease --exact"]),
                ],
            },
            StepResult {
                name: "DynamoDB Local".to_owned(),
                outcome: Outcome::Skipped("by --skip dynamodb-local"),
                suites: Vec::new(),
            },
        ];
        assert_eq!(
            format!("\n{}", summary(&steps)),
            "
                           tests               time
  passed   format                              20 ms
  FAILED   native tests                        1 min 5 s
             tests/api     130 passed          3 s
             tests/runs    7 passed, 1 FAILED  3 s
  skipped  DynamoDB Local                      by --skip dynamodb-local
  total                    137 passed          1 min 5 s

The tests that failed, each with the command that runs it alone:
  cargo test --test runs -- lease --exact
"
        );
    }
}
