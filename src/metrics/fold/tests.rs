//! Values of rows, by tables of cases. The expected values are written by hand.

use std::collections::HashMap;

use serde_dynamo::AttributeValue;
use serde_json::json;

use super::*;
use crate::metrics::{
    catalogue::fixture,
    period::{Granularity, Period},
};

/// 2026-03-01 11:00 to 12:00.
pub(super) fn hour() -> Period {
    Period::containing(Granularity::Hourly, "2026-03-01T11:30:00Z".parse().unwrap())
}

pub(super) fn row(attributes: &Json) -> Item {
    let attribute = |(name, value): (&String, &Json)| {
        (name.clone(), serde_json::from_value(value.clone()).unwrap())
    };
    let attributes: HashMap<String, AttributeValue> =
        attributes.as_object().unwrap().iter().map(attribute).collect();
    Item::from(attributes)
}

/// The result of a fold: the values of the spans, and what was left out.
#[derive(Debug, PartialEq)]
pub(super) struct Folded {
    pub(super) values: Vec<Option<Json>>,
    pub(super) rows: u64,
    pub(super) malformed: u64,
    pub(super) unreadable: Option<String>,
}

/// `rows` were read from partitions that were read whole, or from key ranges of the spans.
pub(super) fn fold_from(is_whole: bool, metric: &str, rows: &[Json], spans: &[Span]) -> Folded {
    let catalogue = fixture(&format!(
        "[[metrics]]\ntype = \"things\"\nname = \"metric\"\nsource = \"posts\"\n{metric}"
    ));
    let source = catalogue.source("posts");
    let mut fold = Fold::new(&catalogue, &catalogue.metrics()[0], "", source, spans);
    for attributes in rows {
        fold.add(&row(attributes));
    }
    let (rows, malformed, why) =
        (fold.rows(), fold.malformed(), fold.unreadable("posts", is_whole));
    let mut values: Vec<Option<Json>> =
        fold.finish().unwrap().into_iter().map(|outcome| outcome.value).collect();
    for span in why.iter().flat_map(|why| &why.spans) {
        values[*span] = None;
    }
    Folded { values, rows, malformed, unreadable: why.map(|why| why.to_string()) }
}

fn fold_spans(metric: &str, rows: &[Json], spans: &[Span]) -> Folded {
    fold_from(true, metric, rows, spans)
}

pub(super) fn fold(metric: &str, rows: &[Json]) -> Folded {
    fold_spans(metric, rows, &[hour().into()])
}

pub(super) const TOTAL: &str =
    "measure = \"count\"\nwindow = \"to_date\"\ntime = [\"at\"]\nrollup = \"last\"";
pub(super) const NEW: &str =
    "measure = \"count\"\nwindow = \"period\"\ntime = [\"at\"]\nrollup = \"sum\"";
pub(super) const NOW: &str = "measure = \"count\"\nwindow = \"now\"\nrollup = \"last\"";

#[test]
fn a_time_finer_than_a_millisecond_is_in_the_same_period_for_every_window() {
    let ending = "measure = \"count\"\nwindow = \"now\"\nrollup = \"last\"\n\
                  where = { at = { after_period = true } }";
    // In the period, up to its end, after its end.
    for (at, expected) in [
        ("2026-03-01T10:59:59.999Z", [0, 1, 0]),
        ("2026-03-01T10:59:59.999999Z", [0, 1, 0]),
        ("2026-03-01T11:00:00Z", [1, 1, 0]),
        ("2026-03-01T11:59:59Z", [1, 1, 0]),
        ("2026-03-01T11:59:59.999Z", [1, 1, 0]),
        ("2026-03-01T11:59:59.999500Z", [1, 1, 0]),
        ("2026-03-01T11:59:59.999999999+00:00", [1, 1, 0]),
        ("2026-03-01T13:59:59.9995+02:00", [1, 1, 0]),
        ("2026-03-01T12:00:00Z", [0, 0, 1]),
        ("2026-03-01T12:00:00.000001Z", [0, 0, 1]),
    ] {
        let rows = [json!({"at": {"S": at}})];
        for (metric, expected) in [NEW, TOTAL, ending].into_iter().zip(expected) {
            assert_eq!(fold(metric, &rows).values, [Some(json!(expected))], "{at}: {metric}");
        }
    }
}

#[test]
fn every_end_must_lie_after_the_period() {
    let metric = format!(
        "{NOW}\nwhere = {{ a = {{ after_period = true }}, b = {{ after_period = true }} }}"
    );
    let at = |a: &str, b: &str| json!({"a": {"S": a}, "b": {"S": b}});
    let (before, after) = ("2026-03-01T11:30:00Z", "2026-03-02T00:00:00Z");
    for (row, expected) in [
        (at(after, after), 1),
        (at(before, after), 0),
        (at(after, before), 0),
        (json!({"a": {"S": after}}), 1),
        (json!({}), 1),
    ] {
        assert_eq!(
            fold(&metric, std::slice::from_ref(&row)).values,
            [Some(json!(expected))],
            "{row}"
        );
    }
}

/// The row counts (1), does not (0), or is malformed (`None`).
#[test]
fn a_boolean_is_read_in_every_form() {
    let yes = [
        json!({"BOOL": true}),
        json!({"S": "true"}),
        json!({"S": "True"}),
        json!({"S": "TRUE"}),
        json!({"N": "1"}),
        json!({"S": "1"}),
    ];
    let no = [
        json!({"BOOL": false}),
        json!({"S": "false"}),
        json!({"S": "FALSE"}),
        json!({"N": "0"}),
        json!({"S": "0"}),
    ];
    let neither = [
        json!({"S": "yes"}),
        json!({"S": ""}),
        json!({"N": "2"}),
        json!({"L": []}),
        json!({"M": {}}),
        json!({"SS": ["true"]}),
    ];
    let absent = [json!({"NULL": true})];
    for (condition, of_yes, of_no, of_absent) in [
        ("true", 1, 0, 0),
        ("\"true\"", 1, 0, 0),
        ("false", 0, 1, 0),
        ("\"false\"", 0, 1, 0),
        ("{ not = \"true\" }", 0, 1, 1),
        ("{ not = true }", 0, 1, 1),
        ("{ not = \"false\" }", 1, 0, 1),
    ] {
        let metric = format!("{NOW}\nwhere = {{ flag = {condition} }}");
        let cases = yes.iter().map(|value| (value, Some(of_yes)));
        let cases = cases.chain(no.iter().map(|value| (value, Some(of_no))));
        let cases = cases.chain(absent.iter().map(|value| (value, Some(of_absent))));
        let cases = cases.chain(neither.iter().map(|value| (value, None)));
        for (value, expected) in cases {
            let folded = fold(&metric, &[json!({"flag": value}), json!({})]);
            let context = format!("{value} where {condition}");
            assert_eq!(folded.malformed, u64::from(expected.is_none()), "{context}");
            let count = expected.unwrap_or_default() + of_absent;
            assert_eq!(folded.values, [Some(json!(count))], "{context}");
        }
    }
}

#[test]
fn a_condition_on_a_string_rejects_other_kinds() {
    for (condition, of_text, of_other_text, of_absent) in [
        ("\"ready\"", 1, 0, 0),
        ("{ not = \"ready\" }", 0, 1, 1),
        ("{ any_of = [\"ready\", \"done\"] }", 1, 0, 0),
    ] {
        let metric = format!("{NOW}\nwhere = {{ state = {condition} }}");
        for (value, expected, malformed) in [
            (json!({"state": {"S": "ready"}}), Some(of_text), 0),
            (json!({"state": {"S": "other"}}), Some(of_other_text), 0),
            (json!({}), Some(of_absent), 0),
            // The only item is malformed.
            (json!({"state": {"N": "3"}}), None, 1),
            (json!({"state": {"BOOL": true}}), None, 1),
            (json!({"state": {"L": [{"S": "ready"}]}}), None, 1),
        ] {
            let folded = fold(&metric, std::slice::from_ref(&value));
            let context = format!("{value} where {condition}");
            assert_eq!(
                (&folded.values[0], folded.malformed),
                (&expected.map(Json::from), malformed),
                "{context}"
            );
        }
    }
}

#[test]
fn a_row_that_fails_one_condition_is_not_malformed_by_another() {
    let metric = format!("{NEW}\nwhere = {{ a = \"x\", b = true }}");
    let at = json!({"S": "2026-03-01T11:30:00Z"});
    let other = json!({"a": {"S": "y"}, "b": {"S": "maybe"}, "at": at});
    assert_eq!(fold(&metric, &[other]).malformed, 0);
    let wrong = json!({"a": {"S": "x"}, "b": {"S": "maybe"}, "at": at});
    assert_eq!(fold(&metric, &[wrong]).malformed, 1);
    let another_hour =
        json!({"a": {"S": "x"}, "b": {"S": "maybe"}, "at": {"S": "2026-03-01T13:00:00Z"}});
    assert_eq!(fold(&metric, &[another_hour]).malformed, 0);
}

#[test]
fn groups_compare_strings_and_booleans() {
    let by = |groups: &str| format!("{NOW}\nby = {{ attribute = \"kind\", groups = {groups} }}");
    let kinds = by("{ a = \"A\", b = \"B\" }");
    let rows = [
        json!({"kind": {"S": "A"}}),
        json!({"kind": {"S": "A"}}),
        json!({"kind": {"S": "C"}}),
        json!({}),
        json!({"kind": {"N": "1"}}),
    ];
    let folded = fold(&kinds, &rows);
    assert_eq!((folded.rows, folded.malformed), (5, 1));
    assert_eq!(folded.values, [Some(json!({"a": 2, "b": 0}))]);
    // Digits are strings, in groups as in conditions.
    let digits = by("{ none = \"0\", one = \"1\" }");
    let one = format!("{NOW}\nwhere = {{ kind = \"1\" }}");
    let rows = [
        json!({"kind": {"S": "1"}}),
        json!({"kind": {"S": "true"}}),
        json!({"kind": {"BOOL": true}}),
        json!({"kind": {"N": "1"}}),
    ];
    let folded = fold(&digits, &rows);
    assert_eq!(folded.values, [Some(json!({"none": 0, "one": 1}))]);
    assert_eq!(folded.malformed, 2);
    let folded = fold(&one, &rows);
    assert_eq!((folded.values, folded.malformed), (vec![Some(json!(1))], 2));
    let booleans = by("{ on = \"TRUE\", off = false }");
    let rows = [
        json!({"kind": {"BOOL": true}}),
        json!({"kind": {"S": "True"}}),
        json!({"kind": {"N": "0"}}),
        json!({"kind": {"S": "maybe"}}),
    ];
    let folded = fold(&booleans, &rows);
    assert_eq!((folded.rows, folded.malformed), (4, 1));
    assert_eq!(folded.values, [Some(json!({"on": 2, "off": 1}))]);
}

#[test]
fn an_item_past_its_time_to_live_does_not_exist_but_has_happened() {
    let epoch = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp().to_string();
    let expiring = |at: &str| json!({"N": epoch(at)});
    // Counted in the period (created at 11:30), to date, now; the hour ends at 12:00.
    for (ttl, expected, why) in [
        (json!({"NULL": true}), [1, 1, 1], "never expires"),
        (expiring("2026-03-01T12:00:00Z"), [1, 1, 1], "expires when the hour is over"),
        (expiring("2026-03-01T11:59:59Z"), [1, 0, 0], "expired within the hour"),
        (expiring("2026-03-01T11:30:01Z"), [1, 0, 0], "lived a second"),
        (expiring("2026-03-01T11:30:00Z"), [0, 0, 0], "had expired when it was made"),
        (expiring("2021-03-05T00:00:00Z"), [0, 0, 0], "expired nearly five years ago"),
        (expiring("2021-02-20T00:00:00Z"), [1, 1, 1], "so long ago that DynamoDB ignores it"),
        (json!({"S": epoch("2026-03-01T11:45:00Z")}), [1, 1, 1], "a string is not an expiry"),
        (json!({"N": "1772366400000"}), [1, 1, 1], "milliseconds are far away"),
        (json!({"N": "1E+80"}), [1, 1, 1], "beyond every date"),
    ] {
        let rows = [json!({"at": {"S": "2026-03-01T11:30:00Z"}, "expiresAt": ttl})];
        for (metric, expected) in [NEW, TOTAL, NOW].into_iter().zip(expected) {
            let folded = fold(metric, &rows);
            assert_eq!(folded.values, [Some(json!(expected))], "{why}: {metric}");
            assert_eq!(folded.malformed, 0, "{why}");
        }
    }
}

#[test]
fn an_expiry_ends_a_stock_in_the_spans_after_it_only() {
    let rows = [json!({
        "at": {"S": "2026-03-01T11:30:00Z"},
        "expiresAt": {"N": "1772368200"}, // 2026-03-01T12:30:00Z
    })];
    let spans: Vec<Span> = [hour().previous(), hour(), hour().next()].map(Span::from).into();
    let values = |metric| fold_spans(metric, &rows, &spans).values;
    assert_eq!(values(TOTAL), [Some(json!(0)), Some(json!(1)), Some(json!(0))]);
    assert_eq!(values(NEW), [Some(json!(0)), Some(json!(1)), Some(json!(0))]);
}

#[test]
fn an_absent_value_is_skipped_and_a_wrong_one_malformed() {
    let metric = "measure = \"count_distinct\"\nvalue = \"user\"\nabsent = \"skip\"\n\
                  window = \"period\"\ntime = [\"at\"]\nrollup = \"merge\"";
    let at = json!({"S": "2026-03-01T11:30:00Z"});
    for (row, expected) in [
        (json!({"at": at, "user": {"S": "a"}}), (Some(1), 1, 0)),
        (json!({"at": at}), (Some(0), 0, 0)),
        (json!({"user": {"S": "a"}}), (Some(0), 0, 0)),
        (json!({"at": at, "user": {"N": "1"}}), (None, 1, 1)),
    ] {
        let folded = fold(metric, std::slice::from_ref(&row));
        let found =
            (folded.values[0].as_ref().and_then(Json::as_u64), folded.rows, folded.malformed);
        assert_eq!(found, expected, "{row}");
    }
}
