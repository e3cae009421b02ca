//! What comes over a WebSocket, held against another implementation: tungstenite.
//!
//! An input: the first byte chooses whose frames they are (even: a server's, which a client reads)
//! and whether masks are mended (a client's frames are masked with zeros, so that the mutator sees
//! what it writes); the second is the length of the pieces in which they come, or 0 for one. The
//! rest is the stream.
//!
//! - The pieces change nothing.
//! - Both read the same messages, pings, pongs and closes, in the same order, up to the same fault;
//!   or to one that only we see: [`is_stricter`].
//! - What is answered is a stream that the other side reads without a fault.
//! - A handshake of any bytes, as a client reads it and as a server does, is the same in pieces.

use std::io::{self, Read, Write};

use chatbench::wire::websocket::{
    Client, Fault, Handshake, Incoming, Kind, Received, Request, Server,
};
use tungstenite::error::Error;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::input::Input;

const MAX_BYTES: usize = 4096;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Closed(Option<u16>, String),
}

/// How reading ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    Closed,
    Fault(Fault),
}

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8]) {
    let mut input = Input(data);
    let (choice, piece) = (input.byte(), usize::from(input.byte()));
    let stream = input.0;
    let pieces = |piece: usize| match piece {
        0 => vec![stream],
        piece => stream.chunks(piece).collect::<Vec<_>>(),
    };
    let of_server = choice & 1 == 0;
    let read = if of_server {
        read_as_client
    } else {
        read_as_server
    };
    let (got, end, answer) = read(&pieces(0));
    assert_eq!(
        read(&pieces(piece)),
        (got.clone(), end.clone(), answer.clone())
    );
    let (_, answered, _) = match of_server {
        true => read_as_server(&[&answer]),
        false => read_as_client(&[&answer]),
    };
    assert!(
        !matches!(answered, End::Fault(_)),
        "our answer is {answered:?}"
    );
    check_against_tungstenite(of_server, stream, &got, &end);
    check_handshakes(stream, &pieces(piece));
}

fn read_as_client(pieces: &[&[u8]]) -> (Vec<Got>, End, Vec<u8>) {
    let mut client = Client::opened(MAX_BYTES);
    let (mut got, mut end, mut out) = (Vec::new(), End::Open, Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(incoming) = client.next(&mut input, &mut out) {
            match incoming {
                Incoming::Message {
                    kind,
                    payload,
                    frame,
                } => {
                    assert!(frame.ends_with(payload));
                    got.push(message(kind, payload));
                }
                Incoming::Ping(payload) => got.push(Got::Ping(payload.to_vec())),
                Incoming::Pong(payload) => got.push(Got::Pong(payload.to_vec())),
                Incoming::Closed { code, reason } => {
                    got.push(Got::Closed(code, reason.to_owned()));
                    end = End::Closed;
                }
                Incoming::Fault(fault) => end = End::Fault(fault),
                Incoming::Open { .. } | Incoming::Refused(_) => panic!("the handshake was done"),
            }
        }
        assert!(input.is_empty());
    }
    (got, end, out)
}

fn read_as_server(pieces: &[&[u8]]) -> (Vec<Got>, End, Vec<u8>) {
    let mut server = Server::new(MAX_BYTES);
    let (mut got, mut end, mut out) = (Vec::new(), End::Open, Vec::new());
    for piece in pieces {
        let mut input = *piece;
        while let Some(received) = server.next(&mut input, &mut out) {
            match received {
                Received::Message { kind, payload, .. } => got.push(message(kind, payload)),
                Received::Ping(payload) => got.push(Got::Ping(payload.to_vec())),
                Received::Pong(payload) => got.push(Got::Pong(payload.to_vec())),
                Received::Closed { code, reason } => {
                    got.push(Got::Closed(code, reason.to_owned()));
                    end = End::Closed;
                }
                Received::Fault(fault) => end = End::Fault(fault),
            }
        }
        assert!(input.is_empty());
    }
    (got, end, out)
}

fn message(kind: Kind, payload: &[u8]) -> Got {
    match kind {
        Kind::Text => Got::Text(payload.to_vec()),
        Kind::Binary => Got::Binary(payload.to_vec()),
    }
}

/// The stream for tungstenite, which reads and writes.
struct Pipe<'a>(&'a [u8]);

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => Ok(bytes),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn check_against_tungstenite(of_server: bool, stream: &[u8], ours: &[Got], end: &End) {
    let role = if of_server {
        Role::Client
    } else {
        Role::Server
    };
    let limit = Some(MAX_BYTES);
    let config = WebSocketConfig::default()
        .max_message_size(limit)
        .max_frame_size(limit);
    let mut peer = WebSocket::from_raw_socket(Pipe(stream), role, Some(config));
    let mut theirs = Vec::new();
    let failed = loop {
        match peer.read() {
            Ok(Message::Text(text)) => theirs.push(Got::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => theirs.push(Got::Binary(bytes.to_vec())),
            Ok(Message::Ping(payload)) => theirs.push(Got::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => theirs.push(Got::Pong(payload.to_vec())),
            Ok(Message::Close(close)) => {
                let (code, reason) = close.map(|c| (c.code.into(), c.reason.to_string())).unzip();
                theirs.push(Got::Closed(code, reason.unwrap_or_default()));
                break None;
            }
            Ok(Message::Frame(_)) => panic!("it is never read"),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
            Err(error) => break Some(error),
        }
    };
    let we_stop = matches!(end, End::Fault(fault) if is_stricter(fault));
    // It checks text as its fragments come, and so may fail before the frames between them: before
    // a close in mid-message, too.
    let they_stop = matches!(failed, Some(Error::Utf8(_)));
    if we_stop || they_stop {
        let as_far = we_stop && theirs.starts_with(ours) || they_stop && ours.starts_with(&theirs);
        assert!(as_far, "{end:?}: {ours:?}, they: {failed:?}: {theirs:?}");
        return;
    }
    // Code 1014 is in the registry since 2016; they call it a violation.
    let is_1014 = matches!(ours.last(), Some(Got::Closed(Some(1014), _)));
    let but_last = |got: &[Got]| got[..got.len().saturating_sub(1)].to_vec();
    if is_1014 {
        assert_eq!(but_last(ours), but_last(&theirs), "they: {failed:?}");
        return;
    }
    assert_eq!(ours, theirs, "{end:?}, they: {failed:?}");
    // What is a fault by its first byte, they see once the frame is whole.
    if failed.is_some() {
        assert!(matches!(end, End::Fault(_)), "they: {failed:?}");
    }
}

/// Whether tungstenite may let this pass: of a control frame's length, too, it asks what it is, and
/// not in how many bytes it is written.
fn is_stricter(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::LengthNotMinimal(_) | Fault::CloseCode(_) | Fault::LongControl { .. }
    )
}

/// A handshake, from either side, is what it is however it comes; and what follows it is left.
fn check_handshakes(stream: &[u8], pieces: &[&[u8]]) {
    let asked = |pieces: &[&[u8]]| {
        let mut handshake = Handshake::default();
        let mut used = 0;
        for piece in pieces {
            let mut input = *piece;
            let asked = handshake.next(&mut input);
            used += piece.len() - input.len();
            if asked.is_some() {
                return (asked, used);
            }
        }
        (None, used)
    };
    let (whole, in_pieces) = (asked(&[stream]), asked(pieces));
    assert_eq!(whole.0, in_pieces.0);
    let answered = |pieces: &[&[u8]]| {
        let request = Request {
            host: "h",
            path: "/",
            subprotocols: &["a"],
            fields: &[],
        };
        let mut client = Client::open(&request, 1, MAX_BYTES, &mut Vec::new());
        let mut said = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(incoming) = client.next(&mut input, &mut Vec::new()) {
                said.push(format!("{incoming:?}"));
            }
        }
        said.extend(client.finish().map(|incoming| format!("{incoming:?}")));
        said
    };
    assert_eq!(answered(&[stream]), answered(pieces));
}
