//! The ends of a session: how it joins, how it leaves, and what it was owed between.

use std::collections::BTreeMap;

use super::excuses::Trouble;
use super::track::Track;
use super::{Event, Handle, Inferred};
use crate::anomaly::Anomaly;
use crate::batch::{Ended, NO_NUMBER};
use crate::bounds;
use crate::flags::Parting;
use crate::ledger::Ending;
use crate::public::Notice;
use crate::sessions::{NEVER, Stage};
use crate::violation::{Evidence, NoFrame, Quote};
use chatbench_wire::payload::SenderId;

/// The reason why no more deliveries come to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It left, and the target answered: all that the target had taken by then was owed. `by_bye`
    /// if the target said so itself.
    Answered { by_bye: bool },
    /// It is owed nothing more.
    Gone,
    /// Nobody knows.
    Unknown,
}

impl Inferred {
    /// A session got something: it has joined. Connections are taken in the order in which they
    /// were made, so every session whose connection stood before this one began to connect has
    /// joined, too.
    fn proves_join(&mut self, handle: Handle, now_ns: u64) {
        let at = self.tick();
        let session = &mut self.context.sessions[handle];
        session.progress.joined_at = at;
        session.progress.first_ns = now_ns;
        let connecting_at = session.progress.connecting_at;
        self.joined_before(connecting_at, at, now_ns);
        if self.context.terms.capabilities.joins_in_order {
            self.make_known(Notice::Joined {
                connecting_at,
                at,
                now_ns,
            });
        }
    }

    /// A session that began to connect at the moment `connecting_at` had joined at the moment `at`.
    pub(super) fn joined_before(&mut self, connecting_at: u64, at: u64, now_ns: u64) {
        let in_order = self.context.terms.capabilities.joins_in_order;
        let mut unjoined = std::mem::take(&mut self.unjoined);
        unjoined.retain(|&handle| {
            let other = &mut self.context.sessions[handle];
            if other.progress.joined_at == NEVER && other.progress.connected_at < connecting_at {
                // The welcome itself states from when on it counts.
                if in_order {
                    other.progress.joined_at = at;
                    other.progress.first_ns = now_ns;
                    other.update_may_compare();
                    return false;
                }
            }
            other.progress.joined_at == NEVER
        });
        self.unjoined = unjoined;
    }

    pub(super) fn welcome(&mut self, handle: Handle, client_ip: &str, now_ns: u64) -> Event {
        if self.session(handle).stage != Stage::Connecting {
            return self.malformed(handle, NoFrame::SecondWelcome, 0, now_ns);
        }
        self.context.welcomed(handle, client_ip, now_ns);
        let traffic = self.context.unacked > 0;
        self.context.batch.coverage.joins_during_traffic += u64::from(traffic);
        self.session(handle).stage = Stage::Open;
        self.proves_join(handle, now_ns);
        Event::Welcome
    }

    pub(crate) fn no_welcome(&mut self, handle: Handle, now_ns: u64) {
        self.catch_up();
        if self.session(handle).stage == Stage::Connecting {
            self.context
                .certain(Evidence::NeverWelcomed, handle, None, now_ns);
            self.session(handle).stage = Stage::Open;
        }
    }

    /// A frame that only sessions that have joined get.
    pub(super) fn require_welcome(&mut self, handle: Handle, frame: &'static str, now_ns: u64) {
        let session = self.session(handle);
        if session.stage == Stage::Connecting {
            session.stage = Stage::Open;
            // A welcome that came malformed is on record.
            if !session.progress.is_after_malformed() {
                self.context
                    .certain(Evidence::FirstFrame(frame), handle, None, now_ns);
            }
        }
        let session = self.session(handle);
        if let Some(trouble) = &mut session.progress.trouble {
            trouble.after_malformed = false;
        }
        if session.progress.joined_at == NEVER {
            let traffic = self.context.unacked > 0;
            self.context.batch.coverage.joins_during_traffic += u64::from(traffic);
            self.proves_join(handle, now_ns);
        }
    }

    pub(super) fn bye(&mut self, handle: Handle, now_ns: u64) -> Event {
        self.require_welcome(handle, "bye", now_ns);
        let session = &mut self.context.sessions[handle];
        if session.stage == Stage::Finished {
            return self.malformed(handle, NoFrame::SecondBye, 0, now_ns);
        }
        let rest = if session.flags.leaving {
            Rest::Answered { by_bye: true }
        } else {
            self.context.unasked_bye(handle);
            Rest::Gone
        };
        self.left(handle, rest, now_ns);
        self.session(handle).stage = Stage::Finished;
        self.over.push(handle);
        Event::Bye
    }

    /// The target has said everything that it will say to a session.
    fn left(&mut self, handle: Handle, rest: Rest, now_ns: u64) {
        self.took_all(handle, rest);
        self.account(handle, rest, now_ns);
        let track = &self.session(handle).progress.track;
        if matches!(rest, Rest::Answered { .. }) && track.gave_up {
            let receiver = track.id;
            self.context
                .batch
                .anomalies
                .push(Anomaly::HadAll { receiver });
        }
        let trouble = self.session(handle).progress.trouble.as_deref();
        let swallowed = trouble.map_or(0, Trouble::malformed_room);
        self.report_unacked(handle, swallowed, now_ns);
        self.context.left(handle);
    }

    /// Where no acks are promised, an answered half-close proves that the target had taken
    /// everything that was sent before it.
    fn took_all(&mut self, handle: Handle, rest: Rest) {
        let session = &self.context.sessions[handle];
        let excused = session.flags.may_not_have_arrived();
        if matches!(rest, Rest::Answered { .. }) && !self.promises_acks() && !excused {
            let id = session.id;
            let at = self.tick();
            self.messages.took_all(id, at);
            self.make_known(Notice::TookAll { session: id, at });
        }
    }

    /// The connection is over; `unread` are its last bytes without a line end. The handle is free.
    pub(crate) fn ended(&mut self, handle: Handle, ending: Ending, unread: &[u8], now_ns: u64) {
        self.catch_up();
        let session = &self.context.sessions[handle];
        let (stage, flags) = (session.stage, session.flags);
        let says_bye = self.context.terms.capabilities.bye;
        match stage {
            Stage::Finished if !unread.is_empty() => {
                let what = NoFrame::AfterBye(Quote::of(unread));
                self.malformed(handle, what, 0, now_ns);
            }
            // A half-close is answered by the rest of what is owed, then close (C3).
            Stage::Open if !says_bye && flags.leaving && ending == Ending::Eof && !flags.gone => {
                self.left(handle, Rest::Answered { by_bye: false }, now_ns);
            }
            Stage::Open => self.broke_off(handle, ending, now_ns),
            Stage::Connecting => {
                let malformed = self.session(handle).progress.is_after_malformed();
                self.context
                    .parted_early(handle, ending, malformed, NO_NUMBER, now_ns);
            }
            Stage::Finished | Stage::Free => {}
        }
        self.context.drop_pending(handle);
        self.put_away(handle);
    }

    /// The end of a session that was open.
    fn broke_off(&mut self, handle: Handle, ending: Ending, now_ns: u64) {
        let session = self.session(handle);
        let parting = session
            .flags
            .parting(ending, session.progress.is_after_malformed());
        let rest = match parting {
            Parting::Gone | Parting::CutOff { .. } | Parting::MayBeSlow => Rest::Gone,
            Parting::TimeUp | Parting::NoGoodbye | Parting::HungUp | Parting::Excused => {
                Rest::Unknown
            }
        };
        let unresolved = self.account(handle, rest, now_ns);
        // Where the target sends no bye, a session that got everything that was sent has got all
        // that it was owed.
        let is_unfinished = unresolved > 0 || self.context.terms.capabilities.bye;
        if parting == Parting::TimeUp && is_unfinished {
            self.context.unfinished();
        }
        self.context
            .parted(handle, (parting, ending), NO_NUMBER, now_ns);
    }

    /// Frees the slot of a session that is over; what it got is still needed.
    fn put_away(&mut self, handle: Handle) {
        let track = {
            self.context.sessions.end(handle);
            let progress = &mut self.context.sessions[handle].progress;
            progress.trouble = None;
            let track = &mut progress.track;
            // It is remembered as long as its own last messages are.
            while let Some(next) = self.sequence.get(self.sequence.next(track.cursor))
                && !track.wants(next.sender())
            {
                track.cursor = self.sequence.next(track.cursor);
            }
            Track {
                holes: std::mem::take(&mut track.holes),
                ahead: BTreeMap::new(),
                fills: std::mem::take(&mut track.fills),
                ..*track
            }
        };
        self.over.retain(|&other| other != handle);
        self.unjoined.retain(|&other| other != handle);
        self.sender_ended(track.id);
        self.make_known(Notice::Ended { session: track.id });
        if track.in_doubt || self.sequence.label(track.cursor) > self.judged_label() {
            self.past.push_back(track);
        } else {
            self.addresses.done(track.id);
        }
        if self.past.len() > bounds::past_sessions()
            && let Some(oldest) = self.past.pop_front()
        {
            self.addresses.done(oldest.id);
            self.settling.witness_forgotten = true;
            self.context.batch.tally.uncompared += 1;
        }
    }

    /// A session of this shard or another will send nothing more.
    pub(super) fn sender_ended(&mut self, session: SenderId) {
        let (forgotten, unjudged) = self.messages.ended(session);
        self.context.batch.tally.uncompared += unjudged;
        for forgotten in forgotten {
            self.forget(forgotten);
        }
    }

    /// Forgets a session that nothing more will be said of.
    pub(super) fn forget(&mut self, session: SenderId) {
        self.addresses.done(session);
        self.context.batch.ended.push(Ended {
            session,
            last_seq: 0,
            in_flight: false,
        });
    }
}
