//! The health of one granularity: how far behind it is, what is incomplete or stale, and what its
//! last run could not compute.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Level, Reason, malformed::percents, redaction::redacted};
use crate::{
    metrics::{
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
    },
    store::{
        ledger::Status,
        run_state::{MAXIMUM_HOLES, State, emptied},
    },
};

/// How long after the end of an hour its run counts as late: an invocation by a cron event ends
/// after 15 minutes, finished or not.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#wall-time-limits-by-invocation-type).
const GRACE_OF_HOURS: TimeDelta = TimeDelta::minutes(15);

/// The same for days, weeks and months: their events come up to 15 minutes after midnight, and
/// their runs may have to wait for hours that are computed first.
const GRACE_OF_ROLLUPS: TimeDelta = TimeDelta::hours(1);

/// The lag from which on hours are failing. The next run repairs one or two missed runs. With a lag
/// of more than the trailing hours, late-arriving data may never be counted.
const FAILING_HOURS: u64 = 3;

/// The lag from which on days, weeks and months are failing: two runs in a row had no result.
const FAILING_ROLLUPS: u64 = 2;

/// How long a period may be stale: the next hourly run refreshes what an earlier one left.
const REFRESH_EXPECTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// The most failing types and emptied sources that are listed. The state is data from outside.
const MAXIMUM_TYPES: usize = 20;

/// What is known of one granularity.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GranularityHealth {
    /// The name of the granularity.
    pub granularity: &'static str,
    /// When the last run started.
    pub last_run_at: Option<String>,
    /// When the last run started that wrote every type.
    pub last_success_at: Option<String>,
    /// How the last run ended.
    pub last_status: Option<Status>,
    /// The start of the last period up to which all records are complete.
    pub watermark: Option<String>,
    /// How many periods the watermark is behind the one that is expected by now.
    pub lag: u64,
    /// The starts of periods that are known to be incomplete, the first of them.
    pub holes: Vec<String>,
    /// The types that the last run could not compute, and why.
    pub failing_types: BTreeMap<String, String>,
    /// How many periods are stale.
    pub stale: usize,
    /// The malformed items that the last run left out, in percent of all, by metric.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed_percent: BTreeMap<String, f64>,
}

impl GranularityHealth {
    /// What the run state says at `now`. `begin` is the first counted hour.
    pub(super) fn of(
        granularity: Granularity,
        state: &State,
        begin: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Self {
        let progress = &state.progress;
        let watermark = progress.watermark(granularity);
        let lag = begin
            .and_then(|begin| {
                let expected = expected(granularity, begin, now)?;
                let before = Period::containing(granularity, begin).previous();
                Some(expected.periods_after(watermark.unwrap_or(before)))
            })
            .map_or(0, |lag| u64::try_from(lag).unwrap_or(0));
        Self {
            granularity: granularity.name(),
            last_run_at: progress.last_run_at.as_deref().and_then(checked),
            last_success_at: progress.last_success_at.as_deref().and_then(checked),
            last_status: progress.last_status,
            watermark: watermark.map(|period| format_instant(period.start())),
            lag,
            holes: progress
                .holes
                .iter()
                .filter_map(|hole| checked(hole))
                .take(MAXIMUM_HOLES)
                .collect(),
            failing_types: progress
                .failing_types
                .iter()
                .take(MAXIMUM_TYPES)
                .map(|(name, why)| (redacted(name), redacted(why)))
                .ordered_map(),
            stale: state.stale_since(granularity).len(),
            malformed_percent: percents(&progress.malformed),
        }
    }

    /// The reasons that the granularity gives.
    pub(super) fn reasons(
        &self,
        granularity: Granularity,
        state: &State,
        now: DateTime<Utc>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        reasons.extend(self.behind(granularity, state.progress.left));
        reasons.extend(self.last_run(granularity));
        reasons.extend(stale_for_long(granularity, state, now));
        let sources = state.progress.emptied_sources.iter().take(MAXIMUM_TYPES);
        reasons.extend(sources.map(|source| degraded(granularity, emptied(&redacted(source)))));
        reasons
    }

    /// The reason if the granularity is behind, or otherwise if `left` of its periods, some of them
    /// listed as holes, are incomplete.
    fn behind(&self, granularity: Granularity, left: usize) -> Option<Reason> {
        if self.lag > 0 {
            let failing_from = match granularity {
                Granularity::Hourly => FAILING_HOURS,
                _ => FAILING_ROLLUPS,
            };
            let severity = if self.lag >= failing_from { Level::Failing } else { Level::Degraded };
            let periods = if self.lag == 1 { "period" } else { "periods" };
            let reached = match &self.watermark {
                Some(watermark) => format!("all records are complete up to {watermark}"),
                None => "no period is complete yet".to_owned(),
            };
            let reason = format!("{} {periods} behind: {reached}", self.lag);
            return Some(Reason { severity, granularity: Some(granularity.name()), reason });
        }
        let first = self.holes.first()?;
        let reason = match left.max(self.holes.len()) {
            1 => format!("1 period is incomplete: {first}"),
            many => format!("{many} periods are incomplete, the first is {first}"),
        };
        Some(degraded(granularity, reason))
    }

    /// The reasons if the last run could not compute every type.
    fn last_run(&self, granularity: Granularity) -> Vec<Reason> {
        match self.last_status {
            Some(Status::Failed) => {
                let severity = match granularity {
                    Granularity::Hourly => Level::Failing,
                    _ => Level::Degraded,
                };
                let why = self.failing_types.values().next();
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                let reason = format!("the last run could not compute any type{why}");
                vec![Reason { severity, granularity: Some(granularity.name()), reason }]
            }
            Some(Status::Partial) if self.failing_types.is_empty() => {
                vec![degraded(granularity, "the last run could not compute every type".to_owned())]
            }
            _ => {
                let reason = |(name, why)| format!("the last run could not compute {name}: {why}");
                self.failing_types.iter().map(|one| degraded(granularity, reason(one))).collect()
            }
        }
    }
}

fn degraded(granularity: Granularity, reason: String) -> Reason {
    Reason { severity: Level::Degraded, granularity: Some(granularity.name()), reason }
}

/// The last period that is expected to be complete at `now`; `None` before there is one.
fn expected(granularity: Granularity, begin: DateTime<Utc>, now: DateTime<Utc>) -> Option<Period> {
    let grace = match granularity {
        Granularity::Hourly => GRACE_OF_HOURS,
        Granularity::Daily | Granularity::Weekly | Granularity::Monthly => GRACE_OF_ROLLUPS,
    };
    let expected = Period::containing(granularity, now - grace).previous();
    (expected >= Period::containing(granularity, begin)).then_some(expected)
}

/// The reason if periods are stale for longer than the next hourly run takes to come.
fn stale_for_long(granularity: Granularity, state: &State, now: DateTime<Utc>) -> Option<Reason> {
    let long: Vec<_> = state
        .stale_from(granularity)
        .into_iter()
        .filter(|(_, since)| now - *since > REFRESH_EXPECTED_WITHIN)
        .collect();
    let (period, since) = long.iter().min_by_key(|(_, since)| *since)?;
    let start = format_instant(period.start());
    let hours = (now - *since).num_hours();
    let hours = if hours == 1 { "1 hour".to_owned() } else { format!("{hours} hours") };
    let since = format_instant(*since);
    let reason = match long.len() {
        1 => format!("{start} has been stale for {hours}: a finer record changed at {since}"),
        count => format!(
            "{count} periods have been stale for more than an hour, {start} for {hours}: a finer \
             record changed at {since}"
        ),
    };
    Some(degraded(granularity, reason))
}

/// An instant of a state, if it is one.
fn checked(instant: &str) -> Option<String> {
    parse_instant(instant).map(format_instant)
}
