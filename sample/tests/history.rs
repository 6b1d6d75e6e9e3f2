//! What a platform's history promises.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sample_platform::{Change, Counts, Item, Key, history};

fn start() -> DateTime<Utc> {
    "2026-03-02T18:00:00Z".parse().unwrap()
}

fn end() -> DateTime<Utc> {
    start() + TimeDelta::days(90)
}

fn counts() -> Counts {
    Counts {
        users: 200,
        media: 500,
        albums: 120,
        interactions: 800,
        comments: 200,
        visitor_hours: 800,
        orders: 150,
        jobs: 400,
    }
}

fn generated() -> Vec<Change> {
    history(&counts(), 1, start(), end())
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    item.get(name).and_then(|value| value["S"].as_str()).unwrap_or_default()
}

#[test]
fn the_same_seed_tells_the_same_in_order() {
    let changes = generated();
    assert_eq!(changes, generated());
    assert_ne!(changes, history(&counts(), 2, start(), end()));
    assert!(changes.is_sorted_by_key(|change| change.at));
    assert!(changes.iter().all(|change| start() <= change.at && change.at <= end()));
}

#[test]
fn a_change_is_of_the_item_it_names_and_a_deleted_item_was_there() {
    let mut there: BTreeMap<Key, Item> = BTreeMap::new();
    for change in generated() {
        match change.item {
            None => assert!(there.remove(&change.key).is_some(), "{:?}", change.key),
            Some(item) => {
                assert_eq!(
                    (text(&item, "PK"), text(&item, "SK")),
                    (&*change.key.0, &*change.key.1)
                );
                there.insert(change.key, item);
            }
        }
    }
    assert!((2500..4500).contains(&there.len()), "{} items at the end", there.len());
}

/// Every kind of change that the metrics are sensitive to, more than once.
#[test]
fn everything_that_can_happen_happens() {
    let mut happened: BTreeMap<String, u32> = BTreeMap::new();
    let mut there: BTreeMap<Key, Item> = BTreeMap::new();
    for change in generated() {
        let before = match change.item.clone() {
            Some(item) => there.insert(change.key, item),
            None => there.remove(&change.key),
        };
        let kind = |item: &Item| match text(item, "EntityType") {
            "" => "Visitor".to_owned(),
            kind => kind.to_owned(),
        };
        let mut note = |what: String| *happened.entry(what).or_default() += 1;
        match (before, change.item) {
            (Some(before), None) => note(format!("{} deleted", kind(&before))),
            (None, Some(item)) => {
                note(format!("{} created", kind(&item)));
                let created = ["createdAt", "timestamp"].map(|name| text(&item, name));
                if let Ok(created) = created.concat().parse::<DateTime<Utc>>()
                    && change.at - created > TimeDelta::hours(1)
                {
                    note(format!("{} late", kind(&item)));
                }
            }
            (Some(before), Some(item)) => {
                for (name, value) in &item {
                    if before.get(name) != Some(value) {
                        note(format!("{} {name}", kind(&item)));
                    }
                }
                let created: DateTime<Utc> = text(&item, "createdAt").parse().unwrap_or(change.at);
                let status = text(&item, "status");
                if text(&before, "status") != status && change.at - created > TimeDelta::hours(4) {
                    note(format!("{} {status} after hours", kind(&item)));
                }
            }
            (None, None) => unreachable!(),
        }
    }
    for what in [
        "User deleted",
        "User late",
        "User isActive",
        "User lastActive",
        "User plan",
        "User planEndDate",
        "User subscriptionStatus",
        "Media deleted",
        "Media late",
        "Media isPublic",
        "Media status",
        "Album deleted",
        "Album isPublic",
        "UserInteraction created",
        "UserInteraction deleted",
        "Comment created",
        "Comment deleted",
        "ViewCount newViews",
        "Visitor lastSeen",
        "Visitor late",
        "Order deleted",
        "Order completed after hours",
        "I2VJob deleted",
        "I2VJob COMPLETED after hours",
        "I2VJob FAILED after hours",
    ] {
        assert!(happened.get(what).is_some_and(|times| *times >= 2), "{what}: {happened:#?}");
    }
    let kinds: BTreeSet<_> = there.values().map(|item| text(item, "EntityType")).collect();
    assert_eq!(kinds.len(), 9, "{kinds:?}");
}
