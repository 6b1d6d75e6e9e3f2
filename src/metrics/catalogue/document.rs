//! `metrics.toml` as tables whose keys and values have their lines, so that every error names a
//! line.

use std::{collections::BTreeMap, fmt, ops::Range};

use toml::de::{DeTable, DeValue};

use super::definition::Literal;

/// A part of the file that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The entry that it belongs to, such as `` metric `newUsers` ``; empty outside of entries.
    pub entry: String,
    /// What is wrong and what to write instead, in the words of the file.
    pub reason: String,
}

impl Mistake {
    /// A mistake on `line`; the caller adds the entry.
    pub fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, entry: String::new(), reason: reason.into() }
    }

    /// The same mistake, in `entry`.
    #[must_use]
    pub fn within(self, entry: &str) -> Self {
        Self { entry: entry.to_owned(), ..self }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, entry, reason } = self;
        if entry.is_empty() {
            write!(formatter, "line {line}: {reason}")
        } else {
            write!(formatter, "line {line}: {entry}: {reason}")
        }
    }
}

impl std::error::Error for Mistake {}

/// A value and the line on which it begins.
#[derive(Debug)]
pub struct Node {
    /// The line.
    pub line: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(String),
    Boolean(bool),
    Integer(Option<i64>),
    List(Vec<Node>),
    Table(Vec<Field>),
    Other(&'static str),
}

#[derive(Debug)]
struct Field {
    name: String,
    line: usize,
    value: Node,
}

/// Parses the file.
///
/// # Errors
///
/// When it is not valid TOML.
pub fn read(text: &str) -> Result<Table, Mistake> {
    let root = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let line = line_of(text, offset);
        Mistake::new(line, error.message().replace('\n', ", ")).within(&entry_at(text, line))
    })?;
    let line = 1;
    Ok(Table { line, fields: fields(text, root.into_inner()) })
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The name of the entry on this line, for errors of the TOML parser, which has no entries.
fn entry_at(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let header = lines[..line.min(lines.len())].iter().rposition(|line| line.starts_with('['));
    let Some(header) = header else { return String::new() };
    // The name may stand before or after the offending line.
    let name = lines[header + 1..]
        .iter()
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix("name = "));
    match name {
        Some(name) => format!("metric `{}`", name.trim().trim_matches('"')),
        None => format!("`{}`", lines[header].trim()),
    }
}

fn fields(text: &str, table: DeTable<'_>) -> Vec<Field> {
    let mut fields: Vec<(Range<usize>, Field)> = table
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            let line = line_of(text, span.start);
            let begin = value.span().start;
            let value = node(text, begin, value.into_inner());
            (span, Field { name: key.into_inner().into_owned(), line, value })
        })
        .collect();
    // In the order of the file, so that the first of several mistakes is reported.
    fields.sort_by_key(|(span, _)| span.start);
    fields.into_iter().map(|(_, field)| field).collect()
}

fn node(text: &str, begin: usize, value: DeValue<'_>) -> Node {
    let content = match value {
        DeValue::String(value) => Content::Text(value.into_owned()),
        DeValue::Boolean(value) => Content::Boolean(value),
        DeValue::Integer(value) => {
            Content::Integer(i64::from_str_radix(value.as_str(), value.radix()).ok())
        }
        DeValue::Float(_) => Content::Other("a decimal number"),
        DeValue::Datetime(_) => Content::Other("a date"),
        DeValue::Array(list) => {
            let nodes = list.into_iter();
            Content::List(
                nodes
                    .map(|item| {
                        let begin = item.span().start;
                        node(text, begin, item.into_inner())
                    })
                    .collect(),
            )
        }
        DeValue::Table(table) => Content::Table(fields(text, table)),
    };
    Node { line: line_of(text, begin), content }
}

impl Node {
    /// What it is, for messages.
    fn kind(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "a string",
            Content::Boolean(_) => "a boolean",
            Content::Integer(_) => "a whole number",
            Content::List(_) => "an array",
            Content::Table(_) => "a table",
            Content::Other(kind) => kind,
        }
    }

    fn expected<T>(&self, name: &str, what: &str) -> Result<T, Mistake> {
        Err(Mistake::new(self.line, format!("`{name}` must be {what}, not {}", self.kind())))
    }

    /// The string that `name` must be, which must not be empty.
    ///
    /// # Errors
    ///
    /// When it is something else, or empty.
    pub fn text(self, name: &str) -> Result<String, Mistake> {
        match self.content {
            Content::Text(text) if text.is_empty() => {
                Err(Mistake::new(self.line, format!("`{name}` must not be empty")))
            }
            Content::Text(text) => Ok(text),
            _ => self.expected(name, "a string in quotes"),
        }
    }

    /// The boolean or string that `name` must be.
    ///
    /// # Errors
    ///
    /// When it is something else, or an empty string.
    pub fn literal(self, name: &str) -> Result<Literal, Mistake> {
        match self.content {
            Content::Boolean(value) => Ok(Literal::Boolean(value)),
            Content::Text(_) => Ok(Literal::of_text(&self.text(name)?)),
            _ => self.expected(name, "a string in quotes, `true` or `false`"),
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self.content {
            Content::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// The integer from `least` to `most` that `name` must be.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn integer(self, name: &str, least: u32, most: u32) -> Result<u32, Mistake> {
        let Content::Integer(value) = self.content else {
            return self.expected(name, &format!("a whole number from {least} to {most}"));
        };
        value
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| (least..=most).contains(value))
            .ok_or_else(|| {
                let reason = format!("`{name}` must be a whole number from {least} to {most}");
                Mistake::new(self.line, reason)
            })
    }

    /// The array of different strings that `name` must be, each with its line.
    ///
    /// # Errors
    ///
    /// When it is something else, or lists a string twice.
    pub fn texts(self, name: &str) -> Result<Vec<(usize, String)>, Mistake> {
        let Content::List(list) = self.content else {
            return self.expected(name, "an array of strings");
        };
        let mut texts: Vec<(usize, String)> = Vec::new();
        for item in list {
            let line = item.line;
            let text = item.text(name)?;
            if texts.iter().any(|(_, other)| *other == text) {
                return Err(Mistake::new(line, format!("`{name}` lists `{text}` twice")));
            }
            texts.push((line, text));
        }
        Ok(texts)
    }

    /// The array of different strings that `name` must be, which must not be empty, each with its
    /// line.
    ///
    /// # Errors
    ///
    /// When it is something else, is empty, or lists a string twice.
    pub fn some_texts(self, name: &str) -> Result<Vec<(usize, String)>, Mistake> {
        let line = self.line;
        let texts = self.texts(name)?;
        if texts.is_empty() {
            return Err(Mistake::new(line, format!("`{name}` must not be empty")));
        }
        Ok(texts)
    }

    /// The array of tables, `[[name]]`, that `name` must be.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn tables(self, name: &str) -> Result<Vec<Table>, Mistake> {
        let Content::List(list) = self.content else {
            return self.expected(name, &format!("an array of tables, `[[{name}]]`"));
        };
        list.into_iter().map(|item| item.table(name)).collect()
    }

    /// The table that `name` must be.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn table(self, name: &str) -> Result<Table, Mistake> {
        match self.content {
            Content::Table(fields) => Ok(Table { line: self.line, fields }),
            _ => self.expected(name, "a table"),
        }
    }

    /// Whether it is a table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        matches!(self.content, Content::Table(_))
    }
}

/// A table whose fields are taken one by one. A field that is left at the end is not valid.
#[derive(Debug)]
pub struct Table {
    /// The line on which it begins.
    pub line: usize,
    fields: Vec<Field>,
}

impl Table {
    /// Takes a field, with the line of its name; `None` if it is absent.
    pub fn take(&mut self, name: &str) -> Option<(usize, Node)> {
        let index = self.fields.iter().position(|field| field.name == name)?;
        let field = self.fields.remove(index);
        Some((field.line, field.value))
    }

    /// Takes a required field.
    ///
    /// # Errors
    ///
    /// When it is absent.
    pub fn need(&mut self, name: &str) -> Result<Node, Mistake> {
        let line = self.line;
        self.take(name)
            .map(|(_, node)| node)
            .ok_or_else(|| Mistake::new(line, format!("`{name}` is required")))
    }

    /// All fields that are left, each with its name, line and value.
    pub fn rest(self) -> impl Iterator<Item = (String, usize, Node)> {
        self.fields.into_iter().map(|field| (field.name, field.line, field.value))
    }

    /// The lines of all fields that are left, by name.
    #[must_use]
    pub fn lines(&self) -> BTreeMap<String, usize> {
        self.fields.iter().map(|field| (field.name.clone(), field.line)).collect()
    }

    /// The string in a field that is left; `None` if it is absent or not a string.
    #[must_use]
    pub fn peek(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        match &field.value.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The first field that is left, with its line.
    #[must_use]
    pub fn left(&self) -> Option<(&str, usize)> {
        self.fields.first().map(|field| (field.name.as_str(), field.line))
    }

    /// Ends the table.
    ///
    /// # Errors
    ///
    /// When a field is left; `known` are the valid ones.
    pub fn finish(self, known: &[&str]) -> Result<(), Mistake> {
        match self.left() {
            None => Ok(()),
            Some((name, line)) => Err(Mistake::new(
                line,
                format!("`{name}` is not valid here; valid fields: {}", listed(known)),
            )),
        }
    }
}

/// The names as a list in a sentence: `` `a`, `b` and `c` ``.
#[must_use]
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
