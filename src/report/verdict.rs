//! The one word for a run, and why.

use std::fmt;
use std::time::Duration;

use super::thresholds::Judged;
use super::{figures, generator};
use crate::driver::outcome::{Interruption, Outcome, Unfinished};
use crate::measure::health::{OCCUPIED_SHARE, PAUSE_NS};
use crate::scenario::plan::{AckPromise, LateCounts, Leave, Load, Plan, Repeat, Step};
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;

/// A target that has said nothing to anybody for so long is silent.
const SILENT_NS: u64 = 1_000_000_000;

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
    /// What relays that came too late count as.
    pub(super) late: Verdict,
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
            late: Verdict::Fail,
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
    let undecided = outcome.findings.undecided_before_the_end();
    inconclusive.extend(undecided.map(str::to_owned));
    let mut unfinished = Vec::from_iter(unfinished(outcome));
    if inconclusive.is_empty() && !cut_short(outcome) {
        // Where a run went wrong as a whole, missing samples are no reason of their own.
        if unfinished.is_empty() {
            inconclusive = unjudged(thresholds);
        }
        unfinished.extend(left_open(thresholds));
    }
    let (excused, crossed) = (excused(thresholds), crossed(thresholds));
    // A run that was cut short or lost its target says that first.
    let mut by_generator =
        outcome.health.is_saturated() || (inconclusive.is_empty() && !excused.is_empty());
    inconclusive.extend(excused);
    let late = late_counts_as(plan, outcome);
    let mut crossed = crossed;
    match late {
        Verdict::Inconclusive => {
            inconclusive.insert(0, late_for_us(&outcome.findings));
            by_generator = true;
        }
        Verdict::Threshold => crossed.extend(late_threshold(plan, &outcome.findings)),
        _ => {}
    }
    let failed = Vec::from_iter(violated(&outcome.findings, late));
    let interrupted = outcome
        .interrupted
        .map(|interruption| interruption.to_string());
    let weighed = [
        (Verdict::Interrupted, Vec::from_iter(interrupted)),
        (Verdict::Fail, failed),
        (Verdict::Inconclusive, inconclusive),
        (Verdict::Threshold, crossed),
        // What was still to come does not undo what is crossed already.
        (Verdict::Inconclusive, unfinished),
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
        late,
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

/// That the run ended before its clients had, and how silent the target was by then.
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
    // Whoever waits for nothing is not answered with anything.
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

/// What had not come for certain, behind the sentence that says so: `, with 5 acks outstanding`.
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

/// All violations in one reason, by kind; late relays are among them if they count as that.
pub(super) fn violated(findings: &Findings, late: Verdict) -> Option<String> {
    let tallies = findings.violations.iter();
    let tallies = tallies.filter(|(kind, tally)| {
        tally.count > 0 && (**kind != Kind::LateRelay || late == Verdict::Fail)
    });
    let count: u64 = tallies.clone().map(|(_, tally)| tally.count).sum();
    let kinds: Vec<_> = tallies
        .map(|(kind, tally)| format!("{} {kind}", figures::count(tally.count)))
        .collect();
    let plural = if count == 1 { "" } else { "s" };
    let count_text = figures::count(count);
    (count > 0).then(|| format!("{count_text} violation{plural}: {}", kinds.join(", ")))
}

/// What relays that came too late count as.
///
/// They are no reason to fail where lateness is all that was found, and the generator was never
/// idle, or paused for as long as a relay may take: one that lay in a socket until the generator
/// got to it came late by the generator's clock. That neither clears the target nor accuses it.
fn late_counts_as(plan: &Plan, outcome: &Outcome) -> Verdict {
    let mut found = outcome.findings.violations.iter();
    let only_late = found.all(|(kind, tally)| *kind == Kind::LateRelay || tally.count == 0);
    let pause_ns = outcome.health.longest_pause_ns;
    let limit = plan.promises.late_after.unwrap_or(Duration::MAX);
    let paused = pause_ns >= PAUSE_NS && Duration::from_nanos(pause_ns) >= limit;
    let busy = paused || outcome.health.occupied() >= OCCUPIED_SHARE;
    let by_threshold = plan.late == LateCounts::AsThreshold;
    if late_count(&outcome.findings) > 0 && busy && (only_late || by_threshold) {
        Verdict::Inconclusive
    } else if by_threshold {
        Verdict::Threshold
    } else {
        Verdict::Fail
    }
}

fn late_count(findings: &Findings) -> u64 {
    let tally = findings.violations.get(&Kind::LateRelay);
    tally.map_or(0, |tally| tally.count)
}

fn late_for_us(findings: &Findings) -> String {
    format!(
        "late relays ({}) cannot be held against the target: they may have waited for the \
         generator to read them",
        figures::count(late_count(findings)),
    )
}

/// Late relays as a crossed threshold.
fn late_threshold(plan: &Plan, findings: &Findings) -> Option<String> {
    let count = late_count(findings);
    let limit = plan.promises.late_after.filter(|_| count > 0)?;
    let relays = if count == 1 { "relay" } else { "relays" };
    Some(format!(
        "{} {relays} came later than verify.late_after allows, {}",
        figures::count(count),
        figures::span(limit),
    ))
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
    let violated = outcome.findings.violation_count() > 0;
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
        reasons.push(match violated {
            false => "not one delivery was seen: nothing was verified".to_owned(),
            true => format!(
                "not one delivery was seen: is it a broadcast server of the {} dialect?",
                plan.target.url.dialect()
            ),
        });
    } else if publishes && plan.promises.ack != AckPromise::None && counts.acked == 0 && !violated {
        reasons.push("not one ack was seen: that messages are acked was not verified".into());
    } else if !violated && !puts_to_the_test(plan) {
        reasons.push(
            "no client publishes, and no threshold is set: there was nothing to verify".into(),
        );
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
    let expects = |step: &Step| matches!(step, Step::ExpectError { .. });
    let missing = outcome
        .findings
        .violations
        .contains_key(&Kind::MissingError);
    let never_welcomed = outcome.connected < outcome.clients && expects_refusal(plan);
    if scripted(expects)
        && outcome.findings.counts.errors_received == 0
        && !missing
        && !never_welcomed
    {
        reasons
            .push("a script was to be told of an error and never got there; run longer".to_owned());
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

/// Whether anything is asked of the target but to let clients connect, and to let them go.
fn puts_to_the_test(plan: &Plan) -> bool {
    let asks_of = |load: &Load| match load {
        Load::Listen => false,
        Load::Open { .. } | Load::Closed { .. } => true,
        Load::Script { steps, repeat } => repeat.puts_to_the_test(steps),
    };
    !plan.thresholds.is_empty() || plan.groups.iter().any(|group| asks_of(&group.load))
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
    let unjudged = thresholds.iter();
    unjudged
        .filter(|judged| judged.ok.is_none() && judged.excuse.is_none() && !is_open(judged))
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

/// Thresholds that what had not come by the end decides.
fn left_open(thresholds: &[Judged]) -> Vec<String> {
    let open = thresholds.iter().filter(|judged| is_open(judged));
    open.map(|judged| {
        format!(
            "{} {} cannot be judged: it was {}, by what more was still to come",
            judged.metric,
            judged.expr,
            judged
                .observed_text()
                .unwrap_or_else(|| "anything".to_owned()),
        )
    })
    .collect()
}

/// Whether a threshold has all the samples that it takes, and still cannot be judged.
fn is_open(judged: &Judged) -> bool {
    let undecided = judged.ok.is_none() && judged.excuse.is_none();
    undecided && !judged.is_rate && judged.samples >= judged.wanted
}

/// Thresholds that the generator may have crossed.
fn excused(thresholds: &[Judged]) -> Vec<String> {
    let excused = thresholds.iter().filter_map(|judged| {
        let excuse = judged.excuse.as_ref()?;
        Some(format!(
            "{} {} cannot be judged: it was {}, {excuse}",
            judged.metric,
            judged.expr,
            judged.observed_text().unwrap_or_default(),
        ))
    });
    excused.collect()
}

/// Thresholds that the target crossed.
fn crossed(thresholds: &[Judged]) -> Vec<String> {
    let crossed = thresholds.iter().filter(|judged| judged.ok == Some(false));
    crossed
        .map(|judged| {
            format!(
                "{} {}: it was {}",
                judged.metric,
                judged.expr,
                judged.observed_text().unwrap_or_default(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::snapshot::Phase;
    use crate::report::sample;
    use crate::scenario::plan::Stat;
    use crate::verify::outstanding::{Outstanding, Waiting};

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

    /// The target fell silent 6 s into the sample, and the run waited for 5 s.
    fn hang(outcome: &mut Outcome) {
        outcome.unfinished = Some(Unfinished {
            clients: 104,
            unanswered: 4,
            drain: Some(Duration::from_secs(5)),
            heard_ns: 6_000_000_000,
            ended_ns: 17_000_000_000,
        });
        outcome.findings.unfinished = 104;
        let sentence = outcome.findings.unproved();
        outcome.findings.undecided.extend(sentence);
        outcome.findings.outstanding.push(Outstanding {
            intended_ns: 7_000_000_000,
            first_ns: None,
            ack: None,
            relays: vec![Waiting {
                group: 1,
                clients: 100,
                until_ns: 17_000_000_000,
            }],
        });
    }

    fn max(plan: &mut Plan, limit_s: f64) {
        plan.thresholds.truncate(1);
        plan.thresholds[0].stat = Stat::Max;
        plan.thresholds[0].limit = limit_s * 1e9;
        plan.thresholds[0].expr = format!("max < {limit_s}s");
    }

    /// As [`hang`], and a hundred relays were outstanding for ten seconds.
    fn hung(limit_s: f64, outcome: &mut Outcome, plan: &mut Plan) {
        hang(outcome);
        max(plan, limit_s);
        let relays = &mut outcome.measured.censored.relay;
        relays.record_n(10_000_000_000, 100).unwrap();
    }

    #[test]
    fn a_target_that_hangs_for_good_crosses_what_its_silence_reaches() {
        let (verdict, reasons) = verdict_of(|plan, o| hung(1.0, o, plan));
        assert_eq!(verdict, Verdict::Threshold);
        assert_eq!(
            reasons,
            [
                "relay max < 1s: it was at least 10.0 s",
                "the target was silent since 6.0 s into the run, for 11.0 s, to the end: 104 \
                 clients had not got to their end when the drain's 5 s were over, with 100 \
                 deliveries outstanding"
            ]
        );
        // What it does not reach stays open, and is no reason of its own.
        let (verdict, reasons) = verdict_of(|plan, o| hung(60.0, o, plan));
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(
            reasons[0].starts_with("the target was silent since"),
            "{reasons:?}"
        );
        assert!(
            reasons[1].starts_with("relay max < 60s cannot be judged: it was at least 10.0 s"),
            "{reasons:?}"
        );
        // Nor does it outweigh what was proved, or undo a doubt.
        let (verdict, _) = verdict_of(|plan, o| {
            hung(1.0, o, plan);
            o.findings.violation(Kind::LateRelay, sample::example);
        });
        assert_eq!(verdict, Verdict::Fail);
        let (verdict, _) = verdict_of(|plan, o| {
            hung(1.0, o, plan);
            o.inconclusive.push("target gone".into());
        });
        assert_eq!(verdict, Verdict::Inconclusive);
        // A generator that stood still for as long may have been the reason.
        let (verdict, reasons) = verdict_of(|plan, o| {
            hung(1.0, o, plan);
            o.health.longest_pause_ns = 9_500_000_000;
        });
        assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
    }

    #[test]
    fn who_waits_for_nothing_does_not_call_the_target_silent() {
        let (_, reasons) = verdict_of(|_, o| {
            hang(o);
            o.findings.outstanding.clear();
            o.unfinished.as_mut().unwrap().unanswered = 0;
        });
        assert_eq!(
            reasons,
            [
                "104 clients had not got to their end when the drain's 5 s were over; give run.drain \
              more time"
            ]
        );
    }

    #[test]
    fn late_relays_count_as_what_the_scenario_says() {
        let late: sample::Change = |plan, o| {
            plan.promises.late_after = Some(Duration::from_secs(2));
            o.findings.violation(Kind::LateRelay, sample::example);
        };
        let (verdict, _) = verdict_of(late);
        assert_eq!(verdict, Verdict::Fail);
        let as_threshold = |more: sample::Change| {
            verdict_of(|plan, o| {
                late(plan, o);
                plan.late = LateCounts::AsThreshold;
                more(plan, o);
            })
        };
        let (verdict, reasons) = as_threshold(|_, _| ());
        assert_eq!(verdict, Verdict::Threshold);
        assert_eq!(
            reasons,
            ["1 relay came later than verify.late_after allows, 2 s"]
        );
        let (verdict, reasons) = as_threshold(|_, o| violate(o));
        assert_eq!(verdict, Verdict::Fail);
        assert_eq!(reasons[0], "1 violation: 1 lost-relay");
        let busy: sample::Change = |_, o| o.health.shards[0].waited_ns = 9_500_000_000;
        let (verdict, reasons) = as_threshold(busy);
        assert_eq!(verdict, Verdict::Inconclusive, "{reasons:?}");
    }

    #[test]
    fn who_asks_nothing_of_a_target_has_verified_nothing() {
        let (verdict, reasons) = verdict_of(|plan, o| {
            plan.groups.remove(0);
            plan.thresholds.clear();
            o.findings.counts.sent = 0;
        });
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(
            reasons[0].contains("there was nothing to verify"),
            "{reasons:?}"
        );
        // Without an ack nothing is known of acks.
        let (verdict, reasons) = verdict_of(|_, o| o.findings.counts.acked = 0);
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(
            reasons[0].starts_with("not one ack was seen"),
            "{reasons:?}"
        );
        let (verdict, _) = verdict_of(|plan, o| {
            plan.promises.ack = AckPromise::None;
            o.findings.counts.acked = 0;
        });
        assert_eq!(verdict, Verdict::Pass);
        // An error that a script waits for, and never got to.
        let expects = |o: &mut Outcome, plan: &mut Plan| {
            plan.groups[1].load = Load::Script {
                steps: [Step::ExpectError {
                    code: "malformed".to_owned(),
                    within: Duration::from_secs(1),
                }]
                .into(),
                repeat: Repeat::Times(1),
            };
            o.findings.counts.errors_received = 0;
        };
        let (verdict, reasons) = verdict_of(|plan, o| expects(o, plan));
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(reasons[0].contains("to be told of an error"), "{reasons:?}");
        let (verdict, _) = verdict_of(|plan, o| {
            expects(o, plan);
            o.findings.counts.errors_received = 1;
        });
        assert_eq!(verdict, Verdict::Pass);
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
