//! What is owed to each session of a target that states no order, or promises less than the
//! reference protocol does, and whether it came.
//!
//! Everything is judged by inferred order: by what was sent and read, and which came before what. All
//! clients of such a target are driven by one shard, so that one ledger sees all of it, in one
//! order of events: its own count of them, which unlike the clock never ties. The messages stand
//! in the order that they are found to have ([`sequence`]); a session is a cursor in it and a few
//! exceptions ([`track`]), and nearly every delivery moves the cursor to the next slot after a
//! comparison of bytes. A message is judged once every session has passed it ([`settle`]):
//! pair by pair ([`disputes`]), or where that would take too long ([`effort`]), all at once
//! ([`disorder`]).
//!
//! Nothing is concluded from time passing. A delivery is *owed* if its message was sent after the
//! receiver had provably joined and taken by the target before the receiver left, or if it lies
//! between two of its sender's messages that the receiver got; it is *lost* once a later one, or
//! the answered goodbye, proves that it will not come.

mod addresses;
mod answers;
mod disorder;
mod disputes;
mod effort;
mod ends;
mod irregulars;
mod messages;
mod outstanding;
mod relays;
mod sequence;
mod settle;
mod track;
mod witnesses;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::batch::{Batch, Message};
use super::context::{Complaint, Context};
use super::directory::ClientId;
use super::ledger::{Event, Handle, is_late};
use super::outbox::{Flags, Outbox, Pending};
use super::outstanding::Crowds;
use super::promises::{AckPromise, OrderPromise};
use super::session::{NEVER, Stage};
use super::violation::{Evidence, NoFrame, Quote};
use crate::wire::payload::{Header, SenderId};
use crate::wire::seen::{Due, Glued, RawSent, Seen};
use addresses::Addresses;
use ends::Trouble;
use irregulars::Irregulars;
use messages::Messages;
use sequence::{Sequence, Slot, SlotId};
use settle::Settling;
use track::Track;

/// Lines and anomalies that may gather before a hand-over is asked for.
const FLUSH_AFTER: usize = 4096;

/// A session of this shard.
#[derive(Debug)]
struct Session {
    track: Track,
    stage: Stage,
    /// What comes next has to be looked at closely, whatever it is.
    wary: bool,
    connecting_at: u64,
    connected_at: u64,
    /// By when the target had provably registered it; [`NEVER`] until then.
    joined_at: u64,
    leaving_at: u64,
    /// When it left; [`NEVER`] before.
    left_ns: u64,
    /// When it first got anything.
    first_ns: u64,
    flags: Flags,
    outbox: Option<Box<Outbox>>,
    trouble: Option<Box<Trouble>>,
}

/// The ledger of a shard that has all clients.
#[derive(Debug)]
pub(super) struct Inferred {
    pub(super) context: Context,
    sessions: Vec<Session>,
    free: Vec<u32>,
    sequence: Sequence,
    messages: Messages,
    settling: Settling,
    /// Sessions that are over and got what may still be judged.
    past: VecDeque<Track>,
    /// Open sessions of which it is not proved yet that they joined.
    unjoined: Vec<u32>,
    /// Sessions that were told bye, and whose connections are not over yet.
    over: Vec<u32>,
    addresses: Addresses,
    irregulars: Irregulars,
    /// The number of the next session.
    next_session: SenderId,
    /// Slots that somebody still waited for when the run stopped listening.
    waited_for: BTreeMap<SlotId, Crowds>,
    /// Events so far.
    clock: u64,
    kept_since_flush: usize,
    #[cfg(test)]
    pub(super) never_compare: bool,
}

impl Inferred {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            sessions: Vec::new(),
            free: Vec::new(),
            sequence: Sequence::default(),
            messages: Messages::default(),
            settling: Settling::default(),
            past: VecDeque::new(),
            unjoined: Vec::new(),
            over: Vec::new(),
            addresses: Addresses::default(),
            irregulars: Irregulars::default(),
            next_session: SenderId(0),
            waited_for: BTreeMap::new(),
            clock: 0,
            kept_since_flush: 0,
            #[cfg(test)]
            never_compare: false,
        }
    }

    pub(super) fn is_there(&self, index: u32) -> bool {
        let session = self.sessions.get(index as usize);
        session.is_some_and(|s| s.stage != Stage::Free)
    }

    pub(super) fn client(&self, handle: Handle) -> ClientId {
        self.sessions[handle.0 as usize].track.client
    }

    pub(super) fn flags(&mut self, handle: Handle) -> &mut Flags {
        &mut self.session(handle).flags
    }

    fn session(&mut self, handle: Handle) -> &mut Session {
        &mut self.sessions[handle.0 as usize]
    }

    /// A violation, seen by `handle`, that needs no further knowledge.
    fn certain(
        &mut self,
        evidence: Evidence,
        handle: Handle,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let client = self.client(handle);
        self.context.certain(evidence, client, message, now_ns);
    }

    /// The next moment.
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn promises_order(&self, order: OrderPromise) -> bool {
        let rank = |order| match order {
            OrderPromise::None => 0,
            OrderPromise::Fifo => 1,
            OrderPromise::Causal => 2,
            OrderPromise::Total => 3,
        };
        rank(self.context.terms.promises.order) >= rank(order)
    }

    fn promises_acks(&self) -> bool {
        self.context.terms.promises.ack == AckPromise::ExactlyOnce
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<(Handle, SenderId)> {
        let connecting_at = self.tick();
        let id = self.context.directory.open(client)?;
        let session = Session {
            track: Track {
                id,
                client,
                later: SenderId(u32::MAX),
                echo: self.context.terms.promises.echo,
                born: self.sequence.tail(),
                start: self.sequence.tail(),
                cursor: self.sequence.tail(),
                in_doubt: false,
                left_behind: 0,
                holes: BTreeMap::new(),
                ahead: BTreeMap::new(),
                fills: BTreeMap::new(),
                gave_up: false,
                parted: None,
            },
            stage: Stage::Connecting,
            wary: true,
            connecting_at,
            connected_at: NEVER,
            joined_at: NEVER,
            leaving_at: NEVER,
            left_ns: NEVER,
            first_ns: 0,
            flags: Flags::default(),
            outbox: None,
            trouble: None,
        };
        self.next_session = SenderId(id.0 + 1);
        self.context.batch.tally.sessions += 1;
        let index = match self.free.pop() {
            Some(index) => {
                self.sessions[index as usize] = session;
                index
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() as u32 - 1
            }
        };
        self.unjoined.push(index);
        Some((Handle(index), id))
    }

    pub(super) fn connected(&mut self, handle: Handle, local: SocketAddr) {
        let connected_at = self.tick();
        let no_welcome_owed = !self.context.terms.capabilities.welcome;
        let session = &mut self.sessions[handle.0 as usize];
        session.flags.stood = true;
        session.connected_at = connected_at;
        session.track.later = self.next_session;
        if no_welcome_owed {
            session.stage = Stage::Open;
        }
        let id = session.track.id;
        self.context.directory.set_address(id, &local.to_string());
        self.addresses.add(id, local);
    }

    pub(super) fn is_open(&self, handle: Handle) -> bool {
        self.sessions[handle.0 as usize].stage == Stage::Open
    }

    pub(super) fn unacked(&self, handle: Handle) -> usize {
        let outbox = self.sessions[handle.0 as usize].outbox.as_deref();
        outbox.map_or(0, Outbox::unacked)
    }

    /// No frame under this number is kept any more.
    pub(super) fn first_frame(&self) -> u32 {
        self.sequence.first_frame()
    }

    /// The frame that this session is expected to get next, and under which number it is kept.
    pub(super) fn due(&mut self, handle: Handle) -> Option<(u32, &[u8])> {
        let track = &self.sessions[handle.0 as usize].track;
        let mut cursor = track.cursor;
        while let Some(slot) = self.sequence.get(self.sequence.next(cursor))
            && !track.wants(slot.sender())
        {
            cursor = self.sequence.next(cursor);
        }
        let (_, slot, due) = self.sequence.due(cursor)?;
        Some((slot.frame_number()?, due.frame))
    }

    /// Takes what comes next if it is the message known to be due, which `take_if` says.
    #[inline]
    pub(super) fn matched(
        &mut self,
        handle: Handle,
        now_ns: u64,
        mut take_if: impl FnMut(Due<'_>) -> bool,
    ) -> Option<Event> {
        #[cfg(test)]
        if self.never_compare {
            return None;
        }
        let session = &mut self.sessions[handle.0 as usize];
        if session.wary {
            return None;
        }
        let track = &mut session.track;
        let mut cursor = track.cursor;
        loop {
            let (id, slot, due) = self.sequence.due(cursor)?;
            if !track.wants(slot.message.sender) {
                cursor = id; // its own, which it will not get
                continue;
            }
            if slot.accepted_at < session.connecting_at || !take_if(due) {
                return None;
            }
            track.cursor = id;
            slot.receivers += 1;
            slot.last_ns = now_ns;
            let (intended_ns, sent_ns) = (slot.intended_ns, slot.sent_ns);
            self.context.batch.tally.delivered += 1;
            if let Some(frame) = slot.frame_number() {
                self.context.directory.matched(handle.0, now_ns, frame);
            }
            if is_late(self.context.terms.late_after_ns, sent_ns, now_ns) {
                self.too_late(handle, id, now_ns);
            }
            return Some(Event::Relay {
                intended_ns,
                sent_ns: Some(sent_ns),
            });
        }
    }

    /// Takes what a session saw.
    pub(super) fn observe(&mut self, handle: Handle, seen: &Seen<'_>, now_ns: u64) -> Event {
        let event = match seen {
            Seen::Relay(relay) => self.relay(handle, relay, now_ns),
            Seen::Ack { of, .. } => self.ack(handle, *of, now_ns),
            Seen::Open { me, .. } => self.welcome(handle, me, now_ns),
            Seen::Error {
                code,
                detail,
                of,
                cuts_off,
            } => {
                let complaint = Complaint {
                    code,
                    detail,
                    id: *of,
                    cuts_off: *cuts_off,
                };
                self.error(handle, complaint, now_ns)
            }
            Seen::Bye { .. } => self.bye(handle, now_ns),
            Seen::Unknown => {
                self.context.batch.tally.unknown_frames += 1;
                Event::Other
            }
            Seen::Malformed {
                what,
                frame,
                could_hide,
            } => {
                let what = NoFrame::Malformed {
                    what: (**what).into(),
                    frame: Quote::of(frame),
                };
                self.malformed(handle, what, *could_hide, now_ns)
            }
        };
        self.sessions[handle.0 as usize].update_wary();
        event
    }

    /// A message is about to be sent: gives it its k.
    pub(super) fn sending(
        &mut self,
        handle: Handle,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        let sent_at = self.tick();
        let acks_owed = self.promises_acks();
        let session = &mut self.sessions[handle.0 as usize];
        let id = session.track.id;
        let outbox = session.outbox.get_or_insert_default();
        let header = outbox.compose(self.context.terms.run, id, intended_ns, last)?;
        if self.context.unacked > outbox.pending.len() as u64 {
            self.context.batch.coverage.overlapping_sends += 1;
        }
        if acks_owed {
            outbox.pending.push_back(Pending {
                k: header.k,
                intended_ns,
                sent_ns: now_ns,
                seen: 0,
                overtaken_by: 0,
            });
            self.context.unacked += 1;
        }
        let sent = Messages::fresh(intended_ns, now_ns, sent_at, session.track.seen());
        self.messages.push(id, header.k, sent);
        let lag_ns = now_ns.saturating_sub(intended_ns);
        self.context.directory.sends().sent(id, header.k, lag_ns);
        self.context.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` goes over the wire after raw bytes without an end.
    pub(super) fn sent_glued(&mut self, handle: Handle, header: &Header, glued: Glued) {
        let session = &mut self.sessions[handle.0 as usize];
        let outbox = session.outbox.get_or_insert_default();
        if outbox.sent_glued(glued) {
            return;
        }
        session.flags.provoked = true;
        if outbox.pending.pop_back().is_some() {
            self.context.unacked -= 1;
        }
        outbox.waive_ack(header.k);
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        self.refused(message, None, header.intended_ns);
    }

    /// A script sends bytes as they stand.
    pub(super) fn sending_raw(&mut self, handle: Handle, sent: &RawSent) {
        let acks_owed = self.promises_acks();
        let session = &mut self.sessions[handle.0 as usize];
        let outbox = session.outbox.get_or_insert_default();
        outbox.send_raw(sent, &self.context.directory);
        session.flags.provoked |= !sent.is_right;
        if let Some(raw) = outbox.raw.as_mut().filter(|_| !acks_owed) {
            raw.acks_owed = 0;
        }
    }

    pub(super) fn leaving(&mut self, handle: Handle, now_ns: u64) {
        let at = self.tick();
        let session = self.session(handle);
        session.flags.leaving = true;
        session.leaving_at = at;
        session.left_ns = now_ns;
    }

    pub(super) fn wants_flush(&self) -> bool {
        self.kept_since_flush + self.context.batch.len() >= FLUSH_AFTER
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.take_up_to(usize::MAX).0
    }

    /// Settles `at_most` so many messages. Says whether there may be more.
    pub(super) fn take_up_to(&mut self, at_most: usize) -> (Batch, bool) {
        self.hand_over_waited_for();
        let more = self.settle(at_most);
        self.kept_since_flush = 0;
        let mut batch = std::mem::take(&mut self.context.batch);
        // Whatever is said here is decided: nothing waits for numbers.
        batch.watermark = NEVER - 1;
        (batch, more)
    }

    /// Its own messages that stand right behind a session's cursor and are acked come before what
    /// it reads next.
    fn skip_own(&mut self, index: usize) {
        let acks_owed = self.promises_acks();
        let track = &mut self.sessions[index].track;
        while let Some(next) = self.sequence.get(self.sequence.next(track.cursor))
            && !track.wants(next.sender())
        {
            let acked_at = self.messages.get(next.message).map_or(0, |m| m.acked_at);
            if acked_at == NEVER && acks_owed {
                break;
            }
            track.cursor = self.sequence.next(track.cursor);
        }
    }

    /// Everyone who got anything that may still be judged.
    fn tracks(&self) -> impl Iterator<Item = &Track> {
        let open = self.sessions.iter().filter(|s| s.stage != Stage::Free);
        open.map(|s| &s.track).chain(&self.past)
    }
}

impl Session {
    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    fn is_after_malformed(&self) -> bool {
        self.trouble.as_ref().is_some_and(|t| t.after_malformed)
    }

    fn update_wary(&mut self) {
        let plain = self.stage == Stage::Open && self.joined_at != NEVER;
        self.wary = !plain || self.is_after_malformed();
    }
}

/// The figures of a message, once everyone has passed it.
fn figures(slot: &Slot) -> super::judge::Settled {
    super::judge::Settled {
        intended_ns: slot.intended_ns,
        first_ns: slot.first_ns,
        last_ns: slot.last_ns,
        receivers: u64::from(slot.receivers),
    }
}
