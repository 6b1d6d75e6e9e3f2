//! Rolling up: a coarser period's record from the records of the finer periods in it.
//!
//! Days are made from hours, weeks and months from days. A metric that would be short because a
//! finer period lacks it is absent: there is never a sum over holes.
//!
//! Source: the platform's contract, section 3, "Rollup".

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

/// The finer granularity that `granularity` is made from; hours are made from the table.
#[must_use]
pub fn made_from(granularity: Granularity) -> Option<Granularity> {
    match granularity {
        Granularity::Hourly => None,
        Granularity::Daily => Some(Granularity::Hourly),
        // A week lies across months, so both are made from days.
        Granularity::Weekly | Granularity::Monthly => Some(Granularity::Daily),
    }
}

/// The coarser granularities that are made from `granularity`.
#[must_use]
pub fn made_into(granularity: Granularity) -> &'static [Granularity] {
    match granularity {
        Granularity::Hourly => &[Granularity::Daily],
        Granularity::Daily => &[Granularity::Weekly, Granularity::Monthly],
        Granularity::Weekly | Granularity::Monthly => &[],
    }
}

/// All coarser granularities whose records change with those of `granularity`, finest first.
pub fn coarser_than(granularity: Granularity) -> impl Iterator<Item = Granularity> {
    let direct = made_into(granularity);
    direct
        .iter()
        .flat_map(|coarser| [*coarser].into_iter().chain(made_into(*coarser).iter().copied()))
}

/// The finer periods that make up `period`, earliest first; none for an hour.
#[must_use]
pub fn finer_periods(period: Period) -> Vec<Period> {
    let Some(finer) = made_from(period.granularity()) else { return Vec::new() };
    let first = Period::containing(finer, period.start());
    std::iter::successors(Some(first), |finer| Some(finer.next()))
        .take_while(|finer| finer.start() <= period.end())
        .collect()
}

/// A finer record's parts cannot be merged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RollupError {
    /// The parts are damaged.
    #[error(transparent)]
    Parts(#[from] PartError),
    /// The sketches cannot be merged.
    #[error(transparent)]
    Sketch(#[from] SketchError),
}

/// What finer records come to, for one metric type.
#[derive(Debug, Clone, Default)]
pub struct RolledUp {
    /// The metrics that could be made.
    pub metrics: Map<String, Json>,
    /// What still coarser periods need.
    pub parts: Parts,
    /// Which of them are made from reconstructed values.
    pub reconstructed: Reconstructed,
    /// How many of the finer records were there.
    pub coverage: Coverage,
}

/// Rolls up the records of one type: one entry for each finer period, earliest first, `None` where
/// there is no record. `None` in return means that there is nothing to write.
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
        let is_there = outcome.value.is_some() || outcome.part.is_some();
        if is_there && let Some(mark) = weakest(metric, finer) {
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

/// What is known of the values that the metric is made from: the weakest claim of all of them.
fn weakest(metric: &Metric, finer: &[Option<&Record>]) -> Option<Reconstruction> {
    let made_from = match metric.rollup {
        Rollup::Last => finer.last().map_or(&[][..], std::slice::from_ref),
        Rollup::Sum | Rollup::Merge | Rollup::Weighted => finer,
    };
    let records = made_from.iter().copied().flatten();
    records.filter_map(|record| record.reconstructed.get(&metric.name).copied()).max()
}

fn roll_up_metric(
    metric: &Metric,
    finer: &[Option<&Record>],
) -> Result<MetricOutcome, RollupError> {
    let name = &metric.name;
    // The last period's own value: an earlier one would not be as of the end.
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
