//! Random histories: items that are made, changed, moved, removed and made again.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_dynamo::AttributeValue::{self, Bool, N, S};

use super::*;
use crate::metrics::period::format_instant;

const SEEDS: u64 = 4;
const CHANGES: u64 = 70;
const ITEMS: u64 = 7;

/// `SplitMix64`, and whether times can be earlier than the change that sets them.
struct Random {
    state: u64,
    is_late: bool,
}

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    fn one_of(&mut self, values: &[&str]) -> String {
        let index = usize::try_from(self.below(values.len() as u64)).unwrap();
        values[index].to_owned()
    }

    /// A time near `now`.
    fn time(&mut self, now: DateTime<Utc>, hours: u64) -> DateTime<Utc> {
        let minutes = i64::try_from(self.below(2 * hours * 60)).unwrap();
        let minutes = minutes - i64::try_from(hours * 60).unwrap();
        now + TimeDelta::minutes(if self.is_late { minutes } else { minutes.abs() })
    }
}

const ATTRIBUTES: [&str; 13] = [
    "kind",
    "state",
    "stateKey",
    "at",
    "doneAt",
    "endsAt",
    "expiresAt",
    "flag",
    "group",
    "kindOf",
    "number",
    "user",
    "size",
];

/// A random value of an attribute; now and then none, or one of another type.
fn value(name: &str, random: &mut Random, now: DateTime<Utc>) -> Option<AttributeValue> {
    let is_odd = random.below(20) == 0;
    let text = |text: String| Some(S(text));
    match name {
        "kind" => text(random.one_of(&["POST", "POST", "POST", "POST", "OTHER"])),
        "state" => text(random.one_of(&["A", "B", "C", "D"])),
        "at" if is_odd => text("yesterday".to_owned()),
        "at" if random.below(3) == 0 => text(format_instant(random.time(now, 4))),
        "at" => text(format_instant(now)),
        "doneAt" | "endsAt" if is_odd => Some(N("1".to_owned())),
        "doneAt" | "endsAt" if random.below(2) == 0 => None,
        "doneAt" => text(format_instant(random.time(now, 3))),
        "endsAt" => text(format_instant(random.time(now, 9))),
        "expiresAt" if random.below(3) > 0 => None,
        "expiresAt" => Some(N(random.time(now, 9).timestamp().to_string())),
        "flag" if is_odd => text("perhaps".to_owned()),
        "flag" => Some(Bool(random.below(2) == 0)),
        "kindOf" => text(random.one_of(&["x", "y", "z"])),
        "group" => text(random.one_of(&["a", "b", "c"])),
        "number" if is_odd => text("many".to_owned()),
        "number" => Some(N(random.one_of(&["1", "2.5", "-3", "0", "1000000.000001"]))),
        "user" if random.below(5) == 0 => None,
        "user" => text(random.one_of(&["u1", "u2", "u3"])),
        "size" => text(random.one_of(&["small", "large", "large", "huge"])),
        "amount" => text(random.one_of(&["10.00", "0.01", "3.999"])),
        _ if is_odd => None,
        _ => text("key".to_owned()),
    }
}

fn new_item(random: &mut Random, now: DateTime<Utc>) -> Item {
    let mut item: HashMap<String, AttributeValue> = HashMap::new();
    for name in ATTRIBUTES.into_iter().chain(["createdAtKey", "amount"]) {
        if let Some(value) = value(name, random, now) {
            item.insert(name.to_owned(), value);
        }
    }
    Item::from(item)
}

fn changed_item(item: &Item, random: &mut Random, now: DateTime<Utc>) -> Item {
    let mut item: HashMap<String, AttributeValue> = item.clone().into();
    for _ in 0..=random.below(3) {
        let name = random.one_of(&ATTRIBUTES);
        match value(&name, random, now) {
            Some(value) => item.insert(name, value),
            None => item.remove(&name),
        };
    }
    Item::from(item)
}

/// What has happened, for a computation of its own.
#[derive(Default)]
struct History {
    live: BTreeMap<u64, Item>,
    /// Every new image, with its item and the hour of its commit; `None` where it was removed.
    images: Vec<(u64, Hour, Option<Item>)>,
    /// The last images of removed items, with the hour of their removal.
    removed: Vec<(Hour, Item)>,
}

impl History {
    /// One more change, at `now`.
    fn step(&mut self, random: &mut Random, now: DateTime<Utc>) -> (Option<Item>, Option<Item>) {
        let key = random.below(ITEMS);
        let old = self.live.get(&key).cloned();
        let new = match &old {
            None => Some(new_item(random, now)),
            Some(_) if random.below(7) == 0 => None,
            Some(old) => Some(changed_item(old, random, now)),
        };
        let hour = hour_of(now);
        match &new {
            Some(new) => self.live.insert(key, new.clone()),
            None => self.live.remove(&key),
        };
        if let (Some(old), None) = (&old, &new) {
            self.removed.push((hour, old.clone()));
        }
        self.images.push((key, hour, new.clone()));
        (old, new)
    }

    /// The rows that a flow of an hour counts: what exists, and what was removed after the hour.
    fn rows_of_flow(&self, hour: Hour) -> impl Iterator<Item = &Item> {
        let removed = self.removed.iter().filter(move |(at, _)| *at > hour);
        self.live.values().chain(removed.map(|(_, item)| item))
    }

    /// What existed at the end of an hour.
    fn rows_at_the_end(&self, hour: Hour) -> Vec<&Item> {
        let mut at_the_end: BTreeMap<u64, Option<&Item>> = BTreeMap::new();
        for (key, _, image) in self.images.iter().filter(|(_, at, _)| *at <= hour) {
            at_the_end.insert(*key, image.as_ref());
        }
        at_the_end.into_values().flatten().collect()
    }

    /// The rows whose values an hour has seen: what existed at its end, and what came later.
    fn rows_of_distinct(&self, hour: Hour) -> Vec<&Item> {
        let later = self.images.iter().filter(|(_, at, _)| *at > hour);
        let later = later.filter_map(|(.., image)| image.as_ref());
        self.rows_at_the_end(hour).into_iter().chain(later).collect()
    }

    fn expected(&self, catalogue: &Catalogue, metric: &Metric, hour: Hour) -> Option<Json> {
        let is_flow = metric.window() == Some(Window::Period);
        match &metric.measure {
            Measure::CountDistinct { .. } if is_flow => {
                folded(catalogue, metric, self.rows_of_distinct(hour).into_iter(), hour)
            }
            _ if is_flow => folded(catalogue, metric, self.rows_of_flow(hour), hour),
            _ => folded(catalogue, metric, self.live.values(), hour),
        }
    }
}

/// A random history from `begin` on, the sums of its deltas, and the time of its last change.
fn random_history(
    mut random: Random,
    begin: DateTime<Utc>,
    maker: &DeltaMaker<'_>,
) -> (History, Sums, DateTime<Utc>) {
    let (mut history, mut sums, mut now) = (History::default(), Sums::default(), begin);
    for _ in 0..CHANGES {
        now += TimeDelta::seconds(i64::try_from(random.below(1800)).unwrap());
        let (old, new) = history.step(&mut random, now);
        let change = Change { old: old.as_ref(), new: new.as_ref(), committed: now };
        sums.add(&maker.of(&change));
    }
    (history, sums, now)
}

#[test]
fn the_sum_of_deltas_is_what_a_full_computation_finds() {
    let catalogue = catalogue();
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let begin: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().unwrap();
    let (mut compared, mut values) = (0, 0);
    for seed in 0..SEEDS {
        let random = Random { state: seed, is_late: true };
        let (history, sums, now) = random_history(random, begin, &maker);
        let last = hour_of(now);
        for metric in catalogue.metrics() {
            let hours = match metric.window() {
                Some(Window::Period) => hour_of(begin) - 5..last + 5,
                // Of a stock, what the table says is true from the last change on.
                _ => last..last + 12,
            };
            for hour in hours {
                let expected = history.expected(&catalogue, metric, hour);
                values += u64::from(expected.as_ref().is_some_and(|value| *value != 0));
                compared += 1;
                assert_eq!(
                    sums.value(metric, hour),
                    expected,
                    "seed {seed}: {} in the hour from {}",
                    metric.name,
                    span(hour).start
                );
            }
        }
    }
    println!("{compared} values of {} metrics compared, {values} not 0", catalogue.metrics().len());
    assert!(values * 5 > compared, "{values} of {compared}");
}

/// Where nothing is late, the sum up to any hour is what a full computation at its end had found: the
/// past does not change with what is changed or removed afterwards.
#[test]
fn a_stock_of_a_past_hour_is_what_the_table_said_then() {
    let catalogue = catalogue();
    let stocks = || catalogue.metrics().iter().filter(|it| it.window() != Some(Window::Period));
    let maker = DeltaMaker::new(&catalogue, stocks());
    let begin: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().unwrap();
    for seed in 0..SEEDS {
        let random = Random { state: seed + 2000, is_late: false };
        let (history, sums, now) = random_history(random, begin, &maker);
        for metric in stocks() {
            for hour in hour_of(begin)..=hour_of(now) {
                let rows = history.rows_at_the_end(hour);
                let expected = folded(&catalogue, metric, rows.into_iter(), hour);
                assert_eq!(sums.value(metric, hour), expected, "seed {seed}: {}", metric.name);
            }
        }
    }
}

/// Rows enter as if they had been there since their time: what a full computation over them finds, in
/// every hour from the read on.
#[test]
fn the_deltas_of_rows_are_what_a_full_computation_finds() {
    let catalogue = catalogue();
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let read: DateTime<Utc> = "2026-03-01T10:30:00Z".parse().unwrap();
    for seed in 0..SEEDS {
        let mut random = Random { state: seed + 1000, is_late: true };
        let rows: Vec<Item> = (0..20).map(|_| new_item(&mut random, read)).collect();
        let mut sums = Sums::default();
        for row in &rows {
            for source in ["posts", "moving"] {
                if partition_of(catalogue.source(source).unwrap(), row).is_some() {
                    sums.add(&maker.of_row(source, row, read));
                }
            }
        }
        for metric in catalogue.metrics() {
            for hour in hour_of(read)..hour_of(read) + 12 {
                let expected = folded(&catalogue, metric, rows.iter(), hour);
                assert_eq!(sums.value(metric, hour), expected, "seed {seed}: {}", metric.name);
            }
        }
    }
}
