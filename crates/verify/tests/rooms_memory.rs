//! What a membership and a room take of the driver's memory, as the verifier keeps them.
//!
//! A test binary of its own, since it counts what is allocated.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::sync::Arc;

use chatbench_verify::directory::{ClientId, Directory};
use chatbench_verify::judge::Judge;
use chatbench_verify::ledger::{Handle, Ledger, Terms};
use chatbench_verify::promises::Promises;
use chatbench_verify::wire::protocol::Protocol;
use chatbench_verify::wire::rooms::{RoomId, RoomNames};
use chatbench_verify::wire::seen::Seen;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What may be taken of each membership of a connection beyond its first.
const MEMBERSHIP_BYTES: usize = 200;

/// What may be taken of each room, members apart.
const ROOM_BYTES: usize = 4 << 10;

const CONNECTIONS: u32 = 5_000;
const ROOMS: u32 = 1_000;

struct Run {
    ledger: Ledger,
    judge: Judge,
    connections: Vec<Handle>,
}

impl Run {
    fn new(rooms: u32) -> Self {
        let names: Vec<String> = (1..=rooms).map(|n| format!("room-{n}")).collect();
        let names = Arc::new(RoomNames::new(names.iter().map(String::as_str)));
        let clients = (0..CONNECTIONS).map(|n| format!("client-{n}")).collect();
        let directory = Arc::new(Directory::new(clients).with_rooms(names));
        let terms = Terms {
            run: 7,
            seed: 42,
            late_after_ns: None,
            addresses_known: false,
            promises: Promises::default(),
            capabilities: Protocol::Ndjson.capabilities(),
        };
        let mut ledger = Ledger::new(terms, directory.clone());
        let connect = |client| {
            let handle = ledger.connecting(ClientId(client)).unwrap();
            ledger.connected(handle, "127.0.0.1:1".parse().unwrap());
            let (seq, me) = (0, "127.0.0.1:1".into());
            ledger.saw(handle, &Seen::Open { seq, me }, 1);
            handle
        };
        let connections = (0..CONNECTIONS).map(connect).collect();
        Self {
            ledger,
            judge: Judge::new(directory, 1, None),
            connections,
        }
    }

    fn join(&mut self, connection: usize, room: u32) {
        let (handle, room) = (self.connections[connection], RoomId(room));
        assert!(self.ledger.joining(handle, room));
        let (seq, me) = (0, "".into());
        self.ledger.saw_in(handle, room, &Seen::Open { seq, me }, 2);
    }

    /// Bytes held when everything has been handed over.
    fn settled_bytes(&mut self) -> usize {
        self.judge.absorb(0, self.ledger.take_batch(), |_| ());
        ALLOCATED.current_usage()
    }
}

#[test]
fn a_membership_takes_200_bytes_and_a_room_4_kib() {
    let mut run = Run::new(ROOMS);
    for connection in 0..CONNECTIONS {
        run.join(connection as usize, 1 + connection % ROOMS);
    }
    let before = run.settled_bytes();
    let further = 9;
    for connection in 0..CONNECTIONS {
        for n in 1..=further {
            run.join(connection as usize, 1 + (connection + n * 97) % ROOMS);
        }
    }
    let after = run.settled_bytes();
    let each = (after - before) / (CONNECTIONS * further) as usize;
    println!("{each} bytes a membership");
    assert!(each <= MEMBERSHIP_BYTES, "{each} bytes a membership");

    // Rooms of two members each.
    let rooms = CONNECTIONS / 2;
    let mut run = Run::new(rooms);
    let before = run.settled_bytes();
    for connection in 0..CONNECTIONS {
        run.join(connection as usize, 1 + connection / 2);
    }
    let after = run.settled_bytes();
    let each = (after - before) / rooms as usize - 2 * MEMBERSHIP_BYTES;
    println!("{each} bytes a room");
    assert!(each <= ROOM_BYTES, "{each} bytes a room");
}
