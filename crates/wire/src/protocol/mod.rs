//! The protocols that targets speak, one file each, and the one list of them.
//!
//! A protocol makes observations out of bytes, and bytes out of messages to be sent ([`Conn`]), and
//! states its [`Capabilities`]. All other code finds the protocol of a target in this list, by the
//! scheme of its address.
//!
//! Another protocol is another file here, with its scheme, its capabilities, a type that implements
//! [`Conn`] and what is said of a target that is something else; and a variant of [`Protocol`] and
//! of [`AnyConn`]. `tests.rs` holds it to the rest: a stream is the same observations however it is
//! cut, and what is compared is what would be decoded.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Dialect;
use super::application::spec::{Reconnect, Spec};
use super::nats::Settings as NatsSettings;
use super::redis::Settings as RedisSettings;
use super::rooms::{RoomId, RoomNames};
use super::seen::{Capabilities, Conn, Due, Glued, Goodbye, Publishing, RawSent, Seen};

pub mod application;
pub mod classic;
mod known;
pub mod nats;
pub mod ndjson;
pub mod redis;
pub mod websocket;
mod wrong;

pub use wrong::WrongTarget;

/// A protocol that targets speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The reference protocol: one JSON object per line.
    Ndjson,
    /// The original's: JSON objects in, bare text out.
    Classic,
    /// The frames of the reference protocol over WebSocket: one JSON object per text message.
    #[serde(rename = "websocket")]
    WebSocket,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ndjson, Self::Classic, Self::WebSocket];

    /// The protocol whose addresses have this scheme.
    #[must_use]
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.scheme() == scheme)
    }

    /// The part of an address before `://`.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Ndjson => ndjson::SCHEME,
            Self::Classic => classic::SCHEME,
            Self::WebSocket => websocket::SCHEME,
        }
    }

    /// The same where it is spoken over TLS.
    #[must_use]
    pub const fn tls_scheme(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson+tls",
            Self::Classic => "classic+tls",
            Self::WebSocket => "wss",
        }
    }

    /// The names by which TLS's negotiation of what is spoken (ALPN) knows it, if it knows it.
    #[must_use]
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Ndjson | Self::Classic => &[],
            Self::WebSocket => &[b"http/1.1"],
        }
    }

    /// Whether a path may stand in an address, after the host.
    #[must_use]
    pub const fn takes_path(self) -> bool {
        match self {
            Self::Ndjson | Self::Classic => false,
            Self::WebSocket => true,
        }
    }

    /// The protocol's capabilities.
    #[must_use]
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Ndjson => ndjson::CAPABILITIES,
            Self::Classic => classic::CAPABILITIES,
            Self::WebSocket => websocket::CAPABILITIES,
        }
    }

    /// The dialect that its messages are written in.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Ndjson | Self::WebSocket => Dialect::Ndjson,
            Self::Classic => Dialect::Classic,
        }
    }

    /// A new connection. Anything that it has to begin with is appended to `out`.
    #[must_use]
    pub fn open(self, opening: &Opening<'_>, out: &mut Vec<u8>) -> AnyConn {
        let max_frame_bytes = opening.max_frame_bytes;
        match self {
            Self::Ndjson => {
                let conn = ndjson::Ndjson::new(max_frame_bytes);
                AnyConn::Ndjson(conn.with_rooms(Arc::clone(&opening.rooms)))
            }
            Self::Classic => {
                AnyConn::Classic(classic::Classic::new(opening.local, max_frame_bytes))
            }
            Self::WebSocket => AnyConn::WebSocket(websocket::WebSocket::open(opening, out)),
        }
    }

    /// Looks at the bytes that a target said first, all of them so far; `ended` if it says no more.
    /// `None` while nothing shows that it is not what it is taken for. `max_seq` is the largest
    /// number that can be followed.
    #[must_use]
    pub fn wrong(self, heard: &[u8], ended: bool, max_seq: u64) -> Option<WrongTarget> {
        if wrong::is_tls(heard) {
            return Some(WrongTarget::SpeaksTls(self));
        }
        match self {
            Self::Ndjson => ndjson::wrong(heard, ended, max_seq),
            Self::Classic => classic::wrong(heard),
            Self::WebSocket => websocket::wrong(heard, ended, max_seq),
        }
    }

    /// Bytes of the frames that a message makes, beside its text.
    #[must_use]
    pub fn frame_bytes(self) -> FrameBytes {
        match self {
            Self::Ndjson => ndjson::frame_bytes(),
            Self::Classic => classic::frame_bytes(),
            Self::WebSocket => websocket::frame_bytes(),
        }
    }
}

/// Everything that a connection may have to know of its client and its target before it begins.
#[derive(Debug, Clone, Default)]
pub struct Opening<'a> {
    /// The address of the client's end.
    pub local: Option<SocketAddr>,
    /// The longest frame that is read, in bytes.
    pub max_frame_bytes: usize,
    /// The rooms of the run.
    pub rooms: Arc<RoomNames>,
    /// The target's `HOST:PORT`, as it was asked for.
    pub host: &'a str,
    /// The path in its URL, with its query; empty where it has none.
    pub path: &'a str,
    /// The client that connects.
    pub me: Me<'a>,
    /// The room that it joins first, for URLs that name one; the unnamed one if it joins none.
    pub room: RoomId,
    /// The run's number, which each of its load messages has in it.
    pub run: u32,
    /// Drawn for this connection, for what a protocol wants drawn.
    pub draw: u64,
}

impl Opening<'_> {
    /// That of a connection that reads frames of at most so many bytes, and of which no more is
    /// known.
    #[must_use]
    pub fn reading(max_frame_bytes: usize) -> Self {
        Self {
            max_frame_bytes,
            ..Self::default()
        }
    }
}

/// A client, as it may have to introduce itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Me<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number among all clients, from 0 on.
    pub number: u32,
}

/// What is spoken with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// A protocol of [this list](Protocol).
    Own(Protocol),
    /// An application's own, as a scenario describes it.
    Application(Arc<Spec>),
    /// That of NATS.
    Nats(Arc<NatsSettings>),
    /// That of Redis.
    Redis(Arc<RedisSettings>),
}

impl Spoken {
    /// Its capabilities.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Own(protocol) => protocol.capabilities(),
            Self::Application(spec) => spec.capabilities(),
            Self::Nats(_) => nats::CAPABILITIES,
            Self::Redis(_) => redis::CAPABILITIES,
        }
    }

    /// A new connection. Anything that it has to begin with is appended to `out`.
    #[must_use]
    pub fn open(&self, opening: &Opening<'_>, out: &mut Vec<u8>) -> AnyConn {
        match self {
            Self::Own(protocol) => protocol.open(opening, out),
            Self::Application(spec) => {
                AnyConn::Application(application::Application::open(spec, opening, out))
            }
            Self::Nats(settings) => AnyConn::Nats(nats::Nats::open(settings, opening)),
            Self::Redis(settings) => AnyConn::Redis(redis::Redis::open(settings, opening, out)),
        }
    }

    /// As [`Protocol::wrong`].
    #[must_use]
    pub fn wrong(&self, heard: &[u8], ended: bool, max_seq: u64) -> Option<WrongTarget> {
        match self {
            Self::Own(protocol) => protocol.wrong(heard, ended, max_seq),
            Self::Application(_) | Self::Nats(_) | Self::Redis(_) => None, // its connections say it
        }
    }

    /// How clients connect again whose connections the target closed; `None` if a target that
    /// closes them breaks its promise.
    #[must_use]
    pub fn reconnect(&self) -> Option<Reconnect> {
        match self {
            Self::Own(_) | Self::Nats(_) | Self::Redis(_) => None,
            Self::Application(spec) => spec.reconnect,
        }
    }

    /// As [`Protocol::frame_bytes`].
    #[must_use]
    pub fn frame_bytes(&self) -> FrameBytes {
        match self {
            Self::Own(protocol) => protocol.frame_bytes(),
            Self::Application(spec) => application::frame_bytes(spec),
            Self::Nats(settings) => nats::frame_bytes(settings),
            Self::Redis(settings) => redis::frame_bytes(settings),
        }
    }
}

/// As messages name it.
impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(protocol) => protocol.fmt(f),
            Self::Application(spec) => match &spec.preset {
                Some(preset) => f.write_str(preset),
                None => f.write_str("[protocol]"),
            },
            Self::Nats(_) => f.write_str("nats"),
            Self::Redis(_) => f.write_str("redis"),
        }
    }
}

impl From<Dialect> for Spoken {
    fn from(dialect: Dialect) -> Self {
        Self::Own(dialect.into())
    }
}

impl From<Protocol> for Spoken {
    fn from(protocol: Protocol) -> Self {
        Self::Own(protocol)
    }
}

/// Bytes of the frames that a message makes, beside its text, with a usual address and numbers of
/// seven digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBytes {
    /// The publish, which its sender sends.
    pub publish: usize,
    /// The ack, which its sender gets.
    pub ack: usize,
    /// The relay, which everyone else gets.
    pub relay: usize,
}

/// An address of usual length.
const USUAL_ADDRESS: &str = "127.0.0.1:50412";

/// As the scheme of an address names it.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme())
    }
}

impl From<Dialect> for Protocol {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Ndjson => Self::Ndjson,
            Dialect::Classic => Self::Classic,
        }
    }
}

/// A connection of any protocol. The protocol is chosen once per read, not per delivery
/// ([`each_conn`]).
#[derive(Debug)]
pub enum AnyConn {
    /// Of [`Protocol::Ndjson`].
    Ndjson(ndjson::Ndjson),
    /// Of [`Protocol::Classic`].
    Classic(classic::Classic),
    /// Of [`Protocol::WebSocket`].
    WebSocket(websocket::WebSocket),
    /// Of [`Spoken::Application`].
    Application(application::Application),
    /// Of [`Spoken::Nats`].
    Nats(nats::Nats),
    /// Of [`Spoken::Redis`].
    Redis(redis::Redis),
}

/// Runs the same code for the connection of whichever protocol it is: `each_conn!(any, conn => …)`.
#[macro_export]
macro_rules! each_conn {
    ($any:expr, $conn:ident => $body:expr) => {
        match $any {
            $crate::protocol::AnyConn::Ndjson($conn) => $body,
            $crate::protocol::AnyConn::Classic($conn) => $body,
            $crate::protocol::AnyConn::WebSocket($conn) => $body,
            $crate::protocol::AnyConn::Application($conn) => $body,
            $crate::protocol::AnyConn::Nats($conn) => $body,
            $crate::protocol::AnyConn::Redis($conn) => $body,
        }
    };
}
pub use each_conn;

impl AnyConn {
    /// The fate of a publish that was sent as these bytes, if it runs together with bytes that a
    /// script sent before.
    pub fn glued(&mut self, publish: &[u8], id: u64) -> Option<Glued> {
        match self {
            Self::Ndjson(conn) => conn.glued(publish, id),
            Self::Classic(conn) => conn.glued(publish),
            Self::WebSocket(conn) => conn.glued(publish, id),
            Self::Application(_) | Self::Nats(_) | Self::Redis(_) => None,
        }
    }

    /// The address that the client claims, where messages state their sender.
    #[must_use]
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::Ndjson(_)
            | Self::WebSocket(_)
            | Self::Application(_)
            | Self::Nats(_)
            | Self::Redis(_) => None,
            Self::Classic(conn) => Some(conn.claim()),
        }
    }
}

impl Conn for AnyConn {
    #[inline]
    fn take_if(&mut self, input: &mut &[u8], due: &Due<'_>) -> bool {
        each_conn!(self, conn => conn.take_if(input, due))
    }

    #[inline]
    fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<(RoomId, Seen<'a>)> {
        each_conn!(self, conn => conn.next(input, out))
    }

    fn finish(&mut self) -> Option<(RoomId, Seen<'_>)> {
        each_conn!(self, conn => conn.finish())
    }

    #[inline]
    fn room_of_next(&self, input: &[u8]) -> RoomId {
        each_conn!(self, conn => conn.room_of_next(input))
    }

    fn join(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        each_conn!(self, conn => conn.join(out, room))
    }

    fn leave(&mut self, out: &mut Vec<u8>, room: RoomId) -> bool {
        each_conn!(self, conn => conn.leave(out, room))
    }

    fn ask(&mut self, out: &mut Vec<u8>, nth: usize) {
        each_conn!(self, conn => conn.ask(out, nth));
    }

    fn is_asking(&self) -> bool {
        each_conn!(self, conn => conn.is_asking())
    }

    fn give_up_asking(&mut self) -> Option<(String, String)> {
        each_conn!(self, conn => conn.give_up_asking())
    }

    fn unread(&self) -> &[u8] {
        each_conn!(self, conn => conn.unread())
    }

    fn publish(&mut self, out: &mut Vec<u8>, publish: Publishing<'_>) -> Option<Glued> {
        each_conn!(self, conn => conn.publish(out, publish))
    }

    fn raw(&mut self, out: &mut Vec<u8>, bytes: &[u8], max_frame_bytes: usize) -> RawSent {
        each_conn!(self, conn => conn.raw(out, bytes, max_frame_bytes))
    }

    fn max_frame_bytes(&self) -> Option<u64> {
        each_conn!(self, conn => conn.max_frame_bytes())
    }

    fn is_ready(&self) -> bool {
        each_conn!(self, conn => conn.is_ready())
    }

    fn awaited(&self) -> Cow<'static, str> {
        each_conn!(self, conn => conn.awaited())
    }

    fn trouble(&self) -> Option<String> {
        each_conn!(self, conn => conn.trouble())
    }

    fn timer(&mut self, now_ns: u64, out: &mut Vec<u8>) -> Option<u64> {
        each_conn!(self, conn => conn.timer(now_ns, out))
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Goodbye {
        each_conn!(self, conn => conn.close(out))
    }

    fn is_answered_after_goodbye(&self) -> bool {
        each_conn!(self, conn => conn.is_answered_after_goodbye())
    }

    fn is_over(&self) -> bool {
        each_conn!(self, conn => conn.is_over())
    }
}

#[cfg(test)]
mod tests;
