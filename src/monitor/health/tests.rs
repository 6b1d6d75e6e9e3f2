//! Health by tables of cases: states of the granularities at an instant, and what is said of them.

use super::*;
use crate::{
    metrics::period::Period,
    store::{ledger::Status, run_state::Progress},
};

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
    health.granularities.iter().map(|one| one.lag).collect()
}

const NOON: &str = "2026-05-12T10:20:00Z";

#[test]
fn runs_that_keep_up_are_ok() {
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
            "hourly: 2 periods behind: all records are complete up to 2026-05-12T07:00:00.000Z",
        ),
        (
            Granularity::Hourly,
            "2026-05-12T06:00:00.000Z",
            Level::Failing,
            "hourly: 3 periods behind: all records are complete up to 2026-05-12T06:00:00.000Z",
        ),
        (
            Granularity::Daily,
            "2026-05-10T00:00:00.000Z",
            Level::Degraded,
            "daily: 1 period behind: all records are complete up to 2026-05-10T00:00:00.000Z",
        ),
        (
            Granularity::Weekly,
            "2026-04-20T00:00:00.000Z",
            Level::Failing,
            "weekly: 2 periods behind: all records are complete up to 2026-04-20T00:00:00.000Z",
        ),
        (
            Granularity::Monthly,
            "2026-03-01T00:00:00.000Z",
            Level::Degraded,
            "monthly: 1 period behind: all records are complete up to 2026-03-01T00:00:00.000Z",
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
fn types_that_the_last_run_could_not_compute_are_named() {
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
                "the last run could not compute media: throttled",
                "the last run could not compute users: throttled"
            ]
        );
        let states = change(granularity, |state| failed(&mut state.progress, Status::Failed));
        let health = judge(&states, instant(NOON));
        assert_eq!(health.status, of_all);
        assert_eq!(
            health.sentence(),
            format!("{granularity}: the last run could not compute any type: throttled")
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
    assert_eq!(health.sentence(), "hourly: 1 period is incomplete: 2026-05-12T08:00:00.000Z");
}

#[test]
fn a_period_that_is_stale_for_more_than_an_hour_degrades() {
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
    let levels: Vec<_> = health.reasons.iter().map(|one| (one.severity, one.granularity)).collect();
    assert_eq!(levels, [(Level::Failing, Some("daily")), (Level::Degraded, Some("hourly")),]);
}
