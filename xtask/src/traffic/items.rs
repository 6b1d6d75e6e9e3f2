//! The items of the platform, as activity writes them.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use edge_analytics::dynamodb::{AttributeValue, Item, UpdateItem, key, number, string};
use sample_platform::Random;

use crate::embedded_dynamodb::TABLE;

use super::{Write, script::Script};

impl Script {
    pub(super) fn interaction(&mut self, action: &str, now: DateTime<Utc>) -> Vec<Write> {
        let user = pick(&self.known.users, &mut self.random);
        let (kind, target) = self.target();
        let sort = format!("INTERACTION#{action}#{target}");
        let item = put(vec![
            ("PK", string(format!("USER#{user}"))),
            ("SK", string(&sort)),
            ("GSI1PK", string(sort)),
            ("GSI1SK", string(&user)),
            ("GSI3PK", string(format!("INTERACTION#{action}"))),
            ("GSI3SK", stamp(now)),
            ("EntityType", string("UserInteraction")),
            ("userId", string(user)),
            ("interactionType", string(action)),
            ("targetType", string(kind)),
            ("targetId", string(&target)),
            ("createdAt", stamp(now)),
        ]);
        let counter = if action == "like" { "likeCount" } else { "bookmarkCount" };
        let addition = update(
            key(format!("{}#{target}", kind.to_uppercase()), "METADATA"),
            &format!("ADD {counter} :one"),
            vec![(":one", amount(1))],
        );
        vec![item, addition]
    }

    pub(super) fn comment(&mut self, now: DateTime<Utc>) -> Write {
        let (id, user) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let (kind, target) = self.target();
        put(vec![
            ("PK", string(format!("COMMENT#{id}"))),
            ("SK", string("METADATA")),
            ("GSI1PK", string("COMMENTS_BY_TARGET")),
            ("GSI1SK", string(format!("{kind}#{target}#{}#{id}", written(now)))),
            ("GSI3PK", string("INTERACTION#comment")),
            ("GSI3SK", stamp(now)),
            ("EntityType", string("Comment")),
            ("id", string(id)),
            ("userId", string(user)),
            ("targetType", string(kind)),
            ("targetId", string(target)),
            ("createdAt", stamp(now)),
            ("content", string("The light on the water!")),
        ])
    }

    pub(super) fn upload(&mut self, now: DateTime<Utc>) -> Write {
        let (id, owner) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let public = if self.random.chance(75) { "true" } else { "false" };
        let outcome = self.random.weighted(&[(92, "uploaded"), (8, "failed")]);
        self.follow(now, 30, set_status(&format!("MEDIA#{id}"), outcome, Vec::new()));
        self.known.media.push(id.clone());
        put(vec![
            ("PK", string(format!("MEDIA#{id}"))),
            ("SK", string("METADATA")),
            ("GSI1PK", string("MEDIA_BY_CREATOR")),
            ("GSI1SK", string(format!("{owner}#{}#{id}", written(now)))),
            ("GSI2PK", string("MEDIA_ID")),
            ("GSI2SK", string(&id)),
            ("GSI4PK", string("MEDIA")),
            ("GSI4SK", string(format!("{}#{id}", written(now)))),
            ("GSI5PK", string("MEDIA")),
            ("GSI5SK", string(public)),
            ("GSI7PK", string("CONTENT")),
            ("GSI7SK", stamp(now)),
            ("EntityType", string("Media")),
            ("id", string(&id)),
            ("createdBy", string(owner)),
            ("createdAt", stamp(now)),
            ("isPublic", string(public)),
            ("status", string("pending")),
            ("size", amount(40_000 + self.random.below(4_000_000))),
            ("likeCount", amount(0)),
            ("viewCount", amount(0)),
            ("mimeType", string("image/webp")),
            ("url", string(format!("https://media.example.com/{id}.webp"))),
        ])
    }

    pub(super) fn album(&mut self, now: DateTime<Utc>) -> Write {
        let (id, owner) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let public = if self.random.chance(70) { "true" } else { "false" };
        self.known.albums.push(id.clone());
        put(vec![
            ("PK", string(format!("ALBUM#{id}"))),
            ("SK", string("METADATA")),
            ("GSI1PK", string("ALBUM")),
            ("GSI1SK", string(format!("{}#{id}", written(now)))),
            ("GSI5PK", string("ALBUM")),
            ("GSI5SK", string(public)),
            ("GSI7PK", string("CONTENT")),
            ("GSI7SK", stamp(now)),
            ("EntityType", string("Album")),
            ("id", string(&id)),
            ("createdBy", string(owner)),
            ("createdAt", stamp(now)),
            ("isPublic", string(public)),
            ("title", string("Lakes in the morning")),
            ("mediaCount", amount(self.random.below(60))),
        ])
    }

    /// Queued now; later in progress, and then ended.
    pub(super) fn generation(&mut self, now: DateTime<Utc>) -> Write {
        let (id, user) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let job = format!("I2VJOB#{id}");
        let moved = |status| ("GSI3PK", string(format!("I2VJOB_STATUS#{status}")));
        let started = set_status(&job, "IN_PROGRESS", vec![moved("IN_PROGRESS")]);
        let started = self.follow(now, 15, started);
        let outcome = self.random.weighted(&[(85, "COMPLETED"), (10, "FAILED"), (5, "TIMED_OUT")]);
        let seconds = 10 + self.random.below(90);
        let ended = started + TimeDelta::seconds(i64::try_from(seconds).unwrap_or_default());
        let mut values = vec![moved(outcome)];
        if outcome != "TIMED_OUT" {
            values.extend([("completedAt", stamp(ended)), ("executionTime", amount(seconds))]);
        }
        self.schedule(ended, set_status(&job, outcome, values));
        put(vec![
            ("PK", string(job)),
            ("SK", string("METADATA")),
            moved("IN_QUEUE"),
            ("GSI3SK", string(format!("{}#{id}", written(now)))),
            ("EntityType", string("I2VJob")),
            ("jobId", string(id)),
            ("userId", string(user)),
            ("status", string("IN_QUEUE")),
            ("createdAt", stamp(now)),
            ("submittedAt", stamp(now)),
            ("resolution", string(self.random.pick(&["480p", "720p", "1080p"]))),
        ])
    }

    pub(super) fn sign_up(&mut self, now: DateTime<Utc>) -> Write {
        let id = self.random.id();
        let name = format!("{}-{}", self.random.pick(&["amber", "azure", "ivory"]), &id[..8]);
        self.known.users.push(id.clone());
        put(vec![
            ("PK", string(format!("USER#{id}"))),
            ("SK", string("METADATA")),
            ("GSI1PK", string("USER_EMAIL")),
            ("GSI1SK", string(format!("{name}@example.com"))),
            ("GSI3PK", string("USER_USERNAME")),
            ("GSI3SK", string(&name)),
            ("GSI4PK", string("USER_PLAN#free")),
            ("GSI4SK", string(format!("9999-12-31T00:00:00.000Z#{id}"))),
            ("EntityType", string("User")),
            ("userId", string(id)),
            ("email", string(format!("{name}@example.com"))),
            ("username", string(name)),
            ("isActive", AttributeValue::Bool(true)),
            ("createdAt", stamp(now)),
            ("lastActive", stamp(now)),
            ("role", string("user")),
            ("plan", string("free")),
        ])
    }

    pub(super) fn order(&mut self, now: DateTime<Utc>) -> Write {
        let (id, buyer) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let order = format!("ORDER#{id}");
        let outcome = self.random.weighted(&[(85, "completed"), (10, "cancelled"), (5, "failed")]);
        let ended = now + TimeDelta::seconds(5) + self.random.span(TimeDelta::seconds(60));
        let mut values = vec![
            ("GSI2PK", string(format!("ORDERS_BY_STATUS#{outcome}"))),
            ("updatedAt", stamp(ended)),
        ];
        if outcome == "completed" {
            values.push(("completedAt", stamp(ended)));
        }
        self.schedule(ended, set_status(&order, outcome, values));
        put(vec![
            ("PK", string(order)),
            ("SK", string("METADATA")),
            ("GSI2PK", string("ORDERS_BY_STATUS#initiated")),
            ("GSI2SK", string(format!("{}#{id}", written(now)))),
            ("EntityType", string("Order")),
            ("orderId", string(id)),
            ("userId", string(buyer)),
            ("status", string("initiated")),
            ("currency", string("USD")),
            ("amount", string(self.random.pick(&["9.00", "20.00", "29.99", "4.95"]))),
            ("createdAt", stamp(now)),
            ("updatedAt", stamp(now)),
        ])
    }
}

/// One of `known`, the first ones most often. Without any, the id of an item that does not exist.
pub(super) fn pick(known: &[String], random: &mut Random) -> String {
    match known.get(random.skewed_index(known.len().max(1))) {
        Some(id) => id.clone(),
        None => random.id(),
    }
}

fn put(attributes: Vec<(&str, AttributeValue)>) -> Write {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    Write::Put(attributes.collect::<std::collections::HashMap<_, _>>().into())
}

/// An update of an item, if it exists.
pub(super) fn update(key: Item, expression: &str, values: Vec<(&str, AttributeValue)>) -> Write {
    Write::Update(UpdateItem::new(TABLE, key, expression, Some("attribute_exists(PK)"), values))
}

/// Changes the status of the item with the partition key `partition`, and `others`.
fn set_status(partition: &str, status: &str, others: Vec<(&str, AttributeValue)>) -> Write {
    let mut expression = "SET #status = :status".to_owned();
    let mut values = vec![(":status".to_owned(), string(status))];
    for (name, value) in others {
        expression.extend([", ", name, " = :", name]);
        values.push((format!(":{name}"), value));
    }
    let values: Vec<(&str, AttributeValue)> =
        values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let condition = Some("attribute_exists(PK)");
    let key = key(partition, "METADATA");
    let update = UpdateItem::new(TABLE, key, &expression, condition, values);
    Write::Update(update.naming("#status", "status"))
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn stamp(at: DateTime<Utc>) -> AttributeValue {
    string(written(at))
}

pub(super) fn amount(value: u64) -> AttributeValue {
    number(&value)
}
