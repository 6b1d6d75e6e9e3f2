//! Reading and checking `metrics.toml`, at build time: every error names the entry and the line.
//!
//! Only the build script and the tests compile this; the crate embeds what it returns.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;
use toml::Spanned;

use super::definition::{Definition, Measure, Metric, Rollup, Source, Value, Window};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    types: Vec<String>,
    #[serde(default)]
    tables: BTreeMap<String, Spanned<BTreeMap<String, String>>>,
    sources: BTreeMap<String, Spanned<Source>>,
    metrics: Vec<Spanned<Metric>>,
}

/// Reads the catalogue in `text`.
///
/// # Errors
///
/// What is wrong, with the entry's name and its line.
pub fn parse(text: &str) -> Result<Definition, String> {
    let file: File = toml::from_str(text).map_err(|error| explain(text, &error))?;
    let line = |span: Range<usize>| line_of(text, span.start);
    for (name, source) in &file.sources {
        check_source(source.get_ref())
            .map_err(|why| format!("line {}: source `{name}`: {why}", line(source.span())))?;
    }
    for (name, table) in &file.tables {
        for (key, price) in table.get_ref() {
            if !is_decimal(price) {
                return Err(format!(
                    "line {}: table `{name}`: `{key}` must be a decimal, not `{price}`",
                    line(table.span())
                ));
            }
        }
    }
    for (index, entry) in file.metrics.iter().enumerate() {
        let metric = entry.get_ref();
        let fail =
            |why: String| format!("line {}: metric `{}`: {why}", line(entry.span()), metric.name);
        if let Some(first) =
            file.metrics[..index].iter().find(|other| other.get_ref().name == metric.name)
        {
            return Err(fail(format!("there is one of this name on line {}", line(first.span()))));
        }
        check_metric(metric, &file).map_err(fail)?;
    }
    Ok(Definition {
        types: file.types,
        tables: file.tables.into_iter().map(|(name, table)| (name, table.into_inner())).collect(),
        sources: file
            .sources
            .into_iter()
            .map(|(name, source)| (name, source.into_inner()))
            .collect(),
        metrics: file.metrics.into_iter().map(Spanned::into_inner).collect(),
    })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The parser's own error, with the line and the entry it lies in.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let offset = error.span().map_or(0, |span| span.start);
    let line = line_of(text, offset);
    // The entry's name may stand before or after the offending line.
    let lines: Vec<&str> = text.lines().collect();
    let header = lines[..line.min(lines.len())].iter().rposition(|line| line.starts_with('['));
    let entry = header.map_or("the top of the file".to_owned(), |header| {
        let name = lines[header + 1..]
            .iter()
            .take_while(|line| !line.starts_with('['))
            .find_map(|line| line.strip_prefix("name = "));
        name.map_or_else(
            || format!("`{}`", lines[header].trim()),
            |name| format!("metric `{}`", name.trim().trim_matches('"')),
        )
    });
    format!("line {line}: {entry}: {}", error.message())
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_source(source: &Source) -> Result<(), String> {
    if source.partitions.is_empty() {
        return Err("`partitions` must name at least one partition".to_owned());
    }
    if source.partitions.len() > 1 && source.identity.is_none() {
        return Err(
            "several `partitions` need an `identity`, the attribute that tells items apart"
                .to_owned(),
        );
    }
    Ok(())
}

fn check_metric(metric: &Metric, file: &File) -> Result<(), String> {
    if !file.types.contains(&metric.type_name) {
        return Err(format!("type `{}` is not one of {}", metric.type_name, file.types.join(", ")));
    }
    for (_, source) in metric.source_names() {
        if !file.sources.contains_key(source) {
            return Err(format!("source `{source}` does not exist"));
        }
    }
    if let Some(Value::Lookup { table, .. }) = &metric.value
        && !file.tables.contains_key(table)
    {
        return Err(format!("table `{table}` does not exist"));
    }
    check_fields(metric)?;
    check_rollup(metric)?;
    for (field, other) in [("stock", &metric.stock), ("arrivals", &metric.arrivals)] {
        let Some(other) = other else { continue };
        let found = file.metrics.iter().map(Spanned::get_ref).find(|found| found.name == *other);
        match found {
            Some(found) if found.type_name != metric.type_name => {
                return Err(format!("{field} `{other}` is of another type"));
            }
            Some(found) if found.measure == Measure::Departures => {
                return Err(format!("{field} `{other}` cannot be a departures metric"));
            }
            Some(_) => {}
            None => return Err(format!("{field} `{other}` does not exist")),
        }
    }
    Ok(())
}

/// Each measure has the fields it needs and none that it would ignore.
fn check_fields(metric: &Metric) -> Result<(), String> {
    use Measure::{Avg, Count, CountDistinct, Departures, Sum, Top};
    let reads_rows = metric.measure != Departures;
    let needs = [
        ("source", metric.source.is_some(), reads_rows && metric.measure != Top),
        ("sources", metric.sources.is_some(), metric.measure == Top),
        ("value", metric.value.is_some(), matches!(metric.measure, CountDistinct | Sum | Avg)),
        ("key", !metric.key.is_empty(), metric.measure == Top),
        ("ties", metric.ties.is_some(), metric.measure == Top),
        ("limit", metric.limit.is_some(), metric.measure == Top),
        ("stock", metric.stock.is_some(), !reads_rows),
        ("arrivals", metric.arrivals.is_some(), !reads_rows),
        ("window", metric.window.is_some(), reads_rows),
        ("time", !metric.time.is_empty(), reads_rows && metric.window != Some(Window::Now)),
    ];
    for (field, there, needed) in needs {
        if there != needed {
            let measure = format!("{:?}", metric.measure);
            return Err(if needed {
                format!("measure {measure} needs `{field}`")
            } else {
                format!("measure {measure} has no use for `{field}`")
            });
        }
    }
    if metric.by.is_some() && metric.measure != Count {
        return Err("only measure Count has a use for `by`".to_owned());
    }
    if metric.limit == Some(0) {
        return Err("`limit` must be at least 1".to_owned());
    }
    if let Some(ties) = &metric.ties
        && !metric.key.contains(ties)
    {
        return Err(format!("ties `{ties}` is not part of `key`"));
    }
    if matches!(metric.measure, CountDistinct) && !matches!(metric.value, Some(Value::Attribute(_)))
    {
        return Err("measure CountDistinct counts the values of an attribute".to_owned());
    }
    Ok(())
}

fn check_rollup(metric: &Metric) -> Result<(), String> {
    let to_date = metric.window.is_some_and(|window| window != Window::Period);
    let fitting: &[Rollup] = match metric.measure {
        Measure::Count | Measure::Sum | Measure::CountDistinct if to_date => &[Rollup::Last],
        Measure::Count | Measure::Sum | Measure::Departures => &[Rollup::Sum],
        Measure::CountDistinct | Measure::Top => &[Rollup::Merge],
        Measure::Avg => &[Rollup::Weighted],
    };
    if fitting.contains(&metric.rollup) {
        Ok(())
    } else {
        Err(format!(
            "rollup {:?} does not fit measure {:?} over this window; {:?} does",
            metric.rollup, metric.measure, fitting[0]
        ))
    }
}
