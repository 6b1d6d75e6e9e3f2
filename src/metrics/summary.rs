//! Summaries of data points: averages, totals and trends.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::metrics::{
    amount::Amount,
    catalogue::{
        Catalogue,
        definition::{Metric, Rollup},
    },
    numbers,
};

/// The summary of a range of data points of one type.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The number of data points.
    pub total_data_points: usize,
    /// The mean of every numeric metric over the points that have it.
    pub averages: Map<String, Json>,
    /// The sum of metrics with `rollup = "sum"`, the latest value of those with `rollup = "last"`.
    /// Distinct counts, means and rankings have no total, because they cannot be added.
    pub totals: Map<String, Json>,
    /// `up` or `down` if the latest value differs from the earliest by more than 5 % of the
    /// earliest, otherwise `stable`.
    pub trends: Map<String, Json>,
}

/// Summarises data points one by one, newest first, without keeping them.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use edge_analytics::metrics::{catalogue::{Catalogue, definition::*}, summary::Summariser};
/// # use serde_json::json;
/// # let rows = Rows {
/// #     sources: BTreeMap::from([(String::new(), "users".to_owned())]),
/// #     conditions: BTreeMap::new(),
/// #     window: Window::Period,
/// #     time: vec!["createdAt".to_owned()],
/// #     absent: Absent::Malformed,
/// # };
/// # let metric = Metric {
/// #     type_name: "users".to_owned(),
/// #     name: "newUsers".to_owned(),
/// #     measure: Measure::Count { rows, by: None },
/// #     rollup: Rollup::Sum,
/// #     moves: None,
/// # };
/// # let catalogue = Catalogue::new(Definition {
/// #     ttl: None,
/// #     types: vec!["users".to_owned()],
/// #     tables: BTreeMap::new(),
/// #     sources: BTreeMap::new(),
/// #     metrics: vec![metric],
/// #     realtime: Realtime::default(),
/// # });
/// // `newUsers` is a count with `rollup = "sum"`.
/// let mut summariser = Summariser::new(&catalogue, "users");
/// for point in [json!({"newUsers": 6}), json!({}), json!({"newUsers": 3})] {
///     summariser.add(point.as_object().unwrap());
/// }
/// let summary = summariser.finish();
/// assert_eq!(summary.total_data_points, 3);
/// assert_eq!(summary.totals["newUsers"], 9);
/// // A point without the metric takes no part: it is not a 0.
/// assert_eq!(summary.averages["newUsers"], 4.5);
/// assert_eq!(summary.trends["newUsers"], "up");
/// ```
#[derive(Debug, Clone)]
pub struct Summariser<'catalogue> {
    points: usize,
    metrics: Vec<MetricSummary<'catalogue>>,
}

/// One metric over the points so far.
#[derive(Debug, Clone)]
struct MetricSummary<'catalogue> {
    metric: &'catalogue Metric,
    /// The first value, which is the latest.
    latest: Option<Json>,
    sum: Sum,
    /// How many values were numbers, and the latest and the earliest of them.
    count: u32,
    ends: Option<(Decimal, Decimal)>,
}

#[derive(Debug, Clone)]
enum Sum {
    Empty,
    Of(Amount),
    /// A value is not an amount, or the sum is out of range.
    Unknown,
}

impl<'catalogue> Summariser<'catalogue> {
    /// The summary of the metrics of one type before the first point.
    #[must_use]
    pub fn new(catalogue: &'catalogue Catalogue, metric_type: &'catalogue str) -> Self {
        let metrics = catalogue
            .of_type(metric_type)
            .map(|metric| MetricSummary {
                metric,
                latest: None,
                sum: Sum::Empty,
                count: 0,
                ends: None,
            })
            .collect();
        Self { points: 0, metrics }
    }

    /// Adds the metrics of the next older data point.
    pub fn add(&mut self, point: &Map<String, Json>) {
        self.points += 1;
        for metric in &mut self.metrics {
            if let Some(value) = point.get(&metric.metric.name) {
                metric.add(value);
            }
        }
    }

    /// The summary of all points.
    #[must_use]
    pub fn finish(self) -> Summary {
        let mut summary = Summary { total_data_points: self.points, ..Summary::default() };
        for MetricSummary { metric, latest, sum, count, ends } in self.metrics {
            let Some(latest) = latest else { continue };
            if metric.rollup == Rollup::Last {
                summary.totals.insert(metric.name.clone(), latest);
            }
            let Sum::Of(sum) = sum else { continue };
            if metric.rollup == Rollup::Sum {
                summary.totals.insert(metric.name.clone(), sum.to_json());
            }
            // Groups have no average and no trend.
            let (Some(sum), Some((latest, earliest))) = (sum.number(), ends) else { continue };
            if let Some(average) = sum.checked_div(Decimal::from(count)) {
                summary.averages.insert(metric.name.clone(), numbers::to_json(average));
            }
            summary.trends.insert(metric.name.clone(), trend(latest, earliest).into());
        }
        summary
    }
}

impl MetricSummary<'_> {
    fn add(&mut self, value: &Json) {
        if self.latest.is_none() {
            self.latest = Some(value.clone());
        }
        let Some(amount) = Amount::from_json(value) else {
            self.sum = Sum::Unknown;
            return;
        };
        if let Some(number) = amount.number() {
            self.count = self.count.saturating_add(1);
            self.ends = Some((self.ends.map_or(number, |(latest, _)| latest), number));
        }
        self.sum = match &self.sum {
            Sum::Empty => Sum::Of(amount),
            Sum::Of(sum) => sum.plus(&amount).map_or(Sum::Unknown, Sum::Of),
            Sum::Unknown => Sum::Unknown,
        };
    }
}

fn trend(latest: Decimal, earliest: Decimal) -> &'static str {
    // 5 % of the earliest value; from 0, any change is more than that. The latest value cannot be
    // beyond a bound that is out of the range of decimals.
    let margin = earliest.abs().checked_mul(Decimal::new(5, 2)).unwrap_or(Decimal::MAX);
    if numbers::add(earliest, margin).is_some_and(|bound| latest > bound) {
        "up"
    } else if numbers::add(earliest, -margin).is_some_and(|bound| latest < bound) {
        "down"
    } else {
        "stable"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::catalogue::gallery;

    fn summary_of(points: &[Json]) -> Summary {
        let catalogue = gallery();
        let mut summariser = Summariser::new(&catalogue, "users");
        for point in points {
            summariser.add(point.as_object().unwrap());
        }
        summariser.finish()
    }

    #[test]
    fn sums_are_added_up_and_stocks_are_the_latest() {
        let summary = summary_of(&[
            json!({"newUsers": 3, "totalUsers": 13, "deletedUsers": 0.1, "visitors": 5}),
            json!({"newUsers": 1, "totalUsers": 10, "deletedUsers": 0.2, "visitors": 7}),
        ]);
        assert_eq!(
            Json::Object(summary.totals),
            json!({"newUsers": 4, "totalUsers": 13, "deletedUsers": 0.3})
        );
        assert_eq!(summary.averages["newUsers"], json!(2));
        assert_eq!(summary.averages["totalUsers"], json!(11.5));
        assert_eq!(summary.averages["visitors"], json!(6));
    }

    #[test]
    fn a_trend_is_the_latest_against_the_earliest_and_five_per_cent_are_stable() {
        let trend = |latest: Json, earliest: Json| {
            let points = [json!({"newUsers": latest}), json!({"newUsers": earliest})];
            summary_of(&points).trends["newUsers"].as_str().unwrap().to_owned()
        };
        assert_eq!(trend(json!(106), json!(100)), "up");
        assert_eq!(trend(json!(105), json!(100)), "stable");
        assert_eq!(trend(json!(95), json!(100)), "stable");
        assert_eq!(trend(json!(94), json!(100)), "down");
        assert_eq!(trend(json!(1), json!(0)), "up");
        assert_eq!(trend(json!(0), json!(0)), "stable");
    }

    #[test]
    fn a_point_without_a_metric_is_not_a_zero() {
        let summary = summary_of(&[json!({"newUsers": 4}), json!({}), json!({"newUsers": 2})]);
        assert_eq!(summary.total_data_points, 3);
        assert_eq!(summary.averages["newUsers"], json!(3));
        assert!(!summary.averages.contains_key("totalUsers"));
    }

    #[test]
    fn values_out_of_the_range_of_decimals_have_no_average_and_no_trend() {
        let summary = summary_of(&[
            json!({"newUsers": 7.9e28, "totalUsers": 7.9e28}),
            json!({"newUsers": 7.9e28, "totalUsers": -7.9e28}),
        ]);
        assert!(!summary.totals.contains_key("newUsers"), "{summary:?}");
        assert!(!summary.averages.contains_key("newUsers"), "{summary:?}");
        assert_eq!(summary.trends["totalUsers"], "up");
        assert_eq!(summary_of(&[json!({"newUsers": 7.9e28})]).trends["newUsers"], "stable");
    }

    #[test]
    fn a_value_that_is_not_a_number_has_a_total_only() {
        let summary = summary_of(&[json!({"totalUsers": "many"}), json!({"totalUsers": 4})]);
        assert_eq!(Json::Object(summary.totals), json!({"totalUsers": "many"}));
        assert!(summary.averages.is_empty() && summary.trends.is_empty());
    }

    #[test]
    fn groups_are_added_up_one_by_one() {
        let catalogue = crate::metrics::catalogue::fixture(
            r#"
            [[metrics]]
            type = "things"
            name = "posts"
            source = "posts"
            measure = "count"
            by = { attribute = "kind", groups = { a = "A", b = "B" } }
            window = "period"
            time = ["createdAt"]
            rollup = "sum"
            "#,
        );
        let mut summariser = Summariser::new(&catalogue, "things");
        for point in [json!({"posts": {"a": 1, "b": 2}}), json!({"posts": {"a": 3, "b": 0}})] {
            summariser.add(point.as_object().unwrap());
        }
        let summary = summariser.finish();
        assert_eq!(summary.totals["posts"], json!({"a": 4, "b": 2}));
        assert!(summary.averages.is_empty() && summary.trends.is_empty());
    }
}
