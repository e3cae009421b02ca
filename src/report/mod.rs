//! Results out: the verdict with its reasons, the terminal summary, the JSON result, and what is
//! made from that: the HTML report, files for other tools, comparisons.
//!
//! [`Report::new`] judges once; everything else only puts a [`Report`] into words. Rendering is
//! pure, so that every word of it is tested.

pub mod bars;
pub mod caveats;
pub(crate) mod columns;
pub mod compare;
pub mod environment;
pub mod figures;
pub mod files;
mod generator;
pub mod groups;
pub mod hdr;
mod histogram;
pub mod html;
pub mod json;
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
mod one_story;
#[cfg(test)]
pub(crate) mod sample;

use std::time::Duration;

pub use environment::Environment;
pub use rendered::Rendered;
pub use result::RunResult;
pub use style::Style;
pub use verdict::Verdict;

use crate::driver::outcome::Outcome;
use crate::measure::drift::Drift;
use crate::scenario::plan::{Plan, Promises};
use thresholds::Judged;

/// A judged run: what was asked, what was seen, and what to make of it.
#[derive(Debug)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// The question the scenario asks, where it states one.
    pub description: Option<String>,
    /// Where all randomness came from.
    pub seed: u64,
    /// Every key of the scenario with its value.
    pub resolved: serde_json::Value,
    /// The planned warm-up.
    pub warmup: Duration,
    /// The planned length of the measured phase.
    pub duration: Duration,
    /// The groups of clients, as [`crate::measure::Measured::groups`] has them.
    pub groups: Vec<groups::Group>,
    /// What was verified.
    pub promises: Promises,
    /// The command that runs the same again; a guess from the scenario's name until the caller
    /// puts the real one here.
    pub rerun: String,
    /// The machine that the driver ran on.
    pub environment: Environment,
    /// What the run saw.
    pub outcome: Outcome,
    /// The thresholds against what was measured, in the order of the file.
    pub thresholds: Vec<Judged>,
    /// The one word.
    pub verdict: Verdict,
    /// Whether it is inconclusive because of the generator: the target may be all right.
    pub by_generator: bool,
    /// What relays that came too late count as: a failure, a crossed threshold, or nothing that
    /// can be said.
    pub late: Verdict,
    /// Why it is not a pass, in words, the weightiest first; empty for a pass.
    pub reasons: Vec<String>,
    /// What a reader of the figures should know besides.
    pub notes: Vec<String>,
    /// The trend in the medians of a steady load, if there is one.
    pub drift: Option<Drift>,
}

impl Report {
    /// Judges what a run saw against what its plan asked.
    #[must_use]
    pub fn new(plan: &Plan, outcome: Outcome) -> Self {
        let counts = &outcome.findings.counts;
        let unresolved = counts.unresolved;
        let unresolved = unresolved.saturating_sub(outcome.findings.outstanding_relays());
        let thresholds: Vec<_> = plan
            .thresholds
            .iter()
            .map(|threshold| {
                let mut judged = thresholds::judge(threshold, &outcome.measured, unresolved);
                judged.excuse = generator::excuse(threshold, &judged, &outcome);
                if judged.excuse.is_some() {
                    judged.ok = None;
                }
                judged
            })
            .collect();
        let environment = Environment::here();
        let judged = verdict::judge(plan, &outcome, &thresholds, environment.cpus);
        let drift = caveats::trend(plan, &outcome);
        let notes = caveats::notes(drift.as_ref(), &outcome, environment.cpus);
        Self {
            name: plan.name.clone(),
            description: plan.description.clone(),
            seed: plan.seed,
            resolved: plan.resolved.clone(),
            warmup: plan.run.warmup,
            duration: plan.run.duration,
            groups: groups::of(plan),
            promises: plan.promises,
            rerun: rerun(&plan.name, plan.seed),
            environment,
            outcome,
            thresholds,
            verdict: judged.verdict,
            by_generator: judged.by_generator,
            late: judged.late,
            reasons: judged.reasons,
            notes,
            drift,
        }
    }
}

/// `chatbench run NAME.toml --seed N`, the name quoted for a shell where it needs to be.
fn rerun(name: &str, seed: u64) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    let file = if name.chars().all(safe) {
        format!("{name}.toml")
    } else {
        format!("'{}.toml'", name.replace('\'', r"'\''"))
    };
    format!("chatbench run {file} --seed {seed}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_to_run_again_survives_a_shell() {
        let table = [
            ("fanout", "chatbench run fanout.toml --seed 7"),
            ("two words", "chatbench run 'two words.toml' --seed 7"),
            ("it's", r"chatbench run 'it'\''s.toml' --seed 7"),
            ("$(reboot)", "chatbench run '$(reboot).toml' --seed 7"),
        ];
        for (name, command) in table {
            assert_eq!(super::rerun(name, 7), command);
        }
    }
}
