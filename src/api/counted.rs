//! The realtime counters that an isolate counted itself, because the snapshot could not be read or
//! `fresh=true` was given. All requests of a minute (with `fresh=true`: of ten seconds) share one count,
//! also those that arrive while it is running.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{host::Host, realtime::Snapshot};

use super::{error::ApiError, waiting::wait_for};

/// A count that has not ended after this time counts as abandoned: the runtime can end a request
/// without running destructors.
const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(30);

/// The last count of an isolate, and the one that is running. Clones share it.
#[derive(Clone, Default)]
pub struct CountedMemory(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    /// The last snapshot, and when it was counted.
    last: Option<(DateTime<Utc>, Snapshot)>,
    /// The number of the running count, and when it started.
    running: Option<(u64, DateTime<Utc>)>,
    next: u64,
}

/// What a request that needs a count does.
pub enum Turn {
    /// It uses this count.
    Reuse(Snapshot),
    /// It counts, and passes the result to [`Count::done`].
    Count(Count),
}

/// Permission to count for all requests of the isolate, until it is dropped.
pub struct Count {
    number: u64,
    memory: CountedMemory,
}

impl CountedMemory {
    /// Returns a count that is younger than `distance`, or permission to count. Waits for a count that
    /// is running.
    ///
    /// # Errors
    ///
    /// When that count does not end within ten seconds.
    pub async fn turn(&self, host: &dyn Host, distance: TimeDelta) -> Result<Turn, ApiError> {
        let turn = wait_for(host, || self.try_turn(host.now(), distance)).await;
        turn.ok_or_else(|| {
            ApiError::Unavailable(
                "another request is counting the realtime counters, and did not finish in time"
                    .to_owned(),
            )
        })
    }

    /// `None` while another request counts.
    fn try_turn(&self, now: DateTime<Utc>, distance: TimeDelta) -> Option<Turn> {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, snapshot)) = &memory.last
            && now - *at < distance
        {
            return Some(Turn::Reuse(snapshot.clone()));
        }
        if memory.running.is_some_and(|(_, since)| now - since < ABANDONED_AFTER) {
            return None;
        }
        let number = memory.next;
        memory.next = number.wrapping_add(1);
        memory.running = Some((number, now));
        drop(memory);
        Some(Turn::Count(Count { number, memory: self.clone() }))
    }

    /// Keeps a snapshot that was counted at `at`, unless there is a newer one.
    pub fn remember(&self, snapshot: &Snapshot, at: DateTime<Utc>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.last.as_ref().is_none_or(|(last, _)| *last <= at) {
            memory.last = Some((at, snapshot.clone()));
        }
    }
}

impl Count {
    /// Ends the count with its result, which was counted at `at`.
    pub fn done(self, snapshot: &Snapshot, at: DateTime<Utc>) {
        self.memory.remember(snapshot, at);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let mut memory = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.running.is_some_and(|(number, _)| number == self.number) {
            memory.running = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::{FRESH_DISTANCE, REFRESH_DISTANCE};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
    }

    fn snapshot(refreshed_at: &str) -> Snapshot {
        let text = format!(r#"{{"version":2,"refreshedAt":"{refreshed_at}","counters":[]}}"#);
        Snapshot::parse(&text).unwrap()
    }

    fn count(memory: &CountedMemory, now: DateTime<Utc>) -> Count {
        match memory.try_turn(now, REFRESH_DISTANCE) {
            Some(Turn::Count(count)) => count,
            Some(Turn::Reuse(_)) => panic!("it remembers one"),
            None => panic!("another one counts"),
        }
    }

    #[test]
    fn one_request_counts_and_others_of_the_same_minute_reuse_its_result() {
        let memory = CountedMemory::default();
        let first = count(&memory, at(0));
        assert!(memory.try_turn(at(1), REFRESH_DISTANCE).is_none());
        first.done(&snapshot("2026-06-01T00:00:00.000Z"), at(0));
        assert!(matches!(memory.try_turn(at(59), REFRESH_DISTANCE), Some(Turn::Reuse(_))));
        drop(count(&memory, at(60)));
    }

    #[test]
    fn a_request_for_fresh_counters_reuses_those_of_the_last_seconds() {
        let memory = CountedMemory::default();
        count(&memory, at(0)).done(&snapshot("2026-06-01T00:00:00.000Z"), at(0));
        let turn = |seconds| memory.try_turn(at(seconds), FRESH_DISTANCE);
        assert!(matches!(turn(9), Some(Turn::Reuse(_))));
        let Some(Turn::Count(fresh)) = turn(10) else { panic!("it is too old") };
        // Other requests for fresh counters wait for it; requests without `fresh` reuse the one before.
        assert!(turn(11).is_none());
        assert!(matches!(memory.try_turn(at(11), REFRESH_DISTANCE), Some(Turn::Reuse(_))));
        drop(fresh);
    }

    #[test]
    fn after_a_failed_or_abandoned_count_the_next_request_counts() {
        let memory = CountedMemory::default();
        drop(count(&memory, at(0)));
        std::mem::forget(count(&memory, at(0)));
        assert!(memory.try_turn(at(29), REFRESH_DISTANCE).is_none());
        let next = count(&memory, at(30));
        assert!(memory.try_turn(at(31), REFRESH_DISTANCE).is_none());
        drop(next);
    }

    #[test]
    fn an_older_result_does_not_replace_a_newer_one() {
        let memory = CountedMemory::default();
        memory.remember(&snapshot("2026-06-01T00:00:10.000Z"), at(10));
        memory.remember(&snapshot("2026-06-01T00:00:05.000Z"), at(5));
        let Some(Turn::Reuse(found)) = memory.try_turn(at(20), REFRESH_DISTANCE) else {
            panic!("it remembers one")
        };
        assert_eq!(found.refreshed_at, "2026-06-01T00:00:10.000Z");
    }
}
