//! The kinds of violation, by the names that reports and other programs know them by.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $rule:literal;)+) => {
        /// A kind of violation. `docs/VERIFICATION.md` explains each; the rule it breaks is one of
        /// `docs/PROTOCOL.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Kind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in reports: `lost-relay`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The rule it breaks: `S2`; `–` where the scenario and not the protocol sets it.
            #[must_use]
            pub const fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule,)+ }
            }
        }
    };
}

kinds! {
    /// Owed and proved missing: a later number arrived, or the bye did.
    LostRelay = "lost-relay", "S2";
    /// The same message twice to one receiver.
    DuplicateRelay = "duplicate-relay", "S2";
    /// One sender's messages out of the order sent.
    ReorderedRelay = "reordered-relay", "S5";
    /// Two receivers saw two messages in different orders.
    OrderDivergence = "order-divergence", "S4";
    /// An effect before its cause.
    Causality = "causality", "S8";
    /// A message sent after another's ack is ordered before it.
    RealTime = "real-time", "S8";
    /// Checksum, length or a byte differs from what was sent.
    AlteredRelay = "altered-relay", "S6";
    /// A message nobody sent, or a blank one.
    PhantomRelay = "phantom-relay", "S6";
    /// Owed to nobody any more: numbered before the join, or of another run.
    StaleRelay = "stale-relay", "J1";
    /// The sender got its own message relayed.
    EchoedRelay = "echoed-relay", "S3";
    /// A message of a room that its receiver is not in, or under another room than its own.
    WrongRoom = "wrong-room", "R6";
    /// `client_ip` is not the sender's address.
    MisattributedRelay = "misattributed-relay", "S7";
    /// Accepted and never acked.
    MissingAck = "missing-ack", "S3";
    /// Acked twice.
    DuplicateAck = "duplicate-ack", "S3";
    /// An ack for what this client never sent.
    StrayAck = "stray-ack", "S3";
    /// Acks out of send order.
    ReorderedAck = "reordered-ack", "S5";
    /// Acked, yet it reached no receiver that was present.
    AckWithoutRelay = "ack-without-relay", "S10";
    /// A frame answered with an error was relayed or acked all the same.
    RelayOfRejected = "relay-of-rejected", "S9";
    /// Numbers skipped.
    SequenceGap = "sequence-gap", "S1";
    /// One number for two messages.
    SequenceReuse = "sequence-reuse", "S1";
    /// Bytes that are no frame of the dialect, torn frames included.
    MalformedFrame = "malformed-frame", "F1";
    /// A session did not begin with its welcome.
    MissingWelcome = "missing-welcome", "J1";
    /// A polite leave was not answered with a bye.
    MissingBye = "missing-bye", "J2";
    /// The server hung up on a client that did nothing wrong.
    UnexpectedClose = "unexpected-close", "S11";
    /// Delivered after `late_after`.
    LateRelay = "late-relay", "–";
    /// A scripted `expect_error` did not come.
    MissingError = "missing-error", "§6";
    /// The answer that a script expected to what it sent did not come.
    MissingAnswer = "missing-answer", "–";
    /// An error that nothing the client sent accounts for.
    StrayError = "stray-error", "§6";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
