//! The hand-off: sums that are exact at the end of the window, later and at the end, or that are thrown
//! away; never wrong.

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::changes::{
    positions::Positions,
    ranges::{Batch, Placed, Range, Ranges, ReadRange, Row, Signed},
    stream::{StreamRecord, key_hash},
    window::{Lags, OneWindow},
};

use crate::{
    engine::{Engine, Stopped, image, read, start},
    item::{Cells, Contribution, Image, PARTITIONS, add, keys},
    seeds::{Figures, seeds, settings},
    stream::{Stream, run},
    world::{SECOND, Settings},
};

const SEEDS: u64 = 200;
const PAGE: usize = 12;

pub fn lags(publication: i64, read: i64) -> Lags {
    Lags {
        publication_lag: TimeDelta::milliseconds(publication),
        read_lag: TimeDelta::milliseconds(read),
    }
}

pub fn wait_until(stream: &Stream, until: DateTime<Utc>) {
    let left = (until - stream.now()).num_milliseconds();
    if left > 0 {
        stream.pass(left);
    }
}

/// A page of an index: the rows, and whether the partition ends with them.
pub fn query(
    stream: &Stream,
    range: &Range,
    after: Option<&str>,
    limit: usize,
) -> (Vec<(String, u64, Image)>, bool) {
    let duration = stream.world().random.time(600);
    stream.pass(duration);
    let rows = stream.world().rows(range.source, range.partition, after, limit);
    let is_whole = rows.len() < limit;
    (rows, is_whole)
}

pub fn all_partitions() -> impl Iterator<Item = Range> {
    PARTITIONS.into_iter().enumerate().flat_map(|(source, partitions)| {
        (0..partitions).map(move |partition| Range { source, partition, after: None })
    })
}

async fn in_one_window(stream: &Stream, lags: Lags) -> Result<Engine, Stopped> {
    let mut positions = start(stream).await?;
    let mut window: OneWindow<Contribution> = OneWindow::new(stream.now(), lags);
    if let Err(early) = window.check_read(stream.now()) {
        wait_until(stream, early.until);
    }
    let take = |window: &mut OneWindow<Contribution>, record: &StreamRecord| {
        let new = image(record.new.as_ref()).map(|image| image.contribution());
        window.change(key_hash(&record.keys), new);
    };
    // What has changed before the read need not be kept twice.
    if stream.world().random.chance(50) {
        read(stream, &mut positions, &mut |record| take(&mut window, record)).await?;
    }
    for range in all_partitions() {
        let mut after: Option<String> = None;
        loop {
            // A query goes on behind the last row's key, so rows with the same sort key all come.
            let (rows, is_whole) = query_by_key(stream, &range, after.as_deref());
            for (sort_key, item, image) in rows {
                let contribution = image.contribution_in(range.source);
                window.row(key_hash(&keys(item)), range.source, contribution);
                after = Some(sort_key);
            }
            if is_whole {
                break;
            }
        }
    }
    let read_ended = stream.now();
    wait_until(stream, read_ended + lags.publication_lag);
    let (present, _) =
        read(stream, &mut positions, &mut |record| take(&mut window, record)).await?;
    let (contributions, watch) = window.finish(read_ended, present).unwrap();
    let mut cells = Cells::new();
    for contribution in contributions {
        add(&mut cells, &contribution, 1);
    }
    Ok(Engine { positions, cells, watch: Some(watch) })
}

/// A page that ends with all rows of its last sort key.
pub fn query_by_key(
    stream: &Stream,
    range: &Range,
    after: Option<&str>,
) -> (Vec<(String, u64, Image)>, bool) {
    let (mut rows, mut is_whole) = query(stream, range, after, PAGE);
    let mut limit = PAGE;
    while !is_whole {
        let last = rows.last().map(|row| row.0.clone()).unwrap();
        let kept = rows.partition_point(|row| row.0 < last);
        if kept > 0 {
            rows.truncate(kept);
            break;
        }
        limit += PAGE;
        (rows, is_whole) = query(stream, range, after, limit);
    }
    (rows, is_whole)
}

/// What is stored between two batches.
struct Building {
    positions: Positions,
    ranges: Ranges,
    cells: Cells,
}

fn placed(image: Option<Image>) -> Vec<Placed<Contribution>> {
    image.map(|image| image.placed()).unwrap_or_default()
}

impl Building {
    /// Applies a change to what is summed.
    fn change(&mut self, record: &StreamRecord) -> bool {
        let (old, new) = (placed(image(record.old.as_ref())), placed(image(record.new.as_ref())));
        for signed in self.ranges.change(old, new) {
            match signed {
                Signed::Plus(contribution) => add(&mut self.cells, &contribution, 1),
                Signed::Minus(contribution) => add(&mut self.cells, &contribution, -1),
            }
        }
        self.ranges.watch().is_some_and(|watch| watch.is_breached_by(record.committed))
    }

    /// Reads up to the present. The positions are apart, because the sums change meanwhile.
    async fn read(
        &mut self,
        stream: &Stream,
        batch: &mut Option<Batch<Contribution>>,
    ) -> Result<DateTime<Utc>, Stopped> {
        let mut positions = self.positions.clone();
        let mut is_breached = false;
        let mut on_record = |record: &StreamRecord| {
            is_breached |= self.change(record);
            if let Some(batch) = batch {
                batch.change(key_hash(&record.keys), placed(image(record.new.as_ref())));
            }
        };
        let (started, _) = read(stream, &mut positions, &mut on_record).await?;
        self.positions = positions;
        if is_breached { Err(Stopped::Breach) } else { Ok(started) }
    }

    /// Extends what is summed by up to three ranges.
    async fn extend(&mut self, stream: &Stream, lags: Lags) -> Result<(), Stopped> {
        self.read(stream, &mut None).await?;
        let mut batch = Some(Batch::open(stream.now(), lags));
        if let Err(early) = batch.as_ref().unwrap().check_read(stream.now()) {
            wait_until(stream, early.until);
        }
        let mut ranges = Vec::new();
        for range in self.ranges.next_ranges() {
            let mut limit = PAGE;
            ranges.push(loop {
                let (rows, is_whole) = query(stream, &range, range.after.as_deref(), limit);
                let row = |(sort_key, item, image): (String, u64, Image)| Row {
                    item: key_hash(&keys(item)),
                    sort_key,
                    contribution: image.contribution_in(range.source),
                };
                let rows = rows.into_iter().map(row).collect();
                match ReadRange::new(range.clone(), rows, is_whole) {
                    Ok(range) => break range,
                    Err(_) => limit += PAGE,
                }
            });
        }
        let read_ended = stream.now();
        wait_until(stream, read_ended + lags.publication_lag);
        let present = self.read(stream, &mut batch).await?;
        let batch = batch.take().unwrap();
        for contribution in batch.finish(&mut self.ranges, ranges, read_ended, present).unwrap() {
            add(&mut self.cells, &contribution, 1);
        }
        Ok(())
    }
}

/// In ranges; every message that is cut off begins its batch again with what is stored.
async fn in_ranges(stream: &Stream, lags: Lags, kills: u64) -> Result<Engine, Stopped> {
    let store = |building: &Building| {
        let ranges = serde_json::to_string(&building.ranges).unwrap();
        (serde_json::to_string(&building.positions).unwrap(), ranges, building.cells.clone())
    };
    let first = Building {
        positions: start(stream).await?,
        ranges: Ranges::new(&PARTITIONS),
        cells: Cells::new(),
    };
    let mut stored = store(&first);
    loop {
        let mut building = Building {
            positions: serde_json::from_str(&stored.0).unwrap(),
            ranges: serde_json::from_str(&stored.1).unwrap(),
            cells: stored.2.clone(),
        };
        if building.ranges.is_complete() {
            let Building { positions, ranges, cells } = building;
            return Ok(Engine { positions, cells, watch: ranges.watch().copied() });
        }
        let calls = {
            let random = &mut stream.world().random;
            random.chance(kills).then(|| u32::try_from(random.below(60)).unwrap())
        };
        stream.kill_after(calls);
        let result = building.extend(stream, lags).await;
        stream.kill_after(None);
        match result {
            Ok(()) => stored = store(&building),
            Err(Stopped::Killed) => {}
            Err(other) => return Err(other),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    OneWindow,
    Ranges { kills: u64 },
}

/// Whether the sums are exact at the end of the hand-off, later and at the end.
async fn check(stream: &Stream, way: Way, lags: Lags) -> Result<bool, Stopped> {
    let mut engine = match way {
        Way::OneWindow => in_one_window(stream, lags).await?,
        Way::Ranges { kills } => in_ranges(stream, lags, kills).await?,
    };
    let mut is_exact = engine.is_exact(stream);
    for _ in 0..2 {
        stream.pass(40 * SECOND);
        engine.poll(stream).await?;
        is_exact &= engine.is_exact(stream);
    }
    Ok(engine.is_exact_at_the_end(stream).await? && is_exact)
}

fn hand_off(
    what: &str,
    way: Way,
    count: u64,
    settings: impl Fn(u64) -> (Settings, Lags),
) -> Figures {
    let mut figures = Figures::default();
    for seed in 0..seeds(count) {
        let (settings, lags) = settings(seed);
        let stream = Stream::new(seed, settings);
        stream.pass(100 * SECOND);
        figures.worlds += 1;
        match run(check(&stream, way, lags)) {
            Ok(true) => figures.exact += 1,
            Ok(false) => figures.wrong += 1,
            Err(Stopped::Gap(_) | Stopped::Breach) => figures.noticed += 1,
            Err(Stopped::Killed) => panic!("seed {seed}: killed"),
        }
        figures.writes += stream.world().writes;
        figures.calls += u64::from(stream.calls());
    }
    figures.print(what);
    figures
}

/// A world at random and what must be assumed of it.
fn within_the_assumptions(seed: u64, index_lag: bool) -> (Settings, Lags) {
    let mut settings = settings(seed);
    if index_lag {
        settings.index_lag = 1 + i64::try_from(seed % 40).unwrap() * SECOND;
    }
    let publication = settings.publication_lag + settings.listing_lag + SECOND;
    let lags = lags(publication, settings.index_lag);
    (settings, lags)
}

fn assert_exact(figures: Figures) {
    assert_eq!(figures.exact, figures.worlds, "{figures:?}");
}

#[test]
fn one_window_over_consistent_reads_is_exact() {
    let world = |seed: u64| within_the_assumptions(seed, false);
    assert_exact(hand_off("one window, consistent reads", Way::OneWindow, SEEDS, world));
}

#[test]
fn one_window_over_a_stale_index_is_exact() {
    let world = |seed: u64| within_the_assumptions(seed + 10_000, true);
    assert_exact(hand_off("one window, stale index", Way::OneWindow, SEEDS, world));
}

#[test]
fn ranges_are_exact() {
    let world = |seed: u64| within_the_assumptions(seed + 20_000, seed.is_multiple_of(2));
    assert_exact(hand_off("ranges", Way::Ranges { kills: 0 }, SEEDS / 2, world));
}

#[test]
fn ranges_that_are_cut_off_and_resumed_are_exact() {
    let world = |seed: u64| within_the_assumptions(seed + 30_000, seed.is_multiple_of(2));
    assert_exact(hand_off("ranges, cut off", Way::Ranges { kills: 40 }, SEEDS / 2, world));
}

/// The stream publishes later than assumed: whatever is wrong is noticed.
#[test]
fn a_publication_lag_that_is_too_small_is_noticed() {
    let world = |seed: u64| {
        let mut settings = settings(seed + 40_000);
        (settings.publication_lag, settings.is_in_commit_order) =
            (60 * SECOND, seed.is_multiple_of(2));
        (settings, lags(2 * SECOND, 0))
    };
    for (what, way) in [("one window", Way::OneWindow), ("ranges", Way::Ranges { kills: 0 })] {
        let figures = hand_off(&format!("{what}, published too late"), way, 100, world);
        assert_eq!(figures.wrong, 0, "{what}: {figures:?}");
        assert!(figures.noticed > 80, "{what}: {figures:?}");
    }
}

/// What the hand-off cannot notice: reads that are staler than assumed. The test must see that they
/// make wrong sums, or it would not see when the window were missing.
#[test]
fn an_index_that_is_staler_than_assumed_makes_wrong_sums() {
    let world = |seed: u64| {
        let mut settings = settings(seed + 50_000);
        (settings.index_lag, settings.roll_within) = (60 * SECOND, 30 * SECOND);
        settings.listing_lag = SECOND;
        let publication = settings.publication_lag + 2 * SECOND;
        (settings, lags(publication, 0))
    };
    let figures = hand_off("one window, staler than assumed", Way::OneWindow, 100, world);
    assert!(figures.wrong > 5, "{figures:?}");
}
