//! A network in this process, whose connections behave as TCP's do: they have delays and bounded
//! buffers, reads and writes may be partial, and they half-close, are reset and are cut off for a
//! while. Everything random is drawn from one seed.
//!
//! It goes by tokio's clock. On a single-threaded runtime with paused time, a day takes only as
//! long as its events take to process, and the same seed gives the same run.
//!
//! A connection is two [`pipe`]s; a [`Socket`] is one side of it. As over TCP, bytes are never
//! lost or reordered: whatever a peer misses was not sent to it, or was lost with the connection.

mod pipe;
mod socket;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use rand::RngExt;
use rand_pcg::Pcg32;
use tokio::time::{Instant, sleep_until};

use super::Stream;
use pipe::wake;
use socket::Connection;
pub use socket::Socket;

/// The first port that a client connects from; each further connection has the next one.
const FIRST_PORT: u16 = 10_000;

/// The conditions that a network imposes on its connections.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// Bytes that one direction of a connection holds: those written and not yet read.
    pub buffer_bytes: usize,
    /// How long written bytes take to arrive: drawn for each write; order is kept all the same.
    pub delay: RangeInclusive<Duration>,
    /// The most that one read or write moves.
    pub piece_bytes: usize,
    /// The probability that a read or write moves less than it could.
    pub partial: f64,
    /// Whether a reset discards what had arrived and was not read, as on some systems. On others it
    /// can still be read.
    pub reset_discards: bool,
    /// When nothing arrives.
    pub partitions: Vec<Partition>,
    /// When the network resets connections towards both sides, as a router does that has lost its
    /// state.
    pub breaks: Vec<Break>,
}

impl Default for Conditions {
    /// A network without delay that holds 64 KiB in each direction.
    fn default() -> Self {
        Self {
            buffer_bytes: 64 << 10,
            delay: Duration::ZERO..=Duration::ZERO,
            piece_bytes: usize::MAX,
            partial: 0.0,
            reset_discards: false,
            partitions: Vec::new(),
            breaks: Vec::new(),
        }
    }
}

/// A time in which nothing arrives on some connections; it arrives once the time is over.
#[derive(Debug, Clone)]
pub struct Partition {
    /// When it begins and ends.
    pub time: RangeInclusive<Instant>,
    /// One in this many connections is cut off; at least 1.
    pub one_in: u64,
}

/// A moment at which the network resets some connections.
#[derive(Debug, Clone)]
pub struct Break {
    /// When it does.
    pub at: Instant,
    /// One in this many connections is reset; at least 1.
    pub one_in: u64,
}

impl Conditions {
    /// When the network resets the `nth` connection, which begins at `now`.
    fn first_break(&self, nth: u64, now: Instant) -> Option<Instant> {
        let its = self.breaks.iter();
        let its = its.filter(|b| b.at > now && nth.is_multiple_of(b.one_in.max(1)));
        its.map(|b| b.at).min()
    }

    fn draw_delay(&self, rng: &mut Pcg32) -> Duration {
        let (from, to) = (self.delay.start().as_micros(), self.delay.end().as_micros());
        Duration::from_micros(rng.random_range(from..=to.max(from)) as u64)
    }

    /// When something that is due at `then` arrives on the `nth` connection.
    fn after_partitions(&self, nth: u64, then: Instant) -> Instant {
        let mut then = then;
        for partition in &self.partitions {
            if nth.is_multiple_of(partition.one_in.max(1)) && partition.time.contains(&then) {
                then = *partition.time.end();
            }
        }
        then
    }
}

/// A network. Its clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Network {
    conditions: Arc<Conditions>,
    seed: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Connections made so far.
    connections: u64,
    listeners: BTreeMap<SocketAddr, Arc<Mutex<Queue>>>,
}

/// Connections on their way to a listener.
#[derive(Debug, Default)]
struct Queue {
    /// By arrival time, then by their numbers.
    sockets: BTreeMap<(Instant, u64), Socket>,
    listener: Option<Waker>,
}

impl Network {
    /// A network under `conditions`, in which everything random is drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            conditions: Arc::new(conditions),
            seed,
            state: Arc::default(),
        }
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// If the address is in use.
    pub fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        let mut state = lock(&self.state);
        if state.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let queue = Arc::default();
        state.listeners.insert(address, Arc::clone(&queue));
        Ok(Listener {
            address,
            queue,
            network: self.clone(),
        })
    }

    /// Connects to `address`, which takes one round trip.
    ///
    /// # Errors
    /// If nobody listens there, or there is no port left to connect from.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        let nth = {
            let mut state = lock(&self.state);
            state.connections += 1;
            state.connections - 1
        };
        let port = u16::try_from(u64::from(FIRST_PORT) + nth);
        let port = port.map_err(|_| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let rng = Pcg32::new(self.seed, nth);
        let conditions = Arc::clone(&self.conditions);
        let connection = Connection::new(nth, conditions, rng, Instant::now());
        let (client, server) = Socket::pair(connection, [from, address]);
        let there = client.arrival(Instant::now());
        // The system at the other end answers, whether or not the listener accepts the connection.
        let back = server.arrival(there);
        let queue = lock(&self.state).listeners.get(&address).cloned();
        let Some(queue) = queue else {
            sleep_until(back).await;
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        {
            let mut queue = lock(&queue);
            queue.sockets.insert((there, nth), server);
            wake(&mut queue.listener);
        }
        sleep_until(back).await;
        Ok(Stream::Simulated(Box::new(client)))
    }
}

/// Takes connections of a simulated network.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    queue: Arc<Mutex<Queue>>,
    network: Network,
}

impl Listener {
    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, in order of arrival, and the peer's address.
    pub async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            let first = lock(&self.queue).sockets.keys().next().copied();
            let Some((arrives, _)) = first else {
                self.news().await;
                continue;
            };
            if arrives <= Instant::now() {
                let (_, socket) = lock(&self.queue).sockets.pop_first().expect("it is there");
                let peer = socket.peer_addr();
                return (Stream::Simulated(Box::new(socket)), peer);
            }
            // A connection made meanwhile may arrive earlier.
            let mut arrival = pin!(sleep_until(arrives));
            let mut news = pin!(self.news());
            poll_fn(|cx| match arrival.as_mut().poll(cx) {
                Poll::Pending => news.as_mut().poll(cx),
                ready => ready,
            })
            .await;
        }
    }

    /// Returns when a connection has been added.
    async fn news(&self) {
        let known = lock(&self.queue).sockets.len();
        poll_fn(|cx| {
            let mut queue = lock(&self.queue);
            if queue.sockets.len() > known {
                return Poll::Ready(());
            }
            queue.listener = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        lock(&self.network.state).listeners.remove(&self.address);
        // Connections that were not accepted are reset, as the kernel does it.
        let sockets = std::mem::take(&mut lock(&self.queue).sockets);
        for (_, mut socket) in sockets {
            socket.reset_when_closed();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves nothing half done: the data of a poisoned lock is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
