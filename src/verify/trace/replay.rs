//! A recorded trace told again: to ledgers and a judge like those of the run, in the same order.

use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::Arc;

use super::file::{Blocks, MAX_SHARDS};
use super::tape::{JUDGE, Reading, Tag, Tape};
use super::view::View;
use super::{Header, TraceError, Verified};
use crate::verify::directory::{ClientId, Directory};
use crate::verify::judge::Judge;
use crate::verify::ledger::{Ending, Handle, Ledger};
use crate::wire::Dialect;
use crate::wire::classic::texts::{Piece, TextBuffer};
use crate::wire::line::LineBuffer;
use crate::wire::payload;

/// Lines that one read can have brought: no line has less than a byte, and no reader a buffer of
/// this many.
const MAX_LINES: u64 = 1 << 20;

/// Verifies a recorded trace.
///
/// A trace that ends before its trailer (its run was killed) keeps what was certain by then, and
/// cannot pass.
///
/// # Errors
/// [`TraceError`] if it is no trace, damaged, or tells what cannot be.
pub fn verify(source: impl BufRead) -> Result<Verified, TraceError> {
    let (mut blocks, header) = Blocks::open(source)?;
    let Some(header) = header else {
        return Ok(Verified {
            title: "a trace without a beginning".to_owned(),
            findings: Default::default(),
            doubts: vec![ended_early()],
        });
    };
    let title = format!("{} → {}", header.scenario, header.target);
    let no_line = header.max_read_line_bytes == 0 || header.terms.max_line_bytes == 0;
    if header.shards > MAX_SHARDS || no_line {
        return Err(TraceError::OutOfOrder {
            at: 0,
            within: 0,
            what: "a header with limits that cannot be".to_owned(),
        });
    }
    let directory = Arc::new(Directory::new(header.clients.clone()));
    let mut shards: Vec<Shard> = (0..header.shards)
        .map(|index| Shard::new(index, &header, &directory))
        .collect();
    let late_after_ns = header.terms.late_after_ns;
    let mut judge =
        Judge::new(directory, shards.len(), late_after_ns).with_relays(header.terms.promises.relay);
    judge.tape().set_tape(Tape::Reading(Box::default()));
    let mut place = Place::default();
    while let Some(tag) = next_tag(judge.tape(), JUDGE, &mut blocks, &mut place)? {
        let field = reading(judge.tape()).number();
        match tag {
            Tag::Absorb | Tag::PassOver => {
                let Some(shard) = shards.get_mut(field as usize) else {
                    return Err(place.wrong(judge.tape(), "a batch of a shard that is not there"));
                };
                let Some(batch) = shard.play_to_batch(&mut blocks)? else {
                    if blocks.trailer.is_some() {
                        return Err(place.wrong(judge.tape(), "a batch that its shard never gave"));
                    }
                    break;
                };
                match tag {
                    Tag::PassOver => judge.pass_over(field as usize, batch, |_| ()),
                    _ => judge.absorb(field as usize, batch, |_| ()),
                }
            }
            Tag::Finish => {
                judge.conclude(field != 0, |_| ());
                if reading(judge.tape()).is_broken() {
                    let what = "what the judge asked was not answered";
                    return Err(place.wrong(judge.tape(), what));
                }
                let doubts = doubts(&mut judge, &mut shards, blocks, place)?;
                return Ok(Verified {
                    title,
                    findings: judge.summed_up(),
                    doubts,
                });
            }
            _ => return Err(place.wrong(judge.tape(), "an event that is no judge's")),
        }
        if reading(judge.tape()).is_broken() {
            return Err(place.wrong(judge.tape(), "what the judge asked was not answered"));
        }
    }
    if blocks.trailer.is_some() {
        return Err(place.wrong(judge.tape(), "the trace ends and the judge has not"));
    }
    Ok(Verified {
        title,
        findings: judge.summed_up(),
        doubts: vec![ended_early()],
    })
}

/// Behind the judge's last word: nothing may be left but the trailer with its doubts.
fn doubts<R: BufRead>(
    judge: &mut Judge,
    shards: &mut [Shard],
    mut blocks: Blocks<R>,
    place: Place,
) -> Result<Vec<String>, TraceError> {
    let too_much = "observations behind the judge's last word";
    if !reading(judge.tape()).is_used_up() || blocks.next(JUDGE)?.is_some() {
        return Err(place.wrong(judge.tape(), too_much));
    }
    for shard in shards {
        if next_tag(
            shard.ledger.tape(),
            shard.stream,
            &mut blocks,
            &mut shard.place,
        )?
        .is_some()
        {
            return Err(shard.wrong(too_much));
        }
    }
    Ok(match blocks.trailer {
        Some(trailer) => trailer.doubts,
        None => vec![ended_early()],
    })
}

fn ended_early() -> String {
    "the trace ends before its run did: it was killed, or its disk was full".to_owned()
}

/// Where in the file a stream is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    at: u64,
}

impl Place {
    fn wrong(self, view: &mut View, what: &str) -> TraceError {
        TraceError::OutOfOrder {
            at: self.at,
            within: reading(view).position(),
            what: what.to_owned(),
        }
    }
}

fn reading(view: &mut View) -> &mut Reading {
    view.reading().expect("a replay plays from a tape")
}

/// The next event of a stream; `None` at the end of the trace.
fn next_tag<R: BufRead>(
    view: &mut View,
    stream: u16,
    blocks: &mut Blocks<R>,
    place: &mut Place,
) -> Result<Option<Tag>, TraceError> {
    while reading(view).is_used_up() {
        let Some((at, block)) = blocks.next(stream)? else {
            return Ok(None);
        };
        place.at = at;
        reading(view).load(block);
    }
    match reading(view).tag() {
        Some(tag) => Ok(Some(tag)),
        None => Err(place.wrong(view, "an event of an unknown kind")),
    }
}

/// One shard's ledger and the connections that its sessions read from.
struct Shard {
    stream: u16,
    place: Place,
    ledger: Ledger,
    buffers: Vec<LineBuffer>,
    max_line_bytes: usize,
    dialect: Dialect,
    /// The header of the latest message composed.
    sent: Option<payload::Header>,
    /// The read that is being gone through, and how many frames it gave.
    read: Option<(Handle, u64)>,
    frames: u64,
    chunk: Vec<u8>,
}

impl Shard {
    fn new(stream: u16, header: &Header, directory: &Arc<Directory>) -> Self {
        let mut ledger = Ledger::new(header.terms, directory.clone());
        ledger.tape().set_tape(Tape::Reading(Box::default()));
        Self {
            stream,
            place: Place::default(),
            ledger,
            buffers: Vec::new(),
            max_line_bytes: header.max_read_line_bytes,
            dialect: header.terms.dialect,
            sent: None,
            read: None,
            frames: 0,
            chunk: Vec::new(),
        }
    }

    /// Plays on to the next hand-over; `None` if the trace ends before it.
    fn play_to_batch<R: BufRead>(
        &mut self,
        blocks: &mut Blocks<R>,
    ) -> Result<Option<crate::verify::batch::Batch>, TraceError> {
        loop {
            let view = self.ledger.tape();
            let Some(tag) = next_tag(view, self.stream, blocks, &mut self.place)? else {
                return Ok(None);
            };
            let batch = match tag {
                Tag::TakeBatch => Some(self.ledger.take_batch()),
                Tag::TakeRest => Some(self.ledger.take_rest().0),
                Tag::StopJudging => {
                    self.ledger.stop_judging();
                    None
                }
                _ => {
                    self.play(tag).map_err(|what| self.wrong(what))?;
                    None
                }
            };
            if reading(self.ledger.tape()).is_broken() {
                return Err(self.wrong("what the ledger asked was not answered"));
            }
            if batch.is_some() {
                return Ok(batch);
            }
        }
    }

    fn wrong(&mut self, what: &str) -> TraceError {
        self.place.wrong(self.ledger.tape(), what)
    }

    fn number(&mut self) -> u64 {
        reading(self.ledger.tape()).number()
    }

    fn time(&mut self) -> u64 {
        reading(self.ledger.tape()).time()
    }

    fn text(&mut self) -> String {
        reading(self.ledger.tape()).text()
    }

    /// Tells the ledger of one event. An error says what cannot be.
    fn play(&mut self, tag: Tag) -> Result<(), &'static str> {
        if tag == Tag::Connecting {
            let client = u32::try_from(self.number()).map_err(|_| "a client that cannot be")?;
            if let Some(handle) = self.ledger.connecting(ClientId(client)) {
                let buffer = LineBuffer::new(self.max_line_bytes);
                match self.buffers.get_mut(handle.index()) {
                    Some(old) => *old = buffer,
                    None => self.buffers.push(buffer),
                }
            }
            return Ok(());
        }
        if let Tag::Matched | Tag::Bytes | Tag::Part | Tag::Rest | Tag::ReadDone | Tag::Piece = tag
        {
            return self.play_read(tag);
        }
        let index = self.number();
        let handle = self
            .ledger
            .handle(index)
            .ok_or("a session that is not there")?;
        match tag {
            Tag::Connected => {
                let address = self.text().parse().map_err(|_| "no address")?;
                self.ledger.connected(handle, address);
            }
            Tag::Sending | Tag::SendingLast => {
                let now_ns = self.time();
                let intended_ns = now_ns.wrapping_sub(self.number());
                self.sent =
                    self.ledger
                        .sending(handle, intended_ns, now_ns, tag == Tag::SendingLast);
            }
            Tag::SentPublish => {
                let header = self.sent.ok_or("a message that was not composed")?;
                let line = reading(self.ledger.tape()).bytes().to_vec();
                self.ledger.sent_publish(handle, &header, &line);
            }
            Tag::SendingRaw => {
                let bytes = reading(self.ledger.tape()).bytes().to_vec();
                self.ledger.sending_raw(handle, &bytes);
            }
            Tag::FellBehind => self.ledger.fell_behind(handle),
            Tag::StopsReading => self.ledger.stops_reading(handle),
            // When is not known: as if it had waited for nothing.
            Tag::Leaving => self.ledger.leaving(handle, 0),
            Tag::LeavingAt => {
                let now_ns = self.time();
                self.ledger.leaving(handle, now_ns);
            }
            Tag::TimeUp => {
                let now_ns = self.time();
                let heard_all = self.number() != 0;
                self.ledger.time_up(handle, heard_all, now_ns);
            }
            Tag::LettingGo => self.ledger.letting_go(handle),
            Tag::Read => {
                let now_ns = self.time();
                self.begin_read(handle, now_ns);
            }
            Tag::MatchedRead => {
                let now_ns = self.time();
                self.begin_read(handle, now_ns);
                self.play_read(Tag::Matched)?;
                self.ledger.read_done(self.frames, false);
                self.read = None;
            }
            Tag::Ended => {
                let now_ns = self.time();
                let endings = [Ending::Eof, Ending::Broken, Ending::Ours, Ending::TimeUp];
                let ending = endings.get(self.number() as usize);
                let ending = *ending.ok_or("an ending of an unknown kind")?;
                let unread = self.buffers[handle.index()].pending();
                self.ledger.ended(handle, ending, unread, now_ns);
            }
            Tag::NoWelcome => {
                let now_ns = self.time();
                self.ledger.no_welcome(handle, now_ns);
            }
            Tag::OverdueAcks => {
                let now_ns = self.time();
                let within = self.text();
                self.ledger.overdue_acks(handle, &within, now_ns);
            }
            Tag::MissingError => {
                let now_ns = self.time();
                let (code, within) = (self.text(), self.text());
                self.ledger.missing_error(handle, &code, &within, now_ns);
            }
            _ => return Err("an event that is no ledger's"),
        }
        Ok(())
    }

    fn begin_read(&mut self, handle: Handle, now_ns: u64) {
        self.read = Some((handle, now_ns));
        self.frames = 0;
    }

    /// One token of a read.
    fn play_read(&mut self, tag: Tag) -> Result<(), &'static str> {
        let (handle, now_ns) = self.read.ok_or("bytes outside a read")?;
        if self.ledger.handle(handle.index() as u64).is_none() {
            return Err("a read of a session that is over");
        }
        if tag == Tag::ReadDone {
            let split = self.number() != 0;
            self.ledger.read_done(self.frames, split);
            self.read = None;
            return Ok(());
        }
        if tag == Tag::Piece {
            return self.play_piece(handle, now_ns);
        }
        let pending = self.buffers[handle.index()].pending_bytes();
        let no_line = "a line that this shard does not know";
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        match tag {
            Tag::Matched => {
                if pending > 0 {
                    return Err("a whole line in the middle of one");
                }
                let lines = self.number();
                if lines > MAX_LINES {
                    return Err("more lines than a read has");
                }
                for _ in 0..lines {
                    let line = self.ledger.due(handle).ok_or(no_line)?;
                    chunk.clear();
                    chunk.extend_from_slice(line);
                    let before = self.frames;
                    self.feed(handle, &chunk, now_ns);
                    if self.frames == before {
                        return Err("a whole line behind one that has no end");
                    }
                }
                chunk.clear();
            }
            Tag::Part => {
                let n = self.number() as usize;
                let line = self.ledger.due(handle).ok_or(no_line)?;
                chunk.extend_from_slice(line.get(..n).ok_or("more than a line has")?);
            }
            Tag::Rest => {
                let line = self.ledger.due(handle).ok_or(no_line)?;
                chunk.extend_from_slice(line.get(pending..).ok_or("more than a line has")?);
            }
            _ => chunk.extend_from_slice(reading(self.ledger.tape()).bytes()),
        }
        if !chunk.is_empty() {
            self.feed(handle, &chunk, now_ns);
        }
        self.chunk = chunk;
        Ok(())
    }

    /// A piece of a classic stream.
    fn play_piece(&mut self, handle: Handle, now_ns: u64) -> Result<(), &'static str> {
        let form = self.number();
        let mut by = None;
        if form < 3 {
            by = self.text().parse::<SocketAddr>().ok();
        }
        let mut bytes = Vec::new();
        if form == 1 || form == 3 {
            bytes.extend_from_slice(reading(self.ledger.tape()).bytes());
        }
        let piece = match (form, by) {
            (0, Some(by)) => Piece::Ack { by },
            (1, Some(by)) => Piece::Relay {
                by,
                message: &bytes,
            },
            (2, Some(by)) => Piece::RelayBegins { by },
            (3, _) => Piece::Text(&bytes),
            _ => return Err("a piece of an unknown kind"),
        };
        self.ledger.piece(handle, piece, now_ns);
        self.frames += 1;
        Ok(())
    }

    fn feed(&mut self, handle: Handle, chunk: &[u8], now_ns: u64) {
        if self.dialect == Dialect::Classic {
            // A relay that is known whole.
            let mut buffer = TextBuffer::new(payload::MAX_BYTES);
            let mut pieces = buffer.feed(chunk);
            while self.ledger.next_text(handle, &mut pieces, now_ns).is_some() {
                self.frames += 1;
            }
            return;
        }
        let mut lines = self.buffers[handle.index()].feed(chunk);
        while self.ledger.next(handle, &mut lines, now_ns).is_some() {
            self.frames += 1;
        }
    }
}
