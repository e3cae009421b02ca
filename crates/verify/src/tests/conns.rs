//! Connections of the tests: what clients read and send, as a protocol has it.

use std::sync::Arc;

use crate::ledger::{Event, Handle, Ledger, Terms};
use chatbench_wire::protocol::{AnyConn, Opening, Protocol};
use chatbench_wire::rooms::RoomNames;
use chatbench_wire::seen::{Conn, RawSent};

/// What a target of these terms speaks.
pub(super) fn protocol(terms: &Terms) -> Protocol {
    let spoken = Protocol::ALL.into_iter();
    let mut spoken = spoken.filter(|protocol| protocol.capabilities() == terms.capabilities);
    spoken.next().expect("a protocol has these capabilities")
}

/// A connection at its beginning.
pub(super) fn open(protocol: Protocol) -> AnyConn {
    open_in(protocol, &Arc::default())
}

/// The same in a run that has these rooms.
pub(super) fn open_in(protocol: Protocol, rooms: &Arc<RoomNames>) -> AnyConn {
    let opening = Opening {
        rooms: Arc::clone(rooms),
        ..Opening::reading(65_536)
    };
    protocol.open(&opening, &mut Vec::new())
}

/// A session reads these bytes, and perhaps splits a frame.
pub(super) fn read_on(
    ledger: &mut Ledger,
    handle: Handle,
    conn: &mut AnyConn,
    bytes: &[u8],
    now_ns: u64,
) -> Vec<Event> {
    let mut events = Vec::new();
    ledger.read(handle, conn, bytes, &mut Vec::new(), now_ns, |_, event| {
        events.push(event);
    });
    events
}

/// A session reads these bytes, which are whole frames.
pub(super) fn read(
    protocol: Protocol,
    ledger: &mut Ledger,
    handle: Handle,
    bytes: &[u8],
    now_ns: u64,
) -> Vec<Event> {
    let mut conn = open(protocol);
    let mut events = read_on(ledger, handle, &mut conn, bytes, now_ns);
    ledger.finish(handle, &mut conn, now_ns, |_, event| events.push(event));
    events
}

/// What bytes that a script sends are to a server of the reference protocol.
pub(super) fn raw(bytes: &[u8]) -> RawSent {
    raw_in(Protocol::Ndjson, bytes)
}

/// The same in any protocol.
pub(super) fn raw_in(protocol: Protocol, bytes: &[u8]) -> RawSent {
    open(protocol).raw(&mut Vec::new(), bytes, 65_536)
}
