//! Prints how many items of each entity the cost measurement's platform has, what they weigh, and
//! how long it took to make: `cargo run --release -p sample-platform --example weigh`.

use std::{collections::BTreeMap, time::Instant};

use sample_platform::{Counts, for_each_item, generate_counts};
use serde_json::Value;

fn main() {
    let end = "2026-03-04T15:20:00Z".parse().expect("a valid instant");
    let started = Instant::now();
    for_each_item(&Counts::cost_measurement(), 60, 1, end, |_| ());
    println!("one by one in {:.1?}", started.elapsed());
    let started = Instant::now();
    let items = generate_counts(&Counts::cost_measurement(), 60, 1, end);
    println!("{} items in {:.1?}", items.len(), started.elapsed());

    let mut entities: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for item in &items {
        let entity =
            item.get("EntityType").and_then(|kind| kind["S"].as_str()).unwrap_or("visitor");
        let (count, bytes) = entities.entry(entity).or_default();
        *count += 1;
        *bytes += item.iter().map(|(name, value)| name.len() + weight(value)).sum::<usize>();
    }
    for (entity, (count, bytes)) in entities {
        println!("{entity:16} {count:6} items, {:4} bytes each", bytes / count);
    }
}

/// What DynamoDB charges for a value: strings by the byte, numbers by two digits, booleans 1.
fn weight(value: &Value) -> usize {
    match (value["S"].as_str(), value["N"].as_str()) {
        (Some(text), _) => text.len(),
        (_, Some(number)) => number.len().div_ceil(2) + 1,
        _ => 1,
    }
}
