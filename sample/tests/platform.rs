//! What the sample platform promises.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::LazyLock,
};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc, Weekday};
use sample_platform::{
    Counts, Item, Shape, accounts, administrator, generate, generate_counts, table_definition,
};

/// A Wednesday; the 1st was a Sunday.
const END: &str = "2026-03-04T15:20:12.345Z";
const DAYS: u32 = 40;

fn end() -> DateTime<Utc> {
    END.parse().unwrap()
}

fn shape() -> Shape {
    Shape { users: 300, days: DAYS, seed: 1, end: end() }
}

/// The platform most tests look at.
static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| generate(&shape()));

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

fn entity(item: &Item) -> &str {
    text(item, "EntityType").unwrap_or("visitor")
}

/// An instant in the format of the platform, or nothing.
fn instant(stamp: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(stamp).ok()?.to_utc();
    (at.to_rfc3339_opts(SecondsFormat::Millis, true) == stamp).then_some(at)
}

#[test]
fn the_same_shape_gives_the_same_bytes() {
    let bytes = |shape: &Shape| serde_json::to_vec(&generate(shape)).unwrap();
    assert_eq!(bytes(&shape()), bytes(&shape()));
    assert_ne!(bytes(&shape()), bytes(&Shape { seed: 2, ..shape() }));
    // On every machine and after every update of a dependency: a change here is a decision.
    let checksum = bytes(&Shape { users: 20, ..shape() })
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    assert_eq!(checksum, 12_614_400_140_052_618_941);
}

#[test]
fn counts_are_exact() {
    for counts in [
        Counts::for_users(300),
        Counts {
            users: 3,
            media: 1,
            albums: 0,
            interactions: 40,
            comments: 2,
            visitor_hours: 3,
            orders: 4,
            jobs: 1,
        },
    ] {
        let items = generate_counts(&counts, DAYS, 1, end());
        let mut found: BTreeMap<&str, u32> = BTreeMap::new();
        for item in &items {
            *found.entry(entity(item)).or_default() += 1;
        }
        for (kind, count) in [
            ("User", counts.users),
            ("Media", counts.media),
            ("Album", counts.albums),
            ("UserInteraction", counts.interactions),
            ("Comment", counts.comments),
            ("visitor", counts.visitor_hours),
            ("Order", counts.orders),
            ("I2VJob", counts.jobs),
        ] {
            assert_eq!(found.get(kind).copied().unwrap_or(0), count, "{kind}");
        }
    }
}

#[test]
fn any_age_and_any_end_will_do() {
    for (days, end) in [
        (0, "2026-03-01T00:00:00Z"),
        (1, "2024-02-29T23:59:59.999999Z"),
        (800, "2026-01-01T00:00:00Z"),
    ] {
        assert!(
            generate(&Shape { users: 5, days, seed: 3, end: end.parse().unwrap() }).len() > 100
        );
    }
}

#[test]
fn keys_are_unique_and_can_be_stored() {
    let items = &*ITEMS;
    let mut keys = HashSet::new();
    for item in items {
        assert!(keys.insert((text(item, "PK"), text(item, "SK"))), "{item:?}");
        for (name, value) in item {
            if name.ends_with("PK") || name.ends_with("SK") {
                assert!(
                    value["S"].as_str().is_some_and(|key| !key.is_empty()),
                    "{name} of {item:?}"
                );
            }
        }
    }
}

#[test]
fn only_the_deliberately_malformed_have_malformed_times() {
    let mut malformed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let items = &*ITEMS;
    for item in items {
        for name in [
            "createdAt",
            "lastActive",
            "completedAt",
            "submittedAt",
            "timestamp",
            "lastSeen",
            "planEndDate",
        ] {
            if let Some(stamp) = text(item, name) {
                match instant(stamp) {
                    Some(at) => assert!(at <= end() || name == "planEndDate", "{name} of {item:?}"),
                    None => *malformed.entry((entity(item), name)).or_default() += 1,
                }
            }
        }
    }
    let expected = [
        (("Album", "createdAt"), 3),
        (("I2VJob", "createdAt"), 3),
        (("I2VJob", "submittedAt"), 2),
        (("Media", "createdAt"), 3),
        (("Order", "completedAt"), 1),
        (("User", "createdAt"), 1),
        (("User", "lastActive"), 1),
        (("User", "planEndDate"), 1),
        (("UserInteraction", "createdAt"), 3),
        (("visitor", "timestamp"), 1),
    ];
    assert_eq!(malformed, expected.into());
}

#[test]
fn no_hour_has_malformed_items_alone() {
    // Every hour of a week as the end: where items lie depends on it.
    for ago in 0..168 {
        let end = end() - TimeDelta::hours(ago);
        let items = generate(&Shape { users: 60, days: 20, seed: 1, end });
        let mut well_formed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for item in &items {
            let (partition, sort, time) = match entity(item) {
                "visitor" => ("PK", "SK", "timestamp"),
                "Media" => ("GSI4PK", "GSI4SK", "createdAt"),
                "Album" => ("GSI1PK", "GSI1SK", "createdAt"),
                "UserInteraction" => ("GSI3PK", "GSI3SK", "createdAt"),
                _ => continue,
            };
            let (partition, sort) = (text(item, partition).unwrap(), text(item, sort).unwrap());
            if sort.starts_with("not-a-date") {
                continue; // in no hour
            }
            let is_well_formed = text(item, time).and_then(instant).is_some();
            *well_formed.entry((partition, &sort[..13])).or_default() += u32::from(is_well_formed);
        }
        let alone: Vec<_> = well_formed.iter().filter(|(_, count)| **count == 0).collect();
        assert!(alone.is_empty(), "until {end}: {alone:?}");
    }
}

#[test]
fn the_other_malformed_items_are_there() {
    let items = &*ITEMS;
    let amounts: BTreeSet<_> = items.iter().filter_map(|item| text(item, "amount")).collect();
    assert!(
        ["ten", "", "10,00", "NaN"].iter().all(|amount| amounts.contains(amount)),
        "{amounts:?}"
    );
    for (name, value) in [("executionTime", "fast"), ("status", "archived")] {
        assert_eq!(
            items.iter().filter(|item| text(item, name) == Some(value)).count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn visitors_lie_in_the_hour_of_their_key_and_some_come_back() {
    let mut hours: BTreeMap<&str, u32> = BTreeMap::new();
    let items = &*ITEMS;
    for visitor in items.iter().filter(|item| entity(item) == "visitor") {
        let (hour, ip) = text(visitor, "SK").unwrap().split_once('#').unwrap();
        assert_eq!(text(visitor, "clientIP"), Some(ip));
        let timestamp = text(visitor, "timestamp").unwrap();
        let seen = text(visitor, "lastSeen").unwrap();
        assert!(
            timestamp == "just now" || (timestamp.starts_with(hour) && timestamp <= seen),
            "{visitor:?}"
        );
        assert!(seen.starts_with(hour), "{visitor:?}");
        *hours.entry(ip).or_default() += 1;
    }
    assert!(hours.values().any(|&count| count > 10));
    assert!(hours.values().any(|&count| count == 1));
}

#[test]
fn coarser_view_counts_are_the_sums_of_their_hours() {
    let mut stored: BTreeMap<(String, DateTime<Utc>), u64> = BTreeMap::new();
    for item in &*ITEMS {
        let views = item.get("newViews").and_then(|views| views["N"].as_str().map(str::to_owned));
        if let Some(views) = views {
            let granularity =
                text(item, "PK").unwrap().strip_prefix("VIEW_COUNT#").unwrap().to_owned();
            stored.insert(
                (granularity, instant(text(item, "SK").unwrap()).unwrap()),
                views.parse().unwrap(),
            );
        }
    }
    let mut summed = BTreeMap::new();
    for ((granularity, hour), views) in &stored {
        if granularity == "hourly" {
            let day = hour.date_naive();
            let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
            for (coarser, start) in [
                ("hourly", *hour),
                ("daily", midnight(day)),
                ("weekly", midnight(day.week(Weekday::Mon).first_day())),
                ("monthly", midnight(day.with_day(1).unwrap())),
            ] {
                *summed.entry((coarser.to_owned(), start)).or_insert(0) += views;
            }
        }
    }
    assert_eq!(stored, summed);
}

#[test]
fn items_lie_on_the_edges_of_periods() {
    let items = &*ITEMS;
    // The current hour, today, this week, this month; the hours and the day before.
    for edge in [
        "2026-03-04T15:00:00Z",
        "2026-03-04T12:00:00Z",
        "2026-03-04T00:00:00Z",
        "2026-03-03T00:00:00Z",
        "2026-03-02T00:00:00Z",
        "2026-02-23T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-02-01T00:00:00Z",
    ] {
        let first: DateTime<Utc> = edge.parse().unwrap();
        for at in [first, first - TimeDelta::milliseconds(1)] {
            let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
            let there = |kind: &str, name: &str| {
                items
                    .iter()
                    .any(|item| entity(item) == kind && text(item, name) == Some(at.as_str()))
            };
            for (kind, name) in [
                ("User", "createdAt"),
                ("User", "lastActive"),
                ("User", "planEndDate"),
                ("Media", "createdAt"),
                ("Album", "createdAt"),
                ("Comment", "createdAt"),
                ("visitor", "timestamp"),
                ("Order", "createdAt"),
                ("Order", "completedAt"),
                ("I2VJob", "createdAt"),
            ] {
                assert!(there(kind, name), "{kind} with {name} {at}");
            }
            for action in ["like", "bookmark"] {
                let partition = format!("INTERACTION#{action}");
                assert!(
                    items.iter().any(|item| {
                        text(item, "GSI3PK") == Some(partition.as_str())
                            && text(item, "GSI3SK") == Some(at.as_str())
                    }),
                    "{action} at {at}"
                );
            }
        }
    }
}

#[test]
fn interactions_outlive_their_targets_and_users_leave() {
    let items = &*ITEMS;
    let keys: HashSet<_> = items.iter().filter_map(|item| text(item, "PK")).collect();
    assert!(items.iter().filter(|item| entity(item) == "UserInteraction").any(|item| {
        let target = text(item, "targetId").unwrap();
        let key = format!("{}#{target}", text(item, "targetType").unwrap().to_uppercase());
        !keys.contains(key.as_str())
    }));
    assert!(
        items.iter().any(|item| item.get("isActive").is_some_and(|active| active["BOOL"] == false))
    );
}

#[test]
fn the_known_accounts_are_there() {
    let items = &*ITEMS;
    let find = |pk: String| items.iter().find(|item| text(item, "PK") == Some(&pk)).unwrap();
    let accounts = accounts(shape().seed);
    assert_eq!(accounts.administrator, administrator(&shape()));
    for (user, role, active) in [
        (&accounts.administrator.user_id, "admin", true),
        (&accounts.ordinary_user_id, "user", true),
        (&accounts.deactivated_user_id, "admin", false),
    ] {
        let user = find(format!("USER#{user}"));
        assert_eq!((text(user, "role"), &user["isActive"]["BOOL"]), (Some(role), &active.into()));
    }
    for (session, user, valid) in [
        (&accounts.administrator.session_id, &accounts.administrator.user_id, true),
        (&accounts.ordinary_session_id, &accounts.ordinary_user_id, true),
        (&accounts.expired_session_id, &accounts.administrator.user_id, false),
        (&accounts.deactivated_session_id, &accounts.deactivated_user_id, true),
    ] {
        let session = find(format!("SESSION#{session}"));
        assert_eq!(text(session, "userId"), Some(user.as_str()));
        assert_eq!(instant(text(session, "expiresAt").unwrap()).unwrap() > end(), valid);
    }
}

#[test]
fn the_table_has_its_indexes() {
    let table = table_definition("gallery", false);
    assert_eq!(table["TableName"], "gallery");
    assert_eq!(table["GlobalSecondaryIndexes"].as_array().unwrap().len(), 9);
    assert_eq!(table["GlobalSecondaryIndexes"][5]["KeySchema"][1]["AttributeName"], "GSI6SK");
    let numbers: Vec<_> = table["AttributeDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|attribute| attribute["AttributeType"] == "N")
        .map(|attribute| attribute["AttributeName"].as_str().unwrap())
        .collect();
    assert_eq!(numbers, ["GSI6SK"]);
    assert!(table.get("StreamSpecification").is_none());
    assert!(table_definition("gallery", true)["StreamSpecification"]["StreamEnabled"] == true);
}
