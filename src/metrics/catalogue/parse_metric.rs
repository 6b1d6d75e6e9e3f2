//! From a `[[metrics]]` entry to a metric: the fields that its measure requires, and those that are
//! not valid with it.

use std::collections::BTreeMap;

use super::{
    definition::{
        Absent, Condition, Grouping, Literal, MAXIMUM_TARGETS, Measure, Metric, Rollup, RowValue,
        Rows, Window,
    },
    document::{Mistake, Node, Table, listed},
    parse::{CatalogueEntry, attribute, attributes, choice, identifier, top_level},
};

const MEASURES: [&str; 6] = ["count", "count_distinct", "sum", "avg", "top", "departures"];

/// The fields of all measures.
const METRIC_FIELDS: [&str; 18] = [
    "type", "name", "source", "sources", "measure", "value", "where", "by", "key", "ties", "limit",
    "stock", "arrivals", "window", "time", "absent", "rollup", "moves",
];

/// Parses an entry of `[[metrics]]`.
pub fn metric(table: Table) -> Result<CatalogueEntry<Metric>, Mistake> {
    let entry = match table.peek("name") {
        Some(name) => format!("metric `{name}`"),
        None => "`[[metrics]]`".to_owned(),
    };
    CatalogueEntry::read(table, read_metric, &METRIC_FIELDS)
        .map_err(|mistake| mistake.within(&entry))
}

fn read_metric(table: &mut Table) -> Result<Metric, Mistake> {
    let line = table.lines().get("name").copied().unwrap_or(table.line);
    let name = table.need("name")?.text("name")?;
    identifier(line, "name", &name)?;
    let type_name = table.need("type")?.text("type")?;
    let words = MEASURES.map(|word| (word, word));
    let word = choice("measure", table.need("measure")?, &words)?;
    let rollups = [
        ("sum", Rollup::Sum),
        ("last", Rollup::Last),
        ("merge", Rollup::Merge),
        ("weighted", Rollup::Weighted),
    ];
    let rollup_line = table.lines().get("rollup").copied().unwrap_or(table.line);
    let rollup = choice("rollup", table.need("rollup")?, &rollups)?;
    let moves = table.take("moves");
    let measure = measure(table, word)?;
    if let Some((field, line)) = table.left() {
        return Err(Mistake::new(
            line,
            match field {
                "past" => "`past` is not a field: it follows from `window`; if the application \
                           overwrites an attribute in place, use `moves`"
                    .to_owned(),
                _ if METRIC_FIELDS.contains(&field) => {
                    format!("`{field}` is not valid with `measure = \"{word}\"`")
                }
                _ => format!(
                    "`{field}` is not a field of a metric; valid fields: {}",
                    listed(&METRIC_FIELDS)
                ),
            },
        ));
    }
    let mut metric = Metric { type_name, name, measure, rollup, moves: None };
    if let Some((line, node)) = moves {
        let name = attribute("moves", node)?;
        if metric.attributes().all(|attribute| attribute != name) {
            return Err(Mistake::new(
                line,
                format!(
                    "`moves = \"{name}\"`: the metric does not use this attribute; use one of its own"
                ),
            ));
        }
        metric.moves = Some(name);
    }
    fits(&metric, rollup_line)?;
    Ok(metric)
}

/// Takes a field that the measure requires.
fn need(table: &mut Table, measure: &str, field: &str) -> Result<Node, Mistake> {
    let line = table.line;
    table.take(field).map(|(_, node)| node).ok_or_else(|| {
        Mistake::new(line, format!("`{field}` is required with `measure = \"{measure}\"`"))
    })
}

fn measure(table: &mut Table, word: &str) -> Result<Measure, Mistake> {
    Ok(match word {
        "count" => {
            let by = table.take("by").map(|(_, node)| grouping(node)).transpose()?;
            Measure::Count { rows: rows(table, word)?, by }
        }
        "count_distinct" => {
            let node = need(table, word, "value")?;
            if node.is_table() {
                let reason = "`value` must be the name of an attribute with `measure = \
                              \"count_distinct\"`";
                return Err(Mistake::new(node.line, reason));
            }
            let attribute = attribute("value", node)?;
            Measure::CountDistinct { rows: rows(table, word)?, attribute }
        }
        "sum" | "avg" => {
            let value = value(need(table, word, "value")?)?;
            let rows = rows(table, word)?;
            if word == "sum" { Measure::Sum { rows, value } } else { Measure::Avg { rows, value } }
        }
        "top" => {
            let key = attributes("key", need(table, word, "key")?)?;
            let ties = need(table, word, "ties")?;
            let line = ties.line;
            let ties = ties.text("ties")?;
            let tie = key.iter().position(|name| *name == ties).ok_or_else(|| {
                let reason = format!("`ties = \"{ties}\"` must be one of the attributes in `key`");
                Mistake::new(line, reason)
            })?;
            let limit = need(table, word, "limit")?.integer("limit", 1, MAXIMUM_TARGETS)?;
            let rows = rows(table, word)?;
            // A target in the list has its key, its rows by share, and `total`.
            let taken = |share: &&String| *share == "total" || key.contains(share);
            if let Some(share) = rows.sources.keys().find(taken) {
                let reason = format!(
                    "`sources`: share `{share}` must have another name, because every target has a \
                     field of this name already"
                );
                return Err(Mistake::new(table.line, reason));
            }
            Measure::Top { rows, key, tie, limit: limit as usize }
        }
        _ => {
            let stock = need(table, word, "stock")?.text("stock")?;
            let arrivals = need(table, word, "arrivals")?.text("arrivals")?;
            Measure::Departures { stock, arrivals }
        }
    })
}

fn rows(table: &mut Table, measure: &str) -> Result<Rows, Mistake> {
    let sources = if measure == "top" {
        shares(need(table, measure, "sources")?)?
    } else {
        BTreeMap::from([(String::new(), need(table, measure, "source")?.text("source")?)])
    };
    let mut conditions = BTreeMap::new();
    if let Some((_, node)) = table.take("where") {
        for (name, line, node) in node.table("where")?.rest() {
            top_level(line, &name)?;
            conditions.insert(name.clone(), condition(&name, node)?);
        }
    }
    let windows = [("period", Window::Period), ("to_date", Window::ToDate), ("now", Window::Now)];
    let window = choice("window", need(table, measure, "window")?, &windows)?;
    let time = match table.take("time") {
        Some((line, _)) if window == Window::Now => {
            return Err(Mistake::new(line, "`time` is not valid with `window = \"now\"`"));
        }
        Some((_, node)) => attributes("time", node)?,
        None if window == Window::Now => Vec::new(),
        None => {
            let reason = "`time` is required: the attributes that hold the time of an item";
            return Err(Mistake::new(table.line, reason));
        }
    };
    let choices = [("malformed", Absent::Malformed), ("skip", Absent::Skip)];
    let absent = table.take("absent").map(|(_, node)| choice("absent", node, &choices));
    let absent = absent.transpose()?.unwrap_or_default();
    Ok(Rows { sources, conditions, window, time, absent })
}

fn shares(node: Node) -> Result<BTreeMap<String, String>, Mistake> {
    let line = node.line;
    let mut shares: BTreeMap<String, String> = BTreeMap::new();
    for (share, line, node) in node.table("sources")?.rest() {
        if share.is_empty() {
            return Err(Mistake::new(line, "a share's name must not be empty"));
        }
        let source = node.text(&format!("sources.{share}"))?;
        if shares.values().any(|other| *other == source) {
            return Err(Mistake::new(line, format!("`sources` has source `{source}` twice")));
        }
        shares.insert(share, source);
    }
    if shares.is_empty() {
        return Err(Mistake::new(line, "`sources` must not be empty"));
    }
    Ok(shares)
}

fn grouping(node: Node) -> Result<Grouping, Mistake> {
    let mut table = node.table("by")?;
    let attribute = attribute("by.attribute", table.need("attribute")?)?;
    let node = table.need("groups")?;
    let line = node.line;
    table.finish(&["attribute", "groups"])?;
    let mut groups: BTreeMap<String, Literal> = BTreeMap::new();
    for (name, line, node) in node.table("by.groups")?.rest() {
        if name.is_empty() {
            return Err(Mistake::new(line, "a group's name must not be empty"));
        }
        // Numbers are not valid, because one number can be written in several ways.
        let value = node.literal(&format!("by.groups.{name}"))?;
        for (other, known) in &groups {
            if *known == value {
                let reason = format!(
                    "groups `{other}` and `{name}` have the same value `{value}`; an item can be in one \
                     group only"
                );
                return Err(Mistake::new(line, reason));
            }
            if is_boolean(known) != is_boolean(&value) {
                let (boolean, text) =
                    if is_boolean(known) { (known, &value) } else { (&value, known) };
                let reason = format!(
                    "`by.groups` has the boolean `{boolean}` and the string `{text}`; all values must \
                     be booleans, or all strings"
                );
                return Err(Mistake::new(line, reason));
            }
        }
        groups.insert(name, value);
    }
    if groups.is_empty() {
        return Err(Mistake::new(line, "`by.groups` must not be empty"));
    }
    Ok(Grouping { attribute, groups })
}

fn value(node: Node) -> Result<RowValue, Mistake> {
    if !node.is_table() {
        return Ok(RowValue::Number(attribute("value", node)?));
    }
    let mut table = node.table("value")?;
    if let Some((_, node)) = table.take("money") {
        let money = attribute("value.money", node)?;
        table.finish(&["money"])?;
        return Ok(RowValue::Money(money));
    }
    let line = table.line;
    let (Some((_, name)), Some((_, key))) = (table.take("table"), table.take("attribute")) else {
        let reason = "`value` must be the name of an attribute, `{ money = \"…\" }` or \
                      `{ table = \"…\", attribute = \"…\" }`";
        return Err(Mistake::new(line, reason));
    };
    let value = RowValue::Lookup {
        table: name.text("value.table")?,
        attribute: attribute("value.attribute", key)?,
    };
    table.finish(&["table", "attribute"])?;
    Ok(value)
}

fn is_boolean(value: &Literal) -> bool {
    matches!(value, Literal::Boolean(_))
}

fn condition(name: &str, node: Node) -> Result<Condition, Mistake> {
    let field = format!("where.{name}");
    if !node.is_table() {
        return node.literal(&field).map(Condition::Is);
    }
    let mut table = node.table(&field)?;
    let line = table.line;
    let kinds = ["not", "any_of", "present", "after_period"];
    let given: Vec<&str> =
        kinds.into_iter().filter(|kind| table.lines().contains_key(*kind)).collect();
    if given.len() > 1 {
        let reason =
            format!("`{field}` has {}; use one condition for an attribute", listed(&given));
        return Err(Mistake::new(line, reason));
    }
    let condition = if let Some((_, node)) = table.take("not") {
        Condition::Not(node.literal(&format!("{field}.not"))?)
    } else if let Some((_, node)) = table.take("any_of") {
        let words = node.some_texts(&format!("{field}.any_of"))?;
        if let Some((line, word)) =
            words.iter().find(|(_, word)| is_boolean(&Literal::of_text(word)))
        {
            let reason = format!(
                "`{field}.any_of` must list strings, and `{word}` is a boolean; use `{name} = true` or \
                 `{name} = false`"
            );
            return Err(Mistake::new(*line, reason));
        }
        Condition::AnyOf(words.into_iter().map(|(_, word)| word).collect())
    } else if let Some((_, node)) = table.take("present") {
        only_true(&format!("{field}.present"), &node)?;
        Condition::Present
    } else if let Some((_, node)) = table.take("after_period") {
        only_true(&format!("{field}.after_period"), &node)?;
        Condition::AfterPeriod
    } else {
        // A field that is left is not a condition.
        table.finish(&kinds)?;
        return Err(Mistake::new(line, format!("`{field}` must not be empty")));
    };
    table.finish(&kinds)?;
    Ok(condition)
}

fn only_true(field: &str, node: &Node) -> Result<(), Mistake> {
    if node.boolean() == Some(true) {
        return Ok(());
    }
    Err(Mistake::new(node.line, format!("`{field}` must be `true`; the opposite is not supported")))
}

/// Checks that the rollup fits the measure and its window.
fn fits(metric: &Metric, line: usize) -> Result<(), Mistake> {
    let is_stock = metric.window().is_some_and(|window| window != Window::Period);
    let (word, rollup) = match &metric.measure {
        Measure::Top { .. } if is_stock => {
            return Err(Mistake::new(line, "`measure = \"top\"` must have `window = \"period\"`"));
        }
        _ if is_stock => ("last", Rollup::Last),
        Measure::Count { .. } | Measure::Sum { .. } | Measure::Departures { .. } => {
            ("sum", Rollup::Sum)
        }
        Measure::CountDistinct { .. } | Measure::Top { .. } => ("merge", Rollup::Merge),
        Measure::Avg { .. } => ("weighted", Rollup::Weighted),
    };
    if metric.rollup == rollup {
        return Ok(());
    }
    let over = match metric.window() {
        Some(Window::Period) => " with `window = \"period\"`",
        Some(Window::ToDate) => " with `window = \"to_date\"`",
        Some(Window::Now) => " with `window = \"now\"`",
        None => "",
    };
    let measure = metric.measure.name();
    Err(Mistake::new(
        line,
        format!("`measure = \"{measure}\"`{over} must have `rollup = \"{word}\"`"),
    ))
}
