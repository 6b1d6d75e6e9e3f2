//! Sums by metric and group.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BalanceError;
use crate::metrics::numbers;

/// Parts a metric's name, which has none, from the name of a group.
const GROUP: char = '.';

/// The sums of some metrics; none of them is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Cells(BTreeMap<String, CellSum>);

/// How many items, and the sum of their amounts. Written as `[count, "sum"]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CellSum {
    pub(super) count: i64,
    pub(super) sum: Decimal,
}

impl CellSum {
    /// Both together; `None` where that would not be exact.
    #[must_use]
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let count = self.count.checked_add(other.count)?;
        Some(Self { count, sum: numbers::add(self.sum, other.sum)? })
    }

    fn is_zero(self) -> bool {
        self.count == 0 && self.sum.is_zero()
    }
}

impl Serialize for CellSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.count, self.sum.normalize().to_string()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CellSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (count, sum) = <(i64, String)>::deserialize(deserializer)?;
        let sum = numbers::parse_decimal(&sum)
            .ok_or_else(|| serde::de::Error::custom("a sum is not a decimal"))?;
        Ok(Self { count, sum })
    }
}

fn cell(metric: &str, group: Option<&str>) -> String {
    group.map_or_else(|| metric.to_owned(), |group| format!("{metric}{GROUP}{group}"))
}

impl Cells {
    /// Adds to a metric, or to one of its groups; `None` where the sum would not be exact.
    pub(super) fn add(
        &mut self,
        metric: &str,
        group: Option<&str>,
        count: i64,
        sum: Decimal,
    ) -> Option<()> {
        self.add_amount(cell(metric, group), CellSum { count, sum })
    }

    fn add_amount(&mut self, cell: String, amount: CellSum) -> Option<()> {
        let sum = self.0.get(&cell).copied().unwrap_or_default().plus(amount)?;
        if sum.is_zero() {
            self.0.remove(&cell);
        } else {
            self.0.insert(cell, sum);
        }
        Some(())
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Overflow`].
    pub(super) fn merge(&mut self, other: Self) -> Result<(), BalanceError> {
        for (cell, amount) in other.0 {
            let metric = cell.split(GROUP).next().unwrap_or_default().to_owned();
            self.add_amount(cell, amount).ok_or(BalanceError::Overflow { metric })?;
        }
        Ok(())
    }

    /// The sum of a metric, or of one of its groups.
    pub(super) fn get(&self, metric: &str, group: Option<&str>) -> CellSum {
        self.0.get(&cell(metric, group)).copied().unwrap_or_default()
    }

    /// Every sum, by metric and group in one name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, CellSum)> {
        self.0.iter().map(|(cell, amount)| (cell, *amount))
    }
}
