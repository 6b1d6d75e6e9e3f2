//! Who may call: the bearer of an API token, or an administrator with a session of the platform;
//! where there are no figures, also the bearer of the health token.
//!
//! Source: the platform's contract, section 5.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::FromRequestParts;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, header, request::Parts};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    dynamodb::{AttributeValue, Item, Read, key, text},
    metrics::{numbers, period::parse_instant, row::truth_of},
    settings::{ApiToken, HealthToken},
};

use super::{App, error::ApiError};

/// The cookie of the platform that holds the session's id.
const SESSION_COOKIE: &str = "user_session";

/// The longest token or session id that is looked at; ours and the platform's are far shorter.
const MAXIMUM_CREDENTIAL_BYTES: usize = 512;

/// The length of an API token in hexadecimal, made as the documentation says: `openssl rand -hex 32`.
const API_TOKEN_DIGITS: usize = 64;

/// How long the result of looking a session up is kept.
const SESSION_MEMORY: TimeDelta = TimeDelta::seconds(60);

/// How many results are kept at most; at this number the memory starts afresh.
const MAXIMUM_REMEMBERED: usize = 1000;

/// A caller who may see the figures. As a handler's argument it lets nobody else in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administrator {
    /// The bearer of an API token, by the token's name.
    Token(String),
    /// A user of the platform with the role `admin`.
    User,
}

/// What a session was found to be.
#[derive(Debug, Clone, Copy)]
struct Session {
    expires_at: DateTime<Utc>,
    is_administrator: bool,
    looked_up_at: DateTime<Utc>,
}

/// Sessions that were looked up in the last minute, by the digest of their id.
#[derive(Debug, Clone, Default)]
pub struct SessionMemory(Arc<Mutex<HashMap<[u8; 32], Session>>>);

impl SessionMemory {
    fn recall(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Option<Session> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(digest).copied().filter(|session| now - session.looked_up_at < SESSION_MEMORY)
    }

    fn remember(&self, digest: [u8; 32], session: Session) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MAXIMUM_REMEMBERED {
            sessions.clear();
        }
        sessions.insert(digest, session);
    }
}

impl FromRequestParts<Arc<App>> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let credential = credential(&parts.headers).ok_or(ApiError::Unauthorized)?;
        let digest: [u8; 32] = Sha256::digest(credential.value.as_bytes()).into();
        if credential.is_bearer
            && let Some(token) = token_with(&app.settings.api_tokens, &digest)
        {
            return Ok(Self::Token(token.name.clone()));
        }
        let now = app.host.now();
        let session = if let Some(session) = app.sessions.recall(&digest, now) {
            session
        } else if credential.is_bearer && !looks_like_a_session(&credential.value) {
            return Err(ApiError::Unauthorized);
        } else {
            let found = look_up(app, &credential.value, now).await?;
            let session = found.ok_or(ApiError::Unauthorized)?;
            app.sessions.remember(digest, session);
            session
        };
        if session.expires_at <= now {
            return Err(ApiError::Unauthorized);
        }
        if session.is_administrator { Ok(Self::User) } else { Err(ApiError::Forbidden) }
    }
}

/// A caller who may see whether the runs keep up: an administrator, or the bearer of the health
/// token. As a handler's argument it lets nobody else in.
#[derive(Debug, Clone, Copy)]
pub struct HealthReader;

impl FromRequestParts<Arc<App>> for HealthReader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(HealthToken(digest)) = &app.settings.health_token
            && let Some(Credential { value, is_bearer: true }) = credential(&parts.headers)
            && bool::from(digest.ct_eq(&<[u8; 32]>::from(Sha256::digest(value.as_bytes()))))
        {
            return Ok(Self);
        }
        Administrator::from_request_parts(parts, app).await.map(|_| Self)
    }
}

/// The token with this digest. Every token is compared, each in constant time, so that the time
/// tells nothing.
fn token_with<'tokens>(
    tokens: &'tokens [ApiToken],
    digest: &[u8; 32],
) -> Option<&'tokens ApiToken> {
    tokens.iter().fold(None, |found, token| {
        if bool::from(token.digest.ct_eq(digest)) { Some(token) } else { found }
    })
}

struct Credential {
    value: String,
    is_bearer: bool,
}

/// What the caller sent: the bearer token or, where there is none, the session cookie. Another scheme
/// is meant for somebody else, such as a proxy before the Worker.
fn credential(headers: &HeaderMap) -> Option<Credential> {
    let bearer = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .find_map(|value| bearer_token(value.as_bytes()));
    let (value, is_bearer) = match bearer {
        Some(token) => (token, true),
        None => (session_cookie(headers)?, false),
    };
    let is_plausible = !value.is_empty()
        && value.len() <= MAXIMUM_CREDENTIAL_BYTES
        && value.iter().all(u8::is_ascii_graphic);
    let value = std::str::from_utf8(value).ok().filter(|_| is_plausible)?.to_owned();
    Some(Credential { value, is_bearer })
}

/// The token of the scheme `Bearer`, which may be empty; `None` with another scheme.
fn bearer_token(authorization: &[u8]) -> Option<&[u8]> {
    let mut parts = authorization.trim_ascii().splitn(2, |byte| *byte == b' ');
    let scheme = parts.next()?;
    let token = parts.next().unwrap_or_default().trim_ascii();
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// The value of the session cookie, without the double quotes that may be around it.
///
/// Source: [RFC 6265, section 4.1.1](https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1).
fn session_cookie(headers: &HeaderMap) -> Option<&[u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        // Cookie by cookie, as another one may hold what is no ASCII.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|cookie| {
            let mut parts = cookie.trim_ascii().splitn(2, |byte| *byte == b'=');
            Some((parts.next()?, parts.next()?))
        })
        .find_map(|(name, value)| (name == SESSION_COOKIE.as_bytes()).then_some(value))
        .map(|value| {
            value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
        })
}

/// Whether a bearer token can be the id of a session: a UUID, or random bytes as text. It is none if it
/// looks like an API token, so that guessing those costs no read.
fn looks_like_a_session(bearer: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_api_token =
        bearer.len() == API_TOKEN_DIGITS && bearer.bytes().all(|digit| digit.is_ascii_hexdigit());
    (20..=128).contains(&bearer.len()) && bearer.bytes().all(is_id) && !is_api_token
}

/// Looks up a session and its user; `None` if there is no such session or the user is not active.
async fn look_up(
    app: &App,
    session_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<Session>, ApiError> {
    let get = async |partition: String| {
        let key = key(partition, "METADATA");
        app.client.get(&app.settings.table, key, Read::Eventual).await
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
    Ok(is_active(&user).then(|| Session {
        expires_at,
        is_administrator: text(&user, "role") == Some("admin"),
        looked_up_at: now,
    }))
}

/// The instant in an attribute: in RFC 3339, or as seconds or milliseconds since 1970, which may be a
/// string too.
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

/// Whether the user may sign in. What cannot be understood does not let anybody in.
fn is_active(user: &Item) -> bool {
    matches!(truth_of(user, "isActive"), Ok(Some(true)))
}
