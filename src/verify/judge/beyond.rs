//! What stays undecided since there was no room to remember what it depends on. A bound may hide
//! what something is; it never gives it a wrong name.

/// How much stays undecided, by what it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beyond {
    /// Deliveries that did not come.
    pub(super) losses: u64,
    /// Runs of numbers under which nothing came.
    pub(super) gaps: u64,
    /// Messages that were not acked, or refused.
    pub(super) unanswered: u64,
    /// Violations that may have been counted before.
    pub(super) repeats: u64,
    /// Frames under a number that was not due, or with a message that was not expected.
    pub(super) contested: u64,
    /// Closed connections.
    pub(super) hung_up: u64,
}

impl Beyond {
    /// Says how much of each.
    pub(super) fn state(&self, undecided: &mut Vec<String>) {
        let table = [
            (
                self.losses,
                "deliveries did not come, when too much was under way to tell what they were: lost \
                 relays, missing acks or numbers given to nothing",
            ),
            (
                self.gaps,
                "runs of numbers came to nobody, besides so many others that it is not known \
                 whether they were given to messages that were not acked",
            ),
            (
                self.unanswered,
                "messages were not acked, or were refused, besides so many others that it is not \
                 known whether their acks went to other clients or they were relayed all the same",
            ),
            (
                self.repeats,
                "violations came so long after others, or with so many of them, that it is not \
                 known whether they had been counted before",
            ),
            (
                self.contested,
                "frames came under numbers that were not due, or are another message's, when too \
                 much was under way to tell what they were",
            ),
            (
                self.hung_up,
                "connections were closed, so many that it is not known whether it was when the \
                 target began its numbers anew",
            ),
        ];
        let some = table.into_iter().filter(|&(count, _)| count > 0);
        undecided.extend(some.map(|(count, what)| format!("{count} {what}")));
    }
}
