//! Templates and matches of `[protocol]`, with what is wrong in them said at its place.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::scenario::diagnostic::{Diagnostic, Span};
use crate::scenario::section::{Expected, Problems, mismatch};
use crate::scenario::tree::{Node, Table, Value};
use crate::scenario::value::string;
use crate::wire::application::matching::{BadMatch, Match, Written};
use crate::wire::application::template::{NearMiss, Template, names_in};
use crate::wire::application::variables::Names;

/// What reads texts, and the names that are known in them.
pub(super) struct Texts<'p> {
    pub(super) problems: &'p Problems,
    pub(super) names: Names,
    /// Names of environment variables that were said to be missing: once is enough.
    missing: RefCell<Vec<String>>,
}

impl<'p> Texts<'p> {
    pub(super) fn new(problems: &'p Problems) -> Self {
        Self {
            problems,
            names: Names::default(),
            missing: RefCell::default(),
        }
    }

    /// The value of a node; `None`, and an error, if it is something else.
    pub(super) fn value<T>(
        &self,
        path: &str,
        node: &Node,
        read: impl Fn(&Node) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = read(node);
        if let Err(expected) = &value {
            self.problems.push(mismatch(path, node, expected));
        }
        value.ok()
    }

    /// The template that a node is.
    pub(super) fn template(&self, path: &str, node: &Node) -> Option<Template> {
        let text = self.value(path, node, string)?;
        self.expect_environment(path, node, &text);
        match Template::parse(&text, &self.names) {
            Ok(template) => Some(template),
            Err(misses) => {
                self.near_misses(path, node, &text, &misses);
                None
            }
        }
    }

    /// Notes variables of the environment that are not set.
    fn expect_environment(&self, path: &str, node: &Node, text: &str) {
        for name in names_in(text) {
            let Some(variable) = name.strip_prefix("env.") else {
                continue;
            };
            let mut missing = self.missing.borrow_mut();
            if self.names.find(name).is_some() || missing.iter().any(|one| one == variable) {
                continue;
            }
            missing.push(variable.to_owned());
            let title = format!("`{path}`: the environment has no variable {variable}");
            let error = Diagnostic::error(title).at(&node.span, "");
            self.problems
                .push(error.help(format!("set it: {variable}=… chatbench …")));
        }
    }

    fn near_misses(&self, path: &str, node: &Node, text: &str, misses: &[NearMiss]) {
        for NearMiss { at, found, meant } in misses {
            let span = place(node, text, at.start - 1..at.end + 1);
            let title = format!("`{path}`: {{{found}}} is no known name");
            let label = format!("did you mean `{{{meant}}}`?");
            let error = Diagnostic::error(title).at(&span, label);
            self.problems.push(error.help(format!(
                "if it is to be sent as it stands, put a space into it: {{ {found} }}"
            )));
        }
    }

    /// All matches of a node: one, or an array of them.
    pub(super) fn matches(&mut self, path: &str, node: &Node) -> Vec<Match> {
        match &node.value {
            Value::Array(nodes) => {
                let nodes = nodes.iter().enumerate();
                let one = |(nth, node)| self.one_match(&format!("{path}.{nth}"), node);
                nodes.filter_map(one).collect()
            }
            _ => self.one_match(path, node).into_iter().collect(),
        }
    }

    /// The match that a node is.
    pub(super) fn one_match(&mut self, path: &str, node: &Node) -> Option<Match> {
        let found = match &node.value {
            Value::String(text) => {
                self.expect_environment(path, node, text);
                Match::whole(text, &mut self.names)
            }
            Value::Table(table) => {
                let mut conditions = Vec::new();
                if !self.flatten(path, "", table, &mut conditions) {
                    return None;
                }
                let written = conditions
                    .iter()
                    .map(|(path, value, _)| (&**path, value.clone()));
                let found = Match::json(written, &mut self.names);
                // A wrong name is in one of the values.
                if let Err(BadMatch::NearMisses(misses)) = &found
                    && let Some(miss) = misses.first()
                {
                    let of = conditions
                        .iter()
                        .find_map(|(key, value, node)| match value {
                            Written::Text(text) => names_in(text)
                                .any(|name| name == miss.found)
                                .then_some((key, *text, *node)),
                            _ => None,
                        });
                    if let Some((key, text, node)) = of {
                        self.near_misses(&format!("{path}.{key}"), node, text, misses);
                        return None;
                    }
                }
                found
            }
            _ => {
                let expected = "a match: a text in which * stands for anything, or a table of \
                                values in JSON, such as { type = \"ok\" }";
                self.problems.push(mismatch(path, node, &expected.into()));
                return None;
            }
        };
        let wrong = match found {
            Ok(found) => return Some(found),
            Err(wrong) => wrong,
        };
        let (what, help) = match wrong {
            BadMatch::NearMisses(misses) => {
                let text = string(node).unwrap_or_default();
                self.near_misses(path, node, &text, &misses);
                return None;
            }
            BadMatch::GapsTouch => (
                "nothing says where one value ends and the next begins",
                Some("put the text between them that stands there"),
            ),
            BadMatch::Payload => (
                "messages are found without it",
                Some("leave {payload} out: a message is recognised wherever it stands"),
            ),
            BadMatch::TakesAll => (
                "takes whatever comes",
                Some("say what tells this frame from the others, such as { type = \"ok\" }"),
            ),
            BadMatch::BadPath(_) => ("a path is of names with dots between them", None),
            BadMatch::BadValue(_) => ("no number that JSON has", None),
        };
        let what = Cow::Borrowed(what);
        let error = Diagnostic::error(format!("`{path}`: {what}")).at(&node.span, "");
        self.problems.push(match help {
            Some(help) => error.help(help),
            None => error,
        });
        None
    }

    /// The conditions of a table, in which tables may stand in tables. `false`, and an error, if
    /// something in it is none.
    fn flatten<'n>(
        &self,
        path: &str,
        prefix: &str,
        table: &'n Table,
        conditions: &mut Vec<(String, Written<'n>, &'n Node)>,
    ) -> bool {
        let mut good = true;
        for entry in &table.entries {
            let key = match prefix {
                "" => entry.key.clone(),
                _ => format!("{prefix}.{}", entry.key),
            };
            let node = &entry.node;
            let value = match &node.value {
                Value::Table(inner) => {
                    good &= self.flatten(path, &key, inner, conditions);
                    continue;
                }
                Value::String(text) => {
                    self.expect_environment(&format!("{path}.{key}"), node, text);
                    Written::Text(text)
                }
                Value::Boolean(truth) => Written::Truth(*truth),
                Value::Integer(number) => Written::Number(*number as f64),
                Value::Float(number) => Written::Number(*number),
                Value::Array(_) | Value::Datetime => {
                    let expected = "a text, a number, true or false: a place in an array goes into \
                                    the path, as in \"items.0\"";
                    let path = format!("{path}.{key}");
                    self.problems.push(mismatch(&path, node, &expected.into()));
                    good = false;
                    continue;
                }
            };
            conditions.push((key, value, node));
        }
        good
    }
}

/// Where a piece of a string stands in its source: exactly where the string has no escapes.
fn place(node: &Node, text: &str, piece: std::ops::Range<usize>) -> Span {
    let quotes = node.span.len().saturating_sub(text.len());
    match quotes {
        2 => node.span.start + 1 + piece.start..node.span.start + 1 + piece.end,
        _ => node.span.clone(),
    }
}
