//! Which values of a stored record a later run may replace, and which values are marked as
//! reconstructed.
//!
//! The scheduled run of an hour that is in time observes: its values were true. A value that is
//! counted later comes from a table that no longer has what was deleted or changed since. It fills
//! an absent value and is marked, it adds late-arriving data to a flow, and it never replaces an
//! observed stock.

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

/// Why a record is computed, which decides which values it replaces and marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// By the scheduled run of the period, in time: its values are observed.
    Scheduled,
    /// Later: absent values are filled and marked, flows get late-arriving data, and an unchanged
    /// record is not rewritten.
    Recalculation,
    /// Later, by a recalculation with `overwrite`: every value that can still be computed replaces
    /// the stored one, and is marked.
    Overwrite,
    /// From finer records: stored values that they no longer have stay, and an unchanged record is
    /// not rewritten.
    Rollup,
}

/// How long after its period a flow with a condition follows the table, because jobs finish and
/// orders complete. After that, a lower value is taken for a deletion.
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
    /// The metric in `record`; `None` if it has neither value nor part.
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

    /// How much is counted: the value; of a mean the number of values; of groups and rankings their
    /// sum.
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

/// The mark of a value of the metric that is computed after its time.
#[must_use]
pub fn reconstruction(metric: &Metric) -> Reconstruction {
    match metric.measure {
        Measure::Count { .. } | Measure::CountDistinct { .. } if !metric.is_conditional() => {
            Reconstruction::LowerBound
        }
        _ => Reconstruction::Estimate,
    }
}

/// The record to store: the values of `fresh` that may replace those of `stored`, and the other
/// values of `stored`. Stored metrics that are not in the catalogue stay.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use edge_analytics::metrics::{
/// #     catalogue::{Catalogue, definition::*}, maker::Maker, period::*,
/// #     provenance::{Occasion, merge}, record::{Record, Reconstruction},
/// # };
/// # use serde_json::json;
/// # let rows = |window| Rows {
/// #     sources: BTreeMap::from([(String::new(), "media".to_owned())]),
/// #     conditions: BTreeMap::new(),
/// #     window,
/// #     time: vec!["createdAt".to_owned()],
/// #     absent: Absent::Malformed,
/// # };
/// # let count = |name: &str, window, rollup| Metric {
/// #     type_name: "media".to_owned(),
/// #     name: name.to_owned(),
/// #     measure: Measure::Count { rows: rows(window), by: None },
/// #     rollup,
/// #     moves: None,
/// # };
/// # let catalogue = Catalogue::new(Definition {
/// #     ttl: None,
/// #     types: vec!["media".to_owned()],
/// #     tables: BTreeMap::new(),
/// #     sources: BTreeMap::new(),
/// #     metrics: vec![
/// #         count("totalMedia", Window::ToDate, Rollup::Last),
/// #         count("newMedia", Window::Period, Rollup::Sum),
/// #     ],
/// #     realtime: Realtime::default(),
/// # });
/// # let record = |counted_at: &str, metrics: serde_json::Value| Record {
/// #     metric_type: "media".to_owned(),
/// #     period: Period::containing(
/// #         Granularity::Hourly,
/// #         parse_instant("2026-03-01T11:00:00Z").unwrap(),
/// #     ),
/// #     metrics: metrics.as_object().unwrap().clone(),
/// #     parts: BTreeMap::new(),
/// #     calculated_at: parse_instant(counted_at).unwrap(),
/// #     coverage: None,
/// #     reconstructed: BTreeMap::new(),
/// #     made_by: Maker::Items.into(),
/// # };
/// // `totalMedia` is a stock, `newMedia` a flow. Two hours later 1 medium is deleted and 2 arrived late.
/// let stored = record("2026-03-01T12:00:05Z", json!({"totalMedia": 100, "newMedia": 5}));
/// let fresh = record("2026-03-01T14:00:05Z", json!({"totalMedia": 101, "newMedia": 6}));
/// let merged = merge(&catalogue, &fresh, Some(&stored), Occasion::Recalculation).unwrap();
/// // The observed stock stays, the flow grows.
/// assert_eq!(merged.metrics["totalMedia"], 100);
/// assert_eq!(merged.metrics["newMedia"], 6);
///
/// // Without a stored record, all values are marked as reconstructed.
/// let merged = merge(&catalogue, &fresh, None, Occasion::Recalculation).unwrap();
/// assert_eq!(merged.reconstructed["newMedia"], Reconstruction::LowerBound);
/// ```
///
/// # Errors
///
/// When a stored sketch is damaged.
pub fn merge(
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
    Ok(with_its_maker(merged))
}

/// The same record, with the maker that made its metrics: all of them may have been kept.
fn with_its_maker(record: Record) -> Record {
    let names = record.metrics.keys().chain(record.parts.keys());
    let made_by = record.made_by.clone().of_metrics(names);
    Record { made_by, ..record }
}

fn is_settled(period: Period, at: DateTime<Utc>) -> bool {
    at.signed_duration_since(period.end()) >= SETTLES_AFTER
}

/// Which of the two entries of a metric stays.
fn choose(
    metric: &Metric,
    stored: Option<MetricEntry>,
    fresh: Option<MetricEntry>,
    occasion: Occasion,
    is_settled: bool,
) -> Result<Option<MetricEntry>, PartError> {
    let past = metric.past();
    let observes = occasion == Occasion::Scheduled;
    // An observed value replaces a reconstructed one.
    let (kept, rest) = match stored {
        Some(entry) if observes && entry.mark.is_some() => (None, Some(entry)),
        stored => (stored, None),
    };
    // A part without a value does not count, if the metric can only be computed at its own time.
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

/// A flow that is recomputed: with late-arriving data, and without losing what was deleted since.
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

/// The union of two sets of distinct values, if it has more values than either: some were deleted
/// since and others arrived late. `None` if it has not, or if they are not sets. (A merged sketch
/// estimates the same values slightly differently, so it is used only if its count is greater.)
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

/// Puts a ranking that was counted from the platform's items into a rolled-up record. It replaces a
/// stored one if it `observes` or has more rows.
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

/// The rows of all targets in the value of a ranking.
fn rows_in(ranking: &Json) -> u64 {
    let targets = ranking.as_array().into_iter().flatten();
    targets
        .filter_map(|target| target.get("total").and_then(Json::as_u64))
        .fold(0, u64::saturating_add)
}

/// Merges a rolled-up record with the stored one. The retention of finer records may have ended,
/// and values that were computed from them before are still right. A fresh metric with a part was
/// computed from all finer records, so if its value is absent, it is absent in the result.
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
    with_its_maker(merged)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
#[path = "provenance_tests.rs"]
mod tests;
