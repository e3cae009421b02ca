//! Deliveries and acks that the sessions still wait for when the run stops listening.

use std::collections::BTreeMap;

use super::{Handle, Inferred};
use crate::batch::Message;
use crate::outstanding::{Listener, PassedOver, Unanswered};
use crate::sessions::NEVER;

impl Inferred {
    /// The run stops listening to this session, which is about to be cut, as all are.
    /// `heard_all` says that everything that had arrived was read.
    pub(crate) fn time_up(&mut self, handle: Handle, heard_all: bool, now_ns: u64) {
        self.catch_up();
        let Some(until_ns) = self.context.listened_until(handle, now_ns) else {
            return;
        };
        let session = &self.context.sessions[handle];
        let (progress, track) = (&session.progress, &session.progress.track);
        // A message that an irregular frame stands for, or that a line swallowed, counts as come.
        let heard_all = heard_all && !session.flags.stopped_reading && progress.trouble.is_none();
        let group = self.context.directory.group(session.client);
        if heard_all && progress.joined_at != NEVER {
            let listener = Listener {
                session: session.id,
                group,
                next: NEVER,
                joined_at: progress.joined_at,
                until_ns,
            };
            self.context.batch.cut.listeners.push(listener);
            let echoes = self.acks_are_echoes();
            let holes = track.holes.iter().filter(|(_, hole)| !hole.given_up);
            let after = self.sequence.after(track.cursor).map(|(id, _)| id);
            let missed = holes.map(|(&id, _)| id).chain(after);
            let owed = missed.filter(|&id| {
                let message = self.sequence.get(id).map(|slot| slot.message);
                let sent = message.and_then(|m| self.messages.get(m));
                let is_echo = |m: &Message| echoes && m.sender == track.id;
                let wanted = message.is_some_and(|m| track.wants(m.sender) && !is_echo(&m));
                wanted && sent.is_some_and(|sent| progress.joined_at < sent.sent_at)
            });
            for slot in owed {
                let crowds = self.waited_for.entry(slot).or_default();
                crowds.entry(listener.class()).or_default().add(&listener);
            }
        }
        let session = &self.context.sessions[handle];
        let mut unanswered: BTreeMap<u64, Unanswered> = BTreeMap::new();
        let id = session.id;
        let blank = Unanswered {
            message: Message { sender: id, k: 0 },
            group,
            intended_ns: 0,
            sent_ns: 0,
            sent_at: 0,
            ack_until_ns: None,
            to_all: false,
        };
        for (k, sent) in self
            .messages
            .without_slot(id)
            .filter(|(_, sent)| !sent.refused)
        {
            let message = Message { sender: id, k };
            let one = Unanswered {
                message,
                intended_ns: sent.intended_ns,
                sent_ns: sent.sent_ns,
                sent_at: sent.sent_at,
                to_all: true,
                ..blank
            };
            unanswered.insert(k, one);
        }
        let pending = session.outbox.iter().flat_map(|outbox| &outbox.pending);
        for pending in pending.filter(|_| heard_all) {
            let message = Message {
                sender: id,
                k: pending.k,
            };
            let one = unanswered.entry(pending.k).or_insert(Unanswered {
                message,
                intended_ns: pending.intended_ns,
                sent_ns: pending.sent_ns,
                ..blank
            });
            one.ack_until_ns = Some(now_ns);
        }
        let cut = &mut self.context.batch.cut;
        cut.unanswered.extend(unanswered.into_values());
    }

    /// Hands over the messages that have a place in the order and were waited for.
    pub(super) fn hand_over_waited_for(&mut self) {
        for (&slot, crowds) in self.waited_for.iter_mut().filter(|(_, c)| !c.is_empty()) {
            let Some(slot) = self.sequence.get(slot) else {
                continue;
            };
            self.context.batch.cut.passed_over.push(PassedOver {
                message: slot.message,
                intended_ns: slot.intended_ns,
                sent_ns: slot.sent_ns,
                first_ns: (slot.receivers > 0).then_some(slot.first_ns),
                crowds: std::mem::take(crowds),
            });
        }
    }
}
