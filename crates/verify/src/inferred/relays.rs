//! Relays: is the message as it was sent, and is this receiver to get it now?

use super::messages::Sent;
use super::sequence::{Slot, SlotId};
use super::sharing::Sharing;
use super::{Event, Handle, Inferred, is_late};
use crate::anomaly::{Anomaly, Open};
use crate::batch::{Message, NO_NUMBER};
use crate::context::Text;
use crate::directory::hash_of;
use crate::promises::{OrderPromise, RelayPromise};
use crate::sessions::Stage;
use crate::violation::{Evidence, Quote, WrongRelay};
use chatbench_wire::payload::{self, Header};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::Relay;

impl Inferred {
    pub(super) fn relay(&mut self, handle: Handle, heard: &Relay<'_>, now_ns: u64) -> Event {
        if self.session(handle).stage == Stage::Finished {
            let what = WrongRelay::AfterBye(Quote::of(&heard.text));
            return self.irregular(what, handle, heard, None, now_ns);
        }
        self.require_welcome(handle, "relay", now_ns);
        let header = match self.context.read(heard) {
            Text::Message(header) => header,
            Text::OtherRoom(message, room) => {
                self.of_other_room(handle, heard, (message, room), now_ns);
                return Event::Other;
            }
            Text::Script => {
                self.context.batch.tally.delivered += 1;
                return Event::Other;
            }
            Text::Wrong(what) => {
                let claimed = match what {
                    WrongRelay::Altered(_) => payload::claimed(&heard.text),
                    _ => None,
                };
                let claim = claimed.map(|(sender, k)| Message { sender, k });
                let claim = claim.filter(|claim| self.messages.get(*claim).is_some());
                return self.irregular(what, handle, heard, claim, now_ns);
            }
        };
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        if !self.session(handle).progress.track.wants(header.sender) {
            return self.echoed(handle, message, now_ns);
        }
        let wrong = self.context.misattributed(handle, header.sender, heard);
        let clean = wrong.is_none();
        if let Some(wrong) = wrong {
            self.report_irregular(wrong, handle, heard, Some(message), now_ns);
        }
        if self.is_echo(handle, header.sender)
            && let Some(event) = self.echo_as_ack(handle, message, now_ns)
        {
            if self.messages.get(message).is_some() {
                self.intact(handle, heard, &header, clean, now_ns);
            }
            return event;
        }
        self.intact(handle, heard, &header, clean, now_ns)
    }

    /// A message of another room came. It stands for itself, and for no other message.
    pub(crate) fn of_other_room(
        &mut self,
        handle: Handle,
        heard: &Relay<'_>,
        (message, room): (Message, RoomId),
        now_ns: u64,
    ) {
        let what = WrongRelay::OtherRoom(room);
        self.report_irregular(what, handle, heard, Some(message), now_ns);
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
            return self.out_of_the_window(handle, message);
        }
        if duplicate {
            return self.again(handle, message, now_ns);
        }
        if sent.accepted_at() < connecting_at {
            self.before_its_time(handle, message, now_ns);
            return Event::Other;
        }
        if given_up && let Some(event) = self.after_all(handle, message, &sent, now_ns) {
            return event;
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
        if !self.is_echo(handle, message.sender) {
            self.make_arrival_known(message, at);
        } else if sent.slot == 0 {
            self.make_place_known(message, None); // it has reached nobody else yet
        }
        self.pass_to(handle, slot, at, now_ns);
        self.deliver(handle, slot, &sent, clean.then_some(heard), now_ns)
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
        let sender = self.sequence.get(slot).map(Slot::sender);
        let is_ack = sender.is_some_and(|sender| self.is_echo(handle, sender));
        let (intended_ns, sent_ns) = (sent.intended_ns, sent.sent_ns.max(sent.intended_ns));
        if is_ack {
            return Event::Other; // that it came is counted as its ack
        }
        if let Some(heard) = heard.filter(|_| !self.context.is_belated)
            && self.sequence.keep_frame(slot, heard)
        {
            self.context.directory.keeps();
        }
        self.context.batch.tally.delivered += 1;
        if let Some(slot) = self.sequence.get_mut(slot) {
            if slot.receivers == 0 {
                slot.first_ns = now_ns;
            }
            slot.receivers += 1;
            slot.last_ns = slot.last_ns.max(now_ns);
        }
        if is_late(self.context.terms.late_after_ns, sent_ns, now_ns) {
            self.too_late(handle, slot, now_ns);
        }
        Event::Relay {
            intended_ns,
            sent_ns: Some(sent_ns),
        }
    }

    /// Takes a message that was not waited for any longer and comes all the same: it is no loss. If
    /// it is settled, only what came of its own sender is still looked at; else it is treated like
    /// any other.
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

    /// It was owed, or came again: which of the two is not known any more, and the run says so.
    fn out_of_the_window(&mut self, handle: Handle, message: Message) -> Event {
        let is_delivery = !self.is_echo(handle, message.sender);
        self.context.batch.tally.delivered += u64::from(is_delivery);
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
        if self.sharing.as_ref().is_some_and(Sharing::is_incomplete) {
            self.context.batch.tally.uncompared += 1;
            return self.out_of_the_window(handle, message);
        }
        let left_behind = self.session(handle).progress.track.left_behind != 0;
        if left_behind || self.messages.has_given_up(header.sender) {
            self.context.batch.tally.uncompared += u64::from(!left_behind);
            let receiver = self.session(handle).progress.track.id;
            if self.session(handle).progress.track.gave_up {
                let came = Anomaly::CameAfterAll { receiver, message };
                self.context.batch.anomalies.push(came);
            }
            return self.out_of_the_window(handle, message);
        }
        let never_sent = match self.messages.sender(header.sender) {
            Some(sender) => header.k >= sender.ks().end,
            // It is known of every session that is there whether it sent anything.
            None => {
                let elsewhere = |sharing: &Sharing| sharing.is_open_elsewhere(header.sender);
                self.sharing.as_ref().is_some_and(elsewhere)
                    || self.tracks().any(|track| track.id == header.sender)
            }
        };
        if never_sent {
            let what = WrongRelay::NeverSent(self.context.directory.message(message));
            return self.irregular(what, handle, heard, None, now_ns);
        }
        // Every session has passed it. Those that were there when it was due have had it.
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
        let Some(violations) = self.irregulars.count(what.kind(), line, id) else {
            return;
        };
        let wrong = Evidence::WrongRelay { what, others: 0 };
        let client = self.session(handle).client;
        let violation = self.context.violation(wrong, client, message, now_ns);
        self.context.batch.anomalies.push(match self.sharing {
            Some(_) => Anomaly::WrongHere {
                line,
                violations,
                violation,
            },
            None => Anomaly::Certain(violation),
        });
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
