//! Lines that were irregular in themselves, and the sessions that got them: alike for several
//! receivers they are one violation.

use std::collections::{HashMap, VecDeque};

use super::kind::Kind;
use chatbench_wire::payload::SenderId;

/// Different lines that are irregular in themselves and remembered, so that the same line is one
/// violation however many receivers get it. Past it the oldest are forgotten.
const MAX_IRREGULAR: usize = 4096;

/// Receivers of these that are remembered: sessions that come and go may all get the same line.
const MAX_IRREGULAR_RECEIVERS: usize = 1 << 17;

/// The lines that were wrong in themselves, by kind and hash.
#[derive(Debug, Default)]
pub(super) struct Irregulars {
    lines: HashMap<(Kind, u64), Irregular>,
    /// The oldest first.
    order: VecDeque<(Kind, u64)>,
    receivers: usize,
}

/// A line that is wrong in itself.
#[derive(Debug, Default)]
struct Irregular {
    /// The number of violations that it is: the largest number of times that one session got it.
    violations: u64,
    receivers: HashMap<SenderId, u64>,
}

impl Irregulars {
    /// `receiver` got a line. If that is one violation more, how many it is now.
    pub(super) fn count(&mut self, kind: Kind, line: u64, receiver: SenderId) -> Option<u64> {
        let irregular = self.line(kind, line);
        let count = irregular.receivers.entry(receiver).or_default();
        let is_new = *count == 0;
        *count += 1;
        let is_more = *count > irregular.violations;
        irregular.violations = irregular.violations.max(*count);
        let violations = irregular.violations;
        self.receivers += usize::from(is_new);
        is_more.then_some(violations)
    }

    /// The receivers of one shard found a line to be so many violations. Whether that is one more.
    pub(super) fn found(&mut self, kind: Kind, line: u64, violations: u64) -> bool {
        let irregular = self.line(kind, line);
        let is_more = violations > irregular.violations;
        irregular.violations = irregular.violations.max(violations);
        is_more
    }

    fn line(&mut self, kind: Kind, line: u64) -> &mut Irregular {
        let key = (kind, line);
        if !self.lines.contains_key(&key) || self.receivers >= MAX_IRREGULAR_RECEIVERS {
            self.make_room();
        }
        self.lines.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            Irregular::default()
        })
    }

    fn make_room(&mut self) {
        while (self.lines.len() >= MAX_IRREGULAR || self.receivers >= MAX_IRREGULAR_RECEIVERS)
            && let Some(oldest) = self.order.pop_front()
        {
            let forgotten = self.lines.remove(&oldest);
            self.receivers -= forgotten.map_or(0, |line| line.receivers.len());
        }
    }
}
