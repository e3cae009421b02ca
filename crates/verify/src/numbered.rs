//! The ledger of a target that numbers its messages: what is owed to each session of a shard, and
//! whether it came (rules S1 to S10, J1, J2).
//!
//! The target states its order, so the stronger property is checked: each session's frames run on
//! from its welcome without gap, and number ↔ message is one-to-one over all sessions. A session is
//! an integer (the number that must come next); the shard shares one window of lines
//! ([`Reference`]), against which all but the first receiver of a message compare bytes. Anomalies
//! are handed to the [`Judge`](super::judge::Judge), who knows what the other shards saw.

mod acks;
mod ends;
mod outstanding;
mod relays;
mod sending;

use std::net::SocketAddr;

use super::anomaly::Anomaly;
use super::batch::{Batch, Fact, Message, Relayed};
use super::bounds;
use super::context::Context;
use super::directory::ClientId;
use super::ledger::{Event, Handle, Terms, is_late};
use super::reference::{Reference, Slot};
use super::sessions::{NEVER, Session, Stage};
use super::stream::{Carried, Moves, Place, Stream};
use super::trace::view::View;
use super::violation::{Evidence, NoFrame, Quote};
use chatbench_wire::payload::SenderId;
use chatbench_wire::seen::{Due, Relay, Seen};

/// Numbers at the top of the range that are not followed: room for every sum of a number and
/// anything counted from it, and for the values that stand for no number.
const ROOM: u64 = 1 << 32;

/// The largest number that is followed.
pub const MAX_SEQ: u64 = u64::MAX - ROOM;

/// The ledger of one shard.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) context: Context<Stream>,
    reference: Reference,
    /// The numbers under this one were handed over.
    watermark: u64,
    /// The highest number that the target is known to have given out.
    highest: u64,
    #[cfg(test)]
    pub(super) never_compare: bool,
}

impl Numbered {
    /// An empty ledger.
    pub(super) fn new(terms: Terms, directory: View) -> Self {
        let reference = match directory.room().is_named() {
            true => Reference::of_room(),
            false => Reference::default(),
        };
        Self {
            context: Context::new(terms, directory),
            reference,
            watermark: 0,
            highest: 0,
            #[cfg(test)]
            never_compare: false,
        }
    }

    /// The frame that is kept of the number that is due to this session, and the number under which
    /// it is kept.
    pub(super) fn due(&mut self, handle: Handle) -> Option<(u32, &[u8])> {
        let due = self.context.sessions[handle].progress.next;
        let (slot, due) = self.reference.get(due)?;
        Some((slot.frame_number(), due.frame))
    }

    /// The number of the first frame that may still be kept.
    pub(super) fn first_frame(&self) -> u32 {
        self.reference.first_frame()
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<(Handle, SenderId)> {
        // Every number that anyone has seen by now was given out before this connection: not owed.
        let joined = self.context.directory.highest_seq();
        let added = joined - self.context.directory.stated(joined);
        self.context
            .connecting(client, |_| Stream::new(joined, added))
    }

    pub(super) fn connected(&mut self, handle: Handle, local: Option<SocketAddr>) {
        self.context.connected(handle, local);
    }

    pub(super) fn leaving(&mut self, handle: Handle, now_ns: u64) {
        self.context.leaving(handle, now_ns);
    }

    /// Takes what comes next for as long as it is the message known to be due, which `take_if` says.
    /// Returns how many messages that were.
    ///
    /// All at once, since what is looked up for the session serves for all of them: for one after
    /// the other it was 27 instructions of 161 more per delivery.
    #[inline]
    pub(super) fn take_due(
        &mut self,
        handle: Handle,
        now_ns: u64,
        mut take_if: impl FnMut(Due<'_>) -> bool,
        mut each: impl FnMut(Event),
    ) -> u64 {
        #[cfg(test)]
        if self.never_compare {
            return 0;
        }
        let mut all = 0;
        loop {
            let context = &mut self.context;
            let session = &mut context.sessions[handle];
            let (slots, frames) = self.reference.from(session.progress.next);
            let (mut taken, mut needs_more) = (0, false);
            for slot in slots {
                if slot.sender == session.id || !take_if(slot.due(frames)) {
                    break;
                }
                taken += 1;
                slot.receivers += 1;
                slot.last_ns = now_ns;
                let (intended_ns, sent_ns) = (slot.intended_ns, slot.sent_ns);
                (context.directory).matched(handle.0, now_ns, slot.frame_number());
                each(Event::Relay {
                    intended_ns,
                    sent_ns,
                });
                needs_more = is_late(context.terms.late_after_ns, intended_ns, now_ns)
                    || session.progress.trouble.is_some();
                if needs_more {
                    break;
                }
            }
            session.progress.next += taken;
            context.batch.tally.delivered += taken;
            all += taken;
            if !needs_more {
                return all;
            }
            self.after_match(handle, now_ns);
        }
    }

    /// Does what the fast path leaves out because it is rarely needed.
    #[cold]
    fn after_match(&mut self, handle: Handle, now_ns: u64) {
        let session = &mut self.context.sessions[handle];
        let (receiver, seq) = (session.id, session.progress.next - 1);
        let mut moves = Moves::new(receiver, now_ns);
        if let Some(slot) = self.reference.slot(seq) {
            let message = Message {
                sender: slot.sender,
                k: slot.k,
            };
            session.progress.went_on_with(message, &mut moves);
            self.check_lateness(receiver, seq, message, slot.intended_ns, now_ns);
        }
        self.explain(handle, moves);
    }

    /// Takes an observation of a session.
    pub(super) fn observe(&mut self, handle: Handle, seen: &Seen<'_>, now_ns: u64) -> Event {
        if let Seen::Relay(Relay { seq, .. })
        | Seen::Ack { seq, .. }
        | Seen::Open { seq, .. }
        | Seen::Bye { seq } = *seen
        {
            let is_welcome = matches!(seen, Seen::Open { .. });
            let is_bye = matches!(seen, Seen::Bye { .. });
            if !is_welcome {
                self.settle_numbering(handle, seq, is_bye, now_ns);
            }
            let added = self.session(handle).progress.added;
            if seq.saturating_add(added) > MAX_SEQ {
                return self.too_large(handle, seen, seq, now_ns);
            }
        }
        let added = self.session(handle).progress.added;
        match seen {
            Seen::Relay(relay) => self.relay(handle, relay, relay.seq + added, now_ns),
            Seen::Ack { of, seq } => self.ack(handle, seq + added, *of, now_ns),
            Seen::Open { seq, me } => self.welcome(handle, me, *seq, now_ns),
            Seen::Error(complaint) => self.error(handle, complaint, now_ns),
            Seen::Bye { seq } => self.bye(handle, seq + added, now_ns),
            Seen::Control => Event::Other,
            Seen::Unknown => {
                self.context.batch.tally.unknown_frames += 1;
                Event::Other
            }
            Seen::Malformed(malformed) => {
                let could_hide = malformed.could_hide;
                self.malformed(handle, NoFrame::malformed(malformed), could_hide, now_ns)
            }
        }
    }

    /// A frame under a number that is not followed. If the session is near those numbers, the
    /// number may be its own: nothing more is said of the session. Else no run reaches such a
    /// number.
    fn too_large(&mut self, handle: Handle, seen: &Seen<'_>, seq: u64, now_ns: u64) -> Event {
        let session = self.session(handle);
        if session.stage == Stage::Open && session.progress.next < MAX_SEQ - ROOM {
            let what = NoFrame::TooLarge {
                seq,
                due: session.progress.next - session.progress.added,
                frame: Quote::of(match seen {
                    Seen::Relay(relay) => relay.frame.trim_ascii_end(),
                    _ => &[],
                }),
            };
            return self.malformed(handle, what, 0, now_ns);
        }
        if !session.flags.gone {
            session.flags.gone = true;
            self.context.batch.tally.not_followed += 1;
        }
        Event::Other
    }

    fn malformed(&mut self, handle: Handle, what: NoFrame, could_hide: u64, now_ns: u64) -> Event {
        self.may_be_hidden(handle, could_hide);
        self.context
            .certain(Evidence::NoFrame(what), handle, None, now_ns);
        Event::Other
    }

    /// Bytes that are no frame came over the connection, with room for so many other frames of this
    /// session.
    pub(super) fn may_be_hidden(&mut self, handle: Handle, could_hide: u64) {
        self.session(handle).progress.malformed(could_hide);
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        // Later sessions are owed nothing up to here.
        let mut watermark = self.context.directory.highest_seq() + 1;
        let window = bounds::reorder_window() as u64;
        for handle in self.context.sessions.handles() {
            let stream = &self.context.sessions[handle].progress;
            if stream.next != NEVER && stream.oldest_open.saturating_add(window) < stream.next {
                let before = stream.next - window;
                self.give_up_holes(handle, before);
            }
            let session = &self.context.sessions[handle];
            watermark = watermark.min(session.progress.horizon(session.stage));
        }
        // A session that irregular frames had moved on may wait for an earlier number again.
        self.watermark = self.watermark.max(watermark);
        let watermark = self.watermark;
        let facts = &mut self.context.batch.facts;
        self.reference
            .retire_before(watermark, |seq, slot| facts.push(relayed(seq, slot)));
        if self.context.is_named() {
            self.reference.shrink();
        }
        self.context.take_batch(watermark)
    }

    fn session(&mut self, handle: Handle) -> &mut Session<Stream> {
        &mut self.context.sessions[handle]
    }

    /// Finds number `seq` its place in a session's stream, as [`Stream::place`] does.
    fn place(&mut self, handle: Handle, seq: u64, carried: Carried, moves: &mut Moves) -> Place {
        let plausible = self.plausible(handle);
        self.session(handle)
            .progress
            .place(seq, carried, plausible, moves)
    }

    /// The largest number that is believed on the word of one frame.
    fn plausible(&self, handle: Handle) -> u64 {
        let next = self.context.sessions[handle].progress.next;
        let near = next.saturating_add(bounds::reorder_window() as u64);
        near.max(self.highest)
    }

    /// Number `seq` is one that the target gave out.
    fn saw(&mut self, seq: u64) {
        self.highest = self.highest.max(seq);
        self.context.directory.saw(seq);
    }

    /// A violation, seen by `handle` as number `seq`, that needs no further knowledge.
    fn certain_about(
        &mut self,
        evidence: Evidence,
        handle: Handle,
        seq: u64,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let Session {
            client, progress, ..
        } = &self.context.sessions[handle];
        let (client, added) = (*client, progress.added);
        let mut violation = self.context.violation(evidence, client, message, now_ns);
        violation.seq = (seq > 0).then_some(seq - added.min(seq));
        self.context
            .batch
            .anomalies
            .push(Anomaly::Certain(violation));
    }
}

fn relayed(seq: u64, slot: &Slot) -> Fact {
    Fact::Relayed {
        seq,
        relayed: Relayed {
            message: Message {
                sender: slot.sender,
                k: slot.k,
            },
            intended_ns: slot.intended_ns,
            first_ns: slot.first_ns,
            last_ns: slot.last_ns,
            receivers: u64::from(slot.receivers),
            first_receiver: slot.first_receiver,
        },
    }
}
