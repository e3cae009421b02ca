//! One session as its own frames show it: where it stands in the numbering, what it sent and is
//! waiting for. A listener that has seen nothing unusual is a few words.

use std::collections::VecDeque;

use super::batch::Proof;
use super::directory::ClientId;
use crate::wire::line::LineBuffer;
use crate::wire::payload::SenderId;

/// [`Session::next`] of a session that is owed nothing: not welcomed yet, or ended.
pub(super) const NEVER: u64 = u64::MAX;

/// Irregular frames remembered for each session, to tell what follows from them.
const EXCUSES: usize = 64;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SenderId,
    pub(super) client: ClientId,
    /// The number that must come next; [`NEVER`] outside welcome … bye.
    pub(super) next: u64,
    /// No number up to this one is owed: the welcome's, and before it the highest that anyone had
    /// seen when the connection began.
    pub(super) joined: u64,
    /// The first number that is still open (skipped, and not yet given up).
    pub(super) oldest_hole: u64,
    pub(super) stage: Stage,
    pub(super) conduct: Conduct,
    /// What it sent; absent for a pure listener.
    pub(super) own: Option<Box<Own>>,
    /// What went wrong; absent nearly always.
    pub(super) trouble: Option<Box<Trouble>>,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waiting for the welcome.
    Connecting,
    /// Between welcome and bye.
    Open,
    /// The bye came: everything is accounted for.
    Finished,
    /// Over; the slot is free.
    Free,
}

/// What the client itself did, which decides what it may expect.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conduct {
    /// It half-closed: a bye is owed.
    pub(super) leaving: bool,
    /// It reset or closed the connection: nothing more is owed.
    pub(super) gone: bool,
    /// Its script stopped reading: being cut off as slow is its own doing.
    pub(super) stopped_reading: bool,
    /// It sent what is no frame: being closed is its own doing.
    pub(super) provoked: bool,
    /// The target said `slow-consumer`.
    pub(super) cut_off: bool,
}

/// What a session sent.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The last k given out.
    pub(super) last_k: u64,
    /// The last k that was acked.
    pub(super) last_acked_k: u64,
    /// When the last message was due.
    pub(super) previous_ns: u64,
    /// Sent and not acked, in order.
    pub(super) pending: VecDeque<Pending>,
    /// Overtaken by a later one's ack: reordered if theirs still comes, else missing.
    pub(super) overtaken: Vec<Pending>,
    /// Answered with an error, or relayed to ourselves: no ack is waited for.
    pub(super) settled_otherwise: VecDeque<u64>,
    /// What a script sent byte for byte.
    pub(super) raw: Option<Raw>,
}

/// A message that waits for its ack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) k: u64,
    pub(super) intended_ns: u64,
    /// Taken before the write.
    pub(super) sent_ns: u64,
    /// The last number this session had seen by then: a cause of it.
    pub(super) seen: u64,
}

/// Bytes a script sent as they stood, read the way a server reads them.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) lines: LineBuffer,
    /// Raw lines that were publishes in order, and wait for their acks.
    pub(super) acks_owed: u64,
}

/// What went wrong in a session, as far as later frames depend on it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Numbers skipped, ascending, apart.
    pub(super) holes: VecDeque<Hole>,
    /// Numbers that an irregular frame stood for: not missed a second time.
    excused: VecDeque<u64>,
    /// A malformed line came last: a gap right behind it follows from it.
    pub(super) after_malformed: bool,
}

/// Numbers `from..until` that were skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) from: u64,
    pub(super) until: u64,
    /// What came instead.
    pub(super) proof: Proof,
    pub(super) at_ns: u64,
}

/// Where a number falls in a session's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The next one, or a later one (then what it skipped is on record).
    Onward,
    /// One that had been skipped.
    Skipped,
    /// One that had come, or that was never owed.
    Behind,
}

impl Session {
    pub(super) fn new(id: SenderId, client: ClientId, joined: u64) -> Self {
        Self {
            id,
            client,
            next: NEVER,
            joined,
            oldest_hole: NEVER,
            stage: Stage::Connecting,
            conduct: Conduct::default(),
            own: None,
            trouble: None,
        }
    }

    pub(super) fn own(&mut self) -> &mut Own {
        self.own.get_or_insert_default()
    }

    pub(super) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// The last number seen (or never owed).
    pub(super) fn seen(&self) -> u64 {
        if self.next == NEVER {
            self.joined
        } else {
            self.next - 1
        }
    }

    /// The first number about which this session may still say something.
    pub(super) fn horizon(&self) -> u64 {
        match self.stage {
            Stage::Connecting => self.joined + 1,
            Stage::Open => self.next.min(self.oldest_hole),
            Stage::Finished | Stage::Free => NEVER,
        }
    }

    /// Takes number `seq` where it belongs; skipped numbers become a hole.
    pub(super) fn place(&mut self, seq: u64, now_ns: u64) -> Place {
        if seq >= self.next {
            if seq > self.next {
                self.skip_to(seq, Proof::Later(seq), now_ns);
            }
            self.next = seq + 1;
            if let Some(trouble) = &mut self.trouble {
                trouble.after_malformed = false;
            }
            return Place::Onward;
        }
        if self.fill(seq) {
            Place::Skipped
        } else {
            Place::Behind
        }
    }

    /// Number `seq` stands in an irregular frame: if it never comes properly, that is no second
    /// violation.
    pub(super) fn excuse(&mut self, seq: u64) {
        if self.fill(seq) || seq < self.next {
            return;
        }
        let trouble = self.trouble();
        if trouble.excused.len() == EXCUSES {
            trouble.excused.pop_front();
        }
        if let Err(at) = trouble.excused.binary_search(&seq) {
            trouble.excused.insert(at, seq);
        }
    }

    /// Numbers `next..seq` did not come.
    pub(super) fn skip_to(&mut self, seq: u64, proof: Proof, now_ns: u64) {
        let from = self.next;
        let trouble = self.trouble();
        if trouble.after_malformed {
            return;
        }
        let mut pieces = Vec::new();
        let mut at = from;
        for &excused in trouble.excused.iter().filter(|&&e| e >= from && e < seq) {
            pieces.push((at, excused));
            at = excused + 1;
        }
        pieces.push((at, seq));
        trouble.excused.retain(|&e| e >= seq);
        for (from, until) in pieces {
            if from < until {
                trouble.holes.push_back(Hole {
                    from,
                    until,
                    proof,
                    at_ns: now_ns,
                });
            }
        }
        self.oldest_hole = self.trouble().oldest();
    }

    /// Takes `seq` out of the hole it lies in.
    fn fill(&mut self, seq: u64) -> bool {
        let Some(trouble) = &mut self.trouble else {
            return false;
        };
        let Some(at) = trouble
            .holes
            .iter()
            .position(|h| h.from <= seq && seq < h.until)
        else {
            return false;
        };
        let hole = trouble.holes.remove(at).expect("it was found");
        for part in [
            Hole {
                from: seq + 1,
                ..hole
            },
            Hole { until: seq, ..hole },
        ] {
            if part.from < part.until {
                trouble.holes.insert(at, part);
            }
        }
        self.oldest_hole = trouble.oldest();
        true
    }

    /// Takes out the holes that begin under `seq`: they are given up.
    pub(super) fn give_up_before(&mut self, seq: u64) -> Vec<Hole> {
        let Some(trouble) = &mut self.trouble else {
            return Vec::new();
        };
        let count = trouble.holes.iter().take_while(|h| h.from < seq).count();
        let given_up = trouble.holes.drain(..count).collect();
        self.oldest_hole = trouble.oldest();
        given_up
    }
}

impl Trouble {
    fn oldest(&self) -> u64 {
        self.holes.front().map_or(NEVER, |h| h.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_at(joined: u64) -> Session {
        let mut session = Session::new(SenderId(1), ClientId(0), joined);
        session.next = joined + 1;
        session.stage = Stage::Open;
        session
    }

    fn holes(session: &Session) -> Vec<(u64, u64)> {
        let trouble = session.trouble.as_ref();
        trouble.map_or(vec![], |t| {
            t.holes.iter().map(|h| (h.from, h.until)).collect()
        })
    }

    #[test]
    fn a_skipped_number_stays_open_until_it_comes() {
        let mut session = open_at(10);
        assert_eq!(session.place(14, 0), Place::Onward);
        assert_eq!(holes(&session), [(11, 14)]);
        assert_eq!(session.horizon(), 11);
        assert_eq!(session.place(12, 0), Place::Skipped);
        assert_eq!(holes(&session), [(11, 12), (13, 14)]);
        assert_eq!(session.place(11, 0), Place::Skipped);
        assert_eq!(session.horizon(), 13);
        assert_eq!(session.place(12, 0), Place::Behind, "it had come");
        assert_eq!(session.place(13, 0), Place::Skipped);
        assert_eq!(session.horizon(), 15);
    }

    #[test]
    fn an_irregular_frame_accounts_for_its_number_and_no_other() {
        let mut session = open_at(0);
        session.excuse(2);
        session.place(4, 0);
        assert_eq!(holes(&session), [(1, 2), (3, 4)]);
        session.excuse(3);
        assert_eq!(
            holes(&session),
            [(1, 2)],
            "an irregular frame in a hole fills it"
        );
    }

    #[test]
    fn a_gap_behind_a_malformed_line_follows_from_it_once() {
        let mut session = open_at(0);
        session.trouble().after_malformed = true;
        session.place(3, 0);
        assert_eq!(holes(&session), []);
        session.place(5, 0);
        assert_eq!(holes(&session), [(4, 5)]);
    }
}
