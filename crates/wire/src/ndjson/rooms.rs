//! Rooms: the names that they may have, and writing the frames that name one.
//!
//! A server names the room directly after the `type`, so that a reader knows from the first bytes
//! of a line whose it is.

use thiserror::Error;

use super::encode::{push_id, push_relay_sender, push_room, push_string, push_u64};

/// The longest name of a room, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 128;

/// Why no room can have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadName {
    /// There is nothing in it.
    #[error("the name of a room is empty")]
    Empty,
    /// It is too long.
    #[error("the name of a room has {bytes} bytes, of which {MAX_NAME_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has a control character.
    #[error("the name of a room has the control character U+{:04X}", u32::from(*.0))]
    Control(char),
}

/// Checks that a room can have `name`.
///
/// # Errors
/// [`BadName`] says why not.
pub fn check_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    let bytes = name.len();
    if bytes > MAX_NAME_BYTES {
        return Err(BadName::TooLong { bytes });
    }
    match name.chars().find(|c| c.is_control()) {
        Some(control) => Err(BadName::Control(control)),
        None => Ok(()),
    }
}

/// Appends a join, LF included.
pub fn encode_join(out: &mut Vec<u8>, room: &str, id: Option<u64>) {
    encode_request(out, b"{\"join\":", room, id);
}

/// Appends a leave, LF included.
pub fn encode_leave(out: &mut Vec<u8>, room: &str, id: Option<u64>) {
    encode_request(out, b"{\"leave\":", room, id);
}

fn encode_request(out: &mut Vec<u8>, begins: &[u8], room: &str, id: Option<u64>) {
    out.extend_from_slice(begins);
    push_string(out, room);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// Appends a joined, LF included.
pub fn encode_joined(out: &mut Vec<u8>, room: &str, seq: u64, id: Option<u64>) {
    encode_answer(out, b"{\"type\":\"joined\"", room, seq, id);
}

/// Appends a left, LF included.
pub fn encode_left(out: &mut Vec<u8>, room: &str, seq: u64, id: Option<u64>) {
    encode_answer(out, b"{\"type\":\"left\"", room, seq, id);
}

/// Appends an ack of a publish in a room, LF included.
pub fn encode_ack(out: &mut Vec<u8>, room: &str, seq: u64, id: Option<u64>) {
    encode_answer(out, b"{\"type\":\"ack\"", room, seq, id);
}

fn encode_answer(out: &mut Vec<u8>, begins: &[u8], room: &str, seq: u64, id: Option<u64>) {
    out.extend_from_slice(begins);
    push_room(out, room);
    out.extend_from_slice(b",\"seq\":");
    push_u64(out, seq);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// Appends a relay of a message in a room, LF included.
pub fn encode_relay(out: &mut Vec<u8>, room: &str, seq: u64, client_ip: &str, message: &str) {
    push_relay_begin(out, room);
    push_u64(out, seq);
    push_relay_sender(out, client_ip);
    out.pop(); // the quote, which is the string's
    push_string(out, message);
    out.extend_from_slice(b"}\n");
}

/// Appends the part of a relay before its number: the same for all messages of a room.
pub fn push_relay_begin(out: &mut Vec<u8>, room: &str) {
    out.extend_from_slice(b"{\"type\":\"relay\"");
    push_room(out, room);
    out.extend_from_slice(b",\"seq\":");
}

/// Appends an error about a frame that named a room, LF included.
pub fn encode_error(out: &mut Vec<u8>, room: &str, code: &str, detail: &str, id: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"error\"");
    push_room(out, room);
    out.extend_from_slice(b",\"code\":");
    push_string(out, code);
    out.extend_from_slice(b",\"detail\":");
    push_string(out, detail);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_text_of_some_length_without_control_characters() {
        for name in [
            "lobby",
            " ",
            "\"\\/{}[]:,",
            "a.b.*.>",
            "a/b/+/#/$SYS",
            "\u{a0}\u{ad}\u{2028}\u{feff}\u{ffff}😀",
            &"x".repeat(MAX_NAME_BYTES),
            &"é".repeat(MAX_NAME_BYTES / 2),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
        assert_eq!(check_name(""), Err(BadName::Empty));
        for name in ["x".repeat(MAX_NAME_BYTES + 1), "é".repeat(65)] {
            let bytes = name.len();
            assert_eq!(check_name(&name), Err(BadName::TooLong { bytes }));
        }
        for control in ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}') {
            let name = format!("a{control}b");
            assert_eq!(check_name(&name), Err(BadName::Control(control)));
        }
        let said = check_name("a\tb").unwrap_err().to_string();
        assert_eq!(said, "the name of a room has the control character U+0009");
    }
}
