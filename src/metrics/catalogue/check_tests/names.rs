//! Names, attributes and identities.

use super::{Case, reject};

const NAMES: &[Case] = &[
    (
        "types =",
        "\"people\"]",
        "\"all\"]",
        "types",
        "type `all` is reserved for all types together; use another name",
    ),
    (
        "types =",
        "\"people\"]",
        "\"peo#ple\"]",
        "types",
        "`type` `peo#ple` must begin with a letter and contain only letters, digits, `_` and `-`",
    ),
    ("types =", "\"people\"]", "\"orders\"]", "types", "`types` lists `orders` twice"),
    ("types =", "\"people\"]", "\"\"]", "types", "`types` must not be empty"),
    ("types =", "[\"orders\", \"people\"]", "[]", "types", "`types` must not be empty"),
    (
        "name = \"members\"",
        "\"members\"",
        "\"members,all\"",
        "name",
        "metric `members,all`: `name` `members,all` must begin with a letter and contain only \
         letters, digits, `_` and `-`",
    ),
    ("name = \"members\"", "\"members\"", "\"\"", "name", "metric ``: `name` must not be empty"),
    (
        "name = \"joined\"",
        "\"joined\"",
        "\"members\"",
        "name",
        "metric `members`: `name` is already used on line 34; use another name",
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
        "source `orders`: `sort_key_time.format = \"day\"` is not valid; valid values: `instant` \
         and `hour`",
    ),
    (
        "[sources.seen]",
        "[\"SEEN\"]",
        "[\"SEEN\"]\n\n[sources.again]\nkeys = [\"PK\", \"SK\"]\npartitions = [\"SEEN\"]",
        "[sources.again]",
        "source `again`: `partitions` are those of source `seen`, so `keys`, `identity` and \
         `sort_key_time` must be the same too",
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
        "table `fee`: `small` must be a string in quotes, not a decimal number",
    ),
    (
        "[platform]",
        "ttl =",
        "stream = true\nttl =",
        "stream",
        "`stream` is not valid here; valid fields: `ttl`",
    ),
    (
        "[platform]",
        "\"expiresAt\"",
        "\"meta.expiresAt\"",
        "ttl",
        "attribute `meta.expiresAt`: paths are not supported; use a top-level attribute of the \
         item",
    ),
];

#[test]
fn names_are_valid_and_unique() {
    for (place, from, to, at, message) in NAMES {
        reject(place, from, to, at, message);
    }
}

/// Wherever an attribute is named, it is one of the item itself.
#[test]
fn a_path_is_not_an_attribute_in_any_field() {
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
            let message = format!(
                "{entry}: attribute `{path}`: paths are not supported; use a top-level attribute \
                 of the item"
            );
            reject(place, from, &to.replace("a.b", path), at, &message);
        }
    }
}

#[test]
fn an_identity_is_different_in_every_item() {
    for (identity, message) in [
        ("state", "is the partition key, which all items of a partition share"),
        ("placedKey", "is the sort key, which items of different partitions can share"),
        ("placedAt", "is a time, which several items can share"),
    ] {
        let message = format!(
            "source `orders`: `identity = \"{identity}\"` {message}; use an attribute that is \
             different in every item"
        );
        let to = format!("\"{identity}\"");
        reject("[sources.orders]", "\"orderId\"", &to, "identity", &message);
    }
    for (identity, metric) in
        [("size", "placedBySize"), ("kind", "turnover"), ("paidAt", "turnover")]
    {
        let message = format!(
            "metric `{metric}`: `identity = \"{identity}\"` of source `orders` is a state or a \
             time in this metric, which several items can share; use an attribute that is \
             different in every item"
        );
        let to = format!("\"{identity}\"");
        reject("[sources.orders]", "\"orderId\"", &to, "identity", &message);
    }
    reject(
        "[sources.orders]",
        "identity = \"orderId\"\n",
        "",
        "[sources.orders]",
        "source `orders`: `identity` is required with several `partitions`: an attribute that is \
         different in every item",
    );
}
