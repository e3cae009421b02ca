//! Acks and errors: each message of a session is answered once, in the order sent.

use super::{Event, Handle, Numbered};
use crate::anomaly::{Anomaly, NoAck, Open, Unacked};
use crate::batch::{Acked, Fact, Message};
use crate::context::TakenAck;
use crate::ids::split_id;
use crate::stream::{Carried, Form, Moves, Place};
use crate::violation::Evidence;
use chatbench_wire::seen::{AckOf, Complaint};

impl Numbered {
    /// An ack has found its place.
    pub(super) fn acked(
        &mut self,
        seq: u64,
        message: Option<Message>,
        (intended_ns, sent_ns): (u64, u64),
        in_order: bool,
        acked_ns: u64,
    ) {
        self.saw(seq);
        if let Some(message) = message {
            let acked = Acked {
                message,
                intended_ns,
                sent_ns,
                acked_ns,
            };
            self.context.batch.facts.push(Fact::Acked {
                seq,
                acked,
                in_order,
            });
        }
    }

    pub(super) fn ack(&mut self, handle: Handle, seq: u64, of: AckOf, now_ns: u64) -> Event {
        self.require_welcome(handle, "ack", seq, now_ns);
        let session = &mut self.context.sessions[handle];
        let me = session.id;
        let outbox = session.outbox.get_or_insert_default();
        let named = match of {
            AckOf::Id(id) => Some(split_id(id)),
            AckOf::Oldest(_) => outbox.pending.front().map(|oldest| (me, oldest.k)),
            AckOf::NoId => None,
        };
        let k = match named {
            Some((sender, k)) if sender == me && k <= outbox.last_k && k > 0 => k,
            named => {
                if outbox.answer_raw() {
                    let carried = Carried {
                        message: None,
                        intended_ns: now_ns,
                        at_ns: now_ns,
                        form: Form::Ack {
                            sent_ns: now_ns,
                            in_order: false,
                        },
                    };
                    let mut moves = Moves::new(me, now_ns);
                    let place = self.place(handle, seq, carried, &mut moves);
                    self.saw(seq);
                    self.explain(handle, moves);
                    if matches!(place, Place::Late | Place::Forgotten) {
                        self.number_came(handle, seq, None);
                    }
                    return Event::Other;
                }
                session.progress.excuse(seq);
                let message = named.map(|(sender, k)| Message { sender, k });
                let stray = Anomaly::StrayAck {
                    receiver: me,
                    seq,
                    message,
                    at_ns: now_ns,
                };
                self.context.batch.anomalies.push(stray);
                return Event::Other;
            }
        };
        let Some(taken) = self.context.take_ack(handle, k) else {
            return self.unowed_ack(handle, seq, k, now_ns);
        };
        let TakenAck {
            message,
            pending,
            in_order,
            is_late,
        } = taken;
        let sent_ns = pending.sent_ns;
        let out_of_order = is_late && !self.session(handle).progress.has_early();
        let carried = Carried {
            message: Some(message),
            intended_ns: pending.intended_ns,
            at_ns: now_ns,
            form: Form::Ack { sent_ns, in_order },
        };
        let mut moves = Moves::new(me, now_ns);
        let place = self.place(handle, seq, carried, &mut moves);
        if place == Place::Onward && seq > pending.seen {
            let times = (pending.intended_ns, sent_ns);
            self.acked(seq, Some(message), times, in_order, now_ns);
            if out_of_order {
                self.acked_after_a_later_one(handle, seq, message, now_ns);
            }
        } else {
            let at = (place, pending.seen);
            self.acked_out_of_place(handle, seq, carried, at, out_of_order, &mut moves);
        }
        self.explain(handle, moves);
        Event::Ack {
            intended_ns: pending.intended_ns,
            sent_ns: pending.sent_ns,
        }
    }

    /// An ack whose number is not the next one of its session, or is none that its message can
    /// have.
    #[cold]
    fn acked_out_of_place(
        &mut self,
        handle: Handle,
        seq: u64,
        carried: Carried,
        (place, seen): (Place, u64),
        out_of_order: bool,
        moves: &mut Moves,
    ) {
        let (Some(message), Form::Ack { sent_ns, in_order }) = (carried.message, carried.form)
        else {
            return;
        };
        let at_ns = carried.at_ns;
        if place != Place::Early && seq <= seen {
            let below = Open::AckBelowSeen {
                message,
                seen,
                at_ns,
            };
            self.open(seq, below);
            moves.forget_displaced(seq);
            if matches!(place, Place::Late | Place::Forgotten) {
                self.number_came(handle, seq, Some(message));
            }
        } else if matches!(place, Place::Late | Place::Forgotten) {
            self.saw(seq);
            let after_all = Open::AckAfterAll {
                message,
                forgotten: place == Place::Forgotten,
                at_ns,
            };
            self.open(seq, after_all);
        } else {
            if place != Place::Early {
                let times = (carried.intended_ns, sent_ns);
                self.acked(seq, Some(message), times, in_order, at_ns);
            }
            if out_of_order && place != Place::Skipped {
                self.acked_after_a_later_one(handle, seq, message, at_ns);
            }
        }
    }

    #[cold]
    fn acked_after_a_later_one(&mut self, handle: Handle, seq: u64, message: Message, now_ns: u64) {
        self.certain_about(Evidence::AckAfterLater, handle, seq, Some(message), now_ns);
    }

    /// A frame came under number `seq`, which had been given up.
    pub(super) fn number_came(&mut self, handle: Handle, seq: u64, message: Option<Message>) {
        let receiver = self.session(handle).id;
        self.open(seq, Open::Came { receiver, message });
    }

    /// An ack for a message of this session that waits for none.
    pub(super) fn unowed_ack(&mut self, handle: Handle, seq: u64, k: u64, now_ns: u64) -> Event {
        let session = self.session(handle);
        let message = Message {
            sender: session.id,
            k,
        };
        let waived_acks = session.outbox().was_ack_waived(k);
        session.progress.excuse(seq);
        if waived_acks != Some(false) {
            // It was refused, or (on record, as is its echo) it came too late.
            let anomaly = Anomaly::AckOfRefused {
                message,
                seq,
                forgotten: waived_acks.is_none(),
                at_ns: now_ns,
            };
            self.context.batch.anomalies.push(anomaly);
        } else {
            self.certain_about(Evidence::AckedAgain, handle, seq, Some(message), now_ns);
        }
        Event::Other
    }

    pub(super) fn error(
        &mut self,
        handle: Handle,
        complaint: &Complaint<'_>,
        now_ns: u64,
    ) -> Event {
        let refused = self.context.error(handle, complaint, now_ns);
        if let Some((message, violation)) = refused {
            let refused = Anomaly::Refused { message, violation };
            self.context.batch.anomalies.push(refused);
        }
        Event::Error {
            code: (*complaint.code).into(),
        }
    }

    /// Reports unacked messages at an end without a bye: those before one that was acked, those
    /// whose numbers this session had passed, and those that have no number though a later one has.
    /// Which of them these are, other receivers know.
    pub(super) fn report_maybe_unacked(&mut self, handle: Handle, now_ns: u64) {
        let session = &self.context.sessions[handle];
        let provoked = session.flags.provoked;
        let Some(outbox) = session.outbox.as_deref().filter(|_| !provoked) else {
            return;
        };
        let (sender, joined) = (session.id, session.progress.joined);
        // Frames that a malformed line swallowed may have been acks.
        let swallowed = session.progress.trouble.as_ref().map_or(0, |t| t.swallowed);
        let overtaken = outbox.overtaken.iter().map(|p| (p.k, NoAck::ByLaterAck));
        let waiting = outbox.pending.iter();
        let waiting = waiting.map(|p| (p.k, NoAck::Unknown { joined }));
        let unacked = overtaken.chain(waiting);
        let unacked = unacked.filter(|(k, _)| outbox.was_ack_waived(*k) == Some(false));
        let unacked = unacked.skip(swallowed as usize);
        self.context.batch.anomalies.extend(unacked.map(|(k, by)| {
            Anomaly::Unacked(Unacked {
                message: Message { sender, k },
                by,
                at_ns: now_ns,
            })
        }));
    }
}
