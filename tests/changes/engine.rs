//! Sums that are kept from the stream, as a run keeps them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use edge_analytics::{
    changes::{
        positions::{Gap, Positions},
        reading::{OnRecord, Reached, Reading, ReadingError, Tally, list_shards},
        stream::{StreamError, StreamRecord},
        window::Watch,
    },
    dynamodb::Item,
};

use crate::{
    item::{Cells, Image, add, number_of},
    stream::Stream,
    world::SECOND,
};

/// Why a run ended early.
#[derive(Debug)]
pub enum Stopped {
    Killed,
    Gap(Gap),
    /// The stream published later than assumed.
    Breach,
}

impl From<Gap> for Stopped {
    fn from(gap: Gap) -> Self {
        Self::Gap(gap)
    }
}

#[derive(Debug, Clone)]
pub struct Engine {
    pub positions: Positions,
    pub cells: Cells,
    pub watch: Option<Watch>,
}

pub fn image(image: Option<&Item>) -> Option<Image> {
    image.map(Image::from_item)
}

fn is_killed(error: &StreamError) -> bool {
    matches!(error, StreamError::Failed(error) if error.code() == Some("Killed"))
}

/// Positions at or before the present.
pub async fn start(stream: &Stream) -> Result<Positions, Stopped> {
    loop {
        match list_shards(stream).await {
            Ok((listing, shards)) => {
                let shards: Vec<_> = shards.into_values().collect();
                return Ok(Positions::start(listing.stream, &shards, stream.now()));
            }
            Err(error) if is_killed(&error) => return Err(Stopped::Killed),
            Err(_) => {}
        }
    }
}

/// Reads up to the present, however often it takes; when the reading that got there started.
pub async fn read(
    stream: &Stream,
    positions: &mut Positions,
    on_record: &mut OnRecord<'_>,
) -> Result<(DateTime<Utc>, Tally), Stopped> {
    let mut total = Tally::default();
    loop {
        let budget = 200 + u32::try_from(stream.world().random.below(2000)).unwrap();
        let mut reading = Reading::start(positions, stream.now(), budget)?;
        let is_present = loop {
            match reading.proceed(stream, on_record).await {
                Ok(Reached::Present) => break true,
                Ok(Reached::AwaitingShards) => stream.pass(2 * SECOND),
                Ok(Reached::Interrupted(error)) | Err(ReadingError::Stream(error))
                    if is_killed(&error) =>
                {
                    return Err(Stopped::Killed);
                }
                Ok(Reached::Incomplete | Reached::OutOfBudget | Reached::Interrupted(_))
                | Err(ReadingError::Stream(_)) => break false,
                Err(ReadingError::Gap(gap)) => return Err(gap.into()),
            }
        };
        let tally = reading.tally();
        total.records += tally.records;
        total.own_records += tally.own_records;
        total.shard_changes += tally.shard_changes;
        if is_present {
            return Ok((reading.started(), total));
        }
    }
}

/// What must hold between the changes of an item: each begins where the last one ended. Checked only
/// where no gap is noticed afterwards.
#[derive(Default)]
struct Continuity {
    last: BTreeMap<u64, Option<Image>>,
    broken: Option<u64>,
}

impl Continuity {
    fn take(&mut self, item: u64, old: Option<Image>, new: Option<Image>) {
        if self.last.insert(item, new).is_some_and(|before| before != old) {
            self.broken = Some(item);
        }
    }
}

impl Engine {
    /// An engine whose sums are those at its positions.
    pub async fn exact(stream: &Stream) -> Result<Self, Stopped> {
        let positions = start(stream).await?;
        let cells = stream.world().truth_at(&positions);
        Ok(Self { positions, cells, watch: None })
    }

    /// An engine whose sums are those of the present. Records that are removed while the positions are
    /// noted lie before it.
    pub async fn exact_at_present(stream: &Stream) -> Result<Self, Stopped> {
        let mut positions = start(stream).await?;
        read(stream, &mut positions, &mut |_: &StreamRecord| {}).await?;
        let cells = stream.world().truth_at(&positions);
        Ok(Self { positions, cells, watch: None })
    }

    /// Applies the changes up to the present.
    pub async fn poll(&mut self, stream: &Stream) -> Result<Tally, Stopped> {
        let Self { positions, cells, watch } = self;
        let mut is_breached = false;
        let mut continuity = Continuity::default();
        let mut on_record = |record: &StreamRecord| {
            is_breached |= watch.is_some_and(|watch| watch.is_breached_by(record.committed));
            let (old, new) = (image(record.old.as_ref()), image(record.new.as_ref()));
            continuity.take(number_of(&record.keys), old, new);
            apply(cells, old, new);
        };
        let (_, tally) = read(stream, positions, &mut on_record).await?;
        assert_eq!(continuity.broken, None, "an item whose changes are out of order");
        if is_breached { Err(Stopped::Breach) } else { Ok(tally) }
    }

    /// Whether the sums are those at the positions.
    pub fn is_exact(&self, stream: &Stream) -> bool {
        self.cells == stream.world().truth_at(&self.positions)
    }

    /// Stops the writers and reads what is left; whether the sums are those of the table.
    pub async fn is_exact_at_the_end(&mut self, stream: &Stream) -> Result<bool, Stopped> {
        stream.world().is_frozen = true;
        // A shard that is missing in one listing is in a later one.
        let mut quiet = 0;
        while quiet < 3 {
            stream.pass(90 * SECOND);
            let tally = self.poll(stream).await?;
            if self.cells == stream.world().truth() {
                return Ok(true);
            }
            quiet = if tally.records == 0 { quiet + 1 } else { 0 };
        }
        Ok(false)
    }
}

pub fn apply(cells: &mut Cells, old: Option<Image>, new: Option<Image>) {
    for (image, sign) in [(old, -1), (new, 1)] {
        if let Some(image) = image {
            add(cells, &image.contribution(), sign);
        }
    }
}
