//! The tokens with which the API can be called. Only their digests are known.

use std::fmt;

use super::variables::is_made_of;

/// An API token: the name of its owner, and its digest.
#[derive(Clone)]
pub struct ApiToken {
    /// The owner, for the log.
    pub name: String,
    /// The SHA-256 digest of the token.
    pub digest: [u8; 32],
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiToken").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ApiToken {
    /// Reads all of `API_TOKENS`.
    pub(super) fn parse_all(text: &str) -> Option<Vec<Self>> {
        text.split(',').map(|entry| Self::parse(entry.trim())).collect()
    }

    fn parse(entry: &str) -> Option<Self> {
        let (name, digest) = entry.split_once(':')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let digest = is_made_of(name, 64, is_name).then(|| sha256_hex(digest))??;
        Some(Self { name: name.to_owned(), digest })
    }
}

/// The SHA-256 digest of the health token.
#[derive(Clone, Copy)]
pub struct HealthToken(pub [u8; 32]);

impl fmt::Debug for HealthToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HealthToken").finish_non_exhaustive()
    }
}

impl HealthToken {
    /// Reads `HEALTH_TOKEN`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        sha256_hex(text).map(Self)
    }
}

fn sha256_hex(text: &str) -> Option<[u8; 32]> {
    if !(text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit())) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
