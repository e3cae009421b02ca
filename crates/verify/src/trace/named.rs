//! The frames of a shard that are named by number in its stream.

use std::collections::{HashMap, VecDeque};

use super::tape::OwnedRelay;
use chatbench_wire::seen::Relay;

/// Frames of one shard that are held for sessions that get them later: more than a ledger holds.
const MAX_NAMED_FRAMES: usize = 1 << 20;

/// Bytes of these frames.
const MAX_NAMED_BYTES: usize = 192 << 20;

/// The frames of a shard that several sessions get, by number, and which is next for each session.
#[derive(Debug, Default)]
pub(super) struct NamedFrames {
    /// The number of the first that is held.
    first: u32,
    frames: VecDeque<OwnedRelay>,
    bytes: usize,
    next: Vec<u32>,
    /// Likewise in a room that has a name, where few of a shard's sessions are.
    next_of: HashMap<usize, u32>,
    few: bool,
}

impl NamedFrames {
    /// Those of a room that has a name.
    pub(super) fn of_few() -> Self {
        Self {
            few: true,
            ..Self::default()
        }
    }

    /// A session begins: the next frame to be kept is the next one for it.
    pub(super) fn begin(&mut self, session: usize) {
        let newest = self.end();
        *self.next(session) = newest;
    }

    fn next(&mut self, session: usize) -> &mut u32 {
        if self.few {
            return self.next_of.entry(session).or_default();
        }
        if session >= self.next.len() {
            self.next.resize(session + 1, 0);
        }
        &mut self.next[session]
    }

    fn end(&self) -> u32 {
        self.first.wrapping_add(self.frames.len() as u32)
    }

    pub(super) fn push(&mut self, frame: OwnedRelay) -> Result<(), &'static str> {
        self.bytes += frame.len();
        self.frames.push_back(frame);
        if self.frames.len() > MAX_NAMED_FRAMES || self.bytes > MAX_NAMED_BYTES {
            return Err("more frames than a shard holds");
        }
        Ok(())
    }

    pub(super) fn drop_first(&mut self, frames: u64) {
        let frames = frames.min(self.frames.len() as u64) as usize;
        let dropped = self.frames.drain(..frames);
        self.bytes -= dropped.map(|frame| frame.len()).sum::<usize>();
        self.first = self.first.wrapping_add(frames as u32);
    }

    pub(super) fn ahead(&mut self, session: usize, ahead: i64) -> u32 {
        self.next(session).wrapping_add(ahead as u32)
    }

    pub(super) fn get(&self, frame: u32) -> Result<Relay<'_>, &'static str> {
        let frame = self.frames.get(frame.wrapping_sub(self.first) as usize);
        Ok(frame.ok_or("a frame that this shard does not know")?.get())
    }

    /// The latest one.
    pub(super) fn newest(&self) -> Option<Relay<'_>> {
        self.frames.back().map(OwnedRelay::get)
    }

    pub(super) fn got(&mut self, session: usize, frame: u32) {
        *self.next(session) = frame.wrapping_add(1);
    }

    pub(super) fn got_newest(&mut self, session: usize) {
        *self.next(session) = self.end();
    }
}
