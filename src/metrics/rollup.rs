//! Rollups: the record of a coarser period from the records of the finer periods in it.
//!
//! Days are rolled up from hours, weeks and months from days. A metric that a finer period lacks is
//! absent in the coarser one, because a sum would be too small.

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::metrics::{
    amount::Amount,
    catalogue::{
        Catalogue,
        definition::{Metric, Rollup},
    },
    fold::MetricOutcome,
    numbers,
    part::{Part, PartError, Parts},
    period::{Granularity, Period},
    ranking::{Ranking, list_targets},
    record::{Coverage, Reconstructed, Reconstruction, Record},
    sketch::{Distinct, SketchError},
};

/// The finer granularity that `granularity` is rolled up from; `None` for hours, which are counted
/// from items.
#[must_use]
pub fn finer_granularity(granularity: Granularity) -> Option<Granularity> {
    match granularity {
        Granularity::Hourly => None,
        Granularity::Daily => Some(Granularity::Hourly),
        // A week can belong to two months, so months are rolled up from days.
        Granularity::Weekly | Granularity::Monthly => Some(Granularity::Daily),
    }
}

/// The coarser granularities that are rolled up from `granularity`.
#[must_use]
pub fn coarser_granularities(granularity: Granularity) -> &'static [Granularity] {
    match granularity {
        Granularity::Hourly => &[Granularity::Daily],
        Granularity::Daily => &[Granularity::Weekly, Granularity::Monthly],
        Granularity::Weekly | Granularity::Monthly => &[],
    }
}

/// All coarser granularities whose records depend on those of `granularity`, finest first.
pub fn coarser_than(granularity: Granularity) -> impl Iterator<Item = Granularity> {
    let direct = coarser_granularities(granularity);
    direct.iter().flat_map(|coarser| {
        [*coarser].into_iter().chain(coarser_granularities(*coarser).iter().copied())
    })
}

/// The finer periods in `period`, earliest first; none for an hour.
#[must_use]
pub fn finer_periods(period: Period) -> Vec<Period> {
    let Some(finer) = finer_granularity(period.granularity()) else { return Vec::new() };
    let first = Period::containing(finer, period.start());
    std::iter::successors(Some(first), |finer| Some(finer.next()))
        .take_while(|finer| finer.start() <= period.end())
        .collect()
}

/// The parts of finer records cannot be merged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RollupError {
    /// The parts are damaged.
    #[error(transparent)]
    Parts(#[from] PartError),
    /// The sketches cannot be merged.
    #[error(transparent)]
    Sketch(#[from] SketchError),
}

/// The rolled-up values of one metric type.
#[derive(Debug, Clone, Default)]
pub struct RolledUp {
    /// The values by metric; one that cannot be computed is absent.
    pub metrics: Map<String, Json>,
    /// The parts by metric, for the rollup to still coarser periods.
    pub parts: Parts,
    /// The metrics that were computed from reconstructed values.
    pub reconstructed: Reconstructed,
    /// How many of the finer periods have a record.
    pub coverage: Coverage,
}

/// Rolls up the records of one type. `finer` has one entry for each finer period, earliest first,
/// `None` for one without a record. Returns `None` if there is no record at all.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use edge_analytics::metrics::{
/// #     catalogue::{Catalogue, definition::*}, maker::Maker, period::*, record::{Coverage, Record},
/// #     rollup::roll_up,
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
/// # let start = parse_instant("2026-03-01T00:00:00Z").unwrap();
/// # let record = |metrics: serde_json::Value| Record {
/// #     metric_type: "media".to_owned(),
/// #     period: Period::containing(Granularity::Hourly, start),
/// #     metrics: metrics.as_object().unwrap().clone(),
/// #     parts: BTreeMap::new(),
/// #     calculated_at: start,
/// #     coverage: None,
/// #     reconstructed: BTreeMap::new(),
/// #     made_by: Maker::Items.into(),
/// # };
/// // `totalMedia` is a stock (`rollup = "last"`), `newMedia` a flow (`rollup = "sum"`).
/// let first = record(json!({"totalMedia": 10, "newMedia": 2}));
/// let last = record(json!({"totalMedia": 12, "newMedia": 3}));
/// let whole = roll_up(&catalogue, "media", &[Some(&first), Some(&last)]).unwrap().unwrap();
/// assert_eq!(whole.metrics["totalMedia"], 12);
/// assert_eq!(whole.metrics["newMedia"], 5);
///
/// // With a period missing, a sum would be too small: there is none. The last stock is still right.
/// let holed = roll_up(&catalogue, "media", &[None, Some(&last)]).unwrap().unwrap();
/// assert_eq!(holed.coverage, Coverage { present: 1, expected: 2 });
/// assert_eq!(holed.metrics["totalMedia"], 12);
/// assert!(!holed.metrics.contains_key("newMedia"));
/// ```
///
/// # Errors
///
/// [`RollupError`] when a record is damaged.
pub fn roll_up(
    catalogue: &Catalogue,
    type_name: &str,
    finer: &[Option<&Record>],
) -> Result<Option<RolledUp>, RollupError> {
    let mut rolled_up = RolledUp {
        coverage: Coverage { present: finer.iter().flatten().count(), expected: finer.len() },
        ..RolledUp::default()
    };
    if rolled_up.coverage.present == 0 {
        return Ok(None);
    }
    for metric in catalogue.of_type(type_name) {
        let outcome = roll_up_metric(metric, finer)?;
        let is_present = outcome.value.is_some() || outcome.part.is_some();
        if is_present && let Some(mark) = weakest(metric, finer) {
            rolled_up.reconstructed.insert(metric.name.clone(), mark);
        }
        if let Some(value) = outcome.value {
            rolled_up.metrics.insert(metric.name.clone(), value);
        }
        if let Some(part) = outcome.part {
            rolled_up.parts.insert(metric.name.clone(), part);
        }
    }
    Ok(Some(rolled_up))
}

/// The mark of a rolled-up value: the one that claims least of those of the finer values.
fn weakest(metric: &Metric, finer: &[Option<&Record>]) -> Option<Reconstruction> {
    let used = match metric.rollup {
        Rollup::Last => finer.last().map_or(&[][..], std::slice::from_ref),
        Rollup::Sum | Rollup::Merge | Rollup::Weighted => finer,
    };
    let records = used.iter().copied().flatten();
    records.filter_map(|record| record.reconstructed.get(&metric.name).copied()).max()
}

fn roll_up_metric(
    metric: &Metric,
    finer: &[Option<&Record>],
) -> Result<MetricOutcome, RollupError> {
    let name = &metric.name;
    // Only the value of the last period is as of the end of the coarser one.
    if metric.rollup == Rollup::Last {
        let value = finer.last().copied().flatten().and_then(|record| record.metrics.get(name));
        return Ok(MetricOutcome { value: value.cloned(), part: None });
    }
    let Some(records) = finer.iter().copied().collect::<Option<Vec<&Record>>>() else {
        return Ok(MetricOutcome::default());
    };
    let parts = || records.iter().map(|record| record.parts.get(name)).collect::<Option<Vec<_>>>();
    Ok(match metric.rollup {
        Rollup::Last => MetricOutcome::default(),
        Rollup::Sum => {
            let values = records.iter().map(|record| record.metrics.get(name));
            MetricOutcome { value: Amount::sum(values).map(|sum| sum.to_json()), part: None }
        }
        Rollup::Weighted => parts().map_or_else(MetricOutcome::default, |parts| mean(&parts)),
        Rollup::Merge => match parts() {
            Some(parts) => merge(metric, &parts)?,
            None => MetricOutcome::default(),
        },
    })
}

fn mean(parts: &[&Part]) -> MetricOutcome {
    let mut sum = Decimal::ZERO;
    let mut count = 0_u64;
    for part in parts {
        let Part::Average { sum: one, count: of } = part else { return MetricOutcome::default() };
        let total = numbers::parse_decimal(one).and_then(|one| numbers::add(sum, one));
        let (Some(total), Some(values)) = (total, count.checked_add(*of)) else {
            return MetricOutcome::default();
        };
        (sum, count) = (total, values);
    }
    let value = sum.checked_div(Decimal::from(count)).map(numbers::to_json);
    MetricOutcome { value, part: Some(Part::average(sum, count)) }
}

fn merge(metric: &Metric, parts: &[&Part]) -> Result<MetricOutcome, RollupError> {
    let mut distinct: Vec<Distinct> = Vec::new();
    let mut ranking: Option<Ranking> = None;
    for part in parts {
        match part {
            Part::Distinct { .. } => distinct.extend(part.as_distinct()?),
            Part::Targets(targets) => match &mut ranking {
                Some(ranking) => ranking.merge(targets),
                None => ranking = Some(targets.clone()),
            },
            Part::Average { .. } | Part::Stock(_) => return Ok(MetricOutcome::default()),
        }
    }
    if let Some(mut ranking) = ranking {
        let value = list_targets(metric, &ranking);
        ranking.drop_the_tail();
        return Ok(MetricOutcome { value, part: Some(Part::Targets(ranking)) });
    }
    let merged = Distinct::merged(&distinct)?;
    let value = Some(merged.count().into());
    Ok(MetricOutcome { value, part: Some(Part::distinct(&merged)) })
}
