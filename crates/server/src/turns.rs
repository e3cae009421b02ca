//! Whose turn it is to publish: the server's input, shared fairly.
//!
//! While little comes, whoever has sent something is read from at once. Once so much has come that
//! it is [`ROUND_BYTES`] of log, a *round* is full: whoever wants more waits in a queue, and all in
//! it get the same share of the next round. A round begins with a flush pass, and not before the
//! readers have room for it ([`pace`](super::pace)).
//!
//! In every round each client may have a little read ([`FREE_BYTES`]) without queueing. So a client
//! that says little waits for nobody, however many flood the server.

use std::collections::VecDeque;
use std::mem;

use super::cursor::MAX_WRITE_BYTES;

/// Bytes of one read, at most.
pub const READ_BYTES: usize = 64 * 1024;

/// What is read in a round comes to about so many bytes of log: one write for each reader.
pub const ROUND_BYTES: u64 = MAX_WRITE_BYTES as u64;

/// Bytes that every client may have read in a round without queueing, and the least share.
pub const FREE_BYTES: usize = 1024;

/// A line in is a line out that is up to so many times as long: the shortest publish that there
/// is has 15 bytes, and a relay says besides its message at most 119.
pub const MAX_GROWTH: u64 = 8;

/// Input that is taken as a sample of how much longer what goes out is than what came in.
const SAMPLE_BYTES: u64 = 4 * 1024;

/// One client's part in the rounds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    round: u32,
    left_bytes: u32,
    queued: bool,
    /// It was given its share and has had nothing read of it.
    untouched: bool,
}

/// The queue, and what has come in the round.
#[derive(Debug)]
pub struct Turns {
    /// Never 0, so that a new client has its free bytes.
    round: u32,
    queue: VecDeque<usize>,
    read_bytes: u64,
    /// The end of the log when the round began.
    began_at: u64,
    /// Someone had queued when the round began: everyone keeps to its share.
    shared: bool,
    /// Bytes of log for a byte of input, as lately measured.
    growth: u64,
    /// The least that it is worth reading at a time.
    least_bytes: usize,
}

impl Turns {
    /// Nobody waits. `room_bytes` is how much input the log has room for when it is empty.
    #[must_use]
    pub fn new(room_bytes: usize) -> Self {
        Self {
            round: 1,
            queue: VecDeque::new(),
            read_bytes: 0,
            began_at: 0,
            shared: false,
            growth: 1,
            least_bytes: FREE_BYTES.min(room_bytes / 2).max(1),
        }
    }

    /// How much may be read from a client now, in a log that ends at `end` and has room for what
    /// comes of `room_bytes` of input. Where that is nothing it queues.
    #[inline]
    pub fn may_read(&mut self, share: &mut Share, end: u64, room_bytes: usize) -> usize {
        if share.queued || room_bytes < self.least_bytes {
            return 0;
        }
        if share.round != self.round {
            share.round = self.round;
            share.left_bytes = share.left_bytes.max(FREE_BYTES as u32);
        }
        let full = self.shared || !self.queue.is_empty() || end - self.began_at >= ROUND_BYTES;
        let share_bytes = if full {
            share.left_bytes as usize
        } else {
            READ_BYTES
        };
        share_bytes.min(room_bytes).min(READ_BYTES)
    }

    /// So much was read from a client.
    #[inline]
    pub fn read(&mut self, share: &mut Share, bytes: usize) {
        share.left_bytes = share.left_bytes.saturating_sub(bytes as u32);
        share.untouched = false;
        self.read_bytes += bytes as u64;
    }

    /// Has a client wait for the next round, if it does not yet.
    pub fn queue(&mut self, id: usize, share: &mut Share) {
        if share.queued {
            return;
        }
        share.queued = true;
        if mem::take(&mut share.untouched) {
            self.queue.push_front(id); // its turn came, and others had filled the room
        } else {
            self.queue.push_back(id);
        }
    }

    /// A client leaves.
    pub fn leave(&mut self, id: usize, share: &Share) {
        if share.queued {
            self.queue.retain(|&queued| queued != id);
        }
    }

    /// Whether anyone waits.
    #[must_use]
    #[inline]
    pub fn does_anyone_wait(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Begins a round, in a log that ends at `end` and has room for what comes of `room_bytes` of
    /// input. How much each in the queue may have read; as many as there is room for, in turn.
    pub fn begin_round(&mut self, end: u64, room_bytes: usize) -> Round {
        if self.read_bytes >= SAMPLE_BYTES {
            self.growth = ((end - self.began_at) / self.read_bytes).clamp(1, MAX_GROWTH);
        }
        self.read_bytes = 0;
        self.began_at = end;
        self.shared = !self.queue.is_empty();
        self.round = self.round.checked_add(1).unwrap_or(1);
        let waiting = self.queue.len().max(1);
        let each = (ROUND_BYTES / self.growth) as usize / waiting;
        Round {
            share_bytes: each.max(FREE_BYTES),
            room_bytes,
        }
    }

    /// The next whose turn it is, as long as the round has room.
    pub fn next(&mut self, round: &mut Round) -> Option<usize> {
        if round.room_bytes < self.least_bytes {
            return None;
        }
        round.room_bytes = round.room_bytes.saturating_sub(round.share_bytes);
        self.queue.pop_front()
    }

    /// Gives a client its share.
    pub fn grant(&self, share: &mut Share, round: &Round) {
        *share = Share {
            round: self.round,
            left_bytes: round.share_bytes as u32,
            queued: false,
            untouched: true,
        };
    }
}

/// What a round has to give.
#[derive(Debug)]
pub struct Round {
    share_bytes: usize,
    room_bytes: usize,
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
