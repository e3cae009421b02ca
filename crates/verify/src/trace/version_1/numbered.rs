//! The lines that a ledger of a target that numbers its messages expected as due, and its questions
//! to the directory, when it wrote version 1.
//!
//! Kept as it was then, whatever ledgers do today, and only as much of it as is needed to read such
//! a trace: it judges nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Header;
use super::super::tape::Reading;
use super::super::told::Told;
use super::super::view::View;
use super::placing::{Place, Placing};
use crate::directory::Directory;
use crate::ids::split_id;
use crate::ledger::{MAX_SEQ, Terms};
use crate::numberings::APART;
use crate::outbox::{Outbox, Pending};
use crate::sessions::{NEVER, Stage};
use chatbench_wire::payload::{self, Header as MessageHeader, NotIntact, SenderId};
use chatbench_wire::seen::{AckOf, Relay, Seen};

/// Frames held, at most: as many as such a ledger held.
const MAX_FRAMES: usize = 1 << 18;

/// Bytes of these frames.
const MAX_BYTES: usize = 64 << 20;

/// A session more than this far below [`MAX_SEQ`] that got a larger number was taken to have got a
/// wrong number; any other, to have come to numbers that are too large.
const ROOM: u64 = u64::MAX - MAX_SEQ;

/// The ledger.
#[derive(Debug)]
pub(super) struct Former {
    terms: Terms,
    directory: Arc<Directory>,
    /// The view through which scripts' texts are told to the directory.
    view: View,
    sessions: Vec<Session>,
    frames: Frames,
    /// The latest number that the directory said.
    near: u64,
    /// The header of the latest message composed.
    sent: Option<MessageHeader>,
}

#[derive(Debug)]
struct Session {
    id: SenderId,
    stage: Stage,
    joined: u64,
    added: u64,
    welcomed_at: Option<u64>,
    placing: Placing,
    outbox: Outbox,
    /// It sent bytes that are no frame.
    provoked: bool,
    /// The target said `slow-consumer`.
    cut_off: bool,
    /// The target complained before its welcome.
    turned_away: bool,
}

/// The first clean frame of each number.
#[derive(Debug, Default)]
struct Frames {
    by_number: BTreeMap<u64, Box<[u8]>>,
    bytes: usize,
}

impl Frames {
    fn keep(&mut self, seq: u64, frame: &[u8]) {
        if self.by_number.contains_key(&seq) {
            return;
        }
        self.bytes += frame.len();
        self.by_number.insert(seq, frame.into());
        while (self.by_number.len() > MAX_FRAMES || self.bytes > 2 * MAX_BYTES)
            && let Some((_, frame)) = self.by_number.pop_first()
        {
            self.bytes -= frame.len();
        }
    }
}

impl Former {
    pub(super) fn new(header: &Header, directory: &Arc<Directory>) -> Self {
        Self {
            terms: header.terms,
            directory: directory.clone(),
            view: View::new(directory.clone()),
            sessions: Vec::new(),
            frames: Frames::default(),
            near: 0,
            sent: None,
        }
    }

    /// The highest number, as the directory answered it: mostly close to the previous one.
    pub(super) fn highest(&mut self, from: &mut Reading) -> u64 {
        self.near = self.near.wrapping_add(from.signed().cast_unsigned());
        self.near
    }

    pub(super) fn connecting(
        &mut self,
        index: usize,
        id: SenderId,
        joined: u64,
        from: &mut Reading,
    ) {
        let stated = if joined < APART {
            joined
        } else {
            from.number()
        };
        let session = Session {
            id,
            stage: Stage::Connecting,
            joined,
            added: joined.saturating_sub(stated),
            welcomed_at: None,
            placing: Placing::new(),
            outbox: Outbox::default(),
            provoked: false,
            cut_off: false,
            turned_away: false,
        };
        match self.sessions.get_mut(index) {
            Some(old) => *old = session,
            None => self.sessions.push(session),
        }
    }

    /// The frame that was due.
    pub(super) fn due(&self, index: usize) -> Option<&[u8]> {
        let due = self.sessions[index].placing.next;
        self.frames.by_number.get(&due).map(|frame| &frame[..])
    }

    /// The frame that was due came.
    pub(super) fn matched(&mut self, index: usize) {
        let placing = &mut self.sessions[index].placing;
        placing.next = placing.next.saturating_add(1);
        placing.went_on();
    }

    pub(super) fn told(&mut self, index: usize, told: &Told, from: &mut Reading) {
        let session = &mut self.sessions[index];
        match told {
            Told::Sending {
                room: _,
                intended_ns,
                now_ns,
                last,
            } => {
                let (run, seen) = (self.terms.run, session.seen());
                let outbox = &mut session.outbox;
                self.sent = outbox.compose(run, session.id, *intended_ns, *last);
                if let Some(header) = self.sent {
                    outbox.pending.push_back(Pending {
                        k: header.k,
                        intended_ns: *intended_ns,
                        sent_ns: *now_ns,
                        seen,
                        overtaken_by: 0,
                    });
                }
            }
            Told::SentGlued(glued) => {
                if let Some(header) = self.sent
                    && !session.outbox.sent_glued(*glued)
                {
                    session.provoked = true;
                    session.outbox.pending.pop_back();
                    session.outbox.waive_ack(header.k);
                }
            }
            Told::SendingRaw(sent) => {
                session.outbox.send_raw(sent, &self.view);
                session.provoked |= !sent.is_right;
            }
            Told::NoWelcome(_) if session.stage == Stage::Connecting => {
                let highest = self.highest(from);
                self.sessions[index].open_at(highest);
            }
            Told::OverdueAcks(..) => drop(session.outbox.overdue(session.id)),
            Told::Ended { .. } => self.ended(index, from),
            _ => {}
        }
    }

    pub(super) fn take_batch(&mut self, from: &mut Reading) {
        self.highest(from);
        for session in &mut self.sessions {
            session.placing.give_up();
        }
    }

    fn ended(&mut self, index: usize, from: &mut Reading) {
        self.highest(from);
        if self.sessions[index].stage == Stage::Open {
            let highest = self.highest(from);
            if highest.saturating_sub(self.sessions[index].seen()) >= APART {
                from.number(); // the highest of its own numbering
            }
        }
        self.sessions[index].stage = Stage::Free;
        self.sessions[index].placing = Placing::new();
    }

    /// A session saw this.
    pub(super) fn saw(&mut self, index: usize, seen: &Seen<'_>, from: &mut Reading) {
        if let Seen::Relay(Relay { seq, .. })
        | Seen::Ack { seq, .. }
        | Seen::Open { seq, .. }
        | Seen::Bye { seq } = *seen
        {
            let session = &mut self.sessions[index];
            if !matches!(seen, Seen::Open { .. }) {
                let is_bye = matches!(seen, Seen::Bye { .. });
                session.settle_numbering(seq, is_bye, from);
            }
            if seq.saturating_add(session.added) > MAX_SEQ {
                let next = session.placing.next;
                if session.stage == Stage::Open && next < MAX_SEQ - ROOM {
                    session.placing.malformed(0);
                }
                return;
            }
        }
        let session = &mut self.sessions[index];
        let added = session.added;
        match seen {
            Seen::Relay(relay) => self.relay(index, relay, relay.seq + added, from),
            Seen::Ack { of, seq } => {
                let id = match of {
                    AckOf::Id(id) => Some(*id),
                    AckOf::NoId | AckOf::Oldest(_) => None,
                };
                session.ack(seq + added, id, from);
            }
            Seen::Open { seq, .. } => self.welcome(index, *seq, from),
            Seen::Error(complaint) => session.error(complaint.cuts_off, complaint.of, from),
            Seen::Bye { seq } => session.bye(seq + added),
            Seen::Unknown | Seen::Control => {}
            Seen::Malformed(malformed) => session.placing.malformed(malformed.could_hide),
        }
    }

    fn welcome(&mut self, index: usize, seq: u64, from: &mut Reading) {
        let session = &mut self.sessions[index];
        if session.stage != Stage::Connecting {
            return session.placing.malformed(0);
        }
        if self.terms.addresses_known && from.number() != 0 {
            from.bytes(); // the address that it really has
        }
        if seq.saturating_add(session.added) < session.joined {
            session.added = from.number();
            let unknown = seq.saturating_add(session.added) < session.joined;
            session.welcomed_at = unknown.then_some(seq);
        }
        session.open_at(seq.saturating_add(session.added));
    }

    fn relay(&mut self, index: usize, relay: &Relay<'_>, seq: u64, from: &mut Reading) {
        let session = &mut self.sessions[index];
        session.require_welcome(seq);
        let header = match payload::decode(&relay.text, self.terms.seed, self.terms.run) {
            Ok(header) => header,
            Err(NotIntact::Altered) => return session.placing.excuse(seq),
            Err(NotIntact::Foreign) => {
                match from.number() {
                    1 => drop(session.placing.place(seq)),
                    _ => session.placing.excuse(seq),
                }
                return;
            }
        };
        if header.run != self.terms.run {
            return session.placing.excuse(seq);
        }
        let was_opened = from.number() != 0;
        if was_opened {
            self.directory.was_given(header.sender);
        }
        if !was_opened || header.k == 0 {
            return session.placing.excuse(seq);
        }
        if header.sender == session.id {
            session.placing.excuse(seq);
            session.outbox.waive_ack(header.k);
            return;
        }
        let clean = from.number() == 0;
        if !clean {
            let truth = from.text();
            self.directory.set_address(header.sender, &truth);
        }
        let place = session.placing.place(seq);
        if clean && matches!(place, Place::Onward | Place::Skipped) {
            self.frames.keep(seq, relay.frame);
        }
    }
}

impl Session {
    fn seen(&self) -> u64 {
        match self.placing.next {
            NEVER => self.joined,
            next => next.saturating_sub(1),
        }
    }

    fn open_at(&mut self, seq: u64) {
        self.joined = self.joined.max(seq);
        self.placing.next = self.joined.saturating_add(1);
        self.stage = Stage::Open;
    }

    fn require_welcome(&mut self, due: u64) {
        if self.stage != Stage::Connecting {
            return;
        }
        if self.placing.is_after_malformed() {
            self.placing.swallow();
        }
        self.open_at(due.saturating_sub(1));
    }

    /// Settles whether the numbers began anew, where its welcome left that open.
    fn settle_numbering(&mut self, seq: u64, bye: bool, from: &mut Reading) {
        let Some(welcome) = self.welcomed_at.take() else {
            return;
        };
        let known = self.joined.saturating_sub(self.added);
        if seq > known || bye && seq == known || from.number() == 0 {
            return;
        }
        self.added = from.number();
        self.joined = self.added.saturating_add(welcome);
        self.placing.next = self.joined.saturating_add(1);
    }

    fn ack(&mut self, seq: u64, id: Option<u64>, from: &mut Reading) {
        self.require_welcome(seq);
        let outbox = &mut self.outbox;
        let k = match id.map(split_id) {
            Some((sender, k)) if sender == self.id && k <= outbox.last_k && k > 0 => k,
            _ => {
                if let Some(raw) = outbox.raw.as_mut().filter(|raw| raw.acks_owed > 0) {
                    raw.acks_owed -= 1;
                    self.placing.place(seq);
                } else {
                    self.placing.excuse(seq);
                }
                return;
            }
        };
        let Some((pending, order)) = outbox.take(k) else {
            self.placing.excuse(seq);
            if !outbox.waived_acks.contains(&k) {
                from.number(); // whose message was acked twice
            }
            return;
        };
        outbox.waived_acks.retain(|&settled| settled != k);
        let known = std::mem::replace(&mut outbox.overtaker, pending.overtaken_by);
        let out_of_order = !order.acked_now && known != pending.overtaken_by;
        let out_of_order = out_of_order && !self.placing.has_early();
        let place = self.placing.place(seq);
        let is_before_its_send = place != Place::Early && seq <= pending.seen;
        if out_of_order && !is_before_its_send && place != Place::Skipped {
            from.number(); // whose message was acked out of order
        }
    }

    fn error(&mut self, is_slow: bool, id: Option<u64>, from: &mut Reading) {
        let connecting = self.stage == Stage::Connecting;
        let was_turned_away = self.turned_away;
        let was_cut_off = self.cut_off;
        self.cut_off |= is_slow;
        self.turned_away |= connecting;
        let named = id.map(split_id);
        let outbox = &mut self.outbox;
        let mine = named.filter(|&(sender, _)| sender == self.id);
        let may_refuse = |k| outbox.waits_for(k) || outbox.was_acked(k);
        if let Some((_, k)) = mine.filter(|&(_, k)| may_refuse(k)) {
            if outbox.was_acked(k) {
                from.number(); // whose message was acked and refused
            } else {
                outbox.refuse(k);
                if !self.provoked {
                    from.number(); // whose message was refused
                }
            }
            outbox.waive_ack(k);
            return;
        }
        if connecting && !was_turned_away || is_slow && !was_cut_off {
            return;
        }
        if outbox.take_owed_error() || outbox.answer_raw() {
            return;
        }
        let Some((_, k)) = named else {
            return;
        };
        if from.number() != 0 && k > 0 {
            from.number(); // whose message it is about, in the text and beside it
            from.number();
        }
    }

    fn bye(&mut self, seq: u64) {
        self.require_welcome(seq.saturating_add(1));
        if self.stage == Stage::Finished {
            return self.placing.malformed(0);
        }
        let next = self.placing.next.max(seq.saturating_add(1));
        self.joined = next.saturating_sub(1);
        self.placing = Placing::new();
        self.stage = Stage::Finished;
        self.outbox.pending.clear();
        self.outbox.overtaken.clear();
    }
}
