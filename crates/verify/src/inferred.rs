//! The ledger of a target that states no order, or promises less than the reference protocol does:
//! what is owed to each session, and whether it came.
//!
//! The order is inferred: everything is judged by what was sent and read, and by what came before
//! what. Where one log is promised, or that causes come before effects, all clients are driven by
//! one shard, so that one ledger sees all of it, in one order of events: its own count of them,
//! which unlike the clock never has ties. Where less is promised there may be several, which share
//! that count, and tell one another what is public ([`sharing`]). The
//! messages stand in the order that they are found to have ([`sequence`], [`places`]); a session is
//! a cursor in it and a few exceptions ([`track`]), and nearly every delivery moves the cursor to
//! the next slot after a comparison of bytes. A message is judged once every session has passed it
//! ([`settle`]): its order pair by pair ([`disputes`], [`causes`]), or where that would take too
//! long ([`effort`]), all at once ([`disorder`]); and who was owed it and has not got it
//! ([`missed`], [`losses`]), by what others got ([`witnesses`]), unless something stands for it
//! ([`excuses`]).
//!
//! Nothing is concluded from time passing. A delivery is *owed* if its message was sent after the
//! receiver had provably joined and taken by the target before the receiver left, or if it lies
//! between two of its sender's messages that the receiver got; it is *lost* once a later one, or
//! the answered goodbye, proves that it will not come.

mod addresses;
mod answers;
mod causes;
mod disorder;
mod disputes;
mod effort;
mod ends;
mod excuses;
mod losses;
mod messages;
mod missed;
mod outstanding;
mod places;
mod relays;
mod sequence;
mod settle;
mod sharing;
mod track;
mod witnesses;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::batch::{Batch, Message};
use super::context::Context;
use super::directory::ClientId;
use super::irregulars::Irregulars;
use super::ledger::{Event, Handle, Terms, is_late};
use super::outstanding::Crowds;
use super::promises::{AckPromise, OrderPromise};
use super::public::Notice;
use super::sessions::{NEVER, Session, Stage};
use super::trace::view::View;
use super::violation::NoFrame;
use addresses::Addresses;
use chatbench_wire::payload::{Header, SenderId};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Due, Glued, RawSent, Seen};
use excuses::Trouble;
use messages::Messages;
use sequence::{Sequence, Slot, SlotId};
use settle::Settling;
use sharing::Sharing;
use track::Track;

/// A session's progress in the order, and the state on which the judgement of its end depends.
/// Moments are places in the ledger's own order of events.
#[derive(Debug)]
pub(super) struct Progress {
    track: Track,
    /// The next frame may be compared with what others got.
    may_compare: bool,
    connecting_at: u64,
    connected_at: u64,
    /// By when the target had provably registered it; [`NEVER`] until then.
    joined_at: u64,
    leaving_at: u64,
    /// When it first got anything.
    first_ns: u64,
    trouble: Option<Box<Trouble>>,
}

/// The ledger of a shard that has all clients.
#[derive(Debug)]
pub(super) struct Inferred {
    pub(super) context: Context<Progress>,
    sequence: Sequence,
    messages: Messages,
    settling: Settling,
    /// Sessions that are over and got messages that may still be judged.
    past: VecDeque<Track>,
    /// Open sessions of which it is not proved yet that they joined.
    unjoined: Vec<Handle>,
    /// Sessions that were told bye, and whose connections have not ended yet.
    over: Vec<Handle>,
    addresses: Addresses,
    irregulars: Irregulars,
    /// The number of the next session.
    next_session: SenderId,
    /// Slots that somebody still waited for when the run stopped listening.
    waited_for: BTreeMap<SlotId, Crowds>,
    /// Events so far, of a ledger that has all clients.
    clock: u64,
    /// What it needs beside that if it is one of several.
    sharing: Option<Sharing>,
    #[cfg(test)]
    pub(super) never_compare: bool,
}

impl Inferred {
    pub(super) fn new(mut terms: Terms, directory: View, shard: usize) -> Self {
        let sharing = directory.seat(shard).map(Sharing::new);
        if sharing.is_some() && terms.promises.need_one_shard() {
            // No more than FIFO can be told on several shards. Where rooms are pinned to shards that
            // is the unnamed room, in which nobody publishes then.
            terms.promises.order = OrderPromise::Fifo;
        }
        let sequence = match directory.room().is_named() {
            true => Sequence::of_room(),
            false => Sequence::default(),
        };
        Self {
            context: Context::new(terms, directory),
            sequence,
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
            sharing,
            #[cfg(test)]
            never_compare: false,
        }
    }

    fn session(&mut self, handle: Handle) -> &mut Session<Progress> {
        &mut self.context.sessions[handle]
    }

    /// The next moment.
    fn tick(&mut self) -> u64 {
        if let Some(sharing) = &self.sharing {
            return sharing.tick();
        }
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

    /// Whether each message is answered, with an ack or by its echo.
    fn promises_acks(&self) -> bool {
        self.context.terms.promises.ack != AckPromise::None
    }

    /// Whether a message is acked by being relayed to its sender.
    fn acks_are_echoes(&self) -> bool {
        self.context.terms.promises.ack == AckPromise::Echo
    }

    /// Whether a message of `sender` is an ack to this session.
    fn is_echo(&self, handle: Handle, sender: SenderId) -> bool {
        self.acks_are_echoes() && self.context.sessions[handle].id == sender
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<(Handle, SenderId)> {
        self.catch_up();
        let connecting_at = self.tick();
        let promises = self.context.terms.promises;
        let echo = promises.echo || promises.ack == AckPromise::Echo;
        let tail = self.sequence.tail();
        let (handle, id) = self.context.connecting(client, |id| Progress {
            track: Track::new(id, client, echo, tail),
            may_compare: false,
            connecting_at,
            connected_at: NEVER,
            joined_at: NEVER,
            leaving_at: NEVER,
            first_ns: 0,
            trouble: None,
        })?;
        self.next_session = SenderId(id.0 + 1);
        self.unjoined.push(handle);
        self.make_known(Notice::Opened { session: id });
        Some((handle, id))
    }

    pub(super) fn connected(&mut self, handle: Handle, local: Option<SocketAddr>) {
        self.catch_up();
        let connected_at = self.tick();
        self.context.connected(handle, local);
        let later = self.next_session();
        let no_welcome_owed = !self.context.terms.capabilities.welcome;
        let session = &mut self.context.sessions[handle];
        session.progress.connected_at = connected_at;
        session.progress.track.later = later;
        if no_welcome_owed {
            session.stage = Stage::Open;
        }
        let session = session.id;
        if let Some(address) = local {
            self.addresses.add(session, address);
            self.make_known(Notice::Stood { session, address });
        }
    }

    /// The number of the first frame that may still be kept.
    pub(super) fn first_frame(&self) -> u32 {
        self.sequence.first_frame()
    }

    /// The frame that this session is expected to get next, and under which number it is kept.
    pub(super) fn due(&mut self, handle: Handle) -> Option<(u32, &[u8])> {
        let track = &self.context.sessions[handle].progress.track;
        let mut cursor = track.cursor;
        while let Some(slot) = self.sequence.get(self.sequence.next(cursor))
            && !track.wants(slot.sender())
        {
            cursor = self.sequence.next(cursor);
        }
        let (_, slot, due) = self.sequence.due(cursor)?;
        Some((slot.frame_number()?, due.frame))
    }

    /// Takes what comes next for as long as it is the message known to be due, which `take_if` says.
    /// Returns how many messages that were.
    #[inline]
    pub(super) fn take_due(
        &mut self,
        handle: Handle,
        now_ns: u64,
        mut take_if: impl FnMut(Due<'_>) -> bool,
        mut each: impl FnMut(Event),
    ) -> u64 {
        let mut taken = 0;
        while let Some(event) = self.matched(handle, now_ns, &mut take_if) {
            each(event);
            taken += 1;
        }
        taken
    }

    /// Takes what comes next if it is the message known to be due, which `take_if` says.
    #[inline]
    fn matched(
        &mut self,
        handle: Handle,
        now_ns: u64,
        mut take_if: impl FnMut(Due<'_>) -> bool,
    ) -> Option<Event> {
        #[cfg(test)]
        if self.never_compare {
            return None;
        }
        let progress = &mut self.context.sessions[handle].progress;
        if !progress.may_compare {
            return None;
        }
        let track = &mut progress.track;
        let mut cursor = track.cursor;
        loop {
            let (id, slot, due) = self.sequence.due(cursor)?;
            if slot.message.sender == track.id {
                if self.context.terms.promises.ack == AckPromise::Echo {
                    return None; // not only a delivery
                }
                if !track.echo {
                    cursor = id; // its own, which it will not get
                    continue;
                }
            }
            if slot.accepted_at < progress.connecting_at || !take_if(due) {
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

    /// Takes an observation of a session.
    pub(super) fn observe(&mut self, handle: Handle, seen: &Seen<'_>, now_ns: u64) -> Event {
        self.catch_up();
        let event = match seen {
            Seen::Relay(relay) => self.relay(handle, relay, now_ns),
            Seen::Ack { of, .. } => self.ack(handle, *of, now_ns),
            Seen::Open { me, .. } => self.welcome(handle, me, now_ns),
            Seen::Error(complaint) => self.error(handle, complaint, now_ns),
            Seen::Bye { .. } => self.bye(handle, now_ns),
            Seen::Control => return Event::Other,
            Seen::Unknown => {
                self.context.batch.tally.unknown_frames += 1;
                Event::Other
            }
            Seen::Malformed(malformed) => {
                let could_hide = malformed.could_hide;
                self.malformed(handle, NoFrame::malformed(malformed), could_hide, now_ns)
            }
        };
        self.session(handle).update_may_compare();
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
        self.catch_up();
        let sent_at = self.tick();
        let (times, acks) = ((intended_ns, now_ns), self.promises_acks());
        let header = self.context.sending(handle, times, last, 0, acks)?;
        let seen = self.session(handle).progress.track.seen();
        let sent = Messages::fresh(intended_ns, now_ns, sent_at, seen);
        self.messages.push(header.sender, header.k, sent);
        self.make_known(Notice::Sent {
            message: Message {
                sender: header.sender,
                k: header.k,
            },
            intended_ns,
            sent_ns: now_ns,
            sent_at,
        });
        Some(header)
    }

    /// The publish of `header` goes over the wire after raw bytes without an end.
    pub(super) fn sent_glued(&mut self, handle: Handle, header: &Header, glued: Glued) {
        if let Some(message) = self.context.sent_glued(handle, header, glued) {
            self.refused(message, None, header.intended_ns);
        }
    }

    /// A script sends bytes as they stand.
    pub(super) fn sending_raw(&mut self, handle: Handle, sent: &RawSent) {
        // Whose echo the ack of raw bytes would be is not known.
        let acks = self.promises_acks() && !self.acks_are_echoes();
        self.context.sending_raw(handle, sent, acks);
    }

    pub(super) fn leaving(&mut self, handle: Handle, now_ns: u64) {
        self.catch_up();
        self.context.leaving(handle, now_ns);
        self.session(handle).progress.leaving_at = self.tick();
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        self.take_up_to(usize::MAX).0
    }

    /// Settles at most `at_most` messages. Returns whether there may be more.
    pub(super) fn take_up_to(&mut self, at_most: usize) -> (Batch, bool) {
        self.catch_up();
        self.hand_over_waited_for();
        let more = self.settle(at_most);
        // Everything in this batch is decided: nothing waits for numbers.
        let mut batch = self.context.take_batch(NEVER - 1);
        batch.is_shared = self.sharing.is_some();
        (batch, more)
    }

    /// Moves a session's cursor over its own acked messages that stand right after it: they come
    /// before what it reads next.
    fn skip_own(&mut self, handle: Handle) {
        let acks_owed = self.promises_acks();
        let track = &mut self.context.sessions[handle].progress.track;
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

    /// Everyone who got messages that may still be judged.
    fn tracks(&self) -> impl Iterator<Item = &Track> {
        let open = self.context.sessions.iter();
        open.map(|s| &s.progress.track).chain(&self.past)
    }
}

impl Progress {
    fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    pub(super) fn is_after_malformed(&self) -> bool {
        self.trouble.as_ref().is_some_and(|t| t.after_malformed)
    }
}

impl Session<Progress> {
    fn update_may_compare(&mut self) {
        let progress = &mut self.progress;
        let is_in = self.stage == Stage::Open && progress.joined_at != NEVER;
        progress.may_compare = is_in && !progress.is_after_malformed();
    }
}

/// The figures of a message, once everyone has passed it.
fn figures(slot: &Slot) -> super::judge::Settled {
    super::judge::Settled {
        room: RoomId::UNNAMED, // the judge of its room says which
        intended_ns: slot.intended_ns,
        first_ns: slot.first_ns,
        last_ns: slot.last_ns,
        receivers: u64::from(slot.receivers),
    }
}
