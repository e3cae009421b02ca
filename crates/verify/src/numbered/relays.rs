//! Relays: is the message what was sent, and is its number in place?

use super::{Event, Handle, Numbered, is_late, relayed};
use crate::anomaly::{Anomaly, ClaimDoubt, Contest, Irregular, Open};
use crate::batch::{Fact, Message, Relayed};
use crate::context::Text;
use crate::directory::hash_of;
use crate::reference::Slot;
use crate::sessions::NEVER;
use crate::stream::{Carried, Early, Form, Move, Moves, Place};
use crate::violation::{Evidence, WrongRelay};
use chatbench_wire::payload::{Header, SenderId};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::Relay;

impl Numbered {
    pub(super) fn relay(
        &mut self,
        handle: Handle,
        relay: &Relay<'_>,
        seq: u64,
        now_ns: u64,
    ) -> Event {
        self.require_welcome(handle, "relay", seq, now_ns);
        let header = match self.context.read(relay) {
            Text::Message(header) => header,
            Text::OtherRoom(message, room) => {
                self.of_other_room(handle, relay, (message, room), now_ns);
                return Event::Other;
            }
            Text::Script => return self.script_text(handle, seq, now_ns),
            Text::Wrong(what) => {
                // Its number counts as accounted for.
                self.session(handle).progress.excuse(seq);
                self.report_irregular(what, handle, relay.frame, seq, None, now_ns);
                return Event::Other;
            }
        };
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        if header.sender == self.session(handle).id {
            return self.echoed(handle, seq, message, now_ns);
        }
        let wrong = self.context.misattributed(handle, header.sender, relay);
        let clean = wrong.is_none();
        if let Some(wrong) = wrong {
            self.report_irregular(wrong, handle, relay.frame, seq, Some(message), now_ns);
        }
        self.intact(handle, relay, seq, &header, clean, now_ns)
    }

    /// A message of another room came under a number of this one. If that number never comes as
    /// another message, this may have been it: it is not missed.
    pub(crate) fn of_other_room(
        &mut self,
        handle: Handle,
        relay: &Relay<'_>,
        (message, room): (Message, RoomId),
        now_ns: u64,
    ) {
        let progress = &mut self.session(handle).progress;
        let seq = relay.seq + progress.added;
        progress.excuse(seq);
        let what = WrongRelay::OtherRoom(room);
        self.report_irregular(what, handle, relay.frame, seq, Some(message), now_ns);
    }

    /// A relay whose message is intact, of this run, and another's: is its number in place?
    pub(super) fn intact(
        &mut self,
        handle: Handle,
        relay: &Relay<'_>,
        seq: u64,
        header: &Header,
        clean: bool,
        now_ns: u64,
    ) -> Event {
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        let carried = Carried {
            message: Some(message),
            intended_ns: header.intended_ns,
            at_ns: now_ns,
            form: Form::Relay { clean },
        };
        let mut moves = Moves::new(self.session(handle).id, now_ns);
        let place = self.place(handle, seq, carried, &mut moves);
        match place {
            Place::Onward | Place::Skipped => self.deliver(handle, seq, carried, Some(relay)),
            Place::Early => {}
            Place::Behind | Place::Late | Place::Forgotten => {
                let doubt = match place {
                    Place::Late => ClaimDoubt::GivenUp,
                    Place::Forgotten => ClaimDoubt::Forgotten,
                    _ => ClaimDoubt::None,
                };
                self.claim(handle, seq, message, doubt, now_ns);
                self.explain(handle, moves);
                return Event::Other;
            }
        }
        self.explain(handle, moves);
        Event::Relay {
            intended_ns: header.intended_ns,
            sent_ns: self.sent_ns(message, header.intended_ns),
        }
    }

    /// Number `seq` has found its place: the relay is a delivery.
    pub(super) fn deliver(
        &mut self,
        handle: Handle,
        seq: u64,
        carried: Carried,
        relay: Option<&Relay<'_>>,
    ) {
        self.context.batch.tally.delivered += 1;
        let Carried {
            message,
            intended_ns,
            at_ns,
            form,
        } = carried;
        let Some(message) = message else {
            self.saw(seq); // a scripted text
            return;
        };
        let receiver = self.session(handle).id;
        let clean = matches!(form, Form::Relay { clean: true });
        self.check_lateness(receiver, seq, message, intended_ns, at_ns);
        match self.known(seq) {
            None if clean => {
                self.saw(seq);
                match relay.filter(|_| !self.context.is_belated) {
                    Some(relay) => {
                        self.keep(seq, relay, message, intended_ns, receiver, at_ns);
                        let sent_ns = self.sent_ns(message, intended_ns);
                        if let Some((slot, _)) = self.reference.get(seq) {
                            slot.sent_ns = sent_ns;
                        }
                    }
                    None => {
                        let relayed = Relayed::once(message, intended_ns, receiver, at_ns);
                        let fact = Fact::Relayed { seq, relayed };
                        self.context.batch.facts.push(fact);
                    }
                }
            }
            None => {}
            Some(known) if known != message => {
                let relayed = Relayed::once(message, intended_ns, receiver, at_ns);
                self.open(seq, Open::Conflict(relayed));
            }
            Some(_) => {
                // The same message in other bytes: an address written otherwise, or (on record) a
                // wrong one.
                if let Some((slot, _)) = self.reference.get(seq) {
                    slot.receivers += 1;
                    slot.last_ns = slot.last_ns.max(at_ns);
                }
            }
        }
    }

    /// When `message`, which was due at `intended_ns`, was really sent, if that is still known.
    fn sent_ns(&self, message: Message, intended_ns: u64) -> Option<u64> {
        let lag_ns = self
            .context
            .directory
            .sends()
            .lag_ns(message.sender, message.k)?;
        Some(intended_ns.saturating_add(lag_ns))
    }

    /// Reports what a frame revealed about earlier frames.
    pub(super) fn explain(&mut self, handle: Handle, moves: Moves) {
        for step in moves.into_iter() {
            match step {
                Move::Confirmed(Early { seq, carried, .. }) => match carried.form {
                    Form::Relay { .. } => self.deliver(handle, seq, carried, None),
                    Form::Ack { sent_ns, in_order } => {
                        let times = (carried.intended_ns, sent_ns);
                        self.acked(seq, carried.message, times, in_order, carried.at_ns);
                    }
                },
                Move::Open(seq, open) => self.open(seq, open),
            }
        }
    }

    /// Something departs from the expected course, and is judged when number `seq` is settled.
    pub(super) fn open(&mut self, seq: u64, open: Open) {
        self.context.batch.anomalies.push(Anomaly::At(seq, open));
    }

    /// The message that this shard knows number `seq` to be.
    pub(super) fn known(&self, seq: u64) -> Option<Message> {
        self.reference.slot(seq).map(|s| Message {
            sender: s.sender,
            k: s.k,
        })
    }

    /// Keeps the first clean frame of a number for the shard's other receivers.
    pub(super) fn keep(
        &mut self,
        seq: u64,
        relay: &Relay<'_>,
        message: Message,
        intended_ns: u64,
        receiver: SenderId,
        now_ns: u64,
    ) {
        let facts = &mut self.context.batch.facts;
        let message = (message.sender, message.k);
        let retired = |n, s: &Slot| facts.push(relayed(n, s));
        let kept =
            self.reference
                .insert(seq, relay, message, intended_ns, receiver, now_ns, retired);
        if kept {
            self.context.directory.keeps();
            self.context.kept_since_flush += 1;
        } else {
            self.context.batch.tally.uncompared += 1;
            // The receiver is one of those that do not compare; but its number was given to
            // something.
            let message = Message {
                sender: message.0,
                k: message.1,
            };
            let relayed = Relayed {
                receivers: 0,
                ..Relayed::once(message, intended_ns, receiver, now_ns)
            };
            let fact = Fact::Relayed { seq, relayed };
            self.context.batch.facts.push(fact);
        }
    }

    /// An intact message under a number that had come, or that was never owed.
    pub(super) fn claim(
        &mut self,
        handle: Handle,
        seq: u64,
        message: Message,
        doubt: ClaimDoubt,
        at_ns: u64,
    ) {
        let session = self.session(handle);
        let joined = (seq <= session.progress.joined || session.progress.next == NEVER)
            .then_some(session.progress.joined);
        let due = session.progress.seen() + 1;
        let claim = Contest {
            receiver: session.id,
            seq,
            claim: message,
            due: Some(due),
            truth: None,
            joined,
            doubt,
            at_ns,
        };
        self.open(due, Open::Claim(claim));
    }

    pub(super) fn echoed(
        &mut self,
        handle: Handle,
        seq: u64,
        message: Message,
        now_ns: u64,
    ) -> Event {
        let session = self.session(handle);
        session.progress.excuse(seq);
        session.outbox().waive_ack(message.k);
        let echoed = Open::Echoed {
            seq,
            message,
            at_ns: now_ns,
        };
        self.open(seq, echoed);
        Event::Other
    }

    /// A text that a script sent came as number `seq`.
    fn script_text(&mut self, handle: Handle, seq: u64, now_ns: u64) -> Event {
        let carried = Carried {
            message: None,
            intended_ns: now_ns,
            at_ns: now_ns,
            form: Form::Relay { clean: true },
        };
        let mut moves = Moves::new(self.session(handle).id, now_ns);
        match self.place(handle, seq, carried, &mut moves) {
            Place::Onward | Place::Skipped => self.deliver(handle, seq, carried, None),
            Place::Early => {}
            Place::Late | Place::Forgotten => {
                self.context.batch.tally.delivered += 1;
                self.context.batch.tally.uncompared += 1;
                self.number_came(handle, seq, None);
            }
            Place::Behind => {
                self.context.batch.tally.duplicated += 1;
                self.certain_about(Evidence::TextCameAgain, handle, seq, None, now_ns);
            }
        }
        self.explain(handle, moves);
        Event::Other
    }

    /// A relay that is wrong in itself came as number `seq`.
    fn report_irregular(
        &mut self,
        what: WrongRelay,
        handle: Handle,
        line: &[u8],
        seq: u64,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let irregular = Irregular {
            receiver: self.session(handle).id,
            message,
            what,
            at_ns: now_ns,
        };
        self.context.batch.anomalies.push(Anomaly::Irregular {
            seq,
            line: hash_of(line),
            irregular,
        });
    }

    #[inline]
    pub(super) fn check_lateness(
        &mut self,
        receiver: SenderId,
        seq: u64,
        message: Message,
        intended_ns: u64,
        now_ns: u64,
    ) {
        if is_late(self.context.terms.late_after_ns, intended_ns, now_ns) {
            let late = Open::Late {
                receiver,
                message,
                intended_ns,
                at_ns: now_ns,
            };
            self.open(seq, late);
        }
    }
}
