//! Single changes, with the deltas written down by hand.

use serde_json::json;

use super::*;

const TOTAL: &str = "measure = \"count\"\nwindow = \"to_date\"\ntime = [\"at\"]\nrollup = \"last\"";
const NEW: &str = "measure = \"count\"\nwindow = \"period\"\ntime = [\"at\"]\nrollup = \"sum\"";
const PUBLIC: &str = "measure = \"count\"\nwindow = \"to_date\"\ntime = [\"at\"]\nrollup = \"last\"\n\
                      where = { flag = true }";
const DONE: &str = "measure = \"count\"\nwindow = \"to_date\"\ntime = [\"doneAt\", \"at\"]\n\
                    rollup = \"last\"\nwhere = { state = \"done\" }";
const PLANS: &str = "measure = \"count\"\nwindow = \"now\"\nrollup = \"last\"\n\
                     where = { endsAt = { after_period = true } }";

fn item(attributes: &Json) -> Item {
    let mut all = json!({"kind": {"S": "POST"}, "createdAtKey": {"S": "key"}});
    all.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
    let all: std::collections::HashMap<String, AttributeValue> = all
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), serde_json::from_value(value.clone()).unwrap()))
        .collect();
    Item::from(all)
}

/// An attribute with a time on 2026-03-01.
fn at(time: &str) -> Json {
    json!({"S": format!("2026-03-01T{time}:00.000Z")})
}

/// The deltas of a change at a time of 2026-03-01: hours of that day, and counts.
fn deltas(metric: &str, old: Option<Json>, new: Option<Json>, committed: &str) -> Vec<(Hour, i64)> {
    let catalogue = fixture(&format!(
        "[[metrics]]\ntype = \"things\"\nname = \"metric\"\nsource = \"posts\"\n{metric}"
    ));
    let (old, new) = (old.map(|old| item(&old)), new.map(|new| item(&new)));
    let committed = format!("2026-03-01T{committed}:00Z").parse().unwrap();
    let change = Change { old: old.as_ref(), new: new.as_ref(), committed };
    let day = hour_of("2026-03-01T00:00:00Z".parse().unwrap());
    let found = DeltaMaker::new(&catalogue, catalogue.metrics()).of(&change).deltas;
    let mut found: Vec<(Hour, i64)> =
        found.iter().map(|delta| (delta.hour - day, delta.count)).collect();
    found.sort_unstable();
    found
}

#[test]
fn a_new_item_arrives_at_its_time_however_late_it_shows() {
    let new = json!({"at": at("09:59")});
    assert_eq!(deltas(TOTAL, None, Some(new.clone()), "12:00"), [(9, 1)]);
    assert_eq!(deltas(NEW, None, Some(new), "12:00"), [(9, 1)]);
}

#[test]
fn what_is_removed_leaves_a_stock_then_and_has_happened() {
    let old = json!({"at": at("09:59")});
    assert_eq!(deltas(TOTAL, Some(old.clone()), None, "12:00"), [(12, -1)]);
    assert_eq!(deltas(NEW, Some(old.clone()), None, "12:00"), []);
    assert_eq!(deltas(NEW, Some(old), None, "09:59"), [(9, -1)]);
}

#[test]
fn what_becomes_public_today_is_public_from_today_on() {
    let image = |flag: bool| json!({"at": at("03:00"), "flag": {"BOOL": flag}});
    assert_eq!(deltas(PUBLIC, Some(image(false)), Some(image(true)), "12:00"), [(12, 1)]);
    assert_eq!(deltas(PUBLIC, Some(image(true)), Some(image(false)), "12:00"), [(12, -1)]);
}

#[test]
fn an_order_that_completes_arrives_when_it_completed() {
    let open = json!({"at": at("03:00"), "state": {"S": "open"}});
    let done = json!({"at": at("03:00"), "doneAt": at("11:59"), "state": {"S": "done"}});
    assert_eq!(deltas(DONE, Some(open.clone()), Some(done.clone()), "12:00"), [(11, 1)]);
    // Without a time of its own it completes when the table changes.
    let untimed = json!({"at": at("03:00"), "state": {"S": "done"}});
    assert_eq!(deltas(DONE, Some(open), Some(untimed.clone()), "12:00"), [(12, 1)]);
    // Its time moves, but it has counted since then: nothing changes.
    assert_eq!(deltas(DONE, Some(untimed), Some(done), "12:00"), []);
}

#[test]
fn a_plan_that_ends_leaves_by_itself() {
    let plan = |ends: &str| json!({"endsAt": at(ends)});
    assert_eq!(deltas(PLANS, None, Some(plan("20:00")), "12:00"), [(12, 1), (20, -1)]);
    assert_eq!(
        deltas(PLANS, Some(plan("20:00")), Some(plan("22:00")), "12:00"),
        [(20, 1), (22, -1)]
    );
    assert_eq!(deltas(PLANS, Some(plan("20:00")), None, "12:00"), [(12, -1), (20, 1)]);
    // It has left already.
    assert_eq!(deltas(PLANS, Some(plan("10:00")), None, "12:00"), []);
    assert_eq!(deltas(PLANS, None, Some(plan("12:30")), "12:00"), []);
}

#[test]
fn what_is_in_the_future_waits_for_its_hour() {
    let new = json!({"at": at("15:00")});
    assert_eq!(deltas(TOTAL, None, Some(new.clone()), "12:00"), [(15, 1)]);
    assert_eq!(deltas(TOTAL, Some(new.clone()), None, "12:00"), [(15, -1)]);
    assert_eq!(deltas(NEW, Some(new), None, "12:00"), [(15, -1)]);
}

#[test]
fn an_item_past_its_time_to_live_no_longer_exists() {
    let seconds = |time: &str| {
        let at: DateTime<Utc> = format!("2026-03-01T{time}:00Z").parse().unwrap();
        json!({"N": at.timestamp().to_string()})
    };
    let new = json!({"at": at("09:00"), "expiresAt": seconds("14:00")});
    assert_eq!(deltas(TOTAL, None, Some(new.clone()), "09:00"), [(9, 1), (14, -1)]);
    // DynamoDB deletes it later: it has left.
    assert_eq!(deltas(TOTAL, Some(new.clone()), None, "20:00"), []);
    assert_eq!(deltas(NEW, None, Some(new), "09:00"), [(9, 1)]);
}

#[test]
fn malformed_items_are_counted_until_they_are_mended() {
    let catalogue = fixture(&format!(
        "[[metrics]]\ntype = \"things\"\nname = \"metric\"\nsource = \"posts\"\n{TOTAL}"
    ));
    let maker = DeltaMaker::new(&catalogue, catalogue.metrics());
    let (bad, good) = (item(&json!({"at": {"S": "noon"}})), item(&json!({"at": at("09:00")})));
    let committed = "2026-03-01T12:00:00Z".parse().unwrap();
    let of = |old, new| maker.of(&Change { old, new, committed });
    let malformed = |by: i64| BTreeMap::from([("metric", by)]);
    assert_eq!(of(None, Some(&bad)).malformed, malformed(1));
    let mended = of(Some(&bad), Some(&good));
    assert_eq!(mended.malformed, malformed(-1));
    assert_eq!(mended.deltas.len(), 1);
}
