//! Counts of findings that stay undecided since there was no room to remember what they depend on.
//! Past a bound a finding may stay undecided; it is never counted as another kind.

/// How much stays undecided, by kind.
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
