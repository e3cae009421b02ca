//! The classic dialect, both ways: what the original tutorial's client and server say to each
//! other (section 7 of `docs/PROTOCOL.md`).
//!
//! Towards the server go JSON objects one after another, without framing ([`objects`]); towards
//! the clients goes bare text without so much as a separator ([`texts`]). A server can read its
//! side exactly, since an object shows where it ends. A client cannot, but for texts whose length
//! is known: acks, and relays of load messages.

pub mod objects;
pub mod texts;

use memchr::memmem;

use super::ndjson::{self, Malformed, Publish};

/// The text that follows the sender's address in an ack.
pub const ACK: &str = ": 已经收到信息";

/// The text between the sender's address and the message in a relay.
pub const RELAY: &str = " 地址发送了请求消息：";

/// Whether one of the phrases occurs in what a server said.
#[must_use]
pub fn is_spoken_in(heard: &[u8]) -> bool {
    let phrases = [ACK, RELAY];
    phrases
        .iter()
        .any(|phrase| memmem::find(heard, phrase.as_bytes()).is_some())
}

/// Decodes one object that a client sent, as [`objects::ObjectBuffer`] cuts it out.
///
/// # Errors
/// [`Malformed`] as for a line of ndjson: the same keys are read with the same strictness.
pub fn decode_publish(object: &[u8]) -> Result<Publish<'_>, Malformed> {
    ndjson::decode_publish(object)
}

/// Appends a publish as the original client writes it: nothing before, between or after.
pub fn encode_publish(out: &mut Vec<u8>, client_ip: &str, message: &str) {
    let publish = Publish {
        message: message.into(),
        id: None,
        client_ip: Some(client_ip.into()),
        room: None,
    };
    ndjson::encode_publish(out, &publish);
    let lf = out.pop();
    debug_assert_eq!(lf, Some(b'\n'));
}

/// Appends the ack of a message from `client_ip`.
pub fn encode_ack(out: &mut Vec<u8>, client_ip: &str) {
    out.extend_from_slice(client_ip.as_bytes());
    out.extend_from_slice(ACK.as_bytes());
}

/// Appends the relay of a message from `client_ip`.
pub fn encode_relay(out: &mut Vec<u8>, client_ip: &str, message: &str) {
    out.extend_from_slice(client_ip.as_bytes());
    out.extend_from_slice(RELAY.as_bytes());
    out.extend_from_slice(message.as_bytes());
}

#[cfg(test)]
mod tests;
