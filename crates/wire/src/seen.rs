//! Observations: what one client saw of its target, whatever the protocol; and the trait that makes
//! them out of bytes ([`Conn`]).
//!
//! A verifier takes them and knows no protocol. A protocol makes them and knows no verifier.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::rooms::RoomId;

/// Something that a client saw, in one room. A room is a broadcast of its own: that its client
/// joined it is [`Seen::Open`], and that it left it [`Seen::Bye`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<'a> {
    /// The target takes the client in: what it accepts from here on is owed.
    Open {
        /// The last number that is not owed, where there are numbers.
        seq: u64,
        /// The client's address as the target saw it.
        me: Cow<'a, str>,
    },
    /// A message of somebody.
    Relay(Relay<'a>),
    /// The target took a message of this client's.
    Ack {
        /// The message.
        of: AckOf,
        /// Its number, where there are numbers.
        seq: u64,
    },
    /// The target complained.
    Error(Complaint<'a>),
    /// The target says that the client has got everything.
    Bye {
        /// The last number owed, where there are numbers.
        seq: u64,
    },
    /// A frame of a kind that the protocol does not know, and that it allows for.
    Unknown,
    /// Something that concerns the connection alone, and no verifier: a step of a login, a
    /// heartbeat.
    Control,
    /// Something that is no frame of the protocol.
    Malformed(Malformed<'a>),
}

/// A message that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay<'a> {
    /// All of the frame, to the last byte that belongs to no other: what others get too.
    pub frame: &'a [u8],
    /// The text that was published.
    pub text: Cow<'a, [u8]>,
    /// The address that it names as its sender's.
    pub from: Cow<'a, str>,
    /// Its number, where there are numbers.
    pub seq: u64,
}

impl Relay<'_> {
    /// The place of the text in its frame, if it stands there as it is; `None` otherwise (escaped).
    #[must_use]
    pub fn span(&self) -> Option<Range<usize>> {
        span(self.frame, &self.text)
    }
}

/// The place of `part` in `whole`, if it is a piece of its memory.
pub(crate) fn span(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let from = (part.as_ptr().addr()).checked_sub(whole.as_ptr().addr())?;
    let until = from.checked_add(part.len())?;
    (until <= whole.len()).then_some(from..until)
}

/// An error that the target gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint<'a> {
    /// For programs.
    pub code: Cow<'a, str>,
    /// For people.
    pub detail: Cow<'a, str>,
    /// The id of the publish that it refuses, where it says so.
    pub of: Option<u64>,
    /// It says that the client is too slow, and will be cut off.
    pub cuts_off: bool,
}

/// Bytes that are no frame of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed<'a> {
    /// The fault in them, as the protocol puts it.
    pub what: Cow<'a, str>,
    /// The bytes that came, if they are to be shown.
    pub frame: Cow<'a, [u8]>,
    /// How many other frames they have room for: these may be lost in them.
    pub could_hide: u64,
}

/// The message of a client's that an ack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckOf {
    /// The one with this id.
    Id(u64),
    /// One that had no id.
    NoId,
    /// The oldest that waits for its ack: this client's, if the address is its own.
    Oldest(SocketAddr),
}

/// The message that others got and that is due to a client now.
#[derive(Debug, Clone)]
pub struct Due<'a> {
    /// The frame of the one who got it first.
    pub frame: &'a [u8],
    /// The place of the text in it: only the text is compared where each receiver's frame differs.
    /// Empty where the text does not stand there as it is.
    pub text: Range<usize>,
}

/// The capabilities of a protocol, which decide what may be expected of a target that speaks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // each is a question of its own
pub struct Capabilities {
    /// The target states the number of each message: in [`Seen::Open`], relays, acks and byes.
    pub numbers: bool,
    /// It says that a client has joined ([`Seen::Open`]). Else whatever comes first proves it.
    pub welcome: bool,
    /// It says that a client that leaves has got everything ([`Seen::Bye`]). Else the end of the
    /// stream says so.
    pub bye: bool,
    /// It refuses single messages with errors.
    pub errors: bool,
    /// A client says whom a message is from.
    pub claims: bool,
    /// It takes connections in the order in which they are made, so that a client that has
    /// connected has joined once a later one has. No more than the original server is known to
    /// promise it.
    pub joins_in_order: bool,
    /// It has rooms besides the one that everyone is in.
    #[serde(skip)]
    pub rooms: bool,
    /// A message says whom it is from. Else [`Relay::from`] means nothing.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub senders: bool,
    /// It answers joins of rooms. Else whatever comes first in a room proves that its client is in
    /// it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub joined: bool,
    /// It says that a client that leaves a room has got everything there, also where the client
    /// leaves all at once by ending its connection.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub left: bool,
    /// It hands a message to all at one moment: who has not left when anyone gets it is owed it. Else
    /// only its ack says that it was handed to all.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub at_once: bool,
}

/// What recordings leave out where it is so, as it was of all targets of former ones.
const fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references
const fn is_yes(it: &bool) -> bool {
    *it
}

impl Capabilities {
    /// The capabilities in one of the rooms: what the connection's are for its client, those of a
    /// membership are there.
    #[must_use]
    pub const fn in_rooms(self) -> Self {
        Self {
            welcome: self.joined,
            bye: self.left,
            joins_in_order: false,
            ..self
        }
    }
}

/// Bytes that a script sent as they stand, as a target that keeps to the protocol reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawSent {
    /// The frames that came to their end.
    pub frames: Vec<RawFrame>,
    /// There is nothing wrong with them, and nothing has begun and not ended: the target has no
    /// reason to complain.
    pub is_right: bool,
    /// Something has begun and not ended: what is sent next runs together with it.
    pub unfinished: bool,
}

/// A frame that a script sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawFrame {
    /// A publish of this text.
    Publish(String),
    /// It is to be refused. If it is not, any of these texts may be relayed.
    Refused(Vec<String>),
    /// It concerns a named room. What comes of it is not followed.
    InRoom,
}

/// The fate of a publish that was sent after bytes without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glued {
    /// How the target reads it.
    pub fate: GluedFate,
    /// Something has begun and not ended, still.
    pub unfinished: bool,
}

/// How a target reads a publish that was sent after bytes without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GluedFate {
    /// As what it is.
    Survives,
    /// As part of a frame that is to be refused.
    Refused,
    /// As part of something that goes on.
    Swallowed,
}

/// A message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Publishing<'a> {
    /// The room in which it is published.
    pub room: RoomId,
    /// The text that is published.
    pub text: &'a str,
    /// The id by which its ack names it, where acks do.
    pub id: u64,
    /// The address that it claims to be from, if not its sender's.
    pub claims: Option<&'a str>,
}

/// How a client takes leave politely, once it has sent everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goodbye {
    /// By ending its side of the stream.
    HalfClose,
    /// By a frame, which the target answers before it ends the stream.
    Said,
}

/// One connection's side of a protocol: bytes in, observations out, and what is to be sent. It has
/// no socket and no clock, and allocates nothing per delivery.
///
/// Anything that the target has to be answered with is appended to `out`, and written after the
/// read.
pub trait Conn {
    /// Takes what comes next if it is the message of `due`: the receiver's fast path. `false`
    /// changes nothing.
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool;

    /// Takes what comes next of a read, the bytes of which are left in `input`, and says in which
    /// room it is: the unnamed one for whatever concerns the connection. `None` when the read is
    /// used up.
    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)>;

    /// Takes what is left at the end of the stream, as what it is if nothing follows; `None` when
    /// there is no more. What is no frame at all stays for [`Conn::unread`].
    fn finish(&mut self) -> Option<(RoomId, Seen<'_>)> {
        None
    }

    /// The room of the message that comes next, as far as its first bytes tell: with whose message
    /// to compare it ([`Conn::take_if`]). The unnamed one where they do not.
    fn room_of_next(&self, _input: &[u8]) -> RoomId {
        RoomId::UNNAMED
    }

    /// Appends what asks to be let into a room that has a name. Returns whether the target answers.
    fn join(&mut self, _out: &mut Vec<u8>, _room: RoomId) -> bool {
        false
    }

    /// Appends what takes leave of it. Returns whether the target answers.
    fn leave(&mut self, _out: &mut Vec<u8>, _room: RoomId) -> bool {
        false
    }

    /// Appends what a script asks the target, by its number in the description, and waits for the
    /// answer that it expects.
    fn ask(&mut self, _out: &mut Vec<u8>, _nth: usize) {}

    /// Whether it still waits for that answer.
    fn is_asking(&self) -> bool {
        false
    }

    /// The answer is given up. Returns what was expected and what came instead, which may be
    /// nothing; `None` if nothing is waited for.
    fn give_up_asking(&mut self) -> Option<(String, String)> {
        None
    }

    /// The bytes that came and are no whole frame yet.
    fn unread(&self) -> &[u8];

    /// The handshake is over, if there is one: messages can be sent and come. What proves that the
    /// client is taken in, and that messages are owed from then on, is [`Seen::Open`] or, where
    /// nothing says so ([`Capabilities::welcome`]), what comes first.
    fn is_ready(&self) -> bool {
        true
    }

    /// What is to come before the client is taken in, in words that follow "no" and "the": to say
    /// that it did not.
    fn awaited(&self) -> Cow<'static, str> {
        "welcome".into()
    }

    /// Why the client will not be taken in, with what came, as a sentence about the target; `None`
    /// while nothing shows that.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Does whatever is due at `now_ns`: appends a heartbeat, gives up an answer that did not come
    /// in time ([`Conn::trouble`]). Returns when to be called again; `None` if that depends on what
    /// comes first.
    fn timer(&mut self, _now_ns: u64, _out: &mut Vec<u8>) -> Option<u64> {
        None
    }

    /// Takes leave politely. Nothing is sent after it.
    fn close(&mut self, _out: &mut Vec<u8>) -> Goodbye {
        Goodbye::HalfClose
    }

    /// Whether what is under way is still answered after the goodbye: then a client need not wait
    /// for its acks before it says it.
    fn is_answered_after_goodbye(&self) -> bool {
        true
    }

    /// The target has said that nothing follows: the stream need not be read to its end.
    fn is_over(&self) -> bool {
        false
    }

    /// Appends a publish. Returns its fate if it runs together with bytes that a script sent.
    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued>;

    /// Appends bytes that a script wants sent as they stand, to a target that takes frames of
    /// `max_frame_bytes`.
    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], max_frame_bytes: usize) -> RawSent;

    /// The longest frame that the target takes, if it has said so, in bytes.
    fn max_frame_bytes(&self) -> Option<u64> {
        None
    }
}
