//! A comparison for other programs, as `docs/compare.schema.json` describes it.

use serde::Serialize;

use super::{Comparison, Outcome, Row, Side, statistics};
use crate::report::Verdict;

/// The format's version.
const SCHEMA: u64 = 1;

#[derive(Serialize)]
struct File<'a> {
    schema: u64,
    kind: &'static str,
    chatbench: &'static str,
    level: f64,
    tolerance: f64,
    assumed_noise: f64,
    base: About<'a>,
    comparisons: Vec<Compared<'a>>,
}

#[derive(Serialize)]
struct About<'a> {
    name: &'a str,
    scenario: &'a str,
    verdicts: Vec<&'a str>,
}

#[derive(Serialize)]
struct Compared<'a> {
    new: About<'a>,
    outcome: &'static str,
    exit_code: u8,
    figures: Vec<Figure<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Figure<'a> {
    name: &'a str,
    outcome: &'static str,
    base: Option<f64>,
    new: Option<f64>,
    change: Option<f64>,
    change_low: Option<f64>,
    change_high: Option<f64>,
    interval: Option<&'static str>,
    p: Option<f64>,
    runs_needed: Option<usize>,
    base_at_least: bool,
    new_at_least: bool,
}

/// All comparisons with one base, with a newline at the end.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn render(comparisons: &[Comparison<'_>]) -> Vec<u8> {
    let first = &comparisons[0];
    let file = File {
        schema: SCHEMA,
        kind: "comparison",
        chatbench: env!("CARGO_PKG_VERSION"),
        level: statistics::LEVEL,
        tolerance: first.terms.tolerance,
        assumed_noise: first.terms.assumed_noise,
        base: about(first.base),
        comparisons: comparisons.iter().map(compared).collect(),
    };
    let mut json = serde_json::to_vec_pretty(&file).expect("string keys and plain values");
    json.push(b'\n');
    json
}

fn about(side: &Side) -> About<'_> {
    About {
        name: &side.name,
        scenario: &side.runs[0].scenario.name,
        verdicts: side.runs.iter().map(|run| run.verdict.as_str()).collect(),
    }
}

fn compared<'a>(comparison: &'a Comparison<'_>) -> Compared<'a> {
    let verdict = comparison.verdict();
    Compared {
        new: about(comparison.new),
        outcome: match verdict {
            Verdict::Fail => "worse",
            Verdict::Pass => "no-regression",
            _ => "inconclusive",
        },
        exit_code: verdict.exit_code(),
        figures: comparison.rows.iter().map(figure).collect(),
        notes: &comparison.caveats,
    }
}

fn figure(row: &Row) -> Figure<'_> {
    let change = row.change;
    Figure {
        name: &row.name,
        outcome: match row.outcome {
            Outcome::Worse => "worse",
            Outcome::Better => "better",
            Outcome::Same => "same",
            Outcome::TooNoisy => "too-noisy",
            Outcome::Undecided => "undecided",
            Outcome::OneSided => "one-sided",
        },
        base: row.base,
        new: row.new,
        change: change.map(|c| c.share),
        change_low: change.map(|c| c.low),
        change_high: change.map(|c| c.high),
        interval: change.map(|c| if c.p.is_some() { "ranks" } else { "assumed" }),
        p: change.and_then(|c| c.p),
        runs_needed: row.runs_needed,
        base_at_least: row.base_at_least,
        new_at_least: row.new_at_least,
    }
}
