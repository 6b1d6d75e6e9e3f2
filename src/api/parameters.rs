//! Query parameters and JSON fields: each at most once, no unknown ones, all limited and checked.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Datelike, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::json;

use crate::metrics::period::parse_instant;

use super::error::ApiError;

/// The longest query string that is parsed. Valid ones have a few hundred bytes.
const MAXIMUM_QUERY_BYTES: usize = 8 * 1024;

/// How much of an input an error repeats.
const MAXIMUM_ECHO_CHARACTERS: usize = 64;

/// The parameters of one request.
#[derive(Debug)]
pub struct Parameters(BTreeMap<String, String>);

/// The fields of a JSON object in order, including repeated ones.
struct Fields(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

impl Parameters {
    /// Reads `query`, in which only the parameters `known` may occur.
    ///
    /// # Errors
    ///
    /// When the query is too long or a parameter is unknown or repeated.
    pub fn parse(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        if query.len() > MAXIMUM_QUERY_BYTES {
            return Err(ApiError::bad_request(
                "Query string too long",
                format!("Use at most {MAXIMUM_QUERY_BYTES} bytes of query string"),
                json!({ "bytes": query.len() }),
            ));
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let name = echo(&name);
                let instead = match known {
                    [] => "Remove the query string: this endpoint takes no parameters".to_owned(),
                    known => format!("Use only the parameters {}", known.join(", ")),
                };
                return Err(ApiError::bad_request(
                    format!("Unknown parameter: {name}"),
                    instead,
                    json!({ "parameter": name }),
                ));
            }
            let name = name.into_owned();
            if parameters.contains_key(&name) {
                return Err(ApiError::bad_request(
                    format!("{name} is repeated"),
                    format!("Send {name} only once"),
                    json!({ "parameter": name }),
                ));
            }
            parameters.insert(name, value.into_owned());
        }
        Ok(Self(parameters))
    }

    /// Reads the JSON object `body`, in which only the fields `texts` and `flags` may occur: strings, and
    /// `true` or `false`.
    ///
    /// # Errors
    ///
    /// When the body is not a JSON object, or a field is unknown, repeated or of another type.
    pub fn from_json(body: &[u8], texts: &[&str], flags: &[&str]) -> Result<Self, ApiError> {
        let known: Vec<&str> = [texts, flags].concat();
        let Fields(fields) = serde_json::from_slice(body).map_err(|error| {
            ApiError::bad_request(
                "Invalid JSON body",
                format!("Send one JSON object with the fields {}", known.join(", ")),
                json!({
                    "line": error.line(), "column": error.column(),
                    "reason": echo(&error.to_string()),
                }),
            )
        })?;
        let mut parameters = BTreeMap::new();
        for (name, value) in fields {
            if !known.contains(&name.as_str()) {
                let name = echo(&name);
                return Err(ApiError::bad_request(
                    format!("Unknown field: {name}"),
                    format!("Use only the fields {}", known.join(", ")),
                    json!({ "parameter": name }),
                ));
            }
            let value = match value {
                serde_json::Value::String(value) if texts.contains(&name.as_str()) => value,
                serde_json::Value::Bool(value) if flags.contains(&name.as_str()) => {
                    value.to_string()
                }
                _ => return Err(wrong_type(&name, flags.contains(&name.as_str()))),
            };
            if parameters.contains_key(&name) {
                return Err(ApiError::bad_request(
                    format!("{name} is repeated"),
                    format!("Send {name} only once"),
                    json!({ "parameter": name }),
                ));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    /// An optional parameter.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A required parameter.
    ///
    /// # Errors
    ///
    /// When it is missing or empty.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.optional(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            ApiError::bad_request(
                format!("{name} is required"),
                format!("Add the parameter {name}"),
                json!({ "parameter": name }),
            )
        })
    }

    /// A required date or date-time.
    ///
    /// # Errors
    ///
    /// When it is missing or not an ISO 8601 date.
    pub fn required_instant(&self, name: &str) -> Result<DateTime<Utc>, ApiError> {
        read_instant(name, self.required(name)?)
    }

    /// An optional date or date-time.
    ///
    /// # Errors
    ///
    /// When it is not an ISO 8601 date.
    pub fn optional_instant(&self, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
        self.optional(name).map(|value| read_instant(name, value)).transpose()
    }

    /// An optional parameter that is `true` or `false`; `false` is the default.
    ///
    /// # Errors
    ///
    /// When it has another value.
    pub fn optional_flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.optional(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(ApiError::bad_request(
                format!("Invalid {name}. Must be one of: true, false"),
                format!("Set {name} to true, or remove it"),
                json!({ "parameter": name, "value": echo(other) }),
            )),
        }
    }

    /// An optional whole number from `least` to `most`.
    ///
    /// # Errors
    ///
    /// When it has another value.
    pub fn optional_number(
        &self,
        name: &str,
        least: u32,
        most: u32,
    ) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        // `parse` accepts a sign.
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u32> = is_number.then(|| value.parse().ok()).flatten();
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(ApiError::bad_request(
                format!("Invalid {name}. Must be a whole number from {least} to {most}"),
                format!("Set {name} to a whole number from {least} to {most}, or remove it"),
                json!({ "parameter": name, "value": echo(value) }),
            )),
        }
    }
}

fn wrong_type(name: &str, is_flag: bool) -> ApiError {
    let (what, how) = if is_flag {
        ("true or false", "true or false without quotes")
    } else {
        ("a string", "a string in double quotes")
    };
    ApiError::bad_request(
        format!("{name} must be {what}"),
        format!("Set {name} to {how}"),
        json!({ "parameter": name }),
    )
}

fn read_instant(name: &str, value: &str) -> Result<DateTime<Utc>, ApiError> {
    parse_date(value).ok_or_else(|| {
        ApiError::bad_request(
            format!("Invalid {name} format. Use ISO 8601 format"),
            format!(
                "Set {name} to a date such as 2026-03-01 (UTC), or to a date-time with its zone \
                 such as 2026-03-01T12:00:00Z or 2026-03-01T12:00:00+02:00"
            ),
            json!({ "parameter": name, "value": echo(value) }),
        )
    })
}

/// The error for a parameter whose value is not in its list of values.
#[must_use]
pub fn one_of(parameter: &str, value: &str, allowed: &[&str]) -> ApiError {
    let allowed = allowed.join(", ");
    ApiError::bad_request(
        format!("Invalid {parameter}. Must be one of: {allowed}"),
        format!("Set {parameter} to one of {allowed}"),
        json!({ "parameter": parameter, "value": echo(value) }),
    )
}

/// Input as an error repeats it: shortened, and without control characters.
#[must_use]
pub fn echo(input: &str) -> String {
    let mut echo: String = input
        .chars()
        .take(MAXIMUM_ECHO_CHARACTERS)
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect();
    if input.chars().nth(MAXIMUM_ECHO_CHARACTERS).is_some() {
        echo.push('…');
    }
    echo
}

/// Reads a date (midnight in UTC) or a date-time with its zone. A date-time without a zone is rejected:
/// it does not identify an instant.
fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    // The shortest is 2026-03-01, the longest has nanoseconds and an offset.
    if !text.is_ascii() || text.len() < 10 || text.len() > 40 {
        return None;
    }
    if text.len() == 10 {
        let shape = text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        return shape.then(|| parse_instant(&format!("{text}T00:00:00Z"))).flatten();
    }
    // The plus sign of an offset arrives as a space if it was not percent-encoded. RFC 3339 also allows
    // a space instead of the T between date and time; it is rejected here.
    let (date, time) = text.split_at(10);
    let mut time = time.replacen(' ', "+", 1);
    // ISO 8601 allows a time without seconds (`T12:00Z`), RFC 3339 does not.
    if time.as_bytes().get("T12:00".len()).is_some_and(|next| b"Zz+-".contains(next)) {
        time.insert_str("T12:00".len(), ":00");
    }
    time.starts_with(['T', 't'])
        .then(|| parse_instant(&format!("{date}{time}")))
        .flatten()
        // An offset can move an instant out of the years with four digits. Outside of them the order
        // of the texts is not the order of the instants.
        .filter(|instant| (0..=9999).contains(&instant.year()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::period::format_instant;

    #[test]
    fn dates_and_date_times_with_a_zone_are_read() {
        for (text, expected) in [
            ("2026-03-01", "2026-03-01T00:00:00.000Z"),
            ("2026-03-01T12:30:00Z", "2026-03-01T12:30:00.000Z"),
            ("2026-03-01T12:30:00.250Z", "2026-03-01T12:30:00.250Z"),
            ("2026-03-01T12:30Z", "2026-03-01T12:30:00.000Z"),
            ("2026-03-01T12:30+02:00", "2026-03-01T10:30:00.000Z"),
            ("2026-03-01T01:00:00+02:00", "2026-02-28T23:00:00.000Z"),
            ("2026-03-01T01:00:00 02:00", "2026-02-28T23:00:00.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
            ("0000-01-01", "0000-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(parse_date(text).map(format_instant).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_rejected() {
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "2026-13-01",
            "2026-3-1",
            "20260301",
            "1772323200000",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T25:00:00Z",
            "+2026-03-01",
            "2026-03-01T12:00:00+2",
            "２０２６-03-01",
            "2026-03-01\0",
            "99999-01-01",
            "9999-12-31T23:30:00-05:00",
            "0000-01-01T00:30:00+05:00",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn an_echo_is_short_and_printable() {
        assert_eq!(echo("a\u{7}b"), "a\u{fffd}b");
        assert_eq!(echo(&"x".repeat(100)).chars().count(), MAXIMUM_ECHO_CHARACTERS + 1);
    }
}
