//! Whether the runs keep up, judged from what they left behind: which period each granularity ought
//! to have reached by now, how far behind it is, and what the last run could not make.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::store::realtime_state;
use crate::{
    metrics::{
        findings::Malformed,
        ordered::Ordered,
        period::{Granularity, Period, format_instant, parse_instant},
    },
    store::{
        ledger::Status,
        run_state::{MAXIMUM_HOLES, State, emptied},
        stored_state::StateError,
    },
};

/// How long after an hour's end its run may take before it counts as late: an invocation by a cron
/// event ends after 15 minutes, finished or not.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#wall-time-limits-by-invocation-type).
const GRACE_OF_HOURS: TimeDelta = TimeDelta::minutes(15);

/// The same of days, weeks and months: their events come up to 15 minutes after midnight and may
/// have to wait for hours to be made.
const GRACE_OF_ROLLUPS: TimeDelta = TimeDelta::hours(1);

/// From this lag on the hours are failing. One or two missed events heal with the next one, and
/// beyond this many trailing hours an item that shows late may never be counted.
const FAILING_HOURS: u64 = 3;

/// From this lag on days, weeks and months are failing: two events in a row came to nothing.
const FAILING_ROLLUPS: u64 = 2;

/// How long a period may be stale: the next hourly run refreshes what an earlier one left.
const REFRESH_EXPECTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// How old the realtime counters may be: twelve ticks of five minutes.
const COUNTERS_EXPECTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// The most failing types that are named; there are seven types, and the state is from outside.
const MAXIMUM_TYPES: usize = 20;

/// The most metrics with malformed items that are named.
const MAXIMUM_METRICS: usize = 100;

/// The longest text of a failure that is repeated.
const MAXIMUM_TEXT_CHARACTERS: usize = 300;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything is as it ought to be.
    Ok,
    /// Something is late or absent; what is there is right.
    Degraded,
    /// Somebody has to look.
    Failing,
}

/// Why the level is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The level that this alone makes.
    pub severity: Level,
    /// The name of the granularity that it concerns, if it is one.
    pub granularity: Option<&'static str>,
    /// A plain sentence.
    pub reason: String,
}

/// What is known of one granularity.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The granularity's name.
    pub granularity: &'static str,
    /// When the last run started.
    pub last_run_at: Option<String>,
    /// When the last run started that wrote every type.
    pub last_success_at: Option<String>,
    /// How the last run ended.
    pub last_status: Option<Status>,
    /// The start of the last period up to which nothing is missing.
    pub watermark: Option<String>,
    /// How many periods that is behind the one that is expected by now.
    pub lag: u64,
    /// Starts of periods that are known to be incomplete, the first of them.
    pub holes: Vec<String>,
    /// The types that the last run could not make, and why.
    pub failing_types: BTreeMap<String, String>,
    /// How many periods wait for a refresh because what they are made from has changed.
    pub stale: usize,
    /// The share of items that the last run left out because they are malformed, in percent, by
    /// metric. How many they are would tell the platform's figures to a monitor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub malformed_percent: BTreeMap<String, f64>,
}

/// Whether the runs keep up.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The most serious of the reasons.
    pub status: Level,
    /// The moment it was judged for.
    pub checked_at: String,
    /// Why, the most serious first.
    pub reasons: Vec<Reason>,
    /// Every granularity, the finest first.
    pub granularities: Vec<Standing>,
    /// The share of items that the last refresh of the realtime counters left out because they are
    /// malformed, in percent, by metric or counter.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub realtime_malformed_percent: BTreeMap<String, f64>,
}

/// Judges the states of the granularities, the hours' among them, as of `now`. A state that could
/// not be read is a failure: no run could read it either.
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
        // Of a state that cannot be read nothing else is said, neither that it is behind.
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
        let standing = Standing::of(*granularity, state, begin, now);
        standing.find_faults(*granularity, state.progress.left, &mut reasons);
        reasons.extend(stale_for_long(*granularity, state, now));
        reasons.extend(state.progress.emptied_sources.iter().take(MAXIMUM_TYPES).map(|source| {
            Reason {
                severity: Level::Degraded,
                granularity: Some(granularity.name()),
                reason: emptied(&without_names_of_aws(source)),
            }
        }));
        granularities.push(standing);
    }
    Health::new(reasons, granularities, now)
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

/// That periods have been stale for longer than the next run of any granularity takes to come.
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
    Some(Reason { severity: Level::Degraded, granularity: Some(granularity.name()), reason })
}

/// The metrics and counters of which no item could be read when the realtime counters were last
/// refreshed.
fn judge_quality(quality: &realtime_state::Quality) -> Vec<Reason> {
    let unreadable = quality.unreadable.values().take(MAXIMUM_METRICS);
    let reason = |why: &String| Reason {
        severity: Level::Degraded,
        granularity: None,
        reason: format!("a realtime counter has no current value: {}", without_names_of_aws(why)),
    };
    unreadable.map(reason).collect()
}

/// What is wrong with the realtime counters, whose snapshot was last `refreshed` then; `None` in it
/// before the first refresh. A state that cannot be read is replaced by the next refresh.
#[must_use]
pub fn judge_counters(
    refreshed: &Result<Option<DateTime<Utc>>, realtime_state::StateError>,
    now: DateTime<Utc>,
) -> Option<Reason> {
    let reason = match refreshed {
        Ok(Some(at)) if now - *at > COUNTERS_EXPECTED_WITHIN => format!(
            "the realtime counters were last refreshed at {}, though they are due every 5 minutes",
            format_instant(*at)
        ),
        Ok(_) => return None,
        Err(_) => "the state of the realtime counters cannot be read; the next refresh replaces it"
            .to_owned(),
    };
    Some(Reason { severity: Level::Degraded, granularity: None, reason })
}

impl Health {
    /// The same with more reasons.
    #[must_use]
    pub fn with(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.reasons.extend(reasons);
        self.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
        self.status = self.reasons.first().map_or(Level::Ok, |reason| reason.severity);
        self
    }

    /// The same with the shares of malformed items that the realtime counters were made without.
    #[must_use]
    pub fn with_quality(mut self, quality: &realtime_state::Quality) -> Self {
        self.realtime_malformed_percent = percents(&quality.malformed);
        self.with(judge_quality(quality))
    }

    /// That nothing is known, because `why`.
    #[must_use]
    pub fn unknown(why: String, now: DateTime<Utc>) -> Self {
        let reason = Reason { severity: Level::Failing, granularity: None, reason: why };
        Self::new(vec![reason], Vec::new(), now)
    }

    fn new(mut reasons: Vec<Reason>, granularities: Vec<Standing>, now: DateTime<Utc>) -> Self {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
        Self {
            status: reasons.first().map_or(Level::Ok, |reason| reason.severity),
            checked_at: format_instant(now),
            reasons,
            granularities,
            realtime_malformed_percent: BTreeMap::new(),
        }
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

impl Standing {
    fn of(
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
                .map(|(name, why)| (without_names_of_aws(name), without_names_of_aws(why)))
                .ordered_map(),
            stale: state.stale_since(granularity).len(),
            malformed_percent: percents(&progress.malformed),
        }
    }

    /// Adds what is wrong, where `left` periods may be incomplete.
    fn find_faults(&self, granularity: Granularity, left: usize, reasons: &mut Vec<Reason>) {
        let is_hourly = granularity == Granularity::Hourly;
        let mut add = |severity, reason| {
            reasons.push(Reason { severity, granularity: Some(granularity.name()), reason });
        };
        if self.lag > 0 {
            let failing_from = if is_hourly { FAILING_HOURS } else { FAILING_ROLLUPS };
            let severity = if self.lag >= failing_from { Level::Failing } else { Level::Degraded };
            let periods = if self.lag == 1 { "period" } else { "periods" };
            let reached = match &self.watermark {
                Some(watermark) => format!("nothing is missing up to {watermark}"),
                None => "none is complete yet".to_owned(),
            };
            add(severity, format!("{} {periods} behind: {reached}", self.lag));
        } else if !self.holes.is_empty() {
            let incomplete = match left.max(self.holes.len()) {
                1 => "1 period is".to_owned(),
                many => format!("{many} periods are"),
            };
            add(
                Level::Degraded,
                format!("{incomplete} known to be incomplete, from {}", self.holes[0]),
            );
        }
        match self.last_status {
            Some(Status::Failed) => {
                let severity = if is_hourly { Level::Failing } else { Level::Degraded };
                let why = self.failing_types.values().next();
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                add(severity, format!("the last run could not make any type{why}"));
            }
            Some(Status::Partial) if self.failing_types.is_empty() => {
                add(Level::Degraded, "the last run could not make every type".to_owned());
            }
            _ => {
                for (name, why) in &self.failing_types {
                    add(Level::Degraded, format!("the last run could not make {name}: {why}"));
                }
            }
        }
    }
}

fn percents(malformed: &BTreeMap<String, Malformed>) -> BTreeMap<String, f64> {
    let all = malformed.iter().take(MAXIMUM_METRICS);
    all.map(|(name, of)| (without_names_of_aws(name), percent(*of))).ordered_map()
}

/// The malformed items in percent of all, with one decimal.
fn percent(Malformed { rows, malformed }: Malformed) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "one decimal of a share needs no more")]
    let share = malformed as f64 / rows.max(1) as f64;
    (share * 1000.0).round() / 10.0
}

/// An instant of a state, if it is one.
fn checked(instant: &str) -> Option<String> {
    parse_instant(instant).map(format_instant)
}

/// A text of a failure, shortened. AWS names users, accounts and tables in its texts, as ARNs, and we
/// say on which table or index a request failed; that is for the operator's log and not for whoever
/// watches.
fn without_names_of_aws(text: &str) -> String {
    let all: Vec<&str> = text.split(' ').collect();
    let is_target = |at: usize| {
        at > 0
            && all[at - 1] == "on"
            && all.get(at + 1).is_some_and(|next| next.starts_with("failed"))
    };
    let is_name = |at: usize| is_target(at) || all[at].to_ascii_lowercase().contains("arn:");
    let words: Vec<&str> =
        all.iter().enumerate().map(|(at, word)| if is_name(at) { "…" } else { word }).collect();
    let mut short: String = words
        .join(" ")
        .chars()
        .take(MAXIMUM_TEXT_CHARACTERS + 1)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if let Some((cut, _)) = short.char_indices().nth(MAXIMUM_TEXT_CHARACTERS) {
        short.truncate(cut);
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::run_state::Progress;

    #[test]
    fn a_failure_is_told_without_names() {
        let arn = "arn:aws:iam::123456789012:user/worker";
        let text = format!(
            "Query on platform/GSI4 failed after 3 attempts: AccessDeniedException (HTTP 400): User: \
             {arn} may not query on Mondays"
        );
        let expected = "Query on … failed after 3 attempts: AccessDeniedException (HTTP 400): User: \
                        … may not query on Mondays";
        assert_eq!(without_names_of_aws(&text), expected);
    }

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The state of a granularity that has come as far as `watermark`.
    fn reached(watermark: &str) -> State {
        let progress = Progress {
            begin: Some("2026-03-10T05:00:00.000Z".to_owned()),
            watermark: Some(watermark.to_owned()),
            last_status: Some(Status::Complete),
            ..Progress::default()
        };
        State { progress, ..State::default() }
    }

    /// States at Tuesday, 2026-05-12, in which nothing is behind.
    fn healthy() -> [(Granularity, Result<State, StateError>); 4] {
        [
            (Granularity::Hourly, Ok(reached("2026-05-12T09:00:00.000Z"))),
            (Granularity::Daily, Ok(reached("2026-05-11T00:00:00.000Z"))),
            (Granularity::Weekly, Ok(reached("2026-05-04T00:00:00.000Z"))),
            (Granularity::Monthly, Ok(reached("2026-04-01T00:00:00.000Z"))),
        ]
    }

    fn change(
        granularity: Granularity,
        change: impl FnOnce(&mut State),
    ) -> [(Granularity, Result<State, StateError>); 4] {
        let mut states = healthy();
        let found = states.iter_mut().find(|(one, _)| *one == granularity).unwrap();
        change(found.1.as_mut().unwrap());
        states
    }

    fn lags(health: &Health) -> Vec<u64> {
        health.granularities.iter().map(|standing| standing.lag).collect()
    }

    const NOON: &str = "2026-05-12T10:20:00Z";

    #[test]
    fn what_keeps_up_is_ok() {
        let health = judge(&healthy(), instant(NOON));
        assert_eq!((health.status, lags(&health)), (Level::Ok, vec![0, 0, 0, 0]));
        assert!(health.reasons.is_empty(), "{:?}", health.reasons);
    }

    #[test]
    fn a_period_is_expected_when_its_grace_is_over() {
        for (now, expected) in [
            ("2026-05-12T11:14:59.999Z", [0, 0, 0, 0]),
            ("2026-05-12T11:15:00Z", [1, 0, 0, 0]),
            ("2026-05-12T12:15:00Z", [2, 0, 0, 0]),
            ("2026-05-13T00:59:59.999Z", [14, 0, 0, 0]),
            ("2026-05-13T01:00:00Z", [14, 1, 0, 0]),
            ("2026-05-18T01:00:00Z", [134, 6, 1, 0]),
            ("2026-06-01T00:59:59.999Z", [470, 19, 2, 0]),
            ("2026-06-01T01:00:00Z", [470, 20, 3, 1]),
            ("2027-01-01T01:00:00Z", [5606, 234, 33, 8]),
        ] {
            assert_eq!(lags(&judge(&healthy(), instant(now))), expected, "{now}");
        }
    }

    #[test]
    fn the_first_periods_are_those_that_contain_the_begin() {
        let mut states = healthy();
        for (_, state) in &mut states {
            state.as_mut().unwrap().progress.watermark = None;
        }
        for (now, expected) in [
            ("2026-03-10T06:14:59Z", [0, 0, 0, 0]),
            ("2026-03-10T06:15:00Z", [1, 0, 0, 0]),
            ("2026-03-11T01:00:00Z", [19, 1, 0, 0]),
            ("2026-03-16T01:00:00Z", [139, 6, 1, 0]),
            ("2026-04-01T01:00:00Z", [523, 22, 3, 1]),
        ] {
            assert_eq!(lags(&judge(&states, instant(now))), expected, "{now}");
        }
    }

    #[test]
    fn before_the_first_hour_nothing_is_behind() {
        let nothing = Granularity::ALL.map(|granularity| (granularity, Ok(State::default())));
        let health = judge(&nothing, instant(NOON));
        assert_eq!((health.status, lags(&health)), (Level::Degraded, vec![0, 0, 0, 0]));
        assert_eq!(health.sentence(), "no hour has been counted yet");
    }

    #[test]
    fn lag_degrades_and_then_fails() {
        for (granularity, watermark, status, sentence) in [
            (
                Granularity::Hourly,
                "2026-05-12T07:00:00.000Z",
                Level::Degraded,
                "hourly: 2 periods behind: nothing is missing up to 2026-05-12T07:00:00.000Z",
            ),
            (
                Granularity::Hourly,
                "2026-05-12T06:00:00.000Z",
                Level::Failing,
                "hourly: 3 periods behind: nothing is missing up to 2026-05-12T06:00:00.000Z",
            ),
            (
                Granularity::Daily,
                "2026-05-10T00:00:00.000Z",
                Level::Degraded,
                "daily: 1 period behind: nothing is missing up to 2026-05-10T00:00:00.000Z",
            ),
            (
                Granularity::Weekly,
                "2026-04-20T00:00:00.000Z",
                Level::Failing,
                "weekly: 2 periods behind: nothing is missing up to 2026-04-20T00:00:00.000Z",
            ),
            (
                Granularity::Monthly,
                "2026-03-01T00:00:00.000Z",
                Level::Degraded,
                "monthly: 1 period behind: nothing is missing up to 2026-03-01T00:00:00.000Z",
            ),
        ] {
            let states = change(granularity, |state| {
                state.progress.watermark = Some(watermark.to_owned());
            });
            let health = judge(&states, instant(NOON));
            assert_eq!((health.status, health.sentence().as_str()), (status, sentence));
        }
    }

    #[test]
    fn what_the_last_run_could_not_make_is_named() {
        let failed = |progress: &mut Progress, status| {
            progress.last_status = Some(status);
            for name in ["media", "users"] {
                progress.failing_types.insert(name.to_owned(), "throttled".to_owned());
            }
        };
        for (granularity, of_all) in
            [(Granularity::Hourly, Level::Failing), (Granularity::Daily, Level::Degraded)]
        {
            let states = change(granularity, |state| failed(&mut state.progress, Status::Partial));
            let health = judge(&states, instant(NOON));
            assert_eq!(health.status, Level::Degraded);
            let texts: Vec<_> = health.reasons.iter().map(|one| one.reason.as_str()).collect();
            assert_eq!(
                texts,
                [
                    "the last run could not make media: throttled",
                    "the last run could not make users: throttled"
                ]
            );
            let states = change(granularity, |state| failed(&mut state.progress, Status::Failed));
            let health = judge(&states, instant(NOON));
            assert_eq!(health.status, of_all);
            assert_eq!(
                health.sentence(),
                format!("{granularity}: the last run could not make any type: throttled")
            );
        }
    }

    #[test]
    fn a_known_hole_behind_the_watermark_degrades() {
        let states = change(Granularity::Hourly, |state| {
            let hole = instant("2026-05-12T08:00:00Z");
            state.progress.note_holes([Period::containing(Granularity::Hourly, hole)], 1);
        });
        let health = judge(&states, instant(NOON));
        assert_eq!(health.status, Level::Degraded);
        assert_eq!(
            health.sentence(),
            "hourly: 1 period is known to be incomplete, from 2026-05-12T08:00:00.000Z"
        );
    }

    #[test]
    fn what_is_stale_for_more_than_an_hour_degrades() {
        let marked = |marks: &[&str]| {
            change(Granularity::Daily, |state| {
                state.marks = marks.iter().map(|mark| (*mark).to_owned()).collect();
            })
        };
        let early = "2026-05-10T00:00:00.000Z#2026-05-12T07:20:00.000Z";
        let own = "2026-05-10T00:00:00.000Z#2026-05-12T09:20:00.000Z#0a1b";
        let other = "2026-05-11T00:00:00.000Z#2026-05-12T09:19:59.999Z#0a1b";
        let sentence_of = |states: [(Granularity, Result<State, StateError>); 4]| {
            judge(&states, instant(NOON)).sentence()
        };
        // For an hour, not longer.
        assert_eq!(sentence_of(marked(&[own])), "");
        assert_eq!(
            sentence_of(marked(&[other])),
            "daily: 2026-05-11T00:00:00.000Z has been stale for 1 hour: a finer record changed at \
             2026-05-12T09:19:59.999Z"
        );
        assert_eq!(
            sentence_of(marked(&[early, own, other])),
            "daily: 2 periods have been stale for more than an hour, 2026-05-10T00:00:00.000Z for 3 \
             hours: a finer record changed at 2026-05-12T07:20:00.000Z"
        );
        // Refreshed since the first of its marks, then since the last.
        for refreshed in ["09:00:00.000", "09:30:00.000"] {
            let mut states = marked(&[early, own]);
            let state = states[1].1.as_mut().unwrap();
            state.refreshes.insert(format!("2026-05-10T00:00:00.000Z#2026-05-12T{refreshed}Z"));
            let health = judge(&states, instant(NOON));
            assert_eq!(health.sentence(), "", "{refreshed}");
            let count = usize::from(refreshed.starts_with("09:00"));
            assert_eq!(health.granularities[1].stale, count, "{refreshed}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_read_fails_and_the_worst_comes_first() {
        let mut states = change(Granularity::Hourly, |state| {
            state.progress.watermark = Some("2026-05-12T08:00:00.000Z".to_owned());
        });
        let item = crate::dynamodb::key("ANALYTICS_STATE", "daily");
        let mut damaged: std::collections::HashMap<_, _> = item.into();
        damaged.insert("runState".to_owned(), crate::dynamodb::string("secret"));
        states[1].1 = State::from_item(Some(damaged.into()));
        assert!(states[1].1.is_err());
        let health = judge(&states, instant(NOON));
        let levels: Vec<_> =
            health.reasons.iter().map(|one| (one.severity, one.granularity)).collect();
        assert_eq!(levels, [(Level::Failing, Some("daily")), (Level::Degraded, Some("hourly")),]);
    }

    #[test]
    fn arns_and_long_texts_are_not_repeated() {
        assert_eq!(
            without_names_of_aws("User: arn:aws:iam::123456789012:user/me is not authorized"),
            "User: … is not authorized"
        );
        assert_eq!(
            without_names_of_aws(&"x".repeat(400)).chars().count(),
            MAXIMUM_TEXT_CHARACTERS + 1
        );
    }
}
