//! A weekend in which hourly events are missing, late and out of order: what has to be stored then.

use chrono::TimeDelta;
use edge_analytics::metrics::period::{Granularity, format_instant};

use super::{
    expected::{DELAY, Expected, Instant},
    life::Life,
};
use support::{
    engine_suite::TYPES,
    provenance::{Counting, Marked, count_over},
    reckoning::{USERS, Value, Values, count_hour},
    timeline::at,
};

/// When each hour of that weekend was counted, and how: first by its scheduled run on time and by the
/// three after it, unless one of these did not come when it should have.
pub fn looks(start: Instant) -> Vec<(Instant, Counting)> {
    use Counting::{BeforeItSettled, OnTime};
    let on_time = |event: &str| (at(event) + DELAY, OnTime);
    let later = |event: &str| (at(event) + DELAY, BeforeItSettled);
    let event = |hours: i64| start + TimeDelta::hours(1 + hours) + DELAY;
    let usual = || {
        let own = (event(0), OnTime);
        [own].into_iter().chain((1..=3).map(|hours| (event(hours), BeforeItSettled)))
    };
    // Those of the usual ones that came.
    let usual_until = |end: &str| usual().filter(|(look, _)| *look < at(end)).collect::<Vec<_>>();
    let usual_from = |end: &str| usual().filter(|(look, _)| *look > at(end)).collect::<Vec<_>>();
    let and = |mut looks: Vec<_>, more: Vec<(Instant, Counting)>| {
        looks.extend(more);
        looks.sort_unstable_by_key(|(look, _)| *look);
        looks
    };
    match format_instant(start)[..13].as_ref() {
        // The run at 15:00 is the first one after 09:00: it counts again what those between were to.
        "2026-05-02T06" | "2026-05-02T07" | "2026-05-02T08" => {
            and(usual_until("2026-05-02T09:30"), vec![later("2026-05-02T15:00")])
        }
        // It finds these missing.
        "2026-05-02T09" | "2026-05-02T10" => vec![later("2026-05-02T15:00")],
        "2026-05-02T11" | "2026-05-02T12" | "2026-05-02T13" => usual_from("2026-05-02T14:30"),
        // Their scheduled run is late, or that of an hour by which they are counted again.
        "2026-05-02T16" | "2026-05-02T17" | "2026-05-02T18" => usual()
            .map(|(look, how)| {
                (
                    if look == at("2026-05-02T20:00") + DELAY {
                        look + TimeDelta::minutes(50)
                    } else {
                        look
                    },
                    how,
                )
            })
            .collect(),
        "2026-05-02T19" => and(usual_from("2026-05-02T20:30"), vec![later("2026-05-02T20:50")]),
        // The daily run counts this one on time.
        "2026-05-02T23" => and(usual_from("2026-05-03T00:30"), vec![on_time("2026-05-03T00:05")]),
        // The run at 01:00 counts again what that of midnight was to.
        "2026-05-02T20" | "2026-05-02T21" | "2026-05-02T22" => usual()
            .filter(|(look, _)| *look != at("2026-05-03T00:00") + DELAY)
            .chain((start == at("2026-05-02T20:00")).then(|| later("2026-05-03T01:00")))
            .collect(),
        // Its scheduled run comes after the next hour's, which has found it missing.
        "2026-05-03T05" => {
            and(usual_from("2026-05-03T06:30"), vec![(at("2026-05-03T07:03"), BeforeItSettled)])
        }
        // That event counts these again too; the run at 07:00 counts again what that of 06:00 was to.
        "2026-05-03T02" => and(
            usual_until("2026-05-03T05:30"),
            vec![later("2026-05-03T07:00"), (at("2026-05-03T07:03"), BeforeItSettled)],
        ),
        "2026-05-03T03" | "2026-05-03T04" => and(
            usual().filter(|(look, _)| *look != at("2026-05-03T06:00") + DELAY).collect(),
            vec![(at("2026-05-03T07:03"), BeforeItSettled)],
        ),
        _ => usual().collect(),
    }
}

/// The records of an hour after all its countings, from what was true at each of them.
pub fn looked_at(
    life: &Life,
    expected: &Expected,
    begin: Instant,
    start: Instant,
) -> Vec<(usize, Marked)> {
    let last = at("2026-05-04T04:00") + DELAY;
    let mut stored: Vec<Option<Marked>> = vec![None; TYPES.len()];
    for (look, counting) in looks(start).into_iter().filter(|(look, _)| *look <= last) {
        let mut fresh = count_hour(life.at(look), start);
        let before = expected.get(&(USERS, Granularity::Hourly, start - TimeDelta::hours(1)));
        let before = before.filter(|(marked, _)| !marked.marks.contains_key("totalUsers"));
        if let Some((before, _)) = before.filter(|_| start > begin) {
            let number = |values: &Values, name: &str| match values[name] {
                Value::Count(count) => count,
                _ => unreachable!("a count"),
            };
            let left = number(&before.values, "totalUsers") + number(&fresh[USERS], "newUsers")
                - number(&fresh[USERS], "totalUsers");
            fresh[USERS].insert("deletedUsers", Value::Count(left.max(0)));
        }
        for (metric_type, fresh) in fresh.iter().enumerate() {
            let before = stored[metric_type].as_ref();
            stored[metric_type] = Some(count_over(metric_type, before, fresh, counting));
        }
    }
    stored.into_iter().map(Option::unwrap).enumerate().collect()
}

/// The expectation itself, in literal terms, for what matters most.
pub fn assert_absent_and_marked(expected: &Expected) {
    let hour = |name: &str, start: &str| {
        let metric_type = TYPES.iter().position(|each| *each == name).unwrap();
        &expected[&(metric_type, Granularity::Hourly, at(start))].0
    };
    let day = |date: &str| &expected[&(USERS, Granularity::Daily, at(&format!("{date}T00:00")))].0;
    for start in ["2026-05-02T09:00", "2026-05-02T13:00", "2026-05-02T19:00", "2026-05-03T05:00"] {
        let users = hour("users", start);
        let names = |values: &Values| values.keys().copied().collect::<Vec<_>>();
        assert_eq!(names(&users.values), ["newUsers", "totalUsers", "visitors"], "{start}");
        let marks = users.marks.iter().map(|(name, mark)| (*name, format!("{mark:?}")));
        let marks: Vec<_> = marks.collect();
        let estimate = || "Estimate".to_owned();
        let ought = [
            ("newUsers", estimate()),
            ("totalUsers", estimate()),
            ("visitors", "LowerBound".to_owned()),
        ];
        assert_eq!(marks, ought, "{start}");
    }
    // The hour after a missed one is observed, but not who left in it.
    for start in ["2026-05-02T14:00", "2026-05-02T20:00"] {
        let users = hour("users", start);
        assert!(users.marks.is_empty() && users.values.contains_key("activeUsers"), "{start}");
        assert!(!users.values.contains_key("deletedUsers"), "{start}");
    }
    // What the daily run observed is as good as any.
    assert!(hour("users", "2026-05-02T23:00").marks.is_empty());
    assert!(hour("users", "2026-05-02T23:00").values.contains_key("deletedUsers"));
    assert!(!day("2026-05-02").values.contains_key("activeUsers"));
    let marks: Vec<_> = day("2026-05-02").marks.keys().copied().collect();
    assert_eq!(marks, ["newUsers", "visitors"]);
}
