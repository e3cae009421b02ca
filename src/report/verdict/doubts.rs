//! Why a run cannot pass although nothing was found: doubts about the load, and about the
//! observations.
//!
//! A doubt about the load puts everything that was measured in doubt: the target may not be what
//! crossed a threshold, or not under the load that was asked for. A doubt about the observations
//! leaves the measured figures as they are.

use crate::driver::outcome::{Interruption, Outcome};
use crate::measure::GroupLatencies;
use crate::measure::group::place;
use crate::report::{figures, generator, groups};
use crate::scenario::plan::{AckPromise, Group, Leave, Load, Plan, Repeat, Step};
use crate::verify::kind::Kind;

/// Why the run cannot be taken for the one that was asked for.
pub(super) fn of_the_load(plan: &Plan, outcome: &Outcome, cpus: usize) -> Vec<String> {
    let mut doubts = outcome.inconclusive.clone();
    // The early end of a run is a reason already, and covers what it did not do.
    let complete = !cut_short(outcome);
    if complete {
        doubts.extend(unsent(plan, outcome));
    }
    doubts.extend(generator::reasons(&outcome.health, cpus));
    if complete {
        doubts.extend(unexercised(plan, outcome));
    }
    doubts
}

/// Why something that was to be verified was not.
pub(super) fn of_what_was_seen(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    // A missing load is a reason already, and covers what follows from it.
    if cut_short(outcome) || !unsent(plan, outcome).is_empty() {
        return Vec::new();
    }
    let counts = &outcome.findings.counts;
    let violated = outcome.findings.violation_count() > 0;
    let publishes = plan.groups.iter().any(|group| publishes(&group.load));
    if publishes && has_receivers(plan) && counts.delivered + counts.optional == 0 {
        return vec![match violated {
            false => "not one delivery was seen: nothing was verified".to_owned(),
            true => format!(
                "not one delivery was seen: is it a broadcast server of the {} dialect?",
                plan.target.spoken
            ),
        }];
    }
    if violated {
        return Vec::new();
    }
    let mut reasons = deaf(plan, outcome);
    if publishes && plan.promises.ack != AckPromise::None && counts.acked == 0 {
        reasons.push("not one ack was seen: that messages are acked was not verified".into());
    }
    reasons
}

/// Clients that were to come and did not, or to send something and sent nothing.
fn unsent(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let counts = &outcome.findings.counts;
    if outcome.connected < outcome.clients && !expects_refusal(plan) {
        return vec![format!(
            "{} of {} clients were never welcomed: is the target up, and does it take so many?",
            figures::count(outcome.clients - outcome.connected),
            figures::count(outcome.clients),
        )];
    }
    if plan.groups.iter().any(|group| publishes(&group.load)) {
        return if counts.sent == 0 {
            vec!["nothing was sent: is the measured phase long enough for one message?".into()]
        } else {
            silent(plan, outcome)
        };
    }
    let nothing = outcome.findings.violation_count() == 0 && !puts_to_the_test(plan);
    let nothing = nothing.then(|| {
        "no client publishes, and no threshold is set: there was nothing to verify".into()
    });
    Vec::from_iter(nothing)
}

/// Groups that were to publish, and of which no client did.
fn silent(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    if expects_refusal(plan) {
        // A client that is turned away sends nothing.
        return Vec::new();
    }
    let sent = |place: usize| outcome.sent_by_group.get(place).copied().unwrap_or(0);
    let names = groups::of(plan).into_iter().enumerate();
    let silent = names.filter(|(at, _)| {
        let mut publishers = members(plan, *at).filter(|group| publishes(&group.load));
        publishers.next().is_some() && sent(*at) == 0
    });
    silent
        .map(|(_, group)| {
            format!(
                "no client of `{}` sent a message, and what it was to show was not verified: run \
                 longer, or at a higher rate",
                group.name
            )
        })
        .collect()
}

/// Groups that only listen, and received nothing while others did.
fn deaf(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let measured = &outcome.measured;
    if measured.relay.is_empty() || outcome.connected < outcome.clients {
        return Vec::new();
    }
    let got = |groups: &[GroupLatencies], at: usize| {
        groups.get(at).is_some_and(|group| group.relay.is_some())
    };
    let names = groups::of(plan).into_iter().enumerate();
    let deaf = names.filter(|(at, _)| {
        let only_listen = members(plan, *at).all(|group| matches!(group.load, Load::Listen));
        // Outstanding deliveries are a reason of their own.
        only_listen
            && hears(plan, *at)
            && !got(&measured.groups, *at)
            && !got(&measured.censored.groups, *at)
    });
    deaf.map(|(_, group)| {
        format!(
            "no client of `{}` got a message of the measured phase, though others did: that they \
             get everything was not verified",
            group.name
        )
    })
    .collect()
}

/// Whether anything is published in a room that clients recorded at a place are in. Without rooms
/// everyone hears everything.
fn hears(plan: &Plan, at: usize) -> bool {
    if plan.rooms.is_empty() || members(plan, at).any(|group| group.rooms.is_some()) {
        return true;
    }
    plan.groups.iter().any(|group| match &group.load {
        Load::Listen => false,
        Load::Open { .. } | Load::Closed { .. } => group.rooms.is_none(),
        // A script that publishes may be in no room when it does.
        Load::Script { steps, .. } => {
            let joins = |step: &Step| matches!(step, Step::Join(_));
            publishes(&group.load) && group.rooms.is_none() && !steps.iter().any(joins)
        }
    })
}

/// The groups of the scenario whose latencies are recorded at a place; the observers' are none.
fn members(plan: &Plan, at: usize) -> impl Iterator<Item = &Group> {
    let groups = plan.groups.iter().enumerate();
    groups.filter_map(move |(i, group)| (place(i) == at).then_some(group))
}

/// Whether the run was ended before it could see all that it was to.
pub(super) fn cut_short(outcome: &Outcome) -> bool {
    let interruption = outcome.interrupted.as_ref();
    interruption.is_some_and(Interruption::cut_the_load_short)
}

/// Steps that the scripts were to exercise and the run did not: they were not verified.
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
    let joins = |step: &Step| matches!(step, Step::Join(_));
    let rooms = &outcome.findings.rooms;
    let joined: u64 = rooms.iter().map(|room| room.counts.sessions).sum();
    let dealt = |group| plan.dealt_rooms(group).memberships().count() as u64;
    if scripted(joins) && joined <= (0..plan.groups.len()).map(dealt).sum() {
        reasons.push("a script was to join a room and never got there; run longer".to_owned());
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

/// Whether the run asks anything of the target except to let clients connect and leave.
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
    let echoes = plan.promises.echo && plan.promises.ack != AckPromise::Echo; // else they are acks
    clients + u64::from(plan.run.observers) > 1 || echoes
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
