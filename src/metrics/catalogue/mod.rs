//! The catalogue: the sources and metrics of `metrics.toml`, which the build checks and embeds.

pub mod definition;

// The parser of the build script, which is compiled here only for its tests.
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

/// A catalogue for a test: one type, `things`, one source, `posts`, and `metrics`.
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

/// The catalogue of the sample platform, which stays as it is when `metrics.toml` changes.
#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) fn gallery() -> Catalogue {
    Catalogue::new(check::parse(include_str!("../../../tests/fixtures/metrics.toml")).unwrap())
}

/// The sources and metrics of a `metrics.toml`.
///
/// A Worker has the one of its build, [`Catalogue::embedded`]. Tests create others from a
/// [`Definition`]:
///
/// ```
/// # use std::collections::BTreeMap;
/// use edge_analytics::metrics::catalogue::{Catalogue, definition::*};
///
/// let catalogue = Catalogue::new(Definition {
///     ttl: None,
///     types: vec!["users".to_owned(), "storage".to_owned()],
///     tables: BTreeMap::new(),
///     sources: BTreeMap::new(),
///     metrics: vec![Metric {
///         type_name: "users".to_owned(),
///         name: "deletedUsers".to_owned(),
///         measure: Measure::Departures {
///             stock: "totalUsers".to_owned(),
///             arrivals: "newUsers".to_owned(),
///         },
///         rollup: Rollup::Sum,
///         moves: None,
///     }],
///     realtime: Realtime::default(),
/// });
/// // The API knows every type. A type without metrics has no records.
/// assert_eq!(catalogue.types(), ["users", "storage"]);
/// assert_eq!(catalogue.recorded_types().collect::<Vec<_>>(), ["users"]);
/// // Departures follow from two other values, so the table has nothing of the past.
/// assert_eq!(catalogue.metric("deletedUsers").unwrap().past(), Past::Nothing);
/// assert_eq!(catalogue.metric("newUsers"), None);
/// ```
#[derive(Debug, Clone)]
pub struct Catalogue {
    definition: Definition,
}

/// The embedded catalogue cannot be read, because an incompatible build script wrote it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the embedded catalogue is damaged ({0}); build the package again")]
pub struct CatalogueError(String);

impl Catalogue {
    /// The catalogue that is embedded in this build.
    ///
    /// # Errors
    ///
    /// When it is damaged.
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

    /// The metric types, in the order of the file.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.definition.types
    }

    /// The types with metrics, which are those that have records, in the order of the file.
    pub fn recorded_types(&self) -> impl Iterator<Item = &str> {
        self.types().iter().map(String::as_str).filter(|name| self.of_type(name).next().is_some())
    }

    /// All metrics, in the order of the file.
    #[must_use]
    pub fn metrics(&self) -> &[Metric] {
        &self.definition.metrics
    }

    /// The metrics of one type, in the order of the file.
    pub fn of_type<'own>(&'own self, type_name: &'own str) -> impl Iterator<Item = &'own Metric> {
        self.metrics().iter().filter(move |metric| metric.type_name == type_name)
    }

    /// The metric with this name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics().iter().find(|metric| metric.name == name)
    }

    /// The realtime counters, besides the totals.
    #[must_use]
    pub fn realtime(&self) -> &Realtime {
        &self.definition.realtime
    }

    /// The source with this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.definition.sources.get(name)
    }

    /// The attribute that DynamoDB's time to live uses, in epoch seconds; `None` if the table has
    /// none.
    #[must_use]
    pub fn ttl(&self) -> Option<&str> {
        self.definition.ttl.as_deref()
    }

    /// The table with this name: amounts by the value of an attribute.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.definition.tables.get(name)
    }

    /// The amount that `table` has for `key`.
    #[must_use]
    pub fn table_value(&self, table: &str, key: &str) -> Option<&str> {
        self.definition.tables.get(table)?.get(key).map(String::as_str)
    }
}
