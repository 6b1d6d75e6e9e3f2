//! The Worker's configuration: variables and secrets, checked before anything uses them.
//!
//! An error names the variable, what is wrong with it and what is expected, with an example; never its
//! value, which may be a secret.

mod connection;
mod options;
mod problems;
mod tokens;
mod variables;

pub use options::{Budget, Options, Prices};
pub use problems::{Misconfigured, Problem};
pub use tokens::{ApiToken, HealthToken};

use connection::read_connection;
use options::read_options;
use variables::{VariableReader, is_made_of, origin};

use crate::{dynamodb::Connection, metrics::period::Granularity};

/// The cron expression of the events that refresh the realtime counters, as in `wrangler.toml`.
const DEFAULT_REALTIME_CRON: &str = "*/5 * * * *";

/// The whole configuration of the Worker.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How DynamoDB is called: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `DYNAMODB_ENDPOINT`.
    pub connection: Connection,
    /// The name or the ARN of the platform's table: `DYNAMODB_TABLE`.
    pub table: String,
    /// The tokens with which the API can be called: `API_TOKENS`.
    pub api_tokens: Vec<ApiToken>,
    /// The web origins whose pages may call with credentials: `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// The token with which only `GET /health` can be called: `HEALTH_TOKEN`.
    pub health_token: Option<HealthToken>,
    /// Options of runs: `RETENTION_HOURLY_DAYS`, `RETENTION_DAILY_DAYS`, `RETENTION_WEEKLY_DAYS`,
    /// `RETENTION_MONTHLY_DAYS`, `TRAILING_HOURS`, `MAXIMUM_LATENESS`, `CATCH_UP_REQUESTS`,
    /// `CATCH_UP_SECONDS`, `READ_UNITS_PRICE`, `WRITE_UNITS_PRICE`.
    pub options: Options,
    /// The cron expression of the events that refresh the realtime counters: `REALTIME_CRON`.
    pub realtime_cron: String,
}

impl Settings {
    /// Reads the settings through `lookup`, which returns the value of a variable.
    ///
    /// # Errors
    ///
    /// Every variable that is missing or malformed.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Misconfigured> {
        let mut reader = VariableReader::new(lookup);
        let connection = read_connection(&mut reader);
        let api_tokens = reader.required(
            "API_TOKENS",
            "entries name:digest, separated by commas; a digest is the SHA-256 of a token in 64 \
             hexadecimal digits, as `printf %s \"$token\" | sha256sum` prints it",
            ApiToken::parse_all,
        );
        let allowed_origins = reader.optional(
            "ALLOWED_ORIGINS",
            "origins separated by commas, such as https://admin.example.com, or leave it unset",
            |text| text.split(',').map(|entry| origin(entry.trim())).collect(),
        );
        let health_token = reader.optional(
            "HEALTH_TOKEN",
            "the SHA-256 of a token in 64 hexadecimal digits, as `printf %s \"$token\" | \
             sha256sum` prints it, or leave it unset",
            HealthToken::parse,
        );
        let options = read_options(&mut reader);
        let realtime_cron = reader.optional(
            "REALTIME_CRON",
            "the cron expression in wrangler.toml that refreshes the realtime counters and starts \
             no scheduled run, such as */5 * * * *, or leave it unset",
            realtime_cron,
        );
        let problems = std::mem::take(&mut reader.problems);
        match (connection, api_tokens) {
            (Some((connection, table)), Some(api_tokens)) if problems.is_empty() => Ok(Self {
                connection,
                table,
                api_tokens,
                allowed_origins: allowed_origins.unwrap_or_default(),
                health_token,
                options,
                realtime_cron: realtime_cron.unwrap_or_else(|| DEFAULT_REALTIME_CRON.to_owned()),
            }),
            _ => Err(Misconfigured(problems)),
        }
    }
}

/// Five fields that are not those of a scheduled run. Days and months may be names.
fn realtime_cron(text: &str) -> Option<String> {
    let fields: Vec<&str> = text.split(' ').collect();
    let is_field = |(index, field): (usize, &&str)| {
        is_made_of(field, 64, |byte| {
            byte.is_ascii_digit()
                || b"*/,-".contains(&byte)
                || (index > 1 && (byte.is_ascii_uppercase() || byte == b'#'))
        })
    };
    let is_cron = fields.len() == 5 && fields.iter().enumerate().all(is_field);
    (is_cron && Granularity::from_cron(text).is_none()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
