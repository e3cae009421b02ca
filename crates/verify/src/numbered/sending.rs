//! Messages that a session sends: load messages, which get their k, and those of a script.

use super::{Handle, Numbered};
use crate::anomaly::Anomaly;
use chatbench_wire::payload::Header;
use chatbench_wire::seen::{Glued, RawSent};

impl Numbered {
    /// A message is about to be sent: gives it its k.
    pub(crate) fn sending(
        &mut self,
        handle: Handle,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        let seen = self.session(handle).progress.seen();
        self.context
            .sending(handle, (intended_ns, now_ns), last, seen, true)
    }

    /// The publish of `header` goes over the wire after raw bytes without a line end.
    pub(crate) fn sent_glued(&mut self, handle: Handle, header: &Header, glued: Glued) {
        if let Some(message) = self.context.sent_glued(handle, header, glued) {
            let violation = None;
            let refused = Anomaly::Refused { message, violation };
            self.context.batch.anomalies.push(refused);
        }
    }

    /// A script sends bytes as they stand.
    pub(crate) fn sending_raw(&mut self, handle: Handle, sent: &RawSent) {
        self.context.sending_raw(handle, sent, true);
    }
}
