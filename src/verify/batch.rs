//! What a shard's [`Ledger`](super::ledger::Ledger) hands to the [`Judge`](super::judge::Judge):
//! facts about messages, and whatever did not go by the book.
//!
//! A delivery that goes by the book costs a comparison and a counter and is not in here. Facts are
//! a few words for each *message*; anomalies are rare unless the target is broken.

use super::findings::{Coverage, Example};
use super::judge::Settled;
use super::kind::Kind;
use super::outstanding::Cut;
use super::session::Since;
use crate::wire::payload::SenderId;

/// Stands for a number where the target states none (or none is looked at).
pub(super) const NO_NUMBER: u64 = u64::MAX - 1;

/// Everything a shard has learned since its last batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Every observation of this shard about numbers under this one has been handed over.
    pub(super) watermark: u64,
    pub(super) facts: Vec<Fact>,
    /// Messages of which all is known, where numbers do not say when that is.
    pub(super) settled: Vec<Settled>,
    pub(super) anomalies: Vec<Anomaly>,
    pub(super) ended: Vec<Ended>,
    /// What the sessions that are cut now still waited for.
    pub(super) cut: Cut,
    pub(super) tally: Tally,
    pub(super) coverage: Coverage,
    /// What was not judged for want of time.
    pub(super) unjudged: Unjudged,
}

/// What was not judged for want of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unjudged {
    /// Messages of which some deliveries were not.
    pub(super) messages: u64,
    /// What ledgers had found, and nobody held against what others had.
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

/// Entries of one batch past which no more should be added before it is handed over.
const FULL: usize = 16_384;

impl Batch {
    /// Whether whoever adds to it is to wait until it is handed over.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= FULL
    }

    /// Entries that the judge will have to look at.
    pub(super) fn len(&self) -> usize {
        self.facts.len() + self.settled.len() + self.anomalies.len()
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
    /// Deliveries that fell out of the window: checked for themselves, not against the others'.
    pub(super) uncompared: u64,
    /// Sessions that the target cut off as slow although their script never stopped reading.
    pub(super) cut_off: u64,
    /// Sessions that the target ended while they had much to read: perhaps as slow.
    pub(super) may_be_slow: u64,
    /// Sessions whose tail is not proved: no bye when the time was up.
    pub(super) unfinished: u64,
    /// Numbers that these sessions, and those the target hung up on, had not seen by then.
    pub(super) unresolved: u64,
    /// Byes that no client had asked for: the target was shutting down.
    pub(super) unasked_byes: u64,
    /// Owed deliveries proved missing, where the ledger itself decides that.
    pub(super) lost: u64,
    /// Owed deliveries in the place of which a wrong line came, where the ledger itself decides that.
    pub(super) irregular: u64,
    /// Deliveries that did not come, where more lines that were wrong in themselves had than are
    /// remembered: one of these may have stood for them.
    pub(super) behind_wrong: u64,
    /// Sessions whose numbers are too large to be followed.
    pub(super) not_followed: u64,
    /// Deliveries out of order, among so many that they were not judged one by one.
    pub(super) disordered: u64,
    /// Deliveries that did not come before their sessions were cut, among others that were
    /// overtaken and did.
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
        self.behind_wrong = self.behind_wrong.saturating_add(other.behind_wrong);
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

/// Something that was seen of a number.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// Its sender got the ack.
    Acked {
        seq: u64,
        message: Message,
        /// When it was due.
        intended_ns: u64,
        /// Before the send.
        sent_ns: u64,
        /// After the ack was read.
        acked_ns: u64,
        /// In the order sent. If not, two acks may have been exchanged, and the number be another
        /// message's.
        in_order: bool,
    },
    /// Receivers of one shard got these same bytes.
    Relayed {
        seq: u64,
        message: Message,
        intended_ns: u64,
        first_ns: u64,
        last_ns: u64,
        receivers: u64,
        first_receiver: SenderId,
    },
}

impl Fact {
    /// The number.
    pub(super) fn seq(&self) -> u64 {
        match *self {
            Self::Acked { seq, .. } | Self::Relayed { seq, .. } => seq,
        }
    }
}

/// Something that did not go by the book, to be judged with what all shards know.
#[derive(Debug, Clone)]
pub(super) enum Anomaly {
    /// `receiver` is past these numbers and never saw them.
    Missing {
        receiver: SenderId,
        from: u64,
        /// The first number after them.
        until: u64,
        proof: Proof,
        /// They are not waited for any longer, and may come all the same.
        given_up: bool,
        /// They were overtaken, as others were that did come.
        disordered: bool,
        at_ns: u64,
    },
    /// `receiver` was owed `message`, as far as is known: that is a violation, if nothing that is
    /// learned by the end of the run says otherwise.
    LostUnless {
        kind: Kind,
        receiver: SenderId,
        message: Message,
        doubt: LossDoubt,
        example: Example,
    },
    /// Something near `message` in the order of all is out of it: what only that order says of who
    /// lost it is in doubt.
    DisorderNear { message: Message },
    /// `receiver` left, and the target answered: whatever it was owed has come by now, or will not.
    HadAll { receiver: SenderId },
    /// `receiver` got what was given up.
    CameAfterAll {
        receiver: SenderId,
        message: Message,
    },
    /// `receiver` got it so long after others that it may be what was given up, or else it came
    /// again: then that is the example.
    CameLongAfter {
        receiver: SenderId,
        message: Message,
        example: Example,
    },
    /// `receiver` got an intact message as number `seq`, which is another to others of its shard.
    Conflict {
        receiver: SenderId,
        seq: u64,
        claim: Message,
        intended_ns: u64,
        at_ns: u64,
    },
    /// `message` was acked with a number that its sender had passed before it sent it.
    AckBehind {
        seq: u64,
        message: Message,
        /// The last number its sender had seen when it sent it.
        seen: u64,
        at_ns: u64,
    },
    /// `message` was acked with a number that its sender had given up, or whether it had is
    /// `forgotten`.
    AckAfterAll {
        seq: u64,
        message: Message,
        forgotten: bool,
        at_ns: u64,
    },
    /// `receiver` got something under a number that it may have given up; `message` if it is one of
    /// its own.
    NumberCame {
        receiver: SenderId,
        seq: u64,
        message: Option<Message>,
    },
    /// The session of `message` ended before its ack came.
    Unacked {
        message: Message,
        by: NoAck,
        at_ns: u64,
    },
    /// A client waited too long for the acks of these: one violation, the example, unless every one
    /// of them went to another, which is one itself.
    Overdue {
        messages: Vec<Message>,
        example: Example,
    },
    /// `message` was answered with an error, rightly unless there is an example that says why not.
    Refused {
        message: Message,
        example: Option<Example>,
    },
    /// An error that nothing its receiver sent accounts for; `message` if it names another's: that
    /// one was refused, and its sender was not told.
    StrayError {
        message: Option<Message>,
        example: Example,
    },
    /// A refused message was acked all the same, or one of which it is `forgotten` whether it was
    /// refused, echoed or acked before.
    AckOfRefused {
        message: Message,
        seq: u64,
        forgotten: bool,
        at_ns: u64,
    },
    /// `receiver` got an intact message under a number that was not due: one that it had passed,
    /// one that was never owed to it, or one that no later frame bore out.
    Claim {
        receiver: SenderId,
        seq: u64,
        message: Message,
        /// The number that was due.
        due: u64,
        /// The last number not owed, where `seq` is none that ever was.
        joined: Option<u64>,
        doubt: ClaimDoubt,
        at_ns: u64,
    },
    /// The last that came to `receiver` before its stream broke off was number `seq`, where `due`
    /// was due: a wrong number, or the numbers from `from` on were lost.
    LastWord {
        receiver: SenderId,
        seq: u64,
        message: Option<Message>,
        due: u64,
        from: u64,
        at_ns: u64,
    },
    /// `receiver` got `low` behind `high`, which it had seen by `since_ns`.
    Displaced {
        receiver: SenderId,
        low: u64,
        high: u64,
        /// Either is known to be the ack of a message of its own.
        own: bool,
        /// One sender's relays came to it out of the order sent by that.
        fifo: bool,
        since: Since,
        /// Where the numbers come to it in no order: the number that was due when that began. What
        /// is displaced in one such stretch has one cause.
        disorder: Option<u64>,
        at_ns: u64,
    },
    /// Its sender got `message` relayed.
    Echoed {
        seq: u64,
        message: Message,
        at_ns: u64,
    },
    /// `receiver` was acked a message that is another's, or that nobody sent.
    StrayAck {
        receiver: SenderId,
        seq: u64,
        message: Option<Message>,
        at_ns: u64,
    },
    /// A line under `seq` that is wrong in itself. Alike for several receivers it is one
    /// violation: `line` is the hash of its bytes.
    Irregular {
        kind: Kind,
        receiver: SenderId,
        seq: u64,
        line: u64,
        message: Option<Message>,
        text: String,
        at_ns: u64,
    },
    /// Delivered more than the promised time after it was due. The judge knows when it was really
    /// sent.
    Late {
        receiver: SenderId,
        seq: u64,
        message: Message,
        intended_ns: u64,
        at_ns: u64,
    },
    /// A violation that needs no further knowledge.
    Certain(Kind, Example),
    /// The target closed a connection without what it owed at the end: a violation of that kind,
    /// unless the whole target went away.
    HungUp {
        kind: Kind,
        /// The last number that its session had seen; [`NO_NUMBER`] where none are looked at.
        seen: u64,
        example: Example,
    },
    /// The target began its numbers anew: these are counted on from `added`.
    NumberedAnew { added: u64, example: Example },
}

/// What may say that a number did not come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimDoubt {
    /// Nothing.
    None,
    /// There was no room to find out what it was; its number is not missed.
    Unplaced,
    /// It had been given up.
    GivenUp,
    /// It may have been given up: that is forgotten.
    Forgotten,
}

/// What may say that a loss is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LossDoubt {
    /// It is not waited for any longer, and may come all the same.
    pub(super) given_up: bool,
    /// Only its place among others says that it was owed.
    pub(super) by_place: bool,
    /// Only what came later says that it will not come.
    pub(super) by_later: bool,
    /// Only a closed connection says that it will not come: it may have been the whole target.
    pub(super) by_close: bool,
    /// Others near it are out of order: what only the order says is not known, then.
    pub(super) disordered: bool,
}

impl LossDoubt {
    /// Whether something that is learned later may say that it is none.
    pub(super) const fn is_any(self) -> bool {
        self.given_up || self.by_place || self.by_later
    }

    /// Whether it is not known that this is a loss, since only the order says so, and others near it
    /// are out of that; `had_all` if its receiver left with all that it was owed.
    pub(super) const fn is_undecided(self, had_all: bool) -> bool {
        self.disordered && (self.by_place || self.by_later && !had_all)
    }
}

/// How it is known that a message was to be answered by the end of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAck {
    /// The target said goodbye, and so that all is answered.
    ByBye,
    /// It acked a later message of the session.
    ByLaterAck,
    /// Not by anything that the session got, which joined behind this number. It counts if the
    /// session had passed its number, or if a later one of its messages has a number and it has
    /// none.
    Unknown {
        /// The last number that it was not owed.
        joined: u64,
    },
}

/// How it is known that a number will not come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A later number came.
    Later(u64),
    /// The bye counted it in.
    Bye(u64),
}
