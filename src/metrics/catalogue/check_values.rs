//! The kinds of values that a metric reads: each attribute is of one kind, and the conditions
//! exclude no group.

use std::collections::BTreeMap;

use super::{
    definition::{Condition, Grouping, Literal, Measure, Metric, RowValue},
    document::Mistake,
    parse::CatalogueEntry,
};

/// The kind of value that an attribute is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Text,
    Time,
    Number,
    Money,
}

impl Kind {
    fn of(value: &Literal) -> Self {
        match value {
            Literal::Boolean(_) => Self::Boolean,
            Literal::Text(_) => Self::Text,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Text => "a string",
            Self::Time => "a time",
            Self::Number => "a number",
            Self::Money => "an amount of money",
        }
    }

    /// Whether one attribute can be both: a boolean may be stored as 1, an amount of money as a
    /// string or a number.
    fn fits(self, other: Self) -> bool {
        self == other
            || [(self, other), (other, self)].iter().any(|pair| {
                matches!(
                    pair,
                    (Self::Boolean | Self::Money, Self::Number)
                        | (Self::Money | Self::Time, Self::Text)
                )
            })
    }
}

/// Checks the values that the metric reads.
///
/// # Errors
///
/// When an attribute is read as two kinds of values, or a group can never count a row.
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

/// The attributes that the metric reads, each as the field of the entry, the place in the field,
/// the attribute, and its kind.
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
                    "attribute `{attribute}` is {} in `{before}` and {} in `{what}`; use it as one \
                     of them only",
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

/// A condition on the attribute of the groups must not exclude the value of a group.
fn check_groups(
    entry: &CatalogueEntry<Metric>,
    by: &Grouping,
    condition: &Condition,
) -> Result<(), Mistake> {
    let allows = |value: &Literal| match (condition, value) {
        (Condition::Is(wanted), value) => value == wanted,
        (Condition::Not(other), value) => value != other,
        (Condition::AnyOf(any), Literal::Text(value)) => any.contains(value),
        _ => true,
    };
    match by.groups.iter().find(|(_, value)| !allows(value)) {
        Some((name, value)) => {
            let attribute = &by.attribute;
            let reason = format!(
                "group `{name}` is always 0, because `where.{attribute}` excludes `{value}`; remove \
                 the group or change the condition"
            );
            Err(Mistake::new(entry.line_of("by"), reason))
        }
        None => Ok(()),
    }
}
