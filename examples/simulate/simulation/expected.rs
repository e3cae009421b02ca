//! What must come of a case: a right server is never accused, and what a wrong one did is reported
//! as what it is, as often as it was done. What a case makes uncertain stands here, each with its
//! reason.

use chatbench::cli::selftest::cell::{Judge, Verdict, verdict};
use chatbench::driver::outcome::Outcome;
use chatbench::report::verdict::unfinished;
use chatbench::server::Stats;
use chatbench::server::fault::catalogue::Fault;
use chatbench::verify::findings::Findings;
use chatbench::verify::kind::Kind;

use super::case::{Case, Event};
use super::run::Ran;

/// Examples of each kind that are shown.
const SHOWN: usize = 3;

/// What is wrong with what came of `case`; empty if nothing is.
pub(crate) fn wrong(case: &Case, ran: &Ran) -> Vec<String> {
    match &ran.outcome {
        Ok(outcome) => wrong_with(case, outcome, ran.stats.as_ref()),
        Err(_) if may_not_come_about(case) => Vec::new(),
        Err(error) => vec![format!("the run did not come about: {error}")],
    }
}

/// Whether the first clients may find no server, no welcome, or their connections gone.
fn may_not_come_about(case: &Case) -> bool {
    let nobody_there = matches!(
        case.event,
        Event::ServerKilled(_) | Event::ConnectionsBroken(_)
    );
    nobody_there || case.fault == Some(Fault::NoWelcome) || was_ended_at_once(case)
}

fn wrong_with(case: &Case, outcome: &Outcome, stats: Option<&Stats>) -> Vec<String> {
    let right = case.fault.map_or(&[][..], |f| f.entry().reported_as);
    let mut findings = outcome.findings.clone();
    let is_committed = stats.is_none_or(|stats| !stats.faults.is_empty());
    let breaks = matches!(case.event, Event::ConnectionsBroken(_));
    for kind in also_right(case) {
        if !is_committed || breaks || !right.contains(&kind.name()) {
            findings.violations.remove(&kind);
        }
    }
    let mut wrong = Vec::new();
    if let Some(stats) = stats {
        let found = verdict(case.fault, case.judge, &stats.faults, &findings);
        let is_right = match found {
            Verdict::Right | Verdict::NotApplied | Verdict::NotObservable => true,
            Verdict::Missed => may_be_missed(case),
            Verdict::Imagined => may_be_prepared(case),
            Verdict::Misnamed | Verdict::Inconclusive => false,
        };
        if !is_right {
            wrong.push(format!("{found:?}"));
            wrong.extend(stats.faults.iter().map(ToString::to_string));
        }
    } else {
        // It was killed, and did not say what it had done by then.
        let imagined = |kind: &Kind| !right.contains(&kind.name());
        if findings.violations.keys().any(imagined) {
            wrong.push("Imagined".to_owned());
        }
    }
    if !wrong.is_empty() {
        wrong.extend(shown(&findings));
    }
    if case.fault.is_none() && !case.is_disturbed() {
        wrong.extend(doubts(case, outcome));
    }
    wrong
}

/// Kinds that a case brings about by itself, besides what its fault is reported as.
fn also_right(case: &Case) -> Vec<Kind> {
    let mut also = Vec::new();
    // What the network holds up is late, and so is what anyone does who stands still.
    if case.is_disturbed() || case.network.is_slow() {
        also.push(Kind::LateRelay);
    }
    // Some scripts give an answer one second.
    if matches!(case.event, Event::ServerPaused(_)) || !case.network.partitions.is_empty() {
        also.extend([Kind::MissingError, Kind::MissingAck]);
    }
    if let Event::ServerKilled(_) = case.event {
        // It hangs up on everyone and answers nobody that leaves.
        also.extend([Kind::UnexpectedClose, Kind::MissingBye]);
        // What it had kept a number free for never comes.
        also.push(Kind::SequenceGap);
        // Whose publish it lost is not told so: who got later ones of it knows.
        if matches!(case.fault, Some(Fault::Truncate1024 | Fault::LoseCoalesced)) {
            also.push(Kind::LostRelay);
        }
        // The end of its stream is what ends a classic session: it is taken at its word.
        if case.judge == Judge::Classic {
            also.extend([Kind::LostRelay, Kind::MissingAck, Kind::AckWithoutRelay]);
            also.extend([Kind::AlteredRelay, Kind::MalformedFrame, Kind::PhantomRelay]);
        }
    }
    // An ack that came in place of a relay accounts for the loss of that, but where its receiver is
    // so far behind that they stand too far apart.
    if case.fault == Some(Fault::MisrouteAck) && case.network.is_slow() {
        also.push(Kind::LostRelay);
    }
    // From where a client is, the target has hung up.
    if let Event::ConnectionsBroken(_) = case.event {
        also.extend([Kind::UnexpectedClose, Kind::MissingBye]);
    }
    // What only one is known to have missed has reached nobody, as far as anyone was heard out.
    if was_ended_at_once(case) && case.judge != Judge::Numbers {
        also.push(Kind::AckWithoutRelay);
    }
    // What was on its way to a server that hung up is not acked. In classic that is an answer to who
    // was leaving, and what it was owed by then is lost.
    if case.fault == Some(Fault::HangUp) {
        also.extend([Kind::MissingAck, Kind::LostRelay]);
    }
    // While a number is kept free every other message waits, and others leave meanwhile.
    if may_be_prepared(case) {
        also.push(Kind::LostRelay);
    }
    also
}

/// Whether nothing need be reported of a fault whose victim stayed to its end.
fn may_be_missed(case: &Case) -> bool {
    let is_excused = matches!(
        case.event,
        Event::DriverPaused(_) | Event::MachineSuspended(_) | Event::ConnectionsBroken(_)
    );
    match case.fault {
        // In this network everyone's socket is full for a moment, not only that of who stops.
        Some(Fault::BlockOnSlow) => true,
        // Who does not read for a while may be hung up on, and so may who sends garbage; and of
        // connections that the network breaks nobody knows which the server would have closed.
        Some(Fault::NoBye) => {
            let may_be_closed = ["send_raw", "stop_reading"];
            is_excused
                || may_be_closed
                    .iter()
                    .any(|step| case.scenario.contains(step))
        }
        // What is delayed may be on a connection that the network breaks; and a run that is ended
        // at once does not wait until it is late.
        Some(Fault::DelayRelay) => {
            matches!(case.event, Event::ConnectionsBroken(_)) || was_ended_at_once(case)
        }
        // A signal while it waits for its welcome has it go.
        Some(Fault::NoWelcome) => matches!(case.event, Event::Interrupted(_)),
        // In classic, hanging up on who is leaving is what is right.
        Some(Fault::HangUp) => is_excused || case.judge == Judge::Classic,
        _ => was_ended_at_once(case),
    }
}

/// Whether a fault may leave a trace that was not committed: one receiver is shown a number, and
/// whoever was to make that wrong gives up waiting.
fn may_be_prepared(case: &Case) -> bool {
    let reserves = matches!(case.fault, Some(Fault::EffectFirst | Fault::RenumberLate));
    reserves && case.is_disturbed()
}

fn was_ended_at_once(case: &Case) -> bool {
    matches!(&case.event, Event::Interrupted(signals) if signals.len() > 1)
}

/// Why a run that nothing disturbs could not be judged whole.
fn doubts(case: &Case, outcome: &Outcome) -> Vec<String> {
    let undecided = outcome.findings.undecided_before_the_end();
    // Where clients are seconds behind, so many deliveries are placed late that comparing them pair
    // by pair is past its budget. With numbers there is nothing to compare.
    let is_past_budget = case.judge != Judge::Numbers && case.network.is_slow();
    undecided
        .filter(|_| !is_past_budget)
        .map(str::to_owned)
        .chain(outcome.inconclusive.iter().cloned())
        .chain(unfinished(outcome))
        .collect()
}

fn shown(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, tally) in &findings.violations {
        lines.push(format!("{kind}, {} in all", tally.count));
        let texts = tally.examples.iter().take(SHOWN);
        lines.extend(texts.map(|example| format!("  {}", example.text)));
    }
    lines
}
