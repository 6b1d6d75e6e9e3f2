//! Ordered maps and sets from iterators, one item at a time.
//!
//! `collect` sorts all items first, with sorting code for each type of item: 60 KB of the package
//! before compression. The collections here have tens of items.

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
}

impl<Items: Iterator> Ordered for Items {}
