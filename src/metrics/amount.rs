//! Amounts: values that can be added, which are numbers and numbers by group.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::metrics::{catalogue::definition::Metric, numbers, ordered::Ordered};

/// The value of a metric as something that can be added. Distinct counts and means are numbers too,
/// but their sum means nothing: rollups merge or weight them instead.
///
/// ```
/// # use edge_analytics::metrics::amount::Amount;
/// # use serde_json::json;
/// let sum = |values: &[serde_json::Value]| {
///     Amount::sum(values.iter().map(Some)).map(|sum| sum.to_json())
/// };
/// // Exact in decimal, where doubles would give 0.30000000000000004.
/// assert_eq!(sum(&[json!(0.1), json!(0.2)]), Some(json!(0.3)));
/// // A group that one of the values lacks is not known of both.
/// assert_eq!(sum(&[json!({"a": 1}), json!({"a": 2, "b": 5})]), Some(json!({"a": 3})));
/// // A number and groups cannot be added; nothing has no sum.
/// assert_eq!(sum(&[json!({"a": 1}), json!(2)]), None);
/// assert_eq!(sum(&[]), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// One number.
    Number(Decimal),
    /// A number for each group.
    Groups(BTreeMap<String, Decimal>),
}

impl Amount {
    /// The amount of the metric if there are no rows: 0, or 0 for each group.
    #[must_use]
    pub fn zero_of(metric: &Metric) -> Self {
        match metric.by() {
            None => Self::Number(Decimal::ZERO),
            Some(by) => Self::Groups(
                by.groups.keys().map(|name| (name.clone(), Decimal::ZERO)).ordered_map(),
            ),
        }
    }

    /// The amount in the value of a record; `None` if it is neither a number nor numbers by group.
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

    /// The amount as the value of a record.
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

    /// The number; `None` for groups.
    #[must_use]
    pub fn number(&self) -> Option<Decimal> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Groups(_) => None,
        }
    }

    /// The sum of both, group by group. A group that one of them lacks is left out. `None` if no
    /// group is left, if one is a number and the other groups, or if the sum would not be exact.
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

    /// The sum of `values`; `None` if there are none, if one is absent or not an amount, or if a
    /// sum would not be exact.
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
    fn numbers_and_groups_are_summed() {
        for (values, expected) in [
            (vec![json!(1), json!(2.5)], Some(json!(3.5))),
            (vec![json!(0.1), json!(0.2)], Some(json!(0.3))),
            (vec![json!({"a": 1, "b": 0}), json!({"a": 2, "b": 5})], Some(json!({"a": 3, "b": 5}))),
            // Group `b` exists from the second period on.
            (vec![json!({"a": 1}), json!({"a": 2, "b": 5})], Some(json!({"a": 3}))),
            (vec![json!({"a": 1}), json!({"b": 5})], None),
            (vec![json!({"a": 1}), json!(2)], None),
            (vec![json!({"a": "1"})], None),
            (vec![json!([1])], None),
            // Out of the range of decimals.
            (vec![json!(7.9e28), json!(7.9e28)], None),
            (vec![], None),
        ] {
            assert_eq!(sum(&values), expected, "{values:?}");
        }
        assert_eq!(Amount::sum([Some(&json!(1)), None]), None);
    }
}
