//! A single hour, of which much comes later than the scheduled runs look.

use edge_analytics::metrics::period::format_instant;
use serde_json::json;

use super::life::Change;
use support::timeline::at;

/// An item as it is from `shown` on.
fn put(shown: &str, (pk, sk): (&str, &str), item: &serde_json::Value) -> Change {
    let mut item = item.as_object().unwrap().clone();
    item.insert("PK".to_owned(), json!({ "S": pk }));
    item.insert("SK".to_owned(), json!({ "S": sk }));
    Change { item: Some(item), ..delete(shown, (pk, sk)) }
}

fn delete(at_time: &str, (pk, sk): (&str, &str)) -> Change {
    Change { at: at(at_time), key: (pk.to_owned(), sk.to_owned()), item: None }
}

fn user(id: &str, created: &str, active: bool) -> serde_json::Value {
    json!({
        "EntityType": {"S": "User"}, "userId": {"S": id}, "isActive": {"BOOL": active},
        "GSI3PK": {"S": "USER_USERNAME"}, "GSI3SK": {"S": id}, "plan": {"S": "free"},
        "createdAt": {"S": format_instant(at(created))},
    })
}

fn job(created: &str, status: &str, seconds: Option<u32>) -> serde_json::Value {
    let created = format_instant(at(created));
    let mut job = json!({
        "EntityType": {"S": "I2VJob"}, "status": {"S": status}, "createdAt": {"S": created},
        "GSI3PK": {"S": format!("I2VJOB_STATUS#{status}")}, "GSI3SK": {"S": created},
    });
    if let Some(seconds) = seconds {
        job["executionTime"] = json!({ "N": seconds.to_string() });
    }
    job
}

fn order(status: &str) -> serde_json::Value {
    json!({
        "EntityType": {"S": "Order"}, "status": {"S": status}, "amount": {"S": "10.00"},
        "GSI2PK": {"S": format!("ORDERS_BY_STATUS#{status}")},
        "GSI2SK": {"S": "2026-05-05T09:00:00.000Z#order"},
        "createdAt": {"S": "2026-05-05T09:00:00.000Z"},
        "completedAt": {"S": "2026-05-05T10:50:00.000Z"},
    })
}

/// All that happens in one hour, from 10:00 to 11:00 on 5 May, and what becomes of it.
pub fn one_hour() -> Vec<Change> {
    let metadata = |id: &'static str| (id, "METADATA");
    let like = json!({
        "EntityType": {"S": "UserInteraction"}, "interactionType": {"S": "like"},
        "GSI3PK": {"S": "INTERACTION#like"}, "GSI3SK": {"S": "2026-05-05T10:40:00.000Z"},
        "targetType": {"S": "media"}, "targetId": {"S": "lake"},
        "createdAt": {"S": "2026-05-05T10:40:00.000Z"},
    });
    let like_key = ("USER#first", "INTERACTION#like#lake");
    let second = |active| user("second", "2026-05-05T10:10", active);
    vec![
        put("2026-05-01T10:00", metadata("USER#first"), &user("first", "2026-05-01T10:00", true)),
        put("2026-05-05T10:10", metadata("USER#second"), &second(true)),
        put("2026-05-05T10:20", metadata("I2VJOB#a"), &job("2026-05-05T10:20", "IN_QUEUE", None)),
        put("2026-05-05T10:30", metadata("I2VJOB#b"), &job("2026-05-05T10:30", "IN_QUEUE", None)),
        put("2026-05-05T10:40", like_key, &like),
        put("2026-05-05T10:45", metadata("I2VJOB#c"), &job("2026-05-05T10:45", "IN_QUEUE", None)),
        // While runs still look at the hour: a job ends and is deleted.
        put(
            "2026-05-05T11:10",
            metadata("I2VJOB#c"),
            &job("2026-05-05T10:45", "COMPLETED", Some(9)),
        ),
        delete("2026-05-05T12:30", metadata("I2VJOB#c")),
        // Afterwards, and before it settles.
        put("2026-05-05T15:00", metadata("ORDER#order"), &order("completed")),
        put(
            "2026-05-05T16:00",
            metadata("I2VJOB#a"),
            &job("2026-05-05T10:20", "COMPLETED", Some(40)),
        ),
        delete("2026-05-05T16:30", like_key),
        put("2026-05-05T18:00", metadata("USER#second"), &second(false)),
        // When it has settled.
        put(
            "2026-05-07T22:30",
            metadata("I2VJOB#b"),
            &job("2026-05-05T10:30", "COMPLETED", Some(60)),
        ),
        put("2026-05-08T08:00", metadata("USER#second"), &second(true)),
    ]
}
