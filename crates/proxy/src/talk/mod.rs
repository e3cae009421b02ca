//! What the proxy has to know of a target's protocol: where a frame ends, what is an ack, where a
//! sender's address stands. One file for each protocol, and [`of`], the list of them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use chatbench_wire::protocol::{Protocol, Spoken};

pub mod application;
pub mod classic;
pub mod json;
pub mod lines;
pub mod nats;
pub mod redis;
pub mod websocket;

/// The way that bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From a client to the target.
    Up,
    /// From the target to a client.
    Down,
}

/// A frame, and what it carries.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'b> {
    /// All of its bytes.
    pub bytes: &'b [u8],
    /// What it carries: for a line all but its end, for a WebSocket message its payload.
    pub body: Cow<'b, [u8]>,
    /// Whether it may carry a message. Others are passed on as they are: the head of a handshake, a
    /// ping.
    pub is_message: bool,
}

/// Cuts one direction of a connection into frames.
pub trait Frames: fmt::Debug + Send {
    /// The frame that `bytes` begin with; `None` where more has to come first.
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>>;

    /// Appends a frame like `frame` that carries `body`.
    fn write(&self, frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>);
}

/// How a target says that it took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Not at all.
    None,
    /// Each ack names its message.
    Named,
    /// Acks come in order and name nothing.
    InTurn,
    /// One ack is for all messages up to some point, so a later one makes up for one that is lost.
    Cumulative,
    /// A sender gets its own message back.
    Echo,
}

/// How a target talks, as far as the proxy has to know.
pub trait Talk: fmt::Debug + Send + Sync {
    /// What cuts one direction of a new connection.
    fn frames(&self, way: Way) -> Box<dyn Frames>;

    /// How messages are acked.
    fn acks(&self) -> Acks;

    /// Whether what a client gets is an ack of one of the messages that it published; `sent` are the
    /// bodies of the latest of these.
    fn is_ack(&self, body: &[u8], sent: &mut dyn Iterator<Item = &[u8]>) -> bool;

    /// Where an address of a client stands in what goes `way`, if it does.
    fn address(&self, _way: Way, _body: &[u8]) -> Option<Range<usize>> {
        None
    }

    /// Whether messages state the address of their sender.
    fn names_senders(&self) -> bool {
        false
    }

    /// What divides several messages in one frame.
    fn split(&self) -> Option<&[u8]> {
        None
    }
}

/// How a target talks with which this is spoken.
#[must_use]
pub fn of(spoken: &Spoken) -> Arc<dyn Talk> {
    match spoken {
        Spoken::Own(Protocol::Ndjson) => Arc::new(json::Json::over_lines()),
        Spoken::Own(Protocol::WebSocket) => Arc::new(json::Json::over_websocket()),
        Spoken::Own(Protocol::Classic) => Arc::new(classic::Classic),
        Spoken::Application(spec) => Arc::new(application::Described::new(Arc::clone(spec))),
        Spoken::Nats(settings) => Arc::new(nats::Nats::of(settings)),
        Spoken::Redis(_) => Arc::new(redis::Redis),
    }
}

/// The place of an address between quotes: the value of the JSON key `client_ip`.
pub(crate) fn client_ip(body: &[u8]) -> Option<Range<usize>> {
    const KEY: &[u8] = b"\"client_ip\"";
    let mut at = memchr::memmem::find(body, KEY)? + KEY.len();
    let mut skip = |wanted: u8| {
        while body.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        let is_there = body.get(at) == Some(&wanted);
        at += 1;
        is_there
    };
    if !(skip(b':') && skip(b'"')) {
        return None;
    }
    let length = memchr::memchr(b'"', body.get(at..)?)?;
    Some(at..at + length)
}
