//! How many large responses one isolate makes at once. All requests of an isolate share 128 MB of
//! memory.
//!
//! Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#memory).

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::host::Host;

use super::{error::ApiError, waiting::wait_for};

/// The most large responses at once. One takes up to 10 MB for its text, and a page of items.
pub const MAXIMUM_AT_ONCE: usize = 2;

/// A permit expires after this time. The runtime can end a request without running destructors; its
/// permit would then be lost until the end of the isolate.
const PERMIT_LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// The permits of one isolate; clones share them.
#[derive(Clone, Default)]
pub struct Admission(Arc<Mutex<Permits>>);

#[derive(Default)]
struct Permits {
    /// The number of each permit, and when it was given.
    given: Vec<(u64, DateTime<Utc>)>,
    next: u64,
}

/// Permission to make one large response, until it is dropped.
pub struct Permit {
    number: u64,
    admission: Admission,
}

impl Admission {
    /// Waits for a permit.
    ///
    /// # Errors
    ///
    /// When no permit is free within ten seconds.
    pub async fn wait(&self, host: &dyn Host) -> Result<Permit, ApiError> {
        let permit = wait_for(host, || self.try_acquire(host.now())).await;
        permit.ok_or_else(|| {
            ApiError::Unavailable(format!(
                "{MAXIMUM_AT_ONCE} large responses are being made already, and none was finished in \
                 time"
            ))
        })
    }

    fn try_acquire(&self, now: DateTime<Utc>) -> Option<Permit> {
        let mut permits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        permits.given.retain(|(_, at)| now - *at < PERMIT_LIFETIME);
        if permits.given.len() >= MAXIMUM_AT_ONCE {
            return None;
        }
        let number = permits.next;
        permits.next = number.wrapping_add(1);
        permits.given.push((number, now));
        drop(permits);
        Some(Permit { number, admission: self.clone() })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut permits = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        permits.given.retain(|(number, _)| *number != self.number);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Permit({})", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_permit_is_free_again_when_it_is_dropped() {
        let admission = Admission::default();
        let mut permits: Vec<_> =
            (0..MAXIMUM_AT_ONCE).map(|_| admission.try_acquire(at(0)).unwrap()).collect();
        assert!(admission.try_acquire(at(1)).is_none());
        permits.pop();
        permits.push(admission.try_acquire(at(1)).unwrap());
        assert!(admission.try_acquire(at(1)).is_none());
    }

    #[test]
    fn a_permit_that_is_never_dropped_expires() {
        let admission = Admission::default();
        for _ in 0..MAXIMUM_AT_ONCE {
            std::mem::forget(admission.try_acquire(at(0)).unwrap());
        }
        assert!(admission.try_acquire(at(59)).is_none());
        assert!(admission.try_acquire(at(60)).is_some());
    }

    #[test]
    fn dropping_an_expired_permit_frees_no_other() {
        let admission = Admission::default();
        let expired: Vec<_> =
            (0..MAXIMUM_AT_ONCE).map(|_| admission.try_acquire(at(0)).unwrap()).collect();
        let held: Vec<_> =
            (0..MAXIMUM_AT_ONCE).map(|_| admission.try_acquire(at(60)).unwrap()).collect();
        drop(expired);
        assert!(admission.try_acquire(at(61)).is_none());
        drop(held);
        assert!(admission.try_acquire(at(61)).is_some());
    }
}
