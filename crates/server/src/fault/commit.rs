//! The server's calls: at each of a few points, it asks whether a fault is due.

use std::collections::HashSet;

use tracing::info;

use super::catalogue::Fault;
use super::committed::{Committed, KEPT};
use super::delivery::{Held, Replay, Why};
use super::dice::Dice;
use super::request::Request;
use super::reserved::Reserved;
use super::rooms::{Latest, Stays};
use super::seat::{Place, Seat};
use crate::broadcast::Broadcast;
use crate::cursor::Cursor;
use crate::log::Entry;
use crate::session::{NextWrite, Phase, Stream};

/// The size of the original's read buffer: a longer publish never arrives whole.
const ORIGINAL_READ_BYTES: usize = 1024;

/// The faults that a server was asked for, and their state so far.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(super) dice: Vec<Dice>,
    /// Committed faults, each with the sessions that must stay for it to be seen.
    committed: Vec<(Committed, Vec<usize>)>,
    /// The number of committed faults beyond [`KEPT`].
    not_kept: u64,
    /// Who gets no more messages, and in which room.
    pub(super) starving: Vec<Seat>,
    /// Who is to miss its first message, as which fault.
    pub(super) late: Vec<(Seat, Fault)>,
    /// Who is kept one message behind.
    pub(super) one_behind: Vec<Seat>,
    /// Members who left a room before anything could be withheld from them: so many who join next
    /// are to miss their first message, and so many their last.
    unmet: [usize; 2],
    /// Who left a room and may be sent its next message.
    pub(super) stays: Vec<Stays>,
    /// Lines that are kept back from a session.
    pub(super) held: Vec<Held>,
    pub(super) replays: Vec<Replay>,
    pub(super) reserved: Option<Reserved>,
    /// The latest message of each room.
    pub(super) latest: Vec<Latest>,
    /// Sessions that have sent something.
    pub(super) talkers: HashSet<usize>,
    /// Sessions that were answered with an error.
    pub(super) refused: HashSet<usize>,
    /// Rooms that somebody has joined since their latest message.
    joined_lately: HashSet<Place>,
    blocking: bool,
    /// The session that the latest publish claims to be from, if it is not the sender's.
    pub(super) claimed: Option<usize>,
}

impl Faults {
    /// `None` if no faults are asked for.
    pub(crate) fn new(requests: &[Request], seed: u64) -> Option<Box<Self>> {
        if requests.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            dice: requests.iter().map(|r| Dice::new(r, seed)).collect(),
            committed: Vec::new(),
            not_kept: 0,
            starving: Vec::new(),
            late: Vec::new(),
            one_behind: Vec::new(),
            unmet: [0, 0],
            stays: Vec::new(),
            held: Vec::new(),
            replays: Vec::new(),
            reserved: None,
            latest: Vec::new(),
            talkers: HashSet::new(),
            refused: HashSet::new(),
            joined_lately: HashSet::new(),
            blocking: false,
            claimed: None,
        }))
    }

    /// The committed faults, and the number of those beyond that were not kept.
    pub(crate) fn into_committed(self) -> (Vec<Committed>, u64) {
        let committed = self
            .committed
            .into_iter()
            .map(|(committed, _)| committed)
            .collect();
        (committed, self.not_kept)
    }

    /// Notes that `fault` was committed; it is seen unless one of `parties` goes away.
    pub(super) fn tell(&mut self, fault: Fault, parties: &[usize], what: String) {
        info!(%fault, what, "fault");
        if self.committed.len() == KEPT {
            self.not_kept += 1;
            return;
        }
        let committed = Committed {
            fault,
            seen: true,
            what,
        };
        self.committed.push((committed, parties.to_vec()));
    }

    /// The position of the dice of `fault`, if they fall now.
    pub(super) fn due(&mut self, fault: Fault) -> Option<usize> {
        let at = self.dice.iter().position(|dice| dice.fault == fault)?;
        self.dice[at].falls().then_some(at)
    }

    /// As [`Self::due`], for a fault that can be committed whenever it is due: it counts as spent.
    pub(super) fn take_due(&mut self, fault: Fault) -> bool {
        let due = self.due(fault);
        if let Some(at) = due {
            self.dice[at].spend();
        }
        due.is_some()
    }

    /// Called when a session has joined, with its welcome queued.
    pub(crate) fn joined<S>(&mut self, b: &mut Broadcast<S>, id: usize)
    where
        S: Stream,
    {
        let seat = Seat {
            session: id,
            membership: None,
        };
        self.seated(b, seat);
    }

    /// Called when a session has joined a room, with its `joined` queued, or the server.
    pub(super) fn seated<S>(&mut self, b: &mut Broadcast<S>, seat: Seat)
    where
        S: Stream,
    {
        let (id, name, place) = (seat.session, b.name_of(seat), b.place_of(seat));
        self.joined_lately.insert(place.clone());
        self.pass_on(b, seat, &place);
        if self.take_due(Fault::NoWelcome) {
            b.at(seat, Cursor::clear_queued);
            let what = format!("none to {name}{}", place.of_room());
            self.tell(Fault::NoWelcome, &[id], what);
        }
        if take_one(&mut self.unmet[0]) || self.take_due(Fault::LateJoin) {
            self.late.push((seat, Fault::LateJoin));
        }
        if take_one(&mut self.unmet[1]) || self.take_due(Fault::DropTail) {
            self.one_behind.push(seat);
        }
        let latest = self.latest.iter().find(|latest| latest.place == place);
        if let Some(line) = latest.map(Latest::line)
            && self.take_due(Fault::BeforeJoin)
        {
            let number = place.number(b.log_at(seat).seq());
            let what = format!("{number} to {name}, who joined behind it");
            b.reply_at(seat, line);
            self.tell(Fault::BeforeJoin, &[id], what);
        }
    }

    /// Who is to miss its first or its last message, and has had none so far, may be where nobody
    /// talks. So another takes its place who joins another room: `seat`, in `place`.
    fn pass_on<S>(&mut self, b: &mut Broadcast<S>, seat: Seat, place: &Place)
    where
        S: Stream,
    {
        let mut is_elsewhere = |waiting: Seat| b.place_of(waiting) != *place;
        let mut late = self.late.iter_mut();
        let late =
            late.find(|(waiting, fault)| *fault == Fault::LateJoin && is_elsewhere(*waiting));
        if let Some((waiting, _)) = late {
            *waiting = seat;
        }
        let has_had = |waiting: Seat| self.held.iter().any(|held| held.seat == waiting);
        let mut behind = self.one_behind.iter_mut();
        let behind = behind.find(|waiting| is_elsewhere(**waiting) && !has_had(**waiting));
        if let Some(waiting) = behind {
            *waiting = seat;
        }
    }

    /// Whether the input of one read from a session is lost.
    pub(crate) fn loses_read<S>(&mut self, b: &mut Broadcast<S>, id: usize, bytes: &[u8]) -> bool
    where
        S: Stream,
    {
        // Who joins rooms need not be one who talks.
        if !bytes.starts_with(b"{\"join\":") {
            self.talkers.insert(id);
        }
        let session = b.session(id);
        let lines = match &session.classic {
            Some(side) => side.whole_objects(bytes),
            None if session.lines.pending_bytes() > 0 || !bytes.ends_with(b"\n") => 0,
            None => memchr::memchr_iter(b'\n', bytes).count(),
        };
        if lines < 2 || !self.take_due(Fault::LoseCoalesced) {
            return false;
        }
        let name = b.session(id).client_ip.to_string();
        for line in 1..=lines {
            let what = format!("publish {line} of {lines} in one read from {name}");
            self.tell(Fault::LoseCoalesced, &[id], what);
        }
        true
    }

    /// Notes that the next publish of `id` claims to be from `address`.
    pub(crate) fn claims<S>(&mut self, b: &mut Broadcast<S>, id: usize, address: Option<&str>)
    where
        S: Stream,
    {
        let mut sessions = b.sessions.iter().enumerate();
        self.claimed = sessions.find_map(|(other, session)| {
            let named = session.as_ref()?.client_ip.as_ref() == address?;
            (named && other != id).then_some(other)
        });
    }

    /// Whether a line or an object from a session is lost.
    pub(crate) fn loses_line<S>(&mut self, b: &mut Broadcast<S>, id: usize, line: &[u8]) -> bool
    where
        S: Stream,
    {
        if line.len() <= ORIGINAL_READ_BYTES || !self.take_due(Fault::Truncate1024) {
            return false;
        }
        let name = &b.session(id).client_ip;
        let what = format!("a publish of {} bytes from {name}", line.len());
        self.tell(Fault::Truncate1024, &[id], what);
        true
    }

    /// Whether `error`, the answer to a line of a session, is kept back. The line may have named a
    /// `room`.
    pub(crate) fn refused<S>(
        &mut self,
        b: &mut Broadcast<S>,
        id: usize,
        room: Option<&str>,
        line: &[u8],
        error: &[u8],
    ) -> bool
    where
        S: Stream,
    {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty()
            && self.held.is_empty()
            && let Some(at) = self.due(Fault::RelayRejected)
        {
            let seat = Seat {
                session: id,
                membership: room.and_then(|room| b.rooms.find(id, room)),
            };
            let (name, place) = (b.name_of(seat), b.place_of(seat));
            if let Some(entry) = b.append_at(seat, &name, &text) {
                self.dice[at].spend();
                let what = format!("a line of {name}, as {}", place.number(entry.seq));
                self.tell(Fault::RelayRejected, &[], what);
            }
        }
        self.refused.insert(id);
        if let Some(reserved) = &mut self.reserved {
            return reserved.keeps_error(id, error);
        }
        let begins = self.held.is_empty() && self.due(Fault::EffectFirst).is_some();
        if begins {
            self.reserved = Some(Reserved::for_effect(id, error));
        }
        begins
    }

    /// Whether a session that leaves by a half-close is sent a bye.
    pub(crate) fn bids_bye<S>(&mut self, b: &mut Broadcast<S>, id: usize) -> bool
    where
        S: Stream,
    {
        if self.reserved.as_ref().is_some_and(|r| r.involves(id)) {
            self.give_up(b);
        }
        let name = b.session(id).client_ip.to_string();
        self.release_to(b, |seat| seat.session == id);
        if self.take_due(Fault::NoBye) {
            self.tell(Fault::NoBye, &[id], format!("none to {name}"));
            return false;
        }
        true
    }

    /// Deals with what is kept back from those who leave.
    pub(super) fn release_to<S>(&mut self, b: &mut Broadcast<S>, leaves: impl Fn(Seat) -> bool)
    where
        S: Stream,
    {
        let held = self.held.extract_if(.., |held| leaves(held.seat));
        for held in held.collect::<Vec<Held>>() {
            let seat = held.seat;
            let (name, place) = (b.name_of(seat), b.place_of(seat));
            match held.why {
                Why::Tail => {
                    let goodbye = match seat.membership {
                        None => "bye",
                        Some(_) => "left",
                    };
                    let number = place.number(held.seq);
                    let what = format!("{number} to {name}, the last before its {goodbye}");
                    self.tell(Fault::DropTail, &[seat.session], what);
                    self.one_behind.retain(|behind| *behind != seat);
                }
                Why::Swap { .. } => {
                    b.reply_at(seat, held.line);
                }
                Why::Ack { publish_id } => {
                    b.reply_at(seat, place.ack(held.seq, publish_id));
                    if b.log_at(seat).seq() > held.seq {
                        self.tell_swapped_ack(seat.session, &place.number(held.seq), &name);
                    }
                }
            }
        }
    }

    pub(super) fn tell_swapped_ack(&mut self, id: usize, number: &str, name: &str) {
        if let Some(dice) = self.dice.iter_mut().find(|d| d.fault == Fault::SwapAcks) {
            dice.spend();
        }
        let what = format!("the ack of {number} to {name} came behind a later number");
        self.tell(Fault::SwapAcks, &[id], what);
    }

    /// Called when a session is over; `complete` is whether it was sent all that it was owed.
    pub(crate) fn removed<S>(&mut self, b: &mut Broadcast<S>, id: usize, complete: bool)
    where
        S: Stream,
    {
        for (committed, parties) in &mut self.committed {
            let before = parties.len();
            parties.retain(|party| *party != id);
            committed.seen &= complete || parties.len() == before;
        }
        self.forget(|seat| seat.session == id);
        self.stays.retain(|stays| stays.session != id);
        self.talkers.remove(&id);
        self.refused.remove(&id);
        self.gone_from_reserved(b, id);
    }

    /// Forgets what is planned for those who are gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(Seat) -> bool) {
        self.starving.retain(|seat| !is_gone(*seat));
        let leaves = |seat: Seat| seat.membership.is_some() && is_gone(seat);
        let late = self.late.iter();
        let late = late.filter(|(seat, fault)| *fault == Fault::LateJoin && leaves(*seat));
        self.unmet[0] += late.count();
        self.late.retain(|(seat, _)| !is_gone(*seat));
        let behind = self.one_behind.iter();
        self.unmet[1] += behind.filter(|seat| leaves(**seat)).count();
        self.one_behind.retain(|seat| !is_gone(*seat));
        self.held.retain(|held| !is_gone(held.seat));
        self.replays.retain(|replay| !is_gone(replay.seat));
    }

    /// Whether a pass writes to no session, because the socket of one is full.
    pub(crate) fn blocks<S>(&mut self, b: &Broadcast<S>) -> bool {
        let mut sessions = b.sessions.iter().flatten();
        let slow = sessions
            .find(|s| s.next_write == NextWrite::WhenWritable && s.phase != Phase::Gone)
            .map(|s| s.client_ip.to_string());
        let Some(slow) = slow else {
            self.blocking = false;
            return false;
        };
        if !self.blocking && self.take_due(Fault::BlockOnSlow) {
            self.blocking = true;
            let what = format!("everyone waits for {slow}");
            self.tell(Fault::BlockOnSlow, &[], what);
        }
        self.blocking
    }

    /// Takes a publish where a server without faults would number and ack it.
    pub(crate) fn publish<S>(
        &mut self,
        b: &mut Broadcast<S>,
        seat: Seat,
        message: &str,
        publish_id: Option<u64>,
    ) where
        S: Stream,
    {
        if !self.reserve(b, seat, message, publish_id) {
            self.number(b, seat, message, publish_id);
        }
    }

    /// Numbers a publish and delivers it.
    pub(super) fn number<S>(
        &mut self,
        b: &mut Broadcast<S>,
        seat: Seat,
        message: &str,
        publish_id: Option<u64>,
    ) where
        S: Stream,
    {
        let (before, place) = (b.log_at(seat).seq(), b.place_of(seat));
        let skips = self.take_due(Fault::SkipNumber);
        if skips {
            b.log_at(seat).set_seq(before + 1);
            self.tell(Fault::SkipNumber, &[], place.number(before + 1));
        }
        // A session that joined after the number would still be sent it, which is another fault.
        let is_first = !self.latest.iter().any(|latest| latest.place == place);
        let reusable = !skips && !is_first && !self.joined_lately.contains(&place);
        let reuse = reusable.then(|| self.due(Fault::ReuseNumber)).flatten();
        if reuse.is_some() {
            b.log_at(seat).set_seq(before - 1);
        }
        let Some(entry) = b.number_at(seat, message, publish_id) else {
            if skips || reuse.is_some() {
                b.log_at(seat).set_seq(before);
            }
            return;
        };
        if let Some(at) = reuse {
            self.dice[at].spend();
            self.tell(Fault::ReuseNumber, &[], place.number(before));
        }
        self.joined_lately.remove(&place);
        self.deliver(b, seat, entry, message, publish_id);
        self.invent(b, seat);
    }

    fn invent<S>(&mut self, b: &mut Broadcast<S>, seat: Seat)
    where
        S: Stream,
    {
        if !self.held.is_empty() {
            return; // a line that is kept back would come after it
        }
        let Some(at) = self.due(Fault::InventMessage) else {
            return;
        };
        let ips: Vec<&str> = b.sessions.iter().flatten().map(|s| &*s.client_ip).collect();
        let Some(ip) = self.dice[at].pick(&ips).map(str::to_owned) else {
            return;
        };
        let place = b.place_of(seat);
        if let Some(Entry { seq, .. }) = b.append_at(seat, &ip, "nobody ever said this") {
            self.dice[at].spend();
            let what = format!("{}, in the name of {ip}", place.number(seq));
            self.tell(Fault::InventMessage, &[], what);
        }
    }
}

/// Takes one of so many, if there is one.
fn take_one(of: &mut usize) -> bool {
    let is_any = *of > 0;
    *of -= usize::from(is_any);
    is_any
}
