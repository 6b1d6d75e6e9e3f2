//! What a metric compares its attributes with: an attribute holds one kind of value, and what is
//! looked up or grouped gets past the conditions.

use std::collections::BTreeMap;

use super::{
    definition::{Condition, Grouping, Literal, Measure, Metric, RowValue},
    document::Mistake,
    parse::CatalogueEntry,
};

/// As what an attribute is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Truth,
    Text,
    Time,
    Number,
    Money,
}

impl Kind {
    fn of(value: &Literal) -> Self {
        match value {
            Literal::Truth(_) => Self::Truth,
            Literal::Text(_) => Self::Text,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Truth => "a truth",
            Self::Text => "a string",
            Self::Time => "a time",
            Self::Number => "a number",
            Self::Money => "an amount of money",
        }
    }

    /// Whether one attribute can be both: a truth may be stored as 1, an amount as a string or a
    /// number.
    fn fits(self, other: Self) -> bool {
        self == other
            || [(self, other), (other, self)].iter().any(|pair| {
                matches!(
                    pair,
                    (Self::Truth | Self::Money, Self::Number)
                        | (Self::Money | Self::Time, Self::Text)
                )
            })
    }
}

/// Checks what the metric compares.
///
/// # Errors
///
/// Where an attribute is read as two kinds of values, or a group never counts anything.
pub fn check_values(entry: &CatalogueEntry<Metric>) -> Result<(), Mistake> {
    let metric = &entry.value;
    check_kinds(entry)?;
    if let Some(by) = metric.by() {
        let conditions = metric.conditions();
        if let Some(condition) = conditions.and_then(|all| all.get(&by.attribute)) {
            return check_groups(entry, by, condition);
        }
    }
    Ok(())
}

/// The attributes that the metric reads: the field of the entry, what of it, the attribute, its kind.
fn uses(metric: &Metric) -> Vec<(&'static str, String, &str, Kind)> {
    let mut uses = Vec::new();
    for (attribute, condition) in metric.conditions().into_iter().flatten() {
        let kind = match condition {
            Condition::Is(value) | Condition::Not(value) => Kind::of(value),
            Condition::AnyOf(_) => Kind::Text,
            Condition::AfterPeriod => Kind::Time,
            Condition::Present => continue,
        };
        uses.push(("where", format!("where.{attribute}"), attribute.as_str(), kind));
    }
    for attribute in metric.time() {
        uses.push(("time", "time".to_owned(), attribute, Kind::Time));
    }
    let (field, what, attributes, kind): (_, _, &[String], _) = match &metric.measure {
        Measure::Count { by: Some(by), .. } => {
            let kind = by.groups.values().next().map_or(Kind::Text, Kind::of);
            ("by", "by.groups", std::slice::from_ref(&by.attribute), kind)
        }
        Measure::CountDistinct { attribute, .. } => {
            ("value", "value", std::slice::from_ref(attribute), Kind::Text)
        }
        Measure::Sum { value, .. } | Measure::Avg { value, .. } => match value {
            RowValue::Number(name) => ("value", "value", std::slice::from_ref(name), Kind::Number),
            RowValue::Money(name) => ("value", "value", std::slice::from_ref(name), Kind::Money),
            RowValue::Lookup { attribute, .. } => {
                ("value", "value", std::slice::from_ref(attribute), Kind::Text)
            }
        },
        Measure::Top { key, .. } => ("key", "key", key, Kind::Text),
        Measure::Count { by: None, .. } | Measure::Departures { .. } => return uses,
    };
    let of_measure = attributes.iter().map(|name| (field, what.to_owned(), name.as_str(), kind));
    uses.extend(of_measure);
    uses
}

fn check_kinds(entry: &CatalogueEntry<Metric>) -> Result<(), Mistake> {
    let mut known: BTreeMap<&str, (String, Kind)> = BTreeMap::new();
    for (field, what, attribute, kind) in uses(&entry.value) {
        match known.get(attribute) {
            Some((before, other)) if !other.fits(kind) => {
                let reason = format!(
                    "attribute `{attribute}` is {} in `{before}` and {} in `{what}`; it can hold \
                     only one of them",
                    other.word(),
                    kind.word()
                );
                return Err(Mistake::new(entry.line_of(field), reason));
            }
            Some(_) => {}
            None => {
                known.insert(attribute, (what, kind));
            }
        }
    }
    Ok(())
}

/// Every group's value gets past the condition on the same attribute.
fn check_groups(
    entry: &CatalogueEntry<Metric>,
    by: &Grouping,
    condition: &Condition,
) -> Result<(), Mistake> {
    let lets_through = |value: &Literal| match (condition, value) {
        (Condition::Is(wanted), value) => value == wanted,
        (Condition::Not(other), value) => value != other,
        (Condition::AnyOf(any), Literal::Text(value)) => any.contains(value),
        _ => true,
    };
    match by.groups.iter().find(|(_, value)| !lets_through(value)) {
        Some((name, value)) => {
            let attribute = &by.attribute;
            let reason = format!(
                "group `{name}` is always 0: `where.{attribute}` does not let `{value}` through"
            );
            Err(Mistake::new(entry.line_of("by"), reason))
        }
        None => Ok(()),
    }
}
