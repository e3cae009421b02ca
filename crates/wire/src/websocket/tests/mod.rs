use super::*;

mod frames;
mod handshakes;
mod peers;

const MAX_BYTES: usize = 1 << 16;

/// What came, in a form that outlives the read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Open(Option<String>),
    Refused(Refused),
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Closed(Option<u16>, String),
    Fault(Fault),
}

impl From<Incoming<'_>> for Got {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Open { subprotocol } => Self::Open(subprotocol.map(str::to_owned)),
            Incoming::Refused(refused) => Self::Refused(refused),
            Incoming::Message {
                kind,
                payload,
                frame,
            } => message(kind, payload, frame),
            Incoming::Ping(payload) => Self::Ping(payload.to_vec()),
            Incoming::Pong(payload) => Self::Pong(payload.to_vec()),
            Incoming::Closed { code, reason } => Self::Closed(code, reason.to_owned()),
            Incoming::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Received<'_>> for Got {
    fn from(received: Received<'_>) -> Self {
        match received {
            Received::Message {
                kind,
                payload,
                frame,
            } => message(kind, payload, frame),
            Received::Ping(payload) => Self::Ping(payload.to_vec()),
            Received::Pong(payload) => Self::Pong(payload.to_vec()),
            Received::Closed { code, reason } => Self::Closed(code, reason.to_owned()),
            Received::Fault(fault) => Self::Fault(fault),
        }
    }
}

/// A message, whose frame is what a server writes of it.
fn message(kind: Kind, payload: &[u8], frame: &[u8]) -> Got {
    let mut written = Vec::new();
    Sender::of_server().send(&mut written, kind, payload);
    assert_eq!(written, frame);
    let begins = frame.len() - payload.len();
    assert_eq!(frame[begins..].as_ptr(), payload.as_ptr(), "a piece of it");
    Got::Message(kind, payload.to_vec())
}

const REQUEST: Request<'static> = Request {
    host: "localhost:7",
    path: "/chat",
    subprotocols: &[],
    fields: &[],
};

/// A client whose handshake is done.
fn client() -> Client {
    let mut out = Vec::new();
    let mut client = Client::open(&REQUEST, 7, MAX_BYTES, &mut out);
    let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut &out[..]) else {
        panic!("{}", String::from_utf8_lossy(&out));
    };
    let mut answer = Vec::new();
    upgrade.accept(None, &mut answer);
    let mut input = &answer[..];
    let opened = client.next(&mut input, &mut Vec::new());
    assert_eq!(opened, Some(Incoming::Open { subprotocol: None }));
    assert!(input.is_empty() && client.is_open());
    client
}

/// All that comes of a stream, read in these chunks, and what it is answered with.
fn read_as_client<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Got>, Vec<u8>) {
    let (mut client, mut got, mut out) = (client(), Vec::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(incoming) = client.next(&mut chunk, &mut out) {
            got.push(incoming.into());
        }
        assert!(chunk.is_empty());
    }
    (got, out)
}

fn read_as_server<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Got>, Vec<u8>) {
    let (mut server, mut got, mut out) = (Server::new(MAX_BYTES), Vec::new(), Vec::new());
    for mut chunk in chunks {
        while let Some(received) = server.next(&mut chunk, &mut out) {
            got.push(received.into());
        }
        assert!(chunk.is_empty());
    }
    (got, out)
}

/// Cuts a stream into chunks of these lengths, and a last one.
fn cut<'a>(mut stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    for &length in lengths {
        let (chunk, rest) = stream.split_at(length.min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks.push(stream);
    chunks
}
