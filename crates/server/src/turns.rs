//! Shares the server's input fairly: decides whose turn it is to publish.
//!
//! While there is little input, every client that has sent something is read from at once. Once
//! the input comes to [`ROUND_BYTES`] of log, a *round* is full: clients with more wait in a queue,
//! and all in it get the same share of the next round. A round begins with a flush pass, and not
//! before the readers have room for it ([`pace`](super::pace)).
//!
//! In every round a little of each client's input ([`FREE_BYTES`]) is read without queueing. So a
//! client that sends little never waits, however many flood the server.

use std::collections::VecDeque;
use std::mem;

use super::cursor::MAX_WRITE_BYTES;

/// Bytes of one read, at most.
pub const READ_BYTES: usize = 64 * 1024;

/// Bytes of log that the input of a round comes to, about: one write for each reader.
pub const ROUND_BYTES: u64 = MAX_WRITE_BYTES as u64;

/// Bytes of every client's input that are read in a round without queueing, and the least share.
pub const FREE_BYTES: usize = 1024;

/// How many times as long as its publish a relay can be: the shortest publish has 15 bytes, and a
/// relay at most 119 besides its message.
pub const MAX_GROWTH: u64 = 8;

/// Bytes of input that are enough to measure how much longer relays are than their publishes.
const SAMPLE_BYTES: u64 = 4 * 1024;

/// One client's part in the rounds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    round: u32,
    left_bytes: u32,
    queued: bool,
    /// It was given a share, none of which was read yet.
    untouched: bool,
}

/// The queue, and the input of the current round.
#[derive(Debug)]
pub struct Turns {
    /// Never 0, so that a new client has its free bytes.
    round: u32,
    queue: VecDeque<usize>,
    read_bytes: u64,
    /// The end of the log when the round began.
    began_at: u64,
    /// Clients were queued when the round began: everyone is kept to its share.
    shared: bool,
    /// Bytes of log per byte of input, as lately measured.
    growth: u64,
    /// The least number of bytes that are worth a read.
    least_bytes: usize,
}

impl Turns {
    /// An empty queue. `room_bytes` is how much input the log has room for when it is empty.
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

    /// How much may be read from a client now, if the log ends at `end` and has room for
    /// `room_bytes` of input. If that is 0, the client is to be queued.
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

    /// Counts `bytes` that were read from a client.
    #[inline]
    pub fn read(&mut self, share: &mut Share, bytes: usize) {
        share.left_bytes = share.left_bytes.saturating_sub(bytes as u32);
        share.untouched = false;
        self.read_bytes += bytes as u64;
    }

    /// Queues a client for the next round, unless it is queued.
    pub fn queue(&mut self, id: usize, share: &mut Share) {
        if share.queued {
            return;
        }
        share.queued = true;
        if mem::take(&mut share.untouched) {
            self.queue.push_front(id); // it had its turn, but others had filled the room
        } else {
            self.queue.push_back(id);
        }
    }

    /// Removes a client that leaves from the queue.
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

    /// Begins a round, if the log ends at `end` and has room for `room_bytes` of input. Returns the
    /// share of each client in the queue; as many as there is room for get it, in turn.
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

    /// The next client in the queue, as long as the round has room.
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

/// The input that a round has room for.
#[derive(Debug)]
pub struct Round {
    share_bytes: usize,
    room_bytes: usize,
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
