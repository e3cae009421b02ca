//! Relays that came later than the scenario allows, and the verdict that they lead to.

use std::time::Duration;

use super::Verdict;
use crate::driver::outcome::Outcome;
use crate::measure::health::{OCCUPIED_SHARE, PAUSE_NS};
use crate::report::figures;
use crate::scenario::plan::{LateCounts, Plan};
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;

/// The verdict that late relays lead to.
///
/// They are no reason to fail if lateness is all that was found and the generator had no idle time,
/// or paused for as long as a relay may take: a relay that waited in a socket for the generator
/// seems late, which says nothing about the target either way.
pub(super) fn counts_as(plan: &Plan, outcome: &Outcome) -> Verdict {
    let mut found = outcome.findings.violations.iter();
    let only_late = found.all(|(kind, tally)| *kind == Kind::LateRelay || tally.count == 0);
    let pause_ns = outcome.health.longest_pause_ns;
    let limit = plan.promises.late_after.unwrap_or(Duration::MAX);
    let paused = pause_ns >= PAUSE_NS && Duration::from_nanos(pause_ns) >= limit;
    let busy = paused || outcome.health.occupied() >= OCCUPIED_SHARE;
    let by_threshold = plan.late == LateCounts::AsThreshold;
    if count(&outcome.findings) > 0 && busy && (only_late || by_threshold) {
        Verdict::Inconclusive
    } else if by_threshold {
        Verdict::Threshold
    } else {
        Verdict::Fail
    }
}

fn count(findings: &Findings) -> u64 {
    let tally = findings.violations.get(&Kind::LateRelay);
    tally.map_or(0, |tally| tally.count)
}

pub(super) fn in_doubt(findings: &Findings) -> String {
    format!(
        "late relays ({}) cannot be held against the target: they may have waited for the \
         generator to read them",
        figures::count(count(findings)),
    )
}

/// Late relays as a crossed threshold.
pub(super) fn crossed(plan: &Plan, findings: &Findings) -> Option<String> {
    let count = count(findings);
    let limit = plan.promises.late_after.filter(|_| count > 0)?;
    let relays = if count == 1 { "relay" } else { "relays" };
    Some(format!(
        "{} {relays} came later than verify.late_after allows, {}",
        figures::count(count),
        figures::span(limit),
    ))
}
