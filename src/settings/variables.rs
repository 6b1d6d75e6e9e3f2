//! Reading variables, and the forms that their values have.

use super::problems::Problem;

/// Reads variables and collects what is wrong with them.
pub(super) struct VariableReader<Lookup> {
    lookup: Lookup,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
}

impl<Lookup: Fn(&str) -> Option<String>> VariableReader<Lookup> {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The variable's value; an empty one counts as missing.
    pub fn value(&self, variable: &'static str) -> Option<String> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    /// A variable that need not be set.
    pub fn optional<T>(
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

    /// A variable that must be set.
    pub fn required<T>(
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

/// Whether `text` has 1 to `maximum` bytes, all of them allowed.
pub(super) fn is_made_of(text: &str, maximum: usize, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= maximum && text.bytes().all(allowed)
}

/// Printable ASCII without spaces.
pub(super) fn visible(text: &str, maximum: usize) -> Option<String> {
    is_made_of(text, maximum, |byte| byte.is_ascii_graphic()).then(|| text.to_owned())
}

/// A whole number from 0 to `maximum`, without a sign.
pub(super) fn whole_number(text: &str, maximum: u64) -> Option<u64> {
    let digits = is_made_of(text, 8, |byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| *number <= maximum)
}

/// A web origin: scheme, host and perhaps a port, nothing else.
pub(super) fn origin(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority()?.as_str();
    let bare = format!("{scheme}://{authority}");
    (!authority.contains('@') && bare == text).then_some(bare)
}
