//! A stream keeps its records for 24 hours: what is read in time is exact, everything else is noticed.

use edge_analytics::changes::positions::Gap;

use crate::{
    engine::{Engine, Stopped},
    seeds::{Figures, seeds},
    stream::{Stream, run},
    world::{HOUR, SECOND, Settings},
};

const SEEDS: u64 = 40;

/// Shards that live for hours, and few writes.
fn slow(seed: u64) -> Settings {
    Settings {
        items: 60,
        partitions: 1 + seed % 3,
        write_within: HOUR / 3,
        roll_within: 4 * HOUR,
        splits: 10,
        unlisted: 10 * (seed % 2),
        ..Settings::default()
    }
}

/// Begins, however often it takes: a list that lacks shards is noticed at once.
async fn begin(stream: &Stream) -> Engine {
    loop {
        match Engine::exact_at_present(stream).await {
            Ok(engine) => return engine,
            Err(Stopped::Gap(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_read_in_time_is_exact_and_everything_else_is_noticed() {
    let mut figures = Figures::default();
    let (mut most_shards, mut reasons) = (0, std::collections::BTreeMap::<&str, u32>::new());
    for seed in 0..seeds(SEEDS) {
        let stream = Stream::new(seed, slow(seed));
        stream.pass(30 * HOUR);
        run(async {
            let mut engine = begin(&stream).await;
            for _ in 0..60 {
                let pause = {
                    let random = &mut stream.world().random;
                    if random.chance(80) { random.time(3 * HOUR) } else { random.time(34 * HOUR) }
                };
                stream.pass(pause);
                figures.worlds += 1;
                match engine.poll(&stream).await {
                    Ok(_) if engine.is_exact(&stream) => figures.exact += 1,
                    Ok(_) => panic!("seed {seed}: wrong and not noticed"),
                    Err(Stopped::Gap(gap)) => {
                        figures.noticed += 1;
                        *reasons.entry(name(&gap)).or_default() += 1;
                        engine = begin(&stream).await;
                    }
                    Err(other) => panic!("seed {seed}: {other:?}"),
                }
                most_shards = most_shards.max(engine.positions.places().count());
            }
        });
        figures.writes += stream.world().writes;
    }
    figures.print("readings with pauses up to 34 hours");
    println!("  because of {reasons:?}; at most {most_shards} shards remembered");
    assert!(figures.exact > 1500 && figures.noticed > 100, "{figures:?}");
    assert!(most_shards < 250, "{most_shards} shards are remembered");
}

fn name(gap: &Gap) -> &'static str {
    match gap {
        Gap::Replaced { .. } => "replaced",
        Gap::Disabled => "disabled",
        Gap::Trimmed { .. } => "trimmed",
        Gap::NotFound { .. } => "not found",
        Gap::TooOld { .. } => "too old",
        Gap::UnknownShard { .. } => "unknown shard",
        Gap::OutOfOrder { .. } => "out of order",
    }
}

/// Nothing was written for days: the positions do not grow old by that.
#[test]
fn a_table_without_changes_has_no_gap() {
    run(async {
        let stream = Stream::new(3, slow(2));
        stream.pass(HOUR);
        let mut engine = Engine::exact(&stream).await.unwrap();
        stream.world().is_frozen = true;
        for _ in 0..100 {
            stream.pass(20 * HOUR);
            engine.poll(&stream).await.unwrap();
        }
        assert!(engine.is_exact(&stream));
        assert!(engine.positions.places().count() < 300);
    });
}

/// What the next reading says after something has happened to the stream.
fn gap_after(change: impl FnOnce(&Stream)) -> Gap {
    run(async {
        let stream = Stream::new(5, Settings::default());
        stream.pass(60 * SECOND);
        let mut engine = Engine::exact(&stream).await.unwrap();
        stream.pass(60 * SECOND);
        engine.poll(&stream).await.unwrap();
        change(&stream);
        stream.pass(60 * SECOND);
        match engine.poll(&stream).await {
            Err(Stopped::Gap(gap)) => gap,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn another_stream_is_a_gap() {
    let gap = gap_after(|stream| {
        let mut world = stream.world();
        world.is_enabled = false;
        world.pass(60 * SECOND);
        world.is_enabled = true;
        world.begin_stream();
    });
    assert_eq!(gap, Gap::Replaced { found: "stream/2".to_owned() });
}

#[test]
fn a_stream_that_is_disabled_is_a_gap() {
    assert_eq!(gap_after(|stream| stream.world().is_enabled = false), Gap::Disabled);
}

#[test]
fn a_pause_of_a_day_is_a_gap() {
    let gap = gap_after(|stream| {
        stream.world().is_frozen = true;
        stream.pass(23 * HOUR + 10 * SECOND);
    });
    assert!(matches!(gap, Gap::TooOld { .. }), "{gap}");
}
