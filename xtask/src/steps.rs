//! A command made of named steps: each announced, timed, and summed up at the end.

use std::time::{Duration, Instant};

use crate::{error::Result, progress::elapsed};

/// What has been done so far.
#[derive(Debug, Default)]
pub struct Steps {
    done: Vec<(String, Duration)>,
    skipped: Vec<(&'static str, &'static str)>,
}

impl Steps {
    /// Does one step; an error ends the command there, with a sentence that names the step.
    pub async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = work.await;
        let duration = started.elapsed();
        if result.is_ok() {
            eprintln!("== {name}: passed, {}", elapsed(duration));
            self.done.push((name.to_owned(), duration));
        } else {
            eprintln!(
                "== {name}: FAILED after {}; the steps after it did not run",
                elapsed(duration)
            );
        }
        result
    }

    /// Notes a step that was left out, and by what.
    pub fn skip(&mut self, name: &'static str, because: &'static str) {
        eprintln!("\n== {name}: skipped, {because}");
        self.skipped.push((name, because));
    }

    /// Names everything that ran and everything that did not.
    pub fn sum_up(&self) {
        eprintln!("\nSummary");
        for (name, duration) in &self.done {
            eprintln!("  passed   {name} ({})", elapsed(*duration));
        }
        for (name, because) in &self.skipped {
            eprintln!("  skipped  {name} ({because})");
        }
    }
}
