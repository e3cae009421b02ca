//! The scenario as a tree of values that know where they stand: the file's TOML with the command
//! line's `PATH=VALUE`s set into it.
//!
//! The schema reads this tree instead of deserialising, because serde stops at the first error
//! and loses the place of whatever it had accepted before; a scenario's author wants all errors
//! at once, and most of what can be wrong is wrong only together with another key.

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Span, excerpt, nearest};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    /// Wider than TOML's own integers, so that what is out of range is said by the key's rule.
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn put(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|e| e.key == entry.key) {
            Some(old) => *old = entry,
            None => self.entries.push(entry),
        }
    }
}

impl Node {
    /// Describes it, for "found …".
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::String(text) => format!("the string {:?}", excerpt(text, SHOWN_CHARS)),
            Value::Integer(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Boolean(truth) => truth.to_string(),
            Value::Datetime => "a date".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }

    /// The same value in JSON, for the resolved plan.
    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Value::String(text) => Json::from(text.as_str()),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) => Json::from(number),
                Err(_) => Json::from(*number as i64),
            },
            Value::Float(number) => Json::from(*number),
            Value::Boolean(truth) => Json::from(*truth),
            Value::Datetime => Json::Null,
            Value::Array(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Table(table) => table
                .entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }
}

/// A default as if it stood in the file: a string, a number or a truth value.
impl From<Json> for Node {
    fn from(json: Json) -> Self {
        let value = match json {
            Json::String(text) => Value::String(text),
            Json::Bool(truth) => Value::Boolean(truth),
            Json::Number(number) => match number.as_i128() {
                Some(number) => Value::Integer(number),
                None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Null | Json::Array(_) | Json::Object(_) => unreachable!("defaults are leaves"),
        };
        Self { span: 0..0, value }
    }
}

/// The most characters of a string that a message repeats.
const SHOWN_CHARS: usize = 80;

/// Syntax errors from which on a file is taken for something else than TOML.
const MANY_ERRORS: usize = 8;

/// Reads a file's text, which begins at `base` in the common space of offsets.
///
/// # Errors
/// Everything in it that is no TOML.
pub(super) fn parse_document(text: &str, base: usize) -> Result<Table, Vec<Diagnostic>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), base));
    }
    let mut found = errors.iter().map(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        Diagnostic::error(format!("not TOML: {}", error.message())).at(&shift(span, base), "")
    });
    if errors.len() < MANY_ERRORS {
        return Err(found.collect());
    }
    let help = format!(
        "{} places are no TOML: is this a scenario? README.md shows one",
        errors.len()
    );
    Err(found
        .next()
        .map(|first| first.help(help))
        .into_iter()
        .collect())
}

/// Sets the value that `argument`, a `PATH=VALUE` that begins at `base`, asks for.
///
/// The path is TOML's dotted key, so a group with an odd name can be quoted; a number picks an
/// element of an array (`script.1.publish.count`). The value is TOML, or else the string it is:
/// `run.duration=2s` needs no quotes that a shell would eat.
///
/// # Errors
/// The argument is not of that form, or leads through something that holds no keys. That its last
/// key exists is the schema's business.
pub(super) fn set(root: &mut Table, argument: &str, base: usize) -> Result<(), Diagnostic> {
    let whole = base..base + argument.len();
    let Some((path, text)) = argument.split_once('=') else {
        return Err(Diagnostic::error("expected PATH=VALUE").at(&whole, "no `=` here"));
    };
    let keys = dotted_key(path, base).ok_or_else(|| {
        Diagnostic::error("expected a path such as `run.duration` before the `=`")
            .at(&(base..base + path.len()), "")
    })?;
    let value = set_value(text, base + path.len() + 1)?;
    put(root, &keys, value)
}

/// Sets the value at `path`, which an option of its own asks for.
///
/// # Errors
/// The path leads through something that holds no keys.
pub(super) fn put_value(root: &mut Table, path: &[&str], value: Node) -> Result<(), Diagnostic> {
    let key = |key: &&str| ((*key).to_owned(), value.span.clone());
    let keys: Vec<Key> = path.iter().map(key).collect();
    put(root, &keys, value)
}

/// An option of the command line for a key that most scenarios have once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shorthand {
    /// `run.duration`.
    Duration,
    /// The `rate` of the only group that has one.
    Rate,
    /// The `count` of the only group.
    Clients,
}

/// Sets the value that `text` asks for, which stands `offset` bytes after the option's `base`.
///
/// # Errors
/// The key could be that of several groups, or of none, or the value is not TOML.
pub(super) fn set_shorthand(
    root: &mut Table,
    shorthand: Shorthand,
    text: &str,
    base: usize,
    offset: usize,
) -> Result<(), Diagnostic> {
    let span = base..base + offset + text.len();
    let key = match shorthand {
        Shorthand::Duration => {
            let value = set_value(text, base + offset)?;
            return put_value(root, &["run", "duration"], value);
        }
        Shorthand::Rate => "rate",
        Shorthand::Clients => "count",
    };
    let groups = match root.get("clients").map(|entry| &entry.node.value) {
        Some(Value::Table(table)) => table.entries.as_slice(),
        _ => &[],
    };
    let has_key = |group: &&Entry| match &group.node.value {
        Value::Table(table) => shorthand == Shorthand::Clients || table.get(key).is_some(),
        _ => false,
    };
    let of: Vec<String> = groups
        .iter()
        .filter(has_key)
        .map(|group| group.key.clone())
        .collect();
    match of.as_slice() {
        [group] => {
            let value = set_value(text, base + offset)?;
            put_value(root, &["clients", group, key], value)
        }
        [] => Err(Diagnostic::error(format!("no group has a `{key}`")).at(&span, "")),
        several => {
            const SHOWN: usize = 5;
            let sets: Vec<String> = several
                .iter()
                .take(SHOWN)
                .map(|group| format!("--set clients.{group}.{key}={text}"))
                .collect();
            let with = match shorthand {
                Shorthand::Clients => String::new(),
                _ => format!(" with a `{key}`"),
            };
            let title = format!("the file has {} groups{with}", several.len());
            Err(Diagnostic::error(title)
                .at(&span, "which of them is meant?")
                .help(format!("name it: {}", sets.join(", or "))))
        }
    }
}

type Key = (String, Span);

/// The keys of a dotted path: TOML's own reading of `path = 0`.
fn dotted_key(path: &str, base: usize) -> Option<Vec<Key>> {
    if path.contains('\n') {
        return None;
    }
    let line = format!("{path}=0");
    let document = DeTable::parse(&line).ok()?;
    let mut keys = Vec::new();
    let mut table = document.get_ref();
    while let Some((key, node)) = table.iter().next() {
        keys.push((key.get_ref().to_string(), shift(key.span(), base)));
        match node.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(keys),
        }
    }
    None
}

fn set_value(text: &str, base: usize) -> Result<Node, Diagnostic> {
    let structured = text.trim_start().starts_with(['[', '{', '"', '\'']);
    match DeValue::parse(text) {
        Ok(parsed) => Ok(node(parsed.get_ref(), shift(parsed.span(), base), base)),
        Err(error) if structured => {
            let span = shift(error.span().unwrap_or(0..text.len()), base);
            Err(Diagnostic::error(format!("not TOML: {}", error.message())).at(&span, ""))
        }
        Err(_) => Ok(Node {
            span: base..base + text.len(),
            value: Value::String(text.to_owned()),
        }),
    }
}

fn put(root: &mut Table, keys: &[Key], value: Node) -> Result<(), Diagnostic> {
    if let [(clients, _), (group, span), ..] = keys
        && clients == "clients"
    {
        expect_group(root, group, span)?;
    }
    let Some(((last, last_span), parents)) = keys.split_last() else {
        return Ok(());
    };
    let mut path = String::new();
    let mut at = Holder::Table(root);
    for (key, span) in parents {
        path.push_str(if path.is_empty() { "" } else { "." });
        path.push_str(key);
        let child = match at {
            Holder::Table(table) => child_table(table, key, span),
            Holder::Array(nodes) => element(nodes, key, span)?,
        };
        let found = child.describe();
        at = match &mut child.value {
            Value::Table(table) => Holder::Table(table),
            Value::Array(nodes) => Holder::Array(nodes),
            _ => {
                let title = format!("`{path}` holds no keys: it is {found}");
                return Err(Diagnostic::error(title).at(last_span, "no such key"));
            }
        };
    }
    match at {
        Holder::Table(table) => table.put(Entry {
            key: last.clone(),
            key_span: last_span.clone(),
            node: value,
        }),
        Holder::Array(nodes) => *element(nodes, last, last_span)? = value,
    }
    Ok(())
}

/// A group cannot be made from the command line: a mistyped name would be a group of its own,
/// and the one that was meant would keep its value.
fn expect_group(root: &Table, name: &str, span: &Span) -> Result<(), Diagnostic> {
    let groups = match root.get("clients").map(|entry| &entry.node.value) {
        Some(Value::Table(table)) => table.entries.as_slice(),
        _ => &[],
    };
    if groups.iter().any(|group| group.key == name) {
        return Ok(());
    }
    let names: Vec<&str> = groups.iter().map(|group| group.key.as_str()).collect();
    let label = match nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => String::new(),
    };
    Err(
        Diagnostic::error(format!("`clients.{name}`: the file has no such group"))
            .at(span, label)
            .help(format!("its groups are {}", names.join(", "))),
    )
}

/// The container that a step of a path leads into.
enum Holder<'a> {
    Table(&'a mut Table),
    Array(&'a mut Vec<Node>),
}

/// The value of `key`, made an empty table where it is not there: the schema says if it may be.
fn child_table<'a>(table: &'a mut Table, key: &str, span: &Span) -> &'a mut Node {
    let at = match table.entries.iter().position(|e| e.key == key) {
        Some(at) => at,
        None => {
            table.entries.push(Entry {
                key: key.to_owned(),
                key_span: span.clone(),
                node: Node {
                    span: span.clone(),
                    value: Value::Table(Table::default()),
                },
            });
            table.entries.len() - 1
        }
    };
    &mut table.entries[at].node
}

fn element<'a>(nodes: &'a mut [Node], key: &str, span: &Span) -> Result<&'a mut Node, Diagnostic> {
    let elements = nodes.len();
    key.parse()
        .ok()
        .and_then(|at: usize| nodes.get_mut(at))
        .ok_or_else(|| {
            let title = format!("expected an index below {elements}, the array's length");
            Diagnostic::error(title).at(span, "")
        })
}

fn table(parsed: &DeTable<'_>, base: usize) -> Table {
    let mut entries: Vec<Entry> = parsed
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: shift(key.span(), base),
            node: node(value.get_ref(), shift(value.span(), base), base),
        })
        .collect();
    // The parser's map is in the order of the alphabet.
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { entries }
}

fn node(parsed: &DeValue<'_>, span: Span, base: usize) -> Node {
    let value = match parsed {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Float(f64::INFINITY), // more digits than any key takes
            }
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(nodes) => Value::Array(
            nodes
                .iter()
                .map(|n| node(n.get_ref(), shift(n.span(), base), base))
                .collect(),
        ),
        DeValue::Table(inner) => Value::Table(table(inner, base)),
    };
    Node { span, value }
}

fn shift(span: Span, base: usize) -> Span {
    span.start + base..span.end + base
}
