//! A run that ended before its clients had finished.

use crate::driver::outcome::{Outcome, Unfinished};
use crate::report::figures;
use crate::verify::findings::Findings;

/// A target that has sent nothing to any client for so long is silent.
const SILENT_NS: u64 = 1_000_000_000;

/// Says that the run ended before its clients had finished, and for how long the target had been
/// silent.
#[must_use]
pub fn unfinished(outcome: &Outcome) -> Option<String> {
    let Some(unfinished) = outcome.unfinished else {
        return outcome.findings.unproved();
    };
    let Unfinished {
        clients,
        unanswered,
        drain,
        heard_ns,
        ended_ns,
    } = unfinished;
    let had = match (clients, drain) {
        (1, Some(_)) => "client had not got to its end".to_owned(),
        (_, Some(_)) => "clients had not got to their end".to_owned(),
        (1, None) => "client was still connected".to_owned(),
        (_, None) => "clients were still connected".to_owned(),
    };
    let when = match drain {
        Some(drain) => format!("when the drain's {} were over", figures::span(drain)),
        None => "when everyone else had left".to_owned(),
    };
    let had = format!("{} {had} {when}", figures::count(clients));
    let silent_ns = ended_ns.saturating_sub(heard_ns);
    let outstanding = outstanding(&outcome.findings);
    // A client that waits for nothing is not owed an answer.
    let waited = unanswered > 0 || !outstanding.is_empty();
    if silent_ns < SILENT_NS || !waited {
        let cure = if drain.is_some() {
            "; give run.drain more time"
        } else {
            ""
        };
        return Some(format!("{had}{outstanding}{cure}"));
    }
    let since = match heard_ns {
        0 => "from the beginning".to_owned(),
        ns => format!("since {:.1} s into the run", ns as f64 / 1e9),
    };
    Some(format!(
        "the target was silent {since}, for {}, to the end: {had}{outstanding}",
        figures::latency(silent_ns),
    ))
}

/// The count of what had not come for certain, after the sentence that says so: `, with 5 acks
/// outstanding`.
fn outstanding(findings: &Findings) -> String {
    let counted = [
        (findings.outstanding_acks(), ["ack", "acks"]),
        (findings.outstanding_relays(), ["delivery", "deliveries"]),
    ];
    let some: Vec<String> = (counted.into_iter())
        .filter(|(n, _)| *n > 0)
        .map(|(n, [one, many])| {
            format!("{} {}", figures::count(n), if n == 1 { one } else { many })
        })
        .collect();
    match some.is_empty() {
        true => String::new(),
        false => format!(", with {} outstanding", some.join(" and ")),
    }
}
