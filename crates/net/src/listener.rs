//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Stream;
use super::simulated;

/// Takes connections.
#[derive(Debug)]
pub enum Listener {
    /// Over the system's TCP.
    Tcp(TcpListener),
    /// Over a simulated network.
    Simulated(simulated::Listener),
}

impl Listener {
    /// The address it listens on; if port 0 was asked for, with the port that was assigned.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Simulated(listener) => Ok(listener.local_addr()),
        }
    }

    /// The next connection, and the peer's address. Nagle's algorithm is off on it.
    ///
    /// # Errors
    /// The operating system's error.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => loop {
                let (stream, peer) = socket.accept().await?;
                // It fails only where the connection is gone already.
                if stream.set_nodelay(true).is_ok() {
                    return Ok((stream.into(), peer));
                }
            },
            Self::Simulated(listener) => Ok(listener.accept().await),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self::Tcp(socket)
    }
}
