//! Results side by side: what changed by more than the noise.
//!
//! A *side* is one result, or several of the same scenario run again (`run --repeat`). A figure of
//! a side is the median of its runs. The *noise* of a figure is how far the runs of one side lie
//! apart, greatest minus least, as a share of the base: of the sides with at least
//! [`MIN_REPEATS`] runs the larger one. Without repeats nothing is known about the noise, and
//! [`Terms::assumed_noise`] stands in for it. A figure has *changed* if its medians differ by more
//! than the noise and by more than [`Terms::tolerance`]; a change for the worse is a regression.
//!
//! The range of a few runs is a blunt measure, and on purpose: it assumes nothing about how runs
//! are distributed, anyone can check it by eye, and it errs on the side of calling a difference
//! noise.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::Verdict;
use super::figures;
use super::result::{self, RunResult};

mod text;

pub(super) use text::{cells, conclusion, runs};
pub use text::{markdown, render};

/// Runs from which a side's noise is read.
pub const MIN_REPEATS: usize = 3;

/// Why results cannot be compared.
#[derive(Debug, Error)]
pub enum Error {
    /// A result cannot be read.
    #[error(transparent)]
    Result(#[from] result::Error),
    /// The directory cannot be listed.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A directory without a result.
    #[error("{}: no result.json in it, nor in a directory of it", .0.display())]
    Empty(PathBuf),
    /// Other loads cannot be told from other targets.
    #[error(
        "{new} is of another scenario than {base}: {}; to compare them all the same, add \
         --allow-different",
        differences.join("; ")
    )]
    Different {
        /// The base's name.
        base: String,
        /// The other's.
        new: String,
        /// The keys that differ, each with both values.
        differences: Vec<String>,
    },
}

/// One result, or several of the same scenario.
#[derive(Debug)]
pub struct Side {
    /// The path that it was read from.
    pub name: String,
    /// Its runs, at least one.
    pub runs: Vec<RunResult>,
}

impl Side {
    /// Reads a result file, a directory with one, or a directory of such directories, as
    /// `run --repeat --out` writes it.
    ///
    /// # Errors
    ///
    /// Names the file or directory, and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if !path.is_dir() || path.join(super::files::RESULT).exists() {
            let runs = vec![RunResult::load(path)?];
            return Ok(Self { name, runs });
        }
        let cannot = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(cannot)? {
            let file = entry.map_err(cannot)?.path().join(super::files::RESULT);
            if file.exists() {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(Error::Empty(path.to_owned()));
        }
        // The runs of a search are of different loads: no side.
        let search = path.join(super::files::SEARCH);
        if search.exists() {
            RunResult::load(&search)?;
        }
        found.sort_by_key(|file| numbered(file));
        let runs = found.iter().map(|file| RunResult::load(file));
        Ok(Self {
            name,
            runs: runs.collect::<Result<_, _>>()?,
        })
    }

    /// The verdicts of its runs, each once, in their order.
    fn verdicts(&self) -> Vec<&str> {
        let mut verdicts: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !verdicts.contains(&run.verdict.as_str()) {
                verdicts.push(&run.verdict);
            }
        }
        verdicts
    }
}

/// Where a run's result stands among the others: those of `--repeat` by their numbers, 2 before 10.
fn numbered(file: &Path) -> (Option<u64>, PathBuf) {
    let directory = file.parent().and_then(Path::file_name);
    let number = directory.and_then(|name| name.to_str()?.parse().ok());
    (number, file.to_owned())
}

/// What counts as a change. Shares of the base: 0.05 is 5 %.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Differences up to this are of no interest, however little noise there is.
    pub tolerance: f64,
    /// The noise where there are no repeats to read it from.
    pub assumed_noise: f64,
}

/// How a figure is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// ns.
    Latency,
    /// Events a second.
    Rate,
    /// Bytes.
    Memory,
    /// A number of things.
    Count,
}

impl Unit {
    /// A figure in words.
    fn show(self, figure: f64) -> String {
        match self {
            Self::Latency => figures::latency(figure.round() as u64),
            Self::Rate => figures::rate(figure),
            Self::Memory => figures::bytes(figure),
            Self::Count => figures::count(figure.round() as u64),
        }
    }
}

/// What came of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Within the band.
    None,
    /// Beyond it, for the better.
    Better,
    /// Beyond it, for the worse: a regression.
    Worse,
    /// One side has no such figure.
    Unknown,
}

/// One figure on both sides.
#[derive(Debug)]
pub struct Row {
    /// What it is: `relay p99`.
    pub name: String,
    /// How to read it.
    pub unit: Unit,
    /// The base's median.
    pub base: Option<f64>,
    /// The other side's median.
    pub new: Option<f64>,
    /// Their difference as a share of the base; `None` if there is nothing to divide by.
    pub difference: Option<f64>,
    /// The band within which differences are noise, as a share of the base.
    pub band: f64,
    /// What to make of it.
    pub change: Change,
}

/// One side against the base.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The base.
    pub base: &'a Side,
    /// The other side.
    pub new: &'a Side,
    /// Every figure that either side has.
    pub rows: Vec<Row>,
    /// What limits the comparison, in words.
    pub caveats: Vec<String>,
}

/// A figure by its name, and which way is better.
struct Figure {
    name: String,
    unit: Unit,
    more_is_better: bool,
    of: Reading,
}

type Reading = Box<dyn Fn(&RunResult) -> Option<f64>>;

type Percentile = fn(&result::Latency) -> Option<u64>;

/// Percentiles that are compared: a maximum is one sample, and moves like one.
const PERCENTILES: [(&str, Percentile); 4] = [
    ("p50", |l| l.p50),
    ("p90", |l| l.p90),
    ("p99", |l| l.p99),
    ("p99.9", |l| l.p99_9),
];

fn all_figures() -> Vec<Figure> {
    let mut all = vec![Figure {
        name: "violations".to_owned(),
        unit: Unit::Count,
        more_is_better: false,
        of: Box::new(|run| Some(run.violation_count() as f64)),
    }];
    for (class, shown) in [
        ("ack", "ack"),
        ("relay", "relay"),
        ("last_relay", "last receiver"),
    ] {
        for (name, percentile) in PERCENTILES {
            all.push(Figure {
                name: format!("{shown} {name}"),
                unit: Unit::Latency,
                more_is_better: false,
                of: Box::new(move |run| {
                    let latency = run.latency_ns.get(class)?;
                    percentile(latency).map(|ns| ns as f64)
                }),
            });
        }
    }
    for name in ["sent", "acked", "delivered"] {
        all.push(Figure {
            name: name.to_owned(),
            unit: Unit::Rate,
            more_is_better: true,
            of: Box::new(move |run| run.rate(name)),
        });
    }
    all.push(Figure {
        name: "server cpu a delivery".to_owned(),
        unit: Unit::Latency,
        more_is_better: false,
        of: Box::new(|run| {
            let relays = run.counts.delivered + run.counts.optional;
            let cpu_s = run.server?.cpu_s;
            (relays > 0).then(|| cpu_s * 1e9 / relays as f64)
        }),
    });
    all.push(Figure {
        name: "server rss".to_owned(),
        unit: Unit::Memory,
        more_is_better: false,
        of: Box::new(|run| Some(run.server?.max_rss_bytes as f64)),
    });
    all
}

/// Compares two sides figure by figure.
#[must_use]
pub fn compare<'a>(base: &'a Side, new: &'a Side, terms: Terms) -> Comparison<'a> {
    let rows = all_figures()
        .iter()
        .filter_map(|figure| row(figure, base, new, terms))
        .collect();
    Comparison {
        base,
        new,
        rows,
        caveats: caveats(base, new, terms),
    }
}

impl Comparison<'_> {
    /// Figures that changed for the worse.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.change == Change::Worse)
    }

    /// A regression is a failure, and weighs more than what nothing can be said about.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.regressions().next().is_some() {
            Verdict::Fail
        } else if self.is_inconclusive() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// Runs of either side that nothing can be said about.
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        let unsure = |side: &Side| {
            side.verdicts()
                .iter()
                .any(|verdict| matches!(*verdict, "inconclusive" | "interrupted"))
        };
        unsure(self.base) || unsure(self.new)
    }
}

fn row(figure: &Figure, base: &Side, new: &Side, terms: Terms) -> Option<Row> {
    let values = |side: &Side| {
        let mut values: Vec<f64> = side.runs.iter().filter_map(&figure.of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (base, new) = (values(base), values(new));
    let (from, to) = (median(&base), median(&new));
    if from.is_none() && to.is_none() {
        return None;
    }
    let mut row = Row {
        name: figure.name.clone(),
        unit: figure.unit,
        base: from,
        new: to,
        difference: None,
        band: 0.0,
        change: Change::Unknown,
    };
    let (Some(from), Some(to)) = (from, to) else {
        return Some(row);
    };
    if figure.unit == Unit::Count {
        // A violation is no measurement: the worst run counts, and there is no noise in one.
        let (from, to) = (base[base.len() - 1], new[new.len() - 1]);
        (row.base, row.new) = (Some(from), Some(to));
        row.change = direction(to - from, figure.more_is_better);
        return Some(row);
    }
    if from > 0.0 {
        let difference = (to - from) / from;
        row.band = noise(&base, &new, from)
            .unwrap_or(terms.assumed_noise)
            .max(terms.tolerance);
        row.difference = Some(difference);
        row.change = if difference.abs() <= row.band {
            Change::None
        } else {
            direction(difference, figure.more_is_better)
        };
    } else {
        row.change = direction(to, figure.more_is_better);
    }
    Some(row)
}

fn direction(difference: f64, more_is_better: bool) -> Change {
    if difference == 0.0 {
        Change::None
    } else if (difference > 0.0) == more_is_better {
        Change::Better
    } else {
        Change::Worse
    }
}

/// The larger of the two sides' ranges, as a share of `base_median`; `None` without repeats.
fn noise(base: &[f64], new: &[f64], base_median: f64) -> Option<f64> {
    [base, new]
        .into_iter()
        .filter(|values| values.len() >= MIN_REPEATS)
        .map(|values| (values[values.len() - 1] - values[0]) / base_median)
        .max_by(f64::total_cmp)
}

pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn caveats(base: &Side, new: &Side, terms: Terms) -> Vec<String> {
    let mut caveats = Vec::new();
    if base.runs.len() < MIN_REPEATS && new.runs.len() < MIN_REPEATS {
        caveats.push(format!(
            "no side has {MIN_REPEATS} runs to read the noise from: ±{} is assumed; measure it \
             with run --repeat {MIN_REPEATS}",
            percent(terms.assumed_noise)
        ));
    }
    let differences = differences(
        &base.runs[0].scenario.resolved,
        &new.runs[0].scenario.resolved,
    );
    if !differences.is_empty() {
        caveats.push(format!("not the same scenario: {}", differences.join("; ")));
    }
    let (here, there) = (&base.runs[0].environment, &new.runs[0].environment);
    if here != there {
        let machine = |e: &super::Environment| {
            format!(
                "{} ({}, kernel {}, {} cpus)",
                e.host, e.os, e.kernel, e.cpus
            )
        };
        caveats.push(format!(
            "not the same machine: {} and {}",
            machine(here),
            machine(there)
        ));
    }
    for side in [base, new] {
        for run in &side.runs {
            if matches!(run.verdict.as_str(), "inconclusive" | "interrupted") {
                let reasons = run.reasons.join("; ");
                caveats.push(format!("{}: {}: {reasons}", side.name, run.verdict));
            }
        }
    }
    caveats
}

/// Checks that all runs of both sides are of one scenario.
///
/// The seed, the description and the thresholds may differ: they change neither what is sent nor
/// to whom.
///
/// # Errors
///
/// [`Error::Different`], with every key that differs.
pub fn check_same(base: &Side, new: &Side) -> Result<(), Error> {
    let first = &base.runs[0].scenario.resolved;
    for side in [base, new] {
        for run in &side.runs {
            let differences = differences(first, &run.scenario.resolved);
            if !differences.is_empty() {
                return Err(Error::Different {
                    base: base.name.clone(),
                    new: side.name.clone(),
                    differences,
                });
            }
        }
    }
    Ok(())
}

/// The keys that make two scenarios different loads, each with both values.
#[must_use]
pub fn differences(base: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differ("", base, new, &mut found);
    found
}

fn differ(at: &str, base: &Value, new: &Value, found: &mut Vec<String>) {
    if base == new || matches!(at, "seed" | "description" | "thresholds") {
        return;
    }
    if let (Value::Object(base), Value::Object(new)) = (base, new) {
        let mut keys: Vec<_> = base.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = if at.is_empty() {
                key.clone()
            } else {
                format!("{at}.{key}")
            };
            let nothing = Value::Null;
            let side =
                |map: &serde_json::Map<String, Value>| map.get(key).unwrap_or(&nothing).clone();
            differ(&path, &side(base), &side(new), found);
        }
        return;
    }
    let show = |value: &Value| match value {
        Value::Null => "absent".to_owned(),
        value => value.to_string(),
    };
    found.push(format!("{at} was {}, is {}", show(base), show(new)));
}

/// A share in words: `12.3 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests;
