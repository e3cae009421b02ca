//! TOML in, a checked [`plan::Plan`] out, or every error in it with its line.
//!
//! The text becomes a tree of values that know where they stand (`tree`), into which the command
//! line's `--set PATH=VALUE`s are put; `schema` and `clients` read the tree section by section
//! (`section`), single values by `value`, `script` and `threshold`; `protocol` reads how an
//! application talks; `promises` reads what the
//! target promises, `membership` who is in which rooms, and `checks` finds conflicts between the
//! parts. Whatever is wrong becomes a
//! [`diagnostic::Diagnostic`] that points at a place of the file or of an argument, and the reading
//! goes on, so that all errors come out at once.
//!
//! The results are [`plan`], the data that the driver carries out; [`pace`], the arrival schedules
//! in it; [`draws`], the other random draws of its clients; [`rooms`], which rooms each of them is
//! in, and [`pinned`], which of them one shard must drive; [`estimate`], the plan's expected
//! messages and rates before it is run, and [`footprint`], its memory; [`addresses`], what a URL
//! with several of them stands for.

pub mod addresses;
mod checks;
mod clients;
pub mod diagnostic;
pub mod draws;
pub mod estimate;
pub mod footprint;
mod membership;
pub mod pace;
pub mod pinned;
pub mod plan;
pub(crate) mod promises;
pub mod protocol;
pub mod rooms;
mod schema;
mod script;
mod section;
mod threshold;
pub mod tls;
mod tree;
mod value;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use diagnostic::{Diagnostics, Sources};
use plan::Plan;
use section::Problems;
use tls::TlsOption;
use tree::{Node, Value};

use crate::input;

/// The longest scenario file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The command line's overrides of a scenario's file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// `PATH=VALUE`s over the file's keys, and over `duration`, `rate` and `clients`; `seed` and
    /// `target` are over those.
    pub set: &'a [String],
    /// `seed`.
    pub seed: Option<u64>,
    /// `target.url`.
    pub target: Option<&'a str>,
    /// `run.duration`.
    pub duration: Option<&'a str>,
    /// The rate of the only group that has one.
    pub rate: Option<&'a str>,
    /// The count of the only group.
    pub clients: Option<&'a str>,
    /// Keys of `target.tls`.
    pub tls: &'a [TlsOption],
}

/// Reads and checks the scenario file at `path`.
///
/// The plan is named after the file and carries its [warnings](Plan::warnings).
///
/// # Errors
/// Everything that is wrong with the file and the overrides, or that the file cannot be read.
pub fn load(path: &Path, options: &Options<'_>) -> Result<Plan, Diagnostics> {
    let file = path.display().to_string();
    let text = input::read_text(path, MAX_FILE_BYTES)
        .map_err(|error| Diagnostics::unreadable(format!("cannot read {file}: {error}")))?;
    parse_with(&file, &text, options)
}

/// Checks the scenario in `text`; `file` is what diagnostics call it, and names the plan.
/// `overrides` are `PATH=VALUE`s over its keys; `seed` and `target` are over those.
///
/// # Errors
/// As [`load`].
pub fn parse(
    file: &str,
    text: &str,
    overrides: &[String],
    seed: Option<u64>,
    target: Option<&str>,
) -> Result<Plan, Diagnostics> {
    let options = Options {
        set: overrides,
        seed,
        target,
        ..Options::default()
    };
    parse_with(file, text, &options)
}

/// Checks the scenario in `text`, with all `options` over its keys; else as [`parse`].
///
/// # Errors
/// As [`load`].
pub fn parse_with(file: &str, text: &str, options: &Options<'_>) -> Result<Plan, Diagnostics> {
    let mut sources = Sources::default();
    let base = sources.add(file, text);
    let mut root = match tree::parse_document(text, base) {
        Ok(root) => root,
        Err(errors) => return Err(Diagnostics::new(sources, errors)),
    };
    let problems = Problems::default();
    for (name, text, place) in [
        ("--duration", options.duration, tree::Shorthand::Duration),
        ("--rate", options.rate, tree::Shorthand::Rate),
        ("--clients", options.clients, tree::Shorthand::Clients),
    ] {
        let Some(text) = text else { continue };
        let base = sources.add("command line", &format!("{name} {text}"));
        if let Err(error) = tree::set_shorthand(&mut root, place, text, base, name.len() + 1) {
            problems.push(error);
        }
    }
    for argument in options.set {
        let base = sources.add("command line", &format!("--set {argument}"));
        if let Err(error) = tree::set(&mut root, argument, base + "--set ".len()) {
            problems.push(error);
        }
    }
    let mut option = |path: &[&str], shown: String, value: Value| {
        let base = sources.add("command line", &shown);
        let span = base..base + shown.len();
        if let Err(error) = tree::put_value(&mut root, path, Node { span, value }) {
            problems.push(error);
        }
    };
    if let Some(seed) = options.seed {
        option(
            &["seed"],
            format!("--seed {seed}"),
            Value::Integer(seed.into()),
        );
    }
    if let Some(url) = options.target {
        let value = Value::String(url.to_owned());
        option(&["target", "url"], format!("--target {url}"), value);
    }
    for TlsOption { key, given, value } in options.tls {
        let value = Node::from(value.clone()).value;
        option(&["target", "tls", key], given.clone(), value);
    }
    let path = Path::new(file);
    let name = path.file_stem().map_or(file.into(), OsStr::to_string_lossy);
    let directory = path.parent().unwrap_or(Path::new(""));
    let inputs = protocol::prepare(&mut root, &mut sources, &problems, directory);
    let mut plan = schema::read(&problems, &name, &root, &inputs);
    let failed = problems.has_errors();
    let diagnostics = Diagnostics::new(sources, problems.into_list());
    if failed {
        return Err(diagnostics);
    }
    plan.warnings = diagnostics;
    Ok(plan)
}

/// The scenario files that `paths` stand for: a file is itself, a directory its `*.toml`, sorted.
///
/// # Errors
/// A path that does not exist or cannot be read, or a directory without scenarios.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Diagnostics> {
    let mut files = Vec::new();
    for path in paths {
        let shown = path.display();
        let cannot = |error| Diagnostics::unreadable(format!("cannot read {shown}: {error}"));
        if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path();
            if file
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                found.push(file);
            }
        }
        if found.is_empty() {
            let title = format!("{shown} holds no scenario: no file in it ends in .toml");
            return Err(Diagnostics::unreadable(title));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
