//! What was true of each hour, and of the days, weeks and months above, by the platform's history.

use std::{collections::BTreeMap, iter::successors};

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::{
    period::{Granularity, Period},
    record::Coverage,
};

use super::life::Life;
use support::{
    engine_suite::TYPES,
    provenance::{Marked, Marks, roll_up_marked},
    reckoning::{METRICS, Past, USERS, Value, Values, count_hour},
};

pub type Instant = DateTime<Utc>;

/// How long after an hour's end the last of the runs that count it again begins.
pub const LAST_LOOK: TimeDelta = TimeDelta::hours(3);

/// How long after its scheduled time a run begins.
pub const DELAY: TimeDelta = TimeDelta::seconds(1);

/// What every record has to be, by the index of its type and its period.
pub type Expected = BTreeMap<(usize, Granularity, Instant), (Marked, Option<Coverage>)>;

pub fn hour(start: Instant) -> Period {
    Period::containing(Granularity::Hourly, start)
}

pub fn hours(first: Instant, end: Instant) -> impl Iterator<Item = Instant> {
    successors(Some(first), |hour| Some(*hour + TimeDelta::hours(1)))
        .take_while(move |at| *at < end)
}

pub fn finer(period: Period) -> Vec<Period> {
    let finer = match period.granularity() {
        Granularity::Hourly => return Vec::new(),
        Granularity::Daily => Granularity::Hourly,
        Granularity::Weekly | Granularity::Monthly => Granularity::Daily,
    };
    successors(Some(Period::containing(finer, period.start())), |finer| Some(finer.next()))
        .take_while(|finer| finer.start() <= period.end())
        .collect()
}

/// What was true of the hours from `begin` to before `end`, as far as runs look: the last one was
/// scheduled for `last_event`.
pub fn truth(life: &Life, begin: Instant, end: Instant, last_event: Instant) -> Expected {
    let mut expected = Expected::new();
    for start in hours(begin, end) {
        let before = (start > begin).then(|| users_at(life, start - TimeDelta::hours(1)));
        for (metric_type, values) in
            true_hour(life, start, before, last_event).into_iter().enumerate()
        {
            let marked = Marked { values, marks: Marks::new() };
            expected.insert((metric_type, Granularity::Hourly, start), (marked, None));
        }
    }
    expected
}

/// `totalUsers` at the end of the hour that begins at `start`.
pub fn users_at(life: &Life, start: Instant) -> i64 {
    let values = count_hour(life.at(hour(start).end()), start);
    let Value::Count(total) = values[USERS]["totalUsers"] else { unreachable!("a count") };
    total
}

/// What was true of the hour that begins at `start`.
pub fn true_hour(
    life: &Life,
    start: Instant,
    users_before: Option<i64>,
    last_event: Instant,
) -> [Values; TYPES.len()] {
    let end = hour(start).end();
    let look = (start + TimeDelta::hours(1) + LAST_LOOK).min(last_event) + DELAY;
    // Stocks, and what only this time can observe: as they were when the hour ended.
    let mut then = count_hour(life.at(end), start);
    // Flows: all that happened, also what was undone afterwards; under a condition, as it was in the
    // end.
    let happened = count_hour(life.happened(end, look), start);
    let settled = count_hour(life.at(look), start);
    if let Some(before) = users_before {
        let [Value::Count(total), Value::Count(new)] =
            ["totalUsers", "newUsers"].map(|name| then[USERS][name].clone())
        else {
            unreachable!("counts")
        };
        then[USERS].insert("deletedUsers", Value::Count((before + new - total).max(0)));
    }
    for (metric_type, metrics) in METRICS.iter().enumerate() {
        for metric in *metrics {
            let flow = match metric.past {
                Past::Survivors | Past::Forgotten => continue,
                Past::Flow => &happened,
                Past::ConditionalFlow => &settled,
            };
            // View counts are incremented in place and never fall.
            let flow = if metric.name == "newViews" { &settled } else { flow };
            then[metric_type].insert(metric.name, flow[metric_type][metric.name].clone());
        }
    }
    then
}

/// Asserts that the history puts the rules to the test: in many hours something comes late, and in
/// many something is undone before runs stop to count them.
pub fn assert_eventful(life: &Life, begin: Instant, end: Instant) {
    let (mut late, mut undone, mut ended) = (0, 0, 0);
    for start in hours(begin, end) {
        let hour_end = hour(start).end();
        let look = start + TimeDelta::hours(1) + LAST_LOOK + DELAY;
        let then = count_hour(life.at(hour_end), start);
        let happened = count_hour(life.happened(hour_end, look), start);
        let settled = count_hour(life.at(look), start);
        let differs = |past, one: &[Values], other: &[Values]| {
            let metrics = METRICS.iter().zip(one.iter().zip(other));
            let mut metrics = metrics
                .flat_map(|(metrics, values)| metrics.iter().map(move |metric| (metric, values)));
            metrics.any(|(metric, (one, other))| {
                metric.past == past && one[metric.name].size() != other[metric.name].size()
            })
        };
        late += usize::from(differs(Past::Flow, &then, &happened));
        undone += usize::from(differs(Past::Flow, &happened, &settled));
        ended += usize::from(differs(Past::ConditionalFlow, &then, &settled));
    }
    println!("late in {late} hours, undone in {undone}, ended or paid later in {ended}");
    assert!(late > 50 && undone > 50 && ended > 50, "{late}, {undone}, {ended}");
}

/// Adds every coarser period that `runs` has made by `now`: from hours, not from days.
pub fn add_coarser(expected: &mut Expected, begin: Instant, now: Instant) {
    for granularity in [Granularity::Daily, Granularity::Weekly, Granularity::Monthly] {
        let first = Period::containing(granularity, begin);
        for period in successors(Some(first), |period| Some(period.next())) {
            if period.end() > now {
                break;
            }
            for metric_type in 0..TYPES.len() {
                let of_hours: Vec<Option<&Marked>> = hours(period.start(), period.next().start())
                    .map(|hour| expected.get(&(metric_type, Granularity::Hourly, hour)))
                    .map(|hour| hour.map(|(marked, _)| marked))
                    .collect();
                let marked = roll_up_marked(metric_type, &of_hours);
                let finer = finer(period);
                let coverage = Coverage {
                    present: finer.iter().filter(|finer| finer.end() >= begin).count(),
                    expected: finer.len(),
                };
                expected
                    .insert((metric_type, granularity, period.start()), (marked, Some(coverage)));
            }
        }
    }
}
