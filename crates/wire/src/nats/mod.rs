//! The protocol of NATS, as a client speaks it, sans-IO: what the server sends ([`Op`]), what it is
//! sent ([`encode`]), and how a client shows who it is ([`login`]).

pub mod encode;
pub mod login;
pub mod subject;

mod op;

pub use op::{Fault, Msg, Op, extent, sid_of_next};

use crate::naming::Naming;
use login::Login;

/// What a scenario says of how its clients talk to a NATS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The subject of each room.
    pub subject: Naming,
    /// A client gets what it publishes.
    pub echo: bool,
    /// What says that the server has taken a message.
    pub ack: Ack,
    /// How each client shows who it is, by its number; one for all; or none.
    pub logins: Vec<Login>,
    /// It is spoken over TLS.
    pub tls: bool,
}

/// What says that the server has taken a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ack {
    /// The answer to a `PING` that follows it: everything before it has been processed.
    #[default]
    Flush,
    /// The `+OK` with which a server answers each message in its verbose mode.
    Ok,
    /// Nothing does.
    None,
}

impl Ack {
    /// Each choice and its word, the default first.
    pub const WORDS: &[(&str, Self)] = &[
        ("flush", Self::Flush),
        ("ok", Self::Ok),
        ("none", Self::None),
    ];
}

impl Settings {
    /// How the client of this number shows who it is.
    #[must_use]
    pub fn login(&self, number: u32) -> Option<&Login> {
        let own = self.logins.get(number as usize);
        own.or(self.logins.first())
    }
}

#[cfg(test)]
mod tests;
