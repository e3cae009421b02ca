//! What the verifier keeps does not grow with the run: counted to the byte by the allocator, while
//! a right server with clients that come and go is followed 10 and 100 times as long.
//!
//! `cargo test --test soak -- --nocapture` prints what it counted.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use chatbench::scenario::plan::Promises;
use chatbench::verify::directory::{ClientId, Directory};
use chatbench::verify::ids::publish_id;
use chatbench::verify::judge::Judge;
use chatbench::verify::ledger::{Ending, Handle, Ledger, Terms};
use chatbench::verify::trace::file::Recording;
use chatbench::verify::trace::{Header, verify};
use chatbench::wire::ndjson;
use chatbench::wire::payload::{self, SenderId};
use chatbench::wire::protocol::Protocol;
use chatbench::wire::protocol::ndjson::Ndjson;
use peak_alloc::PeakAlloc;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Messages that a client may be behind, and that the simulated server keeps.
const WINDOW: u64 = 256;
/// Messages between two hand-overs.
const HAND_OVER_EVERY: u64 = 64;
/// Messages between two clients that leave.
const CHURN_EVERY: u64 = 8;
/// Messages of a run of length 1.
const MESSAGES: u64 = 2500;
/// Bytes of a message.
const SIZE: usize = 100;
/// What the trace's writer may be behind by: 256 blocks of 64 KiB, in vectors that double.
const WAITING_BLOCKS_BYTES: usize = 256 * (128 << 10);

#[derive(Debug, Clone, Copy)]
struct Setup {
    numbered: bool,
    clients: usize,
    /// How many of those who leave have sent a message that will never be numbered.
    lost_at_leaving: bool,
}

struct Client {
    handle: Handle,
    shard: usize,
    session: u32,
    address: SocketAddr,
    /// The next number that it reads.
    next: u64,
    /// Of its own messages the last.
    last_sent: u64,
}

/// A message in the server's log.
struct Entry {
    session: u32,
    relay: Vec<u8>,
    ack: Vec<u8>,
}

struct World {
    setup: Setup,
    terms: Terms,
    ledgers: Vec<Ledger>,
    judge: Judge,
    clients: Vec<Client>,
    log: VecDeque<Entry>,
    head: u64,
    sessions: u32,
    lost: u64,
    rng: Pcg64Mcg,
}

impl World {
    fn new(setup: Setup, recording: Option<&Recording>) -> Self {
        let terms = terms(setup.numbered, Protocol::Ndjson);
        assert_eq!(terms.are_numbered(), setup.numbered);
        let names: Vec<String> = (0..setup.clients).map(|i| format!("c{i}")).collect();
        let shards = if setup.numbered { 2 } else { 1 };
        if let Some(recording) = recording {
            recording.begin(&Header {
                rooms: Vec::new(),
                scenario: "soak".to_owned(),
                target: "simulated".to_owned(),
                terms,
                shards,
                clients: names.clone(),
            });
        }
        let directory = Arc::new(Directory::new(names));
        let shards = usize::from(shards);
        let mut ledgers: Vec<Ledger> = (0..shards)
            .map(|_| Ledger::new(terms, Arc::clone(&directory)))
            .collect();
        let mut judge = Judge::new(directory, shards, None);
        if let Some(recording) = recording {
            recording.attach(&mut ledgers, &mut judge);
        }
        let mut world = Self {
            setup,
            terms,
            ledgers,
            judge,
            clients: Vec::new(),
            log: VecDeque::new(),
            head: 0,
            sessions: 0,
            lost: 0,
            rng: Pcg64Mcg::seed_from_u64(7),
        };
        for _ in 0..setup.clients {
            world.join();
        }
        world
    }

    fn join(&mut self) {
        let session = self.sessions;
        self.sessions += 1;
        let place = self.clients.len();
        let shard = place % self.ledgers.len();
        let ledger = &mut self.ledgers[shard];
        let handle = ledger.connecting(ClientId(place as u32)).unwrap();
        let address = ([127, 0, 0, 1], 10_000 + (session % 50_000) as u16).into();
        ledger.connected(handle, address);
        let mut welcome = Vec::new();
        ndjson::encode_welcome(&mut welcome, &address.to_string(), self.head, 65_536);
        let client = Client {
            handle,
            shard,
            session,
            address,
            next: self.head + 1,
            last_sent: 0,
        };
        self.read(&client, &welcome);
        self.clients.push(client);
    }

    fn read(&mut self, client: &Client, bytes: &[u8]) {
        let ledger = &mut self.ledgers[client.shard];
        read(ledger, client.handle, bytes, self.head);
    }

    fn send(&mut self, place: usize) -> Entry {
        let client = &self.clients[place];
        let ledger = &mut self.ledgers[client.shard];
        let header = ledger
            .sending(client.handle, self.head, self.head, false)
            .unwrap();
        assert_eq!(header.sender, SenderId(client.session));
        let (seq, mut text) = (self.head + 1, Vec::new());
        payload::encode(&mut text, self.terms.seed, &header, SIZE);
        let text = String::from_utf8(text).unwrap();
        let (mut relay, mut ack) = (Vec::new(), Vec::new());
        ndjson::encode_relay(&mut relay, seq, &client.address.to_string(), &text);
        ndjson::encode_ack(&mut ack, seq, Some(publish_id(header.sender, header.k)));
        Entry {
            session: client.session,
            relay,
            ack,
        }
    }

    /// The client in `place` reads everything up to number `until`.
    fn read_until(&mut self, place: usize, until: u64) {
        let oldest = self.head + 1 - self.log.len() as u64;
        let client = &self.clients[place];
        let mut stream = Vec::new();
        for n in client.next..=until {
            let entry = &self.log[(n - oldest) as usize];
            let own = entry.session == client.session;
            stream.extend_from_slice(if own { &entry.ack } else { &entry.relay });
        }
        let mut client = self.clients.swap_remove(place);
        self.read(&client, &stream);
        client.next = client.next.max(until + 1);
        self.clients.push(client);
        let last = self.clients.len() - 1;
        self.clients.swap(place, last);
    }

    /// One message, and who happens to read then.
    fn step(&mut self) {
        let sender = self.rng.random_range(0..self.clients.len());
        let entry = self.send(sender);
        self.head += 1;
        self.clients[sender].last_sent = self.head;
        self.log.push_back(entry);
        for place in 0..self.clients.len() {
            let next = self.clients[place].next;
            if self.head - next + 1 >= WINDOW {
                self.read_until(place, self.head);
            } else if next <= self.head && self.rng.random_bool(0.05) {
                let until = self.rng.random_range(next..=self.head);
                self.read_until(place, until);
            }
        }
        if self.log.len() as u64 > WINDOW {
            self.log.pop_front();
        }
        if self.head.is_multiple_of(CHURN_EVERY) {
            let place = self.rng.random_range(1..self.clients.len());
            self.leave(place);
            self.join();
        }
        if self.head.is_multiple_of(HAND_OVER_EVERY) {
            self.hand_over();
        }
    }

    /// Politely, or by breaking off: amid what it was to read, and perhaps amid a message.
    fn leave(&mut self, place: usize) {
        let unacked = self.clients[place].last_sent >= self.clients[place].next;
        let polite = unacked || self.rng.random_bool(0.5);
        if polite {
            self.read_until(place, self.head);
        } else if self.setup.lost_at_leaving {
            self.send(place);
            self.lost += 1;
        }
        let client = self.clients.swap_remove(place);
        if polite {
            self.ledgers[client.shard].leaving(client.handle, 0);
            let mut bye = Vec::new();
            ndjson::encode_bye(&mut bye, self.head);
            self.read(&client, &bye);
        } else {
            self.ledgers[client.shard].letting_go(client.handle);
        }
        let ending = if polite { Ending::Eof } else { Ending::Ours };
        self.ledgers[client.shard].ended(client.handle, ending, b"", self.head);
    }

    fn hand_over(&mut self) {
        for shard in 0..self.ledgers.len() {
            let batch = self.ledgers[shard].take_batch();
            self.judge.absorb(shard, batch, |_| ());
        }
    }

    /// Everybody reads the rest and leaves: whether it was all as it should be.
    fn conclude(mut self) -> u64 {
        while !self.clients.is_empty() {
            self.read_until(0, self.head);
            let client = self.clients.swap_remove(0);
            let mut bye = Vec::new();
            self.ledgers[client.shard].leaving(client.handle, 0);
            ndjson::encode_bye(&mut bye, self.head);
            self.read(&client, &bye);
            self.ledgers[client.shard].ended(client.handle, Ending::Eof, b"", self.head);
        }
        self.hand_over();
        let findings = self.judge.finish(false, |_| ());
        assert_eq!(findings.violation_count(), 0, "{:#?}", findings.violations);
        assert_eq!(findings.undecided, [""; 0]);
        assert_eq!(findings.counts.sent, self.head + self.lost);
        findings.counts.delivered
    }
}

fn terms(numbered: bool, protocol: Protocol) -> Terms {
    Terms {
        run: 1,
        seed: 42,
        late_after_ns: None,
        addresses_known: true,
        promises: Promises {
            use_seq: numbered,
            ..Promises::default()
        },
        capabilities: protocol.capabilities(),
    }
}

/// A session reads whole lines.
fn read(ledger: &mut Ledger, handle: Handle, lines: &[u8], now_ns: u64) {
    let mut conn = Ndjson::new(65_536);
    ledger.read(handle, &mut conn, lines, &mut Vec::new(), now_ns, |_, _| ());
}

/// The most that is held while so many sessions come and go, one after another, and nobody talks.
fn come_and_go(terms: Terms, sessions: usize) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let directory = Arc::new(Directory::new(vec!["c0".to_owned()]));
    let mut ledger = Ledger::new(terms, Arc::clone(&directory));
    let mut judge = Judge::new(directory, 1, None);
    for session in 0..sessions {
        let handle = ledger.connecting(ClientId(0)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (session % 50_000) as u16));
        ledger.connected(handle, address);
        let mut told = Vec::new();
        if terms.capabilities.welcome {
            ndjson::encode_welcome(&mut told, &address.to_string(), 0, 65_536);
            ndjson::encode_bye(&mut told, 0);
        }
        ledger.leaving(handle, 0);
        read(&mut ledger, handle, &told, 1);
        ledger.ended(handle, Ending::Eof, b"", 1);
        if session.is_multiple_of(100) {
            judge.absorb(0, ledger.take_batch(), |_| ());
        }
    }
    let peak_bytes = ALLOCATED.peak_usage() - before;
    judge.absorb(0, ledger.take_batch(), |_| ());
    let findings = judge.finish(false, |_| ());
    assert_eq!(findings.violation_count(), 0, "{:#?}", findings.violations);
    assert_eq!(findings.counts.sessions, sessions as u64);
    peak_bytes
}

/// What a run came to.
struct Soaked {
    /// The most that was held at any time, what the simulation holds itself included.
    peak_bytes: usize,
    lost: u64,
    deliveries: u64,
}

fn soak(setup: Setup, times: u64, recording: Option<&Recording>) -> Soaked {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let mut world = World::new(setup, recording);
    for _ in 0..MESSAGES * times {
        world.step();
    }
    let peak_bytes = ALLOCATED.peak_usage() - before;
    let lost = world.lost;
    Soaked {
        peak_bytes,
        lost,
        deliveries: world.conclude(),
    }
}

/// One test: what is counted is the whole process's.
#[test]
fn what_is_kept_does_not_grow_with_the_run() {
    for (numbered, dialect) in [
        (true, Protocol::Ndjson),
        (false, Protocol::Ndjson),
        (false, Protocol::Classic),
    ] {
        let [few, many] = [1000, 30_000].map(|n| come_and_go(terms(numbered, dialect), n));
        println!("{dialect}, numbered {numbered}, nobody talks: {few}, then {many} bytes");
        assert!(many <= few + few / 10, "{dialect}, numbered {numbered}");
    }
    for numbered in [true, false] {
        let setup = |clients| Setup {
            numbered,
            clients,
            lost_at_leaving: false,
        };
        let name = if numbered {
            "numbered"
        } else {
            "inferred order"
        };
        let [one, ten, hundred] = [1, 10, 100].map(|times| soak(setup(20), times, None));
        println!(
            "{name}, 20 clients, {} deliveries: {} bytes at most; {}: {}; {}: {}",
            one.deliveries,
            one.peak_bytes,
            ten.deliveries,
            ten.peak_bytes,
            hundred.deliveries,
            hundred.peak_bytes
        );
        assert!(hundred.deliveries > 9 * ten.deliveries);
        let limit = ten.peak_bytes + ten.peak_bytes / 10;
        assert!(hundred.peak_bytes <= limit, "{name}: it grows");

        // More clients, the same traffic.
        let many = soak(setup(1020), 2, None);
        let few = soak(setup(20), 2, None);
        let each = (many.peak_bytes - few.peak_bytes) / 1000;
        println!("{name}: {each} bytes a client");
        assert!(each <= 2048, "{name}: {each} bytes a client");

        // Who breaks off amid a message is remembered: as long as there is room.
        let amid = Setup {
            lost_at_leaving: true,
            ..setup(20)
        };
        let [ten, thirty] = [10, 30].map(|times| soak(amid, times, None));
        let more = thirty.peak_bytes.saturating_sub(ten.peak_bytes);
        let each = more / (thirty.lost - ten.lost) as usize;
        println!("{name}: {each} bytes a client that broke off amid a message");
        assert!(each <= 1152, "{name}: {each} bytes");

        let directory = tempfile::tempdir().unwrap();
        for times in [10, 30] {
            let path = directory.path().join(format!("{times}.trace"));
            let recording = Recording::create(&path, false).unwrap();
            let soaked = soak(setup(20), times, Some(&recording));
            let bytes = recording.finish(Vec::new()).unwrap();
            println!(
                "{name}, recorded, {} deliveries: {} bytes at most, a trace of {bytes}",
                soaked.deliveries, soaked.peak_bytes
            );
            assert!(soaked.peak_bytes <= limit + WAITING_BLOCKS_BYTES);
            if times == 10 {
                let trace = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
                let verified = verify(trace).unwrap();
                assert_eq!(verified.findings.counts.delivered, soaked.deliveries);
            }
        }
    }
}
