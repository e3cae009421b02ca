//! A connection: bytes in order, both ways.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::simulated;
use super::tls::TlsStream;

/// A connection. Dropping it closes it, and resets it if there is unread input.
#[derive(Debug)]
pub enum Stream {
    /// Over the system's TCP.
    Tcp(TcpStream),
    /// Over the system's TCP, with TLS. After a partial write the bytes that were not taken have to
    /// be offered again before others.
    Tls(Box<TlsStream>),
    /// Over a simulated network.
    Simulated(Box<simulated::Socket>),
}

impl Stream {
    /// The address of this side.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Tls(stream) => stream.socket().local_addr(),
            Self::Simulated(socket) => Ok(socket.local_addr()),
        }
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// The system's error.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr(),
            Self::Tls(stream) => stream.socket().peer_addr(),
            Self::Simulated(socket) => Ok(socket.peer_addr()),
        }
    }

    /// Writes as much as the socket takes without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; otherwise the system's error.
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
            Self::Simulated(socket) => socket.try_write(bytes),
        }
    }

    /// As [`Self::try_write`], by the system call alone. tokio would first look up whether it knows
    /// the socket to be full, a cache miss in a pass over a thousand sessions: 6 % of the pass. If
    /// the socket is full, the next [`Self::poll_write_ready`] or `poll_write` makes tokio notice
    /// and wait for it.
    ///
    /// # Errors
    /// As [`Self::try_write`].
    #[inline]
    pub fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => Ok(rustix::net::send(
                &*stream,
                bytes,
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            )?),
            Self::Tls(stream) => stream.send_now(bytes),
            Self::Simulated(socket) => socket.try_write(bytes),
        }
    }

    /// Waits until a write may be taken.
    ///
    /// # Errors
    /// The system's error.
    pub fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Tls(stream) => stream.poll_write_ready(cx),
            Self::Simulated(socket) => socket.poll_write_ready(cx),
        }
    }

    /// Shuts down the sending side; with TLS, after its own end. A failure means that the connection is broken, which the next
    /// read reports.
    pub fn half_close(&mut self) {
        match self {
            Self::Tcp(stream) => {
                let _ = SockRef::from(&*stream).shutdown(Shutdown::Write);
            }
            Self::Tls(stream) => stream.half_close(),
            Self::Simulated(socket) => socket.half_close(),
        }
    }

    /// Makes closing reset the connection: `SO_LINGER` with a timeout of 0 does that.
    pub fn reset_when_closed(&mut self) {
        match self {
            Self::Tcp(stream) => {
                let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            }
            Self::Tls(stream) => {
                stream.reset_when_closed();
                let _ = SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO));
            }
            Self::Simulated(socket) => socket.reset_when_closed(),
        }
    }

    /// Bytes that have arrived and were not read yet.
    #[must_use]
    pub fn unread_bytes(&self) -> Option<u64> {
        match self {
            Self::Tcp(stream) => rustix::io::ioctl_fionread(stream).ok(),
            Self::Tls(stream) => stream.unread_bytes(),
            Self::Simulated(socket) => Some(socket.unread_bytes()),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
            Self::Simulated(socket) => socket.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, &[IoSlice::new(bytes)]),
            Self::Simulated(socket) => socket.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => stream.poll_write(cx, slices),
            Self::Simulated(socket) => socket.poll_write(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // no kind takes bytes that the network has not
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
            Self::Simulated(socket) => {
                socket.half_close();
                Poll::Ready(Ok(()))
            }
        }
    }
}
