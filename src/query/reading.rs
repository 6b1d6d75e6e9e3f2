//! Reading the passes of a plan, at most six at once, and folding their rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt, stream};

use crate::{
    dynamodb::{AttributeValue, Client, DynamoDbError, Item},
    host::BoxFuture,
    metrics::findings::{Malformed, SourceFindings},
    metrics::fold::{Fold, FoldError, MetricOutcome, Unreadable},
    query::plan::Pass,
};

/// The most concurrent requests: a Worker can have six open connections, and a seventh waits.
/// Source: [Workers limits](https://developers.cloudflare.com/workers/platform/limits/#simultaneous-open-connections).
pub const MAXIMUM_CONCURRENCY: usize = 6;

/// The outcomes of the passes, and what was found while they were read.
#[derive(Debug, Default)]
pub struct Findings {
    /// The outcomes by metric, one for each span of the plan. A metric has none if one of its
    /// sources could not be read to its end. It has no value in a span in which it is unreadable.
    pub outcomes: BTreeMap<String, Vec<MetricOutcome>>,
    /// The metrics with a source that could not be read, and why.
    pub failures: BTreeMap<String, String>,
    /// The metrics with malformed rows, which were left out.
    pub malformed: BTreeMap<String, Malformed>,
    /// The metrics without a value in some spans because all rows in them are malformed.
    pub unreadable: BTreeMap<String, Unreadable>,
    /// The sources that were read to their end, by name.
    pub sources: BTreeMap<String, SourceFindings>,
}

/// A pass that was read.
struct ReadPass<'catalogue> {
    pass: Pass<'catalogue>,
    found: SourceFindings,
    result: Result<(), DynamoDbError>,
}

/// Reads all `passes` and finishes their metrics.
pub async fn read(client: &Client, passes: Vec<Pass<'_>>) -> Findings {
    // Boxed, so that the future is `Send`, which handlers need.
    let reading: Vec<BoxFuture<'_, _>> = passes
        .into_iter()
        .map(|pass| -> BoxFuture<'_, _> { Box::pin(read_pass(client, pass)) })
        .collect();
    let mut results = stream::iter(reading).buffer_unordered(MAXIMUM_CONCURRENCY);
    let mut findings = Findings::default();
    // By metric, the positions of the spans in which it is unreadable in one of its passes.
    let mut absent: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut folds: BTreeMap<String, Fold<'_>> = BTreeMap::new();
    while let Some(ReadPass { pass, found, result }) = results.next().await {
        let sources = pass.sources.iter().copied().collect::<Vec<_>>().join(", ");
        if result.is_ok() {
            for source in &pass.sources {
                findings.sources.insert((*source).to_owned(), found);
            }
        }
        for fold in pass.folds {
            let name = fold.metric().name.clone();
            if let Err(error) = &result {
                let why = || format!("{sources}: {error}");
                findings.failures.entry(name).or_insert_with(why);
                continue;
            }
            if let Some(why) = fold.unreadable(&sources, found.is_whole) {
                absent.entry(name.clone()).or_default().extend(&why.spans);
                findings.unreadable.entry(name.clone()).or_insert(why);
            }
            match folds.remove(&name) {
                Some(mut known) => {
                    known.merge(fold);
                    folds.insert(name, known);
                }
                None => {
                    folds.insert(name, fold);
                }
            }
        }
    }
    findings.finish(folds, &absent);
    findings
}

impl Findings {
    fn finish(
        &mut self,
        folds: BTreeMap<String, Fold<'_>>,
        absent: &BTreeMap<String, BTreeSet<usize>>,
    ) {
        self.unreadable.retain(|name, _| !self.failures.contains_key(name));
        for (name, fold) in folds {
            if self.failures.contains_key(&name) {
                continue;
            }
            let (rows, malformed) = (fold.rows(), fold.malformed());
            if malformed > 0 {
                self.malformed.insert(name.clone(), Malformed { rows, malformed });
            }
            match fold.finish() {
                Ok(mut found) => {
                    for span in absent.get(&name).into_iter().flatten() {
                        if let Some(outcome) = found.get_mut(*span) {
                            *outcome = MetricOutcome::default();
                        }
                    }
                    self.outcomes.insert(name, found);
                }
                Err(error @ (FoldError::Overflow { .. } | FoldError::Sketch(_))) => {
                    self.failures.insert(name, error.to_string());
                }
            }
        }
    }
}

/// Reads the partitions of one pass in their order.
async fn read_pass<'catalogue>(
    client: &Client,
    mut pass: Pass<'catalogue>,
) -> ReadPass<'catalogue> {
    let queries = std::mem::take(&mut pass.queries);
    let is_whole = queries.iter().all(|query| query.range.is_none());
    let mut found = SourceFindings { rows: 0, is_whole };
    let mut known = HashSet::new();
    for (index, query) in queries.iter().enumerate() {
        let is_last = index + 1 == queries.len();
        let result = client
            .query_pages(query, |rows| {
                for row in rows {
                    if is_new(&mut known, pass.identity, &row, is_last) {
                        found.rows += 1;
                        for fold in &mut pass.folds {
                            fold.add(&row);
                        }
                    }
                }
            })
            .await;
        if result.is_err() {
            return ReadPass { pass, found, result };
        }
    }
    ReadPass { pass, found, result: Ok(()) }
}

/// Whether the item was not read in an earlier partition of the pass. The items of the last
/// partition need not be remembered.
fn is_new(known: &mut HashSet<String>, identity: Option<&str>, row: &Item, is_last: bool) -> bool {
    let found = identity.and_then(|attribute| row.get(attribute));
    let Some(AttributeValue::S(identity) | AttributeValue::N(identity)) = found else {
        return true;
    };
    if is_last { !known.contains(identity) } else { known.insert(identity.clone()) }
}
