//! The items of the simulated table and what they contribute to sums.
//!
//! Two sources: the items of parts 0 and 1 by their `sort`, and those with a flag by their `rank`, which
//! many share and which moves often. An item can lie in both, in one or in none.

use std::collections::{BTreeMap, HashMap};

use edge_analytics::{
    changes::ranges::{Placed, Spot},
    dynamodb::{AttributeValue, Item, key, string, text},
};

use crate::random::Random;

/// How many partitions each source has.
pub const PARTITIONS: [usize; 2] = [2, 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    part: usize,
    sort: u64,
    flag: bool,
    rank: u64,
    amount: i64,
}

/// Sums by name and hour.
pub type Cells = BTreeMap<(u8, u64), i64>;
pub type Contribution = Vec<((u8, u64), i64)>;

pub fn add(cells: &mut Cells, contribution: &Contribution, sign: i64) {
    for (cell, amount) in contribution {
        let sum = cells.entry(*cell).or_default();
        *sum += sign * amount;
        if *sum == 0 {
            cells.remove(cell);
        }
    }
}

impl Image {
    pub fn random(random: &mut Random) -> Self {
        let mut image = Self { part: 0, sort: 0, flag: false, rank: 0, amount: 0 };
        for field in 0..5 {
            image.change(field, random);
        }
        image
    }

    /// The image with one or two attributes changed.
    pub fn changed(mut self, random: &mut Random) -> Self {
        for _ in 0..=random.below(2) {
            self.change(random.below(5), random);
        }
        self
    }

    fn change(&mut self, field: u64, random: &mut Random) {
        match field {
            0 => self.part = random.one_of(&[0, 0, 1, 1, 2]),
            1 => self.sort = random.below(300),
            2 => self.flag = random.chance(50),
            3 => self.rank = random.below(12),
            _ => self.amount = i64::try_from(random.below(100)).unwrap() - 50,
        }
    }

    /// Its sort key in the partition of the source; `None` where it does not lie there.
    pub fn sort_key(&self, source: usize, partition: usize) -> Option<String> {
        match source {
            0 => (self.part == partition).then(|| format!("{:05}", self.sort)),
            _ => self.flag.then(|| format!("{:05}", self.rank)),
        }
    }

    /// Where it lies, with what it contributes there.
    pub fn placed(&self) -> Vec<Placed<Contribution>> {
        let mut found = Vec::new();
        for (source, partition) in [(0, self.part), (1, 0)] {
            let contribution = self.contribution_in(source);
            if let Some(sort_key) =
                self.sort_key(source, partition).filter(|_| !contribution.is_empty())
            {
                found.push(Placed { spot: Spot { source, partition, sort_key }, contribution });
            }
        }
        found
    }

    /// What it contributes in one source.
    pub fn contribution_in(&self, source: usize) -> Contribution {
        let hour = self.sort / 50;
        match source {
            0 if self.part < PARTITIONS[0] => vec![((0, hour), 1), ((1, hour), self.amount)],
            1 if self.flag => vec![((2, 0), 1)],
            _ => Contribution::new(),
        }
    }

    /// What it contributes in all sources together.
    pub fn contribution(&self) -> Contribution {
        (0..PARTITIONS.len()).flat_map(|source| self.contribution_in(source)).collect()
    }

    pub fn to_item(self, number_of_key: u64) -> Item {
        let Self { part, sort, flag, rank, amount } = self;
        let image = format!("{part} {sort} {} {rank} {amount}", u8::from(flag));
        let mut item: HashMap<String, AttributeValue> = keys(number_of_key).into();
        item.insert("image".to_owned(), string(image));
        item.into()
    }

    pub fn from_item(item: &Item) -> Self {
        let fields: Vec<i64> =
            text(item, "image").unwrap().split(' ').map(|field| field.parse().unwrap()).collect();
        let [part, sort, flag, rank, amount] = fields[..] else { panic!("{fields:?}") };
        let unsigned = |number: i64| u64::try_from(number).unwrap();
        Self {
            part: usize::try_from(part).unwrap(),
            sort: unsigned(sort),
            flag: flag == 1,
            rank: unsigned(rank),
            amount,
        }
    }
}

/// The table's key of the item with this number.
pub fn keys(number_of_key: u64) -> Item {
    key(format!("ITEM#{number_of_key}"), "METADATA")
}

/// The key of one of our own items.
pub fn own_keys() -> Item {
    Item::from(HashMap::from([
        ("PK".to_owned(), string("ANALYTICS_STATE")),
        ("SK".to_owned(), string("hourly")),
    ]))
}

/// The number in the table's key.
pub fn number_of(keys: &Item) -> u64 {
    text(keys, "PK").unwrap().strip_prefix("ITEM#").unwrap().parse().unwrap()
}
