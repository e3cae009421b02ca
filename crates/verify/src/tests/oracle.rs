//! The verdict by brute force: all that every client saw is in memory, and each rule of
//! `docs/PROTOCOL.md` is looked up in it, in as many passes as it takes.
//!
//! It shares `wire` and the names of the kinds with the verifier, and nothing else: no ledger, no
//! judge, no window, no bound, no guess at what a frame may turn out to be. It reads the end of a
//! history before it judges the beginning. What it needs beyond the rules is the one sentence of
//! `docs/VERIFICATION.md`: one cause, one violation, and the most specific kind wins. So every
//! number that a session did not get as it should is first looked for among what is wrong already;
//! each such excuse is a line below.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{
    Frame, Role, Session, What, is_astray, is_refused_astray, named, read, same_address, sent_ns,
};
use super::world::{Id, LATE_AFTER_NS, Observation, address};
use crate::kind::Kind;

/// The shortest frame with a number in it: so much room a malformed line has for each that it may
/// have swallowed, and one more may have been cut short.
const SHORTEST_FRAME_BYTES: usize = 22;

type Verdict = BTreeMap<Kind, u64>;

/// What the numbers are, by the word of everyone.
#[derive(Debug, Default)]
struct Truth {
    number_of: BTreeMap<Id, u64>,
    message_of: BTreeMap<u64, Id>,
    /// Numbers given to more than one message.
    reused: BTreeSet<u64>,
    /// Messages whose acks came in order, and to their senders.
    acked: BTreeSet<Id>,
    /// Those whose acks came out of order, and under which numbers.
    acked_out_of_order: BTreeSet<(Id, u64)>,
}

/// A session held against the truth.
#[derive(Debug)]
struct Account {
    joined: u64,
    /// The last number owed, as far as is known.
    last: u64,
    /// Numbers that came as they should, by the index of their (first) frame.
    got: BTreeMap<u64, usize>,
    /// Numbers under which something came that is a violation in itself.
    spoken_for: BTreeSet<u64>,
    /// Numbers that a malformed line can have swallowed.
    swallowed: BTreeSet<u64>,
    /// Acks that it can have swallowed: those of these numbers, and of some before the first
    /// number that came, if there was no welcome to say where the session begins.
    swallowed_acks: usize,
}

/// Every violation of a history, by kind.
pub(super) fn verdict(observations: &[Observation]) -> Verdict {
    let sessions = read(observations);
    let truth = Truth::of(&sessions);
    let accounts: Vec<Account> = sessions
        .iter()
        .map(|session| account(session, &sessions, &truth))
        .collect();
    let late = numbered_late(&sessions, &truth);
    let mut verdict = Verdict::new();
    let mut add = |kind: Kind, count: usize| *verdict.entry(kind).or_default() += count as u64;
    wrong_lines(&sessions, &mut add);
    wrong_ends(&sessions, &accounts, &mut add);
    wrong_places(&sessions, &accounts, &truth, &late, &mut add);
    wrong_answers(&sessions, &accounts, &mut add);
    missing(&sessions, &accounts, &truth, &late, &mut add);
    for kind in late.values() {
        add(*kind, 1);
    }
    add(Kind::SequenceReuse, truth.reused.len());
    verdict.retain(|_, count| *count > 0);
    verdict
}

impl Truth {
    /// S4: a message has the number under which its sender was acked it; failing that, the one
    /// under which most receivers got it, those first in whose stream it has a neighbour.
    fn of(sessions: &[Session]) -> Self {
        let mut truth = Self::default();
        let mut votes: BTreeMap<Id, BTreeMap<u64, (bool, usize, usize)>> = BTreeMap::new();
        for session in sessions {
            let numbers = session.numbers();
            for (at, &(i, n)) in numbers.iter().enumerate() {
                let frame = &session.frames[i];
                let in_line = at > 0 && numbers[at - 1].1 + 1 == n
                    || numbers.get(at + 1).is_some_and(|&(_, next)| next == n + 1);
                match (&frame.what, frame.role) {
                    (_, Role::First { k, in_order: true }) => {
                        let life = session.life;
                        truth.acked.insert(Id { life, k });
                        votes
                            .entry(Id { life, k })
                            .or_default()
                            .entry(n)
                            .or_default()
                            .0 = true;
                    }
                    // Two acks that were exchanged say the wrong number: by the word of nobody else.
                    (_, Role::First { k, in_order: false }) => {
                        let message = Id {
                            life: session.life,
                            k,
                        };
                        truth.acked_out_of_order.insert((message, n));
                    }
                    (What::Relay { message, .. }, _) if message.life != session.life => {
                        let vote = votes.entry(*message).or_default().entry(n).or_default();
                        vote.1 += usize::from(in_line);
                        vote.2 += 1;
                    }
                    _ => {}
                }
            }
        }
        for (&message, numbers) in &votes {
            let (&n, _) = numbers.iter().rev().max_by_key(|(_, vote)| **vote).unwrap();
            truth.number_of.insert(message, n);
            match truth.message_of.get(&n) {
                None => drop(truth.message_of.insert(n, message)),
                Some(other) => {
                    truth.reused.insert(n);
                    if votes[&message][&n] > votes[other][&n] {
                        truth.message_of.insert(n, message);
                    }
                }
            }
        }
        for (message, n) in truth.acked_out_of_order.clone() {
            if !truth.number_of.contains_key(&message) && !truth.message_of.contains_key(&n) {
                truth.number_of.insert(message, n);
                truth.message_of.insert(n, message);
                truth.acked.insert(message);
            }
        }
        truth
    }

    /// Whether a frame of `session` is what its number says: its own ack, or another's message.
    fn bears_out(&self, session: &Session, frame: &Frame) -> bool {
        match &frame.what {
            What::Ack { .. } => matches!(frame.role, Role::First { .. }),
            What::Relay { n, message, .. } => {
                message.life != session.life && self.number_of.get(message) == Some(n)
            }
            _ => false,
        }
    }
}

/// S2, J1, J2: what was owed to a session, and what of it came.
fn account(session: &Session, sessions: &[Session], truth: &Truth) -> Account {
    let numbers = session.numbers();
    // What anyone had seen when the connection began was numbered before it.
    let seen = sessions.iter().flat_map(|s| {
        let before = s.frames.iter().zip(std::iter::repeat(s));
        before.filter(|(f, s)| f.place < session.connected && truth.bears_out(s, f))
    });
    let seen = seen.filter_map(|(f, _)| match f.what {
        What::Ack { n, .. } | What::Relay { n, .. } => Some(n),
        _ => None,
    });
    let seen = seen.max().unwrap_or(0);
    let joined = match numbers.first() {
        Some(&(i, n)) if matches!(session.frames[i].what, What::Welcome { .. }) => n.max(seen),
        Some(&(_, n)) => seen.max(n.saturating_sub(1)),
        None => seen,
    };
    let mut got = BTreeMap::new();
    let mut spoken_for = BTreeSet::new();
    for &(i, n) in &numbers {
        let frame = &session.frames[i];
        if truth.bears_out(session, frame) {
            if n > joined {
                got.entry(n).or_insert(i);
            }
            continue;
        }
        match &frame.what {
            What::Ack { .. } | What::Wrong { .. } => drop(spoken_for.insert(n)),
            What::Relay { message, .. } => {
                // Its own, or under another's number: it stands for both.
                spoken_for.insert(n);
                spoken_for.extend(
                    truth
                        .number_of
                        .get(message)
                        .filter(|_| message.life != session.life),
                );
            }
            _ => {}
        }
    }
    let newest = got.last_key_value().map_or(joined, |(&n, _)| n);
    let last = session.bye().unwrap_or(newest);
    let mut account = Account {
        joined,
        last,
        got,
        spoken_for,
        swallowed: BTreeSet::new(),
        swallowed_acks: 0,
    };
    account.swallow(session);
    account
}

impl Account {
    fn lacks(&self, n: u64) -> bool {
        !self.got.contains_key(&n) && !self.spoken_for.contains(&n) && !self.swallowed.contains(&n)
    }

    fn missing(&self) -> Vec<u64> {
        let owed = self.joined + 1..=self.last;
        owed.filter(|&n| self.lacks(n)).collect()
    }

    /// F1: malformed lines may have been the frames that are missing where they stand, if these
    /// are so few that there was room for them.
    fn swallow(&mut self, session: &Session) {
        let mut due = self.joined + 1;
        let mut room = 0;
        let mut welcomed = false;
        for (i, frame) in session.frames.iter().enumerate() {
            let next = match frame.what {
                What::Malformed => {
                    room += 1 + frame.line.len() / SHORTEST_FRAME_BYTES;
                    continue;
                }
                What::Bye(n) => n + 1,
                What::Welcome { .. } => {
                    (welcomed, room) = (true, 0);
                    continue;
                }
                _ => match self.got.iter().find(|(_, at)| **at == i) {
                    Some((&n, _)) => n,
                    None => continue,
                },
            };
            let hole: Vec<u64> = (due..next).filter(|&n| self.lacks(n)).collect();
            if !welcomed {
                self.swallowed_acks += room;
            } else if hole.len() <= room {
                self.swallowed_acks += hole.len();
                self.swallowed.extend(hole);
            }
            welcomed = true;
            room = 0;
            due = due.max(next + 1);
        }
    }
}

/// S8: a message is numbered after whatever anyone had seen before it was sent.
fn numbered_late(sessions: &[Session], truth: &Truth) -> BTreeMap<u64, Kind> {
    let mut late = BTreeMap::new();
    for (&n, message) in &truth.message_of {
        let sender = sessions.iter().find(|s| s.life == message.life);
        let Some(&(sent, sent_ns)) = sender.and_then(|s| s.sent.get(&message.k)) else {
            continue;
        };
        for session in sessions {
            for frame in session
                .frames
                .iter()
                .filter(|f| truth.bears_out(session, f))
            {
                let (What::Ack { n: seen, .. } | What::Relay { n: seen, .. }) = frame.what else {
                    continue;
                };
                if seen <= n {
                    continue;
                }
                if session.life == message.life && frame.place < sent {
                    late.insert(n, Kind::Causality);
                } else if frame.at_ns < sent_ns {
                    late.entry(n).or_insert(Kind::RealTime);
                }
            }
        }
    }
    late
}

/// What is wrong with a line whatever else was seen: F1, S6, S7, J1, and being late. The same
/// bytes to several receivers are one violation.
fn wrong_lines(sessions: &[Session], add: &mut impl FnMut(Kind, usize)) {
    let mut alike = BTreeSet::new();
    for session in sessions {
        let mut welcomed = false;
        let mut gone_by = false;
        for frame in &session.frames {
            match &frame.what {
                What::Malformed => add(Kind::MalformedFrame, 1),
                What::Welcome { .. } if welcomed => add(Kind::MalformedFrame, 1),
                What::Welcome { to_whom, .. } => {
                    let own = same_address(to_whom, &address(session.life));
                    add(Kind::MisattributedRelay, usize::from(!own));
                }
                What::Bye(_) => {
                    add(Kind::MalformedFrame, usize::from(gone_by));
                    gone_by = true;
                }
                What::Wrong { kind, .. } => drop(alike.insert((*kind, &frame.line))),
                What::Relay { message, from, .. }
                    if message.life != session.life
                        && !same_address(from, &address(message.life)) =>
                {
                    alike.insert((Kind::MisattributedRelay, &frame.line));
                }
                _ => {}
            }
            let opens = !matches!(
                frame.what,
                What::Malformed | What::Error { .. } | What::Nothing
            );
            welcomed |= opens;
        }
        if gone_by && session.unread_bytes > 0 {
            add(Kind::MalformedFrame, 1);
        }
    }
    for (kind, _) in alike {
        add(kind, 1);
    }
}

/// J1, J2, S11: a session begins with its welcome and ends with its bye. A malformed line may have
/// been either.
fn wrong_ends(sessions: &[Session], accounts: &[Account], add: &mut impl FnMut(Kind, usize)) {
    for (session, account) in sessions.iter().zip(accounts) {
        // A bye that names fewer than came.
        let newest = account.got.last_key_value().map(|(&n, _)| n);
        let contradicted = session.bye().is_some_and(|bye| newest > Some(bye));
        add(Kind::MissingBye, usize::from(contradicted));
        let numbers = session.numbers();
        let malformed_before = |end: usize| {
            let frames = session.frames[..end].iter().rev();
            let mut frames =
                frames.take_while(|f| !matches!(f.what, What::Relay { .. } | What::Ack { .. }));
            frames.any(|f| f.what == What::Malformed)
        };
        if let Some(&(first, _)) = numbers.first()
            && !matches!(session.frames[first].what, What::Welcome { .. })
            && !malformed_before(first)
        {
            add(Kind::MissingWelcome, 1);
        }
        if !session.closed || session.gone || session.polite() {
            continue;
        }
        let malformed = malformed_before(session.frames.len());
        if session.left.is_some() && !numbers.is_empty() {
            add(Kind::MissingBye, usize::from(!malformed));
        } else if !numbers.is_empty() || !malformed && !session.turned_away() {
            add(Kind::UnexpectedClose, 1);
        }
    }
}

/// S2, S3, S4, S5, J1: frames under numbers that are not theirs, out of order, or again.
fn wrong_places(
    sessions: &[Session],
    accounts: &[Account],
    truth: &Truth,
    late: &BTreeMap<u64, Kind>,
    add: &mut impl FnMut(Kind, usize),
) {
    for (session, account) in sessions.iter().zip(accounts) {
        let numbers = session.numbers();
        let mut exchanged = BTreeSet::new();
        let mut stood_in = BTreeSet::new();
        for (i, frame) in session.frames.iter().enumerate() {
            let What::Relay { n, message, .. } = &frame.what else {
                continue;
            };
            let n = *n;
            if message.life == session.life {
                // Whose ack went to another as well: that is the cause of both.
                let echo = !is_astray(sessions, *message);
                add(Kind::EchoedRelay, usize::from(echo));
                continue;
            }
            let right = truth.number_of[message];
            if truth.reused.contains(&n) && right == n {
                continue;
            }
            // It stands where its message belongs, or its message never came.
            let before = numbers.iter().rev().find(|(at, _)| *at < i);
            let in_place = before.is_some_and(|&(_, before)| before + 1 == right);
            let missed = (in_place || (account.joined + 1..=account.last).contains(&right))
                && !account.got.contains_key(&right);
            if n <= account.joined && !missed {
                add(Kind::StaleRelay, 1);
            } else if right == n {
                let again = account.got.get(&n) != Some(&i);
                add(Kind::DuplicateRelay, usize::from(again));
                let took_ns = frame.at_ns.saturating_sub(sent_ns(sessions, *message));
                let is_late = !again && took_ns > LATE_AFTER_NS;
                add(Kind::LateRelay, usize::from(is_late));
            } else if account.got.contains_key(&right) || !stood_in.insert(right) {
                add(Kind::DuplicateRelay, 1);
            } else if !missed {
                // In place of another, and not for want of it.
                exchanged.insert((n.min(right), n.max(right)));
            } else {
                let other = session.frames.iter().find_map(|f| match &f.what {
                    What::Relay { n: m, message, .. } if *m == right => {
                        (truth.number_of.get(message) == Some(&n)).then_some(right)
                    }
                    _ => None,
                });
                match other {
                    Some(other) => drop(exchanged.insert((n.min(other), n.max(other)))),
                    None => add(Kind::AlteredRelay, 1), // its number is
                }
            }
        }
        for (low, high) in exchanged {
            add(disorder(session, account, truth, low, high), 1);
        }
        for (low, high) in cycles(&account.arrival()) {
            let is_late = (low..=high).any(|n| late.contains_key(&n));
            // Half of an exchange, where the stream broke off: what is missing is counted.
            let is_half = !session.polite() && account.missing().iter().any(|&n| n < high);
            if !is_late && !is_half {
                add(disarray(session, account, truth, low, high), 1);
            }
        }
    }
}

impl Account {
    /// The numbers that came, in the order in which they did.
    fn arrival(&self) -> Vec<u64> {
        let mut came: Vec<(usize, u64)> = self.got.iter().map(|(&n, &i)| (i, n)).collect();
        came.sort_unstable();
        came.into_iter().map(|(_, n)| n).collect()
    }
}

/// The exchanges that a permutation is made of: of each the lowest and the highest.
fn cycles(arrival: &[u64]) -> Vec<(u64, u64)> {
    let mut sorted = arrival.to_vec();
    sorted.sort_unstable();
    let mut seen = vec![false; arrival.len()];
    let mut cycles = Vec::new();
    for start in 0..arrival.len() {
        let (mut at, mut low, mut high) = (start, arrival[start], arrival[start]);
        while !std::mem::replace(&mut seen[at], true) {
            (low, high) = (low.min(arrival[at]), high.max(arrival[at]));
            at = sorted.binary_search(&arrival[at]).unwrap();
        }
        if low < high {
            cycles.push((low, high));
        }
    }
    cycles
}

/// What it is that a session got the numbers from `low` to `high`, which are what they say, in
/// another order.
fn disarray(session: &Session, account: &Account, truth: &Truth, low: u64, high: u64) -> Kind {
    let got = || account.got.range(low..=high);
    let is_own = |n| {
        let frame = account.got.get(&n).map(|&i| &session.frames[i]);
        frame.is_some_and(|f| session.own(f).is_some())
    };
    let sender = |n: &u64| truth.message_of.get(n).map(|m| m.life);
    let mut pairs = got().flat_map(|one| got().map(move |other| (one, other)));
    if is_own(low) || is_own(high) {
        Kind::ReorderedAck
    } else if pairs.any(|((a, came), (b, before))| a < b && before < came && sender(a) == sender(b))
    {
        Kind::ReorderedRelay
    } else {
        Kind::OrderDivergence
    }
}

/// What it is that a session got the messages `low` and `high` under each other's number.
fn disorder(session: &Session, account: &Account, truth: &Truth, low: u64, high: u64) -> Kind {
    let is_own = |n| {
        let frame = account.got.get(&n).map(|&i| &session.frames[i]);
        frame.is_some_and(|f| session.own(f).is_some())
    };
    if is_own(low) || is_own(high) {
        return Kind::ReorderedAck;
    }
    let sender = |n: u64| truth.message_of.get(&n).map(|m| m.life);
    let talks_between = |n: u64| {
        let mut others = (low..=high).filter(|&m| m != n);
        sender(n).is_some() && others.any(|m| sender(m) == sender(n))
    };
    if talks_between(low) || talks_between(high) {
        Kind::ReorderedRelay
    } else {
        Kind::OrderDivergence
    }
}

/// S3, S5, §6: acks again, astray, or out of the order sent though their numbers are in order;
/// errors that nobody asked for.
fn wrong_answers(sessions: &[Session], accounts: &[Account], add: &mut impl FnMut(Kind, usize)) {
    for (session, account) in sessions.iter().zip(accounts) {
        add(Kind::StrayError, session.stray_errors());
        for frame in &session.frames {
            match frame.role {
                Role::Again => add(Kind::DuplicateAck, 1),
                Role::Stray => add(Kind::StrayAck, 1),
                _ => {}
            }
        }
        let by_number = account
            .got
            .values()
            .filter_map(|&i| match session.frames[i].role {
                Role::First { k, .. } => Some(k),
                _ => None,
            });
        let by_number: Vec<u64> = by_number.collect();
        add(Kind::ReorderedAck, cycles(&by_number).len());
    }
}

/// S1, S2, S3, S9, S10: what did not come.
fn missing(
    sessions: &[Session],
    accounts: &[Account],
    truth: &Truth,
    late: &BTreeMap<u64, Kind>,
    add: &mut impl FnMut(Kind, usize),
) {
    let refused = |session: &Session, k: u64| {
        let life = session.life;
        session.refuses(Id { life, k })
    };
    // Messages without an ack, and the numbers that were theirs.
    let mut unacked: Vec<(usize, u64)> = Vec::new();
    for (session, account) in sessions.iter().zip(accounts) {
        let life = session.life;
        let waiting = session.sent.keys().map(|&k| Id { life, k }).filter(|&id| {
            let mut frames = session.frames.iter();
            !frames.any(|f| session.own(f) == Some(id))
                && !refused(session, id.k)
                && !is_astray(sessions, id)
                && !is_refused_astray(sessions, id)
        });
        // A bye says that all is answered; without one, what came after the missing ack does.
        let proved = waiting.filter(|id| {
            let number = truth.number_of.get(id);
            let passed = number.is_some_and(|n| account.missing().contains(n));
            // Numbered too late to be acked in time: that is the cause.
            let too_late = number.is_some_and(|n| late.contains_key(n));
            // Its sender got the ack of a later one, or that one's number shows that this has none.
            let swallowed = number.is_none() && is_passed_over(session, account, truth, id.k);
            (session.polite() || passed || swallowed) && !too_late
        });
        for id in proved.skip(account.swallowed_acks) {
            add(Kind::MissingAck, 1);
            if !truth.number_of.contains_key(&id) {
                unacked.push((session.life, id.k));
            }
        }
        for &k in session.sent.keys().filter(|&&k| refused(session, k)) {
            let numbered = truth.number_of.contains_key(&Id { life, k })
                || session.frames.iter().any(|f| f.role == Role::OfRefused);
            add(
                if numbered {
                    Kind::RelayOfRejected
                } else {
                    Kind::MissingAck
                },
                1,
            );
        }
    }
    // Numbers by who misses them.
    let mut missed: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (session, account) in sessions.iter().zip(accounts) {
        for n in account.missing() {
            missed.entry(n).or_default().push(session.life);
        }
    }
    let relayed = |n: u64| {
        let mut all = sessions.iter().zip(accounts);
        all.any(|(s, a)| {
            let frame = a.got.get(&n).map(|&i| &s.frames[i]);
            frame.is_some_and(|f| matches!(f.what, What::Relay { .. }))
                || (s.frames.iter())
                    .any(|f| matches!(f.what, What::Wrong { n: wrong, .. } if wrong == n))
        })
    };
    let mut skipped = Vec::new();
    for (&n, who) in &missed {
        match truth.message_of.get(&n) {
            _ if late.contains_key(&n) => {}
            Some(message) if truth.acked.contains(message) && !relayed(n) => {
                let receivers = who.iter().filter(|&&life| life != message.life);
                add(Kind::AckWithoutRelay, usize::from(receivers.count() > 0));
            }
            Some(message) => {
                let receivers = who.iter().filter(|&&life| life != message.life);
                add(Kind::LostRelay, receivers.count());
            }
            None => match spoken_for_by(sessions, n) {
                Some(sender) => {
                    let receivers = who.iter().filter(|&&life| Some(life) != sender);
                    add(Kind::LostRelay, receivers.count());
                }
                None => skipped.push((n, who.clone())),
            },
        }
    }
    // A run of skipped numbers is one gap, unless they were those of messages without an ack.
    for run in skipped.chunk_by(|(n, _), (m, _)| n + 1 == *m) {
        let mut unexplained = run.len();
        unacked.retain(|(life, _)| {
            let its_own = unexplained > 0 && run.iter().any(|(_, who)| who.contains(life));
            unexplained -= usize::from(its_own);
            !its_own
        });
        add(Kind::SequenceGap, usize::from(unexplained > 0));
    }
}

/// S5: whether a later message of a session was acked to it, or has a number before which there is
/// none that message `k` can have: from its own message before that, or from its join, all are
/// others'.
fn is_passed_over(session: &Session, account: &Account, truth: &Truth, k: u64) -> bool {
    let life = session.life;
    let acks = session.frames.iter();
    let mut acked = acks.filter_map(|f| match f.role {
        Role::First { k, .. } => Some(k),
        _ => None,
    });
    let number = |k: &u64| truth.number_of.get(&Id { life, k: *k }).copied();
    let earlier = (1..k).rev().find_map(|k| number(&k));
    let later = session.sent.keys().filter(|later| **later > k);
    let later = later.filter_map(number).min();
    let from = earlier.unwrap_or(account.joined) + 1;
    let no_room = |later| (from..later).all(|n| truth.message_of.contains_key(&n));
    acked.any(|acked| acked > k) || later.is_some_and(no_room)
}

/// Whether anything came under a number that nobody got as it should; whose it was, if its ack
/// went astray or it was echoed.
fn spoken_for_by(sessions: &[Session], number: u64) -> Option<Option<usize>> {
    let mut found = None;
    for session in sessions {
        for frame in &session.frames {
            match &frame.what {
                What::Ack { n, id } if *n == number && frame.role == Role::Stray => {
                    found = found.or(Some(named(sessions, *id).map(|m| m.life)));
                }
                What::Relay { n, message, .. } if *n == number && message.life == session.life => {
                    found = Some(Some(session.life));
                }
                What::Wrong { n, .. } if *n == number => found = found.or(Some(None)),
                _ => {}
            }
        }
    }
    found
}
