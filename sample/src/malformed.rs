//! Items with something wrong in them, as years of releases leave behind: each can be stored, and
//! none may be counted where its broken attribute matters.

use crate::{Item, draft::set_text};

/// One thing that went wrong with a well-formed item.
pub type Fault = fn(&mut Item);

pub const USERS: &[Fault] = &[
    |user| set_text(user, "lastActive", "a while ago"),
    |user| set_text(user, "createdAt", "2026-02-30T12:00:00.000Z"),
    |user| {
        // Nothing but the date keeps this user out of the recurring revenue.
        for (name, value) in [
            ("plan", "pro"),
            ("GSI4PK", "USER_PLAN#pro"),
            ("subscriptionStatus", "active"),
            ("subscriptionId", "sub-0"),
            ("planEndDate", "next spring"),
        ] {
            set_text(user, name, value);
        }
        let key = format!("next spring#{}", text(user, "userId"));
        set_text(user, "GSI4SK", key);
    },
];

pub const MEDIA: &[Fault] =
    &[misplaced_created_at, impossible_created_at, created_at_beside_its_key, |media| {
        set_text(media, "status", "archived");
    }];

pub const ALBUMS: &[Fault] =
    &[misplaced_created_at, impossible_created_at, created_at_beside_its_key];

pub const INTERACTIONS: &[Fault] =
    &[misplaced_created_at, impossible_created_at, created_at_beside_its_key];

pub const ORDERS: &[Fault] = &[
    |order| completed_with(order, "amount", "ten"),
    |order| completed_with(order, "amount", ""),
    |order| completed_with(order, "amount", "10,00"),
    |order| completed_with(order, "amount", "NaN"),
    |order| completed_with(order, "completedAt", "2026-02-30T12:00:00.000Z"),
];

pub const JOBS: &[Fault] =
    &[misplaced_created_at, impossible_created_at, created_at_beside_its_key, |job| {
        set_text(job, "status", "COMPLETED");
        set_text(job, "GSI3PK", "I2VJOB_STATUS#COMPLETED");
        set_text(job, "executionTime", "fast");
    }];

pub const VISITORS: &[Fault] = &[|visitor| set_text(visitor, "timestamp", "just now")];

/// A date that is none, in the attribute and in the keys, where it sorts outside every period.
fn misplaced_created_at(item: &mut Item) {
    replace_created_at(item, "not-a-date");
}

/// A second that no minute has, in the attribute and in the keys, where it sorts inside its hour.
fn impossible_created_at(item: &mut Item) {
    let mut impossible = text(item, "createdAt");
    impossible.replace_range(17..19, "75");
    replace_created_at(item, &impossible);
}

/// The keys are right, the attribute is not.
fn created_at_beside_its_key(item: &mut Item) {
    set_text(item, "createdAt", "yesterday");
}

fn replace_created_at(item: &mut Item, replacement: &str) {
    let created = text(item, "createdAt");
    let names: Vec<String> =
        item.keys().filter(|name| text(item, name).contains(&created)).cloned().collect();
    for name in names {
        let value = text(item, &name).replace(&created, replacement);
        set_text(item, &name, value);
    }
}

fn completed_with(order: &mut Item, name: &str, value: &str) {
    set_text(order, "status", "completed");
    set_text(order, "GSI2PK", "ORDERS_BY_STATUS#completed");
    let created = text(order, "createdAt");
    set_text(order, "completedAt", created);
    set_text(order, name, value);
}

fn text(item: &Item, name: &str) -> String {
    item.get(name).and_then(|value| value["S"].as_str()).unwrap_or_default().to_owned()
}
