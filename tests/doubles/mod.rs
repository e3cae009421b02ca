//! Targets that break one promise each, on purpose: what `chatbench run` is pointed at to see
//! that it notices.
//!
//! A double is as plain as a correct server can be, one thread a connection and one lock, so that
//! it shares nothing with the reference server but the codec.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use chatbench::wire::ndjson;

/// The promise that a double breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None: it is correct.
    None,
    /// The third message does not reach the first receiver.
    LoseOneRelay,
    /// The second connection is closed when the third message comes.
    HangUpOnOne,
    /// Half-closes are never answered.
    NoBye,
    /// Answers as a web server would.
    SpeaksHttp,
    /// Welcomes to another version of the protocol.
    AnotherVersion,
    /// Welcomes without a number, in three writes.
    NoSeq,
    /// Begins where 2^53 ends.
    LargeNumbers,
    /// Takes lines of 512 bytes.
    ShortLines,
    /// Sends each client an error besides what it is owed.
    StrayErrors,
    /// Accepts and closes.
    ClosesAtOnce,
    /// Accepts and says nothing.
    Silent,
    /// Turns everyone away.
    Full,
    /// Welcomes everyone and reads nothing.
    Deaf,
    /// Holds back a thousand relays for each receiver until it leaves. Which it sends in exchange
    /// for one more is drawn for each receiver.
    Shuffles,
    /// Likewise, and answers no half-close: what it holds back never comes.
    ShufflesNoBye,
}

/// Relays that a target which shuffles holds back for each receiver.
const HELD_BACK: usize = 1000;

/// A running double. Its threads end with the test's process.
pub(crate) struct Double {
    address: SocketAddr,
}

impl Double {
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || accept(&listener, fault));
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ndjson://{}", self.address)
    }
}

#[derive(Default)]
struct Room {
    seq: u64,
    clients: Vec<(SocketAddr, TcpStream)>,
    held_back: HashMap<SocketAddr, Vec<Vec<u8>>>,
}

fn accept(listener: &TcpListener, fault: Fault) {
    let room = Arc::new(Mutex::new(Room {
        seq: if fault == Fault::LargeNumbers {
            (1 << 53) - 5
        } else {
            0
        },
        ..Room::default()
    }));
    let mut idle = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        match fault {
            Fault::SpeaksHttp => {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                idle.push(stream);
            }
            Fault::AnotherVersion => {
                let _ = stream.write_all(
                    b"{\"type\":\"welcome\",\"protocol\":2,\"client_ip\":\"127.0.0.1:1\",\
                      \"seq\":0,\"max_line\":65536}\n",
                );
                idle.push(stream);
            }
            Fault::NoSeq => {
                stream.set_nodelay(true).unwrap();
                for part in [
                    "{\"type\":\"welcome\",\"protocol\":1,",
                    "\"client_ip\":\"127.0.0.1:1\",",
                    "\"max_line\":65536}\n",
                ] {
                    let _ = stream.write_all(part.as_bytes());
                }
                idle.push(stream);
            }
            Fault::Full => {
                let mut line = Vec::new();
                ndjson::encode_error(&mut line, "server-full", "come back later", None);
                let _ = stream.write_all(&line);
            }
            Fault::Deaf => {
                let mut line = Vec::new();
                let peer = stream.peer_addr().unwrap();
                ndjson::encode_welcome(&mut line, &peer.to_string(), 0, 65_536);
                let _ = stream.write_all(&line);
                idle.push(stream);
            }
            Fault::ClosesAtOnce => {}
            Fault::Silent => idle.push(stream),
            _ => {
                let room = room.clone();
                thread::spawn(move || serve(stream, &room, fault));
            }
        }
    }
}

fn serve(mut stream: TcpStream, room: &Mutex<Room>, fault: Fault) {
    let peer = stream.peer_addr().unwrap();
    stream.set_nodelay(true).unwrap();
    {
        let mut room = room.lock().unwrap();
        let mut line = Vec::new();
        let max_line = if fault == Fault::ShortLines {
            512
        } else {
            65_536
        };
        ndjson::encode_welcome(&mut line, &peer.to_string(), room.seq, max_line);
        if fault == Fault::StrayErrors {
            ndjson::encode_error(&mut line, "malformed", "what was that?", None);
        }
        let _ = stream.write_all(&line);
        room.clients.push((peer, stream.try_clone().unwrap()));
    }
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        if let Ok(publish) = ndjson::decode_publish(line.strip_suffix(b"\n").unwrap_or(&line)) {
            broadcast(&mut room.lock().unwrap(), peer, &publish, fault);
        }
        line.clear();
    }
    let mut room = room.lock().unwrap();
    if matches!(fault, Fault::NoBye | Fault::ShufflesNoBye) {
        return; // the room keeps the stream: it stays open
    }
    let held_back = room.held_back.remove(&peer).unwrap_or_default();
    let _ = stream.write_all(&shuffled(held_back, peer));
    let mut bye = Vec::new();
    ndjson::encode_bye(&mut bye, room.seq);
    let _ = stream.write_all(&bye);
    room.clients.retain(|(address, _)| *address != peer);
    let _ = stream.shutdown(Shutdown::Both);
}

fn broadcast(room: &mut Room, peer: SocketAddr, publish: &ndjson::Publish<'_>, fault: Fault) {
    room.seq += 1;
    let seq = room.seq;
    let (mut ack, mut relay) = (Vec::new(), Vec::new());
    ndjson::encode_ack(&mut ack, seq, publish.id);
    ndjson::encode_relay(&mut relay, seq, &peer.to_string(), &publish.message);
    if fault == Fault::HangUpOnOne && seq == 3 {
        // The second to come, so never the observer.
        let (_, stream) = room.clients.remove(1);
        let _ = stream.shutdown(Shutdown::Both);
    }
    let mut to_lose = fault == Fault::LoseOneRelay && seq == 3;
    for (address, stream) in &mut room.clients {
        if *address == peer {
            let _ = stream.write_all(&ack);
        } else if matches!(fault, Fault::Shuffles | Fault::ShufflesNoBye) {
            let held_back = room.held_back.entry(*address).or_default();
            held_back.push(relay.clone());
            if held_back.len() > HELD_BACK {
                let drawn = hash(&relay, *address) as usize % held_back.len();
                let _ = stream.write_all(&held_back.swap_remove(drawn));
            }
        } else if !std::mem::take(&mut to_lose) {
            let _ = stream.write_all(&relay);
        }
    }
}

/// The lines in an order that is that of `receiver` alone.
fn shuffled(mut lines: Vec<Vec<u8>>, receiver: SocketAddr) -> Vec<u8> {
    lines.sort_by_cached_key(|line| hash(line, receiver));
    lines.concat()
}

fn hash(line: &[u8], receiver: SocketAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    (line, receiver).hash(&mut hasher);
    hasher.finish()
}
