//! Executing a plan: reading its passes, at most six at once, and folding their rows.

use std::collections::{BTreeMap, HashSet};

use futures_util::{StreamExt, stream};

use crate::{
    dynamodb::{Client, Error, Item, text},
    fold::{Fold, FoldError, Outcome},
    host::BoxFuture,
    plan::Pass,
};

/// The most requests that are under way at once: a Worker may have six connections open, and waits
/// with the seventh.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections).
pub const MAXIMUM_CONCURRENCY: usize = 6;

/// What the passes came to, by metric.
#[derive(Debug, Default)]
pub struct Findings {
    /// The outcomes of the metrics that could be read whole, in the order of the plan's spans.
    pub outcomes: BTreeMap<String, Vec<Outcome>>,
    /// The metrics that could not, and why.
    pub failures: BTreeMap<String, String>,
    /// Items left out because an attribute was malformed, by metric.
    pub malformed: BTreeMap<String, u64>,
}

/// Reads all `passes` and finishes their metrics.
pub async fn read(client: &Client, passes: Vec<Pass<'_>>) -> Findings {
    // Boxed, so that handlers, which move between threads, can read too.
    let reading: Vec<BoxFuture<'_, _>> = passes
        .into_iter()
        .map(|pass| -> BoxFuture<'_, _> { Box::pin(read_pass(client, pass)) })
        .collect();
    let mut results = stream::iter(reading).buffer_unordered(MAXIMUM_CONCURRENCY);
    let mut folds: BTreeMap<String, Fold<'_>> = BTreeMap::new();
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    while let Some((pass, result)) = results.next().await {
        for fold in pass.folds {
            let name = fold.metric().name.clone();
            match &result {
                Err(error) => {
                    failures.entry(name).or_insert_with(|| format!("{}: {error}", pass.source));
                }
                Ok(()) => match folds.remove(&name) {
                    Some(mut known) => {
                        known.merge(fold);
                        folds.insert(name, known);
                    }
                    None => {
                        folds.insert(name, fold);
                    }
                },
            }
        }
    }
    let mut outcomes = BTreeMap::new();
    let mut malformed = BTreeMap::new();
    for (name, fold) in folds {
        if failures.contains_key(&name) {
            continue;
        }
        if fold.malformed() > 0 {
            malformed.insert(name.clone(), fold.malformed());
        }
        match fold.finish() {
            Ok(found) => {
                outcomes.insert(name, found);
            }
            Err(error @ (FoldError::Overflow { .. } | FoldError::Sketch(_))) => {
                failures.insert(name, error.to_string());
            }
        }
    }
    Findings { outcomes, failures, malformed }
}

/// Reads the partitions of one pass, one after the other.
async fn read_pass<'catalogue>(
    client: &Client,
    mut pass: Pass<'catalogue>,
) -> (Pass<'catalogue>, Result<(), Error>) {
    let queries = std::mem::take(&mut pass.queries);
    let mut met = HashSet::new();
    for (index, query) in queries.iter().enumerate() {
        let is_last = index + 1 == queries.len();
        let result = client
            .query_pages(query, |rows| {
                for row in rows {
                    if is_first_meeting(&mut met, pass.identity, &row, is_last) {
                        for fold in &mut pass.folds {
                            fold.add(&row);
                        }
                    }
                }
            })
            .await;
        if result.is_err() {
            return (pass, result);
        }
    }
    (pass, Ok(()))
}

/// Whether the item has not been met in an earlier partition of the pass. What is met in the last
/// one need not be remembered.
fn is_first_meeting(
    met: &mut HashSet<String>,
    identity: Option<&str>,
    row: &Item,
    is_last: bool,
) -> bool {
    let Some(identity) = identity.and_then(|attribute| text(row, attribute)) else { return true };
    if is_last { !met.contains(identity) } else { met.insert(identity.to_owned()) }
}
