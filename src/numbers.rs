//! Reading numbers and money from attributes, and writing decimals as JSON numbers.

use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};

/// Reads `text` as a plain decimal: an optional sign, digits, optionally a point and digits.
/// Anything else (`ten`, `10,00`, `1_000`, `NaN`, an empty string) is `None`.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| Decimal::from_str(text).ok()).flatten()
}

/// Reads `text` as DynamoDB writes numbers: a plain decimal, or one with an exponent where it is
/// very large or very small.
#[must_use]
pub fn parse_number(text: &str) -> Option<Decimal> {
    parse_decimal(text).or_else(|| {
        text.contains(['e', 'E']).then(|| Decimal::from_scientific(text).ok()).flatten()
    })
}

/// The sum; `None` where it would not be exact. Not inlined: it is large, and called in many places.
#[must_use]
#[inline(never)]
pub fn add(one: Decimal, other: Decimal) -> Option<Decimal> {
    one.checked_add(other)
}

/// An amount of money in whole cents, halves away from zero.
#[must_use]
pub fn in_whole_cents(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// The JSON number for `value`: an integer where it is one, else the nearest double.
#[must_use]
pub fn to_json(value: Decimal) -> serde_json::Value {
    let value = value.normalize();
    if value.scale() == 0
        && let Ok(integer) = i64::try_from(value)
    {
        return integer.into();
    }
    // Through its text: the nearest double, where arithmetic would round on the way.
    f64::from_str(&value.to_string()).map_or(serde_json::Value::Null, Into::into)
}

/// The decimal of a JSON number, by its shortest text, so that 29.99 is exactly 29.99.
#[must_use]
pub fn from_json(value: &serde_json::Value) -> Option<Decimal> {
    parse_number(&value.as_number()?.to_string())
}
