//! What the Worker itself stored or sent earlier: queue messages, parts of records, the snapshot of the
//! realtime counters. All of it can be damaged, or be of another version.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{AttributeValue, Item, string},
    metrics::{
        catalogue::definition::MAXIMUM_TARGETS,
        part::{self, Part, Parts},
        period::{Granularity, Period},
        record::Record,
        retention::Retention,
        sketch::Distinct,
    },
    realtime::Snapshot,
    store::job::Message,
};
use miniz_oxide::deflate::compress_to_vec_zlib;

/// The body of a queue message.
pub fn queue_message(data: &[u8]) {
    let Ok(body) = str::from_utf8(data) else { return };
    let Some(message) = Message::from_body(body) else { return };
    assert!(body.len() <= 64, "longer than any message of ours: {body:?}");
    assert_eq!(Message::from_body(&message.to_body()).as_ref(), Some(&message));

    let mut attempts = 0;
    let mut last = message;
    while let Some((next, delay)) = last.after_failure() {
        assert_eq!((&next.job_id, next.slice), (&last.job_id, last.slice));
        assert_eq!(next.attempt, last.attempt + 1);
        assert!(delay <= Duration::from_mins(15), "{delay:?}");
        attempts += 1;
        assert!(attempts < 100, "a message that always fails must come to an end");
        last = next;
    }
}

/// The parts of a record. The first byte says what the others are: `j` for the JSON that is packed,
/// anything else for packed bytes.
pub fn parts(data: &[u8]) {
    let Some((kind, content)) = data.split_first() else { return };
    let packed = match kind {
        b'j' => compress_to_vec_zlib(content, 1),
        _ => content.to_vec(),
    };
    let unpacked = part::unpack(&packed);
    match &unpacked {
        Ok(parts) => {
            let again = part::unpack(&part::pack(parts).unwrap()).unwrap();
            assert_eq!(&again, parts);
            parts.values().for_each(use_part);
        }
        Err(error) => assert!(error.to_string().contains("parts"), "{error}"),
    }
    read_record(packed, unpacked.ok());
}

/// Does with a part what rollups do.
fn use_part(part: &Part) {
    match part.as_distinct() {
        Ok(None) => {}
        Err(error) => assert!(error.to_string().contains("parts"), "{error}"),
        Ok(Some(set)) => {
            assert_eq!(Part::distinct(&set).as_distinct().unwrap().unwrap().count(), set.count());
            if let Ok(merged) = Distinct::merged(&[set.clone(), set]) {
                assert!(merged.count() < 1 << 53);
            }
        }
    }
    if let Part::Targets(ranking) = part {
        let mut merged = ranking.clone();
        merged.merge(ranking);
        merged.drop_the_tail();
        assert!(merged.targets.len() <= MAXIMUM_TARGETS as usize);
        assert!(merged.cutoff >= ranking.cutoff);
        assert!(merged.best(10).is_none_or(|best| best.len() <= 10));
    }
}

/// A record with these parts reads as they do.
fn read_record(packed: Vec<u8>, parts: Option<Parts>) {
    let mut attributes: std::collections::HashMap<String, AttributeValue> = [
        ("metricType", "users"),
        ("granularity", "hourly"),
        ("timestamp", "2026-03-01T10:00:00.000Z"),
        ("endTimestamp", "2026-03-01T10:59:59.999Z"),
        ("calculatedAt", "2026-03-01T11:00:02.000Z"),
    ]
    .map(|(name, value)| (name.to_owned(), string(value)))
    .into();
    attributes.insert("metrics".to_owned(), AttributeValue::M([].into()));
    attributes.insert("version".to_owned(), AttributeValue::N("1".to_owned()));
    attributes.insert("parts".to_owned(), AttributeValue::B(packed));
    match (Record::from_item(Item::from(attributes)), parts) {
        (Ok(record), Some(parts)) => assert_eq!(record.parts, parts),
        (Err(error), None) => assert!(error.to_string().contains("parts"), "{error}"),
        (record, parts) => panic!("{record:?} with the parts {parts:?}"),
    }
}

/// The snapshot of the realtime counters.
pub fn snapshot(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(snapshot) = Snapshot::parse(text) else { return };
    let again = Snapshot::parse(&serde_json::to_string(&snapshot).unwrap());
    assert_eq!(again.as_ref(), Some(&snapshot));

    let now: DateTime<Utc> = "2026-03-01T10:20:00Z".parse().unwrap();
    for counter in &snapshot.counters {
        assert!(counter.age(now) >= TimeDelta::zero());
        let known = snapshot.counter(&counter.metric_key).unwrap();
        assert_eq!(known.metric_key, counter.metric_key);
    }
    let is_stale = snapshot.is_stale(now);
    let count = snapshot.counters.len();
    for retention in [Retention::default(), Retention { hourly: 1, ..Retention::default() }] {
        let kept = snapshot.clone().within(&retention, now);
        assert!(kept.counters.len() <= count);
        assert_eq!(kept.is_stale(now), is_stale);
        assert_eq!(kept.clone().within(&retention, now), kept);
    }
    crate::api::realtime(text, now);
}

/// The instant, and the periods that contain it.
pub fn check_periods(instant: DateTime<Utc>) {
    for granularity in Granularity::ALL {
        let period = Period::containing(granularity, instant);
        assert!(period.contains(instant) && period.start() <= instant);
        assert_eq!(period.next().previous(), period);
        assert!(period.end() < period.next().start());
    }
}
