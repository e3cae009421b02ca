//! Where connections come to.

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
    /// Where it listens; where port 0 was asked for, with the port that was given.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            Self::Simulated(listener) => Ok(listener.local_addr()),
        }
    }

    /// The next connection, and where it comes from. What is written to it is sent at once.
    ///
    /// # Errors
    /// What the operating system says.
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
