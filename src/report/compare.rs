//! Results side by side: which figures are worse, which are the same, and which cannot be told
//! apart.
//!
//! A *side* is one result, or several of the same scenario run again (`run --repeat`). A figure of
//! a side is the median of its runs. The judgement of a figure is one of these ([`Outcome`]):
//!
//! - *worse* or *better*: a permutation test over the runs and over all figures at once says that
//!   it changed ([`statistics`]), and it changed by more than [`Terms::tolerance`];
//! - *same*: the whole interval of the ratio lies within the tolerance;
//! - *too noisy*: neither, so the runs cannot tell; more of them would;
//! - *undecided*: it depends on samples that were outstanding when a run stopped listening.
//!
//! So noise never makes a figure count as the same. Where the runs are too few for any test (fewer
//! than three against three, or five against two), no spread says anything: then
//! [`Terms::assumed_noise`], or what spread there is if that is more, bounds how far two runs of
//! the same lie apart, and a note says that this is an assumption.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::Verdict;
use super::result;

mod caveats;
mod figure;
mod json;
mod judge;
mod side;
mod statistics;
mod text;

pub use figure::{Unit, named};
#[cfg(test)]
pub(super) use json::Comparisons;
pub use json::render as json;
pub(super) use judge::median;
pub use judge::{Change, Judged, Outcome};
pub use side::Side;
pub(super) use text::{cells, conclusion, runs, word};
pub use text::{markdown, render};

use figure::{Figure, Known};

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
        /// The system's error.
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

/// The terms by which something counts as a change. Shares of the base: 0.05 is 5 %.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Differences up to this are of no interest.
    pub tolerance: f64,
    /// The distance that two runs of the same may lie apart, where there are too few to tell.
    pub assumed_noise: f64,
    /// The figures to judge, by [`named`]; all if there are none. Violations always are.
    pub figures: Vec<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            tolerance: 0.05,
            assumed_noise: 0.5,
            figures: Vec::new(),
        }
    }
}

/// One figure on both sides.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Row {
    /// As in the tables: relay p99.
    pub name: String,
    /// Its unit.
    #[serde(skip)]
    pub unit: Unit,
    /// Its values and their judgement.
    #[serde(flatten)]
    pub judged: Judged,
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
    /// The terms that it was judged by.
    pub terms: &'a Terms,
    /// The limits of the comparison, in words.
    pub caveats: Vec<String>,
}

/// Compares two sides figure by figure.
#[must_use]
pub fn compare<'a>(base: &'a Side, new: &'a Side, terms: &'a Terms) -> Comparison<'a> {
    let chosen = |figure: &Figure| {
        let mut names = terms.figures.iter();
        figure.unit == Unit::Count
            || terms.figures.is_empty()
            || names.any(|name| figure::stands_for(name, &figure.name))
    };
    let figures: Vec<_> = figure::all().into_iter().filter(chosen).collect();
    let read: Vec<_> = figures
        .iter()
        .map(|figure| judge::Read {
            base: base.runs.iter().map(&figure.of).collect(),
            new: new.runs.iter().map(&figure.of).collect(),
            more_is_better: figure.more_is_better,
        })
        .collect();
    // A violation is no measurement, and no noise is in it.
    let (counts, measured): (Vec<_>, Vec<_>) = figures
        .iter()
        .zip(read)
        .partition(|(figure, _)| figure.unit == Unit::Count);
    let (measured, runs): (Vec<_>, Vec<_>) = measured.into_iter().unzip();
    let judged = judge::read(&runs, terms);
    let counts = counts
        .into_iter()
        .map(|(figure, runs)| count(figure, &runs));
    let measured = measured
        .into_iter()
        .zip(judged)
        .filter_map(|(figure, judged)| {
            Some(Row {
                name: figure.name.clone(),
                unit: figure.unit,
                judged: judged?,
            })
        });
    let mut comparison = Comparison {
        base,
        new,
        rows: counts.chain(measured).collect(),
        terms,
        caveats: Vec::new(),
    };
    comparison.caveats = caveats::caveats(&comparison);
    comparison
}

/// Compares the worst run of each side, of what is counted.
fn count(figure: &Figure, runs: &judge::Read) -> Row {
    let worst = |values: &[Option<Known>]| {
        let figures = values.iter().flatten().map(|value| value.figure);
        figures.reduce(f64::max)
    };
    let (base, new) = (worst(&runs.base), worst(&runs.new));
    let outcome = match (base, new) {
        (Some(base), Some(new)) if base == new => Outcome::Same,
        (Some(base), Some(new)) if (new > base) == figure.more_is_better => Outcome::Better,
        (Some(_), Some(_)) => Outcome::Worse,
        _ => Outcome::OneSided,
    };
    Row {
        name: figure.name.clone(),
        unit: figure.unit,
        judged: Judged {
            outcome,
            ..Judged::new(base, new)
        },
    }
}

impl Comparison<'_> {
    fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Row> {
        self.rows
            .iter()
            .filter(move |row| row.judged.outcome == outcome)
    }

    /// Figures that changed for the worse.
    pub fn regressions(&self) -> impl Iterator<Item = &Row> {
        self.of(Outcome::Worse)
    }

    /// Figures that nothing can be said of: too noisy, outstanding, or absent on one side.
    pub fn undecided(&self) -> impl Iterator<Item = &Row> {
        let outcomes = [Outcome::TooNoisy, Outcome::Undecided, Outcome::OneSided];
        outcomes.into_iter().flat_map(|outcome| self.of(outcome))
    }

    /// A regression is a failure, and weighs more than what nothing can be said of. Only where
    /// everything is the same or better is it a pass.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if self.regressions().next().is_some() {
            Verdict::Fail
        } else if self.is_inconclusive() || self.undecided().next().is_some() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        }
    }

    /// Whether nothing can be said of a run of either side.
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
