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

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::mpsc::SyncSender;

use super::tag::Tag;
use chatbench_wire::seen::{AckOf, Glued, GluedFate, RawFrame, RawSent, Relay, Seen};

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
    /// The frame that is next for each session.
    next_frame: Vec<u32>,
    /// The number of the next frame that is kept.
    frames: u32,
    /// Frames under this one are not named any more.
    frames_from: u32,
    /// The ledger keeps the frame of this event.
    kept: bool,
    /// Batches handed over since the last block.
    batches: u32,
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
            next_frame: Vec::new(),
            frames: 0,
            frames_from: 0,
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
        let index = handle as usize;
        if index >= self.next_frame.len() {
            self.next_frame.resize(index + 1, 0);
        }
        &mut self.next_frame[index]
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
        *self.next_frame(handle) = self.frames;
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

    /// A session saw this, after which it is known whether its ledger keeps it; `again` is the
    /// number of the kept frame that it equals, which was not compared but decoded since it came in
    /// two reads.
    pub(crate) fn saw(&mut self, handle: u32, now_ns: u64, seen: &Seen<'_>, again: Option<u32>) {
        self.read.get_or_insert((handle, now_ns));
        self.begin_read();
        let kept = std::mem::take(&mut self.kept);
        if let Some(frame) = again {
            let ahead = self.ahead(handle, frame);
            self.event(Tag::SawAgain).number(ahead);
            *self.next_frame(handle) = frame.wrapping_add(1);
            return;
        }
        self.event(if kept { Tag::SawKept } else { Tag::Saw });
        self.seen(seen);
        if kept {
            self.frames = self.frames.wrapping_add(1);
            *self.next_frame(handle) = self.frames;
        }
    }

    fn seen(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Open { seq, me } => self.kind(0).number(*seq).bytes(me.as_bytes()),
            Seen::Relay(relay) => {
                self.kind(1).bytes(relay.frame);
                let tape = match relay.span() {
                    Some(span) => self.number(span.start as u64 + 1).number(span.len() as u64),
                    None => self.number(0).bytes(&relay.text),
                };
                tape.bytes(relay.from.as_bytes()).number(relay.seq)
            }
            Seen::Ack { of, seq } => {
                let tape = match of {
                    AckOf::Id(id) => self.kind(2).number(*id),
                    AckOf::NoId => self.kind(3),
                    AckOf::Oldest(by) => self.kind(4).bytes(by.to_string().as_bytes()),
                };
                tape.number(*seq)
            }
            Seen::Error {
                code,
                detail,
                of,
                cuts_off,
            } => {
                let tape = self.kind(5).bytes(code.as_bytes());
                let tape = tape.bytes(detail.as_bytes()).option(*of);
                tape.number(u64::from(*cuts_off))
            }
            Seen::Bye { seq } => self.kind(6).number(*seq),
            Seen::Unknown => self.kind(7),
            Seen::Malformed {
                what,
                frame,
                could_hide,
            } => {
                let tape = self.kind(8).bytes(what.as_bytes()).bytes(frame);
                tape.number(*could_hide)
            }
        };
    }

    /// The kind within an event, as one byte.
    fn kind(&mut self, kind: u8) -> &mut Self {
        self.out.push(kind);
        self
    }

    fn option(&mut self, n: Option<u64>) -> &mut Self {
        match n {
            Some(n) => self.kind(1).number(n),
            None => self.kind(0),
        }
    }

    /// The fate of a publish that ran together with bytes sent before.
    pub(crate) fn glued(&mut self, glued: Glued) {
        let fate = match glued.fate {
            GluedFate::Survives => 0,
            GluedFate::Refused => 1,
            GluedFate::Swallowed => 2,
        };
        self.kind(fate).kind(glued.unfinished.into());
    }

    /// Bytes that a script sent as they stand.
    pub(crate) fn raw(&mut self, sent: &RawSent) {
        self.kind(sent.is_right.into());
        self.kind(sent.unfinished.into());
        self.number(sent.frames.len() as u64);
        for frame in &sent.frames {
            match frame {
                RawFrame::Publish(text) => {
                    self.kind(0).bytes(text.as_bytes());
                }
                RawFrame::Refused(texts) => {
                    self.kind(1).number(texts.len() as u64);
                    for text in texts {
                        self.bytes(text.as_bytes());
                    }
                }
            }
        }
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
        if from != self.frames_from {
            let step = from.wrapping_sub(self.frames_from);
            self.event(Tag::FramesFrom).number(u64::from(step));
            self.frames_from = from;
        }
        self.batches += 1;
        if self.batches >= BATCHES_PER_BLOCK {
            self.hand_over();
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

    fn kind(&mut self) -> u8 {
        let kind = self.block.get(self.at).copied();
        self.at += 1;
        self.broken |= kind.is_none();
        kind.unwrap_or_default()
    }

    fn flag(&mut self) -> bool {
        let kind = self.kind();
        self.broken |= kind > 1;
        kind == 1
    }

    fn address(&mut self) -> SocketAddr {
        let address = self.text().parse().ok();
        self.broken |= address.is_none();
        address.unwrap_or(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }

    /// Something that a session saw.
    pub(crate) fn seen(&mut self) -> OwnedSeen {
        let kind = self.kind();
        let seen = match kind {
            0 => {
                let seq = self.number();
                let me = self.text().into();
                Seen::Open { seq, me }
            }
            1 => {
                let frame = self.bytes().to_vec();
                let text = match self.number().checked_sub(1) {
                    Some(start) => {
                        let end = start.saturating_add(self.number());
                        let span = start as usize..usize::try_from(end).unwrap_or(usize::MAX);
                        self.broken |= frame.get(span.clone()).is_none();
                        Text::At(span)
                    }
                    None => Text::Other(self.bytes().to_vec()),
                };
                let from = self.text();
                let seq = self.number();
                return OwnedSeen::Relay(OwnedRelay {
                    frame,
                    text,
                    from,
                    seq,
                });
            }
            2..=4 => {
                let of = match kind {
                    2 => AckOf::Id(self.number()),
                    3 => AckOf::NoId,
                    _ => AckOf::Oldest(self.address()),
                };
                let seq = self.number();
                Seen::Ack { of, seq }
            }
            5 => Seen::Error {
                code: self.text().into(),
                detail: self.text().into(),
                of: self.flag().then(|| self.number()),
                cuts_off: self.number() != 0,
            },
            6 => Seen::Bye { seq: self.number() },
            7 => Seen::Unknown,
            8 => {
                let what = self.text();
                let frame = self.bytes().to_vec();
                let could_hide = self.number();
                return OwnedSeen::Malformed {
                    what,
                    frame,
                    could_hide,
                };
            }
            _ => {
                self.broken = true;
                Seen::Unknown
            }
        };
        OwnedSeen::Other(seen)
    }

    pub(crate) fn glued(&mut self) -> Glued {
        let fate = match self.kind() {
            0 => GluedFate::Survives,
            1 => GluedFate::Refused,
            kind => {
                self.broken |= kind > 2;
                GluedFate::Swallowed
            }
        };
        let unfinished = self.flag();
        Glued { fate, unfinished }
    }

    pub(crate) fn raw(&mut self) -> RawSent {
        let mut sent = RawSent {
            is_right: self.flag(),
            unfinished: self.flag(),
            frames: Vec::new(),
        };
        for _ in 0..self.number() {
            let frame = match self.flag() {
                false => RawFrame::Publish(self.text()),
                true => {
                    let mut texts = Vec::new();
                    for _ in 0..self.number() {
                        texts.push(self.text());
                        if self.broken {
                            break;
                        }
                    }
                    RawFrame::Refused(texts)
                }
            };
            sent.frames.push(frame);
            if self.broken {
                break;
            }
        }
        sent
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

/// A [`Seen`] with bytes of its own.
#[derive(Debug)]
pub(crate) enum OwnedSeen {
    Relay(OwnedRelay),
    Malformed {
        what: String,
        frame: Vec<u8>,
        could_hide: u64,
    },
    /// Of the kinds that have no bytes of a frame.
    Other(Seen<'static>),
}

impl OwnedSeen {
    pub(crate) fn get(&self) -> Seen<'_> {
        match self {
            Self::Relay(relay) => Seen::Relay(relay.get()),
            Self::Malformed {
                what,
                frame,
                could_hide,
            } => Seen::Malformed {
                what: what.into(),
                frame,
                could_hide: *could_hide,
            },
            Self::Other(seen) => seen.clone(),
        }
    }
}

/// A [`Relay`] with bytes of its own.
#[derive(Debug)]
pub(crate) struct OwnedRelay {
    frame: Vec<u8>,
    text: Text,
    from: String,
    seq: u64,
}

#[derive(Debug)]
enum Text {
    /// There in the frame.
    At(Range<usize>),
    Other(Vec<u8>),
}

impl OwnedRelay {
    pub(crate) fn get(&self) -> Relay<'_> {
        let text = match &self.text {
            Text::At(span) => self.frame.get(span.clone()).unwrap_or_default(),
            Text::Other(text) => text,
        };
        Relay {
            frame: &self.frame,
            text: text.into(),
            from: (&self.from).into(),
            seq: self.seq,
        }
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        let other = match &self.text {
            Text::At(_) => 0,
            Text::Other(text) => text.len(),
        };
        self.frame.len() + other + self.from.len()
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
