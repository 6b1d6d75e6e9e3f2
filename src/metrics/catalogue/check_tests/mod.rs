//! What is valid in a catalogue, and the messages for what is not, by subject.

mod conditions;
mod fields;
mod names;
mod relations;
mod values;

use super::{
    check::parse,
    definition::{Condition, Literal, Measure, Window},
};

/// A small shop with every kind of entry.
const SHOP: &str = r#"types = ["orders", "people"]

[platform]
ttl = "expiresAt"

[tables.fee]
small = "1.50"
large = "20"

[sources.people]
index = "byName"
keys = ["entity", "name"]
partitions = ["PERSON"]

[sources.orders]
index = "byState"
keys = ["state", "placedKey"]
partitions = ["OPEN", "DONE"]
identity = "orderId"
sort_key_time = { attribute = "placedAt", format = "instant" }

[sources.done]
index = "byState"
keys = ["state", "placedKey"]
partitions = ["DONE"]

[sources.seen]
keys = ["PK", "SK"]
partitions = ["SEEN"]
sort_key_time = { attribute = "firstSeen", format = "hour" }

[[metrics]]
type = "people"
name = "members"
source = "people"
measure = "count"
where = { isActive = "true" }
window = "to_date"
time = ["joinedAt"]
rollup = "last"

[[metrics]]
type = "people"
name = "joined"
source = "people"
measure = "count"
where = { isActive = true }
window = "period"
time = ["joinedAt"]
rollup = "sum"

[[metrics]]
type = "people"
name = "left"
measure = "departures"
stock = "members"
arrivals = "joined"
rollup = "sum"

[[metrics]]
type = "people"
name = "visitors"
source = "seen"
measure = "count_distinct"
value = "address"
window = "period"
time = ["firstSeen"]
rollup = "merge"

[[metrics]]
type = "orders"
name = "placedBySize"
source = "orders"
measure = "count"
by = { attribute = "size", groups = { small = "S", large = "L" } }
window = "period"
time = ["placedAt"]
rollup = "sum"

[[metrics]]
type = "orders"
name = "fees"
source = "people"
measure = "sum"
value = { table = "fee", attribute = "plan" }
where = { plan = { any_of = ["small", "large"] }, paidUntil = { after_period = true } }
window = "now"
rollup = "last"

[[metrics]]
type = "orders"
name = "turnover"
source = "orders"
measure = "sum"
value = { money = "amount" }
where = { kind = { not = "gift" }, test = { not = "true" }, invoice = { present = true } }
window = "period"
time = ["paidAt", "placedAt"]
rollup = "sum"

[[metrics]]
type = "orders"
name = "packingTime"
source = "orders"
measure = "avg"
value = "packingSeconds"
absent = "skip"
window = "period"
time = ["placedAt"]
rollup = "weighted"
moves = "packingSeconds"

[[metrics]]
type = "orders"
name = "bestSellers"
sources = { bought = "orders", watched = "seen" }
measure = "top"
key = ["category", "article"]
ties = "article"
limit = 5
window = "period"
time = ["placedAt"]
rollup = "merge"

[realtime]
flows = [
    "joined",
    "placedBySize",
]
headlines = ["members"]

[[realtime.recent]]
name = "visitorsNow"
source = "seen"
value = "address"
time = "lastSeen"
minutes = 5
"#;

/// A mistake: where, what is replaced by what, the line that is named, and the message.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The first line that contains `fragment`.
fn line(text: &str, fragment: &str) -> usize {
    let position = text.lines().position(|line| line.contains(fragment));
    position.unwrap_or_else(|| panic!("{fragment} is not in the text")) + 1
}

/// Replaces the first `from` after `place` and compares the error. Its line is that of the first
/// `at` after `place`.
fn reject(place: &str, from: &str, to: &str, at: &str, message: &str) {
    let begin = SHOP.find(place).unwrap_or_else(|| panic!("{place} is not in the text"));
    let offset = SHOP[begin..].find(from).unwrap_or_else(|| panic!("{from} is not after {place}"));
    let (before, after) = SHOP.split_at(begin + offset);
    let text = format!("{before}{}", after.replacen(from, to, 1));
    let error = match parse(&text) {
        Ok(_) => panic!("{place}: {to} is not rejected"),
        Err(error) => error.to_string(),
    };
    let lines_before = text[..begin].matches('\n').count();
    let expected = format!("line {}: {message}", lines_before + line(&text[begin..], at));
    assert_eq!(error, expected, "{place}: {from} -> {to}");
}

#[test]
fn every_kind_of_entry_is_parsed() {
    let shop = parse(SHOP).unwrap();
    assert_eq!(shop.ttl.as_deref(), Some("expiresAt"));
    assert_eq!(shop.metrics.len(), 9);
    let metric = |name: &str| shop.metrics.iter().find(|metric| metric.name == name).unwrap();
    let condition =
        |name: &str, attribute: &str| metric(name).conditions().unwrap()[attribute].clone();
    // A boolean in quotes is a boolean, in whatever case. Digits in quotes are a string.
    for (written, meant) in [
        ("true", Literal::Boolean(true)),
        ("\"true\"", Literal::Boolean(true)),
        ("\"TRUE\"", Literal::Boolean(true)),
        ("false", Literal::Boolean(false)),
        ("\"False\"", Literal::Boolean(false)),
        ("\"1\"", Literal::Text("1".to_owned())),
        ("\"0\"", Literal::Text("0".to_owned())),
        ("\"truely\"", Literal::Text("truely".to_owned())),
    ] {
        let text = SHOP
            .replace("kind = { not = \"gift\" }", &format!("kind = {{ not = {written} }}"))
            .replace("isActive = true", &format!("isActive = {written}"))
            .replace("{ small = \"S\", large = \"L\" }", &format!("{{ one = {written} }}"));
        let shop = parse(&text).unwrap();
        let metric = |name: &str| shop.metrics.iter().find(|metric| metric.name == name).unwrap();
        let conditions = |name: &str| metric(name).conditions().unwrap().clone();
        assert_eq!(conditions("turnover")["kind"], Condition::Not(meant.clone()), "{written}");
        assert_eq!(conditions("joined")["isActive"], Condition::Is(meant.clone()), "{written}");
        assert_eq!(metric("placedBySize").by().unwrap().groups["one"], meant, "{written}");
    }
    let truth = Literal::Boolean(true);
    assert_eq!(condition("members", "isActive"), Condition::Is(truth.clone()));
    assert_eq!(condition("joined", "isActive"), Condition::Is(truth.clone()));
    assert_eq!(condition("turnover", "test"), Condition::Not(truth));
    assert_eq!(condition("turnover", "kind"), Condition::Not(Literal::Text("gift".to_owned())));
    assert_eq!(condition("turnover", "invoice"), Condition::Present);
    assert_eq!(condition("fees", "paidUntil"), Condition::AfterPeriod);
    assert_eq!(metric("left").departures(), Some(("members", "joined")));
    assert_eq!(metric("fees").window(), Some(Window::Now));
    let Measure::Top { tie, limit, .. } = metric("bestSellers").measure else { panic!("a top") };
    assert_eq!((tie, limit), (1, 5));
    let shares: Vec<_> = metric("bestSellers").source_names().collect();
    assert_eq!(shares, [("bought", "orders"), ("watched", "seen")]);
}

#[test]
fn errors_of_the_toml_parser_name_the_entry() {
    for (text, message) in [
        (SHOP.replace("measure = \"avg\"", "measure = avg\""), "metric `packingTime`: "),
        (SHOP.replace("[sources.seen]", "[sources.orders]"), "`[sources.orders]`: "),
        (SHOP.replace("large = \"L\"", "small = \"L\""), "metric `placedBySize`: "),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("line {}: {message}", error.line)),
            "{error}"
        );
    }
    let error = parse("types = [\"orders\"]\n").unwrap_err();
    assert_eq!(error.to_string(), "line 1: `metrics` is required");
    let error = parse(&SHOP.replace("[platform]", "[platfrom]")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: `platfrom` is not valid here; valid fields: `platform`, `types`, `tables`, \
         `sources`, `metrics` and `realtime`"
    );
}
