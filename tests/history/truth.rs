//! Thirty-one days of a platform that changes all the time, with every run on time: what is stored
//! then is what was true at each period's end, by a model that knows the platform's whole history and
//! never looks at the table. It stays so after everything was recalculated twice. What was missed or
//! late is absent or marked; what is overwritten is what the table says today.
//!
//! Run with `cargo test --test history truth -- --nocapture` to follow it.

use std::collections::BTreeSet;

use crate::truth_model::{
    expected::{DELAY, Expected, Instant, add_coarser, assert_eventful, hours, truth},
    life::Life,
    missed::{assert_absent_and_marked, looked_at},
    one_hour::one_hour,
    world::World,
};
use chrono::{TimeDelta, Timelike};
use edge_analytics::metrics::period::{Granularity, Period};
use serde_json::json;
use support::{
    engine_suite::TYPES,
    provenance::{Counting, count_over},
    reckoning::count_hour,
    timeline::at,
};

/// The month of May 2026, with one hour before it so that its first departures can be computed.
#[tokio::test(flavor = "multi_thread")]
async fn a_month_on_time_is_true_and_stays_so() {
    let (begin, end) = (at("2026-04-30T23:00"), at("2026-06-01T00:00"));
    let last_event = end + TimeDelta::hours(4);
    let later = end + TimeDelta::days(3);
    let life = Life::new(31, begin - TimeDelta::days(15), later + TimeDelta::days(1), 90);
    println!("{} things", life.len());
    assert_eventful(&life, begin, last_event);
    let mut world = World::new(life.changes(), begin).await;
    for start in hours(begin, last_event) {
        let event = start + TimeDelta::hours(1);
        world.run(Granularity::Hourly, event, event + DELAY).await;
        if event.hour() == 0 {
            world.run_coarser(event).await;
        }
        // The first days at once, so that a fault shows early.
        if event.hour() == 4 && event < begin + TimeDelta::days(3) {
            let mut expected = truth(&life, begin, event, event);
            add_coarser(&mut expected, begin, event);
            world.check(&expected, &format!("at {event}")).await;
        }
    }
    let mut expected = truth(&life, begin, last_event, last_event);
    add_coarser(&mut expected, begin, last_event);
    world.check(&expected, "after a month on time").await;

    // Three days later, when much of it has been deleted, hidden or deactivated.
    world.advance(later).await;
    for time in ["once", "twice"] {
        for granularity in Granularity::ALL {
            let first = Period::containing(granularity, begin).start();
            world.recalculate(granularity, (first, end), false).await;
        }
        world.check(&expected, &format!("recalculated {time}")).await;
    }

    // Overwritten: what the table says today, marked where it differs.
    world.recalculate(Granularity::Hourly, (begin, end), true).await;
    let mut overwritten = Expected::new();
    for ((metric_type, granularity, start), (before, _)) in &expected {
        if *granularity != Granularity::Hourly {
            continue;
        }
        let marked = if *start < end {
            let today = &count_hour(life.at(later), *start)[*metric_type];
            count_over(*metric_type, Some(before), today, Counting::Overwrite)
        } else {
            before.clone()
        };
        overwritten.insert((*metric_type, *granularity, *start), (marked, None));
    }
    add_coarser(&mut overwritten, begin, last_event);
    let marks = overwritten.values().filter(|(marked, _)| !marked.marks.is_empty()).count();
    assert!(marks > 500, "only {marks} records differ today: the comparison means little");
    world.check(&overwritten, "overwritten").await;
    // What is stored now stays as anything else does.
    world.recalculate(Granularity::Hourly, (begin, end), false).await;
    world.check(&overwritten, "recalculated after that").await;
}

/// A weekend in which hourly events are missing, late and out of order.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_or_late_is_absent_or_marked() {
    // A Friday; the week ends on 4 May.
    let begin = at("2026-05-01T00:00");
    let last = at("2026-05-04T04:00");
    let life = Life::new(4, begin - TimeDelta::days(5), last + TimeDelta::days(4), 40);
    let mut world = World::new(life.changes(), begin).await;
    let late = at("2026-05-02T20:00");
    let behind = at("2026-05-03T06:00");
    let missed: BTreeSet<Instant> = hours(at("2026-05-02T10:00"), at("2026-05-02T15:00"))
        .chain([at("2026-05-03T00:00"), behind])
        .collect();
    for start in hours(begin, last) {
        let event = start + TimeDelta::hours(1);
        if !missed.contains(&event) {
            let delay = if event == late { TimeDelta::minutes(50) } else { TimeDelta::zero() };
            world.run(Granularity::Hourly, event, event + delay + DELAY).await;
        }
        if event == behind + TimeDelta::hours(1) {
            world.run(Granularity::Hourly, behind, event + TimeDelta::minutes(3)).await;
        }
        if event.hour() == 0 {
            world.run_coarser(event).await;
        }
    }
    let mut expected = Expected::new();
    for start in hours(begin, last) {
        for (metric_type, marked) in looked_at(&life, &expected, begin, start) {
            expected.insert((metric_type, Granularity::Hourly, start), (marked, None));
        }
    }
    add_coarser(&mut expected, begin, last);
    assert_absent_and_marked(&expected);
    world.check(&expected, "with events missing, late and out of order").await;

    // Four days later a recalculation finds nothing that the runs did not.
    world.advance(last + TimeDelta::days(3)).await;
    world.recalculate(Granularity::Hourly, (begin, at("2026-05-04T00:00")), false).await;
    world.check(&expected, "and recalculated").await;
}

/// Data later than the trailing hours is counted by a recalculation as far as possible: flows grow,
/// what was observed stays.
#[tokio::test(flavor = "multi_thread")]
async fn data_later_than_the_trailing_hours_is_counted_by_a_recalculation() {
    let start = at("2026-05-05T10:00");
    let mut world = World::new(one_hour(), at("2026-05-05T09:30")).await;
    for hours in [0, 1, 2, 3, 4, 5, 6, 7] {
        let event = start + TimeDelta::hours(hours);
        world.run(Granularity::Hourly, event, event + DELAY).await;
    }
    let names = [
        "totalUsers",
        "newUsers",
        "deletedUsers",
        "totalLikes",
        "newLikes",
        "totalGenerations",
        "newGenerations",
        "successfulGenerations",
        "averageGenerationTime",
        "totalRevenue",
        "newRevenue",
    ];
    let stored = async |world: &World| {
        let records = world.records().await;
        let (mut values, mut marks) = (serde_json::Map::new(), serde_json::Map::new());
        for metric_type in 0..TYPES.len() {
            let record = &records[&(metric_type, Granularity::Hourly, start)];
            values.extend(record.metrics.clone());
            for (name, mark) in &record.reconstructed {
                marks.insert(name.clone(), serde_json::to_value(mark).unwrap());
            }
        }
        values.retain(|name, _| names.contains(&name.as_str()));
        (json!(values), json!(marks))
    };
    let ran = json!({
        "totalUsers": 2, "newUsers": 1, "deletedUsers": 0, "totalLikes": 1, "newLikes": 1,
        "totalGenerations": 3, "newGenerations": 3, "successfulGenerations": 0,
        "totalRevenue": 0, "newRevenue": 0,
    });
    assert_eq!(stored(&world).await, (ran.clone(), json!({})), "what the runs have seen");

    // A day later, before the hour has settled: conditional flows are as they are now.
    let range = (start, start + TimeDelta::hours(1));
    world.advance(at("2026-05-06T12:00")).await;
    world.recalculate(Granularity::Hourly, range, false).await;
    let mut expected = ran;
    expected["newUsers"] = json!(0);
    expected["successfulGenerations"] = json!(1);
    expected["averageGenerationTime"] = json!(40);
    expected["newRevenue"] = json!(10);
    assert_eq!(stored(&world).await, (expected.clone(), json!({})), "before it has settled");

    // When it has settled, they only grow.
    world.advance(at("2026-05-08T12:00")).await;
    world.recalculate(Granularity::Hourly, range, false).await;
    expected["newUsers"] = json!(1);
    expected["successfulGenerations"] = json!(2);
    expected["averageGenerationTime"] = json!(50);
    assert_eq!(stored(&world).await, (expected.clone(), json!({})), "when it has settled");

    // Overwritten: what is left, marked where it is not what was stored.
    world.recalculate(Granularity::Hourly, range, true).await;
    for (name, value) in [
        ("totalLikes", 0),
        ("newLikes", 0),
        ("totalGenerations", 2),
        ("newGenerations", 2),
        ("totalRevenue", 10),
    ] {
        expected[name] = json!(value);
    }
    let marks = json!({
        "totalLikes": "lowerBound", "newLikes": "lowerBound", "mostEngaged": "estimate",
        "totalGenerations": "lowerBound", "newGenerations": "lowerBound",
        "totalRevenue": "estimate",
    });
    assert_eq!(stored(&world).await, (expected, marks), "overwritten");
}
