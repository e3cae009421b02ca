//! Traces of version 1, which depended on the decisions of the ledger that wrote them.
//!
//! They name a line that others got as "the one that is due", and after each event they hold the
//! answers of the directory, but not the questions. Today's ledgers expect other lines as due, and
//! ask other questions. So the decisions of the former ledgers are worked out from what they were
//! told, as far as it takes to read on ([`numbered`]), and are used for nothing else. Today's
//! ledgers get the bytes, and judge.
//!
//! The order of events over all threads is not in such a trace. Streams are merged by their times,
//! and what the directory is told then may be some microseconds early or late. Its recorded answers
//! about sessions and their addresses are believed. A judge takes each batch as it is handed over.
//!
//! A target that is judged by inferred order is still judged by the questions of today's ledger:
//! where these differ from the former ones, the trace is refused.

mod numbered;
mod placing;

use std::io::BufRead;
use std::sync::Arc;

use serde::Deserialize;

use self::numbered::Former;
use super::file::Blocks;
use super::replay::{Stream, ended_early, judge};
use super::tag::Tag;
use super::tape::{JUDGE, Reading};
use super::told::{Listener, MAX_FRAMES, Told};
use super::{Header, TraceError};
use crate::batch::Batch;
use crate::directory::{ClientId, Directory, RawFate};
use crate::findings::Findings;
use crate::ids::{MAX_SESSIONS, publish_id};
use crate::ledger::{Handle, Terms};
use crate::promises::Promises;
use chatbench_wire::classic;
use chatbench_wire::payload::SenderId;
use chatbench_wire::protocol::{AnyConn, Opening, Protocol};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Conn, Glued, GluedFate, Seen};

/// The header of such a trace.
#[derive(Debug, Deserialize)]
pub(in crate::trace) struct FormerHeader {
    scenario: String,
    target: String,
    terms: FormerTerms,
    /// The longest line that a client read, in bytes.
    max_read_line_bytes: usize,
    shards: u16,
    clients: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct FormerTerms {
    run: u32,
    seed: u64,
    late_after_ns: Option<u64>,
    addresses_known: bool,
    /// The longest line that the target took, in bytes, until a welcome said so.
    max_line_bytes: usize,
    #[serde(default)]
    promises: Promises,
    dialect: Option<Protocol>,
}

/// The protocol that was spoken, and the limits on reading it.
#[derive(Debug, Clone, Copy)]
pub(in crate::trace) struct Spoken {
    protocol: Protocol,
    max_read_bytes: usize,
    max_frame_bytes: usize,
}

impl Spoken {
    /// A connection at its beginning.
    fn open(self) -> AnyConn {
        (self.protocol).open(&Opening::reading(self.max_read_bytes), &mut Vec::new())
    }
}

impl FormerHeader {
    /// The header as traces have it today, and the rest that is needed to read on; `None` if there
    /// are limits that cannot be.
    pub(in crate::trace) fn today(self) -> Option<(Header, Spoken)> {
        let terms = self.terms;
        let protocol = terms.dialect.unwrap_or(Protocol::ALL[0]); // it was the only one
        let spoken = Spoken {
            protocol,
            max_read_bytes: self.max_read_line_bytes,
            max_frame_bytes: terms.max_line_bytes,
        };
        let header = Header {
            rooms: Vec::new(),
            scenario: self.scenario,
            target: self.target,
            terms: Terms {
                run: terms.run,
                seed: terms.seed,
                late_after_ns: terms.late_after_ns,
                addresses_known: terms.addresses_known,
                promises: terms.promises,
                capabilities: protocol.capabilities(),
            },
            shards: self.shards,
            clients: self.clients,
        };
        let possible = spoken.max_read_bytes > 0 && spoken.max_frame_bytes > 0;
        possible.then_some((header, spoken))
    }
}

/// Plays a trace of version 1. Returns what is found, and why it cannot pass.
pub(super) fn play<R: BufRead>(
    mut blocks: Blocks<R>,
    header: &Header,
    spoken: Spoken,
) -> Result<(Findings, Vec<String>), TraceError> {
    let directory = Arc::new(Directory::new(header.clients.clone()));
    let shards = 0..header.shards;
    let mut shards: Vec<Shard> = shards
        .map(|n| Shard::new(n, header, spoken, &directory))
        .collect();
    let mut judge = judge(header, directory);
    let mut whole = true;
    for shard in &mut shards {
        whole = whole && shard.advance(&mut blocks)?;
    }
    while whole {
        let open = shards.iter_mut().filter(|shard| shard.next.is_some());
        let Some(shard) = open.min_by_key(|shard| shard.at_ns) else {
            break;
        };
        let index = usize::from(shard.stream.number);
        if let Some(batch) = shard.play()? {
            judge.absorb(index, batch, |_| ());
        }
        whole = shard.advance(&mut blocks)?;
    }
    let gone = target_may_be_gone(&mut blocks)?;
    let Some(trailer) = blocks.trailer.filter(|_| whole) else {
        return Ok((judge.summed_up(), vec![ended_early()]));
    };
    // A run that lost its target says so.
    judge.conclude(gone && !trailer.doubts.is_empty(), |_| ());
    Ok((judge.summed_up(), trailer.doubts))
}

/// Whether the judge's last event may say that the target was gone. Its place among the unnamed
/// answers is not known.
fn target_may_be_gone<R: BufRead>(blocks: &mut Blocks<R>) -> Result<bool, TraceError> {
    let gone = [Tag::Finish as u8, 1];
    let mut may_be = false;
    while let Some((_, block)) = blocks.next(JUDGE)? {
        may_be |= block.windows(2).any(|pair| pair == gone);
    }
    Ok(may_be)
}

/// A shard's stream.
#[derive(Debug)]
struct Shard {
    stream: Stream,
    next: Option<Tag>,
    /// The time of that.
    at_ns: u64,
    listener: Listener,
    spoken: Spoken,
    /// The connections of the sessions.
    conns: Vec<AnyConn>,
    /// The former ledger that wrote it; none for a target that was judged by inferred order.
    former: Option<Former>,
    next_session: u32,
}

impl Shard {
    fn new(number: u16, header: &Header, spoken: Spoken, directory: &Arc<Directory>) -> Self {
        let mut listener = Listener::new(header, directory);
        let is_numbered = header.terms.are_numbered();
        if is_numbered {
            listener.ledger.tape().replay();
        } else {
            listener.ledger.tape().answer_from(Answers::default());
        }
        Self {
            stream: Stream::new(number),
            next: None,
            at_ns: 0,
            listener,
            spoken,
            conns: Vec::new(),
            former: is_numbered.then(|| Former::new(header, directory)),
            next_session: 0,
        }
    }

    /// Finds out which event is next, and its time. `false` at the end of a trace that ends early.
    fn advance<R: BufRead>(&mut self, blocks: &mut Blocks<R>) -> Result<bool, TraceError> {
        self.next = self.stream.next(blocks)?;
        if let Some(tag) = self.next {
            self.at_ns = self.stream.from.peek_ns(tag);
        }
        Ok(self.next.is_some() || blocks.trailer.is_some())
    }

    /// Tells the ledger the next event. Returns the batch that it hands over, if the event is that.
    fn play(&mut self) -> Result<Option<Batch>, TraceError> {
        let Some(tag) = self.next else {
            return Ok(None);
        };
        let played = self.tell(tag);
        self.stream.check()?;
        self.listener.ledger.tape().make_known();
        played.map_err(|what| self.stream.wrong(what))
    }

    fn tell(&mut self, tag: Tag) -> Result<Option<Batch>, &'static str> {
        match tag {
            Tag::Connecting => self.connecting()?,
            Tag::TakeBatch => {
                if let Some(former) = &mut self.former {
                    former.take_batch(&mut self.stream.from);
                }
                return Ok(Some(
                    self.answering(|listener| listener.ledger.take_batch()),
                ));
            }
            Tag::Read | Tag::MatchedRead => {
                let handle = self.listener.handle(self.stream.from.number())?;
                let now_ns = self.stream.from.time();
                self.listener.begin_read(handle, now_ns);
                if tag == Tag::MatchedRead {
                    self.matched()?;
                    self.listener.end_read(false);
                }
            }
            Tag::Matched => self.matched()?,
            Tag::Bytes | Tag::Part | Tag::Rest => {
                let bytes = self.bytes(tag)?;
                self.feed(&bytes)?;
            }
            Tag::Piece => {
                let bytes = self.piece()?;
                self.feed(&bytes)?;
            }
            Tag::ReadDone => {
                self.listener.reading()?;
                let split = self.stream.from.number() != 0;
                self.listener.end_read(split);
            }
            _ if (Tag::Absorb as u8..=Tag::Finish as u8).contains(&(tag as u8))
                || tag as u8 > Tag::FellBehind as u8 =>
            {
                return Err("an event that is no ledger's");
            }
            _ => {
                let from = &mut self.stream.from;
                let handle = self.listener.handle(from.number())?;
                let told = self.told(tag, handle)?;
                let from = &mut self.stream.from;
                if let Some(former) = &mut self.former {
                    former.told(handle.index(), &told, from);
                }
                if let Told::Ended { now_ns, .. } = told {
                    self.finish(handle, now_ns);
                }
                self.answering(|listener| listener.tell(handle, &told))?;
            }
        }
        Ok(None)
    }

    /// Answers the ledger's questions from the tape, if it is one that judges by inferred order.
    fn answering<T>(&mut self, tell: impl FnOnce(&mut Listener) -> T) -> T {
        if let Some(answers) = self.listener.ledger.tape().answers() {
            answers.0 = std::mem::take(&mut self.stream.from);
        }
        let told = tell(&mut self.listener);
        if let Some(answers) = self.listener.ledger.tape().answers() {
            self.stream.from = std::mem::take(&mut answers.0);
        }
        told
    }

    fn connecting(&mut self) -> Result<(), &'static str> {
        let from = &mut self.stream.from;
        let client = u32::try_from(from.number()).map_err(|_| "a client that cannot be")?;
        let client = ClientId(client);
        let joined = self.former.as_mut().map(|former| former.highest(from));
        let Some(session) = from.place() else {
            return Ok(()); // all session numbers were used up
        };
        if !(self.next_session..MAX_SESSIONS).contains(&session) {
            return Err("a session number that was given out before, or too high");
        }
        self.next_session = session + 1;
        let session = SenderId(session);
        let view = self.listener.ledger.tape();
        view.opens(Some(session));
        if let Some(answers) = view.answers() {
            answers.1 = Some(session);
        }
        let handle = self.listener.connecting(client);
        let handle = handle.ok_or("a session number that was given out before")?;
        let conn = self.spoken.open();
        match self.conns.get_mut(handle.index()) {
            Some(old) => *old = conn,
            None => self.conns.push(conn),
        }
        if let (Some(former), Some(joined)) = (&mut self.former, joined) {
            former.connecting(handle.index(), session, joined, &mut self.stream.from);
        }
        Ok(())
    }

    /// So many lines were those that were due.
    fn matched(&mut self) -> Result<(), &'static str> {
        let lines = self.stream.from.number();
        if lines > MAX_FRAMES {
            return Err("more lines than a read has");
        }
        for _ in 0..lines {
            let (handle, _) = self.listener.reading()?;
            let line = self.due()?;
            if !self.conns[handle.index()].unread().is_empty() {
                return Err("a whole line in the middle of one");
            }
            if let Some(former) = &mut self.former {
                former.matched(handle.index());
            }
            let mut whole = false;
            self.each(&line, |shard, seen| {
                whole = true;
                let Seen::Relay(relay) = seen else {
                    return Err("a line that was due and is no relay");
                };
                shard.answering(|listener| listener.got(RoomId::UNNAMED, relay))
            })?;
            if !whole {
                return Err("a whole line after one that has no end");
            }
        }
        Ok(())
    }

    /// The line that was due to the session that reads.
    fn due(&mut self) -> Result<Vec<u8>, &'static str> {
        let (handle, _) = self.listener.reading()?;
        let line = match &self.former {
            Some(former) => former.due(handle.index()),
            None => self.listener.ledger.due(handle).map(|(_, line)| line),
        };
        Ok(line.ok_or("a line that this shard does not know")?.to_vec())
    }

    /// The bytes of one step through a read.
    fn bytes(&mut self, tag: Tag) -> Result<Vec<u8>, &'static str> {
        if tag == Tag::Bytes {
            return Ok(self.stream.from.bytes().to_vec());
        }
        let (handle, _) = self.listener.reading()?;
        let due = self.due()?;
        let bytes = match tag {
            Tag::Part => due.get(..self.stream.from.number() as usize),
            _ => due.get(self.conns[handle.index()].unread().len()..),
        };
        Ok(bytes.ok_or("more than a line has")?.to_vec())
    }

    /// Tells the ledger what these bytes of a read hold.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.each(bytes, |shard, seen| {
            let (handle, _) = shard.listener.reading()?;
            if let Some(former) = &mut shard.former {
                former.saw(handle.index(), &seen, &mut shard.stream.from);
            }
            shard.answering(|listener| listener.saw(&seen))
        })
    }

    /// The stream of a session is at its end, which ends what had begun in it.
    fn finish(&mut self, handle: Handle, now_ns: u64) {
        let mut conn = std::mem::replace(&mut self.conns[handle.index()], self.spoken.open());
        while let Some((_, seen)) = conn.finish() {
            self.answering(|listener| listener.ledger.saw(handle, &seen, now_ns));
        }
    }

    /// Goes through the observations that the connection that is read makes of these bytes.
    fn each(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&mut Self, Seen<'_>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let (handle, _) = self.listener.reading()?;
        let mut conn = std::mem::replace(&mut self.conns[handle.index()], self.spoken.open());
        let mut took = Ok(());
        while let Some((_, seen)) = conn.next(&mut bytes, &mut Vec::new()) {
            took = took.and_then(|()| take(self, seen));
        }
        if let Some(max_frame_bytes) = conn.max_frame_bytes() {
            let max_frame_bytes = usize::try_from(max_frame_bytes).unwrap_or(usize::MAX);
            self.spoken.max_frame_bytes = max_frame_bytes;
        }
        self.conns[handle.index()] = conn;
        took
    }

    /// The bytes of a piece of a classic stream.
    fn piece(&mut self) -> Result<Vec<u8>, &'static str> {
        let from = &mut self.stream.from;
        let form = from.number();
        let by = (form < 3).then(|| from.text());
        let mut bytes = by.unwrap_or_default().into_bytes();
        match form {
            0 => bytes.extend_from_slice(classic::ACK.as_bytes()),
            1 | 2 => bytes.extend_from_slice(classic::RELAY.as_bytes()),
            3 => {}
            _ => return Err("a piece of an unknown kind"),
        }
        if form == 1 || form == 3 {
            bytes.extend_from_slice(from.bytes());
        }
        Ok(bytes)
    }

    /// The fields of an event of this kind.
    fn told(&mut self, tag: Tag, handle: Handle) -> Result<Told, &'static str> {
        let from = &mut self.stream.from;
        let conn = &mut self.conns[handle.index()];
        Ok(match tag {
            // Its time is not known: as if it had waited for nothing.
            Tag::Leaving => Told::Leaving(0),
            Tag::SentPublish => {
                let publish = from.bytes();
                let header = self
                    .listener
                    .sent
                    .ok_or("a message that was not composed")?;
                let glued = conn.glued(publish, publish_id(header.sender, header.k));
                Told::SentGlued(glued.unwrap_or(Glued {
                    fate: GluedFate::Survives,
                    unfinished: false,
                }))
            }
            Tag::SendingRaw => {
                let max_frame_bytes = self.spoken.max_frame_bytes;
                let sent = conn.raw(&mut Vec::new(), from.bytes(), max_frame_bytes);
                Told::SendingRaw(sent)
            }
            Tag::Ended => Told::ended(from, |_| conn.unread().to_vec())?,
            _ => Told::read(tag, RoomId::UNNAMED, from)?,
        })
    }
}

/// The directory's answers to a ledger that judges by inferred order, and the number of the session
/// that is opened next.
#[derive(Debug, Default)]
pub(crate) struct Answers(Reading, Option<SenderId>);

impl Answers {
    pub(super) fn session(&mut self) -> Option<SenderId> {
        self.1.take()
    }

    pub(super) fn yes(&mut self) -> bool {
        self.0.number() != 0
    }

    pub(super) fn checked(&mut self) -> Result<(), String> {
        match self.0.number() {
            0 => Ok(()),
            _ => Err(self.0.text()),
        }
    }

    pub(super) fn fate(&mut self) -> Option<RawFate> {
        match self.0.number() {
            1 => Some(RawFate::Accepted),
            2 => Some(RawFate::Rejected),
            _ => None,
        }
    }

    pub(super) fn client(&mut self) -> Option<ClientId> {
        self.0.place().map(ClientId)
    }
}

impl Reading {
    /// A place in a list, from 0; `None` for none.
    fn place(&mut self) -> Option<u32> {
        let place = self.number().checked_sub(1)?;
        let place = u32::try_from(place).ok();
        if place.is_none() {
            self.breaks();
        }
        place
    }

    /// The time of the event that begins with `tag`, if it has one; else that of the one before.
    fn peek_ns(&mut self, tag: Tag) -> u64 {
        let has_time = matches!(
            tag,
            Tag::Sending
                | Tag::SendingLast
                | Tag::Read
                | Tag::MatchedRead
                | Tag::Ended
                | Tag::NoWelcome
                | Tag::OverdueAcks
                | Tag::MissingError
                | Tag::LeavingAt
                | Tag::TimeUp
        );
        if !has_time {
            return self.last_ns();
        }
        self.ahead(|from| {
            from.number();
            from.time()
        })
    }
}
