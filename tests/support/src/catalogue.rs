//! Catalogues of the tests' own, read as the build reads `metrics.toml`.

use std::sync::LazyLock;

use edge_analytics::metrics::catalogue::Catalogue;

#[path = "../../../src/metrics/catalogue"]
#[allow(
    dead_code,
    unused_imports,
    clippy::pedantic,
    reason = "linted, and used whole, where they belong"
)]
mod parser {
    pub mod check;
    pub mod check_values;
    pub mod definition;
    pub mod document;
    pub mod parse;
    pub mod parse_metric;
}

static GALLERY: LazyLock<Catalogue> =
    LazyLock::new(|| catalogue(include_str!("../../fixtures/metrics.toml")));

/// The catalogue of the sample platform, `tests/fixtures/metrics.toml`.
pub fn gallery() -> Catalogue {
    GALLERY.clone()
}

/// The catalogue in `text`, which must be right.
pub fn catalogue(text: &str) -> Catalogue {
    read(text).unwrap()
}

/// The catalogue in `text`.
///
/// # Errors
///
/// What the build says if the catalogue is wrong.
pub fn read(text: &str) -> Result<Catalogue, String> {
    let definition = parser::check::parse(text).map_err(|mistake| mistake.to_string())?;
    // As it is embedded: the crate's own types are others than the parser's here.
    let embedded = serde_json::to_value(definition).unwrap();
    Ok(Catalogue::new(serde_json::from_value(embedded).unwrap()))
}
