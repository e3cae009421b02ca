//! The context of a ledger of either kind: the terms, the directory, the batch that gathers.

use std::sync::Arc;

use super::anomaly::Anomaly;
use super::batch::{Batch, Message};
use super::directory::{ClientId, Directory};
use super::errors::{UnnamedError, UnnamedErrors};
use super::ids::split_id;
use super::ledger::Terms;
use super::outbox::{Flags, Outbox};
use super::promises::AckPromise;
use super::trace::view::View;
use super::violation::{ErrorAbout, ErrorFrame, Evidence, Violation, Who};
use crate::wire::payload::SenderId;

/// An error that the target gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Complaint<'a> {
    pub(super) code: &'a str,
    pub(super) detail: &'a str,
    /// The publish that it is about, where it says so.
    pub(super) id: Option<u64>,
    /// It says that the client is too slow, and will be cut off.
    pub(super) cuts_off: bool,
}

impl Complaint<'_> {
    fn frame(self) -> ErrorFrame {
        ErrorFrame {
            code: self.code.into(),
            detail: self.detail.into(),
        }
    }
}

/// Everything that the sessions of one ledger share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) terms: Terms,
    pub(super) directory: View,
    pub(super) batch: Batch,
    /// Messages of this shard that wait for their acks.
    pub(super) unacked: u64,
}

impl Context {
    pub(super) fn new(terms: Terms, directory: Arc<Directory>) -> Self {
        Self {
            terms,
            directory: View::new(directory),
            batch: Batch::default(),
            unacked: 0,
        }
    }

    /// A violation, seen by `client`, that needs no further knowledge.
    pub(super) fn certain(
        &mut self,
        evidence: Evidence,
        client: ClientId,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let violation = self.violation(evidence, client, message, now_ns);
        self.batch.anomalies.push(Anomaly::Certain(violation));
    }

    /// The target closed the connection of `client` without what it owed at the end.
    /// The last number that it had `seen` tells of which numbering it was, should the target begin
    /// anew.
    pub(super) fn hung_up(&mut self, evidence: Evidence, client: ClientId, seen: u64, now_ns: u64) {
        let violation = self.violation(evidence, client, None, now_ns);
        let hung_up = Anomaly::HungUp { seen, violation };
        self.batch.anomalies.push(hung_up);
    }

    /// The target complained to `client`, of whose session `id` these are the flags and what it
    /// sent; `connecting` if it was not welcomed yet. Returns the message that was refused, if the error names one that still
    /// waited for its answer; with a violation if it was in order.
    pub(super) fn error(
        &mut self,
        (client, id): (ClientId, SenderId),
        flags: &mut Flags,
        connecting: bool,
        outbox: &mut Outbox,
        complaint: Complaint<'_>,
        now_ns: u64,
    ) -> Option<(Message, Option<Violation>)> {
        self.batch.tally.errors_received += 1;
        let before = *flags;
        flags.got_error(complaint.cuts_off, connecting);
        let named = complaint.id.map(split_id);
        let mine = named.filter(|&(sender, _)| sender == id);
        let acks = self.terms.promises.ack == AckPromise::ExactlyOnce;
        let may_refuse =
            |k| outbox.waits_for(k) || outbox.was_acked(k) || !acks && outbox.is_unanswered(k);
        let Some((sender, k)) = mine.filter(|&(_, k)| may_refuse(k)) else {
            if connecting && !before.turned_away {
                flags.error_first = true; // in place of the welcome, if that does not come
            } else {
                self.error_about_none(client, before, outbox, complaint, now_ns);
            }
            return None;
        };
        let message = Message { sender, k };
        if outbox.was_acked(k) {
            let refused = Evidence::RefusedAfterAck(complaint.frame());
            self.certain(refused, client, Some(message), now_ns);
            outbox.waive_ack(k);
            return None;
        }
        self.unacked -= u64::from(outbox.refuse(k));
        outbox.waive_ack(k);
        let violation = (!flags.provoked).then(|| {
            let refused = Evidence::RefusedInOrder(complaint.frame());
            self.violation(refused, client, Some(message), now_ns)
        });
        Some((message, violation))
    }

    /// The target complained to `client`, whose flags were these before, and not about a message of
    /// its own: it ends the connection, it answers what a script sent byte for byte, it may answer
    /// a message that waits, or nobody asked for it.
    fn error_about_none(
        &mut self,
        client: ClientId,
        flags: Flags,
        outbox: &mut Outbox,
        complaint: Complaint<'_>,
        now_ns: u64,
    ) {
        let Complaint { id, .. } = complaint;
        let cut_off = complaint.cuts_off && !flags.cut_off;
        if cut_off || outbox.take_owed_error() {
            return;
        }
        let error = UnnamedError {
            last_k: outbox.last_k,
            at_ns: now_ns,
            frame: complaint.frame(),
        };
        if outbox.refuse_raw() {
            if !flags.provoked {
                let refused = Evidence::ScriptRefused(error.frame);
                self.certain(refused, client, None, now_ns);
            }
        } else if self.terms.promises.ack == AckPromise::None
            && id.is_none()
            && outbox.unnamed_errors < outbox.last_k
        {
            outbox.unnamed_errors += 1; // any message that was sent may be what it is about
        } else if id.is_none() {
            for error in outbox.unnamed_error(error) {
                self.stray_error(client, None, error);
            }
        } else {
            let message = id.map(split_id).map(|(sender, k)| Message { sender, k });
            self.stray_error(client, message, error);
        }
    }

    /// A session of `client` is welcomed; an error that it got first was not in place of that.
    pub(super) fn welcomed(&mut self, client: ClientId, flags: Flags, now_ns: u64) {
        if flags.error_first {
            self.certain(Evidence::ErrorBeforeWelcome, client, None, now_ns);
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

    /// Nothing more is waited for of what a session of `client` sent; of the errors that it got,
    /// those are reported that none of the messages without an answer accounts for.
    pub(super) fn drop_pending(&mut self, client: ClientId, outbox: Option<&mut Outbox>) {
        if let Some(outbox) = outbox {
            for error in outbox.unexplained_errors() {
                self.stray_error(client, None, error);
            }
            outbox.errors = UnnamedErrors::default();
            self.unacked -= outbox.pending.len() as u64;
            outbox.pending.clear();
            outbox.overtaken.clear();
        }
    }

    /// A scripted `await_acks` of `client`, in session `id`, took too long.
    pub(super) fn overdue_acks(
        &mut self,
        (client, id): (ClientId, SenderId),
        outbox: Option<&mut Outbox>,
        within: &str,
        now_ns: u64,
    ) {
        let overdue = Evidence::OverdueAcks {
            within: within.into(),
            waiting: outbox.as_deref().map_or(0, Outbox::unacked) as u64,
        };
        let violation = self.violation(overdue, client, None, now_ns);
        let messages = outbox.map_or_else(Vec::new, |outbox| outbox.overdue(id));
        let overdue = Anomaly::Overdue {
            messages,
            violation,
        };
        self.batch.anomalies.push(overdue);
    }

    pub(super) fn violation(
        &self,
        evidence: Evidence,
        client: ClientId,
        message: Option<Message>,
        at_ns: u64,
    ) -> Violation {
        Violation {
            evidence,
            receiver: Some(Who::Client(client)),
            message: message.map(|message| self.directory.message(message)),
            seq: None,
            at_ns,
        }
    }
}
