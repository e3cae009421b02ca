//! Everything that goes over a socket, sans-IO: bytes in, typed frames out, and back.
//!
//! [`mod@line`] cuts a byte stream into lines; [`ndjson`] turns lines into frames and frames into
//! lines (the codec that the fuzzer hammers); [`classic`] is the original's dialect, without frames
//! and without lines; [`websocket`] turns a byte stream into messages and messages into a byte
//! stream; [`payload`] is the load message, the text that a driver publishes and that describes
//! itself; [`nats`] and [`redis`] are the protocols of these systems, [`frames`] cuts streams into frames such as its,
//! and [`naming`] is how rooms are named there; [`foreign`] recognises protocols that are none of these. [`seen`] has the observations
//! that a client makes of its target, whatever the protocol; [`protocol`] makes them out of bytes,
//! with a file for each protocol; [`application`] has what an application's own protocol is
//! described by. Nothing here opens a socket, reads a clock or keeps state beyond an unfinished
//! frame.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod application;
pub mod classic;
pub mod foreign;
pub mod frames;
pub mod line;
pub mod naming;
pub mod nats;
pub mod ndjson;
pub mod payload;
pub mod protocol;
pub mod redis;
pub mod rooms;
pub mod seen;
pub mod websocket;

/// How a server and its clients talk to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// One JSON object per line, both ways: what can be verified.
    Ndjson,
    /// The original's: JSON objects in, bare text out.
    Classic,
}

/// As the scheme of an address names it.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ndjson => "ndjson",
            Self::Classic => "classic",
        })
    }
}
