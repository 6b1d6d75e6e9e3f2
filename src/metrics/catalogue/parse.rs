//! From the tables of `metrics.toml` to sources, tables of prices and realtime, each entry by
//! itself. `parse_metric` parses metrics; `check` checks entries against each other.

use std::collections::BTreeMap;

use super::{
    definition::{Realtime, Recent, SortKeyFormat, SortKeyTime, Source},
    document::{Mistake, Node, Table, listed},
};

/// The most minutes that count as recent. Records cover what is more than a day ago.
const MAXIMUM_MINUTES: u32 = 1440;

/// An entry of the file, with its lines.
#[derive(Debug)]
pub struct CatalogueEntry<T> {
    /// Its content.
    pub value: T,
    /// The line on which it begins.
    pub line: usize,
    lines: BTreeMap<String, usize>,
}

impl<T> CatalogueEntry<T> {
    /// The line of a field, or that of the entry if it does not have the field.
    pub fn line_of(&self, field: &str) -> usize {
        self.lines.get(field).copied().unwrap_or(self.line)
    }

    /// Parses a table with `read`. A field that it does not take is rejected; `known` are the valid
    /// ones.
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

/// Checks that a name can be part of a list, a key and a URL.
pub fn identifier(line: usize, field: &str, name: &str) -> Result<(), Mistake> {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if begins && name.chars().all(fits) {
        return Ok(());
    }
    Err(Mistake::new(
        line,
        format!(
            "`{field}` `{name}` must begin with a letter and contain only letters, digits, `_` and `-`"
        ),
    ))
}

/// The name of an attribute.
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
                "attribute `{name}`: paths are not supported; use a top-level attribute of the item"
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
            format!("`{field} = \"{word}\"` is not valid; valid values: {}", listed(&names)),
        )
    })
}

/// Parses `[sources.name]`.
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
                "`identity` is required with several `partitions`: an attribute that is different in \
                 every item",
            ));
        }
        None => None,
    };
    Ok(Source { index, keys, partitions, identity, sort_key_time: time })
}

/// Checks that the attribute can be different in every item: not a key, and not a time.
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
        format!("`identity = \"{name}\"` {why}; use an attribute that is different in every item"),
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

/// Parses `[tables.name]`: prices by the value of an attribute.
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

/// Whether the text is an amount in whole cents: digits, at most two of them after a point.
fn is_price(text: &str) -> bool {
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    digits(whole, 15) && digits(cents, 2)
}

/// Parses `[realtime]`, with the line of each flow and headline.
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
