//! What the balance says of an hour, against the list of all deltas.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde_dynamo::{AttributeValue, Item};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    changes::stream::Shard,
    metrics::{
        catalogue::{Catalogue, fixture},
        delta::{Change, DeltaMaker, hour_of},
        part::Part,
    },
};

const METRICS: &str = r#"
    [[metrics]]
    type = "things"
    name = "total"
    source = "posts"
    measure = "count"
    window = "to_date"
    time = ["at"]
    rollup = "last"

    [[metrics]]
    type = "things"
    name = "new"
    source = "posts"
    measure = "count"
    window = "period"
    time = ["at"]
    rollup = "sum"

    [[metrics]]
    type = "things"
    name = "byState"
    source = "posts"
    measure = "count"
    by = { attribute = "state", groups = { one = "x", two = "y" } }
    window = "to_date"
    time = ["at"]
    rollup = "last"

    [[metrics]]
    type = "things"
    name = "mean"
    source = "posts"
    measure = "avg"
    value = "number"
    window = "period"
    time = ["at"]
    rollup = "weighted"

    [[metrics]]
    type = "things"
    name = "price"
    source = "posts"
    measure = "sum"
    value = { table = "price", attribute = "size" }
    where = { endsAt = { after_period = true } }
    window = "now"
    rollup = "last"

    [[metrics]]
    type = "things"
    name = "users"
    source = "posts"
    measure = "count_distinct"
    value = "user"
    window = "period"
    time = ["at"]
    rollup = "merge"
"#;

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-01T{time}:00Z").parse().unwrap()
}

fn hour(time: &str) -> Hour {
    hour_of(at(time))
}

fn item(time: &str, state: &str, number: &str, user: &str) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    Item::from(HashMap::from([
        ("kind".to_owned(), text("POST")),
        ("createdAtKey".to_owned(), text("key")),
        ("at".to_owned(), text(&format!("2026-03-01T{time}:00Z"))),
        ("endsAt".to_owned(), text("2026-03-01T20:00:00Z")),
        ("state".to_owned(), text(state)),
        ("size".to_owned(), text("small")),
        ("user".to_owned(), text(user)),
        ("number".to_owned(), AttributeValue::N(number.to_owned())),
    ]))
}

fn balance(catalogue: &Catalogue, begin: Hour) -> Balance {
    let shards = [Shard { id: "shard-1".to_owned(), parent: None }];
    let positions = Positions::start("stream".to_owned(), &shards, at("09:59"));
    Balance::new(fingerprints(catalogue, catalogue.metrics()), begin, positions)
}

fn value(balance: &Balance, catalogue: &Catalogue, metric: &str, hour: Hour) -> Option<Json> {
    let metric = catalogue.metric(metric).unwrap();
    balance.value(metric, hour).unwrap().and_then(|outcome| outcome.value)
}

/// Three rows at the start, and changes in two hours.
fn example(catalogue: &Catalogue) -> (Balance, Touched) {
    let maker = DeltaMaker::new(catalogue, catalogue.metrics());
    let mut balance = balance(catalogue, hour("10:00"));
    for time in ["08:00", "09:00", "09:30"] {
        let row = item(time, "x", "1", "u1");
        balance.add_row(&maker.of_row("posts", &row, at("09:59"))).unwrap();
    }
    let mut touched = Touched::default();
    let mut change = |old: Option<&Item>, new: Option<&Item>, time: &str| {
        let deltas = maker.of(&Change { old, new, committed: at(time) });
        balance.add_change(&deltas, &mut touched).unwrap();
    };
    let (first, second) = (item("10:15", "x", "2", "u1"), item("10:45", "y", "5", "u2"));
    change(None, Some(&first), "10:15");
    change(None, Some(&second), "10:45");
    change(Some(&item("08:00", "x", "1", "u1")), Some(&item("08:00", "y", "1", "u1")), "11:10");
    change(Some(&first), None, "11:20");
    (balance, touched)
}

#[test]
fn an_hour_is_known_until_it_is_settled() {
    let catalogue = fixture(METRICS);
    let (mut balance, touched) = example(&catalogue);
    let get = |balance: &Balance, metric: &str, time: &str| {
        value(balance, &catalogue, metric, hour(time))
    };
    for (metric, at_nine, at_ten, at_eleven, at_twenty) in [
        ("total", Some(json!(3)), json!(5), json!(4), json!(4)),
        ("new", None, json!(2), json!(0), json!(0)),
        (
            "byState",
            Some(json!({"one": 3, "two": 0})),
            json!({"one": 4, "two": 1}),
            json!({"one": 2, "two": 2}),
            json!({"one": 2, "two": 2}),
        ),
        ("price", Some(json!(4.5)), json!(7.5), json!(6), json!(0)),
        ("users", None, json!(2), json!(0), json!(0)),
    ] {
        assert_eq!(get(&balance, metric, "08:00"), None, "{metric}");
        assert_eq!(get(&balance, metric, "09:00"), at_nine, "{metric}");
        assert_eq!(get(&balance, metric, "10:00"), Some(at_ten), "{metric}");
        assert_eq!(get(&balance, metric, "11:00"), Some(at_eleven), "{metric}");
        assert_eq!(get(&balance, metric, "20:00"), Some(at_twenty), "{metric}");
    }
    // Removed after its hour: it happened all the same. No value where there is no item.
    assert_eq!(get(&balance, "mean", "10:00"), Some(json!(3.5)));
    assert_eq!(get(&balance, "mean", "11:00"), None);
    assert_eq!(touched.stocks["total"], hour("10:00"));
    assert_eq!(touched.flows["new"], BTreeSet::from([hour("10:00")]));
    assert!(touched.late.is_empty() && balance.negative_sums().is_empty());

    balance.settle(hour("11:00")).unwrap();
    assert_eq!(get(&balance, "total", "10:00"), Some(json!(5)));
    assert_eq!(get(&balance, "new", "10:00"), None);
    assert_eq!(get(&balance, "total", "11:00"), Some(json!(4)));
    // It does not go back.
    balance.settle(hour("10:00")).unwrap();
    assert_eq!(balance.unsettled(), hour("11:00"));
}

#[test]
fn what_comes_for_a_settled_hour_is_named_and_in_the_stocks_from_now_on() {
    let catalogue = fixture(METRICS);
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let (mut balance, _) = example(&catalogue);
    balance.settle(hour("12:00")).unwrap();
    let before = value(&balance, &catalogue, "total", hour("11:00")).unwrap();
    let mut touched = Touched::default();
    let late = item("10:50", "x", "7", "u3");
    let deltas = maker.of(&Change { old: None, new: Some(&late), committed: at("12:05") });
    balance.add_change(&deltas, &mut touched).unwrap();
    assert_eq!(before, json!(4));
    assert_eq!(value(&balance, &catalogue, "total", hour("12:00")), Some(json!(5)));
    let names: Vec<&str> = touched.late.keys().map(String::as_str).collect();
    assert_eq!(names, ["byState", "mean", "new", "total", "users"]);
    assert_eq!(touched.stocks["total"], hour("12:00"));
    assert!(touched.flows.is_empty());
}

#[test]
fn a_balance_is_what_it_was_after_it_was_stored() {
    let catalogue = fixture(METRICS);
    let (mut balance, _) = example(&catalogue);
    let bytes = balance.to_bytes().unwrap();
    let mut again = Balance::from_bytes(&bytes).unwrap();
    assert_eq!(again, balance);
    assert_eq!(again.to_bytes().unwrap(), bytes);
    let users = catalogue.metric("users").unwrap();
    let outcome = again.value(users, hour("10:00")).unwrap().unwrap();
    let Some(part @ Part::Distinct { .. }) = outcome.part else { panic!("no sketch") };
    assert_eq!(part.as_distinct().unwrap().unwrap().count(), 2);
    assert_eq!(again.items_with_value(users, hour("10:00")), 2);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let catalogue = fixture(METRICS);
    let (mut balance, _) = example(&catalogue);
    let bytes = balance.to_bytes().unwrap();
    let json = miniz_oxide::inflate::decompress_to_vec_zlib(&bytes).unwrap();
    let json: Json = serde_json::from_slice(&json).unwrap();
    let read = |change: &dyn Fn(&mut Json)| {
        let mut changed = json.clone();
        change(&mut changed);
        let json = serde_json::to_vec(&changed).unwrap();
        Balance::from_bytes(&miniz_oxide::deflate::compress_to_vec_zlib(&json, 6))
    };
    assert!(read(&|_| {}).is_ok());
    let version = read(&|json| json["version"] = json!(2)).unwrap_err();
    assert!(matches!(version, BalanceError::Version { found: 2, expected: 1 }), "{version}");
    for (what, change) in [
        ("no positions", &(|json: &mut Json| json["positions"] = Json::Null) as &dyn Fn(&mut Json)),
        ("an unknown field", &|json| json["other"] = json!(1)),
        ("a sum that is not a number", &|json| json["settledStocks"]["total"] = json!([1, "x"])),
        ("no hour", &|json| json["stocks"]["x"] = json!({})),
        ("no version", &|json| json["version"] = Json::Null),
    ] {
        let error = read(change).unwrap_err();
        assert!(matches!(error, BalanceError::Damaged(_)), "{what}: {error}");
    }
    assert!(matches!(Balance::from_bytes(&bytes[..9]), Err(BalanceError::Damaged(_))));
    assert!(matches!(Balance::from_bytes(&[]), Err(BalanceError::Damaged(_))));
}

#[test]
fn a_balance_that_nears_the_limit_of_an_item_is_refused() {
    let catalogue = fixture(METRICS);
    let mut balance = balance(&catalogue, hour("10:00"));
    for number in 0..40_000_i64 {
        // Numbers that do not compress.
        let spread = number.wrapping_mul(6_364_136_223_846_793_005);
        balance.stocks.entry(number).or_default().add(
            &format!("m{spread:x}"),
            None,
            spread,
            Decimal::ZERO,
        );
    }
    assert!(matches!(balance.to_bytes(), Err(BalanceError::TooLarge { .. })));
}

#[test]
fn a_sum_below_zero_is_named() {
    let catalogue = fixture(METRICS);
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let mut balance = balance(&catalogue, hour("10:00"));
    let never_added = item("09:00", "x", "1", "u1");
    let change = Change { old: Some(&never_added), new: None, committed: at("10:30") };
    balance.add_change(&maker.of(&change), &mut Touched::default()).unwrap();
    let negative = balance.negative_sums();
    let names: Vec<&str> = negative.iter().map(|one| one.metric.as_str()).collect();
    assert_eq!(names, ["byState.one", "price", "total"]);
    assert_eq!(negative[2].hour, hour("10:00"));
}

#[test]
fn a_source_that_is_defined_anew_is_named() {
    let catalogue = fixture(METRICS);
    let balance = balance(&catalogue, hour("10:00"));
    let sources = |metrics: &str| {
        let catalogue = fixture(metrics);
        fingerprints(&catalogue, catalogue.metrics())
    };
    assert!(balance.changed_sources(&sources(METRICS)).is_empty());
    let changed = balance.changed_sources(&sources(&METRICS.replace("one = \"x\"", "one = \"z\"")));
    assert_eq!(changed, BTreeSet::from(["posts".to_owned()]));
}

/// Random changes, with hours that settle and a balance that is stored in between.
#[test]
fn every_value_is_the_sum_of_the_deltas_that_reached_its_hour() {
    let catalogue = fixture(METRICS);
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let (total, new) = (catalogue.metric("total").unwrap(), catalogue.metric("new").unwrap());
    let mut random = 1_u64;
    let mut below = |bound: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let begin = hour("10:00");
    let mut balance = balance(&catalogue, begin);
    let mut items: BTreeMap<u64, Item> = BTreeMap::new();
    let (mut stocks, mut flows) = (BTreeMap::<Hour, i64>::new(), BTreeMap::<Hour, i64>::new());
    let mut now = at("10:00");
    for _ in 0..600 {
        now += TimeDelta::minutes(i64::try_from(below(8)).unwrap());
        let key = below(40);
        let old = items.get(&key).cloned();
        let time = format!("{:02}:{:02}", 10 + below(12), below(60));
        let new_item = (old.is_none() || below(3) > 0).then(|| item(&time, "x", "1", "u"));
        match &new_item {
            Some(image) => items.insert(key, image.clone()),
            None => items.remove(&key),
        };
        let change = Change { old: old.as_ref(), new: new_item.as_ref(), committed: now };
        let deltas = maker.of(&change);
        for delta in &deltas.deltas {
            if delta.metric == total {
                *stocks.entry(delta.hour).or_default() += delta.count;
            } else if delta.metric == new && delta.hour >= balance.unsettled() {
                *flows.entry(delta.hour).or_default() += delta.count;
            }
        }
        balance.add_change(&deltas, &mut Touched::default()).unwrap();
        if below(10) == 0 {
            balance.settle(hour_of(now) - 5).unwrap();
            balance = Balance::from_bytes(&balance.to_bytes().unwrap()).unwrap();
        }
        let unsettled = balance.unsettled();
        for hour in unsettled..unsettled + 20 {
            let stock: i64 = stocks.range(..=hour).map(|(_, count)| count).sum();
            let flow = flows.get(&hour).copied().unwrap_or_default();
            assert_eq!(value(&balance, &catalogue, "total", hour), Some(json!(stock)));
            assert_eq!(value(&balance, &catalogue, "new", hour), Some(json!(flow)));
        }
        assert_eq!(balance.negative_sums(), []);
    }
    assert!(balance.unsettled() > begin + 10);
}
