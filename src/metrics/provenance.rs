//! What a later calculation may change in a stored record, and which values it marks as reconstructed.
//!
//! The run of an hour that comes in time observes: its values are what was true. Whatever is counted
//! later comes from a table that has forgotten what was deleted or changed since. It fills what is
//! absent, and marks it; it adds to a flow what came late; it never replaces an observed stock.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::metrics::{
    amount::Amount,
    catalogue::{
        Catalogue,
        definition::{Measure, Metric, Past},
    },
    maker::Maker,
    numbers,
    part::{Part, PartError},
    period::Period,
    ranking::total,
    record::{Coverage, Reconstruction, Record},
    sketch::Distinct,
};

/// Why a record is calculated, which decides on what it may replace and what it marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// By the period's own event, in time: what it finds is observed.
    Scheduled,
    /// Later: what is absent is filled and marked, flows get what came late, and a record that says
    /// the same is left alone.
    Recalculation,
    /// Later, because somebody asked for exactly that: whatever the table can still tell replaces what
    /// is stored, and is marked.
    Overwrite,
    /// From finer records: what they no longer tell is kept as stored, and a record that says the
    /// same is left alone.
    Rollup,
}

/// For so long after its period a flow with a condition follows the table: jobs finish, orders
/// complete. Later, a fall is more likely to be a deletion.
const SETTLES_AFTER: TimeDelta = TimeDelta::hours(48);

/// One metric in a record.
#[derive(Clone)]
struct MetricEntry {
    value: Option<Json>,
    part: Option<Part>,
    mark: Option<Reconstruction>,
    maker: Maker,
}

impl MetricEntry {
    /// What `record` says of the metric; `None` where it says nothing.
    fn of(record: &Record, name: &str) -> Option<Self> {
        let value = record.metrics.get(name).cloned();
        let part = record.parts.get(name).cloned();
        let mark = record.reconstructed.get(name).copied();
        let maker = record.made_by.maker_of(name);
        (value.is_some() || part.is_some()).then_some(Self { value, part, mark, maker })
    }

    fn write(self, record: &mut Record, name: &str) {
        if let Some(value) = self.value {
            record.metrics.insert(name.to_owned(), value);
        }
        if let Some(part) = self.part {
            record.parts.insert(name.to_owned(), part);
        }
        if let Some(mark) = self.mark {
            record.reconstructed.insert(name.to_owned(), mark);
        }
        record.made_by.note(name, self.maker);
    }

    fn marked(self, mark: Option<Reconstruction>) -> Self {
        Self { mark, ..self }
    }

    /// How much it counts: of a mean, how many values; of groups and rankings, all of them together.
    fn size(&self) -> Option<Decimal> {
        match &self.part {
            Some(Part::Average { count, .. }) => return Some(Decimal::from(*count)),
            Some(Part::Targets(ranking)) => {
                let mut totals = ranking.targets.iter().map(|(_, shares)| total(shares));
                return totals.try_fold(Decimal::ZERO, |sum, one| numbers::add(sum, one.into()));
            }
            _ => {}
        }
        match Amount::from_json(self.value.as_ref()?)? {
            Amount::Number(number) => Some(number),
            Amount::Groups(groups) => groups.into_values().try_fold(Decimal::ZERO, numbers::add),
        }
    }
}

/// What a value of the metric is that is computed after its time.
#[must_use]
pub(crate) fn reconstruction(metric: &Metric) -> Reconstruction {
    match metric.measure {
        Measure::Count { .. } | Measure::CountDistinct { .. } if !metric.is_conditional() => {
            Reconstruction::LowerBound
        }
        _ => Reconstruction::Estimate,
    }
}

/// The record to store: `fresh`, as far as it may replace what is stored. Metrics that this build
/// does not know stay as they are.
///
/// # Errors
///
/// When a stored sketch is damaged.
pub(crate) fn merge(
    catalogue: &Catalogue,
    fresh: &Record,
    stored: Option<&Record>,
    occasion: Occasion,
) -> Result<Record, PartError> {
    if occasion == Occasion::Rollup {
        return Ok(merge_rollup(fresh, stored));
    }
    let mut merged = Record {
        metrics: serde_json::Map::new(),
        parts: std::collections::BTreeMap::new(),
        reconstructed: std::collections::BTreeMap::new(),
        made_by: fresh.made_by.maker.into(),
        ..fresh.clone()
    };
    let is_settled = is_settled(fresh.period, fresh.calculated_at);
    for metric in catalogue.of_type(&fresh.metric_type) {
        let of = |record: &Record| MetricEntry::of(record, &metric.name);
        let entry = choose(metric, stored.and_then(of), of(fresh), occasion, is_settled)?;
        if let Some(entry) = entry {
            entry.write(&mut merged, &metric.name);
        }
    }
    if let Some(stored) = stored {
        let names = stored.metrics.keys().chain(stored.parts.keys());
        for name in names.filter(|name| catalogue.metric(name).is_none()) {
            if let Some(entry) = MetricEntry::of(stored, name) {
                entry.write(&mut merged, name);
            }
        }
    }
    Ok(merged)
}

fn is_settled(period: Period, at: DateTime<Utc>) -> bool {
    at.signed_duration_since(period.end()) >= SETTLES_AFTER
}

/// Which of a metric's two entries stays.
fn choose(
    metric: &Metric,
    stored: Option<MetricEntry>,
    fresh: Option<MetricEntry>,
    occasion: Occasion,
    is_settled: bool,
) -> Result<Option<MetricEntry>, PartError> {
    let past = metric.past();
    let observes = occasion == Occasion::Scheduled;
    // A run that observes does better than what was reconstructed before it.
    let (kept, rest) = match stored {
        Some(entry) if observes && entry.mark.is_some() => (None, Some(entry)),
        stored => (stored, None),
    };
    // A part alone tells nothing of a past that only its own time can tell.
    let kept = kept.filter(|entry| past != Past::Nothing || entry.value.is_some());
    let Some(fresh) = fresh else { return Ok(kept.or(rest)) };
    let mark = (!observes).then(|| reconstruction(metric));
    Ok(match (kept, past) {
        (Some(stored), Past::Nothing) => Some(stored),
        (None, Past::Nothing) => observes.then_some(fresh),
        (None, _) => Some(fresh.marked(mark)),
        (Some(stored), _) if occasion == Occasion::Overwrite => {
            let is_same = stored.value == fresh.value && stored.part == fresh.part;
            Some(if is_same { stored } else { fresh.marked(mark) })
        }
        (Some(stored), Past::Survivors) => Some(stored),
        (Some(stored), Past::Flow) => Some(flow(metric, stored, fresh, is_settled)?),
    })
}

/// A flow that is counted again: with what came late, without losing what was deleted since.
fn flow(
    metric: &Metric,
    stored: MetricEntry,
    fresh: MetricEntry,
    is_settled: bool,
) -> Result<MetricEntry, PartError> {
    let mark = stored.mark;
    if metric.is_conditional() && !is_settled {
        return Ok(fresh.marked(mark));
    }
    if !metric.is_conditional()
        && let Some(all) = union(&stored, &fresh)?
    {
        return Ok(all.marked(mark));
    }
    let grew = match (stored.size(), fresh.size()) {
        (Some(stored), Some(fresh)) => fresh > stored,
        (stored, _) => stored.is_none(),
    };
    Ok(if grew { fresh.marked(mark) } else { stored })
}

/// The distinct values of both, where that is more than either has: some were deleted since and others
/// came late. `None` where it is not, or where they are no sets. (Sketches of the same values estimate
/// them slightly differently after a merge, so the merged one is only taken where it says more.)
fn union(stored: &MetricEntry, fresh: &MetricEntry) -> Result<Option<MetricEntry>, PartError> {
    let (Some(before), Some(now)) = (&stored.part, &fresh.part) else { return Ok(None) };
    let (Some(before), Some(now)) = (before.as_distinct()?, now.as_distinct()?) else {
        return Ok(None);
    };
    let most = before.count().max(now.count());
    let all = Distinct::merged(&[before, now]).map_err(|error| PartError::new(&error))?;
    Ok((all.count() > most).then(|| MetricEntry {
        value: Some(all.count().into()),
        part: Some(Part::distinct(&all)),
        mark: None,
        maker: fresh.maker,
    }))
}

/// Puts a ranking that was counted from the platform's items into a rolled-up record.
pub(crate) fn settle_ranking(
    record: &mut Record,
    name: &str,
    counted: Json,
    stored: Option<&Record>,
    observes: bool,
) {
    let before = stored.and_then(|stored| stored.metrics.get(name));
    let (value, mark, maker) = match before {
        _ if observes => (counted, None, Maker::Items),
        Some(before) if rows_in(before) >= rows_in(&counted) => {
            let mark = stored.and_then(|stored| stored.reconstructed.get(name).copied());
            let maker = stored.map_or(Maker::Items, |stored| stored.made_by.maker_of(name));
            (before.clone(), mark, maker)
        }
        _ => (counted, Some(Reconstruction::Estimate), Maker::Items),
    };
    record.made_by.note(name, maker);
    record.metrics.insert(name.to_owned(), value);
    if let Some(mark) = mark {
        record.reconstructed.insert(name.to_owned(), mark);
    }
}

/// The rows of all targets that a ranking's value lists.
fn rows_in(ranking: &Json) -> u64 {
    let targets = ranking.as_array().into_iter().flatten();
    targets
        .filter_map(|target| target.get("total").and_then(Json::as_u64))
        .fold(0, u64::saturating_add)
}

/// A rolled-up record over the stored one: finer records may have reached the end of their
/// retention, and what was made from them before is still right. What has a part was made from all
/// of them: there an absent value is the answer.
fn merge_rollup(fresh: &Record, stored: Option<&Record>) -> Record {
    let mut merged = fresh.clone();
    let Some(stored) = stored else { return merged };
    let names = stored.metrics.keys().chain(stored.parts.keys());
    for name in names {
        if MetricEntry::of(fresh, name).is_none()
            && let Some(entry) = MetricEntry::of(stored, name)
        {
            entry.write(&mut merged, name);
        }
    }
    let present = |coverage: Option<Coverage>| coverage.map_or(0, |coverage| coverage.present);
    if present(stored.coverage) > present(merged.coverage) {
        merged.coverage = stored.coverage;
    }
    merged
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "provenance_tests.rs"]
mod tests;
