//! Parsing and checking `metrics.toml` at build time. Every error names the line and the entry.
//!
//! Only the build script and the tests compile this. The crate embeds the result.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    check_values::check_values,
    definition::{
        ALL_TYPES, Condition, Definition, Literal, Measure, Metric, Realtime, Rollup, RowValue,
        SortKeyFormat, Source, Window,
    },
    document::{self, Mistake, Node, Table, listed},
    parse::{CatalogueEntry, attribute, identifier, prices, realtime, source},
    parse_metric::metric,
};

/// The file while it is checked.
struct File {
    types: Vec<String>,
    tables: BTreeMap<String, BTreeMap<String, String>>,
    sources: BTreeMap<String, CatalogueEntry<Source>>,
    metrics: Vec<CatalogueEntry<Metric>>,
}

/// Parses the catalogue in `text`.
///
/// # Errors
///
/// [`Mistake`] with the first entry that is not valid, and its line.
pub fn parse(text: &str) -> Result<Definition, Mistake> {
    let mut top = document::read(text)?;
    let ttl = top.take("platform").map(|(_, node)| read_platform(node)).transpose()?.flatten();
    let types = read_types(top.need("types")?)?;
    let tables = named(&mut top, "tables", "table", prices)?;
    let sources = named(&mut top, "sources", "source", source)?;
    let metrics = top.need("metrics")?.tables("metrics")?;
    let metrics = metrics.into_iter().map(metric).collect::<Result<_, _>>()?;
    let realtime = realtime(top.need("realtime")?.table("realtime")?)
        .map_err(|error| error.within("realtime"))?;
    top.finish(&["platform", "types", "tables", "sources", "metrics", "realtime"])?;

    let file = File { types, tables, sources, metrics };
    check_places(&file)?;
    for (index, entry) in file.metrics.iter().enumerate() {
        check_metric(&file, index)
            .map_err(|mistake| mistake.within(&format!("metric `{}`", entry.value.name)))?;
    }
    check_realtime(&realtime, &file).map_err(|mistake| mistake.within("realtime"))?;
    Ok(Definition {
        ttl,
        types: file.types,
        tables: file.tables,
        sources: file.sources.into_iter().map(|(name, entry)| (name, entry.value)).collect(),
        metrics: file.metrics.into_iter().map(|entry| entry.value).collect(),
        realtime: realtime.value,
    })
}

fn read_platform(node: Node) -> Result<Option<String>, Mistake> {
    let mut table = node.table("platform")?;
    let ttl = table.take("ttl").map(|(_, node)| attribute("platform.ttl", node)).transpose()?;
    table.finish(&["ttl"])?;
    Ok(ttl)
}

fn read_types(node: Node) -> Result<Vec<String>, Mistake> {
    let types = node.some_texts("types")?;
    for (line, name) in &types {
        // The name is part of the keys of records, between `#`.
        identifier(*line, "type", name)?;
        if name == ALL_TYPES {
            let reason = "type `all` is reserved for all types together; use another name";
            return Err(Mistake::new(*line, reason));
        }
    }
    Ok(types.into_iter().map(|(_, name)| name).collect())
}

/// Reads `[field.name]` tables.
fn named<T>(
    top: &mut Table,
    field: &str,
    what: &str,
    read: impl Fn(Table) -> Result<T, Mistake>,
) -> Result<BTreeMap<String, T>, Mistake> {
    let mut found = BTreeMap::new();
    let Some((_, node)) = top.take(field) else { return Ok(found) };
    for (name, line, node) in node.table(field)?.rest() {
        let entry = format!("{what} `{name}`");
        if name.is_empty() {
            return Err(Mistake::new(line, format!("a {what}'s name must not be empty")));
        }
        let table = node.table(&name)?;
        found.insert(name, read(table).map_err(|mistake| mistake.within(&entry))?);
    }
    Ok(found)
}

/// Sources of the same partitions are read together, so they must be equal.
fn check_places(file: &File) -> Result<(), Mistake> {
    let mut sources: Vec<(&String, &CatalogueEntry<Source>)> = file.sources.iter().collect();
    sources.sort_by_key(|(_, entry)| entry.line);
    for (index, (name, entry)) in sources.iter().enumerate() {
        let mine = &entry.value;
        for (other, theirs) in sources[..index].iter().map(|(name, entry)| (name, &entry.value)) {
            let same_place = mine.index == theirs.index && mine.partitions == theirs.partitions;
            if same_place && mine != theirs {
                let reason = format!(
                    "`partitions` are those of source `{other}`, so `keys`, `identity` and \
                     `sort_key_time` must be the same too"
                );
                return Err(Mistake::new(entry.line, reason).within(&format!("source `{name}`")));
            }
        }
    }
    Ok(())
}

fn check_metric(file: &File, index: usize) -> Result<(), Mistake> {
    let entry = &file.metrics[index];
    let metric = &entry.value;
    let fail = |field: &str, reason: String| Err(Mistake::new(entry.line_of(field), reason));
    let same_name = |other: &&CatalogueEntry<Metric>| other.value.name == metric.name;
    if let Some(first) = file.metrics[..index].iter().find(same_name) {
        return fail(
            "name",
            format!("`name` is already used on line {}; use another name", first.line_of("name")),
        );
    }
    if !file.types.contains(&metric.type_name) {
        let types: Vec<&str> = file.types.iter().map(String::as_str).collect();
        let reason = format!(
            "`type = \"{}\"` is not in `types`; valid types: {}",
            metric.type_name,
            listed(&types)
        );
        return fail("type", reason);
    }
    let field = if matches!(metric.measure, Measure::Top { .. }) { "sources" } else { "source" };
    for (_, name) in metric.source_names() {
        let Some(source) = file.sources.get(name) else {
            return fail(field, format!("source `{name}` does not exist; add `[sources.{name}]`"));
        };
        check_identity(metric, name, source)?;
    }
    check_shares(file, entry)?;
    check_values(entry)?;
    match &metric.measure {
        Measure::Sum { value: RowValue::Lookup { table, attribute }, .. }
        | Measure::Avg { value: RowValue::Lookup { table, attribute }, .. } => {
            check_lookup(file, entry, table, attribute)
        }
        Measure::Departures { stock, arrivals } => check_departures(file, entry, stock, arrivals),
        _ => Ok(()),
    }
}

/// An attribute that a metric compares or groups by is shared by items, so it cannot identify them.
fn check_identity(
    metric: &Metric,
    name: &str,
    source: &CatalogueEntry<Source>,
) -> Result<(), Mistake> {
    let Some(identity) = &source.value.identity else { return Ok(()) };
    let is_compared = metric.conditions().is_some_and(|conditions| {
        conditions.iter().any(|(attribute, condition)| {
            attribute == identity && !matches!(condition, Condition::Present)
        })
    });
    let is_group = metric.by().is_some_and(|by| by.attribute == *identity);
    if !is_compared && !is_group && !metric.time().contains(identity) {
        return Ok(());
    }
    let reason = format!(
        "`identity = \"{identity}\"` of source `{name}` is a state or a time in this metric, which \
         several items can share; use an attribute that is different in every item"
    );
    Err(Mistake::new(source.line_of("identity"), reason))
}

/// The shares of `top` must come from different rows: a row of two of them would be counted twice.
fn check_shares(file: &File, entry: &CatalogueEntry<Metric>) -> Result<(), Mistake> {
    let shares: Vec<_> = entry.value.source_names().collect();
    for (index, (share, name)) in shares.iter().enumerate() {
        for (other_share, other_name) in &shares[..index] {
            let (Some(mine), Some(theirs)) =
                (file.sources.get(*name), file.sources.get(*other_name))
            else {
                continue;
            };
            let common = mine.value.partitions.iter().find(|partition| {
                mine.value.index == theirs.value.index
                    && theirs.value.partitions.contains(partition)
            });
            if let Some(partition) = common {
                let reason = format!(
                    "`sources` has partition `{partition}` twice, in `{other_share}` and in \
                     `{share}`, so its items would be counted twice; use sources without common \
                     partitions"
                );
                return Err(Mistake::new(entry.line_of("sources"), reason));
            }
        }
    }
    Ok(())
}

/// The table must exist and have every value that the conditions of the metric allow.
fn check_lookup(
    file: &File,
    entry: &CatalogueEntry<Metric>,
    table: &str,
    attribute: &str,
) -> Result<(), Mistake> {
    let Some(prices) = file.tables.get(table) else {
        let reason = format!("table `{table}` does not exist; add `[tables.{table}]`");
        return Err(Mistake::new(entry.line_of("value"), reason));
    };
    let condition = entry.value.conditions().and_then(|conditions| conditions.get(attribute));
    let allowed = match condition {
        Some(Condition::Is(Literal::Text(value))) => std::slice::from_ref(value),
        Some(Condition::AnyOf(values)) => values,
        _ => &[],
    };
    match allowed.iter().find(|value| !prices.contains_key(*value)) {
        Some(value) => {
            let reason = format!(
                "`[tables.{table}]` has no `{value}`, which `where.{attribute}` allows; add it"
            );
            Err(Mistake::new(entry.line_of("where"), reason))
        }
        None => Ok(()),
    }
}

/// Stock before + arrivals - stock now: a stock and a flow, both single numbers of the same type.
fn check_departures(
    file: &File,
    entry: &CatalogueEntry<Metric>,
    stock: &str,
    arrivals: &str,
) -> Result<(), Mistake> {
    for (field, name, window, word) in [
        ("stock", stock, Window::ToDate, "to_date"),
        ("arrivals", arrivals, Window::Period, "period"),
    ] {
        let fail = |reason: String| Err(Mistake::new(entry.line_of(field), reason));
        let found = file.metrics.iter().map(|entry| &entry.value).find(|found| found.name == name);
        let Some(found) = found else {
            return fail(format!("`{field}`: metric `{name}` does not exist"));
        };
        if found.type_name != entry.value.type_name {
            return fail(format!(
                "`{field}`: metric `{name}` must have `type = \"{}\"`, as this metric has",
                entry.value.type_name
            ));
        }
        let adds_up =
            matches!(found.measure, Measure::Count { by: None, .. } | Measure::Sum { .. });
        if !adds_up || found.window() != Some(window) {
            return fail(format!(
                "`{field}`: metric `{name}` must be a `count` without `by`, or a `sum`, with \
                 `window = \"{word}\"`"
            ));
        }
    }
    Ok(())
}

/// Flows must be sums, headlines single numbers, sources of recent rows readable by hour, and names
/// of counters unique.
fn check_realtime(entry: &CatalogueEntry<Realtime>, file: &File) -> Result<(), Mistake> {
    let realtime = &entry.value;
    let metrics = || file.metrics.iter().map(|entry| &entry.value);
    let find = |field: &str, name: &str| {
        let line = entry.line_of(&format!("{field}.{name}"));
        let found = metrics().find(|metric| metric.name == name);
        let missing = || Mistake::new(line, format!("`{field}`: metric `{name}` does not exist"));
        found.map(|metric| (line, metric)).ok_or_else(missing)
    };
    let totals = metrics().filter(|metric| metric.rollup == Rollup::Last);
    let mut counters: BTreeSet<String> = totals.map(|metric| metric.name.clone()).collect();
    let mut add = |line: usize, name: String| {
        let reason = format!("counter `{name}` already exists; use another name");
        if counters.insert(name) { Ok(()) } else { Err(Mistake::new(line, reason)) }
    };
    for name in &realtime.flows {
        let (line, metric) = find("flows", name)?;
        if metric.rollup != Rollup::Sum {
            let reason = format!("`flows`: metric `{name}` must have `rollup = \"sum\"`");
            return Err(Mistake::new(line, reason));
        }
        add(line, format!("{name}Today"))?;
        add(line, format!("{name}Last24Hours"))?;
    }
    for name in &realtime.headlines {
        let (line, metric) = find("headlines", name)?;
        if !metric.is_number() {
            let reason = format!(
                "`headlines`: metric `{name}` must be a single number, without `by` and not \
                 `measure = \"top\"`"
            );
            return Err(Mistake::new(line, reason));
        }
    }
    for (index, recent) in realtime.recent.iter().enumerate() {
        let line = entry.line_of(&format!("recent.{index}"));
        let name = &recent.source;
        let Some(source) = file.sources.get(name) else {
            let reason = format!("`{}`: source `{name}` does not exist", recent.name);
            return Err(Mistake::new(line, reason));
        };
        let time = source.value.sort_key_time.as_ref();
        if time.is_none_or(|time| time.format != SortKeyFormat::Hour) {
            let reason = format!(
                "`{}`: source `{name}` must have a `sort_key_time` with `format = \"hour\"`",
                recent.name
            );
            return Err(Mistake::new(line, reason));
        }
        add(line, recent.name.clone())?;
    }
    Ok(())
}
