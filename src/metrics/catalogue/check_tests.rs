//! What a catalogue may say, and what the build answers to one that says something else.

use super::{
    check::parse,
    definition::{Condition, Literal, Measure, Window},
};

/// A small shop: every kind of entry once.
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

/// A mistake and its answer.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// The line on which `fragment` stands first.
fn line(text: &str, fragment: &str) -> usize {
    let position = text.lines().position(|line| line.contains(fragment));
    position.unwrap_or_else(|| panic!("{fragment} is not in the text")) + 1
}

/// Replaces `from` after `place`, once, and compares the error: its line is that of `at`, found in
/// what follows `place`.
fn refuse(place: &str, from: &str, to: &str, at: &str, says: &str) {
    let begin = SHOP.find(place).unwrap_or_else(|| panic!("{place} is not in the text"));
    let offset = SHOP[begin..].find(from).unwrap_or_else(|| panic!("{from} is not after {place}"));
    let (before, after) = SHOP.split_at(begin + offset);
    let text = format!("{before}{}", after.replacen(from, to, 1));
    let error = match parse(&text) {
        Ok(_) => panic!("{place}: {to} is accepted"),
        Err(error) => error.to_string(),
    };
    let lines_before = text[..begin].matches('\n').count();
    let expected = format!("line {}: {says}", lines_before + line(&text[begin..], at));
    assert_eq!(error, expected, "{place}: {from} -> {to}");
}

#[test]
fn the_shipped_catalogue_is_sound() {
    let definition = parse(include_str!("../../../metrics.toml")).unwrap();
    assert_eq!(definition.metrics.len(), 31);
    assert_eq!(definition.ttl.as_deref(), Some("ttl"));
}

#[test]
fn every_kind_of_entry_is_understood() {
    let shop = parse(SHOP).unwrap();
    assert_eq!(shop.ttl.as_deref(), Some("expiresAt"));
    assert_eq!(shop.metrics.len(), 9);
    let metric = |name: &str| shop.metrics.iter().find(|metric| metric.name == name).unwrap();
    let condition =
        |name: &str, attribute: &str| metric(name).conditions().unwrap()[attribute].clone();
    // A truth in quotes is a truth, in whatever case; digits in quotes are a text.
    for (written, meant) in [
        ("true", Literal::Truth(true)),
        ("\"true\"", Literal::Truth(true)),
        ("\"TRUE\"", Literal::Truth(true)),
        ("false", Literal::Truth(false)),
        ("\"False\"", Literal::Truth(false)),
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
    let truth = Literal::Truth(true);
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
fn conditions_say_one_thing_that_is_supported() {
    let within = "metric `turnover`";
    for (from, to, says) in [
        (
            "{ present = true }",
            "{ present = false }",
            "`where.invoice.present` must be `true`; the opposite is not supported",
        ),
        (
            "{ present = true }",
            "{ after_period = false }",
            "`where.invoice.after_period` must be `true`; the opposite is not supported",
        ),
        (
            "{ present = true }",
            "{ not = \"x\", any_of = [\"y\"] }",
            "`where.invoice` has `not` and `any_of`; an attribute has one condition",
        ),
        (
            "{ present = true }",
            "{ present = true, after_period = true }",
            "`where.invoice` has `present` and `after_period`; an attribute has one condition",
        ),
        (
            "{ present = true }",
            "{ equals = \"x\" }",
            "`equals` is not known here; allowed are `not`, `any_of`, `present` and `after_period`",
        ),
        (
            "{ present = true }",
            "{ present = true, missing = 1 }",
            "`missing` is not known here; allowed are `not`, `any_of`, `present` and `after_period`",
        ),
        ("{ present = true }", "{}", "`where.invoice` must not be empty"),
        ("{ present = true }", "{ any_of = [] }", "`where.invoice.any_of` must not be empty"),
        (
            "{ present = true }",
            "{ any_of = [\"x\", \"x\"] }",
            "`where.invoice.any_of` lists `x` twice",
        ),
        (
            "{ present = true }",
            "{ any_of = [\"true\", \"false\"] }",
            "`where.invoice.any_of` compares strings, and `true` is a truth; compare a truth with \
             `invoice = true` or `invoice = false`",
        ),
        (
            "{ present = true }",
            "{ any_of = [\"x\", \"False\"] }",
            "`where.invoice.any_of` compares strings, and `False` is a truth; compare a truth with \
             `invoice = true` or `invoice = false`",
        ),
        (
            "{ present = true }",
            "{ any_of = [true] }",
            "`where.invoice.any_of` must be a string in quotes, not a boolean",
        ),
        (
            "{ present = true }",
            "1",
            "`where.invoice` must be a string in quotes, `true` or `false`, not a number",
        ),
        (
            "{ present = true }",
            "{ not = 1 }",
            "`where.invoice.not` must be a string in quotes, `true` or `false`, not a number",
        ),
        ("{ present = true }", "\"\"", "`where.invoice` must not be empty"),
        (
            "{ kind =",
            "{ \"customer.kind\" =",
            "attribute `customer.kind`: paths are not supported; name an attribute of the item itself",
        ),
        ("{ kind =", "{ \"\" =", "an attribute's name must not be empty"),
    ] {
        refuse("name = \"turnover\"", from, to, "where =", &format!("{within}: {says}"));
    }
}

/// Metric, what is replaced by what, where the mistake is, what is said.
const VALUES: &[Case] = &[
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ money = \"amount\", cents = true }",
        "value =",
        "`cents` is not known here; allowed are `money`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ table = \"fee\" }",
        "value =",
        "`value` must be an attribute's name, `{ money = \"…\" }` or \
             `{ table = \"…\", attribute = \"…\" }`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "\"payment.amount\"",
        "value =",
        "attribute `payment.amount`: paths are not supported; name an attribute of the item itself",
    ),
    ("fees", "\"fee\"", "\"fare\"", "value =", "table `fare` does not exist"),
    (
        "fees",
        "attribute = \"plan\" }",
        "attribute = \"plan\", currency = \"EUR\" }",
        "value =",
        "`currency` is not known here; allowed are `table` and `attribute`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ money = \"amount\", table = \"fee\" }",
        "value =",
        "`table` is not known here; allowed are `money`",
    ),
    (
        "placedBySize",
        "by = { attribute = \"size\", groups = { small = \"S\", large = \"L\" } }",
        "by = \"size\"",
        "by =",
        "`by` must be a table, not a string",
    ),
    (
        "placedBySize",
        "\"S\"",
        "[\"S\", \"XS\"]",
        "by =",
        "`by.groups.small` must be a string in quotes, `true` or `false`, not a list",
    ),
    (
        "fees",
        "\"large\"]",
        "\"huge\"]",
        "where =",
        "table `fee` has no `huge`, which `where.plan` lets through",
    ),
    (
        "visitors",
        "\"address\"",
        "{ money = \"address\" }",
        "value =",
        "`measure = \"count_distinct\"` needs an attribute's name as `value`",
    ),
    (
        "placedBySize",
        "\"S\"",
        "1",
        "by =",
        "`by.groups.small` must be a string in quotes, `true` or `false`, not a number",
    ),
    (
        "placedBySize",
        "\"S\"",
        "true",
        "by =",
        "`by.groups` has `true`, a truth, and `L`, a string; an attribute holds one or the \
             other",
    ),
    (
        "placedBySize",
        "\"L\"",
        "\"FALSE\"",
        "by =",
        "`by.groups` has `false`, a truth, and `S`, a string; an attribute holds one or the \
             other",
    ),
    (
        "placedBySize",
        "{ small = \"S\", large = \"L\" }",
        "{ small = \"true\", large = \"TRUE\" }",
        "by =",
        "groups `small` and `large` have the same value `true`",
    ),
    (
        "placedBySize",
        "{ small = \"S\", large = \"L\" }",
        "{ small = false, large = \"false\" }",
        "by =",
        "groups `small` and `large` have the same value `false`",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = { not = \"L\" } }",
        "by =",
        "group `large` is always 0: `where.size` does not let `L` through",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = { any_of = [\"L\"] } }",
        "by =",
        "group `small` is always 0: `where.size` does not let `S` through",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { yes = \"TRUE\", no = false } }\nwhere = { size = true }",
        "by =",
        "group `no` is always 0: `where.size` does not let `false` through",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = true }",
        "by =",
        "attribute `size` is a truth in `where.size` and a string in `by.groups`; it can hold \
             only one of them",
    ),
    (
        "visitors",
        "\"address\"",
        "\"address\"\nwhere = { address = { not = false } }",
        "value =",
        "attribute `address` is a truth in `where.address` and a string in `value`; it can \
             hold only one of them",
    ),
    (
        "turnover",
        "invoice = { present = true }",
        "paidAt = true",
        "time =",
        "attribute `paidAt` is a truth in `where.paidAt` and a time in `time`; it can hold \
             only one of them",
    ),
    (
        "packingTime",
        "absent = \"skip\"",
        "where = { packingSeconds = \"1\" }",
        "value =",
        "attribute `packingSeconds` is a string in `where.packingSeconds` and a number in \
             `value`; it can hold only one of them",
    ),
    (
        "placedBySize",
        "\"L\"",
        "\"S\"",
        "by =",
        "groups `small` and `large` have the same value `S`",
    ),
    (
        "placedBySize",
        "{ small = \"S\", large = \"L\" }",
        "{}",
        "by =",
        "`by.groups` must not be empty",
    ),
    (
        "placedBySize",
        "attribute = \"size\"",
        "attribute = \"size\", other = true",
        "by =",
        "`other` is not known here; allowed are `attribute` and `groups`",
    ),
];

#[test]
fn values_and_groups_say_one_thing_that_is_supported() {
    for (metric, from, to, at, says) in VALUES {
        let says = format!("metric `{metric}`: {says}");
        refuse(&format!("name = \"{metric}\""), from, to, at, &says);
    }
}

/// Wherever an attribute is named, it is one of the item itself.
#[test]
fn a_path_is_no_attribute_wherever_it_stands() {
    for (place, from, to, at, entry) in [
        ("[sources.people]", "\"name\"]", "\"a.b\"]", "keys", "source `people`"),
        ("[sources.orders]", "\"orderId\"", "\"a.b\"", "identity", "source `orders`"),
        ("[sources.orders]", "\"placedAt\"", "\"a.b\"", "sort_key_time", "source `orders`"),
        ("name = \"joined\"", "isActive", "\"a.b\"", "where", "metric `joined`"),
        ("name = \"joined\"", "\"joinedAt\"", "\"a.b\"", "time", "metric `joined`"),
        ("name = \"visitors\"", "\"address\"", "\"a.b\"", "value", "metric `visitors`"),
        ("name = \"placedBySize\"", "\"size\"", "\"a.b\"", "by", "metric `placedBySize`"),
        (
            "name = \"fees\"",
            "attribute = \"plan\"",
            "attribute = \"a.b\"",
            "value",
            "metric `fees`",
        ),
        ("name = \"turnover\"", "\"amount\"", "\"a.b\"", "value", "metric `turnover`"),
        (
            "name = \"packingTime\"",
            "moves = \"packingSeconds\"",
            "moves = \"a.b\"",
            "moves",
            "metric `packingTime`",
        ),
        ("name = \"bestSellers\"", "\"category\"", "\"a.b\"", "key", "metric `bestSellers`"),
        ("[[realtime.recent]]", "\"address\"", "\"a.b\"", "value", "realtime"),
        ("[[realtime.recent]]", "\"lastSeen\"", "\"a.b\"", "time =", "realtime"),
    ] {
        for path in ["a.b", "a[0]"] {
            let says = format!(
                "{entry}: attribute `{path}`: paths are not supported; name an attribute of the \
                 item itself"
            );
            refuse(place, from, &to.replace("a.b", path), at, &says);
        }
    }
}

/// Metric, what is replaced by what, where the mistake is, what is said.
const FIELDS: &[Case] = &[
    (
        "joined",
        "rollup",
        "limit = 3\nrollup",
        "limit",
        "`limit` is not valid with `measure = \"count\"`",
    ),
    (
        "joined",
        "rollup",
        "colour = \"blue\"\nrollup",
        "colour",
        "`colour` is not a field of a metric; there are `type`, `name`, `source`, `sources`, \
             `measure`, `value`, `where`, `by`, `key`, `ties`, `limit`, `stock`, `arrivals`, \
             `window`, `time`, `absent`, `rollup` and `moves`",
    ),
    (
        "joined",
        "rollup",
        "past = \"exact\"\nrollup",
        "past",
        "`past` follows from `window`; name an attribute that is overwritten in `moves`",
    ),
    (
        "joined",
        "\"sum\"",
        "\"total\"",
        "rollup",
        "`rollup = \"total\"` is not known; use one of `sum`, `last`, `merge` and `weighted`",
    ),
    (
        "joined",
        "\"sum\"",
        "\"last\"",
        "rollup",
        "`measure = \"count\"` with `window = \"period\"` needs `rollup = \"sum\"`",
    ),
    (
        "members",
        "\"last\"",
        "\"sum\"",
        "rollup",
        "`measure = \"count\"` with `window = \"to_date\"` needs `rollup = \"last\"`",
    ),
    (
        "left",
        "\"sum\"",
        "\"last\"",
        "rollup",
        "`measure = \"departures\"` needs `rollup = \"sum\"`",
    ),
    (
        "packingTime",
        "\"weighted\"",
        "\"sum\"",
        "rollup",
        "`measure = \"avg\"` with `window = \"period\"` needs `rollup = \"weighted\"`",
    ),
    (
        "bestSellers",
        "\"period\"",
        "\"to_date\"",
        "rollup",
        "`measure = \"top\"` needs `window = \"period\"`",
    ),
    ("joined", "\"people\"", "\"persons\"", "source", "source `persons` does not exist"),
    (
        "fees",
        "rollup",
        "time = [\"joinedAt\"]\nrollup",
        "time",
        "`time` is not valid with `window = \"now\"`",
    ),
    ("turnover", "\"placedAt\"]", "\"paidAt\"]", "time", "`time` lists `paidAt` twice"),
    ("turnover", "[\"paidAt\", \"placedAt\"]", "[]", "time", "`time` must not be empty"),
    (
        "packingTime",
        "moves = \"packingSeconds\"",
        "moves = \"weight\"",
        "moves",
        "`moves` names `weight`, which the metric does not use",
    ),
    (
        "packingTime",
        "\"skip\"",
        "\"ignore\"",
        "absent",
        "`absent = \"ignore\"` is not known; use one of `malformed` and `skip`",
    ),
    (
        "bestSellers",
        "\"article\"\nlimit",
        "\"price\"\nlimit",
        "ties",
        "`ties` must be an attribute of `key`; `price` is not",
    ),
    (
        "bestSellers",
        "limit = 5",
        "limit = -1",
        "limit",
        "`limit` must be a whole number from 1 to 1000",
    ),
    (
        "bestSellers",
        "limit = 5",
        "limit = 0",
        "limit",
        "`limit` must be a whole number from 1 to 1000",
    ),
    (
        "bestSellers",
        "limit = 5",
        "limit = 5.5",
        "limit",
        "`limit` must be a whole number from 1 to 1000, not a number with a point",
    ),
    (
        "bestSellers",
        "watched = \"seen\"",
        "watched = \"orders\"",
        "sources",
        "`sources` has source `orders` twice",
    ),
    // Another name, and more or fewer, of the same partitions.
    (
        "bestSellers",
        "watched = \"seen\"",
        "watched = \"done\"",
        "sources",
        "`sources` has partition `DONE` twice, in `bought` and in `watched`; its items would be \
         counted twice",
    ),
];

#[test]
fn a_measure_has_the_fields_it_needs_and_no_others() {
    for (metric, from, to, at, says) in FIELDS {
        let says = format!("metric `{metric}`: {says}");
        refuse(&format!("name = \"{metric}\""), from, to, at, &says);
    }
    // What is missing is missing in the entry.
    for (metric, from, says) in [
        ("joined", "source = \"people\"\n", "`measure = \"count\"` needs `source`"),
        ("joined", "window = \"period\"\n", "`measure = \"count\"` needs `window`"),
        (
            "joined",
            "time = [\"joinedAt\"]\n",
            "`time` is missing: the attributes that hold the row's time",
        ),
        ("joined", "measure = \"count\"\n", "`measure` is missing"),
        ("left", "stock = \"members\"\n", "`measure = \"departures\"` needs `stock`"),
        ("turnover", "value = { money = \"amount\" }\n", "`measure = \"sum\"` needs `value`"),
        ("bestSellers", "limit = 5\n", "`measure = \"top\"` needs `limit`"),
    ] {
        let name = format!("name = \"{metric}\"\n");
        let begin = SHOP[..SHOP.find(&name).unwrap()].rfind("[[metrics]]").unwrap();
        let (before, after) = SHOP.split_at(begin);
        let error = parse(&format!("{before}{}", after.replacen(from, "", 1))).unwrap_err();
        let line = before.matches('\n').count() + 1;
        assert_eq!(error.to_string(), format!("line {line}: metric `{metric}`: {says}"));
    }
}

#[test]
fn departures_follow_from_a_level_and_a_flow() {
    for (from, to, says) in [
        ("stock = \"members\"", "stock = \"guests\"", "`stock`: metric `guests` does not exist"),
        (
            "stock = \"members\"",
            "stock = \"joined\"",
            "`stock`: metric `joined` must be a `count` without `by`, or a `sum`, with \
             `window = \"to_date\"`",
        ),
        (
            "stock = \"members\"",
            "stock = \"fees\"",
            "`stock`: metric `fees` must have the same type, `people`",
        ),
        (
            "arrivals = \"joined\"",
            "arrivals = \"members\"",
            "`arrivals`: metric `members` must be a `count` without `by`, or a `sum`, with \
             `window = \"period\"`",
        ),
        (
            "arrivals = \"joined\"",
            "arrivals = \"visitors\"",
            "`arrivals`: metric `visitors` must be a `count` without `by`, or a `sum`, with \
             `window = \"period\"`",
        ),
        (
            "arrivals = \"joined\"",
            "arrivals = \"left\"",
            "`arrivals`: metric `left` must be a `count` without `by`, or a `sum`, with \
             `window = \"period\"`",
        ),
    ] {
        refuse("name = \"left\"", from, to, to, &format!("metric `left`: {says}"));
    }
}

/// Where, what is replaced by what, where the mistake is, what is said.
const NAMES: &[Case] = &[
    (
        "types =",
        "\"people\"]",
        "\"all\"]",
        "types",
        "type `all` is what the API calls all types together; use another name",
    ),
    (
        "types =",
        "\"people\"]",
        "\"peo#ple\"]",
        "types",
        "`type` `peo#ple` must begin with a letter and have only letters, digits, `_` and `-`",
    ),
    ("types =", "\"people\"]", "\"orders\"]", "types", "`types` lists `orders` twice"),
    ("types =", "\"people\"]", "\"\"]", "types", "`types` must not be empty"),
    ("types =", "[\"orders\", \"people\"]", "[]", "types", "`types` must not be empty"),
    (
        "name = \"members\"",
        "\"members\"",
        "\"members,all\"",
        "name",
        "metric `members,all`: `name` `members,all` must begin with a letter and have only \
             letters, digits, `_` and `-`",
    ),
    ("name = \"members\"", "\"members\"", "\"\"", "name", "metric ``: `name` must not be empty"),
    (
        "name = \"joined\"",
        "\"joined\"",
        "\"members\"",
        "name",
        "metric `members`: there is one of this name on line 34",
    ),
    (
        "[sources.orders]",
        "\"DONE\"]",
        "\"OPEN\"]",
        "partitions",
        "source `orders`: `partitions` lists `OPEN` twice",
    ),
    (
        "[sources.orders]",
        "[\"OPEN\", \"DONE\"]",
        "[]",
        "partitions",
        "source `orders`: `partitions` must not be empty",
    ),
    (
        "[sources.orders]",
        "\"byState\"",
        "\"\"",
        "index",
        "source `orders`: `index` must not be empty",
    ),
    (
        "[sources.orders]",
        "[\"state\", \"placedKey\"]",
        "[\"state\"]",
        "keys",
        "source `orders`: `keys` must name two attributes: the partition key and the sort key",
    ),
    (
        "[sources.orders]",
        "[\"state\", \"placedKey\"]",
        "[\"state\", \"state\"]",
        "keys",
        "source `orders`: `keys` lists `state` twice",
    ),
    (
        "[sources.orders]",
        "\"instant\"",
        "\"day\"",
        "sort_key_time",
        "source `orders`: `sort_key_time.format = \"day\"` is not known; use one of `instant` \
             and `hour`",
    ),
    (
        "[sources.seen]",
        "[\"SEEN\"]",
        "[\"SEEN\"]\n\n[sources.again]\nkeys = [\"PK\", \"SK\"]\npartitions = [\"SEEN\"]",
        "[sources.again]",
        "source `again`: has the partitions of source `seen` but describes them differently",
    ),
    (
        "[tables.fee]",
        "\"1.50\"",
        "\"one\"",
        "small",
        "table `fee`: `small` must be an amount such as \"9\" or \"9.90\", not `one`",
    ),
    (
        "[tables.fee]",
        "\"1.50\"",
        "\"1.505\"",
        "small",
        "table `fee`: `small` must be an amount such as \"9\" or \"9.90\", not `1.505`",
    ),
    (
        "[tables.fee]",
        "\"1.50\"",
        "1.5",
        "small",
        "table `fee`: `small` must be a string in quotes, not a number with a point",
    ),
    (
        "[platform]",
        "ttl =",
        "stream = true\nttl =",
        "stream",
        "`stream` is not known here; allowed are `ttl`",
    ),
    (
        "[platform]",
        "\"expiresAt\"",
        "\"meta.expiresAt\"",
        "ttl",
        "attribute `meta.expiresAt`: paths are not supported; name an attribute of the item \
             itself",
    ),
];

#[test]
fn names_are_names_and_stand_once() {
    for (place, from, to, at, says) in NAMES {
        refuse(place, from, to, at, says);
    }
}

#[test]
fn an_identity_tells_items_apart() {
    for (identity, says) in [
        ("state", "is the partition key, which all items of a partition share"),
        ("placedKey", "is the sort key, which items of different partitions can share"),
        ("placedAt", "is a time, which several items can share"),
    ] {
        let says = format!(
            "source `orders`: `identity` `{identity}` {says}; name an attribute that is different \
             in every item"
        );
        let to = format!("\"{identity}\"");
        refuse("[sources.orders]", "\"orderId\"", &to, "identity", &says);
    }
    for (identity, metric) in
        [("size", "placedBySize"), ("kind", "turnover"), ("paidAt", "turnover")]
    {
        let says = format!(
            "metric `{metric}`: `identity` `{identity}` of source `orders` is a state or a time in \
             this metric, which several items can share; name an attribute that is different in \
             every item"
        );
        let to = format!("\"{identity}\"");
        refuse("[sources.orders]", "\"orderId\"", &to, "identity", &says);
    }
    refuse(
        "[sources.orders]",
        "identity = \"orderId\"\n",
        "",
        "[sources.orders]",
        "source `orders`: several `partitions` need `identity`, the attribute that tells items apart",
    );
}

#[test]
fn counters_have_names_of_their_own_and_flows_add_up() {
    for (place, from, to, at, says) in [
        (
            "flows = [",
            "\"joined\"",
            "\"members\"",
            "\"members\"",
            "`flows`: metric `members` must have `rollup = \"sum\"`",
        ),
        (
            "flows = [",
            "\"joined\"",
            "\"arrived\"",
            "\"arrived\"",
            "`flows`: metric `arrived` does not exist",
        ),
        (
            "headlines = [",
            "\"members\"",
            "\"bestSellers\"",
            "headlines",
            "`headlines`: metric `bestSellers` must be a number, without `by` and not `top`",
        ),
        (
            "headlines = [",
            "\"members\"",
            "\"placedBySize\"",
            "headlines",
            "`headlines`: metric `placedBySize` must be a number, without `by` and not `top`",
        ),
        (
            "[[realtime.recent]]",
            "\"visitorsNow\"",
            "\"joinedToday\"",
            "[[realtime.recent]]",
            "there are two counters `joinedToday`",
        ),
        (
            "[[realtime.recent]]",
            "\"visitorsNow\"",
            "\"members\"",
            "[[realtime.recent]]",
            "there are two counters `members`",
        ),
        (
            "[[realtime.recent]]",
            "\"seen\"",
            "\"orders\"",
            "[[realtime.recent]]",
            "`visitorsNow`: source `orders` must have a `sort_key_time` with `format = \"hour\"`",
        ),
        (
            "[[realtime.recent]]",
            "minutes = 5",
            "minutes = 2000",
            "minutes",
            "`minutes` must be a whole number from 1 to 1440",
        ),
        (
            "[[realtime.recent]]",
            "minutes = 5",
            "minutes = 5\nhours = 1",
            "hours",
            "`hours` is not known here; allowed are `name`, `source`, `value`, `time` and `minutes`",
        ),
    ] {
        refuse(place, from, to, at, &format!("realtime: {says}"));
    }
    let text = SHOP.replacen("    \"joined\"", "    \"placedBySize\"", 1);
    let second = line(&text, "    \"placedBySize\"") + 1;
    let error = parse(&text).unwrap_err().to_string();
    assert_eq!(error, format!("line {second}: realtime: `flows` lists `placedBySize` twice"));
}

#[test]
fn what_is_no_toml_is_named_with_its_entry() {
    for (text, says) in [
        (SHOP.replace("measure = \"avg\"", "measure = avg\""), "metric `packingTime`: "),
        (SHOP.replace("[sources.seen]", "[sources.orders]"), "`[sources.orders]`: "),
        (SHOP.replace("large = \"L\"", "small = \"L\""), "metric `placedBySize`: "),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("line {}: {says}", error.line)), "{error}");
    }
    let error = parse("types = [\"orders\"]\n").unwrap_err();
    assert_eq!(error.to_string(), "line 1: `metrics` is missing");
    let error = parse(&SHOP.replace("[platform]", "[platfrom]")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: `platfrom` is not known here; allowed are `platform`, `types`, `tables`, \
         `sources`, `metrics` and `realtime`"
    );
}
