//! Results out: the verdict with its reasons, the terminal summary, the JSON result, and what is
//! made from that: the HTML report, files for other tools, comparisons.
//!
//! [`Report::new`] judges once, and makes the [`RunResult`]: the one model of a run, which is
//! written as JSON and read back, and which everything else puts into words or draws. Rendering is
//! pure, so that every word of it is tested.

pub mod bars;
pub mod caveats;
pub(crate) mod columns;
pub mod compare;
mod described;
pub mod environment;
pub mod figures;
pub mod files;
mod generator;
pub mod groups;
pub mod hdr;
mod histogram;
pub mod html;
pub(crate) mod json;
pub mod junit;
mod markdown;
pub mod rendered;
pub mod result;
pub mod style;
pub mod summary;
pub mod table;
pub mod thresholds;
pub mod verdict;
pub mod verification;
mod violations;

#[cfg(test)]
pub(crate) mod sample;

use std::time::Duration;

pub use environment::Environment;
pub use rendered::Rendered;
pub use result::RunResult;
pub use style::Style;
pub use verdict::Verdict;

use crate::driver::outcome::Outcome;
use crate::scenario::plan::Plan;
use crate::wire::protocol::Spoken;

/// A judged run: its result, and what only the process that ran it knows.
#[derive(Debug)]
pub struct Report {
    /// The result that is written. The command in it that runs the same again is a guess from the
    /// scenario's name, until the caller puts the real one there.
    pub result: RunResult,
    /// The one word.
    pub verdict: Verdict,
    /// Whether it is inconclusive because of the generator: the target may be all right.
    pub by_generator: bool,
    /// The planned warm-up.
    pub warmup: Duration,
    /// The planned length of the measured phase.
    pub duration: Duration,
    /// Everything that the run observed.
    pub outcome: Outcome,
}

impl Report {
    /// Judges the outcome of a run against its plan.
    #[must_use]
    pub fn new(plan: &Plan, outcome: Outcome) -> Self {
        Self::on(Environment::here(), plan, outcome)
    }

    /// The same, of a run on another machine.
    fn on(environment: Environment, plan: &Plan, outcome: Outcome) -> Self {
        let thresholds = thresholds::all(plan, &outcome);
        let judgement = verdict::judge(plan, &outcome, &thresholds, environment.cpus);
        let drift = caveats::trend(plan, &outcome);
        let mut notes = caveats::notes(drift.as_ref(), &outcome, environment.cpus);
        if let Spoken::Application(spec) = &plan.target.spoken {
            notes.extend(described::notes(spec, &outcome.findings.counts));
        }
        Self {
            verdict: judgement.verdict,
            by_generator: judgement.by_generator,
            result: RunResult::new(
                plan,
                &outcome,
                environment,
                judgement,
                thresholds,
                notes,
                drift,
            ),
            warmup: plan.run.warmup,
            duration: plan.run.duration,
            outcome,
        }
    }
}

#[cfg(test)]
mod tests;
