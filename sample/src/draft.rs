//! Writing an item down attribute by attribute, in DynamoDB JSON.

use std::fmt::Display;

use serde_json::Value;

use crate::Item;

/// An item in the making.
#[derive(Clone)]
pub struct Draft(Item);

impl Draft {
    /// An item with its table key.
    pub fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self(Item::new()).text("PK", pk).text("SK", sk)
    }

    /// Adds both keys of index `number` (1 to 9).
    pub fn index(self, number: u8, pk: impl Into<String>, sk: impl Into<String>) -> Self {
        self.text(&format!("GSI{number}PK"), pk).text(&format!("GSI{number}SK"), sk)
    }

    /// Adds a string.
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        set_text(&mut self.0, name, value);
        self
    }

    /// Adds a string if there is one.
    pub fn optional_text(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a number.
    pub fn number(mut self, name: &str, value: impl Display) -> Self {
        self.0.insert(name.into(), typed("N", Value::String(value.to_string())));
        self
    }

    /// Adds a number if there is one.
    pub fn optional_number(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    /// Adds a boolean.
    pub fn flag(mut self, name: &str, value: bool) -> Self {
        self.0.insert(name.into(), typed("BOOL", Value::Bool(value)));
        self
    }

    /// The finished item. Its attributes are sorted, so that its bytes stay the same when another
    /// crate of the build turns on `serde_json/preserve_order`.
    pub fn done(mut self) -> Item {
        self.0.sort_keys();
        self.0
    }

    /// The finished item, with something changed at the end.
    pub fn done_with(mut self, change: fn(&mut Item)) -> Item {
        change(&mut self.0);
        self.done()
    }
}

/// Adds a string to an item, or replaces the attribute of that name.
pub fn set_text(item: &mut Item, name: &str, value: impl Into<String>) {
    item.insert(name.into(), typed("S", Value::String(value.into())));
}

fn typed(kind: &str, value: Value) -> Value {
    Value::Object(Item::from_iter([(kind.to_owned(), value)]))
}
