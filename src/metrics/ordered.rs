//! Ordered maps, sets and vectors from iterators, one item at a time.
//!
//! `collect` and `sort` bring sorting code for each type of item: 80 KB of the package before
//! compression. The collections here have tens of items.

use std::collections::{BTreeMap, BTreeSet};

/// Collects an iterator without sorting it first.
pub trait Ordered: Iterator + Sized {
    /// The items as a set.
    fn ordered_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        set.extend(self);
        set
    }

    /// The items as a map. Of equal keys the last one stays, as with `collect`.
    fn ordered_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        map.extend(self);
        map
    }

    /// The items in ascending order. Equal ones keep their order.
    fn ordered_vec(self) -> Vec<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut items = Vec::new();
        for item in self {
            let at = items.partition_point(|before| *before <= item);
            items.insert(at, item);
        }
        items
    }
}

impl<Items: Iterator> Ordered for Items {}
