//! A recorded trace told again: to ledgers, a directory and a judge like those of the run, in the
//! order in which it happened.
//!
//! Each stream states the place of its events among those of all streams; the event that is next of
//! all is told next. So at every event the directory has the same contents as it had then, as far
//! as these ledgers tell it the same: ledgers that decide otherwise get the answers that they would
//! have got in the run.

use std::collections::{HashMap, VecDeque};
use std::io::BufRead;
use std::sync::Arc;

use super::file::{Blocks, MAX_SHARDS};
use super::named::NamedFrames;
use super::tag::Tag;
use super::tape::{JUDGE, OwnedSeen, Reading};
use super::told::{Listener, MAX_FRAMES, Told};
use super::{Header, TraceError, Verified, version_1};
use crate::batch::Batch;
use crate::directory::{ClientId, Directory};
use crate::findings::Findings;
use crate::judge::Judge;
use chatbench_wire::payload::SenderId;
use chatbench_wire::rooms::{RoomId, RoomNames};
use chatbench_wire::seen::Seen;

/// Batches of one shard that may wait for the judge: a run does not let so many gather.
const MAX_BATCHES: usize = 1 << 12;

/// Verifies a recorded trace.
///
/// A trace that ends before its trailer (its run was killed) keeps what was certain by then, and
/// cannot pass.
///
/// # Errors
/// [`TraceError`] if it is no trace, damaged, or tells what cannot be.
pub fn verify(source: impl BufRead) -> Result<Verified, TraceError> {
    let (blocks, header) = Blocks::open(source)?;
    let Some((header, spoken)) = header else {
        return Ok(Verified {
            title: "a trace without a beginning".to_owned(),
            findings: Default::default(),
            doubts: vec![ended_early()],
        });
    };
    if header.shards > MAX_SHARDS {
        return Err(TraceError::OutOfOrder {
            at: 0,
            within: 0,
            what: "a header with more shards than there can be".to_owned(),
        });
    }
    let title = format!("{} → {}", header.scenario, header.target);
    let (findings, doubts) = match spoken {
        Some(spoken) => version_1::play(blocks, &header, spoken)?,
        None => Replay::new(blocks, &header).play()?,
    };
    Ok(Verified {
        title,
        findings,
        doubts,
    })
}

pub(super) fn ended_early() -> String {
    "the trace ends before its run did: it was killed, or its disk was full".to_owned()
}

/// A judge of what `header` says.
pub(super) fn judge(header: &Header, directory: Arc<Directory>) -> Judge {
    let judge = Judge::new(directory, header.shards.into(), header.terms.late_after_ns);
    judge.with_relays(header.terms.promises.relay)
}

/// One stream of a trace, and its position in the file.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u16,
    pub(super) from: Reading,
    at: u64,
}

impl Stream {
    pub(super) fn new(number: u16) -> Self {
        Self {
            number,
            from: Reading::default(),
            at: 0,
        }
    }

    /// The next event; `None` at the end of the trace.
    pub(super) fn next<R: BufRead>(
        &mut self,
        blocks: &mut Blocks<R>,
    ) -> Result<Option<Tag>, TraceError> {
        while self.from.is_used_up() {
            let Some((at, block)) = blocks.next(self.number)? else {
                return Ok(None);
            };
            self.at = at;
            self.from.load(block);
        }
        match self.from.tag() {
            Some(tag) => Ok(Some(tag)),
            None => Err(self.wrong("an event of an unknown kind")),
        }
    }

    pub(super) fn wrong(&self, what: &str) -> TraceError {
        TraceError::OutOfOrder {
            at: self.at,
            within: self.from.position(),
            what: what.to_owned(),
        }
    }

    /// An error if a field was not there.
    pub(super) fn check(&self) -> Result<(), TraceError> {
        match self.from.is_broken() {
            true => Err(self.wrong("a field that is not there, or cannot be")),
            false => Ok(()),
        }
    }
}

/// The place of an event among all: the number of counted events up to it, and whether it comes
/// after the last of these; else it is that one.
type Moment = (u64, bool);

/// After everything.
const NEVER: Moment = (u64::MAX, true);

/// A stream, and the event of it that is next.
#[derive(Debug)]
struct Queue {
    stream: Stream,
    /// The number of its latest event that was counted, or of one that had happened by then.
    counted: u64,
    next: Option<Tag>,
    /// The room that it is in.
    room: RoomId,
    moment: Moment,
    ended: bool,
}

impl Queue {
    fn new(number: u16) -> Self {
        Self {
            stream: Stream::new(number),
            counted: 0,
            next: None,
            room: RoomId::UNNAMED,
            moment: (0, false),
            ended: false,
        }
    }

    /// Finds out which event is next, and its moment. `false` at the end of a trace that ends
    /// early.
    fn advance<R: BufRead>(&mut self, blocks: &mut Blocks<R>) -> Result<bool, TraceError> {
        self.next = None;
        while !self.ended {
            let Some(tag) = self.stream.next(blocks)? else {
                return match blocks.trailer {
                    Some(_) => Err(self.stream.wrong("the trace ends and this stream has not")),
                    None => Ok(false),
                };
            };
            match tag {
                Tag::Room => {
                    let room = u32::try_from(self.stream.from.number());
                    self.room = RoomId(room.map_err(|_| self.stream.wrong("no room"))?);
                    self.stream.check()?;
                    continue;
                }
                Tag::Since | Tag::Told => {
                    let events = self.stream.from.number();
                    let counted = self.counted.checked_add(events);
                    let counted = counted.filter(|&counted| counted < u64::MAX - 1);
                    self.counted = counted.ok_or_else(|| self.stream.wrong("too many events"))?;
                    self.stream.check()?;
                    if tag == Tag::Since {
                        continue;
                    }
                    self.moment = (self.counted, false);
                }
                Tag::End => {
                    self.ended = true;
                    break;
                }
                _ if tag.is_counted() => {
                    self.counted += 1;
                    self.moment = (self.counted, false);
                }
                _ => self.moment = (self.counted, true),
            }
            self.next = Some(tag);
            return Ok(true);
        }
        self.moment = NEVER;
        Ok(true)
    }
}

/// A replay of all streams.
#[derive(Debug)]
struct Replay<R> {
    blocks: Blocks<R>,
    shards: Vec<Shard>,
    judge: Judge,
    orders: Queue,
}

impl<R: BufRead> Replay<R> {
    fn new(blocks: Blocks<R>, header: &Header) -> Self {
        let rooms = RoomNames::new(header.rooms.iter().map(String::as_str));
        let directory = Directory::new(header.clients.clone()).with_rooms(Arc::new(rooms));
        let directory = Arc::new(directory);
        let shards = 0..header.shards;
        Self {
            blocks,
            shards: shards.map(|n| Shard::new(n, header, &directory)).collect(),
            judge: judge(header, directory),
            orders: Queue::new(JUDGE),
        }
    }

    /// Tells everything. Returns what is found, and why it cannot pass.
    fn play(mut self) -> Result<(Findings, Vec<String>), TraceError> {
        let mut whole = self.orders.advance(&mut self.blocks)?;
        for shard in &mut self.shards {
            whole = whole && shard.queue.advance(&mut self.blocks)?;
        }
        while whole {
            // Shards before the judge: it is told of batches that were handed over by then.
            let moments = self.shards.iter().map(|shard| shard.queue.moment);
            let first = moments.enumerate().min_by_key(|&(_, moment)| moment);
            let first =
                first.filter(|&(_, moment)| moment != NEVER && moment <= self.orders.moment);
            if let Some((index, _)) = first {
                whole = self.play_shard(index)?;
            } else if self.orders.next == Some(Tag::Finish) {
                return self.finish();
            } else {
                whole = self.play_judge()?;
            }
        }
        Ok((self.judge.summed_up(), vec![ended_early()]))
    }

    /// Plays a shard up to where another one, or the judge, is next.
    fn play_shard(&mut self, index: usize) -> Result<bool, TraceError> {
        let others = self.shards.iter().enumerate();
        let others = others.filter(|(other, _)| *other != index);
        let until = others.map(|(_, shard)| shard.queue.moment).min();
        let until = until.unwrap_or(NEVER).min(self.orders.moment);
        let shard = &mut self.shards[index];
        while let Some(tag) = shard.queue.next.filter(|_| shard.queue.moment <= until) {
            shard.play(tag)?;
            if !shard.queue.advance(&mut self.blocks)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn play_judge(&mut self) -> Result<bool, TraceError> {
        let stream = &mut self.orders.stream;
        let tag = self.orders.next;
        match tag {
            Some(Tag::Absorb | Tag::PassOver) => {}
            Some(_) => return Err(stream.wrong("an event that is no judge's")),
            None => return Err(stream.wrong("the judge's stream ends without its last word")),
        }
        let index = stream.from.number() as usize;
        stream.check()?;
        let Some(shard) = self.shards.get_mut(index) else {
            return Err(stream.wrong("a batch of a shard that is not there"));
        };
        let Some(batch) = shard.batches.pop_front() else {
            return Err(stream.wrong("a batch that its shard never gave"));
        };
        match tag {
            Some(Tag::PassOver) => self.judge.pass_over(index, batch, |_| ()),
            _ => self.judge.absorb(index, batch, |_| ()),
        }
        self.orders.advance(&mut self.blocks)
    }

    /// Tells the judge to finish: nothing may be left but the trailer with its doubts.
    fn finish(mut self) -> Result<(Findings, Vec<String>), TraceError> {
        let too_much = "observations after the judge's last word";
        let target_gone = self.orders.stream.from.number() != 0;
        self.orders.stream.check()?;
        self.judge.conclude(target_gone, |_| ());
        if !self.orders.advance(&mut self.blocks)? {
            return Ok((self.judge.summed_up(), vec![ended_early()]));
        }
        let shards = self.shards.iter_mut().map(|shard| &mut shard.queue);
        for queue in shards.chain([&mut self.orders]) {
            let over = queue.ended && queue.stream.from.is_used_up();
            if !over || self.blocks.next(queue.stream.number)?.is_some() {
                return Err(queue.stream.wrong(too_much));
            }
        }
        let doubts = match self.blocks.trailer.take() {
            Some(trailer) => trailer.doubts,
            None => vec![ended_early()],
        };
        Ok((self.judge.summed_up(), doubts))
    }
}

/// One shard.
#[derive(Debug)]
struct Shard {
    queue: Queue,
    listener: Listener,
    frames: NamedFrames,
    /// Those of rooms that have names.
    frames_in: HashMap<RoomId, NamedFrames>,
    /// Handed over, and not absorbed yet.
    batches: VecDeque<Batch>,
    /// Sessions of the run before the next one.
    sessions: u64,
}

impl Shard {
    fn new(number: u16, header: &Header, directory: &Arc<Directory>) -> Self {
        let mut listener = Listener::new(header, directory);
        listener.ledger.tape().replay();
        Self {
            queue: Queue::new(number),
            listener,
            frames: NamedFrames::default(),
            frames_in: HashMap::new(),
            batches: VecDeque::new(),
            sessions: 0,
        }
    }

    /// Tells the ledger of one event.
    fn play(&mut self, tag: Tag) -> Result<(), TraceError> {
        let played = self.tell(tag);
        let stream = &self.queue.stream;
        stream.check()?;
        played.map_err(|what| stream.wrong(what))?;
        // Where it matters from when on the others know it, the next event states that.
        let waits = matches!(
            self.queue.stream.from.peek(),
            Some(Tag::Told | Tag::FramesFrom)
        );
        if !waits {
            self.make_known();
        }
        Ok(())
    }

    /// Makes known to all what was seen in the event before.
    fn make_known(&mut self) {
        let ledger = &mut self.listener.ledger;
        ledger.tape().make_known();
        ledger.make_known_in(self.queue.room);
    }

    /// The frames of a room.
    fn frames(&mut self, room: RoomId) -> &mut NamedFrames {
        self.listener_and_frames(room).1
    }

    fn tell(&mut self, tag: Tag) -> Result<(), &'static str> {
        let room = self.queue.room;
        let from = &mut self.queue.stream.from;
        let listener = &mut self.listener;
        match tag {
            Tag::Told => self.make_known(),
            Tag::Connecting => {
                let client = from.number();
                let step = from.number();
                let opened = (step > 0).then(|| self.sessions.saturating_add(step));
                let session = opened.and_then(|next| u32::try_from(next - 1).ok());
                if session.is_some() != opened.is_some() {
                    return Err("a session number that is too high");
                }
                self.sessions = opened.unwrap_or(self.sessions);
                let client = u32::try_from(client).map_err(|_| "a client that cannot be")?;
                listener.ledger.tape().opens(session.map(SenderId));
                match listener.connecting(ClientId(client)) {
                    Some(handle) => self.frames.begin(handle.index()),
                    None if session.is_none() => {}
                    None => return Err("a session number that was given out before, or too high"),
                }
            }
            Tag::Joining => {
                let handle = listener.handle(from.number())?;
                let session = from.number().checked_sub(1);
                let session = session.map(u32::try_from).transpose();
                let session = session.map_err(|_| "a session number that is too high")?;
                let ledger = &mut self.listener.ledger;
                let joins = ledger.joining_as(handle, room, session.map(SenderId));
                match session {
                    Some(_) if !joins => {
                        return Err("a session number that was given out before, or too high");
                    }
                    Some(_) => self.frames(room).begin(handle.index()),
                    None => {}
                }
            }
            Tag::TakeBatch | Tag::TakeRest => {
                if self.batches.len() == MAX_BATCHES {
                    return Err("more batches than wait for a judge");
                }
                self.batches.push_back(match tag {
                    Tag::TakeRest => listener.ledger.take_rest().0,
                    _ => listener.ledger.take_batch(),
                });
            }
            Tag::StopJudging => listener.ledger.stop_judging(),
            Tag::Read => {
                let handle = listener.handle(from.number())?;
                listener.begin_read(handle, from.time());
            }
            Tag::MatchedRead => {
                let handle = listener.handle(from.number())?;
                listener.begin_read(handle, from.time());
                self.matched(room, 0)?;
                self.listener.end_read(false);
            }
            Tag::Matched => self.matched(room, 0)?,
            Tag::MatchedFrom => {
                let ahead = from.signed();
                self.matched(room, ahead)?;
            }
            Tag::Saw => listener.saw_in(room, &from.seen().get())?,
            Tag::SawKept => {
                let (handle, _) = listener.reading()?;
                let OwnedSeen::Relay(relay) = from.seen() else {
                    return Err("a frame to be kept that is no relay");
                };
                let (listener, frames) = self.listener_and_frames(room);
                frames.push(relay)?;
                frames.got_newest(handle.index());
                if let Some(relay) = frames.newest() {
                    listener.saw_in(room, &Seen::Relay(relay))?;
                }
            }
            Tag::SawAgain => {
                let (handle, _) = listener.reading()?;
                let ahead = from.signed();
                let (listener, frames) = self.listener_and_frames(room);
                let frame = frames.ahead(handle.index(), ahead);
                listener.got(room, frames.get(frame)?)?;
                frames.got(handle.index(), frame);
            }
            Tag::FramesFrom => {
                let frames = from.number();
                self.frames(room).drop_first(frames);
            }
            Tag::ReadDone => {
                listener.reading()?;
                let split = from.number() != 0;
                listener.end_read(split);
            }
            _ => {
                let handle = listener.handle(from.number())?;
                listener.tell(handle, &Told::read(tag, room, from)?)?;
            }
        }
        Ok(())
    }

    /// The session got so many frames, the first of which is `ahead` frames after its next one.
    fn matched(&mut self, room: RoomId, ahead: i64) -> Result<(), &'static str> {
        let (handle, _) = self.listener.reading()?;
        let frames = self.queue.stream.from.number();
        if frames > MAX_FRAMES {
            return Err("more frames than a read has");
        }
        let (listener, named) = self.listener_and_frames(room);
        let mut frame = named.ahead(handle.index(), ahead);
        for _ in 0..frames {
            listener.got(room, named.get(frame)?)?;
            named.got(handle.index(), frame);
            frame = frame.wrapping_add(1);
        }
        Ok(())
    }

    fn listener_and_frames(&mut self, room: RoomId) -> (&mut Listener, &mut NamedFrames) {
        let frames = match room {
            RoomId::UNNAMED => &mut self.frames,
            room => self
                .frames_in
                .entry(room)
                .or_insert_with(NamedFrames::of_few),
        };
        (&mut self.listener, frames)
    }
}
