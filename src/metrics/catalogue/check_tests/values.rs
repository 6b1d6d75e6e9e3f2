//! Values and groups.

use super::{Case, reject};

/// By metric.
const VALUES: &[Case] = &[
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ money = \"amount\", cents = true }",
        "value =",
        "`cents` is not valid here; valid fields: `money`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ table = \"fee\" }",
        "value =",
        "`value` must be the name of an attribute, `{ money = \"…\" }` or `{ table = \"…\", \
         attribute = \"…\" }`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "\"payment.amount\"",
        "value =",
        "attribute `payment.amount`: paths are not supported; use a top-level attribute of the \
         item",
    ),
    ("fees", "\"fee\"", "\"fare\"", "value =", "table `fare` does not exist; add `[tables.fare]`"),
    (
        "fees",
        "attribute = \"plan\" }",
        "attribute = \"plan\", currency = \"EUR\" }",
        "value =",
        "`currency` is not valid here; valid fields: `table` and `attribute`",
    ),
    (
        "turnover",
        "{ money = \"amount\" }",
        "{ money = \"amount\", table = \"fee\" }",
        "value =",
        "`table` is not valid here; valid fields: `money`",
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
        "`by.groups.small` must be a string in quotes, `true` or `false`, not an array",
    ),
    (
        "fees",
        "\"large\"]",
        "\"huge\"]",
        "where =",
        "`[tables.fee]` has no `huge`, which `where.plan` allows; add it",
    ),
    (
        "visitors",
        "\"address\"",
        "{ money = \"address\" }",
        "value =",
        "`value` must be the name of an attribute with `measure = \"count_distinct\"`",
    ),
    (
        "placedBySize",
        "\"S\"",
        "1",
        "by =",
        "`by.groups.small` must be a string in quotes, `true` or `false`, not a whole number",
    ),
    (
        "placedBySize",
        "\"S\"",
        "true",
        "by =",
        "`by.groups` has the boolean `true` and the string `L`; all values must be booleans, or \
         all strings",
    ),
    (
        "placedBySize",
        "\"L\"",
        "\"FALSE\"",
        "by =",
        "`by.groups` has the boolean `false` and the string `S`; all values must be booleans, or \
         all strings",
    ),
    (
        "placedBySize",
        "{ small = \"S\", large = \"L\" }",
        "{ small = \"true\", large = \"TRUE\" }",
        "by =",
        "groups `small` and `large` have the same value `true`; an item can be in one group only",
    ),
    (
        "placedBySize",
        "{ small = \"S\", large = \"L\" }",
        "{ small = false, large = \"false\" }",
        "by =",
        "groups `small` and `large` have the same value `false`; an item can be in one group only",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = { not = \"L\" } }",
        "by =",
        "group `large` is always 0, because `where.size` excludes `L`; remove the group or change \
         the condition",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = { any_of = [\"L\"] } }",
        "by =",
        "group `small` is always 0, because `where.size` excludes `S`; remove the group or change \
         the condition",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { yes = \"TRUE\", no = false } }\nwhere = { size = true }",
        "by =",
        "group `no` is always 0, because `where.size` excludes `false`; remove the group or \
         change the condition",
    ),
    (
        "placedBySize",
        "groups = { small = \"S\", large = \"L\" } }",
        "groups = { small = \"S\", large = \"L\" } }\nwhere = { size = true }",
        "by =",
        "attribute `size` is a boolean in `where.size` and a string in `by.groups`; use it as one \
         of them only",
    ),
    (
        "visitors",
        "\"address\"",
        "\"address\"\nwhere = { address = { not = false } }",
        "value =",
        "attribute `address` is a boolean in `where.address` and a string in `value`; use it as \
         one of them only",
    ),
    (
        "turnover",
        "invoice = { present = true }",
        "paidAt = true",
        "time =",
        "attribute `paidAt` is a boolean in `where.paidAt` and a time in `time`; use it as one of \
         them only",
    ),
    (
        "packingTime",
        "absent = \"skip\"",
        "where = { packingSeconds = \"1\" }",
        "value =",
        "attribute `packingSeconds` is a string in `where.packingSeconds` and a number in \
         `value`; use it as one of them only",
    ),
    (
        "placedBySize",
        "\"L\"",
        "\"S\"",
        "by =",
        "groups `small` and `large` have the same value `S`; an item can be in one group only",
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
        "`other` is not valid here; valid fields: `attribute` and `groups`",
    ),
];

#[test]
fn values_and_groups_must_be_supported() {
    for (metric, from, to, at, message) in VALUES {
        let message = format!("metric `{metric}`: {message}");
        reject(&format!("name = \"{metric}\""), from, to, at, &message);
    }
}
