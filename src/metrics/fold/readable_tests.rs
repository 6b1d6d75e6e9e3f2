//! In which spans rows that cannot be read leave a metric without a value, by tables of cases.

use serde_json::json;

use super::{
    tests::{NEW, NOW, TOTAL, fold, fold_from, hour},
    *,
};

/// The time of the metrics here is that of the sort key: `createdAt`, in `createdAtKey`.
const BY_KEY: &str =
    "measure = \"count\"\nwindow = \"period\"\ntime = [\"createdAt\"]\nrollup = \"sum\"";
const TOTAL_BY_KEY: &str =
    "measure = \"count\"\nwindow = \"to_date\"\ntime = [\"createdAt\"]\nrollup = \"last\"";

const INSTANT: &str = "must be an RFC 3339 date-time with a time zone, such as \
                       2026-03-01T12:00:00.000Z; found";

fn at(text: &str) -> Json {
    json!({"at": {"S": text}})
}

/// A post whose time is malformed, but not its sort key.
fn keyed(key: &str, created: &Json) -> Json {
    json!({"createdAtKey": {"S": format!("{key}#1")}, "createdAt": created})
}

fn good(created: &str) -> Json {
    keyed(created, &json!({"S": created}))
}

fn some(count: usize, row: &Json) -> Vec<Json> {
    vec![row.clone(); count]
}

#[test]
fn a_span_with_only_malformed_rows_has_no_value() {
    let good = at("2026-03-01T11:30:00Z");
    let outside = at("2026-02-01T11:30:00Z");
    let number = json!({"at": {"N": "1772364600"}});
    let zoneless = at("2026-03-01T11:30:00");
    let all = |items: &str, found: &str| {
        Some(format!(
            "metric `metric`: every item of source `posts` is malformed: `at` {INSTANT} {found} \
             ({items})"
        ))
    };
    for (rows, value, malformed, expected) in [
        (vec![], Some(0), 0, None),
        (some(2, &number), None, 2, all("2 items", "a number")),
        (vec![zoneless], None, 1, all("1 item", "a date-time without a time zone")),
        (vec![at("yesterday")], None, 1, all("1 item", "another string")),
        (vec![json!({"at": {"BOOL": true}})], None, 1, all("1 item", "a boolean")),
        (vec![json!({})], None, 1, all("1 item", "no such attribute")),
        // One that can be read in the hour is enough to know that the others are exceptions.
        (vec![number.clone(), good], Some(1), 1, None),
        (vec![at("yesterday"), outside.clone(), outside], Some(0), 1, None),
    ] {
        let folded = fold(NEW, &rows);
        assert_eq!(
            (folded.values, folded.malformed, folded.unreadable),
            (vec![value.map(Json::from)], malformed, expected),
            "{rows:?}"
        );
    }
}

/// The hour before, the hour, and the hour after it.
fn hours() -> [Span; 3] {
    [hour().previous(), hour(), hour().next()].map(Span::from)
}

#[test]
fn malformed_items_remove_the_value_of_their_own_hour() {
    let number = json!({"N": "1772364600"});
    let wrong = keyed("2026-03-01T11:30:00.000Z", &number);
    let impossible = keyed("2026-03-01T11:30:75.000Z", &json!({"S": "2026-03-01T11:30:75.000Z"}));
    // 11:30 in seconds and in milliseconds, if the sort key is malformed too.
    let seconds = keyed("1772364600", &number);
    let milliseconds = keyed("1772364600000", &json!({"N": "1772364600000"}));
    let zoneless = keyed("x", &json!({"S": "2026-03-01T11:30:00"}));
    for row in [wrong, impossible, seconds, milliseconds, zoneless] {
        let rows = [
            some(120, &row),
            some(500, &good("2026-02-01T09:00:00.000Z")),
            some(7, &good("2026-03-01T12:10:00.000Z")),
        ]
        .concat();
        let folded = fold_from(true, BY_KEY, &rows, &hours());
        assert_eq!(folded.values, [Some(json!(0)), None, Some(json!(7))], "{row}");
        assert_eq!(folded.malformed, 120, "{row}");
        let why = folded.unreadable.unwrap();
        assert!(
            why.starts_with(
                "metric `metric`: every item of source `posts` that can lie in \
                 2026-03-01T11:00:00.000Z to 2026-03-01T11:59:59.999Z is malformed: `createdAt`"
            ) && why.ends_with("(120 items)"),
            "{why}"
        );
        // What exists to date is known, but for these.
        let folded = fold_from(true, TOTAL_BY_KEY, &rows, &hours());
        assert_eq!(folded.values, [500, 500, 507].map(|total| Some(json!(total))), "{row}");
    }
}

/// The hour's value, where so many malformed items lie in it, so many lie somewhere unknown, and so
/// many of other days can be read.
#[test]
fn an_hour_without_a_readable_item_is_absent_unless_malformed_ones_are_exceptions() {
    let placed = keyed("2026-03-01T11:30:00.000Z", &json!({"N": "5"}));
    let elsewhere = keyed("2026-02-20T11:30:00.000Z", &json!({"S": "long ago"}));
    let unplaced = keyed("not-a-date", &json!({"S": "not-a-date"}));
    let readable = good("2026-02-01T09:00:00.000Z");
    for (is_whole, placed_rows, unplaced_rows, elsewhere_rows, readable_rows, value) in [
        // By key range there is little else to judge by.
        (false, 1, 0, 0, 0, None),
        (false, 1, 0, 0, 100, None),
        (false, 120, 0, 0, 1, None),
        (false, 0, 1, 0, 0, None),
        (false, 0, 0, 3, 0, Some(0)),
        (false, 0, 0, 0, 0, Some(0)),
        // In a partition that is read whole, few are exceptions, and three are not.
        (true, 1, 0, 0, 100, Some(0)),
        (true, 2, 0, 0, 100, Some(0)),
        (true, 3, 0, 0, 100, None),
        (true, 120, 0, 0, 1, None),
        // Unless there are as few others.
        (true, 1, 0, 0, 1, None),
        (true, 1, 0, 0, 2, Some(0)),
        // A few old ones must not take the value of every quiet hour.
        (true, 0, 0, 3, 100, Some(0)),
        (true, 0, 3, 0, 100, Some(0)),
        (true, 0, 3, 0, 4, Some(0)),
        // As many malformed as readable items: no value.
        (true, 0, 3, 0, 3, None),
        (true, 1, 2, 0, 3, None),
        // Where none can be read, not even the hours in which none lies.
        (true, 0, 0, 3, 0, None),
        (true, 0, 3, 0, 0, None),
        (true, 0, 0, 0, 0, Some(0)),
    ] {
        let rows = [
            some(placed_rows, &placed),
            some(unplaced_rows, &unplaced),
            some(elsewhere_rows, &elsewhere),
            some(readable_rows, &readable),
        ]
        .concat();
        let folded = fold_from(is_whole, BY_KEY, &rows, &[hour().into()]);
        let context = format!(
            "whole: {is_whole}; {placed_rows} in the hour, {unplaced_rows} somewhere, \
             {elsewhere_rows} elsewhere, {readable_rows} readable"
        );
        assert_eq!(folded.values, [value.map(Json::from)], "{context}");
        assert_eq!(folded.unreadable.is_some(), value.is_none(), "{context}");
        let malformed = (placed_rows + unplaced_rows + elsewhere_rows) as u64;
        assert_eq!(folded.malformed, malformed, "{context}");
    }
}

#[test]
fn a_readable_item_of_the_hour_makes_the_others_exceptions() {
    let wrong = keyed("2026-03-01T11:30:00.000Z", &json!({"N": "5"}));
    let rows = [some(50, &wrong), vec![good("2026-03-01T11:59:59.999Z")]].concat();
    for is_whole in [true, false] {
        let folded = fold_from(is_whole, BY_KEY, &rows, &[hour().into()]);
        assert_eq!((folded.values, folded.malformed), (vec![Some(json!(1))], 50));
        assert_eq!(folded.unreadable, None);
    }
}

#[test]
fn an_empty_span_has_no_rows_to_read() {
    let start = hour().start();
    let rows = some(9, &keyed("2026-03-01T11:00:00.000Z", &json!({"N": "5"})));
    let folded = fold_from(false, BY_KEY, &rows, &[Span::until(start, start), hour().into()]);
    assert_eq!(folded.values, [Some(json!(0)), None]);
}

/// The count in the sentence is that of the items that it is about.
#[test]
fn the_reason_counts_the_items_that_it_is_about() {
    let wrong = keyed("2026-03-01T11:30:00.000Z", &json!({"N": "5"}));
    let unplaced = keyed("x", &json!({"S": "x"}));
    let rows = [some(4, &wrong), some(2, &unplaced), some(100, &good("2026-02-01T09:00:00.000Z"))];
    let why = fold_from(true, BY_KEY, &rows.concat(), &hours()).unreadable.unwrap();
    let found = "`createdAt` must be an RFC 3339 date-time with a time zone, such as \
                 2026-03-01T12:00:00.000Z; found a number (6 items)";
    assert_eq!(
        why,
        format!(
            "metric `metric`: every item of source `posts` that can lie in \
             2026-03-01T11:00:00.000Z to 2026-03-01T11:59:59.999Z is malformed: {found}"
        )
    );
    // In several periods.
    let mut rows = rows.concat();
    rows.extend(some(3, &keyed("2026-03-01T12:30:00.000Z", &json!({"N": "5"}))));
    let why = fold_from(true, BY_KEY, &rows, &hours()).unreadable.unwrap();
    assert!(why.ends_with("found a number; the same in 1 other period (6 items)"), "{why}");
    // A level: what exists to date.
    let folded = fold_from(true, TOTAL_BY_KEY, &some(2, &wrong), &[hour().previous().into()]);
    assert_eq!(folded.values, [None]);
}

/// One malformed item is an exception if items that fail the condition have a readable time.
#[test]
fn an_item_that_fails_the_condition_shows_that_its_hour_can_be_read() {
    let done = &format!("{NEW}\nwhere = {{ state = \"done\" }}");
    let item = |state: &str, at: &str| json!({"state": {"S": state}, "at": {"S": at}});
    let wrong = item("done", "yesterday");
    let open = item("open", "2026-03-01T11:30:00Z");
    let folded = fold(done, &[wrong.clone(), open]);
    assert_eq!((folded.values, folded.malformed), (vec![Some(json!(0))], 1));
    assert_eq!(folded.unreadable, None);
    // If theirs is malformed too, there is no value.
    let folded = fold(done, &[wrong, item("open", "yesterday")]);
    assert_eq!(folded.values, [None]);
    assert!(folded.unreadable.unwrap().ends_with("(2 items)"));
    // What may be absent is no fault.
    let seen = &format!("{NEW}\nabsent = \"skip\"");
    let folded = fold(seen, &[json!({"at": {"N": "1"}}), json!({})]);
    assert_eq!((folded.values, folded.unreadable), (vec![Some(json!(0))], None));
    // Rows as they are now: one that fails the condition can be read.
    let now = &format!("{NOW}\nwhere = {{ flag = true }}");
    let flag = |word: &str| json!({"flag": {"S": word}});
    assert_eq!(fold(now, &[flag("maybe"), flag("false")]).values, [Some(json!(0))]);
    assert_eq!(fold(now, &[flag("maybe")]).values, [None]);
}

#[test]
fn a_span_with_only_malformed_values_has_no_value() {
    let metric = "measure = \"sum\"\nvalue = { money = \"amount\" }\nwindow = \"period\"\n\
                  time = [\"at\"]\nrollup = \"sum\"";
    let order = |at: &str, amount: &Json| json!({"at": {"S": at}, "amount": amount});
    let (inside, outside) = ("2026-03-01T11:30:00Z", "2026-02-01T11:30:00Z");
    let (good, bad) = (json!({"S": "1.10"}), json!({"S": "ten"}));
    let (bad_inside, good_outside) = (order(inside, &bad), order(outside, &good));
    for (rows, value, malformed) in [
        (vec![bad_inside.clone(), order(outside, &bad)], None, 1),
        (vec![bad_inside.clone(), good_outside.clone()], None, 1),
        (vec![bad_inside.clone(), good_outside.clone(), good_outside.clone()], Some(0.0), 1),
        ([some(3, &bad_inside), some(50, &good_outside)].concat(), None, 3),
        (vec![bad_inside.clone(), order(inside, &good)], Some(1.1), 1),
        // A malformed item of another period does not concern this one.
        (vec![order(outside, &bad)], Some(0.0), 0),
    ] {
        let folded = fold(metric, &rows);
        let found = folded.values[0].as_ref().map(|value| value.as_f64().unwrap());
        let is_right = match (found, value) {
            (Some(found), Some(value)) => (found - value).abs() < 1e-9,
            (found, value) => found.is_none() && value.is_none(),
        };
        assert!(is_right, "{rows:?}: {found:?}");
        assert_eq!(
            (folded.malformed, folded.unreadable.is_some()),
            (malformed, value.is_none()),
            "{rows:?}"
        );
    }
    let why = fold(metric, &[bad_inside]).unreadable.unwrap();
    assert!(why.contains("`amount` must be a decimal amount") && !why.contains("ten"), "{why}");
}

#[test]
fn a_stock_with_only_malformed_rows_before_its_end_is_absent() {
    let wrong = json!({"at": {"S": "2026-03-01T11:30:00"}});
    let later = at("2026-03-01T13:30:00Z");
    let rows = [some(3, &wrong), some(9, &later)].concat();
    let folded = fold_from(true, TOTAL, &rows, &hours());
    assert_eq!(folded.values, [Some(json!(0)), None, None]);
    let why = folded.unreadable.unwrap();
    assert!(
        why.contains("of source `posts` that can lie before 2026-03-01T12:00:00.000Z is malformed"),
        "{why}"
    );
}
