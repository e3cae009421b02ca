//! What a client does to its connection, and what the target says of it, as far as it concerns its
//! memberships in named rooms. Violations of this sort are reported once, of the unnamed room.

use super::rooms::Membership;
use super::{Ending, Event, Handle, Ledger, either};
use crate::flags::Flags;
use crate::sessions::Stage;
use crate::trace::tape::Writing;
use crate::violation::Evidence;
use chatbench_wire::payload::Header;
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Glued, RawFrame, RawSent, Seen};

impl Ledger {
    /// The memberships of a connection that have not ended.
    fn memberships(&self, handle: Handle) -> Vec<Membership> {
        let rooms = self.rooms.as_deref();
        rooms.map_or_else(Vec::new, |rooms| rooms.active(handle).collect())
    }

    /// Begins an event that concerns named rooms on the tape, if there is one: all that are handed
    /// over next, or those that the client of a session is in.
    pub(super) fn begin_event_of_rooms(&mut self, of: Option<Handle>) -> Option<&mut Writing> {
        let rooms = &mut self.rooms;
        let refresh = || {
            if let Some(rooms) = rooms {
                rooms.refresh(of);
            }
        };
        self.unnamed.view().begin_event_with(refresh)
    }

    /// Frames of a room are not needed any more.
    pub(super) fn frames_released(&mut self, room: RoomId) {
        if let Some(one) = self.rooms.as_mut().and_then(|r| r.room_mut(room)) {
            let first = either!(&one.ledger, ledger => ledger.first_frame());
            if let Some(tape) = self.unnamed.view().writing_in(one.ledger.view()) {
                tape.frames_from(first);
            }
        }
    }

    /// Sets flags of a connection, and of its memberships.
    pub(super) fn flag(&mut self, handle: Handle, set: impl Fn(&mut Flags)) {
        either!(self.unnamed, ledger => set(&mut ledger.context.sessions[handle].flags));
        self.flag_memberships(handle, set);
    }

    fn flag_memberships(&mut self, handle: Handle, set: impl Fn(&mut Flags)) {
        for Membership { room, session } in self.memberships(handle) {
            if let Some(one) = self.room_mut(room) {
                either!(one.ledger, ledger => set(&mut ledger.context.sessions[session].flags));
            }
        }
    }

    /// A script sent bytes as they stand.
    pub(super) fn sent_raw_in_rooms(&mut self, handle: Handle, sent: &RawSent) {
        if !sent.is_right {
            self.flag_memberships(handle, |flags| flags.provoked = true);
        }
        if sent.frames.contains(&RawFrame::InRoom) {
            self.unnamed.view().sent_raw_in_room();
            let raw = &mut self.rooms.get_or_insert_default().raw;
            if !raw.contains(&handle) {
                raw.push(handle);
            }
        }
    }

    /// A publish in a named room ran together with bytes that a script had sent before. `false` if
    /// it is none in a named room.
    pub(super) fn sent_glued_in_room(
        &mut self,
        handle: Handle,
        header: &Header,
        glued: Glued,
    ) -> bool {
        let of_connection = either!(&self.unnamed, ledger => ledger.context.sessions[handle].id);
        if header.sender == of_connection {
            return false;
        }
        for Membership { room, session } in self.memberships(handle) {
            let one = self.touch(room);
            let is_its = one.is_some_and(|one| {
                either!(one.ledger, ledger => {
                    let is_its = ledger.context.sessions[session].id == header.sender;
                    if is_its {
                        ledger.sent_glued(session, header, glued);
                    }
                    is_its
                })
            });
            if is_its {
                let survives = either!(self.unnamed, ledger => {
                    ledger.context.sessions[handle].outbox().sent_glued(glued)
                });
                if !survives {
                    self.flag(handle, |flags| flags.provoked = true);
                }
                return true;
            }
        }
        false
    }

    /// The client half-closes, and with that leaves all rooms.
    pub(super) fn leaving_rooms(&mut self, handle: Handle, now_ns: u64) {
        for Membership { room, session } in self.memberships(handle) {
            if let Some(one) = self.touch(room) {
                either!(one.ledger, ledger => {
                    if !ledger.context.sessions[session].flags.leaving {
                        ledger.leaving(session, now_ns);
                    }
                });
            }
        }
    }

    /// A scripted `await_acks` took too long. Returns whether it waited for some in named rooms.
    pub(super) fn overdue_in_rooms(&mut self, handle: Handle, within: &str, now_ns: u64) -> bool {
        let mut waited = false;
        for Membership { room, session } in self.memberships(handle) {
            if let Some(one) = self.touch(room) {
                waited |= either!(one.ledger, ledger => {
                    let waits = ledger.context.unacked(session) > 0;
                    if waits {
                        ledger.context.overdue_acks(session, within, now_ns);
                    }
                    waits
                });
            }
        }
        waited
    }

    /// The run stops listening.
    pub(super) fn time_up_in_rooms(&mut self, handle: Handle, heard_all: bool, now_ns: u64) {
        for Membership { room, session } in self.memberships(handle) {
            if let Some(one) = self.touch(room) {
                either!(one.ledger, ledger => ledger.time_up(session, heard_all, now_ns));
            }
        }
    }

    /// The connection is over.
    pub(super) fn rooms_ended(&mut self, handle: Handle, ending: Ending, now_ns: u64) {
        self.judge_put_out(handle, None);
        for Membership { room, session } in self.memberships(handle) {
            self.not_answered(handle, room, session);
            self.stays_refused(handle, room);
            self.end_membership(handle, room, session, ending, now_ns);
        }
        if let Some(rooms) = &mut self.rooms {
            rooms.end(handle);
        }
    }

    /// The target said something of a connection, or sent what is no frame.
    pub(super) fn concerns_memberships(
        &mut self,
        handle: Handle,
        seen: &Seen<'_>,
        event: &Event,
        now_ns: u64,
    ) {
        match (seen, event) {
            (Seen::Open { .. }, Event::Welcome) => {
                let connection =
                    either!(&self.unnamed, ledger => ledger.context.sessions[handle].id);
                for Membership { room, session } in self.memberships(handle) {
                    if let Some(one) = self.room_mut(room) {
                        either!(one.ledger, ledger => {
                            let session = ledger.context.sessions[session].id;
                            ledger.context.directory.share_address(connection, session);
                        });
                    }
                }
            }
            (Seen::Error(complaint), _) if complaint.cuts_off => {
                self.flag_memberships(handle, |flags| flags.cut_off = true);
            }
            (Seen::Malformed(malformed), _) => {
                for Membership { room, session } in self.memberships(handle) {
                    if let Some(one) = self.touch(room) {
                        either!(one.ledger, ledger => {
                            ledger.may_be_hidden(session, malformed.could_hide);
                        });
                    }
                }
            }
            (Seen::Bye { .. }, Event::Bye) => self.said_goodbye(handle, now_ns),
            (_, Event::Ack { sent_ns, .. }) => self.judge_put_out(handle, Some(*sent_ns)),
            _ => {}
        }
    }

    /// The target says that a connection has got everything: its joins and leaves are answered by
    /// then. If its client had not asked for it, the target is shutting down.
    fn said_goodbye(&mut self, handle: Handle, now_ns: u64) {
        let flags = either!(&self.unnamed, ledger => ledger.context.sessions[handle].flags);
        let Some(rooms) = self.rooms.as_deref_mut() else {
            return;
        };
        if !flags.leaving {
            let odd = rooms.odd.iter_mut().filter(|((of, _), _)| *of == handle);
            odd.for_each(|(_, odd)| odd.put_out_ns = None);
        }
        let is_raw = rooms.raw.contains(&handle);
        for Membership { room, session } in self.memberships(handle) {
            self.not_answered(handle, room, session);
            let Some(one) = self.touch(room) else {
                continue;
            };
            let (stage, of_it, after_malformed) = either!(&one.ledger, ledger => {
                let session = &ledger.context.sessions[session];
                let after_malformed = session.progress.is_after_malformed();
                (session.stage, session.flags, after_malformed)
            });
            if is_raw || flags.provoked || after_malformed || of_it.turned_away {
                continue;
            }
            if self.stays_refused(handle, room) {
                continue;
            }
            let evidence = match stage {
                Stage::Connecting if flags.leaving => Evidence::NeverWelcomed,
                Stage::Open => Evidence::NoBye,
                Stage::Connecting | Stage::Finished | Stage::Free => continue,
            };
            self.certain_in(evidence, handle, room, (None, None), now_ns);
        }
        if !flags.leaving {
            self.flag_memberships(handle, |flags| flags.gone = true);
        }
    }
}
