//! Summaries over data points: averages, totals and trends.
//!
//! Source: the platform's contract, section 5.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{
    amount::Amount,
    catalogue::{Catalogue, definition::Rollup},
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
    /// The sum of `sum` metrics, group by group where they have groups; the latest value of `last`
    /// metrics. Distinct counts and means have no total: they cannot be added up.
    pub totals: Map<String, Json>,
    /// `up`, `down` or `stable`: the latest value against the earliest, more than 5 % apart or not.
    pub trends: Map<String, Json>,
}

/// Summarises `points`, the metrics of data points from the latest to the earliest.
#[must_use]
pub fn summarise(catalogue: &Catalogue, points: &[&Map<String, Json>]) -> Summary {
    let mut summary = Summary { total_data_points: points.len(), ..Summary::default() };
    for metric in catalogue.metrics() {
        let name = &metric.name;
        let values: Vec<&Json> = points.iter().filter_map(|point| point.get(name)).collect();
        let Some(latest) = values.first() else { continue };
        if metric.rollup == Rollup::Last {
            summary.totals.insert(name.clone(), (*latest).clone());
        }
        let Some(sum) = Amount::sum(values.iter().copied().map(Some)) else { continue };
        if metric.rollup == Rollup::Sum {
            summary.totals.insert(name.clone(), sum.to_json());
        }
        // Groups have no mean and no trend of their own.
        let Some(sum) = sum.number() else { continue };
        let numbers: Vec<Decimal> =
            values.iter().filter_map(|value| numbers::from_json(value)).collect();
        if let Some(average) = sum.checked_div(Decimal::from(numbers.len())) {
            summary.averages.insert(name.clone(), numbers::to_json(average));
        }
        if let (Some(latest), Some(earliest)) = (numbers.first(), numbers.last()) {
            summary.trends.insert(name.clone(), trend(*latest, *earliest).into());
        }
    }
    summary
}

fn trend(latest: Decimal, earliest: Decimal) -> &'static str {
    // 5 % of the earliest value; any change from zero is more than that. What is too far away to be
    // subtracted is further away than that.
    let margin = earliest.abs().checked_div(Decimal::from(20));
    let distance = latest.checked_sub(earliest).map(|distance| distance.abs());
    match (distance, margin) {
        (Some(distance), Some(margin)) if distance <= margin => "stable",
        _ if latest > earliest => "up",
        _ => "down",
    }
}

// The catalogue of one test is read by the build script's parser, which is not there on wasm.
#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary_of(points: &[Json]) -> Summary {
        let catalogue = Catalogue::embedded().unwrap();
        let points: Vec<_> = points.iter().map(|point| point.as_object().unwrap()).collect();
        summarise(&catalogue, &points)
    }

    #[test]
    fn sums_are_added_up_and_stocks_are_the_latest() {
        let summary = summary_of(&[
            json!({"newUsers": 3, "totalUsers": 13, "newRevenue": 0.1, "visitors": 5}),
            json!({"newUsers": 1, "totalUsers": 10, "newRevenue": 0.2, "visitors": 7}),
        ]);
        assert_eq!(
            Json::Object(summary.totals),
            json!({"newUsers": 4, "totalUsers": 13, "newRevenue": 0.3})
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
        // Nearly the largest decimal.
        assert_eq!(trend(json!(7.9e28), json!(-7.9e28)), "up");
        assert_eq!(trend(json!(-7.9e28), json!(7.9e28)), "down");
    }

    #[test]
    fn groups_are_added_up_one_by_one() {
        let points = [json!({"posts": {"a": 1, "b": 2}}), json!({"posts": {"a": 3, "b": 0}})];
        let points: Vec<_> = points.iter().map(|point| point.as_object().unwrap()).collect();
        let summary = summarise(&by_group(), &points);
        assert_eq!(summary.totals["posts"], json!({"a": 4, "b": 2}));
        assert!(summary.averages.is_empty() && summary.trends.is_empty());
    }

    fn by_group() -> Catalogue {
        crate::catalogue::fixture(
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
        )
    }

    #[test]
    fn an_absent_metric_takes_no_part() {
        let summary = summary_of(&[json!({"newUsers": 4}), json!({}), json!({"newUsers": 2})]);
        assert_eq!(summary.total_data_points, 3);
        assert_eq!(summary.averages["newUsers"], json!(3));
        assert!(!summary.averages.contains_key("totalUsers"));
    }
}
