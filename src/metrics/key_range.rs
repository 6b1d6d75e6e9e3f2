//! Which sort keys begin with a time in a span.

use super::{
    catalogue::definition::SortKeyFormat,
    period::{Span, format_instant},
};

/// The first and the last of the sort keys that begin with a time in the span, however its second is written: with a fraction
/// of any length or none, with `Z` or `+00:00`. At each end there is up to a second too much; the
/// fold decides by the attribute.
#[must_use]
pub fn key_range(span: Span, format: SortKeyFormat) -> (String, String) {
    // What follows a second (`#`, `+`, `-`, `.`, `Z`) sorts behind its text alone and before `~`.
    let text = |instant| {
        let mut text = format_instant(instant);
        text.truncate(match format {
            SortKeyFormat::Instant => "2026-03-01T23:59:59".len(),
            SortKeyFormat::Hour => "2026-03-01T23".len(),
        });
        text
    };
    let (from, mut to) = (text(span.start), text(span.end));
    // A leap second belongs to the second before it.
    if let (SortKeyFormat::Instant, Some(minute)) = (format, to.strip_suffix(":59")) {
        to = format!("{minute}:60");
    }
    to.push('~');
    (from, to)
}
