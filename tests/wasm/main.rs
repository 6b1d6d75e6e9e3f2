//! What must be the same on wasm as on this machine: signing, periods, folding, packing. These tests
//! run on both.
//!
//! Run with `cargo test --test wasm`; on wasm with `cargo xtask test`.

mod signing_vectors;

use std::collections::BTreeMap;

use chrono::{TimeZone, Utc};
use edge_analytics::{
    dynamodb::Item,
    metrics::{
        catalogue::Catalogue,
        maker::Maker,
        part::{self, Part},
        period::{Granularity, Period},
        record::Record,
        retention::Retention,
        sketch::Distinct,
    },
    query::plan::plan,
};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn signatures_are_those_of_awss_vectors() {
    signing_vectors::check();
}

fn hour() -> Period {
    let instant = Utc.with_ymd_and_hms(2026, 3, 1, 23, 59, 59).unwrap();
    Period::containing(Granularity::Hourly, instant)
}

#[test]
fn the_embedded_catalogue_is_read() {
    assert!(!Catalogue::embedded().unwrap().metrics().is_empty());
}

/// A catalogue of one metric, the revenue of a period. There is no TOML parser on wasm.
fn revenue() -> Catalogue {
    let definition = json!({
        "ttl": null, "types": ["business"], "tables": {},
        "sources": {"orders": {
            "index": "GSI2", "keys": ["GSI2PK", "GSI2SK"], "partitions": ["ORDERS_BY_STATUS#completed"],
            "identity": null, "sort_key_time": null,
        }},
        "metrics": [{
            "type_name": "business", "name": "newRevenue", "rollup": "Sum", "moves": null,
            "measure": {"Sum": {
                "rows": {
                    "sources": {"orders": "orders"},
                    "conditions": {"status": {"Is": {"Text": "completed"}}},
                    "window": "Period", "time": ["completedAt", "createdAt"], "absent": "Malformed",
                },
                "value": {"Money": "amount"},
            }},
        }],
        "realtime": {"flows": [], "headlines": [], "recent": []},
    });
    Catalogue::new(serde_json::from_value(definition).unwrap())
}

#[test]
fn rows_are_folded_into_metrics() {
    let catalogue = revenue();
    let mut passes = plan(&catalogue, catalogue.metrics(), &[hour().into()], "platform");
    assert_eq!(passes.len(), 1);
    let mut fold = passes.remove(0).folds.remove(0);
    for (amount, at) in [
        (json!({"S": "10.10"}), "2026-03-01T23:00:00.000Z"),
        (json!({"N": "0.20"}), "2026-03-01T23:59:59.999Z"),
        (json!({"S": "5.00"}), "2026-03-02T00:00:00.000Z"),
        (json!({"S": "ten"}), "2026-03-01T23:30:00.000Z"),
    ] {
        let row = json!({
            "amount": amount, "createdAt": {"S": at}, "status": {"S": "completed"},
        });
        let row: Item = serde_json::from_value(row).unwrap();
        fold.add(&row);
    }
    assert_eq!(fold.malformed(), 1);
    let outcomes = fold.finish().unwrap();
    assert_eq!(outcomes[0].value, Some(json!(10.3)));
}

#[test]
fn records_and_their_parts_survive_storage() {
    let set = Distinct::of(["192.0.2.1", "192.0.2.2", "192.0.2.3"]).unwrap();
    let record = Record {
        metric_type: "users".to_owned(),
        period: hour(),
        metrics: json!({"visitors": 3, "newUsers": 0}).as_object().unwrap().clone(),
        parts: BTreeMap::from([("visitors".to_owned(), Part::distinct(&set))]),
        calculated_at: Utc.with_ymd_and_hms(2026, 3, 2, 0, 0, 1).unwrap(),
        coverage: None,
        reconstructed: std::collections::BTreeMap::new(),
        made_by: Maker::Items.into(),
    };
    assert_eq!(Record::from_item(record.to_item(&Retention::default()).unwrap()).unwrap(), record);
    let unpacked = part::unpack(&part::pack(&record.parts).unwrap()).unwrap();
    assert_eq!(unpacked["visitors"].as_distinct().unwrap().unwrap().count(), 3);
}
