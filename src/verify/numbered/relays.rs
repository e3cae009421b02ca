//! Relays: is the message what was sent, and is its number in place?

use super::{Event, Handle, Numbered, is_late, quote, relayed};
use crate::verify::batch::{Anomaly, ClaimDoubt, Fact, Message};
use crate::verify::context::nobodys;
use crate::verify::directory::{RawFate, hash_of};
use crate::verify::kind::Kind;
use crate::verify::reference::Slot;
use crate::verify::session::{Carried, Early, Form, Move, NEVER, Place};
use crate::wire::payload::{self, Header, NotIntact, SenderId};

impl Numbered {
    pub(super) fn relay(
        &mut self,
        handle: Handle,
        line: &[u8],
        seq: u64,
        client_ip: &str,
        text: &str,
        now_ns: u64,
    ) -> Event {
        self.require_welcome(handle, "relay", seq, now_ns);
        let header = match payload::decode(
            text.as_bytes(),
            self.context.terms.seed,
            self.context.terms.run,
        ) {
            Ok(header) => header,
            Err(NotIntact::Altered) => {
                let what = format!("altered: {}", quote(text.as_bytes()));
                return self.irregular(Kind::AlteredRelay, handle, line, seq, None, what, now_ns);
            }
            Err(NotIntact::Foreign) => {
                return self.foreign(handle, line, seq, (client_ip, text), now_ns);
            }
        };
        let message = Message {
            sender: header.sender,
            k: header.k,
        };
        if header.run != self.context.terms.run {
            let what = format!("from another run ({:08x})", header.run);
            return self.irregular(Kind::StaleRelay, handle, line, seq, None, what, now_ns);
        }
        if !self.context.directory.was_opened(header.sender) || header.k == 0 {
            let what = format!("from {}, which does not exist", header.sender);
            return self.irregular(Kind::PhantomRelay, handle, line, seq, None, what, now_ns);
        }
        if header.sender == self.session(handle).id {
            return self.echoed(handle, seq, message, now_ns);
        }
        let attribution = self
            .context
            .directory
            .check_address(header.sender, client_ip);
        if let Err(truth) = &attribution {
            let what = format!("attributed to {client_ip}, sent from {truth}");
            let kind = Kind::MisattributedRelay;
            self.report_irregular(kind, handle, line, seq, Some(message), what, now_ns);
        }
        self.intact(handle, line, seq, &header, attribution.is_ok(), now_ns)
    }

    /// A relay whose message is intact, of this run, and another's: is its number in place?
    pub(super) fn intact(
        &mut self,
        handle: Handle,
        line: &[u8],
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
        let mut moves = Vec::new();
        let place = self.place(handle, seq, carried, &mut moves);
        match place {
            Place::Onward | Place::Skipped => self.deliver(handle, seq, carried, Some(line)),
            Place::Early => {}
            Place::Behind | Place::Late | Place::Forgotten => {
                let doubt = match place {
                    Place::Late => ClaimDoubt::GivenUp,
                    Place::Forgotten => ClaimDoubt::Forgotten,
                    _ => ClaimDoubt::None,
                };
                self.claim(handle, seq, message, doubt, now_ns);
                self.explain(handle, moves, now_ns);
                return Event::Other;
            }
        }
        self.explain(handle, moves, now_ns);
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
        line: Option<&[u8]>,
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
                match line {
                    Some(line) => {
                        self.keep(seq, line, message, intended_ns, receiver, at_ns);
                        let sent_ns = self.sent_ns(message, intended_ns);
                        if let Some((slot, _)) = self.reference.get(seq) {
                            slot.sent_ns = sent_ns;
                        }
                    }
                    None => self.context.batch.facts.push(Fact::Relayed {
                        seq,
                        message,
                        intended_ns,
                        first_ns: at_ns,
                        last_ns: at_ns,
                        receivers: 1,
                        first_receiver: receiver,
                    }),
                }
            }
            None => {}
            Some(known) if known != message => {
                self.context.batch.anomalies.push(Anomaly::Conflict {
                    receiver,
                    seq,
                    claim: message,
                    intended_ns,
                    at_ns,
                });
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

    /// What a frame told about the ones before it.
    pub(super) fn explain(&mut self, handle: Handle, moves: Vec<Move>, now_ns: u64) {
        for step in moves {
            match step {
                Move::Confirmed(Early { seq, carried, .. }) => match carried.form {
                    Form::Relay { .. } => self.deliver(handle, seq, carried, None),
                    Form::Ack { sent_ns, in_order } => {
                        let times = (carried.intended_ns, sent_ns);
                        self.acked(seq, carried.message, times, in_order, carried.at_ns);
                    }
                },
                Move::Unexplained(early) | Move::Unplaced(early) => {
                    if let Some(claim) = early.carried.message {
                        let receiver = self.session(handle).id;
                        self.context.batch.anomalies.push(Anomaly::Claim {
                            receiver,
                            seq: early.seq,
                            message: claim,
                            due: early.due,
                            joined: None,
                            doubt: match step {
                                Move::Unplaced(_) => ClaimDoubt::Unplaced,
                                _ => ClaimDoubt::None,
                            },
                            at_ns: early.carried.at_ns,
                        });
                    }
                }
                Move::LastWord { early, from } => {
                    let receiver = self.session(handle).id;
                    self.context.batch.anomalies.push(Anomaly::LastWord {
                        receiver,
                        seq: early.seq,
                        message: early.carried.message,
                        due: early.due,
                        from,
                        at_ns: early.carried.at_ns,
                    });
                }
                Move::Displaced {
                    low,
                    high,
                    own,
                    fifo,
                    since,
                    disorder,
                } => {
                    let receiver = self.session(handle).id;
                    self.context.batch.anomalies.push(Anomaly::Displaced {
                        receiver,
                        low,
                        high,
                        own,
                        fifo,
                        since,
                        disorder,
                        at_ns: now_ns,
                    });
                }
            }
        }
    }

    /// The message that this shard knows number `seq` to be.
    pub(super) fn known(&self, seq: u64) -> Option<Message> {
        self.reference.slot(seq).map(|s| Message {
            sender: s.sender,
            k: s.k,
        })
    }

    /// Keeps the first clean line of a number for the shard's other receivers.
    pub(super) fn keep(
        &mut self,
        seq: u64,
        line: &[u8],
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
                .insert(seq, line, message, intended_ns, receiver, now_ns, retired);
        if kept {
            self.context.directory.keeps(&[line, b"\n"]);
            self.kept_since_flush += 1;
        } else {
            self.context.batch.tally.uncompared += 1;
            // It is one of those who are not compared; but its number was given to something.
            self.context.batch.facts.push(Fact::Relayed {
                seq,
                message: Message {
                    sender: message.0,
                    k: message.1,
                },
                intended_ns,
                first_ns: now_ns,
                last_ns: now_ns,
                receivers: 0,
                first_receiver: receiver,
            });
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
        let joined = (seq <= session.joined || session.next == NEVER).then_some(session.joined);
        let claim = Anomaly::Claim {
            receiver: session.id,
            seq,
            message,
            due: session.seen() + 1,
            joined,
            doubt,
            at_ns,
        };
        self.context.batch.anomalies.push(claim);
    }

    pub(super) fn echoed(
        &mut self,
        handle: Handle,
        seq: u64,
        message: Message,
        now_ns: u64,
    ) -> Event {
        let session = self.session(handle);
        session.excuse(seq);
        session.outbox().waive_ack(message.k);
        self.context.batch.anomalies.push(Anomaly::Echoed {
            seq,
            message,
            at_ns: now_ns,
        });
        Event::Other
    }

    /// A relay of a text that no load message ever was.
    pub(super) fn foreign(
        &mut self,
        handle: Handle,
        line: &[u8],
        seq: u64,
        (client_ip, text): (&str, &str),
        now_ns: u64,
    ) -> Event {
        let kind = match self.context.directory.raw_fate(text) {
            Some(RawFate::Accepted) => {
                let carried = Carried {
                    message: None,
                    intended_ns: now_ns,
                    at_ns: now_ns,
                    form: Form::Relay { clean: true },
                };
                let mut moves = Vec::new();
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
                        let name = self.name(handle);
                        let stated = seq - self.session(handle).added;
                        let text = format!("{name} got a scripted text (number {stated}) again");
                        self.certain_about(Kind::DuplicateRelay, handle, seq, None, text, now_ns);
                    }
                }
                self.explain(handle, moves, now_ns);
                return Event::Other;
            }
            Some(RawFate::Rejected) => Kind::RelayOfRejected,
            None => Kind::PhantomRelay,
        };
        let what = match (kind, text) {
            (Kind::RelayOfRejected, _) => format!("refused before: {}", quote(text.as_bytes())),
            (_, "") => "blank".to_owned(),
            _ => nobodys(client_ip, text.as_bytes()),
        };
        self.irregular(kind, handle, line, seq, None, what, now_ns)
    }

    /// A relay that is wrong in itself. Its number counts as accounted for.
    #[allow(clippy::too_many_arguments)] // an anomaly's fields
    pub(super) fn irregular(
        &mut self,
        kind: Kind,
        handle: Handle,
        line: &[u8],
        seq: u64,
        message: Option<Message>,
        what: String,
        now_ns: u64,
    ) -> Event {
        self.session(handle).excuse(seq);
        self.report_irregular(kind, handle, line, seq, message, what, now_ns);
        Event::Other
    }

    #[allow(clippy::too_many_arguments)] // an anomaly's fields
    pub(super) fn report_irregular(
        &mut self,
        kind: Kind,
        handle: Handle,
        line: &[u8],
        seq: u64,
        message: Option<Message>,
        what: String,
        now_ns: u64,
    ) {
        let receiver = self.session(handle).id;
        self.context.batch.anomalies.push(Anomaly::Irregular {
            kind,
            receiver,
            seq,
            line: hash_of(line),
            message,
            text: what,
            at_ns: now_ns,
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
            let at_ns = now_ns;
            self.context.batch.anomalies.push(Anomaly::Late {
                receiver,
                seq,
                message,
                intended_ns,
                at_ns,
            });
        }
    }
}
