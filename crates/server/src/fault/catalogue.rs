//! The catalogue: each fault with its name, its effect, the kinds of violation that it must be
//! reported as, and the needs of a scenario that shows it. The names are a contract; so are the
//! kinds they map to.

use std::fmt;

use chatbench_wire::Dialect;

/// The occasion on which a fault may be committed; a rate counts these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// A message is numbered; the fault affects one of its receivers, which is drawn.
    Message,
    /// A client joins: the server, or a room with a name.
    Join,
    /// A client leaves: by a half-close, or a room with a name.
    Leave,
    /// The server answers a line with an error.
    Error,
    /// A read or a line of the fault's kind comes in.
    Input,
}

impl Chance {
    /// A rate of `once` takes one of this many first chances, drawn from the seed. Joins, leaves
    /// and errors are few in most runs, messages are many.
    pub(super) const fn once_within(self) -> u64 {
        match self {
            Self::Message => 100,
            Self::Join | Self::Leave | Self::Error => 6,
            Self::Input => 10,
        }
    }

    /// In words, for the list of faults.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Join => "join",
            Self::Leave => "polite leave",
            Self::Error => "refused line",
            Self::Input => "such input",
        }
    }
}

/// A fault's entry in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The server's wrong behaviour.
    pub breaks: &'static str,
    /// The kinds of violation, one of which it must be reported as.
    pub reported_as: &'static [&'static str],
    /// The unit that a rate counts.
    pub chance: Chance,
    /// The needs of a scenario for it to happen or to be seen; empty if any traffic will do.
    pub needs: &'static str,
}

macro_rules! faults {
    ($($variant:ident = $name:literal => $kinds:expr, $chance:ident, $breaks:literal, $needs:literal;)+) => {
        /// A fault of the catalogue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // `entry` describes each
        pub enum Fault {
            $($variant,)+
        }

        impl Fault {
            /// Every fault, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that it is asked for by.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its entry in the catalogue.
            #[must_use]
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$variant => Entry {
                        breaks: $breaks,
                        reported_as: &$kinds,
                        chance: Chance::$chance,
                        needs: $needs,
                    },)+
                }
            }
        }
    };
}

faults! {
    DropRelay = "drop-relay" => ["lost-relay"], Message,
        "one receiver is not sent a message", "";
    DropTail = "drop-tail" => ["lost-relay"], Join,
        "a client that leaves politely is not sent the last message before its bye",
        "clients that leave while others talk";
    LateJoin = "late-join" => ["lost-relay"], Join,
        "a newcomer is not sent the first message after its welcome", "";
    StarveOne = "starve-one" => ["lost-relay"], Message,
        "from some message on, one receiver is sent none", "";
    DuplicateRelay = "duplicate-relay" => ["duplicate-relay"], Message,
        "one receiver is sent a message twice running", "";
    ReplayStale = "replay-stale" => ["duplicate-relay"], Message,
        "one receiver is sent a message again, 20 messages later", "";
    SwapSameSender = "swap-same-sender" => ["reordered-relay"], Message,
        "one receiver is sent two messages of one sender in the wrong order",
        "a sender with two messages on the way";
    SwapSenders = "swap-senders" => ["order-divergence"], Message,
        "one receiver is sent two senders' messages in another order than everyone else",
        "two senders";
    EffectFirst = "effect-first" => ["causality"], Error,
        "a message is ordered before one that its sender had read before it wrote",
        "a client that publishes after an error it waited for, beside another that talks";
    RenumberLate = "renumber-late" => ["real-time"], Input,
        "a message sent after another's ack is ordered before it",
        "clients that publish, wait for the ack and reset, beside one that publishes after an error";
    FlipByte = "flip-byte" => ["altered-relay"], Message,
        "one receiver is sent a message with one character changed", "";
    TruncateMessage = "truncate-message" => ["altered-relay"], Message,
        "one receiver is sent the first half of a message", "";
    InventMessage = "invent-message" => ["phantom-relay"], Message,
        "everyone is sent a message that nobody published", "";
    BlankRelay = "blank-relay" => ["phantom-relay"], Message,
        "one receiver is sent a blank message in place of one", "";
    BeforeJoin = "before-join" => ["stale-relay"], Join,
        "a newcomer is sent a message from before its welcome",
        "clients that join while others talk";
    Echo = "echo" => ["echoed-relay"], Message,
        "a sender is relayed its own message, besides the ack", "";
    WrongSender = "wrong-sender" => ["misattributed-relay"], Message,
        "one receiver is told another sender's address", "";
    RelayNamesRecipient = "relay-names-recipient" => ["misattributed-relay"], Message,
        "one receiver is told its own address as the sender's (the original does it to all)", "";
    DropAck = "drop-ack" => ["missing-ack"], Message,
        "a message is relayed and not acked", "";
    DoubleAck = "double-ack" => ["duplicate-ack"], Message,
        "a message is acked twice", "";
    SwapAcks = "swap-acks" => ["reordered-ack"], Message,
        "the acks of two messages change places", "a sender of two messages in a row";
    MisrouteAck = "misroute-ack" => ["stray-ack"], Message,
        "an ack goes to a client that did not send the message", "";
    SpoofableAck = "spoofable-ack" => ["stray-ack"], Input,
        "an ack goes to whom the publish claims to be from, and its sender is relayed it (the original's)",
        "a client that claims another's address";
    AckThenLose = "ack-then-lose" => ["ack-without-relay"], Message,
        "a message is acked and relayed to nobody", "";
    RelayRejected = "relay-rejected" => ["relay-of-rejected"], Error,
        "a line that was answered with an error is relayed all the same",
        "a client that sends what is no frame";
    SkipNumber = "skip-number" => ["sequence-gap"], Message,
        "a number is given to no message", "";
    ReuseNumber = "reuse-number" => ["sequence-reuse"], Message,
        "a number is given to two messages", "";
    TornFrame = "torn-frame" => ["malformed-frame"], Message,
        "one receiver is sent half a frame, and another right behind it", "";
    GarbageFrame = "garbage-frame" => ["malformed-frame"], Message,
        "one receiver is sent a line that is no frame", "";
    StrayError = "stray-error" => ["stray-error"], Message,
        "one receiver is sent an error that nothing it sent accounts for", "";
    NoWelcome = "no-welcome" => ["missing-welcome"], Join,
        "a client is sent no welcome", "";
    NoBye = "no-bye" => ["missing-bye"], Leave,
        "a client that leaves politely is sent no bye", "";
    HangUp = "hang-up" => ["unexpected-close"], Message,
        "the connection of a client that did nothing wrong is closed", "a client that only listens";
    DelayRelay = "delay-relay" => ["late-relay"], Message,
        "one receiver, who only listens, is sent nothing for a second",
        "verify.late_after well under 1s, and a client that only listens";
    Truncate1024 = "truncate-1024" => ["missing-ack"], Input,
        "a publish of more than 1,024 bytes is lost (the original's read buffer)",
        "messages of more than 1 KiB";
    LoseCoalesced = "lose-coalesced" => ["missing-ack"], Input,
        "publishes that arrive in one read are all lost (the original's)",
        "a sender of two messages at once";
    WrongRoom = "wrong-room" => ["wrong-room"], Message,
        "one client that is in another room and not in this one is sent a message too, as if it were of its own room",
        "clients in different rooms";
    LeakOnJoin = "leak-on-join" => ["wrong-room"], Join,
        "who joins a room is sent a message of another room, as if it were of that one",
        "clients that join rooms while others talk elsewhere";
    LostInOneRoom = "lost-in-one-room" => ["lost-relay"], Message,
        "one receiver that is in several rooms is not sent a message in one of them",
        "clients in two rooms each";
    StaysAfterLeave = "stays-after-leave" => ["wrong-room"], Leave,
        "who left a room is still sent its next message",
        "clients that leave a room while others talk there";
    JoinedTooLate = "joined-too-late" => ["lost-relay"], Join,
        "a new member is told that it joined, and is not sent the first message after that",
        "clients that join a room while others talk there";
    BlockOnSlow = "block-on-slow" => ["late-relay"], Input,
        "one client that stops reading holds up everyone (the original's one blocking writer)",
        "a client that stops reading behind more than socket buffers hold, and verify.late_after";
}

impl Fault {
    /// Whether the reference server can commit it towards clients of `dialect`. Classic has no
    /// welcome, number, error or bye to get wrong, and its acks are all alike.
    #[must_use]
    pub const fn is_committed_in(self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Ndjson => !matches!(self, Self::SpoofableAck),
            Dialect::Classic => !matches!(
                self,
                Self::EffectFirst
                    | Self::RenumberLate
                    | Self::InventMessage
                    | Self::SwapAcks
                    | Self::RelayRejected
                    | Self::SkipNumber
                    | Self::ReuseNumber
                    | Self::TornFrame
                    | Self::GarbageFrame
                    | Self::StrayError
                    | Self::NoWelcome
                    | Self::NoBye
                    | Self::WrongRoom
                    | Self::LeakOnJoin
                    | Self::LostInOneRoom
                    | Self::StaysAfterLeave
                    | Self::JoinedTooLate
            ),
        }
    }

    /// The fault of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
