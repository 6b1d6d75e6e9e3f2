//! Summaries over data points: averages, totals and trends.
//!
//! Source: the platform's contract, section 5.

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

/// What a range of data points comes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The number of data points.
    pub total_data_points: usize,
    /// The mean of every numeric metric over the points that have it.
    pub averages: Map<String, Json>,
    /// The sum of `sum` metrics, the latest value of `last` metrics. Distinct counts and means have
    /// no total: they cannot be added up.
    pub totals: Map<String, Json>,
    /// `up`, `down` or `stable`: the latest value against the earliest, more than 5 % apart or not.
    pub trends: Map<String, Json>,
}

/// Summarises data points as they are read, without keeping them.
#[derive(Debug, Clone)]
pub struct Summariser<'catalogue> {
    points: usize,
    metrics: Vec<Course<'catalogue>>,
}

/// What the points so far say of one metric.
#[derive(Debug, Clone)]
struct Course<'catalogue> {
    metric: &'catalogue Metric,
    /// The first value, which is the latest.
    latest: Option<Json>,
    sum: Sum,
    /// How many values were numbers, the first of them and the last.
    count: u32,
    ends: Option<(Decimal, Decimal)>,
}

#[derive(Debug, Clone)]
enum Sum {
    Empty,
    Of(Amount),
    /// A value was no amount, or the sum is out of range.
    Unknown,
}

impl<'catalogue> Summariser<'catalogue> {
    /// A summary of no points, of the metrics of one type.
    #[must_use]
    pub fn new(catalogue: &'catalogue Catalogue, metric_type: &'catalogue str) -> Self {
        let metrics = catalogue
            .of_type(metric_type)
            .map(|metric| Course { metric, latest: None, sum: Sum::Empty, count: 0, ends: None })
            .collect();
        Self { points: 0, metrics }
    }

    /// Adds the metrics of the data point before the last one that was added.
    pub fn add(&mut self, point: &Map<String, Json>) {
        self.points += 1;
        for course in &mut self.metrics {
            if let Some(value) = point.get(&course.metric.name) {
                course.add(value);
            }
        }
    }

    /// The summary of all points.
    #[must_use]
    pub fn finish(self) -> Summary {
        let mut summary = Summary { total_data_points: self.points, ..Summary::default() };
        for Course { metric, latest, sum, count, ends } in self.metrics {
            let Some(latest) = latest else { continue };
            if metric.rollup == Rollup::Last {
                summary.totals.insert(metric.name.clone(), latest);
            }
            let Sum::Of(sum) = sum else { continue };
            if metric.rollup == Rollup::Sum {
                summary.totals.insert(metric.name.clone(), sum.to_json());
            }
            // Groups have no mean and no trend of their own.
            let (Some(sum), Some((latest, earliest))) = (sum.number(), ends) else { continue };
            if let Some(average) = sum.checked_div(Decimal::from(count)) {
                summary.averages.insert(metric.name.clone(), numbers::to_json(average));
            }
            summary.trends.insert(metric.name.clone(), trend(latest, earliest).into());
        }
        summary
    }
}

impl Course<'_> {
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
    // 5 % of the earliest value; any change from zero is more than that. A bound that is out of the
    // range of decimals is out of reach for the latest value too.
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

    fn summary_of(points: &[Json]) -> Summary {
        let catalogue = Catalogue::embedded().unwrap();
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
    fn an_absent_metric_takes_no_part() {
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
    fn a_value_that_is_no_number_leaves_only_the_latest() {
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
