//! What `[protocol]` takes from elsewhere, fetched before the scenario is read: a preset, the
//! environment, the table of users.

use std::collections::BTreeMap;
use std::path::Path;

use super::presets;
use super::users::{self, Users};
use crate::input;
use crate::scenario::diagnostic::{Diagnostic, Sources, Span, nearest};
use crate::scenario::section::Problems;
use crate::scenario::tree::{self, Entry, Node, Table, Value};
use crate::wire::application::template::names_in;

/// What was fetched.
#[derive(Debug, Default)]
pub(in crate::scenario) struct Inputs {
    /// The variables of the environment that the scenario names.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) users: Option<Users>,
}

/// The largest table of users that is read.
const MAX_USERS_BYTES: u64 = 256 << 20;

/// Fetches what a scenario in `directory` asks for, and lays its preset under its own keys.
pub(in crate::scenario) fn prepare(
    root: &mut Table,
    sources: &mut Sources,
    problems: &Problems,
    directory: &Path,
) -> Inputs {
    let Some(at) = root
        .entries
        .iter()
        .position(|entry| entry.key == "protocol")
    else {
        return Inputs::default();
    };
    name_alone(&mut root.entries[at].node);
    let preset = string_of(&root.entries[at].node, "preset");
    if let Some((name, span)) = preset {
        match presets::find(&name) {
            Some(preset) => {
                let base = sources.add(&format!("preset {}", preset.name), preset.text);
                match tree::parse_document(preset.text, base) {
                    Ok(below) => lay_under(root, &below),
                    Err(errors) => errors.into_iter().for_each(|error| problems.push(error)),
                }
            }
            None => {
                let names = presets::ALL.iter().map(|preset| preset.name);
                let label = match nearest(&name, names.clone()) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => String::new(),
                };
                let title = format!("`protocol.preset`: no such preset as {name:?}");
                let known = Vec::from_iter(names).join(", ");
                let error = Diagnostic::error(title).at(&span, label);
                problems.push(error.help(format!("presets: {known}")));
            }
        }
    }
    let mut inputs = Inputs::default();
    let protocol = &root.entries[at].node;
    let mut texts = Vec::new();
    strings(protocol, &mut texts);
    let target = root.get("target").map(|entry| &entry.node);
    strings_of(target, "url", &mut texts);
    if let Some(clients) = root.get("clients") {
        strings(&clients.node, &mut texts); // what scripts send
    }
    for name in texts.into_iter().flat_map(names_in) {
        if let Some(variable) = name.strip_prefix("env.")
            && let Ok(value) = std::env::var(variable)
        {
            inputs.environment.insert(variable.to_owned(), value);
        }
    }
    if let Some((name, span)) = string_of(protocol, "users") {
        let text = input::read_text(&directory.join(&name), MAX_USERS_BYTES);
        let text = text.map_err(|error| error.to_string());
        match text.and_then(|text| users::read(&name, &text)) {
            Ok(users) => inputs.users = Some(users),
            Err(wrong) => {
                let title = format!("`protocol.users`: cannot use {name}: {wrong}");
                problems.push(Diagnostic::error(title).at(&span, ""));
            }
        }
    }
    inputs
}

/// `protocol = "NAME"` is short for a table with a preset.
fn name_alone(node: &mut Node) {
    if let Value::String(_) = &node.value {
        let table = Table {
            entries: vec![Entry {
                key: "preset".to_owned(),
                key_span: node.span.clone(),
                node: node.clone(),
            }],
        };
        node.value = Value::Table(table);
    }
}

fn string_of(node: &Node, key: &str) -> Option<(String, Span)> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    let node = &table.get(key)?.node;
    match &node.value {
        Value::String(text) => Some((text.clone(), node.span.clone())),
        _ => None,
    }
}

/// Puts everything of a preset into the scenario that it does not say itself: a key of
/// `[protocol]` or `[verify]` as a whole, but for tables of names and values, which are laid one
/// upon the other; and the path of the URL, if the target's has none.
fn lay_under(root: &mut Table, preset: &Table) {
    for section in ["protocol", "verify"] {
        let Some(below) = preset.get(section) else {
            continue;
        };
        let Value::Table(below_keys) = &below.node.value else {
            continue;
        };
        let Some(own) = root.entries.iter_mut().find(|entry| entry.key == section) else {
            root.entries.push(below.clone());
            continue;
        };
        let Value::Table(own) = &mut own.node.value else {
            continue; // not a table: on record by and by
        };
        for entry in &below_keys.entries {
            let mine = own.entries.iter_mut().find(|mine| mine.key == entry.key);
            match mine {
                None => own.entries.push(entry.clone()),
                Some(mine) if ["vars", "headers"].contains(&entry.key.as_str()) => {
                    lay_names_under(&mut mine.node, &entry.node);
                }
                Some(_) => {}
            }
        }
    }
    let path = preset
        .get("target")
        .and_then(|target| string_of(&target.node, "url"));
    let path = path.as_ref().and_then(|(url, _)| {
        let (_, address) = url.split_once("://")?;
        Some(&address[address.find('/')?..])
    });
    let target = root.entries.iter_mut().find(|entry| entry.key == "target");
    let url = target.and_then(|target| match &mut target.node.value {
        Value::Table(table) => table.entries.iter_mut().find(|entry| entry.key == "url"),
        _ => None,
    });
    if let (Some(path), Some(url)) = (path, url)
        && let Value::String(url) = &mut url.node.value
        && let Some((scheme, address)) = url.split_once("://")
        && ["ws", "wss"].contains(&scheme)
        && !address.trim_end_matches('/').contains(['/', '?'])
    {
        *url = format!("{}{path}", url.trim_end_matches('/'));
    }
}

fn lay_names_under(own: &mut Node, below: &Node) {
    if let (Value::Table(own), Value::Table(below)) = (&mut own.value, &below.value) {
        for entry in &below.entries {
            if own.get(&entry.key).is_none() {
                own.entries.push(entry.clone());
            }
        }
    }
}

/// All strings in a node.
fn strings<'n>(node: &'n Node, all: &mut Vec<&'n str>) {
    match &node.value {
        Value::String(text) => all.push(text),
        Value::Array(nodes) => nodes.iter().for_each(|node| strings(node, all)),
        Value::Table(table) => {
            let nodes = table.entries.iter().map(|entry| &entry.node);
            nodes.for_each(|node| strings(node, all));
        }
        _ => {}
    }
}

fn strings_of<'n>(node: Option<&'n Node>, key: &str, all: &mut Vec<&'n str>) {
    if let Some(Value::Table(table)) = node.map(|node| &node.value)
        && let Some(entry) = table.get(key)
    {
        strings(&entry.node, all);
    }
}
