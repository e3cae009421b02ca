//! WebSocket (RFC 6455), both sides, sans-IO.
//!
//! [`Client`] is a client's side of one connection, from the handshake's first byte on. A server
//! reads a request with [`Handshake`], answers it, and goes on with a [`Server`]. Both turn bytes
//! into whole messages, answer pings and closes themselves, and write frames; what they have to
//! answer is appended to `out`. Extensions are neither offered nor accepted: a compressed message
//! would be other bytes for each receiver, and could not be compared ([`Client::take_if`]).
//!
//! A message that ends with the read is borrowed from the read. A connection keeps the beginning of
//! a frame that has not ended, and the payloads of a message that comes in fragments: an idle
//! connection costs a few words, and at most 512 bytes more once a frame was split between two
//! reads.
//!
//! Strict where the RFC says MUST, as browsers are: what is called a [`Fault`] here fails the
//! connection in a browser, too.

mod client;
mod fault;
mod frame;
mod handshake;
mod mask;
mod outline;
mod receiver;
mod sender;
mod server;

pub use client::{Client, Incoming};
pub use fault::Fault;
pub use frame::Kind;
pub use handshake::asked::{Asked, BadRequest, Handshake, Plain, Upgrade};
pub use handshake::request::{NotSendable, Request, check_path};
pub use handshake::response::Refused;
pub use handshake::{MAX_HEAD_BYTES, answer, end_of_head};
pub use outline::Outline;
pub use receiver::Received;
pub use sender::{Begun, Sender};
pub use server::Server;

/// The longest payload of a control frame.
pub const MAX_CONTROL_BYTES: usize = 125;

/// Codes of a close (section 7.4).
pub mod code {
    /// All is done.
    pub const NORMAL: u16 = 1000;
    /// The peer goes away: a server stops, a page is left.
    pub const GOING_AWAY: u16 = 1001;
    /// The frames are wrong.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A message of a kind that is not taken.
    pub const UNSUPPORTED: u16 = 1003;
    /// A message's content does not fit its kind.
    pub const INVALID_PAYLOAD: u16 = 1007;
    /// A message that is against the rules of the peer.
    pub const POLICY: u16 = 1008;
    /// A message that is too long.
    pub const TOO_BIG: u16 = 1009;

    /// Whether a close may state this code: those of the RFC and of its registry, of libraries and
    /// of applications. 1004 to 1006 and 1015 never go over a wire.
    #[must_use]
    pub fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

#[cfg(test)]
mod tests;
