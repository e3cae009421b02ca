//! Anomalies: everything that departs from the expected course, to be judged with what all shards
//! know.
//!
//! A ledger makes an [`Anomaly`], the judge keeps it as it is until enough is known to judge it.

use super::batch::{Message, Relayed};
use super::violation::{Violation, WrongRelay};
use chatbench_wire::payload::SenderId;

/// Something that departs from the expected course.
#[derive(Debug, Clone)]
pub(super) enum Anomaly {
    /// It is judged when this number is settled.
    At(u64, Open),
    /// Numbers that did not come.
    Missing(Missing),
    /// A message whose session ended before its ack came.
    Unacked(Unacked),
    /// `receiver` was owed `message`, as far as is known: that is a violation, if nothing that is
    /// learned by the end of the run says otherwise.
    LostUnless {
        receiver: SenderId,
        message: Message,
        doubt: LossDoubt,
        violation: Violation,
    },
    /// A loss in a shard none of whose receivers got the message: only the judge knows whether
    /// those of another did.
    LostHere(LostHere),
    /// Something near `message` in the order of all messages is out of order: a loss that only that
    /// order proves is in doubt.
    DisorderNear { message: Message },
    /// `receiver` left, and the target answered: whatever it was owed has come by now, or will not.
    HadAll { receiver: SenderId },
    /// `receiver` got a message that had been given up.
    CameAfterAll {
        receiver: SenderId,
        message: Message,
    },
    /// `receiver` got it so long after others that it is either a message that was given up, or a
    /// repetition: then that is the violation.
    CameLongAfter {
        receiver: SenderId,
        message: Message,
        violation: Violation,
    },
    /// A client waited too long for the acks of these: one violation, unless each of them went to
    /// another client, which is a violation of its own.
    Overdue {
        messages: Vec<Message>,
        violation: Violation,
    },
    /// `message` was answered with an error, rightly unless there is a violation that says why not.
    Refused {
        message: Message,
        violation: Option<Violation>,
    },
    /// An error that nothing its receiver sent accounts for; `message` if it names another's: that
    /// one was refused, and its sender was not told.
    StrayError {
        message: Option<Message>,
        violation: Violation,
    },
    /// A refused message was acked all the same; or, if `forgotten`, a message was acked of which
    /// it is not known any more whether it was refused, echoed or acked before.
    AckOfRefused {
        message: Message,
        seq: u64,
        forgotten: bool,
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
        seq: u64,
        line: u64,
        irregular: Irregular,
    },
    /// A line that is wrong in itself, so many violations by what the receivers of one shard got of
    /// it: those of another may have got the same.
    WrongHere {
        line: u64,
        violations: u64,
        violation: Violation,
    },
    /// A violation that needs no further knowledge.
    Certain(Violation),
    /// The target closed a connection without what it owed at the end: a violation, unless the
    /// whole target went away.
    HungUp {
        /// The last number that its session had seen; [`NO_NUMBER`] where none are looked at.
        ///
        /// [`NO_NUMBER`]: super::batch::NO_NUMBER
        seen: u64,
        violation: Violation,
    },
    /// The target began its numbers anew: these are counted on from `added`.
    NumberedAnew { added: u64, violation: Violation },
}

/// A delivery that a receiver was owed and has not got, nor, as far as its shard knows, has anybody
/// else.
#[derive(Debug, Clone)]
pub(super) struct LostHere {
    pub(super) receiver: SenderId,
    pub(super) message: Message,
    pub(super) doubt: LossDoubt,
    /// It is counted, and no violation.
    pub(super) is_silent: bool,
    /// The message was acked.
    pub(super) is_acked: bool,
    /// That it was refused, or not answered, is on record.
    pub(super) is_reported: bool,
    /// The target may never have taken it, unless somebody got it.
    pub(super) may_be_none: bool,
    /// The violation if others got the message.
    pub(super) violation: Violation,
}

/// An anomaly that waits until a number is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    /// An intact message under a number that is another message to others.
    Conflict(Relayed),
    /// `message` was acked with a number that its sender had passed before it sent it.
    AckBelowSeen {
        message: Message,
        /// The last number its sender had seen when it sent it.
        seen: u64,
        at_ns: u64,
    },
    /// `message` was acked with a number that its sender had given up; or, if `forgotten`, may have
    /// given up.
    AckAfterAll {
        message: Message,
        forgotten: bool,
        at_ns: u64,
    },
    /// `receiver` got something under a number that it may have given up; `message` if it is one of
    /// its own.
    Came {
        receiver: SenderId,
        message: Option<Message>,
    },
    /// Delivered more than the promised time after it was due. The judge knows when it was really
    /// sent.
    Late {
        receiver: SenderId,
        message: Message,
        intended_ns: u64,
        at_ns: u64,
    },
    /// An intact message under a number that was not due; kept under the number that was.
    Claim(Contest),
    /// More than one message under a number: judged once the numbers around it are known.
    Contested(Contest),
    /// Two numbers that came the other way round; kept under the larger one.
    Displaced(Displaced),
    /// Kept under the number that was due, then under its own.
    LastFrame(LastFrame),
    /// Its sender got `message` relayed, as number `seq`. It is judged when its ack cannot show up
    /// astray any more.
    Echoed {
        seq: u64,
        message: Message,
        at_ns: u64,
    },
    /// This message's ack went to another.
    Stray(Message),
}

/// Numbers that a session has passed and never saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    pub(super) receiver: SenderId,
    pub(super) from: u64,
    /// The first number after them.
    pub(super) until: u64,
    pub(super) proof: Proof,
    /// They are not waited for any longer, and may come all the same.
    pub(super) given_up: bool,
    /// They were overtaken; so were others, which did come.
    pub(super) disordered: bool,
    pub(super) at_ns: u64,
}

/// A message whose session ended before its ack came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unacked {
    pub(super) message: Message,
    pub(super) by: NoAck,
    pub(super) at_ns: u64,
}

/// An intact message that `receiver` got under a number that is another's, or that was not due: one
/// that it had passed, one that was never owed to it, or one that no later frame confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contest {
    pub(super) receiver: SenderId,
    pub(super) seq: u64,
    pub(super) claim: Message,
    /// The number that was due, where that was another.
    pub(super) due: Option<u64>,
    /// The message that the number is; `None` if it is to be looked up.
    pub(super) truth: Option<Message>,
    /// The last number not owed, where `seq` was never owed.
    pub(super) joined: Option<u64>,
    pub(super) doubt: ClaimDoubt,
    pub(super) at_ns: u64,
}

/// `receiver` got number `low` after `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Displaced {
    pub(super) receiver: SenderId,
    pub(super) low: u64,
    pub(super) high: u64,
    /// One of the two is known to be the ack of a message of its own.
    pub(super) own: bool,
    /// Both are relays of one sender, which came to it out of the order sent.
    pub(super) fifo: bool,
    /// The moment from which on it had seen a later number.
    pub(super) since: Since,
    /// Where numbers come to it in no order: the number that was due when that began. All
    /// displacements in one such stretch have one cause.
    pub(super) disorder: Option<u64>,
    pub(super) at_ns: u64,
}

/// The moment from which a number is known to have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    /// The number that had come.
    pub(super) seq: u64,
    /// When it came.
    pub(super) at_ns: u64,
}

/// The last frame that came to `receiver` before its stream broke off, number `seq`, where `due`
/// was due: a wrong number, or the numbers from `from` on were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastFrame {
    pub(super) receiver: SenderId,
    pub(super) seq: u64,
    pub(super) message: Option<Message>,
    pub(super) due: u64,
    pub(super) from: u64,
    pub(super) at_ns: u64,
}

/// A line that is irregular in itself, and its first receiver.
#[derive(Debug, Clone)]
pub(super) struct Irregular {
    pub(super) receiver: SenderId,
    pub(super) message: Option<Message>,
    pub(super) what: WrongRelay,
    pub(super) at_ns: u64,
}

/// A reason why a number may not have come twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimDoubt {
    /// Nothing.
    None,
    /// There was no room to find out which message it was; its number is not missed.
    Unplaced,
    /// It had been given up.
    GivenUp,
    /// It may have been given up: that is forgotten.
    Forgotten,
}

/// Reasons why a loss may be none.
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
    /// Others near it are out of order: nothing that only the order proves is known then.
    pub(super) disordered: bool,
}

impl LossDoubt {
    /// Whether something that is learned later may say that it is none.
    pub(super) const fn is_any(self) -> bool {
        self.given_up || self.by_place || self.by_later
    }

    /// Whether it stays unknown that this is a loss, since only the order says so and messages near
    /// it are out of order; `had_all` if its receiver left with all that it was owed.
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
    /// Nothing that the session got proves it. It joined after this number; the message counts if
    /// the session had passed its number, or if a later one of its messages has a number and it has
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
