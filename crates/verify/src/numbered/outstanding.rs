//! Deliveries and acks that the sessions of a shard still wait for when the run stops listening.

use super::{Handle, Numbered};
use crate::batch::Message;
use crate::outstanding::{Listener, Unanswered};

impl Numbered {
    /// The run stops listening to this session, which is about to be cut. `heard_all` says that
    /// everything that had arrived was read.
    pub(crate) fn time_up(&mut self, handle: Handle, heard_all: bool, now_ns: u64) {
        let Some(until_ns) = self.context.listened_until(handle, now_ns) else {
            return;
        };
        let session = &self.context.sessions[handle];
        let stream = &session.progress;
        // A message that an irregular frame stands for, or that a line swallowed, counts as come.
        let heard_all = heard_all && !session.flags.stopped_reading && stream.trouble.is_none();
        let group = self.context.directory.group(session.client);
        let cut = &mut self.context.batch.cut;
        if heard_all {
            cut.listeners.push(Listener {
                session: session.id,
                group,
                next: stream.next,
                joined_at: stream.welcomed_ns,
                until_ns,
            });
        }
        let Some(outbox) = session.outbox.as_deref() else {
            return;
        };
        let waiting = outbox.pending.iter();
        let waiting = waiting.filter(|pending| !outbox.waived_acks.contains(&pending.k));
        cut.unanswered.extend(waiting.map(|pending| Unanswered {
            message: Message {
                sender: session.id,
                k: pending.k,
            },
            group,
            intended_ns: pending.intended_ns,
            sent_ns: pending.sent_ns,
            sent_at: pending.sent_ns,
            ack_until_ns: heard_all.then_some(now_ns),
            to_all: true,
        }));
    }
}
