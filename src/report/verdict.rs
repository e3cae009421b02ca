//! The one word for a run, and why.
//!
//! In order of weight: it was interrupted; a violation is proved; the load was not the one that was
//! asked for, or the generator was the bottleneck, so that the figures say nothing of the target; a
//! threshold is crossed; something that was to be verified was not. The last two are in this order
//! because a certain finding is not softened: missing observations keep a run from passing, and do
//! not undo what was measured.

mod doubts;
mod judged;
mod late;
mod unfinished;

use std::fmt;

use super::figures;
use super::result::{Threshold, Violations};
use super::style::Paint;
use crate::driver::outcome::Outcome;
use crate::scenario::plan::Plan;
pub use unfinished::unfinished;

/// The one word for a run. Ordered by weight: of several that hold, the greatest counts, but that
/// a threshold which was crossed for certain counts more than that something was not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    test,
    derive(schemars::JsonSchema),
    schemars(rename_all = "kebab-case")
)]
pub enum Verdict {
    /// Verified and within thresholds.
    Pass,
    /// Verified, but a threshold was crossed.
    Threshold,
    /// Nothing can be said.
    Inconclusive,
    /// At least one violation.
    Fail,
    /// Ended by Ctrl-C; what there is so far is reported.
    Interrupted,
}

impl Verdict {
    /// Every verdict, the weightiest last.
    pub const ALL: [Self; 5] = [
        Self::Pass,
        Self::Threshold,
        Self::Inconclusive,
        Self::Fail,
        Self::Interrupted,
    ];

    /// The name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Threshold => "threshold",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Interrupted => "interrupted",
        }
    }

    /// How it is painted.
    pub(super) const fn paint(self) -> Paint {
        match self {
            Self::Pass => Paint::Good,
            Self::Fail => Paint::Bad,
            Self::Threshold | Self::Inconclusive | Self::Interrupted => Paint::Doubt,
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Threshold => 99,
            Self::Inconclusive => 3,
            Self::Fail => 1,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The judgement of a run.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// Every reason against a pass, the weightiest first.
    pub(super) reasons: Vec<String>,
    /// Whether it is inconclusive, and the first reason for that is the generator.
    pub(super) by_generator: bool,
    /// The violations, each kind with the verdict that it leads to.
    pub(super) violations: Vec<Violations>,
}

/// Judges a run by everything that is known of it.
pub(super) fn judge(
    plan: &Plan,
    outcome: &Outcome,
    thresholds: &[Threshold],
    cpus: usize,
) -> Judgement {
    if let Some(error) = &outcome.error {
        return Judgement {
            violations: Violations::all(&outcome.findings, Verdict::Fail),
            verdict: if error.interrupted {
                Verdict::Interrupted
            } else {
                Verdict::Inconclusive
            },
            by_generator: false,
            reasons: vec![error.what.clone()],
        };
    }
    let mut load = doubts::of_the_load(plan, outcome, cpus);
    let mut unseen = doubts::of_what_was_seen(plan, outcome);
    let undecided = outcome.findings.undecided_before_the_end();
    unseen.extend(undecided.map(str::to_owned));
    let unfinished = unfinished(outcome);
    let sound = load.is_empty() && unseen.is_empty();
    if sound && unfinished.is_none() && !doubts::cut_short(outcome) {
        // If a run went wrong as a whole, missing samples are no separate reason.
        unseen.extend(judged::unjudged(thresholds));
    }
    // A run that was cut short or lost its target says that first.
    let excused = judged::excused(thresholds);
    let doubtful = load.is_empty() && unseen.is_empty() && !excused.is_empty();
    let mut by_generator = outcome.health.is_saturated() || doubtful;
    unseen.extend(excused);
    unseen.extend(unfinished);
    if sound && !doubts::cut_short(outcome) {
        unseen.extend(judged::left_open(thresholds));
    }
    let late = late::counts_as(plan, outcome);
    let mut crossed = judged::crossed(thresholds);
    match late {
        Verdict::Inconclusive => {
            load.insert(0, late::in_doubt(&outcome.findings));
            by_generator = true;
        }
        Verdict::Threshold => crossed.extend(late::crossed(plan, &outcome.findings)),
        _ => {}
    }
    let violations = Violations::all(&outcome.findings, late);
    let failed = Vec::from_iter(violated(&violations));
    let interrupted = outcome
        .interrupted
        .map(|interruption| interruption.to_string());
    let weighed = [
        (Verdict::Interrupted, Vec::from_iter(interrupted)),
        (Verdict::Fail, failed),
        (Verdict::Inconclusive, load),
        (Verdict::Threshold, crossed),
        (Verdict::Inconclusive, unseen),
    ];
    let reasons: Vec<(Verdict, String)> = weighed
        .into_iter()
        .flat_map(|(verdict, reasons)| reasons.into_iter().map(move |reason| (verdict, reason)))
        .collect();
    let verdict = reasons
        .first()
        .map_or(Verdict::Pass, |(verdict, _)| *verdict);
    Judgement {
        verdict,
        by_generator: by_generator && verdict == Verdict::Inconclusive,
        violations,
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Reasons why a run cannot pass that are not among the findings of verification.
#[must_use]
pub fn doubts(plan: &Plan, outcome: &Outcome, cpus: usize) -> Vec<String> {
    let mut doubts = doubts::of_the_load(plan, outcome, cpus);
    doubts.extend(doubts::of_what_was_seen(plan, outcome));
    doubts
}

/// All violations that a run fails for in one reason, by kind.
pub(super) fn violated(violations: &[Violations]) -> Option<String> {
    let failures = violations.iter().filter(|kind| kind.fails());
    let count: u64 = failures.clone().map(|kind| kind.count).sum();
    let kinds: Vec<_> = failures
        .map(|kind| format!("{} {}", figures::count(kind.count), kind.kind))
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    let count_text = figures::count(count);
    (count > 0).then(|| format!("{count_text} violation{plural}: {}", kinds.join(", ")))
}

#[cfg(test)]
mod tests;
