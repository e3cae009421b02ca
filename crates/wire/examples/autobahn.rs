//! The WebSocket codec as both ends of an echo, for the Autobahn test suite
//! (<https://github.com/crossbario/autobahn-testsuite>): `docs/WEBSOCKET.md` has what came of it.
//!
//! The suite is on PyPI and wants Python 2.7. With it:
//!
//! ```text
//! cargo run -p chatbench-wire --example autobahn -- server 127.0.0.1:9002
//! wstest -m fuzzingclient -s fuzzingclient.json        # "servers": [{"url": "ws://127.0.0.1:9002"}]
//!
//! wstest -m fuzzingserver -s fuzzingserver.json        # "url": "ws://127.0.0.1:9001"
//! cargo run -p chatbench-wire --example autobahn -- client 127.0.0.1:9001
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use chatbench_wire::websocket::{
    Asked, Client, Handshake, Incoming, Kind, Received, Request, Server,
};

/// The longest message of the suite is 16 MiB.
const MAX_MESSAGE_BYTES: usize = 32 << 20;

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", address] => {
            let listener = TcpListener::bind(address)?;
            for stream in listener.incoming() {
                let stream = stream?;
                std::thread::spawn(|| {
                    // A peer that hangs up is the end of its connection, and of no other.
                    let _ = serve(stream);
                });
            }
            Ok(())
        }
        ["client", address] => {
            let mut cases = String::new();
            converse(address, "/getCaseCount", |text| {
                cases = String::from_utf8_lossy(text).into_owned();
            })?;
            let cases: usize = cases.parse().map_err(io::Error::other)?;
            for case in 1..=cases {
                let path = format!("/runCase?case={case}&agent=chatbench");
                converse(address, &path, |_| {})?;
            }
            converse(address, "/updateReports?agent=chatbench", |_| {})
        }
        _ => Err(io::Error::other("usage: autobahn server|client ADDRESS")),
    }
}

/// One connection of a server that echoes.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let (mut handshake, mut server, mut out) = (Handshake::default(), None, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(());
        }
        let mut input = &buffer[..bytes];
        if server.is_none() {
            match handshake.next(&mut input) {
                None => continue,
                Some(Asked::Upgrade(upgrade)) => {
                    upgrade.accept(None, &mut out);
                    server = Some(Server::new(MAX_MESSAGE_BYTES));
                }
                Some(Asked::Bad(bad)) => {
                    bad.answer(&mut out);
                    return stream.write_all(&out);
                }
                Some(Asked::Plain(_)) => return Ok(()),
            }
        }
        if let Some(server) = &mut server {
            let mut echo = Vec::new();
            while let Some(received) = server.next(&mut input, &mut out) {
                if let Received::Message { kind, payload, .. } = received {
                    echo.clear();
                    echo.extend_from_slice(payload);
                    server.send(&mut out, kind, &echo);
                }
            }
            stream.write_all(&out)?;
            out.clear();
            if server.is_closed() {
                return Ok(());
            }
        }
    }
}

/// One connection of a client that echoes.
fn converse(address: &str, path: &str, mut on_message: impl FnMut(&[u8])) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let request = Request {
        host: address,
        path,
        subprotocols: &[],
        fields: &[],
    };
    let mut out = Vec::new();
    let mut client = Client::open(&request, 1, MAX_MESSAGE_BYTES, &mut out);
    let mut buffer = vec![0; 1 << 16];
    loop {
        // The server may have hung up already: what it said before is read.
        let _ = stream.write_all(&out);
        out.clear();
        let bytes = stream.read(&mut buffer).unwrap_or(0);
        if bytes == 0 {
            return match client.finish() {
                Some(Incoming::Refused(refused)) => Err(io::Error::other(refused.to_string())),
                _ => Ok(()),
            };
        }
        let mut input = &buffer[..bytes];
        let mut echo: Option<(Kind, Vec<u8>)> = None;
        loop {
            if let Some((kind, payload)) = echo.take() {
                client.send(&mut out, kind, &payload);
            }
            match client.next(&mut input, &mut out) {
                None => break,
                Some(Incoming::Message { kind, payload, .. }) => {
                    on_message(payload);
                    echo = Some((kind, payload.to_vec()));
                }
                Some(Incoming::Refused(refused)) => {
                    return Err(io::Error::other(refused.to_string()));
                }
                Some(_) => {}
            }
        }
    }
}
