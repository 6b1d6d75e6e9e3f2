//! The deltas of random histories against a full computation over what they leave, by the fold.

mod cases;
mod history;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value as Json;

use super::*;
use crate::metrics::{catalogue::fixture, fold::Fold, numbers, period::Span};

/// Every measure, window and kind of condition, over a source of one partition and one of three.
fn catalogue() -> Catalogue {
    let mut text = r#"
        [sources.moving]
        index = "byState"
        keys = ["state", "stateKey"]
        partitions = ["A", "B", "C"]
        identity = "PK"
    "#
    .to_owned();
    let conditions = [
        ("", ""),
        ("Flagged", "flag = true"),
        ("Unflagged", "flag = { not = \"true\" }"),
        ("Some", "group = { any_of = [\"a\", \"b\"] }, user = { present = true }"),
        ("Ending", "endsAt = { after_period = true }"),
        ("Both", "flag = true, endsAt = { after_period = true }"),
    ];
    let measures = [
        ("count", "measure = \"count\"", "sum"),
        (
            "by",
            "measure = \"count\"\n\
             by = { attribute = \"kindOf\", groups = { one = \"x\", two = \"y\" } }",
            "sum",
        ),
        ("sum", "measure = \"sum\"\nvalue = \"number\"", "sum"),
        ("money", "measure = \"sum\"\nvalue = { money = \"amount\" }\nabsent = \"skip\"", "sum"),
        ("price", "measure = \"sum\"\nvalue = { table = \"price\", attribute = \"size\" }", "sum"),
        ("mean", "measure = \"avg\"\nvalue = \"number\"\nabsent = \"skip\"", "weighted"),
        ("distinct", "measure = \"count_distinct\"\nvalue = \"user\"", "merge"),
    ];
    let windows = [
        ("Total", "window = \"to_date\"\ntime = [\"at\"]"),
        ("Done", "window = \"to_date\"\ntime = [\"doneAt\", \"at\"]"),
        ("New", "window = \"period\"\ntime = [\"at\"]"),
        ("NewDone", "window = \"period\"\ntime = [\"doneAt\", \"at\"]"),
        ("Now", "window = \"now\""),
    ];
    for (measure, of_measure, rollup) in measures {
        for (window, of_window) in windows {
            for (condition, of_condition) in conditions {
                for source in ["posts", "moving"] {
                    let rollup = if window.starts_with("New") { rollup } else { "last" };
                    text.extend([
                        "[[metrics]]\ntype = \"things\"\n".to_owned(),
                        format!("name = \"{measure}{window}{condition}_{source}\"\n"),
                        format!("source = \"{source}\"\n{of_measure}\n{of_window}\n"),
                        format!("where = {{ {of_condition} }}\nrollup = \"{rollup}\"\n"),
                    ]);
                }
            }
        }
    }
    fixture(&text)
}

/// The span of an hour.
fn span(hour: Hour) -> Span {
    let at = |hour: Hour| DateTime::from_timestamp(hour * 3600, 0).unwrap();
    Span::until(at(hour), at(hour + 1))
}

/// What the fold makes of `rows` in an hour.
fn folded<'row>(
    catalogue: &Catalogue,
    metric: &Metric,
    rows: impl Iterator<Item = &'row Item>,
    hour: Hour,
) -> Option<Json> {
    let (share, source) = metric.source_names().next().unwrap();
    let source = catalogue.source(source).unwrap();
    let mut fold = Fold::new(catalogue, metric, share, Some(source), &[span(hour)]);
    for row in rows.filter(|row| partition_of(source, row).is_some()) {
        fold.add(row);
    }
    fold.finish().unwrap().remove(0).value
}

type Amounts = BTreeMap<Hour, (i64, Decimal)>;

/// Deltas added up, by metric and part.
#[derive(Default)]
struct Sums(BTreeMap<(String, String), Amounts>);

impl Sums {
    fn add(&mut self, deltas: &Deltas<'_>) {
        for Delta { metric, hour, part, count, sum } in &deltas.deltas {
            assert!(*count != 0 || !sum.is_zero(), "a delta of nothing");
            let part = match part {
                DeltaPart::Whole => String::new(),
                DeltaPart::Group(name) => (*name).to_owned(),
                DeltaPart::Value(value) => value.clone(),
                DeltaPart::Ranking => continue,
            };
            let amounts = self.0.entry((metric.name.clone(), part)).or_default();
            let amount = amounts.entry(*hour).or_default();
            amount.0 += count;
            amount.1 += sum;
        }
    }

    fn amount(&self, metric: &Metric, part: &str, hour: Hour) -> (i64, Decimal) {
        let from = if metric.window() == Some(Window::Period) { hour } else { Hour::MIN };
        let amounts = self.0.get(&(metric.name.clone(), part.to_owned()));
        let amounts = amounts.into_iter().flat_map(|amounts| amounts.range(from..=hour));
        amounts.fold((0, Decimal::ZERO), |sum, (_, amount)| (sum.0 + amount.0, sum.1 + amount.1))
    }

    /// The metric's value in an hour.
    fn value(&self, metric: &Metric, hour: Hour) -> Option<Json> {
        let (count, sum) = self.amount(metric, "", hour);
        match &metric.measure {
            Measure::Count { by: None, .. } => Some(count.into()),
            Measure::Count { by: Some(by), .. } => {
                let group =
                    |name: &String| (name.clone(), self.amount(metric, name, hour).0.into());
                Some(Json::Object(by.groups.keys().map(group).collect()))
            }
            Measure::Sum { .. } => Some(numbers::to_json(sum)),
            Measure::Avg { .. } => sum.checked_div(Decimal::from(count)).map(numbers::to_json),
            Measure::CountDistinct { .. } => {
                let parts = self.0.keys().filter(|(name, _)| *name == metric.name);
                let present = |(_, part): &&(String, String)| self.amount(metric, part, hour).0 > 0;
                Some(parts.filter(present).count().into())
            }
            Measure::Top { .. } | Measure::Departures { .. } => None,
        }
    }
}
