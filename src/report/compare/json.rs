//! A comparison for other programs, as `docs/compare.schema.json` describes it.

use serde::Serialize;

use super::{Comparison, Row, Side, statistics};
use crate::report::{Verdict, json};

/// The format's version.
const SCHEMA: u64 = 1;

/// The word that tells a comparison from a run's result.
const KIND: &str = "comparison";

/// One base, and what is compared with it. Keys are added, never renamed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(in crate::report) struct Comparisons<'a> {
    /// The format's version.
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    schema: u64,
    /// The word that tells it from a run's result.
    #[cfg_attr(test, schemars(extend("const" = KIND)))]
    kind: &'static str,
    /// The version that compared.
    chatbench: &'static str,
    /// The rate of false alarms of one comparison, over all its figures: 0.05.
    level: f64,
    /// Changes up to this share of the base are of no interest.
    tolerance: f64,
    /// How far two runs of the same are assumed to lie apart, where there are too few to tell: a
    /// share.
    assumed_noise: f64,
    /// The side that the others are compared with.
    base: About<'a>,
    /// One for each NEW, in their order.
    #[cfg_attr(test, schemars(length(min = 1)))]
    comparisons: Vec<Compared<'a>>,
}

/// A result, or several of one scenario.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct About<'a> {
    /// The path that it was read from.
    name: &'a str,
    /// The scenario's name.
    scenario: &'a str,
    /// The verdict of each run, in their order.
    #[cfg_attr(test, schemars(length(min = 1)))]
    verdicts: Vec<&'a str>,
}

/// One comparison with the base.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct Compared<'a> {
    /// The side that is compared with the base.
    new: About<'a>,
    /// worse: a figure is. no-regression: every figure is the same, or better. inconclusive:
    /// neither.
    #[cfg_attr(test, schemars(extend("enum" = ["no-regression", "worse", "inconclusive"])))]
    outcome: &'static str,
    /// The exit code of compare for it.
    #[cfg_attr(test, schemars(extend("enum" = [0, 1, 3])))]
    exit_code: u8,
    /// Every figure that either side has.
    #[cfg_attr(test, schemars(length(min = 1)))]
    figures: &'a [Row],
    /// The limits of the comparison, in words.
    notes: &'a [String],
}

/// All comparisons with one base, with a newline at the end.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn render(comparisons: &[Comparison<'_>]) -> Vec<u8> {
    let first = &comparisons[0];
    json::document(&Comparisons {
        schema: SCHEMA,
        kind: KIND,
        chatbench: env!("CARGO_PKG_VERSION"),
        level: statistics::LEVEL,
        tolerance: first.terms.tolerance,
        assumed_noise: first.terms.assumed_noise,
        base: about(first.base),
        comparisons: comparisons.iter().map(compared).collect(),
    })
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
        figures: &comparison.rows,
        notes: &comparison.caveats,
    }
}
