//! One run of the selftest: a fault (or none), a scenario in which it can be seen, a seed; and the
//! outcome.

use crate::cli::own_program;
use crate::driver::outcome::Outcome;
use crate::driver::run::run;
use crate::report::verdict::unfinished;
use crate::scenario::{self, plan::Plan};
use crate::server::fault::catalogue::Fault;
use crate::server::fault::committed::Committed;
use crate::verify::findings::Findings;
use crate::verify::kind::Kind;
use crate::wire::Dialect;

/// Faults that are shown of one run.
const SHOWN: usize = 5;

/// A scenario of the selftest.
#[derive(Debug, PartialEq, Eq)]
pub struct Scenario {
    /// The name of its file, without the ending.
    pub name: &'static str,
    /// The content of the file.
    pub text: &'static str,
}

macro_rules! scenarios {
    ($($constant:ident = $name:literal;)+) => {
        $(pub(super) const $constant: Scenario = Scenario {
            name: $name,
            text: include_str!(concat!($name, ".toml")),
        };)+

        /// All of them.
        pub const SCENARIOS: &[Scenario] = &[$($constant,)+];
    };
}

scenarios! {
    TALK = "talk";
    CHURN = "churn";
    GARBAGE = "garbage";
    LARGE = "large";
    LATE = "late";
    SLOW = "slow";
    HIT_AND_RUN = "hit-and-run";
    CARELESS = "careless";
    FORGED = "forged";
    ROOMS = "rooms";
}

/// The scenarios in which a fault can be seen. In churn, not every time: the victim may reset the
/// connection before it has read anything that proves the fault; and if nobody read a message's
/// ack, its fault is another kind of violation.
#[must_use]
pub fn scenarios_of(fault: Fault) -> &'static [Scenario] {
    match fault {
        Fault::SpoofableAck => &[FORGED],
        Fault::EffectFirst | Fault::RelayRejected => &[GARBAGE],
        Fault::RenumberLate => &[HIT_AND_RUN],
        Fault::Truncate1024 => &[LARGE],
        Fault::DelayRelay => &[LATE],
        Fault::BlockOnSlow => &[SLOW],
        Fault::LoseCoalesced => &[TALK],
        Fault::WrongRoom
        | Fault::LeakOnJoin
        | Fault::LostInOneRoom
        | Fault::StaysAfterLeave
        | Fault::JoinedTooLate => &[ROOMS],
        Fault::HangUp | Fault::AckThenLose | Fault::MisrouteAck | Fault::SwapAcks => &[TALK, ROOMS],
        _ => &[TALK, CHURN, ROOMS],
    }
}

/// By what a cell's run is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Judge {
    /// By the numbers that the server gives to messages
    Numbers,
    /// Without them, by what each client sends and receives: as a target is judged that has none
    Outside,
    /// The same with clients of the classic dialect, in which messages have no numbers
    Classic,
    /// As outside, on two shards, as a target that keeps each sender's own order and promises no more
    Fifo,
    /// By the numbers, with clients over WebSocket
    Websocket,
}

impl Judge {
    /// Whether `fault` can show at all: one that is only in the numbers does not without them.
    #[must_use]
    pub fn sees(self, fault: Fault) -> bool {
        let in_numbers = matches!(fault, Fault::SkipNumber | Fault::ReuseNumber);
        let between_senders = matches!(
            fault,
            Fault::SwapSenders | Fault::EffectFirst | Fault::RenumberLate
        );
        match self {
            Self::Numbers | Self::Websocket => fault.is_committed_in(Dialect::Ndjson),
            Self::Outside => fault.is_committed_in(Dialect::Ndjson) && !in_numbers,
            Self::Fifo => Self::Outside.sees(fault) && !between_senders,
            // An ack that names no message counts for the oldest unacked one: where whole messages
            // are lost, the last ones seem to lack an ack, and the lost ones seem to have reached
            // nobody.
            Self::Classic => {
                let lost_whole = matches!(fault, Fault::Truncate1024 | Fault::LoseCoalesced);
                fault.is_committed_in(Dialect::Classic) && !lost_whole
            }
        }
    }

    /// Whether a scenario can be run: some wait for errors, which classic has none of, one has
    /// rooms, which classic does not have either, and one is about what only classic has.
    #[must_use]
    pub fn runs(self, scenario: &Scenario) -> bool {
        let is_beyond_classic = [GARBAGE, HIT_AND_RUN, CARELESS, ROOMS].contains(scenario);
        match self {
            Self::Numbers | Self::Outside | Self::Websocket | Self::Fifo => *scenario != FORGED,
            Self::Classic => !is_beyond_classic,
        }
    }

    /// Each `PATH=VALUE` that it takes for a scenario to be judged this way.
    const fn overrides(self) -> &'static [&'static str] {
        match self {
            Self::Numbers => &[],
            Self::Outside => &["verify.use_seq=false"],
            Self::Fifo => &[
                "verify.use_seq=false",
                "verify.order=\"fifo\"",
                "run.shards=2",
            ],
            Self::Classic => &["target.url=\"embedded+classic\""],
            Self::Websocket => &["target.url=\"embedded+ws\""],
        }
    }

    /// Whether a fault that its victim could see may yet show to nobody. Without numbers, messages
    /// under way while a session begins or ends are neither owed nor forbidden, so a fault there
    /// shows only if its message was acked in time; and nothing shows that an ack changed places
    /// with a relay.
    fn may_excuse(self, fault: Fault) -> bool {
        let needs_numbers = matches!(
            fault,
            Fault::BeforeJoin
                | Fault::LateJoin
                | Fault::DropTail
                | Fault::StarveOne
                | Fault::SwapAcks
        );
        // There is no welcome: a client that has not received anything yet need not have joined. Or
        // there is no order between senders: what somebody else's message came before proves
        // nothing.
        let needs_more = matches!(fault, Fault::DropRelay | Fault::AckThenLose);
        match self {
            Self::Numbers | Self::Websocket => false,
            Self::Outside => needs_numbers,
            Self::Fifo | Self::Classic => needs_numbers || needs_more,
        }
    }
}

/// Whether as many violations are expected as were committed. One delay makes late everything that
/// is queued after it.
fn is_counted(fault: Fault) -> bool {
    !matches!(fault, Fault::DelayRelay | Fault::BlockOnSlow)
}

/// One run of the selftest: the fault to commit, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) fault: Option<Fault>,
    pub(super) scenario: &'static Scenario,
    pub(super) seed: u64,
    pub(super) judge: Judge,
}

/// The outcome of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The right kind, as often as it was committed, and nothing else. Of a clean run: nothing.
    Right,
    /// The moment drawn for the fault never came.
    NotApplied,
    /// The victim went away.
    NotObservable,
    /// The fault was committed, and nothing was reported.
    Missed,
    /// Reported as something else, or as more or less than it was.
    Misnamed,
    /// Something was reported that had not happened.
    Imagined,
    /// The run could not be judged.
    Inconclusive,
}

/// A cell that was run.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    pub(super) cell: Cell,
    pub(super) verdict: Verdict,
    /// Everything that was committed and that was reported, one line each.
    pub(super) details: Vec<String>,
}

/// The plan of a cell.
///
/// # Panics
/// If a scenario of the selftest is no scenario, which a test rules out.
pub(super) fn plan(cell: Cell) -> Plan {
    let faults = cell.fault;
    let faults = faults.map(|fault| format!("target.faults=[\"{fault}\"]"));
    let judged = cell.judge.overrides().iter().map(|&one| one.to_owned());
    let overrides: Vec<String> = judged.chain(faults).collect();
    let Scenario { name, text } = cell.scenario;
    let file = format!("{name}.toml");
    scenario::parse(&file, text, &overrides, Some(cell.seed), None)
        .unwrap_or_else(|wrong| panic!("{}", wrong.render(false)))
}

/// Runs a cell. `None` if the user interrupted it.
pub(super) fn carry_out(cell: Cell) -> Option<Ran> {
    let plan = plan(cell);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let inconclusive = |what: String| Ran {
        cell,
        verdict: Verdict::Inconclusive,
        details: vec![what],
    };
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(run(&plan, &own_program(), None, &mut |_, _| {})),
        Err(error) => return Some(inconclusive(error.to_string())),
    };
    match outcome {
        Ok(outcome) if outcome.interrupted.is_some() => None,
        Ok(outcome) => Some(judge(cell, &outcome)),
        Err(error) => Some(inconclusive(error.to_string())),
    }
}

fn judge(cell: Cell, outcome: &Outcome) -> Ran {
    let committed: Vec<Committed> = outcome
        .faults
        .iter()
        .filter_map(|l| l.parse().ok())
        .collect();
    let findings = &outcome.findings;
    let mut verdict = verdict(cell.fault, cell.judge, &committed, findings);
    let mut details: Vec<String> = committed
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    if committed.len() > SHOWN {
        details.push(format!("and {} faults more", committed.len() - SHOWN));
    }
    for (kind, tally) in &findings.violations {
        details.push(format!("{kind}, {} in all", tally.count));
        let texts = tally.examples.iter().take(3);
        details.extend(texts.map(|example| format!("  {}", example.text)));
    }
    if cell.fault.is_none() && verdict == Verdict::Right {
        let doubts = outcome.inconclusive.iter().map(String::as_str);
        let doubts = findings.undecided_before_the_end().chain(doubts);
        details.extend(doubts.map(str::to_owned));
        details.extend(unfinished(outcome));
        if !details.is_empty() {
            verdict = Verdict::Inconclusive;
        }
    }
    Ran {
        cell,
        verdict,
        details,
    }
}

/// The verdict of a run on the verifier, given the faults that the server says it committed.
#[must_use]
pub fn verdict(
    fault: Option<Fault>,
    judge: Judge,
    committed: &[Committed],
    findings: &Findings,
) -> Verdict {
    let reported = findings.violation_count();
    let Some(fault) = fault.filter(|_| !committed.is_empty()) else {
        return match (reported, fault) {
            (0, None) => Verdict::Right,
            (0, Some(_)) => Verdict::NotApplied,
            _ => Verdict::Imagined,
        };
    };
    let right_kinds = fault.entry().reported_as;
    let is_right = |kind: &Kind| right_kinds.contains(&kind.name());
    let counts = findings
        .violations
        .iter()
        .filter(|(kind, _)| is_right(kind));
    let right: u64 = counts.map(|(_, tally)| tally.count).sum();
    let seen = if judge.may_excuse(fault) {
        0
    } else {
        committed.iter().filter(|committed| committed.seen).count() as u64
    };
    if right < reported {
        return Verdict::Misnamed;
    }
    match right {
        0 if seen == 0 => Verdict::NotObservable,
        0 => Verdict::Missed,
        _ if !is_counted(fault) => Verdict::Right,
        n if n < seen || n > committed.len() as u64 => Verdict::Misnamed,
        _ => Verdict::Right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn committed(seen: bool) -> Committed {
        Committed {
            fault: Fault::DropRelay,
            seen,
            what: String::new(),
        }
    }

    fn findings(kinds: &[Kind]) -> Findings {
        let mut findings = Findings::default();
        for kind in kinds {
            findings.violation(*kind, sample::example);
        }
        findings
    }

    #[test]
    fn only_the_right_kind_as_often_as_committed_is_right() {
        use Kind::{EchoedRelay, LostRelay};
        for (committed, kinds, expected) in [
            (vec![committed(true)], vec![LostRelay], Verdict::Right),
            (vec![committed(true)], vec![], Verdict::Missed),
            (vec![committed(true)], vec![EchoedRelay], Verdict::Misnamed),
            (
                vec![committed(true)],
                vec![LostRelay, LostRelay],
                Verdict::Misnamed,
            ),
            (
                vec![committed(true)],
                vec![LostRelay, EchoedRelay],
                Verdict::Misnamed,
            ),
            (
                vec![committed(true), committed(true)],
                vec![LostRelay],
                Verdict::Misnamed,
            ),
            (
                vec![committed(true), committed(false)],
                vec![LostRelay],
                Verdict::Right,
            ),
            (vec![committed(false)], vec![], Verdict::NotObservable),
            (vec![committed(false)], vec![LostRelay], Verdict::Right),
            (vec![committed(false)], vec![EchoedRelay], Verdict::Misnamed),
            (vec![], vec![], Verdict::NotApplied),
            (vec![], vec![LostRelay], Verdict::Imagined),
        ] {
            for judge in [Judge::Numbers, Judge::Outside] {
                let found = verdict(Some(Fault::DropRelay), judge, &committed, &findings(&kinds));
                assert_eq!(found, expected, "{committed:?} {kinds:?}");
            }
        }
        let clean = |kinds| verdict(None, Judge::Numbers, &[], &findings(kinds));
        assert_eq!(clean(&[]), Verdict::Right);
        assert_eq!(clean(&[LostRelay]), Verdict::Imagined);
    }

    #[test]
    fn what_only_numbers_could_prove_is_excused_without_them_alone() {
        use Kind::{EchoedRelay, LostRelay};
        let found = |judge, kinds| {
            let committed = [committed(true), committed(true)];
            verdict(Some(Fault::DropTail), judge, &committed, &findings(kinds))
        };
        for (kinds, by_numbers, outside) in [
            (&[][..], Verdict::Missed, Verdict::NotObservable),
            (&[LostRelay], Verdict::Misnamed, Verdict::Right),
            (&[LostRelay, LostRelay], Verdict::Right, Verdict::Right),
            (&[LostRelay; 3], Verdict::Misnamed, Verdict::Misnamed),
            (&[EchoedRelay], Verdict::Misnamed, Verdict::Misnamed),
        ] {
            assert_eq!(found(Judge::Numbers, kinds), by_numbers, "{kinds:?}");
            assert_eq!(found(Judge::Outside, kinds), outside, "{kinds:?}");
        }
    }

    #[test]
    fn every_fault_has_scenarios_and_they_are_valid() {
        for fault in Fault::ALL {
            let scenarios = scenarios_of(*fault);
            for judge in [Judge::Numbers, Judge::Outside, Judge::Fifo, Judge::Classic] {
                let runs = scenarios.iter().filter(|s| judge.runs(s));
                let runs: Vec<_> = runs.filter(|_| judge.sees(*fault)).collect();
                assert_eq!(runs.is_empty(), !judge.sees(*fault), "{fault} {judge:?}");
                for scenario in runs {
                    let plan = plan(Cell {
                        fault: Some(*fault),
                        scenario,
                        seed: 1,
                        judge,
                    });
                    assert!(plan.warnings.is_empty(), "{}", plan.warnings.render(false));
                    assert_eq!(plan.promises.use_seq, judge == Judge::Numbers);
                }
            }
        }
    }
}
