//! The limits of a comparison: too few runs, too much noise, and differences between the sides.

use std::collections::BTreeMap;

use super::judge::MOST_RUNS;
use super::{Comparison, Outcome, differences, percent, statistics};
use crate::report::Environment;

/// Everything that limits a comparison, in words.
pub(super) fn caveats(comparison: &Comparison<'_>) -> Vec<String> {
    let (base, new) = (comparison.base, comparison.new);
    let mut caveats: Vec<_> = few_runs(comparison).into_iter().collect();
    caveats.extend(noisy(comparison));
    caveats.extend(outstanding(comparison));
    let absent: Vec<_> = comparison.of(Outcome::OneSided).map(|r| &*r.name).collect();
    if !absent.is_empty() {
        caveats.push(format!("on one side only: {}", absent.join(", ")));
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
        let machine = |e: &Environment| {
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

/// The assumption where the runs are too few for a test, and how many would do.
fn few_runs(comparison: &Comparison<'_>) -> Option<String> {
    let (base, new) = (comparison.base.runs.len(), comparison.new.runs.len());
    if statistics::can_tell(base, new) {
        return None;
    }
    let more = match statistics::fewest_new(base) {
        Some(enough) if enough <= 3 => format!("at least {enough} runs of the new side"),
        _ => "at least 3 runs of each side".to_owned(),
    };
    Some(format!(
        "{base} against {new} runs say nothing of the noise. That two runs of the same differ by \
         less than {} is an assumption (--noise): what differs by more is called worse or better \
         on its strength, and the rest cannot be told. To test it: {more} (run --repeat)",
        percent(comparison.terms.assumed_noise)
    ))
}

/// Figures that are too noisy, and how many runs would do.
fn noisy(comparison: &Comparison<'_>) -> Option<String> {
    if !statistics::can_tell(comparison.base.runs.len(), comparison.new.runs.len()) {
        return None;
    }
    let mut by_runs: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for row in comparison.of(Outcome::TooNoisy) {
        let runs = row.judged.runs_needed.unwrap_or(usize::MAX);
        by_runs.entry(runs).or_default().push(&row.name);
    }
    let figures = by_runs.iter().map(|(&runs, names)| {
        let would = match runs {
            usize::MAX => format!("not even {MOST_RUNS} runs would do"),
            runs => format!("about {runs} runs of each side would do"),
        };
        format!("{} ({would})", names.join(", "))
    });
    let figures: Vec<_> = figures.collect();
    (!figures.is_empty()).then(|| {
        format!(
            "too noisy to tell whether it changed by {}: {}. A higher --tolerance needs fewer \
             runs; --figures judges only what is named",
            percent(comparison.terms.tolerance),
            figures.join("; ")
        )
    })
}

/// Figures that are only known to be at least so much.
fn outstanding(comparison: &Comparison<'_>) -> Option<String> {
    let rows = comparison.rows.iter();
    let open = rows.filter(|row| row.judged.base_at_least || row.judged.new_at_least);
    let open: Vec<_> = open.map(|row| &*row.name).collect();
    (!open.is_empty()).then(|| {
        format!(
            "something was outstanding when a run stopped listening, so that these are at least \
             what is shown: {}. They are called worse or better only where they are however late \
             it would have come",
            open.join(", ")
        )
    })
}
