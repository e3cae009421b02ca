//! What a target says to the clients of a run, as it comes: texts of the classic dialect and lines
//! of the other, against ledger and judge.
//!
//! An input: a byte for dialect and recording, one for the promises, then steps: a byte for which
//! one and of which client, and what that takes. Acks and relays are of messages that were sent, as
//! often as not altered, cut in two, or to somebody else.
//!
//! - No stream panics, and every count balances: a delivery that was owed came, was lost, or was
//!   wrong in itself.
//! - A trace of it comes to the same findings, and is not cut off.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use chatbench::scenario::plan::Promises;
use chatbench::verify::directory::{ClientId, Directory};
use chatbench::verify::findings::Findings;
use chatbench::verify::ids::publish_id;
use chatbench::verify::judge::Judge;
use chatbench::verify::ledger::{Ending, Handle, Ledger, Terms};
use chatbench::verify::trace::{self, file::Recording};
use chatbench::wire::Dialect;
use chatbench::wire::payload::{self, HEADER_BYTES, Header};
use chatbench::wire::protocol::{AnyConn, Opening, Protocol};
use chatbench::wire::rooms::RoomId;
use chatbench::wire::seen::{Conn, Publishing};
use chatbench::wire::{classic, ndjson};

use super::input::Input;

const RUN: u32 = 3;
const SEED: u64 = 5;
const CLIENTS: usize = 4;
const MAX_LINE_BYTES: usize = 65_792;

/// # Panics
/// Where something does not hold.
pub(crate) fn check(data: &[u8], directory: &Path) {
    let mut input = Input(data);
    let choice = input.byte();
    let protocol = if choice & 1 == 0 {
        Protocol::Classic
    } else {
        Protocol::Ndjson
    };
    let promises = input.promises();
    // A file for each input takes longer than all the rest.
    let recorded = choice & 14 == 14;
    let path = directory.join("fuzz.trace");
    let live = Session::new(protocol, promises, recorded.then_some(&path)).play(input);
    let counts = live.counts;
    assert!(counts.delivered + counts.lost <= counts.owed, "{counts:?}");
    if recorded {
        let file = std::fs::read(&path).expect("it was written just now");
        let replayed = trace::verify(&file[..]).expect("what was recorded can be read");
        assert_eq!(replayed.findings, live, "from its trace");
        assert!(replayed.doubts.is_empty(), "{:?}", replayed.doubts);
    }
}

struct Client {
    handle: Handle,
    address: SocketAddr,
    conn: AnyConn,
    /// It half-closed, and sends no more.
    leaving: bool,
}

struct Sent {
    header: Header,
    address: SocketAddr,
    text: Vec<u8>,
}

struct Session {
    protocol: Protocol,
    ledger: Ledger,
    judge: Judge,
    recording: Option<Recording>,
    now_ns: u64,
    connections: u16,
    clients: [Option<Client>; CLIENTS],
    sent: Vec<Sent>,
    seq: u64,
}

impl Session {
    fn new(protocol: Protocol, promises: Promises, path: Option<&std::path::PathBuf>) -> Self {
        let terms = Terms {
            run: RUN,
            seed: SEED,
            late_after_ns: Some(1 << 30),
            addresses_known: true,
            promises,
            capabilities: protocol.capabilities(),
        };
        let names: Vec<String> = (0..CLIENTS).map(|n| format!("c-{n}")).collect();
        let directory = Arc::new(Directory::new(names.clone()));
        let mut ledger = Ledger::new(terms, directory.clone());
        let mut judge = Judge::new(directory, 1, terms.late_after_ns);
        let recording = path.map(|path| {
            let recording = Recording::create(path, true).expect("a directory of its own");
            recording.begin(&trace::Header {
                rooms: Vec::new(),
                scenario: "fuzz".to_owned(),
                target: "fuzz".to_owned(),
                terms,
                shards: 1,
                clients: names,
            });
            recording.attach(std::slice::from_mut(&mut ledger), &mut judge);
            recording
        });
        Self {
            protocol,
            ledger,
            judge,
            recording,
            now_ns: 0,
            connections: 0,
            clients: [const { None }; CLIENTS],
            sent: Vec::new(),
            seq: 0,
        }
    }

    fn play(mut self, mut input: Input<'_>) -> Findings {
        while !input.is_empty() {
            let what = input.byte();
            let client = usize::from(what & 3);
            self.now_ns += u64::from(what >> 6) << 28;
            if self.clients[client].is_none() {
                self.connect(client);
            }
            match what >> 2 & 15 {
                0 | 1 => self.welcome(client),
                2..=4 => self.send(client, input.byte()),
                5..=10 => {
                    let bytes = self.answer(&mut input);
                    self.read(client, &bytes, input.byte());
                }
                11 => {
                    let len = input.byte().into();
                    let bytes = input.bytes(len);
                    self.read(client, bytes, input.byte());
                }
                12 => self.leave(client),
                13 => {
                    let len = input.byte().into();
                    let bytes = input.bytes(len);
                    if let Some((handle, _)) = self.sender(client)
                        && let Some(client) = &mut self.clients[client]
                    {
                        let sent = client.conn.raw(&mut Vec::new(), bytes, 65_536);
                        self.ledger.sending_raw(handle, &sent);
                    }
                }
                14 => {
                    if let Some(client) = &self.clients[client] {
                        self.ledger.letting_go(client.handle);
                    }
                    self.end(client, Ending::Ours);
                }
                _ => {
                    let endings = [Ending::Eof, Ending::Broken, Ending::TimeUp, Ending::Eof];
                    self.end(client, endings[usize::from(what >> 6)]);
                }
            }
            self.hand_over_if(self.ledger.wants_flush());
        }
        for client in 0..CLIENTS {
            self.end(client, Ending::TimeUp);
        }
        self.hand_over_if(true);
        let Self {
            ledger,
            judge,
            recording,
            ..
        } = self;
        drop(ledger);
        let findings = judge.finish(false, |_| ());
        if let Some(recording) = recording {
            recording.finish(Vec::new()).expect("it can be written");
        }
        findings
    }

    fn hand_over_if(&mut self, wanted: bool) {
        if wanted {
            self.judge.absorb(0, self.ledger.take_batch(), |_| ());
        }
    }

    fn connect(&mut self, client: usize) {
        let Some(handle) = self.ledger.connecting(ClientId(client as u32)) else {
            return;
        };
        self.connections += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], self.connections));
        self.ledger.connected(handle, address);
        let opening = Opening {
            local: Some(address),
            ..Opening::reading(MAX_LINE_BYTES)
        };
        let conn = (self.protocol).open(&opening, &mut Vec::new());
        self.clients[client] = Some(Client {
            handle,
            address,
            conn,
            leaving: false,
        });
    }

    /// Whoever may send: clients do so between their welcome and their goodbye.
    fn sender(&self, client: usize) -> Option<(Handle, SocketAddr)> {
        let client = self.clients[client].as_ref()?;
        let may = self.ledger.is_open(client.handle) && !client.leaving;
        may.then_some((client.handle, client.address))
    }

    fn leave(&mut self, client: usize) {
        if let Some(client) = &mut self.clients[client]
            && !std::mem::replace(&mut client.leaving, true)
        {
            self.ledger.leaving(client.handle, self.now_ns);
        }
    }

    fn welcome(&mut self, client: usize) {
        let Some(Client { address, .. }) = self.clients[client] else {
            return;
        };
        let mut line = Vec::new();
        if self.protocol == Protocol::Ndjson {
            ndjson::encode_welcome(&mut line, &address.to_string(), self.seq, 65_536);
        }
        self.read(client, &line, 0);
    }

    fn send(&mut self, client: usize, choice: u8) {
        let Some((handle, address)) = self.sender(client) else {
            return;
        };
        let last = choice == 0;
        let sending = self.ledger.sending(handle, self.now_ns, self.now_ns, last);
        let Some(header) = sending else {
            return;
        };
        let mut text = Vec::new();
        payload::encode(
            &mut text,
            SEED,
            &header,
            HEADER_BYTES + usize::from(choice & 7),
        );
        let says = String::from_utf8_lossy(&text);
        let publish = Publishing {
            room: RoomId::UNNAMED,
            text: &says,
            id: publish_id(header.sender, header.k),
            claims: None,
        };
        if let Some(client) = &mut self.clients[client]
            && let Some(glued) = client.conn.publish(&mut Vec::new(), publish)
        {
            self.ledger.sent_glued(handle, &header, glued);
        }
        self.sent.push(Sent {
            header,
            address,
            text,
        });
    }

    /// An ack or a relay of a message that was sent, maybe altered.
    fn answer(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let (choice, which) = (input.byte(), input.byte());
        let mut out = Vec::new();
        let nothing_sent = self.sent.len().saturating_sub(1);
        let Some(sent) = self
            .sent
            .get(nothing_sent.saturating_sub(usize::from(which & 15)))
        else {
            return out;
        };
        // The latest has a number of its own; what comes again has the one that it had.
        self.seq = self.seq.max(sent.header.k) + u64::from(choice & 4 != 0);
        let seq = self.seq.saturating_sub(u64::from(which >> 4));
        let address = sent.address.to_string();
        let text = String::from_utf8_lossy(&sent.text);
        match (self.protocol.dialect(), choice & 1) {
            (Dialect::Classic, 0) => classic::encode_relay(&mut out, &address, &text),
            (Dialect::Classic, _) => classic::encode_ack(&mut out, &address),
            (Dialect::Ndjson, 0) => ndjson::encode_relay(&mut out, seq, &address, &text),
            (Dialect::Ndjson, _) => {
                let id = publish_id(sent.header.sender, sent.header.k);
                ndjson::encode_ack(&mut out, seq, Some(id));
            }
        }
        if choice & 0xe0 == 0xe0 {
            let at = usize::from(input.byte()) % out.len();
            out[at] ^= input.byte();
        } else if choice & 0xe0 == 0xc0 {
            out.truncate(usize::from(input.byte()) % out.len());
        }
        out
    }

    /// The bytes come, cut in two at `cut`.
    fn read(&mut self, client: usize, bytes: &[u8], cut: u8) {
        let (first, second) = bytes.split_at(usize::from(cut).min(bytes.len()));
        for chunk in [first, second] {
            let Some(client) = &mut self.clients[client] else {
                return;
            };
            let (handle, now_ns) = (client.handle, self.now_ns);
            let (conn, out) = (&mut client.conn, &mut Vec::new());
            self.ledger
                .read(handle, conn, chunk, out, now_ns, |_, _| ());
        }
    }

    fn end(&mut self, client: usize, ending: Ending) {
        let Some(mut client) = self.clients[client].take() else {
            return;
        };
        let (handle, now_ns) = (client.handle, self.now_ns);
        if ending == Ending::Eof {
            self.ledger
                .finish(handle, &mut client.conn, now_ns, |_, _| ());
        }
        let unread = client.conn.unread();
        self.ledger.ended(handle, ending, unread, now_ns);
    }
}
