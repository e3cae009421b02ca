//! Violations as data: the receiver it concerns, and every fact that its sentence needs. The
//! sentences are in [`words`](super::words).

use super::directory::ClientId;
use super::kind::Kind;
use super::ledger::Ending;
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Complaint, Malformed};

/// Bytes of an offending line that a violation quotes.
const QUOTED_BYTES: usize = 120;

/// The client that a violation concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A client of the run.
    Client(ClientId),
    /// A session whose client is forgotten.
    Session(SenderId),
}

/// A message, as a violation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageOf {
    /// Its sender.
    pub sender: Who,
    /// Its place among those of its session, from 1; 0 where that is not known.
    pub k: u64,
}

/// The beginning of what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// Its first bytes.
    pub begin: Box<[u8]>,
    /// How many bytes there were.
    pub len: usize,
}

impl Quote {
    /// Quotes `bytes`, as far as a violation does.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            begin: bytes[..bytes.len().min(QUOTED_BYTES)].into(),
            len: bytes.len(),
        }
    }
}

/// The text of an `error` frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorFrame {
    /// Its code.
    pub code: Box<str>,
    /// Its text for people.
    pub detail: Box<str>,
}

impl From<&Complaint<'_>> for ErrorFrame {
    fn from(complaint: &Complaint<'_>) -> Self {
        Self {
            code: (*complaint.code).into(),
            detail: (*complaint.detail).into(),
        }
    }
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The facts that show it.
    pub evidence: Evidence,
    /// The client that was owed something else, where that is one.
    pub receiver: Option<Who>,
    /// The message it is about, where it is one.
    pub message: Option<MessageOf>,
    /// The number that the target gave it, as the target states it.
    pub seq: Option<u64>,
    /// The room that it happened in.
    pub room: RoomId,
    /// When it was seen, ns since the run's epoch.
    pub at_ns: u64,
}

impl Violation {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.evidence.kind()
    }

    /// Of a lost message: nobody else got it either, so it is nobody's loss.
    pub(super) fn reached_nobody(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            self.evidence = Evidence::ReachedNobody(receiver);
        }
    }
}

/// The facts that show a violation: one variant for each sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A message that was owed and did not come.
    Lost(LossProof),
    /// An acked message that nobody got; one of the receivers that were there.
    ReachedNobody(Who),
    /// Numbers that were given to no message, up to this last one, and who noticed it by the
    /// numbers before and after.
    Skipped {
        /// The last of them, as the target states it.
        last: u64,
        /// The receiver that noticed.
        witness: Who,
    },
    /// A message that was neither acked nor refused.
    Unanswered(AnswerProof),
    /// A script waited for acks in vain.
    OverdueAcks {
        /// How long.
        within: Box<str>,
        /// For how many.
        waiting: u64,
    },
    /// A relay had not come when the run stopped listening, and was late by then.
    StillAwaited {
        /// How many others waited.
        others: u64,
        /// How long they had waited at least.
        waited_ns: u64,
        /// How long a delivery may take.
        limit_ns: u64,
    },
    /// A session that got no welcome, nor anything else.
    NeverWelcomed,
    /// A session whose first frame was no welcome but this.
    FirstFrame(&'static str),
    /// A session that half-closed and was closed without a bye.
    NoBye,
    /// A bye that says that a number is the last, where a larger one had come.
    ByeTooLow {
        /// The number that it says is the last.
        last: u64,
        /// The number that had come.
        came: u64,
    },
    /// The target ended a connection whose client had done nothing wrong.
    HungUp {
        /// It closed the connection, and did not break it.
        closed: bool,
        /// At which point of the session.
        stage: HangUp,
    },
    /// An error that a script waited for in vain.
    NoError {
        /// Its code.
        code: Box<str>,
        /// How long it was waited for.
        within: Box<str>,
    },

    /// An answer that a script waited for in vain.
    NoAnswer {
        /// The match that it did not meet.
        expected: Box<str>,
        /// How long it was waited for.
        within: Box<str>,
        /// What came instead; empty if nothing did that nothing else explains.
        instead: Box<str>,
    },

    /// The same message again.
    CameAgain,
    /// A text that a script sent came again.
    TextCameAgain,
    /// A message of which a smaller number is known.
    NumberedAgain,
    /// A message whose number an earlier message of its sender had to have.
    NumberedAfterLater,
    /// A message that everybody got after this later one of its sender.
    AllGotAfterLater(u64),
    /// A message that its receiver got after this later one of its sender.
    CameAfterLater(u64),
    /// A number that came after this larger one.
    Displaced {
        /// The larger number, as the target states it.
        after: u64,
        /// The order that this breaks.
        order: Order,
        /// So much was displaced that only the first is told.
        and_more: bool,
    },
    /// A number that came when it was not waited for any longer.
    CameAfterGivenUp {
        /// It was an ack, to the sender.
        is_ack: bool,
    },
    /// Two messages that came under each other's numbers.
    Exchanged {
        /// The number under which the others got the message, as the target states it.
        number: u64,
        /// The message that the others got under this number.
        other: MessageOf,
        /// That breaks the order of one sender's messages.
        one_sender: bool,
    },
    /// Two messages that the receiver got the other way round than it was owed.
    Inverted {
        /// The one that came first.
        first: MessageOf,
        /// They are one sender's.
        one_sender: bool,
    },
    /// A message that one receiver got after this one and another before it, among many.
    NoOrder {
        /// The message that the receiver got first.
        first: MessageOf,
        /// The receiver that got the two the other way round.
        other: Who,
    },
    /// A message that came before this one, which its sender had got when it sent it.
    EffectFirst(MessageOf),
    /// A message that its sender sent after it had seen this number, which is larger than its own.
    NumberedBelowSeen(u64),
    /// A message that was sent after somebody had seen a larger number.
    SentAfterSeen {
        /// The client that had seen it.
        by: Who,
        /// That was the sender itself.
        is_sender: bool,
    },
    /// A message that came before this one, which had been acked or relayed when it was sent.
    OrderedBeforeTaken(MessageOf),
    /// A message that was sent after the ack of another one, and has a smaller number.
    SentAfterAck {
        /// How long after.
        after_ns: u64,
        /// The one that was acked.
        acked: MessageOf,
        /// Its number, as the target states it.
        number: u64,
    },
    /// A number that was given to this message, too.
    NumberReused(MessageOf),
    /// The target began its numbers anew.
    NumberedAnew {
        /// The number that the receiver was welcomed at.
        welcome: u64,
        /// One that had been given out before it connected.
        known: u64,
        /// How many connections had broken off by then.
        broken_off: u64,
    },
    /// Delivered later than is promised.
    Late {
        /// How long after it was sent.
        took_ns: u64,
        /// How long a delivery may take.
        limit_ns: u64,
    },
    /// A message that the target had taken before its receiver began to connect.
    TakenBeforeConnect,
    /// A message numbered no larger than this, at which its receiver joined.
    NotOwed(u64),
    /// A sender got its own message relayed.
    Echoed,
    /// A relay that is wrong in itself, and how many others got the same.
    WrongRelay {
        /// The way in which it is wrong.
        what: WrongRelay,
        /// How many others got the same.
        others: u64,
    },
    /// A relay of a room that its receiver is not in.
    NotAMember {
        /// It had been in it, and left.
        had_left: bool,
        /// The text, where it is no message of the run.
        text: Option<Quote>,
    },
    /// A join that was in order and was refused.
    JoinRefused(ErrorFrame),
    /// The answer to a leave that nobody had asked for.
    PutOut,
    /// A relay under this number, which is another message's; it came in place of its own number.
    Misnumbered(u64),
    /// Bytes that are no frame.
    NoFrame(NoFrame),
    /// A welcome that names another address than the one its client connects from.
    WelcomedAs {
        /// The client's address.
        truth: Box<str>,
        /// The address that the welcome names.
        claimed: Box<str>,
    },

    /// An ack that came after that of a message sent later.
    AckAfterLater,
    /// The same ack again.
    AckedAgain,
    /// More acks than messages.
    TooManyAcks,
    /// The ack of a message, under this number, which is another's.
    AckMisnumbered(u64),
    /// The ack of a message, under the number of another one.
    AckUnderAnothers,
    /// An ack that nothing of the receiver's accounts for.
    StrayAck(StrayAck),
    /// A message that was acked and then refused.
    RefusedAfterAck(ErrorFrame),
    /// A message that was in order and was refused.
    RefusedInOrder(ErrorFrame),
    /// A script's publish that was in order and was refused.
    ScriptRefused(ErrorFrame),
    /// A message that was refused and relayed or acked all the same.
    TakenThoughRefused,
    /// An error before the welcome, which came all the same.
    ErrorBeforeWelcome,
    /// An error that nothing its receiver sent accounts for.
    StrayError {
        /// The message that it names.
        about: ErrorAbout,
        /// Its text.
        error: ErrorFrame,
    },
}

/// How it is known that a message will not come any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossProof {
    /// A larger number came.
    Number(u64),
    /// The bye says that this number was the last.
    LastNumber(u64),
    /// Messages that stand after it came.
    Later,
    /// The target said goodbye.
    Bye,
    /// The target closed the connection of a client that had left.
    Close,
}

/// How it is known that a message was to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerProof {
    /// Its sender read to the end.
    End,
    /// A later message of its sender was acked.
    LaterAck,
    /// A later message of its sender has a number, and all smaller ones are others'.
    LaterNumber,
    /// Its sender got larger numbers.
    LargerNumbers,
}

/// At which point of a session the target hung up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// Before it was welcomed.
    Connecting,
    /// While it was open.
    Open,
    /// When it had half-closed.
    Leaving,
}

/// An order that a receiver was owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Its acks and relays, as they are numbered.
    Answers,
    /// One sender's messages, as they were sent.
    OneSender,
    /// Everyone's messages, as all others got them.
    All,
}

/// A way in which a relay is wrong in itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrongRelay {
    /// It was altered.
    Altered(Quote),
    /// It came after the bye.
    AfterBye(Quote),
    /// It is of this other run.
    OtherRun(u32),
    /// It names a session that there never was.
    NoSuchSender(SenderId),
    /// It is a message that was never sent.
    NeverSent(MessageOf),
    /// It is a message of this other room.
    OtherRoom(RoomId),
    /// It names another address than its sender's.
    WrongAddress {
        /// The address that it names.
        claimed: Box<str>,
        /// That address is the receiver's.
        is_receivers: bool,
        /// The sender's.
        truth: Box<str>,
    },
    /// It is what a script sent, and was to be refused.
    Refused(Quote),
    /// It has no text.
    Blank,
    /// It is a text that nobody sent.
    Nobodys {
        /// The address that it names.
        from: Quote,
        /// The text.
        text: Quote,
    },
}

impl WrongRelay {
    /// The kind of violation that it is.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Altered(_) => Kind::AlteredRelay,
            Self::AfterBye(_) | Self::OtherRun(_) => Kind::StaleRelay,
            Self::OtherRoom(_) => Kind::WrongRoom,
            Self::WrongAddress { .. } => Kind::MisattributedRelay,
            Self::Refused(_) => Kind::RelayOfRejected,
            Self::NoSuchSender(_) | Self::NeverSent(_) | Self::Blank | Self::Nobodys { .. } => {
                Kind::PhantomRelay
            }
        }
    }
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoFrame {
    /// Bytes that the protocol does not take for one.
    Malformed {
        /// The fault, as its decoder words it; empty where it has no words for it.
        what: Box<str>,
        /// The bytes; empty where they are not shown.
        frame: Quote,
    },
    /// A number that no run comes to.
    TooLarge {
        /// The number.
        seq: u64,
        /// The one that was due.
        due: u64,
        /// All of it, if it is a relay.
        frame: Quote,
    },
    /// A second welcome.
    SecondWelcome,
    /// A second bye.
    SecondBye,
    /// The answer to a join that nobody had asked for.
    UnaskedJoined,
    /// The answer to a leave of a room that its receiver was not in.
    UnaskedLeft,
    /// An ack in a room that its receiver is not in.
    AckOutside,
    /// Bytes after the bye.
    AfterBye(Quote),
}

impl NoFrame {
    /// A frame that its decoder calls malformed.
    pub(super) fn malformed(malformed: &Malformed<'_>) -> Self {
        Self::Malformed {
            what: (*malformed.what).into(),
            frame: Quote::of(&malformed.frame),
        }
    }
}

/// An ack that nothing of its receiver's accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayAck {
    /// It is for a message that the receiver never sent.
    NeverSent,
    /// It is for a message of another's.
    Anothers,
    /// It names another sender, and no message.
    AnotherSenders,
    /// It names no message, where all are sent with an id.
    WithoutId,
    /// It is for nobody.
    Nobodys,
}

/// The message that an error names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorAbout {
    /// Nothing.
    Nothing,
    /// A message that nobody sent.
    NothingSent,
    /// A message of another's.
    Anothers,
}

impl Evidence {
    /// The target ended a connection in this way.
    pub(super) fn hung_up(ending: Ending, stage: HangUp) -> Self {
        Self::HungUp {
            closed: ending == Ending::Eof,
            stage,
        }
    }

    /// The kind of violation that it shows.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Lost(_) => Kind::LostRelay,
            Self::ReachedNobody(_) => Kind::AckWithoutRelay,
            Self::Skipped { .. } => Kind::SequenceGap,
            Self::NumberReused(_) | Self::NumberedAnew { .. } => Kind::SequenceReuse,
            Self::Unanswered(_)
            | Self::OverdueAcks { .. }
            | Self::RefusedInOrder(_)
            | Self::ScriptRefused(_) => Kind::MissingAck,
            Self::RefusedAfterAck(_) | Self::TakenThoughRefused => Kind::RelayOfRejected,
            Self::StillAwaited { .. } | Self::Late { .. } => Kind::LateRelay,
            Self::NeverWelcomed | Self::FirstFrame(_) | Self::JoinRefused(_) => {
                Kind::MissingWelcome
            }
            Self::NoBye | Self::ByeTooLow { .. } => Kind::MissingBye,
            Self::HungUp { .. } | Self::PutOut => Kind::UnexpectedClose,
            Self::NotAMember { .. } => Kind::WrongRoom,
            Self::NoError { .. } => Kind::MissingError,
            Self::NoAnswer { .. } => Kind::MissingAnswer,
            Self::ErrorBeforeWelcome | Self::StrayError { .. } => Kind::StrayError,
            Self::CameAgain | Self::TextCameAgain | Self::NumberedAgain => Kind::DuplicateRelay,
            Self::NumberedAfterLater | Self::AllGotAfterLater(_) | Self::CameAfterLater(_) => {
                Kind::ReorderedRelay
            }
            Self::Displaced { order, .. } => order.broken(),
            Self::CameAfterGivenUp { is_ack: true } | Self::AckAfterLater => Kind::ReorderedAck,
            Self::CameAfterGivenUp { is_ack: false } | Self::NoOrder { .. } => {
                Kind::OrderDivergence
            }
            Self::Exchanged { one_sender, .. } | Self::Inverted { one_sender, .. } => {
                match one_sender {
                    true => Kind::ReorderedRelay,
                    false => Kind::OrderDivergence,
                }
            }
            Self::EffectFirst(_)
            | Self::NumberedBelowSeen(_)
            | Self::SentAfterSeen {
                is_sender: true, ..
            } => Kind::Causality,
            Self::SentAfterSeen { .. }
            | Self::OrderedBeforeTaken(_)
            | Self::SentAfterAck { .. } => Kind::RealTime,
            Self::TakenBeforeConnect | Self::NotOwed(_) => Kind::StaleRelay,
            Self::Echoed => Kind::EchoedRelay,
            Self::WrongRelay { what, .. } => what.kind(),
            Self::Misnumbered(_) => Kind::AlteredRelay,
            Self::NoFrame(_) => Kind::MalformedFrame,
            Self::WelcomedAs { .. } => Kind::MisattributedRelay,
            Self::AckedAgain | Self::TooManyAcks => Kind::DuplicateAck,
            Self::AckMisnumbered(_) | Self::AckUnderAnothers | Self::StrayAck(_) => Kind::StrayAck,
        }
    }
}

impl Order {
    /// The kind of violation that it is where it is broken.
    pub(super) const fn broken(self) -> Kind {
        match self {
            Self::Answers => Kind::ReorderedAck,
            Self::OneSender => Kind::ReorderedRelay,
            Self::All => Kind::OrderDivergence,
        }
    }
}
