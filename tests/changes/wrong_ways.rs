//! The three obvious hand-offs, which are wrong. A test in which one of them were right would be too
//! gentle.

use edge_analytics::changes::stream::StreamRecord;

use crate::{
    engine::{Engine, apply, image, read, start},
    hand_off::{all_partitions, query_by_key},
    item::{Cells, add},
    seeds::Figures,
    stream::{Stream, run},
    world::{SECOND, Settings},
};

const SEEDS: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrongWay {
    /// Read the rows, then the stream from its latest record.
    RowsThenStream,
    /// Note the latest record, read the rows, then the stream from there.
    StreamThenRows,
    /// Read the rows, then those changes that were committed after the last row was read.
    NewerThanTheRows,
}

fn busy(seed: u64) -> Settings {
    Settings {
        write_within: 120,
        publication_lag: 5 * SECOND,
        is_in_commit_order: seed.is_multiple_of(2),
        ..Settings::default()
    }
}

/// Sums that were begun the wrong way.
async fn begin(stream: &Stream, way: WrongWay) -> Engine {
    let mut positions = start(stream).await.unwrap();
    if way == WrongWay::StreamThenRows {
        read(stream, &mut positions, &mut |_: &StreamRecord| {}).await.unwrap();
    }
    let mut cells = Cells::new();
    for range in all_partitions() {
        let mut after: Option<String> = None;
        loop {
            let (rows, is_whole) = query_by_key(stream, &range, after.as_deref());
            for (sort_key, _, image) in rows {
                add(&mut cells, &image.contribution_in(range.source), 1);
                after = Some(sort_key);
            }
            if is_whole {
                break;
            }
        }
    }
    let read_ended = stream.now();
    match way {
        WrongWay::RowsThenStream => {
            read(stream, &mut positions, &mut |_: &StreamRecord| {}).await.unwrap();
        }
        WrongWay::StreamThenRows => {}
        WrongWay::NewerThanTheRows => {
            let mut newer = |record: &StreamRecord| {
                if record.committed > read_ended {
                    let (old, new) = (record.old.as_ref(), record.new.as_ref());
                    apply(&mut cells, image(old), image(new));
                }
            };
            stream.pass(60 * SECOND);
            read(stream, &mut positions, &mut newer).await.unwrap();
        }
    }
    Engine { positions, cells, watch: None }
}

#[test]
fn the_obvious_ways_are_wrong_every_time() {
    for way in [WrongWay::RowsThenStream, WrongWay::StreamThenRows, WrongWay::NewerThanTheRows] {
        let mut figures = Figures::default();
        for seed in 0..SEEDS {
            let stream = Stream::new(seed, busy(seed));
            stream.pass(100 * SECOND);
            figures.worlds += 1;
            let is_exact = run(async {
                let mut engine = begin(&stream, way).await;
                stream.pass(30 * SECOND);
                engine.poll(&stream).await.unwrap();
                engine.is_exact(&stream) || engine.is_exact_at_the_end(&stream).await.unwrap()
            });
            *(if is_exact { &mut figures.exact } else { &mut figures.wrong }) += 1;
        }
        figures.print(&format!("{way:?}"));
        assert_eq!(figures.wrong, figures.worlds, "{way:?}: {figures:?}");
    }
}
