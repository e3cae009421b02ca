//! Faults in the delivery of one message to its sender and its receivers.
//!
//! A session is affected at most once per message: by a line that was kept back for it, by a
//! lasting fault (it gets no messages, or is kept one behind), or by one that is drawn. So two
//! faults that are asked for together never look like a third.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::catalogue::{Chance, Fault};
use super::commit::Faults;
use super::seat::{Place, Seat};
use crate::broadcast::Broadcast;
use crate::log::Entry;
use crate::session::{NextWrite, Stream};
use chatbench_wire::{Dialect, classic, ndjson};

/// How many messages later a message is sent again.
const REPLAY_AFTER: u64 = 20;

/// How long a delayed receiver is sent nothing.
const DELAY: Duration = Duration::from_secs(1);

/// A line that is kept back from a session, which got nothing in its place.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seat: Seat,
    pub(super) seq: u64,
    pub(super) line: Vec<u8>,
    pub(super) why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    /// The session is kept one message behind, to lose the last one.
    Tail,
    /// To be swapped with the next message, if that is from the right sender. Senders are told
    /// apart by address, because the id of a session that is over is reused.
    Swap {
        fault: Fault,
        client_ip: String,
        message: String,
    },
    /// To be sent after the ack of the session's next message.
    Ack { publish_id: Option<u64> },
}

/// A line that is sent again once number `at_seq` is given out.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) seat: Seat,
    seq: u64,
    at_seq: u64,
    line: Vec<u8>,
}

/// A message that was just numbered, and the receivers that are to get it unchanged.
pub(super) struct Delivery<'a> {
    pub(super) entry: Entry,
    pub(super) sender: Seat,
    pub(super) client_ip: String,
    pub(super) message: &'a str,
    publish_id: Option<u64>,
    pub(super) place: Place,
    pub(super) line: Vec<u8>,
    /// Receivers that no fault has affected.
    pub(super) untouched: Vec<Seat>,
    all_receivers: usize,
}

impl Delivery<'_> {
    pub(super) fn touch(&mut self, seat: Seat) {
        self.untouched.retain(|receiver| *receiver != seat);
    }

    /// Its number, in words.
    pub(super) fn number(&self) -> String {
        self.place.number(self.entry.seq)
    }
}

impl Faults {
    /// Delivers a message that was just numbered. A server without faults only queues the
    /// sender's ack here.
    pub(super) fn deliver<S>(
        &mut self,
        b: &mut Broadcast<S>,
        sender: Seat,
        entry: Entry,
        message: &str,
        publish_id: Option<u64>,
    ) where
        S: Stream,
    {
        let (client_ip, place) = (b.name_of(sender), b.place_of(sender));
        let mut untouched = b.seats_beside(sender);
        untouched.retain(|seat| *seat != sender);
        let mut delivery = Delivery {
            entry,
            sender,
            line: place.relay(entry.seq, &client_ip, message),
            place,
            client_ip,
            message,
            publish_id,
            all_receivers: untouched.len(),
            untouched,
        };
        let held_ack = self.release_held(b, &mut delivery);
        self.starve(b, &mut delivery);
        self.ack(b, &mut delivery, held_ack);
        self.replay(b, &delivery);
        let requested: Vec<Fault> = self.dice.iter().map(|dice| dice.fault).collect();
        for fault in requested {
            if fault.entry().chance == Chance::Message {
                self.relay(b, &mut delivery, fault);
            }
        }
        self.leak(b, &delivery);
        self.note_latest(&delivery);
    }

    /// Sends lines that were kept back before this message, or swaps them with it. Returns an ack
    /// that is to be sent after the one of this message.
    fn release_held<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>) -> Option<Held>
    where
        S: Stream,
    {
        let mut held_ack = None;
        for held in std::mem::take(&mut self.held) {
            let seat = held.seat;
            if b.place_of(seat) != d.place {
                self.held.push(held); // it waits for a message of its own room
                continue;
            }
            match &held.why {
                Why::Ack { .. } if d.sender == seat => held_ack = Some(held),
                // Another client's message comes next: the ack is sent where it belongs after all.
                // Kept back for longer it would be missing, should its client reset the connection.
                Why::Ack { publish_id } => {
                    let ack = d.place.ack(held.seq, *publish_id);
                    b.at(seat, |cursor| cursor.insert_before(d.entry, ack));
                }
                Why::Swap {
                    fault,
                    client_ip,
                    message,
                } if d.untouched.contains(&seat)
                    && self.may_swap(*fault)
                    && (*fault == Fault::SwapSameSender) == (d.client_ip == *client_ip) =>
                {
                    let at = self.dice.iter().position(|dice| dice.fault == *fault);
                    let by_number = at.is_some_and(|at| self.dice[at].below(2) == 1);
                    let lines = if by_number {
                        let other = d.place.relay(held.seq, &d.client_ip, d.message);
                        let one = d.place.relay(d.entry.seq, client_ip, message);
                        [other, one].concat()
                    } else {
                        [&d.line[..], &held.line[..]].concat()
                    };
                    b.at(seat, |cursor| cursor.replace(d.entry, lines));
                    d.touch(seat);
                    if let Some(at) = at {
                        self.dice[at].spend();
                    }
                    let name = b.name_of(seat);
                    let (one, other) = (held.seq, d.entry.seq);
                    let what = format!("numbers {one} and {other}{} to {name}", d.place.of_room());
                    self.tell(*fault, &[seat.session], what);
                }
                Why::Tail | Why::Swap { .. } => {
                    b.at(seat, |cursor| cursor.insert_before(d.entry, held.line));
                }
            }
        }
        held_ack
    }

    /// Applies the lasting faults: sessions that get no messages, miss their first one, or are kept
    /// one behind.
    fn starve<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>)
    where
        S: Stream,
    {
        for seat in d.untouched.clone() {
            let starves = self.starving.contains(&seat);
            let late = self.late.iter().position(|(late, _)| *late == seat);
            if self.one_behind.contains(&seat) {
                b.at(seat, |cursor| cursor.replace(d.entry, Vec::new()));
                self.held.push(Held {
                    seat,
                    seq: d.entry.seq,
                    line: d.line.clone(),
                    why: Why::Tail,
                });
            } else if starves || late.is_some() {
                b.at(seat, |cursor| cursor.replace(d.entry, Vec::new()));
                let late = late.map(|late| self.late.swap_remove(late));
                let (number, name) = (d.number(), b.name_of(seat));
                let (fault, what) = match late {
                    Some((_, fault)) if !starves => {
                        (fault, format!("{number} to {name}, its first"))
                    }
                    _ => (Fault::StarveOne, format!("{number} to {name}")),
                };
                self.tell(fault, &[seat.session], what);
            } else {
                continue;
            }
            d.touch(seat);
        }
    }

    fn ack<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>, held: Option<Held>)
    where
        S: Stream,
    {
        let (sender, id) = (d.sender, d.sender.session);
        let Entry { seq, .. } = d.entry;
        let (name, number) = (&d.client_ip.clone(), d.number());
        let ack = match d.place.dialect {
            Dialect::Ndjson => d.place.ack(seq, d.publish_id),
            Dialect::Classic => {
                let mut text = Vec::new();
                classic::encode_ack(&mut text, name);
                text
            }
        };
        let claimed = self.claimed.take();
        let claimed = d
            .untouched
            .iter()
            .find(|seat| Some(seat.session) == claimed);
        if let Some(held) = held
            && let Why::Ack { publish_id } = held.why
        {
            b.ack_at(sender, d.entry, d.publish_id);
            b.reply_at(sender, d.place.ack(held.seq, publish_id));
            self.tell_swapped_ack(id, &d.place.number(held.seq), name);
        } else if let Some(other) = claimed.copied()
            && self.take_due(Fault::SpoofableAck)
        {
            // The session that the message names is acked; all others get it, its sender included.
            b.at(sender, |cursor| cursor.replace(d.entry, d.line.clone()));
            b.at(other, |cursor| cursor.replace(d.entry, ack));
            d.touch(other);
            let to = b.name_of(other);
            let what = format!("of {number} to {to}, whom {name} claimed to be");
            self.tell(Fault::SpoofableAck, &[id, other.session], what);
        } else if self.take_due(Fault::DropAck) {
            b.at(sender, |cursor| cursor.replace(d.entry, Vec::new()));
            self.tell(Fault::DropAck, &[id], format!("of {number} to {name}"));
        } else if self.take_due(Fault::DoubleAck) {
            b.at(sender, |cursor| cursor.replace(d.entry, ack.repeat(2)));
            self.tell(Fault::DoubleAck, &[id], format!("of {number} to {name}"));
        } else if self.held.is_empty() && self.due(Fault::SwapAcks).is_some() {
            b.at(sender, |cursor| cursor.replace(d.entry, Vec::new()));
            self.held.push(Held {
                seat: sender,
                seq,
                line: Vec::new(),
                why: Why::Ack {
                    publish_id: d.publish_id,
                },
            });
        } else if let Some(at) = self.due(Fault::MisrouteAck)
            && let Some(other) = self.dice[at].pick(&d.untouched)
        {
            self.dice[at].spend();
            b.at(sender, |cursor| cursor.replace(d.entry, Vec::new()));
            if self.dice[at].below(2) == 0 {
                b.at(other, |cursor| cursor.replace(d.entry, ack));
            } else {
                b.reply_at(other, ack);
            }
            d.touch(other);
            let to = b.name_of(other);
            let what = format!("of {number} to {to}, not to {name}");
            self.tell(Fault::MisrouteAck, &[id, other.session], what);
        } else if let Some(at) = self.due(Fault::Echo) {
            self.dice[at].spend();
            let lines = if self.dice[at].below(2) == 0 {
                [d.line.clone(), ack].concat()
            } else {
                [ack, d.line.clone()].concat()
            };
            b.at(sender, |cursor| cursor.replace(d.entry, lines));
            self.tell(Fault::Echo, &[id], format!("{number} to {name}"));
        } else {
            b.ack_at(sender, d.entry, d.publish_id);
        }
        let unheld = d.untouched.len() == d.all_receivers && d.all_receivers > 0;
        if unheld && self.take_due(Fault::AckThenLose) {
            for receiver in std::mem::take(&mut d.untouched) {
                b.at(receiver, |cursor| cursor.replace(d.entry, Vec::new()));
            }
            self.tell(Fault::AckThenLose, &[], format!("{number} of {name}"));
        }
    }

    fn replay<S>(&mut self, b: &mut Broadcast<S>, d: &Delivery<'_>)
    where
        S: Stream,
    {
        let is_due = |r: &mut Replay| b.place_of(r.seat) == d.place && r.at_seq <= d.entry.seq;
        let due: Vec<Replay> = self.replays.extract_if(.., is_due).collect();
        for Replay {
            seat, seq, line, ..
        } in due
        {
            if b.reply_at(seat, line) {
                let (number, name) = (d.place.number(seq), b.name_of(seat));
                let what = format!("{number} to {name}, behind {}", d.entry.seq);
                self.tell(Fault::ReplayStale, &[seat.session], what);
            }
        }
    }

    /// Whether a swap is still to be made: another room may have had it meanwhile.
    fn may_swap(&self, fault: Fault) -> bool {
        let dice = self.dice.iter().find(|dice| dice.fault == fault);
        dice.is_some_and(|dice| !dice.is_spent())
    }

    /// Commits `fault` on this message, for one receiver of it, if it is due.
    fn relay<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>, fault: Fault)
    where
        S: Stream,
    {
        if !is_of_one_relay(fault) {
            return;
        }
        let Some(at) = self.due(fault) else { return };
        let mut receivers = d.untouched.clone();
        match fault {
            // A client that sends may be leaving, or be waking its task, at this moment. One that
            // joined a room has sent that, and waits for nothing if it has its answer.
            Fault::DelayRelay | Fault::HangUp => {
                receivers.retain(|seat| !self.talkers.contains(&seat.session));
            }
            Fault::LostInOneRoom => receivers.retain(|seat| b.rooms_of(*seat) > 1),
            _ => {}
        }
        let Some(seat) = self.dice[at].pick(&receivers) else {
            return;
        };
        let (entry, seq, id) = (d.entry, d.entry.seq, seat.session);
        let (name, number) = (b.name_of(seat), d.number());
        let mut what = format!("{number} to {name}");
        let mut replace = |lines: Vec<u8>| b.at(seat, |cursor| cursor.replace(entry, lines));
        match fault {
            Fault::DropRelay | Fault::LostInOneRoom => replace(Vec::new()),
            Fault::StarveOne => {
                replace(Vec::new());
                self.starving.push(seat);
            }
            Fault::DuplicateRelay => replace(d.line.repeat(2)),
            Fault::BlankRelay => replace(d.place.relay(seq, &d.client_ip, "")),
            Fault::RelayNamesRecipient => replace(d.place.relay(seq, &name, d.message)),
            Fault::TornFrame => replace([&d.line[..d.line.len() / 2], &d.line[..]].concat()),
            Fault::GarbageFrame => {
                replace([&d.line[..], b"%$! not a frame\n"].concat());
                what = format!("to {name}, behind {number}");
            }
            Fault::StrayError => {
                // It has the id of the message, which is another client's, or no id at all.
                let named = d.publish_id.filter(|_| self.dice[at].below(2) == 0);
                let mut lines = d.line.clone();
                ndjson::encode_error(&mut lines, "malformed", "nobody asked for this", named);
                replace(lines);
                what = format!("to {name}, behind {number}");
            }
            Fault::FlipByte | Fault::TruncateMessage => {
                let altered = if fault == Fault::FlipByte {
                    let place = self.dice[at].below(d.message.chars().count());
                    with_one_changed(d.message, place)
                } else {
                    d.message
                        .chars()
                        .take(d.message.chars().count() / 2)
                        .collect()
                };
                if altered.is_empty() {
                    return; // an empty relay would be another fault
                }
                replace(d.place.relay(seq, &d.client_ip, &altered));
            }
            Fault::WrongSender => {
                let ips = b.sessions.iter().flatten().map(|s| s.client_ip.to_string());
                let others: Vec<String> =
                    ips.filter(|ip| *ip != d.client_ip && *ip != name).collect();
                let places: Vec<usize> = (0..others.len()).collect();
                let Some(place) = self.dice[at].pick(&places) else {
                    return;
                };
                let line = d.place.relay(seq, &others[place], d.message);
                b.at(seat, |cursor| cursor.replace(entry, line));
            }
            Fault::HangUp => {
                b.hang_up(id);
                what = format!("on {name}, behind {number}");
            }
            Fault::DelayRelay => {
                let until = Instant::now() + DELAY;
                let session = b.session(id);
                session.next_write = NextWrite::NotBefore(until);
                if let Some(waker) = session.waker() {
                    tokio::task::spawn_local(async move {
                        sleep_until(until).await;
                        waker.wake();
                    });
                }
                what = format!("from {number} on to {name}");
            }
            Fault::ReplayStale => {
                self.replays.push(Replay {
                    seat,
                    seq,
                    at_seq: seq + REPLAY_AFTER,
                    line: d.line.clone(),
                });
                self.dice[at].spend();
                return; // reported when it is sent
            }
            Fault::SwapSameSender | Fault::SwapSenders => {
                replace(Vec::new());
                self.held.push(Held {
                    seat,
                    seq,
                    line: d.line.clone(),
                    why: Why::Swap {
                        fault,
                        client_ip: d.client_ip.clone(),
                        message: d.message.to_owned(),
                    },
                });
                d.touch(seat);
                return; // reported when the next message is the right one
            }
            _ => unreachable!("{fault} is not of one relay"),
        }
        d.touch(seat);
        self.dice[at].spend();
        self.tell(fault, &[id], what);
    }
}

/// Whether a fault affects one relay to one receiver.
fn is_of_one_relay(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DropRelay
            | Fault::LostInOneRoom
            | Fault::StarveOne
            | Fault::DuplicateRelay
            | Fault::ReplayStale
            | Fault::SwapSameSender
            | Fault::SwapSenders
            | Fault::FlipByte
            | Fault::TruncateMessage
            | Fault::BlankRelay
            | Fault::WrongSender
            | Fault::RelayNamesRecipient
            | Fault::TornFrame
            | Fault::GarbageFrame
            | Fault::StrayError
            | Fault::HangUp
            | Fault::DelayRelay
    )
}

/// `message` with its character at `place` replaced by another.
fn with_one_changed(message: &str, place: usize) -> String {
    let change = |(i, c): (usize, char)| match c {
        _ if i != place => c,
        'x' => 'y',
        _ => 'x',
    };
    message.chars().enumerate().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_is_changed_wherever_it_stands() {
        for message in ["a", "xyz", "héé"] {
            for place in 0..message.chars().count() {
                let changed = with_one_changed(message, place);
                let differ = message.chars().zip(changed.chars()).filter(|(a, b)| a != b);
                assert_eq!(differ.count(), 1, "{message} at {place}");
            }
        }
    }
}
