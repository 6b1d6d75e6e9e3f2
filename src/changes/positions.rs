//! How far a change stream has been read, shard by shard: the checkpoint that is stored with the sums.
//!
//! A shard closes after some hours and a child continues it. The rules keep the order of the changes of
//! each item, and notice every case in which a change may be missing or come twice. Each rule is from a
//! failure of some reader of such streams:
//!
//! * A shard is read once its parent has been read to its end. The end is a null iterator, never an
//!   `EndingSequenceNumber`, which open shards can have too.
//! * The marks of shards that were read to their end are forgotten by age only. A listing can lack a
//!   shard and have it again; it would be read twice.
//! * A shard that is not known and continues none that is known is a gap. So is whatever the stream no
//!   longer has.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    changes::stream::Shard,
    metrics::{ordered::Ordered, period::format_instant},
};

/// A stream keeps its records for 24 hours. What has not been read for an hour less may be removed
/// while it is read.
/// Source: [Change data capture for DynamoDB Streams](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html).
const READABLE_FOR: TimeDelta = TimeDelta::hours(23);

/// How long a shard that was read to its end is remembered: twice as long as the stream keeps records.
/// By then it is not listed any more.
const REMEMBERED_FOR: TimeDelta = TimeDelta::hours(48);

/// How far a stream has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Positions {
    /// The stream's ARN.
    stream: String,
    shards: BTreeMap<String, Tracked>,
}

/// How far a shard has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tracked {
    /// The sequence number of the last record that was applied; `None` before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Up to when the changes of the shard's items have been read, also by its parents: milliseconds
    /// since 1970.
    until: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndedShard>,
}

/// A shard was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndedShard {
    /// The start of the reading that came to the end: milliseconds since 1970.
    at: i64,
    /// Whether a child of it is known. A closed shard always has one, but it can be listed later.
    followed: bool,
}

/// The changes since the positions are not all in the stream, or cannot be put in order: the sums
/// cannot be brought up to date any more and must be made anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// Another stream: it was disabled and enabled again, or the table was replaced.
    #[error(
        "the table has another change stream than before ({found}): it was disabled and enabled \
         again, or the table was replaced"
    )]
    Replaced {
        /// The ARN of the stream that the table has now.
        found: String,
    },
    /// The table writes no changes to the stream.
    #[error("the change stream of the table is disabled; enable it with NEW_AND_OLD_IMAGES")]
    Disabled,
    /// The records behind the position were removed.
    #[error(
        "shard {shard} of the change stream no longer has the records behind the position: they \
         were not read within 24 hours"
    )]
    Trimmed {
        /// The shard.
        shard: String,
    },
    /// The shard does not exist any more.
    #[error(
        "shard {shard} of the change stream does not exist any more and was not read to its end"
    )]
    NotFound {
        /// The shard.
        shard: String,
    },
    /// The position is so old that records may have been removed.
    #[error(
        "shard {shard} of the change stream has been read up to {until} only: records are kept for \
         24 hours"
    )]
    TooOld {
        /// The shard.
        shard: String,
        /// Up to when it has been read.
        until: String,
    },
    /// A shard continues none that is known.
    #[error("shard {shard} of the change stream continues no shard that has been read")]
    UnknownShard {
        /// The shard.
        shard: String,
    },
    /// A shard was taken for read although its parent was not.
    #[error(
        "shard {shard} of the change stream was read before its parent: an earlier list of shards \
         was not complete"
    )]
    OutOfOrder {
        /// The shard.
        shard: String,
    },
}

/// How far one shard has been read, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'positions> {
    /// Nothing of it.
    Beginning,
    /// The records up to this sequence number.
    After(&'positions str),
    /// All of it.
    End,
}

/// What a listing has that cannot be read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// A shard that continues none that is known; its parent may be listed later.
    pub(super) unknown: Option<String>,
    /// The shards that were read to their end and have no child yet.
    pub(super) childless: Vec<String>,
}

impl Positions {
    /// The positions at or before `now`, from all listed shards: those without a listed child are read
    /// from their oldest record, the others count as read. Too early is safe for a hand-off; a position
    /// at the latest record could be too late for a change that is not listed yet.
    #[must_use]
    pub fn start(stream: String, shards: &[Shard], now: DateTime<Utc>) -> Self {
        let now = now.timestamp_millis();
        let parents: BTreeSet<&String> =
            shards.iter().filter_map(|shard| shard.parent.as_ref()).ordered_set();
        let read = || Tracked {
            after: None,
            until: now,
            ended: Some(EndedShard { at: now, followed: true }),
        };
        let mut tracked: BTreeMap<String, Tracked> =
            parents.iter().map(|parent| ((*parent).clone(), read())).ordered_map();
        for shard in shards.iter().filter(|shard| !parents.contains(&shard.id)) {
            tracked.insert(shard.id.clone(), Tracked { after: None, until: now, ended: None });
        }
        Self { stream, shards: tracked }
    }

    /// The stream's ARN.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Every shard that is known, and how far it has been read.
    pub fn places(&self) -> impl Iterator<Item = (&str, Place<'_>)> {
        self.shards.iter().map(|(id, tracked)| {
            let place = match (&tracked.ended, &tracked.after) {
                (Some(_), _) => Place::End,
                (None, Some(after)) => Place::After(after),
                (None, None) => Place::Beginning,
            };
            (id.as_str(), place)
        })
    }

    /// Up to when every shard has been read; `None` where there is no shard.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        let until = self.shards.values().filter(|shard| shard.is_unfinished()).map(|at| at.until);
        until.min().and_then(DateTime::from_timestamp_millis)
    }

    /// Forgets what is old enough, and checks that the stream still has everything behind the
    /// positions.
    pub(super) fn prepare(&mut self, now: DateTime<Utc>) -> Result<(), Gap> {
        let (forgotten, readable) =
            ((now - REMEMBERED_FOR).timestamp_millis(), (now - READABLE_FOR).timestamp_millis());
        self.shards.retain(|_, shard| {
            shard.ended.is_none_or(|ended| !ended.followed || ended.at >= forgotten)
        });
        let is_old =
            |(_, shard): &(&String, &Tracked)| shard.is_unfinished() && shard.until < readable;
        match self.shards.iter().find(is_old) {
            None => Ok(()),
            Some((id, shard)) => Err(Gap::TooOld {
                shard: id.clone(),
                until: DateTime::from_timestamp_millis(shard.until)
                    .map(format_instant)
                    .unwrap_or_default(),
            }),
        }
    }

    /// Takes in the listed shards whose turn has come: those whose parent was read to its end.
    pub(super) fn admit(&mut self, listed: &BTreeMap<String, Shard>) -> Result<Unresolved, Gap> {
        let mut unknown = None;
        for shard in listed.values() {
            let parent = shard.parent.as_ref().and_then(|parent| self.shards.get_mut(parent));
            let Some(parent) = parent else {
                if !self.shards.contains_key(&shard.id) && !self.is_related(shard, listed) {
                    unknown = Some(shard.id.clone());
                }
                continue;
            };
            let (until, ended) = (parent.until, parent.ended);
            if let Some(ended) = &mut parent.ended {
                ended.followed = true;
            }
            if let Some(tracked) = self.shards.get(&shard.id) {
                // A listing that lacked this shard made its parent look like the last of its line.
                let at = tracked.ended.map_or(i64::MAX, |ended| ended.at);
                if ended.is_none_or(|parent| parent.at > at) {
                    return Err(Gap::OutOfOrder { shard: shard.id.clone() });
                }
            } else if ended.is_some() {
                let tracked = Tracked { after: None, until, ended: None };
                self.shards.insert(shard.id.clone(), tracked);
            }
        }
        let ended = self.shards.iter().filter(|(_, shard)| shard.ended.is_some());
        let childless = ended.filter(|(_, shard)| shard.is_unfinished());
        Ok(Unresolved { unknown, childless: childless.map(|(id, _)| id.clone()).collect() })
    }

    /// Whether a shard that is not known, and whose parent is not, has a known ancestor, so that its
    /// turn comes, or a known descendant, so that it was read before.
    fn is_related(&self, shard: &Shard, listed: &BTreeMap<String, Shard>) -> bool {
        let reaches = |from: &Shard, found: &dyn Fn(&str) -> bool| {
            let mut at = from;
            // A damaged listing could have a loop.
            for _ in 0..=listed.len() {
                let Some(parent) = &at.parent else { return false };
                if found(parent) {
                    return true;
                }
                let Some(next) = listed.get(parent) else { return false };
                at = next;
            }
            false
        };
        reaches(shard, &|parent| self.shards.contains_key(parent))
            || listed.values().any(|other| {
                self.shards.contains_key(&other.id) && reaches(other, &|parent| parent == shard.id)
            })
    }

    /// The shards that have not been read to their end.
    pub(super) fn open(&self) -> impl Iterator<Item = &String> {
        self.shards.iter().filter(|(_, shard)| shard.ended.is_none()).map(|(id, _)| id)
    }

    /// The sequence number of the last record of the shard that was applied.
    pub(super) fn after(&self, shard: &str) -> Option<String> {
        self.shards.get(shard)?.after.clone()
    }

    /// Notes that a record of the shard was applied.
    pub(super) fn note_record(&mut self, shard: &str, sequence: &str, committed: DateTime<Utc>) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.after = Some(sequence.to_owned());
            shard.until = shard.until.max(committed.timestamp_millis());
        }
    }

    /// Notes that the shard was read up to `now`.
    pub(super) fn note_present(&mut self, shard: &str, now: DateTime<Utc>) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.until = shard.until.max(now.timestamp_millis());
        }
    }

    /// Notes that the shard was read to its end.
    pub(super) fn note_end(&mut self, shard: &str, now: DateTime<Utc>) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.ended = Some(EndedShard { at: now.timestamp_millis(), followed: false });
        }
    }
}

impl Tracked {
    /// Whether it, or a child that is not known yet, is still to be read.
    fn is_unfinished(&self) -> bool {
        self.ended.is_none_or(|ended| !ended.followed)
    }
}
