//! The ends of a session: its welcome, its bye, and every other way in which it can end.

use super::{Event, Handle, Numbered};
use crate::anomaly::{Anomaly, Missing};
use crate::batch::Ended;
use crate::flags::Parting;
use crate::ledger::Ending;
use crate::sessions::{NEVER, Session, Stage};
use crate::stream::{Hole, Moves, Stream};
use crate::violation::{Evidence, NoFrame, Quote};

impl Numbered {
    /// The time is up and neither a welcome came nor anything else: J1 is broken, and the session
    /// is owed everything from the first number on that no one has seen yet.
    pub(crate) fn no_welcome(&mut self, handle: Handle, now_ns: u64) {
        if self.session(handle).stage == Stage::Connecting {
            self.context
                .certain(Evidence::NeverWelcomed, handle, None, now_ns);
            self.open_at(handle, self.context.directory.highest_seq());
        }
    }

    pub(super) fn welcome(
        &mut self,
        handle: Handle,
        client_ip: &str,
        seq: u64,
        now_ns: u64,
    ) -> Event {
        if self.session(handle).stage != Stage::Connecting {
            return self.malformed(handle, NoFrame::SecondWelcome, 0, now_ns);
        }
        self.context.welcomed(handle, client_ip, now_ns);
        let session = &mut self.context.sessions[handle];
        let joined = session.progress.joined;
        if seq.saturating_add(session.progress.added) < joined {
            session.progress.added = self.context.directory.numbering_of_welcome(joined, seq);
            // The number is of no known numbering: it is wrong, or there is another numbering.
            let unknown = seq.saturating_add(session.progress.added) < joined;
            session.progress.trouble().welcomed_at = unknown.then_some(seq);
        }
        let seq = seq.saturating_add(self.session(handle).progress.added);
        let traffic = self.context.unacked > 0 || seq > joined;
        self.context.batch.coverage.joins_during_traffic += u64::from(traffic);
        self.open_at(handle, seq);
        self.session(handle).progress.welcomed_ns = now_ns;
        Event::Welcome
    }

    /// A frame states number `seq`. If the session was welcomed at a number that is too small, this
    /// one shows whether the numbers continue, or began anew.
    pub(super) fn settle_numbering(&mut self, handle: Handle, seq: u64, bye: bool, now_ns: u64) {
        let session = &mut self.context.sessions[handle];
        let trouble = session.progress.trouble.as_deref_mut();
        let Some(welcome) = trouble.and_then(|trouble| trouble.welcomed_at.take()) else {
            return;
        };
        let known = session.progress.joined - session.progress.added;
        // The next number in the known numbering, or its last.
        if seq > known || bye && seq == known {
            return;
        }
        let Some((added, is_new)) = self
            .context
            .directory
            .begin_numbering(session.progress.joined)
        else {
            return;
        };
        session.progress.added = added;
        session.progress.joined = added + welcome;
        session.progress.next = session.progress.joined + 1;
        if is_new {
            let anew = Evidence::NumberedAnew {
                welcome,
                known,
                broken_off: 0,
            };
            let client = session.client;
            let violation = self.context.violation(anew, client, None, now_ns);
            let anew = Anomaly::NumberedAnew { added, violation };
            self.context.batch.anomalies.push(anew);
        }
    }

    /// Everything after `seq` is owed, but nothing that was known before the connection began.
    pub(super) fn open_at(&mut self, handle: Handle, seq: u64) {
        let session = self.session(handle);
        session.progress.joined = session.progress.joined.max(seq);
        session.progress.next = session.progress.joined + 1;
        session.stage = Stage::Open;
    }

    /// A numbered frame before the welcome: J1 is broken, and the session begins where it does.
    pub(super) fn require_welcome(
        &mut self,
        handle: Handle,
        frame: &'static str,
        due: u64,
        now_ns: u64,
    ) {
        if self.session(handle).stage != Stage::Connecting {
            return;
        }
        if self.session(handle).progress.is_after_malformed() {
            // The welcome came malformed, which is on record, and with it perhaps an ack.
            self.session(handle).progress.trouble().swallow();
        } else {
            self.context
                .certain(Evidence::FirstFrame(frame), handle, None, now_ns);
        }
        self.open_at(handle, due.saturating_sub(1));
    }

    pub(super) fn bye(&mut self, handle: Handle, seq: u64, now_ns: u64) -> Event {
        self.require_welcome(handle, "bye", seq + 1, now_ns);
        let session = &mut self.context.sessions[handle];
        if session.stage == Stage::Finished {
            return self.malformed(handle, NoFrame::SecondBye, 0, now_ns);
        }
        if !session.flags.leaving {
            self.context.unasked_bye(handle);
        }
        let session = &mut self.context.sessions[handle];
        let last = session.progress.seen();
        let mut moves = Moves::new(session.id, now_ns);
        session.progress.close(seq, now_ns, &mut moves);
        let added = session.progress.added;
        if seq < last {
            let too_low = Evidence::ByeTooLow {
                last: seq - added,
                came: last - added,
            };
            self.context.certain(too_low, handle, None, now_ns);
        }
        self.explain(handle, moves);
        self.give_up_holes(handle, NEVER);
        let trouble = self.session(handle).progress.trouble.as_ref();
        // Frames that a malformed line swallowed may have been acks.
        let swallowed = trouble.map_or(0, |t| t.swallowed);
        self.context.report_unacked(handle, swallowed, now_ns);
        let session = &mut self.context.sessions[handle];
        if session
            .progress
            .trouble
            .as_ref()
            .is_some_and(|t| t.gave_up())
        {
            let receiver = session.id;
            self.context
                .batch
                .anomalies
                .push(Anomaly::HadAll { receiver });
        }
        session.progress.joined = session.progress.seen();
        session.progress.next = NEVER;
        session.stage = Stage::Finished;
        self.context.left(handle);
        Event::Bye
    }

    /// The connection is over; `unread` are its last bytes without a line end. The handle is free.
    pub(crate) fn ended(&mut self, handle: Handle, ending: Ending, unread: &[u8], now_ns: u64) {
        let session = &mut self.context.sessions[handle];
        let (id, stage) = (session.id, session.stage);
        // The ack of one may be among the early frames.
        let has_early = session.progress.has_early();
        let outbox = session.outbox.as_ref();
        let in_flight = outbox.is_some_and(|outbox| has_early || !outbox.is_all_acked());
        let last_seq = self
            .context
            .directory
            .highest_seq()
            .max(session.progress.seen());
        match stage {
            Stage::Finished => {
                if !unread.is_empty() {
                    let what = NoFrame::AfterBye(Quote::of(unread));
                    self.malformed(handle, what, 0, now_ns);
                }
            }
            Stage::Open => {
                let highest_seq = self.context.directory.highest_seq();
                let highest_seq = self
                    .context
                    .directory
                    .highest_of(session.progress.seen(), highest_seq);
                let unseen = session.progress.unseen(highest_seq);
                let mut moves = Moves::new(id, now_ns);
                self.leave_undecided(handle, &mut moves);
                self.session(handle).progress.broke_off(&mut moves);
                self.explain(handle, moves);
                self.give_up_holes(handle, NEVER);
                self.report_maybe_unacked(handle, now_ns);
                self.ended_early(handle, ending, unseen, now_ns);
            }
            Stage::Connecting => {
                self.report_maybe_unacked(handle, now_ns);
                let stream = &self.session(handle).progress;
                let (malformed, seen) = (stream.is_after_malformed(), stream.seen());
                self.context
                    .parted_early(handle, ending, malformed, seen, now_ns);
            }
            Stage::Free => {}
        }
        self.context.drop_pending(handle);
        self.session(handle).progress = Stream::new(last_seq, 0);
        self.context.sessions.end(handle);
        self.context.batch.ended.push(Ended {
            session: id,
            last_seq,
            in_flight,
        });
    }

    /// The end of a session that got no bye, with `unseen` numbers that it had not reached.
    fn ended_early(&mut self, handle: Handle, ending: Ending, unseen: u64, now_ns: u64) {
        let Session {
            flags, progress, ..
        } = &self.context.sessions[handle];
        // The malformed line may have been the bye.
        let parting = flags.parting(ending, progress.is_after_malformed());
        let seen = progress.seen();
        let named = self.context.is_named();
        let tally = &mut self.context.batch.tally;
        match parting {
            Parting::Gone | Parting::CutOff { .. } | Parting::MayBeSlow => {
                tally.optional = tally.optional.saturating_add(unseen);
            }
            Parting::TimeUp | Parting::NoGoodbye | Parting::HungUp => {
                tally.unfinished += u64::from(parting == Parting::TimeUp && !named);
                tally.unresolved = tally.unresolved.saturating_add(unseen);
            }
            Parting::Excused => {}
        }
        self.context.parted(handle, (parting, ending), seen, now_ns);
    }

    /// The session is cut, and other frames that had been overtaken did come: those that have not
    /// come by now may have been on their way.
    fn leave_undecided(&mut self, handle: Handle, moves: &mut Moves) {
        let plausible = self.plausible(handle);
        let session = &mut self.context.sessions[handle];
        if session
            .progress
            .trouble
            .as_ref()
            .is_none_or(|trouble| !trouble.came_late)
        {
            return;
        }
        session.progress.take_at_their_word(plausible, moves);
        let holes = std::mem::take(&mut session.progress.trouble().holes);
        let missing = holes.values().map(|hole| hole.until - hole.from);
        let tally = &mut self.context.batch.tally;
        tally.misplaced = missing.fold(tally.misplaced, u64::saturating_add);
    }

    /// Reports the holes that begin under `seq` as missing.
    pub(super) fn give_up_holes(&mut self, handle: Handle, seq: u64) {
        let session = &mut self.context.sessions[handle];
        let receiver = session.id;
        let mut moves = Moves::new(receiver, 0);
        let disordered = session
            .progress
            .trouble
            .as_ref()
            .is_some_and(|t| t.came_late);
        if let Some(trouble) = &mut session.progress.trouble {
            let undecided = std::mem::take(&mut trouble.undecided);
            let tally = &mut self.context.batch.tally;
            tally.after_wrong = tally.after_wrong.saturating_add(undecided);
        }
        for Hole {
            from,
            until,
            proof,
            at_ns,
        } in session.progress.give_up_before(seq, &mut moves)
        {
            let missing = Missing {
                receiver,
                from,
                until,
                proof,
                given_up: seq != NEVER,
                disordered,
                at_ns,
            };
            self.context.batch.anomalies.push(Anomaly::Missing(missing));
        }
        self.explain(handle, moves);
    }
}
