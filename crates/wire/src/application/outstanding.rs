//! Messages that wait for an answer, by the numbers that their connection gave them.
//!
//! A template's `{id}` counts up per connection, since many protocols take no larger ids than 32
//! bits, and a verifier's ids are larger. What is answered is forgotten but for its range of
//! numbers: so an answer that comes again is still known for what it is.

use std::collections::VecDeque;

use crate::rooms::RoomId;

/// Messages in the order in which they were sent.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    waiting: VecDeque<Sent>,
    /// Those that were answered, in ranges.
    done: Vec<Range>,
}

/// A message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number that its connection gave it.
    pub(super) local: u64,
    /// The id by which a verifier knows it.
    pub(super) id: u64,
    pub(super) room: RoomId,
}

/// Messages whose numbers of both kinds follow each other.
#[derive(Debug)]
struct Range {
    first: Sent,
    length: u64,
}

/// Ranges that are kept: one is enough for a client that publishes in one room and is answered in
/// order.
const MAX_RANGES: usize = 32;

impl Outstanding {
    pub(super) fn sent(&mut self, sent: Sent) {
        self.waiting.push_back(sent);
    }

    /// Forgets all but the last messages: where nothing is ever acked, only refused.
    pub(super) fn keep(&mut self, most: usize) {
        while self.waiting.len() > most {
            self.waiting.pop_front();
        }
    }

    /// The message of this number is answered. `None` if it was not sent, or its answer is too long
    /// ago.
    pub(super) fn answered(&mut self, local: u64) -> Option<Sent> {
        if let Ok(at) = self.waiting.binary_search_by_key(&local, |sent| sent.local) {
            let sent = self.waiting.remove(at)?;
            self.remember(sent);
            return Some(sent);
        }
        let range = self.done.iter().find(|range| {
            let after = local.checked_sub(range.first.local);
            after.is_some_and(|after| after < range.length)
        })?;
        let after = local - range.first.local;
        Some(Sent {
            local,
            id: range.first.id + after,
            room: range.first.room,
        })
    }

    /// The oldest message that waits is answered.
    pub(super) fn oldest_answered(&mut self) -> Option<Sent> {
        let sent = self.waiting.pop_front()?;
        self.remember(sent);
        Some(sent)
    }

    fn remember(&mut self, sent: Sent) {
        for range in &mut self.done {
            let Range { first, length } = range;
            if first.room != sent.room {
                continue;
            }
            if (sent.local, sent.id) == (first.local + *length, first.id + *length) {
                *length += 1;
                return;
            }
            if (sent.local + 1, sent.id + 1) == (first.local, first.id) {
                (*first, *length) = (sent, *length + 1);
                return;
            }
        }
        if self.done.len() == MAX_RANGES {
            self.done.remove(0);
        }
        self.done.push(Range {
            first: sent,
            length: 1,
        });
    }

    /// Whether no message waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(local: u64) -> Sent {
        Sent {
            local,
            id: 1000 + local,
            room: RoomId(1),
        }
    }

    #[test]
    fn an_answer_that_comes_again_is_for_the_same_message() {
        let mut all = Outstanding::default();
        for local in 3..1003 {
            all.sent(sent(local));
        }
        for local in (3..1003).rev() {
            assert_eq!(all.answered(local), Some(sent(local)));
        }
        assert!(all.is_empty());
        assert_eq!(all.done.len(), 1);
        assert_eq!(all.answered(500), Some(sent(500)));
        assert_eq!(all.answered(2), None);
        assert_eq!(all.answered(1003), None);
        assert_eq!(all.oldest_answered(), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut all = Outstanding::default();
        for local in (1..1000).step_by(2) {
            all.sent(sent(local));
        }
        assert_eq!(all.oldest_answered(), Some(sent(1)));
        for local in (3..1000).step_by(2) {
            assert_eq!(all.answered(local), Some(sent(local)));
        }
        assert_eq!(all.done.len(), MAX_RANGES);
        assert_eq!(all.answered(1), None, "too long ago");
        assert_eq!(all.answered(999), Some(sent(999)));
        (1..100).for_each(|local| all.sent(sent(local + 1000)));
        all.keep(10);
        assert_eq!(all.waiting.len(), 10);
    }
}
