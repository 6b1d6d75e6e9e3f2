//! Reading the attributes of a row as a metric needs them, and what is wrong with malformed ones.

use std::fmt;

use chrono::{DateTime, Utc};

use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{
    catalogue::definition::{Absent, Condition, Grouping, Literal, Rows},
    period::parse_instant,
};

/// A malformed attribute: what it must be, and what was found. Never contains a key or value of an
/// item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault<'catalogue> {
    pub(crate) attribute: &'catalogue str,
    pub(crate) expected: Expected<'catalogue>,
    pub(crate) found: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected<'catalogue> {
    Instant,
    Boolean,
    Text,
    Number,
    Money,
    KeyOf(&'catalogue str),
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Instant => {
                "an RFC 3339 date-time with a time zone, such as 2026-03-01T12:00:00.000Z"
            }
            Self::Boolean => "a boolean, \"true\" or \"false\", or 1 or 0",
            Self::Text => "a string",
            Self::Number => "a number",
            Self::Money => "a decimal amount, such as \"10.00\" or 10",
            Self::KeyOf(table) => return write!(formatter, "a key of table `{table}`"),
        })
    }
}

/// Why a row contributes nothing.
pub(crate) enum Reject<'catalogue> {
    /// It does not concern the metric.
    Skip,
    /// An attribute is malformed.
    Malformed(Fault<'catalogue>),
}

impl<'catalogue> Fault<'catalogue> {
    pub(crate) fn new(
        attribute: &'catalogue str,
        expected: Expected<'catalogue>,
        found: &AttributeValue,
    ) -> Self {
        let found = match found {
            AttributeValue::S(text) if expected == Expected::Instant => {
                let is_zoneless = parse_instant(&format!("{text}Z")).is_some();
                if is_zoneless { "a date-time without a time zone" } else { "another string" }
            }
            AttributeValue::S(_) if expected == Expected::Number => "a string",
            AttributeValue::S(_) => "another string",
            AttributeValue::N(_) => "a number",
            AttributeValue::Bool(_) => "a boolean",
            AttributeValue::B(_) => "a binary value",
            AttributeValue::L(_) => "a list",
            AttributeValue::M(_) => "a map",
            _ => "a set",
        };
        Self { attribute, expected, found }
    }

    pub(crate) fn absent(attribute: &'catalogue str, expected: Expected<'catalogue>) -> Self {
        Self { attribute, expected, found: "no such attribute" }
    }
}

impl<'catalogue> From<Fault<'catalogue>> for Reject<'catalogue> {
    fn from(fault: Fault<'catalogue>) -> Self {
        Self::Malformed(fault)
    }
}

/// The consequence of an absent time or value.
pub(crate) fn absent<'catalogue>(
    rows: &Rows,
    attribute: &'catalogue str,
    expected: Expected<'catalogue>,
) -> Reject<'catalogue> {
    match rows.absent {
        Absent::Malformed => Fault::absent(attribute, expected).into(),
        Absent::Skip => Reject::Skip,
    }
}

/// The attribute; `None` if it is absent or null.
pub(crate) fn present<'row>(row: &'row Item, attribute: &str) -> Option<&'row AttributeValue> {
    row.get(attribute).filter(|value| !matches!(value, AttributeValue::Null(_)))
}

/// The string in the attribute; `None` if it is absent.
pub(crate) fn text_of<'row, 'catalogue>(
    row: &'row Item,
    attribute: &'catalogue str,
) -> Result<Option<&'row str>, Fault<'catalogue>> {
    match present(row, attribute) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(other) => Err(Fault::new(attribute, Expected::Text, other)),
    }
}

/// The instant in the attribute; `None` if it is absent.
fn instant_of<'catalogue>(
    row: &Item,
    attribute: &'catalogue str,
) -> Result<Option<DateTime<Utc>>, Fault<'catalogue>> {
    let Some(found) = present(row, attribute) else { return Ok(None) };
    let instant = match found {
        AttributeValue::S(text) => parse_instant(text),
        _ => None,
    };
    instant.map(Some).ok_or_else(|| Fault::new(attribute, Expected::Instant, found))
}

/// The boolean in the attribute, in whatever form it is stored; `None` if it is absent.
pub(crate) fn boolean_of<'catalogue>(
    row: &Item,
    attribute: &'catalogue str,
) -> Result<Option<bool>, Fault<'catalogue>> {
    let Some(found) = present(row, attribute) else { return Ok(None) };
    let boolean = match found {
        AttributeValue::Bool(boolean) => Some(*boolean),
        AttributeValue::S(word) | AttributeValue::N(word) => boolean_in(word),
        _ => None,
    };
    boolean.map(Some).ok_or_else(|| Fault::new(attribute, Expected::Boolean, found))
}

fn boolean_in(word: &str) -> Option<bool> {
    match word {
        "1" => Some(true),
        "0" => Some(false),
        _ if word.eq_ignore_ascii_case("true") => Some(true),
        _ if word.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Whether the attribute has the value; false if it is absent.
fn is<'catalogue>(
    row: &Item,
    attribute: &'catalogue str,
    value: &Literal,
) -> Result<bool, Fault<'catalogue>> {
    match value {
        Literal::Boolean(wanted) => Ok(boolean_of(row, attribute)? == Some(*wanted)),
        Literal::Text(wanted) => Ok(text_of(row, attribute)? == Some(wanted)),
    }
}

/// The group of the row by the value of the attribute; `None` if it is in no group.
pub(crate) fn group_of<'catalogue>(
    by: &'catalogue Grouping,
    row: &Item,
) -> Result<Option<&'catalogue str>, Fault<'catalogue>> {
    for (name, value) in &by.groups {
        if is(row, &by.attribute, value)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// The time of the row: that of the first time attribute that is present.
pub(crate) fn time_of<'catalogue>(
    rows: &'catalogue Rows,
    row: &Item,
) -> Result<DateTime<Utc>, Reject<'catalogue>> {
    for attribute in &rows.time {
        if let Some(time) = instant_of(row, attribute)? {
            return Ok(time);
        }
    }
    let attribute = rows.time.first().map_or("", String::as_str);
    Err(absent(rows, attribute, Expected::Instant))
}

/// Whether the row meets the conditions. If it does: until when, if that depends on the span, and
/// an attribute that could not be compared, if there is one. A row that fails one condition does
/// not concern the metric, whatever its other attributes are.
pub(crate) fn conditions<'catalogue>(
    rows: &'catalogue Rows,
    row: &Item,
) -> Result<(Option<DateTime<Utc>>, Option<Fault<'catalogue>>), Reject<'catalogue>> {
    let (mut until, mut fault) = (None::<DateTime<Utc>>, None);
    for (attribute, condition) in &rows.conditions {
        let holds = match condition {
            Condition::AfterPeriod => instant_of(row, attribute).map(|instant| {
                until = until.into_iter().chain(instant).min();
                true
            }),
            Condition::Is(value) => is(row, attribute, value),
            Condition::Not(value) => is(row, attribute, value).map(|is| !is),
            Condition::AnyOf(any) => text_of(row, attribute)
                .map(|text| text.is_some_and(|text| any.iter().any(|wanted| wanted == text))),
            Condition::Present => Ok(match present(row, attribute) {
                Some(AttributeValue::S(text)) => !text.is_empty(),
                found => found.is_some(),
            }),
        };
        match holds {
            Ok(true) => {}
            Ok(false) => return Err(Reject::Skip),
            Err(found) => fault = fault.or(Some(found)),
        }
    }
    Ok((until, fault))
}
