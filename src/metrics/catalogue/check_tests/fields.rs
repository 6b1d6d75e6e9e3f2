//! The fields of each measure.

use super::{Case, SHOP, parse, reject};

/// By metric.
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
        "`colour` is not a field of a metric; valid fields: `type`, `name`, `source`, `sources`, \
         `measure`, `value`, `where`, `by`, `key`, `ties`, `limit`, `stock`, `arrivals`, \
         `window`, `time`, `absent`, `rollup` and `moves`",
    ),
    (
        "joined",
        "rollup",
        "past = \"exact\"\nrollup",
        "past",
        "`past` is not a field: it follows from `window`; if the application overwrites an \
         attribute in place, use `moves`",
    ),
    (
        "joined",
        "\"sum\"",
        "\"total\"",
        "rollup",
        "`rollup = \"total\"` is not valid; valid values: `sum`, `last`, `merge` and `weighted`",
    ),
    (
        "joined",
        "\"sum\"",
        "\"last\"",
        "rollup",
        "`measure = \"count\"` with `window = \"period\"` must have `rollup = \"sum\"`",
    ),
    (
        "members",
        "\"last\"",
        "\"sum\"",
        "rollup",
        "`measure = \"count\"` with `window = \"to_date\"` must have `rollup = \"last\"`",
    ),
    (
        "left",
        "\"sum\"",
        "\"last\"",
        "rollup",
        "`measure = \"departures\"` must have `rollup = \"sum\"`",
    ),
    (
        "packingTime",
        "\"weighted\"",
        "\"sum\"",
        "rollup",
        "`measure = \"avg\"` with `window = \"period\"` must have `rollup = \"weighted\"`",
    ),
    (
        "bestSellers",
        "\"period\"",
        "\"to_date\"",
        "rollup",
        "`measure = \"top\"` must have `window = \"period\"`",
    ),
    (
        "joined",
        "\"people\"",
        "\"persons\"",
        "source",
        "source `persons` does not exist; add `[sources.persons]`",
    ),
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
        "`moves = \"weight\"`: the metric does not use this attribute; use one of its own",
    ),
    (
        "packingTime",
        "\"skip\"",
        "\"ignore\"",
        "absent",
        "`absent = \"ignore\"` is not valid; valid values: `malformed` and `skip`",
    ),
    (
        "bestSellers",
        "\"article\"\nlimit",
        "\"price\"\nlimit",
        "ties",
        "`ties = \"price\"` must be one of the attributes in `key`",
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
        "`limit` must be a whole number from 1 to 1000, not a decimal number",
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
        "`sources` has partition `DONE` twice, in `bought` and in `watched`, so its items would \
         be counted twice; use sources without common partitions",
    ),
];

#[test]
fn a_measure_has_the_fields_it_needs_and_no_others() {
    for (metric, from, to, at, message) in FIELDS {
        let message = format!("metric `{metric}`: {message}");
        reject(&format!("name = \"{metric}\""), from, to, at, &message);
    }
    // What is missing is missing in the entry.
    for (metric, from, message) in [
        ("joined", "source = \"people\"\n", "`source` is required with `measure = \"count\"`"),
        ("joined", "window = \"period\"\n", "`window` is required with `measure = \"count\"`"),
        (
            "joined",
            "time = [\"joinedAt\"]\n",
            "`time` is required: the attributes that hold the time of an item",
        ),
        ("joined", "measure = \"count\"\n", "`measure` is required"),
        ("left", "stock = \"members\"\n", "`stock` is required with `measure = \"departures\"`"),
        (
            "turnover",
            "value = { money = \"amount\" }\n",
            "`value` is required with `measure = \"sum\"`",
        ),
        ("bestSellers", "limit = 5\n", "`limit` is required with `measure = \"top\"`"),
    ] {
        let name = format!("name = \"{metric}\"\n");
        let begin = SHOP[..SHOP.find(&name).unwrap()].rfind("[[metrics]]").unwrap();
        let (before, after) = SHOP.split_at(begin);
        let error = parse(&format!("{before}{}", after.replacen(from, "", 1))).unwrap_err();
        let line = before.matches('\n').count() + 1;
        assert_eq!(error.to_string(), format!("line {line}: metric `{metric}`: {message}"));
    }
}
