//! The platform's users and sessions: the one place that knows their keys and attributes.
//!
//! A session is the item `SESSION#{sessionId}` / `METADATA` with `userId` and `expiresAt`; its user is
//! `USER#{userId}` / `METADATA` with `isActive` and `role`. For an application with other items, change
//! this file. What the metrics read of the platform is data, in `metrics.toml`.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use crate::{
    dynamodb::{AttributeValue, Client, DynamoDbError, Item, Read, key, text},
    metrics::{numbers, period::parse_instant, row::boolean_of},
};

/// The cookie in which a browser sends the id of its session.
pub const SESSION_COOKIE: &str = "user_session";

/// The `role` of a user who is an administrator.
const ADMINISTRATOR_ROLE: &str = "admin";

/// A session of an active user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The session is valid before this instant.
    pub expires_at: DateTime<Utc>,
    /// Whether its user is an administrator.
    pub is_administrator: bool,
}

/// Whether `text` can be the id of a session: a UUID, or random bytes as text.
#[must_use]
pub fn is_session_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (20..=128).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// Reads the session with this id, and its user. `None` if there is no such session, it has expired
/// at `now`, its user is not active, or an attribute cannot be parsed. Costs one or two reads.
///
/// # Errors
///
/// When DynamoDB fails.
pub async fn find_session(
    client: &Client,
    table: &str,
    session_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Session>, DynamoDbError> {
    let get = async |partition: String| {
        client.get(table, key(partition, "METADATA"), Read::Eventual).await
    };
    let Some(session) = get(format!("SESSION#{session_id}")).await? else { return Ok(None) };
    let expires_at = session.get("expiresAt").and_then(instant_in);
    let (Some(expires_at), Some(user_id)) = (expires_at, text(&session, "userId")) else {
        return Ok(None);
    };
    if expires_at <= now {
        return Ok(None);
    }
    let Some(user) = get(format!("USER#{user_id}")).await? else { return Ok(None) };
    let is_administrator = text(&user, "role") == Some(ADMINISTRATOR_ROLE);
    Ok(is_active(&user).then_some(Session { expires_at, is_administrator }))
}

/// The instant in an attribute: in RFC 3339, or as seconds or milliseconds since 1970, as a number or
/// a string.
fn instant_in(attribute: &AttributeValue) -> Option<DateTime<Utc>> {
    let (AttributeValue::S(text) | AttributeValue::N(text)) = attribute else { return None };
    parse_instant(text).or_else(|| {
        let number = numbers::parse_number(text)?;
        // As seconds this is the year 5138, as milliseconds 1973.
        let least_milliseconds = Decimal::from(100_000_000_000_i64);
        let milliseconds = if number < least_milliseconds {
            number.checked_mul(Decimal::ONE_THOUSAND)?
        } else {
            number
        };
        DateTime::from_timestamp_millis(i64::try_from(milliseconds.trunc()).ok()?)
    })
}

/// Whether the user may sign in.
fn is_active(user: &Item) -> bool {
    matches!(boolean_of(user, "isActive"), Ok(Some(true)))
}
