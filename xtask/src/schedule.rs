//! When the Worker's cron events are due, for runtimes that do not send them.

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::period::{Granularity, Period};

/// One event of the cron triggers in wrangler.toml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The granularity of the records that it computes.
    pub granularity: Granularity,
    /// Its scheduled time.
    pub at: DateTime<Utc>,
}

impl Event {
    /// The first event of `granularity` after `instant`.
    pub fn after(granularity: Granularity, instant: DateTime<Utc>) -> Self {
        let delay = delay(granularity);
        let at = Period::containing(granularity, instant - delay).next().start() + delay;
        Self { granularity, at }
    }

    /// Its expression in wrangler.toml.
    pub fn cron(self) -> &'static str {
        match self.granularity {
            Granularity::Hourly => "0 * * * *",
            Granularity::Daily => "5 0 * * *",
            Granularity::Weekly => "10 0 * * MON",
            Granularity::Monthly => "15 0 1 * *",
        }
    }
}

/// How long after the end of a period its event is scheduled.
fn delay(granularity: Granularity) -> TimeDelta {
    TimeDelta::minutes(match granularity {
        Granularity::Hourly => 0,
        Granularity::Daily => 5,
        Granularity::Weekly => 10,
        Granularity::Monthly => 15,
    })
}

/// All events after `since`, up to and including `until`, in the order of their times.
pub fn events_between(since: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Event> {
    let mut events: Vec<Event> = Granularity::ALL
        .into_iter()
        .flat_map(|granularity| {
            let first = Event::after(granularity, since);
            std::iter::successors(Some(first), move |event| {
                Some(Event::after(granularity, event.at))
            })
            .take_while(|event| event.at <= until)
        })
        .collect();
    events.sort_by_key(|event| event.at);
    events
}

/// The events to send for what is due after `since`, up to and including `until`: the last of each
/// granularity, whose run also computes missing periods before it, and of the hourly events the last
/// `hours`, at least one. Finer granularities come first, because coarser ones are computed from them.
pub fn due(since: DateTime<Utc>, until: DateTime<Utc>, hours: u32) -> Vec<Event> {
    let events = events_between(since, until);
    let mut due = Vec::new();
    for granularity in Granularity::ALL {
        let all: Vec<Event> =
            events.iter().copied().filter(|event| event.granularity == granularity).collect();
        let wanted = if granularity == Granularity::Hourly { hours.max(1) as usize } else { 1 };
        due.extend_from_slice(&all[all.len().saturating_sub(wanted)..]);
    }
    due
}

/// The first event after `instant`.
pub fn next_after(instant: DateTime<Utc>) -> DateTime<Utc> {
    // Of every granularity, because the daily, weekly and monthly ones are minutes after an hourly one.
    Granularity::ALL
        .into_iter()
        .map(|granularity| Event::after(granularity, instant).at)
        .min()
        .unwrap_or(instant + TimeDelta::hours(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn list(events: &[Event]) -> Vec<String> {
        events
            .iter()
            .map(|event| format!("{} {}", event.granularity, event.at.format("%F %H:%M")))
            .collect()
    }

    #[test]
    fn every_event_is_listed_once_in_the_order_of_time() {
        // A Monday that is the first of a month.
        let events =
            events_between(instant("2026-05-31T23:00:00Z"), instant("2026-06-01T01:00:00Z"));
        assert_eq!(
            list(&events),
            [
                "hourly 2026-06-01 00:00",
                "daily 2026-06-01 00:05",
                "weekly 2026-06-01 00:10",
                "monthly 2026-06-01 00:15",
                "hourly 2026-06-01 01:00",
            ]
        );
        assert!(events_between(events[4].at, events[4].at).is_empty());
    }

    #[test]
    fn sixty_days_have_as_many_events_as_hours_days_weeks_and_months_end_in_them() {
        let events =
            events_between(instant("2026-03-01T00:00:00Z"), instant("2026-04-30T00:00:00Z"));
        let count = |wanted| events.iter().filter(|event| event.granularity == wanted).count();
        assert_eq!(Granularity::ALL.map(count), [1440, 60, 9, 2]);
        assert!(events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn after_a_pause_one_event_of_each_kind_is_enough() {
        let due = due(instant("2026-05-28T10:20:00Z"), instant("2026-06-02T09:30:00Z"), 1);
        assert_eq!(
            list(&due),
            [
                "hourly 2026-06-02 09:00",
                "daily 2026-06-02 00:05",
                "weekly 2026-06-01 00:10",
                "monthly 2026-06-01 00:15",
            ]
        );
    }

    #[test]
    fn of_the_last_hours_those_that_are_due_are_listed() {
        let now = instant("2026-05-28T10:20:00Z");
        let some = due(instant("2026-05-28T06:00:00Z"), now, 3);
        assert_eq!(
            list(&some),
            ["hourly 2026-05-28 08:00", "hourly 2026-05-28 09:00", "hourly 2026-05-28 10:00"]
        );
        assert_eq!(list(&due(instant("2026-05-28T09:00:00Z"), now, 3)).len(), 1);
        assert!(due(instant("2026-05-28T10:00:00Z"), now, 3).is_empty());
    }

    #[test]
    fn the_next_event_is_the_earliest_of_all() {
        assert_eq!(next_after(instant("2026-06-01T00:05:00Z")), instant("2026-06-01T00:10:00Z"));
        assert_eq!(next_after(instant("2026-06-01T00:15:00Z")), instant("2026-06-01T01:00:00Z"));
    }
}
