//! Sources whose items are not as expected: no silent zero. The tables are made by hand, and so are
//! the expected values.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use edge_analytics::{
    metrics::{
        catalogue::Catalogue,
        findings::{Malformed, SourceFindings},
        period::{Granularity, Period, Span},
    },
    query::{
        plan::plan,
        reading::{Findings, read},
    },
    realtime,
    run::Engine,
    store::ledger::Status,
};
use sample_platform::Item;
use serde_json::{Value, json};

use super::{
    catalogue::catalogue,
    database::{Backend, TestTable},
    engine_suite::stored_in,
    host::TestHost,
};

/// Posts by kind, comments, and what is counted of them.
const FORUM: &str = r#"
types = ["forum"]

[platform]
ttl = "expiresAt"

[sources.posts]
index = "GSI3"
keys = ["GSI3PK", "GSI3SK"]
partitions = ["POST"]
sort_key_time = { attribute = "createdAt", format = "instant" }

[sources.comments]
index = "GSI3"
keys = ["GSI3PK", "GSI3SK"]
partitions = ["COMMENT"]
sort_key_time = { attribute = "createdAt", format = "instant" }

[[metrics]]
type = "forum"
name = "newPostsByKind"
source = "posts"
measure = "count"
by = { attribute = "kind", groups = { text = "T", picture = "P" } }
window = "period"
time = ["createdAt"]
rollup = "sum"

[[metrics]]
type = "forum"
name = "newPosts"
source = "posts"
measure = "count"
window = "period"
time = ["createdAt"]
rollup = "sum"

[[metrics]]
type = "forum"
name = "totalComments"
source = "comments"
measure = "count"
window = "to_date"
time = ["createdAt"]
rollup = "last"

[[metrics]]
type = "forum"
name = "newComments"
source = "comments"
measure = "count"
window = "period"
time = ["createdAt"]
rollup = "sum"

[[metrics]]
type = "forum"
name = "liveComments"
source = "comments"
measure = "count"
where = { isLive = true }
window = "to_date"
time = ["createdAt"]
rollup = "last"

[realtime]
flows = ["newPostsByKind", "newPosts"]
headlines = ["newPosts"]
"#;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// An item of `partition` whose sort key begins with `key`.
fn item(partition: &str, number: usize, key: &str, attributes: &Value) -> Item {
    let mut item = attributes.as_object().unwrap().clone();
    for (name, value) in [
        ("PK", format!("{partition}#{number}")),
        ("SK", "METADATA".to_owned()),
        ("GSI3PK", partition.to_owned()),
        ("GSI3SK", format!("{key}#{number}")),
    ] {
        item.insert(name.to_owned(), json!({"S": value}));
    }
    item
}

async fn findings(table: &TestTable, catalogue: &Catalogue, spans: &[Span]) -> Findings {
    let passes = plan(catalogue, catalogue.metrics(), spans, &table.name);
    read(&table.client(), passes).await
}

fn values(findings: &Findings, span: usize) -> BTreeMap<&str, Value> {
    let value = |(name, outcomes): (&'_ String, &Vec<_>)| {
        let outcome: &edge_analytics::metrics::fold::MetricOutcome = &outcomes[span];
        Some((name.clone(), outcome.value.clone()?))
    };
    let found: BTreeMap<String, Value> = findings.outcomes.iter().filter_map(value).collect();
    let names = ["newPostsByKind", "newPosts", "totalComments", "newComments", "liveComments"];
    names.into_iter().filter_map(|name| Some((name, found.get(name)?.clone()))).collect()
}

/// Where every item is malformed there is no value, and the reason names what is wrong; the other
/// sources of the same run are counted.
pub async fn a_source_of_which_nothing_can_be_read_has_no_values(backend: Backend) {
    let posts = (0..3).map(|number| {
        let created = json!({"createdAt": {"S": "2026-03-01T11:30:00Z"}, "kind": {"S": "T"}});
        item("POST", number, "2026-03-01T11:30:00Z", &created)
    });
    let comments = (0..120).map(|number| {
        let created = json!({"createdAt": {"N": "1772364600"}, "isLive": {"BOOL": true}});
        item("COMMENT", number, "1772364600", &created)
    });
    let items: Vec<Item> = posts.chain(comments).collect();
    let table = TestTable::with(backend, &items).await;
    let hour = Period::containing(Granularity::Hourly, at("2026-03-01T11:30:00Z"));
    let spans = [hour.previous().into(), hour.into()];
    let findings = findings(&table, &catalogue(FORUM), &spans).await;

    assert!(findings.failures.is_empty(), "{:?}", findings.failures);
    for span in 0..2 {
        let posts = 3 * span;
        let expected = BTreeMap::from([
            ("newPostsByKind", json!({"text": posts, "picture": 0})),
            ("newPosts", json!(posts)),
        ]);
        assert_eq!(values(&findings, span), expected);
    }
    let sentence = |metric: &'static str| {
        let why = format!(
            "metric `{metric}`: every item of source `comments` is malformed: `createdAt` must be \
             an RFC 3339 date-time with a time zone, such as 2026-03-01T12:00:00.000Z; found a \
             number (120 items)"
        );
        (metric, why)
    };
    let unreadable = ["totalComments", "newComments", "liveComments"].map(sentence);
    let sentences = findings.unreadable.iter().map(|(name, why)| (name.as_str(), why.to_string()));
    assert_eq!(sentences.collect::<BTreeMap<_, _>>(), BTreeMap::from(unreadable));
    let all = Malformed { rows: 120, malformed: 120 };
    assert_eq!(findings.malformed["newComments"], all);
    assert!(!findings.malformed.contains_key("newPosts"));
    let sources = BTreeMap::from([
        ("posts".to_owned(), SourceFindings { rows: 3, is_whole: false }),
        ("comments".to_owned(), SourceFindings { rows: 120, is_whole: true }),
    ]);
    assert_eq!(findings.sources, sources);
}

/// A source without items has zeros, and says that it was empty.
pub async fn an_empty_source_is_zero_and_says_so(backend: Backend) {
    let table = TestTable::with(backend, &[]).await;
    let hour = Period::containing(Granularity::Hourly, at("2026-03-01T11:30:00Z"));
    let findings = findings(&table, &catalogue(FORUM), &[hour.into()]).await;
    assert!(findings.unreadable.is_empty() && findings.malformed.is_empty());
    assert_eq!(values(&findings, 0)["newPosts"], json!(0));
    assert_eq!(findings.sources["posts"], SourceFindings { rows: 0, is_whole: false });
    assert_eq!(findings.sources["comments"], SourceFindings { rows: 0, is_whole: true });
}

/// However the sort key writes an instant, a key range loses none of its hour and takes none of
/// another.
pub async fn a_key_range_holds_every_spelling_of_its_instants(backend: Backend) {
    let inside = [
        "2026-03-01T11:00:00Z",
        "2026-03-01T11:00:00.000Z",
        "2026-03-01T11:00:00.000000Z",
        "2026-03-01T11:00:00+00:00",
        "2026-03-01T11:00:00.5+00:00",
        "2026-03-01T11:59:59Z",
        "2026-03-01T11:59:59+00:00",
        "2026-03-01T11:59:59.999Z",
        "2026-03-01T11:59:59.999500Z",
        "2026-03-01T11:59:59.999999+00:00",
    ];
    let outside = [
        "2026-03-01T10:59:59Z",
        "2026-03-01T10:59:59.999Z",
        "2026-03-01T10:59:59.999999+00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T12:00:00+00:00",
    ];
    let items: Vec<Item> = inside
        .iter()
        .chain(&outside)
        .enumerate()
        .map(|(number, at)| {
            item("POST", number, at, &json!({"createdAt": {"S": at}, "kind": {"S": "P"}}))
        })
        .collect();
    let table = TestTable::with(backend, &items).await;
    let hour = Period::containing(Granularity::Hourly, at("2026-03-01T11:30:00Z"));
    let spans = [hour.into(), hour.next().into()];
    for (spans, expected) in [(&spans[..1], vec![10]), (&spans[..], vec![10, 3])] {
        let findings = findings(&table, &catalogue(FORUM), spans).await;
        for (span, expected) in expected.into_iter().enumerate() {
            assert_eq!(values(&findings, span)["newPosts"], json!(expected), "span {span}");
        }
        assert!(!findings.sources["posts"].is_whole);
    }
}

/// An expired item that DynamoDB has not deleted yet is in no level from its expiry on, and stays
/// in the flow of its hour.
pub async fn expired_items_are_in_no_level(backend: Backend) {
    let created = json!({"S": "2026-03-01T11:30:00.000Z"});
    // 12:30 on that day.
    let expires = json!({"N": "1772368200"});
    let mortal = json!({"createdAt": created, "isLive": {"S": "TRUE"}, "expiresAt": expires});
    let immortal = json!({"createdAt": created, "isLive": {"N": "1"}});
    let hidden = json!({"createdAt": created, "isLive": {"N": "0"}});
    let items: Vec<Item> = [mortal, immortal, hidden]
        .iter()
        .enumerate()
        .map(|(number, comment)| item("COMMENT", number, "2026-03-01T11:30:00.000Z", comment))
        .collect();
    let table = TestTable::with(backend, &items).await;
    let hour = Period::containing(Granularity::Hourly, at("2026-03-01T11:30:00Z"));
    let spans = [hour.into(), hour.next().into()];
    let findings = findings(&table, &catalogue(FORUM), &spans).await;
    for (span, expected) in [(0, [3, 3, 2]), (1, [0, 2, 1])] {
        let values = values(&findings, span);
        for (name, expected) in
            ["newComments", "totalComments", "liveComments"].into_iter().zip(expected)
        {
            assert_eq!(values[name], json!(expected), "{name} in span {span}");
        }
    }
}

/// How many posts of both kinds the hour of a day has.
fn posts_of(hour: i64) -> [i64; 2] {
    [hour % 3, hour % 2]
}

fn together(hours: impl Iterator<Item = i64>) -> Value {
    let sum = hours.map(posts_of).fold([0, 0], |[a, b], [text, picture]| [a + text, b + picture]);
    json!({"text": sum[0], "picture": sum[1]})
}

/// Counts by group reach the day, and the counters of today and of the last 24 hours; a day that
/// lacks an hour has none.
pub async fn counts_by_group_add_up(backend: Backend) {
    let midnight = at("2026-03-02T00:00:00Z");
    let mut items = Vec::new();
    for hour in 0..36 {
        for (kind, count) in ["T", "P"].into_iter().zip(posts_of(hour)) {
            for number in 0..count {
                let created = midnight + TimeDelta::hours(hour) + TimeDelta::minutes(number + 5);
                let created = created.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
                let post = json!({"createdAt": {"S": created}, "kind": {"S": kind}});
                items.push(item("POST", items.len(), &created, &post));
            }
        }
    }
    let table = TestTable::with(backend, &items).await;
    let forum = catalogue(FORUM);
    let engine = Engine::new(table.client(), TestHost::new(), table.name.clone(), forum.clone());
    for hour in 0..35 {
        let report = engine.run(Granularity::Hourly, midnight + TimeDelta::hours(hour + 1)).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    }
    let event = midnight + TimeDelta::hours(24) + TimeDelta::minutes(5);
    let report = engine.run(Granularity::Daily, event).await;
    assert_eq!(report.status, Status::Complete, "{report:?}");
    let day = Period::containing(Granularity::Daily, midnight);
    let record = stored_in(&table, "forum", day).await.unwrap();
    assert_eq!(record.metrics["newPostsByKind"], together(0..24));

    // At 35:20 of that day, which is 11:20 of the next; 35:20 to 36:00 is not over.
    let now = midnight + TimeDelta::hours(35) + TimeDelta::minutes(20);
    let counted = realtime::count(&table.client(), &table.name, &forum, now).await.unwrap();
    assert!(counted.problems.is_empty(), "{:?}", counted.problems);
    let value = |name: &str| counted.snapshot.counter(name).map(|counter| counter.value.clone());
    // Posts are made in the first ten minutes of an hour: those of hour 35 are there, those of hour
    // 11 are more than 24 hours ago.
    assert_eq!(value("newPostsByKindToday"), Some(together(24..36)));
    assert_eq!(value("newPostsByKindLast24Hours"), Some(together(12..36)));
}

/// Counts by group reach weeks and months: a February that is four weeks from Monday on.
pub async fn counts_by_group_reach_weeks_and_months(backend: Backend) {
    let first = at("2027-02-01T00:00:00Z");
    let mut items = Vec::new();
    for day in 0..28 {
        let date = (first + TimeDelta::days(day)).format("%Y-%m-%d").to_string();
        let texts = (0..=day % 3).map(|number| (format!("{date}T10:1{number}:00.000Z"), "T"));
        let pictures = (0..day % 2).map(|_| (format!("{date}T23:59:59.999999Z"), "P"));
        // Of neither group.
        let others = [(format!("{date}T12:00:00.000Z"), "X")];
        for (created, kind) in texts.chain(pictures).chain(others) {
            let post = json!({"createdAt": {"S": created}, "kind": {"S": kind}});
            items.push(item("POST", items.len(), &created, &post));
        }
    }
    let table = TestTable::with(backend, &items).await;
    let forum = catalogue(FORUM);
    let host = TestHost::new();
    let engine = Engine::new(table.client(), host.clone(), table.name.clone(), forum.clone());
    let mut latest = first;
    let mut run = async |granularity, event: DateTime<Utc>| {
        // The clock does not go back.
        latest = latest.max(event + TimeDelta::seconds(1));
        host.set(latest);
        let report = engine.run(granularity, event).await;
        assert_eq!(report.status, Status::Complete, "{report:?}");
    };
    run(Granularity::Hourly, first + TimeDelta::hours(1)).await;
    for day in 1..=28 {
        // It makes the day's hours first.
        run(Granularity::Daily, first + TimeDelta::days(day) + TimeDelta::minutes(5)).await;
    }
    for week in 1..=4 {
        run(Granularity::Weekly, first + TimeDelta::days(7 * week) + TimeDelta::minutes(10)).await;
    }
    run(Granularity::Monthly, at("2027-03-01T00:15:00Z")).await;
    for (granularity, start, texts, pictures) in [
        (Granularity::Daily, "2027-02-01T00:00:00Z", 1, 0),
        (Granularity::Daily, "2027-02-06T00:00:00Z", 3, 1),
        (Granularity::Weekly, "2027-02-01T00:00:00Z", 13, 3),
        (Granularity::Weekly, "2027-02-08T00:00:00Z", 14, 4),
        (Granularity::Weekly, "2027-02-22T00:00:00Z", 13, 4),
        (Granularity::Monthly, "2027-02-01T00:00:00Z", 55, 14),
    ] {
        let record = stored_in(&table, "forum", Period::containing(granularity, at(start))).await;
        let metrics = record.unwrap().metrics;
        let expected = json!({"text": texts, "picture": pictures});
        assert_eq!(metrics["newPostsByKind"], expected, "{granularity} {start}");
    }
}

/// Where every item that a counter could be made from is malformed, be it one, the counter is absent
/// and says why; the items are counted. One that can be read makes them exceptions.
pub async fn counters_of_an_unreadable_source_are_absent(backend: Backend) {
    let now = at("2026-03-02T11:20:00Z");
    let post = |created: &str| json!({"createdAt": {"S": created}, "kind": {"S": "T"}});
    let malformed =
        |number: usize| item("POST", number, "2026-03-02T11:10:00", &post("2026-03-02T11:10:00"));
    let forum = catalogue(FORUM);
    for count in [1, 2, 3, 50] {
        let items: Vec<Item> = (0..count).map(malformed).collect();
        let table = TestTable::with(backend, &items).await;
        let counted = realtime::count(&table.client(), &table.name, &forum, now).await.unwrap();
        for name in ["newPostsToday", "newPostsLast24Hours"] {
            assert!(counted.snapshot.counter(name).is_none(), "{name} of {count}");
        }
        let rows = Malformed { rows: count as u64, malformed: count as u64 };
        let all =
            BTreeMap::from(["newPosts", "newPostsByKind"].map(|name| (name.to_owned(), rows)));
        assert_eq!(counted.quality.malformed, all);
        let items = if count == 1 { "item" } else { "items" };
        let reason = "metric `newPosts`: every item of source `posts` that can lie in \
                      2026-03-02T11:00:00.000Z to 2026-03-02T11:19:59.999Z is malformed: \
                      `createdAt` must be an RFC 3339 date-time with a time zone, such as \
                      2026-03-01T12:00:00.000Z; found a date-time without a time zone";
        // The log says how many; what is stored for health does not.
        let sentence = format!("{reason} ({count} {items})");
        assert!(counted.problems.contains(&sentence), "{:?}", counted.problems);
        assert_eq!(counted.quality.unreadable["newPosts"], reason);

        table.put(&[item("POST", 99, "2026-03-02T11:15:00Z", &post("2026-03-02T11:15:00Z"))]).await;
        let counted = realtime::count(&table.client(), &table.name, &forum, now).await.unwrap();
        assert_eq!(counted.problems, Vec::<String>::new());
        assert_eq!(counted.snapshot.counter("newPostsToday").unwrap().value, json!(1));
        let rows = Malformed { rows: count as u64 + 1, malformed: count as u64 };
        assert_eq!(counted.quality.malformed["newPosts"], rows);
        assert!(counted.quality.unreadable.is_empty());
    }
}

/// Hours read by key range: one in which every item is malformed has no value, though another has
/// items that can be read; a quiet one has 0, whatever is malformed elsewhere.
pub async fn an_hour_of_malformed_items_has_no_value(backend: Backend) {
    let post = |created: Value| json!({"createdAt": created, "kind": {"S": "T"}});
    let good = |number: usize, at: &str| item("POST", number, at, &post(json!({"S": at})));
    let wrong =
        |number: usize, at: &str| item("POST", number, at, &post(json!({"N": "1772364600"})));
    // 120 in the hour, one that can be read in another.
    let hour = |text: &str| Period::containing(Granularity::Hourly, at(text));
    let mut items: Vec<Item> =
        (0..120).map(|number| wrong(number, "2026-03-01T11:30:00.000Z")).collect();
    items.push(good(120, "2026-03-01T13:30:00.000Z"));
    let table = TestTable::with(backend, &items).await;
    let hours = ["2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"];
    let spans = hours.map(|at| Span::from(hour(at)));
    let found = findings(&table, &catalogue(FORUM), &spans).await;
    let new_posts = |found: &Findings| {
        (0..found.outcomes["newPosts"].len())
            .map(|span| values(found, span).remove("newPosts"))
            .collect::<Vec<_>>()
    };
    assert_eq!(new_posts(&found), [None, Some(json!(0)), Some(json!(1))]);
    assert_eq!(found.unreadable["newPosts"].items, 120);
    assert_eq!(found.malformed["newPosts"], Malformed { rows: 121, malformed: 120 });

    // Three old malformed comments in a partition that is read whole, and a quiet hour.
    let old = (0..3).map(|number| {
        let created = json!({"createdAt": {"S": "some day"}, "isLive": {"BOOL": true}});
        item("COMMENT", number, "some day", &created)
    });
    let comments = (3..20).map(|number| {
        let created = json!({"createdAt": {"S": "2026-02-01T09:00:00Z"}, "isLive": {"S": "true"}});
        item("COMMENT", number, "2026-02-01T09:00:00Z", &created)
    });
    table.put(&old.chain(comments).collect::<Vec<Item>>()).await;
    let found = findings(&table, &catalogue(FORUM), &spans).await;
    for span in 0..3 {
        let values = values(&found, span);
        assert_eq!(values["newComments"], json!(0));
        assert_eq!((&values["totalComments"], &values["liveComments"]), (&json!(17), &json!(17)));
    }
    assert!(!found.unreadable.contains_key("newComments"), "{:?}", found.unreadable);
    for name in ["newComments", "totalComments", "liveComments"] {
        assert_eq!(found.malformed[name].malformed, 3, "{name}");
    }
}

/// Generates a `#[tokio::test]` for every test of the suite on one DynamoDB.
#[macro_export]
macro_rules! source_suite {
    ($backend:expr) => {
        $crate::source_suite! { $backend;
            a_source_of_which_nothing_can_be_read_has_no_values,
            an_empty_source_is_zero_and_says_so,
            a_key_range_holds_every_spelling_of_its_instants,
            expired_items_are_in_no_level,
            counts_by_group_add_up,
            counts_by_group_reach_weeks_and_months,
            counters_of_an_unreadable_source_are_absent,
            an_hour_of_malformed_items_has_no_value,
        }
    };
    ($backend:expr; $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::source_suite::$test($backend).await;
            }
        )*
    };
}
