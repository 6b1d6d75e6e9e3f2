//! Seventy days of a platform that changes while time passes, driven by nothing but scheduled
//! events, some of which are missing, repeated, late or fail: every record of every granularity
//! equals an independent computation or is absent for a reason; and the same for short random
//! histories with much more trouble.
//!
//! Run with `cargo test --test history seventy_days -- --nocapture` to see what the runs cost.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use proptest::{
    prelude::{ProptestConfig, Strategy, any},
    test_runner::TestRunner,
};
use sample_platform::Counts;
use support::{
    database::Backend,
    history_suite::{self, Scenario, Trouble, play},
};

#[tokio::test(flavor = "multi_thread")]
async fn seventy_days_of_trouble_leave_nothing_wrong() {
    history_suite::seventy_days_leave_nothing_wrong(Backend::Dynoxide).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nights_in_which_runs_die_leave_nothing_wrong() {
    history_suite::deadly_nights_leave_nothing_wrong(Backend::Dynoxide).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_without_hourly_events_leave_nothing_wrong() {
    history_suite::days_without_hourly_events_leave_nothing_wrong(Backend::Dynoxide).await;
}

/// What a short scenario's platform has.
const SHORT: Counts = Counts {
    users: 40,
    media: 80,
    albums: 25,
    interactions: 120,
    comments: 30,
    visitor_hours: 110,
    orders: 40,
    jobs: 70,
};

/// A few days around the ends of weeks and months, with trouble of every kind and amount.
fn short_scenarios() -> impl Strategy<Value = Scenario> {
    let starts = 0..24 * 70_i64;
    let trouble = (0..250_u64, 0..150_u64, 0..100_u64, 0..120_u64, 0..100_u64, 0..50_u64, 0..3_u64);
    (any::<u64>(), starts, 2..=4_i64, trouble).prop_map(|(seed, start, days, trouble)| {
        let (missing, late, repeated, killed, refused, throttled, outages) = trouble;
        let first = Utc.with_ymd_and_hms(2026, 3, 27, 0, 0, 0).unwrap() + TimeDelta::hours(start);
        let troubled_until = midnight_after(first + TimeDelta::days(days));
        Scenario {
            seed,
            counts: SHORT,
            first_event: first,
            troubled_until,
            end: troubled_until + TimeDelta::minutes(15),
            trouble: Trouble {
                missing,
                late,
                repeated,
                killed,
                refused,
                throttled,
                outages,
                ..Trouble::NONE
            },
        }
    })
}

fn midnight_after(at: DateTime<Utc>) -> DateTime<Utc> {
    let day = TimeDelta::days(1);
    at - TimeDelta::milliseconds(at.timestamp_millis().rem_euclid(day.num_milliseconds())) + day
}

#[test]
fn short_random_histories_leave_nothing_wrong() {
    let config = ProptestConfig {
        cases: 16,
        max_shrink_iters: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    TestRunner::new(config)
        .run(&short_scenarios(), |scenario| {
            runtime.block_on(play(Backend::Dynoxide, scenario));
            Ok(())
        })
        .unwrap();
}

/// The daily run cannot read the users of its last hour, whose scheduled run comes two hours after it:
/// the day is refreshed then, not at the next midnight.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_that_comes_after_its_day_refreshes_it() {
    let troubled_until = Utc.with_ymd_and_hms(2026, 5, 12, 0, 0, 0).unwrap();
    let scenario = Scenario {
        seed: 1_919_931_632_945_321_707,
        counts: SHORT,
        first_event: Utc.with_ymd_and_hms(2026, 5, 8, 5, 0, 0).unwrap(),
        troubled_until,
        end: troubled_until + TimeDelta::minutes(15),
        trouble: Trouble {
            missing: 248,
            late: 122,
            repeated: 10,
            killed: 76,
            refused: 80,
            throttled: 8,
            outages: 1,
            ..Trouble::NONE
        },
    };
    play(Backend::Dynoxide, scenario).await;
}
