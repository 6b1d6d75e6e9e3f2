//! The hand-off in ranges: the first sums of a table of any size, one range of sort keys after the
//! other. It can be stopped after each.
//!
//! Of every source a region is *summed*: the partitions before an edge, and in the edge's partition the
//! sort keys up to it. Every change is applied from the first one on, as far as its images lie in the
//! region: an item that moves in the index leaves it and enters it by itself. A range extends the
//! region, with a window of changes around the read of its rows, as in [`crate::changes::window`]: of
//! the keys that changed meanwhile, the last new image is taken, if it lies in the range.
//!
//! The same over sums of its own is the reconciliation: both sums must be equal at the end.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::changes::window::{Lags, TooEarly, Watch, check};

/// Where an image lies in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The source's position in the list of sources.
    pub source: usize,
    /// The partition's position in the list of the source's partitions.
    pub partition: usize,
    /// The sort key. Only strings: DynamoDB orders them by their UTF-8 bytes, as Rust does.
    pub sort_key: String,
}

/// What an image contributes in one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<C> {
    /// Where the image lies.
    pub spot: Spot,
    /// What it contributes there.
    pub contribution: C,
}

/// What a change does to the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed<C> {
    /// Add it.
    Plus(C),
    /// Subtract it.
    Minus(C),
}

/// Up to where a source is summed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edge {
    /// How many partitions the source has.
    partitions: usize,
    /// The first partition that is not summed whole.
    partition: usize,
    /// Its last sort key that is summed; `None` where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// How far a hand-off has come. It is stored with the sums and the positions, after each batch of
/// ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ranges {
    edges: Vec<Edge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<Watch>,
}

/// The next range of a source: the sort keys of a partition behind `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The source's position.
    pub source: usize,
    /// The partition's position.
    pub partition: usize,
    /// Behind this sort key; `None` from the partition's beginning.
    pub after: Option<String>,
}

impl Range {
    fn holds(&self, spot: &Spot, up_to: Option<&str>) -> bool {
        let sort_key = spot.sort_key.as_str();
        (spot.source, spot.partition) == (self.source, self.partition)
            && self.after.as_deref().is_none_or(|after| sort_key > after)
            && up_to.is_none_or(|up_to| sort_key <= up_to)
    }
}

impl Ranges {
    /// A hand-off of sources with so many partitions each, before the first range.
    #[must_use]
    pub fn new(partitions: &[usize]) -> Self {
        let edge = |partitions: &usize| Edge { partitions: *partitions, partition: 0, after: None };
        Self { edges: partitions.iter().map(edge).collect(), watch: None }
    }

    /// The next range of every source that is not summed whole. They are independent.
    pub fn next_ranges(&self) -> impl Iterator<Item = Range> {
        let unfinished = self.edges.iter().enumerate().filter(|(_, edge)| !edge.is_complete());
        unfinished.map(|(source, edge)| Range {
            source,
            partition: edge.partition,
            after: edge.after.clone(),
        })
    }

    /// Whether every source is summed whole.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.edges.iter().all(Edge::is_complete)
    }

    /// Notices changes that the stream published too late for the last batch.
    #[must_use]
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// What a change does to the sums: its old image leaves them and its new one enters them, each where
    /// it lies in what is summed.
    pub fn change<C>(
        &self,
        old: Vec<Placed<C>>,
        new: Vec<Placed<C>>,
    ) -> impl Iterator<Item = Signed<C>> {
        let leaving =
            old.into_iter().map(|placed| (placed.spot, Signed::Minus(placed.contribution)));
        let entering =
            new.into_iter().map(|placed| (placed.spot, Signed::Plus(placed.contribution)));
        let changes = leaving.chain(entering);
        changes.filter(|(spot, _)| self.holds(spot)).map(|(_, signed)| signed)
    }

    fn holds(&self, spot: &Spot) -> bool {
        self.edges.get(spot.source).is_some_and(|edge| {
            spot.partition < edge.partition
                || spot.partition == edge.partition
                    && edge.after.as_ref().is_some_and(|after| spot.sort_key <= *after)
        })
    }
}

impl Edge {
    fn is_complete(&self) -> bool {
        self.partition >= self.partitions
    }
}

/// A row of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<C> {
    /// The item.
    pub item: u128,
    /// Its sort key.
    pub sort_key: String,
    /// What it contributes in the source of the range.
    pub contribution: C,
}

/// The rows of a range, which ends between two different sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRange<C> {
    range: Range,
    rows: Vec<Row<C>>,
    /// The last sort key; `None` where the range ends with the partition.
    up_to: Option<String>,
}

impl<C> ReadRange<C> {
    /// The range with the rows that were read, in the order of their sort keys. `is_whole`: up to the
    /// partition's end. Otherwise rows may follow with the sort key of the last one, so the range ends
    /// before it.
    ///
    /// # Errors
    ///
    /// The rows, where all of them have one sort key: read more of them.
    pub fn new(range: Range, mut rows: Vec<Row<C>>, is_whole: bool) -> Result<Self, Vec<Row<C>>> {
        if is_whole {
            return Ok(Self { range, rows, up_to: None });
        }
        let Some(last) = rows.last() else { return Err(rows) };
        let kept = rows.partition_point(|row| row.sort_key < last.sort_key);
        if kept == 0 {
            return Err(rows);
        }
        rows.truncate(kept);
        let up_to = rows.last().map(|row| row.sort_key.clone());
        Ok(Self { range, rows, up_to })
    }
}

/// Some ranges that are read together, and the changes meanwhile. It is never stored: a batch that is
/// cut off begins again.
#[derive(Debug)]
pub struct Batch<C> {
    lags: Lags,
    opened: DateTime<Utc>,
    recent: HashMap<u128, Vec<Placed<C>>>,
}

impl<C> Batch<C> {
    /// A batch whose window begins with the positions as they are at `opened`: not the start of the
    /// last reading but its end, because a reading also applies changes that are made meanwhile, and a
    /// stale row may lack them.
    #[must_use]
    pub fn open(opened: DateTime<Utc>, lags: Lags) -> Self {
        Self { lags, opened, recent: HashMap::new() }
    }

    /// Whether rows can be read at `now`: what a stale read returns must not be older than the window.
    ///
    /// # Errors
    ///
    /// [`TooEarly`] if not.
    pub fn check_read(&self, now: DateTime<Utc>) -> Result<(), TooEarly> {
        check(now, self.opened + self.lags.read_lag)
    }

    /// Takes in a change of the window: where the item lies now.
    pub fn change(&mut self, item: u128, new: Vec<Placed<C>>) {
        self.recent.insert(item, new);
    }

    /// Extends what is summed by the ranges that were read, and returns what that adds. The rows were
    /// read until `read_ended`, and the stream has been read up to `present`.
    ///
    /// # Errors
    ///
    /// [`TooEarly`] when the stream may not have published everything then.
    pub fn finish(
        self,
        ranges: &mut Ranges,
        read: Vec<ReadRange<C>>,
        read_ended: DateTime<Utc>,
        present: DateTime<Utc>,
    ) -> Result<Vec<C>, TooEarly>
    where
        C: Clone,
    {
        check(present, read_ended + self.lags.publication_lag)?;
        let mut added = Vec::new();
        for ReadRange { range, rows, up_to } in read {
            let rows = rows.into_iter().filter(|row| !self.recent.contains_key(&row.item));
            added.extend(rows.map(|row| row.contribution));
            let changed = self.recent.values().flatten();
            let changed = changed.filter(|placed| range.holds(&placed.spot, up_to.as_deref()));
            added.extend(changed.map(|placed| placed.contribution.clone()));
            let edge = &mut ranges.edges[range.source];
            match up_to {
                None => (edge.partition, edge.after) = (range.partition + 1, None),
                up_to => edge.after = up_to,
            }
        }
        ranges.watch = Some(Watch { read_ended });
        Ok(added)
    }
}
