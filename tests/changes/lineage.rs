//! Every change once and in order, whatever the shards and their listings do.

use edge_analytics::changes::positions::{Gap, Positions};

use crate::{
    engine::{Engine, Stopped},
    seeds::{Figures, seeds, settings},
    stream::{Stream, run},
    world::SECOND,
};

const SEEDS: u64 = 300;

/// Follows a table over some time; whether a gap was noticed.
async fn follow(stream: &Stream) -> Result<(), Stopped> {
    let mut engine = Engine::exact(stream).await?;
    for _ in 0..6 {
        let pause = stream.world().random.time(200) * SECOND;
        stream.pass(pause);
        engine.poll(stream).await?;
        assert!(engine.is_exact(stream));
        let stored = serde_json::to_string(&engine.positions).unwrap();
        engine.positions = serde_json::from_str(&stored).unwrap();
    }
    assert!(engine.is_exact_at_the_end(stream).await?);
    Ok(())
}

fn follow_all(what: &str, unlisted: u64) -> Figures {
    let mut figures = Figures::default();
    for seed in 0..seeds(SEEDS) {
        let mut settings = settings(seed);
        settings.unlisted = unlisted;
        let stream = Stream::new(seed, settings);
        // The stream has a past of its own when reading begins.
        stream.pass(150 * SECOND);
        figures.worlds += 1;
        match run(follow(&stream)) {
            Ok(()) => figures.exact += 1,
            Err(Stopped::Gap(Gap::UnknownShard { .. } | Gap::OutOfOrder { .. })) => {
                figures.noticed += 1;
            }
            Err(other) => panic!("seed {seed}: {other:?}"),
        }
        let world = stream.world();
        figures.writes += world.writes;
        figures.rolls += world.shards.iter().filter(|shard| shard.closed.is_some()).count() as u64;
        drop(world);
        figures.calls += u64::from(stream.calls());
    }
    figures.print(what);
    figures
}

#[test]
fn every_change_is_read_once_and_in_order() {
    let figures = follow_all("lineages", 0);
    assert_eq!(figures.exact, figures.worlds);
    assert!(figures.rolls > 1000);
}

/// A listing can lack any closed shard. What was read stays right; where a start has missed a part of a
/// lineage, that is noticed.
#[test]
fn shards_that_are_missing_in_a_listing_are_not_read_twice() {
    let figures = follow_all("lineages with shards missing in listings", 10);
    assert!(figures.noticed * 10 <= figures.worlds, "{figures:?}");
}

#[test]
fn our_own_records_alone_change_nothing() {
    run(async {
        let mut settings = settings(1);
        (settings.own_writes, settings.roll_within) = (100, 100_000 * SECOND);
        let stream = Stream::new(1, settings);
        let mut engine = Engine::exact(&stream).await.unwrap();
        stream.pass(60 * SECOND);
        engine.poll(&stream).await.unwrap();
        stream.pass(60 * SECOND);
        let tally = engine.poll(&stream).await.unwrap();
        assert_eq!(tally.records, 0);
        assert!(tally.own_records > 20, "{tally:?}");
        assert!(!tally.has_changed_state());
    });
}

#[test]
fn positions_that_cannot_be_read_are_rejected() {
    for text in [
        "{}",
        r#"{"stream":"a"}"#,
        r#"{"stream":"a","shards":{},"other":1}"#,
        r#"{"stream":"a","shards":{"b":{"until":"1"}}}"#,
        r#"{"stream":"a","shards":{"b":{"until":1,"ended":{}}}}"#,
    ] {
        assert!(serde_json::from_str::<Positions>(text).is_err(), "{text}");
    }
}
