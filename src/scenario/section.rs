//! Reading one table of a scenario: its keys by name, each with its default, each checked on its
//! own, and whatever it holds besides is unknown.
//!
//! An error does not end the reading: it is noted, the default stands in, and the next key is
//! read, so that all errors come out at once. What is read is also written down: the section's
//! resolved form, defaults filled in, is made of the same calls and cannot leave a key out.

use std::cell::RefCell;

use serde_json::{Map, Value as Json};

use super::diagnostic::{Diagnostic, Severity, Span, nearest};
use super::tree::{Entry, Node, Table, Value};

/// Describes what a value should have been: the rest of "expected …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) what: String,
    pub(super) help: Option<String>,
}

impl<T: Into<String>> From<T> for Expected {
    fn from(what: T) -> Self {
        Self {
            what: what.into(),
            help: None,
        }
    }
}

/// Where the sections put what they find. Shared by all of them at once, hence the cell.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Diagnostic>>);

impl Problems {
    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0
            .borrow()
            .iter()
            .any(|d| d.severity() == Severity::Error)
    }

    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}

/// Every section of a scenario with its keys, for unknown keys that belong elsewhere.
pub(super) const KEYS: [(&str, &[&str]); 10] = [
    (
        "",
        &[
            "description",
            "seed",
            "target",
            "protocol",
            "run",
            "clients",
            "verify",
            "thresholds",
        ],
    ),
    (
        "target",
        &["url", "addresses", "faults", "connect_timeout", "tls"],
    ),
    (
        "target.tls",
        &["cacert", "insecure", "cert", "key", "server_name"],
    ),
    (
        "protocol",
        &[
            "preset",
            "login",
            "join",
            "leave",
            "goodbye",
            "publish",
            "ack",
            "refusal",
            "error",
            "ignore",
            "heartbeat",
            "split",
            "end",
            "binary",
            "subprotocol",
            "headers",
            "vars",
            "users",
            "reconnect",
            "subject",
            "echo",
            "channel",
            "sharded",
        ],
    ),
    (
        "run",
        &[
            "warmup",
            "duration",
            "drain",
            "connect_rate",
            "observers",
            "shards",
        ],
    ),
    (
        "clients.*",
        &[
            "count",
            "rate",
            "arrival",
            "payload",
            "stages",
            "in_flight",
            "script",
            "repeat",
            "client_ip",
            "rooms",
        ],
    ),
    ("clients.*.payload", &["size", "min", "max"]),
    ("clients.*.rooms", &["count", "names", "each", "pick"]),
    (
        "verify",
        &[
            "ack",
            "relay",
            "order",
            "echo",
            "use_seq",
            "late_after",
            "late",
        ],
    ),
    (
        "thresholds",
        &[
            "ack",
            "relay",
            "last_relay",
            "spread",
            "send_lag",
            "connect",
            "rooms",
            "rates",
        ],
    ),
];

/// The keys of section `name` of [`KEYS`].
pub(super) fn keys_of(name: &str) -> &'static [&'static str] {
    KEYS.iter()
        .find(|(section, _)| *section == name)
        .map_or(&[], |(_, keys)| keys)
}

/// A table that is being read.
pub(super) struct Section<'a> {
    /// Its place in the file, `clients.talkers`; empty for the file itself.
    pub(super) path: String,
    /// The place to point at where something is missing.
    pub(super) span: Span,
    table: &'a Table,
    resolved: Map<String, Json>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// Opens a table of which `known` are the keys; any other is an error.
    pub(super) fn open(
        problems: &'a Problems,
        path: impl Into<String>,
        span: &Span,
        table: &'a Table,
        known: &[&str],
    ) -> Self {
        let section = Self {
            path: path.into(),
            span: span.clone(),
            table,
            resolved: Map::new(),
            problems,
        };
        for entry in &table.entries {
            if !known.contains(&entry.key.as_str()) {
                problems.push(section.unknown(entry, known));
            }
        }
        section
    }

    /// Opens `entry`'s table; `None`, and an error, if it is none.
    pub(super) fn open_entry(
        problems: &'a Problems,
        path: impl Into<String>,
        entry: &'a Entry,
        known: &[&str],
    ) -> Option<Self> {
        let path = path.into();
        match &entry.node.value {
            Value::Table(table) => Some(Self::open(problems, path, &entry.key_span, table, known)),
            _ => {
                problems.push(mismatch(&path, &entry.node, &"a table".into()));
                None
            }
        }
    }

    fn unknown(&self, entry: &Entry, known: &[&str]) -> Diagnostic {
        let key = &entry.key;
        let elsewhere = KEYS
            .iter()
            .find(|(_, keys)| keys.contains(&key.as_str()))
            .map(|(section, _)| *section);
        let label = match (nearest(key, known.iter().copied()), elsewhere) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(section)) if !section.is_empty() => {
                format!("`{key}` belongs in [{section}]")
            }
            _ => "unknown key".to_owned(),
        };
        Diagnostic::error(format!("`{}`: no such key", self.path_of(key)))
            .at(&entry.key_span, label)
            .help(format!("keys here: {}", known.join(", ")))
    }

    /// A key's whole path, as `--set` takes it.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The entry of `key`, if the file or the command line sets it.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table.get(key)
    }

    /// The value of `key`, or its default, which is written as in a file.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, Expected>,
        default: impl Into<Json>,
    ) -> T {
        if let Some(value) = self.optional(key, &read) {
            return value;
        }
        let default = default.into();
        let value = read(&Node::from(default.clone()));
        self.resolved.insert(key.to_owned(), default);
        value.unwrap_or_else(|e| panic!("the default of `{key}` is not {}", e.what))
    }

    /// The value of `key`; `None` if it is absent or wrong.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, Expected>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        match read(&entry.node) {
            Ok(value) => {
                self.resolved.insert(key.to_owned(), entry.node.to_json());
                Some(value)
            }
            Err(expected) => {
                let path = self.path_of(key);
                self.problems.push(mismatch(&path, &entry.node, &expected));
                None
            }
        }
    }

    /// The value of a key that has no default; `None`, and an error, if it is absent.
    pub(super) fn required<T>(
        &mut self,
        key: &str,
        read: impl Fn(&Node) -> Result<T, Expected>,
    ) -> Option<T> {
        if self.entry(key).is_none() {
            let title = format!("`{}` is missing", self.path_of(key));
            self.problem(Diagnostic::error(title).at(&self.span, format!("needs a `{key}`")));
        }
        self.optional(key, read)
    }

    /// The elements of array `key` with their paths; none, and an error, if it is no array.
    pub(super) fn elements(&self, key: &str) -> Vec<(String, &'a Node)> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        self.elements_of(&self.path_of(key), &entry.node)
    }

    /// The elements of an array that stands at `path`, likewise.
    pub(super) fn elements_of<'n>(&self, path: &str, node: &'n Node) -> Vec<(String, &'n Node)> {
        match &node.value {
            Value::Array(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(i, node)| (format!("{path}.{i}"), node))
                .collect(),
            _ => {
                self.problem(mismatch(path, node, &"an array, in square brackets".into()));
                Vec::new()
            }
        }
    }

    /// Puts a part that was read by other means into the resolved form.
    pub(super) fn resolve(&mut self, key: &str, resolved: Json) {
        self.resolved.insert(key.to_owned(), resolved);
    }

    /// Where problems are noted, for a section within this one.
    pub(super) fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// Notes a problem.
    pub(super) fn problem(&self, diagnostic: Diagnostic) {
        self.problems.push(diagnostic);
    }

    /// The section as it was read, defaults filled in.
    pub(super) fn into_resolved(self) -> Json {
        Json::Object(self.resolved)
    }
}

/// "expected this, found that", where it stands.
pub(super) fn mismatch(path: &str, node: &Node, expected: &Expected) -> Diagnostic {
    let title = format!("`{path}`: expected {}", expected.what);
    let diagnostic = Diagnostic::error(title).at(&node.span, format!("found {}", node.describe()));
    match &expected.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
