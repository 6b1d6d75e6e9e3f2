//! Health of the runs, judged from the states that they store: whether each granularity has reached
//! the period that is expected by now, what the last run could not compute, and whether the
//! realtime counters are refreshed.

mod counters;
mod granularity;
mod malformed;
mod redaction;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    metrics::period::{Granularity, format_instant},
    store::{run_state::State, stored_state::StateError},
};

pub use counters::judge_counters;
pub use granularity::GranularityHealth;

/// How serious a reason is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// There is no reason.
    Ok,
    /// Something is late or absent. The values that are stored are right.
    Degraded,
    /// An operator must act.
    Failing,
}

/// A reason for the level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The level that this reason alone gives.
    pub severity: Level,
    /// The name of the granularity that it concerns, if it concerns one.
    pub granularity: Option<&'static str>,
    /// The reason in a sentence.
    pub reason: String,
}

/// The health of the runs and the realtime counters.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The level of the most serious reason.
    pub status: Level,
    /// The instant that it was judged for.
    pub checked_at: String,
    /// The reasons, the most serious first.
    pub reasons: Vec<Reason>,
    /// The granularities, the finest first.
    pub granularities: Vec<GranularityHealth>,
    /// The malformed items that the last refresh of the realtime counters left out, in percent of
    /// all, by metric or counter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub realtime_malformed_percent: BTreeMap<String, f64>,
}

/// Judges the run states of the granularities, including the hourly one, at `now`. A state that
/// cannot be read is failing, because no run can read it either.
#[must_use]
pub fn judge(states: &[(Granularity, Result<State, StateError>)], now: DateTime<Utc>) -> Health {
    let hours = states.iter().find(|(granularity, _)| *granularity == Granularity::Hourly);
    let begin = hours.and_then(|(_, state)| state.as_ref().ok()?.progress.begin());
    let mut reasons = Vec::new();
    if begin.is_none() && hours.is_none_or(|(_, state)| state.is_ok()) {
        reasons.push(Reason {
            severity: Level::Degraded,
            granularity: None,
            reason: "no hour has been counted yet".to_owned(),
        });
    }
    let mut granularities = Vec::with_capacity(states.len());
    for (granularity, state) in states {
        // An unreadable state gives this one reason, not also a lag.
        let unreadable = State::default();
        let (state, begin) = match state {
            Ok(state) => (state, begin),
            Err(error) => {
                reasons.push(Reason {
                    severity: Level::Failing,
                    granularity: Some(granularity.name()),
                    reason: error.to_string(),
                });
                (&unreadable, None)
            }
        };
        let health = GranularityHealth::of(*granularity, state, begin, now);
        reasons.extend(health.reasons(*granularity, state, now));
        granularities.push(health);
    }
    Health::new(reasons, granularities, now)
}

impl Health {
    /// Adds reasons.
    #[must_use]
    pub fn with(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        for reason in reasons {
            let at = self.reasons.partition_point(|before| before.severity >= reason.severity);
            self.reasons.insert(at, reason);
        }
        self.status = self.reasons.first().map_or(Level::Ok, |reason| reason.severity);
        self
    }

    /// The health if no state could be read, because of `why`.
    #[must_use]
    pub fn unknown(why: String, now: DateTime<Utc>) -> Self {
        let reason = Reason { severity: Level::Failing, granularity: None, reason: why };
        Self::new(vec![reason], Vec::new(), now)
    }

    fn new(
        reasons: Vec<Reason>,
        granularities: Vec<GranularityHealth>,
        now: DateTime<Utc>,
    ) -> Self {
        let health = Self {
            status: Level::Ok,
            checked_at: format_instant(now),
            reasons: Vec::new(),
            granularities,
            realtime_malformed_percent: BTreeMap::new(),
        };
        health.with(reasons)
    }

    /// The reasons in one sentence; empty if there are none.
    #[must_use]
    pub fn sentence(&self) -> String {
        let reasons: Vec<String> = self.reasons.iter().map(Reason::to_string).collect();
        reasons.join("; ")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(granularity) = self.granularity {
            write!(formatter, "{granularity}: ")?;
        }
        formatter.write_str(&self.reason)
    }
}
