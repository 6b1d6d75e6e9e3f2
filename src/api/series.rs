//! The data points of a response. They are made page by page while records are read: the records of a
//! period become text as soon as all of them are read, and are dropped.

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

/// The most records in one response, of all types together.
pub const MAXIMUM_RECORDS: usize = 5000;

/// The most bytes of data points in one response.
pub const MAXIMUM_BYTES: usize = 10_000_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataPoint {
    timestamp: String,
    end_timestamp: String,
    metrics: Map<String, Json>,
    calculated_at: String,
    /// If finer periods were missing: how many were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
    /// A finer record has changed since this one was computed; a later run refreshes it.
    #[serde(skip_serializing_if = "is_false")]
    stale: bool,
    /// Metrics whose values were computed later, from a table that no longer has what was deleted or
    /// changed since, each with its mark.
    #[serde(skip_serializing_if = "Reconstructed::is_empty")]
    reconstructed: Reconstructed,
    /// Of the running period only.
    #[serde(flatten)]
    running: Option<Running>,
}

/// Further fields of the data point of the running period.
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

/// The data points of a response that is being made.
pub struct Collection<'run> {
    request: &'run MetricsRequest,
    catalogue: &'run Catalogue,
    /// The stale periods, each with when it was marked last.
    stale: BTreeMap<Period, DateTime<Utc>>,
    series: Vec<Series<'run>>,
    /// The records of the period that is being read, each with its index in `series`. A page has whole
    /// periods only: a record on the next page must not look missing on this one.
    held: Vec<(usize, Record)>,
    records: usize,
    bytes: usize,
    /// The first period that was not added, because the response would be too large.
    beyond: Option<Period>,
    has_stale: bool,
}

/// All data points of a response.
pub struct Collected {
    /// The last fields of `data`.
    pub text: Chunks,
    /// Whether no period is missing, and none is stale.
    pub is_whole: bool,
}

impl DataPoint {
    fn new(mut record: Record, request: &MetricsRequest, is_stale: bool) -> Self {
        if let Some(only) = &request.only {
            record.metrics.retain(|name, _| only.contains(name));
        }
        // Only values that are in the data point have marks.
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
    /// An empty collection for `request`. Data points of the periods in `stale` are marked.
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

    /// Adds the running period, before any record. It is not in the summary, because it is not complete.
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

    /// Adds the next record; they are passed newest first. Breaks when the response is full.
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

    /// Adds the records of the period that was read, if they fit. The first period always fits.
    fn flush(&mut self) -> Result<ControlFlow<()>, ApiError> {
        let held = std::mem::take(&mut self.held);
        let Some(period) = held.first().map(|(_, record)| record.period) else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut points = Vec::with_capacity(held.len());
        for (place, record) in held {
            // A record that was computed after the mark includes the change.
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

    /// Completes the response. `begin` is the start of the first counted hour; earlier periods are not
    /// missing.
    ///
    /// # Errors
    ///
    /// When one response does not hold the records of the range and no page was requested, or a value
    /// cannot be written as JSON.
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
        // A period that ended before the first counted hour, or has not ended yet, is not missing.
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

    /// Writes all types. Returns whether no period is missing.
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
    /// Writes the fields of the series, and adds the periods in `due` without a record to `missing`.
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
        // A type without recorded metrics has no missing periods.
        let is_recorded = catalogue.of_type(self.metric_type).next().is_some();
        let present: BTreeSet<Period> = self.present.into_iter().ordered_set();
        let without_record: Vec<&Period> =
            due.iter().filter(|period| is_recorded && !present.contains(*period)).collect();
        write_starts(text, without_record.iter().copied())?;
        missing.extend(without_record);
        text.text(",\"summary\":");
        text.json(&self.summary.finish())
    }
}

/// Writes the list of the starts of `periods`.
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

/// The error for a range that does not fit in one response. `beyond` is the first period, from the newest
/// on, that does not fit.
fn too_large(beyond: Period) -> ApiError {
    let earliest = format_instant(beyond.next().start());
    let or = or_coarser(beyond.granularity());
    ApiError::bad_request(
        "Range too large",
        format!(
            "One response holds at most {MAXIMUM_RECORDS} records, of all types together, and \
             {MAXIMUM_BYTES} bytes of data points; with this endDate use the startDate {earliest} \
             or a later one{or}, or set limit to read the range page by page"
        ),
        json!({
            "maximumRecords": MAXIMUM_RECORDS,
            "maximumBytes": MAXIMUM_BYTES,
            "earliestStartDate": earliest,
        }),
    )
}
