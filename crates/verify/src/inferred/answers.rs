//! Acks and errors: each message is answered once, in the order sent.

use std::net::SocketAddr;

use super::losses::Known;
use super::sequence::SlotId;
use super::{Event, Handle, Inferred};
use crate::anomaly::{Anomaly, NoAck, Unacked};
use crate::batch::{Message, NO_NUMBER};
use crate::context::TakenAck;
use crate::ids::split_id;
use crate::promises::{AckPromise, OrderPromise};
use crate::public::Notice;
use crate::violation::{Evidence, Violation};
use chatbench_wire::seen::{AckOf, Complaint};

impl Inferred {
    pub(super) fn ack(&mut self, handle: Handle, of: AckOf, now_ns: u64) -> Event {
        match of {
            AckOf::Id(id) => self.named_ack(handle, Some(id), now_ns),
            AckOf::NoId => self.named_ack(handle, None, now_ns),
            AckOf::Oldest(by) => self.anonymous_ack(handle, by, now_ns),
        }
    }

    /// An ack that names its message, if that had an id.
    fn named_ack(&mut self, handle: Handle, id: Option<u64>, now_ns: u64) -> Event {
        self.require_welcome(handle, "ack", now_ns);
        let promised = self.promises_frames_of_acks();
        let session = &mut self.context.sessions[handle];
        let me = session.id;
        let outbox = session.outbox.get_or_insert_default();
        match id.map(split_id) {
            Some((sender, k)) if promised && sender == me && k <= outbox.last_k && k > 0 => {
                match self.context.take_ack(handle, k) {
                    Some(taken) => self.acked(handle, taken, now_ns),
                    None => self.unowed_ack(handle, k, now_ns),
                }
            }
            _ if outbox.answer_raw() => Event::Other,
            named => {
                let message = named.map(|(sender, k)| Message { sender, k });
                self.stray_ack(handle, message, now_ns)
            }
        }
    }

    /// An ack that names its sender's address alone: it is for the oldest message that waits.
    fn anonymous_ack(&mut self, handle: Handle, by: SocketAddr, now_ns: u64) -> Event {
        self.require_welcome(handle, "ack", now_ns);
        let promised = self.promises_frames_of_acks();
        let known = self.context.terms.addresses_known;
        let session = &mut self.context.sessions[handle];
        let me = session.id;
        let mine = self
            .context
            .directory
            .check_address(me, &by.to_string())
            .is_ok();
        let outbox = session.outbox.get_or_insert_default();
        let theirs = self.addresses.owner(by).filter(|id| *id != me);
        if !promised || theirs.is_some() || known && !mine {
            let message = theirs.map(|sender| Message { sender, k: 0 });
            return self.stray_ack(handle, message, now_ns);
        }
        let oldest = outbox.pending.front().map(|p| p.k);
        if oldest.is_none() && outbox.answer_raw() {
            return Event::Other;
        }
        let sent_nothing = outbox.last_k == 0;
        if let Some(taken) = oldest.and_then(|k| self.context.take_ack(handle, k)) {
            return self.acked(handle, taken, now_ns);
        }
        if sent_nothing {
            return self.stray_ack(handle, None, now_ns);
        }
        self.context
            .certain(Evidence::TooManyAcks, handle, None, now_ns);
        Event::Other
    }

    /// Whether acks are frames of their own.
    fn promises_frames_of_acks(&self) -> bool {
        self.context.terms.promises.ack == AckPromise::ExactlyOnce
    }

    /// A session got a message of its own, where that is the ack. `None` if it waits for none.
    pub(super) fn echo_as_ack(
        &mut self,
        handle: Handle,
        message: Message,
        now_ns: u64,
    ) -> Option<Event> {
        let taken = self.context.take_ack(handle, message.k)?;
        Some(self.acked(handle, taken, now_ns))
    }

    fn acked(&mut self, handle: Handle, taken: TakenAck, now_ns: u64) -> Event {
        let at = self.tick();
        let fifo = self.promises_order(OrderPromise::Fifo);
        // That echoes are out of order is said of them as relays.
        if taken.is_late && fifo && self.promises_frames_of_acks() {
            let late = Evidence::AckAfterLater;
            self.context
                .certain(late, handle, Some(taken.message), now_ns);
        }
        self.messages.acked(taken.message, at, fifo);
        let message = taken.message;
        self.make_known(Notice::Acked { message, at });
        Event::Ack {
            intended_ns: taken.pending.intended_ns,
            sent_ns: taken.pending.sent_ns,
        }
    }

    /// An ack for a message of this session that waits for none.
    fn unowed_ack(&mut self, handle: Handle, k: u64, now_ns: u64) -> Event {
        let session = self.session(handle);
        let message = Message {
            sender: session.id,
            k,
        };
        let waived_acks = session.outbox.get_or_insert_default().was_ack_waived(k);
        let refused = self.messages.get(message).is_some_and(|m| m.refused);
        if refused || waived_acks == Some(true) {
            self.relayed_though_refused(message, now_ns);
        } else if waived_acks.is_none() {
            self.context.batch.tally.unknown_acks += 1;
        } else if self.messages.get(message).is_none_or(|m| !m.unanswered) {
            // After the bye it is late: that it was missing is on record.
            self.context
                .certain(Evidence::AckedAgain, handle, Some(message), now_ns);
        }
        Event::Other
    }

    fn stray_ack(&mut self, handle: Handle, message: Option<Message>, now_ns: u64) -> Event {
        let receiver = self.session(handle).id;
        if let Some(message) = message.filter(|m| m.sender != receiver) {
            // It may have come in place of the relay.
            match message.k {
                0 => self.excuse(handle, None),
                _ => self.excuse_only(handle, message),
            }
        }
        self.context.batch.anomalies.push(Anomaly::StrayAck {
            receiver,
            seq: NO_NUMBER,
            message,
            at_ns: now_ns,
        });
        Event::Other
    }

    /// A message that was answered with an error was relayed or acked all the same.
    pub(super) fn relayed_though_refused(&mut self, message: Message, now_ns: u64) {
        self.context.batch.anomalies.push(Anomaly::AckOfRefused {
            message,
            seq: NO_NUMBER,
            forgotten: false,
            at_ns: now_ns,
        });
    }

    pub(super) fn error(
        &mut self,
        handle: Handle,
        complaint: &Complaint<'_>,
        now_ns: u64,
    ) -> Event {
        let refused = self.context.error(handle, complaint, now_ns);
        if let Some((message, violation)) = refused {
            self.refused(message, violation, now_ns);
        }
        Event::Error {
            code: (*complaint.code).into(),
        }
    }

    /// A message was answered with an error: a violation if it was in order.
    pub(super) fn refused(&mut self, message: Message, violation: Option<Violation>, now_ns: u64) {
        let refused = Anomaly::Refused { message, violation };
        self.context.batch.anomalies.push(refused);
        self.is_refused(message, now_ns);
        self.make_known(Notice::Refused { message, now_ns });
    }

    /// A message was answered with an error, to a session of this shard or another.
    pub(super) fn is_refused(&mut self, message: Message, now_ns: u64) {
        let Some(sent) = self.messages.get_mut(message) else {
            return;
        };
        sent.refused = true;
        let slot = sent.slot;
        if self.sequence.get(slot).is_some_and(|s| s.receivers > 0) {
            self.relayed_though_refused(message, now_ns);
        }
    }

    /// After an answered half-close: messages that were neither acked nor refused never will be. Up
    /// to `swallowed` of their acks may have been among the last lines that could not be read.
    pub(super) fn report_unacked(&mut self, handle: Handle, swallowed: u64, now_ns: u64) {
        for message in self.context.waiting(handle) {
            self.is_unanswered(message);
            self.make_known(Notice::Unanswered { message });
        }
        self.context.report_unacked(handle, swallowed, now_ns);
    }

    /// By the end of a session it has not got `message` of its own, which would be the ack, and is
    /// owed it if `known` says so: nothing is missing if something else stands for it, and if the
    /// target has not answered its goodbye, a later one of its messages proves it.
    pub(super) fn judge_unechoed(
        &mut self,
        handle: Handle,
        message: Message,
        (slot, known): (SlotId, Known),
        at_ns: u64,
    ) {
        let outbox = self.session(handle).outbox();
        if !outbox.waits_for(message.k) || outbox.was_ack_waived(message.k) != Some(false) {
            return;
        }
        if self.is_echo_excused(handle, slot, message) {
            self.session(handle).outbox().waive_ack(message.k);
        } else if !known.answered {
            self.is_unanswered(message);
            self.make_known(Notice::Unanswered { message });
            self.context.batch.anomalies.push(Anomaly::Unacked(Unacked {
                message,
                by: NoAck::ByLaterAck,
                at_ns,
            }));
        }
    }

    /// That a message was not answered by the end of its session is on record.
    pub(super) fn is_unanswered(&mut self, message: Message) {
        if let Some(sent) = self.messages.get_mut(message) {
            sent.unanswered = true;
        }
    }
}
