//! The verdict on a target that states no order, by brute force: can a correct server explain what
//! all clients saw?
//!
//! A correct server keeps a log. Each message enters it at some moment, each session joins and
//! leaves it at some moment, and gets all that enters between, in that order. So these moments are
//! the nodes of a graph, and an edge says that one comes before another: what one session got
//! before what it got next, one sender's messages in the order sent, what was provably over before
//! the other began. A cycle is an order that no log has; a message that lies between the join and
//! the leave of a session that never got it is lost. All that is looked up in the closure of the
//! graph, over the whole history: no ledger, no list of slots, no window, no bound. (Of a target
//! that promises no such log, [`no_log`].)
//!
//! Like [`oracle`](super::oracle) it shares `wire` and the names of the kinds with the verifier,
//! and like it needs one sentence more than the protocol: one cause, one violation.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{
    Frame, Role, Session, What, is_astray, is_refused_astray, named, read, same_address, sent_ns,
};
use super::world::{Id, LATE_AFTER_NS, Observation, address, wire_id};
use crate::kind::Kind;
use crate::promises::{AckPromise, OrderPromise, Promises, RelayPromise};
use chatbench_wire::Dialect;
use chatbench_wire::protocol::Protocol;

mod no_log;

/// The shortest frame, as the room for another in a line that is none.
const SHORTEST_FRAME_BYTES: usize = 22;

type Verdict = BTreeMap<Kind, u64>;

/// A moment that is not known, but for what it lies between.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// It is later than this,
    after: usize,
    /// and earlier than that.
    before: usize,
}

/// Moments, and which comes before which.
#[derive(Debug, Clone)]
struct Graph {
    moments: Vec<Moment>,
    /// By node: what comes after it, one bit a node.
    behind: Vec<u128>,
}

impl Graph {
    /// The first so many are messages; that a session joined or left before another did proves
    /// nothing here. Unless `joins_prove` it, nor does that one joined after a message.
    fn new(moments: Vec<Moment>, messages: usize, joins_prove: bool) -> Self {
        assert!(moments.len() <= 128, "a node has a bit");
        let behind = vec![0; moments.len()];
        let mut graph = Self { moments, behind };
        for one in 0..graph.moments.len() {
            for other in 0..graph.moments.len() {
                let is_join = |node: usize| node >= messages && (node - messages).is_multiple_of(2);
                let proves = match (one < messages, other < messages) {
                    (false, false) => false,
                    (true, _) => joins_prove || !is_join(other),
                    (false, true) => true,
                };
                if proves && graph.moments[one].before <= graph.moments[other].after {
                    graph.edge(one, other);
                }
            }
        }
        graph
    }

    fn edge(&mut self, one: usize, other: usize) {
        self.behind[one] |= 1 << other;
    }

    /// Adds what follows from what is there.
    fn close(&mut self) {
        for via in 0..self.behind.len() {
            let further = self.behind[via];
            for behind in &mut self.behind {
                if *behind >> via & 1 == 1 {
                    *behind |= further;
                }
            }
        }
    }

    fn precedes(&self, one: usize, other: usize) -> bool {
        self.behind[one] >> other & 1 == 1
    }

    fn is_in_a_cycle(&self, node: usize) -> bool {
        self.precedes(node, node)
    }

    fn has_a_cycle(&self) -> bool {
        (0..self.behind.len()).any(|node| self.is_in_a_cycle(node))
    }
}

/// What a session got.
#[derive(Debug, Default)]
struct Got {
    /// Messages, once each and in order, and when.
    messages: Vec<(usize, Id)>,
    /// By when the target had taken it in.
    joined_before: Option<usize>,
    /// When the target said that this is all, if it was asked to.
    answered: Option<usize>,
    excuses: Vec<Excuse>,
}

/// Something that may have been a message.
#[derive(Debug)]
struct Excuse {
    at: usize,
    claim: Option<Id>,
    /// Nothing but the claim.
    only: bool,
    room: usize,
    malformed: bool,
}

/// A history, and what is violated in it.
struct Case<'a> {
    sessions: &'a [Session],
    dialect: Protocol,
    promises: Promises,
    got: Vec<Got>,
    /// Messages that are in the log, and since when that is known; their nodes are their places.
    taken: BTreeMap<Id, usize>,
    /// That a session joined after a message shows that what it got came after that.
    joins_prove: bool,
    /// Messages that were to be acked by being relayed to their senders, and provably were not.
    unechoed: BTreeSet<Id>,
    /// Messages that came to their senders altered.
    altered_echoes: BTreeSet<Id>,
    verdict: Verdict,
}

/// Every violation of a history, by kind, where no number means anything. Without `joins_prove` nothing follows from a message's having been taken before a session began
/// to connect, but that it is not to get it.
pub(super) fn verdict(
    observations: &[Observation],
    dialect: Protocol,
    promises: Promises,
    joins_prove: bool,
) -> Verdict {
    let mut sessions = read(observations);
    if promises.ack != AckPromise::ExactlyOnce {
        let frames = sessions.iter_mut().flat_map(|s| &mut s.frames);
        let acks = frames.filter(|f| f.role != Role::NoAck);
        acks.for_each(|ack| ack.role = Role::Stray);
    }
    if promises.ack == AckPromise::Echo {
        sessions.iter_mut().for_each(take_echoes_for_acks);
    }
    let mut case = Case {
        sessions: &sessions,
        dialect,
        promises,
        got: Vec::new(),
        taken: BTreeMap::new(),
        joins_prove,
        unechoed: BTreeSet::new(),
        altered_echoes: BTreeSet::new(),
        verdict: Verdict::new(),
    };
    case.take();
    case.lines();
    case.ends();
    case.log();
    case.acks();
    case.verdict.retain(|_, count| *count > 0);
    case.verdict
}

/// The first time that a session gets a message of its own that is the ack.
fn take_echoes_for_acks(session: &mut Session) {
    let mut answered = BTreeSet::new();
    for frame in &mut session.frames {
        match &frame.what {
            What::Error { id, .. } => answered.extend(*id),
            What::Relay { message, .. }
                if message.life == session.life
                    && (session.sent.get(&message.k)).is_some_and(|(at, _)| *at < frame.place)
                    && answered.insert(wire_id(*message)) =>
            {
                frame.role = Role::First {
                    k: message.k,
                    in_order: true,
                };
            }
            _ => {}
        }
    }
}

impl Case<'_> {
    /// Whether a message of this session is its own ack to it.
    fn is_echo(&self, session: &Session, message: Id) -> bool {
        self.promises.ack == AckPromise::Echo && message.life == session.life
    }

    fn add(&mut self, kind: Kind, count: usize) {
        *self.verdict.entry(kind).or_default() += count as u64;
    }

    fn is_for(&self, session: &Session, message: Id) -> bool {
        message.life != session.life || self.promises.echo
    }

    /// Whether a sender's messages come in the order sent.
    fn is_fifo(&self) -> bool {
        self.promises.order != OrderPromise::None
    }

    /// S10, S5: a message is in the log once its ack or it itself has come, or a later one of its
    /// sender.
    fn take(&mut self) {
        for session in self.sessions {
            for frame in &session.frames {
                let id = match (&frame.what, frame.role) {
                    (_, Role::First { k, .. }) => Id {
                        life: session.life,
                        k,
                    },
                    (What::Relay { message, .. }, _)
                        if self.is_for(session, *message) && self.was_sent(*message, frame) =>
                    {
                        *message
                    }
                    _ => continue,
                };
                let at = self.taken.entry(id).or_insert(frame.place);
                *at = frame.place.min(*at);
            }
        }
        // An answered goodbye, where there are no acks.
        let unacked = self.promises.ack == AckPromise::None;
        for session in self.sessions.iter().filter(|_| unacked) {
            let life = session.life;
            for &k in session.sent.keys().filter(|&&k| !is_refused(session, k)) {
                if let Some(answered) = answered(session, self.dialect) {
                    self.taken.entry(Id { life, k }).or_insert(answered);
                }
            }
        }
        if !self.is_fifo() {
            return;
        }
        for session in self.sessions {
            let life = session.life;
            let mut later = usize::MAX;
            for &k in session.sent.keys().rev() {
                let at = self.taken.get(&Id { life, k }).copied();
                later = later.min(at.unwrap_or(usize::MAX));
                let refused = is_refused(session, k) && at.is_none();
                if later < usize::MAX && !refused {
                    self.taken.insert(Id { life, k }, later);
                }
            }
        }
    }

    fn was_sent(&self, message: Id, frame: &Frame) -> bool {
        let sender = self.sessions.iter().find(|s| s.life == message.life);
        let sent = sender.and_then(|s| s.sent.get(&message.k));
        sent.is_some_and(|&(at, _)| at < frame.place)
    }

    /// F1, S3, S6, S7, J1: what is wrong with a line whatever others got, and what is left of it.
    /// Alike for several receivers it is one violation.
    fn lines(&mut self) {
        let mut alike: BTreeMap<(Kind, &[u8]), usize> = BTreeMap::new();
        for session in self.sessions {
            let mut got = Got::default();
            let mut had: BTreeSet<Id> = BTreeSet::new();
            let mut mine: BTreeMap<(Kind, &[u8]), usize> = BTreeMap::new();
            let mut over = false;
            got.answered = answered(session, self.dialect);
            for frame in &session.frames {
                let at = frame.place;
                let mut wrong = |kind| *mine.entry((kind, &frame.line[..])).or_default() += 1;
                let mut excuse = Excuse {
                    at,
                    claim: None,
                    only: false,
                    room: 1,
                    malformed: false,
                };
                match &frame.what {
                    What::Malformed => {
                        excuse.room += frame.line.len() / SHORTEST_FRAME_BYTES;
                        excuse.malformed = true;
                        got.excuses.push(excuse);
                        self.add(Kind::MalformedFrame, 1);
                        continue;
                    }
                    What::Error { .. } | What::Nothing => continue,
                    What::Welcome { to_whom, .. } => {
                        let own = same_address(to_whom, &address(session.life));
                        match got.joined_before {
                            Some(_) => self.add(Kind::MalformedFrame, 1),
                            None => self.add(Kind::MisattributedRelay, usize::from(!own)),
                        }
                    }
                    What::Bye(_) => {
                        self.add(Kind::MalformedFrame, usize::from(over));
                        over = true;
                    }
                    What::Relay { .. } | What::Wrong { .. } if over => wrong(Kind::StaleRelay),
                    What::Wrong { kind, claim, .. } => {
                        wrong(*kind);
                        excuse.claim = claim.filter(|id| was_sent_ever(self.sessions, *id));
                        got.excuses.push(excuse);
                    }
                    What::Relay { message, .. } if !self.is_for(session, *message) => {
                        let echo =
                            !is_astray(self.sessions, *message) && self.strayed(*message) == 0;
                        self.add(Kind::EchoedRelay, usize::from(echo));
                    }
                    What::Relay { message, .. } if !self.was_sent(*message, frame) => {
                        wrong(Kind::PhantomRelay);
                        got.excuses.push(excuse);
                    }
                    What::Relay { message, from, .. } => {
                        if !same_address(from, &address(message.life)) {
                            wrong(Kind::MisattributedRelay);
                        }
                        let took_ns = frame.at_ns.saturating_sub(sent_ns(self.sessions, *message));
                        if !had.insert(*message) {
                            let once = self.promises.relay != RelayPromise::AtLeastOnce;
                            self.add(Kind::DuplicateRelay, usize::from(once));
                        } else if self.taken[message] < session.connected {
                            had.remove(message);
                            self.add(Kind::StaleRelay, 1);
                        } else {
                            let late = took_ns > LATE_AFTER_NS && !self.is_echo(session, *message);
                            self.add(Kind::LateRelay, usize::from(late));
                            got.messages.push((at, *message));
                        }
                    }
                    What::Ack { id, .. } if frame.role == Role::Stray => {
                        let message = named(self.sessions, *id);
                        excuse.claim = message.filter(|m| m.life != session.life);
                        excuse.only = true;
                        got.excuses.push(excuse);
                    }
                    What::AckBy(by) if frame.role == Role::Stray => {
                        if !same_address(by, &address(session.life)) {
                            got.excuses.push(excuse);
                        }
                    }
                    What::Ack { .. } | What::AckBy(_) => {}
                }
                got.joined_before.get_or_insert(at);
            }
            if over && session.unread_bytes > 0 {
                self.add(Kind::MalformedFrame, 1);
            }
            for (line, count) in mine {
                let most = alike.entry(line).or_default();
                *most = count.max(*most);
            }
            self.got.push(got);
        }
        for ((kind, _), count) in alike {
            self.add(kind, count);
        }
    }

    /// J1, J2, S11: a session begins with its welcome and ends with its bye. A line that cannot be
    /// read may have been either.
    fn ends(&mut self) {
        for session in self.sessions {
            let mut after_malformed = false;
            let mut opened = self.dialect == Protocol::Classic;
            for frame in &session.frames {
                match frame.what {
                    What::Malformed => after_malformed = true,
                    What::Error { .. } | What::Nothing => {}
                    What::Welcome { .. } => opened = true,
                    _ => {
                        let missing = !opened && !after_malformed;
                        self.add(Kind::MissingWelcome, usize::from(missing));
                        (opened, after_malformed) = (true, false);
                    }
                }
            }
            let left = session.left.is_some();
            if !session.closed || session.gone || session.polite() {
                continue;
            }
            if !opened || !left {
                let excused = !opened && (after_malformed || session.turned_away());
                self.add(Kind::UnexpectedClose, usize::from(!excused));
            } else if self.dialect == Protocol::Ndjson {
                self.add(Kind::MissingBye, usize::from(!after_malformed));
            }
        }
    }

    /// S2, S4, S5, S8, S10, J1, J2: whether there is a log from which everyone got its part.
    fn log(&mut self) {
        if self.promises.order != OrderPromise::Total {
            return self.without_a_log();
        }
        let ids: Vec<Id> = self.taken.keys().copied().collect();
        let node = |id: &Id| ids.binary_search(id).unwrap();
        let joins = |index: usize| ids.len() + 2 * index;
        let leaves = |index: usize| ids.len() + 2 * index + 1;
        let mut moments: Vec<Moment> = Vec::new();
        for id in &ids {
            let sender = self.sessions.iter().find(|s| s.life == id.life).unwrap();
            moments.push(Moment {
                after: sender.sent[&id.k].0,
                before: self.taken[id],
            });
        }
        for (session, got) in self.sessions.iter().zip(&self.got) {
            moments.push(Moment {
                after: session.connected,
                before: got.joined_before.unwrap_or(usize::MAX),
            });
            moments.push(Moment {
                after: session.left.unwrap_or(0),
                before: got.answered.unwrap_or(usize::MAX),
            });
        }
        let mut graph = Graph::new(moments, ids.len(), self.joins_prove);
        for pair in ids.windows(2).filter(|pair| pair[0].life == pair[1].life) {
            graph.edge(node(&pair[0]), node(&pair[1]));
        }
        for (index, (session, got)) in self.sessions.iter().zip(&self.got).enumerate() {
            for id in ids.iter().filter(|id| id.life == session.life) {
                graph.edge(joins(index), node(id));
                graph.edge(node(id), leaves(index));
            }
            for (_, id) in &got.messages {
                graph.edge(joins(index), node(id));
                graph.edge(node(id), leaves(index));
            }
            // A classic target takes connections in the order in which they were made.
            if self.dialect == Protocol::Classic {
                for (other, later) in self.sessions.iter().enumerate() {
                    if session.connected < later.connected {
                        graph.edge(joins(index), joins(other));
                    }
                }
            }
        }
        let without_order = graph.clone();
        for got in &self.got {
            for pair in got.messages.windows(2) {
                graph.edge(node(&pair[0].1), node(&pair[1].1));
            }
        }
        graph.close();
        if graph.has_a_cycle() {
            self.out_of_order();
            // What is in a cycle proves nothing by its place.
            let mut undisputed = without_order;
            for got in &self.got {
                let in_place = got.messages.iter().map(|(_, id)| node(id));
                let in_place: Vec<usize> = in_place.filter(|n| !graph.is_in_a_cycle(*n)).collect();
                for pair in in_place.windows(2) {
                    undisputed.edge(pair[0], pair[1]);
                }
            }
            undisputed.close();
            graph = undisputed;
        }
        let messages: Vec<Vec<(usize, Id)>> = self.got.iter().map(|g| g.messages.clone()).collect();
        let owed = (self.sessions.iter().enumerate()).map(|(index, session)| {
            let end = match (self.got[index].answered, messages[index].last()) {
                (Some(_), _) => leaves(index),
                (None, Some((_, last))) => node(last),
                (None, None) => return Vec::new(),
            };
            let between =
                |id: &&Id| graph.precedes(joins(index), node(id)) && graph.precedes(node(id), end);
            let all = ids.iter().filter(|id| self.is_for(session, **id));
            all.filter(between).copied().collect()
        });
        let owed: Vec<Vec<Id>> = owed.collect();
        self.missing(owed, |index, id, excuse| {
            let n = node(id);
            let mut before = messages[index].iter().rev();
            let before = before.find(|(at, _)| *at < excuse.at);
            let behind = messages[index].iter().find(|(at, _)| *at > excuse.at);
            graph.moments[n].after < excuse.at
                && before.is_none_or(|(_, m)| !graph.precedes(n, node(m)))
                && behind.is_none_or(|(_, m)| !graph.precedes(node(m), n))
        });
    }

    fn out_of_order(&mut self) {
        let mut reordered = 0;
        for got in &self.got {
            let mut messages = got.messages.iter().enumerate();
            let overtaken = messages.any(|(at, (_, one))| {
                let mut before = got.messages[..at].iter();
                before.any(|(_, other)| other.life == one.life && other.k > one.k)
            });
            reordered += usize::from(overtaken);
        }
        match reordered {
            0 => self.add(Kind::OrderDivergence, 1),
            _ => self.add(Kind::ReorderedRelay, reordered),
        }
    }

    /// S2, S10: what each session was owed and did not get; nor anything that may have stood there.
    fn missing(&mut self, owed: Vec<Vec<Id>>, stood: impl Fn(usize, &Id, &Excuse) -> bool) {
        let mut lost: BTreeMap<Id, usize> = BTreeMap::new();
        for (index, mut owed) in owed.into_iter().enumerate() {
            let session = &self.sessions[index];
            let got = &mut self.got[index];
            let came = |id: &Id| got.messages.iter().any(|(_, m)| m == id);
            owed.retain(|id| !came(id) && self.taken[id] >= session.connected);
            // An echo that came altered, whether or not it is known to be in the log.
            if self.promises.ack == AckPromise::Echo {
                let own = session.sent.keys().map(|&k| Id {
                    life: session.life,
                    k,
                });
                let own: Vec<Id> = own.filter(|id| !came(id)).collect();
                let altered = own
                    .into_iter()
                    .filter(|id| got.excuse(|e| e.claim == Some(*id)));
                self.altered_echoes.extend(altered);
                owed.retain(|id| !self.altered_echoes.contains(id) || id.life != session.life);
            }
            // First what lines say that they were, then what may have stood where they stand.
            owed.retain(|id| !got.excuse(|excuse| excuse.claim == Some(*id)));
            owed.retain(|id| !got.excuse(|excuse| !excuse.only && stood(index, id, excuse)));
            for id in owed {
                match self.is_echo(session, id) {
                    false => *lost.entry(id).or_default() += 1,
                    true => drop(self.unechoed.insert(id)),
                }
            }
        }
        if self.promises.relay == RelayPromise::AtMostOnce {
            return;
        }
        for (id, receivers) in lost {
            let sender = self.sessions.iter().find(|s| s.life == id.life).unwrap();
            let acked = |f: &Frame| matches!(f.role, Role::First { k, .. } if k == id.k);
            let had = |(session, got): (&Session, &Got)| {
                let had = got.messages.iter().any(|(_, m)| *m == id);
                had && !self.is_echo(session, id)
            };
            let acked = sender.frames.iter().any(acked);
            if self.sessions.iter().zip(&self.got).any(had) {
                self.add(Kind::LostRelay, receivers);
            } else if acked {
                self.add(Kind::AckWithoutRelay, 1);
            } else if match self.promises.ack {
                AckPromise::ExactlyOnce => !sender.polite(),
                AckPromise::Echo => !self.unechoed.contains(&id) && !is_refused(sender, id.k),
                AckPromise::None => true,
            } {
                self.add(Kind::LostRelay, receivers);
            }
        }
    }

    /// Acks that name the address of a message's sender and no message, and went to others.
    fn strayed(&self, message: Id) -> usize {
        let all = self.sessions.iter().flat_map(|s| &s.frames);
        let stray = all.filter(|f| f.role == Role::Stray);
        let of = address(message.life);
        let its = stray.filter(|f| matches!(&f.what, What::AckBy(by) if same_address(by, &of)));
        its.count()
    }

    /// S3, S5, S9: each message is answered once, in the order sent.
    fn acks(&mut self) {
        for (index, session) in self.sessions.iter().enumerate() {
            let life = session.life;
            self.add(Kind::StrayError, session.stray_errors());
            let mut strayed = self.strayed(Id { life, k: 0 });
            let mut order: Vec<u64> = Vec::new();
            let mut count = |kind| *self.verdict.entry(kind).or_default() += 1;
            for frame in &session.frames {
                match frame.role {
                    Role::Again => count(Kind::DuplicateAck),
                    Role::Stray => count(Kind::StrayAck),
                    Role::First { k, .. } => order.push(k),
                    _ => {}
                }
            }
            let mut room: usize = self.got[index].malformed_room();
            for &k in session.sent.keys() {
                let id = Id { life, k };
                let relayed = || {
                    self.got
                        .iter()
                        .any(|got| got.messages.iter().any(|m| m.1 == id))
                };
                if is_refused(session, k) {
                    let numbered = relayed()
                        || session.frames.iter().any(|f| f.role == Role::OfRefused)
                        || order.contains(&k);
                    count(if numbered {
                        Kind::RelayOfRejected
                    } else {
                        Kind::MissingAck
                    });
                    continue;
                }
                let mut until_bye =
                    (session.frames.iter()).take_while(|f| !matches!(f.what, What::Bye(_)));
                let answered = until_bye.any(|f| match f.role {
                    Role::First { k: acked, .. } => acked == k,
                    _ => !self.promises.echo && session.own(f) == Some(id),
                });
                if self.promises.ack == AckPromise::Echo {
                    let polite = self.got[index].answered.is_some();
                    let judged = self.taken.contains_key(&id);
                    let missing = match judged {
                        true => self.unechoed.contains(&id),
                        false => polite && !answered,
                    };
                    // It may have come as something else.
                    let got = &mut self.got[index];
                    let stands = |e: &Excuse| !e.malformed && !e.only;
                    let altered = self.altered_echoes.contains(&id);
                    let excused = altered || missing && !judged && got.excuse(stands);
                    if missing && !excused {
                        match room {
                            0 => count(Kind::MissingAck),
                            _ if polite => room -= 1,
                            _ => count(Kind::MissingAck),
                        }
                    }
                    continue;
                }
                let promised = self.promises.ack == AckPromise::ExactlyOnce;
                if !promised
                    || answered
                    || is_astray(self.sessions, id)
                    || is_refused_astray(self.sessions, id)
                    || self.got[index].answered.is_none()
                {
                    continue;
                }
                if room > 0 {
                    room -= 1;
                } else if strayed > 0 {
                    strayed -= 1;
                } else {
                    count(Kind::MissingAck);
                }
            }
            if self.is_fifo() && self.promises.ack != AckPromise::Echo {
                self.add(Kind::ReorderedAck, exchanges(&order));
            }
        }
    }
}

impl Got {
    /// Whether something else stands for a message; it stands for one then.
    fn excuse(&mut self, fits: impl Fn(&Excuse) -> bool) -> bool {
        let found = self.excuses.iter_mut().find(|e| e.room > 0 && fits(e));
        found.is_some_and(|excuse| {
            excuse.room -= 1;
            true
        })
    }

    fn malformed_room(&self) -> usize {
        let malformed = self.excuses.iter().filter(|e| e.malformed);
        malformed.map(|e| e.room).sum()
    }
}

fn was_sent_ever(sessions: &[Session], id: Id) -> bool {
    let mut sender = sessions.iter().filter(|s| s.life == id.life);
    sender.any(|s| s.sent.contains_key(&id.k))
}

/// When the target said that this is all, if it was asked to.
fn answered(session: &Session, dialect: Protocol) -> Option<usize> {
    let mut frames = session.frames.iter().rev();
    let bye = frames.find(|frame| matches!(frame.what, What::Bye(_)));
    session.left.and(match dialect.dialect() {
        Dialect::Classic => session.closed_at,
        Dialect::Ndjson => bye.map(|frame| frame.place),
    })
}

/// Answered with an error before it was acked.
fn is_refused(session: &Session, k: u64) -> bool {
    let life = session.life;
    session.refuses(Id { life, k })
}

/// The exchanges that a permutation is made of.
fn exchanges(order: &[u64]) -> usize {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    // What lies between two places with the same messages up to there is moved among itself.
    let (mut open, mut count) = (0, 0);
    for (came, belongs) in order.iter().zip(&sorted) {
        let moved = came != belongs || open != 0;
        let was_open = open != 0;
        open ^= came ^ belongs;
        count += usize::from(moved && !was_open);
    }
    count
}
