//! Folding rows into metrics, one row at a time, for several spans of time at once.
//!
//! A fold computes one metric from the rows of one pass. The folds of a metric that reads several
//! sources are merged, then finished.
//!
//! A malformed row is left out and counted. If every row that can lie in a span is malformed, the
//! metric has no value there, because a zero would look like a fact; `readable` decides on it.

mod accumulator;
pub(crate) mod contribution;
mod readable;

use chrono::{DateTime, Utc};
use serde_dynamo::Item;
use serde_json::Value as Json;

use crate::metrics::{
    catalogue::{
        Catalogue,
        definition::{Metric, Rows, Source, Window},
    },
    expiry::{expiry_of, has_expired},
    part::Part,
    period::Span,
    row::{Fault, Reject, conditions, time_of},
    sketch::SketchError,
};

use accumulator::Accumulator;
use contribution::Contribution;
use readable::Evidence;
pub use readable::Unreadable;

/// The value of a metric in one span, and what rollups need of it.
#[derive(Debug, Clone, Default)]
pub struct MetricOutcome {
    /// The value; `None` if the metric has none in this span.
    pub value: Option<Json>,
    /// What the rollup to coarser periods needs besides the value.
    pub part: Option<Part>,
}

/// A metric could not be computed from the rows.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FoldError {
    /// The sum does not fit into a 96-bit decimal without rounding.
    #[error("the sum of metric `{metric}` is too large to be exact; check the values of its items")]
    Overflow {
        /// The name of the metric.
        metric: String,
    },
    /// The sketch of distinct values failed.
    #[error(transparent)]
    Sketch(#[from] SketchError),
}

/// One metric over the rows of one pass.
#[derive(Debug, Clone)]
pub struct Fold<'catalogue> {
    catalogue: &'catalogue Catalogue,
    metric: &'catalogue Metric,
    /// The share of a ranking that the rows of this pass count for.
    share: &'catalogue str,
    spans: Vec<Span>,
    /// The state of each span.
    accumulators: Vec<Accumulator>,
    rows: u64,
    malformed: u64,
    /// Whether the rows of this pass can be read; not merged, because each pass is judged by
    /// itself.
    evidence: Evidence<'catalogue>,
}

impl<'catalogue> Fold<'catalogue> {
    /// A fold of `metric` over the rows of `source`, which count for `share`, before the first row.
    /// The `spans` may overlap.
    #[must_use]
    pub fn new(
        catalogue: &'catalogue Catalogue,
        metric: &'catalogue Metric,
        share: &'catalogue str,
        source: Option<&'catalogue Source>,
        spans: &[Span],
    ) -> Self {
        Self {
            catalogue,
            metric,
            share,
            spans: spans.to_vec(),
            accumulators: spans.iter().map(|_| Accumulator::new(metric)).collect(),
            rows: 0,
            malformed: 0,
            evidence: Evidence::new(metric, source, spans),
        }
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> &'catalogue Metric {
        self.metric
    }

    /// The number of rows that concern the metric in its spans: those that count and malformed
    /// ones.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of rows that were left out because an attribute is malformed.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The spans in which the metric has no value because their rows, from `source`, are malformed,
    /// and why. `None` if there is no such span.
    ///
    /// `is_whole` says that the partitions were read whole, not only the key ranges of some spans.
    #[must_use]
    pub fn unreadable(&self, source: &str, is_whole: bool) -> Option<Unreadable> {
        self.evidence.unreadable(self.metric, source, &self.spans, is_whole)
    }

    /// Adds one row.
    pub fn add(&mut self, row: &Item) {
        let Some(rows) = self.metric.rows() else { return };
        self.evidence.note_row();
        let time = match rows.window {
            Window::Period | Window::ToDate => time_of(rows, row).map(Some),
            Window::Now => Ok(None),
        };
        match (conditions(rows, row), time) {
            (Err(_), Ok(time)) => self.note_readable(rows, time),
            // A row that may have no time and has none is well-formed.
            (_, Err(Reject::Skip)) => self.evidence.note_readable(std::iter::empty()),
            (Err(_), Err(Reject::Malformed(_))) => {}
            (Ok(_), Err(Reject::Malformed(fault))) => {
                self.rows += 1;
                self.malformed += 1;
                let spans = self.spans.iter().copied();
                self.evidence.note_malformed_time(fault, row, rows.window, spans);
            }
            (Ok((after, fault)), Ok(time)) => self.add_timed(rows, row, time, after, fault),
        }
    }

    /// Adds a row with a readable time that meets the conditions until `after`. `fault` is set if a
    /// condition could not be compared.
    fn add_timed(
        &mut self,
        rows: &'catalogue Rows,
        row: &Item,
        time: Option<DateTime<Utc>>,
        after: Option<DateTime<Utc>>,
        fault: Option<Fault<'catalogue>>,
    ) {
        let expiry = self.catalogue.ttl().and_then(|attribute| expiry_of(row, attribute));
        let counts_in = |span: &Span| {
            // A flow counts what had not expired when it happened, a stock what exists at the end.
            let at = time.filter(|_| rows.window == Window::Period).unwrap_or(span.end);
            lies_in(rows, time, *span)
                && expiry.is_none_or(|expiry| !has_expired(expiry, at))
                && after.is_none_or(|after| !span.reaches(after))
        };
        let contribution = match fault {
            None => Contribution::of(self.catalogue, self.metric, rows, row),
            Some(fault) => Err(fault.into()),
        };
        let counts = self.spans.iter().any(counts_in);
        match contribution {
            Ok(contribution) => {
                self.rows += u64::from(counts);
                for (span, accumulator) in self.spans.iter().zip(&mut self.accumulators) {
                    if counts_in(span) {
                        accumulator.add(&contribution, self.share);
                    }
                }
                self.note_readable(rows, time);
            }
            Err(Reject::Skip) => self.note_readable(rows, time),
            // A malformed row of another period does not concern these spans.
            Err(Reject::Malformed(_)) if !counts => {}
            Err(Reject::Malformed(fault)) => {
                self.rows += 1;
                self.malformed += 1;
                self.evidence.note_malformed(fault, self.spans.iter().map(counts_in));
            }
        }
    }

    /// Notes a row that can be read, whether it counts or not: it is evidence that the rows of its
    /// spans can be read.
    fn note_readable(&mut self, rows: &Rows, time: Option<DateTime<Utc>>) {
        let spans = self.spans.iter();
        self.evidence.note_readable(spans.map(|span| lies_in(rows, time, *span)));
    }

    /// Adds the fold of the same metric and spans over the rows of another pass.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.malformed += other.malformed;
        for (mine, theirs) in self.accumulators.iter_mut().zip(other.accumulators) {
            mine.merge(theirs);
        }
    }

    /// The outcome in each span, in the order of the spans.
    ///
    /// # Errors
    ///
    /// [`FoldError`] when a value cannot be exact.
    pub fn finish(self) -> Result<Vec<MetricOutcome>, FoldError> {
        let metric = self.metric;
        self.accumulators.into_iter().map(|accumulator| accumulator.finish(metric)).collect()
    }
}

/// Whether a row of this time lies in the span.
fn lies_in(rows: &Rows, time: Option<DateTime<Utc>>, span: Span) -> bool {
    match (rows.window, time) {
        (Window::Period, Some(time)) => span.contains(time),
        (Window::ToDate, Some(time)) => span.reaches(time),
        _ => true,
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod readable_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
