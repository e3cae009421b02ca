//! A server's side of a connection, once the handshake is done.

use super::Kind;
use super::receiver::{Received, Receiver};
use super::sender::{Begun, Sender};

/// A server's side of one connection.
#[derive(Debug)]
pub struct Server {
    receiver: Receiver,
    sender: Sender,
}

impl Server {
    /// A connection whose messages have at most so many bytes.
    #[must_use]
    pub const fn new(max_message_bytes: usize) -> Self {
        let mut receiver = Receiver::of_clients(max_message_bytes);
        receiver.start();
        Self {
            receiver,
            sender: Sender::of_server(),
        }
    }

    /// Takes what comes next of a read, the bytes of which are left in `input`; `None` when the read
    /// is used up. Answers to pings, to a close and to faults are appended to `out`.
    pub fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<Received<'a>> {
        let step = self.receiver.step(input)?;
        let received = self.receiver.lend(step);
        match &received {
            Received::Ping(payload) => self.sender.pong(out, payload),
            Received::Closed { code, .. } => self.sender.close(out, *code, ""),
            Received::Fault(fault) => self.sender.fail(out, fault),
            Received::Message { .. } | Received::Pong(_) => {}
        }
        Some(received)
    }

    /// Appends a message.
    pub fn send(&mut self, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        self.sender.send(out, kind, payload);
    }

    /// Begins a message: the caller appends its payload to `out`, and then calls [`Server::end`].
    pub fn begin(&mut self, out: &mut Vec<u8>, kind: Kind) -> Begun {
        self.sender.begin(out, kind)
    }

    /// Ends the message that was begun.
    pub fn end(&mut self, out: &mut Vec<u8>, begun: Begun) {
        self.sender.finish(out, begun);
    }

    /// Appends a ping.
    pub fn ping(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        self.sender.ping(out, payload);
    }

    /// Appends a close, unless there was one. What the client said before it knew of it is read
    /// still.
    pub fn close(&mut self, out: &mut Vec<u8>, code: u16, reason: &str) {
        self.sender.close(out, Some(code), reason);
    }

    /// Whether the client has said that it says no more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver.is_over()
    }

    /// Whether a close was sent.
    #[must_use]
    pub const fn has_closed(&self) -> bool {
        self.sender.has_closed()
    }

    /// Bytes that are kept of a frame or a message that has begun and not ended.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.receiver.pending_bytes()
    }
}
