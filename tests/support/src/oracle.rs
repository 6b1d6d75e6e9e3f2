//! What the metrics of an hour have to be, computed the slow and obvious way from the items
//! themselves, straight from the definitions of the metrics. It shares nothing with the engine, which is
//! compared with it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use sample_platform::Item;
use serde_json::{Map, Value, json};

/// The metrics of one type: name to value. A metric that is absent for the hour is not in it.
pub type Metrics = Map<String, Value>;

/// What an hour's records must hold: metric type to metrics, for every type but `storage`.
///
/// `items` is the table as it stands, which is what current-only metrics are read from.
/// `previous_total_users` is `totalUsers` of the hour before, if it has a record.
pub fn expected_hour(
    items: &[Item],
    hour_start: DateTime<Utc>,
    previous_total_users: Option<i64>,
) -> BTreeMap<&'static str, Metrics> {
    expected_period(items, hour_start, hour_start + TimeDelta::hours(1), previous_total_users)
}

/// The same for any period, from its start to the start of the next one: what the records of a day,
/// a week or a month must hold on a table that stood still while its hours were counted.
pub fn expected_period(
    items: &[Item],
    start: DateTime<Utc>,
    next_start: DateTime<Utc>,
    previous_total_users: Option<i64>,
) -> BTreeMap<&'static str, Metrics> {
    let hour = Hour { start, end: next_start - TimeDelta::milliseconds(1) };
    BTreeMap::from([
        ("users", users(items, &hour, previous_total_users)),
        ("media", media(items, &hour)),
        ("albums", albums(items, &hour)),
        ("interactions", interactions(items, &hour)),
        ("generations", generations(items, &hour)),
        ("business", business(items, &hour)),
    ])
}

/// Both ends inclusive: the first and the last millisecond.
struct Hour {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Hour {
    /// "in the period". What has no readable date is in no period.
    fn has(&self, at: Option<DateTime<Utc>>) -> bool {
        at.is_some_and(|at| self.start <= at && at <= self.end)
    }

    /// "to date".
    fn ends_after(&self, at: Option<DateTime<Utc>>) -> bool {
        at.is_some_and(|at| at <= self.end)
    }
}

fn users(items: &[Item], hour: &Hour, previous_total: Option<i64>) -> Metrics {
    let users = entity(items, "User");
    let counted: Vec<&Item> = users
        .iter()
        .copied()
        .filter(|user| user.get("isActive").is_some_and(|active| active["BOOL"] == true))
        .collect();
    let total = count(&counted, |user| hour.ends_after(date(user, "createdAt")));
    let new = count(&counted, |user| hour.has(date(user, "createdAt")));
    let active = count(&users, |user| hour.has(date(user, "lastActive")));
    let visitors: BTreeSet<&str> = items
        .iter()
        .filter(|item| text(item, "PK") == Some("VISITOR"))
        .filter(|visitor| hour.has(date(visitor, "timestamp")))
        .filter_map(|visitor| text(visitor, "clientIP"))
        .collect();

    let mut metrics = Metrics::new();
    metrics.insert("totalUsers".into(), total.into());
    metrics.insert("newUsers".into(), new.into());
    metrics.insert("activeUsers".into(), active.into());
    metrics.insert("visitors".into(), visitors.len().into());
    if let Some(previous) = previous_total {
        metrics.insert("deletedUsers".into(), (previous + new - total).max(0).into());
    }
    metrics
}

fn media(items: &[Item], hour: &Hour) -> Metrics {
    let media = entity(items, "Media");
    let to_date: Vec<&Item> =
        media.iter().copied().filter(|medium| hour.ends_after(date(medium, "createdAt"))).collect();
    let public = count(&to_date, |medium| text(medium, "isPublic") == Some("true"));
    let with_status =
        |status: &str| count(&to_date, |medium| text(medium, "status") == Some(status));

    let mut metrics = Metrics::new();
    metrics.insert("totalMedia".into(), to_date.len().into());
    metrics.insert("publicMedia".into(), public.into());
    metrics.insert(
        "privateMedia".into(),
        count(&to_date, |medium| text(medium, "isPublic") != Some("true")).into(),
    );
    metrics.insert(
        "newMedia".into(),
        count(&media, |medium| hour.has(date(medium, "createdAt"))).into(),
    );
    metrics.insert(
        "mediaByStatus".into(),
        json!({
            "processing": with_status("pending"),
            "completed": with_status("uploaded"),
            "failed": with_status("failed"),
        }),
    );
    metrics
}

fn albums(items: &[Item], hour: &Hour) -> Metrics {
    let albums = entity(items, "Album");
    let to_date: Vec<&Item> =
        albums.iter().copied().filter(|album| hour.ends_after(date(album, "createdAt"))).collect();
    let public = count(&to_date, |album| text(album, "isPublic") == Some("true"));

    let mut metrics = Metrics::new();
    metrics.insert("totalAlbums".into(), to_date.len().into());
    metrics.insert("publicAlbums".into(), public.into());
    metrics.insert(
        "privateAlbums".into(),
        count(&to_date, |album| text(album, "isPublic") != Some("true")).into(),
    );
    metrics.insert(
        "newAlbums".into(),
        count(&albums, |album| hour.has(date(album, "createdAt"))).into(),
    );
    metrics
}

fn interactions(items: &[Item], hour: &Hour) -> Metrics {
    let likes_and_bookmarks = entity(items, "UserInteraction");
    let of_kind = |kind: &str| -> Vec<&Item> {
        likes_and_bookmarks
            .iter()
            .copied()
            .filter(|item| text(item, "interactionType") == Some(kind))
            .collect()
    };
    let (likes, bookmarks, comments) =
        (of_kind("like"), of_kind("bookmark"), entity(items, "Comment"));

    let mut metrics = Metrics::new();
    for (total_name, new_name, of_kind) in [
        ("totalLikes", "newLikes", &likes),
        ("totalBookmarks", "newBookmarks", &bookmarks),
        ("totalComments", "newComments", &comments),
    ] {
        let total = count(of_kind, |item| hour.ends_after(date(item, "createdAt")));
        let new = count(of_kind, |item| hour.has(date(item, "createdAt")));
        metrics.insert(total_name.into(), total.into());
        metrics.insert(new_name.into(), new.into());
    }

    let views = |granularity: &str, counts: &dyn Fn(Option<DateTime<Utc>>) -> bool| -> i64 {
        items
            .iter()
            .filter(|item| text(item, "PK") == Some(&format!("VIEW_COUNT#{granularity}")))
            .filter(|item| counts(date(item, "SK")))
            .filter_map(|item| number(item, "newViews")?.parse::<i64>().ok())
            .sum()
    };
    metrics.insert("newViews".into(), views("hourly", &|at| hour.has(at)).into());
    metrics.insert("totalViews".into(), views("monthly", &|at| hour.ends_after(at)).into());
    metrics.insert("mostEngaged".into(), most_engaged(&likes, &bookmarks, &comments, hour));
    metrics
}

fn most_engaged(likes: &[&Item], bookmarks: &[&Item], comments: &[&Item], hour: &Hour) -> Value {
    // Likes, bookmarks and comments by (targetId, targetType), which is the order of ties.
    let mut targets: BTreeMap<(&str, &str), [i64; 3]> = BTreeMap::new();
    for (kind, items) in [likes, bookmarks, comments].into_iter().enumerate() {
        for item in items {
            if hour.has(date(item, "createdAt"))
                && let (Some(target), Some(target_type)) =
                    (text(item, "targetId"), text(item, "targetType"))
            {
                targets.entry((target, target_type)).or_default()[kind] += 1;
            }
        }
    }
    let mut ranking: Vec<_> = targets.into_iter().collect();
    // Stable: targets with the same total stay in the order of their ids.
    ranking.sort_by_key(|(_, counts)| -counts.iter().sum::<i64>());
    ranking
        .iter()
        .take(10)
        .map(|((target, target_type), [likes, bookmarks, comments])| {
            json!({
                "targetType": target_type,
                "targetId": target,
                "likes": likes,
                "bookmarks": bookmarks,
                "comments": comments,
                "total": likes + bookmarks + comments,
            })
        })
        .collect()
}

fn generations(items: &[Item], hour: &Hour) -> Metrics {
    let jobs = entity(items, "I2VJob");
    let new: Vec<&Item> =
        jobs.iter().copied().filter(|job| hour.has(date(job, "createdAt"))).collect();
    let successful: Vec<&Item> =
        new.iter().copied().filter(|job| text(job, "status") == Some("COMPLETED")).collect();
    let failed = count(&new, |job| matches!(text(job, "status"), Some("FAILED" | "TIMED_OUT")));
    let millionths: Vec<i128> =
        successful.iter().filter_map(|job| decimal(number(job, "executionTime")?, 6)).collect();

    let mut metrics = Metrics::new();
    metrics.insert(
        "totalGenerations".into(),
        count(&jobs, |job| hour.ends_after(date(job, "createdAt"))).into(),
    );
    metrics.insert("newGenerations".into(), new.len().into());
    metrics.insert("successfulGenerations".into(), successful.len().into());
    metrics.insert("failedGenerations".into(), failed.into());
    if !millionths.is_empty() {
        let mean = quotient(millionths.iter().sum(), 1_000_000 * millionths.len() as i128);
        metrics.insert("averageGenerationTime".into(), mean);
    }
    metrics
}

fn business(items: &[Item], hour: &Hour) -> Metrics {
    let mut recurring = 0;
    for user in entity(items, "User") {
        let price = match text(user, "plan") {
            Some("starter") => 9,
            Some("unlimited") => 20,
            Some("pro") => 30,
            _ => continue,
        };
        let subscribed = text(user, "subscriptionStatus") == Some("active")
            && text(user, "subscriptionId").is_some();
        // Absent: the plan never ends. Unreadable: unknown, so not counted.
        let lasts = !user.contains_key("planEndDate")
            || date(user, "planEndDate").is_some_and(|end| end > hour.end);
        if subscribed && lasts {
            recurring += price;
        }
    }

    let (mut total_cents, mut new_cents) = (0, 0);
    for order in entity(items, "Order") {
        if text(order, "status") != Some("completed") {
            continue;
        }
        let completed = if order.contains_key("completedAt") {
            date(order, "completedAt")
        } else {
            date(order, "createdAt")
        };
        // Newer items hold a string, older ones a number.
        let amount = text(order, "amount").or(number(order, "amount"));
        let Some(cents) = amount.and_then(|amount| decimal(amount, 2)) else {
            continue;
        };
        if hour.ends_after(completed) {
            total_cents += cents;
        }
        if hour.has(completed) {
            new_cents += cents;
        }
    }

    let mut metrics = Metrics::new();
    metrics.insert("MRR".into(), recurring.into());
    metrics.insert("totalRevenue".into(), quotient(total_cents, 100));
    metrics.insert("newRevenue".into(), quotient(new_cents, 100));
    metrics
}

fn entity<'a>(items: &'a [Item], kind: &str) -> Vec<&'a Item> {
    items.iter().filter(|item| text(item, "EntityType") == Some(kind)).collect()
}

fn count(items: &[&Item], condition: impl Fn(&Item) -> bool) -> i64 {
    items.iter().map(|item| i64::from(condition(item))).sum()
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("S")?.as_str()
}

fn number<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.get("N")?.as_str()
}

/// A date is an RFC 3339 date-time with its zone; anything else is malformed.
fn date(item: &Item, name: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text(item, name)?).ok()?.to_utc())
}

/// A number with an optional sign, digits, and optionally a point and more digits, in units of
/// 10^-`places`, rounded half away from zero. Anything else is malformed.
fn decimal(text: &str, places: usize) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let all_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    // "12.345" to 2 places: 1234, and the 5 rounds it up.
    let padded = format!("{fraction:0<width$}", width = places + 1);
    let mut units: i128 = format!("{whole}{}", &padded[..places]).parse().ok()?;
    if padded.as_bytes()[places] >= b'5' {
        units += 1;
    }
    Some(if negative { -units } else { units })
}

/// The JSON number nearest to a fraction; an integer if it is whole.
#[expect(
    clippy::cast_precision_loss,
    reason = "asserted: both are exact, so the quotient is the nearest"
)]
fn quotient(dividend: i128, divisor: i128) -> Value {
    if dividend % divisor == 0 {
        return i64::try_from(dividend / divisor).expect("sums of samples are small").into();
    }
    assert!(dividend.abs() < 1 << 53 && divisor < 1 << 53, "too large to divide exactly");
    json!(dividend as f64 / divisor as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An item from plain JSON: strings, whole numbers, booleans; `{"N": "1.5"}` as it stands.
    fn item(attributes: Value) -> Item {
        let Value::Object(attributes) = attributes else { panic!("an object") };
        attributes
            .into_iter()
            .map(|(name, value)| {
                let value = match value {
                    Value::String(text) => json!({"S": text}),
                    Value::Number(number) => json!({"N": number.to_string()}),
                    Value::Bool(flag) => json!({"BOOL": flag}),
                    typed => typed,
                };
                (name, value)
            })
            .collect()
    }

    fn ten_o_clock(
        items: &[Value],
        previous_total_users: Option<i64>,
    ) -> BTreeMap<&'static str, Metrics> {
        let items: Vec<Item> = items.iter().cloned().map(item).collect();
        expected_hour(&items, "2026-03-01T10:00:00Z".parse().unwrap(), previous_total_users)
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        for (text, cents) in [
            ("10.00", 1000),
            ("10", 1000),
            ("29.9", 2990),
            ("+0.01", 1),
            ("-1.5", -150),
            ("12.344", 1234),
            ("12.345", 1235),
            ("-12.345", -1235),
            ("12.3449999", 1234),
        ] {
            assert_eq!(decimal(text, 2), Some(cents), "{text}");
        }
        for text in ["", "ten", "10,00", "NaN", "1e2", ".5", "5.", "-", "1.-5", "--1", " 1"] {
            assert_eq!(decimal(text, 2), None, "{text}");
        }
        assert_eq!(quotient(2999, 100).to_string(), "29.99");
        assert_eq!(quotient(3000, 100).to_string(), "30");
        assert_eq!(quotient(-150, 100).to_string(), "-1.5");
    }

    #[test]
    fn users_of_an_hour() {
        let user = |active: bool, created: &str, last: &str| json!({"EntityType": "User", "isActive": active, "createdAt": created, "lastActive": last});
        let visitor = |at: &str, ip: &str| json!({"PK": "VISITOR", "SK": format!("x#{ip}"), "timestamp": at, "clientIP": ip});
        let items = [
            user(true, "2026-03-01T09:59:59.999Z", "2026-03-01T10:00:00.000Z"), // total, active
            user(true, "2026-03-01T10:00:00.000Z", "2026-03-01T10:59:59.999Z"), // total, new, active
            user(true, "2026-03-01T10:59:59.999Z", "2026-03-01T11:00:00.000Z"), // total, new
            user(true, "2026-03-01T11:00:00.000Z", "2026-03-01T11:00:00.000Z"), // later
            user(false, "2026-03-01T10:30:00.000Z", "2026-03-01T10:31:00.000Z"), // active only
            user(true, "2026-02-30T10:30:00.000Z", "2026-03-01T10:31:00.000Z"), // active only
            user(true, "2026-03-01T12:30:00.000+02:00", "just now"),            // total, new
            visitor("2026-03-01T10:00:00.000Z", "192.0.2.1"),
            visitor("2026-03-01T10:59:59.999Z", "192.0.2.1"),
            visitor("2026-03-01T10:30:00.000Z", "2001:db8::1"),
            visitor("2026-03-01T11:00:00.000Z", "192.0.2.2"),
            visitor("yesterday", "192.0.2.3"),
        ];
        let without_previous =
            json!({"totalUsers": 4, "newUsers": 3, "activeUsers": 4, "visitors": 2});
        assert_eq!(json!(ten_o_clock(&items, None)["users"]), without_previous);
        assert_eq!(ten_o_clock(&items, Some(3))["users"]["deletedUsers"], 2);
        assert_eq!(ten_o_clock(&items, Some(0))["users"]["deletedUsers"], 0);
    }

    #[test]
    fn media_and_albums_of_an_hour() {
        let medium = |created: &str, status: &str| json!({"EntityType": "Media", "createdAt": created, "status": status, "isPublic": "true"});
        let items = [
            medium("2026-03-01T10:59:59.999Z", "pending"),
            medium("2026-03-01T09:59:59.999Z", "uploaded"),
            medium("2026-02-01T10:00:00.000Z", "failed"),
            medium("2026-02-01T10:00:00.000Z", "archived"),
            medium("2026-03-01T11:00:00.000Z", "failed"),
            json!({"EntityType": "Media", "createdAt": "2026-03-01T10:00:00.000Z", "isPublic": "false"}),
            json!({"EntityType": "Media", "createdAt": "2026-02-01T10:00:00.000Z"}),
            json!({"EntityType": "Album", "createdAt": "2026-03-01T10:00:00.000Z", "isPublic": "true"}),
            json!({"EntityType": "Album", "createdAt": "2026-02-01T10:00:00.000Z", "isPublic": "false"}),
            json!({"EntityType": "Album", "createdAt": "not-a-date", "isPublic": "false"}),
        ];
        let hour = ten_o_clock(&items, None);
        assert_eq!(
            json!(hour["media"]),
            json!({
                "totalMedia": 6, "publicMedia": 4, "privateMedia": 2, "newMedia": 2,
                "mediaByStatus": {"processing": 1, "completed": 1, "failed": 1},
            })
        );
        assert_eq!(
            json!(hour["albums"]),
            json!({"totalAlbums": 2, "publicAlbums": 1, "privateAlbums": 1, "newAlbums": 1})
        );
    }

    #[test]
    fn interactions_of_an_hour() {
        let interaction = |kind: &str, at: &str, target_type: &str, target: &str| json!({"EntityType": "UserInteraction", "interactionType": kind, "createdAt": at, "targetType": target_type, "targetId": target});
        let now = "2026-03-01T10:30:00.000Z";
        let views = |granularity: &str, start: &str, views: Value| json!({"PK": format!("VIEW_COUNT#{granularity}"), "SK": start, "newViews": views});
        let items = [
            interaction("like", now, "media", "b"),
            interaction("bookmark", now, "media", "b"),
            interaction("like", now, "media", "a"),
            interaction("like", now, "album", "a"),
            interaction("like", "2026-03-01T09:59:59.999Z", "album", "c"),
            interaction("like", "2026-03-01T10:30:75.000Z", "album", "c"),
            json!({"EntityType": "UserInteraction", "interactionType": "like", "createdAt": now, "targetId": "d"}),
            json!({"EntityType": "Comment", "createdAt": now, "targetType": "media", "targetId": "b"}),
            views("hourly", "2026-03-01T10:00:00.000Z", json!(7)),
            views("hourly", "2026-03-01T11:00:00.000Z", json!(1000)),
            views("daily", "2026-03-01T00:00:00.000Z", json!(1000)),
            views("monthly", "2026-02-01T00:00:00.000Z", json!(100)),
            views("monthly", "2026-03-01T00:00:00.000Z", json!(20)),
            views("monthly", "2026-01-01T00:00:00.000Z", json!("3")),
            views("monthly", "2026-04-01T00:00:00.000Z", json!(1000)),
        ];
        let target = |kind: &str, id: &str, likes: u8, bookmarks: u8, comments: u8| json!({"targetType": kind, "targetId": id, "likes": likes, "bookmarks": bookmarks, "comments": comments, "total": likes + bookmarks + comments});
        assert_eq!(
            json!(ten_o_clock(&items, None)["interactions"]),
            json!({
                "totalLikes": 5, "newLikes": 4, "totalBookmarks": 1, "newBookmarks": 1,
                "totalComments": 1, "newComments": 1, "newViews": 7, "totalViews": 120,
                "mostEngaged": [target("media", "b", 1, 1, 1), target("album", "a", 1, 0, 0), target("media", "a", 1, 0, 0)],
            })
        );
        assert_eq!(ten_o_clock(&[], None)["interactions"]["mostEngaged"], json!([]));
    }

    #[test]
    fn generations_of_an_hour() {
        let job = |status: &str, at: &str, time: Value| json!({"EntityType": "I2VJob", "status": status, "createdAt": at, "executionTime": time});
        let now = "2026-03-01T10:59:59.999Z";
        let items = [
            job("COMPLETED", now, json!({"N": "1.5"})),
            job("COMPLETED", now, json!(2)),
            job("COMPLETED", now, json!("100")), // a string: not in the mean
            job("COMPLETED", "2026-03-01T09:00:00.000Z", json!(100)),
            job("FAILED", now, json!(100)),
            job("TIMED_OUT", now, json!(100)),
            job("CANCELLED", now, json!(100)),
            job("IN_QUEUE", "2026-03-01T11:00:00.000Z", json!(100)),
        ];
        assert_eq!(
            json!(ten_o_clock(&items, None)["generations"]),
            json!({
                "totalGenerations": 7, "newGenerations": 6, "successfulGenerations": 3,
                "failedGenerations": 2, "averageGenerationTime": 1.75,
            })
        );
        assert!(
            !ten_o_clock(&items[2..], None)["generations"].contains_key("averageGenerationTime")
        );
    }

    #[test]
    fn business_of_an_hour() {
        let order = |amount: Value, created: &str, completed: Option<&str>| {
            let mut order = json!({"EntityType": "Order", "status": "completed", "amount": amount, "createdAt": created});
            if let Some(completed) = completed {
                order["completedAt"] = json!(completed);
            }
            order
        };
        let (now, before) = ("2026-03-01T10:00:00.000Z", "2026-03-01T09:00:00.000Z");
        let mut cancelled = order(json!("1000.00"), now, None);
        cancelled["status"] = json!("cancelled");
        let user = |plan: &str, status: &str, end: &str| json!({"EntityType": "User", "plan": plan, "subscriptionStatus": status, "subscriptionId": "s", "planEndDate": end});
        let items = [
            order(json!("0.10"), now, None),
            order(json!("0.20"), before, Some(now)),
            order(json!({"N": "29.99"}), before, None),
            order(json!("1000.00"), now, Some("2026-03-01T11:00:00.000Z")),
            order(json!("1000.00"), now, Some("2026-02-30T10:00:00.000Z")),
            order(json!("10,00"), now, None),
            cancelled,
            user("pro", "active", "2026-03-01T11:00:00.000Z"),
            user("starter", "active", "2026-03-01T10:59:59.999Z"),
            user("starter", "canceled", "2026-04-01T00:00:00.000Z"),
            user("free", "active", "2026-04-01T00:00:00.000Z"),
            user("pro", "active", "next spring"),
            json!({"EntityType": "User", "plan": "unlimited", "subscriptionStatus": "active", "subscriptionId": "s"}),
            json!({"EntityType": "User", "plan": "unlimited", "subscriptionStatus": "active"}),
        ];
        assert_eq!(
            json!(ten_o_clock(&items, None)["business"]),
            json!({"MRR": 50, "totalRevenue": 30.29, "newRevenue": 0.3})
        );
    }
}
