//! How a source and its metrics are defined, as a short hash: sums that began under another definition do
//! not fit the changes of today.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::metrics::catalogue::{
    Catalogue,
    definition::{Measure, Metric, RowValue},
};

/// How many bytes of the hash are kept.
const BYTES: usize = 8;

/// The definition of every source that `metrics` read, as a hash: of the source, of those metrics, and of
/// the tables that they look values up in.
#[must_use]
pub fn fingerprints<'catalogue>(
    catalogue: &'catalogue Catalogue,
    metrics: impl IntoIterator<Item = &'catalogue Metric>,
) -> BTreeMap<String, String> {
    let mut hashes: BTreeMap<String, Sha256> = BTreeMap::new();
    for metric in metrics {
        for (_, name) in metric.source_names() {
            let hash = hashes.entry(name.to_owned()).or_insert_with(|| {
                Sha256::new().chain_update(format!(
                    "{:?} {:?}",
                    catalogue.ttl(),
                    catalogue.source(name)
                ))
            });
            hash.update(format!("{metric:?}"));
            if let Measure::Sum { value, .. } | Measure::Avg { value, .. } = &metric.measure
                && let RowValue::Lookup { table, .. } = value
            {
                hash.update(format!("{:?}", catalogue.table(table)));
            }
        }
    }
    let mut fingerprints = BTreeMap::new();
    for (name, hash) in hashes {
        let mut text = String::with_capacity(2 * BYTES);
        for byte in &hash.finalize()[..BYTES] {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        fingerprints.insert(name, text);
    }
    fingerprints
}
