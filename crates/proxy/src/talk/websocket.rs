//! WebSocket messages, after the handshake.

use std::borrow::Cow;

use chatbench_wire::websocket::{Kind, Outline, Sender, end_of_head};

use super::{Frame, Frames, Way};

/// Cuts a stream into the head of its handshake, and then into messages and control frames. A
/// message in fragments is one frame, with what stands between them.
#[derive(Debug)]
pub struct Messages {
    way: Way,
    state: State,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Head,
    Open,
    /// It is no WebSocket, or none any more: whatever comes is passed on.
    Other,
}

impl Messages {
    /// The messages that go `way`.
    #[must_use]
    pub const fn new(way: Way) -> Self {
        Self {
            way,
            state: State::Head,
            kind: Kind::Text,
        }
    }

    /// The message or control frame that `bytes` begin with.
    fn message<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let mut at = 0;
        let mut body: Cow<'b, [u8]> = Cow::Borrowed(&[]);
        let mut has_begun = false;
        loop {
            let rest = &bytes[at..];
            let Ok(outline) = Outline::read(rest, self.way == Way::Up) else {
                self.state = State::Other;
                return Some(other(bytes));
            };
            let outline = outline.filter(|outline| outline.bytes <= rest.len())?;
            at += outline.bytes;
            if outline.is_control {
                if has_begun {
                    continue;
                }
                return Some(other(&bytes[..at]));
            }
            if let Some(kind) = outline.begins {
                self.kind = kind;
            }
            let payload = outline.payload(rest);
            match has_begun {
                false => body = payload,
                true => body.to_mut().extend_from_slice(&payload),
            }
            has_begun = true;
            if outline.is_last {
                return Some(Frame {
                    bytes: &bytes[..at],
                    body,
                    is_message: true,
                });
            }
        }
    }
}

/// A frame that is passed on as it is.
fn other(bytes: &[u8]) -> Frame<'_> {
    Frame {
        bytes,
        body: Cow::Borrowed(bytes),
        is_message: false,
    }
}

impl Frames for Messages {
    fn cut<'b>(&mut self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        if bytes.is_empty() {
            return None;
        }
        match self.state {
            State::Head => {
                let head = &bytes[..end_of_head(bytes)?];
                let is_open = self.way == Way::Up || head.starts_with(b"HTTP/1.1 101");
                self.state = if is_open { State::Open } else { State::Other };
                Some(other(head))
            }
            State::Open => self.message(bytes),
            State::Other => Some(other(bytes)),
        }
    }

    /// Towards a client as one frame, whatever fragments it came in. What clients send is never
    /// written anew.
    fn write(&self, frame: &Frame<'_>, body: &[u8], out: &mut Vec<u8>) {
        match self.way {
            Way::Down => Sender::of_server().send(out, self.kind, body),
            Way::Up => out.extend_from_slice(frame.bytes),
        }
    }
}
