//! How the bare sockets frame what they publish, and count what they get: lines, or WebSocket
//! messages.

use chatbench::wire::websocket::{Client, Kind, Request};
use memchr::memchr_iter;

use super::bare::receivers::Receivers;

/// What the server is spoken to over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Lines,
    WebSocket,
}

impl Framing {
    /// The scheme of the listener.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Lines => "ndjson",
            Self::WebSocket => "ws",
        }
    }

    /// The target that a scenario names.
    pub(crate) fn embedded(self) -> &'static str {
        match self {
            Self::Lines => "embedded",
            Self::WebSocket => "embedded+ws",
        }
    }

    /// One frame, as a client sends it.
    pub(crate) fn frame(self, json: &str) -> Vec<u8> {
        match self {
            Self::Lines => format!("{json}\n").into_bytes(),
            Self::WebSocket => {
                let mut frame = Vec::new();
                Client::opened(0).send(&mut frame, Kind::Text, json.as_bytes());
                frame
            }
        }
    }

    /// Asks for the WebSocket on each connection, where it is one.
    pub(crate) fn shake_hands(self, clients: &Receivers) {
        if self == Self::WebSocket {
            let request = Request {
                host: "localhost",
                path: "/",
                subprotocols: &[],
                fields: &[],
            };
            for id in 0..clients.count() {
                let mut asked = Vec::new();
                let _ = Client::open(&request, id as u64, 0, &mut asked);
                clients.send(id, &asked);
            }
        }
    }
}

/// Counts the frames that come on one connection, from its beginning.
#[derive(Debug)]
pub(crate) enum Counter {
    Lines,
    /// In the answer to the handshake; so many bytes of the empty line that ends it have come.
    Head(usize),
    /// In the header of a frame, as far as it has come. A server's has no mask.
    Header(Header),
    /// In a frame's payload, of which so many bytes are to come.
    Payload(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Header {
    bytes: [u8; 10],
    have: usize,
}

impl Header {
    /// Takes one more byte; the length of the payload, once the header is whole.
    fn take(&mut self, byte: u8) -> Option<u64> {
        self.bytes[self.have] = byte;
        self.have += 1;
        let (first, whole) = match self.bytes[1] {
            126 => (2, 4),
            127 => (2, 10),
            _ => (1, 2),
        };
        let length = || {
            self.bytes[first..whole]
                .iter()
                .fold(0, |n, &b| n << 8 | u64::from(b))
        };
        (self.have == whole).then(length)
    }
}

impl Counter {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Lines => Self::Lines,
            Framing::WebSocket => Self::Head(0),
        }
    }

    /// How many frames are whole with these bytes that were not before.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        if let Self::Lines = self {
            return memchr_iter(b'\n', bytes).count() as u64;
        }
        let mut frames = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            match self {
                Self::Lines => unreachable!("counted above"),
                Self::Head(have) => {
                    bytes = rest;
                    *have = match byte {
                        _ if byte == b"\r\n\r\n"[*have] => *have + 1,
                        b'\r' => 1,
                        _ => 0,
                    };
                    if *have == 4 {
                        *self = Self::Header(Header::default());
                    }
                }
                Self::Header(header) => {
                    bytes = rest;
                    // Each of the server's frames has a payload.
                    if let Some(length) = header.take(byte) {
                        *self = Self::Payload(length);
                    }
                }
                Self::Payload(left) => {
                    let taken = bytes.len().min(*left as usize);
                    bytes = &bytes[taken..];
                    *left -= taken as u64;
                    if *left == 0 {
                        frames += 1;
                        *self = Self::Header(Header::default());
                    }
                }
            }
        }
        frames
    }
}
