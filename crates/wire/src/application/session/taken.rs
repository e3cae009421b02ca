//! What a message was taken for, and why.

use std::fmt;
use std::ops::Range;

use crate::application::spec::Rule;
use crate::rooms::RoomId;

/// A message that was sent or came, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// One that was sent, by which key of the description.
    Sent {
        /// The message, without secrets.
        shown: String,
        /// What sends it.
        rule: Rule,
    },
    /// One that came.
    Came {
        /// The message, without secrets.
        shown: String,
        /// What it was taken for.
        taken: Taken,
    },
}

/// What a message was taken for, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it is.
    pub what: What,
    /// The rule by which it is that.
    pub rule: Rule,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A published message, and its place. There may be more in what follows it.
    Delivery(Range<usize>),
    /// The answer to a step, after which others follow.
    Step,
    /// The last answer of the login.
    LoggedIn,
    /// The last answer of a join.
    Joined(RoomId),
    /// The last answer of a leave.
    Left(RoomId),
    /// The answer, or the refusal, of what a script asked.
    Answered,
    /// An ack.
    Ack {
        /// Where its message was published.
        room: RoomId,
        /// The id by which a verifier knows the message; `None` if it is for none that was sent.
        of: Option<u64>,
    },
    /// The answer to a step or a publish is no.
    Refused {
        /// The room that it is about.
        room: RoomId,
        /// The id of the publish; `None` if it refuses a step, or does not say what.
        of: Option<u64>,
    },
    /// A complaint.
    Error,
    /// Something that was answered to keep the connection.
    Heartbeat,
    /// Something without a meaning here.
    Ignored,
    /// Nothing that is known.
    Other,
}

/// As it is said of a frame.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivery(_) => "a delivery",
            Self::Step => "an expected answer",
            Self::LoggedIn => "logged in",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::Answered => "an answer to a script",
            Self::Ack { of: Some(_), .. } => "an ack",
            Self::Ack { of: None, .. } => "an ack of nothing that was sent",
            Self::Refused { .. } => "a refusal",
            Self::Error => "an error",
            Self::Heartbeat => "a heartbeat",
            Self::Ignored => "ignored",
            Self::Other => "nothing that [protocol] knows",
        })
    }
}
