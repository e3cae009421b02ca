//! What a client sends.

use serde::Serialize;

use super::login::Shown;
use crate::naming::Naming;
use crate::rooms::{RoomId, RoomNames};

/// What the client says of itself, and how it wants to be spoken to.
#[derive(Debug, Serialize)]
struct Connect<'a> {
    verbose: bool,
    pedantic: bool,
    echo: bool,
    protocol: u8,
    lang: &'a str,
    version: &'a str,
    name: &'a str,
    #[serde(flatten)]
    shown: Shown<'a>,
}

/// Appends the first that a client says: `CONNECT`.
pub fn connect(out: &mut Vec<u8>, name: &str, verbose: bool, echo: bool, shown: Shown<'_>) {
    let connect = Connect {
        verbose,
        pedantic: false,
        echo,
        protocol: 1,
        lang: "chatbench",
        version: env!("CARGO_PKG_VERSION"),
        name,
        shown,
    };
    out.extend_from_slice(b"CONNECT ");
    // Texts and flags alone: nothing in it cannot be written.
    serde_json::to_writer(&mut *out, &connect).expect("it is written to memory");
    out.extend_from_slice(b"\r\n");
}

/// Appends the subscription `sid` to the subject of a room.
pub fn sub(out: &mut Vec<u8>, subject: &Naming, rooms: &RoomNames, room: RoomId, sid: u64) {
    out.extend_from_slice(b"SUB ");
    subject.write(out, rooms, room);
    number(out, sid);
}

/// Appends the end of the subscription `sid`.
pub fn unsub(out: &mut Vec<u8>, sid: u64) {
    out.extend_from_slice(b"UNSUB");
    number(out, sid);
}

/// Appends a message to the subject of a room.
pub fn publish(out: &mut Vec<u8>, subject: &Naming, rooms: &RoomNames, room: RoomId, text: &[u8]) {
    out.extend_from_slice(b"PUB ");
    subject.write(out, rooms, room);
    number(out, text.len() as u64);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// What asks for a [`PONG`].
pub const PING: &[u8] = b"PING\r\n";

/// The answer to a [`PING`].
pub const PONG: &[u8] = b"PONG\r\n";

fn number(out: &mut Vec<u8>, number: u64) {
    out.push(b' ');
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}
