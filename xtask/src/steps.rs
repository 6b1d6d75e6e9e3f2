//! A command made of named steps: each is announced and timed, and all are summarised at the end.

use std::time::Instant;

use crate::{
    error::Result,
    progress::elapsed,
    suites::{Outcome, StepResult, Suites, summary},
};

/// The steps so far.
#[derive(Debug, Default)]
pub struct Steps {
    results: Vec<StepResult>,
    suites: Suites,
}

impl Steps {
    /// Where a step adds the suites that it runs.
    pub fn suites(&self) -> Suites {
        self.suites.clone()
    }

    /// Runs one step. After an error the command ends.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = work.await;
        let duration = started.elapsed();
        let outcome = if result.is_ok() {
            eprintln!("== {name}: passed, {}", elapsed(duration));
            Outcome::Passed(duration)
        } else {
            let time = elapsed(duration);
            eprintln!("== {name}: FAILED after {time}; the steps after it did not run");
            Outcome::Failed(duration)
        };
        let suites = self.suites.take();
        self.results.push(StepResult { name: name.to_owned(), outcome, suites });
        result
    }

    /// Notes a step that was left out, and the reason.
    pub fn skip(&mut self, name: &str, reason: &'static str) {
        eprintln!("\n== {name}: skipped, {reason}");
        let outcome = Outcome::Skipped(reason);
        self.results.push(StepResult { name: name.to_owned(), outcome, suites: Vec::new() });
    }

    /// Prints every step and every suite with its result.
    pub fn print_summary(&self) {
        eprint!("\nSummary\n{}", summary(&self.results));
    }
}
