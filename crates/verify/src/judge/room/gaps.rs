//! Runs of numbers that were given to no message.

use super::RoomJudge;
use crate::anomaly::Missing;
use crate::batch::Message;
use crate::bounds;
use crate::violation::{Evidence, Who};
use chatbench_wire::payload::SenderId;

/// Runs of numbers under which nobody got anything.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    pub(super) runs: Vec<Gap>,
    /// The end of the last run for which there was no room.
    until: u64,
}

/// Numbers under which nobody got anything.
#[derive(Debug)]
pub(super) struct Gap {
    from: u64,
    until: u64,
    /// How many of them an unacked message does not explain.
    pub(super) unexplained: u64,
    /// The sessions that missed them, up to a bound.
    pub(super) witnesses: Vec<Missing>,
    /// The first.
    witness: Who,
    /// How many others missed them.
    pub(super) more_witnesses: u64,
}

impl RoomJudge {
    /// One violation for each run of skipped numbers, however many sessions noticed.
    pub(super) fn sequence_gap(&mut self, missing: &Missing, from: u64, until: u64) {
        let overlaps = |g: &&mut Gap| from < g.until && g.from < until;
        if let Some(gap) = self.gaps.runs.iter_mut().rev().find(overlaps) {
            match gap.witnesses.len() < bounds::gap_witnesses() {
                true => gap.witnesses.push(*missing),
                false => gap.more_witnesses += 1,
            }
            return;
        }
        if self.gaps.runs.len() >= bounds::gaps() {
            // Several sessions report the same numbers.
            let is_known = from < self.gaps.until;
            self.beyond.gaps += u64::from(!is_known);
            self.gaps.until = self.gaps.until.max(until);
            return;
        }
        self.gaps.runs.push(Gap {
            from,
            until,
            unexplained: until - from,
            witnesses: vec![*missing],
            witness: self.directory.who(missing.receiver),
            more_witnesses: 0,
        });
    }

    /// `receiver` got number `seq`, which is `message`, and nobody had got anything under it: it
    /// was not skipped, and every other session that missed it has lost it. Returns whether it had
    /// been taken for skipped.
    pub(super) fn was_no_gap(
        &mut self,
        seq: u64,
        receiver: SenderId,
        message: Option<Message>,
    ) -> bool {
        let lies_in = |g: &Gap| g.from <= seq && seq < g.until;
        let Some(at) = self.gaps.runs.iter().position(lies_in) else {
            return false;
        };
        let gap = self.gaps.runs.remove(at);
        let parts = [(gap.from, seq), (seq + 1, gap.until)];
        for (from, until) in parts.into_iter().filter(|(from, until)| from < until) {
            let part = Gap {
                from,
                until,
                unexplained: gap.unexplained.min(until - from),
                witnesses: gap.witnesses.clone(),
                witness: gap.witness,
                more_witnesses: gap.more_witnesses,
            };
            self.gaps.runs.insert(at, part);
        }
        self.beyond.losses += gap.more_witnesses;
        let acked = message.filter(|message| message.sender == receiver);
        for missing in gap.witnesses {
            let its_own = message.is_some_and(|m| m.sender == missing.receiver);
            if missing.receiver == receiver
                || its_own
                || !(missing.from..missing.until).contains(&seq)
            {
                continue;
            }
            match acked {
                Some(message) => self.reached_nobody(&missing, seq, message, true),
                None => self.lost_relay(&missing, seq, message),
            }
        }
        true
    }

    /// Reports the gaps that nothing explains.
    pub(super) fn report_gaps(&mut self) {
        let gaps = std::mem::take(&mut self.gaps.runs);
        // Each message without an ack that is not remembered may explain one; and so may a frame
        // that had not come when its session was cut amid disorder, which may have been an ack.
        let misplaced = self.misplaced.saturating_add(self.tally.misplaced);
        let mut may_explain = self.beyond.unanswered.saturating_add(misplaced);
        for gap in gaps.into_iter().filter(|g| g.unexplained > 0) {
            if gap.unexplained <= may_explain {
                may_explain -= gap.unexplained;
                self.beyond.gaps += 1;
                continue;
            }
            let skipped = Evidence::Skipped {
                last: self.stated(gap.until - 1),
                witness: gap.witness,
            };
            self.accuse(skipped, None, None, gap.from, gap.witnesses[0].at_ns);
        }
    }
}
