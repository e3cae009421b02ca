//! What a session sends: numbered load messages, and whatever bytes a script wants sent.

use super::{Handle, Numbered};
use crate::verify::anomaly::Anomaly;
use crate::verify::batch::Message;
use crate::verify::outbox::Pending;
use crate::wire::payload::Header;
use crate::wire::seen::{Glued, RawSent};

impl Numbered {
    /// A message is about to be sent: gives it its k.
    pub(in crate::verify) fn sending(
        &mut self,
        handle: Handle,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        let session = &mut self.sessions[handle.0 as usize];
        let (sender, seen) = (session.id, session.seen());
        let outbox = session.outbox();
        let header = outbox.compose(self.context.terms.run, sender, intended_ns, last)?;
        if self.context.unacked > outbox.pending.len() as u64 {
            self.context.batch.coverage.overlapping_sends += 1;
        }
        outbox.pending.push_back(Pending {
            k: header.k,
            intended_ns,
            sent_ns: now_ns,
            seen,
            overtaken_by: 0,
        });
        let lag_ns = now_ns.saturating_sub(intended_ns);
        self.context
            .directory
            .sends()
            .sent(sender, header.k, lag_ns);
        self.context.unacked += 1;
        self.context.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` goes over the wire after raw bytes without an end.
    pub(in crate::verify) fn sent_glued(&mut self, handle: Handle, header: &Header, glued: Glued) {
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
        let refused = Anomaly::Refused {
            message,
            violation: None,
        };
        self.context.batch.anomalies.push(refused);
    }

    /// A script sends bytes as they stand.
    pub(in crate::verify) fn sending_raw(&mut self, handle: Handle, sent: &RawSent) {
        let session = &mut self.sessions[handle.0 as usize];
        let outbox = session.outbox.get_or_insert_default();
        outbox.send_raw(sent, &self.context.directory);
        session.flags.provoked |= !sent.is_right;
    }
}
