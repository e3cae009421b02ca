//! What a session sends: numbered load messages, and whatever bytes a script wants sent.

use super::{Handle, Numbered};
use crate::verify::batch::{Anomaly, Message};
use crate::verify::own::Pending;
use crate::wire::Dialect;
use crate::wire::payload::Header;

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
        let own = session.own();
        let header = own.compose(self.desk.terms.run, sender, intended_ns, last)?;
        if self.desk.unacked > own.pending.len() as u64 {
            self.desk.batch.coverage.overlapping_sends += 1;
        }
        own.pending.push_back(Pending {
            k: header.k,
            intended_ns,
            sent_ns: now_ns,
            seen,
            overtaken_by: 0,
        });
        let lag_ns = now_ns.saturating_sub(intended_ns);
        self.desk.directory.sends().sent(sender, header.k, lag_ns);
        self.desk.unacked += 1;
        self.desk.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` goes over the wire behind raw bytes without a line end.
    pub(in crate::verify) fn sent_publish(&mut self, handle: Handle, header: &Header, line: &[u8]) {
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        if own.survives_glued(header, line) {
            return;
        }
        session.conduct.provoked = true;
        if own.pending.pop_back().is_some() {
            self.desk.unacked -= 1;
        }
        own.settle_otherwise(header.k);
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        let refused = Anomaly::Refused {
            message,
            example: None,
        };
        self.desk.batch.anomalies.push(refused);
    }

    /// A script sends `bytes` as they stand.
    pub(in crate::verify) fn sending_raw(&mut self, handle: Handle, bytes: &[u8]) {
        let max_line_bytes = self.desk.terms.max_line_bytes;
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        let directory = &self.desk.directory;
        if !own.send_raw(bytes, Dialect::Ndjson, max_line_bytes, directory) {
            session.conduct.provoked = true;
        }
    }

    pub(in crate::verify) fn has_unfinished_raw(&self, handle: Handle) -> bool {
        let own = self.sessions[handle.0 as usize].own.as_deref();
        own.is_some_and(|own| own.has_unfinished_raw())
    }
}
