//! Values that add up: a number, or a number for each group.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::metrics::{catalogue::definition::Metric, numbers, ordered::Ordered};

/// A metric's value, as far as it can be added to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// One number.
    Number(Decimal),
    /// A number for each group.
    Groups(BTreeMap<String, Decimal>),
}

impl Amount {
    /// What the metric comes to where nothing is.
    #[must_use]
    pub fn zero_of(metric: &Metric) -> Self {
        match metric.by() {
            None => Self::Number(Decimal::ZERO),
            Some(by) => Self::Groups(
                by.groups.keys().map(|name| (name.clone(), Decimal::ZERO)).ordered_map(),
            ),
        }
    }

    /// The amount in a record's value; `None` where it is neither a number nor numbers by group.
    #[must_use]
    pub fn from_json(value: &Json) -> Option<Self> {
        match value {
            Json::Object(groups) => {
                let amount = |(name, value): (&String, &Json)| {
                    Some((name.clone(), numbers::from_json(value)?))
                };
                groups.iter().map(amount).collect::<Option<_>>().map(Self::Groups)
            }
            value => numbers::from_json(value).map(Self::Number),
        }
    }

    /// The value as a record has it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Number(number) => numbers::to_json(*number),
            Self::Groups(groups) => Json::Object(
                groups
                    .iter()
                    .map(|(name, value)| (name.clone(), numbers::to_json(*value)))
                    .collect(),
            ),
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Groups(_) => None,
        }
    }

    /// Both together, group by group. A group that one of them lacks is not known of both, so it is
    /// left out; `None` where nothing is left, or where the sum would not be exact.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => {
                numbers::add(*one, *other).map(Self::Number)
            }
            (Self::Groups(mine), Self::Groups(theirs)) => {
                let mut sums = BTreeMap::new();
                for (name, one) in mine {
                    if let Some(other) = theirs.get(name) {
                        sums.insert(name.clone(), numbers::add(*one, *other)?);
                    }
                }
                (!sums.is_empty()).then_some(Self::Groups(sums))
            }
            _ => None,
        }
    }

    /// All of `values` together; `None` where there are none, or where one is no amount.
    #[must_use]
    pub fn sum<'value>(values: impl IntoIterator<Item = Option<&'value Json>>) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for value in values {
            let amount = Self::from_json(value?)?;
            sum = Some(match sum {
                None => amount,
                Some(sum) => sum.plus(&amount)?,
            });
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sum(values: &[Json]) -> Option<Json> {
        Amount::sum(values.iter().map(Some)).map(|sum| sum.to_json())
    }

    #[test]
    fn numbers_and_groups_add_up() {
        for (values, expected) in [
            (vec![json!(1), json!(2.5)], Some(json!(3.5))),
            (vec![json!(0.1), json!(0.2)], Some(json!(0.3))),
            (vec![json!({"a": 1, "b": 0}), json!({"a": 2, "b": 5})], Some(json!({"a": 3, "b": 5}))),
            // `b` was counted from the second period on.
            (vec![json!({"a": 1}), json!({"a": 2, "b": 5})], Some(json!({"a": 3}))),
            (vec![json!({"a": 1}), json!({"b": 5})], None),
            (vec![json!({"a": 1}), json!(2)], None),
            (vec![json!({"a": "1"})], None),
            (vec![json!([1])], None),
            // More than a decimal holds.
            (vec![json!(7.9e28), json!(7.9e28)], None),
            (vec![], None),
        ] {
            assert_eq!(sum(&values), expected, "{values:?}");
        }
        assert_eq!(Amount::sum([Some(&json!(1)), None]), None);
    }
}
