//! What a period's metrics have to be when its hours were counted at different times: the plain
//! facts of every item, an hour counted from them with everything a coarser period needs (sets of
//! people, sums beside counts, targets), and days, weeks and months put together from hours.
//!
//! It shares nothing with the engine, and nothing with its catalogue: which metrics there are and how
//! each is put together is written down here once more, from the definitions of the metrics. Hours are
//! themselves compared with the slower and more obvious `oracle`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use Reconstruction::{Estimate, LowerBound};
use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::metrics::record::Reconstruction;
use sample_platform::Item;
use serde_json::{Map, Value as Json, json};

use super::engine_suite::TYPES;

/// How a coarser period's value comes from the finer ones'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollup {
    /// All of them added up.
    Sum,
    /// The last one's.
    Last,
    /// All of them together: sets united, means and rankings computed anew.
    Together,
}

/// What the table still tells of a metric in a past period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Of what happened in the period, that which still exists.
    Flow,
    /// The same, as far as it meets a condition that can have changed since.
    ConditionalFlow,
    /// Of what existed at the period's end, that which still exists, as it is now.
    Survivors,
    /// Nothing: only the scheduled run of the period can observe it.
    Forgotten,
}

/// One metric.
pub struct Metric {
    pub name: &'static str,
    pub rollup: Rollup,
    pub past: Past,
    /// What a value is that was computed later.
    pub mark: Reconstruction,
}

const fn metric(name: &'static str, rollup: Rollup, past: Past, mark: Reconstruction) -> Metric {
    Metric { name, rollup, past, mark }
}

/// A count of what exists, without a condition: later, what was deleted is lacking.
const fn total(name: &'static str) -> Metric {
    metric(name, Rollup::Last, Past::Survivors, LowerBound)
}

/// A stock with a condition, or a sum.
const fn stock(name: &'static str) -> Metric {
    metric(name, Rollup::Last, Past::Survivors, Estimate)
}

/// A count of what happened, without a condition.
const fn arrivals(name: &'static str) -> Metric {
    metric(name, Rollup::Sum, Past::Flow, LowerBound)
}

/// A flow with a condition.
const fn conditional(name: &'static str, rollup: Rollup) -> Metric {
    metric(name, rollup, Past::ConditionalFlow, Estimate)
}

/// Only the scheduled run of its hour can observe it.
const fn forgotten(name: &'static str, rollup: Rollup) -> Metric {
    metric(name, rollup, Past::Forgotten, Estimate)
}

/// The metrics of each type, in the order of [`TYPES`].
pub const METRICS: [&[Metric]; TYPES.len()] = [
    &[
        stock("totalUsers"),
        conditional("newUsers", Rollup::Sum),
        forgotten("activeUsers", Rollup::Together),
        forgotten("deletedUsers", Rollup::Sum),
        metric("visitors", Rollup::Together, Past::Flow, LowerBound),
    ],
    &[
        total("totalMedia"),
        stock("publicMedia"),
        stock("privateMedia"),
        arrivals("newMedia"),
        forgotten("mediaByStatus", Rollup::Last),
    ],
    &[total("totalAlbums"), stock("publicAlbums"), stock("privateAlbums"), arrivals("newAlbums")],
    &[
        total("totalLikes"),
        arrivals("newLikes"),
        total("totalBookmarks"),
        arrivals("newBookmarks"),
        total("totalComments"),
        arrivals("newComments"),
        metric("newViews", Rollup::Sum, Past::Flow, Estimate),
        forgotten("totalViews", Rollup::Last),
        metric("mostEngaged", Rollup::Together, Past::Flow, Estimate),
    ],
    &[
        total("totalGenerations"),
        arrivals("newGenerations"),
        conditional("successfulGenerations", Rollup::Sum),
        conditional("failedGenerations", Rollup::Sum),
        conditional("averageGenerationTime", Rollup::Together),
    ],
    &[
        forgotten("MRR", Rollup::Last),
        stock("totalRevenue"),
        conditional("newRevenue", Rollup::Sum),
    ],
];

/// The index of the type `users` in [`TYPES`].
pub const USERS: usize = 0;

type Text = Arc<str>;

/// Likes, bookmarks and comments by target: its id, then its type, which is the order of ties.
type Targets = BTreeMap<(Text, Text), [i64; 3]>;

/// A metric's value, with all that is needed to put coarser ones together.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Count(i64),
    Cents(i64),
    /// Media that are processing, completed, failed.
    Statuses([i64; 3]),
    Set(Arc<BTreeSet<Text>>),
    /// The sum in millionths of a second, and how many there are.
    Mean(i64, i64),
    Targets(Arc<Targets>),
}

/// Metric name to value; an absent metric has no entry.
pub type Values = BTreeMap<&'static str, Value>;

/// The facts of one item, with instants in milliseconds. An item that concerns no metric has none.
#[derive(Debug, Clone)]
pub enum Fact {
    User {
        id: Text,
        counts: bool,
        created: Option<i64>,
        last_active: Option<i64>,
        /// What the plan brings in a month, for as long as it lasts.
        price: i64,
        lasts_until: i64,
    },
    Medium {
        created: i64,
        public: bool,
        status: Option<usize>,
    },
    Album {
        created: i64,
        public: bool,
    },
    Interaction {
        kind: usize,
        created: i64,
        target: Option<(Text, Text)>,
    },
    HourlyViews(i64, i64),
    MonthlyViews(i64, i64),
    Visitor(i64, Text),
    Job {
        created: i64,
        outcome: Outcome,
        millionths: Option<i64>,
    },
    /// A completed order: when, and its cents.
    Order(i64, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Failed,
    Other,
}

impl Fact {
    /// What is known of `item`.
    pub fn of(item: &Item) -> Option<Self> {
        let owned = |name: &str| text(item, name).map(Text::from);
        match text(item, "EntityType") {
            Some("User") => Some(Self::user(item)),
            Some("Media") => Some(Self::Medium {
                created: date(item, "createdAt")?,
                public: text(item, "isPublic") == Some("true"),
                status: ["pending", "uploaded", "failed"]
                    .iter()
                    .position(|status| text(item, "status") == Some(status)),
            }),
            Some("Album") => Some(Self::Album {
                created: date(item, "createdAt")?,
                public: text(item, "isPublic") == Some("true"),
            }),
            Some(entity @ ("UserInteraction" | "Comment")) => Some(Self::Interaction {
                kind: match (entity, text(item, "interactionType")) {
                    ("Comment", _) => 2,
                    (_, Some("like")) => 0,
                    (_, Some("bookmark")) => 1,
                    _ => return None,
                },
                created: date(item, "createdAt")?,
                target: owned("targetId").zip(owned("targetType")),
            }),
            Some("ViewCount") => {
                let (at, views) = (date(item, "SK")?, number(item, "newViews")?.parse().ok()?);
                match text(item, "PK")? {
                    "VIEW_COUNT#hourly" => Some(Self::HourlyViews(at, views)),
                    "VIEW_COUNT#monthly" => Some(Self::MonthlyViews(at, views)),
                    _ => None,
                }
            }
            Some("I2VJob") => Some(Self::Job {
                created: date(item, "createdAt")?,
                outcome: match text(item, "status") {
                    Some("COMPLETED") => Outcome::Completed,
                    Some("FAILED" | "TIMED_OUT") => Outcome::Failed,
                    _ => Outcome::Other,
                },
                millionths: number(item, "executionTime").and_then(|time| decimal(time, 6)),
            }),
            Some("Order") if text(item, "status") == Some("completed") => {
                let said = ["completedAt", "createdAt"].into_iter();
                let at = said.clone().find(|name| item.contains_key(*name))?;
                let amount = text(item, "amount").or(number(item, "amount"))?;
                Some(Self::Order(date(item, at)?, decimal(amount, 2)?))
            }
            None if text(item, "PK") == Some("VISITOR") => {
                Some(Self::Visitor(date(item, "timestamp")?, owned("clientIP")?))
            }
            _ => None,
        }
    }

    fn user(item: &Item) -> Self {
        let price = match text(item, "plan") {
            Some("starter") => 9,
            Some("unlimited") => 20,
            Some("pro") => 30,
            _ => 0,
        };
        let subscribed = text(item, "subscriptionStatus") == Some("active")
            && text(item, "subscriptionId").is_some();
        let lasts_until = if item.contains_key("planEndDate") {
            date(item, "planEndDate")
        } else {
            Some(i64::MAX)
        };
        Self::User {
            id: text(item, "userId").unwrap_or_default().into(),
            counts: item.get("isActive").is_some_and(|active| active["BOOL"] == true),
            created: date(item, "createdAt"),
            last_active: date(item, "lastActive"),
            price: if subscribed { price } else { 0 },
            lasts_until: lasts_until.unwrap_or(i64::MIN),
        }
    }
}

/// The metrics of the hour that begins at `start`, of every type, except `deletedUsers`.
pub fn count_hour<'fact>(
    facts: impl IntoIterator<Item = &'fact Fact>,
    start: DateTime<Utc>,
) -> [Values; TYPES.len()] {
    let first = start.timestamp_millis();
    let last = (start + TimeDelta::hours(1)).timestamp_millis() - 1;
    let has = |at: i64| first <= at && at <= last;
    let mut hour = Hour::default();
    for fact in facts {
        match fact {
            Fact::User { id, counts, created, last_active, price, lasts_until } => {
                if let (true, Some(created)) = (counts, created) {
                    hour.users += i64::from(*created <= last);
                    hour.new_users += i64::from(has(*created));
                }
                if last_active.is_some_and(has) {
                    hour.active_users.insert(id.clone());
                }
                if *lasts_until > last {
                    hour.recurring_cents += 100 * price;
                }
            }
            Fact::Medium { created, public, status } => {
                hour.new_media += i64::from(has(*created));
                if *created <= last {
                    hour.media[usize::from(*public)] += 1;
                    if let Some(status) = status {
                        hour.statuses[*status] += 1;
                    }
                }
            }
            Fact::Album { created, public } => {
                hour.new_albums += i64::from(has(*created));
                if *created <= last {
                    hour.albums[usize::from(*public)] += 1;
                }
            }
            Fact::Interaction { kind, created, target } => {
                hour.interactions[*kind] += i64::from(*created <= last);
                if has(*created) {
                    hour.new_interactions[*kind] += 1;
                    if let Some(target) = target {
                        hour.targets.entry(target.clone()).or_default()[*kind] += 1;
                    }
                }
            }
            Fact::HourlyViews(at, views) if has(*at) => hour.new_views += views,
            Fact::MonthlyViews(at, views) if *at <= last => hour.views += views,
            Fact::HourlyViews(..) | Fact::MonthlyViews(..) => {}
            Fact::Visitor(at, address) => {
                if has(*at) {
                    hour.visitors.insert(address.clone());
                }
            }
            Fact::Job { created, outcome, millionths } => {
                hour.jobs += i64::from(*created <= last);
                if has(*created) {
                    hour.new_jobs += 1;
                    hour.failed_jobs += i64::from(*outcome == Outcome::Failed);
                    if *outcome == Outcome::Completed {
                        hour.successful_jobs += 1;
                        hour.job_millionths += millionths.unwrap_or(0);
                        hour.timed_jobs += i64::from(millionths.is_some());
                    }
                }
            }
            Fact::Order(at, cents) => {
                hour.cents += if *at <= last { *cents } else { 0 };
                hour.new_cents += if has(*at) { *cents } else { 0 };
            }
        }
    }
    hour.into_values()
}

/// What counting comes to. Media and albums: the private ones, the public ones.
#[derive(Default)]
struct Hour {
    users: i64,
    new_users: i64,
    active_users: BTreeSet<Text>,
    visitors: BTreeSet<Text>,
    recurring_cents: i64,
    media: [i64; 2],
    new_media: i64,
    statuses: [i64; 3],
    albums: [i64; 2],
    new_albums: i64,
    interactions: [i64; 3],
    new_interactions: [i64; 3],
    targets: Targets,
    new_views: i64,
    views: i64,
    jobs: i64,
    new_jobs: i64,
    successful_jobs: i64,
    failed_jobs: i64,
    job_millionths: i64,
    timed_jobs: i64,
    cents: i64,
    new_cents: i64,
}

impl Hour {
    fn into_values(self) -> [Values; TYPES.len()] {
        use Value::{Cents, Count, Mean, Set, Statuses};
        [
            Values::from([
                ("totalUsers", Count(self.users)),
                ("newUsers", Count(self.new_users)),
                ("activeUsers", Set(self.active_users.into())),
                ("visitors", Set(self.visitors.into())),
            ]),
            Values::from([
                ("totalMedia", Count(self.media.iter().sum())),
                ("publicMedia", Count(self.media[1])),
                ("privateMedia", Count(self.media[0])),
                ("newMedia", Count(self.new_media)),
                ("mediaByStatus", Statuses(self.statuses)),
            ]),
            Values::from([
                ("totalAlbums", Count(self.albums.iter().sum())),
                ("publicAlbums", Count(self.albums[1])),
                ("privateAlbums", Count(self.albums[0])),
                ("newAlbums", Count(self.new_albums)),
            ]),
            Values::from([
                ("totalLikes", Count(self.interactions[0])),
                ("newLikes", Count(self.new_interactions[0])),
                ("totalBookmarks", Count(self.interactions[1])),
                ("newBookmarks", Count(self.new_interactions[1])),
                ("totalComments", Count(self.interactions[2])),
                ("newComments", Count(self.new_interactions[2])),
                ("newViews", Count(self.new_views)),
                ("totalViews", Count(self.views)),
                ("mostEngaged", Value::Targets(self.targets.into())),
            ]),
            Values::from([
                ("totalGenerations", Count(self.jobs)),
                ("newGenerations", Count(self.new_jobs)),
                ("successfulGenerations", Count(self.successful_jobs)),
                ("failedGenerations", Count(self.failed_jobs)),
                ("averageGenerationTime", Mean(self.job_millionths, self.timed_jobs)),
            ]),
            Values::from([
                ("MRR", Cents(self.recurring_cents)),
                ("totalRevenue", Cents(self.cents)),
                ("newRevenue", Cents(self.new_cents)),
            ]),
        ]
    }
}

/// A coarser period's metrics of the type with this index, from the finer ones', earliest first;
/// `None` where a finer one has no record. A metric that would be short is absent.
pub fn roll_up(metric_type: usize, finer: &[Option<&Values>]) -> Values {
    let together = |metric: &Metric| -> Option<Value> {
        let value = |values: Option<&Values>| values?.get(metric.name).cloned();
        if metric.rollup == Rollup::Last {
            return value(*finer.last()?);
        }
        let all: Vec<Value> = finer.iter().copied().map(value).collect::<Option<_>>()?;
        all.into_iter().reduce(Value::with)
    };
    METRICS[metric_type]
        .iter()
        .filter_map(|metric| Some((metric.name, together(metric)?)))
        .collect()
}

impl Value {
    /// This and another period's value together.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Count(one), Self::Count(other)) => Self::Count(one + other),
            (Self::Cents(one), Self::Cents(other)) => Self::Cents(one + other),
            (Self::Mean(sum, count), Self::Mean(others, more)) => {
                Self::Mean(sum + others, count + more)
            }
            (Self::Set(one), Self::Set(other)) => {
                if other.is_subset(&one) {
                    return Self::Set(one);
                }
                let mut both = (*one).clone();
                both.extend(other.iter().cloned());
                // Beyond this a sketch need not be exact, and the comparison means nothing.
                assert!(both.len() < 1000, "{} in a set: make the platform smaller", both.len());
                Self::Set(both.into())
            }
            (Self::Targets(one), Self::Targets(other)) => {
                let mut both = (*one).clone();
                for (target, counts) in other.iter() {
                    let sums = both.entry(target.clone()).or_default();
                    for (sum, count) in sums.iter_mut().zip(counts) {
                        *sum += count;
                    }
                }
                // A record keeps no more, and a ranking that is not certain is absent.
                assert!(both.len() < 1000, "{} targets: make the platform smaller", both.len());
                Self::Targets(both.into())
            }
            (one, other) => panic!("{one:?} and {other:?} have no sum"),
        }
    }

    /// How much it is, to decide which of two counts of the same flow is the larger.
    pub fn size(&self) -> i64 {
        match self {
            Self::Count(amount) | Self::Cents(amount) => *amount,
            Self::Statuses(counts) => counts.iter().sum(),
            Self::Set(set) => i64::try_from(set.len()).unwrap(),
            Self::Mean(_, count) => *count,
            Self::Targets(targets) => targets.values().flatten().sum(),
        }
    }

    /// As a record says it; `None` where there is nothing to say.
    fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Count(count) => json!(count),
            Self::Cents(cents) => quotient(*cents, 100),
            Self::Statuses([processing, completed, failed]) => {
                json!({"processing": processing, "completed": completed, "failed": failed})
            }
            Self::Set(set) => json!(set.len()),
            Self::Mean(_, 0) => return None,
            Self::Mean(millionths, count) => quotient(*millionths, 1_000_000 * count),
            Self::Targets(targets) => {
                let mut ranking: Vec<_> = targets.iter().collect();
                // Stable: the same total stays in the order of the ids.
                ranking.sort_by_key(|(_, counts)| -counts.iter().sum::<i64>());
                let listed = ranking.iter().take(10).map(|((id, kind), counts)| {
                    let [likes, bookmarks, comments] = counts;
                    json!({
                        "targetType": **kind, "targetId": **id, "likes": likes,
                        "bookmarks": bookmarks, "comments": comments,
                        "total": likes + bookmarks + comments,
                    })
                });
                listed.collect()
            }
        })
    }
}

/// Values as a record's metrics.
pub fn metrics(values: &Values) -> Map<String, Json> {
    let said = |(name, value): (&&str, &Value)| Some(((*name).to_owned(), value.to_json()?));
    values.iter().filter_map(said).collect()
}

/// How `actual` differs from `expected`, or nothing.
pub fn difference(actual: &Map<String, Json>, expected: &Map<String, Json>) -> Option<String> {
    let names: BTreeSet<&String> = actual.keys().chain(expected.keys()).collect();
    let differences: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            let (is, ought) = (actual.get(name), expected.get(name));
            let same = match (is.and_then(Json::as_f64), ought.and_then(Json::as_f64)) {
                // Sums are exact; only a mean may differ in the last digit of a double.
                (Some(is), Some(ought)) => (is - ought).abs() <= ought.abs() * 1e-12,
                _ => is == ought,
            };
            let say = |value: Option<&Json>| value.map_or("absent".to_owned(), Json::to_string);
            (!same).then(|| format!("{name} is {}, expected {}", say(is), say(ought)))
        })
        .collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

#[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
fn quotient(dividend: i64, divisor: i64) -> Json {
    assert!(dividend.abs() < 1 << 53 && divisor < 1 << 53, "too large to divide exactly");
    json!(dividend as f64 / divisor as f64)
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

fn number<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("N")?.as_str()
}

fn date(item: &Item, name: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text(item, name)?).ok()?.timestamp_millis())
}

/// Digits with at most `places` more behind a point, in units of the last place.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    assert!(fraction.len() <= places, "{text}: the sample has no such numbers");
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;

    /// The facts agree with the items: every metric of many hours against the oracle.
    #[test]
    fn an_hour_is_what_the_oracle_says() {
        let end: DateTime<Utc> = "2026-06-01T03:00:00Z".parse().unwrap();
        let shape = sample_platform::Shape { users: 60, days: 20, seed: 3, end };
        let items = sample_platform::generate(&shape);
        let facts: Vec<Fact> = items.iter().filter_map(Fact::of).collect();
        for hours in 1..12 {
            let hour = end - TimeDelta::hours(hours);
            let expected = oracle::expected_hour(&items, hour, None);
            for (values, name) in count_hour(&facts, hour).iter().zip(TYPES) {
                assert_eq!(difference(&metrics(values), &expected[name]), None, "{name}, {hour}");
            }
        }
    }

    fn hour(total: i64, people: &[&str], mean: Option<(i64, i64)>) -> [Values; TYPES.len()] {
        let mut hour: [Values; TYPES.len()] = Default::default();
        let people: BTreeSet<Text> = people.iter().map(|name| Text::from(*name)).collect();
        hour[USERS] = Values::from([
            ("totalUsers", Value::Count(total)),
            ("newUsers", Value::Count(2)),
            ("activeUsers", Value::Set(people.into())),
        ]);
        let (sum, count) = mean.unwrap_or((0, 0));
        hour[4] = Values::from([("averageGenerationTime", Value::Mean(sum, count))]);
        hour
    }

    #[test]
    fn hours_make_a_day_and_a_hole_takes_away_what_would_be_short() {
        let mut hours =
            [hour(7, &["a", "b"], Some((3_000_000, 2))), hour(9, &["b"], None), hour(8, &[], None)];
        let day = |hours: &[[Values; TYPES.len()]], of: usize| {
            let finer: Vec<Option<&Values>> = hours.iter().map(|hour| Some(&hour[of])).collect();
            metrics(&roll_up(of, &finer))
        };
        assert_eq!(
            Json::from(day(&hours, USERS)),
            json!({"totalUsers": 8, "newUsers": 6, "activeUsers": 2})
        );
        // Hours in which nothing was made are no holes.
        assert_eq!(Json::from(day(&hours, 4)), json!({"averageGenerationTime": 1.5}));
        hours[1][USERS].remove("activeUsers");
        assert_eq!(Json::from(day(&hours, USERS)), json!({"totalUsers": 8, "newUsers": 6}));
        let finer = [Some(&hours[0][USERS]), None, Some(&hours[2][USERS])];
        assert_eq!(Json::from(metrics(&roll_up(USERS, &finer))), json!({"totalUsers": 8}));
        let finer = [Some(&hours[0][USERS]), Some(&hours[1][USERS]), None];
        assert_eq!(Json::from(metrics(&roll_up(USERS, &finer))), json!({}));
    }
}
