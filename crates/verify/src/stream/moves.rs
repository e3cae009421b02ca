//! Moves: conclusions that later frames of a session allow about earlier ones.

use super::trouble::Early;
use crate::anomaly::{ClaimDoubt, Contest, Displaced, LastFrame, Open, Since};
use chatbench_wire::payload::SenderId;

/// Everything that frames revealed, in order.
#[derive(Debug)]
pub(crate) struct Moves {
    /// The session whose frames they are.
    receiver: SenderId,
    /// When the latest came.
    now_ns: u64,
    list: Vec<Move>,
}

/// Something that a frame revealed about an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The early frame was what its number said.
    Confirmed(Early),
    /// Something departs from the expected course, and is judged when this number is settled.
    Open(u64, Open),
}

impl Moves {
    pub(crate) const fn new(receiver: SenderId, now_ns: u64) -> Self {
        Self {
            receiver,
            now_ns,
            list: Vec::new(),
        }
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = Move> {
        self.list.into_iter()
    }

    /// Withdraws the displacement of number `low`, if one was found.
    pub(crate) fn forget_displaced(&mut self, low: u64) {
        let is_it = |m: &Move| matches!(m, Move::Open(_, Open::Displaced(d)) if d.low == low);
        self.list.retain(|m| !is_it(m));
    }

    pub(super) fn confirmed(&mut self, early: Early) {
        self.list.push(Move::Confirmed(early));
    }

    /// The number of an early frame came again, or can never have been its own; or, if there is
    /// `doubt`, nothing shows what it was.
    pub(super) fn unexplained(&mut self, early: Early, doubt: ClaimDoubt) {
        let Some(claim) = early.carried.message else {
            return; // a script's text, which has no number of its own
        };
        let contest = Contest {
            receiver: self.receiver,
            seq: early.seq,
            claim,
            due: Some(early.due),
            truth: None,
            joined: None,
            doubt,
            at_ns: early.carried.at_ns,
        };
        self.list.push(Move::Open(early.due, Open::Claim(contest)));
    }

    /// The stream broke off after the early frame: its number is wrong, or the numbers from `from`
    /// up to it were lost.
    pub(super) fn last_frame(&mut self, early: Early, from: u64) {
        let last = LastFrame {
            receiver: self.receiver,
            seq: early.seq,
            message: early.carried.message,
            due: early.due,
            from,
            at_ns: early.carried.at_ns,
        };
        self.list.push(Move::Open(early.due, Open::LastFrame(last)));
    }

    /// Number `low` came after the early frame; `disorder` as [`Displaced`] has it.
    pub(super) fn overtook(&mut self, early: &Early, low: u64, disorder: Option<u64>) {
        let since = Since {
            seq: early.seq,
            at_ns: early.carried.at_ns,
        };
        let (own, fifo) = (early.carried.is_ack(), early.overtook);
        self.displaced((low, early.seq), own, fifo, since, disorder);
    }

    /// `low` and `high` came the other way round.
    pub(super) fn displaced(
        &mut self,
        (low, high): (u64, u64),
        own: bool,
        fifo: bool,
        since: Since,
        disorder: Option<u64>,
    ) {
        let displaced = Displaced {
            receiver: self.receiver,
            low,
            high,
            own,
            fifo,
            since,
            disorder,
            at_ns: self.now_ns,
        };
        self.list.push(Move::Open(high, Open::Displaced(displaced)));
    }
}
