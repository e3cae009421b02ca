//! Messages that a session has not got: whether it was owed each, and what follows from it.

use std::collections::HashMap;

use super::ends::Rest;
use super::losses::{Doubt, Known, Loss};
use super::messages::Sent;
use super::sequence::SlotId;
use super::track::Parted;
use super::witnesses::NEAR_SLOTS;
use super::{Handle, Inferred};
use crate::anomaly::LossDoubt;
use crate::batch::Message;
use crate::promises::OrderPromise;
use crate::sessions::NEVER;
use crate::violation::LossProof;
use chatbench_wire::payload::SenderId;

/// The first and the last message that a session got of each sender.
pub(super) type Runs = HashMap<SenderId, Option<(u64, u64)>>;

impl Inferred {
    /// Goes through the messages that a session has not got at its end. Returns the number of those
    /// of which nobody knows whether they would have come.
    pub(super) fn account(&mut self, handle: Handle, rest: Rest, now_ns: u64) -> u64 {
        let answered = matches!(rest, Rest::Answered { .. });
        if answered {
            self.skip_own(handle);
        }
        let at = self.tick();
        let session = &mut self.context.sessions[handle];
        session.progress.track.parted =
            (!session.progress.may_have_got_others()).then_some(Parted {
                joined_at: session.progress.joined_at,
                answered,
                at,
            });
        let track = &self.context.sessions[handle].progress.track;
        let mut passed: Vec<(SlotId, u64)> = Vec::new();
        for (&slot, hole) in track.holes.iter().filter(|(_, hole)| !hole.given_up) {
            passed.push((slot, hole.at_ns));
        }
        passed.sort_by_key(|&(id, ..)| self.sequence.label(id));
        let after = self.sequence.after(track.cursor);
        passed.extend(after.map(|(id, _)| (id, now_ns)));
        let message = |slot| self.sequence.get(slot).map(|slot| slot.message);
        let missed = passed.into_iter();
        let missed = missed.filter_map(|(slot, at_ns)| Some((message(slot)?, at_ns)));
        let mut missed: Vec<(Message, u64)> = missed.collect();
        if answered {
            missed.extend(self.messages.unrelayed().map(|message| (message, now_ns)));
            if self.acks_are_echoes() {
                let (sender, own) = (track.id, self.messages.without_slot(track.id));
                missed.extend(own.map(|(k, _)| (Message { sender, k }, now_ns)));
            }
        }
        missed.retain(|(message, _)| track.wants(message.sender));
        if self.acks_are_echoes() {
            // An echo that came altered stands for itself before it stands for anything lost.
            let id = track.id;
            let progress = &self.context.sessions[handle].progress;
            missed.sort_by_key(|(message, _)| message.sender != id || !progress.claims(*message));
        }
        let mut unresolved = 0;
        let mut runs = Runs::new();
        for (message, at_ns) in missed {
            let at_ns = if at_ns == 0 { now_ns } else { at_ns };
            unresolved += self.judge_missed(handle, message, rest, at_ns, &mut runs);
        }
        if self.context.sessions[handle]
            .progress
            .track
            .parted
            .is_some()
        {
            self.doubt_what_is_before(handle, rest, now_ns, &mut runs);
        }
        unresolved
    }

    /// The messages of `sender` that are acked, and that nobody got nor any message after them, get
    /// their places.
    pub(super) fn place_unrelayed(&mut self, sender: SenderId) {
        let ks = self.messages.take_acked(sender);
        for k in ks.clone() {
            let tail = self.sequence.tail();
            self.place_one(tail, Message { sender, k }, NEVER);
        }
        if let Some(k) = ks.last() {
            self.make_place_known(Message { sender, k }, None);
        }
    }

    /// Judges one message that a session has not got. A message that has no place yet, since nobody
    /// got it, may belong anywhere, unless it was owed.
    fn judge_missed(
        &mut self,
        handle: Handle,
        message: Message,
        rest: Rest,
        at_ns: u64,
        runs: &mut Runs,
    ) -> u64 {
        let Some(sent) = self.messages.get(message).copied() else {
            return 0;
        };
        let Some(known) = self.known_of(handle, message, &sent, rest, runs) else {
            return 0;
        };
        if self.is_echo(handle, message.sender) {
            if !known.is_owed() {
                return u64::from(rest == Rest::Unknown);
            }
            self.judge_unechoed(handle, message, (sent.slot, known), at_ns);
            return 0;
        }
        let session = &self.context.sessions[handle];
        let excuses = session.progress.may_have_got_others();
        // If an irregular frame may stand for it, it is decided now whether it was owed, while what
        // that depends on is remembered.
        let owed =
            known.is_owed() || excuses && self.is_owed(&session.progress.track, sent.slot, known);
        if !owed {
            let unknown = rest == Rest::Unknown;
            self.context.batch.tally.optional += u64::from(!unknown);
            self.context.batch.tally.unresolved += u64::from(unknown);
            if !excuses {
                self.doubt(handle, message, known, at_ns);
            }
            return u64::from(unknown);
        }
        if sent.slot == 0 {
            self.place_unrelayed(message.sender);
        }
        let slot = self.messages.get(message).map_or(0, |sent| sent.slot);
        if slot == 0 {
            // It is not known yet whether the target ever took it.
            self.doubt(handle, message, known, at_ns);
        } else if !self.is_excused(handle, slot, message) {
            let doubt = LossDoubt {
                given_up: false,
                by_place: !known.is_owed(),
                by_later: known.proof == LossProof::Later && !known.answered,
                by_close: known.proof == LossProof::Close,
                disordered: false,
            };
            self.lose_to(handle, slot, known.proof, doubt, at_ns);
        }
        0
    }

    /// Knowledge of a message that a session has not got by its end; `None` if it was not to get
    /// it.
    fn known_of(
        &self,
        handle: Handle,
        message: Message,
        sent: &Sent,
        rest: Rest,
        runs: &mut Runs,
    ) -> Option<Known> {
        let session = &self.context.sessions[handle];
        if sent.accepted_at() < session.progress.connecting_at {
            return None;
        }
        let run = *runs
            .entry(message.sender)
            .or_insert_with(|| self.own_run(handle, message.sender));
        let (earlier, later) = within(run, message.k);
        let answered = matches!(rest, Rest::Answered { .. });
        // Its own messages came between its joining and its half-close.
        let own = message.sender == session.progress.track.id && !sent.refused;
        let at_once = self.context.terms.capabilities.at_once;
        let handed_out_at = sent.handed_out_at(at_once);
        let taken = answered && (own || handed_out_at < session.progress.leaving_at);
        Some(Known {
            joined: own
                || session.progress.joined_at < sent.sent_at
                || earlier
                || self.is_taken_before(&session.progress.track, message.sender),
            still_there: taken || later,
            answered,
            proof: match rest {
                _ if later => LossProof::Later,
                Rest::Answered { by_bye: true } => LossProof::Bye,
                _ => LossProof::Close,
            },
        })
    }

    fn doubt(&mut self, handle: Handle, message: Message, known: Known, at_ns: u64) {
        let track = &mut self.context.sessions[handle].progress.track;
        track.in_doubt = true;
        self.settling.doubt(Doubt {
            message,
            session: track.id,
            receiver: track.client,
            known,
            at_ns,
        });
    }

    /// Leaves in doubt the messages a little before a session's start, which were on their way when
    /// it joined: others may show that they come after something that the session got.
    fn doubt_what_is_before(&mut self, handle: Handle, rest: Rest, now_ns: u64, runs: &mut Runs) {
        let track = &self.context.sessions[handle].progress.track;
        let slots = self.sequence.back_from(track.start).take(NEAR_SLOTS);
        let messages = slots.filter_map(|at| self.sequence.get(at).map(|slot| slot.message));
        let messages: Vec<Message> = messages.filter(|m| track.wants(m.sender)).collect();
        for message in messages {
            let sent = self.messages.get(message).copied();
            let known = sent.and_then(|sent| self.known_of(handle, message, &sent, rest, runs));
            if let Some(known) = known {
                self.doubt(handle, message, known, now_ns);
            }
        }
    }

    /// A session has passed `slot` so long ago that it is not waited for any longer.
    pub(super) fn give_up(&mut self, handle: Handle, slot: SlotId, runs: &mut Runs) {
        let Some(message) = self.sequence.get(slot).map(|s| s.message) else {
            return;
        };
        let Some(sent) = self.messages.get(message).copied() else {
            return;
        };
        let Some(known) = self.known_of(handle, message, &sent, Rest::Unknown, runs) else {
            // The target had taken it before the session began to connect. Where another shard was
            // told so, it may have got its place later.
            let is_shared = self.sharing.is_some();
            if let Some(hole) = self.session(handle).progress.track.holes.get_mut(&slot) {
                hole.given_up |= is_shared;
            }
            return;
        };
        let is_echo = self.is_echo(handle, message.sender);
        if is_echo && let Some(hole) = self.session(handle).progress.track.holes.get_mut(&slot) {
            hole.given_up = true; // whether its ack is missing is judged at the end
            return;
        }
        if !known.still_there && !self.promises_order(OrderPromise::Total) {
            return; // nothing says that it cannot come
        }
        let session = &mut self.context.sessions[handle];
        let Some(hole) = session.progress.track.holes.get_mut(&slot) else {
            return;
        };
        hole.given_up = true;
        session.progress.track.gave_up = true;
        let at_ns = hole.at_ns;
        let doubt = LossDoubt {
            given_up: true,
            by_place: !known.is_owed(),
            by_later: true,
            by_close: false,
            disordered: false,
        };
        let known = Known {
            still_there: true,
            ..known
        };
        if !self.is_owed(&self.context.sessions[handle].progress.track, slot, known) {
            self.context.batch.tally.optional += 1;
        } else if !self.is_excused(handle, slot, message) {
            if let Some(hole) = self.session(handle).progress.track.holes.get_mut(&slot) {
                hole.lost = true;
            }
            self.lose_to(handle, slot, LossProof::Later, doubt, at_ns);
        }
    }

    /// `handle` was owed `slot`, and it will not come, as far as is known.
    fn lose_to(
        &mut self,
        handle: Handle,
        slot: SlotId,
        proof: LossProof,
        doubt: LossDoubt,
        at_ns: u64,
    ) {
        let track = &self.context.sessions[handle].progress.track;
        let loss = Loss {
            slot,
            session: track.id,
            receiver: track.client,
            proof,
            doubt,
            at_ns,
        };
        self.lose(loss);
    }

    /// The first and the last message of `sender` that a session got, where the messages between
    /// were owed between them.
    fn own_run(&self, handle: Handle, sender: SenderId) -> Option<(u64, u64)> {
        if !self.promises_order(OrderPromise::Fifo) {
            return None;
        }
        let track = &self.context.sessions[handle].progress.track;
        let sender = self.messages.sender(sender)?;
        let got = |k: &u64| {
            let slot = sender.get(*k).map_or(0, |sent| sent.slot);
            slot != 0 && track.got(slot, &self.sequence)
        };
        Some((sender.ks().find(got)?, sender.ks().rev().find(got)?))
    }
}

/// Whether message `k` lies after the first, and before the last of a run.
fn within(run: Option<(u64, u64)>, k: u64) -> (bool, bool) {
    run.map_or((false, false), |(first, last)| (first < k, k < last))
}
