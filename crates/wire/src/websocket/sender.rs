//! Frames out.

use super::frame::{self, Kind, Opcode};
use super::mask::{self, Masks};
use super::{Fault, MAX_CONTROL_BYTES};

/// Writes the frames of one side of a connection. What comes after a close is not written.
#[derive(Debug)]
pub struct Sender {
    /// Of a client.
    masks: Option<Masks>,
    has_closed: bool,
}

/// A frame that was begun ([`Sender::begin`]).
#[derive(Debug)]
#[must_use = "without `finish` the bytes are no frame"]
pub struct Begun {
    kind: Kind,
    at: usize,
}

impl Sender {
    pub(super) const fn of_client(seed: u64) -> Self {
        Self {
            masks: Some(Masks::new(seed)),
            has_closed: false,
        }
    }

    /// The sender of a server. It has no state but whether it has closed, so relays, which are the
    /// same bytes for everybody, can be written with a sender of their own.
    #[must_use]
    pub const fn of_server() -> Self {
        Self {
            masks: None,
            has_closed: false,
        }
    }

    /// Appends a message.
    pub fn send(&mut self, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        if !self.has_closed {
            self.write(out, Opcode::Data(kind), payload);
        }
    }

    /// Appends a fragment of a message: the first one has its kind, and the others follow it.
    pub fn fragment(
        &mut self,
        out: &mut Vec<u8>,
        kind: Option<Kind>,
        payload: &[u8],
        is_last: bool,
    ) {
        if self.has_closed {
            return;
        }
        let at = out.len();
        let opcode = kind.map_or(Opcode::Continuation, Opcode::Data);
        self.write(out, opcode, payload);
        if !is_last {
            out[at] &= !frame::FIN;
        }
    }

    /// Begins a message: the caller appends its payload to `out`, and then calls
    /// [`Sender::finish`].
    pub fn begin(&self, out: &mut Vec<u8>, kind: Kind) -> Begun {
        let at = out.len();
        // Of a payload of 126 to 65,535 bytes, so that nothing has to be moved for these.
        let bytes = frame::header_bytes(126, self.masks.is_some());
        out.resize(at + bytes, 0);
        Begun { kind, at }
    }

    /// Ends the message that was begun: its payload is all that was appended since.
    pub fn finish(&mut self, out: &mut Vec<u8>, Begun { kind, at }: Begun) {
        if self.has_closed {
            out.truncate(at);
            return;
        }
        let guessed = at + frame::header_bytes(126, self.masks.is_some());
        let payload_bytes = out.len() - guessed;
        let is = at + frame::header_bytes(payload_bytes, self.masks.is_some());
        if is < guessed {
            out.copy_within(guessed.., is);
            out.truncate(is + payload_bytes);
        } else if is > guessed {
            out.resize(is + payload_bytes, 0);
            out.copy_within(guessed..guessed + payload_bytes, is);
        }
        let mask = self.masks.as_mut().map(Masks::next);
        let (header, bytes) = frame::written(Opcode::Data(kind), payload_bytes, mask);
        out[at..is].copy_from_slice(&header[..bytes]);
        if let Some(mask) = mask {
            mask::apply(&mut out[is..], mask);
        }
    }

    /// Appends a ping with the first 125 bytes of `payload`.
    pub fn ping(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        self.control(out, Opcode::Ping, payload);
    }

    pub(super) fn pong(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        self.control(out, Opcode::Pong, payload);
    }

    /// Appends a close, unless there was one; `None` for one without a code. Of the reason come as
    /// many characters as have room.
    pub fn close(&mut self, out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
        let mut payload = Vec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&code.to_be_bytes());
            let room = MAX_CONTROL_BYTES - payload.len();
            payload.extend_from_slice(&reason.as_bytes()[..floor_char_boundary(reason, room)]);
        }
        self.control(out, Opcode::Close, &payload);
        self.has_closed = true;
    }

    /// Appends the close that answers a fault of the peer's.
    pub(super) fn fail(&mut self, out: &mut Vec<u8>, fault: &Fault) {
        self.close(out, Some(fault.code()), &fault.to_string());
    }

    /// Whether a close was sent.
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.has_closed
    }

    fn control(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        if !self.has_closed {
            let payload = &payload[..payload.len().min(MAX_CONTROL_BYTES)];
            self.write(out, opcode, payload);
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        let mask = self.masks.as_mut().map(Masks::next);
        let (header, bytes) = frame::written(opcode, payload.len(), mask);
        out.extend_from_slice(&header[..bytes]);
        let at = out.len();
        out.extend_from_slice(payload);
        if let Some(mask) = mask {
            mask::apply(&mut out[at..], mask);
        }
    }
}

/// As `str::floor_char_boundary`, which is younger than the oldest compiler that is supported.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    let boundary = (0..=at).rev().find(|&at| text.is_char_boundary(at));
    boundary.unwrap_or(0)
}
