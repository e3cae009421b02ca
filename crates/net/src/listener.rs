//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Stream;
use super::simulated;
use super::tls::{Accepting, Acceptor};

/// Takes connections.
#[derive(Debug)]
pub enum Listener {
    /// Over the system's TCP.
    Tcp(TcpListener),
    /// Over the system's TCP, with TLS.
    Tls(Tls),
    /// Over a simulated network.
    Simulated(simulated::Listener),
}

/// A listener over the system's TCP, with TLS: what it hands on has shaken hands.
#[derive(Debug)]
pub struct Tls(Box<Accepting>);

impl Listener {
    /// The same with TLS. A simulated network has none: there is nothing to hide in it.
    #[must_use]
    pub fn with_tls(self, acceptor: Acceptor) -> Self {
        match self {
            Self::Tcp(socket) => Self::Tls(Tls(Box::new(Accepting::new(socket, acceptor)))),
            other => other,
        }
    }

    /// The address it listens on; if port 0 was asked for, with the port that was assigned.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Tls(Tls(listener)) => listener.local_addr(),
            Self::Simulated(listener) => Ok(listener.local_addr()),
        }
    }

    /// The next connection, and the peer's address. Nagle's algorithm is off on it.
    ///
    /// # Errors
    /// The operating system's error; of kind `ConnectionAborted` where a TLS handshake failed,
    /// which names the peer and says why.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => loop {
                let (stream, peer) = socket.accept().await?;
                // It fails only where the connection is gone already.
                if stream.set_nodelay(true).is_ok() {
                    return Ok((stream.into(), peer));
                }
            },
            Self::Tls(Tls(listener)) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tls(Box::new(stream)), peer))
            }
            Self::Simulated(listener) => Ok(listener.accept().await),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::Tcp(socket)
    }
}
