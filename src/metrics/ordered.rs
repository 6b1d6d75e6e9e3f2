//! Ordered maps and sets from iterators, item by item.
//!
//! `collect` sorts a list first, with sorting code for every type of item: 60 KB of the package before
//! compression. What is collected here has tens of items.

use std::collections::{BTreeMap, BTreeSet};

/// Collecting without sorting first.
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

    /// The items as a map; of equal keys the last one counts, as with `collect`.
    fn ordered_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        map.extend(self);
        map
    }
}

impl<Items: Iterator> Ordered for Items {}
