//! What a ledger or the judge was told, written down as it is told, and told again later.
//!
//! A tape is the ordered bytes of one *stream*: a shard's ledger, or the judge. An event is a tag
//! and its fields; right behind it stand the answers that the [`Directory`](super::super::directory)
//! gave while the event was worked on. The directory is the one thing that threads share, so with
//! its answers on the tape each stream can be played again on its own, whatever the interleaving
//! was, and must come to the same.
//!
//! A delivery that goes by the book adds one to a counter here, and a whole read of them a few
//! bytes: they are the line that the reference holds for the number due, so their number is
//! enough. Nothing is locked or allocated for a delivery; a full block goes to the writer's thread.

use std::sync::mpsc::SyncSender;

use crate::verify::ids::MAX_SESSIONS;
use crate::wire::classic::texts::Piece;

/// A block is handed to the writer once it holds this much. Twice deflate's window: larger blocks
/// compress no better.
const SHARD_BLOCK_BYTES: usize = 64 << 10;

/// The judge's blocks are small: a replay keeps the shards' blocks until it knows in which order
/// their batches were absorbed, and a run that is killed leaves what its judge had written: a second
/// or two less than everything.
const JUDGE_BLOCK_BYTES: usize = 64;

/// The stream of the judge; shards are numbered from 0.
pub(crate) const JUDGE: u16 = u16::MAX;

/// What an event is. The values are the format's: none is ever given a second meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Connecting = 1,
    Connected = 2,
    Sending = 3,
    SentPublish = 4,
    SendingRaw = 5,
    StopsReading = 6,
    /// It left, at a time that is not known; older versions wrote that.
    Leaving = 7,
    LettingGo = 8,
    /// A read begins.
    Read = 9,
    /// The next n lines are those that the reference holds for the numbers due.
    Matched = 10,
    /// Bytes of one step through the read that matched nothing.
    Bytes = 11,
    /// The first n bytes of the line that the reference holds for the number due.
    Part = 12,
    /// The rest of the line that a part began.
    Rest = 13,
    ReadDone = 14,
    /// A whole read of n matched lines.
    MatchedRead = 15,
    Ended = 16,
    NoWelcome = 17,
    OverdueAcks = 18,
    MissingError = 19,
    TakeBatch = 20,
    /// The judge absorbs the next batch of a shard.
    Absorb = 21,
    /// The judge's last word.
    Finish = 22,
    /// A session's last message.
    SendingLast = 23,
    /// A piece of a classic stream.
    Piece = 24,
    /// It left.
    LeavingAt = 25,
    /// The run stops listening to a session.
    TimeUp = 26,
    /// It may be cut off as slow.
    FellBehind = 27,
    /// As much of what is left as is judged at once.
    TakeRest = 28,
    /// The rest is not judged.
    StopJudging = 29,
    /// The judge passes over the next batch of a shard.
    PassOver = 30,
}

impl Tag {
    pub(crate) const ALL: [Self; 30] = [
        Self::Connecting,
        Self::Connected,
        Self::Sending,
        Self::SentPublish,
        Self::SendingRaw,
        Self::StopsReading,
        Self::Leaving,
        Self::LettingGo,
        Self::Read,
        Self::Matched,
        Self::Bytes,
        Self::Part,
        Self::Rest,
        Self::ReadDone,
        Self::MatchedRead,
        Self::Ended,
        Self::NoWelcome,
        Self::OverdueAcks,
        Self::MissingError,
        Self::TakeBatch,
        Self::Absorb,
        Self::Finish,
        Self::SendingLast,
        Self::Piece,
        Self::LeavingAt,
        Self::TimeUp,
        Self::FellBehind,
        Self::TakeRest,
        Self::StopJudging,
        Self::PassOver,
    ];
}

/// Some of a stream, on its way to the file. Ends with a whole event.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) stream: u16,
    pub(crate) bytes: Vec<u8>,
}

/// Where a ledger's or a judge's events go.
#[derive(Debug, Default)]
pub(crate) enum Tape {
    /// Nowhere.
    #[default]
    Off,
    /// Into a trace.
    Writing(Box<Writing>),
    /// They come from a trace; so do the directory's answers.
    Reading(Box<Reading>),
}

/// The recording end of one stream. What is left in it goes to the writer when it is dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    stream: u16,
    full_bytes: usize,
    sink: SyncSender<Block>,
    out: Vec<u8>,
    /// Answers to the event that is being worked on.
    answers: Vec<u8>,
    last_ns: u64,
    last_answer: u64,
    /// The read that is being gone through, and whether it is written yet.
    read: Option<(u32, u64)>,
    read_written: bool,
    /// Lines of it that matched since the last token.
    run: u64,
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
            answers: Vec::new(),
            last_ns: 0,
            last_answer: 0,
            read: None,
            read_written: false,
            run: 0,
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

    /// Writes what belongs to the event before: a step is about to give answers of its own.
    pub(crate) fn settle(&mut self) {
        if self.run > 0 {
            self.begin_read();
            let run = std::mem::take(&mut self.run);
            self.out.push(Tag::Matched as u8);
            self.number(run);
        }
        self.out.append(&mut self.answers);
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

    /// A time, as what it differs by from the latest one.
    pub(crate) fn time(&mut self, now_ns: u64) -> &mut Self {
        let step = zigzag(now_ns.wrapping_sub(self.last_ns));
        self.last_ns = now_ns;
        self.number(step)
    }

    /// An answer of the directory to the event that is being worked on.
    pub(crate) fn answer(&mut self, n: u64) {
        push_number(&mut self.answers, n);
    }

    /// An answer that is mostly close to the one before.
    pub(crate) fn near_answer(&mut self, n: u64) {
        let step = zigzag(n.wrapping_sub(self.last_answer));
        self.last_answer = n;
        self.answer(step);
    }

    pub(crate) fn text_answer(&mut self, text: &str) {
        self.answer(text.len() as u64);
        self.answers.extend_from_slice(text.as_bytes());
    }

    /// One more line of the read matched.
    #[inline]
    pub(crate) fn matched(&mut self, handle: u32, now_ns: u64) {
        if self.run == 0 {
            self.out.append(&mut self.answers);
            self.read.get_or_insert((handle, now_ns));
        }
        self.run += 1;
    }

    /// A step through the read took `bytes`, which nothing is known of. Comes behind the step, so
    /// that it is known how far it went; its answers wait for it.
    pub(crate) fn step(&mut self, handle: u32, now_ns: u64, taken: Taken<'_>) {
        self.read.get_or_insert((handle, now_ns));
        let answers = std::mem::take(&mut self.answers);
        self.begin_read();
        match taken {
            Taken::Bytes(bytes) => drop(self.event(Tag::Bytes).bytes(bytes)),
            Taken::Part(len) => drop(self.event(Tag::Part).number(len as u64)),
            Taken::Rest => drop(self.event(Tag::Rest)),
            Taken::Piece(piece) => self.piece(piece),
        }
        self.answers = answers;
    }

    fn piece(&mut self, piece: Piece<'_>) {
        let tape = self.event(Tag::Piece);
        let (form, by, bytes) = match piece {
            Piece::Ack { by } => (0, Some(by), &[][..]),
            Piece::Relay { by, message } => (1, Some(by), message),
            Piece::RelayBegins { by } => (2, Some(by), &[][..]),
            Piece::Text(text) => (3, None, text),
        };
        tape.number(form);
        if let Some(by) = by {
            tape.bytes(by.to_string().as_bytes());
        }
        if matches!(piece, Piece::Relay { .. } | Piece::Text(_)) {
            tape.bytes(bytes);
        }
    }

    pub(crate) fn read_done(&mut self, split: bool) {
        let Some((handle, now_ns)) = self.read else {
            return;
        };
        if self.read_written || split {
            self.begin_read();
            self.event(Tag::ReadDone).number(u64::from(split));
        } else {
            let run = std::mem::take(&mut self.run);
            let answers = std::mem::take(&mut self.answers);
            let event = self.of_session(Tag::MatchedRead, handle);
            event.time(now_ns).number(run);
            self.answers = answers;
        }
        self.read = None;
        self.read_written = false;
    }

    fn begin_read(&mut self) {
        if let Some((handle, now_ns)) = self.read.filter(|_| !self.read_written) {
            // What matched comes behind the beginning of its read, and what was answered to that
            // behind it.
            let run = std::mem::take(&mut self.run);
            let answers = std::mem::take(&mut self.answers);
            self.of_session(Tag::Read, handle).time(now_ns);
            self.read_written = true;
            self.run = run;
            self.answers = answers;
        }
    }

    fn hand_over(&mut self) {
        let next = Vec::with_capacity(self.full_bytes * 2);
        let block = Block {
            stream: self.stream,
            bytes: std::mem::replace(&mut self.out, next),
        };
        // A writer that is behind is waited for: a hole in a trace would make it worthless. One
        // that has failed says so at the end.
        let _ = self.sink.send(block);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.settle();
        if !self.out.is_empty() {
            self.hand_over();
        }
    }
}

/// What a step through a read took.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// The first bytes of the line that is due.
    Part(usize),
    /// Its rest.
    Rest,
    /// This piece of a classic stream.
    Piece(Piece<'a>),
}

/// The playing end of one stream: one block after another.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    block: Vec<u8>,
    at: usize,
    last_ns: u64,
    last_answer: u64,
    /// Sessions under this number were opened, or are another shard's.
    next_session: u32,
    /// The tape and who plays it are out of step: what was read is not what was asked for.
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

    pub(crate) fn tag(&mut self) -> Option<Tag> {
        let byte = *self.block.get(self.at)?;
        self.at += 1;
        Tag::ALL.into_iter().find(|t| *t as u8 == byte)
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
        let left = self.block.len() - self.at;
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

    /// A place in a list, from 0; `None` for none.
    pub(crate) fn place(&mut self) -> Option<u32> {
        let place = self.number().checked_sub(1)?;
        let place = u32::try_from(place).ok();
        self.broken |= place.is_none();
        place
    }

    /// The number of a session that is opened; `None` where all were used up. Each is higher than
    /// those before it, which ledgers rely on.
    pub(crate) fn session(&mut self) -> Option<u32> {
        let session = self.place()?;
        if !(self.next_session..MAX_SESSIONS).contains(&session) {
            self.broken = true;
            return None;
        }
        self.next_session = session + 1;
        Some(session)
    }

    pub(crate) fn time(&mut self) -> u64 {
        self.last_ns = self.last_ns.wrapping_add(unzigzag(self.number()));
        self.last_ns
    }

    pub(crate) fn near_answer(&mut self) -> u64 {
        self.last_answer = self.last_answer.wrapping_add(unzigzag(self.number()));
        self.last_answer
    }
}

/// Little-endian base 128: seven bits a byte, the top bit says that more follow.
fn push_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Small differences either way become small numbers.
const fn zigzag(n: u64) -> u64 {
    let n = n as i64;
    ((n << 1) ^ (n >> 63)) as u64
}

const fn unzigzag(n: u64) -> u64 {
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
                writing.near_answer(n);
            }
            drop(writing);
            let mut reading = Reading::default();
            reading.load(blocks.recv().unwrap().bytes);
            for n in numbers {
                prop_assert_eq!(reading.tag(), Some(Tag::TakeBatch));
                prop_assert_eq!(reading.number(), n);
                prop_assert_eq!(reading.time(), n);
                prop_assert_eq!(reading.bytes(), n.to_le_bytes());
                prop_assert_eq!(reading.near_answer(), n);
            }
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

    #[test]
    fn a_delivery_in_a_read_of_its_own_is_a_few_bytes() {
        let (sink, blocks) = mpsc::sync_channel(100);
        let mut writing = Writing::new(0, sink);
        let reads = 1000;
        for read in 0..reads {
            writing.matched(read % 300, u64::from(read) * 20_000);
            writing.read_done(false);
        }
        drop(writing);
        let bytes: usize = blocks.iter().map(|b| b.bytes.len()).sum();
        assert!(bytes <= 7 * reads as usize, "{bytes} bytes");
    }
}
