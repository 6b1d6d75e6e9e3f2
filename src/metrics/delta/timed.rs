//! What an image contributes to a metric, and when.

use chrono::{DateTime, Utc};
use serde_dynamo::Item;

use crate::metrics::{
    catalogue::{
        Catalogue,
        definition::{Metric, Rows, Window},
    },
    delta::hour_of,
    expiry::{expiry_of, has_expired},
    fold::contribution::Contribution,
    row::{Fault, Reject, conditions, time_of},
};

/// A contribution and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Timed<'row> {
    pub(super) value: Contribution<'row>,
    /// Its time; `None` where the metric has none.
    pub(super) at: Option<DateTime<Utc>>,
    /// When it stops to count without a change, if it does.
    pub(super) until: Option<DateTime<Utc>>,
}

/// The contribution of `image` at `committed`, or `None`.
///
/// # Errors
///
/// What is malformed, where the image would count otherwise.
pub(super) fn timed<'row, 'catalogue: 'row>(
    catalogue: &'catalogue Catalogue,
    metric: &'catalogue Metric,
    rows: &'catalogue Rows,
    image: &'row Item,
    committed: DateTime<Utc>,
) -> Result<Option<Timed<'row>>, Fault<'catalogue>> {
    let Ok((after, fault)) = conditions(rows, image) else { return Ok(None) };
    let at = match rows.window {
        Window::Now => None,
        Window::Period | Window::ToDate => match time_of(rows, image) {
            Ok(at) => Some(at),
            Err(Reject::Skip) => return Ok(None),
            Err(Reject::Malformed(fault)) => return Err(fault),
        },
    };
    let expiry = catalogue.ttl().and_then(|attribute| expiry_of(image, attribute));
    let until = if let (Window::Period, Some(at)) = (rows.window, at) {
        // A flow counts what had not expired when it happened.
        let has_ended = after.is_some_and(|after| hour_of(after) <= hour_of(at));
        if has_ended || expiry.is_some_and(|expiry| has_expired(expiry, at)) {
            return Ok(None);
        }
        None
    } else {
        // DynamoDB keeps an item whose expiry is more than five years ago.
        let expiry = expiry.filter(|expiry| *expiry > committed || has_expired(*expiry, committed));
        after.into_iter().chain(expiry).min()
    };
    let value = match fault {
        Some(fault) => Err(Reject::Malformed(fault)),
        None => Contribution::of(catalogue, metric, rows, image),
    };
    match value {
        Ok(Contribution::Nothing) | Err(Reject::Skip) => Ok(None),
        Ok(value) => Ok(Some(Timed { value, at, until })),
        Err(Reject::Malformed(fault)) => Err(fault),
    }
}
