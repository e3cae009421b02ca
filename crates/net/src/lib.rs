//! The transport: the system's TCP, with [`tls`] or without, or a network that is [`simulated`] in this process.
//!
//! [`Stream`] and [`Listener`] are plain enums and not type parameters: a branch costs nothing
//! compared with the system call that follows it, server and driver are compiled once, and another
//! kind of stream is another variant. The other socket operations that are needed (half-close,
//! reset, the number of unread bytes) are here too, once for each kind.

mod listener;
pub mod simulated;
mod stream;
pub mod tls;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

pub use listener::Listener;
pub use stream::Stream;

/// A network to connect over.
#[derive(Debug, Clone, Default)]
pub enum Net {
    /// The system's.
    #[default]
    System,
    /// The system's, with TLS over its connections.
    Tls(tls::Connector),
    /// One that is simulated in this process.
    Simulated(simulated::Network),
}

impl Net {
    /// Connects to `address`, with Nagle's algorithm off: callers batch their writes themselves, so
    /// the kernel's delay would only be added to theirs.
    ///
    /// # Errors
    /// The network's error, or why the TLS handshake failed.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        match self {
            Self::System => Ok(dial(address).await?.into()),
            Self::Tls(connector) => connector.connect(dial(address).await?).await,
            Self::Simulated(network) => network.connect(address).await,
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
