//! Reading the stored records of periods, and writing new ones over them.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, stream};

use crate::{
    dynamodb::{DynamoDbError, Read, text},
    metrics::{
        period::{Granularity, Period},
        provenance::Occasion,
        record::Record,
        rollup::coarser_than,
    },
    query::reading::MAXIMUM_CONCURRENCY,
    store::{
        record::{RecordError, record_key},
        record_writer::{RecordChange, WriteOutcome, Writer},
        run_state::unsettle,
    },
};

use super::{
    context::Context,
    problem::{ReadError, TypeError},
};

/// A record as it is stored, or why it cannot be read, by type and period.
pub(super) type StoredRecords = HashMap<(String, Period), Result<Record, RecordError>>;

/// What became of one record.
pub(super) struct WrittenRecord {
    pub(super) type_name: String,
    pub(super) period: Period,
    pub(super) result: Result<WriteOutcome, TypeError>,
}

/// The records of `types` in `periods` as they are stored, read consistently, a hundred in one
/// request.
pub(super) async fn read_stored(
    context: &Context<'_>,
    periods: &BTreeSet<Period>,
    types: &BTreeSet<&str>,
) -> Result<StoredRecords, ReadError> {
    // By the key itself, which is there also where nothing else can be read.
    let mut wanted: HashMap<(String, String), (String, Period)> = HashMap::new();
    let mut keys = Vec::new();
    for name in types {
        for period in periods {
            let key = record_key(name, *period);
            if let (Some(partition), Some(sort)) = (text(&key, "PK"), text(&key, "SK")) {
                let parts = (partition.to_owned(), sort.to_owned());
                wanted.insert(parts, ((*name).to_owned(), *period));
            }
            keys.push(key);
        }
    }
    let items = context.client.batch_get(context.table, keys, Read::Consistent).await?;
    Ok(items
        .into_iter()
        .filter_map(|item| {
            let parts = (text(&item, "PK")?.to_owned(), text(&item, "SK")?.to_owned());
            Some((wanted.get(&parts)?.clone(), Record::from_item(item)))
        })
        .collect())
}

/// Writes records, each on its own, and returns what became of them.
///
/// If a record changes from which coarser periods were computed, those are marked as stale before it
/// is written. New records come last: while one is missing, its day is not computed.
pub(super) async fn store(
    writer: &Writer<'_>,
    records: Vec<(Record, Occasion)>,
    stored: &StoredRecords,
) -> Vec<WrittenRecord> {
    let is_stored =
        |record: &Record| stored.contains_key(&(record.metric_type.clone(), record.period));
    let (changing, new): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|(record, _)| is_stored(record));
    let mut written = Vec::new();
    match mark_coarser(writer, &changing, &new, stored).await {
        Ok(()) => written.extend(store_all(writer, changing, stored).await),
        Err(why) => written.extend(changing.into_iter().map(|(record, _)| WrittenRecord {
            type_name: record.metric_type,
            period: record.period,
            result: Err(TypeError::Mark(Box::new(why.clone()))),
        })),
    }
    written.extend(store_all(writer, new, stored).await);
    written
}

async fn store_all(
    writer: &Writer<'_>,
    records: Vec<(Record, Occasion)>,
    stored: &StoredRecords,
) -> Vec<WrittenRecord> {
    stream::iter(records)
        .map(|(fresh, occasion)| store_one(writer, fresh, occasion, stored))
        .buffer_unordered(MAXIMUM_CONCURRENCY)
        .collect()
        .await
}

async fn store_one(
    writer: &Writer<'_>,
    fresh: Record,
    occasion: Occasion,
    stored: &StoredRecords,
) -> WrittenRecord {
    let key = (fresh.metric_type.clone(), fresh.period);
    let result = match stored.get(&key).cloned().transpose() {
        // A record that we cannot read may hold what we would destroy.
        Err(error) => Err(error.into()),
        Ok(before) => writer.write(&fresh, before, occasion).await.map_err(TypeError::from),
    };
    WrittenRecord { type_name: key.0, period: key.1, result }
}

/// Announces that records are about to change, so that no response computed from them before is used
/// again. Marks the coarser periods of those whose values change as stale, if they have ended and do
/// not wait for a new record of the same type, which is written after this.
pub(super) async fn mark_coarser(
    writer: &Writer<'_>,
    changing: &[(Record, Occasion)],
    new: &[(Record, Occasion)],
    stored: &StoredRecords,
) -> Result<(), DynamoDbError> {
    let now = writer.host.now();
    let mut stale: BTreeSet<Period> = BTreeSet::new();
    let mut touched: BTreeSet<Granularity> = BTreeSet::new();
    for (fresh, occasion) in changing {
        let before = stored.get(&(fresh.metric_type.clone(), fresh.period));
        let Some(Ok(before)) = before else { continue };
        // One that is damaged is not written either; writing it says why.
        let Ok(RecordChange::Write(merged)) = writer.changed(fresh, Some(before), *occasion) else {
            continue;
        };
        touched.insert(fresh.period.granularity());
        if merged.metrics == before.metrics
            && merged.parts == before.parts
            && merged.reconstructed == before.reconstructed
        {
            continue;
        }
        for coarser in coarser_than(fresh.period.granularity()) {
            let period = Period::containing(coarser, fresh.period.start());
            let waits = new.iter().any(|(other, _)| {
                other.metric_type == fresh.metric_type && period.contains(other.period.start())
            });
            if period.end() < now && !waits {
                stale.insert(period);
            }
        }
    }
    for (fresh, _) in new {
        stale.extend(writer.marks.due_above(fresh.period));
    }
    for granularity in touched {
        unsettle(writer.client, writer.table, granularity, now).await?;
    }
    writer.marks.set(writer.client, writer.table, stale, now).await
}
