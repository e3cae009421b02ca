//! One direction of a simulated connection: bytes in transit and arrived, and how it ends. Sans-IO:
//! the time and the delays come in as arguments.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::task::Waker;

use tokio::time::Instant;

/// The state of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This many bytes to read; at least one.
    Bytes(usize),
    /// Nothing before this moment.
    NotBefore(Instant),
    /// Nothing is in transit.
    Nothing,
    /// The writer has half-closed, and everything was read.
    End,
    /// The connection was reset.
    Reset,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    /// How many of `bytes` had arrived at the last look.
    arrived: usize,
    /// The arrival time and the length of each piece of the rest, in order.
    under_way: VecDeque<(Instant, usize)>,
    /// When the writer's half-close arrives.
    end: Option<Instant>,
    /// When the writer's reset arrives.
    reset: Option<Instant>,
    /// When the last thing that was sent arrives: whatever is sent later arrives no earlier.
    last: Option<Instant>,
    /// The reader has closed: bytes that arrive are answered with a reset.
    pub(super) reader_gone: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    /// Room for more in a buffer of `capacity` bytes, which holds those written and not yet read.
    pub(super) fn room(&self, capacity: usize) -> usize {
        capacity.saturating_sub(self.bytes.len())
    }

    /// The arrival time of something sent now that is due at `then`: no earlier than what was sent
    /// before it.
    pub(super) fn in_order(&mut self, then: Instant) -> Instant {
        let arrives = self.last.map_or(then, |last| last.max(then));
        self.last = Some(arrives);
        arrives
    }

    /// Sends the first `limit` bytes of `slices`, to arrive at `arrives`; returns how many there
    /// were.
    pub(super) fn send(&mut self, slices: &[IoSlice<'_>], limit: usize, arrives: Instant) -> usize {
        let before = self.bytes.len();
        let all = slices.iter().flat_map(|slice| slice.iter());
        self.bytes.extend(all.take(limit));
        let sent = self.bytes.len() - before;
        self.under_way.push_back((arrives, sent));
        wake(&mut self.reader);
        sent
    }

    /// Half-closes: nothing more is written, which the reader learns at `arrives`.
    pub(super) fn end(&mut self, arrives: Instant) {
        if self.end.is_none() {
            self.end = Some(arrives);
            wake(&mut self.reader);
        }
    }

    /// Resets the connection, which the reader learns at `arrives`, or at an earlier reset.
    pub(super) fn reset(&mut self, arrives: Instant) {
        if self.reset.is_none_or(|before| arrives < before) {
            self.reset = Some(arrives);
            wake(&mut self.reader);
        }
    }

    /// Discards the pieces that are in transit at `now`, except for the first `keep`.
    pub(super) fn withdraw(&mut self, now: Instant, keep: usize) {
        self.arrive(now);
        self.under_way.truncate(keep);
        let kept: usize = self.under_way.iter().map(|(_, bytes)| bytes).sum();
        self.bytes.truncate(self.arrived + kept);
    }

    /// The number of pieces in transit at `now`.
    pub(super) fn under_way(&mut self, now: Instant) -> usize {
        self.arrive(now);
        self.under_way.len()
    }

    /// Makes all that has arrived by `now` readable; after a reset nothing arrives.
    fn arrive(&mut self, now: Instant) {
        let until = self.reset.map_or(now, |reset| reset.min(now));
        while let Some(&(at, bytes)) = self.under_way.front()
            && at <= until
        {
            self.arrived += bytes;
            self.under_way.pop_front();
        }
    }

    /// Closes the reader's side. Returns when the first piece arrives that will not be read, if
    /// there is one.
    pub(super) fn close(&mut self, now: Instant) -> Option<Instant> {
        self.reader_gone = true;
        let unread = match self.unread_bytes(now) {
            0 => self.under_way.front().map(|(at, _)| *at),
            _ => Some(now),
        };
        self.forget();
        wake(&mut self.writer);
        unread
    }

    fn forget(&mut self) {
        self.bytes.clear();
        self.arrived = 0;
        self.under_way.clear();
    }

    /// Bytes that have arrived and were not read.
    pub(super) fn unread_bytes(&mut self, now: Instant) -> usize {
        self.arrive(now);
        self.arrived
    }

    /// Whether a reset has arrived.
    pub(super) fn is_reset(&self, now: Instant) -> bool {
        self.reset.is_some_and(|at| at <= now)
    }

    /// The state of the input at `now`. If `reset_discards`, a reset discards unread input.
    pub(super) fn look(&mut self, now: Instant, reset_discards: bool) -> Input {
        if reset_discards && self.is_reset(now) {
            self.forget();
        }
        if self.unread_bytes(now) > 0 {
            return Input::Bytes(self.arrived);
        }
        if self.is_reset(now) {
            return Input::Reset;
        }
        let next = self.under_way.front().map(|(at, _)| *at);
        let next = match (next, self.end) {
            (None, Some(end)) if end <= now => return Input::End,
            (None, end) => end,
            (next, _) => next,
        };
        match (next, self.reset) {
            (None, None) => Input::Nothing,
            (Some(at), None) | (None, Some(at)) => Input::NotBefore(at),
            (Some(next), Some(reset)) => Input::NotBefore(next.min(reset)),
        }
    }

    /// Takes the first `count` bytes of those that have arrived.
    pub(super) fn take(&mut self, count: usize, mut each: impl FnMut(&[u8])) {
        let (first, second) = self.bytes.as_slices();
        let of_first = first.len().min(count);
        each(&first[..of_first]);
        each(&second[..count - of_first]);
        self.bytes.drain(..count);
        self.arrived -= count;
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(pipe: &mut Pipe, count: usize) -> Vec<u8> {
        let mut read = Vec::new();
        pipe.take(count, |bytes| read.extend_from_slice(bytes));
        read
    }

    fn send(pipe: &mut Pipe, bytes: &[u8], then: Instant) {
        let arrives = pipe.in_order(then);
        pipe.send(&[IoSlice::new(bytes)], bytes.len(), arrives);
    }

    #[test]
    fn bytes_are_read_in_order_once_they_have_arrived_and_then_the_end() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut pipe = Pipe::default();
        assert_eq!(pipe.look(now, false), Input::Nothing);
        send(&mut pipe, b"abc", after(20));
        send(&mut pipe, b"de", after(10)); // it does not overtake
        let end = pipe.in_order(after(15));
        pipe.end(end);
        assert_eq!(pipe.look(after(19), false), Input::NotBefore(after(20)));
        assert_eq!(pipe.room(6), 1);
        assert_eq!(pipe.look(after(20), false), Input::Bytes(5));
        assert_eq!(read(&mut pipe, 4), b"abcd");
        assert_eq!(pipe.look(after(20), false), Input::Bytes(1));
        assert_eq!(read(&mut pipe, 1), b"e");
        assert_eq!(pipe.look(after(20), false), Input::End);
    }

    #[test]
    fn a_reset_comes_after_what_was_sent_before_it_or_takes_it_along() {
        let now = Instant::now();
        for discards in [false, true] {
            let mut pipe = Pipe::default();
            send(&mut pipe, b"abc", now);
            pipe.reset(now);
            let expected = match discards {
                true => Input::Reset,
                false => Input::Bytes(3),
            };
            assert_eq!(pipe.look(now, discards), expected);
        }
    }

    #[test]
    fn what_is_withdrawn_is_what_has_not_arrived() {
        let now = Instant::now();
        let later = now + Duration::from_millis(1);
        let mut pipe = Pipe::default();
        send(&mut pipe, b"abc", now);
        send(&mut pipe, b"de", later);
        send(&mut pipe, b"f", later);
        assert_eq!(pipe.under_way(now), 2);
        pipe.withdraw(now, 1);
        assert_eq!(pipe.look(later, false), Input::Bytes(5));
        pipe.withdraw(later, 0);
        assert_eq!(pipe.unread_bytes(later), 5);
    }
}
