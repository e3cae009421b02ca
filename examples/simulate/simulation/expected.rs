//! The expected outcome of a case: a right server is never accused, and a wrong one's faults are
//! reported as what they are, as often as they were committed. The exceptions are here, each with
//! its reason.

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

/// Deviations from the expected outcome of `case`; empty if there are none.
pub(crate) fn wrong(case: &Case, ran: &Ran) -> Vec<String> {
    match &ran.outcome {
        Ok(outcome) => wrong_with(case, outcome, ran.stats.as_ref()),
        Err(_) if may_not_come_about(case) => Vec::new(),
        Err(error) => vec![format!("the run did not come about: {error}")],
    }
}

/// Whether a run may fail to start: the first clients may find no server, no welcome, or their
/// connections gone.
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
        // The server was killed, and did not report the faults that it had committed.
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

/// Kinds of violation that a case causes by itself, besides those that its fault is reported as.
fn also_right(case: &Case) -> Vec<Kind> {
    let mut also = Vec::new();
    // Relays are late if the network delays them, or if the server or the driver stands still.
    if case.is_disturbed() || case.network.is_slow() {
        also.push(Kind::LateRelay);
    }
    // Some scripts wait only one second for an answer.
    if matches!(case.event, Event::ServerPaused(_)) || !case.network.partitions.is_empty() {
        also.extend([Kind::MissingError, Kind::MissingAck]);
    }
    if let Event::ServerKilled(_) = case.event {
        // It closes all connections, and answers no client that leaves.
        also.extend([Kind::UnexpectedClose, Kind::MissingBye]);
        // The message for a number that it had reserved never comes.
        also.push(Kind::SequenceGap);
        // The sender of a publish that it lost gets no error; receivers of later ones notice.
        if matches!(case.fault, Some(Fault::Truncate1024 | Fault::LoseCoalesced)) {
            also.push(Kind::LostRelay);
        }
        // A classic session ends with the end of its stream, so the loss counts as the server's.
        if case.judge == Judge::Classic {
            also.extend([Kind::LostRelay, Kind::MissingAck, Kind::AckWithoutRelay]);
            also.extend([Kind::AlteredRelay, Kind::MalformedFrame, Kind::PhantomRelay]);
        }
    }
    // An ack that came in place of a relay accounts for the loss of that relay, unless its receiver
    // is so far behind that the two are too far apart.
    if case.fault == Some(Fault::MisrouteAck) && case.network.is_slow() {
        also.push(Kind::LostRelay);
    }
    // A client cannot tell this from a target that closed the connection.
    if let Event::ConnectionsBroken(_) = case.event {
        also.extend([Kind::UnexpectedClose, Kind::MissingBye]);
    }
    // A relay that one client missed may have been missed by all clients that were read to the end.
    if was_ended_at_once(case) && case.judge != Judge::Numbers {
        also.push(Kind::AckWithoutRelay);
    }
    // Publishes on their way to a server that closed the connection are not acked. In classic, if
    // the client was leaving, the close is a regular end, and relays owed by then are lost.
    if case.fault == Some(Fault::HangUp) {
        also.extend([Kind::MissingAck, Kind::LostRelay]);
    }
    // While a number is reserved every other message waits, and clients leave meanwhile.
    if may_be_prepared(case) {
        also.push(Kind::LostRelay);
    }
    also
}

/// Whether a fault may go unreported although the affected client stayed to its end.
fn may_be_missed(case: &Case) -> bool {
    let is_excused = matches!(
        case.event,
        Event::DriverPaused(_) | Event::MachineSuspended(_) | Event::ConnectionsBroken(_)
    );
    match case.fault {
        // Here every socket is full at times, not only those of clients that stop reading.
        Some(Fault::BlockOnSlow) => true,
        // The server may close clients that do not read for a while, or that send garbage; and it
        // is unknown which of the connections that the network breaks it would have closed.
        Some(Fault::NoBye) => {
            let may_be_closed = ["send_raw", "stop_reading"];
            is_excused
                || may_be_closed
                    .iter()
                    .any(|step| case.scenario.contains(step))
        }
        // The delayed relay may be on a connection that the network breaks; and a run that is ended
        // at once does not wait until it is late.
        Some(Fault::DelayRelay) => {
            matches!(case.event, Event::ConnectionsBroken(_)) || was_ended_at_once(case)
        }
        // A client that waits for its welcome leaves on a signal.
        Some(Fault::NoWelcome) => matches!(case.event, Event::Interrupted(_)),
        // In classic, closing the connection of a client that is leaving is right.
        Some(Fault::HangUp) => is_excused || case.judge == Judge::Classic,
        _ => was_ended_at_once(case),
    }
}

/// Whether a fault that was not committed may leave a trace: one receiver is shown a number, and
/// the client whose publish would complete the fault gives up waiting.
fn may_be_prepared(case: &Case) -> bool {
    let reserves = matches!(case.fault, Some(Fault::EffectFirst | Fault::RenumberLate));
    reserves && case.is_disturbed()
}

fn was_ended_at_once(case: &Case) -> bool {
    matches!(&case.event, Event::Interrupted(signals) if signals.len() > 1)
}

/// Reasons why an undisturbed run could not be judged completely.
fn doubts(case: &Case, outcome: &Outcome) -> Vec<String> {
    let undecided = outcome.findings.undecided_before_the_end();
    // If clients are seconds behind, so many deliveries are placed late that comparing them pair
    // by pair exceeds its budget. With numbers there is nothing to compare.
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
