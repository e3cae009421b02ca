//! Caveats of the figures: samples that are missing from them, and whether they describe one state
//! of the system.

use super::{RunResult, figures, generator};
use crate::driver::outcome::Outcome;
use crate::measure::drift::{Drift, drift};
use crate::scenario::plan::{Load, Plan, Repeat};

/// Moments of the measured phase at which a schedule's rate is compared.
const LOOKS: u32 = 32;

/// Messages and deliveries without a latency, because they never came; no percentile contains them.
/// Without these counts a target would look better for every message that it loses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Messages sent and due in the measured phase that were not acked.
    pub acks: u64,
    /// Deliveries of the whole run that are proved lost.
    pub lost: u64,
    /// Deliveries of the whole run that were still to come when their receiver was cut or hung up
    /// on: nobody knows whether they would have.
    pub unresolved: u64,
    /// Messages sent and due in the measured phase that nobody is known to have received.
    pub last_relays: u64,
    /// Messages due in the measured phase that were never sent.
    pub unsent: u64,
}

/// Counts of samples that had not come when the run stopped listening; the figures contain them
/// with that time as their lower bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Acks.
    pub acks: u64,
    /// Deliveries.
    pub relays: u64,
    /// Messages that somebody still waited for.
    pub messages: u64,
}

impl Outstanding {
    /// Counts it in a result.
    #[must_use]
    pub fn of(result: &RunResult) -> Self {
        let count = |class: &str| {
            let latency = result.latency_ns.get(class);
            let outstanding = latency.and_then(|latency| latency.outstanding.as_ref());
            outstanding.map_or(0, |outstanding| outstanding.count)
        };
        Self {
            acks: count("ack"),
            relays: count("relay"),
            messages: count("last_relay"),
        }
    }

    /// In words; empty if nothing was outstanding.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let all = [
            (self.acks, ["ack", "acks"]),
            (self.relays, ["delivery", "deliveries"]),
        ];
        let some = all.into_iter().filter(|(n, _)| *n > 0);
        let counted = some.map(|(n, [one, many])| {
            format!("{} {}", figures::count(n), if n == 1 { one } else { many })
        });
        let mut words: Vec<String> = counted.collect();
        if !words.is_empty() {
            words.push("at least as late as when the run stopped listening (≥)".to_owned());
        }
        words
    }
}

impl Missing {
    /// Counts the samples that are missing from the figures of a result.
    #[must_use]
    pub fn of(result: &RunResult) -> Self {
        let lost = result.counts.map_or(0, |counts| counts.verified.lost);
        let missing = |class: &str| {
            let latency = result.latency_ns.get(class);
            latency.and_then(|latency| latency.missing).unwrap_or(0)
        };
        Self {
            acks: missing("ack"),
            lost,
            unresolved: missing("relay").saturating_sub(lost),
            last_relays: missing("last_relay"),
            unsent: result.window.unsent,
        }
    }

    /// The same without the samples that are in the figures by their lower bounds.
    #[must_use]
    pub const fn but_for(&self, outstanding: Outstanding) -> Self {
        Self {
            acks: self.acks.saturating_sub(outstanding.acks),
            lost: self.lost,
            unresolved: self.unresolved.saturating_sub(outstanding.relays),
            last_relays: self.last_relays.saturating_sub(outstanding.messages),
            unsent: self.unsent,
        }
    }

    /// In words; empty if nothing is missing.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let all = [
            (self.acks, ["ack", "acks"], "that did not come"),
            (self.lost, ["lost delivery", "lost deliveries"], ""),
            (
                self.unresolved,
                ["delivery", "deliveries"],
                "still to come when their receivers were cut off",
            ),
            (
                self.last_relays,
                ["message", "messages"],
                "with no known delivery",
            ),
            (self.unsent, ["message", "messages"], "due and never sent"),
        ];
        let some = all.into_iter().filter(|(n, ..)| *n > 0);
        some.map(|(n, [one, many], how)| {
            let what = if n == 1 { one } else { many };
            let text = format!("{} {what} {how}", figures::count(n));
            text.trim_end().to_owned()
        })
        .collect()
    }
}

/// The trend of a run whose load was steady; under a changing load, latency changes with it.
pub(super) fn trend(plan: &Plan, outcome: &Outcome) -> Option<Drift> {
    let measured = &outcome.measured;
    is_steady(plan)
        .then(|| drift(&measured.timeline, measured.window))
        .flatten()
}

/// Notes that a reader of the figures should know.
pub(super) fn notes(drift: Option<&Drift>, outcome: &Outcome, cpus: usize) -> Vec<String> {
    let mut notes = generator::notes(&outcome.health, cpus);
    match outcome.reconnected {
        0 => {}
        1 => notes.push(
            "one connection that the target closed was made again; what its client missed is not \
             owed"
                .to_owned(),
        ),
        n => notes.push(format!(
            "{} connections that the target closed were made again; what their clients missed is \
             not owed",
            figures::count(n)
        )),
    }
    if let Some(drift) = drift {
        let (from, to) = (
            figures::latency(drift.from_ns),
            figures::latency(drift.to_ns),
        );
        notes.push(if drift.to_ns < drift.from_ns {
            format!(
                "relay p50 fell from {from} to {to} over the measured phase: the target had not \
                 settled; give run.warmup more time"
            )
        } else {
            format!(
                "relay p50 rose from {from} to {to} over the measured phase: something fills up, \
                 and a longer run would show more; lower the rate to see a steady state"
            )
        });
    }
    notes
}

/// Whether the same load is asked for from the beginning of the measured phase to its end.
fn is_steady(plan: &Plan) -> bool {
    let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    plan.groups.iter().all(|group| match &group.load {
        Load::Listen | Load::Closed { .. } => true,
        Load::Script { repeat, .. } => *repeat == Repeat::Forever,
        Load::Open { profile, .. } => {
            let rate_at =
                |look| profile.rate_at(nanos(plan.run.warmup + plan.run.duration * look / LOOKS));
            (1..LOOKS).all(|look| rate_at(look) == rate_at(0))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::measure::TimelinePoint;
    use crate::report::sample;
    use crate::scenario::plan::AckPromise;

    const SECOND_NS: u64 = 1_000_000_000;

    /// Lets the sample's medians grow (or shrink) by `factor` per second.
    fn drifting(outcome: &mut Outcome, factor: f64) {
        let points = outcome.measured.timeline.iter_mut();
        for (second, point) in points.enumerate() {
            point.relay_p50_ns = (1e6 * factor.powi(second as i32)) as u64;
        }
    }

    #[test]
    fn a_steady_load_whose_latency_drifts_is_told_so() {
        let (plan, mut outcome) = (sample::plan(), sample::outcome());
        assert_eq!(trend(&plan, &outcome), None, "the sample is steady");
        for (factor, said) in [(1.2, "rose from"), (0.8, "fell from")] {
            drifting(&mut outcome, factor);
            let drift = trend(&plan, &outcome);
            let notes = notes(drift.as_ref(), &outcome, 2);
            assert!(notes.len() == 1 && notes[0].contains(said), "{notes:?}");
        }
    }

    #[test]
    fn a_load_that_changes_has_its_trend_from_there() {
        let (mut plan, mut outcome) = (sample::plan(), sample::outcome());
        drifting(&mut outcome, 1.2);
        plan.groups[0].load = Load::Script {
            steps: Arc::new([]),
            repeat: Repeat::Times(3),
        };
        assert_eq!(trend(&plan, &outcome), None);
        plan.groups[0].load = Load::Script {
            steps: Arc::new([]),
            repeat: Repeat::Forever,
        };
        assert!(trend(&plan, &outcome).is_some());
        // A point of silence is no second to compare.
        outcome.measured.timeline[2] = TimelinePoint {
            t_ns: 2 * SECOND_NS,
            ..TimelinePoint::default()
        };
        assert_eq!(trend(&plan, &outcome), None, "nine seconds are too few");
    }

    #[test]
    fn what_has_no_latency_is_counted() {
        let missing = |change: sample::Change| Missing::of(&sample::result(change));
        assert_eq!(missing(|_, _| ()), Missing::default());
        let some: sample::Change = |_, outcome| {
            outcome.measured.due_and_sent += 3;
            outcome.measured.unsent = 40;
            outcome.findings.counts.lost = 5;
            outcome.findings.counts.unresolved = 6;
        };
        assert_eq!(
            missing(some).in_words(),
            [
                "3 acks that did not come",
                "5 lost deliveries",
                "6 deliveries still to come when their receivers were cut off",
                "3 messages with no known delivery",
                "40 messages due and never sent"
            ]
        );
        let one = Missing {
            lost: 1,
            ..Missing::default()
        };
        assert_eq!(one.in_words(), ["1 lost delivery"]);
        let nobody = missing(|plan, outcome| {
            outcome.measured.due_and_sent += 3;
            plan.promises.ack = AckPromise::None;
            outcome.clients = 1;
        });
        assert_eq!((nobody.acks, nobody.last_relays), (0, 0));
    }
}
