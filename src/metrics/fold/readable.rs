//! The spans in which a metric has no value because their rows are malformed.
//!
//! A malformed row is placed in time by its sort key, if that begins with the time of the metric,
//! or by what its time attribute looks like. A row that cannot be placed can lie in any span.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{
    catalogue::definition::{Metric, SortKeyFormat, Source, Window},
    key_range::key_range,
    numbers,
    period::{Span, format_instant},
    row::{Fault, present, text_of},
};

/// The number of malformed rows of a span from which on they are not exceptions, even if more rows
/// of the rest of a whole partition can be read.
const SYSTEMATIC: u64 = 3;

/// An epoch from this number on is in milliseconds: in seconds it would be the year 5138.
const EPOCH_MILLISECONDS: i64 = 100_000_000_000;

/// Why a metric has no value in some spans: they have rows, and all are malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// A sentence with the metric, the source, the span and the attribute, without the number of
    /// items.
    pub reason: String,
    /// The number of items that it is about, in the first of the spans.
    pub items: u64,
    /// The positions of the spans.
    pub spans: Vec<usize>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = if self.items == 1 { "item" } else { "items" };
        write!(formatter, "{} ({} {items})", self.reason, self.items)
    }
}

impl Serialize for Unreadable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The rows of one span.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether a row that lies in it can be read.
    is_readable: bool,
    /// The number of malformed rows that lie in it.
    malformed: u64,
}

/// Evidence of whether the rows of one pass can be read for a metric.
#[derive(Debug, Clone)]
pub(super) struct Evidence<'catalogue> {
    spans: Vec<Seen>,
    /// The number of rows.
    rows: u64,
    /// The number of rows that can be read, in a span or outside.
    readable: u64,
    /// The number of malformed rows that cannot be placed in time.
    unplaced: u64,
    example: Option<Fault<'catalogue>>,
    /// The sort key, if it begins with the time of the metric.
    sort_key: Option<(&'catalogue str, SortKeyFormat)>,
}

/// The time of a malformed row, as far as it can be read.
enum RowTime<'row> {
    /// A text that begins with a date and an hour.
    Text(&'row str, SortKeyFormat),
    Instant(DateTime<Utc>),
}

impl<'catalogue> Evidence<'catalogue> {
    pub(super) fn new(metric: &Metric, source: Option<&'catalogue Source>, spans: &[Span]) -> Self {
        let sort_key = source.and_then(|source| {
            let time = source.sort_key_time.as_ref()?;
            let is_its_time = metric.time() == [time.attribute.as_str()];
            is_its_time.then_some((source.keys[1].as_str(), time.format))
        });
        Self {
            spans: vec![Seen::default(); spans.len()],
            rows: 0,
            readable: 0,
            unplaced: 0,
            example: None,
            sort_key,
        }
    }

    /// Notes a row, before it is known whether it can be read.
    pub(super) fn note_row(&mut self) {
        self.rows += 1;
    }

    /// Notes that the row can be read, and for each span whether it lies in it.
    pub(super) fn note_readable(&mut self, holds: impl Iterator<Item = bool>) {
        self.readable += 1;
        for (seen, is_in) in self.spans.iter_mut().zip(holds) {
            seen.is_readable |= is_in;
        }
    }

    /// Notes that the row is malformed, and for each span whether it lies in it.
    pub(super) fn note_malformed(
        &mut self,
        fault: Fault<'catalogue>,
        holds: impl Iterator<Item = bool>,
    ) {
        self.example.get_or_insert(fault);
        for (seen, is_in) in self.spans.iter_mut().zip(holds) {
            seen.malformed += u64::from(is_in);
        }
    }

    /// Notes that the time of the row is malformed.
    pub(super) fn note_malformed_time(
        &mut self,
        fault: Fault<'catalogue>,
        row: &Item,
        window: Window,
        spans: impl Iterator<Item = Span>,
    ) {
        if let Some(place) = self.place(fault.attribute, row) {
            self.note_malformed(fault, spans.map(|span| place.lies_in(span, window)));
        } else {
            self.note_malformed(fault, std::iter::empty());
            self.unplaced += 1;
        }
    }

    fn place<'row>(&self, attribute: &str, row: &'row Item) -> Option<RowTime<'row>> {
        let by_key = self.sort_key.and_then(|(name, format)| {
            let key = text_of(row, name).ok()?.filter(|key| begins_with_an_hour(key))?;
            Some(RowTime::Text(key, format))
        });
        by_key.or_else(|| match present(row, attribute)? {
            AttributeValue::S(text) if begins_with_an_hour(text) => {
                Some(RowTime::Text(text, SortKeyFormat::Instant))
            }
            AttributeValue::N(number) => RowTime::of_epoch(number),
            _ => None,
        })
    }

    /// The spans without a value, and why. `is_whole` says that the partitions were read whole, so
    /// that rows outside of the spans are evidence as well.
    pub(super) fn unreadable(
        &self,
        metric: &Metric,
        source: &str,
        spans: &[Span],
        is_whole: bool,
    ) -> Option<Unreadable> {
        let Fault { attribute, expected, found } = self.example?;
        let nothing = is_whole && self.readable == 0;
        let is_absent =
            |index: &usize| !spans[*index].is_empty() && self.is_absent(*index, is_whole);
        let absent: Vec<usize> = (0..spans.len()).filter(is_absent).collect();
        let first = *absent.first()?;
        let place = match metric.window() {
            _ if nothing => String::new(),
            Some(Window::Period) => format!(
                " that can lie in {} to {}",
                format_instant(spans[first].start),
                format_instant(spans[first].end)
            ),
            Some(Window::ToDate) => {
                format!(" that can lie before {}", format_instant(spans[first].next()))
            }
            Some(Window::Now) | None => String::new(),
        };
        let others = match absent.len() - 1 {
            _ if nothing => String::new(),
            0 => String::new(),
            1 => "; the same in 1 other period".to_owned(),
            many => format!("; the same in {many} other periods"),
        };
        let reason = format!(
            "metric `{}`: every item of source `{source}`{place} is malformed: `{attribute}` must \
             be {expected}; found {found}{others}",
            metric.name
        );
        let items = if nothing { self.rows } else { self.spans[first].malformed + self.unplaced };
        Some(Unreadable { reason, items, spans: absent })
    }

    fn is_absent(&self, index: usize, is_whole: bool) -> bool {
        let Seen { is_readable, malformed } = self.spans[index];
        let can_lie_in_it = malformed + self.unplaced;
        let nothing = is_whole && self.readable == 0;
        // A key range has few other rows, which are less evidence than a whole partition.
        let most = can_lie_in_it > 0 && (!is_whole || can_lie_in_it >= self.readable);
        !is_readable && (nothing || malformed >= SYSTEMATIC || most)
    }
}

/// Whether the text begins like `2026-03-01T12`.
fn begins_with_an_hour(text: &str) -> bool {
    let pattern = b"0000-00-00T00";
    text.len() >= pattern.len()
        && text.bytes().zip(pattern).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte == *wanted,
        })
}

impl RowTime<'_> {
    /// Seconds or milliseconds since 1970.
    fn of_epoch(number: &str) -> Option<Self> {
        let number = i64::try_from(numbers::parse_number(number)?.trunc()).ok()?;
        let instant = if number.abs() >= EPOCH_MILLISECONDS {
            DateTime::from_timestamp_millis(number)
        } else {
            DateTime::from_timestamp(number, 0)
        };
        instant.map(Self::Instant)
    }

    fn lies_in(&self, span: Span, window: Window) -> bool {
        match (self, window) {
            (_, Window::Now) => true,
            (Self::Text(text, format), Window::Period) => {
                let range = key_range(span, *format);
                (range.0.as_str()..=range.1.as_str()).contains(text)
            }
            (Self::Text(text, format), Window::ToDate) => {
                *text <= key_range(span, *format).1.as_str()
            }
            (Self::Instant(instant), Window::Period) => span.contains(*instant),
            (Self::Instant(instant), Window::ToDate) => span.reaches(*instant),
        }
    }
}
