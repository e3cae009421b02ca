//! Another implementation at the other end: tungstenite.

use std::io::{self, Read, Write};

use proptest::prelude::*;
use tungstenite::handshake::server::{Request as TheirRequest, Response};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::*;

/// A stream in memory: what we sent it, and what it sent us.
#[derive(Debug, Default)]
struct Pipe {
    theirs: Vec<u8>,
    read: usize,
    ours: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match (&self.theirs[self.read..]).read(into)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            bytes => {
                self.read += bytes;
                Ok(bytes)
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.ours.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config() -> Option<WebSocketConfig> {
    let config = WebSocketConfig::default();
    Some(
        config
            .max_message_size(Some(MAX_BYTES))
            .max_frame_size(Some(MAX_BYTES)),
    )
}

/// Our client at their server, the handshake done by both.
#[allow(clippy::result_large_err)] // the signature is theirs
fn our_client() -> (Client, WebSocket<Pipe>) {
    let mut pipe = Pipe::default();
    let request = Request {
        subprotocols: &["a", "b"],
        ..REQUEST
    };
    let mut client = Client::open(&request, 9, MAX_BYTES, &mut pipe.theirs);
    let choose = |request: &TheirRequest, mut response: Response| {
        assert_eq!(request.uri().path(), "/chat");
        let chosen = "b".parse().unwrap();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", chosen);
        Ok(response)
    };
    let mut server = tungstenite::accept_hdr_with_config(pipe, choose, config()).unwrap();
    let answer = std::mem::take(&mut server.get_mut().ours);
    let opened = client
        .next(&mut &answer[..], &mut Vec::new())
        .map(Got::from);
    assert_eq!(opened, Some(Got::Open(Some("b".to_owned()))));
    (client, server)
}

/// Their client at our server.
fn our_server() -> (Server, WebSocket<Pipe>) {
    let url = "ws://localhost:7/chat";
    let begun = tungstenite::client::client_with_config(url, Pipe::default(), config());
    let Err(HandshakeError::Interrupted(mut begun)) = begun else {
        panic!("there is no answer yet");
    };
    let pipe = begun.get_mut().get_mut();
    let request = std::mem::take(&mut pipe.ours);
    let Some(Asked::Upgrade(upgrade)) = Handshake::default().next(&mut &request[..]) else {
        panic!("{}", String::from_utf8_lossy(&request));
    };
    assert_eq!(upgrade.path, "/chat");
    upgrade.accept(None, &mut pipe.theirs);
    let (client, _) = begun.handshake().unwrap();
    (Server::new(MAX_BYTES), client)
}

fn theirs(message: Message) -> Got {
    match message {
        Message::Text(text) => Got::Message(Kind::Text, text.as_bytes().to_vec()),
        Message::Binary(bytes) => Got::Message(Kind::Binary, bytes.to_vec()),
        Message::Ping(payload) => Got::Ping(payload.to_vec()),
        Message::Pong(payload) => Got::Pong(payload.to_vec()),
        Message::Close(close) => {
            let (code, reason) = close.map(|c| (c.code.into(), c.reason.to_string())).unzip();
            Got::Closed(code, reason.unwrap_or_default())
        }
        Message::Frame(_) => panic!("it is never read"),
    }
}

fn as_theirs(got: &Got) -> Message {
    match got.clone() {
        Got::Message(Kind::Text, text) => Message::text(String::from_utf8(text).unwrap()),
        Got::Message(Kind::Binary, bytes) => Message::binary(bytes),
        Got::Ping(payload) => Message::Ping(payload.into()),
        Got::Closed(Some(code), reason) => Message::Close(Some(CloseFrame {
            code: code.into(),
            reason: reason.into(),
        })),
        other => panic!("{other:?}"),
    }
}

/// All that they read of these bytes.
fn they_read(peer: &mut WebSocket<Pipe>, bytes: &[u8]) -> Vec<Got> {
    peer.get_mut().theirs.extend_from_slice(bytes);
    let mut got = Vec::new();
    loop {
        match peer.read() {
            Ok(message) => got.push(theirs(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return got,
            Err(Error::ConnectionClosed) => return got,
            Err(error) => panic!("{error}"),
        }
    }
}

fn message_of_any_kind() -> impl Strategy<Value = Got> {
    let bytes = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (65_000_usize..MAX_BYTES).prop_map(|n| vec![7; n]),
    ];
    prop_oneof![
        3 => "[a-z€]{0,200}".prop_map(|text| Got::Message(Kind::Text, text.into_bytes())),
        3 => bytes.prop_map(|bytes| Got::Message(Kind::Binary, bytes)),
        1 => proptest::collection::vec(any::<u8>(), 0..126).prop_map(Got::Ping),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both sides of ours with both sides of theirs: what is said is heard, pings are answered, and
    /// one close each way ends it.
    #[test]
    fn tungstenite_hears_what_we_say_and_is_heard(
        ours in proptest::collection::vec(message_of_any_kind(), 0..6),
        said in proptest::collection::vec(message_of_any_kind(), 0..6),
        code in prop_oneof![Just(1000_u16), Just(1001), Just(3000), Just(4999)],
    ) {
        let close = Got::Closed(Some(code), String::new());
        let pongs = |said: &[Got]| -> Vec<Got> {
            let pings = said.iter().filter_map(|got| match got {
                Got::Ping(payload) => Some(Got::Pong(payload.clone())),
                _ => None,
            });
            pings.collect()
        };

        let (mut client, mut peer) = our_client();
        let mut out = Vec::new();
        for got in &ours {
            match got {
                Got::Message(kind, payload) => client.send(&mut out, *kind, payload),
                Got::Ping(payload) => client.ping(&mut out, payload),
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(&they_read(&mut peer, &out), &ours);
        for got in &said {
            peer.send(as_theirs(got)).unwrap();
        }
        peer.close(match as_theirs(&close) {
            Message::Close(close) => close,
            _ => None,
        }).unwrap();
        let bytes = std::mem::take(&mut peer.get_mut().ours);
        let (mut input, mut got, mut answers) = (&bytes[..], Vec::new(), Vec::new());
        while let Some(incoming) = client.next(&mut input, &mut answers) {
            got.push(Got::from(incoming));
        }
        // Of several pings in one read tungstenite answers the last, as it may.
        let (their_pongs, got): (Vec<_>, Vec<_>) =
            got.into_iter().partition(|got| matches!(got, Got::Pong(_)));
        let all = pongs(&ours);
        prop_assert_eq!(their_pongs.last(), all.last());
        prop_assert_eq!(got, [&said[..], std::slice::from_ref(&close)].concat());
        let heard = they_read(&mut peer, &answers);
        prop_assert_eq!(heard, [&pongs(&said)[..], std::slice::from_ref(&close)].concat());

        let (mut server, mut peer) = our_server();
        for got in &said {
            peer.send(as_theirs(got)).unwrap();
        }
        let bytes = std::mem::take(&mut peer.get_mut().ours);
        let (mut input, mut got, mut out) = (&bytes[..], Vec::new(), Vec::new());
        while let Some(received) = server.next(&mut input, &mut out) {
            got.push(Got::from(received));
        }
        prop_assert_eq!(&got, &said);
        for got in &ours {
            match got {
                Got::Message(kind, payload) => server.send(&mut out, *kind, payload),
                Got::Ping(payload) => server.ping(&mut out, payload),
                other => panic!("{other:?}"),
            }
        }
        server.close(&mut out, code, "");
        let expected = [&pongs(&said)[..], &ours, std::slice::from_ref(&close)].concat();
        prop_assert_eq!(they_read(&mut peer, &out), expected);
        let bytes = std::mem::take(&mut peer.get_mut().ours);
        let (mut input, mut answers) = (&bytes[..], Vec::new());
        let mut last = None;
        while let Some(received) = server.next(&mut input, &mut answers) {
            last = Some(Got::from(received));
        }
        prop_assert_eq!(last, Some(close));
        prop_assert_eq!(answers, b"");
    }
}
