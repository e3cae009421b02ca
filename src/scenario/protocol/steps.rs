//! Steps: what is sent and what is expected, in logins, joins, leaves and scripts.

use super::{DEFAULT_WITHIN, Reader};
use crate::scenario::diagnostic::Diagnostic;
use crate::scenario::script::Ask;
use crate::scenario::section::{Section, mismatch};
use crate::scenario::tree::{Entry, Value};
use crate::scenario::value::some_time;
use crate::wire::application::matching::Match;
use crate::wire::application::spec::Step;
use crate::wire::application::template::Template;
use crate::wire::application::variables::Name;

const STEP_KEYS: [&str; 3] = ["send", "expect", "within"];

impl<'r> Reader<'r, '_> {
    /// The elements of an array of tables, or the one table that stands in its place.
    pub(super) fn tables<'k>(&'k self, key: &str, known: &[&str]) -> Vec<Section<'k>> {
        let Some(entry) = self.section.entry(key) else {
            return Vec::new();
        };
        let path = self.section.path_of(key);
        let nodes = match &entry.node.value {
            Value::Table(_) => vec![(path, &entry.node)],
            _ => self.section.elements_of(&path, &entry.node),
        };
        nodes
            .into_iter()
            .filter_map(|(path, node)| match &node.value {
                Value::Table(table) => {
                    let problems = self.texts.problems;
                    Some(Section::open(problems, path, &node.span, table, known))
                }
                _ => {
                    let form = format!("a table with {}", known.join(", "));
                    self.problem(mismatch(&path, node, &form.into()));
                    None
                }
            })
            .collect()
    }

    /// What the steps of `key` expect, in order.
    pub(super) fn expects(&mut self, key: &str) -> Vec<Option<Match>> {
        let nodes: Vec<_> = self
            .tables(key, &STEP_KEYS)
            .iter()
            .map(|step| (step.path_of("expect"), step.entry("expect").cloned()))
            .collect();
        let read =
            |(path, entry): (String, Option<Entry>)| self.texts.one_match(&path, &entry?.node);
        nodes.into_iter().map(read).collect()
    }

    /// What the steps of scripts expect, in the order of their numbers.
    pub(super) fn answers(&mut self) -> Vec<Option<Match>> {
        let asks: &'r [Ask] = self.around.asks;
        let read = |ask: &Ask| {
            let path = format!("{}.expect", ask.path);
            self.texts.one_match(&path, ask.expect.as_ref()?)
        };
        asks.iter().map(read).collect()
    }

    /// The steps of scripts, in the order of their numbers.
    pub(super) fn asks(&self, answers: Vec<Option<Match>>) -> Vec<Step> {
        let asks = self.around.asks.iter().zip(answers);
        asks.map(|(ask, expect)| {
            let path = format!("{}.send", ask.path);
            let send = ask.send.as_ref();
            let send = send.and_then(|node| self.texts.template(&path, node));
            for name in [Name::Payload, Name::Room] {
                if send.as_ref().is_some_and(|send| send.mentions(name)) {
                    let what = if name == Name::Room {
                        "{room}"
                    } else {
                        "{payload}"
                    };
                    let title = format!("`{path}`: {what} has no value in a script's message");
                    self.problem(Diagnostic::error(title).at(&ask.span, ""));
                }
            }
            Step {
                send,
                expect,
                within_ns: ask.within.as_nanos() as u64,
            }
        })
        .collect()
    }

    pub(super) fn steps(&self, key: &str, expects: Vec<Option<Match>>) -> Vec<Step> {
        let steps = self.tables(key, &STEP_KEYS).into_iter().zip(expects);
        steps
            .map(|(mut step, expect)| {
                let send = step
                    .entry("send")
                    .and_then(|entry| self.texts.template(&step.path_of("send"), &entry.node));
                let within = step.value("within", some_time, DEFAULT_WITHIN);
                if step.entry("send").is_none() && step.entry("expect").is_none() {
                    let title = format!("`{}`: neither sends nor expects anything", step.path);
                    let error = Diagnostic::error(title).at(&step.span, "");
                    self.problem(error.help("a step is { send = …, expect = … }, or one of them"));
                }
                if let (Some(entry), None) = (step.entry("within"), step.entry("expect")) {
                    let title = format!("`{}`: nothing is expected", step.path_of("within"));
                    self.problem(Diagnostic::error(title).at(&entry.key_span, ""));
                }
                if key == "login" {
                    for name in [Name::Payload, Name::Room] {
                        self.has_no(send.as_ref(), &step, "send", name);
                    }
                } else {
                    self.has_no(send.as_ref(), &step, "send", Name::Payload);
                }
                Step {
                    send,
                    expect,
                    within_ns: within.as_nanos() as u64,
                }
            })
            .collect()
    }

    /// Notes a name in a template that has no value there.
    pub(super) fn has_no(
        &self,
        template: Option<&Template>,
        of: &Section<'_>,
        key: &str,
        name: Name,
    ) {
        if template.is_some_and(|template| template.mentions(name))
            && let Some(entry) = of.entry(key)
        {
            let name = self.texts.names.name(name);
            let title = format!("`{}`: {{{name}}} has no value here", of.path_of(key));
            self.problem(Diagnostic::error(title).at(&entry.node.span, ""));
        }
    }
}
