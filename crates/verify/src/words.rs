//! The sentences: every violation, and every reason why something could not be judged, put into
//! words. Nothing else under `verify` makes a sentence.

use std::fmt::{self, Display, Formatter};

use super::batch::Unjudged;
use super::findings::{Example, Reason, Undecided};
use super::ledger::MAX_SEQ;
use super::violation::{
    AnswerProof, ErrorAbout, ErrorFrame, Evidence, HangUp, LossProof, MessageOf, NoFrame, Order,
    Quote, StrayAck, Violation, Who, WrongRelay,
};
use chatbench_wire::rooms::{RoomId, RoomNames};

/// The sentence for a violation, with the names of the run's clients and rooms.
struct Sentence<'a> {
    violation: &'a Violation,
    clients: &'a [String],
    rooms: &'a RoomNames,
}

impl Violation {
    /// The violation in words and in numbers, with the names of the run's clients and rooms.
    #[must_use]
    pub fn example(&self, clients: &[String], rooms: &RoomNames) -> Example {
        let sentence = Sentence {
            violation: self,
            clients,
            rooms,
        };
        let name = |who: Who| Name(who, clients).to_string();
        let room = Some(self.room).filter(|room| room.is_named());
        Example {
            text: sentence.to_string(),
            room: room.map(|room| rooms.name(room).to_owned()),
            sender: self.message.map(|message| name(message.sender)),
            receiver: self.receiver.map(name),
            k: self.message.map(|message| message.k).filter(|&k| k > 0),
            seq: self.seq,
            at_ns: self.at_ns,
        }
    }
}

/// The name of a client.
struct Name<'a>(Who, &'a [String]);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Who::Client(client) => {
                let name = self.1.get(client.0 as usize);
                f.write_str(name.map_or("?", String::as_str))
            }
            Who::Session(session) => session.fmt(f),
        }
    }
}

/// `room lobby`. A name that could be taken for something else is quoted.
struct NamedRoom<'a>(RoomId, &'a RoomNames);

impl Display for NamedRoom<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.1.name(self.0);
        let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        match self.0 {
            RoomId::UNNAMED => f.write_str("the unnamed room"),
            RoomId::UNKNOWN => f.write_str("a room that is none of this run's"),
            _ if name.chars().all(is_plain) => write!(f, "room {name}"),
            _ => write!(f, "room {name:?}"),
        }
    }
}

/// A message: `message 3 of talkers-1`.
struct Described<'a>(MessageOf, &'a [String]);

impl Display for Described<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(MessageOf { sender, k }, clients) = *self;
        write!(f, "message {k} of {}", Name(sender, clients))
    }
}

/// ` (number 5)`; nothing where there is none.
struct Number(Option<u64>);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seq) => write!(f, " (number {seq})"),
            None => Ok(()),
        }
    }
}

/// ` and 2 others`; nothing where there are none.
struct Others(u64);

impl Display for Others {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str(" and one other"),
            n => write!(f, " and {n} others"),
        }
    }
}

struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0 as f64 / 1e9)
    }
}

/// The beginning of the bytes that came, fit for a terminal.
impl Display for Quote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.begin.escape_ascii())?;
        if self.begin.len() < self.len {
            write!(f, " … {} bytes", self.len)?;
        }
        Ok(())
    }
}

impl Display for ErrorFrame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.detail)
    }
}

impl Display for NoFrame {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { what, frame } if frame.len == 0 => f.write_str(what),
            Self::Malformed { what, frame } if what.is_empty() => frame.fmt(f),
            Self::Malformed { what, frame } => write!(f, "{what}: {frame}"),
            Self::TooLarge { seq, due, frame } => {
                write!(f, "number {seq}, where {due} was due")?;
                match frame.len {
                    0 => Ok(()),
                    _ => write!(f, ": {frame}"),
                }
            }
            Self::SecondWelcome => f.write_str("a second welcome"),
            Self::SecondBye => f.write_str("a second bye"),
            Self::UnaskedJoined => f.write_str("the answer to a join that it had not asked for"),
            Self::UnaskedLeft => f.write_str("the answer to a leave, and it was not there"),
            Self::AckOutside => f.write_str("an ack, and it is not there"),
            Self::AfterBye(bytes) => write!(f, "after the bye: {bytes}"),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "its acks and relays in one order",
            Self::OneSender => "each sender's messages in the order sent",
            Self::All => "everyone's messages in one order",
        })
    }
}

/// The proof of a loss, and whether the room has a name.
struct Proof(LossProof, bool);

impl Display for Proof {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(proof, named) = self;
        let bye = if *named {
            "the answer to its leave"
        } else {
            "its bye"
        };
        match proof {
            LossProof::Number(later) => write!(f, "it got number {later} without it"),
            LossProof::LastNumber(last) => {
                write!(f, "{bye} says that number {last} was its last")
            }
            LossProof::Later => f.write_str("it got later ones without it"),
            LossProof::Bye => write!(f, "it left, and {bye} came without it"),
            LossProof::Close => f.write_str("it left, and the target answered without it"),
        }
    }
}

impl Display for AnswerProof {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "read to its end",
            Self::LaterAck => "got the ack of a later one",
            Self::LaterNumber => "a later one, whose number shows that this one was given none",
            Self::LargerNumbers => "got later numbers",
        })
    }
}

impl<'a> Sentence<'a> {
    fn name(&self, who: Who) -> Name<'a> {
        Name(who, self.clients)
    }

    fn described(&self, message: MessageOf) -> Described<'a> {
        Described(message, self.clients)
    }

    /// The room that it happened in.
    fn room(&self) -> NamedRoom<'a> {
        NamedRoom(self.violation.room, self.rooms)
    }

    /// Whether that has a name, and the sentence does not say it itself.
    fn begins_with_room(&self) -> bool {
        let names_it = match &self.violation.evidence {
            Evidence::WrongRelay { what, .. } => matches!(what, WrongRelay::OtherRoom(_)),
            evidence => matches!(evidence, Evidence::NotAMember { .. }),
        };
        self.violation.room.is_named() && !names_it
    }

    /// What is only said of rooms, or is said otherwise of those that have a name: `false` if it is
    /// neither.
    fn of_room(&self, f: &mut Formatter<'_>) -> Result<bool, fmt::Error> {
        let (receiver, subject) = (self.receiver(), self.subject());
        let named = self.violation.room.is_named();
        match &self.violation.evidence {
            Evidence::NotAMember { had_left, text } => {
                write!(f, "{receiver} got ")?;
                match text {
                    Some(text) => write!(f, "a relay {text}")?,
                    None => write!(f, "{subject}")?,
                }
                let why = if *had_left { "had left" } else { "is not in" };
                write!(f, " in {}, which it {why}", self.room())?;
            }
            Evidence::JoinRefused(error) => {
                write!(f, "{receiver} asked to join and was refused: {error}")?;
            }
            Evidence::PutOut => {
                write!(
                    f,
                    "{receiver} was told that it had left, and had not asked to"
                )?;
            }
            Evidence::NeverWelcomed if named => {
                write!(f, "{receiver} asked to join and was never answered")?;
            }
            Evidence::FirstFrame(frame) if named => {
                write!(f, "{receiver} got a {frame} before the answer to its join")?;
            }
            Evidence::NoBye if named => {
                write!(f, "{receiver} left, and got no answer that says so")?;
            }
            Evidence::ByeTooLow { last, came } if named => write!(
                f,
                "{receiver} was told as it left that number {last} is the last, but number {came} \
                 had come"
            )?,
            Evidence::TakenBeforeConnect if named => write!(
                f,
                "{receiver} got {subject}, which the target had taken before {receiver} asked to \
                 join"
            )?,
            Evidence::NoFrame(NoFrame::SecondWelcome) if named => {
                write!(f, "{receiver} was told twice that it had joined")?;
            }
            Evidence::NoFrame(NoFrame::SecondBye) if named => {
                write!(f, "{receiver} was told twice that it had left")?;
            }
            Evidence::NoFrame(
                what @ (NoFrame::UnaskedJoined | NoFrame::UnaskedLeft | NoFrame::AckOutside),
            ) => write!(f, "{receiver} got {what}")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The receiver.
    fn receiver(&self) -> Name<'a> {
        self.name(self.violation.receiver.unwrap_or(NOBODY))
    }

    fn message(&self) -> MessageOf {
        let nothing = MessageOf {
            sender: NOBODY,
            k: 0,
        };
        self.violation.message.unwrap_or(nothing)
    }

    /// The sender of the message.
    fn sender(&self) -> Name<'a> {
        self.name(self.message().sender)
    }

    fn number(&self) -> Number {
        Number(self.violation.seq)
    }

    /// The message and its number, as far as they are known.
    fn subject(&self) -> Subject<'a> {
        Subject {
            message: self.violation.message.map(|m| self.described(m)),
            seq: self.violation.seq,
        }
    }

    fn wrong_relay(&self, what: &WrongRelay, others: u64, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} got ", self.receiver(), Others(others))?;
        let seq = self.violation.seq;
        let number = seq.is_some();
        match (self.violation.message, seq) {
            // For an altered one it is only a guess which message it was.
            (Some(_), _) if number || !matches!(what, WrongRelay::Altered(_)) => {
                write!(f, "{} ", self.subject())?;
            }
            (_, Some(seq)) => write!(f, "a relay numbered {seq} ")?,
            _ if matches!(what, WrongRelay::NeverSent(_)) => {}
            _ => f.write_str("a relay ")?,
        }
        match what {
            WrongRelay::Altered(text) if number => write!(f, "altered: {text}"),
            WrongRelay::Altered(text) => write!(f, "that was altered: {text}"),
            WrongRelay::AfterBye(text) => write!(f, "after its bye: {text}"),
            WrongRelay::OtherRoom(room) => write!(
                f,
                "in {}, and it was published in {}",
                self.room(),
                NamedRoom(*room, self.rooms)
            ),
            WrongRelay::OtherRun(run) => write!(f, "from another run ({run:08x})"),
            WrongRelay::NoSuchSender(sender) => write!(f, "from {sender}, which does not exist"),
            WrongRelay::NeverSent(message) => {
                write!(f, "{}, which was never sent", self.described(*message))
            }
            WrongRelay::WrongAddress {
                claimed,
                is_receivers,
                truth,
            } => {
                let whose = if *is_receivers {
                    "its own address, "
                } else {
                    ""
                };
                write!(f, "attributed to {whose}{claimed}, sent from {truth}")
            }
            WrongRelay::Refused(text) if number => write!(f, "refused before: {text}"),
            WrongRelay::Refused(text) => write!(f, "of what was to be refused: {text}"),
            WrongRelay::Blank if number => f.write_str("blank"),
            WrongRelay::Blank => f.write_str("without a text"),
            WrongRelay::Nobodys { from, text } => write!(
                f,
                "sent by no client of this run, in the name of {from} (the target made it up, or \
                 another client uses this target): {text}"
            ),
        }
    }

    fn stray_ack(&self, what: StrayAck, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, number) = (self.receiver(), self.number());
        match what {
            StrayAck::NeverSent => write!(
                f,
                "{name} was sent an ack for its message {}{number}, which it never sent",
                self.message().k
            ),
            StrayAck::Anothers => {
                let message = self.described(self.message());
                write!(f, "{name} was sent the ack for {message}{number}")
            }
            StrayAck::AnotherSenders => {
                write!(f, "{name} was sent an ack that is {}'s", self.sender())
            }
            StrayAck::WithoutId => write!(
                f,
                "{name} was sent an ack without id{number}; it sends all with one"
            ),
            StrayAck::Nobodys => write!(f, "{name} was sent an ack that is nobody's"),
        }
    }
}

/// Stands for a missing client in a violation that names none.
const NOBODY: Who = Who::Client(super::directory::ClientId(u32::MAX));

/// A message and its number, as far as they are known.
struct Subject<'a> {
    message: Option<Described<'a>>,
    seq: Option<u64>,
}

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.message, self.seq) {
            (Some(message), seq) => write!(f, "{message}{}", Number(seq)),
            (None, Some(seq)) => write!(f, "number {seq}"),
            (None, None) => f.write_str("a message"),
        }
    }
}

impl Display for Sentence<'_> {
    #[allow(clippy::too_many_lines)] // a sentence each
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (receiver, sender, subject) = (self.receiver(), self.sender(), self.subject());
        let (k, number) = (self.message().k, self.number());
        let seq = self.violation.seq.unwrap_or(0);
        if self.begins_with_room() {
            write!(f, "in {}, ", self.room())?;
        }
        if self.of_room(f)? {
            return Ok(());
        }
        match &self.violation.evidence {
            Evidence::NotAMember { .. } | Evidence::JoinRefused(_) | Evidence::PutOut => Ok(()),
            Evidence::Lost(proof) => {
                let proof = Proof(*proof, self.violation.room.is_named());
                write!(f, "{receiver} was owed {subject} and never got it: {proof}")
            }
            Evidence::ReachedNobody(witness) => write!(
                f,
                "{subject} was acked and relayed to none of the receivers present: {}, for one, \
                 never got it",
                self.name(*witness)
            ),
            Evidence::Skipped { last, witness } => {
                let witness = self.name(*witness);
                if seq == *last {
                    write!(
                        f,
                        "number {seq} was skipped: {witness} got what comes before and after it, \
                         and no session got anything under it"
                    )
                } else {
                    write!(
                        f,
                        "numbers {seq} to {last} were skipped: {witness} got what comes before and \
                         after them, and no session got anything under them"
                    )
                }
            }
            Evidence::Unanswered(proof) => write!(
                f,
                "{sender} sent its message {k} and {proof}, and was neither acked nor refused"
            ),
            Evidence::OverdueAcks { within, waiting } => {
                let acks = if *waiting == 1 { "ack" } else { "acks" };
                write!(
                    f,
                    "{receiver} waited {within} for {waiting} {acks} that did not come"
                )
            }
            Evidence::StillAwaited {
                others,
                waited_ns,
                limit_ns,
            } => write!(
                f,
                "{receiver}{} waited {} and more for {subject}, and it had not come when the run \
                 stopped listening; {} are allowed",
                Others(*others),
                Seconds(*waited_ns),
                Seconds(*limit_ns)
            ),
            Evidence::NeverWelcomed => write!(f, "{receiver} connected and was never welcomed"),
            Evidence::FirstFrame(frame) => write!(
                f,
                "{receiver} got a {frame} as its first frame, where its welcome was owed"
            ),
            Evidence::NoBye => write!(f, "{receiver} half-closed and was closed without a bye"),
            Evidence::ByeTooLow { last, came } => write!(
                f,
                "{receiver} was told by its bye that number {last} is the last, but number {came} \
                 had come"
            ),
            Evidence::HungUp { closed, stage } => {
                let how = if *closed { "closed" } else { "broke" };
                let when = match stage {
                    HangUp::Connecting => ", before any welcome",
                    HangUp::Open => "",
                    HangUp::Leaving => " and was leaving",
                };
                write!(
                    f,
                    "the target {how} the connection of {receiver}, which did nothing wrong{when}"
                )
            }
            Evidence::NoError { code, within } => write!(
                f,
                "{receiver} expected an error `{code}` within {within}, and none came"
            ),
            Evidence::NoAnswer {
                expected,
                within,
                instead,
            } => {
                write!(
                    f,
                    "{receiver} expected {expected} within {within}, and it did not come"
                )?;
                match &**instead {
                    "" => Ok(()),
                    instead => write!(f, "; what came instead: {instead}"),
                }
            }
            Evidence::CameAgain if self.violation.seq.is_some() => {
                write!(f, "{receiver} got {subject} a second time")
            }
            Evidence::CameAgain => write!(f, "{receiver} got {subject} again"),
            Evidence::TextCameAgain => write!(f, "{receiver} got a scripted text{number} again"),
            Evidence::NumberedAgain => write!(
                f,
                "{subject} had a smaller number before: it was relayed to all again"
            ),
            Evidence::NumberedAfterLater => write!(
                f,
                "{subject} is numbered after a message that its sender sent later"
            ),
            Evidence::AllGotAfterLater(later) => write!(
                f,
                "{subject} was relayed to all after message {later}, which its sender sent later"
            ),
            Evidence::CameAfterLater(later) => write!(
                f,
                "{receiver} got {subject} after message {later}: it was owed {}",
                Order::OneSender
            ),
            Evidence::Displaced {
                after,
                order,
                and_more,
            } => {
                let rest = match and_more {
                    true => ", and so many came out of it that the rest are not listed one by one",
                    false => "",
                };
                write!(
                    f,
                    "{receiver} got {subject} after number {after}: it was owed {order}{rest}"
                )
            }
            Evidence::CameAfterGivenUp { is_ack: false } => write!(
                f,
                "{receiver} got {subject} so long after later numbers that it was given up: it was \
                 owed {}",
                Order::All
            ),
            Evidence::CameAfterGivenUp { is_ack: true } => write!(
                f,
                "{receiver} got the ack of its message {k}{number} so long after later numbers that \
                 it was given up: it was owed {}",
                Order::Answers
            ),
            Evidence::Exchanged {
                number,
                other,
                one_sender,
            } => {
                let how = match one_sender {
                    true => "out of the order they were sent in",
                    false => "in another order than the others",
                };
                write!(
                    f,
                    "{receiver} got {}{} as number {seq}, which is {}: it saw the two {how}",
                    self.described(self.message()),
                    Number(Some(*number)),
                    self.described(*other),
                )
            }
            Evidence::Inverted { first, one_sender } => {
                let (than, order) = match one_sender {
                    true => ("they were sent", Order::OneSender),
                    false => ("others did", Order::All),
                };
                write!(
                    f,
                    "{receiver} got {subject} and {} the other way round than {than}: it was owed \
                     {order}",
                    self.described(*first),
                )
            }
            Evidence::NoOrder { first, other } => write!(
                f,
                "no order at all: {receiver} got {} before {subject}, and {} the other way round, \
                 among so many that from here on they are not compared one by one",
                self.described(*first),
                self.name(*other),
            ),
            Evidence::EffectFirst(cause) => write!(
                f,
                "{sender} had got {} when it sent its message {k}, which came before it",
                self.described(*cause),
            ),
            Evidence::NumberedBelowSeen(seen) => write!(
                f,
                "{sender} sent its message {k} after it had seen number {seen}, and it became \
                 number {seq}: an effect before its cause"
            ),
            Evidence::SentAfterSeen { by, .. } => write!(
                f,
                "{subject} was sent after {} had seen a later number, and is ordered before it",
                self.name(*by)
            ),
            Evidence::OrderedBeforeTaken(taken) => write!(
                f,
                "{subject} was sent after {} had been acked or relayed, and came before it",
                self.described(*taken)
            ),
            Evidence::SentAfterAck {
                after_ns,
                acked,
                number,
            } => write!(
                f,
                "{subject} was sent {} µs after the ack of {}{}, and is ordered before it",
                after_ns.div_ceil(1000),
                self.described(*acked),
                Number(Some(*number)),
            ),
            Evidence::NumberReused(first) => write!(
                f,
                "number {seq} was given to two messages: {} and {}",
                self.described(*first),
                self.described(self.message()),
            ),
            Evidence::NumberedAnew {
                welcome,
                known,
                broken_off,
            } => {
                write!(
                    f,
                    "the numbers began anew: {receiver} was welcomed at number {welcome}, though \
                     number {known} had been given out before it {}",
                    match self.violation.room.is_named() {
                        true => "asked to join",
                        false => "connected",
                    }
                )?;
                match broken_off {
                    0 => Ok(()),
                    1 => f.write_str("; one connection had broken off by then"),
                    n => write!(f, "; {n} connections had broken off by then"),
                }
            }
            Evidence::Late { took_ns, limit_ns } => write!(
                f,
                "{receiver} got {subject} {} after it was sent; {} are allowed",
                Seconds(*took_ns),
                Seconds(*limit_ns)
            ),
            Evidence::TakenBeforeConnect => write!(
                f,
                "{receiver} got {subject}, which the target had taken before {receiver} began to \
                 connect"
            ),
            Evidence::NotOwed(joined) => write!(
                f,
                "{receiver} joined after number {joined} and was sent {subject}, which it was not \
                 owed"
            ),
            Evidence::Echoed => write!(
                f,
                "{sender} was relayed its own message {k}{number}: a sender gets the ack alone"
            ),
            Evidence::WrongRelay { what, others } => self.wrong_relay(what, *others, f),
            Evidence::Misnumbered(claimed) => write!(
                f,
                "{receiver} got {}, which is number {seq}, as number {claimed}",
                self.described(self.message())
            ),
            Evidence::NoFrame(what) => write!(f, "{receiver} got what is no frame: {what}"),
            Evidence::WelcomedAs { truth, claimed } => {
                write!(
                    f,
                    "{receiver} connected from {truth} and was welcomed as {claimed}"
                )
            }
            Evidence::AckAfterLater => write!(
                f,
                "{receiver} got the ack of its message {k}{number} after the ack of a message \
                 that it sent later"
            ),
            Evidence::AckedAgain => match self.violation.seq {
                Some(seq) => write!(
                    f,
                    "{receiver} was acked its message {k} twice, now as number {seq}"
                ),
                None => write!(f, "{receiver} was acked its message {k} twice"),
            },
            Evidence::TooManyAcks => write!(f, "{receiver} got more acks than it sent messages"),
            Evidence::AckMisnumbered(claimed) => write!(
                f,
                "{receiver} got the ack of its message {k} as number {claimed}, where number {seq} \
                 was due"
            ),
            Evidence::AckUnderAnothers => write!(
                f,
                "{receiver} got the ack of {subject}, which is another's number"
            ),
            Evidence::StrayAck(what) => self.stray_ack(*what, f),
            Evidence::RefusedAfterAck(error) => write!(
                f,
                "{receiver} was acked its message {k}, and then it was refused: {error}"
            ),
            Evidence::RefusedInOrder(error) => write!(
                f,
                "{receiver} sent its message {k} as the protocol has it, and it was refused: \
                 {error}"
            ),
            Evidence::ScriptRefused(error) => write!(
                f,
                "{receiver} sent a publish byte for byte, as the protocol has it, and it was \
                 refused: {error}"
            ),
            Evidence::TakenThoughRefused => {
                let message = self.described(self.message());
                write!(f, "{message} was answered with an error, and ")?;
                match self.violation.seq {
                    Some(seq) => write!(f, "became number {seq} all the same"),
                    None => f.write_str("was relayed or acked all the same"),
                }
            }
            Evidence::ErrorBeforeWelcome => write!(
                f,
                "{receiver} got an error before its welcome, and was not turned away"
            ),
            Evidence::StrayError { about, error } => {
                write!(
                    f,
                    "{receiver} got an error that nothing it sent accounts for"
                )?;
                match about {
                    ErrorAbout::Nothing => {}
                    ErrorAbout::NothingSent => f.write_str(", about a message that nobody sent")?,
                    ErrorAbout::Anothers => write!(f, ", about {subject}")?,
                }
                write!(f, ": {error}")
            }
        }
    }
}

impl Display for Unjudged {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            messages, findings, ..
        } = self;
        let since = self.since_ns.unwrap_or_default() as f64 / 1e9;
        write!(
            f,
            "the verifier was behind when the run had to end, and {messages} messages, from \
             {since:.1} s into the run on, and {findings} findings were left unjudged: lower the \
             load, or give run.drain more time"
        )
    }
}

impl Display for Undecided {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(reason, count) = *self;
        let what = match reason {
            Reason::UnaskedByes => {
                return write!(
                    f,
                    "the target said goodbye to {count} sessions that had not asked for it: it was \
                     shut down"
                );
            }
            Reason::NotFollowed => {
                return write!(
                    f,
                    "{count} sessions came to numbers over {MAX_SEQ}, the largest that is followed"
                );
            }
            Reason::Unfinished if count == 1 => {
                "session ended without a bye, so what it was still owed is not known"
            }
            Reason::CutOff => {
                "clients that never stopped reading were cut off as slow consumers: the generator \
                 or the target could not keep up; lower the rate or the number of clients"
            }
            Reason::MayBeSlow => {
                "clients were hung up on with much left to read: perhaps as slow consumers, since \
                 the generator could not keep up; lower the rate or the number of clients"
            }
            Reason::Unfinished => {
                "sessions ended without a bye, so what they were still owed is not known"
            }
            Reason::AfterWrong => {
                "deliveries did not come where more wrong lines had than are remembered, or before \
                 a wrong line at the end of a stream: whether they were lost, or came as one of \
                 these, is not known"
            }
            Reason::Uncompared => {
                "deliveries came so far behind the others that they were checked only for \
                 themselves, not against what the others got"
            }
            Reason::UnknownAcks => {
                "messages were not acked, where more of their sender's had been refused or echoed \
                 than are remembered: whether these had is not known"
            }
            Reason::Losses => {
                "deliveries did not come, when too much was under way to tell what they were: lost \
                 relays, missing acks or numbers given to nothing"
            }
            Reason::Gaps => {
                "runs of numbers came to nobody, besides so many others that it is not known \
                 whether they were given to messages that were not acked"
            }
            Reason::Unanswered => {
                "messages were not acked, or were refused, besides so many others that it is not \
                 known whether their acks went to other clients or they were relayed all the same"
            }
            Reason::Repeats => {
                "violations came so long after others, or with so many of them, that it is not \
                 known whether they had been counted before"
            }
            Reason::Contested => {
                "frames came under numbers that were not due, or are another message's, when too \
                 much was under way to tell what they were"
            }
            Reason::HungUp => {
                "connections were closed, so many that it is not known whether it was when the \
                 target began its numbers anew"
            }
            Reason::Misplaced => {
                "deliveries did not come, and only their place among others says that they were \
                 owed, or will not come any more: near them others are out of order"
            }
            Reason::Disordered => {
                "deliveries came out of the order of the others, so many that they were not judged \
                 one by one"
            }
        };
        write!(f, "{count} {what}")
    }
}
