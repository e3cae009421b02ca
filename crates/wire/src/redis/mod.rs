//! The protocol of Redis (RESP3), as a client speaks it, sans-IO: what the server sends ([`Reply`])
//! and the commands that it is sent ([`command`]).

mod reply;

pub use reply::{Fault, Reply, channel_of_next, extent};

use crate::naming::Naming;

/// What a scenario says of how its clients talk to a Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The channel of each room.
    pub channel: Naming,
    /// Channels belong to the shards of a cluster: `SSUBSCRIBE` and `SPUBLISH`.
    pub sharded: bool,
    /// How each client shows who it is, by its number; one for all; or none.
    pub logins: Vec<Login>,
}

impl Settings {
    /// How the client of this number shows who it is.
    #[must_use]
    pub fn login(&self, number: u32) -> Option<&Login> {
        let own = self.logins.get(number as usize);
        own.or(self.logins.first())
    }
}

/// What a client has to show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The user; `default` if there is none.
    pub user: Option<Box<str>>,
    /// The user's password.
    pub password: Box<str>,
}

/// Without what is secret.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// Appends a command: an array of texts.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    header(out, b'*', words.len());
    for word in words {
        header(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
