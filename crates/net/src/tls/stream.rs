//! TLS over a TCP connection, towards its caller as the TCP connection itself.
//!
//! **Nothing is left behind unnoticed.** The bytes of one write become records, and a socket may
//! take a part of a record, which no caller could offer again: it would be encrypted anew. So the
//! rest stays here, and the *last byte of the write is held back*: it is reported as not taken until
//! the socket has all of the record. The caller does what it does after any partial write, it waits
//! and offers the rest again, and finds that byte gone at once. A writer that has nothing left to
//! offer therefore knows that everything is with the kernel, and may shut down, close, or exit.
//!
//! **Little is kept.** All streams of a thread share buffers for what they read and encrypt; an idle
//! stream holds the state of rustls and none of its own. It keeps a record that came in part, and
//! one write, of at most [`WRITE_BYTES`], that the socket did not take whole.
//!
//! The end of a TCP stream without TLS's own end (`close_notify`) counts as the end, as most peers
//! take it: whoever frames messages sees for itself whether one was cut. Only an end within a record
//! is an error.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::records::{Encrypted, Progress, Side, Task, step};
use super::slices::Slices;
use super::words;

/// Bytes that are encrypted before the socket is offered them: four of the longest records.
const WRITE_BYTES: usize = 64 << 10;

/// The most that is read from the socket at once.
const READ_BYTES: usize = 64 << 10;

/// The buffers that all streams of a thread share.
struct Shared {
    input: Vec<u8>,
    gathered: Vec<u8>,
    encrypted: Encrypted,
}

thread_local! {
    static SHARED: RefCell<Shared> = const {
        RefCell::new(Shared {
            input: Vec::new(),
            gathered: Vec::new(),
            encrypted: Encrypted::new(),
        })
    };
}

/// Bytes of which the first may be gone already.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    gone: usize,
}

impl Queue {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn is_empty(&self) -> bool {
        self.gone == self.bytes.len()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` are gone; no memory is kept once all are.
    fn went(&mut self, count: usize) {
        self.gone += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// A connection with TLS, after its handshake. It is used by way of [`crate::Stream`].
pub struct TlsStream {
    socket: TcpStream,
    side: Side,
    /// A record that came in part.
    partial: Vec<u8>,
    /// Decrypted, and not read yet.
    plain: Queue,
    /// Encrypted, and not taken by the socket yet.
    outgoing: Queue,
    /// The byte that is in `outgoing`, or was, and has not been reported as taken.
    held_back: Option<u8>,
    /// The peer has ended its stream.
    ended: bool,
    /// This side has ended its stream.
    closing: bool,
    /// It cannot go on: what came is not understood.
    broken: bool,
    /// Closing resets the connection.
    resets: bool,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .field("outgoing", &self.outgoing.rest().len())
            .finish_non_exhaustive()
    }
}

impl TlsStream {
    pub(super) fn new(socket: TcpStream, side: Side) -> Self {
        Self {
            socket,
            side,
            partial: Vec::new(),
            plain: Queue::default(),
            outgoing: Queue::default(),
            held_back: None,
            ended: false,
            closing: false,
            broken: false,
            resets: false,
        }
    }

    /// The peer said this in plain text before the handshake.
    pub(super) fn said_before(&mut self, greeting: &[u8]) {
        self.plain.add(greeting);
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// As [`crate::Stream::try_write`].
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&[IoSlice::new(bytes)], TcpStream::try_write)
    }

    /// As [`crate::Stream::send_now`].
    pub(crate) fn send_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(&[IoSlice::new(bytes)], |socket, bytes| {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(rustix::net::send(socket, bytes, flags)?)
        })
    }

    /// Writes by `send` as much of `slices` as the socket takes. What it begins with was offered
    /// before if a byte was held back.
    fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        send: impl Fn(&TcpStream, &[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.closing || self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.push(&send)?;
        let mut slices = Slices::new(slices);
        let mut taken = 0;
        if let Some(&first) = slices.peek()
            && let Some(held_back) = self.held_back.take()
        {
            if first != held_back {
                // It is under way already: the peer would read a mixture.
                let what = "other bytes were offered after a partial write";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            slices.skip(1);
            taken = 1;
        }
        SHARED.with_borrow_mut(|shared| {
            let Shared {
                gathered,
                encrypted,
                ..
            } = shared;
            loop {
                let piece = slices.next(WRITE_BYTES, gathered);
                let Some(&last) = piece.last() else {
                    return Ok(taken);
                };
                encrypted.clear();
                self.encrypt(piece, encrypted)?;
                let records = encrypted.take();
                let mut sent = 0;
                while sent < records.len() {
                    match send(&self.socket, &records[sent..]) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(count) => sent += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
                taken += piece.len();
                if sent < records.len() {
                    self.outgoing.add(&records[sent..]);
                    self.held_back = Some(last);
                    return match taken - 1 {
                        0 => Err(io::ErrorKind::WouldBlock.into()),
                        reported => Ok(reported),
                    };
                }
            }
        })
    }

    /// Appends the records of `piece` to `encrypted`.
    fn encrypt(&mut self, piece: &[u8], encrypted: &mut Encrypted) -> io::Result<()> {
        loop {
            let plain = &mut self.plain;
            let task = Task::Encrypt(piece);
            let (discard, progress) = step(
                &mut self.side,
                &mut self.partial,
                task,
                encrypted,
                &mut self.ended,
                &mut |bytes| {
                    plain.add(bytes);
                },
            );
            self.partial.drain(..discard);
            match progress.map_err(io::Error::other)? {
                Progress::Again => {}
                Progress::Done => return Ok(()),
                Progress::Blocked => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Offers the socket what it has not taken; `WouldBlock` if it still does not take all of it.
    fn push(&mut self, send: impl Fn(&TcpStream, &[u8]) -> io::Result<usize>) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match send(&self.socket, self.outgoing.rest()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.outgoing.went(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.push(TcpStream::try_write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                pushed => return Poll::Ready(pushed),
            }
        }
    }

    /// As [`crate::Stream::poll_write_ready`]: what the socket has not taken comes first.
    pub(crate) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_push(cx))?;
        self.socket.poll_write_ready(cx)
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.write(slices, TcpStream::try_write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.plain.is_empty() {
                let count = buffer.remaining().min(self.plain.rest().len());
                buffer.put_slice(&self.plain.rest()[..count]);
                self.plain.went(count);
                return Poll::Ready(Ok(()));
            }
            // Answers of TLS itself, and its end: no writer waits for the socket to take these.
            if !self.outgoing.is_empty() && (self.held_back.is_none() || self.closing) {
                // If the connection is broken, the read says so.
                if self.poll_push(cx).is_ready() && self.closing {
                    self.shut_down();
                }
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(self.poll_records(cx, buffer))?;
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once from the socket and decrypts the records that are whole, into `buffer` first.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        SHARED.with_borrow_mut(|shared| {
            let Shared {
                input, encrypted, ..
            } = shared;
            let begun = self.partial.len();
            // No record decrypts to more than it was: little comes that has no place in `buffer`.
            let room = begun + buffer.remaining().min(READ_BYTES);
            if input.len() < room {
                input.resize(room.max(2 * READ_BYTES), 0);
            }
            let mut read = ReadBuf::new(&mut input[begun..room]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
            let count = read.filled().len();
            if count == 0 {
                self.ended = true;
                return Poll::Ready(match begun {
                    0 => Ok(()),
                    _ => {
                        let what = "the stream ended within a record of TLS";
                        Err(io::Error::new(io::ErrorKind::UnexpectedEof, what))
                    }
                });
            }
            input[..begun].copy_from_slice(&self.partial);
            let (mut at, end) = (0, begun + count);
            encrypted.clear();
            let plain = &mut self.plain;
            let mut deliver = |bytes: &[u8]| {
                let fits = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..fits]);
                plain.add(&bytes[fits..]);
            };
            let failed = loop {
                let (discard, progress) = step(
                    &mut self.side,
                    &mut input[at..end],
                    Task::Nothing,
                    encrypted,
                    &mut self.ended,
                    &mut deliver,
                );
                at += discard;
                match progress {
                    Ok(Progress::Again) => {}
                    Ok(Progress::Done | Progress::Blocked) => break None,
                    Err(error) => break Some(error),
                }
            };
            match at == end {
                true => self.partial = Vec::new(),
                false => self.partial = input[at..end].to_vec(),
            }
            self.outgoing.add(encrypted.take());
            match failed {
                None => Poll::Ready(Ok(())),
                Some(error) => {
                    self.tell_why(encrypted);
                    let words = words::afterwards(&error, self.is_client());
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)))
                }
            }
        })
    }

    /// The connection cannot go on: offers the socket the alert that says why. rustls is asked for
    /// what it has to send and for nothing else: it takes no second look at what it found wrong.
    fn tell_why(&mut self, encrypted: &mut Encrypted) {
        self.broken = true;
        encrypted.clear();
        while self.side.state().wants_write() {
            let nothing = &mut |_: &[u8]| {};
            let told = step(
                &mut self.side,
                &mut [],
                Task::Nothing,
                encrypted,
                &mut false,
                nothing,
            );
            if told.1.is_err() {
                break;
            }
        }
        self.outgoing.add(encrypted.take());
        let _ = self.push(TcpStream::try_write);
    }

    /// Queues the end of this side's stream, once.
    fn close(&mut self) {
        let was_closing = std::mem::replace(&mut self.closing, true);
        if was_closing || self.broken || self.is_handshaking() {
            return;
        }
        SHARED.with_borrow_mut(|shared| {
            let encrypted = &mut shared.encrypted;
            encrypted.clear();
            let plain = &mut self.plain;
            loop {
                let (discard, progress) = step(
                    &mut self.side,
                    &mut self.partial,
                    Task::Close,
                    encrypted,
                    &mut self.ended,
                    &mut |bytes| plain.add(bytes),
                );
                self.partial.drain(..discard);
                if !matches!(progress, Ok(Progress::Again)) {
                    break;
                }
            }
            self.outgoing.add(encrypted.take());
        });
    }

    fn shut_down(&self) {
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Write);
    }

    /// As [`crate::Stream::half_close`]: `close_notify`, then TCP's own end. If the socket
    /// is full, the next reads see to it.
    pub(crate) fn half_close(&mut self) {
        self.close();
        if self.push(TcpStream::try_write).is_ok() {
            self.shut_down();
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        ready!(self.poll_push(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// The next drop resets the connection, and says nothing before.
    pub(crate) fn reset_when_closed(&mut self) {
        self.resets = true;
    }

    /// Whether anything is kept that the peer or the caller is still to get.
    #[cfg(test)]
    pub(super) fn holds_anything(&self) -> bool {
        !self.outgoing.is_empty() || self.held_back.is_some() || !self.plain.is_empty()
    }

    /// Bytes that have come and were not read: those that are still encrypted as they are.
    pub(crate) fn unread_bytes(&self) -> Option<u64> {
        let in_socket = rustix::io::ioctl_fionread(&self.socket).ok()?;
        Some(in_socket + (self.partial.len() + self.plain.rest().len()) as u64)
    }
}

/// The parts of a handshake.
impl TlsStream {
    pub(super) fn is_client(&self) -> bool {
        matches!(self.side, Side::Client(_))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.side.state().is_handshaking()
    }

    /// Goes through all whole records of `incoming`, of which the rest remains, and sends the
    /// answers. On an error `incoming` is what was not understood, and what came after.
    pub(super) async fn go_through(
        &mut self,
        incoming: &mut Vec<u8>,
    ) -> io::Result<Result<(), rustls::Error>> {
        let failed = SHARED.with_borrow_mut(|shared| {
            let encrypted = &mut shared.encrypted;
            encrypted.clear();
            let plain = &mut self.plain;
            let failed = loop {
                let (discard, progress) = step(
                    &mut self.side,
                    incoming,
                    Task::Nothing,
                    encrypted,
                    &mut self.ended,
                    &mut |bytes| plain.add(bytes),
                );
                match progress {
                    Ok(Progress::Again) => drop(incoming.drain(..discard)),
                    Ok(Progress::Done | Progress::Blocked) => {
                        incoming.drain(..discard);
                        break None;
                    }
                    Err(error) => break Some(error),
                }
            };
            self.outgoing.add(encrypted.take());
            if failed.is_some() {
                self.tell_why(encrypted);
            }
            failed
        });
        match failed {
            Some(error) => Ok(Err(error)),
            None => {
                std::future::poll_fn(|cx| self.poll_push(cx)).await?;
                Ok(Ok(()))
            }
        }
    }

    /// Keeps what came after the handshake.
    pub(super) fn keep(&mut self, incoming: &[u8]) {
        self.partial = incoming.to_vec();
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // Whoever closes has said all it had to say: the peer is told that nothing was cut off.
        if !self.resets && self.outgoing.is_empty() {
            self.close();
            let _ = self.push(TcpStream::try_write);
        }
    }
}
