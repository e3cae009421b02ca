//! The one word for a run, and why.

use std::fmt;
use std::time::Duration;

use super::thresholds::Judged;
use super::{figures, generator};
use crate::driver::outcome::{Interruption, Outcome};
use crate::measure::health::{OCCUPIED_SHARE, PAUSE_NS};
use crate::scenario::plan::{Leave, Load, Plan, Repeat, Step};
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;

/// The one word for a run. Ordered by weight: of several that hold, the greatest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What a run comes to.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    /// Every reason against a pass, the weightiest first.
    pub(super) reasons: Vec<String>,
    /// Whether it is inconclusive, and the first reason for that is the generator.
    pub(super) by_generator: bool,
}

/// Judges a run by everything that is known of it.
pub(super) fn judge(
    plan: &Plan,
    outcome: &Outcome,
    thresholds: &[Judged],
    cpus: usize,
) -> Judgement {
    if let Some(error) = &outcome.error {
        return Judgement {
            verdict: if error.interrupted {
                Verdict::Interrupted
            } else {
                Verdict::Inconclusive
            },
            by_generator: false,
            reasons: vec![error.what.clone()],
        };
    }
    let mut inconclusive = doubts(plan, outcome, cpus);
    inconclusive.extend(outcome.findings.undecided.iter().cloned());
    if inconclusive.is_empty() && !cut_short(outcome) {
        // Where a run went wrong as a whole, missing samples are no reason of their own.
        inconclusive = unjudged(thresholds);
    }
    let (excused, crossed) = crossed(plan, outcome, thresholds);
    // A run that was cut short or lost its target says that first.
    let mut by_generator =
        outcome.health.is_saturated() || (inconclusive.is_empty() && !excused.is_empty());
    inconclusive.extend(excused);
    let mut failed = Vec::from_iter(violated(&outcome.findings));
    if let Some(late) = late_for_us(plan, outcome) {
        failed.clear();
        inconclusive.insert(0, late);
        by_generator = true;
    }
    let interrupted = outcome
        .interrupted
        .map(|interruption| interruption.to_string());
    let weighed = [
        (Verdict::Interrupted, Vec::from_iter(interrupted)),
        (Verdict::Fail, failed),
        (Verdict::Inconclusive, inconclusive),
        (Verdict::Threshold, crossed),
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
        reasons: reasons.into_iter().map(|(_, reason)| reason).collect(),
    }
}

/// Why a run cannot pass, for reasons that are not in what verification found.
#[must_use]
pub fn doubts(plan: &Plan, outcome: &Outcome, cpus: usize) -> Vec<String> {
    let mut doubts = outcome.inconclusive.clone();
    // What a run did not see because it was ended is no reason of its own.
    let complete = !cut_short(outcome);
    if complete {
        doubts.extend(unseen(plan, outcome));
    }
    doubts.extend(generator::reasons(&outcome.health, cpus));
    if complete {
        doubts.extend(unexercised(plan, outcome));
    }
    doubts
}

/// All violations in one reason, by kind.
pub(super) fn violated(findings: &Findings) -> Option<String> {
    let count = findings.violation_count();
    let kinds: Vec<_> = findings
        .violations
        .iter()
        .filter(|(_, tally)| tally.count > 0)
        .map(|(kind, tally)| format!("{} {kind}", figures::count(tally.count)))
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    let count_text = figures::count(count);
    (count > 0).then(|| format!("{count_text} violation{plural}: {}", kinds.join(", ")))
}

/// Where lateness is all that was found, and the generator was never idle, or paused for as long as
/// a relay may take: one that lay in a socket until the generator got to it came late by the
/// generator's clock. That neither clears the target nor accuses it.
fn late_for_us(plan: &Plan, outcome: &Outcome) -> Option<String> {
    let mut found = outcome.findings.violations.iter();
    let only_late = found.all(|(kind, tally)| *kind == Kind::LateRelay || tally.count == 0);
    let count = outcome.findings.violation_count();
    let limit = plan.promises.late_after?;
    let pause_ns = outcome.health.longest_pause_ns;
    let paused = pause_ns >= PAUSE_NS && Duration::from_nanos(pause_ns) >= limit;
    let busy = paused || outcome.health.occupied() >= OCCUPIED_SHARE;
    (only_late && count > 0 && busy).then(|| {
        format!(
            "late relays ({}) cannot be held against the target: they may have waited for the \
             generator to read them",
            figures::count(count),
        )
    })
}

/// Whether the run was ended before it could see all that it was to.
fn cut_short(outcome: &Outcome) -> bool {
    let interruption = outcome.interrupted.as_ref();
    interruption.is_some_and(Interruption::cut_the_load_short)
}

/// Why the run did not see what it was to check: only a run that did may pass.
fn unseen(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let mut reasons = Vec::new();
    let counts = &outcome.findings.counts;
    if outcome.connected < outcome.clients && !expects_refusal(plan) {
        reasons.push(format!(
            "{} of {} clients were never welcomed: is the target up, and does it take so many?",
            figures::count(outcome.clients - outcome.connected),
            figures::count(outcome.clients),
        ));
    }
    let publishes = plan.groups.iter().any(|group| publishes(&group.load));
    if !reasons.is_empty() {
        // What follows from that is no reason of its own.
    } else if publishes && counts.sent == 0 {
        reasons.push("nothing was sent: is the measured phase long enough for one message?".into());
    } else if publishes && has_receivers(plan) && counts.delivered + counts.optional == 0 {
        reasons.push("not one delivery was seen: nothing was verified".into());
    }
    reasons
}

/// What the scripts set out to exercise and the run did not: what never had its occasion was not
/// verified.
fn unexercised(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let coverage = &outcome.findings.coverage;
    let scripted = |wanted: fn(&Step) -> bool| {
        plan.groups.iter().any(
            |group| matches!(&group.load, Load::Script { steps, .. } if steps.iter().any(wanted)),
        )
    };
    let lets_go = |step: &Step| matches!(step, Step::Disconnect(Leave::Abort | Leave::Close));
    let mut reasons = Vec::new();
    if scripted(lets_go) && coverage.aborts == 0 {
        reasons.push(
            "a script was to abort its connection and never got there; run longer".to_owned(),
        );
    }
    let comes_back = plan.groups.iter().any(|group| match &group.load {
        Load::Script { steps, repeat } => {
            let connects = steps
                .iter()
                .filter(|step| matches!(step, Step::Connect))
                .count();
            connects > 1 || *repeat != Repeat::Times(1)
        }
        _ => false,
    });
    if comes_back && outcome.findings.counts.sessions <= outcome.clients {
        reasons.push("a script was to connect again and never got there; run longer".to_owned());
    }
    reasons
}

/// Whether the clients of a group send messages that the target is to relay.
fn publishes(load: &Load) -> bool {
    match load {
        Load::Listen => false,
        Load::Open { .. } | Load::Closed { .. } => true,
        Load::Script { steps, .. } => steps
            .iter()
            .any(|step| matches!(step, Step::Publish { count, .. } if *count > 0)),
    }
}

/// Whether a message has anyone to go to.
fn has_receivers(plan: &Plan) -> bool {
    let clients: u64 = plan.groups.iter().map(|group| u64::from(group.count)).sum();
    clients + u64::from(plan.run.observers) > 1 || plan.promises.echo
}

/// Whether a script waits for the target to turn it away.
fn expects_refusal(plan: &Plan) -> bool {
    plan.groups.iter().any(|group| match &group.load {
        Load::Script { steps, .. } => steps
            .iter()
            .any(|step| matches!(step, Step::ExpectError { code, .. } if code == "server-full")),
        _ => false,
    })
}

fn unjudged(thresholds: &[Judged]) -> Vec<String> {
    let unjudged = thresholds.iter().filter(|threshold| threshold.ok.is_none());
    unjudged
        .map(|Judged { metric, expr, samples, wanted, is_rate, .. }| {
            if *is_rate {
                return format!("{metric} {expr} cannot be judged: there was no measured phase");
            }
            format!(
                "{metric} {expr} cannot be judged: {} samples, it takes {}; run longer, or at a \
                 higher rate",
                figures::count(*samples),
                figures::count(*wanted),
            )
        })
        .collect()
}

/// The crossed thresholds: those that the generator may have crossed, and those that the target
/// did.
fn crossed(plan: &Plan, outcome: &Outcome, thresholds: &[Judged]) -> (Vec<String>, Vec<String>) {
    let (mut excused, mut crossed) = (Vec::new(), Vec::new());
    for (threshold, judged) in plan.thresholds.iter().zip(thresholds) {
        if judged.ok != Some(false) {
            continue;
        }
        if let Some(excuse) = generator::excuse(threshold, judged, outcome) {
            excused.push(excuse);
        } else {
            crossed.push(format!(
                "{} {}: it was {}",
                judged.metric,
                judged.expr,
                judged.observed_text().unwrap_or_default(),
            ));
        }
    }
    (excused, crossed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::snapshot::Phase;
    use crate::report::sample;

    fn verdict_of(change: impl FnOnce(&mut Plan, &mut Outcome)) -> (Verdict, Vec<String>) {
        let (mut plan, mut outcome) = (sample::plan(), sample::outcome());
        change(&mut plan, &mut outcome);
        let report = crate::report::Report::new(&plan, outcome);
        (report.verdict, report.reasons)
    }

    /// A script that waits to be turned away.
    fn turned_away() -> Load {
        let code = "server-full".to_owned();
        let within = Duration::from_secs(1);
        Load::Script {
            steps: [Step::Connect, Step::ExpectError { code, within }].into(),
            repeat: Repeat::Times(1),
        }
    }

    fn violate(outcome: &mut Outcome) {
        outcome.findings.violation(Kind::LostRelay, sample::example);
    }

    #[test]
    fn a_run_that_saw_it_all_and_found_nothing_passes_without_a_reason() {
        assert_eq!(verdict_of(|_, _| ()), (Verdict::Pass, vec![]));
    }

    #[test]
    fn of_several_verdicts_the_weightiest_counts() {
        // Each row adds one reason to those above it.
        let table: [(Verdict, sample::Change); 4] = [
            (Verdict::Threshold, |plan, _| plan.thresholds[0].limit = 1.0),
            (Verdict::Inconclusive, |_, o| {
                o.inconclusive.push("target gone".into());
            }),
            (Verdict::Fail, |_, o| violate(o)),
            (Verdict::Interrupted, |_, o| {
                o.interrupted = Some(Interruption {
                    signal: "Ctrl-C",
                    phase: Phase::Measure,
                });
            }),
        ];
        for rows in 1..=table.len() {
            let (verdict, reasons) = verdict_of(|plan, outcome| {
                table[..rows]
                    .iter()
                    .for_each(|(_, change)| change(plan, outcome));
            });
            assert_eq!(verdict, table[rows - 1].0);
            assert_eq!(reasons.len(), rows, "{reasons:?}");
        }
        let codes = Verdict::ALL.map(Verdict::exit_code);
        assert_eq!(codes, [0, 99, 3, 1, 130]);
        assert!(Verdict::ALL.is_sorted());
    }

    #[test]
    fn relays_late_by_the_clock_of_a_generator_without_time_accuse_nobody() {
        let late: sample::Change = |plan, o| {
            plan.promises.late_after = Some(Duration::from_secs(2));
            o.findings.violation(Kind::LateRelay, sample::example);
        };
        let never_idle: sample::Change = |_, o| o.health.shards[0].waited_ns = 9_500_000_000;
        let paused: sample::Change = |_, o| o.health.longest_pause_ns = 2_000_000_000;
        let hardly_paused: sample::Change = |_, o| o.health.longest_pause_ns = 1_900_000_000;
        let lost: sample::Change = |_, o| violate(o);
        let judged = |changes: &[sample::Change]| {
            verdict_of(|plan, outcome| changes.iter().for_each(|change| change(plan, outcome)))
        };
        let (verdict, reasons) = judged(&[late]);
        assert_eq!((verdict, reasons.len()), (Verdict::Fail, 1), "{reasons:?}");
        for busy in [never_idle, paused] {
            let (verdict, reasons) = judged(&[late, busy]);
            assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
            assert!(
                reasons[0].starts_with("late relays (1) cannot be held"),
                "{reasons:?}"
            );
        }
        let (verdict, reasons) = judged(&[late, hardly_paused]);
        assert_eq!(verdict, Verdict::Fail, "{reasons:?}");
        let (verdict, reasons) = judged(&[late, never_idle, lost]);
        assert_eq!(verdict, Verdict::Fail);
        assert!(reasons[0].contains("1 late-relay"), "{reasons:?}");
    }

    #[test]
    fn what_a_run_did_not_see_it_cannot_pass() {
        let table: [(&str, sample::Change); 9] = [
            ("4 of 104 clients were never welcomed", |_, o| {
                o.connected = 100;
            }),
            ("nothing was sent", |_, o| o.findings.counts.sent = 0),
            ("not one delivery was seen", |_, o| {
                o.findings.counts.delivered = 0;
            }),
            ("nothing was sent", |plan, o| {
                plan.groups[1].load = turned_away();
                o.connected = 0;
                o.findings.counts = Default::default();
            }),
            ("not one delivery was seen", |plan, o| {
                plan.groups.truncate(1);
                plan.groups[0].count = 1;
                plan.run.observers = 0;
                plan.promises.echo = true;
                o.findings.counts.delivered = 0;
            }),
            ("the generator, not the target", |_, o| {
                o.health.offered = 5_000;
                o.health.behind = 51;
            }),
            (
                "relay p99 < 50ms cannot be judged: it was 60.0 ms, of which up to 20.1 ms",
                |_, o| {
                    o.measured.relay.reset();
                    o.measured.relay.record_n(59_999_999, 500).unwrap();
                    o.measured.heartbeat.reset();
                    o.measured.heartbeat.record_n(20_000_000, 500).unwrap();
                },
            ),
            ("no fence", |_, o| {
                o.findings.undecided.push("no fence".into());
            }),
            (
                "relay p99 < 50ms cannot be judged: 0 samples, it takes 368",
                |_, o| {
                    o.measured.relay.reset();
                },
            ),
        ];
        for (reason, change) in table {
            let (verdict, reasons) = verdict_of(change);
            assert_eq!(verdict, Verdict::Inconclusive, "{reason}");
            assert!(
                reasons.len() == 1 && reasons[0].starts_with(reason),
                "{reasons:?}"
            );
        }
    }

    #[test]
    fn what_a_script_never_got_to_was_not_verified() {
        let script = |steps: &[Step], repeat| Load::Script {
            steps: steps.into(),
            repeat,
        };
        let abort = [Step::Connect, Step::Disconnect(Leave::Abort)];
        let stay = [Step::Connect];
        let cases = [
            (
                "never abort",
                script(&abort, Repeat::Times(1)),
                Some("abort its connection"),
            ),
            (
                "never back",
                script(&stay, Repeat::Times(2)),
                Some("connect again"),
            ),
            ("nothing to miss", script(&stay, Repeat::Times(1)), None),
        ];
        for (case, load, said) in cases {
            let (verdict, reasons) = verdict_of(|plan, o| {
                plan.groups[1].load = load;
                o.findings.coverage.aborts = 0;
                o.findings.counts.sessions = o.clients;
            });
            let expected = if said.is_some() {
                Verdict::Inconclusive
            } else {
                Verdict::Pass
            };
            assert_eq!(verdict, expected, "{case}");
            assert!(
                said.is_none_or(|said| reasons[0].contains(said)),
                "{case}: {reasons:?}"
            );
        }
    }

    #[test]
    fn where_nothing_was_to_be_seen_nothing_is_missed() {
        let table: [sample::Change; 4] = [
            // Listeners alone.
            |plan, o| {
                plan.groups.remove(0);
                o.findings.counts = Default::default();
            },
            // One talker with nobody to talk to.
            |plan, o| {
                plan.groups.truncate(1);
                plan.groups[0].count = 1;
                plan.run.observers = 0;
                o.findings.counts.delivered = 0;
            },
            // Some deliveries were optional, so some were seen.
            |_, o| {
                o.findings.counts.delivered = 0;
                o.findings.counts.optional = 1;
            },
            // Clients that are to be turned away.
            |plan, o| {
                plan.groups[1].load = turned_away();
                o.connected = 5;
            },
        ];
        for (row, change) in table.into_iter().enumerate() {
            assert_eq!(verdict_of(change), (Verdict::Pass, vec![]), "row {row}");
        }
    }

    #[test]
    fn reasons_say_what_and_how_much() {
        let (_, reasons) = verdict_of(|plan, outcome| {
            violate(outcome);
            violate(outcome);
            plan.thresholds[0].limit = 1.0;
        });
        assert_eq!(
            reasons,
            [
                "2 violations: 2 lost-relay",
                "relay p99 < 50ms: it was 1.95 ms"
            ]
        );
    }
}
