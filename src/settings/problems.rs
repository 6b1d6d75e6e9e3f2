//! What is wrong with the configuration, in words for an operator.

use std::fmt;

/// One variable, secret or binding that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: &'static str,
    /// Whether it is missing; otherwise it is malformed.
    pub is_missing: bool,
    /// What it has to be set to, with an example.
    pub expected: &'static str,
}

/// The variables, secrets and bindings that are missing or malformed. Their values are not part of it:
/// some are secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Misconfigured(pub Vec<Problem>);

impl fmt::Display for Misconfigured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let state = if problem.is_missing { "missing" } else { "malformed" };
            let Problem { variable, expected, .. } = problem;
            write!(formatter, "{separator}{variable} is {state}: set it to {expected}")?;
        }
        Ok(())
    }
}
