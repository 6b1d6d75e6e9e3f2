//! Reading and checking `metrics.toml`, at build time: every error names the entry and the line.
//!
//! Only the build script and the tests compile this; the crate embeds what it returns.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;
use toml::Spanned;

use super::definition::{
    Definition, Measure, Metric, Realtime, Recent, Rollup, SortKeyFormat, Source, Value, Window,
};

/// The most minutes that something counts as recent: beyond a day there are the records.
const MAXIMUM_MINUTES: u32 = 1440;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    types: Vec<String>,
    #[serde(default)]
    tables: BTreeMap<String, Spanned<BTreeMap<String, String>>>,
    sources: BTreeMap<String, Spanned<Source>>,
    metrics: Vec<Spanned<Metric>>,
    realtime: Spanned<Realtime>,
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
    check_realtime(file.realtime.get_ref(), &file)
        .map_err(|why| format!("line {}: realtime: {why}", line(file.realtime.span())))?;
    Ok(Definition {
        types: file.types,
        tables: file.tables.into_iter().map(|(name, table)| (name, table.into_inner())).collect(),
        sources: file
            .sources
            .into_iter()
            .map(|(name, source)| (name, source.into_inner()))
            .collect(),
        metrics: file.metrics.into_iter().map(Spanned::into_inner).collect(),
        realtime: file.realtime.into_inner(),
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

/// Flows add up, headlines are numbers, what is recent is found by its hour.
fn check_realtime(realtime: &Realtime, file: &File) -> Result<(), String> {
    let metric = |field: &str, name: &String| {
        let mut metrics = file.metrics.iter().map(Spanned::get_ref);
        metrics
            .find(|metric| metric.name == *name)
            .ok_or_else(|| format!("{field}: metric `{name}` does not exist"))
    };
    for name in &realtime.flows {
        if metric("flows", name)?.rollup != Rollup::Sum {
            return Err(format!("flows: metric `{name}` does not add up"));
        }
    }
    for name in &realtime.headlines {
        let metric = metric("headlines", name)?;
        if metric.by.is_some() || metric.measure == Measure::Top {
            return Err(format!("headlines: metric `{name}` is no number"));
        }
    }
    for (index, Recent { name, source, minutes, .. }) in realtime.recent.iter().enumerate() {
        let found = file.sources.get(source).map(Spanned::get_ref);
        let found = found.ok_or_else(|| format!("{name}: source `{source}` does not exist"))?;
        let is_by_hour =
            found.sort_key_time.as_ref().is_some_and(|time| time.format == SortKeyFormat::Hour);
        if !is_by_hour {
            return Err(format!("{name}: source `{source}` is not sorted by the hour"));
        }
        if !(1..=MAXIMUM_MINUTES).contains(minutes) {
            return Err(format!("{name}: `minutes` must be from 1 to {MAXIMUM_MINUTES}"));
        }
        if realtime.recent[..index].iter().any(|other| other.name == *name) {
            return Err(format!("{name}: there are two of this name"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = include_str!("../../metrics.toml");

    /// The line on which `fragment` stands.
    fn line(text: &str, fragment: &str) -> usize {
        text.lines().position(|line| line.contains(fragment)).unwrap() + 1
    }

    /// What `parse` says when `from` is replaced, once.
    fn error_after(from: &str, to: &str) -> (String, String) {
        assert!(SOUND.contains(from), "{from}");
        let text = SOUND.replacen(from, to, 1);
        let error = parse(&text).unwrap_err();
        (text, error)
    }

    /// The entry of `metric`, to change something in it.
    fn entry(metric: &str) -> String {
        let name = SOUND.find(&format!("name = \"{metric}\"")).unwrap();
        let begin = SOUND[..name].rfind("[[metrics]]").unwrap();
        let end = SOUND[name..].find("\n\n").map_or(SOUND.len(), |end| name + end);
        SOUND[begin..end].to_owned()
    }

    #[test]
    fn the_catalogue_is_sound() {
        let definition = parse(SOUND).unwrap();
        assert_eq!(definition.metrics.len(), 31);
    }

    #[test]
    fn an_unknown_field_is_an_error_on_its_line() {
        let sound = entry("newMedia");
        let wrong = format!("{sound}\ncolour = \"blue\"");
        let (text, error) = error_after(&sound, &wrong);
        assert!(error.starts_with(&format!("line {}: ", line(&text, "colour"))), "{error}");
        assert!(error.contains("newMedia") && error.contains("colour"), "{error}");
    }

    #[test]
    fn a_source_that_does_not_exist_is_an_error_on_the_metrics_line() {
        let sound = entry("visitors");
        let wrong = sound.replace("source = \"visitors\"", "source = \"guests\"");
        let (text, error) = error_after(&sound, &wrong);
        let metric = line(&text, "name = \"visitors\"") - 2;
        assert_eq!(
            error,
            format!("line {metric}: metric `visitors`: source `guests` does not exist")
        );
    }

    #[test]
    fn a_duplicate_metric_is_an_error_that_names_both_lines() {
        let sound = entry("newAlbums");
        let (text, error) = error_after(&sound, &format!("{sound}\n\n{sound}"));
        let first = line(&text, "name = \"newAlbums\"") - 2;
        let second = first + sound.lines().count() + 1;
        let expected =
            format!("line {second}: metric `newAlbums`: there is one of this name on line {first}");
        assert_eq!(error, expected);
    }

    #[test]
    fn a_rollup_that_does_not_fit_is_an_error() {
        for (metric, sound_rollup, wrong_rollup) in [
            ("visitors", "merge", "sum"),
            ("totalMedia", "last", "sum"),
            ("newMedia", "sum", "last"),
            ("averageGenerationTime", "weighted", "sum"),
            ("mostEngaged", "merge", "last"),
        ] {
            let sound = entry(metric);
            let wrong = sound.replace(
                &format!("rollup = \"{sound_rollup}\""),
                &format!("rollup = \"{wrong_rollup}\""),
            );
            let (text, error) = error_after(&sound, &wrong);
            let at = line(&text, &format!("name = \"{metric}\"")) - 2;
            assert!(error.starts_with(&format!("line {at}: metric `{metric}`: rollup")), "{error}");
        }
    }

    #[test]
    fn other_mistakes_name_the_entry_too() {
        for (metric, from, to, says) in [
            ("newLikes", "type = \"interactions\"", "type = \"interaction\"", "is not one of"),
            ("newLikes", "time = [\"createdAt\"]", "", "needs `time`"),
            ("newLikes", "window = \"period\"", "", "needs `window`"),
            ("newLikes", "rollup = \"sum\"", "rollup = \"sum\"\nlimit = 3", "no use for `limit`"),
            ("newLikes", "rollup = \"sum\"", "rollup = \"total\"", "total"),
            ("MRR", "monthly_price", "yearly_price", "table `yearly_price` does not exist"),
            ("deletedUsers", "stock = \"totalUsers\"", "stock = \"people\"", "stock `people`"),
            ("mostEngaged", "ties = \"targetId\"", "ties = \"name\"", "is not part of `key`"),
        ] {
            let sound = entry(metric);
            assert!(sound.contains(from), "{metric}: {from}");
            let (_, error) = error_after(&sound, &sound.replacen(from, to, 1));
            assert!(error.starts_with("line ") && error.contains(metric), "{error}");
            assert!(error.contains(says), "{error} does not say {says}");
        }
        for (from, to, says) in [
            ("flows = [\n", "flows = [\n\"totalUsers\",", "does not add up"),
            ("flows = [\n", "flows = [\n\"newPeople\",", "`newPeople` does not exist"),
            ("headlines = [\n", "headlines = [\n\"mostEngaged\",", "is no number"),
            ("minutes = 5", "minutes = 0", "from 1 to 1440"),
            ("Last5Minutes", "Last30Minutes", "two of this name"),
        ] {
            let (text, error) = error_after(from, to);
            let at = line(&text, "[realtime]");
            assert!(error.starts_with(&format!("line {at}: realtime: ")), "{error}");
            assert!(error.contains(says), "{error} does not say {says}");
        }
        let (_, error) = error_after("starter = \"9\"", "starter = \"nine\"");
        assert!(error.contains("table `monthly_price`") && error.contains("nine"), "{error}");
        let (_, error) = error_after("identity = \"PK\"\n", "");
        assert!(error.contains("source `generations`") && error.contains("identity"), "{error}");
    }
}
