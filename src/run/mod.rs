//! The scheduled runs: from an event's time to the records of its period.
//!
//! A run can be repeated: which period it works on follows from the event's scheduled time, what it
//! writes from the table; a newer calculation wins, and a lease keeps two runs of one hour apart.
//! Hours are counted from the platform's items (here), coarser periods are rolled up (`rolling`).

mod lease;
mod reading;
mod report;
mod rolling;
mod writing;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream,
};

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::{
    catalogue::{
        Catalogue,
        definition::{Measure, Metric},
    },
    dynamodb::{Client, Read, text},
    host::{Severity, SharedHost},
    numbers,
    part::Part,
    period::{Granularity, Period},
    plan::plan,
    record::{Record, RecordError, record_key},
};
pub use lease::LEASE;
use lease::Lease;
pub use reading::MAXIMUM_CONCURRENCY;
use reading::{Findings, read};
pub use report::{PeriodReport, Report, Status};
use writing::{Occasion, WriteOutcome, write};

/// How many hours before its own a run calculates again: an item may reach an index a moment after
/// it was written, and so after its hour was counted.
const TRAILING_HOURS: usize = 1;

/// Computes and stores records.
#[derive(Clone)]
pub struct Engine {
    client: Client,
    host: SharedHost,
    table: String,
    catalogue: Catalogue,
}

/// A record as it is stored, or why it cannot be read, by type and period.
type StoredRecords = HashMap<(String, Period), Result<Record, RecordError>>;

impl Engine {
    /// An engine on `table`.
    #[must_use]
    pub fn new(client: Client, host: SharedHost, table: String, catalogue: Catalogue) -> Self {
        Self { client, host, table, catalogue }
    }

    /// Does the work of the event of `granularity` scheduled for `scheduled`: the period before that
    /// time. Logs one line that says what was done, and returns it.
    pub async fn run(&self, granularity: Granularity, scheduled: DateTime<Utc>) -> Report {
        let period = Period::containing(granularity, scheduled).previous();
        let begun = self.host.now();
        let client = self.client.with_own_meter();
        let mut report = Report {
            event: "run",
            run_id: String::new(),
            granularity: granularity.name(),
            status: Status::Failed,
            period: PeriodReport::new(period),
            recalculated: Vec::new(),
            malformed: BTreeMap::new(),
            problems: Vec::new(),
            usage: client.meter().total(),
            milliseconds: 0,
        };
        match self.host.random() {
            Err(error) => self.fail_all(&mut report, &error.to_string()),
            Ok(random) => {
                report.run_id = format!("{random:032x}");
                if granularity == Granularity::Hourly {
                    self.run_hour(&client, period, begun, &mut report).await;
                } else {
                    self.roll_up(&client, period, begun, &mut report).await;
                }
            }
        }
        report.usage = client.meter().total();
        report.milliseconds = (self.host.now() - begun).num_milliseconds();
        self.log(&report);
        report
    }

    fn log(&self, report: &Report) {
        let healthy = matches!(report.status, Status::Complete | Status::Held)
            && report.problems.is_empty()
            && report.recalculated.iter().all(|period| period.types_failed.is_empty());
        let severity = if healthy { Severity::Info } else { Severity::Error };
        match serde_json::to_value(report) {
            Ok(line) => self.host.log(severity, &line),
            Err(error) => self.host.log(
                Severity::Error,
                &serde_json::json!({"event": "run", "problems": [error.to_string()]}),
            ),
        }
    }

    /// Counts the hour, and again the ones before it, under the hour's lease.
    async fn run_hour(
        &self,
        client: &Client,
        period: Period,
        begun: DateTime<Utc>,
        report: &mut Report,
    ) {
        let holder = report.run_id.clone();
        let acquired = Lease::acquire(client, self.host.clone(), &self.table, period, holder).await;
        let lease = match acquired {
            Ok(Some(lease)) => lease,
            Ok(None) => {
                report.status = Status::Held;
                return;
            }
            Err(error) => {
                return self.fail_all(report, &format!("the lease could not be taken: {error}"));
            }
        };
        let lost = {
            let work = Box::pin(self.count_with_trailing(client, period, begun, report));
            match select(work, Box::pin(lease.keep())).await {
                Either::Left(((), _)) => None,
                Either::Right((lost, _)) => lost.err(),
            }
        };
        if let Some(lost) = lost {
            // Whatever was not written by now is the other run's.
            self.fail_all(report, &lost.to_string());
        } else if let Err(error) = lease.release().await {
            report.problems.push(format!(
                "the lease could not be given back and runs out in {} s: {error}",
                LEASE.as_secs()
            ));
        }
    }

    /// Marks every type that is not settled as failed.
    fn fail_all(&self, report: &mut Report, why: &str) {
        let period = &mut report.period;
        for name in self.catalogue.recorded_types() {
            let settled =
                [&period.types_written, &period.types_unchanged, &period.types_superseded];
            if !settled.iter().any(|types| types.iter().any(|settled| settled == name)) {
                period.types_failed.entry(name.to_owned()).or_insert_with(|| why.to_owned());
            }
        }
        report.status = status(period);
    }

    async fn count_with_trailing(
        &self,
        client: &Client,
        period: Period,
        begun: DateTime<Utc>,
        report: &mut Report,
    ) {
        let mut hours = vec![(period, Occasion::Scheduled)];
        let trailing =
            std::iter::successors(Some(period.previous()), |period| Some(period.previous()));
        hours.extend(trailing.take(TRAILING_HOURS).map(|hour| (hour, Occasion::Recalculation)));
        match self.count(client, &hours, begun).await {
            Err(why) => self.fail_all(report, &why),
            Ok(mut counted) => {
                report.malformed = counted.malformed;
                report.period = counted.periods.remove(0);
                report.recalculated = counted.periods;
                report.status = status(&report.period);
            }
        }
    }

    /// Counts `hours` from the platform's items, all of them in the same passes, and stores their
    /// records. The reports are in the order of the hours.
    async fn count(
        &self,
        client: &Client,
        hours: &[(Period, Occasion)],
        begun: DateTime<Utc>,
    ) -> Result<Counted, String> {
        let periods: Vec<Period> = hours.iter().map(|(hour, _)| *hour).collect();
        let stored = self
            .read_stored(client, &periods)
            .await
            .map_err(|error| format!("the stored records could not be read: {error}"))?;
        let passes = plan(&self.catalogue, self.catalogue.metrics(), &periods, &self.table);
        let mut findings = read(client, passes).await;

        let mut reports: HashMap<Period, PeriodReport> =
            periods.iter().map(|period| (*period, PeriodReport::new(*period))).collect();
        let mut records = Vec::new();
        for name in self.catalogue.recorded_types() {
            let mut metrics = self.catalogue.of_type(name);
            let failure = metrics.find_map(|metric| findings.failures.get(&metric.name)).cloned();
            for &(at, occasion) in hours {
                if let Some(why) = &failure {
                    if let Some(report) = reports.get_mut(&at) {
                        report.types_failed.insert(name.to_owned(), why.clone());
                    }
                } else {
                    let record = self.assemble(name, at, begun, &mut findings, &stored);
                    records.push((record, occasion));
                }
            }
        }
        self.store(client, records, &stored, &mut reports).await;
        let periods = periods.iter().filter_map(|period| reports.remove(period)).collect();
        Ok(Counted { periods, malformed: findings.malformed })
    }

    /// Writes records, each on its own, and notes in the reports what became of them.
    async fn store(
        &self,
        client: &Client,
        records: Vec<(Record, Occasion)>,
        stored: &StoredRecords,
        reports: &mut HashMap<Period, PeriodReport>,
    ) {
        let mut writes = stream::iter(records)
            .map(|(fresh, occasion)| self.store_one(client, fresh, occasion, stored))
            .buffer_unordered(MAXIMUM_CONCURRENCY);
        while let Some((name, at, result)) = writes.next().await {
            if let Some(report) = reports.get_mut(&at) {
                report.note(name, result);
            }
        }
        drop(writes);
        for report in reports.values_mut() {
            report.sort();
        }
    }

    /// The records of all types in `periods` as they are stored, read consistently, a hundred in one
    /// request.
    async fn read_stored(
        &self,
        client: &Client,
        periods: &[Period],
    ) -> Result<StoredRecords, crate::dynamodb::Error> {
        let keys = self
            .catalogue
            .recorded_types()
            .flat_map(|name| periods.iter().map(move |period| record_key(name, *period)))
            .collect();
        let items = client.batch_get(&self.table, keys, Read::Consistent).await?;
        // By the key itself, which is there also where nothing else can be read.
        let keys: HashMap<(String, String), (String, Period)> = self
            .catalogue
            .recorded_types()
            .flat_map(|name| {
                periods.iter().filter_map(move |period| {
                    let key = record_key(name, *period);
                    let parts = (text(&key, "PK")?.to_owned(), text(&key, "SK")?.to_owned());
                    Some((parts, (name.to_owned(), *period)))
                })
            })
            .collect();
        Ok(items
            .into_iter()
            .filter_map(|item| {
                let parts = (text(&item, "PK")?.to_owned(), text(&item, "SK")?.to_owned());
                Some((keys.get(&parts)?.clone(), Record::from_item(item)))
            })
            .collect())
    }

    /// The record of one type and period from what was read.
    fn assemble(
        &self,
        name: &str,
        period: Period,
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
        };
        for metric in self.catalogue.of_type(name) {
            let outcomes = findings.outcomes.get_mut(&metric.name).into_iter().flatten();
            for (_, outcome) in outcomes.filter(|(at, _)| *at == period) {
                if let Some(value) = outcome.value.take() {
                    record.metrics.insert(metric.name.clone(), value);
                }
                if let Some(part) = outcome.part.take() {
                    record.parts.insert(metric.name.clone(), part);
                }
            }
        }
        // These follow from the others, so they come last.
        for metric in self.catalogue.of_type(name) {
            if metric.measure == Measure::Departures {
                let before = stored.get(&(name.to_owned(), period.previous()));
                let before = before.and_then(|stored| stored.as_ref().ok());
                if let Some(departures) = departures(metric, &record, before) {
                    record.metrics.insert(metric.name.clone(), departures);
                }
                let stock = number(&record, metric.stock.as_ref()).map(|stock| stock.to_string());
                record.parts.insert(metric.name.clone(), Part::Stock(stock));
            }
        }
        record
    }

    async fn store_one(
        &self,
        client: &Client,
        fresh: Record,
        occasion: Occasion,
        stored: &StoredRecords,
    ) -> (String, Period, Result<WriteOutcome, String>) {
        let key = (fresh.metric_type.clone(), fresh.period);
        let result = match stored.get(&key).cloned().transpose() {
            // A record that we cannot read may hold what we would destroy.
            Err(error) => Err(error.to_string()),
            Ok(before) => write(client, &self.table, &self.catalogue, &fresh, before, occasion)
                .await
                .map_err(|error| error.to_string()),
        };
        (key.0, key.1, result)
    }
}

/// What counting hours came to.
struct Counted {
    periods: Vec<PeriodReport>,
    malformed: BTreeMap<String, u64>,
}

fn status(period: &PeriodReport) -> Status {
    let none_written = period.types_written.is_empty() && period.types_unchanged.is_empty();
    match (period.types_failed.is_empty(), none_written) {
        (true, _) => Status::Complete,
        (false, false) => Status::Partial,
        (false, true) => Status::Failed,
    }
}

/// The number in one of the record's metrics.
fn number(record: &Record, metric: Option<&String>) -> Option<Decimal> {
    record.metrics.get(metric?).and_then(numbers::from_json)
}

/// How many left in the period: the stock before it, plus the arrivals, minus the stock at its end,
/// never below zero. Absent where there is no stock before, as the run of that period found it.
fn departures(metric: &Metric, record: &Record, before: Option<&Record>) -> Option<Json> {
    let before = before?;
    let stock_before = match before.parts.get(&metric.name) {
        Some(Part::Stock(stock)) => numbers::parse_decimal(stock.as_ref()?)?,
        _ => number(before, metric.stock.as_ref())?,
    };
    let arrivals = number(record, metric.arrivals.as_ref())?;
    let left = stock_before + arrivals - number(record, metric.stock.as_ref())?;
    Some(numbers::to_json(left.max(Decimal::ZERO)))
}
