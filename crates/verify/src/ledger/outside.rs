//! Relays and answers that come to a client in a room that it is not in, and answers that it had
//! not asked for.
//!
//! A relay in a room that its receiver is not in is a violation whatever else is true of it. Which
//! one it is depends on the answer where one comes just before the answer to a join: if that says
//! that it was not owed, it was sent to somebody who was not there yet, else before its time.

use super::rooms::{Held, Membership};
use super::{Ending, Event, Handle, Ledger, MAX_SEQ, RoomLedger, either};
use crate::anomaly::Anomaly;
use crate::batch::Message;
use crate::context::Text;
use crate::sessions::Stage;
use crate::violation::{ErrorAbout, Evidence, NoFrame, Quote};
use chatbench_wire::payload::Header;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Complaint, Relay, Seen};

impl Ledger {
    /// A relay came before the answer to a join: if the answer is what comes next in the room, that
    /// says what the relay was. Returns whether it is put aside until then.
    pub(super) fn came_early(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Handle,
        relay: &Relay<'_>,
        at_ns: u64,
    ) -> bool {
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return false;
        };
        let Some(one) = rooms.room_mut(room) else {
            return false;
        };
        let text = either!(&one.ledger, ledger => ledger.context.read(relay));
        let message = match text {
            Text::Message(Header { sender, k, .. }) => Message { sender, k },
            Text::OtherRoom(message, of) => {
                either!(one.ledger, ledger => {
                    ledger.of_other_room(session, relay, (message, of), at_ns);
                });
                return true;
            }
            Text::Script | Text::Wrong(_) => return false,
        };
        let held = &mut rooms.odd(handle, room).held;
        let is_first = held.is_none() && relay.seq <= MAX_SEQ;
        if is_first {
            *held = Some(Box::new(Held {
                frame: relay.frame.into(),
                text: relay.text.clone().into_owned(),
                from: relay.from.clone().into_owned(),
                seq: relay.seq,
                message,
                at_ns,
            }));
        }
        is_first
    }

    /// The answer to a join has come, and states the last number that is not owed. A relay that
    /// came just before was sent to somebody who was not there, or before its time.
    pub(super) fn answered(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Handle,
        joined: u64,
        now_ns: u64,
    ) {
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return;
        };
        let had_left = rooms.had_left(handle, room);
        let Some(odd) = rooms.odd.get_mut(&(handle, room)) else {
            return;
        };
        let (refused, held) = (odd.refused.take(), odd.held.take());
        if refused.is_some() {
            let first = Evidence::ErrorBeforeWelcome;
            self.certain_in(first, handle, room, (None, None), now_ns);
        }
        let Some(held) = held else {
            return;
        };
        let numbered = self.terms.are_numbered();
        let was_outside = match numbered {
            true => held.seq <= joined,
            false => had_left,
        };
        if was_outside {
            let text = None;
            let not_there = Evidence::NotAMember { had_left, text };
            let about = (Some(held.message), numbered.then_some(held.seq));
            self.certain_in(not_there, handle, room, about, held.at_ns);
            return;
        }
        self.came_before_answer(room, session, &held);
        let first = Evidence::FirstFrame("relay");
        self.certain_in(first, handle, room, (None, None), now_ns);
    }

    /// Something else comes in the room than the answer to the join, or nothing more: a relay that
    /// was put aside was the first frame.
    pub(super) fn not_answered(&mut self, handle: Handle, room: RoomId, session: Handle) {
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return;
        };
        let odd = rooms.odd.get_mut(&(handle, room));
        let Some(held) = odd.and_then(|odd| odd.held.take()) else {
            return;
        };
        if let Some(one) = rooms.touch(room) {
            let relay = Seen::Relay(held.relay());
            either!(one.ledger, ledger => {
                ledger.context.is_belated = true;
                ledger.observe(session, &relay, held.at_ns);
                ledger.context.is_belated = false;
            });
        }
    }

    /// A message came before the answer to the join, and was owed: it is not missed.
    fn came_before_answer(&mut self, room: RoomId, session: Handle, held: &Held) {
        let one = self.room_mut(room);
        match one.map(|one| &mut one.ledger) {
            Some(RoomLedger::Numbered(ledger)) => {
                let progress = &mut ledger.context.sessions[session].progress;
                progress.excuse(held.seq + progress.added);
            }
            Some(RoomLedger::Inferred(ledger)) => ledger.excuse_only(session, held.message),
            None => {}
        }
    }

    /// The target says that a client has left a room.
    pub(super) fn has_left(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Handle,
        asked: bool,
        now_ns: u64,
    ) {
        let rooms = self.rooms.get_or_insert_default();
        let is_raw = rooms.raw.contains(&handle);
        if let Some(one) = rooms.room_mut(room) {
            either!(one.ledger, ledger => ledger.ended(session, Ending::Eof, b"", now_ns));
        }
        rooms.forget(handle, room, session, true);
        if !asked && !is_raw {
            rooms.odd(handle, room).put_out_ns = Some(now_ns);
        }
    }

    /// The target answers a join of a client that had asked to leave before: answers come in the
    /// order of what they answer, so none to the leave will come.
    pub(super) fn leave_was_not_answered(&mut self, handle: Handle, room: RoomId, now_ns: u64) {
        let Some(rooms) = self.rooms.as_deref() else {
            return;
        };
        let there: Vec<Membership> = rooms.active(handle).filter(|m| m.room == room).collect();
        let [left, waits, ..] = there[..] else {
            return;
        };
        let is_raw = rooms.raw.contains(&handle);
        let Some(one) = rooms.room(room) else {
            return;
        };
        let (is_passed, is_excused) = either!(&one.ledger, ledger => {
            let [left, waits] = [left, waits].map(|m| &ledger.context.sessions[m.session]);
            let waits = waits.stage == Stage::Connecting;
            let flags = left.flags;
            (
                flags.leaving && left.stage == Stage::Open && waits,
                flags.provoked || flags.turned_away || left.progress.is_after_malformed(),
            )
        });
        if !is_passed {
            return;
        }
        if self.terms.capabilities.left && !is_raw && !is_excused {
            self.certain_in(Evidence::NoBye, handle, room, (None, None), now_ns);
        }
        self.has_left(handle, room, left.session, true, now_ns);
    }

    /// The target has taken something that a client sent at `sent_ns`, or nothing that says so will
    /// come any more. So it was not shutting down when it told the client before that it had left
    /// rooms, which that had not asked for.
    pub(super) fn judge_put_out(&mut self, handle: Handle, sent_ns: Option<u64>) {
        let Some(rooms) = self.rooms.as_deref_mut().filter(|r| !r.odd.is_empty()) else {
            return;
        };
        let mut put_out = Vec::new();
        for (&(of, room), odd) in &mut rooms.odd {
            let at_ns = odd.put_out_ns.filter(|_| of == handle);
            if at_ns.is_some_and(|at_ns| sent_ns.is_none_or(|sent_ns| sent_ns > at_ns)) {
                put_out.extend(odd.put_out_ns.take().map(|at_ns| (room, at_ns)));
            }
        }
        put_out.sort_unstable();
        for (room, at_ns) in put_out {
            match sent_ns {
                Some(_) => self.certain_in(Evidence::PutOut, handle, room, (None, None), at_ns),
                None => either!(self.unnamed, ledger => {
                    ledger.context.batch.tally.unasked_byes += 1;
                }),
            }
        }
    }

    /// Something came in a room that its receiver is not in.
    pub(super) fn outside(
        &mut self,
        handle: Handle,
        room: RoomId,
        seen: &Seen<'_>,
        now_ns: u64,
    ) -> Event {
        let rooms = self.rooms.as_deref();
        let had_left = rooms.is_some_and(|rooms| rooms.had_left(handle, room));
        let mut about = (None, None);
        let evidence = match seen {
            Seen::Relay(relay) => {
                let ledger = rooms.and_then(|rooms| rooms.room(room));
                let ledger = ledger.map_or(&self.unnamed, |one| &one.ledger);
                let text = either!(&*ledger, ledger => ledger.context.read(relay));
                about.1 = self.terms.are_numbered().then_some(relay.seq);
                let (message, text) = match text {
                    Text::Message(Header { sender, k, .. }) => (Some(Message { sender, k }), None),
                    Text::OtherRoom(message, _) => (Some(message), None),
                    _ => (None, Some(Quote::of(&relay.text))),
                };
                about.0 = message;
                Evidence::NotAMember { had_left, text }
            }
            Seen::Open { .. } => {
                self.answered_elsewhere(handle);
                Evidence::NoFrame(NoFrame::UnaskedJoined)
            }
            Seen::Bye { .. } => Evidence::NoFrame(NoFrame::UnaskedLeft),
            Seen::Ack { .. } => Evidence::NoFrame(NoFrame::AckOutside),
            Seen::Error(complaint) => Evidence::StrayError {
                about: ErrorAbout::Nothing,
                error: complaint.into(),
            },
            Seen::Unknown | Seen::Control | Seen::Malformed(_) => return Event::Other,
        };
        self.certain_in(evidence, handle, room, about, now_ns);
        event_of(seen)
    }

    /// An error in a room that names no message: it may refuse a join or a leave. `None` if it does
    /// not.
    pub(super) fn refused_in(
        &mut self,
        handle: Handle,
        room: RoomId,
        complaint: &Complaint<'_>,
        now_ns: u64,
    ) -> Option<Event> {
        let rooms = self.rooms.as_deref_mut()?;
        let is_raw = rooms.raw.contains(&handle);
        let session = rooms.session(handle, room);
        let one = rooms.room_mut(room)?;
        let connecting = session.is_some_and(|session| {
            either!(&one.ledger, ledger => {
                ledger.context.sessions[session].stage == Stage::Connecting
            })
        });
        let odd = rooms.odd.entry((handle, room)).or_default();
        if odd.refusals > 0 {
            odd.refusals -= 1;
        } else if connecting && odd.refused.is_none() && !is_raw {
            odd.refused = Some((complaint.into(), now_ns)); // unless the answer comes after all
        } else if !is_raw {
            return None;
        }
        if let Some(one) = self.room_mut(room) {
            either!(one.ledger, ledger => ledger.context.batch.tally.errors_received += 1);
        }
        Some(Event::Error {
            code: (*complaint.code).into(),
        })
    }

    /// The answer to a join that was refused will not come any more: that it was refused is a
    /// violation, since it was in order.
    pub(super) fn stays_refused(&mut self, handle: Handle, room: RoomId) -> bool {
        let rooms = self.rooms.as_deref_mut();
        let odd = rooms.and_then(|rooms| rooms.odd.get_mut(&(handle, room)));
        let Some((error, at_ns)) = odd.and_then(|odd| odd.refused.take()) else {
            return false;
        };
        let flags = either!(&self.unnamed, ledger => ledger.context.sessions[handle].flags);
        if !flags.provoked {
            let refused = Evidence::JoinRefused(error);
            self.certain_in(refused, handle, room, (None, None), at_ns);
        }
        true
    }

    /// A membership that was not let in, or whose connection is over, has ended.
    pub(super) fn end_membership(
        &mut self,
        handle: Handle,
        room: RoomId,
        session: Handle,
        ending: Ending,
        now_ns: u64,
    ) {
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return;
        };
        if let Some(one) = rooms.touch(room) {
            either!(one.ledger, ledger => ledger.ended(session, ending, b"", now_ns));
        }
        rooms.forget(handle, room, session, false);
    }

    /// Its client was told that it had joined a room that it had not asked for: that stands for the
    /// answer to the oldest of its joins that has none.
    fn answered_elsewhere(&mut self, handle: Handle) {
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return;
        };
        let unanswered = |one: &Membership| {
            let room = rooms.room(one.room)?;
            either!(&room.ledger, ledger => {
                let session = &ledger.context.sessions[one.session];
                let waits = session.stage == Stage::Connecting && !session.flags.turned_away;
                waits.then_some(session.id) // they are given out in the order of the joins
            })
        };
        let all = rooms.active(handle);
        let all = all.filter_map(|one| unanswered(&one).map(|id| (id, one)));
        let oldest = all.min_by_key(|&(id, _)| id);
        if let Some((_, one)) = oldest
            && let Some(room) = rooms.room_mut(one.room)
        {
            either!(room.ledger, ledger => {
                ledger.context.sessions[one.session].flags.turned_away = true;
            });
        }
    }

    /// A violation in a named room that needs no further knowledge.
    pub(super) fn certain_in(
        &mut self,
        evidence: Evidence,
        handle: Handle,
        room: RoomId,
        (message, seq): (Option<Message>, Option<u64>),
        now_ns: u64,
    ) {
        let client = either!(&self.unnamed, ledger => ledger.context.sessions[handle].client);
        let named = self
            .rooms
            .as_deref_mut()
            .and_then(|rooms| rooms.touch(room));
        let ledger = named.map_or(&mut self.unnamed, |one| &mut one.ledger);
        either!(*ledger, ledger => {
            let context = &mut ledger.context;
            let mut violation = context.violation(evidence, client, message, now_ns);
            (violation.seq, violation.room) = (seq, room);
            context.batch.anomalies.push(Anomaly::Certain(violation));
        });
    }

    /// Something came in a room that is none of the run's.
    pub(super) fn saw_in_unknown_room(
        &mut self,
        handle: Handle,
        room: RoomId,
        seen: &Seen<'_>,
        now_ns: u64,
    ) -> Event {
        self.unnamed.view().begin_event();
        let is_raw = self.rooms.as_ref().is_some_and(|r| r.raw.contains(&handle));
        if !is_raw {
            self.outside(handle, room, seen, now_ns);
        }
        if let Some(tape) = self.unnamed.view().writing() {
            tape.in_room(room);
            tape.saw(handle.0, now_ns, seen, None);
        }
        self.unnamed.view().end_event();
        event_of(seen)
    }
}

/// What it is to the script of its client.
fn event_of(seen: &Seen<'_>) -> Event {
    match seen {
        Seen::Error(complaint) => Event::Error {
            code: (*complaint.code).into(),
        },
        _ => Event::Other,
    }
}
