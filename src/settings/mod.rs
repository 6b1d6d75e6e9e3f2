//! The Worker's configuration: variables and secrets, checked before anything uses them.
//!
//! An error names the variable and what is expected of it, never its value.

mod options;

use std::{fmt, time::Duration};

pub use options::{Budget, Options, Prices};

use crate::{
    dynamodb::{Connection, Credentials, TableName, is_region, regional_endpoint},
    metrics::{
        period::Granularity,
        retention::{MAXIMUM_DAYS, Retention},
    },
};

/// Everything the Worker is configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where DynamoDB is and who asks: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `DYNAMODB_ENDPOINT`.
    pub connection: Connection,
    /// The platform's table, by its name or its ARN: `DYNAMODB_TABLE`.
    pub table: String,
    /// Who may call with a token: `API_TOKENS`.
    pub api_tokens: Vec<ApiToken>,
    /// The web origins that may call with credentials: `ALLOWED_ORIGINS`.
    pub allowed_origins: Vec<String>,
    /// The SHA-256 digest of the token with which `GET /health` can be asked without being an
    /// administrator: `HEALTH_TOKEN`.
    pub health_token: Option<HealthToken>,
    /// What is decided about runs: `RETENTION_HOURLY_DAYS`, `RETENTION_DAILY_DAYS`,
    /// `RETENTION_WEEKLY_DAYS`, `RETENTION_MONTHLY_DAYS`, `TRAILING_HOURS`,
    /// `MAXIMUM_LATENESS`, `CATCH_UP_REQUESTS`, `CATCH_UP_SECONDS`, `READ_UNITS_PRICE`, `WRITE_UNITS_PRICE`.
    pub options: Options,
    /// The cron expression of the events that refresh the realtime counters: `REALTIME_CRON`.
    pub realtime_cron: String,
}

/// The cron expression of the events that refresh the realtime counters, as in `wrangler.toml`.
const REALTIME_CRON: &str = "*/5 * * * *";

/// The SHA-256 digest of the health token.
#[derive(Clone, Copy)]
pub struct HealthToken(pub [u8; 32]);

impl fmt::Debug for HealthToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HealthToken").finish_non_exhaustive()
    }
}

/// An API token: the name of its owner and the SHA-256 digest of the token.
#[derive(Clone)]
pub struct ApiToken {
    /// Whose it is, for the log.
    pub name: String,
    /// The token's SHA-256 digest.
    pub digest: [u8; 32],
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiToken").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One variable that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: &'static str,
    /// Whether it is there at all.
    pub is_missing: bool,
    /// What is expected.
    pub expected: &'static str,
}

/// The variables that are missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Misconfigured(pub Vec<Problem>);

impl fmt::Display for Misconfigured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let state = if problem.is_missing { "missing" } else { "malformed" };
            let Problem { variable, expected, .. } = problem;
            write!(formatter, "{separator}{variable} is {state}: set it to {expected}")?;
        }
        Ok(())
    }
}

/// Reads variables and remembers what is wrong with them.
struct Reader<Lookup> {
    lookup: Lookup,
    problems: Vec<Problem>,
}

impl<Lookup: Fn(&str) -> Option<String>> Reader<Lookup> {
    /// The variable's value; an empty one counts as absent.
    fn value(&self, variable: &'static str) -> Option<String> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    fn optional<T>(
        &mut self,
        variable: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(variable)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.problems.push(Problem { variable, is_missing: false, expected });
        }
        parsed
    }

    fn required<T>(
        &mut self,
        variable: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.value(variable).is_none() {
            self.problems.push(Problem { variable, is_missing: true, expected });
        }
        self.optional(variable, expected, parse)
    }
}

impl Settings {
    /// Reads the settings through `lookup`, which answers a variable's value.
    ///
    /// # Errors
    ///
    /// Every variable that is missing or malformed.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Misconfigured> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let endpoint = reader.optional(
            "DYNAMODB_ENDPOINT",
            "an http or https URL without user, path or query, or leave it unset",
            |text| origin(text.strip_suffix('/').unwrap_or(text)),
        );
        let (table, region) = table_and_region(&mut reader);
        let access_key_id =
            reader.required("AWS_ACCESS_KEY_ID", "an AWS access key id", |text| visible(text, 256));
        let secret_access_key =
            reader.required("AWS_SECRET_ACCESS_KEY", "the secret of the AWS access key", |text| {
                visible(text, 256)
            });
        let session_token = reader.optional(
            "AWS_SESSION_TOKEN",
            "the session token of temporary credentials, or leave it unset",
            |text| visible(text, 8192),
        );
        let api_tokens =
            reader.required("API_TOKENS", "comma-separated name:sha256-hex-of-the-token", |text| {
                text.split(',').map(|entry| api_token(entry.trim())).collect()
            });
        let allowed_origins = reader.optional(
            "ALLOWED_ORIGINS",
            "comma-separated origins such as https://admin.example.com, or leave it unset",
            |text| text.split(',').map(|entry| origin(entry.trim())).collect(),
        );
        let health_token = reader.optional(
            "HEALTH_TOKEN",
            "the SHA-256 of a token, in hexadecimal, or leave it unset",
            |text| sha256_hex(text).map(HealthToken),
        );
        let options = options(&mut reader);
        let realtime_cron = reader.optional(
            "REALTIME_CRON",
            "the cron expression in wrangler.toml that is not that of a period, such as \
             */5 * * * *, or leave it unset",
            realtime_cron,
        );
        let problems = std::mem::take(&mut reader.problems);
        match (region, access_key_id, secret_access_key, table, api_tokens) {
            (Some(region), Some(id), Some(secret), Some(table), Some(api_tokens))
                if problems.is_empty() =>
            {
                let endpoint = endpoint.unwrap_or_else(|| regional_endpoint(&region));
                let credentials = Credentials::new(id, secret, session_token);
                Ok(Self {
                    connection: Connection { region, endpoint, credentials },
                    table,
                    api_tokens,
                    allowed_origins: allowed_origins.unwrap_or_default(),
                    health_token,
                    options,
                    realtime_cron: realtime_cron.unwrap_or_else(|| REALTIME_CRON.to_owned()),
                })
            }
            _ => Err(Misconfigured(problems)),
        }
    }
}

/// The table and its region. The region of a table that is named by its ARN is in there already.
fn table_and_region<Lookup: Fn(&str) -> Option<String>>(
    reader: &mut Reader<Lookup>,
) -> (Option<String>, Option<String>) {
    const REGION: &str = "AWS_REGION";
    const EXPECTED: &str = "the table's region, such as eu-central-1";
    // Of a DynamoDB elsewhere the region is only part of the signature, and can be called anything.
    let is_elsewhere = reader.value("DYNAMODB_ENDPOINT").is_some();
    let is_valid = |text: &str| {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        is_region(text) || (is_elsewhere && is_made_of(text, 32, is_allowed))
    };
    let table = reader.required(
        "DYNAMODB_TABLE",
        "the table's name (3 to 255 letters, digits, '_', '-' or '.') or its ARN, such as \
         arn:aws:dynamodb:eu-central-1:111122223333:table/platform",
        TableName::parse,
    );
    let in_arn = table.as_ref().and_then(|table| table.region.clone());
    let region = match &in_arn {
        None => reader.required(REGION, EXPECTED, |text| is_valid(text).then(|| text.to_owned())),
        Some(in_arn) => reader
            .optional(
                REGION,
                "the region in the ARN that DYNAMODB_TABLE is set to, or leave it unset",
                |text| (text == in_arn).then(|| text.to_owned()),
            )
            .or_else(|| Some(in_arn.clone())),
    };
    (table.map(|table| table.text), region)
}

/// What is decided about runs; what is not set is as by default.
fn options<Lookup: Fn(&str) -> Option<String>>(reader: &mut Reader<Lookup>) -> Options {
    const DAYS: &str = "a whole number of days up to 36500; 0 keeps for ever";
    let by_default = Options::default();
    let mut number = |variable, expected, maximum: u64, default: u64| {
        reader.optional(variable, expected, |text| whole_number(text, maximum)).unwrap_or(default)
    };
    let mut days = |variable, default: u32| {
        let days = number(variable, DAYS, u64::from(MAXIMUM_DAYS), u64::from(default));
        u32::try_from(days).unwrap_or(default)
    };
    let Retention { hourly, daily, weekly, monthly } = by_default.retention;
    let retention = Retention {
        hourly: days("RETENTION_HOURLY_DAYS", hourly),
        daily: days("RETENTION_DAILY_DAYS", daily),
        weekly: days("RETENTION_WEEKLY_DAYS", weekly),
        monthly: days("RETENTION_MONTHLY_DAYS", monthly),
    };
    let trailing_hours = usize::try_from(number(
        "TRAILING_HOURS",
        "a whole number of hours up to 48",
        48,
        by_default.trailing_hours as u64,
    ))
    .unwrap_or(by_default.trailing_hours);
    let maximum_lateness = Duration::from_secs(
        60 * number(
            "MAXIMUM_LATENESS",
            "a whole number of minutes up to 59",
            59,
            by_default.maximum_lateness.as_secs() / 60,
        ),
    );
    let budget = Budget {
        requests: number(
            "CATCH_UP_REQUESTS",
            "a whole number of requests up to 10000",
            10_000,
            by_default.budget.requests,
        ),
        time: Duration::from_secs(number(
            "CATCH_UP_SECONDS",
            "a whole number of seconds up to 800",
            800,
            by_default.budget.time.as_secs(),
        )),
    };
    let mut price = |variable, default| {
        reader
            .optional(variable, "USD for a million units, such as 0.125", price)
            .unwrap_or(default)
    };
    let prices = Prices {
        read: price("READ_UNITS_PRICE", by_default.prices.read),
        write: price("WRITE_UNITS_PRICE", by_default.prices.write),
    };
    Options { retention, trailing_hours, maximum_lateness, budget, prices }
}

/// Five fields that are not those of a period's event. Days and months may be names.
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

fn whole_number(text: &str, maximum: u64) -> Option<u64> {
    let digits = is_made_of(text, 8, |byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| *number <= maximum)
}

fn price(text: &str) -> Option<f64> {
    let plain = is_made_of(text, 16, |byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok())?.filter(|price: &f64| price.is_finite())
}

fn is_made_of(text: &str, maximum: usize, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= maximum && text.bytes().all(allowed)
}

fn visible(text: &str, maximum: usize) -> Option<String> {
    is_made_of(text, maximum, |byte| byte.is_ascii_graphic()).then(|| text.to_owned())
}

/// A web origin: scheme, host and perhaps a port, nothing else.
fn origin(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority()?.as_str();
    let bare = format!("{scheme}://{authority}");
    (!authority.contains('@') && bare == text).then_some(bare)
}

fn api_token(entry: &str) -> Option<ApiToken> {
    let (name, digest) = entry.split_once(':')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let digest = is_made_of(name, 64, is_name).then(|| sha256_hex(digest))??;
    Some(ApiToken { name: name.to_owned(), digest })
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

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn lookup(
        change: &'static str,
        value: Option<&'static str>,
    ) -> impl Fn(&str) -> Option<String> {
        move |variable| {
            if variable == change {
                return value.map(str::to_owned);
            }
            match variable {
                "AWS_REGION" => Some("eu-central-1".to_owned()),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
                "DYNAMODB_TABLE" => Some("platform".to_owned()),
                "API_TOKENS" => Some(format!("ops:{DIGEST}")),
                _ => None,
            }
        }
    }

    #[test]
    fn the_regional_endpoint_is_the_default() {
        let settings = Settings::read(lookup("", None)).unwrap();
        assert_eq!(settings.connection.endpoint, "https://dynamodb.eu-central-1.amazonaws.com");
        assert!(settings.allowed_origins.is_empty());
    }

    /// Source of the hosts: the regions' pages of AWS's documentation and partitions.json of its SDKs.
    #[test]
    fn every_partition_has_its_domain() {
        for (region, endpoint) in [
            ("us-east-1", "https://dynamodb.us-east-1.amazonaws.com"),
            ("ap-southeast-5", "https://dynamodb.ap-southeast-5.amazonaws.com"),
            ("mx-central-1", "https://dynamodb.mx-central-1.amazonaws.com"),
            ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
            ("cn-northwest-1", "https://dynamodb.cn-northwest-1.amazonaws.com.cn"),
            ("us-gov-west-1", "https://dynamodb.us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", "https://dynamodb.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://dynamodb.us-isob-east-1.sc2s.sgov.gov"),
            ("us-isof-south-1", "https://dynamodb.us-isof-south-1.csp.hci.ic.gov"),
            ("eu-isoe-west-1", "https://dynamodb.eu-isoe-west-1.cloud.adc-e.uk"),
            ("eusc-de-east-1", "https://dynamodb.eusc-de-east-1.amazonaws.eu"),
        ] {
            let settings = Settings::read(lookup("AWS_REGION", Some(region))).unwrap();
            assert_eq!(settings.connection.endpoint, endpoint);
            assert_eq!(settings.connection.region, region);
        }
    }

    #[test]
    fn what_is_no_region_is_refused_unless_dynamodb_is_elsewhere() {
        for region in [
            "eu-central",
            "eu-central-",
            "-central-1",
            "eu--1",
            "eu-central-1a",
            "eu-central-123",
            "EU-CENTRAL-1",
            "eu_central_1",
            "eu-central-1.example.com",
            "eu-central-1/",
            "eu-central-1-",
            "europe-central-1",
            "e-central-1",
            "us-gov-west-extra-1",
            "local",
            "1",
        ] {
            let Misconfigured(problems) =
                Settings::read(lookup("AWS_REGION", Some(region))).unwrap_err();
            let names: Vec<_> =
                problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
            assert_eq!(names, [("AWS_REGION", false)], "{region}");
        }
        let elsewhere = |variable: &str| match variable {
            "DYNAMODB_ENDPOINT" => Some("http://localhost:8000".to_owned()),
            _ => lookup("AWS_REGION", Some("local"))(variable),
        };
        let settings = Settings::read(elsewhere).unwrap();
        assert_eq!(settings.connection.region, "local");
        assert_eq!(settings.connection.endpoint, "http://localhost:8000");
    }

    /// The variables with this table and this region.
    fn table_in(
        table: &'static str,
        region: Option<&'static str>,
    ) -> impl Fn(&str) -> Option<String> {
        move |variable| match variable {
            "DYNAMODB_TABLE" => Some(table.to_owned()),
            _ => lookup("AWS_REGION", region)(variable),
        }
    }

    #[test]
    fn an_arn_names_the_table_and_its_region() {
        for (arn, region, endpoint) in [
            (
                "arn:aws:dynamodb:eu-central-1:111122223333:table/platform",
                "eu-central-1",
                "https://dynamodb.eu-central-1.amazonaws.com",
            ),
            (
                "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/a.b_c-D1",
                "cn-north-1",
                "https://dynamodb.cn-north-1.amazonaws.com.cn",
            ),
            (
                "arn:aws-us-gov:dynamodb:us-gov-east-1:000000000001:table/abc",
                "us-gov-east-1",
                "https://dynamodb.us-gov-east-1.amazonaws.com",
            ),
        ] {
            for set in [None, Some(region)] {
                let settings = Settings::read(table_in(arn, set)).unwrap();
                assert_eq!(settings.table, arn);
                assert_eq!(settings.connection.region, region);
                assert_eq!(settings.connection.endpoint, endpoint);
            }
        }
    }

    #[test]
    fn an_arn_of_another_region_names_both_variables() {
        let arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/platform";
        for region in ["eu-west-1", "eu-central-2", "Frankfurt"] {
            let error = Settings::read(table_in(arn, Some(region))).unwrap_err();
            assert_eq!(
                error.to_string(),
                "AWS_REGION is malformed: set it to the region in the ARN that DYNAMODB_TABLE is \
                 set to, or leave it unset"
            );
        }
    }

    #[test]
    fn what_is_no_tables_arn_is_refused() {
        for arn in [
            "arn:aws:dynamodb:eu-central-1:111122223333:table/",
            "arn:aws:dynamodb:eu-central-1:111122223333:table/ab",
            "arn:aws:dynamodb:eu-central-1:111122223333:table/platform/index/GSI1",
            "arn:aws:dynamodb:eu-central-1:111122223333:table/platform/stream/2026",
            "arn:aws:dynamodb:eu-central-1:111122223333:platform",
            "arn:aws:dynamodb:eu-central-1:11112222333:table/platform",
            "arn:aws:dynamodb:eu-central-1:11112222333x:table/platform",
            "arn:aws:dynamodb:eu-central-1::table/platform",
            "arn:aws:dynamodb::111122223333:table/platform",
            "arn:aws:dynamodb:nowhere:111122223333:table/platform",
            "arn:aws:s3:eu-central-1:111122223333:table/platform",
            "arn:aws:dynamodb:eu-central-1:111122223333:table/platform:x",
            "arn:aws-cn:dynamodb:eu-central-1:111122223333:table/platform",
            "arn:aws:dynamodb:cn-north-1:111122223333:table/platform",
            "arn::dynamodb:eu-central-1:111122223333:table/platform",
            "aws:dynamodb:eu-central-1:111122223333:table/platform",
            "ab",
        ] {
            let Misconfigured(problems) =
                Settings::read(table_in(arn, Some("eu-central-1"))).unwrap_err();
            let names: Vec<_> =
                problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
            assert_eq!(names, [("DYNAMODB_TABLE", false)], "{arn}");
        }
    }

    #[test]
    fn what_is_decided_about_runs_has_defaults() {
        let settings = Settings::read(lookup("", None)).unwrap();
        assert_eq!(settings.options, Options::default());
        assert_eq!(settings.realtime_cron, "*/5 * * * *");
        let settings = Settings::read(lookup("RETENTION_DAILY_DAYS", Some("0"))).unwrap();
        assert_eq!(settings.options.retention, Retention { daily: 0, ..Retention::default() });
        let settings = Settings::read(lookup("READ_UNITS_PRICE", Some("0.25"))).unwrap();
        assert!((settings.options.prices.read - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn every_required_variable_is_named_when_it_is_missing() {
        for variable in [
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "DYNAMODB_TABLE",
            "API_TOKENS",
        ] {
            for value in [None, Some("")] {
                let Misconfigured(problems) = Settings::read(lookup(variable, value)).unwrap_err();
                let names: Vec<_> =
                    problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
                assert_eq!(names, [(variable, true)]);
            }
        }
    }

    #[test]
    fn a_malformed_variable_is_named_and_its_value_is_not() {
        for (variable, value) in [
            ("AWS_REGION", "Frankfurt am Main"),
            ("AWS_SECRET_ACCESS_KEY", "two words"),
            ("DYNAMODB_TABLE", "a/b/c"),
            ("DYNAMODB_ENDPOINT", "ftp://hidden.example.com"),
            ("DYNAMODB_ENDPOINT", "http://user:hidden@localhost:8000"),
            ("DYNAMODB_ENDPOINT", "http://localhost:8000/hidden"),
            ("API_TOKENS", "hidden"),
            ("API_TOKENS", "ops:0123"),
            ("ALLOWED_ORIGINS", "*"),
            ("ALLOWED_ORIGINS", "https://admin.example.com/hidden"),
            ("HEALTH_TOKEN", "hidden"),
            ("RETENTION_HOURLY_DAYS", "36501"),
            ("RETENTION_MONTHLY_DAYS", "-1"),
            ("TRAILING_HOURS", "three"),
            ("MAXIMUM_LATENESS", "60"),
            ("CATCH_UP_REQUESTS", "10001"),
            ("CATCH_UP_SECONDS", "1e2"),
            ("READ_UNITS_PRICE", "0,125"),
            ("WRITE_UNITS_PRICE", "-0.625"),
            ("REALTIME_CRON", "every five minutes or so"),
            ("REALTIME_CRON", "0 * * * *"),
        ] {
            let error = Settings::read(lookup(variable, Some(value))).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{variable} is malformed")), "{text}");
            assert!(!text.contains(value), "{text}");
            assert!(!text.contains("hidden"), "{text}");
        }
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let settings = Settings::read(lookup("AWS_SECRET_ACCESS_KEY", Some("swordfish"))).unwrap();
        let text = format!("{settings:?}");
        assert!(!text.contains("swordfish") && !text.contains(&DIGEST[..8]), "{text}");
    }
}
