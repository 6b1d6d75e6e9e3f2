//! The definition of the platform's table.

use serde_json::{Value, json};

/// The body of a `CreateTable` request: table and indexes of the gallery, on-demand.
///
/// `with_stream` adds the stream of new and old images that the platform's table has; without it,
/// imports into a local DynamoDB are much faster.
#[must_use]
pub fn table_definition(table_name: &str, with_stream: bool) -> Value {
    let mut attributes = vec![attribute("PK", "S"), attribute("SK", "S")];
    let mut indexes = Vec::new();
    for number in 1..=9 {
        let (pk, sk) = (format!("GSI{number}PK"), format!("GSI{number}SK"));
        attributes.push(attribute(&pk, "S"));
        attributes.push(attribute(&sk, if number == 6 { "N" } else { "S" }));
        indexes.push(json!({
            "IndexName": format!("GSI{number}"),
            "KeySchema": key_schema(&pk, &sk),
            "Projection": {"ProjectionType": "ALL"},
        }));
    }
    let mut definition = json!({
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": attributes,
        "KeySchema": key_schema("PK", "SK"),
        "GlobalSecondaryIndexes": indexes,
    });
    if with_stream {
        definition["StreamSpecification"] =
            json!({"StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES"});
    }
    definition
}

fn attribute(name: &str, kind: &str) -> Value {
    json!({"AttributeName": name, "AttributeType": kind})
}

fn key_schema(pk: &str, sk: &str) -> Value {
    json!([
        {"AttributeName": pk, "KeyType": "HASH"},
        {"AttributeName": sk, "KeyType": "RANGE"},
    ])
}
