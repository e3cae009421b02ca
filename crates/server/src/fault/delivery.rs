//! Faults in the delivery of one message to its sender and its receivers.
//!
//! A session is affected at most once per message: by a line that was kept back for it, by a
//! lasting fault (it gets no messages, or is kept one behind), or by one that is drawn. So two
//! faults that are asked for together never look like a third.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::catalogue::{Chance, Fault};
use super::commit::Faults;
use crate::broadcast::Broadcast;
use crate::log::Entry;
use crate::session::{NextWrite, Phase, Stream};
use chatbench_wire::{Dialect, classic, ndjson};

/// How many messages later a message is sent again.
const REPLAY_AFTER: u64 = 20;

/// How long a delayed receiver is sent nothing.
const DELAY: Duration = Duration::from_secs(1);

/// A line that is kept back from a session, which got nothing in its place.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: usize,
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
    pub(super) id: usize,
    seq: u64,
    at_seq: u64,
    line: Vec<u8>,
}

/// A message that was just numbered, and the receivers that are to get it unchanged.
struct Delivery<'a> {
    entry: Entry,
    sender: Option<usize>,
    client_ip: String,
    message: &'a str,
    publish_id: Option<u64>,
    dialect: Dialect,
    line: Vec<u8>,
    /// Receivers that no fault has affected.
    untouched: Vec<usize>,
    all_receivers: usize,
}

impl Delivery<'_> {
    fn touch(&mut self, id: usize) {
        self.untouched.retain(|receiver| *receiver != id);
    }
}

/// An ack frame, LF included.
pub(super) fn ack_line(seq: u64, publish_id: Option<u64>) -> Vec<u8> {
    let mut line = Vec::new();
    ndjson::encode_ack(&mut line, seq, publish_id);
    line
}

/// A relay as clients of `dialect` get it.
fn relay_line(dialect: Dialect, seq: u64, client_ip: &str, message: &str) -> Vec<u8> {
    let mut line = Vec::new();
    match dialect {
        Dialect::Ndjson => ndjson::encode_relay(&mut line, seq, client_ip, message),
        Dialect::Classic => classic::encode_relay(&mut line, client_ip, message),
    }
    line
}

impl Faults {
    /// Delivers a message that was just numbered. A server without faults only queues the
    /// sender's ack here.
    pub(super) fn deliver<S>(
        &mut self,
        b: &mut Broadcast<S>,
        sender: Option<usize>,
        entry: Entry,
        message: &str,
        publish_id: Option<u64>,
    ) where
        S: Stream,
    {
        let client_ip = sender.map_or_else(String::new, |id| b.session(id).client_ip.to_string());
        let sessions = b.sessions.iter().enumerate();
        let untouched: Vec<usize> = sessions
            .filter_map(|(id, session)| {
                let session = session.as_ref()?;
                let listens = session.phase == Phase::Open && !session.cursor.is_leaving();
                (listens && Some(id) != sender).then_some(id)
            })
            .collect();
        let dialect = b.dialect();
        let mut delivery = Delivery {
            entry,
            sender,
            line: relay_line(dialect, entry.seq, &client_ip, message),
            dialect,
            client_ip,
            message,
            publish_id,
            all_receivers: untouched.len(),
            untouched,
        };
        let held_ack = self.release_held(b, &mut delivery);
        self.starve(b, &mut delivery);
        if sender.is_some() {
            self.ack(b, &mut delivery, held_ack);
        }
        self.replay(b);
        let requested: Vec<Fault> = self.dice.iter().map(|dice| dice.fault).collect();
        for fault in requested {
            if fault.entry().chance == Chance::Message {
                self.relay(b, &mut delivery, fault);
            }
        }
        self.latest = Some(delivery.line);
    }

    /// Sends lines that were kept back before this message, or swaps them with it. Returns an ack
    /// that is to be sent after the one of this message.
    fn release_held<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>) -> Option<Held>
    where
        S: Stream,
    {
        let mut held_ack = None;
        for held in std::mem::take(&mut self.held) {
            let id = held.id;
            match &held.why {
                Why::Ack { .. } if d.sender == Some(id) => held_ack = Some(held),
                Why::Ack { .. } => self.held.push(held),
                Why::Swap {
                    fault,
                    client_ip,
                    message,
                } if d.untouched.contains(&id)
                    && (*fault == Fault::SwapSameSender) == (d.client_ip == *client_ip) =>
                {
                    let cursor = &mut b.session(id).cursor;
                    let at = self.dice.iter().position(|dice| dice.fault == *fault);
                    let by_number = at.is_some_and(|at| self.dice[at].below(2) == 1);
                    if by_number {
                        let other = relay_line(d.dialect, held.seq, &d.client_ip, d.message);
                        let one = relay_line(d.dialect, d.entry.seq, client_ip, message);
                        cursor.replace(d.entry, [other, one].concat());
                    } else {
                        let lines = [&d.line[..], &held.line[..]].concat();
                        cursor.replace(d.entry, lines);
                    }
                    d.touch(id);
                    if let Some(at) = at {
                        self.dice[at].spend();
                    }
                    let name = b.session(id).client_ip.to_string();
                    let what = format!("numbers {} and {} to {name}", held.seq, d.entry.seq);
                    self.tell(*fault, &[id], what);
                }
                Why::Tail | Why::Swap { .. } => {
                    b.session(id).cursor.insert_before(d.entry, held.line);
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
        for id in d.untouched.clone() {
            let starves = self.starving.contains(&id);
            let is_late = self.late.contains(&id);
            if self.one_behind.contains(&id) {
                b.session(id).cursor.replace(d.entry, Vec::new());
                self.held.push(Held {
                    id,
                    seq: d.entry.seq,
                    line: d.line.clone(),
                    why: Why::Tail,
                });
            } else if starves || is_late {
                b.session(id).cursor.replace(d.entry, Vec::new());
                self.late.retain(|late| *late != id);
                let name = b.session(id).client_ip.to_string();
                let (fault, what) = if starves {
                    (
                        Fault::StarveOne,
                        format!("number {} to {name}", d.entry.seq),
                    )
                } else {
                    let what = format!("number {} to {name}, its first", d.entry.seq);
                    (Fault::LateJoin, what)
                };
                self.tell(fault, &[id], what);
            } else {
                continue;
            }
            d.touch(id);
        }
    }

    fn ack<S>(&mut self, b: &mut Broadcast<S>, d: &mut Delivery<'_>, held: Option<Held>)
    where
        S: Stream,
    {
        let Some(id) = d.sender else { return };
        let Entry { seq, .. } = d.entry;
        let name = &d.client_ip.clone();
        let ack = match d.dialect {
            Dialect::Ndjson => ack_line(seq, d.publish_id),
            Dialect::Classic => {
                let mut text = Vec::new();
                classic::encode_ack(&mut text, name);
                text
            }
        };
        let claimed = self.claimed.take();
        if let Some(held) = held
            && let Why::Ack { publish_id } = held.why
        {
            b.session(id).ack(d.entry, d.publish_id);
            b.reply(id, ack_line(held.seq, publish_id));
            self.tell_swapped_ack(id, held.seq, name);
        } else if let Some(other) = claimed.filter(|other| d.untouched.contains(other))
            && self.take_due(Fault::SpoofableAck)
        {
            // The session that the message names is acked; all others get it, its sender included.
            b.session(id).cursor.replace(d.entry, d.line.clone());
            b.session(other).cursor.replace(d.entry, ack);
            d.touch(other);
            let to = &b.session(other).client_ip;
            let what = format!("of number {seq} to {to}, whom {name} claimed to be");
            self.tell(Fault::SpoofableAck, &[id, other], what);
        } else if self.take_due(Fault::DropAck) {
            b.session(id).cursor.replace(d.entry, Vec::new());
            self.tell(Fault::DropAck, &[id], format!("of number {seq} to {name}"));
        } else if self.take_due(Fault::DoubleAck) {
            b.session(id).cursor.replace(d.entry, ack.repeat(2));
            self.tell(
                Fault::DoubleAck,
                &[id],
                format!("of number {seq} to {name}"),
            );
        } else if self.held.is_empty() && self.due(Fault::SwapAcks).is_some() {
            b.session(id).cursor.replace(d.entry, Vec::new());
            self.held.push(Held {
                id,
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
            b.session(id).cursor.replace(d.entry, Vec::new());
            if self.dice[at].below(2) == 0 {
                b.session(other).cursor.replace(d.entry, ack);
            } else {
                b.reply(other, ack);
            }
            d.touch(other);
            let to = &b.session(other).client_ip;
            let what = format!("of number {seq} to {to}, not to {name}");
            self.tell(Fault::MisrouteAck, &[id, other], what);
        } else if let Some(at) = self.due(Fault::Echo) {
            self.dice[at].spend();
            let lines = if self.dice[at].below(2) == 0 {
                [d.line.clone(), ack].concat()
            } else {
                [ack, d.line.clone()].concat()
            };
            b.session(id).cursor.replace(d.entry, lines);
            self.tell(Fault::Echo, &[id], format!("number {seq} to {name}"));
        } else {
            b.session(id).ack(d.entry, d.publish_id);
        }
        let unheld = d.untouched.len() == d.all_receivers && d.all_receivers > 0;
        if unheld && self.take_due(Fault::AckThenLose) {
            for receiver in std::mem::take(&mut d.untouched) {
                b.session(receiver).cursor.replace(d.entry, Vec::new());
            }
            self.tell(Fault::AckThenLose, &[], format!("number {seq} of {name}"));
        }
    }

    fn replay<S>(&mut self, b: &mut Broadcast<S>)
    where
        S: Stream,
    {
        let seq = b.log.seq();
        let due: Vec<Replay> = self.replays.extract_if(.., |r| r.at_seq <= seq).collect();
        for Replay { id, seq, line, .. } in due {
            if b.reply(id, line) {
                let name = b.session(id).client_ip.to_string();
                let what = format!("number {seq} to {name}, behind {}", b.log.seq());
                self.tell(Fault::ReplayStale, &[id], what);
            }
        }
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
        if matches!(fault, Fault::DelayRelay | Fault::HangUp) {
            // A client that sends may be leaving, or be waking its task, at this moment.
            receivers.retain(|id| !self.talkers.contains(id));
        }
        let Some(id) = self.dice[at].pick(&receivers) else {
            return;
        };
        let (entry, seq) = (d.entry, d.entry.seq);
        let name = b.session(id).client_ip.to_string();
        let cursor = &mut b.session(id).cursor;
        let mut what = format!("number {seq} to {name}");
        match fault {
            Fault::DropRelay => cursor.replace(entry, Vec::new()),
            Fault::StarveOne => {
                cursor.replace(entry, Vec::new());
                self.starving.push(id);
            }
            Fault::DuplicateRelay => cursor.replace(entry, d.line.repeat(2)),
            Fault::BlankRelay => {
                cursor.replace(entry, relay_line(d.dialect, seq, &d.client_ip, ""));
            }
            Fault::RelayNamesRecipient => {
                cursor.replace(entry, relay_line(d.dialect, seq, &name, d.message));
            }
            Fault::TornFrame => {
                let torn = [&d.line[..d.line.len() / 2], &d.line[..]].concat();
                cursor.replace(entry, torn);
            }
            Fault::GarbageFrame => {
                let lines = [&d.line[..], b"%$! not a frame\n"].concat();
                cursor.replace(entry, lines);
                what = format!("to {name}, behind number {seq}");
            }
            Fault::StrayError => {
                // It has the id of the message, which is another client's, or no id at all.
                let named = d.publish_id.filter(|_| self.dice[at].below(2) == 0);
                let mut lines = d.line.clone();
                ndjson::encode_error(&mut lines, "malformed", "nobody asked for this", named);
                cursor.replace(entry, lines);
                what = format!("to {name}, behind number {seq}");
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
                cursor.replace(entry, relay_line(d.dialect, seq, &d.client_ip, &altered));
            }
            Fault::WrongSender => {
                let ips = b.sessions.iter().flatten().map(|s| s.client_ip.to_string());
                let others: Vec<String> =
                    ips.filter(|ip| *ip != d.client_ip && *ip != name).collect();
                let places: Vec<usize> = (0..others.len()).collect();
                let Some(place) = self.dice[at].pick(&places) else {
                    return;
                };
                let line = relay_line(d.dialect, seq, &others[place], d.message);
                b.session(id).cursor.replace(entry, line);
            }
            Fault::HangUp => {
                b.hang_up(id);
                what = format!("on {name}, behind number {seq}");
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
                what = format!("from number {seq} on to {name}");
            }
            Fault::ReplayStale => {
                self.replays.push(Replay {
                    id,
                    seq,
                    at_seq: seq + REPLAY_AFTER,
                    line: d.line.clone(),
                });
                self.dice[at].spend();
                return; // reported when it is sent
            }
            Fault::SwapSameSender | Fault::SwapSenders => {
                if d.sender.is_none() {
                    return;
                }
                cursor.replace(entry, Vec::new());
                self.held.push(Held {
                    id,
                    seq,
                    line: d.line.clone(),
                    why: Why::Swap {
                        fault,
                        client_ip: d.client_ip.clone(),
                        message: d.message.to_owned(),
                    },
                });
                d.touch(id);
                return; // reported when the next message is the right one
            }
            _ => unreachable!("{fault} is not of one relay"),
        }
        d.touch(id);
        self.dice[at].spend();
        self.tell(fault, &[id], what);
    }
}

/// Whether a fault affects one relay to one receiver.
fn is_of_one_relay(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DropRelay
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
