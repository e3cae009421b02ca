//! A target that was started again: every connection broke, and its numbers began anew. That is one
//! event, and one violation.

use std::collections::{BTreeMap, VecDeque};

use super::{Record, RoomJudge};
use crate::batch::NO_NUMBER;
use crate::bounds;
use crate::findings::Kept;
use crate::kind::Kind;
use crate::numberings::APART;
use crate::violation::{Evidence, Violation};

/// The longest time from a connection that is seen to break to the last frame that is read from
/// others that broke together with it.
const SKEW_NS: u64 = 1_000_000_000;

/// Numberings for which the time of their last observation is remembered. (Numbers that leap are
/// taken for a numbering, too.)
const MAX_HEARD: usize = 64;

/// Connections that were closed, and numbers that began anew.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Connections closed without what was owed at their end, by the kind of violation.
    pub(super) hung_up: BTreeMap<Kind, HungUp>,
    /// Numberings that were found to have begun.
    pub(super) anew: Vec<Anew>,
    /// Times at which numberings were last observed, the earliest first.
    heard: VecDeque<Heard>,
}

/// Connections closed without what was owed at their end, all of one kind.
#[derive(Debug, Default)]
pub(super) struct HungUp {
    pub(super) kept: Kept,
    /// The last number that each had seen, and when it was closed; up to a bound.
    closed: Vec<(u64, u64)>,
    /// How many more there were.
    more: u64,
}

/// A later numbering.
#[derive(Debug)]
pub(super) struct Anew {
    added: u64,
    violation: Violation,
}

/// When a number from this one on was last observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    from: u64,
    until_ns: u64,
}

impl HungUp {
    fn add(&mut self, seen: u64, violation: Violation) {
        if self.closed.len() < bounds::remembered() {
            self.closed.push((seen, violation.at_ns));
        } else {
            self.more += 1;
        }
        self.kept.add(1, violation);
    }
}

impl RoomJudge {
    /// A connection was closed whose session had seen number `seen`.
    pub(super) fn hung_up(&mut self, seen: u64, violation: Violation) {
        let alike = self.restarts.hung_up.entry(violation.kind()).or_default();
        alike.add(seen, violation);
    }

    pub(super) fn numbered_anew(&mut self, added: u64, violation: Violation) {
        self.restarts.anew.push(Anew { added, violation });
    }

    /// Number `seq` is settled: notes when it was last observed.
    pub(super) fn heard(&mut self, seq: u64, record: &Record) {
        let relayed_ns = record.relayed.map_or(0, |r| r.last_ns);
        let at_ns = record.acked.map_or(0, |a| a.acked_ns).max(relayed_ns);
        let begins = seq.saturating_sub(self.last_settled) >= APART;
        match self.restarts.heard.back_mut().filter(|_| !begins) {
            Some(heard) => heard.until_ns = heard.until_ns.max(at_ns),
            None => {
                if self.restarts.heard.len() == MAX_HEARD {
                    self.restarts.heard.pop_front();
                }
                self.restarts.heard.push_back(Heard {
                    from: seq,
                    until_ns: at_ns,
                });
            }
        }
    }

    /// Counts each later numbering once, and with it the connections that broke when the target
    /// went away: those that were not closed while it was still sending to others. All the other
    /// ones stay in `hung_up`.
    pub(super) fn report_numbered_anew(&mut self, hung_up: &mut BTreeMap<Kind, HungUp>) {
        let anew = std::mem::take(&mut self.restarts.anew);
        for hung_up in hung_up.values_mut().filter(|_| !anew.is_empty()) {
            hung_up.kept.count -= hung_up.more;
            self.beyond.hung_up += hung_up.more;
        }
        let mut from = 0;
        for Anew {
            added,
            mut violation,
        } in anew
        {
            let of_it = |seen: u64| seen != NO_NUMBER && (from..added).contains(&seen);
            let heard = self.restarts.heard.iter().filter(|heard| of_it(heard.from));
            let heard_ns = heard.map(|heard| heard.until_ns).max().unwrap_or(0);
            let mut broken_off = 0;
            for hung_up in hung_up.values_mut() {
                let with_it = |&mut (seen, at_ns): &mut (u64, u64)| {
                    of_it(seen) && at_ns + SKEW_NS >= heard_ns
                };
                let closed = hung_up.closed.extract_if(.., with_it);
                let times: Vec<u64> = closed.map(|(_, at_ns)| at_ns).collect();
                broken_off += times.len() as u64;
                hung_up.kept.count -= times.len() as u64;
                hung_up.kept.first.retain(|v| !times.contains(&v.at_ns));
            }
            if let Evidence::NumberedAnew {
                broken_off: told, ..
            } = &mut violation.evidence
            {
                *told = broken_off;
            }
            self.found.add(violation);
            from = added;
        }
    }
}
