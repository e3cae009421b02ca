//! Messages that were sent, and what is known of each, kept until nothing more can be learned about
//! it.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use super::sequence::SlotId;
use crate::batch::Message;
use crate::bounds;
use crate::sessions::NEVER;
use chatbench_wire::payload::SenderId;

/// A message. Moments are places in the ledger's own order of events: unlike times they never have
/// ties.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    /// Its slot; 0 while nothing shows where it stands.
    pub(super) slot: SlotId,
    pub(super) intended_ns: u64,
    pub(super) sent_ns: u64,
    /// When it was sent.
    pub(super) sent_at: u64,
    /// When its ack was read; [`NEVER`] before.
    pub(super) acked_at: u64,
    /// When its first receiver had it, or when the answer to a later message of its sender showed
    /// that the target had taken it; [`NEVER`] before.
    pub(super) arrived_at: u64,
    /// The last slot that its sender had read when it sent it.
    pub(super) seen: SlotId,
    /// It was answered with an error.
    pub(super) refused: bool,
    /// It was not answered by the end of its session, and that is on record.
    pub(super) unanswered: bool,
}

impl Sent {
    /// When the target had provably taken it.
    pub(super) fn accepted_at(&self) -> u64 {
        self.acked_at.min(self.arrived_at)
    }

    /// When the target had provably handed it to all who were there: as soon as anyone had it, if
    /// it hands it to all at once ([`Capabilities::at_once`]).
    ///
    /// [`Capabilities::at_once`]: chatbench_wire::seen::Capabilities::at_once
    pub(super) fn handed_out_at(&self, at_once: bool) -> u64 {
        match at_once {
            true => self.accepted_at(),
            false => self.acked_at,
        }
    }
}

/// Messages of one session.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// The k of `sent[0]`.
    first_k: u64,
    sent: VecDeque<Sent>,
    /// Every k up to this one has a slot.
    pub(super) placed_k: u64,
    /// The largest k that was acked, or taken as far as the end of the session tells.
    pub(super) acked_k: u64,
    pub(super) ended: bool,
}

impl Sender {
    pub(super) fn get(&self, k: u64) -> Option<&Sent> {
        self.sent
            .get(usize::try_from(k.checked_sub(self.first_k)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, k: u64) -> Option<&mut Sent> {
        let at = usize::try_from(k.checked_sub(self.first_k)?).ok()?;
        self.sent.get_mut(at)
    }

    /// Where messages are taken in the order sent (`fifo`), those before `k` were taken by `at`.
    fn taken_before(&mut self, k: u64, at: u64, fifo: bool) {
        for earlier in (self.first_k..k).rev().take_while(|_| fifo) {
            match self.get_mut(earlier) {
                Some(sent) if sent.refused => {}
                Some(sent) if sent.accepted_at() > at => sent.arrived_at = at,
                _ => break,
            }
        }
    }

    /// The k's that are remembered.
    pub(super) fn ks(&self) -> std::ops::Range<u64> {
        self.first_k..self.first_k + self.sent.len() as u64
    }
}

/// All senders.
#[derive(Debug, Default)]
pub(super) struct Messages {
    senders: FxHashMap<SenderId, Sender>,
    /// Senders of messages that are acked and have no slot.
    pub(super) unplaced: BTreeSet<SenderId>,
    /// Sessions that are over, with messages that may still come; the oldest first.
    ended: BTreeSet<SenderId>,
    /// Senders up to this one may have been forgotten with messages that may still come.
    given_up: Option<SenderId>,
}

impl Messages {
    pub(super) fn sender(&self, id: SenderId) -> Option<&Sender> {
        self.senders.get(&id)
    }

    pub(super) fn get(&self, message: Message) -> Option<&Sent> {
        self.senders.get(&message.sender)?.get(message.k)
    }

    pub(super) fn get_mut(&mut self, message: Message) -> Option<&mut Sent> {
        self.senders.get_mut(&message.sender)?.get_mut(message.k)
    }

    /// Message `k` of `id` is sent; the k's are consecutive.
    pub(super) fn push(&mut self, id: SenderId, k: u64, sent: Sent) {
        let sender = self.senders.entry(id).or_default();
        if sender.sent.is_empty() {
            sender.first_k = k;
            sender.placed_k = k - 1;
        }
        sender.sent.push_back(sent);
    }

    /// `message` is acked. If a sender's messages are taken in order (`fifo`), those before it were
    /// taken, too.
    pub(super) fn acked(&mut self, message: Message, at: u64, fifo: bool) {
        let Some(sender) = self.senders.get_mut(&message.sender) else {
            return;
        };
        if let Some(sent) = sender.get_mut(message.k) {
            sent.acked_at = sent.acked_at.min(at);
        }
        sender.taken_before(message.k, at, fifo);
        sender.acked_k = sender.acked_k.max(message.k);
        if sender.acked_k > sender.placed_k {
            self.unplaced.insert(message.sender);
        }
    }

    /// All that `id` sent, and that was not refused, was taken by `at`.
    pub(super) fn took_all(&mut self, id: SenderId, at: u64) {
        let Some(sender) = self.senders.get_mut(&id) else {
            return;
        };
        for sent in sender.sent.iter_mut().filter(|sent| !sent.refused) {
            sent.arrived_at = sent.accepted_at().min(at);
        }
        sender.acked_k = sender.ks().end.saturating_sub(1);
        if sender.acked_k > sender.placed_k {
            self.unplaced.insert(id);
        }
    }

    /// `message` has a receiver.
    pub(super) fn arrived(&mut self, message: Message, at: u64, fifo: bool) {
        let Some(sender) = self.senders.get_mut(&message.sender) else {
            return;
        };
        if let Some(sent) = sender.get_mut(message.k) {
            sent.arrived_at = sent.arrived_at.min(at);
        }
        sender.taken_before(message.k, at, fifo);
    }

    /// The k's of `id` up to `k` that have no slot yet; they are about to get one.
    pub(super) fn take_unplaced(&mut self, id: SenderId, k: u64) -> std::ops::Range<u64> {
        let Some(sender) = self.senders.get_mut(&id) else {
            return 0..0;
        };
        let from = sender.placed_k + 1;
        sender.placed_k = sender.placed_k.max(k);
        if sender.acked_k <= sender.placed_k {
            self.unplaced.remove(&id);
        }
        from..k + 1
    }

    /// Messages that are acked and have no slot.
    pub(super) fn unrelayed(&self) -> impl Iterator<Item = Message> {
        self.unplaced.iter().flat_map(|&sender| {
            let known = self.senders.get(&sender);
            let ks = known.map_or(0..0, |s| s.placed_k + 1..s.acked_k + 1);
            ks.map(move |k| Message { sender, k })
        })
    }

    /// The messages of `id` that have no slot.
    pub(super) fn without_slot(&self, id: SenderId) -> impl Iterator<Item = (u64, &Sent)> {
        let sender = self.senders.get(&id);
        let ks = sender.map_or(0..0, |s| s.ks().start.max(s.placed_k + 1)..s.ks().end);
        ks.filter_map(move |k| Some((k, sender?.get(k)?)))
    }

    /// The k's of `id` that are acked and have no slot yet; they are about to get one.
    pub(super) fn take_acked(&mut self, id: SenderId) -> std::ops::Range<u64> {
        if !self.unplaced.contains(&id) {
            return 0..0;
        }
        let acked_k = self.sender(id).map_or(0, |sender| sender.acked_k);
        self.take_unplaced(id, acked_k)
    }

    /// The slot of `message` is released. Returns its sender if nothing more is to be said of any
    /// of its messages.
    pub(super) fn free(&mut self, message: Message) -> Option<SenderId> {
        let sender = self.senders.get_mut(&message.sender)?;
        while sender.first_k <= message.k && sender.sent.pop_front().is_some() {
            sender.first_k += 1;
        }
        (sender.ended && sender.sent.is_empty()).then(|| {
            self.senders.remove(&message.sender);
            self.ended.remove(&message.sender);
            message.sender
        })
    }

    /// The session is over. Returns the senders that may be forgotten now, and how many of them had
    /// messages of which nothing came.
    pub(super) fn ended(&mut self, id: SenderId) -> (Vec<SenderId>, u64) {
        let Some(sender) = self.senders.get_mut(&id) else {
            return (vec![id], 0);
        };
        sender.ended = true;
        if sender.sent.is_empty() {
            self.senders.remove(&id);
            return (vec![id], 0);
        }
        self.ended.insert(id);
        let mut forgotten = Vec::new();
        while self.ended.len() > bounds::ended_senders()
            && let Some(oldest) = self.ended.pop_first()
        {
            self.senders.remove(&oldest);
            self.unplaced.remove(&oldest);
            self.given_up = self.given_up.max(Some(oldest));
            forgotten.push(oldest);
        }
        let unjudged = forgotten.len() as u64;
        (forgotten, unjudged)
    }

    /// Whether `id` may have been forgotten before all its messages had come.
    pub(super) fn has_given_up(&self, id: SenderId) -> bool {
        !self.senders.contains_key(&id) && self.given_up >= Some(id)
    }

    pub(super) fn is_open(&self, id: SenderId) -> bool {
        self.senders.get(&id).is_some_and(|sender| !sender.ended)
    }

    /// A message that nothing is known of yet.
    pub(super) const fn fresh(intended_ns: u64, sent_ns: u64, sent_at: u64, seen: SlotId) -> Sent {
        Sent {
            slot: 0,
            intended_ns,
            sent_ns,
            sent_at,
            acked_at: NEVER,
            arrived_at: NEVER,
            seen,
            refused: false,
            unanswered: false,
        }
    }
}
