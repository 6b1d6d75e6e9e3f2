//! From the tables of `metrics.toml` to sources, tables and realtime: each entry on its own. Metrics are
//! read in `parse_metric`; what entries say of each other is checked in `check`.

use std::collections::BTreeMap;

use super::{
    definition::{Realtime, Recent, SortKeyFormat, SortKeyTime, Source},
    document::{Mistake, Node, Table, listed},
};

/// The most minutes that something counts as recent: beyond a day there are the records.
const MAXIMUM_MINUTES: u32 = 1440;

/// A part of the file and where it stands.
#[derive(Debug)]
pub struct CatalogueEntry<T> {
    /// What it says.
    pub value: T,
    /// The line on which it begins.
    pub line: usize,
    lines: BTreeMap<String, usize>,
}

impl<T> CatalogueEntry<T> {
    /// The line of a field, or of the entry where it has no such field.
    pub fn line_of(&self, field: &str) -> usize {
        self.lines.get(field).copied().unwrap_or(self.line)
    }

    /// Reads a table with `read`; what it does not take is refused, `known` is what it could take.
    pub fn read(
        mut table: Table,
        read: impl FnOnce(&mut Table) -> Result<T, Mistake>,
        known: &[&str],
    ) -> Result<Self, Mistake> {
        let (line, lines) = (table.line, table.lines());
        let value = read(&mut table)?;
        table.finish(known)?;
        Ok(Self { value, line, lines })
    }
}

/// A name that can stand in a list, a key and a URL.
pub fn identifier(line: usize, field: &str, name: &str) -> Result<(), Mistake> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if begins && name.chars().all(fits) {
        return Ok(());
    }
    Err(Mistake::new(
        line,
        format!(
            "`{field}` `{name}` must begin with a letter and have only letters, digits, `_` and `-`"
        ),
    ))
}

/// An attribute's name.
pub fn attribute(field: &str, node: Node) -> Result<String, Mistake> {
    let line = node.line;
    let name = node.text(field)?;
    top_level(line, &name)?;
    Ok(name)
}

pub fn top_level(line: usize, name: &str) -> Result<(), Mistake> {
    if name.is_empty() {
        return Err(Mistake::new(line, "an attribute's name must not be empty"));
    }
    if name.contains(['.', '[', ']']) {
        return Err(Mistake::new(
            line,
            format!(
                "attribute `{name}`: paths are not supported; name an attribute of the item itself"
            ),
        ));
    }
    Ok(())
}

pub fn attributes(field: &str, node: Node) -> Result<Vec<String>, Mistake> {
    let names = node.some_texts(field)?;
    for (line, name) in &names {
        top_level(*line, name)?;
    }
    Ok(names.into_iter().map(|(_, name)| name).collect())
}

/// One of several words.
pub fn choice<T: Copy>(field: &str, node: Node, choices: &[(&str, T)]) -> Result<T, Mistake> {
    let line = node.line;
    let word = node.text(field)?;
    let found = choices.iter().find(|(name, _)| *name == word);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Mistake::new(
            line,
            format!("`{field} = \"{word}\"` is not known; use one of {}", listed(&names)),
        )
    })
}

/// Reads `[sources.name]`.
pub fn source(table: Table) -> Result<CatalogueEntry<Source>, Mistake> {
    let known = ["index", "keys", "partitions", "identity", "sort_key_time"];
    CatalogueEntry::read(table, read_source, &known)
}

fn read_source(table: &mut Table) -> Result<Source, Mistake> {
    let index = table.take("index").map(|(_, node)| node.text("index")).transpose()?;
    let keys = table.need("keys")?;
    let line = keys.line;
    let keys = attributes("keys", keys)?;
    let keys: [String; 2] = keys.try_into().map_err(|_| {
        Mistake::new(line, "`keys` must name two attributes: the partition key and the sort key")
    })?;
    let partitions = table.need("partitions")?.some_texts("partitions")?;
    let partitions: Vec<String> = partitions.into_iter().map(|(_, name)| name).collect();
    let time = table.take("sort_key_time").map(|(_, node)| sort_key_time(node)).transpose()?;
    let identity = match table.take("identity") {
        Some((line, node)) => {
            let name = attribute("identity", node)?;
            identity(line, &name, &keys, time.as_ref())?;
            Some(name)
        }
        None if partitions.len() > 1 => {
            return Err(Mistake::new(
                table.line,
                "several `partitions` need `identity`, the attribute that tells items apart",
            ));
        }
        None => None,
    };
    Ok(Source { index, keys, partitions, identity, sort_key_time: time })
}

/// What is shared by the items of a partition, or by those of one instant, tells none apart.
fn identity(
    line: usize,
    name: &str,
    keys: &[String; 2],
    time: Option<&SortKeyTime>,
) -> Result<(), Mistake> {
    let why = if *name == keys[0] {
        "is the partition key, which all items of a partition share"
    } else if *name == keys[1] {
        "is the sort key, which items of different partitions can share"
    } else if time.is_some_and(|time| time.attribute == name) {
        "is a time, which several items can share"
    } else {
        return Ok(());
    };
    Err(Mistake::new(
        line,
        format!("`identity` `{name}` {why}; name an attribute that is different in every item"),
    ))
}

fn sort_key_time(node: Node) -> Result<SortKeyTime, Mistake> {
    let mut table = node.table("sort_key_time")?;
    let attribute = attribute("sort_key_time.attribute", table.need("attribute")?)?;
    let formats = [("instant", SortKeyFormat::Instant), ("hour", SortKeyFormat::Hour)];
    let format = choice("sort_key_time.format", table.need("format")?, &formats)?;
    table.finish(&["attribute", "format"])?;
    Ok(SortKeyTime { attribute, format })
}

/// Reads `[tables.name]`: prices by the value of an attribute.
pub fn prices(table: Table) -> Result<BTreeMap<String, String>, Mistake> {
    let line = table.line;
    let mut prices = BTreeMap::new();
    for (key, line, node) in table.rest() {
        if key.is_empty() {
            return Err(Mistake::new(line, "a key must not be empty"));
        }
        let price = node.text(&key)?;
        if !is_price(&price) {
            return Err(Mistake::new(
                line,
                format!("`{key}` must be an amount such as \"9\" or \"9.90\", not `{price}`"),
            ));
        }
        prices.insert(key, price);
    }
    if prices.is_empty() {
        return Err(Mistake::new(line, "the table must not be empty"));
    }
    Ok(prices)
}

/// Digits, at most two of them after a point: whole cents.
fn is_price(text: &str) -> bool {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    digits(whole, 15) && digits(cents, 2)
}

/// Reads `[realtime]`, with the line of each flow and headline.
pub fn realtime(table: Table) -> Result<CatalogueEntry<Realtime>, Mistake> {
    let known = ["flows", "headlines", "recent"];
    let mut lines = BTreeMap::new();
    let read = |table: &mut Table| {
        let mut names = |field: &str, node: Node| {
            let names = node.texts(field)?;
            lines.extend(names.iter().map(|(line, name)| (format!("{field}.{name}"), *line)));
            Ok(names.into_iter().map(|(_, name)| name).collect())
        };
        let flows = names("flows", table.need("flows")?)?;
        let headlines = names("headlines", table.need("headlines")?)?;
        let mut recent = Vec::new();
        if let Some((_, node)) = table.take("recent") {
            for table in node.tables("realtime.recent")? {
                let line = table.line;
                let entry = recent_of(table)?;
                lines.insert(format!("recent.{}", recent.len()), line);
                recent.push(entry);
            }
        }
        Ok(Realtime { flows, headlines, recent })
    };
    let mut entry = CatalogueEntry::read(table, read, &known)?;
    entry.lines.extend(lines);
    Ok(entry)
}

fn recent_of(mut table: Table) -> Result<Recent, Mistake> {
    let line = table.line;
    let name = table.need("name")?.text("name")?;
    identifier(line, "name", &name)?;
    let recent = Recent {
        source: table.need("source")?.text("source")?,
        value: attribute("value", table.need("value")?)?,
        time: attribute("time", table.need("time")?)?,
        minutes: table.need("minutes")?.integer("minutes", 1, MAXIMUM_MINUTES)?,
        name,
    };
    table.finish(&["name", "source", "value", "time", "minutes"])?;
    Ok(recent)
}
