//! Who may call: the bearer of an API token, or an administrator with a session of the platform;
//! `GET /health` also accepts the health token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::FromRequestParts;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, header, request::Parts};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    platform::{SESSION_COOKIE, Session, find_session, is_session_id},
    settings::{ApiToken, HealthToken},
};

use super::{App, error::ApiError};

/// The longest token or session id that is accepted. Valid ones are far shorter.
const MAXIMUM_CREDENTIAL_BYTES: usize = 512;

/// The length of an API token in hexadecimal, made as the documentation says: `openssl rand -hex 32`.
const API_TOKEN_DIGITS: usize = 64;

/// How long a session that was looked up is kept in memory.
const SESSION_MEMORY: TimeDelta = TimeDelta::seconds(60);

/// The most sessions in memory. At this number the memory is emptied.
const MAXIMUM_REMEMBERED: usize = 1000;

/// A caller who may read all metrics. As an argument of a handler it rejects everybody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administrator {
    /// The bearer of an API token, by the token's name.
    Token(String),
    /// A user of the platform with the role `admin`.
    User,
}

/// A session in memory.
#[derive(Debug, Clone, Copy)]
struct RememberedSession {
    session: Session,
    looked_up_at: DateTime<Utc>,
}

/// Sessions that were looked up in the last minute, by the digest of their id.
#[derive(Debug, Clone, Default)]
pub struct SessionMemory(Arc<Mutex<HashMap<[u8; 32], RememberedSession>>>);

impl SessionMemory {
    fn recall(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Option<Session> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let RememberedSession { session, looked_up_at } = sessions.get(digest).copied()?;
        (now - looked_up_at < SESSION_MEMORY).then_some(session)
    }

    fn remember(&self, digest: [u8; 32], session: Session, looked_up_at: DateTime<Utc>) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MAXIMUM_REMEMBERED {
            sessions.clear();
        }
        sessions.insert(digest, RememberedSession { session, looked_up_at });
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
        } else if credential.is_bearer && !can_be_session(&credential.value) {
            return Err(ApiError::Unauthorized);
        } else {
            let table = &app.settings.table;
            let found = find_session(&app.client, table, &credential.value, now).await?;
            let session = found.ok_or(ApiError::Unauthorized)?;
            app.sessions.remember(digest, session, now);
            session
        };
        if session.expires_at <= now {
            return Err(ApiError::Unauthorized);
        }
        if session.is_administrator { Ok(Self::User) } else { Err(ApiError::Forbidden) }
    }
}

/// A caller who may read the health of the runs: an administrator, or the bearer of the health token.
/// As an argument of a handler it rejects everybody else.
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

/// The token with this digest. Every token is compared, each in constant time, so that the time that
/// it takes says nothing about the tokens.
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

/// What the caller sent: the bearer token or, if there is none, the session cookie. A header of
/// another scheme is meant for something else, such as a proxy in front of the Worker.
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
        // As bytes: another cookie may contain what is not ASCII.
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

/// Whether a bearer token can be the id of a session. It cannot if it looks like an API token, so that
/// guessing those costs no read.
fn can_be_session(bearer: &str) -> bool {
    let is_api_token =
        bearer.len() == API_TOKEN_DIGITS && bearer.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_session_id(bearer) && !is_api_token
}
