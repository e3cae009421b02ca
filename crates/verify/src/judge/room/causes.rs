//! Causes: a violation that shows several times is counted once.

use std::collections::BTreeSet;

use crate::bounds;
use crate::kind::Kind;
use chatbench_wire::payload::SenderId;

/// A cause that is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// This number was given to more than one message.
    Reuse(u64),
    /// This number was acked and reached nobody.
    ReachedNobody(u64),
    /// This number is late-numbered, and counted.
    LateNumbered(u64),
    /// This receiver saw these two numbers exchanged.
    Exchange(u64, u64, SenderId),
    /// For this receiver, numbers come in no order from this one on, which is a violation of this
    /// kind.
    Disorder(SenderId, u64, Kind),
}

/// The causes that were counted. Those under the lowest numbers are forgotten in the end.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// By number.
    counted: BTreeSet<(u64, Cause)>,
    /// Some of those under numbers below this one are forgotten.
    forgotten_until: u64,
}

impl Cause {
    fn number(self) -> u64 {
        match self {
            Self::Reuse(n)
            | Self::ReachedNobody(n)
            | Self::LateNumbered(n)
            | Self::Exchange(n, ..)
            | Self::Disorder(_, n, _) => n,
        }
    }
}

impl Causes {
    /// Whether it has been counted; `None` if that is forgotten.
    pub(super) fn contains(&self, cause: Cause) -> Option<bool> {
        let number = cause.number();
        match self.counted.contains(&(number, cause)) {
            false if number < self.forgotten_until => None,
            contains => Some(contains),
        }
    }

    /// Counts it, unless it is forgotten whether it has been counted. Returns whether it had not
    /// been.
    pub(super) fn insert(&mut self, cause: Cause) -> Option<bool> {
        let first = !self.contains(cause)?;
        self.counted.insert((cause.number(), cause));
        if self.counted.len() > bounds::remembered()
            && let Some((forgotten, _)) = self.counted.pop_first()
        {
            self.forgotten_until = self.forgotten_until.max(forgotten + 1);
        }
        Some(first)
    }
}
