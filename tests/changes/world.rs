//! A table with writers, and its stream as it comes about: partitions that split, shards that roll,
//! changes that are published late.

use std::collections::BTreeMap;

use edge_analytics::changes::positions::{Place, Positions};

use crate::{
    item::{Cells, Image, add},
    random::{Random, mix},
};

/// 2026-01-01, in milliseconds.
pub const BEGIN: i64 = 1_767_225_600_000;
pub const SECOND: i64 = 1000;
pub const HOUR: i64 = 3_600_000;

/// How the table and its stream behave. Times are in milliseconds, shares in per cent.
#[derive(Debug, Clone)]
pub struct Settings {
    pub items: u64,
    pub partitions: u64,
    /// The longest time between two writes.
    pub write_within: i64,
    /// How late a change can be published, a shard be listed, and an index be.
    pub publication_lag: i64,
    pub listing_lag: i64,
    pub index_lag: i64,
    /// Whether a shard has its records in the order of their commits; otherwise only those of an item.
    pub is_in_commit_order: bool,
    pub roll_within: i64,
    pub splits: u64,
    pub empty_pages: u64,
    pub expired_iterators: u64,
    /// Of a thousand.
    pub failed_calls: u64,
    /// How often a closed shard is missing in a listing.
    pub unlisted: u64,
    pub retention: i64,
    /// How many writes are ours.
    pub own_writes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            items: 120,
            partitions: 3,
            write_within: 400,
            publication_lag: 5 * SECOND,
            listing_lag: 20 * SECOND,
            index_lag: 0,
            is_in_commit_order: true,
            roll_within: 120 * SECOND,
            splits: 5,
            empty_pages: 30,
            expired_iterators: 2,
            failed_calls: 1,
            unlisted: 0,
            retention: 24 * HOUR,
            own_writes: 10,
        }
    }
}

/// A change of an item, or of one of ours (`None`).
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub item: Option<u64>,
    pub old: Option<Image>,
    pub new: Option<Image>,
    pub committed: i64,
}

/// A change in its shard.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    pub change: Change,
    pub sequence: u64,
    pub published: i64,
}

#[derive(Debug, Clone)]
pub struct SimulatedShard {
    pub parent: Option<usize>,
    pub born: i64,
    pub closed: Option<i64>,
    pub log: Vec<Logged>,
}

/// A partition of the table, with its open shard.
#[derive(Debug, Clone)]
struct Partition {
    modulus: u64,
    residues: Vec<u64>,
    splits: u32,
    shard: usize,
    rolls_at: i64,
    pending: Vec<(i64, Change)>,
    last_published: i64,
}

pub struct World {
    pub settings: Settings,
    pub random: Random,
    pub now: i64,
    pub items: BTreeMap<u64, Image>,
    initial: BTreeMap<u64, Image>,
    /// What each item was, from when on.
    history: BTreeMap<u64, Vec<(i64, Option<Image>)>>,
    pub shards: Vec<SimulatedShard>,
    partitions: Vec<Partition>,
    sequence: u64,
    /// Counts the streams of the table.
    pub stream: u32,
    pub is_enabled: bool,
    pub is_frozen: bool,
    pub writes: u64,
}

/// The identifier of a shard.
pub fn shard_id(stream: u32, index: usize) -> String {
    format!("shardId-{stream:04}-{index:08}")
}

/// The shard's index.
pub fn shard_index(id: &str) -> usize {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut random = Random::new(mix(seed));
        let mut items = BTreeMap::new();
        for item in 0..settings.items {
            if random.chance(80) {
                items.insert(item, Image::random(&mut random));
            }
        }
        let mut world = Self {
            settings,
            random,
            now: BEGIN,
            items,
            initial: BTreeMap::new(),
            history: BTreeMap::new(),
            shards: Vec::new(),
            partitions: Vec::new(),
            sequence: 0,
            stream: 0,
            is_enabled: true,
            is_frozen: false,
            writes: 0,
        };
        world.begin_stream();
        world
    }

    /// Another stream, from what the table has now.
    pub fn begin_stream(&mut self) {
        self.stream += 1;
        self.initial = self.items.clone();
        self.shards.clear();
        let number = self.settings.partitions;
        self.partitions.clear();
        for residue in 0..number {
            let shard = self.open_shard(None);
            let rolls_at = self.now + self.random.time(self.settings.roll_within);
            self.partitions.push(Partition {
                modulus: number,
                residues: vec![residue],
                splits: 0,
                shard,
                rolls_at,
                pending: Vec::new(),
                last_published: 0,
            });
        }
    }

    fn open_shard(&mut self, parent: Option<usize>) -> usize {
        let born = self.now;
        self.shards.push(SimulatedShard { parent, born, closed: None, log: Vec::new() });
        self.shards.len() - 1
    }

    /// Time passes; the writers write.
    pub fn pass(&mut self, milliseconds: i64) {
        let end = self.now + milliseconds;
        while self.now < end {
            let within = self.settings.write_within;
            let within = if self.is_frozen { within.max(SECOND) } else { within };
            let step = 1 + self.random.time(within);
            if self.now + step > end {
                self.now = end;
            } else {
                self.now += step;
                if !self.is_frozen {
                    self.write_something();
                }
            }
            self.publish();
        }
    }

    fn write_something(&mut self) {
        if self.random.chance(self.settings.own_writes) {
            let change = Change { item: None, old: None, new: None, committed: self.now };
            let last = self.partitions.len() - 1;
            self.partitions[last].pending.push((self.now, change));
            return;
        }
        // Half of all writes are to a few items, so that many change while they are read.
        let among = if self.random.chance(50) { 5 } else { self.settings.items };
        let item = self.random.below(among);
        let old = self.items.get(&item).copied();
        let new = match (old, self.random.below(100)) {
            (None, 0..80) => Some(Image::random(&mut self.random)),
            // Removed, or nothing to remove.
            (None, _) | (Some(_), 0..12) => None,
            // Written without a change: there is no record of it.
            (Some(old), 12..20) => Some(old),
            (Some(old), _) => Some(old.changed(&mut self.random)),
        };
        self.write(item, old, new);
    }

    fn write(&mut self, item: u64, old: Option<Image>, new: Option<Image>) {
        if old == new {
            return;
        }
        self.writes += 1;
        match new {
            Some(new) => self.items.insert(item, new),
            None => self.items.remove(&item),
        };
        let initial = self.initial.get(&item).copied();
        let history = self.history.entry(item).or_insert_with(|| vec![(i64::MIN, initial)]);
        history.push((self.now, new));
        if !self.is_enabled {
            return;
        }
        let change = Change { item: Some(item), old, new, committed: self.now };
        let mut published = self.now + self.random.short(self.settings.publication_lag);
        let hash = mix(item);
        let partition = self.partitions.iter_mut().find(|partition| partition.holds(hash)).unwrap();
        if self.settings.is_in_commit_order {
            published = published.max(partition.last_published);
            partition.last_published = published;
        } else {
            let earlier =
                partition.pending.iter().filter(|(_, earlier)| earlier.item == Some(item));
            published = earlier.map(|(at, _)| *at).fold(published, i64::max);
        }
        partition.pending.push((published, change));
    }

    fn publish(&mut self) {
        let mut index = 0;
        while let Some(partition) = self.partitions.get_mut(index) {
            if partition.pending.iter().any(|(at, _)| *at <= self.now) {
                partition.pending.sort_by_key(|(at, _)| *at);
                let due = partition.pending.partition_point(|(at, _)| *at <= self.now);
                for (_, change) in partition.pending.drain(..due) {
                    self.sequence += 1;
                    let logged = Logged { change, sequence: self.sequence, published: self.now };
                    self.shards[partition.shard].log.push(logged);
                }
            }
            if self.now < partition.rolls_at {
                index += 1;
            } else {
                let partition = self.partitions.remove(index);
                self.roll(&partition);
            }
        }
    }

    /// Closes the partition's shard; one follows, or two if the partition splits.
    fn roll(&mut self, partition: &Partition) {
        self.shards[partition.shard].closed = Some(self.now);
        let is_split = partition.splits < 1 && self.random.chance(self.settings.splits);
        let (modulus, halves) =
            if is_split { (partition.modulus * 2, 2) } else { (partition.modulus, 1) };
        for half in 0..halves {
            let residues: Vec<u64> =
                partition.residues.iter().map(|one| one + half * partition.modulus).collect();
            let shard = self.open_shard(Some(partition.shard));
            let roll = self.settings.roll_within;
            let mut child = Partition {
                modulus,
                residues,
                splits: partition.splits + u32::from(is_split),
                shard,
                rolls_at: self.now + roll / 2 + self.random.time(roll),
                pending: Vec::new(),
                last_published: partition.last_published,
            };
            let holds =
                |change: &Change| change.item.map_or(half == 0, |one| child.holds(mix(one)));
            let pending: Vec<_> =
                partition.pending.iter().filter(|(_, change)| holds(change)).copied().collect();
            child.pending = pending;
            self.partitions.push(child);
        }
    }

    /// The rows of a source's partition behind `after`, at most `limit`, as an index returns them: each
    /// up to `index_lag` old.
    pub fn rows(
        &mut self,
        source: usize,
        partition: usize,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, u64, Image)> {
        let mut rows = Vec::new();
        for item in 0..self.settings.items {
            let Some(image) = self.stale(item) else { continue };
            let Some(sort_key) = image.sort_key(source, partition) else { continue };
            if after.is_none_or(|after| sort_key.as_str() > after) {
                rows.push((sort_key, item, image));
            }
        }
        rows.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        rows.truncate(limit);
        rows
    }

    /// The item as it was a moment ago.
    fn stale(&mut self, item: u64) -> Option<Image> {
        let lag = self.settings.index_lag;
        let Some(history) = self.history.get(&item).filter(|_| lag > 0) else {
            return self.items.get(&item).copied();
        };
        let part = i64::try_from(self.random.below(1000)).unwrap();
        let at = self.now - lag * part / 1000 * part / 1000;
        let known = history.partition_point(|(from, _)| *from <= at);
        history[known.max(1) - 1].1
    }

    /// The sums at a position: of the items that the stream began with, and every change up to it.
    pub fn truth_at(&self, positions: &Positions) -> Cells {
        let places: BTreeMap<usize, Place<'_>> =
            positions.places().map(|(id, place)| (shard_index(id), place)).collect();
        // Children come after their parents, so what lies behind a shard is known before it.
        let mut is_past = vec![false; self.shards.len()];
        for index in (0..self.shards.len()).rev() {
            if let Some(parent) = self.shards[index].parent
                && (is_past[index] || places.contains_key(&index))
            {
                is_past[parent] = true;
            }
        }
        let mut cells = Cells::new();
        for image in self.initial.values() {
            add(&mut cells, &image.contribution(), 1);
        }
        for (index, shard) in self.shards.iter().enumerate() {
            let read = match places.get(&index) {
                None if is_past[index] => shard.log.len(),
                None | Some(Place::Beginning) => 0,
                Some(Place::End) => shard.log.len(),
                Some(Place::After(sequence)) => {
                    let sequence: u64 = sequence.parse().unwrap();
                    shard.log.partition_point(|logged| logged.sequence <= sequence)
                }
            };
            for Logged { change, .. } in &shard.log[..read] {
                for (image, sign) in [(change.old, -1), (change.new, 1)] {
                    if let Some(image) = image {
                        add(&mut cells, &image.contribution(), sign);
                    }
                }
            }
        }
        cells
    }

    /// The sums of what the table has now.
    pub fn truth(&self) -> Cells {
        let mut cells = Cells::new();
        for image in self.items.values() {
            add(&mut cells, &image.contribution(), 1);
        }
        cells
    }
}

impl Partition {
    fn holds(&self, hash: u64) -> bool {
        self.residues.contains(&(hash % self.modulus))
    }
}
