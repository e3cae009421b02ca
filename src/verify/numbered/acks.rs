//! Acks and errors: each message of a session is answered once, in the order sent.

use super::{Event, Handle, Numbered};
use crate::verify::anomaly::{Anomaly, NoAck, Open, Unacked};
use crate::verify::batch::{Acked, Fact, Message};
use crate::verify::context::Complaint;
use crate::verify::ids::split_id;
use crate::verify::session::{Carried, Form, Moves, Place, Stage};
use crate::verify::violation::Evidence;
use crate::wire::seen::AckOf;

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
        let session = &mut self.sessions[handle.0 as usize];
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
                if let Some(raw) = outbox.raw.as_mut().filter(|r| r.acks_owed > 0) {
                    raw.acks_owed -= 1;
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
                session.excuse(seq);
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
        let Some((pending, order)) = outbox.take(k) else {
            return self.unowed_ack(handle, seq, k, now_ns);
        };
        if order.acked_now {
            self.context.unacked -= 1 + order.overtook;
        }
        self.context.batch.tally.acked += 1;
        if !outbox.waived_acks.is_empty() {
            outbox.waived_acks.retain(|&settled| settled != k);
        }
        let message = Message { sender: me, k };
        let sent_ns = pending.sent_ns;
        let in_order = order.acked_now && order.overtook == 0;
        let known = std::mem::replace(&mut outbox.overtaker, pending.overtaken_by);
        let out_of_order = !order.acked_now && known != pending.overtaken_by;
        let out_of_order = out_of_order && !session.has_early();
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

    /// An ack whose number is not the next one of its session, or is none that its message can have.
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

    /// Something came under number `seq`, which had been given up.
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
        session.excuse(seq);
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

    pub(super) fn error(&mut self, handle: Handle, complaint: Complaint<'_>, now_ns: u64) -> Event {
        let session = &mut self.sessions[handle.0 as usize];
        let connecting = session.stage == Stage::Connecting;
        let (whose, flags) = ((session.client, session.id), &mut session.flags);
        let outbox = session.outbox.get_or_insert_default();
        let refused = self
            .context
            .error(whose, flags, connecting, outbox, complaint, now_ns);
        if let Some((message, violation)) = refused {
            let refused = Anomaly::Refused { message, violation };
            self.context.batch.anomalies.push(refused);
        }
        Event::Error {
            code: complaint.code.into(),
        }
    }

    /// At a bye: what was sent and neither acked nor refused never will be.
    pub(super) fn report_unacked(&mut self, handle: Handle, now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let sender = session.id;
        // Of a client that sent rubbish, or that the target closed, nobody knows what arrived.
        let excused = session.flags.provoked || session.flags.gone;
        let Some(outbox) = session.outbox.as_deref().filter(|_| !excused) else {
            return;
        };
        let waiting = outbox.overtaken.iter().chain(&outbox.pending);
        let forgotten = waiting.clone();
        let forgotten = forgotten.filter(|p| outbox.was_ack_waived(p.k).is_none());
        self.context.batch.tally.unknown_acks += forgotten.count() as u64;
        let waiting = waiting.filter(|p| outbox.was_ack_waived(p.k) == Some(false));
        // What a malformed line swallowed may have been acks.
        let swallowed = session.trouble.as_ref().map_or(0, |t| t.swallowed);
        for pending in waiting.skip(swallowed as usize) {
            let message = Message {
                sender,
                k: pending.k,
            };
            self.context.batch.anomalies.push(Anomaly::Unacked(Unacked {
                message,
                by: NoAck::ByBye,
                at_ns: now_ns,
            }));
        }
        self.drop_pending(handle);
    }

    /// At an end without a bye: of the messages that wait for their acks, those count before one
    /// that was acked, and those whose numbers this session had passed, or that have none though a
    /// later one has. Which these are, other receivers know.
    pub(super) fn report_maybe_unacked(&mut self, handle: Handle, now_ns: u64) {
        let session = &self.sessions[handle.0 as usize];
        let provoked = session.flags.provoked;
        let Some(outbox) = session.outbox.as_deref().filter(|_| !provoked) else {
            return;
        };
        let (sender, joined) = (session.id, session.joined);
        // What a malformed line swallowed may have been acks.
        let swallowed = session.trouble.as_ref().map_or(0, |t| t.swallowed);
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

    /// Nothing more is waited for: neither answers, nor what errors that came may be about.
    pub(super) fn drop_pending(&mut self, handle: Handle) {
        let session = &mut self.sessions[handle.0 as usize];
        self.context
            .drop_pending(session.client, session.outbox.as_deref_mut());
    }

    /// A scripted `await_acks` took too long.
    pub(in crate::verify) fn overdue_acks(&mut self, handle: Handle, within: &str, now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        let (whose, outbox) = ((session.client, session.id), session.outbox.as_deref_mut());
        self.context.overdue_acks(whose, outbox, within, now_ns);
    }
}
