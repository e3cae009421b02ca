//! The handshakes of a listener, beside its accepting.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::stream::TlsStream;
use super::{Acceptor, handshake};

/// Handshakes under way at a time. Each has a file descriptor, and keeps what came of it.
const MAX_HANDSHAKES: usize = 1024;

/// How long a handshake may take in any case. Beyond it, if there are as many as there may be, the
/// longest is given up for the next connection.
const UNDISTURBED: Duration = Duration::from_secs(1);

/// What handshakes under way may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) handshakes: usize,
    pub(super) undisturbed: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: MAX_HANDSHAKES,
            undisturbed: UNDISTURBED,
        }
    }
}

/// A listener whose connections shake hands before they are handed on. A client that is slow at it,
/// hangs, or speaks something else holds up nobody.
#[derive(Debug)]
pub(crate) struct Accepting {
    socket: TcpListener,
    acceptor: Acceptor,
    under_way: JoinSet<(io::Result<TlsStream>, SocketAddr)>,
    limits: Limits,
    /// Handshakes in the order in which they began, and when. Those that are over may still be in.
    begun: VecDeque<(Instant, AbortHandle)>,
}

impl Accepting {
    pub(crate) fn new(socket: TcpListener, acceptor: Acceptor) -> Self {
        Self::within(socket, acceptor, Limits::default())
    }

    pub(super) fn within(socket: TcpListener, acceptor: Acceptor, limits: Limits) -> Self {
        Self {
            socket,
            acceptor,
            limits,
            under_way: JoinSet::new(),
            begun: VecDeque::new(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection that has shaken hands.
    ///
    /// # Errors
    /// The system's error; of kind `ConnectionAborted` where a handshake failed, which names the
    /// peer and says why.
    pub(crate) async fn accept(&mut self) -> io::Result<(TlsStream, SocketAddr)> {
        loop {
            while self
                .begun
                .front()
                .is_some_and(|(_, task)| task.is_finished())
            {
                self.begun.pop_front();
            }
            let is_full = self.under_way.len() >= self.limits.handshakes;
            let patience = self
                .begun
                .front()
                .map(|(begun, _)| *begun + self.limits.undisturbed);
            let patience = patience.unwrap_or_else(Instant::now);
            tokio::select! {
                Some(over) = self.under_way.join_next() => match over {
                    Ok((Ok(stream), peer)) => return Ok((stream, peer)),
                    Ok((Err(error), peer)) => {
                        let words = format!("{peer}: {error}");
                        return Err(io::Error::new(io::ErrorKind::ConnectionAborted, words));
                    }
                    Err(ended) if ended.is_cancelled() => {} // to make room for another
                    Err(panic) => return Err(io::Error::other(panic)),
                },
                accepted = self.socket.accept(), if !is_full => {
                    let (stream, peer) = accepted?;
                    // It fails only where the connection is gone already.
                    if stream.set_nodelay(true).is_ok() {
                        self.begin(stream, peer);
                    }
                }
                () = sleep_until(patience), if is_full => {
                    if let Some((_, longest)) = self.begun.pop_front() {
                        longest.abort();
                    }
                }
            }
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        let (config, within) = (Arc::clone(&self.acceptor.config), self.acceptor.within);
        let task = self.under_way.spawn(async move {
            let shaken = handshake::as_server(stream, config, within).await;
            (shaken, peer)
        });
        self.begun.push_back((Instant::now(), task));
    }
}
