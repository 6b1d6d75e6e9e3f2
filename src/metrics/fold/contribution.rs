//! What one row contributes to a metric.

use rust_decimal::Decimal;
use serde_dynamo::{AttributeValue, Item};

use crate::metrics::{
    catalogue::{
        Catalogue,
        definition::{Measure, Metric, RowValue, Rows},
    },
    numbers,
    row::{Expected, Fault, Reject, absent, group_of, present, text_of},
};

/// The contribution of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contribution<'row> {
    /// The row is in no group.
    Nothing,
    Row,
    Group(&'row str),
    Value(&'row str),
    Amount(Decimal),
    Target(Vec<&'row str>),
}

impl<'row> Contribution<'row> {
    /// The contribution of `row` to `metric`, of which `rows` are the rows.
    pub(crate) fn of<'catalogue: 'row>(
        catalogue: &'catalogue Catalogue,
        metric: &'catalogue Metric,
        rows: &'catalogue Rows,
        row: &'row Item,
    ) -> Result<Self, Reject<'catalogue>> {
        Ok(match &metric.measure {
            Measure::Count { by: None, .. } => Self::Row,
            Measure::Count { by: Some(by), .. } => {
                group_of(by, row)?.map_or(Self::Nothing, Self::Group)
            }
            Measure::CountDistinct { attribute, .. } => Self::Value(
                text_of(row, attribute)?.ok_or_else(|| absent(rows, attribute, Expected::Text))?,
            ),
            Measure::Sum { value, .. } | Measure::Avg { value, .. } => {
                Self::Amount(amount_of(catalogue, rows, value, row)?)
            }
            Measure::Top { key, .. } => {
                let part = |attribute: &'catalogue String| {
                    let missing = || Reject::Malformed(Fault::absent(attribute, Expected::Text));
                    text_of(row, attribute)?.ok_or_else(missing)
                };
                Self::Target(key.iter().map(part).collect::<Result<_, _>>()?)
            }
            Measure::Departures { .. } => return Err(Reject::Skip),
        })
    }
}

/// The number that the row adds.
fn amount_of<'catalogue>(
    catalogue: &'catalogue Catalogue,
    rows: &'catalogue Rows,
    value: &'catalogue RowValue,
    row: &Item,
) -> Result<Decimal, Reject<'catalogue>> {
    let attribute = value.attribute();
    let expected = match value {
        RowValue::Number(_) => Expected::Number,
        RowValue::Money(_) => Expected::Money,
        RowValue::Lookup { table, .. } => Expected::KeyOf(table),
    };
    let found = present(row, attribute).ok_or_else(|| absent(rows, attribute, expected))?;
    let number = match (value, found) {
        (RowValue::Number(_), AttributeValue::N(number)) => numbers::parse_number(number),
        (RowValue::Money(_), AttributeValue::S(amount)) => numbers::parse_decimal(amount),
        (RowValue::Money(_), AttributeValue::N(amount)) => numbers::parse_number(amount),
        (RowValue::Lookup { table, .. }, AttributeValue::S(key)) => {
            catalogue.table_value(table, key).and_then(numbers::parse_decimal)
        }
        _ => None,
    };
    let number = match value {
        RowValue::Number(_) => number,
        RowValue::Money(_) | RowValue::Lookup { .. } => number.map(numbers::in_whole_cents),
    };
    number.ok_or_else(|| Fault::new(attribute, expected, found).into())
}
