//! WebSocket's side of the server: the frames of the ndjson dialect, each a text message.
//!
//! Its sessions read the same logs, which are lines, and are sent them as messages: what a write
//! would take is framed first ([`frames`]). A pass writes the same stretch of the log to nearly
//! everyone, so it is framed once for all of them; and everything that is decided about lines
//! (rooms, faults, who is too slow) is decided here, too. Messages in are lines without an end.
//!
//! `handshake` is the life of a connection before it is a session; [`Side`] is what only a session
//! over WebSocket has.

mod frames;
mod handshake;

use std::mem;

use super::broadcast::Broadcast;
use super::cursor::Gather;
use super::log::Log;
use super::session::{Phase, Stream};
use chatbench_wire::ndjson::ErrorCode;
use chatbench_wire::websocket::{Fault, Kind, Received, Server, code};

pub(super) use frames::Frames;
pub(super) use handshake::shake_hands;

/// An allocation for bytes that go first is kept up to this size.
const KEEP_BYTES: usize = 512;

/// The state that only a session over WebSocket has.
#[derive(Debug)]
pub(super) struct Side {
    server: Server,
    /// Bytes that go before all else: the answer to the handshake, the rest of a frame that was sent
    /// in part, the answer to a ping, the close.
    first: Vec<u8>,
    /// The last pong in `first`, which another one replaces.
    pong: Option<(usize, usize)>,
    /// The close that answers the client's, or its fault. It goes last of all.
    close: Vec<u8>,
    has_closed: bool,
    /// A message was sent in part, as fragments.
    in_message: bool,
}

impl Side {
    /// A session's that begins with `answer`, the answer to its handshake. A message is as long as a
    /// line may be, less the LF that it has not.
    pub(super) fn new(max_line_bytes: usize, answer: Vec<u8>) -> Self {
        Self {
            server: Server::new(max_line_bytes - 1),
            first: answer,
            pong: None,
            close: Vec::new(),
            has_closed: false,
            in_message: false,
        }
    }

    /// Bytes of a message that has begun and not ended.
    pub(super) fn pending_bytes(&self) -> usize {
        self.server.pending_bytes()
    }

    /// Frees the bytes that are kept of it.
    pub(super) fn forget_input(&mut self) {
        self.server = Server::new(0);
    }

    /// The lines that are whole messages of a read, if it holds nothing else: what a fault looks at.
    pub(super) fn whole_lines(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut server, mut lines, mut input) = (Server::new(bytes.len()), Vec::new(), bytes);
        while let Some(received) = server.next(&mut input, &mut Vec::new()) {
            if let Received::Message { payload, .. } = received {
                lines.extend_from_slice(payload);
                lines.push(b'\n');
            }
        }
        match self.pending_bytes() + server.pending_bytes() {
            0 => lines,
            _ => Vec::new(),
        }
    }

    /// Whether there is something to be sent that is no line. `is_done` is whether all lines are
    /// sent, and none will follow: then the close is due.
    #[inline]
    pub(super) fn is_behind(&self, is_done: bool) -> bool {
        !self.first.is_empty() || is_done && !self.has_closed
    }

    /// All lines are sent, and none will follow: the close is next.
    pub(super) fn end(&mut self) {
        if mem::replace(&mut self.has_closed, true) {
            return;
        }
        if self.close.is_empty() {
            Server::new(0).close(&mut self.close, code::NORMAL, "");
        }
        self.first.append(&mut self.close);
    }

    /// Makes the frames of the next write.
    pub(super) fn frame(&self, frames: &mut Frames, gather: &Gather, log: &Log) {
        frames.make(&self.first, gather, log, self.in_message);
    }

    /// Notes what a write sent of `frames`. Returns how many bytes of lines that were: a frame that
    /// was sent in part counts whole, since its rest goes first from now on.
    pub(super) fn took(&mut self, sent_bytes: usize, frames: &Frames) -> usize {
        self.pong = None;
        let first_bytes = self.first.len();
        if sent_bytes <= first_bytes {
            self.first.drain(..sent_bytes);
            self.give_back();
            return 0;
        }
        self.first.clear();
        let (lines_bytes, rest) = frames.sent(sent_bytes - first_bytes);
        self.first.extend_from_slice(rest);
        self.in_message = frames.leaves_message_open();
        self.give_back();
        lines_bytes
    }

    fn give_back(&mut self) {
        if self.first.is_empty() && self.first.capacity() > KEEP_BYTES {
            self.first = Vec::new();
        }
    }

    /// Adds the answer to a ping, in place of one to an earlier ping that was not sent yet: so a
    /// client that reads nothing cannot have them pile up (section 5.5.3 of the RFC allows it).
    fn add_pong(&mut self, pong: &[u8]) {
        if let Some((from, to)) = self.pong.take() {
            self.first.drain(from..to);
        }
        let from = self.first.len();
        self.first.extend_from_slice(pong);
        self.pong = Some((from, self.first.len()));
    }
}

impl<S: Stream> Broadcast<S> {
    /// Takes the input of one read from a client over WebSocket.
    pub(super) fn take_messages(&mut self, id: usize, bytes: &[u8]) {
        // The receiver is taken out while its messages are read, because they need the session.
        let mut server = mem::replace(self.server(id), Server::new(0));
        let (mut input, mut answer) = (bytes, Vec::new());
        while self.session(id).phase == Phase::Open
            && let Some(received) = server.next(&mut input, &mut answer)
        {
            match received {
                Received::Message {
                    kind: Kind::Text,
                    payload,
                    ..
                } => self.take_line(id, payload),
                Received::Message { .. } => {
                    let detail = "a binary message, and frames are text messages";
                    self.answer(id, ErrorCode::Malformed, detail, None);
                    self.count_malformed(id);
                }
                Received::Ping(_) => {
                    let session = self.session(id);
                    session.write_soon();
                    if let Some(side) = &mut session.websocket {
                        side.add_pong(&answer);
                    }
                    answer.clear();
                }
                Received::Pong(_) => {}
                Received::Closed { .. } => {
                    self.close_with(id, &mut answer);
                    self.send_bye(id, Phase::Leaving);
                }
                Received::Fault(fault) => {
                    let code = match fault {
                        Fault::TooLong { .. } => ErrorCode::LineTooLong,
                        _ => ErrorCode::Malformed,
                    };
                    self.close_with(id, &mut answer);
                    self.answer(id, code, &fault.to_string(), None);
                    self.close(id);
                }
            }
            self.flush_if_much();
        }
        *self.server(id) = server;
    }

    fn server(&mut self, id: usize) -> &mut Server {
        let side = self.session(id).websocket.as_mut();
        &mut side.expect("the session is over WebSocket").server
    }

    /// The session ends with this close.
    fn close_with(&mut self, id: usize, close: &mut Vec<u8>) {
        if let Some(side) = &mut self.session(id).websocket {
            side.close = mem::take(close);
        }
    }
}

#[cfg(test)]
mod tests;
