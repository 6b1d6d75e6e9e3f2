//! The whole history of a small platform: every state of everything in it, with the instant from
//! which it held. What was true at any time is read from the states; what the table gets is the same
//! states as items.
//!
//! Everything that arrives late does so within the three hours after its hour in which runs count it
//! again. On even days things are undone soon after their hour, on odd days they show late: no hour
//! has both, because a count cannot distinguish one that is gone from one that has not come.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, Period};
use sample_platform::{Item, Key, Random};
use serde_json::json;

use support::reckoning::Fact;

type Instant = DateTime<Utc>;

/// From an instant on: what counts of a thing, and its item; `None` where it does not exist.
pub struct State {
    pub since: Instant,
    pub content: Option<(Fact, Item)>,
}

/// Something with all its states, earliest first.
pub struct Thing {
    pub(super) key: Key,
    pub(super) states: Vec<State>,
}

/// A change of the table.
pub struct Change {
    pub at: Instant,
    pub key: Key,
    pub item: Option<Item>,
}

pub struct Life {
    things: Vec<Thing>,
}

impl Thing {
    /// What is known of it at `at`.
    fn at(&self, at: Instant) -> Option<&Fact> {
        let state = self.states.iter().rev().find(|state| state.since <= at)?;
        state.content.as_ref().map(|(fact, _)| fact)
    }

    /// What was known of it at `end`, or when it showed after that and until `look`.
    fn happened(&self, end: Instant, look: Instant) -> Option<&Fact> {
        if self.states.first().is_some_and(|first| first.since > end) {
            let first = self.states.first().filter(|first| first.since <= look)?;
            return first.content.as_ref().map(|(fact, _)| fact);
        }
        self.at(end)
    }
}

impl Life {
    /// From `start` to `end`.
    pub fn new(seed: u64, start: Instant, end: Instant, size: u64) -> Self {
        let mut writer =
            Writer { random: Random::new(seed, 7), start, end, things: Vec::new(), users: 0 };
        writer.write(size);
        Self { things: writer.things }
    }

    /// Everything that exists at `at`.
    pub fn at(&self, at: Instant) -> impl Iterator<Item = &Fact> + Clone {
        self.things.iter().filter_map(move |thing| thing.at(at))
    }

    /// Everything that existed at `end` or showed between it and `look`.
    pub fn happened(&self, end: Instant, look: Instant) -> impl Iterator<Item = &Fact> + Clone {
        self.things.iter().filter_map(move |thing| thing.happened(end, look))
    }

    /// What happens to the table, earliest first.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for thing in &self.things {
            for state in &thing.states {
                let item = state.content.as_ref().map(|(_, item)| item.clone());
                changes.push(Change { at: state.since, key: thing.key.clone(), item });
            }
        }
        changes.sort_by_key(|change| change.at);
        changes
    }

    pub fn len(&self) -> usize {
        self.things.len()
    }
}

/// What happens to a thing: its fact and its item are changed, or it is deleted.
pub(super) enum Step {
    Change(Box<Edit>),
    Delete,
}

pub(super) type Edit = dyn Fn(&mut Fact, &mut Item);

pub(super) type Steps = Vec<(Instant, Step)>;

pub(super) fn change(change: impl Fn(&mut Fact, &mut Item) + 'static) -> Step {
    Step::Change(Box::new(change))
}

pub(super) struct Writer {
    pub(super) random: Random,
    pub(super) start: Instant,
    pub(super) end: Instant,
    pub(super) things: Vec<Thing>,
    pub(super) users: u64,
}

/// The last millisecond of the hour.
pub(super) fn hour_end(at: Instant) -> Instant {
    Period::containing(Granularity::Hourly, at).end()
}

pub(super) fn start_of(granularity: Granularity, at: Instant) -> Instant {
    Period::containing(granularity, at).start()
}

/// Whether what happens in this hour may show late.
pub(super) fn shows_late(at: Instant) -> bool {
    at.ordinal() % 2 == 1
}

/// Nothing changes while the scheduled runs read: they begin a second after the hour and see the
/// table as it was at its end.
pub(super) fn beside_the_runs(at: Instant) -> Instant {
    let into = at - start_of(Granularity::Hourly, at);
    if into < TimeDelta::seconds(5) { at + TimeDelta::seconds(5) } else { at }
}

pub(super) fn set_text(item: &mut Item, name: &str, value: impl Into<String>) {
    item.insert(name.to_owned(), json!({ "S": value.into() }));
}

pub(super) fn set_number(item: &mut Item, name: &str, value: &impl ToString) {
    item.insert(name.to_owned(), json!({ "N": value.to_string() }));
}

pub(super) fn set_flag(item: &mut Item, name: &str, value: bool) {
    item.insert(name.to_owned(), json!({ "BOOL": value }));
}

/// An item with these strings, its keys first.
pub(super) fn item(key: &Key, texts: &[(&str, &str)]) -> Item {
    let mut item = Item::new();
    for (name, value) in [("PK", key.0.as_str()), ("SK", key.1.as_str())].iter().chain(texts) {
        set_text(&mut item, name, *value);
    }
    item
}

impl Writer {
    /// When something comes into being: now and then in the first or last millisecond of an hour, a
    /// day, or a month.
    pub(super) fn moment(&mut self) -> Instant {
        let at = self.start + self.random.span(self.end - self.start);
        let granularity = match self.random.below(100) {
            0..6 => Granularity::Hourly,
            6..10 => Granularity::Daily,
            10 => Granularity::Monthly,
            _ => return at,
        };
        let start = start_of(granularity, at);
        let edge = if self.random.chance(50) { start } else { start - TimeDelta::milliseconds(1) };
        if edge < self.start { at } else { edge }
    }

    /// Some time after `at`.
    pub(super) fn after(&mut self, at: Instant) -> Instant {
        at + self.random.span((self.end - at).max(TimeDelta::zero()))
    }

    /// When something that was written at `at` is undone: on even days perhaps within the next
    /// hours, on odd ones, where others show late, long after.
    pub(super) fn undone(&mut self, at: Instant) -> Instant {
        if !shows_late(at) && self.random.chance(60) {
            return at + self.random.span(TimeDelta::hours(4));
        }
        self.after(hour_end(at) + TimeDelta::hours(5))
    }

    /// When what is of `at` shows: on odd days perhaps as late as runs look.
    pub(super) fn shown(&mut self, at: Instant) -> Instant {
        if !shows_late(at) || !self.random.chance(25) {
            return at;
        }
        let last = hour_end(at) + TimeDelta::minutes(175);
        beside_the_runs(at + self.random.span(last - at))
    }

    pub(super) fn add(
        &mut self,
        shown: Instant,
        key: Key,
        content: (Fact, Item),
        mut steps: Steps,
    ) {
        if shown > self.end {
            return;
        }
        let (mut fact, mut item) = content;
        let mut states = vec![State { since: shown, content: Some((fact.clone(), item.clone())) }];
        steps.sort_by_key(|(at, _)| *at);
        let mut latest = shown;
        for (at, step) in steps {
            let at = beside_the_runs(at).max(latest);
            latest = at;
            if at > self.end {
                break;
            }
            let Step::Change(change) = step else {
                states.push(State { since: at, content: None });
                break;
            };
            change(&mut fact, &mut item);
            states.push(State { since: at, content: Some((fact.clone(), item.clone())) });
        }
        self.things.push(Thing { key, states });
    }
}
