//! The data points of an answer, made one page of records after the other: a record becomes text as
//! soon as its period is complete, and is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::metrics::{
    catalogue::Catalogue,
    ordered::Ordered,
    period::{Period, format_instant},
    record::{Coverage, Reconstructed, Record},
    summary::Summariser,
};

use super::{
    chunks::Chunks, error::ApiError, metrics::MetricsRequest, range::or_coarser,
    running::RunningRecord,
};

/// The most records in one answer, of all types together.
pub const MAXIMUM_RECORDS: usize = 5000;

/// The most bytes of data points in one answer.
pub const MAXIMUM_BYTES: usize = 10_000_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataPoint {
    timestamp: String,
    end_timestamp: String,
    metrics: Map<String, Json>,
    calculated_at: String,
    /// Where finer periods were missing: how many were there.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
    /// A finer record has changed since; a later run refreshes this one.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// Metrics whose values were computed later, from a table that has forgotten what was deleted or
    /// changed since: each with what its value is.
    #[serde(skip_serializing_if = "Reconstructed::is_empty")]
    reconstructed: Reconstructed,
    /// Of the period that is still running.
    #[serde(flatten)]
    running: Option<Running>,
}

/// What the data point of the running period says besides.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    /// Always `false`.
    complete: bool,
    /// Everything before this instant is in it.
    as_of: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// The points of one type.
struct Series<'run> {
    metric_type: &'run str,
    /// The data points as JSON, separated by commas.
    points: Chunks,
    /// The periods of the points, newest first.
    present: Vec<Period>,
    summary: Summariser<'run>,
}

/// What has been read of an answer.
pub struct Collection<'run> {
    request: &'run MetricsRequest,
    catalogue: &'run Catalogue,
    /// The periods whose finer records have changed, and when that was noted last.
    stale: BTreeMap<Period, DateTime<Utc>>,
    series: Vec<Series<'run>>,
    /// The records of the period that is being read, each with its place in `series`. Whole periods
    /// are taken, so that nothing is missing from a page that is on the next one.
    held: Vec<(usize, Record)>,
    records: usize,
    bytes: usize,
    /// The first period that was not taken, because the answer would be too large.
    beyond: Option<Period>,
    has_stale: bool,
}

/// An answer that is complete.
pub struct Collected {
    /// What stands in the answer's `data`, after its first fields.
    pub text: Chunks,
    /// Whether no period is missing, and none is stale.
    pub is_whole: bool,
}

impl DataPoint {
    fn new(mut record: Record, request: &MetricsRequest, is_stale: bool) -> Self {
        if let Some(only) = &request.only {
            record.metrics.retain(|name, _| only.contains(name));
        }
        // A mark of a value that is not in the data point says nothing.
        record.reconstructed.retain(|name, _| record.metrics.contains_key(name));
        Self {
            timestamp: format_instant(record.period.start()),
            end_timestamp: format_instant(record.period.end()),
            metrics: record.metrics,
            calculated_at: format_instant(record.calculated_at),
            coverage: record.coverage.filter(|Coverage { present, expected }| present < expected),
            stale: is_stale,
            reconstructed: record.reconstructed,
            running: None,
        }
    }
}

impl<'run> Collection<'run> {
    /// An answer to `request` without any data point; the periods `stale` are marked in it.
    pub fn new(
        request: &'run MetricsRequest,
        catalogue: &'run Catalogue,
        stale: BTreeMap<Period, DateTime<Utc>>,
    ) -> Self {
        let one = request.metric_type.as_ref().map(std::slice::from_ref);
        let types = one.unwrap_or_else(|| catalogue.types());
        let series = types
            .iter()
            .map(|metric_type| Series {
                metric_type,
                points: Chunks::default(),
                present: Vec::new(),
                summary: Summariser::new(catalogue, metric_type),
            })
            .collect();
        let held = Vec::new();
        Self {
            request,
            catalogue,
            stale,
            series,
            held,
            records: 0,
            bytes: 0,
            beyond: None,
            has_stale: false,
        }
    }

    /// Takes what is known of the running period, before any record. No summary takes it into
    /// account, because it is not whole.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as JSON.
    pub fn take_running(&mut self, known: Vec<RunningRecord>) -> Result<(), ApiError> {
        for RunningRecord { record, as_of } in known {
            let series = self.series.iter_mut().find(|one| one.metric_type == record.metric_type);
            let Some(series) = series else { continue };
            let running = Some(Running { complete: false, as_of: format_instant(as_of) });
            let point = DataPoint { running, ..DataPoint::new(record, self.request, false) };
            series.points.json(&point)?;
        }
        Ok(())
    }

    /// Takes the next record; they come newest first. Breaks when the answer is full.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as JSON.
    pub fn take(&mut self, record: Record) -> Result<ControlFlow<()>, ApiError> {
        // A record of a type that the catalogue no longer has.
        let Some(place) = self.series.iter().position(|one| one.metric_type == record.metric_type)
        else {
            return Ok(ControlFlow::Continue(()));
        };
        let is_next_period =
            self.held.first().is_some_and(|(_, held)| held.period != record.period);
        if is_next_period && self.flush()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.held.push((place, record));
        Ok(ControlFlow::Continue(()))
    }

    /// Takes the records of the period that is complete, if they fit. The first period always does.
    fn flush(&mut self) -> Result<ControlFlow<()>, ApiError> {
        let held = std::mem::take(&mut self.held);
        let Some(period) = held.first().map(|(_, record)| record.period) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut points = Vec::with_capacity(held.len());
        for (place, record) in held {
            // A record that was computed after the mark has what was changed.
            let marked_at = self.stale.get(&period);
            let is_stale = marked_at.is_some_and(|at| record.calculated_at <= *at);
            self.has_stale |= is_stale;
            let point = DataPoint::new(record, self.request, is_stale);
            let mut text = Chunks::default();
            text.json(&point)?;
            points.push((place, point, text));
        }
        let records = self.records + points.len();
        let bytes = self.bytes + points.iter().map(|(.., text)| text.len()).sum::<usize>();
        if self.records > 0 && (records > self.request.most_records() || bytes > MAXIMUM_BYTES) {
            self.beyond = Some(period);
            return Ok(ControlFlow::Break(()));
        }
        (self.records, self.bytes) = (records, bytes);
        for (place, point, text) in points {
            let series = &mut self.series[place];
            if !series.points.is_empty() {
                series.points.text(",");
            }
            series.points.append(text);
            series.present.push(period);
            series.summary.add(&point.metrics);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The whole answer. `begin` is where the time of the hours begins; before that nothing is
    /// missing.
    ///
    /// # Errors
    ///
    /// When the records of the range are more than one answer holds and no page of them was asked
    /// for, or a value cannot be written as JSON.
    pub fn finish(
        mut self,
        begin: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Collected, ApiError> {
        if self.beyond.is_none() {
            let _ = self.flush()?;
        }
        if let Some(beyond) = self.beyond
            && self.request.page.is_none()
        {
            return Err(too_large(beyond));
        }
        // Before the first hour was counted, and before their end, periods are not due.
        let due: Vec<Period> = self
            .request
            .periods
            .iter()
            .copied()
            .take_while(|period| self.beyond.is_none_or(|beyond| *period > beyond))
            .filter(|period| period.end() < now && begin.is_none_or(|begin| period.end() >= begin))
            .collect();
        let mut text = Chunks::default();
        if self.request.page.is_some() {
            text.text(",\"nextCursor\":");
            text.json(&self.beyond.map(|beyond| self.request.cursor_at(beyond)))?;
        }
        let has_stale = self.has_stale;
        let is_whole = if self.request.metric_type.is_some() {
            let mut missing = BTreeSet::new();
            for series in self.series {
                text.text(",");
                series.write(&mut text, self.catalogue, &due, &mut missing)?;
            }
            missing.is_empty()
        } else {
            self.write_all(&due, &mut text)?
        };
        Ok(Collected { text, is_whole: is_whole && !has_stale })
    }

    /// Writes all types; answers whether no period is missing.
    fn write_all(self, due: &[Period], text: &mut Chunks) -> Result<bool, ApiError> {
        let mut missing = BTreeSet::new();
        text.text(",\"allMetrics\":[");
        for (place, series) in self.series.into_iter().enumerate() {
            if place > 0 {
                text.text(",");
            }
            text.text("{\"metricType\":");
            text.json(&series.metric_type)?;
            text.text(",");
            series.write(text, self.catalogue, due, &mut missing)?;
            text.text("}");
        }
        text.text("],\"missing\":");
        write_starts(text, missing.iter().rev())?;
        text.text(",\"combinedSummary\":");
        text.json(&json!({
            "totalDataPoints": self.records, "metricTypes": self.catalogue.types(),
        }))?;
        Ok(missing.is_empty())
    }
}

impl Series<'_> {
    /// Writes the fields of the series. Adds to `missing` the periods `due` without a record.
    fn write(
        self,
        text: &mut Chunks,
        catalogue: &Catalogue,
        due: &[Period],
        missing: &mut BTreeSet<Period>,
    ) -> Result<(), ApiError> {
        text.text("\"dataPoints\":[");
        text.append(self.points);
        text.text("],\"missing\":");
        // A type that nothing is recorded of has no holes.
        let is_recorded = catalogue.of_type(self.metric_type).next().is_some();
        let present: BTreeSet<Period> = self.present.into_iter().ordered_set();
        let lacking: Vec<&Period> =
            due.iter().filter(|period| is_recorded && !present.contains(*period)).collect();
        write_starts(text, lacking.iter().copied())?;
        missing.extend(lacking);
        text.text(",\"summary\":");
        text.json(&self.summary.finish())
    }
}

/// Writes a list of the starts of `periods`.
fn write_starts<'period>(
    text: &mut Chunks,
    periods: impl Iterator<Item = &'period Period>,
) -> Result<(), ApiError> {
    text.text("[");
    for (place, period) in periods.enumerate() {
        if place > 0 {
            text.text(",");
        }
        text.json(&format_instant(period.start()))?;
    }
    text.text("]");
    Ok(())
}

/// The error of a range of which `beyond` is the first period, from the newest on, that one answer
/// does not hold.
fn too_large(beyond: Period) -> ApiError {
    let earliest = format_instant(beyond.next().start());
    let or = or_coarser(beyond.granularity());
    ApiError::bad_request(
        "Range too large",
        format!(
            "One answer holds at most {MAXIMUM_RECORDS} records, of all types together, and \
             {MAXIMUM_BYTES} bytes of data points; with this endDate use the startDate {earliest} \
             or a later one{or}, or set limit and read the range page by page"
        ),
        json!({
            "maximumRecords": MAXIMUM_RECORDS,
            "maximumBytes": MAXIMUM_BYTES,
            "earliestStartDate": earliest,
        }),
    )
}
