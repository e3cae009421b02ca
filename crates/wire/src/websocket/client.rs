//! A client's side of a connection.

use super::handshake::request::Request;
use super::handshake::response::{Opening, Refused};
use super::mask::Masks;
use super::receiver::{Received, Receiver, Step, What};
use super::sender::{Begun, Sender};
use super::{Fault, Kind};

/// Something that a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The handshake is done.
    Open {
        /// The subprotocol that the server chose, of those that were offered.
        subprotocol: Option<&'a str>,
    },
    /// The handshake failed. Whatever follows is not looked at.
    Refused(Refused),
    /// A whole message.
    Message {
        /// What it is of. Text is UTF-8.
        kind: Kind,
        /// Its content.
        payload: &'a [u8],
        /// All of it as one unfragmented frame, which ends with the payload: what
        /// [`Client::take_if`] compares.
        frame: &'a [u8],
    },
    /// A ping, which was answered.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong(&'a [u8]),
    /// The server says no more. It was answered, unless it is the answer itself.
    Closed {
        /// Why, for programs.
        code: Option<u16>,
        /// Why, for people.
        reason: &'a str,
    },
    /// Its frames are wrong, which it was told. Whatever follows is not looked at.
    Fault(Fault),
}

/// A client's side of one connection.
#[derive(Debug)]
pub struct Client {
    receiver: Receiver,
    sender: Sender,
    /// Until the handshake is done.
    opening: Option<Box<Opening>>,
    subprotocol: Option<Box<str>>,
}

impl Client {
    /// Appends the request to upgrade. `seed` is what the handshake's key and all masks are drawn
    /// from; messages of at most `max_message_bytes` are read.
    #[must_use]
    pub fn open(
        request: &Request<'_>,
        seed: u64,
        max_message_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Self {
        let mut draws = Masks::new(seed);
        let (first, second) = (draws.draw().to_le_bytes(), draws.draw().to_le_bytes());
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&first);
        nonce[8..].copy_from_slice(&second);
        let opening = request.write(nonce, out);
        Self {
            receiver: Receiver::of_servers(max_message_bytes),
            sender: Sender::of_client(draws.draw()),
            opening: Some(Box::new(opening)),
            subprotocol: None,
        }
    }

    /// A connection whose handshake is done. What it sends is masked as by any other of these.
    #[must_use]
    pub fn opened(max_message_bytes: usize) -> Self {
        let mut receiver = Receiver::of_servers(max_message_bytes);
        receiver.start();
        Self {
            receiver,
            sender: Sender::of_client(0),
            opening: None,
            subprotocol: None,
        }
    }

    /// From here on, messages may be as long, if less was allowed.
    pub fn allow(&mut self, max_message_bytes: usize) {
        self.receiver.allow(max_message_bytes);
    }

    /// Takes what comes next of a read if it is, byte for byte, `frame`: a message as
    /// [`Incoming::Message`] has it, no longer than is allowed.
    ///
    /// This is the receiver's fast path: servers mask nothing, so a message is the same bytes for
    /// everybody. `false` changes nothing.
    #[inline]
    pub fn take_if(&mut self, input: &mut &[u8], frame: &[u8]) -> bool {
        self.receiver.take_if(input, frame)
    }

    /// Takes what comes next of a read, the bytes of which are left in `input`; `None` when the read
    /// is used up. What has to be answered is appended to `out`.
    #[inline]
    pub fn next<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<Incoming<'a>> {
        if self.opening.is_some() {
            return self.shake_hands(input, false);
        }
        let step = self.receiver.step(input)?;
        Some(self.incoming(step, out))
    }

    /// The same without pings and pongs.
    #[inline]
    pub fn next_but_pings<'a, 'r: 'a>(
        &'a mut self,
        input: &mut &'r [u8],
        out: &mut Vec<u8>,
    ) -> Option<Incoming<'a>> {
        if self.opening.is_some() {
            return self.shake_hands(input, false);
        }
        let step = loop {
            let step = self.receiver.step(input)?;
            if !matches!(step.what, What::Ping | What::Pong) {
                break step;
            }
            let _ = self.incoming(step, out);
        };
        Some(self.incoming(step, out))
    }

    #[inline]
    fn incoming<'a>(&'a mut self, step: Step<'a>, out: &mut Vec<u8>) -> Incoming<'a> {
        let Self {
            receiver, sender, ..
        } = self;
        match receiver.lend(step) {
            Received::Message {
                kind,
                payload,
                frame,
            } => Incoming::Message {
                kind,
                payload,
                frame,
            },
            Received::Ping(payload) => {
                sender.pong(out, payload);
                Incoming::Ping(payload)
            }
            Received::Pong(payload) => Incoming::Pong(payload),
            Received::Closed { code, reason } => {
                sender.close(out, code, "");
                Incoming::Closed { code, reason }
            }
            Received::Fault(fault) => {
                sender.fail(out, &fault);
                Incoming::Fault(fault)
            }
        }
    }

    /// What the end of the stream makes of a handshake that has not ended. `None` when there was
    /// one: whether the server has closed then, [`Client::is_closed`] says.
    pub fn finish(&mut self) -> Option<Incoming<'_>> {
        self.opening.is_some().then_some(())?;
        self.shake_hands(&mut &[][..], true)
    }

    #[cold]
    fn shake_hands(&mut self, input: &mut &[u8], ended: bool) -> Option<Incoming<'_>> {
        let opening = self.opening.as_mut()?;
        let opened = opening.next(input, ended)?;
        self.opening = None;
        Some(match opened {
            Ok(subprotocol) => {
                self.receiver.start();
                self.subprotocol = subprotocol.map(String::into_boxed_str);
                Incoming::Open {
                    subprotocol: self.subprotocol.as_deref(),
                }
            }
            Err(refused) => {
                *input = &[];
                Incoming::Refused(refused)
            }
        })
    }

    /// Appends a message, masked.
    pub fn send(&mut self, out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
        self.sender.send(out, kind, payload);
    }

    /// Appends a fragment of a message, masked: the first one has its kind, and the others follow it.
    pub fn fragment(
        &mut self,
        out: &mut Vec<u8>,
        kind: Option<Kind>,
        payload: &[u8],
        is_last: bool,
    ) {
        self.sender.fragment(out, kind, payload, is_last);
    }

    /// Begins a message: the caller appends its payload to `out`, and then calls
    /// [`Client::end`].
    pub fn begin(&mut self, out: &mut Vec<u8>, kind: Kind) -> Begun {
        self.sender.begin(out, kind)
    }

    /// Ends the message that was begun, and masks it in place.
    pub fn end(&mut self, out: &mut Vec<u8>, begun: Begun) {
        self.sender.finish(out, begun);
    }

    /// Appends a ping.
    pub fn ping(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        self.sender.ping(out, payload);
    }

    /// Appends a close, unless there was one. What the server said before it knew of it is read
    /// still.
    pub fn close(&mut self, out: &mut Vec<u8>, code: u16) {
        self.sender.close(out, Some(code), "");
    }

    /// Whether the answer to the handshake is not whole yet.
    #[must_use]
    pub fn is_shaking_hands(&self) -> bool {
        self.opening.is_some()
    }

    /// Whether the handshake is done and messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opening.is_none() && !self.receiver.is_over() && !self.sender.has_closed()
    }

    /// Whether nothing more is read: the server has closed, its frames were wrong, or the handshake
    /// failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.opening.is_none() && self.receiver.is_over()
    }

    /// The bytes that came and are no whole frame yet, or no whole answer to the handshake.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        match &self.opening {
            Some(opening) => opening.unread(),
            None => self.receiver.unread(),
        }
    }
}
