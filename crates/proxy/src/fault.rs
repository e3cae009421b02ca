//! The faults that the proxy commits. Those that the reference server commits as well have the
//! names that they have there.

use std::fmt;

macro_rules! faults {
    ($($variant:ident = $name:literal => $breaks:literal;)+) => {
        /// A fault that the proxy commits once a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // `breaks` describes each
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

            /// What goes wrong, in words.
            #[must_use]
            pub const fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks,)+ }
            }
        }
    };
}

faults! {
    DropRelay = "drop-relay" => "one receiver is not sent a message";
    DropPublish = "drop-publish" => "a message never reaches the target: nobody is sent it, and it is not acked";
    DuplicateRelay = "duplicate-relay" => "one receiver is sent a message twice running";
    SwapSameSender = "swap-same-sender" => "one receiver is sent two messages of one sender in the wrong order";
    SwapSenders = "swap-senders" => "one receiver is sent two senders' messages in another order than everyone else";
    FlipByte = "flip-byte" => "one receiver is sent a message with one character changed";
    TruncateMessage = "truncate-message" => "one receiver is sent the first half of a message";
    WrongSender = "wrong-sender" => "one receiver is told another client's address as the sender's";
    WrongRoom = "wrong-room" => "one client is sent a message of a room that it is not in";
    AckThenLose = "ack-then-lose" => "a message is acked and relayed to nobody";
    DropAck = "drop-ack" => "a message is relayed and its sender is not sent the ack";
    DoubleAck = "double-ack" => "a message is acked twice";
    DelayRelay = "delay-relay" => "one receiver, who only listens, is sent nothing for a second";
    HangUp = "hang-up" => "the connection of a client that did nothing wrong is closed";
}

impl Fault {
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
