//! Tapes: what a ledger or the judge is told, recorded as it is told, and told again later.
//!
//! A tape is the ordered bytes of one *stream*: a shard's ledger, or the judge. An event is a tag
//! and its fields. The events of all streams are counted while a run is recorded, so that their
//! order is known: all that threads share is the [`Directory`](super::super::directory), and where
//! its users come in the same order it gives the same answers. Its answers are not on the tape, nor
//! are the conclusions of a ledger: another ledger can play it.
//!
//! Everybody is sent the same message. Frames that a shard keeps are numbered, and a session that
//! gets one of them mostly gets the next one after it: a delivery in that order adds one to a
//! counter here, and a whole read of them a few bytes. Nothing is locked or allocated per delivery;
//! a full block goes to the writer's thread.

mod observations;

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use super::tag::Tag;
use chatbench_wire::rooms::RoomId;
pub(crate) use observations::{OwnedRelay, OwnedSeen};

/// A block is handed to the writer once it holds this much. Twice deflate's window: larger blocks
/// compress no better.
const SHARD_BLOCK_BYTES: usize = 64 << 10;

/// The judge's blocks are small: a replay keeps the shards' blocks until it knows in which order
/// their batches were absorbed, and a run that is killed leaves what its judge had written: a
/// second or two less than everything.
const JUDGE_BLOCK_BYTES: usize = 64;

/// Batches that a shard hands over before it also hands over its block, full or not.
const BATCHES_PER_BLOCK: u32 = 16;

/// The stream of the judge; shards are numbered from 0.
pub(crate) const JUDGE: u16 = u16::MAX;

/// A part of a stream, on its way to the file. Ends with a whole event.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) stream: u16,
    pub(crate) bytes: Vec<u8>,
}

/// The recording end of one stream. Its last bytes go to the writer when it is dropped.
#[derive(Debug)]
pub struct Writing {
    stream: u16,
    full_bytes: usize,
    sink: SyncSender<Block>,
    out: Vec<u8>,
    last_ns: u64,
    last_session: u64,
    /// The number of the latest event of this stream that was counted, or of one of another stream
    /// that is known to have happened.
    moment: u64,
    /// The read that is being gone through (its session and its time), and whether it is written.
    read: Option<(u32, u64)>,
    read_written: bool,
    /// Frames of it that matched since the last event was written, from this one on.
    run: u32,
    run_from: u32,
    /// The room of the events that are written.
    room: RoomId,
    /// The frames of the unnamed room, and of each that has a name.
    frames: Frames,
    named: HashMap<RoomId, Frames>,
    /// The ledger keeps the frame of this event.
    kept: bool,
    /// Batches handed over since the last block.
    batches: u32,
}

/// The numbers of a room's frames.
#[derive(Debug, Default)]
struct Frames {
    /// The frame that is next for each session.
    next: Vec<u32>,
    /// Likewise in a named room, where few have sessions.
    next_of: HashMap<u32, u32>,
    /// The number of the next frame that is kept.
    kept: u32,
    /// Frames under this one are not named any more.
    from: u32,
}

impl Writing {
    pub(crate) fn new(stream: u16, sink: SyncSender<Block>) -> Self {
        let full_bytes = if stream == JUDGE {
            JUDGE_BLOCK_BYTES
        } else {
            SHARD_BLOCK_BYTES
        };
        Self {
            stream,
            full_bytes,
            sink,
            out: Vec::with_capacity(full_bytes * 2),
            last_ns: 0,
            last_session: 0,
            moment: 0,
            read: None,
            read_written: false,
            run: 0,
            run_from: 0,
            room: RoomId::UNNAMED,
            frames: Frames::default(),
            named: HashMap::new(),
            kept: false,
            batches: 0,
        }
    }

    /// Begins an event; its fields follow.
    pub(crate) fn event(&mut self, tag: Tag) -> &mut Self {
        self.settle();
        if self.out.len() >= self.full_bytes && !self.read_written {
            self.hand_over();
        }
        self.out.push(tag as u8);
        self
    }

    /// What follows is in `room`.
    #[inline]
    pub(crate) fn in_room(&mut self, room: RoomId) {
        if room != self.room {
            self.event(Tag::Room).number(u64::from(room.0));
            self.room = room;
        }
    }

    /// The frames of the room that is written of.
    fn frames(&mut self) -> &mut Frames {
        match self.room {
            RoomId::UNNAMED => &mut self.frames,
            room => self.named.entry(room).or_default(),
        }
    }

    /// Writes the frames that matched so far.
    fn settle(&mut self) {
        if self.run == 0 {
            return;
        }
        self.begin_read();
        let Some((handle, _)) = self.read else {
            return;
        };
        let (run, from) = (std::mem::take(&mut self.run), self.run_from);
        self.matched_from(handle, from, run);
    }

    fn matched_from(&mut self, handle: u32, from: u32, run: u32) {
        let ahead = self.ahead(handle, from);
        if ahead == 0 {
            self.out.push(Tag::Matched as u8);
        } else {
            self.out.push(Tag::MatchedFrom as u8);
            self.number(ahead);
        }
        self.number(u64::from(run));
        *self.next_frame(handle) = from.wrapping_add(run);
    }

    /// The distance of `frame` from the one that is next for a session, either way.
    fn ahead(&mut self, handle: u32, frame: u32) -> u64 {
        let ahead = frame.wrapping_sub(*self.next_frame(handle)).cast_signed();
        zigzag(i64::from(ahead).cast_unsigned())
    }

    fn next_frame(&mut self, handle: u32) -> &mut u32 {
        if self.room.is_named() {
            return self.frames().next_of.entry(handle).or_default();
        }
        let index = handle as usize;
        let next = &mut self.frames.next;
        if index >= next.len() {
            next.resize(index + 1, 0);
        }
        &mut next[index]
    }

    /// The event that begins now has this number.
    pub(crate) fn counted(&mut self, moment: u64) {
        self.since(moment.wrapping_sub(1));
        self.moment = moment;
    }

    /// Events up to `moment` have happened.
    fn since(&mut self, moment: u64) {
        self.settle();
        if moment > self.moment {
            self.out.push(Tag::Since as u8);
            self.number(moment - self.moment);
            self.moment = moment;
        }
    }

    /// From `moment` on, all know what the event before told.
    pub(crate) fn told(&mut self, moment: u64) {
        self.settle();
        self.out.push(Tag::Told as u8);
        self.number(moment.saturating_sub(self.moment));
        self.moment = moment.max(self.moment);
    }

    /// An event that has nothing but its session.
    pub(crate) fn of_session(&mut self, tag: Tag, handle: u32) -> &mut Self {
        self.event(tag).number(u64::from(handle))
    }

    pub(crate) fn number(&mut self, n: u64) -> &mut Self {
        push_number(&mut self.out, n);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        push_number(&mut self.out, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self
    }

    /// A time, as its difference from the latest one.
    pub(crate) fn time(&mut self, now_ns: u64) -> &mut Self {
        let step = zigzag(now_ns.wrapping_sub(self.last_ns));
        self.last_ns = now_ns;
        self.number(step)
    }

    /// The number of a session that is opened, in the slot `handle`; `None` where all are used up.
    pub(crate) fn session(&mut self, opened: Option<(u32, u32)>) {
        let Some((session, handle)) = opened else {
            self.number(0);
            return;
        };
        let next = u64::from(session) + 1;
        self.number(next.wrapping_sub(self.last_session));
        self.last_session = next;
        *self.next_frame(handle) = self.frames().kept;
    }

    /// The number of the session that is opened in a named room, by a connection; `None` if none is.
    pub(crate) fn membership(&mut self, opened: Option<u32>, handle: u32) {
        self.number(opened.map_or(0, |session| u64::from(session) + 1));
        if opened.is_some() {
            *self.next_frame(handle) = self.frames().kept;
        }
    }

    /// One more frame of the read matched; `moment` is asked how many events have happened.
    #[inline]
    pub(crate) fn matched(
        &mut self,
        handle: u32,
        now_ns: u64,
        frame: u32,
        moment: impl FnOnce() -> u64,
    ) {
        if self.read.is_none() {
            self.since(moment());
            self.read = Some((handle, now_ns));
        }
        if self.run > 0 && frame != self.run_from.wrapping_add(self.run) {
            self.settle();
        }
        if self.run == 0 {
            self.run_from = frame;
        }
        self.run += 1;
    }

    /// The ledger keeps the frame that it is told of: it gets the next number.
    pub(crate) fn keeps(&mut self) {
        self.kept = true;
    }

    pub(crate) fn read_done(&mut self, split: bool) {
        let Some((handle, now_ns)) = self.read else {
            return;
        };
        if self.read_written || split || self.ahead(handle, self.run_from) != 0 {
            self.begin_read();
            self.event(Tag::ReadDone).number(u64::from(split));
        } else {
            let run = std::mem::take(&mut self.run);
            let event = self.of_session(Tag::MatchedRead, handle);
            event.time(now_ns).number(u64::from(run));
            *self.next_frame(handle) = self.run_from.wrapping_add(run);
        }
        self.read = None;
        self.read_written = false;
    }

    fn begin_read(&mut self) {
        if let Some((handle, now_ns)) = self.read.filter(|_| !self.read_written) {
            // The frames that matched come after the beginning of their read.
            let run = std::mem::take(&mut self.run);
            self.of_session(Tag::Read, handle).time(now_ns);
            self.read_written = true;
            self.run = run;
        }
    }

    /// A batch is handed over, and frames under the number `from` are not named any more. Hands the
    /// block over from time to time even if a shard is quiet: a replay can go no further than the
    /// stream that it knows least of.
    pub(crate) fn takes_batch(&mut self, from: u32) {
        self.frames_from(from);
        self.batches += 1;
        if self.batches >= BATCHES_PER_BLOCK {
            self.hand_over();
        }
    }

    /// Frames of the room under the number `from` are not named any more.
    pub(crate) fn frames_from(&mut self, from: u32) {
        let frames = self.frames();
        let step = from.wrapping_sub(frames.from);
        frames.from = from;
        if step > 0 {
            self.event(Tag::FramesFrom).number(u64::from(step));
        }
    }

    fn hand_over(&mut self) {
        self.batches = 0;
        let next = Vec::with_capacity(self.full_bytes * 2);
        let block = Block {
            stream: self.stream,
            bytes: std::mem::replace(&mut self.out, next),
        };
        // A writer that lags is waited for: a hole in a trace would make it worthless. One that has
        // failed reports that at the end.
        let _ = self.sink.send(block);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.event(Tag::End);
        self.hand_over();
    }
}

/// The playing end of one stream: one block after another.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    block: Vec<u8>,
    at: usize,
    last_ns: u64,
    /// A field was missing, or has an impossible value.
    broken: bool,
}

impl Reading {
    /// Goes on with the next block of the stream.
    pub(crate) fn load(&mut self, block: Vec<u8>) {
        self.block = block;
        self.at = 0;
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.at == self.block.len()
    }

    /// Bytes into the block.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn breaks(&mut self) {
        self.broken = true;
    }

    /// The tag that comes next, within this block.
    pub(crate) fn peek(&self) -> Option<Tag> {
        let byte = *self.block.get(self.at)?;
        Tag::ALL.into_iter().find(|t| *t as u8 == byte)
    }

    pub(crate) fn tag(&mut self) -> Option<Tag> {
        let tag = self.peek();
        self.at += 1;
        tag
    }

    pub(crate) fn number(&mut self) -> u64 {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.block.get(self.at) else {
                break;
            };
            self.at += 1;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return n;
            }
        }
        self.broken = true;
        0
    }

    pub(crate) fn bytes(&mut self) -> &[u8] {
        let len = usize::try_from(self.number()).unwrap_or(usize::MAX);
        let left = self.block.len().saturating_sub(self.at);
        if len > left {
            self.broken = true;
            return &[];
        }
        self.at += len;
        &self.block[self.at - len..self.at]
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// A signed number.
    pub(crate) fn signed(&mut self) -> i64 {
        unzigzag(self.number()).cast_signed()
    }

    pub(crate) fn time(&mut self) -> u64 {
        self.last_ns = self.last_ns.wrapping_add(unzigzag(self.number()));
        self.last_ns
    }

    /// Looks ahead: `look` reads, and then the position is as it was.
    pub(crate) fn ahead<T>(&mut self, look: impl FnOnce(&mut Self) -> T) -> T {
        let (at, last_ns, broken) = (self.at, self.last_ns, self.broken);
        let seen = look(self);
        (self.at, self.last_ns, self.broken) = (at, last_ns, broken);
        seen
    }

    /// The latest time of the stream.
    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// Little-endian base 128: seven bits per byte, the top bit says that more follow.
fn push_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Maps small differences either way to small numbers.
const fn zigzag(n: u64) -> u64 {
    let n = n as i64;
    ((n << 1) ^ (n >> 63)) as u64
}

pub(crate) const fn unzigzag(n: u64) -> u64 {
    (n >> 1) ^ (n & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_times_come_back(numbers in prop::collection::vec(any::<u64>(), 1..40)) {
            let (sink, blocks) = mpsc::sync_channel(100);
            let mut writing = Writing::new(0, sink);
            for &n in &numbers {
                writing.event(Tag::TakeBatch).number(n).time(n).bytes(&n.to_le_bytes());
            }
            drop(writing);
            let mut reading = Reading::default();
            reading.load(blocks.recv().unwrap().bytes);
            for n in numbers {
                prop_assert_eq!(reading.tag(), Some(Tag::TakeBatch));
                prop_assert_eq!(reading.number(), n);
                prop_assert_eq!(reading.time(), n);
                prop_assert_eq!(reading.bytes(), n.to_le_bytes());
            }
            prop_assert_eq!(reading.tag(), Some(Tag::End));
            prop_assert!(reading.is_used_up() && !reading.is_broken());
        }

        #[test]
        fn rubbish_never_panics(block: Vec<u8>) {
            let mut reading = Reading::default();
            reading.load(block);
            while !reading.is_used_up() && !reading.is_broken() {
                reading.tag();
                reading.number();
                reading.bytes();
            }
        }
    }

    /// Frames in their order cost nothing beyond their read, whichever session gets them; another
    /// order costs something once.
    #[test]
    fn a_delivery_in_a_read_of_its_own_is_a_few_bytes() {
        for (from, most) in [(0, 7), (50, 8)] {
            let (sink, blocks) = mpsc::sync_channel(100);
            let mut writing = Writing::new(0, sink);
            let reads = 3000;
            for read in 0..reads {
                let frame = from + read / 300;
                writing.matched(read % 300, u64::from(read) * 20_000, frame, || 7);
                writing.read_done(false);
            }
            drop(writing);
            let bytes: usize = blocks.iter().map(|b| b.bytes.len()).sum();
            assert!(bytes <= most * reads as usize, "{bytes} bytes");
        }
    }
}
