//! Decimals: parsed from attributes, added exactly, and written as JSON numbers.

use std::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};

/// Parses a plain decimal: an optional sign, digits, optionally a point and digits. `None` for
/// anything else (`ten`, `10,00`, `1_000`, `NaN`, an empty string) and for what does not fit into
/// 96 bits.
#[must_use]
pub fn parse_decimal(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| Decimal::from_str(text).ok()).flatten()
}

/// Parses a number as DynamoDB writes it: a plain decimal, or one with an exponent if it is very
/// large or very small. `None` for anything else, and for what does not fit into 96 bits.
#[must_use]
pub fn parse_number(text: &str) -> Option<Decimal> {
    parse_decimal(text).or_else(|| {
        text.contains(['e', 'E']).then(|| Decimal::from_scientific(text).ok()).flatten()
    })
}

/// The sum; `None` if it would not be exact. Not inlined, because it is large and called in many
/// places.
#[must_use]
#[inline(never)]
pub fn add(one: Decimal, other: Decimal) -> Option<Decimal> {
    let sum = one.checked_add(other)?;
    // If a sum has too many digits, the library rounds it to fewer decimal places.
    let is_rounded = sum.scale() < one.scale().max(other.scale())
        && (sum.checked_sub(one)? != other || sum.checked_sub(other)? != one);
    (!is_rounded).then_some(sum)
}

/// An amount of money rounded to whole cents, halves away from zero.
#[must_use]
pub fn in_whole_cents(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// The JSON number of `value`: an integer if it is one, otherwise the nearest double.
#[must_use]
pub fn to_json(value: Decimal) -> serde_json::Value {
    let value = value.normalize();
    if value.scale() == 0
        && let Ok(integer) = i64::try_from(value)
    {
        return integer.into();
    }
    // By way of the text, which gives the nearest double; arithmetic would round in between.
    f64::from_str(&value.to_string()).map_or(serde_json::Value::Null, Into::into)
}

/// The decimal of a JSON number, by its shortest text: 29.99 is exactly 29.99. `None` if it is not
/// a number or does not fit into 96 bits.
#[must_use]
pub fn from_json(value: &serde_json::Value) -> Option<Decimal> {
    parse_number(&value.as_number()?.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_sum_is_exact_or_there_is_none() {
        for (one, other, sum) in [
            ("0.1", "0.2", Some("0.3")),
            ("7.9", "-7.9", Some("0")),
            ("79228162514264337593543950335", "0", Some("79228162514264337593543950335")),
            ("79228162514264337593543950335", "0.00", Some("79228162514264337593543950335")),
            ("79228162514264337593543950335", "1", None),
            ("-79228162514264337593543950335", "-1", None),
            // These sums would be rounded.
            ("79228162514264337593543950335", "0.4", None),
            ("79228162514264337593543950335", "-0.5", None),
            ("-79228162514264337593543950335", "15.5", None),
            ("7922816251426433759354395033.5", "0.04", None),
            // Only zeros are dropped.
            ("79228162514264337593543950334", "1.00", Some("79228162514264337593543950335")),
            ("7922816251426433759354395033", "0.50", Some("7922816251426433759354395033.5")),
        ] {
            assert_eq!(add(decimal(one), decimal(other)), sum.map(decimal), "{one} + {other}");
            assert_eq!(add(decimal(other), decimal(one)), sum.map(decimal), "{other} + {one}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_rejected() {
        for text in [
            "1e125",
            "-1e125",
            "1E+125",
            "9.9999999999999999999999999999999999999e125",
            "1e-130",
            "1e4294967295",
            "1e-4294967295",
            "1e99999999999999999999",
            "79228162514264337593543950336",
            "-79228162514264337593543950336",
            "99999999999999999999999999999999999999",
            "e",
            "1e",
            "e5",
            "1e5e5",
            "NaN",
            "Infinity",
            "",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
        assert_eq!(parse_number("7.9e28"), Some(decimal("79000000000000000000000000000")));
        assert_eq!(parse_number("1e-28"), Some(decimal("0.0000000000000000000000000001")));
        assert_eq!(from_json(&json!(1e125)), None);
        assert_eq!(from_json(&json!(u64::MAX)), Some(decimal("18446744073709551615")));
        assert_eq!(from_json(&json!(i64::MIN)), Some(decimal("-9223372036854775808")));
    }

    proptest! {
        /// No stored number panics, and sums can be subtracted again.
        #[test]
        fn any_number_can_be_read_added_and_written(
            one in r"[-+]?[0-9]{0,40}(\.[0-9]{0,40})?([eE][-+]?[0-9]{0,12})?",
            other in r"[-+]?[0-9]{1,30}(\.[0-9]{1,30})?",
        ) {
            let (one, other) = (parse_number(&one), parse_number(&other));
            if let Some(one) = one {
                let _ = to_json(in_whole_cents(one));
                let _ = from_json(&to_json(one));
            }
            if let (Some(one), Some(other)) = (one, other)
                && let Some(sum) = add(one, other)
            {
                prop_assert_eq!(sum.checked_sub(other), Some(one));
            }
        }
    }
}
