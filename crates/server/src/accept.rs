//! Accepts connections, and refuses them if the server is full.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio::time::Instant;
use tracing::{info, warn};

use super::connection;
use super::hub::Hub;
use super::session::Stream;
use super::websocket;
use chatbench_net as net;
use chatbench_wire::Dialect;
use chatbench_wire::protocol::Protocol;

/// Connections that may wait to be accepted. The kernel caps it at `somaxconn`.
const LISTEN_BACKLOG: i32 = 4096;

/// TCP keepalive, for clients that vanished without closing: the idle time before the first probe,
/// and the interval between probes. After the kernel's default of 9 unanswered ones it is gone.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

/// The TCP user timeout: a connection breaks if sent data stays unacknowledged for this long. The
/// client has vanished, or its receive buffer was full all the while. Without the timeout, the
/// kernel retries for a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// The first pause after a failed accept, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A listening socket, and the protocol that its clients speak.
#[derive(Debug)]
pub struct Listener {
    protocol: Protocol,
    socket: net::Listener,
}

impl Listener {
    /// A listener on `socket`.
    #[must_use]
    pub fn new(protocol: impl Into<Protocol>, socket: net::Listener) -> Self {
        let protocol = protocol.into();
        Self { protocol, socket }
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(self, acceptor: net::tls::Acceptor) -> Self {
        Self {
            socket: self.socket.with_tls(acceptor),
            ..self
        }
    }

    /// Whether its clients speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.socket, net::Listener::Tls(_))
    }

    /// The address it listens on; if port 0 was asked for, with the port that was assigned.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The protocol that its clients speak.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The dialect of their messages.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.protocol.dialect()
    }
}

/// Listens on an address. Must be called within a tokio runtime.
///
/// # Errors
/// The operating system's error: the address is in use, not this machine's, or not permitted.
pub fn listen(protocol: impl Into<Protocol>, address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    // Without it a restart fails for a minute while old connections are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    let (time, interval) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    socket.set_tcp_keepalive(&keepalive)?; // accepted connections inherit it, and this:
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    Ok(Listener::new(protocol, socket.into()))
}

/// Failed accepts less than this apart are one burst, of which only the first is logged: when
/// descriptors run short, each one that is freed lets one accept succeed in between.
const BURST_GAP: Duration = Duration::from_secs(10);

/// Accepts connections for ever.
pub(super) async fn accept(hub: Rc<Hub<net::Stream>>, mut listener: Listener) {
    let mut failures = 0;
    let mut last_failure: Option<Instant> = None;
    loop {
        match listener.socket.accept().await {
            Ok((stream, peer)) => {
                failures = 0;
                let client_ip = client_ip(peer);
                match listener.protocol {
                    Protocol::WebSocket => {
                        let hub = Rc::clone(&hub);
                        spawn_local(websocket::shake_hands(hub, stream, client_ip));
                    }
                    protocol => admit(&hub, protocol.dialect(), stream, &client_ip),
                }
            }
            Err(error) => {
                let Some(pause) = pause_after(&error, failures) else {
                    info!(%error, "a connection was not accepted");
                    continue;
                };
                let now = Instant::now();
                if last_failure.is_none_or(|last| now - last > BURST_GAP) {
                    warn!(%error, "cannot accept connections for now: trying on");
                }
                last_failure = Some(now);
                failures += 1;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Serves a connection, or refuses it where the server is full.
pub(super) fn admit<S>(hub: &Rc<Hub<S>>, dialect: Dialect, stream: S, client_ip: &str)
where
    S: Stream + 'static,
{
    let hub = Rc::clone(hub);
    match hub.join(dialect, stream, client_ip) {
        Ok(id) => drop(spawn_local(connection::serve(hub, id))),
        Err(stream) => drop(spawn_local(connection::refuse(hub, dialect, stream))),
    }
}

/// The address a client is known by (S7). A listener on all addresses of both families sees an
/// IPv4 client as `::ffff:1.2.3.4`, an IPv4-mapped address, which is mapped back.
fn client_ip(peer: SocketAddr) -> String {
    let ip: IpAddr = peer.ip().to_canonical();
    SocketAddr::new(ip, peer.port()).to_string()
}

/// How long to wait after the `failures`-th failed accept in a row before the next; `None` if
/// the failure concerned one connection only and the next may be there already.
fn pause_after(error: &io::Error, failures: u32) -> Option<Duration> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        return None;
    }
    // Out of descriptors or memory, which passes when others leave: retrying at once would spin.
    let (first, longest) = PAUSE;
    Some(longest.min(first * 2_u32.pow(failures.min(16))))
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn who_vanishes_is_noticed_whether_something_is_unacknowledged_or_nothing_is_sent() {
        let mut listener = listen(Dialect::Ndjson, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.socket.accept().await.unwrap();
        let net::Stream::Tcp(accepted) = accepted else {
            panic!("{accepted:?}");
        };
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE.0);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE.1);
    }

    #[test]
    fn a_failed_accept_is_retried_at_once_only_where_it_was_the_connections_own() {
        let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(pause_after(&aborted, 0), None);
        let too_many_files = io::Error::from_raw_os_error(24);
        let pauses: Vec<_> = (0..20)
            .map(|failures| pause_after(&too_many_files, failures).unwrap())
            .collect();
        assert_eq!(pauses[0], PAUSE.0);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[19], PAUSE.1);
    }

    #[test]
    fn a_client_is_known_by_its_own_address() {
        let known_by = |peer: &str| client_ip(peer.parse().unwrap());
        assert_eq!(known_by("127.0.0.1:5"), "127.0.0.1:5");
        assert_eq!(known_by("[::ffff:10.1.2.3]:5"), "10.1.2.3:5");
        assert_eq!(known_by("[::1]:5"), "[::1]:5");
    }
}
