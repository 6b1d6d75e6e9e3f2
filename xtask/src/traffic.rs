//! What goes on while `dev` runs: people come, look, like, upload and order, one thing every few
//! seconds, written through the API as a platform would.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use edge_analytics::{
    dynamodb::{
        AttributeValue, Client, Error as DynamoDbError, Item, PutItem, Query, UpdateItem, key,
        number, string, text,
    },
    host::NativeHost,
    metrics::period::{Granularity, Period, format_instant},
};
use sample_platform::Random;

use crate::{
    embedded_dynamodb::{EmbeddedDynamoDb, TABLE},
    error::{Error, Result},
};

/// The longest time in which nothing happens; on average it is half of this.
const PAUSE: TimeDelta = TimeDelta::seconds(8);

/// Addresses from which people come, of the range reserved for documentation.
const ADDRESSES: usize = 40;

/// Someone or something that was there before, by what its partition key says.
#[derive(Debug, Default)]
struct Known {
    users: Vec<String>,
    media: Vec<String>,
    albums: Vec<String>,
}

/// One write through the API.
#[derive(Debug, Clone)]
enum Write {
    Put(Item),
    Update(UpdateItem),
}

/// The activity on one table.
pub struct Traffic {
    client: Client,
    script: Script,
}

impl Traffic {
    /// Activity among those who are in `database` already.
    pub async fn on(database: &EmbeddedDynamoDb, seed: u64) -> Result<Self> {
        let client = database.client(Arc::new(NativeHost));
        let known = Known {
            users: partitions(&client, 3, "USER_USERNAME", "USER#").await?,
            media: partitions(&client, 4, "MEDIA", "MEDIA#").await?,
            albums: partitions(&client, 1, "ALBUM", "ALBUM#").await?,
        };
        // Another run, another day: nobody signs up twice.
        let random = Random::new(seed, Utc::now().timestamp().unsigned_abs());
        Ok(Self { client, script: Script { random, known, later: BTreeMap::new(), told: 0 } })
    }

    /// Goes on for ever. What fails is said once: the platform's data is not what is tried here.
    pub async fn flow(mut self) -> Error {
        let mut has_failed = false;
        loop {
            let pause = self.script.random.span(PAUSE).to_std().unwrap_or_default();
            tokio::time::sleep(pause.max(Duration::from_millis(300))).await;
            for write in self.script.next(Utc::now()) {
                if let Err(error) = self.write(write).await
                    && !has_failed
                {
                    has_failed = true;
                    eprintln!("something on the sample platform could not be written: {error}");
                }
            }
        }
    }

    async fn write(&self, write: Write) -> std::result::Result<(), DynamoDbError> {
        match write {
            Write::Put(item) => self.client.send(&PutItem::new(TABLE, item)).await.map(|_| ()),
            Write::Update(update) => match self.client.send(&update).await {
                // Deleted meanwhile.
                Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(()),
                other => other.map(|_| ()),
            },
        }
    }
}

/// What the partition keys of the items in a partition of an index say after `prefix`.
async fn partitions(
    client: &Client,
    index: u8,
    partition: &str,
    prefix: &str,
) -> Result<Vec<String>> {
    let query = Query {
        table: TABLE.to_owned(),
        index: Some(format!("GSI{index}")),
        partition_key: format!("GSI{index}PK"),
        sort_key: format!("GSI{index}SK"),
        partition: partition.to_owned(),
        range: None,
        projection: vec!["PK".to_owned()],
        descending: false,
    };
    let items = client.query(&query).await.map_err(|error| Error::Embedded {
        doing: "list who is on the sample platform",
        reason: error.to_string(),
    })?;
    let ids = items.iter().filter_map(|item| text(item, "PK")?.strip_prefix(prefix));
    Ok(ids.map(str::to_owned).collect())
}

/// What happens next, and what follows later from what has happened.
struct Script {
    random: Random,
    known: Known,
    /// By their times; the number tells those at one time apart.
    later: BTreeMap<(DateTime<Utc>, u64), Write>,
    told: u64,
}

/// Kinds of things that happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Visit,
    View,
    Return,
    Like,
    Bookmark,
    Comment,
    Upload,
    Album,
    Generation,
    SignUp,
    Order,
}

impl Script {
    /// What is written at `now`: what follows from earlier, and one thing that is new.
    fn next(&mut self, now: DateTime<Utc>) -> Vec<Write> {
        let rest = self.later.split_off(&(now, u64::MAX));
        let mut writes: Vec<Write> =
            std::mem::replace(&mut self.later, rest).into_values().collect();
        // Hours in which `dev` runs are to stand out a little from those of the past, not to dwarf
        // them: most of what happens is coming and looking around.
        let kind = self.random.weighted(&[
            (6_900, Kind::Visit),
            (2_700, Kind::View),
            (200, Kind::Return),
            (80, Kind::Like),
            (30, Kind::Bookmark),
            (25, Kind::Comment),
            (30, Kind::Upload),
            (8, Kind::Album),
            (20, Kind::Generation),
            (6, Kind::SignUp),
            (12, Kind::Order),
        ]);
        writes.extend(self.happen(kind, now));
        writes
    }

    fn happen(&mut self, kind: Kind, now: DateTime<Utc>) -> Vec<Write> {
        match kind {
            Kind::Visit => vec![self.visit(now)],
            Kind::View => self.view(now),
            Kind::Return => {
                let user = pick(&self.known.users, &mut self.random);
                vec![update(
                    key(format!("USER#{user}"), "METADATA"),
                    "SET lastActive = :now",
                    vec![(":now", stamp(now))],
                )]
            }
            Kind::Like => self.interaction("like", now),
            Kind::Bookmark => self.interaction("bookmark", now),
            Kind::Comment => vec![self.comment(now)],
            Kind::Upload => vec![self.upload(now)],
            Kind::Album => vec![self.album(now)],
            Kind::Generation => vec![self.generation(now)],
            Kind::SignUp => vec![self.sign_up(now)],
            Kind::Order => vec![self.order(now)],
        }
    }

    fn visit(&mut self, now: DateTime<Utc>) -> Write {
        let address = format!("192.0.2.{}", 1 + self.random.skewed_index(ADDRESSES));
        let path = self.random.pick(&["/", "/albums", "/media", "/plans"]);
        let country = self.random.pick(&["BR", "DE", "FR", "IN", "JP", "US"]);
        let update = UpdateItem::new(
            TABLE,
            key("VISITOR", format!("{}#{address}", now.format("%Y-%m-%dT%H"))),
            "SET lastSeen = :now, #path = :path, \
             #first = if_not_exists(#first, :now), clientIP = if_not_exists(clientIP, :address), \
             country = if_not_exists(country, :country)",
            None,
            [
                (":now", stamp(now)),
                (":path", string(path)),
                (":address", string(address)),
                (":country", string(country)),
            ],
        );
        Write::Update(update.naming("#first", "timestamp").naming("#path", "path"))
    }

    /// Counted on what is looked at, and in the sums of the hour, the day, the week and the month.
    fn view(&mut self, now: DateTime<Utc>) -> Vec<Write> {
        let views = amount(1);
        let medium = pick(&self.known.media, &mut self.random);
        let sum = |granularity| {
            let start = Period::containing(granularity, now).start();
            let key = key(format!("VIEW_COUNT#{granularity}"), format_instant(start));
            let add = "ADD newViews :views SET EntityType = :type";
            let values = [(":views", views.clone()), (":type", string("ViewCount"))];
            Write::Update(UpdateItem::new(TABLE, key, add, None, values))
        };
        let mut writes: Vec<Write> = Granularity::ALL.into_iter().map(sum).collect();
        writes.push(update(
            key(format!("MEDIA#{medium}"), "METADATA"),
            "ADD viewCount :views",
            vec![(":views", views)],
        ));
        writes
    }

    fn interaction(&mut self, action: &str, now: DateTime<Utc>) -> Vec<Write> {
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

    fn comment(&mut self, now: DateTime<Utc>) -> Write {
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

    fn upload(&mut self, now: DateTime<Utc>) -> Write {
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

    fn album(&mut self, now: DateTime<Utc>) -> Write {
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

    /// Waits in the queue, is worked on, and ends.
    fn generation(&mut self, now: DateTime<Utc>) -> Write {
        let (id, user) = (self.random.id(), pick(&self.known.users, &mut self.random));
        let job = format!("I2VJOB#{id}");
        let moved = |status| ("GSI3PK", string(format!("I2VJOB_STATUS#{status}")));
        let begun = set_status(&job, "IN_PROGRESS", vec![moved("IN_PROGRESS")]);
        let begun = self.follow(now, 15, begun);
        let outcome = self.random.weighted(&[(85, "COMPLETED"), (10, "FAILED"), (5, "TIMED_OUT")]);
        let seconds = 10 + self.random.below(90);
        let ended = begun + TimeDelta::seconds(i64::try_from(seconds).unwrap_or_default());
        let mut values = vec![moved(outcome)];
        if outcome != "TIMED_OUT" {
            values.extend([("completedAt", stamp(ended)), ("executionTime", amount(seconds))]);
        }
        self.at(ended, set_status(&job, outcome, values));
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

    fn sign_up(&mut self, now: DateTime<Utc>) -> Write {
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

    fn order(&mut self, now: DateTime<Utc>) -> Write {
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
        self.at(ended, set_status(&order, outcome, values));
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

    /// What is liked or talked about: its kind and its id.
    fn target(&mut self) -> (&'static str, String) {
        if self.random.chance(60) {
            ("media", pick(&self.known.media, &mut self.random))
        } else {
            ("album", pick(&self.known.albums, &mut self.random))
        }
    }

    /// Has `write` follow within `seconds`; says when.
    fn follow(&mut self, now: DateTime<Utc>, seconds: i64, write: Write) -> DateTime<Utc> {
        let at = now + TimeDelta::seconds(2) + self.random.span(TimeDelta::seconds(seconds));
        self.at(at, write);
        at
    }

    fn at(&mut self, at: DateTime<Utc>, write: Write) {
        self.told += 1;
        self.later.insert((at, self.told), write);
    }
}

/// One of `known`: mostly one of the first, as popularity goes. On a platform without any, one who
/// has left.
fn pick(known: &[String], random: &mut Random) -> String {
    match known.get(random.skewed_index(known.len().max(1))) {
        Some(id) => id.clone(),
        None => random.id(),
    }
}

fn put(attributes: Vec<(&str, AttributeValue)>) -> Write {
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    Write::Put(attributes.collect::<std::collections::HashMap<_, _>>().into())
}

/// An update of what is there, if it still is.
fn update(key: Item, expression: &str, values: Vec<(&str, AttributeValue)>) -> Write {
    Write::Update(UpdateItem::new(TABLE, key, expression, Some("attribute_exists(PK)"), values))
}

/// Moves what has the partition key `partition` to `status`, with what else changes then.
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

fn stamp(at: DateTime<Utc>) -> AttributeValue {
    string(written(at))
}

fn amount(value: u64) -> AttributeValue {
    number(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Script {
        let some = |name: &str| (0..9).map(|number| format!("{name}-{number}")).collect();
        let known = Known { users: some("user"), media: some("media"), albums: some("album") };
        Script { random: Random::new(1, 1), known, later: BTreeMap::new(), told: 0 }
    }

    #[test]
    fn a_job_waits_is_worked_on_and_ends() {
        let mut script = script();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        assert_eq!(script.happen(Kind::Generation, now).len(), 1);
        let states: Vec<String> = script.later.values().map(|write| format!("{write:?}")).collect();
        assert_eq!(states.len(), 2);
        assert!(states[0].contains("I2VJOB_STATUS#IN_PROGRESS"), "{}", states[0]);
        assert!(!states[1].contains("IN_PROGRESS"), "{}", states[1]);
    }

    #[test]
    fn what_follows_comes_when_it_is_due_and_once() {
        let mut script = script();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        script.happen(Kind::Upload, now);
        script.next(now + TimeDelta::seconds(1));
        assert!(!script.later.is_empty());
        let much_later = now + TimeDelta::hours(1);
        assert!(script.next(much_later).len() >= 2);
        assert!(script.later.keys().all(|(at, _)| *at > much_later));
    }

    #[test]
    fn an_hour_has_some_of_nearly_everything_and_new_ones_are_known() {
        let mut script = script();
        let mut now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        let before = script.known.media.len();
        let mut puts = 0;
        for _ in 0..900 {
            now += TimeDelta::seconds(4);
            puts += script.next(now).iter().filter(|write| matches!(write, Write::Put(_))).count();
        }
        assert!(puts > 5, "{puts}");
        assert!(script.known.media.len() > before);
    }

    #[test]
    fn nothing_is_known_of_an_empty_platform_and_something_happens_all_the_same() {
        let mut script = script();
        script.known = Known::default();
        let now: DateTime<Utc> = "2026-05-01T10:00:00Z".parse().unwrap();
        for kind in [Kind::View, Kind::Like, Kind::Comment, Kind::Return] {
            assert!(!script.happen(kind, now).is_empty());
        }
    }
}
