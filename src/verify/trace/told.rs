//! What a recorded event tells a ledger, read from its fields; and the ledger that it is told to.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Header;
use super::tag::Tag;
use super::tape::Reading;
use crate::verify::directory::{ClientId, Directory};
use crate::verify::ledger::{Ending, Handle, Ledger};
use crate::wire::Dialect;
use crate::wire::classic::texts::{Piece, TextBuffer};
use crate::wire::line::LineBuffer;
use crate::wire::payload;

/// Lines that one read can have brought: no line has less than a byte, and no reader a buffer of
/// this many.
pub(super) const MAX_LINES: u64 = 1 << 20;

/// What happened to a session, other than that it read something.
#[derive(Debug, Clone)]
pub(in crate::verify) enum Told {
    Connected(SocketAddr),
    Sending {
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    },
    SentPublish(Vec<u8>),
    SendingRaw(Vec<u8>),
    FellBehind,
    StopsReading,
    Leaving(u64),
    LettingGo,
    TimeUp {
        heard_all: bool,
        now_ns: u64,
    },
    Ended(Ending, u64),
    NoWelcome(u64),
    OverdueAcks(String, u64),
    MissingError {
        code: String,
        within: String,
        now_ns: u64,
    },
}

impl Told {
    /// The fields of an event of this kind. An error says what cannot be.
    pub(super) fn read(tag: Tag, from: &mut Reading) -> Result<Self, &'static str> {
        Ok(match tag {
            Tag::Connected => Self::Connected(from.text().parse().map_err(|_| "no address")?),
            Tag::Sending | Tag::SendingLast => {
                let now_ns = from.time();
                Self::Sending {
                    intended_ns: now_ns.wrapping_sub(from.number()),
                    now_ns,
                    last: tag == Tag::SendingLast,
                }
            }
            Tag::SentPublish => Self::SentPublish(from.bytes().to_vec()),
            Tag::SendingRaw => Self::SendingRaw(from.bytes().to_vec()),
            Tag::FellBehind => Self::FellBehind,
            Tag::StopsReading => Self::StopsReading,
            // When is not known: as if it had waited for nothing.
            Tag::Leaving => Self::Leaving(0),
            Tag::LeavingAt => Self::Leaving(from.time()),
            Tag::LettingGo => Self::LettingGo,
            Tag::TimeUp => Self::TimeUp {
                now_ns: from.time(),
                heard_all: from.number() != 0,
            },
            Tag::Ended => {
                let now_ns = from.time();
                let endings = [Ending::Eof, Ending::Broken, Ending::Ours, Ending::TimeUp];
                let ending = endings.get(from.number() as usize);
                Self::Ended(*ending.ok_or("an ending of an unknown kind")?, now_ns)
            }
            Tag::NoWelcome => Self::NoWelcome(from.time()),
            Tag::OverdueAcks => {
                let now_ns = from.time();
                Self::OverdueAcks(from.text(), now_ns)
            }
            Tag::MissingError => Self::MissingError {
                now_ns: from.time(),
                code: from.text(),
                within: from.text(),
            },
            _ => return Err("an event that is no ledger's"),
        })
    }
}

/// One shard's ledger and the connections that its sessions read from.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) ledger: Ledger,
    buffers: Vec<LineBuffer>,
    max_line_bytes: usize,
    dialect: Dialect,
    /// The header of the latest message composed.
    sent: Option<payload::Header>,
    /// The read that is being gone through, and how many frames it gave.
    read: Option<(Handle, u64)>,
    frames: u64,
}

impl Listener {
    pub(super) fn new(header: &Header, directory: &Arc<Directory>) -> Self {
        #[allow(unused_mut)] // but in tests
        let mut ledger = Ledger::new(header.terms, directory.clone());
        #[cfg(test)]
        if overhear::SLOWLY.get() {
            ledger.never_compare();
        }
        Self {
            ledger,
            buffers: Vec::new(),
            max_line_bytes: header.max_read_line_bytes,
            dialect: header.terms.dialect,
            sent: None,
            read: None,
            frames: 0,
        }
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<Handle> {
        let handle = self.ledger.connecting(client)?;
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::Connecting);
        let buffer = LineBuffer::new(self.max_line_bytes);
        match self.buffers.get_mut(handle.index()) {
            Some(old) => *old = buffer,
            None => self.buffers.push(buffer),
        }
        Some(handle)
    }

    /// The session in the slot `index`.
    pub(super) fn handle(&self, index: u64) -> Result<Handle, &'static str> {
        self.ledger
            .handle(index)
            .ok_or("a session that is not there")
    }

    /// Tells the ledger.
    pub(super) fn tell(&mut self, handle: Handle, told: &Told) -> Result<(), &'static str> {
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::Told(told.clone()));
        let ledger = &mut self.ledger;
        match told {
            Told::Connected(address) => ledger.connected(handle, *address),
            Told::Sending {
                intended_ns,
                now_ns,
                last,
            } => self.sent = ledger.sending(handle, *intended_ns, *now_ns, *last),
            Told::SentPublish(line) => {
                let header = self.sent.ok_or("a message that was not composed")?;
                ledger.sent_publish(handle, &header, line);
            }
            Told::SendingRaw(bytes) => ledger.sending_raw(handle, bytes),
            Told::FellBehind => ledger.fell_behind(handle),
            Told::StopsReading => ledger.stops_reading(handle),
            Told::Leaving(now_ns) => ledger.leaving(handle, *now_ns),
            Told::LettingGo => ledger.letting_go(handle),
            Told::TimeUp { heard_all, now_ns } => ledger.time_up(handle, *heard_all, *now_ns),
            Told::Ended(ending, now_ns) => {
                let unread = self.buffers[handle.index()].pending();
                ledger.ended(handle, *ending, unread, *now_ns);
            }
            Told::NoWelcome(now_ns) => ledger.no_welcome(handle, *now_ns),
            Told::OverdueAcks(within, now_ns) => ledger.overdue_acks(handle, within, *now_ns),
            Told::MissingError {
                code,
                within,
                now_ns,
            } => ledger.missing_error(handle, code, within, *now_ns),
        }
        Ok(())
    }

    pub(super) fn begin_read(&mut self, handle: Handle, now_ns: u64) {
        self.read = Some((handle, now_ns));
        self.frames = 0;
    }

    /// The session of the read that is being gone through, and its time.
    pub(super) fn reading(&self) -> Result<(Handle, u64), &'static str> {
        let (handle, now_ns) = self.read.ok_or("bytes outside a read")?;
        match self.ledger.handle(handle.index() as u64) {
            Some(handle) => Ok((handle, now_ns)),
            None => Err("a read of a session that is over"),
        }
    }

    pub(super) fn end_read(&mut self, split: bool) {
        self.ledger.read_done(self.frames, split);
        self.read = None;
    }

    /// What the session has read of a line that is not whole yet.
    pub(super) fn pending(&self, handle: Handle) -> &[u8] {
        self.buffers[handle.index()].pending()
    }

    /// A whole line, or relay, that others got too.
    pub(super) fn feed_whole(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (handle, _) = self.reading()?;
        if !self.pending(handle).is_empty() {
            return Err("a whole line in the middle of one");
        }
        let before = self.frames;
        self.feed(line)?;
        if self.frames == before {
            return Err("a whole line after one that has no end");
        }
        Ok(())
    }

    /// Bytes of the read.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let (handle, now_ns) = self.reading()?;
        if bytes.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::Bytes(now_ns, bytes.to_vec()));
        if self.dialect == Dialect::Classic {
            // A relay that is known whole.
            let mut buffer = TextBuffer::new(payload::MAX_BYTES);
            let mut pieces = buffer.feed(bytes);
            while self.ledger.next_text(handle, &mut pieces, now_ns).is_some() {
                self.frames += 1;
            }
            return Ok(());
        }
        let mut lines = self.buffers[handle.index()].feed(bytes);
        while self.ledger.next(handle, &mut lines, now_ns).is_some() {
            self.frames += 1;
        }
        Ok(())
    }

    /// A piece of a classic stream.
    pub(super) fn piece(&mut self, piece: Piece<'_>) -> Result<(), &'static str> {
        let (handle, now_ns) = self.reading()?;
        self.ledger.piece(handle, piece, now_ns);
        self.frames += 1;
        Ok(())
    }
}

/// A piece of a classic stream, with bytes of its own.
#[derive(Debug)]
pub(super) struct OwnedPiece {
    form: u64,
    by: Option<SocketAddr>,
    bytes: Vec<u8>,
}

impl OwnedPiece {
    pub(super) fn read(from: &mut Reading) -> Self {
        let form = from.number();
        let by = (form < 3).then(|| from.text().parse().ok()).flatten();
        let bytes = match form {
            1 | 3 => from.bytes().to_vec(),
            _ => Vec::new(),
        };
        Self { form, by, bytes }
    }

    pub(super) fn get(&self) -> Result<Piece<'_>, &'static str> {
        let message = &self.bytes[..];
        Ok(match (self.form, self.by) {
            (0, Some(by)) => Piece::Ack { by },
            (1, Some(by)) => Piece::Relay { by, message },
            (2, Some(by)) => Piece::RelayBegins { by },
            (3, _) => Piece::Text(message),
            _ => return Err("a piece of an unknown kind"),
        })
    }
}

/// For tests: what a trace tells, and ledgers that decide otherwise.
#[cfg(test)]
pub(in crate::verify) mod overhear {
    use std::cell::{Cell, RefCell};

    use super::{Handle, Told};

    thread_local! {
        /// Ledgers decode every line, and compare none.
        pub(super) static SLOWLY: Cell<bool> = const { Cell::new(false) };
        static HEARD: RefCell<Vec<(usize, Heard)>> = const { RefCell::new(Vec::new()) };
    }

    /// What the ledgers are told, but for pieces of a classic stream.
    #[derive(Debug, Clone)]
    pub(in crate::verify) enum Heard {
        Connecting,
        Told(Told),
        Bytes(u64, Vec<u8>),
    }

    pub(super) fn heard(handle: Handle, what: impl FnOnce() -> Heard) {
        HEARD.with_borrow_mut(|all| all.push((handle.index(), what())));
    }

    /// What a replay tells its ledgers, each with its session's slot.
    pub(in crate::verify) fn overhear<T>(replay: impl FnOnce() -> T) -> (T, Vec<(usize, Heard)>) {
        HEARD.take();
        let done = replay();
        (done, HEARD.take())
    }

    /// A replay whose ledgers compare no lines.
    pub(in crate::verify) fn slowly<T>(replay: impl FnOnce() -> T) -> T {
        SLOWLY.set(true);
        let done = replay();
        SLOWLY.set(false);
        done
    }
}
