//! The realtime counters: when they were last refreshed, and which have no value.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Health, Level, Reason, malformed, redaction::redacted};
use crate::{
    metrics::period::format_instant,
    store::realtime_state::{Quality, RealtimeStateError},
};

/// The age of the realtime counters from which on health is degraded: twelve events of five
/// minutes.
const COUNTERS_EXPECTED_WITHIN: TimeDelta = TimeDelta::hours(1);

/// The reason that the realtime counters give, if any. Their snapshot was last `refreshed` then;
/// `None` before the first refresh. An unreadable state is replaced by the next refresh.
#[must_use]
pub fn judge_counters(
    refreshed: &Result<Option<DateTime<Utc>>, RealtimeStateError>,
    now: DateTime<Utc>,
) -> Option<Reason> {
    let reason = match refreshed {
        Ok(Some(at)) if now - *at > COUNTERS_EXPECTED_WITHIN => format!(
            "the realtime counters were last refreshed at {}, but are due every 5 minutes; check the cron \
             trigger that REALTIME_CRON names",
            format_instant(*at)
        ),
        Ok(_) => return None,
        Err(_) => {
            "the state of the realtime counters is damaged; the next refresh replaces it".to_owned()
        }
    };
    Some(Reason { severity: Level::Degraded, granularity: None, reason })
}

impl Health {
    /// Adds what the last refresh of the realtime counters found of malformed items: their shares,
    /// and the counters without a value.
    #[must_use]
    pub fn with_quality(mut self, quality: &Quality) -> Self {
        self.realtime_malformed_percent = malformed::percents(&quality.malformed);
        let unreadable = quality.unreadable.values().take(malformed::MAXIMUM_METRICS);
        self.with(unreadable.map(|why| Reason {
            severity: Level::Degraded,
            granularity: None,
            reason: format!("a realtime counter has no current value: {}", redacted(why)),
        }))
    }
}
