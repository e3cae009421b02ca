//! What is owed to each session of a target that states no order, and whether it came.

use std::net::SocketAddr;

use super::batch::{Batch, Ended};
use super::desk::Desk;
use super::directory::ClientId;
use super::ledger::{Ending, Event, Handle};
use super::own::{Conduct, Own, Pending};
use crate::wire::Dialect;
use crate::wire::classic::texts::{Piece, Pieces};
use crate::wire::line::Lines;
use crate::wire::ndjson::{self, ServerFrame};
use crate::wire::payload::{self, Header, SenderId};

#[derive(Debug)]
struct Session {
    id: SenderId,
    client: ClientId,
    open: bool,
    free: bool,
    conduct: Conduct,
    own: Option<Box<Own>>,
}

/// The ledger.
#[derive(Debug)]
pub(super) struct Unnumbered {
    pub(super) desk: Desk,
    sessions: Vec<Session>,
    free: Vec<u32>,
    #[cfg(test)]
    pub(super) never_compare: bool,
}

impl Unnumbered {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            desk,
            sessions: Vec::new(),
            free: Vec::new(),
            #[cfg(test)]
            never_compare: false,
        }
    }

    pub(super) fn is_there(&self, index: u32) -> bool {
        self.sessions.get(index as usize).is_some_and(|s| !s.free)
    }

    pub(super) fn due(&mut self, _handle: Handle) -> Option<&[u8]> {
        None
    }

    pub(super) fn client(&self, handle: Handle) -> ClientId {
        self.sessions[handle.0 as usize].client
    }

    fn session(&mut self, handle: Handle) -> &mut Session {
        &mut self.sessions[handle.0 as usize]
    }

    pub(super) fn conduct(&mut self, handle: Handle) -> &mut Conduct {
        &mut self.session(handle).conduct
    }

    pub(super) fn connecting(&mut self, client: ClientId) -> Option<Handle> {
        let session = Session {
            id: self.desk.directory.open(client)?,
            client,
            open: false,
            free: false,
            conduct: Conduct::default(),
            own: None,
        };
        self.desk.batch.tally.sessions += 1;
        Some(Handle(match self.free.pop() {
            Some(index) => {
                self.sessions[index as usize] = session;
                index
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() as u32 - 1
            }
        }))
    }

    pub(super) fn connected(&mut self, handle: Handle, local: SocketAddr) {
        let classic = self.desk.terms.dialect == Dialect::Classic;
        let session = self.session(handle);
        session.open = classic;
        session.conduct.stood = true;
        let id = session.id;
        self.desk.directory.set_address(id, &local.to_string());
    }

    pub(super) fn unacked(&self, handle: Handle) -> usize {
        let own = self.sessions[handle.0 as usize].own.as_deref();
        own.map_or(0, Own::unacked)
    }

    pub(super) fn next_matching(&mut self, _: Handle, _: &mut Lines<'_>, _: u64) -> Option<Event> {
        None
    }

    pub(super) fn next_matching_text(
        &mut self,
        _: Handle,
        _: &mut Pieces<'_>,
        _: u64,
    ) -> Option<Event> {
        None
    }

    pub(super) fn step(
        &mut self,
        handle: Handle,
        lines: &mut Lines<'_>,
        now_ns: u64,
    ) -> Option<Event> {
        let Ok(line) = lines.next()? else {
            return Some(Event::Other);
        };
        Some(match ndjson::decode_server(line) {
            Ok(ServerFrame::Welcome { .. }) => {
                self.session(handle).open = true;
                Event::Welcome
            }
            Ok(ServerFrame::Ack { .. }) => self.ack(handle),
            Ok(ServerFrame::Relay { message, .. }) => self.relay(message.as_bytes(), now_ns),
            Ok(ServerFrame::Error { code, .. }) => Event::Error {
                code: (*code).into(),
            },
            Ok(ServerFrame::Bye { .. }) => Event::Bye,
            _ => Event::Other,
        })
    }

    pub(super) fn piece(&mut self, handle: Handle, piece: Piece<'_>, now_ns: u64) -> Event {
        match piece {
            Piece::Ack { .. } => self.ack(handle),
            Piece::Relay { message, .. } => self.relay(message, now_ns),
            _ => Event::Other,
        }
    }

    fn ack(&mut self, handle: Handle) -> Event {
        let own = self.session(handle).own.get_or_insert_default();
        let Some(pending) = own.pending.pop_front() else {
            return Event::Other;
        };
        self.desk.unacked -= 1;
        self.desk.batch.tally.acked += 1;
        Event::Ack {
            intended_ns: pending.intended_ns,
            sent_ns: pending.sent_ns,
        }
    }

    fn relay(&mut self, text: &[u8], _now_ns: u64) -> Event {
        let terms = &self.desk.terms;
        let Ok(header) = payload::decode(text, terms.seed, terms.run) else {
            return Event::Other;
        };
        self.desk.batch.tally.delivered += 1;
        let lag_ns = self.desk.directory.sends().lag_ns(header.sender, header.k);
        Event::Relay {
            intended_ns: header.intended_ns,
            sent_ns: lag_ns.map(|lag| header.intended_ns + lag),
        }
    }

    pub(super) fn sending(
        &mut self,
        handle: Handle,
        intended_ns: u64,
        now_ns: u64,
        last: bool,
    ) -> Option<Header> {
        let run = self.desk.terms.run;
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        let header = own.compose(run, session.id, intended_ns, last)?;
        own.pending.push_back(Pending {
            k: header.k,
            intended_ns,
            sent_ns: now_ns,
            seen: 0,
            overtaken_by: 0,
        });
        let lag_ns = now_ns.saturating_sub(intended_ns);
        let sends = self.desk.directory.sends();
        sends.sent(session.id, header.k, lag_ns);
        self.desk.unacked += 1;
        self.desk.batch.tally.sent += 1;
        Some(header)
    }

    pub(super) fn has_unfinished_raw(&self, handle: Handle) -> bool {
        let own = self.sessions[handle.0 as usize].own.as_deref();
        own.is_some_and(Own::has_unfinished_raw)
    }

    pub(super) fn sent_publish(&mut self, handle: Handle, header: &Header, publish: &[u8]) {
        let own = self.session(handle).own.get_or_insert_default();
        own.survives_glued(header, publish);
    }

    pub(super) fn sending_raw(&mut self, handle: Handle, bytes: &[u8]) {
        let terms = self.desk.terms;
        let session = &mut self.sessions[handle.0 as usize];
        let own = session.own.get_or_insert_default();
        let directory = &self.desk.directory;
        if !own.send_raw(bytes, terms.dialect, terms.max_line_bytes, directory) {
            session.conduct.provoked = true;
        }
    }

    pub(super) fn leaving(&mut self, handle: Handle) {
        self.conduct(handle).leaving = true;
    }

    pub(super) fn is_open(&self, handle: Handle) -> bool {
        self.sessions[handle.0 as usize].open
    }

    pub(super) fn no_welcome(&mut self, handle: Handle, _now_ns: u64) {
        self.session(handle).open = true;
    }

    pub(super) fn overdue_acks(&mut self, _handle: Handle, _within: &str, _now_ns: u64) {}

    pub(super) fn ended(&mut self, handle: Handle, _ending: Ending, _unread: &[u8], _now_ns: u64) {
        let session = &mut self.sessions[handle.0 as usize];
        session.free = true;
        session.open = false;
        if let Some(own) = session.own.take() {
            self.desk.unacked -= own.pending.len() as u64;
        }
        self.desk.batch.ended.push(Ended {
            session: session.id,
            last_seq: 0,
            in_flight: false,
        });
        self.free.push(handle.0);
    }

    pub(super) fn wants_flush(&self) -> bool {
        self.desk.batch.len() > 4096
    }

    pub(super) fn take_batch(&mut self) -> Batch {
        std::mem::take(&mut self.desk.batch)
    }
}
