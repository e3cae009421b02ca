//! Acks and errors: each message is answered once, in the order sent.

use std::net::SocketAddr;

use super::{Event, Handle, Inferred};
use crate::verify::anomaly::{Anomaly, NoAck, Unacked};
use crate::verify::batch::{Message, NO_NUMBER};
use crate::verify::context::Complaint;
use crate::verify::ids::split_id;
use crate::verify::outbox::{AckOrder, Outbox, Pending};
use crate::verify::promises::OrderPromise;
use crate::verify::session::Stage;
use crate::verify::violation::{Evidence, Violation};
use crate::wire::seen::AckOf;

impl Inferred {
    pub(super) fn ack(&mut self, handle: Handle, of: AckOf, now_ns: u64) -> Event {
        match of {
            AckOf::Id(id) => self.named_ack(handle, Some(id), now_ns),
            AckOf::NoId => self.named_ack(handle, None, now_ns),
            AckOf::Oldest(by) => self.anonymous_ack(handle, by, now_ns),
        }
    }

    /// An ack that names what it is for, if that had a name.
    fn named_ack(&mut self, handle: Handle, id: Option<u64>, now_ns: u64) -> Event {
        self.require_welcome(handle, "ack", now_ns);
        let promised = self.promises_acks();
        let session = &mut self.sessions[handle.0 as usize];
        let me = session.track.id;
        let outbox = session.outbox.get_or_insert_default();
        match id.map(split_id) {
            Some((sender, k)) if promised && sender == me && k <= outbox.last_k && k > 0 => {
                match outbox.take(k) {
                    Some((pending, order)) => self.acked(handle, k, pending, order, now_ns),
                    None => self.unowed_ack(handle, k, now_ns),
                }
            }
            _ if outbox.take_raw_ack() => Event::Other,
            named => {
                let message = named.map(|(sender, k)| Message { sender, k });
                self.stray_ack(handle, message, now_ns)
            }
        }
    }

    /// An ack that names its sender's address alone: it is for the oldest message that waits.
    fn anonymous_ack(&mut self, handle: Handle, by: SocketAddr, now_ns: u64) -> Event {
        self.require_welcome(handle, "ack", now_ns);
        let promised = self.promises_acks();
        let known = self.context.terms.addresses_known;
        let session = &mut self.sessions[handle.0 as usize];
        let me = session.track.id;
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
        if let Some(k) = outbox.pending.front().map(|p| p.k)
            && let Some((pending, order)) = outbox.take(k)
        {
            return self.acked(handle, k, pending, order, now_ns);
        }
        if outbox.take_raw_ack() {
            return Event::Other;
        }
        if outbox.last_k == 0 {
            return self.stray_ack(handle, None, now_ns);
        }
        self.certain(Evidence::TooManyAcks, handle, None, now_ns);
        Event::Other
    }

    fn acked(
        &mut self,
        handle: Handle,
        k: u64,
        pending: Pending,
        order: AckOrder,
        now_ns: u64,
    ) -> Event {
        let at = self.tick();
        if order.acked_now {
            self.context.unacked -= 1 + order.overtook;
        }
        self.context.batch.tally.acked += 1;
        let session = &mut self.sessions[handle.0 as usize];
        let message = Message {
            sender: session.track.id,
            k,
        };
        let outbox = session.outbox.get_or_insert_default();
        outbox.waived_acks.retain(|&settled| settled != k);
        let known = std::mem::replace(&mut outbox.overtaker, pending.overtaken_by);
        let out_of_order = !order.acked_now && known != pending.overtaken_by;
        if out_of_order && self.promises_order(OrderPromise::Fifo) {
            self.certain(Evidence::AckAfterLater, handle, Some(message), now_ns);
        }
        let fifo = self.promises_order(OrderPromise::Fifo);
        self.messages.acked(message, at, fifo);
        Event::Ack {
            intended_ns: pending.intended_ns,
            sent_ns: pending.sent_ns,
        }
    }

    /// An ack for a message of this session that waits for none.
    fn unowed_ack(&mut self, handle: Handle, k: u64, now_ns: u64) -> Event {
        let session = self.session(handle);
        let message = Message {
            sender: session.track.id,
            k,
        };
        let waived_acks = session.outbox.get_or_insert_default().was_ack_waived(k);
        let refused = self.messages.get(message).is_some_and(|m| m.refused);
        if refused || waived_acks == Some(true) {
            self.relayed_though_refused(message, now_ns);
        } else if waived_acks.is_none() {
            self.context.batch.tally.unknown_acks += 1;
        } else if self.messages.get(message).is_none_or(|m| !m.unanswered) {
            // Behind the goodbye it is late: that it was missing is on record.
            self.certain(Evidence::AckedAgain, handle, Some(message), now_ns);
        }
        Event::Other
    }

    fn stray_ack(&mut self, handle: Handle, message: Option<Message>, now_ns: u64) -> Event {
        let receiver = self.session(handle).track.id;
        if let Some(message) = message.filter(|m| m.sender != receiver) {
            // It may have come in the place of the relay.
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

    /// A message that was answered with an error is in the stream all the same.
    pub(super) fn relayed_though_refused(&mut self, message: Message, now_ns: u64) {
        self.context.batch.anomalies.push(Anomaly::AckOfRefused {
            message,
            seq: NO_NUMBER,
            forgotten: false,
            at_ns: now_ns,
        });
    }

    pub(super) fn error(&mut self, handle: Handle, complaint: Complaint<'_>, now_ns: u64) -> Event {
        let session = &mut self.sessions[handle.0 as usize];
        let connecting = session.stage == Stage::Connecting;
        let whose = (session.track.client, session.track.id);
        let flags = &mut session.flags;
        let outbox = session.outbox.get_or_insert_default();
        let refused = self
            .context
            .error(whose, flags, connecting, outbox, complaint, now_ns);
        if let Some((message, violation)) = refused {
            self.refused(message, violation, now_ns);
        }
        Event::Error {
            code: complaint.code.into(),
        }
    }

    /// A message was answered with an error: a violation if it was in order.
    pub(super) fn refused(&mut self, message: Message, violation: Option<Violation>, now_ns: u64) {
        let refused = Anomaly::Refused { message, violation };
        self.context.batch.anomalies.push(refused);
        let Some(sent) = self.messages.get_mut(message) else {
            return;
        };
        sent.refused = true;
        let slot = sent.slot;
        if self.sequence.get(slot).is_some_and(|s| s.receivers > 0) {
            self.relayed_though_refused(message, now_ns);
        }
    }

    /// At an answered goodbye: what was sent and neither acked nor refused never will be. Of the
    /// last lines that could not be read, `swallowed` may have been acks.
    pub(super) fn report_unacked(&mut self, handle: Handle, swallowed: u64, now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let sender = session.track.id;
        // Of a client that sent rubbish, or that the target closed, nobody knows what arrived.
        let excused = session.flags.provoked || session.flags.gone;
        let Some(outbox) = session.outbox.as_deref().filter(|_| !excused) else {
            return;
        };
        let waiting = outbox.overtaken.iter().chain(&outbox.pending);
        for pending in waiting.clone() {
            let k = pending.k;
            if let Some(sent) = self.messages.get_mut(Message { sender, k }) {
                sent.unanswered = true;
            }
        }
        let forgotten = waiting.clone();
        let forgotten = forgotten.filter(|p| outbox.was_ack_waived(p.k).is_none());
        self.context.batch.tally.unknown_acks += forgotten.count() as u64;
        let waiting = waiting.filter(|p| outbox.was_ack_waived(p.k) == Some(false));
        for pending in waiting.skip(usize::try_from(swallowed).unwrap_or(usize::MAX)) {
            let unacked = Unacked {
                message: Message {
                    sender,
                    k: pending.k,
                },
                by: NoAck::ByBye,
                at_ns: now_ns,
            };
            self.context.batch.anomalies.push(Anomaly::Unacked(unacked));
        }
        self.drop_pending(handle);
    }

    /// Nothing more is waited for: neither answers, nor what errors that came may be about.
    pub(super) fn drop_pending(&mut self, handle: Handle) {
        let session = &mut self.sessions[handle.0 as usize];
        let client = session.track.client;
        self.context
            .drop_pending(client, session.outbox.as_deref_mut());
    }

    /// A scripted `await_acks` took too long.
    pub(in crate::verify) fn overdue_acks(&mut self, handle: Handle, within: &str, now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let (whose, outbox) = (
            (session.track.client, session.track.id),
            session.outbox.as_deref_mut(),
        );
        self.context.overdue_acks(whose, outbox, within, now_ns);
    }
}

impl Outbox {
    /// Whether a scripted publish waited for an ack, which this is.
    fn take_raw_ack(&mut self) -> bool {
        let raw = self.raw.as_mut().filter(|raw| raw.acks_owed > 0);
        raw.is_some_and(|raw| {
            raw.acks_owed -= 1;
            true
        })
    }
}
