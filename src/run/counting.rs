//! Counting periods from the platform's items, any number of them in the same passes, and storing
//! their records. Mostly hours; days, weeks and months only where their finer records are past
//! retention.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::{
    metrics::{
        catalogue::{Catalogue, definition::Metric},
        findings::{Malformed, SourceFindings},
        fold::Unreadable,
        maker::Maker,
        numbers,
        ordered::Ordered,
        part::Part,
        period::{Granularity, Period, Span},
        provenance::Occasion,
        record::Record,
    },
    query::{
        plan::plan,
        reading::{Findings, read},
    },
    store::record_writer::Writer,
};

use super::{
    context::Context,
    problem::{ReadError, TypeError},
    report::PeriodReport,
    storing::{StoredRecords, read_stored, store},
};

/// What counting periods from the platform's items came to.
#[derive(Default)]
pub(super) struct CountedPeriods {
    /// One for each period, in the order in which they were requested.
    pub(super) periods: Vec<PeriodReport>,
    /// Periods that still lack a type.
    pub(super) holes: BTreeSet<Period>,
    /// Items left out, by metric.
    pub(super) malformed: BTreeMap<String, Malformed>,
    /// Metrics without a value in some periods because no item in them could be read.
    pub(super) unreadable: BTreeMap<String, Unreadable>,
    /// What was read of each source.
    pub(super) sources: BTreeMap<String, SourceFindings>,
}

impl CountedPeriods {
    /// How many items were left out, by metric.
    pub(super) fn malformed_items(&self) -> BTreeMap<String, u64> {
        self.malformed.iter().map(|(name, rows)| (name.clone(), rows.malformed)).ordered_map()
    }
}

/// Counts `periods` from the platform's items and stores the records of `types`. A type that fails is
/// noted in the reports; an error means that nothing could be done.
pub(super) async fn count(
    context: &Context<'_>,
    writer: &Writer<'_>,
    periods: &[(Period, Occasion)],
    types: &BTreeSet<&str>,
    begun: DateTime<Utc>,
) -> Result<CountedPeriods, ReadError> {
    let wanted: Vec<Period> = periods.iter().map(|(period, _)| *period).collect();
    // Departures are counted from the stock that the period before found.
    let before = periods
        .iter()
        .filter(|(_, occasion)| *occasion == Occasion::Scheduled)
        .map(|(period, _)| period.previous());
    let read_periods: BTreeSet<Period> = wanted.iter().copied().chain(before).ordered_set();
    let stored = read_stored(context, &read_periods, types).await?;
    let metrics = context.catalogue.metrics().iter();
    let metrics = metrics.filter(|metric| types.contains(metric.type_name.as_str()));
    let spans: Vec<Span> = wanted.iter().copied().map(Span::from).collect();
    let passes = plan(context.catalogue, metrics, &spans, context.table);
    let mut findings = read(writer.client, passes).await;

    let mut reports: HashMap<Period, PeriodReport> =
        wanted.iter().map(|period| (*period, PeriodReport::new(*period))).collect();
    let mut records = Vec::new();
    for name in types {
        let mut metrics = context.catalogue.of_type(name);
        if let Some(why) = metrics.find_map(|metric| findings.failures.get(&metric.name)) {
            for report in reports.values_mut() {
                report.note((*name).to_owned(), Err(TypeError::Items(why.clone())));
            }
            continue;
        }
        for (index, &(at, occasion)) in periods.iter().enumerate() {
            let place = (index, at);
            let record = assemble(context.catalogue, name, place, begun, &mut findings, &stored);
            records.push((record, occasion));
        }
    }
    for written in store(writer, records, &stored).await {
        if let Some(report) = reports.get_mut(&written.period) {
            report.note(written.type_name, written.result);
        }
    }
    let lacks = |at: &Period| {
        reports.get(at).is_some_and(|report| {
            let mut failed = report.types_failed.keys();
            failed.any(|name| !stored.contains_key(&(name.clone(), *at)))
        })
    };
    let holes = wanted.iter().copied().filter(lacks).ordered_set();
    let periods = wanted
        .iter()
        .filter_map(|period| reports.remove(period))
        .map(PeriodReport::sorted)
        .collect();
    let Findings { malformed, unreadable, sources, .. } = findings;
    Ok(CountedPeriods { periods, holes, malformed, unreadable, sources })
}

/// The record of one type and period, which has this place among the spans, from what was read.
fn assemble(
    catalogue: &Catalogue,
    name: &str,
    (index, period): (usize, Period),
    calculated_at: DateTime<Utc>,
    findings: &mut Findings,
    stored: &StoredRecords,
) -> Record {
    let mut record = Record {
        metric_type: name.to_owned(),
        period,
        metrics: serde_json::Map::new(),
        parts: BTreeMap::new(),
        calculated_at,
        coverage: None,
        reconstructed: BTreeMap::new(),
        made_by: Maker::Items.into(),
    };
    for metric in catalogue.of_type(name) {
        let outcomes = findings.outcomes.get_mut(&metric.name);
        if let Some(outcome) = outcomes.and_then(|outcomes| outcomes.get_mut(index)) {
            if let Some(value) = outcome.value.take() {
                record.metrics.insert(metric.name.clone(), value);
            }
            if let Some(part) = outcome.part.take() {
                record.parts.insert(metric.name.clone(), part);
            }
        }
    }
    // These follow from the others, so they come last. Coarser periods add theirs up.
    for metric in catalogue.of_type(name) {
        if metric.departures().is_some() && period.granularity() == Granularity::Hourly {
            let before = stored.get(&(name.to_owned(), period.previous()));
            let before = before.and_then(|stored| stored.as_ref().ok());
            if let Some(departures) = departures(metric, &record, before) {
                record.metrics.insert(metric.name.clone(), departures);
            }
        }
    }
    record
}

/// The number in one of the record's metrics.
fn number(record: &Record, metric: &str) -> Option<Decimal> {
    record.metrics.get(metric).and_then(numbers::from_json)
}

/// How many left in the period: the stock before it, plus the arrivals, minus the stock at its end,
/// never below zero. Absent if the stock before was not observed. Only the scheduled run of the period
/// stores it, because it observes the stock at the end.
fn departures(metric: &Metric, record: &Record, before: Option<&Record>) -> Option<Json> {
    let before = before?;
    let (stock, arrivals) = metric.departures()?;
    let stock_before = match before.parts.get(&metric.name) {
        Some(Part::Stock(stock)) => numbers::parse_decimal(stock.as_ref()?)?,
        _ if before.reconstructed.contains_key(stock) => return None,
        _ => number(before, stock)?,
    };
    let most = numbers::add(stock_before, number(record, arrivals)?)?;
    let left = numbers::add(most, -number(record, stock)?)?;
    Some(numbers::to_json(left.max(Decimal::ZERO)))
}
