//! The range of sort keys that begin with a time in a span.

use super::{
    catalogue::definition::SortKeyFormat,
    period::{Span, format_instant},
};

/// The first and the last sort key that can begin with a time in the span: with or without a
/// fraction of a second, with `Z` or `+00:00`. The range includes up to a second more at each end;
/// the fold then decides by the attribute with the time.
#[must_use]
pub fn key_range(span: Span, format: SortKeyFormat) -> (String, String) {
    // What can follow a second (`#`, `+`, `-`, `.`, `Z`) sorts after the second alone and before
    // `~`.
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
