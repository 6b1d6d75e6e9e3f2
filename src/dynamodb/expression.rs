//! The expressions of a request: placeholders for attribute names, and key conditions.
//!
//! Names are always replaced by placeholders, because many common attributes (`status`, `timestamp`,
//! `plan`) are
//! [reserved words](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html).

use std::collections::BTreeMap;

/// The attribute names of one request, each with its placeholder (`#0`, `#1`, …).
#[derive(Debug, Clone, Default)]
pub struct NamedAttributes {
    placeholders: BTreeMap<String, String>,
}

impl NamedAttributes {
    /// The placeholder of `attribute`; the same one each time.
    pub fn placeholder(&mut self, attribute: &str) -> String {
        let next = self.placeholders.len();
        self.placeholders.entry(attribute.to_owned()).or_insert_with(|| format!("#{next}")).clone()
    }

    /// A projection expression of `attributes`.
    pub fn projection<'name>(
        &mut self,
        attributes: impl IntoIterator<Item = &'name str>,
    ) -> String {
        let names: Vec<String> =
            attributes.into_iter().map(|attribute| self.placeholder(attribute)).collect();
        names.join(", ")
    }

    /// The `ExpressionAttributeNames` of the request.
    #[must_use]
    pub fn into_names(self) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        names.extend(self.placeholders.into_iter().map(|(name, placeholder)| (placeholder, name)));
        names
    }
}

/// A range of sort keys, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The least sort key.
    pub from: String,
    /// The greatest sort key.
    pub to: String,
}
