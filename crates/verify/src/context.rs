//! The common part of both kinds of ledger: the terms, the directory, the sessions, and the batch
//! that gathers. The actions of a session's client and the answers to them are followed here
//! ([`answers`]), and relays are read ([`relays`]); a ledger adds in which order messages come.

mod answers;
mod relays;

use std::net::SocketAddr;

use super::anomaly::Anomaly;
use super::batch::{Batch, Message};
use super::directory::ClientId;
use super::flags::Parting;
use super::ledger::{Ending, Handle, Terms};
use super::outbox::{Outbox, Pending};
use super::sessions::{NEVER, Session, Sessions, Stage};
use super::trace::view::View;
use super::violation::{Evidence, HangUp, Violation, Who};
use crate::outstanding::rounded_down;
pub(super) use answers::TakenAck;
use chatbench_wire::payload::{Header, SenderId};
use chatbench_wire::rooms::RoomId;
use chatbench_wire::seen::{Glued, RawSent};
pub(super) use relays::Text;

/// The common part of both kinds of ledger, each of which keeps its own `P` about each session.
#[derive(Debug)]
pub(super) struct Context<P> {
    pub(super) terms: Terms,
    pub(super) directory: View,
    pub(super) sessions: Sessions<P>,
    pub(super) batch: Batch,
    /// Messages of this shard that wait for their acks.
    pub(super) unacked: u64,
    /// Frames that were kept since the last hand-over.
    pub(super) kept_since_flush: usize,
    /// The relay that is told of now came before others: it is not kept for other receivers, since
    /// a trace names the frames that are kept by when they are told of.
    pub(super) is_belated: bool,
}

/// Frames and anomalies that may gather before a hand-over is asked for.
pub(super) const FLUSH_AFTER: usize = 4096;

impl<P> Context<P> {
    pub(super) fn new(terms: Terms, directory: View) -> Self {
        Self {
            terms,
            directory,
            sessions: Sessions::new(),
            batch: Batch::default(),
            unacked: 0,
            kept_since_flush: 0,
            is_belated: false,
        }
    }

    /// Whether it is the ledger of a room that has a name. Its sessions are memberships: what
    /// concerns whole connections is reported by that of the unnamed room, in which everyone is.
    pub(super) const fn is_named(&self) -> bool {
        self.directory.room().0 != RoomId::UNNAMED.0
    }

    /// Frames and anomalies that have gathered since the last hand-over.
    pub(super) fn gathered(&self) -> usize {
        self.kept_since_flush + self.batch.len()
    }

    /// Takes the batch out, to hand it over.
    pub(super) fn take_batch(&mut self, watermark: u64) -> Batch {
        self.kept_since_flush = 0;
        let mut batch = std::mem::take(&mut self.batch);
        batch.watermark = watermark;
        batch
    }

    // Violations.

    /// A violation, seen by `handle`, that needs no further knowledge.
    pub(super) fn certain(
        &mut self,
        evidence: Evidence,
        handle: Handle,
        message: Option<Message>,
        now_ns: u64,
    ) {
        self.certain_to(evidence, self.sessions[handle].client, message, now_ns);
    }

    /// A violation, seen by `client`, that needs no further knowledge.
    pub(super) fn certain_to(
        &mut self,
        evidence: Evidence,
        client: ClientId,
        message: Option<Message>,
        now_ns: u64,
    ) {
        let violation = self.violation(evidence, client, message, now_ns);
        self.batch.anomalies.push(Anomaly::Certain(violation));
    }

    /// The target closed a connection without what it owed at the end. The last number that its
    /// session had `seen` tells which numbering that was, should the target begin anew.
    pub(super) fn hung_up(&mut self, evidence: Evidence, handle: Handle, seen: u64, now_ns: u64) {
        let client = self.sessions[handle].client;
        let violation = self.violation(evidence, client, None, now_ns);
        let hung_up = Anomaly::HungUp { seen, violation };
        self.batch.anomalies.push(hung_up);
    }

    pub(super) fn violation(
        &self,
        evidence: Evidence,
        client: ClientId,
        message: Option<Message>,
        at_ns: u64,
    ) -> Violation {
        Violation {
            evidence,
            receiver: Some(Who::Client(client)),
            message: message.map(|message| self.directory.message(message)),
            seq: None,
            room: self.directory.room(),
            at_ns,
        }
    }

    // The life of a session.

    /// A new session of `client`, which is about to connect.
    pub(super) fn connecting(
        &mut self,
        client: ClientId,
        progress: impl FnOnce(SenderId) -> P,
    ) -> Option<(Handle, SenderId)> {
        let id = self.directory.open(client)?;
        self.batch.tally.sessions += 1;
        Some((self.sessions.begin(id, client, progress(id)), id))
    }

    /// The connection stands; `local` is its own end's address. A membership has that of its
    /// connection.
    pub(super) fn connected(&mut self, handle: Handle, local: Option<SocketAddr>) {
        let session = &mut self.sessions[handle];
        session.flags.stood = true;
        if let Some(local) = local {
            self.directory.set_address(session.id, &local.to_string());
        }
    }

    /// A session is welcomed as `address`. An error that it got first was not in place of that.
    pub(super) fn welcomed(&mut self, handle: Handle, address: &str, now_ns: u64) {
        let Session { id, flags, .. } = self.sessions[handle];
        if self.is_named() {
            // A membership has the address of its connection.
        } else if !self.terms.capabilities.senders {
            // Nobody is told an address.
        } else if self.terms.addresses_known
            && let Err(truth) = self.directory.check_address(id, address)
        {
            let welcomed_as = Evidence::WelcomedAs {
                truth: truth.into(),
                claimed: address.into(),
            };
            self.certain(welcomed_as, handle, None, now_ns);
        } else {
            self.directory.set_address(id, address);
        }
        if flags.error_first {
            self.certain(Evidence::ErrorBeforeWelcome, handle, None, now_ns);
        }
    }

    /// The client half-closes.
    pub(super) fn leaving(&mut self, handle: Handle, now_ns: u64) {
        let session = &mut self.sessions[handle];
        session.flags.leaving = true;
        session.left_ns = now_ns;
    }

    /// A session got its bye, or its equivalent: everything that it is owed has come, or will not.
    pub(super) fn left(&mut self, handle: Handle) {
        let coverage = &mut self.batch.coverage;
        coverage.polite_leaves += u64::from(self.sessions[handle].flags.leaving);
        coverage.fences_seen += 1;
    }

    /// A session ended that was waiting for its welcome; `seen` as for [`Self::hung_up`].
    pub(super) fn parted_early(
        &mut self,
        handle: Handle,
        ending: Ending,
        after_malformed: bool,
        seen: u64,
        now_ns: u64,
    ) {
        let flags = self.sessions[handle].flags;
        if flags.hung_up_early(ending, after_malformed) && !self.is_named() {
            let hung_up = Evidence::hung_up(ending, HangUp::Connecting);
            self.hung_up(hung_up, handle, seen, now_ns);
        }
    }

    /// A session ended that was open, and got no bye; `seen` as for [`Self::hung_up`].
    pub(super) fn parted(
        &mut self,
        handle: Handle,
        (parting, ending): (Parting, Ending),
        seen: u64,
        now_ns: u64,
    ) {
        if self.is_named() {
            return; // it is on record of the connection
        }
        let evidence = match parting {
            Parting::Gone | Parting::Excused | Parting::TimeUp => return,
            Parting::CutOff { innocent } => {
                self.batch.tally.cut_off += u64::from(innocent);
                return;
            }
            Parting::MayBeSlow => {
                self.batch.tally.may_be_slow += 1;
                return;
            }
            Parting::NoGoodbye if self.terms.capabilities.bye => Evidence::NoBye,
            Parting::NoGoodbye => Evidence::hung_up(ending, HangUp::Leaving),
            Parting::HungUp => Evidence::hung_up(ending, HangUp::Open),
        };
        self.hung_up(evidence, handle, seen, now_ns);
    }

    /// The time was up before a session's end was stated.
    pub(super) fn unfinished(&mut self) {
        self.batch.tally.unfinished += u64::from(!self.is_named());
    }

    /// A session was told goodbye and had not asked for it. Of a membership it depends on the
    /// connection whether that is to be.
    pub(super) fn unasked_bye(&mut self, handle: Handle) {
        self.batch.tally.unasked_byes += u64::from(!self.is_named());
        self.sessions[handle].flags.gone = true;
    }

    /// Whether the session is welcomed, or goes on as if it were.
    pub(super) fn is_open(&self, handle: Handle) -> bool {
        self.sessions[handle].stage == Stage::Open
    }

    /// The time until which a session that is about to be cut was listening; `None` where it had no
    /// part in the run any more.
    pub(super) fn listened_until(&self, handle: Handle, now_ns: u64) -> Option<u64> {
        let session = &self.sessions[handle];
        let flags = session.flags;
        let own_doing = flags.gone || flags.provoked || flags.cut_off;
        (session.stage == Stage::Open && !own_doing).then_some(match session.left_ns {
            NEVER => now_ns,
            left_ns => rounded_down(left_ns),
        })
    }

    // Everything that its client sends.

    /// A message is about to be sent: gives it its k. Its sender had got everything up to `seen`;
    /// its ack is waited for if `ack` is.
    pub(super) fn sending(
        &mut self,
        handle: Handle,
        (intended_ns, sent_ns): (u64, u64),
        last: bool,
        seen: u64,
        ack: bool,
    ) -> Option<Header> {
        let session = &mut self.sessions[handle];
        let sender = session.id;
        let outbox = session.outbox();
        let header = outbox.compose(self.terms.run, sender, intended_ns, last)?;
        if self.unacked > outbox.pending.len() as u64 {
            self.batch.coverage.overlapping_sends += 1;
        }
        if ack {
            outbox.pending.push_back(Pending {
                k: header.k,
                intended_ns,
                sent_ns,
                seen,
                overtaken_by: 0,
            });
            self.unacked += 1;
        }
        let lag_ns = sent_ns.saturating_sub(intended_ns);
        self.directory.sends().sent(sender, header.k, lag_ns);
        self.batch.tally.sent += 1;
        Some(header)
    }

    /// The publish of `header` ran together with bytes that a script had sent before. Returns the
    /// message if the target cannot have read it as what it is.
    pub(super) fn sent_glued(
        &mut self,
        handle: Handle,
        header: &Header,
        glued: Glued,
    ) -> Option<Message> {
        let session = &mut self.sessions[handle];
        let outbox = session.outbox.get_or_insert_default();
        if outbox.sent_glued(glued) {
            return None;
        }
        session.flags.provoked = true;
        if outbox.pending.pop_back().is_some() {
            self.unacked -= 1;
        }
        outbox.waive_ack(header.k);
        Some(Message {
            sender: header.sender,
            k: header.k,
        })
    }

    /// A script sends bytes as they stand. Acks of the messages among them are waited for if `acks`
    /// are.
    pub(super) fn sending_raw(&mut self, handle: Handle, sent: &RawSent, acks: bool) {
        let session = &mut self.sessions[handle];
        let outbox = session.outbox.get_or_insert_default();
        outbox.send_raw(sent, &self.directory);
        session.flags.provoked |= !sent.is_right;
        if let Some(raw) = outbox.raw.as_mut().filter(|_| !acks) {
            raw.acks_owed = 0;
        }
    }

    /// Messages of a session that wait for their acks.
    pub(super) fn unacked(&self, handle: Handle) -> usize {
        let outbox = self.sessions[handle].outbox.as_deref();
        outbox.map_or(0, Outbox::unacked)
    }
}
