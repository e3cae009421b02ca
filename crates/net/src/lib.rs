//! What bytes travel over: the system's TCP, or a network that is [`simulated`] in this process.
//!
//! [`Stream`] and [`Listener`] are plain enums and not type parameters: a branch costs nothing
//! beside the system call that follows it, server and driver are compiled once, and another kind
//! of stream is another variant. What the system's sockets are asked for besides reading and
//! writing (half-close, reset, what has come and is unread) stands here too, for each kind once.

mod listener;
pub mod simulated;
mod stream;

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
    /// One that is simulated in this process.
    Simulated(simulated::Network),
}

impl Net {
    /// Connects to `address`. What is written is sent at once: whoever uses this batches by itself,
    /// and a delay of the kernel's would only add to it.
    ///
    /// # Errors
    /// What the network says.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        match self {
            Self::System => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Self::Simulated(network) => network.connect(address).await,
        }
    }
}
