//! Runs that are cut off at any call or before they store anything, that are repeated, and two at once:
//! what is stored is exact.

use crate::{
    engine::{Engine, Stopped},
    item::Cells,
    seeds::{Figures, seeds, settings},
    stream::{Stream, run},
    world::SECOND,
};

const SEEDS: u64 = 60;
const RUNS: u32 = 25;

/// What is stored, with the version that the next write is on condition of.
#[derive(Clone)]
struct Stored {
    version: u32,
    positions: String,
    cells: Cells,
}

#[derive(Debug, Default)]
struct Ends {
    stored: u32,
    killed: u32,
    killed_before_storing: u32,
    refused: u32,
}

impl Stored {
    fn load(&self) -> Engine {
        Engine {
            positions: serde_json::from_str(&self.positions).unwrap(),
            cells: self.cells.clone(),
            watch: None,
        }
    }

    fn store(&mut self, based_on: u32, engine: &Engine) -> bool {
        let is_current = self.version == based_on;
        if is_current {
            self.version += 1;
            self.positions = serde_json::to_string(&engine.positions).unwrap();
            self.cells.clone_from(&engine.cells);
        }
        is_current
    }
}

/// One run on what was stored when it began; it is cut off after some calls, perhaps.
async fn run_once(stream: &Stream, stored: &Stored, ends: &mut Ends) -> Option<Engine> {
    let (is_killed, calls) = {
        let random = &mut stream.world().random;
        (random.chance(50), random.below(80))
    };
    stream.kill_after(is_killed.then(|| u32::try_from(calls).unwrap()));
    let mut engine = stored.load();
    let result = engine.poll(stream).await;
    stream.kill_after(None);
    match result {
        Ok(_) if stream.world().random.chance(15) => {
            ends.killed_before_storing += 1;
            None
        }
        Ok(_) => Some(engine),
        Err(Stopped::Killed) => {
            ends.killed += 1;
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn runs_that_are_killed_repeated_or_concurrent_cost_work_not_truth() {
    let (mut figures, mut ends) = (Figures::default(), Ends::default());
    for seed in 0..seeds(SEEDS) {
        let stream = Stream::new(seed, settings(seed));
        figures.worlds += 1;
        run(async {
            let engine = Engine::exact(&stream).await.unwrap();
            let mut stored =
                Stored { version: 0, positions: String::new(), cells: Cells::default() };
            assert!(stored.store(0, &engine));
            for _ in 0..RUNS {
                let pause = stream.world().random.time(60) * SECOND;
                stream.pass(pause);
                // One run, or two that begin with the same.
                let before = stored.clone();
                let runs = 1 + stream.world().random.below(2);
                for _ in 0..runs {
                    if let Some(engine) = run_once(&stream, &before, &mut ends).await {
                        if stored.store(before.version, &engine) {
                            ends.stored += 1;
                        } else {
                            ends.refused += 1;
                        }
                    }
                }
                assert!(stored.load().is_exact(&stream), "seed {seed}");
            }
            assert!(stored.load().is_exact_at_the_end(&stream).await.unwrap(), "seed {seed}");
            figures.exact += 1;
        });
        figures.calls += u64::from(stream.calls());
    }
    figures.print("runs that are cut off");
    println!("  {ends:?}");
    assert!(ends.killed > 200 && ends.refused > 100, "{ends:?}");
}
