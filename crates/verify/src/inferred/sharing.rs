//! The ledger of one shard of several: it makes known what is public of its own sessions and
//! messages, and takes in what the others make known. See [`public`](crate::public).

use rustc_hash::FxHashSet;

use super::Inferred;
use super::messages::Messages;
use super::sequence::SlotId;
use crate::batch::{Message, Part};
use crate::promises::OrderPromise;
use crate::public::{Notice, Seat};
use crate::sessions::NEVER;
use chatbench_wire::payload::SenderId;

/// What a ledger that is one of several has beside the others.
#[derive(Debug)]
pub(super) struct Sharing {
    seat: Seat,
    /// Sessions of other shards that are not over.
    others: FxHashSet<SenderId>,
    /// Some notices were dropped before they were read: not all messages are known here.
    incomplete: bool,
}

impl Sharing {
    pub(super) fn new(seat: Seat) -> Self {
        Self {
            seat,
            others: FxHashSet::default(),
            incomplete: false,
        }
    }

    pub(super) fn tick(&self) -> u64 {
        self.seat.tick()
    }

    /// Whether that is a session of another shard, and there.
    pub(super) fn is_open_elsewhere(&self, session: SenderId) -> bool {
        self.others.contains(&session)
    }

    /// Whether some session of another shard is there.
    fn are_others_there(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether there may be messages that are not known here.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }
}

impl Inferred {
    /// Whether some session of another shard is there.
    pub(super) fn are_others_there(&self) -> bool {
        let sharing = self.sharing.as_ref();
        sharing.is_some_and(Sharing::are_others_there)
    }

    /// Makes something known to the other shards, if there are any.
    pub(super) fn make_known(&self, notice: Notice) {
        if let Some(sharing) = &self.sharing {
            sharing.seat.post(notice);
        }
    }

    /// The room has been taken from the list of those with news; its news are read with the next
    /// batch.
    pub(crate) fn is_off_the_list(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.seat.is_off_the_list();
        }
    }

    /// Takes in what the other shards have made known. Comes before everything that this shard's
    /// own clients do or see, so that it knows of every message that they can have seen.
    #[inline]
    pub(super) fn catch_up(&mut self) {
        if self.sharing.is_some() {
            self.read_news();
        }
    }

    fn read_news(&mut self) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let Some(news) = sharing.seat.news() else {
            return;
        };
        if news.incomplete {
            sharing.incomplete = true;
            self.context.batch.tally.uncompared += 1;
        }
        for notice in news.notices {
            self.learn(notice);
        }
    }

    fn learn(&mut self, notice: Notice) {
        let fifo = self.promises_order(OrderPromise::Fifo);
        match notice {
            Notice::Opened { session } => {
                if let Some(sharing) = &mut self.sharing {
                    sharing.others.insert(session);
                }
            }
            Notice::Stood { session, address } => self.addresses.add(session, address),
            Notice::Joined {
                connecting_at,
                at,
                now_ns,
            } => self.joined_before(connecting_at, at, now_ns),
            Notice::Sent {
                message,
                intended_ns,
                sent_ns,
                sent_at,
            } => {
                let sent = Messages::fresh(intended_ns, sent_ns, sent_at, 0);
                self.messages.push(message.sender, message.k, sent);
            }
            Notice::Acked { message, at } => {
                self.messages.acked(message, at, fifo);
                self.taken_by(message, at);
            }
            Notice::Placed { message, at } => self.placed_elsewhere(message, at),
            Notice::TookAll { session, at } => self.messages.took_all(session, at),
            Notice::Refused { message, now_ns } => self.is_refused(message, now_ns),
            Notice::Unanswered { message } => self.is_unanswered(message),
            Notice::Ended { session } => {
                if let Some(sharing) = &mut self.sharing {
                    sharing.others.remove(&session);
                }
                self.sender_ended(session);
                self.addresses.done(session);
            }
        }
    }

    /// Another shard has given `message` a place, since a receiver of its had it at the moment
    /// `at`, or since it had to have one.
    fn placed_elsewhere(&mut self, message: Message, at: Option<u64>) {
        if self.messages.get(message).is_none() {
            return; // nothing more is said of it here
        }
        let mut after = self.sequence.tail();
        for k in self.messages.take_unplaced(message.sender, message.k) {
            let taken_at = at.unwrap_or(NEVER);
            after = self.place_one(after, Message { k, ..message }, taken_at);
        }
        let Some(at) = at else {
            return;
        };
        let fifo = self.promises_order(OrderPromise::Fifo);
        self.messages.arrived(message, at, fifo);
        self.taken_by(message, at);
        let slot = self.slot_of(message).unwrap_or(0);
        if let Some(slot) = self.sequence.get_mut(slot) {
            slot.elsewhere = true;
        }
    }

    /// The target had taken `message` by the moment `at`.
    fn taken_by(&mut self, message: Message, at: u64) {
        let slot = self.slot_of(message).unwrap_or(0);
        if let Some(slot) = self.sequence.get_mut(slot) {
            slot.accepted_at = slot.accepted_at.min(at);
        }
    }

    /// Makes a place in the order known.
    pub(super) fn make_place_known(&self, message: Message, at: Option<u64>) {
        self.make_known(Notice::Placed { message, at });
    }

    /// A receiver of this shard had `message` at the moment `at`: makes that known, unless one of
    /// any shard is known to have had it before.
    pub(super) fn make_arrival_known(&self, message: Message, at: u64) {
        if self.sharing.is_none() {
            return;
        }
        let slot = self.slot_of(message).unwrap_or(0);
        let known = self.sequence.get(slot);
        if known.is_some_and(|slot| !slot.elsewhere && slot.receivers == 0) {
            self.make_place_known(message, Some(at));
        }
    }

    /// Hands over what this shard knows of a message that is complete here, as far as it goes.
    pub(super) fn tell_part(&mut self, id: SlotId, is_complete: bool) {
        let Some(slot) = self.sequence.get(id) else {
            return;
        };
        let part = Part {
            message: slot.message,
            figures: super::figures(slot),
            is_complete,
        };
        self.context.batch.parts.push(part);
    }

    /// The number of the next session of any shard.
    pub(super) fn next_session(&self) -> SenderId {
        match self.sharing {
            Some(_) => self.context.directory.next_session(),
            None => self.next_session,
        }
    }
}
