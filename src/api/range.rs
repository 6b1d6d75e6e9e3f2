//! The range of a request: one type or all, a granularity, two dates.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::metrics::{
    catalogue::Catalogue,
    period::{Granularity, Period, format_instant},
};

use super::{
    error::ApiError,
    parameters::{Parameters, one_of},
};

pub use crate::metrics::catalogue::definition::ALL_TYPES;

/// The parameters that name a range.
pub const RANGE_PARAMETERS: [&str; 4] = ["metricType", "granularity", "startDate", "endDate"];

/// A checked range.
#[derive(Debug)]
pub struct RequestedRange {
    /// One type; `None` means all types.
    pub metric_type: Option<String>,
    /// The granularity.
    pub granularity: Granularity,
    /// `startDate`.
    pub start: DateTime<Utc>,
    /// `endDate`, inclusive.
    pub end: DateTime<Utc>,
    /// The periods that start in the range, earliest first.
    pub periods: Vec<Period>,
}

impl RequestedRange {
    /// Reads a range of at most `maximum` periods.
    ///
    /// # Errors
    ///
    /// When a parameter is missing or invalid; the error names it.
    pub fn parse(
        parameters: &Parameters,
        catalogue: &Catalogue,
        maximum: usize,
    ) -> Result<Self, ApiError> {
        let metric_type = parameters.required("metricType")?;
        let granularity = parameters.required("granularity")?;
        parameters.required("startDate")?;
        parameters.required("endDate")?;

        let types: Vec<&str> =
            catalogue.types().iter().map(String::as_str).chain([ALL_TYPES]).collect();
        if !types.contains(&metric_type) {
            return Err(one_of("metricType", metric_type, &types));
        }
        let metric_type = (metric_type != ALL_TYPES).then(|| metric_type.to_owned());
        let granularity = Granularity::from_name(granularity).ok_or_else(|| {
            one_of("granularity", granularity, &Granularity::ALL.map(Granularity::name))
        })?;
        let start = parameters.required_instant("startDate")?;
        let end = parameters.required_instant("endDate")?;
        if start >= end {
            return Err(ApiError::bad_request(
                "startDate must be before endDate",
                "Swap the dates, or move endDate to a later time",
                json!({ "startDate": format_instant(start), "endDate": format_instant(end) }),
            ));
        }
        let periods = periods_in(granularity, start, end, maximum)?;
        Ok(Self { metric_type, granularity, start, end, periods })
    }
}

/// The periods that start in the range, earliest first.
fn periods_in(
    granularity: Granularity,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    maximum: usize,
) -> Result<Vec<Period>, ApiError> {
    let first = Period::starting_at_or_after(granularity, start);
    let periods: Vec<Period> = std::iter::successors(Some(first), |period| Some(period.next()))
        .take_while(|period| period.start() <= end)
        .take(maximum + 1)
        .collect();
    if let Some(beyond) = periods.get(maximum) {
        let last = periods[maximum - 1].start();
        let or = or_coarser(granularity);
        return Err(ApiError::bad_request(
            "Range too large",
            format!(
                "The range of a request has at most {maximum} periods; with this startDate use an \
                 endDate before {}, at most {}{or}",
                format_instant(beyond.start()),
                format_instant(last),
            ),
            json!({ "maximumPeriods": maximum, "latestEndDate": format_instant(last) }),
        ));
    }
    Ok(periods)
}

/// The end of an error for a range that is too large: the next coarser granularity, if there is one.
pub fn or_coarser(granularity: Granularity) -> String {
    let coarser = Granularity::ALL.iter().find(|coarser| **coarser > granularity);
    coarser.map_or_else(String::new, |coarser| {
        format!(", or the granularity {coarser} for a longer range")
    })
}
