//! Writing the frames that name a room.
//!
//! A server names the room directly after the `type`, so that a reader knows from the first bytes
//! of a line whose it is.

use super::encode::{push_error_rest, push_id, push_relay_rest, push_room, push_string, push_u64};

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
    push_relay_rest(out, seq, client_ip, message);
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
    push_error_rest(out, code, detail, id);
}
