//! The names that templates and matches refer to, and their values: the environment, the columns of
//! the users, and `vars`.

use super::{Inputs, Reader};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::section::{Section, mismatch};
use crate::scenario::tree::{Node, Value};
use crate::wire::application::template::{Template, is_name};
use crate::wire::application::variables::{Computed, Name, Source};

impl<'r> Reader<'r, '_> {
    /// Defines everything that is known before a frame has come: the environment, the columns of
    /// the users, and the names of variables.
    pub(super) fn define_names(&mut self) {
        for (name, value) in &self.inputs.environment {
            let source = Source::Constant(value.as_str().into());
            self.texts
                .names
                .define(&format!("env.{name}"), source, true);
        }
        let unset = Source::Constant("".into());
        for var in self.table("vars").map_or(&[][..], |table| &table.entries) {
            let what = match self.texts.names.find(&var.key) {
                Some(_) => "stands for something else already",
                None if is_name(&var.key) && !var.key.contains('.') => {
                    self.texts.names.define(&var.key, unset.clone(), true);
                    continue;
                }
                None => "a name is of letters, digits, `_` and `-`",
            };
            let title = format!("`protocol.vars.{}`: {what}", var.key);
            self.problem(Diagnostic::error(title).at(&var.key_span, ""));
        }
        let inputs: &'r Inputs = self.inputs;
        let columns = inputs
            .users
            .as_ref()
            .map_or(&[][..], |users| &users.columns);
        for (at, column) in columns.iter().enumerate() {
            let is_own = |name| !matches!(name, Name::Variable(_));
            if self.texts.names.find(column).is_some_and(is_own) {
                let title = format!("`protocol.users`: its column {column:?} has a name of ours");
                let help = "{payload}, {id}, {client}, {group}, {n}, {room} and {run} have values \
                            of their own: call the column something else";
                let error = Diagnostic::error(title).at(&self.span_of("users"), "");
                self.problem(error.help(help));
                continue;
            }
            self.texts.names.define(column, Source::Column(at), true);
        }
    }

    /// The values of the variables.
    pub(super) fn define_vars(&mut self) {
        let Some(table) = self.table("vars") else {
            return;
        };
        let mut made = Vec::new();
        for var in &table.entries {
            let path = format!("protocol.vars.{}", var.key);
            let Some(name) = self.texts.names.find(&var.key) else {
                continue; // a bad name: on record
            };
            if matches!(
                self.texts.names.source(name),
                Some(Source::Column(_)) | None
            ) {
                continue; // the users' column of this name holds
            }
            let Some(source) = self.var(&path, &var.node) else {
                continue;
            };
            made.push((name, var));
            self.texts.names.define(&var.key, source, true);
        }
        for (name, var) in made {
            if self.is_made_of(name, name, 0) {
                let title = format!("`protocol.vars.{}`: is made of itself", var.key);
                self.problem(Diagnostic::error(title).at(&var.node.span, ""));
                // So that nothing turns in a circle.
                let nothing = Source::Constant("".into());
                self.texts.names.define(&var.key, nothing, true);
            }
        }
    }

    fn is_made_of(&self, name: Name, part: Name, depth: usize) -> bool {
        let Some(Source::Computed(computed)) = self.texts.names.source(name) else {
            return false;
        };
        let mut parts = computed.templates().flat_map(Template::names);
        depth > self.texts.names.len()
            || parts.any(|one| one == part || self.is_made_of(one, part, depth + 1))
    }

    fn var(&self, path: &str, node: &Node) -> Option<Source> {
        const FUNCTIONS: [&str; 4] = ["hmac_sha256", "base64", "url", "json"];
        let table = match &node.value {
            Value::Table(table) => table,
            Value::String(text) => {
                let template = self.texts.template(path, node)?;
                let is_constant = template.names().next().is_none();
                return Some(match is_constant {
                    true => Source::Constant(text.as_str().into()),
                    false => Source::Computed(Computed::Text(template)),
                });
            }
            _ => {
                let expected = "a text, or a table such as { hmac_sha256 = \"…\", key = \"…\" }";
                self.problem(mismatch(path, node, &expected.into()));
                return None;
            }
        };
        let known = [&FUNCTIONS[..], &["key"]].concat();
        let section = Section::open(self.texts.problems, path, &node.span, table, &known);
        let of = FUNCTIONS.into_iter().find_map(|function| {
            let entry = section.entry(function)?;
            let path = section.path_of(function);
            Some((function, self.texts.template(&path, &entry.node)))
        });
        let key = section.entry("key").map(|entry| {
            let template = self.texts.template(&section.path_of("key"), &entry.node);
            (entry, template)
        });
        let Some((function, of)) = of else {
            let title = format!("`{path}`: expected one of {}", FUNCTIONS.join(", "));
            self.problem(Diagnostic::error(title).at(&node.span, ""));
            return None;
        };
        let of = of?;
        let computed = match (function, key) {
            ("hmac_sha256", Some((_, key))) => Computed::HmacSha256 { of, key: key? },
            ("hmac_sha256", None) => {
                let title = format!("`{path}.key` is missing");
                self.problem(Diagnostic::error(title).at(&node.span, "needs a `key`"));
                return None;
            }
            (_, Some((entry, _))) => {
                let title = format!("`{path}.key`: {function} takes no key");
                self.problem(Diagnostic::error(title).at(&entry.key_span, ""));
                return None;
            }
            ("base64", None) => Computed::Base64(of),
            ("url", None) => Computed::Url(of),
            _ => Computed::Json(of),
        };
        Some(Source::Computed(computed))
    }
}
