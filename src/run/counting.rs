//! Counting periods from the platform's items, any number of them in the same passes, and storing
//! their records. Mostly hours; days, weeks and months only where their finer records are past
//! retention.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::{
    dynamodb::{Client, Read, text},
    metrics::{
        catalogue::definition::Metric,
        findings::{Malformed, SourceFindings},
        fold::Unreadable,
        maker::Maker,
        numbers,
        ordered::Ordered,
        part::Part,
        period::{Granularity, Period, Span},
        provenance::Occasion,
        record::Record,
        rollup::coarser_than,
    },
    query::{
        plan::plan,
        reading::{Findings, MAXIMUM_CONCURRENCY, read},
    },
    store::{
        record::{RecordError, record_key},
        record_writer::{Change, WriteOutcome, Writer},
        run_state::unsettle,
    },
};

use super::{Engine, PeriodReport};

/// A record as it is stored, or why it cannot be read, by type and period.
pub(super) type StoredRecords = HashMap<(String, Period), Result<Record, RecordError>>;

/// What counting came to.
#[derive(Default)]
pub(super) struct Counted {
    /// One for each period, in the order in which they were asked for.
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

impl Engine {
    /// Counts `periods` from the platform's items and stores the records of `types`. A type that
    /// fails is noted in the reports; an error means that nothing could be done.
    pub(super) async fn count(
        &self,
        writer: &Writer<'_>,
        periods: &[(Period, Occasion)],
        types: &BTreeSet<&str>,
        begun: DateTime<Utc>,
    ) -> Result<Counted, String> {
        let wanted: Vec<Period> = periods.iter().map(|(period, _)| *period).collect();
        // Departures are counted from the stock that the period before found.
        let before = periods
            .iter()
            .filter(|(_, occasion)| *occasion == Occasion::Scheduled)
            .map(|(period, _)| period.previous());
        let read_periods: BTreeSet<Period> = wanted.iter().copied().chain(before).ordered_set();
        let stored = self
            .read_stored(writer.client, &read_periods, types)
            .await
            .map_err(|error| format!("the stored records could not be read: {error}"))?;
        let metrics = self.catalogue.metrics().iter();
        let metrics = metrics.filter(|metric| types.contains(metric.type_name.as_str()));
        let spans: Vec<Span> = wanted.iter().copied().map(Span::from).collect();
        let passes = plan(&self.catalogue, metrics, &spans, &self.table);
        let mut findings = read(writer.client, passes).await;

        let mut reports: HashMap<Period, PeriodReport> =
            wanted.iter().map(|period| (*period, PeriodReport::new(*period))).collect();
        let mut records = Vec::new();
        for name in types {
            let mut metrics = self.catalogue.of_type(name);
            let failure = metrics.find_map(|metric| findings.failures.get(&metric.name)).cloned();
            for (index, &(at, occasion)) in periods.iter().enumerate() {
                if let Some(why) = &failure {
                    if let Some(report) = reports.get_mut(&at) {
                        report.types_failed.insert((*name).to_owned(), why.clone());
                    }
                } else {
                    let record = self.assemble(name, (index, at), begun, &mut findings, &stored);
                    records.push((record, occasion));
                }
            }
        }
        self.store(writer, records, &stored, &mut reports).await;
        let lacks = |at: &Period| {
            reports.get(at).is_some_and(|report| {
                let mut failed = report.types_failed.keys();
                failed.any(|name| !stored.contains_key(&(name.clone(), *at)))
            })
        };
        let holes = wanted.iter().copied().filter(lacks).ordered_set();
        let periods = wanted.iter().filter_map(|period| reports.remove(period)).collect();
        let Findings { malformed, unreadable, sources, .. } = findings;
        Ok(Counted { periods, holes, malformed, unreadable, sources })
    }

    /// Writes records, each on its own, and notes in the reports what became of them.
    ///
    /// What changes a record that coarser periods have been made from marks those as stale, before
    /// it is written. New records come last: while one is missing, its day is not made.
    pub(super) async fn store(
        &self,
        writer: &Writer<'_>,
        records: Vec<(Record, Occasion)>,
        stored: &StoredRecords,
        reports: &mut HashMap<Period, PeriodReport>,
    ) {
        let is_stored =
            |record: &Record| stored.contains_key(&(record.metric_type.clone(), record.period));
        let (changing, new): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|(record, _)| is_stored(record));
        let mut results = Vec::new();
        match self.mark_coarser(writer, &changing, &new, stored).await {
            Ok(()) => results.extend(self.store_all(writer, changing, stored).await),
            Err(why) => results.extend(changing.into_iter().map(|(record, _)| {
                let why = format!("its coarser periods could not be marked as stale: {why}");
                (record.metric_type, record.period, Err(why))
            })),
        }
        results.extend(self.store_all(writer, new, stored).await);
        for (name, at, result) in results {
            if let Some(report) = reports.get_mut(&at) {
                report.note(name, result);
            }
        }
        for report in reports.values_mut() {
            report.sort();
        }
    }

    async fn store_all(
        &self,
        writer: &Writer<'_>,
        records: Vec<(Record, Occasion)>,
        stored: &StoredRecords,
    ) -> Vec<(String, Period, Result<WriteOutcome, String>)> {
        stream::iter(records)
            .map(|(fresh, occasion)| store_one(writer, fresh, occasion, stored))
            .buffer_unordered(MAXIMUM_CONCURRENCY)
            .collect()
            .await
    }

    /// Says that records are about to change, so that no answer made from them before is used again,
    /// and marks the coarser periods of those that will say something else, where those periods are over and do not wait for a record of the same type that comes with them.
    pub(super) async fn mark_coarser(
        &self,
        writer: &Writer<'_>,
        changing: &[(Record, Occasion)],
        new: &[(Record, Occasion)],
        stored: &StoredRecords,
    ) -> Result<(), crate::dynamodb::Error> {
        let now = self.host.now();
        let mut stale: BTreeSet<Period> = BTreeSet::new();
        let mut touched: BTreeSet<Granularity> = BTreeSet::new();
        for (fresh, occasion) in changing {
            let before = stored.get(&(fresh.metric_type.clone(), fresh.period));
            let Some(Ok(before)) = before else { continue };
            // One that is damaged is not written either; writing it says why.
            let Ok(Change::Write(merged)) = writer.changed(fresh, Some(before), *occasion) else {
                continue;
            };
            touched.insert(fresh.period.granularity());
            if merged.metrics == before.metrics
                && merged.parts == before.parts
                && merged.reconstructed == before.reconstructed
            {
                continue;
            }
            for coarser in coarser_than(fresh.period.granularity()) {
                let period = Period::containing(coarser, fresh.period.start());
                let waits = new.iter().any(|(other, _)| {
                    other.metric_type == fresh.metric_type && period.contains(other.period.start())
                });
                if period.end() < now && !waits {
                    stale.insert(period);
                }
            }
        }
        for (fresh, _) in new {
            stale.extend(writer.marks.due_above(fresh.period));
        }
        for granularity in touched {
            unsettle(writer.client, &self.table, granularity, now).await?;
        }
        writer.marks.set(writer.client, &self.table, stale, now).await
    }

    /// The records of `types` in `periods` as they are stored, read consistently, a hundred in one
    /// request.
    pub(super) async fn read_stored(
        &self,
        client: &Client,
        periods: &BTreeSet<Period>,
        types: &BTreeSet<&str>,
    ) -> Result<StoredRecords, crate::dynamodb::Error> {
        // By the key itself, which is there also where nothing else can be read.
        let mut wanted: HashMap<(String, String), (String, Period)> = HashMap::new();
        let mut keys = Vec::new();
        for name in types {
            for period in periods {
                let key = record_key(name, *period);
                if let (Some(partition), Some(sort)) = (text(&key, "PK"), text(&key, "SK")) {
                    let parts = (partition.to_owned(), sort.to_owned());
                    wanted.insert(parts, ((*name).to_owned(), *period));
                }
                keys.push(key);
            }
        }
        let items = client.batch_get(&self.table, keys, Read::Consistent).await?;
        Ok(items
            .into_iter()
            .filter_map(|item| {
                let parts = (text(&item, "PK")?.to_owned(), text(&item, "SK")?.to_owned());
                Some((wanted.get(&parts)?.clone(), Record::from_item(item)))
            })
            .collect())
    }

    /// The record of one type and period, which has this place among the spans, from what was read.
    fn assemble(
        &self,
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
        for metric in self.catalogue.of_type(name) {
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
        for metric in self.catalogue.of_type(name) {
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
}

async fn store_one(
    writer: &Writer<'_>,
    fresh: Record,
    occasion: Occasion,
    stored: &StoredRecords,
) -> (String, Period, Result<WriteOutcome, String>) {
    let key = (fresh.metric_type.clone(), fresh.period);
    let result = match stored.get(&key).cloned().transpose() {
        // A record that we cannot read may hold what we would destroy.
        Err(error) => Err(error.to_string()),
        Ok(before) => {
            writer.write(&fresh, before, occasion).await.map_err(|error| error.to_string())
        }
    };
    (key.0, key.1, result)
}

/// The number in one of the record's metrics.
fn number(record: &Record, metric: &str) -> Option<Decimal> {
    record.metrics.get(metric).and_then(numbers::from_json)
}

/// How many left in the period: the stock before it, plus the arrivals, minus the stock at its end,
/// never below zero. Absent where the stock before was not observed. Only the period's own run stores
/// it, which observes the stock at its end.
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
