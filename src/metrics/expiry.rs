//! Items with a time to live: expired items that DynamoDB has not deleted yet.
//!
//! DynamoDB deletes an expired item within days. Until then reads return it, and counting must
//! leave it out.
//!
//! Source: [Using time to live in DynamoDB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html).

use chrono::{DateTime, TimeDelta, Utc};

use serde_dynamo::{AttributeValue, Item};

use crate::metrics::numbers;

/// DynamoDB ignores an expiry that is more than five years ago and keeps the item.
const OLDEST: TimeDelta = TimeDelta::days(5 * 365 + 1);

/// When the item expires: the epoch second in the attribute. `None` if it never expires, because
/// the attribute is absent or not a number, which DynamoDB ignores.
#[must_use]
pub fn expiry_of(item: &Item, attribute: &str) -> Option<DateTime<Utc>> {
    let Some(AttributeValue::N(seconds)) = item.get(attribute) else { return None };
    let seconds = i64::try_from(numbers::parse_number(seconds)?.trunc()).ok()?;
    DateTime::from_timestamp(seconds, 0)
}

/// Whether an item that expires at `expiry` no longer exists at `at`. It exists up to the
/// millisecond before `expiry`.
#[must_use]
pub fn has_expired(expiry: DateTime<Utc>, at: DateTime<Utc>) -> bool {
    expiry <= at && at - expiry <= OLDEST
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_dynamo::AttributeValue::{N, S};

    use super::*;

    fn expiry(value: AttributeValue) -> Option<DateTime<Utc>> {
        expiry_of(&Item::from(HashMap::from([("ttl".to_owned(), value)])), "ttl")
    }

    #[test]
    fn an_expiry_is_a_number_of_seconds() {
        let at = |text: &str| Some(text.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(expiry(N("1772362800".to_owned())), at("2026-03-01T11:00:00Z"));
        assert_eq!(expiry(N("1772362800.9".to_owned())), at("2026-03-01T11:00:00Z"));
        assert_eq!(expiry(S("1772362800".to_owned())), None);
        assert_eq!(expiry(N("9E+99".to_owned())), None);
        assert_eq!(expiry_of(&Item::from(HashMap::new()), "ttl"), None);
    }

    #[test]
    fn an_item_expires_at_its_second_unless_that_is_five_years_ago() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let expiry = at("2026-03-01T11:00:00Z");
        for (instant, is_expired) in [
            ("2026-03-01T10:59:59.999Z", false),
            ("2026-03-01T11:00:00Z", true),
            ("2031-02-28T11:00:00Z", true),
            ("2031-03-02T11:00:00.001Z", false),
        ] {
            assert_eq!(has_expired(expiry, at(instant)), is_expired, "{instant}");
        }
    }
}
