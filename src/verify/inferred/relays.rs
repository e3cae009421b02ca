//! Relays: is the message what was sent, and is this receiver to get it now?

use super::messages::Sent;
use super::sequence::SlotId;
use super::settle::Doubt;
use super::track::{Ahead, Fill, Hole};
use super::{Event, Handle, Inferred, is_late};
use crate::verify::anomaly::{Anomaly, Open};
use crate::verify::batch::{Message, NO_NUMBER};
use crate::verify::bounds;
use crate::verify::directory::{RawFate, hash_of};
use crate::verify::promises::{OrderPromise, RelayPromise};
use crate::verify::sessions::{NEVER, Stage};
use crate::verify::violation::{Evidence, Quote, WrongRelay};
use crate::wire::payload::{self, Header, NotIntact};
use crate::wire::seen::Relay;

impl Inferred {
    pub(super) fn relay(&mut self, handle: Handle, heard: &Relay<'_>, now_ns: u64) -> Event {
        if self.session(handle).stage == Stage::Finished {
            let what = WrongRelay::AfterBye(Quote::of(&heard.text));
            return self.irregular(what, handle, heard, None, now_ns);
        }
        self.require_welcome(handle, "relay", now_ns);
        let terms = &self.context.terms;
        let header = match payload::decode(&heard.text, terms.seed, terms.run) {
            Ok(header) => header,
            Err(NotIntact::Altered) => {
                let what = WrongRelay::Altered(Quote::of(&heard.text));
                let claim = payload::claimed(&heard.text)
                    .map(|(sender, k)| Message { sender, k })
                    .filter(|claim| self.messages.get(*claim).is_some());
                return self.irregular(what, handle, heard, claim, now_ns);
            }
            Err(NotIntact::Foreign) => return self.foreign(handle, heard, now_ns),
        };
        if header.run != terms.run {
            let what = WrongRelay::OtherRun(header.run);
            return self.irregular(what, handle, heard, None, now_ns);
        }
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        if !self.context.directory.was_opened(header.sender) || header.k == 0 {
            let what = WrongRelay::NoSuchSender(header.sender);
            return self.irregular(what, handle, heard, None, now_ns);
        }
        let session = self.session(handle);
        if !session.progress.track.wants(header.sender) {
            return self.echoed(handle, message, now_ns);
        }
        let attribution = self
            .context
            .directory
            .check_address(header.sender, &heard.from);
        let clean = attribution.is_ok();
        if let Err(truth) = attribution {
            let me = self.session(handle).progress.track.id;
            let directory = &self.context.directory;
            let what = WrongRelay::WrongAddress {
                claimed: (*heard.from).into(),
                is_receivers: directory.check_address(me, &heard.from).is_ok(),
                truth: truth.into(),
            };
            self.report_irregular(what, handle, heard, Some(message), now_ns);
        }
        self.intact(handle, heard, &header, clean, now_ns)
    }

    /// A relay whose message is intact, of this run, and fit for this receiver.
    fn intact(
        &mut self,
        handle: Handle,
        heard: &Relay<'_>,
        header: &Header,
        clean: bool,
        now_ns: u64,
    ) -> Event {
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        let Some(sent) = self.messages.get(message).copied() else {
            return self.long_ago(handle, header, heard, now_ns);
        };
        let connecting_at = self.session(handle).progress.connecting_at;
        let duplicate = sent.slot != 0 && {
            let track = &self.context.sessions[handle].progress.track;
            track.passed(sent.slot, &self.sequence)
        };
        let track = &self.context.sessions[handle].progress.track;
        let given_up = track.holes.get(&sent.slot).is_some_and(|h| h.given_up);
        if (duplicate || given_up) && track.is_left_behind(sent.slot, &self.sequence) {
            self.withdraw_loss(handle, message, sent.slot);
            return self.out_of_the_window();
        }
        if duplicate {
            return self.again(handle, message, now_ns);
        }
        if given_up && let Some(event) = self.after_all(handle, message, &sent, now_ns) {
            return event;
        }
        if sent.accepted_at() < connecting_at {
            self.before_its_time(handle, message, now_ns);
            return Event::Other;
        }
        if sent.refused {
            self.relayed_though_refused(message, now_ns);
        }
        let at = self.tick();
        let slot = match sent.slot {
            0 => self.place(handle, message, at),
            slot => slot,
        };
        let fifo = self.promises_order(OrderPromise::Fifo);
        self.messages.arrived(message, at, fifo);
        self.pass_to(handle, slot, at, now_ns);
        self.deliver(handle, slot, &sent, clean.then_some(heard), now_ns)
    }

    /// The slot of a message that nobody has had. What its sender sent before it and nobody has
    /// had either gets one, too: it is to come before it.
    fn place(&mut self, handle: Handle, message: Message, at: u64) -> SlotId {
        let total = self.promises_order(OrderPromise::Total);
        let track = &self.context.sessions[handle].progress.track;
        let newcomer = track.cursor == track.start;
        let mut after = if total && !newcomer {
            self.skip_own(handle);
            self.place_own(handle);
            self.context.sessions[handle].progress.track.cursor
        } else {
            self.sequence.tail()
        };
        let to_place = self.messages.take_unplaced(message.sender, message.k);
        for k in to_place {
            let message = Message { k, ..message };
            after = self.place_one(after, message, at);
        }
        after
    }

    /// The messages of `handle` that are acked, and that nobody has had, come before what it reads
    /// next; unless it gets them, too: then that says where they stand.
    fn place_own(&mut self, handle: Handle) {
        let track = &self.context.sessions[handle].progress.track;
        if track.echo {
            return;
        }
        let (sender, mut after) = (track.id, track.cursor);
        for k in self.messages.take_acked(sender) {
            after = self.place_one(after, Message { sender, k }, NEVER);
        }
        self.skip_own(handle);
    }

    /// Puts `message` after slot `after`. Whoever has passed that place has missed it.
    pub(super) fn place_one(&mut self, after: SlotId, message: Message, at: u64) -> SlotId {
        let Some(&sent) = self.messages.get(message) else {
            return after;
        };
        // A sender's messages stand in the order sent, whatever comes first.
        let last = message.k.checked_sub(1).map(|k| Message { k, ..message });
        let last = last
            .and_then(|last| self.messages.get(last))
            .map(|m| m.slot);
        let after = last.map_or(after, |last| {
            if self.sequence.label(last) > self.sequence.label(after) {
                last
            } else {
                after
            }
        });
        let id = self.sequence.insert_after(after, message);
        if let Some(slot) = self.sequence.get_mut(id) {
            slot.intended_ns = sent.intended_ns;
            slot.sent_ns = sent.sent_ns.max(sent.intended_ns);
            slot.accepted_at = sent.accepted_at().min(at);
            slot.until = sent.seen;
        }
        if let Some(sent) = self.messages.get_mut(message) {
            sent.slot = id;
        }
        self.doubt_of_leavers(message, sent.sent_at);
        let label = self.sequence.label(id);
        self.settling.placed(id, &self.sequence);
        if id != self.sequence.tail() {
            let open = self.context.sessions.iter_mut();
            let tracks = open
                .map(|session| &mut session.progress.track)
                .chain(&mut self.past);
            for track in tracks {
                if self.sequence.label(track.cursor) > label
                    && self.sequence.label(track.start) < label
                    && track.wants(message.sender)
                {
                    track.holes.insert(id, Hole::default());
                }
            }
        }
        self.context.kept_since_flush += 1;
        id
    }

    /// A message that was sent before a session was over has got a place, after all that the
    /// session got, or before that, or between. That is a proposal: others may show where it
    /// belongs, and that the session was owed it.
    fn doubt_of_leavers(&mut self, message: Message, sent_at: u64) {
        let in_order = self.context.terms.capabilities.joins_in_order;
        let over = self
            .over
            .iter()
            .map(|&handle| &self.context.sessions[handle].progress.track);
        let past = self.past.iter().rev();
        // Whoever left before it was sent was put away before those who left after that.
        let past = past.take_while(|track| track.parted.is_none_or(|parted| parted.at > sent_at));
        for track in over.chain(past) {
            let parted = track.parted.filter(|parted| parted.at > sent_at);
            if let Some(parted) = parted.filter(|_| track.wants(message.sender)) {
                let joined =
                    parted.joined_at < sent_at || in_order && track.later <= message.sender;
                let doubt = Doubt::of_parted(track, parted, message, joined);
                self.settling.doubt(doubt);
            }
        }
    }

    /// `handle` gets `slot` now: what lies between is a hole, or a hole is filled.
    fn pass_to(&mut self, handle: Handle, slot: SlotId, at: u64, now_ns: u64) {
        let total = self.promises_order(OrderPromise::Causal);
        let label = self.sequence.label(slot);
        let start = self.context.sessions[handle].progress.track.start;
        if label <= self.sequence.label(start) && !self.begins_before(handle, slot) {
            self.context.batch.tally.uncompared += 1;
            return;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        if label > self.sequence.label(track.cursor) {
            let mut passed = self.sequence.next(track.cursor);
            while passed != slot && passed != 0 {
                let Some(between) = self.sequence.get(passed) else {
                    break;
                };
                if track.wants(between.sender()) {
                    let hole = Hole {
                        at_ns: now_ns,
                        ..Hole::default()
                    };
                    track.holes.insert(passed, hole);
                }
                passed = between.next;
            }
            track.cursor = slot;
            return;
        }
        if track.holes.remove(&slot).is_none() {
            return;
        }
        let fill = Fill {
            cursor: track.cursor,
            at,
            at_ns: now_ns,
        };
        if !(total || self.overtaken_by_its_own(handle, slot).is_some()) {
            return;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        if track.fills.len() >= bounds::late_deliveries() {
            self.context.batch.tally.uncompared += 1;
            if let Some(slot) = self.sequence.get_mut(slot) {
                (slot.unordered, slot.filled) = (true, true);
            }
            self.dispute(slot);
            self.report_beyond_memory(handle, slot, now_ns);
            return;
        }
        track.fills.insert(slot, fill);
        let cursor = fill.cursor;
        let until = self.sequence.get(slot).map_or(0, |s| s.until);
        let is_further = self.sequence.label(cursor) > self.sequence.label(until);
        if let Some(slot) = self.sequence.get_mut(slot) {
            slot.filled = true;
            if is_further {
                slot.until = cursor;
            }
        }
    }

    /// `handle` got `slot` late, and so many others before that there is no room to remember when.
    /// That it is after a later one of its sender is known now: one violation for each hand-over.
    fn report_beyond_memory(&mut self, handle: Handle, slot: SlotId, now_ns: u64) {
        let (client, session) = {
            let track = &self.context.sessions[handle].progress.track;
            (track.client, track.id)
        };
        if self.settling.is_known_disordered(session) {
            return;
        }
        let message = self.sequence.get(slot).map(|slot| slot.message);
        if let Some(message) = message
            && let Some(later) = self.overtaken_by_its_own(handle, slot)
        {
            self.settling.know_disordered(session);
            self.report_overtaken(client, message, later, now_ns);
        }
    }

    /// `handle` gets `slot`, which stands before its start: it begins there. `false` if that is too
    /// far away to say anything about what lies between.
    fn begins_before(&mut self, handle: Handle, slot: SlotId) -> bool {
        let track = &mut self.context.sessions[handle].progress.track;
        let start = self.sequence.label(track.start);
        let after = self
            .sequence
            .after(slot)
            .map(|(id, slot)| (id, slot.sender()));
        let between = after.take_while(|(id, _)| self.sequence.label(*id) <= start);
        let between: Vec<_> = between.take(bounds::reorder_window() + 1).collect();
        if between.len() > bounds::reorder_window() {
            return false;
        }
        let has_nothing = track.cursor == track.start;
        track.start = self.sequence.before(slot);
        if has_nothing {
            track.cursor = track.start;
            return true;
        }
        let hole = Hole::default();
        let wanted = between
            .into_iter()
            .filter(|(_, sender)| track.wants(*sender));
        let wanted: Vec<SlotId> = wanted.map(|(id, _)| id).collect();
        track.holes.insert(slot, hole);
        track.holes.extend(wanted.into_iter().map(|id| (id, hole)));
        true
    }

    /// A later message of the same sender that `handle` had before `slot`, where that matters.
    fn overtaken_by_its_own(&mut self, handle: Handle, slot: SlotId) -> Option<u64> {
        if !self.promises_order(OrderPromise::Fifo) {
            return None;
        }
        let track = &mut self.context.sessions[handle].progress.track;
        let Message { sender, k } = self.sequence.get(slot)?.message;
        let sent = self.messages.sender(sender)?;
        let cursor = self.sequence.label(track.cursor);
        let known = track.ahead.get(&sender).filter(|a| a.filled < k);
        let mut holes_until = known.map_or(k, |ahead| ahead.holes_until.max(k));
        // One sender's messages stand in the order sent: after the cursor nothing was got.
        let overtaken = loop {
            let next = sent.get(holes_until + 1).map_or(0, |sent| sent.slot);
            if next == 0 || self.sequence.label(next) > cursor {
                break None;
            }
            if track.got(next, &self.sequence) {
                break Some(holes_until + 1);
            }
            holes_until += 1;
        };
        let ahead = Ahead {
            filled: k,
            holes_until,
        };
        track.ahead.insert(sender, ahead);
        overtaken
    }

    /// A delivery; `heard` if nothing is wrong with it.
    fn deliver(
        &mut self,
        handle: Handle,
        slot: SlotId,
        sent: &Sent,
        heard: Option<&Relay<'_>>,
        now_ns: u64,
    ) -> Event {
        self.context.batch.tally.delivered += 1;
        if let Some(heard) = heard
            && self.sequence.keep_frame(slot, heard)
        {
            self.context.directory.keeps();
        }
        if let Some(slot) = self.sequence.get_mut(slot) {
            if slot.receivers == 0 {
                slot.first_ns = now_ns;
            }
            slot.receivers += 1;
            slot.last_ns = slot.last_ns.max(now_ns);
        }
        let sent_ns = sent.sent_ns.max(sent.intended_ns);
        if is_late(self.context.terms.late_after_ns, sent_ns, now_ns) {
            self.too_late(handle, slot, now_ns);
        }
        Event::Relay {
            intended_ns: sent.intended_ns,
            sent_ns: Some(sent_ns),
        }
    }

    /// Takes what was not waited for any longer and comes all the same: it is no loss. If it is settled, only
    /// what came of its own sender is still looked at; else nothing is different.
    fn after_all(
        &mut self,
        handle: Handle,
        message: Message,
        sent: &Sent,
        now_ns: u64,
    ) -> Option<Event> {
        let slot = sent.slot;
        let settled = self.is_settled(slot);
        self.withdraw_loss(handle, message, slot);
        let track = &mut self.context.sessions[handle].progress.track;
        let client = track.client;
        track.holes.get_mut(&slot)?.given_up = false;
        if !settled {
            return None;
        }
        self.context.sessions[handle]
            .progress
            .track
            .holes
            .remove(&slot);
        if let Some(later) = self.overtaken_by_its_own(handle, slot) {
            self.dispute(slot);
            self.report_overtaken(client, message, later, now_ns);
        } else if self.promises_order(OrderPromise::Causal) {
            self.dispute(slot);
            self.context.batch.tally.uncompared += 1;
        }
        Some(self.deliver(handle, slot, sent, None, now_ns))
    }

    /// `handle` got `slot`, which may have been given up as lost: it is not.
    fn withdraw_loss(&mut self, handle: Handle, message: Message, slot: SlotId) {
        let track = &mut self.context.sessions[handle].progress.track;
        let receiver = track.id;
        let hole = track.holes.get_mut(&slot);
        let lost = hole.is_some_and(|hole| std::mem::take(&mut hole.lost));
        let waited = self.settling.withdraw_loss(slot, receiver);
        if lost && !waited {
            let came = Anomaly::CameAfterAll { receiver, message };
            self.context.batch.anomalies.push(came);
        }
    }

    /// It comes so long after others got it that nothing is known of it any more.
    fn long_after(&mut self, handle: Handle, message: Message, now_ns: u64) -> Event {
        let (again, client) = (Evidence::CameAgain, self.context.sessions[handle].client);
        let violation = self.context.violation(again, client, Some(message), now_ns);
        self.context.batch.anomalies.push(Anomaly::CameLongAfter {
            receiver: self.context.sessions[handle].progress.track.id,
            message,
            violation,
        });
        Event::Other
    }

    /// The same message again.
    fn again(&mut self, handle: Handle, message: Message, now_ns: u64) -> Event {
        self.context.batch.tally.duplicated += 1;
        if self.context.terms.promises.relay != RelayPromise::AtLeastOnce {
            self.context
                .certain(Evidence::CameAgain, handle, Some(message), now_ns);
        }
        Event::Other
    }

    /// It was owed, or came again: that is not known any more, and the run says so.
    fn out_of_the_window(&mut self) -> Event {
        self.context.batch.tally.delivered += 1;
        Event::Other
    }

    fn before_its_time(&mut self, handle: Handle, message: Message, now_ns: u64) {
        self.context
            .certain(Evidence::TakenBeforeConnect, handle, Some(message), now_ns);
    }

    /// A message that was judged so long ago that it is forgotten, or one that was never sent.
    fn long_ago(
        &mut self,
        handle: Handle,
        header: &Header,
        heard: &Relay<'_>,
        now_ns: u64,
    ) -> Event {
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        let left_behind = self.session(handle).progress.track.left_behind != 0;
        if left_behind || self.messages.has_given_up(header.sender) {
            self.context.batch.tally.uncompared += u64::from(!left_behind);
            let receiver = self.session(handle).progress.track.id;
            if self.session(handle).progress.track.gave_up {
                let came = Anomaly::CameAfterAll { receiver, message };
                self.context.batch.anomalies.push(came);
            }
            return self.out_of_the_window();
        }
        let never_sent = match self.messages.sender(header.sender) {
            Some(sender) => header.k >= sender.ks().end,
            // Who is there and sent anything is known.
            None => self.tracks().any(|track| track.id == header.sender),
        };
        if never_sent {
            let what = WrongRelay::NeverSent(self.context.directory.message(message));
            return self.irregular(what, handle, heard, None, now_ns);
        }
        // Everybody has passed it. Who was there when it was due has had it.
        let joined_ns = self.session(handle).progress.first_ns;
        if header.intended_ns >= joined_ns {
            let once = self.context.terms.promises.relay != RelayPromise::AtLeastOnce;
            return match self.session(handle).progress.track.gave_up && once {
                true => self.long_after(handle, message, now_ns),
                false => self.again(handle, message, now_ns),
            };
        }
        self.before_its_time(handle, message, now_ns);
        Event::Other
    }

    /// Its sender got `message` relayed.
    fn echoed(&mut self, handle: Handle, message: Message, now_ns: u64) -> Event {
        if let Some(outbox) = self.session(handle).outbox.as_deref_mut() {
            outbox.waive_ack(message.k);
        }
        let echoed = Open::Echoed {
            seq: NO_NUMBER,
            message,
            at_ns: now_ns,
        };
        let anomalies = &mut self.context.batch.anomalies;
        anomalies.push(Anomaly::At(NO_NUMBER, echoed));
        Event::Other
    }

    /// A relay of a text that no load message ever was.
    fn foreign(&mut self, handle: Handle, heard: &Relay<'_>, now_ns: u64) -> Event {
        let text = String::from_utf8_lossy(&heard.text);
        let what = match self.context.directory.raw_fate(&text) {
            Some(RawFate::Accepted) => {
                self.context.batch.tally.delivered += 1;
                return Event::Other;
            }
            Some(RawFate::Rejected) => WrongRelay::Refused(Quote::of(&heard.text)),
            None if heard.text.is_empty() => WrongRelay::Blank,
            None => WrongRelay::Nobodys {
                from: Quote::of(heard.from.as_bytes()),
                text: Quote::of(&heard.text),
            },
        };
        self.irregular(what, handle, heard, None, now_ns)
    }

    /// A relay that is wrong in itself. It may have come in the place of another, which is then no
    /// second violation.
    fn irregular(
        &mut self,
        what: WrongRelay,
        handle: Handle,
        heard: &Relay<'_>,
        claim: Option<Message>,
        now_ns: u64,
    ) -> Event {
        self.excuse(handle, claim);
        self.report_irregular(what, handle, heard, claim, now_ns);
        Event::Other
    }

    /// Alike for several receivers it is one violation.
    fn report_irregular(
        &mut self,
        what: WrongRelay,
        handle: Handle,
        heard: &Relay<'_>,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let id = self.session(handle).progress.track.id;
        let line = hash_of(heard.frame);
        if self.irregulars.count(what.kind(), line, id) {
            let wrong = Evidence::WrongRelay { what, others: 0 };
            self.context.certain(wrong, handle, message, now_ns);
        }
    }

    /// `handle` got `slot` later than is promised.
    #[cold]
    pub(super) fn too_late(&mut self, handle: Handle, slot: SlotId, now_ns: u64) {
        let (Some(slot), Some(limit_ns)) =
            (self.sequence.get(slot), self.context.terms.late_after_ns)
        else {
            return;
        };
        let message = slot.message;
        let took_ns = now_ns.saturating_sub(slot.sent_ns);
        let late = Evidence::Late { took_ns, limit_ns };
        self.context.certain(late, handle, Some(message), now_ns);
    }
}
