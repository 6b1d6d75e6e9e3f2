//! Records as items: their keys and attributes, and the queries that read them. `docs/reference.md`
//! lists them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{
    dynamodb::{AttributeValue, Item, KeyRange, Query, from_item, key, to_item},
    metrics::record::{Coverage, Reconstructed, Record},
    metrics::{
        maker::{MadeBy, Maker},
        part::{self, PartError, Parts},
        period::{Granularity, Period, format_instant, parse_instant},
        retention::Retention,
    },
};

/// The version of the records' schema that is written. Older versions can be read.
pub const SCHEMA_VERSION: u32 = 1;

/// A stored record could not be read, or a record not written as an item.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The item cannot be mapped to a record, or a record to an item.
    #[error("a record could not be read or written: {0}")]
    Mapping(String),
    /// An attribute has an impossible value.
    #[error("a stored record has an invalid `{0}`; recalculate its period")]
    Attribute(&'static str),
    /// A newer version wrote the record.
    #[error(
        "a stored record has schema version {0}, and this build reads versions up to {SCHEMA_VERSION}; \
         deploy a newer build"
    )]
    Version(u32),
    /// `madeBy` has a value that this build does not know.
    #[error("a stored record has `madeBy` = {0:?}; it must be `items` or `rollup`")]
    Maker(String),
    /// The packed parts are damaged.
    #[error(transparent)]
    Parts(#[from] PartError),
}

/// A record as an item.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordItem {
    #[serde(rename = "PK", default)]
    partition: String,
    #[serde(rename = "SK", default)]
    sort: String,
    #[serde(rename = "GSI1PK", default)]
    by_time_partition: String,
    #[serde(rename = "GSI1SK", default)]
    by_time_sort: String,
    #[serde(rename = "GSI2PK", default)]
    by_type_partition: String,
    #[serde(rename = "GSI2SK", default)]
    by_type_sort: String,
    #[serde(rename = "EntityType", default)]
    entity_type: String,
    metric_type: String,
    granularity: String,
    timestamp: String,
    end_timestamp: String,
    metrics: Map<String, Json>,
    calculated_at: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reconstructed: Reconstructed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    made_otherwise: BTreeSet<String>,
}

/// The partition of index `GSI1` with the records of all types.
const BY_TIME_PARTITION: &str = "ANALYTICS";

/// The attributes that a reader of metrics needs: all but the keys and the parts.
const READ_PROJECTION: [&str; 9] = [
    "metricType",
    "granularity",
    "timestamp",
    "endTimestamp",
    "metrics",
    "calculatedAt",
    "coverage",
    "reconstructed",
    "version",
];

fn partition(metric_type: &str, granularity: Granularity) -> String {
    format!("ANALYTICS#{metric_type}#{granularity}")
}

/// The key of the record of `metric_type` in `period`.
#[must_use]
pub fn record_key(metric_type: &str, period: Period) -> Item {
    key(partition(metric_type, period.granularity()), format_instant(period.start()))
}

/// Reads the records of one type whose periods start from `first` to `last`, newest first, without
/// their parts.
#[must_use]
pub fn query_of_type(
    table: &str,
    metric_type: &str,
    granularity: Granularity,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> Query {
    Query {
        table: table.to_owned(),
        index: None,
        partition_key: "PK".to_owned(),
        sort_key: "SK".to_owned(),
        partition: partition(metric_type, granularity),
        range: Some(KeyRange { from: format_instant(first), to: format_instant(last) }),
        projection: READ_PROJECTION.map(str::to_owned).to_vec(),
        descending: true,
    }
}

/// Reads the records of all types whose periods start from `first` to `last`, newest first, in one
/// query on `GSI1`, without their parts.
#[must_use]
pub fn query_of_all_types(
    table: &str,
    granularity: Granularity,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
) -> Query {
    // `~` sorts after the `#` that follows the time.
    let range = KeyRange {
        from: format!("{granularity}#{}", format_instant(first)),
        to: format!("{granularity}#{}~", format_instant(last)),
    };
    Query { descending: true, ..query_by_time(table, range, &READ_PROJECTION) }
}

/// Reads the keys and the `ttl` of the records of all types and periods of `granularity`.
#[must_use]
pub fn query_of_expiries(table: &str, granularity: Granularity) -> Query {
    let range = KeyRange { from: format!("{granularity}#"), to: format!("{granularity}#~") };
    query_by_time(table, range, &["PK", "SK", "timestamp", "ttl"])
}

/// Reads the index with the records of all types, oldest first.
fn query_by_time(table: &str, range: KeyRange, projection: &[&str]) -> Query {
    Query {
        table: table.to_owned(),
        index: Some("GSI1".to_owned()),
        partition_key: "GSI1PK".to_owned(),
        sort_key: "GSI1SK".to_owned(),
        partition: BY_TIME_PARTITION.to_owned(),
        range: Some(range),
        projection: projection.iter().map(|name| (*name).to_owned()).collect(),
        descending: false,
    }
}

impl Record {
    /// The record as an item that is kept for as long as `retention` says.
    ///
    /// # Errors
    ///
    /// When a value cannot be written.
    pub fn to_item(&self, retention: &Retention) -> Result<Item, RecordError> {
        let granularity = self.period.granularity();
        let timestamp = format_instant(self.period.start());
        let maker = self.made_by.maker;
        let stored = RecordItem {
            partition: partition(&self.metric_type, granularity),
            sort: timestamp.clone(),
            by_time_partition: BY_TIME_PARTITION.to_owned(),
            by_time_sort: format!("{granularity}#{timestamp}#{}", self.metric_type),
            by_type_partition: format!("ANALYTICS_TYPE#{}", self.metric_type),
            by_type_sort: timestamp.clone(),
            entity_type: "Analytics".to_owned(),
            metric_type: self.metric_type.clone(),
            granularity: granularity.to_string(),
            timestamp,
            end_timestamp: format_instant(self.period.end()),
            metrics: self.metrics.clone(),
            calculated_at: format_instant(self.calculated_at),
            version: SCHEMA_VERSION,
            ttl: retention.expiry(self.period).map(|expiry| expiry.timestamp()),
            coverage: self.coverage,
            reconstructed: self.reconstructed.clone(),
            made_by: maker.is_named(granularity, self.coverage).then(|| maker.name().to_owned()),
            made_otherwise: self.made_by.others.clone(),
        };
        let item = to_item(&stored).map_err(|error| RecordError::Mapping(error.to_string()))?;
        let mut attributes = item.into_inner();
        if !self.parts.is_empty() {
            attributes.insert("parts".to_owned(), AttributeValue::B(part::pack(&self.parts)?));
        }
        Ok(Item::from(attributes))
    }

    /// Reads a stored item. Parts that were not projected are empty.
    ///
    /// # Errors
    ///
    /// When the item is damaged, or a newer version wrote it.
    pub fn from_item(item: Item) -> Result<Self, RecordError> {
        let mut attributes = item.into_inner();
        let parts = match attributes.remove("parts") {
            None => Parts::new(),
            Some(AttributeValue::B(packed)) => part::unpack(&packed)?,
            Some(_) => return Err(RecordError::Attribute("parts")),
        };
        let stored: RecordItem = from_item(Item::from(attributes))
            .map_err(|error| RecordError::Mapping(error.to_string()))?;
        if stored.version > SCHEMA_VERSION {
            return Err(RecordError::Version(stored.version));
        }
        let granularity = Granularity::from_name(&stored.granularity)
            .ok_or(RecordError::Attribute("granularity"))?;
        let start = parse_instant(&stored.timestamp).ok_or(RecordError::Attribute("timestamp"))?;
        let calculated_at =
            parse_instant(&stored.calculated_at).ok_or(RecordError::Attribute("calculatedAt"))?;
        let maker = match stored.made_by {
            Some(name) => Maker::from_name(&name).ok_or(RecordError::Maker(name))?,
            None => Maker::unnamed(stored.coverage),
        };
        Ok(Self {
            metric_type: stored.metric_type,
            period: Period::containing(granularity, start),
            metrics: stored.metrics,
            parts,
            calculated_at,
            coverage: stored.coverage,
            reconstructed: stored.reconstructed,
            made_by: MadeBy { maker, others: stored.made_otherwise },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn day(made_by: MadeBy, coverage: Option<Coverage>) -> Record {
        let start = parse_instant("2026-03-01T00:00:00.000Z").unwrap();
        Record {
            metric_type: "interactions".to_owned(),
            period: Period::containing(Granularity::Daily, start),
            metrics: Map::from_iter([("newLikes".to_owned(), 3.into())]),
            parts: Parts::new(),
            calculated_at: start,
            coverage,
            reconstructed: Reconstructed::new(),
            made_by,
        }
    }

    fn attributes(record: &Record) -> HashMap<String, AttributeValue> {
        record.to_item(&Retention::default()).unwrap().into_inner()
    }

    #[test]
    fn a_record_names_only_an_unusual_maker() {
        let whole = Some(Coverage { present: 24, expected: 24 });
        let ranking = BTreeSet::from(["mostEngaged".to_owned()]);
        for (made_by, coverage, maker, others) in [
            (Maker::Rollup.into(), whole, None, None),
            (Maker::Items.into(), None, Some("items"), None),
            // Kept when it was counted again.
            (Maker::Rollup.into(), None, Some("rollup"), None),
            (MadeBy { maker: Maker::Rollup, others: ranking }, whole, None, Some("mostEngaged")),
        ] {
            let record = day(made_by, coverage);
            let stored = attributes(&record);
            let maker = maker.map(|maker| AttributeValue::S(maker.to_owned()));
            assert_eq!(stored.get("madeBy"), maker.as_ref());
            let others = others.map(|name| vec![AttributeValue::S(name.to_owned())]);
            assert_eq!(stored.get("madeOtherwise"), others.map(AttributeValue::L).as_ref());
            assert_eq!(Record::from_item(Item::from(stored)).unwrap(), record);
        }
    }

    #[test]
    fn a_record_without_a_maker_is_read_as_before() {
        let mut stored = attributes(&day(Maker::Items.into(), None));
        stored.remove("madeBy");
        let record = Record::from_item(Item::from(stored)).unwrap();
        assert_eq!(record.made_by, Maker::Items.into());
    }

    #[test]
    fn an_unknown_maker_is_named() {
        let mut stored = attributes(&day(Maker::Items.into(), None));
        stored.insert("madeBy".to_owned(), AttributeValue::S("changes".to_owned()));
        let error = Record::from_item(Item::from(stored)).unwrap_err();
        let expected = "a stored record has `madeBy` = \"changes\"; it must be `items` or `rollup`";
        assert_eq!(error.to_string(), expected);
    }
}
