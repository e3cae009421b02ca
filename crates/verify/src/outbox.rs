//! A session's outbox: what it sent, each message with its one answer.

use std::collections::VecDeque;

use super::batch::Message;
use super::bounds;
use super::directory::RawFate;
use super::errors::{UnnamedError, UnnamedErrors};
use super::ids::MAX_K;
use super::trace::view::View;
use chatbench_wire::payload::{Header, SenderId};
use chatbench_wire::seen::{Glued, GluedFate, RawFrame, RawSent};

/// Everything that a session sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The last k given out.
    pub(super) last_k: u64,
    /// The last k that was acked.
    pub(super) last_acked_k: u64,
    /// When the last message was due.
    pub(super) previous_ns: u64,
    /// Sent and not acked, in order.
    pub(super) pending: VecDeque<Pending>,
    /// Messages whose acks were overtaken by a later message's: reordered if their acks still come,
    /// else missing.
    pub(super) overtaken: Vec<Pending>,
    /// The k of the latest message known to have overtaken others: counted once.
    pub(super) overtaker: u64,
    /// Messages that were answered with an error, or relayed to their own sender: no ack is waited
    /// for.
    pub(super) waived_acks: VecDeque<u64>,
    /// Some waived acks up to this k are forgotten.
    forgotten_k: u64,
    /// Bytes that a script sent as they stand.
    pub(super) raw: Option<Raw>,
    /// Errors that name none of its messages, and may be about one that waits for its ack.
    pub(super) errors: UnnamedErrors,
    /// How many of these came from a target that promises no acks.
    pub(super) unnamed_errors: u64,
}

/// A message that waits for its ack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) k: u64,
    pub(super) intended_ns: u64,
    /// Taken before the write.
    pub(super) sent_ns: u64,
    /// The last number that this session had seen by then: a cause of the message.
    pub(super) seen: u64,
    /// The k of the later message whose ack came first; 0 while none did.
    pub(super) overtaken_by: u64,
}

/// Bytes that a script sent as they stand.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// Something of it has begun and not ended.
    unfinished: bool,
    /// Raw publishes that were in order, and wait for their acks.
    pub(super) acks_owed: u64,
    /// Frames that are to be refused, and were not yet answered.
    pub(super) errors_owed: u64,
}

/// The order of an ack among those still awaited.
#[derive(Debug, Clone, Copy)]
pub(super) struct AckOrder {
    /// It was awaited; `false` if it had been overtaken.
    pub(super) acked_now: bool,
    /// Earlier messages that it overtook.
    pub(super) overtook: u64,
}

impl Outbox {
    /// The header of the next message; `None` once it has sent all it can number.
    pub(super) fn compose(
        &mut self,
        run: u32,
        sender: SenderId,
        intended_ns: u64,
        last: bool,
    ) -> Option<Header> {
        if self.last_k == MAX_K {
            return None;
        }
        self.last_k += 1;
        let previous_ns = std::mem::replace(&mut self.previous_ns, intended_ns);
        Some(Header {
            run,
            sender,
            k: self.last_k,
            last,
            intended_ns,
            previous_ns,
        })
    }

    /// Messages that wait for their acks.
    pub(super) fn unacked(&self) -> usize {
        self.pending.len() + self.raw.as_ref().map_or(0, |r| r.acks_owed as usize)
    }

    /// Whether each of its messages was acked, so that no message of it can come that has not come
    /// before.
    pub(super) fn is_all_acked(&self) -> bool {
        self.unacked() == 0
            && self.overtaken.is_empty()
            && self.waived_acks.is_empty()
            && self.forgotten_k == 0
    }

    /// Whether raw bytes without an end stand before whatever is sent next.
    pub(super) fn has_unfinished_raw(&self) -> bool {
        self.raw.as_ref().is_some_and(|raw| raw.unfinished)
    }

    /// A publish goes over the wire after raw bytes without an end, and runs together with them.
    /// Returns whether the target can read it as what it is all the same.
    pub(super) fn sent_glued(&mut self, glued: Glued) -> bool {
        if let Some(raw) = &mut self.raw {
            raw.unfinished = glued.unfinished;
            raw.errors_owed += u64::from(glued.fate == GluedFate::Refused);
        }
        glued.fate == GluedFate::Survives
    }

    /// A script sends bytes as they stand.
    pub(super) fn send_raw(&mut self, sent: &RawSent, directory: &View) {
        let raw = self.raw.get_or_insert_default();
        raw.unfinished = sent.unfinished;
        for frame in &sent.frames {
            match frame {
                RawFrame::Publish(text) => {
                    directory.sent_raw(text.as_bytes(), RawFate::Accepted);
                    raw.acks_owed += 1;
                }
                RawFrame::Refused(texts) => {
                    for text in texts {
                        directory.sent_raw(text.as_bytes(), RawFate::Rejected);
                    }
                    raw.errors_owed += 1;
                }
                RawFrame::InRoom => {}
            }
        }
    }

    /// No ack is waited for any more.
    pub(super) fn waive_ack(&mut self, k: u64) {
        self.waived_acks.push_back(k);
        if self.waived_acks.len() > bounds::waived_acks() {
            let forgotten = self.waived_acks.pop_front();
            self.forgotten_k = self.forgotten_k.max(forgotten.unwrap_or(0));
        }
    }

    /// Whether message `k` was answered otherwise than with an ack; `None` if that is forgotten.
    pub(super) fn was_ack_waived(&self, k: u64) -> Option<bool> {
        match self.waived_acks.contains(&k) {
            false if k <= self.forgotten_k => None,
            was => Some(was),
        }
    }

    /// Its client waited too long for acks. That is on record once: at the end they are not counted
    /// again. Returns the messages that they are for, or none if bytes that a script sent are among
    /// them, which have no name.
    pub(super) fn overdue(&mut self, sender: SenderId) -> Vec<Message> {
        let waiting = self.unacked();
        let ks = self.pending.iter().map(|pending| pending.k);
        let messages: Vec<Message> = ks.map(|k| Message { sender, k }).collect();
        for message in &messages {
            self.waive_ack(message.k);
        }
        if messages.len() < waiting {
            return Vec::new();
        }
        messages
    }

    /// Takes a frame that a script sent and that is to be refused off the waiting list: the frame
    /// that came answers it. Bytes without a line end are no frame, and may be taken for one.
    pub(super) fn take_owed_error(&mut self) -> bool {
        let glued = self.has_unfinished_raw();
        let Some(raw) = self.raw.as_mut() else {
            return false;
        };
        let owed = raw.errors_owed > 0 || glued;
        raw.errors_owed = raw.errors_owed.saturating_sub(1);
        owed
    }

    /// A publish that a script sent byte for byte is answered, with an ack or an error, if one
    /// waits.
    pub(super) fn answer_raw(&mut self) -> bool {
        let raw = self.raw.as_mut().filter(|raw| raw.acks_owed > 0);
        raw.is_some_and(|raw| {
            raw.acks_owed -= 1;
            true
        })
    }

    /// Message `k` is refused: it waits no more. Unlike an ack, that says nothing of those sent
    /// before it. Returns whether it was still awaited.
    pub(super) fn refuse(&mut self, k: u64) -> bool {
        self.overtaken.retain(|p| p.k != k);
        let before = self.pending.len();
        self.pending.retain(|p| p.k != k);
        self.pending.len() < before
    }

    /// Whether message `k` was sent, and neither refused nor echoed, whether or not it was acked.
    pub(super) fn is_unanswered(&self, k: u64) -> bool {
        (1..=self.last_k).contains(&k) && self.was_ack_waived(k) == Some(false)
    }

    /// Whether message `k` waits for its answer.
    pub(super) fn waits_for(&self, k: u64) -> bool {
        let mut waiting = self.overtaken.iter().chain(&self.pending);
        waiting.any(|pending| pending.k == k)
    }

    /// The messages that wait for their answer, by k.
    fn waiting(&self) -> Vec<u64> {
        let mut waiting: Vec<u64> = self.overtaken.iter().map(|p| p.k).collect();
        waiting.extend(self.pending.iter().map(|p| p.k));
        waiting.sort_unstable();
        waiting
    }

    /// Keeps an error that names none of its messages. Returns those that nothing accounts for, if
    /// so many are kept that it is time to look.
    pub(super) fn unnamed_error(&mut self, error: UnnamedError) -> Vec<UnnamedError> {
        self.errors.push(error);
        if self
            .errors
            .are_many(self.overtaken.len() + self.pending.len())
        {
            return self.unexplained_errors();
        }
        Vec::new()
    }

    /// Takes out the errors that none of its messages without an answer accounts for.
    pub(super) fn unexplained_errors(&mut self) -> Vec<UnnamedError> {
        let waiting = self.waiting();
        self.errors.unexplained(&waiting)
    }

    /// Whether message `k` was acked.
    pub(super) fn was_acked(&self, k: u64) -> bool {
        (1..=self.last_acked_k).contains(&k)
            && self.was_ack_waived(k) == Some(false)
            && !self.waits_for(k)
    }

    /// Takes message `k` off the waiting list; `None` if it is not on it.
    pub(super) fn take(&mut self, k: u64) -> Option<(Pending, AckOrder)> {
        if let Some(at) = self.overtaken.iter().position(|p| p.k == k) {
            let order = AckOrder {
                acked_now: false,
                overtook: 0,
            };
            return Some((self.overtaken.remove(at), order));
        }
        // In order, and nearly always: the front.
        let at = self.pending.iter().position(|p| p.k == k)?;
        let overtaken = self.pending.drain(..at);
        self.overtaken.extend(overtaken.map(|p| Pending {
            overtaken_by: k,
            ..p
        }));
        let pending = self.pending.pop_front().expect("it was found");
        self.last_acked_k = self.last_acked_k.max(k);
        Some((
            pending,
            AckOrder {
                acked_now: true,
                overtook: at as u64,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_sends_as_many_messages_as_it_can_number() {
        let mut outbox = Outbox {
            last_k: MAX_K - 1,
            ..Outbox::default()
        };
        let last = outbox.compose(1, SenderId(0), 5, false);
        assert_eq!(last.map(|header| header.k), Some(MAX_K));
        assert!(outbox.compose(1, SenderId(0), 6, false).is_none());
    }
}
