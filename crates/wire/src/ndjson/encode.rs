//! Writing frames that name no room, both ways; a publish may name one.

use super::{MAX_ID, PROTOCOL_VERSION, Publish, plain};

/// The greatest length of the line of a publish of `payload_bytes` that need no escapes, LF
/// included, whatever its `id`.
#[must_use]
pub fn publish_line_bytes(payload_bytes: usize) -> usize {
    let mut line = Vec::new();
    let empty = Publish {
        message: "".into(),
        id: Some(MAX_ID),
        client_ip: None,
        room: None,
    };
    encode_publish(&mut line, &empty);
    line.len() + payload_bytes
}

/// Appends a publish, LF included.
pub fn encode_publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    out.push(b'{');
    if let Some(client_ip) = &publish.client_ip {
        out.extend_from_slice(b"\"client_ip\":");
        push_string(out, client_ip);
        out.push(b',');
    }
    out.extend_from_slice(b"\"message\":");
    push_string(out, &publish.message);
    push_id(out, publish.id);
    if let Some(room) = &publish.room {
        push_room(out, room);
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a welcome, LF included.
pub fn encode_welcome(out: &mut Vec<u8>, client_ip: &str, seq: u64, max_line: u64) {
    out.extend_from_slice(b"{\"type\":\"welcome\",\"protocol\":");
    push_u64(out, PROTOCOL_VERSION);
    out.extend_from_slice(b",\"client_ip\":");
    push_string(out, client_ip);
    out.extend_from_slice(b",\"seq\":");
    push_u64(out, seq);
    out.extend_from_slice(b",\"max_line\":");
    push_u64(out, max_line);
    out.extend_from_slice(b"}\n");
}

/// Appends an ack, LF included.
#[inline]
pub fn encode_ack(out: &mut Vec<u8>, seq: u64, id: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"ack\",\"seq\":");
    push_u64(out, seq);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// The part of a relay before its number.
pub const RELAY_BEGINS: &[u8] = b"{\"type\":\"relay\",\"seq\":";

/// The part of a relay after its message.
pub const RELAY_ENDS: &[u8] = b"\"}\n";

/// Appends a relay, LF included.
#[inline]
pub fn encode_relay(out: &mut Vec<u8>, seq: u64, client_ip: &str, message: &str) {
    out.extend_from_slice(RELAY_BEGINS);
    push_relay_rest(out, seq, client_ip, message);
}

/// Appends a relay from its number on.
#[inline]
pub(super) fn push_relay_rest(out: &mut Vec<u8>, seq: u64, client_ip: &str, message: &str) {
    push_u64(out, seq);
    push_relay_sender(out, client_ip);
    out.pop(); // the quote, which is the string's
    push_string(out, message);
    out.extend_from_slice(b"}\n");
}

/// Appends the part of a relay between its number and its message, if that is plain: the same for
/// all messages of a sender.
pub fn push_relay_sender(out: &mut Vec<u8>, client_ip: &str) {
    out.extend_from_slice(b",\"client_ip\":");
    push_string(out, client_ip);
    out.extend_from_slice(b",\"message\":\"");
}

/// Appends an error, LF included.
pub fn encode_error(out: &mut Vec<u8>, code: &str, detail: &str, id: Option<u64>) {
    out.extend_from_slice(b"{\"type\":\"error\"");
    push_error_rest(out, code, detail, id);
}

/// Appends an error from its code on.
pub(super) fn push_error_rest(out: &mut Vec<u8>, code: &str, detail: &str, id: Option<u64>) {
    out.extend_from_slice(b",\"code\":");
    push_string(out, code);
    out.extend_from_slice(b",\"detail\":");
    push_string(out, detail);
    push_id(out, id);
    out.extend_from_slice(b"}\n");
}

/// Appends a bye, LF included.
pub fn encode_bye(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b"{\"type\":\"bye\",\"seq\":");
    push_u64(out, seq);
    out.extend_from_slice(b"}\n");
}

#[inline]
pub(super) fn push_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
pub(super) fn push_id(out: &mut Vec<u8>, id: Option<u64>) {
    if let Some(id) = id {
        debug_assert!(id <= MAX_ID, "id {id} would be malformed");
        out.extend_from_slice(b",\"id\":");
        push_u64(out, id);
    }
}

/// Appends the key that names a room.
pub(super) fn push_room(out: &mut Vec<u8>, room: &str) {
    out.extend_from_slice(b",\"room\":");
    push_string(out, room);
}

/// Appends a JSON string. Text that needs no escape, nearly all there is, is copied whole.
#[inline]
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    if plain::is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string always encodes into memory");
    }
}
