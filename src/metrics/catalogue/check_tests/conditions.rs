//! Conditions in `where`.

use super::reject;

/// What is replaced by what in `where` of the metric `turnover`, and the message.
const CONDITIONS: &[(&str, &str, &str)] = &[
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
        "`where.invoice` has `not` and `any_of`; use one condition for an attribute",
    ),
    (
        "{ present = true }",
        "{ present = true, after_period = true }",
        "`where.invoice` has `present` and `after_period`; use one condition for an attribute",
    ),
    (
        "{ present = true }",
        "{ equals = \"x\" }",
        "`equals` is not valid here; valid fields: `not`, `any_of`, `present` and `after_period`",
    ),
    (
        "{ present = true }",
        "{ present = true, missing = 1 }",
        "`missing` is not valid here; valid fields: `not`, `any_of`, `present` and `after_period`",
    ),
    ("{ present = true }", "{}", "`where.invoice` must not be empty"),
    ("{ present = true }", "{ any_of = [] }", "`where.invoice.any_of` must not be empty"),
    ("{ present = true }", "{ any_of = [\"x\", \"x\"] }", "`where.invoice.any_of` lists `x` twice"),
    (
        "{ present = true }",
        "{ any_of = [\"true\", \"false\"] }",
        "`where.invoice.any_of` must list strings, and `true` is a boolean; use `invoice = true` \
         or `invoice = false`",
    ),
    (
        "{ present = true }",
        "{ any_of = [\"x\", \"False\"] }",
        "`where.invoice.any_of` must list strings, and `False` is a boolean; use `invoice = true` \
         or `invoice = false`",
    ),
    (
        "{ present = true }",
        "{ any_of = [true] }",
        "`where.invoice.any_of` must be a string in quotes, not a boolean",
    ),
    (
        "{ present = true }",
        "1",
        "`where.invoice` must be a string in quotes, `true` or `false`, not a whole number",
    ),
    (
        "{ present = true }",
        "{ not = 1 }",
        "`where.invoice.not` must be a string in quotes, `true` or `false`, not a whole number",
    ),
    ("{ present = true }", "\"\"", "`where.invoice` must not be empty"),
    (
        "{ kind =",
        "{ \"customer.kind\" =",
        "attribute `customer.kind`: paths are not supported; use a top-level attribute of the item",
    ),
    ("{ kind =", "{ \"\" =", "an attribute's name must not be empty"),
];

#[test]
fn conditions_must_be_supported() {
    for (from, to, message) in CONDITIONS {
        let message = format!("metric `turnover`: {message}");
        reject("name = \"turnover\"", from, to, "where =", &message);
    }
}
