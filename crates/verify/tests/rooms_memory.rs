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

/// What may be taken of each membership of a connection beyond its first: with the few words that
/// the driver keeps of it besides, no more than 200 bytes.
const MEMBERSHIP_BYTES: usize = 160;

/// The same by inferred order, where more is remembered of a session.
const INFERRED_BYTES: usize = 340;

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
    fn new(rooms: u32, promises: Promises) -> Self {
        let names: Vec<String> = (1..=rooms).map(|n| format!("room-{n}")).collect();
        let names = Arc::new(RoomNames::new(names.iter().map(String::as_str)));
        let clients = (0..CONNECTIONS).map(|n| format!("client-{n}")).collect();
        let directory = Arc::new(Directory::new(clients).with_rooms(names));
        let terms = Terms {
            run: 7,
            seed: 42,
            late_after_ns: None,
            addresses_known: false,
            promises,
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

/// The most that each of up to 20 further memberships of a connection takes, on average, whenever one
/// looks: what grows by doubling is largest just after that.
fn bytes_a_membership(promises: Promises) -> usize {
    let mut run = Run::new(ROOMS, promises);
    for connection in 0..CONNECTIONS {
        run.join(connection as usize, 1 + connection % ROOMS);
    }
    let before = run.settled_bytes();
    let mut most = 0;
    for further in 1..=20 {
        for connection in 0..CONNECTIONS {
            run.join(connection as usize, 1 + (connection + further * 97) % ROOMS);
        }
        let bytes = run.settled_bytes() - before;
        most = most.max(bytes / (CONNECTIONS * further) as usize);
    }
    most
}

#[test]
fn a_membership_and_a_room_take_little() {
    let each = bytes_a_membership(Promises::default());
    println!("{each} bytes a membership");
    assert!(each <= MEMBERSHIP_BYTES, "{each} bytes a membership");

    let inferred = Promises {
        use_seq: false,
        ..Promises::default()
    };
    let each = bytes_a_membership(inferred);
    println!("{each} bytes a membership by inferred order");
    assert!(each <= INFERRED_BYTES, "{each} bytes by inferred order");

    // Rooms of two members each.
    let rooms = CONNECTIONS / 2;
    let mut run = Run::new(rooms, Promises::default());
    let before = run.settled_bytes();
    for connection in 0..CONNECTIONS {
        run.join(connection as usize, 1 + connection / 2);
    }
    let after = run.settled_bytes();
    let each = (after - before) / rooms as usize - 2 * MEMBERSHIP_BYTES;
    println!("{each} bytes a room");
    assert!(each <= ROOM_BYTES, "{each} bytes a room");
}
