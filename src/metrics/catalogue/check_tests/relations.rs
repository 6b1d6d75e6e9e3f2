//! Metrics and counters that refer to others.

use super::{Case, SHOP, line, parse, reject};

#[test]
fn departures_follow_from_a_stock_and_a_flow() {
    for (from, to, message) in [
        ("stock = \"members\"", "stock = \"guests\"", "`stock`: metric `guests` does not exist"),
        (
            "stock = \"members\"",
            "stock = \"joined\"",
            "`stock`: metric `joined` must be a `count` without `by`, or a `sum`, with `window = \
             \"to_date\"`",
        ),
        (
            "stock = \"members\"",
            "stock = \"fees\"",
            "`stock`: metric `fees` must have `type = \"people\"`, as this metric has",
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
            "`arrivals`: metric `left` must be a `count` without `by`, or a `sum`, with `window = \
             \"period\"`",
        ),
    ] {
        reject("name = \"left\"", from, to, to, &format!("metric `left`: {message}"));
    }
}

const COUNTERS: &[Case] = &[
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
        "`headlines`: metric `bestSellers` must be a single number, without `by` and not `measure \
         = \"top\"`",
    ),
    (
        "headlines = [",
        "\"members\"",
        "\"placedBySize\"",
        "headlines",
        "`headlines`: metric `placedBySize` must be a single number, without `by` and not \
         `measure = \"top\"`",
    ),
    (
        "[[realtime.recent]]",
        "\"visitorsNow\"",
        "\"joinedToday\"",
        "[[realtime.recent]]",
        "counter `joinedToday` already exists; use another name",
    ),
    (
        "[[realtime.recent]]",
        "\"visitorsNow\"",
        "\"members\"",
        "[[realtime.recent]]",
        "counter `members` already exists; use another name",
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
        "`hours` is not valid here; valid fields: `name`, `source`, `value`, `time` and `minutes`",
    ),
];

#[test]
fn counters_have_unique_names_and_flows_are_sums() {
    for (place, from, to, at, message) in COUNTERS {
        reject(place, from, to, at, &format!("realtime: {message}"));
    }
    let text = SHOP.replacen("    \"joined\"", "    \"placedBySize\"", 1);
    let second = line(&text, "    \"placedBySize\"") + 1;
    let error = parse(&text).unwrap_err().to_string();
    assert_eq!(error, format!("line {second}: realtime: `flows` lists `placedBySize` twice"));
}
