//! The shares of malformed items. Their number would reveal the platform's figures to a monitor.

use std::collections::BTreeMap;

use super::redaction::redacted;
use crate::metrics::{findings::Malformed, ordered::Ordered};

/// The most metrics with malformed items that are listed.
pub(super) const MAXIMUM_METRICS: usize = 100;

/// The malformed items in percent of all, by metric or counter.
pub(super) fn percents(malformed: &BTreeMap<String, Malformed>) -> BTreeMap<String, f64> {
    let all = malformed.iter().take(MAXIMUM_METRICS);
    all.map(|(name, of)| (redacted(name), percent(*of))).ordered_map()
}

/// The malformed items in percent of all, with one decimal.
fn percent(Malformed { rows, malformed }: Malformed) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "one decimal of a share needs no more")]
    let share = malformed as f64 / rows.max(1) as f64;
    (share * 1000.0).round() / 10.0
}
