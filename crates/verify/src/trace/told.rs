//! The fields of recorded events that a ledger is told of, and the ledger that is told.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Header;
use super::tag::Tag;
use super::tape::Reading;
use crate::directory::{ClientId, Directory};
use crate::ledger::{Ending, Handle, Ledger};
use chatbench_wire::payload;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Due, Glued, RawSent, Relay, Seen};

/// Frames that one read may have brought: no frame has less than a byte, and no reader's buffer is
/// this large.
pub(super) const MAX_FRAMES: u64 = 1 << 20;

/// Something that happened to a session, other than a read.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Connected(SocketAddr),
    Sending {
        room: RoomId,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    },
    LeavingRoom(RoomId, u64),
    NotLetIn(RoomId, u64),
    SentGlued(Glued),
    SendingRaw(RawSent),
    FellBehind,
    StopsReading,
    Leaving(u64),
    LettingGo,
    TimeUp {
        heard_all: bool,
        now_ns: u64,
    },
    Ended {
        ending: Ending,
        now_ns: u64,
        unread: Vec<u8>,
    },
    NoWelcome(u64),
    OverdueAcks(String, u64),
    MissingError {
        code: String,
        within: String,
        now_ns: u64,
    },
    MissingAnswer {
        expected: String,
        within: String,
        instead: String,
        now_ns: u64,
    },
}

impl Told {
    /// Reads the fields of an event of this kind in a room. The error names what cannot be.
    pub(super) fn read(tag: Tag, room: RoomId, from: &mut Reading) -> Result<Self, &'static str> {
        Ok(match tag {
            Tag::Connected => Self::Connected(from.text().parse().map_err(|_| "no address")?),
            Tag::Sending | Tag::SendingLast => {
                let now_ns = from.time();
                Self::Sending {
                    room,
                    intended_ns: now_ns.wrapping_sub(from.number()),
                    now_ns,
                    last: tag == Tag::SendingLast,
                }
            }
            Tag::LeavingRoom => Self::LeavingRoom(room, from.time()),
            Tag::NotLetIn => Self::NotLetIn(room, from.time()),
            Tag::SentGlued => Self::SentGlued(from.glued()),
            Tag::SentRaw => Self::SendingRaw(from.raw()),
            Tag::FellBehind => Self::FellBehind,
            Tag::StopsReading => Self::StopsReading,
            Tag::LeavingAt => Self::Leaving(from.time()),
            Tag::LettingGo => Self::LettingGo,
            Tag::TimeUp => Self::TimeUp {
                now_ns: from.time(),
                heard_all: from.number() != 0,
            },
            Tag::Ended => Self::ended(from, |from| from.bytes().to_vec())?,
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
            Tag::MissingAnswer => Self::MissingAnswer {
                now_ns: from.time(),
                expected: from.text(),
                within: from.text(),
                instead: from.text(),
            },
            _ => return Err("an event that is no ledger's"),
        })
    }

    pub(super) fn ended(
        from: &mut Reading,
        unread: impl FnOnce(&mut Reading) -> Vec<u8>,
    ) -> Result<Self, &'static str> {
        let now_ns = from.time();
        let endings = [Ending::Eof, Ending::Broken, Ending::Ours, Ending::TimeUp];
        let ending = endings.get(from.number() as usize);
        Ok(Self::Ended {
            ending: *ending.ok_or("an ending of an unknown kind")?,
            now_ns,
            unread: unread(from),
        })
    }
}

/// One shard's ledger, which a trace tells what was told in the run.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) ledger: Ledger,
    /// The header of the latest message composed.
    pub(super) sent: Option<payload::Header>,
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
            sent: None,
            read: None,
            frames: 0,
        }
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<Handle> {
        let handle = self.ledger.connecting(client)?;
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::Connecting);
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
                room,
                intended_ns,
                now_ns,
                last,
            } => self.sent = ledger.sending_in(handle, *room, *intended_ns, *now_ns, *last),
            Told::LeavingRoom(room, now_ns) => ledger.leaving_room(handle, *room, *now_ns),
            Told::NotLetIn(room, now_ns) => ledger.not_let_in(handle, *room, *now_ns),
            Told::SentGlued(glued) => {
                let header = self.sent.ok_or("a message that was not composed")?;
                ledger.sent_glued(handle, &header, *glued);
            }
            Told::SendingRaw(sent) => ledger.sending_raw(handle, sent),
            Told::FellBehind => ledger.fell_behind(handle),
            Told::StopsReading => ledger.stops_reading(handle),
            Told::Leaving(now_ns) => ledger.leaving(handle, *now_ns),
            Told::LettingGo => ledger.letting_go(handle),
            Told::TimeUp { heard_all, now_ns } => ledger.time_up(handle, *heard_all, *now_ns),
            Told::Ended {
                ending,
                now_ns,
                unread,
            } => ledger.ended(handle, *ending, unread, *now_ns),
            Told::NoWelcome(now_ns) => ledger.no_welcome(handle, *now_ns),
            Told::OverdueAcks(within, now_ns) => ledger.overdue_acks(handle, within, *now_ns),
            Told::MissingError {
                code,
                within,
                now_ns,
            } => ledger.missing_error(handle, code, within, *now_ns),
            Told::MissingAnswer {
                expected,
                within,
                instead,
                now_ns,
            } => ledger.missing_answer(handle, expected, within, instead, *now_ns),
        }
        Ok(())
    }

    pub(super) fn begin_read(&mut self, handle: Handle, now_ns: u64) {
        self.read = Some((handle, now_ns));
        self.frames = 0;
    }

    /// The session of the read that is being gone through, and its time.
    pub(super) fn reading(&self) -> Result<(Handle, u64), &'static str> {
        let (handle, now_ns) = self.read.ok_or("a frame outside a read")?;
        match self.ledger.handle(handle.index() as u64) {
            Some(handle) => Ok((handle, now_ns)),
            None => Err("a read of a session that is over"),
        }
    }

    pub(super) fn end_read(&mut self, split: bool) {
        self.ledger.read_done(self.frames, split);
        self.read = None;
    }

    /// The session whose read is being gone through saw this in the unnamed room.
    pub(super) fn saw(&mut self, seen: &Seen<'_>) -> Result<(), &'static str> {
        self.saw_in(RoomId::UNNAMED, seen)
    }

    /// The session whose read is being gone through saw this.
    pub(super) fn saw_in(&mut self, room: RoomId, seen: &Seen<'_>) -> Result<(), &'static str> {
        let (handle, now_ns) = self.reading()?;
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::saw(now_ns, seen));
        self.frames += 1;
        self.ledger.saw_in(handle, room, seen, now_ns);
        Ok(())
    }

    /// The session whose read is being gone through got a message that others got, too.
    pub(super) fn got(&mut self, room: RoomId, relay: Relay<'_>) -> Result<(), &'static str> {
        let (handle, now_ns) = self.reading()?;
        let mut came = Some(relay.frame); // once
        let is_due = |due: Due<'_>| came.take_if(|frame| *frame == due.frame).is_some();
        if self.ledger.take_due_in(handle, room, now_ns, is_due, drop) == 0 {
            return self.saw_in(room, &Seen::Relay(relay));
        }
        #[cfg(test)]
        overhear::heard(handle, || overhear::Heard::saw(now_ns, &Seen::Relay(relay)));
        self.frames += 1;
        Ok(())
    }
}

/// For tests: records what a trace tells, and makes ledgers decide otherwise.
#[cfg(test)]
pub(crate) mod overhear {
    use std::cell::{Cell, RefCell};

    use super::{Handle, Told};
    use chatbench_wire::ndjson;
    use chatbench_wire::seen::{AckOf, Complaint, Relay, Seen};

    thread_local! {
        /// Ledgers decode every line, and compare none.
        pub(super) static SLOWLY: Cell<bool> = const { Cell::new(false) };
        static HEARD: RefCell<Vec<(usize, Heard)>> = const { RefCell::new(Vec::new()) };
    }

    /// Something that the ledgers are told.
    #[derive(Debug, Clone)]
    pub(crate) enum Heard {
        Connecting,
        Told(Told),
        Bytes(u64, Vec<u8>),
    }

    impl Heard {
        /// An observation, as a line of the reference protocol.
        pub(super) fn saw(at_ns: u64, seen: &Seen<'_>) -> Self {
            let mut line = Vec::new();
            match seen {
                Seen::Open { seq, me } => ndjson::encode_welcome(&mut line, me, *seq, 65_536),
                Seen::Relay(Relay { frame, .. }) => line.extend_from_slice(frame),
                Seen::Malformed(malformed) => {
                    line.extend_from_slice(&malformed.frame);
                    line.push(b'\n');
                }
                Seen::Ack { of, seq } => {
                    let id = match of {
                        AckOf::Id(id) => Some(*id),
                        AckOf::NoId | AckOf::Oldest(_) => None,
                    };
                    ndjson::encode_ack(&mut line, *seq, id);
                }
                Seen::Error(Complaint {
                    code, detail, of, ..
                }) => ndjson::encode_error(&mut line, code, detail, *of),
                Seen::Bye { seq } => ndjson::encode_bye(&mut line, *seq),
                Seen::Unknown | Seen::Control => {
                    line.extend_from_slice(b"{\"type\":\"unknown\"}\n");
                }
            }
            Self::Bytes(at_ns, line)
        }
    }

    pub(super) fn heard(handle: Handle, what: impl FnOnce() -> Heard) {
        HEARD.with_borrow_mut(|all| all.push((handle.index(), what())));
    }

    /// Replays, and returns what the ledgers were told, each with its session's slot.
    pub(crate) fn overhear<T>(replay: impl FnOnce() -> T) -> (T, Vec<(usize, Heard)>) {
        HEARD.take();
        let done = replay();
        (done, HEARD.take())
    }

    /// Replays with ledgers that compare no lines.
    pub(crate) fn slowly<T>(replay: impl FnOnce() -> T) -> T {
        SLOWLY.set(true);
        let done = replay();
        SLOWLY.set(false);
        done
    }
}
