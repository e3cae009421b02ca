//! One connection of a client, as the fleet keeps it.

use std::task::Waker;

use tokio::task::AbortHandle;

use super::rooms::Rooms;
use crate::net::Stream;
use crate::verify::ledger::Handle;
use crate::wire::protocol::AnyConn;

/// A client with so many unread bytes may look slow to the target: it is a quarter of the smallest
/// socket buffer, and so less than any server needs to find one full.
const BEHIND_BYTES: u64 = 16 << 10;

/// For so long after a client was last behind the target may still treat it as slow.
const BEHIND_FOR_NS: u64 = 1_000_000_000;

/// Bytes that the socket did not take yet. Senders add nothing while any are left, so this is never
/// more than the largest piece of one write.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
    /// How many of these bytes were sent since.
    sent: usize,
}

impl Unsent {
    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// The bytes that are still to be sent.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The socket took the first `n` bytes of the rest.
    pub(super) fn took(&mut self, n: usize) {
        self.sent += n;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Nothing is to be sent any more, and no memory is kept.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Identifies a connection of a client: a client that reconnects gets another one, which tasks of
/// the earlier one must not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::driver) struct ConnId {
    /// By its place in the fleet.
    pub(super) client: usize,
    /// How many the client has had, this one included.
    nth: u32,
}

impl ConnId {
    pub(super) const fn new(client: usize, nth: u32) -> Self {
        Self { client, nth }
    }
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) stream: Stream,
    /// Its session in the ledger.
    pub(super) handle: Handle,
    /// The state of its protocol.
    pub(super) conn: AnyConn,
    pub(super) unsent: Unsent,
    /// The welcome came, or the protocol has none.
    pub(super) welcomed: bool,
    /// The rooms that it is in, or asks to be let into.
    pub(super) rooms: Rooms,
    /// It has asked to be let into all rooms that it joins first.
    pub(super) asked: bool,
    /// It was welcomed and has joined them, so that it counts as connected.
    pub(super) arrived: bool,
    /// When its protocol next has something to do.
    pub(super) timer_ns: Option<u64>,
    /// It takes leave: nothing more is sent than what is unsent.
    pub(super) leaving: bool,
    /// It takes leave once nothing of it is unacked.
    pub(super) leaves_when_acked: bool,
    /// Half-close once `unsent` is gone.
    pub(super) half_close: bool,
    /// Bytes read since the socket was last found empty.
    unbroken_bytes: u64,
    /// When there was last more in the socket than a client that keeps up finds there.
    behind_ns: Option<u64>,
    /// The script has stopped reading.
    paused: bool,
    /// Who reads, while reading is stopped.
    parked: Option<Waker>,
    /// The task that reads.
    reader: Option<AbortHandle>,
}

impl Connection {
    pub(super) fn new(
        id: ConnId,
        conn: AnyConn,
        stream: Stream,
        handle: Handle,
        welcomed: bool,
    ) -> Self {
        Self {
            id,
            conn,
            stream,
            handle,
            unsent: Unsent::default(),
            welcomed,
            rooms: Rooms::default(),
            asked: false,
            arrived: false,
            timer_ns: None,
            leaving: false,
            leaves_when_acked: false,
            half_close: false,
            unbroken_bytes: 0,
            behind_ns: None,
            paused: false,
            parked: None,
            reader: None,
        }
    }

    /// Remembers the task that reads, to end it with the connection.
    pub(super) fn set_reader(&mut self, reader: AbortHandle) {
        self.reader = Some(reader);
    }

    /// Ends the task that reads.
    pub(super) fn abort_reader(&self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }

    /// Whether reading is stopped; if so, `reader` is woken when it goes on.
    pub(super) fn is_paused(&mut self, reader: &Waker) -> bool {
        if self.paused {
            self.parked = Some(reader.clone());
        }
        self.paused
    }

    /// The socket was found empty.
    pub(super) fn caught_up(&mut self) {
        self.unbroken_bytes = 0;
    }

    /// `n` bytes were read at `now_ns`.
    pub(super) fn took(&mut self, n: usize, now_ns: u64) {
        self.unbroken_bytes += n as u64;
        if self.unbroken_bytes >= BEHIND_BYTES {
            self.behind_ns = Some(now_ns);
        }
    }

    /// Reading is put off, so that the client may look slow from now on.
    pub(super) fn fall_behind(&mut self, now_ns: u64) {
        self.behind_ns = Some(now_ns);
    }

    /// Whether the target may by `now_ns` have taken this client for a slow consumer.
    pub(super) fn may_be_slow(&self, now_ns: u64) -> bool {
        self.behind_ns
            .is_some_and(|behind_ns| now_ns.saturating_sub(behind_ns) < BEHIND_FOR_NS)
    }

    /// Bytes that have come and were not read yet; `None` while reading is stopped.
    pub(super) fn unread_bytes(&self) -> Option<u64> {
        if self.paused {
            return None;
        }
        self.stream.unread_bytes()
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        if !paused && let Some(reader) = self.parked.take() {
            reader.wake();
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::net::Net;
    use crate::verify::directory::{ClientId, Directory};
    use crate::verify::ledger::{Ledger, Terms};
    use crate::wire::protocol::{Opening, Protocol};

    /// The terms of a ledger in these tests.
    pub(in crate::driver::fleet) fn terms() -> Terms {
        Terms {
            run: 1,
            seed: 1,
            late_after_ns: None,
            addresses_known: true,
            promises: Default::default(),
            capabilities: Protocol::Ndjson.capabilities(),
        }
    }

    #[tokio::test]
    async fn who_found_little_or_found_it_long_ago_keeps_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = Net::System.connect(address).await.unwrap();
        let directory = std::sync::Arc::new(Directory::new(vec!["c".to_owned()]));
        let handle = Ledger::new(terms(), directory)
            .connecting(ClientId(0))
            .unwrap();
        let conn = Protocol::Ndjson.open(&Opening::reading(1_000), &mut Vec::new());
        let mut connection = Connection::new(ConnId::new(0, 1), conn, stream, handle, false);
        assert!(!connection.may_be_slow(0), "nothing was read");
        connection.took(16_000, 1);
        connection.caught_up();
        connection.took(16_000, 2);
        assert!(!connection.may_be_slow(2), "it was empty in between");
        connection.took(500, 3);
        assert!(connection.may_be_slow(3));
        connection.caught_up();
        assert!(
            connection.may_be_slow(1_000_000_002),
            "it has only just caught up"
        );
        assert!(!connection.may_be_slow(1_000_000_003));
        connection.fall_behind(2_000_000_000);
        assert!(
            connection.may_be_slow(2_000_000_000),
            "it did not read at all"
        );
    }
}
