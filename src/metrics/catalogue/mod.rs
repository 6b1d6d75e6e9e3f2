//! The catalogue of metrics, embedded: what `metrics.toml` says, checked when the crate was built.

pub mod definition;

// Read by the build script; here only so that its errors can be tested, where there is a TOML parser.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod check;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod check_tests;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod check_values;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod document;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod parse;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod parse_metric;

use std::collections::BTreeMap;

use definition::{Definition, Metric, Realtime, Source};

/// A catalogue of its own for a test: one type, `things`, one source, `posts`, and `metrics`.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn fixture(metrics: &str) -> Catalogue {
    let text = format!(
        r#"
        types = ["things"]
        [platform]
        ttl = "expiresAt"
        [tables.price]
        small = "1.50"
        large = "20"
        [sources.posts]
        index = "byTime"
        keys = ["kind", "createdAtKey"]
        partitions = ["POST"]
        sort_key_time = {{ attribute = "createdAt", format = "instant" }}
        {metrics}
        [realtime]
        flows = []
        headlines = []
        "#
    );
    Catalogue::new(check::parse(&text).unwrap())
}

/// The metrics and sources that this build knows.
#[derive(Debug, Clone)]
pub struct Catalogue {
    definition: Definition,
}

/// The embedded catalogue does not read; it was written by an incompatible build script.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the embedded catalogue is damaged ({0}); build the package again")]
pub struct CatalogueError(String);

impl Catalogue {
    /// The catalogue embedded in this build.
    ///
    /// # Errors
    ///
    /// When the embedded bytes are damaged.
    pub fn embedded() -> Result<Self, CatalogueError> {
        postcard::from_bytes(include_bytes!(concat!(env!("OUT_DIR"), "/catalogue.postcard")))
            .map(Self::new)
            .map_err(|error| CatalogueError(error.to_string()))
    }

    /// A catalogue from its definition.
    #[must_use]
    pub fn new(definition: Definition) -> Self {
        Self { definition }
    }

    /// The metric types, in their order.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.definition.types
    }

    /// The types that have metrics, and so records, in their order.
    pub fn recorded_types(&self) -> impl Iterator<Item = &str> {
        self.types().iter().map(String::as_str).filter(|name| self.of_type(name).next().is_some())
    }

    /// All metrics, in their order.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.definition.metrics
    }

    /// The metrics of one type.
    pub fn of_type<'own>(&'own self, type_name: &'own str) -> impl Iterator<Item = &'own Metric> {
        self.metrics().iter().filter(move |metric| metric.type_name == type_name)
    }

    /// The metric of this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics().iter().find(|metric| metric.name == name)
    }

    /// What is counted between the hours.
    #[must_use]
    pub fn realtime(&self) -> &Realtime {
        &self.definition.realtime
    }

    /// The source of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.definition.sources.get(name)
    }

    /// The attribute with the epoch second at which DynamoDB may delete an item, if there is one.
    #[must_use]
    pub fn ttl(&self) -> Option<&str> {
        self.definition.ttl.as_deref()
    }

    /// The table of values of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.definition.tables.get(name)
    }

    /// What `table` says of `key`.
    #[must_use]
    pub fn table_value(&self, table: &str, key: &str) -> Option<&str> {
        self.definition.tables.get(table)?.get(key).map(String::as_str)
    }
}
