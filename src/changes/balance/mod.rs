//! The balance: the sums of all metrics that are kept from changes.
//!
//! Of a stock it has the sum up to the first unsettled hour, and the deltas of each hour from then on,
//! also of hours to come. Of a flow it has the sums of the unsettled hours. So both are known for every
//! hour that is not settled, and it grows with hours and metrics, not with items. The positions in the
//! stream lie beside the sums: both are written at once, so that no change is added twice or lost.

mod amount;
mod encoding;
mod fingerprint;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    changes::{positions::Positions, window::Watch},
    metrics::{
        catalogue::definition::{Measure, Metric, Window},
        delta::{Delta, DeltaPart, Deltas, Hour},
        sketch::SketchError,
    },
};

use amount::Cells;
use values::SeenValues;

pub use fingerprint::fingerprints;

/// The sums and the positions in the stream that they are exact at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balance {
    version: u32,
    /// How each source and its metrics were defined when the sums began.
    sources: BTreeMap<String, String>,
    /// The first hour whose changes are all in the sums.
    begin: Hour,
    /// The first hour that deltas still reach.
    unsettled: Hour,
    /// The stocks at the end of the hour before the first unsettled one.
    settled_stocks: Cells,
    /// The deltas of stocks, by hour.
    stocks: BTreeMap<Hour, Cells>,
    /// The sums of flows, by hour.
    flows: BTreeMap<Hour, Cells>,
    /// The values that were seen in an hour, by metric.
    seen: BTreeMap<Hour, BTreeMap<String, SeenValues>>,
    positions: Positions,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
}

/// What deltas have reached since the balance was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// By stock: the first hour whose value is another one; so are those of all later hours.
    pub stocks: BTreeMap<String, Hour>,
    /// By flow: the hours whose value is another one.
    pub flows: BTreeMap<String, BTreeSet<Hour>>,
    /// By metric: how many deltas came for settled hours. Stocks have them from now on, flows never.
    pub late: BTreeMap<String, u64>,
    /// By metric: how many items became malformed, less those that no longer are.
    pub malformed: BTreeMap<String, i64>,
}

/// The balance cannot be kept or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BalanceError {
    /// A sum does not fit into a 96-bit decimal without rounding.
    #[error("the sum of {metric} is too large to be exact")]
    Overflow {
        /// The metric.
        metric: String,
    },
    /// The sketch of distinct values failed.
    #[error(transparent)]
    Sketch(#[from] SketchError),
    /// It was written by another version.
    #[error(
        "the balance has version {found}, and this build reads version {expected}; deploy the build \
         that wrote it, or delete the balance: it is then made anew from the table"
    )]
    Version {
        /// The version that it has.
        found: u32,
        /// The version that this build reads.
        expected: u32,
    },
    /// It is not what a run writes.
    #[error("the balance is damaged ({0}); delete it: it is then made anew from the table")]
    Damaged(String),
    /// It is near the limit of an item.
    #[error(
        "the balance has {bytes} bytes, and an item of DynamoDB at most 400 KB; shorten \
         SETTLING_HOURS, or use fewer metrics with `count_distinct` or `by`"
    )]
    TooLarge {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// Whether the metric can be kept from changes. A ranking needs the rows of its hour, and the distinct
/// values of a stock would have to be listed.
#[must_use]
pub fn is_kept(metric: &Metric) -> bool {
    match &metric.measure {
        Measure::Count { .. } | Measure::Sum { .. } | Measure::Avg { .. } => true,
        Measure::CountDistinct { rows, .. } => rows.window == Window::Period,
        Measure::Top { .. } | Measure::Departures { .. } => false,
    }
}

impl Balance {
    /// An empty balance for sources of these definitions. `begin` is the first whole hour behind the
    /// hand-off.
    #[must_use]
    pub fn new(sources: BTreeMap<String, String>, begin: Hour, positions: Positions) -> Self {
        Self {
            version: encoding::VERSION,
            sources,
            begin,
            unsettled: begin,
            settled_stocks: Cells::default(),
            stocks: BTreeMap::new(),
            flows: BTreeMap::new(),
            seen: BTreeMap::new(),
            positions,
            watch: None,
        }
    }

    /// The positions in the stream.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The positions, to read on from.
    pub fn positions_mut(&mut self) -> &mut Positions {
        &mut self.positions
    }

    /// Notices changes that were published too late for the hand-off.
    #[must_use]
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Sets what the hand-off has to notice from now on.
    pub fn set_watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// The first hour whose changes are all in the sums.
    #[must_use]
    pub fn begin(&self) -> Hour {
        self.begin
    }

    /// The first hour that deltas still reach.
    #[must_use]
    pub fn unsettled(&self) -> Hour {
        self.unsettled
    }

    /// The sources that are defined in another way than when their sums began: they start anew.
    #[must_use]
    pub fn changed_sources(&self, sources: &BTreeMap<String, String>) -> BTreeSet<String> {
        let names = self.sources.keys().chain(sources.keys());
        let mut changed = BTreeSet::new();
        changed.extend(names.filter(|name| self.sources.get(*name) != sources.get(*name)).cloned());
        changed
    }

    /// Adds the deltas of rows that were read by a hand-off. What was before the first hour belongs to
    /// the stocks then, and to no flow.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Overflow`].
    pub fn add_row(&mut self, deltas: &Deltas<'_>) -> Result<(), BalanceError> {
        for delta in &deltas.deltas {
            self.add(delta)?;
        }
        Ok(())
    }

    /// Adds the deltas of a change.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Overflow`].
    pub fn add_change(
        &mut self,
        deltas: &Deltas<'_>,
        touched: &mut Touched,
    ) -> Result<(), BalanceError> {
        for delta in &deltas.deltas {
            let name = &delta.metric.name;
            // What is before the first hour is known by its stocks only.
            if (self.begin..self.unsettled).contains(&delta.hour) {
                *touched.late.entry(name.clone()).or_default() += 1;
            }
            if is_flow(delta) {
                if delta.hour >= self.unsettled {
                    touched.flows.entry(name.clone()).or_default().insert(delta.hour);
                }
            } else {
                let hour = delta.hour.max(self.unsettled);
                let first = touched.stocks.entry(name.clone()).or_insert(hour);
                *first = hour.min(*first);
            }
            self.add(delta)?;
        }
        for (name, by) in &deltas.malformed {
            *touched.malformed.entry((*name).to_owned()).or_default() += by;
        }
        Ok(())
    }

    fn add(&mut self, delta: &Delta<'_>) -> Result<(), BalanceError> {
        let (metric, hour) = (delta.metric, delta.hour);
        let is_settled = hour < self.unsettled;
        let cells = match (&delta.part, is_flow(delta)) {
            // Not kept, see `is_kept`.
            (DeltaPart::Ranking, _) | (DeltaPart::Value(_), false) => return Ok(()),
            (_, true) if is_settled => return Ok(()),
            (DeltaPart::Value(value), true) => {
                let seen = self.seen.entry(hour).or_default();
                let seen = seen.entry(metric.name.clone()).or_default();
                seen.add(value, delta.count);
                return Ok(());
            }
            (_, true) => self.flows.entry(hour).or_default(),
            (_, false) if is_settled => &mut self.settled_stocks,
            (_, false) => self.stocks.entry(hour).or_default(),
        };
        let group = match delta.part {
            DeltaPart::Group(group) => Some(group),
            _ => None,
        };
        cells
            .add(&metric.name, group, delta.count, delta.sum)
            .ok_or_else(|| BalanceError::Overflow { metric: metric.name.clone() })
    }

    /// Settles every hour before `unsettled`: its stocks are added to the sum, its flows are forgotten.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Overflow`].
    pub fn settle(&mut self, unsettled: Hour) -> Result<(), BalanceError> {
        if unsettled <= self.unsettled {
            return Ok(());
        }
        self.unsettled = unsettled;
        let later = self.stocks.split_off(&unsettled);
        for cells in std::mem::replace(&mut self.stocks, later).into_values() {
            self.settled_stocks.merge(cells)?;
        }
        self.flows = self.flows.split_off(&unsettled);
        self.seen = self.seen.split_off(&unsettled);
        Ok(())
    }
}

fn is_flow(delta: &Delta<'_>) -> bool {
    delta.metric.window() == Some(Window::Period)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
