//! Batches, which a shard's [`Ledger`](super::ledger::Ledger) hands to the
//! [`Judge`](super::judge::Judge). They hold facts about messages, and anomalies.
//!
//! A delivery without an anomaly costs a comparison and a counter and is not in a batch. Facts are
//! a few words for each *message*; anomalies are rare unless the target is broken.

use super::anomaly::Anomaly;
use super::findings::Coverage;
use super::judge::Settled;
use super::outstanding::Cut;
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::RoomId;

/// Stands for a number where the target states none (or none is looked at).
pub(super) const NO_NUMBER: u64 = u64::MAX - 1;

/// Everything a shard has learned since its last batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Every observation of this shard about numbers under this one has been handed over.
    pub(super) watermark: u64,
    pub(super) facts: Vec<Fact>,
    /// Messages of which everything is known, where numbers do not tell when that is.
    pub(super) settled: Vec<Settled>,
    /// Messages of which this shard has told its part, where the order is inferred on several.
    pub(super) parts: Vec<Part>,
    /// The order is inferred on several shards.
    pub(super) is_shared: bool,
    pub(super) anomalies: Vec<Anomaly>,
    pub(super) ended: Vec<Ended>,
    /// Deliveries and acks that the sessions that are cut now were still waiting for.
    pub(super) cut: Cut,
    pub(super) tally: Tally,
    pub(super) coverage: Coverage,
    /// Messages and findings that were not judged for lack of time.
    pub(super) unjudged: Unjudged,
    /// The same of named rooms in which something is new. All the rest is of the unnamed one.
    pub(super) named: Vec<RoomBatch>,
}

/// Everything that a shard has learned of a named room.
#[derive(Debug)]
pub(super) struct RoomBatch {
    pub(super) room: RoomId,
    /// The place of the shard's ledger among those of the room
    /// ([`Directory::enroll`](super::directory::Directory::enroll)).
    pub(super) ledger: usize,
    /// If it has no members any more: how often it had got its first
    /// ([`Directory::occupy`](super::directory::Directory::occupy)).
    pub(super) left: Option<u32>,
    pub(super) batch: Batch,
}

/// Messages and findings that were not judged for lack of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unjudged {
    /// Messages that have deliveries that were not judged.
    pub(super) messages: u64,
    /// Anomalies that ledgers had found, and that nobody compared with the findings of the other
    /// shards.
    pub(super) findings: u64,
    /// When the first of these messages was sent, or came.
    pub(super) since_ns: Option<u64>,
}

impl Unjudged {
    pub(super) const fn one(sent_ns: u64) -> Self {
        Self {
            messages: 1,
            findings: 0,
            since_ns: Some(sent_ns),
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        let since_ns = [self.since_ns, other.since_ns].into_iter().flatten().min();
        Self {
            messages: self.messages + other.messages,
            findings: self.findings + other.findings,
            since_ns,
        }
    }
}

impl Batch {
    /// Entries past which no more should be added before it is handed over.
    pub(super) const FULL: usize = 16_384;

    /// Entries that the judge will have to look at.
    pub(super) fn len(&self) -> usize {
        self.facts.len() + self.settled.len() + self.parts.len() + self.anomalies.len()
    }
}

/// A session that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) session: SenderId,
    /// The highest number known by then; all of its own are under it.
    pub(super) last_seq: u64,
    /// Not all of its messages were acked: they may yet be numbered.
    pub(super) in_flight: bool,
}

/// Counts that need no judgement.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) sessions: u64,
    pub(super) sent: u64,
    pub(super) acked: u64,
    pub(super) delivered: u64,
    pub(super) optional: u64,
    pub(super) duplicated: u64,
    pub(super) errors_received: u64,
    pub(super) unknown_frames: u64,
    /// Deliveries that fell out of the window: checked by themselves, not compared with those of
    /// other receivers.
    pub(super) uncompared: u64,
    /// Sessions that the target cut off as slow although their script never stopped reading.
    pub(super) cut_off: u64,
    /// Sessions that the target ended while they had much to read: perhaps as slow.
    pub(super) may_be_slow: u64,
    /// Sessions whose last deliveries are not proved: no bye when the time was up.
    pub(super) unfinished: u64,
    /// Numbers that these sessions, and those the target hung up on, had not seen by then.
    pub(super) unresolved: u64,
    /// Byes that no client had asked for: the target was shutting down.
    pub(super) unasked_byes: u64,
    /// Owed deliveries proved missing, where the ledger itself decides that.
    pub(super) lost: u64,
    /// Owed deliveries that an irregular line came in place of, where the ledger itself decides
    /// that.
    pub(super) irregular: u64,
    /// Deliveries that did not come to sessions that got more irregular lines than are remembered:
    /// one of these may have stood for them.
    pub(super) after_wrong: u64,
    /// Sessions whose numbers are too large to be followed.
    pub(super) not_followed: u64,
    /// Deliveries out of order, among so many that they were not judged one by one.
    pub(super) disordered: u64,
    /// Deliveries that did not come before their sessions were cut, where other deliveries were
    /// overtaken and did come.
    pub(super) misplaced: u64,
    /// Messages that got no ack, where it is forgotten whether they had been refused or echoed.
    pub(super) unknown_acks: u64,
}

/// Sums of numbers that a target states saturate: it may state any.
impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.optional = self.optional.saturating_add(other.optional);
        self.duplicated += other.duplicated;
        self.errors_received += other.errors_received;
        self.unknown_frames += other.unknown_frames;
        self.uncompared += other.uncompared;
        self.cut_off += other.cut_off;
        self.may_be_slow += other.may_be_slow;
        self.unfinished += other.unfinished;
        self.unresolved = self.unresolved.saturating_add(other.unresolved);
        self.unasked_byes += other.unasked_byes;
        self.lost += other.lost;
        self.irregular += other.irregular;
        self.after_wrong = self.after_wrong.saturating_add(other.after_wrong);
        self.not_followed += other.not_followed;
        self.disordered += other.disordered;
        self.misplaced = self.misplaced.saturating_add(other.misplaced);
        self.unknown_acks += other.unknown_acks;
    }
}

/// The k-th message of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) sender: SenderId,
    pub(super) k: u64,
}

/// A message as the receivers of one shard have it, which will say nothing more of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) message: Message,
    pub(super) figures: Settled,
    /// Nobody of the shard still waited for it when the run stopped listening.
    pub(super) is_complete: bool,
}

/// Something that was seen of a number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact {
    /// Its sender got the ack. If that was not in the order sent, two acks may have been exchanged,
    /// and the number be another message's.
    Acked {
        seq: u64,
        acked: Acked,
        in_order: bool,
    },
    /// Receivers of one shard got the same bytes.
    Relayed { seq: u64, relayed: Relayed },
}

/// A message that was acked under a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    pub(super) message: Message,
    /// When it was due.
    pub(super) intended_ns: u64,
    /// Before the send.
    pub(super) sent_ns: u64,
    /// After the ack was read.
    pub(super) acked_ns: u64,
}

/// A message that was relayed under a number, and to how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relayed {
    pub(super) message: Message,
    pub(super) intended_ns: u64,
    /// When its first and its last receiver saw it under that number.
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) receivers: u64,
    pub(super) first_receiver: SenderId,
}

impl Relayed {
    /// A relay as one receiver alone saw it.
    pub(super) fn once(message: Message, intended_ns: u64, receiver: SenderId, at_ns: u64) -> Self {
        Self {
            message,
            intended_ns,
            first_ns: at_ns,
            last_ns: at_ns,
            receivers: 1,
            first_receiver: receiver,
        }
    }
}

impl Fact {
    /// The number.
    pub(super) const fn seq(&self) -> u64 {
        match *self {
            Self::Acked { seq, .. } | Self::Relayed { seq, .. } => seq,
        }
    }

    /// When it was first seen.
    pub(super) const fn at_ns(&self) -> u64 {
        match self {
            Self::Acked { acked, .. } => acked.acked_ns,
            Self::Relayed { relayed, .. } => relayed.first_ns,
        }
    }
}
