//! Acks and errors: each message of a session is answered once, in the order sent.

use super::Context;
use crate::anomaly::{Anomaly, NoAck, Unacked};
use crate::batch::Message;
use crate::directory::ClientId;
use crate::errors::{UnnamedError, UnnamedErrors};
use crate::flags::Flags;
use crate::ids::split_id;
use crate::ledger::Handle;
use crate::outbox::Pending;
use crate::promises::AckPromise;
use crate::sessions::Stage;
use crate::violation::{ErrorAbout, Evidence, Violation};
use chatbench_wire::seen::Complaint;

/// An ack that was waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakenAck {
    /// The message that it is for.
    pub(crate) message: Message,
    pub(crate) pending: Pending,
    /// None of an earlier message was waited for any more.
    pub(crate) in_order: bool,
    /// A later message was acked before, and that is not on record.
    pub(crate) is_late: bool,
}

impl<P> Context<P> {
    /// Message `k` of a session is acked; `None` if that is not waited for.
    pub(crate) fn take_ack(&mut self, handle: Handle, k: u64) -> Option<TakenAck> {
        let session = &mut self.sessions[handle];
        let sender = session.id;
        let outbox = session.outbox();
        let (pending, order) = outbox.take(k)?;
        if order.acked_now {
            self.unacked -= 1 + order.overtook;
        }
        self.batch.tally.acked += 1;
        if !outbox.waived_acks.is_empty() {
            outbox.waived_acks.retain(|&waived| waived != k);
        }
        let known = std::mem::replace(&mut outbox.overtaker, pending.overtaken_by);
        Some(TakenAck {
            message: Message { sender, k },
            pending,
            in_order: order.acked_now && order.overtook == 0,
            is_late: !order.acked_now && known != pending.overtaken_by,
        })
    }

    /// The target complained to a session. Returns the message that was refused, if the error names
    /// one that still waited for its answer; with a violation if it was in order.
    pub(crate) fn error(
        &mut self,
        handle: Handle,
        complaint: &Complaint<'_>,
        now_ns: u64,
    ) -> Option<(Message, Option<Violation>)> {
        self.batch.tally.errors_received += 1;
        let session = &mut self.sessions[handle];
        let connecting = session.stage == Stage::Connecting;
        let before = session.flags;
        session.flags.got_error(complaint.cuts_off, connecting);
        let named = complaint.of.map(split_id);
        let mine = named.filter(|&(sender, _)| sender == session.id);
        let acks = self.terms.promises.ack != AckPromise::None;
        let outbox = session.outbox.get_or_insert_default();
        let may_refuse =
            |k| outbox.waits_for(k) || outbox.was_acked(k) || !acks && outbox.is_unanswered(k);
        let Some((sender, k)) = mine.filter(|&(_, k)| may_refuse(k)) else {
            if connecting && !before.turned_away {
                session.flags.error_first = true; // in place of the welcome, if that does not come
            } else {
                self.error_about_none(handle, before, complaint, now_ns);
            }
            return None;
        };
        let message = Message { sender, k };
        let was_acked = outbox.was_acked(k);
        self.unacked -= u64::from(!was_acked && outbox.refuse(k));
        outbox.waive_ack(k);
        let (client, blameless) = (session.client, !session.flags.provoked);
        if was_acked {
            let refused = Evidence::RefusedAfterAck(complaint.into());
            self.certain(refused, handle, Some(message), now_ns);
            return None;
        }
        let violation = blameless.then(|| {
            let refused = Evidence::RefusedInOrder(complaint.into());
            self.violation(refused, client, Some(message), now_ns)
        });
        Some((message, violation))
    }

    /// The target complained to a session, whose flags were these before, and not about a message
    /// of its own. Either that ends the connection, or it answers bytes that a script sent as they
    /// stand, or it may answer a message that waits, or nothing accounts for it.
    fn error_about_none(
        &mut self,
        handle: Handle,
        before: Flags,
        complaint: &Complaint<'_>,
        now_ns: u64,
    ) {
        let session = &mut self.sessions[handle];
        let (client, outbox) = (session.client, session.outbox.get_or_insert_default());
        let cut_off = complaint.cuts_off && !before.cut_off;
        if cut_off || outbox.take_owed_error() {
            return;
        }
        let error = UnnamedError {
            last_k: outbox.last_k,
            at_ns: now_ns,
            frame: complaint.into(),
        };
        if outbox.answer_raw() {
            if !before.provoked {
                let refused = Evidence::ScriptRefused(error.frame);
                self.certain(refused, handle, None, now_ns);
            }
        } else if let Some(id) = complaint.of {
            let (sender, k) = split_id(id);
            self.stray_error(client, Some(Message { sender, k }), error);
        } else if self.terms.promises.ack == AckPromise::None
            && outbox.unnamed_errors < outbox.last_k
        {
            outbox.unnamed_errors += 1; // any message that was sent may be what it is about
        } else {
            for error in outbox.unnamed_error(error) {
                self.stray_error(client, None, error);
            }
        }
    }

    fn stray_error(&mut self, client: ClientId, named: Option<Message>, error: UnnamedError) {
        let theirs = named.filter(|m| self.directory.was_opened(m.sender) && m.k > 0);
        let about = match theirs {
            Some(_) => ErrorAbout::Anothers,
            None if named.is_some() => ErrorAbout::NothingSent,
            None => ErrorAbout::Nothing,
        };
        let UnnamedError { frame, at_ns, .. } = error;
        let stray = Evidence::StrayError {
            about,
            error: frame,
        };
        let stray = Anomaly::StrayError {
            message: theirs,
            violation: self.violation(stray, client, theirs, at_ns),
        };
        self.batch.anomalies.push(stray);
    }

    /// The messages of a session that wait for their acks; none where it is not known what arrived.
    pub(crate) fn waiting(&self, handle: Handle) -> Vec<Message> {
        let session = &self.sessions[handle];
        let excused = session.flags.may_not_have_arrived();
        let outbox = session.outbox.iter().filter(|_| !excused);
        let waiting = outbox.flat_map(|outbox| outbox.overtaken.iter().chain(&outbox.pending));
        let sender = session.id;
        waiting.map(|p| Message { sender, k: p.k }).collect()
    }

    /// After an answered half-close: messages that were neither acked nor refused never will be. Up
    /// to `swallowed` of their acks may have been among lines that could not be read.
    pub(crate) fn report_unacked(&mut self, handle: Handle, swallowed: u64, now_ns: u64) {
        let waiting = self.waiting(handle);
        let session = &self.sessions[handle];
        let Some(outbox) = session.outbox.as_deref() else {
            return;
        };
        let waived = |m: &Message| outbox.was_ack_waived(m.k);
        let forgotten = waiting.iter().filter(|m| waived(m).is_none());
        self.batch.tally.unknown_acks += forgotten.count() as u64;
        let unacked = waiting.iter().filter(|m| waived(m) == Some(false));
        let unacked = unacked.skip(usize::try_from(swallowed).unwrap_or(usize::MAX));
        let unacked = unacked.map(|&message| {
            Anomaly::Unacked(Unacked {
                message,
                by: NoAck::ByBye,
                at_ns: now_ns,
            })
        });
        self.batch.anomalies.extend(unacked);
        if !session.flags.may_not_have_arrived() {
            self.drop_pending(handle);
        }
    }

    /// Nothing more is waited for of what a session sent. Reports the errors that it got and that
    /// none of its messages without an answer accounts for.
    pub(crate) fn drop_pending(&mut self, handle: Handle) {
        let session = &mut self.sessions[handle];
        let client = session.client;
        let Some(outbox) = session.outbox.as_deref_mut() else {
            return;
        };
        let unexplained = outbox.unexplained_errors();
        outbox.errors = UnnamedErrors::default();
        self.unacked -= outbox.pending.len() as u64;
        outbox.pending.clear();
        outbox.overtaken.clear();
        for error in unexplained {
            self.stray_error(client, None, error);
        }
    }

    /// A scripted `await_acks` took too long.
    pub(crate) fn overdue_acks(&mut self, handle: Handle, within: &str, now_ns: u64) {
        let overdue = Evidence::OverdueAcks {
            within: within.into(),
            waiting: self.unacked(handle) as u64,
        };
        let session = &mut self.sessions[handle];
        let (client, id) = (session.client, session.id);
        let outbox = session.outbox.as_deref_mut();
        let messages = outbox.map_or_else(Vec::new, |outbox| outbox.overdue(id));
        let violation = self.violation(overdue, client, None, now_ns);
        let overdue = Anomaly::Overdue {
            messages,
            violation,
        };
        self.batch.anomalies.push(overdue);
    }
}
